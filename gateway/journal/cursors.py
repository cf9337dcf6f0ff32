"""What each sink is owed: where it begins, and what of it has to be stored."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from gateway.journal.record import Record
from gateway.journal.spans import Cursor, Cursors, Spans, decode_cursor
from gateway.journal.ticket import Follower
from gateway.values import Lane

CURSORS_S: Final = 0.5

StoredCursor = tuple[str, Lane, str]


class CursorBook:
    """The followers and their cursors, as they are in the file and as they are now."""

    def __init__(self, sinks: Sequence[str]) -> None:
        self._sinks = tuple(sinks)
        self._followers: dict[str, Follower] = {}
        self._stored: dict[tuple[str, Lane], str] = {}
        self._due = 0.0

    def load(self, stored: Mapping[tuple[str, Lane], str]) -> None:
        """What the file says."""
        self._stored = dict(stored)

    def follow(
        self,
        sink: str,
        follower: Follower,
        numbers: Mapping[tuple[Lane, int], int],
        epoch: int,
        newest: Mapping[Lane, int],
    ) -> Cursors:
        """What a sink is owed until here; all that comes goes to its follower."""
        if sink not in self._sinks:
            raise ValueError(f"the journal was not opened for a sink {sink!r}")
        self._followers[sink] = follower
        cursors = {}
        for lane in Lane:
            last = {epoch: last for (of, epoch), last in numbers.items() if of is lane}
            last[epoch] = newest[lane]
            cursor = decode_cursor(self._stored.get((sink, lane), "")) or Cursor(0, 0)
            cursors[lane] = Cursor(epoch, newest[lane], tuple(cursor.owed(last)))
        return cursors

    def offer(self, records: Sequence[Record]) -> None:
        """Records of one lane, to everybody."""
        for follower in self._followers.values():
            follower.offer(records)

    def owe(self, sink: str, lane: Lane, spans: Spans) -> None:
        """These are owed again."""
        if sink in self._followers:
            self._followers[sink].owe(lane, spans)

    def changed(self, mono: float) -> list[StoredCursor]:
        """What is to be stored now; not too often."""
        if mono < self._due:
            return []
        changed = []
        for sink, follower in self._followers.items():
            for lane, cursor in follower.cursors().items():
                text = cursor.encode()
                if self._stored.get((sink, lane)) != text:
                    changed.append((sink, lane, text))
        if changed:
            self._due = mono + CURSORS_S
        return changed

    def stored(self, cursors: Sequence[StoredCursor]) -> None:
        """These are in the file."""
        self._stored.update({(sink, lane): text for sink, lane, text in cursors})

    def hold(self) -> None:
        """None is stored until ``release``: they would lie over what is just being changed."""
        self._due = math.inf

    def release(self, *, forget: bool = False) -> None:
        """They are stored again; ``forget``: the file holds others now."""
        self._due = 0.0
        if forget:
            self._stored.clear()
