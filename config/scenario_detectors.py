"""What a scenario says about a simulated instrument."""

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from config.action import At
from config.amounts import CountRate, FieldRate
from config.archetypes import ARCHETYPES
from config.models import DetectorSettings, Id, Seconds, Strict
from config.scenario_world import Point, Waypoints

DEFAULT_DRIVER: Final = "json-lines"
"""The open line format: an instrument that is simply its archetype."""
_NAMES: Final = frozenset({DEFAULT_DRIVER, *DEFAULT_DRIVER.split("-")})
MOST_COPIES: Final = 1000
Copies = Annotated[int, Field(ge=1, le=MOST_COPIES)]
CorrelationTimes = Annotated[
    tuple[Seconds, ...], Field(min_length=1, max_length=8, strict=False, examples=[[5.0, 40.0]])
]


class ScriptPoint(Strict):
    """One corner of a scripted course; what is not named stays out of the script."""

    t: At
    dose_rate: Annotated[FieldRate | None, Field(description="at this corner")] = None
    gamma_rate: Annotated[CountRate | None, Field(description="at this corner")] = None
    neutron_rate: Annotated[CountRate | None, Field(description="at this corner")] = None


class Script(Strict):
    """A prescribed course in place of the world's field: linear between its points."""

    points: Annotated[
        tuple[ScriptPoint, ...],
        Field(min_length=1, strict=False, description="the corners; all name the same"),
    ]
    noise: Annotated[
        float, Field(ge=0, le=1, description="relative standard deviation of each reading")
    ] = 0.0
    period_s: Annotated[Seconds, Field(description="in which a reading of it is drawn")] = 1.0


class DeadTime(Strict):
    """Losses of the counter: paralysable ones fold over, the others saturate."""

    tau_us: Annotated[float, Field(gt=0, description="µs", examples=[100])]
    paralysable: Annotated[
        bool, Field(description="folds over, as m = n·exp(-n·τ); false: m = n / (1 + n·τ)")
    ] = False


class Drift(Strict):
    """A background that wanders by more than chance, as a driven detector's does.

    Lognormal with mean 1; the variance is shared equally among Ornstein-Uhlenbeck processes.
    """

    variation: Annotated[float, Field(gt=0, le=1, description="relative standard deviation")] = 0.06
    times_s: Annotated[CorrelationTimes, Field(description="correlation times")] = (5.0, 40.0)


class Apart(Strict):
    """How far each copy of a detector stands from the one before."""

    x: Annotated[float, Field(description="to the east")] = 0.0
    y: Annotated[float, Field(description="to the north")] = 0.0


class ScenarioDetector(DetectorSettings):
    """A simulated instrument; the gateway's own settings as in a configuration."""

    driver: Annotated[
        str, Field(examples=["thermo-radeye"], description="its name in the instrument table")
    ] = DEFAULT_DRIVER
    archetype: Annotated[
        Literal["PRD", "HH", "BP", "VEH", "RPM", "AREA", "EPD"],
        Field(description="its kind, whose figures are the defaults below"),
    ]
    link: Annotated[
        Literal["serial", "tcp", "tcp_listen", "modbus_tcp", "modbus_rtu", "modbus_rtu_tcp"] | None,
        Field(
            description="default: the driver's first; tcp_listen: it calls the gateway; the last: "
            "RTU frames over TCP"
        ),
    ] = None
    bus: Annotated[
        Id | None,
        Field(description="Modbus: those with the same one share a port, as units 1, 2, ..."),
    ] = None
    settings: dict[str, bool | int | float | str] = Field(
        default_factory=dict, description="of the instrument's simulator"
    )
    recording: Annotated[
        str | None,
        Field(
            min_length=1,
            description="plays this file, from the scenario's folder, in place of a simulator",
            examples=["radeye-falls-silent/recording.jsonl"],
        ),
    ] = None
    at_s: Annotated[
        At | None, Field(description="when the recording begins; default: ``on_s``")
    ] = None
    at: Annotated[Point | None, Field(description="where it is; default: its post's place")] = None
    path: Annotated[Waypoints | None, Field(description="how it moves, in place of at")] = None
    copies: Annotated[
        Copies, Field(description="so many of them: ID-1, ID-2 ...; with ``at`` each ``apart``")
    ] = 1
    apart: Annotated[Apart, Field(description="from each copy to the next")] = Apart()
    exercise: Annotated[
        bool, Field(description="false: judged as a live one would be; virtual time only")
    ] = True
    on_s: Annotated[At, Field(description="switched on then")] = 0.0
    off_s: Annotated[At | None, Field(description="switched off then; default: never")] = None
    sensitivity: Annotated[
        float | None, Field(gt=0, description="1/s per µSv/h of Cs-137, the whole instrument")
    ] = None
    sensitivities: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(
        default_factory=dict,
        description="the same for other nuclides",
        examples=[{"Co-60": 200.0}],
    )
    neutron_sensitivity: Annotated[
        float | None, Field(gt=0, description="1/s for a source of 1 n/s at 1 m")
    ] = None
    background_rate: Annotated[
        CountRate | None, Field(description="at 0.10 µSv/h, the whole instrument")
    ] = None
    neutron_background_rate: Annotated[
        CountRate | None, Field(description="default: the archetype's")
    ] = None
    parts: Annotated[
        int, Field(ge=1, le=16, description="detectors inside that share the counts equally")
    ] = 1
    drift: Annotated[Drift | None, Field(description="a background that wanders")] = None
    dead_time: Annotated[DeadTime | None, Field(description="default: the archetype's")] = None
    saturation_rate: Annotated[
        CountRate | None, Field(description="where counting of each part saturates")
    ] = None
    lane_m: Annotated[float, Field(gt=0, description="a portal sees who is nearer than this")] = 1.5
    script: Annotated[
        Script | None, Field(description="what it sees in place of the world's field")
    ] = None


class JsonLinesSettings(Strict):
    """Settings of the simulated instrument behind ``json-lines``; None: as its archetype has it."""

    period_s: Annotated[
        Seconds | None, Field(description="from line to line; default: the archetype's step")
    ] = None
    counts: Annotated[
        bool | None,
        Field(description="sends gamma counts; default: not EPD, AREA only with max_count_rate"),
    ] = None
    dose_rate: Annotated[
        bool | None, Field(description="sends a dose rate; default: not with calibration")
    ] = None
    averaging_s: Annotated[
        float, Field(ge=0, le=3600, description="0: mean over the period; else a filter")
    ] = 0.0
    noise: Annotated[float, Field(ge=0, le=1, description="relative, of the dose rate")] = 0.0
    range_top: Annotated[float | None, Field(gt=0, description="µSv/h")] = None
    signals_over_range: Annotated[
        bool,
        Field(description="false: shows what its counter registers instead, folded or saturated"),
    ] = True
    instantaneous: Annotated[
        bool, Field(description="the dose rate of the moment of sending in place of the mean")
    ] = False
    unit: Annotated[
        Literal["µSv/h", "nSv/h", "mSv/h", "µR/h", "mR/h"],
        Field(
            description="of its dose rate; roentgen as makers label dose equivalent, 100 R for 1 Sv"
        ),
    ] = "µSv/h"
    dose: Annotated[
        bool | None, Field(description="sends the register of the dose; default: EPD does")
    ] = None
    dose_quantity: Annotated[
        Literal["personal", "ambient"] | None,
        Field(description="default: personal for dosemeters, else ambient"),
    ] = None
    calibration: Annotated[
        bool,
        Field(description="says its calibration: the gateway estimates the dose rate from counts"),
    ] = False
    rate_only: Annotated[
        bool, Field(description="a count rate smoothed with averaging_s in place of counts")
    ] = False
    warm_up_s: Annotated[
        float,
        Field(ge=0, le=3600, description="flagged warming_up for so long after it is switched on"),
    ] = 0.0
    position: Annotated[
        bool | None, Field(description="says where it is; default: BP and VEH do")
    ] = None
    serial: Annotated[
        str,
        Field(
            description="its serial number, told with the first line and every 10 s; default: none"
        ),
    ] = ""
    battery_percent: Annotated[
        float | None,
        Field(ge=0, le=100, description="tells its battery, and begins here; default: it does not"),
    ] = None
    battery_percent_per_h: Annotated[
        float, Field(ge=0, le=100, description="how fast the battery falls")
    ] = 0.0
    clock: Annotated[bool, Field(description="tells the time of a clock of its own")] = False
    clock_offset_s: Annotated[
        float, Field(ge=-1e9, le=1e9, description="so far ahead is the clock at the start of play")
    ] = 0.0
    clock_ppm: Annotated[
        float, Field(ge=-1e5, le=1e5, description="millionths that the clock runs too fast")
    ] = 0.0
    n_sigma: Annotated[float, Field(gt=0, le=20, description="portal: its own alarm")] = 5.0
    false_alarm_per_passage: Annotated[
        float | None, Field(gt=0, lt=0.5, description="portal: gives n_sigma")
    ] = None
    background_time_s: Annotated[
        int, Field(ge=1, le=600, description="portal: so many vacant seconds are averaged")
    ] = 20
    hold_in_intervals: Annotated[
        int,
        Field(
            ge=1,
            le=50,
            description="portal: a passage ends when the lane has been clear for so many",
        ),
    ] = 1
    neutron_alarm_counts: Annotated[
        int, Field(ge=1, description="portal: neutron counts of a second that alarm")
    ] = 15

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.rate_only and self.counts:
            raise ValueError("an instrument with rate_only sends no counts")
        if not self.clock and (self.clock_offset_s or self.clock_ppm):
            raise ValueError("an instrument without clock = true tells no time")
        return self


def copies_of(detector: ScenarioDetector) -> tuple[ScenarioDetector, ...]:
    """The detector itself, or its copies with ids and places of their own."""
    if detector.copies == 1:
        return (detector,)
    return tuple(_copy(detector, number) for number in range(1, detector.copies + 1))


def copy_ids(name: str, copies: int) -> tuple[str, ...]:
    """The ids that a detector's copies have."""
    return (name,) if copies == 1 else tuple(f"{name}-{n}" for n in range(1, copies + 1))


def _copy(detector: ScenarioDetector, number: int) -> ScenarioDetector:
    at, apart = detector.at, detector.apart
    if at is not None:
        x, y = at.x + (number - 1) * apart.x, at.y + (number - 1) * apart.y
        at = Point(x=x, y=y, z=at.z)
    changes = {"id": f"{detector.id}-{number}", "copies": 1, "at": at}
    return detector.model_copy(update=changes)


def speaks_json_lines(driver: str | None) -> bool:
    """Whether that is the open format's driver, by any of its names; it is the default."""
    return driver is None or driver in _NAMES


def settings_of(detector: ScenarioDetector) -> JsonLinesSettings | None:
    """The settings of a detector that speaks JSON lines, None for others."""
    if not speaks_json_lines(detector.driver):
        return None
    return JsonLinesSettings.model_validate(detector.settings)


def period_of(detector: ScenarioDetector) -> float | None:
    """Seconds from line to line, where the scenario decides it."""
    settings = settings_of(detector)
    if settings is None or detector.recording is not None:
        return None
    return settings.period_s or ARCHETYPES[detector.archetype].step_s
