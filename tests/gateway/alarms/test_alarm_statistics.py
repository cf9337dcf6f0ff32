"""Count statistics: exact thresholds, noise, and estimates as an alarm's basis."""

import math
import random

import pytest

from drivers.api import Flag
from gateway.alarms.statistics import alpha_per_test, poisson_tail, poisson_threshold

# mean: thresholds for one false alarm in 1, 10, 83 and 1000 h at one test per second
TABLE = {
    0.05: (3, 3, 4, 4),
    0.2: (4, 5, 5, 6),
    1: (7, 8, 9, 10),
    2.5: (10, 12, 13, 15),
    5: (15, 17, 19, 21),
    20: (38, 41, 44, 47),
    50: (77, 82, 86, 90),
    100: (137, 144, 149, 155),
    1000: (1112, 1131, 1147, 1163),
}


@pytest.mark.parametrize("mean", TABLE)
def test_integer_thresholds(mean):
    hours = (1, 10, 83, 1000)
    found = tuple(poisson_threshold(float(mean), 1 / (3600 * h)) for h in hours)
    assert found == TABLE[mean]


def test_tail_by_hand():
    assert poisson_tail(0, 3.0) == 1.0
    assert poisson_tail(1, 0.5) == pytest.approx(1 - math.exp(-0.5))
    assert poisson_tail(2, 4.0) == pytest.approx(1 - 5 * math.exp(-4.0))
    assert poisson_tail(3, 0.0) == 0.0
    exact = math.fsum(math.exp(-1.1) * 1.1**n / math.factorial(n) for n in range(12, 60))
    assert poisson_tail(12, 1.1) == pytest.approx(exact, rel=1e-9)


def test_large_means_are_never_judged_more_easily():
    for mean in (5001.0, 20_000.0):
        quick = poisson_threshold(mean, 1e-7)
        assert poisson_tail(quick, mean) <= 1e-7
        assert quick < mean + 6.5 * math.sqrt(mean)
    assert poisson_threshold(4e8, 1e-7) == pytest.approx(4e8, rel=1e-3)


def test_budget_of_sliding_windows():
    assert alpha_per_test(0.6, 1.0, 1.0) == pytest.approx(0.6 / 3600)
    assert alpha_per_test(0.6, 4.0, 0.25) == pytest.approx(0.6 / 3600 * 4 / 12)


def poisson(source, mean):
    n, limit, product = 0, math.exp(-mean), source.random()
    while product > limit:
        n, product = n + 1, product * source.random()
    return n


def test_background_noise_of_a_small_tube_raises_nothing(rig):
    """0.5 cps and 0.18 µSv/h per cps (LND 7317): at 1 s naive comparison fires 40 times an hour."""
    bench, source = rig(), random.Random(7)
    hours, naive = 8, 0
    for _ in range(hours * 3600):
        bench.mono += 1
        counts = poisson(source, 0.5)
        naive += counts * 0.18 >= 0.5
        bench.counts(counts)
    assert naive / hours > 30
    assert bench.told() == []
    assert bench.engine.background("d") == pytest.approx(0.5, abs=0.08)


def test_polled_counts_that_repeat_raise_nothing(rig):
    """Each counter reading is seen twice at random: the worst a polled counter does."""
    bench, source = rig(), random.Random(3)
    counts = 0
    for _ in range(4 * 3600):
        bench.mono += 1
        if source.random() < 0.5:
            counts = poisson(source, 0.5)
        bench.counts(counts)
    assert bench.told() == []


def test_a_strong_field_raises_within_the_first_window(rig):
    bench, source = rig(), random.Random(1)
    for _ in range(60):
        bench.wait(1)
        bench.counts(poisson(source, 0.5))
    bench.wait(1)
    assert bench.counts(111) == ["raised"]
    record = bench.alarm()
    assert record.level == "R3" if record.value < 20 else "R4"
    assert record.indicative
    statistic = dict(record.statistic)
    assert statistic["counts"] == 111
    assert statistic["p_value"] < 1e-9
    assert record.rule.id == "absolute_level_counts"


def test_a_weak_field_raises_over_a_longer_window(rig):
    """1 µSv/h, twice R3: too few counts in 1 s, enough within 30 s."""
    bench, source = rig(), random.Random(5)
    seconds = 0
    while not bench.told() and seconds < 120:
        bench.wait(1)
        bench.counts(poisson(source, 1.0 / 0.18))
        seconds += 1
    assert 2 <= seconds <= 60
    assert dict(bench.alarm().statistic)["window_s"] > 1


def test_an_estimate_clears_what_an_estimate_raised(rig):
    bench, source = rig(), random.Random(2)
    for _ in range(5):
        bench.wait(1)
        bench.counts(60)
    seconds = 0
    while bench.alarm().active and seconds < 300:
        bench.wait(1)
        bench.counts(poisson(source, 0.5))
        seconds += 1
    assert 30 <= seconds < 120


def test_an_estimate_never_clears_a_true_dose_rate(rig):
    bench, source = rig(), random.Random(2)
    bench.dose(30.0)
    for _ in range(600):
        bench.wait(1)
        bench.counts(poisson(source, 0.5))
    assert bench.alarm().active
    bench.doses(*[0.1] * 12)
    assert not bench.alarm().active


def test_a_true_dose_rate_ends_the_mark_indicative(rig):
    bench = rig()
    bench.counts(60)
    assert bench.alarm().indicative
    bench.doses(150.0)
    assert not bench.alarm().indicative


def test_moving_sums_are_not_added_up(rig):
    """A 60 s sum told each second: the same 134 counts may not be taken for 60 times as many."""
    bench = rig()
    for _ in range(300):
        bench.wait(1)
        bench.counts(150, live_s=60.0)
    assert bench.told() == []
    for _ in range(5):
        bench.wait(1)
        bench.counts(400, live_s=60.0)
    record = bench.alarm()
    assert dict(record.statistic)["window_s"] == 60.0
    assert dict(record.statistic)["counts"] == 400
    for _ in range(15):
        bench.wait(1)
        bench.counts(30, live_s=60.0)
    assert not bench.alarm().active


def test_a_counter_polled_too_often_can_still_clear(rig):
    bench = rig()
    bench.counts(100)
    for tick in range(400):
        bench.wait(0.25)
        bench.counts(1 + tick % 2)
    assert not bench.alarm().active


def test_counts_from_before_a_gap_are_forgotten(rig):
    bench = rig()
    for _ in range(3):
        bench.wait(1)
        bench.counts(9)
    bench.wait(60, tick=False)
    assert bench.counts(9) == []


def test_a_dead_tube_does_not_clear(rig):
    """Zero counts look like a low field; the first count after them proves that it is one."""
    bench = rig()
    for _ in range(5):
        bench.wait(1)
        bench.counts(60)
    for _ in range(300):
        bench.wait(1)
        bench.counts(0)
    assert bench.alarm().active


def test_an_estimate_without_counts_is_taken_at_its_word(rig):
    bench = rig()
    assert bench.dose(1.0, Flag.ESTIMATED_FROM_COUNTS) == ["raised"]
    assert bench.alarm().indicative


def test_overlapping_sums_count_once(rig):
    """A 10 s sum told each second: three in a row are not 30 s of counts."""
    bench = rig()
    for _ in range(9):
        bench.wait(1)
        bench.counts(38, live_s=10.0)
    assert bench.told() == []
    while not bench.told():
        bench.wait(1)
        bench.counts(60, live_s=10.0)
    statistic = dict(bench.alarm().statistic)
    assert (statistic["counts"], statistic["window_s"]) == (60, 10.0)
