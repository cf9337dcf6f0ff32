"""What a configuration says about alarms: levels, doses, how classes are judged, the budget."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final, Literal

from pydantic import Field

from config.amounts import CountRate, Dose, DoseRate
from config.strict import DetectorClass, Seconds, Strict

DEFAULT_LEVELS: Final[Mapping[str, float]] = MappingProxyType(
    {"R3": 0.5, "R4": 20.0, "R5": 100.0, "R6": 1e3, "R7": 1e5}
)
"""Shipped absolute levels in µSv/h, lowest first; every site must review them."""
CLEAR_FACTOR: Final = 0.8
"""A level without ``clear`` is cleared below this part of it."""


class Level(Strict):
    """One absolute level: raised at ``raise``, cleared below ``clear`` (default 0.8 of it)."""

    raise_at: Annotated[DoseRate, Field(alias="raise", description="raised at or above")]
    clear: Annotated[DoseRate | None, Field(description="cleared below; default: 0.8 of it")] = None
    on_delay_s: Annotated[
        float,
        Field(ge=0, allow_inf_nan=False, description="so long must it hold before it is raised"),
    ] = 0.0
    enabled: Annotated[bool, Field(description="false: never raised")] = True


DEFAULT_DOSES: Final[Mapping[str, float]] = MappingProxyType(
    {"D1": 1e3, "D2": 20e3, "D3": 50e3, "D4": 500e3, "D5": 1e6}
)
"""Shipped levels of accumulated dose in µSv, lowest first; D5 is off unless a site turns it on."""


class DoseLevel(Strict):
    """One level of accumulated dose."""

    raise_at: Annotated[Dose, Field(alias="raise", description="raised at or above")]
    enabled: Annotated[bool, Field(description="false: never raised")] = True


class DoseLevels(Strict):
    """Overrides of the shipped dose levels of worn instruments."""

    D1: Annotated[DoseLevel | None, Field(description="annual limit of the public, 1 mSv")] = None
    D2: Annotated[DoseLevel | None, Field(description="caution, 20 mSv")] = None
    D3: Annotated[DoseLevel | None, Field(description="turn back, 50 mSv")] = None
    D4: Annotated[DoseLevel | None, Field(description="decision, 500 mSv")] = None
    D5: Annotated[DoseLevel | None, Field(description="ceiling, 1 Sv; off as shipped")] = None


class Profile(Strict):
    """How detectors of a class, or one of them, are judged; what is not named keeps its default."""

    platform: Annotated[
        Literal["static", "walking", "vehicle"] | None,
        Field(description="what carries it: decides how a rise over background is found"),
    ] = None
    moving_subject: Annotated[
        bool | None,
        Field(description="it must catch who walks or drives past: sampled every second"),
    ] = None
    worn: Annotated[bool | None, Field(description="it measures a person's dose")] = None
    background_s: Annotated[
        Seconds | None, Field(description="time over which the background is learned")
    ] = None
    background_rate: Annotated[
        CountRate | None, Field(description="usual background; thrice as much is not believed")
    ] = None
    smoothing_s: Annotated[
        Seconds | None, Field(description="time constant of the dose rate it shows")
    ] = None
    sampling_s: Annotated[
        Seconds | None, Field(description="time between its outputs, if not the driver's")
    ] = None
    freeze_limit_s: Annotated[
        Seconds | None, Field(description="a background frozen for longer is an alarm of its own")
    ] = None
    frozen_value_s: Annotated[
        Seconds | None, Field(description="the same number for so long is a fault")
    ] = None
    ratio: Annotated[
        float | None, Field(gt=1, le=10, description="R2: raised at so many times the baseline")
    ] = None
    ratio_clear: Annotated[
        float | None, Field(gt=1, le=10, description="R2: cleared below so many times")
    ] = None
    moving_sigma: Annotated[
        float | None, Field(ge=4, le=20, description="moving platforms: least rise in deviations")
    ] = None
    neutron_gamma_limit: Annotated[
        DoseRate | None, Field(description="above it neutron alarms are held back")
    ] = None


class ClassProfile(Profile):
    """A profile for all detectors of one class."""

    detector_class: Annotated[DetectorClass, Field(alias="class", description="which")]


class Levels(Strict):
    """Overrides of the shipped absolute levels; what is not named keeps its default."""

    R3: Annotated[Level | None, Field(description="advisory, 0.5 µSv/h")] = None
    R4: Annotated[Level | None, Field(description="caution, 20 µSv/h")] = None
    R5: Annotated[Level | None, Field(description="cordon, 100 µSv/h")] = None
    R6: Annotated[Level | None, Field(description="urgent, 1 mSv/h")] = None
    R7: Annotated[Level | None, Field(description="danger, 100 mSv/h")] = None


class Budget(Strict):
    """How many false alarms the whole fleet may raise, by consequence."""

    rises_per_hour: Annotated[
        float, Field(gt=0, le=60, description="R1, R2 and levels judged by counts, together")
    ] = 0.6
    neutrons_per_event: Annotated[float, Field(gt=0, le=100, description="N1 in a whole event")] = (
        1.0
    )
    event_h: Annotated[float, Field(gt=0, le=10_000, description="how long the event lasts")] = 24.0
    share: Annotated[float, Field(gt=0, le=1, description="this gateway's part of both")] = 1.0
    operators: Annotated[int, Field(ge=1, le=1000, description="who share the alarms")] = 1


class Alarms(Strict):
    """Settings of the alarm engine that hold for the whole gateway."""

    levels: Annotated[Levels, Field(description="of all detectors")] = Levels()
    dose_levels: Annotated[DoseLevels, Field(description="of all worn detectors")] = DoseLevels()
    budget: Annotated[Budget, Field(description="of false alarms")] = Budget()
    off_delay_s: Annotated[
        float,
        Field(
            ge=0,
            le=600,
            description="valid readings below the clear value for so long end an alarm",
        ),
    ] = 10.0
