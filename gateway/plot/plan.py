"""The map: ways, posts, sources, and where alarms were raised."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from gateway.plot import styles
from gateway.plot.labels import Box, Labels, is_beside
from gateway.plot.numbers import plain
from gateway.plot.places import Plan
from gateway.plot.styles import Key
from gateway.plot.values import Place, Way

MARGIN: Final = 0.12
"""Of the longer side, on each side: room for names."""
FLATTEST: Final = 0.5
"""Height of a map to its width, at least: own choice, as is the margin."""
MOST_NAMED: Final = 6
"""More sources have no names: a crowd's are many and say nothing. Own choice."""
LEAST_M: Final = 10.0
"""A map shows at least so many metres."""
_CHARACTER_PT: Final = 4.4
_MARK_PT: Final = 4.0
"""Half of what a marker covers."""
_STEPS: Final = 40


class PlanDrawing:
    """Draws a plan on an axis of ``size_in`` inches."""

    def __init__(self, axes: Axes, plan: Plan, key: Key, size_in: tuple[float, float]) -> None:
        self._axes = axes
        self._plan = plan
        self._key = key
        west, east, south, north = _frame(plan, size_in)
        axes.set_xlim(west, east)
        axes.set_ylim(south, north)
        self._west, self._east, self._south = west, east, south
        self._per_m = size_in[0] * 72 / (east - west)
        self._labels = Labels((0.0, 0.0, size_in[0] * 72, size_in[1] * 72))

    def draw(self) -> None:
        """All of it."""
        self._axes.set_aspect("equal")
        for axis in (self._axes.xaxis, self._axes.yaxis):
            axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
            axis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
        self._axes.tick_params(labelsize=styles.SMALL_PT, length=2.5, width=0.5)
        self._axes.grid(color=styles.PALE, linewidth=0.3)
        self._axes.set_axisbelow(True)
        self._axes.set_xlabel("east, m", fontsize=styles.TEXT_PT)
        self._axes.set_ylabel("north, m", fontsize=styles.TEXT_PT)
        for zone in self._plan.zones:
            corner = (zone.west, zone.south)
            size = (zone.east - zone.west, zone.north - zone.south)
            self._axes.add_patch(Rectangle(corner, *size, **styles.ZONE))
            self._key.patch("zone with a background of its own", styles.ZONE)
        for way in self._plan.sources:
            self._way(way, styles.SOURCE_WAY, styles.SOURCE, "source", "way of a source")
        for way in self._plan.detectors:
            label = "way of a detector"
            self._way(way, styles.DETECTOR_WAY, styles.DETECTOR, "detector", label)
        for raised in self._plan.alarms:
            self._axes.plot(*raised.at, **styles.ALARM, zorder=6)
            self._key.line("alarm raised here", styles.ALARM)
        for way in self._plan.posts:
            self._axes.plot(*way.places[0], **styles.POST, zorder=2)
            self._key.line("post", styles.POST)
        self._names()

    def _way(
        self, way: Way, line: styles.Style, marker: styles.Style, stands: str, moves: str
    ) -> None:
        if len(way.places) == 1:
            self._axes.plot(*way.places[0], **marker, zorder=4)
            self._key.line(stands, marker)
            self._keep_clear(way.places[0], way.places[0])
            return
        xs, ys = zip(*way.places, strict=True)
        for start, end in pairwise(way.places):
            self._keep_clear(start, end)
        self._axes.plot(xs, ys, **line, zorder=3)
        self._key.line(moves, line)
        self._axes.plot(xs[0], ys[0], **marker, zorder=4)
        self._key.line(stands, marker)
        start, end = _longest(way.places)
        middle = Place((start.x + end.x) / 2, (start.y + end.y) / 2)
        towards = Place(start.x + (end.x - start.x) * 0.56, start.y + (end.y - start.y) * 0.56)
        arrow = {"arrowstyle": "-|>", "color": styles.BLACK, "linewidth": 0.8, "shrinkA": 0.0}
        self._axes.annotate("", towards, middle, arrowprops=arrow, zorder=3)

    def _names(self) -> None:
        labels: dict[Place, list[str]] = {}
        for way in self._plan.detectors:
            labels.setdefault(way.places[0], []).append(way.name)
        for raised in self._plan.alarms:
            self._keep_clear(raised.at, raised.at)
            known = labels.setdefault(raised.at, [])
            if raised.grade not in known:
                known.append(raised.grade)
        alarmed = {raised.at for raised in self._plan.alarms}
        for at in sorted(labels, key=lambda at: (at not in alarmed, self._room(at))):
            self._name(at, " ".join(filter(None, labels[at])), is_bold=at in alarmed)
        named = self._plan.sources if len(self._plan.sources) <= MOST_NAMED else ()
        for way in named:
            self._name(way.places[0], f"{way.name} {way.note}".strip())
        for way in self._plan.posts:
            if way.places[0] not in labels:
                self._name(way.places[0], way.name)
        for zone in self._plan.zones:
            self._name(Place(zone.west, zone.north), zone.note)

    def _room(self, at: Place) -> float:
        """How far the nearer side of the map is; what has little room is named first."""
        return min(at.x - self._west, self._east - at.x)

    def _name(self, at: Place, text: str, *, is_bold: bool = False) -> None:
        """Beside its place, or elsewhere with a line to it."""
        if not text:
            return
        x, y = (at.x - self._west) * self._per_m, (at.y - self._south) * self._per_m
        width = len(text) * _CHARACTER_PT * (1.1 if is_bold else 1.0)
        dx, dy = self._labels.place(x, y, width)
        leader = {"arrowstyle": "-", "linewidth": 0.4, "color": styles.GREY, "shrinkB": 3.0}
        self._axes.annotate(
            text,
            at,
            xytext=(dx, dy),
            textcoords="offset points",
            fontsize=styles.TEXT_PT,
            fontweight="bold" if is_bold else "normal",
            ha="center" if not dx else "right" if dx < 0 else "left",
            va="center",
            zorder=7,
            arrowprops=None if is_beside((dx, dy)) else leader,
        )

    def _keep_clear(self, start: Place, end: Place) -> None:
        """Names do not stand on a way where that can be helped."""
        for step in range(_STEPS + 1):
            x = start.x + (end.x - start.x) * step / _STEPS
            y = start.y + (end.y - start.y) * step / _STEPS
            left, low = (x - self._west) * self._per_m, (y - self._south) * self._per_m
            half = _MARK_PT if start == end else 2.0
            self._labels.keep_clear((left - half, low - half, left + half, low + half))
            if start == end:
                return


def shape(plan: Plan) -> float:
    """Height of the map to its width, as far as its content asks for it."""
    west, east, south, north = _bounds(plan)
    return min(1.0, max(FLATTEST, (north - south) / (east - west)))


def _bounds(plan: Plan) -> Box:
    """West, east, south and north of everything but zones, with a margin."""
    ways = (*plan.detectors, *plan.sources, *plan.posts)
    places = [place for way in ways for place in way.places]
    places += [raised.at for raised in plan.alarms]
    xs, ys = [each.x for each in places], [each.y for each in places]
    width, height = max(xs) - min(xs), max(ys) - min(ys)
    margin = max(max(width, height) * MARGIN, LEAST_M / 2 - max(width, height) / 2)
    return min(xs) - margin, max(xs) + margin, min(ys) - margin, max(ys) + margin


def _frame(plan: Plan, size_in: tuple[float, float]) -> Box:
    """The same in the shape of the axis."""
    west, east, south, north = _bounds(plan)
    ratio = size_in[0] / size_in[1]
    width, height = east - west, north - south
    width, height = max(width, height * ratio), max(height, width / ratio)
    x, y = (west + east) / 2, (south + north) / 2
    return x - width / 2, x + width / 2, y - height / 2, y + height / 2


def _longest(places: Sequence[Place]) -> tuple[Place, Place]:
    return max(pairwise(places), key=lambda p: (p[1].x - p[0].x) ** 2 + (p[1].y - p[0].y) ** 2)
