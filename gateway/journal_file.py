"""The journal's file: opening it, setting a damaged one aside, saving what can be read of it.

Sources: sqlite.org "Write-Ahead Logging", "Pragma statements supported by SQLite", "How To Corrupt
An SQLite Database File", "STRICT Tables" (3.37 or later).
"""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

FILE: Final = "journal.sqlite"
EPOCH_FILE: Final = "epoch"
FORMAT: Final = 1
PAGE_BYTES: Final = 4096
WAL_LIMIT_BYTES: Final = 16 * 1024 * 1024
FULL_CHECK_BYTES: Final = 64 * 1024 * 1024
"""Larger files are not read from end to end at each start."""
SALVAGE_S: Final = 10.0
DAMAGE: Final = ("SQLITE_CORRUPT", "SQLITE_NOTADB")

_TABLES: Final = {
    "meta": "key TEXT PRIMARY KEY, value INTEGER NOT NULL",
    "numbers": "lane TEXT NOT NULL, epoch INTEGER NOT NULL, last INTEGER NOT NULL,"
    " PRIMARY KEY (lane, epoch)",
    "states": "key TEXT PRIMARY KEY, value BLOB NOT NULL",
    "documents": "exercise INTEGER NOT NULL, topic TEXT NOT NULL, body BLOB NOT NULL,"
    " PRIMARY KEY (exercise, topic)",
    "cursors": "sink TEXT NOT NULL, lane TEXT NOT NULL, value TEXT NOT NULL,"
    " PRIMARY KEY (sink, lane)",
    "events": "id INTEGER PRIMARY KEY, lane TEXT NOT NULL, epoch INTEGER NOT NULL,"
    " seq INTEGER NOT NULL, wall REAL NOT NULL, topic TEXT NOT NULL, body BLOB NOT NULL,"
    " UNIQUE (lane, epoch, seq)",
    "quarantine": "sink TEXT NOT NULL, lane TEXT NOT NULL, epoch INTEGER NOT NULL,"
    " seq INTEGER NOT NULL, wall REAL NOT NULL, reason TEXT NOT NULL, topic TEXT NOT NULL,"
    " body BLOB NOT NULL, PRIMARY KEY (sink, lane, epoch, seq)",
    "lost": "lane TEXT NOT NULL, epoch INTEGER NOT NULL, first INTEGER NOT NULL,"
    " last INTEGER NOT NULL, wall REAL NOT NULL, PRIMARY KEY (lane, epoch, first)",
    "groups": "id INTEGER PRIMARY KEY, lane TEXT NOT NULL, epoch INTEGER NOT NULL,"
    " first INTEGER NOT NULL, count INTEGER NOT NULL, wall REAL NOT NULL, data BLOB NOT NULL,"
    " UNIQUE (lane, epoch, first)",
}
"""In the order in which they are saved from a damaged file."""


class JournalUnusable(Exception):
    """There is no place for a journal; the text names the path and what to do."""


class _Damaged(Exception):
    """The file is not a sound journal of this format."""


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


def next_epoch(directory: Path, stored: int) -> tuple[int, tuple[str, ...]]:
    """One more than any epoch known to the file ``epoch`` or the journal; written before use."""
    path = directory / EPOCH_FILE
    notices: tuple[str, ...] = ()
    try:
        kept = int(path.read_bytes()[:32])
    except FileNotFoundError:
        kept = 0
    except (OSError, ValueError):
        kept = 0
        notices = (f"{path} could not be read; the epoch goes on from the journal's own, {stored}",)
    epoch = max(kept, stored) + 1
    try:
        _replace_file(path, b"%d\n" % epoch)
    except OSError as error:
        notices += (f"{path} could not be written ({error.strerror}); make room there",)
    return epoch, notices


def _replace_file(path: Path, content: bytes) -> None:
    new = path.with_name(path.name + ".new")
    with new.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_file(
    directory: Path, max_bytes: int, *, starting: bool
) -> tuple[sqlite3.Connection, tuple[str, ...]]:
    """A sound journal file, a fresh one if the old one is not; and what there is to tell.

    While running only damage replaces a file, an error that may pass is raised; at the start
    anything that cannot be opened makes way.
    """
    path = directory / FILE
    try:
        return _open_sound(path, max_bytes), ()
    except (_Damaged, sqlite3.Error) as error:
        name = getattr(error, "sqlite_errorname", DAMAGE[0])
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            raise JournalUnusable(
                f"{path}: another program holds the journal; stop it and start again"
            ) from error
        if not starting and not name.startswith(DAMAGE):
            raise
        aside = _set_aside(path)
        con = _open_sound(path, max_bytes)
        saved = _salvage(aside, con)
        return con, (f"{path} was damaged ({error}); it is now {aside}, {saved} rows were saved",)


def _open_sound(path: Path, max_bytes: int) -> sqlite3.Connection:
    con = sqlite3.connect(path, isolation_level=None, timeout=5.0, cached_statements=64)
    try:
        con.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        (mode,) = con.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise _Damaged(f"journal mode {mode}")
        _check(con, path)
        con.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT_BYTES}")
        con.execute(f"PRAGMA max_page_count = {max_bytes // PAGE_BYTES}")
        con.execute("PRAGMA temp_store = MEMORY")
        con.execute("PRAGMA synchronous = FULL")
        if con.execute("PRAGMA user_version").fetchone() != (FORMAT,):
            _create(con)
    except BaseException:
        con.close()
        raise
    return con


def _create(con: sqlite3.Connection) -> None:
    con.execute("BEGIN IMMEDIATE")
    for table, columns in _TABLES.items():
        con.execute(f"CREATE TABLE {table} ({columns}) STRICT")
    con.execute(f"PRAGMA user_version = {FORMAT}")
    con.execute("COMMIT")


def _check(con: sqlite3.Connection, path: Path) -> None:
    (version,) = con.execute("PRAGMA user_version").fetchone()
    tables = {name for (name,) in con.execute("SELECT name FROM sqlite_schema WHERE type='table'")}
    if version != FORMAT and (version or tables):
        raise _Damaged(f"format {version}, this version writes {FORMAT}")
    if path.stat().st_size <= FULL_CHECK_BYTES:
        (verdict,) = con.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise _Damaged(str(verdict).splitlines()[-1])
    for table in tables & _TABLES.keys():
        con.execute(f"SELECT * FROM {table} ORDER BY rowid DESC LIMIT 1").fetchall()
        con.execute(f"SELECT * FROM {table} ORDER BY rowid LIMIT 1").fetchall()


def _set_aside(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    for suffix in ("", "-wal"):
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    path.with_name(path.name + "-shm").unlink(missing_ok=True)
    return aside


def _salvage(aside: Path, con: sqlite3.Connection) -> int:
    """Copies every row that can still be read, from both ends of each table."""
    deadline = time.monotonic() + SALVAGE_S
    saved = 0
    with suppress(sqlite3.Error), closing(sqlite3.connect(aside, isolation_level=None)) as old:
        con.execute("BEGIN IMMEDIATE")
        for table in _TABLES:
            for order in ("DESC", "ASC"):
                for row in _readable(old, table, order):
                    saved += _copy(con, table, row)
                    if time.monotonic() > deadline:
                        break
        con.execute("COMMIT")
    if con.in_transaction:
        con.execute("COMMIT")
    return saved


def _readable(old: sqlite3.Connection, table: str, order: str) -> Iterator[tuple[object, ...]]:
    with suppress(sqlite3.Error):
        yield from old.execute(f"SELECT * FROM {table} ORDER BY rowid {order}")


def _copy(con: sqlite3.Connection, table: str, row: tuple[object, ...]) -> int:
    marks = ",".join("?" * len(row))
    try:
        return con.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", row).rowcount
    except sqlite3.IntegrityError:
        return 0
