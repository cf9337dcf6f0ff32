"""Accumulated dose: levels in time, by the instrument's register and by the gateway's integral."""

from datetime import datetime
from itertools import pairwise

import pytest

LEVELS = {"D1": 36.0, "D2": 720.0, "D3": 1800.0}
"""When 100 mSv/h have made 1, 20 and 50 mSv of themselves."""


@pytest.fixture(scope="module")
def dose(play):
    return play("dt-44-dose.toml", kinds=("dose",))


def second(text):
    """Seconds since midnight, when the play begins."""
    at = datetime.fromisoformat(text)
    return 3600 * at.hour + 60 * at.minute + at.second + at.microsecond / 1e6


def reached(played, detector):
    """When each level was first among those reached."""
    found = {}
    for told, body in zip(played.told, played.events, strict=True):
        if body["alarm"] == "dose" and body["detector"] == detector:
            for level in body["levels"]:
                found.setdefault(level["level"], told.at_s)
    return found


@pytest.mark.parametrize(("detector", "late_s"), [("register", 0.0), ("integral", 1.0)])
def test_each_level_is_reached_in_time(dose, detector, late_s):
    """An integral begins with the first reading, a second later."""
    assert dose.failed == []
    found = reached(dose, detector)
    assert found.keys() == LEVELS.keys()
    for level, at_s in LEVELS.items():
        assert found[level] == pytest.approx(at_s + late_s, abs=1.0)


def test_the_dose_to_turn_back_at_is_urgent_and_latched(dose):
    ((_, body),) = dose.find("escalated", detector="register", level="D3")
    assert (body["priority"], body["latched"], body["active"]) == (1, True, True)
    assert body["value"] == pytest.approx(50_000, rel=1e-3)
    assert (body["unit"], body["acknowledged"]) == ("\u00b5Sv", False)


@pytest.mark.parametrize(("detector", "late_s"), [("register", 0.0), ("integral", 1.0)])
def test_the_time_to_the_next_level_is_told_from_the_first_minute_on(dose, detector, late_s):
    told = [body for body in dose.kept["dose"] if body["detector"] == detector]
    early = [body for body in told if second(body["time"]) <= 60]
    assert early
    assert {body["next_level"] for body in early} == {"D1", "D2"}
    ahead = [body for body in told if body["next_level"] in LEVELS]
    assert {body["next_level"] for body in ahead} == LEVELS.keys()
    for body in ahead:
        due = second(body["time"]) + body["seconds_to_next"]
        assert due == pytest.approx(LEVELS[body["next_level"]] + late_s, abs=1.0)
    spaces = [second(b["time"]) - second(a["time"]) for a, b in pairwise(told)]
    assert max(spaces) <= 60


def test_a_dose_does_not_go_away(dose):
    assert dose.moments("returned", alarm="dose") == []
    held = {record.detector: record.held for record in dose.records() if record.alarm == "dose"}
    assert held == {"register": ("D1", "D2", "D3"), "integral": ("D1", "D2", "D3")}
