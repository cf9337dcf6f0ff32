"""The wall clock of a process that is started with this folder in PYTHONPATH, stepped by a file.

libfaketime does this for any program, but it also replaces the waits of the threads library: as
soon as two threads share Python's lock the process burns a core, waits end with EINVAL, and what
is measured is that. Here only ``time.time`` and ``time.time_ns`` are others; everything in the
gateway that reads the wall clock reads it there.
"""

import os
import time

_FILE = os.environ["TORTURE_CLOCK"]
_true = time.time
_known: tuple[int, float] = (0, 0.0)


def _ahead_s() -> float:
    global _known
    changed = os.stat(_FILE).st_mtime_ns
    if changed != _known[0]:
        with open(_FILE, encoding="ascii") as file:
            _known = changed, float(file.read())
    return _known[1]


time.time = lambda: _true() + _ahead_s()
time.time_ns = lambda: int(time.time() * 1e9)
