"""The public contract, version 1: what delivery itself tells, as field tables.

A sink with a poor link carries summaries or batches in place of single samples; what was deleted
before a sink had it is named. Same form as the other tables.
"""

from dataclasses import dataclass, field
from itertools import pairwise
from operator import attrgetter
from typing import Final

from drivers.api import Channel, Flag, Quantity
from gateway.values import Lane
from gateway.wire.samples import POSITION
from gateway.wire.table import Key, Kind, Table


@dataclass(slots=True)
class Reduced:
    """All readings of one channel, part, unit and quantity within a window."""

    channel: str
    part: str
    unit: str
    quantity: str | None
    minimum: float | None = None
    maximum: float | None = None
    last: float | None = None
    total: float = 0.0
    count: int = 0
    missing: int = 0
    lower_bound: float | None = None
    flags: dict[str, None] = field(default_factory=dict)
    raw: str | None = None

    @property
    def mean(self) -> float | None:
        """Of the numbers; None where there is none, or where the true one is larger."""
        if self.minimum is None or self.maximum is None or self.lower_bound is not None:
            return None
        rounded = float(f"{self.total / self.count:.{MEAN_DIGITS}g}")
        return min(max(rounded, self.minimum), self.maximum)

    @property
    def known_maximum(self) -> float | None:
        """The maximum; None where all that is known is a lower bound."""
        return None if self.lower_bound is not None else self.maximum

    @property
    def bound(self) -> float | None:
        """What the true maximum is at least, where the maximum is not known."""
        if self.lower_bound is None or self.maximum is None:
            return self.lower_bound
        return max(self.lower_bound, self.maximum)


MEAN_DIGITS: Final = 6
"""Significant digits of a mean, more than any instrument here gives: own choice."""

REDUCED: Final = Table[Reduced](
    "reduced",
    "All readings of one channel and part within the window.",
    (
        Key(
            "channel", Kind.TEXT, "What it is about", attrgetter("channel"), choices=tuple(Channel)
        ),
        Key("part", Kind.TEXT, "Detector or sub-channel inside it", attrgetter("part")),
        Key("unit", Kind.TEXT, "Unit of the numbers beside it", attrgetter("unit")),
        Key(
            "quantity",
            Kind.TEXT,
            "Physical quantity",
            attrgetter("quantity"),
            nullable=True,
            choices=tuple(Quantity),
        ),
        Key("count", Kind.INTEGER, "Readings with a number", attrgetter("count")),
        Key("missing", Kind.INTEGER, "Readings without one", attrgetter("missing")),
        Key("minimum", Kind.NUMBER, "Smallest number", attrgetter("minimum"), nullable=True),
        Key(
            "mean",
            Kind.NUMBER,
            "Mean of the numbers; null where one reading has only a lower bound",
            attrgetter("mean"),
            nullable=True,
        ),
        Key(
            "maximum",
            Kind.NUMBER,
            "Largest number; null where one reading has only a lower bound",
            attrgetter("known_maximum"),
            nullable=True,
        ),
        Key(
            "lower_bound",
            Kind.NUMBER,
            "Where a reading has one: the true maximum is at least this",
            attrgetter("bound"),
            nullable=True,
        ),
        Key(
            "last",
            Kind.NUMBER,
            "Number of the last reading; null where it had none",
            attrgetter("last"),
            nullable=True,
        ),
        Key(
            "flags",
            Kind.LIST,
            "Quality: of any of the readings",
            lambda r: list(r.flags),
            choices=tuple(Flag),
        ),
        Key(
            "raw",
            Kind.TEXT,
            "Nuclides: the instrument's category in the last reading",
            attrgetter("raw"),
            optional=True,
        ),
    ),
)


@dataclass(slots=True)
class Summary:
    """The samples of one detector in one window; ``numbers`` are theirs, in order."""

    detector: str
    begin: str | None = None
    end: str | None = None
    numbers: list[int] = field(default_factory=list)
    readings: dict[tuple[str, str, str, str | None], Reduced] = field(default_factory=dict)
    flags: dict[str, None] = field(default_factory=dict)
    position: dict[str, object] | None = None
    occupied: int | None = None


def _steps(summary: Summary) -> list[int]:
    return [after - before for before, after in pairwise(summary.numbers)]


SUMMARY: Final = Table[Summary](
    "summary",
    "What one detector said within a time, in place of the samples it names; for poor links.",
    (
        Key("detector", Kind.TEXT, "Id from the configuration", attrgetter("detector")),
        Key("from", Kind.TIME, "Time of the first sample", attrgetter("begin"), nullable=True),
        Key("to", Kind.TIME, "Time of the last sample", attrgetter("end"), nullable=True),
        Key("first", Kind.INTEGER, "First seq it stands for", lambda s: s.numbers[0]),
        Key("last", Kind.INTEGER, "Last seq it stands for", lambda s: s.numbers[-1]),
        Key("count", Kind.INTEGER, "How many samples it stands for", lambda s: len(s.numbers)),
        Key("steps", Kind.INTEGERS, "From each seq it stands for to the next", _steps),
        Key(
            "readings",
            Kind.LIST,
            "By channel, part, unit and quantity",
            lambda s: [REDUCED.encode(each) for each in s.readings.values()],
            of=REDUCED,
        ),
        Key(
            "flags",
            Kind.LIST,
            "Quality: of any of the samples",
            lambda s: list(s.flags),
            choices=tuple(Flag),
        ),
        Key(
            "position",
            Kind.OBJECT,
            "The last place that a sample told",
            attrgetter("position"),
            nullable=True,
            of=POSITION,
        ),
        Key(
            "occupied",
            Kind.INTEGER,
            "Portals: samples in which the lane was occupied",
            attrgetter("occupied"),
            nullable=True,
        ),
    ),
    kind="summary",
)


BATCHED: Final = Table[tuple[str, object]](
    "batched",
    "One message of a batch.",
    (
        Key("topic", Kind.TEXT, "Topic below ROOT/GATEWAY/", lambda m: m[0]),
        Key("message", Kind.OBJECT, "The message with its delivery fields", lambda m: m[1]),
    ),
)

BATCH: Final = Table[list[tuple[str, object]]](
    "batch",
    "Whole messages gathered into one, in their order; for poor links.",
    (
        Key(
            "messages",
            Kind.LIST,
            "Each as it would have been published",
            lambda messages: [BATCHED.encode(each) for each in messages],
            of=BATCHED,
        ),
    ),
    kind="batch",
)


@dataclass(frozen=True, slots=True)
class Lost:
    """Records that were deleted before every sink had them."""

    lane: Lane
    epoch: int
    first: int | None
    last: int | None
    count: int
    reason: str
    sinks: tuple[str, ...] = ()


LOST: Final = Table[Lost](
    "lost",
    "Records that no longer exist although somebody was owed them.",
    (
        Key("of_lane", Kind.TEXT, "Their lane", attrgetter("lane"), choices=tuple(Lane)),
        Key("of_epoch", Kind.INTEGER, "Their epoch", attrgetter("epoch")),
        Key(
            "first",
            Kind.INTEGER,
            "First seq; null where they never had one",
            attrgetter("first"),
            nullable=True,
        ),
        Key(
            "last",
            Kind.INTEGER,
            "Last seq; null where they never had one",
            attrgetter("last"),
            nullable=True,
        ),
        Key("count", Kind.INTEGER, "How many", attrgetter("count")),
        Key("reason", Kind.TEXT, "Why they were deleted", attrgetter("reason")),
        Key("sinks", Kind.LIST, "Sinks that were owed them", lambda lost: list(lost.sinks)),
    ),
    kind="lost",
)
