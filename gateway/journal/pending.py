"""Samples that wait for a number: bounded in bytes, the oldest are given up first."""

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from gateway.values import Entry, Lane

GROUP_RECORDS: Final = 1000
"""Entries in one row; a transaction takes up to GROUPS_A_BATCH of them."""
GROUPS_A_BATCH: Final = 8


class PendingSamples:
    """The queues of the samples lanes; ``unstored`` counts what was given up."""

    def __init__(self, limit_bytes: int, unstored: Counter[Lane]) -> None:
        self._limit_bytes = limit_bytes
        self._unstored = unstored
        self._given_up: Counter[Lane] = Counter()
        self._bytes = 0
        self._queues: dict[Lane, deque[Entry]] = {
            lane: deque() for lane in Lane if not lane.is_alarm
        }

    def __bool__(self) -> bool:
        return any(self._queues.values())

    def add(self, entries: Sequence[Entry]) -> None:
        """Takes the samples among the entries."""
        for entry in entries:
            queue = self._queues.get(entry.lane)
            if queue is not None:
                queue.append(entry)
                self._bytes += _size(entry)
        while self._bytes > self._limit_bytes:
            lane, longest = max(self._queues.items(), key=lambda item: len(item[1]))
            self._bytes -= _size(longest.popleft())
            self._unstored[lane] += 1
            self._given_up[lane] += 1

    def given_up(self) -> Counter[Lane]:
        """What was given up since this was asked."""
        counts, self._given_up = self._given_up, Counter()
        return counts

    def take(self) -> Iterator[tuple[Lane, list[Entry]]]:
        """The oldest entries in the pieces that become rows."""
        pieces = GROUPS_A_BATCH
        for lane, queue in self._queues.items():
            while queue and pieces:
                pieces -= 1
                entries = list(islice(queue, GROUP_RECORDS))
                for entry in entries:
                    queue.popleft()
                    self._bytes -= _size(entry)
                yield lane, entries


def _size(entry: Entry) -> int:
    return len(entry.body) + len(entry.topic)
