"""What a sample counted: gamma and neutron counts fit for exact statistics, and what is not.

Only counts over a known time may be tested as Poisson counts. A rate that the instrument has
smoothed is none, whatever its unit: with a smoothing window there is no count to be had.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from drivers.api import Channel, Flag, Reading
from gateway.alarms.usability import Usability, usability
from gateway.values import Measured

LONGEST_S: Final = 10.0
"""Longer counting times are moving sums, or too slow to find anything that moves."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Counts of all parts of an instrument in ``live_s`` seconds.

    ``independent`` is false where a count may be seen twice (a polled counter that may repeat);
    ``use`` is what the counts are good for, NOT with a saturated or a high-range counter.
    """

    counts: int
    live_s: float
    independent: bool
    use: Usability


def counted(measured: Measured, channel: Channel, rate_channel: Channel) -> Counted | None:
    """The counts of one kind in a sample; None where it has none that are counts.

    Parts count side by side, so their counts add up and their time does not.
    """
    total, live_s, independent, found = 0.0, 0.0, True, False
    flags: tuple[Flag, ...] = measured.flags
    for reading in measured.readings:
        counts = _counts(reading, channel, rate_channel)
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
    if not found:
        return None
    return Counted(round(total), live_s, independent, _use(flags))


def gamma_counts(measured: Measured) -> Counted | None:
    """Gamma counts of a sample."""
    return counted(measured, Channel.GAMMA_COUNTS, Channel.GAMMA_COUNT_RATE)


def neutron_counts(measured: Measured) -> Counted | None:
    """Neutron counts of a sample."""
    return counted(measured, Channel.NEUTRON_COUNTS, Channel.NEUTRON_COUNT_RATE)


def _counts(reading: Reading, channel: Channel, rate_channel: Channel) -> float | None:
    """0 stands in where the reading has no number."""
    window_s = reading.window_s
    if not window_s or window_s > LONGEST_S:
        return None
    if reading.channel is channel:
        return reading.value or 0
    if reading.channel is rate_channel and reading.independent:
        return (reading.value or 0) * window_s
    return None


_UNCOUNTABLE: Final = frozenset(
    {Flag.SATURATED_COUNTS, Flag.OVER_RANGE, Flag.SUSPECT_FOLD_OVER, Flag.HIGH_RANGE_DETECTOR}
)


def _use(flags: Iterable[Flag]) -> Usability:
    use = Usability.FULL
    if flags:
        if not _UNCOUNTABLE.isdisjoint(flags):
            return Usability.NOT
        use = usability(flags)
    return use
