"""The instrument of the open line format: what each archetype sends, in all its states."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest
from pydantic import ValidationError

from config.scenario import Scenario
from drivers.api import Channel, Flag, Passage, Quantity, Reading, Sample
from drivers.json_lines import JsonLines
from simulators.api import HasSerial, HasStates
from simulators.json_lines import ArchetypeInstrument, create
from simulators.world import World

Table = dict[str, Any]


class Bench:
    """One instrument in a world, read by its driver."""

    def __init__(self, archetype: str, seed: int = 1, **tables: Any) -> None:
        detector = {"id": "d", "archetype": archetype, "at": {"x": 0, "y": 0}}
        detector |= tables.pop("detector", {})
        base: Table = {"scenario": {"name": "test", "duration_s": 600}, "detector": [detector]}
        self.world = World(Scenario.model_validate(base | tables), seed)
        self.field = self.world.field("d")
        settings = detector.get("settings", {})
        self.instrument = create(settings, Random(seed))
        self.driver = JsonLines()
        self.sent: list[bytes] = []

    def until(self, to_s: float) -> list[Sample | Passage]:
        outputs = []
        for emission in self.instrument.advance(to_s, self.field):
            self.sent.append(emission.data)
            for output in self.driver.feed(emission.data):
                assert isinstance(output, Sample | Passage), output
                outputs.append(output)
        return outputs

    def last(self, to_s: float) -> Sample:
        return [each for each in self.until(to_s) if isinstance(each, Sample)][-1]


def steady(dose_rate: str) -> Table:
    return {"script": {"points": [{"t": 0, "dose_rate": dose_rate}]}}


def only(sample: Sample, channel: Channel, part: str = "") -> Reading:
    (found,) = (each for each in sample.readings if (each.channel, each.part) == (channel, part))
    return found


def channels(sample: Sample) -> list[Channel]:
    return [each.channel for each in sample.readings]


USUAL = {
    "PRD": (0.25, [Channel.GAMMA_COUNTS, Channel.DOSE_RATE]),
    "HH": (0.25, [Channel.GAMMA_COUNTS, Channel.DOSE_RATE]),
    "BP": (1.0, [Channel.GAMMA_COUNTS, Channel.DOSE_RATE]),
    "VEH": (1.0, [Channel.GAMMA_COUNTS, Channel.DOSE_RATE]),
    "AREA": (2.0, [Channel.DOSE_RATE]),
    "EPD": (1.0, [Channel.DOSE_RATE, Channel.DOSE]),
    "RPM": (0.2, [Channel.GAMMA_COUNTS]),
}


@pytest.mark.parametrize("archetype", USUAL)
def test_what_each_archetype_sends_by_default(archetype: str) -> None:
    period_s, wanted = USUAL[archetype]
    bench = Bench(archetype)
    assert bench.until(period_s * 0.99) == []
    samples = bench.until(period_s * 4.01)
    assert len(samples) == 4
    for sample in samples:
        assert isinstance(sample, Sample)
        assert channels(sample) == wanted
        for reading in sample.readings:
            if reading.channel is not Channel.DOSE:
                assert reading.window_s == period_s
            assert reading.independent is (reading.channel is Channel.GAMMA_COUNTS)
            if reading.channel is Channel.DOSE_RATE:
                assert reading.value == pytest.approx(0.10)
    personal = archetype == "EPD"
    if archetype != "RPM":
        quantity = only(samples[0], Channel.DOSE_RATE).quantity
        assert (quantity is Quantity.PERSONAL_DOSE_EQUIVALENT_RATE) is personal


def test_counts_are_gap_free_and_poisson() -> None:
    bench = Bench("PRD", detector={"settings": {"period_s": 0.5}})
    counts = [only(each, Channel.GAMMA_COUNTS).value for each in bench.until(2000.0)]
    assert len(counts) == 4000
    mean = sum(counts) / 4000
    assert mean == pytest.approx(10.0, abs=4 * math.sqrt(10 / 4000))
    variance = sum((each - mean) ** 2 for each in counts) / 3999
    assert variance == pytest.approx(mean, rel=0.1)


def test_equal_seeds_send_equal_bytes_however_time_is_cut() -> None:
    whole, pieces = Bench("PRD"), Bench("PRD")
    whole.until(30.0)
    for step in range(1, 301):
        pieces.until(step / 10)
    assert whole.sent == pieces.sent
    other = Bench("PRD", seed=2)
    other.until(30.0)
    assert other.sent != whole.sent


def test_a_pager_changes_over_to_its_other_tube_and_ends() -> None:
    low, high, over = (
        Bench("PRD", detector=steady(rate)).last(1.0)
        for rate in ("29 µSv/h", "31 µSv/h", "11 mSv/h")
    )
    assert channels(low) == [Channel.GAMMA_COUNTS, Channel.DOSE_RATE]
    assert only(low, Channel.DOSE_RATE).flags == ()
    assert channels(high) == [Channel.DOSE_RATE]
    assert only(high, Channel.DOSE_RATE).value == pytest.approx(31)
    assert only(high, Channel.DOSE_RATE).flags == (Flag.HIGH_RANGE_DETECTOR,)
    reading = only(over, Channel.DOSE_RATE)
    assert (reading.value, reading.lower_bound) == (None, 10_000)
    assert reading.flags == (Flag.OVER_RANGE,)


@pytest.mark.parametrize(
    ("archetype", "rate", "bound", "flags", "counts"),
    [
        ("HH", "31 µSv/h", 30, (Flag.OVER_RANGE,), None),
        ("BP", "40 µSv/h", 30, (Flag.OVER_RANGE, Flag.SATURATED_COUNTS), 60_000),
        ("VEH", "30 µSv/h", 25, (Flag.OVER_RANGE, Flag.SATURATED_COUNTS), 250_000),
        ("AREA", "200 mSv/h", 10_000, (Flag.OVER_RANGE,), None),
        ("EPD", "11 Sv/h", 1e7, (Flag.OVER_RANGE,), None),
    ],
)
def test_over_the_top_there_is_no_number_but_a_bound(
    archetype: str, rate: str, bound: float, flags: tuple[Flag, ...], counts: int | None
) -> None:
    sample = Bench(archetype, detector=steady(rate)).last(4.0)
    reading = only(sample, Channel.DOSE_RATE)
    assert (reading.value, reading.lower_bound, reading.flags) == (None, bound, flags)
    if counts is None:
        assert Channel.GAMMA_COUNTS not in channels(sample)
    else:
        counted = only(sample, Channel.GAMMA_COUNTS)
        assert counted.value == pytest.approx(counts, rel=0.02)
        assert counted.flags == (Flag.SATURATED_COUNTS,)


def area(cps: str) -> float | int | None:
    script = {"points": [{"t": 0, "gamma_rate": cps}]}
    detector = {"script": script, "settings": {"signals_over_range": False}}
    return only(Bench("AREA", detector=detector).last(4.0), Channel.DOSE_RATE).value


def test_an_area_monitor_folds_over() -> None:
    # m = n·exp(-n·τ) with τ = 100 µs: 2320 and 26 783 true both read 1839, 100 000 reads 5.
    low, high = area("2320 cps"), area("26783 cps")
    assert low == pytest.approx(1839, abs=1)
    assert high == pytest.approx(1839, abs=1)
    assert area("100000 cps") == pytest.approx(5, abs=0.6)


def test_an_area_monitor_reads_its_background_and_a_little_more() -> None:
    assert only(Bench("AREA").last(2.0), Channel.DOSE_RATE).value == pytest.approx(0.10)
    rain = {"background": {"dose_rate": "0.2 µSv/h"}}
    assert only(Bench("AREA", **rain).last(2.0), Channel.DOSE_RATE).value == pytest.approx(0.20)
    five = Bench("AREA", detector=steady("5 µSv/h")).last(2.0)
    assert only(five, Channel.DOSE_RATE).value == pytest.approx(5.0, rel=1e-3)


def test_a_register_of_dose() -> None:
    # 100 mSv/h for 30 min are 50 mSv.
    bench = Bench("EPD", detector=steady("100 mSv/h"))
    sample = bench.last(1800.0)
    assert only(sample, Channel.DOSE).value == pytest.approx(50_000)
    assert only(sample, Channel.DOSE).unit == "µSv"


def test_averaging_is_a_filter_of_first_order() -> None:
    script = {"points": [{"t": 0, "dose_rate": "0 µSv/h"}, {"t": 10, "dose_rate": "0 µSv/h"},
                         {"t": 10.001, "dose_rate": "1 µSv/h"}]}  # fmt: skip
    settings = {"period_s": 1, "averaging_s": 8, "instantaneous": True}
    samples = Bench("PRD", detector={"script": script, "settings": settings}).until(18.0)
    reading = only(samples[-1], Channel.DOSE_RATE)
    assert reading.value == pytest.approx(1 - math.exp(-1))  # after 11 to 18 s
    assert reading.window_s == 8


def test_an_instantaneous_reading_is_that_of_the_moment() -> None:
    ramp = {"points": [{"t": 0, "dose_rate": "0 µSv/h"}, {"t": 10, "dose_rate": "10 µSv/h"}]}
    mean, moment = (
        Bench("PRD", detector={"script": ramp, "settings": {"period_s": 2} | more}).last(6.0)
        for more in ({}, {"instantaneous": True})
    )
    assert only(mean, Channel.DOSE_RATE).value == pytest.approx(5)
    assert only(moment, Channel.DOSE_RATE).value == pytest.approx(6)
    assert only(moment, Channel.DOSE_RATE).window_s == 0


def test_noise_only_where_it_is_asked_for() -> None:
    detector = steady("20 µSv/h") | {"settings": {"period_s": 1, "noise": 0.14, "counts": False}}
    values = [
        only(each, Channel.DOSE_RATE).value
        for each in Bench("PRD", detector=detector).until(4000.0)
    ]
    mean = sum(values) / 4000
    spread = math.sqrt(sum((each - mean) ** 2 for each in values) / 3999)
    assert mean == pytest.approx(20, rel=0.01)
    assert spread / mean == pytest.approx(0.14, rel=0.05)


def test_units_and_what_may_be_left_out() -> None:
    settings = {"unit": "µR/h", "counts": False, "dose": True}
    sample = Bench("PRD", detector={"settings": settings}).last(1.0)
    assert [(each.channel, each.unit, each.quantity) for each in sample.readings] == [
        (Channel.DOSE_RATE, "µR/h", Quantity.EXPOSURE_RATE),
        (Channel.DOSE, "µR", Quantity.EXPOSURE),
    ]
    assert sample.readings[0].value == pytest.approx(10)


def test_a_calibration_in_place_of_a_dose_rate() -> None:
    bench = Bench("PRD", detector={"settings": {"calibration": True, "serial": "47"}})
    first, *others = bench.until(5.0)
    assert isinstance(first, Sample)
    assert channels(first) == [Channel.GAMMA_COUNTS]
    identity = first.identity
    assert identity is not None
    assert identity.calibration is not None
    assert (identity.serial, identity.calibration.points) == ("47", ((100, 1),))
    assert all(isinstance(each, Sample) and each.identity is None for each in others)


def test_only_a_smoothed_rate() -> None:
    bench = Bench("PRD", detector={"settings": {"rate_only": True, "averaging_s": 60}})
    reading = only(bench.last(600.0), Channel.GAMMA_COUNT_RATE)
    assert reading.value == pytest.approx(20, abs=4 * math.sqrt(20 / 120))
    assert (reading.unit, reading.window_s, reading.independent) == ("1/s", 60, False)


def test_neutrons_where_it_counts_any() -> None:
    detector = {"neutron_background_rate": "3 cps", "neutron_sensitivity": 1e-3}
    source = {"id": "cf", "n_per_s": 20_000, "at": {"x": 0, "y": 2}}
    samples = Bench("BP", detector=detector, source=[source]).until(1000.0)
    counts = [only(each, Channel.NEUTRON_COUNTS).value for each in samples]
    # 3 + 20 000 x 1e-3 / 2² = 8 a second
    assert sum(counts) / 1000 == pytest.approx(8, abs=4 * math.sqrt(8 / 1000))


def set_states(instrument: ArchetypeInstrument, *names: str, on: bool = True) -> None:
    for name in names:
        instrument.set_state(name, on=on)


def test_states_are_told_while_set_and_when_they_clear() -> None:
    bench = Bench("PRD")
    assert isinstance(bench.instrument, HasStates)
    set_states(bench.instrument, "tamper", "battery_low", "self_test")
    sample = bench.last(1.0)
    assert only(sample, Channel.TAMPER).value == 1
    assert only(sample, Channel.DEVICE_FAULT, "battery_low").value == 1
    assert only(sample, Channel.BATTERY).value == 5
    assert sample.flags == (Flag.SELF_TEST,)
    set_states(bench.instrument, "tamper", "battery_low", "self_test", on=False)
    sample = bench.last(2.0)
    assert only(sample, Channel.TAMPER).value == 0
    assert only(sample, Channel.DEVICE_FAULT, "battery_low").value == 0
    assert sample.flags == ()


def test_a_fault_has_no_numbers() -> None:
    bench = Bench("PRD")
    set_states(bench.instrument, "fault")
    sample = bench.last(1.0)
    assert only(sample, Channel.DEVICE_FAULT).value == 1
    reading = only(sample, Channel.DOSE_RATE)
    assert (reading.value, reading.flags) == (None, (Flag.INSTRUMENT_FAULT,))
    assert Channel.GAMMA_COUNTS not in channels(sample)


def test_a_dead_channel_goes_on_saying_nothing() -> None:
    bench = Bench("PRD")
    set_states(bench.instrument, "dead_channel")
    samples = bench.until(10.0)
    assert len(samples) == 40
    assert {only(each, Channel.GAMMA_COUNTS).value for each in samples} == {0}
    assert {only(each, Channel.DOSE_RATE).value for each in samples} == {0}


def test_an_over_range_status_without_a_field() -> None:
    bench = Bench("BP")
    set_states(bench.instrument, "over_range")
    reading = only(bench.last(2.0), Channel.DOSE_RATE)
    assert (reading.value, reading.lower_bound, reading.flags) == (None, 30, (Flag.OVER_RANGE,))


def test_a_frozen_value_repeats_the_last_line() -> None:
    bench = Bench("PRD")
    bench.until(1.0)
    set_states(bench.instrument, "frozen_value")
    bench.until(10.0)
    assert len(bench.sent) == 40
    assert set(bench.sent[4:]) == {bench.sent[3]}
    set_states(bench.instrument, "frozen_value", on=False)
    bench.until(20.0)
    assert len(set(bench.sent[40:])) > 5


def test_a_nuclide_is_named_once() -> None:
    bench = Bench("PRD")
    bench.instrument.identify("I-131", "medical", 0.9)
    first, second = bench.until(0.5)
    assert isinstance(first, Sample)
    assert isinstance(second, Sample)
    reading = only(first, Channel.NUCLIDE, "I-131")
    assert (reading.value, reading.raw, reading.unit) == (0.9, "medical", "1")
    assert Channel.NUCLIDE not in channels(second)


def test_another_serial_is_said_with_the_next_line() -> None:
    bench = Bench("PRD", detector={"settings": {"serial": "1"}})
    assert isinstance(bench.instrument, HasSerial)
    bench.until(2.0)
    bench.instrument.set_serial("2")
    sample = bench.until(2.25)[0]
    assert isinstance(sample, Sample)
    assert sample.identity is not None
    assert sample.identity.serial == "2"


def test_a_battery_and_a_warm_up() -> None:
    settings = {"battery_percent": 80, "battery_percent_per_h": 36, "warm_up_s": 5}
    samples = Bench("PRD", detector={"settings": settings}).until(10.0)
    levels = [only(each, Channel.BATTERY).value for each in samples]
    assert levels[-1] == pytest.approx(79.9)
    warming = [each.flags == (Flag.WARMING_UP,) for each in samples if isinstance(each, Sample)]
    assert warming.count(True) == 19  # those before 5 s


def test_silence_while_it_is_off_and_whole_periods_after() -> None:
    bench = Bench("PRD", detector={"on_s": 2.1, "settings": {"period_s": 1}})
    assert bench.until(3.0) == []
    assert len(bench.until(5.15)) == 3  # 3.1, 4.1, 5.1
    bench.field.power.switch(5.2, False)
    assert bench.until(9.0) == []
    bench.field.power.switch(9.5, True)
    samples = bench.until(11.5)
    counts = [only(each, Channel.GAMMA_COUNTS).window_s for each in samples]
    assert counts == [1, 1]


def test_where_a_vehicle_is() -> None:
    site = {"site": {"latitude": 52.0, "longitude": 13.0}}
    path = [{"t": 0, "x": 0, "y": 0}, {"t": 100, "x": 0, "y": 1000}]
    world: Table = {"detector": {"path": path}} | site
    world["detector"]["at"] = None
    sample = Bench("VEH", **world).last(100.0)
    assert sample.position is not None
    assert sample.position.latitude == pytest.approx(52.0 + 1000 / 111_270, abs=1e-5)
    assert Bench("PRD", **site).last(1.0).position is None


# Portals.


def portal(*occupancies: Table, settings: Table | None = None, **detector: Any) -> Bench:
    told = [{"portal": "d"} | each for each in occupancies]
    own = {"settings": settings or {}, "parts": 4, "neutron_background_rate": "2.5 cps"}
    return Bench("RPM", detector=own | detector, occupancy=told)


def passages(outputs: Sequence[Sample | Passage]) -> list[Passage]:
    return [each for each in outputs if isinstance(each, Passage)]


def test_a_portal_tells_intervals_seconds_and_passages() -> None:
    bench = portal({"at_s": 30, "length_s": 2, "speed": "1.2 m/s"})
    outputs = bench.until(60.0)
    samples = [each for each in outputs if isinstance(each, Sample)]
    assert len(samples) == 300
    assert [each.part for each in samples[0].readings] == ["1", "2", "3", "4"]
    with_neutrons = [each for each in samples if Channel.NEUTRON_COUNTS in channels(each)]
    assert len(with_neutrons) == 60
    assert {each.occupied for each in samples} == {True, False}
    (passage,) = passages(outputs)
    assert (passage.number, passage.gamma_alarm, passage.neutron_alarm) == (1, False, False)
    assert passage.start_age_s == pytest.approx(2.2, abs=0.21)
    assert passage.gamma_max == pytest.approx(2000, abs=250)
    assert passage.gamma_max_basis == "5x200ms"
    assert passage.gamma_background == pytest.approx(2000, abs=60)
    assert passage.speed_m_s == pytest.approx(1.2)
    assert samples[0].flags == (Flag.CALIBRATING_BACKGROUND,)
    assert samples[-1].flags == ()


def test_a_portal_alarms_by_its_own_rule_and_clears() -> None:
    lorry = {"at_s": 40, "length_s": 12, "suppression": 0.1, "gamma_rate": "600 cps", "cargo_s": 8}
    outputs = portal(lorry).until(70.0)
    (passage,) = passages(outputs)
    assert passage.gamma_alarm
    assert not passage.neutron_alarm
    assert passage.gamma_max == pytest.approx(2400, abs=200)
    states = [
        only(each, Channel.DEVICE_ALARM, "gamma").value
        for each in outputs
        if isinstance(each, Sample) and Channel.DEVICE_ALARM in channels(each)
    ]
    assert states[0] == 0
    assert states[-1] == 0
    assert 1 in states


def test_neutrons_alarm_by_the_second() -> None:
    (passage,) = passages(portal({"at_s": 30, "length_s": 4, "neutron_rate": "40 cps"}).until(60.0))
    assert passage.neutron_alarm
    assert passage.neutron_max is not None
    assert passage.neutron_max > 15


def test_a_rate_of_false_alarms_chooses_the_threshold() -> None:
    crowd = {"at_s": 30, "length_s": 2, "repeat": {"count": 1000, "every_s": 4}}
    eager, calm = (
        passages(portal(crowd, settings={"false_alarm_per_passage": rate}, parts=1).until(4030.0))
        for rate in (0.1, 1e-5)
    )
    assert len(eager) == len(calm) == 1000
    false = sum(each.gamma_alarm for each in eager)
    assert 20 < false < 150  # 0.1 by the sum over ten sums that hang together
    assert sum(each.gamma_alarm for each in calm) <= 2


def test_who_stays_in_the_lane_does_not_teach_the_background() -> None:
    bench = portal({"at_s": 30, "length_s": 300, "suppression": 0.5})
    (passage,) = passages(bench.until(340.0))
    assert passage.gamma_background == pytest.approx(2000, abs=60)


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(ValidationError, match="peroid_s"):
        create({"peroid_s": 1}, Random(1))


def test_a_clock_of_its_own_that_is_wrong_and_drifts() -> None:
    settings = {"clock": True, "clock_offset_s": -60, "clock_ppm": 1000, "period_s": 1}
    samples = Bench("PRD", detector={"settings": settings}).until(100.0)
    times = [each.device_time for each in samples if isinstance(each, Sample)]
    assert times[0] == datetime(2026, 6, 1, 11, 59, 1, 1000, tzinfo=UTC)
    assert times[-1] == datetime(2026, 6, 1, 12, 0, 40, 100_000, tzinfo=UTC)
    usual = Bench("PRD").until(5.0)
    assert all(isinstance(each, Sample) and each.device_time is None for each in usual)


def test_a_clock_that_is_set_must_be_told() -> None:
    with pytest.raises(ValidationError, match="clock = true"):
        create({"clock_ppm": 20.0}, Random(1))
