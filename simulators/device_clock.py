"""The clock inside an instrument: it may stand wrong, and it drifts."""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class DeviceClock:
    """Shows ``start`` and ``offset_s`` more at 0 s, and runs ``ppm`` millionths too fast."""

    start: datetime
    offset_s: float = 0.0
    ppm: float = 0.0

    def at(self, at_s: float) -> datetime:
        """What it shows ``at_s`` after the start of play."""
        return self.start + timedelta(seconds=self.offset_s + at_s * (1 + self.ppm * 1e-6))
