"""What a picture is made of; all of it frozen, times are wall times in s (Unix), places metres.

A point without a number has ``value`` None; over range it has a ``lower_bound``.
"""

from bisect import bisect_right
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Shown(StrEnum):
    """What an axis shows."""

    DOSE_RATE = "dose rate"
    GAMMA = "gamma"
    NEUTRON = "neutrons"


class Point(NamedTuple):
    """One reading."""

    time: float
    value: float | None
    lower_bound: float | None = None


class Place(NamedTuple):
    """Metres to the east and north of the origin."""

    x: float
    y: float


class Globe(NamedTuple):
    """WGS84, in degrees."""

    latitude: float
    longitude: float


@dataclass(frozen=True, slots=True)
class Series:
    """One channel of one part of an instrument, in the order of arrival."""

    shown: Shown
    channel: str
    part: str
    unit: str
    points: tuple[Point, ...]
    indicative: bool = False


@dataclass(frozen=True, slots=True)
class Threshold:
    """A level of the dose rate that is in force, in µSv/h."""

    level: str
    raise_at: float


@dataclass(frozen=True, slots=True)
class Happened:
    """One line of an alarm's history."""

    time: float
    event: str
    level: str
    value: float | None = None
    unit: str = ""


def grade(level: str) -> str:
    """A level such as R3; nothing for an alarm that has no graded levels."""
    return level if level[:1].isupper() else ""


@dataclass(frozen=True, slots=True)
class Alarm:
    """One occurrence from its first event to the last that was told; 1 is the gravest priority.

    ``raised`` may lie before the picture. ``is_hidden``: another alarm says it already, or it is
    shelved or out of service.
    """

    occurrence: str
    detector: str
    alarm: str
    level: str
    priority: int
    raised: float
    returned: float | None
    closed: float | None
    history: tuple[Happened, ...]
    stale: tuple[tuple[float, float | None], ...] = ()
    is_hidden: bool = False
    members: tuple[str, ...] = ()
    at: Globe | None = None

    @property
    def grade(self) -> str:
        """Its level; empty where it has no graded levels."""
        return grade(self.level)


@dataclass(frozen=True, slots=True)
class StateSpan:
    """How a detector was, from then on; None: to the end."""

    state: str
    reasons: tuple[str, ...]
    begin: float
    end: float | None


@dataclass(frozen=True, slots=True)
class Passed:
    """Somebody or something in a portal's lane."""

    begin: float
    end: float | None
    is_alarm: bool


@dataclass(frozen=True, slots=True)
class Fix:
    """Where an instrument was."""

    time: float
    at: Globe


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that was done to the world, a link or the gateway; no detector: to all."""

    time: float
    text: str
    detector: str | None = None
    is_fault: bool = True


@dataclass(frozen=True, slots=True)
class DetectorStory:
    """All that is known of one detector in the time of the picture.

    ``silences`` are the times without any sample.
    """

    id: str
    detector_class: str = ""
    post: str | None = None
    is_simulated: bool = False
    series: tuple[Series, ...] = ()
    thresholds: tuple[Threshold, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    states: tuple[StateSpan, ...] = ()
    passages: tuple[Passed, ...] = ()
    fixes: tuple[Fix, ...] = ()
    silences: tuple[tuple[float, float], ...] = ()

    def of(self, shown: Shown) -> tuple[Series, ...]:
        """What belongs on one axis."""
        return tuple(series for series in self.series if series.shown is shown)


@dataclass(frozen=True, slots=True)
class Story:
    """What the messages tell. ``groups`` are alarms of many detectors at once.

    ``passed_over``: messages that a picture has no use for.
    """

    begin: float
    end: float
    detectors: tuple[DetectorStory, ...] = ()
    groups: tuple[Alarm, ...] = ()
    passed_over: int = 0

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """All of them."""
        return (*(alarm for each in self.detectors for alarm in each.alarms), *self.groups)


@dataclass(frozen=True, slots=True)
class Way:
    """How something moved, straight and even from corner to corner; one corner: it stood.

    Times are wall times.
    """

    name: str
    times: tuple[float, ...]
    places: tuple[Place, ...]
    note: str = ""

    def at(self, time: float) -> Place:
        """Where it was; at rest before the first and after the last corner."""
        after = bisect_right(self.times, time)
        if after == 0 or after == len(self.times):
            return self.places[max(after - 1, 0)]
        start, end = self.times[after - 1], self.times[after]
        share = (time - start) / (end - start)
        first, last = self.places[after - 1], self.places[after]
        return Place(first.x + (last.x - first.x) * share, first.y + (last.y - first.y) * share)


@dataclass(frozen=True, slots=True)
class Zone:
    """A rectangle with a background of its own."""

    west: float
    east: float
    south: float
    north: float
    note: str


@dataclass(frozen=True, slots=True)
class Stage:
    """What the messages do not tell and a scenario does; empty for a real event.

    ``played_from``: the wall time of second 0, where wall time and time of play go together.
    ``notes`` are said in the picture.
    """

    title: str = ""
    is_simulated: bool = False
    played_from: float | None = None
    origin: Globe | None = None
    posts: tuple[Way, ...] = ()
    detectors: tuple[Way, ...] = ()
    sources: tuple[Way, ...] = ()
    zones: tuple[Zone, ...] = ()
    marks: tuple[Mark, ...] = ()
    notes: tuple[str, ...] = ()
