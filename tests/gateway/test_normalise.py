"""From the instrument's unit to the gateway's: figures of domain definitions and captures."""

import json
import math
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from config.models import Detector
from drivers.api import Calibration, Channel, Flag, Identity, Passage, Quantity, Reading, Sample
from gateway.conversion import Converter
from gateway.normalise import Normaliser, link_id
from gateway.values import Instant

NOW = Instant(1_780_000_000.0, 500.0)
VECTORS = Path(__file__).resolve().parents[1] / "data" / "vectors"


def detector(**more):
    link = {"kind": "recording", "path": "-"}
    return Detector.model_validate({"id": "d", "driver": "x", "link": link, **more})


def normaliser(**more):
    return Normaliser(detector(**more), "link-d")


def dose(value, unit, quantity=Quantity.EXPOSURE_RATE, raw="", **more):
    return Reading(Channel.DOSE_RATE, value, unit, quantity, raw=raw, **more)


def counts(value, window_s=1.0, channel=Channel.GAMMA_COUNTS, unit="count", **more):
    return Reading(channel, value, unit, window_s=window_s, **more)


def one(reading, **more):
    (said,) = normaliser(**more).sample(Sample((reading,)), NOW).readings
    return said


def calibration(*points):
    table = [{"counts": f"{c} 1/s", "dose_rate": f"{d} µSv/h"} for c, d in points]
    return {"points": table, "source": "certificate 1"}


@pytest.mark.parametrize(
    ("convention", "nuclide", "value", "flags"),
    [
        ("dose_equivalent_labelled_R", "Cs-137", 0.200, {Flag.VENDOR_CONVENTION}),
        ("true_exposure", "Cs-137", 0.210, {Flag.CONVERTED_EXPOSURE, Flag.ASSUMED_ENERGY}),
        ("true_exposure", "Am-241", 0.305, {Flag.CONVERTED_EXPOSURE, Flag.ASSUMED_ENERGY}),
        ("vendor_100_to_1", "Cs-137", 0.200, {Flag.CONVERTED_EXPOSURE, Flag.VENDOR_CONVENTION}),
        (None, "Co-60", 0.2034, {Flag.CONVERTED_EXPOSURE, Flag.ASSUMED_ENERGY}),
    ],
)
def test_20_microroentgen_an_hour(convention, nuclide, value, flags):
    said = one(dose(20, "µR/h"), convention=convention, nuclide=nuclide)
    assert said.value == pytest.approx(value, abs=5e-4)
    assert (said.unit, set(said.flags)) == ("µSv/h", flags)
    assert said.quantity is Quantity.AMBIENT_DOSE_EQUIVALENT_RATE
    assert said.raw == "20 µR/h"


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        ("nSv/h", 1e-3), ("µSv/h", 1), ("\u03bcSv/h", 1), ("uSv/h", 1), ("mSv/h", 1e3),
        ("Sv/h", 1e6), ("nrem/h", 1e-5), ("µrem/h", 0.01), ("mrem/h", 10), ("rem/h", 1e4),
    ],
)  # fmt: skip
def test_prefixes_and_rem_are_exact_and_unflagged(unit, factor):
    said = one(dose(3.0, unit, Quantity.AMBIENT_DOSE_EQUIVALENT_RATE, raw="3.0"))
    assert said.value == pytest.approx(3.0 * factor, rel=1e-12)
    assert (said.unit, said.flags) == ("µSv/h", ())
    assert said.quantity is Quantity.AMBIENT_DOSE_EQUIVALENT_RATE
    assert said.raw in ("3.0", f"3.0 {unit}")


@pytest.mark.parametrize(("unit", "factor"), [("nGy/h", 1.2e-3), ("µGy/h", 1.2), ("mrad/h", 12.0)])
def test_kerma_and_rad_carry_the_flags(unit, factor):
    said = one(dose(5.0, unit, Quantity.AIR_KERMA_RATE))
    assert said.value == pytest.approx(5.0 * factor)
    assert said.flags == (Flag.CONVERTED_KERMA, Flag.ASSUMED_ENERGY)
    assert said.quantity is Quantity.AMBIENT_DOSE_EQUIVALENT_RATE


def test_personal_dose_equivalent_is_never_relabelled():
    said = one(dose(1.0, "mSv/h", Quantity.PERSONAL_DOSE_EQUIVALENT_RATE))
    assert (said.value, said.quantity) == (1000.0, Quantity.PERSONAL_DOSE_EQUIVALENT_RATE)


@pytest.mark.parametrize("unit", ["µR/h", "\u03bcR/h", "uR/h"])
def test_every_micro_is_micro(unit):
    assert one(dose(20, unit)).value == pytest.approx(0.2104)


def test_doses_become_microsievert():
    said = one(Reading(Channel.DOSE, 2.0, "mSv", Quantity.AMBIENT_DOSE_EQUIVALENT))
    assert (said.value, said.unit) == (2000.0, "µSv")
    said = one(Reading(Channel.DOSE, 100, "µR", Quantity.EXPOSURE))
    assert (said.value, said.unit) == (pytest.approx(1.052), "µSv")
    assert said.quantity is Quantity.AMBIENT_DOSE_EQUIVALENT


@pytest.mark.parametrize("unit", ["", "R/min", "Sv/s", "999", "banana", "S/h"])
def test_a_unit_nobody_documented_stays_as_it_came(unit):
    reading = dose(7, unit, None)
    assert one(reading) == reading


@pytest.mark.parametrize("convention", [None, "dose_equivalent_labelled_R"])
def test_lower_bound_is_converted_and_no_number_stays_none(convention):
    reading = dose(None, "mR/h", flags=(Flag.OVER_RANGE,), lower_bound=10.0, raw="OL")
    said = one(reading, convention=convention)
    assert said.value is None
    assert said.lower_bound == pytest.approx(100.0 if convention else 105.2)
    assert said.flags[0] is Flag.OVER_RANGE
    assert said.raw == "OL mR/h"


def test_raw_keeps_every_digit():
    assert one(dose(1234567.25, "nSv/h", None)).raw == "1234567.25 nSv/h"


def test_counts_per_minute_become_per_second():
    said = one(counts(90, 60.0, Channel.GAMMA_COUNT_RATE, "1/min", raw="90"))
    assert (said.value, said.unit, said.raw) == (1.5, "1/s", "90 1/min")


def test_a_converter_works_each_kind_out_once():
    converter = Converter("true_exposure")
    first, second = (converter.convert(dose(x, "mR/h")) for x in (1, 2))
    assert second.value == 2 * first.value
    assert len(converter._known) == 1


# Estimates from counts.


def estimate(reading, **more):
    measured = normaliser(calibration=calibration((2.5, 1.0)), **more).sample(
        Sample((reading,)), NOW
    )
    return measured.readings[1:], measured.counts


def test_estimates_are_added_and_flagged():
    (said,), basis = estimate(counts(5, 2.0, independent=True, raw="5"))
    assert said.value == pytest.approx(1.0)
    assert (said.channel, said.unit, said.window_s) == (Channel.DOSE_RATE, "µSv/h", 2.0)
    assert set(said.flags) == {Flag.ESTIMATED_FROM_COUNTS, Flag.ASSUMED_ENERGY, Flag.INDICATIVE}
    assert (basis.counts, basis.live_s, basis.independent) == (5, 2.0, True)
    assert basis.usv_h_per_cps == pytest.approx(0.4)


def test_a_polled_second_is_a_basis_that_is_not_independent():
    _, basis = estimate(counts(3))
    assert (basis.counts, basis.independent) == (3, False)


def test_zero_counts_have_a_basis():
    (said,), basis = estimate(counts(0))
    assert (said.value, basis.counts) == (0.0, 0)
    assert basis.usv_h_per_cps == pytest.approx(0.4)


@pytest.mark.parametrize(
    "reading",
    [
        counts(600, 60.0),  # a moving minute
        counts(50, None),  # nobody knows over what time
        counts(None),
        counts(120, 60.0, Channel.GAMMA_COUNT_RATE, "1/min"),
        counts(4.2, 2.0, Channel.GAMMA_COUNT_RATE, "1/s"),  # smoothed by the instrument
    ],
)
def test_moving_sums_and_smoothed_rates_are_no_counts(reading):
    assert estimate(reading)[1] is None


def test_no_estimate_without_a_time_or_beside_a_true_dose_rate():
    assert estimate(counts(50, None))[0] == ()
    made = normaliser(calibration=calibration((2.5, 1.0)))
    both = Sample((dose(1.0, "µSv/h", None), counts(5)))
    measured = made.sample(both, NOW)
    assert len(measured.readings) == 2
    assert measured.counts is None
    assert len(normaliser().sample(Sample((counts(5),)), NOW).readings) == 1


def test_saturated_counts_give_a_lower_bound():
    saturated = counts(None, 1.0, flags=(Flag.SATURATED_COUNTS,), lower_bound=16383)
    (said,), basis = estimate(saturated)
    assert (said.value, basis) == (None, None)
    assert said.lower_bound == pytest.approx(16383 * 0.4)
    assert Flag.SATURATED_COUNTS in said.flags


def test_background_is_never_estimated():
    assert estimate(Reading(Channel.BACKGROUND, 20.0, "1/s"))[0] == ()


@pytest.mark.parametrize(
    ("cpm", "points", "dose_rate"),
    [
        # pygmc, captured units and their first stored points (counts per minute, µSv/h)
        (23, (1615, 10.0), 0.1424),
        (438, (60, 0.39), 2.847),
        (1210, (100, 0.65), 7.865),
        (2495, (15380, 100.0), 16.222),
    ],
)
def test_captured_gmc_minutes(cpm, points, dose_rate):
    stored = Calibration(((points[0] / 60, points[1]),), "configuration of the unit")
    made = normaliser()
    made.sample(Sample((), identity=Identity(serial="1", calibration=stored)), NOW)
    minute = counts(cpm, 60.0, Channel.GAMMA_COUNT_RATE, "1/min", part="cpm", raw=str(cpm))
    measured = made.sample(Sample((minute,)), NOW)
    assert measured.readings[1].value == pytest.approx(dose_rate, rel=1e-3)
    assert measured.counts is None
    assert measured.readings[0].raw == f"{cpm} 1/min"


def test_configured_calibration_comes_before_the_stored_one():
    stored = Calibration(((1.0, 9.0),), "the unit")
    made = normaliser(calibration=calibration((2.5, 1.0)))
    measured = made.sample(Sample((counts(5),), identity=Identity(calibration=stored)), NOW)
    assert measured.readings[1].value == pytest.approx(2.0)


# Time.


def test_times_by_age_and_by_the_instrument():
    measured = normaliser().sample(Sample((), age_s=2.5), NOW)
    assert (measured.at, measured.time_estimated) == (NOW.earlier(2.5), True)
    own = datetime.fromtimestamp(NOW.wall - 30, UTC)
    measured = normaliser().sample(Sample((), device_time=own), NOW)
    assert (measured.at.wall, measured.at.mono) == (NOW.wall - 30, NOW.mono)
    assert (measured.time_estimated, measured.flags) == (False, ())


@pytest.mark.parametrize("days", [-1.001, 1.001, -4000])
def test_a_clock_more_than_a_day_off_is_not_believed(days):
    own = datetime.fromtimestamp(NOW.wall, UTC) + timedelta(days=days)
    measured = normaliser().sample(Sample((), device_time=own), NOW)
    assert (measured.at, measured.time_estimated) == (NOW, True)
    assert measured.flags == (Flag.TIME_UNSYNCHRONISED,)


def test_passages_keep_what_is_unknown_unknown():
    record = normaliser().passage(Passage(1, None, 2.0, True, False), NOW)
    assert (record.start, record.end, record.arrived) == (None, NOW.earlier(2.0), NOW)


# Identity.


def test_another_serial_number_goes_to_the_link():
    made = normaliser(serial_number="A1", calibration=calibration((2.5, 1.0)))
    right = made.sample(Sample((counts(5),), identity=Identity("m", "A1", "f1")), NOW)
    assert (right.detector, right.flags) == ("d", ())
    stored = Calibration(((5.0, 9.0),), "the other unit")
    other = Identity("m", "B2", None, stored)
    wrong = made.sample(Sample((counts(5),), identity=other), NOW)
    assert (wrong.detector, wrong.flags) == ("link-d", (Flag.IDENTITY_MISMATCH,))
    assert wrong.readings[1].value == pytest.approx(9.0)  # its own calibration, not the certificate
    assert made.identity.firmware is None  # that was the first one's
    later = made.sample(Sample((counts(5),)), NOW)
    assert later.detector == "link-d"
    assert made.passage(Passage(1, 1.0, 0.0, False, False), NOW).detector == "link-d"
    back = made.sample(Sample((counts(5),), identity=Identity(serial="A1")), NOW)
    assert (back.detector, back.flags) == ("d", ())


def test_without_a_configured_number_any_will_do():
    made = normaliser()
    for serial in ("A", "B", None):
        assert made.sample(Sample((), identity=Identity(serial=serial)), NOW).detector == "d"


def test_simulated_input_says_so():
    assert normaliser(simulated=True).sample(Sample(()), NOW).flags == (Flag.SIMULATED,)


def test_link_ids_fit_and_never_collide():
    assert link_id("gate-1") == "link-gate-1"
    long = "a" * 32
    assert link_id(long) == "link-" + "a" * 27
    second = link_id(long, {link_id(long)})
    assert second == "link-" + "a" * 25 + "-2"
    assert link_id("x", {"link-x", "link-x-2"}) == "link-x-3"


def test_no_not_a_number_gets_through():
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match="not a number"):
            dose(value, "µSv/h")
    json.dumps(one(dose(0, "µR/h")).value, allow_nan=False)


def test_vectors_hold_the_captured_minutes():
    with (VECTORS / "gq-gmc.toml").open("rb") as file:
        found = {each.get("cpm") for each in tomllib.load(file)["count"]}
    assert {23, 438, 1210, 2495} <= found
