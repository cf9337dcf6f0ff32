"""What is worth a line in the log of a link that is tried again and again."""

from dataclasses import dataclass
from typing import Final

from gateway.values import LinkState

AGAIN_S: Final = 60.0
"""A link that stays as it was is logged again after so long: own choice."""

LOGGED: Final = (LinkState.READING, LinkState.WAITING)
"""The others lie between these, at each try."""


@dataclass(frozen=True, slots=True)
class _Logged:
    """What was logged last of a detector's link, and when on the monotonic clock."""

    state: LinkState
    reason: str
    mono: float

    def says(self, state: LinkState, reason: str) -> bool:
        """Whether it is the same."""
        return (self.state, self.reason) == (state, reason)


class LinkLog:
    """Remembers what was logged of each detector's link."""

    def __init__(self) -> None:
        self._logged: dict[str, _Logged] = {}

    def is_due(self, detector: str, state: LinkState, reason: str, mono: float) -> bool:
        """Whether to log it, which is taken as done: what is new at once, else now and then."""
        if state not in LOGGED:
            return False
        last = self._logged.get(detector)
        if last is not None and last.says(state, reason) and mono - last.mono < AGAIN_S:
            return False
        self._logged[detector] = _Logged(state, reason, mono)
        return True
