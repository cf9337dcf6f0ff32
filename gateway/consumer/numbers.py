"""Which numbers of a lane have come and which are missing, in memory that does not grow with them.

Part of ``consumer.py``; depends on the standard library alone, so that others may take it.
"""

from bisect import bisect_left
from collections.abc import Iterator
from enum import StrEnum
from typing import Final

Range = tuple[int, int]
"""First and last, both included."""
RANGES: Final = 20_000
"""Own choice: so many separate ranges of one lane and epoch are told apart. Summaries of a thousand
detectors over ten seconds leave about half of it for a moment."""


class Ranges:
    """A set of numbers, kept as sorted ranges that do not touch."""

    def __init__(self) -> None:
        self._ranges: list[Range] = []

    def __iter__(self) -> Iterator[Range]:
        return iter(self._ranges)

    def __len__(self) -> int:
        return len(self._ranges)

    def total(self) -> int:
        """How many numbers it holds."""
        return sum(last - first + 1 for first, last in self._ranges)

    def add(self, first: int, last: int) -> None:
        """Adds a range, joined with those it touches."""
        if last < first:
            return
        at = self._at(first - 1)
        end = at
        while end < len(self._ranges) and self._ranges[end][0] <= last + 1:
            first = min(first, self._ranges[end][0])
            last = max(last, self._ranges[end][1])
            end += 1
        self._ranges[at:end] = [(first, last)]

    def remove(self, first: int, last: int) -> list[Range]:
        """Takes away what it holds of a range; what that was."""
        gone: list[Range] = []
        if last < first:
            return gone
        at = self._at(first)
        while at < len(self._ranges) and self._ranges[at][0] <= last:
            low, high = self._ranges[at]
            left = [(low, first - 1)] if low < first else []
            right = [(last + 1, high)] if high > last else []
            gone.append((max(low, first), min(high, last)))
            self._ranges[at : at + 1] = left + right
            at += len(left)
            if right:
                break
        return gone

    def shorten(self) -> list[Range]:
        """Forgets its oldest ranges where it has too many; which."""
        forgotten = self._ranges[: max(0, len(self._ranges) - RANGES)]
        del self._ranges[: len(forgotten)]
        return forgotten

    def _at(self, number: int) -> int:
        """Index of the first range that does not end before a number."""
        return bisect_left(self._ranges, number, key=lambda each: each[1])


class Taken(StrEnum):
    """What one number was."""

    NEW = "new"
    LATE = "late"
    DUPLICATE = "duplicate"


class Stream:
    """One lane in one epoch.

    ``missing`` is what must still come. ``unasked`` is what may come and is taken once: numbers
    from before the consumer joined, and those of which it was told why they do not come. What is
    ``covered`` came in a summary, and is taken once if it comes whole as well. The stream is
    ``final`` when no number above ``newest`` will come; ``moved`` is the time of its last change.
    ``doomed`` ranges are no longer all kept.
    """

    def __init__(self, now: float, *, joined: bool) -> None:
        self.newest = 0
        self.missing = Ranges()
        self.unasked = Ranges()
        self.covered = Ranges()
        self.doomed = Ranges()
        self.told = Ranges()
        self.joined = joined
        self.final = False
        self.expected: tuple[int, float] | None = None
        self.moved = now
        self.asked = 0
        self.ask_after = now

    def join(self, base: int) -> None:
        """From here on every number is awaited; up to ``base`` they are welcome."""
        if not self.joined:
            self.unasked.add(self.newest + 1, base)
            self.newest = max(self.newest, base)
            self.joined = True

    def take(self, seq: int, now: float) -> Taken:
        """One number came."""
        if seq > self.newest:
            self.reach(seq - 1, now)
            self.newest = seq
            return Taken.NEW if self.joined else Taken.LATE
        if self.missing.remove(seq, seq):
            self.moved = now
            self.asked = 0
            return Taken.LATE
        is_welcome = self.unasked.remove(seq, seq) or self.covered.remove(seq, seq)
        return Taken.LATE if is_welcome else Taken.DUPLICATE

    def reach(self, last: int, now: float) -> None:
        """Numbers up to ``last`` exist."""
        if last > self.newest:
            (self.missing if self.joined else self.unasked).add(self.newest + 1, last)
            self.newest = last
            self.moved = now

    def expect(self, last: int, now: float) -> None:
        """Numbers up to ``last`` exist, and may be on their way."""
        if self.expected is None and last > self.newest:
            self.expected = (last, now)

    def settle(self, before: float) -> None:
        """What was expected since ``before`` is on its way no more."""
        if self.expected is not None and self.expected[1] <= before:
            self.reach(self.expected[0], self.expected[1])
            self.expected = None

    def excuse(self, first: int, last: int, now: float) -> int:
        """These need not come; how many of them had not."""
        self.reach(last, now)
        gone = self.missing.remove(first, last)
        for each in gone:
            self.unasked.add(*each)
        return sum(high - low + 1 for low, high in gone)

    def cover(self, first: int, last: int, now: float) -> int:
        """These came in a summary; how many of them had not come before."""
        self.reach(last, now)
        gone = self.missing.remove(first, last) + self.unasked.remove(first, last)
        for each in gone:
            self.covered.add(*each)
            self.moved = now
        return sum(high - low + 1 for low, high in gone)

    def untold(self) -> list[Range]:
        """Missing ranges that were not told yet; they are from now on."""
        new = Ranges()
        for each in self.missing:
            new.add(*each)
        for each in self.told:
            new.remove(*each)
        for each in new:
            self.told.add(*each)
        return list(new)

    def wanted(self, hole: int, most: int) -> Iterator[Range]:
        """Missing ranges of up to ``most`` numbers, joined over holes of up to ``hole``."""
        joined: list[Range] = []
        for first, last in self.missing:
            if joined and first - joined[-1][1] - 1 <= hole:
                joined[-1] = (joined[-1][0], last)
            else:
                joined.append((first, last))
        for first, last in joined:
            for start in range(first, last + 1, most):
                yield start, min(last, start + most - 1)
