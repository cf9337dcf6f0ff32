"""Neutron counts for N1: sliding windows, the background they are judged against, bursts."""

import heapq
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

WINDOWS_S: Final = (1.0, 2.0, 5.0, 20.0, 60.0)
"""2 s for the walking pass, where the sequence test leaves nothing to a window of one sample."""
BACKGROUND_S: Final = 1800.0
"""Own choice: 90 counts at 0.05/s, so that the background's own error costs little."""
LONGEST_BLOCK_S: Final = BACKGROUND_S / 10
ARMED_S: Final = 60.0
GUARD_S: Final = WINDOWS_S[-1]
"""Own choice: learned is what no window holds any more; a longer gap only lengthens the wait."""
FIRST_GUARD_S: Final = 5.0
"""Until armed: the usual least gap. Longer windows overlap it then, which can only hide an excess;
in return a minute is enough to arm."""
SUBSECOND_S: Final = 0.9
"""Own choice: intervals of one second, less dead time, are not sub-second ones."""
BURST_EVERY_S: Final = 20.0
"""Own choice: one interval may be a burst in each begun 20 s of a window, so three in a minute."""
LARGEST_SHARE: Final = {True: 0.5, False: 0.6}
LEAST_INTERVALS: Final = {True: 3, False: 2}
"""What one interval may hold of a window's counts, and how many intervals there must be, by whether
they are shorter than a second. Own choices after the TSA sequence test."""
NEVER: Final = 1 << 62
_ROUNDING_S: Final = 1e-6

Interval = tuple[int, float]
"""Counts and live time."""


@dataclass(slots=True)
class Window:
    """It holds the newest intervals that fit; ``first`` is the running sum before them."""

    seconds: float
    first: int = 0
    alpha: float = 0.0
    raise_at: int = NEVER
    suspect_at: int = NEVER


class Run:
    """Counts without a gap, as running sums over which all windows slide."""

    def __init__(self) -> None:
        self.windows = tuple(Window(seconds) for seconds in WINDOWS_S)
        self.clear()

    def clear(self) -> None:
        """What comes next does not continue what was."""
        self._ends = [0.0]
        self._sums = [0]
        self._limit = 1024
        for window in self.windows:
            window.first = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing has come since the last gap."""
        return len(self._ends) == 1

    def add(self, counts: int, live_s: float) -> None:
        """The next interval."""
        ends, sums = self._ends, self._sums
        ends.append(ends[-1] + live_s)
        sums.append(sums[-1] + counts)
        if len(ends) > self._limit:
            self._trim()

    def suspects(self) -> list[Window]:
        """The windows, now slid to the newest sample, that hold a suspicious number of counts."""
        ends, sums = self._ends, self._sums
        total, now = sums[-1], ends[-1] - _ROUNDING_S
        found = []
        for window in self.windows:
            first, begin = window.first, now - window.seconds
            while ends[first] < begin:
                first += 1
            window.first = first
            if total - sums[first] >= window.suspect_at:
                found.append(window)
        return found

    def counts(self, window: Window) -> int:
        """What that window held when they were slid."""
        return self._sums[-1] - self._sums[window.first]

    def live_s(self, window: Window) -> float:
        """Over what time it has counted."""
        return self._ends[-1] - self._ends[window.first]

    def intervals(self, window: Window) -> list[Interval]:
        """What it is made of."""
        ends, sums = self._ends, self._sums
        steps = range(window.first + 1, len(ends))
        return [(sums[k] - sums[k - 1], ends[k] - ends[k - 1]) for k in steps]

    def _trim(self) -> None:
        self.suspects()
        done = self.windows[-1].first
        del self._ends[:done], self._sums[:done]
        self._limit = len(self._ends) + 1024
        for window in self.windows:
            window.first -= done


class Background:
    """Counts of the last half hour that no window holds any more, renewed a block at a time."""

    def __init__(self) -> None:
        self.counts = 0
        self.live_s = 0.0
        self._blocks: deque[Interval] = deque()
        self._fresh: Interval = (0, 0.0)
        self._waiting: deque[Interval] = deque()
        self._waiting_s = 0.0

    @property
    def is_enough(self) -> bool:
        """Whether windows may be judged against it."""
        return self.live_s >= ARMED_S - _ROUNDING_S

    @property
    def learned_s(self) -> float:
        """The time it covers, with what is not in force yet."""
        return self.live_s + self._fresh[1]

    def expected(self, live_s: float) -> float:
        """The counts of that time; only where it is enough."""
        return self.counts / self.live_s * live_s

    def reset(self, counts: int, live_s: float) -> None:
        """This is the background from now on."""
        self.counts, self.live_s = counts, live_s
        # In blocks, so that it is forgotten bit by bit.
        n = max(1, math.ceil(live_s / LONGEST_BLOCK_S))
        bounds = [counts * k // n for k in range(n + 1)]
        self._blocks = deque((last - first, live_s / n) for first, last in pairwise(bounds))
        self._fresh = (0, 0.0)
        self.forget_recent()

    def forget_recent(self) -> None:
        """What still waits to be learned belongs to an alarm."""
        self._waiting.clear()
        self._waiting_s = 0.0

    def learn(self, counts: int, live_s: float, *, suspect: bool) -> bool:
        """An interval, learned once it is old enough; whether the background is another now.

        While the windows are ``suspect`` nothing is learned. What is left out then is older than
        they are, so chance suspicion does not bias the background.
        """
        waiting = self._waiting
        waiting.append((counts, live_s))
        self._waiting_s += live_s
        delay_s = GUARD_S if self.live_s else FIRST_GUARD_S
        while self._waiting_s - waiting[0][1] >= delay_s - _ROUNDING_S:
            counts, live_s = waiting.popleft()
            self._waiting_s -= live_s
            if not suspect:
                self._fresh = (self._fresh[0] + counts, self._fresh[1] + live_s)
        # Each renewal costs thresholds, and a background is no worse for being a little older.
        if self._fresh[1] < min(max(ARMED_S, self.live_s / 10), LONGEST_BLOCK_S) - _ROUNDING_S:
            return False
        self._renew()
        return True

    def _renew(self) -> None:
        self._blocks.append(self._fresh)
        self._fresh = (0, 0.0)
        while (
            sum(live for _, live in self._blocks) - self._blocks[0][1] > BACKGROUND_S - _ROUNDING_S
        ):
            self._blocks.popleft()
        self.counts = sum(counts for counts, _ in self._blocks)
        self.live_s = math.fsum(live for _, live in self._blocks)


def is_in_sequence(intervals: Sequence[Interval], background: Background) -> bool:
    """Whether the counts of a window are spread over its intervals as those of a source are.

    Of intervals shorter than a second at least three must hold counts, of longer ones two in a row
    more than the background; no single one may hold most.
    """
    counts = [counts for counts, _ in intervals]
    is_fine = math.fsum(live for _, live in intervals) < SUBSECOND_S * len(intervals)
    if max(counts) > LARGEST_SHARE[is_fine] * sum(counts):
        return False
    if is_fine:
        return sum(each > 0 for each in counts) >= LEAST_INTERVALS[is_fine]
    above = [counts > background.expected(live) for counts, live in intervals]
    return any(first and second for first, second in pairwise(above))


def without_bursts(intervals: Sequence[Interval], copies: int = 1) -> Interval:
    """What is left of a window without what may have been bursts, each seen ``copies`` times."""
    live_s = math.fsum(live for _, live in intervals)
    bursts = max(1, math.ceil(live_s / BURST_EVERY_S - _ROUNDING_S))
    largest = heapq.nlargest(copies * bursts, intervals)
    return (
        sum(counts for counts, _ in intervals) - sum(counts for counts, _ in largest),
        live_s - math.fsum(live for _, live in largest),
    )
