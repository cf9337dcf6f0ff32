"""How many false alarms may be raised, by consequence, and each channel's part of it.

The load that an operator can bear is about one alarm in ten minutes (Bransby & Jenkinson 1998);
a tenth of that, 0.6 per hour, may be our own false alarms. Neutron alarms have a budget for the
whole event. Levels R4 and above need none: no background reaches them. A gateway has its share of
each, and its channels share evenly.
"""

from dataclasses import dataclass
from typing import Final

RISE_PART: Final = 0.6
RATIO_PART: Final = 0.2
LEVELS_PART: Final = 0.2
"""How the budget of rises is split: R1, R2, absolute levels judged by counts. Own choice."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Budgets of the whole fleet and this gateway's ``share`` of them, above 0 and up to 1."""

    rises_per_hour: float = 0.6
    neutrons_per_event: float = 1.0
    event_h: float = 24.0
    share: float = 1.0
    operators: int = 1

    @property
    def neutrons_per_hour(self) -> float:
        """False neutron alarms per hour of the whole fleet."""
        return self.neutrons_per_event / self.event_h


DEFAULT_BUDGET: Final = Budget()


@dataclass(frozen=True, slots=True)
class Shares:
    """What one channel may spend, in false alarms per hour."""

    rise: float
    ratio: float
    levels: float
    neutron: float


def shares(budget: Budget, gamma_channels: int, neutron_channels: int) -> Shares:
    """One channel's part, where so many channels share the gateway's."""
    each = budget.rises_per_hour * budget.share / max(gamma_channels, 1)
    neutrons = budget.neutrons_per_hour * budget.share / max(neutron_channels, 1)
    return Shares(RISE_PART * each, RATIO_PART * each, LEVELS_PART * each, neutrons)
