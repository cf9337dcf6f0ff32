"""The daemon's tasks: none of them ends unseen.

Those that are kept are begun again when they end; those that are needed take the gateway with them,
and the service manager begins anew. An exception of a needed task does that by the task group.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

import structlog

log: Final = structlog.get_logger()

AGAIN_S: Final = 1.0
"""Own choice: what fails again and again must not take the processor from the others."""
Work = Callable[[], Coroutine[Any, Any, None]]


class TaskEnded(RuntimeError):
    """A task that must run as long as the gateway has ended."""


class Supervisor:
    """Begins tasks in a group and watches their ends until ``ending``."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self.restarts: Counter[str] = Counter()
        self._group = group
        self._is_ending = False
        self._failed = ""
        self._wake = asyncio.Event()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def needed(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Its end is the gateway's."""
        task = self._tasks[name] = self._group.create_task(work, name=name)
        task.add_done_callback(lambda ended: self._needed_ended(name, ended))

    def kept(self, name: str, work: Work) -> None:
        """Begun now, and again whenever it ends."""
        self._timers.pop(name, None)
        if self._is_ending:
            return
        task = self._tasks[name] = self._group.create_task(_guarded(name, work), name=name)
        task.add_done_callback(lambda _: self._kept_ended(name, work))

    def restart(self, name: str) -> None:
        """Ends a task that is kept, so that it is begun again."""
        self._tasks[name].cancel()

    async def until(self, stop: asyncio.Event) -> None:
        """Returns when ``stop`` is set or a needed task has ended."""
        stopping = self._group.create_task(stop.wait(), name="stop")
        stopping.add_done_callback(lambda _: self._wake.set())
        await self._wake.wait()
        stopping.cancel()

    def ending(self) -> None:
        """From now on tasks may end."""
        self._is_ending = True
        for timer in self._timers.values():
            timer.cancel()

    def check(self) -> None:
        """Raises TaskEnded if a needed task ended too early."""
        if self._failed:
            raise TaskEnded(self._failed)

    async def cancel(self, names: Iterable[str]) -> None:
        """Ends those tasks; to be called when ``ending``."""
        tasks = [task for name in names if (task := self._tasks.get(name)) is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def wait(self, names: Iterable[str], timeout_s: float) -> None:
        """Returns when those tasks have ended by themselves, or after the time."""
        tasks = [task for name in names if (task := self._tasks.get(name)) is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)

    def names(self, prefix: str = "") -> list[str]:
        """Tasks that were begun, by the beginning of their names."""
        return [name for name in self._tasks if name.startswith(prefix)]

    def _needed_ended(self, name: str, task: asyncio.Task[None]) -> None:
        if self._is_ending or self._failed:
            return
        if not task.cancelled() and task.exception() is not None:
            return  # the group ends with it
        log.error("task_ended", task=name, leads_to="stop")
        self._failed = name
        self._wake.set()

    def _kept_ended(self, name: str, work: Work) -> None:
        if self._is_ending:
            return
        self.restarts[name] += 1
        log.error("task_ended", task=name, leads_to="restart")
        loop = asyncio.get_running_loop()
        self._timers[name] = loop.call_later(AGAIN_S, self.kept, name, work)


async def _guarded(name: str, work: Work) -> None:
    try:
        await work()
    except Exception:
        # The task's boundary: one sink or one link costs itself a restart, no more.
        log.exception("task_failed", task=name)
