"""What was told before, sent again to the sink that asks: by numbers, or by what it is about.

It leaves out of the journal on its ordinary topics, marked ``replayed``, behind everything else.
"""

import asyncio
import json
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

from gateway.alarms.lifecycle import Refusal
from gateway.journal.record import Record
from gateway.journal.spans import Span
from gateway.values import Command, Lane

RESEND_LIMIT: Final = 10_000
"""Own choice: so many numbers a command; a consumer that lacks more asks again."""
HISTORY_LIMIT: Final = 1_000
HISTORY_USUAL: Final = 100
SCAN_LIMIT: Final = 100_000
"""Own choices: so many events are sent, and so many records looked through, a command."""
EPOCHS_BACK: Final = 200
"""Own choice: so many starts of the gateway are looked back."""
CHUNK: Final = 500
PATIENCE_S: Final = 20.0
"""Own choice: a disk that is slower has more urgent work."""
_FAR: Final = 2**53
_BUSY: Final = "too much is being sent again already; ask again later"
_EVENT: Final = "alarm/event"
T = TypeVar("T")


class Shelf(Protocol):
    """What is used of the journal."""

    epoch: int

    def newest(self) -> Mapping[Lane, int]:
        """The newest committed number of each lane."""

    def read(self, lane: Lane, span: Span, limit: int) -> "asyncio.Future[list[Record]]":
        """The first records of a span that the file still has."""


class Resender(Protocol):
    """What is used of a sink's reader."""

    def resend(self, lane: Lane, span: Span) -> bool:
        """Sends a span again; False if too much waits already."""

    def resend_records(self, records: Sequence[Record]) -> bool:
        """Sends these again; False if too much waits already."""

    async def count_kept(self, lane: Lane, span: Span) -> int:
        """How many of a span the journal still has."""


async def resend(command: Command, shelf: Shelf, reader: Resender) -> str:
    """A range of numbers; what is said of it. Raises Refusal."""
    lane = _lane(command.get("lane"))
    span = Span(_whole(command, "epoch"), _whole(command, "first"), _whole(command, "last"))
    if span.last < span.first:
        raise Refusal("last is below first")
    if len(span) > RESEND_LIMIT:
        raise Refusal(f"at most {RESEND_LIMIT} numbers a command, not {len(span)}")
    if (span.epoch, span.last) > (shelf.epoch, shelf.newest()[lane]):
        raise Refusal(f"{lane} {span.epoch}:{span.last} was not given yet")
    kept = await _patiently(reader.count_kept(lane, span))
    if kept and not reader.resend(lane, span):
        raise Refusal(_BUSY)
    return f"{kept} sent again, {len(span) - kept} no longer kept"


async def history(command: Command, shelf: Shelf, reader: Resender) -> str:
    """The newest events of an occurrence or a detector. Raises Refusal."""
    fits = _fits(*_about(command))
    limit = _whole(command, "limit") if command.get("limit") else HISTORY_USUAL
    if limit > HISTORY_LIMIT:
        raise Refusal(f"at most {HISTORY_LIMIT} events a command, not {limit}")
    search = _Search(shelf, fits, limit)
    await _patiently(search.run())
    if search.found and not reader.resend_records(tuple(reversed(search.found))):
        raise Refusal(_BUSY)
    more = "" if search.is_whole else ", there may be older ones"
    return f"{len(search.found)} sent again{more}"


async def ended(occurrences: Collection[str], shelf: Shelf) -> set[str]:
    """Those of which the journal knows that they were closed."""
    over: set[str] = set()

    def fits(record: Record) -> bool:
        if record.topic != _EVENT or b'"closed"' not in record.body:
            return False
        body = _parsed(record)
        if body.get("event") == "closed" and body.get("occurrence") in occurrences:
            over.add(body["occurrence"])
        return len(over) == len(occurrences)  # the last one that was wanted

    if occurrences:
        await _patiently(_Search(shelf, fits, 0).run())
    return over


Fits = Callable[[Record], bool]


class _Search:
    """Looks through the alarm lanes, newest first, for at most ``limit`` records that fit."""

    def __init__(self, shelf: Shelf, fits: Fits, limit: int) -> None:
        self.found: list[Record] = []
        self.is_whole = True
        self._shelf = shelf
        self._fits = fits
        self._limit = limit
        self._looked = 0

    async def run(self) -> None:
        """Both lanes: an occurrence is in one of them, a detector may have been in both."""
        for lane in (Lane.ALARMS, Lane.EXERCISE_ALARMS):
            newest = self._shelf.newest()[lane]
            for epoch in range(self._shelf.epoch, max(0, self._shelf.epoch - EPOCHS_BACK), -1):
                last = newest if epoch == self._shelf.epoch else await self._last(lane, epoch)
                if not await self._epoch(lane, epoch, last):
                    return

    async def _epoch(self, lane: Lane, epoch: int, last: int) -> bool:
        """False: enough."""
        while last > 0:
            span = Span(epoch, max(1, last - CHUNK + 1), last)
            records = await self._shelf.read(lane, span, CHUNK)
            self._looked += len(records)
            for record in reversed(records):
                if not self._fits(record):
                    continue
                if len(self.found) >= self._limit:
                    self.is_whole = False
                    return False
                self.found.append(record)
            if self._looked >= SCAN_LIMIT:
                self.is_whole = False
                return False
            last = span.first - 1
        return True

    async def _last(self, lane: Lane, epoch: int) -> int:
        """The last number that is kept of an epoch; 0 if there is none."""
        low, high = 0, 1
        while records := await self._from(lane, epoch, high):
            low = records[0].seq
            high = max(2 * high, low + 1)
        while high - low > 1:
            middle = (low + high) // 2
            records = await self._from(lane, epoch, middle)
            low, high = (records[0].seq, high) if records else (low, middle)
        return low

    async def _from(self, lane: Lane, epoch: int, first: int) -> Sequence[Record]:
        records = await self._shelf.read(lane, Span(epoch, first, _FAR), 1)
        return [record for record in records if record.seq >= first]


def _fits(key: str, name: str) -> Fits:
    """Events in which that stands under this key."""
    quick = name.encode()

    def fits(record: Record) -> bool:
        is_candidate = record.topic == _EVENT and quick in record.body
        return is_candidate and _parsed(record).get(key) == name

    return fits


def _parsed(record: Record) -> dict[str, Any]:
    try:
        body = json.loads(record.body)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


async def _patiently(work: Coroutine[object, object, T]) -> T:
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await work
    except TimeoutError:
        raise Refusal("the journal answers too slowly now; ask again later") from None


def _lane(text: str) -> Lane:
    try:
        return Lane(text)
    except ValueError:
        raise Refusal(f"{text[:32]!r} is no lane; there are {', '.join(Lane)}") from None


def _about(command: Command) -> tuple[str, str]:
    given = [(key, name) for key in ("occurrence", "detector") if (name := command.get(key))]
    if len(given) != 1:
        raise Refusal("history is of an occurrence or of a detector")
    return given[0]


def _whole(command: Command, name: str) -> int:
    text = command.get(name)
    if not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise Refusal(f"{name}: {text[:32]!r} is not a whole number above 0")
    return int(text)
