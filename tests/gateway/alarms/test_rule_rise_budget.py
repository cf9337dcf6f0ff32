"""R1 without a source: false alarms stay within the budget, at any rate, and what a sample costs.

The background is the one that the rule itself learns. Alarms within 10 s are one event.
"""

import time
from itertools import count
from random import Random

import pytest

from gateway.alarms.book import Book
from gateway.alarms.budget import Budget, shares
from gateway.alarms.classes import ClassDefaults
from gateway.alarms.counting import Counted
from gateway.alarms.profiles import DetectorProfile
from gateway.alarms.record import AlarmEvent
from gateway.alarms.rise import GammaRise
from gateway.alarms.usability import Usability
from gateway.alarms.watcher import Sampled
from gateway.values import Instant, Measured
from simulators.poisson import poisson

STEP_S = 0.25
MERGED_S = 10.0
FLEET = shares(Budget(), gamma_channels=55, neutron_channels=4).rise

CASES = [(rate, share) for share in (1.0, 0.1) for rate in (0.05, 2.5, 20, 100)]


def events(rate, share, hours, seed, step=STEP_S):
    """How many false events there are; one detector that sends counts and nothing else."""
    rng, ids, made = Random(seed), count(1), {}
    book = Book(DetectorProfile("d", ways=ClassDefaults()), lambda: f"o{next(ids)}")
    rule, found, last, mean = GammaRise(book, share), 0, -MERGED_S, rate * step
    for number in range(round(hours * 3600 / step)):
        counts = poisson(rng, mean)
        gamma = made.get(counts)
        if gamma is None:
            gamma = made[counts] = Counted(counts, step, True, Usability.FULL)
        at = Instant(number * step, number * step)
        alarming = bool(book.records) and not book.is_teaching
        sampled = Sampled(
            Measured("d", at, at, ()), gamma, None, None, None, False, alarming, False
        )
        for change in rule.measured(sampled):
            if change.event is AlarmEvent.RAISED:
                found += at.mono - last > MERGED_S
                last = at.mono
    return found


def at_most(mean):
    """Three deviations above what is expected."""
    return mean + 3 * mean**0.5


@pytest.mark.parametrize(("rate", "share"), CASES)
def test_a_few_hours_are_within_the_budget(rate, share):
    hours = 3
    assert events(rate, share, hours, seed=1) <= at_most(share * hours)


@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("rate", "share"), CASES)
def test_600_hours_are_within_the_budget(rate, share):
    found = events(rate, share, 600, seed=2)
    print(f"\n{rate}/s, budget {share}/h: {found / 600:.3f} events/h in 600 h", end=" ")
    assert found <= share * 600


def test_a_hand_held_raises_nothing_in_a_few_hours():
    assert sum(events(60.0, FLEET, 1, seed) for seed in range(5)) == 0


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_five_hand_helds_raise_one_alarm_at_most_in_10_hours():
    assert sum(events(60.0, FLEET, 10, seed) for seed in range(5)) <= 1


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_so_few_counts_raise_hardly_anything():
    """0.05 counts/s: five deviations would raise four alarms an hour."""
    assert events(0.05, 0.1, 1000, seed=3) <= 0.02 * 1000


@pytest.mark.torture
@pytest.mark.parametrize("rate", [0.2, 20.0, 2000.0])
def test_a_plain_sample_costs_a_few_microseconds(rate):
    rng, seconds = Random(1), 20_000
    book = Book(DetectorProfile("d", ways=ClassDefaults()), lambda: "o")
    rule = GammaRise(book, FLEET)
    samples = []
    for second in range(seconds):
        at = Instant(float(second), float(second))
        gamma = Counted(poisson(rng, rate), 1.0, True, Usability.FULL)
        samples.append(
            Sampled(Measured("d", at, at, ()), gamma, None, None, None, False, False, False)
        )
    for sampled in samples[:5000]:
        rule.measured(sampled)
    begun = time.process_time()
    for sampled in samples[5000:]:
        rule.measured(sampled)
    cost_us = (time.process_time() - begun) / (seconds - 5000) * 1e6
    print(f"\n{rate}/s: {cost_us:.2f} µs a sample", end=" ")
    assert cost_us < 8.0  # twice what it takes on the machine it was written on
