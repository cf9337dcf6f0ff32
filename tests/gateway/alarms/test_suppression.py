"""One source past one detector is one line on the list: the rise is suppressed by the level."""

from itertools import count

import pytest

from gateway.alarms import lifecycle
from gateway.alarms.book import Book
from gateway.alarms.lifecycle import Severity
from gateway.alarms.orders import Order
from gateway.alarms.profiles import DetectorProfile
from gateway.alarms.record import Evidence, Rule
from gateway.values import Instant

RISE = ("gamma_rise", "R1", Severity("R1", 3, latched=False))
LEVEL = ("dose_rate", "R3", Severity("R3", 3, latched=False))


def at(mono):
    return Instant(1.7e9 + mono, mono)


def raised(book, what, mono):
    alarm, level, severity = what
    evidence = Evidence(at(mono), Rule("r", 1), 1.0, "1/s")
    book.open(alarm, evidence, (level,), severity)
    book.suppress(at(mono))
    return book.records[alarm].occurrence


@pytest.fixture
def book():
    ids = count(1)
    return Book(DetectorProfile("d"), lambda: f"o{next(ids)}")


def test_a_rise_is_suppressed_from_birth_or_later(book):
    level = raised(book, LEVEL, 0)
    raised(book, RISE, 1)
    assert book.records["gamma_rise"].suppressed_by == level
    assert book.records["gamma_rise"].display == "H"
    other = Book(DetectorProfile("e"), iter("xy").__next__)
    raised(other, RISE, 0)
    assert other.records["gamma_rise"].display == "B"
    raised(other, LEVEL, 1)
    assert other.records["gamma_rise"].suppressed_by == "y"


def test_what_returns_suppressed_waits_for_nobody(book):
    raised(book, LEVEL, 0)
    raised(book, RISE, 1)
    book.end("gamma_rise", at(5))
    assert "gamma_rise" not in book.records
    assert book.records["dose_rate"].active


def test_it_comes_back_when_the_level_is_dealt_with(book):
    raised(book, LEVEL, 0)
    raised(book, RISE, 1)
    book.end("dose_rate", at(10))
    book.suppress(at(10))
    assert book.records["gamma_rise"].is_hidden
    record = book.records["dose_rate"]
    book.apply("dose_rate", lifecycle.acknowledged(record, "anna", at(11), None), at(11))
    changes = book.suppress(at(12))
    assert [str(change.event) for change in changes] == ["unsuppressed"]
    assert book.records["gamma_rise"].display == "B"


def test_who_has_seen_the_level_has_seen_the_rise(book):
    level = raised(book, LEVEL, 0)
    raised(book, RISE, 1)
    (change,) = book.acknowledge_suppressed(level, "anna", at(2))
    assert (change.record.alarm, change.actor, change.note) == (
        "gamma_rise",
        "anna",
        f"with {level}",
    )
    book.end("dose_rate", at(10))
    book.suppress(at(10))
    assert book.records["gamma_rise"].acknowledged
    assert book.acknowledge_suppressed("another", "anna", at(11)) == []


def test_a_hidden_level_suppresses_nothing(book):
    raised(book, LEVEL, 0)
    book.orders.shelves["R3"] = Order("R3 shelved", "anna", "known", 1000.0)
    book.revise(at(1))
    raised(book, RISE, 2)
    assert not book.records["gamma_rise"].is_hidden
