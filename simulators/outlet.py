"""One instrument's link of a live stage, as events see it, and when it is its turn."""

import heapq
import math
from collections.abc import Callable, Iterator
from typing import Protocol

from config.link_actions import LinkFault
from simulators.api import Emission

Witness = Callable[[str, Emission], None]


def nobody(detector: str, emission: Emission) -> None:
    """Nobody is told what was sent."""


class Outlet(Protocol):
    """The link of one detector. ``instrument`` is what is at its far end now."""

    @property
    def detector(self) -> str:
        """Whose it is."""

    @property
    def instrument(self) -> object:
        """What is at its far end."""

    @property
    def next_s(self) -> float:
        """When it is its turn, in s of play; infinite if never by itself."""

    @property
    def troubles(self) -> tuple[str, ...]:
        """What is wrong with it, for people."""

    def advance(self, now_s: float) -> None:
        """Sends what is due."""

    async def plug(self, *, renumbered: bool = False) -> None:
        """The cable is put in."""

    async def unplug(self) -> None:
        """The cable is pulled."""

    def freeze(self, *, on: bool) -> None:
        """The instrument says nothing while its link stays open."""

    def add(self, data: bytes) -> None:
        """Bytes that it never sent appear on its link."""

    def begin(self, fault: LinkFault) -> None:
        """From now on this goes wrong."""

    def end(self, fault: LinkFault) -> None:
        """It is over, unless another of its kind has begun since."""

    def mend(self) -> None:
        """Nothing is wrong with bytes and answers any more."""

    def abandon(self) -> None:
        """Its connections stay open and dead."""

    async def close(self) -> None:
        """Nothing is left behind."""


class Agenda:
    """Whose turn it is when."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Outlet]] = []
        self._due: dict[str, float] = {}
        self._order = 0

    @property
    def next_s(self) -> float:
        """The next turn of anybody; infinite if there is none."""
        return self._heap[0][0] if self._heap else math.inf

    def note(self, outlet: Outlet) -> None:
        """Its next turn, as it says itself now."""
        due_s = outlet.next_s
        if due_s < self._due.get(outlet.detector, math.inf):
            self._due[outlet.detector] = due_s
            self._order += 1
            heapq.heappush(self._heap, (due_s, self._order, outlet))

    def take(self, to_s: float) -> Iterator[Outlet]:
        """Everybody whose turn comes up to a time, in order; each is noted anew afterwards."""
        while self._heap and self._heap[0][0] <= to_s:
            due_s, _, outlet = heapq.heappop(self._heap)
            if self._due.get(outlet.detector) != due_s:
                continue  # it had another turn since
            del self._due[outlet.detector]
            yield outlet
            self.note(outlet)
