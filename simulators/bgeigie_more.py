"""Sentences of the bGeigie family beside the usual ones: damaged as in public logs, NX status.

Source: damaged logs in Safecast/safecastapi 6cf36124 (bgeigie_with_corruption.log,
malformed_bgeigie.log, bgeigie_with_tinygps_bug.log) and jose-d/radiation-toolbox-reader 0ffa90e5
(sample_invalid_time.log); status after bGeigie3 of Safecast/bGeigieMini 00339791.
"""

from collections.abc import Callable
from typing import Final

from drivers.codec.checksum import xor_sum

NX_FIRMWARE: Final = "v3.0.3"
_TIME, _LATITUDE, _LONGITUDE, _EAST, _ALTITUDE, _FIXED = 2, 7, 9, 10, 11, 12
_FIELDS: Final = 15


def _summed(fields: list[bytes]) -> bytes:
    body = b",".join(fields)
    return b"$%s*%02X" % (body, xor_sum(body))


def _cut(text: bytes, fields: list[bytes]) -> bytes:
    """It ends before its checksum."""
    return text[: text.rindex(b"*") - 4]


def _time(text: bytes, fields: list[bytes]) -> bytes:
    """An impossible time under a right checksum, and no fix."""
    fields[_TIME] = fields[_TIME].partition(b"T")[0] + b"T110:53:93Z"
    fields[_FIXED] = b"V"
    return _summed(fields)


def _paired(text: bytes, fields: list[bytes]) -> bytes:
    """Two bytes lost or got the same bit, so that the checksum is right all the same."""
    fields[_LONGITUDE] = fields[_LONGITUDE].replace(b".", b">")
    fields[_EAST] = bytes((fields[_EAST][0] ^ 0x10,))
    return b"$" + b",".join(fields) + text[text.rindex(b"*") :]


def _header(text: bytes, fields: list[bytes]) -> bytes:
    """A letter of the header in lower case, and the checksum of the right one."""
    fields[0] = fields[0][:-2] + fields[0][-2:-1].lower() + fields[0][-1:]
    return b"$" + b",".join(fields) + text[text.rindex(b"*") :]


def _altitude(text: bytes, fields: list[bytes]) -> bytes:
    """The beginning of another sentence inside the altitude, under a right checksum."""
    fields[_ALTITUDE] = b"464$GPR"
    return _summed(fields)


def _sign(text: bytes, fields: list[bytes]) -> bytes:
    """A sign and a hemisphere, as a fault of TinyGPS had it."""
    if fields[_EAST] == b"W":
        fields[_LONGITUDE] = b"-" + fields[_LONGITUDE]
    return _summed(fields)


_DAMAGES: Final[tuple[tuple[Callable[[bytes, list[bytes]], bytes], bool], ...]] = (
    (_cut, False),
    (_time, True),
    (_paired, False),
    (_header, False),
    (_altitude, False),
    (_sign, True),
)


def damaged(text: bytes, number: int) -> tuple[bytes, bool]:
    """The sentence with the next kind of damage; whether its counts may still be believed."""
    fields = text[1 : text.rindex(b"*")].split(b",")
    damage, is_kept = _DAMAGES[number % len(_DAMAGES)]
    if len(fields) < _FIELDS:
        damage, is_kept = _DAMAGES[0]
    return damage(text, fields), is_kept


def status_line(
    text: bytes, satellites: int | None, temperature_c: int, battery_mv: int, firmware: str = ""
) -> bytes:
    """$BNXSTS of the instrument that said ``text``; humidity 50 %, no high voltage, card works."""
    _, device, time, *_ = fields = text[1 : text.rindex(b"*")].split(b",")
    place = fields[_LATITUDE : _EAST + 1]
    tail: list[object] = [] if satellites is None else [satellites]
    tail += [firmware or NX_FIRMWARE, temperature_c, 50, battery_mv, "", 1, 1, 1]
    return _summed([b"BNXSTS", device, time, *place, *(str(each).encode() for each in tail)])
