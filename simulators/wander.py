"""A background that wanders: lognormal, mean 1, correlated over given times.

The logarithm is a sum of Ornstein-Uhlenbeck processes that share the variance equally, each drawn
exactly from grid point to grid point. The grid is filled in order from time 0, so that equal seeds
give equal numbers however they are asked for.
"""

import math
from array import array
from random import Random
from typing import Final

from config.scenario_detectors import Drift

GRID_S: Final = 0.25
"""The factor is constant this long: the shortest step of the archetypes."""


class Wander:
    """Factor of one detector's background over time."""

    def __init__(self, drift: Drift, rng: Random) -> None:
        self._rng = rng
        log_variance = math.log1p(drift.variation**2)
        self._half_variance = log_variance / 2
        self._sigma = math.sqrt(log_variance / len(drift.times_s))
        self._keeps = [math.exp(-GRID_S / time_s) for time_s in drift.times_s]
        self._states = [rng.gauss(0.0, self._sigma) for _ in self._keeps]
        self._factors = array("d")
        self._sums = array("d", (0.0,))

    def at(self, time_s: float) -> float:
        """The factor at a time."""
        return self._factor(math.floor(max(time_s, 0.0) / GRID_S))

    def integral(self, from_s: float, to_s: float) -> float:
        """Factor times seconds, exactly."""
        return self._until(to_s) - self._until(from_s)

    def peak(self, from_s: float, to_s: float) -> float:
        """The largest factor within an interval."""
        first, last = (math.floor(max(at_s, 0.0) / GRID_S) for at_s in (from_s, to_s))
        return max(self._factor(index) for index in range(first, last + 1))

    def _until(self, time_s: float) -> float:
        cells = max(time_s, 0.0) / GRID_S
        whole = math.floor(cells)
        return (self._sum(whole) + (cells - whole) * self._factor(whole)) * GRID_S

    def _factor(self, index: int) -> float:
        while len(self._factors) <= index:
            self._draw()
        return self._factors[index]

    def _sum(self, count: int) -> float:
        while len(self._factors) < count:
            self._draw()
        return self._sums[count]

    def _draw(self) -> None:
        factor = math.exp(sum(self._states) - self._half_variance)
        self._factors.append(factor)
        self._sums.append(self._sums[-1] + factor)
        gauss, sigma = self._rng.gauss, self._sigma
        self._states = [
            keep * state + gauss(0.0, sigma * math.sqrt(1 - keep * keep))
            for keep, state in zip(self._keeps, self._states, strict=True)
        ]
