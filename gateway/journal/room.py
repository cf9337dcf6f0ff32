"""Room in the journal's file that is kept for alarms, and how large the file may become.

A full disk stops deleting too, and what is set free on it another program may take. So nothing is
ever set free: the alarms' reserve lies in the file itself, as rows of the table ``reserve`` (a
piece each) that give their pages back to the file when an alarm finds no room. Samples can take
none of it. The log is as long as it has been and used again in its place.

SQLite extends the file when a checkpoint moves pages out of the log, which may be long after the
commit. On a full disk it could not, and the log would never end. So SQLite itself may not extend
it: the file grows by one piece at a time, a row of ``reserve`` that is brought out of the log at
once, while the file system has room to spare. Only then it is set free for samples. That
costs two more writes of each page, once in the life of a file.

Source: sqlite.org "PRAGMA max_page_count", "PRAGMA wal_checkpoint", "Database File Format" (1.5
and 1.6, the free list and overflow pages).
"""

import os
import sqlite3
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gateway.journal.file import free_bytes
from gateway.journal.salvage import PAGE_BYTES
from gateway.journal.tables import transaction

ALARMS_SHARE: Final = 0.15
"""Of the file's bound that samples leave to alarms; the reserve in advance is no larger."""
PIECE_PAGES: Final = 256
LEAST_PIECE_PAGES: Final = 32
PIECE_SHARE: Final = 1 / 16
"""A piece: 1 MiB, less where reserve and file are small. Own choice."""
SPARE_PAGES: Final = 8
"""For the table's own pages beside a piece: own choice."""
FILL_S: Final = 0.25
"""So long a start waits for the alarms' reserve, which goes on growing later: own choice."""
FILLED_BYTES: Final = PAGE_BYTES - 4
"""What a page takes of a long row."""
LOW_BYTES: Final = 32 * 1024 * 1024
LOW_SHARE: Final = 1 / 64
"""Of a file system: less free than this, or than LOW_BYTES, is nearly full. Own choice."""
MB: Final = 10**6

_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS reserve (id INTEGER PRIMARY KEY, room BLOB NOT NULL) STRICT"
)


def is_full(error: Exception) -> bool:
    """Whether there was no room, in the file or on the disk."""
    return getattr(error, "sqlite_errorname", "") == "SQLITE_FULL"


class NoRoomForSamples(sqlite3.OperationalError):
    """What is free belongs to alarms."""

    sqlite_errorname = "SQLITE_FULL"


@dataclass(slots=True)
class Room:
    """How much the journal may take of its file system; ``short`` says why it is little.

    ``held`` are the pages in the reserve, ``owned`` as many as it ever had.
    """

    directory: Path
    max_bytes: int
    reserve_bytes: int
    short: str = ""
    held: int = 0
    owned: int = 0
    _free: int = field(default=0)
    _low: int = field(default=0)
    _next_ran: int = field(default=0)

    @property
    def wanted(self) -> int:
        """Pages of the whole reserve."""
        return -(-reserve_bytes(self.reserve_bytes, self.max_bytes) // FILLED_BYTES)

    def piece(self, pages: int) -> int:
        """By how many pages a file of so many grows at once."""
        fitting = max(-(-self.wanted // 4), int(pages * PIECE_SHARE))
        return max(LEAST_PIECE_PAGES, min(PIECE_PAGES, fitting))

    def settle(self, con: sqlite3.Connection) -> None:
        """After opening: all that was committed is brought into the file, which then stays so."""
        try:
            _left_in_log(con)
        except sqlite3.OperationalError as error:
            if not is_full(error):
                raise
        self.measure()
        self.held = self.owned = _held(con)
        self._bound(con)

    def look(self, ran: int) -> None:
        """Looks at the disk once a second."""
        if ran < self._next_ran:
            return
        self._next_ran = ran + 1
        self.measure()
        missing = max(0, self.wanted - self.held)
        if self._free < self._low:
            self.short = f"{self._free / MB:.0f} MB are left on the disk of {self.directory}"
        elif missing and self._free < self._low + missing * PAGE_BYTES:
            self.short = self.short or (
                f"no room for {missing * PAGE_BYTES / MB:.1f} MB of the alarms' reserve"
            )
        elif self._free >= 2 * self._low:
            self.short = ""

    def measure(self) -> None:
        """What is free on the disk now."""
        try:
            disk = os.statvfs(self.directory)
            self._free = free_bytes(self.directory)
        except OSError:
            return
        self._low = min(LOW_BYTES, int(disk.f_blocks * disk.f_frsize * LOW_SHARE))

    def is_due(self, con: sqlite3.Connection) -> bool:
        """Whether the file should have a piece more, if it can."""
        return self.held < self.wanted or pages_free(con) < self.piece(_pages(con)) // 2

    def fill(self, con: sqlite3.Connection) -> None:
        """Grows at the start, for a while."""
        until = time.monotonic() + FILL_S
        while self.is_due(con) and self.grow(con):
            if time.monotonic() >= until:
                break

    def grow(self, con: sqlite3.Connection) -> bool:
        """One piece more, on the disk before anything relies on it; False: there is no room."""
        self.measure()
        piece = self.piece(_pages(con))
        try:
            if self.held < self.wanted + piece and not self._add(con, piece):
                return False
        except sqlite3.OperationalError as error:
            if not is_full(error):
                raise
            return False
        finally:
            self._bound(con)
        if not self._is_safe(_left_in_log(con)):
            return False
        if self.held >= self.wanted + piece:
            self._delete(con, "max(id)")
        self.owned = max(self.owned, self.held)
        return True

    def _add(self, con: sqlite3.Connection, piece: int) -> bool:
        """A row more in the reserve: of what is free in the file, and what it grows by."""
        pages, free = _pages(con), max(0, pages_free(con) - SPARE_PAGES)
        more = max(0, min(self._growable(pages), piece + SPARE_PAGES))
        size = piece
        if self.held >= self.wanted:
            size += free  # SQLite takes what is free first, and the row is to go at once
        if free + more < size + SPARE_PAGES:
            return False
        con.execute(f"PRAGMA max_page_count = {pages + more}").fetchall()
        with transaction(con):
            con.execute(_TABLE)
            con.execute("INSERT INTO reserve (room) VALUES (zeroblob(?))", (size * FILLED_BYTES,))
        self.held += size
        return True

    def _is_safe(self, left: int | None) -> bool:
        """Whether pages that had to stay in the log will find their room, as nothing is short.

        They stay there while somebody reads.
        """
        if left is None:
            return False
        return not left or left * PAGE_BYTES <= self._free - 2 * self._low

    def release(self, con: sqlite3.Connection) -> bool:
        """Gives the oldest piece back to the file; False if none is left."""
        return self._delete(con, "min(id)")

    def _delete(self, con: sqlite3.Connection, which: str) -> bool:
        if not self.held:
            return False
        with transaction(con):
            con.execute(f"DELETE FROM reserve WHERE id = (SELECT {which} FROM reserve)")
        self.held = _held(con)
        return True

    def for_samples(self, con: sqlite3.Connection) -> int:
        """Pages of the file that are free and not the alarms'."""
        return pages_free(con) - max(0, self.owned - self.held)

    def check_samples(self, con: sqlite3.Connection) -> None:
        """Before the commit of samples: what they take is not the alarms'."""
        if self.held >= self.owned or self._growable(_pages(con)) >= LEAST_PIECE_PAGES:
            return
        if self.for_samples(con) < 0:
            raise NoRoomForSamples("what is free is kept for alarms")

    def excess(self, con: sqlite3.Connection) -> int:
        """Pages by which there is more in the file than samples may leave there."""
        pages = _pages(con)
        piece = self.piece(pages)
        reach = pages + max(0, self._growable(pages)) // piece * piece
        most = reach - self.owned - min(piece, reach // 8)
        most = min(most, int(self.max_bytes * (1 - ALARMS_SHARE)) // PAGE_BYTES)
        return pages - pages_free(con) - self.held - most

    def _growable(self, pages: int) -> int:
        """Pages by which a file of so many may grow; the log grows as well."""
        room = (self._free - self._low) // (2 * PAGE_BYTES)
        return min(self.max_bytes // PAGE_BYTES - pages, room)

    def _bound(self, con: sqlite3.Connection) -> None:
        con.execute("PRAGMA max_page_count = 1").fetchall()  # SQLite takes the size that it has


def reserve_bytes(configured: int, max_bytes: int) -> int:
    """The size of the whole reserve."""
    return int(min(configured, max_bytes * ALARMS_SHARE))


def _left_in_log(con: sqlite3.Connection) -> int | None:
    """Moves what the log holds into the file; the pages that could not be moved now.

    None: none could be.
    """
    busy, in_log, moved = con.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return None if busy else int(in_log - moved)


def _held(con: sqlite3.Connection) -> int:
    if not con.execute("SELECT 1 FROM sqlite_schema WHERE name = 'reserve'").fetchall():
        return 0
    (size,) = con.execute("SELECT coalesce(sum(length(room)), 0) FROM reserve").fetchone()
    return int(size) // FILLED_BYTES


def _pages(con: sqlite3.Connection) -> int:
    (pages,) = con.execute("PRAGMA page_count").fetchone()
    return int(pages)


def pages_free(con: sqlite3.Connection) -> int:
    """Pages of the file with nothing in them."""
    (free,) = con.execute("PRAGMA freelist_count").fetchone()
    return int(free)
