"""A recording in place of an instrument: what it received is received again."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

from drivers.codec.recording import Piece, parse_recording
from gateway.links.errors import LinkLost, PortMissing


class RecordingLink:
    """Plays the received bytes of a recording at its own pace times ``speed`` (0: at once)."""

    def __init__(self, path: Path, speed: float) -> None:
        self._path = path
        self._speed = speed
        self._pieces: Iterator[Piece] = iter(())
        self._next: Piece | None = None
        self._began = 0.0

    @property
    def port(self) -> str:
        """The file."""
        return str(self._path)

    async def open(self) -> None:
        """Reads the file; PortMissing if it is not there or no recording."""
        loop = asyncio.get_running_loop()
        try:
            text = await loop.run_in_executor(None, self._path.read_text, "utf-8")
            pieces = [
                piece
                for piece in parse_recording(text.splitlines())
                if piece.received and piece.data
            ]
        except (OSError, ValueError) as error:
            raise PortMissing(self.port, f"no readable recording: {error}") from error
        self._pieces, self._next = iter(pieces), None
        self._began = loop.time()

    async def read(self) -> bytes:
        """The next piece when its time has come; LinkLost at the end."""
        if self._next is None:
            self._next = next(self._pieces, None)
        if self._next is None:
            raise LinkLost(self.port, "the recording has ended")
        wait_s = 0.0  # at speed 0 the others still get their turn
        if self._speed > 0:
            due = self._began + self._next.at_s / self._speed
            wait_s = max(0.0, due - asyncio.get_running_loop().time())
        await asyncio.sleep(wait_s)
        data, self._next = self._next.data, None
        return data

    def take(self) -> bytes:
        """Nothing: pieces come at their time."""
        return b""

    async def write(self, data: bytes) -> None:
        """A recording does not listen."""

    async def close(self) -> None:
        """Nothing to let go of."""
