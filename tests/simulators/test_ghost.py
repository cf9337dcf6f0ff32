"""Ghosts: what sources add at instruments in their places, each known by itself."""

import math
from pathlib import Path

import pytest

from config.models import Configuration
from config.scenario import load_scenario
from drivers.api import Position
from simulators.ghost import GhostRefused, GhostWorld

HEAD = """
[scenario]
name = "spring"
duration_s = 600
"""
SITE = """
[site]
latitude = 52.5
longitude = 13.4
"""
PRD = "Personal Radiation Detector"


@pytest.fixture
def world(tmp_path):
    def make(text="", sensitivities=(), detectors=None, posts=()):
        path = tmp_path / "drill.toml"
        path.write_text(HEAD + text, encoding="utf-8")
        link = {"kind": "recording", "path": "-"}
        detectors = detectors or [{"id": "a", "class": PRD, "post": "north"}, {"id": "c"}]
        table = {
            "gateway": {"id": "gw"},
            "post": [{"id": "north", "plan_x_m": 10.0, "plan_y_m": 5.0}, *posts],
            "detector": [{"driver": "json-lines", "link": link, **each} for each in detectors],
        }
        found = Configuration.model_validate(table)
        scenario = load_scenario(path)
        return GhostWorld(scenario, found.detector, found.post, dict(sensitivities))

    return make


def put(world, now_s=0.0, **wanted):
    return world.inject({"nuclide": "Cs-137", "activity": "100 MBq", **wanted}, now_s)


def test_a_ghost_adds_what_a_source_would_and_there_is_no_background(world):
    ghosts = world()
    assert ghosts.field("a").dose_rate(0.0, 10.0) == 0.0
    assert ghosts.field("a").gamma_counts(0.0, 100.0) == 0
    put(ghosts, x=12.0, y=5.0)
    assert ghosts.field("a").dose_rate(0.0, 10.0) == pytest.approx(9.24 / 4)
    assert ghosts.field("a").dose_rate(5.0, 5.0) == pytest.approx(9.24 / 4)
    counts = ghosts.field("a").gamma_counts(0.0, 100.0)
    assert counts == pytest.approx(23_100, abs=5 * math.sqrt(23_100)), "100/s per µSv/h"


def test_each_ghost_is_known_by_itself_and_they_add_up(world):
    ghosts = world()
    put(ghosts, x=12.0, y=5.0, name="one")
    put(ghosts, x=10.0, y=4.0, name="two", n_per_s=1000.0)
    shares = ghosts.field("a").shares(0.0, 10.0)
    assert [(each.ghost, pytest.approx(each.usv_h)) for each in shares] == [
        ("one", 2.31),
        ("two", 9.24),
    ]
    assert ghosts.field("a").dose_rate(0.0, 10.0) == pytest.approx(11.55)


def test_a_ghost_comes_and_goes(world):
    ghosts = world()
    put(ghosts, now_s=10.0, x=12.0, y=5.0, for_s=20.0, name="one")
    field = ghosts.field("a")
    assert field.dose_rate(0.0, 10.0) == 0.0
    assert field.dose_rate(0.0, 20.0) == pytest.approx(2.31 / 2)
    assert field.dose(3600.0) == pytest.approx(2.31 * 20 / 3600)
    ghosts.remove("one", 15.0)
    assert field.dose_rate(10.0, 20.0) == pytest.approx(2.31 / 2)
    assert not ghosts.remove("one", 16.0)
    assert [(one.from_s, one.to_s) for one in ghosts.ghosts] == [(10.0, 15.0)]


def test_an_instrument_without_a_place_is_reached_only_by_what_is_put_at_it(world):
    ghosts = world()
    assert ghosts.apart == ("c",)
    ghost = put(ghosts, detector="c", distance_m=2.0)
    assert ghost.where == "at c, 2 m"
    assert ghosts.field("c").dose_rate(0.0, 1.0) == pytest.approx(2.31)
    assert ghosts.field("a").dose_rate(0.0, 1.0) < 1e-9


def test_an_instrument_is_where_it_says_if_the_file_has_a_site(world):
    ghosts = world(SITE)
    put(ghosts, x=0.0, y=100.0)
    north = 100.0 / 111_276.0  # metres a degree at 52.5° north
    ghosts.moved("c", Position(52.5 + north, 13.4))
    assert ghosts.field("c").dose_rate(0.0, 1.0) > 1e3, "it stands on it"
    ghosts.moved("c", Position(52.5, 13.4))
    assert ghosts.field("c").dose_rate(1.0, 2.0) == pytest.approx(9.24 / 100.0**2, rel=0.01)
    later = put(ghosts, now_s=2.0, detector="c", distance_m=1.0)
    assert later.where == "at c, 1 m"
    assert ghosts.field("c").dose_rate(2.0, 3.0) == pytest.approx(9.24, rel=0.01)


def test_the_file_says_where_it_is_and_how_it_counts(world):
    ghosts = world(
        '[[detector]]\nid = "a"\narchetype = "PRD"\nsensitivity = 10\nat = { x = 0, y = 0 }\n'
        '[[source]]\nid = "s"\nnuclide = "Cs-137"\nactivity = "100 MBq"\nat = { x = 1, y = 0 }\n',
        {"a": 1000.0},
    )
    assert ghosts.field("a").dose_rate(0.0, 1.0) == pytest.approx(9.24)
    assert ghosts.field("a").gamma_counts(0.0, 100.0) == pytest.approx(9240, abs=500)


def test_a_calibration_says_how_it_counts_where_the_file_does_not(world):
    ghosts = world(sensitivities={"a": 5.0})
    put(ghosts, x=11.0, y=5.0)
    assert ghosts.field("a").gamma_counts(0.0, 1000.0) == pytest.approx(46_200, abs=1100)


@pytest.mark.parametrize("detector_class", ["Portal Monitor", "Dosimeter"])
def test_of_some_classes_it_is_not_known_how_they_count(world, detector_class):
    ghosts = world(detectors=[{"id": "a", "class": detector_class, "post": "north"}])
    put(ghosts, x=11.0, y=5.0)
    assert ghosts.field("a").gamma_counts(0.0, 1.0) is None
    assert ghosts.field("a").dose_rate(0.0, 1.0) == pytest.approx(9.24)


def test_neutrons(world):
    ghosts = world(detectors=[{"id": "a", "class": "Portal Monitor", "post": "north"}])
    ghosts.inject({"n_per_s": 2310.0, "x": 12.0, "y": 5.0}, 0.0)
    assert ghosts.field("a").neutron_counts(0.0, 400.0) == pytest.approx(1000, abs=160)
    (share,) = ghosts.field("a").shares(0.0, 400.0)
    assert share.neutrons == pytest.approx(1000)


def test_events_place_and_remove_and_others_are_named(world):
    ghosts = world(
        '[[rain]]\nat_s = 10\n[[event]]\nat_s = 5\ndo = "place_source"\nid = "s"\n'
        'nuclide = "Cs-137"\nactivity = "100 MBq"\nx = 11\ny = 5\n'
        '[[event]]\nat_s = 8\ndo = "place_source"\nid = "s"\n'
        'nuclide = "Cs-137"\nactivity = "400 MBq"\nx = 11\ny = 5\n'
        '[[event]]\nat_s = 9\ndo = "remove_source"\nid = "s"\n'
        '[[event]]\nat_s = 9\ndo = "stop_exercise"\n'
    )
    assert ghosts.unplayed == ("[[rain]]", "events stop_exercise")
    assert ghosts.ghosts == ()
    ghosts.advance(20.0)
    told = [(one.name, one.from_s, one.to_s) for one in ghosts.ghosts]
    assert told == [("s", 5.0, 8.0), ("s-2", 8.0, 9.0)]
    assert ghosts.field("a").dose_rate(4.0, 10.0) == pytest.approx(9.24 * (3 + 4) / 6)


def test_a_source_that_rides_is_refused(world):
    with pytest.raises(GhostRefused, match="a drill plays sources that stand or move"):
        world(
            '[[detector]]\nid = "a"\narchetype = "RPM"\nsensitivity = 1\nat = { x = 0, y = 0 }\n'
            '[[source]]\nid = "s"\nnuclide = "Cs-137"\nactivity = "1 MBq"\n'
            '[[vehicle]]\nid = "v"\nportal = "a"\nat_s = 1\nlength_m = 5\n'
            'speed = "5 km/h"\ncargo = "s"\n'
        )


def test_a_patient_and_a_name(world):
    ghosts = world()
    wanted = {"nuclide": "Tc-99m", "activity": "740 MBq", "kind": "patient", "x": 11.0, "y": 5.0}
    ghost = ghosts.inject(wanted, 3.0)
    assert (ghost.name, ghost.what) == ("ghost-1", "Tc-99m 740 MBq (patient)")
    assert ghosts.field("a").dose_rate(3.0, 4.0) == pytest.approx(21.7 * 0.74 * 0.44)
    assert ghosts.inject(wanted, 4.0).name == "ghost-2"


def test_the_example_adds_what_it_says(world):
    examples = Path(__file__).resolve().parents[2] / "config" / "examples" / "scenarios"
    text = (examples / "drill.toml").read_text(encoding="utf-8").partition("duration_s = 90")[2]
    live = [{"id": name, "class": PRD} for name in ("prd-1", "prd-2", "prd-3")]
    ghosts = world(text, detectors=live)
    assert ghosts.apart == ("prd-3",)
    assert ghosts.field("prd-1").dose_rate(10.0, 40.0) == pytest.approx(18.48 / 6.25)
    assert ghosts.field("prd-1").dose_rate(0.0, 10.0) == 0.0
    assert ghosts.field("prd-2").dose_rate(10.0, 40.0) == pytest.approx(18.48 / 118.5**2, rel=1e-3)
    assert [(one.from_s, one.to_s) for one in ghosts.ghosts] == [(10.0, 40.0)]
    assert ghosts.unplayed == ()
