"""Heartbeats by number, and what is known of the wall clock."""

import ctypes
import math
import os

import pytest

from gateway import clock_state
from gateway.clock_state import (
    MARKER_LASTS_S,
    NOT_BEFORE,
    TOLERATED_S,
    Clock,
    ClockState,
    kernel_state,
    probe,
)
from gateway.heartbeat import KEPT, Heartbeats
from gateway.values import Instant, Notice
from gateway.wire.gateways import HEARTBEAT, Heartbeat

WALL = NOT_BEFORE + 86_400.0
GOOD, BAD, WHO_KNOWS = ClockState.SYNCHRONISED, ClockState.UNSYNCHRONISED, ClockState.UNKNOWN


def test_the_age_of_each_heartbeat_is_known():
    beats = Heartbeats()
    assert beats.age_s(1, 0.0) is None
    for number in range(1, 11):
        assert beats.give(10.0 * number) == number
    assert beats.age_s(10, 105.0) == 5.0
    assert beats.age_s(1, 105.0) == 95.0
    assert beats.age_s(11, 105.0) is None
    assert beats.age_s(0, 105.0) is None
    assert beats.age_s(-1, 105.0) is None


def test_old_heartbeats_are_forgotten_and_count_as_old():
    beats = Heartbeats()
    for number in range(KEPT + 10):
        beats.give(float(number))
    assert beats.age_s(10, 1e6) == math.inf
    assert beats.age_s(11, KEPT + 9.0) == KEPT - 1.0


class Watched:
    """A clock with a scripted state, and its notices."""

    def __init__(self, state=GOOD, wall=WALL):
        self.state, self.offset, self.mono, self.notices = state, wall, 0.0, []
        self.clock = Clock(self.now, probe=lambda _: self.state, notify=self.notices.append)

    @property
    def now(self):
        return Instant(self.offset + self.mono, self.mono)

    def look(self, after_s=0.0):
        self.mono += after_s
        return self.clock.look(self.now)


@pytest.mark.parametrize("step_s", [3600.0, -7200.0, 315_576_000.0])
def test_a_step_of_the_wall_clock_is_told_as_offset(step_s):
    watched = Watched()
    assert watched.look(10.0).offset_s == 0.0
    watched.offset += step_s
    assert watched.look(10.0).offset_s == step_s
    watched.offset -= step_s
    assert watched.look(10.0).offset_s == 0.0


def test_a_clock_that_is_not_synchronised_is_an_alarm_after_an_hour_and_no_more_when_it_is():
    watched = Watched(BAD)
    assert watched.look().state is BAD
    watched.look(TOLERATED_S - 1)
    assert not watched.notices
    watched.look(1.0)
    watched.look(1000.0)
    watched.state = GOOD
    watched.look(10.0)
    watched.state = BAD
    watched.look(TOLERATED_S - 1)
    assert [(one.kind, one.present) for one in watched.notices] == [
        ("clock_unsynchronised", True),
        ("clock_unsynchronised", False),
    ]


def test_what_nobody_knows_is_no_alarm():
    watched = Watched(WHO_KNOWS)
    watched.look(10 * TOLERATED_S)
    assert not watched.notices


def test_a_time_that_cannot_be_is_an_alarm_at_once():
    watched = Watched(WHO_KNOWS, wall=5.0)
    told = watched.look(1.0)
    assert told.state is WHO_KNOWS
    (notice,) = watched.notices
    assert notice == Notice("clock_unsynchronised", True, notice.detail)
    assert "which cannot be" in notice.detail
    watched.offset = WALL
    assert watched.look(10.0).offset_s == WALL - 5.0
    assert not watched.notices[-1].present


def test_timesyncds_marker_counts_by_its_age(tmp_path):
    marker = tmp_path / "synchronized"
    marker.touch()
    os.utime(marker, (WALL, WALL))
    assert probe(WALL + 1.0, marker) is GOOD
    assert probe(WALL + MARKER_LASTS_S + 1.0, marker) is BAD
    assert probe(WALL - 3600.0, marker) is BAD  # put back since


class Kernel:
    """The C library, as far as it is asked."""

    def __init__(self, answer):
        self.adjtimex = lambda _: answer


@pytest.mark.parametrize(
    ("answer", "state"), [(0, GOOD), (1, GOOD), (4, GOOD), (5, BAD), (-1, WHO_KNOWS)]
)
def test_without_a_marker_the_kernel_is_asked(monkeypatch, tmp_path, answer, state):
    monkeypatch.setattr(ctypes, "CDLL", lambda _: Kernel(answer))
    assert probe(WALL, tmp_path / "none") is state


@pytest.mark.parametrize("error", [OSError, MemoryError, AttributeError])
def test_a_sandbox_that_refuses_leaves_it_unknown(monkeypatch, error):
    def refuse(_):
        raise error

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    assert kernel_state() is WHO_KNOWS


def test_this_machine_answers_something():
    assert clock_state.probe(WALL) in ClockState


def test_the_heartbeat_carries_the_clock():
    clock = clock_state.ClockTold(BAD, -7200.0)
    beat = Heartbeat(3, 12, Instant(WALL, 1.0), (("alarms", 4),), 0, "d", (("hall", 2),), clock)
    assert HEARTBEAT.encode(beat)["clock"] == {"state": "unsynchronised", "offset_s": -7200.0}
