"""Alarms that may come from one event: near each other in time and place. A suggestion only.

Alarms are never merged, hidden or closed by it. Two radiation alarms of different detectors are
linked when they were raised within a minute and stand within 100 m of each other, or belong to
one post or zone, or nobody knows where one of them stands; ten within ten seconds are linked
wherever they are, as by an exposed radiography source. An identification is linked with the other
alarms of its own detector as well. What turns out to belong together becomes one incident, the
first of them. Distances and times are our own choice.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

from gateway.alarms import handling
from gateway.alarms.homes import Home, Homes
from gateway.alarms.profiles import DetectorProfile, metres
from gateway.alarms.record import AlarmEvent, AlarmRecord, Change
from gateway.values import Instant

WITHIN_S: Final = 60.0
NEAR_M: Final = 100.0
MANY: Final = 10
MANY_WITHIN_S: Final = 10.0
ELSEWHERE_M: Final = 100_000.0
"""Two places of one event are never so far apart: one is on a site plan, the other on the globe."""
KEPT: Final = 1000
EARTH_M: Final = math.degrees(111_320.0)
"""The radius that belongs to the length of a degree that places are counted with."""
_IDENTIFIED: Final = "nuclide"
_THREAT: Final = "I1"
_GRAVE: Final = frozenset({_THREAT, "N1"})
Place = tuple[float, float]
Linked = list[tuple[Home, Change]]


@dataclass(frozen=True, slots=True)
class _Raised:
    occurrence: str
    detector: str
    alarm: str
    at: float
    exercise: bool
    place: Place | None
    post: str | None
    zone: str | None


class Incidents:
    """Remembers what was raised lately and links what fits together."""

    def __init__(self) -> None:
        self._recent: deque[_Raised] = deque(maxlen=KEPT)
        self._incident: dict[str, str] = {}

    def note(self, change: Change, home: Home, homes: Homes) -> Linked:
        """The links that a raised radiation alarm makes."""
        record = change.record
        if change.event is AlarmEvent.ESCALATED and record.incident and record.level == _THREAT:
            return self._corroborate(record.incident, change.at, homes)
        if change.event is not AlarmEvent.RAISED or not record.is_radiation:
            return []
        if record.detector.startswith("@"):
            return []
        mine = _raised(record, home.book.profile)
        lately = [one for one in self._lately(mine.at) if one.exercise is mine.exercise]
        many = _at_once(mine, lately)
        partners = [one for one in lately if one.occurrence in many or _fits(mine, one)]
        self._recent.append(mine)
        if not partners:
            return []
        return self._link([*partners, mine], change.at, homes)

    def _lately(self, at: float) -> list[_Raised]:
        while self._recent and (at - self._recent[0].at > WITHIN_S or len(self._recent) >= KEPT):
            old = self._recent.popleft()
            self._incident.pop(old.occurrence, None)
        return [one for one in self._recent if abs(at - one.at) <= WITHIN_S]

    def _link(self, members: list[_Raised], at: Instant, homes: Homes) -> Linked:
        names = [one.occurrence for one in members]
        known = {self._incident[name] for name in names if name in self._incident}
        names += [name for name, incident in self._incident.items() if incident in known]
        oldest = next((one for one in self._incident.values() if one in known), None)
        incident = oldest or f"inc-{names[0]}"
        linked: Linked = []
        for occurrence in dict.fromkeys(names):
            if self._incident.get(occurrence) == incident:
                continue
            self._incident[occurrence] = incident
            found = homes.find(occurrence)
            if found is not None:
                home, record = found
                changes = home.book.apply(record.alarm, handling.linked(record, incident), at)
                linked += [(home, change) for change in changes]
        return linked + self._corroborate(incident, at, homes)

    def _corroborate(self, incident: str, at: Instant, homes: Homes) -> Linked:
        """Two instruments that name a threat, or one and a neutron alarm on another."""
        names = [name for name, one in self._incident.items() if one == incident]
        found = [where for name in names if (where := homes.find(name)) is not None]
        grave = [(home, one) for home, one in found if one.level in _GRAVE]
        if len({record.detector for _, record in grave}) < 2:
            return []
        note = "a second instrument says so too"
        return [
            (home, change)
            for home, record in grave
            if record.level == _THREAT
            for change in home.book.apply(record.alarm, handling.worsened(record, 1, at), at, note)
        ]


def _at_once(mine: _Raised, lately: list[_Raised]) -> frozenset[str]:
    """The occurrences of ten seconds, if they are of ten detectors: wherever they are."""
    near = [one for one in lately if abs(mine.at - one.at) <= MANY_WITHIN_S]
    detectors = {one.detector for one in near} | {mine.detector}
    return frozenset(one.occurrence for one in near if len(detectors) >= MANY)


def _fits(mine: _Raised, other: _Raised) -> bool:
    if mine.detector == other.detector:
        return _IDENTIFIED in (mine.alarm, other.alarm)
    if mine.place is None or other.place is None:
        return True
    if mine.post is not None and mine.post == other.post:
        return True
    if mine.zone is not None and mine.zone == other.zone:
        return True
    distance_m = distance(mine.place, other.place)
    return distance_m <= NEAR_M or distance_m > ELSEWHERE_M


def distance(one: Place, other: Place) -> float:
    """Metres between two places in metres east and north of 0° 0°, or of a corner of a plan.

    Metres east grow with the cosine of the latitude, far from 0° by more than a detector's way.
    """
    latitude, other_latitude = one[1] / EARTH_M, other[1] / EARTH_M
    east = one[0] / math.cos(latitude) - other[0] / math.cos(other_latitude)
    return math.hypot(east * math.cos((latitude + other_latitude) / 2), one[1] - other[1])


def _raised(record: AlarmRecord, profile: DetectorProfile) -> _Raised:
    place = None
    if record.position is not None:
        place = metres(record.position.latitude, record.position.longitude)
    elif profile.x_m is not None and profile.y_m is not None:
        place = (profile.x_m, profile.y_m)
    return _Raised(
        record.occurrence,
        record.detector,
        record.alarm,
        record.annunciated_at.mono,
        record.exercise,
        place,
        record.post,
        profile.zone,
    )
