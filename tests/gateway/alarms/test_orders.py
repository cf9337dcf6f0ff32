"""What may blind somebody: limits, reasons, ends, and what never becomes blind."""

import pytest

from drivers.api import Channel, Flag
from gateway.alarms.profiles import DetectorProfile

WHY = {"reason": "radiography next door"}


@pytest.fixture
def bench(fleet):
    """One area monitor that has spoken."""
    bench = fleet(DetectorProfile("d", "Network Area Monitor", serial="A1"))
    bench.wait(3)
    return bench


def shelve(bench, level="R3", duration_s=600, **more):
    return bench.does("shelve", detector="d", level=level, duration_s=duration_s, **WHY | more)


# Shelving.


def test_a_shelved_alarm_is_off_the_list_and_told_all_the_same(bench):
    """DT-56: R3 for ten minutes, back by itself on the monotonic clock."""
    bench.hold(0.6, 1)
    assert shelve(bench) == ["shelved"]
    record = bench.find()
    assert (record.display, record.is_hidden, record.active) == ("G", True, True)
    assert "R3 shelved by anna: radiography next door" in told_conditions(bench)
    bench.hold(0.6, 599)
    assert bench.find().shelved
    assert bench.hold(1.5, 1) == ["unshelved", "peak"]
    assert bench.changes[-2].note == "R3 shelved is over"
    assert not bench.find().is_hidden
    assert "shelved" not in told_conditions(bench)
    bench.hold(0.6, 1300)
    assert bench.events().count("shelved") == 1


def told_conditions(bench, detector="d"):
    return str(bench.engine.detector(detector).conditions(bench.now))


def test_what_is_raised_meanwhile_is_raised_shelved_and_told(bench):
    shelve(bench)
    assert bench.hold(0.6, 1) == ["raised"]
    assert bench.changes[-1].record.shelved
    bench.hold(0.1, 12)
    assert bench.events() == ["raised", "returned"]
    bench.hold(0.6, 1)
    assert bench.changes[-1].record.display == "G"


def test_escalation_beyond_the_shelved_level_shows_it(bench):
    shelve(bench)
    bench.hold(0.6, 1)
    assert bench.hold(30.0, 1) == ["escalated"]
    record = bench.find()
    assert (record.level, record.shelved, record.display) == ("R4", False, "B")


@pytest.mark.parametrize(
    ("level", "longest_s"),
    [("R3", 14_400), ("R4", 1800), ("R5", 300), ("R7", 300), ("R8", 300), ("N1", 300)],
)
def test_shelves_are_limited_by_priority(bench, level, longest_s):
    wanted = {"detector": "d", "level": level, **WHY}
    assert "at most" in bench.refuses("shelve", duration_s=longest_s + 1, **wanted)
    bench.does("shelve", duration_s=longest_s, **wanted)


def test_an_active_alarm_of_priority_1_limits_its_shelf(bench):
    """A portal's neutron alarm has no number for its level, and is of priority 1."""
    bench.profiles["d"] = DetectorProfile("d", "Portal Monitor")
    bench.start()
    bench.declare(Channel.DEVICE_ALARM, 1, "neutron")
    wanted = {"detector": "d", "level": "device", **WHY}
    assert "5 min" in bench.refuses("shelve", duration_s=301, **wanted)
    bench.does("shelve", duration_s=300, **wanted)
    assert bench.find("portal_neutron").shelved


def test_a_long_shelf_hides_nothing_more_urgent_than_it_was_given_for(bench):
    bench.profiles["d"] = DetectorProfile("d", "Portal Monitor")
    bench.start()
    shelve(bench, "device", 14_400)
    bench.declare(Channel.DEVICE_ALARM, 1, "gamma")
    bench.declare(Channel.DEVICE_ALARM, 1, "neutron")
    assert bench.find("portal_gamma").shelved
    assert not bench.find("portal_neutron").is_hidden


def test_a_shelf_of_faults_does_not_hide_one_of_an_alarming_instrument(bench):
    shelve(bench, "H1", 14_400)
    bench.declare(Channel.TAMPER, 1)
    assert bench.find("tamper").shelved is False  # priority 2
    bench.hold(30.0, 1)
    bench.declare(Channel.DEVICE_FAULT, 1, "high_voltage")
    assert bench.find("instrument_fault").priority == 2
    assert not bench.find("instrument_fault").is_hidden


@pytest.mark.parametrize("reason", ["", "   "])
def test_an_order_needs_a_reason(bench, reason):
    bench.hold(0.6, 1)
    occurrence = bench.find().occurrence
    for name, more in (
        ("shelve", {"detector": "d", "level": "R3", "duration_s": 60}),
        ("silence", {"occurrence": occurrence, "duration_s": 60}),
        ("maintenance", {"detector": "d", "duration_s": 60}),
        ("test_source", {"detector": "d", "duration_s": 60}),
        ("duty", {"detector": "d", "state": "off_duty", "duration_s": 60}),
        ("baseline", {"detector": "d", "mode": "accept"}),
        ("commission", {"detector": "d"}),
        ("replace", {"detector": "d", "serial_number": "B2"}),
    ):
        bench.command("assess", occurrence=occurrence, disposition="innocent_norm")
        assert "needs a reason" in bench.refuses(name, reason=reason, **more)


@pytest.mark.parametrize("duration", ["", "soon", "nan", "inf", "-inf", 0, -5, "1e400"])
def test_an_order_has_an_end(bench, duration):
    for name, more in (
        ("shelve", {"level": "R3"}),
        ("maintenance", {}),
        ("test_source", {}),
        ("duty", {"state": "handed_in"}),
    ):
        bench.refuses(name, detector="d", duration_s=duration, **more, **WHY)


def test_a_new_order_replaces_the_one_before(bench):
    bench.hold(0.6, 1)
    shelve(bench, duration_s=600)
    bench.hold(0.6, 10)
    assert shelve(bench, duration_s=60) == []
    assert bench.hold(0.6, 60).count("unshelved") == 1


def test_unshelve(bench):
    bench.hold(0.6, 1)
    assert "not shelved" in bench.refuses("unshelve", detector="d", level="R3")
    shelve(bench)
    assert bench.does("unshelve", detector="d", level="R3") == ["unshelved"]
    assert bench.changes[-1].actor == "anna"
    assert "shelved" not in told_conditions(bench)


def test_a_shelved_alarm_does_not_call_again_and_is_still_acknowledged(bench):
    bench.hold(150.0, 1)
    shelve(bench, "R5", 300)
    bench.hold(150.0, 299)
    assert "re_alarmed" not in bench.events()
    assert bench.hold(150.0, 1) == ["unshelved", "re_alarmed"]
    assert bench.does("acknowledge", occurrence=bench.find().occurrence) == ["acknowledged"]


# Silencing.


def silence(bench, duration_s=600, **more):
    occurrence = bench.find().occurrence
    return bench.does("silence", occurrence=occurrence, duration_s=duration_s, **WHY | more)


def test_silence_takes_the_sound_alone(bench):
    bench.hold(0.6, 1)
    assert silence(bench) == ["silenced"]
    record = bench.find()
    assert (record.silenced, record.is_hidden, record.display) == (True, False, "B")
    bench.hold(0.6, 599)
    assert bench.find().silenced
    assert bench.hold(0.6, 1) == ["unsilenced"]
    occurrence = record.occurrence
    assert "at most" in bench.refuses("silence", occurrence=occurrence, duration_s=601, **WHY)


def test_a_mute_ends_with_its_alarm(bench):
    """DT-56, IEC 62363."""
    bench.hold(0.6, 1)
    silence(bench)
    bench.hold(0.1, 12)
    assert bench.changes[-1].record.silenced is False
    bench.hold(0.6, 1)
    assert not bench.find().silenced
    assert "silenced" not in told_conditions(bench)
    bench.hold(0.1, 12)
    occurrence = bench.find().occurrence
    assert "not active" in bench.refuses("silence", occurrence=occurrence, duration_s=9, **WHY)


def test_a_mute_of_less_does_not_mute_more(bench):
    bench.hold(0.6, 1)
    silence(bench)
    bench.hold(30.0, 1)
    assert bench.changes[-1].record.silenced is False
    assert "silenced" not in told_conditions(bench)


def test_a_mute_ends_when_its_alarm_is_closed(bench):
    bench.hold(30.0, 1)
    silence(bench)
    bench.keep(bench.engine.link("d", False, "gone", bench.now))
    bench.does("close", occurrence=bench.find().occurrence, **WHY)
    assert "silenced" not in told_conditions(bench)


def test_another_occupancy_ends_the_mute_of_the_one_before(bench):
    bench.profiles["d"] = DetectorProfile("d", "Portal Monitor")
    bench.start()
    bench.declare(Channel.DEVICE_ALARM, 1, "gamma", occupied=True)
    occurrence = bench.find("portal_gamma").occurrence
    bench.does("silence", occurrence=occurrence, duration_s=600, **WHY)
    bench.declare(Channel.DEVICE_ALARM, 0, "gamma", occupied=False)
    assert bench.declare(Channel.DEVICE_ALARM, 1, "gamma", occupied=True) == ["re_alarmed"]
    assert not bench.find("portal_gamma").silenced


# Maintenance.


def maintain(bench, duration_s=3600):
    return bench.does("maintenance", detector="d", on=True, duration_s=duration_s, **WHY)


def test_maintenance_takes_the_low_levels_out_of_service(bench):
    maintain(bench)
    bench.hold(0.6, 1)
    assert bench.find().display == "I"
    assert bench.hold(30.0, 1) == ["escalated"]
    assert bench.find().display == "B"
    assert bench.engine.detector("d").conditions(bench.now)[0][0] == "out_of_service"


@pytest.mark.parametrize("value", [30.0, 150.0, 2000.0, 2e5])
def test_r4_and_above_stay_on_in_maintenance(bench, value):
    bench.hold(value, 1)
    maintain(bench)
    assert not bench.find().is_hidden


def test_nothing_of_priority_1_is_out_of_service(bench):
    bench.profiles["d"] = DetectorProfile("d", "Portal Monitor")
    bench.start()
    maintain(bench)
    bench.declare(Channel.DEVICE_ALARM, 1, "neutron")
    bench.declare(Channel.DEVICE_ALARM, 1, "gamma")
    assert not bench.find("portal_neutron").is_hidden
    assert bench.find("portal_gamma").out_of_service


def test_maintenance_ends_with_a_valid_reading_alone(bench):
    bench.hold(0.6, 1)
    assert maintain(bench) == ["out_of_service"]
    end = {"detector": "d", "on": False}
    assert "valid reading" in bench.refuses("maintenance", **end)  # none since it began
    bench.speaking.clear()
    for say in (
        lambda: bench.dose(None, Flag.INSTRUMENT_FAULT),
        lambda: bench.dose(0.1, Flag.STALE),
        lambda: bench.dose(None),
        lambda: bench.declare(Channel.BATTERY, 80),
        lambda: bench.engine.heard("d", bench.now),
    ):
        bench.wait()
        say()
        assert "valid reading" in bench.refuses("maintenance", **end)
    bench.dose(0.1)  # the fault is over
    bench.wait(3)
    assert "valid reading" in bench.refuses("maintenance", **end)  # too long ago
    bench.dose(0.1)
    assert "in_service" in bench.does("maintenance", **end)
    assert "not in maintenance" in bench.refuses("maintenance", **end)


def test_a_passage_is_a_valid_reading_of_a_portal(rig):
    bench = rig(detector_class="Portal Monitor")
    on = {"detector": "d", "duration_s": 60, "reason": "new cable"}
    assert bench.command("maintenance", **on)[0].accepted
    bench.passage()
    assert bench.command("maintenance", detector="d", on=False)[0].accepted


def test_maintenance_is_over_in_its_time(bench):
    maintain(bench, 600)
    bench.hold(0.6, 599)
    assert bench.find().out_of_service
    assert bench.hold(0.6, 1) == ["in_service"]
    assert bench.find().display == "B"
    wanted = {"detector": "d", "duration_s": 8 * 3600 + 1, **WHY}
    assert "at most 480 min" in bench.refuses("maintenance", **wanted)


# Test sources.


def announce(bench, duration_s=60):
    return bench.does("test_source", detector="d", duration_s=duration_s, **WHY)


def test_an_alarm_of_a_test_source_says_so_and_is_seen(bench):
    announce(bench)
    bench.hold(0.6, 1)
    bench.hold(30.0, 1)
    told = [change.record.test_source for change in bench.changes]
    assert told == [True, True]
    assert not bench.find().is_hidden
    assert "test source by anna" in told_conditions(bench)


def test_a_test_source_is_over_in_its_time_or_by_word(bench):
    announce(bench, 60)
    bench.wait(60)
    assert "test source" not in told_conditions(bench)
    bench.hold(0.6, 1)
    assert not bench.find().test_source
    announce(bench)
    bench.does("test_source", detector="d", on=False)
    reason = bench.refuses("test_source", detector="d", on=False)
    assert "no test source" in reason
    bench.refuses("test_source", detector="d", duration_s=1801, **WHY)


def test_what_was_there_before_is_not_of_the_test_source(bench):
    bench.hold(0.6, 1)
    announce(bench)
    bench.hold(150.0, 1)
    assert not bench.find().test_source


def test_what_comes_after_it_is_not_of_the_test_source(bench):
    announce(bench, 60)
    bench.hold(0.6, 60)
    assert bench.find().test_source
    assert bench.hold(150.0, 1) == ["escalated"]
    assert not bench.changes[-1].record.test_source


def test_what_nobody_has_dealt_with_is_not_of_the_test_source(bench):
    bench.hold(150.0, 1)
    bench.hold(0.1, 12)
    announce(bench)
    bench.hold(0.6, 1)
    record = bench.find()
    assert (record.level, record.previous is not None) == ("R5", True)
    assert not record.test_source


# Duty.


@pytest.mark.parametrize(
    ("state", "longest_s"),
    [("off_duty", 86_400), ("handed_in", 30 * 86_400), ("battery_swap", 900)],
)
def test_nobody_misses_what_is_off_duty(bench, state, longest_s):
    order = {"detector": "d", "state": state, **WHY}
    bench.refuses("duty", duration_s=longest_s + 1, **order)
    bench.does("duty", duration_s=600, **order)
    bench.speaking.clear()
    bench.wait(590)
    assert bench.events("silence") == []
    assert bench.engine.detector("d").conditions(bench.now)[0][0] == "off_duty"
    bench.wait(10)
    assert bench.events("silence") == ["raised"]


def test_what_speaks_again_in_time_is_not_missed(bench):
    order = {"detector": "d", "state": "battery_swap", "duration_s": 600, **WHY}
    bench.does("duty", **order)
    bench.speaking.clear()
    bench.wait(300)
    bench.speaking.add("d")
    bench.wait(400)
    assert bench.events("silence") == []


def test_on_duty_again_it_is_expected_from_then_on(bench):
    bench.does("duty", detector="d", state="off_duty", duration_s=600, **WHY)
    bench.speaking.clear()
    bench.wait(100)
    bench.does("duty", detector="d", state="on_duty")
    assert bench.wait(2) == []
    assert bench.wait(1) == ["raised"]


def test_a_word_does_not_end_a_silence(bench):
    bench.speaking.clear()
    bench.wait(10)
    assert bench.find("silence").active
    bench.does("duty", detector="d", state="on_duty")
    bench.wait(2)
    assert bench.find("silence").active
    assert bench.events("silence") == ["raised"]


def test_signing_off_ends_a_silence(bench):
    bench.speaking.clear()
    bench.wait(10)
    bench.does("duty", detector="d", state="handed_in", duration_s=600, **WHY)
    bench.wait(1)
    assert bench.find("silence").display == "I"
    assert not bench.find("silence").active


def test_what_is_off_duty_and_speaks_is_judged(bench):
    bench.does("duty", detector="d", state="off_duty", duration_s=600, **WHY)
    bench.hold(0.6, 1)
    assert bench.find().display == "I"
    bench.hold(150.0, 1)
    assert bench.find().display == "B"


def test_unknown_states_of_duty(bench):
    assert "battery_swap" in bench.refuses("duty", detector="d", state="asleep", **WHY)
