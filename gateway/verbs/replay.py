"""``replay``: the bytes of a recording through the same session, driver and pipeline again.

A folder with ``recording.jsonl`` and ``about.toml`` is a test: ``--write`` writes what is expected
of it, ``--expect`` compares.
"""

import argparse
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from config.models import Configuration, Detector, RecordingLink
from config.problem import ConfigErrors
from drivers.api import DriverInfo
from drivers.codec.recording import BadRecording, Header, Kind, Recording, read_recording
from drivers.registry import UnknownDriver, find
from gateway import logs
from gateway.verbs.decode import option_of
from gateway.verbs.paced import NothingLeft
from gateway.verbs.playback import Playback
from gateway.verbs.recording_folder import (
    ABOUT,
    EXPECTED,
    RECORDING,
    About,
    about,
    first_difference,
)
from gateway.verbs.simulate import KINDS
from gateway.verbs.terminal import Exit, complain, load_or_complain, say, spare_collector

ALL: Final = tuple(sorted((*KINDS, "reject")))


MOST_SPEED: Final = 1000.0
"""Own choice: beyond it a real clock shows nothing any more."""


class CannotReplay(ValueError):
    """What was asked for does not fit the recording; the text says what to do."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument("recording", type=Path, metavar="OUT", help="recording, or a folder of one")
    parser.add_argument(
        "--speed", type=_speed, default=0.0, help="0 as fast as it can (default), 1 as it was, or N"
    )
    parser.add_argument("--driver", help="another driver than the recording's")
    parser.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE", help="option of the driver"
    )
    parser.add_argument("-c", "--config", type=Path, help="judged as its detector is configured")
    parser.add_argument("--only", action="append", choices=ALL, help="print only this kind")
    after = parser.add_mutually_exclusive_group()
    after.add_argument("--expect", type=Path, metavar="FILE", help="1 if it says anything else")
    after.add_argument("--write", action="store_true", help="a folder: write what is expected")


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = -1.0
    if not 0 <= speed <= MOST_SPEED:
        raise argparse.ArgumentTypeError(f"{text!r} is no speed from 0 to {MOST_SPEED:g}")
    return speed


def run(arguments: argparse.Namespace) -> Exit:
    """Plays it and prints what the gateway would store."""
    logs.set_up("error", as_json=False)
    spare_collector()
    folder: Path | None = arguments.recording if arguments.recording.is_dir() else None
    file = arguments.recording if folder is None else folder / RECORDING
    try:
        said = About(shows="-") if folder is None else about(folder)
        recording = load(file)
        configuration, info = configured(
            recording, said, arguments.driver, arguments.option, arguments.config
        )
        if arguments.write and folder is None:
            raise CannotReplay(f"--write is for a folder with {RECORDING} and {ABOUT}")
        expected = arguments.expect and arguments.expect.read_text("utf-8").splitlines()
    except ConfigErrors as errors:
        complain(str(errors))
        return Exit.USAGE
    except OSError as error:
        complain(f"{error.filename or file}: {error.strerror}")
        return Exit.USAGE
    except (UnknownDriver, ValueError) as error:
        complain(f"{file}: {error}")
        return Exit.USAGE
    only = frozenset(arguments.only or (ALL if folder is None else said.only))
    prints = not (arguments.write or arguments.expect)
    played = play(recording, configuration, info, arguments.speed, only, prints=prints)
    if played is None:
        return Exit.FAULT
    lines, playback, counts = played
    if arguments.write and folder is not None:
        (folder / EXPECTED).write_text("".join(line + "\n" for line in lines), "utf-8")
    return _judged(file, recording, playback, counts, expected, lines)


def load(file: Path) -> Recording:
    """The recording in a file. Raises OSError and BadRecording."""
    with file.open(encoding="utf-8") as lines:
        try:
            return read_recording(lines)
        except UnicodeDecodeError as error:
            raise BadRecording(0, f"not UTF-8: {error.reason}") from error


def configured(
    recording: Recording,
    said: About,
    driver: str | None = None,
    options: Iterable[str] = (),
    config: Path | None = None,
) -> tuple[Configuration, DriverInfo]:
    """The gateway's configuration with the recording as its only detector.

    Raises CannotReplay, UnknownDriver and ValueError.
    """
    header = recording.header
    name = driver or said.driver or (header.driver if header else None)
    if name is None:
        raise CannotReplay("the recording does not say its driver: name it with --driver")
    info = find(name)
    if unknown := said.options.keys() - {option.name for option in info.options}:
        raise CannotReplay(f"{info.name} has no option {min(unknown)!r}")
    found = None if config is None else _configuration(config, header)
    detector = _detector(header, info) if found is None else found.detector[0]
    given = dict(detector.options) | said.options | dict(option_of(info, each) for each in options)
    detector = detector.model_copy(
        update={
            "driver": info.name,
            "options": given,
            "link": RecordingLink(kind="recording", path="recording"),
            "simulated": True,
        }
    )
    if found is not None:
        return found.model_copy(update={"detector": (detector,)}), info
    return Configuration.model_validate({"gateway": {"id": "replay"}}).model_copy(
        update={"detector": (detector,)}
    ), info


def play(
    recording: Recording,
    configuration: Configuration,
    info: DriverInfo,
    speed: float,
    only: frozenset[str],
    *,
    prints: bool,
) -> tuple[list[str], Playback, Counter[str]] | None:
    """Its lines, unless they are printed at once; None after it was said why it failed."""
    lines: list[str] = []
    counts: Counter[str] = Counter()

    def tell(kind: str, body: bytes) -> None:
        counts[kind] += 1
        if kind in only:
            (say if prints else lines.append)(body.decode())

    playback = Playback(recording, configuration, info, tell)
    try:
        playback.run(speed)
    except NothingLeft as error:
        complain(f"the replay stands still: {error}")
        return None
    return lines, playback, counts


def _judged(
    file: Path,
    recording: Recording,
    playback: Playback,
    counts: Counter[str],
    expected: list[str] | None,
    lines: list[str],
) -> Exit:
    told = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
    complain(f"{file}: {told or 'nothing'}")
    lost = sum(piece.count for piece in recording.pieces if piece.kind is Kind.LOST)
    secret = sum(piece.secret for piece in recording.pieces)
    if lost:
        complain(f"{lost} pieces could not be recorded: what follows a gap may be rejected")
    if secret:
        complain(f"{secret} pieces are secret and left out: those questions get no answer")
    for difference in playback.differences:
        complain(f"{file}: {difference}")
    if playback.differing > len(playback.differences):
        complain(f"{playback.differing} questions differ; the first are named")
    differs = "" if expected is None else first_difference(expected, lines)
    if differs:
        complain(f"not as expected: {differs}")
    return Exit.FAULT if differs or playback.differing else Exit.WELL


def _configuration(path: Path, header: Header | None) -> Configuration:
    found = load_or_complain(path)
    if found is None:
        raise CannotReplay(f"{path} has errors")
    detectors = [each for each in found.detector if header and each.id == header.detector]
    if not detectors:
        name = header.detector if header else ""
        raise CannotReplay(f"{path} has no detector {name!r}, which the recording is of")
    return found.model_copy(update={"detector": tuple(detectors), "sink": ()})


def _detector(header: Header | None, info: DriverInfo) -> Detector:
    known = header or Header(info.name)
    names = {option.name for option in info.options}
    return Detector.model_validate(
        {
            "id": known.detector or info.name[:32],
            "driver": info.name,
            "class": known.detector_class or info.classes[0],
            "link": {"kind": "recording", "path": "recording"},
            "options": {key: value for key, value in known.options.items() if key in names},
            **({"unit": known.unit} if known.unit else {}),
        }
    )
