"""The reference page of scenarios leaves no table, action or key out, and says what each means."""

import re

import pytest

from config.archetypes import ARCHETYPES
from config.key_rows import models_in
from config.nuclides import NUCLIDES
from config.scenario import Scenario
from config.scenario_detectors import JsonLinesSettings
from config.scenario_reference import actions, inherited, names_of, scenario_page

PAGE = scenario_page("")
ROW = re.compile(r"^\| `(\w+)` \| (.*) \| (.*) \| (.*) \| (.*) \|$")


def section(heading):
    """The rows below a heading of any depth, up to the next one: key to its cells."""
    lines = PAGE.splitlines()
    begin = next(
        n for n, line in enumerate(lines) if re.fullmatch(f"#+ {re.escape(heading)}", line)
    )
    found = {}
    for line in lines[begin + 1 :]:
        if line.startswith("#"):
            break
        if match := ROW.match(line):
            key, *cells = match.groups()
            found[key] = cells
    return found


def keys(model):
    return {field.alias or name for name, field in model.model_fields.items()}


def tables():
    """Every table of a file but the events: its heading and its model."""
    for name, field in Scenario.model_fields.items():
        if name != "event":
            (model,) = models_in(field.annotation)
            yield (f"`[[{name}]]`" if "tuple" in str(field.annotation) else f"`[{name}]`"), model


def inner(model, seen):
    for field in model.model_fields.values():
        for each in models_in(field.annotation):
            if each not in seen:
                seen.append(each)
                inner(each, seen)


def below():
    """Tables inside tables."""
    seen = []
    for _, model in tables():
        inner(model, seen)
    return seen


def headed(action):
    return ", ".join(f"`{name}`" for name in names_of(action))


@pytest.mark.parametrize(("heading", "model"), list(tables()))
def test_each_table_has_all_its_keys(heading, model):
    assert set(section(heading)) == keys(model)


@pytest.mark.parametrize("model", below())
def test_each_table_inside_another_has_all_its_keys(model):
    assert set(section(model.__name__)) == keys(model)


@pytest.mark.parametrize("action", actions())
def test_each_action_has_its_keys_or_those_of_a_section_it_names(action):
    base, own = inherited(action), set(section(headed(action)))
    assert keys(action) == own | keys(base) | {"do"}
    assert own.isdisjoint(keys(base))


@pytest.mark.parametrize(
    "title", ["All actions", "Commands", "Commands about an alarm", "Faults of links"]
)
def test_what_actions_share_is_told(title):
    assert section(title)


def test_settings_of_the_default_instrument():
    assert set(section("Settings of json-lines")) == keys(JsonLinesSettings)


def test_every_key_says_what_it_means_and_of_what_type_it_is():
    found = [match.groups() for line in PAGE.splitlines() if (match := ROW.match(line))]
    meant = [cells for cells in found if cells[0] not in ARCHETYPES]
    assert len(meant) > 200
    for key, kind, _, _, meaning in meant:
        assert kind.strip(), key
        assert meaning.strip(), key


def test_amounts_are_told_with_units_and_numbers_with_theirs():
    assert section("`[background]`")["dose_rate"][:3] == [
        "a dose rate",
        "with its unit",
        "`0.1 µSv/h`",
    ]
    assert section("`[[crowd]]`")["activity"][2] == "`740 MBq`"
    assert section("Pass")["heading_deg"][:3] == ["number ≥ 0, < 360", "°", "90"]
    assert section("`[scenario]`")["duration_s"][:3] == ["number > 0", "s", "required"]


def test_archetypes_and_nuclides_are_listed():
    for name in (*(f"`{each}`" for each in ARCHETYPES), *NUCLIDES):
        assert f"| {name} |" in PAGE


def test_every_link_inside_the_page_leads_somewhere():
    headings = re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}
    links = re.findall(r"\]\(#([^)]*)\)", PAGE)
    assert links
    assert set(links) <= anchors
