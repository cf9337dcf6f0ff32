"""One lane as one sink sees it: what is live, what is on the disk, and what is on its way."""

import math
from collections import deque
from collections.abc import Sequence
from typing import Final

from gateway.journal.record import Record
from gateway.journal.spans import Cursor, Span, Spans
from gateway.values import Lane

REFILL_BELOW: Final = 250


class Stream:
    """A lane whose records go out one by one."""

    def __init__(self, lane: Lane, cursor: Cursor) -> None:
        self.lane = lane
        self.epoch = cursor.epoch
        self.newest = cursor.acknowledged
        self.live: deque[Record] = deque()
        self.chunk: deque[Record] = deque()
        self.position = (0, 0)
        self.reading = False
        self.failures = 0
        self._live_out: dict[int, Record] = {}
        self._stored = Spans(cursor.backlog)
        self._stored_out: dict[tuple[int, int], Record] = {}
        self._settled = (0, 0, 0)

    def put(self, records: Sequence[Record]) -> None:
        """These were committed."""
        self.live.extend(records)
        self.newest = records[-1].seq

    def cursor(self) -> Cursor:
        """What is owed now, as it is stored."""
        owed = next(iter(self._live_out), self.live[0].seq if self.live else self.newest + 1)
        return Cursor(self.epoch, owed - 1, tuple(self.stored))

    @property
    def stored(self) -> Spans:
        """What is owed from the disk."""
        self._strike()
        return self._stored

    def _strike(self) -> None:
        """Takes the last run of acknowledged numbers out of the set."""
        epoch, first, last = self._settled
        if epoch:
            self._stored.discard(Span(epoch, first, last))
            self._settled = (0, 0, 0)

    @property
    def has_stored(self) -> bool:
        """Whether something of the backlog is still to be taken or read."""
        return bool(self.stored)

    @property
    def stored_out(self) -> int:
        """Messages from the disk that are on their way."""
        return len(self._stored_out)

    @property
    def has_more(self) -> bool:
        """Whether anything waits to be taken, in memory or on the disk."""
        if self.live or self.chunk:
            return True
        return bool(self._stored) and len(self._stored_out) < self.stored.total()

    def owed(self) -> int:
        """Records not yet acknowledged."""
        return len(self.live) + len(self._live_out) + self.stored.total()

    def due_s(self, now: float) -> float | None:
        """Seconds until it has something by the passing of time alone; None: never."""
        return None

    def finish(self) -> None:
        """The gateway is about to stop: nothing waits for more."""

    def take_live(self, limit: int, now: float) -> list[Record]:
        """The next live records."""
        live, out = self.live, self._live_out
        if len(live) <= limit:
            records = list(live)
            live.clear()
        else:
            records = [live.popleft() for _ in range(limit)]
        for record in records:
            out[record.seq] = record
        return records

    def take_stored(self, limit: int, allowed: int) -> tuple[list[Record], int]:
        """The next records of the backlog that have been read, and how many were read for them."""
        count = min(limit, allowed, len(self.chunk))
        records = [self.chunk.popleft() for _ in range(count)]
        for record in records:
            self._stored_out[record.epoch, record.seq] = record
        return records, len(records)

    def settle(self, record: Record) -> bool:
        """Takes a record off what is owed; False if it was not out."""
        epoch, seq = record.epoch, record.seq
        if epoch == self.epoch and self._live_out.pop(seq, None) is not None:
            return True
        if self._stored_out.pop((epoch, seq), None) is None:
            return False
        # Acknowledgements come in order: a run of them costs one change of the set.
        of, first, last = self._settled
        if of == epoch and seq == last + 1:
            self._settled = (of, first, seq)
        else:
            self._strike()
            self._settled = (epoch, seq, seq)
        return True

    def rewind(self) -> None:
        """What is out is owed again, in its place."""
        self.live.extendleft(reversed(self._live_out.values()))
        self._live_out.clear()
        if self._stored_out:
            self.position = min(self.position, min(self._stored_out))
            self.chunk.clear()
            self._stored_out.clear()
        if self.lane.is_alarm and self.stored:
            self.split(0)

    def split(self, keep: int, before: float = math.inf) -> None:
        """Moves live records to the backlog until ``keep`` are left, or one from ``before`` on.

        A record that the disk does not have yet stays, and all behind it.
        """
        while self._may_move(keep, before):
            first = last = self.live.popleft().seq
            while self._may_move(keep, before) and self.live[0].seq == last + 1:
                last = self.live.popleft().seq
            self.owe(Span(self.epoch, first, last))

    def owe(self, span: Span) -> None:
        """These are owed from the disk."""
        self.stored.add(span)
        if (span.epoch, span.first) < self.position:
            self.position = (span.epoch, span.first)
            self.chunk.clear()

    def _may_move(self, keep: int, before: float) -> bool:
        return len(self.live) > keep and self.live[0].durable and self.live[0].at < before

    def next_chunk(self) -> Span | None:
        """What to read next from the disk, if it is time."""
        if self.reading or len(self.chunk) >= REFILL_BELOW:
            return None
        span = self.stored.from_position(*self.position)
        if span is not None:
            # What comes to be owed before it from now on is told by the position.
            self.position = (span.epoch, span.first)
        return span

    def put_chunk(self, asked: Span, records: Sequence[Record], *, partial_read: bool) -> int:
        """Takes what was read; numbers that the file no longer has are given up and counted."""
        expected = asked.first
        missing = 0
        for record in records:
            if record.seq != expected:
                missing += self._give_up(asked.epoch, expected, record.seq - 1)
            expected = record.seq + 1
            if (record.epoch, record.seq) not in self._stored_out:
                self.chunk.append(record)
        if not partial_read:
            missing += self._give_up(asked.epoch, expected, asked.last)
            expected = asked.last + 1
        self.position = (asked.epoch, expected)
        return missing

    def _give_up(self, epoch: int, first: int, last: int) -> int:
        if last < first:
            return 0
        self.stored.discard(Span(epoch, first, last))
        return last - first + 1


class SilentStream(Stream):
    """A lane that the sink does not carry: it counts as delivered."""

    def __init__(self, lane: Lane, cursor: Cursor) -> None:
        super().__init__(lane, Cursor(cursor.epoch, cursor.acknowledged))

    def put(self, records: Sequence[Record]) -> None:
        """Delivered at once."""
        self.newest = records[-1].seq

    def owe(self, span: Span) -> None:
        """Nothing is."""
