"""``inject``: says what happens next on a live stage: sources, rain, faults, broker, its clock."""

import argparse
import json
import math
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, get_args

from config.action import Action
from config.actions import BrokerAction, Event
from gateway.board import harmless
from gateway.control import ControlClient, ControlUnavailable
from gateway.verbs.duration import seconds
from gateway.verbs.terminal import Exit, complain, say
from simulators.stage_control import SOCKET

Table = dict[str, Any]

_OWN_WORDS: Final = frozenset({"place_source", "send_source", "remove_source", "rain"})
_LENGTH: Final = re.compile(r"(\d+(?:\.\d+)?)\s*m?")
_PATIENCE_S: Final = 10.0


class BadWord(ValueError):
    """An argument that means nothing here."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--directory", type=Path, help="that of simulate --live")
    where.add_argument("--socket", type=Path, help="the stage's socket in it")
    what = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    _add_source(what.add_parser("source", help="put a source somewhere, or send it past somebody"))
    remove = what.add_parser("remove", help="take a source away")
    remove.add_argument("id")
    rain = what.add_parser("rain", help="it begins to rain")
    rain.add_argument("--rise", help='dose rate at its height, such as "0.09 µSv/h"')
    rain.add_argument("--rise-time", metavar="TIME", help="until then, such as 15min")
    rain.add_argument("--half-life", metavar="TIME", help="after it")
    event = what.add_parser("event", help="any event of a scenario, as TOML or JSON")
    event.add_argument("text", help="""such as '{ do = "unplug", detector = "hh-1" }'""")
    what.add_parser("pause", help="the clock of the stage stands still")
    what.add_parser("resume", help="it goes on")
    speed = what.add_parser("speed", help="how fast it goes")
    speed.add_argument("factor", type=float, help="seconds of play in a second")
    status = what.add_parser("status", help="time, sources, and what is wrong with links, as JSON")
    status.add_argument("--json", action="store_true", help="as it is without: it is JSON anyway")
    for name, model in _actions():
        as_in_files = [name] if "_" in name else []
        one = what.add_parser(name.replace("_", "-"), aliases=as_in_files, help=_first_line(model))
        if "detector" in model.model_fields:
            one.add_argument("detector")
        one.add_argument("keys", nargs="*", default=[], metavar="KEY=VALUE", help=_keys_of(model))


def run(arguments: argparse.Namespace) -> Exit:
    """Asks the stage; what it refuses says why."""
    path = arguments.socket or arguments.directory / SOCKET
    try:
        request = _request(arguments)
    except ValueError as error:
        complain(f"inject {arguments.what}: {error}")
        return Exit.USAGE
    try:
        answer = ControlClient(path, _PATIENCE_S).ask(request)
    except ControlUnavailable as error:
        if error.is_absent:
            complain(f"{path}: no stage is played there; simulate --live names its directory")
        else:
            complain(str(error).replace("the gateway", "the stage"))
        return Exit.FAULT
    if not answer.pop("ok", False):
        complain("\n".join(map(harmless, str(answer.get("reason")).split("\n"))))
        return Exit.FAULT
    say(json.dumps(answer.get("played", answer), ensure_ascii=False))
    return Exit.WELL


def _add_source(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--nuclide", required=True, help="such as Cs-137")
    parser.add_argument("--activity", required=True, help='such as "100 MBq"')
    parser.add_argument("--id", help="default: injected-1 and so on")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--at", metavar="X,Y", help="put down there, in m")
    where.add_argument("--past", metavar="DETECTOR", help="carried past it")
    parser.add_argument("--closest", metavar="LENGTH", help="how near it comes, such as 2m")
    parser.add_argument("--speed", help='such as "1.2 m/s"')
    parser.add_argument("--nearest-in", metavar="TIME", help="when it is nearest; default 20s")
    parser.add_argument("--for", dest="for_s", metavar="TIME", help="then it vanishes")


def _actions() -> Iterator[tuple[str, type[Action]]]:
    """Actions about one detector or the broker that a stage plays, with their models."""
    for model in get_args(get_args(Event)[0]):
        detector = model.model_fields.get("detector")
        is_about_one = detector is not None and detector.is_required()
        if (is_about_one and "user" not in model.model_fields) or issubclass(model, BrokerAction):
            for name in get_args(model.model_fields["do"].annotation):
                if name not in _OWN_WORDS:
                    yield name, model


def _first_line(model: type[Action]) -> str:
    return (model.__doc__ or "").splitlines()[0]


def _own_keys(model: type[Action]) -> tuple[str, ...]:
    """Without those that the words before them say."""
    return tuple(name for name in model.model_fields if name not in ("at_s", "do", "detector"))


def _keys_of(model: type[Action]) -> str:
    return ", ".join(_own_keys(model)) or "none"


def _request(arguments: argparse.Namespace) -> Table:
    match arguments.what:
        case "pause" | "resume" | "status":
            return {"ask": arguments.what}
        case "speed":
            return {"ask": "speed", "speed": arguments.factor}
        case _:
            return {"ask": "event", "event": _event(arguments)}


def _event(arguments: argparse.Namespace) -> Table:
    match arguments.what:
        case "source":
            return _source(arguments)
        case "remove":
            return {"do": "remove_source", "id": arguments.id}
        case "rain":
            return {"do": "rain", **_rain(arguments)}
        case "event":
            return _parsed(arguments.text)
    name = arguments.what.replace("-", "_")
    (model,) = (model for known, model in _actions() if known == name)
    about = {"detector": arguments.detector} if "detector" in model.model_fields else {}
    return {"do": name, **about, **dict(_pair(model, word) for word in arguments.keys)}


def _source(arguments: argparse.Namespace) -> Table:
    event: Table = {"nuclide": arguments.nuclide, "activity": arguments.activity}
    if arguments.id is not None:
        event["id"] = arguments.id
    if arguments.for_s is not None:
        event["for_s"] = seconds(arguments.for_s)
    on_the_way = ("closest", "speed", "nearest_in")
    if arguments.at is not None:
        for name in on_the_way:
            if getattr(arguments, name) is not None:
                raise BadWord(f"--{name.replace('_', '-')} goes with --past")
        x, y = _place(arguments.at)
        return {"do": "place_source", **event, "x": x, "y": y}
    event |= {"do": "send_source", "past": arguments.past}
    if arguments.closest is not None:
        event["closest_m"] = _metres(arguments.closest)
    if arguments.speed is not None:
        event["speed"] = arguments.speed
    if arguments.nearest_in is not None:
        event["nearest_in_s"] = seconds(arguments.nearest_in)
    return event


def _rain(arguments: argparse.Namespace) -> Table:
    told: Table = {} if arguments.rise is None else {"rise": arguments.rise}
    if arguments.rise_time is not None:
        told["rise_s"] = seconds(arguments.rise_time)
    if arguments.half_life is not None:
        told["half_life_s"] = seconds(arguments.half_life)
    return told


def _place(text: str) -> tuple[float, float]:
    try:
        x, y = (float(part) for part in text.split(","))
        if not math.isfinite(x + y):
            raise ValueError
    except ValueError:
        raise BadWord(f"{text!r} is no place: two numbers such as 5,3") from None
    return x, y


def _metres(text: str) -> float:
    found = _LENGTH.fullmatch(text.strip())
    if found is None:
        raise BadWord(f"{text!r} is no length: such as 2m")
    return float(found[1])


def _parsed(text: str) -> Table:
    """An event as JSON, as an inline table, or as lines of TOML."""
    plain = text.strip()
    for read in (_inline_table, tomllib.loads, json.loads):
        try:
            event = read(plain)
        except ValueError:
            continue
        match event:
            case {"event": [dict() as one]} | (dict() as one):
                return one
    raise BadWord(f"neither TOML nor JSON: {plain[:60]!r}")


def _inline_table(text: str) -> object:
    return tomllib.loads(f"event = {text}")["event"]


def _pair(model: type[Action], word: str) -> tuple[str, object]:
    key, equals, value = word.partition("=")
    if not equals:
        raise BadWord(f"{word!r} is not KEY=VALUE; keys: {_keys_of(model)}")
    if key not in _own_keys(model):
        raise BadWord(f"{key!r} is an unknown key; keys: {_keys_of(model)}")
    if model.model_fields[key].annotation is str:
        return key, value
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value
