"""A stream of bGeigie bytes cut into sentences, comments and rejects."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from drivers.bgeigie.sentence import Sentence, Status, decode
from drivers.errors import DecodeError, DriverError, FrameError, Reject

LINE_LIMIT: Final = 160


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment line without its ``#``."""

    text: str


Piece = Sentence | Status | Comment | DriverError
_Step = tuple[int, list[Piece]]
_DECIMAL_DEGREES: Final = re.compile(rb"-?[0-9]{1,3}\.[0-9]{6,9}")
_RESUME: Final = re.compile(rb"[$\n]")
_END: Final = re.compile(rb"\n|\*[^\r\n]{2}")


class Cutter:
    """Bytes to sentences, comments and rejects, with or without line ends, in 160 bytes."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._line = 1
        self._offset = 0
        self._skipping = False
        self._flooded = False
        self._told = False

    def feed(self, data: bytes) -> Iterator[Piece]:
        """What is complete with ``data``; the same however the stream is split."""
        self._rest += data
        while not self._skipping or self._resume():
            window = bytes(self._rest[:LINE_LIMIT])
            step = self._sentence(window) if window[:1] == b"$" else self._between(window)
            if step is None:
                if len(window) < LINE_LIMIT:
                    return
                step = self._overflow(window)
            length, pieces = step
            for piece in pieces:
                if isinstance(piece, DriverError):
                    piece.line, piece.offset = self._line, self._offset
            self._drop(length)
            yield from pieces

    def clear(self) -> None:
        """Forget a half line: bytes were lost."""
        self._drop(len(self._rest))
        self._skipping = self._flooded = self._told = False

    def _drop(self, length: int) -> None:
        if b"\n" in self._rest[:length]:
            self._line += 1
            self._told = self._flooded = False
        self._offset += length
        del self._rest[:length]

    def _resume(self) -> bool:
        match = _RESUME.search(self._rest)
        self._drop(match.start() if match else len(self._rest))
        self._skipping = match is None
        return match is not None

    def _between(self, window: bytes) -> _Step | None:
        """What stands before the next ``$`` or line end: a comment, a prefix or stray text."""
        match = _RESUME.search(window)
        if match is None:
            return None
        text, is_line = window[: match.start()].strip(), match[0] == b"\n"
        if text and not text.strip(b"# ") and not is_line:
            end = window.find(b"\n")  # a sentence that somebody commented out
            return None if end < 0 else (end + 1, [])
        length = match.end() if is_line else match.start()
        if text.startswith(b"#"):
            return length, [Comment(part.decode("latin-1").strip()) for part in text.split(b"#")]
        if text and is_line and not self._told:
            return length, [FrameError(Reject.SYNTAX, text, "not a sentence")]
        return length, []

    def _sentence(self, window: bytes) -> _Step | None:
        match = _END.search(window)
        if match is None:
            return None
        if match[0] == b"\n":
            return match.end(), [_unfinished(window[: match.start()].rstrip(b"\r"))]
        self._told, self._flooded = True, False
        whole = _attempt(window[: match.end()])
        if isinstance(whole, FrameError) and whole.reason is Reject.SYNTAX:
            return match.start() + 1, [whole]
        inner = window.rfind(b"$", 1, match.end())
        if isinstance(whole, DriverError) and inner > 0:
            second = _attempt(window[inner : match.end()])
            if not isinstance(second, DriverError):
                return match.end(), [_unfinished(window[:inner]), second]
        return match.end(), [whole]

    def _overflow(self, window: bytes) -> _Step:
        inner = window.rfind(b"$")
        self._skipping = inner <= 0
        silent = self._flooded or window.strip()[:1] in (b"", b"#")
        self._flooded = True
        error = FrameError(Reject.OVERFLOW, window, "no sentence in 160 bytes")
        return inner if inner > 0 else LINE_LIMIT, [] if silent else [error]


def _attempt(candidate: bytes) -> Sentence | Status | DriverError:
    try:
        return decode(candidate)
    except DriverError as error:
        return error


def _unfinished(text: bytes) -> DriverError:
    """A sentence without a checksum: cut short, or written by firmware before 1.0."""
    fields = text.split(b",")
    if len(fields) > 8 and all(map(_DECIMAL_DEGREES.fullmatch, fields[7:9])):
        return DecodeError(Reject.UNSUPPORTED, text, "sentence of firmware before 1.0")
    return FrameError(Reject.TRUNCATED, text)
