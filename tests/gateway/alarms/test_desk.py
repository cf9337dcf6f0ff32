"""The operators' desk: replacing, closing, baselines, reports, exercises, and refusals."""

import pytest

from drivers.api import Channel, Reading
from gateway.alarms.profiles import DetectorProfile

WHY = {"reason": "radiography next door"}


@pytest.fixture
def bench(fleet):
    """One area monitor that has spoken."""
    bench = fleet(DetectorProfile("d", "Network Area Monitor", serial="A1"))
    bench.wait(3)
    return bench


# Replacing, commissioning.


def test_another_instrument_takes_its_place(bench):
    bench.does("commission", detector="d", reason="Cs-137 at 1 m: +40 %")
    assert bench.engine.detector("d").commissioned == "anna: Cs-137 at 1 m: +40 %"
    bench.hold(30.0, 1)
    assert bench.does("replace", detector="d", serial_number="B2", **WHY) == ["stale"]
    alarms = bench.engine.detector("d")
    assert (alarms.serial, alarms.commissioned) == ("B2", "")
    assert bench.engine.background("d") is None
    record = bench.find()
    assert (record.detector, record.serial, record.active) == ("d", "A1", True)
    bench.hold(0.1, 12)
    bench.does("acknowledge", occurrence=record.occurrence)
    bench.hold(0.6, 1)
    assert bench.find().serial == "B2"
    assert "serial_number" in bench.refuses("replace", detector="d", **WHY)


def test_a_replacement_and_a_source_check_survive_a_restart(bench):
    bench.does("replace", detector="d", serial_number="B2", **WHY)
    bench.does("commission", detector="d", **WHY)
    bench.restart()
    alarms = bench.engine.detector("d")
    assert (alarms.serial, alarms.commissioned) == ("B2", "anna: radiography next door")
    bench.hold(0.6, 1)
    assert bench.find().serial == "B2"


def test_a_serial_number_configured_since_says_more(bench):
    bench.does("replace", detector="d", serial_number="B2", **WHY)
    bench.profiles["d"] = DetectorProfile("d", "Network Area Monitor", serial="C3")
    bench.restart()
    assert bench.engine.detector("d").serial == "C3"


# Closing.


def test_only_what_has_nothing_behind_it_is_closed(bench):
    bench.hold(150.0, 1)
    occurrence = bench.find().occurrence
    assert "valid data" in bench.refuses("close", occurrence=occurrence, **WHY)
    bench.keep(bench.engine.link("d", False, "gone", bench.now))
    bench.speaking.clear()
    assert "needs a reason" in bench.refuses("close", occurrence=occurrence)
    assert bench.does("close", occurrence=occurrence, **WHY) == ["closed"]
    change = bench.changes[-1]
    assert (change.actor, change.note) == (
        "anna",
        "closed, not verified normal: radiography next door",
    )
    assert change.record.closed_unverified
    assert bench.find() is None
    assert bench.states[occurrence] == b""
    bench.dose(150.0)
    assert bench.events()[-1] == "raised"
    assert bench.find().occurrence != occurrence


def test_low_readings_after_a_close_raise_nothing(bench):
    bench.hold(150.0, 1)
    bench.keep(bench.engine.link("d", False, "gone", bench.now))
    bench.does("close", occurrence=bench.find().occurrence, **WHY)
    bench.hold(0.1, 30)
    assert bench.find() is None


def test_what_has_returned_is_closed_without_a_doubt(bench):
    bench.hold(150.0, 1)
    bench.hold(0.1, 12)
    bench.does("close", occurrence=bench.find().occurrence, **WHY)
    assert not bench.changes[-1].record.closed_unverified


def test_a_fault_of_what_is_gone_is_closed(bench):
    bench.declare(Channel.DEVICE_FAULT, 1, "high_voltage")
    fault = bench.find("instrument_fault").occurrence
    assert "valid data" in bench.refuses("close", occurrence=fault, **WHY)
    bench.speaking.clear()
    bench.wait(5)
    assert bench.does("close", occurrence=fault, **WHY) == ["closed"]
    silence = bench.find("silence").occurrence
    assert "duty" in bench.refuses("close", occurrence=silence, **WHY)
    bench.declare(Channel.DEVICE_FAULT, 1, "high_voltage")
    assert bench.find("instrument_fault").active


def count(bench, counts, seconds):
    for _ in range(seconds):
        bench.wait()
        bench.sample(Reading(Channel.GAMMA_COUNT_RATE, counts, "1/s"))


def test_lost_counts_are_found_again_after_a_close(bench):
    bench.speaking.clear()
    count(bench, 20, 120)
    count(bench, 0, 10)
    assert bench.find("loss_of_counts").active
    bench.wait(5)
    bench.does("close", occurrence=bench.find("loss_of_counts").occurrence, **WHY)
    count(bench, 0, 10)
    assert bench.events("loss_of_counts") == ["raised", "closed", "raised"]


def test_what_left_the_configuration_can_be_closed(bench, fleet):
    bench.hold(150.0, 1)
    bench.speaking.clear()
    bench.wait(5)
    bench.profiles = {}
    bench.restart()
    assert not bench.find("silence").active  # nobody expects it any more
    bench.wait(5)
    assert bench.does("close", occurrence=bench.find().occurrence, **WHY) == ["closed"]
    assert bench.does("acknowledge", occurrence=bench.find("silence").occurrence)
    assert bench.engine.active() == []


# Baselines.


def test_no_background_is_accepted_before_its_cause_is_known(bench):
    bench.hold(0.6, 1)
    occurrence = bench.find().occurrence
    for mode in ("accept", "survey"):
        reason = bench.refuses("baseline", detector="d", mode=mode, duration_s=600, **WHY)
        assert occurrence in reason
    bench.does("assess", occurrence=occurrence, state="verifying", note="somebody looks")
    bench.refuses("baseline", detector="d", mode="accept", **WHY)
    bench.does("assess", occurrence=occurrence, disposition="innocent_norm")
    bench.does("baseline", detector="d", mode="accept", **WHY)
    assert bench.find().active  # a level is met by readings alone
    assert "no mode" in bench.refuses("baseline", detector="d", mode="guess", **WHY)


def test_no_background_is_accepted_beside_a_declared_source(bench):
    bench.declare(Channel.DEVICE_ALARM, 1, "neutron")
    assert "device_neutron" in bench.refuses("baseline", detector="d", mode="accept", **WHY)


# Reports.


def test_a_report_is_an_alarm_of_its_own_kind(bench):
    answer = bench.command("report", text="hot package at gate 3", dose_rate="2.5", post="gate-3")
    assert answer.accepted
    (change,) = bench.changes
    record = change.record
    assert (record.alarm, record.detector, record.level) == ("report", "@report", "info")
    assert not record.is_radiation
    assert (record.value, record.unit, record.post) == (2.5, "µSv/h", "gate-3")
    assert (record.note, change.actor) == ("hot package at gate 3", "anna")
    assert answer.reason == record.occurrence
    assert bench.does("acknowledge", occurrence=record.occurrence) == ["acknowledged"]
    bench.does("assess", occurrence=record.occurrence, state="closed", disposition="false")
    bench.wait(3600)
    assert bench.find("report", "@report").active
    bench.does("close", occurrence=record.occurrence, reason="a banana")
    closed = bench.changes[-1]
    assert (closed.note, closed.record.closed_unverified) == ("a banana", False)
    assert bench.find("report", "@report") is None


def test_reports_stand_beside_each_other_and_survive_a_restart(bench):
    first, second = (bench.command("report", text=text).reason for text in ("one", "two"))
    bench.does("acknowledge", occurrence=first)
    assert bench.restart() == ["re_alarmed"]
    assert {one.note for one in bench.engine.active()} == {"one", "two"}
    bench.does("close", occurrence=second, reason="checked")
    assert [one.occurrence for one in bench.engine.active()] == [first]
    third = bench.command("report", text="three").reason
    assert third not in (first, second)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({}, "text"),
        ({"text": "  "}, "text"),
        ({"text": "x", "dose_rate": "much"}, "dose_rate"),
        ({"text": "x", "dose_rate": "nan"}, "dose_rate"),
        ({"text": "x", "dose_rate": "inf"}, "dose_rate"),
        ({"text": "x", "dose_rate": -1}, "below zero"),
    ],
)
def test_bad_reports(bench, arguments, word):
    assert word in bench.refuses("report", **arguments)
    assert bench.engine.active() == []


def test_a_mute_of_a_report_ends_in_its_time(bench):
    bench.command("report", text="x")
    occurrence = bench.find("report", "@report").occurrence
    bench.does("silence", occurrence=occurrence, duration_s=60, **WHY)
    bench.wait(60)
    assert not bench.find("report", "@report").silenced
    bench.does("silence", occurrence=occurrence, duration_s=60, **WHY)
    bench.restart()
    assert not bench.find("report", "@report").silenced


# Exercises.


def test_the_end_of_an_exercise_closes_what_it_caused(fleet):
    bench = fleet(DetectorProfile("sim", exercise=True), DetectorProfile("d"))
    bench.hold(150.0, 1)
    bench.hold(2e5, 1, "sim")
    assert bench.find(detector="sim").exercise
    assert not bench.find().exercise
    bench.does("stop_exercise")
    assert bench.find(detector="sim") is None
    assert bench.find().active
    assert bench.changes[-1].note == "exercise over"
    bench.hold(2e5, 1, "sim")
    assert bench.find(detector="sim").exercise


def test_lost_counts_of_an_exercise_are_found_again(fleet):
    bench = fleet(DetectorProfile("d", exercise=True))
    bench.speaking.clear()
    count(bench, 20, 120)
    count(bench, 0, 10)
    bench.does("stop_exercise")
    count(bench, 0, 10)
    assert bench.find("loss_of_counts").active


@pytest.mark.parametrize("was_exercise", [True, False])
def test_live_and_simulated_never_speak_for_each_other(fleet, was_exercise):
    """The same detector, configured the other way since; DT-58."""
    bench = fleet(DetectorProfile("d", exercise=was_exercise))
    bench.hold(0.6, 1)
    before = bench.find().occurrence
    bench.profiles["d"] = DetectorProfile("d", exercise=not was_exercise)
    bench.restart()
    bench.hold(0.1, 30)
    assert bench.engine.active()[0].occurrence == before
    assert bench.engine.active()[0].active
    bench.hold(150.0, 1)
    mine = [one for one in bench.engine.active() if one.exercise is not was_exercise]
    assert [one.level for one in mine] == ["R5"]
    bench.restart()
    assert len(bench.engine.active()) == 2
    bench.does("close", occurrence=before, **WHY)


# What does not exist.


@pytest.mark.parametrize(
    ("name", "arguments", "word"),
    [
        ("shelve", {"detector": "x", "level": "R3", "duration_s": 9}, "'x'"),
        ("shelve", {"detector": "d", "level": "R9", "duration_s": 9}, "'R9' is no level"),
        ("shelve", {"detector": "d", "duration_s": 9}, "no level"),
        ("shelve", {"level": "R3", "duration_s": 9}, "no detector"),
        ("unshelve", {"detector": "x", "level": "R3"}, "'x'"),
        ("silence", {"occurrence": "never", "duration_s": 9}, "never"),
        ("maintenance", {"detector": "x", "duration_s": 9}, "'x'"),
        ("maintenance", {"detector": "d", "on": "perhaps", "duration_s": 9}, "perhaps"),
        ("test_source", {"detector": "x", "duration_s": 9}, "'x'"),
        ("duty", {"detector": "x", "state": "off_duty", "duration_s": 9}, "'x'"),
        ("baseline", {"detector": "x", "mode": "accept"}, "'x'"),
        ("commission", {"detector": "x"}, "'x'"),
        ("replace", {"detector": "x", "serial_number": "1"}, "'x'"),
        ("close", {"occurrence": "never"}, "never"),
        ("assess", {"occurrence": "never", "state": "new"}, "never"),
        ("acknowledge", {}, "stale"),
        ("reset", {"occurrence": "never"}, "stale"),
        ("dance", {}, "unknown command"),
    ],
)
def test_refusals_say_what_is_wrong(bench, name, arguments, word):
    assert word in bench.refuses(name, **arguments, **WHY)


def test_a_report_from_a_post_that_nobody_knows_is_refused(fleet):
    bench = fleet()
    answer = bench.command("report", text="0.8 µSv/h", post="gate-c")
    assert not answer.accepted
    assert "no post is called 'gate-c'" in answer.reason
