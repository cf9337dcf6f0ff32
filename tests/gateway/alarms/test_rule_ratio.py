"""R2: the ratio to the surveyed baseline of a place."""

import json
import math
from dataclasses import replace
from itertools import count
from random import Random

import pytest

from drivers.api import Channel, Flag, Quantity, Reading
from gateway.alarms.book import Book
from gateway.alarms.classes import defaults
from gateway.alarms.counting import gamma_counts
from gateway.alarms.durable import decode, encode
from gateway.alarms.lifecycle import Severity
from gateway.alarms.profiles import DetectorProfile
from gateway.alarms.ratio import GammaRatio
from gateway.alarms.ratio_baseline import COUNT_RATE, Baseline, trial
from gateway.alarms.record import Evidence, Rule
from gateway.alarms.usability import dose_rates
from gateway.alarms.watcher import Sampled
from gateway.values import Instant, Measured
from simulators.poisson import poisson

H10 = Quantity.AMBIENT_DOSE_EQUIVALENT_RATE
SHARE = 0.0024  # 50 channels of one gateway: 0.2 of 0.6 per hour
DAY_S = 86400.0


class Post:
    """A detector at a place in virtual time; counts are drawn, or exactly the mean (rng None)."""

    def __init__(self, detector_class="Personal Radiation Detector", seed=None, **profile):
        ways = profile.pop("ways", defaults(detector_class))
        self.share = profile.pop("share", SHARE)
        self.profile = DetectorProfile("d", detector_class, ways=ways, **profile)
        self.rng = None if seed is None else Random(seed)
        self.ids = count(1)
        self.mono, self.changes, self.owed = 1000.0, [], 0.0
        self.area_wide = False
        self.begin()

    def begin(self):
        self.book = Book(self.profile, lambda: f"o{next(self.ids)}")
        self.rule = GammaRatio(self.book, self.share)

    @property
    def now(self):
        return Instant(1.7e9 + self.mono, self.mono)

    def wait(self, seconds):
        self.mono += seconds
        self.changes += self.rule.tick(self.now)

    def sample(self, *readings, flags=(), blind=False, age_s=0.0):
        measured = Measured("d", self.now.earlier(age_s), self.now, readings, flags=flags)
        true, estimate = dose_rates(measured)
        counts = gamma_counts(measured)
        alarming, area = not self.book.is_teaching, self.area_wide
        sampled = Sampled(measured, counts, None, true, estimate, blind, alarming, area)
        changes = self.rule.measured(sampled)
        self.changes += changes
        return [str(change.event) for change in changes]

    def counts(self, rate, seconds=1.0, *flags, step=1.0, dose=None, independent=True, **more):
        """Counts at that mean rate for so long; whole counts come when they are due."""
        events = []
        for _ in range(round(seconds / step)):
            self.wait(step)
            if self.rng is not None:
                counts = poisson(self.rng, rate * step)
            else:
                self.owed += rate * step
                counts = math.floor(self.owed + 1e-9)
                self.owed -= counts
            readings = [
                Reading(
                    Channel.GAMMA_COUNTS, counts, "count", flags=flags, window_s=step,
                    independent=independent,
                )
            ]  # fmt: skip
            if dose is not None:
                readings.append(Reading(Channel.DOSE_RATE, dose, "µSv/h", H10))
            events += self.sample(*readings, **more)
        return events

    def doses(self, value, seconds=1.0, *flags, step=1.0, noise=0.0, window_s=None, **more):
        events = []
        for _ in range(round(seconds / step)):
            self.wait(step)
            told = value if self.rng is None or value is None else self.rng.gauss(value, noise)
            reading = Reading(Channel.DOSE_RATE, told, "µSv/h", H10, flags, window_s=window_s)
            events += self.sample(reading, **more)
        return events

    def survey(self, seconds=600.0, valid_s=DAY_S, reason="gate 4, empty"):
        return self.rule.survey(seconds, self.now, valid_s=valid_s, user="berta", reason=reason)

    def surveyed(self, rate, seconds=600.0, dose=None):
        assert self.survey(seconds) == ""
        self.counts(rate, seconds, dose=dose)
        assert not self.rule.is_surveying
        return self

    def restart(self, off_s=0.0, mono=5.0):
        kept = self.rule.learned()
        kept = None if kept is None else json.loads(json.dumps(kept))
        record = self.alarm
        state = None if record is None else encode(record, self.rule.internal("gamma_ratio"))
        self.begin()
        self.mono = mono
        if state is not None:
            record, internal = decode(state, self.now)
            self.book.records["gamma_ratio"] = record
            self.rule.restore(record, internal, self.now)
        if kept is not None:
            self.rule.relearn(kept, off_s, self.now)

    @property
    def alarm(self):
        return self.book.records.get("gamma_ratio")

    @property
    def standing(self):
        return self.rule.standing()[0]

    @property
    def facts(self):
        return dict(self.standing.facts)


# --- Raise and clear


def test_it_is_raised_at_the_ratio_and_returns_below_the_clear_value():
    post = Post().surveyed(20.0)
    assert post.facts["window_s"] == 20.0
    assert post.counts(25.9, 120) == []
    assert post.counts(26.5, 60) == ["raised"]
    assert (post.alarm.level, post.alarm.priority, post.alarm.latched) == ("R2", 3, False)
    assert post.counts(24.1, 120) == []
    assert post.counts(23.8, 20) == []
    assert post.counts(23.8, 30) == ["returned"]


def test_the_record_says_everything_that_decided():
    post = Post().surveyed(20.0)
    post.counts(40.0, 60)
    record = post.alarm
    parameters, statistic = dict(record.rule.parameters), dict(record.statistic)
    background = dict(record.background)
    assert record.rule.id == "gamma_ratio"
    assert parameters["false_alarms_per_hour"] == SHARE
    assert parameters["alpha"] == pytest.approx(SHARE / 3600 * 20 / 10)  # it moves on by 2 s
    assert (parameters["ratio"], parameters["ratio_clear"]) == (1.3, 1.2)
    assert statistic["window_s"] == 20.0
    assert statistic["counts"] >= statistic["threshold"] == pytest.approx(520.0)
    assert statistic["p_value"] < parameters["alpha"]
    assert statistic["k_equivalent"] > 4
    assert (record.unit, record.quantity) == ("1/s", Quantity.GAMMA_COUNT_RATE)
    assert background["rate"] == pytest.approx(20.0)
    assert (background["user"], background["reason"]) == ("berta", "gate 4, empty")
    assert background["surveyed_at"] == pytest.approx(1.7e9 + 1600.0)


def test_an_off_delay_follows_the_window():
    post = Post().surveyed(20.0)
    post.counts(30.0, 60)
    start = post.mono
    while "returned" not in post.counts(10.0):
        assert post.mono - start < 60
    # A third of the window is enough for a mean below 1.2, then ten seconds go by.
    assert post.mono - start > 15.0


@pytest.mark.parametrize("what", ["fault", "blind", "warming_up", "late", "silence", "saturated"])
def test_only_valid_readings_clear(what):
    post = Post().surveyed(20.0)
    post.counts(30.0, 60)
    for _ in range(10):
        if what == "fault":
            post.counts(0.0, 30, Flag.INSTRUMENT_FAULT)
        elif what == "blind":
            post.counts(10.0, 30, blind=True)
        elif what == "warming_up":
            post.counts(10.0, 30, Flag.WARMING_UP)
        elif what == "late":
            post.counts(10.0, 30, age_s=60.0)
        elif what == "saturated":
            post.counts(10.0, 30, Flag.SATURATED_COUNTS)
        else:
            post.wait(30)
    assert post.alarm.active
    post.counts(20.0, 60)
    assert not post.alarm.active


def test_a_gap_starts_window_and_off_delay_again():
    post = Post().surveyed(20.0)
    post.counts(30.0, 60)
    post.counts(20.0, 14)
    for _ in range(10):
        post.wait(5)
        post.counts(20.0, 19)
    assert post.alarm.active
    assert post.counts(20.0, 40) == ["returned"]


def test_one_bad_sample_among_low_ones_delays_the_return():
    post = Post().surveyed(20.0)
    post.counts(30.0, 60)
    for _ in range(20):
        post.counts(10.0, 10)
        post.counts(10.0, 1, Flag.WARMING_UP)
    assert post.alarm.active


def test_readings_that_are_usable_for_raising_only_raise():
    post = Post().surveyed(20.0)
    assert post.counts(40.0, 60, Flag.MAINTENANCE) == ["raised"]


def test_valid_readings_freshen_a_stale_alarm_whatever_they_say():
    for rate in (40.0, 25.0, 20.0):
        post = Post().surveyed(20.0)
        post.counts(30.0, 60)
        post.counts(25.0, 60)
        post.book.mark_stale(post.now, "link lost")
        assert "fresh" in post.counts(rate, 30)
        assert not post.alarm.stale


def test_overlapping_sums_are_not_counted_twice():
    """A sum of two seconds, told four times a second."""
    post = Post().surveyed(20.0, 600.0)
    for quarter in range(400):
        post.wait(0.25)
        post.sample(Reading(Channel.GAMMA_COUNTS, 46, "count", window_s=2.0))
        assert quarter > 200 or post.rule.ratio() is None
    assert post.alarm is None
    assert post.rule.ratio().ratio == pytest.approx(1.15)


# --- Windows keep the budget


def place(rate, live_s=600.0, step_s=1.0, copies=1):
    error = math.sqrt(copies * rate * live_s) / live_s
    at = Instant(0.0, 0.0)
    return Baseline(rate, COUNT_RATE, error, live_s, step_s, at, 1e9, "", "", copies)


@pytest.mark.parametrize(
    ("rate", "window_s"), [(0.2, None), (5.0, 120.0), (20.0, 20.0), (60.0, 10.0), (2000.0, 5.0)]
)
def test_the_window_is_the_shortest_that_keeps_the_budget(rate, window_s):
    found = trial(place(rate), 1.3, 1.2, SHARE)
    assert (None if found is None else found.window_s) == window_s


def test_counts_that_may_repeat_and_short_surveys_need_longer_windows():
    assert trial(place(20.0, copies=2), 1.3, 1.2, SHARE).window_s == 60.0
    assert trial(place(20.0, live_s=60.0), 1.3, 1.2, SHARE).window_s == 30.0
    assert trial(place(20.0, step_s=40.0), 1.3, 1.2, SHARE).window_s == 60.0


def test_a_small_tube_is_not_armed_and_says_why():
    post = Post("Network Area Monitor", silence_s=2.0).surveyed(0.2, 1200.0)
    assert not post.standing.armed
    assert "hides a ratio of 1.3" in post.standing.reason
    assert post.rule.baseline is not None
    post.counts(2.0, 600)
    assert post.alarm is None
    assert post.rule.ratio().ratio == pytest.approx(10.0, abs=0.5)


def false_events(rate, share, hours, seed, survey_s=600.0):
    """False alarms per hour over several surveys of the same place."""
    post = Post("Backpack", seed=seed, share=share)
    post.profile = replace(post.profile, ways=replace(post.profile.ways, background_rate=None))
    post.begin()
    raised = 0
    for _ in range(5):
        post.surveyed(rate, survey_s)
        raised += post.counts(rate, hours * 720.0).count("raised")
        post.counts(rate, 120)
        post.rule.accept(post.now)
        post.book.records.clear()
    return raised


@pytest.mark.parametrize(("rate", "share"), [(20.0, 20.0), (5.0, 20.0)])
def test_false_alarms_stay_inside_the_budget(rate, share):
    """A large share, so that a few hours tell: 40 alarms would be allowed in two hours."""
    allowed = share * 2
    assert false_events(rate, share, 2, seed=1) <= allowed + 3 * math.sqrt(allowed)


@pytest.mark.torture
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("rate", "share", "survey_s"),
    [(5.0, 5.0, 600.0), (20.0, 5.0, 600.0), (20.0, 1.0, 60.0), (60.0, 5.0, 120.0)],
)
def test_false_alarms_stay_inside_the_budget_for_long(rate, share, survey_s, seed):
    hours = 100
    allowed = share * hours
    found = false_events(rate, share, hours, seed, survey_s)
    assert found <= allowed + 3 * math.sqrt(allowed)


# --- Surveys and baselines


def test_a_survey_measures_for_so_many_valid_seconds():
    post = Post()
    assert (post.standing.armed, post.standing.reason) == (False, "no baseline was surveyed")
    assert post.survey(120.0) == ""
    post.counts(20.0, 60)
    post.counts(500.0, 60, Flag.WARMING_UP)
    post.counts(500.0, 60, blind=True)
    assert post.rule.is_surveying
    assert post.facts["surveyed_s"] == 60.0
    post.counts(20.0, 60)
    assert not post.rule.is_surveying
    baseline = post.rule.baseline
    assert baseline.rate == pytest.approx(20.0)
    assert baseline.error == pytest.approx(math.sqrt(2400) / 120)
    assert baseline.live_s == 120.0
    assert post.standing.armed
    assert post.facts["smallest_rise"] == pytest.approx(6.0)


def test_a_baseline_is_frozen():
    post = Post().surveyed(20.0)
    post.counts(24.0, 7200)
    assert post.rule.baseline.rate == pytest.approx(20.0)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"reason": ""}, "needs a reason"),
        ({"seconds": 10.0}, "at least 60 s"),
        ({"seconds": 600.0, "valid_s": 600.0}, "would expire"),
    ],
)
def test_a_survey_without_reason_or_sense_is_refused(arguments, why):
    post = Post()
    assert why in post.survey(**arguments)
    assert not post.rule.is_surveying


def test_no_survey_while_a_radiation_alarm_is_active():
    post = Post().surveyed(20.0)
    post.counts(30.0, 60)
    assert "radiation alarm is active" in post.survey()
    assert [str(change.event) for change in post.rule.accept(post.now)] == ["returned"]
    assert "survey again" in post.standing.reason
    assert post.survey() == ""


def test_a_survey_is_given_up_when_an_alarm_or_an_area_wide_rise_comes():
    post = Post()
    post.survey()
    post.counts(20.0, 60)
    evidence = Evidence(post.now, Rule("absolute_level", 1), 0.6, "µSv/h")
    post.book.open("dose_rate", evidence, ("R3",), Severity("R3", 3, False))
    post.counts(20.0)
    assert not post.rule.is_surveying
    assert "radiation alarm" in post.facts["survey_problem"]
    other = Post()
    other.survey()
    other.area_wide = True
    other.counts(20.0)
    assert not other.rule.is_surveying
    assert "whole area" in other.survey()


@pytest.mark.parametrize(("rate", "why"), [(61.0, "are usual"), (0.0, "no counts")])
def test_what_is_not_plausible_does_not_become_a_baseline(rate, why):
    """Three times the usual background of its class is not believed."""
    post = Post()
    post.survey(60.0)
    post.counts(rate, 60)
    assert why in post.facts["survey_problem"]
    assert post.rule.baseline is None
    assert not post.standing.armed


def test_a_survey_that_fails_leaves_the_baseline_before_it():
    post = Post().surveyed(20.0)
    post.survey(60.0)
    post.counts(0.0, 60)
    assert "no counts" in post.facts["survey_problem"]
    assert post.rule.baseline.rate == pytest.approx(20.0)


def test_a_survey_without_readings_is_given_up():
    post = Post()
    post.survey(60.0)
    post.wait(100)
    assert post.rule.is_surveying
    post.wait(100)
    assert not post.rule.is_surveying
    assert "only 0 s" in post.facts["survey_problem"]


def test_a_baseline_expires_and_is_not_renewed():
    post = Post()
    post.survey(valid_s=1000.0)
    post.counts(20.0, 600)
    post.counts(30.0, 60)
    post.wait(400)
    assert (post.standing.armed, post.standing.reason) == (False, "baseline expired")
    post.counts(20.0, 600)
    assert post.alarm.active  # nothing to compare with: somebody has to decide
    assert post.rule.ratio() is None
    assert not post.rule.rising()
    post.book.mark_stale(post.now, "link lost")
    assert post.counts(20.0) == ["fresh"]
    assert [str(change.event) for change in post.rule.accept(post.now)] == ["returned"]


def test_a_withdrawn_baseline_leaves_the_alarm_to_be_decided():
    post = Post().surveyed(20.0)
    post.counts(30.0, 60)
    post.rule.withdraw(post.now)
    assert post.standing.reason == "baseline withdrawn"
    post.counts(20.0, 600)
    assert post.alarm.active


# --- Restart


def test_a_restart_keeps_baseline_and_alarm():
    post = Post().surveyed(20.0)
    post.counts(30.0, 60)
    post.restart(off_s=100.0)
    assert post.rule.baseline.until - post.mono == pytest.approx(DAY_S - 760.0, abs=1.0)
    assert post.alarm.active
    post.counts(20.0, 25)
    assert post.alarm.active
    post.counts(20.0, 30)
    assert not post.alarm.active
    assert post.counts(30.0, 60) == ["closed", "raised"]


def test_a_baseline_that_expired_meanwhile_is_not_taken():
    post = Post().surveyed(20.0)
    post.restart(off_s=2 * DAY_S)
    assert post.rule.baseline is None
    assert post.standing.reason == "baseline expired"


def test_a_supervised_close_lets_it_be_judged_anew():
    post = Post().surveyed(20.0)
    post.counts(30.0, 60)
    post.book.records.clear()
    post.rule.abandon("gamma_ratio")
    assert post.counts(30.0, 60) == ["raised"]


# --- Dose rates only


def test_a_dose_rate_is_averaged_and_its_noise_comes_on_top():
    post = Post("Network Area Monitor", seed=3)
    post.survey()
    post.doses(0.1, 601, noise=0.01)
    baseline = post.rule.baseline
    assert baseline.unit == "µSv/h"
    assert baseline.rate == pytest.approx(0.1, rel=0.02)
    assert post.facts["method"] == "empirical"
    assert post.facts["window_s"] >= 30.0
    margin = post.facts["raise_rate"] - 1.3 * baseline.rate
    deviation = 0.01 * math.sqrt(2 * 2.0 / 30)
    assert margin == pytest.approx(3 * deviation, rel=0.1)
    post.doses(0.13, 600, noise=0.01)
    assert post.alarm is None
    post.doses(0.15, 60, noise=0.01)
    assert post.alarm.active
    assert (post.alarm.unit, post.alarm.quantity) == ("µSv/h", H10)
    assert not post.alarm.indicative
    post.doses(0.1, 60, noise=0.01)
    assert not post.alarm.active


def test_a_slow_instrument_is_averaged_over_ten_of_its_time_constants():
    post = Post("Network Area Monitor", silence_s=10.0, seed=3)
    post.survey()
    post.doses(0.1, 610, step=10.0, noise=0.005, window_s=20.0)
    assert post.facts["window_s"] >= 200.0


@pytest.mark.parametrize("value", [None, 0.01])
def test_dose_rates_that_are_none_clear_nothing(value):
    post = Post("Network Area Monitor")
    post.survey()
    post.doses(0.1, 601)
    post.doses(0.2, 60)
    post.doses(value, 300, Flag.OVER_RANGE if value is None else Flag.STALE)
    assert post.alarm.active


def test_an_estimate_from_smoothed_counts_is_indicative():
    post = Post("Gamma Handheld")
    post.survey()
    post.doses(0.1, 601, Flag.ESTIMATED_FROM_COUNTS)
    post.doses(0.2, 60, Flag.ESTIMATED_FROM_COUNTS)
    assert post.alarm.indicative


# --- Rain and the area-wide rise


def test_under_an_area_wide_advisory_it_is_covered_up_to_twice_the_baseline():
    """By chance 30 s of 42 counts a second, 5 % more than that, may be no more than it."""
    post = Post().surveyed(20.0)
    post.area_wide = True
    assert post.counts(36.0, 300) == []
    assert post.rule.covered
    assert post.rule.rising()
    assert post.facts["covered"] == 1
    assert post.counts(42.0, 60) == []
    assert post.counts(46.0, 60) == ["raised"]
    assert not post.rule.covered


def test_under_an_area_wide_advisory_the_rise_in_dose_rate_counts_too():
    post = Post().surveyed(20.0, dose=0.2)
    post.area_wide = True
    assert post.counts(34.0, 300, dose=0.34) == []
    assert post.counts(40.0, 60, dose=0.40) == ["raised"]


def test_it_is_raised_when_the_advisory_ends_and_stays_when_one_begins():
    post = Post().surveyed(20.0)
    post.area_wide = True
    post.counts(36.0, 60)
    post.area_wide = False
    assert post.counts(36.0, 5) == ["raised"]
    post.area_wide = True
    assert post.counts(36.0, 60) == []
    assert post.alarm.active
    assert not post.rule.covered


def rain(seconds):
    """PTB Braunschweig: 106 to 196 nSv/h in 15 min, as a ratio."""
    return 1.0 + (196 / 106 - 1.0) * min(seconds / 900.0, 1.0)


def rising_after(seed):
    """Minutes of rain until a detector of 20 cps says that the ratio is reached."""
    post = Post(seed=seed, ways=replace(defaults("Personal Radiation Detector"), ratio=1.3))
    post.surveyed(20.0)
    post.counts(20.0, 300)
    assert not post.rule.rising()
    for second in range(900):
        post.counts(20.0 * rain(second))
        if post.rule.rising():
            return second / 60
    return math.inf


def test_rain_is_rising_when_the_ratio_is_crossed():
    """DT-47: 1.3 is crossed 5.3 min into the ramp, the mean of 60 s follows by half a minute.

    Of 500 simulated runs 92 % were in time; more than 5 failures in 20 would be one in 300.
    """
    assert 5.3 <= rising_after(None) <= 6.5
    after = sorted(rising_after(seed) for seed in range(20))
    assert sum(5.0 <= minutes <= 7.0 for minutes in after) >= 15
    assert 5.5 <= after[10] <= 6.8


def test_the_ratio_has_its_statistical_error():
    post = Post().surveyed(20.0)
    assert post.rule.ratio() is None
    post.counts(20.0, 60)
    trend = post.rule.ratio()
    assert trend.ratio == pytest.approx(1.0, abs=0.01)
    assert trend.error == pytest.approx(math.hypot(1200**-0.5, 12000**-0.5), rel=0.01)
