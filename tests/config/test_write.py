"""What the program writes loads to an equal configuration."""

import tomllib
from pathlib import Path

import pytest

from config.loader import complete
from config.models import Configuration
from config.write import to_toml

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "config" / "examples").glob("*.toml"))
LINK = {"kind": "recording", "path": "-"}


def again(configuration: Configuration) -> Configuration:
    return Configuration.model_validate(tomllib.loads(to_toml(configuration)))


def made(**keys: object) -> Configuration:
    return Configuration.model_validate({"gateway": {"id": "gw"}, **keys})


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_are_written_and_read_equal(path: Path) -> None:
    configuration = Configuration.model_validate(complete(tomllib.loads(path.read_text("utf-8"))))
    assert again(configuration) == configuration
    assert again(again(configuration)) == configuration


def test_there_are_examples() -> None:
    assert EXAMPLES


def test_defaults_are_left_out() -> None:
    assert to_toml(made()) == '\n[gateway]\nid = "gw"\n'


@pytest.mark.parametrize(
    "text", ["Tor „C“", 'a "quoted" \\ thing', "line\nfeed\ttab", "\x7f\x00", "µSv/h", ""]
)
def test_any_text_comes_back(text: str) -> None:
    configuration = made(post=[{"id": "p", "names": {"de": text, "key with blank": text}}])
    assert again(configuration) == configuration


@pytest.mark.parametrize("number", ["0.1", "1e-05", "123456.789", "1e6", "0.30000000000000004"])
def test_amounts_come_back_exactly(number: str) -> None:
    configuration = made(alarms={"levels": {"R3": {"raise": f"{number} µSv/h"}}})
    back = again(configuration)
    assert back.alarms.levels.R3 is not None
    assert back.alarms.levels.R3.raise_at == float(number)


def test_options_of_a_driver_have_no_units_whatever_they_are_called() -> None:
    options = {"counts": 4, "clear": 1.5, "raise": True, "range_top": "x"}
    configuration = made(
        detector=[{"id": "d", "driver": "x", "link": LINK, "options": options}],
    )
    assert again(configuration).detector[0].options == options


def test_a_level_that_was_switched_on_stays_on() -> None:
    level = {"raise": "1 mSv/h", "enabled": True}
    configuration = made(alarms={"levels": {"R6": level}})
    for each in (configuration, again(configuration)):
        assert each.alarms.levels.R6 is not None
        assert "enabled" in each.alarms.levels.R6.model_fields_set
