"""The natural field over time: a level that changes, rain, zones, drift. Integrals are exact."""

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from config.scenario_world import BackgroundChange, Pressure, Rain, Surroundings
from simulators.wander import GRID_S, Wander

Corner = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Course:
    """A value that runs straight between corners (time, value), constant before and after."""

    corners: tuple[Corner, ...]

    def at(self, time_s: float) -> float:
        """The value at a time; at a step, the one after it."""
        if len(self.corners) == 1:
            return self.corners[0][1]
        value = self.corners[0][1]
        for (start, low), (end, high) in pairwise(self.corners):
            if start <= time_s < end:
                return low + (high - low) * (time_s - start) / (end - start)
        for time, corner in self.corners:
            if time <= time_s:
                value = corner
        return value

    def integral(self, from_s: float, to_s: float) -> float:
        """Value times seconds, exactly."""
        if len(self.corners) == 1:
            return self.corners[0][1] * (to_s - from_s)
        inner = sorted({time for time, _ in self.corners if from_s < time < to_s})
        times = [from_s, *inner, to_s]
        return sum((end - start) * self.at((start + end) / 2) for start, end in pairwise(times))

    def is_flat(self, from_s: float, to_s: float) -> bool:
        """Whether it is the same all through an interval."""
        if len(self.corners) == 1:
            return True
        inside = any(from_s < time < to_s for time, _ in self.corners)
        return not inside and self.at(from_s) == self.at((from_s + to_s) / 2)

    def peak(self, from_s: float, to_s: float) -> float:
        """The largest value within an interval."""
        inner = [value for time, value in self.corners if from_s <= time <= to_s]
        return max(self.at(from_s), self.at(to_s), *inner)


def course_of(level: float, changes: Iterable[BackgroundChange]) -> Course:
    """The level with its changes, each starting from what was then."""
    corners: tuple[Corner, ...] = ((0.0, level),)
    for change in sorted(changes, key=lambda each: each.at_s):
        before = Course(corners).at(change.at_s)
        kept = tuple(corner for corner in corners if corner[0] < change.at_s)
        end = change.at_s + change.over_s
        corners = (*kept, (change.at_s, before), (end, change.dose_rate))
    return Course(corners)


@dataclass(frozen=True, slots=True)
class Exponential:
    """exp of a course."""

    course: Course

    def integral(self, from_s: float, to_s: float) -> float:
        """Value times seconds, exactly."""
        inner = sorted({time for time, _ in self.course.corners if from_s < time < to_s})
        return sum(self._straight(*span) for span in pairwise((from_s, *inner, to_s)))

    def _straight(self, from_s: float, to_s: float) -> float:
        middle = self.course.at((from_s + to_s) / 2)
        half = middle - self.course.at(from_s)  # the course is straight in between
        shape = math.sinh(half) / half if half else 1.0
        return math.exp(middle) * shape * (to_s - from_s)


def pressed(corners: Sequence[Pressure], world: Surroundings) -> Course | Exponential:
    """Factor of the neutron background over time, as air pressure drives it."""
    factors = tuple((each.t, each.factor) for each in corners if each.factor is not None)
    if factors or not corners:
        return Course(factors or ((0.0, 1.0),))
    fall, usual = world.neutrons_per_hpa or 0.0, world.reference_hpa
    courses = tuple((each.t, fall * (usual - (each.hpa or usual))) for each in corners)
    return Exponential(Course(courses))


@dataclass(frozen=True, slots=True)
class Steps:
    """A factor that jumps: ``values[n]`` holds from ``times[n]`` on, the first one before too."""

    times: tuple[float, ...] = (0.0,)
    values: tuple[float, ...] = (1.0,)

    @property
    def is_one(self) -> bool:
        """Whether it changes nothing."""
        return len(self.values) == 1 and self.values[0] == 1.0

    def at(self, time_s: float) -> float:
        """The factor at a time."""
        return self.values[max(bisect_right(self.times, time_s) - 1, 0)]

    def pieces(self, from_s: float, to_s: float) -> Iterator[tuple[float, float, float]]:
        """The interval in pieces: from, to, factor."""
        inner = [time for time in self.times if from_s < time < to_s]
        for start, end in pairwise((from_s, *inner, to_s)):
            yield start, end, self.at(start)

    def peak(self, from_s: float, to_s: float) -> float:
        """The largest factor within an interval."""
        return max(factor for _, _, factor in self.pieces(from_s, to_s))


@dataclass(slots=True)
class Natural:
    """Background dose rate in µSv/h of one detector: the site's, where it is, as it wanders."""

    course: Course
    rains: Sequence[Rain] = field(default_factory=list)
    zones: Steps = Steps()
    wander: Wander | None = None
    _level: float | None = None

    def __post_init__(self) -> None:
        """A level that only rain changes is worked out once."""
        if len(self.course.corners) == 1 and self.zones.is_one and self.wander is None:
            self._level = self.course.corners[0][1]

    @property
    def is_constant(self) -> bool:
        """Whether it is the same at all times."""
        steady = len(self.course.corners) == 1 and not self.rains
        return steady and len(self.zones.values) == 1 and self.wander is None

    def at(self, time_s: float) -> float:
        """The dose rate at a time."""
        if self._level is not None and not self.rains:
            return self._level
        factor = self.zones.at(time_s)
        if self.wander is not None:
            factor *= self.wander.at(time_s)
        return factor * self._site(time_s)

    def integral(self, from_s: float, to_s: float) -> float:
        """µSv/h times seconds, exactly."""
        if self._level is not None and not self.rains:
            return self._level * (to_s - from_s)
        if self.zones.is_one:
            return self._wandered(from_s, to_s)
        return sum(
            factor * self._wandered(start, end)
            for start, end, factor in self.zones.pieces(from_s, to_s)
        )

    def peak(self, from_s: float, to_s: float) -> float:
        """An upper bound within an interval."""
        if self._level is not None and not self.rains:
            return self._level
        site = self.course.peak(from_s, to_s) + sum(rain.rise for rain in self.rains)
        if self.wander is not None:
            site *= self.wander.peak(from_s, to_s)
        return site * self.zones.peak(from_s, to_s)

    def _site(self, time_s: float) -> float:
        return self.course.at(time_s) + sum(_rain(rain, time_s) for rain in self.rains)

    def _site_integral(self, from_s: float, to_s: float) -> float:
        total = self.course.integral(from_s, to_s)
        for rain in self.rains:
            total += _rained(rain, to_s) - _rained(rain, from_s)
        return total

    def _wandered(self, from_s: float, to_s: float) -> float:
        wander = self.wander
        if wander is None:
            return self._site_integral(from_s, to_s)
        if len(self.course.corners) == 1 and not self.rains:
            return self.course.corners[0][1] * wander.integral(from_s, to_s)
        edges = [
            index * GRID_S for index in range(math.ceil(from_s / GRID_S), math.ceil(to_s / GRID_S))
        ]
        times = [from_s, *(edge for edge in edges if from_s < edge < to_s), to_s]
        return sum(
            wander.at((start + end) / 2) * self._site_integral(start, end)
            for start, end in pairwise(times)
        )


def _rain(rain: Rain, time_s: float) -> float:
    since = time_s - rain.at_s
    if since <= 0:
        return 0.0
    if since < rain.rise_s:
        return rain.rise * since / rain.rise_s
    return float(rain.rise * 2 ** (-(since - rain.rise_s) / rain.half_life_s))


def _rained(rain: Rain, time_s: float) -> float:
    """Integral from the first drop."""
    since = time_s - rain.at_s
    if since <= 0:
        return 0.0
    rising = min(since, rain.rise_s)
    total = rain.rise * rising**2 / (2 * rain.rise_s)
    decaying = max(since - rain.rise_s, 0.0)
    scale = rain.half_life_s / math.log(2)
    return total + rain.rise * scale * -math.expm1(-decaying / scale)
