"""Where things are: straight, even pieces, on which an inverse square integrates exactly."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from config.scenario_world import Pass, Point, Waypoint, Zone
from drivers.api import Position

Vector = tuple[float, float, float]

_EQUATOR_M = 6_378_137.0  # WGS84
_ECCENTRICITY_2 = 6.694_379_990_14e-3


@dataclass(frozen=True, slots=True)
class Track:
    """Positions in metres at rising times in s; at rest before the first and after the last."""

    times: tuple[float, ...]
    points: tuple[Vector, ...]

    @property
    def is_still(self) -> bool:
        """Whether it never moves."""
        return len(self.times) == 1

    def at(self, time_s: float) -> Vector:
        """Where it is."""
        if len(self.times) == 1:
            return self.points[0]
        index = bisect_right(self.times, time_s)
        if index == 0:
            return self.points[0]
        if index == len(self.times):
            return self.points[-1]
        start, end = self.times[index - 1], self.times[index]
        share = (time_s - start) / (end - start)
        first, last = self.points[index - 1], self.points[index]
        return _between(first, last, share)

    def is_straight(self, from_s: float, to_s: float) -> bool:
        """Whether it turns, starts or stops nowhere inside an interval."""
        times = self.times
        if len(times) == 1:
            return True
        return bisect_right(times, from_s) >= bisect_left(times, to_s)

    def rests(self, from_s: float, to_s: float) -> bool:
        """Whether it does not move at all inside an interval."""
        times, points = self.times, self.points
        if len(times) == 1:
            return True
        first = max(bisect_right(times, from_s) - 1, 0)
        last = min(bisect_left(times, to_s), len(times) - 1)
        return all(point == points[first] for point in points[first + 1 : last + 1])

    def speed(self, time_s: float) -> float:
        """How fast it moves, in m/s."""
        index = bisect_right(self.times, time_s)
        if index in (0, len(self.times)):
            return 0.0
        way = math.dist(self.points[index - 1], self.points[index])
        return way / (self.times[index] - self.times[index - 1])


def beside(track: Track, heading_deg: float, metres: float) -> Track:
    """The same way, so many metres further along a heading."""
    heading = math.radians(heading_deg)
    east, north = math.sin(heading) * metres, math.cos(heading) * metres
    return Track(track.times, tuple((x + east, y + north, z) for x, y, z in track.points))


def still(point: Point) -> Track:
    """Somewhere for ever."""
    return Track((0.0,), ((point.x, point.y, point.z),))


def through(waypoints: Sequence[Waypoint]) -> Track:
    """From point to point."""
    return Track(
        tuple(point.t for point in waypoints),
        tuple((point.x, point.y, point.z) for point in waypoints),
    )


def passing(past: Vector, course: Pass, span_s: float, late_s: float = 0.0) -> Track:
    """A straight line beside a point, for ``span_s`` before and after the closest approach.

    It comes ``late_s`` late. Where it stays at the closest point, it leaves that much later.
    """
    heading = math.radians(course.heading_deg)
    east, north = math.sin(heading), math.cos(heading)
    x, y, z = past
    x, y = x - north * course.closest_m, y + east * course.closest_m
    way = course.speed * span_s
    begin, end = (x - east * way, y - north * way, z), (x + east * way, y + north * way, z)
    comes_s = course.at_s + late_s
    if not course.stay_s:
        return Track((comes_s - span_s, comes_s + span_s), (begin, end))
    leaves_s = comes_s + course.stay_s
    return Track(
        (comes_s - span_s, comes_s, leaves_s, leaves_s + span_s),
        (begin, (x, y, z), (x, y, z), end),
    )


def near_times(one: Track, other: Track, metres: float) -> tuple[float, float] | None:
    """From when to when they are nearer than that, with all between; None for never."""
    corners = sorted({*one.times, *other.times})
    found: list[float] = []
    if _square(_apart(one, other, corners[0])) <= metres**2:
        found.append(-math.inf)
    for start, end in pairwise(corners):
        ways = _apart(one, other, start), _apart(one, other, end)
        found += [start + share * (end - start) for share in _shares_within(*ways, metres)]
    if _square(_apart(one, other, corners[-1])) <= metres**2:
        found.append(math.inf)
    return (min(found), max(found)) if found else None


def zone_edges(track: Track, zones: Sequence[Zone]) -> tuple[float, ...]:
    """Every time at which a track may cross a border of a zone, in order."""
    found = set()
    for (start, first), (end, last) in pairwise(zip(track.times, track.points, strict=True)):
        for zone in zones:
            for axis, borders in ((0, (zone.x_min, zone.x_max)), (1, (zone.y_min, zone.y_max))):
                way = last[axis] - first[axis]
                shares = [(border - first[axis]) / way for border in borders] if way else []
                found |= {start + share * (end - start) for share in shares if 0 <= share <= 1}
    return tuple(sorted(found))


def is_inside(place: Vector, zone: Zone) -> bool:
    """Whether a place lies in a zone, its lower borders included."""
    x, y, _ = place
    return zone.x_min <= x < zone.x_max and zone.y_min <= y < zone.y_max


def pieces(
    one: Track, other: Track, from_s: float, to_s: float
) -> Iterator[tuple[float, Vector, Vector]]:
    """The way from ``one`` to ``other`` as straight pieces: seconds, first and last vector."""
    corners = {time for track in (one, other) for time in track.times if from_s < time < to_s}
    times = [from_s, *sorted(corners), to_s]
    for start, end in pairwise(times):
        yield end - start, _apart(one, other, start), _apart(one, other, end)


def inverse_square(seconds: float, first: Vector, last: Vector, guard_m: float) -> float:
    """∫ dt / r² in s/m² along a straight piece; nearer than ``guard_m`` counts as there.

    Outside the guard it is the angle under which the piece is seen, over |first x last|.
    """
    x, y, z = first
    along, across, up = last[0] - x, last[1] - y, last[2] - z
    east, north, high = y * up - z * across, z * along - x * up, x * across - y * along
    twice_area = math.sqrt(east * east + north * north + high * high)
    way = math.sqrt(along * along + across * across + up * up)
    if twice_area > guard_m * way:
        cosine = x * last[0] + y * last[1] + z * last[2]
        return seconds * math.atan2(twice_area, cosine) / twice_area
    return _close_by(seconds, first, last, guard_m)


def nearest(first: Vector, last: Vector) -> float:
    """The shortest distance from the origin to a straight piece, in m."""
    x, y, z = first
    along, across, up = last[0] - x, last[1] - y, last[2] - z
    square = along * along + across * across + up * up
    share = 0.0
    if square > 1e-18:
        share = min(max(-(x * along + y * across + z * up) / square, 0.0), 1.0)
    return math.sqrt(_square((x + share * along, y + share * across, z + share * up)))


def globe(origin: tuple[float, float], place: Vector) -> Position:
    """WGS84 from local metres: the ellipsoid's radii at the origin, good for some kilometres."""
    latitude, longitude = origin
    sine = math.sin(math.radians(latitude))
    flat = 1 - _ECCENTRICITY_2 * sine**2
    north_m = _EQUATOR_M * (1 - _ECCENTRICITY_2) / flat**1.5
    east_m = _EQUATOR_M / math.sqrt(flat) * math.cos(math.radians(latitude))
    return Position(
        latitude + math.degrees(place[1] / north_m),
        longitude + math.degrees(place[0] / east_m),
    )


def _close_by(seconds: float, first: Vector, last: Vector, guard_m: float) -> float:
    """The same where the line itself comes nearer than the guard."""
    way = math.dist(first, last)
    if way < 1e-9:
        return seconds / max(_square(first), guard_m**2)
    start = sum(a * (b - a) for a, b in zip(first, last, strict=True)) / way
    closest = math.sqrt(max(_square(first) - start**2, 0.0))
    edge = math.sqrt(max(guard_m**2 - closest**2, 0.0))
    end = start + way
    inside = max(min(end, edge) - max(start, -edge), 0.0)
    total = inside / guard_m**2
    total += _tail(max(start, edge), end, closest) + _tail(max(-end, edge), -start, closest)
    return total * seconds / way


def _tail(start: float, end: float, closest: float) -> float:
    """∫ ds / (closest² + s²) for 0 <= start; nothing when the piece ends before it."""
    if end <= start:
        return 0.0
    if closest < 1e-6 * start:
        return 1 / start - 1 / end
    return (math.atan(end / closest) - math.atan(start / closest)) / closest


def _square(vector: Vector) -> float:
    x, y, z = vector
    return x * x + y * y + z * z


def _between(first: Vector, last: Vector, share: float) -> Vector:
    x, y, z = first
    return x + (last[0] - x) * share, y + (last[1] - y) * share, z + (last[2] - z) * share


def _shares_within(first: Vector, last: Vector, metres: float) -> tuple[float, ...]:
    """Where a straight piece comes into a sphere about the origin and leaves it, 0 to 1."""
    x, y, z = first
    along, across, up = last[0] - x, last[1] - y, last[2] - z
    square = along * along + across * across + up * up
    outside = _square(first) - metres**2
    if square <= 1e-18:
        return () if outside > 0 else (0.0, 1.0)
    middle = -(x * along + y * across + z * up) / square
    half_2 = middle * middle - outside / square
    if half_2 < 0:
        return ()
    half = math.sqrt(half_2)
    enters, leaves = max(middle - half, 0.0), min(middle + half, 1.0)
    return (enters, leaves) if enters <= leaves else ()


def _apart(one: Track, other: Track, time_s: float) -> Vector:
    x, y, z = one.at(time_s)
    there = other.at(time_s)
    return there[0] - x, there[1] - y, there[2] - z
