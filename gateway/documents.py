"""The retained documents: the newest body of each topic, and what each sink still lacks of them."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from gateway.values import Document
from gateway.wire.envelope import SCHEMA

ACTIVE: Final = "alarm/active/"
REVISIONS_AN_EPOCH: Final = 1_000_000_000
"""Revisions go on rising over restarts, and stay exact in JSON for nine million epochs."""
REMEMBERED: Final = 10_000
"""So many alarms that are over are remembered for brokers that were away when they ended."""


class Standing(Enum):
    """What this gateway knows of a document that a broker holds."""

    HELD = auto()  # it is in force, or its removal is under way
    REMOVED = auto()  # it was in force since the start, and is removed
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True)
class Held:
    """One document as it goes out; an empty ``payload`` removes it at the broker."""

    document: Document
    revision: int
    payload: bytes

    @property
    def key(self) -> tuple[bool, str]:
        """Which document it is."""
        return self.document.exercise, self.document.topic

    @property
    def is_active_alarm(self) -> bool:
        """Whether it belongs to the set that every connection starts with."""
        return bool(self.payload) and self.document.topic.startswith(ACTIVE)


class DocumentStore:
    """All documents of the gateway; one feed a sink tells what to send.

    ``removed`` is told of documents that every sink has removed at its broker.
    """

    def __init__(
        self,
        gateway: str,
        epoch: int,
        sinks: Sequence[str],
        *,
        removed: Callable[[Sequence[Document]], None] = lambda _: None,
    ) -> None:
        self._gateway = gateway
        self._revision = epoch * REVISIONS_AN_EPOCH
        self._removed = removed
        self._held: dict[tuple[bool, str], Held] = {}
        self._over: dict[tuple[bool, str], None] = {}
        self._feeds = {sink: DocumentFeed(self) for sink in sinks}

    def put(self, documents: Iterable[Document]) -> None:
        """These are the newest; call it after their commit, so that events go first."""
        for document in documents:
            held = Held(document, self.next_revision(), b"")
            if document.body:
                held = Held(document, held.revision, self.payload(document.body, held.revision))
            self._held[held.key] = held
            for feed in self._feeds.values():
                feed.add(held)
            self.forget_if_removed(held)

    def next_revision(self) -> int:
        """A number above all given before."""
        self._revision += 1
        return self._revision

    def payload(self, body: bytes, revision: int | None = None) -> bytes:
        """A body with its delivery fields; a ``revision`` of its own stays the only one."""
        own = json.loads(body)
        fields = f'{{"schema":"{SCHEMA}","gateway":"{self._gateway}"'
        if revision is not None and "revision" not in own:
            fields += f',"revision":{revision}'
        return fields.encode() + (b"," if own else b"") + body[1:]

    def feed(self, sink: str) -> "DocumentFeed":
        """What one sink lacks."""
        return self._feeds[sink]

    def all(self) -> Iterable[Held]:
        """The newest of everything, removals included that some sink has not made yet."""
        return self._held.values()

    def forget_if_removed(self, held: Held) -> None:
        """Forgets a removal that every sink has made."""
        feeds = self._feeds.values()
        if held.payload or self._held.get(held.key) is not held:
            return
        if all(held.revision in feed.made for feed in feeds):
            del self._held[held.key]
            self._remember(held.key)
            for feed in feeds:
                feed.made.discard(held.revision)
            self._removed((held.document,))

    def standing(self, exercise: bool, topic: str) -> Standing:
        """What is known of a document that a broker holds."""
        if (exercise, topic) in self._held:
            return Standing.HELD
        return Standing.REMOVED if (exercise, topic) in self._over else Standing.UNKNOWN

    def _remember(self, key: tuple[bool, str]) -> None:
        if key[1].startswith(ACTIVE):
            self._over[key] = None
            if len(self._over) > REMEMBERED:
                del self._over[next(iter(self._over))]


class DocumentFeed:
    """The documents that one sink has not acknowledged.

    ``wake`` is called when there is more to send; ``made`` are the revisions of removals it has
    made while others have not.
    """

    def __init__(self, store: DocumentStore) -> None:
        self.wake: Callable[[], None] = lambda: None
        self.made: set[int] = set()
        self._store = store
        self._active: dict[tuple[bool, str], Held] = {}
        self._changed: dict[tuple[bool, str], Held] = {}
        self._others: dict[tuple[bool, str], Held] = {}
        self._out: dict[int, Held] = {}

    def restart(self) -> None:
        """A new connection: everything is owed, apart from removals already made."""
        self._active.clear()
        self._changed.clear()
        self._others.clear()
        self._out.clear()
        for held in self._store.all():
            if held.revision not in self.made:
                (self._active if held.is_active_alarm else self._others)[held.key] = held
        self.wake()

    def add(self, held: Held) -> None:
        """A document is new or changed; what it replaces need not be sent."""
        was_active = self._active.pop(held.key, None) is not None
        self._changed.pop(held.key, None)
        self._others.pop(held.key, None)
        if not held.is_active_alarm:
            self._others[held.key] = held
        else:
            (self._active if was_active else self._changed)[held.key] = held
        self.wake()

    def take_active(self, limit: int) -> list[Held]:
        """The set of active alarms that a connection starts with: before the alarm events."""
        return self._take(self._active, limit)

    @property
    def has_active(self) -> bool:
        """Whether some of the set that a connection starts with are still to be sent."""
        return bool(self._active)

    @property
    def has_changed(self) -> bool:
        """Whether active alarms have come or changed since."""
        return bool(self._changed)

    def take_changed(self, limit: int) -> list[Held]:
        """Active alarms that came or changed since: beside the alarm events."""
        return self._take(self._changed, limit)

    def take_others(self, limit: int) -> list[Held]:
        """The rest, removals among it: after the alarm events, so that an end precedes them."""
        return self._take(self._others, limit)

    def owed(self) -> int:
        """Documents not yet acknowledged."""
        return len(self._active) + len(self._changed) + len(self._others) + len(self._out)

    def settle(self, held: Held) -> None:
        """The sink has it, or will not have it."""
        self._out.pop(held.revision, None)
        if not held.payload:
            self.made.add(held.revision)
            self._store.forget_if_removed(held)

    def _take(self, queue: dict[tuple[bool, str], Held], limit: int) -> list[Held]:
        if not queue:
            return []
        taken = [queue.pop(key) for key in list(queue)[: max(0, limit)]]
        self._out.update((held.revision, held) for held in taken)
        return taken
