"""``record``: the gateway records what goes over a detector's link; this fetches it meanwhile.

Nothing is opened or interrupted. The gateway ends it by itself after the time or at the size, also
if nobody fetches it any more; then ``--list`` names the file and ``--fetch`` brings it.
"""

import argparse
import re
import time
from pathlib import Path
from typing import Any, BinaryIO, Final

from drivers.codec.recording import BadRecording, Kind, Recording, read_recording
from gateway.board import harmless
from gateway.control import ControlClient, ControlUnavailable
from gateway.verbs.board import add_socket_arguments, client_of
from gateway.verbs.duration import EXAMPLE, seconds
from gateway.verbs.recording_folder import ABOUT, RECORDING, template
from gateway.verbs.terminal import Exit, complain, say

LOOK_S: Final = 0.5
_UNITS: Final = {"kB": 10**3, "MB": 10**6}
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(kB|MB)")
_ASKED: Final = ".asked.jsonl"


class Refused(RuntimeError):
    """The gateway says no, and why."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    add_socket_arguments(parser)
    parser.add_argument("detector", nargs="?", help="whose bytes")
    parser.add_argument("out", nargs="?", type=Path, metavar="OUT", help="file, or a folder")
    parser.add_argument(
        "--for", dest="seconds", type=_seconds, default=600.0, help="how long (default 10min)"
    )
    parser.add_argument(
        "--max", dest="size", type=_size, default=50 * 10**6, help="how large (default 50MB)"
    )
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--list", action="store_true", help="the files that the gateway has")
    other.add_argument("--fetch", metavar="NAME", help="one of them, into OUT")


def _seconds(text: str) -> float:
    try:
        return seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _size(text: str) -> int:
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: such as 500kB, 50MB")
    return round(float(match[1]) * _UNITS[match[2]])


def run(arguments: argparse.Namespace) -> Exit:
    """Records until the time, the size or an interrupt."""
    client = client_of(arguments)
    if client is None:
        return Exit.USAGE
    try:
        if arguments.list:
            return _list(client)
        if arguments.fetch is not None:
            out = arguments.out or arguments.detector
            return Exit.USAGE if out is None else _fetch(client, arguments.fetch, Path(out))
        if arguments.detector is None or arguments.out is None:
            complain(f"record DETECTOR OUT, OUT a file or a folder; --for {EXAMPLE}")
            return Exit.USAGE
        return _record(client, arguments)
    except (ControlUnavailable, Refused) as error:
        complain(harmless(str(error)))
        return Exit.FAULT
    except OSError as error:
        complain(f"{error.filename or arguments.out}: {error.strerror}")
        return Exit.USAGE


def _record(client: ControlClient, arguments: argparse.Namespace) -> Exit:
    file = _file(arguments.out)
    with file.open("xb") as out:
        try:
            started = _ask(
                client,
                what="start",
                detector=arguments.detector,
                seconds=arguments.seconds,
                max_bytes=arguments.size,
            )
        except (ControlUnavailable, Refused):
            file.unlink()
            raise
        name = str(started["name"])
        complain(f"recording {arguments.detector} into {file}; Ctrl-C ends it")
        try:
            _follow(client, name, out)
        except ControlUnavailable as error:
            raise ControlUnavailable(f"{error}; what had come is in {file}") from error
    _ask(client, what="forget", name=name)
    return _told(file, arguments.out)


def _follow(client: ControlClient, name: str, out: BinaryIO) -> None:
    """Fetches it until it is over; an interrupt asks for its end."""
    while True:
        try:
            if _page(client, name, out):
                return
            time.sleep(LOOK_S)
        except KeyboardInterrupt:
            _ask(client, what="stop", name=name)


def _page(client: ControlClient, name: str, out: BinaryIO) -> bool:
    """Brings everything that is there; whether that is all."""
    while True:
        page = _ask(client, what="read", name=name, at=out.tell())
        text = str(page["text"])
        out.write(text.encode("ascii"))
        out.flush()
        if page["is_over"] or not text:
            return bool(page["is_over"])


def _fetch(client: ControlClient, name: str, out: Path) -> Exit:
    file = _file(out)
    try:
        with file.open("xb") as target:
            _page(client, name, target)
    except Refused:
        file.unlink()
        raise
    if name.endswith(_ASKED):
        _ask(client, what="forget", name=name)
    return _told(file, out)


def _list(client: ControlClient) -> Exit:
    for each in _ask(client, what="list")["files"]:
        state = "  being taken" if each["is_open"] else ""
        say(harmless(f"{each['bytes']:>12}  {each['name']}{state}"))
    return Exit.WELL


def _file(out: Path) -> Path:
    """Where the bytes go: the file itself, or the one in a folder that is a test."""
    return out / RECORDING if out.is_dir() else out


def _told(file: Path, out: Path) -> Exit:
    try:
        with file.open(encoding="utf-8") as lines:
            recording = read_recording(lines)
    except BadRecording as error:
        complain(f"{file}: {error}")
        return Exit.FAULT
    if out != file and recording.header is not None and not (out / ABOUT).exists():
        (out / ABOUT).write_text(template(recording.header.driver), "utf-8")
    say(f"{file}: {summary(recording)}")
    return Exit.WELL


def summary(recording: Recording) -> str:
    """What is in it, on one line."""
    pieces = recording.pieces
    received = [piece for piece in pieces if piece.kind is Kind.RECEIVED]
    lost = sum(piece.count for piece in pieces if piece.kind is Kind.LOST)
    secret = sum(piece.secret for piece in received)
    ends = next((piece.text for piece in reversed(pieces) if piece.kind is Kind.END), "cut off")
    said = f"{recording.duration_s:.1f} s, {sum(len(p.data) for p in received)} bytes received"
    if secret:
        said += f", {secret} secret pieces left out"
    if lost:
        said += f", {lost} pieces lost"
    return f"{said}; ended: {ends}"


def _ask(client: ControlClient, **question: Any) -> dict[str, Any]:
    reply: dict[str, Any] = client.ask({"ask": "record", **question})
    if not reply.get("ok"):
        raise Refused(f"the gateway refuses: {reply.get('reason')}")
    return reply
