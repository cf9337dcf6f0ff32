"""Where the verbs of the journal look: at the running gateway, or into a stopped one's file."""

import argparse
import sqlite3
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from config.models import Configuration
from gateway.control import ControlClient, ControlUnavailable
from gateway.journal.desk import MOST, REFUSING, JournalDesk, Reply
from gateway.journal.status import Terms, terms_of
from gateway.journal.stopped import requeue_stopped, told_requeued
from gateway.verbs.board import SOCKET
from gateway.verbs.terminal import complain, load_or_complain
from gateway.verbs.why import STATE_DIR

Message = dict[str, Any]
Asked = dict[str, Any]
TIMEOUT_S: Final = 60.0
"""A page on a busy disk: own choice."""
AT_ONCE: Final = 50_000
"""Records that a page of a file looks at; nobody else waits for it."""

AT_ONCE_BYTES: Final = 4_000_000


class NoAnswer(Exception):
    """The journal was not to be had, or the question was refused; the text says why."""


class Source(Protocol):
    """Whoever answers what is asked of a journal."""

    def ask(self, question: Asked) -> Reply:
        """One answer. Raises NoAnswer."""


@dataclass(frozen=True, slots=True)
class Daemon:
    """A running gateway."""

    client: ControlClient

    def ask(self, question: Asked) -> Reply:
        """One answer. Raises NoAnswer."""
        try:
            reply = self.client.ask({"ask": "journal", **question})
        except ControlUnavailable as error:
            raise NoAnswer(str(error)) from error
        if not reply.get("ok"):
            raise NoAnswer(f"the gateway refuses: {reply.get('reason')}")
        return reply


@dataclass(frozen=True, slots=True)
class File:
    """The file of a gateway that does not run, or beside one that does."""

    directory: Path
    desk: JournalDesk

    def ask(self, question: Asked) -> Reply:
        """One answer. Raises NoAnswer."""
        try:
            if question["what"] == "requeue":
                count = requeue_stopped(self.directory, str(question["sink"]))
                return {"ok": True, "count": count, "reason": told_requeued(count)}
            return self.desk.answer(question)
        except REFUSING as error:
            raise NoAnswer(_plain(error, self.directory)) from error


def _plain(error: Exception, directory: Path) -> str:
    return f"{directory}: {error}" if isinstance(error, sqlite3.Error) else str(error)


def add_where(parser: argparse.ArgumentParser) -> None:
    """Which journal."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument("-c", "--config", type=Path, help="configuration file of the gateway")
    where.add_argument("--socket", type=Path, help="control socket of a running gateway")
    where.add_argument("--directory", type=Path, help="folder of the journal's file")


def source_of(arguments: argparse.Namespace) -> Source | None:
    """The gateway if it runs, else its file; None after the configuration's problems were told.

    Raises NoAnswer where the socket is there and refuses: then the file may be in use.
    """
    configuration = None
    if arguments.config is not None:
        configuration = load_or_complain(arguments.config)
        if configuration is None:
            return None
    if arguments.directory is not None:
        return _file(arguments.directory, None)
    if arguments.socket is not None:
        return Daemon(ControlClient(arguments.socket, TIMEOUT_S))
    socket = SOCKET if configuration is None else Path(configuration.gateway.control_socket)
    client = ControlClient(socket, TIMEOUT_S)
    try:
        client.ask({"ask": "journal", "what": "ping"})
    except ControlUnavailable as error:
        if not error.is_absent:
            raise NoAnswer(str(error)) from error
        if socket.exists():
            complain(f"{socket}: nobody listens there; looking into the file")
        state = STATE_DIR if configuration is None else Path(configuration.gateway.state_dir)
        return _file(state, configuration)
    return Daemon(client)


def _file(directory: Path, configuration: Configuration | None) -> File:
    is_live = (directory / "journal.sqlite-wal").exists()
    desk = JournalDesk(
        directory,
        Terms() if configuration is None else terms_of(configuration),
        time.time,
        is_live=is_live,
        examined=AT_ONCE,
        most_bytes=AT_ONCE_BYTES,
    )
    return File(directory, desk)


@dataclass(slots=True)
class Messages:
    """All messages that are asked for, or the first of them, counted as they pass.

    ``damaged`` are those on the way that cannot be read: whether they fit, nobody knows.
    """

    source: Source
    question: Mapping[str, object]
    limit: int | None = None
    count: int = 0
    damaged: int = 0

    def __iter__(self) -> Iterator[Message]:
        """Raises NoAnswer."""
        left = self.limit
        place = None
        while left is None or left > 0:
            most = MOST if left is None else min(MOST, left)
            asked = {"what": "list", **self.question, "limit": most, "place": place}
            reply = self.source.ask(asked)
            self.damaged += reply["damaged"]
            for message in reply["messages"]:
                self._count(message)
                yield message
            if left is not None:
                left -= len(reply["messages"])
            place = reply["place"]
            if place is None:
                return

    def _count(self, message: Message) -> None:
        if message.get("kind") == "damaged":  # a row as it was stored, which is no message
            self.damaged += 1
        else:
            self.count += 1
