"""A simulated Safecast bGeigie Nano (or Mini, CzechRad): one sentence every 5 s, unasked.

Habits after the firmware, Safecast/bGeigieNano 954f845b: comment lines at power-up, cpm as the
sum of twelve bins corrected for dead time, void radiation in the first minute and while cpm is 0,
void GPS with the 2012-00-00 placeholder until the fix, ``%04d`` ids, CR LF, gaps of 4 to 6 s
because the clock is the GPS second.
"""

import random
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from drivers.api import Position
from drivers.bgeigie import BIN_S, MINUTE_BINS, RANGE_TOP_CPM, Fix, Sentence, encode
from drivers.bgeigie.sentence import MODELS
from simulators.api import Emission, Field

PLACEHOLDER: Final = "2012-00-00T00:00:00Z"
DEAD_TIME_MIN: Final = 1.8833e-6
"""Dead time of the LND7317 in minutes, about 113 µs: the Nano's constant."""
SINGULAR_CPM: Final = 530_983
"""The correction has no value from here on; the simulated tube stays below."""


DEFAULT_START: Final = datetime(2026, 6, 1, 12, tzinfo=UTC)


class BGeigie:
    """One logger that is switched on at ``start_s`` of the world's time."""

    def __init__(
        self,
        rng: random.Random,
        *,
        header: str = "BNRDD",
        device: str = "1234",
        firmware: str = "1.3.5nano",
        comments: bool = True,
        dead_time: bool = True,
        void_fixes: int = 3,
        late_chance: float = 0.0,
        satellites: int = 8,
        hdop: float = 1.1,
        start: datetime = DEFAULT_START,
        start_s: float = 0.0,
    ) -> None:
        self._rng = rng
        self._header = header
        self._device = device
        self._firmware = firmware
        self._comments = comments
        self._dead_time = dead_time
        self._void_fixes = void_fixes
        self._late_chance = late_chance
        decimal = MODELS[header].altitude_digits == 1
        self._quality = (f"{hdop:.1f}", "1") if decimal else (str(satellites), f"{hdop * 100:.0f}")
        self._start = start
        self._start_s = start_s
        self._counted_to_s = start_s
        self._next_s = start_s + BIN_S
        self._bins: deque[int] = deque(maxlen=MINUTE_BINS)
        self._total = 0
        self._lines = 0

    def set_serial(self, serial: str) -> None:
        """Another logger speaks."""
        self._device = f"{int(serial):04d}"

    def advance(self, to_s: float, field: Field) -> Sequence[Emission]:
        """The comments at power-up and every sentence due up to ``to_s``."""
        emissions = []
        if self._comments and to_s >= self._start_s:
            self._comments = False
            emissions.append(Emission(self._start_s, self._greeting()))
        while self._next_s <= to_s:
            emissions.append(self._sentence(self._next_s, field))
            late = self._rng.random() < self._late_chance
            self._next_s += BIN_S + (self._rng.choice((-1.0, 1.0)) if late else 0.0)
        return emissions

    def receive(self, at_s: float, data: bytes, field: Field) -> Sequence[Emission]:
        """Nothing: it does not listen."""
        return ()

    def _greeting(self) -> bytes:
        lines = ["# NEW LOG", f"# format={self._firmware}"]
        if self._dead_time:
            lines.append("# deadtime=on")
        return "".join(f"{line}\r\n" for line in lines).encode("ascii")

    def _sentence(self, at_s: float, field: Field) -> Emission:
        counts = field.gamma_counts(self._counted_to_s, at_s)
        self._counted_to_s = at_s
        self._bins.append(counts)
        self._total += counts
        self._lines += 1
        cpm = self._cpm()
        valid = self._lines > MINUTE_BINS and cpm > 0
        time, fix = self._gps(at_s, field)
        sentence = Sentence(self._header, self._device, cpm, counts, self._total, valid, time, fix)
        return Emission(at_s, encode(sentence) + b"\r\n", _says(sentence))

    def _cpm(self) -> int:
        plain = sum(self._bins)
        if not self._dead_time:
            return plain
        plain = min(plain, SINGULAR_CPM - 1)
        return min(int(plain / (1 - plain * DEAD_TIME_MIN)), 0xFFFFFFFF)

    def _gps(self, at_s: float, field: Field) -> tuple[str, Fix]:
        if self._lines <= self._void_fixes:
            return PLACEHOLDER, Fix(0.0, 0.0, 0.0, False, ("0", "0"))
        moment = self._start + timedelta(seconds=round(at_s - self._start_s))
        return f"{moment:%Y-%m-%dT%H:%M:%SZ}", self._fix(field.position(at_s))

    def _fix(self, position: Position | None) -> Fix:
        if position is None:
            return Fix(0.0, 0.0, 0.0, False, ("0", "0"))
        altitude_m = position.altitude_m or 0.0
        return Fix(position.latitude, position.longitude, altitude_m, True, self._quality)


def _says(sentence: Sentence) -> dict[str, float | int | str | None]:
    over = max(sentence.cpm, sentence.cp5s * MINUTE_BINS) > RANGE_TOP_CPM
    usable = sentence.valid and not over
    return {
        "gamma_counts": sentence.cp5s if usable else None,
        "gamma_count_rate.cpm": sentence.cpm if usable else None,
    }


def create(
    settings: Mapping[str, bool | int | float | str],
    rng: random.Random,
    start: datetime | None = None,
) -> BGeigie:
    """From settings, with their defaults; ``start`` is GPS time at the start of play.

    ``header`` "BNRDD" (BMRDD, BGRDD, CZRA1, CZRDD), ``device_id`` 1234, ``firmware`` "1.3.5nano",
    ``comments`` true, ``dead_time`` true, ``void_fixes`` 3 lines without a fix, ``late_chance`` 0
    (share of gaps of 4 or 6 s), ``satellites`` 8, ``hdop`` 1.1, ``start_s`` 0 (power-up in the
    world's time).
    """
    start_s = float(settings.get("start_s", 0.0))
    return BGeigie(
        rng,
        header=str(settings.get("header", "BNRDD")),
        device=f"{int(settings.get('device_id', 1234)):04d}",
        firmware=str(settings.get("firmware", "1.3.5nano")),
        comments=bool(settings.get("comments", True)),
        dead_time=bool(settings.get("dead_time", True)),
        void_fixes=int(settings.get("void_fixes", 3)),
        late_chance=float(settings.get("late_chance", 0.0)),
        satellites=int(settings.get("satellites", 8)),
        hdop=float(settings.get("hdop", 1.1)),
        start=start + timedelta(seconds=start_s) if start else DEFAULT_START,
        start_s=start_s,
    )
