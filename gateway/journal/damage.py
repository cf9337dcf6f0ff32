"""Rows that are not as they were stored: what is done about them, and what is told.

In the tables that a start reads whole they are taken out: a state or a document is kept as the
state ``damaged/NAME`` for whoever looks into it. Events and groups stay where they are, are never
read as if they were true, and get a tombstone when somebody misses them. It is the numbers that are
told as lost: whatever has become of a row, so much is certain, that they cannot be had.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from gateway.journal.checksum import Values, holds, rows_of
from gateway.journal.numbers import put_numbers
from gateway.journal.read import unexplained
from gateway.journal.retention import DAMAGED, Owed, bury
from gateway.journal.spans import Span
from gateway.journal.tables import transaction
from gateway.values import Lane
from gateway.wire.delivery import Lost

ASIDE: Final = "damaged/"
"""Before the key of a state that is only kept to be looked at; no other begins so."""
UNREADABLE: Final = b"\xff"
"""In place of a state that cannot be believed: neither JSON nor UTF-8."""
NAMED: Final = 5
"""So many rows are told by name: own choice."""


@dataclass(slots=True)
class Damage:
    """The rows of small tables that do not hold."""

    _rows: list[tuple[str, int, Values]] = field(default_factory=list)

    def sound(self, con: sqlite3.Connection, table: str) -> Iterator[Values]:
        """The rows that hold, what was set aside before apart."""
        for rowid, crc, values in rows_of(con, table):
            if table == "states" and str(values[0]).startswith(ASIDE):
                continue
            if holds(crc, *values) and (crc is not None or _is_usable(table, values)):
                yield values
            else:
                self._rows.append((table, rowid, values))

    def is_in(self, table: str) -> bool:
        """Whether that table has some."""
        return any(of == table for of, _, _ in self._rows)

    def states(self) -> list[str]:
        """The keys of states that cannot be believed, as far as the keys can."""
        return [str(values[0]) for of, _, values in self._rows if of == "states"]

    def set_aside(self, con: sqlite3.Connection) -> None:
        """Takes them out, all or none; on a full disk they stay and are told again."""
        if not self._rows:
            return
        with suppress(sqlite3.OperationalError), transaction(con):
            for table, rowid, values in self._rows:
                if table in ("states", "documents"):
                    row = (ASIDE + str(values[-2]), _bytes(values[-1]))
                    con.execute("INSERT OR REPLACE INTO states VALUES (?, ?, NULL)", row)
                con.execute(f"DELETE FROM {table} WHERE rowid = ?", (rowid,))
            if self.is_in("numbers"):
                put_numbers(con)

    def told(self) -> tuple[str, ...]:
        """What operators are to know; nothing where there is nothing."""
        if not self._rows:
            return ()
        names = [f"{of} {' '.join(map(str, values[:-1]))}" for of, _, values in self._rows]
        named = ", ".join(names[:NAMED])
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        return (
            f"{len(names)} rows of the journal are not as they were stored and are not used: "
            f"{named}{more}; look at open alarms and standing orders, and at the disk",
        )


def _is_usable(table: str, values: Values) -> bool:
    """Where there is no checksum: what would stop a start is not let through."""
    if table in ("states", "documents") and not isinstance(values[-1], bytes):
        return False
    if table != "documents" or not values[-1]:
        return True
    try:
        return isinstance(json.loads(values[-1]), dict)
    except ValueError:
        return False


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def bury_missing(
    con: sqlite3.Connection,
    lane: Lane,
    missing: Sequence[Span],
    *,
    sinks: frozenset[str],
    wall: float,
) -> tuple[Lost, ...]:
    """Tombstones for numbers that cannot be had; those of them that are new, to be told."""
    left = unexplained(con, lane, iter(missing))
    if not left:
        return ()
    owed = Owed(con, sinks)
    lost = tuple(
        Lost(
            *(lane, each.epoch, each.first, each.last, len(each), DAMAGED),
            sinks=owed.sinks(lane, each.epoch, each.first, each.last),
        )
        for each in left
    )
    with transaction(con):
        for each in lost:
            bury(con, each, wall, told=False)
    return lost
