"""What the engine holds against a sample that its instrument says without reserve.

Counts that are lost stand for no dose rate: a zero is published as no number, with the
instrument's own in ``raw``. A fall that is not believed keeps its number and is flagged. Neither
changes how the sample is judged.
"""

from dataclasses import replace
from typing import Final

from drivers.api import Channel, Flag, Reading
from gateway.values import Measured

_COUNTING: Final = (Channel.GAMMA_COUNTS, Channel.GAMMA_COUNT_RATE)


def reserved(measured: Measured, *, lost: bool, folded: bool) -> Measured:
    """The sample as it is published: ``lost`` counts, or a fall suspected to be a fold-over."""
    return replace(
        measured,
        readings=tuple(_reserved(reading, lost, folded) for reading in measured.readings),
    )


def _reserved(reading: Reading, lost: bool, folded: bool) -> Reading:
    is_rate = reading.channel is Channel.DOSE_RATE
    if Flag.HIGH_RANGE_DETECTOR in reading.flags or not (is_rate or reading.channel in _COUNTING):
        return reading
    if lost:
        reading = _flagged(reading, Flag.LOSS_OF_COUNTS)
        if is_rate and reading.value == 0:
            raw = reading.raw or f"{reading.value} {reading.unit}"
            reading = replace(reading, value=None, raw=raw)
    return _flagged(reading, Flag.SUSPECT_FOLD_OVER) if folded else reading


def _flagged(reading: Reading, flag: Flag) -> Reading:
    return reading if flag in reading.flags else replace(reading, flags=(*reading.flags, flag))
