"""A samples lane of a sink that carries summaries or batches.

What a gatherer has taken in belongs to a window. A window is owed until it is closed and all of
its messages are acknowledged; after a restart of the gateway what it stands for is made anew.
A loss of the connection costs nothing: messages that were on their way go again as they are.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import Final

from gateway.delivery.message import Bundle, marked_late
from gateway.delivery.stream import Stream
from gateway.journal.record import Record
from gateway.journal.spans import Cursor, Span, Spans
from gateway.sink_policy import Gatherer, Label, Policy, gatherer
from gateway.values import Lane

WINDOW_RECORDS: Final = 100_000
"""A window ends with so many at the latest, so that little is made anew: own choice."""


@dataclass(slots=True)
class Window:
    """What was taken in and is not all acknowledged: runs of [epoch, first, last]."""

    label: Label
    runs: list[list[int]] = field(default_factory=list)
    count: int = 0
    messages: int = 0

    def hold(self, record: Record) -> None:
        """The record is owed as part of this window."""
        self.count += 1
        run = self.runs[-1] if self.runs else None
        if run is not None and run[0] == record.epoch and run[2] + 1 == record.seq:
            run[2] = record.seq
        else:
            self.runs.append([record.epoch, record.seq, record.seq])


class Packer:
    """Live samples or the backlog of one lane on their way through a gatherer.

    While messages of a closed window wait, the next one is filled but not closed: what then comes
    stays where it is, on the disk in the end.
    """

    def __init__(self, gatherer: Gatherer) -> None:
        self.gatherer = gatherer
        self.windows: list[Window] = []
        self.open: Window | None = None
        self._ready: deque[Record] = deque()
        self._out: dict[tuple[int, int], Record] = {}
        self._window_of: dict[tuple[int, int], Window] = {}

    @property
    def out(self) -> int:
        """Messages on their way."""
        return len(self._out)

    @property
    def waits(self) -> bool:
        """Whether messages wait to be taken."""
        return bool(self._ready)

    def absorb(
        self, queue: deque[Record], most: int, label: Callable[[Record], Label]
    ) -> list[Record]:
        """Takes records off the head of a queue while they fit; which."""
        taken: list[Record] = []
        while queue and len(taken) < most and len(self._ready) < self.gatherer.ready_limit:
            record = queue[0]
            window = self._window(label(record))
            if window is None:
                break
            taken.append(queue.popleft())
            window.hold(record)
            self._emit(window, self.gatherer.add(record))
        return taken

    def _window(self, label: Label) -> Window | None:
        """The open window if a record of this label may join it, else a new one, if it may be."""
        window = self.open
        if window is not None and (window.label != label or window.count >= WINDOW_RECORDS):
            if self._ready:
                return None
            self.close()
            window = None
        if window is None:
            window = self.open = Window(label)
            self.windows.append(window)
        return window

    def close(self) -> None:
        """The open window is over."""
        window, self.open = self.open, None
        if window is not None:
            self._emit(window, self.gatherer.finish())
            self._drop_if_done(window)

    def _emit(self, window: Window, messages: Iterable[Record]) -> None:
        for message in messages:
            window.messages += 1
            self._window_of[message.epoch, message.seq] = window
            self._ready.append(message)

    def take(self, limit: int, late: float = -math.inf) -> list[Record]:
        """The next messages; those of before ``late`` are marked so."""
        taken = []
        for _ in range(min(limit, len(self._ready))):
            message = self._ready.popleft()
            if message.at < late and not message.replayed:
                message = marked_late(message)
            self._out[message.epoch, message.seq] = message
            taken.append(message)
        return taken

    def settle(self, message: Record) -> bool:
        """The sink has it; False if it was not out."""
        return self.set_aside(message) and self.release(message)

    def set_aside(self, message: Record) -> bool:
        """It is no longer on its way, but still owed; False if it was not out."""
        key = (message.epoch, message.seq)
        if self._out.get(key) is not message:
            return False
        del self._out[key]
        return True

    def release(self, message: Record) -> bool:
        """It is no longer owed."""
        window = self._window_of.pop((message.epoch, message.seq))
        window.messages -= 1
        self._drop_if_done(window)
        return True

    def _drop_if_done(self, window: Window) -> None:
        if window is not self.open and not window.messages:
            self.windows.remove(window)

    def take_apart(self, batch: Bundle) -> bool:
        """Its messages go one by one in its place."""
        if not self.set_aside(batch):
            return False
        window = self._window_of.pop((batch.epoch, batch.seq))
        window.messages += len(batch.records) - 1
        for record in reversed(batch.records):
            self._window_of[record.epoch, record.seq] = window
            self._ready.appendleft(record)
        return True

    def rewind(self) -> None:
        """What is out goes again, first."""
        self._ready.extendleft(reversed(self._out.values()))
        self._out.clear()


class PackedStream(Stream):
    """A samples lane whose records go out in bundles."""

    def __init__(self, lane: Lane, cursor: Cursor, policy: Policy, late_s: float) -> None:
        super().__init__(lane, cursor)
        self._every_s = policy.every_s
        self._late_s = policy.every_s + late_s
        self._fresh = Packer(gatherer(policy))
        self._old = Packer(gatherer(policy))
        self._next_window = 0
        self._finishing = False

    def limit_bytes(self, limit: int) -> None:
        """Batches stay below this."""
        for packer in (self._fresh, self._old):
            packer.gatherer.limit_bytes(limit)

    def cursor(self) -> Cursor:
        """What is owed now, windows whole."""
        owed = Spans(self.stored)
        for window in self._windows():
            for run in window.runs:
                owed.add(Span(*run))
        acknowledged = (self.live[0].seq if self.live else self.newest + 1) - 1
        return Cursor(self.epoch, acknowledged, tuple(owed))

    def owed(self) -> int:
        """Records not yet acknowledged, windows whole."""
        taken = sum(window.count for window in self._windows())
        return len(self.live) + taken + self.stored.total()

    def _windows(self) -> Iterable[Window]:
        return chain(self._fresh.windows, self._old.windows)

    @property
    def has_stored(self) -> bool:
        """Whether something of the backlog is still to be taken or read."""
        return bool(self._old.waits or self._old.open or self.stored)

    @property
    def stored_out(self) -> int:
        """Messages from the disk that are on their way."""
        return self._old.out

    def due_s(self, now: float) -> float | None:
        """Seconds until the open window ends."""
        if self._fresh.open is None or self._fresh.waits:
            return None
        return max(0.0, (self._fresh.open.label[1] + 1) * self._every_s - now)

    def finish(self) -> None:
        """Windows end at once from now on."""
        self._finishing = True

    def take_live(self, limit: int, now: float) -> list[Record]:
        """The next messages made of live records."""
        packer = self._fresh
        messages: list[Record] = []
        while True:
            absorbed = packer.absorb(self.live, len(self.live), self._live_label)
            if self._is_over(now):
                self._next_window = max(self._next_window, int(now // self._every_s))
                packer.close()
            taken = packer.take(limit - len(messages), now - self._late_s)
            messages += taken
            if not (taken or absorbed) or len(messages) >= limit:
                return messages

    def _live_label(self, record: Record) -> Label:
        """By the monotonic clock; what comes when its window is over joins the next one."""
        number = max(int(record.at // self._every_s), self._next_window)
        self._next_window = number
        return record.epoch, number

    def _is_over(self, now: float) -> bool:
        window = self._fresh.open
        if window is None or (self._fresh.waits and not self._finishing):
            return False
        return self._finishing or now >= (window.label[1] + 1) * self._every_s

    def take_stored(self, limit: int, allowed: int) -> tuple[list[Record], int]:
        """The next messages made of the backlog, and how many of its records went in."""
        packer = self._old
        messages: list[Record] = []
        read = 0
        while len(messages) < limit:
            absorbed = packer.absorb(self.chunk, allowed - read, packer.gatherer.label)
            if absorbed:
                read += len(absorbed)
                self._take_out(absorbed)
            elif self._is_exhausted():
                packer.close()
            taken = packer.take(limit - len(messages))
            messages += taken
            if not (taken or absorbed):
                break
        return messages, read

    def _is_exhausted(self) -> bool:
        """Whether nothing more will join the open window soon."""
        return self._finishing or not (self.chunk or self.reading or self.stored)

    def _take_out(self, absorbed: list[Record]) -> None:
        """They are owed as part of a window now; between them nothing else is owed."""
        first = absorbed[0]
        for before, record in pairwise(absorbed):
            if record.epoch != before.epoch:
                self.stored.discard(Span(first.epoch, first.seq, before.seq))
                first = record
        self.stored.discard(Span(first.epoch, first.seq, absorbed[-1].seq))

    def settle(self, record: Record) -> bool:
        """Takes a message off what is owed; False if it was not out."""
        return self._fresh.settle(record) or self._old.settle(record)

    def take_apart(self, batch: Bundle) -> bool:
        """Its messages go one by one; False if it was not out."""
        return self._fresh.take_apart(batch) or self._old.take_apart(batch)

    def set_aside(self, summary: Bundle) -> "Packer | None":
        """Stays owed without being sent; who must release it, None if it was not out."""
        for packer in (self._fresh, self._old):
            if packer.set_aside(summary):
                return packer
        return None

    def rewind(self) -> None:
        """What is out goes again, as it is."""
        self._fresh.rewind()
        self._old.rewind()
