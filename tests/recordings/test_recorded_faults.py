"""Faults from the field: every folder below tests/data/recordings says what it said when moved."""

import json
from pathlib import Path

import pytest

from gateway import cli
from gateway.verbs.recording_folder import ABOUT, EXPECTED, RECORDING, about, first_difference

DATA = Path(__file__).resolve().parents[1] / "data" / "recordings"
FOLDERS = sorted(path.parent for path in DATA.glob(f"*/{RECORDING}"))


@pytest.fixture
def call(capsys):
    def run(*words):
        code = cli.main([str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_there_are_folders_and_they_are_whole():
    assert len(FOLDERS) >= 2
    for folder in FOLDERS:
        assert {path.name for path in folder.iterdir()} == {ABOUT, EXPECTED, RECORDING}
        assert "to be written" not in about(folder).shows
        assert (folder / ABOUT).read_text("utf-8").startswith("# provenance: ")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_a_recorded_fault_leads_to_what_is_expected(call, folder):
    code, out, err = call("replay", folder, "--expect", folder / EXPECTED)
    assert (code, out) == (0, ""), err


def test_anything_else_is_a_fault(call, tmp_path):
    folder = DATA / "portal-garbage"
    lines = (folder / EXPECTED).read_text("utf-8").splitlines(keepends=True)
    wrong = tmp_path / EXPECTED
    wrong.write_text("".join(lines[:-1]))
    code, _, err = call("replay", folder, "--expect", wrong)
    assert code == 1
    assert "is one too many" in err
    wrong.write_text("".join(lines).replace("unknown_tag", "syntax", 1))
    code, _, err = call("replay", folder, "--expect", wrong)
    assert code == 1
    assert 'line 5: reason is "unknown_tag", not "syntax"' in err


def test_what_is_expected_is_written_into_the_folder(call, tmp_path):
    folder = tmp_path / "moved"
    folder.mkdir()
    for name in (RECORDING, ABOUT):
        (folder / name).write_bytes((DATA / "portal-garbage" / name).read_bytes())
    assert call("replay", folder, "--write")[0] == 0
    written = (folder / EXPECTED).read_text("utf-8")
    assert written == (DATA / "portal-garbage" / EXPECTED).read_text("utf-8")
    assert call("replay", folder / RECORDING, "--write")[0] == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "shows"),
        ('shows = "x"\ndriver = "nosuch"\n', "nosuch"),
        ('shows = "x"\nmood = "bad"\n', "mood"),
        ('shows = "x"\noptions = { colour = "red" }\n', "colour"),
    ],
)
def test_an_about_that_is_none(call, tmp_path, text, reason):
    (tmp_path / RECORDING).write_bytes((DATA / "portal-garbage" / RECORDING).read_bytes())
    (tmp_path / ABOUT).write_text(text)
    code, out, err = call("replay", tmp_path)
    assert (code, out) == (2, "")
    assert reason in err


def test_keys_that_came_later_are_no_difference():
    assert first_difference(['{"a": 1.0, "b": [1]}'], ['{"a": 1, "b": [1], "c": 2}']) == ""
    assert first_difference(['{"a": {"b": 1}}'], ['{"a": {"b": 2}}']) == "line 1: a.b is 2, not 1"
    assert first_difference(['{"a": [1]}'], ['{"a": [1, 2]}']) == "line 1: a is [1, 2], not [1]"
    assert first_difference(['{"a": 1}'], ['{"b": 1}']) == "line 1: a is missing"
    assert first_difference(['{"a": true}'], ['{"a": 1}']) == "line 1: a is 1, not true"
    assert "1 lines expected, 0 found" in first_difference(['{"a": 1}'], [])


def test_a_recording_without_a_header_needs_a_driver(call, tmp_path):
    path = tmp_path / "plain.jsonl"
    lines = (DATA / "portal-garbage" / RECORDING).read_text().splitlines(keepends=True)
    path.write_text("".join(lines[1:]))
    code, _, err = call("replay", path)
    assert code == 2
    assert "--driver" in err
    code, out, _ = call("replay", path, "--driver", "rapiscan", "--only", "sample")
    assert code == 0
    assert json.loads(out.splitlines()[0])["time"] == "2026-01-01T00:00:04.892Z"
    assert call("replay", tmp_path / "none")[0] == 2
    assert call("replay", path, "--driver", "rapiscan", "--option", "colour=red")[0] == 2


def test_another_driver_asks_other_questions_and_is_told_where(call):
    code, _, err = call("replay", DATA / "radeye-falls-silent" / RECORDING, "--driver", "gq-gmc")
    assert code == 1
    assert "recording.jsonl: line 3 (0 s): asked '<GETVER>>', recorded '@'" in err


def test_it_is_judged_as_configured(call, tmp_path):
    config = tmp_path / "gateway.toml"
    config.write_text(
        '[gateway]\nid = "here"\n\n[alarms.levels]\nR3 = { raise = "0.09 µSv/h" }\n\n'
        '[[detector]]\nid = "hh-1"\ndriver = "thermo-radeye"\n'
        'link = { kind = "serial", port = "/dev/ttyUSB0" }\n'
    )
    recording = DATA / "radeye-falls-silent" / RECORDING
    code, out, _ = call("replay", recording, "-c", config, "--only", "alarm_event")
    events = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert ("R3", "raised") in [(each["level"], each["event"]) for each in events]
    portal = DATA / "portal-garbage" / RECORDING
    code, _, err = call("replay", portal, "-c", config)
    assert code == 2
    assert "no detector 'gate-1'" in err


def test_decode_reads_recordings_of_those_that_talk_by_themselves(call):
    code, out, err = call("decode", "rapiscan", DATA / "portal-garbage" / RECORDING)
    records = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert "17 samples, 0 passages, 2 rejected" in err
    assert records[0]["time"] == "2026-11-26T16:41:35.705Z"
    assert [each["line"] for each in records if each["kind"] == "reject"] == [6, 7]


def test_decode_reads_recordings_of_those_that_are_asked(call):
    code, _, err = call("decode", "radeye", DATA / "radeye-falls-silent" / RECORDING)
    assert code == 0
    assert "16 samples" in err


@pytest.mark.parametrize("speed", ["-1", "nan", "fast", "1e9"])
def test_what_is_no_speed(call, speed):
    with pytest.raises(SystemExit):
        call("replay", DATA / "portal-garbage", f"--speed={speed}")


def test_a_hundred_times_as_fast_says_as_much(call):
    code, out, _ = call("replay", DATA / "portal-garbage", "--speed", "100")
    assert code == 0
    assert len(out.splitlines()) == 19
