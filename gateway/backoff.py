"""How long to wait before the next try: doubling, capped, with jitter, forgotten after success."""

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class BackOffLimits:
    """First wait and cap in s; each wait is shortened by up to ``jitter`` of itself."""

    first_s: float = 0.5
    cap_s: float = 15.0
    jitter: float = 0.3


class BackOff:
    """Waits of one link or connection."""

    def __init__(self, limits: BackOffLimits, random: Random) -> None:
        self._limits = limits
        self._random = random
        self._tries = 0

    @property
    def tries(self) -> int:
        """Failures since the last success."""
        return self._tries

    def share(self) -> float:
        """A random part of one, to spread what would otherwise fall together."""
        return self._random.random()

    def succeeded(self) -> None:
        """It works: the next failure waits the first time again."""
        self._tries = 0

    def wait_s(self) -> float:
        """It failed: seconds to wait now."""
        longest = min(self._limits.cap_s, self._limits.first_s * 2.0 ** min(self._tries, 30))
        self._tries += 1
        return longest * (1 - self._limits.jitter * self._random.random())
