"""The neutron rise N1: counts of windows from 1 to 60 s against a slowly learned background.

Exact integer thresholds of the conditional binomial test and no k·sigma: with 0.05 counts expected
"5 sigma" is raised four times an hour. Three things beside a source put counts into the counter:

- Bursts: showers in dense matter ("ship effect", Kouzes et al. 2008) give many counts at once. As
  in the sequence test of TSA portals (normally 4 × 200 ms) an excess must be spread over several
  intervals, and what is left without the largest ones must still be improbable.
- Gamma rays: in a field so high that they may break through nothing is raised, nothing counted.
- Surroundings: city buildings take more than half of the background away (Davis, Brubaker, Vetter
  2016, arXiv 1611.04996), so what moves is judged against twice the background it has learned.
"""

import math
from typing import Final

from drivers.api import Channel, Flag, Quantity
from gateway.alarms.book import Book
from gateway.alarms.conditions import Delay
from gateway.alarms.counting import Counted
from gateway.alarms.durable import Internal
from gateway.alarms.lifecycle import Severity
from gateway.alarms.neutron_counts import (
    ARMED_S,
    BACKGROUND_S,
    BURST_EVERY_S,
    GUARD_S,
    LARGEST_SHARE,
    LEAST_INTERVALS,
    NEVER,
    SUBSECOND_S,
    WINDOWS_S,
    Background,
    Run,
    Window,
    is_in_sequence,
    without_bursts,
)
from gateway.alarms.onoff import OnOff
from gateway.alarms.record import AlarmRecord, Change, Evidence, Facts, Rule
from gateway.alarms.statistics import (
    alpha_per_test,
    binomial_tail,
    binomial_threshold,
    k_equivalent,
)
from gateway.alarms.usability import Usability
from gateway.alarms.watcher import Learned, Quiet, Sampled, Standing, facts
from gateway.values import Instant

ALARM: Final = "neutron_rise"
SUSPICION: Final = 0.01
QUIET_S: Final = 300.0
MOVING_FACTOR: Final = 2.0
BURST: Final = 1e-6
"""Own choice: an interval so improbable is not learned; chance loses nothing by it."""
REMAINDER: Final = 1e-4
"""Own choice: how improbable a window without its bursts must be. It is judged with each sample
while a burst stays in it: at 0.001 still 1 burst of 25 in 250 was raised, here none of 360."""
_JITTER: Final = 0.8
_SAME_STEP: Final = 0.9
_ROUNDING_S: Final = 1e-6
_SEVERITY: Final = Severity("N1", 1, latched=True)
_BEYOND: Final = frozenset({Flag.OVER_RANGE, Flag.SUSPECT_FOLD_OVER, Flag.SATURATED_COUNTS})
_GAMMA: Final = (Channel.GAMMA_COUNT_RATE, Channel.GAMMA_COUNTS)


class NeutronRise(Quiet):
    """The alarm ``neutron_rise`` of one detector; with ``annunciates`` false only its statistic.

    ``share_per_hour`` is what this channel may spend in false alarms per hour. ``found`` is the
    statistic of the newest excess.
    """

    alarms: tuple[str, ...] = (ALARM,)

    def __init__(self, book: Book, share_per_hour: float, *, annunciates: bool = True) -> None:
        ways, gap_s = book.profile.ways, book.profile.silence_limit_s
        self._book = book
        self._share = share_per_hour
        self._annunciates = annunciates
        self._factor = 1.0 if ways.platform == "static" else MOVING_FACTOR
        self._gap_s = gap_s
        self._gamma = _GammaGuard(ways.neutron_gamma_limit, gap_s)
        self._alarm = self._unraised()
        self._run = Run()
        self._background = Background()
        self._tells = False
        self._step_s = 0.0
        self._copies = 1
        self._repeats = False
        self._last: float | None = None
        self._burst_at = self._quiet_at = NEVER
        self._suspects = False
        self._clean_s = 0.0
        self.found: Facts = ()

    def measured(self, sampled: Sampled) -> list[Change]:
        """One sample."""
        if sampled.true is not None or sampled.estimate is not None:
            self._gamma.note(sampled)
        counted = sampled.neutrons
        if counted is None:
            return []
        self._tells = True
        measured = sampled.measured
        if self._gamma.holds(measured.arrived.mono):
            self._interrupt()
            self._background.forget_recent()
            return self._alarm.hold(measured.arrived)
        if counted.use is Usability.NOT:
            self._clean_s = 0.0
            return self._alarm.hold(measured.arrived)
        if not self._joins(counted, measured.at.mono):
            return []
        self._run.add(counted.counts, counted.live_s)
        late = measured.arrived.mono - measured.at.mono > self._gap_s
        proves = counted.use is Usability.FULL and not sampled.blind and not late
        changes: list[Change] = []
        if counted.counts or self._suspects or self._alarm.is_on:
            changes = self._judge(sampled, counted.live_s, proves)
        if sampled.alarming or self._alarm.is_on:
            self._background.forget_recent()
        elif proves and counted.counts < self._burst_at and not measured.occupied:
            self._learn(counted)
        return changes

    def tick(self, now: Instant) -> list[Change]:
        """The off-delay ends between samples too."""
        return self._alarm.tick(now, self._book.profile.silence_s)

    def restore(self, record: AlarmRecord, internal: Internal, now: Instant) -> None:
        """It stays until quiet has been measured, if need be against what it was raised on."""
        self._alarm.restore()
        known = dict(record.background)
        counts, live_s = known.get("background_counts"), known.get("background_live_s")
        if not self._background.is_enough and isinstance(counts, int) and live_s:
            self._background.reset(counts, float(live_s))
            self._tune()

    def abandon(self, alarm: str) -> None:
        """The next excess raises it anew."""
        self._alarm = self._unraised()

    def learned(self) -> Learned | None:
        """The background."""
        background = self._background
        if not background.is_enough:
            return None
        return {"counts": background.counts, "live_s": background.live_s}

    def relearn(self, learned: Learned, age_s: float, now: Instant) -> None:
        """The background, unless by now it would have been forgotten anyhow."""
        counts, live_s = int(learned["counts"]), float(learned["live_s"])
        if age_s > BACKGROUND_S or counts < 0 or not ARMED_S <= live_s < math.inf:
            return
        self._background.reset(counts, live_s)
        self._tune()

    def accept(self, now: Instant) -> list[Change]:
        """The last minute is the background, whatever it was; less than that is not enough."""
        self._run.suspects()
        longest = self._run.windows[-1]
        counts, live_s = self._run.counts(longest), self._run.live_s(longest)
        if live_s >= ARMED_S - self._step_s:
            self._background.reset(counts, live_s)
            self._clean_s = 0.0
            self._tune()
        return []

    def standing(self) -> tuple[Standing, ...]:
        """Whether it is armed, once the instrument has told neutrons at all."""
        background = self._background
        if not self._tells:
            return ()
        if not background.is_enough:
            reason = f"learning, {background.learned_s:.0f} of {ARMED_S:.0f} s"
            return (Standing(ALARM, False, self._gamma.reason or reason),)
        known = self._known()
        judged = [window for window in self._run.windows if window.raise_at < NEVER]
        known += tuple((f"threshold_{w.seconds:g}_s", w.raise_at) for w in judged)
        # A Poisson mean of n - 1/3 reaches n with a probability of one half.
        rises = [(w.raise_at - 1 / 3 - background.expected(w.seconds)) / w.seconds for w in judged]
        if rises:
            known += facts(smallest_rise=min(rises), smallest_unit="1/s")
        return (Standing(ALARM, not self._gamma.reason, self._gamma.reason, known),)

    def _unraised(self) -> OnOff:
        # A quiet longest window has proven its own length already.
        delay = Delay(QUIET_S - WINDOWS_S[-1], self._gap_s)
        return OnOff(self._book, ALARM, _SEVERITY, delay)

    def _interrupt(self) -> None:
        """What comes next does not continue what was."""
        self._run.clear()
        self._suspects, self._clean_s = False, 0.0

    def _joins(self, counted: Counted, at: float) -> bool:
        """Whether a sample adds counts; what does not continue the run begins a new one.

        Counts that may have been seen twice are judged as pairs. One such sample alone only means
        that something is missing before it.
        """
        elapsed = math.inf if self._last is None else at - self._last
        repeats = self._repeats and not counted.independent
        if repeats and 0 <= elapsed < _JITTER * counted.live_s:
            return False  # it overlaps the one before
        copies = 2 if repeats else 1
        first = not counted.independent and not self._repeats
        if first or copies < self._copies or elapsed > max(self._gap_s, 3 * counted.live_s):
            self._interrupt()
        self._last, self._repeats = at, not counted.independent
        is_same = _SAME_STEP * self._step_s < counted.live_s < self._step_s / _SAME_STEP
        if copies != self._copies or not is_same:
            self._copies, self._step_s = copies, counted.live_s
            self._tune()
        return True

    def _learn(self, counted: Counted) -> None:
        if self._background.learn(counted.counts, counted.live_s, suspect=self._suspects):
            self._tune()

    def _tune(self) -> None:
        """New thresholds: another background, step or kind of counts."""
        background, step_s = self._background, self._step_s
        for window in self._run.windows:
            window.raise_at = window.suspect_at = NEVER
        self._burst_at = self._quiet_at = NEVER
        if not step_s or not background.is_enough:
            return
        least_s = LEAST_INTERVALS[step_s < SUBSECOND_S] * step_s
        judged = [each for each in self._run.windows if each.seconds > least_s - _ROUNDING_S]
        for window in judged:
            share = self._share / len(judged)
            window.alpha = alpha_per_test(share, window.seconds, step_s)
            window.raise_at = self._threshold(window.seconds, window.alpha)
            suspect_at = self._threshold(window.seconds, SUSPICION / len(judged))
            window.suspect_at = min(suspect_at, window.raise_at)
        self._burst_at = self._threshold(step_s, BURST)
        self._quiet_at = self._threshold(WINDOWS_S[-1], SUSPICION)

    def _threshold(self, live_s: float, alpha: float) -> int:
        background = self._background
        pairs = math.ceil(background.counts / self._copies)
        # Up to a sixteenth of its deviation: on the safe side, and a cache knows most of them.
        step = max(1, math.isqrt(pairs) // 16)
        pairs = math.ceil(pairs / step) * step
        window_s = self._factor * live_s
        return self._copies * binomial_threshold(pairs, window_s, background.live_s, alpha)

    def _p_value(self, counts: int, live_s: float) -> float:
        copies, background = self._copies, self._background
        window_s = self._factor * live_s
        pairs = math.ceil(background.counts / copies)
        return binomial_tail(counts // copies, pairs, window_s / (window_s + background.live_s))

    def _judge(self, sampled: Sampled, live_s: float, proves: bool) -> list[Change]:
        """All windows that end with this sample; ``proves``: it may clear."""
        run = self._run
        self._suspects = False
        fired: list[Window] = []
        for window in run.suspects():
            self._suspects = True
            if run.counts(window) >= window.raise_at and self._is_spread(window):
                fired.append(window)
        is_on = self._alarm.is_on
        self._clean_s = self._clean_s + live_s if proves and is_on else 0.0
        if fired:
            return self._found(sampled, fired)
        if not is_on:
            return []
        known = self._background.is_enough and self._clean_s >= WINDOWS_S[-1]
        if not known or run.counts(run.windows[-1]) >= self._quiet_at:
            return self._alarm.hold(sampled.measured.arrived)
        return self._alarm.clear(sampled.measured.at, sampled.measured.arrived)

    def _is_spread(self, window: Window) -> bool:
        """Whether an excess is none of bursts."""
        intervals = self._run.intervals(window)
        if not is_in_sequence(intervals, self._background):
            return False
        counts, live_s = without_bursts(intervals, self._copies)
        return live_s > 0 and self._p_value(counts, live_s) <= REMAINDER

    def _found(self, sampled: Sampled, fired: list[Window]) -> list[Change]:
        """An excess, judged by the window in which it is least probable."""
        run = self._run
        told = [(self._p_value(run.counts(each), run.live_s(each)), each) for each in fired]
        p_value, window = min(told, key=lambda pair: pair[0])
        counts, live_s = run.counts(window), run.live_s(window)
        self.found = facts(
            counts=counts,
            window_s=live_s,
            expected_counts=self._background.expected(live_s),
            threshold=window.raise_at,
            p_value=p_value,
            k_equivalent=k_equivalent(p_value),
            alpha=window.alpha,
            largest_interval=max(counts for counts, _ in run.intervals(window)),
            copies=self._copies,
        )
        if not self._annunciates:
            return []
        return self._alarm.set(self._evidence(sampled, counts / live_s), sampled.arrived)

    def _evidence(self, sampled: Sampled, rate: float) -> Evidence:
        return Evidence(
            sampled.at,
            self._rule(),
            rate,
            "1/s",
            Quantity.NEUTRON_COUNT_RATE,
            statistic=self.found,
            position=sampled.measured.position,
            flags=sampled.measured.flags,
            device_alarms=sampled.device_alarms,
            background=self._known(),
        )

    def _known(self) -> Facts:
        background = self._background
        return facts(
            background_counts=background.counts,
            background_live_s=background.live_s,
            background_per_s=background.expected(1.0),
            background_factor=self._factor,
            learned="counts before the last minute, without alarm or suspicion",
        )

    def _rule(self) -> Rule:
        parameters = facts(
            false_alarms_per_hour=self._share,
            windows_s=" ".join(f"{seconds:g}" for seconds in WINDOWS_S),
            step_s=self._step_s,
            background_s=BACKGROUND_S,
            guard_s=GUARD_S,
            armed_s=ARMED_S,
            suspicion=SUSPICION,
            remainder=REMAINDER,
            off_delay_s=QUIET_S,
            gamma_limit_usv_h=self._book.profile.ways.neutron_gamma_limit,
            largest_share=LARGEST_SHARE[self._step_s < SUBSECOND_S],
            burst_every_s=BURST_EVERY_S,
        )
        return Rule(ALARM, 1, parameters)


class _GammaGuard:
    """Why neutrons are not judged just now: a gamma field in which they may be gamma rays."""

    def __init__(self, limit_usv_h: float, gap_s: float) -> None:
        self._limit = limit_usv_h
        self._gap_s = gap_s
        self._at = 0.0
        self.reason = ""

    def note(self, sampled: Sampled) -> None:
        """What a sample says of the gamma field, if it says anything."""
        value, beyond = -1.0, False
        for seen in (sampled.true, sampled.estimate):
            if seen is not None:
                beyond = beyond or seen.beyond
                if seen.value is not None and seen.value > value:
                    value = seen.value
        for reading in sampled.measured.readings:
            if reading.flags and reading.channel in _GAMMA:
                beyond = beyond or not _BEYOND.isdisjoint(reading.flags)
        if beyond:
            self.reason = "gamma channel over range"
        elif value > self._limit:
            self.reason = f"gamma field above {self._limit:g} µSv/h"
        elif value >= 0:
            self.reason = ""
        else:
            return
        self._at = sampled.measured.arrived.mono

    def holds(self, arrived: float) -> bool:
        """Whether it holds back. A silent gamma channel does not: the worse error."""
        if self.reason and arrived - self._at > self._gap_s:
            self.reason = ""
        return bool(self.reason)
