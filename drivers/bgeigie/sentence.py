"""Sentences of the bGeigie family: bytes to fields and back. The layouts stand in the package."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from drivers.codec.checksum import xor_sum
from drivers.errors import DecodeError, FrameError, Reject


class Pair(StrEnum):
    """What the two GPS quality fields mean."""

    HDOP_FIX = "HDOP, fix quality"
    HDOP100_SATELLITES = "HDOP × 100, satellites"
    SATELLITES_HDOP100 = "satellites, HDOP × 100"
    BY_FIRMWARE = "told by the firmware"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Model:
    """What a header says about the instrument; 1 µSv/h of Cs-137 is ``cpm_per_usv_h``."""

    name: str
    pair: Pair
    altitude_digits: int
    cpm_per_usv_h: float
    factor_source: str


_CPMF: Final = (334.0, "Safecast configuration key cpmf=334 (LND7317)")
_CZRA1: Final = (328.5, "juhele/CzechRad: cpm / 328.5 for $CZRA1")
MODELS: Final = {
    "BNRDD": Model("bGeigie Nano or Zen", Pair.BY_FIRMWARE, 2, *_CPMF),
    "BMRDD": Model("bGeigie Mini", Pair.HDOP_FIX, 1, *_CPMF),
    "BGRDD": Model("bGeigie Classic", Pair.HDOP_FIX, 1, *_CPMF),
    "BNXRDD": Model("bGeigie NX", Pair.HDOP_FIX, 1, *_CPMF),
    "CZRA1": Model("CzechRad", Pair.SATELLITES_HDOP100, 2, *_CZRA1),
    "CZRDD": Model("CzechRad", Pair.SATELLITES_HDOP100, 2, *_CPMF),
}


@dataclass(frozen=True, slots=True)
class Fix:
    """The GPS half of a sentence: signed degrees, metres, and the quality fields as sent."""

    latitude: float | None
    longitude: float | None
    altitude_m: float | None
    valid: bool
    quality: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sentence:
    """One radiation sentence; ``fix`` is None in the short form."""

    header: str
    device: str
    cpm: int
    cp5s: int
    total: int
    valid: bool
    time: str = ""
    fix: Fix | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """One NX status sentence, as far as anything is made of it."""

    device: str
    firmware: str
    temperature_c: int
    battery_mv: int
    header: str = "BNXRDD"


# Which characters a field may hold. A place or time of possible characters that is no place or time
# (firmware 1.0.0 once ran longitude and altitude together) costs itself only, not the counts.
_ID: Final = re.compile(r"[0-9A-Fa-fX]{0,10}")
_TIME: Final = re.compile(r"[0-9TZ:-]{0,32}")
_COUNT: Final = re.compile(r"[0-9]{1,10}")
_FLAG: Final = re.compile(r"[AV]")
_DECIMAL: Final = re.compile(r"-?[0-9.]{0,24}")
_NORTH: Final = re.compile(r"[NS]?")
_EAST: Final = re.compile(r"[EW]?")
_QUALITY: Final = re.compile(r"[0-9.]{0,8}")
_WHOLE: Final = re.compile(r"-?[0-9]{1,5}")
_VERSION: Final = re.compile(r"v[0-9]{1,3}(\.[0-9]{1,3}){1,3}")
_BIT: Final = re.compile(r"[01]")
_PLACE: Final = (_DECIMAL, _NORTH, _DECIMAL, _EAST)
_LONG: Final = (_ID, _TIME, _COUNT, _COUNT, _COUNT, _FLAG, *_PLACE, _DECIMAL, _FLAG)
_SHORT: Final = (_ID, _COUNT, _COUNT, _COUNT, _FLAG)
_STATE: Final = (_VERSION, _WHOLE, _WHOLE, _COUNT, re.compile("[0-9]{0,5}"), _BIT, _BIT, _BIT)
_STATUS: Final = (_ID, _TIME, *_PLACE)
_LAYOUTS: Final = {
    **{(header, 15): (*_LONG, _QUALITY, _QUALITY) for header in MODELS},
    ("BNXRDD", 16): (*_LONG, _QUALITY, _QUALITY, _QUALITY),
    ("BGRDD", 6): _SHORT,
    ("BNXSTS", 15): (*_STATUS, *_STATE),
    ("BNXSTS", 16): (*_STATUS, _COUNT, *_STATE),
}


_NUMBER: Final = re.compile(r"-?[0-9]{1,6}(\.[0-9]{1,3})?")
_ANGLE: Final = re.compile(r"-?([0-9]{1,5})(\.[0-9]{1,6})")


def decode(sentence: bytes) -> Sentence | Status:
    """One sentence from ``$`` to its checksum; raises FrameError or DecodeError."""
    body, star, digits = sentence[1:].rpartition(b"*")
    if sentence[:1] != b"$" or not star or re.fullmatch(rb"[0-9A-Fa-f]{2}", digits) is None:
        raise FrameError(Reject.SYNTAX, sentence, "not $ ... * and two hex digits")
    if int(digits, 16) != xor_sum(body):
        raise FrameError(Reject.CHECKSUM, sentence)
    header, *fields = body.decode("latin-1").split(",")
    if header == "PNTDD":
        raise DecodeError(Reject.UNSUPPORTED, sentence, "the layout of $PNTDD is not known")
    if header not in MODELS and header != "BNXSTS":
        raise DecodeError(Reject.UNKNOWN_TAG, sentence)
    layout = _LAYOUTS.get((header, 1 + len(fields)))
    if layout is None:
        raise DecodeError(Reject.FIELD_COUNT, sentence, f"{1 + len(fields)} fields")
    for number, (field, form) in enumerate(zip(fields, layout, strict=True), 1):
        if form.fullmatch(field) is None:
            raise DecodeError(Reject.CONTENT, sentence, f"field {number} is {field!r}")
    if header == "BNXSTS":
        return Status(fields[0], fields[-8], int(fields[-7]), int(fields[-5]))
    decoded = _short(header, fields) if layout is _SHORT else _long(header, fields)
    if decoded.cp5s > decoded.total or max(decoded.cpm, decoded.total) > 0xFFFFFFFF:
        raise DecodeError(Reject.CONTENT, sentence, "counts contradict each other")
    return decoded


def _short(header: str, fields: list[str]) -> Sentence:
    device, cp5s, cpm, total, flag = fields
    return Sentence(header, device, int(cpm), int(cp5s), int(total), flag == "A")


def _long(header: str, fields: list[str]) -> Sentence:
    device, time, cpm, cp5s, total, flag, *rest = fields
    fix = Fix(
        _degrees(rest[0], rest[1] == "S", 90.0) if rest[1] else None,
        _degrees(rest[2], rest[3] == "W", 180.0) if rest[3] else None,
        float(rest[4]) if _NUMBER.fullmatch(rest[4]) else None,
        rest[5] == "A",
        tuple(rest[6:]),
    )
    return Sentence(header, device, int(cpm), int(cp5s), int(total), flag == "A", time, fix)


def _degrees(text: str, negative: bool, limit: float) -> float | None:
    """Two digits left of the point are minutes. The hemisphere decides: TinyGPS adds a sign."""
    match = _ANGLE.fullmatch(text)
    if match is None:
        return None
    minutes = float(match[1][-2:] + match[2])
    degrees = int(match[1][:-2] or "0") + minutes / 60
    if minutes >= 60 or degrees > limit:
        return None
    return -degrees if negative else degrees


def encode(sentence: Sentence, *, padded: bool = True, lower: bool = False) -> bytes:
    """The sentence as its instrument writes it, without a line end.

    Degrees of longitude are unpadded before 2012-10-12 and on Zen; the Classic's checksum is lower.
    """
    counts = (sentence.cpm, sentence.cp5s, sentence.total)
    flag = "A" if sentence.valid else "V"
    fields: list[object]
    if sentence.fix is None:
        fields = [sentence.device, counts[1], counts[0], counts[2], flag]
    else:
        digits = MODELS[sentence.header].altitude_digits
        place = _encode_fix(sentence.fix, digits, padded)
        fields = [sentence.device, sentence.time, *counts, flag, *place]
    body = ",".join([sentence.header, *map(str, fields)]).encode("ascii")
    return b"$%s*" % body + (b"%02x" if lower else b"%02X") % xor_sum(body)


def _encode_fix(fix: Fix, altitude_digits: int, padded: bool) -> list[str]:
    north, south = _angle(fix.latitude, 2 if padded else 1), (fix.latitude or 0.0) < 0
    east, west = _angle(fix.longitude, 3 if padded else 1), (fix.longitude or 0.0) < 0
    altitude = "" if fix.altitude_m is None else f"{fix.altitude_m:.{altitude_digits}f}"
    flag = "A" if fix.valid else "V"
    return [north, "NS"[south], east, "EW"[west], altitude, flag, *fix.quality]


def _angle(degrees: float | None, width: int) -> str:
    if degrees is None:
        return ""
    whole, minutes = divmod(round(abs(degrees) * 600_000), 600_000)
    return f"{whole:0{width}d}{minutes / 10_000:07.4f}"
