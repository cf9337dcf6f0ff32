"""The conditions of the journal that operators must know: their beginnings and their ends."""

from collections.abc import Callable
from typing import Final

from gateway.values import Notice

DAMAGED: Final = "journal_damaged"
SHEDDING: Final = "journal_shedding"
STALLED: Final = "journal_stalled"
NEARLY_FULL: Final = "disk_nearly_full"
SHEDDING_OVER_S: Final = 60.0


class JournalNotices:
    """Tells each change once; ``now`` is monotonic."""

    def __init__(self, notify: Callable[[Notice], None]) -> None:
        self._notify = notify
        self._present: dict[str, str] = {}
        self._shed_at: float | None = None

    @property
    def sheds(self) -> bool:
        """Whether there is an end to be told when enough time has passed."""
        return self._shed_at is not None

    def damaged(self, detail: str) -> None:
        """A file was replaced: that is no state, it stays on the list until acknowledged."""
        self._notify(Notice(DAMAGED, True, detail))
        self._notify(Notice(DAMAGED, False, detail))

    def shed(self, records: int, now: float) -> None:
        """Samples that were owed have been deleted."""
        self._shed_at = now
        if SHEDDING not in self._present:
            self._set(
                SHEDDING, f"{records} samples or more were deleted before every sink had them"
            )

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
        if self._shed_at is not None and now - self._shed_at >= SHEDDING_OVER_S:
            self._shed_at = None
            self._set(SHEDDING, "")

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
