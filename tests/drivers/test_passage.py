"""The passage tracker, call by call."""

import pytest

from drivers.api import Passage, PassageFlag
from drivers.codec.passage import PassageTracker, Rhythm

RHYTHM = Rhythm(0.2, window=5, buffered=5, gamma_basis="5x200ms", neutron_basis="1s")


@pytest.fixture
def lane() -> PassageTracker:
    """A lane that has told its background."""
    tracker = PassageTracker(RHYTHM)
    tracker.vacant("NB")
    tracker.vacant("GB")
    tracker.background(1600)
    return tracker


def occupy(lane: PassageTracker, *totals: int) -> None:
    lane.neutron(3, alarm=False)
    for total in totals:
        lane.gamma(total, alarm=False)


def test_a_whole_passage(lane: PassageTracker) -> None:
    lane.speed(1.5)
    occupy(lane, *[300] * 5, 310, 320, 300)
    lane.neutron(7, alarm=False)
    lane.gamma(280, alarm=True)
    lane.gamma(290, alarm=False)
    assert lane.end(12, 2.466) == Passage(
        12,
        start_age_s=1.0,
        end_age_s=0.0,
        gamma_alarm=True,
        neutron_alarm=False,
        gamma_max=1530,
        gamma_max_basis="5x200ms",
        neutron_max=7,
        neutron_max_basis="1s",
        gamma_background=1600,
        neutron_background=2.466,
        speed_m_s=1.5,
    )


def test_buffered_intervals_are_dated_back(lane: PassageTracker) -> None:
    ages = [lane.gamma(300, alarm=False).age_s for _ in range(8)]
    assert ages == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2, 0, 0, 0])


def test_without_a_seen_start_nothing_is_dated_back() -> None:
    lane = PassageTracker(RHYTHM)
    assert [lane.gamma(300, alarm=False).age_s for _ in range(6)] == [0] * 6
    passage = lane.end(5, 2.0)
    assert passage.flags == (PassageFlag.START_MISSED, PassageFlag.NEUTRON_MISSING)
    assert passage.start_age_s is None
    assert passage.gamma_max == 1500


def test_the_first_interval_joins_nothing(lane: PassageTracker) -> None:
    assert [lane.gamma(300, alarm=False).independent for _ in range(4)] == [False, True, True, True]
    assert [lane.neutron(3, alarm=False) for _ in range(3)] == [False, True, True]


def test_buffered_intervals_of_a_close_follower_may_repeat_the_one_before(
    lane: PassageTracker,
) -> None:
    occupy(lane, *[300] * 10)
    lane.end(1, 2.0)
    assert [lane.gamma(300, alarm=False).independent for _ in range(7)] == [False] * 5 + [True] * 2
    assert lane.end(2, 2.0).gamma_background == 1600


def test_a_lost_line_breaks_the_sum_of_five(lane: PassageTracker) -> None:
    occupy(lane, *[300] * 5)
    for _ in range(4):
        lane.gamma(900, alarm=False)
    lane.lost(interval=True)
    assert not lane.gamma(900, alarm=False).independent
    assert lane.gamma(900, alarm=False).independent
    passage = lane.end(1, 2.0)
    assert passage.gamma_max == 4 * 900 + 300
    assert passage.start_age_s == pytest.approx(7 * 0.2)


@pytest.mark.parametrize("intervals", [8, 60])
def test_a_vacant_line_while_occupied_means_the_end_was_missed(
    lane: PassageTracker, intervals: int
) -> None:
    occupy(lane, *[300] * intervals)
    passage = lane.vacant("NB")
    assert passage is not None
    assert passage.number is None
    assert passage.start_age_s is None
    assert passage.end_age_s is None
    assert passage.gamma_max == 1500
    assert passage.neutron_background is None
    assert passage.flags == (PassageFlag.END_MISSED,)
    assert lane.occupied is False
    assert lane.vacant("GB") is None


@pytest.mark.parametrize("intervals", [0, 6])
def test_a_vacant_pair_in_the_very_start_splits_nothing(
    lane: PassageTracker, intervals: int
) -> None:
    occupy(lane, *[300] * intervals)
    assert lane.vacant("NB") is None
    assert lane.vacant("GB") is None
    lane.background(9999)
    assert lane.occupied
    for _ in range(10):
        lane.gamma(300, alarm=False)
    passage = lane.end(1, 2.0)
    assert passage.start_age_s == pytest.approx((intervals + 5) * 0.2)
    assert passage.gamma_background == 1600
    assert not passage.flags


def test_a_second_vacant_pair_ends_even_a_short_one(lane: PassageTracker) -> None:
    lane.neutron(3, alarm=True)
    assert lane.vacant("NB") is None
    assert lane.vacant("GB") is None
    passage = lane.vacant("NB")
    assert passage is not None
    assert passage.neutron_alarm
    assert passage.gamma_max is None


def test_speed_alone_opens_nothing_and_is_forgotten(lane: PassageTracker) -> None:
    lane.speed(7.4)
    assert lane.occupied is False
    assert lane.vacant("NB") is None
    occupy(lane, *[300] * 10)
    assert lane.end(1, 2.0).speed_m_s is None


def test_the_last_speed_on_the_scale_counts(lane: PassageTracker) -> None:
    lane.speed(1.5)
    occupy(lane, *[300] * 10)
    lane.speed(1.6)
    lane.speed(None)
    passage = lane.end(1, 2.0)
    assert passage.speed_m_s == 1.6
    assert passage.flags == (PassageFlag.SPEED_CLAMPED,)
    occupy(lane, *[300] * 10)
    assert lane.end(2, 2.0).speed_m_s is None


def test_an_end_without_counts(lane: PassageTracker) -> None:
    passage = lane.end(9, 2.1)
    assert passage.number == 9
    assert passage.start_age_s is None
    assert passage.gamma_max is None
    assert passage.flags == (PassageFlag.START_MISSED, PassageFlag.NEUTRON_MISSING)


def test_missing_neutrons(lane: PassageTracker) -> None:
    for _ in range(10):
        lane.gamma(300, alarm=False)
    passage = lane.end(1, 2.0)
    assert passage.neutron_max is None
    assert passage.flags == (PassageFlag.NEUTRON_MISSING,)


def test_fewer_than_five_intervals_have_no_sum(lane: PassageTracker) -> None:
    occupy(lane, 300, 300, 300, 300)
    assert lane.end(1, 2.0).gamma_max is None


def test_the_counter_restarts(lane: PassageTracker) -> None:
    flags = []
    for number in (676, 677, 1, 2):
        occupy(lane, *[300] * 10)
        flags.append(lane.end(number, 2.0).flags)
    assert flags == [(), (), (PassageFlag.COUNTER_RESTARTED,), ()]


def test_an_interruption_closes_and_forgets(lane: PassageTracker) -> None:
    occupy(lane, *[300] * 10)
    lane.gamma(900, alarm=True)
    lane.interrupted()
    passage = lane.resumed()
    assert passage is not None
    assert passage.gamma_alarm
    assert passage.flags == (PassageFlag.END_MISSED,)
    assert passage.start_age_s is None
    assert lane.occupied is None
    assert lane.resumed() is None
    occupy(lane, *[300] * 10)
    rest = lane.end(3, 2.0)
    assert rest.flags == (PassageFlag.START_MISSED,)
    assert rest.gamma_background is None


def test_an_interruption_while_vacant_tells_nothing(lane: PassageTracker) -> None:
    lane.interrupted()
    assert lane.resumed() is None
    assert lane.occupied is None
