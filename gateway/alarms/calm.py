"""The background of a smoothed dose rate: median and spread of independent readings."""

import math
import re
from bisect import bisect_left, insort
from collections import deque
from statistics import median
from typing import Final

FLOOR_PART: Final = 0.1
"""The least deviation, relative to the background."""
LOW_USV_H: Final = 0.05
"""The low background of IEC 62533; below it the floor does not fall any further. Own choice."""
NORMAL_MAD: Final = 1.4826
"""Standard deviations per median absolute deviation of a normal distribution, 1/0.6745."""
LEARN_S: Final = 60.0
"""As the learning phase of Polimaster PM1703MO-1."""
LEAST: Final = 10
"""Independent readings; own choice: with ten the spread is known to a third."""
DRIFT_PART: Final = 0.1
DRIFT_S: Final = 600.0
"""No more than 10 % in ten minutes is learned of a rise unless the whole area rises."""
UPDATE_PART: Final = 0.1
"""Own choice: a new level is due after so much of the background's time."""
_NUMBER: Final = re.compile(r"\s*(\d+)(?:[.,](\d+))?(?![\d.,eE])")


class Calm:
    """Independent readings of the last ``keep_s``, and the ``level`` and ``deviation`` they gave.

    ``level`` (µSv/h) is None until something is learned. It outlives its readings. ``need`` is how
    many make a new one.
    """

    def __init__(self, background_s: float) -> None:
        self.level: float | None = None
        self.deviation = 0.0
        self.need = LEAST
        self.step = 0.0
        """The last digit of the instrument; a flicker of one is no rise."""
        self._keep_s = background_s
        self._readings: deque[tuple[float, float]] = deque()
        self._ordered: list[float] = []
        self._levels: deque[tuple[float, float]] = deque()
        self._updated_at = -math.inf

    def pace(self, spacing_s: float) -> None:
        """Readings so far apart are independent."""
        self.need = max(LEAST, math.ceil(LEARN_S / spacing_s))

    @property
    def learned(self) -> int:
        """How many readings there are."""
        return len(self._readings)

    def forget(self) -> None:
        """Learn from nothing."""
        self.level, self.deviation = None, 0.0
        self._levels.clear()
        self.drop()

    def drop(self, above: float = -math.inf) -> None:
        """Forget the readings above that."""
        kept = [reading for reading in self._readings if reading[1] <= above]
        self._readings = deque(kept)
        self._ordered = sorted(value for _, value in kept)
        self._updated_at = -math.inf

    def know(self, level: float, deviation: float, at: float) -> None:
        """This was the background at that time; new readings will give one of their own."""
        self.drop()
        self.level = level
        self.deviation = max(deviation, self._floor(level))
        self._levels.clear()
        self._levels.append((at, level))

    def add(self, at: float, value: float) -> bool:
        """One more independent reading; whether a new level is due."""
        readings, ordered = self._readings, self._ordered
        readings.append((at, value))
        insort(ordered, value)
        while len(readings) > self.need and at - readings[0][0] > self._keep_s:
            _, old = readings.popleft()
            del ordered[bisect_left(ordered, old)]
        is_due = at - self._updated_at >= UPDATE_PART * self._keep_s
        return is_due and len(readings) >= self.need

    def update(self, at: float, limit: float, *, follows: bool) -> None:
        """A new level: the median, held at ``limit`` and, unless it ``follows``, at the drift."""
        self._updated_at = at
        ordered, levels = self._ordered, self._levels
        middle = median(ordered)
        spread = median([abs(value - middle) for value in ordered])
        if follows:
            levels.clear()
        while len(levels) > 1 and at - levels[1][0] >= DRIFT_S:
            levels.popleft()  # what is left first was in force when the ten minutes began
        lowest = min((level for _, level in levels), default=math.inf)
        self.level = min(middle, limit, (1 + DRIFT_PART) * lowest)
        self.deviation = max(NORMAL_MAD * spread, self._floor(self.level))
        levels.append((at, self.level))

    def middle(self) -> float:
        """The median of the readings, whatever was learned."""
        return median(self._ordered)

    def _floor(self, level: float) -> float:
        return max(FLOOR_PART * max(level, LOW_USV_H), self.step / 2)


def last_digit(raw: str, value: float) -> float:
    """What one step of the last digit of ``raw`` is worth, where ``raw`` gave ``value``; else 0."""
    found = _NUMBER.match(raw)
    if found is None:
        return 0.0
    whole, decimals = found[1], found[2] or ""
    digits = int(whole + decimals)
    return value / digits if digits else 0.0
