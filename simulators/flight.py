"""Bytes on a faulty line, in real time: pieces leave when the wire says that they are due."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from simulators.link_faults import Piece, Wire

WAITING_PIECES: Final = 20_000
"""More than these on their way are lost, as in a buffer that is full; own choice."""

Send = Callable[[bytes], bool]
Arrived = Callable[[], None]


def untold() -> None:
    """Nobody wants to know that it arrived."""


class Flight:
    """Sends over one line, in order; ``send`` says whether somebody could take the bytes."""

    def __init__(self, wire: Wire, send: Send) -> None:
        self._wire = wire
        self._send = send
        self._waiting: deque[tuple[Piece, Arrived]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def launch(self, data: bytes, arrived: Arrived = untold) -> None:
        """On its way; ``arrived`` is called once all of it was taken, unharmed."""
        if self._wire.is_sound and not self._waiting:
            if self._send(data):
                arrived()
            return
        now = asyncio.get_running_loop().time()
        for piece in self._wire.carry(now, data):
            if len(self._waiting) < WAITING_PIECES:
                self._waiting.append((piece, arrived if piece.whole else untold))
        self._deliver()

    def drop(self) -> None:
        """What is on its way never arrives."""
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _deliver(self) -> None:
        loop = asyncio.get_running_loop()
        waiting = self._waiting
        while waiting and waiting[0][0].due_s <= loop.time():
            piece, arrived = waiting.popleft()
            if self._send(piece.data):
                arrived()
        if waiting and self._timer is None:
            self._timer = loop.call_at(waiting[0][0].due_s, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._deliver()
