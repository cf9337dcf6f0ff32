"""Counts over several parallel windows, as one detector delivers them."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from gateway.alarms.statistics import MAX_SLIDING_FACTOR
from gateway.values import CountBasis

WINDOWS_S: Final = (1.0, 2.0, 5.0, 10.0, 30.0)
CLEARING_WINDOW_S: Final = 10.0
_ROUNDING_S: Final = 1e-6
_JITTER: Final = 0.8


@dataclass(frozen=True, slots=True)
class WindowSum:
    """The counts of one full window, ``usv_h`` the dose rate they give.

    ``copies`` is 2 where each count may have been seen twice (a polled counter that may repeat).
    ``step_s`` is by how much the window slides from one test to the next.
    """

    window_s: float
    live_s: float
    counts: int
    usv_h: float
    usv_h_per_cps: float
    step_s: float
    copies: int


@dataclass(slots=True)
class _Window:
    seconds: float
    parts: deque[CountBasis] = field(default_factory=deque)
    live_s: float = 0.0
    counts: int = 0
    usv: float = 0.0

    def add(self, basis: CountBasis) -> None:
        self.parts.append(basis)
        self.live_s += basis.live_s
        self.counts += basis.counts
        self.usv += basis.counts * basis.usv_h_per_cps
        while self.live_s - self.parts[0].live_s >= self.seconds - _ROUNDING_S:
            old = self.parts.popleft()
            self.live_s -= old.live_s
            self.counts -= old.counts
            self.usv -= old.counts * old.usv_h_per_cps

    def sum(self, basis: CountBasis) -> WindowSum:
        return WindowSum(
            self.seconds,
            self.live_s,
            self.counts,
            max(0.0, self.usv) / self.live_s,
            basis.usv_h_per_cps,
            basis.live_s,
            1 if basis.independent or len(self.parts) == 1 else 2,
        )


class CountWindows:
    """The last 30 s of counts, summed over windows of 1, 2, 5, 10 and 30 s of live time.

    A basis that overlaps the one before it (a moving sum, a counter polled too often) is judged
    by itself and never added: only one in each of its own live times enters the windows. A gap
    of more than ``gap_s`` empties them.
    """

    def __init__(self, gap_s: float) -> None:
        self._gap_s = gap_s
        self._windows = tuple(_Window(seconds) for seconds in WINDOWS_S)
        self._last: float | None = None

    def add(self, basis: CountBasis, at: float) -> tuple[WindowSum, ...]:
        """All full windows that end with this basis, the shortest first."""
        if basis.live_s <= 0:
            return ()
        if self._last is not None and at - self._last > max(self._gap_s, 3 * basis.live_s):
            self.clear()
        if self._overlaps(basis, at) or basis.live_s > WINDOWS_S[-1] + _ROUNDING_S:
            return (_by_itself(basis),)
        self._last = at
        sums = []
        for window in self._windows:
            window.add(basis)
            if (
                window.live_s >= window.seconds - _ROUNDING_S
                and window.seconds >= basis.live_s - _ROUNDING_S
            ):
                sums.append(window.sum(basis))
        return tuple(sums)

    def clear(self) -> None:
        """Forget everything: what comes next does not continue what was."""
        self._last = None
        for window in self._windows:
            window.parts.clear()
            window.live_s, window.counts, window.usv = 0.0, 0, 0.0

    def _overlaps(self, basis: CountBasis, at: float) -> bool:
        if self._last is None or basis.independent:
            return False
        return at - self._last < _JITTER * basis.live_s


def _by_itself(basis: CountBasis) -> WindowSum:
    return WindowSum(
        basis.live_s,
        basis.live_s,
        basis.counts,
        basis.counts * basis.usv_h_per_cps / basis.live_s,
        basis.usv_h_per_cps,
        basis.live_s / MAX_SLIDING_FACTOR,
        1,
    )
