"""Orders over clock steps and restarts: the time that was left, on the monotonic clock."""

import json

import pytest

from gateway.alarms.profiles import DetectorProfile

WHY = {"reason": "radiography next door"}


@pytest.fixture
def bench(fleet):
    """One area monitor that has spoken."""
    bench = fleet(DetectorProfile("d", "Network Area Monitor", serial="A1"))
    bench.wait(3)
    return bench


def shelve(bench, level="R3", duration_s=600):
    return bench.does("shelve", detector="d", level=level, duration_s=duration_s, **WHY)


def silence(bench, duration_s=600):
    occurrence = bench.find().occurrence
    return bench.does("silence", occurrence=occurrence, duration_s=duration_s, **WHY)


def told_conditions(bench, detector="d"):
    return str(bench.engine.detector(detector).conditions(bench.now))


def order_everything(bench):
    bench.hold(0.6, 1)
    shelve(bench, "R3", 300)
    bench.does("maintenance", detector="d", duration_s=400, **WHY)
    bench.does("test_source", detector="d", duration_s=500, **WHY)
    silence(bench, 600)
    bench.does("duty", detector="d", state="off_duty", duration_s=700, **WHY)


ENDS = {"R3": 300, "maintenance": 400, "test_source": 500, "silence": 600, "duty": 700}


def in_force(bench):
    orders = bench.engine.detector("d").book.orders
    found = {
        "R3": orders.shelves,
        "maintenance": orders.maintenance,
        "test_source": orders.test_source,
        "silence": orders.silenced,
        "duty": orders.duty,
    }
    return {name for name, order in found.items() if order}


def expected(after_s):
    return {name for name, end_s in ENDS.items() if end_s > after_s}


@pytest.mark.parametrize("step_s", [3600, -7200])
def test_the_wall_clock_ends_no_order(bench, step_s):
    """DT-51."""
    order_everything(bench)
    for second in range(0, 750, 50):
        assert in_force(bench) == expected(second), second
        bench.wall += step_s
        bench.hold(0.6, 50)


@pytest.mark.parametrize("same_boot", [True, False])
def test_the_time_that_was_left_is_kept_over_a_restart(bench, same_boot):
    order_everything(bench)
    bench.hold(0.6, 100)
    bench.restart(off_s=250, same_boot=same_boot)
    assert in_force(bench) == expected(350)
    bench.hold(0.6, 40)
    assert in_force(bench) == expected(390)
    bench.hold(0.6, 20)
    assert in_force(bench) == expected(410)
    bench.hold(0.6, 300)
    assert in_force(bench) == set()


@pytest.mark.parametrize("step_s", [3600, -7200])
def test_a_step_over_a_restart_of_the_same_boot_changes_nothing(bench, step_s):
    order_everything(bench)
    bench.restart(off_s=250, same_boot=True, wall_step=step_s)
    assert in_force(bench) == expected(250)


def test_a_wall_clock_that_went_back_over_a_boot_renews_nothing(bench):
    """What is saved every ten seconds may be ten seconds old."""
    order_everything(bench)
    bench.hold(0.6, 100)
    bench.restart(off_s=10, wall_step=-7200)
    assert in_force(bench) == expected(100)
    bench.hold(0.6, 210)
    assert in_force(bench) == expected(300)


def test_a_restart_shows_what_its_order_no_longer_hides(bench):
    bench.hold(0.6, 1)
    shelve(bench, "R3", 300)
    assert bench.restart(off_s=400) == ["unshelved", "stale", "re_alarmed"]
    assert not bench.find().is_hidden


def test_what_was_hidden_by_an_order_that_is_lost_is_shown(bench):
    order_everything(bench)
    bench.states["learned/d"] = b"{"
    bench.restart()
    assert bench.engine.unreadable[0][0] == "learned/d"
    record = bench.find()
    assert not record.is_hidden
    assert not record.silenced


def test_a_mute_that_ended_just_before_a_kill_does_not_come_back(bench):
    """What was ordered is saved every ten seconds, alarms with each event."""
    bench.hold(0.6, 11)
    silence(bench)
    bench.hold(30.0, 1)
    bench.restart(same_boot=True)
    assert not bench.find().silenced
    silence(bench)
    bench.hold(0.1, 12)
    bench.does("acknowledge", occurrence=bench.find().occurrence)
    bench.states["learned/d"] = bench.states["learned/d"].replace(b'"silenced": {}', MUTED)
    bench.restart(same_boot=True)
    assert "silenced" not in told_conditions(bench)


MUTED = b'"silenced": {"o1": ["silenced", "anna", "r", 500.0, 1]}'


def test_an_order_without_an_end_is_not_believed(bench):
    shelve(bench, "R3", 300)
    saved = json.loads(bench.states["learned/d"])
    saved["orders"]["shelves"]["R3"][3] = float("nan")
    bench.states["learned/d"] = json.dumps(saved).encode()
    bench.restart()
    assert in_force(bench) == set()
    assert bench.engine.unreadable


def test_an_order_hides_over_a_restart(bench):
    bench.hold(0.6, 1)
    shelve(bench, "R3", 300)
    assert bench.restart(off_s=10) == ["stale"]
    assert bench.find().display == "G"
