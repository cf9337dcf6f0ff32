"""Sessions on ptys and TCP: reading, losing, trying again, leaving nothing behind."""

import asyncio
import os
import tty
from contextlib import asynccontextmanager
from random import Random

import pytest

from drivers.api import (
    Ask,
    Channel,
    DriverInfo,
    Identity,
    Reading,
    Reopen,
    Sample,
    SerialLine,
    Verified,
)
from drivers.codec.until import count
from drivers.errors import DriverError, Reject, ReplyTimeout
from gateway import session as session_module
from gateway.backoff import BackOff, BackOffLimits
from gateway.clock import Ticker, system_now
from gateway.links.serial import SerialLink
from gateway.links.tcp import TcpLink
from gateway.session import AskerSession, ListenerSession
from gateway.values import LinkState

LINE = SerialLine(9600)
FAST = BackOffLimits(0.002, 0.01, 0.0)


def info(contract="listener", silence_s=0.01, poll_s=0.0):
    return DriverInfo(
        "made-up", "made up", contract, ("Other",), ("serial",), (), "none", Verified.CONSTRUCTED,
        silence_s, lambda options: None, poll_s,
    )  # fmt: skip


class Hub:
    """Takes notes; ``until`` waits for what is wanted of them."""

    def __init__(self):
        self.outputs, self.states = [], []
        self._more = asyncio.Event()

    def deliver(self, detector, output, arrived):
        self.outputs.append(output)
        self._more.set()

    def report(self, detector, state, reason):
        self.states.append((state, reason))
        self._more.set()

    async def until(self, wanted):
        async with asyncio.timeout(5):
            while not wanted(self):
                self._more.clear()
                await self._more.wait()

    @property
    def values(self):
        return [r.value for o in self.outputs if isinstance(o, Sample) for r in o.readings]

    def reasons(self, state):
        return [reason for one, reason in self.states if one is state]


def said(value):
    return Sample((Reading(Channel.GAMMA_COUNTS, value, "count"),))


class Lines:
    """A listener: one number a line."""

    def __init__(self, hello=b""):
        self._hello, self._half, self.interruptions = hello, b"", 0

    def hello(self):
        return self._hello

    def interrupted(self):
        self._half = b""
        self.interruptions += 1

    def feed(self, data):
        *lines, self._half = (self._half + data).split(b"\n")
        self._half = self._half[-100:]
        for line in lines:
            if line == b"bug":
                raise ZeroDivisionError
            yield said(int(line)) if line.isdigit() else DriverError(Reject.SYNTAX, line)


class Questions:
    """An asker: ``i`` gives the serial number, ``p`` one number of one digit."""

    def __init__(self, timeout_s=0.05, reopen_at=None):
        self.timeout_s, self.reopen_at, self.polls = timeout_s, reopen_at, 0

    def identify(self):
        return Identity(serial=(yield Ask(b"i", count(1), self.timeout_s)).decode())

    def poll(self):
        self.polls += 1
        if self.polls == self.reopen_at:
            yield Reopen()
            return []
        return [said(int((yield Ask(b"p", count(1), self.timeout_s))))]


class Pty:
    def __init__(self, path):
        self.path = path
        self.plug()

    def plug(self):
        self.master, slave = os.openpty()
        tty.setraw(slave)
        self.slave = slave
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(os.ttyname(slave))

    def unplug(self):
        self.path.unlink(missing_ok=True)
        os.close(self.slave)
        os.close(self.master)

    def say(self, data):
        os.write(self.master, data)


@pytest.fixture
def pty(tmp_path):
    return Pty(tmp_path / "port")


def listener(hub, link, driver=None, **more):
    backoff = BackOff(FAST, Random(1))
    return ListenerSession(
        "d", info(**more), driver or Lines(), link, hub, system_now, backoff
    )  # fmt: skip


def asker(hub, link, driver=None, poll_s=0.0, ticker=None, backoff=None):
    return AskerSession(
        "d", info("asker", poll_s=poll_s), driver or Questions(), link, hub, system_now,
        backoff or BackOff(FAST, Random(1)), ticker or Ticker(0.001),
    )  # fmt: skip


@asynccontextmanager
async def running(session):
    """The session as a task; afterwards nothing of it is left."""
    before = asyncio.all_tasks()
    task = asyncio.create_task(session.run(), name=session.name)
    try:
        yield task
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    left = asyncio.all_tasks() - before
    assert not [one for one in left if "tcp_server" not in repr(one)]
    link = session._link
    if isinstance(link, TcpLink):
        assert link._stream._transport is None
    else:
        assert (link._serial, link._fd) == (None, -1)


@asynccontextmanager
async def tcp_server(talk):
    connections = set()

    async def serve(reader, writer):
        connections.add(asyncio.current_task())
        try:
            await talk(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    serving = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with serving:
        yield serving.sockets[0].getsockname()[1]
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


async def test_partial_frames_and_rejects_on_a_serial_line(pty):
    hub = Hub()
    async with running(listener(hub, SerialLink(str(pty.path), LINE))):
        await hub.until(lambda h: h.reasons(LinkState.READING))
        for piece in (b"1", b"2\n3", b"4\nbad\n", b"5\n"):
            pty.say(piece)
            await asyncio.sleep(0.002)
        await hub.until(lambda h: len(h.outputs) == 4)
    assert hub.values == [12, 34, 5]
    assert hub.outputs[2].reason is Reject.SYNTAX
    pty.unplug()


async def test_unplugged_and_plugged_in_again(pty, tmp_path):
    hub, driver = Hub(), Lines()
    async with running(listener(hub, SerialLink(str(pty.path), LINE), driver)):
        await hub.until(lambda h: h.reasons(LinkState.READING))
        pty.say(b"1\n2")
        await hub.until(lambda h: h.values == [1])
        pty.unplug()
        await hub.until(lambda h: any("no such device" in r for r in h.reasons(LinkState.WAITING)))
        pty.plug()
        await hub.until(lambda h: len(h.reasons(LinkState.READING)) == 2)
        pty.say(b"3\n")
        await hub.until(lambda h: len(h.values) == 2)
    assert hub.values == [1, 3]  # the half frame from before is forgotten
    assert driver.interruptions == 2
    assert "unplugged" in hub.reasons(LinkState.WAITING)[0]
    states = [state for state, _ in hub.states]
    assert states[:3] == [LinkState.OPENING, LinkState.READING, LinkState.WAITING]
    pty.unplug()


async def test_a_tcp_server_that_cuts_each_connection():
    hub, hellos = Hub(), []

    async def talk(reader, writer):
        hellos.append(await reader.readexactly(2))
        writer.write(b"%d\nhal" % len(hellos))
        await writer.drain()

    async with tcp_server(talk) as port:
        link = TcpLink("127.0.0.1", port)
        async with running(listener(hub, link, Lines(b"hi"))):
            await hub.until(lambda h: len(h.values) == 3)
    assert hub.values == [1, 2, 3]
    assert hellos[:3] == [b"hi"] * 3
    assert "closed by the other side" in hub.reasons(LinkState.WAITING)[0]


async def test_a_silent_listener_is_opened_again(monkeypatch):
    monkeypatch.setattr(session_module, "MIN_PATIENCE_S", 0.01)
    hub, connections = Hub(), []

    async def talk(reader, writer):
        connections.append(1)
        await reader.read()

    async with (
        tcp_server(talk) as port,
        running(listener(hub, TcpLink("127.0.0.1", port), silence_s=0.005)),
    ):
        await hub.until(lambda h: len(h.reasons(LinkState.WAITING)) == 2)
    assert hub.reasons(LinkState.WAITING)[0].endswith("silent for 0.03 s")
    assert len(connections) >= 2


async def test_a_defect_of_a_driver_restarts_its_link_only(caplog):
    hub = Hub()

    async def talk(reader, writer):
        writer.write(b"bug\n" if not hub.reasons(LinkState.WAITING) else b"7\n")
        await reader.read()

    async with tcp_server(talk) as port, running(listener(hub, TcpLink("127.0.0.1", port))):
        await hub.until(lambda h: h.values == [7])
    assert hub.reasons(LinkState.WAITING) == ["internal error: ZeroDivisionError()"]


async def test_a_flood_leaves_others_their_turn():
    hub = Hub()

    async def talk(reader, writer):
        while True:
            writer.write(b"8" * 65536)
            await writer.drain()

    async with tcp_server(talk) as port, running(listener(hub, TcpLink("127.0.0.1", port))):
        for _ in range(20):
            async with asyncio.timeout(1):
                await asyncio.sleep(0.001)
    assert hub.values == []


async def test_back_off_grows_while_nothing_answers_and_is_forgotten_after_a_sample(monkeypatch):
    waits, hub = [], Hub()
    sleep = asyncio.sleep

    async def note(seconds):
        waits.append(seconds)
        await sleep(0)

    async def talk(reader, writer):
        writer.write(b"1\n")
        await writer.drain()

    async with tcp_server(talk) as port:
        pass
    monkeypatch.setattr(session_module.asyncio, "sleep", note)
    link = TcpLink("127.0.0.1", port)
    session = ListenerSession(
        "d", info(), Lines(), link, hub, system_now, BackOff(BackOffLimits(0.5, 2, 0.0), Random(1))
    )
    async with running(session):
        await hub.until(lambda h: len(waits) >= 4)
        async with tcp_server(talk) as port:
            link._number = port
            waits_before = len(waits)
            await hub.until(lambda h: len(h.values) >= 2)
    assert waits[:4] == [0.5, 1.0, 2.0, 2.0]
    assert 0.5 in waits[waits_before:]


async def answer(reader, writer):
    """An instrument for Questions."""
    while asked := await reader.read(1):
        writer.write({b"i": b"S", b"p": b"4"}[asked])


async def test_asker_identifies_then_polls():
    hub = Hub()
    async with tcp_server(answer) as port, running(asker(hub, TcpLink("127.0.0.1", port))):
        await hub.until(lambda h: len(h.values) == 3)
    first = hub.outputs[0]
    assert (first.readings, first.identity) == ((), Identity(serial="S"))
    assert hub.values == [4, 4, 4]
    assert [state for state, _ in hub.states[:3]] == [
        LinkState.OPENING,
        LinkState.IDENTIFYING,
        LinkState.READING,
    ]


async def test_polls_keep_their_period():
    hub = Hub()
    async with (
        tcp_server(answer) as port,
        running(asker(hub, TcpLink("127.0.0.1", port), poll_s=0.02)),
    ):
        loop = asyncio.get_running_loop()
        await hub.until(lambda h: h.values)
        start = loop.time()
        await hub.until(lambda h: len(h.values) == 6)
        assert loop.time() - start >= 0.08


async def test_asker_that_asks_to_reopen_is_identified_again():
    hub, connections = Hub(), []

    async def talk(reader, writer):
        connections.append(1)
        await answer(reader, writer)

    async with (
        tcp_server(talk) as port,
        running(asker(hub, TcpLink("127.0.0.1", port), Questions(reopen_at=2))),
    ):
        await hub.until(lambda h: len(h.values) == 3)
    assert len(connections) == 2
    assert len([o for o in hub.outputs if isinstance(o, Sample) and o.identity]) == 2
    assert not hub.reasons(LinkState.WAITING)


async def test_unanswered_polls_are_errors_and_the_link_stays(monkeypatch):
    hub, asked = Hub(), []

    async def talk(reader, writer):
        while letter := await reader.read(1):
            asked.append(letter)
            if len(asked) not in (3, 4):
                writer.write(b"5")

    async with tcp_server(talk) as port, running(asker(hub, TcpLink("127.0.0.1", port))):
        await hub.until(lambda h: len(h.values) == 3)
    errors = [output for output in hub.outputs if isinstance(output, DriverError)]
    assert [error.reason for error in errors] == [Reject.TIMEOUT] * 2
    assert not hub.reasons(LinkState.WAITING)


async def test_asker_without_an_answer_to_who_are_you_waits_and_tries_again():
    hub = Hub()

    async def talk(reader, writer):
        if hub.reasons(LinkState.WAITING):
            await answer(reader, writer)
        await reader.read()

    async with tcp_server(talk) as port, running(asker(hub, TcpLink("127.0.0.1", port))):
        await hub.until(lambda h: h.values)
    assert isinstance(hub.outputs[0], ReplyTimeout)


async def test_asker_that_gives_no_sample_for_too_long_is_opened_again(monkeypatch):
    monkeypatch.setattr(session_module, "ASKER_PATIENCE_S", 0.02)
    monkeypatch.setattr(session_module, "MIN_PATIENCE_S", 0.02)
    hub = Hub()

    async def talk(reader, writer):
        while letter := await reader.read(1):
            if letter == b"i":
                writer.write(b"S")

    async with (
        tcp_server(talk) as port,
        running(asker(hub, TcpLink("127.0.0.1", port), Questions(0.005))),
    ):
        await hub.until(lambda h: h.reasons(LinkState.WAITING))
    assert "no sample for" in hub.reasons(LinkState.WAITING)[0]
