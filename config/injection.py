"""An event that comes while a scenario is played: checked as if it stood in the file."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, ValidationError

from config.action import Action
from config.actions import Event
from config.explain import explain
from config.locate import Locations
from config.models import Strict
from config.problem import ConfigErrors, Findings, Problem, Severity
from config.scenario import Scenario
from config.scenario_checks import check_sent
from config.scenario_event_checks import check_events
from config.tables import Table

ORIGIN: Final = "inject"
_KNOWN: Final = {"detector", "post", "source"}
_UNITS: Final[Mapping[str, str]] = {
    "dose_rate": "µSv/h",
    "rise": "µSv/h",
    "gamma_rate": "1/s",
    "neutron_rate": "1/s",
    "activity": "Bq",
    "speed": "m/s",
}
"""In which amounts of events are held."""
_PLACE: Final = re.compile(r"^event\[0\](?: \(id [^)]*\))?\.?")


class _Injected(Strict):
    event: Annotated[tuple[Event, ...], Field(strict=False)]


class Injection:
    """What a scenario knows, to check events against while it is played."""

    def __init__(self, scenario: Scenario) -> None:
        self._known: dict[str, object] = scenario.model_dump(
            include=_KNOWN, exclude_none=True, by_alias=True
        )
        written = self._known["source"]
        self._sources = [*written] if isinstance(written, list | tuple) else []
        for key in _KNOWN:
            tables = self._known[key]
            self._known[key] = list(tables) if isinstance(tables, list | tuple) else []

    def examine(self, event: Table, sources: Iterable[str] = ()) -> Event:
        """The event, valid; ``sources`` are there by now. Raises ConfigErrors."""
        there = [*self._sources, *({"id": name} for name in sources)]
        data = self._known | {"event": [event], "source": there}
        findings = Findings(ORIGIN, data, Locations({}))
        made = None
        try:
            (made,) = _Injected.model_validate({"event": [event]}).event
        except ValidationError as error:
            explain(findings, _Injected, error.errors(include_url=False))
        check_events(findings)
        check_sent(findings)
        faults = [each for each in findings.in_order() if each.severity is Severity.ERROR]
        if made is None or faults:
            raise ConfigErrors(map(_named, faults))
        return made


def read_events(path: Path) -> list[Table]:
    """Events as JSON lines, such as a live stage writes them. Raises ConfigErrors."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigErrors([Problem(str(path), None, "", f"cannot be read: {error}")]) from None
    events = []
    for number, line in enumerate(lines, 1):
        try:
            event = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ConfigErrors([Problem(str(path), number, "", f"no JSON: {error}")]) from None
        if not isinstance(event, dict):
            raise ConfigErrors([Problem(str(path), number, "", "no JSON object")])
        events.append(event)
    return events


def _named(problem: Problem) -> Problem:
    """Without the place in a file that there is not."""
    return replace(problem, line=None, field=_PLACE.sub("", problem.field))


def table_of(event: Action) -> Table:
    """An event as it stands in a file: what was set, amounts with their units."""
    told: Table = {"at_s": event.at_s, "do": event.do}
    for name, value in event.model_dump(by_alias=True, exclude_defaults=True).items():
        if name in _UNITS and isinstance(value, float):
            told[name] = f"{value!r} {_UNITS[name]}"
        elif value is not None:
            told[name] = value
    return told
