"""Patients, lines of activity, machines, crowds, neutrons: figures worked out by hand."""

import math
from random import Random
from typing import Any

import pytest

from config.scenario import Scenario
from simulators.crowd import carriers
from simulators.detector_field import DetectorField
from simulators.world import World

Table = dict[str, Any]
DAY_S = 86_400.0


def world(seed: int = 1, **tables: Any) -> World:
    base: Table = {
        "scenario": {"name": "test", "duration_s": 600},
        "background": {"dose_rate": "0 µSv/h"},
    }
    return World(Scenario.model_validate(base | tables), seed)


def field_of(seed: int = 1, archetype: str = "PRD", **tables: Any) -> DetectorField:
    detector = {"id": "d", "archetype": archetype, "at": {"x": 0, "y": 0}}
    if archetype == "RPM":
        detector |= {"sensitivity": 1000, "lane_m": 10}
    return world(seed, detector=[detector], **tables).field("d")


# Patients at 1 m: nuclide, MBq, hours since, µSv/h as tabulated, and how well (F-18 was tabulated
# with 165.6 in place of 166).
PATIENTS = [
    ("Tc-99m", 740, 0, 7.07, 0.005),
    ("Tc-99m", 740, 24, 0.44, 0.005),
    ("Tc-99m", 740, 30, 0.224, 0.02),  # what a pager can just detect
    ("F-18", 370, 0, 30.6, 0.12),
    ("F-18", 370, 13, 0.224, 0.02),
    ("I-131", 3700, 0, 146, 0.5),
    ("I-131", 3700, 30 * 24, 10.9, 0.05),
    ("I-131", 3700, 95 * 24, 0.04, 0.005),
]


@pytest.mark.parametrize(("nuclide", "mbq", "hours", "tabulated", "within"), PATIENTS)
def test_patients_decay(
    nuclide: str, mbq: float, hours: float, tabulated: float, within: float
) -> None:
    patient = {
        "id": "s",
        "nuclide": nuclide,
        "activity": f"{mbq} MBq",
        "kind": "patient",
        "decays": True,
        "reference_s": -hours * 3600,
        "at": {"x": 1, "y": 0},
    }
    field = field_of(source=[patient])
    assert field.dose_rate(0) == pytest.approx(tabulated, abs=max(within, 0.003 * tabulated))
    later = field_of(source=[patient | {"reference_s": 0.0}])
    assert later.dose_rate(hours * 3600) == pytest.approx(field.dose_rate(0), rel=1e-9)


def test_counts_of_a_decaying_source_are_its_activity_integrated() -> None:
    """F-18, T½ 1.83 h, for two half-lives: A·(1 − 1/4)·T½/ln 2."""
    source = {"id": "s", "nuclide": "F-18", "activity": "1 MBq", "decays": True,
              "at": {"x": 1, "y": 0}}  # fmt: skip
    half_life_s = 1.83 * 3600
    expected = 100 * 0.166 * 0.75 * half_life_s / math.log(2)
    field = field_of(source=[source])
    assert field.expected_gamma(0, 2 * half_life_s) == pytest.approx(expected, rel=1e-3)
    pieces = sum(
        field.expected_gamma(n * half_life_s / 50, (n + 1) * half_life_s / 50) for n in range(100)
    )
    assert pieces == pytest.approx(expected, rel=1e-4)


# Lines of activity. Across a line of L in height h: ΓA/(L·h)·(atan(a/h) + atan(b/h)), with a and b
# to its ends.


def line_usv_h(gamma_a: float, length: float, h: float, along: float) -> float:
    ends = math.atan((along + length / 2) / h) - math.atan((along - length / 2) / h)
    return gamma_a / (length * h) * ends


@pytest.mark.parametrize(("x", "y"), [(0, 2), (3, 2), (-8, 1.5), (0, 10)])
def test_a_line_at_rest(x: float, y: float) -> None:
    source = {"id": "s", "nuclide": "Cs-137", "activity": "100 MBq", "spread_m": 6,
              "at": {"x": x, "y": y}}  # fmt: skip
    field = field_of(source=[source])
    assert field.dose_rate(0) == pytest.approx(line_usv_h(9.24, 6, y, x), rel=1e-3)
    upright = field_of(source=[source | {"spread_deg": 0, "at": {"x": y, "y": x}}])
    assert upright.dose_rate(0) == pytest.approx(line_usv_h(9.24, 6, y, x), rel=1e-3)


def norm_lorry(spread_m: float, speed: float = 2.0) -> DetectorField:
    """10 MBq of Co-60 along a lorry of 12 m, 2.5 m from a portal, in its middle at 50 s."""
    source = {"id": "c", "nuclide": "Co-60", "activity": "10 MBq", "spread_m": spread_m,
              "kind": "norm"}  # fmt: skip
    lorry = {"id": "l", "portal": "d", "at_s": 50, "length_m": 12, "speed": f"{speed} m/s",
             "closest_m": 2.5, "cargo": "c"}  # fmt: skip
    return field_of(archetype="RPM", source=[source], vehicle=[lorry])


def test_a_cargo_is_seen_as_long_as_it_is() -> None:
    long, point = norm_lorry(10.0), norm_lorry(0.0)
    for at_s in (40, 45, 48, 50, 52.5, 57):
        expected = line_usv_h(3.54, 10, 2.5, 2 * (at_s - 50))
        assert long.dose_rate(at_s) == pytest.approx(expected, rel=1e-3)
    # All counts of a way without end: s·ΓA·π/(d·v), however it is spread.
    whole = 1000 * 3.54 * math.pi / (2.5 * 2)
    for field in (long, point):
        assert field.expected_gamma(0, 3600) == pytest.approx(
            whole * (0.5 + math.atan(2 * 50 / 2.5) / math.pi), rel=1e-3
        )
    assert _half_width_s(point) == pytest.approx(2 * 2.5 / 2, rel=1e-3)
    assert _half_width_s(long) > 10 / 2 > 3 * 1.25  # about its own length over the speed
    assert long.occupied(47.1)
    assert not long.occupied(46.9)


def _half_width_s(field: DetectorField) -> float:
    half = field.dose_rate(50) / 2
    return sum(field.dose_rate(step / 1000) > half for step in range(30_000, 70_000)) / 1000


def test_a_line_of_people_lies_along_their_way() -> None:
    """A pass to the north with a line of 4 m: its front comes by before its middle does."""
    course = {"past": "d", "closest_m": 1, "speed": "1 m/s", "at_s": 100, "heading_deg": 0}
    source = {"id": "s", "nuclide": "Cs-137", "activity": "10 MBq", "spread_m": 4, "pass": course}
    field = field_of(source=[source])
    for at_s in (97, 98, 100, 103):
        assert field.dose_rate(at_s) == pytest.approx(line_usv_h(0.924, 4, 1, at_s - 100), rel=1e-3)


def test_a_line_is_one_source_to_those_who_ask() -> None:
    source = {"id": "s", "nuclide": "Cs-137", "activity": "10 MBq", "spread_m": 4,
              "at": {"x": 0, "y": 1}}  # fmt: skip
    made = world(detector=[{"id": "d", "archetype": "PRD", "at": {"x": 0, "y": 0}}],
                 source=[source])  # fmt: skip
    assert made.sources(5) == ("s",)
    assert made.remove_source("s", 10)
    assert made.field("d").dose_rate(9) > 0
    assert made.field("d").dose_rate(11) == 0


# Machines, vehicles.


@pytest.mark.parametrize("metres", [0.5, 1, 2, 7, 30])
def test_an_xray_machine_falls_with_the_square_of_distance(metres: float) -> None:
    machine = {"id": "x", "at": {"x": 0, "y": metres}, "at_s": 10, "length_s": 2,
               "dose_rate_1m": "40 µSv/h"}  # fmt: skip
    field = field_of(xray=[machine])
    assert field.dose_rate(11) == pytest.approx(40 / metres**2)
    assert field.expected_gamma(0, 60) == pytest.approx(100 * 2 * 40 / metres**2)


@pytest.mark.parametrize("hidden", [0.1, 0.2, 0.35])
def test_a_vehicle_hides_a_part_of_the_background(hidden: float) -> None:
    """Drawn counts in the lane and beside it, 400 seconds of each, within four errors."""
    stay = {"portal": "d", "at_s": 1000, "length_s": 400, "suppression": hidden}
    field = field_of(archetype="RPM", occupancy=[stay], background={"dose_rate": "0.1 µSv/h"})
    vacant = sum(field.gamma_counts(at, at + 1) for at in range(400))
    inside = sum(field.gamma_counts(at, at + 1) for at in range(1000, 1400))
    assert abs(vacant - 800_000) < 4 * math.sqrt(800_000)
    assert abs(inside - 800_000 * (1 - hidden)) < 4 * math.sqrt(800_000)


# Neutrons: 20 000 n/s of Cf-252 (8.6 ng) at 2 m and 2.2 m/s, 2.5 cps per ng at 2 m.


def neutron_pass(seed: int = 1) -> DetectorField:
    source = {"id": "cf", "n_per_s": 20_000, "pass": {
        "past": "d", "closest_m": 2, "speed": "2.2 m/s", "at_s": 10}}  # fmt: skip
    return field_of(seed, archetype="RPM", source=[source])


def test_a_nanogram_of_californium_counts_as_specified() -> None:
    nanogram = {"id": "cf", "n_per_s": 2310, "at": {"x": 2, "y": 0}}
    field = field_of(archetype="RPM", source=[nanogram])
    assert field.expected_neutrons(0, 1) == pytest.approx(2.5 + 2.5)


def test_the_neutron_pass_and_its_alarm() -> None:
    """19.8 net counts in the best second; 15 counts are passed in 95 % of 4000 passes."""
    field = neutron_pass()
    assert field.expected_neutrons(9.5, 10.5) - 2.5 == pytest.approx(19.8, abs=0.05)
    drawn = [field.neutron_counts(9.5, 10.5) for _ in range(4000)]
    mean = sum(drawn) / 4000
    assert abs(mean - 22.3) < 4 * math.sqrt(22.3 / 4000)
    variance = sum((each - mean) ** 2 for each in drawn) / 3999
    assert variance == pytest.approx(mean, rel=0.10)
    reached = sum(each >= 15 for each in drawn) / 4000
    assert reached == pytest.approx(0.955, abs=0.02)


# Crowds.


def test_the_base_rate_of_carriers() -> None:
    """80 000 people, 1 in 27 400: 2.92 of them, Poisson, over 150 seeds."""
    (crowd,) = Scenario.model_validate(
        {
            "scenario": {"name": "c", "duration_s": 10},
            "crowd": [{"portals": ["p"], "from_s": 0, "to_s": 7200, "people": 80_000}],
        }
    ).crowd
    drawn = [sum(1 for _ in carriers(crowd, 0, Random(seed))) for seed in range(150)]
    mean = sum(drawn) / 150
    assert abs(mean - 2.92) < 4 * math.sqrt(2.92 / 150)
    variance = sum((each - mean) ** 2 for each in drawn) / 149
    assert variance == pytest.approx(2.92, rel=4 * math.sqrt(2 / 149))
