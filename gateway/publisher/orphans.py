"""Alarms that the broker holds under this gateway's prefix and that this gateway does not know.

They are left over from a journal that was lost or replaced. Nobody may take them for ended because
nobody knows of them: they are never deleted, but told, until an operator closes them. A broker of
the list that was away when an alarm ended, perhaps before a restart, still holds that one: whether
it ended is looked up in the journal.
"""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Final

import structlog

from gateway.alarms.lifecycle import Refusal
from gateway.documents import ACTIVE, Standing

QUIET_S: Final = 2.0
"""When nothing more has come for so long, everything has."""
LARGEST: Final = 10_000
"""So many are remembered; more would not be read by anybody."""

Ended = Callable[[Collection[str]], Awaitable[Collection[str]]]
"""Which of these occurrences the journal knows to be closed; Refusal if it cannot tell now."""

log: Final = structlog.get_logger(__name__)


async def never_ended(_: Collection[str]) -> Collection[str]:
    """For who has no journal."""
    return ()


@dataclass(frozen=True, slots=True)
class Orphan:
    """One of them: its full topic and what the broker holds."""

    occurrence: str
    topic: str
    exercise: bool
    body: bytes


class Orphans:
    """Collects retained alarms while a connection is young, and judges them when all have come.

    ``standing`` says what this gateway knows of a document, ``ended`` what its journal does.
    """

    def __init__(
        self,
        prefixes: tuple[str, str],
        standing: Callable[[bool, str], Standing],
        ended: Ended = never_ended,
    ) -> None:
        self._heads = tuple(prefix + ACTIVE for prefix in prefixes)
        self._standing = standing
        self._ended = ended
        self._collected: dict[str, Orphan] = {}
        self._found: dict[str, Orphan] = {}
        self._last = 0.0

    @property
    def filters(self) -> tuple[str, ...]:
        """What to subscribe to."""
        return tuple(head + "+" for head in self._heads)

    @property
    def found(self) -> tuple[Orphan, ...]:
        """Those known now."""
        return tuple(self._found.values())

    def begin(self, now: float) -> None:
        """A new connection, perhaps to another broker."""
        self._collected.clear()
        self._last = now

    def heard(self, topic: str, body: bytes, retained: bool, now: float) -> bool:
        """Takes a message if it is about an active alarm; False if it is none of that."""
        for exercise, head in enumerate(self._heads):
            if topic.startswith(head):
                if retained and body and len(self._collected) < LARGEST:
                    occurrence = topic.removeprefix(head)
                    self._collected[topic] = Orphan(occurrence, topic, bool(exercise), body)
                    self._last = now
                return True
        return False

    def left_s(self, now: float) -> float:
        """Seconds until all that the broker holds has come, if nothing more comes."""
        return self._last + QUIET_S - now

    async def judge(self) -> tuple[Orphan, ...]:
        """Takes those that nobody knows here for orphans; the ones that are known to be over."""
        standings = {
            each: self._standing(each.exercise, ACTIVE + each.occurrence)
            for each in self._collected.values()
        }
        self._collected.clear()
        unknown = [each for each, is_ in standings.items() if is_ is Standing.UNKNOWN]
        ended = await self._look_up([each.occurrence for each in unknown])
        self._found = {each.topic: each for each in unknown if each.occurrence not in ended}
        return tuple(
            each
            for each, is_ in standings.items()
            if is_ is Standing.REMOVED or (is_ is Standing.UNKNOWN and each.occurrence in ended)
        )

    async def _look_up(self, occurrences: Collection[str]) -> Collection[str]:
        if not occurrences:
            return ()
        try:
            return await self._ended(occurrences)
        except Refusal as refusal:
            log.warning("orphans_not_looked_up", reason=str(refusal))
            return ()

    def of(self, occurrence: str) -> tuple[Orphan, ...]:
        """Those with this id."""
        return tuple(each for each in self._found.values() if each.occurrence == occurrence)

    def removed(self, topic: str) -> None:
        """The broker has removed it."""
        self._found.pop(topic, None)
