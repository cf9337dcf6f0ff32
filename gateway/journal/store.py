"""The journal on disk: what is written in one transaction, and how it goes on after a failure.

One read-write connection, used by one thread (SQLite before 3.51.3 may corrupt a WAL file that two
connections write or checkpoint); everybody else reads through a read-only connection.

Numbers are given on the event loop before the transaction that stores them. None is lost or used
again all the same: a group that failed keeps its numbers and is tried until it is stored, nobody is
told a number before its commit (an alarm on a stalled disk apart), and whatever a crash takes with
it had numbers of an epoch that the next start does not continue: the key holds the epoch.
"""

import math
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

from gateway.journal import memory as journal_memory
from gateway.journal import witness as journal_witness
from gateway.journal.cursors import StoredCursor
from gateway.journal.epoch import kept_epoch, next_epoch, store_epoch, unknown_epoch
from gateway.journal.file import (
    JournalUnusable,
    empty_log,
    is_busy,
    is_damage,
    keep_log,
    open_file,
    prepare,
)
from gateway.journal.record import Batch, JournalLimits, Kept, Outcome
from gateway.journal.retention import Owed, Retention
from gateway.journal.room import ALARMS_SHARE, Room, is_full, pages_free
from gateway.journal.rows import URGENT_PAGES, begin, insert, load, packed, pages_for
from gateway.journal.salvage import PAGE_BYTES
from gateway.journal.spans import Cursor, Spans
from gateway.journal.tables import transaction
from gateway.journal.witness import Witness
from gateway.values import Lane
from gateway.wire.delivery import Lost

T = TypeVar("T")
Task = Callable[[sqlite3.Connection], T]
FAILURES: Final = (sqlite3.Error, OSError, JournalUnusable, UnicodeError)
DAMAGED_TIMES: Final = 2
"""In a row: a write that the file is too damaged for, on another connection again. Own choice."""
STEP_S: Final = 0.005
"""So long one turn of tending may delete, the step apart that goes beyond: own choice."""
TEND_S: Final = 2
"""Behind what is urgent the file is not tended, unless it has not been for so long: own choice."""


class Store:
    """The writing side, used by the writer's thread only; ``write`` tells failures, raises none.

    ``memory`` is the name of the journal in memory that stands in while the directory cannot be
    used, ``unusable`` says why it cannot. ``hurry`` is set by others: something urgent waits.
    """

    def __init__(
        self,
        directory: Path,
        max_bytes: int,
        sinks: Sequence[str],
        limits: JournalLimits | None = None,
    ) -> None:
        limits = limits or JournalLimits()
        self.memory = ""
        self.unusable = ""
        self.hurry = False
        self._directory = directory
        self._max_bytes = max_bytes
        self._epoch = 0
        self._sinks = frozenset(sinks)
        self._con: sqlite3.Connection | None = None
        self._suspect = False
        self._damaged = 0
        self._beginning: list[StoredCursor] | None = None
        self._room = Room(directory, max_bytes, limits.ballast_bytes)
        self._witness = Witness(directory)
        self._retention = Retention(limits, self._sinks)
        self._full_sync = True
        self._tended_ran = 0
        self._notices: tuple[str, ...] = ()
        self._lost: tuple[Lost, ...] = ()
        self._wall = 0.0

    def open(self) -> tuple[Kept, tuple[str, ...]]:
        """Opens the file, a fresh one if it is damaged, and reads what a start needs."""
        self._con = self._opened(starting=True)
        with self._guarded():
            self._room.fill(self._con)
        return load(self._connection()), self._take_notices()

    def begin(self) -> tuple[Kept, int, tuple[str, ...]]:
        """Opens the journal for a new epoch, in memory if there is no other place."""
        try:
            prepare(self._directory)
            kept, notices = self.open()
            next_one = next_epoch(self._directory, kept.epoch, damaged=bool(notices))
            is_damaged = next_one.is_lost or bool(notices)
            if not is_damaged:
                notices += journal_witness.missed(self._directory, kept.epoch, kept.numbers)
            notices += next_one.notices + kept.damage
            # A cursor that cannot be believed is gone: its sink is owed all there is.
            owes_all = is_damaged or bool(kept.damage)
            notices += self._stored_epoch(next_one.epoch, kept, damaged=owes_all)
        except FAILURES as error:
            kept, epoch = self._begin_in_memory(error)
            self.begin_epoch(epoch, kept.cursors, damaged=False)
            return kept, epoch, ()
        return kept, next_one.epoch, notices + self._take_notices()

    def _stored_epoch(self, epoch: int, kept: Kept, *, damaged: bool) -> tuple[str, ...]:
        """The epoch is kept in one place at least, or it would come again: raises without.

        In the journal first, tried twice: after a failure on another connection.
        """
        failure = self._try_epoch(epoch, kept, damaged=damaged)
        if failure is not None:
            failure = self._try_epoch(epoch, kept, damaged=damaged)
        try:
            store_epoch(self._directory, epoch, alone=failure is not None)
        except OSError as error:
            if failure is not None:
                raise
            return (f"{self._directory}: the file of the epoch could not be written ({error})",)
        if failure is not None:
            return (f"{self._directory}: epoch {epoch} could not be stored ({failure})",)
        self._witness.write(epoch)
        return ()

    def _try_epoch(self, epoch: int, kept: Kept, *, damaged: bool) -> Exception | None:
        try:
            self.begin_epoch(epoch, kept.cursors, damaged=damaged)
        except FAILURES as error:
            self._recover(error)
            return error
        return None

    def _begin_in_memory(self, error: Exception) -> tuple[Kept, int]:
        self.close()
        self.unusable = str(error)
        self.memory = journal_memory.new_name()
        self._con = journal_memory.begin(self.memory, self._directory)
        kept = load(self._con)
        before = kept_epoch(self._directory)
        known = max(kept.epoch, before.epoch if before else 0)
        epoch = max(known + 1, unknown_epoch())
        with suppress(OSError):
            store_epoch(self._directory, epoch, alone=True)
        return kept, epoch

    def return_to_file(self) -> dict[tuple[str, Lane], Spans] | None:
        """Moves from the memory to the directory; what its file owes the sinks, None if it fails.

        The present epoch came about without the directory and goes on in it.
        """
        memory = self._connection()
        try:
            prepare(self._directory)
            with suppress(OSError):
                store_epoch(self._directory, self._epoch, alone=True)
            opened = open_file(self._directory, self._max_bytes, starting=True)
            try:
                owed = self._moved(memory, opened.con)
            except BaseException:
                opened.con.close()
                raise
        except FAILURES as error:
            self.unusable = str(error)
            return None
        self._con = opened.con
        self._notices += opened.notices
        self.memory = self.unusable = ""
        self._full_sync = True
        memory.close()
        return owed.by_sink(before=self._epoch)

    def _moved(self, memory: sqlite3.Connection, con: sqlite3.Connection) -> Owed:
        journal_memory.move(memory, con)
        with transaction(con):
            con.execute("INSERT OR REPLACE INTO meta VALUES ('epoch', ?)", (self._epoch,))
        store_epoch(self._directory, self._epoch)
        self._room.settle(con)
        return Owed(con, self._sinks)

    def begin_epoch(
        self, epoch: int, cursors: dict[tuple[str, Lane], str], *, damaged: bool
    ) -> None:
        """Stores the epoch, and in ``cursors`` and the file where sinks without a cursor begin.

        Where that fails it is stored with the first batch. A new sink begins here; after damage one
        that has none is owed all that was saved.
        """
        self._epoch = epoch
        owing = Cursor(0 if damaged else epoch, 0).encode()
        for sink in self._sinks:
            for lane in Lane:
                cursors.setdefault((sink, lane), owing)
        self._beginning = [(sink, lane, text) for (sink, lane), text in cursors.items()]
        con = self._connection()
        with transaction(con):
            begin(con, epoch, self._beginning)
        self._beginning = None

    def close(self) -> None:
        """Closes the file; its log stays beside it, emptied."""
        con, self._con = self._con, None
        self._witness.close()
        if con is not None:
            with suppress(sqlite3.Error, OSError):
                if self.memory or self._suspect:
                    con.close()
                else:
                    keep_log(self._directory, con)

    def write(self, batch: Batch) -> Outcome:
        """Stores a batch; when it does not go in whole, what is urgent is tried by itself."""
        self._wall = batch.wall
        if not self.memory:
            self._room.look(batch.ran)
        error = ""
        urgent_only = replace(batch, groups=(), states=(), cursors=(), refusals=())
        attempts = (batch, batch, urgent_only, urgent_only) if batch.urgent else (batch, batch)
        rows = packed(batch)
        urgent, pages = pages_for(batch, rows)
        for attempt in attempts:
            try:
                self._transaction(attempt, rows if attempt.groups else ())
            except FAILURES as caught:
                error = f"{getattr(caught, 'sqlite_errorname', type(caught).__name__)}: {caught}"
                is_urgent = attempt is urgent_only
                self._recover(caught, urgent if is_urgent else pages, is_urgent=is_urgent)
            else:
                self._damaged = 0
                self._note(attempt)
                if attempt is batch:
                    self._tend(batch)
                    return self._outcome(True, True, "")
                return self._outcome(True, False, error)
        return self._outcome(not batch.urgent, False, error)

    def work(self, task: Task[T]) -> T:
        """Something else to be done by the one who writes; raises what it raises."""
        try:
            return task(self._connection())
        except FAILURES as error:
            self._recover(error)
            raise

    def _outcome(self, urgent_stored: bool, groups_stored: bool, error: str) -> Outcome:
        lost, self._lost = self._lost, ()
        return Outcome(
            urgent_stored, groups_stored, error, self._take_notices(), lost, self._room.short
        )

    def _take_notices(self) -> tuple[str, ...]:
        notices, self._notices = self._notices, ()
        return notices

    def _note(self, stored: Batch) -> None:
        """Keeps beside the file how far it has been synchronised."""
        if self.memory:
            return
        records = [group.records[-1] for group in stored.groups]
        records += [urgent.records[-1] for urgent in stored.urgent if urgent.records]
        for record in records:
            self._witness.note(record.lane, record.seq)
        if stored.full_sync:
            self._witness.write(self._epoch)

    def _connection(self) -> sqlite3.Connection:
        if self._con is None:
            self._con = self._opened(starting=False)
        return self._con

    def _opened(self, *, starting: bool) -> sqlite3.Connection:
        distrust = "it opens and cannot be written" if self._damaged >= DAMAGED_TIMES else ""
        opened = open_file(self._directory, self._max_bytes, starting=starting, distrust=distrust)
        try:
            if self._suspect:
                empty_log(opened.con)
            self._room.settle(opened.con)
        except BaseException:
            opened.con.close()
            raise
        if opened.replaced:
            self._witness.forget()
            self._damaged = 0
        self._suspect = False
        self._notices += opened.notices
        self._full_sync = True
        return opened.con

    def _transaction(self, batch: Batch, rows: Sequence[bytes]) -> None:
        con = self._connection()
        if batch.full_sync != self._full_sync:
            con.execute(f"PRAGMA synchronous = {'FULL' if batch.full_sync else 'NORMAL'}")
            self._full_sync = batch.full_sync
        with transaction(con):
            if self._beginning is not None:
                begin(con, self._epoch, self._beginning)
            insert(con, batch, rows)
            if batch.groups and not self.memory:
                self._room.check_samples(con)
        self._beginning = None

    def _recover(self, error: Exception, pages: int = 0, *, is_urgent: bool = False) -> None:
        """After a failure: room on a full disk or in a full file, else a new connection.

        ``pages`` are needed, of alarms only if it ``is_urgent``. A synchronisation that failed is
        never asked again on the same connection: its pages count as clean. Opening again finds
        damage and replaces the file.
        """
        if is_full(error):
            self._make_room(pages, is_urgent=is_urgent)
        elif not self.memory and not is_busy(error):
            self._damaged = self._damaged + 1 if is_damage(error) else 0
            self._give_up()

    def _give_up(self) -> None:
        """Closes a connection that is not to be trusted, without a word of its own to the disk."""
        con, self._con = self._con, None
        self._suspect = True
        if con is not None:
            with suppress(sqlite3.Error):
                con.close()

    def _make_room(self, pages: int, *, is_urgent: bool) -> None:
        """Room for what did not go in: the log begins anew, the file grows, or something goes.

        For alarms their reserve is given back to the file piece by piece, for samples others go.
        """
        with self._guarded():
            con = self._connection()
            if is_urgent:  # what was free has just proved to be too little
                pages = max(pages, pages_free(con) + URGENT_PAGES)
            if not self.memory:
                con.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
                release, grow = self._room.release, self._room.grow
                # What grows may go to the reserve, and what was released go back there.
                for make in (release, grow, release) if is_urgent else (grow,):
                    while self._lacks(con, pages, is_urgent) and make(con):
                        pass
                if is_urgent and pages_free(con) >= pages:
                    return
        self._shed(pages, is_urgent=is_urgent)

    def _lacks(self, con: sqlite3.Connection, pages: int, is_urgent: bool) -> bool:
        if self.memory or is_urgent:
            return pages_free(con) < pages
        return self._room.for_samples(con) < pages

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """What fails here may be tried again later, but not on a connection that has failed."""
        try:
            yield
        except FAILURES as error:
            if not is_full(error) and not is_busy(error):
                self._give_up()

    def _tend(self, batch: Batch) -> None:
        """After a commit, in small steps, as long as nothing urgent waits."""
        if batch.urgent and batch.ran - self._tended_ran < TEND_S:
            return
        self._tended_ran = batch.ran
        until = time.monotonic() + STEP_S
        if not self.memory:
            with self._guarded():
                con = self._connection()
                if not self.hurry and self._room.is_due(con):
                    self._room.grow(con)
        self._shed(until=until)
        with self._guarded():
            if not self.hurry:
                self._retention.expire(self._connection(), batch.ran, self._wall)

    def _shed(self, pages: int = 0, until: float = math.inf, *, is_urgent: bool = False) -> None:
        """Deletes samples while the file is too full, and until so many pages are free."""
        with self._guarded():
            con = self._connection()
            while self._lacks(con, pages, is_urgent) or (self._excess(con) > 0 and not self.hurry):
                rows, lost = self._retention.make_room(con, self._wall)
                self._lost += lost
                if not rows or time.monotonic() >= until:
                    break

    def _excess(self, con: sqlite3.Connection) -> int:
        """Pages by which the file is too full."""
        if not self.memory:
            return self._room.excess(con)
        (pages,) = con.execute("PRAGMA page_count").fetchone()
        most = int(journal_memory.MEMORY_BYTES * (1 - ALARMS_SHARE)) // PAGE_BYTES
        return int(pages) - pages_free(con) - most
