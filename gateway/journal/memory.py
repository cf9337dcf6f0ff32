"""A journal in memory for the time in which the state directory cannot be used.

Alarms are raised, told and delivered all the same, marked as not durable. What an unwritable file
still says about alarms is taken along. When the directory can be used again everything moves there.
"""

import itertools
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from gateway.journal.file import FILE, open_memory
from gateway.journal.salvage import SALVAGE_S, copy_tables
from gateway.journal.tables import transaction

MEMORY_BYTES: Final = 64 * 1024 * 1024
"""Own choice: some hours of sixty detectors."""
TRUTH: Final = ("meta", "states", "documents")
"""What is taken from a file that can only be read: what a start needs to go on."""
MOVED: Final = ("numbers", "states", "documents", "events", "quarantine", "lost", "groups")

_count: Final = itertools.count(1)


def new_name() -> str:
    """Of one database in this process."""
    return f"file:dosegate-{next(_count)}?mode=memory&cache=shared"


def begin(name: str, directory: Path) -> sqlite3.Connection:
    """A journal in memory that knows what the file of the directory says, if it says anything."""
    con = open_memory(name, MEMORY_BYTES)
    path = directory / FILE
    with suppress(sqlite3.Error, OSError, ValueError):
        uri = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as old:
            copy_tables(old, con, time.monotonic() + SALVAGE_S, TRUTH)
    return con


def move(memory: sqlite3.Connection, con: sqlite3.Connection) -> None:
    """Brings all that the memory has into the file, whose states and documents are older.

    A document that only the file has is emptied: it goes from the brokers at the next start.
    """
    documents = memory.execute("SELECT exercise, topic FROM documents").fetchall()
    with transaction(con):
        con.execute("DELETE FROM states")
        con.executemany("DELETE FROM documents WHERE exercise = ? AND topic = ?", documents)
        con.execute("UPDATE documents SET body = x'', crc = NULL")
    copy_tables(memory, con, time.monotonic() + SALVAGE_S, MOVED, joining=True)
