"""``board``: detectors and alarms of this laptop, by the control socket."""

import argparse
import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from config.models import Configuration
from config.problem import ConfigErrors, did_you_mean, format_problem
from gateway import board
from gateway.board_fit import fit
from gateway.control import ControlClient, ControlUnavailable
from gateway.guidance.catalogue import Catalogue, load, reader_language
from gateway.screen import Size
from gateway.verbs.terminal import Exit, complain, load_or_complain, say
from gateway.wire.table import dump

CLEAR: Final = "\033[H\033[J"
BELL: Final = "\a"
REFRESH_S: Final = 1.0
PATIENCE_S: Final = 5.0
SOCKET: Final = Path("/run/dosegate/control.sock")


def add_socket_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the gateway's socket is."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument("-c", "--config", type=Path, help="configuration file of the gateway")
    where.add_argument("--socket", type=Path, help="its control socket")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    add_socket_arguments(parser)
    parser.add_argument("--once", action="store_true", help="print it once")
    parser.add_argument("--json", action="store_true", help="print it once, as JSON")
    parser.add_argument("--language", metavar="LANG", help="of the advice; yours by default")


def run(arguments: argparse.Namespace) -> Exit:
    """Shows detectors and alarms until interrupted, or once."""
    configuration = None if arguments.config is None else load_or_complain(arguments.config)
    if configuration is None and arguments.config is not None:
        return Exit.USAGE
    texts = _texts(configuration)
    language = _language(arguments.language, texts, configuration)
    if not texts.knows(language):
        complain(f"no texts in {language!r}: {did_you_mean(language, texts.languages())}")
        return Exit.USAGE
    try:
        return _show(_client(arguments.socket, configuration), arguments, (texts, language))
    except ControlUnavailable as error:
        complain(str(error))
        return Exit.FAULT
    except KeyboardInterrupt:
        return Exit.WELL


def client_of(arguments: argparse.Namespace, timeout_s: float = PATIENCE_S) -> ControlClient | None:
    """The gateway that the arguments name; None after it was said why there is none."""
    if arguments.config is None:
        return _client(arguments.socket, None, timeout_s)
    configuration = load_or_complain(arguments.config)
    return None if configuration is None else _client(None, configuration, timeout_s)


def waiting(client: ControlClient) -> list[dict[str, object]]:
    """The alarms on the list that nobody has acknowledged. Raises ControlUnavailable."""
    shown = client.ask({"ask": "board"}).get("board")
    return [
        {"occurrence": alarm["occurrence"], "revision": alarm["revision"]}
        for alarm in (board.waiting(shown) if isinstance(shown, dict) else ())
    ]


def _client(
    socket: Path | None, configuration: Configuration | None, timeout_s: float = PATIENCE_S
) -> ControlClient:
    if configuration is None:
        return ControlClient(socket or SOCKET, timeout_s)
    return ControlClient(Path(configuration.gateway.control_socket), timeout_s)


def _show(
    client: ControlClient, arguments: argparse.Namespace, reader: tuple[Catalogue, str]
) -> Exit:
    live = sys.stdout.isatty() and not (arguments.once or arguments.json)
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    sounded: set[str] = set()
    while True:
        answer = client.ask({"ask": "board"})
        shown = answer.get("board")
        if not isinstance(shown, dict):
            complain(str(answer.get("reason", "no board")))
            return Exit.FAULT
        if arguments.json:
            say(dump(shown).decode())
        else:
            bell = BELL if live and is_new(shown, sounded) else ""
            advice = advice_lines(shown, *reader)
            if live:
                size = Size(*shutil.get_terminal_size())
                say(CLEAR + bell + fit(shown, colour=colour, advice=advice, size=size))
            else:
                say(board.render(shown, colour=colour, advice=advice))
        if not live:
            return Exit.WELL
        time.sleep(REFRESH_S)


def is_new(shown: Mapping[str, object], sounded: set[str]) -> bool:
    """Whether an alarm that waits has come, was announced again or is heard again.

    ``sounded`` is what has sounded already. What is hidden or silenced does not sound.
    """
    sounding = {
        f"{alarm['occurrence']} {alarm['level']} {alarm.get('announced')}"
        for alarm in board.waiting(shown)
        if not alarm.get("silenced")
    }
    new = not sounding <= sounded
    sounded.intersection_update(sounding)
    sounded.update(sounding)
    return new


def advice_lines(shown: Mapping[str, object], texts: Catalogue, language: str) -> list[str]:
    """What to do about the worst alarm that holds and waits, else the worst that waits."""
    waiting = board.waiting(shown)
    worst = next((alarm for alarm in waiting if alarm["active"]), next(iter(waiting), None))
    if worst is None:
        return []
    over = "" if worst["active"] else "it is over: "
    code = str(worst["guidance"])
    text = texts.text(code, str(worst["class"]) or None, language)
    if not text.advice:
        return []
    return [board.harmless(f"{over}{code}  {text.title}"), board.harmless(f"    {text.advice}")]


def _texts(configuration: Configuration | None) -> Catalogue:
    """The site's texts over the shipped ones, or these alone where the site's cannot be read."""
    directory = None if configuration is None else configuration.guidance.directory
    try:
        return load(None if directory is None else Path(directory))
    except ConfigErrors as errors:
        for problem in errors.problems:
            complain(format_problem(problem))
        return load()


def _language(asked: str | None, texts: Catalogue, configuration: Configuration | None) -> str:
    """As asked for, else the reader's own, else the site's where there are no texts in that."""
    language = asked or reader_language(os.environ)
    if asked is None and configuration is not None and not texts.knows(language):
        return configuration.guidance.language
    return language
