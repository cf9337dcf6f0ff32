"""A simulated GQ GMC: counts by the second, answers ``<NAME>>``, may talk by heartbeat.

After GQ-RFC1201 v1.40 and GQ-RFC1801 v1.00; its bad habits (short answers, a stray byte, silence
on the first GETVER or until a GETCPM, a wrong first value, a clock 20 s a day fast) are those
reported for real units in pygmc's issues and by GeigerLog. Answers are made by
``drivers.gmc_answers`` and ``drivers.gmc_models``, what only the simulator needs in ``gmc_more``.

Assumed, because no document says it: a counter that is full stays full instead of wrapping; the
counts of a minute start anew when it is switched on, its clock does not.
"""

import random
import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import ClassVar, Final

from drivers.gmc_answers import encode_cpm, encode_cps, encode_version, full_cpm, full_cps
from drivers.gmc_models import Model, encode_configuration, model_of
from simulators import gmc_more
from simulators.api import Emission, Field
from simulators.device_clock import DeviceClock
from simulators.instrument_settings import Settings, filled
from simulators.power_watch import Powered, PowerWatch

NAME: Final = "gq-gmc"
DEFAULT_START: Final = datetime(2026, 6, 1, 12, tzinfo=UTC)
ESTIMATES_S: Final = (3, 5, 10, 15, 20, 30, 60)
"""What Fast Estimate Time may be; 3 is "dynamic", played as 3 s: its rule is not documented."""
_ANSWER_S: Final = 0.02
_MINUTE: Final = 60
_LONGEST_COMMAND: Final = 64
_COMMAND: Final = re.compile(rb"<([A-Za-z0-9]+)>>")

_Says = dict[str, float | int | str | None]
_Answer = tuple[bytes, _Says]


@dataclass(frozen=True, slots=True)
class Setup:
    """Everything that can be set, with its default.

    ``width`` 0: that of the model. ``usv_h_per_cpm`` is the factor of the calibration it stores
    (the M4011 tube's 0.0065), ``factory_points`` stores the captured ones in its place.
    ``estimate_s`` extrapolates CPM from that many seconds; models without Fast Estimate Time ignore
    it. ``high_tube_share``: part of the counts that the second tube of a 500+ has. ``clock_ppm``:
    20 s a day, as measured on two units.
    ``short_every``, ``stray_every``, ``silent_every``: each n-th answer loses its last byte,
    follows a stray one, or is not given. ``silent_versions``: so many GETVER stay unanswered;
    ``wants_cpm_first``: all of them do until a GETCPM. ``first_value``: the first count, if >= 0.
    ``key_off``: switched off by key, which leaves the cable alive and only GETCFG tells.
    ``volts_two_places``: 3.95v without a NUL in place of 4.0v with one.
    """

    model: str = "GMC-300S"
    firmware: str = "1.14"
    serial: str = "F7F4C578139D08"
    width: int = 0
    usv_h_per_cpm: float = 0.0065
    factory_points: bool = False
    volts: float = 4.2
    volts_two_places: bool = False
    estimate_s: int = 60
    high_tube_share: float = 0.0
    temperature_c: float = 22.0
    heartbeat: bool = False
    obeys_heartbeat_off: bool = True
    short_every: int = 0
    stray_every: int = 0
    silent_every: int = 0
    silent_versions: int = 0
    wants_cpm_first: bool = False
    first_value: int = -1
    key_off: bool = False
    clock_offset_s: float = 0.0
    clock_ppm: float = 231.5


class Gmc:
    """One counter on its cable."""

    states: ClassVar[frozenset[str]] = frozenset({"dead_channel", "frozen_value"})

    def __init__(self, setup: Setup, rng: random.Random, start: datetime) -> None:
        self._setup = setup
        self._rng = rng
        self._clock = DeviceClock(start, setup.clock_offset_s, setup.clock_ppm)
        self._model: Model = model_of(setup.model, float(setup.firmware))
        self._width = setup.width or self._model.width or 2
        self._estimate_s = setup.estimate_s if self._model.estimate_at is not None else _MINUTE
        self._on: set[str] = set()
        self._power = PowerWatch()
        self._second = 0
        self._answers = 0
        self._begin()

    def _begin(self) -> None:
        """It is switched on."""
        setup = self._setup
        self._seconds: deque[tuple[int, int]] = deque(maxlen=_MINUTE)
        self._largest = 0
        self._beats = setup.heartbeat
        self._first_value = setup.first_value
        self._silent_versions = setup.silent_versions
        self._was_asked_cpm = False
        self._typed = bytearray()

    def set_serial(self, serial: str) -> None:
        """Another unit answers."""
        self._setup = replace(self._setup, serial=serial)

    def set_state(self, name: str, *, on: bool) -> None:
        """One of ``states``: the tube is dead, or the counts stand still."""
        (self._on.add if on else self._on.discard)(name)

    def next_s(self) -> float:
        """The end of this second."""
        return float(self._second + 1)

    def advance(self, to_s: float, field: Field) -> Sequence[Emission]:
        """Counts the seconds that end up to ``to_s``; with the heartbeat on it sends each."""
        emissions: list[Emission] = []
        while self._second + 1 <= to_s:
            begin, end = float(self._second), float(self._second + 1)
            self._second += 1
            if not self._is_on(end, field) or end <= self._power.since_s:
                continue
            self._count(begin, end, field)
            if self._beats:
                emissions.append(Emission(end, encode_cps(sum(self._seconds[-1]), self._width)))
        return emissions

    def receive(self, at_s: float, data: bytes, field: Field) -> Sequence[Emission]:
        """An answer for each complete command it knows; silence for anything else."""
        emissions = list(self.advance(at_s, field))
        if not self._is_on(at_s, field):
            return emissions
        self._typed += data
        while match := _COMMAND.search(self._typed):
            name = match[1].decode("ascii")
            del self._typed[: match.end()]
            answer = self._answer(name, at_s)
            if answer is not None:
                emissions += self._spoiled(at_s + _ANSWER_S, *answer)
        del self._typed[:-_LONGEST_COMMAND]
        return emissions

    def _is_on(self, at_s: float, field: Field) -> bool:
        powered = self._power.look(at_s, field)
        if powered is Powered.FRESH:
            self._begin()
        return powered is not Powered.OFF

    def _count(self, begin: float, end: float, field: Field) -> None:
        if "frozen_value" in self._on and self._seconds:
            self._seconds.append(self._seconds[-1])
            return
        count = 0 if "dead_channel" in self._on else field.gamma_counts(begin, end)
        share = self._setup.high_tube_share
        high = sum(self._rng.random() < share for _ in range(count)) if share else 0
        self._seconds.append((count - high, high))
        self._largest = max(self._largest, count)

    def _answer(self, name: str, at_s: float) -> _Answer | None:
        setup = self._setup
        match name:
            case "GETVER":
                return self._version()
            case "GETSERIAL":
                return bytes.fromhex(setup.serial), {}
            case "GETCPS":
                count = self._first(sum(self._seconds[-1]) if self._seconds else 0)
                shown = count if count < full_cps(self._width) else None
                return encode_cps(count, self._width), {"gamma_counts": shown}
            case "GETCPM":
                self._was_asked_cpm = True
                count = self._first(self._minute(0) + self._minute(1))
                shown = count if count < full_cpm(self._width) else None
                return encode_cpm(count, self._width), {"gamma_count_rate.cpm": shown}
            case "GETVOLT" if data := gmc_more.encode_volts(
                setup.volts, self._model.volts, two_places=setup.volts_two_places
            ):
                return data, {"battery": gmc_more.shown_volts(data)}
            case "GETCFG" if self._model.config_bytes:
                return self._configuration(), {}
            case "HEARTBEAT0" | "HEARTBEAT1":
                self._beats = name.endswith("1") or not setup.obeys_heartbeat_off
                return None
        seldom = self._seldom_asked(name, at_s)
        return None if seldom is None else (seldom, {})

    def _seldom_asked(self, name: str, at_s: float) -> bytes | None:
        """What our driver does not ask, and other programs do."""
        model = self._setup.model
        match name:
            case "GETCPML" | "GETCPMH" | "GETCPSL" | "GETCPSH":
                return self._of_tube(name)
            case "GETMAXCPS" if gmc_more.has_tubes(model):
                return self._largest.to_bytes(4, "big")
            case "GETDATETIME":
                return gmc_more.encode_time(self._clock.at(at_s))
            case "GETGYRO":
                return gmc_more.gyro_of(model)
            case "GETTEMP" if model.startswith("GMC-320"):
                return gmc_more.encode_temperature(self._setup.temperature_c)
        return None

    def _of_tube(self, name: str) -> bytes | None:
        """L is the sensitive tube, H the other; a model with one counts nothing in the other."""
        model = self._setup.model
        if not gmc_more.has_tubes(model) and not gmc_more.is_alike(model):
            return None
        tubes = (0, 1) if gmc_more.is_alike(model) else (int(name.endswith("H")),)
        if name.startswith("GETCPM"):
            return encode_cpm(sum(map(self._minute, tubes)), self._width)
        last = self._seconds[-1] if self._seconds else (0, 0)
        return encode_cps(sum(last[tube] for tube in tubes), self._width)

    def _configuration(self) -> bytes:
        block = encode_configuration(self._model, self._points(), estimate=self._setup.estimate_s)
        return gmc_more.off_by_key(block) if self._setup.key_off else block

    def _version(self) -> _Answer | None:
        setup = self._setup
        if self._silent_versions > 0:
            self._silent_versions -= 1
            return None
        if setup.wants_cpm_first and not self._was_asked_cpm:
            return None
        name = gmc_more.VERSION_NAMES.get(setup.model, setup.model)
        return encode_version(name, setup.firmware, blank=setup.model != "GMC-800"), {}

    def _first(self, count: int) -> int:
        """The wrong value after power-on, once."""
        if self._first_value >= 0:
            count, self._first_value = self._first_value, -1
        return count

    def _minute(self, tube: int) -> int:
        recent = list(self._seconds)[-self._estimate_s :]
        return sum(second[tube] for second in recent) * _MINUTE // self._estimate_s

    def _points(self) -> tuple[tuple[int, float], ...]:
        """As many points as the model stores: the maker's, or all on one straight line."""
        if self._model.points is None:
            return ()
        if self._setup.factory_points:
            return gmc_more.FACTORY_POINTS[self._setup.model]
        counts = [100 * 2**step for step in range(len(self._model.points.counts_at))]
        return tuple((count, count * self._setup.usv_h_per_cpm) for count in counts)

    def _spoiled(self, at_s: float, data: bytes, says: _Says) -> list[Emission]:
        self._answers += 1
        setup = self._setup
        if setup.silent_every and self._answers % setup.silent_every == 0:
            return []
        if setup.short_every and self._answers % setup.short_every == 0:
            return [Emission(at_s, data[:-1])]
        if setup.stray_every and self._answers % setup.stray_every == 0:
            return [Emission(at_s, b"\x00" + data)]
        return [Emission(at_s, data, says)]


def create(settings: Settings, rng: random.Random, start: datetime | None = None) -> Gmc:
    """A GMC with the settings of ``Setup``; ValueError for others."""
    setup = filled(Setup(), settings, NAME)
    if setup.estimate_s not in ESTIMATES_S:
        raise ValueError(f"estimate_s {setup.estimate_s} is not one of {ESTIMATES_S}")
    if setup.width not in (0, 2, 4):
        raise ValueError(f"width {setup.width} is not 2 or 4, or 0 for the model's")
    if not 0 <= setup.high_tube_share <= 1:
        raise ValueError(f"high_tube_share {setup.high_tube_share} is not 0 to 1")
    if setup.factory_points and setup.model not in gmc_more.FACTORY_POINTS:
        known = ", ".join(gmc_more.FACTORY_POINTS)
        raise ValueError(f"factory_points are known of {known}, not of {setup.model}")
    return Gmc(setup, rng, start or DEFAULT_START)
