"""Every example file is sound, and the complete one names every key there is."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import pytest
from pydantic import BaseModel

from config.loader import load
from config.models import Configuration, ModbusRtuLink
from config.problem import Severity
from config.scenario import examine_scenario, load_scenario
from gateway.verbs.heard import unanswered, unmet
from gateway.verbs.virtual import VirtualPlay

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "config" / "examples"
CONFIGURATIONS = sorted(EXAMPLES.glob("*.toml"))
SCENARIOS = sorted(EXAMPLES.glob("scenarios/*.toml"))
GUIDANCE = sorted(EXAMPLES.glob("guidance/*.toml"))


@pytest.fixture(autouse=True)
def fake_drivers() -> None:
    """Examples name real drivers, so the made-up ones of this folder are not wanted here."""


def name_of(path: Path) -> str:
    return path.stem


def test_there_are_no_files_of_another_kind() -> None:
    assert CONFIGURATIONS
    assert SCENARIOS
    found = {path for path in EXAMPLES.rglob("*") if path.is_file()}
    assert found == {*CONFIGURATIONS, *SCENARIOS, *GUIDANCE}


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=name_of)
def test_configuration_loads(path: Path) -> None:
    assert load(path).detector


@pytest.mark.parametrize("path", SCENARIOS, ids=name_of)
def test_scenario_loads_and_everything_in_it_is_played(path: Path) -> None:
    examination = examine_scenario(path)
    assert examination.scenario is not None
    errors = [each for each in examination.problems if each.severity is Severity.ERROR]
    assert errors == []
    assert all(event.played for event in examination.scenario.event)


def models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Every model that a value of this type may hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        return
    if get_origin(annotation) in (Union, UnionType) or get_args(annotation):
        for part in get_args(annotation):
            yield from models(part)


def keys_of(model: type[BaseModel], path: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        key = f"{path}.{field.alias or name}".lstrip(".")
        yield key
        for below in models(field.annotation):
            if below is not ModbusRtuLink:
                yield from keys_of(below, key)


def keys_in(value: object, path: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, below in value.items():
            key = f"{path}.{name}".lstrip(".")
            yield key
            yield from keys_in(below, key)
    elif isinstance(value, list):
        for below in value:
            yield from keys_in(below, path)


def levels_are_one(keys: Iterator[str]) -> set[str]:
    """R3 to R7 take the same keys, so do D1 to D5, for the gateway, a class and a detector."""
    shared = (
        (r"^(alarms|detector)\.(dose_)?levels", r"\2levels"),
        (r"^detector\.profile", "profile"),
    )
    found = set()
    for key in keys:
        plain = re.sub(r"\.[RD][1-7](?=\.|$)", ".L", key)
        for pattern, name in shared:
            plain = re.sub(pattern, name, plain)
        found.add(plain)
    return found - {"levels.L", "dose_levels.L"}


def test_one_example_names_every_key() -> None:
    document = tomllib.loads((EXAMPLES / "every-key.toml").read_text(encoding="utf-8"))
    assert levels_are_one(keys_of(Configuration)) == levels_are_one(keys_in(document)) - {
        "post.names.en",
        "post.names.de",
        "detector.options.cpm_width",
    }


def history(name: str) -> tuple[list[str], VirtualPlay]:
    """The events of the dose-rate alarm, and the play they came from."""
    play = VirtualPlay(load_scenario(EXAMPLES / "scenarios" / f"{name}.toml"))
    bodies = [json.loads(entry.body) for outputs in play.outputs() for entry in outputs.entries]
    events = [each for each in bodies if each["kind"] == "alarm_event"]
    return [each["event"] for each in events if each["alarm"] == "dose_rate"], play


def answers(play: VirtualPlay) -> list[tuple[str, str]]:
    return [
        (event.do, "accepted" if answer.accepted else "refused") for event, answer in play.answers
    ]


def test_walk_past_goes_as_its_comment_says() -> None:
    events, play = history("walk-past")
    assert [each for each in events if each != "peak"] == [
        "raised",
        "acknowledged",
        "returned",
        "closed",
    ]
    assert answers(play) == [("acknowledge", "accepted")]


def test_unplugged_goes_as_its_comment_says() -> None:
    events, play = history("unplugged")
    assert [each for each in events if each not in ("peak", "escalated")] == [
        "raised",
        "stale",
        "acknowledged",
        "fresh",
        "stale",
        "fresh",
        "returned",
        "latched",
        "reset",
        "closed",
    ]
    assert answers(play) == [
        ("acknowledge", "accepted"),
        ("reset", "refused"),
        ("reset", "accepted"),
    ]


SHORT_S = 2000
"""Longer ones are played with make torture, or by hand; own choice."""
READY = frozenset(
    {
        "broker-outage",
        "district-search",
        "hidden-source",
        "high-fields",
        "motorcade",
        "radiography",
    }
)
"""Short ones that tests/scenarios/test_ready_scenarios.py plays."""


@pytest.mark.parametrize("path", SCENARIOS, ids=name_of)
def test_scenario_meets_its_expectations(path: Path) -> None:
    scenario = load_scenario(path)
    if scenario.scenario.duration_s > SHORT_S or len(scenario.crowd):
        pytest.skip("long")
    if path.stem in READY:
        pytest.skip("played elsewhere")
    play = VirtualPlay(scenario)
    for _ in play.outputs():
        pass
    assert [*unanswered(play.answers), *unmet(scenario.expect, play.heard.alarms)] == []


def quoted_toml() -> list[tuple[str, list[str]]]:
    """Every TOML block of the documentation, as its lines, with the page it stands on."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")]
    return [
        (page.name, [line for line in block.splitlines() if line])
        for page in pages
        for block in re.findall(r"```toml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    ]


def test_toml_in_the_documentation_is_quoted_from_a_tested_file() -> None:
    files = [
        *EXAMPLES.rglob("*.toml"),
        *ROOT.glob("tests/data/vectors/*.toml"),
        *ROOT.glob("tests/data/recordings/**/*.toml"),
        ROOT / "pyproject.toml",
    ]
    texts = [path.read_text(encoding="utf-8").splitlines() for path in files]
    blocks = quoted_toml()
    assert blocks
    for page, block in blocks:
        assert any(is_within(block, text) for text in texts), f"{page}: {block[:3]} ..."


def is_within(block: list[str], text: list[str]) -> bool:
    """Whether all lines of the block stand in the text, in this order."""
    lines = iter(text)
    return all(line in lines for line in block)
