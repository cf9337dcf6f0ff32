"""A crowd at the gates: its occupancies, and who of it carries a nuclide."""

from collections.abc import Iterator
from random import Random
from typing import Final

from config.scenario_world import Crowd, Pass, Source
from simulators.lane import Stay, Train

FAR_M: Final = 100.0
"""A carrier is on stage from so far before a portal to so far behind it; own choice."""


def trains_of(crowd: Crowd) -> Iterator[tuple[str, Train]]:
    """Each portal with its part of the people, evenly spread and one portal after the other."""
    gap_s = (crowd.to_s - crowd.from_s) / crowd.people
    portals = len(crowd.portals)
    for index, portal in enumerate(crowd.portals):
        people = (crowd.people - index + portals - 1) // portals
        if people:
            begin = crowd.from_s + index * gap_s
            stay = Stay(begin, begin + crowd.length_s, crowd.speed)
            yield portal, Train(stay, people, portals * gap_s)


def carriers(crowd: Crowd, number: int, rng: Random) -> Iterator[Source]:
    """Patients among the people, drawn one by one, each past his portal's middle."""
    gap_s = (crowd.to_s - crowd.from_s) / crowd.people
    for person in range(crowd.people):
        if rng.random() < crowd.carriers:
            portal = crowd.portals[person % len(crowd.portals)]
            middle_s = crowd.from_s + person * gap_s + crowd.length_s / 2
            yield _carrier(crowd, f"crowd{number}-{person}", portal, middle_s)


def _carrier(crowd: Crowd, name: str, portal: str, at_s: float) -> Source:
    """Valid by construction: amounts are held in base units already."""
    far_s = FAR_M / crowd.speed
    course = Pass.model_construct(
        past=portal,
        closest_m=crowd.closest_m,
        speed=crowd.speed,
        at_s=at_s,
        heading_deg=crowd.heading_deg,
        stay_s=0.0,
        jitter_s=0.0,
    )
    return Source.model_construct(
        id=name,
        nuclide=crowd.nuclide,
        activity=crowd.activity,
        kind="patient",
        shielding=crowd.shielding,
        passing=course,
        appears_s=max(at_s - far_s, 0.0),
        leaves_s=at_s + far_s,
        enters_lanes=False,
    )
