"""The scenario grammar: what it can say, and what it says about faults."""

import re
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import pytest
from jsonschema import Draft202012Validator

from config.actions import RESERVED, Event
from config.archetypes import ARCHETYPES
from config.models import SerialLink, TcpLink
from config.problem import ConfigErrors, Severity, format_problem
from config.scenario import Scenario, examine_scenario, load_scenario
from config.schema import configuration_schema, scenario_schema

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "config" / "examples"
EVENT = EXAMPLES / "scenarios" / "event.toml"
FAULTS = ROOT / "tests" / "data" / "config" / "scenario-faults.toml"


def test_the_event_has_all_three_kinds_of_detectors() -> None:
    examination = examine_scenario(EVENT)
    assert [format_problem(each) for each in examination.problems] == []
    scenario = examination.scenario
    assert scenario is not None
    assert scenario.scenario.start == datetime(2026, 6, 13, 17, tzinfo=UTC)
    assert {each.driver: each.archetype for each in scenario.detector} == {
        "thermo-radeye": "PRD",
        "gq-gmc": "AREA",
        "bgeigie-nmea": "AREA",
        "rapiscan-tsa-rpm": "RPM",
        "aspect-rpm-modbus-tcp": "RPM",
    }


def test_a_scenario_gives_the_gateways_configuration() -> None:
    scenario = load_scenario(EVENT)
    links = {
        each.id: TcpLink(kind="tcp", host="::1", port=1)
        if each.archetype == "RPM"
        else SerialLink(kind="serial", port="/dev/pts/1")
        for each in scenario.detector
    }
    configuration = scenario.configuration(links)
    assert configuration.gateway.id == "event"
    assert [each.id for each in configuration.detector] == [each.id for each in scenario.detector]
    assert all(each.simulated for each in configuration.detector)
    assert configuration.detector[0].detector_class == "Personal Radiation Detector"
    assert configuration.detector[3].link == links["portal-a"]
    assert configuration.alarms.off_delay_s == 10.0


def test_all_faults_of_a_scenario_in_one_run() -> None:
    with pytest.raises(ConfigErrors) as raised:
        load_scenario(FAULTS)
    errors = [each for each in raised.value.problems if each.severity is Severity.ERROR]
    assert {(each.line, each.field) for each in errors} == {
        (4, "scenario.start"),
        (7, "background.dose_rate"),
        (14, "source[0] (id a).nuclide"),
        (15, "source[0] (id a).activity"),
        (17, "source[0] (id a).path"),
        (17, "source[0] (id a).path[1].t"),
        (20, "source[1] (id a).id"),
        (19, "source[1] (id a).shielding"),
        (24, "source[1] (id a).pass.past"),
        (24, "source[1] (id a).pass.speed"),
        (26, "source[2] (id b)"),
        (28, "source[2] (id b).activity"),
        (30, "source[2] (id b).leaves_s"),
        (32, "detector[0] (id d)"),
        (35, "detector[0] (id d).archetype"),
        (37, "detector[0] (id d).link"),
        (39, "detector[1] (id p).sensitivity"),
        (50, "detector[2] (id s).levels.R7.raise"),
        (51, "detector[2] (id s).script.points[1]"),
        (51, "detector[2] (id s).script.points[2]"),
        (51, "detector[2] (id s).script.points[1].t"),
        (54, "occupancy[0].portal"),
        (60, "vehicle[0] (id v).portal"),
        (63, "vehicle[0] (id v).speed"),
        (64, "vehicle[0] (id v).cargo"),
        (66, "event[0]"),
        (71, "event[1].detector"),
        (74, "event[1].detektor"),
        (79, "event[2] (id bb).id"),
    }
    advice = [each for each in raised.value.problems if each.severity is Severity.ADVICE]
    assert [(each.line, each.message) for each in advice] == [(55, "70 s is after the end, 60 s")]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (4, "the time has no zone\n    end it with Z for UTC, or with +02:00 and the like"),
        (14, "unknown nuclide 'Cs137'\n    did you mean 'Cs-137'?"),
        (15, "'mbq' is not a unit of activity\n    did you mean \"100 MBq\"? units: TBq, GBq, "
             "MBq, kBq, Bq, µCi, mCi, Ci"),
        (35, "'rpm' is not one of PRD, HH, BP, VEH, RPM, AREA, EPD\n    did you mean 'RPM'?"),
        (66, "unknown do 'acknowlege'\n    did you mean 'acknowledge'?"),
        (74, "unknown key\n    did you mean 'detector'?"),
    ],
)  # fmt: skip
def test_faults_name_the_likely_fix(line: int, expected: str) -> None:
    problems = [each for each in examine_scenario(FAULTS).problems if each.line == line]
    assert any(expected in format_problem(each) for each in problems), problems


# One of each action, as the acceptance scenarios need them.
ACTIONS = """
{ do = "acknowledge", detector = "d", occurrence = 1, expect = "refused" }
{ do = "reset", detector = "d" }
{ do = "silence", detector = "d", duration_s = 60 }
{ do = "shelve", detector = "d", level = "R3", duration_s = 600, reason = "known patient" }
{ do = "unshelve", detector = "d" }
{ do = "close", detector = "d" }
{ do = "assess", detector = "d", disposition = "innocent_medical", note = "card seen" }
{ do = "report", text = "unattended case" }
{ do = "baseline", detector = "d", reason = "granite" }
{ do = "maintenance", detector = "d", duration_s = 600 }
{ do = "duty", detector = "d", on = false }
{ do = "replace", detector = "d", serial_number = "2" }
{ do = "stop_exercise" }
{ do = "history", lane = "alarms", from_seq = 1 }
{ do = "resend", lane = "samples", from_seq = 1, to_seq = 5 }
{ do = "restart" }
{ do = "kill", after = "raised", detector = "d", down_s = 2 }
{ do = "clock_step", step_s = -7200 }
{ do = "broker_stop" }
{ do = "broker_start" }
{ do = "broker_cut" }
{ do = "broker_stall" }
{ do = "unplug", detector = "d" }
{ do = "replug", detector = "d" }
{ do = "freeze", detector = "d" }
{ do = "thaw", detector = "d" }
{ do = "garbage", detector = "d", text = "-OL-" }
{ do = "wrong_serial", detector = "d", serial_number = "9" }
{ do = "reading", detector = "d", dose_rate = "200 mSv/h" }
{ do = "release", detector = "d" }
{ do = "tamper", detector = "d" }
{ do = "over_range", detector = "d" }
{ do = "fault", detector = "d", on = false }
{ do = "dead_channel", detector = "d" }
{ do = "battery_low", detector = "d" }
{ do = "self_test", detector = "d" }
{ do = "power_on", detector = "d" }
{ do = "power_off", detector = "d" }
{ do = "block", detector = "d" }
{ do = "unblock", detector = "d" }
{ do = "place_source", id = "g", nuclide = "Ir-192", activity = "1 TBq", x = 10, y = 0 }
{ do = "remove_source", id = "g" }
{ do = "identify", detector = "d", nuclide = "I-131", category = "medical" }
"""
ONE_DETECTOR = """
[scenario]
name = "one"
duration_s = 60
[[detector]]
id = "d"
driver = "gmc"
archetype = "PRD"
at = { x = 0, y = 0 }
"""


def event(line: str) -> str:
    body = re.sub(r", (?=\w+ = )", "\n", line.strip("{ }"))
    return f"[[event]]\nat_s = 30\n{body}\n"


def test_every_action_of_the_grammar_is_accepted_and_reserved_ones_are_said(
    tmp_path: Path,
) -> None:
    lines = [line for line in ACTIONS.splitlines() if line]
    path = tmp_path / "actions.toml"
    path.write_text(ONE_DETECTOR + "".join(map(event, lines)), encoding="utf-8")
    examination = examine_scenario(path)
    assert examination.scenario is not None, list(map(format_problem, examination.problems))
    seen = {(type(each), each.do) for each in examination.scenario.event}
    models = get_args(get_args(Event)[0])
    known = {(m, do) for m in models for do in get_args(m.model_fields["do"].annotation)}
    assert seen == known
    reserved = [each.do for each in examination.scenario.event if not each.played]
    advice = [each.message for each in examination.problems]
    assert advice == [f"{do!r} is accepted, but not played" for do in reserved]


def test_the_schema_marks_reserved_actions() -> None:
    definitions = scenario_schema()["$defs"]
    assert isinstance(definitions, dict)
    for model in get_args(get_args(Event)[0]):
        described = definitions[model.__name__]["description"]
        assert (RESERVED in described) is not model.played


# Pieces of acceptance scenarios that need more than the event shows.
SNIPPETS = {
    "DT-12 ramp": """
[[detector]]
id = "r"
driver = "gmc"
archetype = "PRD"
script = { points = [
  { t = 0, dose_rate = "0.1 µSv/h" }, { t = 600, dose_rate = "200 µSv/h" },
  { t = 1200, dose_rate = "0.1 µSv/h" } ] }
""",
    "DT-13 chattering": """
[[detector]]
id = "r"
driver = "gmc"
archetype = "PRD"
script = { points = [{ t = 0, dose_rate = "20 µSv/h" }], noise = 0.14, period_s = 1 }
""",
    "DT-22 therapy patient": """
[[source]]
id = "patient"
kind = "patient"
nuclide = "I-131"
activity = "3.7 GBq"
pass = { past = "d", closest_m = 1, speed = "1.2 m/s", at_s = 20 }
""",
    "DT-10 stops at the closest point": """
[[source]]
id = "s"
nuclide = "Cs-137"
activity = "100 MBq"
path = [{ t = 0, x = -12, y = 2 }, { t = 10, x = 0, y = 2 }, { t = 610, x = 0, y = 2 },
        { t = 620, x = 12, y = 2 }]
""",
    "DT-27 occupancies": """
[[detector]]
id = "p"
driver = "rapiscan"
archetype = "RPM"
at = { x = 0, y = 0 }
[[occupancy]]
portal = "p"
at_s = 10
length_s = 3
repeat = { count = 5000, every_s = 40 }
""",
    "DT-30 neutrons": """
[[source]]
id = "cf"
n_per_s = 20000
pass = { past = "d", closest_m = 2, speed = "2.2 m/s", at_s = 20 }
""",
    "DT-36 fold-over": """
[[detector]]
id = "a"
driver = "gmc"
archetype = "AREA"
dead_time = { tau_us = 100, paralysable = true }
script = { points = [{ t = 0, gamma_rate = "2320 cps" }, { t = 1, gamma_rate = "26783 cps" }] }
""",
    "DT-47 rain": """
[[rain]]
at_s = 10
rise = "90 nSv/h"
rise_s = 900
half_life_s = 1800
""",
    "DT-48 granite": """
[[background_change]]
at_s = 10
over_s = 5
dose_rate = "0.16 µSv/h"
detectors = ["d"]
""",
}


@pytest.mark.parametrize("name", SNIPPETS)
def test_the_grammar_can_say_it(tmp_path: Path, name: str) -> None:
    path = tmp_path / "snippet.toml"
    path.write_text(ONE_DETECTOR + SNIPPETS[name], encoding="utf-8")
    load_scenario(path)


def plain(value: object) -> object:
    """TOML as JSON: times as text."""
    if isinstance(value, dict):
        return {key: plain(child) for key, child in value.items()}
    if isinstance(value, list):
        return [plain(child) for child in value]
    return value.isoformat() if isinstance(value, datetime) else value


@pytest.mark.parametrize(
    ("schema", "file"),
    [(configuration_schema(), EXAMPLES / "event.toml"), (scenario_schema(), EVENT)],
)
def test_the_schemas_accept_the_examples_and_refuse_bare_numbers(
    schema: dict[str, object], file: Path
) -> None:
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    document = tomllib.loads(file.read_text(encoding="utf-8"))
    assert [error.message for error in validator.iter_errors(plain(document))] == []
    document["alarms"] = {"levels": {"R3": {"raise": 0.5}}}
    assert not validator.is_valid(plain(document))


def test_archetypes_have_the_figures_of_the_scenarios() -> None:
    figures = {
        name: (each.sensitivity_cps, each.background_cps, each.step_s)
        for name, each in ARCHETYPES.items()
    }
    assert figures == {
        "PRD": (100, 20, 0.25),
        "HH": (500, 60, 0.25),
        "BP": (2000, 250, 1),
        "VEH": (10_000, 2000, 1),
        "RPM": (None, 2000, 0.2),
        "AREA": (1.0, 0.2, 2),
        "EPD": (None, None, 1),
    }
    classes = Scenario.model_json_schema()["$defs"]["ScenarioDetector"]["properties"]["class"]
    assert {each.detector_class for each in ARCHETYPES.values()} <= set(classes["anyOf"][0]["enum"])
