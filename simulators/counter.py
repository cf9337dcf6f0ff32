"""How a detector turns a true rate into counts: sensitivity, background, losses."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from config.archetypes import ARCHETYPES, Archetype
from config.scenario_detectors import ScenarioDetector

_NEGLIGIBLE_LOSS: Final = 1e-4


class NoCounts(ValueError):
    """The detector has no count rate: its archetype gives none and the scenario neither."""


@dataclass(frozen=True, slots=True)
class Counter:
    """How one detector counts: rates in 1/s, all parts together; None where it has no such rate."""

    archetype: Archetype
    sensitivity: float | None
    background_cps: float | None
    neutron_background_cps: float
    neutron_cps: float
    parts: int
    dead_time_s: float
    is_paralysable: bool
    saturation_cps: float
    sensitivities: Mapping[str, float] = field(default_factory=dict)
    detector_class: str = ""

    @property
    def can_be_read(self) -> bool:
        """Whether its gamma counts stand for a dose rate."""
        return self.background_cps is not None and self.sensitivity is not None

    def per_usv_h(self, nuclide: str | None) -> float:
        """1/s per µSv/h of a nuclide."""
        if self.sensitivity is None:
            raise NoCounts(f"{self.archetype.name} has no sensitivity; set it in the scenario")
        if nuclide is not None and nuclide in self.sensitivities:
            return self.sensitivities[nuclide]
        usual = self.archetype.sensitivity_cps
        own = self.archetype.sensitivities.get(nuclide or "")
        return self.sensitivity * own / usual if own and usual else self.sensitivity

    @property
    def can_lose(self) -> bool:
        """Whether it has dead time or saturates at all."""
        return self.dead_time_s > 0 or math.isfinite(self.saturation_cps)

    def registered(self, rate: float) -> float:
        """The rate that remains of a true rate after dead time and saturation."""
        loss = rate * self.dead_time_s
        if self.is_paralysable:
            rate *= math.exp(-loss)
        else:
            rate /= 1 + loss
        return min(rate, self.saturation_cps)

    def is_faithful(self, highest_rate: float) -> bool:
        """Whether losses up to this true rate can be neglected."""
        loss = highest_rate * self.dead_time_s
        return loss < _NEGLIGIBLE_LOSS and highest_rate < self.saturation_cps


def counter_of(detector: ScenarioDetector) -> Counter:
    """The archetype with what the scenario says otherwise."""
    archetype = ARCHETYPES[detector.archetype]
    dead = detector.dead_time
    saturation = _either(detector.saturation_rate, archetype.saturation_cps)
    return Counter(
        archetype=archetype,
        sensitivity=_either(detector.sensitivity, archetype.sensitivity_cps),
        background_cps=_either(detector.background_rate, archetype.background_cps),
        neutron_background_cps=_either(
            detector.neutron_background_rate, archetype.neutron_background_cps
        )
        or 0.0,
        neutron_cps=_either(detector.neutron_sensitivity, archetype.neutron_cps) or 0.0,
        parts=detector.parts,
        dead_time_s=dead.tau_us * 1e-6 if dead else archetype.dead_time_s,
        is_paralysable=dead.paralysable if dead else archetype.is_paralysable,
        saturation_cps=math.inf if saturation is None else saturation,
        sensitivities=detector.sensitivities,
        detector_class=detector.detector_class or archetype.detector_class,
    )


def _either(first: float | None, second: float | None) -> float | None:
    return second if first is None else first
