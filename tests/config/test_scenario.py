"""The scenario grammar: what it can say, and what it says about faults."""

import re
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import pytest
from jsonschema import Draft202012Validator

from config.actions import LIVE_ONLY, RESERVED, Event, Expectation
from config.archetypes import ARCHETYPES
from config.models import SerialLink, TcpLink
from config.nuclides import NUCLIDES
from config.problem import ConfigErrors, Severity, format_problem
from config.scenario import Scenario, examine_scenario, load_scenario
from config.schema import configuration_schema, scenario_schema

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "config" / "examples"
EVENT = EXAMPLES / "scenarios" / "event.toml"
FAULTS = ROOT / "tests" / "data" / "config" / "scenario-faults.toml"


@pytest.fixture(autouse=True)
def fake_drivers() -> None:
    """What a simulated instrument can do depends on the real drivers."""


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


# One of each action, as the acceptance scenarios need them; d is a JSON-lines pager, p a portal.
ACTIONS = """
{ do = "acknowledge", detector = "d", occurrence = 1, revision = 2, expect = "refused" }
{ do = "reset", alarm = "dose_rate", level = "R5", expect_reason = "still true" }
{ do = "silence", detector = "d", duration_s = 60 }
{ do = "close", detector = "@rise", reason = "looked into" }
{ do = "assess", detector = "d", state = "identifying", nuclides = "I-131" }
{ do = "shelve", detector = "d", level = "R3", duration_s = 600, reason = "known patient" }
{ do = "unshelve", detector = "d", level = "R3" }
{ do = "maintenance", detector = "d", duration_s = 600 }
{ do = "test_source", detector = "d", on = false }
{ do = "duty", detector = "d", state = "battery_swap", duration_s = 300 }
{ do = "baseline", detector = "d", mode = "survey", survey_s = 60 }
{ do = "commission", detector = "d", reason = "checked" }
{ do = "replace", detector = "d", serial_number = "2" }
{ do = "new_wearer", detector = "d", reason = "next shift" }
{ do = "report", text = "unattended case", dose_rate = "3 µSv/h" }
{ do = "stop_exercise", user = "leader" }
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
{ do = "frozen_value", detector = "d" }
{ do = "power_on", detector = "d" }
{ do = "power_off", detector = "d" }
{ do = "block", detector = "p" }
{ do = "unblock", detector = "p" }
{ do = "place_source", id = "g", nuclide = "Ir-192", activity = "1 TBq", x = 10, y = 0 }
{ do = "remove_source", id = "g" }
{ do = "identify", detector = "d", nuclide = "I-131", category = "medical" }
{ do = "send_source", id = "c", nuclide = "Cs-137", activity = "100 MBq", past = "d" }
{ do = "rain", rise = "0.05 µSv/h" }
{ do = "swap", detector = "d", other = "p" }
{ do = "split", detector = "d", size = 3, gap_s = 0.1 }
{ do = "loss", detector = "d", share = 0.5, for_s = 10 }
{ do = "corruption", detector = "d" }
{ do = "delay", detector = "d", delay_s = 2, jitter_s = 1 }
{ do = "late_reply", detector = "d", count = 2 }
{ do = "echo", detector = "d" }
{ do = "flood", detector = "d", rate = 1000 }
{ do = "reply_fault", detector = "m", fault = "exception", code = 2 }
{ do = "half_open", detector = "m" }
{ do = "mend", detector = "d" }
"""
ONE_DETECTOR = """
[scenario]
name = "one"
duration_s = 60
[[detector]]
id = "d"
archetype = "PRD"
at = { x = 0, y = 0 }
"""
REGISTERS = """
[[detector]]
id = "m"
driver = "aspect"
archetype = "RPM"
sensitivity = 1000
at = { x = 0, y = 0 }
"""
A_PORTAL = """
[[detector]]
id = "p"
archetype = "RPM"
sensitivity = 1000
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
    text = ONE_DETECTOR + A_PORTAL + REGISTERS + "".join(map(event, lines))
    path.write_text(text, encoding="utf-8")
    examination = examine_scenario(path)
    assert examination.scenario is not None, list(map(format_problem, examination.problems))
    seen = {(type(each), each.do) for each in examination.scenario.event}
    models = get_args(get_args(Event)[0])
    known = {(m, do) for m in models for do in get_args(m.model_fields["do"].annotation)}
    assert seen == known
    reserved = [each.do for each in examination.scenario.event if not each.played]
    assert reserved == ["history", "resend"]
    advice = [each.message for each in examination.problems]
    live = [each.do for each in examination.scenario.event if each.live_only]
    broker = [f"broker_{what}" for what in ("stop", "start", "cut", "stall")]
    assert live == [*broker, "reply_fault", "half_open"]
    assert advice == [
        *(f"{do!r} is accepted, but not played" for do in reserved),
        *(f"{do!r} is played with --live only" for do in live),
    ]


def test_what_is_not_played_is_said_once_and_only_where_it_is_not(tmp_path: Path) -> None:
    path = tmp_path / "scenario.toml"
    lines = [
        '{ do = "broker_cut" }',
        '{ do = "broker_cut" }',
        '{ do = "history", lane = "alarms" }',
    ]
    path.write_text(ONE_DETECTOR + "".join(map(event, lines)), encoding="utf-8")
    assert [each.message for each in examine_scenario(path).problems] == [
        "'broker_cut' is played with --live only",
        "'history' is accepted, but not played",
    ]
    assert [each.message for each in examine_scenario(path, live=True).problems] == [
        "'history' is accepted, but not played",
    ]


def test_the_schema_marks_reserved_actions() -> None:
    definitions = scenario_schema()["$defs"]
    assert isinstance(definitions, dict)
    for model in get_args(get_args(Event)[0]):
        described = definitions[model.__name__]["description"]
        assert (RESERVED in described) is not model.played
        assert (LIVE_ONLY in described) is model.live_only


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
    "DT-10 stays": """
[[source]]
id = "s"
nuclide = "Cs-137"
activity = "100 MBq"
pass = { past = "d", closest_m = 2, speed = "1.2 m/s", at_s = 20, stay_s = 600 }
""",
    "DT-21 a day later": """
[[source]]
id = "patient"
kind = "patient"
nuclide = "Tc-99m"
activity = "740 MBq"
decays = true
reference_s = -86400
pass = { past = "d", closest_m = 1, speed = "1.2 m/s", at_s = 20 }
""",
    "DT-23 a crowd": A_PORTAL
    + """
[[crowd]]
portals = ["p"]
from_s = 0
to_s = 60
people = 40
""",
    "DT-58 a live detector": """
[[detector]]
id = "live"
archetype = "AREA"
exercise = false
at = { x = 0, y = 0 }
""",
    "a drive through town": """
[[detector]]
id = "v"
archetype = "VEH"
sensitivities = { Co-60 = 4000 }
neutron_sensitivity = 1e-4
neutron_background_rate = "2 cps"
drift = { variation = 0.06, times_s = [5, 40] }
path = [{ t = 0, x = 0, y = 0 }, { t = 60, x = 600, y = 0 }]
[[zone]]
x_min = 100
x_max = 200
y_min = -10
y_max = 10
factor = 1.5
neutron_factor = 0.5
[[pressure]]
t = 0
factor = 1.0
[[pressure]]
t = 3600
factor = 1.1
[[xray]]
id = "scanner"
at = { x = 300, y = 5 }
at_s = 10
length_s = 2
dose_rate_1m = "5 µSv/h"
repeat = { count = 100, every_s = 10 }
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


# What a scenario must not ask for: the addition, the line's key, a piece of the message.
FAULTY = {
    "a state that the driver's instrument has not": (
        '[[detector]]\nid = "g"\ndriver = "gmc"\narchetype = "AREA"\nat = { x = 0, y = 0 }\n'
        '[[event]]\nat_s = 1\ndo = "tamper"\ndetector = "g"\n',
        "event[0].do",
        "gq-gmc cannot play 'tamper'",
    ),
    "a serial number where none is told": (
        '[[detector]]\nid = "r"\ndriver = "rapiscan"\narchetype = "RPM"\nat = { x = 0, y = 0 }\n'
        '[[event]]\nat_s = 1\ndo = "wrong_serial"\ndetector = "r"\nserial_number = "1"\n',
        "event[0].do",
        "rapiscan-tsa-rpm cannot play 'wrong_serial'",
    ),
    "a serial number of another form": (
        '[[detector]]\nid = "g"\ndriver = "gmc"\narchetype = "AREA"\nat = { x = 0, y = 0 }\n'
        '[[event]]\nat_s = 1\ndo = "wrong_serial"\ndetector = "g"\nserial_number = "1"\n',
        "event[0].serial_number",
        "no serial number of gq-gmc",
    ),
    "garbage on registers": (
        '[[detector]]\nid = "r"\ndriver = "aspect"\narchetype = "RPM"\nat = { x = 0, y = 0 }\n'
        '[[event]]\nat_s = 1\ndo = "garbage"\ndetector = "r"\n',
        "event[0].do",
        "aspect-rpm-modbus-tcp cannot play 'garbage'",
    ),
    "a lane where there is none": (
        '[[event]]\nat_s = 1\ndo = "block"\ndetector = "d"\n',
        "event[0].do",
        "what is no portal cannot play 'block'",
    ),
    "over range without a range": (
        A_PORTAL + '[[event]]\nat_s = 1\ndo = "over_range"\ndetector = "p"\n',
        "event[0].do",
        "the instrument cannot play 'over_range'",
    ),
    "an unknown setting": (
        '[[detector]]\nid = "e"\narchetype = "EPD"\nsettings = { peroid_s = 1 }\n',
        "detector[1] (id e).settings.peroid_s",
        "json-lines has no such setting",
    ),
    "a setting out of bounds": (
        '[[detector]]\nid = "e"\narchetype = "EPD"\nsettings = { noise = 2 }\n',
        "detector[1] (id e).settings.noise",
        "less than or equal to 1",
    ),
    "a calibration of what counts nothing": (
        '[[detector]]\nid = "e"\narchetype = "EPD"\nsettings = { calibration = true }\n'
        "background_rate = '5 cps'\n",
        "detector[1] (id e).settings.calibration",
        "EPD has no sensitivity of its own",
    ),
    "copies that meet another id": (
        '[[detector]]\nid = "d-2"\narchetype = "EPD"\n'
        '[[detector]]\nid = "d"\narchetype = "EPD"\ncopies = 3\n',
        "detector[2] (id d).copies",
        "'d-2' is already the id of a detector",
    ),
    "a count beside bounds": (
        "[[expect]]\ncount = 1\nat_least = 1\n",
        "expect[0].count",
        "it stands alone",
    ),
    "times the wrong way round": (
        "[[expect]]\nbetween = [20, 10]\n",
        "expect[0].between",
        "does not come after",
    ),
    "one time where there should be two": (
        "[[expect]]\nbetween = [20]\n",
        "expect[0].between",
        "needs two times",
    ),
    "more at least than at most": (
        "[[expect]]\nat_least = 3\nat_most = 2\n",
        "expect[0].at_most",
        "2 is below at_least",
    ),
    "an expectation of nobody": (
        '[[expect]]\ndetector = "q"\n',
        "expect[0].detector",
        "no detector has the id 'q'",
    ),
    "a crowd through a pager": (
        '[[crowd]]\nportals = ["d"]\nfrom_s = 0\nto_s = 9\npeople = 5\n',
        "crowd[0].portals[0]",
        "'d' is no portal",
    ),
    "patients nobody has measured": (
        A_PORTAL + '[[crowd]]\nportals = ["p"]\nfrom_s = 0\nto_s = 9\npeople = 5\n'
        'nuclide = "Ga-67"\n',
        "crowd[0].shielding",
        "no measured self-shielding",
    ),
    "a zone without an inside": (
        "[[zone]]\nx_min = 1\nx_max = 1\ny_min = 0\ny_max = 1\n",
        "zone[0].x_max",
        "is not above x_min",
    ),
}


@pytest.mark.parametrize("name", FAULTY)
def test_what_cannot_be_played_is_said_before_playing(tmp_path: Path, name: str) -> None:
    text, field, message = FAULTY[name]
    path = tmp_path / "faulty.toml"
    path.write_text(ONE_DETECTOR + text, encoding="utf-8")
    examination = examine_scenario(path)
    assert examination.scenario is None
    told = {each.field: each.message for each in examination.problems if each.line}
    assert message in told[field]


def test_a_detector_needs_neither_driver_nor_class(tmp_path: Path) -> None:
    path = tmp_path / "plain.toml"
    path.write_text(
        ONE_DETECTOR + '[[detector]]\nid = "g"\ndriver = "gmc"\narchetype = "AREA"\n'
        'at = { x = 0, y = 0 }\n[[detector]]\nid = "h"\narchetype = "HH"\nclass = "Other"\n',
        encoding="utf-8",
    )
    told = [(each.driver, each.detector_class) for each in load_scenario(path).detector]
    assert told == [
        ("json-lines", "Personal Radiation Detector"),
        ("gmc", "Network Area Monitor"),
        ("json-lines", "Other"),
    ]


def test_copies_have_ids_and_places_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "copies.toml"
    path.write_text(
        ONE_DETECTOR + "copies = 3\napart = { x = 5, y = -1 }\n"
        '[[event]]\nat_s = 1\ndo = "unplug"\ndetector = "d-3"\n',
        encoding="utf-8",
    )
    scenario = load_scenario(path)
    places = {each.id: (each.at.x, each.at.y) for each in scenario.detector if each.at}
    assert places == {"d-1": (0, 0), "d-2": (5, -1), "d-3": (10, -2)}


def test_the_gateway_knows_how_often_an_instrument_speaks(tmp_path: Path) -> None:
    path = tmp_path / "slow.toml"
    path.write_text(
        ONE_DETECTOR + "settings = { period_s = 5 }\n"
        '[[detector]]\nid = "e"\narchetype = "EPD"\nprofile = { sampling_s = 9 }\n'
        '[[detector]]\nid = "g"\ndriver = "gmc"\narchetype = "AREA"\nexercise = false\n',
        encoding="utf-8",
    )
    link = TcpLink(kind="tcp", host="::1", port=1)
    scenario = load_scenario(path)
    links = {each.id: link for each in scenario.detector}
    detectors = scenario.configuration(links, virtual=True).detector
    assert [each.profile.sampling_s for each in detectors] == [5, 9, None]
    assert [each.simulated for each in detectors] == [True, True, False]
    assert all(each.simulated for each in scenario.configuration(links).detector)


@pytest.mark.parametrize(
    ("keys", "bounds"),
    [
        ({}, (1, None)),
        ({"count": 0}, (0, 0)),
        ({"at_most": 4}, (0, 4)),
        ({"at_least": 2, "at_most": 4}, (2, 4)),
    ],
)
def test_how_often_an_expectation_may_be_met(
    keys: dict[str, int], bounds: tuple[int, int | None]
) -> None:
    assert Expectation(**keys).bounds == bounds


def test_half_lives_are_read_as_seconds() -> None:
    assert NUCLIDES["Tc-99m"].half_life_s == pytest.approx(6.01 * 3600)
    assert NUCLIDES["I-131"].half_life_s == pytest.approx(8.02 * 86_400)
    assert NUCLIDES["Cs-137"].half_life_s == pytest.approx(30 * 31_557_600)
    assert all(each.half_life_s > 0 for each in NUCLIDES.values())


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
