"""A loop whose time jumps to what is due next, with real pseudo-terminals and sockets."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

KERNEL_S = 0.002
"""So long in real time the loop looks for bytes before it moves its own time on."""


class Jumping(selectors.DefaultSelector):
    """Waits for what the kernel has still to deliver and for threads, never for time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.threads = 0

    def select(self, timeout: float | None = None) -> Any:
        if self.threads or timeout is None:
            return super().select(timeout if timeout is None else max(timeout, KERNEL_S))
        found = super().select(min(timeout, KERNEL_S))
        if not found:
            self.now += max(timeout, 0.0)
        return found


class JumpingLoop(asyncio.SelectorEventLoop):
    """Its clock stands still while anything happens."""

    def __init__(self) -> None:
        self._jumping = Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now

    def run_in_executor(self, *arguments: Any) -> Any:
        self._jumping.threads += 1
        future = super().run_in_executor(*arguments)
        future.add_done_callback(self._returned)
        return future

    def _returned(self, _: object) -> None:
        self._jumping.threads -= 1


@pytest.fixture
def virtually() -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Runs a coroutine in time that jumps."""

    def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=JumpingLoop) as runner:
            return runner.run(coroutine)

    return run
