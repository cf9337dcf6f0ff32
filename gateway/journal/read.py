"""Reading the journal's file back, beside the one who writes it."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import structlog

from gateway.journal.file import FILE
from gateway.journal.record import Record, lines, records_of
from gateway.journal.spans import Span
from gateway.values import Lane

log = structlog.get_logger(__name__)


class StoreReader:
    """The reading side, used by one other thread; follows the file when it is replaced.

    ``memory`` is the name of a journal in memory, as long as it is there instead of the file.
    """

    def __init__(self, directory: Path) -> None:
        self.memory = ""
        self._path = directory / FILE
        self._con: sqlite3.Connection | None = None
        self._at: str | int = 0
        self._last: tuple[bytes, list[bytes]] = (b"", [])

    def read(self, lane: Lane, span: Span, limit: int) -> list[Record]:
        """The first records of a span that are there, in order."""
        try:
            con = self._connection()
            if lane.is_alarm:
                return read_events(con, lane, span, limit)
            return read_groups(con, lane, span, limit, skip_damaged=True, lines_of=self._lines_of)
        except sqlite3.Error:
            self.close()
            raise

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
            self._con.execute(f"PRAGMA read_uncommitted = {bool(self.memory):d}")
            self._at = at
        return self._con


def read_events(con: sqlite3.Connection, lane: Lane, span: Span, limit: int) -> list[Record]:
    """The first records of a span of an alarms lane."""
    rows = con.execute(
        "SELECT seq, topic, body FROM events"
        " WHERE lane = ? AND epoch = ? AND seq BETWEEN ? AND ? ORDER BY seq LIMIT ?",
        (lane, span.epoch, span.first, span.last, limit),
    )
    return [Record(lane, span.epoch, seq, topic, body, replayed=True) for seq, topic, body in rows]


def read_groups(
    con: sqlite3.Connection,
    lane: Lane,
    span: Span,
    limit: int,
    *,
    skip_damaged: bool = False,
    lines_of: Callable[[bytes], list[bytes]] = lines,
) -> list[Record]:
    """The first records of a span of a samples lane.

    ValueError at a damaged group; where they are skipped its records are missing.
    """
    key = {"lane": lane, "epoch": span.epoch, "first": span.first, "last": span.last}
    cursor = con.execute(
        "SELECT first, data FROM groups WHERE lane = :lane AND epoch = :epoch AND first <= :last"
        " AND first >= coalesce((SELECT max(first) FROM groups"
        " WHERE lane = :lane AND epoch = :epoch AND first <= :first), 0) ORDER BY first",
        key,
    )
    records: list[Record] = []
    for first, data in cursor:
        try:
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
