"""Acknowledge, reset, stale, silence, restart: what operators rely on."""

import pytest

from drivers.api import Channel, Flag, Reading
from gateway.alarms.engine import AlarmEngine


def test_display_letters(rig):
    bench = rig()
    bench.doses(0.6)
    assert bench.alarm().display == "B"
    bench.acknowledge("o1")
    assert bench.alarm().display == "C"
    assert bench.doses(*[0.1] * 11) == ["returned", "closed"]
    assert bench.alarm() is None
    bench.doses(0.6, *[0.1] * 11)
    assert bench.alarm().display == "D"
    assert bench.acknowledge("o2")[1] == ["acknowledged", "closed"]
    bench.doses(150.0, *[0.1] * 11)
    assert bench.alarm().display == "E"
    bench.acknowledge("o3")
    assert bench.alarm().display == "F"
    assert bench.reset("o3")[1] == ["reset", "closed"]


def test_reset_before_acknowledge_leaves_it_to_be_acknowledged(rig):
    bench = rig()
    bench.doses(150.0, *[0.1] * 11)
    assert bench.reset("o1")[1] == ["reset"]
    assert bench.alarm().display == "D"
    assert bench.acknowledge("o1")[1] == ["acknowledged", "closed"]


def test_reset_is_refused_while_true_and_without_a_latch(rig):
    bench = rig()
    bench.doses(150.0)
    answer, events = bench.reset("o1")
    assert (answer.accepted, events) == (False, [])
    assert "still true" in answer.reason
    other = rig()
    other.doses(0.6, *[0.1] * 11)
    assert not other.reset("o1")[0].accepted


def test_acknowledge_of_an_older_occurrence_is_stale(rig):
    """DT-55: n cleared, n+1 raised, then the acknowledgement of n arrives."""
    bench = rig()
    bench.doses(0.6, *[0.1] * 11, 0.6)
    answer, events = bench.acknowledge("o1")
    assert (answer.accepted, events) == (False, [])
    assert "stale" in answer.reason
    assert bench.alarm().occurrence == "o2"
    assert not bench.alarm().acknowledged
    assert not bench.acknowledge("never")[0].accepted


def test_two_operators_acknowledge(rig):
    """DT-55: the first wins, both are recorded."""
    bench = rig()
    bench.doses(0.6)
    bench.acknowledge("o1", "anna")
    answer, events = bench.acknowledge("o1", "berta")
    assert answer.accepted
    assert events == ["acknowledged"]
    assert "anna" in answer.reason
    assert bench.alarm().acknowledged_by == "anna"
    assert bench.changes[-1].actor == "berta"


def test_the_second_acknowledgement_of_a_closed_alarm(rig):
    bench = rig()
    bench.doses(0.6, *[0.1] * 11)
    bench.acknowledge("o1", "anna")
    answer, events = bench.acknowledge("o1", "berta")
    assert (answer.accepted, events) == (True, [])
    assert "anna" in answer.reason
    bench.doses(0.6)
    assert not bench.acknowledge("o1", "berta")[0].accepted


def test_acknowledge_names_what_was_announced(rig):
    bench = rig()
    bench.doses(0.6)
    seen = bench.alarm().revision
    bench.doses(30.0)
    assert not bench.acknowledge("o1", revision=seen)[0].accepted
    seen = bench.alarm().revision
    bench.doses(70.0)
    assert bench.acknowledge("o1", revision=seen)[0].accepted
    assert not bench.acknowledge("o1", revision=99)[0].accepted
    assert not bench.acknowledge("o1", revision="new")[0].accepted


def test_escalation_wants_acknowledgement_again(rig):
    bench = rig()
    bench.doses(0.6)
    bench.acknowledge("o1")
    assert bench.doses(30.0) == ["escalated"]
    record = bench.alarm()
    assert (record.occurrence, record.acknowledged, record.priority) == ("o1", False, 2)


def test_a_new_occurrence_inherits_what_nobody_dealt_with(rig):
    bench = rig()
    bench.doses(150.0, *[0.1] * 11)
    assert bench.doses(0.6) == ["closed", "raised"]
    record = bench.alarm()
    assert (record.occurrence, record.previous, record.level) == ("o2", "o1", "R5")
    assert (record.latched, record.priority, record.held) == (True, 1, ("R3",))


@pytest.mark.parametrize(("value", "after_s"), [(150.0, 60), (30.0, 300)])
def test_re_alarm_while_unacknowledged(rig, value, after_s):
    bench = rig()
    bench.dose(value)
    for _ in range(2 * after_s + 5):
        bench.wait(1)
        bench.dose(value)
    assert bench.told().count("re_alarmed") == 2
    bench.acknowledge("o1")
    for _ in range(2 * after_s):
        bench.wait(1)
        bench.dose(value)
    assert bench.told().count("re_alarmed") == 2


def test_unplugged_during_an_alarm(rig):
    """DT-38."""
    bench = rig()
    bench.doses(0.1, 150.0)
    assert bench.link(False, "device is gone") == ["stale"]
    for _ in range(3):
        bench.wait(1)
    silence = bench.alarm("silence")
    assert (silence.priority, silence.level) == (2, "H1")
    assert bench.changes[-1].note == "device is gone"
    assert bench.alarm().active
    assert bench.alarm().stale
    for _ in range(3600):
        bench.wait(1)
    assert bench.alarm().active
    bench.link(True)
    assert bench.doses(0.1) == ["returned", "fresh"]
    assert bench.alarm("silence").display == "D"
    assert bench.doses(*[0.1] * 10) == ["returned", "latched"]
    assert bench.alarm().display == "E"


def test_silence_alone_is_of_low_priority_and_returns(rig):
    bench = rig(silence_s=5.0)
    bench.dose(0.1)
    for _ in range(14):
        bench.wait(1)
    assert bench.alarm("silence") is None
    bench.wait(1)
    assert bench.alarm("silence").priority == 3
    bench.engine.heard("d", bench.now)
    bench.wait(1)
    assert bench.told("silence") == ["raised", "returned"]
    bench.acknowledge("o1")
    assert bench.alarm("silence") is None


def test_a_detector_never_heard_becomes_silent(rig):
    bench = rig()
    for _ in range(5):
        bench.wait(1)
    assert bench.told("silence") == ["raised"]


def test_a_detector_switched_off_is_not_missed(rig):
    bench = rig()
    bench.state(Channel.DEVICE_FAULT, 1, "switched_off")
    for _ in range(60):
        bench.wait(1)
    assert bench.changes == []
    bench.dose(0.1)
    for _ in range(4):
        bench.wait(1)
    assert bench.told("silence") == ["raised"]


def test_faults_hold_an_alarm_and_make_it_stale(rig):
    bench = rig()
    bench.doses(30.0)
    bench.wait(1)
    assert bench.dose(None, Flag.INSTRUMENT_FAULT) == ["raised", "stale"]
    for _ in range(60):
        bench.wait(1)
        bench.dose(0.0, Flag.INSTRUMENT_FAULT)
    assert bench.alarm().active
    assert bench.alarm("instrument_fault").priority == 2
    events = bench.doses(*[0.1] * 10)
    assert "returned" not in bench.told()
    assert "fresh" in events
    bench.doses(0.1)
    assert bench.told()[-1] == "returned"


def test_a_gap_restarts_the_off_delay(rig):
    bench = rig()
    bench.doses(30.0, *[0.1] * 10)
    bench.wait(4, tick=False)
    assert bench.dose(0.1) == []
    assert bench.doses(*[0.1] * 9) == []
    assert bench.doses(0.1) == ["returned"]


def test_old_readings_do_not_clear(rig):
    bench = rig()
    bench.doses(30.0)
    for _ in range(60):
        bench.wait(1)
        bench.dose(0.1, age_s=30.0)
    assert bench.alarm().active


def test_loss_of_counts_at_its_time(rig):
    """DT-39: 20.7 over the known background, never before three polls."""
    for rate, live_s, least_s in ((20, 0.25, 1.036), (1, 1.0, 20.7), (0.2, 2.0, 103.6), (20, 1, 3)):
        bench, part = rig(silence_s=live_s), 0.0
        for _ in range(int(120 / live_s)):
            bench.wait(live_s)
            whole = int(part + rate * live_s)
            part += rate * live_s - whole
            bench.counts(whole, live_s=live_s, k=0.001, independent=True)
        assert bench.told("loss_of_counts") == []
        zero_s = bench.engine.detector("d").loss.watch.zero_s
        while not bench.told("loss_of_counts"):
            bench.wait(live_s)
            bench.counts(0, live_s=live_s, k=0.001, independent=True)
            zero_s += live_s
        assert least_s <= zero_s < least_s + 2 * live_s
        bench.wait(live_s)
        assert bench.counts(1, live_s=live_s, k=0.001, independent=True) == ["returned"]


def test_lost_counts_make_a_true_dose_rate_worthless(rig):
    bench = rig()

    def both(dose, rate):
        bench.wait(1)
        quantity = Reading(Channel.GAMMA_COUNT_RATE, rate, "1/s")
        reading = Reading(Channel.DOSE_RATE, dose, "µSv/h", "ambient_dose_equivalent_rate")
        return bench.sample(quantity, reading)

    for _ in range(120):
        both(0.1, 20.0)
    both(30.0, 6000.0)
    for _ in range(60):
        both(0.0, 0.0)
    assert bench.alarm().active
    assert bench.alarm().stale
    assert bench.told("loss_of_counts") == ["raised"]


def test_background_is_not_learned_during_an_alarm(rig):
    """DT-10: ten minutes at 2.31 µSv/h beside the detector."""
    bench = rig()

    def both(dose, rate):
        bench.wait(1)
        reading = Reading(Channel.DOSE_RATE, dose, "µSv/h", "ambient_dose_equivalent_rate")
        bench.sample(Reading(Channel.GAMMA_COUNT_RATE, rate, "1/s"), reading)

    for _ in range(300):
        both(0.1, 20.0)
    before = bench.engine.background("d")
    for _ in range(600):
        both(2.31, 251.0)
        assert bench.alarm().active
    for _ in range(30):
        both(0.1, 20.0)
    assert not bench.alarm().active
    # The first sample of the pass is judged after its counts were learned.
    assert bench.engine.background("d") == pytest.approx(before, abs=1.0)


def test_restart_continues_the_occurrence(rig):
    """DT-52: killed 50 ms after the raise and after an acknowledgement."""
    bench = rig()
    bench.doses(150.0)
    bench.acknowledge("o1")
    before = bench.alarm()
    assert bench.restart() == ["stale"]
    after = bench.alarm()
    assert (after.occurrence, after.acknowledged, after.level) == ("o1", True, "R5")
    assert after.raised_at.wall == before.raised_at.wall
    assert bench.doses(150.0) == ["fresh"]
    bench.doses(*[0.1] * 11)
    assert bench.alarm().display == "F"
    assert bench.told().count("raised") == 1


def test_restart_annunciates_what_nobody_acknowledged(rig):
    bench = rig()
    bench.doses(150.0)
    assert bench.restart() == ["stale", "re_alarmed"]
    assert bench.reset("o1")[0].accepted is False
    for _ in range(3):
        bench.wait(1)
    assert bench.alarm("silence").priority == 2


def test_restart_keeps_suspicion_latch_and_estimate(rig):
    bench = rig(range_top_usv_h=10_000.0)
    bench.doses(5000.0, 0.1)
    bench.restart()
    bench.doses(*[0.1] * 60)
    assert bench.alarm().active
    bench.reset("o1")
    bench.doses(*[0.1] * 12)
    bench.restart()
    assert bench.alarm().display == "E"
    assert bench.reset("o1")[0].accepted


def test_restart_without_the_detector_or_the_level(rig):
    bench = rig()
    bench.doses(5000.0)
    bench.profile = rig(detector_class="Other").profile
    states = {"o1": bench.engine.state_bytes("o1"), "x": b"{", "y": b""}
    stranger = rig()
    stranger.engine = AlarmEngine({}, stranger.settings, lambda: "o9")
    stranger.engine.restore(states, stranger.now)
    assert stranger.alarm().active
    assert [key for key, _ in stranger.engine.unreadable] == ["x"]
    for _ in range(10):
        stranger.wait(1)
    assert stranger.alarm("silence") is None
    assert stranger.acknowledge("o1")[0].accepted


def test_state_is_small_and_ends_with_the_alarm(rig):
    bench = rig()
    bench.doses(0.6)
    assert 0 < len(bench.engine.state_bytes("o1")) < 2000
    bench.doses(*[0.1] * 11)
    bench.acknowledge("o1")
    assert bench.engine.state_bytes("o1") == b""


def test_unknown_commands_are_refused(rig):
    answer, events = rig().command("dance")
    assert (answer.accepted, answer.reason, events) == (False, "unknown command", [])


def test_a_declared_fault_stands_behind_no_clearance(rig):
    """The readings look well, the instrument says that it is not."""
    bench = rig()
    bench.doses(30.0)
    for _ in range(60):
        bench.wait(1)
        bench.state(Channel.DEVICE_FAULT, 1, "high_voltage")
        bench.dose(0.1)
    assert bench.alarm().active
    assert bench.alarm().stale
    assert bench.told().count("stale") == 1
    bench.state(Channel.DEVICE_FAULT, 0, "high_voltage")
    bench.doses(*[0.1] * 12)
    assert not bench.alarm().active


def test_silence_outlives_a_restart_until_something_is_heard(rig):
    bench = rig()
    for _ in range(4):
        bench.wait(1)
    bench.restart()
    for _ in range(2):
        bench.wait(1)
    assert bench.alarm("silence").active
    assert bench.dose(0.1) == ["returned"]
