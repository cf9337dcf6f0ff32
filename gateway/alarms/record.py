"""What an alarm is: the record that is journalled and published, and its changes."""

from dataclasses import dataclass
from enum import StrEnum

from drivers.api import Flag, Position, Quantity
from gateway.values import Instant

Number = float | int


class AlarmEvent(StrEnum):
    """What happened to an alarm: one line of the append-only history."""

    RAISED = "raised"
    ESCALATED = "escalated"
    PEAK = "peak"
    ACKNOWLEDGED = "acknowledged"
    RE_ALARMED = "re_alarmed"
    RETURNED = "returned"
    LATCHED = "latched"
    RESET = "reset"
    STALE = "stale"
    FRESH = "fresh"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Rule:
    """What decided: a stable name, its version and every parameter in force."""

    id: str
    version: int
    parameters: tuple[tuple[str, Number | str], ...] = ()


@dataclass(frozen=True, slots=True)
class LevelReached:
    """A level that was reached, and when its condition ended (None: it still holds)."""

    level: str
    at: Instant
    left_at: Instant | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one input says in favour of an alarm; ``at`` is when it was measured."""

    at: Instant
    rule: Rule
    value: Number | None = None
    unit: str = ""
    quantity: Quantity | None = None
    raw: str = ""
    lower_bound: float | None = None
    statistic: tuple[tuple[str, Number], ...] = ()
    indicative: bool = False
    position: Position | None = None
    flags: tuple[Flag, ...] = ()
    device_alarms: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class AlarmRecord:
    """One occurrence of one alarm object of one detector, in full.

    ``active``, ``acknowledged`` and ``latched`` are independent. ``level`` and ``priority`` are
    those of the worst level in ``levels``; ``held`` are the levels whose condition holds now.
    ``indicative``: no true dose rate, only an estimate or the instrument's own unverified bit.
    ``previous`` is the occurrence this one superseded while somebody still had to deal with it.
    An acknowledgement of a revision before ``annunciated_revision`` is stale.
    """

    occurrence: str
    detector: str
    alarm: str
    rule: Rule
    level: str
    priority: int
    raised_at: Instant
    annunciated_at: Instant
    revision: int = 1
    annunciated_revision: int = 1
    post: str | None = None
    detector_class: str = ""
    serial: str | None = None
    exercise: bool = False
    levels: tuple[LevelReached, ...] = ()
    held: tuple[str, ...] = ()
    active: bool = True
    acknowledged: bool = False
    acknowledged_by: str = ""
    latched: bool = False
    stale: bool = False
    indicative: bool = False
    value: Number | None = None
    unit: str = ""
    quantity: Quantity | None = None
    raw: str = ""
    lower_bound: float | None = None
    peak: Number | None = None
    announced_peak: Number | None = None
    statistic: tuple[tuple[str, Number], ...] = ()
    position: Position | None = None
    flags: tuple[Flag, ...] = ()
    device_alarms: tuple[str, ...] = ()
    previous: str | None = None
    peak_at: Instant | None = None
    returned_at: Instant | None = None
    acknowledged_at: Instant | None = None
    reset_at: Instant | None = None
    closed_at: Instant | None = None

    @property
    def display(self) -> str:
        """The state's letter, A to F, as ISA-18.2 and IEC 62682 name them."""
        if self.active:
            return "C" if self.acknowledged else "B"
        if self.latched:
            return "F" if self.acknowledged else "E"
        return "A" if self.acknowledged else "D"

    @property
    def is_radiation(self) -> bool:
        """Whether it is about radiation; the others are about the instrument or its link."""
        return is_radiation(self.alarm)


def is_radiation(alarm: str) -> bool:
    """Whether that alarm object is about radiation."""
    return alarm == "dose_rate" or alarm.startswith(("portal_", "device_"))


@dataclass(frozen=True, slots=True)
class Change:
    """One event of an alarm and the record after it; ``actor`` is empty for the engine itself."""

    event: AlarmEvent
    record: AlarmRecord
    value: Number | None
    unit: str
    actor: str
    note: str
    at: Instant
