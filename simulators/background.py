"""The natural field over time: a level that changes, and rain. Integrals are exact."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from config.scenario import BackgroundChange, Rain

Corner = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Course:
    """A value that runs straight between corners (time, value), constant before and after."""

    corners: tuple[Corner, ...]

    def at(self, time_s: float) -> float:
        """The value at a time; at a step, the one after it."""
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
        inner = sorted({time for time, _ in self.corners if from_s < time < to_s})
        times = [from_s, *inner, to_s]
        return sum((end - start) * self.at((start + end) / 2) for start, end in pairwise(times))

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


@dataclass(slots=True)
class Natural:
    """Background dose rate in µSv/h of one detector."""

    course: Course
    rains: Sequence[Rain] = field(default_factory=list)

    def at(self, time_s: float) -> float:
        """The dose rate at a time."""
        return self.course.at(time_s) + sum(_rain(rain, time_s) for rain in self.rains)

    def integral(self, from_s: float, to_s: float) -> float:
        """µSv/h times seconds, exactly."""
        rained = sum(_rained(rain, to_s) - _rained(rain, from_s) for rain in self.rains)
        return self.course.integral(from_s, to_s) + rained

    def peak(self, from_s: float, to_s: float) -> float:
        """An upper bound within an interval."""
        return self.course.peak(from_s, to_s) + sum(rain.rise for rain in self.rains)


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
