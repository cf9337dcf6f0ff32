"""Tables and JSON lines of the journal: exactly what was kept, harmless in a spreadsheet, whole."""

import csv
import io
import json
import tracemalloc
from contextlib import suppress
from itertools import pairwise

import pytest

from drivers.api import Channel, Flag, Quantity, Reading
from gateway import cli
from gateway.alarms.assessment import Assessment
from gateway.alarms.record import AlarmEvent, AlarmRecord, Change, LevelReached, Rule
from gateway.journal.export import cell, columns, csv_lines, json_lines, writing
from gateway.journal.look import journal_outputs
from gateway.values import Entry, Instant, Lane, Measured, Outputs
from gateway.wire.alarms import ASSESSED, encode_event
from gateway.wire.samples import SAMPLE, Told
from gateway.wire.table import dump

NOON = 1_780_315_200.0
RECORD = AlarmRecord(
    "o1", "hh-1", "dose_rate", Rule("absolute_level", 1, (("raise_usv_h", 0.5),)), "R3", 3,
    Instant(NOON, 0), Instant(NOON, 0), levels=(LevelReached("R3", Instant(NOON, 0)),),
    value=0.62, unit="µSv/h", peak=0.62,
)  # fmt: skip


def at(seconds):
    return Instant(NOON + seconds, seconds)


def sample(seconds, *readings, detector="hh-1", flags=()):
    moment = at(seconds)
    told = SAMPLE.text(Told(Measured(detector, moment, moment, readings, flags=flags)))
    return Entry(Lane.SAMPLES, f"detector/{detector}/sample", told.encode())


def dose_rate(value, raw="", **more):
    quantity = Quantity.AMBIENT_DOSE_EQUIVALENT_RATE
    return Reading(Channel.DOSE_RATE, value, "µSv/h", quantity, raw=raw, **more)


def nuclide(name, group):
    return Reading(Channel.NUCLIDE, 0.9, "1", raw=group, part=name)


def event(seconds, note=""):
    change = Change(AlarmEvent.RAISED, RECORD, 0.62, "µSv/h", "", note, at(seconds))
    return Entry(Lane.ALARMS, "alarm/event", dump(encode_event(change)))


def assessment(seconds):
    told = Assessment("o1", "hh-1", note="a name", nuclides="I-131", actor="anna", at=at(seconds))
    return Entry(Lane.ALARMS, "assessment/o1", dump(ASSESSED.encode(told)))


@pytest.fixture
def export(tmp_path, capfdbinary):
    """Exports a journal of these entries to standard output."""

    def run(*words, entries=()):
        folder = tmp_path / "state"
        if entries:
            with journal_outputs(folder) as store:
                for entry in entries:
                    store(Outputs((entry,), urgent=entry.lane.is_alarm))
        code = cli.main(["journal", "export", "-", "--directory", str(folder), *words])
        told = capfdbinary.readouterr()
        return code, told.out, told.err.decode()

    return run


def rows(text):
    return list(csv.DictReader(io.StringIO(text.decode(), newline="")))


def test_a_row_a_reading_exactly_as_kept(export):
    entries = (
        sample(
            0,
            dose_rate(0.1 + 0.2, "30 nSv", window_s=1.0, part="low"),
            dose_rate(None, "OVER", lower_bound=1e-07, flags=(Flag.OVER_RANGE,)),
            flags=(Flag.SIMULATED,),
        ),
        sample(1, Reading(Channel.GAMMA_COUNTS, 12, "count")),
    )
    code, out, err = export("--format", "csv", entries=entries)
    first, second, third = rows(out)
    assert (code, err) == (0, "2 messages\n")
    assert first == {
        "time": "2026-06-01T12:00:00.000Z", "detector": "hh-1", "channel": "dose_rate",
        "part": "low", "value": "0.30000000000000004", "unit": "µSv/h", "flags": "simulated",
        "lower_bound": "", "window_s": "1.0", "raw": "30 nSv", "lane": "samples", "epoch": "1",
        "seq": "1",
    }  # fmt: skip
    assert (second["value"], second["lower_bound"]) == ("", "1e-07")
    assert second["flags"] == "simulated over_range"
    assert (third["value"], third["seq"]) == ("12", "2")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_texts_of_instruments_are_no_formulas(text, export):
    _, out, _ = export("--format", "csv", entries=(sample(0, dose_rate(-0.5, text)),))
    (row,) = rows(out)
    assert row["raw"] == f"'{text}"
    assert row["value"] == "-0.5"


@pytest.mark.parametrize("text", ["a,b", 'say "x"', "two\nlines", "µ\u202e", "'x", "a=b"])
def test_texts_come_through_whole(text, export):
    _, out, _ = export("--format", "csv", entries=(sample(0, dose_rate(1.0, text)),))
    assert rows(out)[0]["raw"] == text


def test_alarms_have_a_table_of_their_own(export):
    entries = (sample(0, dose_rate(1.0)), event(1, "=cmd"), assessment(2))
    code, out, _ = export("--format", "csv", "--kind", "alarms", entries=entries)
    (row,) = rows(out)
    assert code == 0
    assert (row["event"], row["detector"], row["value"]) == ("raised", "hh-1", "0.62")
    assert (row["note"], row["lane"]) == ("'=cmd", "alarms")
    assert json.loads(row["rule"])["parameters"] == {"raise_usv_h": 0.5}


def test_json_lines_are_the_messages_with_their_keys(export):
    entries = (sample(0, dose_rate(1.5)), event(1))
    _, out, _ = export("--format", "jsonl", entries=entries)
    lines = [json.loads(line) for line in out.splitlines()]
    for line, entry in zip(lines, entries, strict=True):
        body = {key: value for key, value in line.items() if key not in _DELIVERY}
        assert body == json.loads(entry.body)
        assert line["schema"] == "dosegate/1"
    assert [line["lane"] for line in lines] == ["samples", "alarms"]


_DELIVERY = ("schema", "lane", "epoch", "seq")


def test_what_may_be_medical_is_left_out(export):
    entries = (
        sample(0, nuclide("I-131", "medical"), nuclide("Cs-137", "industrial")),
        sample(1, nuclide("Tc-99m", " Medical ")),
        assessment(2),
    )
    _, out, _ = export("--format", "jsonl", entries=entries)
    assert b"I-131" not in out
    assert b"Tc-99m" not in out
    assert b"a name" not in out
    assert out.count(b"Cs-137") == 1
    assert out.count(b"(restricted)") == 2
    _, out, _ = export("--format", "csv")
    assert [row["part"] for row in rows(out)] == ["(restricted)", "Cs-137", "(restricted)"]
    _, out, _ = export("--format", "jsonl", "--with-assessments")
    assert out.count(b"I-131") == 2
    assert b"a name" in out


def test_the_table_of_assessments_must_be_asked_for(export):
    code, out, err = export("--format", "csv", "--kind", "assessment", entries=(assessment(0),))
    assert (code, out) == (2, b"")
    assert "--with-assessments" in err
    words = ("--format", "csv", "--kind", "assessment", "--with-assessments")
    assert rows(export(*words)[1])[0]["nuclides"] == "I-131"


def test_there_is_no_table_of_everything(export):
    code, _, err = export("--format", "csv", "--kind", "watch", entries=(event(0),))
    assert (code, "no table of 'watch'" in err) == (2, True)


def test_times_and_detectors_choose(export):
    entries = [
        sample(second, dose_rate(float(second)), detector=f"hh-{second % 2}")
        for second in range(200)
    ]
    words = ("--format", "csv", "--since", "12:01:00", "--until", "12:01:10", "--detector", "hh-1")
    _, out, _ = export(*words, entries=entries)
    assert [row["value"] for row in rows(out)] == ["61.0", "63.0", "65.0", "67.0", "69.0"]
    _, out, _ = export("--format", "csv", "--since", "-3s")
    assert [row["value"] for row in rows(out)] == ["196.0", "197.0", "198.0", "199.0"]


def test_what_came_in_late_is_found_by_its_own_time(export):
    late = sample(10, dose_rate(9.0), detector="late")
    entries = (*(sample(second, dose_rate(1.0)) for second in range(0, 3000, 30)), late)
    _, out, _ = export(
        "--format", "csv", "--since", "12:00:05", "--until", "12:00:15", entries=entries
    )
    assert [row["detector"] for row in rows(out)] == ["late"]


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "out.csv"
    path.write_text("before")
    with suppress(ZeroDivisionError), writing(str(path)) as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert path.read_text() == "before"
    with writing(str(path)) as file:
        file.write(b"all")
        assert path.read_text() == "before"
    assert path.read_text() == "all"
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_mode & 0o007 == 0


@pytest.mark.parametrize("where", ["none/out.csv", "."])
def test_where_no_file_can_be(where, tmp_path, export, monkeypatch):
    monkeypatch.chdir(tmp_path)
    export("--format", "csv", entries=(event(0),))
    words = ["journal", "export", where, "--format", "csv", "--directory", str(tmp_path / "state")]
    assert cli.main(words) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"state"}


def test_memory_does_not_grow_with_the_journal():
    body = json.loads(sample(0, dose_rate(1.0)).body)
    message = {**body, "lane": "samples", "epoch": 1, "seq": 1}

    def peak(count):
        tracemalloc.start()
        for _ in csv_lines("sample", (message for _ in range(count))):
            pass
        for _ in json_lines(message for _ in range(count)):
            pass
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    peak(10)
    assert peak(5000) < peak(50) + 50_000


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "true"),
        (0.1 + 0.2, "0.30000000000000004"),
        (-1.0, "-1.0"),
        (12, "12"),
        (["b", "a", "b"], "b a"),
        (["=x"], "'=x"),
        ([], ""),
        ({"a": 1}, '{"a":1}'),
        ("", ""),
    ],
)
def test_cells(value, text):
    assert cell(value) == text


def test_every_table_has_its_own_heading():
    kinds = ("sample", "alarm_event", "passage", "answer", "assessment")
    headings = [columns(kind) for kind in kinds]
    assert all(heading[-3:] == ("lane", "epoch", "seq") for heading in headings)
    assert all(one != other for one, other in pairwise(headings))
