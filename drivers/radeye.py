"""Thermo Scientific RadEye: PRD, G, B20, G20, GF, DW, AB100, GN families.

Source: Thermo Fisher, "Remote-Control Commands for RadEye", DT-029 E Rev. B (2016-10-04).
Verified: documented; tolerance for ``>`` and ``#`` anywhere before an answer after
ori-systems/lyra-radeye, ``@CIAO`` CR after itsmevjnk/radeye_ros.

Wire (ch. 2): 9600 baud 7E2; RTS asserted and DTR not, they power the infrared cable. ``@`` is
answered by ``>``, after at least 500 µs comes a command with LF, answered by ``#`` (accepted) or
``?`` (unknown), data, CR LF. Where ``#`` stands relative to CR LF is not specified.

Sent here, and nothing else: X0 (stop the frames), Vx (type and firmware), #R (serial number), uR
(display unit), Ux (battery, 0.1 V), x (dead time, ns), X1 (a frame each second). All of them read.
Frames are described in ``drivers.radeye_frames``. Frames and answers mix while it streams: what
begins with STX is a frame. The link is optical: lost and odd characters are normal operation.

Unsolicited (4.12): BATM1, BATM0 battery test; BT0 ... BTE Bluetooth cover; CIAO switched off by its
user, here the fault ``switched_off`` until frames come again.
"""

import re
from collections.abc import Generator, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from drivers.api import (
    Ask,
    Channel,
    Done,
    Drain,
    DriverInfo,
    Identity,
    More,
    Operation,
    Option,
    Options,
    Output,
    Quantity,
    Reading,
    Reopen,
    Sample,
    SerialLine,
    Verified,
)
from drivers.errors import (
    DecodeError,
    DriverError,
    ExchangeError,
    FrameError,
    Refused,
    Reject,
    ReplyTimeout,
)
from drivers.radeye_frames import (
    ETX,
    STX,
    Conventions,
    code_of_display,
    code_of_unit,
    decode,
    needs_unit,
    readings,
)

WAKE: Final = b"@"
READY: Final = b">"
_UNSOLICITED: Final = frozenset(
    (b"BATM1", b"BATM0", b"BT0", b"BT1", b"BT2", b"BT3", b"BTE", b"CIAO")
)
_WAKE_TIMEOUT_S: Final = 0.6
_BEFORE_COMMAND_S: Final = 0.005
"""DT-029 ch. 2 asks for 500 µs, lyra-radeye waits 5 ms."""
_ANSWER_TIMEOUT_S: Final = 2.0
"""The unit's own "serial time out" (ARS) is 2 s by default."""
_STOPPING_S: Final = 1.2
_NO_FRAME_S: Final = 3.0
_ATTEMPTS: Final = 3
_STRAY_LIMIT: Final = 10
_LONGEST: Final = 256
_BCC_CONFIRMED: Final = 10

_Talk = Generator[Operation, bytes, str]


def next_item(buffer: bytes) -> Done | More:
    """One frame, one ``>``, or one line of text; CR and LF before it belong to it."""
    start = len(buffer) - len(buffer.lstrip(b"\r\n"))
    end = (
        _frame_end(buffer, start) if buffer[start : start + 1] == STX else _text_end(buffer, start)
    )
    if end is None:
        return Done(len(buffer)) if len(buffer) > _LONGEST else More()
    return Done(end)


def _frame_end(buffer: bytes, start: int) -> int | None:
    ends = [
        at + skip
        for mark, skip in ((ETX, 1), (STX, 0), (b"\n", 1))
        if (at := buffer.find(mark, start + 1)) >= 0
    ]
    return min(ends, default=None)


def _text_end(buffer: bytes, start: int) -> int | None:
    if buffer[start : start + 1] == READY:
        return start + 1
    ends = [at for mark in (b"\r", b"\n", STX, READY) if (at := buffer.find(mark, start)) >= 0]
    return min(ends, default=None)


class RadEye:
    """One RadEye, across all its connections."""

    def __init__(self, options: Options) -> None:
        unit = str(options.get("unit", ""))
        self._unit_is_configured = bool(unit)
        self._conventions = Conventions(
            quantity=Quantity(str(options.get("quantity", Conventions().quantity))),
            display=code_of_unit(unit) if unit else None,
            range_top_usv_h=float(options.get("range_top_usv_h", 0.0)),
            dose_step_usv=float(options.get("dose_step_usv", 0.0)),
            gn_count_step=float(options.get("gn_count_step", 0.0)),
        )
        self._bcc = str(options.get("bcc", "report"))
        self._right_sums = 0
        self._pending: list[Output] = []
        self._failures = 0
        self._strays = 0
        self._is_off = False
        self._said_no_unit = False

    def identify(self) -> Generator[Operation, bytes, Identity]:
        """Stop the frames, ask who it is, start them again."""
        with suppress(ExchangeError):  # the questions below decide whether it listens
            yield from self._insist("X0")
        yield Drain(_STOPPING_S)
        model, firmware, settings = _version((yield from self._insist("Vx")))
        serial = yield from self._serial()
        display = yield from self._optional("uR", 16)
        battery = yield from self._optional("Ux", 10)
        dead_time = yield from self._optional("x", 10)
        self._learn(firmware, display)
        self._pending.clear()
        self._said_no_unit = False
        self._strays = 0
        yield from self._insist("X1")
        if battery is not None:
            reading = Reading(
                Channel.BATTERY, battery / 10, "V", window_s=0.0, raw=f"{battery} 0.1 V"
            )
            self._pending.append(Sample((reading,)))
        for name, value in (("uR", display), ("dead_time_ns", dead_time)):
            if value is not None:
                settings = (*settings, (name, str(value)))
        return Identity(model=model, serial=serial, firmware=firmware, settings=settings)

    def poll(self) -> Generator[Operation, bytes, Iterable[Output]]:
        """The next frame or message; after 3 s without one ask for frames again."""
        if self._pending:
            return self._delivered()
        try:
            item = yield Ask(b"", next_item, _NO_FRAME_S)
        except ReplyTimeout as error:
            return (yield from self._restart(error))
        self._take(item)
        if self._strays >= _STRAY_LIMIT:
            stray = ExchangeError(Reject.TIMEOUT, detail=f"no frame among {_STRAY_LIMIT} items")
            return (yield from self._restart(stray))
        return self._delivered()

    def _delivered(self) -> list[Output]:
        outputs, self._pending = self._pending, []
        return outputs

    def _restart(self, error: DriverError) -> Generator[Operation, bytes, list[Output]]:
        self._strays = 0
        self._failures += 1
        outputs: list[Output] = [*self._delivered(), error]
        if self._failures >= _ATTEMPTS:
            self._failures = 0
            yield Reopen()
            return outputs
        try:
            yield from self._command("X1")
        except ExchangeError as refusal:
            outputs.append(refusal)
        return outputs

    # What it says.

    def _take(self, item: bytes) -> None:
        """File one item of the stream: a frame, a message, or a reject."""
        plain = item.strip(b"\r\n")
        if plain.startswith(STX):
            self._take_frame(plain)
            return
        text = plain.lstrip(WAKE + READY)
        if text == b"CIAO":
            self._is_off = True
            self._pending.append(Sample((_switched_off(1),)))
        elif text and text not in _UNSOLICITED:
            self._strays += 1
            self._pending.append(FrameError(Reject.UNEXPECTED, plain, "neither frame nor message"))

    def _take_frame(self, data: bytes) -> None:
        self._strays += 1
        try:
            frame = decode(data)
            values = readings(frame, self._conventions)
        except DriverError as error:
            self._pending.append(error)
            return
        self._strays = self._failures = 0
        if frame.bcc_right:
            self._right_sums += 1
        else:
            self._pending.append(FrameError(Reject.CHECKSUM, data, "BCC"))
            if self._rejects_wrong_sums():
                return
        if self._is_off:
            self._is_off = False
            values = (*values, _switched_off(0))
        self._pending.append(Sample(values))
        if needs_unit(frame, self._conventions) and not self._said_no_unit:
            self._said_no_unit = True
            detail = "the unit of this frame is not known: set the option unit"
            self._pending.append(DecodeError(Reject.UNSUPPORTED, data, detail))

    def _rejects_wrong_sums(self) -> bool:
        return self._bcc == "reject" or (
            self._bcc == "confirmed" and self._right_sums >= _BCC_CONFIRMED
        )

    def _learn(self, firmware: str | None, display: int | None) -> None:
        self._conventions = replace(
            self._conventions,
            generation=int(firmware.partition(".")[0]) if firmware else None,
        )
        if not self._unit_is_configured:
            code = code_of_display(display) if display is not None else None
            self._conventions = replace(self._conventions, display=code)

    # What it is asked.

    def _serial(self) -> Generator[Operation, bytes, str | None]:
        try:
            text = yield from self._insist("#R")
        except Refused:
            return None
        if re.fullmatch(r"[0-9]{1,5}", text) is None or int(text) > 0xFFFF:
            raise DecodeError(Reject.CONTENT, text.encode(), "serial number is not 0 to 65535")
        return str(int(text))

    def _optional(self, command: str, base: int) -> Generator[Operation, bytes, int | None]:
        """The number an instrument answers, None if it does not or it is none."""
        try:
            text = yield from self._insist(command)
            return int(text, base)
        except (DriverError, ValueError):
            return None

    def _insist(self, command: str) -> _Talk:
        for _ in range(_ATTEMPTS - 1):
            try:
                return (yield from self._command(command))
            except ReplyTimeout:
                continue
        return (yield from self._command(command))

    def _command(self, command: str) -> _Talk:
        """Wake it, ask, and return the data; empty for X0 and X1."""
        yield from self._wake()
        wants_data = not command.startswith("X")
        item = yield Ask(command.encode("ascii") + b"\n", next_item, _ANSWER_TIMEOUT_S)
        for _ in range(_STRAY_LIMIT):
            text = item.strip(b"\r\n").lstrip(WAKE + READY)
            if text.startswith(STX) or text in _UNSOLICITED:
                self._take(item)
                if not wants_data:
                    return ""
            elif text == b"?":
                raise Refused(ord("?"), f"{command}: unknown command")
            elif data := text.lstrip(b"# "):
                return _printable(data)
            elif text and not wants_data:
                return ""
            item = yield Ask(b"", next_item, _ANSWER_TIMEOUT_S)
        raise ReplyTimeout(detail=f"{command}: no answer among {_STRAY_LIMIT} items")

    def _wake(self) -> Generator[Operation, bytes, None]:
        request = WAKE
        for _ in range(_STRAY_LIMIT):
            item = yield Ask(request, next_item, _WAKE_TIMEOUT_S)
            if item.strip(b"\r\n") == READY:
                yield Drain(_BEFORE_COMMAND_S)
                return
            self._take(item)
            request = b""
        raise ReplyTimeout(detail=f"no > among {_STRAY_LIMIT} items")


def _version(text: str) -> tuple[str, str | None, tuple[tuple[str, str], ...]]:
    """Model, firmware and further settings of an answer such as ``RadEye PRD V1.52 AB48``."""
    match = re.fullmatch(r"(?P<model>\S.*?) +V(?P<firmware>[0-9]+\.[0-9]+\S*)(?P<rest>.*)", text)
    if match is None:
        return text, None, ()
    rest = match["rest"].strip()
    return match["model"], match["firmware"], (("firmware_checksum", rest),) if rest else ()


def _printable(data: bytes) -> str:
    if not all(0x20 <= byte < 0x7F for byte in data):
        raise DecodeError(Reject.CONTENT, data, "an answer is printable text")
    return data.decode("ascii").strip()


def _switched_off(value: int) -> Reading:
    return Reading(Channel.DEVICE_FAULT, value, "1", window_s=0.0, part="switched_off")


DRIVER: Final = DriverInfo(
    name="thermo-radeye",
    title="Thermo Scientific RadEye",
    contract="asker",
    classes=("Personal Radiation Detector", "Gamma Handheld", "Neutron Handheld", "Other"),
    links=("serial", "tcp"),
    channels=(
        Channel.DOSE_RATE,
        Channel.DOSE,
        Channel.GAMMA_COUNT_RATE,
        Channel.NEUTRON_COUNT_RATE,
        Channel.BATTERY,
        Channel.DEVICE_ALARM,
        Channel.DEVICE_FAULT,
    ),
    source="Thermo Fisher Scientific, Remote-Control Commands for RadEye, DT-029 E Rev. B (2016)",
    verified=Verified.DOCUMENTED,
    silence_s=1.0,
    create=RadEye,
    serial=SerialLine(9600, bits=7, parity="E", stop=2, rts=True, dtr=False),
    options=(
        Option(
            "unit",
            "",
            "unit of the rate of models whose frames do not carry it; empty: ask the instrument",
            choices=("", "µSv/h", "µR/h", "µrem/h"),
        ),
        Option(
            "quantity",
            Quantity.AMBIENT_DOSE_EQUIVALENT_RATE.value,
            "what Sv/h and rem/h mean; R/h is always an exposure rate",
            choices=(
                Quantity.AMBIENT_DOSE_EQUIVALENT_RATE.value,
                Quantity.PERSONAL_DOSE_EQUIVALENT_RATE.value,
            ),
        ),
        Option("range_top_usv_h", 0.0, "end of range in µSv/h, told under overload; 0: not known"),
        Option("dose_step_usv", 0.0, "µSv for one digit of the dose, compared with the display"),
        Option("gn_count_step", 0.0, "cps for one digit of a GN or GN+, compared with the display"),
        Option(
            "bcc",
            "report",
            "a wrong BCC: count it and keep the frame, reject the frame, or reject it as soon as "
            "ten right ones have confirmed the rule",
            choices=("report", "reject", "confirmed"),
        ),
    ),
)
