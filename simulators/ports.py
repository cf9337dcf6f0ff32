"""Ports of instruments: pseudo-terminals behind a stable name, TCP servers, and TCP clients.

Bytes that nobody reads are lost, as on a real line. A port can be unplugged and plugged in again.
"""

import asyncio
import contextlib
import os
import socket
import termios
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from simulators.loopback import loopback

READ_SIZE: Final = 4096
SEND_LIMIT: Final = 1 << 16
HOST: Final = "127.0.0.1"
AGAIN_S: Final = 0.5
"""Until an instrument calls again that nobody answers: own choice."""
ISPEED: Final = 4
OSPEED: Final = 5
"""Where termios keeps the speeds."""

Received = Callable[[bytes], None]


class Port(Protocol):
    """One end of a simulated link."""

    async def plug(self, *, renumbered: bool = False) -> None:
        """The gateway can open it from now on; ``renumbered`` if it can, by another number."""

    def send(self, data: bytes) -> bool:
        """Whether somebody could take the bytes."""

    async def unplug(self) -> None:
        """It is gone."""


class PtyPort:
    """A serial port: a name in the file system for a pseudo-terminal, a new one at each plug."""

    def __init__(self, path: Path, received: Received) -> None:
        self._path = path
        self._received = received
        self._master = -1
        self._slave = -1
        self._tty = ""

    async def plug(self, *, renumbered: bool = False) -> None:
        """Makes a new pseudo-terminal, of another number if wanted, and points the name at it."""
        self._master, self._slave = _open_pty(self._tty if renumbered else "")
        self._tty = os.ttyname(self._slave)
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        self._path.symlink_to(self._tty)
        asyncio.get_running_loop().add_reader(self._master, self._readable)

    def send(self, data: bytes) -> bool:
        """Writes what the terminal's buffer takes."""
        if self._master < 0:
            return False
        try:
            _unsettle(self._slave)
            return os.write(self._master, data) == len(data)
        except (OSError, termios.error):
            return False

    async def unplug(self) -> None:
        """Closes both ends, as the kernel does when a cable is pulled."""
        if self._master < 0:
            return
        asyncio.get_running_loop().remove_reader(self._master)
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        os.close(self._master)
        os.close(self._slave)
        self._master = self._slave = -1

    def _readable(self) -> None:
        with contextlib.suppress(OSError, termios.error):
            _unsettle(self._slave)
            self._received(os.read(self._master, READ_SIZE))


def _open_pty(unwanted: str) -> tuple[int, int]:
    """A pseudo-terminal that has not this name."""
    pairs = [os.openpty()]
    while os.ttyname(pairs[-1][1]) == unwanted:
        pairs.append(os.openpty())
    for pair in pairs[:-1]:
        for end in pair:
            os.close(end)
    return pairs[-1]


def _unsettle(slave: int) -> None:
    """Forgets the line speed, which means nothing to a pseudo-terminal.

    It cannot do 7 bits or parity either. tcsetattr passes over that while any of what it asks for
    changes something, and fails with EINVAL where nothing does: at the second opening.
    """
    attributes = termios.tcgetattr(slave)
    attributes[ISPEED] = attributes[OSPEED] = termios.B50
    termios.tcsetattr(slave, termios.TCSANOW, attributes)


class TcpEnd:
    """The instrument's end of TCP connections; each gets the same stream."""

    def __init__(self, received: Received, number: int) -> None:
        self.number = number
        self._received = received
        self._clients: set[_Client] = set()
        self._dead: list[_Client] = []

    def send(self, data: bytes) -> bool:
        """Sends to everybody who is connected."""
        for client in self._clients:
            client.send(data)
        return bool(self._clients)

    def abandon(self) -> None:
        """Connections there are stay open and dead, as after a power cut; new ones are served."""
        for client in tuple(self._clients):
            client.die()
            self._dead.append(client)

    def bury(self) -> None:
        """Ends those that are dead."""
        while self._dead:
            self._dead.pop().cut()

    def _client(self) -> "_Client":
        return _Client(self._clients, self._received)


class TcpPort(TcpEnd):
    """An instrument that is a TCP server."""

    def __init__(self, received: Received, host: str = HOST, number: int = 0) -> None:
        super().__init__(received, number)
        self._host = loopback(host)
        self._server: asyncio.Server | None = None

    async def plug(self, *, renumbered: bool = False) -> None:
        """Listens; on the same number again after unplugging."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._client, self._host, self.number)
        self.number = self._server.sockets[0].getsockname()[1]

    async def unplug(self) -> None:
        """Closes the server and its connections."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for client in tuple(self._clients):
            client.cut()
        await server.wait_closed()


class CallingPort(TcpEnd):
    """An instrument that calls a gateway by TCP, again and again until somebody answers."""

    def __init__(self, received: Received, number: int, again_s: float = AGAIN_S) -> None:
        super().__init__(received, number)
        self._again_s = again_s
        self._calls: asyncio.Task[None] | None = None

    async def plug(self, *, renumbered: bool = False) -> None:
        """Begins to call."""
        self._calls = asyncio.create_task(self._call(), name=f"call {self.number}")

    async def unplug(self) -> None:
        """Hangs up, and calls no more."""
        calls, self._calls = self._calls, None
        if calls is not None:
            calls.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await calls
        for client in tuple(self._clients):
            client.cut()

    async def _call(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            with contextlib.suppress(OSError):
                _, client = await loop.create_connection(self._client, HOST, self.number)
                await client.left.wait()
            await asyncio.sleep(self._again_s)


def free_port() -> int:
    """A number that nobody listens on now."""
    with socket.socket() as found:
        found.bind((HOST, 0))
        return int(found.getsockname()[1])


class _Client(asyncio.Protocol):
    def __init__(self, everybody: "set[_Client]", received: Received) -> None:
        self._everybody = everybody
        self._received = received
        self._transport: asyncio.Transport | None = None
        self.left = asyncio.Event()
        """It is closed, or dead."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._transport = transport
            self._everybody.add(self)

    def data_received(self, data: bytes) -> None:
        self._received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._everybody.discard(self)
        self.left.set()

    def die(self) -> None:
        """It neither reads nor writes from now on."""
        self._everybody.discard(self)
        self.left.set()
        if self._transport is not None:
            self._transport.pause_reading()

    def send(self, data: bytes) -> None:
        if self._transport is not None and self._transport.get_write_buffer_size() < SEND_LIMIT:
            self._transport.write(data)

    def cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()
