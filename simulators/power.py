"""When an instrument is switched on."""

import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class Power:
    """Times of switching in order, on and off in turn; ``switches[0]`` is the first time on."""

    switches: list[float] = field(default_factory=lambda: [0.0])

    @property
    def is_always_on(self) -> bool:
        """Whether it was on from the beginning and nobody has touched it."""
        switches = self.switches
        return len(switches) == 1 and switches[0] == 0.0

    def since(self, at_s: float) -> float | None:
        """When it was switched on last; None while it is off."""
        switches = self.switches
        index = bisect_right(switches, at_s)
        return switches[index - 1] if index % 2 else None

    def switch(self, at_s: float, on: bool) -> None:
        """From ``at_s`` on it stays as it is left here; what was planned for later is off."""
        kept = [time for time in self.switches if time < at_s]
        if bool(len(kept) % 2) is not on:
            kept.append(at_s)
        self.switches = kept

    def spans(self, from_s: float, to_s: float) -> Iterator[tuple[float, float]]:
        """The parts of an interval in which it is on."""
        times = [*self.switches, math.inf] if len(self.switches) % 2 else self.switches
        for start, end in zip(times[::2], times[1::2], strict=True):
            first, last = max(start, from_s), min(end, to_s)
            if first < last:
                yield first, last


def power_of(on_s: float, off_s: float | None) -> Power:
    """As a scenario's detector begins."""
    return Power([on_s] if off_s is None else [on_s, off_s])
