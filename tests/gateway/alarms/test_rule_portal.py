"""The gateway's own portal statistics, and a lane that never becomes vacant."""

from itertools import count
from random import Random

import pytest

from drivers.api import Channel, Flag, Passage, Quantity, Reading
from gateway.alarms.book import Book
from gateway.alarms.counting import gamma_counts, neutron_counts
from gateway.alarms.portal import SIGNIFICANT, PortalStatistics
from gateway.alarms.profiles import DetectorProfile
from gateway.alarms.statistics import binomial_tail, k_equivalent
from gateway.alarms.watcher import Sampled
from gateway.values import Instant, Measured, PassageRecord
from simulators.poisson import poisson

DT = 0.2


def counts(channel, value, window_s=DT, independent=True, part="1", flags=()):
    return Reading(
        channel, value, "count", Quantity(channel), flags, None, window_s, "", part, independent
    )


def background(rate, part="1", window_s=20.0, quantity=Quantity.GAMMA_COUNT_RATE, flags=()):
    return Reading(Channel.BACKGROUND, rate, "1/s", quantity, flags, window_s=window_s, part=part)


class Bench:
    """One portal that tells its counts every 200 ms, vacant or not."""

    def __init__(self, seed=1):
        ids = count(1)
        profile = DetectorProfile("p", "Portal Monitor", silence_s=5.0)
        self.book = Book(profile, lambda: f"o{next(ids)}")
        self.rule = PortalStatistics(self.book)
        self.source = Random(seed)
        self.mono = 1000.0
        self.changes = []

    @property
    def now(self):
        return Instant(1.7e9 + self.mono, self.mono)

    def sample(self, *readings, occupied=None, alarming=False, blind=False, flags=(), wait_s=DT):
        self.mono += wait_s
        measured = Measured("p", self.now, self.now, readings, flags=flags, occupied=occupied)
        gamma, neutrons = gamma_counts(measured), neutron_counts(measured)
        changes = self.rule.measured(
            Sampled(measured, gamma, neutrons, None, None, blind, alarming, False)
        )
        self.changes += changes
        return [str(change.event) for change in changes]

    def gamma(self, rate, seconds, *, occupied, **more):
        """Drawn counts; the rate may be a function of the time since the first of them."""
        for k in range(round(seconds / DT)):
            now = rate((k + 0.5) * DT) if callable(rate) else rate
            reading = counts(Channel.GAMMA_COUNTS, poisson(self.source, now * DT))
            self.sample(reading, occupied=occupied, **more)

    def neutrons(self, values, window_s=1.0):
        for value in values:
            reading = counts(Channel.NEUTRON_COUNTS, value, window_s)
            self.sample(reading, occupied=True, wait_s=window_s)

    def finish(self, **more):
        passage = Passage(7, None, 0.0, False, False, **more)
        return self.rule.finish(PassageRecord("p", passage, None, self.now, self.now))

    @property
    def stuck(self):
        return self.book.records.get("occupancy_stuck")


def empty_occupancies(number, seed):
    """Those in which the statistic exceeds k = 5, without suppression and cargo."""
    bench, found = Bench(seed), 0
    for k in range(number):
        bench.gamma(2000.0, 21.2, occupied=False)
        bench.gamma(2000.0, 3.0 if k % 2 else 10.0, occupied=True)
        statistic = bench.finish()
        bench.sample(occupied=False)
        found += statistic.gamma.p_value <= SIGNIFICANT
        assert statistic.gamma.expected == pytest.approx(2000, rel=0.05)
    return found


def test_empty_occupancies_are_hardly_ever_significant():
    assert empty_occupancies(1000, 27) <= 1


@pytest.mark.torture
@pytest.mark.timeout(600)
def test_ten_thousand_empty_occupancies():
    found = empty_occupancies(10_000, 28)
    print(f"{found} of 10 000 empty occupancies beyond k = 5")
    assert found <= 4


def truck(t):
    """10 % of 2000/s suppressed for 12 s, in the middle 8 s of cargo with 600/s."""
    return 1800.0 + (600.0 if 2.0 <= t < 10.0 else 0.0)


@pytest.mark.parametrize("seed", range(5))
def test_norm_truck_with_suppression(seed):
    bench = Bench(seed)
    bench.gamma(2000.0, 30, occupied=False)
    bench.gamma(truck, 12, occupied=True)
    statistic = bench.finish()
    assert statistic.gamma.p_value <= SIGNIFICANT
    assert statistic.gamma.k_equivalent > 5
    assert 6 <= statistic.width_s <= 9
    assert statistic.net == pytest.approx(400, abs=100)
    assert 0.83 < statistic.lowest < 0.9  # the smallest of some 20 sums, each ± 2 %
    assert statistic.hint == "distributed source/NORM"
    assert statistic.neutrons == ()


def test_a_point_source_is_narrow():
    """The pass of a point source at 2 m and 2.2 m/s: 1.8 s at half maximum."""
    bench = Bench(3)
    bench.gamma(2000.0, 30, occupied=False)
    bench.gamma(lambda t: 2000.0 + 1500.0 / (1 + ((t - 3) * 1.1) ** 2), 6, occupied=True)
    statistic = bench.finish()
    assert statistic.hint == "point source"
    assert 1.0 < statistic.width_s < 3.0
    peak = statistic.gamma.at.mono - 1030
    assert peak == pytest.approx(3.5, abs=0.5)  # the end of the largest second


def test_a_network_that_bunches_arrivals_does_not_change_the_width():
    bench = Bench(3)
    bench.gamma(2000.0, 30, occupied=False)
    for k in range(60):
        reading = counts(Channel.GAMMA_COUNTS, round(truck(k * DT) * DT))
        bench.sample(reading, occupied=True, wait_s=0.0 if k else 12.0)
    assert bench.finish().width_s == pytest.approx(8.0, abs=0.5)


def test_noise_has_no_width():
    bench = Bench()
    bench.gamma(2000.0, 30, occupied=False)
    bench.gamma(2000.0, 6, occupied=True)
    statistic = bench.finish()
    assert (statistic.width_s, statistic.net, statistic.hint) == (None, None, "")


def test_the_sums_by_hand():
    bench = Bench()
    for _ in range(140):
        bench.sample(counts(Channel.GAMMA_COUNTS, 20), occupied=False)
    for value in (20, 20, 20, 20, 20, 60, 60, 20, 20, 10, 10, 10):
        bench.sample(counts(Channel.GAMMA_COUNTS, value), occupied=True)
    statistic = bench.finish()
    assert statistic.passage == 7
    assert (statistic.gamma.counts, statistic.gamma.live_s) == (180, pytest.approx(1.0))
    assert statistic.gamma.expected == pytest.approx(100.0)
    p = binomial_tail(180, 2000, 1 / 21)
    assert statistic.gamma.p_value == pytest.approx(p)
    assert statistic.gamma.k_equivalent == pytest.approx(k_equivalent(p))
    assert statistic.lowest == pytest.approx(0.7)
    told = dict(statistic.facts)
    assert told["gamma_counts"] == 180
    assert told["gamma_background_source"] == "counts of the vacant lane"
    assert told["gamma_background_counts"] == 2000


# --- background -----------------------------------------------------------------------------


def test_the_background_is_that_before_the_occupancy():
    """Also without the second before it, when somebody is near already."""
    bench = Bench()
    bench.gamma(1000.0, 22, occupied=False)
    bench.gamma(3000.0, 0.8, occupied=False)
    bench.gamma(3000.0, 10, occupied=True)
    assert bench.finish().gamma.expected == pytest.approx(1000, rel=0.05)
    bench.gamma(1000.0, 0.2, occupied=False)
    bench.gamma(1000.0, 3, occupied=True)
    assert bench.finish().gamma.expected == pytest.approx(1000, rel=0.05)


@pytest.mark.parametrize(
    "given", [{"alarming": True}, {"blind": True}, {"flags": (Flag.WARMING_UP,)}]
)
def test_what_must_not_be_learned_is_not(given):
    bench = Bench()
    bench.gamma(1000.0, 30, occupied=False)
    bench.gamma(3000.0, 30, occupied=False, **given)
    bench.gamma(1000.0, 3, occupied=True)
    assert bench.finish().gamma.expected == pytest.approx(1000, rel=0.05)


def test_a_portal_that_tells_only_its_background():
    """Four detectors; the counts themselves come only while the lane is occupied."""
    bench = Bench()
    bench.sample(*(background(250, part) for part in "1234"), occupied=False)
    bench.sample(background(None, quantity=Quantity.NEUTRON_COUNT_RATE), occupied=False)
    for value in (200, 200, 200, 200, 200, 300):
        parts = (counts(Channel.GAMMA_COUNTS, value // 2, part=part) for part in "12")
        bench.sample(*parts, occupied=True)
    statistic = bench.finish()
    assert statistic.gamma.counts == 1100
    assert statistic.gamma.expected == pytest.approx(1000)
    told = dict(statistic.facts)
    assert told["gamma_background_counts"] == 20_000
    assert told["gamma_background_source"] == "told by the portal"


def test_a_background_fault_is_no_background():
    bench = Bench()
    bench.sample(background(5000, flags=(Flag.INSTRUMENT_FAULT,)), occupied=False)
    bench.gamma(1000.0, 3, occupied=True)
    statistic = bench.finish()
    assert statistic.gamma.counts > 900
    assert (statistic.gamma.expected, statistic.gamma.p_value) == (None, None)
    assert statistic.lowest is None


def test_a_lost_interval_is_not_bridged():
    bench = Bench()
    bench.gamma(1000.0, 30, occupied=False)
    for k in range(8):
        reading = counts(Channel.GAMMA_COUNTS, 1000, independent=k != 4)
        bench.sample(reading, occupied=True)
    assert bench.finish().gamma is None  # four and four: no second is complete


# --- neutrons -------------------------------------------------------------------------------


def test_neutron_sums_of_one_and_two_seconds():
    bench = Bench()
    quantity = Quantity.NEUTRON_COUNT_RATE
    bench.sample(background(2.5, window_s=120.0, quantity=quantity), occupied=False)
    bench.neutrons((2, 3, 20, 15, 2))
    one, two = bench.finish().neutrons
    assert (one.counts, two.counts) == (20, 35)
    assert (one.expected, two.expected) == (2.5, 5.0)
    assert one.p_value == pytest.approx(binomial_tail(20, 300, 1 / 121))
    assert two.k_equivalent > one.k_equivalent > 5


def test_the_neutron_background_of_the_passage_serves_where_no_other_was_told():
    bench = Bench()
    bench.sample(occupied=False)
    bench.neutrons((2, 3, 20))
    told = dict(bench.finish(neutron_background=2.4).facts)
    assert told["neutron_1s_expected"] == pytest.approx(2.4)
    assert told["neutron_background_live_s"] == 120


# --- occupancies ----------------------------------------------------------------------------


def test_a_passage_may_be_told_after_the_lane_is_vacant():
    bench = Bench()
    bench.gamma(1000.0, 30, occupied=False)
    bench.gamma(1000.0, 3, occupied=True)
    bench.gamma(1000.0, 1, occupied=False)
    assert bench.finish().gamma is not None
    assert bench.finish() is None  # and only once


def test_a_passage_without_samples_has_no_statistic():
    bench = Bench()
    assert bench.finish() is None
    bench.gamma(1000.0, 3, occupied=True)
    bench.sample(occupied=False)
    bench.mono += 100
    assert bench.finish() is None


def test_two_occupancies_are_two_statistics():
    bench = Bench()
    bench.gamma(1000.0, 30, occupied=False)
    bench.gamma(3000.0, 3, occupied=True)
    assert bench.finish().gamma.p_value < SIGNIFICANT
    bench.gamma(1000.0, 3, occupied=True)
    assert bench.finish().gamma.p_value > SIGNIFICANT


def test_a_blocked_lane_is_a_fault_after_five_minutes():
    bench = Bench()
    bench.gamma(1000.0, 30, occupied=False)
    bench.gamma(1500.0, 299.8, occupied=True)
    assert bench.stuck is None
    bench.gamma(1500.0, 0.2, occupied=True)  # five minutes since the lane was last seen vacant
    record = bench.stuck
    assert (record.level, record.priority, record.latched) == ("H1", 3, False)
    assert not record.is_radiation
    assert [str(change.event) for change in bench.changes] == ["raised"]
    standing = bench.rule.standing()[0]
    assert (standing.armed, standing.reason) == (False, "lane occupied for more than 300 s")
    assert dict(standing.facts)["gamma_background_per_s"] == pytest.approx(1000, rel=0.05)
    bench.gamma(1000.0, 0.2, occupied=False)
    assert [str(change.event) for change in bench.changes] == ["raised", "returned"]


def test_a_queue_of_vehicles_is_not_a_blocked_lane():
    bench = Bench()
    for _ in range(40):
        bench.gamma(1000.0, 20, occupied=True)
        bench.finish()
    assert bench.stuck is None


def test_a_blocked_lane_survives_a_restart():
    bench = Bench()
    bench.gamma(1000.0, 301, occupied=True)
    bench.rule = PortalStatistics(bench.book)
    bench.rule.restore(bench.stuck, bench.rule.internal("occupancy_stuck"), bench.now)
    bench.gamma(1000.0, 400, occupied=True)
    assert bench.stuck.active
    assert bench.sample(occupied=False) == ["returned"]


def test_it_raises_nothing_about_radiation():
    bench = Bench()
    bench.gamma(1000.0, 30, occupied=False)
    bench.gamma(100_000.0, 10, occupied=True)
    bench.neutrons((100, 100, 100))
    assert bench.finish().gamma.k_equivalent > 30
    assert bench.changes == []


def test_standing_says_what_is_missing():
    bench = Bench()
    assert bench.rule.standing()[0].reason == "learning the vacant lane"
    bench.gamma(1000.0, 30, occupied=False)
    assert bench.rule.standing()[0].armed
