"""``check``: is this configuration right, and if not, everything that is wrong with it."""

import argparse
from dataclasses import asdict
from pathlib import Path

from config.loader import examine
from config.problem import Severity, format_problem
from gateway.verbs.terminal import Exit, complain, say
from gateway.wire_table import dump


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument("-c", "--config", type=Path, required=True, help="configuration file")
    parser.add_argument("--json", action="store_true", help="problems as JSON lines")


def run(arguments: argparse.Namespace) -> Exit:
    """Prints every problem; 2 if one of them is an error."""
    examination = examine(arguments.config)
    for problem in examination.problems:
        if arguments.json:
            say(dump(asdict(problem)).decode())
        else:
            complain(format_problem(problem))
    configuration = examination.configuration
    if configuration is None:
        errors = [p for p in examination.problems if p.severity is Severity.ERROR]
        complain(f"{arguments.config}: {len(errors)} error{'s' * (len(errors) != 1)}")
        return Exit.USAGE
    if not arguments.json:
        sinks = ", ".join(sink.id for sink in configuration.sink) or "none"
        say(f"{arguments.config}: well, {len(configuration.detector)} detectors, sinks: {sinks}")
    return Exit.WELL
