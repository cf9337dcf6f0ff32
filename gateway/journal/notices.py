"""The conditions of the journal that operators must know: their beginnings and their ends."""

from collections.abc import Callable
from typing import Final

from gateway.values import Notice

DAMAGED: Final = "journal_damaged"
SHEDDING: Final = "journal_shedding"
STALLED: Final = "journal_stalled"
NEARLY_FULL: Final = "disk_nearly_full"
OVER_S: Final = 60.0
"""So long after the last one of a kind the condition is over: own choice."""


class JournalNotices:
    """Tells each change once; ``now`` is monotonic."""

    def __init__(self, notify: Callable[[Notice], None]) -> None:
        self._notify = notify
        self._present: dict[str, str] = {}
        self._since: dict[str, float] = {}

    @property
    def lasts(self) -> bool:
        """Whether there is an end to be told when enough time has passed."""
        return bool(self._since)

    def damaged(self, detail: str) -> None:
        """A file was replaced: that is no state, it stays on the list until acknowledged."""
        self._notify(Notice(DAMAGED, True, detail))
        self._notify(Notice(DAMAGED, False, detail))

    def shed(self, records: int, now: float) -> None:
        """Samples that were owed have been deleted."""
        detail = f"{records} samples or more were deleted before every sink had them"
        self._begin(SHEDDING, detail, now)

    def turned(self, detail: str, now: float) -> None:
        """Rows were met that are not as they were stored: said once while more are met."""
        self._begin(DAMAGED, detail, now)

    def stalled(self, detail: str) -> None:
        """The disk does not take what it should; empty: it does."""
        self._set(STALLED, detail)

    def short(self, detail: str) -> None:
        """The disk has no room to spare; empty: it has."""
        if detail and NEARLY_FULL in self._present:
            return  # figures change all the time
        self._set(NEARLY_FULL, detail)

    def tick(self, now: float) -> None:
        """What is over because nothing more happened."""
        for kind in [kind for kind, at in self._since.items() if now - at >= OVER_S]:
            del self._since[kind]
            self._set(kind, "")

    def _begin(self, kind: str, detail: str, now: float) -> None:
        self._since[kind] = now
        if kind not in self._present:
            self._set(kind, detail)

    def _set(self, kind: str, detail: str) -> None:
        before = self._present.get(kind, "")
        if detail == before:
            return
        if detail:
            self._present[kind] = detail
            self._notify(Notice(kind, True, detail))
        else:
            del self._present[kind]
            self._notify(Notice(kind, False, before))


def nobody(_: Notice) -> None:
    """Nobody wants to know."""
