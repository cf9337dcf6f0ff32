"""The open alarms of one detector; every change to them passes here and becomes a Change."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from gateway.alarms import lifecycle
from gateway.alarms.lifecycle import Severity, Step
from gateway.alarms.profiles import FAULT_WHILE_ALARMING_PRIORITY, DetectorProfile, discrete
from gateway.alarms.record import AlarmEvent, AlarmRecord, Change, Evidence, LevelReached, Number
from gateway.values import Instant


class Book:
    """At most one open alarm for each alarm object of one detector."""

    def __init__(self, profile: DetectorProfile, new_id: Callable[[], str]) -> None:
        self.profile = profile
        self.records: dict[str, AlarmRecord] = {}
        self._new_id = new_id

    def is_active(self, alarm: str) -> bool:
        """Whether that alarm's condition holds."""
        record = self.records.get(alarm)
        return record is not None and record.active

    @property
    def is_alarming(self) -> bool:
        """Whether a radiation alarm is active."""
        return any(record.active and record.is_radiation for record in self.records.values())

    def open(
        self, alarm: str, evidence: Evidence, reached: Sequence[str], severity: Severity
    ) -> list[Change]:
        """A new occurrence; it takes over what its predecessor leaves undone."""
        changes = []
        before = self.records.get(alarm)
        record = self._new(alarm, evidence, reached, severity)
        if before is not None:
            record = _taking_over(record, before)
            note = f"superseded by {record.occurrence}"
            changes = self.apply(
                alarm, lifecycle.superseded(before, evidence.at), evidence.at, note
            )
        return changes + self.apply(
            alarm, (record, ((AlarmEvent.RAISED, record),)), evidence.at, evidence.note
        )

    def open_discrete(self, alarm: str, evidence: Evidence) -> list[Change]:
        """A new occurrence of an on-off alarm; a fault of an alarming instrument is priority 2."""
        kind = discrete(alarm)
        priority = kind.priority
        if kind.level == "H1" and self.is_alarming:
            priority = min(priority, FAULT_WHILE_ALARMING_PRIORITY)
        severity = Severity(kind.level, priority, kind.latched)
        return self.open(alarm, evidence, (kind.level,), severity)

    def apply(
        self, alarm: str, step: Step, at: Instant, note: str = "", actor: str = ""
    ) -> list[Change]:
        """Keep what a step made of an alarm, and say what happened."""
        record, events = step
        if record.closed_at is None:
            self.records[alarm] = record
        else:
            self.records.pop(alarm, None)
        return [
            Change(event, after, after.value, after.unit, actor, note, at)
            for event, after in events
        ]

    def mark_stale(self, at: Instant, why: str, alarms: Sequence[str] = ()) -> list[Change]:
        """Active radiation alarms (only those named, if any are) have no valid data behind them."""
        changes = []
        for alarm, record in tuple(self.records.items()):
            if record.is_radiation and (not alarms or alarm in alarms):
                changes += self.apply(alarm, lifecycle.went_stale(record), at, why)
        return changes

    def freshen(self, alarm: str, at: Instant, evidence: Evidence | None = None) -> list[Change]:
        """Valid data again behind that alarm."""
        record = self.records.get(alarm)
        if record is None or not record.stale:
            return []
        return self.apply(alarm, lifecycle.freshened(record, evidence), at)

    def end(self, alarm: str, at: Instant, value: Number | None = None) -> list[Change]:
        """The condition of that alarm is gone."""
        record = self.records.get(alarm)
        if record is None or not record.active:
            return []
        return self.apply(alarm, lifecycle.returned(record, at, value), at)

    def _new(
        self, alarm: str, evidence: Evidence, reached: Sequence[str], severity: Severity
    ) -> AlarmRecord:
        profile = self.profile
        return AlarmRecord(
            occurrence=self._new_id(),
            detector=profile.detector,
            alarm=alarm,
            rule=evidence.rule,
            level=severity.level,
            priority=severity.priority,
            raised_at=evidence.at,
            annunciated_at=evidence.at,
            post=profile.post,
            detector_class=profile.detector_class,
            serial=profile.serial,
            exercise=profile.exercise,
            levels=tuple(LevelReached(level, evidence.at) for level in reached),
            held=tuple(reached),
            latched=severity.latched,
            indicative=evidence.indicative,
            value=evidence.value,
            unit=evidence.unit,
            quantity=evidence.quantity,
            raw=evidence.raw,
            lower_bound=evidence.lower_bound,
            peak=evidence.value,
            announced_peak=evidence.value,
            peak_at=None if evidence.value is None else evidence.at,
            statistic=evidence.statistic,
            position=evidence.position,
            flags=evidence.flags,
            device_alarms=evidence.device_alarms,
        )


def _taking_over(record: AlarmRecord, before: AlarmRecord) -> AlarmRecord:
    """Nobody has dealt with the alarm before it yet: its levels, priority and latch live on."""
    mine = {entry.level for entry in record.levels}
    earlier = tuple(entry for entry in before.levels if entry.level not in mine)
    return replace(
        record,
        levels=earlier + record.levels,
        level=max(record.level, before.level),
        priority=min(record.priority, before.priority),
        latched=record.latched or before.latched,
        previous=before.occurrence,
    )
