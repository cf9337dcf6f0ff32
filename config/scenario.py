"""What a scenario may say: a place, sources, detectors, passages, rain and events, as TOML.

Coordinates are metres, x to the east and y to the north of the site's origin, z upwards. Times
are seconds after the start of play.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, ValidationError

from config.actions import At, Event, Fraction
from config.amounts import Activity, CountRate, DoseRate, FieldRate, Speed
from config.document import read_document
from config.explain import explain
from config.loader import complete
from config.models import (
    Alarms,
    Configuration,
    Detector,
    DetectorSettings,
    Gateway,
    Id,
    Link,
    Post,
    Seconds,
    Strict,
)
from config.problem import ConfigErrors, Problem, Severity
from config.scenario_checks import check_scenario

Metres = Annotated[float, Field(allow_inf_nan=False)]
Length = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Play(Strict):
    """The scenario as a whole."""

    name: Id
    title: str = ""
    seed: Annotated[int, Field(ge=0)] = 1
    duration_s: Annotated[float, Field(gt=0, allow_inf_nan=False, examples=[300])]
    start: Annotated[AwareDatetime | None, Field(description="what the clock shows at 0 s")] = None


class Site(Strict):
    """Where the origin lies (WGS84); without it nothing has a position on the globe."""

    latitude: Annotated[float, Field(ge=-90, le=90, examples=[52.5146])]
    longitude: Annotated[float, Field(ge=-180, le=180, examples=[13.2394])]


class Background(Strict):
    """The natural field: every detector's background follows it."""

    dose_rate: FieldRate = 0.10


class BackgroundChange(Strict):
    """From ``at_s`` on the background moves to ``dose_rate`` in ``over_s``, and stays."""

    at_s: At
    over_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    dose_rate: FieldRate
    detectors: Annotated[
        tuple[Id, ...], Field(strict=False, description="only these; empty: all")
    ] = ()


class Rain(Strict):
    """Radon daughters washed out: a linear rise, then decay.

    Defaults: 14 mm in 15 min at PTB Braunschweig raised 106 to 196 nSv/h; decay half-time 30 min.
    """

    at_s: At
    rise: DoseRate = 0.090
    rise_s: Seconds = 900.0
    half_life_s: Seconds = 1800.0


class Point(Strict):
    """A place."""

    x: Metres
    y: Metres
    z: Metres = 0.0


class Waypoint(Point):
    """A place at a time; between two of them movement is straight and even."""

    t: At


class Pass(Strict):
    """A straight walk or drive past a detector, closest at ``at_s``."""

    past: Id
    closest_m: Length
    speed: Speed
    at_s: At
    heading_deg: Annotated[float, Field(ge=0, lt=360, description="0 north, 90 east")] = 90.0


Waypoints = Annotated[tuple[Waypoint, ...], Field(min_length=1, strict=False)]


class Source(Strict):
    """A point source; it has exactly one of ``at``, ``path``, ``pass``, or rides in a vehicle."""

    id: Id
    nuclide: Annotated[str | None, Field(examples=["Cs-137"])] = None
    activity: Activity | None = None
    constant: Annotated[
        float | None,
        Field(gt=0, description="µSv·m²/(h·GBq) in place of the nuclide's"),
    ] = None
    kind: Literal["bare", "patient", "shielded", "norm", "exercise"] = "bare"
    shielding: Annotated[
        Fraction | None,
        Field(description="part of the bare field that remains; a patient's own by default"),
    ] = None
    n_per_s: Annotated[float, Field(ge=0, allow_inf_nan=False, description="neutrons")] = 0.0
    at: Point | None = None
    path: Waypoints | None = None
    passing: Annotated[Pass | None, Field(alias="pass")] = None
    appears_s: At = 0.0
    leaves_s: At | None = None
    enters_lanes: Annotated[
        bool, Field(description="who carries it is seen by the portals it passes")
    ] = True


class ScriptPoint(Strict):
    """One corner of a scripted course; what is not named stays out of the script."""

    t: At
    dose_rate: FieldRate | None = None
    gamma_rate: CountRate | None = None
    neutron_rate: CountRate | None = None


class Script(Strict):
    """A prescribed course in place of the world's field: linear between its points."""

    points: Annotated[tuple[ScriptPoint, ...], Field(min_length=1, strict=False)]
    noise: Annotated[
        float, Field(ge=0, le=1, description="relative standard deviation of each reading")
    ] = 0.0
    period_s: Seconds = 1.0


class DeadTime(Strict):
    """Losses of the counter: paralysable ones fold over, the others saturate."""

    tau_us: Annotated[float, Field(gt=0, description="µs", examples=[100])]
    paralysable: bool = False


class ScenarioDetector(DetectorSettings):
    """A simulated instrument; the gateway's own settings as in a configuration."""

    archetype: Literal["PRD", "HH", "BP", "VEH", "RPM", "AREA", "EPD"]
    link: Annotated[
        Literal["serial", "tcp", "modbus_tcp", "modbus_rtu"] | None,
        Field(description="default: the driver's first"),
    ] = None
    settings: dict[str, bool | int | float | str] = Field(
        default_factory=dict, description="of the instrument's simulator"
    )
    at: Point | None = None
    path: Waypoints | None = None
    on_s: At = 0.0
    off_s: At | None = None
    sensitivity: Annotated[
        float | None, Field(gt=0, description="1/s per µSv/h of Cs-137, the whole instrument")
    ] = None
    background_rate: Annotated[
        CountRate | None, Field(description="at 0.10 µSv/h, the whole instrument")
    ] = None
    neutron_background_rate: CountRate | None = None
    parts: Annotated[
        int, Field(ge=1, le=16, description="detectors inside that share the counts equally")
    ] = 1
    dead_time: DeadTime | None = None
    saturation_rate: CountRate | None = None
    lane_m: Annotated[float, Field(gt=0, description="a portal sees who is nearer than this")] = 1.5
    script: Script | None = None


class Repeat(Strict):
    """The same again, ``count`` times in all."""

    count: Annotated[int, Field(ge=1, le=1_000_000, examples=[10])]
    every_s: Annotated[float, Field(gt=0, examples=[12.0])]


class Occupancy(Strict):
    """Somebody or something in a portal's lane, with what it hides or adds."""

    portal: Id
    at_s: At
    length_s: Annotated[float, Field(gt=0, allow_inf_nan=False, examples=[2.5])]
    speed: Speed | None = None
    suppression: Annotated[Fraction, Field(description="part of the background that is hidden")] = (
        0.0
    )
    gamma_rate: Annotated[CountRate, Field(description="added in the middle")] = 0.0
    neutron_rate: CountRate = 0.0
    cargo_s: Annotated[float | None, Field(gt=0, description="how long; default: all of it")] = None
    repeat: Repeat | None = None


class Vehicle(Strict):
    """A vehicle through a portal, its middle there at ``at_s``; ``cargo`` names a source in it."""

    id: Id
    portal: Id
    at_s: At
    length_m: Length
    speed: Speed
    closest_m: Length = 2.0
    suppression: Fraction = 0.0
    cargo: Id | None = None


class Scenario(Strict):
    """One whole scenario file."""

    scenario: Play
    site: Site | None = None
    gateway: Gateway | None = None
    alarms: Alarms = Alarms()
    background: Background = Background()
    background_change: Annotated[tuple[BackgroundChange, ...], Field(strict=False)] = ()
    rain: Annotated[tuple[Rain, ...], Field(strict=False)] = ()
    post: Annotated[tuple[Post, ...], Field(strict=False)] = ()
    source: Annotated[tuple[Source, ...], Field(strict=False)] = ()
    detector: Annotated[tuple[ScenarioDetector, ...], Field(strict=False)] = ()
    occupancy: Annotated[tuple[Occupancy, ...], Field(strict=False)] = ()
    vehicle: Annotated[tuple[Vehicle, ...], Field(strict=False)] = ()
    event: Annotated[tuple[Event, ...], Field(strict=False)] = ()

    def configuration(self, links: Mapping[str, Link]) -> Configuration:
        """The gateway's configuration for this scenario, every detector marked simulated."""
        return Configuration.model_construct(
            gateway=self.gateway or Gateway(id=self.scenario.name),
            alarms=self.alarms,
            sink=(),
            post=self.post,
            detector=tuple(_configured(each, links[each.id]) for each in self.detector),
        )


def _configured(detector: ScenarioDetector, link: Link) -> Detector:
    """Values are valid already, and amounts no longer text, so nothing is validated again."""
    shared = {name: getattr(detector, name) for name in DetectorSettings.model_fields}
    return Detector.model_construct(**shared, link=link, simulated=True)


@dataclass(frozen=True, slots=True)
class ScenarioExamination:
    """What was found in a file; the scenario is None exactly when there is an error."""

    scenario: Scenario | None
    problems: tuple[Problem, ...]


def load_scenario(path: Path) -> Scenario:
    """The scenario in a file. Raises ConfigErrors with every error of the file."""
    examination = examine_scenario(path)
    if examination.scenario is None:
        raise ConfigErrors(examination.problems)
    return examination.scenario


def examine_scenario(path: Path) -> ScenarioExamination:
    """The scenario together with advice; never raises for what the file says."""
    try:
        findings = read_document(path)
    except ConfigErrors as errors:
        return ScenarioExamination(None, errors.problems)
    scenario = None
    try:
        scenario = Scenario.model_validate(complete(findings.data))
    except ValidationError as error:
        explain(findings, Scenario, error.errors(include_url=False))
    check_scenario(findings)
    for index, event in enumerate(scenario.event if scenario else ()):
        if not event.played:
            findings.advice(("event", index, "do"), f"{event.do!r} is accepted, but not played")
    problems = findings.in_order()
    has_error = any(problem.severity is Severity.ERROR for problem in problems)
    return ScenarioExamination(None if has_error else scenario, problems)
