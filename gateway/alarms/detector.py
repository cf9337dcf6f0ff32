"""All alarms of one detector: what its samples, passages, link and silence do to them."""

from collections.abc import Callable

from gateway.alarms import lifecycle
from gateway.alarms.book import Book
from gateway.alarms.device import DeviceAlarms
from gateway.alarms.dose_rate import ALARM, DoseRateAlarm
from gateway.alarms.durable import Internal
from gateway.alarms.profiles import AlarmSettings, DetectorProfile
from gateway.alarms.record import AlarmRecord, Change, is_radiation
from gateway.alarms.technical import LossOfCounts, Silence
from gateway.values import Instant, Measured, PassageRecord


class DetectorAlarms:
    """One detector. Every method takes the time and gives what changed."""

    def __init__(
        self,
        profile: DetectorProfile,
        settings: AlarmSettings,
        share_per_hour: float,
        new_id: Callable[[], str],
    ) -> None:
        self.book = Book(profile, new_id)
        self.dose_rate = DoseRateAlarm(self.book, settings.off_delay_s, share_per_hour)
        self.device = DeviceAlarms(self.book, settings.off_delay_s)
        self.silence = Silence(self.book)
        self.loss = LossOfCounts(self.book)

    @property
    def is_blind(self) -> bool:
        """Whether the instrument's readings can clear nothing just now."""
        return self.device.is_faulty or self.loss.is_lost

    def measured(self, measured: Measured, now: Instant) -> list[Change]:
        """One sample."""
        changes = self._heard(now)
        changes += self.device.measured(measured)
        changes += self.loss.measured(measured)
        self.silence.switched_off = self.device.switched_off
        changes += self.dose_rate.measured(
            measured,
            blind=self.is_blind,
            alive=not self.loss.is_running_out(measured.arrived.mono),
            background=self.loss.watch.background,
        )
        if self.book.records and self.is_blind:
            changes += self.book.mark_stale(now, "instrument fault")
        return changes

    def passage(self, passage: PassageRecord, now: Instant) -> list[Change]:
        """One passage."""
        return self._heard(now) + self.device.passage(passage)

    def heard(self, now: Instant) -> None:
        """A valid frame that made no sample."""
        self.silence.heard(now.mono)

    def link(self, up: bool, reason: str, now: Instant) -> list[Change]:
        """The link came or went: without it nothing stands behind an active alarm."""
        self.silence.link_problem = "" if up else reason or "link lost"
        return [] if up else self.book.mark_stale(now, self.silence.link_problem)

    def tick(self, now: Instant) -> list[Change]:
        """Time passes."""
        changes = self.silence.tick(now)
        changes += self.device.tick(now)
        for alarm, record in tuple(self.book.records.items()):
            if lifecycle.re_alarm_due(record, now):
                changes += self.book.apply(alarm, lifecycle.re_alarmed(record, now), now)
        return changes

    def acknowledge(
        self, record: AlarmRecord, user: str, revision: int | None, now: Instant
    ) -> list[Change]:
        """An operator has seen it; raises Refusal."""
        note = f"already acknowledged by {record.acknowledged_by}" if record.acknowledged else ""
        step = lifecycle.acknowledged(record, user, now, revision)
        return self.book.apply(record.alarm, step, now, note, user)

    def reset(self, record: AlarmRecord, user: str, now: Instant) -> tuple[str, list[Change]]:
        """The assessor resets a latch, or says that suspect low readings are real."""
        if record.alarm == ALARM and record.active and self.dose_rate.confirm_fold():
            note = "suspicion of fold-over dismissed; it returns after valid readings"
            step = lifecycle.confirmed(record)
            return note, self.book.apply(record.alarm, step, now, note, user)
        return "", self.book.apply(record.alarm, lifecycle.reset(record, now), now, "", user)

    def restore(self, record: AlarmRecord, internal: Internal, now: Instant) -> list[Change]:
        """An alarm from before the restart, still the same occurrence, waiting for fresh data."""
        alarm = record.alarm
        self.book.records[alarm] = record
        changes: list[Change] = []
        if record.active:
            self._restore_condition(alarm, internal, now)
            if is_radiation(alarm):
                changes += self.book.mark_stale(now, "restarted", (alarm,))
        if not record.acknowledged:
            again = lifecycle.re_alarmed(self.book.records[alarm], now)
            changes += self.book.apply(alarm, again, now, "restarted")
        return changes

    def internal(self, alarm: str) -> Internal:
        """What a restart needs beside the record."""
        if alarm == ALARM:
            holds = self.dose_rate.holds
            holding = tuple((name, hold.by_dose_rate) for name, hold in holds.items())
            return Internal(holding, self.dose_rate.fold.suspect)
        return Internal(parts=self.device.parts(alarm))

    def _heard(self, now: Instant) -> list[Change]:
        self.silence.heard(now.mono)
        return self.book.end("silence", now)

    def _restore_condition(self, alarm: str, internal: Internal, now: Instant) -> None:
        if alarm == ALARM:
            self.dose_rate.restore(internal.holding, internal.suspect)
        elif alarm == "loss_of_counts":
            self.loss.is_lost = True
        elif alarm != "silence":
            self.device.restore(alarm, internal.parts, now.mono)
