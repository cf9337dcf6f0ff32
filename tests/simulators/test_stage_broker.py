"""The broker of a stage as its clients meet it: what stops, cuts and stalls do, and what is kept.

Raw packets are constructed by hand from the OASIS standard MQTT 3.1.1.
"""

import asyncio
import socket
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from pydantic import TypeAdapter

from config.actions import Event
from config.scenario import load_scenario
from simulators.live import LiveStage
from simulators.stage_broker import CannotListen, StageBroker
from simulators.world import World

EVENT = TypeAdapter(Event)
# Clean session; the same without, as client "test".
CONNECT = bytes.fromhex("10 10 0004 4d515454 04 02 0000 0004 74657374")
RETURN = bytes.fromhex("10 10 0004 4d515454 04 00 0000 0004 74657374")
NEW, KNOWN = bytes.fromhex("20 02 00 00"), bytes.fromhex("20 02 01 00")
SUBSCRIBE = bytes.fromhex("82 08 0001 0003 612f62 01")  # a/b
GRANTED = bytes.fromhex("90 03 0001 01")
RETAIN = bytes.fromhex("31 06 0003 612f62 78")  # a/b: x
PUBLISH = bytes.fromhex("32 08 0003 612f62 0001 78")
TAKEN = bytes.fromhex("40 02 0001")
LONG_S = 5.0
TEXT = """
[scenario]
name = "outage"
duration_s = 600
[[detector]]
id = "prd"
archetype = "PRD"
at = { x = 0, y = 0 }
link = "tcp"
"""


class Client:
    """One connection to it."""

    def __init__(self, reader, writer):
        self._reader, self._writer = reader, writer

    async def say(self, *packets):
        self._writer.write(b"".join(packets))
        await self._writer.drain()

    async def hear(self, packet):
        async with asyncio.timeout(LONG_S):
            assert await self._reader.readexactly(len(packet)) == packet

    async def hears_nothing(self):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(LONG_S):
                await self._reader.read(1)

    async def is_cut(self):
        with pytest.raises(ConnectionResetError):
            async with asyncio.timeout(LONG_S):
                await self._reader.read(1)

    def close(self):
        self._writer.close()


@pytest.fixture
def stage(tmp_path):
    """A stage with a broker, and whoever connects to it."""

    @asynccontextmanager
    async def opened(events=""):
        path = tmp_path / "scenario.toml"
        path.write_text(TEXT + events, encoding="utf-8")
        scenario = load_scenario(path)
        noted = []
        async with StageBroker() as broker:
            live = LiveStage(
                scenario, World(scenario), tmp_path, datetime(2026, 1, 1, tzinfo=UTC),
                note=noted.append, broker=broker,
            )  # fmt: skip
            await live.open()
            playing = asyncio.create_task(live.play())
            try:
                yield At(live, broker, noted)
            finally:
                playing.cancel()
                await asyncio.gather(playing, return_exceptions=True)
                await live.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    return opened


class At:
    def __init__(self, live, broker, noted):
        self.live, self.broker, self.noted = live, broker, noted

    async def happen(self, do, **keys):
        event = EVENT.validate_python({"at_s": self.live.now_s(), "do": do, **keys})
        assert await self.live.happen(event)

    async def connect(self):
        return Client(*await asyncio.open_connection("127.0.0.1", self.broker.port))


def test_stopped_it_refuses_and_is_back_on_its_port_with_what_it_had(stage, virtually):
    async def play():
        async with stage() as at:
            port, one = at.broker.port, await at.connect()
            await one.say(RETURN, SUBSCRIBE, RETAIN)
            await one.hear(NEW + GRANTED)
            await at.happen("broker_stop")
            assert at.broker.state == "stopped"
            with pytest.raises(ConnectionRefusedError):
                await at.connect()
            one.close()
            await at.happen("broker_start")
            assert (at.broker.port, at.broker.state) == (port, "listening")
            two = await at.connect()
            await two.say(RETURN, SUBSCRIBE)
            await two.hear(KNOWN)
            return await two_retained(two)

    async def two_retained(client):
        # QoS 0, as it was published; before or after the grant, as the broker likes.
        async with asyncio.timeout(LONG_S):
            said = await client._reader.readexactly(len(GRANTED) + len(RETAIN))
        client.close()
        return said

    said = virtually(play())
    assert RETAIN in said
    assert GRANTED in said


def test_it_forgets_when_told_to(stage, virtually):
    async def play():
        async with stage() as at:
            one = await at.connect()
            await one.say(RETURN, SUBSCRIBE, RETAIN)
            await one.hear(NEW + GRANTED)
            one.close()
            await at.happen("broker_stop", forgets=True)
            await at.happen("broker_start")
            two = await at.connect()
            await two.say(RETURN, SUBSCRIBE)
            await two.hear(NEW + GRANTED)
            await two.hears_nothing()
            two.close()

    virtually(play())


def test_nobody_else_gets_its_port_while_it_is_stopped(stage, virtually):
    async def play():
        async with stage() as at:
            await at.happen("broker_stop")
            with socket.socket() as other, pytest.raises(OSError, match="in use"):
                other.bind(("127.0.0.1", at.broker.port))
            await at.happen("broker_stop")  # it is stopped, and stays so
            with pytest.raises(ConnectionRefusedError):
                await at.connect()

    virtually(play())


def test_cut_it_goes_on_listening(stage, virtually):
    async def play():
        async with stage() as at:
            one = await at.connect()
            await one.say(CONNECT)
            await one.hear(NEW)
            await at.happen("broker_cut")
            await one.is_cut()
            two = await at.connect()
            await two.say(CONNECT)
            await two.hear(NEW)
            for client in (one, two):
                client.close()

    virtually(play())


def test_stalled_it_takes_connections_and_bytes_and_answers_afterwards(stage, virtually):
    async def play():
        async with stage() as at:
            one = await at.connect()
            await one.say(CONNECT)
            await one.hear(NEW)
            await at.happen("broker_stall")
            two = await at.connect()
            await one.say(PUBLISH)
            await two.say(CONNECT.replace(b"test", b"next"))
            await one.hears_nothing()
            await two.hears_nothing()
            assert at.broker.state == "stalled"
            await at.happen("broker_start")
            await one.hear(TAKEN)
            await two.hear(NEW)
            assert at.broker.state == "listening"
            for client in (one, two):
                client.close()

    virtually(play())


def test_clients_that_gave_up_on_a_stall_do_not_throw_out_who_still_waits(stage, virtually):
    async def play():
        async with stage() as at:
            await at.happen("broker_stall")
            for _ in range(20):
                gone = await at.connect()
                await gone.say(CONNECT)
                gone.close()
            last = await at.connect()
            await last.say(CONNECT)
            await last.hears_nothing()
            await at.happen("broker_start")
            await last.hear(NEW)
            await last.hears_nothing()
            last.close()

    virtually(play())


def test_a_stall_ends_by_itself_and_no_other_with_it(stage, virtually):
    async def play():
        async with stage() as at:
            clock = at.live.clock
            await at.happen("broker_stall", for_s=10)
            await clock.until(5)
            await at.happen("broker_start")
            await at.happen("broker_stall", for_s=30)
            await clock.until(20)
            still = at.broker.state
            await clock.until(36)
            return still, at.broker.state

    assert virtually(play()) == ("stalled", "listening")


def test_a_stop_ends_a_stall(stage, virtually):
    async def play():
        async with stage() as at:
            await at.happen("broker_stall", for_s=10)
            await at.happen("broker_stop")
            await at.happen("broker_stall")  # nobody is there to stall
            await at.happen("broker_start")
            return at.broker.state

    assert virtually(play()) == "listening"


def test_events_of_a_scenario_come_at_their_times_and_are_noted(stage, virtually):
    events = "".join(
        f'[[event]]\nat_s = {at_s}\ndo = "{do}"\n'
        for at_s, do in ((10, "broker_stop"), (20, "broker_start"), (30, "broker_stall"))
    )

    async def play():
        async with stage(events) as at:
            states = []
            for at_s in (9, 11, 21, 31):
                await at.live.clock.until(at_s)
                states.append(at.broker.state)
            return states, [(each.at_s, each.do) for each in at.noted]

    states, noted = virtually(play())
    assert states == ["listening", "stopped", "listening", "stalled"]
    assert noted == [(10, "broker_stop"), (20, "broker_start"), (30, "broker_stall")]


def test_a_port_that_is_taken_is_said(virtually):
    async def play():
        async with StageBroker() as one:
            with pytest.raises(CannotListen, match=f"^port {one.port} is in use$"):
                async with StageBroker(one.port):
                    pass

    virtually(play())


@pytest.mark.parametrize("port", [99_999, -1])
def test_a_number_that_is_no_port_is_said(virtually, port):
    async def play():
        with pytest.raises(CannotListen, match=f"^{port} is no port"):
            async with StageBroker(port):
                pass

    virtually(play())
