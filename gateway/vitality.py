"""What must move and does not: the watchdog is fed only while nothing stands still.

A publisher that stands still is begun again; everything else is left to the service manager, which
ends a daemon that gives no sign of life and begins the next.
"""

from collections.abc import Mapping
from typing import Final, Protocol

from gateway.publisher.values import PublisherCounters, PublisherState

STUCK_S: Final = 10.0
"""Own choice: of what turns several times a second, or has bounds of its own of a few seconds."""
JOURNAL_S: Final = 60.0
"""Own choice: so long the journal's writer may be in one write; a failing disk answers sooner."""
PUBLISHER_S: Final = 60.0
"""Own choice: a connected publisher sends a heartbeat every 10 s."""


class Committing(Protocol):
    """What is used of the committer; times on the loop's clock."""

    busy_since: float | None
    unstored_since: float | None

    @property
    def is_moving(self) -> bool:
        """Whether outputs do not pile up."""


class Sending(Protocol):
    """What is used of a publisher."""

    counters: PublisherCounters


class Vitality:
    """Looked at every few seconds; ``mark`` is called by the tick."""

    def __init__(
        self, committer: Committing, publishers: Mapping[str, Sending], now: float
    ) -> None:
        self._committer = committer
        self._publishers = publishers
        self._ticked = now
        self._failures: int | None = 0
        self._failed_at = now
        self._sent: dict[str, tuple[int, float]] = {}

    def mark(self, now: float) -> None:
        """The tick has turned."""
        self._ticked = now

    def standing(self, failures: int | None, now: float) -> list[str]:
        """Parts that stand still.

        ``failures`` counts the journal's answers that it could not; None: it is not to store.
        """
        if failures is None or failures != self._failures:
            self._failures, self._failed_at = failures, now
        found = []
        if now - self._ticked > STUCK_S:
            found.append("tick")
        committer = self._committer
        if not committer.is_moving or _is_over(committer.busy_since, STUCK_S, now):
            found.append("committer")
        if _is_over(committer.unstored_since, JOURNAL_S, now) and now - self._failed_at > JOURNAL_S:
            found.append("journal")
        return found

    def silent_publishers(self, now: float) -> list[str]:
        """Those that are connected and send nothing; each is named once in its time."""
        found = []
        for name, publisher in self._publishers.items():
            counters = publisher.counters
            sent, since = self._sent.get(name, (-1, now))
            is_moving = counters.sent != sent or counters.state is not PublisherState.ONLINE
            if is_moving:
                self._sent[name] = (counters.sent, now)
            elif now - since > PUBLISHER_S:
                self._sent[name] = (counters.sent, now)
                found.append(name)
        return found


def _is_over(since: float | None, limit_s: float, now: float) -> bool:
    return since is not None and now - since > limit_s
