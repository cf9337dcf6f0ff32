"""Who is in a portal's lane when, and what that hides or adds."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from config.scenario_world import Occupancy, Vehicle
from drivers.quick import quick


@quick(frozen=True, slots=True)
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


_Asked = tuple[float, float, tuple[Stay, ...]]
_NOTHING: Final[_Asked] = (math.nan, math.nan, ())


@dataclass(slots=True)
class Lane:
    """All stays in one portal's lane; asked for the same twice in a row, they are found once."""

    trains: tuple[Train, ...] = ()
    _asked: _Asked = _NOTHING

    def add(self, train: Train) -> None:
        """More stays."""
        self.trains, self._asked = (*self.trains, train), _NOTHING

    def block(self, at_s: float) -> None:
        """Something stops and stays."""
        self.add(Train(Stay(at_s, math.inf)))

    def unblock(self, at_s: float) -> None:
        """What stopped goes."""
        self.trains = tuple(
            Train(Stay(train.first.from_s, at_s)) if math.isinf(train.first.to_s) else train
            for train in self.trains
        )
        self._asked = _NOTHING

    def stays(self, from_s: float, to_s: float) -> tuple[Stay, ...]:
        """The stays that touch an interval."""
        asked = self._asked
        if asked[0] != from_s or asked[1] != to_s:
            found = tuple([stay for train in self.trains for stay in train.within(from_s, to_s)])
            asked = self._asked = (from_s, to_s, found)
        return asked[2]

    def at(self, time_s: float) -> Stay | None:
        """The stay at a time, the latest of several."""
        latest: Stay | None = None
        for train in self.trains:
            for stay in train.within(time_s, time_s):
                if stay.from_s <= time_s and (latest is None or stay.from_s > latest.from_s):
                    latest = stay
        return latest


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
        if not stay.gamma_cps and not stay.neutron_cps:
            continue
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
