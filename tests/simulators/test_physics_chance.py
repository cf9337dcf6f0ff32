"""Chance: exact Poisson everywhere, nothing correlated, everything repeatable."""

import math
from collections import Counter
from random import Random
from typing import Any

import pytest

from config.scenario import Scenario
from simulators.detector_field import DetectorField
from simulators.json_lines import ArchetypeInstrument
from simulators.poisson import poisson
from simulators.registry import find
from simulators.world import World

Table = dict[str, Any]


def world(seed: int = 1, *detectors: Table, **tables: Any) -> World:
    base: Table = {"scenario": {"name": "test", "duration_s": 600}}
    place = {"at": {"x": 0, "y": 0}}
    told = [{"id": "d"} | place | each for each in detectors]
    return World(Scenario.model_validate(base | {"detector": told} | tables), seed)


def field_of(archetype: str, seed: int = 1, **detector: Any) -> DetectorField:
    return world(seed, {"archetype": archetype} | detector).field("d")


def chi_square(drawn: list[int], mean: float) -> tuple[float, int]:
    """Pearson's, against exact Poisson probabilities in cells of 20 and more; and its cells."""
    seen = Counter(drawn)
    chi, cells, expected, observed = 0.0, 0, 0.0, 0
    for count in range(max(seen) + 50):
        expected += len(drawn) * math.exp(count * math.log(mean) - mean - math.lgamma(count + 1))
        observed += seen[count]
        if expected >= 20:
            chi += (observed - expected) ** 2 / expected
            cells, expected, observed = cells + 1, 0.0, 0
    return chi, cells


def dispersion(drawn: list[int]) -> float:
    mean = sum(drawn) / len(drawn)
    return sum((each - mean) ** 2 for each in drawn) / (len(drawn) - 1) / mean


def correlation(first: list[int], second: list[int]) -> float:
    mean, other = sum(first) / len(first), sum(second) / len(second)
    pairs = list(zip(first, second, strict=True))
    product = sum((a - mean) * (b - other) for a, b in pairs)
    squares = sum((a - mean) ** 2 for a, _ in pairs) * sum((b - other) ** 2 for _, b in pairs)
    return product / math.sqrt(squares)


@pytest.mark.parametrize("mean", [0.05, 0.9, 3.0, 9.99, 10.01, 30.0, 200.0, 999.0, 5000.0])
def test_the_sampler_is_exact(mean: float) -> None:
    rng = Random(7)
    chi, cells = chi_square([poisson(rng, mean) for _ in range(20_000)], mean)
    assert chi < cells + 4 * math.sqrt(2 * cells)


# Archetype, what is set, seconds, mean of each part.
CHANNELS = [
    ("PRD", {}, 0.25, 5.0),
    ("PRD", {}, 1.0, 20.0),
    ("HH", {}, 0.25, 15.0),
    ("BP", {}, 1.0, 250.0),
    ("VEH", {}, 1.0, 2000.0),
    ("AREA", {}, 2.0, 0.4),
    ("RPM", {"parts": 4}, 0.2, 100.0),
    ("RPM", {"parts": 4, "background_rate": "8000 cps"}, 1.0, 2000.0),
]


@pytest.mark.parametrize(("archetype", "settings", "seconds", "mean"), CHANNELS)
def test_backgrounds_are_poisson_in_every_part(
    archetype: str, settings: Table, seconds: float, mean: float
) -> None:
    field = field_of(archetype, **settings)
    for part in range(settings.get("parts", 1)):
        times = [index * seconds for index in range(4000)]
        drawn = [field.gamma_counts(at, at + seconds, part) for at in times]
        assert abs(sum(drawn) / 4000 - mean) < 4 * math.sqrt(mean / 4000) + 1e-4 * mean
        assert dispersion(drawn) == pytest.approx(1, rel=0.10)
        chi, cells = chi_square(drawn, mean)
        assert chi < cells + 4 * math.sqrt(2 * cells)


def test_neutrons_are_poisson() -> None:
    for rate in (0.05, 2.5, 10.0):  # 0 to 10 cps in a bank of a vehicle portal
        field = field_of("RPM", neutron_background_rate=f"{rate} cps")
        drawn = [field.neutron_counts(at, at + 1) for at in range(20_000)]
        assert abs(sum(drawn) / 20_000 - rate) < 4 * math.sqrt(rate / 20_000)
        assert dispersion(drawn) == pytest.approx(1, rel=0.10)
        chi, cells = chi_square(drawn, rate)
        assert chi < cells + 4 * math.sqrt(2 * cells)


def test_a_field_that_changes_is_poisson_in_each_second() -> None:
    """A source that passes, 800 seeds: mean and scatter of one and the same second."""
    course = {"past": "d", "closest_m": 1, "speed": "1.2 m/s", "at_s": 20}
    source = {"id": "s", "nuclide": "Cs-137", "activity": "10 MBq", "pass": course}
    drawn = [
        world(seed, {"archetype": "PRD"}, source=[source]).field("d").gamma_counts(19, 20)
        for seed in range(800)
    ]
    # 20 of background, and 100·0.924/1.2·atan(1.2) of the source
    mean = 20 + 77 * math.atan(1.2)
    assert abs(sum(drawn) / 800 - mean) < 4 * math.sqrt(mean / 800)
    assert dispersion(drawn) == pytest.approx(1, rel=4 * math.sqrt(2 / 799))


PAIRS = 4000
CHANCE = 4 / math.sqrt(PAIRS)


def seconds_of(field: DetectorField, part: int = 0, late_s: int = 0) -> list[int]:
    return [field.gamma_counts(at + late_s, at + late_s + 1, part) for at in range(PAIRS)]


def test_detectors_are_independent() -> None:
    """Beside each other in one field, copies of one another, and in the same second."""
    pagers = {"archetype": "PRD", "copies": 4, "apart": {"x": 1, "y": 0}}
    made = world(1, pagers)
    drawn = [seconds_of(made.field(f"d-{number}")) for number in range(1, 5)]
    for index, one in enumerate(drawn):
        for other in drawn[index + 1 :]:
            assert abs(correlation(one, other)) < CHANCE


def test_parts_channels_and_seconds_are_independent() -> None:
    portal = field_of("RPM", parts=2)
    left, right = seconds_of(portal, 0), seconds_of(portal, 1)
    neutrons = [portal.neutron_counts(at, at + 1) for at in range(PAIRS)]
    assert abs(correlation(left, right)) < CHANCE
    assert abs(correlation(left, neutrons)) < CHANCE
    for lag in (1, 2, 10):
        assert abs(correlation(left[:-lag], left[lag:])) < CHANCE


def test_channels_of_one_rate_draw_for_themselves() -> None:
    field = field_of("RPM", background_rate="2.5 cps")
    gamma = [field.gamma_counts(at, at + 1) for at in range(PAIRS)]
    neutrons = [field.neutron_counts(at, at + 1) for at in range(PAIRS)]
    assert abs(correlation(gamma, neutrons)) < CHANCE


def test_seeds_are_independent() -> None:
    one, other = seconds_of(field_of("PRD", 1)), seconds_of(field_of("PRD", 2))
    assert abs(correlation(one, other)) < CHANCE
    assert seconds_of(field_of("PRD", 1)) == one


# Everything at once: what leaves the instruments, byte by byte.
STAGE: Table = {
    "scenario": {"name": "stage", "duration_s": 40, "seed": 5},
    "world": {"air": True, "neutrons_per_hpa": 0.007},
    "pressure": [{"t": 0, "hpa": 1000.0}, {"t": 40, "hpa": 990.0}],
    "rain": [{"at_s": 5}],
    "source": [
        {"id": "s", "nuclide": "Cs-137", "activity": "100 MBq", "spread_m": 2,
         "pass": {"past": "p", "closest_m": 2, "speed": "1.2 m/s", "at_s": 20, "jitter_s": 3}}
    ],
    "detector": [
        {"id": "p", "archetype": "PRD", "at": {"x": 0, "y": 0}},
        {"id": "v", "archetype": "VEH", "drift": {},
         "path": [{"t": 0, "x": -20, "y": 5}, {"t": 40, "x": 20, "y": 5}]},
        {"id": "r", "archetype": "RPM", "sensitivity": 1000, "parts": 2, "at": {"x": 3, "y": 0}},
        {"id": "a", "archetype": "AREA", "at": {"x": 0, "y": 9},
         "settings": {"noise": 0.05}},
    ],
}  # fmt: skip


def told(seed: int) -> bytes:
    made = World(Scenario.model_validate(STAGE), seed)
    emitted = []
    for detector in STAGE["detector"]:
        instrument = find("json-lines")(detector.get("settings", {}), Random(seed), None)
        assert isinstance(instrument, ArchetypeInstrument)
        emitted += instrument.advance(40.0, made.field(detector["id"]))
    return b"".join(each.data for each in emitted)


def test_the_same_seed_gives_the_same_bytes_and_no_other_does() -> None:
    first = told(5)
    assert len(first) > 10_000
    assert told(5) == first
    assert len({first, told(6), told(7), told(8)}) == 4
