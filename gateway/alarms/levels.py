"""The levels of the dose-rate alarm: what a sample says of each, and which of them hold.

A level is reached with the first sample at or above it and left when valid readings below its
clear value have covered the off-delay without a gap. A level that a true dose rate reached is
not left on an estimate. An estimate reaches a level when one of its windows is at or above it and
the counts are incompatible with the clear value at this channel's share of the budget.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final

from gateway.alarms.profiles import OVER_RANGE, LevelSetting
from gateway.alarms.statistics import alpha_per_test, poisson_tail, poisson_threshold
from gateway.alarms.usability import Seen
from gateway.alarms.windows import CLEARING_WINDOW_S, WINDOWS_S, WindowSum

OVER_RANGE_RECOVERY_S: Final = 10.0


class Verdict(IntEnum):
    """What one sample says of one level; the greater wins where two sources disagree."""

    NOTHING = 0
    BELOW = 1
    NOT_BELOW = 2
    REACHED = 3


Verdicts = Mapping[str, Verdict]


@dataclass(frozen=True, slots=True)
class Hold:
    """A level whose condition holds; times on the monotonic clock.

    Valid readings below the clear value have come since ``below_since``, the last at ``below_at``.
    """

    by_dose_rate: bool
    below_since: float | None = None
    below_at: float = 0.0


Holds = Mapping[str, Hold]


@dataclass(frozen=True, slots=True)
class Timing:
    """When the sample came and what a continuous run of samples means here.

    ``alive``: it does not continue a run of zero counts, which a dead tube gives as well.
    """

    at: float
    off_delay_s: float
    gap_s: float
    alive: bool = True


def judge(levels: Sequence[LevelSetting], seen: Seen, range_top: float | None) -> Verdicts:
    """What a dose rate says of each level."""
    if seen.beyond:
        bound = seen.bound if seen.bound is not None else range_top
        return {level.id: _beyond(level, bound) for level in levels}
    value = seen.value
    if value is None:
        return {level.id: Verdict.NOT_BELOW for level in levels}
    return {level.id: _compare(level, value, seen.clears) for level in levels}


def _beyond(level: LevelSetting, bound: float | None) -> Verdict:
    reached = level.id == OVER_RANGE or (bound is not None and level.raise_at <= bound)
    return Verdict.REACHED if reached else Verdict.NOT_BELOW


def _compare(level: LevelSetting, value: float, clears: bool) -> Verdict:
    if value >= level.raise_at:
        return Verdict.REACHED
    return Verdict.BELOW if clears and value < level.clear_below else Verdict.NOT_BELOW


@dataclass(frozen=True, slots=True)
class Fired:
    """The window whose counts reached a level, with what the record shows of the test."""

    level: LevelSetting
    window: WindowSum
    alpha: float

    @property
    def statistic(self) -> tuple[tuple[str, float | int], ...]:
        """Counts, window, expectation at the clear value and exact upper tail."""
        expected = expected_counts(self.level, self.window)
        copies = self.window.copies
        return (
            ("counts", self.window.counts),
            ("window_s", self.window.live_s),
            ("expected_counts", expected),
            ("p_value", poisson_tail(self.window.counts // copies, expected / copies)),
            ("alpha", self.alpha),
            ("copies", copies),
        )


def expected_counts(level: LevelSetting, window: WindowSum) -> float:
    """The counts at the level's clear value in that window."""
    return level.clear_below / window.usv_h_per_cps * window.live_s


def judge_counts(
    levels: Sequence[LevelSetting],
    windows: Sequence[WindowSum],
    clears: bool,
    share_per_hour: float,
) -> tuple[Verdicts, Fired | None]:
    """What the windows say of each level, and the shortest window that reached the highest one.

    ``share_per_hour`` is what the channel may spend in false alarms per hour over all windows.
    """
    if not windows:
        return {level.id: Verdict.NOTHING for level in levels}, None
    longest = windows[-1]
    tells = longest.window_s >= CLEARING_WINDOW_S
    verdicts: dict[str, Verdict] = {}
    fired: Fired | None = None
    for level in levels:
        found = _incompatible(level, windows, share_per_hour)
        if found is not None:
            verdicts[level.id] = Verdict.REACHED
            fired = found
        elif clears and not tells:
            verdicts[level.id] = Verdict.NOTHING
        else:
            below = clears and longest.usv_h < level.clear_below
            verdicts[level.id] = Verdict.BELOW if below else Verdict.NOT_BELOW
    return verdicts, fired


def _incompatible(
    level: LevelSetting, windows: Sequence[WindowSum], share_per_hour: float
) -> Fired | None:
    for window in windows:
        if window.usv_h < level.raise_at:
            continue
        alpha = alpha_per_test(share_per_hour / len(WINDOWS_S), window.window_s, window.step_s)
        mean = round(expected_counts(level, window) / window.copies, 6)
        if window.counts // window.copies >= poisson_threshold(mean, alpha):
            return Fired(level, window, alpha)
    return None


def merged(first: Verdicts, second: Verdicts) -> Verdicts:
    """Both sources together: the more careful verdict of each level."""
    return {name: max(verdict, second[name]) for name, verdict in first.items()}


def step(
    holds: Holds, verdicts: Verdicts, true: Verdicts | None, timing: Timing
) -> tuple[Holds, tuple[str, ...], tuple[str, ...]]:
    """The holds after one sample, the levels newly reached and those left.

    ``true`` are the verdicts of the true dose rate alone, None where the sample had none.
    """
    kept: dict[str, Hold] = {}
    left = []
    for name, hold in holds.items():
        verdict = verdicts.get(name, Verdict.NOT_BELOW)
        after = _held(name, hold, verdict, None if true is None else true.get(name), timing)
        if after is None:
            left.append(name)
        else:
            kept[name] = after
    reached = [n for n, v in verdicts.items() if v is Verdict.REACHED and n not in kept]
    for name in reached:
        kept[name] = Hold(true is not None and true[name] is Verdict.REACHED)
    return kept, tuple(reached), tuple(left)


def _held(
    name: str, hold: Hold, verdict: Verdict, true: Verdict | None, timing: Timing
) -> Hold | None:
    if verdict is Verdict.REACHED:
        return Hold(hold.by_dose_rate or true is Verdict.REACHED)
    if verdict is Verdict.NOT_BELOW:
        return Hold(hold.by_dose_rate)
    if verdict is Verdict.NOTHING or (hold.by_dose_rate and true is None):
        return hold
    since = hold.below_since
    if since is None or timing.at - hold.below_at > timing.gap_s:
        since = timing.at
    delay = timing.off_delay_s
    if name == OVER_RANGE:
        delay = max(delay, OVER_RANGE_RECOVERY_S)
    if timing.at - since >= delay and timing.alive:
        return None
    return replace(hold, below_since=since, below_at=timing.at)
