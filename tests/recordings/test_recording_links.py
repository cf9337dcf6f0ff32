"""A recording as a link of a running gateway: it answers, it is lost, it ends and stays away."""

import asyncio

import pytest

from config.models import Configuration
from drivers.api import ReadBlock
from drivers.codec.conversation import Conversation
from drivers.codec.recording import (
    BadRecording,
    Header,
    Kind,
    Piece,
    encode_header,
    encode_piece,
    read_recording,
)
from drivers.errors import DecodeError, Refused, ReplyTimeout
from drivers.registry import find
from gateway.assembly import byte_link, recorded_bus
from gateway.links.errors import LinkLost, PortMissing
from gateway.links.recording import RecordingBus, RecordingLink
from gateway.verbs.paced import NothingLeft, PacedLoop

BLOCK = ReadBlock(3, 10, 2)
ASKED = bytes((3, 0, 10, 0, 2))


def virtual(work):
    with asyncio.Runner(loop_factory=lambda: PacedLoop(0)) as runner:
        return runner.run(work)


def now():
    return asyncio.get_running_loop().time()


def file_of(path, *pieces):
    path.write_text("".join(encode_piece(piece) + "\n" for piece in pieces))
    return path


def rx(at_s, data):
    return Piece(at_s, Kind.RECEIVED, data)


def tx(at_s, data):
    return Piece(at_s, Kind.SENT, data)


def recording_of(*pieces):
    return read_recording([encode_piece(piece) for piece in pieces])


def link_of(*pieces, answers=True, **more):
    recording = recording_of(*pieces)
    return RecordingLink("r", 1.0, answers=answers, recording=recording, **more)


def bus_of(*pieces):
    return RecordingBus("r", 1.0, recording=recording_of(*pieces))


def test_what_is_written_is_read_again():
    pieces = [
        Piece(0.0, Kind.OPENED, line=2),
        Piece(0.5, Kind.SENT, b"\x00?", line=3),
        Piece(1.0, Kind.RECEIVED, secret=True, count=7, line=4),
        Piece(1.25, Kind.LOST, count=3, line=5),
        Piece(2.0, Kind.END, text="time", line=6),
    ]
    header = Header(
        "gq-gmc", "a", "Other", "tcp", "2026-05-02T14:03:10.000Z", "0.1.0", "7", "", "µR/h"
    )
    found = read_recording([encode_header(header), *(encode_piece(piece) for piece in pieces)])
    assert found.header == header
    assert list(found.pieces) == pieces
    assert found.duration_s == 2.0


@pytest.mark.parametrize(
    "line",
    [
        "x",
        '{"t": 1}',
        '{"t": "soon", "dir": "rx", "hex": ""}',
        '{"t": NaN, "dir": "rx", "hex": ""}',
        '{"t": 1e300, "dir": "rx", "hex": ""}',
        '{"t": 1, "dir": "up", "hex": ""}',
        '{"t": 1, "dir": "opened", "hex": ""}',
        '{"t": 1, "dir": "rx", "hex": "0"}',
        '{"t": 1, "link": "rx"}',
        '{"t": 1, "link": "melted"}',
        '{"t": 1, "lost": "many"}',
        '{"recording": 2, "driver": "x"}',
        '{"recording": 1}',
        "[" * 100_000,
    ],
)
def test_what_is_no_piece(line):
    with pytest.raises(BadRecording):
        read_recording([line])
    good = encode_piece(rx(0.0, b"x"))
    with pytest.raises(BadRecording, match="line 2"):
        read_recording([good, line, good])
    assert len(read_recording([good, line]).pieces) == 1  # the power went while it was written


async def timed(link):
    began = now()
    data = await link.read()
    return round(now() - began, 3), data


def test_answers_keep_their_distance_from_the_question():
    async def play():
        link = link_of(tx(5.0, b"a"), rx(5.2, b"1"), rx(5.7, b"2"))
        await link.open()
        await asyncio.sleep(100.0)
        await link.write(b"a")
        return [await timed(link), await timed(link)]

    assert virtual(play()) == [(0.2, b"1"), (0.5, b"2")]


def test_what_was_not_asked_then_gets_no_answer_and_is_told_where():
    async def play():
        link = link_of(tx(1.0, b"a"), rx(1.1, b"1"))
        await link.open()
        await link.write(b"other")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await link.read()
        await link.write(b"a")
        return await link.read(), [str(each) for each in link.differences]

    assert virtual(play()) == (b"1", ["line 1 (1 s): asked 'other', recorded 'a'"])


def test_who_it_is_may_be_asked_again_but_no_number():
    async def play():
        link = link_of(
            Piece(0.0, Kind.IDENTIFYING),
            tx(0.0, b"who"),
            rx(0.1, b"me"),
            Piece(0.2, Kind.IDENTIFIED),
            *(each for at in range(1, 9) for each in (tx(at, b"count"), rx(at + 0.1, b"%d" % at))),
        )
        await link.open()
        heard = []
        for question in (b"who", b"count", b"count", b"who", b"count", b"count"):
            await link.write(question)
            heard.append(await link.read())
        return heard, link.differences

    assert virtual(play()) == ([b"me", b"1", b"2", b"me", b"3", b"4"], [])


def test_a_secret_gets_no_answer_and_no_difference():
    async def play():
        secret = Piece(1.1, Kind.RECEIVED, secret=True, count=3)
        link = link_of(tx(1.0, b"a"), secret, tx(2.0, b"b"), rx(2.1, b"1"))
        await link.open()
        await link.write(b"a")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3):
                await link.read()
        await link.write(b"b")
        return await link.read(), link.differences

    assert virtual(play()) == (b"1", [])


def test_what_is_there_can_be_taken():
    async def play():
        link = link_of(rx(1.0, b"early"), tx(2.0, b"a"), rx(2.5, b"1"), rx(2.6, b"2"))
        await link.open()
        first = link.take()
        await asyncio.sleep(1.5)
        second = link.take()
        await link.write(b"a")
        await asyncio.sleep(0.5)
        return first, second, link.take()

    assert virtual(play()) == (b"", b"early", b"1")


def test_a_lost_link_is_lost_and_comes_back_when_it_did():
    async def play():
        link = link_of(
            rx(1.0, b"1"),
            Piece(2.0, Kind.CLOSED),
            Piece(10.0, Kind.OPENED),
            rx(11.0, b"2"),
            answers=False,
        )
        await link.open()
        heard = [await link.read()]
        with pytest.raises(LinkLost, match="as recorded"):
            await link.read()
        await asyncio.sleep(0.5)
        await link.open()
        opened = now()
        return [*heard, await link.read()], opened, now()

    assert virtual(play()) == ([b"1", b"2"], 10.0, 11.0)


def test_who_opens_it_late_gets_everything_late_and_nothing_at_once():
    async def play():
        lost = (Piece(2.0, Kind.CLOSED), Piece(10.0, Kind.OPENED))
        link = link_of(rx(1.0, b"1"), *lost, rx(11.0, b"2"), answers=False)
        await link.open()
        await link.read()
        with pytest.raises(LinkLost):
            await link.read()
        await asyncio.sleep(50.0)
        await link.open()
        return await timed(link)

    assert virtual(play()) == (1.0, b"2")


def test_a_recording_ends_when_it_ended_and_stays_away():
    async def play():
        link = link_of(rx(1.0, b"1"), Piece(30.0, Kind.END, text="time"), answers=False)
        await link.open()
        await link.read()
        with pytest.raises(LinkLost, match="the recording has ended"):
            await link.read()
        ended = now()
        for _ in range(2):
            with pytest.raises(PortMissing, match="the recording has ended"):
                await link.open()
        return ended

    assert virtual(play()) == 30.0


def test_one_that_loops_begins_again():
    async def play():
        link = link_of(rx(1.0, b"1"), answers=False, loops=True)
        heard = []
        for _ in range(3):
            await link.open()
            heard.append(await link.read())
            with pytest.raises(LinkLost, match="ended"):
                await link.read()
        return heard, now()

    assert virtual(play()) == ([b"1"] * 3, 3.0)


def test_one_whose_questions_nobody_asks_ends_too():
    async def play():
        link = link_of(tx(10.0, b"a"), rx(10.1, b"1"))
        await link.open()
        with pytest.raises(LinkLost, match="ended"):
            await link.read()
        return now()

    assert virtual(play()) == pytest.approx(70.1)


def test_registers_are_read_as_they_were():
    async def play():
        bus = bus_of(
            tx(1.0, ASKED),
            rx(1.3, bytes((3, 4, 0, 7, 1, 0))),
            tx(2.0, ASKED),
            rx(2.1, bytes((0x83, 2))),
            tx(3.0, ASKED),
            tx(5.0, ASKED),
            rx(5.1, bytes((3, 2, 0, 7))),
            tx(6.0, ASKED),
            rx(6.1, bytes((4, 4, 0, 7, 0, 7))),
            tx(7.0, ASKED),
            Piece(7.5, Kind.CLOSED),
        )
        await bus.open()
        began = now()
        assert await bus.read(1, BLOCK) == (7, 256)
        assert round(now() - began, 3) == 0.3
        with pytest.raises(Refused) as refused:
            await bus.read(1, BLOCK)
        assert refused.value.code == 2
        with pytest.raises(ReplyTimeout):
            await bus.read(1, BLOCK)
        with pytest.raises(DecodeError, match="1 registers instead of 2"):
            await bus.read(1, BLOCK)
        with pytest.raises(DecodeError, match="function 4 answers 3"):
            await bus.read(1, BLOCK)
        with pytest.raises(LinkLost, match="as recorded"):
            await bus.read(1, BLOCK)
        await bus.open()
        assert bus.openings == 2
        with pytest.raises(LinkLost, match="ended"):
            await bus.read(1, BLOCK)
        with pytest.raises(PortMissing, match="ended"):
            await bus.open()

    virtual(play())


def test_registers_stay_silent_until_the_end():
    async def play():
        bus = bus_of(tx(1.0, ASKED), rx(1.1, bytes((3, 4, 0, 7, 1, 0))), Piece(9.0, Kind.END))
        await bus.open()
        await bus.read(1, BLOCK)
        silences = 0
        while True:
            try:
                await bus.read(1, BLOCK)
            except ReplyTimeout:
                silences += 1
            except LinkLost:
                return silences, now()

    silences, ended = virtual(play())
    assert silences >= 3
    assert ended == pytest.approx(8.0, abs=1.5)


def detector(driver, **link):
    given = {"kind": "recording", "path": "x", **link}
    one = {"id": "d", "driver": driver, "class": "Other", "link": given}
    return Configuration.model_validate({"gateway": {"id": "g"}, "detector": [one]}).detector[0]


@pytest.mark.parametrize("driver", ["thermo-radeye", "json-lines"])
def test_any_driver_may_be_configured_with_a_recording(tmp_path, driver):
    path = file_of(tmp_path / "r.jsonl", tx(0.0, b"@"), rx(0.1, b">"))
    link = byte_link(detector(driver, path=str(path)), find(driver))
    assert isinstance(link, RecordingLink)

    async def play():
        await link.open()
        await link.write(b"@")
        return await link.read()

    assert asyncio.run(play()) == b">"


def test_registers_may_be_configured_with_a_recording(tmp_path):
    path = file_of(tmp_path / "r.jsonl", tx(0.0, ASKED), rx(0.1, bytes((3, 4, 0, 7, 1, 0))))
    bus = recorded_bus(detector("aspect-rpm-modbus-tcp", path=str(path)))

    async def play():
        await bus.open()
        return await bus.read(0, BLOCK)

    assert asyncio.run(play()) == (7, 256)


def test_nothing_left_to_wait_for_is_told_and_no_hang():
    async def for_ever():
        await asyncio.get_running_loop().create_future()

    loop = PacedLoop(0)
    try:
        with pytest.raises(NothingLeft):
            loop.run_until_complete(task := loop.create_task(for_ever()))
    finally:
        task.cancel()
        loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        loop.close()


def test_a_faster_clock_is_faster():
    loop = PacedLoop(1000.0)
    try:
        loop.run_until_complete(asyncio.sleep(20.0))
        assert loop.time() >= 20.0
    finally:
        loop.close()


def test_a_long_recording_is_searched_in_no_time():
    pieces = [each for at in range(50_000) for each in (tx(at, b"q%d" % at), rx(at, b"x"))]
    talk = Conversation(pieces)
    for at in range(0, 50_000, 2):
        assert talk.ask(b"q%d" % at) is not None
        assert talk.ask(b"unknown") is None
    assert talk.differing == 49_999
    assert len(talk.differences) == 20
