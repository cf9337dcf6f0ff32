"""How the zones of a scenario change the background along a detector's way."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from config.scenario_world import Zone
from simulators.background import Steps
from simulators.motion import Track, is_inside, zone_edges


def gamma_steps(track: Track | None, zones: Sequence[Zone]) -> Steps:
    """Factor of the gamma background over time."""
    return _steps(track, zones, lambda zone: zone.factor)


def neutron_steps(track: Track | None, zones: Sequence[Zone]) -> Steps:
    """Factor of the neutron background over time."""
    return _steps(track, zones, lambda zone: zone.neutron_factor)


def _steps(track: Track | None, zones: Sequence[Zone], factor: Callable[[Zone], float]) -> Steps:
    if track is None or not zones:
        return Steps()
    edges = zone_edges(track, zones)
    times = [-math.inf, *edges]
    values = []
    for start, end in pairwise([*times, math.inf]):
        place = track.at(_between(start, end))
        values.append(math.prod(factor(zone) for zone in zones if is_inside(place, zone)))
    return Steps(tuple(times), tuple(values)) if edges else Steps((0.0,), tuple(values))


def _between(start: float, end: float) -> float:
    if math.isinf(start):
        return 0.0 if math.isinf(end) else end - 1.0
    return start + 1.0 if math.isinf(end) else (start + end) / 2
