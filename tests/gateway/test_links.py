"""Byte links on ptys and loopback sockets: what goes wrong is said, nothing stays open."""

import asyncio
import json
import os
import tty
from contextlib import asynccontextmanager

import pytest

from drivers.api import SerialLine
from gateway.links import serial as serial_module
from gateway.links import tcp as tcp_module
from gateway.links.errors import LinkLost, PortBusy, PortForbidden, PortMissing, PortRefused
from gateway.links.inbox import Inbox
from gateway.links.recording import RecordingLink
from gateway.links.serial import SerialLink
from gateway.links.tcp import TcpLink

LINE = SerialLine(9600)


class Pty:
    """A serial port; ``unplug`` closes the other end."""

    def __init__(self):
        self.master, slave = os.openpty()
        tty.setraw(slave)
        self.path = os.ttyname(slave)
        self.slave = slave
        os.set_blocking(self.master, False)

    def say(self, data):
        os.write(self.master, data)

    def unplug(self):
        for name in ("master", "slave"):
            if getattr(self, name) >= 0:
                os.close(getattr(self, name))
                setattr(self, name, -1)


@pytest.fixture
def pty():
    pty = Pty()
    yield pty
    pty.unplug()


@pytest.fixture(autouse=True)
def descriptors_are_freed():
    before = descriptors()
    yield
    assert descriptors() <= before


def descriptors():
    return {
        number: target
        for number in os.listdir("/proc/self/fd")
        if (target := where(number)).startswith(("/dev/pts", "/dev/ptmx"))
    }.keys()


def where(number):
    try:
        return os.readlink(f"/proc/self/fd/{number}")
    except OSError:
        return ""


async def gather(link, enough):
    data = b""
    async with asyncio.timeout(5):
        while len(data) < enough:
            data += await link.read()
    return data


async def test_serial_reads_writes_and_reopens(pty):
    link = SerialLink(pty.path, LINE)
    for _ in range(3):
        await link.open()
        pty.say(b"hello")
        assert await gather(link, 5) == b"hello"
        await link.write(b"there")
        assert os.read(pty.master, 99) == b"there"
        assert link.take() == b""
        await link.close()
        await link.close()
    assert link.port == pty.path


async def test_no_such_device():
    with pytest.raises(PortMissing, match="plugged in") as caught:
        await SerialLink("/dev/ttyUSB-none", LINE).open()
    assert caught.value.port == "/dev/ttyUSB-none"
    assert caught.value.reason == "port_missing"


async def test_no_permission(monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(SerialLink, "_open_port", refuse)
    with pytest.raises(PortForbidden, match="dialout"):
        await SerialLink("/dev/ttyS0", LINE).open()


async def test_device_not_allowed_by_the_unit(monkeypatch):
    def refuse(self):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(SerialLink, "_open_port", refuse)
    with pytest.raises(PortForbidden, match="DeviceAllow"):
        await SerialLink("/dev/ttyS0", LINE).open()


async def test_a_file_is_no_port(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"")
    with pytest.raises(PortRefused):
        await SerialLink(str(path), LINE).open()


async def test_a_port_that_another_holds_is_busy_until_it_is_closed(pty):
    first, second = SerialLink(pty.path, LINE), SerialLink(pty.path, LINE)
    await first.open()
    with pytest.raises(PortBusy):
        await second.open()
    await first.close()
    await second.open()
    await second.close()


async def test_unplugged_while_reading_gives_the_rest_first(pty):
    link = SerialLink(pty.path, LINE)
    await link.open()
    pty.say(b"last words")
    assert await gather(link, 10) == b"last words"
    waiting = asyncio.create_task(link.read())
    await asyncio.sleep(0)
    pty.unplug()
    with pytest.raises(LinkLost, match="unplugged"):
        await waiting
    with pytest.raises(LinkLost, match="unplugged"):
        await link.read()
    await link.close()


async def test_unplugged_while_writing(pty):
    link = SerialLink(pty.path, LINE)
    await link.open()
    writing = asyncio.create_task(link.write(b"x" * 1_000_000))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not writing.done()
    pty.unplug()
    with pytest.raises(LinkLost):
        await writing
    await link.close()


async def test_a_port_that_takes_nothing(pty, monkeypatch):
    monkeypatch.setattr(serial_module, "WRITE_TIMEOUT_S", 0.05)
    link = SerialLink(pty.path, LINE)
    await link.open()
    with pytest.raises(LinkLost, match="takes no data"):
        await link.write(b"x" * 1_000_000)
    await link.close()


async def test_writing_to_a_closed_port_is_a_loss(pty):
    with pytest.raises(LinkLost):
        await SerialLink(pty.path, LINE).write(b"x")


async def test_a_flood_nobody_reads_is_bounded_and_goes_on_afterwards(pty, monkeypatch):
    monkeypatch.setattr(serial_module, "INBOX_LIMIT", 10_000)
    link = SerialLink(pty.path, LINE)
    await link.open()
    sent = 0
    for _ in range(200):
        try:
            sent += os.write(pty.master, b"z" * 4000)
        except BlockingIOError:
            await asyncio.sleep(0)
    assert len(link._inbox) <= 10_000 + serial_module.READ_SIZE
    first = len(link.take())
    rest = await gather(link, sent - first)
    assert first + len(rest) == sent
    await link.close()


async def test_a_port_that_opens_too_late_is_closed(pty, monkeypatch):
    import threading

    release, opened = threading.Event(), []
    really = SerialLink._open_port

    def slowly(self):
        release.wait(5)
        opened.append(really(self))
        return opened[0]

    monkeypatch.setattr(SerialLink, "_open_port", slowly)
    monkeypatch.setattr(serial_module, "OPEN_TIMEOUT_S", 0.02)
    with pytest.raises(PortRefused, match="too long"):
        await SerialLink(pty.path, LINE).open()
    release.set()
    async with asyncio.timeout(5):
        while not opened or opened[0].is_open:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


@asynccontextmanager
async def server(talk):
    """A TCP server; ``talk`` gets each connection."""
    tasks = set()

    async def serve(reader, writer):
        tasks.add(asyncio.current_task())
        try:
            await talk(reader, writer)
        finally:
            writer.close()

    serving = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with serving:
        yield serving.sockets[0].getsockname()[1]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_tcp_reads_writes_and_hears_the_end():
    async def talk(reader, writer):
        writer.write((await reader.read(9)).upper())

    async with server(talk) as port:
        link = TcpLink("127.0.0.1", port)
        await link.open()
        await link.write(b"hello")
        assert await gather(link, 5) == b"HELLO"
        with pytest.raises(LinkLost, match="closed by the other side"):
            await link.read()
        await link.close()
        with pytest.raises(LinkLost):
            await link.write(b"x")


async def test_tcp_close_frees_the_descriptor_at_once():
    async def talk(reader, writer):
        await reader.read()

    async with server(talk) as port:
        link = TcpLink("127.0.0.1", port)
        await link.open()
        raw = link._stream._transport.get_extra_info("socket")
        await link.close()
        await link.close()
        assert raw.fileno() == -1


async def test_nothing_listens_there():
    async def talk(reader, writer):
        return

    async with server(talk) as port:
        pass
    with pytest.raises(PortRefused, match="connection refused"):
        await TcpLink("127.0.0.1", port).open()


async def test_unknown_hosts(monkeypatch):
    import socket

    async def unknown(*args, **more):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    with pytest.raises(PortMissing, match="unknown host"):
        await TcpLink("gate.invalid", 1).open()


async def test_a_name_that_is_none():
    with pytest.raises(PortMissing):
        await TcpLink("a" * 70 + ".example", 1).open()


async def test_a_host_that_does_not_answer(monkeypatch):
    async def never(*args, **more):
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(tcp_module, "OPEN_TIMEOUT_S", 0.02)
    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", never)
    with pytest.raises(PortRefused, match="no answer"):
        await TcpLink("127.0.0.1", 1).open()


@pytest.mark.parametrize("way", ["read", "take"])
async def test_tcp_goes_on_after_a_flood(monkeypatch, way):
    monkeypatch.setattr(tcp_module, "INBOX_LIMIT", 1000)
    size = 3_000_000

    async def talk(reader, writer):
        writer.write(b"z" * size)
        await writer.drain()

    async with server(talk) as port:
        link = TcpLink("127.0.0.1", port)
        await link.open()
        got = 0
        async with asyncio.timeout(5):
            while got < size:
                got += len(await link.read() if way == "read" else link.take())
                await asyncio.sleep(0)
        assert got == size
        await link.close()


async def test_inbox_gives_everything_before_the_loss():
    inbox = Inbox()
    inbox.put(b"a")
    inbox.lose(LinkLost("p", "first"))
    inbox.lose(LinkLost("p", "second"))
    inbox.put(b"b")
    assert await inbox.read() == b"ab"
    with pytest.raises(LinkLost, match="first"):
        await inbox.read()


def write_recording(path, *pieces):
    path.write_text(
        "".join(json.dumps({"t": t, "dir": way, "hex": d.hex()}) + "\n" for t, way, d in pieces)
    )


async def test_recording_plays_what_was_received(tmp_path):
    path = tmp_path / "r.jsonl"
    write_recording(path, (0.0, "rx", b"a"), (0.1, "tx", b"?"), (0.2, "rx", b""), (9.0, "rx", b"b"))
    link = RecordingLink(path, 0)
    await link.open()
    await link.write(b"ignored")
    turns = []
    asyncio.get_running_loop().call_soon(turns.append, "others had a turn")
    assert [await link.read(), await link.read()] == [b"a", b"b"]
    assert turns
    with pytest.raises(LinkLost, match="ended"):
        await link.read()
    assert link.take() == b""
    await link.close()


async def test_recording_keeps_its_pace_and_loses_nothing_to_an_impatient_reader(tmp_path):
    path = tmp_path / "r.jsonl"
    write_recording(path, (0.0, "rx", b"a"), (0.5, "rx", b"b"))
    link = RecordingLink(path, 10.0)
    await link.open()
    start = asyncio.get_running_loop().time()
    assert await link.read() == b"a"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await link.read()
    assert await link.read() == b"b"
    assert asyncio.get_running_loop().time() - start >= 0.049


@pytest.mark.parametrize("text", [None, "no recording\n", '{"t": 1}\n'])
async def test_what_is_no_recording(tmp_path, text):
    path = tmp_path / "r.jsonl"
    if text is not None:
        path.write_text(text)
    with pytest.raises(PortMissing):
        await RecordingLink(path, 1).open()
