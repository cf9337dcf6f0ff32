"""``decode DRIVER FILE``: one JSON line per sample, passage or reject; a summary at the end.

Numbers go through the normaliser, so that they are in the gateway's units. Input without dates
has no times.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Final, cast

from config.models import Detector
from drivers.api import (
    Asker,
    DriverInfo,
    Identity,
    Listener,
    Logged,
    Output,
    Passage,
    Registers,
    Sample,
)
from drivers.codec.recording import Kind, is_header, parse_recording, read_recording
from drivers.registry import UnknownDriver, find
from gateway.assembly import driver_options
from gateway.normalise import Normaliser
from gateway.values import Instant
from gateway.verbs.terminal import Exit, complain, say
from gateway.wire import samples
from gateway.wire.table import dump
from simulators.api import Emission, Field
from simulators.dialogue import VirtualSession
from simulators.recorded import NoField, Recorded

CHUNK: Final = 65_536
HEAD: Final = 32
"""So many bytes tell a recording from anything else."""
UNDATED: Final = Instant(0.0, 0.0)
REPLAY_STEP_S: Final = 1.0
REPLAY_PATIENCE_S: Final = 60.0
"""A recording whose questions this driver does not ask is given up so long after its end."""

Driver = Listener | Asker | Registers


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument("driver", help="name of the driver, or one word of it")
    parser.add_argument("file", help="log file or recording; - is standard input")
    parser.add_argument("--strict", action="store_true", help="end with 1 if anything was rejected")
    parser.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE", help="option of the driver"
    )


def run(arguments: argparse.Namespace) -> Exit:
    """Decodes to the end of the file."""
    try:
        info = find(arguments.driver)
        detector = _detector(info, arguments.option)
    except (UnknownDriver, ValueError) as error:
        complain(str(error))
        return Exit.USAGE
    counts: Counter[str] = Counter()
    try:
        for kind, record in _describe(_read(info, detector, arguments.file), detector):
            counts[kind] += 1
            say(dump(record).decode())
    except BrokenPipeError:
        raise
    except OSError as error:
        complain(f"{arguments.file}: {error.strerror}")
        return Exit.USAGE
    except ValueError as error:
        complain(f"{arguments.file}: {error}")
        return Exit.USAGE
    complain(_summary(arguments.file, counts))
    rejected = any(kind.startswith("reject") for kind in counts)
    return Exit.FAULT if arguments.strict and rejected else Exit.WELL


def _summary(file: str, counts: Counter[str]) -> str:
    rejects = sum(count for kind, count in counts.items() if kind.startswith("reject"))
    reasons = ", ".join(
        f"{count} {kind.partition(' ')[2]}"
        for kind, count in sorted(counts.items())
        if kind.startswith("reject")
    )
    return (
        f"{file}: {counts['sample']} samples, {counts['passage']} passages, {rejects} rejected"
        + (f" ({reasons})" if reasons else "")
    )


def _detector(info: DriverInfo, options: list[str]) -> Detector:
    detector = Detector.model_validate(
        {
            "id": info.name[:32],
            "driver": info.name,
            "class": info.classes[0],
            "link": {"kind": "recording", "path": "-"},
        }
    )
    return detector.model_copy(update={"options": dict(option_of(info, text) for text in options)})


def option_of(info: DriverInfo, text: str) -> tuple[str, bool | int | float | str]:
    """An option of the driver written as NAME=VALUE. Raises ValueError."""
    name, _, value = text.partition("=")
    for option in info.options:
        if option.name == name:
            kind = type(option.default)
            return name, value.lower() in ("true", "1") if kind is bool else kind(value)
    known = ", ".join(option.name for option in info.options) or "none"
    raise ValueError(f"{info.name} has no option {name!r}; its options: {known}")


@dataclass(frozen=True, slots=True)
class _Heard:
    output: Output
    at: Instant | None
    line: int | None = None


def _read(info: DriverInfo, detector: Detector, file: str) -> Iterator[_Heard]:
    driver = info.create(driver_options(detector, info))
    with nullcontext(sys.stdin.buffer) if file == "-" else Path(file).open("rb") as stream:
        if info.contract != "listener":
            lines = (line.decode("utf-8", "replace") for line in stream)
            yield from (_Heard(output, None) for output in _replay(info, driver, lines))
            return
        listener = cast(Listener, driver)
        for piece in _pieces(info, stream):
            at = None if piece.at is None else _instant(piece.at)
            for output in listener.feed(piece.data):
                yield _Heard(output, at, piece.line)


class _Playback(Recorded):
    """A recording; what it was asked for last arrives until ``last_s``."""

    last_s = 0.0

    def advance(self, to_s: float, field: Field) -> Sequence[Emission]:
        """What it said before it was asked anything."""
        return self._noted(super().advance(to_s, field))

    def receive(self, at_s: float, data: bytes, field: Field) -> Sequence[Emission]:
        """Its answers."""
        return self._noted(super().receive(at_s, data, field))

    def _noted(self, emissions: Sequence[Emission]) -> Sequence[Emission]:
        self.last_s = max((self.last_s, *(emission.at_s for emission in emissions)))
        return emissions


def _replay(info: DriverInfo, driver: Driver, lines: Iterable[str]) -> Iterator[Output]:
    recorded = _Playback(parse_recording(lines))
    session = VirtualSession(info, driver, recorded, NoField())
    now_s = 0.0
    limit_s = 2 * recorded.duration_s + REPLAY_PATIENCE_S
    while (not recorded.is_over or now_s < recorded.last_s) and now_s < limit_s:
        now_s += REPLAY_STEP_S
        for _, output in session.run(now_s):
            yield Sample((), identity=output) if isinstance(output, Identity) else output


def _pieces(info: DriverInfo, stream: BinaryIO) -> Iterator[Logged]:
    head = stream.readline(CHUNK)
    if is_header(head[:HEAD].decode("ascii", "replace")):
        yield from _recorded((head + stream.read()).decode("utf-8", "replace"))
        return
    if info.read_log is not None:
        if not head.endswith(b"\n"):
            head += stream.readline()
        yield from info.read_log(chain((head,), stream) if head else stream)
        return
    yield Logged(head)
    while data := stream.read(CHUNK):
        yield Logged(data)


def _recorded(text: str) -> Iterator[Logged]:
    """What was received, dated where the recording says when it began."""
    recording = read_recording(text.splitlines())
    started = recording.header.started if recording.header else ""
    base = datetime.fromisoformat(started) if started else None
    for piece in recording.pieces:
        if piece.kind is Kind.RECEIVED and piece.data:
            at = None if base is None else base + timedelta(seconds=piece.at_s)
            yield Logged(piece.data, at, piece.line)


def _by_its_own_clock(output: Output) -> Instant:
    """Undated input has the times that its instrument vouches for, or none."""
    if isinstance(output, Sample) and output.device_time is not None:
        return _instant(output.device_time)
    return UNDATED


def _instant(at: datetime) -> Instant:
    return Instant(at.timestamp(), at.timestamp())


def _describe(
    heard: Iterator[_Heard], detector: Detector
) -> Iterator[tuple[str, dict[str, object]]]:
    normaliser = Normaliser(detector, detector.id)
    for one in heard:
        output = one.output
        at = one.at or _by_its_own_clock(output)
        if isinstance(output, Sample):
            told = samples.Told(normaliser.sample(output, at), dated=one.at is not None)
            if output.readings:
                yield "sample", samples.SAMPLE.encode(told)
        elif isinstance(output, Passage):
            passed = samples.PassageTold(normaliser.passage(output, at), dated=one.at is not None)
            yield "passage", samples.PASSAGE.encode(passed)
        else:
            if one.line is not None:
                output.line = one.line
            rejected = samples.Rejected(detector.id, output)
            yield f"reject {output.reason}", samples.REJECT.encode(rejected)
