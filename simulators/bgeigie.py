"""A simulated bGeigie (Nano, Mini, Classic, NX) or CzechRad: one sentence every 5 s, unasked.

Habits after the firmware, Safecast/bGeigieNano 954f845b and its relatives: comment lines at
power-up, cpm as the sum of twelve bins corrected for dead time (Nano, CzechRad), void radiation in
the first minute and while cpm is 0, void GPS with the 2012-00-00 placeholder until the fix, ids of
four digits (Nano, CzechRad), CR LF, gaps of 4 to 6 s because the clock is the GPS second. The
Classic sends its short form and writes checksums in lower case; the quality fields stand in the
order of the firmware.

Assumed, because nothing documents it: without a fix the place goes back to zeros, or stays where
``keeps_place`` says so, and the time goes on; how often an NX tells its status is a setting.
"""

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar, Final

from drivers.api import Position
from drivers.bgeigie import BIN_S, MINUTE_BINS, RANGE_TOP_CPM, Fix, Sentence, encode, nano_pair
from drivers.bgeigie.sentence import MODELS, Pair
from simulators.api import Emission, Field
from simulators.bgeigie_more import damaged, status_line
from simulators.device_clock import DeviceClock
from simulators.instrument_settings import Settings, filled
from simulators.power_watch import Powered, PowerWatch

NAME: Final = "bgeigie-nmea"
PLACEHOLDER: Final = "2012-00-00T00:00:00Z"
DEAD_TIME_MIN: Final = 1.8833e-6
"""Dead time of the LND7317 in minutes, about 113 µs: the Nano's constant."""
SINGULAR_CPM: Final = 530_983
"""The correction has no value from here on; the simulated tube stays below."""
DEFAULT_START: Final = datetime(2026, 6, 1, 12, tzinfo=UTC)
LINE_ENDS: Final = {"crlf": b"\r\n", "lf": b"\n", "none": b""}
_FIRMWARE: Final = {
    "BNRDD": "1.3.5nano",
    "BMRDD": "1.0.0",
    "BGRDD": "",
    "BNXRDD": "",
    "CZRA1": "2.0.0CzechRad",
    "CZRDD": "2.0.0CzechRad",
}
"""As the public logs have it; empty: their comments are not known."""
_CORRECTING: Final = frozenset({"BNRDD", "CZRA1", "CZRDD"})
_NUMBERED: Final = _CORRECTING
"""Their ids are ``%04d``; a Mini's 028, a Classic's 002, an NX's hexadecimal one stand as set."""
_CLASSIC: Final = "BGRDD"
_NX: Final = "BNXRDD"
_U32: Final = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Setup:
    """Everything that can be set, with its default. Times in s, negative: never.

    ``firmware`` empty: that of the header's logs. ``padded`` false: ids and degrees as before
    2012-10. ``void_fixes`` lines without a fix come first, later ones while ``gps_lost``.
    ``late_chance``: share of gaps of 4 or 6 s. ``line_end`` crlf, lf, none. ``short_form`` is the
    Classic's serial line, false: its log line. ``nx_satellites``: the NX's early 16 fields;
    ``nx_status_every`` lines it tells its status, 0 never. ``damaged_every`` n-th line is damaged
    as lines in public logs are. ``clock_ppm`` millionths is its time too fast, and it stands
    ``clock_offset_s`` ahead: of a receiver that is wrong. ``start_s``: power-up.
    """

    header: str = "BNRDD"
    device_id: str = "1234"
    firmware: str = ""
    comments: bool = True
    dead_time: bool = True
    padded: bool = True
    void_fixes: int = 3
    gps_lost_from_s: float = -1.0
    gps_lost_to_s: float = -1.0
    keeps_place: bool = False
    late_chance: float = 0.0
    satellites: int = 8
    hdop: float = 1.1
    first_total: int = 0
    line_end: str = "crlf"
    short_form: bool = True
    nx_satellites: bool = False
    nx_status_every: int = 0
    temperature_c: int = 22
    battery_mv: int = 3987
    damaged_every: int = 0
    clock_offset_s: float = 0.0
    clock_ppm: float = 0.0
    start_s: float = 0.0


class BGeigie:
    """One logger, switched on at ``start_s`` of the world's time and whenever the world does."""

    states: ClassVar[frozenset[str]] = frozenset({"dead_channel"})

    def __init__(self, setup: Setup, rng: random.Random, start: datetime) -> None:
        self._setup = setup
        self._rng = rng
        self._clock = DeviceClock(start, setup.clock_offset_s, setup.clock_ppm)
        self._firmware = setup.firmware or _FIRMWARE[setup.header]
        self._corrects = setup.dead_time and setup.header in _CORRECTING
        self._pair = MODELS[setup.header].pair
        if self._pair is Pair.BY_FIRMWARE:
            self._pair = nano_pair(self._firmware)
        self._end = LINE_ENDS[setup.line_end]
        self._power = PowerWatch()
        self._on: set[str] = set()
        self._device = self._id(setup.device_id)
        self._sentences = 0
        self._place: Position | None = None
        self._total = setup.first_total
        self._begin(setup.start_s)

    def _begin(self, at_s: float) -> None:
        self._begins_s = self._counted_to_s = at_s
        self._next_s = at_s + BIN_S
        self._greets = True
        self._bins: deque[int] = deque(maxlen=MINUTE_BINS)
        self._lines = 0

    def set_serial(self, serial: str) -> None:
        """Another logger speaks."""
        self._device = self._id(serial)

    def set_state(self, name: str, *, on: bool) -> None:
        """A dead tube, the only one of ``states``."""
        (self._on.add if on else self._on.discard)(name)

    def next_s(self) -> float:
        """The comments at power-up, then the next sentence."""
        return self._begins_s if self._greets else self._next_s

    def advance(self, to_s: float, field: Field) -> Sequence[Emission]:
        """The comments at power-up and every sentence due up to ``to_s``."""
        emissions: list[Emission] = []
        while (at_s := self.next_s()) <= to_s:
            match self._power.look(at_s, field):
                case Powered.OFF:
                    self._greets, self._next_s = False, at_s + BIN_S
                    continue
                case Powered.FRESH:
                    self._total = 0
                    self._begin(self._power.since_s)
            if self._greets:
                self._greets = False
                emissions += self._greeting(at_s)
                continue
            emissions += self._said(at_s, field)
            late = self._rng.random() < self._setup.late_chance
            self._next_s += BIN_S + (self._rng.choice((-1.0, 1.0)) if late else 0.0)
        return emissions

    def receive(self, at_s: float, data: bytes, field: Field) -> Sequence[Emission]:
        """Nothing: it does not listen."""
        return ()

    def _id(self, text: str) -> str:
        padded = self._setup.padded and self._setup.header in _NUMBERED and text.isdecimal()
        return f"{int(text):04d}" if padded else text

    def _greeting(self, at_s: float) -> list[Emission]:
        if not self._setup.comments or not self._firmware:
            return []
        lines = ["# NEW LOG", f"# format={self._firmware}"]
        if self._corrects:
            lines.append("# deadtime=on")
        return [Emission(at_s, b"".join(line.encode("ascii") + b"\r\n" for line in lines))]

    def _said(self, at_s: float, field: Field) -> list[Emission]:
        setup = self._setup
        sentence = self._sentence(at_s, field)
        is_classic = setup.header == _CLASSIC
        text = encode(sentence, padded=setup.padded, lower=is_classic)
        says = _says(sentence)
        self._sentences += 1
        if setup.damaged_every and self._sentences % setup.damaged_every == 0:
            text, is_kept = damaged(text, self._sentences // setup.damaged_every - 1)
            says = says if is_kept else {}
        emissions = [Emission(at_s, text + self._end, says)]
        every = setup.nx_status_every
        if setup.header == _NX and every and self._sentences % every == 0:
            emissions.append(self._status(at_s, text))
        return emissions

    def _sentence(self, at_s: float, field: Field) -> Sentence:
        is_dead = "dead_channel" in self._on
        counts = 0 if is_dead else field.gamma_counts(self._counted_to_s, at_s)
        self._counted_to_s = at_s
        self._bins.append(counts)
        self._total = (self._total + counts) & _U32
        self._lines += 1
        cpm = self._cpm()
        valid = self._lines > MINUTE_BINS and cpm > 0
        header, total = self._setup.header, self._total
        if header == _CLASSIC and self._setup.short_form:
            return Sentence(header, self._device, cpm, counts, total, valid)
        time, fix = self._gps(at_s, field)
        return Sentence(header, self._device, cpm, counts, total, valid, time, fix)

    def _cpm(self) -> int:
        plain = sum(self._bins)
        if not self._corrects:
            return plain
        plain = min(plain, SINGULAR_CPM - 1)
        return min(int(plain / (1 - plain * DEAD_TIME_MIN)), _U32)

    def _gps(self, at_s: float, field: Field) -> tuple[str, Fix]:
        if self._lines <= self._setup.void_fixes:
            return PLACEHOLDER, self._void()
        time = f"{self._clock.at(at_s):%Y-%m-%dT%H:%M:%SZ}"
        lost_s, found_s = self._setup.gps_lost_from_s, self._setup.gps_lost_to_s
        is_lost = 0 <= lost_s <= at_s and not lost_s < found_s <= at_s
        place = None if is_lost else field.position(at_s)
        if place is None and self._place is not None and self._setup.keeps_place:
            return time, _fix(self._place, False, self._quality(fixed=False))
        if place is None:
            return time, self._void()
        self._place = place
        return time, _fix(place, True, self._quality())

    def _void(self) -> Fix:
        nothing: tuple[str, ...] = ("0", "0")
        match self._pair:
            case Pair.HDOP_FIX:
                nothing = ("0.0", "0")
            case Pair.HDOP100_SATELLITES:
                nothing = ("9999", "0")  # "no value" of old Nanos
        if self._setup.header == _NX and self._setup.nx_satellites:
            nothing = ("0", *nothing)
        return _fix(Position(0.0, 0.0, 0.0), False, nothing)

    def _quality(self, *, fixed: bool = True) -> tuple[str, ...]:
        """The two fields behind the second A or V, three of an early NX."""
        satellites, hdop = str(self._setup.satellites), self._setup.hdop
        match self._pair:
            case Pair.HDOP_FIX if self._setup.header == _NX:
                quality = f"{hdop:.2f}", str(int(fixed))
                return (satellites, *quality) if self._setup.nx_satellites else quality
            case Pair.HDOP_FIX:
                return f"{hdop:.1f}", str(int(fixed))
            case Pair.HDOP100_SATELLITES:
                return f"{hdop * 100:.0f}", satellites
            case _:
                return satellites, f"{hdop * 100:.0f}"

    def _status(self, at_s: float, text: bytes) -> Emission:
        setup = self._setup
        satellites = setup.satellites if setup.nx_satellites else None
        line = status_line(text, satellites, setup.temperature_c, setup.battery_mv)
        says = {"battery": setup.battery_mv, "temperature": setup.temperature_c}
        return Emission(at_s, line + self._end, says)


def _fix(place: Position, valid: bool, quality: tuple[str, ...]) -> Fix:
    return Fix(place.latitude, place.longitude, place.altitude_m or 0.0, valid, quality)


def _says(sentence: Sentence) -> dict[str, float | int | str | None]:
    if sentence.cp5s > sentence.total:
        return {}  # the total has begun anew within these 5 s: a reader cannot believe them
    over = max(sentence.cpm, sentence.cp5s * MINUTE_BINS) > RANGE_TOP_CPM
    usable = sentence.valid and not over
    return {
        "gamma_counts": sentence.cp5s if usable else None,
        "gamma_count_rate.cpm": sentence.cpm if usable else None,
    }


def create(settings: Settings, rng: random.Random, start: datetime | None = None) -> BGeigie:
    """A logger with the settings of ``Setup``; ``start`` is GPS time at the start of play."""
    setup = filled(Setup(), settings, NAME)
    if setup.header not in MODELS:
        raise ValueError(f"header {setup.header!r} is not one of {', '.join(MODELS)}")
    if setup.line_end not in LINE_ENDS:
        raise ValueError(f"line_end {setup.line_end!r} is not one of {', '.join(LINE_ENDS)}")
    if setup.nx_status_every and setup.header != _NX:
        raise ValueError("nx_status_every: only the header BNXRDD has a status")
    return BGeigie(setup, rng, start or DEFAULT_START)
