"""A rolling background of counts: learned late, only while nothing is wrong, never quickly upwards.

Counts wait in a guard line before they join the background, so that what a window holds is never
part of what it is judged against. Where learning stops, the newest of the guard line is dropped:
an excess began before it was suspected. The mean in force may rise by 10 % in 10 min; falls are
followed at once. A slow approach is otherwise learned as background.
"""

import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from gateway.values import Instant

LEARNING_S: Final = 60.0
"""The learning phase of a PM1703."""
DRIFT: Final = 1.10
DRIFT_S: Final = 600.0
"""The mean may rise by this factor in this time of learning without an operator's consent."""
ALLOWANCE: Final = 3.0
"""Deviations by which the two compared means may differ by chance. Own choice."""
EXPIRY_S: Final = 1800.0
"""Own choice: natural changes take minutes to tens of minutes; what is older is learned anew."""
BIN_S: Final = 1.0
_FILLED_S: Final = 10.0
_COMPACT: Final = 64
_ROUNDING_S: Final = 1e-6


class Frozen(StrEnum):
    """Why nothing is learned."""

    ALARM = "alarm"
    SUSPICION = "suspicion"
    BLIND = "blind"
    FLAGGED = "flagged"


@dataclass(frozen=True, slots=True)
class Background:
    """What windows are judged against; ``is_capped``: the mean has risen faster than it may."""

    counts: int
    live_s: float
    is_capped: bool = False

    @property
    def rate(self) -> float:
        """Counts per second."""
        return self.counts / self.live_s


class RollingBackground:
    """The counts of the last ``length_s`` learned, without those of the newest ``guard_s``.

    It moves in bins of ``bin_s`` or of one sample, if that is longer. ``refused`` says for how long
    nothing was learned, by reason; ``frozen_since`` and ``frozen_reason`` speak of now.
    """

    def __init__(self, length_s: float, guard_s: float, bin_s: float = BIN_S) -> None:
        self.length_s = length_s
        self.needed_s = min(LEARNING_S, length_s)
        self.refused: dict[Frozen, float] = {}
        self._guard_s = guard_s - _ROUNDING_S
        self._bin_s = bin_s - _ROUNDING_S
        self.forget()

    def forget(self) -> None:
        """Learn from the beginning."""
        self.counts = 0
        self.live_s = 0.0
        self.frozen_since: Instant | None = None
        self.frozen_reason: Frozen | None = None
        self._bins = array("q")
        self._lives = array("d")
        self._first = self._split = 0
        self._guarded_s = 0.0
        self._bin_counts, self._bin_live_s = 0, 0.0
        self._ceiling: float | None = None
        self._settled_s = 0.0

    @property
    def is_learned(self) -> bool:
        """Whether there is enough to judge by."""
        return self.live_s >= self.needed_s - _ROUNDING_S

    def learn(self, counts: int, live_s: float) -> None:
        """Counts measured while nothing was wrong."""
        if self.frozen_reason is not None:
            self.frozen_since = self.frozen_reason = None
        counts += self._bin_counts
        live_s += self._bin_live_s
        if live_s < self._bin_s:
            self._bin_counts, self._bin_live_s = counts, live_s
            return
        self._bin_counts, self._bin_live_s = 0, 0.0
        self._bins.append(counts)
        self._lives.append(live_s)
        self._move(live_s)

    def freeze(self, reason: Frozen, at: Instant, live_s: float, newest_s: float) -> None:
        """``live_s`` that are not learned; when a reason begins, nor are ``newest_s`` before it."""
        self.refused[reason] = self.refused.get(reason, 0.0) + live_s
        if reason is self.frozen_reason:
            return
        self.frozen_reason = reason
        self.frozen_since = self.frozen_since or at
        self._drop(newest_s)

    def settle(self, *, area_wide: bool = False) -> Background:
        """The background in force from now on; ``area_wide``: all of the area rises with it."""
        rate = self.counts / self.live_s
        learned_s, self._settled_s = self._settled_s, 0.0
        if self._ceiling is None or area_wide:
            self._ceiling = rate
            return Background(self.counts, self.live_s)
        ceiling = self._ceiling * DRIFT ** (learned_s / DRIFT_S)
        self._ceiling = min(rate, ceiling)
        permitted = ceiling + ALLOWANCE * math.sqrt((rate + ceiling) / self.live_s)
        if rate <= permitted:
            return Background(self.counts, self.live_s)
        return Background(math.floor(permitted * self.live_s), self.live_s, is_capped=True)

    def replace(self, counts: int, live_s: float) -> None:
        """These counts are the background from now on, whatever was learned before."""
        self.forget()
        self._fill(counts, live_s)

    def saved(self) -> dict[str, Any]:
        """What a restart needs; bins are not told apart."""
        return {"counts": self.counts, "live_s": self.live_s, "ceiling": self._ceiling}

    def restore(self, saved: Mapping[str, Any], age_s: float) -> bool:
        """Whether what was saved ``age_s`` ago is young enough and holds; then it is in force."""
        counts, live_s, ceiling = (saved.get(key) for key in ("counts", "live_s", "ceiling"))
        if not isinstance(counts, int) or not isinstance(live_s, float | int):
            return False
        if not 0.0 <= age_s <= EXPIRY_S or counts < 0 or not self.needed_s <= live_s < math.inf:
            return False
        self.replace(counts, live_s)
        self._ceiling = float(ceiling) if isinstance(ceiling, float | int) else None
        return True

    def _move(self, live_s: float) -> None:
        """The newest bin is in the guard line; what it pushes out joins, what is too old leaves."""
        lives, split = self._lives, self._split
        guarded_s = self._guarded_s + live_s
        while guarded_s - lives[split] >= self._guard_s:
            leaving_s = lives[split]
            guarded_s -= leaving_s
            self.counts += self._bins[split]
            self.live_s += leaving_s
            self._settled_s += leaving_s
            split += 1
        self._guarded_s, self._split = guarded_s, split
        first = self._first
        while self.live_s - lives[first] >= self.length_s - _ROUNDING_S:
            self.counts -= self._bins[first]
            self.live_s -= lives[first]
            first += 1
        self._first = first
        if first >= _COMPACT:
            self._compact()

    def _compact(self) -> None:
        del self._bins[: self._first], self._lives[: self._first]
        self._split -= self._first
        self._first = 0
        self.live_s = math.fsum(self._lives[: self._split])
        self._guarded_s = math.fsum(self._lives[self._split :])

    def _drop(self, newest_s: float) -> None:
        dropped_s = self._bin_live_s
        self._bin_counts, self._bin_live_s = 0, 0.0
        while dropped_s < newest_s - _ROUNDING_S and len(self._lives) > self._split:
            live_s = self._lives.pop()
            self._bins.pop()
            self._guarded_s -= live_s
            dropped_s += live_s

    def _fill(self, counts: int, live_s: float) -> None:
        """Spread evenly, so that it leaves bit by bit."""
        if live_s <= 0.0:
            return
        bins = max(1, int(live_s / _FILLED_S))
        for number in range(bins):
            self._bins.append(counts * (number + 1) // bins - counts * number // bins)
            self._lives.append(live_s / bins)
        self._split = bins
        self.counts, self.live_s = counts, live_s
