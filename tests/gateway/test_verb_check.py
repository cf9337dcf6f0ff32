"""``check``: what it prints of a configuration that is well, and of one that is not."""

import json
import re
from pathlib import Path

import pytest

from gateway import cli

EXAMPLE = Path(__file__).resolve().parents[2] / "config" / "examples" / "event.toml"


@pytest.fixture
def call(capsys):
    def run(*words):
        code = cli.main([str(word) for word in words])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


def written(tmp_path, text):
    path = tmp_path / "gw.toml"
    path.write_text(f'[gateway]\nid = "gw"\n{text}', encoding="utf-8")
    return path


def test_the_load_to_expect_is_printed(call):
    code, out, _ = call("check", "-c", EXAMPLE)
    assert code == 0
    well, head, *rows, fold = out.splitlines()
    assert fold.startswith("fold-over is not watched on hh-1, hh-2, van-1: ")
    assert "well, 5 detectors" in well
    assert head.split()[-2:] == ["per", "hour"]
    cells = [re.split(r"\s{2,}", row) for row in rows]
    assert len({row.index(basis) for row, (_, _, basis) in zip(rows, cells, strict=True)}) == 1
    assert [kind for kind, _, _ in cells] == [
        *("R1 rise", "R2 ratio", "levels by counts", "N1 neutrons"),
        *("portals", "technical", "total"),
    ]
    assert cells[0][1] == "0.36"
    assert cells[4][1] == "unknown"


def test_the_load_as_json(call):
    _, out, _ = call("check", "-c", EXAMPLE, "--json")
    loads = [each for each in map(json.loads, out.splitlines()) if "load" in each]
    assert loads[0]["per_hour"] == pytest.approx(0.36)
    assert next(each for each in loads if each["load"] == "portals")["per_hour"] is None


def test_a_disabled_alarm_is_refused_without_a_load(call, tmp_path):
    text = (
        '[[detector]]\nid = "prd-1"\ndriver = "radeye"\nclass = "Personal Radiation Detector"\n'
        'link = { kind = "serial", port = "/dev/ttyUSB0" }\n'
        'levels = { R3 = { raise = "0.5 µSv/h", on_delay_s = 2 } }\n'
    )
    code, out, err = call("check", "-c", written(tmp_path, text))
    assert (code, out) == (2, "")
    assert "1.8 s" in err
    assert "1 error" in err


def test_a_sites_texts_are_read_as_well(call, tmp_path):
    site = tmp_path / "texts"
    site.mkdir()
    (site / "fr.toml").write_text('[R9]\ntitle = "x"\nadvice = "y"\n')
    path = written(tmp_path, f'[guidance]\ndirectory = "{site}"\n')
    code, _, err = call("check", "-c", path)
    assert code == 2
    assert "fr.toml" in err
    assert "R9" in err
