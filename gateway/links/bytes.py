"""What every byte link offers to a session."""

from typing import Protocol


class ByteLink(Protocol):
    """A serial line, a connection or a recording. Every method may raise LinkError."""

    @property
    def port(self) -> str:
        """Its name for people: device path, host and port, or file."""

    async def open(self) -> None:
        """Opens once, within a bounded time."""

    async def read(self) -> bytes:
        """The next bytes, never empty; waits until there are some."""

    def take(self) -> bytes:
        """What is already there, perhaps nothing; does not wait."""

    async def write(self, data: bytes) -> None:
        """Sends all of ``data`` within a bounded time."""

    async def close(self) -> None:
        """Lets go of it, quietly if it is already gone."""
