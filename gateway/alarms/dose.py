"""The dose alarm of a worn instrument: one object with the levels D1 to D5.

A level is reached by the best estimate of the wearer's dose, the instrument's register or the
integral of its rates; or, marked indicative, by the upper bound over gaps alone. Dose does not go
away: the alarm ends only when somebody in charge says that a new wearer or a new period begins.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from drivers.api import Channel, Flag, Quantity, Reading
from drivers.units import BASE, Dimension
from gateway.alarms import lifecycle
from gateway.alarms.book import Book
from gateway.alarms.dose_integral import CONTINUOUS_S, WornDose, restored
from gateway.alarms.durable import Internal
from gateway.alarms.lifecycle import Severity
from gateway.alarms.profiles import DoseSetting
from gateway.alarms.record import AlarmRecord, Change, Evidence, Facts, Rule
from gateway.alarms.usability import Seen, Usability, usability
from gateway.alarms.watcher import Learned, Quiet, Sampled, Standing, facts
from gateway.values import Instant, Measured

ALARM: Final = "dose"
SLOPE_S: Final = 60.0
"""Over so long a register's slope is taken where no dose rate comes; own choice."""
REGISTER_WAIT_S: Final = 60.0
"""So long after a gap the register may still tell what the gap held; own choice."""
_USV: Final = BASE[Dimension.DOSE_EQUIVALENT]
_DOSE_OF: Final = {
    Quantity.AMBIENT_DOSE_EQUIVALENT_RATE: Quantity.AMBIENT_DOSE_EQUIVALENT,
    Quantity.PERSONAL_DOSE_EQUIVALENT_RATE: Quantity.PERSONAL_DOSE_EQUIVALENT,
}
_JUDGED: Final = frozenset(_DOSE_OF.values())
_NEVER: Final = math.inf
_UPPER: Final = "upper bound over gaps"


@dataclass(frozen=True, slots=True)
class DoseStatus:
    """What one wearer has received, and when the next level is due.

    ``lower_usv`` was measured at least; ``upper_usv`` is None where over-range hides it.
    ``rate_usv_h`` is the present rate (over range: its lower bound), None when nothing valid comes.
    ``register_usv`` and ``integral_usv`` are the two estimates side by side.
    """

    at: Instant
    dose_usv: float
    basis: Literal["register", "integral"]
    lower_usv: float
    upper_usv: float | None
    rate_usv_h: float | None
    next_level: str | None
    seconds_to_next: float | None
    gaps_s: float
    register_usv: float | None
    integral_usv: float
    indicative: bool


class DoseAlarm(Quiet):
    """Judges the accumulated dose with every sample; times on the monotonic clock."""

    alarms = (ALARM,)

    def __init__(self, book: Book) -> None:
        profile = book.profile
        enabled = [level for level in profile.dose_levels if level.enabled]
        self._book = book
        self._levels = tuple(sorted(enabled, key=lambda level: level.raise_at))
        self._top_usv_h = profile.range_top_usv_h
        self._limit_s = profile.silence_limit_s
        self._dose = WornDose()
        self._quantity: Quantity | None = None
        self._slope: deque[tuple[float, float]] = deque()
        self._latest = -_NEVER
        self._now: Instant | None = None
        self._double = _NEVER
        self._hold(0, 0)

    def measured(self, sampled: Sampled) -> list[Change]:
        """What a sample adds to the dose, and the levels that are reached with it."""
        measured = sampled.measured
        at = measured.at.mono
        if at < self._latest:
            return []  # told late: what came after it has been counted
        self._latest = at
        self._now = measured.arrived
        told = self._take_rate(sampled, at)
        for reading in measured.readings:
            if reading.channel is Channel.DOSE:
                told = self._take_register(reading, measured, sampled.blind) or told
        if not told:
            return []
        dose = self._dose
        dose.settle()
        best = dose.best_usv
        if best >= self._next_sure or dose.upper_usv >= self._next or best >= self._double:
            return self._judge(sampled)
        return self._book.freshen(ALARM, measured.arrived) if self._held else []

    def tick(self, now: Instant) -> list[Change]:
        """Only the prediction depends on time alone."""
        self._now = now
        return []

    def status(self) -> DoseStatus | None:
        """The dose and the prediction; None before anything was measured."""
        dose, now = self._dose, self._now
        if now is None or not dose.is_known:
            return None
        rate = self._rate(now.mono)
        following = next((one for one in self._levels if one.raise_at > dose.best_usv), None)
        seconds = None
        if following is not None and rate is not None and rate > 0:
            left = (following.raise_at - dose.best_usv) / rate * 3600.0
            seconds = left if math.isfinite(left) else None
        return DoseStatus(
            at=now,
            dose_usv=dose.best_usv,
            basis="register" if dose.is_by_register else "integral",
            lower_usv=dose.lower_usv,
            upper_usv=dose.upper_usv if dose.integral.is_bounded else None,
            rate_usv_h=rate,
            next_level=None if following is None else following.id,
            seconds_to_next=seconds,
            gaps_s=dose.integral.gaps_s,
            register_usv=None if dose.register is None else dose.register.usv,
            integral_usv=dose.integral.lower_usv,
            indicative=dose.firm_usv < dose.best_usv,
        )

    def restore(self, record: AlarmRecord, internal: Internal, now: Instant) -> None:
        """Its levels held before the restart, and the dose was at least what the record says."""
        holding = dict(internal.holding) or dict.fromkeys(record.held, not record.indicative)
        known = [number for number, one in enumerate(self._levels, 1) if one.id in holding]
        sure = [number for number in known if holding[self._levels[number - 1].id]]
        self._hold(max(known, default=0), max(sure, default=0))
        self._dose.raise_to(float(record.peak or 0.0))
        self._watch_peak(record)
        self._now = now

    def internal(self, alarm: str) -> Internal:
        """The levels that hold, and whether the best estimate has reached each."""
        held = self._levels[: self._held]
        return Internal(tuple((one.id, number < self._sure) for number, one in enumerate(held)))

    def learned(self) -> Learned | None:
        """The dose with its bounds and offsets."""
        dose, now = self._dose, self._now
        if now is None or not dose.is_known:
            return None
        quantity = None if self._quantity is None else str(self._quantity)
        return {**dose.saved(now.mono), "quantity": quantity}

    def relearn(self, learned: Learned, age_s: float, now: Instant) -> None:
        """However old: a dose is a dose. The time of the restart is a gap."""
        before = self._dose.best_usv
        self._dose = restored(learned, age_s, now.mono)
        self._dose.raise_to(before)
        self._quantity = None if learned["quantity"] is None else Quantity(learned["quantity"])
        self._now = now

    def standing(self) -> tuple[Standing, ...]:
        """Whether a level can be reached, and how far it is."""
        reason = ""
        status = self.status()
        if not self._levels:
            reason = "no dose level is enabled"
        elif status is None:
            reason = "neither dose rate nor dose register yet"
        known = () if status is None else _facts(status)
        return (Standing("accumulated_dose", not reason, reason, known),)

    def accept(self, now: Instant) -> list[Change]:
        """A new wearer or a new period: the dose begins from zero and the condition is over."""
        self._dose = self._dose.renewed(now.mono)
        self._slope.clear()
        self.abandon(ALARM)
        return self._book.end(ALARM, now, 0.0)

    def abandon(self, alarm: str) -> None:
        """That alarm was closed under supervision: its levels are judged anew."""
        self._double = _NEVER
        self._hold(0, 0)

    def _take_rate(self, sampled: Sampled, at: float) -> bool:
        """Whether there was a valid rate: a true one before one that is estimated from counts."""
        seen, estimated = sampled.true, False
        if seen is None or (seen.value is None and not seen.beyond):
            seen, estimated = sampled.estimate, True
            if seen is None:
                return False
        integral = self._dose.integral
        if sampled.blind:
            integral.hide(seen.bound if seen.beyond else seen.value, seen.beyond)
            return False
        if seen.beyond:
            bound = self._top_usv_h if seen.bound is None else seen.bound
            integral.add_beyond(at, bound, estimated)
        elif seen.value is None:
            return False
        else:
            integral.add(at, seen.value, estimated)
        if self._quantity is None:
            self._quantity = _quantity(seen)
        return True

    def _take_register(self, reading: Reading, measured: Measured, blind: bool) -> bool:
        """Whether it is a usable reading of the instrument's own dose."""
        if blind or reading.unit != _USV or reading.quantity not in _JUDGED:
            return False
        is_bound = Flag.OVER_RANGE in reading.flags
        value = reading.lower_bound if is_bound and reading.value is None else reading.value
        flags = reading.flags + measured.flags
        if value is None or (flags and usability(flags) is Usability.NOT):
            return False
        at = measured.at.mono
        self._dose.read(float(value), at, is_bound=is_bound)
        self._quantity = reading.quantity
        register = self._dose.register
        if register is not None and not self._dose.integral.is_current(at, self._limit_s):
            slope = self._slope
            slope.append((at, register.usv))
            while at - slope[0][0] > SLOPE_S:
                slope.popleft()
        return True

    def _rate(self, now: float) -> float | None:
        """The last valid dose rate, or the register's slope over the last minute."""
        if self._dose.integral.is_current(now, self._limit_s):
            return self._dose.integral.rate_usv_h
        slope = self._slope
        if len(slope) < 2 or now - slope[-1][0] > self._limit_s:
            return None
        (since, first), (at, last) = slope[0], slope[-1]
        return (last - first) / (at - since) * 3600.0 if at > since else None

    def _judge(self, sampled: Sampled) -> list[Change]:
        """Levels newly reached, levels that are sure now, a peak that has doubled."""
        dose, before = self._dose, self._held
        sure = self._reached(dose.best_usv)
        possible = self._reached(dose.upper_usv) if self._may_bound(sampled) else sure
        held = max(before, sure, possible)
        confirmed = min(sure, before) > self._sure
        self._hold(held, max(sure, self._sure))
        record = self._book.records.get(ALARM)
        is_active = record is not None and record.active
        if held > before:
            evidence = self._evidence(sampled, self._levels[held - 1])
            changes = self._raise(evidence, [one.id for one in self._levels[before:held]])
        elif not is_active or record is None:
            return []
        elif confirmed:
            evidence = self._evidence(sampled, self._levels[self._sure - 1])
            firm = replace(record, indicative=evidence.indicative)
            step = lifecycle.annunciated_again(firm, evidence)
            note = f"{self._levels[self._sure - 1].id} is reached, no longer by {_UPPER} alone"
            changes = self._book.apply(ALARM, step, evidence.at, note)
        else:
            evidence = self._evidence(sampled, self._levels[held - 1] if held else None)
            step = lifecycle.grown(record, evidence)
            changes = self._book.apply(ALARM, step, evidence.at)
        changes += self._book.freshen(ALARM, sampled.arrived, evidence)
        self._watch_peak(self._book.records[ALARM])
        return changes

    def _raise(self, evidence: Evidence, reached: Sequence[str]) -> list[Change]:
        record = self._book.records.get(ALARM)
        if record is None or not record.active:
            return self._book.open(ALARM, evidence, reached, self._severity(reached))
        worst = self._severity((*(entry.level for entry in record.levels), *reached))
        record = replace(record, indicative=evidence.indicative)  # as this very level is
        step = lifecycle.escalated(record, evidence, reached, worst)
        return self._book.apply(ALARM, step, evidence.at, evidence.note)

    def _severity(self, names: Sequence[str]) -> Severity:
        priorities = [one.priority for one in self._levels if one.id in names]
        return Severity(max(names), min(priorities, default=1), latched=True)

    def _evidence(self, sampled: Sampled, level: DoseSetting | None) -> Evidence:
        dose, measured = self._dose, sampled.measured
        raise_at = 0.0 if level is None else level.raise_at
        by_bound = dose.best_usv < raise_at
        status = self.status()
        return Evidence(
            at=measured.at,
            rule=self._rule(level),
            value=dose.best_usv,
            unit=_USV,
            quantity=self._quantity,
            lower_bound=None if dose.integral.is_bounded else dose.lower_usv,
            statistic=() if status is None else _facts(status),
            indicative=dose.firm_usv < raise_at,
            position=measured.position,
            flags=measured.flags,
            device_alarms=sampled.device_alarms,
            note=_UPPER if by_bound else "",
        )

    def _rule(self, level: DoseSetting | None) -> Rule:
        named = () if level is None else (("level", level.id), ("authority", level.authority))
        levels = tuple((f"{one.id}_usv", one.raise_at) for one in self._levels)
        more = facts(continuous_s=CONTINUOUS_S, range_top_usv_h=self._top_usv_h)
        return Rule("accumulated_dose", 1, (*named, *levels, *more))

    def _may_bound(self, sampled: Sampled) -> bool:
        """Whether the upper bound counts: a register may yet tell what the last gap held."""
        bridged_at = self._dose.integral.bridged_at
        if self._dose.register is None or bridged_at is None:
            return True
        return sampled.at.mono - bridged_at >= REGISTER_WAIT_S

    def _reached(self, usv: float) -> int:
        return sum(1 for level in self._levels if level.raise_at <= usv)

    def _hold(self, held: int, sure: int) -> None:
        """So many levels, lowest first, hold, and of them so many by the best estimate."""
        self._held, self._sure = held, sure
        self._next = self._raise_at(held)
        self._next_sure = self._raise_at(sure)

    def _raise_at(self, number: int) -> float:
        return self._levels[number].raise_at if number < len(self._levels) else _NEVER

    def _watch_peak(self, record: AlarmRecord) -> None:
        told = record.announced_peak
        self._double = _NEVER if not told else lifecycle.PEAK_GROWTH * float(told)


def _quantity(seen: Seen) -> Quantity | None:
    quantity = seen.reading.quantity
    return None if quantity is None else _DOSE_OF.get(quantity)


def _facts(status: DoseStatus) -> Facts:
    return facts(
        dose_usv=status.dose_usv,
        basis=status.basis,
        lower_usv=status.lower_usv,
        upper_usv=status.upper_usv,
        rate_usv_h=status.rate_usv_h,
        next_level=status.next_level,
        seconds_to_next=status.seconds_to_next,
        gaps_s=status.gaps_s,
        register_usv=status.register_usv,
        integral_usv=status.integral_usv,
    )
