"""The epoch's own small file: beside the journal, so that no damage lets an epoch come again.

An epoch is stored in the journal first and here second, both before it is used. So the file knows
of a later one only where the journal has been lost; a crash between the two leaves it behind. Where
the journal could not store it the file says so (``alone``).
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

EPOCH_FILE: Final = "epoch"
EPOCH_DIGITS: Final = 15
"""JSON's numbers are exact so far."""
UNKNOWN_EPOCH: Final = 1_000_000_000
"""Above what starts can count, should the clock be wrong as well."""
_ALONE: Final = b" alone"


@dataclass(frozen=True, slots=True)
class KeptEpoch:
    """What the file says; ``alone``: the journal may not know it."""

    epoch: int = 0
    alone: bool = False


@dataclass(frozen=True, slots=True)
class NextEpoch:
    """The epoch to begin, and what there is to tell; ``is_lost``: a journal knew later ones."""

    epoch: int
    notices: tuple[str, ...] = ()
    is_lost: bool = False


def next_epoch(directory: Path, stored: int, *, damaged: bool = False) -> NextEpoch:
    """One more than any epoch known to the file or the journal, which has ``stored``.

    Where neither knows one although there was one, it is the Unix time: far above all that were
    counted, and they go on being counted from there. An epoch that comes again would give new
    alarms the keys of old ones.
    """
    path = directory / EPOCH_FILE
    kept = kept_epoch(directory)
    if kept is None:
        if stored:
            notice = f"{path} could not be read; the epoch goes on from the journal's own, {stored}"
            return NextEpoch(stored + 1, (notice,))
    elif stored or kept.epoch or not damaged:
        epoch = max(kept.epoch, stored) + 1
        if kept.epoch <= stored or kept.alone or damaged:
            return NextEpoch(epoch)
        was = f"it ends at epoch {stored} of {kept.epoch}" if stored else "it is empty"
        notice = f"{directory}: the journal is not the one that was here last: {was}"
        return NextEpoch(epoch, (notice,), is_lost=True)
    epoch = unknown_epoch()
    return NextEpoch(
        epoch, (f"{path} and the journal are damaged; the epoch goes on from {epoch}",)
    )


def store_epoch(directory: Path, epoch: int, *, alone: bool = False) -> None:
    """Writes the file, all of it or nothing; in its place where there is no more room."""
    path = directory / EPOCH_FILE
    content = b"%d%b\n" % (epoch, _ALONE if alone else b"")
    try:
        _replace_file(path, content)
    except OSError:
        with path.open("r+b") as file:
            file.write(content)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())


def kept_epoch(directory: Path) -> KeptEpoch | None:
    """What the file says, 0 if there is none; None if it cannot be read."""
    try:
        text = (directory / EPOCH_FILE).read_bytes()[:32].strip()
        digits = text.removesuffix(_ALONE)
        if len(digits) > EPOCH_DIGITS:
            return None
        return KeptEpoch(max(0, int(digits)), alone=digits != text)
    except FileNotFoundError:
        return KeptEpoch()
    except (OSError, ValueError):
        return None


def unknown_epoch() -> int:
    """An epoch above all that were counted, by the wall clock."""
    return max(UNKNOWN_EPOCH, int(time.time()))


def _replace_file(path: Path, content: bytes) -> None:
    new = path.with_name(path.name + ".new")
    with new.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
