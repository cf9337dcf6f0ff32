"""The control socket: what it answers, what it refuses, what it leaves behind."""

import asyncio
import getpass
import json
import os
import socket
import stat
from contextlib import asynccontextmanager, suppress

import pytest

from gateway import control as control_module
from gateway.commands import SIZE_LIMIT, BadCommand, parse_command, parse_object
from gateway.control import CLIENTS, ControlClient, ControlServer, ControlUnavailable
from gateway.values import Answer


class Daemon:
    """A board and commands behind a control server."""

    def __init__(self, path):
        self.path, self.commands, self.shown = path, [], {"detectors": [], "alarms": []}
        self.server = ControlServer(path, lambda: self.shown, self.execute, lambda: "id-1")

    async def execute(self, command):
        self.commands.append(command)
        if command.get("occurrence") == "bug":
            raise ZeroDivisionError
        known = command.get("occurrence") == "o1"
        return Answer(command, known, "" if known else "stale: no open alarm")

    async def ask(self, *lines):
        """Raw lines to one connection; the answers until it has as many or is closed."""
        reader, writer = await asyncio.open_unix_connection(self.path)
        answers = []
        try:
            for line in lines:
                writer.write(line + b"\n")
                if not (answer := await asyncio.wait_for(reader.readline(), 5)):
                    break
                answers.append(json.loads(answer))
        except OSError:
            return answers  # closed while we wrote
        finally:
            writer.close()
        await gone(writer)
        return answers


@pytest.fixture
async def daemon(tmp_path):
    daemon = Daemon(tmp_path / "run" / "control.sock")
    async with serving(daemon):
        yield daemon


@asynccontextmanager
async def serving(daemon):
    task = asyncio.create_task(daemon.server.run())
    await until_it_answers(daemon)
    try:
        yield
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert not daemon.path.exists()
    assert not [one for one in asyncio.all_tasks() if "ControlServer" in repr(one)]


async def until_it_answers(daemon):
    async with asyncio.timeout(5):
        while not await answers(daemon.path):  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def answers(path):
    try:
        _, writer = await asyncio.open_unix_connection(path)
    except OSError:
        return False
    writer.close()
    await gone(writer)
    return True


async def gone(writer):
    with suppress(OSError):
        await writer.wait_closed()


def command(name="acknowledge", **arguments):
    return json.dumps({"ask": "command", "name": name, "arguments": arguments}).encode()


async def test_the_board(daemon):
    daemon.shown = {"detectors": [{"detector": "µ"}], "alarms": []}
    asked = await asyncio.to_thread(ControlClient(daemon.path).ask, {"ask": "board"})
    assert asked == {"ok": True, "board": daemon.shown}
    assert stat.S_IMODE(daemon.path.stat().st_mode) == 0o660


async def test_a_command_is_the_peers_own(daemon):
    (answer,) = await daemon.ask(command(occurrence="o1", revision=3))
    assert answer == {"ok": True, "reason": "", "command": "id-1"}
    (carried_out,) = daemon.commands
    assert (carried_out.name, carried_out.user) == ("acknowledge", getpass.getuser())
    assert carried_out.arguments == (("occurrence", "o1"), ("revision", 3))


async def test_a_refusal_says_why_and_the_connection_goes_on(daemon):
    refused, board = await daemon.ask(command(occurrence="o9"), b'{"ask":"board"}')
    assert (refused["ok"], refused["reason"]) == (False, "stale: no open alarm")
    assert board["ok"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (b"\xff", "not a JSON object"),
        (b'{"ask": "board"', "not a JSON object"),
        (b"[" * 10_000, "not a JSON object"),
        (b'{"ask": "board", "ask": "board"}', "same key twice"),
        (b'{"ask": "command", "name": "reset", "arguments": {"a":1,"a":2}}', "same key twice"),
        (b'{"ask": NaN}', "NaN is not JSON"),
        (b'{"ask": -Infinity}', "-Infinity is not JSON"),
        (b'{"ask": 1e999}', "too large"),
        (b'{"ask": "fly"}', "'fly' is not one of board, command, journal, drill"),
        (b'{"ask": {"board": 1}}', "is not one of board, command, journal, drill"),
        (b"{}", "is not one of board, command, journal, drill"),
        (b'{"ask": "command"}', "unknown command"),
        (command("erase"), "unknown command 'erase'"),
        (b'{"ask": "command", "name": "reset", "arguments": []}', "must be an object"),
        (command(occurrence=["o1"]), "must be text"),
        (command(occurrence=None), "must be text"),
        (b'{"ask":"command","name":"reset","arguments":{"a":"\\ud800"}}', "half a character"),
        (b'{"ask":"command","name":"reset","arguments":{"\\ud800":1}}', "half a character"),
        (b'{"a": "' + b"x" * SIZE_LIMIT + b'"}', f"over {SIZE_LIMIT} bytes"),
    ],
)
async def test_what_is_no_request_is_refused(daemon, line, reason):
    refused, board = await daemon.ask(line, b'{"ask":"board"}')
    assert refused["ok"] is False
    assert reason in refused["reason"]
    assert board["ok"]
    assert not daemon.commands


async def test_a_line_without_an_end_is_refused_and_closed(daemon):
    long, *rest = await daemon.ask(b"x" * 200_000, b'{"ask":"board"}')
    assert (long["ok"], rest) == (False, [])
    assert "over 65536 bytes" in long["reason"]


async def test_a_defect_costs_one_connection(daemon):
    assert await daemon.ask(command(occurrence="bug")) == []
    assert (await daemon.ask(b'{"ask":"board"}'))[0]["ok"]


async def test_a_stale_socket_file_is_replaced(tmp_path):
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(os.fspath(path))
    daemon = Daemon(path)
    async with serving(daemon):
        assert (await daemon.ask(b'{"ask":"board"}'))[0]["ok"]


async def test_the_socket_of_another_gateway_is_left_to_it_until_it_is_free(tmp_path, monkeypatch):
    monkeypatch.setattr(control_module, "TAKEN_S", 0.001)
    first, second = (Daemon(tmp_path / "control.sock") for _ in range(2))
    second.shown = {"detectors": ["second"], "alarms": []}
    running = asyncio.create_task(first.server.run())
    await until_it_answers(first)
    async with serving(second):
        for _ in range(20):
            assert (await first.ask(b'{"ask":"board"}'))[0]["board"] == first.shown
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await until_it_answers(second)
        assert (await second.ask(b'{"ask":"board"}'))[0]["board"] == second.shown


async def test_twenty_clients_of_which_too_many_are_told_so(daemon):
    streams = [await asyncio.open_unix_connection(daemon.path) for _ in range(20)]
    said = []
    for index, (reader, writer) in enumerate(streams):
        if index < CLIENTS:
            writer.write(b'{"ask":"board"}\n')
        said.append(json.loads(await asyncio.wait_for(reader.readline(), 5)))
    assert [one["ok"] for one in said].count(True) == CLIENTS
    assert f"{CLIENTS} others" in said[-1]["reason"]
    for _, writer in streams:
        writer.close()
        await gone(writer)
    async with asyncio.timeout(5):
        while not (await daemon.ask(b'{"ask":"board"}'))[0]["ok"]:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def test_an_idle_client_is_let_go(daemon, monkeypatch):
    monkeypatch.setattr(control_module, "IDLE_S", 0.01)
    reader, writer = await asyncio.open_unix_connection(daemon.path)
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    await gone(writer)


async def test_clients_do_not_outlive_the_server(tmp_path):
    daemon = Daemon(tmp_path / "control.sock")
    async with serving(daemon):
        reader, writer = await asyncio.open_unix_connection(daemon.path)
        writer.write(b'{"ask":"board"}\n')
        await reader.readline()
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    await gone(writer)


def test_no_daemon(tmp_path):
    with pytest.raises(ControlUnavailable, match="is the gateway running"):
        ControlClient(tmp_path / "none.sock").ask({"ask": "board"})


def test_mqtt_and_socket_are_parsed_alike():
    found = parse_object(b'{"occurrence": "o1", "revision": 2}')
    parsed = parse_command("acknowledge", "anna", found, "c1")
    assert parsed.get("revision") == "2"
    assert parsed.get("nothing", "-") == "-"
    with pytest.raises(BadCommand):
        parse_object('{"a": 1}'.encode("utf-16"))
