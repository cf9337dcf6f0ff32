"""The gateway's clocks: wall time labels, monotonic time measures, one tick wakes many."""

import asyncio
import heapq
import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from gateway.values import Instant

TICK_S: Final = 0.02
"""Polls that fall due within one tick are woken together: wake-ups are the cost, not work."""


def system_now() -> Instant:
    """Now, on the machine's own clocks."""
    return Instant(time.time(), time.monotonic())


BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def boot_id(environment: Mapping[str, str] = os.environ) -> str:
    """Which run of the monotonic clock this is; empty where the system does not say.

    The service manager names it where the sandbox hides it.
    """
    if named := environment.get("DOSEGATE_BOOT"):
        return named
    try:
        return BOOT_ID.read_text("ascii").strip()
    except OSError:
        return ""


class Ticker:
    """Waits until a monotonic time, rounded up to the common tick; one loop timer for everybody."""

    def __init__(self, tick_s: float = TICK_S) -> None:
        self._tick_s = tick_s
        self._buckets: dict[int, list[asyncio.Future[None]]] = {}
        self._order: list[int] = []
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def now(self) -> float:
        """Loop time, in s."""
        return self._running().time()

    def _running(self) -> asyncio.AbstractEventLoop:
        """The loop, asked for once: each time that costs a system call."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop

    async def until(self, deadline: float) -> None:
        """Returns at the first tick at or after ``deadline`` (loop time, in s)."""
        loop = self._running()
        bucket = math.ceil(deadline / self._tick_s)
        future: asyncio.Future[None] = loop.create_future()
        waiting = self._buckets.get(bucket)
        if waiting is None:
            self._buckets[bucket] = [future]
            heapq.heappush(self._order, bucket)
            if self._order[0] == bucket:
                self._arm(loop)
        else:
            waiting.append(future)
        await future

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(self._order[0] * self._tick_s, self._wake, loop)

    def _wake(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time() + 1e-6
        while self._order and self._order[0] * self._tick_s <= now:
            for future in self._buckets.pop(heapq.heappop(self._order)):
                if not future.done():
                    future.set_result(None)
        if self._order:
            self._arm(loop)


Now = Callable[[], Instant]
