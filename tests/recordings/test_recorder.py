"""The daemon's recorder: bounded queues, bounded files, and what may be asked of it."""

import asyncio
import errno
import os

import pytest

from config.models import Configuration
from drivers.codec.recording import Kind, read_recording
from drivers.registry import find
from gateway.commands import BadCommand
from gateway.recorder import files as recorder_files
from gateway.recorder import track as recorder_track
from gateway.recorder.desk import RecorderDesk
from gateway.recorder.files import FOLDER, create, make_room, read_part, stored
from gateway.recorder.recorder import AGAIN_S, MB, STOPPED, CannotRecord, Recorder
from gateway.recorder.track import LAST_LINE, Limits
from gateway.values import Instant


class Stage:
    """A recorder of two detectors on a clock that is set by hand."""

    def __init__(self, place, **recording):
        self.at = 100.0
        self.place = place
        link = {"kind": "tcp", "host": "h", "port": 1}
        detectors = [
            {"id": name, "driver": "json-lines", "class": "Other", "link": link | {"port": port}}
            for port, name in enumerate(("a", "b"), start=1)
        ]
        self.configuration = Configuration.model_validate(
            {
                "gateway": {"id": "gw", "state_dir": str(place)},
                "detector": detectors,
                "recording": recording,
                "user": [
                    {"id": "anna", "roles": ["operator"]},
                    {"id": "otto", "roles": ["officer"]},
                ],
            }
        )
        drivers = {name: find("json-lines") for name in ("a", "b")}
        self.recorder = Recorder(self.configuration, drivers, self.now)
        self.desk = RecorderDesk(self.recorder, self.configuration.user)

    def now(self):
        return Instant(1.78e9 + self.at, self.at)

    def say(self, detector="a", data=b"x"):
        self.recorder.taps[detector].received(data)

    async def ask(self, user="anna", **question):
        return await self.desk.answer({"ask": "record", **question}, user)

    def files(self):
        return [each.name for each in stored(self.place / FOLDER)]

    def read(self, name):
        return read_recording((self.place / FOLDER / name).read_text().splitlines())


@pytest.fixture
async def stage(tmp_path):
    stage = Stage(tmp_path)
    yield stage
    stage.recorder.close()


async def always(tmp_path, **settings):
    stage = Stage(tmp_path, **({"detectors": ["a"], "keep_mb": 4, "file_mb": 1} | settings))
    await stage.recorder.flush()
    return stage


async def test_a_recording_ends_after_its_time(stage):
    started = await stage.ask(what="start", detector="a", seconds=10, max_bytes=100_000)
    stage.at += 1
    stage.say(data=b"one")
    stage.say("b", b"of somebody else")
    await stage.recorder.flush()
    page = await stage.ask(what="read", name=started["name"], at=0)
    assert "6f6e65" in page["text"]
    assert not page["is_over"]
    stage.at += 9
    await stage.recorder.flush()
    stage.say(data=b"late")
    rest = await stage.ask(what="read", name=started["name"], at=page["at"])
    assert rest["is_over"]
    recording = read_recording((page["text"] + rest["text"]).splitlines())
    assert [(p.at_s, p.kind, p.data) for p in recording.pieces] == [
        (1.0, Kind.RECEIVED, b"one"),
        (10.0, Kind.END, b""),
    ]
    assert recording.pieces[-1].text == "time"
    assert recording.header.detector == "a"
    assert not stage.recorder.taps["a"].is_on
    await stage.ask(what="forget", name=started["name"])
    assert stage.files() == []


async def test_a_recording_ends_at_its_size(stage):
    (await stage.ask(what="start", detector="a", seconds=60, max_bytes=10_000))
    for _ in range(20):
        stage.say(data=bytes(1000))
    await stage.recorder.flush()
    (name,) = stage.files()
    assert 10_000 - 2100 - LAST_LINE < (stage.place / FOLDER / name).stat().st_size <= 10_000
    assert stage.read(name).pieces[-1].text == "size"
    assert not stage.recorder.taps["a"].is_on


async def test_stop_ends_it_with_everything_that_came(stage):
    name = (await stage.ask(what="start", detector="a", seconds=60, max_bytes=10_000))["name"]
    stage.say(data=b"last")
    await stage.ask(what="stop", name=name)
    pieces = stage.read(name).pieces
    assert [piece.data for piece in pieces] == [b"last", b""]
    assert pieces[-1].text == "stopped"


async def test_a_disk_that_does_not_keep_up_costs_counted_pieces_and_no_time(stage, monkeypatch):
    monkeypatch.setattr(recorder_track, "QUEUE_BYTES", 1000)
    name = (await stage.ask(what="start", detector="a", seconds=60, max_bytes=100_000))["name"]
    for _ in range(20):
        stage.say(data=bytes(100))  # nothing is written meanwhile
    await stage.recorder.flush()
    stage.say(data=b"again")
    await stage.ask(what="stop", name=name)
    pieces = stage.read(name).pieces
    kept = sum(len(piece.data) == 100 for piece in pieces)
    lost = sum(piece.count for piece in pieces if piece.kind is Kind.LOST)
    assert kept >= 5
    assert kept + lost == 20
    assert [piece.kind for piece in pieces[-3:]] == [Kind.LOST, Kind.RECEIVED, Kind.END]


async def test_what_is_lost_at_the_end_is_counted_too(stage, monkeypatch):
    monkeypatch.setattr(recorder_track, "QUEUE_BYTES", 1000)
    name = (await stage.ask(what="start", detector="a", seconds=60, max_bytes=100_000))["name"]
    for _ in range(20):
        stage.say(data=bytes(100))
    await stage.ask(what="stop", name=name)
    pieces = stage.read(name).pieces
    kept = sum(len(piece.data) == 100 for piece in pieces)
    assert kept + sum(piece.count for piece in pieces) == 20


async def test_a_write_that_fails_ends_the_recording_and_nothing_else(stage, monkeypatch):
    await stage.ask(what="start", detector="a", seconds=60, max_bytes=100_000)
    name = (await stage.ask(what="start", detector="b", seconds=60, max_bytes=100_000))["name"]
    broken = next(each for each in stage.recorder._tracks if each.detector == "a")
    monkeypatch.setattr(broken, "write", fails)
    stage.say("a")
    stage.say("b")
    await stage.recorder.flush()
    assert not stage.recorder.taps["a"].is_on
    assert stage.recorder.is_open(name)


def fails(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


async def test_a_disk_that_is_nearly_full_is_left_to_the_journal(stage, monkeypatch):
    name = (await stage.ask(what="start", detector="a", seconds=60, max_bytes=100_000))["name"]
    monkeypatch.setattr(recorder_files, "FREE_BYTES", 1 << 60)
    stage.say()
    await stage.recorder.flush()
    assert stage.read(name).pieces[-1].text == recorder_track.FULL_DISK
    with pytest.raises(BadCommand, match="nearly full"):
        await stage.ask(what="start", detector="b", seconds=60, max_bytes=100_000)
    assert len(stage.files()) == 1


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ({"what": "start", "detector": "c", "seconds": 1, "max_bytes": 10_000}, "no detector 'c'"),
        ({"what": "start", "detector": "a", "seconds": 0, "max_bytes": 10_000}, "seconds must"),
        ({"what": "start", "detector": "a", "seconds": 1, "max_bytes": 1e12}, "max_bytes must"),
        ({"what": "start", "detector": "a", "seconds": True, "max_bytes": 10_000}, "seconds must"),
        ({"what": "start", "detector": 7, "seconds": 1, "max_bytes": 10_000}, "detector must"),
        ({"what": "read", "name": "../journal.sqlite", "at": 0}, "no name of a recording"),
        ({"what": "read", "name": "a.20260502T140310123.jsonl", "at": 0}, "there is no recording"),
        ({"what": "read", "name": "a.20260502T140310123.jsonl", "at": -1}, "at must"),
        ({"what": "forget", "name": "a.20260502T140310123.jsonl"}, "not one to be deleted"),
        ({"what": "list", "name": "x"}, "list knows no 'name'"),
        ({"what": "burn"}, "what is 'burn'"),
        ({}, "what is 'None'"),
    ],
)
async def test_what_is_refused(stage, question, reason):
    with pytest.raises(BadCommand, match=reason):
        await stage.ask(**question)


async def test_who_may_not_record(stage):
    with pytest.raises(BadCommand, match="otto may not record"):
        await stage.ask("otto", what="list")


async def test_no_more_than_four_at_once(stage):
    for _ in range(4):
        stage.at += 1
        await stage.ask(what="start", detector="a", seconds=60, max_bytes=10_000)
    with pytest.raises(BadCommand, match="4 recordings are being taken"):
        await stage.ask(what="start", detector="a", seconds=60, max_bytes=10_000)


async def test_an_open_recording_is_not_deleted(stage):
    name = (await stage.ask(what="start", detector="a", seconds=60, max_bytes=10_000))["name"]
    with pytest.raises(BadCommand, match="not one to be deleted"):
        await stage.ask(what="forget", name=name)
    assert (await stage.ask(what="list"))["files"] == [
        {"name": name, "bytes": (stage.place / FOLDER / name).stat().st_size, "is_open": True}
    ]


async def test_those_always_taken_rotate_and_lose_nothing(tmp_path):
    stage = await always(tmp_path, keep_mb=20)
    for number in range(5):
        for part in range(6):
            stage.say(data=bytes([number, part]) + bytes(99_998))
            stage.at += 0.1
        await stage.recorder.flush()
    for _ in range(5):
        await stage.recorder.flush()
    names = stage.files()
    assert len(names) >= 5
    assert all((tmp_path / FOLDER / name).stat().st_size <= MB for name in names)
    pieces = [piece for name in names for piece in stage.read(name).pieces]
    marks = [(p.data[0], p.data[1]) for p in pieces if p.kind is Kind.RECEIVED]
    assert marks == [(number, part) for number in range(5) for part in range(6)]
    assert sum(each.size for each in stored(tmp_path / FOLDER)) <= 20 * MB
    assert all(stage.read(name).header.detector == "a" for name in names)
    assert stage.recorder.taps["a"].is_on
    stage.recorder.close()


async def test_the_oldest_of_those_always_taken_go_first(tmp_path):
    stage = await always(tmp_path, keep_mb=2)
    first = stage.files()[0]
    for _ in range(30):
        stage.say(data=bytes(100_000))
        stage.at += 1.0
        await stage.recorder.flush()
    assert first not in stage.files()
    assert sum(each.size for each in stored(tmp_path / FOLDER)) <= 2 * MB
    stage.recorder.close()


async def test_one_that_is_always_taken_and_fails_is_begun_again(tmp_path, monkeypatch):
    stage = await always(tmp_path)
    monkeypatch.setattr(stage.recorder._tracks[0], "write", fails)
    stage.say()
    await stage.recorder.flush()
    assert not stage.recorder.taps["a"].is_on
    stage.at += AGAIN_S
    await stage.recorder.flush()
    assert stage.recorder.taps["a"].is_on
    assert len(stage.files()) == 2
    stage.recorder.close()


async def test_the_end_of_the_gateway_is_said_in_every_file(tmp_path):
    stage = await always(tmp_path)
    name = (await stage.ask(what="start", detector="b", seconds=60, max_bytes=10_000))["name"]
    running = asyncio.create_task(stage.recorder.run())
    await asyncio.sleep(0)
    stage.say("a")
    stage.say("b")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    stage.recorder.close()
    assert len(stage.files()) == 2
    for each in stage.files():
        pieces = stage.read(each).pieces
        assert [piece.kind for piece in pieces] == [Kind.RECEIVED, Kind.END]
        assert pieces[-1].text == STOPPED
    assert name in stage.files()


async def test_nothing_runs_while_nothing_is_recorded(stage):
    running = asyncio.create_task(stage.recorder.run())
    for _ in range(10):
        await asyncio.sleep(0)
    assert not stage.recorder._writer._threads
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_one_that_cannot_be_begun_leaves_nothing(stage):
    (stage.place / FOLDER).write_text("a file where the folder should be")
    with pytest.raises(CannotRecord):
        await stage.recorder.start("a", Limits(10_000, 10))
    assert not stage.recorder.taps["a"].is_on


def test_names_are_never_the_same(tmp_path):
    names = set()
    for _ in range(5):
        name, descriptor = create(tmp_path / FOLDER, "a", 1.78e9, asked=True)
        os.close(descriptor)
        names.add(name)
    assert len(names) == 5


def test_room_is_made_of_the_oldest_of_a_kind_only(tmp_path):
    for second in range(5):
        for asked in (True, False):
            _, descriptor = create(tmp_path, "a", 1.78e9 + second, asked=asked)
            os.write(descriptor, bytes(100))
            os.close(descriptor)
    (tmp_path / "journal.sqlite").write_bytes(bytes(1000))
    oldest = next(each.name for each in stored(tmp_path) if each.asked)
    make_room(tmp_path, 200, asked=True, open_names=[oldest])
    left = stored(tmp_path)
    assert [each.asked for each in left].count(False) == 5
    assert [each.asked for each in left].count(True) == 3
    assert oldest in [each.name for each in left]
    assert (tmp_path / "journal.sqlite").exists()


def test_a_link_in_the_folder_leads_nowhere(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    folder = tmp_path / FOLDER
    folder.mkdir()
    name = "a.20260502T140310123.jsonl"
    (folder / name).symlink_to(secret)
    assert stored(folder) == []
    with pytest.raises(OSError):
        read_part(folder, name, 0, 100)
