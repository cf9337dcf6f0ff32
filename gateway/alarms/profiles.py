"""What the engine knows about each detector: shipped levels, overrides and limits, resolved.

Level values and authorities are the shippable defaults; every site must review them.
"""

import math
from dataclasses import dataclass, replace
from datetime import date
from typing import Final

from config.classes import PORTALS, SURVEYING
from config.models import (
    CLEAR_FACTOR,
    DEFAULT_DOSES,
    DEFAULT_LEVELS,
    Alarms,
    Configuration,
    Detector,
    DetectorSettings,
    DoseLevel,
    Level,
    Levels,
    Post,
    Profile,
)
from drivers.api import DriverInfo, Verified
from gateway.alarms.budget import DEFAULT_BUDGET, Budget
from gateway.alarms.classes import STATIC, ClassDefaults, defaults

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
    on_delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class DoseSetting:
    """One level of accumulated dose in µSv; all are latched, as dose does not go away."""

    id: str
    raise_at: float
    priority: int
    authority: str
    enabled: bool = True


SHIPPED_DOSES: Final = (
    DoseSetting("D1", DEFAULT_DOSES["D1"], 2, "annual public limit, ICRP"),
    DoseSetting("D2", DEFAULT_DOSES["D2"], 2, "annual average occupational limit, ICRP"),
    DoseSetting("D3", DEFAULT_DOSES["D3"], 1, "IAEA 2006 turn-back, large collective dose"),
    DoseSetting("D4", DEFAULT_DOSES["D4"], 1, "IAEA 2006; NCRP decision dose 0.5 Gy"),
    DoseSetting("D5", DEFAULT_DOSES["D5"], 1, "IAEA 2006 life-saving ceiling", enabled=False),
)
"""D5 is off: the General Safety Requirements Part 7 of 2015 are stricter, D4 is the ceiling."""


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


@dataclass(frozen=True, slots=True)
class Discrete:
    """An alarm that is on or off: its level, priority and latch."""

    level: str
    priority: int
    latched: bool = False


DISCRETE: Final = {
    "calibration_overdue": Discrete("H2", 4),
    "clock_offset": Discrete("H2", 4),
    "position_lost": Discrete("H2", 4),
    "background_frozen": Discrete("H1", 3),
    "background_implausible": Discrete("H1", 3),
    "portal_gamma": Discrete("device", 3),
    "portal_neutron": Discrete("device", 1, latched=True),
    "device_neutron": Discrete("device", 2),
    "tamper": Discrete("H1", 2),
    "identity": Discrete("H1", 2),
    "battery": Discrete("H2", 4),
    # Alarms may have been lost, or are not on the disk, or reach nobody outside this laptop.
    "journal_damaged": Discrete("H1", 2),
    "journal_stalled": Discrete("H1", 2),
    "feed_down": Discrete("H1", 2),
    # Samples or single messages only, or time is left to act before alarms are at stake.
    "journal_shedding": Discrete("H1", 3),
    "disk_nearly_full": Discrete("H1", 3),
    "publish_refused": Discrete("H1", 3),
    "no_subscriber": Discrete("H1", 3),
    "client_id_in_use": Discrete("H1", 3),
    "certificate": Discrete("H1", 3),
    "orphans": Discrete("H1", 3),
    "clock_unsynchronised": Discrete("H1", 3),
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
    """What holds for the whole gateway; ``configuration`` is the revision in force."""

    budget: Budget = DEFAULT_BUDGET
    off_delay_s: float = 10.0
    configuration: str = ""


@dataclass(frozen=True, slots=True)
class DetectorProfile:
    """What the engine knows about one detector.

    ``silence_s`` is the longest time between outputs of a healthy instrument. A declared top of
    the range or greatest count rate switches the fold-over rule on. ``link`` names what it shares
    with others that are lost together with it. ``x_m`` and ``y_m`` are where its post stands.
    ``doubt`` says why it is not commissioned, if it is not.
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
    ways: ClassDefaults = STATIC
    dose_levels: tuple[DoseSetting, ...] = SHIPPED_DOSES
    link: str = ""
    zone: str | None = None
    x_m: float | None = None
    y_m: float | None = None
    calibration_due: date | None = None
    doubt: str = ""
    sampling_s: float | None = None
    configuration: str = ""

    @property
    def is_portal(self) -> bool:
        """Whether its gamma and neutron alarms belong to occupancies."""
        return self.detector_class in PORTALS

    @property
    def silence_limit_s(self) -> float:
        """Three missed outputs, and never less than three seconds."""
        return max(3.0 * self.silence_s, MIN_SILENCE_S)

    @property
    def enabled_levels(self) -> tuple[LevelSetting, ...]:
        """The levels that are judged, lowest first; R8 is always the last."""
        return tuple(level for level in self.levels if level.enabled)


def resolve_settings(alarms: Alarms, configuration: str = "") -> AlarmSettings:
    """The gateway-wide settings of a configuration."""
    given = alarms.budget
    budget = Budget(
        given.rises_per_hour,
        given.neutrons_per_event,
        given.event_h,
        given.share,
        given.operators,
    )
    return AlarmSettings(budget, alarms.off_delay_s, configuration)


def class_of(detector: DetectorSettings, info: DriverInfo) -> str:
    """Its class: as configured, or the first that its driver names."""
    return detector.detector_class or (info.classes[0] if info.classes else "Other")


def resolve_profile(
    detector: Detector, configuration: Configuration, info: DriverInfo
) -> DetectorProfile:
    """One detector's profile: shipped defaults, then those of its class, then its own."""
    detector_class = class_of(detector, info)
    alarms = configuration.alarms
    own = [each for each in configuration.profile if each.detector_class == detector_class]
    ways = defaults(detector_class)
    for given in (*own, detector.profile):
        ways = _overridden(ways, given)
    named = [each.sampling_s for each in (*own, detector.profile) if each.sampling_s is not None]
    sampling_s = named[-1] if named else None
    post = next((post for post in configuration.post if post.id == detector.post), None)
    profile = DetectorProfile(
        detector=detector.id,
        detector_class=detector_class,
        silence_s=sampling_s or info.silence_s,
        levels=_resolve_levels(detector, alarms, detector_class),
        post=detector.post,
        serial=detector.serial_number,
        range_top_usv_h=detector.range_top,
        max_count_rate=detector.max_count_rate,
        exercise=detector.simulated,
        ways=ways,
        dose_levels=_resolve_doses(detector, alarms),
        link=_link_key(detector),
        zone=None if post is None else post.zone,
        x_m=_place(post)[0],
        y_m=_place(post)[1],
        calibration_due=detector.calibration_due,
        doubt="" if detector.commissioned or detector.simulated else doubt(detector, info),
        sampling_s=sampling_s or info.poll_s or None,
    )
    _check_order(profile)
    return profile


def doubt(detector: DetectorSettings, info: DriverInfo) -> str:
    """Why readings of this family need a source check at the site before they are trusted."""
    if info.verified is not Verified.CAPTURED:
        return f"not commissioned: the bytes of {info.name} are {info.verified}, not captured"
    if any(option.name == "unit" for option in info.options) and detector.unit is None:
        return f"not commissioned: {info.name} does not always say its unit, and none is configured"
    return ""


_OVERRIDES: Final = (
    "platform",
    "moving_subject",
    "worn",
    "background_s",
    "background_rate",
    "smoothing_s",
    "freeze_limit_s",
    "frozen_value_s",
    "ratio",
    "ratio_clear",
    "moving_sigma",
    "neutron_gamma_limit",
)


def _overridden(ways: ClassDefaults, given: Profile) -> ClassDefaults:
    changes = {
        name: value for name in _OVERRIDES if (value := getattr(given, name, None)) is not None
    }
    return replace(ways, **changes) if changes else ways


def _link_key(detector: Detector) -> str:
    """What detectors that are lost together share: a bus, or a device server."""
    link = detector.link
    host = getattr(link, "host", None)
    return str(host or getattr(link, "port", "") or "")


_METRES_PER_DEGREE: Final = 111_320.0
"""Along a meridian; good enough to say what is near."""


def _place(post: Post | None) -> tuple[float | None, float | None]:
    """Metres east and north of some origin that all posts share."""
    if post is None:
        return None, None
    if post.plan_x_m is not None:
        return post.plan_x_m, post.plan_y_m
    if post.latitude is None or post.longitude is None:
        return None, None
    return metres(post.latitude, post.longitude)


def metres(latitude: float, longitude: float) -> tuple[float, float]:
    """Degrees as metres east and north of 0° 0°, for distances of some kilometres."""
    east = longitude * _METRES_PER_DEGREE * math.cos(math.radians(latitude))
    return east, latitude * _METRES_PER_DEGREE


def _resolve_doses(detector: Detector, alarms: Alarms) -> tuple[DoseSetting, ...]:
    def resolve(shipped: DoseSetting) -> DoseSetting:
        level = shipped
        for given in (alarms.dose_levels, detector.dose_levels):
            own: DoseLevel | None = getattr(given, level.id)
            if own is not None:
                level = replace(
                    level,
                    raise_at=own.raise_at,
                    enabled=own.enabled,
                    authority="configuration",
                )
        return level

    return tuple(resolve(shipped) for shipped in SHIPPED_DOSES)


def _resolve_levels(
    detector: Detector, alarms: Alarms, detector_class: str
) -> tuple[LevelSetting, ...]:
    def resolve(shipped: LevelSetting) -> LevelSetting:
        level = shipped
        if level.id == "R6":
            level = replace(level, enabled=detector_class in SURVEYING)
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
        on_delay_s=given.on_delay_s,
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
