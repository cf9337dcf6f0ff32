"""A TCP port of this machine on which an instrument, or the modem before it, calls in."""

import asyncio

import structlog

from gateway.links.errors import PortRefused
from gateway.links.tcp import Stream, StreamLink

log = structlog.get_logger(__name__)


class ListenLink(StreamLink):
    """Serves one caller at a time. While one is served, others are turned away."""

    async def open(self) -> None:
        """Listens until somebody calls, however long that takes; PortRefused if it cannot."""
        loop = asyncio.get_running_loop()
        called: asyncio.Future[Stream] = loop.create_future()
        try:
            server = await loop.create_server(
                lambda: _Caller(self.port, called), self._host, self._number
            )
        except (OSError, UnicodeError) as error:
            hint = "is host an address of this machine, and its port free?"
            raise PortRefused(self.port, str(error), hint) from error
        try:
            self._stream = await called
        finally:
            server.close()


class _Caller(Stream):
    """A connection that somebody else has made; the first one is served."""

    def __init__(self, port: str, called: "asyncio.Future[Stream]") -> None:
        super().__init__(port)
        self._called = called

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._called.done():
            self.close()
            return
        log.info("called", by=str(transport.get_extra_info("peername")))
        self._called.set_result(self)
