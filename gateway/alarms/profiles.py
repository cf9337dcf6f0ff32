"""What the engine knows about each detector: shipped levels, overrides and limits, resolved.

Level values and authorities are the shippable defaults; every site must review them.
"""

import math
from dataclasses import dataclass, replace
from typing import Final

from config.models import CLEAR_FACTOR, DEFAULT_LEVELS, Alarms, Detector, Level, Levels
from drivers.api import DriverInfo

OVER_RANGE: Final = "R8"
MIN_SILENCE_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class LevelSetting:
    """One absolute level in µSv/h: raised at ``raise_at``, left below ``clear_below``."""

    id: str
    raise_at: float
    clear_below: float
    latched: bool
    priority: int
    authority: str
    enabled: bool = True


def _shipped(name: str, latched: bool, priority: int, authority: str) -> LevelSetting:
    raise_at = DEFAULT_LEVELS[name]
    return LevelSetting(name, raise_at, CLEAR_FACTOR * raise_at, latched, priority, authority)


SHIPPED_LEVELS: Final = (
    _shipped("R3", False, 3, "50 µR/h test step of ANSI N42.32; own choice as level"),
    _shipped("R4", False, 2, "police field directive, about 2 mR/h"),
    _shipped("R5", True, 1, "IAEA EPR-First Responders 2006; NCRP Commentary 19"),
    _shipped("R6", True, 1, "IAEA GSG-2 OIL1"),
    _shipped("R7", True, 1, "NCRP Commentary 19 inner perimeter, 10 R/h"),
    LevelSetting(OVER_RANGE, math.inf, math.inf, True, 1, "true value unknown: treat as danger"),
)
"""R8 has no number: over-range raises it, any valid reading is below it."""

R6_CLASSES: Final = frozenset(
    {
        "Network Area Monitor",
        "Gamma Handheld",
        "Radionuclide Identifier",
        "Transportable System",
        "Other",
    }
)
"""Area monitors and survey instruments; unknown instruments count as survey instruments."""

PORTAL_CLASSES: Final = frozenset({"Portal Monitor", "Spectroscopic Portal Monitor"})


@dataclass(frozen=True, slots=True)
class Discrete:
    """An alarm that is on or off: its level, priority and latch."""

    level: str
    priority: int
    latched: bool = False


DISCRETE: Final = {
    "portal_gamma": Discrete("device", 3),
    "portal_neutron": Discrete("device", 1, latched=True),
    "device_neutron": Discrete("device", 2),
    "tamper": Discrete("H1", 2),
    "identity": Discrete("H1", 2),
    "battery": Discrete("H2", 4),
}
"""Own choices where no authority gives a priority."""

DEVICE_ALARM: Final = Discrete("device", 3)
FAULT: Final = Discrete("H1", 3)
FAULT_WHILE_ALARMING_PRIORITY: Final = 2


def discrete(alarm: str) -> Discrete:
    """The settings of an on-off alarm object."""
    return DISCRETE.get(alarm, DEVICE_ALARM if alarm.startswith("device_") else FAULT)


class ProfileError(ValueError):
    """Levels that contradict each other; ``key`` is where the configuration says so."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key}: {problem}")
        self.key = key


@dataclass(frozen=True, slots=True)
class AlarmSettings:
    """What holds for the whole gateway."""

    false_alarms_per_hour: float = 0.6
    off_delay_s: float = 10.0


@dataclass(frozen=True, slots=True)
class DetectorProfile:
    """What the engine knows about one detector.

    ``silence_s`` is the longest time between outputs of a healthy instrument. A declared top of
    the range or greatest count rate switches the fold-over rule on.
    """

    detector: str
    detector_class: str = "Other"
    silence_s: float = 1.0
    levels: tuple[LevelSetting, ...] = SHIPPED_LEVELS
    post: str | None = None
    serial: str | None = None
    range_top_usv_h: float | None = None
    max_count_rate: float | None = None
    exercise: bool = False

    @property
    def is_portal(self) -> bool:
        """Whether its gamma and neutron alarms belong to occupancies."""
        return self.detector_class in PORTAL_CLASSES

    @property
    def silence_limit_s(self) -> float:
        """Three missed outputs, and never less than three seconds."""
        return max(3.0 * self.silence_s, MIN_SILENCE_S)

    @property
    def enabled_levels(self) -> tuple[LevelSetting, ...]:
        """The levels that are judged, lowest first; R8 is always the last."""
        return tuple(level for level in self.levels if level.enabled)


def resolve_settings(alarms: Alarms) -> AlarmSettings:
    """The gateway-wide settings of a configuration."""
    return AlarmSettings(alarms.false_alarms_per_hour, alarms.off_delay_s)


def resolve_profile(detector: Detector, alarms: Alarms, info: DriverInfo) -> DetectorProfile:
    """One detector's profile: shipped defaults, then the gateway's levels, then its own."""
    detector_class = detector.detector_class or (info.classes[0] if info.classes else "Other")
    profile = DetectorProfile(
        detector=detector.id,
        detector_class=detector_class,
        silence_s=info.silence_s,
        levels=_resolve_levels(detector, alarms, detector_class),
        post=detector.post,
        serial=detector.serial_number,
        range_top_usv_h=detector.range_top,
        exercise=detector.simulated,
    )
    _check_order(profile)
    return profile


def _resolve_levels(
    detector: Detector, alarms: Alarms, detector_class: str
) -> tuple[LevelSetting, ...]:
    def resolve(shipped: LevelSetting) -> LevelSetting:
        level = shipped
        if level.id == "R6":
            level = replace(level, enabled=detector_class in R6_CLASSES)
        level = _override(level, _named(alarms.levels, level.id), explicit=False)
        return _override(level, _named(detector.levels, level.id), explicit=True)

    return tuple(resolve(shipped) for shipped in SHIPPED_LEVELS)


def _named(levels: Levels, name: str) -> Level | None:
    found: Level | None = getattr(levels, name, None)
    return found


def _override(level: LevelSetting, given: Level | None, *, explicit: bool) -> LevelSetting:
    """A level named for one detector is on; a number for all leaves the class's choice alone."""
    if given is None:
        return level
    decides = explicit or "enabled" in given.model_fields_set
    clear = given.clear if given.clear is not None else CLEAR_FACTOR * given.raise_at
    return replace(
        level,
        raise_at=given.raise_at,
        clear_below=clear,
        enabled=given.enabled if decides else level.enabled,
        authority="configuration",
    )


def _check_order(profile: DetectorProfile) -> None:
    below = 0.0
    for level in profile.enabled_levels[:-1]:
        key = f"detector {profile.detector}: levels.{level.id}"
        if level.clear_below >= level.raise_at:
            raise ProfileError(key, "clear must be below raise")
        if level.raise_at <= below:
            raise ProfileError(key, "raise must be above that of the level before")
        below = level.raise_at
