"""Shipped levels and what a configuration makes of them."""

import pytest

from config.models import Alarms, Configuration, Detector
from drivers.api import Channel, DriverInfo, Verified
from gateway.alarms.budget import Budget
from gateway.alarms.profiles import AlarmSettings, ProfileError, resolve_profile, resolve_settings


def info(*classes):
    return DriverInfo(
        "x", "X", "listener", classes, ("tcp",), (Channel.DOSE_RATE,), "none",
        Verified.CONSTRUCTED, 2.0, lambda options: None,
    )  # fmt: skip


def resolve(detector=None, alarms=None, classes=("Network Area Monitor",), site=None):
    link = {"kind": "tcp", "host": "h", "port": 1}
    detector = Detector.model_validate({"id": "d", "driver": "x", "link": link, **(detector or {})})
    configuration = Configuration.model_validate(
        {"gateway": {"id": "g"}, "alarms": alarms or {}, **(site or {})}
    )
    profile = resolve_profile(detector, configuration, info(*classes))
    return profile, {level.id: level for level in profile.enabled_levels}


def test_shipped_levels():
    profile, levels = resolve()
    shipped = {name: (x.raise_at, x.latched, x.priority) for name, x in levels.items()}
    assert shipped.pop("R8")[1:] == (True, 1)
    assert shipped == {
        "R3": (0.5, False, 3),
        "R4": (20.0, False, 2),
        "R5": (100.0, True, 1),
        "R6": (1000.0, True, 1),
        "R7": (100_000.0, True, 1),
    }
    assert all(x.clear_below == pytest.approx(0.8 * x.raise_at) for x in levels.values())
    assert profile.silence_limit_s == 6.0


@pytest.mark.parametrize(
    ("name", "on"),
    [
        ("Network Area Monitor", True),
        ("Gamma Handheld", True),
        ("Personal Radiation Detector", False),
        ("Portal Monitor", False),
        ("Mobile System", False),
    ],
)
def test_r6_by_class(name, on):
    assert ("R6" in resolve(classes=(name,))[1]) is on
    assert ("R6" in resolve({"class": name})[1]) is on


def test_overrides():
    site = {"levels": {"R6": {"raise": "500 µSv/h"}, "R3": {"raise": "0.6 µSv/h"}}}
    _, levels = resolve({"levels": {"R3": {"raise": "1 µSv/h", "clear": "0.7 µSv/h"}}}, site)
    assert (levels["R3"].raise_at, levels["R3"].clear_below) == (1.0, 0.7)
    assert (levels["R6"].raise_at, levels["R6"].clear_below) == (500.0, 400.0)
    assert "R6" not in resolve(alarms=site, classes=("Mobile System",))[1]
    own = {"levels": {"R6": {"raise": "500 µSv/h"}}}
    assert "R6" in resolve(own, classes=("Mobile System",))[1]
    off = {"levels": {"R4": {"raise": "20 µSv/h", "enabled": False}}}
    assert "R4" not in resolve(off)[1]


@pytest.mark.parametrize(
    "levels",
    [
        {"R3": {"raise": "1 µSv/h", "clear": "1 µSv/h"}},
        {"R4": {"raise": "200 µSv/h"}},
    ],
)
def test_levels_that_contradict_each_other(levels):
    with pytest.raises(ProfileError, match=r"levels\.R"):
        resolve({"levels": levels})


def test_settings_and_exercise():
    assert resolve_settings(Alarms()) == AlarmSettings(Budget(0.6, 1.0, 24.0, 1.0, 1), 10.0)
    assert resolve({"simulated": True})[0].exercise


def test_a_class_and_one_detector_override_the_ways_of_judging():
    site = {"profile": [{"class": "Mobile System", "background_s": 40.0, "ratio": 1.4}]}
    own = {"profile": {"ratio": 1.5}}
    profile, _ = resolve(own, classes=("Mobile System",), site=site)
    ways = profile.ways
    assert (ways.platform, ways.background_s, ways.ratio) == ("vehicle", 40.0, 1.5)
    assert resolve(classes=("Portal Monitor",), site=site)[0].ways.ratio == 1.3


def test_what_is_not_captured_is_in_doubt_until_commissioned():
    assert "not commissioned" in resolve()[0].doubt
    assert resolve({"commissioned": "2026-05-02 source 12"})[0].doubt == ""
    assert resolve({"simulated": True})[0].doubt == ""


def test_dose_levels():
    profile, _ = resolve({"dose_levels": {"D2": {"raise": "10 mSv"}}})
    levels = {level.id: level for level in profile.dose_levels}
    assert (levels["D1"].raise_at, levels["D2"].raise_at) == (1000.0, 10_000.0)
    assert levels["D4"].enabled
    assert not levels["D5"].enabled
