"""How the counts of the last minute compare with those of a quarter of an hour ago.

It tells a slow common rise, such as rain, from noise; nothing is raised by it alone.
"""

import math
from collections import deque
from typing import Final

from gateway.alarms.durable import Internal
from gateway.alarms.record import AlarmRecord, Change
from gateway.alarms.usability import Usability
from gateway.alarms.watcher import Learned, Quiet, Sampled, Trend
from gateway.values import Instant

BLOCK_S: Final = 20.0
KEPT: Final = 45
REFERENCE: Final = 15
NEWEST: Final = 3
LEAST: Final = 6
EXPIRES_S: Final = 300.0
"""A minute against the oldest five of fifteen minutes, or the oldest third of what there is from
two minutes on; blocks from before a restart hold for five: own choices."""


class CountTrend(Quiet):
    """Blocks of live time; a gap of more than a minute begins anew."""

    alarms: tuple[str, ...] = ()

    def __init__(self) -> None:
        self._blocks: deque[float] = deque(maxlen=KEPT)
        self._counts = 0
        self._live_s = 0.0
        self._last: float | None = None

    def measured(self, sampled: Sampled) -> list[Change]:
        """Counts that are valid enter, whatever alarms."""
        gamma = sampled.gamma
        if gamma is None or gamma.use is not Usability.FULL or sampled.blind:
            return []
        at = sampled.measured.arrived.mono
        if self._last is not None and at - self._last > NEWEST * BLOCK_S:
            self._blocks.clear()
            self._counts, self._live_s = 0, 0.0
        self._last = at
        self._counts += gamma.counts
        self._live_s += gamma.live_s
        if self._live_s >= BLOCK_S:
            self._blocks.append(self._counts / self._live_s * BLOCK_S)
            self._counts, self._live_s = 0, 0.0
        return []

    def trend(self) -> Trend | None:
        """The newest blocks against the oldest ones; None before there are enough."""
        if len(self._blocks) < LEAST:
            return None
        blocks = list(self._blocks)
        reference = min(REFERENCE, max(NEWEST, len(blocks) // 3))
        older, newest = sum(blocks[:reference]), sum(blocks[-NEWEST:])
        if older <= 0 or newest <= 0:
            return None
        ratio = newest / NEWEST / (older / reference)
        return Trend(ratio, ratio * math.sqrt(1 / newest + 1 / older))

    def learned(self) -> Learned | None:
        """The blocks, so that a rise over the area outlives a restart."""
        return {"blocks": list(self._blocks)} if self._blocks else None

    def relearn(self, learned: Learned, age_s: float, now: Instant) -> None:
        """After some minutes the time between the blocks would not be what it seems."""
        if age_s <= EXPIRES_S:
            self._blocks.extend(float(block) for block in learned["blocks"])

    def restore(self, record: AlarmRecord, internal: Internal, now: Instant) -> None:
        """It keeps no alarm."""

    def abandon(self, alarm: str) -> None:
        """It keeps no alarm."""
