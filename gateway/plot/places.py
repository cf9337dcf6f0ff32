"""Where things were: one plan in metres made of ways, posts, positions and alarms. Pure."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gateway.plot.values import Alarm, DetectorStory, Globe, Place, Stage, Story, Way, Zone

_EQUATOR_M: Final = 6_378_137.0  # WGS84
_ECCENTRICITY_2: Final = 6.694_379_990_14e-3
STANDS_M: Final = 3.0
"""Own choice: positions of an instrument that differ by less are one place."""


@dataclass(frozen=True, slots=True)
class Raised:
    """Where an alarm was raised."""

    at: Place
    detector: str
    grade: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A map. ``origin`` is where its zero lies; ``unplaced``: alarms of which no place is known."""

    posts: tuple[Way, ...]
    detectors: tuple[Way, ...]
    sources: tuple[Way, ...]
    zones: tuple[Zone, ...]
    alarms: tuple[Raised, ...]
    origin: Globe | None
    unplaced: int

    @property
    def is_empty(self) -> bool:
        """Whether it would show no more than one place."""
        ways = (*self.posts, *self.detectors, *self.sources)
        places = {place for way in ways for place in way.places}
        return len(places | {raised.at for raised in self.alarms}) < 2


def plan_of(story: Story, stage: Stage) -> Plan:
    """The map of a story; the scenario's own places where there is one, else what was measured."""
    origin = stage.origin or _first_fix(story)
    known = {way.name: way for way in stage.detectors}
    told = {each.id for each in story.detectors}
    ways = [known.get(each.id) or _measured(each, origin) for each in story.detectors]
    posts = {each.post for each in story.detectors}
    alarms, unplaced = [], 0
    for alarm in story.alarms:
        if alarm.is_hidden or alarm.detector not in told:
            continue
        at = _raised_at(alarm, known, origin)
        if at is None:
            unplaced += 1
        else:
            alarms.append(Raised(at, alarm.detector, alarm.grade))
    return Plan(
        tuple(post for post in stage.posts if post.name in posts or not told),
        tuple(way for way in ways if way is not None),
        stage.sources,
        stage.zones,
        tuple(alarms),
        origin,
        unplaced,
    )


def metres(origin: Globe, at: Globe) -> Place:
    """Local metres from WGS84: the ellipsoid's radii at the origin, good for some kilometres."""
    latitude = math.radians(origin.latitude)
    flat = 1 - _ECCENTRICITY_2 * math.sin(latitude) ** 2
    north_m = _EQUATOR_M * (1 - _ECCENTRICITY_2) / flat**1.5
    east_m = _EQUATOR_M / math.sqrt(flat) * math.cos(latitude)
    return Place(
        math.radians(at.longitude - origin.longitude) * east_m,
        math.radians(at.latitude - origin.latitude) * north_m,
    )


def spread(places: Iterable[Place]) -> float:
    """The longer side of the rectangle around them, in m."""
    there = list(places)
    if not there:
        return 0.0
    xs, ys = [each.x for each in there], [each.y for each in there]
    return max(max(xs) - min(xs), max(ys) - min(ys))


def _first_fix(story: Story) -> Globe | None:
    fixes = (fix for each in story.detectors for fix in each.fixes)
    first = min(fixes, key=lambda fix: fix.time, default=None)
    if first is not None:
        return first.at
    return next((alarm.at for alarm in story.alarms if alarm.at is not None), None)


def _measured(detector: DetectorStory, origin: Globe | None) -> Way | None:
    """The way that an instrument told of itself; its corners are its own positions."""
    if origin is None or not detector.fixes:
        return None
    places = [metres(origin, fix.at) for fix in detector.fixes]
    if spread(places) < STANDS_M:
        return Way(detector.id, (detector.fixes[0].time,), (places[0],))
    times = tuple(fix.time for fix in detector.fixes)
    return Way(detector.id, times, tuple(places))


def _raised_at(alarm: Alarm, known: dict[str, Way], origin: Globe | None) -> Place | None:
    """Where a scenario has it stand, else its own position then, else where a scenario moved it."""
    way = known.get(alarm.detector)
    if way is not None and len(way.places) == 1:
        return way.places[0]
    if alarm.at is not None and origin is not None:
        return metres(origin, alarm.at)
    return None if way is None else way.at(alarm.raised)
