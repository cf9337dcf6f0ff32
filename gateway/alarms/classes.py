"""What holds for a class of detectors unless a site says otherwise, each number with its reason.

The classes are the instrument class codes of N42.42-2011. ``[A]`` marks our own choice.
"""

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Literal

from config.classes import MOVING_SUBJECTS, RATIO, RATIO_CLEAR

Platform = Literal["static", "walking", "vehicle"]


@dataclass(frozen=True, slots=True)
class ClassDefaults:
    """How detectors of one class are judged. Times in s, rates in 1/s, dose rates in µSv/h.

    ``background_s``: over what time the background is learned. Rain of 14 mm in 15 min displaces a
    10 000 cps per µSv/h system by 3.4 deviations a second where that is 300 s, one of 100 by 0.34
    (computed from the record of PTB Braunschweig), so large crystals get less.
    ``background_rate``: the usual one, [A]; thrice as much is not believed.
    ``smoothing_s``: time constant of its dose rate where the instrument does not say, [A].
    ``moving_subject``: who passes must be caught: a car at 50 km/h and 5 m is above half its
    maximum for 0.7 s, so it is sampled every second and has no on-delay.
    ``moving_sigma``: least rise of a moving platform, in empirical deviations; set by simulation
    (lognormal background of 6 %, correlated over 5 s and 40 s: below 0.5 false alarms an hour).
    ``neutron_gamma_limit``: [A], the gamma field of 10 mR/h in which neutron channels are tested.
    ``freeze_limit_s``, ``frozen_value_s``: [A].
    """

    platform: Platform = "static"
    moving_subject: bool = False
    worn: bool = False
    background_s: float = 300.0
    background_rate: float | None = None
    smoothing_s: float = 2.0
    freeze_limit_s: float = 1800.0
    frozen_value_s: float = 3600.0
    ratio: float = RATIO
    ratio_clear: float = RATIO_CLEAR
    moving_sigma: float = 8.0
    neutron_gamma_limit: float = 100.0


STATIC: Final = ClassDefaults()
_WORN: Final = replace(STATIC, worn=True)

_WAYS: Final = {
    "Backpack": replace(STATIC, platform="walking", background_s=120.0, background_rate=250.0),
    "Dosimeter": _WORN,
    "Electronic Personal Emergency Radiation Detector": _WORN,
    "Mobile System": replace(
        STATIC,
        platform="vehicle",
        background_s=60.0,
        background_rate=2000.0,
        freeze_limit_s=600.0,
    ),
    "Network Area Monitor": STATIC,
    "Neutron Handheld": STATIC,
    "Personal Radiation Detector": replace(_WORN, background_rate=20.0),
    "Radionuclide Identifier": replace(STATIC, background_rate=60.0),
    "Portal Monitor": STATIC,
    "Spectroscopic Portal Monitor": STATIC,
    "Spectroscopic Personal Radiation Detector": replace(_WORN, background_rate=20.0),
    "Gamma Handheld": replace(STATIC, background_rate=60.0),
    "Transportable System": STATIC,
    "Other": STATIC,
}

DEFAULTS: Final = MappingProxyType(
    {name: replace(ways, moving_subject=name in MOVING_SUBJECTS) for name, ways in _WAYS.items()}
)


def defaults(detector_class: str) -> ClassDefaults:
    """The defaults of a class; of a class we do not know, those of a fixed instrument."""
    return DEFAULTS.get(detector_class, STATIC)
