"""Safecast bGeigie survey loggers and the CzechRad: counts of one Geiger tube, every 5 s.

Source: firmware and its history, Safecast/bGeigieNano 954f845b, bGeigieNanoKit 2c473587,
        bGeigieMini 2f5c0b26 (Mini, Classic, NX), bGeigieZen 8a74fa1d; juhele/CzechRad 2d4fbd5f;
        damaged logs in Safecast/safecastapi 6cf36124.
Verified: captured for Nano, Mini, Classic and CzechRad (public logs); documented for the short
        Classic sentence and the NX.

Wire: 9600 8N1 (Nano, Classic; NX 38400), nothing is ever sent to the instrument. CR LF may be
missing (Bluetooth chunks), so a sentence ends with its checksum, the exclusive or of all bytes
between ``$`` and ``*`` in two hex digits of either case. Lines starting with ``#`` are comments.

    $BNRDD,id,time,cpm,cp5s,total,A|V,ddmm.mmmm,N|S,dddmm.mmmm,E|W,altitude,A|V,q1,q2*HH
    $BGRDD,id,cp5s,cpm,total,A|V*HH                               Classic on its serial line
    $BNXSTS,id,time,lat,N|S,lon,E|W,[satellites,]vX.Y.Z,°C,%RH,mV,[V],sd,sd,sd*HH

- cp5s are the counts of the last 5 s; cpm the sum of the last twelve bins, in the Nano since 2012
  corrected for dead time; total counts since power-up. A lower total is a restart, not an error.
- The first A|V is void in the first minute and whenever cpm is 0: no valid reading, never zero.
- The second A|V is void without a fix; position and time then mean nothing.
- q1, q2: see Pair. Above 350 000 cpm the tube is over range.

The XOR misses paired bit errors: an impossible character in any field rejects the whole line.
"""

import math
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

from drivers.api import (
    Calibration,
    Channel,
    DriverInfo,
    Flag,
    Identity,
    Logged,
    Option,
    Options,
    Output,
    Position,
    Quantity,
    Reading,
    Sample,
    SerialLine,
    Verified,
)
from drivers.bgeigie.cutter import Comment, Cutter
from drivers.bgeigie.sentence import MODELS, Fix, Pair, Sentence, Status, decode, encode
from drivers.errors import DriverError

__all__ = ["DRIVER", "BGeigie", "Fix", "Sentence", "Status", "calibration", "decode", "encode"]

BIN_S: Final = 5.0
MINUTE_BINS: Final = 12
RANGE_TOP_CPM: Final = 350_000

_FORMAT: Final = re.compile(r"format=([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})([A-Za-z]{0,16})")
_DECIMAL: Final = re.compile(r"[0-9]{1,5}(\.[0-9]{1,3})?")
_DEADTIME: Final = re.compile(r"deadtime=(on|off)")


def nano_pair(firmware: str | None) -> Pair:
    """The order of the quality fields of a ``$BNRDD``; nothing is known from Nano 1.4 on."""
    match = _FORMAT.fullmatch(f"format={firmware}")
    if match is None or match[4] != "nano":
        return Pair.UNKNOWN
    version = (int(match[1]), int(match[2]), int(match[3]))
    if version < (1, 2, 7):
        return Pair.HDOP100_SATELLITES
    return Pair.SATELLITES_HDOP100 if version < (1, 4, 0) else Pair.UNKNOWN


class BGeigie:
    """One logger on one link; ``cpm_per_usv_h`` 0 takes the factor that belongs to the header."""

    def __init__(self, cpm_per_usv_h: float = 0.0) -> None:
        if not (math.isfinite(cpm_per_usv_h) and cpm_per_usv_h >= 0):
            raise ValueError(f"cpm_per_usv_h: {cpm_per_usv_h} is not a factor")
        self._cutter = Cutter()
        self._factor = cpm_per_usv_h
        self._firmware: str | None = None
        self._deadtime: str | None = None
        self._commented = False
        self._device: tuple[str, str] | None = None
        self._identity: Identity | None = None

    def hello(self) -> bytes:
        """Nothing: the instrument knows no command."""
        return b""

    def feed(self, data: bytes) -> Iterator[Output]:
        """A sample for each sentence; errors are yielded."""
        for piece in self._cutter.feed(data):
            if isinstance(piece, DriverError):
                yield piece
            elif isinstance(piece, Comment):
                self._learn(piece.text)
            else:
                yield self._sample(piece)

    def interrupted(self) -> None:
        """Forget a half sentence."""
        self._cutter.clear()

    def _learn(self, text: str) -> None:
        if text.startswith("NEW LOG"):
            self._firmware = self._deadtime = None
        if match := _FORMAT.fullmatch(text):
            self._firmware = text.removeprefix("format=")
        elif match := _DEADTIME.fullmatch(text):
            self._deadtime = match[1]
        self._commented = True

    def _sample(self, said: Sentence | Status) -> Sample:
        device = (said.header, said.device)
        if device != self._device and not self._commented:
            self._firmware = self._deadtime = None  # they were another instrument's
        self._device, self._commented = device, False
        if isinstance(said, Status):
            self._firmware = said.firmware
            return Sample(_status_readings(said), identity=self._news(said))
        position = None if said.fix is None else _position(said.fix, self._pair(said.header))
        return Sample(
            (_counts(said), _rate(said)),
            device_time=_device_time(said),
            position=position,
            identity=self._news(said),
        )

    def _pair(self, header: str) -> Pair:
        pair = MODELS[header].pair
        return nano_pair(self._firmware) if pair is Pair.BY_FIRMWARE else pair

    def _news(self, said: Sentence | Status) -> Identity | None:
        """Who speaks, when that is new. Unset ids (empty, 0000, unreadable X) are nobody's."""
        known = said.device.strip("0") != "" and "X" not in said.device
        settings = () if self._deadtime is None else (("deadtime", self._deadtime),)
        identity = Identity(
            model=MODELS[said.header].name,
            serial=said.device if known else None,
            firmware=self._firmware,
            calibration=calibration(said.header, self._factor),
            settings=settings,
        )
        if identity == self._identity:
            return None
        self._identity = identity
        return identity


def calibration(header: str, cpm_per_usv_h: float = 0.0) -> Calibration:
    """Cs-137 equivalent of the header's instrument, or with the configured factor."""
    model = MODELS[header]
    source = "option cpm_per_usv_h" if cpm_per_usv_h else model.factor_source
    factor = cpm_per_usv_h or model.cpm_per_usv_h
    return Calibration(((1.0, 60.0 / factor),), source, "Cs-137")


def _no_number(said: Sentence) -> tuple[Flag, ...]:
    """Why the counts are no reading: void, or the tube is over range in this minute."""
    if not said.valid:
        # Counts left the minute without new ones: that is a dead tube, whatever else it is.
        dead = said.cpm == 0 and said.total > 0
        return (Flag.WARMING_UP, Flag.LOSS_OF_COUNTS) if dead else (Flag.WARMING_UP,)
    over = max(said.cpm, said.cp5s * MINUTE_BINS) > RANGE_TOP_CPM
    return (Flag.OVER_RANGE,) if over else ()


def _counts(said: Sentence) -> Reading:
    flags = _no_number(said)
    return Reading(
        Channel.GAMMA_COUNTS,
        None if flags else said.cp5s,
        "count",
        Quantity.GAMMA_COUNTS,
        flags,
        lower_bound=float(said.cp5s) if Flag.OVER_RANGE in flags else None,
        window_s=BIN_S,
        raw=str(said.cp5s),
        independent=True,
    )


def _rate(said: Sentence) -> Reading:
    flags = _no_number(said)
    return Reading(
        Channel.GAMMA_COUNT_RATE,
        None if flags else said.cpm,
        "1/min",
        Quantity.GAMMA_COUNT_RATE,
        flags,
        lower_bound=float(RANGE_TOP_CPM) if Flag.OVER_RANGE in flags else None,
        window_s=BIN_S * MINUTE_BINS,
        raw=str(said.cpm),
        part="cpm",
    )


def _status_readings(said: Status) -> tuple[Reading, ...]:
    battery, temperature = said.battery_mv, said.temperature_c
    return (
        Reading(Channel.BATTERY, battery, "mV", window_s=0.0, raw=str(battery)),
        Reading(Channel.TEMPERATURE, temperature, "°C", window_s=0.0, raw=str(temperature)),
    )


def _device_time(said: Sentence) -> datetime | None:
    if said.fix is None or not said.fix.valid:
        return None
    try:
        return datetime.strptime(said.time, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None


def _position(fix: Fix, pair: Pair) -> Position | None:
    if not fix.valid or fix.latitude is None or fix.longitude is None:
        return None
    if fix.latitude == 0 and fix.longitude == 0:
        return None
    hdop, satellites = _quality(fix.quality, pair)
    return Position(
        fix.latitude, fix.longitude, fix.altitude_m or None, satellites=satellites, hdop=hdop
    )


def _quality(quality: tuple[str, ...], pair: Pair) -> tuple[float | None, int | None]:
    """HDOP and satellites, as far as it is known which is which; 9999 and 0 mean no HDOP."""
    first, second = quality[0], quality[1]
    if pair is Pair.HDOP_FIX and len(quality) == 3:
        return _hdop(second, 1), _whole(first)
    if pair is Pair.HDOP_FIX:
        return _hdop(first, 1), None
    if pair is Pair.HDOP100_SATELLITES:
        return _hdop(first, 100), _whole(second)
    if pair is Pair.SATELLITES_HDOP100:
        return _hdop(second, 100), _whole(first)
    return None, None


def _hdop(text: str, scale: int) -> float | None:
    if text == "9999" or _DECIMAL.fullmatch(text) is None or float(text) == 0:
        return None
    return float(text) / scale


def _whole(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


def read_log(lines: Iterable[bytes]) -> Iterator[Logged]:
    """The lines of a log file with CR LF, LF or no end, numbered from 1, as on the wire."""
    for number, line in enumerate(lines, 1):
        yield Logged(line.rstrip(b"\r\n") + b"\r\n", line=number)


def create(options: Options) -> BGeigie:
    """A driver with the configured options."""
    return BGeigie(float(options.get("cpm_per_usv_h", 0.0)))


DRIVER: Final = DriverInfo(
    name="bgeigie-nmea",
    title="Safecast bGeigie Nano, Zen, Mini, Classic, NX; CzechRad",
    contract="listener",
    classes=("Mobile System",),
    links=("serial", "tcp", "recording"),
    channels=(
        Channel.GAMMA_COUNTS,
        Channel.GAMMA_COUNT_RATE,
        Channel.POSITION,
        Channel.BATTERY,
        Channel.TEMPERATURE,
    ),
    source="Safecast/bGeigieNano 954f845b, bGeigieNanoKit 2c473587, bGeigieMini 2f5c0b26",
    verified=Verified.CAPTURED,
    silence_s=BIN_S,
    create=create,
    serial=SerialLine(9600),
    options=(
        Option(
            "cpm_per_usv_h",
            0.0,
            "counts per minute at 1 µSv/h (Cs-137); 0: 334, for $CZRA1 328.5",
        ),
    ),
    read_log=read_log,
)
