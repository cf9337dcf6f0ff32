"""Occurrences of alarms with what their detectors said meanwhile, for N42 documents."""

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

from gateway.alarms.record import is_radiation
from gateway.n42 import MOST_MEASUREMENTS, Occurrence
from gateway.values import Lane
from gateway.wire.table import iso

Message = dict[str, Any]
Read = Callable[[dict[str, Any]], Iterable[Message]]
BEFORE_S: Final = 5.0
"""Samples so long before the alarm are part of its document: own choice."""
AFTER_S: Final = 120.0
"""A passage is told when it is over, at most so long after the alarm's last moment: own choice."""
LATE_S: Final = 60.0
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def occurrences(read: Read, events: Iterable[Message]) -> Iterator[Occurrence]:
    """Each occurrence of a radiation alarm among the events, with its newest event.

    ``read`` gives the messages that are asked for. Only alarms that are not closed are kept.
    """
    newest: dict[str, Message] = {}
    for event in events:
        if event.get("kind") != "alarm_event" or not is_radiation(event["alarm"]):
            continue
        newest[event["occurrence"]] = event
        if event["event"] == "closed":
            yield _with_samples(read, newest.pop(event["occurrence"]))
    for event in newest.values():
        yield _with_samples(read, event)


def _with_samples(read: Read, alarm: Message) -> Occurrence:
    if alarm["detector"].startswith("@"):
        return Occurrence(alarm)
    began, ended = _wall(alarm["raised"]), _wall(alarm["returned"] or alarm["time"])
    lane = Lane.EXERCISE_SAMPLES if alarm["exercise"] else Lane.SAMPLES
    asked = {"lane": lane, "detector": alarm["detector"], "late_s": LATE_S}
    during = {"since": iso(began - BEFORE_S), "until": iso(ended)}
    samples: list[Message] = []
    left_out = 0
    for sample in read({**asked, **during, "kind": "sample"}):
        if len(samples) < MOST_MEASUREMENTS:
            samples.append(sample)
        else:
            left_out += 1
    told = {"since": iso(began), "until": iso(ended + AFTER_S), "kind": "passage"}
    passages = [
        passage
        for passage in read({**asked, **told})
        if passage["start"] is not None and passage["start"] <= iso(ended)
    ]
    return Occurrence(alarm, samples, passages[:MOST_MEASUREMENTS], left_out)


def _wall(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()


def file_name(occurrence: str) -> str:
    """The name of its file; what is no plain name becomes one."""
    if _NAME.fullmatch(occurrence) is None:
        occurrence = sha256(occurrence.encode(errors="replace")).hexdigest()[:32]
    return f"{occurrence}.n42"
