"""``simulate SCENARIO``: the whole gateway on a scenario, in virtual time, as JSON lines."""

import argparse
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Final

from config.connections import check_sinks
from config.injection import read_events
from config.locate import Locations
from config.problem import ConfigErrors, Findings, format_problem
from config.scenario import Scenario, examine_scenario
from gateway.alarms.record import AlarmEvent
from gateway.journal.file import JournalUnusable
from gateway.journal.look import journal_outputs
from gateway.values import Outputs
from gateway.verbs.heard import unanswered, unmet
from gateway.verbs.live import NoPlace, play_live
from gateway.verbs.terminal import Exit, complain, say, spare_collector
from gateway.verbs.virtual import VirtualPlay
from simulators.counter import NoCounts
from simulators.registry import NoSimulator
from simulators.stage_broker import CannotListen
from simulators.stage_clock import BadSpeed

_KIND_OF: Final = {
    name: name for name in ("sample", "passage", "watch", "assessment", "answer", "state", "dose")
} | {"event": "alarm_event"}
"""Kind of a message by the last part of its topic."""
KINDS = tuple(sorted(_KIND_OF.values()))
_RETAINED: Final = ("state", "dose")
_KIND: Final = re.compile(rb'"kind": ?"([a-z_]+)"')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument("scenario", type=Path, help="scenario file")
    parser.add_argument("--seed", type=int, help="another seed than the file's")
    parser.add_argument("--seeds", type=int, metavar="N", help="play N seeds, a line for each")
    parser.add_argument("--summary", action="store_true", help="print only what was raised")
    parser.add_argument(
        "--journal", type=Path, metavar="DIR", help="keep a journal there, for the verb why"
    )
    parser.add_argument("--only", action="append", choices=KINDS, help="print only this kind")
    parser.add_argument("--live", action="store_true", help="open ports and play in real time")
    parser.add_argument("--directory", type=Path, help="with --live: where ports and files go")
    parser.add_argument(
        "--broker",
        action="append",
        default=[],
        metavar="URL",
        help="with --live: yours, for the configuration; default: the stage brings its own",
    )
    parser.add_argument("--port", type=int, help="with --live: of its own broker; default: any")
    parser.add_argument(
        "--seconds",
        type=float,
        help="with --live: end after so many of play, with --speed 4 in a quarter of the time",
    )
    parser.add_argument("--speed", type=float, help="with --live: seconds of play in a second")
    parser.add_argument("--paused", action="store_true", help="with --live: the clock stands at 0")
    parser.add_argument(
        "--events",
        type=Path,
        metavar="FILE",
        help="these happen in place of the scenario's: played.jsonl of a live exercise",
    )


def run(arguments: argparse.Namespace) -> Exit:
    """Plays the scenario and prints what the gateway stores."""
    faults = tuple(_misused(arguments))
    for fault in faults:
        complain(fault)
    if faults:
        return Exit.USAGE
    scenario = _load(arguments.scenario, arguments.events, live=arguments.live)
    if scenario is None:
        return Exit.USAGE
    if arguments.live:
        return _play_live(scenario, arguments)
    spare_collector()
    try:
        if arguments.seeds is not None:
            return _play_seeds(scenario, arguments)
        return _play_once(scenario, arguments)
    except (NoCounts, NoSimulator, BadSettings) as error:
        complain(f"{arguments.scenario}: {error}")
        return Exit.USAGE
    except JournalUnusable as error:
        complain(str(error))
        return Exit.FAULT


def _misused(arguments: argparse.Namespace) -> Iterator[str]:
    """Options that would be ignored or mean nothing."""
    if not arguments.live:
        if arguments.speed is not None or arguments.paused:
            yield "--speed and --paused need --live: virtual time is as fast as it can be"
        for name in ("broker", "seconds", "directory"):
            if getattr(arguments, name) not in (None, []):
                yield f"--{name} needs --live: virtual time has no ports and ends with the scenario"
    else:
        for name in ("seeds", "summary", "journal", "only"):
            if getattr(arguments, name):
                yield f"--{name} does not go with --live: the gateway that you run judges and keeps"
    if arguments.port is not None and (arguments.broker or not arguments.live):
        yield "--port is that of the broker which --live brings where no --broker is given"
    if arguments.seeds is not None and arguments.seeds < 1:
        yield f"--seeds {arguments.seeds} plays nothing: 1 or more"
    if arguments.seeds is not None and arguments.journal is not None:
        yield "--journal keeps one run: it does not go with --seeds"
    if arguments.seconds is not None and not 0 < arguments.seconds < math.inf:
        yield f"--seconds {arguments.seconds:g} is no time of play: more than 0"
    yield from _bad_brokers(arguments.broker)


def _bad_brokers(urls: list[str]) -> Iterator[str]:
    """What ``check`` would say of them in the configuration that is written."""
    findings = Findings("--broker", {"sink": [{"brokers": urls}]}, Locations({}))
    check_sinks(findings)
    for problem in findings.in_order():
        yield format_problem(replace(problem, line=None, field=""))


def _play_live(scenario: Scenario, arguments: argparse.Namespace) -> Exit:
    if arguments.seed is not None:
        own = scenario.scenario.model_copy(update={"seed": arguments.seed})
        scenario = scenario.model_copy(update={"scenario": own})
    try:
        return play_live(
            scenario,
            arguments.directory,
            arguments.seconds,
            tuple(arguments.broker),
            1.0 if arguments.speed is None else arguments.speed,
            port=arguments.port or 0,
            paused=arguments.paused,
        )
    except (BadSpeed, CannotListen, NoPlace) as error:
        complain(str(error))
        return Exit.USAGE


class BadSettings(ValueError):
    """Settings that an instrument's simulator does not know."""


def _load(path: Path, events: Path | None, *, live: bool) -> Scenario | None:
    try:
        happening = None if events is None else read_events(events)
        examination = examine_scenario(path, happening, live=live)
    except ConfigErrors as errors:
        complain(str(errors))
        return None
    for problem in examination.problems:
        complain(format_problem(problem))
    scenario = examination.scenario
    expected = scenario.expect if scenario else ()
    unknown = {each.event for each in expected} - set(AlarmEvent)
    for name in sorted(unknown):
        complain(f"{path}: no alarm event is called {name!r}; known: {', '.join(AlarmEvent)}")
    return None if unknown else scenario


def _play_once(scenario: Scenario, arguments: argparse.Namespace) -> Exit:
    play = _new_play(scenario, arguments.seed)
    wanted = frozenset(arguments.only or KINDS) if not arguments.summary else frozenset()
    counts: Counter[str] = Counter()
    with _journal(arguments.journal) as store:
        for outputs in play.outputs():
            store(outputs)
            for kind, body in bodies(outputs):
                counts[kind] += 1
                if kind in wanted:
                    say(body.decode())
    failed = _failures(scenario, play)
    if arguments.summary:
        say(json.dumps(_summary(scenario, play, failed), ensure_ascii=False))
    told = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
    complain(f"{arguments.scenario}: {told or 'nothing'}; {len(play.active())} alarms not closed")
    for line in failed:
        complain(line)
    return Exit.FAULT if failed else Exit.WELL


def _journal(directory: Path | None) -> AbstractContextManager[Callable[[Outputs], None]]:
    """Where outputs are stored: nowhere, unless a folder is named."""
    return nullcontext(_forget) if directory is None else journal_outputs(directory)


def _forget(outputs: Outputs) -> None:
    """Nothing is stored."""


def _play_seeds(scenario: Scenario, arguments: argparse.Namespace) -> Exit:
    first = scenario.scenario.seed if arguments.seed is None else arguments.seed
    total: Counter[str] = Counter()
    bad = 0
    for seed in range(first, first + arguments.seeds):
        play = _new_play(scenario, seed)
        for _ in play.outputs():
            pass
        failed = _failures(scenario, play)
        bad += bool(failed)
        if arguments.summary:
            say(json.dumps(_summary(scenario, play, failed), ensure_ascii=False))
        else:
            raised: Counter[str] = Counter()
            for each in play.heard.raised():
                raised[_name(each)] += int(str(each["count"]))
            total.update(raised)
            say("; ".join([f"seed {seed}: {_listed(raised)}", *failed]))
    if not arguments.summary:
        say(f"{arguments.seeds} seeds: {_listed(total)}; {bad} failed")
    return Exit.FAULT if bad else Exit.WELL


def _new_play(scenario: Scenario, seed: int | None) -> VirtualPlay:
    try:
        return VirtualPlay(scenario, seed)
    except (ValueError, TypeError, AttributeError) as error:
        raise BadSettings(f"an instrument cannot be simulated: {error}") from error


def _failures(scenario: Scenario, play: VirtualPlay) -> list[str]:
    return [*unanswered(play.answers), *unmet(scenario.expect, play.heard.alarms)]


def _summary(scenario: Scenario, play: VirtualPlay, failed: list[str]) -> dict[str, object]:
    answers = [
        {"at_s": event.at_s, "do": event.do, "accepted": answer.accepted, "reason": answer.reason}
        for event, answer in play.answers
    ]
    return {
        "kind": "summary",
        "scenario": scenario.scenario.name,
        "seed": play.seed,
        "duration_s": scenario.scenario.duration_s,
        "raised": play.heard.raised(),
        "not_closed": len(play.active()),
        "floods": play.figures().floods,
        "answers": answers,
        "failed": failed,
    }


def _name(raised: dict[str, object]) -> str:
    return f"{raised['alarm']} {raised['level']}"


def _listed(raised: Counter[str]) -> str:
    told = [f"{count} {name}" for name, count in sorted(raised.items()) if count]
    return ", ".join(told) or "nothing raised"


def bodies(outputs: Outputs) -> Iterator[tuple[str, bytes]]:
    """What is printed, with its kind, which the topic tells without a look into the body."""
    for entry in outputs.entries:
        kind = _KIND_OF.get(entry.topic.rpartition("/")[2])
        yield kind or _kind(entry.body), entry.body
    for document in outputs.documents:
        kind = document.topic.rpartition("/")[2]
        if kind in _RETAINED and document.body:
            yield kind, document.body


def _kind(body: bytes) -> str:
    found = _KIND.search(body)
    return found[1].decode() if found else "other"
