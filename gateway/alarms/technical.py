"""Silence and loss of counts: instruments that say nothing, or nothing any more.

Zero counts for t at a rate µ have the probability exp(-µt): counts are declared lost at 10⁻⁹, after
20.7/µ with the background learned from this very unit, and never before three polls.
"""

import math
from dataclasses import replace
from typing import Final

from drivers.api import Channel, Flag, Reading
from drivers.quick import quick
from gateway.alarms.book import Book
from gateway.alarms.counting import Counted
from gateway.alarms.record import Change, Evidence, Rule
from gateway.alarms.usability import Usability, usability
from gateway.values import Instant, Measured

LOSS_PROBABILITY: Final = 1e-9
LOSS_EXPECTED_COUNTS: Final = -math.log(LOSS_PROBABILITY)
LOSS_POLLS: Final = 3
LEARN_AT_LEAST_S: Final = 60.0
_FORGET_AFTER_S: Final = 1200.0
RELEARN_WITHIN_S: Final = 1800.0
"""An older background is learned anew: own choice, natural changes take tens of minutes."""


class Silence:
    """Whether anything valid has come from a detector; times on the monotonic clock."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._limit_s = book.profile.silence_limit_s
        self._rule = Rule("silence", 1, (("limit_s", self._limit_s),))
        self._since: float | None = None
        self._heard = False
        self.switched_off = False
        self.off_duty = False
        self.link_problem = ""

    def begin(self, at: float) -> None:
        """From here on something is expected."""
        if self._since is None:
            self._since = at

    def expect_from(self, now: Instant) -> None:
        """It is on duty again: something is expected from here on."""
        self._since = now.mono

    def is_heard(self, at: float) -> bool:
        """Whether it speaks at present."""
        return self._heard and self._since is not None and at - self._since < self._limit_s

    def heard(self, at: float) -> None:
        """A valid frame came."""
        self._since, self._heard = at, True

    def tick(self, now: Instant) -> list[Change]:
        """Silence begins or has ended; what was never heard is expected since the first call."""
        self.begin(now.mono)
        silent = self._since is not None and now.mono - self._since >= self._limit_s
        if not silent and not self._book.records:
            return []
        if self._book.is_active("silence"):
            if self.off_duty:  # nobody expects anything of it any more
                return self._book.end("silence", now)
            return self._book.end("silence", now) if self._heard and not silent else []
        if not silent or self.switched_off or self.off_duty:
            return []
        why = self.link_problem or "no valid frame"
        changes = self._book.open_discrete("silence", Evidence(now, self._rule, note=why))
        return changes + self._book.mark_stale(now, why)


@quick(frozen=True, slots=True)
class CountWatch:
    """A slow background (``counts`` in ``live_s``) and the run of zero counts, if there is one."""

    counts: float = 0.0
    live_s: float = 0.0
    zero_s: float = 0.0
    zeros: int = 0
    last_at: float | None = None

    @property
    def background(self) -> float | None:
        """The mean rate in 1/s while nothing alarmed; None until a minute has been seen."""
        return self.counts / self.live_s if self.live_s >= LEARN_AT_LEAST_S else None

    @property
    def is_lost(self) -> bool:
        """Whether the run of zero counts cannot be chance any more."""
        if self.zeros < LOSS_POLLS:
            return False
        background = self.background
        return background is not None and self.zero_s * background >= LOSS_EXPECTED_COUNTS


def watch(
    state: CountWatch, counts: float, live_s: float | None, at: float, gap_s: float, learns: bool
) -> CountWatch:
    """The watch after one sample: ``counts`` in ``live_s`` (None: since the sample before)."""
    elapsed = None if state.last_at is None else at - state.last_at
    if elapsed is None or not 0 < elapsed <= gap_s:
        state = replace(state, zero_s=0.0, zeros=0)
        elapsed = live_s or 0.0
    covered = elapsed if live_s is None else min(live_s, elapsed)
    if counts <= 0:
        return replace(state, zero_s=state.zero_s + covered, zeros=state.zeros + 1, last_at=at)
    if not learns or not covered:
        return replace(state, zero_s=0.0, zeros=0, last_at=at)
    share = covered / live_s if live_s else 1.0
    counted = state.counts + counts * share
    live = state.live_s + covered + state.zero_s
    if live > _FORGET_AFTER_S:
        counted, live = counted / 2, live / 2
    return CountWatch(counted, live, 0.0, 0, at)


class LossOfCounts:
    """The alarm ``loss_of_counts`` and the background it rests on; one count ends it."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._gap_s = book.profile.silence_limit_s
        self._rule = Rule(
            "loss_of_counts", 1, (("probability", LOSS_PROBABILITY), ("polls", LOSS_POLLS))
        )
        self.watch = CountWatch()
        self.is_lost = False
        self._before = self.watch

    def relearn(self, counts: float, live_s: float, age_s: float) -> None:
        """The background of before a restart; it only says how likely zeros are, so it keeps."""
        if live_s > 0 and age_s <= RELEARN_WITHIN_S:
            self.watch = CountWatch(counts=counts, live_s=live_s)

    def is_running_out(self, at: float) -> bool:
        """Whether a run of zero counts is under way: a low field or a dead tube, who knows."""
        last = self.watch.last_at
        return self.watch.zeros > 0 and last is not None and at - last <= self._gap_s

    def measured(self, measured: Measured, gamma: Counted | None) -> list[Change]:
        """What a sample's gamma counts say; without counts, its rates."""
        if gamma is not None and gamma.use is Usability.FULL:
            counts: float = gamma.counts
            live_s: float | None = gamma.live_s
            learns = True
        else:
            found = _gamma_counts(measured)
            if found is None:
                return []
            counts, live_s, flags = found
            use = usability(flags)
            if use is Usability.NOT:
                return []
            learns = use is Usability.FULL and Flag.HIGH_RANGE_DETECTOR not in flags
        learns = learns and not self.is_lost and self._book.is_teaching
        self._before = self.watch
        self.watch = watch(self.watch, counts, live_s, measured.arrived.mono, self._gap_s, learns)
        if self.is_lost and counts > 0:
            self.is_lost = False
            return self._book.end("loss_of_counts", measured.at)
        if not self.is_lost and self.watch.is_lost:
            self.is_lost = True
            return self._raise(measured)
        return []

    def unlearn(self) -> None:
        """The newest sample is one that alarms: what it counted is no background."""
        before = self._before
        self.watch = replace(self.watch, counts=before.counts, live_s=before.live_s)

    def _raise(self, measured: Measured) -> list[Change]:
        background = self.watch.background or 0.0
        statistic = (
            ("counts", 0),
            ("window_s", self.watch.zero_s),
            ("expected_counts", background * self.watch.zero_s),
            ("p_value", math.exp(-background * self.watch.zero_s)),
        )
        evidence = Evidence(measured.at, self._rule, 0, "1", statistic=statistic)
        return self._book.open_discrete("loss_of_counts", evidence)


_Counts = tuple[float, float | None, tuple[Flag, ...]]


def _gamma_counts(measured: Measured) -> _Counts | None:
    """Gamma counts of all parts, their live time and flags; None where there are none."""
    basis = measured.counts
    if basis is not None:
        flags = measured.flags
        for reading in measured.readings:
            if reading.flags:
                flags += reading.flags
        return basis.counts, basis.live_s, flags
    rates: list[Reading] = []
    sums: list[Reading] = []
    for reading in measured.readings:
        if reading.channel is Channel.GAMMA_COUNT_RATE:
            rates.append(reading)
        elif reading.channel is Channel.GAMMA_COUNTS and reading.window_s:
            sums.append(reading)
    readings = rates or sums
    total = 0.0
    flags = measured.flags
    for reading in readings:
        if reading.value is None:
            return None
        total += reading.value
        flags += reading.flags
    if not readings:
        return None
    window_s = readings[0].window_s
    if rates:
        return total * (window_s or 1.0), window_s or None, flags
    return total, window_s, flags
