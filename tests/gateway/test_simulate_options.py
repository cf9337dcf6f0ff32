"""Options of ``simulate`` that mean nothing, or nothing together, are refused in words."""

import tempfile
from pathlib import Path

import pytest

from gateway import cli

TEXT = """
[scenario]
name = "options"
duration_s = 1
[[detector]]
id = "prd"
archetype = "PRD"
at = { x = 0, y = 0 }
"""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--broker", "mqtt://127.0.0.1"), "--broker needs --live"),
        (("--seconds", "5"), "--seconds needs --live"),
        (("--directory", "d"), "--directory needs --live"),
        (("--seeds", "0"), "--seeds 0 plays nothing"),
        (("--seeds", "2", "--journal", "d"), "does not go with --seeds"),
        (("--live", "--seeds", "2"), "--seeds does not go with --live"),
        (("--live", "--summary"), "--summary does not go with --live"),
        (("--live", "--journal", "d"), "--journal does not go with --live"),
        (("--live", "--only", "sample"), "--only does not go with --live"),
        (("--live", "--seconds", "-1"), "--seconds -1 is no time of play"),
        (("--live", "--seconds", "0"), "--seconds 0 is no time of play"),
        (("--live", "--broker", "127.0.0.1"), 'write "mqtt://127.0.0.1"'),
        (("--live", "--broker", "mqtt://u:p@127.0.0.1"), "holds no user name or password"),
        (("--live", "--broker", "http://127.0.0.1"), "is not a kind of address"),
        (("--live", "--port", "99999"), "99999 is no port"),
        (("--live", "--directory", "/proc/nope"), "/proc/nope: "),
        (("--live", "--directory", "/etc/hosts"), "/etc/hosts: is no folder"),
        (("--live", "--directory", "/etc/hosts/x"), "/etc/hosts/x: Not a directory"),
    ],
)
def test_options_that_mean_nothing_are_bad_usage(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    words: tuple[str, ...],
    expected: str,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path = tmp_path / "exercise.toml"
    path.write_text(TEXT, encoding="utf-8")
    assert cli.main(["simulate", str(path), *words]) == 2
    told = capsys.readouterr()
    assert expected in told.err
    assert "Traceback" not in told.err
    assert told.out == ""
