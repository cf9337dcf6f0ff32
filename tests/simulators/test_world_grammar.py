"""What scenarios can say of the world beyond sources and rain, against closed formulas."""

import math
from random import Random
from typing import Any

import pytest

from config.scenario import Scenario
from config.scenario_detectors import Drift
from simulators.crowd import carriers
from simulators.detector_field import DetectorField
from simulators.power import Power
from simulators.wander import GRID_S, Wander
from simulators.world import World

Table = dict[str, Any]


def world(seed: int = 1, duration_s: float = 600, **tables: Any) -> World:
    base: Table = {"scenario": {"name": "test", "duration_s": duration_s}}
    return World(Scenario.model_validate(base | tables), seed)


def only(archetype: str = "PRD", detector: Table | None = None, **tables: Any) -> DetectorField:
    own = {"id": "d", "archetype": archetype, "at": {"x": 0, "y": 0}} | (detector or {})
    return world(detector=[own], **tables).field("d")


def moving(*points: tuple[float, float, float]) -> Table:
    return {"at": None, "path": [{"t": t, "x": x, "y": y} for t, x, y in points]}


# Drift.


def log_factors(wander: Wander, count: int) -> list[float]:
    return [math.log(wander.at((index + 0.5) * GRID_S)) for index in range(count)]


def test_drift_has_its_mean_its_variation_and_its_correlation() -> None:
    wander = Wander(Drift(variation=0.06, times_s=(5.0, 40.0)), Random(7))
    count = 400_000
    logs = log_factors(wander, count)
    variance = math.log1p(0.06**2)
    assert wander.integral(0, count * GRID_S) / (count * GRID_S) == pytest.approx(1, abs=0.003)
    mean = sum(logs) / count
    assert mean == pytest.approx(-variance / 2, abs=0.003)
    centred = [each - mean for each in logs]
    assert sum(each**2 for each in centred) / count == pytest.approx(variance, rel=0.06)
    for lag_s in (2.0, 10.0, 40.0):
        lag = round(lag_s / GRID_S)
        pairs = zip(centred, centred[lag:], strict=False)
        correlation = sum(a * b for a, b in pairs) / (count - lag) / variance
        expected = (math.exp(-lag_s / 5) + math.exp(-lag_s / 40)) / 2
        assert correlation == pytest.approx(expected, abs=0.06)


def test_the_mean_of_a_wide_drift_is_one_too() -> None:
    wander = Wander(Drift(variation=0.5, times_s=(1.0,)), Random(7))
    assert wander.integral(0, 50_000) / 50_000 == pytest.approx(1, abs=0.02)


def test_drift_does_not_depend_on_how_it_is_asked_for() -> None:
    forwards, backwards = (Wander(Drift(), Random(3)) for _ in range(2))
    ahead = [forwards.integral(at, at + 0.7) for at in range(100)]
    behind = [backwards.integral(at, at + 0.7) for at in reversed(range(100))]
    assert ahead == behind[::-1]


def test_drift_moves_counts_and_dose_rate_alike() -> None:
    field = only("VEH", {"drift": {"variation": 0.2}}, background_change=[
        {"at_s": 100, "over_s": 50, "dose_rate": "0.2 µSv/h"}
    ])  # fmt: skip
    for start, end in ((0, 1), (120.1, 121.3), (400, 402)):
        counts = field.expected_gamma(start, end) / (end - start)
        assert counts == pytest.approx(20_000 * field.mean_dose_rate(start, end))
    assert len({field.expected_gamma(at, at + 1) for at in range(50)}) == 50


# Zones, pressure.


def test_a_zone_is_seen_inside_it_and_nowhere_else() -> None:
    zone = {"x_min": 10, "x_max": 20, "y_min": -5, "y_max": 5, "factor": 2, "neutron_factor": 0.5}
    walk = moving((0, 0, 0), (30, 30, 0)) | {"neutron_background_rate": "4 cps"}
    field = only("BP", walk, zone=[zone])
    assert [field.dose_rate(at) for at in (9.9, 10.1, 19.9, 20.1)] == pytest.approx(
        [0.1, 0.2, 0.2, 0.1]
    )
    assert field.expected_gamma(9, 11) == pytest.approx(250 * 3)
    assert field.expected_gamma(0, 30) == pytest.approx(250 * 40)
    assert field.expected_neutrons(0, 30) == pytest.approx(4 * (20 + 10 / 2))


def test_zones_multiply_and_one_may_stand_in_one() -> None:
    inner, outer = (
        {"x_min": -size, "x_max": size, "y_min": -size, "y_max": size, "factor": 1.5}
        for size in (1, 10)
    )
    assert only(zone=[inner, outer]).dose_rate(5) == pytest.approx(0.1 * 2.25)
    assert only(detector={"at": {"x": 5, "y": 0}}, zone=[inner, outer]).dose_rate(
        5
    ) == pytest.approx(0.15)


def test_pressure_drives_the_neutron_background() -> None:
    corners = [{"t": 100, "factor": 1.0}, {"t": 300, "factor": 1.2}]
    field = only("RPM", pressure=corners)
    assert field.expected_neutrons(0, 100) == pytest.approx(250)
    assert field.expected_neutrons(100, 300) == pytest.approx(2.5 * 1.1 * 200)
    assert field.expected_neutrons(300, 400) == pytest.approx(300)


# Sources.


def test_a_source_decays_from_its_reference() -> None:
    source = {"id": "s", "nuclide": "Tc-99m", "activity": "740 MBq", "kind": "patient",
              "at": {"x": 1, "y": 0}, "decays": True, "reference_s": -86_400}  # fmt: skip
    field = only(background={"dose_rate": "0 µSv/h"}, source=[source])
    # 21.7 x 0.74 x 0.44 = 7.07 µSv/h; a day later 0.44 µSv/h
    assert field.dose_rate(0) == pytest.approx(7.07 * 2 ** (-24 / 6.01), rel=1e-3)
    rate = math.log(2) / (6.01 * 3600)
    mean = (1 - math.exp(-rate * 36_000)) / (rate * 36_000)
    assert field.mean_dose_rate(0, 36_000) == pytest.approx(field.dose_rate(0) * mean, rel=1e-3)


def test_without_decays_it_stays_as_it_is() -> None:
    source = {"id": "s", "nuclide": "F-18", "activity": "1 GBq", "at": {"x": 1, "y": 0}}
    field = only(source=[source])
    assert field.dose_rate(0) == field.dose_rate(86_400) == pytest.approx(166.1)


def test_somebody_stops_at_the_closest_point() -> None:
    course = {"past": "d", "closest_m": 2, "speed": "1.2 m/s", "at_s": 100, "stay_s": 300}
    source = {"id": "s", "nuclide": "Cs-137", "activity": "100 MBq", "pass": course}
    field = only(background={"dose_rate": "0 µSv/h"}, source=[source])
    assert [field.dose_rate(at) for at in (100, 250, 400)] == pytest.approx([2.31] * 3)
    half = 2.31 / 2
    assert [field.dose_rate(at) for at in (100 - 2 / 1.2, 400 + 2 / 1.2)] == pytest.approx(
        [half, half]
    )


def test_a_pass_may_come_late_by_the_seed() -> None:
    course = {"past": "d", "closest_m": 1, "speed": "1 m/s", "at_s": 100, "jitter_s": 5}
    source = {"id": "s", "nuclide": "Cs-137", "activity": "100 MBq", "pass": course}
    pager = {"id": "d", "archetype": "PRD", "at": {"x": 0, "y": 0}}
    late = []
    for seed in range(40):
        field = world(seed, detector=[pager], source=[source]).field("d")
        nearest = max(range(1000, 1101), key=lambda tenth: field.dose_rate(tenth / 10))
        late.append(nearest / 10 - 100)
    assert 0 <= min(late) < 1
    assert 4 < max(late) <= 5
    assert len(set(late)) > 20


def test_an_xray_machine_is_a_field_while_it_is_on() -> None:
    machine = {"id": "x", "at": {"x": 2, "y": 0}, "at_s": 10, "length_s": 1.5,
               "dose_rate_1m": "8 µSv/h", "repeat": {"count": 3, "every_s": 10}}  # fmt: skip
    field = only(xray=[machine])
    assert [field.dose_rate(at) for at in (9.9, 10, 11.4, 11.6, 20.5, 30.5, 40.5)] == (
        pytest.approx([0.1, 2.1, 2.1, 0.1, 2.1, 2.1, 0.1])
    )
    assert field.expected_gamma(0, 100) == pytest.approx(100 * 20 + 4.5 * 2 * 100)


def test_sensitivities_by_nuclide() -> None:
    source = {"id": "s", "activity": "1 GBq", "at": {"x": 10, "y": 0}}
    counts = {}
    for nuclide in ("Cs-137", "Co-60", "I-131"):
        field = only(
            "HH", {"sensitivities": {"I-131": 900}}, source=[source | {"nuclide": nuclide}]
        )
        counts[nuclide] = (field.expected_gamma(0, 1) - 60) / (field.dose_rate(0) - 0.1)
    assert counts == pytest.approx({"Cs-137": 500, "Co-60": 200, "I-131": 900})


def test_prescribed_counts_are_prescribed_dose() -> None:
    script = {"points": [{"t": 0, "gamma_rate": "70 cps"}]}
    field = only(detector={"script": script})
    assert field.dose_rate(5) == pytest.approx(0.6)  # 50 above the background of 20
    assert field.mean_dose_rate(0, 10) == pytest.approx(0.6)


def test_a_steady_field_needs_no_small_steps() -> None:
    dead = {"dead_time": {"tau_us": 100, "paralysable": True}}
    source = {"id": "s", "nuclide": "Cs-137", "activity": "1 GBq", "at": {"x": 1, "y": 0}}
    field = only("AREA", dead, source=[source])
    rate = 92.4 + 0.2
    assert field.expected_gamma(0, 3600) == pytest.approx(
        3600 * rate * math.exp(-rate * 1e-4), rel=1e-9
    )


def test_a_source_that_rests_for_now_needs_none_either() -> None:
    dead = {"dead_time": {"tau_us": 100, "paralysable": True}}
    way = moving((10, -30, 0), (20, 1, 0), (400, 1, 0), (410, 30, 0))
    source = {"id": "s", "nuclide": "Cs-137", "activity": "1 GBq"} | way
    field = only("AREA", dead, source=[source])
    spans = [(0, 10), (9, 12), (19, 21), (20, 400), (30, 40), (399, 401), (410, 500)]
    steady = [field.reach.is_steady(field.track, *span) for span in spans]
    assert steady == [True, False, False, True, True, False, True]
    rate = 92.4 + 0.2
    expected = 300 * rate * math.exp(-rate * 1e-4)
    assert field.expected_gamma(50, 350) == pytest.approx(expected, rel=1e-9)


# Crowds.


def crowd_world(seed: int = 1, **crowd: Any) -> World:
    portals = [
        {"id": f"p{n}", "archetype": "RPM", "sensitivity": 1000, "at": {"x": 5 * n, "y": 0}}
        for n in range(4)
    ]
    told = {"portals": ["p0", "p1", "p2", "p3"], "from_s": 100, "to_s": 500, "people": 402}
    return world(seed, detector=portals, crowd=[told | crowd])


def test_people_are_spread_evenly_over_time_and_portals() -> None:
    made = crowd_world(carriers=0)
    begun = dict.fromkeys(("p0", "p1", "p2", "p3"), 0)
    for name in begun:
        lane = made.field(name).lane
        stays = [stay for train in lane.trains for stay in train.within(0, 1000)]
        begun[name] = len(stays)
        assert all(100 <= stay.from_s < 500 for stay in stays)
        assert all(stay.to_s - stay.from_s == pytest.approx(1.0) for stay in stays)
    assert begun == {"p0": 101, "p1": 101, "p2": 100, "p3": 100}
    assert made.sources(300) == ()


def test_carriers_are_drawn_by_chance_and_pass_their_portal() -> None:
    scenario = Scenario.model_validate(
        {
            "scenario": {"name": "c", "duration_s": 10},
            "crowd": [
                {
                    "portals": ["p"],
                    "from_s": 0,
                    "to_s": 7200,
                    "people": 800_000,
                    "activity": "1 GBq",
                }
            ],
        }
    )
    (crowd,) = scenario.crowd
    drawn = list(carriers(crowd, 0, Random(5)))
    assert len(drawn) == pytest.approx(800_000 / 27_400, abs=4 * math.sqrt(29))
    assert {each.kind for each in drawn} == {"patient"}
    assert [each.id for each in carriers(crowd, 0, Random(5))] == [each.id for each in drawn]
    made = crowd_world(carriers=1, people=4, activity="1 GBq", closest_m=2)
    # 21.7 µSv·m²/(h·GBq) x 1 GBq x 0.44 / (2 m)²; the first one's middle is at 100.5 s
    assert made.field("p0").dose_rate(100.5) == pytest.approx(0.1 + 2.387, rel=1e-2)
    assert not made.field("p0").occupied(99)
    assert made.field("p0").occupied(100.5)


# Power.


def test_switching_by_hand_and_by_plan() -> None:
    power = Power([10.0, 20.0])
    assert [power.since(at) for at in (9, 10, 19.9, 20)] == [None, 10, 10, None]
    power.switch(15, False)
    power.switch(17, False)
    power.switch(30, True)
    assert [power.since(at) for at in (12, 16, 29, 31)] == [10, None, None, 30]
    assert list(power.spans(0, 40)) == [(10, 15), (30, 40)]
    assert Power().is_always_on
    assert not power.is_always_on


def test_nothing_is_counted_while_it_is_off() -> None:
    field = only(detector={"on_s": 10})
    field.power.switch(20, False)
    field.power.switch(25, True)
    assert field.expected_gamma(0, 30) == pytest.approx(20 * 15)
