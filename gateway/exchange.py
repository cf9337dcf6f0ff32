"""Carries out the operations that an asker's generators yield, on a byte link."""

import asyncio
from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial
from typing import Final, TypeVar

from drivers.api import Ask, Done, Drain, Operation, Quiet
from drivers.errors import ReplyTimeout
from gateway.links.bytes import ByteLink
from gateway.links.errors import LinkLost
from gateway.tap import Tap, untapped

Result = TypeVar("Result")
BUFFER_LIMIT: Final = 65536


class Exchange:
    """One instrument's side of the line: what came and was not used yet stays here.

    ``reopened`` tells that a Reopen was carried out: the instrument wants identifying again.
    What goes over the link is told to ``tap``, secret answers as such.
    """

    def __init__(self, link: ByteLink, tap: Tap | None = None) -> None:
        self._link = link
        self._tap = tap or untapped()
        self._is_secret = False
        self._buffer = bytearray()
        self.reopened = False

    async def run(self, talk: Generator[Operation, bytes, Result]) -> Result:
        """Runs ``talk`` to its end; a DriverError that it lets through escapes."""
        step: Callable[[], Operation] = partial(next, talk)
        with closing(talk):
            while True:
                try:
                    operation = step()
                except StopIteration as end:
                    result: Result = end.value
                    return result
                try:
                    step = partial(talk.send, await self._carry_out(operation))
                except ReplyTimeout as timeout:
                    step = partial(talk.throw, timeout)

    async def _carry_out(self, operation: Operation) -> bytes:
        match operation:
            case Ask(secret=True):
                return await self._ask_secret(operation)
            case Ask():
                return await self._ask(operation)
            case Drain(seconds):
                return await self._drain(seconds)
            case _:
                self.reopened = True
                self._buffer.clear()
                await self._link.close()
                self._tap.closed()
                await self._link.open()
                self._tap.opened()
                return b""

    async def _ask_secret(self, ask: Ask) -> bytes:
        self._tap.doubt()
        self._is_secret = True
        try:
            return await self._ask(ask)
        except ReplyTimeout:
            self._tap.suspect()
            raise
        finally:
            self._is_secret = False

    async def _ask(self, ask: Ask) -> bytes:
        if ask.request:
            self._tap.sent(ask.request)
            await self._link.write(ask.request)
        deadline = asyncio.get_running_loop().time() + ask.timeout_s
        while True:
            verdict = ask.until(bytes(self._buffer))
            if isinstance(verdict, Done):
                return self._use(verdict.length)
            left = deadline - asyncio.get_running_loop().time()
            if isinstance(verdict, Quiet) and verdict.seconds <= left:
                if not await self._more(verdict.seconds):
                    return self._use(len(self._buffer))
            elif left <= 0 or not await self._more(left):
                raise ReplyTimeout(self._use(len(self._buffer)))
            if len(self._buffer) > BUFFER_LIMIT:
                self._buffer.clear()
                raise LinkLost(self._link.port, f"over {BUFFER_LIMIT} bytes without an answer")

    async def _drain(self, seconds: float) -> bytes:
        taken = self._link.take()
        self._tap.received(taken, unasked=True)
        self._buffer += taken
        deadline = asyncio.get_running_loop().time() + seconds
        dropped = self._use(len(self._buffer))
        while (left := deadline - asyncio.get_running_loop().time()) > 0:
            if await self._more(left, unasked=True):
                dropped = (dropped + self._use(len(self._buffer)))[-BUFFER_LIMIT:]
        return dropped

    async def _more(self, seconds: float, *, unasked: bool = False) -> bool:
        try:
            async with asyncio.timeout(seconds):
                data = await self._link.read()
        except TimeoutError:
            return False
        self._tap.received(data, secret=self._is_secret, unasked=unasked)
        self._buffer += data
        return True

    def _use(self, length: int) -> bytes:
        data = bytes(self._buffer[:length])
        del self._buffer[:length]
        return data
