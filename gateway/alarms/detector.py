"""All alarms of one detector: what its samples, passages, link and silence do to them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from drivers.api import Channel
from gateway.alarms import lifecycle
from gateway.alarms.book import Book
from gateway.alarms.budget import Shares
from gateway.alarms.counting import Counted, all_counts
from gateway.alarms.device import DECLARED, DeviceAlarms
from gateway.alarms.dose_rate import ALARM, DoseRateAlarm
from gateway.alarms.durable import Internal
from gateway.alarms.profiles import AlarmSettings, DetectorProfile
from gateway.alarms.record import AlarmRecord, Change, is_radiation
from gateway.alarms.rules import RISE, Rules
from gateway.alarms.technical import LossOfCounts, Silence
from gateway.alarms.usability import Usability, dose_rates, usability
from gateway.alarms.watcher import NOTHING_COMMON, Common, Sampled, Standing, Watcher
from gateway.values import Instant, Measured, PassageRecord

_OF_ITSELF: Final = frozenset(
    {Channel.DEVICE_ALARM, Channel.DEVICE_FAULT, Channel.TAMPER, Channel.BATTERY, Channel.POSITION}
)
"""Channels that say nothing of the field."""


LOOK_EVERY_S: Final = 10.0
"""How often it is looked whether rules are armed; what they find is told at once, and so is what
becomes of orders."""


class DetectorAlarms:
    """One detector. Every method takes the time and gives what changed."""

    def __init__(
        self,
        profile: DetectorProfile,
        settings: AlarmSettings,
        shares: Shares,
        new_id: Callable[[], str],
    ) -> None:
        self.book = Book(profile, new_id)
        self.dose_rate = DoseRateAlarm(self.book, settings.off_delay_s, shares.levels)
        self.device = DeviceAlarms(self.book, settings.off_delay_s)
        self.silence = Silence(self.book)
        self.loss = LossOfCounts(self.book)
        self.rules = Rules(self.book, shares, settings.off_delay_s)
        self.serial = profile.serial
        self.commissioned = ""
        self._configured = profile.serial
        self._valid_at: float | None = None
        self._common = NOTHING_COMMON
        self._standings: tuple[Standing, ...] = ()
        self._look_due = 0.0
        self.looks = 0

    @property
    def is_blind(self) -> bool:
        """Whether the instrument's readings can clear nothing just now."""
        return self.device.is_faulty or self.loss.is_lost or self.rules.is_frozen

    def measured(self, measured: Measured, now: Instant) -> list[Change]:
        """One sample."""
        book, loss = self.book, self.loss
        changes = self._heard(now)
        changes += self.device.measured(measured)
        gamma, neutrons = all_counts(measured)
        changes += loss.measured(measured, gamma)
        self.silence.switched_off = self.device.switched_off
        is_blind = book.is_blind = self.is_blind
        if book.orders.maintenance and not is_blind and _has_number(measured):
            self._valid_at = measured.arrived.mono
        sampled = self._sampled(measured, gamma, neutrons, is_blind)
        changes += self.dose_rate.measured(
            sampled,
            alive=not loss.is_running_out(measured.arrived.mono),
            background=loss.watch.background,
        )
        for watcher in self.rules.watchers:
            if found := watcher.measured(sampled):
                changes += found
        if book.records:
            if not self.book.is_teaching:
                self.loss.unlearn()
            if self.is_blind:
                changes += self.book.mark_stale(now, "instrument fault")
            changes += self.book.suppress(now)
        return changes

    def _sampled(
        self, measured: Measured, gamma: Counted | None, neutrons: Counted | None, is_blind: bool
    ) -> Sampled:
        common = self._common
        true, estimate = dose_rates(measured)
        return Sampled(
            measured,
            gamma,
            neutrons,
            true,
            estimate,
            is_blind,
            not self.book.is_teaching,
            common.is_on,
            common.factor,
            common.cover,
        )

    def passage(self, passage: PassageRecord, now: Instant) -> list[Change]:
        """One passage."""
        self._valid_at = passage.arrived.mono
        return self._heard(now) + self.device.passage(passage)

    def heard(self, now: Instant) -> None:
        """A valid frame that made no sample."""
        self.silence.heard(now.mono)

    def link(self, up: bool, reason: str, now: Instant) -> list[Change]:
        """The link came or went: without it nothing stands behind an active alarm."""
        self.silence.link_problem = "" if up else reason or "link lost"
        return [] if up else self.book.mark_stale(now, self.silence.link_problem)

    def tick(self, now: Instant, *, common: Common = NOTHING_COMMON) -> list[Change]:
        """Time passes; ``common`` is the rise that it shares with others."""
        self._common = common
        is_ordered = self.book.orders.is_any
        changes = self.book.expire(now) if is_ordered else []
        if is_ordered or self.book.records or now.mono >= self._look_due:
            self._look_due = now.mono + LOOK_EVERY_S
            self.looks += 1
            self._standings = tuple(self.rules.standings())
        self.silence.off_duty = self.book.orders.is_off_duty
        changes += self.silence.tick(now)
        changes += self.device.tick(now)
        for watcher in self.rules.ticking:
            if found := watcher.tick(now):
                changes += found
        if not self.book.records:
            return changes
        changes += self.book.suppress(now)
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
        changes = self.book.apply(record.alarm, step, now, note, user)
        return changes + self.book.acknowledge_suppressed(record.occurrence, user, now)

    def reset(self, record: AlarmRecord, user: str, now: Instant) -> tuple[str, list[Change]]:
        """The assessor resets a latch, or says that suspect low readings are real."""
        if record.alarm == ALARM and record.active and self.dose_rate.confirm_fold():
            note = "suspicion of fold-over dismissed; it returns after valid readings"
            step = lifecycle.confirmed(record)
            return note, self.book.apply(record.alarm, step, now, note, user)
        return "", self.book.apply(record.alarm, lifecycle.reset(record, now), now, "", user)

    def accept(self, now: Instant) -> list[Change]:
        """The assessor takes what is measured now for the background of all rules."""
        return self.rules.accept(now)

    def is_measuring(self, now: Instant) -> bool:
        """Whether a detector in maintenance gives valid readings at present."""
        limit_s = self.book.profile.silence_limit_s
        return self._valid_at is not None and now.mono - self._valid_at < limit_s

    def conditions(self, now: Instant) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """What its state must tell beside what was heard: states with their reasons."""
        found: list[tuple[str, tuple[str, ...]]] = []
        orders = self.book.orders
        if orders.duty is not None:
            found.append(("off_duty", (orders.duty.told(),)))
        if orders.maintenance is not None:
            found.append(("out_of_service", (orders.maintenance.told(),)))
        others = [*orders.shelves.values(), *orders.silenced.values(), orders.test_source]
        told = tuple(order.told() for order in others if order is not None)
        if told:
            found.append(("ok", told))
        doubts = self.rules.doubts()
        if doubts:
            found.append(("degraded", doubts))
        learning = tuple(
            f"{standing.rule} not armed: {standing.reason.partition(',')[0]}"
            for standing in self._standings
            if standing.rule == RISE and not standing.armed
        )
        if learning:
            found.append(("learning", learning))
        return tuple(found)

    def commission(self, note: str) -> None:
        """A source check at the site is recorded."""
        self.commissioned = note
        self.rules.commission(bool(note))

    def replace(self, serial: str) -> None:
        """Another instrument takes this one's place: nothing of it is known yet."""
        self._take_serial(serial)
        self.commissioned = ""
        self._valid_at = None
        self.forget()

    def abandon(self, alarm: str) -> None:
        """That alarm was closed under supervision: its condition is judged anew."""
        record = self.book.records.get(alarm)
        watcher = None if record is None else self._watcher_of(record)
        if alarm == ALARM:
            self.dose_rate.abandon()
        elif alarm == "loss_of_counts":
            self.loss.is_lost = False
        elif watcher is not None:
            watcher.abandon(alarm)
        else:
            self.device.abandon(alarm)

    def forget(self) -> None:
        """Another instrument stands here: what was learned of the one before is worth nothing."""
        book = self.book
        kept = set(map(id, self.rules.watchers))
        self.rules = self.rules.renewed(book)
        self.rules.commission(bool(self.commissioned))
        self.loss = LossOfCounts(book)
        for alarm, record in book.records.items():
            watcher = self._watcher_of(record)
            if record.active and watcher is not None and id(watcher) not in kept:
                watcher.restore(record, Internal(), record.raised_at)
            elif record.active and alarm == "loss_of_counts":
                self.loss.is_lost = True

    def restore(self, record: AlarmRecord, internal: Internal, now: Instant) -> list[Change]:
        """An alarm from before the restart, still the same occurrence, waiting for fresh data."""
        alarm = record.alarm
        self.book.records[alarm] = record
        changes = self.book.revise(now, "restarted")
        if record.active:
            self._restore_condition(record, internal, now)
            if is_radiation(alarm):
                changes += self.book.mark_stale(now, "restarted", (alarm,))
        record = self.book.records[alarm]
        if not record.acknowledged and not record.is_hidden:
            again = lifecycle.re_alarmed(record, now)
            changes += self.book.apply(alarm, again, now, "restarted")
        return changes

    def internal(self, alarm: str) -> Internal:
        """What a restart needs beside the record."""
        if alarm == ALARM:
            holds = self.dose_rate.holds
            holding = tuple((name, hold.by_dose_rate) for name, hold in holds.items())
            return Internal(holding, self.dose_rate.fold.suspect)
        watcher = self._watcher_of(self.book.records[alarm])
        if watcher is not None:
            return watcher.internal(alarm)
        return Internal(parts=self.device.parts(alarm))

    def standings(self) -> Sequence[Standing]:
        """How each rule stood when it was looked at last."""
        return self._standings

    def saved(self, now: Instant) -> dict[str, Any]:
        """What was learned and ordered, for the journal."""
        return {
            "rules": self.rules.learned(),
            "orders": self.book.orders.saved(now),
            "loss": [self.loss.watch.counts, self.loss.watch.live_s],
            "commissioned": self.commissioned,
            "serial": self.serial,
            "configured": self._configured,
        }

    def resume(self, saved: dict[str, Any], age_s: float, now: Instant) -> None:
        """What was saved ``age_s`` ago. Raises KeyError, TypeError or ValueError for nonsense."""
        self.book.orders.restore(saved["orders"], age_s, now)
        self.rules.relearn(saved["rules"], age_s, now)
        self.commission(str(saved["commissioned"]))
        # A serial number configured since says more than a replacement before.
        if saved["serial"] is not None and saved["configured"] == self._configured:
            self._take_serial(str(saved["serial"]))
        counts, live_s = saved["loss"]
        self.loss.relearn(float(counts), float(live_s), age_s)

    def _watcher_of(self, record: AlarmRecord) -> Watcher | None:
        """The rule that keeps that alarm; what the instrument declared itself is not a rule's."""
        if record.rule.id == DECLARED:
            return None
        return self.rules.by_alarm.get(record.alarm)

    def _take_serial(self, serial: str) -> None:
        self.serial = serial
        self.book.profile = replace(self.book.profile, serial=serial)

    def _heard(self, now: Instant) -> list[Change]:
        self.silence.heard(now.mono)
        return self.book.end("silence", now)

    def _restore_condition(self, record: AlarmRecord, internal: Internal, now: Instant) -> None:
        alarm = record.alarm
        watcher = self._watcher_of(record)
        if alarm == ALARM:
            self.dose_rate.restore(internal.holding, internal.suspect)
        elif alarm == "loss_of_counts":
            self.loss.is_lost = True
        elif watcher is not None:
            watcher.restore(record, internal, now)
        elif alarm != "silence":
            self.device.restore(alarm, internal.parts, now.mono)


def _has_number(measured: Measured) -> bool:
    """Whether it measured anything: what it declares of itself is no reading."""
    return any(
        reading.value is not None
        and reading.channel not in _OF_ITSELF
        and usability((*measured.flags, *reading.flags)) is not Usability.NOT
        for reading in measured.readings
    )
