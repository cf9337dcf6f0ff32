"""Exact count statistics: upper Poisson tails, their integer thresholds, the share of the budget.

Sources: exact integer thresholds and the budget for sliding windows as in the domain's section on
statistical tests (checked there by exact summation and Monte Carlo).
"""

import math
from functools import lru_cache
from typing import Final

MAX_SLIDING_FACTOR: Final = 12.0
_EXACT_UP_TO: Final = 5000.0
_NEGLIGIBLE: Final = 1e-17


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


def alpha_per_test(share_per_hour: float, window_s: float, step_s: float) -> float:
    """The level of one test of a window of ``window_s`` that slides by ``step_s``.

    ``share_per_hour`` is what this channel may spend on this window in false alarms per hour.
    """
    factor = min(max(window_s / step_s, 1.0), MAX_SLIDING_FACTOR)
    return share_per_hour / 3600.0 * window_s / factor
