"""The open alarms of one detector; every change to them passes here and becomes a Change."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final

from gateway.alarms import handling, lifecycle
from gateway.alarms.lifecycle import Events, Severity, Step
from gateway.alarms.orders import Orders
from gateway.alarms.profiles import FAULT_WHILE_ALARMING_PRIORITY, DetectorProfile, discrete
from gateway.alarms.record import AlarmEvent, AlarmRecord, Change, Evidence, LevelReached, Number
from gateway.values import Instant

SUBORDINATE: Final = ("gamma_rise", "gamma_ratio")
"""While the dose-rate alarm is active they say the same of the same detector at less."""


class Book:
    """At most one open alarm for each alarm object of one detector."""

    def __init__(self, profile: DetectorProfile, new_id: Callable[[], str]) -> None:
        self.profile = profile
        self.records: dict[str, AlarmRecord] = {}
        self.orders = Orders()
        self.is_blind = False
        """Whether the instrument's readings stand behind nothing just now."""
        self._new_id = new_id

    def is_active(self, alarm: str) -> bool:
        """Whether that alarm's condition holds."""
        record = self.records.get(alarm)
        return record is not None and record.active

    @property
    def is_alarming(self) -> bool:
        """Whether a radiation alarm is active."""
        return any(record.active and record.is_radiation for record in self.records.values())

    @property
    def is_teaching(self) -> bool:
        """Whether what is measured now may be learned as background.

        Accumulated dose does not go away and says nothing of the field.
        """
        return not self.records or not any(
            record.active and record.is_radiation and record.alarm != "dose"
            for record in self.records.values()
        )

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
        before = self.records.get(alarm)
        if before is None or _is_announced_anew(before, record):
            record, events = self._overlaid(record, events)
        if record.closed_at is None:
            self.records[alarm] = record
        else:
            self.records.pop(alarm, None)
            self.orders.silenced.pop(record.occurrence, None)
        return [
            Change(event, after, after.value, after.unit, actor, note, at)
            for event, after in events
        ]

    def revise(self, at: Instant, note: str = "", actor: str = "") -> list[Change]:
        """Orders have come or gone: what they hide is hidden, what they hid is shown."""
        changes = []
        for alarm, record in tuple(self.records.items()):
            is_shelved, is_out = self.orders.hides(record)
            step = handling.shelved(record, is_shelved)
            changes += self.apply(alarm, step, at, note, actor)
            step = handling.serviced(self.records[alarm], is_out)
            changes += self.apply(alarm, step, at, note, actor)
            muted = record.occurrence in self.orders.silenced
            step = handling.silenced(self.records[alarm], muted)
            changes += self.apply(alarm, step, at, note, actor)
        return changes

    def believe(self, records: Iterable[AlarmRecord]) -> None:
        """Of mutes the records are newer than the orders: both come from before a restart."""
        muted = {record.occurrence for record in records if record.silenced}
        silenced = self.orders.silenced
        self.orders.silenced = {name: silenced[name] for name in muted & silenced.keys()}

    def expire(self, now: Instant) -> list[Change]:
        """Orders whose time is over end, and what they hid is shown."""
        over = self.orders.expired(now)
        if not over:
            return []
        return self.revise(now, ", ".join(f"{order.what} is over" for order in over))

    def suppressor(self, alarm: str) -> str:
        """The occurrence that makes that alarm say nothing new, or nothing: see SUBORDINATE."""
        if alarm not in SUBORDINATE:
            return ""
        master = self.records.get("dose_rate")
        if master is None or not master.active or master.is_hidden:
            return ""
        return master.occurrence

    def suppress(self, at: Instant) -> list[Change]:
        """What an active dose-rate alarm says already is suppressed, until that is dealt with."""
        changes = []
        for alarm in SUBORDINATE:
            record = self.records.get(alarm)
            if record is None:
                continue
            by = self.suppressor(alarm) if record.active else ""
            if not by and self._is_waiting(record.suppressed_by):
                by = record.suppressed_by
            changes += self.apply(alarm, handling.suppressed(record, by), at)
            if alarm in self.records:
                changes += self.apply(alarm, handling.tidied(self.records[alarm], at), at)
        return changes

    def acknowledge_suppressed(self, by: str, user: str, now: Instant) -> list[Change]:
        """Who has seen an alarm has seen what says no more than it."""
        changes = []
        for alarm in SUBORDINATE:
            record = self.records.get(alarm)
            if record is not None and record.suppressed_by == by and not record.acknowledged:
                step = lifecycle.acknowledged(record, user, now, None)
                changes += self.apply(alarm, step, now, f"with {by}", user)
        return changes

    def _is_waiting(self, occurrence: str) -> bool:
        """Whether that dose-rate alarm still waits for somebody."""
        master = self.records.get("dose_rate")
        return (
            master is not None
            and bool(occurrence)
            and master.occurrence == occurrence
            and not master.acknowledged
            and not master.is_hidden
        )

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
        if record is None or not record.stale or (self.is_blind and record.is_radiation):
            return []
        return self.apply(alarm, lifecycle.freshened(record, evidence), at)

    def end(self, alarm: str, at: Instant, value: Number | None = None) -> list[Change]:
        """The condition of that alarm is gone."""
        record = self.records.get(alarm)
        if record is None or not record.active:
            return []
        order = self.orders.silenced.pop(record.occurrence, None)
        if order is not None:  # a mute ends with the condition that it muted
            record = replace(record, silenced=False)
        return self.apply(alarm, lifecycle.returned(record, at, value), at)

    def _overlaid(self, record: AlarmRecord, events: Events) -> tuple[AlarmRecord, Events]:
        """The record and its events as the orders in force show them; it sounds, whatever was."""
        self.orders.silenced.pop(record.occurrence, None)
        is_shelved, is_out = self.orders.hides(record)
        is_first = record.revision == 1
        by = self.suppressor(record.alarm) if is_first else record.suppressed_by
        # What began without a test source, or goes on after it, is not of the test source.
        of_test = (is_first and record.previous is None) or record.test_source
        is_test = of_test and self.orders.test_source is not None

        def overlay(one: AlarmRecord) -> AlarmRecord:
            return replace(
                one,
                shelved=is_shelved,
                out_of_service=is_out,
                silenced=False,
                suppressed_by=by,
                test_source=is_test,
            )

        return overlay(record), tuple((event, overlay(after)) for event, after in events)

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
            background=evidence.background,
            members=evidence.members,
            configuration=profile.configuration,
            note=evidence.note,
        )


def _taking_over(record: AlarmRecord, before: AlarmRecord) -> AlarmRecord:
    """Nobody has dealt with the alarm before it yet: its levels, priority and latch live on."""
    mine = {entry.level for entry in record.levels}
    earlier = tuple(entry for entry in before.levels if entry.level not in mine)
    return replace(
        record,
        levels=earlier + record.levels,
        level=max((record, before), key=lambda one: (-one.priority, one.level)).level,
        priority=min(record.priority, before.priority),
        latched=record.latched or before.latched,
        previous=before.occurrence,
        test_source=before.test_source,
    )


def _is_announced_anew(before: AlarmRecord, after: AlarmRecord) -> bool:
    return (before.level, before.priority, before.annunciated_revision) != (
        after.level,
        after.priority,
        after.annunciated_revision,
    )
