"""The journal's messages in order, a page at a time: what is looked at stays small on any journal.

Lanes are merged by epoch and time; within a lane and epoch the order is that of the numbers. Where
a walk goes on is a ``Place``, so that pages join without gap or repetition.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from drivers.api import Channel
from gateway.alarms.nuclide import MEDICAL
from gateway.journal.look import AT_ONCE, JournalLook, time_of
from gateway.journal.record import Record
from gateway.journal.spans import Span
from gateway.values import Lane
from gateway.wire.envelope import SCHEMA

Message = dict[str, Any]
EXAMINED: Final = 2000
"""Records that one page looks at, at most: some 20 ms, own choice."""
MARGIN_S: Final = 60.0
"""So far may an instrument's own clock be ahead of the gateway's: own choice."""
RESTRICTED: Final = "(restricted)"
UNREADABLE: Final = (ValueError, sqlite3.DatabaseError)
"""What reading a damaged row brings about."""
_KINDS: Final = {"event": "alarm_event", "result": "answer"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which messages: empty fields ask for nothing, times are wall times of the messages.

    ``restricted``: assessments and nuclides of persons too. ``late_s``: a walk ends when the
    journal is so far beyond ``until``; without it what came in late is found as well. ``gateway``
    is the id that messages carry, where it is known.
    """

    lanes: tuple[Lane, ...] = tuple(Lane)
    detector: str = ""
    occurrence: str = ""
    kind: str = ""
    since: float | None = None
    until: float | None = None
    restricted: bool = False
    late_s: float | None = None
    gateway: str = ""


@dataclass(frozen=True, slots=True)
class LanePlace:
    """Where a lane goes on: the next number, and the time that was reached."""

    epoch: int = 0
    seq: int = 0
    reached: float = 0.0


Place = Mapping[Lane, LanePlace]


@dataclass(slots=True)
class Page:
    """Some messages, and where the walk goes on; ``place`` is None at its end."""

    messages: list[Message] = field(default_factory=list)
    place: Place | None = None
    damaged: int = 0


def page(
    look: JournalLook,
    wanted: Wanted,
    place: Place | None,
    limit: int,
    most_bytes: int,
    examined: int = EXAMINED,
) -> Page:
    """The next messages that are wanted: fewer than ``limit`` does not mean the end."""
    numbers = look.numbers()
    walks = [_LaneWalk(look, lane, wanted, numbers, place) for lane in wanted.lanes]
    found = Page()
    size = looked_at = 0
    while looked_at < examined:
        live = [walk for walk in walks if walk.head is not None]
        if not live:
            return found
        walk = min(live, key=_LaneWalk.order)
        head = walk.head
        if head is None or _is_beyond(wanted, walk.reached):
            return found
        message = _message(head, wanted) if isinstance(head, Record) else None
        if message is not None and isinstance(head, Record):
            size += len(head.body)
            if found.messages and (size > most_bytes or len(found.messages) >= limit):
                break
            found.messages.append(message)
        looked_at += 1 if isinstance(head, Record) else len(head)
        found.damaged += 0 if isinstance(head, Record) else len(head)
        walk.step()
    found.place = {walk.lane: walk.place() for walk in walks}
    return found


def kind_of(topic: str) -> str:
    """The kind of a message by its topic below ROOT/GATEWAY/."""
    if topic.startswith("assessment/"):
        return "assessment"
    ending = topic.rpartition("/")[2]
    return _KINDS.get(ending, ending)


def redacted(message: Message) -> Message | None:
    """Without what may be medical data of a person; None where nothing else is in it."""
    if message.get("kind") == "assessment":
        return None
    readings = message.get("readings")
    if not isinstance(readings, list) or not any(map(_is_medical, readings)):
        return message
    hidden = [{**each, "part": RESTRICTED} if _is_medical(each) else each for each in readings]
    return {**message, "readings": hidden}


def _is_medical(reading: Message) -> bool:
    raw = str(reading.get("raw")).strip().lower()
    return bool(reading.get("channel") == Channel.NUCLIDE and raw == MEDICAL)


def readable(
    look: JournalLook, lane: Lane, span: Span, limit: int
) -> tuple[list[Record], Span | None]:
    """The first records of a span, or the numbers that cannot be read where it begins with such."""
    try:
        return look.read(lane, span, limit), None
    except UNREADABLE as error:
        _raise_if_passing(error)
        first = _first_damaged(look, lane, span)
    if first > span.first:
        records = look.read(lane, Span(span.epoch, span.first, first - 1), limit)
        if records:
            return records, None
    last, most = first, min(span.last, first + AT_ONCE - 1)
    while last < most and _is_damaged(look, lane, Span(span.epoch, last + 1, last + 1)):
        last += 1
    return [], Span(span.epoch, first, last)


def _first_damaged(look: JournalLook, lane: Lane, span: Span) -> int:
    """The first number of a span that cannot be read, found by halving."""
    low, high = span.first, span.last
    while low < high:
        middle = (low + high) // 2
        if _is_damaged(look, lane, Span(span.epoch, span.first, middle)):
            high = middle
        else:
            low = middle + 1
    return low


def _is_damaged(look: JournalLook, lane: Lane, span: Span) -> bool:
    try:
        look.read(lane, span, len(span))
    except UNREADABLE as error:
        _raise_if_passing(error)
        return True
    return False


def _raise_if_passing(error: Exception) -> None:
    """A file that somebody holds is not a damaged one."""
    if getattr(error, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        raise error


class _LaneWalk:
    """One lane of a walk; ``head`` is the next record, or the next numbers that are damaged."""

    def __init__(
        self,
        look: JournalLook,
        lane: Lane,
        wanted: Wanted,
        numbers: Mapping[tuple[Lane, int], int],
        place: Place | None,
    ) -> None:
        self.lane = lane
        self.head: Record | Span | None = None
        self._look = look
        self._since = None if wanted.since is None else wanted.since - MARGIN_S
        self._last = {epoch: last for (of, epoch), last in numbers.items() if of is lane}
        self._is_new = place is None
        self._start = LanePlace() if place is None else place.get(lane, LanePlace())
        self._at = self._start
        self.reached = self._start.reached
        self._steps = self._walk()
        self.step()

    def order(self) -> tuple[int, float, str]:
        """By epoch, then time, then lane."""
        return self._at.epoch, self.reached, self.lane

    def place(self) -> LanePlace:
        """Where to go on: at the head, or after all there is."""
        return self._at

    def step(self) -> None:
        """To the next head."""
        before = self._at
        self.head = next(self._steps, None)
        if self.head is None:
            last = max(self._last, default=0)
            self._at = LanePlace(last, self._last.get(last, 0) + 1, self.reached)
            return
        epoch = self.head.epoch
        if epoch != before.epoch:
            self.reached = 0.0
        reached = self.reached
        if isinstance(self.head, Record):
            self._at = LanePlace(epoch, self.head.seq, reached)
            self.reached = max(reached, time_of(self.head.body) or 0.0)
        else:
            self._at = LanePlace(epoch, self.head.first, reached)

    def _walk(self) -> Iterator[Record | Span]:
        start = self._start
        for epoch in sorted(self._last):
            if epoch < start.epoch:
                continue
            first = start.seq if epoch == start.epoch else 1
            span = Span(epoch, max(1, first), self._last[epoch])
            if self._is_new and self._since is not None:
                span = Span(epoch, self._look.since(self.lane, span, self._since), span.last)
            yield from self._records(span)

    def _records(self, span: Span) -> Iterator[Record | Span]:
        while span.first <= span.last:
            records, damaged = readable(self._look, self.lane, span, AT_ONCE)
            yield from records
            if damaged is not None:
                yield damaged
                span = Span(span.epoch, damaged.last + 1, span.last)
            elif not records:
                return
            else:
                span = Span(span.epoch, records[-1].seq + 1, span.last)


def _is_beyond(wanted: Wanted, reached: float) -> bool:
    if wanted.until is None or wanted.late_s is None:
        return False
    return reached > wanted.until + wanted.late_s


def _message(record: Record, wanted: Wanted) -> Message | None:
    """The message of a record with its delivery fields, if it is wanted."""
    if not _may_be_wanted(record, wanted):
        return None
    known = {"gateway": wanted.gateway} if wanted.gateway else {}
    key = {"lane": record.lane, "epoch": record.epoch, "seq": record.seq}
    delivery = {"schema": SCHEMA, **known, **key}
    try:
        body = json.loads(record.body, parse_constant=_no_constant)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        return {**delivery, "kind": "damaged", "topic": record.topic}
    message: Message = {**delivery, **body}
    if not _is_about(message, wanted):
        return None
    return message if wanted.restricted else redacted(message)


def _no_constant(text: str) -> object:
    raise ValueError(f"{text} is not JSON")


def _may_be_wanted(record: Record, wanted: Wanted) -> bool:
    """What can be told without a look at the whole body."""
    if wanted.kind and kind_of(record.topic) != wanted.kind:
        return False
    names = record.topic.split("/")
    if wanted.detector and names[0] == "detector" and wanted.detector not in names[1:2]:
        return False
    if wanted.since is None and wanted.until is None:
        return True
    at = time_of(record.body)
    if at is None:
        return False
    is_early = wanted.since is not None and at < wanted.since
    is_late = wanted.until is not None and at > wanted.until
    return not (is_early or is_late)


def _is_about(message: Message, wanted: Wanted) -> bool:
    arguments = message.get("arguments")
    given = arguments if isinstance(arguments, dict) else {}
    if wanted.detector:
        members = message.get("members")
        named = (message.get("detector"), given.get("detector"))
        known = (*named, *(members if isinstance(members, list) else ()))
        if wanted.detector not in known:
            return False
    if wanted.occurrence:
        return wanted.occurrence in (message.get("occurrence"), given.get("occurrence"))
    return True
