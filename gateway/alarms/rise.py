"""R1 on a detector that stands still: a rise of its counts over a rolling background.

Windows of 1, 2, 4 and 8 s slide by one sample and are tested together, each by the exact
conditional binomial test at its share of the budget; the rate of rise, the last 10 s against the
60 s before, is one more test of that budget. What is compared are integers; p-values are for the
record.

Nothing is learned during an alarm or a suspicion. A background that a restart has lost is not
learned beside an alarm that was active: that one waits for an assessor, who accepts what is
measured as the new background or closes the alarm.
"""

import math
from typing import Final

from gateway.alarms.background import Frozen
from gateway.alarms.book import Book
from gateway.alarms.conditions import Delay
from gateway.alarms.counting import Counted
from gateway.alarms.durable import Internal
from gateway.alarms.lifecycle import Severity
from gateway.alarms.onoff import OnOff
from gateway.alarms.record import AlarmRecord, Change, Evidence, Rule
from gateway.alarms.rise_ground import IMPLAUSIBLE, RiseGround
from gateway.alarms.rise_windows import (
    CLEAR_P,
    REFERENCE_S,
    RISE_FACTOR,
    SUSPICION_P,
    CountRun,
    Limits,
    Test,
)
from gateway.alarms.usability import Usability
from gateway.alarms.watcher import Learned, Quiet, Sampled, Standing, facts
from gateway.values import Instant

ALARM: Final = "gamma_rise"
FROZEN: Final = "background_frozen"
WINDOWS_S: Final = (1.0, 2.0, 4.0, 8.0)
OFF_DELAY_S: Final = 5.0
SUSPICION_LIMIT_S: Final = 300.0
"""Own choice: what is suspect for so long and raises nothing is no source that passes."""
COVER_CLEAR: Final = 0.9
"""Own choice: under an advisory a rise is over below nine tenths of what that covers."""
_JITTER: Final = 0.8
_ROUNDING_S: Final = 1e-6
_SEVERITY: Final = Severity("R1", 3, latched=False)
_UNIT: Final = "1/s"
_FROZEN_NOTE: Final = (
    "no background is learned: find the source, or let the assessor accept the new background"
)


class GammaRise(Quiet):
    """R1 of one detector, by its gamma counts; times on the monotonic clock.

    ``share_per_hour`` is what this channel may spend on it in false alarms per hour.
    """

    alarms = (ALARM, FROZEN, IMPLAUSIBLE)

    def __init__(
        self, book: Book, share_per_hour: float, windows: tuple[float, ...] = WINDOWS_S
    ) -> None:
        self._book = book
        self._gap_s = book.profile.silence_limit_s
        self._share = share_per_hour
        self._windows = windows
        self._ground = RiseGround(book, share_per_hour, windows)
        self._run = CountRun()
        self._alarm = _alarm(book)
        self._is_on = False
        self._last: float | None = None
        self._suspected_s = self._clean_s = 0.0
        self._calm_since: float | None = None
        self._was_blind = False

    def measured(self, sampled: Sampled) -> list[Change]:
        """One sample: its counts are tested first and learned after."""
        gamma = sampled.gamma
        if gamma is None:
            return []
        if gamma.use is Usability.NOT:
            return self._unusable(sampled, gamma)
        measured = sampled.measured
        if not self._continues(gamma, measured.at.mono):
            return []
        if self._was_blind and not sampled.blind:
            self._run.clear()  # zeros of a dead tube are nothing that one could rise from
        self._was_blind = sampled.blind
        run, limits, live_s = self._run, self._ground.limits, gamma.live_s
        run.add(gamma.counts, live_s)
        is_clean = (
            gamma.use is Usability.FULL
            and not sampled.blind
            and measured.arrived.mono - measured.at.mono <= self._gap_s
        )
        self._clean_s = self._clean_s + live_s if is_clean else 0.0
        if limits is None or (not self._is_on and run.is_quiet(limits)):
            self._suspected_s = 0.0
            return self._teach(sampled, gamma, is_clean)
        is_suspicious = run.first_reached(limits.suspicious) >= 0
        self._suspected_s = self._suspected_s + live_s if is_suspicious else 0.0
        changes = self._judge(sampled, gamma, limits)
        return changes + self._teach(sampled, gamma, is_clean)

    def tick(self, now: Instant) -> list[Change]:
        """A background that has been frozen too long wants somebody to decide."""
        since = self._ground.held_since
        if since is None:
            follows = FROZEN in self._book.records and self._last is not None and not self._is_on
            return self._book.end(FROZEN, now) if follows else []
        limit_s = self._book.profile.ways.freeze_limit_s
        if now.mono - since.mono < limit_s or self._book.is_active(FROZEN):
            return []
        rule = Rule(FROZEN, 1, facts(freeze_limit_s=limit_s, reason=self._ground.held_by))
        evidence = Evidence(
            now, rule, now.mono - since.mono, "s", note=_FROZEN_NOTE, background=self._ground.told
        )
        return self._book.open_discrete(FROZEN, evidence)

    def restore(self, record: AlarmRecord, internal: Internal, now: Instant) -> None:
        """A rise that was active stays so until valid counts are below its clear values."""
        if record.alarm == ALARM:
            self._alarm.restore()
            self._is_on = True
            self._ground.from_record(dict(record.background))

    def learned(self) -> Learned | None:
        """The background, as coarse as it may be."""
        return self._ground.saved()

    def relearn(self, learned: Learned, age_s: float, now: Instant) -> None:
        """A background of half an hour ago at most."""
        self._ground.restore(learned, age_s)

    def accept(self, now: Instant) -> list[Change]:
        """The last minute is the background from now on; for one more, whatever comes is learned.

        So what was measured before the rise is out of it after a minute.
        """
        if self._last is not None and now.mono - self._last > self._gap_s:
            self._run.clear()
            self._clean_s = 0.0
        self._calm_since = None
        self._ground.accept(self._run, self._clean_s)
        return self._book.end(FROZEN, now) + self._book.end(IMPLAUSIBLE, now)

    def abandon(self, alarm: str) -> None:
        """Closed under supervision: what is there now may raise it anew."""
        if alarm == ALARM:
            self._alarm = _alarm(self._book)
            self._is_on = False
            self._calm_since = None

    def standing(self) -> tuple[Standing, ...]:
        """The background and the least rise that is found, or how far it has been learned."""
        ground = self._ground
        if ground.limits is None:
            return (Standing(ALARM, False, ground.missing, ground.told),)
        return (Standing(ALARM, True, "", ground.told + ground.limits.told),)

    def _continues(self, gamma: Counted, at: float) -> bool:
        """Whether these counts are new ones; after a gap a new run begins."""
        last, live_s = self._last, gamma.live_s
        if last is not None:
            since = at - last
            if since > self._gap_s and since > 3 * live_s:
                self._run.clear()
                self._clean_s = 0.0
            elif since < _JITTER * live_s and not gamma.independent:
                return False
        self._last = at
        if live_s != self._run.step_s or not gamma.independent:
            pace_s = self._ground.pace(gamma)
            if pace_s is not None:
                self._run.expect(pace_s)
        return True

    def _judge(self, sampled: Sampled, gamma: Counted, limits: Limits) -> list[Change]:
        fired = self._fired(limits)
        if fired is not None and sampled.area_wide:
            fired = self._beyond_common(fired, limits, sampled)
        if fired is None:
            return self._calm(sampled, gamma, limits)
        name, test, counts = fired
        self._calm_since = None
        if not self._is_on:
            self._is_on = True
            self._ground.accept_no_more()
        # The excess may have ended as early as in the first sample of the window.
        until = sampled.at.earlier(test.window_s - gamma.live_s)
        if not self._is_news(counts / test.window_s):
            self._alarm.sustain(until)
            return []
        evidence = self._evidence(sampled, name, test, counts)
        return self._alarm.set(evidence, sampled.arrived, until)

    def _fired(self, limits: Limits) -> tuple[str, Test, int] | None:
        """What raises: the shortest window that does, or else the rate of rise."""
        place = self._run.first_reached(limits.raising)
        if place >= 0:
            test = limits.tests[place]
            return "statistical_rise", test, self._run.newest(test.window_s)[0]
        risen = self._run.risen(limits.how)
        if risen is None or not limits.how.is_improbable(*risen):
            return None
        return "rate_of_rise", limits.how.rise(risen[1]), risen[0]

    def _beyond_common(
        self, fired: tuple[str, Test, int], limits: Limits, sampled: Sampled
    ) -> tuple[str, Test, int] | None:
        """What rises by more than the whole area does; the rate of rise says nothing then."""
        for test in limits.tests if fired[0] == "statistical_rise" else ():
            counts, live_s = self._run.newest(test.window_s)
            if counts >= max(sampled.common * test.threshold, sampled.cover * test.usual(live_s)):
                return fired[0], test, counts
        return None

    def _is_news(self, rate: float) -> bool:
        """Whether the record does not say so already."""
        record = self._book.records.get(ALARM)
        return record is None or record.stale or record.peak is None or rate > record.peak

    def _calm(self, sampled: Sampled, gamma: Counted, limits: Limits) -> list[Change]:
        """Whether valid counts have explained themselves long enough; a dead tube's zeros do not.

        Only counts that are clean through the longest window say so.
        """
        if not self._is_on or not self._clean_s:
            self._calm_since = None
            return []
        changes = self._book.freshen(ALARM, sampled.arrived)
        at = sampled.measured.arrived.mono
        full_s = limits.tests[-1].window_s - _ROUNDING_S
        if self._clean_s < full_s or self._is_unclear(limits, sampled):
            self._calm_since = None
        elif self._calm_since is None:
            self._calm_since = at
        elif at - self._calm_since >= OFF_DELAY_S and gamma.counts:
            self._calm_since = None
            self._is_on = False
            changes += self._alarm.end(sampled.at)
        return changes

    def _is_unclear(self, limits: Limits, sampled: Sampled) -> bool:
        """Whether a window still holds more than chance, or than the whole area shares."""
        if not sampled.area_wide:
            return self._run.first_reached(limits.unclear) >= 0
        for test, (_, _, least) in zip(limits.tests, limits.unclear, strict=True):
            counts, live_s = self._run.newest(test.window_s)
            covered = COVER_CLEAR * sampled.cover * test.usual(live_s)
            if counts >= max(sampled.common * least, covered):
                return True
        return False

    def _teach(self, sampled: Sampled, gamma: Counted, is_clean: bool) -> list[Change]:
        if self._ground.is_accepting and is_clean:
            self._ground.accept_more(self._run, self._clean_s, gamma.live_s)
            return []
        reason = None
        if sampled.alarming or self._is_on:
            reason = Frozen.ALARM
        elif not is_clean:
            reason = Frozen.BLIND if sampled.blind else Frozen.FLAGGED
        elif 0.0 < self._suspected_s <= SUSPICION_LIMIT_S and not sampled.area_wide:
            reason = Frozen.SUSPICION
        if reason is not None:
            newest_s = math.inf if reason is Frozen.BLIND else max(self._windows)
            self._ground.freeze(reason, sampled.at, gamma.live_s, newest_s)
            return []
        return self._ground.learn(gamma, sampled)

    def _unusable(self, sampled: Sampled, gamma: Counted) -> list[Change]:
        self._clean_s = 0.0
        self._calm_since = None
        newest_s = max(self._windows)
        reason = Frozen.ALARM if self._is_on or sampled.alarming else Frozen.FLAGGED
        self._ground.freeze(reason, sampled.at, gamma.live_s, newest_s)
        if not self._is_on:
            return []
        return self._book.mark_stale(sampled.arrived, "no valid counts", (ALARM,))

    def _evidence(self, sampled: Sampled, name: str, test: Test, counts: int) -> Evidence:
        return Evidence(
            sampled.at,
            self._rule(name, test),
            counts / test.window_s,
            _UNIT,
            statistic=test.statistic(counts),
            position=sampled.measured.position,
            flags=sampled.measured.flags,
            device_alarms=sampled.device_alarms,
            background=self._ground.told,
        )

    def _rule(self, name: str, test: Test) -> Rule:
        own = facts(windows_s=" ".join(f"{window_s:g}" for window_s in self._windows))
        if name == "rate_of_rise":
            own = facts(newest_s=test.window_s, reference_s=REFERENCE_S, factor=RISE_FACTOR)
        shared = facts(
            false_alarms_per_hour=self._share,
            alpha=test.alpha,
        )
        ways = facts(
            suspicion_p=SUSPICION_P,
            clear_p=CLEAR_P,
            off_delay_s=OFF_DELAY_S,
        )
        return Rule(name, 1, own + shared + self._ground.terms + ways)


def _alarm(book: Book) -> OnOff:
    return OnOff(book, ALARM, _SEVERITY, Delay(OFF_DELAY_S, book.profile.silence_limit_s))
