"""R1 on what moves: counts against a wandering mean, in the deviations it really has.

On the road the background wanders by far more than counting statistics, which alone would raise
tens of false alarms an hour. So windows of 1, 2 and 4 s are compared with an exponentially weighted
mean, in deviations as windows of that length have shown them, and must be beyond the Poisson
threshold of the budget as well.

The time constants were chosen by simulation of lognormal backgrounds: 2000/s of 6 %, correlated
over 5 s and 40 s, and 250/s of 4 %, over 10 s and 60 s, 20 h each at 1 Hz. The largest rise was 5.7
deviations, also when the background had to be learned anew every ten minutes. A mean over half to
three times as long, and deviations over half to twice as long, gave the same.
"""

import math
from typing import Final

from drivers.api import Quantity
from gateway.alarms.book import Book
from gateway.alarms.conditions import Delay
from gateway.alarms.counting import Counted
from gateway.alarms.course import LAG_S, SUSPICIOUS, WINDOWS_S, Course, Window
from gateway.alarms.doubts import IMPLAUSIBLE_FACTOR, Doubts
from gateway.alarms.durable import Internal
from gateway.alarms.lifecycle import Severity
from gateway.alarms.onoff import OnOff
from gateway.alarms.record import AlarmRecord, Change, Evidence, Facts, Rule
from gateway.alarms.statistics import alpha_per_test, k_equivalent, poisson_tail, poisson_threshold
from gateway.alarms.usability import Usability
from gateway.alarms.watcher import Learned, Quiet, Sampled, Standing, facts
from gateway.values import Instant

ALARM: Final = "gamma_rise"
RULE: Final = "gamma_rise_moving"
MEAN_PART: Final = 1 / 3
DEVIATION_PART: Final = 2.0
"""Time constants of mean and variances as parts of the background's: own choice, see above."""
CLEAR: Final = 2.0
"""Deviations below which it returns, own choice: about p = 0.01, as for a static test."""
OFF_DELAY_S: Final = 5.0
SUSPICION_S: Final = 30.0
"""Own choice: a suspicion that has not become an alarm by then is background of another place."""
EXPIRY_S: Final = 120.0
"""Own choice: what moves is elsewhere by then, so its background is learned anew."""
_OVERLAP: Final = 0.8
_SUSPICIOUS: Final = SUSPICIOUS * SUSPICIOUS
_SEVERITY: Final = Severity("R1", 3, latched=False)


class MovingRise(Quiet):
    """The alarm ``gamma_rise`` of one moving detector; ``share_per_hour`` is its budget.

    While anything alarms, mean and deviations are frozen: who stops beside a source keeps the alarm
    until valid readings come back to what was background before, or the assessor accepts.
    """

    alarms: tuple[str, ...] = (ALARM, "background_frozen", "background_implausible")

    def __init__(self, book: Book, share_per_hour: float) -> None:
        ways = book.profile.ways
        self._book = book
        self._share = share_per_hour / len(WINDOWS_S)
        self._gap_s = book.profile.silence_limit_s
        self._learn_s = ways.background_s
        self._course = Course(MEAN_PART * ways.background_s, DEVIATION_PART * ways.background_s)
        self._alarm = self._unraised()
        self._doubts = Doubts(book, RULE)
        self._raise_at = ways.moving_sigma
        self._raise_square = ways.moving_sigma**2
        self._step_s = 0.0
        self._armed = self._proves = False
        self._last: float | None = None
        self._now = -math.inf
        self._suspect_since: float | None = None
        self._accepted = 0.0
        self._limit_plausible()

    def measured(self, sampled: Sampled) -> list[Change]:
        """One sample."""
        counted = sampled.gamma
        if counted is None:
            return []
        measured = sampled.measured
        if counted.use is Usability.NOT:
            self._proves = False
            self._course.interrupt()
            return self._alarm.hold(measured.arrived)
        if not self._joins(counted, sampled):
            return []
        square = self._course.add(counted.counts, counted.live_s)
        self._proves = proves = counted.use is Usability.FULL and not sampled.blind
        if proves and square < _SUSPICIOUS and not sampled.alarming and self._is_plain():
            self._suspect_since = None
            self._course.learn(counted.live_s, bounded=True)
            return []
        changes: list[Change] = []
        if self._alarm.is_on or square > self._raise_square:
            changes = self._judge(sampled, counted, square)
        return changes + self._teach(sampled, counted, square)

    def tick(self, now: Instant) -> list[Change]:
        """The off-delay ends between samples too; a freeze may have become too long."""
        self._now = now.mono
        changes = self._alarm.tick(now, self._book.profile.silence_s)
        if self._doubts.frozen_since is not None:
            changes += self._doubts.tick(now, self._background())
        return changes

    def restore(self, record: AlarmRecord, internal: Internal, now: Instant) -> None:
        """It stays; without a younger background it is judged against its own."""
        if record.alarm != ALARM:
            self._doubts.restore(record.alarm, now)
            return
        self._alarm.restore()
        known = dict(record.background)
        names = [_deviation(window) for window in self._course.windows]
        if not self._armed and "rate" in known and all(name in known for name in names):
            variances = [float(known[name]) ** 2 for name in names]
            self._course.know(float(known["rate"]), variances, self._learn_s)
            self._armed = True

    def abandon(self, alarm: str) -> None:
        """The next rise raises it anew."""
        if alarm == ALARM:
            self._alarm = self._unraised()
        self._doubts.abandon(alarm)

    def learned(self) -> Learned | None:
        """Mean and deviations."""
        if not self._armed:
            return None
        return {
            "rate": self._course.rate,
            "variances": [window.variance for window in self._course.windows],
            "accepted": self._accepted,
            "silent_s": 0.0 if self._last is None else max(0.0, self._now - self._last),
        }

    def relearn(self, learned: Learned, age_s: float, now: Instant) -> None:
        """Mean and deviations, unless it may be elsewhere by now."""
        rate, accepted = float(learned["rate"]), float(learned["accepted"])
        variances = [float(variance) for variance in learned["variances"]]
        age_s += float(learned["silent_s"])
        sound = all(0 <= number < math.inf for number in (rate, accepted, age_s, *variances))
        if age_s > EXPIRY_S or not sound or len(variances) != len(WINDOWS_S):
            return
        self._accepted = accepted
        self._limit_plausible()
        self._course.know(rate, variances, self._learn_s)
        self._armed, self._last = True, now.mono - age_s

    def accept(self, now: Instant) -> list[Change]:
        """What was counted in the last seconds is the background; readings clear the alarm."""
        present = self._course.present()
        stopped = self._last is None or now.mono - self._last > self._gap_s
        if present is None or stopped or not self._proves:
            return []
        self._accepted = present
        self._limit_plausible()
        self._course.accept(present, self._learn_s)
        self._armed, self._suspect_since = True, None
        return self._doubts.believe(now) + self._doubts.thaw(now)

    def standing(self) -> tuple[Standing, ...]:
        """Whether it is armed, once the instrument has told counts at all."""
        course = self._course
        if not self._step_s:
            return ()
        if not self._armed:
            reason = f"learning, {course.learned_s:.0f} of {self._learn_s:.0f} s"
            if self._doubts.is_implausible:
                reason = "background implausibly high"
            return (Standing(ALARM, False, reason),)
        rises = []
        for window in course.windows:
            # Whole counts: what is told is a round figure, and few different ones are worked out.
            expected = round((course.rate or 0.0) * window.seconds)
            counts = poisson_threshold(expected, self._alpha(window)) - expected
            empirical = self._raise_at * course.deviation(window)
            rises.append(max(empirical, counts / window.seconds))
        known = self._background() + facts(smallest_rise=min(rises), smallest_unit="1/s")
        return (Standing(ALARM, True, facts=known),)

    def _is_plain(self) -> bool:
        """Whether a sample that is not suspicious does nothing but teach."""
        doubts = self._doubts
        doubted = doubts.is_implausible or doubts.frozen_since is not None
        return self._armed and not doubted and not self._alarm.is_on

    def _unraised(self) -> OnOff:
        return OnOff(self._book, ALARM, _SEVERITY, Delay(OFF_DELAY_S, self._gap_s))

    def _limit_plausible(self) -> None:
        usual = self._book.profile.ways.background_rate
        if usual is not None:
            self._course.limit = IMPLAUSIBLE_FACTOR * max(usual, self._accepted)

    def _joins(self, counted: Counted, sampled: Sampled) -> bool:
        """Whether a sample adds counts; after a gap the windows begin anew."""
        at, last = sampled.measured.at.mono, self._last
        if (
            last is not None
            and not counted.independent
            and 0 <= at - last < (_OVERLAP * counted.live_s)
        ):
            return False
        self._last = at
        if not self._step_s or counted.live_s < self._step_s:
            self._step_s = counted.live_s
            self._tune()
        if last is not None and at - last > max(self._gap_s, 3 * counted.live_s):
            self._course.interrupt()
            if at - last > EXPIRY_S and not (sampled.alarming or self._alarm.is_on):
                self._begin()
        return True

    def _begin(self) -> None:
        """Learn from nothing."""
        self._course.forget()
        self._armed, self._suspect_since = False, None

    def _tune(self) -> None:
        """Never more sensitive than the budget allows Gaussian noise to be."""
        least = min(0.5, *(self._alpha(window) for window in self._course.windows))
        sigma = self._book.profile.ways.moving_sigma
        self._raise_at = max(sigma, k_equivalent(least))
        self._raise_square = self._raise_at**2

    def _alpha(self, window: Window) -> float:
        return alpha_per_test(self._share, window.seconds, self._step_s)

    def _judge(self, sampled: Sampled, counted: Counted, square: float) -> list[Change]:
        """It is on, or a window is above the empirical threshold."""
        measured = sampled.measured
        at, arrived = measured.at, measured.arrived
        if not self._armed:
            return self._alarm.hold(arrived)
        fired = self._fired(counted) if square > self._raise_square else None
        if fired is not None:
            return self._alarm.set(self._evidence(sampled, counted, fired), arrived)
        if not self._alarm.is_on:
            return []
        late = arrived.mono - at.mono > self._gap_s
        if self._proves and not late and square < CLEAR * CLEAR:
            return self._alarm.clear(at, arrived)
        changes = self._alarm.hold(arrived)
        return changes + self._book.freshen(ALARM, arrived) if self._proves else changes

    def _fired(self, counted: Counted) -> Window | None:
        """The window that is farthest above both thresholds."""
        found, most = None, self._raise_at
        for window in self._course.windows:
            if not window.is_full or window.residual <= 0:
                continue
            deviations = window.residual / self._course.deviation(window)
            if deviations > most and self._exceeds(window, counted):
                found, most = window, deviations
        return found

    def _exceeds(self, window: Window, counted: Counted) -> bool:
        """Whether counting noise is excluded; counts that may be seen twice weigh half."""
        copies = 1 if counted.independent else 2
        mean = round(self._expected(window) / copies, 6)
        counts = self._course.counts(window) // copies
        return counts >= poisson_threshold(mean, self._alpha(window))

    def _expected(self, window: Window) -> float:
        return (self._course.rate or 0.0) * window.span_s

    def _teach(self, sampled: Sampled, counted: Counted, square: float) -> list[Change]:
        """What the sample teaches, and whether the background can be believed."""
        course, at = self._course, sampled.measured.at
        if sampled.alarming or self._alarm.is_on:
            self._suspect_since = None
            self._doubts.freeze(at)
            course.skip()
            return []
        changes = [] if self._doubts.frozen_since is None else self._doubts.thaw(at)
        suspect_s = self._suspect_s(square, at.mono)
        if not self._proves or (suspect_s is not None and suspect_s <= SUSPICION_S):
            course.skip()
            return changes
        if suspect_s is not None:
            course.follow()
            return changes
        course.learn(counted.live_s, bounded=self._armed)
        if self._doubts.is_implausible or not self._armed:
            changes += self._plausible(counted, at)
        return changes

    def _suspect_s(self, square: float, at: float) -> float | None:
        """For how long it may have been a source; None: it is none."""
        if square < _SUSPICIOUS or not self._armed:
            self._suspect_since = None
            return None
        if self._suspect_since is None:
            self._suspect_since = at
        return at - self._suspect_since

    def _plausible(self, counted: Counted, at: Instant) -> list[Change]:
        """Armed with a background that can be believed; learned anew until there is one."""
        course = self._course
        if self._armed:
            return self._doubts.believe(at)
        if self._doubts.is_implausible and counted.counts > course.limit * counted.live_s:
            course.forget()
        if course.learned_s < self._learn_s or course.rate is None:
            return []
        if course.rate >= course.limit:
            rate = course.present() or course.rate
            changes = self._doubts.doubt(at, round(rate, 3), course.limit, "1/s")
            course.forget()
            return changes
        self._armed = True
        return self._doubts.believe(at)

    def _background(self) -> Facts:
        """What it is judged against, and how that was learned."""
        course = self._course
        if course.rate is None:
            return ()
        deviations = tuple(
            (_deviation(window), course.deviation(window)) for window in course.windows
        )
        method = "accepted by the assessor" if self._accepted else "exponentially weighted"
        return (("rate", course.rate), *deviations, ("unit", "1/s"), ("method", method))

    def _evidence(self, sampled: Sampled, counted: Counted, window: Window) -> Evidence:
        measured = sampled.measured
        counts = self._course.counts(window)
        return Evidence(
            at=measured.at,
            rule=self._rule(window),
            value=counts / window.span_s,
            unit="1/s",
            quantity=Quantity.GAMMA_COUNT_RATE,
            statistic=self._statistic(counted, window, counts),
            position=measured.position,
            flags=measured.flags,
            device_alarms=sampled.device_alarms,
            background=self._background(),
        )

    def _statistic(self, counted: Counted, window: Window, counts: int) -> Facts:
        course, expected = self._course, self._expected(window)
        copies = 1 if counted.independent else 2
        deviation = course.deviation(window)
        p_value = poisson_tail(counts // copies, expected / copies)
        return facts(
            counts=counts,
            window_s=window.span_s,
            expected=expected,
            threshold=expected + self._raise_at * deviation * window.span_s,
            deviations=window.residual / deviation,
            p_value=p_value,
            k_equivalent=k_equivalent(p_value),
            copies=copies,
        )

    def _rule(self, window: Window) -> Rule:
        ways = self._book.profile.ways
        parameters = facts(
            windows_s=" ".join(f"{seconds:g}" for seconds in WINDOWS_S),
            raise_deviations=self._raise_at,
            clear_deviations=CLEAR,
            off_delay_s=OFF_DELAY_S,
            alpha=self._alpha(window),
            false_alarms_per_hour=self._share * len(WINDOWS_S),
            mean_s=MEAN_PART * ways.background_s,
            deviation_s=DEVIATION_PART * ways.background_s,
            lag_s=LAG_S,
            suspicion_deviations=SUSPICIOUS,
            suspicion_s=SUSPICION_S,
            freeze_limit_s=ways.freeze_limit_s,
        )
        return Rule(RULE, 1, parameters)


def _deviation(window: Window) -> str:
    return f"deviation_{window.seconds:g}_s"
