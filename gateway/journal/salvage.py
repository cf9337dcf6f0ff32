"""A damaged file is set aside, and what can be read of it saved, alarms' states first.

What each kind of damage gives (tests/gateway/test_journal_damage.py shows it):

- some pages overwritten, bits flipped: every row outside of them; a row that is not as it was
  stored (``checksum``) is not saved, its number is told as lost when somebody misses it
- truncated: every row of the pages that are left
- the first page (header and schema): all else, with the first page of a fresh file in its place;
  our tables always lie at the same root pages
- zeroed, garbage, a directory: nothing; the epoch has a file of its own
- the log (``-wal``) missing or cut: what it held, up to the last checkpoint; SQLite sees no damage,
  what is gone is told by ``witness`` and ``epoch``
- a newer format: the columns that both know, without checksums; that file is never deleted
- may not be written, or no database of ours: as far as it can be read
"""

import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from gateway.journal.checksum import SUMMED, holds, read_tolerantly
from gateway.journal.numbers import put_numbers
from gateway.journal.tables import ALIKE, FORMAT, TABLES, bring_forward, columns, version

SALVAGE_S: Final = 10.0
COPIES: Final = 3
"""Of damaged files: so many are looked into at most. Own choice."""
COPIES_SHARE: Final = 0.25
"""And of the greatest size of the journal's file, the newest apart. Own choice."""
PAGE_BYTES: Final = 4096
ASIDE: Final = "damaged"
NEWER: Final = "newer"
FAILED: Final = (sqlite3.Error, UnicodeError)
"""What reading a damaged file brings about: SQLite's texts quote its schema."""
_COMPANIONS: Final = ("", "-wal")


def set_aside(path: Path, kind: str = ASIDE) -> Path:
    """Moves a file and its log out of the way; returns where it is now."""
    taken = [int(each.name.rpartition("-")[2]) for each in copies(path, kind)]
    aside = path.with_name(f"{path.name}.{kind}-{max(taken, default=0) + 1}")
    for suffix in _COMPANIONS:
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    path.with_name(path.name + "-shm").unlink(missing_ok=True)
    return aside


def copies(path: Path, kind: str = ASIDE) -> list[Path]:
    """The files that were set aside, oldest first."""
    found = path.parent.glob(f"{path.name}.{kind}-*")
    numbered = [each for each in found if each.name.rpartition("-")[2].isdigit()]
    return sorted(numbered, key=lambda each: int(each.name.rpartition("-")[2]))


def forget_copies(path: Path, max_bytes: int, keep: int = COPIES) -> int:
    """Deletes the oldest damaged copies until few and small enough are left; how many went."""
    gone = 0
    left = copies(path)
    while len(left) > keep or (len(left) > 1 and sum(map(_size, left)) > max_bytes * COPIES_SHARE):
        _remove(left.pop(0))
        gone += 1
    return gone


def _size(aside: Path) -> int:
    with suppress(OSError):
        return aside.stat().st_size
    return 0


def _remove(aside: Path) -> None:
    with suppress(OSError):
        if aside.is_dir():
            shutil.rmtree(aside)
        else:
            for suffix in _COMPANIONS:
                aside.with_name(aside.name + suffix).unlink(missing_ok=True)


def salvage(aside: Path, con: sqlite3.Connection) -> int:
    """Copies every row that can still be read; how many."""
    saved = _salvage(aside, con)
    if not saved and _has_lost_its_schema(aside):
        with suppress(OSError, *FAILED), _transplanted(aside):
            saved = _salvage(aside, con)
    return saved


def _salvage(aside: Path, con: sqlite3.Connection) -> int:
    deadline = time.monotonic() + SALVAGE_S
    saved = 0
    with suppress(*FAILED), closing(sqlite3.connect(aside, isolation_level=None)) as old:
        read_tolerantly(old)
        # So SQLite reads what is left of a file that is shorter than its header says.
        old.execute("PRAGMA writable_schema = ON")
        saved = copy_tables(old, con, deadline)
    return saved


def copy_tables(
    old: sqlite3.Connection,
    con: sqlite3.Connection,
    deadline: float,
    tables: Sequence[str] = tuple(TABLES),
    *,
    joining: bool = False,
) -> int:
    """Copies the rows of tables, one table after the other, until the deadline.

    From both ends, for one may be damaged; ``joining``: in order and behind what is there already.
    """
    saved = 0
    for table in tables:
        with suppress(*FAILED):
            saved += _copy_table(old, con, table, deadline, joining=joining)
        if con.in_transaction:
            con.execute("COMMIT")
    put_numbers(con)
    return saved


def _copy_table(
    old: sqlite3.Connection,
    con: sqlite3.Connection,
    table: str,
    deadline: float,
    *,
    joining: bool,
) -> int:
    ours = set(columns(con, table)) - ({"id"} if joining else set())
    if version(old) > FORMAT:
        ours.discard("crc")  # who knows what it goes over
    shared = [name for name in columns(old, table) if name in ours]
    if not shared:
        return 0
    names, marks = ",".join(shared), ",".join("?" * len(shared))
    is_sound = _soundness(table, shared)
    insert = f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})"
    saved = 0
    con.execute("BEGIN IMMEDIATE")
    for order in ("ASC",) if joining else ("DESC", "ASC"):
        for row in _readable(old, f"SELECT {names} FROM {table} NOT INDEXED", order):
            with suppress(sqlite3.IntegrityError):
                if not is_sound(row):
                    continue
                saved += con.execute(insert, row).rowcount
            if time.monotonic() > deadline:
                return saved
    return saved


def _soundness(table: str, names: Sequence[str]) -> Callable[[Sequence[Any]], bool]:
    """Tells of a row with these columns whether it is as it was stored."""
    summed = SUMMED.get(table, ())
    if not {"crc", *summed} <= set(names):
        return lambda _: True
    crc, at = names.index("crc"), [names.index(name) for name in summed]
    return lambda row: holds(row[crc], *(row[each] for each in at))


def _readable(old: sqlite3.Connection, query: str, order: str) -> Iterator[tuple[object, ...]]:
    with suppress(*FAILED):
        yield from old.execute(f"{query} ORDER BY rowid {order}")


def _has_lost_its_schema(aside: Path) -> bool:
    """Whether a file of our page size no longer knows our tables."""
    if not aside.is_file() or aside.stat().st_size < 2 * PAGE_BYTES:
        return False
    try:
        with closing(sqlite3.connect(aside)) as old:
            return version(old) in (0, *ALIKE) and not columns(old, "states")
    except FAILED:
        return True


@contextmanager
def _transplanted(aside: Path) -> Iterator[None]:
    """For the time of a ``with`` the file has the first page of a fresh one; its own comes back."""
    with aside.open("r+b") as file:
        own = file.read(PAGE_BYTES)
        file.seek(0)
        file.write(_first_page())
    try:
        yield
    finally:
        with aside.open("r+b") as file:
            file.write(own)


def _first_page() -> bytes:
    """Of a fresh journal, with a size that SQLite takes from the file instead."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as fresh:
        fresh.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        bring_forward(fresh)
        page = bytearray(fresh.serialize()[:PAGE_BYTES])
    page[28:32] = bytes(4)  # size in pages: 0 means, ask the file
    return bytes(page)
