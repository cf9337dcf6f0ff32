"""Plausibility of falls from high readings: a counter that paralyses reads low in a high field.

After a reading above a quarter of the maximum, or a declared over-range, a fall by more than a
factor five within two seconds without intermediate values is suspect, and so is a fall to less
than background, however slow. Suspicion ends when the readings have climbed back continuously, or
when the assessor confirms them.

A slow instrument shows no intermediate values even where there are some: between readings 2 s
apart the dose rate of a person who walks past at 1 m falls to a 7.6th. What a walk explains is
not suspect. A source that is shielded or taken away at once looks like fold-over, and is for the
assessor to confirm.
"""

from dataclasses import dataclass, replace
from typing import Final

from gateway.alarms.record import Rule

HIGH_SHARE: Final = 0.25
FALL_FACTOR: Final = 5.0
FALL_WITHIN_S: Final = 2.0
BACKGROUND_SHARE: Final = 0.5
"""Less than background means less than half of it: readings scatter around their mean."""
WALK_M_S: Final = 1.2
"""Pedestrians in the tests of ANSI N42.35."""
WALK_FROM_M: Final = 1.0
"""Own choice: the distance for which the dose rate of a person is given."""
BELOW_COUNTS: Final = 135.0
"""So many counts the background would have given in readings that all stay below half of it, by
chance with less than 1e-9: each does with at most exp(-0.153 m) at a mean of m (Chernoff)."""
HIGH_REMEMBERED_S: Final = 600.0
"""How long after a high reading a slow fall to less than background is suspect, own choice."""
_FLOOR_SHARE: Final = 0.01


@dataclass(frozen=True, slots=True)
class FoldOver:
    """Where the last reading stood; times on the monotonic clock.

    Readings have been below background since ``below_since``.
    """

    suspect: bool = False
    climbing: bool = False
    last: float = 0.0
    last_at: float = 0.0
    high_at: float | None = None
    below_since: float | None = None


@dataclass(frozen=True, slots=True)
class FoldLimits:
    """``top`` is the maximum in the unit of the readings, ``period_s`` the instrument's own."""

    top: float
    period_s: float

    @property
    def within_s(self) -> float:
        """The two seconds of the rule, or one and a half periods of a slower instrument."""
        return max(FALL_WITHIN_S, 1.5 * self.period_s)

    @property
    def rule(self) -> Rule:
        """For the record."""
        named = (("top", self.top), ("high_share", HIGH_SHARE), ("fall_factor", FALL_FACTOR))
        return Rule("fold_over", 1, (*named, ("within_s", self.within_s)))


def step(
    state: FoldOver, value: float, at: float, limits: FoldLimits, background: float | None
) -> FoldOver:
    """The state after one valid reading; pass the top itself for a declared over-range.

    ``background`` is the learned one in counts per second, where the readings are those.
    """
    if state.suspect:
        return _climb(state, value, at, limits)
    below_since = None
    suspect = _fell(state, value, at, limits)
    if background is not None and value < BACKGROUND_SHARE * background:
        below_since = at if state.below_since is None else state.below_since
        suspect = suspect or _below_background(state, at, below_since, limits, background)
    high_at = at if value >= HIGH_SHARE * limits.top else state.high_at
    return FoldOver(suspect, suspect, value, at, high_at, below_since)


def confirmed(state: FoldOver) -> FoldOver:
    """The assessor says that the low readings are real."""
    return replace(state, suspect=False, climbing=False, high_at=None, below_since=None)


def plausible_factor(elapsed_s: float) -> float:
    """By how much two readings so far apart may differ: five, or what a walk away explains.

    From d to d + v·Δt the dose rate falls by (1 + v·Δt/d)²; past somebody at d it falls by less.
    """
    walked = 1.0 + WALK_M_S * elapsed_s / WALK_FROM_M
    return max(FALL_FACTOR, walked * walked)


def _fell(state: FoldOver, value: float, at: float, limits: FoldLimits) -> bool:
    """The high reading may be twice as far back: it can take two steps, and one may be lost."""
    if state.high_at is None or value * FALL_FACTOR >= state.last:
        return False
    is_recent = at - state.high_at <= 2.0 * limits.within_s
    return is_recent and value * plausible_factor(at - state.last_at) < state.last


def _below_background(
    state: FoldOver, at: float, below_since: float, limits: FoldLimits, background: float
) -> bool:
    """At once from a high reading, or for too long to be chance."""
    if state.last >= HIGH_SHARE * limits.top:
        return True
    if state.high_at is None or at - state.high_at > HIGH_REMEMBERED_S:
        return False
    return (at - below_since) * background >= BELOW_COUNTS


def _climb(state: FoldOver, value: float, at: float, limits: FoldLimits) -> FoldOver:
    before = max(state.last, _FLOOR_SHARE * limits.top)
    elapsed_s = at - state.last_at
    factor = plausible_factor(elapsed_s) if elapsed_s <= limits.within_s else FALL_FACTOR
    steady = state.climbing and value <= factor * before
    climbing = steady or value < _FLOOR_SHARE * limits.top
    back = climbing and value >= HIGH_SHARE * limits.top
    return FoldOver(not back, climbing and not back, value, at, at if back else state.high_at)
