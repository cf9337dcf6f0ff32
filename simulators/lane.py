"""Who is in a portal's lane when, and what that hides or adds."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from config.scenario_world import Occupancy, Vehicle


@dataclass(frozen=True, slots=True)
class Stay:
    """One occupancy: times in s, added rates in 1/s between ``cargo_from_s`` and ``cargo_to_s``."""

    from_s: float
    to_s: float
    speed_m_s: float | None = None
    suppression: float = 0.0
    gamma_cps: float = 0.0
    neutron_cps: float = 0.0
    cargo_from_s: float = 0.0
    cargo_to_s: float = 0.0

    def shifted(self, seconds: float) -> "Stay":
        """The same, later."""
        return Stay(
            self.from_s + seconds,
            self.to_s + seconds,
            self.speed_m_s,
            self.suppression,
            self.gamma_cps,
            self.neutron_cps,
            self.cargo_from_s + seconds,
            self.cargo_to_s + seconds,
        )


@dataclass(frozen=True, slots=True)
class Train:
    """A stay that is repeated ``count`` times, every ``every_s``."""

    first: Stay
    count: int = 1
    every_s: float = math.inf

    def within(self, from_s: float, to_s: float) -> Iterator[Stay]:
        """The stays that touch an interval (its beginning included, its end not)."""
        first, every_s = self.first, self.every_s
        if self.count == 1:
            if first.from_s <= to_s and from_s < first.to_s:
                yield first
            return
        lowest = max(math.floor((from_s - first.to_s) / every_s), 0)
        highest = min(math.floor((to_s - first.from_s) / every_s), self.count - 1)
        for index in range(lowest, highest + 1):
            later_s = index * every_s
            if first.from_s + later_s <= to_s and from_s < first.to_s + later_s:
                yield first.shifted(later_s)


@dataclass(slots=True)
class Lane:
    """All stays in one portal's lane."""

    trains: list[Train] = field(default_factory=list)

    def stays(self, from_s: float, to_s: float) -> list[Stay]:
        """The stays that touch an interval."""
        return [stay for train in self.trains for stay in train.within(from_s, to_s)]

    def at(self, time_s: float) -> Stay | None:
        """The stay at a time, the latest of several."""
        found = [stay for stay in self.stays(time_s, time_s) if stay.from_s <= time_s]
        return max(found, key=lambda stay: stay.from_s, default=None)


def suppression(stays: Sequence[Stay], time_s: float) -> float:
    """Part of the background that is hidden at a time."""
    hidden = 0.0
    for stay in stays:
        if stay.suppression > hidden and stay.from_s <= time_s < stay.to_s:
            hidden = stay.suppression
    return hidden


def visible(
    stays: Sequence[Stay], from_s: float, to_s: float
) -> Iterator[tuple[float, float, float]]:
    """The interval in pieces: from, to, part of the background that is seen."""
    edges = {edge for stay in stays if stay.suppression for edge in (stay.from_s, stay.to_s)}
    times = [from_s, *sorted(edge for edge in edges if from_s < edge < to_s), to_s]
    for start, end in pairwise(times):
        yield start, end, 1.0 - suppression(stays, (start + end) / 2)


def cargo(stays: Sequence[Stay], from_s: float, to_s: float) -> tuple[float, float]:
    """Gamma and neutron counts that cargo adds in an interval, on average."""
    gamma = neutron = 0.0
    for stay in stays:
        seconds = min(to_s, stay.cargo_to_s) - max(from_s, stay.cargo_from_s)
        gamma += stay.gamma_cps * max(seconds, 0.0)
        neutron += stay.neutron_cps * max(seconds, 0.0)
    return gamma, neutron


def train_of(occupancy: Occupancy) -> Train:
    """A scenario's occupancy; its cargo lies in the middle."""
    length = occupancy.length_s
    margin = max(length - (occupancy.cargo_s or length), 0.0) / 2
    start, end = occupancy.at_s, occupancy.at_s + length
    stay = Stay(
        start,
        end,
        occupancy.speed,
        occupancy.suppression,
        occupancy.gamma_rate,
        occupancy.neutron_rate,
        start + margin,
        end - margin,
    )
    repeat = occupancy.repeat
    return Train(stay, repeat.count, repeat.every_s) if repeat else Train(stay)


def stay_of(vehicle: Vehicle) -> Stay:
    """A scenario's vehicle: in the lane from its front to its rear."""
    half = vehicle.length_m / vehicle.speed / 2
    return Stay(vehicle.at_s - half, vehicle.at_s + half, vehicle.speed, vehicle.suppression)
