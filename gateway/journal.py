"""The durable journal: entries get their numbers, go to disk in groups, and on to the sinks.

Everything here runs on the event loop; one writer thread owns the file, one reader thread looks
into it. A group of samples is stored every ``group_s``; what is urgent is stored at once with full
synchronisation. A sink's reading side follows the journal and is handed what has been committed.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol, Self, TypeVar

import structlog

from gateway.clock import Now, system_now
from gateway.journal_file import next_epoch, prepare
from gateway.journal_pending import PendingSamples
from gateway.journal_record import (
    Batch,
    Group,
    JournalCounters,
    JournalLimits,
    Kept,
    Outcome,
    Record,
    Refusal,
    Urgent,
)
from gateway.journal_spans import Cursor, Cursors, Span, decode_cursor
from gateway.journal_store import FAILURES, Store, StoreReader
from gateway.values import Document, Entry, Lane

SYNC_S: Final = 0.8
"""With the time of the synchronisation itself the disk is at most 1 s behind."""
CURSORS_S: Final = 0.5
RETRY_FIRST_S: Final = 0.1
RETRY_CAP_S: Final = 1.0

log = structlog.get_logger(__name__)
T = TypeVar("T")


class Follower(Protocol):
    """The reading side of one sink."""

    def offer(self, records: Sequence[Record]) -> None:
        """Records of one lane, in order, that follow on those offered before."""

    def cursors(self) -> Cursors:
        """What is owed to the sink now."""


class _Ticket:
    """Urgent entries on their way to the disk, and whether their followers know of them."""

    __slots__ = ("outcome", "timer", "told", "urgent")

    def __init__(self, urgent: Urgent, outcome: "asyncio.Future[bool]") -> None:
        self.urgent = urgent
        self.outcome = outcome
        self.told = False
        self.timer: asyncio.TimerHandle | None = None


class Journal:
    """The journal of this run of the gateway; made by ``open``.

    ``epoch`` rises at each start, ``previous`` are the last numbers of the epoch before (empty if
    they are not known), ``notices`` is what operators must be told about the file.
    """

    def __init__(
        self, directory: Path, sinks: Sequence[str], *, now: Now, limits: JournalLimits
    ) -> None:
        self.counters = JournalCounters()
        self.epoch = 0
        self.previous: Mapping[Lane, int] = {}
        self.notices: tuple[str, ...] = ()
        self._loop = asyncio.get_running_loop()
        self._directory = directory
        self._sinks = tuple(sinks)
        self._now = now
        self._limits = limits
        self._store = Store(directory, limits.max_bytes, sinks)
        self._store_reader = StoreReader(directory)
        self._writer = ThreadPoolExecutor(1, "journal-writer")
        self._reader = ThreadPoolExecutor(1, "journal-reader")
        self._kept = Kept(0)
        self._numbered: dict[Lane, int] = dict.fromkeys(Lane, 0)
        self._newest: dict[Lane, int] = dict.fromkeys(Lane, 0)
        self._pending = PendingSamples(limits.pending_bytes, self.counters.unstored)
        self._numbered_groups: tuple[Group, ...] = ()
        self._tickets: deque[_Ticket] = deque()
        self._refusals: list[Refusal] = []
        self._forgotten: list[Document] = []
        self._pending_states: dict[str, bytes] = {}
        self._followers: dict[str, Follower] = {}
        self._stored_cursors: dict[tuple[str, Lane], str] = {}
        self._cursors_due = 0.0
        self._unsynced_since: float | None = None
        self._writing = False
        self._timer: asyncio.TimerHandle | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._sync_timer: asyncio.TimerHandle | None = None
        self._retry_s = 0.0
        self._settled: asyncio.Event = asyncio.Event()
        self._closed = False

    @classmethod
    async def open(
        cls,
        directory: Path,
        sinks: Sequence[str],
        *,
        now: Now = system_now,
        limits: JournalLimits | None = None,
    ) -> Self:
        """The journal of ``directory`` for a new epoch; JournalUnusable if there is no place."""
        journal = cls(directory, sinks, now=now, limits=limits or JournalLimits())
        try:
            await journal._start()
        except BaseException:
            journal._writer.shutdown(wait=False)
            journal._reader.shutdown(wait=False)
            raise
        return journal

    async def _start(self) -> None:
        self._kept, self.epoch, self.notices = await self._in_writer(self._open_store)
        if self._kept.epoch == self.epoch - 1:
            numbers = self._kept.numbers
            self.previous = {lane: numbers.get((lane, self._kept.epoch), 0) for lane in Lane}
        self._stored_cursors = self._kept.cursors
        for notice in self.notices:
            log.warning("journal_notice", notice=notice)

    def _open_store(self) -> tuple[Kept, int, tuple[str, ...]]:
        prepare(self._directory)
        kept, notices = self._store.open()
        epoch, more = next_epoch(self._directory, kept.epoch)
        try:
            self._store.begin_epoch(epoch, kept.cursors, damaged=bool(notices))
        except FAILURES as error:
            more += (f"{self._directory}: epoch {epoch} could not be stored ({error})",)
        return kept, epoch, notices + more

    async def _in_writer(self, work: Callable[[], T]) -> T:
        return await self._loop.run_in_executor(self._writer, work)

    def states(self) -> Mapping[str, bytes]:
        """The states as they were when the journal was opened, by key."""
        return self._kept.states

    def durable_documents(self) -> tuple[Document, ...]:
        """The durable documents as of the opening; an empty body is still to be removed."""
        return self._kept.documents

    def newest(self) -> Mapping[Lane, int]:
        """The newest committed number of each lane, 0 before the first."""
        return self._newest

    def append(self, entries: Sequence[Entry], states: Sequence[tuple[str, bytes]] = ()) -> None:
        """Takes entries and states for the next group; alarm entries go to disk at once.

        Of a state that is given again before its group is written only the newest is kept; it is
        newer than that of any commit before.
        """
        self._pending_states.update(states)
        alarms = [entry for entry in entries if entry.lane.is_alarm]
        self._pending.add(entries)
        if alarms:
            self._submit(Urgent(self._number(alarms)))
        elif not self._writing and self._timer is None:
            self._timer = self._loop.call_later(self._limits.group_s, self._flush)

    async def commit(
        self,
        entries: Sequence[Entry],
        documents: Sequence[Document] = (),
        states: Sequence[tuple[str, bytes]] = (),
    ) -> bool:
        """Stores alarm entries, durable documents and states together, fully synchronised.

        False if the disk does not manage in time: the entries are delivered all the same, marked
        as not durable, and storing goes on. Samples among the entries join the current group.
        """
        self._pending.add(entries)
        alarms = self._number([entry for entry in entries if entry.lane.is_alarm])
        for key, _ in states:
            self._pending_states.pop(key, None)  # what is urgent is newer
        ticket = self._submit(Urgent(alarms, tuple(documents), tuple(states)))
        return await ticket.outcome

    def forget(self, documents: Sequence[Document]) -> None:
        """Every sink has removed these emptied documents: no need to remember them."""
        self._forgotten += documents
        self._flush_when_idle()

    def follow(self, sink: str, follower: Follower) -> Cursors:
        """From now on committed records go to ``follower``; what the sink is owed until here."""
        if sink not in self._sinks:
            raise ValueError(f"the journal was not opened for a sink {sink!r}")
        self._followers[sink] = follower
        return {lane: self._cursor_at_start(sink, lane) for lane in Lane}

    def _cursor_at_start(self, sink: str, lane: Lane) -> Cursor:
        last = {epoch: last for (of, epoch), last in self._kept.numbers.items() if of is lane}
        last[self.epoch] = self._newest[lane]
        cursor = decode_cursor(self._stored_cursors.get((sink, lane), "")) or Cursor(0, 0)
        return Cursor(self.epoch, self._newest[lane], tuple(cursor.owed(last)))

    def read(self, lane: Lane, span: Span, limit: int) -> "asyncio.Future[list[Record]]":
        """The first records of a span that the file still has; a group more than ``limit``."""
        return self._loop.run_in_executor(self._reader, self._store_reader.read, lane, span, limit)

    def refuse(self, refusal: Refusal) -> None:
        """Keeps a record that a sink cannot deliver, with the reason."""
        self._refusals.append(refusal)
        self._flush_when_idle()

    def note_progress(self) -> None:
        """Some cursor moved: it is stored with a group soon."""
        if self._idle_timer is None:
            self._flush_when_idle()

    async def close(self, timeout_s: float = 5.0) -> None:
        """Stores what is pending and the cursors, and lets go of the file."""
        self._closed = True
        self._cursors_due = 0.0
        self._unsynced_since = self._unsynced_since or 0.0
        self._flush()
        deadline = self._loop.time() + timeout_s
        while self._busy() and self._loop.time() < deadline:
            self._settled.clear()
            handle = self._loop.call_at(deadline, self._settled.set)
            await self._settled.wait()
            handle.cancel()
        for timer in (self._timer, self._idle_timer, self._sync_timer):
            if timer is not None:
                timer.cancel()
        if not self._writing:
            await self._loop.run_in_executor(self._reader, self._store_reader.close)
            await self._in_writer(self._store.close)
        self._reader.shutdown(wait=False)
        self._writer.shutdown(wait=False)

    def _busy(self) -> bool:
        return bool(self._writing or self._tickets or self._numbered_groups or self._pending)

    def _number(self, entries: Sequence[Entry]) -> list[Record]:
        at = self._now().mono
        records = []
        for entry in entries:
            self._numbered[entry.lane] = seq = self._numbered[entry.lane] + 1
            records.append(Record(entry.lane, self.epoch, seq, entry.topic, entry.body, at=at))
        return records

    def _submit(self, urgent: Urgent) -> _Ticket:
        ticket = _Ticket(urgent, self._loop.create_future())
        ticket.timer = self._loop.call_later(self._limits.stall_s, self._tell_undurable, ticket)
        self._tickets.append(ticket)
        self._flush()
        return ticket

    def _tell_undurable(self, ticket: _Ticket) -> None:
        ticket.told = True
        self.counters.told_undurable += len(ticket.urgent.records)
        self._offer([replace(record, durable=False) for record in ticket.urgent.records])
        if not ticket.outcome.done():
            ticket.outcome.set_result(False)
        log.error("journal_stalled", error=self.counters.last_error)

    def _flush_when_idle(self) -> None:
        """Bookkeeping goes with a group, or by itself when there is none for a while."""
        if self._idle_timer is None and not self._closed:
            self._idle_timer = self._loop.call_later(CURSORS_S, self._idle)

    def _idle(self) -> None:
        self._idle_timer = None
        self._flush()

    def _sync(self) -> None:
        self._sync_timer = None
        self._flush()
        if not self._writing:
            self._flush_next()

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._writing:
            return
        batch, tickets = self._next_batch()
        if batch is None:
            self._settled.set()
            return
        self._writing = True
        future = self._loop.run_in_executor(self._writer, self._store.write, batch)
        future.add_done_callback(lambda done: self._written(batch, tickets, _outcome(done)))

    def _next_batch(self) -> tuple[Batch | None, Sequence[_Ticket]]:
        now = self._now()
        if not self._numbered_groups:
            self._numbered_groups = self._freeze()
        tickets = tuple(self._tickets)
        cursors = self._changed_cursors(now.mono)
        overdue = self._unsynced_since is not None and now.mono - self._unsynced_since >= SYNC_S
        bookkeeping = cursors or self._refusals or self._forgotten
        states = tuple(self._pending_states.items())
        if not (self._numbered_groups or tickets or overdue or bookkeeping or states):
            return None, ()
        batch = Batch(
            wall=now.wall,
            urgent=[ticket.urgent for ticket in tickets],
            groups=self._numbered_groups,
            states=states,
            cursors=cursors,
            refusals=tuple(self._refusals),
            forgotten=tuple(self._forgotten),
            full_sync=bool(tickets) or overdue,
        )
        return batch, tickets

    def _freeze(self) -> tuple[Group, ...]:
        """Numbers pending samples; from here on they are never given up."""
        return tuple(Group(lane, self._number(entries)) for lane, entries in self._pending.take())

    def _changed_cursors(self, mono: float) -> list[tuple[str, Lane, str]]:
        if mono < self._cursors_due:
            return []
        changed = []
        for sink, follower in self._followers.items():
            for lane, cursor in follower.cursors().items():
                text = cursor.encode()
                if self._stored_cursors.get((sink, lane)) != text:
                    changed.append((sink, lane, text))
        if changed:
            self._cursors_due = mono + CURSORS_S
        return changed

    def _written(self, batch: Batch, tickets: Sequence[_Ticket], outcome: Outcome) -> None:
        self._writing = False
        self._count(outcome)
        if outcome.urgent_stored:
            self._urgent_stored(tickets)
        if outcome.groups_stored:
            self._groups_stored(batch)
            self._note_sync(batch)
            self._retry_s = 0.0
        else:
            self._retry_s = min(RETRY_CAP_S, self._retry_s * 2 or RETRY_FIRST_S)
        self._flush_next()

    def _flush_next(self) -> None:
        if self._retry_s:
            self._timer = self._loop.call_later(self._retry_s, self._flush)
        elif self._tickets or self._closed:
            self._flush()
        elif self._pending or self._pending_states:
            self._timer = self._loop.call_later(self._limits.group_s, self._flush)
        elif self._unsynced_since is not None and self._sync_timer is None:
            self._sync_timer = self._loop.call_later(SYNC_S, self._sync)

    def _count(self, outcome: Outcome) -> None:
        for notice in outcome.notices:
            log.warning("journal_notice", notice=notice)
        self.notices += outcome.notices
        if outcome.shed:
            self.counters.shed += outcome.shed
            log.error("journal_shed", records=outcome.shed)
        if outcome.error:
            self.counters.failures += 1
            if outcome.error != self.counters.last_error:
                log.error("journal_write_failed", error=outcome.error)
        self.counters.last_error = outcome.error

    def _urgent_stored(self, tickets: Sequence[_Ticket]) -> None:
        for ticket in tickets:
            self._tickets.popleft()
            if ticket.timer is not None:
                ticket.timer.cancel()
            if not ticket.told:
                self._offer(ticket.urgent.records)
            if not ticket.outcome.done():
                ticket.outcome.set_result(True)

    def _groups_stored(self, batch: Batch) -> None:
        self._numbered_groups = ()
        for group in batch.groups:
            self._offer(group.records)
        self._stored_cursors.update({(sink, lane): text for sink, lane, text in batch.cursors})
        for key, value in batch.states:
            if self._pending_states.get(key) is value:
                del self._pending_states[key]
        del self._refusals[: len(batch.refusals)]
        del self._forgotten[: len(batch.forgotten)]

    def _note_sync(self, batch: Batch) -> None:
        if batch.full_sync:
            self._unsynced_since = None
        elif self._unsynced_since is None:
            self._unsynced_since = self._now().mono

    def _offer(self, records: Sequence[Record]) -> None:
        by_lane: dict[Lane, list[Record]] = {}
        for record in records:
            by_lane.setdefault(record.lane, []).append(record)
        for lane, of_lane in by_lane.items():
            self._newest[lane] = of_lane[-1].seq
            self.counters.stored[lane] += len(of_lane)
            for follower in self._followers.values():
                follower.offer(of_lane)


def _outcome(done: "asyncio.Future[Outcome]") -> Outcome:
    """What the writer's thread says; whatever it raises counts as not stored and is tried again."""
    error = done.exception()
    return done.result() if error is None else Outcome(False, False, repr(error))
