"""Scenarios in virtual time: what events do, what commands carry, what is expected."""

import json
from pathlib import Path
from typing import Any

import pytest

from config.scenario import load_scenario
from drivers.api import Sample
from drivers.errors import DriverError
from gateway import cli
from gateway.pipeline import Arrived, Commanded
from gateway.values import Command
from gateway.verbs.virtual import VirtualPlay

HEAD = """
[scenario]
name = "played"
duration_s = {duration}
"""
PAGER = """
[[detector]]
id = "prd-1"
archetype = "PRD"
at = { x = 0, y = 0 }
settings = { period_s = 1 }
"""


class Watched(VirtualPlay):
    """A play that notes what its pipeline is given."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.arrived: list[tuple[float, Any]] = []
        self.commands: list[Command] = []

    def _step(self, at_s: float, item: Any) -> Any:
        if isinstance(item, Arrived):
            self.arrived.append((at_s, item.output))
        if isinstance(item, Commanded):
            self.commands.append(item.command)
        return super()._step(at_s, item)


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str, duration: float = 60) -> Path:
        path = tmp_path / "scenario.toml"
        path.write_text(HEAD.format(duration=duration) + text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def play(write):
    def play(text: str, duration: float = 60) -> Watched:
        played = Watched(load_scenario(write(text, duration)))
        for _ in played.outputs():
            pass
        return played

    return play


def event(at_s: float, do: str, **keys: object) -> str:
    told = {"at_s": at_s, "do": do} | keys
    lines = (f"{key} = {json.dumps(value)}" for key, value in told.items())
    return "\n".join(["\n[[event]]", *lines, ""])


def values(played: Watched) -> list[tuple[float, float | None]]:
    """Moment and dose rate of each sample that has one."""
    return [
        (at_s, reading.value)
        for at_s, output in played.arrived
        if isinstance(output, Sample)
        for reading in output.readings
        if reading.channel == "dose_rate"
    ]


# Links, power, states.


def test_a_pulled_cable_costs_exactly_its_lines(play) -> None:
    played = play(PAGER + event(10.5, "unplug", detector="prd-1")
                  + event(20.5, "replug", detector="prd-1"))  # fmt: skip
    assert [at for at, _ in values(played)] == [*range(1, 11), *range(21, 61)]


def test_frozen_and_switched_off_instruments_say_nothing(play) -> None:
    played = play(
        PAGER
        + event(10.5, "freeze", detector="prd-1")
        + event(15.5, "thaw", detector="prd-1")
        + event(30.5, "power_off", detector="prd-1")
        + event(40.25, "power_on", detector="prd-1")
    )
    moments = [at for at, _ in values(played)]
    assert moments == [*range(1, 11), *range(16, 31), *(at + 0.25 for at in range(41, 60))]


def test_any_instrument_can_be_switched_off(play) -> None:
    text = """
    [[detector]]
    id = "hh-1"
    driver = "thermo-radeye"
    archetype = "PRD"
    at = { x = 0, y = 0 }
    """
    played = play(text + event(20, "power_off", detector="hh-1")
                  + event(40, "power_on", detector="hh-1"))  # fmt: skip
    moments = [at for at, _ in values(played)]
    assert not [at for at in moments if 21 < at < 40]
    assert [at for at in moments if at > 45]


def test_states_reach_the_line(play) -> None:
    played = play(
        PAGER
        + event(10, "tamper", detector="prd-1")
        + event(20, "tamper", detector="prd-1", on=False)
        + event(30, "identify", detector="prd-1", nuclide="I-131", category="medical")
        + event(40, "wrong_serial", detector="prd-1", serial_number="99")
    )
    told = {
        (reading.channel.value, reading.value)
        for _, output in played.arrived
        for reading in output.readings
        if reading.channel in ("tamper", "nuclide")
    }
    assert told == {("tamper", 1), ("tamper", 0), ("nuclide", None)}
    serials = {output.identity.serial for _, output in played.arrived if output.identity}
    assert serials == {"99"}


def test_garbage_is_rejected_and_the_next_line_is_read(play) -> None:
    played = play(PAGER + event(10.5, "garbage", detector="prd-1", bytes=300)
                  + event(20.5, "garbage", detector="prd-1", text="-OL-\n"))  # fmt: skip
    errors = [(at, each) for at, each in played.arrived if isinstance(each, DriverError)]
    assert {round(at, 1) for at, _ in errors} <= {10.5, 11.0, 20.5}
    assert (20.5, b"-OL-") in [(at, each.raw) for at, each in errors]
    assert [at for at, _ in values(played)][-40:] == [*range(21, 61)]


def test_a_kill_that_waits_for_an_alarm_comes_on_time(play) -> None:
    text = PAGER.replace("period_s = 1", "period_s = 0.25")
    played = play(
        text
        + event(10, "reading", detector="prd-1", dose_rate="120 µSv/h")
        + event(0.3, "kill", after="raised", detector="prd-1", down_s=2)
    )
    raised = [told.at_s for told in played.heard.alarms if told.event == "raised"]
    moments = [at for at, _ in values(played)]
    assert raised[0] == 10.25
    assert not [at for at in moments if 10.55 < at < 12.5]
    assert {10.5, 12.75} <= set(moments)
    occurrences = {t.occurrence for t in played.heard.alarms if t.alarm == "dose_rate"}
    assert len(occurrences) == 1


# Commands.


def test_commands_carry_what_the_scenario_says_and_nothing_else(play) -> None:
    played = play(
        PAGER
        + event(1, "shelve", detector="prd-1", level="R3", duration_s=600)
        + event(2, "duty", detector="prd-1", state="handed_in", user="custodian", reason="over")
        + event(3, "baseline", detector="prd-1", mode="survey", survey_s=30.0)
        + event(4, "report", text="a case", dose_rate="3 µSv/h")
        + event(5, "maintenance", detector="prd-1", on=False)
        + event(6, "stop_exercise", expect="refused")
    )
    told = [(each.name, each.user, dict(each.arguments)) for each in played.commands]
    shelf = {"detector": "prd-1", "level": "R3", "duration_s": 600.0, "reason": "scenario"}
    duty = {"detector": "prd-1", "state": "handed_in", "reason": "over"}
    survey = {"detector": "prd-1", "mode": "survey", "survey_s": 30.0, "reason": "scenario"}
    assert told == [
        ("shelve", "operator", shelf),
        ("duty", "custodian", duty),
        ("baseline", "operator", survey),
        ("report", "operator", {"text": "a case", "dose_rate": 3.0}),
        ("maintenance", "operator", {"detector": "prd-1", "on": False, "reason": "scenario"}),
        ("stop_exercise", "operator", {}),
    ]
    assert len(played.answers) == 6
    assert len({each.command_id for each in played.commands}) == 6


TWICE = (
    PAGER
    + event(10, "reading", detector="prd-1", dose_rate="30 µSv/h")
    + event(20, "release", detector="prd-1")
    + event(50, "reading", detector="prd-1", dose_rate="30 µSv/h")
    + event(60, "release", detector="prd-1")
)


def test_an_alarm_is_named_by_what_it_is_or_by_its_number(play) -> None:
    r4 = {"detector": "prd-1", "alarm": "dose_rate"}
    played = play(
        TWICE
        + event(12, "acknowledge", **r4)
        + event(45, "acknowledge", **r4)
        + event(55, "acknowledge", **r4, occurrence=1, expect="refused")
        + event(56, "acknowledge", **r4, level="R4")
        + event(57, "acknowledge", **r4, occurrence=2)
        + event(58, "acknowledge", **r4, occurrence=3)
        + event(59, "reset", **r4, level="R7"),
        duration=90,
    )
    first, second = [
        told.occurrence
        for told in played.heard.alarms
        if (told.event, told.alarm) == ("raised", "dose_rate")
    ]
    named = [command.get("occurrence") for command in played.commands]
    assert named == [first, "none", first, second, second, "none", "none"]
    (stale,) = (answer for event, answer in played.answers if event.expect == "refused")
    assert not stale.accepted


def test_nobody_answers_while_the_gateway_is_down(play) -> None:
    played = play(PAGER + event(10, "kill", down_s=5) + event(12, "report", text="a case"))
    assert played.commands == []
    ((_, answer),) = played.answers
    assert (answer.accepted, answer.reason) == (False, "the gateway is down")


# Expectations, seeds, summaries.


@pytest.fixture
def call(capsys):
    def call(*arguments: object) -> tuple[int, list[str], str]:
        code = cli.main(["simulate", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out.splitlines(), captured.err

    return call


RISE = PAGER + event(10, "reading", detector="prd-1", dose_rate="30 µSv/h")


@pytest.mark.parametrize(
    ("keys", "met"),
    [
        ('level = "R4"\ncount = 1', True),
        ('level = "R4"\nbetween = [10, 11.5]', True),
        ('level = "R4"\nbetween = [12, 60]', False),
        ('level = "R5"', False),
        ('level = "R5"\ncount = 0', True),
        ('detector = "prd-1"\nalarm = "dose_rate"\nat_most = 0', False),
        ('event = "closed"', False),
    ],
)
def test_an_expectation_decides_the_exit_code(call, write, keys: str, met: bool) -> None:
    code, _, err = call(write(RISE + f"\n[[expect]]\n{keys}\n"), "--only", "alarm_event")
    assert code == (0 if met else 1)
    assert ("expect[0]" in err) is not met


def test_an_unmet_expectation_says_what_happened(call, write) -> None:
    text = RISE + '\n[[expect]]\nlevel = "R4"\nbetween = [20, 30]\n'
    text += '\n[[expect]]\nlevel = "R4"\ncount = 2\n'
    _, _, err = call(write(text), "--summary")
    assert "expect[0] raised R4 between 20 and 30 s, at least 1: happened 0 times" in err
    assert "expect[1] raised R4, 2: happened 1 times (at 11 s)" in err


def test_an_unknown_event_is_an_error_before_playing(call, write) -> None:
    code, out, err = call(write(RISE + '\n[[expect]]\nevent = "rised"\n'))
    assert (code, out) == (2, [])
    assert "no alarm event is called 'rised'" in err


@pytest.mark.parametrize(
    ("keys", "met"),
    [
        ({"expect": "accepted"}, True),
        ({"expect": "refused"}, False),
        ({"expect_reason": "no such words"}, False),
    ],
)
def test_an_answer_is_expected_too(call, write, keys: dict[str, str], met: bool) -> None:
    wanted = event(20, "acknowledge", detector="prd-1", alarm="dose_rate", **keys)
    code, _, err = call(write(RISE + wanted), "--summary")
    assert code == (0 if met else 1)
    assert ("at 20 s acknowledge: expected" in err) is not met


def test_a_summary_is_one_object(call, write) -> None:
    wanted = event(20, "acknowledge", detector="prd-1", alarm="dose_rate")
    code, (line,), _ = call(write(RISE + wanted), "--summary", "--seed", 3)
    summary = json.loads(line)
    assert code == 0
    assert (summary["scenario"], summary["seed"]) == ("played", 3)
    r4 = {"detector": "prd-1", "alarm": "dose_rate", "level": "R4", "count": 1, "first_s": 11.0}
    assert r4 in summary["raised"]
    assert summary["answers"][0]["accepted"] is True
    assert summary["failed"] == []


def test_many_seeds_are_a_line_each_and_a_total(call, write) -> None:
    code, lines, _ = call(write(RISE + '\n[[expect]]\nlevel = "R4"\n'), "--seeds", 3)
    assert code == 0
    assert [line.partition(":")[0] for line in lines] == ["seed 1", "seed 2", "seed 3", "3 seeds"]
    assert all("1 dose_rate R4" in line for line in lines[:3])
    assert "3 dose_rate R4" in lines[3]
    assert lines[3].endswith("0 failed")
    code, lines, _ = call(write(RISE + '\n[[expect]]\nlevel = "R5"\n'), "--seeds", 2, "--summary")
    assert code == 1
    assert [json.loads(line)["seed"] for line in lines] == [1, 2]


def test_a_line_of_many_seeds_counts_all_detectors(call, write) -> None:
    other = RISE.replace("prd-1", "prd-2")
    _, lines, _ = call(write(RISE + other), "--seeds", 1)
    assert "2 dose_rate R4" in lines[0]
    assert "2 dose_rate R4" in lines[1]


def test_a_gateway_that_was_down_expects_nothing_of_that_time(play) -> None:
    """It waits for three missed outputs from its start on, not from its end."""
    played = play(PAGER + event(10.5, "kill", down_s=8))
    assert [told.alarm for told in played.heard.alarms] == []


def test_settings_of_other_simulators_are_refused_in_words(call, write) -> None:
    text = '[[detector]]\nid = "g"\ndriver = "gmc"\narchetype = "AREA"\nsettings = { modle = 1 }\n'
    code, out, err = call(write(text))
    assert (code, out) == (2, [])
    assert "modle" in err
