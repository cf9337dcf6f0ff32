"""Fold-over: what a paralysed counter shows, and what people who walk past show."""

import math
from itertools import count, pairwise
from random import Random

import pytest

from drivers.api import Channel, Flag, Quantity, Reading
from gateway.alarms import foldover
from gateway.alarms.book import Book
from gateway.alarms.dose_rate import DoseRateAlarm
from gateway.alarms.foldover import FoldLimits, FoldOver, plausible_factor
from gateway.alarms.profiles import DetectorProfile
from gateway.alarms.usability import dose_rates
from gateway.alarms.watcher import Sampled
from gateway.values import Instant, Measured
from simulators.poisson import poisson

TAU_S = 100e-6
AREA_TOP = 1 / (math.e * TAU_S)  # 3679 counts per second
HH_TOP = 30.0
BACKGROUND = 0.1


def registered(true_cps):
    """A paralysable counter: m = n exp(-n tau)."""
    return true_cps * math.exp(-true_cps * TAU_S)


def course(values, limits, step_s, background=None, start=None):
    state = start or FoldOver()
    for index, value in enumerate(values):
        state = foldover.step(state, value, 1000.0 + index * step_s, limits, background)
        if state.suspect:
            return state
    return state


def walk_past(peak, step_s, phase_s, top, rng=None, cps_per_usv_h=500.0):
    """Readings of somebody who passes at 1 m and 1.2 m/s, cut at the top of the range."""
    values = []
    for index in range(-math.ceil(60 / step_s), math.ceil(60 / step_s)):
        t = index * step_s + phase_s
        value = peak / (1.0 + (1.2 * t) ** 2) + BACKGROUND
        if rng is not None:
            value = poisson(rng, value * cps_per_usv_h * step_s) / cps_per_usv_h / step_s
        values.append(min(value, top))
    return values


@pytest.mark.parametrize("step_s", [0.25, 1.0, 2.0])
def test_dt_36(step_s):
    """2320 and 26 783 cps read the same 1839, then 100 000 cps reads 5: the fall is suspect."""
    limits = FoldLimits(AREA_TOP, step_s)
    readings = [0.2, registered(2_320), registered(26_783)]
    assert readings[1:] == pytest.approx([1839, 1839], abs=2)
    assert registered(100_000) == pytest.approx(4.54, abs=0.01)
    before = course(readings, limits, step_s, 0.2)
    assert not before.suspect
    after = 1000.0 + len(readings) * step_s
    assert foldover.step(before, registered(100_000), after, limits, 0.2).suspect


@pytest.mark.parametrize("step_s", [1.0, 2.0])
def test_a_fold_over_in_two_steps(step_s):
    limits = FoldLimits(AREA_TOP, step_s)
    true = (2_320, 26_783, 50_000, 100_000)
    assert course([registered(n) for n in true], limits, step_s).suspect


@pytest.mark.parametrize("step_s", [0.25, 1.0, 2.0])
@pytest.mark.parametrize("shape", ["linear", "exponential", "square"])
def test_a_slow_decrease_over_30_s_is_none(step_s, shape):
    """From 2320 cps to background: evenly, by halves, or carried from 1 m to 37 m."""
    limits = FoldLimits(AREA_TOP, step_s)
    share = {
        "linear": lambda t: 1.0 - t / 30.0,
        "exponential": lambda t: (0.2 / 2320) ** (t / 30.0),
        "square": lambda t: 1.0 / (1.0 + 1.2 * t) ** 2,
    }[shape]
    truth = [2320 * max(share(i * step_s), 0.0) + 0.2 for i in range(int(30 / step_s) + 1)]
    values = [registered(2320)] * 5 + [registered(n) for n in truth] + [0.2] * 100
    assert not course(values, limits, step_s, 0.2).suspect


@pytest.mark.parametrize("step_s", [0.25, 1.0, 2.0])
@pytest.mark.parametrize(
    ("peak", "top"), [(146.0, 10_000.0), (146.0, HH_TOP), (30.6, HH_TOP), (7.07, HH_TOP)]
)
def test_nobody_who_walks_past_is_suspect(step_s, peak, top):
    """I-131 therapy (P15), F-18 (P14) and Tc-99m (P13) patients, at every phase of the sampling."""
    limits = FoldLimits(top, step_s)
    for step in range(200):
        values = walk_past(peak, step_s, step / 200 * step_s, top)
        assert not course(values, limits, step_s).suspect, step


@pytest.mark.parametrize("step_s", [0.25, 1.0, 2.0])
@pytest.mark.parametrize(("peak", "top"), [(146.0, HH_TOP), (30.6, HH_TOP)])
def test_nor_with_the_noise_of_a_hand_held(step_s, peak, top):
    rng = Random(20)
    limits = FoldLimits(top, step_s)
    for _ in range(200 if step_s >= 1 else 40):
        values = walk_past(peak, step_s, rng.random() * step_s, top, rng)
        assert not course(values, limits, step_s).suspect


def test_readings_2_s_apart_would_be_suspect_by_the_factor_alone():
    """What the allowance for slow sampling is needed for: 7.6 between two readings."""
    found = [
        max(a / b for a, b in pairwise(values))
        for values in (walk_past(30.6, 2.0, phase / 50, 1e9) for phase in range(100))
    ]
    assert max(found) > 7.0
    assert plausible_factor(2.0) == pytest.approx(11.56)
    assert plausible_factor(1.0) == plausible_factor(0.25) == 5.0


def test_an_f18_patient_over_the_top_of_a_hand_held():
    """Over range, then 30, 17, 6 in readings 1 s apart."""
    assert not course([12.0, HH_TOP, 30.0, 17.0, 6.0, 2.5], FoldLimits(HH_TOP, 0.25), 1.0).suspect


def test_a_source_that_is_taken_away_at_once_is_for_the_assessor():
    """From 5000 to background within a second is what fold-over looks like, too."""
    limits = FoldLimits(10_000.0, 1.0)
    state = course([0.1, 5000.0, 0.1], limits, 1.0)
    assert state.suspect
    settled = foldover.confirmed(state)
    assert not course([0.1] * 60, limits, 1.0, start=settled).suspect


def test_a_slow_fall_below_background_is_suspect():
    """A source that comes nearer for a minute, until 20 cps of background read 8."""
    limits = FoldLimits(60_000.0, 1.0)
    falling = [60_000 * 0.8**second for second in range(40)]  # 10 cps after 39 s
    assert not course(falling, limits, 1.0, 20.0).suspect
    assert course([*falling, *[8.0] * 15], limits, 1.0, 20.0).suspect
    assert not course([*falling, *[20.0] * 600], limits, 1.0, 20.0).suspect


def test_noise_of_the_background_is_not_below_it():
    """A small tube with 0.2 cps gives no count in most readings; a pager with 20 cps has noise."""
    for background in (0.2, 1.0, 5.0, 20.0):
        rng = Random(int(background * 10))
        limits = FoldLimits(AREA_TOP, 1.0)
        values = [3000 * 0.7**second + background for second in range(40)]
        values += [poisson(rng, background) for _ in range(560)]
        assert not course(values, limits, 1.0, background).suspect, background


def test_a_shield_long_after_a_high_reading_is_none():
    limits = FoldLimits(60_000.0, 1.0)
    values = [20_000 * 0.8**second + 20 for second in range(40)] + [20.0] * 600 + [5.0] * 60
    assert not course(values, limits, 1.0, 20.0).suspect


def test_a_lost_reading_hides_no_fold_over():
    """1839 and 3 s later 5 cps: nobody walks away so fast; 60 s later it may be."""
    limits = FoldLimits(AREA_TOP, 1.0)
    state = course([1839.0], limits, 1.0)
    assert foldover.step(state, 5.0, state.last_at + 3.0, limits, 0.2).suspect
    assert not foldover.step(state, 90.0, state.last_at + 3.0, limits, 0.2).suspect
    assert not foldover.step(state, 5.0, state.last_at + 60.0, limits, 0.2).suspect


def test_below_background_right_after_a_high_reading_whatever_the_gap():
    limits = FoldLimits(60_000.0, 1.0)
    state = course([30_000.0], limits, 1.0)
    assert foldover.step(state, 5.0, state.last_at + 900.0, limits, 20.0).suspect
    assert not foldover.step(state, 18.0, state.last_at + 900.0, limits, 20.0).suspect


def test_suspicion_is_not_lifted_by_a_jump_after_a_gap():
    limits = FoldLimits(AREA_TOP, 1.0)
    state = course([1839.0, 5.0], limits, 1.0)
    assert foldover.step(state, 1839.0, state.last_at + 60.0, limits, None).suspect


@pytest.mark.parametrize("step_s", [0.25, 1.0, 2.0])
def test_suspicion_ends_when_the_source_goes_away_slowly(step_s):
    """100 000 cps to 2320 within a minute: the reading climbs over its maximum and falls."""
    limits = FoldLimits(AREA_TOP, step_s)
    state = course([1839.0, registered(100_000)], limits, step_s)
    samples = int(60 / step_s)
    for index in range(samples + 1):
        true = 100_000 * (2320 / 100_000) ** (index / samples)
        at = state.last_at + step_s
        state = foldover.step(state, registered(true), at, limits, None)
    assert not state.suspect
    assert state.last == pytest.approx(1839, abs=2)


class Bench:
    """The dose-rate alarm of one detector."""

    def __init__(self, **profile):
        self.ids = count(1)
        self.book = Book(DetectorProfile("d", **profile), lambda: f"o{next(self.ids)}")
        self.rule = DoseRateAlarm(self.book, 10.0, 0.01)
        self.mono = 1000.0

    def dose(self, value, step_s=1.0):
        self.mono += step_s
        now = Instant(1.7e9 + self.mono, self.mono)
        over = value is None
        reading = Reading(
            Channel.DOSE_RATE, value, "µSv/h", Quantity.AMBIENT_DOSE_EQUIVALENT_RATE,
            (Flag.OVER_RANGE,) if over else (), HH_TOP if over else None,
        )  # fmt: skip
        measured = Measured("d", now, now, (reading,))
        true, estimate = dose_rates(measured)
        sampled = Sampled(measured, None, None, true, estimate, False, False, False)
        changes = self.rule.measured(sampled, alive=True, background=None)
        return [str(change.event) for change in changes]


@pytest.mark.parametrize("step_s", [0.25, 1.0, 2.0])
def test_the_alarm_of_an_f18_patient_returns_by_itself_but_for_its_latch(step_s):
    """P14 on a hand-held with 30 µSv/h: R8 for the over-range, and no suspicion when it falls."""
    bench = Bench(detector_class="Gamma Handheld", range_top_usv_h=HH_TOP, silence_s=step_s)
    events = []
    for value in walk_past(30.6, step_s, 0.0, math.inf):
        events += bench.dose(None if value > HH_TOP else value, step_s)
        assert not bench.rule.fold.suspect
    assert "raised" in events
    assert events[-2:] == ["returned", "latched"]


def test_a_fold_over_holds_the_alarm_of_a_fixed_tube():
    bench = Bench(detector_class="Network Area Monitor", range_top_usv_h=AREA_TOP, silence_s=2.0)
    for value in (0.2, registered(2320), registered(26_783), registered(100_000)):
        bench.dose(value, 2.0)
    assert bench.rule.fold.suspect
    for _ in range(300):
        bench.dose(registered(100_000), 2.0)
    record = bench.book.records["dose_rate"]
    assert record.active
    assert record.held[-1] == "R8"
