"""What the simulated world does, by closed formulas; its figures are in test_physics_*."""

import math
from pathlib import Path
from random import Random

import pytest

from config.scenario import Rain, Scenario, Source, load_scenario
from drivers import registry
from drivers.api import DriverInfo, Verified
from simulators.api import Field
from simulators.counter import NoCounts
from simulators.detector_field import DetectorField
from simulators.poisson import poisson
from simulators.world import UnknownDetector, World

Table = dict[str, object]
QUIET: Table = {"dose_rate": "0 µSv/h"}


def scenario(**tables: object) -> Scenario:
    base: Table = {"scenario": {"name": "test", "duration_s": 600}}
    return Scenario.model_validate(base | tables)


def prd(**settings: object) -> Table:
    base: Table = {"id": "d", "driver": "none", "archetype": "PRD", "at": {"x": 0, "y": 0}}
    return base | settings


def only(seed: int = 1, **tables: object) -> DetectorField:
    return World(scenario(**tables), seed).field("d")


def test_counts_equal_the_integral_of_the_rate_on_any_way() -> None:
    """Both move, the source appears and leaves, passes through the detector's own place."""
    source = {
        "id": "s",
        "nuclide": "Cs-137",
        "activity": "1 MBq",
        "path": [{"t": 0, "x": -5, "y": 0}, {"t": 10, "x": 5, "y": 0}, {"t": 12, "x": 5, "y": 3}],
        "appears_s": 1,
        "leaves_s": 14,
    }
    moving = prd(path=[{"t": 2, "x": 0, "y": -1}, {"t": 8, "x": 0, "y": 1}])
    del moving["at"]
    field = only(detector=[moving], source=[source])
    steps = 400_000
    width = 20 / steps
    total = sum(field.dose_rate((index + 0.5) * width) - 0.10 for index in range(steps)) * width
    assert field.expected_gamma(0, 20) == pytest.approx(total * 100 + 20 * 20, rel=1e-5)
    parts = sum(field.expected_gamma(index * 0.7, (index + 1) * 0.7) for index in range(20))
    assert parts == pytest.approx(field.expected_gamma(0, 14), rel=1e-9)


def test_nothing_is_nearer_than_the_guard() -> None:
    source = {"id": "s", "nuclide": "Cs-137", "activity": "1 MBq", "at": {"x": 0, "y": 0}}
    field = only(background=QUIET, detector=[prd()], source=[source])
    assert field.dose_rate(1) == pytest.approx(0.0924 * 1e4)


def test_a_mean_of_zero_and_what_is_no_mean() -> None:
    assert poisson(Random(1), 0.0) == 0
    for wrong in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="is not a mean"):
            poisson(Random(1), wrong)


def test_equal_seeds_give_equal_numbers_and_others_do_not() -> None:
    def draw(seed: int) -> list[int]:
        field = only(seed, detector=[prd()])
        return [field.gamma_counts(second, second + 1) for second in range(50)]

    assert draw(3) == draw(3)
    assert draw(3) != draw(4)


def test_detectors_do_not_disturb_each_others_numbers() -> None:
    both = World(scenario(detector=[prd(), prd(id="e")]), 1)
    mixed = []
    for second in range(20):
        both.field("e").gamma_counts(second, second + 1)
        mixed.append(both.field("d").gamma_counts(second, second + 1))
    alone = only(detector=[prd()])
    assert mixed == [alone.gamma_counts(second, second + 1) for second in range(20)]


def test_losses_are_integrated_over_a_pass() -> None:
    """Against a much finer sum; the source passes at 0.3 m, 5 µs non-paralysable."""
    source = {
        "id": "s",
        "nuclide": "Cs-137",
        "activity": "1 GBq",
        "pass": {"past": "d", "closest_m": 0.3, "speed": "5 m/s", "at_s": 10},
    }
    field = only(detector=[prd(dead_time={"tau_us": 5})], source=[source])
    width = 1e-4
    rates = [20 + (field.dose_rate(9.5 + (i + 0.5) * width) - 0.1) * 100 for i in range(10_000)]
    expected = sum(rate / (1 + rate * 5e-6) for rate in rates) * width
    assert field.expected_gamma(9.5, 10.5) == pytest.approx(expected, rel=1e-5)
    assert sum(rates) * width > 1.1 * expected


def test_background_of_archetypes_follows_the_dose_rate() -> None:
    for name, cps in {
        "PRD": 20,
        "HH": 60,
        "BP": 250,
        "VEH": 2000,
        "RPM": 2000,
        "AREA": 0.2,
    }.items():
        field = only(detector=[prd(archetype=name)])
        assert field.expected_gamma(0, 10) == pytest.approx(10 * cps, rel=1e-4)
        doubled = only(detector=[prd(archetype=name)], background={"dose_rate": "0.2 µSv/h"})
        assert doubled.expected_gamma(0, 1) == pytest.approx(2 * cps, rel=1e-4)


def test_what_has_no_count_rate_says_so() -> None:
    with pytest.raises(NoCounts, match="EPD has no background count rate"):
        only(detector=[prd(archetype="EPD")]).gamma_counts(0, 1)
    source = {"id": "s", "nuclide": "Cs-137", "activity": "1 MBq", "at": {"x": 1, "y": 0}}
    with pytest.raises(NoCounts, match="RPM has no sensitivity"):
        only(detector=[prd(archetype="RPM")], source=[source]).gamma_counts(0, 1)


def test_sensitivity_depends_on_the_nuclide_where_that_is_known() -> None:
    def net(nuclide: str, **settings: object) -> float:
        source = {"id": "s", "nuclide": nuclide, "activity": "1 GBq", "at": {"x": 10, "y": 0}}
        detector = prd(archetype="HH", **settings)
        field = only(background=QUIET, detector=[detector], source=[source])
        return field.expected_gamma(0, 1) / field.dose_rate(0)

    assert net("Cs-137") == pytest.approx(500)
    assert net("Co-60") == pytest.approx(200)
    assert net("Co-60", sensitivity=50.0) == pytest.approx(20)


def test_rain_rises_in_a_quarter_of_an_hour_and_decays_in_half_hours() -> None:
    background = {"dose_rate": "106 nSv/h"}
    field = only(detector=[prd()], background=background, rain=[{"at_s": 100}])
    assert field.dose_rate(100) == pytest.approx(0.106)
    assert field.dose_rate(550) == pytest.approx(0.151)
    assert field.dose_rate(1000) == pytest.approx(0.196)
    assert field.dose_rate(1000 + 1800) == pytest.approx(0.151)
    total = sum(field.dose_rate(second + 0.5) for second in range(5000))
    assert field.expected_gamma(0, 5000) == pytest.approx(total * 200, rel=1e-6)
    assert field.expected_neutrons(0, 5000) == 0


def test_background_changes_run_from_what_was_and_may_meet_only_some() -> None:
    """A walk into granite: 0.08 to 0.16 µSv/h within 5 s."""
    changes = [
        {"at_s": 10, "over_s": 5, "dose_rate": "0.16 µSv/h", "detectors": ["d"]},
        {"at_s": 30, "dose_rate": "0.05 µSv/h"},
    ]
    world = World(
        scenario(
            detector=[prd(), prd(id="e")],
            background={"dose_rate": "0.08 µSv/h"},
            background_change=changes,
        )
    )
    field, other = world.field("d"), world.field("e")
    rates = [field.dose_rate(time) for time in (0, 10, 12.5, 15, 29.9, 30, 99)]
    assert rates == pytest.approx([0.08, 0.08, 0.12, 0.16, 0.16, 0.05, 0.05])
    assert other.dose_rate(20) == pytest.approx(0.08)
    assert field.expected_gamma(10, 15) == pytest.approx(5 * 0.12 * 200)


def test_the_neutron_pass_of_a_portal() -> None:
    """20 000 n/s at 2 m and 2.2 m/s: best 1 s has 19.8 counts on 2.5 of background."""
    source = {
        "id": "cf",
        "n_per_s": 20_000,
        "pass": {"past": "d", "closest_m": 2, "speed": "2.2 m/s", "at_s": 10},
    }
    field = only(detector=[prd(archetype="RPM")], source=[source])
    assert field.expected_neutrons(9.5, 10.5) == pytest.approx(19.8 + 2.5, abs=0.05)
    assert field.expected_gamma(9.5, 10.5) == pytest.approx(2000)
    assert field.neutron_counts(9.5, 10.5) >= 0


def test_a_norm_lorry_with_suppression() -> None:
    """2000 cps, 10 % hidden for 12 s, 600 cps added for 8 s in the middle: a plateau of 2400."""
    lorry = {
        "portal": "d",
        "at_s": 100,
        "length_s": 12,
        "suppression": 0.10,
        "gamma_rate": "600 cps",
        "cargo_s": 8,
        "speed": "8 km/h",
    }
    field = only(detector=[prd(archetype="RPM")], occupancy=[lorry])
    seconds = [field.expected_gamma(at, at + 1) for at in range(98, 114)]
    assert seconds == pytest.approx(
        [2000] * 2 + [1800] * 2 + [2400] * 8 + [1800] * 2 + [2000] * 2, rel=1e-9
    )
    assert [field.occupied(at) for at in (99.9, 100.0, 111.9, 112.0)] == [False, True, True, False]
    assert field.speed_m_s(105) == pytest.approx(8 / 3.6)
    assert field.speed_m_s(90) is None


def test_ten_thousand_occupancies_cost_nothing_to_write() -> None:
    visitors = {
        "portal": "d",
        "at_s": 10,
        "length_s": 3,
        "repeat": {"count": 10_000, "every_s": 60},
    }
    field = only(detector=[prd(archetype="RPM")], occupancy=[visitors])
    last = 10 + 9999 * 60
    times = (9.9, 10, 12.9, 13, 70, 73, last, last + 2.9, last + 3, last + 60)
    assert [field.occupied(at) for at in times] == [
        False, True, True, False, True, False, True, True, False, False
    ]  # fmt: skip


def test_who_carries_a_source_is_seen_by_the_portal_and_only_there() -> None:
    source = {
        "id": "s",
        "nuclide": "Cs-137",
        "activity": "1 MBq",
        "pass": {"past": "d", "closest_m": 1, "speed": "1.2 m/s", "at_s": 25},
    }
    detectors = [prd(archetype="RPM", sensitivity=1000), prd(id="e")]
    world = World(scenario(detector=detectors, source=[source]))
    portal = world.field("d")
    half = math.sqrt(1.5**2 - 1) / 1.2
    edges = (25 - half - 0.01, 25 - half + 0.01, 25 + half - 0.01, 25 + half + 0.01)
    assert [portal.occupied(at) for at in edges] == [False, True, True, False]
    assert portal.speed_m_s(25) == pytest.approx(1.2)
    assert not world.field("e").occupied(25)


def test_cargo_rides_in_its_vehicle() -> None:
    source = {"id": "cs", "nuclide": "Cs-137", "activity": "1 MBq"}
    vehicle = {
        "id": "van",
        "portal": "d",
        "at_s": 50,
        "length_m": 6,
        "speed": "2 m/s",
        "closest_m": 2.5,
        "cargo": "cs",
    }
    portal = prd(archetype="RPM", sensitivity=1000, lane_m=6)
    field = only(detector=[portal], source=[source], vehicle=[vehicle])
    assert field.dose_rate(50) == pytest.approx(0.1 + 0.0924 / 2.5**2)
    assert field.dose_rate(50.7) == pytest.approx(field.dose_rate(49.3))
    assert [field.occupied(at) for at in (48.4, 48.6, 51.4, 51.6)] == [False, True, True, False]


def test_a_blocked_lane_stays_occupied_until_it_is_cleared() -> None:
    field = only(detector=[prd(archetype="RPM")])
    field.block(100)
    assert (field.occupied(99), field.occupied(100), field.occupied(1e6)) == (False, True, True)
    field.unblock(400)
    assert (field.occupied(399), field.occupied(400)) == (True, False)


def test_parts_share_the_counts_and_draw_for_themselves() -> None:
    field = only(detector=[prd(archetype="RPM", parts=4)])
    drawn = [field.gamma_counts(0, 1000, part) for part in range(4)]
    assert all(abs(count - 500_000) < 4 * math.sqrt(500_000) for count in drawn)
    assert len(set(drawn)) == 4
    alone = only(detector=[prd(archetype="RPM", parts=4)])
    assert alone.gamma_counts(0, 1000, 3) == drawn[3]
    with pytest.raises(ValueError, match="no part 5"):
        field.gamma_counts(0, 1, 5)


def test_a_script_takes_the_place_of_the_world() -> None:
    """The ramp of DT-12: 0.1 to 200 µSv/h in 600 s."""
    points = [{"t": 0, "dose_rate": "0.1 µSv/h"}, {"t": 600, "dose_rate": "200 µSv/h"}]
    field = only(detector=[prd(script={"points": points})])
    crossing = {1.2: 0.5, 59.7: 20.0, 299.8: 100.0}
    for time, level in crossing.items():
        assert field.dose_rate(time) == pytest.approx(level, abs=0.02)
    assert field.dose_rate(900) == 200
    assert field.noisy_dose_rate(300) == field.dose_rate(300)
    assert field.expected_gamma(899, 900) == pytest.approx(20 + 199.9 * 100)


def test_the_noise_of_a_script_has_its_mean_and_deviation() -> None:
    script = {"points": [{"t": 0, "dose_rate": "20 µSv/h"}], "noise": 0.14}
    field = only(detector=[prd(script=script)])
    drawn = [field.noisy_dose_rate(second) for second in range(4000)]
    mean = sum(drawn) / 4000
    deviation = math.sqrt(sum((value - mean) ** 2 for value in drawn) / 3999)
    assert mean == pytest.approx(20, abs=4 * 2.8 / math.sqrt(4000))
    assert deviation == pytest.approx(2.8, rel=0.05)


def test_a_held_reading_is_released() -> None:
    field = only(detector=[prd()])
    field.hold(dose_rate=50.0)
    assert field.dose_rate(10) == 50.0
    field.hold(gamma_rate=0.0)
    assert field.gamma_counts(0, 100) == 0
    field.release()
    assert field.dose_rate(10) == pytest.approx(0.1)


def test_an_instrument_counts_only_while_it_is_on() -> None:
    field = only(detector=[prd(on_s=10, off_s=20)])
    assert field.expected_gamma(0, 100) == pytest.approx(200)
    assert [field.is_on(at) for at in (9, 10, 19.9, 20)] == [False, True, True, False]
    assert field.expected_gamma(30, 40) == 0


def test_live_play_adds_and_removes_sources_and_rain() -> None:
    world = World(scenario(detector=[prd()]))
    field = world.field("d")
    ghost = Source.model_validate(
        {"id": "g", "nuclide": "Cs-137", "activity": "100 MBq", "at": {"x": 2, "y": 0},
         "appears_s": 5}
    )  # fmt: skip
    world.add_source(ghost)
    assert field.dose_rate(4) == pytest.approx(0.1)
    assert field.dose_rate(6) == pytest.approx(0.1 + 2.31)
    assert world.sources(6) == ("g",)
    assert world.remove_source("g", 7)
    assert not world.remove_source("h", 7)
    assert field.dose_rate(6) == pytest.approx(0.1 + 2.31)
    assert field.dose_rate(8) == pytest.approx(0.1)
    world.add_rain(Rain.model_validate({"at_s": 10}))
    assert field.dose_rate(910) == pytest.approx(0.19)


def test_positions_are_on_the_globe_only_where_the_scenario_says() -> None:
    site = {"latitude": 52.0, "longitude": 13.0}
    moving = prd(path=[{"t": 0, "x": 0, "y": 0}, {"t": 10, "x": 1000, "y": -1000}])
    del moving["at"]
    place = only(detector=[moving], site=site).position(10)
    assert place is not None
    # Radii of curvature of WGS84 at 52°: 6 375 150 m along, 6 391 435 m across the meridian.
    assert place.latitude == pytest.approx(52 - math.degrees(1000 / 6_375_150), abs=1e-6)
    across = 6_391_435 * math.cos(math.radians(52))
    assert place.longitude == pytest.approx(13 + math.degrees(1000 / across), abs=1e-6)
    assert only(detector=[moving]).position(10) is None


def test_the_event_alarms_a_handheld_and_the_pedestrian_portal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """R3 (0.5 µSv/h) on hh-1 around 12 s and back within a minute; the portal's k = 5 at 25 s."""
    monkeypatch.setattr(registry, "find", _any_driver)
    event = Path(__file__).resolve().parents[2] / "config/examples/scenarios/event.toml"
    world = World(load_scenario(event))
    handheld, portal = world.field("hh-1"), world.field("portal-a")
    assert handheld.dose_rate(12) == pytest.approx(2.41, abs=0.01)
    high = [step / 10 for step in range(600) if handheld.dose_rate(step / 10) >= 0.5]
    # 9.24 µSv/h·m² above 0.4 µSv/h net: nearer than 4.81 m, 3.64 s before and after.
    assert high[0] == pytest.approx(12 - 3.64, abs=0.1)
    assert high[-1] == pytest.approx(12 + 3.64, abs=0.1)
    assert handheld.dose_rate(25) < 0.2
    background = sum(portal.gamma_counts(22, 23, part) for part in range(4))
    source = sum(portal.gamma_counts(24.5, 25.5, part) for part in range(4))
    assert source - background > 5 * math.sqrt(background)
    assert [portal.occupied(at) for at in (7, 10, 15, 20, 25, 30)] == [
        True, False, True, False, True, False
    ]  # fmt: skip
    assert not any(world.field("hh-2").dose_rate(step / 2) >= 0.5 for step in range(600))
    lorries = world.field("portal-b")
    assert [lorries.occupied(at) for at in (40, 45, 100, 150)] == [False, True, False, True]
    assert lorries.expected_gamma(45, 46) == pytest.approx(1800, rel=0.02)
    van = world.field("van-1")
    assert van.position(0) != van.position(30)


def _any_driver(name: str) -> DriverInfo:
    """The real drivers are not what is tested here."""
    links = ("serial", "tcp", "modbus_tcp")
    return DriverInfo(
        name=name,
        title=name,
        contract="listener",
        classes=("Other",),
        links=links,
        channels=(),
        source="none; made up for a test",
        verified=Verified.CONSTRUCTED,
        silence_s=1.0,
        create=lambda options: pytest.fail("nothing here makes a driver"),
    )


def test_the_field_is_what_instruments_expect() -> None:
    world = World(scenario(detector=[prd()]))
    field: Field = world.field("d")
    assert field.gamma_counts(0, 0) == 0
    with pytest.raises(UnknownDetector):
        world.field("nobody")
