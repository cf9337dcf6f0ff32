"""What happens around alarms: clocks, crashes, floods, operators who cross, shelves, exercises."""

import math
from datetime import datetime
from pathlib import Path

import pytest

from config.scenario import examine_scenario
from gateway.alarms.statistics import binomial_tail
from gateway.values import Lane


def wall(text):
    """An ISO time in Unix seconds."""
    return datetime.fromisoformat(text).timestamp()


def story(played, alarm, **having):
    """Moment, name and body of the events of one alarm object."""
    return [
        (told.at_s, body["event"], body)
        for told, body in zip(played.told, played.events, strict=True)
        if body["alarm"] == alarm and all(body[key] == it for key, it in having.items())
    ]


# DT-51. The wall clock jumps.


@pytest.fixture(scope="module")
def stepped(play):
    return play("dt-51-clock-step.toml", kinds=("sample",))


def test_durations_do_not_follow_the_wall_clock(stepped):
    assert stepped.failed == []
    told = [(at_s, event) for at_s, event, _ in story(stepped, "dose_rate")]
    assert told == [
        (31.0, "raised"),
        (40.0, "shelved"),
        (71.0, "returned"),  # the first valid reading at 61, and ten seconds
        (160.0, "unshelved"),
        (180.0, "acknowledged"),
        (180.0, "closed"),
    ]
    assert stepped.raised() == {"dose_rate": 1}
    ((_, _, last),) = story(stepped, "dose_rate", event="closed")
    assert last["lasted"] == pytest.approx(29.0)


def test_what_is_told_keeps_its_order_and_its_labels_are_in_doubt(stepped):
    """Revisions rise through the jump, while the labels go back by an hour in all."""
    events = [body for _, _, body in story(stepped, "dose_rate")]
    revisions = [body["revision"] for body in events]
    assert revisions == sorted(set(revisions))
    before, after = events[:2], events[2:]
    assert wall(after[0]["time"]) < wall(before[0]["time"])
    assert not any("time_unsynchronised" in body["flags"] for body in before)
    assert all("time_unsynchronised" in body["flags"] for body in after)
    doubtful = ["time_unsynchronised" in body["flags"] for body in stepped.kept["sample"]]
    assert doubtful == [False] * 63 + [True] * 137


# DT-52. Killed.


@pytest.fixture(scope="module")
def killed(play):
    return play("dt-52-power-loss.toml")


def test_a_kill_leaves_one_occurrence(killed):
    assert killed.failed == []
    assert killed.raised() == {"dose_rate": 1}
    assert len({body["occurrence"] for body in killed.events}) == 1
    assert killed.records() == []


def test_what_is_not_acknowledged_is_announced_again_and_nothing_else(killed):
    told = [(at_s, event) for at_s, event, _ in story(killed, "dose_rate")]
    assert told == [
        (20.5, "raised"),
        (24.55, "stale"),
        (24.55, "re_alarmed"),
        (25.0, "fresh"),
        (40.0, "acknowledged"),
        (44.01, "stale"),
        (44.5, "fresh"),
        (70.5, "returned"),
        (70.5, "closed"),
    ]
    after = [body for at_s, _, body in story(killed, "dose_rate") if at_s >= 40]
    assert {(body["acknowledged"], body["acknowledged_by"]) for body in after} == {
        (True, "operator")
    }


# DT-54. A flood.


@pytest.fixture(scope="module")
def flood(play):
    return play("dt-54-flood.toml")


def test_the_computed_reach_of_the_source():
    """1 TBq of Ir-192, 139 µSv·m²/(h·GBq): the distances of the levels."""
    reach = [math.sqrt(139 * 1000 / level) for level in (0.5, 20, 100)]
    assert [round(each) for each in reach] == [527, 83, 37]


def test_nobody_of_sixty_is_dropped_or_late(flood):
    """Eleven stand within 83 m, five within 37: each is told with its own worst level."""
    assert flood.failed == []
    found = flood.find(alarm="dose_rate")
    assert {at_s for at_s, _ in found} == {121.0}
    assert len({body["detector"] for _, body in found}) == 60
    levels = [body["level"] for _, body in found]
    assert [levels.count(name) for name in ("R3", "R4", "R5")] == [49, 6, 5]
    assert [body["priority"] for _, body in found].count(1) == 5
    assert not any(body["suppressed_by"] for _, body in found)


def test_one_incident_is_suggested_for_all(flood):
    linked = flood.find("incident", alarm="dose_rate")
    assert {at_s for at_s, _ in linked} == {121.0}
    assert len({body["detector"] for _, body in linked}) == 60
    assert len({body["incident"] for _, body in linked}) == 1
    # A suggestion: every alarm stays one of its own.
    records = [record for record in flood.records() if record.alarm == "dose_rate"]
    assert len(records) == 60
    assert len({record.occurrence for record in records}) == 60


def test_a_flood_is_a_flood(flood):
    """Ten alarms in ten minutes for one operator; what others say already does not count."""
    figures = flood.play.figures()
    assert (figures.flood, figures.floods) == (True, 1)
    assert figures.per_operator == 60
    assert dict(figures.by_priority) == {1: 5, 2: 6, 3: 49}
    assert figures.chattering == ()


def test_all_of_a_flood_return_and_wait_for_somebody(flood):
    assert set(flood.moments("returned", alarm="dose_rate")) == {191.0}
    assert not any(record.acknowledged for record in flood.records())


# DT-55. Acknowledgements that cross.


@pytest.fixture(scope="module")
def crossed(play):
    return play("dt-55-acknowledge-races.toml")


def test_a_late_acknowledgement_is_refused_and_changes_nothing(crossed):
    assert crossed.failed == []
    late, *_ = (answer for _, answer in crossed.play.answers)
    assert not late.accepted
    assert "stale" in late.reason
    first, second = (body["occurrence"] for _, body in crossed.find(alarm="dose_rate"))
    assert story(crossed, "dose_rate", occurrence=first, event="acknowledged") == []
    until = [body for at_s, _, body in story(crossed, "dose_rate", occurrence=second) if at_s < 60]
    assert [(body["event"], body["acknowledged"]) for body in until] == [("raised", False)]
    assert until[0]["previous"] == first


def test_of_two_at_once_the_first_has_it_and_both_are_recorded(crossed):
    told = [body for _, body in crossed.find("acknowledged")]
    assert [body["actor"] for body in told] == ["anna", "berta"]
    assert [body["acknowledged_by"] for body in told] == ["anna", "anna"]
    assert told[1]["note"] == "already acknowledged by anna"
    assert told[0]["revision"] == told[1]["revision"]


# DT-56. Shelves, mutes, thresholds.


@pytest.fixture(scope="module")
def shelved(play):
    return play("dt-56-shelving.toml")


def test_a_shelved_level_is_hidden_and_told(shelved):
    assert shelved.failed == []
    for at_s in (61.0, 401.0):
        ((body,),) = ([b for at, b in shelved.find(alarm="dose_rate") if at == at_s],)
        assert (body["level"], body["shelved"], body["display"]) == ("R3", True, "G")


def test_a_worse_level_than_the_shelved_one_shows_at_once(shelved):
    ((at_s, body),) = shelved.find("escalated")
    assert at_s == 301.0
    assert (body["level"], body["shelved"], body["display"]) == ("R4", False, "B")


def test_a_shelf_ends_by_itself_in_its_own_time(shelved):
    """Ten minutes of the monotonic clock, through a step of the other one."""
    ((at_s, body),) = shelved.find("unshelved", alarm="dose_rate")
    assert at_s == 620.0
    assert (body["shelved"], body["display"], body["active"]) == (False, "B", True)


def test_what_is_priority_1_is_shelved_for_five_minutes_at_most(shelved):
    (refused,) = (answer for event, answer in shelved.play.answers if event.at_s == 21)
    assert not refused.accepted
    assert "5 min" in refused.reason


def test_a_mute_ends_with_its_alarm(shelved):
    """It would have lasted ten minutes; the next alarm sounds."""
    assert shelved.moments("silenced") == [700.0]
    ((at_s, body),) = [(at, b) for at, b in shelved.find("returned", alarm="dose_rate") if at > 700]
    assert at_s == 731.0
    assert not body["silenced"]
    *_, (at_s, body) = shelved.find(alarm="dose_rate")
    assert at_s == 801.0
    assert not body["silenced"]


LEVELS = """
[scenario]
name = "levels"
duration_s = 10

[[detector]]
id = "area-1"
archetype = "AREA"
at = {{ x = 0, y = 0 }}
range_top = "10 mSv/h"
levels = {{ {level} = {{ raise = "{dose_rate}" }} }}
"""


@pytest.mark.parametrize(
    ("level", "dose_rate", "is_reached"),
    [("R6", "9 mSv/h", True), ("R6", "20 mSv/h", False), ("R7", "200 mSv/h", False)],
)
def test_no_threshold_lies_outside_the_range(tmp_path: Path, level, dose_rate, is_reached):
    """IEC 62363: an alarm is not disabled by a threshold that nothing can reach."""
    path = tmp_path / "levels.toml"
    path.write_text(LEVELS.format(level=level, dose_rate=dose_rate), encoding="utf-8")
    examination = examine_scenario(path)
    said = " ".join(problem.message for problem in examination.problems)
    assert (examination.scenario is not None) is is_reached
    assert ("it could never be reached" in said) is not is_reached


# DT-58. An exercise beside the real thing.


@pytest.fixture(scope="module")
def exercise(play):
    return play("dt-58-exercise.toml")


def test_live_and_exercise_never_share_a_lane(exercise):
    assert exercise.failed == []
    for body, lane in zip(exercise.events, exercise.lanes, strict=True):
        is_mock = body["detector"] == "mock-1"
        assert lane is (Lane.EXERCISE_ALARMS if is_mock else Lane.ALARMS)
        assert (body["exercise"], "simulated" in body["flags"]) == (is_mock, is_mock)


def test_a_live_detector_is_raised_in_the_same_second_as_ever(exercise):
    ((at_s, body),) = exercise.find(detector="live-1", alarm="dose_rate")
    assert at_s == 61.0
    assert (body["level"], body["priority"], body["exercise"]) == ("R5", 1, False)
    ((at_s, body),) = exercise.find(detector="mock-1", alarm="dose_rate")
    assert (at_s, body["level"], body["exercise"]) == (61.0, "R7", True)
    assert {body["incident"] for body in exercise.events} == {None}


def test_the_end_of_the_exercise_ends_the_exercise_alone(exercise):
    """Nothing of it comes back, a dose neither: nobody has received it."""
    assert set(exercise.moments("closed", detector="mock-1")) == {85.0}
    assert [at_s for at_s in exercise.moments(detector="mock-1") if at_s > 85] == []
    (record,) = exercise.records()
    assert (record.detector, record.active, record.exercise) == ("live-1", True, False)


# DT-60. The arithmetic of passing and failing.


def among(successes, trials, chance):
    """The probability of a number of successes in a range."""
    return math.fsum(
        math.comb(trials, k) * chance**k * (1 - chance) ** (trials - k) for k in successes
    )


def at_least(successes, trials, chance):
    """The probability of so many successes or more."""
    return among(range(successes, trials + 1), trials, chance)


def lower_bound(successes, trials, confidence=0.95):
    """The least chance that so many successes leave possible (Clopper-Pearson, one-sided)."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if at_least(successes, trials, middle) < 1 - confidence:
            low = middle
        else:
            high = middle
    return low


@pytest.mark.parametrize(
    ("successes", "tail", "is_accepted"), [(15, 0.0207, True), (14, 0.0577, False)]
)
def test_of_twenty_passes(successes, tail, is_accepted):
    """15 of 20 show a chance of one half at 95 %, 14 do not (Burr and Gavron 2012)."""
    assert at_least(successes, 20, 0.5) == pytest.approx(tail, abs=5e-5)
    assert binomial_tail(successes, 20 - successes, 0.5) == pytest.approx(tail, abs=5e-5)
    assert (at_least(successes, 20, 0.5) <= 0.05) is is_accepted


@pytest.mark.parametrize(("successes", "bound"), [(59, 0.923), (60, 0.951)])
def test_of_sixty_passes(successes, bound):
    assert lower_bound(successes, 60) == pytest.approx(bound, abs=5e-4)


@pytest.mark.parametrize(("alarms", "occupancies"), [(0, 2995), (1, 4742), (2, 6294), (3, 7752)])
def test_occupancies_that_show_less_than_one_in_a_thousand(alarms, occupancies):
    def at_most(trials):
        return among(range(alarms + 1), trials, 1e-3)

    assert at_most(occupancies) <= 0.05 < at_most(occupancies - 1)
