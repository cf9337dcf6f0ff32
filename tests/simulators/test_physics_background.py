"""Natural fields: rain as measured, neutrons under pressure, buildings, roads."""

import math
from typing import Any

import pytest

from config.scenario import Scenario
from simulators.detector_field import DetectorField
from simulators.world import World

Table = dict[str, Any]


def field_of(archetype: str = "PRD", seed: int = 1, **tables: Any) -> DetectorField:
    own = {"id": "d", "archetype": archetype, "at": {"x": 0, "y": 0}} | tables.pop("own", {})
    base: Table = {"scenario": {"name": "test", "duration_s": 600}, "detector": [own]}
    return World(Scenario.model_validate(base | tables), seed).field("d")


# Archetype: background count rate at 0.10 µSv/h, neutrons.
BACKGROUNDS = {
    "PRD": (20, 0),
    "HH": (60, 0),
    "BP": (250, 0),
    "VEH": (2000, 0),
    "RPM": (2000, 2.5),
    "AREA": (0.2, 0),
}


@pytest.mark.parametrize("archetype", BACKGROUNDS)
@pytest.mark.parametrize("usv_h", [0.05, 0.10, 0.15])
def test_backgrounds_of_archetypes(archetype: str, usv_h: float) -> None:
    gamma, neutrons = BACKGROUNDS[archetype]
    field = field_of(archetype, background={"dose_rate": f"{usv_h} µSv/h"})
    assert field.dose_rate(9) == pytest.approx(usv_h)
    assert field.expected_gamma(0, 100) == pytest.approx(1000 * gamma * usv_h, rel=1e-4)
    assert field.expected_neutrons(0, 100) == pytest.approx(100 * neutrons)


# 14 mm within 15 min at PTB Braunschweig: 106 to 196 nSv/h. Then it falls by halves in 30 min.
RAIN = [(0, 106), (450, 151), (900, 196), (2700, 151), (4500, 128.5), (6300, 117.25), (1e6, 106)]


@pytest.mark.parametrize(("since", "nsv_h"), RAIN)
def test_the_rain_of_braunschweig(since: float, nsv_h: float) -> None:
    field = field_of(background={"dose_rate": "106 nSv/h"}, rain=[{"at_s": 100}])
    assert field.dose_rate(100 + since) == pytest.approx(nsv_h / 1000, abs=1e-5)


def test_what_rain_adds_in_all() -> None:
    """Half the rise for 900 s, then the rise times 1800 s / ln 2, as 200 counts per µSv."""
    field = field_of(background={"dose_rate": "106 nSv/h"}, rain=[{"at_s": 0}])
    dry = 0.106 * 200 * 40_000
    added = 0.090 * (450 + 1800 / math.log(2) * (1 - 2 ** (-39_100 / 1800))) * 200
    assert field.expected_gamma(0, 40_000) == pytest.approx(dry + added, rel=1e-6)
    assert field_of("RPM", rain=[{"at_s": 0}]).expected_neutrons(0, 900) == pytest.approx(2250)


def test_a_baseline_ratio_is_crossed_in_rain_when_it_is_said_to_be() -> None:
    """1.3 times the baseline 5.3 min into that ramp."""
    field = field_of(background={"dose_rate": "106 nSv/h"}, rain=[{"at_s": 0}])
    crossed = next(second for second in range(900) if field.dose_rate(second) > 1.3 * 0.106)
    assert crossed / 60 == pytest.approx(5.3, abs=0.05)


def test_showers_add_up() -> None:
    field = field_of(rain=[{"at_s": 0}, {"at_s": 900, "rise": "20 nSv/h", "rise_s": 100}])
    assert field.dose_rate(1000) == pytest.approx(0.1 + 0.09 * 2 ** (-100 / 1800) + 0.02)


# Neutrons. exp(−β·(p − p₀)); β is for the writer of a scenario: 0.7 % per hPa here.


@pytest.mark.parametrize(("hpa", "factor"), [(1013.25, 1.0), (1003.25, 1.07251), (1033.25, 0.86936),
                                             (983.25, 1.23368)])  # fmt: skip
def test_neutrons_depend_exponentially_on_pressure(hpa: float, factor: float) -> None:
    field = field_of("RPM", world={"neutrons_per_hpa": 0.007}, pressure=[{"t": 0, "hpa": hpa}])
    assert field.expected_neutrons(0, 1000) == pytest.approx(2500 * factor, rel=1e-5)
    assert field.expected_gamma(0, 10) == pytest.approx(20_000)


def test_a_falling_barometer_is_integrated_exactly() -> None:
    """From 1013.25 to 993.25 hPa in 1000 s: 2.5·(e^0.14 − 1)/0.14·1000, then e^0.14."""
    corners = [{"t": 100, "hpa": 1013.25}, {"t": 1100, "hpa": 993.25}]
    field = field_of("RPM", world={"neutrons_per_hpa": 0.007}, pressure=corners)
    rising = 2500 * math.expm1(0.14) / 0.14
    assert field.expected_neutrons(100, 1100) == pytest.approx(rising, rel=1e-12)
    assert field.expected_neutrons(0, 1200) == pytest.approx(
        250 + rising + 250 * math.exp(0.14), rel=1e-12
    )
    halves = field.expected_neutrons(100, 380) + field.expected_neutrons(380, 1100)
    assert halves == pytest.approx(rising, rel=1e-12)


def test_a_sea_level_of_ones_own() -> None:
    told = {"neutrons_per_hpa": 0.007, "reference_hpa": 900.0}
    field = field_of("RPM", world=told, pressure=[{"t": 0, "hpa": 900.0}])
    assert field.expected_neutrons(0, 10) == pytest.approx(25)


def test_city_buildings_may_cut_neutrons_by_more_than_half() -> None:
    """A vehicle through a street canyon at 10 m/s; gamma doubles between granite."""
    canyon = {"x_min": 100, "x_max": 300, "y_min": -10, "y_max": 10, "factor": 2,
              "neutron_factor": 0.4}  # fmt: skip
    drive = {"at": None, "path": [{"t": 0, "x": 0, "y": 0}, {"t": 60, "x": 600, "y": 0}],
             "neutron_background_rate": "5 cps"}  # fmt: skip
    field = field_of("VEH", own=drive, zone=[canyon])
    assert field.expected_neutrons(0, 10) == pytest.approx(50)
    assert field.expected_neutrons(10, 30) == pytest.approx(40)
    assert field.expected_neutrons(0, 60) == pytest.approx(5 * (40 + 0.4 * 20))
    assert field.expected_gamma(9, 31) == pytest.approx(2000 * (2 + 2 * 20))


def test_a_road_is_no_poisson_source() -> None:
    """With 6 % of drift 2000 counts a second scatter by 1 + 0.06²·2000 = 8.2 times the mean."""
    field = field_of("VEH", own={"drift": {"variation": 0.06, "times_s": [1.0]}})
    drawn = [field.gamma_counts(at, at + 0.25) for at in range(0, 16_000, 8)]
    mean = sum(drawn) / len(drawn)
    variance = sum((each - mean) ** 2 for each in drawn) / (len(drawn) - 1)
    assert mean == pytest.approx(500, rel=0.01)
    assert variance / mean == pytest.approx(1 + 0.06**2 * 500, rel=0.15)
