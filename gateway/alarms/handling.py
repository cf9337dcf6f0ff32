"""What operators and the system do to an alarm beside its condition: pure steps on its record."""

from dataclasses import replace

from gateway.alarms.lifecycle import Step
from gateway.alarms.record import AlarmEvent, AlarmRecord
from gateway.values import Instant


def shelved(record: AlarmRecord, is_shelved: bool) -> Step:
    """Kept off the list for a while, or back on it."""
    event = AlarmEvent.SHELVED if is_shelved else AlarmEvent.UNSHELVED
    return _told(record, replace(record, shelved=is_shelved), event)


def serviced(record: AlarmRecord, is_out: bool) -> Step:
    """Out of service with its detector, or back in it."""
    event = AlarmEvent.OUT_OF_SERVICE if is_out else AlarmEvent.IN_SERVICE
    return _told(record, replace(record, out_of_service=is_out), event)


def silenced(record: AlarmRecord, is_silenced: bool) -> Step:
    """Its sound is off, or on again; it stays on the list."""
    event = AlarmEvent.SILENCED if is_silenced else AlarmEvent.UNSILENCED
    return _told(record, replace(record, silenced=is_silenced), event)


def suppressed(record: AlarmRecord, by: str) -> Step:
    """Another alarm says it already (``by`` is its occurrence), or none does any more."""
    event = AlarmEvent.SUPPRESSED if by else AlarmEvent.UNSUPPRESSED
    return _told(record, replace(record, suppressed_by=by), event)


def tidied(record: AlarmRecord, at: Instant) -> Step:
    """An alarm that is over and waits for nobody any more is closed."""
    done = not record.active and not record.latched
    if not done or not (record.acknowledged or record.suppressed_by):
        return record, ()
    after = replace(record, closed_at=at, revision=record.revision + 1)
    return after, ((AlarmEvent.CLOSED, after),)


def linked(record: AlarmRecord, incident: str) -> Step:
    """It may belong to one event with others: a suggestion."""
    return _told(record, replace(record, incident=incident), AlarmEvent.INCIDENT)


def worsened(record: AlarmRecord, priority: int, at: Instant) -> Step:
    """More urgent than it was, for a reason beside its level: to be acknowledged anew."""
    if record.priority <= priority:
        return record, ()
    revision = record.revision + 1
    after = replace(
        record,
        priority=priority,
        revision=revision,
        annunciated_revision=revision,
        annunciated_at=at,
        acknowledged=False,
        acknowledged_by="",
        acknowledged_at=None,
    )
    return after, ((AlarmEvent.ESCALATED, after),)


def regrouped(record: AlarmRecord, members: tuple[str, ...], note: str) -> Step:
    """The detectors that a group alarm is about have changed, and with them what it says."""
    return _told(record, replace(record, members=members, note=note), AlarmEvent.MEMBERS)


def reworded(record: AlarmRecord, note: str) -> Step:
    """The same condition in other words."""
    return _told(record, replace(record, note=note), AlarmEvent.UPDATED)


def closed(record: AlarmRecord, at: Instant, *, unverified: bool) -> Step:
    """Closed by somebody; ``unverified``: nothing proves that the field is normal."""
    after = replace(
        record,
        active=False,
        stale=False,
        latched=False,
        closed_unverified=unverified,
        closed_at=at,
        revision=record.revision + 1,
    )
    return after, ((AlarmEvent.CLOSED, after),)


def _told(before: AlarmRecord, changed: AlarmRecord, event: AlarmEvent) -> Step:
    """One event of its own, unless nothing has changed."""
    if changed == before:
        return before, ()
    after = replace(changed, revision=before.revision + 1)
    return after, ((event, after),)
