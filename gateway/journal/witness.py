"""How far the journal was on the disk, in a file beside it: it tells of what has gone since.

A log that was lost or ends early is no damage to SQLite: what it held simply is not there. So the
newest numbers are written here after each synchronisation that succeeded, in place and without one
of its own. A crash may leave older numbers, never later ones: it says nothing wrong. What cannot be
read says nothing.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from gateway.values import Lane

WITNESS_FILE: Final = "synchronised"
SECTOR_BYTES: Final = 512
"""Disks write so much whole; 15 digits for each of the lanes fit."""

Numbers = Mapping[tuple[Lane, int], int]


class Witness:
    """Written by the writer's thread."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / WITNESS_FILE
        self._file: int | None = None
        self._last: dict[Lane, int] = {}
        self._written = b""

    def note(self, lane: Lane, seq: int) -> None:
        """A number that has been committed."""
        self._last[lane] = seq

    def forget(self) -> None:
        """The journal has been replaced: what is gone has been told."""
        self._last.clear()

    def write(self, epoch: int) -> None:
        """All that was noted has been synchronised."""
        text = json.dumps([epoch, self._last], separators=(",", ":")).encode()
        if text == self._written or len(text) >= SECTOR_BYTES:
            return
        with suppress(OSError):
            if self._file is None:
                self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
            os.pwrite(self._file, text.ljust(SECTOR_BYTES - 1) + b"\n", 0)
            self._written = text

    def close(self) -> None:
        """Lets go of the file."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                os.close(file)


def _gone(directory: Path, stored: int, numbers: Numbers) -> dict[Lane, tuple[int, int]]:
    """By lane, how many were on the disk and how many of them the journal still knows.

    ``stored`` is its epoch: of earlier ones it need not know any more.
    """
    try:
        epoch, last = json.loads((directory / WITNESS_FILE).read_bytes())
        if int(epoch) < stored:
            return {}
        seen = {lane: int(last.get(lane, 0)) for lane in Lane}
        found = {lane: (seq, numbers.get((lane, int(epoch)), 0)) for lane, seq in seen.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
    return {lane: (seq, known) for lane, (seq, known) in found.items() if known < seq}


def missed(directory: Path, stored: int, numbers: Numbers) -> tuple[str, ...]:
    """What is gone, in words; nothing where nothing is."""
    missing = _gone(directory, stored, numbers)
    if not missing:
        return ()
    lanes = ", ".join(f"{seq - known} of {lane}" for lane, (seq, known) in missing.items())
    return (f"{directory}: messages that were on the disk are gone from the journal: {lanes}",)
