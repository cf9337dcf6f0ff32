"""Whether the wall clock can be believed, as far as this machine says, and how it has moved.

Nothing here measures by the wall clock: it labels, and consumers are told how good the label is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

from gateway.values import Instant, Notice

MARKER: Final = Path("/run/systemd/timesync/synchronized")
"""Touched on each successful synchronisation (systemd-timesyncd.service(8)); it is not removed
when later ones fail, so its age counts."""
MARKER_LASTS_S: Final = 3 * 2048.0
"""Three of timesyncd's longest polling intervals (timesyncd.conf(5): 34 min 8 s): own choice."""
TIME_ERROR: Final = 5
"""adjtimex(2): the clock is not synchronised to a reliable server."""
_TIMEX_BYTES: Final = 512
"""Larger than ``struct timex`` on any machine: with ``modes`` 0 the call only reads."""
TOLERATED_S: Final = 3600.0
"""Own choice: a clock that was set runs on for an hour without being far off."""
NOT_BEFORE: Final = datetime(2026, 11, 1, tzinfo=UTC).timestamp()
"""The month in which this was written: no true clock shows less."""
FUTURE_S: Final = 2.0
"""Own choice: a marker touched later than now says that the clock was put back since."""


class ClockState(StrEnum):
    """What is known of the wall clock."""

    SYNCHRONISED = "synchronised"
    UNSYNCHRONISED = "unsynchronised"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ClockTold:
    """State, and by how many s the wall clock has moved against the monotonic one."""

    state: ClockState
    offset_s: float


Probe = Callable[[float], ClockState]


def probe(wall: float, marker: Path = MARKER) -> ClockState:
    """By timesyncd's marker where there is one, else by the kernel, where it may be asked."""
    try:
        touched = marker.stat().st_mtime
    except OSError:
        return kernel_state()
    is_fresh = touched - FUTURE_S <= wall <= touched + MARKER_LASTS_S
    return ClockState.SYNCHRONISED if is_fresh else ClockState.UNSYNCHRONISED


def kernel_state() -> ClockState:
    """By adjtimex(2), which chrony and ntpd set; a sandbox may refuse it: then nobody knows."""
    try:
        # Some sandboxes refuse what this import itself does.
        import ctypes

        call = ctypes.CDLL(None).adjtimex
        found: int = call(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (ImportError, OSError, AttributeError, MemoryError):
        return ClockState.UNKNOWN
    if found < 0:
        return ClockState.UNKNOWN
    return ClockState.UNSYNCHRONISED if found == TIME_ERROR else ClockState.SYNCHRONISED


class Clock:
    """Looks now and then; ``notify`` hears when the labels are not to be believed any more."""

    def __init__(
        self,
        started: Instant,
        *,
        probe: Probe = probe,
        notify: Callable[[Notice], None] = lambda _: None,
    ) -> None:
        self._offset_s = started.wall - started.mono
        self._probe = probe
        self._notify = notify
        self._unsynchronised_since: float | None = None
        self._told = ""

    def look(self, now: Instant) -> ClockTold:
        """How the clock stands now."""
        state = self._probe(now.wall)
        if state is not ClockState.UNSYNCHRONISED:
            self._unsynchronised_since = None
        elif self._unsynchronised_since is None:
            self._unsynchronised_since = now.mono
        self._tell(self._problem(now))
        offset_s = round(now.wall - now.mono - self._offset_s, 3)
        return ClockTold(state, offset_s or 0.0)  # never -0.0

    def _problem(self, now: Instant) -> str:
        if now.wall < NOT_BEFORE:
            return f"the clock shows a time before {_day(NOT_BEFORE)}, which cannot be"
        since = self._unsynchronised_since
        if since is not None and now.mono - since >= TOLERATED_S:
            return "the clock has not been synchronised for over an hour"
        return ""

    def _tell(self, problem: str) -> None:
        if problem != self._told:
            self._told = problem
            self._notify(Notice("clock_unsynchronised", bool(problem), problem))


def _day(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).date().isoformat()
