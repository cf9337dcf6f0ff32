"""Where names stand on a map: beside their places, and not on each other. Pure.

Measures in points, from the lower left corner of the map.
"""

from collections.abc import Iterable
from typing import Final

Box = tuple[float, float, float, float]
"""Left, low, right and high."""
Offset = tuple[float, float]
"""Right and up, from a place to the side of its name that faces it."""
LINE_PT: Final = 8.5
"""Height of a name, with some air."""
BESIDE_PT: Final = 7.0
"""From a place to a name beside it."""
STEP_PT: Final = 5.0
"""Between the places that are tried: own choice, somewhat more than half a line."""
_FARTHEST: Final = 30
"""So many steps: across most of a map of A4."""
_NEAR_PT: Final = 10.0
"""A name that is farther from its place has a line to it: own choice."""
_FAR_COST: Final = 0.4
"""What a point farther away costs, in square points that are covered: own choice."""
_NAME_COST: Final = 20.0
"""Two names on each other are unreadable, a name on a way is not: own choice."""
_OUTSIDE_COST: Final = 20.0
"""Beyond the edge a name stands on the numbers of the axes: own choice."""


def _offsets() -> tuple[Offset, ...]:
    rows = [STEP_PT * row for row in range(-_FARTHEST, _FARTHEST + 1)]
    aside = [BESIDE_PT + STEP_PT * column for column in range(_FARTHEST + 1)]
    found = [(sign * dx, dy) for dx in aside for dy in rows for sign in (1, -1)]
    found += [(0.0, dy) for dy in rows if dy]
    return tuple(sorted(found, key=lambda each: (_way(each), each[0] < 0, each[1] < 0)))


def _way(offset: Offset) -> float:
    """How far a name is from its place; to the side is as far as it is, not farther."""
    return max(abs(offset[0]) - BESIDE_PT, 0.0) + abs(offset[1])


_OFFSETS: Final = _offsets()


class Labels:
    """Takes names one after the other; the same names in the same order stand at the same places.

    ``inside`` is the map.
    """

    def __init__(self, inside: Box) -> None:
        self._inside = inside
        self._marks: list[Box] = []
        self.names: list[Box] = []

    def keep_clear(self, box: Box) -> None:
        """A mark or a piece of a way: no name stands on it where that can be helped."""
        self._marks.append(box)

    def place(self, x: float, y: float, width: float) -> Offset:
        """Where a name of that width stands: near its place, and covering the least."""
        best, least = _OFFSETS[0], float("inf")
        for offset in _OFFSETS:
            far = _way(offset) * _FAR_COST
            if far >= least:
                break  # the rest is farther
            box = _box(x, y, width, offset)
            cost = far + self._unreadable(box)
            if cost < least:  # only then the marks, which are many
                cost += overlap(box, self._marks)
            if cost < least:
                best, least = offset, cost
        self.names.append(_box(x, y, width, best))
        return best

    def _unreadable(self, box: Box) -> float:
        whole = (box[2] - box[0]) * (box[3] - box[1])
        outside = whole - overlap(box, (self._inside,))
        return _NAME_COST * overlap(box, self.names) + _OUTSIDE_COST * outside


def is_beside(offset: Offset) -> bool:
    """Whether a name is so near that it needs no line to its place."""
    return _way(offset) <= _NEAR_PT


def overlap(box: Box, others: Iterable[Box]) -> float:
    """How much of a box others cover, each by itself, in square points."""
    total = 0.0
    for other in others:
        wide = min(box[2], other[2]) - max(box[0], other[0])
        high = min(box[3], other[3]) - max(box[1], other[1])
        total += max(wide, 0.0) * max(high, 0.0)
    return total


def _box(x: float, y: float, width: float, offset: Offset) -> Box:
    """Of a name to the right of its place, to its left, or above or below it."""
    dx, dy = offset
    side = x + dx
    left = side - width / 2 if not dx else side - width if dx < 0 else side
    return left, y + dy - LINE_PT / 2, left + width, y + dy + LINE_PT / 2
