"""What the journal stores: numbered records, and the batches that one transaction takes."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

from config.models import JournalSettings
from gateway.journal.pack import compress, expand
from gateway.journal.spans import Span
from gateway.values import Document, Lane
from gateway.wire.delivery import Lost

DAY_S: Final = 86_400
MB: Final = 10**6


@dataclass(frozen=True, slots=True)
class Record:
    """One journalled message; (``lane``, ``epoch``, ``seq``) is its key.

    ``replayed`` marks the backlog, ``durable`` is false for an alarm told before the disk had it,
    ``at`` is the monotonic time of its commit, 0 for one read back.
    """

    lane: Lane
    epoch: int
    seq: int
    topic: str
    body: bytes
    replayed: bool = False
    durable: bool = True
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Group:
    """Consecutive records of one samples lane, stored as one row."""

    lane: Lane
    records: Sequence[Record]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A record that a sink could not deliver, kept with the reason."""

    sink: str
    record: Record
    reason: str


@dataclass(frozen=True, slots=True)
class Urgent:
    """What must be on disk before anyone is told: alarm records, states, durable documents.

    ``losses`` are the tombstones, by lane, that its records tell of.
    """

    records: Sequence[Record] = ()
    documents: Sequence[Document] = ()
    states: Sequence[tuple[str, bytes]] = ()
    losses: Sequence[tuple[Lane, Span]] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """One transaction: what is urgent, groups of samples, and the journal's own bookkeeping.

    ``states`` beside the urgent ones can be made anew: they go with the next group. ``ran`` is the
    time in s that gateways have run on this journal until now.
    """

    wall: float
    urgent: Sequence[Urgent] = ()
    groups: Sequence[Group] = ()
    states: Sequence[tuple[str, bytes]] = ()
    cursors: Sequence[tuple[str, Lane, str]] = ()
    refusals: Sequence[Refusal] = ()
    forgotten: Sequence[Document] = ()
    full_sync: bool = True
    ran: int = 0

    @property
    def urgent_bytes(self) -> int:
        """How much is urgent, names and numbers aside."""
        return sum(
            sum(len(record.topic) + len(record.body) for record in each.records)
            + sum(len(document.topic) + len(document.body) for document in each.documents)
            + sum(len(key) + len(value) for key, value in each.states)
            for each in self.urgent
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a batch; ``error`` is empty when all of it was stored.

    ``lost`` was owed to sinks and had to be deleted, ``short`` says why the disk has no room to
    spare (empty: it has), ``notices`` tell of a file that was replaced.
    """

    urgent_stored: bool
    groups_stored: bool
    error: str = ""
    notices: tuple[str, ...] = ()
    lost: tuple[Lost, ...] = ()
    short: str = ""


@dataclass(frozen=True, slots=True)
class Kept:
    """What a journal file held when it was opened.

    ``lost`` was deleted and not told yet; ``damage`` says which rows could not be believed.
    """

    epoch: int
    states: dict[str, bytes] = field(default_factory=dict)
    documents: tuple[Document, ...] = ()
    cursors: dict[tuple[str, Lane], str] = field(default_factory=dict)
    numbers: dict[tuple[Lane, int], int] = field(default_factory=dict)
    ran: int = 0
    lost: tuple[Lost, ...] = ()
    damage: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JournalLimits:
    """Times in s, sizes in bytes.

    ``keep_s`` and ``keep_alarms_s`` count in the time that gateways have run, not by the calendar.
    """

    group_s: float = 0.02
    stall_s: float = 2.0
    pending_bytes: int = 32 * 1024 * 1024
    max_bytes: int = 8 * 1024**3
    keep_s: float = 30 * DAY_S
    keep_alarms_s: float = 400 * DAY_S
    ballast_bytes: int = 0

    @classmethod
    def of(cls, settings: JournalSettings) -> Self:
        """As configured."""
        return cls(
            max_bytes=settings.max_mb * MB,
            keep_s=settings.keep_days * DAY_S,
            keep_alarms_s=settings.keep_alarms_days * DAY_S,
            ballast_bytes=settings.ballast_mb * MB,
        )


@dataclass(slots=True)
class JournalCounters:
    """What happened since the start. ``unstored`` and ``shed`` count samples that are lost."""

    stored: Counter[Lane] = field(default_factory=Counter)
    unstored: Counter[Lane] = field(default_factory=Counter)
    shed: int = 0
    failures: int = 0
    told_undurable: int = 0
    last_error: str = ""


def by_lane(records: Iterable[Record]) -> dict[Lane, list[Record]]:
    """The records of each lane, in order."""
    lanes: dict[Lane, list[Record]] = {}
    for record in records:
        lanes.setdefault(record.lane, []).append(record)
    return lanes


def pack(records: Iterable[Record]) -> bytes:
    """One line a record: topic, blank, body. A line end between JSON tokens becomes a blank."""
    lines = [b"%b %b" % (record.topic.encode(), record.body) for record in records]
    packed = b"\n".join(lines)
    if packed.count(b"\n") != len(lines) - 1:
        packed = b"\n".join(line.replace(b"\n", b" ") for line in lines)
    return compress(packed)


def lines(data: bytes) -> list[bytes]:
    """The lines of a stored group; ValueError if it is damaged."""
    return expand(data).split(b"\n")


def records_of(lane: Lane, epoch: int, first: int, some: Iterable[bytes]) -> list[Record]:
    """The records of some lines of a group, from a number on; ValueError if they are damaged."""
    records = []
    for seq, line in enumerate(some, first):
        topic, _, body = line.partition(b" ")
        records.append(Record(lane, epoch, seq, topic.decode(), body, replayed=True))
    return records
