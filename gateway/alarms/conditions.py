"""Conditions that are on or off: what instruments declare, and what is wrong with them."""

from dataclasses import dataclass, replace
from enum import Enum, auto


class Said(Enum):
    """What one input says of a condition."""

    SET = auto()
    CLEAR = auto()
    NEITHER = auto()
    """It speaks of the condition's place but proves nothing: a running off-delay starts again."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition; times on the monotonic clock. Clear inputs have come since ``clear_since``."""

    on: bool = False
    clear_since: float | None = None
    clear_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Delay:
    """How long clear inputs must go on, and the longest gap between two of them."""

    off_delay_s: float
    gap_s: float


OFF = Condition()
SET = Condition(on=True)


def step(state: Condition, said: Said, at: float, delay: Delay) -> Condition:
    """The condition after one input."""
    if said is Said.SET:
        return SET
    if not state.on:
        return OFF
    if said is Said.NEITHER:
        return SET
    since = state.clear_since
    if since is None or at - state.clear_at > delay.gap_s:
        since = at
    if at - since >= delay.off_delay_s:
        return OFF
    return replace(state, clear_since=since, clear_at=at)


def tick(state: Condition, at: float, off_delay_s: float, period_s: float) -> Condition:
    """The condition as time passes: off-delays end while not one expected input is missing."""
    since = state.clear_since
    if not state.on or since is None or at - state.clear_at > period_s:
        return state
    return OFF if at - since >= off_delay_s else state
