"""Which numbers of a lane are owed to a sink, and how that is written down."""

import json
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from gateway.values import Lane


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """The numbers ``first`` to ``last``, both included, of one epoch of a lane."""

    epoch: int
    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first + 1


class Spans:
    """A sorted set of numbers, kept as disjoint spans."""

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        self._spans: list[Span] = []
        for span in spans:
            self.add(span)

    def __iter__(self) -> Iterator[Span]:
        return iter(self._spans)

    def __bool__(self) -> bool:
        return bool(self._spans)

    def total(self) -> int:
        """How many numbers it holds."""
        return sum(map(len, self._spans))

    def add(self, new: Span) -> None:
        """Adds a span, joined with those it touches."""
        if new.last < new.first:
            return
        spans = self._spans
        at = bisect_left(spans, new)
        if at and _touch(spans[at - 1], new):
            at -= 1
            new = _joined(spans[at], new)
        end = at
        while end < len(spans) and _touch(new, spans[end]):
            new = _joined(new, spans[end])
            end += 1
        spans[at:end] = [new]

    def discard(self, gone: Span) -> None:
        """Takes away every number of ``gone`` that is there."""
        at = self._at(gone.epoch, gone.first)
        while at < len(self._spans):
            span = self._spans[at]
            if span.epoch != gone.epoch or span.first > gone.last:
                return
            left = [Span(span.epoch, span.first, gone.first - 1)] if span.first < gone.first else []
            right = [Span(span.epoch, gone.last + 1, span.last)] if span.last > gone.last else []
            self._spans[at : at + 1] = left + right
            at += len(left) + len(right)

    def from_position(self, epoch: int, seq: int) -> Span | None:
        """The first span at or after a number, cut to begin no earlier than it."""
        at = self._at(epoch, seq)
        if at == len(self._spans):
            return None
        span = self._spans[at]
        if span.epoch > epoch or span.first >= seq:
            return span
        return Span(epoch, seq, span.last)

    def _at(self, epoch: int, seq: int) -> int:
        """Index of the first span that does not end before a number."""
        at = bisect_left(self._spans, Span(epoch, seq, seq))
        if at and self._spans[at - 1].epoch == epoch and self._spans[at - 1].last >= seq:
            return at - 1
        return at


def _touch(one: Span, after: Span) -> bool:
    return one.epoch == after.epoch and after.first <= one.last + 1


def _joined(one: Span, other: Span) -> Span:
    return Span(one.epoch, min(one.first, other.first), max(one.last, other.last))


@dataclass(frozen=True, slots=True)
class Cursor:
    """What one sink has of one lane.

    It owes nothing of ``epoch`` up to ``acknowledged`` and nothing older, apart from ``backlog``.
    """

    epoch: int
    acknowledged: int
    backlog: tuple[Span, ...] = ()

    def encode(self) -> str:
        """As stored."""
        spans = [(span.epoch, span.first, span.last) for span in self.backlog]
        return json.dumps([self.epoch, self.acknowledged, spans], separators=(",", ":"))

    def owed(self, last: Mapping[int, int]) -> Spans:
        """Everything owed when the newest number of each epoch is ``last``."""
        spans = Spans(self.backlog)
        for epoch, newest in last.items():
            if epoch == self.epoch:
                spans.add(Span(epoch, self.acknowledged + 1, newest))
            elif epoch > self.epoch:
                spans.add(Span(epoch, 1, newest))
        return spans


def decode_cursor(text: str) -> Cursor | None:
    """A stored cursor; None if it is not one, which means: everything is owed."""
    try:
        epoch, acknowledged, spans = json.loads(text)
        backlog = tuple(Span(int(e), int(first), int(last)) for e, first, last in spans)
        return Cursor(int(epoch), int(acknowledged), backlog)
    except (ValueError, TypeError):
        return None


Cursors = Mapping[Lane, Cursor]
