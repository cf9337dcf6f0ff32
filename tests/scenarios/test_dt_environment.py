"""Acceptance scenarios DT-47 and DT-48: rain over a fleet, and a walk into a granite building."""

import math
from collections import Counter

import pytest

from gateway.alarms.classes import defaults

RAIN = "dt-47-rain.toml"
SURVEYED = "dt-47-rain-surveyed.toml"
STARTS = [(RAIN, 180), (RAIN, 600), (SURVEYED, 180), (SURVEYED, 600)]


def raining(found, at_s, duration_s):
    """The same with the rain at another time; a survey begins 1 min 30 s before early rain."""
    rain = found.rain[0].model_copy(update={"at_s": at_s})
    span = found.scenario.model_copy(update={"duration_s": duration_s})
    events = tuple(
        each.model_copy(update={"at_s": min(each.at_s, at_s - 90)}) for each in found.event
    )
    changes = {"rain": (rain,), "scenario": span, "event": events, "expect": ()}
    return found.model_copy(update=changes)


def check_rain(played, at_s):
    """One advisory that lists nearly all: its minute of rain, and how much else was raised."""
    assert played.failed == []
    raised = played.raised()
    assert raised.pop("area_wide") == 1
    ((moment, advisory),) = played.find(alarm="area_wide")
    assert advisory["detector"] == "@area"
    assert advisory["note"].endswith("gamma only")
    told = [advisory, *(body for _, body in played.find("members"))]
    assert max(len(body["members"]) for body in told) >= 12
    return (moment - at_s) / 60, raised


# DT-47: rain.


@pytest.mark.parametrize(
    ("detector_class", "sensitivity", "background", "deviations"),
    [("Personal Radiation Detector", 100, 20, 0.34), ("Mobile System", 10_000, 2000, 0.69)],
)
def test_dt_47_backgrounds_are_so_short_that_rain_hardly_displaces_them(
    detector_class, sensitivity, background, deviations
):
    """Half the background's time at 90 nSv/h in 15 min, in deviations of a second: 0.34 and 0.69,
    and 3.4 for a vehicle that learned over the 300 s of a pager."""
    slope = sensitivity * 0.090 / 900
    learned_s = defaults(detector_class).background_s
    displaced = slope * learned_s / 2 / math.sqrt(background)
    assert displaced == pytest.approx(deviations, abs=0.02)
    assert 10_000 * 0.090 / 900 * 150 / math.sqrt(2000) == pytest.approx(3.4, abs=0.05)


@pytest.mark.parametrize(("name", "at_s"), STARTS)
def test_dt_47_rain_is_one_advisory(play, scenario, name, at_s):
    """Also where it begins before the backgrounds are full, and where every ratio is judged."""
    minutes, others = check_rain(play(raining(scenario(name), at_s, at_s + 1000)), at_s)
    assert minutes == pytest.approx(5.9, abs=0.7)
    assert others == {}


@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("name", "at_s"), STARTS)
def test_dt_47_twenty_rains_to_their_end(play, scenario, name, at_s):
    """And half an hour of its decay. A ratio of 1.3 is reached after 5.3 min, by a mean of a minute
    after 5.8. The fleet's share of R1 is 1.6 in these 15 h; more than 6 have a chance of 0.1 %."""
    found = raining(scenario(name), at_s, at_s + 2700)
    told = [check_rain(play(found, seed), at_s) for seed in range(1, 21)]
    minutes = sorted(minute for minute, _ in told)
    others = sum((raised for _, raised in told), Counter())
    print(f"\n{name} at {at_s} s: {minutes[0]:.1f} to {minutes[-1]:.1f} min; {others}", end=" ")
    assert 5 <= minutes[0] <= minutes[-1] <= 7
    assert set(others) <= {"gamma_rise"}
    assert others.total() <= 6


# DT-48: granite.


def test_dt_48_granite_is_one_alarm_until_somebody_accepts_it(play_seeds):
    """16 to 32 counts a second; three deviations of the accepted background's 60 s are 2.2."""
    for played in play_seeds("dt-48-granite.toml", kinds=("watch",)):
        assert played.failed == []
        rates = {}
        for body in played.kept["watch"]:
            (rise,) = [rule for rule in body["rules"] if rule["rule"] == "gamma_rise"]
            if rise["armed"]:
                rates.setdefault(body["detector"], []).append(rise["facts"]["rate"])
        assert rates["prd-1"][-1] == pytest.approx(32, abs=2.2)
        assert max(rates["prd-2"]) == pytest.approx(16, abs=3 * math.sqrt(16 / 60))
        (open_now,) = [r for r in played.records() if r.alarm == "gamma_rise" and r.active]
        assert open_now.detector == "prd-2"
