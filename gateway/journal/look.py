"""Looking into a journal from outside, while the gateway runs or not; and making one of a play.

Read-only, and never more than a few rows at a time: the alarm history newest first, samples from a
time on. Numbers stand in the order of their storing, so a time is found by halving; where the wall
clock was stepped back, that is the place in the file where the halves led.
"""

import json
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self

from gateway.journal.checksum import Values, holds, read_tolerantly, rows_of
from gateway.journal.epoch import next_epoch, store_epoch
from gateway.journal.file import FILE, JournalUnusable, prepare
from gateway.journal.read import read_events, read_groups
from gateway.journal.record import Batch, Group, JournalLimits, Record, Urgent
from gateway.journal.spans import Span
from gateway.journal.store import Store
from gateway.journal.tables import columns
from gateway.values import Document, Entry, Lane, Outputs

Message = dict[str, Any]
"""The body of one journalled message."""
STORED_WITHIN_S: Final = 5.0
"""A sample is stored within the stall time of a bad disk, some seconds at most: own choice."""
AT_ONCE: Final = 200
"""Records that are read at once."""
_SAMPLES: Final = (Lane.SAMPLES, Lane.EXERCISE_SAMPLES)
_TIME: Final = re.compile(rb'"time": ?"([^"]*)"')
_ARRIVED: Final = re.compile(rb'"arrived": ?"([^"]*)"')
GROUP_S: Final = 0.5
"""A play's samples are stored in groups of so much time, few enough to be found by time."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Messages that were deleted: why, how many, the newest time.

    ``sinks`` were owed them: none if all was delivered; None where a file of format 1 does not say.
    """

    lane: str
    reason: str
    sinks: tuple[str, ...] | None
    ranges: int
    count: int
    wall: float


class JournalLook:
    """A journal's messages; closes with the ``with`` statement.

    ``passed`` counts rows that could not be believed and were passed over, where others are found.
    """

    def __init__(self, con: sqlite3.Connection) -> None:
        self.passed = 0
        self._con = con
        read_tolerantly(con)
        self._crc = "crc" if "crc" in columns(con, "events") else "NULL"

    @classmethod
    def open(cls, directory: Path) -> Self:
        """The journal in a state directory. Raises JournalUnusable."""
        path = directory / FILE
        if not path.is_file():
            raise JournalUnusable(f"{path}: there is no journal, or it may not be read")
        try:
            return cls(_connected(path))
        except (sqlite3.Error, UnicodeError) as error:
            raise JournalUnusable(f"{path}: {error}; may this user read it?") from error

    @classmethod
    def in_memory(cls, name: str) -> Self:
        """The journal that stands in for a directory that cannot be used."""
        con = sqlite3.connect(name, uri=True, isolation_level=None)
        con.execute("PRAGMA query_only = ON")
        con.execute("PRAGMA read_uncommitted = ON")
        return cls(con)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._con.close()

    def newest(self) -> float | None:
        """The wall time at which the newest row was stored; None in an empty journal."""
        found = [
            self._con.execute(f"SELECT wall FROM {table} ORDER BY id DESC LIMIT 1").fetchone()
            for table in ("groups", "events")
        ]
        return max((float(row[0]) for row in found if row is not None), default=None)

    def numbers(self) -> dict[tuple[Lane, int], int]:
        """The newest number of each lane and epoch, epochs in order."""
        lanes = {str(lane): lane for lane in Lane}
        rows = self._con.execute("SELECT lane, epoch, last FROM numbers ORDER BY epoch")
        return {(lanes[lane], epoch): last for lane, epoch, last in rows if lane in lanes}

    def read(self, lane: Lane, span: Span, limit: int) -> list[Record]:
        """The first records of a span that are there, in order.

        Raises ValueError where a row is damaged.
        """
        read = read_events if lane.is_alarm else read_groups
        return read(self._con, lane, span, limit, crc=self._crc)

    def damaged_rows(self, table: str) -> Iterator[Values]:
        """The rows of a small table that are not as they were stored, without their content."""
        if self._crc == "crc":
            for _, crc, values in rows_of(self._con, table):
                if not holds(crc, *values):
                    yield values[:-1]

    def since(self, lane: Lane, span: Span, wall: float) -> int:
        """The first number of a span that was stored then or later, or one after its last.

        Found by halving: where the wall clock was stepped, that is where the halves led.
        """
        table, first = ("events", "seq") if lane.is_alarm else ("groups", "first")
        low, high = span.first, span.last + 1
        while low < high:
            middle = (low + high) // 2
            row = self._con.execute(
                f"SELECT {first}, wall FROM {table} WHERE lane = ? AND epoch = ?"
                f" AND {first} BETWEEN ? AND ? ORDER BY {first} LIMIT 1",
                (lane, span.epoch, middle, span.last),
            ).fetchone()
            if row is None or row[1] >= wall:
                high = middle
            else:
                low = row[0] + 1
        return low

    def rows(self, query: str, *values: object) -> Iterator[tuple[Any, ...]]:
        """Rows of the small tables: what is owed, kept aside, lost and learned."""
        yield from self._con.execute(query, values)

    def gone(self, lane: Lane, span: Span) -> Iterator[Span]:
        """The numbers around or in a span that were deleted, with a tombstone each."""
        rows = self._con.execute(
            "SELECT first, last FROM lost WHERE lane = ? AND epoch = ? AND first <= ?"
            " AND last >= ? ORDER BY first",
            (lane, span.epoch, span.last, span.first),
        )
        for first, last in rows:
            yield Span(span.epoch, first, last)

    def losses(self) -> Iterator[Loss]:
        """All that was deleted, by lane and reason."""
        known, count = "reason, sinks", "count"
        if "sinks" not in columns(self._con, "lost"):
            known, count = "'', NULL", "last - first + 1"
        rows = self._con.execute(
            f"SELECT lane, {known}, count(*), sum({count}), max(wall) FROM lost"
            " GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        )
        for lane, reason, sinks, ranges, count, wall in rows:
            names = None if sinks is None else tuple(map(str, json.loads(sinks)))
            yield Loss(lane, reason, names, ranges, count, wall)

    def history(self, about: str) -> Iterator[Message]:
        """Events of an occurrence, or of the alarms of a detector, newest first."""
        for body in self._bodies(
            "topic = 'alarm/event' AND instr(body, CAST(? AS BLOB))", json.dumps(about)
        ):
            message = json.loads(body)
            if about in (message["occurrence"], message["detector"], *message["members"]):
                yield message

    def answers(self) -> Iterator[Message]:
        """Answers to commands, newest first."""
        for body in self._bodies("topic GLOB 'command/*/result'"):
            yield json.loads(body)

    def _bodies(self, condition: str, *values: object) -> Iterator[bytes]:
        """The bodies of events, newest first."""
        rows = self._con.execute(
            f"SELECT lane, epoch, seq, topic, body, {self._crc} FROM events WHERE {condition}"
            " ORDER BY id DESC",
            values,
        )
        for *name, body, crc in rows:
            if holds(crc, *name, body):
                yield body
            else:
                self.passed += 1

    def around(self, detector: str, kind: str, begin: float, end: float) -> Iterator[Message]:
        """A detector's messages of a kind that were measured then, in the order of storing.

        What came in long after it was measured is not among them.
        """
        for lane, span in self._spans():
            first = self.since(lane, span, begin)
            for record in self._forward(lane, Span(span.epoch, first, span.last)):
                if (stored_at(record.body) or 0.0) > end + STORED_WITHIN_S:
                    break
                if record.topic == f"detector/{detector}/{kind}":
                    message = json.loads(record.body)
                    if begin <= measured_at(message) <= end:
                        yield message

    def last(self, detector: str, kind: str, before: float, within_s: float) -> Message | None:
        """The newest of a detector's messages of a kind at or before a time."""
        for lane, span in reversed(self._spans()):
            last = self.since(lane, span, before + STORED_WITHIN_S) - 1
            for record in self._backward(lane, Span(span.epoch, span.first, last)):
                if record.topic == f"detector/{detector}/{kind}":
                    message: Message = json.loads(record.body)
                    if before - within_s <= measured_at(message) <= before:
                        return message
                if (stored_at(record.body) or before) < before - within_s:
                    break
        return None

    def _spans(self) -> list[tuple[Lane, Span]]:
        """All numbers of the lanes of samples, epochs in order."""
        numbers = self.numbers().items()
        return [(lane, Span(epoch, 1, last)) for (lane, epoch), last in numbers if lane in _SAMPLES]

    def _forward(self, lane: Lane, span: Span) -> Iterator[Record]:
        while span.first <= span.last:
            records = self._passing(lane, span)
            if not records:
                return
            yield from records
            span = Span(span.epoch, records[-1].seq + 1, span.last)

    def _backward(self, lane: Lane, span: Span) -> Iterator[Record]:
        for last in range(span.last, span.first - 1, -AT_ONCE):
            first = max(span.first, last - AT_ONCE + 1)
            yield from reversed(self._passing(lane, Span(span.epoch, first, last)))

    def _passing(self, lane: Lane, span: Span) -> list[Record]:
        """Some records of a samples lane, past groups that cannot be believed."""
        try:
            return self.read(lane, span, AT_ONCE)
        except ValueError:
            self.passed += 1
        return read_groups(self._con, lane, span, AT_ONCE, skip_damaged=True, crc=self._crc)


def stored_at(body: bytes) -> float | None:
    """About when a sample, or what is told as it happens, was stored; None where it is not told."""
    found = _ARRIVED.search(body) or _TIME.search(body)
    return None if found is None else _wall(found[1])


def time_of(body: bytes) -> float | None:
    """The wall time of a message; None for one without."""
    found = _TIME.search(body)
    return None if found is None else _wall(found[1])


def _wall(text: bytes) -> float | None:
    try:
        return datetime.fromisoformat(text.decode()).timestamp()
    except ValueError:
        return None


def measured_at(message: Message) -> float:
    """The wall time of a message, 0 for one without."""
    time = message.get("time")
    return datetime.fromisoformat(time).timestamp() if isinstance(time, str) else 0.0


def _connected(path: Path) -> sqlite3.Connection:
    """A look that changes nothing; a journal that nobody writes may lie where nobody may write."""
    uri = path.resolve().as_uri()
    con = sqlite3.connect(f"{uri}?mode=ro", uri=True, isolation_level=None)
    try:
        con.execute("SELECT count(*) FROM meta").fetchone()
    except sqlite3.OperationalError:
        con.close()
        if path.with_name(f"{path.name}-wal").exists():
            raise
        return sqlite3.connect(f"{uri}?mode=ro&immutable=1", uri=True, isolation_level=None)
    return con


class _Writing:
    """A journal in the making: samples and what was learned wait for the next group."""

    def __init__(self, store: Store, epoch: int) -> None:
        self._store = store
        self._epoch = epoch
        self._wall = self._stored = 0.0
        self._numbers = dict.fromkeys(Lane, 0)
        self._samples: list[Record] = []
        self._states: dict[str, bytes] = {}

    def take(self, outputs: Outputs) -> None:
        """What one step wants stored."""
        records = [self._record(entry) for entry in outputs.entries]
        self._samples += [record for record in records if not record.lane.is_alarm]
        self._states |= dict(outputs.states)
        alarms = tuple(record for record in records if record.lane.is_alarm)
        if alarms or self._wall - self._stored >= GROUP_S:
            self.store(alarms, tuple(each for each in outputs.documents if each.durable))

    def store(self, alarms: Sequence[Record] = (), documents: Sequence[Document] = ()) -> None:
        """What waits, and these at once. Raises JournalUnusable."""
        groups = tuple(
            Group(lane, records)
            for lane in Lane
            if (records := [record for record in self._samples if record.lane is lane])
        )
        urgent = Urgent(alarms, documents, tuple(self._states.items()))
        outcome = self._store.write(Batch(self._wall, (urgent,), groups, full_sync=False))
        if outcome.error:
            raise JournalUnusable(outcome.error)
        self._stored = self._wall
        self._samples.clear()
        self._states.clear()

    def _record(self, entry: Entry) -> Record:
        self._numbers[entry.lane] += 1
        self._wall = max(self._wall, measured_at(json.loads(entry.body)))
        seq = self._numbers[entry.lane]
        return Record(entry.lane, self._epoch, seq, entry.topic, entry.body)


@contextmanager
def journal_outputs(directory: Path) -> Iterator[Callable[[Outputs], None]]:
    """Stores the outputs of a play in a journal of its own, as a gateway would have.

    The directory must not hold a journal: a play has times of its own. Nobody goes on writing, so
    the file has no log beside it in the end. Raises JournalUnusable.
    """
    if (directory / FILE).exists():
        raise JournalUnusable(
            f"{directory / FILE}: there is a journal already; name another folder"
        )
    prepare(directory)
    store = Store(directory, JournalLimits().max_bytes, ())
    kept, _ = store.open()
    epoch = next_epoch(directory, kept.epoch).epoch
    store.begin_epoch(epoch, {}, damaged=False)
    store_epoch(directory, epoch)
    writing = _Writing(store, epoch)
    try:
        yield writing.take
        writing.store()
    finally:
        store.close()
        _drop_log(directory / FILE)


def _drop_log(path: Path) -> None:
    """SQLite removes the log, which was emptied, when the last connection closes."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(path)) as con:
        con.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
