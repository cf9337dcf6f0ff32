"""The broker of a stage: a small one of its own, and what events of a scenario do to it."""

import asyncio
import errno
import os
import socket
from enum import StrEnum
from typing import Final

from config.actions import BrokerAction, BrokerCut, BrokerStall, BrokerStart, BrokerStop
from simulators.broker import Broker

HOST: Final = "127.0.0.1"


class CannotListen(OSError):
    """The broker has no port; the text says which and why."""


class BrokerState(StrEnum):
    """What whoever connects meets."""

    LISTENING = "listening"
    STALLED = "stalled"
    STOPPED = "stopped"


class StageBroker:
    """Stopped and started again it is on the same port, and has what it had unless told not to."""

    def __init__(self, port: int = 0) -> None:
        self._broker = Broker(HOST, port)
        self._held: socket.socket | None = None
        self._stall: BrokerStall | None = None
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> "StageBroker":
        port = self._broker.port
        try:
            await self._broker.start()
        except (OSError, OverflowError) as error:
            raise CannotListen(_no_port(port, error)) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        async with self._turn:
            await self._broker.stop()
            self._let_go()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._broker.port

    @property
    def url(self) -> str:
        """The same for a configuration."""
        return f"mqtt://{HOST}:{self._broker.port}"

    @property
    def state(self) -> BrokerState:
        """What is the case now."""
        if self._held is not None:
            return BrokerState.STOPPED
        return BrokerState.LISTENING if self._stall is None else BrokerState.STALLED

    def objection(self, event: BrokerAction) -> str:
        """Why this would change nothing; empty if it would."""
        match event, self.state:
            case BrokerStop(forgets=False), BrokerState.STOPPED:
                return "the broker is stopped already"
            case ((BrokerCut() | BrokerStall()), BrokerState.STOPPED):
                return "the broker is stopped: broker-start first"
            case BrokerStart(), BrokerState.LISTENING:
                return "the broker runs and is not stalled: there is nothing to start"
        return ""

    async def play(self, event: BrokerAction) -> None:
        """Plays one event; what is so already stays so."""
        async with self._turn:
            match event:
                case BrokerStop():
                    await self._stop(forgets=event.forgets)
                case BrokerStart():
                    await self._start()
                case BrokerCut():
                    self._broker.cut()
                case BrokerStall() if self._held is None:
                    self._stall = event
                    self._broker.stall()

    def end(self, stall: BrokerStall) -> None:
        """It is over, unless it ended before or another has begun since."""
        if self._stall is stall:
            self._stall = None
            self._broker.resume()

    async def _stop(self, *, forgets: bool) -> None:
        if self._held is None:
            await self._broker.stop()
            self._held = _bound(self._broker.port)
        if self._stall is not None:
            self.end(self._stall)
        if forgets:
            self._broker.forget()

    async def _start(self) -> None:
        if self._held is not None:
            self._let_go()
            await self._broker.start()
        if self._stall is not None:
            self.end(self._stall)

    def _let_go(self) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None


def _no_port(port: int, error: OSError | OverflowError) -> str:
    if isinstance(error, OverflowError):
        return f"{port} is no port: they go from 1 to 65535, and 0 is any free one"
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is in use"
    return f"no broker on port {port}: {os.strerror(error.errno) if error.errno else error}"


def _bound(port: int) -> socket.socket:
    """Keeps a port on which nobody listens: who connects is refused, and nobody else gets it.

    A client that tries again and again could otherwise be given that very port as its own, and
    be connected to itself.
    """
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind((HOST, port))
    return held
