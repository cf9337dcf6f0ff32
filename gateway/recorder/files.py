"""Files of recordings below the state directory: their names, how many of them, pieces of them."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISREG
from typing import Final

FOLDER: Final = "recordings"
FREE_BYTES: Final = 128 * 1024 * 1024
"""With less left on the disk nothing is recorded: four times what the journal needs. Own choice."""
_NAME: Final = re.compile(
    r"(?P<detector>[a-z0-9][a-z0-9_-]{0,31})\.(?P<time>\d{8}T\d{9})(?P<asked>\.asked)?\.jsonl"
)
_TRIES: Final = 1000


@dataclass(frozen=True, slots=True)
class Stored:
    """One file; ``asked``: somebody asked for it, else it is one of those always kept."""

    name: str
    detector: str
    time: str
    asked: bool
    size: int


class NoSuchRecording(LookupError):
    """There is no file of that name."""


def stored(directory: Path) -> list[Stored]:
    """All recordings, the oldest first."""
    found = []
    try:
        entries = list(os.scandir(directory))
    except FileNotFoundError:
        return []
    for entry in entries:
        match = _NAME.fullmatch(entry.name)
        if match is None or not entry.is_file(follow_symlinks=False):
            continue
        size = entry.stat(follow_symlinks=False).st_size
        asked = match["asked"] is not None
        found.append(Stored(entry.name, match["detector"], match["time"], asked, size))
    return sorted(found, key=lambda each: (each.time, each.name))


def create(directory: Path, detector: str, wall: float, *, asked: bool) -> tuple[str, int]:
    """A new file and its descriptor; its name has the time to the millisecond. Raises OSError."""
    directory.mkdir(mode=0o750, exist_ok=True)
    milliseconds = round(wall * 1000)
    for at in range(milliseconds, milliseconds + _TRIES):
        second = datetime.fromtimestamp(at // 1000, UTC).strftime("%Y%m%dT%H%M%S")
        name = f"{detector}.{second}{at % 1000:03d}{'.asked' if asked else ''}.jsonl"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            return name, os.open(directory / name, flags, 0o640)
        except FileExistsError:
            continue
    raise FileExistsError(f"{directory}: {_TRIES} recordings of {detector} in one second")


def make_room(directory: Path, keep_bytes: int, *, asked: bool, open_names: Iterable[str]) -> None:
    """Removes the oldest of one kind until those that are closed fit into ``keep_bytes``."""
    sparing = frozenset(open_names)
    closed = [
        each for each in stored(directory) if each.asked is asked and each.name not in sparing
    ]
    total = sum(each.size for each in closed)
    for each in closed:
        if total <= keep_bytes:
            return
        remove(directory, each.name)
        total -= each.size


def has_room(directory: Path) -> bool:
    """Whether the disk has enough left for others."""
    disk = os.statvfs(directory)
    return disk.f_bavail * disk.f_frsize >= FREE_BYTES


def read_part(directory: Path, name: str, at: int, length: int) -> tuple[bytes, int]:
    """Bytes of a file from ``at`` on, and its size. Raises NoSuchRecording and OSError."""
    path = _path(directory, name)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NoSuchRecording(f"there is no recording {name!r}") from None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not S_ISREG(status.st_mode):
            raise NoSuchRecording(f"{name!r} is no recording")
        file.seek(at)
        return file.read(length), status.st_size


def remove(directory: Path, name: str) -> None:
    """Deletes it; one that is gone already is well. Raises NoSuchRecording for other names."""
    _path(directory, name).unlink(missing_ok=True)


def _path(directory: Path, name: str) -> Path:
    if _NAME.fullmatch(name) is None:
        raise NoSuchRecording(f"{name[:64]!r} is no name of a recording")
    return directory / name
