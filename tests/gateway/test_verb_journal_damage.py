"""``journal``: what cannot be read, or is not there, is told by every verb and with a number."""

import asyncio
import json
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest

from config.scenario import load_scenario
from gateway import cli
from gateway.control import ControlServer
from gateway.journal.desk import JournalDesk
from gateway.journal.file import FILE
from gateway.journal.look import JournalLook, journal_outputs
from gateway.journal.retention import DAMAGED, NO_ROOM
from gateway.journal.status import Terms, status
from gateway.journal.stopped import told_requeued
from gateway.verbs.virtual import VirtualPlay

SCENARIOS = Path(__file__).resolve().parents[2] / "config" / "examples" / "scenarios"
TURNED = "CAST(replace(body, '\"kind\"', '\"kine\"') AS BLOB)"
ONE = "1 message cannot be read: dosegate journal verify tells which\n"
TAKEN = 1_800_000_000.0


@pytest.fixture
def folder(tmp_path):
    """The journal of a play with an alarm."""
    play = VirtualPlay(load_scenario(SCENARIOS / "event.toml"))
    with journal_outputs(tmp_path / "state") as store:
        for outputs in play.outputs():
            store(outputs)
    return tmp_path / "state"


@pytest.fixture
def do(folder, capsys):
    """Types a command line of the journal."""

    def run(*words, where=None):
        code = cli.main(["journal", *map(str, words), *map(str, where or ("--directory", folder))])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


def change(folder, statement, *values):
    with closing(sqlite3.connect(folder / FILE, isolation_level=None)) as con:
        assert con.execute(statement, values).rowcount == 1


def turn(folder, seq=2):
    change(folder, f"UPDATE events SET body = {TURNED} WHERE seq = {seq}")


def test_a_list_says_how_many_it_leaves_out(folder, do):
    code, before, err = do("list")
    assert (code, err) == (0, "")
    turn(folder)
    code, out, err = do("list")
    assert (code, err) == (1, ONE)
    assert len(out.splitlines()) == len(before.splitlines()) - 1
    turn(folder, seq=3)
    assert do("list", "--json")[2] == ONE.replace("1 message", "2 messages")


@pytest.mark.parametrize(
    ("form", "more"), [("csv", ("--kind", "alarms")), ("csv", ()), ("jsonl", ()), ("n42", ())]
)
def test_an_export_says_how_many_it_leaves_out(form, more, folder, do, tmp_path):
    assert do("export", tmp_path / "before", "--format", form, *more)[0] == 0
    turn(folder)
    code, _, err = do("export", tmp_path / "after", "--format", form, *more)
    assert code == 1
    assert err.endswith(ONE)
    assert (tmp_path / "after").exists()


def test_a_document_says_that_its_samples_cannot_be_read(folder, do, tmp_path):
    """Also where they were stored long before the time that was asked for."""
    late = """'"time":"2026-06-13T17:00:38.013Z"', '"time":"2026-06-13T17:04:00.000Z"'"""
    body = f"CAST(replace(body, {late}) AS BLOB)"
    change(folder, f"UPDATE events SET body = {body}, wall = wall + 202, crc = NULL WHERE seq = 8")
    last = "SELECT max(id) FROM groups WHERE wall < (SELECT wall FROM events WHERE seq = 3)"
    change(folder, f"UPDATE groups SET data = x'01ff00' WHERE id = ({last})")
    words = ("--since", "2026-06-13T17:03:50Z")
    assert do("list", *words)[0] == 0
    code, _, err = do("export", tmp_path / "out", "--format", "n42", *words)
    assert len(list((tmp_path / "out").iterdir())) == 1
    assert (code, "cannot be read" in err) == (1, True)


def test_a_row_that_is_no_message_counts(folder, do):
    change(folder, "UPDATE events SET body = CAST('{' AS BLOB), crc = NULL WHERE seq = 2")
    assert do("list")[::2] == (1, ONE)


async def test_the_socket_says_it_too(folder, do, tmp_path):
    turn(folder)
    desk = JournalDesk(folder, Terms(), lambda: TAKEN, is_live=True, examined=50)

    async def answer(question, *_):
        return desk.answer(question)

    path = tmp_path / "control.sock"
    server = ControlServer(path, dict, None, str, answer)
    task = asyncio.create_task(server.run())
    async with asyncio.timeout(5):
        while not path.exists():  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    where = ("--socket", path)
    try:
        listed = await asyncio.to_thread(do, "list", where=where)
        words = ("export", tmp_path / "out.csv", "--format", "csv")
        exported = await asyncio.to_thread(lambda: do(*words, where=where))
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    assert (listed[0], listed[2]) == (1, ONE)
    assert (exported[0], exported[2].endswith(ONE)) == (1, True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--detector", "nope"), "nothing fits --detector nope\n"),
        (("--occurrence", "zzz"), "nothing fits --occurrence zzz\n"),
        (("--since", "2099-01-01T00:00:00Z"), "nothing fits --since 2099-01-01T00:00:00Z\n"),
        (("--detector", "no\x1bpe"), "nothing fits --detector no"),
        (("--kind", "assessment"), "nothing fits --kind assessment; assessments are medical data"),
        (
            ("--kind", "nope"),
            "nothing fits --kind nope; kinds are sample, alarm_event, passage, answer, assessment, "
            "watch, lost\n",
        ),
    ],
)
def test_where_nothing_fits(words, told, do):
    code, out, err = do("list", *words)
    assert (code, out) == (0, "")
    assert err.startswith(told)
    assert "\x1b" not in err


def test_an_export_where_nothing_fits(do):
    code, _, err = do("export", "/dev/null", "--format", "jsonl", "--detector", "nope")
    assert (code, err) == (0, "0 messages\nnothing fits --detector nope\n")


def test_known_kinds_fit_without_a_word(do):
    code, out, err = do("list", "--kind", "alarms", "--limit", "1")
    assert (code, len(out.splitlines()), err) == (0, 1, "")


def test_every_kind_that_a_play_stores_is_known(do):
    _, out, _ = do("list", "--json")
    told = do("list", "--kind", "nope")[2]
    assert {json.loads(each)["kind"] for each in out.splitlines()} <= set(
        told.strip().partition("kinds are ")[2].split(", ")
    )


def test_a_check_sums_up_as_an_object(folder, do):
    code, out, err = do("verify", "--json")
    (summed,) = map(json.loads, out.splitlines())
    assert (code, summed["findings"], summed["whole"]) == (0, 0, True)
    assert err == f"{summed['examined']} messages looked at, no findings\n"
    turn(folder)
    code, out, err = do("verify", "--json")
    finding, summed = map(json.loads, out.splitlines())
    assert (code, summed["findings"], err.endswith(", 1 finding\n")) == (1, 1, True)
    assert "what was delivered is named here alone" in finding["advice"]


@pytest.mark.parametrize(
    ("reason", "count", "told"),
    [
        (DAMAGED, 1, "1 message of alarms could not be read before site had them: damaged"),
        (NO_ROOM, 1, "1 message of alarms was deleted before site had them: no room"),
        (NO_ROOM, 2, "2 messages of alarms were deleted before site had them: no room"),
    ],
)
def test_what_became_of_what_was_owed(reason, count, told, folder):
    change(
        folder,
        "INSERT INTO lost (lane, epoch, first, last, wall, count, reason, sinks)"
        " VALUES ('alarms', 1, 1, ?, ?, ?, ?, '[\"site\"]')",
        count, TAKEN, count, reason,
    )  # fmt: skip
    with JournalLook.open(folder) as look:
        shown = status(look, folder, Terms(), TAKEN)
    assert [each for each in shown["attention"] if each.startswith(told)]


def test_one_is_not_many():
    assert told_requeued(1) == "1 message is owed again"
    assert told_requeued(2) == "2 messages are owed again"


def test_the_file_of_a_play_is_whole_without_a_log(folder, do, tmp_path):
    assert not [path for path in folder.iterdir() if path.name.startswith(f"{FILE}-")]
    listed = do("list")[1]
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / FILE).write_bytes((folder / FILE).read_bytes())
    assert do("list", where=("--directory", tmp_path / "alone"))[1] == listed
