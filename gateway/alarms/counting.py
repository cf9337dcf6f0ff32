"""What a sample counted: gamma and neutron counts fit for exact statistics, and what is not.

Only counts over a known time may be tested as Poisson counts. A rate that the instrument has
smoothed is none, whatever its unit: with a smoothing window there is no count to be had.
"""

from functools import lru_cache
from typing import Final

from drivers.api import Channel, Flag, Reading
from drivers.quick import quick
from gateway.alarms.usability import REMEMBERED, Usability, usability
from gateway.values import Measured

LONGEST_S: Final = 10.0
"""Longer counting times are moving sums, or too slow to find anything that moves."""


@quick(frozen=True, slots=True)
class Counted:
    """Counts of all parts of an instrument in ``live_s`` seconds.

    ``independent`` is false where a count may be seen twice (a polled counter that may repeat);
    ``use`` is what the counts are good for, NOT with a saturated or a high-range counter.
    """

    counts: int
    live_s: float
    independent: bool
    use: Usability


_GAMMA: Final = (Channel.GAMMA_COUNTS, Channel.GAMMA_COUNT_RATE)
_NEUTRON: Final = (Channel.NEUTRON_COUNTS, Channel.NEUTRON_COUNT_RATE)


def all_counts(measured: Measured) -> tuple[Counted | None, Counted | None]:
    """Gamma and neutron counts of a sample."""
    gamma: list[Reading] = []
    neutrons: list[Reading] = []
    for reading in measured.readings:
        channel = reading.channel
        if channel in _GAMMA:
            gamma.append(reading)
        elif channel in _NEUTRON:
            neutrons.append(reading)
    return (
        _together(gamma, measured.flags) if gamma else None,
        _together(neutrons, measured.flags) if neutrons else None,
    )


def gamma_counts(measured: Measured) -> Counted | None:
    """Gamma counts of a sample; None where it has none that are counts."""
    return all_counts(measured)[0]


def neutron_counts(measured: Measured) -> Counted | None:
    """Neutron counts of a sample; None where it has none that are counts."""
    return all_counts(measured)[1]


def _together(readings: list[Reading], flags: tuple[Flag, ...]) -> Counted | None:
    """Parts count side by side, so their counts add up and their time does not."""
    total, live_s, independent, found = 0.0, 0.0, True, False
    for reading in readings:
        counts = _counts(reading)
        if counts is None:
            continue
        if reading.value is None:
            return None
        if found and reading.window_s != live_s:
            continue  # a second, longer sum of the same detector
        found = True
        live_s = reading.window_s or 0.0
        total += counts
        independent = independent and reading.independent
        if reading.flags:
            flags += reading.flags
    return Counted(round(total), live_s, independent, _use(flags)) if found else None


def _counts(reading: Reading) -> float | None:
    """0 stands in where the reading has no number."""
    window_s = reading.window_s
    if not window_s or window_s > LONGEST_S:
        return None
    if reading.channel in (Channel.GAMMA_COUNTS, Channel.NEUTRON_COUNTS):
        return reading.value or 0
    return (reading.value or 0) * window_s if reading.independent else None


_UNCOUNTABLE: Final = frozenset(
    {Flag.SATURATED_COUNTS, Flag.OVER_RANGE, Flag.SUSPECT_FOLD_OVER, Flag.HIGH_RANGE_DETECTOR}
)


@lru_cache(maxsize=REMEMBERED)
def _use(flags: tuple[Flag, ...]) -> Usability:
    return Usability.NOT if not _UNCOUNTABLE.isdisjoint(flags) else usability(flags)
