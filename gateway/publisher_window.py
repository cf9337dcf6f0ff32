"""How many messages may be on their way at once, and which one the broker may be choking on."""

from collections.abc import Hashable
from typing import Final

RESERVED: Final = 2
"""Slots that only alarms and documents may use."""
LARGEST: Final = 100
SMALLEST: Final = 2
QUEUED_S: Final = 0.4
"""Longer than the best round trip by this: messages wait in the link, alarms behind them too."""
SUSPECT_AFTER: Final = 3
CONVICT_AFTER: Final = 2


class Window:
    """Grows with quick acknowledgements and shrinks with slow ones, within the broker's maximum."""

    def __init__(self, receive_maximum: int) -> None:
        self.total = max(1, min(receive_maximum, LARGEST))
        self._largest = float(max(1, self.total - RESERVED))
        self._samples = min(4.0, self._largest)
        self._best_s = float("inf")

    @property
    def samples(self) -> int:
        """Samples that may be on their way."""
        return int(self._samples)

    def acknowledged(self, took_s: float) -> None:
        """A message was acknowledged after ``took_s``."""
        self._best_s = min(self._best_s, took_s)
        if took_s > self._best_s + QUEUED_S:
            self._samples = max(min(SMALLEST, self._largest), self._samples * 0.8)
        elif took_s < self._best_s + QUEUED_S / 2:
            self._samples = min(self._largest, self._samples + 1)


class Suspicion:
    """Finds the message that a broker answers by closing the connection.

    The first message in flight at three losses in a row is a suspect and goes alone; two more
    losses convict it.
    """

    def __init__(self) -> None:
        self._suspect: Hashable | None = None
        self._losses = 0

    @property
    def isolating(self) -> bool:
        """Whether only one message may be on its way."""
        return self._losses >= SUSPECT_AFTER

    def lost(self, first: Hashable | None) -> bool:
        """The broker closed with ``first`` the oldest message in flight; True convicts it."""
        if first is None:
            return False
        self._losses = self._losses + 1 if first == self._suspect else 1
        self._suspect = first
        if self._losses < SUSPECT_AFTER + CONVICT_AFTER:
            return False
        self.cleared(first)
        return True

    def cleared(self, key: Hashable) -> None:
        """This message went through."""
        if key == self._suspect:
            self._suspect = None
            self._losses = 0
