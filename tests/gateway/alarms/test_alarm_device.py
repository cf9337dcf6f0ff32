"""What instruments declare: portals, handhelds, faults, identity."""

import pytest

from drivers.api import Channel, Flag, PassageFlag, Reading

PORTAL = {"detector_class": "Portal Monitor", "silence_s": 5.1}


def occupied(bench, **alarms):
    """One portal sample, 0.2 s after the one before."""
    bench.wait(0.2)
    states = [Reading(Channel.DEVICE_ALARM, int(on), "1", part=p) for p, on in alarms.items()]
    return bench.sample(Reading(Channel.GAMMA_COUNTS, 400, "count"), *states, occupied=True)


def vacant(bench, *flags):
    bench.wait(5.0)
    return bench.sample(Reading(Channel.BACKGROUND, 300.0, "1/s", flags=flags), occupied=False)


def test_a_portal_alarm_is_raised_with_its_first_sample(rig):
    bench = rig(**PORTAL)
    vacant(bench)
    assert occupied(bench, gamma=False) == []
    assert occupied(bench, gamma=True) == ["raised"]
    record = bench.alarm("portal_gamma")
    assert (record.priority, record.latched, record.device_alarms) == (3, False, ("gamma",))
    # The bit comes and goes within one occupancy: one occurrence.
    for _ in range(100):
        occupied(bench, gamma=False)
    assert occupied(bench, gamma=True) == []
    assert bench.passage(gamma=True, ago=21.0, gamma_max=1652) == ["peak"]
    assert bench.alarm("portal_gamma").peak == 1652
    vacant(bench)
    assert bench.alarm("portal_gamma").active
    vacant(bench)
    assert bench.told("portal_gamma") == ["raised", "peak", "returned"]


def test_a_passage_whose_alarm_samples_were_missed_raises_once(rig):
    bench = rig(**PORTAL)
    vacant(bench)
    assert bench.passage(gamma=True, neutron=True) == ["raised", "raised"]
    neutron = bench.alarm("portal_neutron")
    assert (neutron.priority, neutron.latched) == (1, True)
    vacant(bench)
    vacant(bench)
    assert bench.told("portal_gamma") == ["raised", "returned"]
    assert bench.told("portal_neutron") == ["raised", "returned", "latched"]
    bench.acknowledge("o1")
    bench.acknowledge("o2")
    assert [r.alarm for r in bench.engine.active()] == ["portal_neutron"]


def test_another_alarmed_occupancy_within_the_off_delay_is_annunciated(rig):
    bench = rig(**PORTAL)
    occupied(bench, gamma=True)
    bench.passage(gamma=True)
    bench.acknowledge("o1")
    assert occupied(bench, gamma=True) == ["re_alarmed"]
    assert not bench.alarm("portal_gamma").acknowledged
    assert bench.passage(gamma=True, ago=0.5) == []
    bench.acknowledge("o1")
    bench.wait(1)
    assert bench.passage(gamma=True, ago=0.5) == ["re_alarmed"]


def test_a_portal_alarm_does_not_return_while_occupied_silent_or_faulty(rig):
    bench = rig(**PORTAL)
    occupied(bench, gamma=True)
    for _ in range(500):
        occupied(bench, gamma=False)
    assert bench.alarm("portal_gamma").active
    for _ in range(600):
        bench.wait(1)
    assert bench.alarm("portal_gamma").active
    assert bench.alarm("portal_gamma").stale
    for _ in range(10):
        vacant(bench, Flag.INSTRUMENT_FAULT)
    assert bench.alarm("portal_gamma").active
    for _ in range(3):
        vacant(bench)
    assert not bench.alarm("portal_gamma").active


def test_a_restart_during_an_occupancy_raises_no_second_alarm(rig):
    bench = rig(**PORTAL)
    occupied(bench, gamma=True)
    bench.restart()
    assert occupied(bench, gamma=True) == ["fresh"]
    assert bench.passage(gamma=True, ago=3.0) == []
    assert bench.told("portal_gamma").count("raised") == 1


def test_an_end_that_was_missed_is_no_end(rig):
    bench = rig(**PORTAL)
    occupied(bench, gamma=True)
    bench.passage(gamma=True, flags=(PassageFlag.END_MISSED,))
    for _ in range(20):
        bench.wait(1)
        bench.engine.heard("d", bench.now)
    assert bench.alarm("portal_gamma").active


def test_a_handhelds_bits_are_passed_on_as_indicative(rig):
    bench = rig(detector_class="Personal Radiation Detector")
    bench.wait(1)
    assert bench.state(Channel.DEVICE_ALARM, 1, "rate") == ["raised"]
    record = bench.alarm("device_rate")
    assert record.indicative
    assert record.is_radiation
    for _ in range(10):
        bench.wait(1)
        assert bench.state(Channel.DEVICE_ALARM, 0, "rate") == []
    bench.wait(1)
    bench.state(Channel.DEVICE_ALARM, 0, "rate")
    assert bench.told("device_rate") == ["raised", "returned"]


@pytest.mark.parametrize(
    ("channel", "part", "alarm", "priority"),
    [
        (Channel.TAMPER, "", "tamper", 2),
        (Channel.DEVICE_FAULT, "background_high", "background_fault", 3),
        (Channel.DEVICE_FAULT, "background_low", "background_fault", 3),
        (Channel.DEVICE_FAULT, "high_voltage", "instrument_fault", 3),
        (Channel.DEVICE_FAULT, "battery_low", "battery", 4),
        (Channel.DEVICE_ALARM, "dose", "device_dose", 3),
        (Channel.DEVICE_ALARM, "gamma", "device_gamma", 3),
    ],
)
def test_states_and_their_alarms(rig, channel, part, alarm, priority):
    bench = rig()
    bench.wait(1)
    assert bench.state(channel, 1, part) == ["raised"]
    assert bench.alarm(alarm).priority == priority
    for _ in range(11):
        bench.wait(1)
        bench.state(channel, 0, part)
    assert not bench.alarm(alarm).active


def test_one_fault_of_two_remains(rig):
    bench = rig()
    bench.state(Channel.DEVICE_FAULT, 1, "one")
    bench.state(Channel.DEVICE_FAULT, 1, "two")
    for _ in range(30):
        bench.wait(1)
        bench.state(Channel.DEVICE_FAULT, 0, "one")
    assert bench.alarm("instrument_fault").active


def test_another_instrument_behind_the_link(rig):
    bench = rig()
    bench.doses(30.0)
    bench.wait(1)
    assert bench.dose(0.1, flags=(Flag.IDENTITY_MISMATCH,)) == ["raised"]
    assert bench.alarm("identity").priority == 2
    for _ in range(30):
        bench.wait(1)
        bench.dose(0.1, flags=(Flag.IDENTITY_MISMATCH,))
    assert bench.alarm().active
    bench.doses(*[0.1] * 12)
    assert not bench.alarm().active
    assert not bench.alarm("identity").active
