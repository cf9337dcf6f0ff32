"""``dosegate plot``: its inputs, its options, and what it says of faulty ones."""

import io
import json
import sqlite3
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from gateway import cli
from gateway.journal.file import FILE
from gateway.journal.look import journal_outputs
from gateway.values import Entry, Lane, Outputs

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "config" / "examples" / "scenarios"
UNPLUGGED = EXAMPLES / "unplugged.toml"
EVENT = EXAMPLES / "event.toml"


@pytest.fixture
def call(capsys):
    def run(*words):
        code = cli.main([str(word) for word in words])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


@pytest.fixture
def played(call, tmp_path):
    """The messages of a scenario as a file."""

    def run(scenario: Path) -> Path:
        path = tmp_path / "played.jsonl"
        path.write_text(call("simulate", scenario)[1], encoding="utf-8")
        return path

    return run


def test_a_scenario_is_played_and_drawn(call, tmp_path):
    out = tmp_path / "unplugged.svg"
    code, said, told = call("plot", UNPLUGGED, out)
    assert (code, said) == (0, "")
    assert "detectors: 1, alarms: 3" in told
    picture = out.read_text(encoding="utf-8")
    for word in ("hh-1", "R5  100", "unplug", "kill, 5 s down", "EXERCISE", "no samples came"):
        assert word in picture
    assert "alarm holds, data are stale" in picture


def test_a_map_is_drawn_of_a_scenario_with_places(call, tmp_path):
    out = tmp_path / "event.svg"
    code, _, told = call("plot", EVENT, out)
    assert code == 0
    assert "No room for" in told
    picture = out.read_text(encoding="utf-8")
    for word in ("east, m", "carried (Cs-137)", "hh-1 R3", "way of a detector", "portal-b"):
        assert word in picture


def test_json_lines_from_a_file_and_from_standard_input(call, played, tmp_path, monkeypatch):
    lines = played(UNPLUGGED)
    assert call("plot", lines, tmp_path / "file.svg")[0] == 0
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines.read_text(encoding="utf-8")))
    assert call("plot", "-", tmp_path / "stdin.svg", "--title", "played.jsonl")[0] == 0
    assert (tmp_path / "file.svg").read_bytes() == (tmp_path / "stdin.svg").read_bytes()
    picture = (tmp_path / "file.svg").read_text(encoding="utf-8")
    assert "Levels: those that alarms told of." in picture
    assert "R4  20" in picture


def test_a_journal_and_its_export_give_the_same_story(call, tmp_path):
    state = tmp_path / "state"
    call("simulate", UNPLUGGED, "--journal", state)
    assert call("plot", state, tmp_path / "journal.svg", "--title", "one")[0] == 0
    export = tmp_path / "export.jsonl"
    call("journal", "export", export, "--format", "jsonl", "--directory", state)
    assert call("plot", export, tmp_path / "export.svg", "--title", "one")[0] == 0
    assert (tmp_path / "journal.svg").read_bytes() == (tmp_path / "export.svg").read_bytes()
    assert "R5" in (tmp_path / "journal.svg").read_text(encoding="utf-8")


@pytest.fixture
def late(call, tmp_path):
    """A journal whose newest entry is of another kind, a minute after the last reading."""

    def entries(lines):
        for line in lines:
            message = json.loads(line)
            if message["kind"] == "sample":
                yield Entry(Lane.EXERCISE_SAMPLES, "detector/hh-1/sample", line.encode())
            elif message["kind"] == "alarm_event":
                yield Entry(Lane.EXERCISE_ALARMS, "alarm/event", line.encode())

    state = tmp_path / "late"
    with journal_outputs(state) as take:
        for entry in entries(call("simulate", UNPLUGGED)[1].splitlines()):
            take(Outputs(entries=(entry,)))
        watch = json.dumps({"kind": "watch", "time": "2026-01-01T00:02:40.000Z"}).encode()
        take(Outputs(entries=(Entry(Lane.EXERCISE_ALARMS, "watch", watch),)))
    return state


def test_times_before_the_end_of_a_journal_mean_its_newest_entry(call, late, tmp_path):
    out = tmp_path / "late.svg"
    assert call("plot", late, out, "--from", "-90s")[0] == 0
    picture = out.read_text(encoding="utf-8")
    assert "00:01:10 to 00:02:40 UTC" in picture
    assert "dose rate" in picture
    assert "no samples came" in picture


def test_a_piece_of_a_journal_without_readings_says_so(call, late, tmp_path):
    code, _, told = call("plot", late, tmp_path / "late.svg", "--from", "-50s")
    assert code == 0
    assert "No dose rate or counts in this time: hh-1." in told


def test_damaged_rows_are_left_out_and_counted(call, tmp_path):
    state, out = tmp_path / "state", tmp_path / "damaged.svg"
    call("simulate", UNPLUGGED, "--journal", state)
    damage(state, "UPDATE events SET body = x'00' WHERE id = 1")
    code, _, told = call("plot", state, out)
    assert (code, "Messages that cannot be read: 1;" in told) == (0, True)
    assert "Messages that cannot be read: 1;" in "".join(out.read_text("utf-8").split("\n"))


@pytest.mark.parametrize("words", [(), ("--detector", "hh-1")])
def test_a_journal_of_which_nothing_can_be_read(call, tmp_path, words):
    state, out = tmp_path / "state", tmp_path / "damaged.svg"
    call("simulate", UNPLUGGED, "--journal", state)
    damage(state, "UPDATE events SET body = x'00'", "UPDATE groups SET data = x'00'")
    code, _, told = call("plot", state, out, *words)
    assert (code, "nothing can be read" in told, out.exists()) == (1, True, False)


def damage(state: Path, *statements: str) -> None:
    con = sqlite3.connect(state / FILE)
    for statement in statements:
        con.execute(statement)
    con.commit()
    con.close()


def test_a_piece_of_time_and_some_detectors(call, played, tmp_path):
    lines, out = played(EVENT), tmp_path / "piece.svg"
    words = ("--from", "17:00:05", "--to", "17:01", "--detector", "hh-1", "--detector", "portal-a")
    assert call("plot", lines, out, *words)[0] == 0
    picture = out.read_text(encoding="utf-8")
    assert "17:00:05 to 17:01:00 UTC" in picture
    assert "portal-a" in picture
    assert "hh-2" not in picture


def test_times_may_be_seconds_of_play_or_before_the_end(call, tmp_path):
    out = tmp_path / "piece.svg"
    assert call("plot", UNPLUGGED, out, "--from", "10s", "--to", "-30s")[0] == 0
    assert "00:00:10 to 00:01:10 UTC" in out.read_text(encoding="utf-8")


def test_the_size_is_the_one_that_was_asked_for(call, tmp_path):
    out = tmp_path / "page.png"
    assert call("plot", UNPLUGGED, out, "--size", "254x203.2")[0] == 0
    assert struct.unpack(">II", out.read_bytes()[16:24]) == (2000, 1600)


@pytest.mark.parametrize("size", ["a9", "10x10", "99999x99999", "300"])
def test_a_size_that_is_no_page(call, tmp_path, size):
    with pytest.raises(SystemExit) as ended:
        call("plot", UNPLUGGED, tmp_path / "page.png", "--size", size)
    assert ended.value.code == 2


@pytest.mark.parametrize("name", ["picture.jpg", "picture", "-"])
def test_an_unknown_kind_of_picture(call, tmp_path, name):
    code, _, told = call("plot", UNPLUGGED, tmp_path / name)
    assert (code, told.count("\n")) == (2, 1)
    assert ".png or .svg" in told


def test_without_the_extra_it_says_what_to_install(call, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, _, told = call("plot", UNPLUGGED, tmp_path / "picture.png")
    assert code == 2
    assert "pip install 'dosegate[plot]'" in told


def test_nothing_but_the_drawing_loads_the_library():
    verbs = [f"gateway.verbs.{verb.module}" for verb in cli.VERBS]
    code = f"import importlib, sys; [importlib.import_module(m) for m in {verbs!r}]; "
    code += "sys.exit('matplotlib' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        ("", 1, "no dated sample, passage or alarm event"),
        ('{"kind": "watch"}\n', 1, "no dated sample, passage or alarm event"),
        ('{"kind": "watch"}\nRADEYE 12\n', 1, "source.jsonl:2: this is no line of JSON"),
        ("[1, 2]\n", 1, "source.jsonl:1: it is no object"),
        ('{"kind": "sample", "detector": "a", "time": "now"}\n', 1, "a message of kind sample"),
        (b"\xff\xfe\x00", 1, "it is not text"),
    ],
)
def test_input_that_tells_nothing(call, tmp_path, content, code, said):
    path, out = tmp_path / "source.jsonl", tmp_path / "picture.png"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    got, _, told = call("plot", path, out)
    assert got == code
    assert said in told
    assert not out.exists()


def test_input_that_is_not_there(call, tmp_path):
    code, _, told = call("plot", tmp_path / "none.jsonl", tmp_path / "picture.png")
    assert (code, "No such file" in told) == (2, True)
    code, _, told = call("plot", tmp_path / "none.toml", tmp_path / "picture.png")
    assert (code, "none.toml" in told) == (2, True)
    code, _, told = call("plot", tmp_path, tmp_path / "picture.png")
    assert (code, "there is no journal" in told) == (1, True)


def test_a_faulty_scenario_names_its_faults(call, tmp_path):
    path = tmp_path / "faulty.toml"
    path.write_text("[scenario]\nname = 'x'\nduration = 5\n", encoding="utf-8")
    code, _, told = call("plot", path, tmp_path / "picture.png")
    assert (code, "duration_s" in told) == (2, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--detector", "hh-9"), "no detector is called hh-9: hh-1"),
        (("--from", "noon"), "is no time"),
        (("--from", "60s", "--to", "20s"), "--from is not before --to"),
    ],
)
def test_options_that_ask_for_what_there_is_not(call, tmp_path, words, said):
    code, _, told = call("plot", UNPLUGGED, tmp_path / "picture.png", *words)
    assert code == 2
    assert said in told


def test_a_folder_that_is_not_there_is_named(call, tmp_path):
    out = tmp_path / "none" / "picture.png"
    code, _, told = call("plot", UNPLUGGED, out)
    assert (code, str(out) in told) == (1, True)


def test_live_data_are_no_exercise(call, played, tmp_path):
    out = tmp_path / "live.svg"
    lines = tmp_path / "live.jsonl"
    messages = [json.loads(line) for line in played(UNPLUGGED).read_text().splitlines()]
    for message in messages:
        message["exercise"] = False
        message["flags"] = []
    lines.write_text("".join(json.dumps(each) + "\n" for each in messages), encoding="utf-8")
    assert call("plot", lines, out)[0] == 0
    assert "EXERCISE" not in out.read_text(encoding="utf-8")


ACTIONS = """
[scenario]
name = "acted"
duration_s = 60

[[detector]]
id = "prd-1"
archetype = "PRD"
at = { x = 0, y = 0 }

[[event]]
at_s = 10
do = "place_source"
id = "put-down"
nuclide = "Cs-137"
activity = "10 MBq"
x = 3.0
y = 4.0

[[event]]
at_s = 20
do = "tamper"
detector = "prd-1"

[[event]]
at_s = 30
do = "tamper"
detector = "prd-1"
on = false

[[event]]
at_s = 40
do = "broker_stop"

[[event]]
at_s = 5
do = "restart"
after = "raised"
down_s = 2
"""


def test_events_are_named_also_those_that_virtual_time_cannot_play(call, tmp_path):
    path, out = tmp_path / "acted.toml", tmp_path / "picture.svg"
    path.write_text(ACTIONS, encoding="utf-8")
    assert call("plot", path, out)[0] == 0
    picture = out.read_text(encoding="utf-8")
    for said in ("place source put-down", "put-down (Cs-137)", "tamper off"):
        assert said in picture
    assert "broker stop (not played)" in picture
    assert "restart, 2 s down" in picture


def test_a_restart_waits_for_its_alarm_and_is_not_drawn_without_one(call, tmp_path):
    path, out = tmp_path / "acted.toml", tmp_path / "picture.svg"
    head, *_, restart = ACTIONS.split("[[event]]")
    path.write_text(f"{head}[[event]]{restart}", encoding="utf-8")
    assert call("plot", path, out)[0] == 0
    assert "restart" not in out.read_text(encoding="utf-8")
