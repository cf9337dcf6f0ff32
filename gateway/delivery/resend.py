"""Records that a consumer asked for again: sent beside the backlog, without touching what is owed.

Kept in memory only: after a restart of the gateway the consumer asks again.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from gateway.journal.record import Record
from gateway.journal.spans import Span, Spans
from gateway.values import Lane

RESEND_SPANS: Final = 1000
RESEND_RECORDS: Final = 10_000
"""So much may wait to be sent again for one sink; a consumer asks again later: own choice."""
REFILL_BELOW: Final = 250


class Resends:
    """What is to be sent again to one sink."""

    def __init__(self) -> None:
        self.reading = False
        self._wanted: dict[Lane, Spans] = {}
        self._chunk: deque[Record] = deque()
        self._out: dict[tuple[Lane, int, int], Record] = {}

    def __bool__(self) -> bool:
        return bool(self._chunk or self._out or any(self._wanted.values()))

    @property
    def out(self) -> int:
        """Records on their way."""
        return len(self._out)

    @property
    def waits(self) -> bool:
        """Whether records wait to be taken."""
        return bool(self._chunk)

    def ask(self, lane: Lane, span: Span) -> bool:
        """These are wanted; False if too much waits already."""
        if sum(len(list(spans)) for spans in self._wanted.values()) >= RESEND_SPANS:
            return False
        self._wanted.setdefault(lane, Spans()).add(span)
        return True

    def put(self, records: Sequence[Record]) -> bool:
        """These are wanted and have been read; False if too much waits already."""
        if len(self._chunk) + len(records) > RESEND_RECORDS:
            return False
        self._chunk.extend(replace(record, replayed=True) for record in records)
        return True

    def next_span(self) -> tuple[Lane, Span] | None:
        """What to read next, if it is time."""
        if self.reading or len(self._chunk) >= REFILL_BELOW:
            return None
        for lane, spans in self._wanted.items():
            if spans:
                return lane, next(iter(spans))
        return None

    def read(self, lane: Lane, asked: Span, records: Sequence[Record], *, full: bool) -> None:
        """What was there of a span; ``full`` if there may be more."""
        last = records[-1].seq if full else asked.last
        self._wanted[lane].discard(Span(asked.epoch, asked.first, last))
        self._chunk.extend(records)

    def take(self, limit: int) -> list[Record]:
        """The next of them."""
        records = [self._chunk.popleft() for _ in range(min(limit, len(self._chunk)))]
        for record in records:
            self._out[record.lane, record.epoch, record.seq] = record
        return records

    def settle(self, record: Record) -> bool:
        """The sink has it, or will not; False if this very record was not sent again."""
        key = (record.lane, record.epoch, record.seq)
        if self._out.get(key) is not record:
            return False
        del self._out[key]
        return True

    def rewind(self) -> None:
        """What is out goes again."""
        self._chunk.extendleft(reversed(self._out.values()))
        self._out.clear()
