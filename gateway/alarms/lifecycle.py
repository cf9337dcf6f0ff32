"""The life of one alarm: pure steps on its record, each giving the record and its events.

Active, acknowledged and latched are independent. An alarm is closed when its condition is gone,
somebody has acknowledged it, and no latch is left.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from gateway.alarms.record import AlarmEvent, AlarmRecord, Evidence, LevelReached, Number
from gateway.values import Instant

Events = tuple[tuple[AlarmEvent, AlarmRecord], ...]
Step = tuple[AlarmRecord, Events]

PEAK_GROWTH: Final = 2.0
RE_ALARM_PRIORITY_1_S: Final = 60.0
"""R5 and above; the own choice for a portal's neutron alarm, also priority 1, is the same."""
RE_ALARM_R4_S: Final = 300.0


class Refusal(Exception):
    """A command that does not fit the alarm's state; the text says why."""


@dataclass(frozen=True, slots=True)
class Severity:
    """The worst level an alarm has reached, and what follows from all it has reached."""

    level: str
    priority: int
    latched: bool


def escalated(
    record: AlarmRecord, evidence: Evidence, reached: Sequence[str], severity: Severity
) -> Step:
    """A worse level than those that hold: to be acknowledged anew."""
    revision = record.revision + 1
    after = replace(
        _measured(joined(record, evidence.at, reached), evidence),
        revision=revision,
        annunciated_revision=revision,
        annunciated_at=evidence.at,
        rule=evidence.rule,
        level=severity.level,
        priority=min(record.priority, severity.priority),
        latched=record.latched or severity.latched,
        acknowledged=False,
        acknowledged_by="",
        acknowledged_at=None,
        indicative=record.indicative and evidence.indicative,
    )
    if evidence.value is not None and _exceeds(evidence.value, record.peak):
        after = replace(
            after, peak=evidence.value, announced_peak=evidence.value, peak_at=evidence.at
        )
    return after, ((AlarmEvent.ESCALATED, after),)


def joined(record: AlarmRecord, at: Instant, reached: Sequence[str]) -> AlarmRecord:
    """The record with these levels among those that hold; no event of its own."""
    entries = {entry.level: entry for entry in record.levels}
    for name in reached:
        before = entries.get(name)
        entries[name] = LevelReached(name, at) if before is None else replace(before, left_at=None)
    held = tuple(name for name in entries if name in record.held or name in reached)
    return replace(record, levels=tuple(entries.values()), held=held)


def parted(record: AlarmRecord, left: Sequence[str], at: Instant) -> AlarmRecord:
    """The record without these levels among those that hold; no event of its own."""
    levels = tuple(
        replace(entry, left_at=at) if entry.level in left else entry for entry in record.levels
    )
    held = tuple(name for name in record.held if name not in left)
    return replace(record, levels=levels, held=held)


def sustained(record: AlarmRecord, at: Instant) -> AlarmRecord:
    """One more sample that satisfies the condition; no event of its own."""
    return replace(record, lasted_s=max(record.lasted_s, at.mono - record.raised_at.mono))


def grown(record: AlarmRecord, evidence: Evidence) -> Step:
    """The peak follows the value; an event when it has doubled since the last one told."""
    value = evidence.value
    if value is None or not _exceeds(value, record.peak):
        return record, ()
    if record.lower_bound is not None and value < record.lower_bound:
        return record, ()  # over range it was more than that
    position = evidence.position or record.position
    after = replace(record, peak=value, peak_at=evidence.at, position=position)
    if record.announced_peak is not None and value < PEAK_GROWTH * record.announced_peak:
        return after, ()
    after = replace(_measured(after, evidence), announced_peak=value, revision=record.revision + 1)
    return after, ((AlarmEvent.PEAK, after),)


def returned(record: AlarmRecord, at: Instant, value: Number | None = None) -> Step:
    """The condition is gone; a latch remains until reset."""
    after = replace(
        parted(record, record.held, at),
        active=False,
        stale=False,
        returned_at=at,
        value=value,
        revision=record.revision + 1,
    )
    events: Events = ((AlarmEvent.RETURNED, after),)
    if after.latched:
        after = replace(after, revision=after.revision + 1)
        return after, (*events, (AlarmEvent.LATCHED, after))
    return _closed_if_done(after, at, events)


def acknowledged(record: AlarmRecord, user: str, at: Instant, revision: int | None) -> Step:
    """Somebody has seen it; who says so second is recorded and changes nothing."""
    if revision is not None and not record.annunciated_revision <= revision <= record.revision:
        raise Refusal(
            f"stale: revision {revision} of {record.occurrence} is not what is announced now, "
            f"see revision {record.revision}"
        )
    if record.acknowledged:
        return record, ((AlarmEvent.ACKNOWLEDGED, record),)
    after = replace(
        record,
        acknowledged=True,
        acknowledged_by=user,
        acknowledged_at=at,
        revision=record.revision + 1,
    )
    return _closed_if_done(after, at, ((AlarmEvent.ACKNOWLEDGED, after),))


def reset(record: AlarmRecord, at: Instant) -> Step:
    """The latch is taken off an alarm whose condition is gone."""
    if record.active:
        raise Refusal(f"the condition of {record.occurrence} is still true")
    if not record.latched:
        raise Refusal(f"{record.occurrence} is not latched")
    after = replace(record, latched=False, reset_at=at, revision=record.revision + 1)
    return _closed_if_done(after, at, ((AlarmEvent.RESET, after),))


def confirmed(record: AlarmRecord) -> Step:
    """The assessor calls suspect low readings real: they may clear it from now on."""
    after = replace(record, revision=record.revision + 1)
    return after, ((AlarmEvent.RESET, after),)


def superseded(record: AlarmRecord, at: Instant) -> Step:
    """A new occurrence takes over what was left to do here."""
    after = replace(record, closed_at=at, revision=record.revision + 1)
    return after, ((AlarmEvent.CLOSED, after),)


def went_stale(record: AlarmRecord) -> Step:
    """No valid data behind an active alarm any more."""
    if record.stale or not record.active:
        return record, ()
    after = replace(record, stale=True, revision=record.revision + 1)
    return after, ((AlarmEvent.STALE, after),)


def freshened(record: AlarmRecord, evidence: Evidence | None) -> Step:
    """Valid data again; the alarm stays what it is."""
    if not record.stale:
        return record, ()
    after = replace(record, stale=False, revision=record.revision + 1)
    if evidence is not None:
        after = _measured(after, evidence)
    return after, ((AlarmEvent.FRESH, after),)


def re_alarmed(record: AlarmRecord, now: Instant) -> Step:
    """Nobody has acknowledged it: annunciated once more."""
    after = replace(record, annunciated_at=now, revision=record.revision + 1)
    return after, ((AlarmEvent.RE_ALARMED, after),)


def annunciated_again(record: AlarmRecord, evidence: Evidence) -> Step:
    """The same cause anew, for which nobody's earlier acknowledgement stands."""
    revision = record.revision + 1
    after = replace(
        _measured(record, evidence),
        revision=revision,
        annunciated_revision=revision,
        annunciated_at=evidence.at,
        acknowledged=False,
        acknowledged_by="",
        acknowledged_at=None,
    )
    return after, ((AlarmEvent.RE_ALARMED, after),)


def re_alarm_due(record: AlarmRecord, now: Instant) -> bool:
    """Whether it has stood unacknowledged for its time (priority 1: 60 s, R4: 5 min)."""
    if record.acknowledged or record.is_hidden:
        return False
    if record.priority == 1:
        after_s = RE_ALARM_PRIORITY_1_S
    elif record.level == "R4":
        after_s = RE_ALARM_R4_S
    else:
        return False
    return now.mono - record.annunciated_at.mono >= after_s


def _closed_if_done(record: AlarmRecord, at: Instant, events: Events) -> Step:
    if record.active or record.latched:
        return record, events
    if not record.acknowledged and not record.suppressed_by:
        return record, events
    after = replace(record, closed_at=at, revision=record.revision + 1)
    return after, (*events, (AlarmEvent.CLOSED, after))


def _measured(record: AlarmRecord, evidence: Evidence) -> AlarmRecord:
    return replace(
        record,
        value=evidence.value,
        unit=evidence.unit or record.unit,
        quantity=evidence.quantity or record.quantity,
        raw=evidence.raw,
        lower_bound=evidence.lower_bound,
        statistic=evidence.statistic or record.statistic,
        position=evidence.position or record.position,
        flags=evidence.flags,
        device_alarms=evidence.device_alarms or record.device_alarms,
        background=evidence.background or record.background,
        members=evidence.members or record.members,
    )


def _exceeds(value: Number, peak: Number | None) -> bool:
    return peak is None or value > peak
