"""A TCP connection to an instrument or to a device server."""

import asyncio
import errno
import socket
from typing import Final

from gateway.links.errors import LinkError, LinkLost, PortMissing, PortRefused
from gateway.links.inbox import Inbox

OPEN_TIMEOUT_S: Final = 5.0
WRITE_TIMEOUT_S: Final = 5.0
INBOX_LIMIT: Final = 1 << 20
# A dead peer is noticed after idle + interval x count, about 20 s, without a byte being sent.
KEEPALIVE: Final = ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 3), (socket.TCP_KEEPCNT, 3))


class StreamLink:
    """A TCP connection with keep-alive, whoever makes it."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._number = port
        self._stream = Stream(self.port)

    @property
    def port(self) -> str:
        """Host and port."""
        return f"{self._host}:{self._number}"

    async def read(self) -> bytes:
        """The next bytes."""
        data = await self._stream.inbox.read()
        self._stream.resume()
        return data

    def take(self) -> bytes:
        """What has come so far."""
        data = self._stream.inbox.take()
        self._stream.resume()
        return data

    async def write(self, data: bytes) -> None:
        """Sends ``data``."""
        await self._stream.write(data)

    async def close(self) -> None:
        """Closes at once; the descriptor is free when this returns."""
        self._stream.close()
        await self._stream.closed()


class TcpLink(StreamLink):
    """This machine calls."""

    async def open(self) -> None:
        """Connects; PortRefused or PortMissing says why not."""
        stream = Stream(self.port)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                await loop.create_connection(lambda: stream, self._host, self._number)
        except TimeoutError:
            raise PortRefused(self.port, "no answer", "is the instrument on?") from None
        except socket.gaierror as error:
            raise PortMissing(self.port, f"unknown host: {error.strerror}") from error
        except UnicodeError as error:
            raise PortMissing(self.port, "not the name of a host") from error
        except OSError as error:
            raise _explain(self.port, error) from error
        self._stream = stream


class Stream(asyncio.Protocol):
    """One connection: fills its inbox, stops reading while that is full."""

    def __init__(self, port: str) -> None:
        self.inbox = Inbox()
        self._port = port
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._paused = False
        self._closed = asyncio.Event()
        self._closed.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport):
            raise TypeError(f"{self._port}: not a stream")
        self._transport = transport
        self._closed.clear()
        _keep_alive(transport.get_extra_info("socket"))

    def data_received(self, data: bytes) -> None:
        self.inbox.put(data)
        if len(self.inbox) > INBOX_LIMIT and self._transport is not None and not self._paused:
            self._transport.pause_reading()
            self._paused = True

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._writable.set()
        self._closed.set()
        self.inbox.lose(LinkLost(self._port, str(exc) if exc else "closed by the other side"))

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def resume(self) -> None:
        if self._paused and self._transport is not None:
            self._transport.resume_reading()
            self._paused = False

    async def write(self, data: bytes) -> None:
        if self._transport is None:
            raise LinkLost(self._port, "not open")
        self._transport.write(data)
        try:
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                await self._writable.wait()
        except TimeoutError:
            raise LinkLost(self._port, "takes no data") from None

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def closed(self) -> None:
        """Waits the one turn of the loop in which asyncio lets go of the descriptor."""
        await self._closed.wait()


def _keep_alive(raw: socket.socket) -> None:
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEPALIVE:
        raw.setsockopt(socket.IPPROTO_TCP, option, value)


def _explain(port: str, error: OSError) -> LinkError:
    if error.errno == errno.ECONNREFUSED:
        return PortRefused(port, "connection refused", "nothing listens there")
    if error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH):
        return PortMissing(port, "not reachable", "check cable and network")
    return PortRefused(port, error.strerror or str(error))
