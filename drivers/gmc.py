"""GQ Electronics GMC series: 300, 300S, 320, 500, 500+, 510, 600+, 800, SE.

Source: GQ-RFC1201 v1.40 (2015-01), GQ-RFC1801 v1.00 (2018-04), both as stored in pygmc 0.14.1;
what they leave out after GeigerLog 1.5.0 (gdev_gmc.py). Models: ``drivers.gmc_models``.
Verified: captured, replies of a 300S, 320+, 500+ and 800 in pygmc's tests.

Wire: 115200 8N1 by factory default (older 300: 57600). The host sends ``<NAME>>``; the answer has
no header, length, checksum or end, and may hold any byte. Counts are big-endian, 2 or 4 bytes.

    GETVER    text; model and firmware stand before and behind its last "Re"
    GETSERIAL 7 bytes, here 14 upper-case hex digits
    GETCPS    counts of the last whole second; of 2 bytes only the low 14 bits
    GETCPM    counts of the last 60 s, both tubes of a 500+ together
    GETVOLT   1 byte of 0.1 V, or text such as "4.0v" and NUL
    GETCFG    256 or 512 bytes; with Wi-Fi passwords in clear, so it is asked as secret

The primary reading is GETCPS: counts nobody has smoothed. It is not independent (the counter's
second is not ours, one may be read twice or missed). GETCPM is the part ``cpm``: 60 s for nobody
to wait for, and where Fast Estimate Time is on an extrapolation from an unknown, shorter time.
Dose rate is never transmitted; the calibration points of GETCFG go with the identity.

All bits of a counter set is a full counter: no number, over range.

The heartbeat (an unframed count each second) looks like answers. It is only stopped with the
permission ``heartbeat_off``; without it, an instrument that keeps talking is refused with an
error that says so. Bytes that wait before a request, or follow an answer, cost the whole cycle.
The first sample after opening is dropped: after power-on it may be very large and wrong.
"""

import re
from collections.abc import Callable, Generator, Iterable
from typing import Final, TypeVar

from drivers.api import (
    Ask,
    Channel,
    Done,
    Drain,
    DriverInfo,
    Flag,
    Identity,
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
from drivers.codec.until import quiet
from drivers.errors import (
    DriverError,
    ExchangeError,
    Reject,
    ReplyTimeout,
)
from drivers.gmc_answers import (
    VERSION_BYTES,
    decode_cpm,
    decode_cps,
    decode_version,
    decode_volts,
    full_cpm,
    full_cps,
    request,
)
from drivers.gmc_models import (
    UNKNOWN,
    Model,
    Volts,
    cpm_window_s,
    decode_calibration,
    model_of,
)

PERMISSION: Final = "heartbeat_off"
_DATA_TIMEOUT_S: Final = 0.5
_CONFIGURATION_TIMEOUT_S: Final = 3.0
_VERSION_QUIET_S: Final = 0.05
_WIDTH_QUIET_S: Final = 0.15
_SETTLE_S: Final = 0.02
"""How long an answer must stand alone: what is glued behind it spoils it."""
_PAUSE_S: Final = 0.5
_HEARTBEAT_S: Final = 1.2
_ATTEMPTS: Final = 3
_VOLTS_EVERY: Final = 60

_R = TypeVar("_R")
_Answering = Generator[Operation, bytes, _R]


class Gmc:
    """One GMC, across all its connections."""

    def __init__(self, options: Options) -> None:
        self._may_stop_heartbeat = bool(options.get(f"permission.{PERMISSION}", False))
        self._fixed_width = int(options.get("cpm_width", 0))
        self._drops_first = bool(options.get("drop_first", True))
        self._model: Model = UNKNOWN
        self._width = self._fixed_width or 2
        self._cpm_window_s: float | None = None
        self._drop = False
        self._is_unsure = False
        self._disturbances = 0
        self._failures = 0
        self._cycle = 0

    def identify(self) -> _Answering[Identity]:
        """Silence, version, serial number, width of counts, calibration."""
        yield from self._expect_silence()
        name, firmware = decode_version((yield from self._version()))
        if firmware == "RADP":
            raise ExchangeError(Reject.UNSUPPORTED, detail="Rad Pro firmware has its own protocol")
        self._model = model = model_of(name, _number(firmware))
        serial = yield from self._insist(lambda: self._exact("GETSERIAL", 7))
        self._width = yield from self._find_width()
        configuration = yield from self._configuration()
        self._cpm_window_s = cpm_window_s(configuration, model)
        self._drop = self._drops_first
        self._is_unsure = False
        self._disturbances = self._failures = self._cycle = 0
        return Identity(
            model=name,
            serial=None if serial in (bytes(7), b"\xff" * 7) else serial.hex().upper(),
            firmware=firmware,
            calibration=decode_calibration(configuration, model),
            settings=tuple(self._settings(configuration)),
        )

    def poll(self) -> Generator[Operation, bytes, Iterable[Output]]:
        """Counts of a second and of a minute; every 60th time the battery."""
        left = yield Drain(_PAUSE_S if self._is_unsure else 0.0)
        if left:
            return [(yield from self._disturbed(left))]
        self._is_unsure = False
        self._disturbances = 0
        readings: list[Reading] = []
        outputs: list[Output] = []
        try:
            yield from self._read(readings)
        except DriverError as error:
            outputs.append(error)
            yield from self._failed()
        else:
            self._failures = 0
        self._cycle += 1
        if readings and self._drop:
            self._drop = False
        elif readings:
            outputs.insert(0, Sample(tuple(readings)))
        return outputs

    # One cycle.

    def _read(self, readings: list[Reading]) -> _Answering[None]:
        answer = yield from self._exact("GETCPS", self._width)
        readings.append(
            _counted(Channel.GAMMA_COUNTS, "count", decode_cps(answer), full_cps(self._width), 1.0)
        )
        answer = yield from self._exact("GETCPM", self._width)
        full, window_s = full_cpm(self._width), self._cpm_window_s
        readings.append(
            _counted(
                Channel.GAMMA_COUNT_RATE, "1/min", decode_cpm(answer), full, window_s, part="cpm"
            )
        )
        if self._cycle % _VOLTS_EVERY == 0 and self._model.volts is not Volts.NONE:
            readings.append((yield from self._battery()))

    def _battery(self) -> _Answering[Reading]:
        if self._model.volts is Volts.BYTE:
            answer = yield from self._exact("GETVOLT", 1)
        else:
            answer = yield Ask(request("GETVOLT"), quiet(_VERSION_QUIET_S, 4), _DATA_TIMEOUT_S)
        volts = decode_volts(answer)
        return Reading(Channel.BATTERY, volts, "V", window_s=0.0, raw=answer.hex(" "))

    def _failed(self) -> _Answering[None]:
        self._is_unsure = True
        self._failures += 1
        if self._failures >= _ATTEMPTS:
            self._failures = 0
            yield Reopen()

    def _disturbed(self, left: bytes) -> _Answering[ExchangeError]:
        self._is_unsure = True
        self._disturbances += 1
        if self._disturbances < _ATTEMPTS:
            return ExchangeError(Reject.UNEXPECTED, left[-16:], "bytes nobody asked for: discarded")
        error = self._heartbeat_error(left)
        if self._may_stop_heartbeat:
            yield from self._stop_heartbeat()
        return error

    # Finding out who it is.

    def _expect_silence(self) -> _Answering[None]:
        if self._may_stop_heartbeat:
            yield from self._stop_heartbeat()
        if (yield Drain(_HEARTBEAT_S)) and (left := (yield Drain(_HEARTBEAT_S))):
            raise self._heartbeat_error(left)

    def _stop_heartbeat(self) -> _Answering[None]:
        try:
            yield Ask(request("HEARTBEAT0"), lambda buffer: Done(0), _DATA_TIMEOUT_S)
        except ReplyTimeout:
            return  # it never answers

    def _heartbeat_error(self, left: bytes) -> ExchangeError:
        advice = (
            "HEARTBEAT0 is sent again"
            if self._may_stop_heartbeat
            else f"stop it at the program that started it, or allow the permission {PERMISSION}"
        )
        detail = f"the instrument talks unasked, so its heartbeat is on: {advice}"
        return ExchangeError(Reject.UNEXPECTED, left[-16:], detail)

    def _version(self) -> _Answering[bytes]:
        """GETVER; some firmware answers only after a reopening (500+ 1.18) or after a GETCPM."""
        ask = Ask(request("GETVER"), quiet(_VERSION_QUIET_S, VERSION_BYTES[0]), _DATA_TIMEOUT_S)
        try:
            return (yield ask)
        except ReplyTimeout:
            yield Reopen()
        try:
            return (yield ask)
        except ReplyTimeout:
            yield from self._provoke()
        return (yield ask)

    def _provoke(self) -> _Answering[None]:
        try:
            yield Ask(request("GETCPM"), quiet(_WIDTH_QUIET_S), _DATA_TIMEOUT_S)
        except ReplyTimeout:
            return

    def _find_width(self) -> _Answering[int]:
        """As configured, else as measured; what differs from the table must be measured twice."""
        if self._fixed_width:
            return self._fixed_width
        expected = self._model.width
        width = yield from self._insist(self._measure_width)
        if width == expected:
            return width
        again = yield from self._insist(self._measure_width)
        if again != width:
            detail = f"GETCPM answers {width} bytes, then {again}"
            raise ExchangeError(Reject.UNEXPECTED, detail=detail)
        return width

    def _measure_width(self) -> _Answering[int]:
        answer = yield Ask(request("GETCPM"), quiet(_WIDTH_QUIET_S), _DATA_TIMEOUT_S)
        if len(answer) not in (2, 4):
            detail = f"GETCPM answers {len(answer)} bytes, not 2 or 4"
            raise ExchangeError(Reject.UNEXPECTED, answer[:16], detail)
        return len(answer)

    def _configuration(self) -> _Answering[bytes]:
        """GETCFG, or nothing where it is not needed, not known or not to be had."""
        length = self._model.config_bytes
        if not length:
            return b""

        def ask() -> _Answering[bytes]:
            return self._exact("GETCFG", length, _CONFIGURATION_TIMEOUT_S, is_secret=True)

        try:
            return (yield from self._insist(ask))
        except ExchangeError:
            return b""

    def _settings(self, configuration: bytes) -> Iterable[tuple[str, str]]:
        model = self._model
        yield "count_width", str(self._width)
        if model.width != self._width:
            yield "count_width_in_table", str(model.width or "unknown model")
        if model.config_bytes and not configuration:
            yield "configuration", "not read"
        elif configuration and decode_calibration(configuration, model) is None:
            yield "calibration", "not usable"
        if configuration:
            yield "switched_on", "yes" if configuration[0] == 0 else "no"
        if configuration and model.estimate_at is not None:
            yield "fast_estimate_s", str(configuration[model.estimate_at])

    def _insist(self, ask: Callable[[], _Answering[_R]]) -> _Answering[_R]:
        for _ in range(_ATTEMPTS - 1):
            try:
                return (yield from ask())
            except ExchangeError:
                yield Drain(_PAUSE_S)
        return (yield from ask())

    def _exact(
        self, name: str, length: int, timeout_s: float = _DATA_TIMEOUT_S, *, is_secret: bool = False
    ) -> _Answering[bytes]:
        """An answer of exactly ``length`` bytes with silence behind it."""
        try:
            answer = yield Ask(request(name), quiet(_SETTLE_S, length), timeout_s, is_secret)
        except ReplyTimeout as error:
            if not error.raw:
                raise
            detail = f"{name}: {len(error.raw)} of {length} bytes"
            raw = b"" if is_secret else error.raw[:16]
            raise ExchangeError(Reject.TRUNCATED, raw, detail) from None
        if len(answer) != length:
            detail = f"{name}: {len(answer)} instead of {length} bytes"
            raise ExchangeError(Reject.UNEXPECTED, b"" if is_secret else answer[:16], detail)
        return answer


def _number(firmware: str) -> float:
    match = re.match(r"[0-9]+(\.[0-9]+)?", firmware)
    return float(match[0]) if match else 0.0


def _counted(
    channel: Channel,
    unit: str,
    count: int | None,
    full: int,
    window_s: float | None,
    part: str = "",
) -> Reading:
    flags = (Flag.OVER_RANGE, Flag.SATURATED_COUNTS) if count is None else ()
    return Reading(
        channel,
        count,
        unit,
        Quantity(channel),
        flags,
        lower_bound=float(full) if count is None else None,
        window_s=window_s,
        raw=str(full if count is None else count),
        part=part,
    )


DRIVER: Final = DriverInfo(
    name="gq-gmc",
    title="GQ Electronics GMC-300 to GMC-800",
    contract="asker",
    classes=("Gamma Handheld", "Other"),
    links=("serial", "tcp"),
    channels=(Channel.GAMMA_COUNTS, Channel.GAMMA_COUNT_RATE, Channel.BATTERY),
    source="GQ-RFC1201 v1.40 (2015), GQ-RFC1801 v1.00 (2018), GeigerLog 1.5.0, pygmc 0.14.1",
    verified=Verified.CAPTURED,
    silence_s=1.0,
    poll_s=1.0,
    create=Gmc,
    serial=SerialLine(115200),
    options=(
        Option("cpm_width", 0, "bytes of a count; 0: measure", choices=("0", "2", "4")),
        Option("drop_first", True, "drop the first sample after opening (wrong after power-on)"),
    ),
    permissions=(PERMISSION,),
)
