"""What was owed and no longer exists, on its way to those who were owed it: few messages."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from gateway.journal.retention import merged
from gateway.journal.spans import Span
from gateway.values import Entry, Lane
from gateway.wire.delivery import LOST, Lost
from gateway.wire.table import dump

TELL_S: Final = 1.0
"""At most one message in this time and lane."""
WAITING: Final = 32
"""Ranges that wait in a lane; more are told as one with gaps, its count says how many. Own
choice."""
TOO_SLOW: Final = "the disk was too slow"
TOPIC: Final = "lost"
TOLD_IN: Final = {lane: Lane.EXERCISE_ALARMS if lane.is_exercise else Lane.ALARMS for lane in Lane}


class LossReport:
    """Gathers losses, and says now and then what to tell."""

    def __init__(self) -> None:
        self._waiting: dict[Lane, deque[Lost]] = {}

    def __bool__(self) -> bool:
        return any(self._waiting.values())

    def add(self, losses: Sequence[Lost]) -> None:
        """Takes losses; adjacent ranges are joined."""
        for loss in losses:
            waiting = self._waiting.setdefault(TOLD_IN[loss.lane], deque())
            last = [waiting.pop()] if waiting else []
            waiting.extend(merged([*last, loss]))
            if len(waiting) > WAITING:
                self._waiting[TOLD_IN[loss.lane]] = deque(_joined(waiting))

    def take(self) -> tuple[list[Entry], list[tuple[Lane, Span]]]:
        """One message a lane of alarms, and the spans of the tombstones that they tell of."""
        entries = []
        spans = []
        for told_in, waiting in self._waiting.items():
            if waiting:
                loss = waiting.popleft()
                entries.append(Entry(told_in, TOPIC, dump(LOST.encode(loss))))
                if loss.first is not None and loss.last is not None:
                    spans.append((loss.lane, Span(loss.epoch, loss.first, loss.last)))
        return entries, spans


def _joined(losses: Sequence[Lost] | deque[Lost]) -> list[Lost]:
    """Ranges of one lane, epoch and reason as one, from the first to the last."""
    joined: dict[tuple[Lane, int, str, bool], Lost] = {}
    for loss in losses:
        key = (loss.lane, loss.epoch, loss.reason, loss.first is None)
        joined[key] = _cover(joined[key], loss) if key in joined else loss
    return list(joined.values())


def _cover(one: Lost, other: Lost) -> Lost:
    firsts = [each.first for each in (one, other) if each.first is not None]
    lasts = [each.last for each in (one, other) if each.last is not None]
    return replace(
        one,
        first=min(firsts, default=None),
        last=max(lasts, default=None),
        count=one.count + other.count,
        sinks=tuple(dict.fromkeys((*one.sinks, *other.sinks))),
    )


def given_up(counts: Mapping[Lane, int], epoch: int, sinks: Sequence[str]) -> list[Lost]:
    """Samples that never had a number."""
    return [
        Lost(lane, epoch, None, None, count, TOO_SLOW, tuple(sinks))
        for lane, count in counts.items()
        if count
    ]
