"""The durable journal: entries get their numbers, go to disk in groups, and on to the sinks.

Everything here runs on the event loop; one writer thread owns the file, one reader thread looks
into it. A group of samples is stored every ``group_s``; what is urgent is stored at once with full
synchronisation. A sink's reading side follows the journal and is handed what has been committed.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final, Self

from gateway.clock import Now, system_now
from gateway.journal.cursors import CURSORS_S, CursorBook
from gateway.journal.incidents import JournalIncidents
from gateway.journal.losses import given_up
from gateway.journal.notices import JournalNotices, nobody
from gateway.journal.pending import PendingSamples
from gateway.journal.place import JournalPlace
from gateway.journal.reading import JournalReading
from gateway.journal.record import (
    Batch,
    Group,
    JournalCounters,
    JournalLimits,
    Kept,
    Outcome,
    Record,
    Refusal,
    Urgent,
    by_lane,
)
from gateway.journal.spans import Cursors, Span
from gateway.journal.store import Store
from gateway.journal.ticket import Follower, Ticket, outcome_of
from gateway.journal.truth import Truth
from gateway.values import Document, Entry, Lane, Notice

SYNC_S: Final = 0.8
"""With the time of the synchronisation itself the disk is at most 1 s behind."""
RETRY_FIRST_S: Final = 0.1
RETRY_CAP_S: Final = 1.0


class Journal:
    """The journal of this run of the gateway; made by ``open``.

    ``epoch`` rises at each start, ``previous`` are the last numbers of the epoch before (empty if
    they are not known), ``notices`` is what was found about the file.
    """

    def __init__(
        self,
        directory: Path,
        sinks: Sequence[str],
        *,
        now: Now,
        limits: JournalLimits,
        notify: Callable[[Notice], None] = nobody,
    ) -> None:
        self.counters = JournalCounters()
        self.epoch = 0
        self.previous: Mapping[Lane, int] = {}
        self.notices: tuple[str, ...] = ()
        self._loop = asyncio.get_running_loop()
        self._sinks = tuple(sinks)
        self._now = now
        self._limits = limits
        self._incidents = JournalIncidents(
            directory,
            self.counters,
            JournalNotices(notify),
            lambda: now().mono,
            limits.stall_s,
            lambda entries, losses: self._submit(Urgent(self._number(entries), losses=losses)),
        )
        self._store = Store(directory, limits.max_bytes, sinks, limits)
        self._writer = ThreadPoolExecutor(1, "journal-writer")
        self._reading = JournalReading(
            directory, self._store, self._writer, sinks, self._incidents, now
        )
        self._kept = Kept(0)
        self._numbered: dict[Lane, int] = dict.fromkeys(Lane, 0)
        self._newest: dict[Lane, int] = dict.fromkeys(Lane, 0)
        self._pending = PendingSamples(limits.pending_bytes, self.counters.unstored)
        self._numbered_groups: tuple[Group, ...] = ()
        self._tickets: deque[Ticket] = deque()
        self._refusals: list[Refusal] = []
        self._forgotten: list[Document] = []
        self._cursors = CursorBook(sinks)
        self._truth = Truth()
        self._place = JournalPlace(
            self._store,
            self._reading.store_reader,
            self._writer,
            self._cursors,
            self._incidents,
            self._flush_when_idle,
        )
        self._unsynced_since: float | None = None
        self._writing = False
        self._timer: asyncio.TimerHandle | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._sync_timer: asyncio.TimerHandle | None = None
        self._began = 0.0
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
        notify: Callable[[Notice], None] = nobody,
    ) -> Self:
        """The journal of ``directory`` for a new epoch; in memory if it cannot be used."""
        journal = cls(directory, sinks, now=now, limits=limits or JournalLimits(), notify=notify)
        try:
            await journal._start()
        except BaseException:
            journal._writer.shutdown(wait=False)
            journal._reading.shutdown()
            raise
        return journal

    async def _start(self) -> None:
        begun = await self._loop.run_in_executor(self._writer, self._store.begin)
        self._kept, self.epoch, self.notices = begun
        if self._kept.epoch == self.epoch - 1:
            numbers = self._kept.numbers
            self.previous = {lane: numbers.get((lane, self._kept.epoch), 0) for lane in Lane}
        self._cursors.load(self._kept.cursors)
        self._truth.load(self._kept)
        self._began = self._now().mono - self._kept.ran
        self._incidents.found(self.notices)
        self._incidents.lose(self._kept.lost)
        self._place.found()

    @property
    def durable(self) -> bool:
        """Whether what is stored outlives this process."""
        return self._place.durable

    @property
    def memory(self) -> str:
        """The name of the journal in memory that stands in for the file; empty: it is on disk."""
        return self._reading.store_reader.memory

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
        self._truth.later(states)
        alarms = [entry for entry in entries if entry.lane.is_alarm]
        self._add(entries)
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
        self._add(entries)
        alarms = self._number([entry for entry in entries if entry.lane.is_alarm])
        self._truth.commit(states, documents)
        ticket = self._submit(Urgent(alarms, tuple(documents), tuple(states)))
        return await ticket.outcome

    def _add(self, entries: Sequence[Entry]) -> None:
        self._pending.add(entries)
        if counts := self._pending.given_up():
            self._incidents.lose(given_up(counts, self.epoch, self._sinks))

    def forget(self, documents: Sequence[Document]) -> None:
        """Every sink has removed these emptied documents: no need to remember them."""
        self._forgotten += documents
        self._truth.forget(documents)
        self._flush_when_idle()

    def follow(self, sink: str, follower: Follower) -> Cursors:
        """From now on committed records go to ``follower``; what the sink is owed until here."""
        return self._cursors.follow(sink, follower, self._kept.numbers, self.epoch, self._newest)

    def read(self, lane: Lane, span: Span, limit: int) -> "asyncio.Future[list[Record]]":
        """The first records of a span that the file still has; what is missed is told as lost."""
        return self._reading.read(lane, span, limit)

    def give_up(self, lane: Lane, span: Span) -> None:
        """These cannot be read: whoever is owed them is told so."""
        self._reading.give_up(lane, (span,))

    def refuse(self, refusal: Refusal) -> None:
        """Keeps a record that a sink cannot deliver, with the reason."""
        self._refusals.append(refusal)
        self._flush_when_idle()

    async def quarantined(self) -> Mapping[str, int]:
        """How many refused records are kept aside, by sink."""
        return await self._place.quarantined()

    async def requeue(self, sink: str) -> int:
        """What a sink refused is sent to it again, with its old numbers; how many records."""
        owing = await self._place.requeue(sink)
        self.note_progress()
        return sum(spans.total() for spans in owing.values())

    def note_progress(self) -> None:
        """Some cursor moved: it is stored with a group soon."""
        if self._idle_timer is None:
            self._flush_when_idle()

    async def close(self, timeout_s: float = 5.0) -> None:
        """Stores what is pending and the cursors, and lets go of the file."""
        self._incidents.close()
        self._place.close()
        self._closed = True
        self._cursors.release()
        self._unsynced_since = self._unsynced_since or 0.0
        self._flush()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._writing or self._tickets or self._numbered_groups or self._pending:
                    self._settled.clear()
                    await self._settled.wait()
        for timer in (self._timer, self._idle_timer, self._sync_timer):
            if timer is not None:
                timer.cancel()
        if not self._writing:
            await self._reading.close()
            await self._loop.run_in_executor(self._writer, self._store.close)
        self._reading.shutdown()
        self._writer.shutdown(wait=False)

    def _number(self, entries: Sequence[Entry]) -> list[Record]:
        at = self._now().mono
        records = []
        for entry in entries:
            self._numbered[entry.lane] = seq = self._numbered[entry.lane] + 1
            records.append(Record(entry.lane, self.epoch, seq, entry.topic, entry.body, at=at))
        return records

    def _submit(self, urgent: Urgent) -> Ticket:
        ticket = Ticket(urgent, self._loop.create_future())
        ticket.timer = self._loop.call_later(self._limits.stall_s, self._tell_undurable, ticket)
        self._tickets.append(ticket)
        self._store.hurry = True
        self._flush()
        return ticket

    def _tell_undurable(self, ticket: Ticket) -> None:
        ticket.told = True
        self.counters.told_undurable += len(ticket.urgent.records)
        self._offer([replace(record, durable=False) for record in ticket.urgent.records])
        ticket.settle(stored=False)
        self._incidents.stalled()

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
        self._store.hurry = False
        future = self._loop.run_in_executor(self._writer, self._store.write, batch)
        future.add_done_callback(lambda done: self._written(batch, tickets, outcome_of(done)))

    def _next_batch(self) -> tuple[Batch | None, Sequence[Ticket]]:
        now = self._now()
        if not self._numbered_groups:  # once they have numbers they are never given up
            taken = self._pending.take()
            self._numbered_groups = tuple(Group(lane, self._number(each)) for lane, each in taken)
        tickets = tuple(self._tickets)
        cursors = self._cursors.changed(now.mono)
        overdue = self._unsynced_since is not None and now.mono - self._unsynced_since >= SYNC_S
        bookkeeping = cursors or self._refusals or self._forgotten
        states = self._truth.pending()
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
            ran=max(0, int(now.mono - self._began)),
        )
        return batch, tickets

    def _written(self, batch: Batch, tickets: Sequence[Ticket], outcome: Outcome) -> None:
        self._writing = False
        self._incidents.after(outcome, durable=self.durable)
        if outcome.urgent_stored:
            self._urgent_stored(tickets)
        if outcome.groups_stored:
            self._groups_stored(batch)
            if batch.full_sync:
                self._unsynced_since = None
            elif self._unsynced_since is None:
                self._unsynced_since = self._now().mono
            self._retry_s = 0.0
        else:
            self._retry_s = min(RETRY_CAP_S, self._retry_s * 2 or RETRY_FIRST_S)
        if outcome.notices:
            # The file is another one: what a start needs is put into it whatever was saved.
            self.notices += outcome.notices
            self._cursors.release(forget=True)
            self._submit(self._truth.all())
        self._flush_next()

    def _flush_next(self) -> None:
        if self._retry_s:
            self._timer = self._loop.call_later(self._retry_s, self._flush)
        elif self._tickets or self._closed:
            self._flush()
        elif self._pending or self._truth.pending():
            self._timer = self._loop.call_later(self._limits.group_s, self._flush)
        elif self._unsynced_since is not None and self._sync_timer is None:
            self._sync_timer = self._loop.call_later(SYNC_S, self._sync)

    def _urgent_stored(self, tickets: Sequence[Ticket]) -> None:
        for ticket in tickets:
            self._tickets.popleft()
            if not ticket.told:
                records = ticket.urgent.records
                self._offer([replace(record, durable=self.durable) for record in records])
            ticket.settle(stored=self.durable)

    def _groups_stored(self, batch: Batch) -> None:
        self._numbered_groups = ()
        for group in batch.groups:
            self._offer(group.records)
        self._cursors.stored(batch.cursors)
        self._truth.stored(batch.states)
        del self._refusals[: len(batch.refusals)]
        del self._forgotten[: len(batch.forgotten)]

    def _offer(self, records: Sequence[Record]) -> None:
        for lane, of_lane in by_lane(records).items():
            self._newest[lane] = of_lane[-1].seq
            self.counters.stored[lane] += len(of_lane)
            self._cursors.offer(of_lane)
