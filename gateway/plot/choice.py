"""What of a story is drawn, and how: the gravest first, scales, pieces of lines. Pure."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise
from statistics import median
from typing import Final

from gateway.plot.values import Alarm, DetectorStory, Mark, Point, Series, Shown, Story

NO_ALARM: Final = 99
"""Behind every priority."""
BROKEN_PERIODS: Final = 3.0
"""A line ends where more than so many usual periods lie between two readings: own choice."""
MOST_POINTS: Final = 3000
"""A series with more is thinned to the extremes of so many pieces of time: own choice."""
LOG_FROM: Final = 30.0
"""A scale is logarithmic where its greatest value is so many times its smallest: own choice."""
MOST_ROWS: Final = 4
"""Rows of alarms below a detector: own choice."""
MOST_EVENT_ROWS: Final = 3
"""Rows of what a scenario did to a detector: own choice."""
CHARACTER_IN: Final = 0.058
"""About the width of a character of a row's text, to keep texts apart."""
CLOSE_LEVELS: Final = 10.0
"""A level above the greatest reading is drawn if it is at most so many times it: own choice."""
_STATES_TOLD: Final = ("degraded", "stale", "missing", "fault", "out_of_service", "off_duty")


class Scale(StrEnum):
    """Of an axis; the third is logarithmic and reaches down to zero."""

    LINEAR = "linear"
    LOG = "log"
    SYMLOG = "symlog"


@dataclass(frozen=True, slots=True)
class Block:
    """One detector in the picture: what its axes show, and the rows of alarms below them.

    ``hidden_rows``: alarms of so many kinds are not drawn. ``events``: what was done, in rows.
    """

    detector: DetectorStory
    shown: tuple[Shown, ...]
    rows: tuple[tuple[Alarm, ...], ...] = ()
    hidden_rows: int = 0
    has_states: bool = False
    events: tuple[tuple[Mark, ...], ...] = ()

    @property
    def row_count(self) -> int:
        """Rows below the axes."""
        return len(self.rows) + self.has_states + len(self.events)


@dataclass(frozen=True, slots=True)
class Room:
    """Inches: what there is, and what each part of a block takes at least."""

    height: float
    width: float
    axis: float
    row: float
    head: float


@dataclass(frozen=True, slots=True)
class Choice:
    """The blocks, the gravest first, and what is left out."""

    blocks: tuple[Block, ...]
    left_out: tuple[DetectorStory, ...]
    axes_left_out: tuple[tuple[str, Shown], ...]


def choose(story: Story, room: Room, marks: Sequence[Mark] = ()) -> Choice:
    """As many detectors as there is room for, then their other axes; at least one detector."""
    ranked = sorted(story.detectors, key=rank)
    blocks: list[Block] = []
    left = room.height
    for detector in ranked:
        events = packed(story, [mark for mark in marks if mark.detector == detector.id], room.width)
        block = _block(detector, events)
        cost = room.head + room.axis * bool(block.shown) + room.row * block.row_count
        if blocks and cost > left:
            break
        blocks.append(block)
        left -= cost
    more: list[tuple[str, Shown]] = []
    for index, block in enumerate(blocks):
        for shown in axes(block.detector)[1:]:
            if left < room.axis:
                more.append((block.detector.id, shown))
                continue
            blocks[index] = _with(blocks[index], shown)
            left -= room.axis
    return Choice(tuple(blocks), tuple(ranked[len(blocks) :]), tuple(more))


def rank(detector: DetectorStory) -> tuple[int, float, float, tuple[str, int]]:
    """The smaller, the worse: its gravest alarm, how far it was above its lowest level, silence."""
    seen = [alarm.priority for alarm in detector.alarms if not alarm.is_hidden]
    lowest = min((level.raise_at for level in detector.thresholds), default=math.inf)
    silent = sum(end - begin for begin, end in detector.silences)
    above = float(f"{_peak(detector) / lowest:.3g}")
    return min(seen, default=NO_ALARM), -above, -silent, natural(detector.id)


def natural(name: str) -> tuple[str, int]:
    """A name's place in an order in which prd-2 comes before prd-10."""
    stem = name.rstrip("0123456789")
    return stem, int(name[len(stem) :] or 0)


def _peak(detector: DetectorStory) -> float:
    points = (p for series in detector.of(Shown.DOSE_RATE) for p in series.points)
    return max((p.value or p.lower_bound or 0.0 for p in points), default=0.0)


def axes(detector: DetectorStory) -> tuple[Shown, ...]:
    """What it has readings of; first that which its gravest alarm is about."""
    there = [shown for shown in Shown if any(s.points for s in detector.of(shown))]
    grave = min((a for a in detector.alarms if not a.is_hidden), key=_gravity, default=None)
    first = None if grave is None else about(grave)
    return tuple(sorted(there, key=lambda shown: shown is not first))


def about(alarm: Alarm) -> Shown | None:
    """Which readings an alarm is about, if any."""
    if "neutron" in alarm.alarm:
        return Shown.NEUTRON
    if "gamma" in alarm.alarm:
        return Shown.GAMMA
    return Shown.DOSE_RATE if alarm.alarm.startswith("dose") else None


def _gravity(alarm: Alarm) -> tuple[bool, int, float]:
    return alarm.is_hidden, alarm.priority, alarm.raised


def _block(detector: DetectorStory, events: tuple[tuple[Mark, ...], ...]) -> Block:
    lanes = rows_of(detector.alarms)
    told = any(span.state in _STATES_TOLD for span in detector.states)
    return Block(
        detector,
        axes(detector)[:1],
        lanes[:MOST_ROWS],
        max(0, len(lanes) - MOST_ROWS),
        told,
        events,
    )


def _with(block: Block, shown: Shown) -> Block:
    order = [each for each in Shown if each in (*block.shown, shown)]
    return replace(block, shown=tuple(order))


def packed(story: Story, marks: Sequence[Mark], width_in: float) -> tuple[tuple[Mark, ...], ...]:
    """Marks in rows, so that their texts do not cover each other; the last row takes the rest."""
    per_inch = max(story.end - story.begin, 1e-9) / width_in
    rows: list[list[Mark]] = []
    free: list[float] = []
    there = [mark for mark in marks if story.begin <= mark.time <= story.end]
    for mark in sorted(there, key=lambda each: each.time):
        end = mark.time + (len(mark.text) * CHARACTER_IN + 0.12) * per_inch
        index = next((i for i, until in enumerate(free) if mark.time >= until), len(rows))
        if index == len(rows) and len(rows) < MOST_EVENT_ROWS:
            rows.append([])
            free.append(end)
        index = min(index, len(rows) - 1)
        rows[index].append(mark)
        free[index] = max(free[index], end)
    return tuple(tuple(row) for row in rows)


def rows_of(alarms: Sequence[Alarm]) -> tuple[tuple[Alarm, ...], ...]:
    """Alarms by their name, the gravest first."""
    by_name: dict[str, list[Alarm]] = {}
    for alarm in sorted(alarms, key=_gravity):
        by_name.setdefault(alarm.alarm, []).append(alarm)
    return tuple(tuple(sorted(row, key=lambda each: each.raised)) for row in by_name.values())


def runs(points: Sequence[Point]) -> list[tuple[Point, ...]]:
    """Unbroken pieces of a line: a missing number, a pause and a clock set back end one."""
    apart = [b.time - a.time for a, b in pairwise(points) if b.time > a.time]
    limit = BROKEN_PERIODS * median(apart) if apart else 0.0
    found: list[list[Point]] = []
    before: Point | None = None
    for point in points:
        if point.value is None:
            before = None
            continue
        if before is None or not 0 <= point.time - before.time <= limit:
            found.append([])
        found[-1].append(point)
        before = point
    return [tuple(run) for run in found]


def thinned(points: Sequence[Point], begin: float, end: float, most: int) -> Sequence[Point]:
    """The same points, or the first, last, least and greatest of each small piece of time."""
    if len(points) <= most or end <= begin:
        return points
    pieces = max(1, most // 4)
    kept: dict[int, list[Point]] = {}
    for point in points:
        kept.setdefault(int((point.time - begin) / (end - begin) * pieces), []).append(point)
    found: list[Point] = []
    for piece in kept.values():
        found += _extremes(piece)
    return found


def _extremes(piece: list[Point]) -> list[Point]:
    values = [point.value for point in piece if point.value is not None]
    if not values:
        return [piece[0], piece[-1]]
    ends = {0, len(piece) - 1}
    for wanted in (min(values), max(values)):
        ends.add(next(i for i, point in enumerate(piece) if point.value == wanted))
    return [piece[index] for index in sorted(ends)]


def scale_of(values: Iterable[float]) -> Scale:
    """Which scale these need."""
    there = [value for value in values if math.isfinite(value)]
    positive = [value for value in there if value > 0]
    if not positive or max(positive) < LOG_FROM * min(positive) or min(there) < 0:
        return Scale.LINEAR
    return Scale.LOG if min(there) > 0 else Scale.SYMLOG


def levels_drawn(values: Sequence[float], levels: Sequence[float]) -> int:
    """How many of the levels, in rising order, belong on the axis.

    Those that were reached, the next if it is close, and the lowest always.
    """
    greatest = max(values, default=0.0)
    passed = sum(level <= greatest for level in levels)
    has_next = passed < len(levels) and levels[passed] <= CLOSE_LEVELS * greatest
    return min(len(levels), max(passed + has_next, 1))


def first_part(series: Sequence[Series]) -> tuple[Series, ...]:
    """What is drawn of one axis: counts rather than a rate, which is an average of them; all parts.

    Of the same unit only: that with the most readings.
    """
    counted = [each for each in series if each.channel.endswith("counts")]
    wanted = counted or [each for each in series if not each.part] or list(series)
    fullest = max(wanted, key=lambda each: len(each.points))
    return tuple(each for each in wanted if each.unit == fullest.unit)
