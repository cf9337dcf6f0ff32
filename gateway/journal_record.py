"""What the journal stores: numbered records, and the batches that one transaction takes."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from gateway.values import Document, Lane


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
    """What must be on disk before anyone is told: alarm records, states, durable documents."""

    records: Sequence[Record] = ()
    documents: Sequence[Document] = ()
    states: Sequence[tuple[str, bytes]] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """One transaction: what is urgent, groups of samples, and the journal's own bookkeeping.

    ``states`` beside the urgent ones can be made anew: they go with the next group.
    """

    wall: float
    urgent: Sequence[Urgent] = ()
    groups: Sequence[Group] = ()
    states: Sequence[tuple[str, bytes]] = ()
    cursors: Sequence[tuple[str, Lane, str]] = ()
    refusals: Sequence[Refusal] = ()
    forgotten: Sequence[Document] = ()
    full_sync: bool = True


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a batch; ``error`` is empty when all of it was stored."""

    urgent_stored: bool
    groups_stored: bool
    error: str = ""
    notices: tuple[str, ...] = ()
    shed: int = 0


@dataclass(frozen=True, slots=True)
class Kept:
    """What a journal file held when it was opened."""

    epoch: int
    states: dict[str, bytes] = field(default_factory=dict)
    documents: tuple[Document, ...] = ()
    cursors: dict[tuple[str, Lane], str] = field(default_factory=dict)
    numbers: dict[tuple[Lane, int], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JournalLimits:
    """Times in s, sizes in bytes."""

    group_s: float = 0.02
    stall_s: float = 2.0
    pending_bytes: int = 32 * 1024 * 1024
    max_bytes: int = 8 * 1024**3


@dataclass(slots=True)
class JournalCounters:
    """What happened since the start. ``unstored`` and ``shed`` count samples that are lost."""

    stored: Counter[Lane] = field(default_factory=Counter)
    unstored: Counter[Lane] = field(default_factory=Counter)
    shed: int = 0
    failures: int = 0
    told_undurable: int = 0
    last_error: str = ""


def pack(records: Iterable[Record]) -> bytes:
    """One line a record: topic, blank, body. A line end between JSON tokens becomes a blank."""
    lines = [b"%b %b" % (record.topic.encode(), record.body) for record in records]
    packed = b"\n".join(lines)
    if packed.count(b"\n") == len(lines) - 1:
        return packed
    return b"\n".join(line.replace(b"\n", b" ") for line in lines)


def unpack(lane: Lane, epoch: int, first: int, data: bytes) -> list[Record]:
    """The records of a stored group."""
    records = []
    for seq, line in enumerate(data.split(b"\n"), first):
        topic, _, body = line.partition(b" ")
        records.append(Record(lane, epoch, seq, topic.decode(), body, replayed=True))
    return records
