"""A batch as rows of the journal's tables, and what a start reads of them."""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final

from gateway.journal.checksum import checksum, summed
from gateway.journal.damage import UNREADABLE, Damage
from gateway.journal.numbers import counted
from gateway.journal.quarantine import put_refusals
from gateway.journal.record import Batch, Kept, Record, pack
from gateway.journal.retention import mark_told, untold
from gateway.journal.room import SPARE_PAGES
from gateway.journal.salvage import PAGE_BYTES
from gateway.journal.tables import RAN_FIRST
from gateway.values import Document, Lane

URGENT_PAGES: Final = 16
FILLED: Final = 0.5
"""Alarms are tried again with so many free pages, and with as many as their rows fill if each page
is half full, as those of a tree may be: own choice."""
_FORGET_EPOCHS: Final = """
    DELETE FROM numbers WHERE epoch < ?
        AND NOT EXISTS (SELECT 1 FROM groups g WHERE g.lane = numbers.lane
            AND g.epoch = numbers.epoch)
        AND NOT EXISTS (SELECT 1 FROM events e WHERE e.lane = numbers.lane
            AND e.epoch = numbers.epoch)"""
"""Epochs of which nothing is left; there is one more at each start."""


def begin(con: sqlite3.Connection, epoch: int, cursors: Iterable[tuple[str, Lane, str]]) -> None:
    """What begins an epoch; within the caller's transaction."""
    con.execute("INSERT OR REPLACE INTO meta VALUES ('epoch', ?)", (epoch,))
    con.execute(_FORGET_EPOCHS, (epoch - 1,))
    _put_cursors(con, cursors)


def packed(batch: Batch) -> list[bytes]:
    """The rows of its groups."""
    return [pack(group.records) for group in batch.groups]


def pages_for(batch: Batch, rows: Sequence[bytes]) -> tuple[int, int]:
    """Free pages that what is urgent needs, and the whole batch."""
    urgent = URGENT_PAGES + int(batch.urgent_bytes / PAGE_BYTES / FILLED)
    return urgent, urgent + SPARE_PAGES + sum(len(row) // PAGE_BYTES + 1 for row in rows)


def insert(con: sqlite3.Connection, batch: Batch, rows: Sequence[bytes]) -> None:
    """Everything of a batch; ``rows`` are those of its groups."""
    last: dict[tuple[str, int], int] = {}
    for group, data in zip(batch.groups, rows, strict=True):
        first = group.records[0]
        last[group.lane, first.epoch] = group.records[-1].seq
        name = (group.lane, first.epoch, first.seq, len(group.records))
        con.execute(
            "INSERT OR IGNORE INTO groups (lane, epoch, first, count, wall, ran, data, crc)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (*name, batch.wall, batch.ran, data, checksum(*name, data)),
        )
    for urgent in batch.urgent:
        for record in urgent.records:
            last[record.lane, record.epoch] = record.seq
        con.executemany(
            "INSERT OR IGNORE INTO events (lane, epoch, seq, wall, ran, topic, body, crc)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [_event(of, batch) for of in urgent.records],
        )
        mark_told(con, urgent.losses)
        _put_states(con, urgent.states)
        con.executemany(
            "INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?)",
            [summed(int(d.exercise), d.topic, d.body) for d in urgent.documents if d.durable],
        )
    _put_states(con, batch.states)  # given after every urgent one of the same key
    con.executemany(
        "INSERT OR REPLACE INTO numbers VALUES (?, ?, ?, ?)",
        [summed(lane, epoch, seq) for (lane, epoch), seq in last.items()],
    )
    _bookkeeping(con, batch)


def _put_states(con: sqlite3.Connection, states: Iterable[tuple[str, bytes]]) -> None:
    for key, value in states:
        if value:
            con.execute("INSERT OR REPLACE INTO states VALUES (?, ?, ?)", summed(key, value))
        else:
            con.execute("DELETE FROM states WHERE key = ?", (key,))


def _event(of: Record, batch: Batch) -> tuple[object, ...]:
    crc = checksum(of.lane, of.epoch, of.seq, of.topic, of.body)
    return (of.lane, of.epoch, of.seq, batch.wall, batch.ran, of.topic, of.body, crc)


def _put_cursors(con: sqlite3.Connection, cursors: Iterable[tuple[str, Lane, str]]) -> None:
    rows = [summed(*cursor) for cursor in cursors]
    con.executemany("INSERT OR REPLACE INTO cursors VALUES (?, ?, ?, ?)", rows)


def _bookkeeping(con: sqlite3.Connection, batch: Batch) -> None:
    _put_cursors(con, batch.cursors)
    put_refusals(con, batch.refusals, batch.wall)
    con.executemany(
        "DELETE FROM documents WHERE exercise = ? AND topic = ? AND body = x''",
        [(int(d.exercise), d.topic) for d in batch.forgotten],
    )
    if batch.full_sync:
        # Also without news: only a write reaches the log, and so the disk.
        con.execute("INSERT OR REPLACE INTO meta VALUES ('ran', ?)", (batch.ran,))


def load(con: sqlite3.Connection) -> Kept:
    """What a start needs; rows that are not as they were stored are taken out and told of.

    A state that cannot be believed is there as one that cannot be read.
    """
    found = Damage()
    lanes = {str(lane): lane for lane in Lane}
    numbers = {
        (lanes[lane], int(epoch)): int(last)
        for lane, epoch, last in found.sound(con, "numbers")
        if lane in lanes
    }
    states: dict[str, bytes] = dict(found.sound(con, "states"))
    documents = tuple(
        Document(topic, body, exercise=bool(exercise), durable=True)
        for exercise, topic, body in found.sound(con, "documents")
    )
    cursors = {
        (sink, lanes[lane]): value
        for sink, lane, value in found.sound(con, "cursors")
        if lane in lanes
    }
    if found.is_in("numbers"):
        numbers |= {(lanes[lane], epoch): last for (lane, epoch), last in counted(con).items()}
    found.set_aside(con)
    stored = con.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone() or (0,)
    return Kept(
        epoch=max([stored[0], *(epoch for _, epoch in numbers)]),
        states={key: states.get(key, UNREADABLE) for key in (*states, *found.states())},
        documents=documents,
        cursors=cursors,
        numbers=numbers,
        ran=_ran(con),
        lost=untold(con),
        damage=found.told(),
    )


def _ran(con: sqlite3.Connection) -> int:
    """For how long gateways ran on this journal; of three traces the middle one.

    One damaged number must not make everything look old.
    """
    traces = [
        con.execute(query).fetchone() or (0,)
        for query in (
            "SELECT value FROM meta WHERE key = 'ran'",
            "SELECT ran FROM groups ORDER BY id DESC LIMIT 1",
            "SELECT ran FROM events ORDER BY id DESC LIMIT 1",
        )
    ]
    return max(RAN_FIRST, sorted(int(ran) for (ran,) in traces)[1])
