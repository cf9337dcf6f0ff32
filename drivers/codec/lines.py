"""Bytes to lines, with a limit, without losing the place."""

from collections.abc import Iterator

from drivers.errors import FrameError, Reject
from drivers.quick import quick


@quick(frozen=True, slots=True)
class Line:
    """One line without its end, its number (from 1) and where it began in the stream."""

    text: bytes
    number: int
    offset: int


class LineSplitter:
    """Splits at LF and drops a CR before it; a line over ``limit`` bytes is one error, not many."""

    def __init__(self, limit: int = 4096) -> None:
        self._limit = limit
        self._rest = bytearray()
        self._number = 0
        self._offset = 0
        self._skipping = False

    def feed(self, data: bytes) -> Iterator[Line | FrameError]:
        """Lines that are complete with ``data``."""
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            yield from self._end_line(data[start:end])
            start = end + 1
        self._keep(data[start:])
        if len(self._rest) > self._limit and not self._skipping:
            yield self._error(bytes(self._rest[: self._limit]))
            self._skipping = True
            self._offset += len(self._rest)
            self._rest.clear()

    def flush(self) -> Iterator[Line | FrameError]:
        """What is left without a line end, at the end of a file."""
        if self._rest and not self._skipping:
            yield from self._end_line(b"")

    def clear(self) -> None:
        """Forget a half line: bytes were lost."""
        self._offset += len(self._rest)
        self._rest.clear()
        self._skipping = False

    def _keep(self, data: bytes) -> None:
        if self._skipping:
            self._offset += len(data)
        else:
            self._rest += data

    def _end_line(self, tail: bytes) -> Iterator[Line | FrameError]:
        self._number += 1
        offset, length = self._offset, len(self._rest) + len(tail)
        text = bytes(self._rest) + tail
        self._offset += length + 1
        self._rest.clear()
        if self._skipping:
            self._skipping = False
        elif length > self._limit:
            yield FrameError(
                Reject.OVERFLOW,
                text[: self._limit],
                "line too long",
                line=self._number,
                offset=offset,
            )
        else:
            yield Line(text.removesuffix(b"\r"), self._number, offset)

    def _error(self, raw: bytes) -> FrameError:
        return FrameError(
            Reject.OVERFLOW, raw, "line too long", line=self._number + 1, offset=self._offset
        )
