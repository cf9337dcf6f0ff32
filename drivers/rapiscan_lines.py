"""Lines of the Rapiscan / TSA portal stream: bytes to records and back.

Source: osh-oakridge-modules, sensorhub-driver-rapiscan, MessageHandler.java; rapiscan-simulator,
rpm_data1.txt; RPM-Simulator, SampleData/*.csv; SRLS, RPMSimulator.ts.
Verified: captured.

    tag *("," field) ["," host timestamp] CR LF

Seven-bit ASCII, no checksum. The last column exists only in log files, where the logging host
added it, as ``HH-MM-SS.mmm`` or as ``YYYY-MM-DD HH:MM:SS.mmm -07``.

- GB GH GL NB NH NL, GS GA NS NA: four counts, detectors 1 to 4
- GX: number of the occupancy, neutron background in 1/1000 s of all four, 0, 0
- SP: seconds for one foot, mile/h, km/h, 0
- TT, TC: tamper set, cleared; the four fields mean nothing
- SG1 SG2 SG3 SN1 SN2: set-up
- NB1 (spectral firmware): neutron background before rounding down, four decimals
- AB1 AR AS AA AX AM AC NC NX NZ RW (spectral firmware): nobody documents them
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, TypeVar

from drivers.api import Logged
from drivers.errors import DecodeError, Reject


class Tag(StrEnum):
    """First field of a documented line."""

    GAMMA_BACKGROUND = "GB"
    GAMMA_BACKGROUND_HIGH = "GH"
    GAMMA_BACKGROUND_LOW = "GL"
    NEUTRON_BACKGROUND = "NB"
    NEUTRON_BACKGROUND_HIGH = "NH"
    NEUTRON_BACKGROUND_LOW = "NL"
    GAMMA = "GS"
    GAMMA_ALARM = "GA"
    NEUTRON = "NS"
    NEUTRON_ALARM = "NA"
    END = "GX"
    SPEED = "SP"
    TAMPER = "TT"
    TAMPER_CLEARED = "TC"
    NEUTRON_BACKGROUND_EXACT = "NB1"
    GAMMA_SETUP_1 = "SG1"
    GAMMA_SETUP_2 = "SG2"
    GAMMA_SETUP_3 = "SG3"
    NEUTRON_SETUP_1 = "SN1"
    NEUTRON_SETUP_2 = "SN2"


@dataclass(frozen=True, slots=True)
class Counts:
    """Four counts (GS, GA: in 200 ms; NS, NA: in 1 s) or background rates (1/s)."""

    tag: Tag
    counts: tuple[int, ...]
    digits: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Rates:
    """NB1: neutron background of four detectors, 1/s."""

    rates: tuple[float, ...]
    digits: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class End:
    """GX: the occupancy ``number`` is over; neutron background in 1/1000 s, sum of four."""

    number: int
    neutron_background_milli: int


@dataclass(frozen=True, slots=True)
class Speed:
    """SP: seconds for one foot, and the speed in mile/h and km/h."""

    seconds: float
    mph: float
    kph: float
    digits: str = field(default="", compare=False)

    @property
    def is_clamped(self) -> bool:
        """Whether mph stands at the end of its scale: noise, not a speed."""
        return self.mph >= CLAMPED_MPH


@dataclass(frozen=True, slots=True)
class Tamper:
    """TT or TC."""

    active: bool


@dataclass(frozen=True, slots=True)
class Setup:
    """One set-up line, its fields as they came."""

    tag: Tag
    fields: tuple[str, ...]


Record = Counts | Rates | End | Speed | Tamper | Setup

CLAMPED_MPH: Final = 99.999
SETUP_FIELDS: Final[dict[Tag, tuple[str, ...]]] = {
    Tag.GAMMA_SETUP_1: (
        "gamma_high_fault",
        "gamma_low_fault",
        "intervals",
        "hold_in_intervals",
        "n_sigma",
        "",
    ),
    Tag.GAMMA_SETUP_2: (
        "detectors",
        "gamma_master_lower_level",
        "gamma_master_upper_level",
        "relay",
        "algorithm",
        "version",
    ),
    Tag.GAMMA_SETUP_3: (
        "gamma_slave_lower_level",
        "gamma_slave_upper_level",
        "background_time_s",
        "background_sigma",
        "firmware",
    ),
    Tag.NEUTRON_SETUP_1: (
        "neutron_high_fault",
        "neutron_max_intervals",
        "neutron_alpha",
        "neutron_z_max",
        "neutron_sequential_intervals",
        "neutron_background_time_s",
    ),
    Tag.NEUTRON_SETUP_2: (
        "neutron_master_lower_level",
        "neutron_master_upper_level",
        "neutron_slave_lower_level",
        "neutron_slave_upper_level",
        "",
    ),
}
"""Names of the set-up fields (MessageHandler.java; rpm_data1.txt); empty: a placeholder."""

_TAGS: Final = {tag.value.encode(): tag for tag in Tag}
_UNDOCUMENTED: Final = frozenset(b"AB1 AR AS AA AX AM AC NC NX NZ RW".split())
_FIELD_COUNT: Final = {tag: len(SETUP_FIELDS[tag]) if tag in SETUP_FIELDS else 4 for tag in Tag}
_TEXT_SETTINGS: Final = ("version", "firmware", "")
_LARGEST: Final = 10**12
"""A number beyond this is noise: six digits, or some more, are what portals send."""

_Number = TypeVar("_Number", int, float)

_INTEGER: Final = re.compile(rb"\d+")
_DECIMAL: Final = re.compile(rb"\d+(?:\.\d+)?")
_WORD: Final = re.compile(rb"[A-Za-z0-9.]+")
_HOST_TIME: Final = re.compile(
    rb",(?:\d\d-\d\d-\d\d\.\d{3}|(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}) ([+-]\d\d))\s*\Z"
)


def decode(line: bytes) -> Record:
    """The record of one line without its end; a host timestamp is dropped. Raises DecodeError."""
    name, *fields = _HOST_TIME.sub(b"", line).split(b",")
    tag = _TAGS.get(name)
    if tag is None:
        known = name in _UNDOCUMENTED
        raise DecodeError(Reject.UNSUPPORTED if known else Reject.UNKNOWN_TAG, line)
    if len(fields) != _FIELD_COUNT[tag]:
        detail = f"{tag} has {len(fields)} fields, not {_FIELD_COUNT[tag]}"
        raise DecodeError(Reject.FIELD_COUNT, line, detail)
    try:
        return _record(tag, fields)
    except ValueError as error:
        raise DecodeError(Reject.CONTENT, line, f"{tag}: {error}") from error


def encode(record: Record) -> bytes:
    """The line that says this, with its end, in the widths of the captures."""
    match record:
        case Counts(tag, counts):
            return _line(tag, *(f"{count:06d}" for count in counts))
        case Rates(rates):
            return _line(Tag.NEUTRON_BACKGROUND_EXACT, *(f"{rate:.8f}" for rate in rates))
        case End(number, milli):
            return _line(Tag.END, f"{number:06d}", f"{milli:06d}", "000000", "000000")
        case Speed(seconds, mph, kph):
            return _line(Tag.SPEED, f"{seconds:.4f}", f"{mph:06.3f}", f"{kph:06.2f}", "000000")
        case Tamper(active):
            tag, fields = (Tag.TAMPER, "000000") if active else (Tag.TAMPER_CLEARED, "111111")
            return _line(tag, *(fields,) * 4)
        case Setup(tag, words):
            return _line(tag, *words)


def read_log(lines: Iterable[bytes]) -> Iterator[Logged]:
    """Wire bytes of a log, line by line: the host's column is dropped, and kept as ``at``.

    Undated logs, and dates that do not exist, give None. A last line that lacks both the line
    end and the timestamp the others have was cut: it is left without an end, so it never decodes.
    """
    others_ended = False
    for number, line in enumerate(lines, start=1):
        ended = line.endswith(b"\n")
        text = line.rstrip(b"\r\n")
        stamp = _HOST_TIME.search(text)
        whole = ended or stamp is not None or not others_ended
        others_ended = others_ended or ended
        data = text[: stamp.start()] if stamp else text
        yield Logged(data + b"\r\n" if whole else data, _moment(stamp), number)


def _line(tag: Tag, *fields: str) -> bytes:
    return ",".join((tag, *fields)).encode("ascii") + b"\r\n"


def _record(tag: Tag, fields: list[bytes]) -> Record:
    match tag:
        case Tag.END:
            number, milli, _, _ = map(_integer, fields)
            return End(number, milli)
        case Tag.SPEED:
            seconds, mph, kph, _ = map(_decimal, fields)
            return Speed(seconds, mph, kph, fields[2].decode("ascii"))
        case Tag.TAMPER | Tag.TAMPER_CLEARED:
            for each in fields:
                _integer(each)
            return Tamper(tag is Tag.TAMPER)
        case Tag.NEUTRON_BACKGROUND_EXACT:
            return Rates(tuple(map(_decimal, fields)), _digits(fields))
        case _ if tag in SETUP_FIELDS:
            return Setup(tag, tuple(map(_setting, SETUP_FIELDS[tag], fields)))
        case _:
            return Counts(tag, tuple(map(_integer, fields)), _digits(fields))


def _digits(fields: list[bytes]) -> tuple[str, ...]:
    return tuple(each.decode("ascii") for each in fields)


def _integer(digits: bytes) -> int:
    if not _INTEGER.fullmatch(digits):
        raise ValueError(f"{digits!r} is not a count")
    return _bounded(int(digits), digits)


def _decimal(digits: bytes) -> float:
    if not _DECIMAL.fullmatch(digits):
        raise ValueError(f"{digits!r} is not a decimal number")
    return _bounded(float(digits), digits)


def _bounded(number: _Number, digits: bytes) -> _Number:
    if number > _LARGEST:
        raise ValueError(f"{digits!r} is too large")
    return number


def _setting(name: str, value: bytes) -> str:
    if name not in _TEXT_SETTINGS:
        _decimal(value)
    elif not _WORD.fullmatch(value):
        raise ValueError(f"{value!r} is not a word")
    return value.decode("ascii")


def _moment(stamp: re.Match[bytes] | None) -> datetime | None:
    if stamp is None or stamp[1] is None:
        return None
    text = (stamp[1] + b" " + stamp[2] + b"00").decode("ascii")
    try:
        return datetime.strptime(text, "%Y-%m-%d %H:%M:%S.%f %z").astimezone(UTC)
    except (ValueError, OverflowError):
        return None
