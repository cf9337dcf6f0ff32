"""The control socket: board and commands on this laptop, with no broker.

One JSON object a line each way. Requests: ``{"ask": "board"}``,
``{"ask": "command", "name": ..., "arguments": {...}}``, ``{"ask": "journal", "what": ...}``, for
which see ``gateway.journal.desk``, ``{"ask": "drill", "what": ...}``, see
``gateway.drill.service``, and ``{"ask": "record", "what": ...}``, see ``gateway.recorder.desk``.
Answers carry ``ok`` and, if it is false, ``reason``. Who may connect is a matter of the socket's
file mode; commands are recorded under the name of the user at the other end.
"""

import asyncio
import contextlib
import json
import os
import pwd
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

import structlog

from gateway.commands import BadCommand, parse_command, parse_object
from gateway.values import Answer, Command
from gateway.wire.table import dump

log: Final = structlog.get_logger()

LINE_LIMIT: Final = 65_536
IDLE_S: Final = 300.0
HANG_UP_S: Final = 1.0
TAKEN_S: Final = 5.0
"""Until a socket of somebody else is tried again: own choice."""
CLIENTS: Final = 16
MODE: Final = 0o660

Board = Callable[[], dict[str, object]]
Execute = Callable[[Command], Awaitable[Answer]]
Ask = Callable[[Mapping[str, object], str], Awaitable[dict[str, object]]]


async def _answers(path: Path) -> bool:
    """Whether somebody listens there."""
    try:
        _, writer = await asyncio.open_unix_connection(path)
    except OSError:
        return False
    writer.close()
    return True


async def no_journal(question: Mapping[str, object], user: str) -> dict[str, object]:
    """Where there is none to ask."""
    raise BadCommand("there is no journal here")


async def no_drill(question: Mapping[str, object], user: str) -> dict[str, object]:
    """Where there is none to lead."""
    raise BadCommand("there are no drills here")


async def no_recorder(question: Mapping[str, object], user: str) -> dict[str, object]:
    """Where nothing is recorded."""
    raise BadCommand("nothing is recorded here")


class ControlServer:
    """Serves the board and takes commands on a Unix socket."""

    def __init__(
        self,
        path: Path,
        board: Board,
        execute: Execute,
        new_id: Callable[[], str],
        journal: Ask = no_journal,
        drill: Ask = no_drill,
        record: Ask = no_recorder,
    ) -> None:
        self._path = path
        self._board = board
        self._execute = execute
        self._new_id = new_id
        self._asks: Mapping[str, Ask] = {"journal": journal, "drill": drill, "record": record}
        self._clients: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def run(self) -> None:
        """Until cancelled; a socket file left over from a killed daemon is replaced.

        One on which somebody answers is another gateway's: this one waits until it is free.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        await self._until_free()
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        server = await asyncio.start_unix_server(self._serve, self._path, limit=LINE_LIMIT)
        self._path.chmod(MODE)
        mine = self._path.stat().st_ino
        try:
            async with server:
                await server.serve_forever()
        finally:
            with contextlib.suppress(FileNotFoundError):
                if self._path.stat().st_ino == mine:
                    self._path.unlink()
            await self._hang_up()

    async def _until_free(self) -> None:
        is_told = False
        while await _answers(self._path):
            if not is_told:
                log.error("control_socket_in_use", path=str(self._path))
            is_told = True
            await asyncio.sleep(TAKEN_S)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._clients) >= CLIENTS:
            writer.write(dump({"ok": False, "reason": f"{CLIENTS} others are connected"}) + b"\n")
            writer.close()
            return
        self._clients[task] = writer
        try:
            await self._converse(reader, writer)
        except OSError:
            log.debug("control_client_gone")
        except Exception:
            # The task's boundary: whatever one client brings about costs its own connection.
            log.exception("control_client_failed")
        finally:
            del self._clients[task]
            writer.close()

    async def _hang_up(self) -> None:
        """Cuts every connection; a command that is being stored has a moment to end."""
        for writer in self._clients.values():
            writer.transport.abort()
        if self._clients:
            await asyncio.wait(tuple(self._clients), timeout=HANG_UP_S)
        for task in self._clients:
            task.cancel()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        user = _peer(writer)
        while True:
            try:
                async with asyncio.timeout(IDLE_S):
                    line = await reader.readline()
            except ValueError:
                writer.write(dump({"ok": False, "reason": f"over {LINE_LIMIT} bytes"}) + b"\n")
                return
            if not line:
                return
            writer.write(dump(await self._answer(line, user)) + b"\n")
            async with asyncio.timeout(IDLE_S):
                await writer.drain()

    async def _answer(self, line: bytes, user: str) -> dict[str, object]:
        try:
            request = parse_object(line)
            match request.get("ask"):
                case "board":
                    return {"ok": True, "board": self._board()}
                case "command":
                    return await self._command(request, user)
                case str(name) if name in self._asks:
                    return await self._asks[name](request, user)
                case other:
                    known = ", ".join(("board", "command", *self._asks))
                    raise BadCommand(f"ask {str(other)[:32]!r} is not one of {known}")
        except BadCommand as error:
            return {"ok": False, "reason": str(error)}

    async def _command(self, request: dict[str, object], user: str) -> dict[str, object]:
        arguments = request.get("arguments", {})
        command = parse_command(str(request.get("name")), user, arguments, self._new_id())
        answer = await self._execute(command)
        return {"ok": answer.accepted, "reason": answer.reason, "command": command.command_id}


def _peer(writer: asyncio.StreamWriter) -> str:
    connection: socket.socket = writer.get_extra_info("socket")
    credentials = connection.getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")
    )
    _, uid, _ = struct.unpack("3i", credentials)
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid-{uid}"


class ControlUnavailable(RuntimeError):
    """No daemon answers on the socket; the text says what to do.

    ``is_absent``: nobody listens there, so no daemon of this socket runs.
    """

    def __init__(self, text: str, *, is_absent: bool = False) -> None:
        super().__init__(text)
        self.is_absent = is_absent


class ControlClient:
    """The other end, for the verbs of the command line."""

    def __init__(self, path: Path, timeout_s: float = 5.0) -> None:
        self._path = path
        self._timeout_s = timeout_s

    def ask(self, request: dict[str, object]) -> dict[str, object]:
        """One question, one answer. Raises ControlUnavailable."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(self._timeout_s)
                connection.connect(os.fspath(self._path))
                connection.sendall(dump(request) + b"\n")
                with connection.makefile("rb") as answers:
                    line = answers.readline()
        except OSError as error:
            raise ControlUnavailable(
                f"{self._path}: {error.strerror or error}; is the gateway running, "
                "and may this user use its socket?",
                is_absent=isinstance(error, FileNotFoundError | ConnectionRefusedError),
            ) from error
        if not line:
            return {"ok": False, "reason": "closed"}
        try:
            answer: dict[str, object] = json.loads(line)
        except ValueError as error:
            raise ControlUnavailable(
                f"{self._path}: the gateway ended while it answered"
            ) from error
        return answer
