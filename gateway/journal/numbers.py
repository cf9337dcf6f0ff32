"""The newest number of each lane and epoch, and how it follows from the rows."""

import sqlite3

from gateway.journal.checksum import summed
from gateway.values import Lane


def newest_of(con: sqlite3.Connection, lane: Lane, epoch: int) -> int:
    """The newest number that was stored of a lane and epoch; 0 if there is none."""
    found = con.execute(
        "SELECT last FROM numbers WHERE lane = ? AND epoch = ?", (lane, epoch)
    ).fetchone()
    return int(found[0]) if found else 0


def counted(con: sqlite3.Connection) -> dict[tuple[str, int], int]:
    """The newest number of each lane and epoch, as the rows have them."""
    found: dict[tuple[str, int], int] = {}
    for table, last in (("events", "seq"), ("groups", "first + count - 1")):
        for lane, epoch, newest in con.execute(
            f"SELECT lane, epoch, max({last}) FROM {table} GROUP BY lane, epoch"
        ):
            if lane in set(Lane):
                found[lane, epoch] = newest
    return found


def put_numbers(con: sqlite3.Connection) -> None:
    """The newest numbers follow from the rows, should the table that keeps them know less."""
    rows = con.execute("SELECT lane, epoch, last FROM numbers")
    known = {(lane, epoch): last for lane, epoch, last in rows}
    con.executemany(
        "INSERT OR REPLACE INTO numbers VALUES (?, ?, ?, ?)",
        [summed(*key, last) for key, last in counted(con).items() if last > known.get(key, 0)],
    )
