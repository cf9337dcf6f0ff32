"""Point sources: dose rate H = Γ·A/r² at a detector, now and integrated."""

import math
from dataclasses import dataclass

from config.nuclides import NUCLIDES, SELF_SHIELDING
from config.scenario import Source
from simulators.motion import Track, inverse_square, nearest, pieces

GUARD_M = 0.01
"""No detector gets nearer than this: a point source has no field at 0 m."""


@dataclass(slots=True)
class Emitter:
    """One source on its way; ``strength`` in µSv·m²/h after shielding, ``n_per_s`` neutrons."""

    name: str
    nuclide: str | None
    strength: float
    n_per_s: float
    track: Track
    appears_s: float
    leaves_s: float
    enters_lanes: bool

    def is_there(self, time_s: float) -> bool:
        """Whether it is on stage."""
        return self.appears_s <= time_s < self.leaves_s

    def distance(self, time_s: float, detector: Track) -> float:
        """In m, never below the guard."""
        return max(math.dist(self.track.at(time_s), detector.at(time_s)), GUARD_M)

    def proximity(self, time_s: float, detector: Track) -> float:
        """1/r² in 1/m² at a time, 0 while it is not there."""
        return self.distance(time_s, detector) ** -2 if self.is_there(time_s) else 0.0

    def exposure(self, from_s: float, to_s: float, detector: Track) -> float:
        """∫ dt/r² in s/m² over the time on stage; exact for straight and even movement."""
        start, end = max(from_s, self.appears_s), min(to_s, self.leaves_s)
        if end <= start:
            return 0.0
        return sum(
            inverse_square(seconds, first, last, GUARD_M)
            for seconds, first, last in pieces(self.track, detector, start, end)
        )

    def peak_proximity(self, from_s: float, to_s: float, detector: Track) -> float:
        """The largest 1/r² within an interval."""
        start, end = max(from_s, self.appears_s), min(to_s, self.leaves_s)
        if end <= start:
            return 0.0
        distance = min(
            nearest(first, last) for _, first, last in pieces(self.track, detector, start, end)
        )
        return max(distance, GUARD_M) ** -2


def emitter_of(source: Source, track: Track) -> Emitter:
    """A source of a scenario, placed."""
    return Emitter(
        name=source.id,
        nuclide=source.nuclide,
        strength=strength(source),
        n_per_s=source.n_per_s,
        track=track,
        appears_s=source.appears_s,
        leaves_s=math.inf if source.leaves_s is None else source.leaves_s,
        enters_lanes=source.enters_lanes,
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
