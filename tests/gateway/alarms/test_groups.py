"""Alarms of several detectors together: common silences, and rises over the whole area."""

import pytest

from gateway.alarms.profiles import DetectorProfile
from gateway.alarms.watcher import Trend

BUS, POST = "@link/bus-1", "@post/gate-a"


def on_bus(*names, **more):
    return [DetectorProfile(name, link="bus-1", **more) for name in names]


@pytest.fixture
def bus(fleet):
    """Four detectors of one link that speak."""
    bench = fleet(*on_bus("a", "b", "c", "d"))
    bench.wait(3)
    return bench


def silent(bench, *names):
    bench.speaking.difference_update(names)


def group(bench, name=BUS):
    return bench.find("silence", name)


def hidden(bench, *names):
    found = [bench.find("silence", name) for name in names]
    return [one is not None and bool(one.suppressed_by) for one in found]


def test_what_falls_silent_together_is_one_alarm(bus):
    silent(bus, "a", "b", "c")
    bus.wait(3)
    record = group(bus)
    assert (record.members, record.priority, record.level) == (("a", "b", "c"), 3, "H1")
    assert not record.is_radiation
    assert bus.events("silence", BUS) == ["raised"]
    for name in "abc":
        single = bus.find("silence", name)
        assert (single.suppressed_by, single.display) == (record.occurrence, "H")
        assert bus.events("silence", name) == ["raised", "suppressed"]
    bus.wait(600)
    assert bus.events("silence", BUS) == ["raised"]


def test_one_alone_stands_for_itself(bus):
    silent(bus, "a")
    bus.wait(60)
    assert group(bus) is None
    assert bus.find("silence", "a").display == "B"


def test_less_than_half_stand_for_themselves(fleet):
    bench = fleet(*on_bus(*"abcde"))
    bench.wait(3)
    silent(bench, "a", "b")
    bench.wait(60)
    assert group(bench) is None
    assert hidden(bench, "a", "b") == [False, False]


def test_who_comes_back_is_no_member_any_more(bus):
    silent(bus, *"abcd")
    bus.wait(5)
    bus.speaking.add("b")
    bus.wait(2)
    assert group(bus).members == ("a", "c", "d")
    assert bus.events("silence", BUS) == ["raised", "members"]
    assert bus.events("silence", "b") == ["raised", "suppressed", "returned", "closed"]
    bus.speaking.update("abcd")
    bus.wait(2)
    assert bus.events("silence", BUS) == ["raised", "members", "returned"]
    assert group(bus).display == "D"
    assert [one.detector for one in bus.engine.active()] == [BUS]
    bus.does("acknowledge", occurrence=group(bus).occurrence)
    assert bus.engine.active() == []


def test_the_last_one_that_stays_away_stays_in_the_group(bus):
    silent(bus, *"abcd")
    bus.wait(5)
    bus.speaking.update("abc")
    bus.wait(600)
    assert group(bus).members == ("d",)
    assert group(bus).active


def test_another_outage_is_another_occurrence(bus):
    silent(bus, *"abcd")
    bus.wait(5)
    first = group(bus).occurrence
    bus.speaking.update("abcd")
    bus.wait(2)
    silent(bus, *"abcd")
    bus.wait(5)
    assert group(bus).previous == first
    assert hidden(bus, *"abcd") == [True] * 4


def test_who_is_given_more_time_joins(fleet):
    """A link is lost for all at once, though the slow ones are missed later."""
    bench = fleet(*on_bus("a", "b"), *on_bus("c", silence_s=15.0), *on_bus("d", silence_s=20.0))
    bench.wait(3)
    silent(bench, *"abcd")
    bench.wait(40)
    assert group(bench).members == ("a", "b")
    bench.wait(30)
    assert group(bench).members == ("a", "b", "c", "d")
    assert hidden(bench, *"abcd") == [True] * 4


def test_who_falls_silent_later_does_not_join(bus):
    silent(bus, "a", "b")
    bus.wait(60)
    silent(bus, "c")
    bus.wait(60)
    assert group(bus).members == ("a", "b")
    assert bus.find("silence", "c").display == "B"


def test_those_off_duty_do_not_count(fleet):
    bench = fleet(*on_bus(*"abcde"))
    bench.wait(3)
    for name in "cde":
        bench.does("duty", detector=name, state="off_duty", duration_s=3600, reason="night")
    silent(bench, *"bcde")
    bench.wait(5)
    assert group(bench) is None
    silent(bench, "a")
    bench.wait(5)
    assert group(bench).members == ("a", "b")


def test_signed_off_it_is_no_member_any_more(bus):
    silent(bus, *"abcd")
    bus.wait(5)
    bus.does("duty", detector="a", state="off_duty", duration_s=3600, reason="night")
    bus.wait(2)
    assert group(bus).members == ("b", "c", "d")
    assert bus.find("silence", "a") is None


def test_exercise_and_live_are_apart(fleet):
    bench = fleet(*on_bus("a", "b"), *on_bus("x", "y", exercise=True))
    bench.wait(3)
    silent(bench, "a", "x")
    bench.wait(60)
    assert group(bench) is None
    silent(bench, "b", "y")
    bench.wait(60)
    assert group(bench) is None  # too long after the first
    bench.speaking.update("abxy")
    bench.wait(5)
    silent(bench, *"abxy")
    bench.wait(5)
    found = [one for one in bench.engine.active() if one.detector == BUS]
    assert {(one.exercise, one.members) for one in found} == {
        (False, ("a", "b")),
        (True, ("x", "y")),
    }


def test_a_link_is_nearer_than_a_post(fleet):
    bench = fleet(
        *on_bus("a", "b", post="gate-a"),
        DetectorProfile("c", link="bus-2", post="gate-a"),
        DetectorProfile("d", link="bus-2", post="gate-b"),
    )
    bench.wait(3)
    silent(bench, "a", "b", "c")
    bench.wait(5)
    assert group(bench).members == ("a", "b")
    assert group(bench, POST) is None
    assert bench.find("silence", "c").display == "B"


def test_two_causes_at_once(fleet):
    posts = [DetectorProfile(name, link=f"tty-{name}", post="gate-a") for name in "xyz"]
    bench = fleet(*on_bus("a", "b"), *posts)
    bench.wait(3)
    silent(bench, *"abxyz")
    bench.wait(5)
    assert group(bench).members == ("a", "b")
    assert group(bench, POST).members == ("x", "y", "z")
    assert group(bench, POST).post == "gate-a"
    bench.speaking.update("xyz")
    bench.wait(2)
    assert group(bench).active
    assert not group(bench, POST).active


def test_what_is_more_urgent_makes_its_group_so(fleet):
    bench = fleet(*on_bus("a", "b", "d", silence_s=1.0))
    bench.wait(3)
    silent(bench, "a", "b")
    bench.wait(2)
    bench.hold(30.0, 1, "d")
    silent(bench, "d")
    bench.wait(3)
    record = group(bench)
    assert (record.priority, record.members) == (2, ("a", "b", "d"))
    assert record.note == "3 detectors of link/bus-1 silent"
    assert bench.find("silence", "d").suppressed_by == record.occurrence
    assert "escalated" in bench.events("silence", record.detector)


def test_a_group_is_as_urgent_as_its_worst(fleet):
    bench = fleet(*on_bus("a", "b", "d"))
    bench.hold(30.0, 3, "d")
    silent(bench, *"abd")
    bench.wait(5)
    assert group(bench).priority == 2


def test_no_radiation_alarm_is_suppressed_by_a_silence(bus):
    bus.hold(150.0, 2, "a")
    silent(bus, *"abcd")
    bus.wait(60)
    record = bus.find(detector="a")
    assert (record.active, record.stale, record.is_hidden) == (True, True, False)


@pytest.mark.parametrize("same_boot", [True, False])
def test_a_group_goes_on_over_a_restart(bus, same_boot):
    silent(bus, *"abc")
    bus.wait(5)
    before = group(bus).occurrence
    bus.restart(off_s=60, same_boot=same_boot)
    bus.wait(60)
    assert group(bus).occurrence == before
    assert group(bus).members == ("a", "b", "c")
    bus.speaking.update("abc")
    bus.wait(2)
    assert not group(bus).active
    assert hidden(bus, *"abc") == [False] * 3


def test_silences_of_before_a_restart_are_not_put_together(bus):
    silent(bus, "a")
    bus.wait(300)
    silent(bus, "b")
    bus.wait(300)
    bus.restart()
    bus.wait(60)
    assert group(bus) is None
    assert hidden(bus, "a", "b") == [False, False]


def test_without_its_group_a_silence_stands_for_itself(bus):
    silent(bus, *"abcd")
    bus.wait(5)
    bus.states[group(bus).occurrence] = b"{"
    bus.restart()
    bus.wait(5)
    assert hidden(bus, *"abcd") == [False] * 4
    assert bus.find("silence", "a").display == "B"


def test_a_group_of_what_left_the_configuration_ends(bus):
    silent(bus, *"abcd")
    bus.wait(5)
    bus.profiles = {name: bus.profiles[name] for name in "ab"}
    bus.restart()
    bus.wait(5)
    assert group(bus).members == ("a", "b")
    bus.profiles = {}
    bus.restart()
    bus.wait(5)
    assert [(one.detector, one.active) for one in bus.engine.active()] == [(BUS, False)]


def test_a_group_is_not_closed_by_hand_nor_muted_for_ever(bus):
    silent(bus, *"abcd")
    bus.wait(5)
    occurrence = group(bus).occurrence
    assert "duty" in bus.refuses("close", occurrence=occurrence, reason="enough")
    bus.does("silence", occurrence=occurrence, duration_s=60, reason="known")
    assert group(bus).silenced
    bus.wait(60)
    assert not group(bus).silenced
    bus.does("acknowledge", "anna", occurrence=occurrence)
    answer = bus.command("acknowledge", "berta", occurrence=occurrence)
    assert answer.reason == "already acknowledged by anna"


# Rises over the whole area: the trends of the detectors are given.


@pytest.fixture
def area(fleet):
    """Six area monitors, three of them part of the exercise."""
    live = [DetectorProfile(name, "Network Area Monitor") for name in "abc"]
    more = [DetectorProfile(name, "Network Area Monitor") for name in "de"]
    simulated = [DetectorProfile(name, exercise=True) for name in "xyz"]
    bench = fleet(*live, *more, *simulated)
    rise(bench, 1.0, *"abcdexyz")
    bench.wait(10)
    return bench


def rise(bench, ratio, *names, error=0.01):
    for name in names:
        bench.engine.detector(name).rules.trend = lambda: Trend(ratio, error)


def advisory(bench):
    return bench.find("area_wide", "@area")


def test_many_that_rise_slowly_are_one_advisory(area):
    rise(area, 1.35, "a", "b", "c")
    area.wait(10)
    record = advisory(area)
    assert (record.members, record.priority, record.exercise) == (("a", "b", "c"), 3, False)
    rise(area, 1.35, "d")
    area.wait(10)
    assert advisory(area).members == ("a", "b", "c", "d")
    rise(area, 1.2, "a", "b")
    area.wait(10)
    assert advisory(area).active
    rise(area, 1.1, "b", "c")
    area.wait(10)
    assert not advisory(area).active
    assert area.events("area_wide", "@area") == ["raised", "members", "returned"]


@pytest.mark.parametrize("names", ["a", "ab"])
def test_few_that_rise_are_no_area(area, names):
    rise(area, 1.35, *names)
    area.wait(60)
    assert advisory(area) is None


def test_a_detector_that_cannot_tell_says_nothing(area):
    rise(area, 1.35, "a", "b")
    rise(area, 1.35, "c", error=0.2)
    area.wait(60)
    assert advisory(area) is None


def test_exercise_and_live_do_not_rise_together(area):
    rise(area, 1.35, "a", "b", "x", "y")
    area.wait(60)
    assert advisory(area) is None
    rise(area, 1.35, "z")
    area.wait(60)
    assert advisory(area).exercise
    assert advisory(area).members == ("x", "y", "z")


def test_an_advisory_does_not_cover_what_is_hot(area):
    area.hold(0.6, 1, "e")
    rise(area, 2.5, "d")
    rise(area, 1.35, "a", "b", "c", "e")
    area.wait(5)
    assert advisory(area).members == ("a", "b", "c")


def test_what_more_than_half_see_is_no_weather(area):
    rise(area, 2.5, "a", "b", "c")
    rise(area, 1.5, "d", "e")
    area.wait(10)
    assert advisory(area) is None


def test_a_rise_that_falls_off_with_the_square_of_the_distance_is_no_weather(area):
    """A source 10 m from the nearest; two are hot, and the other three are above 1.3."""
    for name, metres in zip("abcde", (26, 30, 34, 10, 14), strict=True):
        rise(area, 1 + 0.4 * (34 / metres) ** 2, name)
    area.wait(60)
    assert advisory(area) is None
    rise(area, 1.4, *"abc")
    area.wait(10)
    assert advisory(area).members == ("a", "b", "c")


def test_an_advisory_expires(area):
    rise(area, 1.35, "a", "b", "c")
    area.wait(10)
    first = advisory(area).occurrence
    area.wait(6 * 3600, step=60)
    found = [change for change in area.changes if change.record.occurrence == first]
    assert "returned" in [str(change.event) for change in found]


def test_an_advisory_stays_while_nobody_can_tell_that_it_is_over(area):
    """After a restart there are no trends for a while: nothing valid says that it is over."""
    rise(area, 1.35, "a", "b", "c")
    area.wait(10)
    for name in "abcde":
        area.engine.detector(name).rules.trend = lambda: None
    area.wait(60)
    assert advisory(area).active
