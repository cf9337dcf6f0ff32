"""When labels of the wall clock are in doubt."""

import pytest

from gateway.labels import DOUBTFUL_S, Labels
from gateway.values import Instant

STARTED = Instant(1.7e9, 1000.0)


def later(seconds, step_s=0.0):
    return Instant(STARTED.wall + seconds + step_s, STARTED.mono + seconds)


@pytest.mark.parametrize("step_s", [3600.0, -7200.0, 0.6])
def test_a_step_puts_them_in_doubt_for_a_while(step_s):
    labels = Labels(STARTED)
    assert not labels.look(later(1))
    assert labels.look(later(2, step_s))
    assert labels.look(later(2 + DOUBTFUL_S - 1, step_s))
    assert not labels.look(later(2 + DOUBTFUL_S, step_s))
    assert not labels.look(later(2 + DOUBTFUL_S + 1, step_s))


def test_another_step_begins_the_time_anew():
    labels = Labels(STARTED)
    assert labels.look(later(2, 3600))
    assert labels.look(later(500, -3600))
    assert labels.look(later(500 + DOUBTFUL_S - 1, -3600))


def test_a_clock_that_is_slewed_is_not_stepped():
    """500 ppm, what the kernel does at most, for an hour: 1.8 s in all."""
    labels = Labels(STARTED)
    assert not any(labels.look(later(second, 5e-4 * second)) for second in range(3600))
