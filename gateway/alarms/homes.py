"""Where each open alarm lives: a detector, a group of detectors, or a report entered by hand."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Protocol

from gateway.alarms import lifecycle
from gateway.alarms.book import Book
from gateway.alarms.detector import DetectorAlarms
from gateway.alarms.durable import Internal
from gateway.alarms.lifecycle import Refusal
from gateway.alarms.profiles import DetectorProfile
from gateway.alarms.record import AlarmEvent, AlarmRecord, Change
from gateway.values import Instant

REMEMBERED: Final = 1024
"""So many closed alarms are remembered, to answer who acknowledges or assesses one of them."""
AREA: Final = "@area"
REPORT: Final = "@report"


class Home(Protocol):
    """What keeps alarms."""

    book: Book

    def acknowledge(
        self, record: AlarmRecord, user: str, revision: int | None, now: Instant
    ) -> list[Change]:
        """Somebody has seen it; raises Refusal."""

    def reset(self, record: AlarmRecord, user: str, now: Instant) -> tuple[str, list[Change]]:
        """The latch is taken off; raises Refusal."""

    def internal(self, alarm: str) -> Internal:
        """What a restart needs beside the record."""

    def restore(self, record: AlarmRecord, internal: Internal, now: Instant) -> list[Change]:
        """An alarm from before the restart."""


class Group:
    """The alarms of several detectors together, or of none; its name begins with ``@``."""

    def __init__(
        self,
        name: str,
        new_id: Callable[[], str],
        *,
        exercise: bool = False,
        post: str | None = None,
    ) -> None:
        profile = DetectorProfile(name, "", post=post, exercise=exercise)
        self.book = Book(profile, new_id)

    def acknowledge(
        self, record: AlarmRecord, user: str, revision: int | None, now: Instant
    ) -> list[Change]:
        """Somebody has seen it; raises Refusal."""
        note = f"already acknowledged by {record.acknowledged_by}" if record.acknowledged else ""
        step = lifecycle.acknowledged(record, user, now, revision)
        return self.book.apply(record.alarm, step, now, note, user)

    def reset(self, record: AlarmRecord, user: str, now: Instant) -> tuple[str, list[Change]]:
        """The latch is taken off; raises Refusal."""
        return "", self.book.apply(record.alarm, lifecycle.reset(record, now), now, "", user)

    def internal(self, alarm: str) -> Internal:
        """The record says it all."""
        return Internal()

    def restore(self, record: AlarmRecord, internal: Internal, now: Instant) -> list[Change]:
        """It goes on; whoever judges it finds it on the book."""
        self.book.records[record.alarm] = record
        changes = self.book.revise(now, "restarted")
        record = self.book.records[record.alarm]
        if record.acknowledged or record.is_hidden:
            return changes
        again = lifecycle.re_alarmed(record, now)
        return changes + self.book.apply(record.alarm, again, now, "restarted")

    def tick(self, now: Instant) -> list[Change]:
        """Time passes: orders end."""
        return self.book.expire(now)


class Homes:
    """All homes, and where each open occurrence is."""

    def __init__(self, detectors: dict[str, DetectorAlarms], new_id: Callable[[], str]) -> None:
        self.detectors = detectors
        self.groups: dict[str, Group] = {}
        self.closed: OrderedDict[str, AlarmRecord] = OrderedDict()
        self.new_id = new_id
        self._places: dict[str, tuple[Home, str]] = {}

    def group(self, name: str, *, exercise: bool = False, post: str | None = None) -> Group:
        """The group of that name, made when it is first asked for."""
        key = f"{name}!" if exercise else name
        found = self.groups.get(key)
        if found is None:
            found = self.groups[key] = Group(name, self.new_id, exercise=exercise, post=post)
        return found

    def report(self, *, exercise: bool, post: str | None) -> Group:
        """A home for one more report."""
        group = Group(REPORT, self.new_id, exercise=exercise, post=post)
        self.groups[f"{REPORT}/{len(self.groups)}/{self.new_id()}"] = group
        return group

    def all(self) -> Iterator[Home]:
        """Detectors, then groups."""
        yield from self.detectors.values()
        yield from self.groups.values()

    def active(self) -> list[AlarmRecord]:
        """Every alarm that is not closed."""
        return [record for home in self.all() for record in home.book.records.values()]

    def place(self, home: Home, record: AlarmRecord) -> None:
        """That alarm lives there."""
        self._places[record.occurrence] = (home, record.alarm)

    def find(self, occurrence: str) -> tuple[Home, AlarmRecord] | None:
        """Home and record of an open alarm."""
        place = self._places.get(occurrence)
        return None if place is None else (place[0], place[0].book.records[place[1]])

    def open(self, occurrence: str) -> tuple[Home, AlarmRecord]:
        """The same; raises Refusal."""
        found = self.find(occurrence)
        if found is None:
            raise Refusal(f"stale: no open alarm is called {occurrence!r}")
        return found

    def known(self, occurrence: str) -> AlarmRecord | None:
        """An alarm that is open, or was closed not long ago."""
        found = self.find(occurrence)
        return self.closed.get(occurrence) if found is None else found[1]

    def detector(self, name: str) -> DetectorAlarms:
        """A detector by its id; raises Refusal."""
        found = self.detectors.get(name)
        if found is None:
            raise Refusal(f"no detector is called {name!r}")
        return found

    def note(self, home: Home, changes: Iterable[Change]) -> None:
        """Keeps track of what was raised and closed."""
        for change in changes:
            record = change.record
            if change.event is AlarmEvent.RAISED:
                self.place(home, record)
            elif change.event is AlarmEvent.CLOSED:
                self._places.pop(record.occurrence, None)
                self.closed[record.occurrence] = record
                if len(self.closed) > REMEMBERED:
                    self.closed.popitem(last=False)

    def drop_reports(self) -> None:
        """Reports that are closed need no home."""
        for key in [key for key in self.groups if key.startswith(f"{REPORT}/")]:
            if not self.groups[key].book.records:
                del self.groups[key]
