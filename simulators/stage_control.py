"""The control socket of a live stage: whoever operates an exercise says here what happens next.

One JSON object a line each way. Requests: ``{"ask": "event", "event": {"do": ...}}`` with any
action of a scenario that is about the world, links, instruments and the stage's broker, played at
once; ``{"ask": "pause"}``, ``{"ask": "resume"}``, ``{"ask": "speed", "speed": 4}`` and ``{"ask":
"status"}``. Answers carry ``ok``, and ``reason`` if it is false. Who may connect is a matter of the
socket's file mode.
"""

import asyncio
import contextlib
import json
import os
import socket
from itertools import count
from pathlib import Path
from typing import Final

import structlog

from config.actions import BrokerAction
from config.injection import Injection, table_of
from config.problem import ConfigErrors
from config.scenario import Scenario
from simulators.live import LiveStage
from simulators.stage_clock import BadSpeed

log: Final = structlog.get_logger()

SOCKET: Final = "stage.sock"
LINE_LIMIT: Final = 65_536
CLIENTS: Final = 16
IDLE_S: Final = 300.0
MODE: Final = 0o660
ANSWER_S: Final = 2.0
"""Own choice: who listens and is this busy is there nonetheless."""
_NAMED: Final = ("place_source", "send_source")

Table = dict[str, object]


class Refused(Exception):
    """What was asked for is not done; the text says why."""


def is_answered(path: Path) -> bool:
    """Whether a stage listens there; the file that a killed one left does not count."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(ANSWER_S)
        try:
            connection.connect(os.fspath(path))
        except TimeoutError:
            return True
        except OSError:
            return False
    return True


class StageControl:
    """Takes what operators of a stage ask for."""

    def __init__(self, path: Path, stage: LiveStage, scenario: Scenario) -> None:
        self._path = path
        self._stage = stage
        self._name = scenario.scenario.name
        self._end_s = scenario.scenario.duration_s
        self._injection = Injection(scenario)
        self._numbers = count(1)
        self._server: asyncio.Server | None = None
        self._clients: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def start(self) -> None:
        """Listens; a socket file left over from a stage that was killed is replaced."""
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        self._server = await asyncio.start_unix_server(self._serve, self._path, limit=LINE_LIMIT)
        self._path.chmod(MODE)

    async def stop(self) -> None:
        """Hangs up on everybody."""
        if self._server is None:
            return
        self._server.close()
        for writer in self._clients.values():
            writer.transport.abort()
        for task in tuple(self._clients):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()

    async def answer(self, line: bytes) -> Table:
        """The answer to one line."""
        try:
            return {"ok": True, **await self._do(_object(line))}
        except ConfigErrors as errors:
            return {"ok": False, "reason": str(errors)}
        except (Refused, BadSpeed) as error:
            return {"ok": False, "reason": str(error)}

    async def _do(self, request: Table) -> Table:
        clock = self._stage.clock
        match request.get("ask"):
            case "event":
                return await self._play(request.get("event"))
            case "pause":
                clock.pause()
            case "resume":
                clock.resume()
            case "speed":
                clock.set_speed(_number(request.get("speed")))
            case "status":
                pass
            case other:
                raise Refused(f"ask {str(other)[:32]!r} is not event, pause, resume, speed, status")
        return self._status()

    async def _play(self, asked: object) -> Table:
        if not isinstance(asked, dict):
            raise Refused("the event is no object")
        # A file has tenths of milliseconds at most; what is played now is written as such.
        now = {"at_s": round(self._stage.now_s(), 4)}
        there = self._stage.sources()
        event = self._injection.examine(self._with_name(asked, there) | now, there)
        if isinstance(event, BrokerAction) and self._stage.broker is None:
            raise Refused(
                "this stage has no broker of its own: that one is yours to stop and start"
            )
        if isinstance(event, BrokerAction) and self._stage.broker is not None:
            objection = self._stage.broker.objection(event)
            if objection:
                raise Refused(objection)
        if not await self._stage.happen(event):
            raise Refused(
                f"{event.do!r} is nothing for a stage: it plays the world, links, instruments and "
                "its broker; orders go to the gateway, by their own verbs"
            )
        return {"played": table_of(event)}

    def _with_name(self, asked: Table, there: tuple[str, ...]) -> Table:
        """A source that was given no name gets one that is free."""
        if asked.get("do") not in _NAMED or "id" in asked:
            return asked
        name = next(name for n in self._numbers if (name := f"injected-{n}") not in there)
        return {"id": name, **asked}

    def _status(self) -> Table:
        clock, broker = self._stage.clock, self._stage.broker
        return {
            "scenario": self._name,
            "now_s": round(clock.now_s(), 3),
            "ends_s": self._end_s,
            "speed": clock.speed,
            "paused": clock.is_paused,
            "events_to_come": self._stage.waiting,
            "sources": list(self._stage.sources()),
            "broker": None if broker is None else {"url": broker.url, "state": broker.state},
            "troubles": {name: list(them) for name, them in self._stage.troubles().items()},
        }

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._clients) >= CLIENTS:
            writer.write(_line({"ok": False, "reason": f"{CLIENTS} others are connected"}))
            writer.close()
            return
        self._clients[task] = writer
        try:
            await self._converse(reader, writer)
        except (OSError, TimeoutError):
            log.debug("stage_client_gone")
        except Exception:
            # The task's boundary: whatever one client brings about costs its own connection.
            log.exception("stage_client_failed")
        finally:
            del self._clients[task]
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                async with asyncio.timeout(IDLE_S):
                    line = await reader.readline()
            except ValueError:
                writer.write(_line({"ok": False, "reason": f"over {LINE_LIMIT} bytes"}))
                return
            if not line:
                return
            writer.write(_line(await self.answer(line)))
            async with asyncio.timeout(IDLE_S):
                await writer.drain()


def _line(answer: Table) -> bytes:
    return json.dumps(answer, ensure_ascii=False).encode() + b"\n"


def _object(line: bytes) -> Table:
    try:
        request = json.loads(line, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Refused(f"no JSON: {error}") from None
    if not isinstance(request, dict):
        raise Refused("no JSON object")
    return request


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refused("speed needs a number")
    return float(value)
