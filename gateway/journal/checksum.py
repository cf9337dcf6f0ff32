"""A checksum for each row of which somebody goes by the content: SQLite has none of its own.

CRC-32 of ISO-HDLC (``zlib.crc32``), over what names a row and what it holds, in the column ``crc``.
It finds every one to three turned bits in rows of up to 11 kB and every burst of up to 32 bits;
of whatever else befalls a row it misses one in four thousand million (Koopman, "32-Bit Cyclic
Redundancy Codes for Internet Applications", 2002: HD=4 to 91 607 bits). Rows of formats 1 and 2
have none (NULL) and are taken as they are.
"""

import sqlite3
from collections.abc import Iterator
from typing import Any, Final
from zlib import crc32

SUMMED: Final = {
    "numbers": ("lane", "epoch", "last"),
    "states": ("key", "value"),
    "documents": ("exercise", "topic", "body"),
    "cursors": ("sink", "lane", "value"),
    "events": ("lane", "epoch", "seq", "topic", "body"),
    "quarantine": ("sink", "lane", "epoch", "seq", "reason", "topic", "body"),
    "groups": ("lane", "epoch", "first", "count", "data"),
}
"""What the checksum of a row of each table goes over, in this order: part of the format."""

Part = str | int | bytes
Values = tuple[Any, ...]


class DamagedRow(ValueError):
    """A row that is not as it was stored; the text says which and why."""


def checksum(*parts: Part) -> int:
    """Of a row: the last part is what it holds, those before are its name."""
    *name, content = parts
    held = content if isinstance(content, bytes) else str(content).encode()
    texts = [each if isinstance(each, str) else str(each) for each in name]
    return crc32(held, crc32("\n".join(texts).encode()))


def holds(crc: int | None, *parts: Part) -> bool:
    """Whether a row is as it was stored, as far as can be known."""
    return crc is None or checksum(*parts) == crc


def summed(*parts: Part) -> tuple[Part, ...]:
    """A row with its checksum as its last column."""
    return (*parts, checksum(*parts))


def read_tolerantly(con: sqlite3.Connection) -> None:
    """A text that is no UTF-8 any more does not fail the query; its checksum tells it."""
    con.text_factory = _text


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


def rows_of(con: sqlite3.Connection, table: str) -> Iterator[tuple[int, int | None, Values]]:
    """Each row of a small table: its rowid, its checksum, and what that goes over."""
    names = SUMMED[table]
    for rowid, crc, *values in con.execute(f"SELECT rowid, crc, {','.join(names)} FROM {table}"):
        yield rowid, crc, tuple(values)
