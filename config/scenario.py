"""A whole scenario file, TOML: a place, sources, detectors, passages, rain, events, expectations.

What its tables say is in ``config.scenario_world``, ``config.scenario_detectors`` and
``config.actions``.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, field_validator

from config.actions import Event, Expectation
from config.alarm_checks import check_alarms
from config.archetypes import ARCHETYPES, Archetype
from config.document import read_document
from config.explain import explain
from config.locate import Locations
from config.models import (
    Alarms,
    ClassProfile,
    Configuration,
    Detector,
    DetectorSettings,
    Gateway,
    Guidance,
    Link,
    Post,
    Strict,
    User,
)
from config.problem import ConfigErrors, Findings, Problem, Severity
from config.scenario_checks import check_scenario
from config.scenario_detectors import (
    DEFAULT_DRIVER,
    ScenarioDetector,
    copies_of,
    period_of,
    speaks_json_lines,
)
from config.scenario_recordings import check_recordings, with_recordings
from config.scenario_world import (
    Background,
    BackgroundChange,
    Crowd,
    Occupancy,
    Play,
    Pressure,
    Rain,
    Site,
    Source,
    Surroundings,
    Vehicle,
    Xray,
    Zone,
)
from config.tables import Table, part, text


class Scenario(Strict):
    """One whole scenario file."""

    scenario: Play
    site: Site | None = None
    gateway: Gateway | None = None
    alarms: Alarms = Alarms()
    guidance: Guidance = Guidance()
    user: Annotated[tuple[User, ...], Field(strict=False)] = ()
    profile: Annotated[tuple[ClassProfile, ...], Field(strict=False)] = ()
    world: Surroundings = Surroundings()
    background: Background = Background()
    background_change: Annotated[tuple[BackgroundChange, ...], Field(strict=False)] = ()
    rain: Annotated[tuple[Rain, ...], Field(strict=False)] = ()
    zone: Annotated[tuple[Zone, ...], Field(strict=False)] = ()
    pressure: Annotated[tuple[Pressure, ...], Field(strict=False)] = ()
    post: Annotated[tuple[Post, ...], Field(strict=False)] = ()
    source: Annotated[tuple[Source, ...], Field(strict=False)] = ()
    xray: Annotated[tuple[Xray, ...], Field(strict=False)] = ()
    detector: Annotated[tuple[ScenarioDetector, ...], Field(strict=False)] = ()
    occupancy: Annotated[tuple[Occupancy, ...], Field(strict=False)] = ()
    vehicle: Annotated[tuple[Vehicle, ...], Field(strict=False)] = ()
    crowd: Annotated[tuple[Crowd, ...], Field(strict=False)] = ()
    event: Annotated[tuple[Event, ...], Field(strict=False)] = ()
    expect: Annotated[tuple[Expectation, ...], Field(strict=False)] = ()

    @field_validator("detector", mode="after")
    @classmethod
    def _with_copies(cls, detectors: tuple[ScenarioDetector, ...]) -> tuple[ScenarioDetector, ...]:
        return tuple(copy for each in detectors for copy in copies_of(each))

    def configuration(self, links: Mapping[str, Link], *, virtual: bool = False) -> Configuration:
        """The gateway's configuration for this scenario, every detector marked simulated.

        In virtual time those with ``exercise = false`` are not: nothing leaves the process.
        """
        return Configuration.model_construct(
            gateway=self.gateway or Gateway(id=self.scenario.name),
            alarms=self.alarms,
            guidance=self.guidance,
            user=self.user,
            profile=self.profile,
            sink=(),
            post=self.post,
            detector=tuple(_configured(each, links[each.id], virtual) for each in self.detector),
        )


def _configured(detector: ScenarioDetector, link: Link, virtual: bool) -> Detector:
    """Values are valid already, and amounts no longer text, so nothing is validated again."""
    shared = {name: getattr(detector, name) for name in DetectorSettings.model_fields}
    period_s = period_of(detector)
    if period_s is not None and detector.profile.sampling_s is None:
        shared["profile"] = detector.profile.model_copy(update={"sampling_s": period_s})
    simulated = detector.exercise or not virtual
    return Detector.model_construct(**shared, link=link, simulated=simulated)


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


def examine_scenario(
    path: Path, events: Sequence[Table] | None = None, *, live: bool = False
) -> ScenarioExamination:
    """The scenario together with advice; never raises for what the file says.

    With ``events`` these happen in place of its own; ``live`` keeps back what virtual time lacks.
    """
    try:
        findings = read_document(path)
    except ConfigErrors as errors:
        return ScenarioExamination(None, errors.problems)
    if events is not None:
        findings = _with_events(findings, events)
    findings = with_recordings(findings)
    scenario = None
    try:
        scenario = Scenario.model_validate(complete(findings.data))
    except ValidationError as error:
        explain(findings, Scenario, error.errors(include_url=False))
    check_scenario(findings)
    check_recordings(findings)
    _advise_on_alarms(findings)
    _advise_on_events(findings, () if scenario is None else scenario.event, live=live)
    problems = findings.in_order()
    has_error = any(problem.severity is Severity.ERROR for problem in problems)
    return ScenarioExamination(None if has_error else scenario, problems)


def _advise_on_events(findings: Findings, events: Sequence[Event], *, live: bool) -> None:
    """What is not played, said once at the first event of its kind."""
    said = set()
    for index, event in enumerate(events):
        left_out = "" if live and event.played else event.left_out()
        if left_out and left_out not in said:
            findings.advice(("event", index, "do"), left_out)
            said.add(left_out)


def _with_events(findings: Findings, events: Sequence[Table]) -> Findings:
    """The same document with other events, which stand in no line of it."""
    lines = {
        path: line for path, line in findings.locations.lines.items() if path[:1] != ("event",)
    }
    return Findings(findings.file, findings.data | {"event": [*events]}, Locations(lines))


def _advise_on_alarms(findings: Findings) -> None:
    """What a configuration may not say of alarms is played, so that one sees why, and is told."""
    trial = Findings(findings.file, complete(findings.data), findings.locations)
    check_alarms(trial)
    findings.problems += [
        replace(each, severity=Severity.ADVICE)
        for each in trial.problems
        if each.severity is Severity.ERROR
    ]


def complete(data: Table) -> Table:
    """The same data, except that detectors have what their archetype and settings imply."""
    detectors = data.get("detector")
    if not isinstance(detectors, list):
        return data
    return data | {"detector": [_completed(each) for each in detectors]}


def _completed(detector: object) -> object:
    if not isinstance(detector, dict):
        return detector
    archetype = ARCHETYPES.get(text(detector, "archetype") or "")
    usual = {"driver": DEFAULT_DRIVER} | ({"class": archetype.detector_class} if archetype else {})
    return usual | detector | (_with_counter(detector, archetype) if archetype else {})


def _with_counter(detector: Table, archetype: Archetype) -> Table:
    """What a counter that hides its folding shows at most, and the counts to judge it by."""
    settings = part(detector, "settings")
    is_silent = settings.get("rate_only") or settings.get("counts") is False
    counts = archetype.background_cps is not None and archetype.name != "RPM"
    if is_silent or not counts or not speaks_json_lines(text(detector, "driver")):
        return {}
    told: dict[str, object] = {}
    if settings.get("signals_over_range") is False and "max_count_rate" not in detector:
        most = _most(detector, archetype)
        told |= {"max_count_rate": f"{most:.6g} cps"} if most else {}
    if "max_count_rate" in detector or told:
        told["settings"] = {"counts": True} | settings
    return told


def _most(detector: Table, archetype: Archetype) -> float | None:
    """The greatest rate in 1/s that a paralysable counter registers; None for others."""
    tau_s, folds = archetype.dead_time_s, archetype.is_paralysable
    if "dead_time" in detector:
        dead = part(detector, "dead_time")
        tau_us, folds = dead.get("tau_us"), dead.get("paralysable") is True
        tau_s = tau_us * 1e-6 if isinstance(tau_us, int | float) else 0.0
    parts = detector.get("parts", 1)
    return parts / (math.e * tau_s) if folds and tau_s > 0 and isinstance(parts, int) else None
