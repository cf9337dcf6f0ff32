"""Point sources: dose rate H = Γ·A/r² at a detector, now and integrated."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from config.nuclides import NUCLIDES, SELF_SHIELDING
from config.scenario_world import Source, Xray
from simulators.motion import Track, inverse_square, nearest, pieces, still

GUARD_M = 0.01
"""No detector gets nearer than this: a point source has no field at 0 m."""
_SHORT_OF_DECAY: Final = 0.1
"""An interval is cut until it is so short against the mean life: error of its mean below 1e-3."""


@dataclass(slots=True)
class Emitter:
    """One source on its way; ``strength`` in µSv·m²/h after shielding, ``n_per_s`` neutrons.

    It is there from ``appears_s`` to ``leaves_s``, ``times`` times, ``every_s`` from one to the
    next. With ``decay_per_s`` it has its strength at ``reference_s``.
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
        return self.distance(time_s, detector) ** -2 * self._left(time_s)

    def exposure(self, from_s: float, to_s: float, detector: Track) -> float:
        """∫ dt/r² in s/m² over the time on stage; exact for straight and even movement."""
        if to_s <= self.appears_s or (self.times == 1 and self.leaves_s <= from_s):
            return 0.0
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
                distance = min(
                    nearest(first, last)
                    for _, first, last in pieces(self.track, detector, start, end)
                )
                peak = max(peak, max(distance, GUARD_M) ** -2 * self._left(start))
        return peak

    def is_steady(self, from_s: float, to_s: float, detector: Track) -> bool:
        """Whether it is seen the same all through an interval."""
        if not any(start < to_s and from_s < end for start, end in self._stays(from_s, to_s)):
            return True
        stays = self.appears_s <= from_s and to_s <= self.leaves_s
        return stays and self.track.is_still and detector.is_still and not self.decay_per_s

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
            * self._left(start + (index + 0.5) * width)
            for index in range(parts)
        )

    def _undecayed(self, start: float, end: float, detector: Track) -> float:
        if self.track.is_still and detector.is_still:
            return (end - start) / self.distance(start, detector) ** 2
        return sum(
            inverse_square(seconds, first, last, GUARD_M)
            for seconds, first, last in pieces(self.track, detector, start, end)
        )

    def _left(self, time_s: float) -> float:
        """The part of its strength that is left."""
        if self.decay_per_s == 0:
            return 1.0
        return math.exp(-self.decay_per_s * (time_s - self.reference_s))


def emitter_of(source: Source, track: Track) -> Emitter:
    """A source of a scenario, placed."""
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
