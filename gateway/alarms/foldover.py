"""Plausibility of falls from high readings: a counter that paralyses reads low in a high field.

After a reading above a quarter of the maximum, or a declared over-range, a fall by more than a
factor five within two seconds without intermediate values is suspect, and so is a fall to less
than background. Suspicion ends when the readings have climbed back continuously, or when the
assessor confirms them.
"""

from dataclasses import dataclass, replace
from typing import Final

HIGH_SHARE: Final = 0.25
FALL_FACTOR: Final = 5.0
FALL_WITHIN_S: Final = 2.0
BACKGROUND_SHARE: Final = 0.5
"""Less than background means less than half of it: readings scatter around their mean."""
_FLOOR_SHARE: Final = 0.01


@dataclass(frozen=True, slots=True)
class FoldOver:
    """Where the last reading stood; times on the monotonic clock."""

    suspect: bool = False
    climbing: bool = False
    last: float = 0.0
    last_at: float = 0.0
    high_at: float | None = None


@dataclass(frozen=True, slots=True)
class FoldLimits:
    """``top`` is the maximum in the unit of the readings, ``period_s`` the instrument's own."""

    top: float
    period_s: float

    @property
    def within_s(self) -> float:
        """The two seconds of the rule, or one and a half periods of a slower instrument."""
        return max(FALL_WITHIN_S, 1.5 * self.period_s)


def step(
    state: FoldOver, value: float, at: float, limits: FoldLimits, background: float | None
) -> FoldOver:
    """The state after one valid reading; pass the top itself for a declared over-range."""
    if state.suspect:
        return _climb(state, value, at, limits)
    suspect = _fell(state, value, at, limits) or _below_background(state, value, limits, background)
    high_at = at if value >= HIGH_SHARE * limits.top else state.high_at
    return FoldOver(suspect, suspect, value, at, high_at)


def confirmed(state: FoldOver) -> FoldOver:
    """The assessor says that the low readings are real."""
    return replace(state, suspect=False, climbing=False, high_at=None)


def _fell(state: FoldOver, value: float, at: float, limits: FoldLimits) -> bool:
    return (
        state.high_at is not None
        and at - state.high_at <= limits.within_s
        and at - state.last_at <= limits.within_s
        and value * FALL_FACTOR < state.last
    )


def _below_background(
    state: FoldOver, value: float, limits: FoldLimits, background: float | None
) -> bool:
    return (
        background is not None
        and state.last >= HIGH_SHARE * limits.top
        and value < BACKGROUND_SHARE * background
    )


def _climb(state: FoldOver, value: float, at: float, limits: FoldLimits) -> FoldOver:
    before = max(state.last, _FLOOR_SHARE * limits.top)
    steady = state.climbing and value <= FALL_FACTOR * before
    climbing = steady or value < _FLOOR_SHARE * limits.top
    back = climbing and value >= HIGH_SHARE * limits.top
    return FoldOver(not back, climbing and not back, value, at, at if back else state.high_at)
