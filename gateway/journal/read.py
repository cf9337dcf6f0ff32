"""Reading the journal's file back, beside the one who writes it.

A row that is not as it was stored (``checksum``) is never among what was read.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import structlog

from gateway.journal.checksum import DamagedRow, holds, read_tolerantly
from gateway.journal.file import FILE
from gateway.journal.numbers import newest_of
from gateway.journal.record import Record, lines, records_of
from gateway.journal.spans import Span, Spans
from gateway.values import Lane

log = structlog.get_logger(__name__)
Tell = Callable[[Lane, Sequence[Span]], object]


def _nobody(lane: Lane, missing: Sequence[Span]) -> None:
    """Nobody wants to know."""


class StoreReader:
    """The reading side, used by one other thread; follows the file when it is replaced.

    ``memory`` is the name of a journal in memory, as long as it is there instead of the file.
    ``missing`` is told, in that thread, of numbers that were stored, are not there, and have no
    tombstone that says why.
    """

    def __init__(self, directory: Path, missing: Tell = _nobody) -> None:
        self.memory = ""
        self._missing = missing
        self._path = directory / FILE
        self._con: sqlite3.Connection | None = None
        self._at: str | int = 0
        self._last: tuple[bytes, list[bytes]] = (b"", [])

    def read(self, lane: Lane, span: Span, limit: int) -> list[Record]:
        """The first records of a span that are there, in order."""
        try:
            con = self._connection()
            newest = newest_of(con, lane, span.epoch)  # first: what comes later is not missing
            if lane.is_alarm:
                records = read_events(con, lane, span, limit, skip_damaged=True)
            else:
                records = read_groups(
                    con, lane, span, limit, skip_damaged=True, lines_of=self._lines_of
                )
            is_full = len(records) >= max(1, limit)
            last = records[-1].seq if is_full else min(span.last, newest)
            self._tell_missing(con, lane, Span(span.epoch, span.first, last), records)
        except sqlite3.Error:
            self.close()
            raise
        return records

    def _tell_missing(
        self, con: sqlite3.Connection, lane: Lane, span: Span, records: Sequence[Record]
    ) -> None:
        if len(records) > span.last - span.first or self.memory:
            return
        if gone := unexplained(con, lane, between(records, span)):
            self._missing(lane, gone)

    def _lines_of(self, data: bytes) -> list[bytes]:
        """A row is asked for a part at a time: the last one is kept unpacked."""
        if data != self._last[0]:
            self._last = data, lines(data)
        return self._last[1]

    def close(self) -> None:
        """Lets go of the file."""
        con, self._con = self._con, None
        if con is not None:
            con.close()

    def _connection(self) -> sqlite3.Connection:
        try:
            at = self.memory or self._path.stat().st_ino
        except OSError as error:
            raise sqlite3.OperationalError(f"{self._path}: {error.strerror}") from error
        if self._con is None or at != self._at:
            self.close()
            uri = self.memory or f"{self._path.resolve().as_uri()}?mode=ro"
            self._con = sqlite3.connect(uri, uri=True, isolation_level=None)
            read_tolerantly(self._con)
            self._con.execute(f"PRAGMA read_uncommitted = {bool(self.memory):d}")
            self._at = at
        return self._con


def between(records: Sequence[Record], span: Span) -> Iterator[Span]:
    """The numbers of a span that are not among its records, which are in order."""
    seqs = (span.first - 1, *(record.seq for record in records), span.last + 1)
    for before, after in pairwise(seqs):
        if after - before > 1:
            yield Span(span.epoch, before + 1, after - 1)


def unexplained(con: sqlite3.Connection, lane: Lane, missing: Iterator[Span]) -> list[Span]:
    """What of them has no tombstone."""
    left = Spans(missing)
    for span in tuple(left):
        rows = con.execute(
            "SELECT first, last FROM lost WHERE lane = ? AND epoch = ? AND first <= ?"
            " AND last >= ?",
            (lane, span.epoch, span.last, span.first),
        )
        for first, last in rows:
            left.discard(Span(span.epoch, first, last))
    return list(left)


def read_events(
    con: sqlite3.Connection,
    lane: Lane,
    span: Span,
    limit: int,
    *,
    skip_damaged: bool = False,
    crc: str = "crc",
) -> list[Record]:
    """The first records of a span of an alarms lane.

    DamagedRow at a damaged one; where they are skipped it is missing. ``crc`` is the column, or
    NULL for a file that has none.
    """
    rows = con.execute(
        f"SELECT id, seq, topic, body, {crc} FROM events"
        " WHERE lane = ? AND epoch = ? AND seq BETWEEN ? AND ? ORDER BY seq",
        (lane, span.epoch, span.first, span.last),
    )
    records: list[Record] = []
    for rowid, seq, topic, body, stored in rows:
        if len(records) >= limit:
            break
        if isinstance(body, bytes) and holds(stored, lane, span.epoch, seq, topic, body):
            records.append(Record(lane, span.epoch, seq, topic, body, replayed=True))
        elif skip_damaged:
            log.error("journal_row_damaged", lane=lane, epoch=span.epoch, seq=seq, row=rowid)
        else:
            raise DamagedRow(f"row {rowid} of events is not as it was stored")
    rows.close()
    return records


def read_groups(
    con: sqlite3.Connection,
    lane: Lane,
    span: Span,
    limit: int,
    *,
    skip_damaged: bool = False,
    crc: str = "crc",
    lines_of: Callable[[bytes], list[bytes]] = lines,
) -> list[Record]:
    """The first records of a span of a samples lane.

    ValueError at a damaged group; where they are skipped its records are missing.
    """
    key = {"lane": lane, "epoch": span.epoch, "first": span.first, "last": span.last}
    cursor = con.execute(
        f"SELECT id, first, count, data, {crc} FROM groups"
        " WHERE lane = :lane AND epoch = :epoch AND first <= :last"
        " AND first >= coalesce((SELECT max(first) FROM groups"
        " WHERE lane = :lane AND epoch = :epoch AND first <= :first), 0) ORDER BY first",
        key,
    )
    records: list[Record] = []
    for rowid, first, count, data, stored in cursor:
        try:
            if not isinstance(data, bytes) or not holds(
                stored, lane, span.epoch, first, count, data
            ):
                raise DamagedRow(f"row {rowid} of groups is not as it was stored")
            found = lines_of(data)
            begin = max(0, span.first - first)
            end = min(span.last + 1 - first, begin + limit - len(records))
            records += records_of(lane, span.epoch, first + begin, found[begin:end])
        except ValueError as error:
            if not skip_damaged:
                raise
            log.error("journal_row_damaged", lane=lane, first=first, error=str(error))
            continue
        if len(records) >= limit:
            break
    cursor.close()
    return records
