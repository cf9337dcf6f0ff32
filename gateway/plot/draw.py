"""A story as a page: readings over time with the alarms below them, a map, a key.

Drawn on a Figure of its own, with no state that others share; the same story gives the same file.
"""

import io
import textwrap
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from gateway.plot import styles
from gateway.plot.choice import Block, Choice, Room, choose, packed, rows_of
from gateway.plot.clock import Clock
from gateway.plot.panels import Panel
from gateway.plot.places import Plan, plan_of
from gateway.plot.plan import PlanDrawing, shape
from gateway.plot.rows import Rows
from gateway.plot.styles import Key
from gateway.plot.summary import Page, left_out, notes
from gateway.plot.values import Mark, Stage, Story

DPI: Final = 200
LEFT_IN: Final = 1.25
RIGHT_IN: Final = 0.62
TOP_IN: Final = 0.85
BOTTOM_IN: Final = 0.62
EDGE_IN: Final = 0.25
HEAD_IN: Final = 0.24
ROW_IN: Final = 0.25
AXIS_IN: Final = 0.85
"""The least height of an axis of readings; what is left over is shared out."""
MOST_IN: Final = 5.0
GAP_IN: Final = 0.10
SIDE: Final = 0.28
"""Part of the width for map and key: own choice, as are the measures above."""
_LINE_IN: Final = 0.125
CHARACTER_EM: Final = 0.70
"""About the width of a bold character to its height."""
_EXERCISE_IN: Final = (styles.HEAD_PT + 1) / 72


@dataclass(frozen=True, slots=True)
class Drawn:
    """A picture's bytes, and what it leaves out or cannot write."""

    data: bytes
    remarks: tuple[str, ...]


def draw(story: Story, stage: Stage, page: Page, suffix: str) -> Drawn:
    """The picture; the suffix is png or svg."""
    with rc_context(styles.RC), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sheet = _Sheet(story, stage, page)
        remarks = sheet.draw()
        data = _rendered(sheet.figure, suffix)
    if any("Glyph" in str(each.message) for each in caught):
        remarks = (*remarks, "the font lacks characters of these names: they show as boxes")
    return Drawn(data, remarks)


def _rendered(figure: Figure, suffix: str) -> bytes:
    out = io.BytesIO()
    about = {"svg": {"Date": None, "Creator": "dosegate"}, "png": {"Software": "dosegate"}}[suffix]
    figure.savefig(out, format=suffix, metadata=about)
    return out.getvalue()


class _Sheet:
    """One page; measures in inches from its lower left corner."""

    def __init__(self, story: Story, stage: Stage, page: Page) -> None:
        self._story = story
        self._stage = stage
        self._page = page
        self._width, self._height = page.size_in
        self.figure = Figure(figsize=page.size_in, dpi=DPI, facecolor="white")
        FigureCanvasAgg(self.figure)
        self._key = Key()
        self._clock = Clock(story.begin, story.end, stage.played_from)
        self._side = max(2.4, SIDE * self._width)
        self._wide = self._width - self._side - LEFT_IN - RIGHT_IN - EDGE_IN
        self._groups = rows_of(story.groups)
        everybody = [mark for mark in stage.marks if mark.detector is None]
        self._common = packed(story, everybody, self._wide)
        self._choice = self._chosen()

    def draw(self) -> tuple[str, ...]:
        """Everything; what is left out."""
        self._title()
        self._time_part()
        plan = plan_of(self._story, self._stage)
        remarks = left_out(self._choice, self._story, plan)
        below = self._map(plan)
        self._side_text(below, (*remarks, *notes(self._story, self._stage)))
        return remarks

    def _chosen(self) -> Choice:
        height = self._height - TOP_IN - BOTTOM_IN - self._common_in()
        room = Room(height, self._wide, AXIS_IN + GAP_IN, ROW_IN, HEAD_IN)
        return choose(self._story, room, self._stage.marks)

    def _common_in(self) -> float:
        """The height of what concerns all detectors."""
        rows = len(self._groups) + len(self._common)
        return HEAD_IN + ROW_IN * rows if rows else 0.0

    def _title(self) -> None:
        y = self._height - EDGE_IN
        free = self._width - 3 * EDGE_IN - CHARACTER_EM * len(self._page.exercise) * _EXERCISE_IN
        size = min(styles.TITLE_PT, 72 * free / (CHARACTER_EM * max(len(self._page.title), 1)))
        title = self._page.title
        if size < styles.HEAD_PT:
            size = styles.HEAD_PT
            most = int(72 * free / (CHARACTER_EM * size))
            title = textwrap.shorten(title, most, placeholder=" …")
        self._write(EDGE_IN, y, title, size, is_bold=True)
        self._write(EDGE_IN, y - 0.27, self._clock.range_text(), styles.HEAD_PT)
        if self._page.exercise:
            self._write(
                self._width - EDGE_IN,
                y,
                self._page.exercise,
                styles.HEAD_PT + 1,
                is_bold=True,
                is_right=True,
                is_boxed=True,
            )

    def _write(
        self,
        x: float,
        y: float,
        text: str,
        size: float,
        *,
        is_bold: bool = False,
        is_right: bool = False,
        is_boxed: bool = False,
    ) -> None:
        self.figure.text(
            x / self._width,
            y / self._height,
            text,
            fontsize=size,
            fontweight="bold" if is_bold else "normal",
            ha="right" if is_right else "left",
            va="top",
            bbox={"facecolor": "white", "edgecolor": "black", "pad": 4} if is_boxed else None,
        )

    def _axes(self, left: float, bottom: float, width: float, height: float) -> Axes:
        w, h = self._width, self._height
        return self.figure.add_axes((left / w, bottom / h, width / w, height / h))

    def _time_part(self) -> None:
        blocks = self._choice.blocks
        count = sum(len(block.shown) for block in blocks)
        fixed = sum(HEAD_IN + GAP_IN * len(b.shown) + ROW_IN * b.row_count for b in blocks)
        free = self._height - TOP_IN - BOTTOM_IN - fixed - self._common_in()
        top = self._height - TOP_IN
        last: Axes | None = None
        for block in blocks:
            top, last = self._block(block, top, min(free / max(count, 1), MOST_IN))
        if self._groups or self._common:
            last = self._for_all(top)
        if last is not None:
            self._time_axis(last)

    def _for_all(self, top: float) -> Axes:
        """Alarms of several detectors, and what happened to all of them."""
        self._write(LEFT_IN, top - 0.05, "all detectors", styles.HEAD_PT, is_bold=True)
        count = len(self._groups) + len(self._common)
        axes = self._rows_axes(top - HEAD_IN, count)
        rows = Rows(axes, self._story, self._key, count, self._wide)
        for row in self._groups:
            rows.alarms(row)
        rows.events(self._common)
        return axes

    def _block(self, block: Block, top: float, height: float) -> tuple[float, Axes | None]:
        """One detector; where the next begins, and its lowest axis."""
        self._write(LEFT_IN, top - 0.05, _head(block), styles.HEAD_PT, is_bold=True)
        top -= HEAD_IN
        marks = self._marks(block.detector.id)
        last: Axes | None = None
        for shown in block.shown:
            last = self._axes(LEFT_IN, top - height, self._wide, height)
            self._prepare(last)
            panel = Panel(last, self._story, self._key, self._wide)
            panel.draw(block.detector, shown, marks)
            top -= height + GAP_IN
        if block.row_count:
            top += GAP_IN / 2
            last = self._rows_axes(top, block.row_count)
            rows = Rows(last, self._story, self._key, block.row_count, self._wide)
            for row in block.rows:
                rows.alarms(row)
            if block.has_states:
                rows.states(block.detector.states)
            rows.events(block.events)
            top -= ROW_IN * block.row_count + GAP_IN / 2
        return top, last

    def _rows_axes(self, top: float, count: int) -> Axes:
        axes = self._axes(LEFT_IN, top - ROW_IN * count, self._wide, ROW_IN * count)
        self._prepare(axes)
        return axes

    def _marks(self, detector: str) -> list[Mark]:
        return [mark for mark in self._stage.marks if mark.detector in (None, detector)]

    def _prepare(self, axes: Axes) -> None:
        axes.set_xlim(0.0, max(self._story.end - self._story.begin, 1e-3))
        axes.set_xticks(self._clock.ticks(), labels=[])

    def _time_axis(self, axes: Axes) -> None:
        axes.set_xticks(self._clock.ticks(), labels=self._clock.labels())
        axes.tick_params(axis="x", labelsize=styles.TEXT_PT, length=2.5, width=0.5)
        axes.set_xlabel(self._clock.name(), fontsize=styles.TEXT_PT + 0.5)

    def _map(self, plan: Plan) -> float:
        """The map, if there is anything on it; where the side column goes on below."""
        top = self._height - TOP_IN
        if plan.is_empty:
            return top
        width = self._side - 0.5 - EDGE_IN
        height = min(width * shape(plan), (self._height - TOP_IN) * 0.4)
        left = self._width - self._side + 0.5
        axes = self._axes(left, top - height, width, height)
        PlanDrawing(axes, plan, self._key, (width, height)).draw()
        below = top - height - 0.42
        if plan.origin is not None:
            told = f"0, 0 is {plan.origin.latitude:.5f}°, {plan.origin.longitude:.5f}° (WGS84)"
            self._write(left, below + 0.06, told, styles.SMALL_PT)
            below -= 0.1
        return below

    def _side_text(self, below: float, remarks: Iterable[str]) -> None:
        left = self._width - self._side
        entries = self._key.entries
        legend = self.figure.legend(
            list(entries.values()),
            list(entries),
            loc="upper left",
            bbox_to_anchor=(left / self._width, below / self._height),
            borderaxespad=0.0,
            fontsize=styles.TEXT_PT,
            frameon=False,
            handlelength=2.4,
            labelspacing=0.35,
        )
        box = legend.get_window_extent()
        y = box.y0 / self.figure.dpi - 0.08
        width = int((self._side - EDGE_IN) / 0.062)
        for remark in remarks:
            for line in textwrap.wrap(remark, width, subsequent_indent="  "):
                if y < EDGE_IN + 2 * _LINE_IN:
                    self._write(left, y, "… and more: see what the command says", styles.SMALL_PT)
                    return
                self._write(left, y, line, styles.SMALL_PT)
                y -= _LINE_IN


def _head(block: Block) -> str:
    detector = block.detector
    about = [detector.detector_class, f"post {detector.post}" if detector.post else ""]
    told = ", ".join(each for each in about if each)
    hidden = f"   (+{block.hidden_rows} more kinds of alarms)" if block.hidden_rows else ""
    return f"{detector.id}{f'  ·  {told}' if told else ''}{hidden}"
