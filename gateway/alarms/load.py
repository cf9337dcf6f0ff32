"""How many alarms a fleet raises by itself, with no source near: per hour, by kind.

Bounds, not forecasts: exact tests stay below their budget, and what operators see beside them are
real sources and real faults. Of real sources there were 1 per 27 400 people at London 2012 and 1
per 34 400 passengers at Madrid airport.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from gateway.alarms.budget import LEVELS_PART, RATIO_PART, RISE_PART, Budget
from gateway.alarms.profiles import AlarmSettings, DetectorProfile
from gateway.alarms.technical import LOSS_PROBABILITY

PORTAL_FALSE: Final = 1 / 1000
"""What standards permit a portal to raise by itself per occupancy (ANSI N42.35, IEC 62244)."""
TARGET: Final = 1.0
"""Alarms per operator in ten minutes that are very likely acceptable (EEMUA 191)."""
TOTAL: Final = "total"
_TEN_MINUTES_H: Final = 1 / 6
_FROZEN_AND_LOST: Final = 2
"""Two tests a reading: whether counts are lost, and whether they are frozen."""


@dataclass(frozen=True, slots=True)
class Load:
    """Alarms of one kind; ``per_hour`` is None where it hangs on what the gateway cannot know."""

    kind: str
    per_hour: float | None
    basis: str


def expected_load(
    profiles: Collection[DetectorProfile], settings: AlarmSettings
) -> tuple[Load, ...]:
    """The load of this fleet, its total last."""
    counting = [profile for profile in profiles if not profile.is_portal]
    portals = len(profiles) - len(counting)
    loads = [*_budgeted(counting, settings.budget)]
    if portals:
        basis = (
            f"{_of(portals, 'portal')}: their own decision, as set up; "
            f"{PORTAL_FALSE * 1000:g} in 1000 passages is permitted"
        )
        loads.append(Load("portals", None, basis))
    if profiles:
        loads.append(_technical(profiles))
    total = sum(load.per_hour for load in loads if load.per_hour is not None)
    each = per_operator(total, settings.budget.operators)
    of_operators = _of(settings.budget.operators, "operator")
    basis = f"{each:.2g} in ten minutes for each of {of_operators}; at most {TARGET:g} is bearable"
    return (*loads, Load(TOTAL, total, basis))


def per_operator(per_hour: float, operators: int) -> float:
    """Alarms in ten minutes for each operator."""
    return per_hour * _TEN_MINUTES_H / max(operators, 1)


def _budgeted(counting: list[DetectorProfile], budget: Budget) -> list[Load]:
    """Upper bounds: a test never raises more than its share."""
    if not counting:
        return []
    rises = budget.rises_per_hour * budget.share
    among = f"at most, shared by {_of(len(counting), 'detector')}"
    moving = sum(profile.ways.platform != "static" for profile in counting)
    road = f"; {moving} on the move: none in 40 simulated hours of road" if moving else ""
    return [
        Load("R1 rise", RISE_PART * rises, among + road),
        Load("R2 ratio", RATIO_PART * rises, f"{among}; only where a baseline was surveyed"),
        Load("levels by counts", LEVELS_PART * rises, f"{among}; a true dose rate raises none"),
        Load("N1 neutrons", budget.neutrons_per_hour * budget.share, among),
    ]


def _technical(profiles: Collection[DetectorProfile]) -> Load:
    tests = sum(_FROZEN_AND_LOST * 3600.0 / (profile.sampling_s or 1.0) for profile in profiles)
    basis = f"by chance {LOSS_PROBABILITY:g} a test; silence and faults are real"
    return Load("technical", LOSS_PROBABILITY * tests, basis)


def _of(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
