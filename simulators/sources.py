"""Point sources and lines of them: dose rate H = Γ·A/r² at a detector, now and integrated."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from config.nuclides import NUCLIDES, SELF_SHIELDING
from config.scenario_world import Pass, Source, Xray
from simulators.air import Left, inverse_square_in_air, left_by_air
from simulators.motion import Track, Vector, beside, inverse_square, nearest, pieces, still

GUARD_M = 0.01
"""No detector gets nearer than this: a point source has no field at 0 m."""
_NEAR_M: Final = 1.0
"""How near one may come to a line that has no closest approach of its own; own choice."""
_MOST_PANELS: Final = 20
_NODES: Final = ((-math.sqrt(0.15), 5 / 18), (0.0, 8 / 18), (math.sqrt(0.15), 5 / 18))
"""Gauss and Legendre, three points on a piece of length 1 about its middle, and their shares."""
_SHORT_OF_DECAY: Final = 0.1
"""An interval is cut until it is so short against the mean life: error of its mean below 1e-3."""


_Leg = tuple[float, float, Vector, Vector]
"""From and to in s, and where it is then."""


@dataclass(slots=True)
class Emitter:
    """One source on its way; ``strength`` in µSv·m²/h after shielding, ``n_per_s`` neutrons.

    It is there from ``appears_s`` to ``leaves_s``, ``times`` times, ``every_s`` from one to the
    next. With ``decay_per_s`` it has its strength at ``reference_s``. With ``air`` that much of its
    photons is left. It is one of so many ``points`` of its source.
    """

    name: str
    nuclide: str | None
    strength: float
    n_per_s: float
    track: Track
    appears_s: float
    leaves_s: float
    enters_lanes: bool
    times: int = 1
    every_s: float = math.inf
    decay_per_s: float = 0.0
    reference_s: float = 0.0
    air: Left | None = None
    points: int = 1
    _leg: _Leg | None = None

    def is_there(self, time_s: float) -> bool:
        """Whether it is on stage."""
        if self.times == 1:
            return self.appears_s <= time_s < self.leaves_s
        return any(start <= time_s < end for start, end in self._stays(time_s, time_s))

    def distance(self, time_s: float, detector: Track) -> float:
        """In m, never below the guard."""
        return max(math.dist(self.track.at(time_s), detector.at(time_s)), GUARD_M)

    def proximity(self, time_s: float, detector: Track) -> float:
        """1/r² in 1/m² at a time as of its strength, 0 while it is not there."""
        if not self.is_there(time_s):
            return 0.0
        return self._seen_at(self.distance(time_s, detector)) * self.left_at(time_s)

    def exposure(self, from_s: float, to_s: float, detector: Track) -> float:
        """∫ dt/r² in s/m² over the time on stage; exact for straight and even movement."""
        if self.times == 1:
            start, end = max(from_s, self.appears_s), min(to_s, self.leaves_s)
            return self._seen(start, end, detector) if start < end else 0.0
        total = 0.0
        for begin, finish in self._stays(from_s, to_s):
            start, end = max(from_s, begin), min(to_s, finish)
            if start < end:
                total += self._seen(start, end, detector)
        return total

    def peak_proximity(self, from_s: float, to_s: float, detector: Track) -> float:
        """The largest 1/r² as of its strength within an interval."""
        peak = 0.0
        for begin, finish in self._stays(from_s, to_s):
            start, end = max(from_s, begin), min(to_s, finish)
            if start < end:
                distance = self._nearest(start, end, detector)
                peak = max(peak, self._seen_at(max(distance, GUARD_M)) * self.left_at(start))
        return peak

    def is_steady(self, from_s: float, to_s: float, detector: Track) -> bool:
        """Whether it is seen the same all through an interval."""
        if not any(start < to_s and from_s < end for start, end in self._stays(from_s, to_s)):
            return True
        stays = self.appears_s <= from_s and to_s <= self.leaves_s
        rest = stays and self.track.rests(from_s, to_s) and detector.rests(from_s, to_s)
        return rest and not self.decay_per_s

    def _stays(self, from_s: float, to_s: float) -> Iterator[tuple[float, float]]:
        """Its times on stage that touch an interval."""
        if self.times == 1:
            yield self.appears_s, self.leaves_s
            return
        first = max(math.floor((from_s - self.leaves_s) / self.every_s), 0)
        last = min(math.ceil((to_s - self.appears_s) / self.every_s), self.times - 1)
        for index in range(first, last + 1):
            later = index * self.every_s
            yield self.appears_s + later, self.leaves_s + later

    def _seen(self, start: float, end: float, detector: Track) -> float:
        if self.decay_per_s == 0:
            return self._undecayed(start, end, detector)
        parts = max(math.ceil((end - start) * self.decay_per_s / _SHORT_OF_DECAY), 1)
        width = (end - start) / parts
        return sum(
            self._undecayed(start + index * width, start + (index + 1) * width, detector)
            * self.left_at(start + (index + 0.5) * width)
            for index in range(parts)
        )

    def _undecayed(self, start: float, end: float, detector: Track) -> float:
        if len(self.track.times) == 1 == len(detector.times):
            return (end - start) * self._seen_at(self.distance(start, detector))
        way = self._way(start, end, detector)
        if way is not None:
            return self._along(end - start, *way)
        return sum(
            self._along(seconds, first, last)
            for seconds, first, last in pieces(self.track, detector, start, end)
        )

    def _nearest(self, start: float, end: float, detector: Track) -> float:
        """In m, with no guard."""
        way = self._way(start, end, detector)
        if way is not None:
            return nearest(*way)
        ways = pieces(self.track, detector, start, end)
        return min(nearest(first, last) for _, first, last in ways)

    def _way(self, start: float, end: float, detector: Track) -> tuple[Vector, Vector] | None:
        """From it to the detector at both ends, None if one of them turns meanwhile."""
        if not detector.is_straight(start, end) or not (leg := self._straight(start, end)):
            return None
        x, y, z = detector.at(start)
        u, v, w = (x, y, z) if len(detector.times) == 1 else detector.at(end)
        _, _, (e, n, h), (f, o, i) = leg
        return (x - e, y - n, z - h), (u - f, v - o, w - i)

    def _straight(self, start: float, end: float) -> _Leg | None:
        """Where it begins and ends, None if it turns meanwhile; detectors ask one by one."""
        leg = self._leg
        if leg is None or leg[0] != start or leg[1] != end:
            if not self.track.is_straight(start, end):
                return None
            leg = self._leg = (start, end, self.track.at(start), self.track.at(end))
        return leg

    def _along(self, seconds: float, first: Vector, last: Vector) -> float:
        if self.air is None:
            return inverse_square(seconds, first, last, GUARD_M)
        return inverse_square_in_air(seconds, first, last, GUARD_M, self.air)

    def _seen_at(self, metres: float) -> float:
        """1/r², as far as air lets it through."""
        bare = metres**-2
        return bare if self.air is None else bare * self.air(metres)

    def left_at(self, time_s: float) -> float:
        """The part of its strength that is left."""
        if self.decay_per_s == 0:
            return 1.0
        return math.exp(-self.decay_per_s * (time_s - self.reference_s))


def emitters_of(
    source: Source, track: Track, course: Pass | None = None, *, in_air: bool = False
) -> list[Emitter]:
    """A source of a scenario, placed: one emitter, or several that share what it emits.

    ``course`` is the pass it makes, alone or in a vehicle: a line of it lies along that.
    """
    whole = _emitter(source, track)
    emitters = [whole]
    if in_air and source.nuclide is not None:
        photons = replace(whole, n_per_s=0.0, air=left_by_air(source.nuclide))
        emitters = [photons, replace(whole, strength=0.0)] if whole.n_per_s else [photons]
    if not source.spread_m:
        return emitters
    near_m, heading = _NEAR_M, source.spread_deg
    if course is not None:
        near_m, heading = course.closest_m, course.heading_deg
    panels = min(math.ceil(source.spread_m / near_m), _MOST_PANELS)
    return [point for each in emitters for point in _line(each, source.spread_m, heading, panels)]


def _emitter(source: Source, track: Track) -> Emitter:
    decays = source.decays and source.nuclide is not None
    return Emitter(
        name=source.id,
        nuclide=source.nuclide,
        strength=strength(source),
        n_per_s=source.n_per_s,
        track=track,
        appears_s=source.appears_s,
        leaves_s=math.inf if source.leaves_s is None else source.leaves_s,
        enters_lanes=source.enters_lanes,
        decay_per_s=math.log(2) / NUCLIDES[source.nuclide or ""].half_life_s if decays else 0.0,
        reference_s=source.reference_s,
    )


def _line(whole: Emitter, metres: float, heading_deg: float, panels: int) -> Iterator[Emitter]:
    """Points that share a line: within 1e-3 of it where one is no nearer than a panel is long."""
    for panel in range(panels):
        for node, share in _NODES:
            along_m = ((panel + 0.5 + node) / panels - 0.5) * metres
            yield replace(
                whole,
                strength=whole.strength * share / panels,
                n_per_s=whole.n_per_s * share / panels,
                track=beside(whole.track, heading_deg, along_m),
                points=panels * len(_NODES),
            )


def machine_of(xray: Xray) -> Emitter:
    """An X-ray machine: a source while it is on."""
    repeat = xray.repeat
    return Emitter(
        name=f"xray {xray.id}",
        nuclide=None,
        strength=xray.dose_rate_1m,
        n_per_s=0.0,
        track=still(xray.at),
        appears_s=xray.at_s,
        leaves_s=xray.at_s + xray.length_s,
        enters_lanes=False,
        times=repeat.count if repeat else 1,
        every_s=repeat.every_s if repeat else math.inf,
    )


def strength(source: Source) -> float:
    """Dose rate at 1 m in µSv/h: Γ·A times shielding, a patient's own where none is given."""
    if source.nuclide is None or source.activity is None:
        return 0.0
    constant = source.constant or NUCLIDES[source.nuclide].constant
    shielding = source.shielding
    if shielding is None:
        shielding = SELF_SHIELDING[source.nuclide] if source.kind == "patient" else 1.0
    return constant * source.activity / 1e9 * shielding
