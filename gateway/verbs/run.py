"""``run``: the daemon."""

import argparse
import asyncio
import gc
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Final

from config.models import Configuration
from gateway import logs
from gateway.app import Gateway
from gateway.journal_file import JournalUnusable
from gateway.notify import Notifier
from gateway.verbs.terminal import Exit, complain, load_or_complain

OWN_FILES: Final = 256
FILES_PER_DETECTOR: Final = 6
"""A serial port of pyserial costs five descriptors."""


GARBAGE_THRESHOLD: Final = 20_000
"""Values hold no cycles; with the default of 700 the collector looks through all sessions often."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument("-c", "--config", type=Path, required=True, help="configuration file")


def run(arguments: argparse.Namespace) -> Exit:
    """Runs until SIGTERM or SIGINT."""
    configuration = load_or_complain(arguments.config)
    if configuration is None:
        return Exit.USAGE
    under_systemd = "JOURNAL_STREAM" in os.environ
    logs.set_up(
        configuration.gateway.log_level,
        as_json=under_systemd or not sys.stderr.isatty(),
        systemd=under_systemd,
    )
    gc.set_threshold(GARBAGE_THRESHOLD, *gc.get_threshold()[1:])
    allow_files(OWN_FILES + FILES_PER_DETECTOR * len(configuration.detector))
    try:
        asyncio.run(serve(configuration, Notifier()))
    except JournalUnusable as error:
        complain(str(error))
        return Exit.FAULT
    return Exit.WELL


def allow_files(wanted: int) -> None:
    """Raises the soft limit of open files: each detector needs one or more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft < enough:
        resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))


async def serve(configuration: Configuration, notifier: Notifier) -> None:
    """One gateway, ended by the signals of an orderly stop."""
    gateway = Gateway(configuration, notifier=notifier)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, gateway.stop)
    await gateway.run()
