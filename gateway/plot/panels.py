"""One axis of readings over time: lines, counts, levels in force, what has no number."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.ticker import (
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    SymmetricalLogLocator,
)

from gateway.alarms.record import AlarmEvent
from gateway.plot import styles
from gateway.plot.choice import (
    MOST_POINTS,
    Scale,
    about,
    first_part,
    levels_drawn,
    runs,
    scale_of,
    thinned,
)
from gateway.plot.numbers import plain
from gateway.plot.styles import Key
from gateway.plot.values import DetectorStory, Mark, Point, Series, Shown, Story, Threshold

LABEL_IN: Final = 0.52
"""From an axis to its name."""
EARLY: Final = 0.12
"""Names of marks stand to their left, but not in this first part of the axis."""
_NAMES: Final = {
    Shown.DOSE_RATE: "dose rate",
    Shown.GAMMA: "gamma",
    Shown.NEUTRON: "neutrons",
}
_SAID: Final = (AlarmEvent.RAISED, AlarmEvent.ESCALATED)


class Panel:
    """Draws one axis of one detector, ``width_in`` wide; x is in s after the story's begin."""

    def __init__(self, axes: Axes, story: Story, key: Key, width_in: float) -> None:
        self._axes = axes
        self._story = story
        self._key = key
        self._width_in = width_in
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=styles.SMALL_PT, length=2.5, width=0.5)
        axes.grid(axis="x", color=styles.PALE, linewidth=0.4)
        axes.set_axisbelow(True)

    def draw(self, detector: DetectorStory, shown: Shown, marks: Iterable[Mark]) -> None:
        """All of it."""
        series = first_part(detector.of(shown))
        levels = detector.thresholds if shown is Shown.DOSE_RATE and _in_levels(series) else ()
        self._scale(series, levels)
        self._label(shown, series)
        self._silences(detector)
        for mark in marks:
            self._axes.axvline(self._x(mark.time), **styles.MARK)
            self._key.line("event of the scenario", styles.MARK)
        for index, one in enumerate(series):
            if shown is Shown.DOSE_RATE:
                self._rate(one)
            else:
                self._counts(one, shown, styles.PARTS[index % len(styles.PARTS)])
            self._without_number(one)
        if shown is Shown.DOSE_RATE:
            self._alarms(detector)
        else:
            self._passages(detector)
            self._alarms_above(detector, shown)

    def _x(self, time: float) -> float:
        return time - self._story.begin

    def _scale(self, series: Sequence[Series], levels: Sequence[Threshold]) -> None:
        values = [v for each in series for point in each.points for v in _numbers(point)]
        drawn = levels[: levels_drawn(values, [level.raise_at for level in levels])]
        scale = scale_of([*values, *(level.raise_at for level in drawn)])
        _set_scale(self._axes, scale, [*values, *(level.raise_at for level in drawn)])
        for level in drawn:
            self._axes.axhline(level.raise_at, **styles.LEVEL)
            self._axes.annotate(
                f"{level.level}  {plain(level.raise_at)}",
                (1.0, level.raise_at),
                xycoords=("axes fraction", "data"),
                xytext=(3, 0),
                textcoords="offset points",
                fontsize=styles.TEXT_PT,
                va="center",
                annotation_clip=False,
            )
            self._key.line("level in force: raises an alarm", styles.LEVEL)
        above = levels[len(drawn) :]
        if above:
            told = ", ".join(f"{level.level} {plain(level.raise_at)}" for level in above)
            self._axes.text(
                1.0,
                1.0,
                f"above the scale: {told}",
                transform=self._axes.transAxes,
                fontsize=styles.SMALL_PT,
                ha="right",
                va="bottom",
            )

    def _label(self, shown: Shown, series: Sequence[Series]) -> None:
        unit = series[0].unit if series else ""
        estimate = "\n(estimate)" if any(each.indicative for each in series) else ""
        per = "counts per reading" if unit == "count" else unit
        self._axes.set_ylabel(f"{_NAMES[shown]}{estimate}\n{per}", fontsize=styles.TEXT_PT)
        self._axes.yaxis.set_label_coords(-LABEL_IN / self._width_in, 0.5)

    def _silences(self, detector: DetectorStory) -> None:
        for begin, end in detector.silences:
            self._axes.axvspan(self._x(begin), self._x(end), zorder=0.5, **styles.SILENCE)
            self._key.patch("no samples came", styles.SILENCE)

    def _rate(self, series: Series) -> None:
        for run in runs(series.points):
            points = self._thinned(run)
            lone: dict[str, Any] = {"marker": ".", "markersize": 3.5} if len(points) == 1 else {}
            style = styles.ESTIMATE if series.indicative else styles.RATE
            self._plot(points, **style, **lone)
            label = "dose rate estimated from counts" if series.indicative else "dose rate"
            self._key.line(label, style)
        self._bounds(series)

    def _counts(self, series: Series, shown: Shown, marker: str) -> None:
        points = [point for point in series.points if point.value is not None]
        if points:
            self._plot(self._thinned(points), marker=marker, **styles.COUNTS)
            part = f", part {series.part}" if series.part else ""
            self._key.line(f"counts{part}", styles.COUNTS, marker=marker, markersize=6.0)
        self._bounds(series)

    def _bounds(self, series: Series) -> None:
        """Over range there is no value: the true one is at least this."""
        bounds = [
            (self._x(point.time), point.lower_bound)
            for point in series.points
            if point.value is None and point.lower_bound is not None
        ]
        if bounds:
            step = max(1, len(bounds) // 60)
            xs, ys = zip(*bounds[::step], strict=True)
            self._axes.plot(xs, ys, **styles.BOUND, clip_on=False)
            self._key.line("over range: at least this", styles.BOUND)

    def _without_number(self, series: Series) -> None:
        points = [p for p in series.points if p.value is None and p.lower_bound is None]
        if points:
            xs = [self._x(point.time) for point in points]
            self._axes.plot(
                xs, [0.03] * len(xs), transform=self._axes.get_xaxis_transform(), **styles.NO_NUMBER
            )
            self._key.line("a reading without a number", styles.NO_NUMBER)

    def _alarms(self, detector: DetectorStory) -> None:
        """Raised and escalated dose rates where they were, with their level."""
        units = {series.unit for series in detector.of(Shown.DOSE_RATE)}
        for alarm in detector.alarms:
            for each in alarm.history:
                if alarm.is_hidden or each.event not in _SAID or each.unit not in units:
                    continue
                if each.value is None or not self._story.begin <= each.time <= self._story.end:
                    continue
                x = self._x(each.time)
                self._axes.plot(x, each.value, **styles.EVENTS[each.event], zorder=4)
                _named(self._axes, each.level, x, each.value)

    def _alarms_above(self, detector: DetectorStory, shown: Shown) -> None:
        """Alarms of counts are of sums that stand nowhere among them: marked above."""
        for alarm in detector.alarms:
            is_in = self._story.begin <= alarm.raised <= self._story.end
            if about(alarm) is shown and is_in and not alarm.is_hidden:
                x, across = self._x(alarm.raised), self._axes.get_xaxis_transform()
                style = styles.EVENTS[AlarmEvent.RAISED]
                self._axes.plot(x, 0.86, transform=across, **style, zorder=4)
                self._axes.axvline(x, color=styles.BLACK, linewidth=0.6, ymax=0.86)
                _named(self._axes, alarm.grade, x, 0.82, across)

    def _passages(self, detector: DetectorStory) -> None:
        across = self._axes.get_xaxis_transform()
        for passage in detector.passages:
            end = self._story.end if passage.end is None else passage.end
            xs = [self._x(passage.begin), self._x(end)]
            style = styles.PASSED_ALARM if passage.is_alarm else styles.PASSED
            self._axes.plot(xs, [0.97, 0.97], transform=across, **style)
            label = "passage with an alarm" if passage.is_alarm else "passage"
            self._key.line(label, style)

    def _thinned(self, points: Sequence[Point]) -> Sequence[Point]:
        return thinned(points, self._story.begin, self._story.end, MOST_POINTS)

    def _plot(self, points: Sequence[Point], **style: Any) -> None:
        xs = [self._x(point.time) for point in points]
        self._axes.plot(xs, [point.value for point in points if point.value is not None], **style)


def _named(axes: Axes, text: str, x: float, y: float, within: Any = "data") -> None:
    if not text:
        return
    is_early = x < EARLY * axes.get_xlim()[1]
    axes.annotate(
        text,
        (x, y),
        xycoords=within,
        xytext=(3 if is_early else -3, 4),
        textcoords="offset points",
        fontsize=styles.TEXT_PT,
        fontweight="bold",
        ha="left" if is_early else "right",
        zorder=5,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8},
    )


def _numbers(point: Point) -> list[float]:
    return [value for value in (point.value, point.lower_bound) if value is not None]


def _in_levels(series: Sequence[Series]) -> bool:
    """Levels are in µSv/h; an axis in another unit has none."""
    return any(each.unit == "µSv/h" for each in series)


def _set_scale(axes: Axes, scale: Scale, values: Sequence[float]) -> None:
    positive = [value for value in values if value > 0]
    formatter = FuncFormatter(lambda value, _: plain(value))
    if scale is Scale.LINEAR or not positive:
        greatest = max(values, default=1.0) or 1.0
        axes.set_ylim(min(-0.03 * greatest, *values, 0.0), greatest * 1.15)
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    elif scale is Scale.LOG:
        axes.set_yscale("log")
        axes.set_ylim(min(positive) / 1.5, max(positive) * 2.2)
        axes.yaxis.set_major_locator(LogLocator(numticks=5))
    else:
        axes.set_yscale("symlog", linthresh=min(positive))
        axes.set_ylim(0.0, max(positive) * 2.2)
        axes.yaxis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=min(positive)))
    axes.yaxis.set_major_formatter(formatter)
    axes.yaxis.set_minor_formatter(NullFormatter())
