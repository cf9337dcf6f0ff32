"""Looking into a journal from outside, while the gateway runs or not; and making one of a play.

Read-only, and never more than a few rows at a time: the alarm history newest first, samples from a
time on. Rows of samples stand in the order of their storing, so a time is found by halving; where
the wall clock was stepped back, that is the place in the file where the halves led.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self

from gateway.journal_file import FILE, JournalUnusable, next_epoch, prepare
from gateway.journal_record import Batch, Group, JournalLimits, Record, Urgent, unpack
from gateway.journal_store import Store
from gateway.values import Document, Entry, Lane, Outputs

Message = dict[str, Any]
"""The body of one journalled message."""
STORED_WITHIN_S: Final = 5.0
"""A sample is stored within the stall time of a bad disk, some seconds at most: own choice."""
GROUP_S: Final = 0.5
"""A play's samples are stored in groups of so much time, few enough to be found by time."""


class JournalLook:
    """A journal's messages; closes with the ``with`` statement."""

    def __init__(self, con: sqlite3.Connection) -> None:
        self._con = con

    @classmethod
    def open(cls, directory: Path) -> Self:
        """The journal in a state directory. Raises JournalUnusable."""
        path = directory / FILE
        if not path.is_file():
            raise JournalUnusable(f"{path}: there is no journal, or it may not be read")
        try:
            return cls(_connected(path))
        except sqlite3.Error as error:
            raise JournalUnusable(f"{path}: {error}; may this user read it?") from error

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

    def history(self, about: str) -> Iterator[Message]:
        """Events of an occurrence, or of the alarms of a detector, newest first."""
        rows = self._con.execute(
            "SELECT body FROM events WHERE topic = 'alarm/event'"
            " AND instr(body, CAST(? AS BLOB)) ORDER BY id DESC",
            (json.dumps(about),),
        )
        for (body,) in rows:
            message = json.loads(body)
            if about in (message["occurrence"], message["detector"], *message["members"]):
                yield message

    def answers(self) -> Iterator[Message]:
        """Answers to commands, newest first."""
        rows = self._con.execute(
            "SELECT body FROM events WHERE topic GLOB 'command/*/result' ORDER BY id DESC"
        )
        for (body,) in rows:
            yield json.loads(body)

    def around(self, detector: str, kind: str, begin: float, end: float) -> Iterator[Message]:
        """A detector's messages of a kind that were measured then, in the order of storing.

        What came in long after it was measured is not among them.
        """
        first = self._first_stored(begin)
        for wall, messages in self._groups(f"id >= {first} ORDER BY id", detector, kind):
            if wall > end + STORED_WITHIN_S:
                return
            yield from (each for each in messages if begin <= measured_at(each) <= end)

    def last(self, detector: str, kind: str, before: float, within_s: float) -> Message | None:
        """The newest of a detector's messages of a kind at or before a time."""
        last = self._first_stored(before + STORED_WITHIN_S)
        for wall, messages in self._groups(f"id <= {last} ORDER BY id DESC", detector, kind):
            for message in reversed(messages):
                if before - within_s <= measured_at(message) <= before:
                    return message
            if wall < before - within_s:
                return None
        return None

    def _groups(
        self, where: str, detector: str, kind: str
    ) -> Iterator[tuple[float, list[Message]]]:
        topic = f"detector/{detector}/{kind}"
        with closing(
            self._con.execute(f"SELECT wall, lane, epoch, first, data FROM groups WHERE {where}")
        ) as rows:
            for wall, lane, epoch, first, data in rows:
                found = []
                if topic.encode() in data:
                    records = unpack(Lane(lane), epoch, first, data)
                    found = [json.loads(each.body) for each in records if each.topic == topic]
                yield wall, found

    def _first_stored(self, wall: float) -> int:
        """The id of the first row that was stored then or later, or one after the last."""
        low, high = self._con.execute("SELECT min(id), max(id) + 1 FROM groups").fetchone()
        if low is None:
            return 0
        while low < high:
            middle = (low + high) // 2
            row = self._con.execute(
                "SELECT id, wall FROM groups WHERE id >= ? ORDER BY id LIMIT 1", (middle,)
            ).fetchone()
            if row is None or row[1] >= wall:
                high = middle
            else:
                low = row[0] + 1
        return int(low)


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

    The directory must not hold a journal: a play has times of its own. Raises JournalUnusable.
    """
    if (directory / FILE).exists():
        raise JournalUnusable(
            f"{directory / FILE}: there is a journal already; name another folder"
        )
    prepare(directory)
    store = Store(directory, JournalLimits().max_bytes, ())
    kept, _ = store.open()
    epoch, _ = next_epoch(directory, kept.epoch)
    store.begin_epoch(epoch, {}, damaged=False)
    writing = _Writing(store, epoch)
    try:
        yield writing.take
        writing.store()
    finally:
        store.close()
