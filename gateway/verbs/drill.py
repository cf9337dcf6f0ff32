"""``drill``: ghost sources over the real instruments of a running gateway, and the score."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from config.nuclides import SELF_SHIELDING
from config.problem import format_problem
from config.scenario import examine_scenario
from gateway.board import harmless
from gateway.commands import SIZE_LIMIT
from gateway.control import ControlClient, ControlUnavailable
from gateway.drill.sheet import render
from gateway.verbs.board import add_socket_arguments, client_of
from gateway.verbs.duration import seconds
from gateway.verbs.terminal import Exit, complain, say
from gateway.wire.table import dump

PATIENCE_S: Final = 30.0
"""A drill over many detectors takes a while to be made."""
Answer = Mapping[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verbs below this one, and their arguments."""
    verbs = parser.add_subparsers(dest="action", metavar="WHAT", required=True)
    of_start = verbs.add_parser("start", help="begin with the sources of a scenario")
    of_inject = verbs.add_parser("inject", help="one more ghost source")
    of_remove = verbs.add_parser("remove", help="take a ghost away")
    of_status = verbs.add_parser("status", help="what is on, and which ghosts are there")
    of_stop = verbs.add_parser("stop", help="end the exercise: as stop-exercise does")
    of_score = verbs.add_parser("score", help="what was injected, what was found, and by whom")
    for each in (of_start, of_inject, of_remove, of_status, of_stop, of_score):
        add_socket_arguments(each)
    for each in (of_status, of_score):
        each.add_argument("--json", action="store_true", help="as JSON")
    of_start.add_argument("scenario", type=Path, metavar="SCENARIO", help="scenario file")
    of_remove.add_argument("name", metavar="NAME", help="of the ghost")
    _add_ghost(of_inject)


def _add_ghost(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", metavar="NUCLIDE", help="such as Cs-137")
    parser.add_argument("--activity", help='such as "100 MBq"')
    parser.add_argument("--neutrons", type=float, metavar="N", help="neutrons a second")
    shielded = ", ".join(SELF_SHIELDING)
    parser.add_argument(
        "--patient", action="store_true", help=f"in a person, who shields it: {shielded}"
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--at", type=_point, metavar="X,Y", help="in m, as posts have it")
    where.add_argument("--detector", metavar="ID", help="beside this one")
    where.add_argument("--past", metavar="ID", help="goes past this one")
    parser.add_argument("--distance", type=float, metavar="M", help="1 beside, 2 past")
    parser.add_argument("--speed", help='past: such as "1.2 m/s", a walk')
    parser.add_argument(
        "--in", dest="in_s", type=_duration, metavar="TIME", help="past: nearest then, 30s"
    )
    parser.add_argument(
        "--for", dest="for_s", type=_duration, metavar="TIME", help="there for so long, as 2min"
    )
    parser.add_argument("--as", dest="name", metavar="NAME", help="how the sheet calls it")


def _point(text: str) -> tuple[float, float]:
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not X,Y in m, such as 12.5,-3") from None
    return x, y


def _duration(text: str) -> float:
    try:
        return seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run(arguments: argparse.Namespace) -> Exit:
    """One of the verbs."""
    wanted = _WANTED[arguments.action](arguments)
    if wanted is None:
        return Exit.USAGE
    client = client_of(arguments, timeout_s=PATIENCE_S)
    if client is None:
        return Exit.USAGE
    try:
        return _ask(client, wanted, arguments)
    except ControlUnavailable as error:
        complain(str(error))
        return Exit.FAULT


def _ask(client: ControlClient, wanted: dict[str, object], arguments: argparse.Namespace) -> Exit:
    answer = client.ask(wanted)
    if not answer.get("ok"):
        complain(f"{arguments.action} refused: {_lines(str(answer.get('reason')))}")
        return Exit.FAULT
    if getattr(arguments, "json", False):
        told = answer["score"] if arguments.action == "score" else answer
        say(dump(told).decode())
    else:
        say(_lines(_SAID[arguments.action](answer)))
    return Exit.WELL


def _start(arguments: argparse.Namespace) -> dict[str, object] | None:
    examination = examine_scenario(arguments.scenario)
    for problem in examination.problems:
        complain(format_problem(problem))
    if examination.scenario is None:
        return None
    text = arguments.scenario.read_text(encoding="utf-8")
    wanted: dict[str, object] = {"ask": "drill", "what": "start", "scenario": text}
    if len(dump(wanted)) > SIZE_LIMIT:
        complain(f"{arguments.scenario}: a drill takes at most {SIZE_LIMIT} bytes of scenario")
        return None
    return wanted


def _inject(arguments: argparse.Namespace) -> dict[str, object]:
    x, y = arguments.at or (None, None)
    given = {
        "nuclide": arguments.source,
        "activity": arguments.activity,
        "n_per_s": arguments.neutrons,
        "kind": "patient" if arguments.patient else None,
        "x": x,
        "y": y,
        "detector": arguments.detector,
        "past": arguments.past,
        "distance_m": arguments.distance,
        "speed": arguments.speed,
        "in_s": arguments.in_s,
        "for_s": arguments.for_s,
        "name": arguments.name,
    }
    told = {key: value for key, value in given.items() if value is not None}
    return {"ask": "drill", "what": "inject", **told}


def _remove(arguments: argparse.Namespace) -> dict[str, object]:
    return {"ask": "drill", "what": "remove", "name": arguments.name}


def _look(arguments: argparse.Namespace) -> dict[str, object]:
    return {"ask": "drill", "what": arguments.action}


def _stop(_: argparse.Namespace) -> dict[str, object]:
    return {"ask": "command", "name": "stop_exercise", "arguments": {}}


def _said_start(answer: Answer) -> str:
    others = [f"{said}: {', '.join(answer[key])}" for key, said in _NAMED.items() if answer[key]]
    return "\n".join([f"drill {answer['drill']} is on", *others])


def _said_status(answer: Answer) -> str:
    if answer["drill"] is None:
        failed = answer.get("failed")
        return f"no drill is on; {failed}" if failed else "no drill is on"
    head = f"drill {answer['drill']} has been on for {answer['since_s']:g} s"
    if "ghosts" not in answer:
        return head
    ghosts = [_ghost(one) for one in answer["ghosts"]] or ["no ghost is there"]
    return "\n".join([f"{head}, {answer['alarms']} alarms open", *ghosts])


def _said_inject(answer: Answer) -> str:
    return _ghost(answer["ghost"])


def _ghost(one: Answer) -> str:
    until = "" if one["to_s"] is None else f" to {one['to_s']:g} s"
    return f"{one['name']}: {one['what']} {one['where']}, from {one['from_s']:g} s{until}"


def _lines(text: str) -> str:
    """Harmless for a terminal, line by line."""
    return "\n".join(map(harmless, text.split("\n")))


_NAMED: Final = {
    "detectors": "detectors",
    "portals": "portals, which decide by themselves",
    "apart": "without a place",
    "unplayed": "not played in a drill",
}
_WANTED: Final[Mapping[str, Callable[[argparse.Namespace], dict[str, object] | None]]] = {
    "start": _start,
    "inject": _inject,
    "remove": _remove,
    "status": _look,
    "stop": _stop,
    "score": _look,
}
_SAID: Final[Mapping[str, Callable[[Answer], str]]] = {
    "start": _said_start,
    "inject": _said_inject,
    "remove": lambda answer: f"{answer['removed']} is gone",
    "status": _said_status,
    "stop": lambda answer: str(answer["reason"]),
    "score": lambda answer: render(answer["score"]),
}
