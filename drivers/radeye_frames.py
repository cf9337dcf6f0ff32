"""Frames of the Thermo Scientific RadEye family: what streams after X1.

Source: Thermo Fisher, "Remote-Control Commands for RadEye", DT-029 E Rev. B (2016-10-04).
Verified: documented; that real frames carry a blank after STX is known from programs written
against real units (westpoint-robotics/radeye_detector, itsmevjnk/radeye_ros).

One frame each second (5.x.8, 5.x.9), fields separated by a blank:

    STX n1 n2 n3 n4 status TYPE [dose] BCC ETX CR LF

    PRD family        rate 2 0 0, or rate 2 cps 5           5.1.8, 5.3.9
    G old, DW, B/G20  rate 2 0 0        before V3           5.4.8, 5.8.8, 5.7.9
    G, B20, G20, GF   value unit 0 0    from V3             5.17.9
    AB100             alphabeta 0 alpha 0                   5.6.8
    GN, GN+           gamma dim neutron dim, without dose   5.18.8

- unit (5.17.9): 0 Sv/h, 1 Gy/h, 2 R/h, 3 cpm, 5 cps, 6 Bq, 7 dpm, 8 Bq/cm², 9 dps, 10 rem/h
- step (5.17.2, 5.17.6): 0.01 µSv/h, 1 µR/h, 1 µrem/h, 0.01 cps, 0.01 cpm; Gy/h is not documented
- BCC: sum of all bytes from STX to the blank before it, modulo 256. No captured frame proves it.

What has no number here, because no document gives it one; ``value`` is then None, the digits are
in ``raw``, the unit is empty:

- a rate before V3 and of a PRD, when neither ``uR`` nor the option ``unit`` says dose rate: the 2
  in these frames is a constant, whatever the display shows;
- count rates of GN and GN+ (cps or 0.01 cps, the document has both), unless ``gn_count_step``;
- doses other than the µR of a unit that shows R/h, unless ``dose_step_usv``;
- AB100: there is no channel for alpha and beta; its alarms and states are read.

Count rates of a B20 hold alpha and beta as well: flagged as indicative.

Under overload nothing of the frame is a number: the rate is over range, its lower bound is
``range_top_usv_h`` if configured; the dose is at least what it says.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from drivers.api import Channel, Flag, Quantity, Reading
from drivers.codec.checksum import byte_sum
from drivers.errors import DecodeError, FrameError, Reject
from drivers.units import Dimension, parse_unit

STX: Final = b"\x02"
ETX: Final = b"\x03"


class Layout(StrEnum):
    """How the fields of a frame are to be read."""

    PRD = "PRD"
    DW = "DW"
    GAMMA_OLD = "G, B20, G20 before V3"
    GAMMA_V3 = "G, B20, G20, GF from V3"
    AB100 = "AB100"
    GN = "GN"


_LAYOUTS: Final = {
    **dict.fromkeys(("FH41PR", "PRDER", "PRDS", "PRDERS"), Layout.PRD),
    **dict.fromkeys(
        ("FH41B2", "B20", "B20ER", "G20", "G20ER", "G2010", "G20ER1", "GF", "GF10"),
        Layout.GAMMA_V3,
    ),
    "REAB10": Layout.AB100,
    "REGDW": Layout.DW,
    "GN": Layout.GN,
    "GN+": Layout.GN,
}
_ALARM_BITS: Final = {
    Layout.PRD: {2: "rate", 3: "dose", 4: "nbr"},
    Layout.DW: {2: "rate", 3: "dose"},
    Layout.GAMMA_OLD: {2: "rate", 3: "dose"},
    Layout.GAMMA_V3: {2: "rate"},
    Layout.AB100: {2: "rate"},
    Layout.GN: {2: "gamma", 3: "neutron", 4: "dose", 5: "fast_neutron", 6: "nbr", 7: "safety"},
}
_OVERLOAD_BIT: Final = 1
_BATTERY_LOW_BIT: Final = 5

_SV_H, _R_H, _CPM, _CPS, _REM_H = 0, 2, 3, 5, 10
_UNIT_CODES: Final = range(11)
_STEPS: Final = {
    _SV_H: ("µSv/h", 100),
    _R_H: ("µR/h", 1),
    _REM_H: ("µrem/h", 1),
    _CPM: ("1/min", 100),
    _CPS: ("1/s", 100),
}
_CODE_OF_UNIT: Final = {"µSv/h": _SV_H, "µR/h": _R_H, "µrem/h": _REM_H}
_CODE_OF_DISPLAY: Final = {0: 5, 1: 3, 2: 6, 3: 9, 4: 7, 5: 0, 6: 2, 7: 10, 8: 8, 9: 1}
"""Low nibble of ``uR`` (5.17.3.5) to the code of the frame (5.17.9)."""
_SCALER_MODE: Final = 0x10


@dataclass(frozen=True, slots=True)
class StreamFrame:
    """The fields of one frame; ``dose`` is None for GN, ``bcc_right`` whether the sum agrees."""

    numbers: tuple[int, int, int, int]
    status: int
    kind: str
    dose: int | None
    bcc_right: bool = True


_NUMBER: Final = re.compile(rb"[0-9]{1,10}")
_TWO_HEX: Final = re.compile(rb"[0-9A-Fa-f]{2}")


def decode(frame: bytes) -> StreamFrame:
    """One frame from STX to ETX; CR LF behind it are allowed."""
    body, etx, tail = frame.partition(ETX)
    if not body.startswith(STX) or not etx or tail.strip(b"\r\n"):
        raise FrameError(Reject.SYNTAX, frame, "not STX ... ETX")
    tokens = [token for token in body[1:].split(b" ") if token]
    if len(tokens) < 7:
        raise FrameError(Reject.FIELD_COUNT, frame, f"{len(tokens)} fields")
    kind = tokens[5].decode("ascii", "backslashreplace")
    if kind not in _LAYOUTS:
        raise DecodeError(Reject.UNKNOWN_TAG, frame, f"instrument type {kind!r}")
    has_dose = _LAYOUTS[kind] is not Layout.GN
    if len(tokens) != 7 + has_dose:
        raise FrameError(Reject.FIELD_COUNT, frame, f"{len(tokens)} fields for {kind}")
    digits = [*tokens[:4], *tokens[6 : 6 + has_dose]]
    if not all(map(_NUMBER.fullmatch, digits)) or not all(
        map(_TWO_HEX.fullmatch, (tokens[4], tokens[-1]))
    ):
        raise FrameError(Reject.SYNTAX, frame, "a field is not a number")
    numbers = [int(text) for text in digits]
    summed = body[: body.rindex(tokens[-1])]
    return StreamFrame(
        (numbers[0], numbers[1], numbers[2], numbers[3]),
        int(tokens[4], 16),
        kind,
        numbers[4] if has_dose else None,
        int(tokens[-1], 16) == byte_sum(summed),
    )


def encode(frame: StreamFrame, *, blank: bool = True) -> bytes:
    """The frame as sent; ``blank`` after STX as real instruments do and DT-029 does not print."""
    fields = [*map(str, frame.numbers), f"{frame.status:02X}", frame.kind]
    if frame.dose is not None:
        fields.append(str(frame.dose))
    body = STX + (b" " if blank else b"") + " ".join(fields).encode("ascii") + b" "
    return body + b"%02X" % byte_sum(body) + ETX + b"\r\n"


@dataclass(frozen=True, slots=True)
class Conventions:
    """What a frame does not say: configured, or asked at the start.

    ``display`` is a unit code of 5.17.9, ``generation`` the firmware's major version.
    """

    quantity: Quantity = Quantity.AMBIENT_DOSE_EQUIVALENT_RATE
    display: int | None = None
    generation: int | None = None
    range_top_usv_h: float = 0.0
    dose_step_usv: float = 0.0
    gn_count_step: float = 0.0


def readings(frame: StreamFrame, conventions: Conventions) -> tuple[Reading, ...]:
    """What a frame says: rates, dose, alarms and faults."""
    layout = _layout(frame, conventions)
    code = frame.numbers[1] if layout is Layout.GAMMA_V3 else conventions.display
    is_over = bool(frame.status >> _OVERLOAD_BIT & 1)
    values: list[Reading] = []
    if layout is Layout.GN:
        values += _gn_rates(frame, conventions, is_over)
    elif layout is not Layout.AB100:
        values.append(_rate(frame, layout, code, conventions, is_over))
        if frame.numbers[3] == 5:
            values.append(_prd_count_rate(frame, is_over))
        values.append(_dose(frame, layout, code, conventions, is_over))
    return (*values, *_states(frame, layout))


def needs_unit(frame: StreamFrame, conventions: Conventions) -> bool:
    """Whether the rate of this frame has no unit unless somebody says which."""
    is_told = _layout(frame, conventions) in (Layout.GAMMA_V3, Layout.AB100)
    return not is_told and conventions.display is None


def layout_of_kind(kind: str) -> Layout:
    """The newest layout of an instrument type such as ``FH41B2``; KeyError if not documented."""
    return _LAYOUTS[kind]


def code_of_unit(unit: str) -> int:
    """The unit code of a configured unit; ValueError if no RadEye counts in it."""
    code = _CODE_OF_UNIT.get(parse_unit(unit).name)
    if code is None:
        raise ValueError(f"{unit!r} is none of {', '.join(_CODE_OF_UNIT)}")
    return code


def code_of_display(answer: int) -> int | None:
    """The unit code for an answer to ``uR``; None in scaler mode and where not documented."""
    return None if answer & _SCALER_MODE else _CODE_OF_DISPLAY.get(answer & 0x0F)


def _layout(frame: StreamFrame, conventions: Conventions) -> Layout:
    """The layout by type; of G, B20 and G20 the firmware decides, without one a unit code does."""
    layout, (_, unit, third, fourth) = _LAYOUTS[frame.kind], frame.numbers
    if layout is Layout.GAMMA_V3:
        generation = conventions.generation
        if (generation < 3) if generation is not None else unit == _R_H:
            layout = Layout.GAMMA_OLD
    expected = {
        Layout.GAMMA_V3: unit in _UNIT_CODES and unit != 4 and (third, fourth) == (0, 0),
        Layout.GN: True,
        Layout.AB100: unit == 0 and fourth == 0,
        Layout.PRD: unit == 2 and (fourth == 5 or (third, fourth) == (0, 0)),
    }
    if not expected.get(layout, (unit, third, fourth) == (2, 0, 0)):
        raise DecodeError(
            Reject.CONTENT, encode(frame), f"{frame.kind}: constants {unit} {third} {fourth}"
        )
    return layout


def _rate(
    frame: StreamFrame, layout: Layout, code: int | None, conventions: Conventions, is_over: bool
) -> Reading:
    step = _STEPS.get(code) if code is not None else None
    is_count = code in (_CPM, _CPS)
    if step is None or (is_count and layout is not Layout.GAMMA_V3):
        flags = (Flag.OVER_RANGE,) if is_over else ()
        return Reading(Channel.DOSE_RATE, None, "", flags=flags, raw=_raw(frame, 0, is_over))
    unit, divisor = step
    channel = Channel.GAMMA_COUNT_RATE if is_count else Channel.DOSE_RATE
    quantity = conventions.quantity
    if is_count:
        quantity = Quantity.GAMMA_COUNT_RATE
    elif code == _R_H:
        quantity = Quantity.EXPOSURE_RATE
    if is_over:
        bound = _range_top(unit, conventions)
        return _over(channel, unit, quantity, bound)
    value = frame.numbers[0] / divisor
    flags = (Flag.INDICATIVE,) if is_count and frame.kind.startswith("B20") else ()
    return Reading(channel, value, unit, quantity, flags, raw=_raw(frame, 0, is_over))


def _range_top(unit: str, conventions: Conventions) -> float | None:
    """The configured end of range in the unit of the frame; exposure is not converted."""
    known = parse_unit(unit)
    if not conventions.range_top_usv_h or known.dimension is not Dimension.DOSE_EQUIVALENT_RATE:
        return None
    return conventions.range_top_usv_h / known.factor


def _over(channel: Channel, unit: str, quantity: Quantity, bound: float | None) -> Reading:
    return Reading(
        channel, None, unit, quantity, (Flag.OVER_RANGE,), lower_bound=bound, raw="overload"
    )


def _raw(frame: StreamFrame, at: int, is_over: bool) -> str:
    return "overload" if is_over else f"{frame.numbers[at]} {frame.numbers[at + 1]}"


def _prd_count_rate(frame: StreamFrame, is_over: bool) -> Reading:
    if is_over:
        return _over(Channel.GAMMA_COUNT_RATE, "1/s", Quantity.GAMMA_COUNT_RATE, None)
    return Reading(
        Channel.GAMMA_COUNT_RATE,
        frame.numbers[2],
        "1/s",
        Quantity.GAMMA_COUNT_RATE,
        raw=_raw(frame, 2, is_over),
    )


def _gn_rates(frame: StreamFrame, conventions: Conventions, is_over: bool) -> Iterator[Reading]:
    is_known = conventions.display == _CPS and conventions.gn_count_step > 0
    for at, channel, quantity in (
        (0, Channel.GAMMA_COUNT_RATE, Quantity.GAMMA_COUNT_RATE),
        (2, Channel.NEUTRON_COUNT_RATE, Quantity.NEUTRON_COUNT_RATE),
    ):
        if is_over:
            yield _over(channel, "1/s", quantity, None)
        elif is_known:
            value = frame.numbers[at] * conventions.gn_count_step
            yield Reading(channel, value, "1/s", quantity, raw=_raw(frame, at, is_over))
        else:
            yield Reading(channel, None, "", raw=_raw(frame, at, is_over))


def _dose(
    frame: StreamFrame, layout: Layout, code: int | None, conventions: Conventions, is_over: bool
) -> Reading:
    number = frame.dose or 0
    value: float
    if code == _R_H and layout is not Layout.GAMMA_V3:
        value, unit, quantity = number, "µR", Quantity.EXPOSURE
    elif conventions.dose_step_usv > 0:
        value, unit = number * conventions.dose_step_usv, "µSv"
        quantity = (
            Quantity.PERSONAL_DOSE_EQUIVALENT
            if conventions.quantity is Quantity.PERSONAL_DOSE_EQUIVALENT_RATE
            else Quantity.AMBIENT_DOSE_EQUIVALENT
        )
    else:
        return Reading(Channel.DOSE, None, "", raw=str(number))
    if is_over:
        return _over(Channel.DOSE, unit, quantity, value)
    return Reading(Channel.DOSE, value, unit, quantity, raw=str(number))


def _states(frame: StreamFrame, layout: Layout) -> Iterator[Reading]:
    bits = _ALARM_BITS[layout]
    for bit, part in bits.items():
        yield _state(Channel.DEVICE_ALARM, frame.status >> bit & 1, part)
    known = 1 << _OVERLOAD_BIT | sum(1 << bit for bit in bits)
    if layout is not Layout.GN:
        known |= 1 << _BATTERY_LOW_BIT
        yield _state(Channel.DEVICE_FAULT, frame.status >> _BATTERY_LOW_BIT & 1, "battery_low")
    has_unknown = int(bool(frame.status & ~known))
    yield _state(Channel.DEVICE_FAULT, has_unknown, "undocumented_status", f"{frame.status:02X}")


def _state(channel: Channel, value: int, part: str, raw: str = "") -> Reading:
    return Reading(channel, value, "1", window_s=0.0, raw=raw, part=part)
