"""The command line: ``dosegate VERB``."""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from types import ModuleType
from typing import Final

from gateway.verbs.order_table import ORDERS
from gateway.verbs.terminal import (
    Exit,
    NoOutput,
    complain,
    drop_output,
    finish_output,
    spell_out,
)


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb and its module below gateway.verbs, with ``add_arguments`` and ``run``."""

    name: str
    help: str
    module: str


_PAST: Final = re.compile(r"^-\d")
"""An amount of time that has passed, such as -90s: a blank before it makes it no option."""

VERBS = (
    Verb("demo", "everything on one machine, with simulated instruments and no set-up", "demo"),
    Verb("run", "the gateway", "run"),
    Verb("check", "what is wrong with a configuration", "check"),
    Verb("probe", "read detectors, change nothing, show what each says", "probe"),
    Verb("drivers", "the instrument table", "drivers"),
    Verb("decode", "a log file or recording to JSON lines", "decode"),
    Verb("record", "raw bytes of a detector with their times, taken by the gateway", "record"),
    Verb("replay", "a recording through driver and pipeline again", "replay"),
    Verb("simulate", "play a scenario, in virtual time or live", "simulate"),
    Verb("plot", "readings, alarms and a map as a page to print", "plot"),
    Verb("inject", "say what happens next on a live stage", "inject"),
    Verb("board", "detectors and alarms of this laptop", "board"),
    Verb("watch", "any number of gateways over MQTT: alarms, states, gaps", "watch"),
    Verb("why", "why an alarm was raised, or none was", "why"),
    Verb("journal", "the durable log: status, list, export, verify, requeue", "journal"),
    *(Verb(order.name, order.help, "orders") for order in ORDERS),
    Verb("drill", "ghost sources over real instruments, and the score", "drill"),
    Verb("guidance", "what an alarm means and what to do at the detector", "guidance"),
    Verb("schema", "the public contracts as JSON Schema and reference pages", "schema"),
)


def main(words: Sequence[str] | None = None) -> int:
    """Runs one verb; the exit code is 0 well, 1 a fault was found, 2 bad usage."""
    spell_out()
    words = sys.argv[1:] if words is None else list(words)
    verb = next((verb for verb in VERBS if words and verb.name == words[0]), None)
    parser = _parser(verb)
    if not words:
        parser.print_help()
        return Exit.USAGE
    arguments = parser.parse_args([_PAST.sub(r" \g<0>", word) for word in words])
    if verb is None:
        return Exit.USAGE
    return _run(_module(verb).run, arguments)


def _run(run: Callable[[argparse.Namespace], Exit], arguments: argparse.Namespace) -> Exit:
    try:
        code = run(arguments)
        finish_output()
    except BrokenPipeError:
        drop_output()
        sys.stderr.close()
        return Exit.WELL
    except NoOutput as error:
        drop_output()
        complain(str(error))
        return Exit.FAULT
    except KeyboardInterrupt:
        complain("interrupted")
        return Exit.FAULT
    return code


def _parser(verb: Verb | None) -> argparse.ArgumentParser:
    """The parser; only the verb that is wanted is imported."""
    parser = argparse.ArgumentParser("dosegate", description=__doc__)
    parser.add_argument("--version", action="version", version=f"dosegate {version('dosegate')}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for one in VERBS:
        below = verbs.add_parser(one.name, help=one.help, description=one.help)
        if one is verb:
            below.set_defaults(verb=one.name)
            _module(one).add_arguments(below)
    return parser


def _module(verb: Verb) -> ModuleType:
    return import_module(f"gateway.verbs.{verb.module}")
