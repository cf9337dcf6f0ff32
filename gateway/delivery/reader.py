"""What one sink still has to be sent: alarms strictly in order, live samples, then the backlog.

Samples that are not taken within ``live_age_s`` split off into the backlog, which is a set of
numbers: its records stay on the disk and are read back in chunks, so that its size costs no memory.
Live goes first; the backlog drains beside it at a bounded rate. Within each the order is kept.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import structlog

from gateway.delivery.message import Bundle, prepend
from gateway.delivery.packed import PackedStream, Packer
from gateway.delivery.resend import Resends
from gateway.delivery.stream import SilentStream, Stream
from gateway.journal.journal import Journal
from gateway.journal.record import Record, Refusal
from gateway.journal.spans import Cursor, Cursors, Span
from gateway.sink_policy import BATCH_BYTES, Policy
from gateway.values import Lane

__all__ = ["Bundle", "Pace", "Policy", "SinkReader", "prepend"]

CHUNK_RECORDS: Final = 500
READ_TRIES: Final = 3
READ_RETRY_S: Final = 1.0
UNREADABLE_RECORDS: Final = 1000
"""Given up at once where the file cannot be read: one row holds no more."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """When live becomes backlog, and how fast the backlog drains (records a second)."""

    live_age_s: float = 2.0
    live_records: int = 10_000
    alarm_records: int = 2_000
    backlog_per_s: float = 2_000.0


class SinkReader:
    """The reading side of one sink; ``ready`` is set when there may be something to send."""

    def __init__(
        self,
        journal: Journal,
        sink: str,
        *,
        pace: Pace | None = None,
        policy: Policy | None = None,
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
        self._policy = policy or Policy()
        self._streams = {lane: self._stream(lane, cursor) for lane, cursor in cursors.items()}
        self._alarms = [s for lane, s in self._streams.items() if lane.is_alarm]
        self._samples = [s for lane, s in self._streams.items() if not lane.is_alarm]
        self._packed = [stream for stream in self._samples if isinstance(stream, PackedStream)]
        self._resends = Resends()
        self._allowance = self._burst()
        self._allowed_at = clock()
        self._told: set[str] = set()
        self._retry: asyncio.TimerHandle | None = None
        self.ready.set()

    def _stream(self, lane: Lane, cursor: Cursor) -> Stream:
        if lane.is_alarm or self._policy.samples == "all":
            return Stream(lane, cursor)
        if self._policy.samples == "none":
            return SilentStream(lane, cursor)
        return PackedStream(lane, cursor, self._policy, self._pace.live_age_s)

    async def wait(self) -> None:
        """Returns when there may be more to send than at the last call."""
        await self.ready.wait()
        self.ready.clear()

    def offer(self, records: Sequence[Record]) -> None:
        """The journal committed these records of one lane."""
        stream = self._streams[records[0].lane]
        stream.put(records)
        self._split(stream)
        self.ready.set()

    def owe(self, lane: Lane, spans: Iterable[Span]) -> None:
        """The journal says that these are owed again: they join the backlog."""
        for span in spans:
            self._streams[lane].owe(span)
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
        return any(stream.has_more for stream in self._alarms)

    def limit_bytes(self, limit: int | None) -> None:
        """The broker takes no larger packet; None: it has not said so."""
        for stream in self._packed:
            stream.limit_bytes(BATCH_BYTES if limit is None else limit)

    def finish(self) -> None:
        """The gateway is about to stop: summaries and batches wait for nothing more."""
        for stream in self._samples:
            stream.finish()
        self.ready.set()

    def take(self, limit: int, *, alarms_only: bool = False) -> list[Record]:
        """Up to ``limit`` records to send now: alarms, then live samples, then the backlog."""
        records: list[Record] = []
        for stream in self._alarms:
            if stream.has_more:
                records += self._take_alarms(stream, limit - len(records))
        if alarms_only:
            return records
        now = self._clock()
        for stream in self._samples:
            self._split(stream)
            records += stream.take_live(limit - len(records), now)
        if self._resends:
            records += self._take_again(limit - len(records))
        for stream in self._samples:
            if stream.has_stored:
                records += self._take_backlog(stream, limit - len(records))
        return records

    def delay_s(self) -> float | None:
        """Seconds until there is more to take by the passing of time alone; None: never."""
        now = self._clock()
        found = [stream.due_s(now) for stream in self._packed]
        waiting = self._resends.waits or any(stream.chunk for stream in self._samples)
        if waiting and self._backlog_out() < self.backlog_window:
            found.append(max(0.0, (self._burst() / 2 - self._allowance) / self._pace.backlog_per_s))
        return min((each for each in found if each is not None), default=None)

    def resend(self, lane: Lane, span: Span) -> bool:
        """Sends what is kept of these again, beside the backlog; False: too much waits already."""
        self.ready.set()
        return self._resends.ask(lane, span)

    def resend_records(self, records: Sequence[Record]) -> bool:
        """Sends records that were looked up again, in this order; False: too much waits already."""
        self.ready.set()
        return self._resends.put(records)

    async def count_kept(self, lane: Lane, span: Span) -> int:
        """How many of these the journal still has: so many would be sent again."""
        kept = 0
        while len(span) > 0:
            records = await self._journal.read(lane, span, CHUNK_RECORDS)
            kept += len(records)
            if len(records) < CHUNK_RECORDS:
                break
            span = Span(span.epoch, records[-1].seq + 1, span.last)
        return kept

    def acknowledge(self, record: Record) -> None:
        """The sink has it."""
        if record.replayed and self._resends.settle(record):
            self._resume_backlog(record)
        elif self._streams[record.lane].settle(record):
            self._journal.note_progress()
            self._resume_backlog(record)

    def refuse(self, record: Record, reason: str) -> None:
        """The sink cannot take it: kept aside with the reason, and no longer owed."""
        stream = self._streams[record.lane]
        if record.replayed and self._resends.settle(record):
            self._tell_refused(record, reason)
        elif isinstance(record, Bundle):
            self._refuse_bundle(stream, record, reason)
        elif stream.settle(record):
            self._keep_aside(record, reason)
        self._resume_backlog(record)

    def _refuse_bundle(self, stream: Stream, bundle: Bundle, reason: str) -> None:
        """A batch goes again, each message by itself; what a summary stands for is kept aside."""
        if not isinstance(stream, PackedStream):
            return
        if bundle.records:
            if stream.take_apart(bundle):
                self._tell_refused(bundle, reason)
                self.ready.set()
            return
        packer = stream.set_aside(bundle)
        if packer is not None:
            self._read_aside(packer, bundle, reason, bundle.numbers[0])

    def _read_aside(self, packer: Packer, bundle: Bundle, reason: str, first: int) -> None:
        span = Span(bundle.epoch, first, bundle.numbers[-1])
        future = self._journal.read(bundle.lane, span, CHUNK_RECORDS)
        future.add_done_callback(partial(self._keep_read_aside, packer, bundle, reason))

    def _keep_read_aside(
        self, packer: Packer, bundle: Bundle, reason: str, future: "asyncio.Future[list[Record]]"
    ) -> None:
        if future.cancelled():
            return
        if future.exception() is not None:
            # What it stands for cannot be read: better the summary than nothing.
            self._keep_aside(bundle, reason)
            packer.release(bundle)
            return
        records = future.result()
        numbers = set(bundle.numbers)
        for record in records:
            if record.seq in numbers:
                self._keep_aside(record, reason)
        if len(records) >= CHUNK_RECORDS and records[-1].seq < bundle.numbers[-1]:
            self._read_aside(packer, bundle, reason, records[-1].seq + 1)
        else:
            packer.release(bundle)
            self._journal.note_progress()

    def _keep_aside(self, record: Record, reason: str) -> None:
        self.refused += 1
        self._journal.refuse(Refusal(self.sink, record, reason))
        self._tell_refused(record, reason)

    def _tell_refused(self, record: Record, reason: str) -> None:
        if reason not in self._told:
            self._told.add(reason)
            log.error("message_refused", sink=self.sink, topic=record.topic, reason=reason)

    def rewind(self) -> None:
        """The connection is gone: what was not acknowledged is owed again."""
        late = self._clock() - self._pace.live_age_s
        self._resends.rewind()
        for stream in self._streams.values():
            stream.rewind()
            if not stream.lane.is_alarm:
                stream.split(0, before=late)
        self.ready.set()

    def close(self) -> None:
        """No more reading."""
        if self._retry is not None:
            self._retry.cancel()

    def _split(self, stream: Stream) -> None:
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

    def _take_alarms(self, stream: Stream, limit: int) -> list[Record]:
        records, _ = stream.take_stored(limit, limit)
        self._fetch(stream)
        if not stream.chunk and stream.stored_out == stream.stored.total():
            now = self._clock()
            oldest_live = now - self._pace.live_age_s
            for record in stream.take_live(limit - len(records), now):
                late = record.at < oldest_live
                records.append(replace(record, replayed=True) if late else record)
        return records

    def _take_backlog(self, stream: Stream, limit: int) -> list[Record]:
        self._fetch(stream)
        self._allow()
        limit = min(limit, self.backlog_window - self._backlog_out())
        records, read = stream.take_stored(limit, int(self._allowance))
        self.replayed += len(records)
        self._allowance -= read
        return records

    def _take_again(self, limit: int) -> list[Record]:
        """Up to half of what the backlog may have."""
        self._fetch_again()
        self._allow()
        room = self.backlog_window - self._backlog_out()
        if any(stream.has_stored for stream in self._samples):
            room = max(1, room // 2) if room > 0 else 0
        records = self._resends.take(max(0, min(limit, room, int(self._allowance))))
        self._allowance -= len(records)
        return records

    def _backlog_out(self) -> int:
        return self._resends.out + sum(stream.stored_out for stream in self._samples)

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

    def _fetch(self, stream: Stream) -> None:
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
        stream: Stream,
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

    def _unreadable(self, stream: Stream, span: Span, error: BaseException) -> None:
        stream.failures += 1
        log.error("journal_unreadable", sink=self.sink, lane=stream.lane, error=str(error))
        if stream.failures >= READ_TRIES:
            stream.failures = 0
            last = min(span.last, span.first + UNREADABLE_RECORDS - 1)
            gone = Span(span.epoch, span.first, last)
            self._journal.give_up(stream.lane, gone)
            self._count_missing(stream, stream.put_chunk(gone, (), partial_read=False))
        self._retry = asyncio.get_running_loop().call_later(READ_RETRY_S, self._try_again)

    def _fetch_again(self) -> None:
        wanted = self._resends.next_span()
        if wanted is None or self._retry is not None:
            return
        self._resends.reading = True
        future = self._journal.read(*wanted, CHUNK_RECORDS)
        future.add_done_callback(partial(self._fetched_again, *wanted))

    def _fetched_again(
        self, lane: Lane, span: Span, future: "asyncio.Future[list[Record]]"
    ) -> None:
        self._resends.reading = False
        if future.cancelled():
            return
        error = future.exception()
        if error is not None:
            log.error("journal_unreadable", sink=self.sink, lane=lane, error=str(error))
        records = [] if error is not None else future.result()
        self._resends.read(lane, span, records, full=len(records) >= CHUNK_RECORDS)
        self.ready.set()

    def _try_again(self) -> None:
        self._retry = None
        self.ready.set()

    def _count_missing(self, stream: Stream, missing: int) -> None:
        if missing:
            self.missing += missing
            self._journal.note_progress()
            log.error("journal_missing", sink=self.sink, lane=stream.lane, records=missing)
