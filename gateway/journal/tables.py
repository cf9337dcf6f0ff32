"""The tables of the journal's file, how they are made, and how older ones are brought forward.

``ran`` is the time in s that gateways have run on this journal until a row was stored. It is what
ages rows: the wall clock may be stepped by years, a sum of monotonic times may not. Rows of format
1 have ``ran`` 0; nothing else has, it begins at ``RAN_FIRST``. While the machine is off nothing
ages: what is kept too long costs room, which is bounded by itself, what goes too early is gone.

``crc`` came with format 3 (``checksum``): the last column of its tables, as in a file that was
brought forward.

Source: sqlite.org "STRICT Tables" (3.37 or later), "ALTER TABLE", "Partial Indexes".
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from gateway.journal.checksum import SUMMED

FORMAT: Final = 3
ALIKE: Final = (2, FORMAT)
"""Their tables lie at the same root pages, with the same columns but the last."""
RAN_FIRST: Final = 1000
"""More than the ten minutes around an alarm, so that old rows are never near by ``ran``."""

TABLES: Final = {
    "meta": "key TEXT PRIMARY KEY, value INTEGER NOT NULL",
    "numbers": "lane TEXT NOT NULL, epoch INTEGER NOT NULL, last INTEGER NOT NULL, crc INTEGER,"
    " PRIMARY KEY (lane, epoch)",
    "states": "key TEXT PRIMARY KEY, value BLOB NOT NULL, crc INTEGER",
    "documents": "exercise INTEGER NOT NULL, topic TEXT NOT NULL, body BLOB NOT NULL,"
    " crc INTEGER, PRIMARY KEY (exercise, topic)",
    "cursors": "sink TEXT NOT NULL, lane TEXT NOT NULL, value TEXT NOT NULL, crc INTEGER,"
    " PRIMARY KEY (sink, lane)",
    "events": "id INTEGER PRIMARY KEY, lane TEXT NOT NULL, epoch INTEGER NOT NULL,"
    " seq INTEGER NOT NULL, wall REAL NOT NULL, ran INTEGER NOT NULL DEFAULT 0,"
    " topic TEXT NOT NULL, body BLOB NOT NULL, crc INTEGER, UNIQUE (lane, epoch, seq)",
    "quarantine": "sink TEXT NOT NULL, lane TEXT NOT NULL, epoch INTEGER NOT NULL,"
    " seq INTEGER NOT NULL, wall REAL NOT NULL, reason TEXT NOT NULL, topic TEXT NOT NULL,"
    " body BLOB NOT NULL, crc INTEGER, PRIMARY KEY (sink, lane, epoch, seq)",
    "lost": "lane TEXT NOT NULL, epoch INTEGER NOT NULL, first INTEGER NOT NULL,"
    " last INTEGER NOT NULL, wall REAL NOT NULL, count INTEGER NOT NULL DEFAULT 0,"
    " reason TEXT NOT NULL DEFAULT '', sinks TEXT NOT NULL DEFAULT '[]',"
    " told INTEGER NOT NULL DEFAULT 1, PRIMARY KEY (lane, epoch, first)",
    "groups": "id INTEGER PRIMARY KEY, lane TEXT NOT NULL, epoch INTEGER NOT NULL,"
    " first INTEGER NOT NULL, count INTEGER NOT NULL, wall REAL NOT NULL,"
    " ran INTEGER NOT NULL DEFAULT 0, data BLOB NOT NULL, crc INTEGER,"
    " UNIQUE (lane, epoch, first)",
}
"""In the order in which they are saved from a damaged file; their root pages follow from it.

``lost`` are the tombstones: what was deleted, why, which sinks were owed it, and whether it was
told.
"""

ALARM_TOPIC: Final = "alarm/event"
_INDEXES: Final = (
    f"CREATE INDEX alarms_by_ran ON events (lane, ran) WHERE topic = '{ALARM_TOPIC}'",
    f"CREATE INDEX alarms_by_wall ON events (lane, wall) WHERE topic = '{ALARM_TOPIC}'",
)

_FROM_1: Final = (
    "ALTER TABLE events ADD COLUMN ran INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE groups ADD COLUMN ran INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE lost ADD COLUMN count INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE lost ADD COLUMN reason TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE lost ADD COLUMN sinks TEXT NOT NULL DEFAULT '[]'",
    "ALTER TABLE lost ADD COLUMN told INTEGER NOT NULL DEFAULT 1",
    "UPDATE lost SET count = last - first + 1",
    *_INDEXES,
)
_FROM_2: Final = tuple(f"ALTER TABLE {table} ADD COLUMN crc INTEGER" for table in SUMMED)
_MIGRATIONS: Final = {1: _FROM_1, 2: _FROM_2}
"""By the format they start from; each leads to the next one."""


def version(con: sqlite3.Connection) -> int:
    """The format that a file says it has; 0 for one that is not made yet."""
    (found,) = con.execute("PRAGMA user_version").fetchone()
    return int(found)


def bring_forward(con: sqlite3.Connection) -> None:
    """Makes the tables of a new file or those of an older one new: all of it or nothing."""
    found = version(con)
    if found == FORMAT:
        return
    with transaction(con):
        for statement in _steps(found) if found else _creation():
            con.execute(statement)
        con.execute(f"PRAGMA user_version = {FORMAT}")


def _creation() -> list[str]:
    tables = [f"CREATE TABLE {table} ({columns}) STRICT" for table, columns in TABLES.items()]
    return [*tables, *_INDEXES]


def _steps(found: int) -> list[str]:
    return [step for of in range(found, FORMAT) for step in _MIGRATIONS[of]]


def columns(con: sqlite3.Connection, table: str) -> list[str]:
    """The names of a table's columns; none if there is no such table."""
    return [name for _, name, *_ in con.execute(f"PRAGMA table_info({table})")]


@contextmanager
def transaction(con: sqlite3.Connection) -> Iterator[None]:
    """All of it or nothing."""
    con.execute("BEGIN IMMEDIATE")
    try:
        yield
        con.execute("COMMIT")
    except BaseException:
        # A full disk has already ended the transaction.
        if con.in_transaction:
            con.execute("ROLLBACK")
        raise
