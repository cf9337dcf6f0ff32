"""What a run of a scenario told: alarm events with their moment, answers, unmet expectations."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from config.actions import Expectation
from config.command_actions import Command as Asked
from config.command_actions import OnAlarm
from gateway.values import Answer, Entry

ALARM_TOPIC: Final = "alarm/event"
NO_OCCURRENCE: Final = "none"
"""What a command is about when no alarm fits: the gateway refuses it."""


@dataclass(frozen=True, slots=True)
class Told:
    """One alarm event; ``at_s`` is the second of play in which the gateway told it."""

    at_s: float
    event: str
    occurrence: str
    detector: str
    alarm: str
    level: str


class Heard:
    """Everything that alarms did in a run, in order."""

    def __init__(self) -> None:
        self.alarms: list[Told] = []
        self._newest: dict[str, Told] = {}
        self._open: set[str] = set()

    def note(self, entries: Iterable[Entry], at_s: float) -> None:
        """The alarm events among new entries."""
        for entry in entries:
            if entry.topic == ALARM_TOPIC:
                told = _told(json.loads(entry.body), at_s)
                self.alarms.append(told)
                self._newest[told.occurrence] = told
                (self._open.discard if told.event == "closed" else self._open.add)(told.occurrence)

    def occurrence(self, action: OnAlarm) -> str:
        """The alarm that a command is about: the newest open one that fits, or the nth ever."""
        fitting = [
            name
            for name, told in self._newest.items()
            if action.detector in (None, told.detector)
            and action.alarm in (None, told.alarm)
            and action.level in (None, told.level)
        ]
        if action.occurrence is not None:
            index = action.occurrence - 1
            return fitting[index] if index < len(fitting) else NO_OCCURRENCE
        still_open = [name for name in fitting if name in self._open]
        return still_open[-1] if still_open else NO_OCCURRENCE

    def raised(self) -> list[dict[str, object]]:
        """Each detector, alarm and level that was raised: how often, and when first."""
        first: dict[tuple[str, str, str], Told] = {}
        counts: dict[tuple[str, str, str], int] = {}
        for told in self.alarms:
            if told.event == "raised":
                key = (told.detector, told.alarm, told.level)
                first.setdefault(key, told)
                counts[key] = counts.get(key, 0) + 1
        return [
            {
                "detector": key[0],
                "alarm": key[1],
                "level": key[2],
                "count": counts[key],
                "first_s": round(told.at_s, 3),
            }
            for key, told in first.items()
        ]


def _told(body: dict[str, object], at_s: float) -> Told:
    names = ("event", "occurrence", "detector", "alarm", "level")
    return Told(at_s, *(str(body[name]) for name in names))


def unmet(expectations: Sequence[Expectation], alarms: Sequence[Told]) -> Iterator[str]:
    """One line for each expectation that the run did not meet."""
    for number, wanted in enumerate(expectations):
        found = [told for told in alarms if _fits(wanted, told)]
        least, most = wanted.bounds
        if len(found) < least or (most is not None and len(found) > most):
            seconds = ", ".join(f"{told.at_s:g}" for told in found[:10])
            times = f" (at {seconds} s)" if found else ""
            yield f"expect[{number}] {_words(wanted)}: happened {len(found)} times{times}"


def _fits(wanted: Expectation, told: Told) -> bool:
    start, end = wanted.between or (0.0, float("inf"))
    return (
        wanted.event == told.event
        and wanted.detector in (None, told.detector)
        and wanted.alarm in (None, told.alarm)
        and wanted.level in (None, told.level)
        and start <= told.at_s <= end
    )


def _words(wanted: Expectation) -> str:
    least, most = wanted.bounds
    what = [wanted.event]
    what += [word for word in (wanted.detector, wanted.alarm, wanted.level) if word]
    if wanted.between is not None:
        what.append(f"between {wanted.between[0]:g} and {wanted.between[1]:g} s")
    if most is None:
        return f"{' '.join(what)}, at least {least}"
    return f"{' '.join(what)}, {least}" if least == most else f"{' '.join(what)}, {least} to {most}"


def unanswered(answers: Sequence[tuple[Asked, Answer]]) -> Iterator[str]:
    """One line for each command whose answer is not the expected one."""
    for event, answer in answers:
        said = f"{'accepted' if answer.accepted else 'refused'}: {answer.reason}"
        where = f"at {event.at_s:g} s {event.do}: expected"
        if event.expect is not None and (event.expect == "accepted") is not answer.accepted:
            yield f"{where} {event.expect}, but {said}"
        elif event.expect_reason is not None and event.expect_reason not in answer.reason:
            yield f"{where} a reason with {event.expect_reason!r}, but {said}"
