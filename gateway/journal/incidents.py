"""What goes wrong with the journal: counted, logged, told to operators and to those who lose by it.

Runs on the event loop.
"""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from gateway.journal.losses import TELL_S, LossReport
from gateway.journal.notices import JournalNotices
from gateway.journal.record import JournalCounters, Outcome
from gateway.journal.retention import DAMAGED
from gateway.journal.spans import Span
from gateway.values import Entry, Lane
from gateway.wire.delivery import Lost

log = structlog.get_logger(__name__)
Tombstone = tuple[Lane, Span]


class JournalIncidents:
    """Everything that is not as it should be; ``tell`` journals messages about losses."""

    def __init__(
        self,
        directory: Path,
        counters: JournalCounters,
        notices: JournalNotices,
        clock: Callable[[], float],
        stall_s: float,
        tell: Callable[[Sequence[Entry], Sequence[Tombstone]], object],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._directory = directory
        self._counters = counters
        self._notices = notices
        self._clock = clock
        self._stall_s = stall_s
        self._tell = tell
        self._losses = LossReport()
        self._timer: asyncio.TimerHandle | None = None
        self._failing_since: float | None = None
        self._closed = False

    def found(self, notices: Sequence[str]) -> None:
        """A file was replaced."""
        for notice in notices:
            log.warning("journal_notice", notice=notice)
            self._notices.damaged(notice)

    def after(self, outcome: Outcome, *, durable: bool) -> None:
        """What a batch has brought to light."""
        self.found(outcome.notices)
        self._counters.shed += sum(loss.count for loss in outcome.lost)
        self.lose(outcome.lost)
        self._notices.short(outcome.short)
        if outcome.error:
            self._counters.failures += 1
            if outcome.error != self._counters.last_error:
                log.error("journal_write_failed", error=outcome.error)
        self._counters.last_error = outcome.error
        if durable:
            self._watch(outcome)

    def _watch(self, outcome: Outcome) -> None:
        if not outcome.error:
            self._failing_since = None
            self._notices.stalled("")
        elif self._failing_since is None:
            self._failing_since = self._clock()
        elif self._clock() - self._failing_since >= self._stall_s:
            self._notices.stalled(self._detail())

    def stalled(self) -> None:
        """An alarm was told before the disk had it."""
        log.error("journal_stalled", error=self._counters.last_error)
        self._notices.stalled(self._detail())

    def in_memory(self, reason: str) -> None:
        """The directory cannot be used."""
        log.error("journal_in_memory", error=reason)
        self._notices.stalled(f"in memory only, a restart loses it: {reason}")

    def on_disk_again(self) -> None:
        """It can, and everything is there now."""
        log.warning("journal_on_disk_again", directory=str(self._directory))
        self._notices.stalled("")

    def _detail(self) -> str:
        error = self._counters.last_error or "it does not answer"
        return f"the disk of {self._directory} does not store: {error}"

    def lose(self, losses: Sequence[Lost]) -> None:
        """Something owed no longer exists: it is told soon, with what follows on it."""
        if not losses:
            return
        count = sum(loss.count for loss in losses)
        log.error("journal_lost", records=count, reason=losses[0].reason)
        self._losses.add(losses)
        turned = [loss for loss in losses if loss.reason == DAMAGED]
        if turned:
            self._notices.turned(self._turned(turned), self._clock())
        if len(turned) < len(losses):
            self._notices.shed(count, self._clock())
        if self._timer is None and not self._closed:
            self._timer = self._loop.call_later(0, self.tell_losses)

    def _turned(self, losses: Sequence[Lost]) -> str:
        first = losses[0]
        return (
            f"{sum(loss.count for loss in losses)} messages or more cannot be read in the journal "
            f"of {self._directory}, {first.lane} {first.epoch}/{first.first} the first: look at "
            "the disk; dosegate journal verify tells which"
        )

    def tell_losses(self) -> None:
        """Tells one range a lane; the others follow, and at last that it is over."""
        self._timer = None
        entries, tombstones = self._losses.take()
        if entries:
            self._tell(entries, tombstones)
        self._notices.tick(self._clock())
        if (entries or self._losses or self._notices.lasts) and not self._closed:
            self._timer = self._loop.call_later(TELL_S, self.tell_losses)

    def close(self) -> None:
        """Tells what is left to be told, all of it."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        while self._losses:
            self.tell_losses()
