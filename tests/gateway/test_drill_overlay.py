"""Ghosts over what an instrument said: added where there is a number, in the reading's own unit."""

from dataclasses import dataclass, field

import pytest

from config.models import Configuration
from drivers.api import Channel, Flag, Quantity, Reading, Sample
from gateway.drill.overlay import Overlay
from gateway.normalise import Normaliser
from gateway.values import Instant

AMBIENT = Quantity.AMBIENT_DOSE_EQUIVALENT_RATE


@dataclass
class Field:
    """1 µSv/h, 50 counts a second and 2 neutrons, without chance."""

    usv_h: float = 1.0
    gamma_cps: float | None = 50.0
    asked: list = field(default_factory=list)

    def dose_rate(self, from_s, to_s):
        self.asked.append((from_s, to_s))
        return self.usv_h

    def shares(self, from_s, to_s):
        return []

    def dose(self, to_s):
        return self.usv_h * to_s / 3600.0

    def gamma_counts(self, from_s, to_s, share):
        self.asked.append((from_s, to_s))
        return None if self.gamma_cps is None else round(self.gamma_cps * (to_s - from_s) * share)

    def neutron_counts(self, from_s, to_s, share):
        return round(2.0 * (to_s - from_s) * share)

    def nuclides(self, at_s):
        return [("Cs-137", self.usv_h), ("Tc-99m", 0.1)]


def detector(**more):
    link = {"kind": "recording", "path": "-"}
    table = {"id": "d", "driver": "made-up", "link": link, **more}
    whole = {"gateway": {"id": "gw"}, "detector": [table]}
    return Configuration.model_validate(whole).detector[0]


def laid(*readings, ghosts=None, at_s=100.0, names=False, **more):
    overlay = Overlay(detector(**more), ghosts or Field(), names_nuclides=names)
    return overlay.sample(Sample(readings), at_s).readings


def dose_rate(value, unit="µSv/h", quantity=AMBIENT, **more):
    return Reading(Channel.DOSE_RATE, value, unit, quantity, **more)


def counts(value, channel=Channel.GAMMA_COUNTS, unit="count", window_s=1.0, **more):
    return Reading(channel, value, unit, window_s=window_s, **more)


@pytest.mark.parametrize(
    ("unit", "more", "added"),
    [
        ("µSv/h", {}, 1.0),
        ("nSv/h", {}, 1000.0),
        ("mSv/h", {}, 0.001),
        ("µR/h", {"convention": "dose_equivalent_labelled_R"}, 100.0),
        ("µR/h", {}, 1 / 0.01052),
    ],
)
def test_a_dose_rate_grows_in_the_unit_of_the_instrument(unit, more, added):
    quantity = Quantity.EXPOSURE_RATE if "R" in unit and not more else AMBIENT
    (found,) = laid(dose_rate(12.0, unit, quantity), **more)
    assert found.value == pytest.approx(12.0 + added, rel=1e-4)
    assert found.unit == unit
    normaliser = Normaliser(detector(**more), "link-d")
    there = Instant(0.0, 0.0)
    before = normaliser.sample(Sample((dose_rate(12.0, unit, quantity),)), there).readings[0]
    after = normaliser.sample(Sample((found,)), there).readings[0]
    assert after.value - before.value == pytest.approx(1.0, rel=2e-2)


def test_a_reading_without_a_number_stays_without():
    over = dose_rate(None, flags=(Flag.OVER_RANGE,), lower_bound=30.0)
    missing = counts(None)
    assert laid(over, missing) == (over, missing)


@pytest.mark.parametrize(
    "reading",
    [
        dose_rate(1.0, "µSv/h", Quantity.NEUTRON_DOSE_EQUIVALENT_RATE),
        dose_rate(1.0, "µSv/h", Quantity.SKIN_DOSE_EQUIVALENT_RATE),
        dose_rate(1.0, "furlongs"),
        Reading(Channel.BACKGROUND, 20.0, "1/s", window_s=1.0),
        Reading(Channel.DEVICE_ALARM, 0, "1", part="gamma"),
        Reading(Channel.BATTERY, 80.0, "%"),
        counts(20, window_s=None),
        counts(20.0, Channel.GAMMA_COUNT_RATE, "per fortnight"),
    ],
)
def test_what_a_ghost_does_not_change_is_left_alone(reading):
    assert laid(reading) == (reading,)


def test_counts_of_a_window_and_rates_in_their_unit():
    ghosts = Field()
    found = laid(
        counts(7, window_s=0.2),
        counts(20.0, Channel.GAMMA_COUNT_RATE, "1/s", 2.0),
        counts(1200.0, Channel.GAMMA_COUNT_RATE, "cpm", None),
        counts(1, Channel.NEUTRON_COUNTS),
        ghosts=ghosts,
    )
    # Three gamma readings of one detector: each counts for all of it.
    assert [reading.value for reading in found] == [17, 70.0, 4200.0, 3]
    assert ghosts.asked == [(99.8, 100.0), (98.0, 100.0), (99.0, 100.0)]
    assert all(reading.raw == "" for reading in found), "the instrument has not said that"


def test_parts_share_what_reaches_the_whole():
    pillars = [counts(100, part=part) for part in ("1", "2", "3", "4")]
    assert [reading.value for reading in laid(*pillars, ghosts=Field(gamma_cps=80.0))] == [120] * 4


def test_where_its_counting_is_not_known_counts_stay():
    reading = counts(20)
    assert laid(reading, ghosts=Field(gamma_cps=None)) == (reading,)


def test_next_to_nothing_changes_no_digit():
    reading = dose_rate(0.123456, raw="0.123456")
    assert laid(reading, ghosts=Field(usv_h=9e-5)) == (reading,)


def test_above_its_range_there_is_a_bound_and_no_number():
    (found,) = laid(dose_rate(9_500.0, "nSv/h"), range_top="10 µSv/h")
    assert found.value is None
    assert found.lower_bound == pytest.approx(10_000.0)
    assert found.flags == (Flag.OVER_RANGE,)


def test_a_dose_register_has_received_what_was_there():
    register = Reading(Channel.DOSE, 2.0, "mSv", Quantity.PERSONAL_DOSE_EQUIVALENT)
    (found,) = laid(register, at_s=3600.0, ghosts=Field(usv_h=500.0))
    assert found.value == pytest.approx(2.5)


@pytest.mark.parametrize(
    ("detector_class", "named"),
    [("Radionuclide Identifier", ["Cs-137"]), ("Gamma Handheld", [])],
)
def test_who_identifies_names_the_nuclide_of_a_ghost_that_is_strong_enough(detector_class, named):
    found = laid(dose_rate(0.1), names=True, **{"class": detector_class})
    nuclides = [reading for reading in found if reading.channel is Channel.NUCLIDE]
    assert [(each.part, each.value) for each in nuclides] == [(name, None) for name in named]
    assert [each.raw for each in nuclides] == ["industrial"] * len(named)
