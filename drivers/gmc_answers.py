"""Answers of a GQ GMC: bytes to numbers and back.

Source: GQ-RFC1201 v1.40, GQ-RFC1801 v1.00; GETCPS of the small models after GeigerLog 1.5.0.
The protocol around them is described in ``drivers.gmc``.
"""

import re
from typing import Final

from drivers.errors import DecodeError, FrameError, Reject
from drivers.gmc_models import Volts

VERSION_BYTES: Final = (13, 19)
"""Shortest and longest answer to GETVER seen."""


def request(name: str) -> bytes:
    """A command without parameters, as sent."""
    return b"<" + name.encode("ascii") + b">>"


def decode_version(answer: bytes) -> tuple[str, str]:
    """Model and firmware of an answer to GETVER; a NUL inside (320+V5) reads as a blank."""
    match = re.fullmatch(rb"(?P<model>GMC-[ -~\0]*[!-~]) *Re *(?P<firmware>[!-~]+)", answer)
    if match is None or len(answer) > VERSION_BYTES[1]:
        raise FrameError(Reject.SYNTAX, answer[: 2 * VERSION_BYTES[1]], "not a version")
    model = match["model"].replace(b"\0", b" ").decode("ascii")
    return model, match["firmware"].decode("ascii")


def encode_version(model: str, firmware: str, *, blank: bool = True) -> bytes:
    """An answer to GETVER; the 800 has no blank before the firmware."""
    return f"{model}Re{' ' if blank else ''}{firmware}".encode("ascii")


def decode_cps(answer: bytes) -> int | None:
    """Counts of one second; None if the counter is full."""
    full = full_cps(len(answer))
    value = int.from_bytes(answer, "big") & full
    return None if value == full else value


def decode_cpm(answer: bytes) -> int | None:
    """Counts of a minute; None if the counter is full."""
    value = int.from_bytes(answer, "big")
    return None if value == full_cpm(len(answer)) else value


def encode_cps(value: int, width: int) -> bytes:
    """Counts of one second; what does not fit leaves the counter full."""
    return min(value, full_cps(width)).to_bytes(width, "big")


def encode_cpm(value: int, width: int) -> bytes:
    """Counts of a minute; what does not fit leaves the counter full."""
    return min(value, full_cpm(width)).to_bytes(width, "big")


def full_cps(width: int) -> int:
    """The largest count of a second: 14 bits of 2 bytes, or 32."""
    return 0x3FFF if width == 2 else 0xFFFFFFFF


def full_cpm(width: int) -> int:
    """The largest count of a minute."""
    return (1 << 8 * width) - 1


def decode_volts(answer: bytes) -> float:
    """Battery in V, from one byte or from text with or without NUL."""
    if len(answer) == 1:
        return answer[0] / 10
    match = re.fullmatch(rb"([0-9]{1,2}\.[0-9]{1,2})v\0?", answer)
    if match is None:
        raise DecodeError(Reject.CONTENT, answer, "not a voltage")
    return float(match[1])


def encode_volts(volts: float, form: Volts) -> bytes:
    """An answer to GETVOLT; empty for a model without it."""
    match form:
        case Volts.BYTE:
            return bytes((round(volts * 10),))
        case Volts.TEXT:
            return f"{volts:.1f}v\0".encode("ascii")
        case Volts.NONE:
            return b""
