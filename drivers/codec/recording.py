"""Recordings: what went over a link, as JSON lines.

    {"recording": 1, "driver": "gq-gmc", "link": "serial", "started": "2026-05-02T14:03:10.000Z"}
    {"t": 0.0, "link": "opened"}
    {"t": 1.234, "dir": "rx", "hex": "0d0a"}
    {"t": 1.301, "dir": "rx", "secret": true, "length": 256}
    {"t": 9.5, "lost": 12}
    {"t": 60.0, "end": "time"}

``t`` is seconds since the start, ``dir`` is ``rx`` (from the instrument) or ``tx`` (to it),
``hex`` the bytes; for Modbus the request and the answer without transport framing (PDU). A
secret answer has ``"secret": true``, how long it was, and no bytes. ``link`` says what became of
the link: ``opened``, ``closed``, and between ``identifying`` and ``identified`` it was asked who it
is. ``lost`` pieces could not be written. Only lines with ``dir`` are needed.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

FORMAT: Final = 1
"""What ``recording`` says in the first line."""
TIME_DIGITS: Final = 4
"""Of ``t`` after the point: finer than a byte at 115200 baud."""
LONGEST_S: Final = 1e9


class Kind(StrEnum):
    """What a line is about."""

    RECEIVED = "rx"
    SENT = "tx"
    OPENED = "opened"
    CLOSED = "closed"
    IDENTIFYING = "identifying"
    IDENTIFIED = "identified"
    LOST = "lost"
    END = "end"


BYTES: Final = frozenset((Kind.RECEIVED, Kind.SENT))
LINK: Final = frozenset((Kind.OPENED, Kind.CLOSED, Kind.IDENTIFYING, Kind.IDENTIFIED))


@dataclass(frozen=True, slots=True)
class Piece:
    """One line: bytes that went one way at one time (s since the start), or an event.

    ``count`` is how many bytes a secret had, or how many pieces are lost; ``text`` why it ends;
    ``line`` where it stands, from 1.
    """

    at_s: float
    kind: Kind
    data: bytes = b""
    secret: bool = False
    count: int = 0
    text: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class Header:
    """The first line: what was recorded, and what a reader must know to read it alike.

    ``identified`` is set where the instrument was asked who it is before ``started``: that
    conversation stands first, as if it had been then.
    """

    driver: str
    detector: str = ""
    detector_class: str = ""
    link: str = ""
    started: str = ""
    gateway: str = ""
    serial: str = ""
    identified: str = ""
    unit: str = ""
    options: Mapping[str, bool | int | float | str] = field(default_factory=dict)
    simulated: bool = False


@dataclass(frozen=True, slots=True)
class Recording:
    """A whole file."""

    header: Header | None
    pieces: tuple[Piece, ...]

    @property
    def duration_s(self) -> float:
        """When its last line is, in s since the start."""
        return max((piece.at_s for piece in self.pieces), default=0.0)


class BadRecording(ValueError):
    """A line that is not a piece of a recording; ``line`` counts from 1."""

    def __init__(self, line: int, detail: str) -> None:
        super().__init__(f"line {line}: {detail}")
        self.line = line


def read_recording(lines: Iterable[str]) -> Recording:
    """All of it; a last line that was cut off is left out. Raises BadRecording."""
    header: Header | None = None
    pieces: list[Piece] = []
    broken: BadRecording | None = None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        if broken is not None:
            raise broken
        try:
            if header is None and not pieces and is_header(line):
                header = _decode_header(number, line)
            else:
                pieces.append(decode_piece(number, line))
        except BadRecording as error:
            broken = error
    if broken is not None and not (pieces or header):
        raise broken
    return Recording(header, tuple(pieces))


def parse_recording(lines: Iterable[str]) -> Iterator[Piece]:
    """The bytes of a recording; secret ones and events are left out. Raises BadRecording."""
    for piece in read_recording(lines).pieces:
        if piece.kind in BYTES and not piece.secret:
            yield piece


def is_header(line: str) -> bool:
    """Whether this is how a recording with a header begins."""
    return line.lstrip().startswith('{"recording"')


def encode_header(header: Header) -> str:
    """The first line, without its end; what is not known is left out."""
    told: dict[str, Any] = {
        "recording": FORMAT,
        "driver": header.driver,
        "detector": header.detector,
        "class": header.detector_class,
        "link": header.link,
        "started": header.started,
        "gateway": header.gateway,
        "serial": header.serial,
        "identified": header.identified,
        "unit": header.unit,
        "options": dict(header.options),
        "simulated": header.simulated,
    }
    return json.dumps({name: value for name, value in told.items() if value})


def encode_piece(piece: Piece) -> str:
    """One line, without its end; never the bytes of a secret."""
    told: dict[str, Any] = {"t": round(piece.at_s, TIME_DIGITS)}
    if piece.kind in LINK:
        told["link"] = piece.kind
    elif piece.kind is Kind.LOST:
        told["lost"] = piece.count
    elif piece.kind is Kind.END:
        told["end"] = piece.text
    elif piece.secret:
        told |= {"dir": piece.kind, "secret": True, "length": piece.count}
    else:
        told |= {"dir": piece.kind, "hex": piece.data.hex()}
    return json.dumps(told)


def decode_piece(number: int, line: str) -> Piece:
    """The piece that stands on a line. Raises BadRecording."""
    try:
        return _decode(json.loads(line), number)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadRecording(number, f"a line needs t, dir and hex: {error}") from error


def _decode(record: Mapping[str, Any], number: int) -> Piece:
    at_s = float(record["t"])
    if not abs(at_s) <= LONGEST_S:
        raise ValueError(f"t is {at_s}")
    if "link" in record:
        kind = Kind(record["link"])
        if kind not in LINK:
            raise ValueError(f"link is {kind!r}")
        return Piece(at_s, kind, line=number)
    if "lost" in record:
        return Piece(at_s, Kind.LOST, count=int(record["lost"]), line=number)
    if "end" in record:
        return Piece(at_s, Kind.END, text=str(record["end"]), line=number)
    if record["dir"] not in ("rx", "tx"):
        raise ValueError(f"dir is {record['dir']!r}, not rx or tx")
    kind = Kind(record["dir"])
    if record.get("secret"):
        return Piece(at_s, kind, secret=True, count=int(record.get("length", 0)), line=number)
    return Piece(at_s, kind, bytes.fromhex(record["hex"]), line=number)


def _decode_header(number: int, line: str) -> Header:
    try:
        record = json.loads(line)
        if record["recording"] != FORMAT:
            raise ValueError(f"format {record['recording']!r} is not known, only {FORMAT}")
        options = {
            str(name): value
            for name, value in dict(record.get("options", {})).items()
            if isinstance(value, bool | int | float | str)
        }
        return Header(
            driver=str(record["driver"]),
            options=options,
            simulated=record.get("simulated") is True,
            detector_class=str(record.get("class", "")),
            **{name: str(record.get(name, "")) for name in _TEXTS},
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadRecording(number, f"no header of a recording: {error}") from error


_TEXTS: Final = ("detector", "link", "started", "gateway", "serial", "identified", "unit")
