"""Counts to dose rate by the calibration that an instrument or a certificate gives.

Linear from the origin to the first point and between points (``drivers.api.Calibration``); above
the last point its segment is continued, because to stop there would report less than was counted.
"""

from bisect import bisect_left
from itertools import pairwise

from drivers.api import Calibration


def dose_rate(calibration: Calibration, counts_per_s: float) -> float:
    """Dose rate in µSv/h of ``counts_per_s``, which is 0 or more."""
    (x0, y0), _ = _segment(calibration, counts_per_s)
    return y0 + (counts_per_s - x0) * slope(calibration, counts_per_s)


def slope(calibration: Calibration, counts_per_s: float) -> float:
    """What one more count per second is in µSv/h, at ``counts_per_s``; a point ends its segment."""
    (x0, y0), (x1, y1) = _segment(calibration, counts_per_s)
    return (y1 - y0) / (x1 - x0)


def is_usable(points: tuple[tuple[float, float], ...]) -> bool:
    """Whether the points make a curve: at least one, both coordinates rising from the origin."""
    return bool(points) and all(
        x0 < x1 and y0 < y1 for (x0, y0), (x1, y1) in pairwise(((0.0, 0.0), *points))
    )


def _segment(
    calibration: Calibration, counts_per_s: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    if not is_usable(calibration.points):
        raise ValueError(f"calibration of {calibration.source}: points do not rise from the origin")
    nodes = ((0.0, 0.0), *calibration.points)
    last = len(nodes) - 1
    end = min(max(bisect_left([x for x, _ in nodes], counts_per_s), 1), last)
    return nodes[end - 1], nodes[end]
