"""Detectors that fall silent together, by one link or at one post: one alarm with its members.

The silence of each is still an alarm of its own; it is suppressed while the group says it.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from gateway.alarms import handling
from gateway.alarms.homes import Group, Home, Homes
from gateway.alarms.lifecycle import Severity
from gateway.alarms.record import AlarmRecord, Change, Evidence, Rule
from gateway.values import Instant

TOGETHER_S: Final = 30.0
LEAST: Final = 2
LEAST_PART: Final = 0.5
"""Half of those that share the cause must be silent, and have been heard last within 30 s: own
choices."""
ALARM: Final = "silence"
Told = list[tuple[Home, Change]]


class Outages:
    """Groups the silences of detectors."""

    def __init__(self) -> None:
        self._alone: frozenset[str] = frozenset()

    def restored(self, records: Iterable[AlarmRecord]) -> None:
        """Silences of before the restart: when they began is not known, so they make no groups."""
        self._alone = frozenset(record.occurrence for record in records if record.alarm == ALARM)

    def tick(self, homes: Homes, now: Instant) -> Told:
        """Groups begin, change and end."""
        told = self._release(homes, now)
        if _silent(homes):
            for key, names in _sharing(homes):
                told += self._gather(key, names, homes, now)
        members = _members(homes)
        for group in _groups(homes):
            told += _review(group, members, now)
        return told

    def _release(self, homes: Homes, now: Instant) -> Told:
        """A silence that no group says any more stands for itself."""
        told: Told = []
        known = {record.occurrence for group in _groups(homes) if (record := _active(group))}
        for name, record in _silent(homes).items():
            if record.suppressed_by and record.suppressed_by not in known:
                told += _suppress(homes, name, "", now)
        return told

    def _gather(self, key: str, names: list[str], homes: Homes, now: Instant) -> Told:
        """Those of ``names``, which share a cause, that fell silent together."""
        silent = _silent(homes, names)
        group = homes.groups.get(key)
        record = None if group is None else _active(group)
        fresh = {
            name: _heard_last(homes, name)
            for name, of in silent.items()
            if not of.suppressed_by and of.occurrence not in self._alone
        }
        if not fresh:
            return []
        if record is None:
            newest = max(fresh.values())
            together = [name for name, at in fresh.items() if newest - at <= TOGETHER_S]
            if len(together) < max(LEAST, LEAST_PART * len(names)):
                return []
            return self._begin(key, together, homes, now)
        joined = [name for name, of in silent.items() if of.suppressed_by == record.occurrence]
        begun = min((_heard_last(homes, name) for name in joined), default=now.mono)
        told: Told = []
        for name, at in fresh.items():
            if abs(at - begun) <= TOGETHER_S:
                # One that is more urgent than its group must not be hidden behind it.
                told += _worsen(homes.groups[key], silent[name].priority, now)
                told += _suppress(homes, name, record.occurrence, now)
        return told

    def _begin(self, key: str, members: list[str], homes: Homes, now: Instant) -> Told:
        records = _silent(homes, members)
        name, exercise = key.removesuffix("!"), key.endswith("!")
        post = name.removeprefix("@post/") if name.startswith("@post/") else None
        group = homes.group(name, exercise=exercise, post=post)
        evidence = Evidence(
            min((record.raised_at for record in records.values()), key=lambda at: at.mono),
            Rule("common_silence", 1, (("least_members", LEAST), ("within_s", TOGETHER_S))),
            note=f"{len(members)} detectors of {name.removeprefix('@')} fell silent together",
            members=tuple(sorted(members)),
        )
        priority = min(record.priority for record in records.values())
        changes = group.book.open(ALARM, evidence, ("H1",), Severity("H1", priority, False))
        told: Told = [(group, change) for change in changes]
        for one in members:
            told += _suppress(homes, one, group.book.records[ALARM].occurrence, now)
        return told


def _silent(homes: Homes, names: Iterable[str] | None = None) -> dict[str, AlarmRecord]:
    """The silences that go on."""
    return {
        name: record
        for name in (homes.detectors if names is None else names)
        if (record := homes.detectors[name].book.records.get(ALARM)) is not None and record.active
    }


def _sharing(homes: Homes) -> Iterator[tuple[str, list[str]]]:
    """Each link, then each post, with the detectors there of which something is expected."""
    shared: dict[str, list[str]] = {}
    for name, detector in homes.detectors.items():
        if detector.book.orders.is_off_duty or detector.silence.switched_off:
            continue
        profile = detector.book.profile
        for key in _keys(profile.link, profile.post, profile.exercise):
            shared.setdefault(key, []).append(name)
    yield from sorted(shared.items())  # a link before a post: it is the nearer cause


def _keys(link: str, post: str | None, exercise: bool) -> list[str]:
    end = "!" if exercise else ""
    keys = [f"@link/{link}{end}"] if link else []
    return keys + ([f"@post/{post}{end}"] if post else [])


def _groups(homes: Homes) -> list[Group]:
    return [group for name, group in homes.groups.items() if name.startswith(("@link/", "@post/"))]


def _active(group: Group) -> AlarmRecord | None:
    record = group.book.records.get(ALARM)
    return record if record is not None and record.active else None


def _heard_last(homes: Homes, name: str) -> float:
    """When that silence began, whatever time its detector is given."""
    book = homes.detectors[name].book
    return book.records[ALARM].raised_at.mono - book.profile.silence_limit_s


def _suppress(homes: Homes, name: str, by: str, now: Instant) -> Told:
    home = homes.detectors[name]
    step = handling.suppressed(home.book.records[ALARM], by)
    return [(home, change) for change in home.book.apply(ALARM, step, now)]


def _worsen(group: Group, priority: int, now: Instant) -> Told:
    step = handling.worsened(group.book.records[ALARM], priority, now)
    return [(group, change) for change in group.book.apply(ALARM, step, now)]


def _members(homes: Homes) -> Mapping[str, list[str]]:
    """The silent detectors that each group says, by its occurrence."""
    found: dict[str, list[str]] = {}
    for name, record in _silent(homes).items():
        found.setdefault(record.suppressed_by, []).append(name)
    return found


def _review(group: Group, silent: Mapping[str, list[str]], now: Instant) -> Told:
    """A group names those that are silent now, and ends with the last of them."""
    record = _active(group)
    if record is None:
        return []
    members = tuple(sorted(silent.get(record.occurrence, ())))
    if not members:
        return [(group, change) for change in group.book.end(ALARM, now)]
    if members == record.members:
        return []
    where = record.detector.removeprefix("@")
    note = f"{len(members)} detector{'s' * (len(members) != 1)} of {where} silent"
    step = handling.regrouped(record, members, note)
    return [(group, change) for change in group.book.apply(ALARM, step, now)]
