"""Dead time, saturation, fold-over and range change of every kind of detector, by closed forms."""

import math
from random import Random
from typing import Any

import pytest

from config.archetypes import ARCHETYPES
from config.scenario import Scenario
from simulators.detector_field import DetectorField
from simulators.json_lines import ArchetypeInstrument
from simulators.registry import find
from simulators.world import World

Table = dict[str, Any]
COUNTING = [name for name, each in ARCHETYPES.items() if each.background_cps is not None]
TAU_S = 100e-6


def field_of(archetype: str, **detector: Any) -> DetectorField:
    own = {"id": "d", "archetype": archetype, "at": {"x": 0, "y": 0}} | detector
    scenario = {"scenario": {"name": "test", "duration_s": 600}, "detector": [own]}
    return World(Scenario.model_validate(scenario)).field("d")


def counting(archetype: str, cps: float, **detector: Any) -> DetectorField:
    script = {"points": [{"t": 0, "gamma_rate": f"{cps} cps"}]}
    return field_of(archetype, script=script, **detector)


# True rate, what a paralysable and what another counter of 100 µs registers, worked out by hand:
# n·exp(−n·τ), n/(1 + n·τ).
LOSSES = [
    (10, 9.990, 9.990),
    (1000, 904.84, 909.09),
    (2320, 1839.6, 1883.1),
    (10_000, 3678.8, 5000.0),
    (26_783, 1839.5, 7281.4),
    (48_897, 367.9, 8302.5),
    (100_000, 4.540, 9090.9),
    (1e7, 0.0, 9990.0),
]


@pytest.mark.parametrize("archetype", COUNTING)
@pytest.mark.parametrize(("true", "folding", "saturating"), LOSSES)
def test_both_kinds_of_dead_time(
    archetype: str, true: float, folding: float, saturating: float
) -> None:
    for paralysable, expected in ((True, folding), (False, saturating)):
        dead = {"tau_us": 100, "paralysable": paralysable}
        field = counting(archetype, true, dead_time=dead)
        assert field.expected_gamma(0, 2) / 2 == pytest.approx(expected, rel=2e-4, abs=1e-3)


@pytest.mark.parametrize(
    ("true", "shown"),
    [(382, 368), (2320, 1839), (10_000, 3679), (26_783, 1839), (48_897, 368), (100_000, 5)],
)
def test_the_fixed_tube_folds_by_itself(true: float, shown: float) -> None:
    """AREA, 100 µs paralysable: one reading means two fields."""
    assert counting("AREA", true).expected_gamma(0, 2) / 2 == pytest.approx(shown, abs=1)


@pytest.mark.parametrize("archetype", COUNTING)
def test_a_folding_counter_has_its_greatest_rate_at_one_over_tau(archetype: str) -> None:
    dead = {"tau_us": 100, "paralysable": True}
    shown = [
        counting(archetype, cps, dead_time=dead).expected_gamma(0, 1)
        for cps in (5e3, 9.9e3, 1e4, 1.01e4, 2e4)
    ]
    assert max(shown) == shown[2] == pytest.approx(3679, abs=0.5)


@pytest.mark.parametrize("archetype", COUNTING)
@pytest.mark.parametrize("paralysable", [True, False])
def test_a_source_is_counted_as_a_script_is(archetype: str, paralysable: bool) -> None:
    """The same true rate, 30 000 a second, from caesium at 1 m and from a passing source."""
    sensitivity = ARCHETYPES[archetype].sensitivity_cps or 1000.0
    activity_mbq = 30_000 / sensitivity / 92.4 * 1e3
    detector = {"id": "d", "archetype": archetype, "at": {"x": 0, "y": 0}, "sensitivity":
                sensitivity, "dead_time": {"tau_us": 100, "paralysable": paralysable}}  # fmt: skip
    base: Table = {
        "scenario": {"name": "test", "duration_s": 600},
        "background": {"dose_rate": "0 µSv/h"},
        "detector": [detector],
    }
    source: Table = {"id": "s", "nuclide": "Cs-137", "activity": f"{activity_mbq} MBq"}
    still = World(Scenario.model_validate(base | {"source": [source | {"at": {"x": 1, "y": 0}}]}))
    expected = 30_000 * math.exp(-3) if paralysable else 30_000 / 4
    assert still.field("d").expected_gamma(0, 1) == pytest.approx(expected, rel=1e-6)
    course = {"past": "d", "closest_m": 1, "speed": "2 m/s", "at_s": 20}
    passing = World(Scenario.model_validate(base | {"source": [source | {"pass": course}]}))
    width = 1e-3
    total = 0.0
    for step in range(4000):
        rate = 30_000 / (1 + (2 * (step + 0.5) * width - 4) ** 2)
        total += width * (
            rate * math.exp(-rate * TAU_S) if paralysable else rate / (1 + rate / 1e4)
        )
    assert passing.field("d").expected_gamma(18, 22) == pytest.approx(total, rel=1e-4)


@pytest.mark.parametrize(("archetype", "stops_at", "usv_h"), [("BP", 60_000, 30),
                                                              ("VEH", 250_000, 25)])  # fmt: skip
def test_saturation(archetype: str, stops_at: float, usv_h: float) -> None:
    """Net of background: a counter is full at 30 and 25 µSv/h of caesium, and says so."""
    below, above = counting(archetype, 0.99 * stops_at), counting(archetype, 1.5 * stops_at)
    assert below.expected_gamma(0, 1) == pytest.approx(0.99 * stops_at)
    assert above.expected_gamma(0, 1) == stops_at
    assert (below.saturates(0, 1), above.saturates(0, 1)) == (False, True)
    assert ARCHETYPES[archetype].saturates_at == pytest.approx(usv_h)


def test_a_counter_is_full_at_the_nearest_point_only() -> None:
    """Caesium at 2 m: 60 000 a second on a backpack with 250 of background are 1.29 GBq."""
    for activity_gbq, full in ((1.25, False), (1.33, True)):
        course = {"past": "d", "closest_m": 2, "speed": "5 m/s", "at_s": 20.4}
        source = {"id": "s", "nuclide": "Cs-137", "activity": f"{activity_gbq} GBq", "pass": course}
        scenario = {
            "scenario": {"name": "test", "duration_s": 600},
            "detector": [{"id": "d", "archetype": "BP", "at": {"x": 0, "y": 0}}],
            "source": [source],
        }
        field = World(Scenario.model_validate(scenario)).field("d")
        assert [field.saturates(at, at + 1) for at in (19, 20, 21)] == [False, full, False]


@pytest.mark.parametrize("archetype", COUNTING)
def test_a_saturation_of_ones_own(archetype: str) -> None:
    field = counting(archetype, 5000, saturation_rate="1000 cps", parts=2)
    assert field.expected_gamma(0, 1) == 1000  # of each part
    assert field.saturates(0, 1)


@pytest.mark.parametrize(("archetype", "stops_at"), [("BP", 60_000), ("VEH", 250_000)])
def test_a_full_counter_sticks_and_one_nearly_full_is_never_above(
    archetype: str, stops_at: int
) -> None:
    full, nearly = counting(archetype, 3 * stops_at), counting(archetype, stops_at - 50)
    assert {full.gamma_counts(at, at + 1) for at in range(50)} == {stops_at}
    assert full.gamma_counts(60, 60.25) == stops_at / 4
    drawn = [nearly.gamma_counts(at, at + 1) for at in range(50)]
    assert len(set(drawn)) > 10
    assert max(drawn) == stops_at


def test_each_part_has_its_own_dead_time() -> None:
    """40 000 a second on four tubes is 10 000 on each: 3679."""
    dead = {"tau_us": 100, "paralysable": True}
    assert counting("PRD", 40_000, dead_time=dead, parts=4).expected_gamma(0, 1) == pytest.approx(
        3678.8, abs=0.1
    )


@pytest.mark.parametrize("archetype", ["PRD", "HH", "BP", "VEH", "AREA"])
def test_a_dose_rate_read_off_a_folding_counter_folds(archetype: str) -> None:
    """The background is read as the natural dose rate, the rest by the sensitivity."""
    dead = {"tau_us": 100, "paralysable": True}
    sensitivity = ARCHETYPES[archetype].sensitivity_cps or 1.0
    background = ARCHETYPES[archetype].background_cps or 0.0
    for true, registered in ((2320, 1839.6), (26_783, 1839.5), (10_000, 3678.8)):
        shown = counting(archetype, true, dead_time=dead).counted_dose_rate(0, 1)
        expected = max(0.1 + (registered - background) / sensitivity, 0.0)
        assert shown == pytest.approx(expected, rel=1e-3)


# Range change and over range, as the instrument itself says it: µSv/h, value or None, flags.
RANGES = [
    ("PRD", 29.0, 29.0, set(), True),
    ("PRD", 31.0, 31.0, {"high_range_detector"}, False),
    ("PRD", 9_900.0, 9_900.0, {"high_range_detector"}, False),
    ("PRD", 10_100.0, None, {"over_range"}, False),
    ("HH", 29.0, 29.0, set(), True),
    ("HH", 31.0, None, {"over_range"}, False),
    ("BP", 29.0, 29.0, set(), True),
    ("BP", 31.0, None, {"over_range", "saturated_counts"}, True),
    ("VEH", 24.0, 24.0, set(), True),
    ("VEH", 26.0, None, {"over_range", "saturated_counts"}, True),
    ("AREA", 200_000.0, None, {"over_range"}, False),
    ("EPD", 9.9e6, 9.9e6, set(), False),
    ("EPD", 1.1e7, None, {"over_range"}, False),
]
LOWER_BOUNDS = {"PRD": 1e4, "HH": 30, "BP": 30, "VEH": 25, "AREA": 1e4, "EPD": 1e7}


@pytest.mark.parametrize(("archetype", "usv_h", "value", "flags", "counts"), RANGES)
def test_ranges_end_where_they_are_said_to(
    archetype: str, usv_h: float, value: float | None, flags: set[str], counts: bool
) -> None:
    script = {"points": [{"t": 0, "dose_rate": f"{usv_h} µSv/h"}]}
    field = field_of(archetype, script=script)
    instrument = find("json-lines")({}, Random(1), None)
    assert isinstance(instrument, ArchetypeInstrument)
    first = instrument.advance(2.0, field)[0]
    says = first.says
    channel = next(key for key in says if key.endswith("dose_rate"))
    assert says[channel] == (None if value is None else pytest.approx(value))
    text = first.data.decode()
    assert {flag for flag in ("high_range_detector", "over_range", "saturated_counts")
            if flag in text} == flags  # fmt: skip
    assert ("gamma_counts" in says) is counts
    if value is None:
        assert f'"lower_bound":{float(LOWER_BOUNDS[archetype])}' in text
