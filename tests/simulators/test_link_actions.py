"""Faults of links in a scenario: what fits which detector, and events that come while it plays."""

import json
from pathlib import Path

import pytest

from config.actions import Send
from config.injection import Injection, read_events, table_of
from config.problem import ConfigErrors, Severity, format_problem
from config.scenario import Scenario, examine_scenario, load_scenario

TEXT = """
[scenario]
name = "links"
duration_s = 60

[[source]]
id = "there"
nuclide = "Cs-137"
activity = "1 MBq"
at = { x = 9, y = 9 }

[[detector]]
id = "tty"
archetype = "PRD"
at = { x = 0, y = 0 }
link = "serial"

[[detector]]
id = "tcp"
archetype = "PRD"
at = { x = 0, y = 0 }
link = "tcp"

[[detector]]
id = "m-1"
driver = "aspect-rpm-modbus-tcp"
archetype = "RPM"
sensitivity = 1000
at = { x = 0, y = 0 }
bus = "gate"

[[detector]]
id = "m-2"
driver = "aspect-rpm-modbus-tcp"
archetype = "RPM"
sensitivity = 1000
at = { x = 0, y = 0 }
bus = "gate"
"""


@pytest.fixture
def examined(tmp_path: Path):
    def examined(event: str = "", text: str = TEXT, events: list | None = None) -> list[str]:
        path = tmp_path / "scenario.toml"
        more = f"\n[[event]]\nat_s = 1\n{event}\n" if event else ""
        path.write_text(text + more, encoding="utf-8")
        examination = examine_scenario(path, events)
        return [f"{each.severity}: {format_problem(each)}" for each in examination.problems]

    return examined


@pytest.fixture
def scenario(tmp_path: Path) -> Scenario:
    path = tmp_path / "whole.toml"
    path.write_text(TEXT, encoding="utf-8")
    return load_scenario(path)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ('do = "half_open"\ndetector = "tty"', "a serial port cannot play 'half_open'"),
        ('do = "replug"\ndetector = "tcp"\nrenumbered = true', "no serial port has no number"),
        ('do = "reply_fault"\ndetector = "tcp"\nfault = "short"', "only register instruments"),
        ('do = "flood"\ndetector = "m-1"', "registers have no bytes to add"),
        ('do = "swap"\ndetector = "tcp"\nother = "m-1"', "registers and bytes cannot change"),
        ('do = "swap"\ndetector = "tcp"\nother = "tcp"', "cannot change places with itself"),
        ('do = "swap"\ndetector = "tcp"\nother = "tpc"', "did you mean 'tcp'?"),
        ('do = "loss"\ndetector = "tcp"\nshare = 1.5', "at most 1"),
        ('do = "loss"\ndetector = "tcp"\nshares = 0.5', "did you mean 'share'?"),
        ('do = "corrupt"\ndetector = "tcp"', "did you mean 'corruption'?"),
        (
            'do = "send_source"\nid = "a"\nnuclide = "Cs137"\nactivity = "1 MBq"\npast = "tcp"',
            "did you mean 'Cs-137'?",
        ),
        (
            'do = "send_source"\nid = "a"\nnuclide = "Cs-137"\nactivity = "1 MBq"\npast = "x"',
            "past: no detector",
        ),
    ],
)
def test_what_does_not_fit_is_an_error_with_the_likely_fix(examined, event, expected) -> None:
    found = [each for each in examined(event) if each.startswith(Severity.ERROR)]
    assert len(found) == 1, found
    assert expected in found[0]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ('do = "half_open"\ndetector = "tcp"', "'half_open' is played with --live only"),
        ('do = "split"\ndetector = "m-1"', "'split' of registers is played with --live only"),
        ('do = "replug"\ndetector = "tty"\nrenumbered = true', "'renumbered' is played with"),
        ('do = "split"\ndetector = "tty"', None),
        ('do = "replug"\ndetector = "tcp"', None),
    ],
)
def test_what_virtual_time_leaves_out_is_said(examined, event, expected) -> None:
    found = examined(event)
    assert not [each for each in found if each.startswith(Severity.ERROR)]
    assert [expected in each for each in found] == ([] if expected is None else [True])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (('link = "tcp"', 'link = "modbus_tcp"'), "json-lines is not reached by 'modbus_tcp'"),
        (('link = "tcp"', 'link = "tcp"\nbus = "gate"'), "json-lines is not on Modbus"),
        (('bus = "gate"', 'bus = "gate"\nlink = "modbus_rtu"'), "is not reached by 'modbus_rtu'"),
        (('bus = "gate"', 'bus = "gate"\nlink = "modbus_rtu_tcp"'), "the same kind of link"),
    ],
)
def test_links_and_buses_fit_their_drivers(examined, change, expected) -> None:
    found = examined(text=TEXT.replace(*change, 1))
    assert any(expected in each for each in found), found


def test_an_event_that_comes_while_it_plays_is_checked_like_one_of_the_file(scenario) -> None:
    injection = Injection(scenario)
    event = {"at_s": 12.5, "do": "send_source", "id": "new", "nuclide": "Co-60",
             "activity": "2 mCi", "past": "tcp", "speed": "3.6 km/h"}  # fmt: skip
    made = injection.examine(event)
    assert isinstance(made, Send)
    assert made.speed == pytest.approx(1.0)
    told = json.loads(json.dumps(table_of(made)))
    assert told == {**event, "activity": "74000000.0 Bq", "speed": "1.0 m/s"}
    assert injection.examine(told) == made


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"do": "unplug", "detector": "tpc"}, "did you mean 'tcp'?"),
        ({"do": "unplugg", "detector": "tcp"}, "did you mean 'unplug'?"),
        ({"detector": "tcp"}, "the key 'do' is missing"),
        ({"do": "remove_source", "id": "gone"}, "no source"),
        ({"do": "garbage", "detector": "m-1"}, "registers have no bytes to add"),
        ({"do": "rain", "rise": "0.1 cps"}, "not of dose equivalent rate"),
        ({"do": "place_source", "id": "A", "nuclide": "Cs-137", "activity": "1 MBq", "x": 0,
          "y": 0}, "is not an id"),
    ],
)  # fmt: skip
def test_a_faulty_one_says_what_is_wrong_and_names_no_file(scenario, event, expected) -> None:
    with pytest.raises(ConfigErrors) as caught:
        Injection(scenario).examine({"at_s": 1.0, **event})
    assert expected in str(caught.value)
    assert str(caught.value).startswith("inject: ")
    assert "event[0]" not in str(caught.value)


def test_a_source_that_came_while_it_plays_can_be_taken_away(scenario) -> None:
    injection = Injection(scenario)
    wanted = {"at_s": 1.0, "do": "remove_source", "id": "new"}
    with pytest.raises(ConfigErrors):
        injection.examine(wanted)
    assert injection.examine(wanted, ["new"]).do == "remove_source"
    assert injection.examine({**wanted, "id": "there"}).do == "remove_source"


def test_other_events_happen_in_place_of_the_file_s(examined, tmp_path: Path) -> None:
    path = tmp_path / "played.jsonl"
    path.write_text('{"at_s": 1, "do": "freeze", "detector": "tcp"}\n', encoding="utf-8")
    own = 'do = "unplug"\ndetector = "nobody"'
    assert any("nobody" in each for each in examined(own))
    assert examined(own, events=read_events(path)) == []
    faulty = examined(own, events=[{"at_s": 1, "do": "freeze", "detector": "tpc"}])
    assert any("scenario.toml: event[0].detector" in each for each in faulty)  # in no line of it
    for text, expected in (("{", "no JSON"), ("[1]", "no JSON object")):
        path.write_text('{"at_s": 1}\n' + text, encoding="utf-8")
        with pytest.raises(ConfigErrors, match=f"played.jsonl:2: {expected}"):
            read_events(path)
