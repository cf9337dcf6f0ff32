"""How well the alarm system serves its operators: rate, flood, chattering, stale, top sources.

Targets: one alarm in ten minutes an operator is very likely acceptable (Bransby & Jenkinson 1998,
EEMUA 191); ten in ten minutes is a flood, which ends below five (ISA-18.2, IEC 62682, as
recalled); three of the same alarm within a minute is chattering; an alarm active for more than a
day is stale.
"""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.alarms.record import AlarmEvent, AlarmRecord, Change
from gateway.values import Instant

RATE_S: Final = 600.0
FLOOD_BEGINS: Final = 10
FLOOD_ENDS: Final = 5
CHATTER_TIMES: Final = 3
CHATTER_S: Final = 60.0
STALE_S: Final = 86_400.0
SOURCES_S: Final = 86_400.0
KEPT: Final = 20_000
TOP: Final = 10


@dataclass(frozen=True, slots=True)
class FiguresTold:
    """The figures at one moment; ``per_operator`` is alarms in the last ten minutes."""

    per_operator: float
    flood: bool
    flood_share: float
    floods: int
    chattering: tuple[str, ...]
    stale: int
    top: tuple[tuple[str, int], ...]
    by_priority: tuple[tuple[int, int], ...]


class AlarmFigures:
    """Counts what was put before the operators; what is hidden does not count."""

    def __init__(self, operators: int) -> None:
        self._operators = max(operators, 1)
        self._shown: deque[tuple[float, str, int]] = deque(maxlen=KEPT)
        self._raised: dict[str, deque[float]] = {}
        self._chattering: dict[str, float] = {}
        self._flood_since: float | None = None
        self._flooded_s = 0.0
        self._since: float | None = None
        self._last = 0.0
        self.floods = 0

    def note(self, changes: Iterable[Change], now: Instant) -> None:
        """These were told."""
        for change in changes:
            record = change.record
            if change.event not in (AlarmEvent.RAISED, AlarmEvent.ESCALATED) or record.is_hidden:
                continue
            name = f"{record.detector} {record.alarm}"
            self._shown.append((now.mono, name, record.priority))
            if change.event is AlarmEvent.RAISED:
                times = self._raised.setdefault(name, deque(maxlen=CHATTER_TIMES))
                times.append(now.mono)
                if len(times) == CHATTER_TIMES and now.mono - times[0] <= CHATTER_S:
                    self._chattering[name] = now.mono

    def tick(self, now: Instant) -> None:
        """Time passes: floods begin and end, chattering is over an hour after its last time."""
        at = now.mono
        self._since = at if self._since is None else self._since
        while self._shown and at - self._shown[0][0] > SOURCES_S:
            self._shown.popleft()
        rate = self._rate(at)
        if self._flood_since is not None:
            self._flooded_s += at - self._last
            if rate < FLOOD_ENDS:
                self._flood_since = None
        elif rate >= FLOOD_BEGINS:
            self._flood_since = at
            self.floods += 1
        self._last = at
        for name in [name for name, last in self._chattering.items() if at - last > 3600.0]:
            del self._chattering[name]

    def told(self, now: Instant, active: Sequence[AlarmRecord]) -> FiguresTold:
        """The figures now."""
        at = now.mono
        lived = at - (self._since if self._since is not None else at)
        stale = sum(record.active and at - record.raised_at.mono > STALE_S for record in active)
        top = Counter(name for _, name, _ in self._shown).most_common(TOP)
        by_priority = Counter(priority for _, _, priority in self._shown)
        return FiguresTold(
            round(self._rate(at), 2),
            self._flood_since is not None,
            round(self._flooded_s / lived, 5) if lived > 0 else 0.0,
            self.floods,
            tuple(sorted(self._chattering)),
            stale,
            tuple(top),
            tuple(sorted(by_priority.items())),
        )

    def _rate(self, at: float) -> float:
        lately = 0
        for when, _, _ in reversed(self._shown):
            if at - when > RATE_S:
                break
            lately += 1
        return lately / self._operators
