"""One channel of a simulated Aspect portal: its interval, its background, its status word.

Bits as in osh-oakridge-modules, sensorhub-driver-aspect, ChannelStatus.java; the rules are those
that ``simulators.aspect`` assumes.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

ALARM1: Final = 0x0001
ALARM2: Final = 0x0002
LOW_COUNT: Final = 0x0010
HIGH_COUNT: Final = 0x0020
OVERLOAD: Final = 0x0040
READY: Final = 0x0080


@dataclass(frozen=True, slots=True)
class Limits:
    """Counts per interval: of the background, low and high, and of a count that is too high."""

    low: float
    high: float
    overload: int


class Counting:
    """One channel: the interval that stands, its background, its alarm."""

    def __init__(self, limits: Limits, kept: int, n_sigma: float, bits: int) -> None:
        self._limits = limits
        self._vacant: deque[int] = deque(maxlen=kept)
        self._n_sigma = n_sigma
        self._bits = bits
        self.forced_overload = False
        self.count: int | None = None
        self.background = 0.0
        self.alarm = False

    @property
    def is_overloaded(self) -> bool:
        """Whether the count that stands is too high to be one."""
        if self.count is None:
            return False
        return self.forced_overload or 0 <= self._limits.overload <= self.count

    @property
    def is_alarming(self) -> bool:
        """Whether it shows Alarm1 or Alarm2."""
        return bool(self.status() & (ALARM1 | ALARM2))

    def interval(self, count: int, *, occupied: bool, judged: bool) -> None:
        """An interval is complete."""
        self.count = count
        if not occupied:
            self._vacant.append(count)
            self.background = sum(self._vacant) / len(self._vacant)
        elif judged:
            excess = count - self.background
            self.alarm |= excess >= self._n_sigma * math.sqrt(max(self.background, 1.0))

    def status(self) -> int:
        """Its status word."""
        if self.count is None:
            return 0
        status = READY | self._bits | (ALARM1 if self.alarm else 0)
        status |= OVERLOAD if self.is_overloaded else 0
        if 0 <= self._limits.high < self.background:
            status |= HIGH_COUNT
        elif self.background < self._limits.low:
            status |= LOW_COUNT
        return status

    def told(self) -> int | None:
        """What a reader may believe of the count."""
        return None if self.is_overloaded else self.count
