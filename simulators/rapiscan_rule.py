"""What a Rapiscan portal decides: its averages, its gamma alarm, the record of an occupancy.

Measured on rpm_data1.txt of rapiscan-simulator: a gamma line is an alarm where max z >= N over
detectors {1,2,3,4}, {1,2}, {3,4}, with z of the sum of the last five intervals since GB against the
last GB. It does not latch.
"""

import math
from collections import deque
from collections.abc import Sequence
from typing import Final

PARTS: Final = (1, 2, 3, 4)
GROUPS: Final = ((0, 1, 2, 3), (0, 1), (2, 3))
INTERVALS_PER_S: Final = 5
WINDOW: Final = 5


class MovingAverage:
    """Rate (1/s) of each detector over the last ``seconds``, or over what there is."""

    def __init__(self, seconds: int) -> None:
        self._kept: deque[Sequence[int]] = deque(maxlen=seconds * INTERVALS_PER_S)
        self._sums = [0] * len(PARTS)

    def add(self, counts: Sequence[int]) -> None:
        """Counts of one interval."""
        oldest = self._kept[0] if len(self._kept) == self._kept.maxlen else (0,) * len(PARTS)
        self._kept.append(counts)
        for k, count in enumerate(counts):
            self._sums[k] += count - oldest[k]

    def rates(self) -> list[float]:
        """What it stands at."""
        return [total * INTERVALS_PER_S / len(self._kept) for total in self._sums]


class GammaAlarm:
    """The portal's own decision for each gamma line."""

    def __init__(self, n_sigma: float) -> None:
        self._n_sigma = n_sigma
        self._background: Sequence[int] | None = None
        self._window: deque[Sequence[int]] = deque(maxlen=WINDOW)

    def learn(self, background: Sequence[int]) -> None:
        """A GB line was sent."""
        self._background = background
        self._window.clear()

    def decide(self, counts: Sequence[int]) -> bool:
        """Whether the line with these counts is a GA."""
        self._window.append(counts)
        if self._background is None or len(self._window) < WINDOW:
            return False
        background = self._background
        return any(self._exceeds(group, background) for group in GROUPS)

    def _exceeds(self, group: tuple[int, ...], background: Sequence[int]) -> bool:
        expected = sum(background[k] for k in group)
        counted = sum(counts[k] for counts in self._window for k in group)
        return expected > 0 and (counted - expected) / math.sqrt(expected) >= self._n_sigma


class Occupancy:
    """What the portal will have said when this occupancy is over."""

    def __init__(self, began: int) -> None:
        self.began = began
        self.cleared = 0
        self.gamma_alarm = False
        self.neutron_alarm = False
        self.gamma_max: int | None = None
        self.neutron_max: int | None = None
        self._window: deque[int] = deque(maxlen=WINDOW)

    def note_gamma(self, total: int, alarm: bool) -> None:
        self._window.append(total)
        self.gamma_alarm |= alarm
        if len(self._window) == WINDOW:
            self.gamma_max = max(self.gamma_max or 0, sum(self._window))

    def note_neutrons(self, total: int, alarm: bool) -> None:
        self.neutron_alarm |= alarm
        self.neutron_max = max(self.neutron_max or 0, total)
