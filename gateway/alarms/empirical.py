"""R1 of instruments that give nothing but a smoothed dose rate: an empirical test, never Poisson.

A smoothed reading holds no counts and resembles the one before, so only readings at least two time
constants apart are taken for independent. Their median and median absolute deviation over the
background window, with a floor of 10 %, are what a rise is compared with, and at least two
independent readings in a row must be above. One that stays above 60 % is found within two such
spacings and the rise of the smoothing.
"""

import math
from collections import deque
from statistics import median
from typing import Final

from gateway.alarms.book import Book
from gateway.alarms.calm import DRIFT_PART, FLOOR_PART, LEARN_S, Calm, last_digit
from gateway.alarms.conditions import Delay
from gateway.alarms.doubts import IMPLAUSIBLE_FACTOR, Doubts
from gateway.alarms.durable import Internal
from gateway.alarms.lifecycle import Severity
from gateway.alarms.onoff import OnOff
from gateway.alarms.record import AlarmRecord, Change, Evidence, Facts, Rule
from gateway.alarms.statistics import alpha_per_test, k_equivalent
from gateway.alarms.usability import Seen
from gateway.alarms.watcher import Learned, Quiet, Sampled, Standing, facts
from gateway.values import Instant

ALARM: Final = "gamma_rise"
RULE: Final = "gamma_rise_empirical"
LEAST_DEVIATIONS: Final = 6.0
CLEAR: Final = 3.0
"""Deviations below which it returns, and above which nothing is learned; own choice."""
OFF_DELAY_S: Final = 5.0
TIME_CONSTANTS: Final = 2.0
"""Readings so many time constants apart are independent."""
USUAL_USV_H: Final = 0.1
"""Own choice: the reference background, near the 106 nSv/h of PTB Braunschweig."""
EXPIRY_S: Final = 1800.0
"""Own choice: rain and its decay change a background within that time."""
LEAST_GUARD_S: Final = 5.0
_PRESENT: Final = 3
_EARLY_S: Final = 0.05
"""Own choice: a reading may come so much before its time."""
_UNIT: Final = "µSv/h"
_SEVERITY: Final = Severity("R1", 3, latched=False)


class EmpiricalRise(Quiet):
    """The alarm ``gamma_rise`` of one detector without counts; ``share_per_hour`` is its budget.

    It judges true dose rates only, and none that came with counts, which have an exact test.
    """

    alarms: tuple[str, ...] = (ALARM, "background_frozen", "background_implausible")

    def __init__(self, book: Book, share_per_hour: float) -> None:
        ways = book.profile.ways
        self._book = book
        self._share = share_per_hour
        self._gap_s = book.profile.silence_limit_s
        self._calm = Calm(ways.background_s)
        self._doubts = Doubts(book, RULE)
        self._spacing_s = 0.0
        self._deviations = LEAST_DEVIATIONS
        self._pace(ways.smoothing_s)
        self._alarm = self._unraised()
        self._armed = self._proves = False
        self._raise_at = self._clear_at = math.inf
        self._accepted = 0.0
        self._now = self._last = self._next = -math.inf
        self._first: Instant | None = None
        self._waiting: deque[tuple[float, float]] = deque()
        self._present: deque[float] = deque(maxlen=_PRESENT)

    def measured(self, sampled: Sampled) -> list[Change]:
        """One sample."""
        measured, seen = sampled.measured, sampled.true
        at = measured.at.mono
        if seen is None or sampled.gamma is not None:
            return []
        value = seen.value
        if value is None or seen.beyond:
            self._first, self._proves = None, False
            return self._alarm.hold(measured.arrived)
        self._continue(seen, sampled)
        self._proves = seen.clears and not sampled.blind
        changes: list[Change] = []
        if self._alarm.is_on or value > self._raise_at:
            changes = self._judge(sampled, seen, value)
        else:
            self._first = None
        if at < self._next and self._is_calm(sampled, value):
            return changes
        return changes + self._teach(sampled, value)

    def tick(self, now: Instant) -> list[Change]:
        """A freeze may have become too long."""
        self._now = now.mono
        if self._doubts.frozen_since is None:
            return []
        return self._doubts.tick(now, self._background())

    def restore(self, record: AlarmRecord, internal: Internal, now: Instant) -> None:
        """It stays; without a younger background it is judged against its own."""
        if record.alarm != ALARM:
            self._doubts.restore(record.alarm, now)
            return
        self._alarm.restore()
        known = dict(record.background)
        if not self._armed and "level" in known and "deviation" in known:
            self._know(float(known["level"]), float(known["deviation"]), now.mono)

    def abandon(self, alarm: str) -> None:
        """The next rise raises it anew."""
        if alarm == ALARM:
            self._alarm, self._first = self._unraised(), None
        self._doubts.abandon(alarm)

    def learned(self) -> Learned | None:
        """Level and deviation."""
        if not self._armed:
            return None
        return {
            "level": self._calm.level,
            "deviation": self._calm.deviation,
            "accepted": self._accepted,
            "silent_s": max(0.0, self._now - self._last) if math.isfinite(self._last) else 0.0,
        }

    def relearn(self, learned: Learned, age_s: float, now: Instant) -> None:
        """Level and deviation, unless they are too old."""
        level, deviation = float(learned["level"]), float(learned["deviation"])
        accepted = float(learned["accepted"])
        age_s += float(learned["silent_s"])
        sound = all(0 <= number < math.inf for number in (level, deviation, accepted, age_s))
        if age_s <= EXPIRY_S and sound:
            self._accepted = accepted
            self._last = now.mono - age_s
            self._know(level, deviation, self._last)

    def accept(self, now: Instant) -> list[Change]:
        """What was measured last is the background; readings clear the alarm."""
        stopped = now.mono - self._last > self._gap_s
        if stopped or not self._proves or not self._present:
            return []
        before, level = self._calm.level, median(self._present)
        scale = level / before if before else 0.0
        self._accepted = level
        self._know(level, scale * self._calm.deviation, now.mono)
        self._first = None
        return self._doubts.believe(now) + self._doubts.thaw(now)

    def standing(self) -> tuple[Standing, ...]:
        """Whether it is armed, once there was a dose rate to judge."""
        calm = self._calm
        if not math.isfinite(self._last):
            return ()
        if not self._armed:
            reason = f"learning, {calm.learned} of {calm.need} independent readings"
            if self._doubts.is_implausible:
                reason = "background implausibly high"
            return (Standing(ALARM, False, reason),)
        rise = self._deviations * calm.deviation
        known = self._background() + facts(
            threshold=self._raise_at, smallest_rise=rise, smallest_unit=_UNIT
        )
        return (Standing(ALARM, True, facts=known),)

    def _is_calm(self, sampled: Sampled, value: float) -> bool:
        """Whether a sample that is not due does nothing."""
        frozen = self._doubts.frozen_since is not None or sampled.alarming
        return value <= self._clear_at and not frozen and not self._alarm.is_on

    def _unraised(self) -> OnOff:
        # Clear readings over one spacing are two independent ones.
        off_delay_s = max(OFF_DELAY_S, self._spacing_s - _EARLY_S)
        return OnOff(self._book, ALARM, _SEVERITY, Delay(off_delay_s, self._gap_s))

    @property
    def _limit(self) -> float:
        return IMPLAUSIBLE_FACTOR * max(USUAL_USV_H, self._accepted)

    def _pace(self, time_constant_s: float) -> None:
        """Readings of that time constant are independent when twice as far apart."""
        self._spacing_s = TIME_CONSTANTS * time_constant_s
        self._calm.pace(self._spacing_s)
        alpha = alpha_per_test(self._share, self._spacing_s, self._spacing_s)
        self._deviations = max(LEAST_DEVIATIONS, k_equivalent(min(0.5, alpha)))

    def _continue(self, seen: Seen, sampled: Sampled) -> None:
        """What the sample says of the instrument's pace, and whether it follows the last one."""
        at, reading = sampled.measured.at.mono, seen.reading
        window_s = reading.window_s or self._book.profile.ways.smoothing_s
        if TIME_CONSTANTS * window_s != self._spacing_s:
            self._pace(window_s)
            was_on = self._alarm.is_on
            self._alarm = self._unraised()
            if was_on:
                self._alarm.restore()
        silent_s = at - self._last if math.isfinite(self._last) else 0.0
        self._last = at
        if silent_s > self._gap_s:
            self._first = None
            self._waiting.clear()
            self._present.clear()
            if silent_s > EXPIRY_S and not (sampled.alarming or self._alarm.is_on):
                self._calm.forget()
                self._armed, self._raise_at, self._clear_at = False, math.inf, math.inf

    def _judge(self, sampled: Sampled, seen: Seen, value: float) -> list[Change]:
        """It is on, or the value is above the threshold."""
        measured = sampled.measured
        at, arrived = measured.at, measured.arrived
        if not self._armed:
            return self._alarm.hold(arrived)
        if value > self._raise_at:
            if self._alarm.is_on:
                return self._alarm.set(self._evidence(sampled, seen, value, at), arrived)
            first = self._first = self._first or at
            if at.mono - first.mono < self._spacing_s - _EARLY_S:
                return []
            return self._alarm.set(self._evidence(sampled, seen, value, first), arrived)
        self._first = None
        late = arrived.mono - at.mono > self._gap_s
        if self._proves and not late and value < self._clear_at:
            return self._alarm.clear(at, arrived)
        changes = self._alarm.hold(arrived)
        return changes + self._book.freshen(ALARM, arrived) if self._proves else changes

    def _teach(self, sampled: Sampled, value: float) -> list[Change]:
        """What the sample teaches, if it is an independent one."""
        at = sampled.measured.at
        is_due = self._proves and at.mono >= self._next
        if is_due:
            self._next = at.mono + self._spacing_s - _EARLY_S
            self._present.append(value)
        suspect = value > self._clear_at and not sampled.area_wide
        if sampled.alarming or self._alarm.is_on or suspect or self._first is not None:
            self._doubts.freeze(at)
            self._waiting.clear()
            return []
        changes = [] if self._doubts.frozen_since is None else self._doubts.thaw(at)
        if is_due:
            self._calm.step = last_digit(_raw(sampled), value) or self._calm.step
            changes += self._learn(at, value, follows=sampled.area_wide)
        return changes

    def _learn(self, at: Instant, value: float, *, follows: bool) -> list[Change]:
        """Readings that are old enough become background."""
        waiting, calm = self._waiting, self._calm
        waiting.append((at.mono, value))
        is_due = False
        guard_s = max(TIME_CONSTANTS * self._spacing_s, LEAST_GUARD_S)
        if self._doubts.is_implausible and not self._armed and value <= self._limit:
            calm.drop(above=self._limit)
        while at.mono - waiting[0][0] >= guard_s:
            is_due = calm.add(*waiting.popleft())
        if not is_due:
            return self._doubts.believe(at) if self._armed else []
        if not self._armed and calm.middle() > self._limit:
            return self._doubts.doubt(at, calm.middle(), self._limit, _UNIT)
        calm.update(at.mono, self._limit, follows=follows)
        self._arm()
        return self._doubts.believe(at)

    def _know(self, level: float, deviation: float, at: float) -> None:
        self._calm.know(level, deviation, at)
        self._waiting.clear()
        self._arm()

    def _arm(self) -> None:
        level, deviation = self._calm.level or 0.0, self._calm.deviation
        self._raise_at = level + self._deviations * deviation
        self._clear_at = level + CLEAR * deviation
        self._armed = True

    def _background(self) -> Facts:
        """What it is judged against, and how that was learned."""
        calm = self._calm
        method = "accepted by the assessor" if self._accepted else "median of independent readings"
        return facts(level=calm.level, deviation=calm.deviation, unit=_UNIT, method=method)

    def _evidence(self, sampled: Sampled, seen: Seen, value: float, at: Instant) -> Evidence:
        calm = self._calm
        statistic = facts(
            window_s=self._spacing_s / TIME_CONSTANTS,
            expected=calm.level,
            threshold=self._raise_at,
            deviations=(value - (calm.level or 0.0)) / calm.deviation,
        )
        return Evidence(
            at=at,
            rule=self._rule(),
            value=value,
            unit=_UNIT,
            quantity=seen.reading.quantity,
            raw=seen.reading.raw,
            statistic=statistic,
            position=sampled.measured.position,
            flags=seen.flags,
            device_alarms=sampled.device_alarms,
            background=self._background(),
        )

    def _rule(self) -> Rule:
        ways = self._book.profile.ways
        parameters = facts(
            method="empirical",
            raise_deviations=self._deviations,
            clear_deviations=CLEAR,
            deviation_floor=FLOOR_PART,
            off_delay_s=OFF_DELAY_S,
            spacing_s=self._spacing_s,
            readings=2,
            background_s=ways.background_s,
            learn_s=LEARN_S,
            drift_per_10_min=DRIFT_PART,
            alpha=alpha_per_test(self._share, self._spacing_s, self._spacing_s),
            false_alarms_per_hour=self._share,
            freeze_limit_s=ways.freeze_limit_s,
        )
        return Rule(RULE, 1, parameters)


def _raw(sampled: Sampled) -> str:
    return "" if sampled.true is None else sampled.true.reading.raw
