"""Values that repeat for ever, and healthy instruments that repeat themselves for a while."""

import math
from itertools import count
from random import Random

import pytest

from drivers.api import Channel, Flag, Quantity, Reading
from gateway.alarms.book import Book
from gateway.alarms.counting import gamma_counts, neutron_counts
from gateway.alarms.durable import Internal
from gateway.alarms.frozen import FrozenValue, repeats_needed, significant_digits
from gateway.alarms.lifecycle import Severity
from gateway.alarms.profiles import DetectorProfile
from gateway.alarms.record import Evidence, Rule
from gateway.alarms.usability import dose_rates
from gateway.alarms.watcher import Sampled
from gateway.values import Instant, Measured
from simulators.poisson import poisson

HOUR_S = 3600
RATE = Quantity.AMBIENT_DOSE_EQUIVALENT_RATE


class Bench:
    """One detector and its rule; ``mono`` starts at 1000 s."""

    def __init__(self, **profile):
        self.ids = count(1)
        self.book = Book(DetectorProfile("d", **profile), lambda: f"o{next(self.ids)}")
        self.rule = FrozenValue(self.book)
        self.mono = 1000.0

    @property
    def now(self):
        return Instant(1.7e9 + self.mono, self.mono)

    def sample(self, *readings, flags=(), step_s=1.0, blind=False):
        self.mono += step_s
        measured = Measured("d", self.now, self.now, readings, flags=flags)
        true, estimate = dose_rates(measured)
        gamma, neutrons = gamma_counts(measured), neutron_counts(measured)
        blind = blind or self.rule.is_frozen
        sampled = Sampled(measured, gamma, neutrons, true, estimate, blind, False, False)
        return [str(change.event) for change in self.rule.measured(sampled)]

    def counts(self, value, live_s=1.0, independent=True, channel=Channel.GAMMA_COUNTS, **more):
        reading = Reading(channel, value, "count", window_s=live_s, independent=independent)
        return self.sample(reading, step_s=more.pop("step_s", live_s), **more)

    def dose(self, value, raw="", flags=(), window_s=None, **more):
        return self.sample(dose(value, raw, flags, window_s), **more)

    def doses(self, value, samples, raw="", **more):
        """How many of so many samples it took; None: it was never declared frozen."""
        for index in range(samples):
            if self.dose(value, raw, **more):
                return index + 1
        return None


def dose(value, raw="", flags=(), window_s=None):
    return Reading(Channel.DOSE_RATE, value, "µSv/h", RATE, flags, window_s=window_s, raw=raw)


@pytest.mark.parametrize(
    ("counts", "needed"), [(1, 21), (2, 16), (5, 12), (20, 10), (1839, 10), (60_000, 10)]
)
def test_counts_are_frozen_at_one_in_a_thousand_million(counts, needed):
    """By hand: p(1; 1) = 0.36788, 0.36788**21 = 7.6e-10; p(5; 5) = 0.17547, **12 = 8.5e-10."""
    bench = Bench()
    for _ in range(needed - 1):
        assert bench.counts(counts) == []
    assert bench.counts(counts) == ["raised"]
    record = bench.book.records["frozen_value"]
    assert (record.level, record.priority, record.value, record.unit) == ("H1", 3, counts, "count")
    said = dict(record.statistic)
    assert said["p_value"] <= 1e-9
    assert said["identical"] == needed
    assert math.ceil(repeats_needed(counts)) == needed
    assert bench.rule.is_frozen


def test_the_first_different_count_ends_it():
    bench = Bench()
    for _ in range(30):
        bench.counts(40)
    assert bench.counts(40) == []
    assert bench.counts(41) == ["returned"]
    assert not bench.rule.is_frozen


def test_zeros_are_left_to_the_loss_of_counts():
    bench = Bench()
    assert all(bench.counts(0) == [] for _ in range(5000))


def test_counts_seen_twice_count_half():
    """A polled one-second counter needs twice as many, and ten polls a second prove no more."""
    bench = Bench()
    polls = next(n for n in range(1, 100) if bench.counts(40, independent=False))
    assert polls == 20
    fast = Bench()
    polls = next(n for n in range(1, 999) if fast.counts(40, independent=False, step_s=0.1))
    assert polls / 10 == pytest.approx(20, abs=1)


@pytest.mark.parametrize("mean", [0.3, 1.0, 2.5, 20.0, 1000.0])
def test_healthy_counters_are_not_frozen(mean):
    bench, rng = Bench(), Random(7)
    for _ in range(20_000):
        assert bench.counts(poisson(rng, mean)) == []


@pytest.mark.torture
def test_healthy_counters_are_not_frozen_for_days():
    for mean in (0.5, 1.0, 1.5, 2.0):
        bench, rng = Bench(), Random(8)
        for _ in range(1_000_000):
            assert bench.counts(poisson(rng, mean)) == []


def test_saturated_counts_are_not_frozen():
    bench = Bench()
    full = Reading(
        Channel.GAMMA_COUNTS, 999, "count", flags=(Flag.SATURATED_COUNTS,), window_s=1.0,
        independent=True,
    )  # fmt: skip
    assert all(bench.sample(full) == [] for _ in range(2000))


def test_neutrons_that_repeat_beside_gammas_that_do_not_are_no_fault():
    """Gamma and neutron counts in samples of their own, as a portal sends them."""
    bench, rng = Bench(), Random(3)
    for _ in range(500):
        assert bench.counts(poisson(rng, 400), step_s=0.5) == []
        assert bench.counts(2, channel=Channel.NEUTRON_COUNTS, step_s=0.5) == []


def test_gammas_that_repeat_between_neutrons_are_found():
    bench = Bench()
    told = []
    for _ in range(20):
        told += bench.counts(400, step_s=0.5)
        told += bench.counts(2, channel=Channel.NEUTRON_COUNTS, step_s=0.5)
    assert told == ["raised"]


def test_a_neutron_counter_alone_is_judged_by_its_counts():
    bench = Bench()
    told = [bench.counts(3, channel=Channel.NEUTRON_COUNTS) for _ in range(20)]
    assert told.index(["raised"]) + 1 == 14  # p(3; 3) = 0.22404, and its 14th power is 8e-10


@pytest.mark.parametrize(
    ("value", "raw", "digits"),
    [
        (0.10, "0.10", 2), (0.123, "0.123", 3), (1.0, "1.00", 3), (0.1, "", 0), (0.12, "", 2),
        (0.0, "0.00", 0), (0.01, "0.01", 0), (0.02, "0.02", 1), (0.2104, "20 µR/h", 2),
        (0.12, "12 0", 2), (0.10000000149, "", 0), (0.123400003, "", 4), (12, "", 2),
        (1839, "", 4), (100.0, "", 3), (None, "overload", 0), (0.25, "0,25", 2),
    ],
)  # fmt: skip
def test_digits_that_an_instrument_shows(value, raw, digits):
    assert significant_digits(dose(value, raw)) == digits


def test_three_digits_for_an_hour():
    bench = Bench()
    assert bench.doses(0.123, 2 * HOUR_S) == HOUR_S + 1
    record = bench.book.records["frozen_value"]
    assert (record.value, record.unit, dict(record.statistic)["digits"]) == (0.123, "µSv/h", 3)
    assert bench.dose(0.124) == ["returned"]


def test_the_raw_digits_count_too():
    bench = Bench()
    for index in range(3 * HOUR_S):
        assert bench.dose(0.12, f"0.12{index % 2}") == []


def test_two_digits_take_six_times_as_long_and_must_have_varied():
    bench = Bench()
    assert bench.doses(0.10, 30 * HOUR_S, "0.10", step_s=3.0) is None
    bench.dose(0.11, "0.11", step_s=3.0)
    assert bench.doses(0.10, 10 * HOUR_S, "0.10", step_s=3.0) == 6 * HOUR_S / 3 + 1


def test_what_varied_before_it_was_switched_off_does_not_count():
    bench = Bench()
    bench.dose(0.11, "0.11")
    bench.dose(0.10, "0.10")
    assert bench.doses(0.10, 1, "0.10", step_s=600.0) is None
    assert bench.doses(0.10, 12 * HOUR_S, "0.10", step_s=3.0) is None


@pytest.mark.parametrize(
    ("value", "raw", "flags"),
    [(0.0, "0.00", ()), (0.01, "0.01", ()), (0.123, "", (Flag.BELOW_RANGE,))],
)
def test_the_bottom_of_the_range_is_never_frozen(value, raw, flags):
    bench = Bench()
    bench.dose(0.234)
    assert bench.doses(value, 20 * HOUR_S, raw, flags=flags, step_s=3.0) is None


def test_it_takes_sixty_samples_over_their_own_averages():
    slow = Bench(silence_s=120.0)
    assert slow.doses(0.123, 100, step_s=120.0) == 60
    averaging = Bench()
    assert averaging.doses(0.123, 30_000, window_s=120.0) == 7200 + 1


def test_a_gap_begins_a_new_run():
    bench = Bench()
    assert bench.doses(0.123, HOUR_S - 60) is None
    assert bench.doses(0.123, 1, step_s=60.0) is None
    assert bench.doses(0.123, 2 * HOUR_S) == HOUR_S


def test_a_gap_begins_a_new_run_of_counts():
    bench = Bench()
    told = []
    for index in range(18):
        told += bench.counts(40, step_s=60.0 if index == 9 else 1.0)
    assert told == []
    assert bench.counts(40) == ["raised"]


def test_counts_that_change_between_dose_rates_show_that_it_lives():
    bench, rng = Bench(), Random(5)
    for _ in range(2 * HOUR_S):
        assert bench.dose(0.123, step_s=0.5) == []
        assert bench.counts(poisson(rng, 20), step_s=0.5) == []


def test_any_other_value_that_changes_shows_that_it_lives():
    bench = Bench()
    for index in range(3 * HOUR_S):
        rate = Reading(Channel.GAMMA_COUNT_RATE, 10.0 + index % 7, "1/s")
        assert bench.sample(dose(0.123), rate) == []
    for index in range(3 * HOUR_S):
        total = Reading(Channel.DOSE, 1.0 + index // 600, "µSv")
        assert bench.sample(dose(0.123), total) == []


def test_what_says_nothing_about_the_field_shows_nothing():
    """Battery and temperature go on while the measurement stands still."""
    bench = Bench()
    told = []
    for index in range(HOUR_S + 1):
        battery = Reading(Channel.BATTERY, 90 - index // 100, "%")
        told += bench.sample(dose(0.123), battery)
    assert told == ["raised"]


def test_an_estimate_is_no_number_of_the_instrument():
    bench = Bench()
    flags = (Flag.ESTIMATED_FROM_COUNTS,)
    assert bench.doses(0.123, 2 * HOUR_S, flags=flags) is None


@pytest.mark.parametrize("flag", [Flag.STALE, Flag.SUBSTITUTED, Flag.WARMING_UP, Flag.SELF_TEST])
def test_flagged_values_prove_nothing(flag):
    bench = Bench()
    assert bench.doses(0.123, 2 * HOUR_S, flags=(flag,)) is None
    bench = Bench()
    bench.doses(0.123, HOUR_S + 1)
    assert bench.rule.is_frozen
    assert bench.dose(0.5, flags=(flag,)) == []
    assert bench.sample(dose(0.5), flags=(flag,)) == []
    assert bench.dose(None) == []
    assert bench.rule.is_frozen
    assert bench.dose(0.5) == ["returned"]


def test_over_range_is_another_indication():
    bench = Bench()
    bench.doses(0.123, HOUR_S + 1)
    assert bench.dose(None, "", (Flag.OVER_RANGE,)) == ["returned"]
    assert bench.doses(None, 2 * HOUR_S, "", flags=(Flag.OVER_RANGE,)) is None


def test_a_declared_fault_is_said_already():
    bench = Bench()
    assert bench.doses(0.123, 2 * HOUR_S, blind=True) is None


def test_it_is_priority_2_while_the_instrument_alarms():
    bench = Bench()
    seen = Evidence(bench.now, Rule("absolute_level", 1), 30.0, "µSv/h")
    bench.book.open("dose_rate", seen, ("R4",), Severity("R4", 2, False))
    bench.doses(30.25, HOUR_S + 1)
    assert bench.book.records["frozen_value"].priority == 2


def test_a_silence_does_not_end_it():
    bench = Bench()
    bench.doses(0.123, HOUR_S + 1)
    assert bench.dose(0.123, step_s=600.0) == []
    assert bench.rule.is_frozen
    assert bench.dose(0.124, step_s=600.0) == ["returned"]


@pytest.mark.parametrize("first", ["same", "other"])
@pytest.mark.parametrize("kind", ["dose", "counts"])
def test_after_a_restart(kind, first):
    """It stays frozen while the value of the record is shown, and no longer."""
    bench = Bench()
    send, value = (bench.dose, 0.123) if kind == "dose" else (bench.counts, 40)
    for _ in range(HOUR_S + 1):
        send(value)
    record = bench.book.records["frozen_value"]
    bench.rule = FrozenValue(bench.book)
    bench.rule.restore(record, Internal(), bench.now)
    assert bench.rule.is_frozen
    if first == "same":
        assert send(value) == []
        assert send(value) == []
        assert bench.rule.is_frozen
    assert send(value + 1) == ["returned"]


def test_closed_under_supervision_it_is_raised_anew_if_it_goes_on():
    bench = Bench()
    bench.doses(0.123, HOUR_S + 1)
    bench.book.records.clear()
    bench.rule.abandon("frozen_value")
    assert not bench.rule.is_frozen
    assert bench.dose(0.123) == ["raised"]


def test_it_tells_how_long_the_value_has_stood():
    bench = Bench()
    bench.doses(0.123, 11)
    (standing,) = bench.rule.standing()
    assert standing.armed
    assert dict(standing.facts) == {"identical_samples": 11, "held_s": 10.0}
