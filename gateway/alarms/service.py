"""The gateway's own conditions as technical alarms: of ``@gateway``, or of one sink, ``@sink/ID``.

Whoever finds a condition reports it as a notice, and has waited long enough before it does. Here it
becomes an alarm like any other: raised, acknowledged, returned, continued after a restart.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gateway.alarms import handling
from gateway.alarms.homes import Group, Home, Homes
from gateway.alarms.record import Change, Evidence, Rule
from gateway.values import Instant, Notice

GATEWAY: Final = "@gateway"
SINK: Final = "@sink/"
OFF_DELAY_S: Final = 10.0
"""Own choice, that of the other alarms: what flaps makes at most one occurrence in this time."""
UPDATE_S: Final = 10.0
"""Own choice: a detail that changes more often is told with its newest words only."""
CONFIRM_S: Final = 60.0
"""Own choice: a condition of before the restart that nobody reports again in this time is over."""
DETAIL_LIMIT: Final = 400
"""Own choice, in characters: details quote errors of libraries and brokers."""
_RULE: Final = "service_condition"
Told = list[tuple[Home, Change]]


@dataclass(slots=True)
class _Condition:
    """One kind at one place; times on the monotonic clock."""

    detail: str
    told_at: float
    over_at: float | None = None


class ServiceAlarms:
    """Turns notices into alarms; never of an exercise, whatever is simulated."""

    def __init__(self) -> None:
        self._conditions: dict[tuple[str, str], _Condition] = {}

    def restored(self, homes: Homes, now: Instant) -> None:
        """Conditions of before the restart hold until they are reported again, or for a while."""
        for group in _groups(homes):
            for alarm, record in group.book.records.items():
                if record.active:
                    over_at = now.mono + CONFIRM_S - OFF_DELAY_S
                    held = _Condition(record.note, now.mono, over_at)
                    self._conditions[group.book.profile.detector, alarm] = held

    def note(self, notice: Notice, homes: Homes, now: Instant) -> Told:
        """A condition begins, changes, or is over."""
        place = f"{SINK}{notice.sink}" if notice.sink else GATEWAY
        held = self._conditions.get((place, notice.kind))
        if not notice.present:
            if held is not None:
                held.over_at = min(now.mono, held.over_at or now.mono)
            return []
        detail = _plain(notice.detail)
        if held is not None:
            held.detail, held.over_at = detail, None
            return self._update(place, notice.kind, held, homes, now)
        self._conditions[place, notice.kind] = _Condition(detail, now.mono)
        group = homes.group(place)
        rule = Rule(_RULE, 1, (("off_delay_s", OFF_DELAY_S),))
        opened = group.book.open_discrete(notice.kind, Evidence(now, rule, note=detail))
        return [(group, change) for change in opened]

    def tick(self, homes: Homes, now: Instant) -> Told:
        """Conditions that are over end, and words that had to wait are told."""
        told: Told = []
        for (place, kind), held in tuple(self._conditions.items()):
            if held.over_at is None or now.mono - held.over_at < OFF_DELAY_S:
                told += self._update(place, kind, held, homes, now)
                continue
            del self._conditions[place, kind]
            group = homes.group(place)
            told += [(group, change) for change in group.book.end(kind, now)]
        return told

    def _update(self, place: str, kind: str, held: _Condition, homes: Homes, now: Instant) -> Told:
        group = homes.group(place)
        record = group.book.records.get(kind)
        if record is None or record.note == held.detail or now.mono - held.told_at < UPDATE_S:
            return []
        held.told_at = now.mono
        changes = group.book.apply(kind, handling.reworded(record, held.detail), now, held.detail)
        return [(group, change) for change in changes]


def is_service(name: str) -> bool:
    """Whether that is a place of the gateway's own conditions."""
    return name == GATEWAY or name.startswith(SINK)


def _groups(homes: Homes) -> Iterator[Group]:
    yield from (group for name, group in homes.groups.items() if is_service(name))


def _plain(detail: str) -> str:
    """Names of files may hold bytes that are no characters, which no journal takes."""
    text = detail.encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= DETAIL_LIMIT else f"{text[: DETAIL_LIMIT - 1]}…"
