"""Every registered driver stands the contract suite, and the suite finds drivers that do not."""

import re
import tomllib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from drivers import registry
from drivers.api import (
    Ask,
    Channel,
    DriverInfo,
    Identity,
    Operation,
    Option,
    Options,
    Output,
    ReadBlock,
    Reading,
    Sample,
    Verified,
)
from drivers.codec.checksum import xor_sum
from drivers.codec.lines import Line, LineSplitter
from drivers.codec.until import count, terminator
from drivers.errors import DriverError, FrameError, Reject
from simulators.contract import ContractBroken, check_asker, check_listener, check_registers

VECTORS = Path(__file__).resolve().parents[1] / "data" / "vectors"

CHECKSUMMED = {"bgeigie-nmea"}
"""Families whose every value is covered by a checksum that the driver insists on."""

READING = {
    # GQ-RFC1801: the requests that change nothing.
    "gq-gmc": rb"<(GETVER|GETSERIAL|GETCPS|GETCPM|GETVOLT|GETCFG)>>",
    # DT-029 E Rev. B: wake, stop and start the stream, version, serial, unit, battery, dead time.
    "thermo-radeye": rb"@|(X0|X1|Vx|#R|uR|Ux|x)\n",
}
"""What a driver that asks may send, by its protocol's documents."""


def vectors(name: str) -> dict[str, Any]:
    return tomllib.loads((VECTORS / f"{name}.toml").read_text("utf-8"))


def stream(name: str) -> bytes:
    """What a healthy instrument sends: the family's vectors one behind the other."""
    held = vectors(name)
    frames = [bytes.fromhex(frame["bytes"]) for frame in held.get("frame", ())]
    frames += [line["text"].encode() + b"\r\n" for line in held.get("line", ())]
    assert frames, f"{name}: no frame to feed"
    return b"".join(frames)


def gmc_answers() -> dict[bytes, bytes]:
    held = vectors("gq-gmc")
    return {
        b"<GETVER>>": bytes.fromhex(held["version"][0]["bytes"]),
        b"<GETSERIAL>>": bytes.fromhex("F4 88 00 7E 05 1A 6B"),
        b"<GETCPM>>": bytes.fromhex(held["count"][0]["bytes"]),
        b"<GETCPS>>": bytes.fromhex("00 01"),
        b"<GETVOLT>>": bytes.fromhex("28"),
    }


def radeye_answers() -> dict[bytes, bytes]:
    return {
        b"@": b">",
        b"X0\n": b"#\r\n",
        b"X1\n": b"#\r\n",
        b"Vx\n": b"#RadEye PRD V3.52 AB48\r\n",
        b"#R\n": b"#1234\r\n",
        b"Ux\n": b"#29\r\n",
        b"": bytes.fromhex(vectors("thermo-radeye")["frame"][0]["bytes"]),
    }


ANSWERS: dict[str, Callable[[], Mapping[bytes, bytes]]] = {
    "gq-gmc": gmc_answers,
    "thermo-radeye": radeye_answers,
}


@pytest.mark.parametrize("name", registry.names())
def test_driver_stands_the_contract(name: str) -> None:
    info = registry.find(name)
    checksummed = name in CHECKSUMMED
    assert info.name == name
    match info.contract:
        case "listener":
            check_listener(info, stream(name), checksummed=checksummed)
        case "asker":
            assert name in READING, f"{name}: write down which requests only read"
            allowed = re.compile(READING[name])
            check_asker(info, allowed, checksummed=checksummed, answers=ANSWERS[name]())
        case "registers":
            check_registers(info)
        case other:
            pytest.fail(f"{other} is no contract")


@pytest.mark.parametrize("name", registry.names())
def test_instrument_table_is_filled(name: str) -> None:
    info = registry.find(name)
    assert info.title
    assert info.source
    assert info.classes
    assert info.links
    assert info.channels
    assert info.silence_s > 0
    assert info.poll_s >= 0
    assert len({option.name for option in info.options}) == len(info.options)
    assert all(option.doc for option in info.options)


# Drivers of an invented instrument that break the contract, one rule each.


class Toy:
    """A good listener: ``T<digits>*<xor>`` and LF."""

    def __init__(self) -> None:
        self.lines = LineSplitter(64)

    def hello(self) -> bytes:
        return b""

    def interrupted(self) -> None:
        self.lines.clear()

    def feed(self, data: bytes) -> Iterator[Output]:
        for line in self.lines.feed(data):
            yield line if isinstance(line, FrameError) else self.read(line)

    def read(self, line: Line) -> Output:
        match = re.fullmatch(rb"T([0-9]{1,5})\*([0-9A-F]{2})", line.text)
        if match is None:
            return FrameError(Reject.SYNTAX, line.text)
        if not self.is_right(match[1], int(match[2], 16)):
            return FrameError(Reject.CHECKSUM, line.text)
        return self.sample(int(match[1]))

    def is_right(self, digits: bytes, told: int) -> bool:
        return xor_sum(b"T" + digits) == told

    def sample(self, value: float) -> Sample:
        return Sample((Reading(Channel.DOSE_RATE, value, "µSv/h"),))


TOY = b"".join(b"T%d*%02X\n" % (value, xor_sum(b"T%d" % value)) for value in (12, 345, 6789))


class Raises(Toy):
    def read(self, line: Line) -> Output:
        return self.sample(int(line.text[1:-3]))


class ByChunks(Toy):
    def feed(self, data: bytes) -> Iterator[Output]:
        for text in data.split(b"\n"):
            if text:
                yield self.read(Line(text, 1, 0))


class NoChecksum(Toy):
    def is_right(self, digits: bytes, told: int) -> bool:
        return True


class Greedy(Toy):
    """Keeps and searches all that it was ever fed."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = b""

    def feed(self, data: bytes) -> Iterator[Output]:
        self.kept += data
        self.kept.replace(b"T", b"").count(b"7")
        yield from super().feed(data)
        if len(self.kept) > 100_000:
            yield FrameError(Reject.OVERFLOW, self.kept)


class NeverRecovers(Toy):
    def feed(self, data: bytes) -> Iterator[Output]:
        for output in super().feed(data):
            if isinstance(output, FrameError):
                self.read = self.dead  # type: ignore[method-assign]
            yield output

    def dead(self, line: Line) -> Output:
        return FrameError(Reject.SYNTAX, line.text)


class BelievesZeros(Toy):
    def feed(self, data: bytes) -> Iterator[Output]:
        yield from super().feed(data)
        if data and not any(data):
            yield self.sample(0)


class Talkative(Toy):
    def hello(self) -> bytes:
        return b"RESET\n"


class Unannounced(Toy):
    def sample(self, value: float) -> Sample:
        return Sample((Reading(Channel.TAMPER, 0, "1"),))


def info(make: Callable[[], Any], contract: str = "listener") -> DriverInfo:
    def create(options: Options) -> Any:
        assert options == {"size": 1}
        return make()

    return DriverInfo(
        name="toy",
        title="Toy",
        contract=contract,
        classes=("Other",),
        links=("serial",),
        channels=(Channel.DOSE_RATE,),
        source="none",
        verified=Verified.CONSTRUCTED,
        silence_s=1.0,
        create=create,
        options=(Option("size", 1, "nothing"),),
    )


def test_a_good_listener_passes() -> None:
    check_listener(info(Toy), TOY, checksummed=True)


@pytest.mark.parametrize(
    ("bad", "rule"),
    [
        (Raises, "raised"),
        (ByChunks, "split anywhere"),
        (NoChecksum, "flipped bit"),
        (Greedy, "flood"),
        (NeverRecovers, "garbage"),
        (BelievesZeros, "flood"),
        (Talkative, "says only"),
        (Unannounced, "not announced"),
    ],
)
def test_a_bad_listener_is_found(bad: Callable[[], Toy], rule: str) -> None:
    with pytest.raises(ContractBroken, match=rule):
        check_listener(info(bad), TOY, checksummed=True)


def test_a_stream_without_values_is_no_test() -> None:
    with pytest.raises(ContractBroken, match="healthy"):
        check_listener(info(Toy), b"hello\n", checksummed=True)


class Asking:
    """A good asker: ``?`` is answered with a toy line."""

    request = b"?"
    timeout_s = 1.0

    def identify(self) -> Generator[Operation, bytes, Identity]:
        yield self.ask()
        return Identity(model="toy")

    def poll(self) -> Generator[Operation, bytes, Iterable[Output]]:
        answer = yield self.ask()
        return self.read(answer)

    def ask(self) -> Ask:
        return Ask(self.request, terminator(b"\n"), self.timeout_s)

    def read(self, answer: bytes) -> Iterable[Output]:
        return Toy().feed(answer)


class Writing(Asking):
    request = b"RESET"


class Endless(Asking):
    def poll(self) -> Generator[Operation, bytes, Iterable[Output]]:
        while True:
            with suppress(DriverError):
                yield Ask(b"", count(1), 1.0)


class Patient(Asking):
    timeout_s = 0.0


class Believing(Asking):
    def read(self, answer: bytes) -> Iterable[Output]:
        return [Toy().sample(len(answer))]


class Failing(Asking):
    def read(self, answer: bytes) -> Iterable[Output]:
        return [Toy().sample(int(answer[1:3]))]


class Forgetting(Asking):
    """Tells the last value again when no answer comes."""

    def __init__(self) -> None:
        self.last: list[Output] = []

    def read(self, answer: bytes) -> Iterable[Output]:
        outputs = list(Toy().feed(answer))
        self.last = [o for o in outputs if isinstance(o, Sample)] or self.last
        return self.last or outputs


def test_a_good_asker_passes() -> None:
    toy = info(Asking, "asker")
    check_asker(toy, re.compile(rb"\?"), checksummed=True, answers={b"?": TOY[:7]})


@pytest.mark.parametrize(
    ("bad", "rule"),
    [
        (Writing, "sends only"),
        (Endless, "no end"),
        (Patient, "timeout"),
        (Believing, "made"),
        (Failing, "raised"),
        (Forgetting, "made"),
    ],
)
def test_a_bad_asker_is_found(bad: Callable[[], Asking], rule: str) -> None:
    answers = {b"?": b"T12*%02X\n" % xor_sum(b"T12")}
    with pytest.raises(ContractBroken, match=rule):
        check_asker(info(bad, "asker"), re.compile(rb"\?"), checksummed=True, answers=answers)


class Table:
    """A good table: one register."""

    poll_s = 1.0
    block = ReadBlock(4, 100, 1)

    def identify(self) -> Generator[ReadBlock, tuple[int, ...], Identity]:
        yield self.block
        return Identity()

    def poll(self) -> Generator[ReadBlock, tuple[int, ...], Iterable[Output]]:
        words = yield self.block
        return self.read(words)

    def read(self, words: tuple[int, ...]) -> list[Output]:
        if len(words) != 1:
            return [FrameError(Reject.TRUNCATED)]
        return [Toy().sample(words[0])]


class WritesCoils(Table):
    block = ReadBlock(5, 100, 1)


class TooLong(Table):
    block = ReadBlock(4, 100, 126)


class Beyond(Table):
    block = ReadBlock(3, 65535, 2)


class Breathless(Table):
    poll_s = 0.0


class ShortSighted(Table):
    def read(self, words: tuple[int, ...]) -> list[Output]:
        return [Toy().sample(words[0])]


class NeverEnding(Table):
    def poll(self) -> Generator[ReadBlock, tuple[int, ...], Iterable[Output]]:
        while True:
            yield self.block


def test_a_good_table_passes() -> None:
    check_registers(info(Table, "registers"))


@pytest.mark.parametrize(
    ("bad", "rule"),
    [
        (WritesCoils, "reads only"),
        (TooLong, "reads only"),
        (Beyond, "reads only"),
        (Breathless, "poll_s"),
        (ShortSighted, "raised"),
        (NeverEnding, "no end"),
    ],
)
def test_a_bad_table_is_found(bad: Callable[[], Table], rule: str) -> None:
    with pytest.raises(ContractBroken, match=rule):
        check_registers(info(bad, "registers"))


def test_the_report_names_driver_and_rule() -> None:
    with pytest.raises(ContractBroken) as caught:
        check_registers(replace(info(Breathless, "registers"), name="breathless"))
    assert caught.value.driver == "breathless"
    assert caught.value.rule == "registers: zeros"
