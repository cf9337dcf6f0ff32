"""The ready scenarios: each meets its expectations and does what its comment promises."""

from collections import Counter
from pathlib import Path

import pytest

from config.actions import BrokerAction
from config.scenario import load_scenario

READY = Path(__file__).resolve().parents[2] / "config" / "examples" / "scenarios"
QUICK = (
    "motorcade",
    "district-search",
    "norm-lane",
    "hidden-source",
    "radiography",
    "high-fields",
    "broker-outage",
)
"""Those that play within ten seconds of CPU."""
LONG = ("rain", "device-faults")


def ready(name):
    return load_scenario(READY / f"{name}.toml")


def part(found, duration_s, **changes):
    """The same, cut short, and without its expectations, which are of the whole."""
    span = found.scenario.model_copy(update={"duration_s": duration_s})
    return found.model_copy(update={"scenario": span, "expect": (), **changes})


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("name", QUICK)
def test_it_meets_its_expectations(play, name, seed):
    assert play(ready(name), seed).failed == []


@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", [*QUICK, *LONG])
def test_it_meets_its_expectations_whatever_the_chance(play, name):
    failed = {seed: play(ready(name), seed).failed for seed in range(1, 21)}
    assert failed == {seed: [] for seed in range(1, 21)}


def assessed(played):
    """Who assessed, and whether it was accepted."""
    return [
        (event.user, answer.accepted)
        for event, answer in played.play.answers
        if event.do == "assess"
    ]


# Stadium.


def one_gate(found, people=500):
    """The southern gate for the patient's minutes, with a small crowd."""
    (crowd,) = (each for each in found.crowd if each.portals[0].startswith("gate-south"))
    small = crowd.model_copy(update={"people": people, "from_s": 1620, "to_s": 1920})
    wanted = ("gate-south-3", "riid-1", "steward-south")
    detectors = tuple(each for each in found.detector if each.id in wanted)
    small = small.model_copy(update={"portals": ("gate-south-3",), "people": people // 5})
    return part(found, 1960, crowd=(small,), detector=detectors)


def test_a_patient_in_the_stadium_is_found_named_and_sent_on(play):
    played = play(one_gate(ready("stadium-evening")))
    assert played.failed == []
    (portal_s,) = played.moments(alarm="portal_gamma")
    assert portal_s == pytest.approx(1800, abs=8)
    ((named_s, named),) = played.find(alarm="nuclide")
    assert (named_s, named["level"], named["priority"]) == (pytest.approx(1881, abs=1), "I2", 4)
    assert assessed(played) == [("otto", False), ("anna", True)]


def test_the_crowd_of_the_stadium_is_the_published_one():
    crowds = ready("stadium-evening").crowd
    people = sum(each.people for each in crowds)
    assert people == 80_000
    assert sum(each.people * each.carriers for each in crowds) == pytest.approx(2.92, abs=0.01)
    assert people * 1e-5 == pytest.approx(0.8)


@pytest.mark.torture
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("seed", [15, 4, 19])
def test_an_evening_in_the_stadium(play, seed):
    played = play(ready("stadium-evening"), seed, kinds=("passage",))
    assert played.failed == []
    assert len(played.kept["passage"]) == 80_000
    assert played.play.figures().floods == 0


# Motorcade.


def test_the_sweep_finds_the_car_where_it_is(play):
    """Closest at 360 s, 2 km down the road: within half a second of driving, 1 s of sampling."""
    played = play(part(ready("motorcade"), 420, event=()))
    ((at_s, _),) = played.find(alarm="dose_rate", detector="van-1")
    assert at_s == pytest.approx(360, abs=2)
    assert {body["detector"] for _, body in played.find(alarm="dose_rate")} == {"van-1"}


# District.


@pytest.fixture(scope="module")
def district(play):
    return play(ready("district-search"))


def test_what_the_search_finds_is_on_the_map(district):
    """The shed, the cellar, the bench, the hall: each within 20 m of driving of where it is."""
    rises = district.find(alarm="gamma_rise", detector="van-1")
    closest = (264, 372, 492, 612)
    for (at_s, body), nearest_s in zip(rises, closest, strict=True):
        assert -4 <= at_s - nearest_s <= 10
        assert body["position"] is not None


def test_the_hall_is_nobodys_source(district):
    assert assessed(district) == [("anna", True), ("anna", True)]
    *_, closed = (event for event, _ in district.play.answers)
    assert closed.disposition == "innocent_norm"


# Lane.


def test_loads_are_broad_and_the_crate_is_narrow(play):
    """The first fair load, and the crate soon after it: the width tells them apart."""
    found = ready("norm-lane")
    lorry = found.vehicle[0].model_copy(update={"at_s": 420})
    short = part(found, 500, vehicle=(lorry,), event=(), occupancy=found.occupancy[:3])
    passages = play(short, kinds=("passage",)).kept["passage"]
    alarming = [each for each in passages if each["gamma_alarm"]]
    assert len(passages) == 5
    load, crate = (each["statistic"] for each in alarming)
    assert load["width_s"] >= 6
    assert load["hint"] == "distributed source/NORM"
    assert crate["width_s"] <= 3
    assert crate["hint"] == "point source"


# Square.


def test_nine_monitors_are_one_incident(play):
    played = play(part(ready("hidden-source"), 400, event=()))
    monitors = {body["detector"]: body for _, body in played.find("incident", alarm="dose_rate")}
    assert len(monitors) >= 9
    assert len({body["incident"] for body in monitors.values()}) == 1
    highest = max(
        (each for each in played.records() if each.alarm == "dose_rate"), key=lambda each: each.peak
    )
    assert highest.detector == "middle-2"


# Rain.


def test_the_fleet_in_the_rain_is_of_every_kind():
    kinds = Counter(each.archetype for each in ready("rain").detector)
    assert set(kinds) == {"PRD", "HH", "BP", "VEH", "RPM", "AREA", "EPD"}
    assert kinds.total() == 30


# Radiography.


def test_a_stuck_source_is_a_flood_and_one_incident(play):
    found = ready("radiography")
    stuck = found.source[-1].model_copy(update={"appears_s": 120, "leaves_s": 150})
    played = play(part(found, 170, source=(stuck,), event=()))
    raised = played.find(alarm="dose_rate")
    levels = Counter(body["level"] for _, body in raised)
    assert levels["R5"] == 2
    assert levels["R4"] >= 2
    assert played.play.figures().floods == 1
    incidents = {body["incident"] for _, body in played.find("incident", alarm="dose_rate")}
    assert len(incidents) == 1


# High fields.


def test_each_instrument_beyond_its_range_says_what_it_knows(play):
    played = play(ready("high-fields"))
    worst = {}
    for body in played.events:
        if body["alarm"] == "dose_rate":
            worst.setdefault(body["detector"], set()).update(
                each["level"] for each in body["levels"]
            )
    assert worst["area-1"] == {"R3", "R4", "R5", "R6", "R8"}
    assert {"R6", "R8"} <= worst["area-2"]
    assert worst["bp-1"] == {"R3", "R4", "R8"}
    assert "R8" not in worst["prd-1"]
    assert worst["epd-1"] >= {"R5", "R7"}


# A day.


def moved(found, begin_s, end_s):
    """The part of the day between the two, at its beginning; power as at the start of the day."""
    events = tuple(
        each.model_copy(update={"at_s": each.at_s - begin_s})
        for each in found.event
        if begin_s <= each.at_s < end_s
    )
    detectors = tuple(each for each in found.detector if each.archetype != "RPM")
    return part(found, end_s - begin_s, event=events, detector=detectors)


def test_an_orderly_shift_change_raises_nothing(play):
    """Three batteries and a wearer in ten minutes; then the one that nobody has told."""
    played = play(moved(ready("device-faults"), 21_300, 23_900))
    assert played.failed == []
    assert [(body["detector"], body["alarm"]) for _, body in played.find()] == [("hh-1", "silence")]


def test_the_morning_of_faults(play):
    played = play(moved(ready("device-faults"), 1500, 4000))
    told = [(body["detector"], body["alarm"]) for _, body in played.find()]
    assert told == [("prd-1", "silence"), ("hh-1", "silence"), ("prd-2", "loss_of_counts")]
    assert played.raised() == Counter({"silence": 2, "loss_of_counts": 1})
    returned = [(body["detector"], body["alarm"]) for _, body in played.find("returned")]
    assert sorted(returned) == sorted(told)


# The broker.


def test_the_outage_is_in_the_middle_of_the_incident(play):
    """Stopped before the first alarm, back after the twelfth has returned, one still active."""
    found = ready("broker-outage")
    stop, start, *_ = (each.at_s for each in found.event if isinstance(each, BrokerAction))
    played = play(found)
    raised, returned = (
        played.moments(event, alarm="dose_rate") for event in ("raised", "returned")
    )
    assert len(raised) == 13
    assert all(stop < at_s < start for at_s in raised)
    assert sum(stop < at_s < start for at_s in returned) == 12
