"""R1 by what the instrument turns out to give: counts where it has them, else its dose rate."""

from gateway.alarms.durable import Internal
from gateway.alarms.record import AlarmRecord, Change
from gateway.alarms.watcher import Learned, Quiet, Sampled, Standing, Watcher
from gateway.values import Instant

COUNTS, DOSE_RATE = "counts", "dose_rate"


class RiseChoice(Quiet):
    """Two watchers of one alarm object, of which one judges; counts go before a dose rate.

    An alarm from before a restart is kept by the watcher whose rule raised it.
    """

    def __init__(self, by_counts: Watcher, by_dose_rate: Watcher, dose_rate_rule: str) -> None:
        self._watchers = {COUNTS: by_counts, DOSE_RATE: by_dose_rate}
        self._dose_rate_rule = dose_rate_rule
        self._chosen: str | None = None

    @property
    def alarms(self) -> tuple[str, ...]:
        """Those of both."""
        both = [name for watcher in self._watchers.values() for name in watcher.alarms]
        return tuple(dict.fromkeys(both))

    def measured(self, sampled: Sampled) -> list[Change]:
        """One sample, judged by the watcher that it is for."""
        if sampled.gamma is not None:
            if self._chosen != COUNTS:
                self._chosen = COUNTS
            return self._watchers[COUNTS].measured(sampled)
        if self._chosen == COUNTS or sampled.true is None:
            return []
        self._chosen = DOSE_RATE
        return self._watchers[DOSE_RATE].measured(sampled)

    def tick(self, now: Instant) -> list[Change]:
        """Time passes for the one that judges."""
        return [] if self._chosen is None else self._watchers[self._chosen].tick(now)

    def restore(self, record: AlarmRecord, internal: Internal, now: Instant) -> None:
        """An alarm of one of them was active before the restart."""
        by_dose_rate = record.rule.id == self._dose_rate_rule
        self._chosen = DOSE_RATE if by_dose_rate else COUNTS
        self._watchers[self._chosen].restore(record, internal, now)

    def internal(self, alarm: str) -> Internal:
        """What a restart needs beside the record."""
        return Internal() if self._chosen is None else self._watchers[self._chosen].internal(alarm)

    def learned(self) -> Learned | None:
        """What the one that judges has learned."""
        if self._chosen is None:
            return None
        learned = self._watchers[self._chosen].learned()
        return None if learned is None else {"by": self._chosen, "learned": learned}

    def relearn(self, learned: Learned, age_s: float, now: Instant) -> None:
        """Before a restart; the same one goes on."""
        self._chosen = self._chosen or learned["by"]
        self._watchers[learned["by"]].relearn(learned["learned"], age_s, now)

    def standing(self) -> tuple[Standing, ...]:
        """How the one that judges stands; before anything came, the one by counts."""
        return self._watchers[self._chosen or COUNTS].standing()

    def accept(self, now: Instant) -> list[Change]:
        """The present background is accepted."""
        return [] if self._chosen is None else self._watchers[self._chosen].accept(now)

    def abandon(self, alarm: str) -> None:
        """That alarm was closed under supervision."""
        if self._chosen is not None:
            self._watchers[self._chosen].abandon(alarm)
