"""A port on which the instrument calls in, and the simulated instrument that does."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from config.loader import load
from config.models import TcpListenLink
from config.problem import ConfigErrors
from config.scenario import load_scenario
from gateway.links.errors import LinkLost, PortRefused
from gateway.links.listen import ListenLink
from simulators.live import LiveStage
from simulators.ports import HOST, CallingPort, free_port
from simulators.world import World

TEXT = """
[scenario]
name = "calls"
duration_s = 60

[[detector]]
id = "one"
archetype = "AREA"
link = "tcp_listen"
at = { x = 0, y = 0 }
settings = { period_s = 0.02 }
"""


@pytest.fixture
async def caller() -> Any:
    heard: list[bytes] = []
    port = CallingPort(heard.append, free_port(), again_s=0.001)
    await port.plug()
    yield port, heard
    await port.unplug()


async def opened(link: ListenLink) -> None:
    async with asyncio.timeout(5):
        await link.open()


async def sent(port: CallingPort, data: bytes) -> None:
    async with asyncio.timeout(5):
        while not port.send(data):  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def until(check: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not check():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def test_the_instrument_calls_and_both_can_speak(caller: Any) -> None:
    port, heard = caller
    link = ListenLink(HOST, port.number)
    await opened(link)
    await sent(port, b"12.3\n")
    assert await link.read() == b"12.3\n"
    await link.write(b"?")
    await until(lambda: heard == [b"?"])
    await link.close()


async def test_it_calls_again_when_the_line_was_cut(caller: Any) -> None:
    port, _ = caller
    link = ListenLink(HOST, port.number)
    await opened(link)
    await sent(port, b"a")
    assert await link.read() == b"a"
    await port.unplug()
    with pytest.raises(LinkLost, match=f"{HOST}:{port.number}"):
        await link.read()
    await link.close()
    await port.plug()
    await opened(link)
    await sent(port, b"b")
    assert await link.read() == b"b"
    await link.close()


async def test_a_second_caller_is_turned_away(caller: Any) -> None:
    port, _ = caller
    link = ListenLink(HOST, port.number)
    await opened(link)
    with suppress(OSError):
        reader, writer = await asyncio.open_connection(HOST, port.number)
        writer.write(b"false")
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
    await sent(port, b"true")
    assert await link.read() == b"true"
    await link.close()


async def test_a_port_in_use_is_refused_with_what_to_do() -> None:
    server = await asyncio.start_server(lambda _r, _w: None, HOST, 0)
    number = server.sockets[0].getsockname()[1]
    async with server:
        with pytest.raises(PortRefused, match=f"{HOST}:{number}.*own|free"):
            await ListenLink(HOST, number).open()


async def test_a_stage_plays_an_instrument_that_calls(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text(TEXT, encoding="utf-8")
    scenario = load_scenario(path)
    stage = LiveStage(scenario, World(scenario), tmp_path, datetime(2026, 1, 1, tzinfo=UTC))
    settings = (await stage.open())["one"]
    assert isinstance(settings, TcpListenLink)
    link = ListenLink(settings.host, settings.port)
    playing = asyncio.create_task(stage.play())
    try:
        await opened(link)
        async with asyncio.timeout(5):
            assert b"dose_rate" in await link.read()
    finally:
        playing.cancel()
        with suppress(asyncio.CancelledError):
            await playing
        await link.close()
        await stage.close()


def test_it_is_offered_to_what_speaks_tcp_and_to_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "g.toml"
    text = '[gateway]\nid = "g"\n[[detector]]\nid = "a"\ndriver = "{}"\n'
    text += 'link = {{ kind = "tcp_listen", host = "0.0.0.0", port = 4001 }}\n'
    path.write_text(text.format("rapiscan-tsa-rpm"), encoding="utf-8")
    assert load(path).detector[0].link.kind == "tcp_listen"
    path.write_text(text.format("aspect-rpm-modbus-tcp"), encoding="utf-8")
    with pytest.raises(ConfigErrors, match="not reached by 'tcp_listen'"):
        load(path)
