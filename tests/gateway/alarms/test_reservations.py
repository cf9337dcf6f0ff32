"""What is published of a sample that the engine does not believe."""

import pytest

from drivers.api import Channel, Flag, Quantity, Reading
from gateway.alarms.reservations import reserved
from gateway.values import Instant, Measured

AT = Instant(1.7e9, 1000.0)
COUNTS = Reading(Channel.GAMMA_COUNTS, 0, "count", window_s=1.0, independent=True)
NEUTRONS = Reading(Channel.NEUTRON_COUNTS, 0, "count", window_s=1.0)


def rate(value, *flags, raw=""):
    quantity = Quantity.AMBIENT_DOSE_EQUIVALENT_RATE
    return Reading(Channel.DOSE_RATE, value, "µSv/h", quantity, flags, raw=raw)


def published(*readings, lost=False, folded=False):
    return reserved(Measured("d", AT, AT, readings), lost=lost, folded=folded).readings


def test_lost_counts_stand_for_no_zero():
    counts, dose_rate, neutrons = published(COUNTS, rate(0.0), NEUTRONS, lost=True)
    assert (counts.value, counts.flags) == (0, (Flag.LOSS_OF_COUNTS,))
    assert (dose_rate.value, dose_rate.flags) == (None, (Flag.LOSS_OF_COUNTS,))
    assert dose_rate.raw == "0.0 µSv/h"
    assert neutrons == NEUTRONS


def test_what_is_not_zero_keeps_its_number_and_its_own_digits():
    """A filter that runs out, or another tube: never less than the instrument says."""
    (dose_rate,) = published(rate(0.02, raw="2 µR/h"), lost=True)
    assert (dose_rate.value, dose_rate.raw) == (0.02, "2 µR/h")
    assert dose_rate.flags == (Flag.LOSS_OF_COUNTS,)
    (zero,) = published(rate(0.0, raw="0 µR/h"), lost=True)
    assert (zero.value, zero.raw) == (None, "0 µR/h")


def test_the_high_range_tube_is_another_one():
    high = rate(0.0, Flag.HIGH_RANGE_DETECTOR)
    assert published(high, lost=True, folded=True) == (high,)


@pytest.mark.parametrize("flags", [(), (Flag.SUSPECT_FOLD_OVER,)])
def test_a_suspected_fold_over_is_flagged_once_and_keeps_its_number(flags):
    (dose_rate,) = published(rate(4.5, *flags), folded=True)
    assert (dose_rate.value, dose_rate.flags) == (4.5, (Flag.SUSPECT_FOLD_OVER,))
