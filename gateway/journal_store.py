"""The journal on disk: what is written in one transaction, what is shed, what is read back.

One read-write connection, used by one thread (SQLite before 3.51.3 may corrupt a WAL file that two
connections write or checkpoint); everybody else reads through a read-only connection.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from gateway.journal_file import FILE, PAGE_BYTES, JournalUnusable, open_file
from gateway.journal_record import Batch, Kept, Outcome, Record, pack, unpack
from gateway.journal_spans import Cursor, Span, Spans, decode_cursor
from gateway.values import Document, Lane

FAILURES: Final = (sqlite3.Error, OSError, JournalUnusable)
SAMPLES_SHARE: Final = 0.85
"""Above this share of the file's bound samples are shed; the rest is the alarms' reserve."""
CHECK_EVERY_BYTES: Final = 1024 * 1024
SHED_ROWS: Final = 32
SHED_ROUNDS: Final = 64
"""Deleting is done in small transactions: a large one would need more room than it frees."""


class Store:
    """The writing side, used by the writer's thread only; ``write`` tells failures, raises none."""

    def __init__(self, directory: Path, max_bytes: int, sinks: Sequence[str]) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._sinks = frozenset(sinks)
        self._con: sqlite3.Connection | None = None
        self._full_sync = True
        self._unchecked_bytes = CHECK_EVERY_BYTES
        self._notices: tuple[str, ...] = ()

    def open(self) -> tuple[Kept, tuple[str, ...]]:
        """Opens the file, a fresh one if it is damaged, and reads what a start needs."""
        self._con, notices = open_file(self._directory, self._max_bytes, starting=True)
        self._full_sync = True
        return _load(self._con), notices

    def begin_epoch(
        self, epoch: int, cursors: dict[tuple[str, Lane], str], *, damaged: bool
    ) -> None:
        """Stores the epoch, and in ``cursors`` and the file where sinks without a cursor begin.

        A new sink begins here; after damage one that has none is owed all that was saved.
        """
        con = self._connection()
        begin = Cursor(0 if damaged else epoch, 0).encode()
        for sink in self._sinks:
            for lane in Lane:
                cursors.setdefault((sink, lane), begin)
        con.execute("BEGIN IMMEDIATE")
        con.execute("INSERT OR REPLACE INTO meta VALUES ('epoch', ?)", (epoch,))
        con.executemany(
            "INSERT OR REPLACE INTO cursors VALUES (?, ?, ?)",
            [(sink, lane, text) for (sink, lane), text in cursors.items()],
        )
        con.execute("COMMIT")

    def close(self) -> None:
        """Closes the file, which also empties its log."""
        con, self._con = self._con, None
        if con is not None:
            with suppress(sqlite3.Error):
                con.close()

    def write(self, batch: Batch) -> Outcome:
        """Stores a batch; when it does not go in whole, what is urgent is tried by itself."""
        shed = self._make_room() if self._unchecked_bytes >= CHECK_EVERY_BYTES else 0
        error = ""
        urgent_only = replace(batch, groups=(), states=(), cursors=(), refusals=())
        for attempt in (batch, batch, urgent_only):
            try:
                self._transaction(attempt)
            except FAILURES as caught:
                error = f"{getattr(caught, 'sqlite_errorname', type(caught).__name__)}: {caught}"
                shed += self._recover(caught)
            else:
                whole = attempt is batch
                return Outcome(True, whole, "" if whole else error, self._take_notices(), shed)
        return Outcome(False, False, error, self._take_notices(), shed)

    def _take_notices(self) -> tuple[str, ...]:
        notices, self._notices = self._notices, ()
        return notices

    def _connection(self) -> sqlite3.Connection:
        if self._con is None:
            self._con, notices = open_file(self._directory, self._max_bytes, starting=False)
            self._notices += notices
            self._full_sync = True
        return self._con

    def _transaction(self, batch: Batch) -> None:
        con = self._connection()
        if batch.full_sync != self._full_sync:
            con.execute(f"PRAGMA synchronous = {'FULL' if batch.full_sync else 'NORMAL'}")
            self._full_sync = batch.full_sync
        con.execute("BEGIN IMMEDIATE")
        try:
            self._unchecked_bytes += _insert(con, batch)
            con.execute("COMMIT")
        except sqlite3.Error:
            # A full disk has already ended the transaction.
            if con.in_transaction:
                con.execute("ROLLBACK")
            raise

    def _recover(self, error: Exception) -> int:
        """After a failure: room in a full file, else a new connection; the number of records shed.

        A synchronisation that failed is never asked again on the same connection: its pages count
        as clean. Opening again finds damage and replaces the file.
        """
        name = getattr(error, "sqlite_errorname", "")
        if name == "SQLITE_FULL":
            return self._make_room()
        if not name.startswith("SQLITE_BUSY"):
            self.close()
        return 0

    def _make_room(self) -> int:
        """Deletes samples while the file is too full; the number lost to sinks that owed them."""
        self._unchecked_bytes = 0
        shed = 0
        with suppress(*FAILURES):
            con = self._connection()
            for _ in range(SHED_ROUNDS):
                if _used_bytes(con) <= self._max_bytes * SAMPLES_SHARE:
                    break
                if not _delete(con, _acknowledged(con, self._sinks)):
                    oldest = "SELECT id, lane, epoch, first, count FROM groups ORDER BY id LIMIT ?"
                    shed += _delete(con, con.execute(oldest, (SHED_ROWS,)).fetchall(), lost=True)
        return shed


def _insert(con: sqlite3.Connection, batch: Batch) -> int:
    """Everything of a batch; the number of bytes that went in."""
    last: dict[tuple[str, int], int] = {}
    size = 0
    for group in batch.groups:
        data = pack(group.records)
        size += len(data)
        first = group.records[0]
        last[group.lane, first.epoch] = group.records[-1].seq
        con.execute(
            "INSERT OR IGNORE INTO groups (lane, epoch, first, count, wall, data)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (group.lane, first.epoch, first.seq, len(group.records), batch.wall, data),
        )
    for urgent in batch.urgent:
        for record in urgent.records:
            last[record.lane, record.epoch] = record.seq
        con.executemany(
            "INSERT OR IGNORE INTO events (lane, epoch, seq, wall, topic, body)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            [(r.lane, r.epoch, r.seq, batch.wall, r.topic, r.body) for r in urgent.records],
        )
        size += sum(len(record.body) for record in urgent.records)
        _put_states(con, urgent.states)
        con.executemany(
            "INSERT OR REPLACE INTO documents VALUES (?, ?, ?)",
            [(int(d.exercise), d.topic, d.body) for d in urgent.documents if d.durable],
        )
    _put_states(con, batch.states)  # given after every urgent one of the same key
    con.executemany(
        "INSERT OR REPLACE INTO numbers VALUES (?, ?, ?)",
        [(lane, epoch, seq) for (lane, epoch), seq in last.items()],
    )
    _bookkeeping(con, batch)
    return size


def _put_states(con: sqlite3.Connection, states: Iterable[tuple[str, bytes]]) -> None:
    for key, value in states:
        if value:
            con.execute("INSERT OR REPLACE INTO states VALUES (?, ?)", (key, value))
        else:
            con.execute("DELETE FROM states WHERE key = ?", (key,))


def _bookkeeping(con: sqlite3.Connection, batch: Batch) -> None:
    con.executemany("INSERT OR REPLACE INTO cursors VALUES (?, ?, ?)", batch.cursors)
    con.executemany(
        "INSERT OR REPLACE INTO quarantine VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (sink, of.lane, of.epoch, of.seq, batch.wall, reason, of.topic, of.body)
            for sink, of, reason in ((r.sink, r.record, r.reason) for r in batch.refusals)
        ],
    )
    con.executemany(
        "DELETE FROM documents WHERE exercise = ? AND topic = ? AND body = x''",
        [(int(d.exercise), d.topic) for d in batch.forgotten],
    )
    if not (batch.groups or batch.urgent or batch.cursors or batch.states):
        # A synchronisation without news: only a write reaches the log, and so the disk.
        con.execute("INSERT OR REPLACE INTO meta VALUES ('synchronised', ?)", (int(batch.wall),))


def _load(con: sqlite3.Connection) -> Kept:
    lanes = {str(lane): lane for lane in Lane}
    numbers = {
        (lanes[lane], epoch): last
        for lane, epoch, last in con.execute("SELECT lane, epoch, last FROM numbers")
        if lane in lanes
    }
    stored = con.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone() or (0,)
    return Kept(
        epoch=max([stored[0], *(epoch for _, epoch in numbers)]),
        states=dict(con.execute("SELECT key, value FROM states")),
        documents=tuple(
            Document(topic, body, exercise=bool(exercise), durable=True)
            for exercise, topic, body in con.execute("SELECT exercise, topic, body FROM documents")
        ),
        cursors={
            (sink, lanes[lane]): value
            for sink, lane, value in con.execute("SELECT sink, lane, value FROM cursors")
            if lane in lanes
        },
        numbers=numbers,
    )


def _used_bytes(con: sqlite3.Connection) -> int:
    (pages,) = con.execute("PRAGMA page_count").fetchone()
    (free,) = con.execute("PRAGMA freelist_count").fetchone()
    return (int(pages) - int(free)) * PAGE_BYTES


_Row = tuple[int, str, int, int, int]


def _acknowledged(con: sqlite3.Connection, sinks: frozenset[str]) -> list[_Row]:
    """The oldest groups that no sink is owed."""
    for lane, newest in _newest_by_lane(con):
        owed = Spans()
        for sink, value in con.execute("SELECT sink, value FROM cursors WHERE lane = ?", (lane,)):
            cursor = decode_cursor(value) if sink in sinks else None
            for span in cursor.owed(newest) if cursor else ():
                owed.add(span)
        free = Spans(Span(epoch, 1, last) for epoch, last in newest.items())
        for span in owed:
            free.discard(span)
        rows = [row for span in free for row in _groups_inside(con, lane, span)]
        if rows:
            return rows[:SHED_ROWS]
    return []


def _newest_by_lane(con: sqlite3.Connection) -> Iterator[tuple[str, dict[int, int]]]:
    for lane in Lane:
        if not lane.is_alarm:
            rows = con.execute("SELECT epoch, last FROM numbers WHERE lane = ?", (lane,))
            yield lane, dict(rows.fetchall())


def _groups_inside(con: sqlite3.Connection, lane: str, span: Span) -> list[_Row]:
    rows: list[_Row] = con.execute(
        "SELECT id, lane, epoch, first, count FROM groups"
        " WHERE lane = ? AND epoch = ? AND first BETWEEN ? AND ? ORDER BY first LIMIT ?",
        (lane, span.epoch, span.first, span.last, SHED_ROWS),
    ).fetchall()
    return [row for row in rows if row[3] + row[4] - 1 <= span.last]


def _delete(con: sqlite3.Connection, rows: list[_Row], *, lost: bool = False) -> int:
    """Deletes groups, if ``lost`` with a tombstone each; the number of records in them."""
    if not rows:
        return 0
    con.execute("BEGIN IMMEDIATE")
    try:
        con.executemany("DELETE FROM groups WHERE id = ?", [(row[0],) for row in rows])
        if lost:
            con.executemany(
                "INSERT OR REPLACE INTO lost SELECT ?, ?, ?, ?, unixepoch()",
                [(lane, epoch, first, first + count - 1) for _, lane, epoch, first, count in rows],
            )
        con.execute("COMMIT")
    except sqlite3.Error:
        if con.in_transaction:
            con.execute("ROLLBACK")
        raise
    return sum(row[4] for row in rows)


class StoreReader:
    """The reading side, used by one other thread; follows the file when it is replaced."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE
        self._con: sqlite3.Connection | None = None
        self._inode = 0

    def read(self, lane: Lane, span: Span, limit: int) -> list[Record]:
        """The first records of a span that are there, in order; a group more than ``limit``."""
        try:
            con = self._connection()
            if lane.is_alarm:
                return _read_events(con, lane, span, limit)
            return _read_groups(con, lane, span, limit)
        except sqlite3.Error:
            self.close()
            raise

    def close(self) -> None:
        """Lets go of the file."""
        con, self._con = self._con, None
        if con is not None:
            con.close()

    def _connection(self) -> sqlite3.Connection:
        try:
            inode = self._path.stat().st_ino
        except OSError as error:
            raise sqlite3.OperationalError(f"{self._path}: {error.strerror}") from error
        if self._con is None or inode != self._inode:
            self.close()
            self._con = sqlite3.connect(
                f"{self._path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None
            )
            self._inode = inode
        return self._con


def _read_events(con: sqlite3.Connection, lane: Lane, span: Span, limit: int) -> list[Record]:
    rows = con.execute(
        "SELECT seq, topic, body FROM events"
        " WHERE lane = ? AND epoch = ? AND seq BETWEEN ? AND ? ORDER BY seq LIMIT ?",
        (lane, span.epoch, span.first, span.last, limit),
    )
    return [Record(lane, span.epoch, seq, topic, body, replayed=True) for seq, topic, body in rows]


def _read_groups(con: sqlite3.Connection, lane: Lane, span: Span, limit: int) -> list[Record]:
    key = {"lane": lane, "epoch": span.epoch, "first": span.first, "last": span.last}
    cursor = con.execute(
        "SELECT first, data FROM groups WHERE lane = :lane AND epoch = :epoch AND first <= :last"
        " AND first >= coalesce((SELECT max(first) FROM groups"
        " WHERE lane = :lane AND epoch = :epoch AND first <= :first), 0) ORDER BY first",
        key,
    )
    records: list[Record] = []
    for first, data in cursor:
        found = unpack(lane, span.epoch, first, data)
        records += [record for record in found if span.first <= record.seq <= span.last]
        if len(records) >= limit:
            break
    cursor.close()
    return records
