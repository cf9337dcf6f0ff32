"""How the journal of a directory stands: sizes, numbers, what is owed, kept aside, lost, damaged.

Only looked at, in short reads. The journal's file is never opened but by SQLite: closing another
descriptor of it would drop the locks that the writer of the same process holds.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from config.models import Configuration
from gateway.journal.file import FILE
from gateway.journal.look import JournalLook, time_of
from gateway.journal.record import JournalLimits
from gateway.journal.retention import DAMAGED
from gateway.journal.room import reserve_bytes
from gateway.journal.salvage import ASIDE, NEWER, copies
from gateway.journal.spans import Span, Spans, decode_cursor
from gateway.values import Lane
from gateway.wire.table import iso

Shown = dict[str, Any]
LATE_S: Final = 600.0
"""Owed for so long: a person should look at the way to that sink. Own choice."""
LOST_LATELY_S: Final = 86_400.0
"""What was lost before is known by now: own choice."""
LITTLE_BYTES: Final = 100_000_000
"""Less room than this on the disk is a matter for a person: own choice."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the configuration says of the journal; None where no configuration is at hand."""

    max_bytes: int | None = None
    ballast_bytes: int | None = None
    sinks: tuple[str, ...] | None = None
    gateway: str = ""


def terms_of(configuration: Configuration) -> Terms:
    """What a configuration says of the journal."""
    limits = JournalLimits.of(configuration.journal)
    sinks = tuple(sink.id for sink in configuration.sink)
    return Terms(limits.max_bytes, limits.ballast_bytes, sinks, configuration.gateway.id)


def status(look: JournalLook, directory: Path, terms: Terms, now: float) -> Shown:
    """Everything of it; ``attention`` is what needs a person, in words."""
    numbers = look.numbers()
    newest = {lane: (epoch, last) for (lane, epoch), last in numbers.items()}
    stored = look.newest()
    shown: Shown = {
        "kind": "journal_status",
        "gateway": terms.gateway,
        "time": iso(now),
        "file": str(directory / FILE),
        **_sizes(look, directory, terms),
        "epoch": _epoch(look, numbers),
        "stored": None if stored is None else iso(stored),
        "newest": {lane: {"epoch": at[0], "seq": at[1]} for lane, at in newest.items()},
        "sinks": list(_sinks(look, numbers, terms, now)),
        "quarantine": list(_quarantine(look)),
        "lost": list(_lost(look)),
        "damaged": list(_damaged(directory)),
    }
    return {**shown, "attention": list(_attention(shown, terms, now))}


def _sizes(look: JournalLook, directory: Path, terms: Terms) -> Shown:
    disk = os.statvfs(directory)
    return {
        "bytes": _size(directory / FILE) or 0,
        "log_bytes": _size(directory / f"{FILE}-wal") or 0,
        "bound": terms.max_bytes,
        "ballast": {"bytes": _reserve(look), "wanted": _wanted(terms)},
        "free": disk.f_bavail * disk.f_frsize,
    }


def _reserve(look: JournalLook) -> int | None:
    """What lies in the file for alarms; None in a file without it."""
    if not list(look.rows("SELECT 1 FROM sqlite_schema WHERE name = 'reserve'")):
        return None
    (row,) = look.rows("SELECT coalesce(sum(length(room)), 0) FROM reserve")
    return int(row[0])


def _wanted(terms: Terms) -> int | None:
    if terms.ballast_bytes is None or terms.max_bytes is None:
        return terms.ballast_bytes
    return reserve_bytes(terms.ballast_bytes, terms.max_bytes)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _epoch(look: JournalLook, numbers: Mapping[tuple[Lane, int], int]) -> int:
    stored = [int(row[0]) for row in look.rows("SELECT value FROM meta WHERE key = 'epoch'")]
    return max([*stored, *(epoch for _, epoch in numbers)], default=0)


def _sinks(
    look: JournalLook, numbers: Mapping[tuple[Lane, int], int], terms: Terms, now: float
) -> Iterator[Shown]:
    owed: dict[str, list[Shown]] = {sink: [] for sink in terms.sinks or ()}
    for sink, name, text in look.rows("SELECT sink, lane, value FROM cursors ORDER BY sink"):
        of_sink = owed.setdefault(sink, [])
        if name not in {str(lane) for lane in Lane}:
            continue
        lane = Lane(name)
        last = {epoch: number for (of, epoch), number in numbers.items() if of is lane}
        spans = owed_to(text, last)
        for gone in [each for span in spans for each in look.gone(lane, span)]:
            spans.discard(gone)
        if spans:
            of_sink.append(_owed(look, lane, spans, now))
    for sink, lanes in sorted(owed.items()):
        is_configured = None if terms.sinks is None else sink in terms.sinks
        yield {"sink": sink, "configured": is_configured, "owed": lanes}


def owed_to(cursor: str, last: Mapping[int, int]) -> Spans:
    """What a stored cursor owes of a lane; one that cannot be read owes everything."""
    found = decode_cursor(cursor)
    if found is None:
        return Spans(Span(epoch, 1, number) for epoch, number in last.items())
    return found.owed(last)


def _owed(look: JournalLook, lane: Lane, spans: Spans, now: float) -> Shown:
    """How many, and the oldest that is still there."""
    at = None
    span = next(iter(spans))
    try:
        records = look.read(lane, span, 1)
        at = time_of(records[0].body) if records else None
    except ValueError:
        records = []
    return {
        "lane": lane,
        "count": spans.total(),
        "oldest": {
            "epoch": span.epoch,
            "seq": records[0].seq if records else span.first,
            "time": None if at is None else iso(at),
        },
        "age_s": None if at is None else round(now - at, 1),
    }


def _quarantine(look: JournalLook) -> Iterator[Shown]:
    rows = look.rows(
        "SELECT sink, reason, count(*), min(wall), max(wall), min(topic) FROM quarantine"
        " GROUP BY sink, reason ORDER BY sink, reason"
    )
    for sink, reason, count, first, last, topic in rows:
        yield {
            "sink": sink,
            "reason": reason,
            "count": count,
            "first": iso(first),
            "last": iso(last),
            "topic": topic,
        }


def _lost(look: JournalLook) -> Iterator[Shown]:
    """Deleted before every sink had it, by lane and reason."""
    for each in look.losses():
        if each.sinks != ():
            yield {
                "lane": each.lane,
                "reason": each.reason,
                "sinks": list(each.sinks or ()),
                "ranges": each.ranges,
                "count": each.count,
                "last": iso(each.wall),
            }


def _damaged(directory: Path) -> Iterator[Shown]:
    for kind in (ASIDE, NEWER):
        for path in copies(directory / FILE, kind):
            yield {"file": str(path), "bytes": _size(path) or 0}


def counted(count: int, noun: str, one: str = "", many: str = "") -> str:
    """``1 message``, ``2 messages``, and what follows on one or on many."""
    return f"{count} {noun} {one}".rstrip() if count == 1 else f"{count} {noun}s {many}".rstrip()


def _loss(one: Shown) -> str:
    """What sinks do not get any more, and why."""
    messages = counted(one["count"], "message")
    sinks = ", ".join(one["sinks"]) or "every sink"
    if one["reason"] == DAMAGED:
        return f"{messages} of {one['lane']} could not be read before {sinks} had them: {DAMAGED}"
    were = "was" if one["count"] == 1 else "were"
    reason = one["reason"] or "reason not kept"
    return f"{messages} of {one['lane']} {were} deleted before {sinks} had them: {reason}"


def _attention(shown: Shown, terms: Terms, now: float) -> Iterator[str]:
    for one in shown["quarantine"]:
        refused = counted(one["count"], "message", "was refused", "were refused")
        yield (
            f"{refused} by {one['sink']} ({one['reason']}): remove the cause at the broker, then: "
            f"dosegate journal requeue {one['sink']}"
        )
    for one in shown["lost"]:
        if one["last"] >= iso(now - LOST_LATELY_S):
            yield _loss(one)
    for one in shown["sinks"]:
        late = [each for each in one["owed"] if (each["age_s"] or 0.0) > LATE_S]
        if late and one["configured"] is not False:
            lanes = ", ".join(each["lane"] for each in late)
            yield f"{one['sink']} is owed messages of over 10 min ({lanes}): is its broker there?"
    for one in shown["damaged"]:
        yield f"{one['file']} was set aside: keep a copy elsewhere or remove it"
    if terms.ballast_bytes and (shown["ballast"]["bytes"] or 0) < shown["ballast"]["wanted"]:
        yield "the ballast is not in the journal's file: make room on its disk"
    if shown["free"] < LITTLE_BYTES:
        yield f"only {shown['free']} bytes are free on the disk of the journal: make room"
