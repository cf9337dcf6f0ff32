"""What the journal no longer keeps: by age, and for room; nothing goes without a tombstone.

Age is the time that gateways have run since a row was stored (``ran``), never the wall clock: a
clock that is stepped by ten years must not expire anything. A group of samples is evidence when an
alarm event of its kind lies within ten minutes, by ``ran`` or by the wall times beside it: either
is enough, so that a stepped clock can only make more of them evidence.

By age goes what every sink has; for room also what is owed, in this order: delivered samples,
delivered evidence, samples kept aside because a sink refused them, owed samples, owed evidence,
oldest first in each. What somebody else has goes before what nobody has; alarm events never go for
room. Deleting needs room itself, so it is done in small transactions.
"""

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from gateway.journal.record import JournalLimits
from gateway.journal.spans import Cursor, Span, Spans, decode_cursor
from gateway.journal.tables import ALARM_TOPIC, transaction
from gateway.values import Lane
from gateway.wire.delivery import Lost

EVIDENCE_S: Final = 600
AGED_ROWS: Final = 32
SHED_ROWS: Final = 8
"""In one transaction: by age, and for room, where it must need little itself. Own choice."""
STEP_BYTES: Final = 512 * 1024
"""And so much, the first row apart: each page of a row is looked at when it goes. Own choice."""
LOOK_ROWS: Final = 256
"""Rows looked at in one step: some milliseconds, own choice."""
LOOK_S: Final = 0.005
"""So long at a time: own choice."""
RESCAN_S: Final = 6 * 3600
"""What was owed or evidence is looked at again after so long: own choice."""
AGED: Final = "older than it is kept"
NO_ROOM: Final = "no room on the disk"
REFUSED: Final = "refused by the sink, and no room on the disk"
DAMAGED: Final = "damaged on the disk"

_ALARMS_OF: Final = {Lane.SAMPLES: Lane.ALARMS, Lane.EXERCISE_SAMPLES: Lane.EXERCISE_ALARMS}
_IS_EVIDENCE: Final = f"""
    (SELECT EXISTS (SELECT 1 FROM events WHERE topic = '{ALARM_TOPIC}' AND lane = a.alarms
            AND ran BETWEEN max(1, g.ran - {EVIDENCE_S}) AND g.ran + {EVIDENCE_S} AND g.ran > 0)
        OR EXISTS (SELECT 1 FROM events WHERE topic = '{ALARM_TOPIC}' AND lane = a.alarms
            AND wall BETWEEN g.wall - {EVIDENCE_S} AND g.wall + {EVIDENCE_S})
     FROM (SELECT CASE g.lane {" ".join(f"WHEN '{s}' THEN '{a}'" for s, a in _ALARMS_OF.items())}
           END AS alarms) a)"""
_COLUMNS: Final = f"id, lane, epoch, first, first + count - 1, ran, {_IS_EVIDENCE}, length(data)"
_GROUPS: Final = f"SELECT {_COLUMNS} FROM groups g WHERE id > ? ORDER BY id LIMIT ?"
_GROUPS_INSIDE: Final = f"""
    SELECT {_COLUMNS} FROM groups g
    WHERE lane = ? AND epoch = ? AND first BETWEEN ? AND ? ORDER BY first LIMIT ?"""
_EVENTS: Final = """
    SELECT id, lane, epoch, seq, seq, ran, 0, length(body) FROM events
    WHERE id > ? ORDER BY id LIMIT ?"""


@dataclass(frozen=True, slots=True)
class _Row:
    """A row that may go: one group, or one event."""

    id: int
    lane: Lane
    epoch: int
    first: int
    last: int
    ran: int
    evidence: bool
    size: int
    sinks: tuple[str, ...] = ()


class Owed:
    """Which sinks are owed what, as the cursors in the file say."""

    def __init__(self, con: sqlite3.Connection, sinks: frozenset[str]) -> None:
        newest: dict[str, dict[int, int]] = {}
        for lane, epoch, last in con.execute("SELECT lane, epoch, last FROM numbers"):
            newest.setdefault(lane, {})[epoch] = last
        self._newest = newest
        self._owed: dict[str, list[tuple[str, Spans]]] = {}
        for sink, lane, value in con.execute("SELECT sink, lane, value FROM cursors"):
            cursor = decode_cursor(value) or Cursor(0, 0)
            if sink in sinks and (spans := cursor.owed(newest.get(lane, {}))):
                self._owed.setdefault(lane, []).append((sink, spans))

    def sinks(self, lane: Lane, epoch: int, first: int, last: int) -> tuple[str, ...]:
        """Those that are owed any of these numbers."""
        return tuple(
            sink
            for sink, spans in self._owed.get(lane, ())
            if (span := spans.from_position(epoch, first)) is not None
            and span.epoch == epoch
            and span.first <= last
        )

    def by_sink(self, before: int) -> dict[tuple[str, Lane], Spans]:
        """What each sink is owed of the epochs before one."""
        return {
            (sink, Lane(lane)): old
            for lane, owed in self._owed.items()
            for sink, spans in owed
            if (old := Spans(span for span in spans if span.epoch < before))
        }

    def nobody(self, lane: Lane) -> Spans:
        """The numbers that no sink is owed."""
        newest = self._newest.get(lane, {})
        free = Spans(Span(epoch, 1, last) for epoch, last in newest.items())
        for _, spans in self._owed.get(lane, ()):
            for span in spans:
                free.discard(span)
        return free


@dataclass(slots=True)
class _Scan:
    """How far a table was looked through, oldest first."""

    query: str
    position: int = 0
    done_at: int | None = None


@dataclass(slots=True)
class Retention:
    """Deletes what may go, a little at a time; used by the writer's thread only."""

    limits: JournalLimits
    sinks: frozenset[str]
    _groups: _Scan = field(default_factory=lambda: _Scan(_GROUPS))
    _events: _Scan = field(default_factory=lambda: _Scan(_EVENTS))
    _owed_groups: _Scan = field(default_factory=lambda: _Scan(_GROUPS))
    _passed: dict[Lane, tuple[int, int]] = field(default_factory=dict)
    _next_ran: int = 0

    def expire(self, con: sqlite3.Connection, ran: int, wall: float) -> int:
        """One small step of deleting what is too old: once a second, or again after a full one."""
        if ran < self._next_ran:
            return 0
        owed = Owed(con, self.sinks)
        groups = self._expired(con, self._groups, owed, ran)
        events = self._expired(con, self._events, owed, ran)
        _delete(con, "groups", groups, AGED, wall)
        _delete(con, "events", events, AGED, wall)
        is_full = len(groups) >= AGED_ROWS or sum(row.size for row in groups) >= STEP_BYTES
        self._next_ran = ran if is_full else ran + 1
        return len(groups) + len(events)

    def _expired(self, con: sqlite3.Connection, scan: _Scan, owed: Owed, ran: int) -> list[_Row]:
        """The next rows that are too old; the scan waits before the first young one."""
        if scan.done_at is not None and ran - scan.done_at >= RESCAN_S:
            scan.position, scan.done_at = 0, None
        youngest = min(self.limits.keep_s, self.limits.keep_alarms_s)
        found: list[_Row] = []
        rows = con.execute(scan.query, (scan.position, LOOK_ROWS)).fetchall()
        size = 0
        for row in _rows(rows, owed):
            if len(found) >= AGED_ROWS or size >= STEP_BYTES:
                return found
            if ran - row.ran <= youngest:
                break
            scan.position = row.id
            if not row.sinks and ran - row.ran > self._keep_s(scan, row):
                found.append(row)
                size += row.size
        if len(rows) < LOOK_ROWS and scan.done_at is None:
            scan.done_at = ran
        return found

    def _keep_s(self, scan: _Scan, row: _Row) -> float:
        if scan is self._events:
            return self.limits.keep_alarms_s
        keep_s = self.limits.keep_s
        return max(keep_s, self.limits.keep_alarms_s) if row.evidence else keep_s

    def make_room(self, con: sqlite3.Connection, wall: float) -> tuple[int, tuple[Lost, ...]]:
        """One small step of deleting for room: how many rows went, and what was owed of them."""
        owed = Owed(con, self.sinks)
        rows = self._delivered(con, owed, evidence=False) or self._delivered(con, owed)
        if not rows:
            self._passed.clear()
            if refused := _refused(con):
                return len(refused), _delete_refused(con, refused, wall)
            rows = self._oldest(con, owed)
        return len(rows), _delete(con, "groups", rows, NO_ROOM, wall)

    def _delivered(
        self, con: sqlite3.Connection, owed: Owed, *, evidence: bool = True
    ) -> list[_Row]:
        """The oldest groups that no sink is owed; without evidence what was passed stays so."""
        for lane in _ALARMS_OF:
            begin = (0, 0) if evidence else self._passed.get(lane, (0, 0))
            for span in owed.nobody(lane):
                if (span.epoch, span.last) < begin:
                    continue
                first = max(span.first, begin[1]) if span.epoch == begin[0] else span.first
                key = (lane, span.epoch, first, span.last, LOOK_ROWS)
                rows = _rows(con.execute(_GROUPS_INSIDE, key).fetchall(), owed)
                inside = [row for row in rows if row.last <= span.last]
                found = [row for row in inside if evidence or not row.evidence]
                if found:
                    return _few(found)
                if inside and not evidence:
                    self._passed[lane] = (span.epoch, inside[-1].last)
        return []

    def _oldest(self, con: sqlite3.Connection, owed: Owed) -> list[_Row]:
        """The oldest groups that are owed; evidence only when there is nothing else.

        None after so much looking: it goes on there the next time.
        """
        scan, until = self._owed_groups, time.monotonic() + LOOK_S
        while True:
            rows = con.execute(scan.query, (scan.position, LOOK_ROWS)).fetchall()
            if not rows:
                return _few(_rows(con.execute(scan.query, (0, SHED_ROWS)).fetchall(), owed))
            found = _few(row for row in _rows(rows, owed) if not row.evidence)
            if found:
                scan.position = found[0].id - 1
                return found
            scan.position = rows[-1][0]
            if time.monotonic() >= until:
                return []


def _few(rows: Iterable[_Row]) -> list[_Row]:
    """As many as one step deletes."""
    few: list[_Row] = []
    for row in rows:
        if len(few) >= SHED_ROWS or (few and sum(each.size for each in few) >= STEP_BYTES):
            break
        few.append(row)
    return few


def _rows(found: Sequence[tuple[Any, ...]], owed: Owed) -> Iterator[_Row]:
    lanes: Mapping[str, Lane] = {str(lane): lane for lane in Lane}
    for id_, name, epoch, first, last, ran, evidence, size in found:
        lane = lanes.get(name, Lane.SAMPLES)
        sinks = owed.sinks(lane, epoch, first, last)
        yield _Row(id_, lane, epoch, first, last, ran, bool(evidence), size, sinks)


_Refused = tuple[str, str, int, int]


def _refused(con: sqlite3.Connection) -> list[_Refused]:
    """The oldest samples kept aside because a sink refused them."""
    lanes = tuple(_ALARMS_OF)
    rows: list[_Refused] = con.execute(
        "SELECT sink, lane, epoch, seq FROM quarantine WHERE lane IN (?, ?) ORDER BY rowid LIMIT ?",
        (*lanes, SHED_ROWS),
    ).fetchall()
    return rows


def _delete_refused(
    con: sqlite3.Connection, rows: Sequence[_Refused], wall: float
) -> tuple[Lost, ...]:
    lost = merged([Lost(Lane(lane), e, n, n, 1, REFUSED, (sink,)) for sink, lane, e, n in rows])
    with transaction(con):
        con.executemany(
            "DELETE FROM quarantine WHERE sink = ? AND lane = ? AND epoch = ? AND seq = ?", rows
        )
        for each in lost:
            bury(con, each, wall, told=not each.sinks)
    return tuple(lost)


def _delete(
    con: sqlite3.Connection, table: str, rows: Sequence[_Row], reason: str, wall: float
) -> tuple[Lost, ...]:
    """Deletes rows in one transaction, with tombstones; those that were owed."""
    if not rows:
        return ()
    lost = merged(
        [
            Lost(of.lane, of.epoch, of.first, of.last, of.last - of.first + 1, reason, of.sinks)
            for of in rows
        ]
    )
    with transaction(con):
        con.executemany(f"DELETE FROM {table} WHERE id = ?", [(row.id,) for row in rows])
        for each in lost:
            bury(con, each, wall, told=not each.sinks)
    return tuple(each for each in lost if each.sinks)


def merged(losses: Sequence[Lost]) -> list[Lost]:
    """Ranges that follow on each other in all respects become one."""
    found: list[Lost] = []
    for loss in losses:
        before = found[-1] if found else None
        if before is not None and _follows(before, loss):
            found[-1] = replace(before, last=loss.last, count=before.count + loss.count)
        else:
            found.append(loss)
    return found


def _follows(before: Lost, loss: Lost) -> bool:
    of, same = replace(loss, first=None, last=None, count=0), replace(before, first=None, last=None)
    if replace(same, count=0) != of or (before.last is None) is not (loss.first is None):
        return False
    return before.last is None or before.last + 1 == loss.first


def bury(con: sqlite3.Connection, loss: Lost, wall: float, *, told: bool) -> None:
    """The tombstone: what nobody is to be told of joins the one before it."""
    key = {
        "lane": loss.lane,
        "epoch": loss.epoch,
        "first": loss.first,
        "last": loss.last,
        "count": loss.count,
        "reason": loss.reason,
        "sinks": json.dumps(loss.sinks),
        "told": told,
        "wall": wall,
    }
    joined = "UPDATE lost SET last = :last, count = count + :count, wall = :wall WHERE lane = :lane"
    joined += " AND epoch = :epoch AND last = :first - 1 AND reason = :reason AND sinks = '[]'"
    if not told or not con.execute(joined, key).rowcount:
        con.execute(
            "INSERT OR REPLACE INTO lost (lane, epoch, first, last, wall, count, reason, sinks,"
            " told) VALUES (:lane, :epoch, :first, :last, :wall, :count, :reason, :sinks, :told)",
            key,
        )


def untold(con: sqlite3.Connection) -> tuple[Lost, ...]:
    """What was owed and deleted, and not told before the gateway ended."""
    rows = con.execute(
        "SELECT lane, epoch, first, last, count, reason, sinks FROM lost WHERE NOT told"
        " ORDER BY lane, epoch, first"
    )
    lanes = {str(lane): lane for lane in Lane}
    return tuple(
        Lost(lanes[lane], epoch, first, last, count, reason, tuple(json.loads(sinks)))
        for lane, epoch, first, last, count, reason, sinks in rows
        if lane in lanes
    )


def mark_told(con: sqlite3.Connection, losses: Sequence[tuple[Lane, Span]]) -> None:
    """The tombstones within these spans have been told."""
    con.executemany(
        "UPDATE lost SET told = 1 WHERE lane = ? AND epoch = ? AND first >= ? AND last <= ?",
        [(lane, span.epoch, span.first, span.last) for lane, span in losses],
    )
