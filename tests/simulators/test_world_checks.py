"""What a scenario says of the world and cannot mean: each error with its key, line and reason."""

from pathlib import Path

import pytest

from config.problem import ConfigErrors
from config.scenario import load_scenario

STAGE = """\
[scenario]
name = "faulty"
duration_s = 60

[[detector]]
id = "p"
archetype = "RPM"
sensitivity = 1000
at = { x = 0, y = 0 }
"""
SOURCE = '[[source]]\nid = "s"\nnuclide = "Cs-137"\nactivity = "1 MBq"\n'
LORRY = (
    '[[vehicle]]\nid = "l"\nportal = "p"\nat_s = 9\nlength_m = 5\nspeed = "2 m/s"\ncargo = "s"\n'
)

FAULTY = {
    "a line that points nowhere": (
        SOURCE + "at = { x = 1, y = 0 }\nspread_deg = 10\n",
        "source[0] (id s).spread_deg",
        "spread_m is missing beside it",
    ),
    "a line along a pass that points elsewhere": (
        SOURCE + 'pass = { past = "p", closest_m = 1, speed = "1 m/s", at_s = 9 }\n'
        "spread_m = 2\nspread_deg = 10\n",
        "source[0] (id s).spread_deg",
        "the line lies along its pass already",
    ),
    "a cargo that points out of its vehicle": (
        SOURCE + "spread_m = 2\nspread_deg = 10\n" + LORRY,
        "source[0] (id s).spread_deg",
        "the line lies along its vehicle already",
    ),
    "a cargo longer than its vehicle": (
        SOURCE + "spread_m = 6\n" + LORRY,
        "source[0] (id s).spread_m",
        "the cargo, 6 m, is longer than its vehicle, 5 m",
    ),
    "a line that is too long": (
        SOURCE + "at = { x = 1, y = 0 }\nspread_m = 1000\n",
        "source[0] (id s).spread_m",
        "100",
    ),
    "a pressure that says nothing": (
        "[[pressure]]\nt = 0\n",
        "pressure[0]",
        "one of factor and hpa",
    ),
    "a pressure that says it twice": (
        "[[pressure]]\nt = 0\nfactor = 1\nhpa = 1000\n",
        "pressure[0]",
        "one of factor and hpa",
    ),
    "a pressure without its coefficient": (
        "[[pressure]]\nt = 0\nhpa = 1000\n",
        "pressure[0].hpa",
        "neutrons_per_hpa is missing in [world]",
    ),
    "pressures of two kinds": (
        "[world]\nneutrons_per_hpa = 0.007\n"
        "[[pressure]]\nt = 0\nhpa = 1000\n[[pressure]]\nt = 9\nfactor = 1\n",
        "pressure[1].factor",
        "the corners before have hpa, not factor",
    ),
    "a coefficient that is a percentage": (
        "[world]\nneutrons_per_hpa = 0.7\n",
        "world.neutrons_per_hpa",
        "0.1",
    ),
    "an unknown key of the world": ("[world]\nwater = true\n", "world.water", "unknown"),
}


@pytest.mark.parametrize("name", FAULTY)
def test_what_it_cannot_mean(tmp_path: Path, name: str) -> None:
    addition, where, reason = FAULTY[name]
    path = tmp_path / "faulty.toml"
    path.write_text(STAGE + addition, encoding="utf-8")
    with pytest.raises(ConfigErrors) as raised:
        load_scenario(path)
    (line,) = [each for each in str(raised.value).splitlines() if where in each]
    assert reason in line
    number = int(line.split("faulty.toml:")[1].split(":")[0])
    assert number > STAGE.count("\n")


def test_what_it_can_mean(tmp_path: Path) -> None:
    path = tmp_path / "good.toml"
    path.write_text(
        STAGE
        + SOURCE
        + "spread_m = 5\n"
        + LORRY
        + '[[source]]\nid = "t"\nnuclide = "Co-60"\nactivity = "1 MBq"\nat = { x = 3, y = 0 }\n'
        + "spread_m = 4\nspread_deg = 45\n"
        + "[world]\nair = true\nneutrons_per_hpa = 0.007\nreference_hpa = 950\n"
        + "[[pressure]]\nt = 0\nhpa = 1000\n[[pressure]]\nt = 9\nhpa = 990\n",
        encoding="utf-8",
    )
    scenario = load_scenario(path)
    assert scenario.world.air
    assert [each.spread_m for each in scenario.source] == [5, 4]
