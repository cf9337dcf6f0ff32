"""The journal's file: opening it, and replacing a damaged one.

Sources: sqlite.org "Write-Ahead Logging", "Pragma statements supported by SQLite", "How To Corrupt
An SQLite Database File".
"""

import fcntl
import os
import sqlite3
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.journal.checksum import read_tolerantly
from gateway.journal.salvage import ASIDE, NEWER, PAGE_BYTES, forget_copies, salvage, set_aside
from gateway.journal.tables import FORMAT, TABLES, bring_forward, version

FILE: Final = "journal.sqlite"
WAL_LIMIT_BYTES: Final = 16 * 1024 * 1024
CHECKPOINT_PAGES: Final = 1000
"""SQLite's own default; fewer on a small file system, see ``WAL_SHARE``."""
LOG_HEADER_BYTES: Final = 32
SHARED_FIRST: Final = 0x4000_0002
SHARED_BYTES: Final = 510
"""Who has the file open holds a lock on these (os.h of SQLite)."""
WAL_SHARE: Final = 1 / 16
"""Of a file system that the log may take before its content moves into the file: own choice."""
FULL_CHECK_BYTES: Final = 64 * 1024 * 1024
"""Larger files are not read from end to end at each start."""
FULL_BELOW_BYTES: Final = 64 * 1024
"""SQLite makes a log and an index of 32 KiB to open a file."""
WAIT_S: Final = 5.0
"""For another one who has the file, when it is opened; while running nobody waits so long."""
BUSY_MS: Final = 500
DAMAGE: Final = ("SQLITE_CORRUPT", "SQLITE_NOTADB")


class JournalUnusable(Exception):
    """There is no place for a journal; the text names the path and what to do."""


class _Damaged(Exception):
    """The file is not a sound journal."""


class _Newer(_Damaged):
    """The file is a journal of a format that came after this one."""


def prepare(directory: Path) -> None:
    """Makes the directory if need be and proves that files can be made in it."""
    probe = directory / ".writable"
    try:
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise JournalUnusable(
            f"{directory}: the journal cannot be written here ({error.strerror}); make it a "
            f"directory that user id {os.geteuid()} may write, or set gateway.state_dir to one"
        ) from error


@dataclass(frozen=True, slots=True)
class Opened:
    """An open file, and what there is to tell of it; ``replaced``: the one before made way."""

    con: sqlite3.Connection
    notices: tuple[str, ...] = ()
    replaced: bool = False


def open_file(directory: Path, max_bytes: int, *, starting: bool, distrust: str = "") -> Opened:
    """A sound journal file, a fresh one if the old one is not.

    While running only damage replaces a file, an error that may pass is raised; at the start
    anything that cannot be opened makes way. ``distrust``: why it is damaged although it opens.
    """
    path = directory / FILE
    try:
        if distrust:
            raise _Damaged(distrust)
        return Opened(_open_sound(path, max_bytes))
    except (_Damaged, sqlite3.Error, UnicodeError) as error:  # SQLite's texts quote the schema
        name = getattr(error, "sqlite_errorname", DAMAGE[0])
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            raise JournalUnusable(
                f"{path}: another program holds the journal; stop it and start again"
            ) from error
        may_pass = not name.startswith(DAMAGE) and not _is_marked(path, name)
        if may_pass and (not starting or _is_full(directory)):
            raise
        return _replaced(path, max_bytes, error)


def _is_marked(path: Path, error: str) -> bool:
    """Whether the file itself forbids writing (offset 18), not its mode or its file system."""
    return error == "SQLITE_READONLY" and os.access(path, os.W_OK)


def _is_full(directory: Path) -> bool:
    """On a full disk a sound file cannot be opened either."""
    return free_bytes(directory) < FULL_BELOW_BYTES


def free_bytes(directory: Path) -> int:
    """What the file system has left for us."""
    disk = os.statvfs(directory)
    return disk.f_bavail * disk.f_frsize


def _replaced(path: Path, max_bytes: int, error: Exception) -> Opened:
    newer = isinstance(error, _Newer)
    try:
        aside = set_aside(path, NEWER if newer else ASIDE)
    except OSError as refused:
        raise JournalUnusable(f"{path}: {error}, and {refused.strerror}") from refused
    con = _open_sound(path, max_bytes)
    saved = salvage(aside, con)
    forget_copies(path, max_bytes)
    was = "is of a newer version" if newer else "was damaged"
    notice = f"{path} {was} ({error}); it is now {aside}, {saved} rows were saved"
    return Opened(con, (notice,), replaced=True)


def keep_log(directory: Path, con: sqlite3.Connection) -> None:
    """Closes the journal's last connection; its log stays, or its room would be others'.

    SQLite removes the log when the last one closes who may write. So one who may only read closes
    last. The log's header is overwritten then (32 bytes, "WAL File Format"): it counts as empty,
    also beside a copy of the journal that is put in its place. Not while somebody else reads: the
    next gateway would go on in the log as it is.
    """
    path = directory / FILE
    with ExitStack() as closed, closing(con):
        last = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        closed.callback(last.close)
        last.execute("SELECT count(*) FROM meta").fetchall()
        busy, in_log, moved = con.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
    if busy or in_log != moved:
        return
    with path.open("r+b") as file, path.with_name(path.name + "-wal").open("r+b") as log:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, SHARED_BYTES, SHARED_FIRST)
        log.write(bytes(LOG_HEADER_BYTES))


def empty_log(con: sqlite3.Connection) -> None:
    """All that the log holds goes into the file, and it begins anew.

    After a synchronisation that failed nobody knows what of the log is on the disk: whatever came
    behind it would be lost with it.
    """
    busy, in_log, moved = con.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
    if busy or in_log != moved:
        raise JournalUnusable("the log of the journal could not be emptied after a failure")


def is_damage(error: Exception) -> bool:
    """Whether SQLite says that the file itself is not sound."""
    return str(getattr(error, "sqlite_errorname", "")).startswith(DAMAGE)


def is_busy(error: Exception) -> bool:
    """Whether another one has the file just now."""
    return str(getattr(error, "sqlite_errorname", "")).startswith("SQLITE_BUSY")


def open_memory(name: str, max_bytes: int) -> sqlite3.Connection:
    """A journal in memory for as long as the process lives; others open it by its name."""
    con = sqlite3.connect(name, uri=True, isolation_level=None, cached_statements=64)
    con.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    con.execute(f"PRAGMA max_page_count = {max_bytes // PAGE_BYTES}")
    bring_forward(con)
    return con


def _open_sound(path: Path, max_bytes: int) -> sqlite3.Connection:
    con = sqlite3.connect(path, isolation_level=None, timeout=WAIT_S, cached_statements=64)
    read_tolerantly(con)
    try:
        con.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        found = _known_version(con)
        (mode,) = con.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise _Damaged(f"journal mode {mode}")
        _check(con, path, found)
        con.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT_BYTES}")
        con.execute(f"PRAGMA wal_autocheckpoint = {_checkpoint_pages(path)}")
        con.execute(f"PRAGMA max_page_count = {max_bytes // PAGE_BYTES}")
        con.execute("PRAGMA temp_store = MEMORY")
        con.execute("PRAGMA synchronous = FULL")
        # What is deleted is not overwritten: that would double what is written.
        con.execute("PRAGMA secure_delete = FAST").fetchall()
        bring_forward(con)
        _prove_writable(con)
        con.execute(f"PRAGMA busy_timeout = {BUSY_MS}").fetchall()
    except BaseException:
        con.close()
        raise
    return con


def _prove_writable(con: sqlite3.Connection) -> None:
    """A file may say of itself that it is only to be read: SQLite tells when it is written."""
    con.execute("BEGIN IMMEDIATE")
    try:
        con.execute("INSERT OR REPLACE INTO meta VALUES ('proof', 0)")
    finally:
        if con.in_transaction:
            con.execute("ROLLBACK")


def _checkpoint_pages(path: Path) -> int:
    disk = os.statvfs(path.parent)
    share = int(disk.f_blocks * disk.f_frsize * WAL_SHARE) // PAGE_BYTES
    return max(16, min(CHECKPOINT_PAGES, share))


def _known_version(con: sqlite3.Connection) -> int:
    """The format of the file, looked at before anything is written to it."""
    found = version(con)
    if found > FORMAT:
        raise _Newer(f"format {found}, this version writes {FORMAT}")
    return found


def _check(con: sqlite3.Connection, path: Path, found: int) -> None:
    tables = {name for (name,) in con.execute("SELECT name FROM sqlite_schema WHERE type='table'")}
    if found < 0 or (not found and tables):
        raise _Damaged(f"format {found}, this version writes {FORMAT}")
    if found and not tables >= TABLES.keys():
        raise _Damaged("tables are missing")
    if path.stat().st_size <= FULL_CHECK_BYTES:
        (verdict,) = con.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise _Damaged(str(verdict).splitlines()[-1])
    for table in tables & TABLES.keys():
        con.execute(f"SELECT * FROM {table} ORDER BY rowid DESC LIMIT 1").fetchall()
        con.execute(f"SELECT * FROM {table} ORDER BY rowid LIMIT 1").fetchall()
