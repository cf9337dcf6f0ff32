"""What waits to be stored at once, and who is told when it is."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from gateway.journal.record import Outcome, Record, Urgent
from gateway.journal.spans import Cursors, Spans
from gateway.values import Lane


class Follower(Protocol):
    """The reading side of one sink."""

    def offer(self, records: Sequence[Record]) -> None:
        """Records of one lane, in order, that follow on those offered before."""

    def cursors(self) -> Cursors:
        """What is owed to the sink now."""

    def owe(self, lane: Lane, spans: Spans) -> None:
        """These numbers are owed to it again: they join its backlog."""


class Ticket:
    """Urgent entries on their way to the disk, and whether their followers know of them."""

    __slots__ = ("outcome", "timer", "told", "urgent")

    def __init__(self, urgent: Urgent, outcome: "asyncio.Future[bool]") -> None:
        self.urgent = urgent
        self.outcome = outcome
        self.told = False
        self.timer: asyncio.TimerHandle | None = None

    def settle(self, *, stored: bool) -> None:
        """Who waits for it goes on."""
        if self.timer is not None:  # stored in memory only, too: it is told by now
            self.timer.cancel()
        if not self.outcome.done():
            self.outcome.set_result(stored)


def outcome_of(done: "asyncio.Future[Outcome]") -> Outcome:
    """What the writer's thread says; whatever it raises counts as not stored and is tried again."""
    error = done.exception()
    return done.result() if error is None else Outcome(False, False, repr(error))
