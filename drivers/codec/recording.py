"""Recordings: what went over a link, as JSON lines.

    {"t": 1.234, "dir": "rx", "hex": "0d0a"}

``t`` is seconds since the start, ``dir`` is ``rx`` (from the instrument) or ``tx`` (to it),
``hex`` the bytes; for Modbus the request and the answer without transport framing (PDU). A
secret answer has ``"secret": true`` and no bytes.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes that went one way at one time (s since the start)."""

    at_s: float
    received: bool
    data: bytes


class BadRecording(ValueError):
    """A line that is not a piece of a recording; ``line`` counts from 1."""

    def __init__(self, line: int, detail: str) -> None:
        super().__init__(f"line {line}: {detail}")
        self.line = line


def parse_recording(lines: Iterable[str]) -> Iterator[Piece]:
    """Pieces of a recording; secret ones are left out. Raises BadRecording."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        piece = _parse(number, line)
        if piece is not None:
            yield piece


def _parse(number: int, line: str) -> Piece | None:
    try:
        record = json.loads(line)
        if record.get("secret"):
            return None
        at_s, direction, data = float(record["t"]), record["dir"], bytes.fromhex(record["hex"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadRecording(number, f"a line needs t, dir and hex: {error}") from error
    if direction not in ("rx", "tx"):
        raise BadRecording(number, f"dir is {direction!r}, not rx or tx")
    return Piece(at_s, direction == "rx", data)
