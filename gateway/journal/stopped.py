"""What is changed in the journal of a gateway that does not run: refusals that are owed again.

Only one may write a journal: a file that anybody else has open is left alone.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from gateway.journal.checksum import read_tolerantly
from gateway.journal.file import FILE, JournalUnusable
from gateway.journal.quarantine import requeue
from gateway.journal.status import counted
from gateway.journal.tables import FORMAT, bring_forward, version


def requeue_stopped(directory: Path, sink: str) -> int:
    """What a sink refused is owed to it again; how many messages. Raises JournalUnusable."""
    path = directory / FILE
    if not path.is_file():
        raise JournalUnusable(f"{path}: there is no journal, or it may not be read")
    try:
        with closing(_alone(path)) as con:
            known = [name for (name,) in con.execute("SELECT DISTINCT sink FROM cursors")]
            if sink not in known:
                names = ", ".join(sorted(known)) or "there is none"
                raise JournalUnusable(f"{path}: no sink is called {sink!r}: {names}")
            return sum(spans.total() for spans in requeue(con, sink).values())
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            raise JournalUnusable(
                f"{path}: another program has it open; ask the running gateway with -c or --socket"
            ) from error
        raise JournalUnusable(f"{path}: {error}") from error


def told_requeued(count: int) -> str:
    """What came of it, in words."""
    if not count:
        return "nothing of it is kept aside"
    return f"{counted(count, 'message', 'is', 'are')} owed again"


def _alone(path: Path) -> sqlite3.Connection:
    """A connection beside which there is no other."""
    con = sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True, isolation_level=None)
    try:
        read_tolerantly(con)
        con.execute("PRAGMA busy_timeout = 0")
        con.execute("PRAGMA locking_mode = EXCLUSIVE")
        con.execute("PRAGMA synchronous = FULL")
        con.execute("BEGIN EXCLUSIVE")
        con.execute("COMMIT")
        if version(con) > FORMAT:
            raise JournalUnusable(f"{path} is of a newer version: use that one")
        if version(con):
            bring_forward(con)
    except BaseException:
        con.close()
        raise
    return con
