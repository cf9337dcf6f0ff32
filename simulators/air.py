"""What air does to the field of a point source: attenuation, and build-up by scattered photons.

Air without an end at 20 °C and 1013 hPa: no ground, no walls. Mass attenuation coefficients
(without coherent scattering) and the parameters of the exposure build-up factor in geometric
progression are those of ANSI/ANS-6.4.3-1991, for air, as shipped in AlanFord/ZapMeNot
(materialLibrary.yml). The lines and their shares of H*(10) are from the library and the
coefficients of ``config.nuclides``; what is left out is shared among the rest.
"""

import math
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from itertools import pairwise
from types import MappingProxyType
from typing import Final

from simulators.motion import Vector

Line = tuple[float, float]
"""keV, and its share of the dose rate."""
Left = Callable[[float], float]
"""The part of the field in a void that is there at a distance in m; above 1 where more photons are
scattered to a place than away from it."""

DENSITY_G_CM3: Final = 1.205e-3
FAR_M: Final = 3000.0
"""Nothing is left so far away: below 1e-6 for every nuclide of ours."""

LINES: Final[Mapping[str, tuple[Line, ...]]] = MappingProxyType(
    {
        "Cs-137": ((661.7, 1.0),),
        "Co-60": ((1332.5, 0.522), (1173.2, 0.477)),
        "Ir-192": ((314.4, 0.437), (469.3, 0.293), (602.9, 0.129), (295.8, 0.106), (205.2, 0.010)),
        "Se-75": ((269.3, 0.589), (136.0, 0.207), (400.7, 0.119), (121.1, 0.054), (303.9, 0.010)),
        "Am-241": ((59.5, 1.0),),
        "I-131": ((364.5, 0.770), (637.2, 0.118), (284.2, 0.045), (722.9, 0.032)),
        "Tc-99m": ((140.5, 1.0),),
        "F-18": ((511.0, 1.0),),
        "In-111": ((245.3, 0.599), (171.3, 0.401)),
        "I-123": ((159.0, 0.902), (525.0, 0.054), (538.8, 0.014), (440.2, 0.013)),
        "Tl-201": ((70.1, 0.619), (80.3, 0.175), (167.4, 0.165), (135.3, 0.035)),
        "Ga-67": ((300.2, 0.322), (93.2, 0.262), (184.6, 0.254), (393.5, 0.117), (209.0, 0.033)),
        "Lu-177": ((208.4, 0.619), (112.9, 0.202), (55.4, 0.110), (63.2, 0.029), (321.3, 0.020)),
        "Ba-133": ((356.0, 0.603), (302.9, 0.152), (383.8, 0.093), (80.9, 0.087), (276.4, 0.054)),
        "Co-57": ((122.1, 0.869), (136.5, 0.121)),
    }
)

_MEV: Final = (0.04, 0.05, 0.06, 0.08, 0.10, 0.15, 0.20, 0.30, 0.40, 0.50, 0.60, 0.80, 1.0, 1.5)
_CM2_G: Final = (
    0.2311, 0.1964, 0.1791, 0.1614, 0.1509, 0.1341, 0.1225,
    0.1063, 0.09525, 0.08694, 0.08041, 0.07065, 0.06349, 0.05168,
)  # fmt: skip
_BUILD_UP: Final = (
    (3.390, 1.052, -0.004, 19.76, -0.0068),
    (4.322, 1.383, -0.071, 13.51, 0.0270),
    (4.837, 1.653, -0.115, 13.66, 0.0511),
    (4.929, 1.983, -0.159, 13.74, 0.0730),
    (4.580, 2.146, -0.178, 12.83, 0.0759),
    (3.894, 2.148, -0.173, 14.46, 0.0698),
    (3.345, 2.147, -0.176, 14.08, 0.0719),
    (2.887, 1.990, -0.160, 14.13, 0.0633),
    (2.635, 1.860, -0.146, 14.24, 0.0583),
    (2.496, 1.736, -0.130, 14.32, 0.0505),
    (2.371, 1.656, -0.120, 14.27, 0.0472),
    (2.207, 1.532, -0.103, 14.12, 0.0425),
    (2.102, 1.428, -0.086, 14.35, 0.0344),
    (1.939, 1.265, -0.057, 14.24, 0.0232),
)
"""b, c, a, X, d at each of these energies."""

_TANH_2: Final = math.tanh(-2.0)
_GRID_M: Final = 0.25
"""The part that is left is straight between points so far apart: good to 3e-4 nearer than the
first of them, to 4e-5 elsewhere."""
_PANEL_M: Final = 50.0
_NODES: Final = (
    (-0.906179845938664, 0.236926885056189),
    (-0.538469310105683, 0.478628670499366),
    (0.0, 0.568888888888889),
    (0.538469310105683, 0.478628670499366),
    (0.906179845938664, 0.236926885056189),
)
"""Gauss and Legendre, five points."""


@lru_cache(maxsize=64)
def left_by_air(nuclide: str) -> Left:
    """What air leaves of the field of a nuclide, by distance."""
    lines = LINES[nuclide]
    total = sum(share for _, share in lines)
    points = [index * _GRID_M for index in range(math.ceil(FAR_M / _GRID_M) + 1)]
    values = array("d", bytes(8 * len(points)))
    for kev, share in lines:
        per_m = attenuation_per_m(kev)
        for index, metres in enumerate(points):
            paths = metres * per_m
            values[index] += share / total * build_up(kev, paths) * math.exp(-paths)

    def left(metres: float) -> float:
        if metres >= FAR_M:
            return 0.0
        cells = metres / _GRID_M
        index = int(cells)
        low = values[index]
        return low + (values[index + 1] - low) * (cells - index)

    return left


def attenuation_per_m(kev: float) -> float:
    """Of the photons that have met nothing yet; straight between logarithms."""
    index, share = _between(kev)
    low, high = math.log(_CM2_G[index]), math.log(_CM2_G[index + 1])
    return math.exp(low + (high - low) * share) * DENSITY_G_CM3 * 100.0


def build_up(kev: float, paths: float) -> float:
    """All photons over those that have met nothing, so many mean free paths away."""
    if paths <= 0:
        return 1.0
    b, c, a, scale, d = _parameters(kev)
    bend = (math.tanh(paths / scale - 2.0) - _TANH_2) / (1.0 - _TANH_2)
    ratio = c * math.pow(paths, a) + d * bend
    if abs(ratio - 1.0) < 1e-9:
        return 1.0 + (b - 1.0) * paths
    return 1.0 + (b - 1.0) * (math.pow(ratio, paths) - 1.0) / (ratio - 1.0)


def inverse_square_in_air(
    seconds: float, first: Vector, last: Vector, guard_m: float, left: Left
) -> float:
    """∫ left(r) dt / r² in s/m² along a straight piece; nearer than ``guard_m`` counts as there."""
    way = math.dist(first, last)
    if way < 1e-9:
        metres = max(math.hypot(*first), guard_m)
        return seconds * left(metres) / metres**2
    start = sum(a * (b - a) for a, b in zip(first, last, strict=True)) / way
    closest = math.sqrt(max(sum(a * a for a in first) - start**2, 0.0))
    edge = math.sqrt(max(guard_m**2 - closest**2, 0.0))
    end = start + way
    total = max(min(end, edge) - max(start, -edge), 0.0) / guard_m**2 * left(guard_m)
    for begin, finish in ((max(start, edge), end), (max(-end, edge), -start)):
        if begin < finish:
            total += sum(
                _panel(low, high, closest, left) for low, high in _panels(begin, finish, closest)
            )
    return total * seconds / way


def _panels(start: float, end: float, closest: float) -> Iterator[tuple[float, float]]:
    """A way that leads off in pieces, none of them far against its distance."""
    edges = [start]
    while edges[-1] < min(end, FAR_M):
        distance = math.hypot(edges[-1], closest)
        edges.append(min(edges[-1] + min(distance, _PANEL_M), end))
    yield from pairwise(edges)


def _panel(start: float, end: float, closest: float, left: Left) -> float:
    """∫ left(r) ds / r² from ``start`` to ``end`` of the closest point, by angle or by 1/s."""
    by_angle = closest > 1e-6 * start
    if by_angle:
        low, high = math.atan2(start, closest), math.atan2(end, closest)
    else:
        low, high = 1.0 / end, 1.0 / start
    middle, half = (low + high) / 2, (high - low) / 2
    total = 0.0
    for node, weight in _NODES:
        at = middle + half * node
        total += weight * left(closest / math.cos(at) if by_angle else 1.0 / at)
    return total * half / closest if by_angle else total * half


@lru_cache(maxsize=256)
def _parameters(kev: float) -> tuple[float, ...]:
    """Of the build-up, straight between the logarithms of energies."""
    index, share = _between(kev)
    pairs = zip(_BUILD_UP[index], _BUILD_UP[index + 1], strict=True)
    return tuple(low + (high - low) * share for low, high in pairs)


def _between(kev: float) -> tuple[int, float]:
    """The tabulated energy below, and how far a logarithm is on the way to the next one."""
    mev = kev / 1000.0
    index = min(max(bisect_right(_MEV, mev) - 1, 0), len(_MEV) - 2)
    return index, math.log(mev / _MEV[index]) / math.log(_MEV[index + 1] / _MEV[index])
