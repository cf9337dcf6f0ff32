"""Where a picture's story comes from: a scenario that is played, JSON lines, or a journal."""

import json
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from config.problem import ConfigErrors, format_problem
from config.scenario import Scenario, examine_scenario
from gateway.journal.file import JournalUnusable
from gateway.journal.look import JournalLook
from gateway.journal.walk import Place, Wanted, page
from gateway.plot.story import BadMessage, Teller
from gateway.plot.values import Stage, Story
from gateway.values import Lane, Outputs
from gateway.verbs.duration import seconds
from gateway.verbs.plot_stage import stage_of
from gateway.verbs.terminal import complain
from gateway.verbs.virtual import VirtualPlay
from gateway.verbs.why import moment_of
from simulators.counter import NoCounts
from simulators.registry import NoSimulator

MOST_READINGS: Final = 3_000_000
"""Some 600 MB of memory: own choice."""
FILE_NOTE: Final = "Levels: those that alarms told of."
_LIMIT: Final = 1000
_BYTES: Final = 4_000_000
_EXAMINED: Final = 50_000
_TOLD: Final = ("state", "about")


Times = tuple[float | None, float | None]
"""From when to when, wall times; None: from the first, to the last."""


class Unreadable(Exception):
    """There is no story to be had; the text says why. ``is_fault``: the data are at fault."""

    def __init__(self, text: str, *, is_fault: bool = True) -> None:
        super().__init__(text)
        self.is_fault = is_fault


@dataclass(frozen=True, slots=True)
class Asked:
    """What of it: times as they were typed, detectors (none: all), the scenario's seed."""

    begin: str | None = None
    end: str | None = None
    detectors: frozenset[str] = frozenset()
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """A story and what stands around it."""

    story: Story
    stage: Stage
    name: str


def told_by(source: str, asked: Asked) -> Told:
    """The story of an input. Raises Unreadable."""
    path = Path(source)
    teller = Teller(asked.detectors)
    if source != "-" and path.is_dir():
        told = _journal(path, asked, teller)
    elif source != "-" and path.suffix == ".toml":
        told = _played(path, asked, teller)
    else:
        told = _lines(source, asked, teller)
    if unknown := sorted(asked.detectors - teller.known):
        names = ", ".join(sorted(teller.known)) or "there is none"
        raise Unreadable(f"no detector is called {', '.join(unknown)}: {names}", is_fault=False)
    parts = (told.story.groups, *((d.series, d.alarms, d.passages) for d in told.story.detectors))
    if not any(map(any, parts)):
        raise Unreadable(f"{source}: no dated sample, passage or alarm event is in it, or then")
    return told


def _told(teller: Teller, asked: Asked, start: float | None = None) -> Story:
    """The story between the times that are asked for."""
    if teller.newest is None:
        return teller.story()
    return _between(teller, *_times(asked, teller.newest, start))


def _times(asked: Asked, newest: float, start: float | None = None) -> Times:
    """The times that are meant, where ``newest`` is that of the newest entry."""
    return _moment(asked.begin, newest, start), _moment(asked.end, newest, start)


def _between(teller: Teller, begin: float | None, end: float | None) -> Story:
    first = teller.oldest if begin is None else begin
    last = teller.newest if end is None else end
    if (begin or end) and first is not None and last is not None and first >= last:
        raise Unreadable("--from is not before --to, or before the newest entry", is_fault=False)
    return teller.story(begin, end)


def _moment(text: str | None, newest: float, start: float | None) -> float | None:
    if text is None:
        return None
    try:
        if start is not None and not text.startswith("-"):
            return start + seconds(text)
    except ValueError:
        pass  # not a duration: a time then
    try:
        return moment_of(text, newest)
    except ValueError as error:
        raise Unreadable(str(error), is_fault=False) from error


def _take(teller: Teller, message: dict[str, Any]) -> None:
    teller.take(message)
    if teller.points > MOST_READINGS:
        raise Unreadable(
            f"more than {MOST_READINGS} readings: narrow it with --from, --to or --detector",
            is_fault=False,
        )


def _played(path: Path, asked: Asked, teller: Teller) -> Told:
    scenario = _scenario(path)
    play = _new_play(path, scenario, asked.seed)
    start = play.instant(0.0).wall
    try:
        for document in play.about():
            _take(teller, json.loads(document.body))
        for outputs in play.outputs():
            for message in _messages(outputs):
                _take(teller, message)
    except (NoCounts, NoSimulator) as error:
        raise Unreadable(f"{path}: {error}", is_fault=False) from error
    story = _told(teller, asked, start)
    if asked.begin is None and asked.end is None and not _is_stepped(scenario):
        story = teller.story(start, start + scenario.scenario.duration_s)
    stage = stage_of(scenario, play.seed, start, story)
    return Told(story, stage, f"{stage.title} (seed {play.seed})")


def _new_play(path: Path, scenario: Scenario, seed: int | None) -> VirtualPlay:
    try:
        return VirtualPlay(scenario, seed)
    except (ValueError, TypeError, AttributeError, NoCounts, NoSimulator) as error:
        raise Unreadable(f"{path}: an instrument cannot be simulated: {error}") from error


def _is_stepped(scenario: Scenario) -> bool:
    return any(event.do == "clock_step" for event in scenario.event)


def _scenario(path: Path) -> Scenario:
    try:
        examination = examine_scenario(path)
    except ConfigErrors as errors:
        raise Unreadable(str(errors), is_fault=False) from errors
    for problem in examination.problems:
        complain(format_problem(problem))
    if examination.scenario is None:
        raise Unreadable(f"{path}: the scenario is faulty", is_fault=False)
    return examination.scenario


def _messages(outputs: Outputs) -> Iterator[dict[str, Any]]:
    for entry in outputs.entries:
        yield json.loads(entry.body)
    for document in outputs.documents:
        if document.body and document.topic.rpartition("/")[2] in _TOLD:
            yield json.loads(document.body)


def _lines(source: str, asked: Asked, teller: Teller) -> Told:
    stdin = nullcontext(sys.stdin)
    try:
        with stdin if source == "-" else Path(source).open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    _line(teller, line, f"{source}:{number}")
    except UnicodeDecodeError as error:
        raise Unreadable(f"{source}: it is not text: {error.reason}") from error
    except OSError as error:
        raise Unreadable(f"{source}: {error.strerror or error}", is_fault=False) from error
    name = "standard input" if source == "-" else Path(source).name
    return Told(_told(teller, asked), Stage(notes=(FILE_NOTE,)), name)


def _line(teller: Teller, line: str, where: str) -> None:
    try:
        message = json.loads(line)
        if not isinstance(message, dict):
            raise BadMessage("it is no object")
        _take(teller, message)
    except json.JSONDecodeError as error:
        raise Unreadable(f"{where}: this is no line of JSON: {error.msg}") from error
    except BadMessage as error:
        raise Unreadable(f"{where}: {error}") from error


def _journal(directory: Path, asked: Asked, teller: Teller) -> Told:
    taken = damaged = 0
    try:
        with JournalLook.open(directory) as look:
            newest = look.newest() or 0.0
            begin, end = _times(asked, newest)
            alarms = Wanted(lanes=tuple(lane for lane in Lane if lane.is_alarm), until=end)
            samples = Wanted(
                lanes=tuple(lane for lane in Lane if not lane.is_alarm), since=begin, until=end
            )
            for wanted in (alarms, samples):
                good, bad = _walk(look, wanted, teller)
                taken, damaged = taken + good, damaged + bad
    except (JournalUnusable, sqlite3.Error) as error:
        raise Unreadable(str(error)) from error
    except BadMessage as error:
        raise Unreadable(f"{directory}: {error}") from error
    if begin is not None and end is None:
        end = max(newest, teller.newest or newest)
    name = f"journal {directory.resolve().name}"
    notes = _journal_notes(directory, taken, damaged)
    return Told(_between(teller, begin, end), Stage(notes=notes), name)


def _journal_notes(directory: Path, taken: int, damaged: int) -> tuple[str, ...]:
    """What stands in the picture; damage is told at once. Raises Unreadable if nothing is left."""
    if not damaged:
        return (FILE_NOTE,)
    note = f"Messages that cannot be read: {damaged}; dosegate journal verify tells."
    if not taken:
        raise Unreadable(f"{directory}: nothing can be read. {note}")
    complain(note)
    return (FILE_NOTE, note)


def _walk(look: JournalLook, wanted: Wanted, teller: Teller) -> tuple[int, int]:
    """Takes all of it; how many messages there are, and how many cannot be read."""
    place: Place | None = None
    taken = damaged = 0
    while True:
        found = page(look, wanted, place, _LIMIT, _BYTES, _EXAMINED)
        damaged += found.damaged
        for message in found.messages:
            if message.get("kind") == "damaged":
                damaged += 1
                continue
            taken += 1
            _take(teller, message)
        place = found.place
        if place is None:
            return taken, damaged
