"""How well the alarm system serves its operators: rate, flood, chattering, stale, top sources."""

from dataclasses import replace

import pytest

from gateway.alarms.figures import AlarmFigures
from gateway.alarms.profiles import DetectorProfile
from gateway.alarms.record import AlarmEvent, AlarmRecord, Change, Rule
from gateway.values import Instant


class Shift:
    """Alarms put before operators, at times in seconds."""

    def __init__(self, operators=1):
        self.figures = AlarmFigures(operators)
        self.at = 0.0

    @property
    def now(self):
        return Instant(1.7e9 + self.at, self.at)

    def wait(self, seconds, step=1.0):
        for _ in range(round(seconds / step)):
            self.at += step
            self.figures.tick(self.now)

    def alarm(self, detector="d", event=AlarmEvent.RAISED, priority=3, **more):
        record = AlarmRecord(
            "o", detector, "dose_rate", Rule("r", 1), "R3", priority, self.now, self.now, **more
        )
        self.figures.note([Change(event, record, 1.0, "µSv/h", "", "", self.now)], self.now)
        return record

    def told(self, active=()):
        return self.figures.told(self.now, active)


def test_the_rate_is_of_the_last_ten_minutes_and_per_operator():
    for operators, rate in ((1, 6.0), (2, 3.0), (4, 1.5)):
        shift = Shift(operators)
        for number in range(6):
            shift.alarm(f"d{number}")
            shift.wait(60)
        assert shift.told().per_operator == rate
        shift.wait(241)  # the first one is over ten minutes old
        assert shift.told().per_operator == pytest.approx(rate * 5 / 6, abs=0.01)
        shift.wait(600)
        assert shift.told().per_operator == 0.0


@pytest.mark.parametrize("operators", [1, 3])
def test_a_flood_begins_at_ten_in_ten_minutes_and_ends_below_five(operators):
    shift = Shift(operators)
    for number in range(10 * operators):
        assert not shift.told().flood
        shift.alarm(f"d{number}")
        shift.wait(1)
    assert shift.told().flood
    shift.wait(400)
    assert shift.told().flood  # still ten in the last ten minutes
    shift.wait(200 - 5 * operators)
    assert shift.told().per_operator == pytest.approx(5, abs=0.4)
    assert shift.told().flood
    shift.wait(1 + operators)
    assert not shift.told().flood
    assert shift.told().floods == 1


def test_nine_are_no_flood_and_the_second_flood_is_counted():
    shift = Shift()
    for _ in range(2):
        for number in range(9):
            shift.alarm(f"d{number}")
        shift.wait(1)
        assert not shift.told().flood
        shift.alarm("e")
        shift.wait(1)
        assert shift.told().flood
        shift.wait(700)
    assert shift.told().floods == 2
    assert 0.8 < shift.told().flood_share < 0.9


def test_the_same_alarm_three_times_a_minute_chatters():
    shift = Shift()
    for wait_s in (30, 29, 0):
        shift.alarm("d")
        shift.wait(wait_s)
    assert shift.told().chattering == ("d dose_rate",)
    shift.wait(3500)
    assert shift.told().chattering == ("d dose_rate",)
    shift.wait(200)
    assert shift.told().chattering == ()


def test_three_of_different_detectors_or_in_more_than_a_minute_do_not_chatter():
    shift = Shift()
    for name in "abc":
        shift.alarm(name)
    for wait_s in (31, 30, 0):
        shift.alarm("d")
        shift.wait(wait_s)
    shift.alarm("e")
    for _ in range(3):
        shift.alarm("e", AlarmEvent.ESCALATED)
    assert shift.told().chattering == ()


def test_what_is_hidden_does_not_count():
    shift = Shift()
    for hidden in ({"shelved": True}, {"out_of_service": True}, {"suppressed_by": "o9"}):
        for _ in range(10):
            shift.alarm(**hidden)
    shift.wait(1)
    told = shift.told()
    assert (told.per_operator, told.flood, told.chattering, told.top) == (0.0, False, (), ())
    shift.alarm(silenced=True)
    assert shift.told().per_operator == 1.0


def test_only_what_is_announced_counts():
    shift = Shift()
    for event in AlarmEvent:
        shift.alarm(event=event)
    assert shift.told().per_operator == 2.0  # raised and escalated


def test_an_alarm_active_for_more_than_a_day_is_stale():
    shift = Shift()
    old = shift.alarm("a")
    shift.wait(86_400, step=600)
    young = shift.alarm("b")
    assert shift.told([old, young]).stale == 0
    shift.wait(1)
    assert shift.told([old, young]).stale == 1
    assert shift.told([replace(old, active=False), young]).stale == 0


def test_the_top_sources_and_priorities_of_a_day():
    shift = Shift()
    for number in range(12):
        for _ in range(number + 1):
            shift.alarm(f"d{number:02}", priority=1 if number == 11 else 3)
    top = shift.told().top
    assert len(top) == 10
    assert top[0] == ("d11 dose_rate", 12)
    assert top[-1] == ("d02 dose_rate", 3)
    assert shift.told().by_priority == ((1, 12), (3, 66))
    shift.wait(86_401, step=3600.5)
    assert shift.told().top == ()


def test_the_figures_of_an_engine(fleet):
    bench = fleet(*(DetectorProfile(name) for name in "ab"), operators=2)
    bench.wait(3)
    bench.does("shelve", detector="b", level="R3", duration_s=600, reason="known")
    for name in "ab":
        bench.dose(0.6, detector=name)
    told = bench.engine.figures(bench.now)
    assert (told.per_operator, told.top) == (0.5, (("a dose_rate", 1),))
