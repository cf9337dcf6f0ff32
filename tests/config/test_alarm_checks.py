"""Settings that would disable an alarm or make it late: refused, each with its reason."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from config.loader import examine
from config.problem import Severity, format_problem
from drivers import registry

GATEWAY = '[gateway]\nid = "gw"\n'
LINK = 'link = { kind = "serial", port = "/dev/null" }\n'


def detector(name: str = "hh-1", driver: str = "thermo-radeye", **keys: str) -> str:
    lines = "".join(f"{key} = {value}\n" for key, value in keys.items())
    link = LINK.replace("/dev/null", f"/dev/{name}")
    return f'[[detector]]\nid = "{name}"\ndriver = "{driver}"\n{link}{lines}'


PRD = {"class": '"Personal Radiation Detector"'}


@pytest.fixture
def said(tmp_path: Path) -> Callable[..., list[str]]:
    """What is said of a text, without the advice that ports are not there."""

    def of(*parts: str, severity: Severity = Severity.ERROR) -> list[str]:
        path = tmp_path / "gw.toml"
        path.write_text(GATEWAY + "".join(parts), encoding="utf-8")
        problems = [each for each in examine(path).problems if "link.port" not in each.field]
        return [
            format_problem(each).split(": ", 1)[1] for each in problems if each.severity is severity
        ]

    return of


Said = Callable[..., list[str]]


def test_an_on_delay_where_somebody_passes_is_refused_and_says_why(said: Said) -> None:
    """DT-14: 2 s miss the pass altogether."""
    (problem,) = said(detector(levels='{ R3 = { raise = "0.5 µSv/h", on_delay_s = 2 } }', **PRD))
    assert "levels.R3.on_delay_s" in problem
    assert "Personal Radiation Detector" in problem
    for reason in ("50 km/h", "1.8 s", "18 %"):
        assert reason in problem


def test_one_more_reading_may_be_waited_for_where_nobody_passes(said: Said) -> None:
    level = '{{ R3 = {{ raise = "0.5 µSv/h", on_delay_s = {} }} }}'
    assert said(detector(levels=level.format(1))) == []
    (problem,) = said(detector(levels=level.format(1.5)))
    assert "1 s at most" in problem


@pytest.mark.parametrize("name", ["R4", "R5", "R6", "R7"])
def test_safety_levels_have_no_on_delay(said: Said, name: str) -> None:
    value = {"R4": 20, "R5": 100, "R6": 1000, "R7": 100_000}[name]
    level = f'{name} = {{ raise = "{value} µSv/h", on_delay_s = 0.5 }}\n'
    (problem,) = said(f"[alarms.levels]\n{level}", detector())
    assert f"alarms.levels.{name}.on_delay_s" in problem
    assert "first reading" in problem


def test_a_common_on_delay_is_refused_for_the_sake_of_one_detector(said: Said) -> None:
    common = '[alarms.levels]\nR3 = { raise = "0.5 µSv/h", on_delay_s = 1 }\n'
    own = 'levels = { R3 = { raise = "0.5 µSv/h" } }'.partition(" = ")[2]
    assert said(common, detector()) == []
    (problem,) = said(common, detector(), detector("prd-1", **PRD))
    assert problem.startswith("alarms.levels.R3.on_delay_s")
    assert said(common, detector(), detector("prd-1", levels=own, **PRD)) == []
    at_rest = "{ moving_subject = false }"
    assert said(common, detector("prd-1", profile=at_rest, **PRD)) == []


@pytest.mark.parametrize(("seconds", "caught"), [(2, "91 %"), (5, "36 %"), (10, "18 %")])
def test_reading_too_slowly_is_refused_with_the_chance_to_catch(
    said: Said, seconds: int, caught: str
) -> None:
    """DT-15, at the desk."""
    slow = f"{{ sampling_s = {seconds} }}"
    (problem,) = said(detector(profile=slow, **PRD))
    assert "profile.sampling_s" in problem
    assert caught in problem
    assert said(detector(profile=slow)) == []
    meant = f"{{ sampling_s = {seconds}, moving_subject = false }}"
    assert said(detector(profile=meant, **PRD)) == []


def test_a_whole_class_is_judged_like_its_detectors(said: Said) -> None:
    slow = '[[profile]]\nclass = "Personal Radiation Detector"\nsampling_s = 5\n'
    (problem,) = said(slow, detector(**PRD))
    assert problem.startswith("profile[0].sampling_s")
    assert said(slow + "moving_subject = false\n", detector(**PRD)) == []
    moving = '[[profile]]\nclass = "Gamma Handheld"\nmoving_subject = true\nsampling_s = 5\n'
    assert len(said(moving, detector())) == 1


def test_a_driver_that_is_slow_by_itself_is_advice(
    said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = registry.find
    monkeypatch.setattr(registry, "find", lambda name: replace(usual(name), silence_s=5.0))
    van = detector("van-1", "bgeigie-nmea")
    (advice,) = said(van, severity=Severity.ADVICE)
    assert "5 s apart" in advice
    assert "36 %" in advice
    faster = detector("van-1", "bgeigie-nmea", profile="{ sampling_s = 1 }")
    assert said(faster, severity=Severity.ADVICE) == []
    portal = (
        '[[detector]]\nid = "p"\ndriver = "aspect-rpm-modbus-tcp"\n'
        'link = { kind = "modbus_tcp", host = "h" }\n'
    )
    assert said(portal, severity=Severity.ADVICE) == []


def test_dose_levels_ascend(said: Said) -> None:
    common = '[alarms.dose_levels]\nD2 = { raise = "100 mSv" }\n'
    (problem,) = said(common)
    assert "must be below D3, 50000 µSv (not set here)" in problem
    own = '{ D1 = { raise = "30 mSv" } }'
    (problem,) = said(detector(dose_levels=own))
    assert "dose_levels.D1.raise" in problem
    assert said('[alarms.dose_levels]\nD4 = { raise = "2 Sv" }\n') == []
    (problem,) = said('[alarms.dose_levels]\nD4 = { raise = "2 Sv" }\nD5 = { raise = "1 Sv" }\n')
    assert "must be above D4" in problem


def test_a_ratio_is_cleared_below_where_it_is_raised(said: Said) -> None:
    (problem,) = said(detector(profile="{ ratio = 1.15 }"))
    assert "1.2 times" in problem
    common = '[[profile]]\nclass = "Gamma Handheld"\nratio = 1.5\n'
    assert said(common, detector(profile="{ ratio_clear = 1.4 }")) == []
    (problem,) = said(common, detector(profile="{ ratio_clear = 1.6 }"))
    assert problem.startswith("detector[0] (id hh-1).profile.ratio_clear")


def test_a_common_level_above_an_instruments_range_is_refused(said: Said) -> None:
    """DT-56: no threshold outside the range, IEC 62363."""
    common = '[alarms.levels]\nR4 = { raise = "60 µSv/h" }\n'
    weak = detector("hh-2", range_top='"50 µSv/h"')
    (problem,) = said(common, detector(range_top='"1 mSv/h"'), weak)
    assert "alarms.levels.R4.raise" in problem
    assert "'hh-2'" in problem
    own = detector("hh-2", range_top='"50 µSv/h"', levels='{ R4 = { raise = "20 µSv/h" } }')
    assert said(common, own) == []


def test_a_shipped_level_above_the_range_is_advice(said: Said) -> None:
    (advice,) = said(detector(range_top='"10 mSv/h"'), severity=Severity.ADVICE)
    assert "R7 (100000 µSv/h) cannot be reached" in advice
    assert "R8" in advice
    (advice,) = said(detector(range_top='"250 µSv/h"', **PRD), severity=Severity.ADVICE)
    assert "R6" not in advice
    off = '[alarms.levels]\nR7 = { raise = "100 mSv/h", enabled = false }\n'
    assert said(off, detector(range_top='"10 mSv/h"'), severity=Severity.ADVICE) == []
    assert said(detector(range_top='"10 mSv/h"')) == []


def test_a_class_has_one_profile(said: Said) -> None:
    one = '[[profile]]\nclass = "Gamma Handheld"\nbackground_s = 120\n'
    assert said(one) == []
    (problem,) = said(one, one)
    assert "in line 4" in problem


ASSESSOR = '[[user]]\nid = "carla"\nroles = ["assessor"]\n'


def test_users(said: Said) -> None:
    officer = '[[user]]\nid = "anna"\nroles = ["officer"]\ndetectors = ["hh-2"]\n'
    (problem,) = said(ASSESSOR, officer, detector())
    assert "did you mean 'hh-1'?" in problem
    (problem,) = said(ASSESSOR, ASSESSOR)
    assert "already the id of the user" in problem
    idle = '[[user]]\nid = "anna"\nroles = ["officer"]\n'
    alone, nobody = said(idle, detector(), severity=Severity.ADVICE)
    assert {"without detectors" in alone, "assessor" in nobody} == {True}
    assert said(ASSESSOR, severity=Severity.ADVICE) == []


def test_texts_of_a_site_that_are_not_there(said: Said, tmp_path: Path) -> None:
    (advice,) = said('[guidance]\ndirectory = "/nonexistent"\n', severity=Severity.ADVICE)
    assert "no folder" in advice
    here = f'[guidance]\ndirectory = "{tmp_path}"\n'
    assert said(here, severity=Severity.ADVICE) == []


def test_a_budget_that_nobody_can_bear_is_advice(said: Said) -> None:
    much = "[alarms.budget]\nrises_per_hour = 2\n"
    (advice,) = said(much, severity=Severity.ADVICE)
    assert "at most 0.6" in advice
    assert said(much + "operators = 4\n", severity=Severity.ADVICE) == []
    (advice,) = said("[alarms.budget]\nneutrons_per_event = 5\n", severity=Severity.ADVICE)
    assert "nuclear" in advice


@pytest.mark.parametrize(
    "nonsense",
    [
        "profile = 3",
        'user = ["anna"]\nguidance = 1',
        "[alarms]\nlevels = 1\nbudget = 2\ndose_levels = 3",
        '[alarms.levels]\nR3 = { raise = 5, on_delay_s = "long" }\n[[profile]]\nratio = "much"',
        '[[user]]\nid = 1\nroles = "assessor"\ndetectors = "hh-1"',
        '[[user]]\nid = "a"\nroles = [["x"], 1]\n[[profile]]\nclass = 7\nsampling_s = true',
    ],
)
def test_nonsense_is_left_to_the_models(said: Said, nonsense: str) -> None:
    keys = {"profile": "{ sampling_s = [] }", "levels": "7", "dose_levels": "[]"}
    assert said(nonsense + "\n", detector(range_top="5", **keys))
