"""Nuclide alarms I1 and I2: levels, priorities, hints, privacy, return."""

from dataclasses import replace
from itertools import count

import pytest

from drivers.api import Channel, Flag, Reading
from gateway.alarms import lifecycle
from gateway.alarms.book import Book
from gateway.alarms.durable import encode
from gateway.alarms.lifecycle import Severity
from gateway.alarms.nuclide import NuclideAlarm, hint, isotope, named
from gateway.alarms.profiles import DetectorProfile
from gateway.alarms.record import Evidence, Rule
from gateway.alarms.watcher import Sampled
from gateway.values import Instant, Measured

MEDICAL = ("I-131", "Tc-99m", "F-18", "Lu-177")


def nuclide(name, category, confidence=None, *flags):
    return Reading(
        Channel.NUCLIDE, confidence, "1", flags=flags, raw=category, part=name, window_s=10.0
    )


class Bench:
    """One identifier; each sample comes a second after the one before."""

    def __init__(self):
        ids = count(1)
        self.book = Book(DetectorProfile("d", "Radionuclide Identifier"), lambda: f"o{next(ids)}")
        self.rule = NuclideAlarm(self.book)
        self.mono = 1000.0
        self.changes = []

    @property
    def now(self):
        return Instant(1.7e9 + self.mono, self.mono)

    def sample(self, *readings, flags=(), blind=False, wait_s=1.0, age_s=0.0):
        self.mono += wait_s
        measured = Measured("d", self.now.earlier(age_s), self.now, readings, flags=flags)
        changes = self.rule.measured(Sampled(measured, None, None, None, None, blind, False, False))
        self.changes += changes
        return [str(change.event) for change in changes]

    def empty(self, seconds, **more):
        return [event for _ in range(seconds) for event in self.sample(**more)]

    def other(self, alarm, level, priority):
        """Another alarm of the same detector is active."""
        evidence = Evidence(self.now, Rule("test", 1), 1.0)
        self.book.open(alarm, evidence, (level,), Severity(level, priority, False))

    def acknowledge(self):
        step = lifecycle.acknowledged(self.record, "anna", self.now, None)
        self.book.apply("nuclide", step, self.now)

    @property
    def record(self):
        return self.book.records.get("nuclide")


@pytest.mark.parametrize(
    ("category", "confidence", "level", "priority"),
    [
        ("snm", 0.9, "I1", 2),
        ("snm", 0.2, "I1", 2),
        ("snm", None, "I1", 2),
        ("industrial", 0.8, "I1", 2),
        ("industrial", 0.79, None, None),
        ("industrial", None, None, None),
        ("unknown", 0.95, "I1", 2),
        ("unknown", None, None, None),
        ("new word", 0.95, "I1", 2),
        ("medical", None, "I2", 4),
        ("medical", 0.1, "I2", 4),
        ("norm", 0.9, "I2", 4),
    ],
)
def test_level_and_priority(category, confidence, level, priority):
    bench = Bench()
    bench.sample(nuclide("X-1", category, confidence))
    if level is None:
        assert bench.record is None
        return
    record = bench.record
    assert (record.level, record.priority) == (level, priority)
    assert record.latched is (level == "I1")
    assert record.raised_at == bench.now


@pytest.mark.parametrize("alarm", ["neutron_rise", "portal_neutron"])
def test_neutrons_make_a_threat_priority_1(alarm):
    bench = Bench()
    bench.other(alarm, "N1", 1)
    bench.sample(nuclide("Pu-239", "snm"))
    assert bench.record.priority == 1


def test_neutrons_that_come_later_count_too():
    bench = Bench()
    bench.sample(nuclide("Pu-239", "snm"))
    bench.acknowledge()
    bench.other("neutron_rise", "N1", 1)
    assert bench.sample() == ["escalated"]
    assert (bench.record.priority, bench.record.acknowledged) == (1, False)
    assert bench.sample() == []  # and once


@pytest.mark.parametrize(("level", "priority"), [("R3", 4), ("R4", 3), ("R8", 3)])
def test_a_high_dose_rate_beside_a_patient(level, priority):
    bench = Bench()
    bench.other("dose_rate", level, 2)
    bench.sample(nuclide("Tc-99m", "medical", 0.9))
    assert bench.record.priority == priority


def test_medical_leaves_the_cordon_level_alone():
    bench = Bench()
    bench.other("dose_rate", "R5", 1)
    before = bench.book.records["dose_rate"]
    bench.sample(nuclide("I-131", "medical", 0.99))
    bench.empty(100)
    assert bench.book.records["dose_rate"] is before


def test_medical_then_threat_escalates():
    bench = Bench()
    bench.sample(nuclide("Tc-99m", "medical", 0.9))
    bench.acknowledge()
    assert bench.sample(nuclide("U-235", "snm", 0.6)) == ["escalated"]
    record = bench.record
    assert (record.occurrence, record.level, record.priority) == ("o1", "I1", 2)
    assert (record.latched, record.acknowledged) == (True, False)
    assert [entry.level for entry in record.levels] == ["I2", "I1"]
    assert record.device_alarms == ("medical", "snm:U-235")


def test_another_threat_is_to_be_acknowledged_anew():
    bench = Bench()
    bench.sample(nuclide("Co-60", "industrial", 0.9), nuclide("Cs-137", "industrial", 0.5))
    bench.acknowledge()
    assert bench.sample(nuclide("Co-60", "industrial", 0.95)) == []
    assert bench.record.acknowledged
    assert bench.sample(nuclide("Cs-137", "industrial", 0.9)) == ["re_alarmed"]
    assert not bench.record.acknowledged
    assert bench.sample(nuclide("Cs-137", "industrial", 0.9)) == []
    assert bench.sample(nuclide("K-40", "norm", 0.9)) == ["updated"]
    assert bench.record.device_alarms == ("industrial:Co-60", "industrial:Cs-137", "norm:K-40")


def test_confidence_is_told_as_the_instrument_gave_it():
    bench = Bench()
    bench.sample(nuclide("Co-60", "industrial", 0.83), nuclide("K-40", "norm"))
    assert bench.record.statistic == (("industrial:Co-60", 0.83),)


# --- return ---------------------------------------------------------------------------------


def test_it_returns_when_nothing_is_named_for_a_minute():
    bench = Bench()
    bench.sample(nuclide("K-40", "norm", 0.9))
    assert bench.empty(60) == []
    assert bench.sample() == ["returned"]
    assert bench.record.display == "D"


def test_a_threat_stays_latched():
    bench = Bench()
    bench.sample(nuclide("Pu-239", "snm", 0.9))
    assert bench.empty(61) == ["returned", "latched"]
    assert bench.record.display == "E"


def test_the_threat_leaves_and_the_patient_stays():
    bench = Bench()
    bench.sample(nuclide("Pu-239", "snm", 0.9))
    for _ in range(61):
        bench.sample(nuclide("Tc-99m", "medical", 0.9))
    record = bench.record
    assert (record.active, record.level, record.held, record.latched) == (True, "I1", ("I2",), True)
    bench.acknowledge()
    assert bench.sample(nuclide("Pu-239", "snm", 0.9)) == ["escalated"]


@pytest.mark.parametrize(
    "given",
    [
        {"blind": True},
        {"flags": (Flag.INSTRUMENT_FAULT,)},
        {"flags": (Flag.WARMING_UP,)},
        {"age_s": 100.0},
        {"wait_s": 10.0},
    ],
)
def test_what_proves_nothing_clears_nothing(given):
    bench = Bench()
    bench.sample(nuclide("K-40", "norm", 0.9))
    bench.empty(50)
    assert bench.empty(100, **given) == []
    assert bench.empty(59) == []  # a minute anew
    assert bench.empty(2) == ["returned"]


def test_time_alone_clears_nothing():
    bench = Bench()
    bench.sample(nuclide("K-40", "norm", 0.9))
    bench.empty(59)
    bench.mono += 1000
    assert bench.rule.tick(bench.now) == []
    assert bench.record.active


def test_the_off_delay_ends_between_samples():
    bench = Bench()
    bench.sample(nuclide("K-40", "norm", 0.9))
    bench.empty(60)
    bench.mono += 0.9
    assert bench.rule.tick(bench.now) == []
    bench.mono += 0.1
    assert [str(change.event) for change in bench.rule.tick(bench.now)] == ["returned"]


def test_flagged_readings_raise_or_not():
    bench = Bench()
    bench.sample(nuclide("Pu-239", "snm", 0.9, Flag.SELF_TEST))
    assert bench.record is None
    bench.sample(nuclide("Pu-239", "snm", 0.9, Flag.WARMING_UP))
    assert bench.record.level == "I1"


def test_a_restart_keeps_it():
    bench = Bench()
    bench.sample(nuclide("Tc-99m", "medical", 0.9), nuclide("U-235", "snm", 0.9))
    bench.rule = NuclideAlarm(bench.book)
    bench.rule.restore(bench.record, bench.rule.internal("nuclide"), bench.now)
    bench.book.records["nuclide"] = replace(bench.record, stale=True)
    assert bench.sample() == ["fresh"]
    bench.empty(59)
    assert bench.record.active
    assert bench.empty(1) == ["returned", "latched"]


def test_closed_under_supervision_it_is_raised_anew():
    bench = Bench()
    bench.sample(nuclide("K-40", "norm", 0.9))
    del bench.book.records["nuclide"]
    bench.rule.abandon("nuclide")
    assert bench.empty(100) == []
    assert bench.sample(nuclide("K-40", "norm", 0.9)) == ["raised"]


def test_what_somebody_still_has_to_deal_with_lives_on():
    bench = Bench()
    bench.sample(nuclide("Pu-239", "snm", 0.9))
    bench.empty(61)
    assert bench.sample(nuclide("K-40", "norm", 0.9)) == ["closed", "raised"]
    assert (bench.record.priority, bench.record.latched, bench.record.previous) == (2, True, "o1")


# --- hints and privacy ----------------------------------------------------------------------


def of(*pairs):
    return [named(nuclide(name, category, 0.9)) for name, category in pairs]


@pytest.mark.parametrize(
    ("nuclides", "given", "expected"),
    [
        ([("I-131", "medical")], {"caution": True}, "hint: fresh therapy patient?"),
        ([("131I", "medical")], {"caution": True}, "hint: fresh therapy patient?"),
        ([("I-131", "medical")], {}, ""),
        ([("F-18", "medical")], {"neutrons": True}, "hint: neutrons beside a medical nuclide"),
        ([("Tc-99m", "medical")], {}, ""),
        (
            [("99mTc", "medical"), ("Cs-137", "industrial")],
            {},
            "hint: a medical line may mask others",
        ),
        (
            [("Pu-239", "snm"), ("K-40", "norm")],
            {},
            "hint: uranium or plutonium beside other nuclides",
        ),
        ([("U-235", "snm")], {}, ""),
    ],
)
def test_hints(nuclides, given, expected):
    assert hint(of(*nuclides), **{"neutrons": False, "caution": False, **given}) == expected


def test_a_hint_comes_when_it_becomes_true():
    bench = Bench()
    bench.sample(nuclide("I-131", "medical", 0.9))
    assert bench.record.note == ""
    bench.other("dose_rate", "R5", 1)
    assert bench.sample() == ["escalated"]
    assert (bench.record.note, bench.record.priority) == ("hint: fresh therapy patient?", 3)
    assert bench.changes[-1].note == "hint: fresh therapy patient?"


@pytest.mark.parametrize("name", MEDICAL)
def test_no_record_names_a_medical_nuclide(name):
    """Whatever happens beside it: what a person carries is that person's medical data."""
    bench = Bench()
    bench.sample(nuclide(name, "medical", 0.9), nuclide("Co-60", "industrial", 0.3))
    bench.other("dose_rate", "R5", 1)
    bench.other("neutron_rise", "N1", 1)
    bench.sample(nuclide(name, "medical", 0.95))
    bench.sample(nuclide(name, "medical", 0.95), nuclide("U-235", "snm", 0.9))
    bench.empty(61)
    assert bench.changes[0].record.device_alarms == ("medical", "industrial:Co-60")
    for change in bench.changes:
        told = repr(change) + encode(change.record, bench.rule.internal("nuclide")).decode()
        for spelling in (name, name.replace("-", "")):
            assert spelling not in told


@pytest.mark.parametrize(
    ("name", "one"),
    [
        ("Tc-99m", "Tc-99m"), ("Tc99m", "Tc-99m"), ("99mTc", "Tc-99m"), ("99m-Tc", "Tc-99m"),
        ("U 235", "U-235"), ("neutron", "neutron"), ("", ""),
    ],
)  # fmt: skip
def test_one_spelling(name, one):
    assert isotope(name) == one


def test_other_channels_are_none_of_its_business():
    bench = Bench()
    assert bench.sample(Reading(Channel.DOSE_RATE, 1.0, "µSv/h")) == []
    assert bench.record is None
