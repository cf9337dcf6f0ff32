"""The background along the way of a moving detector: a wandering mean and how far it strays.

Not Poisson: on the road the rate wanders by several per cent within seconds. So the deviation of
each window length is learned from the residuals that windows of that very length have left
against the mean. Both are exponentially weighted.
"""

import math
from collections.abc import Sequence
from typing import Final

WINDOWS_S: Final = (1.0, 2.0, 4.0)
"""From a drive-by, above half its maximum for about a second, to a slow walk past."""
GUARD_S: Final = 5.0
"""The least gap between a window and the background it is compared with, as for a static test."""
ASSUMED: Final = 0.1
"""Own choice: deviation relative to a mean that was accepted before deviations were learned. It is
above the 6 % of the simulated road."""
SUSPICIOUS: Final = 3.5
"""Deviations; own choice. In the simulations 0.2 % of all samples are above, without a source."""
LAG_S: Final = WINDOWS_S[-1] + GUARD_S
_KEPT: Final = 256
_MOST: Final = SUSPICIOUS * SUSPICIOUS


class Window:
    """The newest counts over about ``seconds``: the ``residual`` of their rate against the mean,
    the ``variance`` that was learned of such residuals, and ``spread``: that, or the variance of
    counting where it is larger.
    """

    __slots__ = ("is_full", "residual", "seconds", "span_s", "spread", "start", "variance")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.variance = 0.0
        self.begin()

    def begin(self) -> None:
        """Its counts are forgotten, its variance is not."""
        self.start = 0
        self.is_full = False
        self.span_s = self.residual = self.spread = 0.0


class Course:
    """What has been counted lately and what was learned of the background before that.

    ``mean_s`` and ``deviation_s`` are the time constants of the mean and of the variances. ``rate``
    (1/s) is None until something is learned; ``learned_s`` is how much.
    """

    def __init__(self, mean_s: float, deviation_s: float) -> None:
        self.windows = tuple(Window(seconds) for seconds in WINDOWS_S)
        self.rate: float | None = None
        self.limit = math.inf
        """The mean is never learned to be above it."""
        self.learned_s = 0.0
        self._mean_s = mean_s
        self._deviation_s = deviation_s
        self._least_rate = 1.0 / mean_s
        self.interrupt()

    def interrupt(self) -> None:
        """What comes next does not continue what was; what was learned stays."""
        self._counts, self._live = [0], [0.0]
        self._late = 0
        self._learn_from_s = 0.0
        for window in self.windows:
            window.begin()

    def forget(self) -> None:
        """Nothing is learned any more, and what has been counted will not be."""
        self.rate, self.learned_s = None, 0.0
        self._learn_from_s = self._live[-1]
        for window in self.windows:
            window.variance = 0.0

    def know(self, rate: float, variances: Sequence[float], learned_s: float) -> None:
        """This is the background."""
        self.rate, self.learned_s = rate, learned_s
        self._learn_from_s = self._live[-1]
        for window, variance in zip(self.windows, variances, strict=True):
            window.variance = variance

    def accept(self, rate: float, learned_s: float) -> None:
        """This is the background, which wanders relatively as much as the one before."""
        before = self.rate
        if before is None or before <= 0:
            variances = [(ASSUMED * rate) ** 2 for _ in self.windows]
        else:
            variances = [window.variance * (rate / before) ** 2 for window in self.windows]
        self.know(rate, variances, max(self.learned_s, learned_s))

    def present(self) -> float | None:
        """The rate over the last seconds, learned or not."""
        span_s = self._live[-1] - self._live[self._late]
        return (self._counts[-1] - self._counts[self._late]) / span_s if span_s else None

    def counts(self, window: Window) -> int:
        """The counts of that window."""
        return self._counts[-1] - self._counts[window.start]

    def deviation(self, window: Window) -> float:
        """By how much the rate of such a window strays; never less than by counting."""
        counting = max(self.rate or 0.0, self._least_rate) / (window.span_s or window.seconds)
        return math.sqrt(max(window.variance, counting))

    def add(self, counts: int, live_s: float) -> float:
        """One more sample; the largest rise of a full window above the mean, as its square in
        deviations. 0 where none is above it, or no mean is known."""
        totals, live, rate = self._counts, self._live, self.rate
        total, newest = totals[-1] + counts, live[-1] + live_s
        totals.append(total)
        live.append(newest)
        largest, known = 0.0, self._least_rate
        if rate is not None and rate > known:
            known = rate
        for window in self.windows:
            seconds, start = window.seconds, window.start
            # To half a sample, as live times waver.
            least_s = seconds - live_s / 2 if live_s < seconds else seconds / 2
            while newest - live[start + 1] >= least_s:
                start += 1
            window.start = start
            window.span_s = span_s = newest - live[start]
            if span_s < least_s or rate is None:
                window.is_full = False
                continue
            window.is_full = True
            window.residual = residual = (total - totals[start]) / span_s - rate
            spread, counting = window.variance, known / span_s
            window.spread = spread = spread if spread > counting else counting
            if residual > 0 and residual * residual > largest * spread:
                largest = residual * residual / spread
        return largest

    def learn(self, live_s: float, *, bounded: bool) -> None:
        """The newest sample is background: its residuals at once, its rate after the gap.

        ``bounded``: a residual counts for no more than what is suspicious. At its limit the mean
        does not follow, so residuals say nothing of how the background strays.
        """
        if self.rate is not None and self.rate < self.limit:
            gain = live_s / min(self.learned_s + live_s, self._deviation_s)
            for window in self.windows:
                if not window.is_full:
                    continue
                square = window.residual * window.residual
                if bounded and square > _MOST * window.spread:
                    square = _MOST * window.spread
                window.variance += gain * (square - window.variance)
        self.follow()

    def skip(self) -> None:
        """The newest sample is no background, nor is what came shortly before it."""
        self._learn_from_s = self._live[-1]
        self.follow()

    def follow(self) -> None:
        """The mean takes in what is older than the gap; the newest residuals are not learned."""
        live, late = self._live, self._late
        newest = live[-1]
        while newest - live[late + 1] >= LAG_S:
            if live[late] >= self._learn_from_s:
                self._take(self._counts[late + 1] - self._counts[late], live[late + 1] - live[late])
            late += 1
        self._late = late
        if late > _KEPT:
            self._trim()

    def _take(self, counts: int, live_s: float) -> None:
        self.learned_s += live_s
        rate = self.rate
        if rate is None:
            self.rate = counts / live_s
            return
        gain = live_s / min(self.learned_s, self._mean_s)
        self.rate = min(rate + gain * (counts / live_s - rate), self.limit)

    def _trim(self) -> None:
        """Cut off what no window and no lesson reaches any more."""
        late = self._late
        del self._counts[:late]
        del self._live[:late]
        self._late = 0
        for window in self.windows:
            window.start -= late
