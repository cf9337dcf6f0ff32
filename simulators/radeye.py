"""A simulated RadEye: sleeps until ``@``, answers commands, streams a frame each second after X1.

After DT-029 E Rev. B (2016-10-04), chapters 2, 4 and 5.

Assumed, because no document says it: its averaging is a first-order filter, of counts and dose rate
alike; neither X1 nor what is averaged survives switching off, the dose does; a message of 4.12
stands on a line of its own. Not answered, because no document has the form: A, F, Z.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import ClassVar, Final

from drivers.radeye_frames import Layout, StreamFrame, encode, layout_of_kind
from simulators.api import Emission, Field
from simulators.device_clock import DeviceClock
from simulators.instrument_settings import Settings, filled
from simulators.power_watch import Powered, PowerWatch
from simulators.radeye_status import Facts, Says, status_of

NAME: Final = "thermo-radeye"
DEFAULT_START: Final = datetime(2026, 6, 1, 12, tzinfo=UTC)
_ANSWER_S: Final = 0.01
_COMMAND_TIMEOUT_S: Final = 2.0
"""The unit's own serial time out (DT-029, ARS): 2 s by default."""
_BATTERY_TEST_S: Final = 0.005
"""DT-029 4.12: the infrared link is off for a few ms."""
_STEPS: Final = 100
"""Digits of 1 µSv/h (DT-029 5.17.2: 0.01 µSv/h, 1 µR/h or 1 µrem/h) and of 1 cps or cpm."""
_LARGEST: Final = 9_999_999_999


@dataclass(frozen=True, slots=True)
class _Unit:
    """What its display is set to: code of the frame (5.17.9) and of ``uR`` (5.17.3.5)."""

    code: int
    display: int
    per_step: float
    counts_per_s: float = 0.0


UNITS: Final = {
    "µSv/h": _Unit(0, 5, 0.01),
    "µR/h": _Unit(2, 6, 1.0),
    "µrem/h": _Unit(10, 7, 1.0),
    "cpm": _Unit(3, 1, 0.01, 60.0),
    "cps": _Unit(5, 0, 0.01, 1.0),
}


@dataclass(frozen=True, slots=True)
class Setup:
    """Everything that can be set, with its default.

    ``kind`` is the type string of the frames and decides their layout. Times in s since the start,
    negative: never. ``answers_on_own_line`` puts CR LF between ``#`` and the data. ``unit`` is that
    of the display. ``status_bits`` are set all the time: 0x10 NBR alarm of a PRD; of a GN 0x20 fast
    neutrons, 0x40 NBR, 0x80 safety. ``battery_test_every_s`` 0: never. ``clock_ppm`` millionths is
    its clock (ZR) too fast, and it stands ``clock_offset_s`` ahead at the start.
    """

    kind: str = "FH41B2"
    model: str = "RadEye G"
    firmware: str = "3.05"
    serial: int = 4711
    unit: str = "µSv/h"
    battery_dv: int = 29
    averaging_s: float = 2.0
    noise: float = 0.03
    range_top_usv_h: float = 100_000.0
    alarm_usv_h: float = 20.0
    dose_alarm_usv: float = 1000.0
    neutron_alarm_cps: float = 5.0
    status_bits: int = 0
    battery_low: bool = False
    battery_test_every_s: int = 0
    calibrated: str = "250115"
    clock_offset_s: float = 0.0
    clock_ppm: float = 0.0
    blank_after_stx: bool = True
    answers_on_own_line: bool = False
    streams_at_start: bool = False
    off_at_s: float = -1.0
    on_at_s: float = -1.0


class RadEye:
    """One instrument in the hand of somebody."""

    states: ClassVar[frozenset[str]] = frozenset(
        {"over_range", "battery_low", "dead_channel", "frozen_value"}
    )

    def __init__(self, setup: Setup, rng: random.Random, start: datetime) -> None:
        self._setup = setup
        self._rng = rng
        self._clock = DeviceClock(start, setup.clock_offset_s, setup.clock_ppm)
        self._layout = layout_of_kind(setup.kind)
        if self._layout is Layout.GAMMA_V3 and self._generation < 3:
            self._layout = Layout.GAMMA_OLD
        self._unit = UNITS[setup.unit]
        self._on: set[str] = {"battery_low"} if setup.battery_low else set()
        self._power = PowerWatch()
        self._is_powered = True
        self._second = 0
        self._rate = self._count_rate = 0.0
        self._dose_usv = 0.0
        self._gamma = self._neutrons = 0
        self._last: tuple[bytes, Says] | None = None
        self._said_bye = False
        self._typed = bytearray()
        self._wake_up()

    def _wake_up(self) -> None:
        self._is_streaming = self._setup.streams_at_start
        self._awake_s: float | None = None
        self._has_measured = False

    def set_serial(self, serial: str) -> None:
        """Another unit answers."""
        self._setup = replace(self._setup, serial=int(serial))

    def set_state(self, name: str, *, on: bool) -> None:
        """One of ``states``: overload, low battery, a dead tube, the same frame for ever."""
        (self._on.add if on else self._on.discard)(name)

    def next_s(self) -> float:
        """The end of this second."""
        return float(self._second + 1)

    def advance(self, to_s: float, field: Field) -> Sequence[Emission]:
        """The frames and messages of the seconds that end up to ``to_s``."""
        emissions: list[Emission] = []
        while self._second + 1 <= to_s:
            self._second += 1
            at_s = float(self._second)
            self._look(at_s, field)
            if not self._is_powered or at_s <= self._power.since_s:
                continue
            self._measure(at_s, field)
            if not self._is_on(at_s):
                emissions += self._leave(at_s)
                continue
            emissions += self._test_battery(at_s)
            if self._is_streaming:
                emissions.append(self._frame(at_s))
        return emissions

    def receive(self, at_s: float, data: bytes, field: Field) -> Sequence[Emission]:
        """``>`` for ``@``, then the answer to a command line."""
        emissions = list(self.advance(at_s, field))
        self._look(at_s, field)
        if not self._is_powered or not self._is_on(at_s):
            return emissions
        for byte in data:
            emissions += self._type(at_s, bytes((byte,)))
        return emissions

    def _look(self, at_s: float, field: Field) -> None:
        powered = self._power.look(at_s, field)
        self._is_powered = powered is not Powered.OFF
        if powered is Powered.FRESH:
            self._wake_up()

    def _is_on(self, at_s: float) -> bool:
        off_s, on_s = self._setup.off_at_s, self._setup.on_at_s
        return off_s < 0 or at_s < off_s or 0 <= on_s <= at_s

    def _leave(self, at_s: float) -> list[Emission]:
        """CIAO once; whether X1 survives is not documented, here it does not."""
        if self._said_bye:
            return []
        self._said_bye = True
        self._is_streaming = False
        self._awake_s = None
        return [Emission(at_s, b"@CIAO\r", {"device_fault.switched_off": 1})]

    def _test_battery(self, at_s: float) -> list[Emission]:
        every_s = self._setup.battery_test_every_s
        if not every_s or self._second % every_s:
            return []
        begin_s = at_s - _BATTERY_TEST_S
        return [Emission(begin_s, b"BATM1\r\n"), Emission(at_s, b"BATM0\r\n")]

    # Commands.

    def _type(self, at_s: float, byte: bytes) -> list[Emission]:
        if self._awake_s is not None and at_s - self._awake_s > _COMMAND_TIMEOUT_S:
            self._awake_s = None
        if self._awake_s is None:
            if byte != b"@":
                return []
            self._awake_s = at_s
            self._typed.clear()
            return [Emission(at_s + _ANSWER_S, b">")]
        if byte != b"\n":
            self._typed += byte
            return []
        self._awake_s = None
        command = bytes(self._typed).strip(b"\r>").decode("ascii", "replace")
        return [Emission(at_s + _ANSWER_S, self._answer(command, at_s))]

    def _answer(self, command: str, at_s: float) -> bytes:
        if command in ("X0", "X1"):
            self._is_streaming = command == "X1"
            return b"#\r\n"
        text = self._data(command, at_s)
        if text is None:
            return b"?\r\n"
        gap = "\r\n" if self._setup.answers_on_own_line else ""
        return f"#{gap}{text}\r\n".encode("ascii")

    def _data(self, command: str, at_s: float) -> str | None:
        setup = self._setup
        fixed = {
            "Vx": f"{setup.model} V{setup.firmware} AB48",
            "#R": str(setup.serial),
            "Ux": str(setup.battery_dv),
            "x": "0",
            "t": "0",
            "tR": "20",
            "WR": setup.calibrated,
            "ARS": str(int(_COMMAND_TIMEOUT_S)),
        }
        if command in fixed:
            return fixed[command]
        match command:
            case "ZR":
                return f"{self._clock.at(at_s):%y%m%d%H%M%S}"
            case "uR" if self._generation >= 3:  # from V3 (5.17.3.5)
                return f"{self._unit.display:02X}"
            case "R" if self._layout not in (Layout.GN, Layout.AB100):
                return str(self._digits(self._rate, self._count_rate))
            case "D" if self._layout is not Layout.GN:
                return str(round(self._dose_usv * _STEPS))
            case "z" if self._layout is Layout.PRD:
                return str(round(self._count_rate))
            case "z" if self._layout is Layout.GAMMA_V3:
                return str(round(self._count_rate * _STEPS))
        return None

    # Measuring.

    def _measure(self, end_s: float, field: Field) -> None:
        is_dead = "dead_channel" in self._on
        true = 0.0 if is_dead else field.dose_rate(end_s)
        self._dose_usv += true / 3600
        self._gamma = 0 if is_dead else field.gamma_counts(end_s - 1, end_s)
        if self._layout is Layout.GN:
            self._neutrons = 0 if is_dead else field.neutron_counts(end_s - 1, end_s)
        averaging_s = self._setup.averaging_s
        share = 1.0
        if averaging_s > 0 and self._has_measured:
            share = -math.expm1(-1 / averaging_s)
        self._has_measured = True
        self._rate += share * (true - self._rate)
        self._count_rate += share * (self._gamma - self._count_rate)

    def _digits(self, usv_h: float, cps: float) -> int:
        unit = self._unit
        shown = cps * unit.counts_per_s if unit.counts_per_s else usv_h
        return min(round(shown * _STEPS), _LARGEST)

    def _frame(self, at_s: float) -> Emission:
        if "frozen_value" in self._on and self._last is not None:
            return Emission(at_s, *self._last)
        shown = self._rate * max(0.0, 1 + self._rng.gauss(0, self._setup.noise))
        is_over = "over_range" in self._on or shown > self._setup.range_top_usv_h
        numbers, says = self._fields(self._digits(shown, self._count_rate), is_over)
        status, states = self._status(round(shown * _STEPS) / _STEPS, is_over)
        dose = None if self._layout is Layout.GN else round(self._dose_usv * _STEPS)
        frame = StreamFrame(numbers, status, self._setup.kind, dose)
        data = encode(frame, blank=self._setup.blank_after_stx)
        self._last = data, {**says, **states}
        return Emission(at_s, *self._last)

    def _fields(self, digits: int, is_over: bool) -> tuple[tuple[int, int, int, int], Says]:
        """The four numbers, and what they say to a reader that knows the unit."""
        value = None if is_over else digits * self._unit.per_step
        if self._unit.per_step < 1 and value is not None:
            value = digits / _STEPS
        rate: Says = {"dose_rate": None if self._unit.counts_per_s else value}
        match self._layout:
            case Layout.GN:
                return (self._gamma, 560, self._neutrons, 544), {}
            case Layout.AB100:
                return (self._gamma, 0, 0, 0), {}
            case Layout.PRD if self._generation >= 3:
                counts = None if is_over else self._gamma
                return (digits, 2, self._gamma, 5), {**rate, "gamma_count_rate": counts}
            case Layout.GAMMA_V3:
                channel = "gamma_count_rate" if self._unit.counts_per_s else "dose_rate"
                return (digits, self._unit.code, 0, 0), {channel: value}
            case _:
                return (digits, 2, 0, 0), rate

    def _status(self, usv_h: float, is_over: bool) -> tuple[int, Says]:
        setup = self._setup
        facts = Facts(
            overload=is_over,
            rate_alarm=usv_h >= setup.alarm_usv_h or is_over,
            dose_alarm=self._dose_usv >= setup.dose_alarm_usv,
            neutron_alarm=self._neutrons >= setup.neutron_alarm_cps,
            battery_low="battery_low" in self._on,
        )
        return status_of(self._layout, facts, setup.status_bits)

    @property
    def _generation(self) -> int:
        return int(self._setup.firmware.partition(".")[0])


def create(settings: Settings, rng: random.Random, start: datetime | None = None) -> RadEye:
    """A RadEye with the settings of ``Setup``; ValueError for others."""
    setup = filled(Setup(), settings, NAME)
    if setup.unit not in UNITS:
        raise ValueError(f"unit {setup.unit!r} is not one of {', '.join(UNITS)}")
    try:
        return RadEye(setup, rng, start or DEFAULT_START)
    except KeyError:
        raise ValueError(f"kind {setup.kind!r} is no documented type of a RadEye") from None
