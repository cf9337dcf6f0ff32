"""Fixed levels: times, hysteresis, over-range, fold-over."""

import random

import pytest

from drivers.api import Channel, Flag, Quantity, Reading


def test_ramp_through_all_levels_and_back(rig):
    """DT-12: 0.1 to 200 µSv/h in 600 s and back, 1 Hz."""
    bench = rig()
    start = bench.mono
    slope = 199.9 / 600
    at = {}
    for second in range(1, 1300):
        bench.wait(1)
        value = 0.1 + slope * (second if second <= 600 else max(0, 1200 - second))
        for event in bench.dose(value):
            at.setdefault((event, bench.alarm().level), bench.mono - start)
    assert at["raised", "R3"] == pytest.approx(1.2, abs=1)
    assert at["escalated", "R4"] == pytest.approx(59.7, abs=1)
    assert at["escalated", "R5"] == pytest.approx(299.8, abs=1)
    told = bench.told()
    assert (told.count("raised"), told.count("escalated")) == (1, 2)
    record = bench.alarm()
    left = {entry.level: entry.left_at.mono - start for entry in record.levels}
    down_at_80 = 600 + (200 - 80) / slope
    assert left["R5"] == pytest.approx(down_at_80 + 10, abs=1.5)
    assert record.display == "E"
    assert record.latched
    assert record.peak == pytest.approx(200.0)
    assert [event for event in told if event != "re_alarmed"][-2:] == ["returned", "latched"]


def test_times_are_those_of_the_first_satisfying_sample(rig):
    bench = rig()
    bench.wait(1)
    bench.dose(25.0, age_s=0.4)
    record = bench.alarm()
    assert record.raised_at.mono == bench.mono - 0.4
    assert record.held == ("R3", "R4")
    assert (record.level, record.priority) == ("R4", 2)


def test_chatter_at_a_level(rig):
    """DT-13: exactly 20 µSv/h, sd 14 %, 1 Hz, 1 h, 5 seeds."""
    for seed in range(5):
        bench, noise = rig(), random.Random(seed)
        for _ in range(3600):
            bench.wait(1, tick=False)
            bench.dose(noise.gauss(20.0, 2.8))
        assert bench.told().count("raised") == 1
        assert bench.told().count("escalated") <= 1


def test_a_level_that_is_reached_again_is_annunciated_again(rig):
    bench = rig()
    bench.doses(1.0, 30.0)
    bench.acknowledge("o1")
    assert bench.doses(*[5.0] * 15) == []
    assert bench.alarm().held == ("R3",)
    assert bench.doses(30.0) == ["escalated"]
    assert not bench.alarm().acknowledged


def test_peak_is_told_when_it_doubles(rig):
    bench = rig()
    assert bench.doses(1.0, 1.5, 1.9, 2.0, 3.9, 4.1) == ["raised", "peak", "peak"]
    assert bench.alarm().peak == 4.1


def test_over_range_claims_nothing_above_its_bound(rig):
    """DT-35: beyond a 10 mSv/h range."""
    bench = rig(range_top_usv_h=10_000.0)
    bench.doses(0.1)
    bench.wait(1)
    assert bench.dose(None, Flag.OVER_RANGE, bound=10_000.0) == ["raised"]
    record = bench.alarm()
    assert set(record.held) == {"R3", "R4", "R5", "R6", "R8"}
    assert (record.value, record.lower_bound, record.level) == (None, 10_000.0, "R8")
    assert (record.priority, record.latched) == (1, True)
    # The source goes away slowly: R8 needs 10 s of valid readings, the rest its own off-delay.
    assert bench.doses(*[9000.0] * 11) == []
    assert bench.alarm().peak is None  # it was 10 000 at least
    assert "R8" not in bench.alarm().held
    assert set(bench.alarm().held) == {"R3", "R4", "R5", "R6"}
    for value in (4000.0, 1500.0, 600.0, 200.0, 70.0, 30.0, 10.0, 5.0, 2.0, 0.6):
        bench.doses(value)
    assert bench.doses(*[0.1] * 11) == ["returned", "latched"]


def test_over_range_alone_raises_only_r8(rig):
    bench = rig()
    bench.dose(None, Flag.OVER_RANGE)
    assert bench.alarm().held == ("R8",)


def test_an_overflowing_counter_without_a_dose_rate_is_over_range(rig):
    bench = rig()
    rate = Reading(Channel.GAMMA_COUNT_RATE, None, "1/s", flags=(Flag.SATURATED_COUNTS,))
    bench.sample(rate)
    assert bench.alarm().held == ("R8",)
    low = Reading(Channel.DOSE_RATE, 30.0, "µSv/h", Quantity.AMBIENT_DOSE_EQUIVALENT_RATE)
    other = rig()
    other.sample(rate, low)
    assert other.alarm().held == ("R3", "R4")


def test_fold_over_holds_the_alarm(rig):
    """DT-36: 1839 cps twice, then 5 cps: τ = 100 µs, one count per second is one µSv/h."""
    bench = rig(max_count_rate=3679.0)

    def cps(value):
        bench.wait(1)
        return bench.sample(
            Reading(Channel.GAMMA_COUNT_RATE, value, "1/s", Quantity.GAMMA_COUNT_RATE),
            Reading(Channel.DOSE_RATE, value, "µSv/h", Quantity.AMBIENT_DOSE_EQUIVALENT_RATE),
        )

    cps(0.2)
    cps(1839.0)
    cps(1839.0)
    assert "escalated" in cps(5.0)
    assert bench.alarm().held[-1] == "R8"
    for _ in range(120):
        cps(5.0)
    assert bench.alarm().active
    assert not bench.alarm().stale
    # Readings climb back continuously, then the source really goes away over 30 s.
    for value in (20.0, 80.0, 300.0, 900.0, 1839.0):
        cps(value)
    for step in range(30):
        cps(1839.0 * 0.8**step)
    for _ in range(12):
        cps(0.2)
    assert bench.alarm().display == "E"


def test_slow_decrease_from_a_high_reading_clears(rig):
    bench = rig(range_top_usv_h=10_000.0)
    bench.doses(*(5000.0 * 0.7**second for second in range(30)))
    assert bench.alarm().active
    bench.doses(*[0.1] * 12)
    assert not bench.alarm().active


def test_assessor_confirms_that_a_sudden_fall_was_real(rig):
    bench = rig(range_top_usv_h=10_000.0)
    bench.doses(5000.0, 0.1)
    bench.doses(*[0.1] * 60)
    assert bench.alarm().active
    answer, events = bench.reset("o1")
    assert answer.accepted
    assert events == ["reset"]
    assert bench.alarm().active
    assert bench.doses(*[0.1] * 12)[-2:] == ["returned", "latched"]


def test_a_jump_back_is_no_climb(rig):
    bench = rig(range_top_usv_h=10_000.0)
    bench.doses(5000.0, 10.0, 5000.0)
    bench.doses(*(5000.0 * 0.7**second for second in range(30)), *[0.1] * 30)
    assert bench.alarm().active


def test_the_high_range_tube_overrules_the_low_one(rig):
    bench = rig()
    quantity = Quantity.AMBIENT_DOSE_EQUIVALENT_RATE
    bench.sample(
        Reading(Channel.DOSE_RATE, None, "µSv/h", quantity, (Flag.OVER_RANGE,), 30.0, part="low"),
        Reading(
            Channel.DOSE_RATE, 150.0, "µSv/h", quantity, (Flag.HIGH_RANGE_DETECTOR,), part="high"
        ),
    )
    assert bench.alarm().held == ("R3", "R4", "R5")


@pytest.mark.parametrize(
    "flag", [Flag.WARMING_UP, Flag.MAINTENANCE, Flag.CALIBRATING_BACKGROUND, Flag.IDENTITY_MISMATCH]
)
def test_some_readings_raise_but_do_not_clear(rig, flag):
    bench = rig()
    bench.wait(1)
    assert "raised" in bench.dose(30.0, flag)
    for _ in range(60):
        bench.wait(1)
        bench.dose(0.1, flag)
    assert bench.alarm().active


def test_wall_clock_steps_change_nothing(rig):
    """DT-51: +3600 s, then -7200 s within a running off-delay."""
    bench = rig()
    bench.doses(30.0)
    for second in range(10):
        bench.wall += {3: 3600.0, 6: -7200.0}.get(second, 0.0)
        assert bench.doses(0.1) == []
    assert bench.doses(0.1) == ["returned"]


@pytest.mark.parametrize("flag", [Flag.SELF_TEST, Flag.INSTRUMENT_FAULT, Flag.STALE])
def test_what_is_no_measurement_raises_nothing(rig, flag):
    bench = rig()
    bench.dose(500.0, flag)
    assert bench.told() == []


def test_other_quantities_and_units_are_not_judged(rig):
    bench = rig()
    bench.sample(
        Reading(Channel.DOSE_RATE, 500.0, "µSv/h", Quantity.NEUTRON_DOSE_EQUIVALENT_RATE),
        Reading(Channel.DOSE_RATE, 500.0, "nSv/h", Quantity.AMBIENT_DOSE_EQUIVALENT_RATE),
        Reading(Channel.DOSE_RATE, 500.0, "µSv/h"),
    )
    assert bench.told() == []
