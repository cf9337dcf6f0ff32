"""What one sink still has to be sent: alarms strictly in order, live samples, then the backlog.

Samples that are not taken within ``live_age_s`` split off into the backlog, which is a set of
numbers: its records stay on the disk and are read back in chunks, so that its size costs no memory.
Live goes first; the backlog drains beside it at a bounded rate. Within each the order is kept.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Final

import structlog

from gateway.journal import Journal
from gateway.journal_record import Record, Refusal
from gateway.journal_spans import Cursor, Cursors, Span, Spans
from gateway.values import Lane
from gateway.wire import SCHEMA

CHUNK_RECORDS: Final = 500
REFILL_BELOW: Final = 250
READ_TRIES: Final = 3
READ_RETRY_S: Final = 1.0
UNREADABLE_RECORDS: Final = 1000
"""Given up at once where the file cannot be read: one row holds no more."""

log = structlog.get_logger(__name__)


def prepend(gateway: str, record: Record) -> bytes:
    """The message as it goes out: the delivery fields, then the body as it was journalled."""
    head = _head(gateway, record.lane, record.epoch)
    seq = b"%d" % record.seq
    replayed = b',"replayed":true' if record.replayed else b""
    undurable = b"" if record.durable else b',"durable":false'
    tail = record.body[1:]
    comma = b"" if tail == b"}" else b","
    return b"".join((head, seq, replayed, undurable, comma, tail))


@lru_cache(maxsize=64)
def _head(gateway: str, lane: Lane, epoch: int) -> bytes:
    head = f'{{"schema":"{SCHEMA}","gateway":"{gateway}","lane":"{lane}","epoch":{epoch},"seq":'
    return head.encode()


@dataclass(frozen=True, slots=True)
class Pace:
    """When live becomes backlog, and how fast the backlog drains (records a second)."""

    live_age_s: float = 2.0
    live_records: int = 10_000
    alarm_records: int = 2_000
    backlog_per_s: float = 2_000.0


class _Stream:
    """One lane as one sink sees it."""

    def __init__(self, lane: Lane, cursor: Cursor) -> None:
        self.lane = lane
        self.epoch = cursor.epoch
        self.newest = cursor.acknowledged
        self.live: deque[Record] = deque()
        self.live_out: dict[int, Record] = {}
        self.stored = Spans(cursor.backlog)
        self.chunk: deque[Record] = deque()
        self.stored_out: dict[tuple[int, int], Record] = {}
        self.position = (0, 0)
        self.reading = False
        self.failures = 0

    def cursor(self) -> Cursor:
        """What is owed now, as it is stored."""
        owed = next(iter(self.live_out), self.live[0].seq if self.live else self.newest + 1)
        return Cursor(self.epoch, owed - 1, tuple(self.stored))

    def owed(self) -> int:
        """Records not yet acknowledged."""
        return len(self.live) + len(self.live_out) + self.stored.total()

    def take_live(self, limit: int) -> Iterator[Record]:
        """The next live records."""
        while limit > 0 and self.live:
            limit -= 1
            record = self.live.popleft()
            self.live_out[record.seq] = record
            yield record

    def take_stored(self, limit: int) -> Iterator[Record]:
        """The next records of the backlog that have been read."""
        while limit > 0 and self.chunk:
            limit -= 1
            record = self.chunk.popleft()
            self.stored_out[record.epoch, record.seq] = record
            yield record

    def settle(self, record: Record) -> bool:
        """Takes a record off what is owed; False if it was not out."""
        if record.epoch == self.epoch and self.live_out.pop(record.seq, None) is not None:
            return True
        if self.stored_out.pop((record.epoch, record.seq), None) is None:
            return False
        self.stored.discard(Span(record.epoch, record.seq, record.seq))
        return True

    def rewind(self) -> None:
        """What is out is owed again, in its place."""
        self.live.extendleft(reversed(self.live_out.values()))
        self.live_out.clear()
        if self.stored_out:
            self.position = min(self.position, min(self.stored_out))
            self.chunk.clear()
            self.stored_out.clear()
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
            self.stored.add(Span(self.epoch, first, last))
            if (self.epoch, first) < self.position:
                self.position = (self.epoch, first)
                self.chunk.clear()

    def _may_move(self, keep: int, before: float) -> bool:
        return len(self.live) > keep and self.live[0].durable and self.live[0].at < before

    def next_chunk(self) -> Span | None:
        """What to read next from the disk, if it is time."""
        if self.reading or len(self.chunk) >= REFILL_BELOW:
            return None
        return self.stored.from_position(*self.position)

    def put_chunk(self, asked: Span, records: Sequence[Record], *, partial_read: bool) -> int:
        """Takes what was read; numbers that the file no longer has are given up and counted."""
        expected = asked.first
        missing = 0
        for record in records:
            missing += self._give_up(asked.epoch, expected, record.seq - 1)
            expected = record.seq + 1
            if (record.epoch, record.seq) not in self.stored_out:
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


class SinkReader:
    """The reading side of one sink; ``ready`` is set when there may be something to send."""

    def __init__(
        self,
        journal: Journal,
        sink: str,
        *,
        pace: Pace | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.sink = sink
        self.ready = asyncio.Event()
        self.missing = 0
        self.refused = 0
        self.replayed = 0
        self.backlog_window = 8
        self._journal = journal
        self._pace = pace or Pace()
        self._clock = clock
        cursors = journal.follow(sink, self)
        self._streams = {lane: _Stream(lane, cursor) for lane, cursor in cursors.items()}
        self._alarms = [s for lane, s in self._streams.items() if lane.is_alarm]
        self._samples = [s for lane, s in self._streams.items() if not lane.is_alarm]
        self._allowance = self._burst()
        self._allowed_at = clock()
        self._told: set[str] = set()
        self._retry: asyncio.TimerHandle | None = None
        self.ready.set()

    async def wait(self) -> None:
        """Returns when there may be more to send than at the last call."""
        await self.ready.wait()
        self.ready.clear()

    def offer(self, records: Sequence[Record]) -> None:
        """The journal committed these records of one lane."""
        stream = self._streams[records[0].lane]
        stream.live.extend(records)
        stream.newest = records[-1].seq
        self._split(stream)
        self.ready.set()

    def cursors(self) -> Cursors:
        """What is owed, by lane."""
        return {lane: stream.cursor() for lane, stream in self._streams.items()}

    def owed(self) -> int:
        """Records that this sink has not acknowledged."""
        return sum(stream.owed() for stream in self._streams.values())

    @property
    def owes_alarms(self) -> bool:
        """Whether alarm records wait to be taken, in memory or on the disk."""
        return any(
            stream.live or stream.chunk or len(stream.stored_out) < stream.stored.total()
            for stream in self._alarms
        )

    def take(self, limit: int, *, alarms_only: bool = False) -> list[Record]:
        """Up to ``limit`` records to send now: alarms, then live samples, then the backlog."""
        records: list[Record] = []
        for stream in self._alarms:
            records += self._take_alarms(stream, limit - len(records))
        if alarms_only:
            return records
        for stream in self._samples:
            self._split(stream)
            records += stream.take_live(limit - len(records))
        for stream in self._samples:
            if stream.stored:
                records += self._take_backlog(stream, limit - len(records))
        return records

    def delay_s(self) -> float | None:
        """Seconds until the backlog may go on; None when it waits for something else."""
        waiting = any(stream.chunk for stream in self._samples)
        if not waiting or self._backlog_out() >= self.backlog_window:
            return None
        return max(0.0, (self._burst() / 2 - self._allowance) / self._pace.backlog_per_s)

    def acknowledge(self, record: Record) -> None:
        """The sink has it."""
        if self._streams[record.lane].settle(record):
            self._journal.note_progress()
            self._resume_backlog(record)

    def refuse(self, record: Record, reason: str) -> None:
        """The sink cannot take it: kept aside with the reason, and no longer owed."""
        if not self._streams[record.lane].settle(record):
            return
        self._resume_backlog(record)
        self.refused += 1
        self._journal.refuse(Refusal(self.sink, record, reason))
        if reason not in self._told:
            self._told.add(reason)
            log.error("message_refused", sink=self.sink, topic=record.topic, reason=reason)

    def rewind(self) -> None:
        """The connection is gone: what was not acknowledged is owed again."""
        late = self._clock() - self._pace.live_age_s
        for stream in self._streams.values():
            stream.rewind()
            if not stream.lane.is_alarm:
                stream.split(0, before=late)
        self.ready.set()

    def close(self) -> None:
        """No more reading."""
        if self._retry is not None:
            self._retry.cancel()

    def _split(self, stream: _Stream) -> None:
        if not stream.live:
            return
        if stream.lane.is_alarm:
            # Strictly in order: the oldest go to the disk, and what is there goes first.
            stream.split(self._pace.alarm_records)
        elif (
            len(stream.live) > self._pace.live_records
            or self._clock() - stream.live[0].at > self._pace.live_age_s
        ):
            stream.split(0)

    def _take_alarms(self, stream: _Stream, limit: int) -> list[Record]:
        records = list(stream.take_stored(limit))
        self._fetch(stream)
        if not stream.chunk and len(stream.stored_out) == stream.stored.total():
            oldest_live = self._clock() - self._pace.live_age_s
            for record in stream.take_live(limit - len(records)):
                late = record.at < oldest_live
                records.append(replace(record, replayed=True) if late else record)
        return records

    def _take_backlog(self, stream: _Stream, limit: int) -> list[Record]:
        self._fetch(stream)
        self._allow()
        limit = min(limit, self.backlog_window - self._backlog_out(), int(self._allowance))
        records = list(stream.take_stored(limit))
        self.replayed += len(records)
        self._allowance -= len(records)
        return records

    def _backlog_out(self) -> int:
        return sum(len(stream.stored_out) for stream in self._samples)

    def _resume_backlog(self, settled: Record) -> None:
        """The backlog's share of the window is refilled when half of it is free."""
        if settled.replayed and self._backlog_out() == self.backlog_window // 2:
            self.ready.set()

    def _allow(self) -> None:
        now = self._clock()
        gained = (now - self._allowed_at) * self._pace.backlog_per_s
        self._allowance = min(self._burst(), self._allowance + gained)
        self._allowed_at = now

    def _burst(self) -> float:
        return max(1.0, self._pace.backlog_per_s * 0.05)

    def _fetch(self, stream: _Stream) -> None:
        if self._retry is not None:
            return
        span = stream.next_chunk()
        if span is None:
            return
        stream.reading = True
        future = self._journal.read(stream.lane, span, CHUNK_RECORDS)
        future.add_done_callback(partial(self._fetched, stream, span, stream.position))

    def _fetched(
        self,
        stream: _Stream,
        span: Span,
        position: tuple[int, int],
        future: "asyncio.Future[list[Record]]",
    ) -> None:
        stream.reading = False
        if future.cancelled():
            return
        error = future.exception()
        if error is not None:
            self._unreadable(stream, span, error)
        elif stream.position == position:
            stream.failures = 0
            records = future.result()
            full = len(records) >= CHUNK_RECORDS
            self._count_missing(stream, stream.put_chunk(span, records, partial_read=full))
        self.ready.set()

    def _unreadable(self, stream: _Stream, span: Span, error: BaseException) -> None:
        stream.failures += 1
        log.error("journal_unreadable", sink=self.sink, lane=stream.lane, error=str(error))
        if stream.failures >= READ_TRIES:
            stream.failures = 0
            last = min(span.last, span.first + UNREADABLE_RECORDS - 1)
            gone = Span(span.epoch, span.first, last)
            self._count_missing(stream, stream.put_chunk(gone, (), partial_read=False))
        self._retry = asyncio.get_running_loop().call_later(READ_RETRY_S, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        self.ready.set()

    def _count_missing(self, stream: _Stream, missing: int) -> None:
        if missing:
            self.missing += missing
            self._journal.note_progress()
            log.error("journal_missing", sink=self.sink, lane=stream.lane, records=missing)
