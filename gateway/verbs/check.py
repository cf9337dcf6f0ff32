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
from gateway.alarms.profiles import (
    DetectorProfile,
    ProfileError,
    resolve_profile,
    resolve_settings,
)
from gateway.board import table
from gateway.guidance.catalogue import load as load_texts
from gateway.verbs.terminal import Exit, complain, say
from gateway.wire.table import dump


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
    profiles: Sequence[DetectorProfile] = ()
    if configuration is not None:
        problems += _problems_of_texts(configuration)
        try:
            profiles = fleet(configuration)
            loads = expected_load(profiles, resolve_settings(configuration.alarms))
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
        if blind := unwatched(profiles):
            say(
                f"fold-over is not watched on {', '.join(blind)}: a counter that is choked by a "
                "high field would be believed; name range_top or max_count_rate"
            )
    return Exit.WELL


def fleet(configuration: Configuration) -> list[DetectorProfile]:
    """How each configured detector is judged. Raises ProfileError."""
    return [
        resolve_profile(detector, configuration, find(detector.driver))
        for detector in configuration.detector
    ]


def unwatched(profiles: Sequence[DetectorProfile]) -> list[str]:
    """Detectors of whose upper end nothing is known; portals have no dose rate."""
    return [
        each.detector
        for each in profiles
        if not each.is_portal and each.range_top_usv_h is None and each.max_count_rate is None
    ]


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
