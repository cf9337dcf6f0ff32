"""Which sources reach a detector, and when. One that adds less than shows is not looked at."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from simulators.motion import Track, near_times
from simulators.sources import Emitter

FAINT_USV_H: Final = 1e-6
"""Below this a source adds nothing, a hundred-thousandth of a background; own choice."""
FAINT_N_PER_S: Final = 0.01
"""The same of neutrons: as much as a source of this strength gives at 1 m; own choice."""

Exposed = Sequence[tuple[Emitter, float]]
_Window = tuple[float, float, Emitter]
_NOTHING: Final[tuple[float, float, Exposed]] = (math.nan, math.nan, ())
_NEVER: Final = (math.nan, math.nan, 0.0)


@dataclass(slots=True)
class Reach:
    """Of all sources on one detector; what is nearer than ``least_m`` is always looked at.

    ``per_usv_h`` gives the detector's 1/s per µSv/h of a nuclide. ``track`` is the way of the
    detector, which may be put elsewhere; None: it has no place, and nothing reaches it.
    """

    emitters: Sequence[Emitter]
    least_m: float
    per_usv_h: Callable[[str | None], float]
    _track: Track | None = None
    _windows: list[_Window] | None = None
    _exposed: tuple[float, float, Exposed] = _NOTHING
    _highest: tuple[float, float, float] = _NEVER

    def changed(self) -> None:
        """A source came or went: what was worked out holds no longer."""
        self._windows, self._exposed, self._highest = None, _NOTHING, _NEVER

    def around(self, track: Track | None, from_s: float, to_s: float) -> list[Emitter]:
        """The sources that may add something within an interval, its ends included."""
        windows = self._windows
        if windows is None or track is not self._track:
            windows = self._look(track)
        return [each for start, end, each in windows if start <= to_s and from_s <= end]

    def exposures(self, track: Track | None, from_s: float, to_s: float) -> Exposed:
        """Each with its ∫ dt/r²; asked for twice in a row, worked out once."""
        if track is None or not self.emitters:
            return ()
        exposed = self._exposed
        if exposed[0] != from_s or exposed[1] != to_s or track is not self._track:
            near = self.around(track, from_s, to_s)
            found = [(each, each.exposure(from_s, to_s, track)) for each in near] if near else ()
            exposed = self._exposed = (from_s, to_s, [each for each in found if each[1]])
        return exposed[2]

    def dose_rate(self, track: Track | None, at_s: float) -> float:
        """What all of them add at a time, in µSv/h."""
        if track is None or not self.emitters:
            return 0.0
        near = self.around(track, at_s, at_s)
        return sum(each.strength * each.proximity(at_s, track) for each in near)

    def count_rate(self, track: Track | None, at_s: float) -> float:
        """The same in 1/s, if none were lost."""
        if track is None or not self.emitters:
            return 0.0
        return sum(
            each.strength * self.per_usv_h(each.nuclide) * each.proximity(at_s, track)
            for each in self.around(track, at_s, at_s)
            if each.strength
        )

    def highest_count_rate(self, track: Track | None, from_s: float, to_s: float) -> float:
        """An upper bound of that within an interval; asked for twice in a row, worked out once."""
        if track is None or not self.emitters:
            return 0.0
        highest = self._highest
        if highest[0] != from_s or highest[1] != to_s or track is not self._track:
            near = self.around(track, from_s, to_s)
            total = sum(
                each.strength
                * self.per_usv_h(each.nuclide)
                * each.peak_proximity(from_s, to_s, track)
                for each in near
                if each.strength
            )
            highest = self._highest = (from_s, to_s, total)
        return highest[2]

    def is_steady(self, track: Track | None, from_s: float, to_s: float) -> bool:
        """Whether all of them are seen the same all through an interval."""
        if track is None:
            return True
        near = self.around(track, from_s, to_s)
        return all(each.is_steady(from_s, to_s, track) for each in near)

    def _look(self, track: Track | None) -> list[_Window]:
        self.changed()
        self._track = track
        self._windows = [] if track is None else list(_windows(self.emitters, track, self.least_m))
        return self._windows


def _windows(emitters: Sequence[Emitter], track: Track, least_m: float) -> Iterator[_Window]:
    for each in emitters:
        times = near_times(each.track, track, max(far_m(each), least_m))
        if times is None:
            continue
        start, end = times
        if each.times == 1:
            start, end = max(start, each.appears_s), min(end, each.leaves_s)
        yield start, end, each


def far_m(emitter: Emitter) -> float:
    """How far a source adds something, in a void; all points of one about as far."""
    strongest = emitter.strength * emitter.left_at(max(emitter.appears_s, 0.0))
    adds = max(strongest / FAINT_USV_H, emitter.n_per_s / FAINT_N_PER_S)
    return math.sqrt(adds * emitter.points)
