"""The surveyed baseline of a place: measured once when somebody asks for it, then frozen.

Where an instrument gives counts the baseline is a count rate, else a dose rate with the noise that
was seen. Times in s, rates in 1/s or µSv/h.
"""

import math
from collections import deque
from dataclasses import asdict, dataclass, replace
from statistics import NormalDist
from typing import Any, Final

from drivers.units import BASE, Dimension
from gateway.alarms.statistics import (
    MAX_SLIDING_FACTOR,
    alpha_per_test,
    poisson_tail,
    poisson_threshold,
)
from gateway.alarms.usability import Seen, Usability
from gateway.alarms.watcher import Sampled
from gateway.values import Instant

COUNT_RATE: Final = BASE[Dimension.RATE]
DOSE_RATE: Final = BASE[Dimension.DOSE_EQUIVALENT_RATE]
COUNT_WINDOWS_S: Final = (5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0)
DOSE_WINDOWS_S: Final = (30.0, 60.0, 120.0, 300.0)
"""Windows to choose from; own choice."""
TIME_CONSTANTS: Final = 10.0
"""A mean of dose rates covers at least so many time constants of the instrument; own choice."""
BASELINE_SIGMA: Final = 3.0
"""Counts are tested against the baseline and so many of its own standard deviations; own choice."""
NOISE_SIGMA: Final = 3.0
"""Margin of a mean of dose rates above the ratio, in its standard deviations; own choice."""
NOISE_FLOOR: Final = 0.1
"""Least noise of a dose rate, as a part of it; own choice, as displays hide what is less."""
IMPLAUSIBLE: Final = 3.0
"""So many times the usual background of its class is not believed; own choice."""
OVERLAP: Final = 0.8
"""A count that comes earlier, in its own live times, shares time with the one before."""
BLOCKS: Final = int(MAX_SLIDING_FACTOR)
_NORMAL: Final = NormalDist()
_ROUNDING_S: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Baseline:
    """A place's ``rate`` in ``unit`` with its standard ``error``, measured for ``live_s``.

    It was complete ``at``, one input covering ``step_s``, and holds ``until`` (monotonic clock).
    ``copies`` is 2 where counts may have been seen twice. ``noise`` is the standard deviation of
    one dose rate, averaged over ``smoothing_s``; ``usv_h`` the dose rate beside a count rate.
    """

    rate: float
    unit: str
    error: float
    live_s: float
    step_s: float
    at: Instant
    until: float
    user: str
    reason: str
    copies: int = 1
    noise: float = 0.0
    smoothing_s: float = 0.0
    usv_h: float | None = None

    @property
    def is_counts(self) -> bool:
        """Whether it is a count rate, fit for exact statistics."""
        return self.unit == COUNT_RATE

    @property
    def expected_rate(self) -> float:
        """What counts are tested against: its own uncertainty is added to it."""
        return self.rate + BASELINE_SIGMA * self.error if self.is_counts else self.rate

    def deviation(self, window_s: float) -> float:
        """Standard deviation of the difference of a mean dose rate to the baseline, at rest.

        A first-order filter leaves 2τ/T of the variance in a mean over T (T well above τ).
        """
        part = min(1.0, 2.0 * self.smoothing_s / window_s)
        return math.hypot(self.noise * math.sqrt(part), self.error)

    def saved(self, now: float) -> dict[str, Any]:
        """As JSON, with the time that is left of it."""
        told = asdict(self)
        del told["until"]
        return {**told, "at": self.at.wall, "left_s": self.until - now}


def restored(saved: dict[str, Any], age_s: float, now: Instant) -> Baseline | None:
    """The baseline as it was saved ``age_s`` ago; None if it has expired."""
    told = dict(saved)
    left_s = float(told.pop("left_s")) - max(age_s, 0.0)
    at = Instant(float(told.pop("at")), now.mono)
    return None if left_s <= 0 else Baseline(at=at, until=now.mono + left_s, **told)


@dataclass(frozen=True, slots=True)
class Trial:
    """How means over ``window_s`` are tested: from ``raise_rate`` on, at the level ``alpha``."""

    window_s: float
    alpha: float
    raise_rate: float
    clear_rate: float


def trial(
    baseline: Baseline, ratio: float, ratio_clear: float, share_per_hour: float
) -> Trial | None:
    """The shortest window whose noise keeps the budget; None where none does."""
    choose = _by_counts if baseline.is_counts else _by_dose_rate
    for window_s in _windows(baseline):
        inputs = math.ceil(window_s / BLOCKS / baseline.step_s - _ROUNDING_S)
        step_s = max(inputs, 1) * baseline.step_s
        alpha = alpha_per_test(share_per_hour, window_s, step_s)
        raise_rate = choose(baseline, ratio, window_s, alpha)
        if raise_rate is not None:
            return Trial(window_s, alpha, raise_rate, ratio_clear * baseline.rate)
    return None


def _windows(baseline: Baseline) -> tuple[float, ...]:
    least_s = baseline.step_s
    if baseline.is_counts:
        return tuple(window_s for window_s in COUNT_WINDOWS_S if window_s >= least_s)
    least_s = max(least_s, DOSE_WINDOWS_S[0], TIME_CONSTANTS * baseline.smoothing_s)
    return (least_s, *(window_s for window_s in DOSE_WINDOWS_S if window_s > least_s))


def _by_counts(baseline: Baseline, ratio: float, window_s: float, alpha: float) -> float | None:
    copies = baseline.copies
    threshold = poisson_threshold(baseline.expected_rate * window_s / copies, alpha)
    raise_rate = ratio * baseline.rate
    return raise_rate if raise_rate * window_s / copies >= threshold else None


def _by_dose_rate(baseline: Baseline, ratio: float, window_s: float, alpha: float) -> float | None:
    deviation = baseline.deviation(window_s)
    raise_rate = ratio * baseline.rate + NOISE_SIGMA * deviation
    return raise_rate if raise_rate - baseline.rate >= sigmas(alpha) * deviation else None


def is_significant(baseline: Baseline, alpha: float, mean: float, seconds: float) -> bool:
    """Whether such a mean over so many seconds is no noise at the level ``alpha``."""
    if not baseline.is_counts:
        return mean - baseline.rate >= sigmas(alpha) * baseline.deviation(seconds)
    expected = round(baseline.expected_rate * seconds / baseline.copies, 6)
    return round(mean * seconds) // baseline.copies >= poisson_threshold(expected, alpha)


def probability(baseline: Baseline, mean: float, seconds: float) -> tuple[float, float]:
    """The tail of such a mean, and how many standard deviations are as rare."""
    if not baseline.is_counts:
        k = (mean - baseline.rate) / baseline.deviation(seconds)
        return _NORMAL.cdf(-k), k
    copies = baseline.copies
    expected = baseline.expected_rate * seconds / copies
    tail = poisson_tail(round(mean * seconds) // copies, expected)
    return tail, sigmas(tail)


def sigmas(tail: float) -> float:
    """The Gaussian equivalent of an upper tail; it ends at 38, where numbers do."""
    return -_NORMAL.inv_cdf(min(max(tail, 1e-300), 1 - 1e-16))


class Blocks:
    """A sum over the last ``window_s``, kept and moved on in twelfths of it.

    ``block`` is the newest twelfth, its amount and its seconds.
    """

    def __init__(self, window_s: float) -> None:
        self.window_s = window_s
        self.amount = 0.0
        self.seconds = 0.0
        self.block = (0.0, 0.0)
        self._step_s = window_s / BLOCKS - _ROUNDING_S
        self._blocks: deque[tuple[float, float]] = deque()
        self._amount = 0.0
        self._seconds = 0.0

    @property
    def is_full(self) -> bool:
        """Whether all of the window was measured."""
        return self.seconds >= self.window_s - _ROUNDING_S

    @property
    def mean(self) -> float:
        """Amount per second of what was measured."""
        return self.amount / self.seconds

    def add(self, amount: float, seconds: float) -> bool:
        """Whether the window has moved on with this."""
        self._amount += amount
        self._seconds += seconds
        if self._seconds < self._step_s:
            return False
        self.block = block = (self._amount, self._seconds)
        self._amount = self._seconds = 0.0
        blocks = self._blocks
        blocks.append(block)
        self.amount += block[0]
        self.seconds += block[1]
        while self.seconds - blocks[0][1] >= self.window_s - _ROUNDING_S:
            old = blocks.popleft()
            self.amount -= old[0]
            self.seconds -= old[1]
        return True

    def clear(self) -> None:
        """Forget everything: what comes next does not continue what was."""
        self._blocks.clear()
        self.amount = self.seconds = self._amount = self._seconds = 0.0


class Feed:
    """What each sample adds: ``amount`` in ``seconds``, counts or a dose rate times its time.

    ``is_gap``: it does not continue the one before.
    """

    def __init__(self, *, by_counts: bool, gap_s: float) -> None:
        self.amount = 0.0
        self.seconds = 0.0
        self.is_gap = True
        self._gap_s = gap_s
        self._at: float | None = None
        self.take = self._counts if by_counts else self._dose_rate

    def _counts(self, sampled: Sampled) -> Usability | None:
        gamma = sampled.gamma
        if gamma is None:
            return None
        use, live_s, measured = gamma.use, gamma.live_s, sampled.measured
        if use is Usability.NOT or (sampled.blind and not gamma.counts):
            return Usability.NOT
        at, last = measured.at.mono, self._at
        if last is None:
            self.is_gap = True
        else:
            passed = at - last
            if passed < (_ROUNDING_S if gamma.independent else OVERLAP * live_s):
                return None
            self.is_gap = passed > self._gap_s and passed > 3.0 * live_s
        self._at = at
        self.amount, self.seconds = gamma.counts, live_s
        if sampled.blind or measured.arrived.mono - at > self._gap_s:
            return Usability.RAISES_ONLY
        return use

    def _dose_rate(self, sampled: Sampled) -> Usability | None:
        seen = seen_rate(sampled)
        if seen is None:
            return None
        if seen.value is None or seen.beyond:
            return Usability.NOT
        at, last = sampled.measured.at.mono, self._at
        passed = 0.0 if last is None else at - last
        if last is not None and passed <= 0.0:
            return None
        self.is_gap = last is None or passed > self._gap_s
        self._at = at
        self.seconds = 0.0 if self.is_gap else passed
        self.amount = seen.value * self.seconds
        if not seen.clears or sampled.blind or sampled.measured.arrived.mono - at > self._gap_s:
            return Usability.RAISES_ONLY
        return Usability.FULL


def seen_rate(sampled: Sampled) -> Seen | None:
    """Its dose rate: a true one before one that is estimated from counts."""
    return sampled.estimate if sampled.true is None else sampled.true


class Survey:
    """Measures a place until ``seconds`` of valid readings have come."""

    def __init__(self, seconds: float, order: tuple[str, str, float], gap_s: float) -> None:
        self.seconds = seconds
        self._user, self._reason, self._until = order
        self._counts = Feed(by_counts=True, gap_s=gap_s)
        self._dose = Feed(by_counts=False, gap_s=gap_s)
        self._counted, self._live_s, self._inputs, self._copies = 0.0, 0.0, 0, 1
        self._dosed, self._dose_s, self._values = 0.0, 0.0, 0
        self._sum, self._squares, self._averaged_s = 0.0, 0.0, 0.0

    @property
    def valid_s(self) -> float:
        """How many seconds of valid readings have come."""
        return self._live_s or self._dose_s

    @property
    def is_complete(self) -> bool:
        """Whether enough has been measured."""
        return self.valid_s >= self.seconds - _ROUNDING_S

    def add(self, sampled: Sampled) -> None:
        """One sample, if it is fit to teach."""
        if self._counts.take(sampled) is Usability.FULL and sampled.gamma is not None:
            self._counted += self._counts.amount
            self._live_s += self._counts.seconds
            self._inputs += 1
            if not sampled.gamma.independent:
                self._copies = 2
        if self._dose.take(sampled) is Usability.FULL:
            self._dosed += self._dose.amount
            self._dose_s += self._dose.seconds
            seen = seen_rate(sampled)
            if seen is not None and seen.value is not None:
                self._values += 1
                self._sum += seen.value
                self._squares += seen.value * seen.value
                self._averaged_s = max(self._averaged_s, seen.reading.window_s or 0.0)

    def result(
        self, at: Instant, smoothing_s: float, usual_rate: float | None
    ) -> tuple[Baseline | None, str]:
        """The baseline, or why what was measured is not believed."""
        usv_h = self._dosed / self._dose_s if self._dose_s > 0 else None
        if self._live_s > 0:
            rate = self._counted / self._live_s
            if rate <= 0:
                return None, "no counts"
            if usual_rate is not None and rate > IMPLAUSIBLE * usual_rate:
                return None, f"{rate:.3g} 1/s, where about {usual_rate:g} 1/s are usual"
            error = math.sqrt(self._counted * self._copies) / self._live_s
            step_s = self._live_s / self._inputs
            found = self._baseline(rate, COUNT_RATE, error, self._live_s, step_s, at)
            return replace(found, copies=self._copies, usv_h=usv_h), ""
        if usv_h is None or usv_h <= 0:
            return None, "no dose rate above zero"
        smoothing_s = self._averaged_s or smoothing_s
        mean = self._sum / self._values
        spread = math.sqrt(max(0.0, self._squares / self._values - mean * mean))
        noise = max(spread, NOISE_FLOOR * usv_h)
        error = noise * math.sqrt(min(1.0, 2.0 * smoothing_s / self._dose_s))
        step_s = self._dose_s / max(self._values - 1, 1)
        found = self._baseline(usv_h, DOSE_RATE, error, self._dose_s, step_s, at)
        return replace(found, noise=noise, smoothing_s=smoothing_s, usv_h=usv_h), ""

    def _baseline(
        self, rate: float, unit: str, error: float, live_s: float, step_s: float, at: Instant
    ) -> Baseline:
        return Baseline(
            rate, unit, error, live_s, step_s, at, self._until, self._user, self._reason
        )
