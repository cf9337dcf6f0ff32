"""A batch as rows of the journal's tables, and what a start reads of them."""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final

from gateway.journal.quarantine import put_refusals
from gateway.journal.record import Batch, Kept, pack
from gateway.journal.retention import mark_told, untold
from gateway.journal.tables import RAN_FIRST
from gateway.values import Document, Lane

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
    con.executemany("INSERT OR REPLACE INTO cursors VALUES (?, ?, ?)", cursors)


def packed(batch: Batch) -> list[bytes]:
    """The rows of its groups."""
    return [pack(group.records) for group in batch.groups]


def insert(con: sqlite3.Connection, batch: Batch, rows: Sequence[bytes]) -> None:
    """Everything of a batch; ``rows`` are those of its groups."""
    last: dict[tuple[str, int], int] = {}
    for group, data in zip(batch.groups, rows, strict=True):
        first = group.records[0]
        last[group.lane, first.epoch] = group.records[-1].seq
        con.execute(
            "INSERT OR IGNORE INTO groups (lane, epoch, first, count, wall, ran, data)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (group.lane, first.epoch, first.seq, len(group.records), batch.wall, batch.ran, data),
        )
    for urgent in batch.urgent:
        for record in urgent.records:
            last[record.lane, record.epoch] = record.seq
        con.executemany(
            "INSERT OR IGNORE INTO events (lane, epoch, seq, wall, ran, topic, body)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (of.lane, of.epoch, of.seq, batch.wall, batch.ran, of.topic, of.body)
                for of in urgent.records
            ],
        )
        mark_told(con, urgent.losses)
        _put_states(con, urgent.states)
        con.executemany(
            "INSERT OR REPLACE INTO documents VALUES (?, ?, ?)",
            [(int(d.exercise), d.topic, d.body) for d in urgent.documents if d.durable],
        )
    _put_states(con, batch.states)  # given after every urgent one of the same key
    con.executemany(
        "INSERT OR REPLACE INTO numbers VALUES (?, ?, ?)",
        [(lane, epoch, seq) for (lane, epoch), seq in last.items()],
    )
    _bookkeeping(con, batch)


def _put_states(con: sqlite3.Connection, states: Iterable[tuple[str, bytes]]) -> None:
    for key, value in states:
        if value:
            con.execute("INSERT OR REPLACE INTO states VALUES (?, ?)", (key, value))
        else:
            con.execute("DELETE FROM states WHERE key = ?", (key,))


def _bookkeeping(con: sqlite3.Connection, batch: Batch) -> None:
    con.executemany("INSERT OR REPLACE INTO cursors VALUES (?, ?, ?)", batch.cursors)
    put_refusals(con, batch.refusals, batch.wall)
    con.executemany(
        "DELETE FROM documents WHERE exercise = ? AND topic = ? AND body = x''",
        [(int(d.exercise), d.topic) for d in batch.forgotten],
    )
    if batch.full_sync:
        # Also without news: only a write reaches the log, and so the disk.
        con.execute("INSERT OR REPLACE INTO meta VALUES ('ran', ?)", (batch.ran,))


def load(con: sqlite3.Connection) -> Kept:
    lanes = {str(lane): lane for lane in Lane}
    numbers = {
        (lanes[lane], epoch): last
        for lane, epoch, last in con.execute("SELECT lane, epoch, last FROM numbers")
        if lane in lanes
    }
    stored = con.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone() or (0,)
    return Kept(
        epoch=max([stored[0], *(epoch for _, epoch in numbers)]),
        states=dict(con.execute("SELECT key, value FROM states")),
        documents=tuple(
            Document(topic, body, exercise=bool(exercise), durable=True)
            for exercise, topic, body in con.execute("SELECT exercise, topic, body FROM documents")
        ),
        cursors={
            (sink, lanes[lane]): value
            for sink, lane, value in con.execute("SELECT sink, lane, value FROM cursors")
            if lane in lanes
        },
        numbers=numbers,
        ran=_ran(con),
        lost=untold(con),
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
