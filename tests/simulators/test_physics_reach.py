"""Sources too far to matter are left out, and nothing else changes by that."""

import math
from typing import Any

import pytest

from config.scenario import Scenario
from config.scenario_world import Point, Source
from simulators.motion import Track, near_times, still
from simulators.world import World

Table = dict[str, Any]


def world(*sources: Table, duration_s: float = 600, **tables: Any) -> World:
    base: Table = {
        "scenario": {"name": "test", "duration_s": duration_s},
        "background": {"dose_rate": "0 µSv/h"},
        "detector": [{"id": "d", "archetype": "PRD", "at": {"x": 0, "y": 0}}],
        "source": [{"nuclide": "Cs-137", "activity": "100 MBq"} | each for each in sources],
    }
    return World(Scenario.model_validate(base | tables))


@pytest.mark.parametrize("at_s", [0, 1000, 2900, 3000, 3600, 5000, 9000])
def test_what_is_left_out_is_less_than_a_picosievert(at_s: float) -> None:
    """100 MBq at 1 m/s, nearest (3 m) at 3600 s: 9.24/r² wherever it is, within 1e-6 µSv/h."""
    course = {"past": "d", "closest_m": 3, "speed": "1 m/s", "at_s": 3600}
    field = world({"id": "s", "pass": course}, duration_s=10_000).field("d")
    exact = 9.24 / (9 + (at_s - 3600) ** 2)
    assert field.dose_rate(at_s) == pytest.approx(exact, rel=1e-9, abs=1e-6)
    angles = math.atan((at_s + 1 - 3600) / 3) - math.atan((at_s - 3600) / 3)
    assert field.expected_gamma(at_s, at_s + 1) == pytest.approx(
        100 * 9.24 / 3 * angles, rel=1e-9, abs=1e-4
    )


def test_nothing_is_left_out_nearer_than_that() -> None:
    """9.24 µSv/h at 1 m falls to 1e-6 at 3040 m."""
    for metres, shown in ((3030, True), (3050, False)):
        field = world({"id": "s", "at": {"x": metres, "y": 0}}).field("d")
        assert (field.dose_rate(5) > 0) is shown
        assert (field.expected_gamma(5, 6) > 0) is shown


def test_a_source_that_was_stronger_is_seen_as_far_as_it_was() -> None:
    """F-18 that has 1 MBq in ten half-lives has 1 GBq now: 12.9 km in place of 400 m."""
    late = {"id": "s", "nuclide": "F-18", "activity": "1 MBq", "decays": True,
            "reference_s": 10 * 1.83 * 3600, "at": {"x": 5000, "y": 0}}  # fmt: skip
    field = world(late).field("d")
    assert field.dose_rate(0) == pytest.approx(0.166 * 1024 / 5000**2, rel=1e-6)


def test_the_points_of_a_line_are_seen_as_far_as_all_of_it() -> None:
    line = {"id": "s", "at": {"x": 2500, "y": 0}, "spread_m": 20, "spread_deg": 0}
    assert world(line).field("d").dose_rate(5) == pytest.approx(9.24 / 2500**2, rel=1e-4)


def test_neutrons_are_seen_as_far_as_they_count() -> None:
    portal = [{"id": "d", "archetype": "RPM", "neutron_background_rate": "0 cps",
               "at": {"x": 0, "y": 0}}]  # fmt: skip
    source = {"id": "s", "nuclide": None, "activity": None, "n_per_s": 20_000,
              "at": {"x": 200, "y": 0}}  # fmt: skip
    field = world(source, detector=portal).field("d")
    # 8.658 ng, 2.5/s per ng at 2 m
    assert field.expected_neutrons(0, 100) == pytest.approx(
        100 * 20_000 / 2310 * 2.5 * (2 / 200) ** 2
    )


def test_who_comes_goes_and_is_replaced_is_looked_at_anew() -> None:
    made = world({"id": "s", "at": {"x": 1, "y": 0}, "appears_s": 10, "leaves_s": 20})
    field = made.field("d")
    assert [field.dose_rate(at) > 0 for at in (5, 10, 19, 20)] == [False, True, True, False]
    again = {"id": "s", "nuclide": "Cs-137", "activity": "1 MBq", "at": {"x": 1, "y": 0}}
    made.add_source(Source.model_validate(again))
    assert field.dose_rate(50) == pytest.approx(0.0924)
    assert made.remove_source("s", 60)
    assert [field.dose_rate(at) > 0 for at in (59, 60)] == [True, False]


def test_a_detector_that_is_put_elsewhere_sees_what_is_there() -> None:
    field = world({"id": "s", "at": {"x": 5000, "y": 0}}).field("d")
    assert field.expected_gamma(5, 6) == field.dose_rate(5) == 0
    field.track = still(Point(x=4999, y=0))
    assert field.dose_rate(5) == pytest.approx(9.24)
    assert field.expected_gamma(5, 6) == pytest.approx(924)
    field.track = still(Point(x=4998, y=0))
    assert field.expected_gamma(5, 6) == pytest.approx(231)


def test_a_machine_that_repeats_is_looked_at_each_time() -> None:
    machine = {"id": "x", "at": {"x": 1, "y": 0}, "at_s": 10, "length_s": 1,
               "dose_rate_1m": "5 µSv/h", "repeat": {"count": 9, "every_s": 10}}  # fmt: skip
    field = world(xray=[machine]).field("d")
    assert [at for at in range(120) if field.dose_rate(at + 0.5) > 0] == list(range(10, 100, 10))


ORIGIN = Track((0.0,), ((0.0, 0.0, 0.0),))


@pytest.mark.parametrize(
    ("points", "times", "expected"),
    [
        ([(-100, 3, 0), (100, 3, 0)], (0, 200), (96, 104)),  # 4 m each way: 3-4-5
        ([(-100, 6, 0), (100, 6, 0)], (0, 200), None),
        ([(4, 0, 0)], (0,), (-math.inf, math.inf)),
        ([(6, 0, 0)], (0,), None),
        ([(0, 0, 0), (10, 0, 0)], (0, 10), (-math.inf, 5)),
        ([(10, 0, 0), (0, 0, 0)], (0, 10), (5, math.inf)),
        ([(10, 0, 0), (0, 0, 0), (10, 0, 0), (0, 0, 0), (10, 0, 0)], (0, 10, 20, 30, 40), (5, 35)),
        ([(0, 0, 100), (0, 0, -100)], (0, 200), (95, 105)),
        ([(9, 0, 0), (9, 0, 0), (0, 0, 0)], (0, 10, 19), (14, math.inf)),
    ],
)
def test_when_two_are_near(
    points: list[tuple[float, float, float]],
    times: tuple[float, ...],
    expected: tuple[float, float] | None,
) -> None:
    track = Track(tuple(map(float, times)), tuple(points))
    for found in (near_times(track, ORIGIN, 5.0), near_times(ORIGIN, track, 5.0)):
        assert found == (None if expected is None else pytest.approx(expected))
