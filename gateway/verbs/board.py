"""``board``, ``ack`` and ``reset``: the laptop's own view and hand, by the control socket."""

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Final

from gateway.board import render
from gateway.control import ControlClient, ControlUnavailable
from gateway.verbs.terminal import Exit, complain, load_or_complain, say
from gateway.wire_table import dump

CLEAR: Final = "\033[H\033[J"
BELL: Final = "\a"
REFRESH_S: Final = 1.0
_DONE: Final = {"acknowledge": "acknowledged", "reset": "reset"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the gateway's socket is."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument("-c", "--config", type=Path, help="configuration file of the gateway")
    where.add_argument("--socket", type=Path, help="its control socket")


def add_board_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``board``."""
    add_arguments(parser)
    parser.add_argument("--once", action="store_true", help="print it once")
    parser.add_argument("--json", action="store_true", help="print it once, as JSON")


def add_ack_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``ack``."""
    add_arguments(parser)
    parser.add_argument("occurrence", nargs="?", help="occurrence id; without it, all that wait")
    parser.add_argument("--revision", type=int, help="the revision that was seen")


def add_reset_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``reset``."""
    add_arguments(parser)
    parser.add_argument("occurrence", help="occurrence id of a latched alarm")


def run_board(arguments: argparse.Namespace) -> Exit:
    """Shows detectors and alarms until interrupted, or once."""
    client = _client(arguments)
    if client is None:
        return Exit.USAGE
    live = sys.stdout.isatty() and not (arguments.once or arguments.json)
    sounded: set[str] = set()
    try:
        while True:
            answer = client.ask({"ask": "board"})
            shown = answer.get("board")
            if not isinstance(shown, dict):
                complain(str(answer.get("reason", "no board")))
                return Exit.FAULT
            if arguments.json:
                say(dump(shown).decode())
            else:
                colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
                bell = BELL if live and _is_new(shown, sounded) else ""
                say((CLEAR if live else "") + bell + render(shown, colour=colour))
            if not live:
                return Exit.WELL
            time.sleep(REFRESH_S)
    except ControlUnavailable as error:
        complain(str(error))
        return Exit.FAULT
    except KeyboardInterrupt:
        return Exit.WELL


def run_ack(arguments: argparse.Namespace) -> Exit:
    """Acknowledges one occurrence, or every unacknowledged one."""
    client = _client(arguments)
    if client is None:
        return Exit.USAGE
    try:
        wanted = [_named(arguments)] if arguments.occurrence else _waiting(client)
        results = [_do(client, "acknowledge", one) for one in wanted]
    except ControlUnavailable as error:
        complain(str(error))
        return Exit.FAULT
    if not wanted:
        say("nothing to acknowledge")
    return Exit.WELL if all(results) else Exit.FAULT


def run_reset(arguments: argparse.Namespace) -> Exit:
    """Takes the latch off one alarm whose condition is gone."""
    client = _client(arguments)
    if client is None:
        return Exit.USAGE
    try:
        done = _do(client, "reset", {"occurrence": arguments.occurrence})
    except ControlUnavailable as error:
        complain(str(error))
        return Exit.FAULT
    return Exit.WELL if done else Exit.FAULT


def _named(arguments: argparse.Namespace) -> dict[str, object]:
    wanted: dict[str, object] = {"occurrence": arguments.occurrence}
    if arguments.revision is not None:
        wanted["revision"] = arguments.revision
    return wanted


def _waiting(client: ControlClient) -> list[dict[str, object]]:
    shown = client.ask({"ask": "board"}).get("board")
    alarms = shown.get("alarms", []) if isinstance(shown, dict) else []
    return [
        {"occurrence": alarm["occurrence"], "revision": alarm["revision"]}
        for alarm in alarms
        if not alarm["acknowledged"]
    ]


def _do(client: ControlClient, name: str, wanted: dict[str, object]) -> bool:
    answer = client.ask({"ask": "command", "name": name, "arguments": wanted})
    if answer.get("ok"):
        say(f"{wanted['occurrence']}: {_DONE[name]}")
        return True
    complain(f"{wanted['occurrence']}: refused: {answer.get('reason')}")
    return False


def _is_new(shown: dict[str, object], sounded: set[str]) -> bool:
    """Whether an unacknowledged alarm has come, or come again, since the last look."""
    alarms = shown["alarms"]
    waiting = {
        f"{alarm['occurrence']} {alarm['level']}"
        for alarm in (alarms if isinstance(alarms, list) else [])
        if not alarm["acknowledged"]
    }
    is_new = not waiting <= sounded
    sounded.intersection_update(waiting)
    sounded.update(waiting)
    return is_new


def _client(arguments: argparse.Namespace) -> ControlClient | None:
    if arguments.config is None:
        return ControlClient(arguments.socket or Path("/run/dosegate/control.sock"))
    configuration = load_or_complain(arguments.config)
    return (
        None if configuration is None else ControlClient(Path(configuration.gateway.control_socket))
    )
