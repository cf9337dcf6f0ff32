"""An event loop whose clock runs at any pace: as fast as there is work, or N times the real one."""

import asyncio
import selectors
import time
from typing import Any


class NothingLeft(RuntimeError):
    """Everybody waits for something that no time brings."""


class _PacedSelector(selectors.SelectSelector):
    """At speed 0 it never waits: the clock moves on to the next moment at which there is work."""

    def __init__(self, speed: float) -> None:
        super().__init__()
        self._speed = speed
        self._skipped = 0.0
        self._began = time.monotonic()

    def now(self) -> float:
        """Seconds since the loop was made, at its pace."""
        if self._speed > 0:
            return (time.monotonic() - self._began) * self._speed
        return self._skipped

    def select(self, timeout: float | None = None) -> list[tuple[Any, int]]:
        """What is ready."""
        if self._speed > 0:
            return super().select(None if timeout is None else timeout / self._speed)
        if timeout is None:
            raise NothingLeft("nothing is left to wait for")
        self._skipped += max(0.0, timeout)
        return super().select(0)


class PacedLoop(asyncio.SelectorEventLoop):
    """``speed`` times real time; 0: no waiting at all, and the same again each time."""

    def __init__(self, speed: float) -> None:
        self._paced = _PacedSelector(speed)
        super().__init__(self._paced)

    def time(self) -> float:
        """Seconds since it was made."""
        return self._paced.now()
