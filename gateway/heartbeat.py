"""The heartbeats that were given, and how old each is on the gateway's own monotonic clock."""

import math
from collections import deque
from typing import Final

HEARTBEAT_S: Final = 10.0
KEPT: Final = 512
"""More than an hour of them, which is the longest ``command_limit_s``."""


class Heartbeats:
    """Numbers from 1 on; a number is given once."""

    def __init__(self) -> None:
        self.number = 0
        self._given: deque[float] = deque(maxlen=KEPT)

    def give(self, mono: float) -> int:
        """The next number, given now."""
        self.number += 1
        self._given.append(mono)
        return self.number

    def age_s(self, number: int, mono: float) -> float | None:
        """How long ago that one was given; None if it was not, infinity if nobody remembers."""
        behind = self.number - number
        if behind < 0 or number < 1:
            return None
        return mono - self._given[-1 - behind] if behind < len(self._given) else math.inf
