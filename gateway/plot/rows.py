"""Below the readings: the life of each alarm, a row a kind, and what was wrong or done."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from matplotlib.axes import Axes

from gateway.alarms.record import AlarmEvent
from gateway.plot import styles
from gateway.plot.choice import CHARACTER_IN
from gateway.plot.styles import Key
from gateway.plot.values import Alarm, Happened, Mark, StateSpan, Story, grade

BAR: Final = 0.34
BAR_AT: Final = 0.30
TEXT_AT: Final = 0.74
"""In a row of height 1: a bar, where its middle is, and where the words above it are."""
MARKS_APART_IN: Final = 0.09
"""Marks that are closer stand above each other, so that each is at its own time."""
_NAMED: Final = (AlarmEvent.RAISED, AlarmEvent.ESCALATED)
_HATCHES: Final = {
    "learning": "...",
    "degraded": "\\\\\\",
    "stale": "////",
    "missing": "xxxx",
    "fault": "++++",
    "out_of_service": "||||",
    "off_duty": "----",
}


class Rows:
    """Draws rows from the top; x is in s after the story's begin, ``width_in`` of the axis."""

    def __init__(self, axes: Axes, story: Story, key: Key, count: int, width_in: float) -> None:
        self._axes = axes
        self._story = story
        self._key = key
        self._per_inch = max(story.end - story.begin, 1e-9) / width_in
        self._y = count - 1.0
        axes.set_ylim(0, count)
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        axes.grid(axis="x", color=styles.PALE, linewidth=0.4)
        axes.set_axisbelow(True)

    def alarms(self, row: Sequence[Alarm]) -> None:
        """Alarms of one name."""
        self._head(row[0].alarm, BAR_AT)
        before = -math.inf
        is_up = False
        raised: list[float] = []
        told: list[Happened] = []
        for alarm in row:
            self._life(alarm)
            earlier = [each for each in alarm.history if each.time < self._story.begin]
            if earlier and grade(earlier[-1].level):
                told.append(replace(earlier[-1], time=self._story.begin))
            for each in alarm.history:
                if each.event not in styles.EVENTS or not self._is_in(each.time):
                    continue
                x = each.time - self._story.begin
                is_up = 0 <= x - before < MARKS_APART_IN * self._per_inch and not is_up
                before = x
                self._mark(each, x, is_up)
                raised += [x] if is_up else []
                told += [each] if each.event in _NAMED and grade(each.level) else []
        self._levels(told, raised)
        self._y -= 1

    def _levels(self, told: Sequence[Happened], above: Sequence[float]) -> None:
        """Names of levels above the bar, to the left where marks stand to the right."""
        free = -math.inf
        for each in told:
            x = each.time - self._story.begin
            end = x + self._length(each.level)
            is_left = any(x - 1e-9 <= mark <= end for mark in above)
            begin = x - self._length(each.level) if is_left else x
            if begin >= free:
                self._text(each.level, x, is_bold=True, is_left=is_left)
                free = x if is_left else end

    def states(self, states: Sequence[StateSpan]) -> None:
        """How a detector was, where that was not well."""
        self._head("state", BAR_AT)
        for span in states:
            if span.state in _HATCHES:
                self._state(span)
        self._y -= 1

    def events(self, rows: Sequence[Sequence[Mark]]) -> None:
        """What was done to it."""
        for index, marks in enumerate(rows):
            if index == 0:
                self._head("events", TEXT_AT)
            free = -math.inf
            for mark in marks:
                x = mark.time - self._story.begin
                self._axes.plot([x, x], [self._y + 0.05, self._y + 1], **styles.EVENT)
                if mark.is_fault:
                    self._axes.plot(x, self._y + BAR_AT, **styles.FAULT, clip_on=False)
                    self._key.line("fault or outage of the scenario", styles.FAULT)
                if x >= free:
                    free = x + self._length(mark.text)
                    self._text(mark.text, x)
            self._y -= 1

    def _mark(self, happened: Happened, x: float, is_up: bool) -> None:
        style = styles.EVENTS[happened.event]
        y = self._y + (TEXT_AT if is_up else BAR_AT)
        self._axes.plot(x, y, **style, zorder=4, clip_on=False)
        self._key.line(f"alarm {happened.event}", style)

    def _head(self, text: str, at: float) -> None:
        self._axes.annotate(
            text,
            (0, self._y + at),
            xycoords=("axes fraction", "data"),
            xytext=(-4, 0),
            textcoords="offset points",
            fontsize=styles.TEXT_PT,
            ha="right",
            va="center",
            annotation_clip=False,
        )

    def _life(self, alarm: Alarm) -> None:
        over = alarm.returned or alarm.closed or self._story.end
        if alarm.is_hidden:
            self._bar(alarm.raised, over, styles.HIDDEN)
            self._key.patch("alarm holds, hidden behind another", styles.HIDDEN)
        else:
            self._bar(alarm.raised, over, styles.ACTIVE)
            self._key.patch("alarm holds", styles.ACTIVE)
        for begin, end in alarm.stale:
            last = over if end is None else min(end, over)
            if last > begin:
                self._bar(begin, last, styles.STALE)
                self._key.patch("alarm holds, data are stale", styles.STALE)
        closed = self._story.end if alarm.closed is None else alarm.closed
        if closed > over:
            xs = [self._clip(over), self._clip(closed)]
            self._axes.plot(xs, [self._y + BAR_AT] * 2, **styles.OPEN)
            self._key.line("alarm over, not closed", styles.OPEN)

    def _bar(self, begin: float, end: float, style: styles.Style) -> None:
        first, last = self._clip(begin), self._clip(end)
        if last > first:
            self._axes.broken_barh(
                [(first, last - first)], (self._y + BAR_AT - BAR / 2, BAR), **style, zorder=3
            )

    def _state(self, span: StateSpan) -> None:
        end = self._story.end if span.end is None else span.end
        style = {**styles.STATE, "hatch": _HATCHES[span.state]}
        self._bar(span.begin, end, style)
        self._key.patch(f"state {span.state}", style)

    def _text(self, text: str, x: float, *, is_bold: bool = False, is_left: bool = False) -> None:
        """Writes it above the bar, beside x."""
        is_left |= x + self._length(text) > self._story.end - self._story.begin
        self._axes.annotate(
            text,
            (x, self._y + TEXT_AT),
            xytext=(-3 if is_left else 3, 0),
            textcoords="offset points",
            fontsize=styles.TEXT_PT,
            fontweight="bold" if is_bold else "normal",
            ha="right" if is_left else "left",
            va="center",
            zorder=5,
        )

    def _length(self, text: str) -> float:
        """About how many seconds of the axis a text covers."""
        return (len(text) * CHARACTER_IN + 0.12) * self._per_inch

    def _is_in(self, time: float) -> bool:
        return self._story.begin <= time <= self._story.end

    def _clip(self, time: float) -> float:
        return min(max(time, self._story.begin), self._story.end) - self._story.begin
