"""Bytes between the event loop, which brings them, and a session, which waits for them."""

import asyncio

from gateway.links.errors import LinkError


class Inbox:
    """Collects what arrives; the reader gets everything first and the loss after it."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._lost: LinkError | None = None
        self._waiting: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._buffer)

    def put(self, data: bytes) -> None:
        """More bytes came."""
        self._buffer += data
        self._wake()

    def lose(self, error: LinkError) -> None:
        """No more will come; the first reason counts."""
        self._lost = self._lost or error
        self._wake()

    def take(self) -> bytes:
        """All there is, perhaps nothing."""
        data = bytes(self._buffer)
        self._buffer.clear()
        return data

    async def read(self) -> bytes:
        """All there is, waiting for the first byte. Raises the loss."""
        while not self._buffer:
            if self._lost is not None:
                raise self._lost
            self._waiting = asyncio.get_running_loop().create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None
        return self.take()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
