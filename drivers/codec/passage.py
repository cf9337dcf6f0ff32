"""From the lines of an occupied portal to one passage."""

from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from drivers.api import Passage, PassageFlag


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How a portal counts while it is occupied.

    One gamma interval every ``interval_s``; ``window`` intervals make the sum that is reported on
    ``gamma_basis``. An occupancy begins with ``buffered`` intervals from before it.
    """

    interval_s: float
    window: int
    buffered: int
    gamma_basis: str
    neutron_basis: str


@dataclass(frozen=True, slots=True)
class Interval:
    """Where a gamma interval stands: its age on arrival, and whether it joins the one before."""

    age_s: float
    independent: bool


class _Lane(Enum):
    UNKNOWN = auto()
    VACANT = auto()
    OCCUPIED = auto()


@dataclass(slots=True)
class _Occupancy:
    """What is known of the occupancy so far."""

    start_seen: bool
    gamma_background: float | None
    follows_closely: bool
    window: deque[int]
    speeds: "_Speeds"
    intervals: int = 0
    gamma_max: int | None = None
    neutron_max: int | None = None
    gamma_alarm: bool = False
    neutron_alarm: bool = False
    gamma_joined: bool = False
    neutron_joined: bool = False
    raced: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Speeds:
    """The last speed that was one, and whether others were off the scale."""

    m_s: float | None = None
    clamped: bool = False


RACE_INTERVALS: Final = 2
"""A vacant line may still come this many live intervals into an occupancy: it was on its way."""


class PassageTracker:
    """Follows one lane. A vacant line while occupied means that the end was missed."""

    def __init__(self, rhythm: Rhythm) -> None:
        self._rhythm = rhythm
        self._lane = _Lane.UNKNOWN
        self._interrupted = False
        self._speeds = _Speeds()
        self._gamma_background: float | None = None
        self._last_number: int | None = None
        self._vacant_since_end = False
        self._now = self._opened()

    @property
    def occupied(self) -> bool | None:
        """Whether somebody is in the lane; None before anything told."""
        return None if self._lane is _Lane.UNKNOWN else self._lane is _Lane.OCCUPIED

    def speed(self, speed_m_s: float | None) -> None:
        """A speed, None if it was off the scale. It opens nothing: a beam may be cut by chance."""
        speeds = self._now.speeds if self.occupied else self._speeds
        if speed_m_s is None:
            speeds.clamped = True
        else:
            speeds.m_s = speed_m_s

    def gamma(self, total: int, alarm: bool) -> Interval:
        """One interval of all detectors together. The first one opens an occupancy."""
        now, rhythm = self._enter(), self._rhythm
        index = now.intervals
        now.intervals += 1
        now.gamma_alarm |= alarm
        now.window.append(total)
        if len(now.window) == rhythm.window:
            now.gamma_max = max(sum(now.window), now.gamma_max or 0)
        early = now.start_seen and index < rhythm.buffered
        independent = now.gamma_joined and not (early and now.follows_closely)
        now.gamma_joined = True
        return Interval((rhythm.buffered - index) * rhythm.interval_s if early else 0, independent)

    def neutron(self, total: int, alarm: bool) -> bool:
        """The same for neutrons; the result is whether these counts join those before."""
        now = self._enter()
        now.neutron_alarm |= alarm
        now.neutron_max = max(total, now.neutron_max or 0)
        joined, now.neutron_joined = now.neutron_joined, True
        return joined

    def vacant(self, tag: str) -> Passage | None:
        """A line that is sent only while vacant: a passage if it tells that the end was missed."""
        self._vacant_since_end = True
        self._speeds = _Speeds()
        if self._lane is _Lane.OCCUPIED and self._is_race(tag):
            return None
        passage = self._missed_end() if self._lane is _Lane.OCCUPIED else None
        self._lane = _Lane.VACANT
        return passage

    def background(self, total: float) -> None:
        """Gamma background of all detectors (1/s), for the occupancies that begin after it."""
        self._gamma_background = total

    def end(self, number: int, neutron_background: float) -> Passage:
        """The portal tells the end.

        Age of the start: the live intervals counted, which agrees to 0.1 s with the host times of
        the captures. The end is the line itself.
        """
        seen = self._lane is _Lane.OCCUPIED and self._now.start_seen and self._now.intervals > 0
        flags = () if seen else (PassageFlag.START_MISSED,)
        if self._last_number is not None and number <= self._last_number:
            flags = (*flags, PassageFlag.COUNTER_RESTARTED)
        now = self._now if self._lane is _Lane.OCCUPIED else self._opened()
        live = max(0, now.intervals - self._rhythm.buffered)
        start_age_s = live * self._rhythm.interval_s if seen else None
        self._last_number = number
        self._lane = _Lane.VACANT
        self._vacant_since_end = False
        return self._passage(now, flags, number, start_age_s, neutron_background)

    def lost(self, interval: bool) -> None:
        """A line could not be read; with ``interval`` it was a gamma interval."""
        now = self._now
        now.intervals += interval
        now.window.clear()
        now.gamma_joined = now.neutron_joined = False

    def interrupted(self) -> None:
        """Lines may have been lost for any time from here on."""
        self._interrupted = True

    def resumed(self) -> Passage | None:
        """After an interruption: the passage whose end is not known, if one was going on."""
        if not self._interrupted:
            return None
        passage = self._missed_end() if self._lane is _Lane.OCCUPIED else None
        self._interrupted = False
        self._lane = _Lane.UNKNOWN
        self._speeds = _Speeds()
        self._gamma_background = None
        return passage

    def _enter(self) -> _Occupancy:
        if self._lane is not _Lane.OCCUPIED:
            self._now = self._opened()
            self._speeds = _Speeds()
            self._lane = _Lane.OCCUPIED
        return self._now

    def _opened(self) -> _Occupancy:
        return _Occupancy(
            start_seen=self._lane is _Lane.VACANT,
            gamma_background=self._gamma_background,
            follows_closely=not self._vacant_since_end,
            window=deque(maxlen=self._rhythm.window),
            speeds=self._speeds,
        )

    def _is_race(self, tag: str) -> bool:
        now = self._now
        early = now.start_seen and now.intervals <= self._rhythm.buffered + RACE_INTERVALS
        first = tag not in now.raced
        now.raced.add(tag)
        return early and first

    def _missed_end(self) -> Passage:
        now = self._now
        flags = () if now.start_seen else (PassageFlag.START_MISSED,)
        return self._passage(now, (*flags, PassageFlag.END_MISSED), None, None, None)

    def _passage(
        self,
        now: _Occupancy,
        flags: tuple[PassageFlag, ...],
        number: int | None,
        start_age_s: float | None,
        neutron_background: float | None,
    ) -> Passage:
        if now.neutron_max is None:
            flags = (*flags, PassageFlag.NEUTRON_MISSING)
        if now.speeds.clamped:
            flags = (*flags, PassageFlag.SPEED_CLAMPED)
        return Passage(
            number,
            start_age_s,
            None if number is None else 0.0,
            now.gamma_alarm,
            now.neutron_alarm,
            now.gamma_max,
            self._rhythm.gamma_basis,
            now.neutron_max,
            self._rhythm.neutron_basis,
            now.gamma_background,
            neutron_background,
            now.speeds.m_s,
            flags,
        )
