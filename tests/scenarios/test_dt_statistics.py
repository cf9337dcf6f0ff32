"""Acceptance scenarios DT-01 to DT-10: count statistics and backgrounds, with numbers worked out.

What needs many runs is driven by measured values, without instruments; the rest is played.
"""

import math
from itertools import count
from random import Random

import pytest

from drivers.api import Channel, Reading
from gateway.alarms.budget import Budget
from gateway.alarms.classes import defaults
from gateway.alarms.engine import AlarmEngine
from gateway.alarms.profiles import AlarmSettings, DetectorProfile
from gateway.alarms.statistics import (
    binomial_tail,
    k_equivalent,
    poisson_tail,
    poisson_threshold,
)
from gateway.values import Instant, Measured
from simulators.poisson import poisson

SEEDS = range(1, 21)
HAND_HELD, NEUTRONS = "Gamma Handheld", "Neutron Handheld"


class Bench:
    """Some detectors of one class on an engine; each tells its counts once a second."""

    def __init__(self, seed, detector_class, detectors=1, budget=None):
        names = [f"d{number}" for number in range(detectors)]
        ways = defaults(detector_class)
        profiles = {name: DetectorProfile(name, detector_class, ways=ways) for name in names}
        settings, ids = AlarmSettings(budget or Budget()), count(1)
        self.rng, self.names, self.changes = Random(seed), names, []
        self.engine = AlarmEngine(profiles, settings, lambda: f"o{next(ids)}")

    def counts(self, rate, seconds, channel=Channel.GAMMA_COUNTS):
        """Poisson counts at that rate for so long."""
        for second in range(1, seconds + 1):
            now = Instant(1.7e9 + second, float(second))
            for name in self.names:
                drawn = poisson(self.rng, rate)
                reading = Reading(channel, drawn, "count", window_s=1.0, independent=True)
                self.changes += self.engine.measured(Measured(name, now, now, (reading,)), now)
            self.changes += self.engine.tick(now)

    def raised(self, alarm):
        """How often that alarm was raised."""
        return sum((c.event, c.record.alarm) == ("raised", alarm) for c in self.changes)


# DT-01: 50 counts a second more on a pager.


FIRST_SECOND_S = 91.25
"""When the first second that lies whole behind the step has been counted."""


def found_by(played, at_s):
    """How many detectors have raised R1 by then."""
    raised = played.find(alarm="gamma_rise", level="R1")
    return len({body["detector"] for moment, body in raised if moment <= at_s})


def test_dt_01_a_step_is_found_within_2_s(play_seeds):
    """Eighty steps. With 0.99, as asked, 76 are found in all but 0.1 % of cases; our chance
    is 0.9998 in the first whole second, by five deviations."""
    in_a_second = in_two = 0
    for played in play_seeds("dt-01-step.toml"):
        assert played.failed == []
        in_a_second += found_by(played, FIRST_SECOND_S)
        in_two += found_by(played, 92.1)
    assert in_a_second >= 78
    assert in_two == 80


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_dt_01_a_thousand_steps(play_seeds):
    """At least 99 %, and as many in the first whole second."""
    runs = list(play_seeds("dt-01-step.toml", 250))
    for at_s in (FIRST_SECOND_S, 92.1):
        found = sum(found_by(played, at_s) for played in runs)
        print(f"\n{found} of 1000 steps found by {at_s} s", end=" ")
        assert found >= 990


# DT-03: false alarms of hand-helds at low background.


def false_alarms(seconds):
    """Those of five hand-helds among the 55 counting detectors of DT-05's fleet, over 20 seeds."""
    found = 0
    for seed in SEEDS:
        bench = Bench(seed, HAND_HELD, detectors=5, budget=Budget(share=5 / 55))
        bench.counts(60.0, seconds)
        found += bench.raised("gamma_rise")
    return found


def test_dt_03_hand_helds_raise_nothing_by_themselves():
    """Eight hours of one instrument: 0.05 alarms are in the budget."""
    assert false_alarms(300) == 0


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_dt_03_five_hand_helds_for_ten_hours():
    """IEC 62533 permits ten alarms in ten hours of one instrument. The share of five in the fleet's
    budget is 0.0327 an hour, 6.5 in the 200 h of twenty runs, and more than 13 have a chance of
    0.7 %.

    IEC 62533 also wants each to be over in 3 s. That is for an instrument that forgets; here R1
    returns when counts have been ordinary for 5 s, and the record says how long it lasted.
    """
    found = false_alarms(36_000)
    print(f"\n{found} alarms of five hand-helds in 200 h", end=" ")
    assert found <= 13


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_dt_03_ten_hours_of_instruments(play):
    assert play("dt-03-hand-helds.toml").failed == []


# DT-06: a channel that hardly counts.


def test_dt_06_five_deviations_would_fail_at_few_counts():
    """4.35 false alarms an hour with a mean of 0.05, where Gauss promises one in a thousand."""
    mean = 0.05
    least = math.floor(mean + 5 * math.sqrt(mean)) + 1
    assert least == 2
    assert 3600 * poisson_tail(least, mean) == pytest.approx(4.35, abs=0.01)
    five_sigma = 0.00103 / 3600
    assert k_equivalent(five_sigma) == pytest.approx(5, abs=0.002)


@pytest.mark.parametrize(
    ("mean", "hours", "counts"),
    [(0.05, 1, 3), (0.05, 1000, 4), (0.2, 10, 5), (1, 83, 9), (2.5, 1, 10), (2.5, 1000, 15),
     (5, 83, 19), (20, 1000, 47), (100, 10, 144), (1000, 1000, 1163)],
)  # fmt: skip
def test_dt_06_thresholds_are_whole_and_exact(mean, hours, counts):
    """The least count that chance reaches less than once in so many hours, by summing it all."""
    alpha = 1 / (3600 * hours)
    upper = [
        math.exp(n * math.log(mean) - mean - math.lgamma(n + 1)) for n in range(counts - 1, 2000)
    ]
    assert math.fsum(upper[1:]) <= alpha < math.fsum(upper)
    assert poisson_threshold(float(mean), alpha) == counts


def neutron_alarms(hours):
    """False ones of 0.05 counts a second at a budget of 0.1 an hour, over 20 seeds."""
    budget = Budget(neutrons_per_event=2.4, event_h=24.0)
    found = 0
    for seed in SEEDS:
        bench = Bench(seed, NEUTRONS, budget=budget)
        bench.counts(0.05, hours * 3600, Channel.NEUTRON_COUNTS)
        found += bench.raised("neutron_rise")
    return found


def test_dt_06_few_neutrons_raise_nothing():
    """20 h: 0.02 an hour would be 0.4, more than 2 of them by a chance of 0.8 %; "5 sigma": 87."""
    assert neutron_alarms(1) <= 2


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_dt_06_few_neutrons_for_a_thousand_hours():
    found = neutron_alarms(50)
    print(f"\n{found / 1000:.3f} neutron alarms an hour of 0.1 in 1000 h", end=" ")
    assert found <= 0.02 * 1000


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_dt_06_two_hundred_hours_of_instruments(play_seeds):
    """4 are as many as permitted; more than 9 have a chance of 0.8 %."""
    assert (
        sum(played.raised()["neutron_rise"] for played in play_seeds("dt-06-few-neutrons.toml"))
        <= 9
    )


# DT-07: p-values, by exact summation of whole numbers.


@pytest.mark.parametrize(
    ("counts", "window_s", "background", "background_s", "p"),
    [
        (45, 1, 1200, 60, 1.39225e-06),
        (38, 1, 400, 20, 3.31562e-04),
        (3, 1, 3, 60, 8.49055e-05),
        (2, 1, 3, 60, 2.60042e-03),
        (150, 2, 6000, 120, 2.33890e-06),
        (1159, 1, 60_000, 60, 6.16333e-07),
        (10, 5, 30, 300, 7.57983e-10),
        (4, 1, 0, 60, 7.22239e-08),
        (0, 1, 1200, 60, 1.0),
    ],
)
def test_dt_07_p_values_to_six_digits(counts, window_s, background, background_s, p):
    found = binomial_tail(counts, background, window_s / (window_s + background_s))
    assert found == pytest.approx(p, rel=5e-6)


# DT-09: switched on beside a source.


def test_dt_09_a_start_beside_a_source_is_no_background(play_seeds):
    """Absolute levels alarm with the first sample; nothing is learned without a word."""
    for played in play_seeds("dt-09-cold-start.toml", kinds=("state", "watch")):
        assert played.failed == []
        states = played.kept["state"]
        learning = [body for body in states if body["state"] == "learning"]
        for name in ("prd-1", "prd-2"):
            own = [body for body in learning if body["detector"] == name]
            assert "gamma_rise not armed: learning" in [body["reasons"][0] for body in own]
            newest = [body for body in states if body["detector"] == name][-1]
            assert newest["state"] != "ok"
        ((_, advisory),) = played.find(alarm="background_implausible")
        assert advisory["value"] == pytest.approx(200, abs=3 * math.sqrt(200 / 60))
        assert advisory["rule"]["parameters"] == {"usual_rate": 20.0, "factor": 3.0}
        rises = [
            r for body in played.kept["watch"] for r in body["rules"] if r["rule"] == "gamma_rise"
        ]
        assert not any(rise["armed"] for rise in rises)


# DT-10: the background does not move during an alarm.


def backgrounds(played):
    """Seconds of play, rate and live time of the background that R1 stands against."""
    start = played.kept["watch"][0]["time"][:14]
    found = []
    for body in played.kept["watch"]:
        (rise,) = [rule for rule in body["rules"] if rule["rule"] == "gamma_rise"]
        if rise["armed"]:
            assert body["time"].startswith(start[:13])
            minute, second = body["time"][14:16], body["time"][17:-1]
            facts = rise["facts"]
            found.append((60 * int(minute) + float(second), facts["rate"], facts["live_s"]))
    return found


def test_dt_10_who_stays_for_ten_minutes_becomes_no_background(play_seeds):
    """2.31 µSv/h, 231 counts a second above 20; one second of it would lift the mean by 2."""
    for played in play_seeds("dt-10-stays.toml", kinds=("watch",)):
        assert played.failed == []
        ((_, dose),) = played.find("returned", alarm="dose_rate")
        ((_, rise),) = played.find("returned", alarm="gamma_rise")
        assert dose["peak"] == pytest.approx(2.31 + 0.10, rel=0.01)
        assert dose["lasted"] >= 600
        assert rise["lasted"] >= 600
        known = backgrounds(played)
        before, known_s = [(rate, live_s) for at_s, rate, live_s in known if at_s < 140][-1]
        held = [rate for at_s, rate, _ in known if 150 < at_s < 750]
        after, live_s = [(rate, live_s) for at_s, rate, live_s in known if at_s > 790][-1]
        assert before == pytest.approx(20, abs=3 * math.sqrt(20 / known_s))
        assert len(held) >= 9
        assert set(held) == {held[0]}
        assert held[0] == pytest.approx(before, abs=3 * math.sqrt(20 / known_s))
        assert after == pytest.approx(before, abs=3 * math.sqrt(20 / live_s))
