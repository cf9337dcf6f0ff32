"""Counts in sliding windows, and the integer thresholds that the background in force sets them."""

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from gateway.alarms.background import Background
from gateway.alarms.record import Facts
from gateway.alarms.statistics import (
    alpha_per_test,
    binomial_tail,
    binomial_threshold,
    k_equivalent,
)
from gateway.alarms.watcher import facts

SUSPICION_P: Final = 0.01
CLEAR_P: Final = 0.01
RISE_S: Final = 10.0
REFERENCE_S: Final = 60.0
RISE_FACTOR: Final = 1.5
RISE_P: Final = 1e-4
"""The rate of rise: by half or more in a minute, and improbable by counting statistics."""
_RISE_COUNTS: Final = 5
"""Even over none, 4 counts have a probability of (10 s / 70 s)⁴ = 4·10⁻⁴."""
_KEPT_S: Final = REFERENCE_S + 2 * RISE_S
_PACE_S: Final = 0.05
"""Own choice: sample times are taken up to the next 50 ms, as live times waver."""
_SHRINKS: Final = 0.7
"""Own choice: samples that are shorter by more have another sample time, not more dead time."""
_FINENESS: Final = 32
_MEDIAN: Final = 1.0 / 3.0
"""A Poisson mean of n - 1/3 gives n counts or more with probability one half, to 0.03 counts."""
_ROUNDING_S: Final = 1e-6


class Least(NamedTuple):
    """A window and the fewest counts in it that mean something.

    ``back`` is where it begins among running sums, counted from behind, where samples are steady.
    """

    window_s: float
    back: int
    least: int


class CountRun:
    """The counts of the last 80 s that came without a gap, summed over any newest part.

    While samples are steady, all of ``step_s``, windows are found without a search.
    """

    def __init__(self) -> None:
        self.expect(0.0)
        self.clear()

    def expect(self, step_s: float) -> None:
        """Samples are steady from now on while each has that time."""
        self.step_s = step_s
        self._steady = 0

    def clear(self) -> None:
        """What comes next does not continue what was."""
        self._counts = array("q", (0,))
        self._ends = array("d", (0.0,))
        self._steady = 0
        self._most = 64

    def add(self, counts: int, live_s: float) -> None:
        """The next sample."""
        self._counts.append(self._counts[-1] + counts)
        self._ends.append(self._ends[-1] + live_s)
        self._steady = self._steady + 1 if live_s == self.step_s else 0
        if len(self._ends) > self._most:
            self._trim()

    def newest(self, seconds: float) -> tuple[int, float]:
        """The counts of as many whole samples as ``seconds`` hold, and their live time."""
        begin = bisect_left(self._ends, self._ends[-1] - seconds - _ROUNDING_S)
        return self._counts[-1] - self._counts[begin], self._ends[-1] - self._ends[begin]

    def first_reached(self, limits: Sequence[Least]) -> int:
        """The place of the first window that holds its counts or more; -1: none does.

        A window that is not full yet holds too few, if anything.
        """
        counts = self._counts
        total = counts[-1]
        place = 0
        if self._steady + limits[-1].back >= -1:
            for _, back, least in limits:
                if total - counts[back] >= least:
                    return place
                place += 1
            return -1
        ends = self._ends
        end = ends[-1]
        for window_s, _, least in limits:
            begin = bisect_left(ends, end - window_s - _ROUNDING_S)
            if total - counts[begin] >= least:
                return place
            place += 1
        return -1

    def is_quiet(self, limits: "Limits") -> bool:
        """Whether no window is suspicious and the mean has not risen by half: nearly always."""
        how = limits.how
        if self._steady + how.reference_back < -1:
            return self.first_reached(limits.suspicious) < 0 and self.risen(how) is None
        counts = self._counts
        total = counts[-1]
        for _, back, least in limits.suspicious:
            if total - counts[back] >= least:
                return False
        middle = counts[how.rise_back]
        newest = total - middle
        return (
            newest < _RISE_COUNTS or newest < (middle - counts[how.reference_back]) * how.rise_ratio
        )

    def risen(self, how: "Plan") -> tuple[int, int] | None:
        """The newest counts and those before, if their mean has risen by half."""
        ends, counts = self._ends, self._counts
        if self._steady + how.reference_back >= -1:
            middle, first = counts[how.rise_back], counts[how.reference_back]
        else:
            begin_s = ends[-1] - how.rise_s - REFERENCE_S + _ROUNDING_S
            if begin_s < 0.0:
                return None
            middle = counts[bisect_left(ends, ends[-1] - how.rise_s - _ROUNDING_S)]
            first = counts[bisect_right(ends, begin_s) - 1]
        newest, before = counts[-1] - middle, middle - first
        return (newest, before) if newest >= how.rise_ratio * before else None

    def _trim(self) -> None:
        begin = max(0, bisect_right(self._ends, self._ends[-1] - _KEPT_S) - 1)
        end_s, counts = self._ends[begin], self._counts[begin]
        self._ends = array("d", (each - end_s for each in self._ends[begin:]))
        self._counts = array("q", (each - counts for each in self._counts[begin:]))
        self._most = 2 * len(self._ends) + 64


@dataclass(frozen=True, slots=True)
class Test:
    """One window against background counts at one level.

    ``copies``: each count may have been seen so often, and the counts are divided by it.
    """

    window_s: float
    background: int
    background_s: float
    alpha: float
    copies: int

    def least(self, alpha: float) -> int:
        """The fewest counts that are improbable at that level, or at its own if that is greater."""
        level = max(alpha, self.alpha)
        least = binomial_threshold(self.background, self.window_s, self.background_s, level)
        return least * self.copies

    def usual(self, live_s: float) -> float:
        """The counts of the background in so much time."""
        return self.background * live_s / self.background_s * self.copies

    @property
    def threshold(self) -> int:
        """The fewest counts that raise."""
        return self.least(self.alpha)

    def p_value(self, counts: int) -> float:
        """The probability of so many counts or more without a source."""
        q = self.window_s / (self.window_s + self.background_s)
        return binomial_tail(counts // self.copies, self.background, q)

    def statistic(self, counts: int) -> Facts:
        """What the record shows of the test."""
        p_value = self.p_value(counts)
        return facts(
            counts=counts,
            window_s=self.window_s,
            background_counts=self.background,
            background_live_s=self.background_s,
            copies=self.copies,
            threshold=self.threshold,
            p_value=p_value,
            k_equivalent=k_equivalent(p_value),
            alpha=self.alpha,
        )

    @property
    def smallest_rise(self) -> float:
        """In counts per second: what the next window finds with a probability of one half."""
        rate = self.background / self.background_s * self.copies
        return (self.threshold - _MEDIAN) / self.window_s - rate


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """How the samples of an instrument are tested: windows are whole numbers of samples.

    ``copies`` is 2 where a count may be seen twice (a polled counter that may repeat). There is one
    plan for one set of settings: it is known by its identity.
    """

    pace_s: float
    windows_s: tuple[float, ...]
    alphas: tuple[float, ...]
    rise_s: float
    rise_alpha: float
    rise_ratio: float
    rise_back: int
    reference_back: int
    copies: int

    def fits(self, live_s: float) -> bool:
        """Whether samples so long are those it was made for."""
        return _SHRINKS * self.pace_s <= live_s <= self.pace_s + _ROUNDING_S

    def test(self, window_s: float, alpha: float, counts: int, live_s: float) -> Test:
        """A window against ``counts`` in ``live_s``, as many copies as it may hold taken out.

        One sample alone holds no copies: it is tested whole, against half the background.
        """
        single = counts if self.copies == 1 else (counts + 1) // 2
        if self.copies > 1 and window_s <= self.pace_s + _ROUNDING_S:
            return Test(window_s, single, live_s / 2, alpha, 1)
        return Test(window_s, single, live_s, alpha, self.copies)

    def rise(self, before: int) -> Test:
        """The rate of rise over so many counts in the reference time."""
        return self.test(self.rise_s, self.rise_alpha, before, REFERENCE_S)

    def is_improbable(self, newest: int, before: int) -> bool:
        """Whether so great a rise is no chance."""
        return newest >= _RISE_COUNTS and newest >= self.rise(before).threshold

    def least(self, tests: Sequence[Test], alpha: float) -> tuple[Least, ...]:
        """The fewest counts of each window that are improbable at that level or at its own."""
        return tuple(
            Least(test.window_s, _back(test.window_s, self.pace_s), test.least(alpha))
            for test in tests
        )


def _back(seconds: float, pace_s: float) -> int:
    return -1 - math.ceil(seconds / pace_s - _ROUNDING_S)


@lru_cache(maxsize=256)
def plan(windows_s: tuple[float, ...], step_s: float, share_per_hour: float, copies: int) -> Plan:
    """For samples of ``step_s``: all tests share evenly what the channel may spend in an hour."""
    pace_s = math.ceil(step_s / _PACE_S - _ROUNDING_S) * _PACE_S
    if pace_s - step_s < _ROUNDING_S:
        pace_s = step_s
    lengths = sorted({max(1, round(window_s / pace_s)) for window_s in windows_s})
    windows = tuple(length * pace_s for length in lengths)
    rise_s = max(1, round(RISE_S / pace_s)) * pace_s
    share = share_per_hour / (len(windows) + 1)
    return Plan(
        pace_s,
        windows,
        tuple(alpha_per_test(share, window_s, step_s) for window_s in windows),
        rise_s,
        min(RISE_P, alpha_per_test(share, rise_s, step_s)),
        RISE_FACTOR * rise_s / REFERENCE_S,
        _back(rise_s, pace_s),
        _back(rise_s + REFERENCE_S, pace_s),
        copies,
    )


@dataclass(frozen=True, slots=True)
class Limits:
    """The tests against one background, as the fewest counts of each window.

    ``suspicious``: all windows together reach them with 1 % of probability at most. ``unclear``:
    each by itself does. ``told``: the threshold of each window, and the least rise that each finds,
    and all of them.
    """

    how: Plan
    tests: tuple[Test, ...]
    raising: tuple[Least, ...]
    suspicious: tuple[Least, ...]
    unclear: tuple[Least, ...]
    told: Facts


def limits_for(how: Plan, background: Background) -> Limits:
    """The limits for a background, its counts taken up to a sixteenth of their deviation.

    That is on the safe side, and leaves so few different numbers that thresholds made once serve
    again and again: the root of the counts is taken up to the next 1/32. Time is taken down to
    whole seconds.
    """
    root = math.ceil(_FINENESS * math.sqrt(background.counts)) / _FINENESS
    live_s = float(max(1, math.floor(background.live_s + _ROUNDING_S)))
    return _limits(how, math.floor(root * root), live_s)


@lru_cache(maxsize=2048)
def _limits(how: Plan, counts: int, live_s: float) -> Limits:
    tests = tuple(
        how.test(window_s, alpha, counts, live_s)
        for window_s, alpha in zip(how.windows_s, how.alphas, strict=True)
    )
    return Limits(
        how,
        tests,
        how.least(tests, 0.0),
        how.least(tests, SUSPICION_P / len(tests)),
        how.least(tests, CLEAR_P),
        _told(tests),
    )


def _told(tests: Sequence[Test]) -> Facts:
    each = [
        fact
        for test in tests
        for fact in (
            (f"threshold_{test.window_s:g}s", test.threshold),
            (f"smallest_rise_{test.window_s:g}s", test.smallest_rise),
        )
    ]
    least = min(test.smallest_rise for test in tests)
    return (*each, *facts(smallest_rise=least, smallest_unit="1/s"))
