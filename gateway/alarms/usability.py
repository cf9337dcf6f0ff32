"""Which readings may raise an alarm, and which of those may also clear one: defined once, here."""

from enum import IntEnum
from functools import lru_cache
from typing import Final

from drivers.api import Channel, Flag, Quantity, Reading
from drivers.quick import quick
from drivers.units import BASE, Dimension
from gateway.values import Measured


class Usability(IntEnum):
    """What a reading is good for in the alarm engine."""

    NOT = 0
    RAISES_ONLY = 1
    FULL = 2


_NOT: Final = frozenset(
    {
        Flag.INSTRUMENT_FAULT,
        Flag.LOSS_OF_COUNTS,
        Flag.COMM_LOST,
        Flag.STALE,
        Flag.SUBSTITUTED,
        Flag.SELF_TEST,
    }
)
_RAISES_ONLY: Final = frozenset(
    {
        Flag.WARMING_UP,
        Flag.CALIBRATING_BACKGROUND,
        Flag.MAINTENANCE,
        # Another instrument's low reading says nothing about the field at the configured one.
        Flag.IDENTITY_MISMATCH,
    }
)
_BEYOND: Final = frozenset({Flag.OVER_RANGE, Flag.SUSPECT_FOLD_OVER, Flag.SATURATED_COUNTS})
_JUDGED: Final = frozenset(
    {Quantity.AMBIENT_DOSE_EQUIVALENT_RATE, Quantity.PERSONAL_DOSE_EQUIVALENT_RATE}
)
_USV_H: Final = BASE[Dimension.DOSE_EQUIVALENT_RATE]
REMEMBERED: Final = 1024
"""So many combinations of flags are remembered; there are few, and each comes with every sample."""
_COUNTING: Final = (Channel.GAMMA_COUNT_RATE, Channel.GAMMA_COUNTS)


@lru_cache(maxsize=REMEMBERED)
def usability(flags: tuple[Flag, ...]) -> Usability:
    """What a reading with these flags is good for (over-range is judged apart)."""
    result = Usability.FULL
    for flag in flags:
        if flag in _NOT:
            return Usability.NOT
        if flag in _RAISES_ONLY:
            result = Usability.RAISES_ONLY
    return result


@quick(frozen=True, slots=True)
class Seen:
    """What one sample says about the dose rate, all parts of the instrument taken together.

    ``value`` is the largest usable one in µSv/h; ``beyond`` over range or folded over, with
    ``bound`` as the least the true value can be, if that is known.
    """

    reading: Reading
    value: float | None
    beyond: bool
    bound: float | None
    clears: bool
    flags: tuple[Flag, ...]


def dose_rates(measured: Measured) -> tuple[Seen | None, Seen | None]:
    """The true dose rate and the one estimated from counts, where the sample has them."""
    true: list[Reading] = []
    estimated: list[Reading] = []
    for reading in measured.readings:
        if (
            reading.channel is Channel.DOSE_RATE
            and reading.quantity in _JUDGED
            and reading.unit == _USV_H
        ):
            (estimated if Flag.ESTIMATED_FROM_COUNTS in reading.flags else true).append(reading)
    seen = _together(true, measured.flags) if true else None
    estimate = _together(estimated, measured.flags) if estimated else None
    if seen is None or (seen.value is None and not seen.beyond):
        saturated = _saturated(measured)
        if saturated is not None:
            bound = None if estimate is None else estimate.bound
            estimate = Seen(saturated, None, True, bound, False, saturated.flags)
    return seen, estimate


def _saturated(measured: Measured) -> Reading | None:
    for reading in measured.readings:
        if reading.channel in _COUNTING and reading.flags and not _BEYOND.isdisjoint(reading.flags):
            return reading
    return None


def _together(readings: list[Reading], common: tuple[Flag, ...]) -> Seen:
    if len(readings) > 1:
        # A high-range tube that measures overrules the low-range tube that cannot.
        high = [r for r in readings if Flag.HIGH_RANGE_DETECTOR in r.flags and r.value is not None]
        readings = high or readings
    if len(readings) == 1:
        return _alone(readings[0], common)
    parts = [_alone(reading, common) for reading in readings]
    first = max(parts, key=lambda part: -1.0 if part.value is None else part.value)
    bounds = [part.bound for part in parts if part.bound is not None]
    return Seen(
        first.reading,
        first.value,
        any(part.beyond for part in parts),
        max(bounds, default=None),
        all(part.clears for part in parts),
        first.flags,
    )


@lru_cache(maxsize=REMEMBERED)
def _is_beyond(flags: tuple[Flag, ...]) -> bool:
    return not _BEYOND.isdisjoint(flags)


def _alone(reading: Reading, common: tuple[Flag, ...]) -> Seen:
    value = reading.value
    flags = reading.flags + common if common else reading.flags
    if not flags:
        return Seen(reading, value, False, None, value is not None, flags)
    if _is_beyond(flags):
        known = [number for number in (reading.lower_bound, value) if number is not None]
        return Seen(reading, value, True, max(known, default=None), False, flags)
    use = usability(flags)
    usable = value if use >= Usability.RAISES_ONLY else None
    return Seen(reading, usable, False, None, usable is not None and use is Usability.FULL, flags)
