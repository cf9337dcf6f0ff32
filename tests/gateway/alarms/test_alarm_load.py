"""The load of alarms to expect: bounds by kind, their total, and what it means for operators."""

import pytest

from gateway.alarms.budget import Budget
from gateway.alarms.classes import ClassDefaults
from gateway.alarms.load import expected_load, per_operator
from gateway.alarms.profiles import AlarmSettings, DetectorProfile

PORTAL = DetectorProfile("gate", "Portal Monitor")


def fleet(number, **keys):
    return [DetectorProfile(f"hh-{index}", "Gamma Handheld", **keys) for index in range(number)]


def by_kind(profiles, **budget):
    loads = expected_load(profiles, AlarmSettings(Budget(**budget)))
    assert loads[-1].kind == "total"
    return {load.kind: load for load in loads}


def test_the_budget_is_the_fleets_however_large_it_is():
    for number in (1, 50):
        loads = by_kind(fleet(number))
        rises = sum(loads[kind].per_hour for kind in ("R1 rise", "R2 ratio", "levels by counts"))
        assert rises == pytest.approx(0.6)
        assert loads["N1 neutrons"].per_hour == pytest.approx(1 / 24)


def test_a_gateway_has_its_share():
    half = by_kind(fleet(3), share=0.5)
    whole = by_kind(fleet(3))
    for kind in ("R1 rise", "N1 neutrons"):
        assert half[kind].per_hour == pytest.approx(whole[kind].per_hour / 2)


def test_portals_decide_by_themselves():
    loads = by_kind([PORTAL, PORTAL])
    assert loads["portals"].per_hour is None
    assert "2 portals" in loads["portals"].basis
    assert "1 in 1000 passages" in loads["portals"].basis
    assert "R1 rise" not in loads
    assert loads["total"].per_hour < 1e-4


def test_technical_alarms_by_chance():
    """Two tests of 10⁻⁹ for each reading."""
    loads = by_kind(fleet(10))
    assert loads["technical"].per_hour == pytest.approx(10 * 2 * 3600e-9)
    slow = by_kind(fleet(10, sampling_s=5.0))
    assert slow["technical"].per_hour == pytest.approx(10 * 2 * 720e-9)


def test_the_total_and_what_it_is_for_each_operator():
    loads = by_kind(fleet(10), operators=2)
    parts = [load.per_hour for kind, load in loads.items() if kind != "total"]
    assert loads["total"].per_hour == pytest.approx(sum(parts))
    assert per_operator(6.0, 1) == pytest.approx(1.0)
    assert per_operator(6.0, 2) == pytest.approx(0.5)
    assert "0.053 in ten minutes for each of 2 operators" in loads["total"].basis


def test_what_moves_is_named():
    van = DetectorProfile("van", "Mobile System", ways=ClassDefaults(platform="vehicle"))
    assert "1 on the move" in by_kind([*fleet(2), van])["R1 rise"].basis
    assert "move" not in by_kind(fleet(2))["R1 rise"].basis


def test_nobody_raises_nothing():
    (total,) = expected_load((), AlarmSettings())
    assert total.per_hour == 0
