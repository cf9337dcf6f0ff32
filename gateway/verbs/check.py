"""``check``: is this configuration right, what is wrong with it, and what load it brings."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from config.loader import examine
from config.models import Configuration
from config.problem import ConfigErrors, Problem, Severity, format_problem
from drivers.registry import find
from gateway.alarms.load import Load, expected_load
from gateway.alarms.profiles import ProfileError, resolve_profile, resolve_settings
from gateway.board import table
from gateway.guidance.catalogue import load as load_texts
from gateway.verbs.terminal import Exit, complain, say
from gateway.wire_table import dump


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument("-c", "--config", type=Path, required=True, help="configuration file")
    parser.add_argument("--json", action="store_true", help="problems and load as JSON lines")


def run(arguments: argparse.Namespace) -> Exit:
    """Prints every problem; 2 if one of them is an error. Else the load of alarms to expect."""
    examination = examine(arguments.config)
    configuration = examination.configuration
    problems = list(examination.problems)
    loads: Sequence[Load] = ()
    if configuration is not None:
        problems += _problems_of_texts(configuration)
        try:
            loads = fleet_load(configuration)
        except ProfileError as error:
            problems.append(Problem(str(arguments.config), None, "", str(error)))
    _tell(problems, as_json=arguments.json)
    errors = [each for each in problems if each.severity is Severity.ERROR]
    if configuration is None or errors:
        complain(f"{arguments.config}: {len(errors)} error{'s' * (len(errors) != 1)}")
        return Exit.USAGE
    if arguments.json:
        for each in loads:
            say(dump({"load": each.kind, "per_hour": each.per_hour, "basis": each.basis}).decode())
    else:
        sinks = ", ".join(sink.id for sink in configuration.sink) or "none"
        say(f"{arguments.config}: well, {len(configuration.detector)} detectors, sinks: {sinks}")
        say("\n".join(load_lines(loads)))
    return Exit.WELL


def fleet_load(configuration: Configuration) -> tuple[Load, ...]:
    """The load of alarms of the configured detectors. Raises ProfileError."""
    profiles = [
        resolve_profile(detector, configuration, find(detector.driver))
        for detector in configuration.detector
    ]
    return expected_load(profiles, resolve_settings(configuration.alarms))


def load_lines(loads: Sequence[Load]) -> list[str]:
    """The load as an aligned table."""
    rows = [("alarms without a source", "per hour", "")]
    for load in loads:
        rate = "unknown" if load.per_hour is None else f"{load.per_hour:.2g}"
        rows.append((load.kind, rate, load.basis))
    return table(rows)


def _problems_of_texts(configuration: Configuration) -> list[Problem]:
    """What is wrong with a site's guidance, where its folder is there."""
    directory = configuration.guidance.directory
    if directory is None or not Path(directory).is_dir():
        return []
    try:
        load_texts(Path(directory))
    except ConfigErrors as errors:
        return list(errors.problems)
    return []


def _tell(problems: Sequence[Problem], *, as_json: bool) -> None:
    for problem in problems:
        if as_json:
            say(dump(asdict(problem)).decode())
        else:
            complain(format_problem(problem))
