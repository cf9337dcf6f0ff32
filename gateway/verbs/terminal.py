"""What all verbs share: exit codes, and where they print."""

import gc
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


def say(text: str) -> None:
    """A result, to standard output."""
    sys.stdout.write(text + "\n")


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
