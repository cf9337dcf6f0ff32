"""``run``: the daemon."""

import argparse
import asyncio
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Final

import structlog

from config.models import Configuration
from gateway import logs
from gateway.app import Gateway
from gateway.clock import boot_id
from gateway.drill.values import Ghosts, Ground
from gateway.journal.file import JournalUnusable
from gateway.notify import Notifier
from gateway.single import AlreadyRunning, alone
from gateway.verbs.terminal import Exit, complain, load_or_complain, spare_collector

log: Final = structlog.get_logger()
OWN_FILES: Final = 256
FILES_PER_DETECTOR: Final = 6
"""A serial port of pyserial costs five descriptors."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument("-c", "--config", type=Path, required=True, help="configuration file")


def run(arguments: argparse.Namespace) -> Exit:
    """Runs until SIGTERM or SIGINT."""
    configuration = load_or_complain(arguments.config)
    if configuration is None:
        return Exit.USAGE
    spare_collector()
    try:
        asyncio.run(serve_all(configuration, Notifier(), arguments.config))
    except (JournalUnusable, AlreadyRunning) as error:
        complain(str(error))
        return Exit.FAULT
    return Exit.WELL


def allow_files(wanted: int) -> None:
    """Raises the soft limit of open files: each detector needs one or more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft < enough:
        resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))


def summon(text: str, ground: Ground) -> Ghosts:
    """The ghosts of a drill; only who leads one pays for simulators."""
    from gateway.verbs import ghosts

    return ghosts.summon(text, ground)


async def serve_all(configuration: Configuration | None, notifier: Notifier, source: Path) -> None:
    """One gateway after the other, on one loop: no signal falls between two of them."""
    under_systemd = "JOURNAL_STREAM" in os.environ
    as_json = under_systemd or not sys.stderr.isatty()
    while configuration is not None:
        logs.set_up(configuration.gateway.log_level, as_json=as_json, systemd=under_systemd)
        allow_files(OWN_FILES + FILES_PER_DETECTOR * len(configuration.detector))
        configuration = await serve(configuration, notifier, source)


async def serve(
    configuration: Configuration, notifier: Notifier, source: Path
) -> Configuration | None:
    """One gateway, ended by the signals of an orderly stop: None.

    SIGHUP reads the configuration again: a good one ends this gateway and is returned, to begin
    the next, which goes on with the same alarms; a bad one is told and changes nothing.
    """
    gateway = Gateway(configuration, notifier=notifier, boot=boot_id(), summon=summon)
    following: Configuration | None = None
    is_stopping = False

    def stop() -> None:
        nonlocal is_stopping
        is_stopping = True
        gateway.stop()

    def reload() -> None:
        nonlocal following
        if is_stopping:
            return
        notifier.reloading(gateway.now.mono)
        found = _following(source)
        if found is None:
            log.error("reload_refused", file=str(source))
            notifier.ready(f"{source} refused: the configuration of before stays in force")
            return
        log.info("reload", file=str(source))
        following = found
        gateway.stop(for_reload=True)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    loop.add_signal_handler(signal.SIGHUP, reload)
    with alone(Path(configuration.gateway.state_dir)):
        await gateway.run()
    return None if is_stopping else following


def _following(source: Path) -> Configuration | None:
    """The configuration as it is in the file now, if a gateway can be made of it."""
    found = load_or_complain(source)
    if found is None:
        return None
    try:
        Gateway(found)
    except (ValueError, LookupError) as error:
        complain(f"{source}: {error}")
        return None
    return found
