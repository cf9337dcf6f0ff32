"""One gateway a state directory: two would number the same lanes and take each other's broker."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import structlog

log: Final = structlog.get_logger()
LOCK: Final = "gateway.lock"


class AlreadyRunning(Exception):
    """Another process is the gateway of this directory; the text says which and what to do."""


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Holds the directory's lock (flock(2)), which ends with the process, however that ends.

    Raises AlreadyRunning. A directory that cannot be written does not hinder a gateway, which then
    runs in memory.
    """
    try:
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        held = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        log.warning("not_locked", directory=str(directory), reason=str(error))
        yield
        return
    try:
        _lock(held, directory)
        yield
    finally:
        os.close(held)


def _lock(held: int, directory: Path) -> None:
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        number = os.read(held, 20).decode("ascii", "replace").strip()
        raise AlreadyRunning(
            f"{directory}: another gateway uses it (process {number or 'unknown'}); stop that one, "
            "or give this one a gateway.id, a gateway.state_dir and a gateway.control_socket of "
            "its own"
        ) from error
    except OSError as error:  # a file system without locks
        log.warning("not_locked", directory=str(directory), reason=str(error))
        return
    os.ftruncate(held, 0)
    os.write(held, f"{os.getpid()}\n".encode())
