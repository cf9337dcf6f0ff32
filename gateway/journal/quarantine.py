"""What a sink refused: kept aside with the reason, counted, and put back to be sent again."""

import sqlite3
from collections.abc import Sequence
from dataclasses import replace

from gateway.journal.record import Record, Refusal, pack
from gateway.journal.spans import Span, Spans, decode_cursor
from gateway.journal.tables import transaction
from gateway.values import Lane

Owing = dict[Lane, Spans]
"""By lane, what is owed again."""


def put_refusals(con: sqlite3.Connection, refusals: Sequence[Refusal], wall: float) -> None:
    """Keeps refused records; within the caller's transaction."""
    con.executemany(
        "INSERT OR REPLACE INTO quarantine VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (each.sink, of.lane, of.epoch, of.seq, wall, each.reason, of.topic, of.body)
            for each, of in ((refusal, refusal.record) for refusal in refusals)
        ],
    )


def quarantined(con: sqlite3.Connection) -> dict[str, int]:
    """How many records are kept aside, by sink."""
    return dict(con.execute("SELECT sink, count(*) FROM quarantine GROUP BY sink"))


def requeue(con: sqlite3.Connection, sink: str) -> Owing:
    """All that the sink refused is owed to it again, with its old numbers; in the file as well.

    The records are put back where they are read from, should retention have taken them there.
    """
    owing: Owing = {}
    with transaction(con):
        rows = con.execute(
            "SELECT lane, epoch, seq, wall, topic, body FROM quarantine WHERE sink = ?", (sink,)
        ).fetchall()
        for lane, epoch, seq, wall, topic, body in rows:
            record = Record(Lane(lane), epoch, seq, topic, body)
            _put_back(con, record, wall)
            owing.setdefault(record.lane, Spans()).add(Span(epoch, seq, seq))
        for of_lane, spans in owing.items():
            _owe(con, sink, of_lane, spans)
        con.execute("DELETE FROM quarantine WHERE sink = ?", (sink,))
    return owing


def _put_back(con: sqlite3.Connection, record: Record, wall: float) -> None:
    if record.lane.is_alarm:
        con.execute(
            "INSERT OR IGNORE INTO events (lane, epoch, seq, wall, topic, body)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (record.lane, record.epoch, record.seq, wall, record.topic, record.body),
        )
        return
    before = con.execute(
        "SELECT first + count FROM groups WHERE lane = ? AND epoch = ? AND first <= ?"
        " ORDER BY first DESC LIMIT 1",
        (record.lane, record.epoch, record.seq),
    ).fetchone()
    if before is None or before[0] <= record.seq:
        con.execute(
            "INSERT INTO groups (lane, epoch, first, count, wall, data) VALUES (?, ?, ?, 1, ?, ?)",
            (record.lane, record.epoch, record.seq, wall, pack([record])),
        )


def _owe(con: sqlite3.Connection, sink: str, lane: Lane, spans: Spans) -> None:
    """Adds to the backlog of the stored cursor; a sink that has none begins with the next epoch."""
    stored = con.execute(
        "SELECT value FROM cursors WHERE sink = ? AND lane = ?", (sink, lane)
    ).fetchone()
    cursor = decode_cursor(stored[0]) if stored else None
    if cursor is None:
        return
    backlog = Spans((*cursor.backlog, *spans))
    owed = replace(cursor, backlog=tuple(backlog))
    con.execute(
        "UPDATE cursors SET value = ? WHERE sink = ? AND lane = ?", (owed.encode(), sink, lane)
    )
