"""The axis of time: where its ticks stand, and what is written at them, in UTC. Pure."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from gateway.plot.numbers import plain

MOST_TICKS: Final = 8
_STEPS_S: Final = (
    *(0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 20, 30),
    *(60, 120, 300, 600, 900, 1800),
    *(3600, 7200, 10_800, 21_600, 43_200),
)
DAY_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Clock:
    """From ``begin`` to ``end``, wall times; ``played_from`` is second 0 of a scenario."""

    begin: float
    end: float
    played_from: float | None = None

    def ticks(self) -> list[float]:
        """In s after the begin, at round times."""
        step = self._step()
        first = math.ceil(self.begin / step - 1e-9)
        last = math.floor(self.end / step + 1e-9)
        return [number * step - self.begin for number in range(first, last + 1)]

    def labels(self) -> list[str]:
        """What is written at the ticks."""
        return [self._label(self.begin + tick) for tick in self.ticks()]

    def name(self) -> str:
        """What the axis shows."""
        played = "; below: seconds of play" if self.played_from is not None else ""
        return f"time, UTC{played}"

    def range_text(self) -> str:
        """From when to when."""
        first, last = _utc(self.begin), _utc(self.end)
        day, end = f"{first:%Y-%m-%d}", f"{last:%H:%M:%S}"
        if first.date() != last.date():
            end = f"{last:%Y-%m-%d %H:%M:%S}"
        return f"{day} {first:%H:%M:%S} to {end} UTC"

    def _step(self) -> float:
        span = max(self.end - self.begin, 1e-3)
        for step in _STEPS_S:
            if span / step <= MOST_TICKS:
                return float(step)
        return math.ceil(span / MOST_TICKS / DAY_S) * DAY_S

    def _label(self, time: float) -> str:
        step, told = self._step(), _utc(time)
        text = f"{told:%H:%M:%S}" if step < 60 else f"{told:%H:%M}"
        if step < 1:
            text = f"{told:%H:%M:%S.%f}"[:-5]
        if self.end - self.begin > DAY_S:
            text = f"{told:%m-%d %H:%M}"
        if self.played_from is not None:
            text += f"\n{plain(round(time - self.played_from, 3))} s"
        return text


def _utc(time: float) -> datetime:
    return datetime.fromtimestamp(round(time, 3), UTC)
