"""Dose-rate constants of nuclides, for simulated sources.

H*(10) of an unshielded point source without air attenuation, in µSv·m²/(h·GBq): line energies and
intensities of the UKAEA decay_2012 library (as shipped in fispact/actigamma) times the ICRP 74
coefficients, photons from 20 keV up unless ``note`` says otherwise; about ±3 % from interpolation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

CF252_N_PER_S_PER_NG: Final = 2310.0
"""Neutrons per second from 1 ng of Cf-252 (2.31e6 n/s per µg)."""


_SECONDS: Final = {"h": 3600.0, "d": 86_400.0, "a": 365.25 * 86_400.0}


@dataclass(frozen=True, slots=True)
class Nuclide:
    """One nuclide; ``constant`` in µSv·m²/(h·GBq)."""

    name: str
    constant: float
    half_life: str
    note: str = ""

    @property
    def half_life_s(self) -> float:
        """The half-life in seconds; ``a`` is the Julian year of 365.25 days."""
        number, unit = self.half_life.split()
        return float(number) * _SECONDS[unit]


NUCLIDES: Final[Mapping[str, Nuclide]] = MappingProxyType(
    {
        nuclide.name: nuclide
        for nuclide in (
            Nuclide("Cs-137", 92.4, "30.0 a", "with Ba-137m; 91.0 if 32 keV X-rays are absorbed"),
            Nuclide("Co-60", 354.0, "5.27 a"),
            Nuclide("Ir-192", 139.0, "73.8 d"),
            Nuclide("Se-75", 66.0, "119.6 d"),
            Nuclide("Am-241", 5.3, "433 a", "60 keV line only, as encapsulated; 6.1 from 20 keV"),
            Nuclide("I-131", 65.7, "8.02 d"),
            Nuclide("Tc-99m", 21.7, "6.01 h"),
            Nuclide("F-18", 166.0, "1.83 h", "511 keV"),
            Nuclide("In-111", 66.2, "2.80 d", "above 45 keV; 88.6 with K X-rays"),
            Nuclide("I-123", 25.0, "13.2 h", "above 45 keV; 46.1 with K X-rays"),
            Nuclide("Tl-201", 18.0, "3.04 d"),
            Nuclide("Ga-67", 26.7, "3.26 d"),
            Nuclide("Lu-177", 6.0, "6.65 d"),
            Nuclide("Ba-133", 62.7, "10.5 a", "above 45 keV"),
            Nuclide("Co-57", 20.7, "271.8 d"),
        )
    }
)

SELF_SHIELDING: Final[Mapping[str, float]] = MappingProxyType(
    {"I-131": 0.60, "Tc-99m": 0.44, "F-18": 0.50}
)
"""Factor of a patient as a point source at 1 m, measured: ±0.16, ±0.19, ±0.09."""
