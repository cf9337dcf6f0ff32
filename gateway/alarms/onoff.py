"""One alarm object of one level, kept by a rule: raised at once, left after clear inputs."""

from gateway.alarms import lifecycle
from gateway.alarms.book import Book
from gateway.alarms.conditions import OFF, SET, Condition, Delay, Said, step, tick
from gateway.alarms.lifecycle import Severity
from gateway.alarms.record import Change, Evidence
from gateway.values import Instant


class OnOff:
    """Judged once a sample; times on the monotonic clock.

    It is raised with the first input that sets it and returns when clear inputs have covered
    ``delay.off_delay_s`` with no gap above ``delay.gap_s``. What is neither keeps it on.
    """

    def __init__(self, book: Book, alarm: str, severity: Severity, delay: Delay) -> None:
        self.alarm = alarm
        self._book = book
        self._severity = severity
        self._delay = delay
        self._condition: Condition = OFF

    @property
    def is_on(self) -> bool:
        """Whether the condition holds."""
        return self._condition.on

    def set(
        self, evidence: Evidence, arrived: Instant, until: Instant | None = None
    ) -> list[Change]:
        """An input that sets it; ``until``: what it sums up held until then at least."""
        was_on = self._condition.on
        self._condition = SET
        if not was_on or self.alarm not in self._book.records:
            return self._book.open(self.alarm, evidence, (self._severity.level,), self._severity)
        changes = self._book.freshen(self.alarm, arrived, evidence)
        record = lifecycle.sustained(self._book.records[self.alarm], until or evidence.at)
        return changes + self._book.apply(
            self.alarm, lifecycle.grown(record, evidence), evidence.at
        )

    def sustain(self, at: Instant) -> None:
        """An input that satisfies it again and says nothing new."""
        record = self._book.records.get(self.alarm)
        if record is not None:
            self._book.records[self.alarm] = lifecycle.sustained(record, at)

    def clear(self, at: Instant, arrived: Instant) -> list[Change]:
        """A valid input below its clear value, measured ``at``."""
        if not self._condition.on:
            return []
        return self._step(Said.CLEAR, at, arrived)

    def hold(self, arrived: Instant) -> list[Change]:
        """An input that proves nothing: a running off-delay starts again."""
        if not self._condition.on:
            return []
        return self._step(Said.NEITHER, arrived, arrived)

    def tick(self, now: Instant, period_s: float) -> list[Change]:
        """Time passes between inputs that come every ``period_s``."""
        if not self._condition.on:
            return []
        if tick(self._condition, now.mono, self._delay.off_delay_s, period_s).on:
            return []
        return self.end(now)

    def end(self, at: Instant) -> list[Change]:
        """The condition is over."""
        self._condition = OFF
        return self._book.end(self.alarm, at)

    def restore(self) -> None:
        """It was active before the restart."""
        self._condition = SET

    def _step(self, said: Said, at: Instant, arrived: Instant) -> list[Change]:
        after = step(self._condition, said, arrived.mono, self._delay)
        if not after.on:
            return self.end(at)
        self._condition = after
        return self._book.freshen(self.alarm, arrived) if said is Said.CLEAR else []
