"""Who may do what: the whole table, with and without users."""

import pytest

from config.models import User
from gateway.alarms.lifecycle import Refusal
from gateway.alarms.record import AlarmRecord, LevelReached, Rule
from gateway.alarms.rights import PERMITTED, Rights
from gateway.commands import NAMES
from gateway.values import Command, Instant

NOW = Instant(1.7e9, 1000.0)
ROLES = ("officer", "operator", "assessor", "custodian", "exercise_leader", "viewer")
MAY = {
    "acknowledge": {"officer", "operator", "assessor"},
    "silence": {"officer", "operator", "assessor"},
    "report": {"officer", "operator", "assessor"},
    "shelve": {"operator", "assessor"},
    "unshelve": {"operator", "assessor"},
    "reset": {"operator", "assessor"},
    "assess": {"operator", "assessor"},
    "close": {"assessor"},
    "baseline": {"assessor"},
    "maintenance": {"custodian", "assessor"},
    "test_source": {"custodian", "assessor"},
    "commission": {"custodian", "assessor"},
    "replace": {"custodian", "assessor"},
    "new_wearer": {"custodian", "assessor"},
    "duty": {"officer", "operator", "custodian", "assessor"},
    "stop_exercise": {"exercise_leader", "assessor"},
    "resend": set(ROLES),
    "history": set(ROLES),
}
"""As to a radiation alarm of level R3 of an own detector; domain: officers acknowledge their own,
the centre acknowledges and shelves, the assessor decides, the custodian maintains."""
OF_ALARMS = ("acknowledge", "silence", "reset", "assess", "close")


def rights(*roles, detectors=("d",)):
    return Rights([User(id="anna", roles=roles, detectors=detectors)])


def record(level="R3", alarm="dose_rate", detector="d", priority=3, levels=()):
    reached = tuple(LevelReached(name, NOW) for name in levels or (level,))
    return AlarmRecord(
        "o1", detector, alarm, Rule("r", 1), level, priority, NOW, NOW, levels=reached
    )


def allowed(rights, name, about=None, user="anna", **arguments):
    command = Command(name, user, "c", tuple({"detector": "d", **arguments}.items()))
    try:
        rights.check(command, about)
    except Refusal as refusal:
        return not str(refusal).startswith(f"{user} may ")
    return True


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", MAY)
def test_the_table(name, role):
    about = record() if name in OF_ALARMS else None
    assert allowed(rights(role), name, about) is (role in MAY[name])


def test_the_table_is_whole():
    assert set(MAY) == set(PERMITTED) == set(NAMES)


def test_nobody_does_what_does_not_exist():
    assert not allowed(rights(*ROLES), "dance")


@pytest.mark.parametrize("name", MAY)
def test_without_users_everybody_may_everything(name):
    about = record("R7", priority=1) if name in OF_ALARMS else None
    assert allowed(Rights([]), name, about, user="who")


@pytest.mark.parametrize("name", MAY)
def test_who_is_not_named_may_nothing(name):
    about = record() if name in OF_ALARMS else None
    assert not allowed(rights(*ROLES), name, about, user="berta")


@pytest.mark.parametrize("name", ["acknowledge", "silence"])
def test_officers_act_on_their_own_alarms(name):
    assert not allowed(rights("officer"), name, record(detector="e"))
    assert not allowed(rights("officer"), name, record(detector="@report"))
    assert not allowed(rights("officer", detectors=()), name, record())
    assert allowed(rights("officer", "operator"), name, record(detector="e"))
    # Whatever detector the command itself names.
    assert not allowed(rights("officer"), name, record(detector="e"), detector="d")


def test_officers_sign_on_and_off_themselves():
    assert not allowed(rights("officer"), "duty", detector="e")
    assert not allowed(rights("officer"), "duty", detector="")
    assert allowed(rights("officer", "custodian"), "duty", detector="e")


@pytest.mark.parametrize(
    ("level", "priority"),
    [("R5", 1), ("R6", 1), ("R7", 1), ("R8", 1), ("N1", 1), ("I1", 2), ("D3", 1), ("D4", 1)],
)
def test_the_assessor_alone_resets(level, priority):
    grave = record(level, priority=priority)
    assert allowed(rights("assessor"), "reset", grave)
    assert not allowed(rights("operator", "custodian"), "reset", grave)


def test_a_grave_level_that_was_reached_once_counts():
    assert not allowed(rights("operator"), "reset", record("R8", levels=("R8", "R5")))
    assert not allowed(rights("operator"), "reset", record("R4", levels=("R4", "R5")))


def test_a_neutron_alarm_of_a_portal_is_as_grave_as_any():
    neutron = record("device", "portal_neutron", priority=1)
    assert not allowed(rights("operator"), "reset", neutron)
    assert allowed(rights("assessor"), "reset", neutron)


def test_the_operator_resets_the_rest():
    assert allowed(rights("operator"), "reset", record("D1", "dose", priority=2))
    assert not allowed(rights("custodian"), "reset", record("D1", "dose", priority=2))


@pytest.mark.parametrize("name", ["reset", "close"])
def test_custodians_see_to_the_instruments(name):
    fault = record("H1", "instrument_fault")
    assert allowed(rights("custodian"), name, fault)
    assert not allowed(rights("custodian"), name, record())


def test_radiation_is_closed_by_the_assessor_alone():
    for one in (record("R3"), record("device", "device_gamma"), record("R1", "gamma_rise")):
        assert not allowed(rights("operator", "custodian"), "close", one)
        assert allowed(rights("assessor"), "close", one)


def test_dispositions_are_the_assessors():
    for disposition in ("innocent_medical", "false", "confirmed_non_innocent"):
        assert not allowed(rights("operator"), "assess", record(), disposition=disposition)
        assert allowed(rights("assessor"), "assess", record(), disposition=disposition)
    assert allowed(rights("operator"), "assess", record(), state="verifying", note="looking")
