"""What an alarm is: the record that is journalled and published, and its changes."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from drivers.api import Flag, Position, Quantity
from gateway.values import Instant

Number = float | int
Facts = tuple[tuple[str, Number | str], ...]
"""Named numbers and words of a record, in order."""


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
    SHELVED = "shelved"
    UNSHELVED = "unshelved"
    SILENCED = "silenced"
    UNSILENCED = "unsilenced"
    SUPPRESSED = "suppressed"
    UNSUPPRESSED = "unsuppressed"
    OUT_OF_SERVICE = "out_of_service"
    IN_SERVICE = "in_service"
    MEMBERS = "members"
    INCIDENT = "incident"
    UPDATED = "updated"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Rule:
    """What decided: a stable name, its version and every parameter in force."""

    id: str
    version: int
    parameters: Facts = ()


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
    statistic: Facts = ()
    indicative: bool = False
    position: Position | None = None
    flags: tuple[Flag, ...] = ()
    device_alarms: tuple[str, ...] = ()
    note: str = ""
    background: Facts = ()
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AlarmRecord:
    """One occurrence of one alarm object of one detector, in full.

    ``active``, ``acknowledged`` and ``latched`` are independent. ``level`` and ``priority`` are
    those of the worst level in ``levels``; ``held`` are the levels whose condition holds now.
    ``indicative``: no true dose rate, only an estimate or the instrument's own unverified bit.
    ``previous`` is the occurrence this one superseded while somebody still had to deal with it.
    An acknowledgement of a revision before ``annunciated_revision`` is stale.

    ``shelved``, ``out_of_service`` and ``suppressed_by`` (an occurrence that says it already) keep
    it off the list; it goes on and is told all the same. ``silenced`` takes the sound alone.
    ``test_source``: raised while a test source was at the detector. ``background`` is what it was
    judged against and how that was learned. ``members`` are the detectors a group alarm is about;
    its ``detector`` then begins with ``@``. ``lasted_s``: from the first to the last sample that
    satisfied the condition, without the off-delay. ``incident`` is a suggestion, never a merger.
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
    statistic: Facts = ()
    position: Position | None = None
    flags: tuple[Flag, ...] = ()
    device_alarms: tuple[str, ...] = ()
    previous: str | None = None
    background: Facts = ()
    members: tuple[str, ...] = ()
    incident: str | None = None
    configuration: str = ""
    note: str = ""
    shelved: bool = False
    silenced: bool = False
    out_of_service: bool = False
    suppressed_by: str = ""
    test_source: bool = False
    closed_unverified: bool = False
    lasted_s: float = 0.0
    peak_at: Instant | None = None
    returned_at: Instant | None = None
    acknowledged_at: Instant | None = None
    reset_at: Instant | None = None
    closed_at: Instant | None = None

    @property
    def display(self) -> str:
        """The state's letter as ISA-18.2 and IEC 62682 name them: A to F, or an overlay G to I."""
        if self.shelved:
            return "G"
        if self.suppressed_by:
            return "H"
        if self.out_of_service:
            return "I"
        if self.active:
            return "C" if self.acknowledged else "B"
        if self.latched:
            return "F" if self.acknowledged else "E"
        return "A" if self.acknowledged else "D"

    @property
    def is_hidden(self) -> bool:
        """Whether it is kept off the operators' list: it sounds for nobody."""
        return self.shelved or self.out_of_service or bool(self.suppressed_by)

    @property
    def is_radiation(self) -> bool:
        """Whether it is about radiation; the others are about the instrument or its link."""
        return is_radiation(self.alarm)


def is_radiation(alarm: str) -> bool:
    """Whether that alarm object is about radiation."""
    return alarm in RADIATION or alarm.startswith(("portal_", "device_"))


RADIATION: Final = frozenset(
    {"dose_rate", "gamma_rise", "gamma_ratio", "neutron_rise", "dose", "nuclide", "area_wide"}
)
"""Alarm objects about radiation, beside the instruments' own."""


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
