"""R1: a rise of counts over a learned background, found in time, kept, and never learned."""

from dataclasses import replace
from itertools import count
from random import Random

import pytest

from drivers.api import Flag, Position
from gateway.alarms.background import Background
from gateway.alarms.book import Book
from gateway.alarms.budget import Budget, shares
from gateway.alarms.classes import defaults
from gateway.alarms.counting import Counted
from gateway.alarms.durable import Internal
from gateway.alarms.profiles import DetectorProfile
from gateway.alarms.rise import ALARM, FROZEN, IMPLAUSIBLE, GammaRise
from gateway.alarms.rise_windows import limits_for, plan
from gateway.alarms.usability import Usability
from gateway.alarms.watcher import Sampled
from gateway.values import Instant, Measured
from simulators.poisson import poisson

SHARE = shares(Budget(), gamma_channels=55, neutron_channels=4).rise
PRD = "Personal Radiation Detector"
PLACE = Position(52.5, 13.4)


class Bench:
    """One detector whose counts are drawn; ``t`` is the monotonic clock."""

    def __init__(self, seed=1, detector_class=PRD, step=1.0, learned=None, share=SHARE, **ways):
        profile = DetectorProfile(
            "d",
            detector_class=detector_class,
            ways=replace(defaults(detector_class), **ways),
            silence_s=1.0,
        )
        ids = count(1)
        self.rng, self.step, self.t = Random(seed), step, 1000.0
        self.book = Book(profile, lambda: f"o{next(ids)}")
        self.share, self.changes = share, []
        self.rule = GammaRise(self.book, share)
        if learned is not None:
            self.rule.relearn({"counts": learned[0], "live_s": learned[1]}, 0.0, self.now)

    @property
    def now(self):
        return Instant(self.t + 1.7e9, self.t)

    def sample(
        self, counts, live_s=None, use=Usability.FULL, independent=True, after=None, **sampled
    ):
        live_s = live_s or self.step
        self.t += live_s if after is None else after
        gamma = None if counts is None else Counted(counts, live_s, independent, use)
        measured = Measured("d", self.now, self.now, (), flags=sampled.pop("flags", ()))
        given = {
            "blind": False,
            "alarming": not self.book.is_teaching,
            "area_wide": False,
            **sampled,
        }
        told = self.rule.measured(
            Sampled(replace(measured, position=PLACE), gamma, None, None, None, **given)
        )
        return self._keep(told)

    def run(self, seconds, rate, until="", **sampled):
        """Poisson counts at ``rate``, a number or a function of the seconds passed."""
        begun, told = self.t, []
        for _ in range(round(seconds / self.step)):
            mean = rate(self.t - begun) if callable(rate) else rate
            told += self.sample(poisson(self.rng, mean * self.step), **sampled)
            told += self._keep(self.rule.tick(self.now))
            if until and until in told:
                break
        return told

    def _keep(self, changes):
        self.changes += changes
        return [f"{change.record.alarm} {change.event}" for change in changes]

    def accept(self):
        return self._keep(self.rule.accept(self.now))

    def told(self, alarm=ALARM):
        return [str(c.event) for c in self.changes if c.record.alarm == alarm]

    @property
    def standing(self):
        return self.rule.standing()[0]

    @property
    def facts(self):
        return dict(self.standing.facts)


def ready(seed=1, rate=20.0, **more):
    """A bench with a full background, drawn at once, and full windows."""
    length = more.get("background_s") or defaults(more.get("detector_class", PRD)).background_s
    bench = Bench(seed, learned=(poisson(Random(seed + 9000), rate * length), length), **more)
    bench.run(8, rate)
    return bench


RAISED = f"{ALARM} raised"
RETURNED = f"{ALARM} returned"


@pytest.mark.parametrize("step", [0.25, 1.0])
def test_a_step_of_50_cps_is_found_within_2_s(step):
    """50 µR/h on a pager, at any phase of its sample time; ANSI N42.32 asks for 2 s."""
    found, runs = 0, 1000
    for seed in range(runs):
        bench, phase = ready(seed, step=step), Random(seed).random() * step
        told = bench.sample(poisson(bench.rng, 20.0 * step + 50.0 * (step - phase)))
        for _ in range(round(2 / step) - 1):
            told += bench.sample(poisson(bench.rng, 70.0 * step))
        found += RAISED in told
    assert found >= 0.99 * runs


def test_the_record_says_how_it_was_decided():
    bench = ready()
    bench.sample(80, flags=(Flag.SIMULATED,))
    (raised,) = bench.changes
    record, statistic = raised.record, dict(raised.record.statistic)
    assert (record.level, record.priority, record.latched) == ("R1", 3, False)
    assert (record.rule.id, record.rule.version) == ("statistical_rise", 1)
    parameters = dict(record.rule.parameters)
    assert parameters["false_alarms_per_hour"] == SHARE
    assert parameters["windows_s"] == "1 2 4 8"
    assert (record.value, record.unit) == (80.0, "1/s")
    assert record.raised_at.mono == bench.t
    assert (statistic["counts"], statistic["window_s"]) == (80, 1.0)
    assert statistic["p_value"] < statistic["alpha"] < 1e-6
    assert statistic["threshold"] <= 80
    assert statistic["k_equivalent"] > 5
    assert statistic["background_live_s"] == 300.0
    assert record.flags == (Flag.SIMULATED,)
    assert record.position == PLACE


def test_the_first_sample_at_the_threshold_raises_and_none_below():
    threshold = ready().facts["threshold_1s"]
    assert ready().sample(threshold - 1) == []
    assert ready().sample(threshold) == [RAISED]


@pytest.mark.parametrize("counts", [0, 1, 2, 15, 59, 6000, 5999, 599_999, 14_999_999])
def test_background_counts_are_taken_up_by_a_sixteenth_of_their_deviation_at_most(counts):
    how = plan((1.0, 8.0), 1.0, SHARE, 1)
    (first, _) = limits_for(how, Background(counts, 300.9)).tests
    assert counts <= first.background <= counts + counts**0.5 / 16 + 1
    assert first.background_s == 300.0


def test_it_clears_when_all_windows_have_been_quiet_for_5_s():
    bench = ready()
    bench.sample(200)
    begun = bench.t
    told = bench.run(60, 20.0, until=RETURNED)
    assert RETURNED in told
    # The longest window holds the excess for 8 s, then 5 s of quiet.
    assert bench.t - begun == 8 + 5


@pytest.mark.parametrize(
    "spoilt",
    [
        {"use": Usability.RAISES_ONLY},
        {"blind": True},
        {"use": Usability.NOT},
        {"after": 10.0},
    ],
)
def test_only_clean_counts_clear(spoilt):
    """One spoilt sample every 9 s, and no window is ever clean and quiet for long enough."""
    bench = ready()
    bench.sample(200)
    for _ in range(30):
        bench.run(9, 20.0)
        bench.sample(20, **spoilt)
    assert "returned" not in bench.told()
    assert RETURNED in bench.run(20, 20.0)


def test_zero_counts_clear_nothing():
    bench = ready()
    bench.sample(200)
    bench.run(60, 0.0)
    assert "returned" not in bench.told()
    assert RETURNED in bench.run(20, 20.0)


def test_counts_for_raising_only_raise():
    bench = ready()
    assert bench.sample(200, use=Usability.RAISES_ONLY) == [RAISED]


def test_counts_that_are_none_raise_nothing_and_leave_an_active_alarm_stale():
    bench = ready()
    assert bench.sample(10_000, use=Usability.NOT) == []
    bench.sample(200)
    assert bench.sample(10_000, use=Usability.NOT) == [f"{ALARM} stale"]
    assert bench.sample(20) == [f"{ALARM} fresh"]


def test_learning_takes_a_minute_after_the_guard():
    bench = Bench()
    bench.run(16 + 37, 20.0)
    assert not bench.standing.armed
    assert bench.standing.reason == "learning, 37 of 60 s"
    bench.sample(400)
    assert bench.told() == []
    bench.run(21, 20.0)
    assert not bench.standing.armed
    bench.run(1, 20.0)
    assert bench.standing.armed


def test_a_cold_start_beside_a_source_is_not_believed():
    """200 cps from the first sample on: no rise can be told, and this is no background."""
    bench = Bench()
    bench.run(600, 200.0)
    assert bench.told() == []
    assert not bench.standing.armed
    assert "/s is no plausible background; learning" in bench.standing.reason
    assert bench.told(IMPLAUSIBLE) == ["raised"]
    bench.run(160, 20.0)
    assert bench.standing.armed
    assert bench.told(IMPLAUSIBLE) == ["raised", "returned"]
    assert bench.facts["rate"] == pytest.approx(20.0, abs=3 * (20 / 60) ** 0.5)


def passing(t, stop=600.0, v=1.2, d=2.0, peak=231.0):
    """A source that comes to 2 m, stays for ten minutes and goes on: 231 counts/s at best."""
    along = v * (t - 60) if t < 60 else max(0.0, v * (t - 60 - stop))
    return 20.0 + peak * d * d / (d * d + along * along)


def test_a_source_that_stays_is_not_learned():
    bench = ready()
    before = bench.facts["rate"]
    bench.run(61 + 600, passing)
    assert bench.told() == ["raised"] + ["peak"] * bench.told().count("peak")
    assert bench.book.is_active(ALARM)
    bench.run(300, lambda t: passing(t + 661), until=RETURNED)
    assert bench.told()[-1] == "returned"
    assert bench.facts["rate"] == pytest.approx(before, abs=3 * (2 * 20 / 300) ** 0.5)
    bench.run(600, 20.0)
    assert bench.facts["rate"] == pytest.approx(20.0, abs=3 * (20 / 300) ** 0.5)


def test_a_walk_into_granite_waits_for_the_assessor():
    bench = ready()
    bench.run(1800, lambda t: 20.0 + 12.0 * min(1.0, t / 5))
    assert bench.told().count("raised") == 1
    assert bench.book.is_active(ALARM)
    assert bench.told(FROZEN) == []
    bench.run(60, 32.0)
    assert bench.told(FROZEN) == ["raised"]
    assert bench.changes[-1].record.note == "" or "accept" in bench.changes[-1].note
    assert bench.accept() == [f"{FROZEN} returned"]
    told = bench.run(60, 32.0)
    assert RETURNED in told
    assert bench.facts["rate"] == pytest.approx(32.0, abs=3 * (32 / 60) ** 0.5)
    bench.run(1800, 32.0)
    assert bench.told().count("raised") == 1
    assert bench.told(FROZEN) == ["raised", "returned"]


def test_a_background_accepted_too_early_is_right_a_minute_later():
    bench = ready()
    bench.run(20, 32.0)
    bench.accept()
    bench.run(75, 32.0)
    assert not bench.book.is_active(ALARM)
    assert bench.facts["rate"] == pytest.approx(32.0, abs=3 * (32 / 60) ** 0.5)


def test_what_comes_new_while_a_background_is_accepted_is_not_learned():
    bench = ready()
    bench.run(70, 32.0)
    bench.accept()
    bench.run(20, 32.0)
    bench.run(300, 90.0)
    assert bench.book.is_active(ALARM)
    assert bench.facts["rate"] < 40


@pytest.mark.parametrize("seed", range(8))
def test_a_slow_approach_is_not_learned_but_found(seed):
    """+30 % in 20 min on a hand-held: the background may follow by 10 % in 10 min alone."""
    bench = ready(seed, rate=60.0, detector_class="Gamma Handheld")
    told = bench.run(1800, lambda t: 60.0 * (1 + 0.3 * min(1.0, t / 1200)), until=RAISED)
    assert RAISED in told
    assert bench.facts["rate"] < 60.0 * 1.1 ** (1800 / 600)


def test_a_rise_over_the_whole_area_is_followed():
    bench = ready(rate=250.0, detector_class="Transportable System")
    bench.run(1200, lambda t: 250.0 * (1 + 0.3 * t / 1200), area_wide=True, alarming=False)
    assert bench.facts["rate"] == pytest.approx(250 * 1.26, rel=0.01)


def test_a_fall_is_followed_at_once():
    bench = ready(rate=60.0, detector_class="Gamma Handheld")
    bench.run(330, 20.0)
    assert bench.facts["rate"] == pytest.approx(20.0, abs=3 * (20 / 300) ** 0.5)


def test_after_a_fall_the_rate_of_rise_finds_what_the_background_hides():
    bench = ready(rate=60.0, detector_class="Gamma Handheld")
    bench.run(100, 20.0)
    assert RAISED in bench.run(12, 42.0)
    record = bench.changes[0].record
    assert record.rule.id == "rate_of_rise"
    statistic = dict(record.statistic)
    assert statistic["window_s"] == 10.0
    assert statistic["counts"] >= 1.5 * statistic["background_counts"] / 6
    assert statistic["p_value"] <= min(1e-4, statistic["alpha"])


def test_a_suspicion_that_raises_nothing_is_learned_after_5_min():
    """200 counts in 8 s over 160: improbable at 1 %, and by far not at the share of the budget."""
    bench = Bench(learned=(6000, 300.0))
    for _ in range(16):
        bench.sample(20)
    for _ in range(300):
        bench.sample(25)
    assert bench.told() == []
    assert bench.facts["held_by"] == "suspicion"
    assert bench.facts["rate"] == pytest.approx(20.0)
    for _ in range(120):
        bench.sample(25)
    assert bench.told() == []
    assert bench.facts["rate"] > 21.0


def test_what_is_suspect_is_not_learned_out_of_the_guard_line_later():
    """Four times 8 s of suspicion in 10 min: no count of them enters."""
    bench = Bench(learned=(6000, 300.0))
    for _ in range(4):
        for counts in [20] * 140 + [25] * 10:
            bench.sample(counts)
    assert bench.told() == []
    assert bench.facts["rate"] == pytest.approx(20.0)


def test_other_alarms_of_the_detector_stop_learning():
    bench = ready()
    bench.run(600, 22.0, alarming=True)
    assert bench.facts["rate"] == ready().facts["rate"]
    assert bench.facts["held_by"] == "alarm"


@pytest.mark.parametrize("spoilt", [{"blind": True}, {"use": Usability.RAISES_ONLY}])
def test_flagged_counts_teach_nothing(spoilt):
    bench = ready()
    bench.run(600, 10.0, **spoilt)
    assert bench.facts["rate"] == ready().facts["rate"]


def test_a_gap_empties_the_windows_and_not_the_background():
    bench = ready()
    for _ in range(7):
        bench.sample(28)
    assert bench.told() == []
    bench.t += 5.0
    for _ in range(4):
        bench.sample(28)
    assert bench.told() == []
    assert bench.standing.armed


def test_smallest_rise_is_found_every_other_time():
    facts, runs = ready().facts, 400
    least = facts["smallest_rise"]
    assert least == facts["smallest_rise_8s"] < facts["smallest_rise_1s"]
    found = 0
    for seed in range(runs):
        bench = ready(1)
        bench.rng = Random(seed)
        bench.t += 5.0  # a gap: the next sample is a window of its own
        found += RAISED in bench.sample(poisson(bench.rng, 20 + facts["smallest_rise_1s"]))
    assert found / runs == pytest.approx(0.5, abs=0.1)


# Restart


def restarted(before, off_s=0.0):
    bench = Bench(2, learned=None)
    bench.t = before.t + off_s
    for alarm, record in before.book.records.items():
        bench.book.records[alarm] = record
        if record.active:
            bench.rule.restore(record, Internal(), bench.now)
    learned = before.rule.learned()
    if learned is not None:
        bench.rule.relearn(learned, off_s, bench.now)
    bench._keep(bench.book.mark_stale(bench.now, "restarted"))
    return bench


def test_a_restart_keeps_alarm_and_background():
    bench = ready()
    bench.run(20, 60.0)
    after = restarted(bench, off_s=60.0)
    after.run(60, 60.0)
    assert after.told() == ["stale", "fresh"]
    assert after.facts["rate"] == pytest.approx(bench.facts["rate"], abs=0.1)
    assert after.facts["begun"] == "restored"
    assert RETURNED in after.run(30, 20.0)


def test_a_background_that_is_too_old_is_not_taken():
    after = restarted(ready(), off_s=1801.0)
    after.run(5, 20.0)
    assert not after.standing.armed


def test_an_alarm_whose_background_is_lost_is_judged_against_that_of_its_record():
    """To learn it anew would be to learn the source."""
    bench = ready()
    bench.run(20, 60.0)
    after = restarted(bench, off_s=3600.0)
    after.run(1900, 60.0)
    assert after.told() == ["stale", "fresh"]
    assert after.told(FROZEN) == ["raised"]
    assert after.facts["begun"] == "the record's"
    assert RETURNED in after.run(30, 20.0)


def without_its_background(bench):
    record = bench.book.records[ALARM]
    bench.book.records[ALARM] = replace(record, background=())
    return bench


def test_an_alarm_of_whose_background_nothing_is_left_waits_for_the_assessor():
    bench = ready()
    bench.run(20, 60.0)
    after = restarted(without_its_background(bench), off_s=3600.0)
    after.run(1900, 60.0)
    assert after.told() == ["stale"]
    assert after.book.is_active(ALARM)
    assert after.told(FROZEN) == ["raised"]
    assert not after.standing.armed
    after.run(100, 20.0)
    assert after.book.is_active(ALARM)
    after.accept()
    assert RETURNED in after.run(70, 20.0)


def test_a_lost_background_is_learned_once_the_alarm_is_closed_by_hand():
    bench = ready()
    bench.run(20, 60.0)
    after = restarted(without_its_background(bench), off_s=3600.0)
    after.run(100, 20.0)
    del after.book.records[ALARM]
    after.rule.abandon(ALARM)
    after.run(76, 20.0)
    assert after.standing.armed


# Polled counters


def test_counts_that_may_have_been_seen_twice_need_twice_as_many():
    single, double = ready(), ready()
    double.sample(20, independent=False)
    assert double.facts["threshold_8s"] > single.facts["threshold_8s"]
    for _ in range(40):
        double.sample(28, independent=False)
    assert double.told() == []
    for _ in range(8):
        double.sample(45, independent=False)
    assert double.told() == ["raised"]
    assert dict(double.changes[0].record.statistic)["copies"] in (1, 2)


def test_polled_counts_that_repeat_raise_nothing():
    """Every other reading is seen twice, at random."""
    bench, readings = Bench(share=0.1), []
    for _ in range(4 * 3600):
        if not readings:
            readings = [poisson(bench.rng, 20.0)] * bench.rng.choice((1, 2))
        bench.sample(readings.pop(), independent=False)
    assert bench.told() == []


def test_overlapping_counts_are_left_out():
    bench = ready()
    for _ in range(40):
        bench.sample(35, live_s=1.0, independent=False, after=0.1)
    assert bench.told() == []


# Sample times


@pytest.mark.parametrize(
    ("live_s", "windows"), [(0.2, "1 2 4 8"), (2.0, "2 4 8"), (3.0, "3 9"), (10.0, "10")]
)
def test_windows_are_whole_samples(live_s, windows):
    bench = Bench(step=live_s)
    bench.run(400, 20.0)
    told = [name.split("_")[1][:-1] for name in bench.facts if name.startswith("threshold_")]
    assert " ".join(told) == windows
    assert RAISED in bench.run(30, 60.0)


def test_live_times_that_waver_are_one_sample_time():
    bench = Bench()
    for _ in range(900):
        live_s = 1.0 - 0.1 * bench.rng.random()
        bench.sample(poisson(bench.rng, 20.0 * live_s), live_s=live_s)
    assert bench.told() == []
    assert bench.facts["rate"] == pytest.approx(20.0, abs=3 * (20 / 300) ** 0.5)
    told = []
    for _ in range(2):
        live_s = 1.0 - 0.1 * bench.rng.random()
        told += bench.sample(poisson(bench.rng, 70.0 * live_s), live_s=live_s)
    assert RAISED in told


def test_a_background_of_wavering_live_times_can_be_accepted():
    bench = ready()
    for _ in range(100):
        live_s = 1.0 - 0.1 * bench.rng.random()
        bench.sample(poisson(bench.rng, 40.0 * live_s), live_s=live_s)
    bench.accept()
    assert bench.standing.armed
    assert bench.facts["rate"] == pytest.approx(40.0, abs=3 * (40 / 60) ** 0.5)
    assert RETURNED in bench.run(30, 40.0)


def test_another_sample_time_begins_new_windows():
    bench = ready(step=0.25)
    bench.step = 1.0
    assert bench.run(120, 20.0) == []
    assert bench.standing.armed
    assert bench.sample(80) == [RAISED]
