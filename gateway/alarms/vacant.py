"""The background of a portal with a vacant lane: counted by ourselves, else told by the portal."""

from collections import deque
from dataclasses import dataclass
from typing import Final

from drivers.api import Quantity, Reading
from gateway.alarms.counting import Counted
from gateway.alarms.usability import Usability, usability
from gateway.values import Instant

GUARD_S: Final = 1.0
"""What a TSA portal itself counts to the occupancy before the beam is broken: 5 × 200 ms."""
ROUNDING_S: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Basis:
    """A background: counts of a vacant lane, until when, and who has counted them."""

    counts: int
    live_s: float
    at: Instant
    source: str

    @property
    def rate(self) -> float:
        """Counts per second."""
        return self.counts / self.live_s


class Vacant:
    """The background of one kind of counts."""

    def __init__(self, seconds: float, quantity: Quantity) -> None:
        self._quantity = quantity
        self._seconds = seconds
        self._own: _Counts | None = None
        self._told: Basis | None = None

    @property
    def basis(self) -> Basis | None:
        """What an occupancy that begins now is judged against."""
        own = None if self._own is None else self._own.basis
        return own or self._told

    def hear(self, told: list[Reading], at: Instant) -> None:
        """The portal's own backgrounds of all its detectors, rates over ``window_s``."""
        rate, seconds = 0.0, None
        mine = [r for r in told if r.quantity is self._quantity and r.unit == "1/s"]
        for reading in mine:
            if reading.value is None or usability(reading.flags) is not Usability.FULL:
                return
            rate += reading.value
            seconds = reading.window_s
        if mine:
            self.take(rate, seconds, at)

    def take(self, rate: float, seconds: float | None, at: Instant) -> None:
        """A mean that the portal tells, over its usual time if it does not say that."""
        seconds = seconds or self._seconds
        self._told = Basis(round(rate * seconds), seconds, at, "told by the portal")

    def learn(self, counted: Counted | None, at: Instant) -> None:
        """Counts of the vacant lane."""
        if counted is None or counted.use is not Usability.FULL or not counted.independent:
            return
        if self._own is None:  # many portals tell no counts that may be summed
            self._own = _Counts(self._seconds)
        self._own.learn(counted, at)

    def leave(self) -> None:
        """An occupancy has been: what waited before it belongs to it."""
        if self._own is not None:
            self._own.leave()


class _Counts:
    """The newest counts of the vacant lane, taken when nobody has come for a moment."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._waiting: deque[tuple[Counted, Instant]] = deque()
        self._kept: deque[Counted] = deque()
        self._counts = 0
        self._live_s = 0.0
        self._at: Instant | None = None

    @property
    def basis(self) -> Basis | None:
        """Their sum, once there are enough."""
        if self._at is None or self._live_s <= self._seconds - ROUNDING_S:
            return None
        return Basis(self._counts, self._live_s, self._at, "counts of the vacant lane")

    def learn(self, counted: Counted, at: Instant) -> None:
        """The next of them."""
        self._waiting.append((counted, at))
        if at.mono - self._waiting[0][1].mono < GUARD_S:
            return
        oldest, self._at = self._waiting.popleft()
        self._kept.append(oldest)
        self._counts += oldest.counts
        self._live_s += oldest.live_s
        while self._live_s - self._kept[0].live_s > self._seconds - ROUNDING_S:
            first = self._kept.popleft()
            self._counts -= first.counts
            self._live_s -= first.live_s

    def leave(self) -> None:
        """What waited belongs to the occupancy that has been."""
        self._waiting.clear()
