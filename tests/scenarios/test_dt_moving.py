"""Acceptance scenarios DT-17 to DT-26: who and what moves past, and a vehicle that moves itself."""

import math
from datetime import datetime

import pytest

from simulators.motion import globe
from simulators.world import World

BEGIN = datetime.fromisoformat("2026-01-01T00:00:00Z")


def second(time):
    """The second of play of a time in a message."""
    return (datetime.fromisoformat(time) - BEGIN).total_seconds()


def last(played, **having):
    """The newest of the events of each alarm of which all this is so, in order of raising."""
    newest = {
        body["occurrence"]: body
        for body in played.events
        if all(body[key] == it for key, it in having.items())
    }
    return list(newest.values())


def incidents(played):
    """Incidents and the detectors in each."""
    found = {}
    for body in last(played):
        if body["incident"] is not None:
            found.setdefault(body["incident"], set()).add(body["detector"])
    return found


# DT-17: 10 MBq of Cs-137 walk past a pager at 1 m.


def check_walking_pass(played):
    """One line on the list: how high and how long, free of the off-delay; the other is hidden."""
    assert played.failed == []
    (dose,) = last(played, alarm="dose_rate")
    (rise,) = last(played, alarm="gamma_rise")
    assert dose["peak"] - 0.10 == pytest.approx(0.924, rel=0.30)
    assert 1.5 <= dose["lasted"] <= 6
    assert dose["suppressed_by"] is None
    assert rise["suppressed_by"] == dose["occurrence"]
    assert rise["peak"] >= 43


def test_dt_17_a_walking_pass_is_found_and_is_one_line(play_seeds):
    """Twenty of twenty; 0.999 of all is asked for."""
    for played in play_seeds("dt-17-walking-pass.toml"):
        check_walking_pass(played)


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_dt_17_a_thousand_walking_passes(play_seeds):
    for played in play_seeds("dt-17-walking-pass.toml", 1000):
        check_walking_pass(played)


# DT-19: a vehicle drives past.

PASSES = {
    "p7": (150.5, 30 / 3.6, 30_800),
    "p8": (260.5, 50 / 3.6, 25_200),
    "p9": (332.2, 50 / 3.6, 80_800),
}
"""When the closest approach is, how fast, and how many net counts the best second can hold."""


def in_pass(bodies, at_s):
    """The one that was raised around the closest approach."""
    (found,) = [body for body in bodies if abs(second(body["raised"]) - at_s) < 20]
    return found


def test_dt_19_a_drive_by_is_found_in_time_and_place(play_seeds, scenario):
    """Messages bear the end of the second in which was counted, and where the vehicle was then: its
    middle is half a second, and half a second of way, before."""
    site = scenario("dt-19-drive-by.toml").site
    for played in play_seeds("dt-19-drive-by.toml"):
        doses, rises = last(played, alarm="dose_rate"), last(played, alarm="gamma_rise")
        assert (len(doses), len(rises)) == (3, 3)
        for at_s, speed, _ in PASSES.values():
            dose, rise = in_pass(doses, at_s), in_pass(rises, at_s)
            assert second(rise["raised"]) <= math.ceil(at_s)
            assert second(rise["raised"]) <= second(dose["raised"])
            assert abs(second(dose["peaked"]) - 0.5 - at_s) <= 0.5
            assert 0 <= second(rise["peaked"]) - at_s <= 2
            assert away_m(site, dose["position"], way_m(at_s) + speed / 2) <= speed / 2


def test_dt_19_the_counts_of_the_best_second(play):
    """25 200 net counts in the best second of P8, its middle at the closest approach."""
    played = play("dt-19-drive-by.toml", kinds=("sample",))
    counts = {second(b["time"]): b["readings"][0]["value"] for b in played.kept["sample"]}
    for name in ("p7", "p8"):
        at_s, _, net = PASSES[name]
        found = counts[at_s + 0.5] - 2000
        assert found == pytest.approx(net, abs=0.005 * net + 3 * math.sqrt(net + 2000))


def way_m(at_s):
    """How far the vehicle has come: 30 km/h for 200 s, then 50."""
    return min(at_s, 200) * 30 / 3.6 + max(at_s - 200, 0) * 50 / 3.6


def away_m(site, position, way):
    """How far a position is from that place on the way east."""
    east = globe((site.latitude, site.longitude), (1.0, 0.0, 0.0))
    metre = east.longitude - site.longitude
    return abs((position["longitude"] - site.longitude) / metre - way)


# DT-21 and DT-22: patients.


def net_peak(found, detector, at_s):
    """The dose rate there above the natural one, at the closest approach."""
    return World(found).field(detector).dose_rate(at_s) - found.background.dose_rate


def test_dt_21_what_patients_radiate(scenario):
    """Tc-99m: 7.07 µSv/h, a day later 0.44, after 30 h 0.22; F-18: 30.6, and after 13 h 0.22."""
    found = scenario("dt-21-diagnostic.toml")
    for detector, rate in (("prd-1", 7.07), ("prd-2", 0.444), ("prd-3", 0.222)):
        assert net_peak(found, detector, 92) == pytest.approx(rate, rel=0.01)
    fluorine = {"nuclide": "F-18", "activity": 370e6}
    today, later, _ = (each.model_copy(update=fluorine) for each in found.source)
    later = later.model_copy(update={"reference_s": -13 * 3600.0})
    found = found.model_copy(update={"source": (today, later)})
    decayed = 0.5 ** (92 / 6588)
    assert net_peak(found, "prd-1", 92) == pytest.approx(30.6 * decayed, rel=0.01)
    assert net_peak(found, "prd-2", 92) == pytest.approx(0.222, rel=0.02)


def test_dt_21_a_diagnostic_patient(play_seeds):
    """R1, R3, a medical nuclide, no R4. A day later R1 still, and R3 with 0.54 µSv/h: the level is
    one of the whole field, 0.44 of his and 0.10 of nature, so that no background lifts it."""
    for played in play_seeds("dt-21-diagnostic.toml"):
        assert played.failed == []
        (nuclide,) = last(played, alarm="nuclide")
        assert (nuclide["level"], nuclide["priority"]) == ("I2", 4)
        assert nuclide["device_alarms"] == ["medical"]
        assert "Tc" not in str(nuclide)
        (later,) = last(played, alarm="dose_rate", detector="prd-2")
        assert later["peak"] == pytest.approx(0.44 + 0.10, abs=0.015)
        assert played.find(detector="prd-3", alarm="dose_rate") == []


def test_dt_21_the_day_after_at_half_the_natural_field(play, scenario):
    """0.44 and 0.05 µSv/h are below R3; the rise is found all the same."""
    found = scenario("dt-21-diagnostic.toml")
    background = found.background.model_copy(update={"dose_rate": 0.05})
    played = play(found.model_copy(update={"background": background}))
    assert played.find(detector="prd-2", alarm="dose_rate") == []
    assert len(played.find(detector="prd-2", alarm="gamma_rise")) == 1
    assert len(played.find(detector="prd-1", alarm="dose_rate", level="R3")) == 1


def test_dt_22_what_is_left_of_a_therapy(scenario):
    """I-131: 146 µSv/h, after 30 days 10.9, after 95 days 0.04."""
    found = scenario("dt-22-therapy.toml")
    for detector, rate in (("prd-1", 146), ("prd-2", 10.9), ("prd-3", 0.0397)):
        assert net_peak(found, detector, 100) == pytest.approx(rate, rel=0.01)


def test_dt_22_a_medical_nuclide_lowers_no_level(play_seeds):
    """R5 is raised and latched; both are linked, and what the instrument says is a hint."""
    for played in play_seeds("dt-22-therapy.toml"):
        assert played.failed == []
        (dose,) = last(played, alarm="dose_rate", detector="prd-1")
        assert (dose["level"], dose["priority"]) == ("R5", 1)
        assert dose["peak"] == pytest.approx(146, rel=0.05)
        (nuclide,) = last(played, alarm="nuclide")
        assert (nuclide["level"], nuclide["priority"]) == ("I2", 3)
        assert nuclide["text"] == "hint: fresh therapy patient?"
        assert "I-131" not in str(nuclide)
        assert dose["incident"] == nuclide["incident"] is not None
        raised = [at_s for at_s, body in played.find("escalated", alarm="dose_rate")]
        assert played.moments(alarm="nuclide")[0] <= raised[-1]


# DT-26: several officers, one source.


def test_dt_26_four_alarms_and_one_incident(play_seeds):
    """Nobody's alarm is hidden behind another's; a rise is, behind the dose rate beside it."""
    for played in play_seeds("dt-26-same-source.toml"):
        assert played.failed == []
        doses = {body["detector"]: body for body in last(played, alarm="dose_rate")}
        assert sorted(doses) == ["prd-1", "prd-2", "prd-3", "prd-4"]
        for name, dose in doses.items():
            assert dose["peak"] == pytest.approx(8.55, rel=0.02)
            assert dose["suppressed_by"] is None
            (rise,) = last(played, alarm="gamma_rise", detector=name)
            assert rise["suppressed_by"] == dose["occurrence"]
        (together,) = incidents(played).values()
        assert together == set(doses)


# A vehicle on the road.


def test_a_road_raises_nothing_and_a_source_beside_it_does(play_seeds):
    """Two and a half hours of a background that wanders, and bridges; 1 GBq at 5 m is found."""
    assert [played.failed for played in play_seeds("dt-road.toml")] == [[]] * 20
