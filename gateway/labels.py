"""Whether the wall clock's labels can be compared: after a step of the clock they cannot.

Durations run on the monotonic clock and do not care. What was told before the step and what is
told after it is in order by its numbers alone, and the labels say so for a while.
"""

from typing import Final

from gateway.values import Instant

STEP_S: Final = 0.5
"""Own choice: what moves the clock by less between two looks is its discipline, not a step."""
DOUBTFUL_S: Final = 600.0
"""Own choice: for so long labels of both sides of a step are looked at together."""


class Labels:
    """Watches the difference of both clocks."""

    def __init__(self, started: Instant) -> None:
        self._offset_s = started.wall - started.mono
        self._doubtful_until: float | None = None

    def look(self, now: Instant) -> bool:
        """Whether labels are doubtful now; called with every step."""
        offset_s = now.wall - now.mono
        if abs(offset_s - self._offset_s) > STEP_S:
            self._doubtful_until = now.mono + DOUBTFUL_S
        self._offset_s = offset_s
        if self._doubtful_until is not None and now.mono >= self._doubtful_until:
            self._doubtful_until = None
        return self._doubtful_until is not None
