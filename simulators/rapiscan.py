"""A simulated Rapiscan / TSA portal monitor.

Habits, measured on rpm_data1.txt of rapiscan-simulator and SampleData of RPM-Simulator:

- vacant: NB, then GB 79 ms later, every 5 s; averages over the times of SG3 and SN1, occupied
  time included (after a shielding truck GB recovers in 5 s steps); NB is rounded down
- occupied: SP, NS, then six gamma lines at once (five from before), then one each 0.2 s; one NS
  each second; a hold-in after the beam clears; GX one interval after the last gamma line
- GA as ``rapiscan_rule`` decides it for each line
- once a day, if set: five set-up lines between NB and GB, and the next occupancy has number 1
- an occupancy that begins as NB and GB fall due sends SP, NB, GB, NS
- of 700 occupancies 493 began with SP, 162 had it behind the first lines, 38 had none early, 7 two
- spectral firmware, if set, sends NB1 3 ms after NB: the neutron background before rounding
- the number restarts at 1 with the set-up lines and at power-up (RapiscanSensor.java)

Assumed, because nothing documents it: an NA is a second with ``neutron_alarm_counts`` counts or
more of all detectors; GH and GL look at each detector, as SRLS does, and serve as background like
GB; TT and TC are sent once at each change; averages begin anew at power-up; a dead detector is the
first one. What other tags of spectral firmware mean is not known, so they are not sent.
"""

import math
import random
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Final

from drivers.rapiscan_lines import (
    CLAMPED_MPH,
    Counts,
    End,
    Rates,
    Record,
    Setup,
    Speed,
    Tag,
    Tamper,
    encode,
)
from simulators.api import Emission, Field
from simulators.instrument_settings import Settings as Given
from simulators.instrument_settings import filled
from simulators.power_watch import Powered, PowerWatch
from simulators.rapiscan_rule import (
    INTERVALS_PER_S,
    PARTS,
    WINDOW,
    GammaAlarm,
    MovingAverage,
    Occupancy,
)

Says = dict[str, float | int | str | None]

BUFFERED: Final = 5
VACANT_PERIOD: Final = 25
"""Intervals from one NB to the next, and from the last gamma line to the next NB."""
GB_DELAY_S: Final = 0.079
LINE_S: Final = 0.005
"""Between lines of a burst: six gamma lines came within 60 ms, five set-up lines within 31 ms."""
JITTER_S: Final = 0.016
DAY_S: Final = 86400.0
CLAMPED_KPH: Final = 160.93
_EXACT_DELAY_S: Final = 0.003
_SPEED_LINES: Final = {"first": 493, "late": 162, "none": 38, "twice": 7}
"""How often each was seen at the start of an occupancy (rpm_data1.txt)."""
_LATE_INTERVALS: Final = 2
_FOOT_M: Final = 0.3048
_MPH_M_S: Final = 0.44704
_SLOWEST_M_S: Final = _FOOT_M / 9.9999


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be set; the defaults are those of the capture. Times in s, negative is never.

    ``speed_lines``: where SP stands at the start of an occupancy whose speed is known: first, late,
    none, twice, or mixed as often as captured.
    """

    gamma_high_fault: int = 2000
    gamma_low_fault: int = 68
    hold_in_intervals: int = 10
    n_sigma: float = 5.0
    background_time_s: int = 20
    neutron_high_fault: int = 50
    neutron_background_time_s: int = 120
    neutron_alarm_counts: int = 20
    firmware: str = "1.10.1"
    first_number: int = 1
    setup_at_s: float = -1.0
    tamper_from_s: float = -1.0
    tamper_to_s: float = -1.0
    speed_lines: str = "first"
    exact_neutron_background: bool = False


class RapiscanPortal:
    """One portal. It draws counts of 0.2 s for its detectors, parts 1 to 4 of the field."""

    states: ClassVar[frozenset[str]] = frozenset({"tamper", "dead_channel"})

    def __init__(self, settings: Settings, rng: random.Random) -> None:
        self._settings = settings
        self._rng = rng
        self._tick = 0
        self._sent_s = 0.0
        self._out: deque[Emission] = deque()
        self._on: set[str] = set()
        self._power = PowerWatch()
        self._next_setup_s = settings.setup_at_s if settings.setup_at_s >= 0 else math.inf
        self._hold_in = max(1, settings.hold_in_intervals)
        self._tampered = False
        self._begin_anew(settings.first_number)

    def _begin_anew(self, number: int) -> None:
        """It is switched on."""
        settings = self._settings
        self._gamma_average = MovingAverage(settings.background_time_s)
        self._neutron_average = MovingAverage(settings.neutron_background_time_s)
        self._gammas: deque[Sequence[int]] = deque(maxlen=BUFFERED + 1)
        self._neutrons: deque[Sequence[int]] = deque(maxlen=INTERVALS_PER_S)
        self._alarm = GammaAlarm(settings.n_sigma)
        self._gamma_background: int | None = None
        self._neutron_milli = 0
        self._number = number
        self._speed_m_s: float | None = None
        self._late_speed = 0
        self._occupancy: Occupancy | None = None
        self._next_background = self._tick + VACANT_PERIOD

    def set_state(self, name: str, *, on: bool) -> None:
        """One of ``states``: the cabinet is open, or the first detector is dead."""
        (self._on.add if on else self._on.discard)(name)

    def next_s(self) -> float:
        """The line that waits, or the end of this interval."""
        interval_s = (self._tick + 1) / INTERVALS_PER_S
        return min(self._out[0].at_s, interval_s) if self._out else interval_s

    def advance(self, to_s: float, field: Field) -> Sequence[Emission]:
        """All lines up to ``to_s``."""
        while (self._tick + 1) / INTERVALS_PER_S <= to_s:
            self._tick += 1
            self._step(self._tick / INTERVALS_PER_S, field)
        sent: list[Emission] = []
        while self._out and self._out[0].at_s <= to_s:
            sent.append(self._out.popleft())
        return sent

    def receive(self, at_s: float, data: bytes, field: Field) -> Sequence[Emission]:
        """Nothing: the portal does not listen."""
        return ()

    def _step(self, now_s: float, field: Field) -> None:
        powered = self._power.look(now_s, field)
        if powered is Powered.FRESH:
            self._begin_anew(1)
        if powered is Powered.OFF or now_s <= self._power.since_s:
            return
        self._count(now_s, field)
        at_s = now_s + self._rng.uniform(0, JITTER_S)
        self._watch_cabinet(now_s, at_s)
        occupancy = self._occupancy
        if occupancy is not None and occupancy.cleared >= self._hold_in:
            self._end(occupancy, at_s)
        elif occupancy is not None:
            self._go_on(occupancy, now_s, at_s, field)
        elif field.occupied(now_s) and len(self._gammas) > BUFFERED:
            self._begin(now_s, at_s, field)
        elif self._tick >= self._next_background:
            self._tell_background(now_s, at_s, GB_DELAY_S)

    def _count(self, now_s: float, field: Field) -> None:
        before_s = (self._tick - 1) / INTERVALS_PER_S
        gammas = tuple(field.gamma_counts(before_s, now_s, part) for part in PARTS)
        if "dead_channel" in self._on:
            gammas = (0, *gammas[1:])
        neutrons = tuple(field.neutron_counts(before_s, now_s, part) for part in PARTS)
        self._gammas.append(gammas)
        self._neutrons.append(neutrons)
        self._gamma_average.add(gammas)
        self._neutron_average.add(neutrons)

    def _watch_cabinet(self, now_s: float, at_s: float) -> None:
        opened_s, closed_s = self._settings.tamper_from_s, self._settings.tamper_to_s
        tampered = 0 <= opened_s <= now_s and not opened_s < closed_s <= now_s
        tampered |= "tamper" in self._on
        if tampered is not self._tampered:
            self._tampered = tampered
            self._send(at_s, Tamper(tampered), {"tamper": int(tampered)})

    def _begin(self, now_s: float, at_s: float, field: Field) -> None:
        self._speed_m_s = None
        self._late_speed = 0
        order = self._speed_order()
        for _ in range({"first": 1, "twice": 2}.get(order, 0)):
            self._tell_speed(at_s, field.speed_m_s(now_s))
        if order == "late":
            self._late_speed = self._tick + _LATE_INTERVALS
        if self._tick >= self._next_background:
            self._tell_background(now_s, at_s, 0.0)
        self._occupancy = occupancy = Occupancy(self._tick)
        self._tell_neutrons(occupancy, at_s)
        for k, counts in enumerate(self._gammas):
            self._tell_gamma(occupancy, at_s + k * LINE_S, counts)

    def _go_on(self, occupancy: Occupancy, now_s: float, at_s: float, field: Field) -> None:
        if (self._tick - occupancy.began) % INTERVALS_PER_S == 0:
            self._tell_neutrons(occupancy, at_s)
        self._tell_gamma(occupancy, at_s, self._gammas[-1])
        if self._tick == self._late_speed:
            self._tell_speed(at_s, field.speed_m_s(now_s))
        occupancy.cleared = 0 if field.occupied(now_s) else occupancy.cleared + 1

    def _end(self, occupancy: Occupancy, at_s: float) -> None:
        says: Says = {
            "passage.number": self._number,
            "passage.gamma_alarm": occupancy.gamma_alarm,
            "passage.neutron_alarm": occupancy.neutron_alarm,
            "passage.gamma_max": occupancy.gamma_max,
            "passage.neutron_max": occupancy.neutron_max,
            "passage.gamma_background": self._gamma_background,
            "passage.neutron_background": self._neutron_milli / 1000,
            "passage.speed_m_s": self._speed_m_s,
            "device_alarm.gamma": 0,
            "device_alarm.neutron": 0,
        }
        self._send(at_s, End(self._number, self._neutron_milli), says)
        self._number += 1
        self._occupancy = None
        self._next_background = self._tick - 1 + VACANT_PERIOD

    def _speed_order(self) -> str:
        chosen = self._settings.speed_lines
        if chosen != "mixed":
            return chosen
        return self._rng.choices([*_SPEED_LINES], [*_SPEED_LINES.values()])[0]

    def _tell_speed(self, at_s: float, speed_m_s: float | None) -> None:
        if speed_m_s is None or speed_m_s <= _SLOWEST_M_S:
            return
        mph, kph = round(speed_m_s / _MPH_M_S, 3), round(speed_m_s * 3.6, 2)
        if mph < CLAMPED_MPH:
            self._speed_m_s = kph / 3.6
        else:
            mph, kph = CLAMPED_MPH, CLAMPED_KPH
        self._send(at_s, Speed(_FOOT_M / speed_m_s, mph, kph), {"speed": self._speed_m_s})

    def _tell_gamma(self, occupancy: Occupancy, at_s: float, counts: Sequence[int]) -> None:
        alarm = self._alarm.decide(counts)
        occupancy.note_gamma(sum(counts), alarm)
        says = {**_by_part("gamma_counts", counts), "device_alarm.gamma": int(alarm)}
        tag = Tag.GAMMA_ALARM if alarm else Tag.GAMMA
        self._send(at_s, Counts(tag, tuple(counts)), says)

    def _tell_neutrons(self, occupancy: Occupancy, at_s: float) -> None:
        counts = tuple(sum(interval[k] for interval in self._neutrons) for k in range(len(PARTS)))
        alarm = sum(counts) >= self._settings.neutron_alarm_counts
        occupancy.note_neutrons(sum(counts), alarm)
        says = {**_by_part("neutron_counts", counts), "device_alarm.neutron": int(alarm)}
        tag = Tag.NEUTRON_ALARM if alarm else Tag.NEUTRON
        self._send(at_s, Counts(tag, counts), says)

    def _tell_background(self, now_s: float, at_s: float, delay_s: float) -> None:
        self._next_background = self._tick + VACANT_PERIOD
        self._tell_neutron_background(at_s)
        if now_s >= self._next_setup_s:
            self._next_setup_s += DAY_S
            self._number = 1
            for k, record in enumerate(_setup(self._settings)):
                self._send(at_s + k * LINE_S, record, {})
        self._tell_gamma_background(at_s + delay_s)

    def _tell_neutron_background(self, at_s: float) -> None:
        rates = self._neutron_average.rates()
        self._neutron_milli = math.floor(1000 * sum(rates))
        counts = tuple(math.floor(rate) for rate in rates)
        exact = Rates(tuple(round(rate, 8) for rate in rates))
        high = max(counts) > self._settings.neutron_high_fault
        says = _by_part("background", (None,) * len(PARTS))
        says["device_fault.neutron_background_high"] = int(high)
        tag = Tag.NEUTRON_BACKGROUND_HIGH if high else Tag.NEUTRON_BACKGROUND
        self._send(at_s, Counts(tag, counts), says)
        if self._settings.exact_neutron_background:
            self._send(at_s + _EXACT_DELAY_S, exact, _by_part("background", exact.rates))

    def _tell_gamma_background(self, at_s: float) -> None:
        counts = tuple(round(rate) for rate in self._gamma_average.rates())
        self._alarm.learn(counts)
        self._gamma_background = sum(counts)
        tag = Tag.GAMMA_BACKGROUND
        says = _by_part("background", counts)
        if max(counts) > self._settings.gamma_high_fault:
            tag = Tag.GAMMA_BACKGROUND_HIGH
            says["device_fault.background_high"] = 1
        elif min(counts) < self._settings.gamma_low_fault:
            tag = Tag.GAMMA_BACKGROUND_LOW
            says["device_fault.background_low"] = 1
        else:
            says |= {"device_fault.background_high": 0, "device_fault.background_low": 0}
        self._send(at_s, Counts(tag, counts), says)

    def _send(self, at_s: float, record: Record, says: Says) -> None:
        self._sent_s = max(self._sent_s, at_s)
        self._out.append(Emission(self._sent_s, encode(record), says))


def create(settings: Given, rng: random.Random, start: datetime | None = None) -> RapiscanPortal:
    """A portal; keys are the fields of Settings. Raises ValueError for others."""
    made = filled(Settings(), settings, "a Rapiscan portal")
    if made.speed_lines not in (*_SPEED_LINES, "mixed"):
        known = ", ".join((*_SPEED_LINES, "mixed"))
        raise ValueError(f"speed_lines {made.speed_lines!r} is not one of {known}")
    return RapiscanPortal(made, rng)


def _by_part(channel: str, values: Sequence[float | None]) -> Says:
    return {f"{channel}.{part}": value for part, value in zip(PARTS, values, strict=True)}


def _setup(settings: Settings) -> Iterator[Record]:
    """The daily five lines; what is not set here is as in the capture."""
    faults = (f"{settings.gamma_high_fault:06d}", f"{settings.gamma_low_fault:06d}")
    alarm = (f"{WINDOW:02d}", f"{settings.hold_in_intervals:02d}", f"{settings.n_sigma:04.1f}")
    averaged = f"{settings.background_time_s:03d}"
    neutron_high = f"{settings.neutron_high_fault:06d}"
    neutron_averaged = f"{settings.neutron_background_time_s:03d}"
    yield Setup(Tag.GAMMA_SETUP_1, (*faults, *alarm, "P"))
    yield Setup(Tag.GAMMA_SETUP_2, ("1111", "0.069", "0.455", "01", "1010", "A"))
    yield Setup(Tag.GAMMA_SETUP_3, ("0.069", "0.455", averaged, "000", settings.firmware))
    yield Setup(Tag.NEUTRON_SETUP_1, (neutron_high, "03", "0004", "1200", "01", neutron_averaged))
    yield Setup(Tag.NEUTRON_SETUP_2, ("0.504", "5.040", "0.504", "5.040", "PP"))
