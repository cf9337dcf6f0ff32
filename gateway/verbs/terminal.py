"""What all verbs share: exit codes, and where they print."""

import contextlib
import gc
import io
import sys
from enum import IntEnum
from pathlib import Path
from typing import Final

from config.loader import load
from config.models import Configuration
from config.problem import ConfigErrors, format_problem


class Exit(IntEnum):
    """Exit codes of every verb."""

    WELL = 0
    FAULT = 1
    USAGE = 2


class NoOutput(Exception):
    """Standard output takes nothing more; the text says why."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"cannot write the output: {error.strerror or error}")


def say(text: str) -> None:
    """A result, to standard output. Raises NoOutput, BrokenPipeError."""
    try:
        sys.stdout.write(text + "\n")
    except BrokenPipeError:
        raise
    except OSError as error:
        raise NoOutput(error) from error


def finish_output() -> None:
    """Everything said is written. Raises NoOutput, BrokenPipeError."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise NoOutput(error) from error


def drop_output() -> None:
    """What is not written yet is given up, so that the interpreter's end does not try again."""
    with contextlib.suppress(OSError):
        sys.stdout.close()


def spell_out() -> None:
    """Characters that a terminal's encoding does not have are spelt, such as ``\\u8f90``."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def complain(text: str) -> None:
    """Anything else, to standard error."""
    sys.stderr.write(text + "\n")


def load_or_complain(path: Path) -> Configuration | None:
    """The configuration, or None after every problem was printed."""
    try:
        return load(path)
    except ConfigErrors as errors:
        for problem in errors.problems:
            complain(format_problem(problem))
        return None


GARBAGE_THRESHOLD: Final = 20_000
"""Values hold no cycles; with the default of 700 the collector looks through everything often."""


def spare_collector() -> None:
    """For a process that makes many values and few cycles."""
    gc.set_threshold(GARBAGE_THRESHOLD, *gc.get_threshold()[1:])
