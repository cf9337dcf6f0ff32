"""``simulate SCENARIO``: the whole gateway on a scenario, in virtual time, as JSON lines."""

import argparse
import json
from collections import Counter
from pathlib import Path

from config.problem import ConfigErrors, format_problem
from config.scenario import examine_scenario
from gateway.values import Outputs
from gateway.verbs.live import play_live
from gateway.verbs.terminal import Exit, complain, say
from gateway.verbs.virtual import VirtualPlay

KINDS = ("sample", "passage", "alarm_event", "state")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument("scenario", type=Path, help="scenario file")
    parser.add_argument("--seed", type=int, help="another seed than the file's")
    parser.add_argument("--only", action="append", choices=KINDS, help="print only this kind")
    parser.add_argument("--live", action="store_true", help="open ports and play in real time")
    parser.add_argument("--directory", type=Path, help="with --live: where ports and files go")
    parser.add_argument(
        "--broker", action="append", default=[], help="with --live: for the configuration"
    )
    parser.add_argument("--seconds", type=float, help="with --live: end after this time")


def run(arguments: argparse.Namespace) -> Exit:
    """Plays the scenario and prints what the gateway stores."""
    try:
        examination = examine_scenario(arguments.scenario)
    except ConfigErrors as errors:
        complain(str(errors))
        return Exit.USAGE
    for problem in examination.problems:
        complain(format_problem(problem))
    if examination.scenario is None:
        return Exit.USAGE
    if arguments.live:
        brokers = tuple(arguments.broker)
        return play_live(examination.scenario, arguments.directory, arguments.seconds, brokers)
    play = VirtualPlay(examination.scenario, arguments.seed)
    counts: Counter[str] = Counter()
    for outputs in play.outputs():
        for kind, line in _lines(outputs):
            counts[kind] += 1
            if not arguments.only or kind in arguments.only:
                say(line)
    told = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
    complain(f"{arguments.scenario}: {told or 'nothing'}; {len(play.active())} alarms not closed")
    for event, answer in play.answers:
        if event.expect is not None and (event.expect == "accepted") is not answer.accepted:
            complain(f"at {event.at_s:g} s {event.do}: expected {event.expect}: {answer.reason}")
            return Exit.FAULT
    return Exit.WELL


def _lines(outputs: Outputs) -> list[tuple[str, str]]:
    bodies = [entry.body for entry in outputs.entries]
    bodies += [each.body for each in outputs.documents if each.topic.endswith("/state")]
    return [(json.loads(body)["kind"], body.decode()) for body in bodies]
