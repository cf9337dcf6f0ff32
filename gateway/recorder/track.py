"""One recording that is being taken: a bounded queue on the loop, a bounded file in a thread."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from drivers.codec.recording import Header, Kind, Piece, encode_header, encode_piece
from gateway.recorder import files as recorder_files
from gateway.tap import PIECE_BYTES, Tap
from gateway.values import Instant
from gateway.wire.table import iso

QUEUE_BYTES: Final = 4 * 1024 * 1024
"""Own choice: six minutes of a line at 115200 baud, while a disk does not answer."""
LAST_LINE: Final = 128
"""Kept free for the line that says why it ends."""
SIZE: Final = "size"
TIME: Final = "time"
FULL_DISK: Final = "the disk is nearly full"


@dataclass(frozen=True, slots=True)
class Limits:
    """How long and how large; ``asked``: by somebody, else it is one of those always taken."""

    max_bytes: int
    seconds: float = float("inf")
    asked: bool = True


class RecordingTrack:
    """Pieces of one detector on their way into a file; ``reason`` once it has ended."""

    def __init__(self, tap: Tap, header: Header, limits: Limits, began: Instant) -> None:
        self.name = ""
        self.detector = header.detector
        self.tap = tap
        self.limits = limits
        self.reason = ""
        self.wanted_end = ""
        self.lost = 0
        self.bytes = 0
        self._began = began
        self._before = tap.beginning
        first = self._before[0].at_s if self._before else began.mono
        until = began.mono if tap.is_identifying or not self._before else self._before[-1].at_s
        self._span_s = max(0.0, until - first)
        self._header = replace(
            header,
            started=iso(began.wall - self._span_s),
            serial=tap.serial or header.serial,
            identified=iso(began.wall - (began.mono - first)) if self._before else "",
        )
        self._pending: list[Piece] = []
        self._pending_bytes = 0
        self._dropped = 0
        self._descriptor = -1

    # On the loop.

    def add(self, piece: Piece) -> None:
        """Queued, or counted if the disk does not keep up."""
        size = len(piece.data) + PIECE_BYTES
        if self._pending_bytes + size > QUEUE_BYTES:
            self._dropped += 1
            return
        self._own_up(piece.at_s)
        self._pending.append(piece)
        self._pending_bytes += size

    def take(self, now_s: float) -> list[Piece]:
        """What has come since."""
        self._own_up(now_s)
        taken, self._pending, self._pending_bytes = self._pending, [], 0
        return taken

    def end_wanted(self, now_s: float) -> str:
        """Why it must end now; nothing as long as it may go on."""
        if self.wanted_end:
            return self.wanted_end
        return TIME if now_s >= self._began.mono + self.limits.seconds else ""

    def _own_up(self, at_s: float) -> None:
        """Says how many were dropped."""
        if self._dropped:
            self._pending.append(Piece(at_s, Kind.LOST, count=self._dropped))
            self.lost += self._dropped
            self._dropped = 0

    # In the thread.

    def open(self, directory: Path) -> None:
        """Creates the file and says how the instrument was identified. Raises OSError."""
        self.name, self._descriptor = recorder_files.create(
            directory, self.detector, self._began.wall, asked=self.limits.asked
        )
        if not recorder_files.has_room(directory):
            self.close()
            recorder_files.remove(directory, self.name)
            raise OSError(FULL_DISK)
        lines = [encode_header(self._header)]
        if self._before:
            first = self._before[0].at_s
            lines += [
                encode_piece(replace(piece, at_s=piece.at_s - first)) for piece in self._before
            ]
        self._write(lines)

    def write(self, directory: Path, pieces: list[Piece], now_s: float, end: str) -> list[Piece]:
        """Writes them and, if it is to end, why; what does not fit is given back. OSError."""
        lines: list[str] = []
        size = self.bytes
        rest: list[Piece] = []
        last_s = min(now_s, self._began.mono + self.limits.seconds)
        for index, piece in enumerate(pieces):
            line = encode_piece(replace(piece, at_s=self._told(piece.at_s)))
            if size + len(line) + 1 > self.limits.max_bytes - LAST_LINE:
                rest, end, last_s = pieces[index:], SIZE, piece.at_s
                break
            lines.append(line)
            size += len(line) + 1
        if not end and not recorder_files.has_room(directory):
            end = FULL_DISK
        if end:
            lines.append(encode_piece(Piece(self._told(last_s), Kind.END, text=end)))
        self._write(lines)
        if end:
            self.close()
            self.reason = end
        return rest

    def close(self) -> None:
        """Lets go of the file."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _told(self, at_s: float) -> float:
        return self._span_s + max(0.0, at_s - self._began.mono)

    def _write(self, lines: list[str]) -> None:
        data = memoryview("".join(line + "\n" for line in lines).encode("ascii"))
        while data:
            written = os.write(self._descriptor, data)
            self.bytes += written
            data = data[written:]
