"""What a sink refused: kept aside with the reason, counted, and put back to be sent again."""

import sqlite3
from collections.abc import Sequence
from dataclasses import replace

from gateway.journal.checksum import checksum, holds, summed
from gateway.journal.record import Record, Refusal, pack
from gateway.journal.spans import Span, Spans, decode_cursor
from gateway.journal.tables import transaction
from gateway.values import Lane

Owing = dict[Lane, Spans]
"""By lane, what is owed again."""


def put_refusals(con: sqlite3.Connection, refusals: Sequence[Refusal], wall: float) -> None:
    """Keeps refused records; within the caller's transaction."""
    con.executemany(
        "INSERT OR REPLACE INTO quarantine VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [_row(refusal, wall) for refusal in refusals],
    )


def _row(refusal: Refusal, wall: float) -> tuple[object, ...]:
    of = refusal.record
    name, rest = (refusal.sink, of.lane, of.epoch, of.seq), (refusal.reason, of.topic, of.body)
    return (*name, wall, *rest, checksum(*name, *rest))


def quarantined(con: sqlite3.Connection) -> dict[str, int]:
    """How many records are kept aside, by sink."""
    return dict(con.execute("SELECT sink, count(*) FROM quarantine GROUP BY sink"))


def requeue(con: sqlite3.Connection, sink: str) -> Owing:
    """All that the sink refused is owed to it again, with its old numbers; in the file as well.

    The records are put back where they are read from, should retention have taken them there. One
    that is not as it was stored is owed and not put back: where it is gone it is told as lost.
    """
    owing: Owing = {}
    with transaction(con):
        rows = con.execute(
            "SELECT lane, epoch, seq, wall, reason, topic, body, crc FROM quarantine"
            " WHERE sink = ?",
            (sink,),
        ).fetchall()
        for lane, epoch, seq, wall, reason, topic, body, crc in rows:
            if lane not in set(Lane):
                continue
            record = Record(Lane(lane), epoch, seq, topic, body)
            if holds(crc, sink, lane, epoch, seq, reason, topic, body):
                _put_back(con, record, wall)
            owing.setdefault(record.lane, Spans()).add(Span(epoch, seq, seq))
        for of_lane, spans in owing.items():
            _owe(con, sink, of_lane, spans)
        con.execute("DELETE FROM quarantine WHERE sink = ?", (sink,))
    return owing


def _put_back(con: sqlite3.Connection, record: Record, wall: float) -> None:
    key, told = (record.lane, record.epoch, record.seq), (record.topic, record.body)
    if record.lane.is_alarm:
        con.execute(
            "INSERT OR IGNORE INTO events (lane, epoch, seq, wall, topic, body, crc)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*key, wall, *told, checksum(*key, *told)),
        )
        return
    data = pack([record])
    before = con.execute(
        "SELECT first + count FROM groups WHERE lane = ? AND epoch = ? AND first <= ?"
        " ORDER BY first DESC LIMIT 1",
        (record.lane, record.epoch, record.seq),
    ).fetchone()
    if before is None or before[0] <= record.seq:
        con.execute(
            "INSERT INTO groups (lane, epoch, first, count, wall, data, crc)"
            " VALUES (?, ?, ?, 1, ?, ?, ?)",
            (*key, wall, data, checksum(*key, 1, data)),
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
        "INSERT OR REPLACE INTO cursors VALUES (?, ?, ?, ?)", summed(sink, lane, owed.encode())
    )
