"""What instruments of each archetype measure and show, as readings of the open line format.

- PRD, HH, BP, VEH: gamma counts of each period, and a dose rate; neutrons where they count any.
- PRD: above ``high_range_from`` another tube measures; its dose rate is flagged, counts are left
  out. HH: above its indication it is over range. BP, VEH: counts saturate, the dose rate with them.
- AREA: a dose rate that its registered counts stand for, so that it folds over.
- EPD: a dose rate and a register of the dose.

The dose rate is free of noise unless the settings or the script ask for some: averaging inside
real instruments is theirs, and computable scenarios need computable times.
"""

import math
import random
from typing import Final

from config.scenario_detectors import JsonLinesSettings
from drivers.api import Channel, Flag, Quantity
from simulators.api import Field
from simulators.counter import Counter
from simulators.json_text import Line, counts, kind

_PERSONAL: Final = frozenset({"Dosimeter", "Electronic Personal Emergency Radiation Detector"})
_PER_USV: Final = {"µSv/h": 1.0, "nSv/h": 1e3, "mSv/h": 1e-3, "µR/h": 100.0, "mR/h": 0.1}
"""Roentgen as makers label dose equivalent: 100 R for 1 Sv."""
_SECONDS_PER_HOUR: Final = 3600.0


class Meter:
    """The measuring part of an instrument that is no portal."""

    def __init__(
        self, settings: JsonLinesSettings, counter: Counter, period_s: float, rng: random.Random
    ) -> None:
        self._settings = settings
        self._counter = counter
        self._rng = rng
        self._period_s = period_s
        archetype = counter.archetype
        usual = archetype.name != "AREA" and counter.background_cps is not None
        self._counts = usual if settings.counts is None else settings.counts
        self._sends_rate = (
            not settings.calibration if settings.dose_rate is None else settings.dose_rate
        )
        self._sends_dose = archetype.name == "EPD" if settings.dose is None else settings.dose
        self._neutrons = bool(counter.neutron_background_cps or counter.neutron_cps)
        self._top = settings.range_top or archetype.indication_top or math.inf
        self._from_high = archetype.high_range_from or math.inf
        self._quantities = _quantities(settings, counter)
        self._factor = _PER_USV[settings.unit]
        self._share = _share(period_s, settings.averaging_s)
        self._window_s = settings.averaging_s or (0.0 if settings.instantaneous else period_s)
        self._parts = range(1, counter.parts + 1) if counter.parts > 1 else range(1)
        self._gamma = counts(Channel.GAMMA_COUNTS, period_s)
        self._neutron = counts(Channel.NEUTRON_COUNTS, period_s)
        self._usual_rate = kind(
            Channel.DOSE_RATE, settings.unit, self._quantities[0], self._window_s
        )
        self.restart()
        self._dose_usv = 0.0

    def restart(self) -> None:
        """Switched on anew: nothing is averaged yet; a register keeps its dose."""
        self._shown: float | None = None
        self._rate: float | None = None

    @property
    def bound_usv_h(self) -> float | None:
        """What a reading over range is at least."""
        counter = self._counter
        if math.isfinite(self._top):
            return self._top
        if math.isfinite(counter.saturation_cps) and counter.sensitivity:
            return counter.saturation_cps * counter.parts / counter.sensitivity
        return None

    def measure(self, line: Line, begin_s: float, end_s: float, field: Field, on: set[str]) -> None:
        """The readings of one period, with the states that are set."""
        dead = "dead_channel" in on
        true = 0.0 if dead else field.mean_dose_rate(begin_s, end_s)
        self._dose_usv += true * (end_s - begin_s) / _SECONDS_PER_HOUR
        saturated = (
            not dead and self._settings.signals_over_range and field.saturates(begin_s, end_s)
        )
        is_high = true > self._from_high
        shown = self._averaged(self._seen(true, begin_s, end_s, field, is_high, dead))
        over = "over_range" in on or (
            self._settings.signals_over_range and max(true, shown) > self._top
        )
        if self._counts and not (over or is_high or "fault" in on):
            self._tell_counts(line, begin_s, end_s, field, saturated, dead)
        if self._neutrons and "fault" not in on:
            counted = sum(field.neutron_counts(begin_s, end_s, part) for part in self._parts)
            line.put(self._neutron, counted)
        if self._sends_rate:
            self._tell_rate(line, shown, field, over, saturated, is_high, "fault" in on)
        if self._sends_dose:
            unit = self._settings.unit.removesuffix("/h")
            line.value(
                Channel.DOSE, self._dose_usv * self._factor, unit, quantity=self._quantities[1]
            )

    def _seen(
        self, true: float, begin_s: float, end_s: float, field: Field, is_high: bool, dead: bool
    ) -> float:
        """Free of noise, before averaging."""
        counter = self._counter
        loses = counter.dead_time_s > 0 or not self._settings.signals_over_range
        if dead:
            return 0.0
        if loses and counter.can_lose and not is_high and counter.can_be_read:
            return field.counted_dose_rate(begin_s, end_s)
        return field.dose_rate(end_s) if self._settings.instantaneous else true

    def _averaged(self, seen: float) -> float:
        before = self._shown
        self._shown = seen if before is None else before + self._share * (seen - before)
        return self._shown

    def _tell_counts(
        self, line: Line, begin_s: float, end_s: float, field: Field, saturated: bool, dead: bool
    ) -> None:
        counted = 0
        if not dead:
            for part in self._parts:
                counted += field.gamma_counts(begin_s, end_s, part)
        flags = (Flag.SATURATED_COUNTS,) if saturated else ()
        if not self._settings.rate_only:
            told = counts(Channel.GAMMA_COUNTS, self._period_s, "", flags) if flags else self._gamma
            line.put(told, counted)
            return
        rate, before = counted / (end_s - begin_s), self._rate
        self._rate = rate if before is None else before + self._share * (rate - before)
        line.value(
            Channel.GAMMA_COUNT_RATE,
            self._rate,
            "1/s",
            quantity=Quantity.GAMMA_COUNT_RATE,
            window_s=self._settings.averaging_s or self._period_s,
            flags=flags,
        )

    def _tell_rate(
        self,
        line: Line,
        shown: float,
        field: Field,
        over: bool,
        saturated: bool,
        is_high: bool,
        faulty: bool,
    ) -> None:
        value: float | None = self._noisy(shown, field) * self._factor
        flags: tuple[Flag, ...] = ()
        bound = None
        if faulty:
            value, flags = None, (Flag.INSTRUMENT_FAULT,)
        elif over or saturated:
            least = self.bound_usv_h
            value, bound = None, None if least is None else least * self._factor
            flags = (Flag.OVER_RANGE, Flag.SATURATED_COUNTS) if saturated else (Flag.OVER_RANGE,)
        elif is_high:
            flags = (Flag.HIGH_RANGE_DETECTOR,)
        else:
            line.put(self._usual_rate, value)
            return
        line.value(
            Channel.DOSE_RATE,
            value,
            self._settings.unit,
            quantity=self._quantities[0],
            window_s=self._window_s,
            flags=flags,
            lower_bound=bound,
        )

    def _noisy(self, shown: float, field: Field) -> float:
        noise = self._settings.noise or field.noise
        return max(shown * (1.0 + self._rng.gauss(0.0, noise)), 0.0) if noise else shown


def _share(period_s: float, averaging_s: float) -> float:
    """What a first-order filter takes of each new value."""
    return -math.expm1(-period_s / averaging_s) if averaging_s else 1.0


def _quantities(settings: JsonLinesSettings, counter: Counter) -> tuple[Quantity, Quantity]:
    """Of the dose rate and of the dose."""
    if settings.unit.endswith("R/h"):
        return Quantity.EXPOSURE_RATE, Quantity.EXPOSURE
    usual = "personal" if counter.detector_class in _PERSONAL else "ambient"
    if (settings.dose_quantity or usual) == "personal":
        return Quantity.PERSONAL_DOSE_EQUIVALENT_RATE, Quantity.PERSONAL_DOSE_EQUIVALENT
    return Quantity.AMBIENT_DOSE_EQUIVALENT_RATE, Quantity.AMBIENT_DOSE_EQUIVALENT
