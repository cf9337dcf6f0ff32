"""A simulated RadEye: sleeps until ``@``, answers commands, streams a frame each second after X1.

After DT-029 E Rev. B (2016-10-04), chapters 2, 4 and 5. Its averaging is
a first-order filter; what a real unit uses is not documented.
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from drivers.radeye_frames import Layout, StreamFrame, encode, layout_of_kind
from simulators.api import Emission, Field

_ANSWER_S: Final = 0.01
_COMMAND_TIMEOUT_S: Final = 2.0
"""The unit's own serial time out (DT-029, ARS): 2 s by default."""
_PER_USV_H: Final = 100
"""Digits of a rate: 0.01 µSv/h (DT-029 5.17.2)."""
_SV_H_CODE: Final = 0
_SV_H_DISPLAY: Final = "05"
_LARGEST: Final = 9_999_999_999

Settings = Mapping[str, bool | int | float | str]


@dataclass(frozen=True, slots=True)
class Setup:
    """Everything that can be set, with its default.

    ``kind`` is the type string of the frames and decides their layout. Times in s since the start,
    negative: never. ``answers_on_own_line`` puts CR LF between ``#`` and the data.
    """

    kind: str = "FH41B2"
    model: str = "RadEye G"
    firmware: str = "3.05"
    serial: int = 4711
    battery_dv: int = 29
    averaging_s: float = 2.0
    noise: float = 0.03
    range_top_usv_h: float = 100_000.0
    alarm_usv_h: float = 20.0
    dose_alarm_usv: float = 1000.0
    neutron_alarm_cps: float = 5.0
    battery_low: bool = False
    blank_after_stx: bool = True
    answers_on_own_line: bool = False
    streams_at_start: bool = False
    off_at_s: float = -1.0
    on_at_s: float = -1.0


class RadEye:
    """One instrument in the hand of somebody."""

    def __init__(self, setup: Setup, rng: random.Random) -> None:
        self._setup = setup
        self._rng = rng
        self._layout = layout_of_kind(setup.kind)
        self._now = 0.0
        self._second = 0
        self._rate = 0.0
        self._dose_usv = 0.0
        self._gamma = 0
        self._neutrons = 0
        self._is_streaming = setup.streams_at_start
        self._said_bye = False
        self._awake_s: float | None = None
        self._typed = bytearray()

    def set_serial(self, serial: str) -> None:
        """Another unit answers."""
        self._setup = replace(self._setup, serial=int(serial))

    def advance(self, to_s: float, field: Field) -> Sequence[Emission]:
        """The frames of the seconds that end up to ``to_s``."""
        emissions: list[Emission] = []
        self._now = max(self._now, to_s)
        while self._second + 1 <= to_s:
            self._measure(field)
            at_s = float(self._second)
            if not self._is_on(at_s):
                emissions += self._leave(at_s)
            elif self._is_streaming:
                emissions.append(self._frame(at_s))
        return emissions

    def receive(self, at_s: float, data: bytes, field: Field) -> Sequence[Emission]:
        """``>`` for ``@``, then the answer to a command line."""
        emissions = list(self.advance(at_s, field))
        if not self._is_on(at_s):
            return emissions
        for byte in data:
            emissions += self._type(at_s, bytes((byte,)))
        return emissions

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
        return [Emission(at_s + _ANSWER_S, self._answer(command))]

    def _answer(self, command: str) -> bytes:
        if command in ("X0", "X1"):
            self._is_streaming = command == "X1"
            return b"#\r\n"
        text = self._data(command)
        if text is None:
            return b"?\r\n"
        gap = "\r\n" if self._setup.answers_on_own_line else ""
        return f"#{gap}{text}\r\n".encode("ascii")

    def _data(self, command: str) -> str | None:
        setup = self._setup
        return {
            "Vx": f"{setup.model} V{setup.firmware} AB48",
            "#R": str(setup.serial),
            "uR": _SV_H_DISPLAY if self._generation >= 3 else None,  # from V3 (5.17.3.5)
            "Ux": str(setup.battery_dv),
            "x": "0",
            "t": "0",
            "tR": "20",
            "ARS": str(int(_COMMAND_TIMEOUT_S)),
        }.get(command)

    # Measuring.

    def _measure(self, field: Field) -> None:
        begin, end = float(self._second), float(self._second + 1)
        self._second += 1
        true = field.dose_rate(end)
        self._dose_usv += true / 3600
        self._gamma = field.gamma_counts(begin, end)
        if self._layout is Layout.GN:
            self._neutrons = field.neutron_counts(begin, end)
        averaging_s = self._setup.averaging_s
        share = 1 - math.exp(-1 / averaging_s) if averaging_s > 0 and begin > 0 else 1.0
        self._rate += share * (true - self._rate)

    def _frame(self, at_s: float) -> Emission:
        shown = self._rate * max(0.0, 1 + self._rng.gauss(0, self._setup.noise))
        is_over = shown > self._setup.range_top_usv_h
        digits = min(round(shown * _PER_USV_H), _LARGEST)
        dose = round(self._dose_usv * _PER_USV_H)
        numbers, says = self._fields(digits, is_over)
        status, states = self._status(digits / _PER_USV_H, is_over)
        frame = StreamFrame(
            numbers, status, self._setup.kind, None if self._layout is Layout.GN else dose
        )
        data = encode(frame, blank=self._setup.blank_after_stx)
        return Emission(at_s, data, {**says, **states})

    def _fields(
        self, digits: int, is_over: bool
    ) -> tuple[tuple[int, int, int, int], dict[str, float | int | str | None]]:
        """The four numbers, and what they say to a reader that knows the unit is Sv/h."""
        rate = None if is_over else digits / _PER_USV_H
        counts = None if is_over else self._gamma
        match self._layout:
            case Layout.GN:
                return (self._gamma, 560, self._neutrons, 544), {}
            case Layout.AB100:
                return (self._gamma, 0, 0, 0), {}
            case Layout.PRD if self._generation >= 3:
                return (digits, 2, self._gamma, 5), {"dose_rate": rate, "gamma_count_rate": counts}
            case Layout.GAMMA_V3 if self._generation >= 3:
                return (digits, _SV_H_CODE, 0, 0), {"dose_rate": rate}
            case _:
                return (digits, 2, 0, 0), {"dose_rate": rate}

    @property
    def _generation(self) -> int:
        return int(self._setup.firmware.partition(".")[0])

    def _status(
        self, rate: float, is_over: bool
    ) -> tuple[int, dict[str, float | int | str | None]]:
        setup = self._setup
        is_alarm = rate >= setup.alarm_usv_h or is_over
        if self._layout is Layout.GN:
            is_neutron = self._neutrons >= setup.neutron_alarm_cps
            status = is_over << 1 | is_alarm << 2 | is_neutron << 3
            return status, {
                "device_alarm.gamma": int(is_alarm),
                "device_alarm.neutron": int(is_neutron),
            }
        status = is_over << 1 | is_alarm << 2 | setup.battery_low << 5
        says: dict[str, float | int | str | None] = {
            "device_alarm.rate": int(is_alarm),
            "device_fault.battery_low": int(setup.battery_low),
        }
        if self._layout in (Layout.PRD, Layout.DW):
            is_dose = self._dose_usv >= setup.dose_alarm_usv
            status |= is_dose << 3
            says["device_alarm.dose"] = int(is_dose)
        return status, says


def create(settings: Settings, rng: random.Random, start: datetime | None = None) -> RadEye:
    """A RadEye with the settings of ``Setup``, whose defaults hold for what is not named."""
    defaults = Setup()
    values = {name: type(getattr(defaults, name))(value) for name, value in settings.items()}
    return RadEye(Setup(**values), rng)
