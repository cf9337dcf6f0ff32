"""A running gateway records what an instrument says, and the verb brings it."""

import asyncio
import json
from contextlib import asynccontextmanager
from functools import partial

import pytest

from config.models import Configuration
from drivers.codec.recording import Kind, read_recording
from gateway import cli
from gateway.app import Gateway
from gateway.control import ControlClient, ControlUnavailable
from gateway.recorder import recorder
from gateway.recorder.files import stored
from gateway.verbs import record
from gateway.verbs.recording_folder import ABOUT, RECORDING

LINE = b"GB,000100,000100,000100,000100\r\n"


class Portal:
    """Says a line as soon as somebody listens, and again whenever it is told to."""

    def __init__(self):
        self.clients = []
        self.came = asyncio.Event()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for writer in self.clients:
            writer.transport.abort()
        await self._server.wait_closed()

    async def _accept(self, reader, writer):
        self.clients.append(writer)
        self.came.set()

    def say(self, data=LINE):
        for writer in self.clients:
            writer.write(data)


class Daemon:
    def __init__(self, place, port, **recording):
        self.place = place
        self.socket = place / "control.sock"
        self.gateway = Gateway(
            Configuration.model_validate(
                {
                    "gateway": {
                        "id": "gw",
                        "state_dir": str(place / "state"),
                        "control_socket": str(self.socket),
                    },
                    "detector": [
                        {
                            "id": "gate-1",
                            "driver": "rapiscan-tsa-rpm",
                            "class": "Portal Monitor",
                            "serial_number": "4711",
                            "link": {"kind": "tcp", "host": "127.0.0.1", "port": port},
                        }
                    ],
                    "recording": recording,
                }
            )
        )

    def files(self):
        return stored(self.place / "state" / "recordings")

    async def verb(self, *words):
        return await asyncio.to_thread(
            cli.main, ["record", "--socket", str(self.socket), *(str(word) for word in words)]
        )


@asynccontextmanager
async def serving(place, **recording):
    (place / "state").mkdir()
    async with Portal() as portal:
        daemon = Daemon(place, portal.port, **recording)
        running = asyncio.create_task(daemon.gateway.run())
        try:
            async with asyncio.timeout(10):
                await portal.came.wait()
                while not await asyncio.to_thread(answers, daemon.socket):  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
            yield daemon, portal
        finally:
            daemon.gateway.stop()
            await running


def answers(path):
    try:
        return ControlClient(path).ask({"ask": "board"})["ok"]
    except ControlUnavailable:
        return False


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(recorder, "FLUSH_S", 0.02)
    monkeypatch.setattr(record, "LOOK_S", 0.02)


async def until(is_so):
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def grown(path, size):
    return path.stat().st_size > size


async def test_record_brings_what_came_and_leaves_nothing_behind(tmp_path, capsys):
    out = tmp_path / "out.jsonl"
    async with serving(tmp_path) as (daemon, portal):
        taking = asyncio.create_task(daemon.verb("gate-1", out, "--for", "1s"))
        await until(lambda: daemon.files())
        for _ in range(3):
            portal.say()
            said = out.stat().st_size
            await until(partial(grown, out, said))
        assert await taking == 0
        assert daemon.files() == []
    recording = read_recording(out.read_text().splitlines())
    assert b"".join(piece.data for piece in recording.pieces) == 3 * LINE
    assert (recording.header.serial, recording.header.link) == ("4711", "tcp")
    assert "127.0.0.1" not in out.read_text()
    assert "96 bytes received; ended: time" in capsys.readouterr().out
    assert await asyncio.to_thread(cli.main, ["replay", str(out), "--only", "sample"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


async def test_a_folder_becomes_a_test(tmp_path):
    folder = tmp_path / "fault"
    folder.mkdir()
    async with serving(tmp_path) as (daemon, _):
        assert await daemon.verb("gate-1", folder, "--for", "1s") == 0
        assert (folder / RECORDING).exists()
        assert 'driver = "rapiscan-tsa-rpm"' in (folder / ABOUT).read_text()
        assert await daemon.verb("gate-1", folder, "--for", "1s") == 2  # never written over


async def test_an_interrupt_ends_it_with_all_that_came(tmp_path, monkeypatch):
    out = tmp_path / "out.jsonl"
    async with serving(tmp_path) as (daemon, portal):
        sleeps = []

        def sleep(_):
            sleeps.append(1)
            if len(sleeps) == 1:
                loop.call_soon_threadsafe(portal.say)
            elif len(sleeps) == 20:
                raise KeyboardInterrupt
            threading_sleep(0.02)

        loop, threading_sleep = asyncio.get_running_loop(), record.time.sleep
        monkeypatch.setattr(record.time, "sleep", sleep)
        assert await daemon.verb("gate-1", out) == 0
    pieces = read_recording(out.read_text().splitlines()).pieces
    assert pieces[-1].text == "stopped"
    assert LINE in [piece.data for piece in pieces]


async def test_what_nobody_fetched_can_be_fetched_later(tmp_path, capsys):
    out = tmp_path / "out.jsonl"
    async with serving(tmp_path) as (daemon, portal):
        client = ControlClient(daemon.socket)
        question = {"detector": "gate-1", "seconds": 1, "max_bytes": 10_000}
        started = await asyncio.to_thread(client.ask, {"ask": "record", "what": "start"} | question)
        portal.say()
        await until(lambda: not daemon.gateway._recorder.taps["gate-1"].is_on)
        assert await daemon.verb("--list") == 0
        assert started["name"] in capsys.readouterr().out
        assert await daemon.verb("--fetch", started["name"], out) == 0
        assert daemon.files() == []
        assert await daemon.verb("--fetch", started["name"], tmp_path / "again") == 1
        assert not (tmp_path / "again").exists()
    assert LINE.hex() in out.read_text()


async def test_what_cannot_be_recorded(tmp_path, capsys):
    async with serving(tmp_path) as (daemon, _):
        assert await daemon.verb("gate-2", tmp_path / "out") == 1
        assert "there are: gate-1" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()
        assert await daemon.verb("gate-1") == 2
        assert await daemon.verb("gate-1", tmp_path / "no" / "where") == 2
    assert await daemon.verb("gate-1", tmp_path / "out") == 1
    assert not (tmp_path / "out").exists()
    with pytest.raises(SystemExit):
        cli.main(["record", "gate-1", "out", "--max", "50 miles"])


async def test_what_is_always_recorded_is_there_after_the_end(tmp_path):
    async with serving(tmp_path, detectors=["gate-1"], keep_mb=4, file_mb=1) as (daemon, portal):
        await until(lambda: daemon.gateway._recorder._tracks)
        track = daemon.gateway._recorder._tracks[0]
        began = track.bytes
        portal.say()
        await until(lambda: track.bytes > began + len(LINE))
    (one,) = daemon.files()
    text = (tmp_path / "state" / "recordings" / one.name).read_text()
    assert json.loads(text.splitlines()[0])["detector"] == "gate-1"
    kinds = [piece.kind for piece in read_recording(text.splitlines()).pieces]
    assert Kind.RECEIVED in kinds
    assert kinds[-1] is Kind.END


async def test_the_gateway_says_it_when_it_goes_meanwhile(tmp_path, capsys):
    out = tmp_path / "out.jsonl"
    async with serving(tmp_path) as (daemon, portal):
        taking = asyncio.create_task(daemon.verb("gate-1", out))
        await until(lambda: daemon.files())
        portal.say()
        await until(lambda: out.exists() and LINE.hex() in out.read_text())
    assert await taking == 1
    assert f"what had come is in {out}" in capsys.readouterr().err
    (kept,) = daemon.files()
    assert '"end"' in (tmp_path / "state" / "recordings" / kept.name).read_text()
