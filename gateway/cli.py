"""The command line: ``dosegate VERB``."""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version

from gateway.verbs.terminal import Exit, complain


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb: its module below gateway.verbs and the functions in it."""

    name: str
    help: str
    module: str
    run: str = "run"
    arguments: str = "add_arguments"


VERBS = (
    Verb("demo", "everything on one machine, with simulated instruments and no set-up", "demo"),
    Verb("run", "the gateway", "run"),
    Verb("check", "what is wrong with a configuration", "check"),
    Verb("probe", "read detectors, change nothing, show what each says", "probe"),
    Verb("drivers", "the instrument table", "drivers"),
    Verb("decode", "a log file or recording to JSON lines", "decode"),
    Verb("simulate", "play a scenario, in virtual time or live", "simulate"),
    Verb(
        "board", "detectors and alarms of this laptop", "board", "run_board", "add_board_arguments"
    ),
    Verb("ack", "acknowledge alarms on this laptop", "board", "run_ack", "add_ack_arguments"),
    Verb(
        "reset",
        "take the latch off an alarm that is over",
        "board",
        "run_reset",
        "add_reset_arguments",
    ),
    Verb("schema", "the public contracts as JSON Schema and reference pages", "schema"),
)


def main(words: Sequence[str] | None = None) -> int:
    """Runs one verb; the exit code is 0 well, 1 a fault was found, 2 bad usage."""
    words = sys.argv[1:] if words is None else list(words)
    verb = next((verb for verb in VERBS if words and verb.name == words[0]), None)
    parser = _parser(verb)
    if not words:
        parser.print_help()
        return Exit.USAGE
    arguments = parser.parse_args(words)
    if verb is None:
        return Exit.USAGE
    run: Callable[[argparse.Namespace], Exit] = getattr(_module(verb), verb.run)
    try:
        return run(arguments)
    except BrokenPipeError:
        sys.stderr.close()
        return Exit.WELL
    except KeyboardInterrupt:
        complain("interrupted")
        return Exit.FAULT


def _parser(verb: Verb | None) -> argparse.ArgumentParser:
    """The parser; only the verb that is wanted is imported."""
    parser = argparse.ArgumentParser("dosegate", description=__doc__)
    parser.add_argument("--version", action="version", version=f"dosegate {version('dosegate')}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for one in VERBS:
        below = verbs.add_parser(one.name, help=one.help, description=one.help)
        if one is verb:
            getattr(_module(one), one.arguments)(below)
    return parser


def _module(verb: Verb) -> object:
    return import_module(f"gateway.verbs.{verb.module}")
