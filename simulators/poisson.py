"""Poisson counts from the standard library, exact at every mean: no normal approximation."""

import math
from functools import lru_cache
from random import Random
from typing import Final

_SMALL: Final = 10.0
_REMEMBERED: Final = 1024
"""So many means are kept with what follows from them; own choice."""


def poisson(rng: Random, mean: float) -> int:
    """One count. Multiplication below a mean of 10, above it Hörmann's PTRS (1993)."""
    if not 0.0 <= mean < math.inf:
        raise ValueError(f"{mean} is not a mean")
    return _multiplied(rng, mean) if mean < _SMALL else _transformed(rng, mean)


def _multiplied(rng: Random, mean: float) -> int:
    """Arrivals before the product of uniform numbers falls below exp(-mean)."""
    limit = math.exp(-mean)
    product = rng.random()
    count = 0
    while product > limit:
        product *= rng.random()
        count += 1
    return count


def _transformed(rng: Random, mean: float) -> int:
    """Transformed rejection with squeeze: W. Hörmann, Insurance: Math. Econ. 12 (1993) 39."""
    a, b, squeeze, log_inverse_alpha, log_mean = _shape(mean)
    draw = rng.random
    while True:
        u = draw() - 0.5
        v = 1.0 - draw()
        us = 0.5 - abs(u)
        if us == 0:
            continue
        count = math.floor((2 * a / us + b) * u + mean + 0.43)
        if us >= 0.07 and v <= squeeze:
            return count
        if count < 0 or (us < 0.013 and v > us):
            continue
        drawn = math.log(v) + log_inverse_alpha - math.log(a / (us * us) + b)
        if drawn <= -mean + count * log_mean - math.lgamma(count + 1):
            return count


@lru_cache(maxsize=_REMEMBERED)
def _shape(mean: float) -> tuple[float, float, float, float, float]:
    """What depends on the mean alone: a, b, the squeeze, and logarithms of 1/alpha and the mean."""
    b = 0.931 + 2.53 * math.sqrt(mean)
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    return a, b, 0.9277 - 3.6224 / (b - 2), math.log(inverse_alpha), math.log(mean)
