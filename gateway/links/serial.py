"""A serial port: pyserial opens and configures it, reading and writing are ours.

pyserial's own read() selects on descriptors below 1024 and its readline() makes two system calls
a byte; here the event loop watches the descriptor. An empty read means unplugged, not end of
file: the descriptor would stay readable for ever.
"""

import asyncio
import errno
import os
import termios
from typing import Final

import serial

from drivers.api import SerialLine
from gateway.links.errors import (
    LinkError,
    LinkLost,
    PortBusy,
    PortForbidden,
    PortMissing,
    PortRefused,
)
from gateway.links.inbox import Inbox

OPEN_TIMEOUT_S: Final = 5.0
WRITE_TIMEOUT_S: Final = 5.0
READ_SIZE: Final = 4096
INBOX_LIMIT: Final = 1 << 16
"""Nobody has read for so long: the rest is left to the kernel, which drops what it cannot hold."""


class SerialLink:
    """One serial port with the line settings of its instrument."""

    def __init__(self, port: str, line: SerialLine) -> None:
        self._path = port
        self._line = line
        self._serial: serial.Serial | None = None
        self._fd = -1
        self._inbox = Inbox()
        self._paused = False

    @property
    def port(self) -> str:
        """The device path."""
        return self._path

    async def open(self) -> None:
        """Opens it in a thread: opening may block."""
        loop = asyncio.get_running_loop()
        opening = loop.run_in_executor(None, self._open_port)
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                self._serial = await asyncio.shield(opening)
        except TimeoutError:
            opening.add_done_callback(_discard)
            raise PortRefused(self._path, "opening takes too long") from None
        except asyncio.CancelledError:
            opening.add_done_callback(_discard)
            raise
        except (OSError, termios.error, ValueError) as error:
            raise _explain(self._path, error) from error
        self._inbox = Inbox()
        self._paused = False
        self._fd = self._serial.fileno()
        os.set_blocking(self._fd, False)
        loop.add_reader(self._fd, self._readable)

    async def read(self) -> bytes:
        """The next bytes; LinkLost once it is unplugged and everything was read."""
        data = await self._inbox.read()
        self._resume()
        return data

    def take(self) -> bytes:
        """What has come so far."""
        data = self._inbox.take()
        self._resume()
        return data

    async def write(self, data: bytes) -> None:
        """Sends ``data``; LinkLost if the port is gone or takes nothing for too long."""
        rest = memoryview(data)
        try:
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                while rest:
                    try:
                        rest = rest[os.write(self._fd, rest) :]
                    except BlockingIOError:
                        await self._writable()
        except TimeoutError:
            raise LinkLost(self._path, "takes no data") from None
        except OSError as error:
            raise LinkLost(self._path, "unplugged", error.strerror or "") from error

    async def close(self) -> None:
        """Closes it in a thread, after the loop has let go of the descriptor."""
        port, self._serial = self._serial, None
        if port is None:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._fd)
        loop.remove_writer(self._fd)
        self._fd = -1
        self._inbox.lose(LinkLost(self._path, "closed"))
        await loop.run_in_executor(None, _close_port, port)

    def _open_port(self) -> serial.Serial:
        port = serial.Serial()
        port.baudrate = self._line.baud
        port.bytesize = self._line.bits
        port.parity = self._line.parity
        port.stopbits = self._line.stop
        port.timeout = 0
        port.write_timeout = 0
        port.exclusive = True
        if self._line.rts is not None:
            port.rts = self._line.rts
        if self._line.dtr is not None:
            port.dtr = self._line.dtr
        port.port = self._path
        port.open()
        return port

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, READ_SIZE)
        except BlockingIOError:
            return
        except OSError as error:
            self._unplugged(error.strerror or "")
            return
        if not data:
            self._unplugged("")
            return
        self._inbox.put(data)
        if len(self._inbox) > INBOX_LIMIT:
            asyncio.get_running_loop().remove_reader(self._fd)
            self._paused = True

    def _resume(self) -> None:
        if self._paused and self._serial is not None:
            self._paused = False
            asyncio.get_running_loop().add_reader(self._fd, self._readable)

    def _unplugged(self, why: str) -> None:
        asyncio.get_running_loop().remove_reader(self._fd)
        self._inbox.lose(LinkLost(self._path, "unplugged", why))

    async def _writable(self) -> None:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        loop.add_writer(self._fd, _set, ready)
        try:
            await ready
        finally:
            loop.remove_writer(self._fd)


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _discard(opening: "asyncio.Future[serial.Serial]") -> None:
    """Closes a port that opened after nobody waited for it any more."""
    if not opening.cancelled() and opening.exception() is None:
        _close_port(opening.result())


def _close_port(port: serial.Serial) -> None:
    try:
        port.close()
    except (OSError, termios.error):
        return  # it was unplugged; the descriptor is closed all the same


def _explain(path: str, error: Exception) -> LinkError:
    number = getattr(error, "errno", None)
    if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return PortMissing(path, "no such device", "is it plugged in?")
    if number == errno.EACCES:
        return PortForbidden(path, "permission denied", "add the service's user to group dialout")
    if number == errno.EPERM:
        return PortForbidden(path, "not permitted", "the unit's DeviceAllow does not cover it")
    if number in (errno.EAGAIN, errno.EBUSY):
        return PortBusy(path, "in use by another program")
    return PortRefused(path, str(error))
