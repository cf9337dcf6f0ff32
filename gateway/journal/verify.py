"""Whether a journal is whole: rows, numbers, states and documents; a page at a time.

A finding says where, what, and what to do. Nothing is repaired here: the gateway saves what can be
read when it starts with a damaged file.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.alarms import durable
from gateway.alarms.durable import DamagedState
from gateway.journal.damage import ASIDE
from gateway.journal.look import AT_ONCE, JournalLook
from gateway.journal.record import Record
from gateway.journal.spans import Span, Spans, decode_cursor
from gateway.journal.status import counted
from gateway.journal.walk import EXAMINED, UNREADABLE, readable
from gateway.values import Instant, Lane

_ACTIVE: Final = "alarm/active/"
_EPOCH: Final = Instant(0.0, 0.0)
_START_AGAIN: Final = (
    "stop the gateway, keep a copy of the folder, and start it again: a damaged file is set aside "
    "and what can be read of it is saved"
)
_SMALL: Final = ("numbers", "states", "documents", "cursors", "quarantine")
_AT_THE_START: Final = (
    "a bit has turned on the disk: the gateway does without it at its next start, and says so; "
    "keep a copy of the folder, and look at the disk"
)
_SET_ASIDE: Final = (
    f"it is kept as state {ASIDE}NAME to be looked at; acknowledge and close an alarm of that name,"
    " and see that standing orders are as they should be"
)
_ASK_AGAIN: Final = "consumers that need them ask with the command resend; these are gone"
_TURNED: Final = (
    "a bit has turned on the disk, or somebody wrote into the file: what is still owed is not "
    "delivered and told as lost, what was delivered is named here alone; keep a copy of the "
    "folder, and look at the disk"
)
_REPORT: Final = "the gateway goes on without it; keep a copy of the folder and report it"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be."""

    where: str
    what: str
    advice: str


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a check goes on: the next number of a lane and epoch."""

    lane: Lane
    epoch: int
    seq: int


@dataclass(slots=True)
class Checked:
    """Findings of one page; ``progress`` is None at the end."""

    findings: list[Finding] = field(default_factory=list)
    examined: int = 0
    progress: Progress | None = None


def verify(
    look: JournalLook, progress: Progress | None, *, is_whole: bool, examined: int = EXAMINED
) -> Checked:
    """The next page. ``is_whole``: the first one reads the file from end to end as well."""
    checked = Checked()
    try:
        spans = _spans(look)
    except sqlite3.DatabaseError as error:
        checked.findings += [*_integrity(look), _broken("the table of numbers", error)]
        return checked
    if progress is None:
        checked.findings += _tables(look, spans, is_whole=is_whole)
        progress = Progress(*_first(spans)) if spans else None
    if progress is not None:
        try:
            _numbers(look, spans, progress, checked, examined)
        except sqlite3.DatabaseError as error:
            checked.findings.append(_broken("tombstones", error))
            checked.progress = None
    return checked


def _spans(look: JournalLook) -> list[tuple[Lane, int, int]]:
    """Lane, epoch and newest number, in the order in which they are looked through."""
    return sorted((lane, epoch, last) for (lane, epoch), last in look.numbers().items())


def _first(spans: list[tuple[Lane, int, int]]) -> tuple[Lane, int, int]:
    lane, epoch, _ = spans[0]
    return lane, epoch, 1


def _numbers(
    look: JournalLook,
    spans: list[tuple[Lane, int, int]],
    progress: Progress,
    checked: Checked,
    examined: int,
) -> None:
    for lane, epoch, last in spans:
        if (lane, epoch) < (progress.lane, progress.epoch):
            continue
        is_same = (lane, epoch) == (progress.lane, progress.epoch)
        at = progress.seq if is_same else 1
        while at <= last:
            if checked.examined >= examined:
                checked.progress = Progress(lane, epoch, at)
                return
            at = _page(look, lane, Span(epoch, at, last), checked)


def _page(look: JournalLook, lane: Lane, span: Span, checked: Checked) -> int:
    """Looks at the first records of a span; the number to go on with."""
    records, damaged = readable(look, lane, span, AT_ONCE)
    checked.examined += max(1, len(records)) if damaged is None else len(damaged)
    if damaged is not None:
        checked.findings.append(_unread(look, lane, damaged))
        return damaged.last + 1
    expected = span.first
    for record in records:
        if record.seq > expected:
            missing = Span(span.epoch, expected, record.seq - 1)
            checked.findings += _missing(look, lane, missing)
        checked.findings += _content(record)
        expected = record.seq + 1
    if not records:
        checked.findings += _missing(look, lane, span)
        return span.last + 1
    return expected


def _unread(look: JournalLook, lane: Lane, damaged: Span) -> Finding:
    where = _where(lane, damaged)
    try:
        look.read(lane, Span(damaged.epoch, damaged.first, damaged.first), 1)
    except ValueError as error:
        if any(gone.first <= damaged.first for gone in look.gone(lane, damaged)):
            return Finding(where, f"cannot be read: {error}; told as lost", _TURNED)
        return Finding(where, f"cannot be read: {error}", _TURNED)
    except sqlite3.DatabaseError as error:
        return Finding(where, f"the rows cannot be read: {error}", _START_AGAIN)
    return Finding(where, "the rows cannot be read", _START_AGAIN)


def _missing(look: JournalLook, lane: Lane, span: Span) -> Iterator[Finding]:
    left = Spans([span])
    for tombstone in look.gone(lane, span):
        left.discard(tombstone)
    for each in left:
        missing = counted(len(each), "message", "is", "are")
        what = f"{missing} missing, and no tombstone says why"
        yield Finding(_where(lane, each), what, _ASK_AGAIN)


def _content(record: Record) -> Iterator[Finding]:
    where = _where(record.lane, Span(record.epoch, record.seq, record.seq))
    try:
        body = json.loads(record.body)
    except ValueError as error:
        yield Finding(where, f"{record.topic}: not JSON: {error}", _REPORT)
        return
    if not isinstance(body, dict) or not isinstance(body.get("kind"), str):
        yield Finding(where, f"{record.topic}: not a message: it has no kind", _REPORT)


def _where(lane: str, span: Span) -> str:
    numbers = f"{span.first} to {span.last}" if len(span) > 1 else f"{span.first}"
    return f"lane {lane}, epoch {span.epoch}, number {numbers}"


def _tables(
    look: JournalLook, spans: list[tuple[Lane, int, int]], *, is_whole: bool
) -> Iterator[Finding]:
    newest = {(lane, epoch): last for lane, epoch, last in spans}
    for name, found in (
        ("the file", _integrity(look) if is_whole else iter(())),
        ("states and documents", _alarms(look)),
        ("cursors", _cursors(look, newest)),
        ("numbers", _behind(look, spans)),
        ("what is kept aside", _kept_aside(look)),
        ("checksums", _turned(look)),
    ):
        try:
            yield from found
        except sqlite3.DatabaseError as error:
            yield _broken(name, error)


def _broken(name: str, error: Exception) -> Finding:
    return Finding(name, str(error), _START_AGAIN)


def _turned(look: JournalLook) -> Iterator[Finding]:
    """Rows of the small tables that are not as they were stored, and what a start took out."""
    for table in _SMALL:
        for values in look.damaged_rows(table):
            where = f"{table}: {' '.join(map(str, values))}"
            yield Finding(where, "the row is not as it was stored", _AT_THE_START)
    for (key,) in look.rows("SELECT key FROM states WHERE key GLOB ?", f"{ASIDE}*"):
        what = "it was not as it was stored, and was set aside at a start"
        yield Finding(str(key).removeprefix(ASIDE), what, _SET_ASIDE)


def _kept_aside(look: JournalLook) -> Iterator[Finding]:
    for sink, lane, epoch, seq, body in look.rows(
        "SELECT sink, lane, epoch, seq, body FROM quarantine"
    ):
        if _json(body) is None:
            where = f"quarantine of {sink}, {_where(lane, Span(epoch, seq, seq))}"
            yield Finding(where, "not JSON", _REPORT)


def _integrity(look: JournalLook) -> Iterator[Finding]:
    try:
        verdicts = [str(row[0]) for row in look.rows("PRAGMA integrity_check(20)")]
    except sqlite3.DatabaseError as error:
        verdicts = [str(error)]
    if verdicts != ["ok"]:
        yield Finding("the file", "; ".join(verdicts), _START_AGAIN)


def _behind(look: JournalLook, spans: list[tuple[Lane, int, int]]) -> Iterator[Finding]:
    """Records above the newest number that the file says it has given."""
    for lane, epoch, last in spans:
        found = []
        with suppress(*UNREADABLE):  # what cannot be read is told elsewhere
            found = look.read(lane, Span(epoch, last + 1, last + 2**31), 1)
        if found:
            where = _where(lane, Span(epoch, found[0].seq, found[0].seq))
            yield Finding(where, f"above the newest number, {last}", _START_AGAIN)


def _cursors(look: JournalLook, last: Mapping[tuple[Lane, int], int]) -> Iterator[Finding]:
    lanes = {str(lane): lane for lane in Lane}
    for sink, name, text in look.rows("SELECT sink, lane, value FROM cursors"):
        where = f"cursor of {sink}, lane {name}"
        lane, cursor = lanes.get(name), decode_cursor(text)
        if lane is None or cursor is None:
            what = "it cannot be read: everything is sent to that sink again"
            yield Finding(where, what, "nothing: consumers drop what they have")
        elif cursor.acknowledged > last.get((lane, cursor.epoch), 0):
            newest = last.get((lane, cursor.epoch), 0)
            what = f"{cursor.acknowledged} is acknowledged, {newest} is the newest number"
            yield Finding(where, what, _REPORT)


def _alarms(look: JournalLook) -> Iterator[Finding]:
    """Active alarms and their states belong together."""
    states = {
        key: value
        for key, value in look.rows("SELECT key, value FROM states")
        if not key.startswith(ASIDE)
    }
    shown: set[str] = set()
    for topic, body in look.rows("SELECT topic, body FROM documents"):
        if not body or not topic.startswith(_ACTIVE):
            continue
        occurrence = topic.removeprefix(_ACTIVE)
        shown.add(occurrence)
        yield from _alarm(occurrence, _json(body), states.get(occurrence))
    for key, value in states.items():
        if key in shown:
            continue
        if _json(value) is None:
            yield Finding(f"state {key}", "not JSON", _REPORT)
        elif "/" not in key and _is_open(value):
            what = "an open alarm that consumers are not shown"
            yield Finding(f"alarm {key}", what, "start the gateway: it shows what is open")


def _alarm(occurrence: str, shown: dict[str, Any] | None, state: bytes | None) -> Iterator[Finding]:
    where = f"alarm {occurrence}"
    if shown is None:
        yield Finding(where, "its document is not JSON", _REPORT)
    if state is None:
        what = "it is shown as active and has no state: a restart cannot go on with it"
        yield Finding(where, what, "acknowledge and close it, and watch its detector")
        return
    try:
        record, _ = durable.decode(state, _EPOCH)
    except DamagedState as error:
        what = f"its state cannot be read ({error}): a restart cannot go on with it"
        yield Finding(where, what, "acknowledge and close it, and watch its detector")
        return
    if shown is not None and shown.get("revision") != record.revision:
        what = f"shown with revision {shown.get('revision')}, its state has {record.revision}"
        yield Finding(where, what, "start the gateway: it shows the state")


def _is_open(state: bytes) -> bool:
    try:
        return durable.decode(state, _EPOCH)[0].closed_at is None
    except DamagedState:
        return False


def _json(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
