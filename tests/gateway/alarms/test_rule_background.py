"""The rolling background: what enters it, when, and how fast it may rise."""

import json
from random import Random

import pytest

from gateway.alarms.background import Frozen, RollingBackground
from gateway.values import Instant
from simulators.poisson import poisson

AT = Instant(1.7e9, 1000.0)


def learned(rate, seconds, background=None, step=1.0):
    background = background or RollingBackground(300.0, 16.0)
    for _ in range(round(seconds / step)):
        background.learn(round(rate * step), step)
    return background


def test_counts_wait_in_the_guard_line():
    background = learned(20, 16)
    assert background.live_s == 0
    background.learn(77, 1.0)
    assert (background.counts, background.live_s) == (20, 1.0)
    learned(20, 16, background)
    assert background.counts == 16 * 20 + 77


def test_it_is_learned_after_a_minute_and_holds_its_length():
    background = learned(20, 75)
    assert not background.is_learned
    learned(20, 1, background)
    assert background.is_learned
    learned(20, 2000, background)
    assert (background.counts, background.live_s) == (6000, pytest.approx(300.0))


def test_a_short_background_is_learned_at_its_length():
    background = RollingBackground(20.0, 5.0)
    assert learned(20, 25, background).is_learned


@pytest.mark.parametrize("step", [0.1, 0.2, 0.25, 0.3, 1.0, 2.0, 10.0])
def test_any_sample_time_gives_the_rate(step):
    background = learned(20, 900, step=step)
    assert background.settle().rate == pytest.approx(20.0)
    assert 300.0 <= background.live_s + 1e-6 < 300.0 + max(1.0, step) + 1.0


def test_samples_of_any_live_time_give_the_rate():
    rng = Random(3)
    background = RollingBackground(300.0, 16.0)
    for _ in range(3000):
        live_s = 0.5 + rng.random()
        background.learn(poisson(rng, 100 * live_s), live_s)
    assert background.counts / background.live_s == pytest.approx(100.0, abs=3 * (100 / 300) ** 0.5)


def test_where_learning_stops_the_newest_of_the_guard_line_is_dropped():
    background = learned(20, 400)
    learned(90, 8, background)
    for _ in range(100):
        background.freeze(Frozen.SUSPICION, AT, 1.0, 8.0)
    learned(20, 400, background)
    assert background.counts == 6000
    assert background.refused == {Frozen.SUSPICION: 100.0}


def test_an_alarm_after_a_suspicion_drops_more():
    background = learned(20, 400)
    learned(40, 16, background)
    background.freeze(Frozen.SUSPICION, AT, 1.0, 8.0)
    background.freeze(Frozen.ALARM, AT.earlier(-1), 1.0, 8.0)
    learned(20, 60, background)
    assert background.counts == 6000


def test_it_says_since_when_and_why_nothing_is_learned():
    background = learned(20, 400)
    assert background.frozen_since is None
    background.freeze(Frozen.SUSPICION, AT, 1.0, 8.0)
    background.freeze(Frozen.ALARM, AT.earlier(-5), 1.0, 8.0)
    assert (background.frozen_since, background.frozen_reason) == (AT, Frozen.ALARM)
    background.learn(20, 1.0)
    assert (background.frozen_since, background.frozen_reason) == (None, None)


def ramped(relative, minutes, rate=2000, **settle):
    """The background in force after a rise by ``relative``, settled every ten seconds."""
    background = learned(rate, 400)
    background.settle()
    seconds = minutes * 60
    for second in range(seconds):
        background.learn(round(rate * (1 + relative * second / seconds)), 1.0)
        if second % 10 == 0:
            found = background.settle(**settle)
    return found


def test_the_mean_rises_by_10_percent_in_10_min_and_no_faster():
    """Three deviations of the difference of two means of 300 s at 2000/s are 0.6 %."""
    found = ramped(0.6, 20)
    assert found.is_capped
    assert found.rate == pytest.approx(2000 * 1.1**2, rel=0.012)


def test_what_rises_more_slowly_is_followed():
    found = ramped(0.12, 20)
    assert not found.is_capped
    assert found.rate > 2000 * 1.10


def test_a_rise_of_the_whole_area_is_followed():
    found = ramped(0.6, 20, area_wide=True)
    assert not found.is_capped
    assert found.rate > 2000 * 1.5


def test_nothing_is_gained_while_nothing_is_learned():
    """After ten minutes frozen the mean may not jump by the ten per cent of that time."""
    background = learned(2000, 400)
    background.settle()
    for _ in range(600):
        background.freeze(Frozen.ALARM, AT, 1.0, 8.0)
    learned(2300, 60, background)
    assert background.settle().rate < 2000 * 1.1 ** (60 / 600) * 1.007


def test_a_fall_is_followed_and_the_way_back_is_slow():
    background = learned(2000, 400)
    background.settle()
    learned(1500, 316, background)
    assert background.settle().rate == pytest.approx(1500)
    learned(2000, 316, background)
    found = background.settle()
    assert found.is_capped
    assert found.rate == pytest.approx(1500 * 1.1 ** (316 / 600), rel=0.01)


@pytest.mark.parametrize("rate", [0.05, 0.2, 5.0, 20.0, 1000.0])
def test_chance_is_hardly_ever_taken_for_a_rise(rate):
    rng, background, capped, settled = Random(5), RollingBackground(300.0, 16.0), 0, 0
    for second in range(4 * 3600):
        background.learn(poisson(rng, rate), 1.0)
        if second > 400 and second % 10 == 0:
            settled += 1
            capped += background.settle().is_capped
    assert capped <= 0.05 * settled


def test_a_restart_keeps_it():
    background = learned(20, 400)
    background.settle()
    saved = json.loads(json.dumps(background.saved()))
    after = RollingBackground(300.0, 16.0)
    assert after.restore(saved, 1800.0)
    assert (after.counts, after.live_s) == (6000, pytest.approx(300.0))
    learned(40, 16 + 30, after)
    assert after.counts == pytest.approx(270 * 20 + 30 * 40, abs=20 * 10)
    assert after.settle().is_capped


@pytest.mark.parametrize("age_s", [1801.0, -1.0])
def test_a_background_too_old_is_not_taken(age_s):
    after = RollingBackground(300.0, 16.0)
    assert not after.restore(learned(20, 400).saved(), age_s)
    assert after.live_s == 0


@pytest.mark.parametrize(
    "saved",
    [
        {},
        {"counts": "6000", "live_s": 300.0},
        {"counts": 6000, "live_s": None},
        {"counts": -1, "live_s": 300.0},
        {"counts": 6000, "live_s": 10.0},
        {"counts": 6000, "live_s": float("nan")},
        {"counts": 6000, "live_s": float("inf")},
    ],
)
def test_nonsense_is_not_taken(saved):
    assert not RollingBackground(300.0, 16.0).restore(saved, 10.0)


def test_what_was_accepted_takes_its_place():
    background = learned(20, 400)
    background.settle()
    background.replace(2400, 60.0)
    found = background.settle()
    assert (found.counts, found.live_s, found.is_capped) == (2400, 60.0, False)
    learned(40, 400, background)
    assert background.live_s == pytest.approx(300.0)
    background.replace(0, 0.0)
    assert not background.is_learned
