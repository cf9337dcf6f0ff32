"""The clock of a stage: seconds of play, at a speed of its own, and it can be stopped."""

import asyncio
import math
from typing import Final

SLOWEST: Final = 0.01
FASTEST: Final = 1000.0
"""Speeds outside these are no play any more; own choice."""
_GRAIN_S: Final = 1e-3
_LEAST_S: Final = 1e-6
"""Rounding may leave less to wait than the loop's clock can tell apart."""


class BadSpeed(ValueError):
    """No speed at which a stage can be played."""

    def __init__(self, speed: float) -> None:
        super().__init__(f"a speed of {speed:g} is not between {SLOWEST:g} and {FASTEST:g}")
        self.speed = speed


class StageClock:
    """Stands at 0 until ``start``; then it follows the loop's clock."""

    def __init__(self, speed: float = 1.0, *, paused: bool = False) -> None:
        self._speed = _checked(speed)
        self._paused = paused
        self._shown_s = 0.0
        self._noted: float | None = None
        self._changed = asyncio.Event()

    @property
    def speed(self) -> float:
        """Seconds of play in one second, unless it is paused."""
        return self._speed

    @property
    def is_paused(self) -> bool:
        """Whether it stands still."""
        return self._paused

    def start(self) -> None:
        """0 s of play is now."""
        self._shown_s, self._noted = 0.0, _loop_time()
        self._tell()

    def now_s(self) -> float:
        """Seconds of play."""
        if self._noted is None or self._paused:
            return self._shown_s
        return self._shown_s + (_loop_time() - self._noted) * self._speed

    def pause(self) -> None:
        """It stands still."""
        self._note()
        self._paused = True
        self._tell()

    def resume(self) -> None:
        """It goes on where it stood."""
        self._note()
        self._paused = False
        self._tell()

    def set_speed(self, speed: float) -> None:
        """Another speed from now on. Raises BadSpeed."""
        checked = _checked(speed)
        self._note()
        self._speed = checked
        self._tell()

    def wait_s(self, at_s: float) -> float | None:
        """Seconds of the loop's clock until ``at_s``; None while it stands still."""
        if self._noted is None or self._paused:
            return None
        return max(at_s - self.now_s(), 0.0) / self._speed

    async def until(self, at_s: float) -> None:
        """Returns once it shows ``at_s``, however it goes meanwhile."""
        while self.now_s() < at_s:
            await self.sleep(at_s)

    async def sleep(self, at_s: float, grain_s: float = _GRAIN_S) -> None:
        """Returns at ``at_s``, or before if it is set anew or ``wake`` is called.

        Rounded up to a multiple of ``grain_s`` of the loop's clock: sleepers wake together.
        """
        changed, wait_s = self._changed, self.wait_s(at_s)
        deadline = None
        if wait_s is not None and math.isfinite(wait_s):
            now = _loop_time()
            deadline = max(math.ceil((now + wait_s) / grain_s) * grain_s, now + _LEAST_S)
        try:
            async with asyncio.timeout_at(deadline):
                await changed.wait()
        except TimeoutError:
            return

    def wake(self) -> None:
        """Whoever sleeps looks again."""
        self._tell()

    def _note(self) -> None:
        if self._noted is not None:
            self._shown_s, self._noted = self.now_s(), _loop_time()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


def _checked(speed: float) -> float:
    if not SLOWEST <= speed <= FASTEST:
        raise BadSpeed(speed)
    return speed
