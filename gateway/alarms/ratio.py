"""R2: the ratio to the surveyed baseline of the place, over a window that keeps the budget.

The baseline never follows the readings and is never renewed by itself. Investigation at about 1.3
times the background was chosen at Madrid airport and found by ITRAP; IAEA-TECDOC-1312 recommends
1.2 to 1.4.
"""

import math
from typing import Final

from drivers.api import Quantity
from gateway.alarms.book import Book
from gateway.alarms.conditions import Delay
from gateway.alarms.durable import Internal
from gateway.alarms.lifecycle import Severity
from gateway.alarms.onoff import OnOff
from gateway.alarms.ratio_baseline import (
    BLOCKS,
    COUNT_WINDOWS_S,
    Baseline,
    Blocks,
    Feed,
    Survey,
    Trial,
    is_significant,
    probability,
    restored,
    seen_rate,
    trial,
)
from gateway.alarms.record import AlarmRecord, Change, Evidence, Facts, Rule
from gateway.alarms.usability import Usability
from gateway.alarms.watcher import Learned, Quiet, Sampled, Standing, Trend, facts
from gateway.values import Instant

ALARM: Final = "gamma_ratio"
LEVEL: Final = "R2"
TREND_S: Final = 60.0
"""Of ``ratio`` and, at least, ``rising``; own choice: at 20 1/s the error is 3 %."""
RISING_ALPHA: Final = 1e-4
"""Of ``rising``, which is advice and spends no budget; own choice."""
AREA_RATIO: Final = 2.0
AREA_RISE_USV_H: Final = 0.15
AREA_SIGMA: Final = 3.0
"""What an area-wide advisory covers: rain of the PTB Braunschweig record gave +0.09 µSv/h. More is
what is more by so many standard deviations of window and baseline, as for a member of the area."""
LEAST_SURVEY_S: Final = 60.0
"""As long as the Polimaster PM1703 learns its background."""
SURVEY_PATIENCE: Final = 3.0
"""A survey that takes so many times its valid seconds is given up; own choice."""
_SEVERITY: Final = Severity(LEVEL, 3, latched=False)
_NO_BASELINE: Final = "no baseline was surveyed"


class GammaRatio(Quiet):
    """Judges the mean of counts, or of dose rates where there are none, against the baseline.

    ``share_per_hour`` is what this channel may spend in false alarms per hour. ``covered``: the
    ratio is reached, but an area-wide advisory says so already. Times on the monotonic clock.
    """

    alarms = (ALARM,)

    def __init__(self, book: Book, share_per_hour: float, off_delay_s: float = 10.0) -> None:
        profile = book.profile
        self._book = book
        self._ways = profile.ways
        self._share = share_per_hour
        self._gap_s = profile.silence_limit_s
        # Clear inputs come with each twelfth of a window; gaps between samples are seen here.
        longest_s = COUNT_WINDOWS_S[-1] / BLOCKS
        self._delay = Delay(off_delay_s, 2 * longest_s + self._gap_s)
        self._on = OnOff(book, ALARM, _SEVERITY, self._delay)
        self._survey: Survey | None = None
        self._survey_ends = 0.0
        self._area_wide = False
        self._now = 0.0
        self._problem = _NO_BASELINE
        self.baseline: Baseline | None = None
        self.survey_problem = ""
        self.covered = False
        self._trial: Trial | None = None
        self._begin()

    @property
    def is_surveying(self) -> bool:
        """Whether the place is being measured."""
        return self._survey is not None

    def measured(self, sampled: Sampled) -> list[Change]:
        """One sample."""
        self._area_wide = sampled.area_wide
        if self._survey is not None:
            self._measure(self._survey, sampled)
        if self.baseline is None:
            return self._told(sampled) if self._on.is_on else []
        feed = self._feed
        use = feed.take(sampled)
        if use is Usability.FULL and not feed.is_gap:
            return self._moved(sampled) if self._first.add(feed.amount, feed.seconds) else []
        if use is None:
            return []
        changes = self._on.hold(sampled.measured.arrived)
        if use is Usability.NOT:
            return changes
        if feed.is_gap:
            self._first.clear()
            self._second.clear()
        if use is not Usability.FULL:
            self._doubtful = BLOCKS + 1
        if self._first.add(feed.amount, feed.seconds):
            changes += self._moved(sampled)
        return changes

    def tick(self, now: Instant) -> list[Change]:
        """Baselines expire, surveys are given up."""
        self._now = now.mono
        if self.baseline is not None and now.mono >= self.baseline.until:
            self._drop("baseline expired")
        if self._survey is not None and now.mono >= self._survey_ends:
            self._refuse(f"only {self._survey.valid_s:.0f} s of valid readings came")
        return []

    def survey(
        self, seconds: float, now: Instant, *, valid_s: float, user: str = "", reason: str = ""
    ) -> str:
        """Begin to measure the place, for a baseline of ``valid_s`` from now; why not, if not."""
        why = self._unfit(seconds, valid_s, reason)
        if why:
            return why
        self._now = now.mono
        self._survey = Survey(seconds, (user, reason, now.mono + valid_s), self._gap_s)
        self._survey_ends = now.mono + SURVEY_PATIENCE * seconds
        self.survey_problem = ""
        return ""

    def withdraw(self, now: Instant) -> None:
        """The baseline holds no more; an alarm that is active waits for a decision."""
        self._now = now.mono
        self._survey = None
        self._drop("baseline withdrawn")

    def accept(self, now: Instant) -> list[Change]:
        """The assessor takes the place as it is: the baseline is void, to be surveyed anew."""
        if self.baseline is not None:
            self._drop("baseline void since the present background was accepted: survey again")
        return self._on.end(now) if self._on.is_on else []

    def ratio(self) -> Trend | None:
        """The mean of the last 60 s in terms of the baseline, with its statistical error."""
        return self._trend(self._minute)

    def rising(self) -> bool:
        """Whether the ratio is reached with significance, whatever covers it."""
        window, baseline = self._second, self.baseline
        trend = self._trend(window)
        if trend is None or baseline is None or trend.ratio - trend.error < self._ways.ratio:
            return False
        return is_significant(baseline, RISING_ALPHA, window.mean, window.seconds)

    def restore(self, record: AlarmRecord, internal: Internal, now: Instant) -> None:
        """It was active before the restart."""
        self._on.restore()
        self._now = now.mono

    def abandon(self, alarm: str) -> None:
        """That alarm was closed under supervision: its condition is judged anew."""
        self._on = OnOff(self._book, ALARM, _SEVERITY, self._delay)

    def learned(self) -> Learned | None:
        """The baseline with the time that is left of it."""
        return None if self.baseline is None else self.baseline.saved(self._now)

    def relearn(self, learned: Learned, age_s: float, now: Instant) -> None:
        """The baseline, unless it has expired meanwhile."""
        self._now = now.mono
        baseline = restored(learned, age_s, now)
        if baseline is None:
            self._drop("baseline expired")
        else:
            self._arm(baseline)

    def standing(self) -> tuple[Standing, ...]:
        """Whether it is armed, against which baseline, and what a survey came to."""
        known = self._background()
        if self._trial is not None and self.baseline is not None:
            rise = self._trial.raise_rate - self.baseline.rate
            unit = self.baseline.unit
            known += (*self._parameters(), ("smallest_rise", rise), ("smallest_unit", unit))
        if self.covered:
            known += (("covered", 1),)
        if self._survey is not None:
            known += (("surveyed_s", self._survey.valid_s), ("survey_s", self._survey.seconds))
        if self.survey_problem:
            known += (("survey_problem", self.survey_problem),)
        return (Standing(ALARM, self._trial is not None, self._problem, known),)

    def _unfit(self, seconds: float, valid_s: float, reason: str) -> str:
        if not reason:
            return "a baseline needs a reason"
        if seconds < LEAST_SURVEY_S:
            return f"a survey takes at least {LEAST_SURVEY_S:g} s"
        if valid_s <= seconds:
            return "the baseline would expire before it is complete"
        if self._area_wide:
            return "a rise over the whole area is in force"
        if not self._book.is_teaching:
            return "a radiation alarm is active: its cause is to be assessed first"
        return ""

    def _measure(self, survey: Survey, sampled: Sampled) -> None:
        if sampled.alarming or sampled.area_wide:
            self._refuse("a radiation alarm or a rise over the whole area came")
            return
        survey.add(sampled)
        if not survey.is_complete:
            return
        ways = self._ways
        baseline, why = survey.result(sampled.at, ways.smoothing_s, ways.background_rate)
        if baseline is None:
            self._refuse(f"not plausible: {why}")
        else:
            self._survey = None
            self._arm(baseline)

    def _refuse(self, why: str) -> None:
        """The survey fails; a baseline from before stays in force."""
        self._survey = None
        self.survey_problem = f"survey refused: {why}"

    def _arm(self, baseline: Baseline) -> None:
        ways = self._ways
        self.baseline = baseline
        self._trial = trial(baseline, ways.ratio, ways.ratio_clear, self._share)
        self._problem = (
            ""
            if self._trial is not None
            else f"noise of {baseline.rate:.3g} {baseline.unit} surveyed for "
            f"{baseline.live_s:.0f} s hides a ratio of {ways.ratio:g}"
        )
        self._begin()

    def _drop(self, why: str) -> None:
        self.baseline = self._trial = None
        self._problem = why
        self._begin()

    def _begin(self) -> None:
        """Measure anew, by the baseline's kind of readings."""
        by_counts = self.baseline is None or self.baseline.is_counts
        self._feed = Feed(by_counts=by_counts, gap_s=self._gap_s)
        self._minute = Blocks(TREND_S)
        self._window = None if self._trial is None else Blocks(self._trial.window_s)
        pair = sorted((self._window or Blocks(TREND_S), self._minute), key=lambda one: one.window_s)
        self._first, self._second = pair
        self._doubtful = 0
        self.covered = False

    def _moved(self, sampled: Sampled) -> list[Change]:
        """The shorter window has moved on: its newest block goes into the longer one as well."""
        has_moved = self._second.add(*self._first.block)
        window = self._window
        if window is None:
            return self._told(sampled) if self._on.is_on else []
        return self._judge(window, sampled) if has_moved or window is self._first else []

    def _judge(self, window: Blocks, sampled: Sampled) -> list[Change]:
        """The window has moved on by a twelfth."""
        is_clean = self._doubtful == 0
        self._doubtful = max(0, self._doubtful - 1)
        baseline, chosen = self.baseline, self._trial
        if baseline is None or chosen is None or not window.is_full:
            return []
        mean, arrived = window.mean, sampled.arrived
        if mean >= chosen.raise_rate and is_significant(
            baseline, chosen.alpha, mean, window.seconds
        ):
            is_on = self._on.is_on
            is_area = sampled.area_wide and not is_on
            self.covered = is_area and _is_area(baseline, self._trend(window))
            if self.covered:
                return []
            return self._on.set(self._evidence(baseline, chosen, window, sampled), arrived)
        self.covered = False
        if not self._on.is_on:
            return []
        if is_clean and mean < chosen.clear_rate:
            return self._on.clear(sampled.at, arrived)
        changes = self._on.hold(arrived)
        return changes + self._book.freshen(ALARM, arrived) if is_clean else changes

    def _told(self, sampled: Sampled) -> list[Change]:
        """Nothing to compare with: the alarm stays, with valid readings behind it or not."""
        seen, gamma = seen_rate(sampled), sampled.gamma
        is_valid = (seen is not None and seen.clears) or (
            gamma is not None and gamma.use is Usability.FULL
        )
        if sampled.blind or not is_valid:
            return []
        return self._book.freshen(ALARM, sampled.measured.arrived)

    def _trend(self, window: Blocks) -> Trend | None:
        baseline = self.baseline
        if baseline is None or not window.is_full:
            return None
        ratio = window.mean / baseline.rate
        if not baseline.is_counts:
            return Trend(ratio, baseline.deviation(window.seconds) / baseline.rate)
        counts = max(window.amount, 1.0)
        relative = math.hypot(math.sqrt(baseline.copies / counts), baseline.error / baseline.rate)
        return Trend(ratio, max(ratio, 1.0 / (baseline.rate * window.seconds)) * relative)

    def _evidence(
        self, baseline: Baseline, chosen: Trial, window: Blocks, sampled: Sampled
    ) -> Evidence:
        measured, seen, mean = sampled.measured, seen_rate(sampled), window.mean
        tail, k = probability(baseline, mean, window.seconds)
        times = window.seconds if baseline.is_counts else 1.0
        quantity = None if seen is None else seen.reading.quantity
        return Evidence(
            at=measured.at,
            rule=Rule(ALARM, 1, self._parameters()),
            value=mean,
            unit=baseline.unit,
            quantity=Quantity.GAMMA_COUNT_RATE if baseline.is_counts else quantity,
            statistic=facts(
                ratio=mean / baseline.rate,
                counts=round(window.amount) if baseline.is_counts else None,
                window_s=window.seconds,
                expected=baseline.expected_rate * times,
                threshold=chosen.raise_rate * times,
                p_value=tail,
                k_equivalent=k,
            ),
            indicative=not baseline.is_counts and sampled.true is None,
            position=measured.position,
            flags=measured.flags,
            device_alarms=sampled.device_alarms,
            background=self._background(),
        )

    def _parameters(self) -> Facts:
        chosen, ways, baseline = self._trial, self._ways, self.baseline
        if chosen is None or baseline is None:
            return ()
        return facts(
            method="poisson" if baseline.is_counts else "empirical",
            ratio=ways.ratio,
            ratio_clear=ways.ratio_clear,
            window_s=chosen.window_s,
            raise_rate=chosen.raise_rate,
            clear_rate=chosen.clear_rate,
            alpha=chosen.alpha,
            false_alarms_per_hour=self._share,
            off_delay_s=self._delay.off_delay_s,
            copies=baseline.copies if baseline.is_counts else None,
        )

    def _background(self) -> Facts:
        baseline = self.baseline
        if baseline is None:
            return ()
        return facts(
            learned="surveyed",
            rate=baseline.rate,
            unit=baseline.unit,
            error=baseline.error,
            live_s=baseline.live_s,
            usv_h=baseline.usv_h,
            surveyed_at=baseline.at.wall,
            valid_for_s=max(0.0, baseline.until - self._now),
            user=baseline.user,
            reason=baseline.reason,
        )


def _is_area(baseline: Baseline, trend: Trend | None) -> bool:
    """Whether a rise is no more than an area-wide advisory covers, chance apart."""
    if trend is None:
        return False
    ratio = trend.ratio - AREA_SIGMA * trend.error
    rise = None if baseline.usv_h is None else (ratio - 1.0) * baseline.usv_h
    return ratio <= AREA_RATIO and (rise is None or rise <= AREA_RISE_USV_H)
