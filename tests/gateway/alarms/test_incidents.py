"""Which alarms may come from one event: suggestions, never mergers."""

import math

import pytest

from drivers.api import Channel, Position, Reading
from gateway.alarms.incidents import NEAR_M, distance
from gateway.alarms.profiles import DetectorProfile, metres

PRD = "Personal Radiation Detector"
CITY = (52.5146, 13.2394)


def prd(name, x_m=None, y_m=None, **more):
    return DetectorProfile(name, PRD, x_m=x_m, y_m=y_m, **more)


def raise_one(bench, name, value=3.0, at=None):
    position = None if at is None else Position(*at)
    bench.speaking.discard(name)
    return bench.dose(value, detector=name, position=position)


def incidents(bench):
    return {one.detector: one.incident for one in bench.engine.active() if one.is_radiation}


def north(metres_, place=CITY):
    return (place[0] + metres_ / 111_320, place[1])


def test_the_same_source_at_several_officers(fleet):
    """DT-26: four within 30 m within 60 s are four alarms and one suggestion."""
    bench = fleet(*(prd(name) for name in "abcd"))
    bench.wait(3)
    for number, name in enumerate("abcd"):
        raise_one(bench, name, at=north(10 * number))
        bench.wait(15)
    found = incidents(bench)
    assert set(found) == set("abcd")
    assert len(set(found.values())) == 1
    assert None not in found.values()
    assert not any(one.is_hidden for one in bench.engine.active())
    assert all(bench.events(detector=name)[0] == "raised" for name in "abcd")
    assert all(bench.events(detector=name).count("incident") == 1 for name in "abcd")


def test_what_is_far_apart_or_long_ago_is_not_linked(fleet):
    bench = fleet(prd("a", 0.0, 0.0), prd("b", 101.0, 0.0), prd("c", 50.0, 0.0))
    bench.wait(3)
    raise_one(bench, "a")
    raise_one(bench, "b")
    assert incidents(bench) == {"a": None, "b": None}
    bench.wait(61)
    raise_one(bench, "c")
    assert incidents(bench)["c"] is None


def test_late_data_are_linked_by_their_own_time(fleet):
    bench = fleet(prd("a", 0.0, 0.0), prd("b", 5.0, 0.0))
    bench.wait(120)
    raise_one(bench, "a")
    bench.dose(3.0, detector="b", age_s=100.0)
    assert incidents(bench) == {"a": None, "b": None}


def test_one_whose_place_nobody_knows_may_be_anywhere(fleet):
    bench = fleet(prd("a", 0.0, 0.0), prd("b"))
    bench.wait(3)
    raise_one(bench, "a")
    raise_one(bench, "b")
    assert len(set(incidents(bench).values()) - {None}) == 1


def test_a_plan_and_the_globe_cannot_be_compared(fleet):
    bench = fleet(prd("a", 20.0, 30.0), prd("b"))
    bench.wait(3)
    raise_one(bench, "a")
    raise_one(bench, "b", at=CITY)
    assert len(set(incidents(bench).values()) - {None}) == 1


@pytest.mark.parametrize("more", [{"post": "gate-a"}, {"zone": "north"}])
def test_one_post_or_zone_is_one_place(fleet, more):
    bench = fleet(prd("a", 0.0, 0.0, **more), prd("b", 400.0, 0.0, **more), prd("c", 0.0, 400.0))
    bench.wait(3)
    for name in "abc":
        raise_one(bench, name)
    found = incidents(bench)
    assert found["a"] == found["b"] is not None
    assert found["c"] is None


def flood(bench, names, wide_m=527.0):
    """DT-54: all within 10 s, evenly over the venue."""
    step_m = 2 * wide_m / len(names)
    for number, name in enumerate(names):
        if number % 6 == 0:
            bench.wait(0.9, step=0.9)
        # From both ends and the middle at once: nearest ones are raised one after another.
        raise_one(bench, name, at=north(step_m * (number * 37 % len(names))))


def test_a_flood_is_one_incident(fleet):
    names = [f"p{number}" for number in range(60)]
    bench = fleet(*(prd(name) for name in names))
    bench.wait(3)
    flood(bench, names)
    found = incidents(bench)
    assert set(found) == set(names)
    assert len(set(found.values())) == 1
    assert None not in found.values()
    assert not any(one.is_hidden for one in bench.engine.active())
    bench.tick()
    assert bench.engine.figures(bench.now).flood


def test_nine_far_apart_are_no_flood(fleet):
    names = [f"p{number}" for number in range(9)]
    bench = fleet(*(prd(name, 500.0 * number, 0.0) for number, name in enumerate(names)))
    bench.wait(3)
    for name in names:
        raise_one(bench, name)
    assert set(incidents(bench).values()) == {None}


def test_a_bridge_joins_two_suggestions(fleet):
    """Those that are too far from it come with those that are near it."""
    places = {"a": -60.0, "b": 20.0, "c": 180.0, "d": 250.0, "e": 100.0}
    bench = fleet(*(prd(name, x_m, 0.0) for name, x_m in places.items()))
    bench.wait(3)
    for name in "abcd":
        raise_one(bench, name)
    assert len(set(incidents(bench).values())) == 2
    first = incidents(bench)["a"]
    raise_one(bench, "e")
    assert set(incidents(bench).values()) == {first}


def test_exercise_and_live_are_never_linked(fleet):
    bench = fleet(prd("a"), prd("x", exercise=True), prd("y", exercise=True))
    bench.wait(3)
    for name in "axy":
        raise_one(bench, name)
    found = incidents(bench)
    assert found["a"] is None
    assert found["x"] == found["y"] is not None


def test_the_identification_belongs_to_its_own_detectors_alarm(fleet):
    bench = fleet(DetectorProfile("d", "Radionuclide Identifier"))
    bench.wait(3)
    raise_one(bench, "d", 30.0)
    bench.sample(
        Reading(Channel.NUCLIDE, 9.0, "1", part="Pu-239"),
        Reading(Channel.DOSE_RATE, 30.0, "µSv/h", "ambient_dose_equivalent_rate"),
    )
    found = {one.alarm: one.incident for one in bench.engine.active() if one.is_radiation}
    assert found["nuclide"] == found["dose_rate"] is not None


def test_two_alarms_of_one_detector_are_no_incident(fleet):
    bench = fleet(prd("d"))
    bench.wait(3)
    raise_one(bench, "d")
    bench.declare(Channel.DEVICE_ALARM, 1, "gamma")
    assert bench.find("device_gamma")
    assert set(incidents(bench).values()) == {None}


def test_faults_silences_and_reports_belong_to_no_incident(fleet):
    bench = fleet(prd("a"), prd("b"))
    bench.wait(3)
    raise_one(bench, "a")
    bench.declare(Channel.TAMPER, 1, detector="b")
    bench.does("report", text="x")
    bench.wait(10)
    assert {one.incident for one in bench.engine.active()} == {None}


def test_a_link_changes_nothing_else(fleet):
    bench = fleet(prd("a"), prd("b"))
    bench.wait(3)
    raise_one(bench, "a")
    bench.does("acknowledge", occurrence=bench.find(detector="a").occurrence)
    before = bench.find(detector="a")
    raise_one(bench, "b")
    after = bench.find(detector="a")
    assert (after.acknowledged, after.level, after.active) == (True, before.level, True)
    assert after.revision == before.revision + 1
    assert b"inc-" in bench.states[after.occurrence]
    bench.restart()
    assert bench.find(detector="a").incident == after.incident


@pytest.mark.parametrize(
    ("latitude", "longitude"), [(52.5, 13.4), (-33.9, 151.2), (0.0, 0.0), (64.1, -21.9)]
)
@pytest.mark.parametrize("way_m", [30.0, NEAR_M])
def test_distances_anywhere_on_earth(latitude, longitude, way_m):
    here = metres(latitude, longitude)
    further_north = metres(latitude + way_m / 111_320, longitude)
    along = way_m / (111_320 * math.cos(math.radians(latitude)))
    further_east = metres(latitude, longitude + along)
    assert distance(here, further_north) == pytest.approx(way_m, rel=1e-3)
    assert distance(here, further_east) == pytest.approx(way_m, rel=1e-3)


def test_distances_on_a_plan():
    assert distance((10.0, 20.0), (40.0, 60.0)) == pytest.approx(50.0, rel=1e-6)


def name_nuclide(bench, detector, nuclide, category):
    reading = Reading(Channel.NUCLIDE, 0.9, "1", part=nuclide, raw=category)
    return bench.sample(reading, detector=detector)


def test_a_threat_that_a_second_instrument_names_is_of_priority_1(fleet):
    """I1 is of priority 2, and 1 with a second instrument."""
    spectral = "Spectroscopic Personal Radiation Detector"
    bench = fleet(*(DetectorProfile(name, spectral, post="gate") for name in "ab"))
    bench.wait(3)
    name_nuclide(bench, "a", "Co-60", "industrial")
    alarm = bench.find("nuclide", "a")
    assert (alarm.level, alarm.priority) == ("I1", 2)
    bench.command("acknowledge", occurrence=alarm.occurrence)
    name_nuclide(bench, "b", "Co-60", "industrial")
    both = [bench.find("nuclide", name) for name in "ab"]
    assert [one.priority for one in both] == [1, 1]
    assert not any(one.acknowledged for one in both)
    assert both[0].incident == both[1].incident


def test_a_patient_that_two_instruments_name_stays_as_it_is(fleet):
    spectral = "Spectroscopic Personal Radiation Detector"
    bench = fleet(*(DetectorProfile(name, spectral, post="gate") for name in "ab"))
    bench.wait(3)
    for name in "ab":
        name_nuclide(bench, name, "I-131", "medical")
    assert [bench.find("nuclide", name).priority for name in "ab"] == [4, 4]
