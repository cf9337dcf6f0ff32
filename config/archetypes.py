"""Simulated kinds of detector, as data. Assumptions of ours unless a comment names a source.

The background of a scintillator is not its sensitivity times the dose rate (its spectrum is
softer), so both are given; ``background_cps`` holds at ``REFERENCE_USV_H``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from config.nuclides import CF252_N_PER_S_PER_NG

REFERENCE_USV_H: Final = 0.10


@dataclass(frozen=True, slots=True)
class Archetype:
    """One kind of detector; None where the kind has no such figure.

    ``sensitivity_cps`` is in 1/s per µSv/h of Cs-137, ``sensitivities`` of other nuclides,
    ``neutron_cps`` in 1/s for a source of 1 n/s at 1 m. ``indication_top`` is where the
    instrument stops showing numbers, ``high_range_from`` where its second tube takes over, both
    in µSv/h. Counting saturates at ``saturation_cps``.
    """

    name: str
    detector_class: str
    step_s: float
    sensitivity_cps: float | None = None
    background_cps: float | None = None
    neutron_cps: float | None = None
    neutron_background_cps: float = 0.0
    indication_top: float | None = None
    high_range_from: float | None = None
    saturation_cps: float | None = None
    dead_time_s: float = 0.0
    is_paralysable: bool = False
    sensitivities: Mapping[str, float] = field(default_factory=dict)

    @property
    def saturates_at(self) -> float | None:
        """The dose rate in µSv/h of Cs-137 at which counting saturates."""
        if self.saturation_cps is None or self.sensitivity_cps is None:
            return None
        return self.saturation_cps / self.sensitivity_cps


ARCHETYPES: Final[Mapping[str, Archetype]] = MappingProxyType(
    {
        archetype.name: archetype
        for archetype in (
            Archetype(
                "PRD",
                "Personal Radiation Detector",
                step_s=0.25,
                sensitivity_cps=100.0,
                background_cps=20.0,
                high_range_from=30.0,
                indication_top=10_000.0,
            ),
            # Polimaster PM1710A specification: sensitivities, 0.25 s sliding, 0.01 to 30 µSv/h.
            Archetype(
                "HH",
                "Gamma Handheld",
                step_s=0.25,
                sensitivity_cps=500.0,
                background_cps=60.0,
                indication_top=30.0,
                sensitivities={"Co-60": 200.0},
            ),
            Archetype(
                "BP",
                "Backpack",
                step_s=1.0,
                sensitivity_cps=2000.0,
                background_cps=250.0,
                saturation_cps=60_000.0,
            ),
            Archetype(
                "VEH",
                "Mobile System",
                step_s=1.0,
                sensitivity_cps=10_000.0,
                background_cps=2000.0,
                saturation_cps=250_000.0,
            ),
            # One gate panel. Neutrons: 2.5 cps per ng of Cf-252 at 2 m, as recalled from N42.35.
            Archetype(
                "RPM",
                "Portal Monitor",
                step_s=0.2,
                background_cps=2000.0,
                neutron_background_cps=2.5,
                neutron_cps=2.5 * 2.0**2 / CF252_N_PER_S_PER_NG,
            ),
            # Fixed GM tube; one line every 2 s as the Ludlum 375.
            Archetype(
                "AREA",
                "Network Area Monitor",
                step_s=2.0,
                sensitivity_cps=1.0,
                background_cps=0.2,
                indication_top=10_000.0,
                dead_time_s=100e-6,
                is_paralysable=True,
            ),
            Archetype("EPD", "Dosimeter", step_s=1.0, indication_top=1e7),
        )
    }
)
