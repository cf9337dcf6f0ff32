"""``drivers``: the instrument table."""

import argparse
from dataclasses import asdict

from drivers.api import DriverInfo
from drivers.registry import find, names
from gateway.board import table
from gateway.verbs.terminal import Exit, say
from gateway.wire.table import dump

HEADINGS = ("driver", "instruments", "class", "contract", "links", "verified", "channels")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument("--json", action="store_true", help="one JSON line per driver")


def run(arguments: argparse.Namespace) -> Exit:
    """Prints one row per driver."""
    drivers = [find(name) for name in names()]
    if arguments.json:
        for info in drivers:
            say(dump(describe(info)).decode())
    else:
        say("\n".join(table([HEADINGS, *(row(info) for info in drivers)])))
    return Exit.WELL


def row(info: DriverInfo) -> tuple[str, ...]:
    """One driver's row."""
    return (
        info.name,
        info.title,
        ", ".join(info.classes),
        info.contract,
        ", ".join(info.links),
        info.verified,
        ", ".join(info.channels),
    )


def describe(info: DriverInfo) -> dict[str, object]:
    """One driver with its options, as a JSON object."""
    return {
        "driver": info.name,
        "title": info.title,
        "classes": info.classes,
        "contract": info.contract,
        "links": info.links,
        "verified": info.verified,
        "channels": info.channels,
        "source": info.source,
        "poll_s": info.poll_s,
        "silence_s": info.silence_s,
        "serial": asdict(info.serial) if info.serial else None,
        "tcp_port": info.tcp_port,
        "options": [asdict(option) for option in info.options],
        "permissions": info.permissions,
    }
