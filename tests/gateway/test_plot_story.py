"""What the messages tell a picture: made by hand, so that each number is known."""

from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.plot.choice import (
    Room,
    Scale,
    axes,
    choose,
    levels_drawn,
    packed,
    runs,
    scale_of,
    thinned,
)
from gateway.plot.clock import Clock
from gateway.plot.places import metres, plan_of
from gateway.plot.story import BadMessage, story_of
from gateway.plot.summary import exercise_note, left_out
from gateway.plot.values import Globe, Mark, Place, Point, Shown, Stage, Threshold, Way
from simulators.motion import globe

NOON = datetime(2026, 5, 2, 12, tzinfo=UTC).timestamp()
ROOM = Room(height=6.0, width=7.0, axis=1.0, row=0.25, head=0.25)


def at(second: float) -> str:
    return datetime.fromtimestamp(NOON + second, UTC).isoformat(timespec="milliseconds")


def reading(channel: str, value: float | None, unit: str, **more: Any) -> dict[str, Any]:
    usual = {"flags": [], "lower_bound": None, "window_s": None, "part": ""}
    return {"channel": channel, "value": value, "unit": unit, **usual, **more}


def dose(value: float | None, **more: Any) -> dict[str, Any]:
    return reading("dose_rate", value, "µSv/h", **more)


def sample(second: float, *readings: dict[str, Any], **more: Any) -> dict[str, Any]:
    usual = {"kind": "sample", "detector": "hh-1", "time": at(second), "flags": []}
    return {**usual, "position": None, "readings": list(readings), **more}


def event(second: float, name: str, **more: Any) -> dict[str, Any]:
    usual = {
        "kind": "alarm_event",
        "event": name,
        "time": at(second),
        "occurrence": "a1",
        "detector": "hh-1",
        "class": "PRD",
        "post": "gate",
        "alarm": "dose_rate",
        "rule": {"id": "absolute_level", "parameters": {"level": "R3", "raise_usv_h": 0.5}},
        "level": "R3",
        "priority": 3,
        "value": 0.6,
        "unit": "µSv/h",
        "raised": at(min(second, 10)),
        "returned": None,
        "closed_at": None,
        "members": [],
        "position": None,
        "suppressed_by": None,
        "shelved": False,
        "out_of_service": False,
        "exercise": False,
    }
    return {**usual, **more}


def the(messages: list[dict[str, Any]], **span: float) -> Any:
    (detector,) = story_of(messages, **span).detectors
    return detector


def values(series: Any) -> list[float | None]:
    return [point.value for point in series.points]


def test_readings_are_kept_as_they_came_and_counts_of_a_known_time_are_a_rate():
    detector = the(
        [
            sample(0, dose(0.1), reading("gamma_counts", 5, "count", window_s=0.25)),
            sample(1, dose(0.2), reading("neutron_counts", 3, "count")),
        ]
    )
    (rate,), (gamma,), (neutron,) = (detector.of(shown) for shown in Shown)
    assert [(point.time - NOON, point.value) for point in rate.points] == [(0, 0.1), (1, 0.2)]
    assert (gamma.unit, values(gamma)) == ("1/s", [20.0])
    assert (neutron.unit, values(neutron)) == ("count", [3.0])


def test_a_missing_number_breaks_the_line_and_is_not_filled_in():
    numbers = [0.1, 0.2, None, 0.4, 0.5]
    detector = the([sample(second, dose(value)) for second, value in enumerate(numbers)])
    (series,) = detector.of(Shown.DOSE_RATE)
    assert values(series) == numbers
    assert [[point.value for point in run] for run in runs(series.points)] == [
        [0.1, 0.2],
        [0.4, 0.5],
    ]


def test_a_pause_and_a_clock_set_back_break_the_line():
    points = [Point(float(t), 1.0) for t in (0, 1, 2, 3, 4, 20, 21, 22, 10, 11)]
    assert [run[0].time for run in runs(points)] == [0, 20, 10]


def test_over_range_is_a_bound_and_no_value():
    detector = the([sample(0, dose(None, flags=["over_range"], lower_bound=10_000.0))])
    (series,) = detector.of(Shown.DOSE_RATE)
    assert series.points == (Point(NOON, None, 10_000.0),)
    assert runs(series.points) == []


def test_the_life_of_an_alarm():
    (alarm,) = the(
        [
            event(10, "raised"),
            event(20, "escalated", level="R4", priority=2, value=25.0),
            event(30, "acknowledged", level="R4", priority=2),
            event(35, "stale", level="R4", priority=2),
            event(40, "fresh", level="R4", priority=2),
            event(50, "returned", level="R4", priority=2, returned=at(50)),
            event(60, "closed", level="R4", priority=2, returned=at(50), closed_at=at(60)),
        ]
    ).alarms
    assert (alarm.level, alarm.priority, alarm.is_hidden) == ("R4", 2, False)
    assert [alarm.raised - NOON, alarm.returned - NOON, alarm.closed - NOON] == [10, 50, 60]
    assert [(each.event, each.level) for each in alarm.history[:3]] == [
        ("raised", "R3"),
        ("escalated", "R4"),
        ("acknowledged", "R4"),
    ]
    assert alarm.stale == ((NOON + 35, NOON + 40),)


@pytest.mark.parametrize("why", [{"suppressed_by": "a2"}, {"shelved": True}])
def test_what_is_off_the_list_is_hidden(why: dict[str, Any]):
    (alarm,) = the([event(10, "raised"), event(11, "suppressed", **why)]).alarms
    assert alarm.is_hidden


def test_levels_come_from_what_the_gateway_tells_of_a_detector_and_from_alarms():
    about = {"kind": "about", "detector": "hh-1", "class": "PRD", "post": None}
    told = the([{**about, "thresholds": {"R4": 20.0, "R3": 0.5}}, sample(0, dose(0.1))])
    assert told.thresholds == (Threshold("R3", 0.5), Threshold("R4", 20.0))
    learnt = the([event(10, "raised")])
    assert learnt.thresholds == (Threshold("R3", 0.5),)


def test_silence_is_a_long_time_without_any_sample():
    seconds = [*range(20), *range(50, 70)]
    detector = the([sample(second, dose(0.1)) for second in seconds])
    assert detector.silences == ((NOON + 19, NOON + 50),)


def test_a_detector_is_silent_before_its_first_sample_and_after_its_last():
    other = sample(100, dose(0.1), detector="hh-2")
    told = story_of([*(sample(second, dose(0.1)) for second in range(20)), other])
    early, late = told.detectors
    assert early.silences == ((NOON + 19, NOON + 100),)
    assert late.silences == ((NOON, NOON + 100),)


def test_states_follow_each_other_and_new_reasons_are_the_same_state():
    def state(name: str, since: float, *reasons: str) -> dict[str, Any]:
        usual = {"kind": "state", "detector": "hh-1", "state": name}
        return {**usual, "reasons": list(reasons), "since": at(since)}

    detector = the(
        [
            sample(0, dose(0.1)),
            state("ok", 0),
            state("stale", 5, "unplugged"),
            state("stale", 5, "no valid frame"),
            state("ok", 9),
            sample(10, dose(0.1)),
        ]
    )
    assert [(s.state, s.begin - NOON, s.end and s.end - NOON) for s in detector.states] == [
        ("ok", 0, 5),
        ("stale", 5, 9),
        ("ok", 9, None),
    ]
    assert detector.states[1].reasons == ("no valid frame",)


def test_a_piece_of_time_keeps_the_alarm_that_began_before_it():
    messages = [
        *(sample(second, dose(0.1)) for second in range(40)),
        event(10, "raised"),
        event(30, "returned", returned=at(30)),
    ]
    detector = the(messages, begin=NOON + 20, end=NOON + 25)
    assert len(detector.series[0].points) == 6
    assert [alarm.raised - NOON for alarm in detector.alarms] == [10]
    closed = event(15, "closed", returned=at(12), closed_at=at(15))
    assert the([*messages[:40], closed], begin=NOON + 20, end=NOON + 25).alarms == ()


def test_group_alarms_belong_to_no_detector():
    told = story_of([sample(0, dose(0.1)), event(5, "raised", detector="@area", members=["hh-1"])])
    assert ([each.id for each in told.detectors], len(told.groups)) == (["hh-1"], 1)


def test_other_messages_and_undated_samples_are_passed_over():
    told = story_of([{"kind": "watch"}, sample(0, dose(0.1), time=None), sample(1, dose(0.1))])
    assert (told.passed_over, len(told.detectors[0].series[0].points)) == (2, 1)


def test_a_message_that_breaks_the_contract_is_named():
    broken = sample(0, dose(0.1))
    del broken["readings"]
    with pytest.raises(BadMessage, match=r"sample.*'readings' is missing"):
        story_of([broken])
    with pytest.raises(BadMessage, match="alarm_event"):
        story_of([event(0, "raised", raised="soon")])


def test_the_gravest_detector_comes_first_and_the_rest_is_summed_up():
    messages = []
    for number in range(1, 13):
        messages.append(sample(0, dose(0.1), detector=f"prd-{number}"))
        messages.append(sample(1, dose(0.1), detector=f"prd-{number}"))
    messages.append(event(1, "raised", detector="prd-9", occurrence="b", priority=3))
    messages.append(event(1, "raised", detector="prd-4", occurrence="c", priority=1, level="R5"))
    told = story_of(messages)
    chosen = choose(told, ROOM)
    names = [block.detector.id for block in chosen.blocks]
    assert names[:4] == ["prd-4", "prd-9", "prd-1", "prd-2"]
    assert len(names) < 12
    assert len(names) + len(chosen.left_out) == 12
    (said,) = left_out(chosen, told, plan_of(told, Stage()))
    assert f"{len(names)} of 12 detectors" in said
    assert "prd-12 0.1" in said


def test_what_the_gravest_alarm_is_about_comes_first():
    counts = [
        reading("gamma_counts", 5, "count", window_s=1.0),
        reading("neutron_counts", 3, "count", window_s=1.0),
    ]
    quiet = the([sample(0, *counts)])
    assert axes(quiet) == (Shown.GAMMA, Shown.NEUTRON)
    alarmed = the([sample(0, *counts), event(0, "raised", alarm="neutron_rise", level="N1")])
    assert axes(alarmed) == (Shown.NEUTRON, Shown.GAMMA)


def test_axes_that_have_no_room_are_told():
    both = [dose(0.1), reading("gamma_counts", 5, "count", window_s=1.0)]
    messages = [sample(0, *both, detector=f"prd-{number}") for number in range(1, 4)]
    chosen = choose(story_of(messages), Room(4.8, 7.0, 1.0, 0.25, 0.25))
    assert [block.shown for block in chosen.blocks] == [
        (Shown.DOSE_RATE, Shown.GAMMA),
        (Shown.DOSE_RATE,),
        (Shown.DOSE_RATE,),
    ]
    assert chosen.axes_left_out == (("prd-2", Shown.GAMMA), ("prd-3", Shown.GAMMA))


def test_a_long_series_keeps_its_peak_and_only_real_points():
    points = [Point(float(t), 0.1 if t != 777 else 9.0) for t in range(5000)]
    kept = thinned(points, 0.0, 5000.0, 100)
    assert len(kept) <= 110
    assert Point(777.0, 9.0) in kept
    assert set(kept) <= set(points)


@pytest.mark.parametrize(
    ("numbers", "scale"),
    [
        ([1.0, 2.0, 20.0], Scale.LINEAR),
        ([0.1, 200.0], Scale.LOG),
        ([0.0, 0.1, 200.0], Scale.SYMLOG),
        ([0.0, 0.0], Scale.LINEAR),
        ([], Scale.LINEAR),
    ],
)
def test_a_wide_range_is_drawn_logarithmically(numbers: list[float], scale: Scale):
    assert scale_of(numbers) is scale


@pytest.mark.parametrize(("greatest", "count"), [(0.1, 1), (0.6, 1), (3.0, 2), (120.0, 3)])
def test_levels_far_above_the_readings_are_not_drawn(greatest: float, count: int):
    assert levels_drawn([0.1, greatest], [0.5, 20.0, 100.0, 100_000.0]) == count


def test_marks_at_one_time_stand_in_rows():
    told = story_of([sample(second, dose(0.1)) for second in range(100)])
    marks = [Mark(NOON + second, "unplug") for second in (10, 11, 60)]
    rows = packed(told, marks, 7.0)
    assert [[mark.time - NOON for mark in row] for row in rows] == [[10, 60], [11]]
    crowd = [Mark(NOON + second, "unplug") for second in range(10, 20)]
    assert sum(len(row) for row in packed(told, crowd, 7.0)) == 10


def test_metres_are_those_of_the_simulated_world():
    origin = Globe(52.5146, 13.2394)
    there = globe(tuple(origin), (120.0, -80.0, 0.0))
    x, y = metres(origin, Globe(there.latitude, there.longitude))
    assert (x, y) == (pytest.approx(120.0, abs=1e-3), pytest.approx(-80.0, abs=1e-3))


def test_an_alarm_is_where_it_was_raised_or_nowhere():
    stands = Way("hh-1", (NOON, NOON + 20), (Place(0.0, 0.0), Place(40.0, 0.0)))
    told = story_of([sample(0, dose(0.1)), event(10, "raised")])
    plan = plan_of(told, Stage(detectors=(stands,)))
    assert [(each.at, each.grade) for each in plan.alarms] == [(Place(20.0, 0.0), "R3")]
    nowhere = plan_of(told, Stage())
    assert (nowhere.alarms, nowhere.unplaced) == ((), 1)


def test_a_way_is_made_of_an_instruments_own_positions():
    def position(latitude: float) -> dict[str, float]:
        return {"latitude": latitude, "longitude": 13.0}

    told = story_of(
        [
            sample(0, dose(0.1), position=position(52.0)),
            sample(1, dose(0.1)),
            sample(2, dose(0.1), position=position(52.001)),
            event(2, "raised", raised=at(2), position=position(52.001)),
        ]
    )
    plan = plan_of(told, Stage())
    (way,) = plan.detectors
    assert way.times == (NOON, NOON + 2)
    assert way.places[0] == (0.0, 0.0)
    assert way.places[1].y == pytest.approx(111.3, abs=0.1)
    assert plan.alarms[0].at == way.places[1]


def test_whatever_is_simulated_is_called_an_exercise():
    live = sample(0, dose(0.1))
    played = sample(0, dose(0.1), detector="hh-2", flags=["simulated"])
    assert exercise_note(story_of([live]), Stage()) == ""
    assert exercise_note(story_of([live, played]), Stage()) == "EXERCISE in part: hh-2 simulated"
    assert exercise_note(story_of([played]), Stage()) == "EXERCISE: simulated data"
    assert exercise_note(story_of([live]), Stage(is_simulated=True)) == "EXERCISE: simulated data"


def test_the_time_axis_is_utc_with_seconds_of_play():
    clock = Clock(NOON, NOON + 300, NOON - 10)
    assert clock.labels()[:2] == ["12:00\n10 s", "12:01\n70 s"]
    assert clock.ticks() == [0, 60, 120, 180, 240, 300]
    assert "UTC" in clock.name()
    assert clock.range_text() == "2026-05-02 12:00:00 to 12:05:00 UTC"
    assert Clock(NOON, NOON + 3 * 86_400).labels()[0] == "05-02 12:00"


def test_what_a_drill_lays_over_a_detector_stands_beside_it():
    story = story_of(
        [
            sample(0, dose(0.1), lane="samples"),
            sample(1, dose(0.1), lane="samples"),
            sample(1, dose(3.0), lane="exercise-samples"),
            sample(0, dose(0.2), lane="exercise-samples", detector="only-ghost"),
        ]
    )
    found = {each.id: each for each in story.detectors}
    assert set(found) == {"hh-1", "hh-1 EXERCISE", "only-ghost"}
    assert "3.0" not in repr(found["hh-1"])
    assert "3.0" in repr(found["hh-1 EXERCISE"])
