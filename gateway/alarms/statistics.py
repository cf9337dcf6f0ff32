"""Exact count statistics: tails, their integer thresholds, the share of the budget.

Poisson tails where the expected counts are known; where they are estimated from background counts,
the conditional binomial test: without a source, N of N + B counts fall into the window by chance
q = W / (W + T) each, whatever the true rate. Thresholds and p-values are checked against tables
that were worked out by exact summation and Monte Carlo.
"""

import math
import sys
from functools import lru_cache
from statistics import NormalDist
from typing import Final

MAX_SLIDING_FACTOR: Final = 12.0
_EXACT_UP_TO: Final = 5000.0
_NEGLIGIBLE: Final = 1e-17
_NORMAL: Final = NormalDist()
_LEAST_P: Final = sys.float_info.min


def poisson_tail(counts: int, mean: float) -> float:
    """The probability of ``counts`` or more where ``mean`` are expected."""
    if counts <= 0:
        return 1.0
    if mean <= 0:
        return 0.0
    if counts > mean:
        return _sum_up(counts, mean)
    return max(0.0, 1.0 - _sum_down(counts - 1, mean))


def _probability(counts: int, mean: float) -> float:
    return math.exp(counts * math.log(mean) - mean - math.lgamma(counts + 1))


def _sum_up(counts: int, mean: float) -> float:
    total = term = _probability(counts, mean)
    while term > total * _NEGLIGIBLE:
        counts += 1
        term *= mean / counts
        total += term
    return min(total, 1.0)


def _sum_down(counts: int, mean: float) -> float:
    total = term = _probability(counts, mean)
    while counts > 0 and term > total * _NEGLIGIBLE:
        term *= counts / mean
        counts -= 1
        total += term
    return total


@lru_cache(maxsize=8192)
def poisson_threshold(mean: float, alpha: float) -> int:
    """The smallest count whose upper tail is at most ``alpha``.

    Above a mean of 5000 it is the Chernoff bound's, which is never below the exact one and less
    than 0.1 standard deviations per unit of ln(1/alpha) above it.
    """
    bound = poisson_tail if mean <= _EXACT_UP_TO else _chernoff
    low, step = math.floor(mean), max(1, math.ceil(math.sqrt(mean)))
    high = low + step
    while bound(high, mean) > alpha:
        low, high = high, high + step
    while high - low > 1:
        middle = (low + high) // 2
        if bound(middle, mean) > alpha:
            low = middle
        else:
            high = middle
    return low if bound(low, mean) <= alpha else high


def _chernoff(counts: int, mean: float) -> float:
    if counts <= mean:
        return 1.0
    return math.exp(counts - mean - counts * math.log(counts / mean))


def binomial_tail(counts: int, background: int, q: float) -> float:
    """The probability that ``counts`` or more of all ``counts + background`` fall into the window.

    Each does by chance ``q``. It equals the upper tail, over n, of C(n + b, n) qⁿ (1 - q)ᵇ⁺¹: these
    are the terms that are summed, because there ``background`` is fixed.
    """
    if counts <= 0:
        return 1.0
    if counts > (background + 1) * q / (1.0 - q):
        return _count_up(counts, background, q)
    return max(0.0, 1.0 - _count_down(counts - 1, background, q))


def _term(counts: int, background: int, q: float) -> float:
    ways = (
        math.lgamma(counts + background + 1) - math.lgamma(counts + 1) - math.lgamma(background + 1)
    )
    return math.exp(ways + counts * math.log(q) + (background + 1) * math.log1p(-q))


def _count_up(counts: int, background: int, q: float) -> float:
    total = term = _term(counts, background, q)
    while term > total * _NEGLIGIBLE:
        counts += 1
        term *= (counts + background) / counts * q
        total += term
    return min(total, 1.0)


def _count_down(counts: int, background: int, q: float) -> float:
    total = term = _term(counts, background, q)
    while counts > 0 and term > total * _NEGLIGIBLE:
        term *= counts / ((counts + background) * q)
        counts -= 1
        total += term
    return total


@lru_cache(maxsize=16384)
def binomial_threshold(background: int, window_s: float, background_s: float, alpha: float) -> int:
    """The smallest count in the window that the background explains with ``alpha`` at most.

    ``background`` was counted in ``background_s``. One tail at a guess with the skewness of the
    normal expansion, somewhat high, and from there term by term to the exact place.
    """
    q = window_s / (window_s + background_s)
    counts = _guess((background + 1) * window_s / background_s, q, alpha)
    tail = binomial_tail(counts, background, q)
    while tail > alpha:
        counts += 1
        tail = binomial_tail(counts, background, q)
    term = _term(counts, background, q)
    while counts > 0:
        term *= counts / ((counts + background) * q)
        tail += term
        if tail > alpha:
            break
        counts -= 1
    return counts


def _guess(mean: float, q: float, alpha: float) -> int:
    """Cornish-Fisher: deviation and skewness of the counts, as background counts also vary."""
    k = k_equivalent(alpha)
    skewed = k * math.sqrt(mean / (1.0 - q)) + (k * k - 1.0) / 6.0 * (1.0 + q) / (1.0 - q)
    return max(1, math.ceil(mean + skewed) + 1)


def k_equivalent(p: float) -> float:
    """How many standard deviations a normal variable is above its mean with that probability."""
    return -_NORMAL.inv_cdf(min(max(p, _LEAST_P), 1.0 - sys.float_info.epsilon))


def alpha_per_test(share_per_hour: float, window_s: float, step_s: float) -> float:
    """The level of one test of a window of ``window_s`` that slides by ``step_s``.

    ``share_per_hour`` is what this channel may spend on this window in false alarms per hour.
    """
    factor = min(max(window_s / step_s, 1.0), MAX_SLIDING_FACTOR)
    return share_per_hour / 3600.0 * window_s / factor
