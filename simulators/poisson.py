"""Poisson counts from the standard library, exact at every mean: no normal approximation."""

import math
from random import Random
from typing import Final

_SMALL: Final = 10.0


def poisson(rng: Random, mean: float) -> int:
    """One count. Multiplication below a mean of 10, above it Hörmann's PTRS (1993)."""
    if not (math.isfinite(mean) and mean >= 0):
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
    b = 0.931 + 2.53 * math.sqrt(mean)
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    squeeze = 0.9277 - 3.6224 / (b - 2)
    log_mean = math.log(mean)
    while True:
        u = rng.random() - 0.5
        v = 1.0 - rng.random()
        us = 0.5 - abs(u)
        if us == 0:
            continue
        count = math.floor((2 * a / us + b) * u + mean + 0.43)
        if us >= 0.07 and v <= squeeze:
            return count
        if count < 0 or (us < 0.013 and v > us):
            continue
        drawn = math.log(v) + math.log(inverse_alpha) - math.log(a / (us * us) + b)
        if drawn <= -mean + count * log_mean - math.lgamma(count + 1):
            return count
