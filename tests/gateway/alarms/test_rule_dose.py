"""D1 to D5: the accumulated dose of a wearer, by register and by integral."""

import json
import math
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.api import Channel, Flag, Quantity, Reading
from gateway.alarms.book import Book
from gateway.alarms.dose import DoseAlarm
from gateway.alarms.dose_integral import CONTINUOUS_S, Integral
from gateway.alarms.durable import Internal, decode, encode
from gateway.alarms.profiles import DetectorProfile, DoseSetting
from gateway.alarms.record import AlarmEvent
from gateway.alarms.usability import dose_rates
from gateway.alarms.watcher import Sampled
from gateway.values import Instant, Measured

RATE = Quantity.PERSONAL_DOSE_EQUIVALENT_RATE
DOSE = Quantity.PERSONAL_DOSE_EQUIVALENT


class Worn:
    """A worn instrument in virtual time; times in s from the first moment, rates in µSv/h."""

    def __init__(self, **profile):
        self.profile = DetectorProfile("d", "Dosimeter", **profile)
        self.ids = count(1)
        self.mono, self.changes = 1000.0, []
        self.begin()

    def begin(self):
        self.book = Book(self.profile, lambda: f"o{next(self.ids)}")
        self.rule = DoseAlarm(self.book)

    @property
    def now(self):
        return Instant(1.7e9 + self.mono, self.mono)

    @property
    def status(self):
        self.rule.tick(self.now)
        return self.rule.status()

    def wait(self, seconds):
        self.mono += seconds
        self.rule.tick(self.now)

    def sample(self, *readings, flags=(), blind=False, age_s=0.0):
        at = self.now.earlier(age_s)
        measured = Measured("d", at, self.now, readings, flags=flags)
        true, estimate = dose_rates(measured)
        sampled = Sampled(measured, None, None, true, estimate, blind, False, False)
        changes = self.rule.measured(sampled)
        self.changes += changes
        return [str(change.event) for change in changes]

    def see(self, rate=None, register=None, *flags, bound=None, **more):
        readings = []
        if rate is not None or flags:
            readings.append(Reading(Channel.DOSE_RATE, rate, "µSv/h", RATE, flags, bound))
        if register is not None:
            readings.append(Reading(Channel.DOSE, register, "µSv", DOSE))
        return self.sample(*readings, **more)

    def run(self, rate, seconds, step=1.0):
        """Constant rates for so long, the first one ``step`` from now."""
        for _ in range(round(seconds / step)):
            self.mono += step
            self.see(rate)

    def restart(self, off_s=0.0, mono=5.0, *, learned=True):
        """Another process on another monotonic clock, with what the journal kept."""
        kept = json.loads(json.dumps(self.rule.learned())) if learned else None
        record = self.book.records.get("dose")
        state = None if record is None else encode(record, self.rule.internal("dose"))
        self.begin()
        self.mono = mono
        if state is not None:
            record, internal = decode(state, self.now)
            self.book.records["dose"] = record
            self.rule.restore(record, internal, self.now)
        if kept is not None:
            self.rule.relearn(kept, off_s, self.now)

    @property
    def alarm(self):
        return self.book.records.get("dose")

    def raised(self):
        """Levels and the times at which they were reached, in s since the beginning."""
        return {one.level: one.at.mono - 1000.0 for one in self.alarm.levels}


# --- Levels and prediction


def test_a_constant_field_reaches_each_level_in_time_and_is_predicted():
    """DT-44: 100 mSv/h, D1 at 36 s, D2 at 12 min, D3 at 30.0 min; predicted from minute 1."""
    worn, off = Worn(), {}
    worn.see(1e5)
    for second in range(1, 1802):
        worn.run(1e5, 1)
        status = worn.status
        if second >= 60 and status.next_level in ("D2", "D3"):
            due = {"D2": 720.0, "D3": 1800.0}[status.next_level]
            left = due - second
            off[second] = abs(status.seconds_to_next - left) / max(left, 1.0)
    reached = worn.raised()
    assert reached["D1"] == pytest.approx(36.0, abs=1.0)
    assert reached["D2"] == pytest.approx(720.0, abs=1.0)
    assert reached["D3"] == pytest.approx(1800.0, abs=1.0)
    assert min(off) == 60
    assert max(off.values()) < 0.01


def test_levels_are_one_object_that_escalates_and_never_returns_by_itself():
    worn = Worn()
    worn.see(1e5)
    worn.run(1e5, 1800)
    worn.run(1e5, 2)
    record = worn.alarm
    events = [str(change.event) for change in worn.changes]
    assert [event for event in events if event != "peak"] == ["raised", "escalated", "escalated"]
    assert (record.level, record.priority, record.latched) == ("D3", 1, True)
    assert record.held == ("D1", "D2", "D3")
    assert not record.indicative
    assert (record.unit, record.quantity) == ("µSv", DOSE)
    worn.run(0.1, 600)
    assert worn.alarm.active
    assert dict(record.rule.parameters)["D3_usv"] == 50e3


def test_peaks_are_told_when_the_dose_has_doubled():
    worn = Worn()
    worn.see(1e5)
    worn.run(1e5, 600)
    peaks = [change.value for change in worn.changes if change.event is AlarmEvent.PEAK]
    assert [round(peak, -3) for peak in peaks] == [2e3, 4e3, 8e3, 16e3]


def test_priorities_are_those_of_the_levels_and_disabled_levels_are_not_judged():
    worn = Worn()
    worn.see(1e5)
    worn.run(1e5, 37)
    assert (worn.alarm.level, worn.alarm.priority) == ("D1", 2)
    worn.run(1e7, 600)  # 1.67 Sv
    assert worn.alarm.level == "D4"
    assert worn.status.next_level is None


def test_no_level_enabled_is_said():
    worn = Worn(dose_levels=(DoseSetting("D1", 1e3, 2, "", enabled=False),))
    worn.see(1e6)
    worn.run(1e6, 10)
    assert worn.alarm is None
    standing = worn.rule.standing()[0]
    assert (standing.armed, standing.reason) == (False, "no dose level is enabled")


def test_nothing_is_known_before_the_first_reading():
    worn = Worn()
    assert worn.status is None
    assert worn.rule.learned() is None
    assert not worn.rule.standing()[0].armed
    worn.see(0.1)
    assert worn.rule.standing()[0].armed
    assert worn.status.dose_usv == 0.0


def test_a_rate_of_next_to_nothing_predicts_nothing_and_the_alarm_outlives_a_restart():
    worn = Worn()
    worn.see(1e-308, 1000.0)
    assert worn.status.seconds_to_next is None
    worn.restart()
    assert worn.alarm.active


# --- The integral


@settings(deadline=None, max_examples=50)
@given(st.floats(0.0, 1e6), st.floats(0.0, 1e4), st.lists(st.floats(0.01, 5.0), min_size=1))
def test_a_ramp_is_integrated_exactly(start, slope, steps):
    """For a linear rate the trapezoid is exact, whatever the steps are."""
    integral, t = Integral(), 0.0
    integral.add(t, start)
    for step in steps:
        t += step
        integral.add(t, start + slope * t)
    exact = (start * t + slope * t * t / 2) / 3600
    assert integral.lower_usv == pytest.approx(exact, rel=1e-9, abs=1e-12)
    assert integral.upper_usv == integral.lower_usv


@pytest.mark.parametrize("gap_s", [4.0, 60.0, 7200.0])
def test_gaps(gap_s):
    """Up to 5 s the trapezoid, beyond it the lesser and the greater of both ends."""
    worn = Worn()
    worn.see(100.0)
    worn.wait(gap_s)
    worn.see(300.0)
    status, hours = worn.status, gap_s / 3600
    if gap_s <= CONTINUOUS_S:
        assert status.lower_usv == status.upper_usv == pytest.approx(200 * hours)
        assert status.gaps_s == 0
    else:
        assert status.dose_usv == status.lower_usv == pytest.approx(100 * hours)
        assert status.upper_usv == pytest.approx(300 * hours)
        assert status.gaps_s == gap_s


def test_the_upper_bound_alone_raises_a_level_marked_indicative():
    worn = Worn()
    worn.see(0.1)
    worn.wait(7200)
    assert worn.see(600.0) == ["raised"]  # at most 1.2 mSv, at least nothing to speak of
    assert worn.alarm.indicative
    assert worn.alarm.note == "upper bound over gaps"
    assert worn.alarm.value == pytest.approx(0.2)
    assert worn.status.next_level == "D1"
    worn.changes.clear()
    worn.run(36e4, 12)
    assert [str(change.event) for change in worn.changes if change.event != "peak"] == [
        "re_alarmed"
    ]
    assert "D1 is reached" in worn.changes[-1].note
    assert not worn.alarm.indicative
    assert not worn.alarm.acknowledged


def test_over_range_counts_with_the_range_top_and_nothing_is_known_above():
    worn = Worn(range_top_usv_h=1e4)
    worn.see(9e3)
    worn.run(9e3, 60)
    before = worn.status.dose_usv
    for _ in range(60):
        worn.wait(1)
        worn.see(None, None, Flag.OVER_RANGE)
    inside = worn.status
    assert inside.dose_usv - before == pytest.approx((9e3 + 59 * 1e4) / 3600)
    assert inside.upper_usv is None
    assert inside.rate_usv_h == 1e4
    worn.run(5e3, 1)
    assert worn.status.dose_usv - inside.dose_usv == pytest.approx(5e3 / 3600)
    assert worn.status.upper_usv is None
    worn.run(5e3, 3600, step=2.0)
    assert dict(worn.alarm.statistic).get("upper_usv") is None
    assert worn.alarm.lower_bound is not None


def test_over_range_without_a_known_top_counts_with_the_greatest_rate_that_was_shown():
    worn = Worn()
    worn.see(2e3)
    worn.run(1e3, 1)
    before = worn.status.dose_usv
    for _ in range(11):
        worn.wait(1)
        worn.see(None, None, Flag.OVER_RANGE)
    assert worn.status.dose_usv - before == pytest.approx((1e3 + 10 * 2e3) / 3600)


def test_the_instruments_own_lower_bound_comes_before_the_configured_top():
    worn = Worn(range_top_usv_h=1e4)
    for _ in range(11):
        worn.wait(1)
        worn.see(None, None, Flag.OVER_RANGE, bound=3.6e4)
    assert worn.status.dose_usv == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("flag", "counts"),
    [(Flag.INSTRUMENT_FAULT, False), (Flag.STALE, False), (Flag.WARMING_UP, True)],
)
def test_only_usable_rates_are_counted(flag, counts):
    worn = Worn()
    worn.see(100.0)
    for _ in range(100):
        worn.wait(1)
        worn.see(100.0, None, flag)
    assert (worn.status.dose_usv > 0) is counts
    worn.run(100.0, 1)
    assert worn.status.dose_usv == pytest.approx(100 * 101 / 3600)
    assert worn.status.gaps_s == (0 if counts else 101)


def test_a_faulty_instruments_rates_widen_the_upper_bound_only():
    worn = Worn()
    worn.see(10.0)
    for _ in range(9):
        worn.wait(1)
        worn.see(500.0, blind=True)
    worn.run(20.0, 1)
    assert worn.status.lower_usv == pytest.approx(10 * 10 / 3600)
    assert worn.status.upper_usv == pytest.approx(500 * 10 / 3600)


def test_missing_values_are_a_gap():
    worn = Worn()
    worn.see(10.0)
    for _ in range(3):
        worn.wait(1)
        worn.see(None, None, Flag.INSTRUMENT_FAULT)
    worn.run(10.0, 1)
    assert worn.status.dose_usv == pytest.approx(40 / 3600)
    assert worn.status.gaps_s == 0


def test_what_is_told_late_is_not_counted_twice():
    worn = Worn()
    worn.see(10.0, 5.0)
    worn.run(10.0, 10)
    before = worn.status
    worn.see(1e9, 1.0, age_s=5.0)
    assert worn.status.dose_usv == before.dose_usv


def test_estimates_from_counts_raise_indicative_levels_and_true_rates_come_first():
    worn = Worn()
    estimate = Reading(Channel.DOSE_RATE, 1e5, "µSv/h", RATE, (Flag.ESTIMATED_FROM_COUNTS,))
    true = Reading(Channel.DOSE_RATE, 10.0, "µSv/h", RATE)
    for _ in range(40):
        worn.wait(1)
        worn.sample(estimate, true)
    assert worn.alarm is None
    for _ in range(40):
        worn.wait(1)
        worn.sample(estimate)
    assert worn.alarm.indicative
    assert worn.status.indicative
    assert worn.alarm.note == ""


# --- The register


def test_the_register_counts_in_full_at_first_sight_and_is_preferred():
    worn = Worn()
    assert worn.see(0.1, 1200.0) == ["raised"]
    assert not worn.alarm.indicative
    assert worn.status.basis == "register"
    assert (worn.status.dose_usv, worn.status.register_usv) == (1200.0, 1200.0)


def test_between_readings_of_the_register_the_integral_goes_on():
    worn = Worn()
    worn.see(3600.0, 100.0)
    worn.run(3600.0, 30)
    assert worn.status.dose_usv == pytest.approx(130.0)
    worn.wait(1)
    worn.see(3600.0, 128.0)
    assert worn.status.register_usv == 128.0
    assert worn.status.dose_usv == pytest.approx(130.0)  # it never falls
    worn.run(3600.0, 10)
    assert worn.status.dose_usv == pytest.approx(138.0)


def test_the_register_tells_what_a_gap_held():
    worn = Worn()
    worn.see(0.1, 100.0)
    worn.wait(7200)
    assert worn.see(600.0, 100.3) == []
    assert worn.status.dose_usv == pytest.approx(100.3)
    assert worn.status.upper_usv == pytest.approx(100.3)


def test_a_register_of_another_frame_is_waited_for_before_the_bound_of_a_gap_counts():
    worn = Worn()
    worn.see(0.1, 100.0)
    worn.wait(7200)
    assert worn.see(600.0) == []
    worn.wait(1)
    assert worn.see(600.0, 100.3) == []
    worn.run(0.1, 120)
    assert worn.alarm is None
    other = Worn()
    other.see(0.1, 100.0)
    other.wait(7200)
    other.see(600.0)
    other.run(0.1, 70)
    assert other.alarm.indicative


@pytest.mark.parametrize("last", [100.0, 65535.0])
def test_a_register_that_begins_anew_keeps_the_dose(last):
    """Reset by hand, or a counter that wraps."""
    worn = Worn(dose_levels=())
    worn.see(36.0, last)
    worn.wait(1)
    worn.see(36.0, 0.0)
    assert worn.status.dose_usv == pytest.approx(last + 0.01)
    worn.wait(1000)
    worn.see(36.0, 9.0)
    assert worn.status.dose_usv == pytest.approx(last + 9.01)
    worn.wait(1)
    worn.see(36.0, 9.0)
    assert worn.status.register_usv == pytest.approx(last + 9.01)


def test_without_rates_what_a_reset_register_shows_is_counted():
    worn = Worn()
    for reading in (600.0, 650.0, 20.0, 30.0):
        worn.wait(60)
        worn.see(None, reading)
    assert worn.status.dose_usv == 680.0


@pytest.mark.parametrize(
    "readings", [(600.0, 598.0), (600.0, 0.0, 600.0), (600.0, 0.0, 598.0), (600.0, 2.0, 601.0)]
)
def test_a_register_read_again_after_a_change_of_battery_is_not_counted_twice(readings):
    worn = Worn()
    worn.see(0.1, readings[0])
    worn.wait(120)
    for reading in readings[1:]:
        worn.see(0.1, reading)
        worn.wait(1)
    worn.run(0.1, 30)
    assert worn.alarm is None
    assert worn.status.dose_usv == pytest.approx(max(*readings, 600.0), abs=2.1)
    assert worn.status.upper_usv < 700


def test_after_over_range_the_dose_is_not_less_than_the_range_top_gives():
    """A register that stood still over range does not swallow what came after it."""
    worn = Worn(range_top_usv_h=3.6e4)
    worn.see(100.0, 50.0)
    for _ in range(11):
        worn.wait(1)
        worn.see(None, 50.0, Flag.OVER_RANGE)
    inside = worn.status.dose_usv
    assert inside == pytest.approx(150.0, abs=1.0)
    for second in range(60):
        worn.wait(1)
        worn.see(3600.0, 50.0 + second)
    assert worn.status.dose_usv == pytest.approx(inside + 60.0, abs=1.5)
    assert worn.status.upper_usv is None


def test_a_register_over_its_own_range_is_a_lower_bound():
    worn = Worn()
    worn.see(0.1, 900.0)
    worn.wait(1)
    over = Reading(Channel.DOSE, None, "µSv", DOSE, (Flag.OVER_RANGE,), lower_bound=1000.0)
    assert worn.sample(over) == ["raised"]
    assert worn.status.upper_usv is None


def test_registers_of_other_quantities_and_of_faulty_instruments_are_not_read():
    worn = Worn()
    worn.sample(Reading(Channel.DOSE, 5e3, "µSv", Quantity.EXPOSURE))
    worn.sample(Reading(Channel.DOSE, 5e3, "µR", Quantity.EXPOSURE))
    worn.sample(Reading(Channel.DOSE, 5e3, "µSv", DOSE, (Flag.INSTRUMENT_FAULT,)))
    worn.see(0.1, 5e3, blind=True)
    assert worn.status is None


def test_prediction_by_the_registers_slope_where_no_rate_comes():
    worn = Worn()
    for second in range(0, 300, 5):
        worn.wait(5)
        worn.see(None, 100.0 + second)
    assert worn.status.rate_usv_h == pytest.approx(3600.0)
    assert worn.status.seconds_to_next == pytest.approx(605.0)
    worn.wait(60)
    assert worn.status.rate_usv_h is None
    assert worn.status.seconds_to_next is None


# --- Restart, silence, new wearer


def test_a_restart_keeps_dose_alarm_and_offsets_and_is_a_gap():
    worn = Worn()
    worn.see(0.1, 1500.0)
    worn.wait(1)
    worn.see(0.1, 0.0)
    before = worn.status
    worn.restart(off_s=100 * 86400.0)
    assert worn.alarm.active
    assert worn.status.dose_usv == before.dose_usv
    worn.wait(1)
    assert worn.see(0.1, 4.0) == []
    assert worn.status.dose_usv == pytest.approx(1504.0)
    assert worn.status.gaps_s == pytest.approx(100 * 86400.0, rel=1e-6)


def test_a_restart_of_an_integral_is_bounded_by_both_ends():
    worn = Worn()
    worn.see(100.0)
    worn.run(100.0, 60)
    before = worn.status
    worn.restart(off_s=50.0)
    worn.wait(10)
    worn.see(300.0)
    assert worn.status.lower_usv - before.lower_usv == pytest.approx(100 * 60 / 3600)
    assert worn.status.upper_usv - before.upper_usv == pytest.approx(300 * 60 / 3600)


def test_over_range_before_a_restart_leaves_no_upper_bound():
    worn = Worn(range_top_usv_h=1e4)
    worn.see(None, None, Flag.OVER_RANGE)
    worn.restart(off_s=30.0)
    worn.see(5e3)
    assert worn.status.upper_usv is None
    assert worn.status.dose_usv == pytest.approx(5e3 * 30 / 3600)


def test_an_alarm_whose_dose_was_lost_goes_on_from_its_record():
    worn = Worn()
    worn.see(1e5)
    worn.run(1e5, 40)
    worn.restart(learned=False)
    assert worn.alarm.active
    worn.see(0.1)
    worn.run(0.1, 10)
    assert worn.alarm.held == ("D1",)
    assert worn.status.dose_usv >= 1000.0
    worn.run(1e5, 700)
    assert worn.alarm.level == "D2"


def test_a_level_raised_by_the_bound_alone_is_still_confirmed_after_a_restart():
    worn = Worn()
    worn.see(0.1)
    worn.wait(7200)
    worn.see(600.0)
    assert worn.rule.internal("dose") == Internal((("D1", False),))
    worn.restart(off_s=2.0)
    worn.run(36e4, 12)
    assert not worn.alarm.indicative


def test_valid_readings_freshen_a_stale_alarm():
    worn = Worn()
    worn.see(1e5)
    worn.run(1e5, 40)
    worn.book.mark_stale(worn.now, "link lost")
    worn.wait(1)
    worn.see(10.0, blind=True)
    assert worn.alarm.stale
    worn.wait(1)
    assert worn.see(10.0) == ["fresh"]


def test_only_a_new_wearer_starts_from_zero():
    worn = Worn()
    worn.see(1e5, 1200.0)
    worn.run(1e5, 10)
    worn.wait(1)
    assert [str(c.event) for c in worn.rule.accept(worn.now)] == ["returned", "latched"]
    assert worn.status.dose_usv == 0.0
    worn.wait(1)
    assert worn.see(3600.0, 1201.0) == []
    assert worn.status.dose_usv == pytest.approx(1e5 / 7200, abs=1.0)  # half a step of it is new
    worn.wait(1)
    assert worn.see(3600.0, 2300.0) == ["closed", "raised"]
    assert worn.alarm.held == ("D1",)


def test_a_new_wearers_dose_begins_at_the_first_reading_of_a_register_not_seen_before():
    worn = Worn()
    worn.rule.accept(worn.now)
    worn.see(0.1, 5e3)
    assert worn.alarm is None
    worn.restart()
    worn.see(0.1, 5.1e3)
    assert worn.status.dose_usv == pytest.approx(100.0)


def test_a_supervised_close_lets_the_dose_be_judged_anew():
    worn = Worn()
    worn.see(0.1, 1200.0)
    worn.book.records.clear()
    worn.rule.abandon("dose")
    worn.wait(1)
    assert worn.see(0.1, 1200.0) == ["raised"]


# --- Always


STEP = st.one_of(
    st.tuples(st.just("rate"), st.floats(0, 1e6)),
    st.tuples(st.just("estimate"), st.floats(0, 1e6)),
    st.tuples(st.just("both"), st.floats(0, 1e4)),
    st.tuples(st.just("register"), st.floats(0, 1e4)),
    st.tuples(st.sampled_from(["fault", "blind", "over", "restart", "lost"]), st.just(0.0)),
    st.tuples(st.just("wait"), st.floats(0, 1e4)),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(STEP, max_size=40), st.sampled_from([None, 1e5]))
def test_bounds_enclose_the_dose_and_nothing_makes_it_fall(steps, top):
    worn = Worn(range_top_usv_h=top)
    best = lower = 0.0
    held = ()
    for name, value in steps:
        worn.wait(1)
        if name == "rate":
            worn.see(value)
        elif name == "estimate":
            worn.see(value, None, Flag.ESTIMATED_FROM_COUNTS)
        elif name == "both":
            worn.see(value, value)
        elif name == "register":
            worn.see(None, value)
        elif name == "fault":
            worn.see(1.0, 0.0, Flag.INSTRUMENT_FAULT, blind=True)
        elif name == "blind":
            worn.see(1e5, blind=True)
        elif name == "over":
            worn.see(None, None, Flag.OVER_RANGE)
        elif name in ("restart", "lost"):
            worn.restart(off_s=value, learned=name == "restart" or worn.alarm is None)
            if name == "lost":  # only what the record says is left
                best = lower = 0.0 if worn.alarm is None else worn.alarm.peak
        else:
            worn.wait(value)
        status = worn.status
        if status is None:
            assert worn.alarm is None or not worn.alarm.peak
            continue
        assert status.dose_usv >= best
        assert status.lower_usv >= lower
        assert status.lower_usv <= status.dose_usv
        assert status.upper_usv is None or status.dose_usv <= status.upper_usv
        assert math.isfinite(status.dose_usv)
        now_held = () if worn.alarm is None else worn.alarm.held
        assert set(held) <= set(now_held)
        reached = {one.id for one in worn.profile.dose_levels if one.enabled}
        reached &= {one.id for one in worn.profile.dose_levels if one.raise_at <= status.dose_usv}
        assert reached <= set(now_held)
        best, lower, held = status.dose_usv, status.lower_usv, now_held
