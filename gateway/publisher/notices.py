"""What operators are told of one sink, and when it is over."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from config.models import Sink
from gateway.publisher.certificate import expiry_warning
from gateway.values import Notice

FEED_DOWN_S: Final = 30.0
RENEW_S: Final = 60.0
"""Own choice: another reason for the same outage is told at most so often."""
SHOWN: Final = 10
"""Ids and reasons beyond so many are only counted."""


class Notices:
    """The conditions of one sink: told once when they begin, change or are over."""

    def __init__(self, sink: str, notify: Callable[[Notice], None]) -> None:
        self._sink = sink
        self._notify = notify
        self._present: dict[str, str] = {}

    def begin(self, kind: str, detail: str) -> None:
        """It holds, or its detail is another."""
        if self._present.get(kind) != detail:
            self._present[kind] = detail
            self._notify(Notice(kind, True, detail, self._sink))

    def end(self, kind: str) -> None:
        """It is over, if it was there."""
        if kind in self._present:
            detail = self._present.pop(kind)
            self._notify(Notice(kind, False, detail, self._sink))

    def holds(self, kind: str) -> bool:
        """Whether it is there."""
        return kind in self._present


class SinkNotices:
    """The conditions of one sink; times are the loop's."""

    def __init__(self, sink: Sink, client_id: str, notify: Callable[[Notice], None]) -> None:
        self.client_id = sink.client_id or client_id
        self._notices = Notices(sink.id, notify)
        self._down_since: float | None = None
        self._told_at = float("-inf")
        self._errors: dict[str, str] = {}
        self._expires: datetime | None = None
        self._server = ""
        self._reasons: dict[str, str] = {}

    def down(self, now: float) -> None:
        """There is no connection."""
        self._down_since = now

    def unreachable(self, broker: str, error: str, *, is_certificate: bool = False) -> None:
        """Why this broker is not connected."""
        self._errors[broker] = error
        if is_certificate:
            self._server = error

    def expires(self, at: datetime | None) -> None:
        """When the own certificate ends."""
        self._expires = at

    def connected(self) -> None:
        """There is a connection."""
        self._down_since = None
        self._errors.clear()
        self._server = ""
        self._notices.end("feed_down")

    def tick(self, now: float, wall: datetime) -> None:
        """Time has passed."""
        if self._down_since is not None and now - self._down_since >= FEED_DOWN_S:
            is_new = not self._notices.holds("feed_down")
            if is_new or now - self._told_at >= RENEW_S:
                self._told_at = now
                detail = "; ".join(self._errors.values()) or "no connection"
                self._notices.begin("feed_down", detail)
        own = expiry_warning(self._expires, wall) if self._expires else ""
        detail = "; ".join(part for part in (self._server, own) if part)
        if detail:
            self._notices.begin("certificate", detail)
        else:
            self._notices.end("certificate")

    def refused(self, topic: str, reason: str) -> bool:
        """A message was refused and kept aside; False if that reason was told before."""
        if reason in self._reasons or len(self._reasons) >= SHOWN:
            return False
        self._reasons[reason] = topic
        parts = (f"{reason} ({first})" for reason, first in self._reasons.items())
        self._notices.begin("publish_refused", "; ".join(parts))
        return True

    def nothing_refused(self) -> None:
        """Nothing is kept aside any more."""
        self._reasons.clear()
        self._notices.end("publish_refused")

    def event(self, *, is_heard: bool) -> None:
        """An alarm event was taken by the broker."""
        if is_heard:
            self._notices.end("no_subscriber")
        else:
            self._notices.begin("no_subscriber", "the broker says that nobody hears alarm events")

    @property
    def in_conflict(self) -> bool:
        """Whether somebody else uses the client id."""
        return self._notices.holds("client_id_in_use")

    def conflict(self) -> None:
        """Somebody else uses the client id."""
        detail = (
            f"another client connects as {self.client_id!r} and each ends the other's connection:"
            " stop the other one, or set another client_id in the [[sink]] of one of the two"
        )
        self._notices.begin("client_id_in_use", detail)

    def no_conflict(self) -> None:
        """Nobody else does."""
        self._notices.end("client_id_in_use")

    def orphans(self, occurrences: Sequence[str]) -> None:
        """These alarms are at the broker, and not known here."""
        if not occurrences:
            self._notices.end("orphans")
            return
        more = f" and {len(occurrences) - SHOWN} more" if len(occurrences) > SHOWN else ""
        self._notices.begin("orphans", ", ".join(sorted(occurrences)[:SHOWN]) + more)
