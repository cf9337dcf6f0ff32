"""Battery, calibration, clock, position and sampling of one detector."""

from dataclasses import replace
from datetime import UTC, date, datetime
from itertools import count

import pytest

from drivers.api import Channel, Flag, Position, Quantity, Reading
from gateway.alarms.book import Book
from gateway.alarms.classes import defaults
from gateway.alarms.counting import gamma_counts, neutron_counts
from gateway.alarms.device import DeviceAlarms
from gateway.alarms.durable import Internal
from gateway.alarms.profiles import DetectorProfile
from gateway.alarms.upkeep import Upkeep
from gateway.alarms.usability import dose_rates
from gateway.alarms.watcher import Sampled
from gateway.values import Instant, Measured

NOON = datetime(2026, 5, 2, 12, tzinfo=UTC).timestamp()
DOSE = Reading(Channel.DOSE_RATE, 0.1, "µSv/h", Quantity.AMBIENT_DOSE_EQUIVALENT_RATE)
HERE = Position(52.5, 13.4)


def percent(value, *flags):
    return Reading(Channel.BATTERY, value, "%", flags=flags)


class Bench:
    """One detector of a class and its rule; ``mono`` starts at 1000 s, it is noon."""

    def __init__(self, detector_class="Other", **profile):
        self.ids = count(1)
        ways = profile.pop("ways", defaults(detector_class))
        profile = DetectorProfile("d", detector_class, ways=ways, **profile)
        self.book = Book(profile, lambda: f"o{next(self.ids)}")
        self.rule = Upkeep(self.book)
        self.mono, self.wall = 1000.0, NOON

    @property
    def now(self):
        return Instant(self.wall, self.mono)

    def wait(self, seconds):
        self.mono += seconds
        self.wall += seconds

    def sample(self, *readings, step_s=1.0, age_s=0.0, fast_s=None, flags=(), position=None):
        """One sample; ``fast_s``: how much the instrument's own clock is fast, if it has one."""
        self.wait(step_s)
        at = self.now.earlier(age_s)
        if fast_s is not None:
            at = replace(at, wall=at.wall + fast_s)
        measured = Measured(
            "d", at, self.now, readings or (DOSE,), fast_s is None, flags, position
        )  # fmt: skip
        true, estimate = dose_rates(measured)
        gamma, neutrons = gamma_counts(measured), neutron_counts(measured)
        sampled = Sampled(measured, gamma, neutrons, true, estimate, False, False, False)
        return [str(change.event) for change in self.rule.measured(sampled)]

    def tick(self, step_s=1.0):
        self.wait(step_s)
        return [str(change.event) for change in self.rule.tick(self.now)]

    def restart(self):
        records = dict(self.book.records)
        learned = self.rule.learned()
        self.rule = Upkeep(self.book)
        for record in records.values():
            self.rule.restore(record, Internal(), self.now)
        return learned


def test_a_low_battery_and_its_hysteresis():
    bench = Bench()
    said = [bench.sample(percent(value)) for value in (50, 11, 10, 9.9, 12, 15, 15.1, 9)]
    assert said == [[], [], [], ["raised"], [], [], ["returned"], ["closed", "raised"]]
    record = bench.book.records["battery"]
    assert (record.level, record.priority, record.value, record.unit) == ("H2", 4, 9, "%")


def test_volts_no_value_and_stale_values_are_not_judged():
    bench = Bench()
    assert bench.sample(Reading(Channel.BATTERY, 3.1, "V")) == []
    assert bench.sample(percent(None)) == []
    assert bench.sample(percent(2, Flag.STALE)) == []


def test_the_lowest_of_several_batteries_counts():
    bench = Bench()
    assert bench.sample(DOSE, percent(80), percent(5)) == ["raised"]
    assert bench.sample(DOSE, percent(5), percent(80)) == []


def low_bit(value):
    return Reading(Channel.DEVICE_FAULT, value, "1", part="battery_low")


def test_the_instruments_own_battery_bit_is_not_doubled():
    bench = Bench()
    device = DeviceAlarms(bench.book, 0.0)
    device.measured(Measured("d", bench.now, bench.now, (low_bit(1),)))
    first = bench.book.records["battery"]
    assert bench.sample(percent(3)) == []
    assert bench.sample(percent(90)) == []
    assert bench.book.records["battery"] is first
    device.measured(Measured("d", bench.now, bench.now, (low_bit(0),)))
    assert not bench.book.is_active("battery")
    assert bench.sample(percent(3)) == ["closed", "raised"]


def test_a_low_battery_outlives_a_restart():
    bench = Bench()
    bench.sample(percent(5))
    bench.restart()
    assert bench.sample(percent(12)) == []
    assert bench.sample(percent(40)) == ["returned"]


def test_the_calibration_ends_with_its_last_day():
    bench = Bench(calibration_due=date(2026, 5, 2))
    assert bench.tick() == []
    assert [bench.tick(3600.0) for _ in range(12)] == [[]] * 11 + [["raised"]]
    record = bench.book.records["calibration_overdue"]
    assert (record.level, record.priority, record.value, record.unit) == ("H2", 4, 1, "d")
    assert record.note == "was due on 2026-05-02"


def test_the_calibration_is_looked_at_at_once_and_every_hour():
    bench = Bench(calibration_due=date(2026, 5, 1))
    assert bench.tick() == ["raised"]
    bench.wall -= 5 * 86_400.0  # the laptop's clock was wrong and is set right
    assert all(bench.tick() == [] for _ in range(3599))
    assert bench.tick() == ["returned"]


def test_a_new_certificate_ends_it():
    bench = Bench(calibration_due=date(2026, 5, 1))
    bench.tick()
    bench.book.profile = replace(bench.book.profile, calibration_due=date(2027, 5, 1))
    bench.restart()
    assert bench.tick() == ["returned"]


def test_no_date_is_no_alarm():
    assert Bench().tick() == []


def test_a_clock_that_is_wrong_three_times_running():
    bench = Bench()
    assert bench.sample(fast_s=2.5) == []
    assert bench.sample(fast_s=2.6) == []
    assert bench.sample(fast_s=2.5) == ["raised"]
    record = bench.book.records["clock_offset"]
    assert (record.level, record.priority, record.unit) == ("H2", 4, "s")
    assert record.value == pytest.approx(2.5)
    assert record.note == "its clock is 2.5 s fast"
    assert bench.sample(fast_s=1.5) == []
    assert bench.sample(fast_s=-0.9) == ["returned"]


def test_a_slow_clock_is_told_as_slow():
    bench = Bench()
    for _ in range(3):
        bench.sample(fast_s=-7.0)
    assert bench.book.records["clock_offset"].note == "its clock is 7.0 s slow"


def test_a_right_clock_between_wrong_ones():
    bench = Bench()
    for offset in (3.0, 3.0, 0.1) * 20:
        assert bench.sample(fast_s=offset) == []


def test_a_delivery_that_varies_is_no_offset():
    bench = Bench()
    for delay in (3.0, 9.0, 4.5, 2.2, 6.0, 2.5, 4.0) * 5:
        assert bench.sample(fast_s=-delay) == []


@pytest.mark.parametrize("spacing_s", [0.25, 1.0, 5.0])
def test_a_backlog_is_no_offset(spacing_s):
    """Ten minutes after an outage its samples come in one go, each with its time."""
    bench = Bench()
    bench.wait(600.0)
    for index in range(int(600 / spacing_s)):
        assert bench.sample(fast_s=-600.0 + index * spacing_s, step_s=0.001) == []


def test_an_age_that_the_driver_knows_is_no_offset():
    bench = Bench()
    for _ in range(10):
        assert bench.sample(fast_s=0.2, age_s=30.0) == []
    told = [bench.sample(fast_s=3.0, age_s=30.0) for _ in range(3)]
    assert told == [[], [], ["raised"]]


def test_a_time_that_is_not_believed_counts_too():
    bench = Bench()
    flags = (Flag.TIME_UNSYNCHRONISED,)
    assert [bench.sample(flags=flags) for _ in range(3)] == [[], [], ["raised"]]
    record = bench.book.records["clock_offset"]
    assert (record.value, record.note) == (None, "its time is more than a day off")
    assert bench.sample(flags=(Flag.SIMULATED,)) == []
    assert bench.sample(fast_s=0.0) == ["returned"]


def test_no_time_of_its_own_proves_nothing():
    bench = Bench()
    bench.sample(fast_s=5.0)
    bench.sample()
    bench.sample(fast_s=5.0)
    assert bench.sample(fast_s=5.0) == ["raised"]
    assert all(bench.sample() == [] for _ in range(100))
    assert bench.book.is_active("clock_offset")


@pytest.mark.parametrize("detector_class", ["Backpack", "Mobile System"])
def test_a_position_that_is_lost_for_a_minute(detector_class):
    bench = Bench(detector_class)
    assert all(bench.sample() == [] for _ in range(300))  # it never had one
    bench.sample(position=HERE)
    assert all(bench.sample() == [] for _ in range(59))
    assert bench.sample() == ["raised"]
    record = bench.book.records["position_lost"]
    assert (record.level, record.priority, record.position) == ("H2", 4, HERE)
    assert bench.sample() == []
    assert bench.sample(position=HERE) == ["returned"]


def test_an_old_position_is_none():
    bench = Bench("Backpack")
    bench.sample(position=HERE)
    told = [bench.sample(position=replace(HERE, age_s=float(age))) for age in range(130)]
    assert [index for index, events in enumerate(told) if events] == [120]


def test_silence_loses_no_position():
    bench = Bench("Backpack")
    bench.sample(position=HERE)
    for _ in range(20):
        assert bench.sample(step_s=30.0) == []


def test_a_detector_that_stays_where_it_is_loses_none():
    bench = Bench("Network Area Monitor")
    bench.sample(position=HERE)
    assert all(bench.sample() == [] for _ in range(200))


@pytest.mark.parametrize(("age_s", "raised"), [(60.0, True), (100_000.0, False)])
def test_that_it_had_a_position_outlives_a_restart_for_a_day(age_s, raised):
    bench = Bench("Backpack")
    bench.sample(position=HERE)
    learned = bench.restart()
    bench.rule.relearn(learned, age_s, bench.now)
    told = [bench.sample() for _ in range(100)]
    assert (["raised"] in told) is raised


def test_dt_15_polling_too_slow_is_told_at_start_up():
    """A pager that is asked every 5 s catches a car with 1 GBq in 36 % of its passes."""
    bench = Bench("Personal Radiation Detector", sampling_s=5.0)
    told = "sampling_insufficient: every 5 s, this class needs 1 s"
    assert bench.rule.reasons() == (told,)
    for _ in range(50):
        assert bench.sample(step_s=5.0) == []
    assert bench.rule.reasons() == (told,)
    assert bench.book.records == {}


@pytest.mark.parametrize(
    ("detector_class", "sampling_s", "enough"),
    [
        ("Personal Radiation Detector", 1.0, True),
        ("Mobile System", 1.5, False),
        ("Network Area Monitor", 60.0, True),
        ("Radionuclide Identifier", 5.0, True),
        ("Portal Monitor", 2.0, True),
        ("Portal Monitor", 5.0, False),
        ("Personal Radiation Detector", None, True),
    ],
)
def test_declared_sampling(detector_class, sampling_s, enough):
    bench = Bench(detector_class, sampling_s=sampling_s)
    assert (bench.rule.reasons() == ()) is enough


def counts(live_s):
    return Reading(Channel.GAMMA_COUNTS, 20, "count", window_s=live_s, independent=True)


@pytest.mark.parametrize(
    ("spacing_s", "live_s", "reason"),
    [
        (1.4, None, ""),
        (1.6, None, "every 1.6 s, this class needs 1 s"),
        (2.0, 2.0, ""),
        (2.0, 1.9, ""),
        (2.0, 1.0, "every 2 s, this class needs 1 s"),
        (3.0, 3.0, "every 3 s, this class needs 2 s"),
    ],
)
def test_observed_sampling(spacing_s, live_s, reason):
    """Counts over the whole time miss nothing, so only the delay of 2 s limits them."""
    bench = Bench("Backpack")
    for _ in range(11):
        assert bench.rule.reasons() == ()
        bench.sample(DOSE if live_s is None else counts(live_s), step_s=spacing_s)
    assert bench.rule.reasons() == ((f"sampling_insufficient: {reason}",) if reason else ())


def test_declared_slow_and_found_complete():
    bench = Bench("Backpack", sampling_s=2.0)
    assert bench.rule.reasons() != ()
    for _ in range(11):
        bench.sample(counts(2.0), step_s=2.0)
    assert bench.rule.reasons() == ()


def test_one_outage_and_samples_without_a_rate_are_no_slow_sampling():
    bench = Bench("Backpack")
    for index in range(200):
        bench.sample(step_s=90.0 if index % 20 == 7 else 0.5)
        bench.sample(percent(80), step_s=0.5)
    assert bench.rule.reasons() == ()


def test_an_idle_portal_is_not_slow():
    bench = Bench("Portal Monitor")
    for _ in range(50):
        bench.sample(counts(1.0), step_s=5.0)
    assert bench.rule.reasons() == ()


def test_a_doubt_until_it_is_commissioned():
    doubt = "not commissioned: the bytes of toy are constructed, not captured"
    bench = Bench(doubt=doubt)
    assert bench.rule.reasons() == (doubt,)
    bench.rule.commissioned = True
    assert bench.rule.reasons() == ()


def test_closed_under_supervision_a_lost_position_is_told_anew():
    bench = Bench("Backpack")
    bench.sample(position=HERE)
    for _ in range(70):
        bench.sample()
    bench.book.records.clear()
    bench.rule.abandon("position_lost")
    assert [bench.sample() for _ in range(61)].count(["raised"]) == 1


def test_what_it_tells():
    bench = Bench("Backpack", calibration_due=date(2027, 1, 31))
    for _ in range(11):
        bench.sample(DOSE, percent(64), fast_s=0.5)
    (standing,) = bench.rule.standing()
    assert dict(standing.facts) == {
        "battery_percent": 64,
        "clock_offset_s": pytest.approx(0.5),
        "calibration_due": "2027-01-31",
        "spacing_s": 1.0,
    }
