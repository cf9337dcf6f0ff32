"""``journal``: the same answers from a running gateway and from the file of a stopped one."""

import asyncio
import getpass
import json
import os
import sqlite3
from contextlib import asynccontextmanager, closing, suppress
from itertools import count
from pathlib import Path

import pytest

from config.models import User
from config.scenario import load_scenario
from drivers.api import Channel, Quantity, Reading
from gateway import cli
from gateway.commands import BadCommand
from gateway.control import ControlClient, ControlServer
from gateway.journal.desk import MOST_BYTES, JournalDesk
from gateway.journal.file import FILE
from gateway.journal.journal import Journal
from gateway.journal.look import JournalLook, journal_outputs
from gateway.journal.record import JournalLimits, Record, Refusal
from gateway.journal.service import JournalService
from gateway.journal.spans import Cursor, Span
from gateway.journal.status import Terms
from gateway.values import Document, Entry, Instant, Lane, Measured, Outputs
from gateway.verbs.virtual import VirtualPlay
from gateway.wire.samples import SAMPLE, Told
from gateway.wire.table import iso

SCENARIOS = Path(__file__).resolve().parents[2] / "config" / "examples" / "scenarios"
NOON = 1_780_315_200.0
FAST = JournalLimits(group_s=0.002)


def at(seconds):
    return Instant(NOON + seconds, seconds)


def sample(seconds, value=0.1, detector="hh-1", lane=Lane.SAMPLES, pad=""):
    quantity = Quantity.AMBIENT_DOSE_EQUIVALENT_RATE
    reading = Reading(Channel.DOSE_RATE, value, "µSv/h", quantity, raw=pad)
    told = SAMPLE.text(Told(Measured(detector, at(seconds), at(seconds), (reading,))))
    return Entry(lane, f"detector/{detector}/sample", told.encode())


def lost(seconds):
    body = {"kind": "lost", "time": iso(NOON + seconds), "of_lane": "samples", "count": 3}
    return Entry(Lane.ALARMS, "lost", json.dumps({**body, "reason": "no room"}).encode())


class Place:
    """A journal's folder; ``do`` types a command line about it."""

    def __init__(self, path, capsys):
        self.state, self.socket, self.capsys = path / "state", path / "control.sock", capsys
        self.where = ("--directory", self.state)

    def play(self, *entries):
        with journal_outputs(self.state) as store:
            for entry in entries:
                store(Outputs((entry,), urgent=entry.lane.is_alarm))

    def scenario(self, name):
        play = VirtualPlay(load_scenario(SCENARIOS / f"{name}.toml"))
        messages = []
        with journal_outputs(self.state) as store:
            for outputs in play.outputs():
                store(outputs)
                messages += [json.loads(entry.body) for entry in outputs.entries]
        return messages

    def change(self, statement, *values):
        with closing(sqlite3.connect(self.state / FILE, isolation_level=None)) as con:
            assert con.execute(statement, values).rowcount

    def do(self, *words):
        code = cli.main(["journal", *map(str, words), *map(str, self.where)])
        told = self.capsys.readouterr()
        return code, told.out, told.err

    def objects(self, *words):
        code, out, _ = self.do(*words, "--json")
        return code, [json.loads(line) for line in out.splitlines()]

    @asynccontextmanager
    async def running(self, *sinks, users=()):
        """A journal that is written, behind a control socket."""
        journal = await Journal.open(self.state, sinks, limits=FAST)
        terms = Terms(FAST.max_bytes, 0, sinks, "gw")
        desk = JournalDesk(self.state, terms, lambda: NOON + 100, is_live=True, examined=50)
        settled, ids = [], count(1)

        async def settle(answer):
            settled.append(answer)

        service = JournalService(
            desk, journal.requeue, settle, lambda: f"c{next(ids)}", sinks=sinks, users=users
        )
        server = ControlServer(self.socket, dict, None, str, service.answer)
        task = asyncio.create_task(server.run())
        self.where = ("--socket", self.socket)
        async with asyncio.timeout(5):
            while not self.socket.exists():  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        try:
            yield journal, settled
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            service.close()
            await journal.close()
            self.where = ("--directory", self.state)

    async def ask(self, **question):
        client = ControlClient(self.socket)
        return await asyncio.to_thread(client.ask, {"ask": "journal", **question})


@pytest.fixture
def place(tmp_path, capsys):
    return Place(tmp_path, capsys)


async def stored(journal, *entries):
    """These and all before them are in the file."""
    journal.append([entry for entry in entries if not entry.lane.is_alarm])
    assert await journal.commit([entry for entry in entries if entry.lane.is_alarm])


def numbers(messages):
    return [(each["lane"], each["seq"]) for each in messages]


def test_every_message_once_in_order(place):
    told = place.scenario("event")
    code, listed = place.objects("list")
    assert code == 0
    assert len(listed) == len(told)
    for lane in ("exercise-alarms", "exercise-samples"):
        of_lane = [each["seq"] for each in listed if each["lane"] == lane]
        assert of_lane == list(range(1, len(of_lane) + 1))
    delivery = ("schema", "lane", "epoch", "seq")
    bare = [{key: each[key] for key in each if key not in delivery} for each in listed]
    assert sorted(map(json.dumps, bare)) == sorted(map(json.dumps, told))


def test_lanes_are_merged_by_time(place):
    place.play(sample(1), lost(2), sample(3), lost(4), sample(5, lane=Lane.EXERCISE_SAMPLES))
    _, listed = place.objects("list")
    assert [each["time"][17:19] for each in listed] == ["01", "02", "03", "04", "05"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--lane", "alarms"), [("alarms", 1), ("alarms", 2), ("alarms", 3)]),
        (("--kind", "lost", "--limit", "2"), [("alarms", 1), ("alarms", 2)]),
        (("--detector", "hh-2"), [("samples", 2)]),
        (("--since", "12:00:59", "--until", "12:01:01"), [("samples", 3)]),
        (("--since", "2027-01-01T00:00:00Z"), []),
        (("--occurrence", "o9"), []),
    ],
)
def test_choosing(place, words, expected):
    place.play(
        *(sample(30 * number, detector=f"hh-{number}") for number in (1,)),
        sample(45, detector="hh-2"),
        sample(60, detector="hh-3"),
        *(lost(200 + number) for number in range(3)),
    )
    assert numbers(place.objects("list", *words)[1]) == expected


def test_lines_for_people_hold_no_control_characters(place):
    place.play(sample(0, None), Entry(Lane.ALARMS, "x/odd", rb'{"kind":"o\u001b[2Jdd"}'))
    code, out, _ = place.do("list")
    assert code == 0
    assert "no number" in out
    assert "\x1b" not in out
    assert len(out.splitlines()) == 2


@pytest.mark.parametrize("words", [("--limit", "0"), ("--limit", "-5"), ("--lane", "x")])
def test_bad_usage(place, words):
    with pytest.raises(SystemExit) as ended:
        place.do("list", *words)
    assert ended.value.code == 2


def test_a_time_that_is_none(place):
    place.play(sample(0))
    code, _, err = place.do("list", "--since", "yesterday")
    assert (code, "is no time" in err) == (2, True)


@pytest.mark.parametrize("verb", [("status",), ("list",), ("verify",), ("requeue", "hall")])
def test_where_there_is_no_journal(place, verb):
    code, out, err = place.do(*verb)
    assert (code, out) == (1, "")
    assert "there is no journal" in err


def test_a_journal_in_order(place):
    place.scenario("event")
    assert place.do("verify")[0] == 0
    code, (shown,) = place.objects("status")
    assert code == 0
    assert shown["epoch"] == 1
    assert shown["newest"]["exercise-alarms"]["seq"] == 8
    assert shown["attention"] == []


def finding(place):
    code, out, _ = place.do("verify")
    assert code == 1
    return out


OTHER = "CAST('{}' AS BLOB), crc = NULL"
"""Of a row that was stored before there were checksums."""
TURNED = "CAST(replace(body, '\"dose_rate\"', '\"dose_ratd\"') AS BLOB)"

DAMAGE = {
    "a gap of alarms": ("DELETE FROM events WHERE seq IN (3, 4)", "epoch 1, number 3 to 4"),
    "the last alarms": ("DELETE FROM events WHERE seq > 6", "number 7 to 8"),
    "a group of samples": ("DELETE FROM groups WHERE id = 5", "no tombstone says why"),
    "no JSON": (f"UPDATE events SET body = {OTHER.format('{')} WHERE seq = 2", "not JSON"),
    "no message": (f"UPDATE events SET body = {OTHER.format('[]')} WHERE seq = 2", "not a message"),
    "a turned event": (
        f"UPDATE events SET body = {TURNED} WHERE seq = 2",
        "row 2 of events is not",
    ),
    "another number": (
        "UPDATE events SET seq = 99 WHERE seq = 8",
        "epoch 1, number 8: 1 message is missing",
    ),
    "a turned state": (
        f"UPDATE states SET value = {TURNED.replace('body', 'value')} WHERE key = '00000001'",
        "states: 00000001: the row is not as it was stored",
    ),
    "a turned document": (
        f"UPDATE documents SET body = {TURNED} WHERE topic LIKE '%00000001'",
        "documents: 1 alarm/active/00000001: the row is not as it was stored",
    ),
    "a state set aside": (
        "INSERT INTO states VALUES ('damaged/00000001', x'00', NULL)",
        "00000001: it was not as it was stored, and was set aside",
    ),
    "not unpacked": ("UPDATE groups SET data = x'01ff00' WHERE id = 5", "cannot be read"),
    "half a group": (
        "UPDATE groups SET data = substr(data, 1, length(data) / 2) WHERE id = 5",
        "cannot be read",
    ),
    "no state": ("DELETE FROM states WHERE key = '00000001'", "has no state"),
    "a broken state": ("UPDATE states SET value = x'7b7d' WHERE key = '00000001'", "state cannot"),
    "another state": (
        "UPDATE states SET value = CAST(replace(value, '\"revision\":4', '\"revision\":3') AS BLOB)"
        " WHERE key = '00000001'",
        "shown with revision 4, its state has 3",
    ),
    "not shown": ("DELETE FROM documents WHERE topic LIKE '%00000001'", "are not shown"),
    "a cursor": (
        "INSERT INTO cursors VALUES ('hall', 'alarms', 'x', NULL)",
        "sent to that sink again",
    ),
    "beyond": (
        "INSERT INTO cursors VALUES ('h', 'alarms', '[1,99,[]]', NULL)",
        "99 is acknowledged",
    ),
    "numbers": ("UPDATE numbers SET last = 5 WHERE lane = 'exercise-alarms'", "above the newest"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_what_is_found(place, name):
    statement, expected = DAMAGE[name]
    place.scenario("event")
    place.change(statement)
    assert expected in finding(place)


def test_a_gap_with_a_tombstone_is_explained(place):
    place.scenario("event")
    with JournalLook.open(place.state) as look:
        first, last = next(look.rows("SELECT first, first + count - 1 FROM groups WHERE id = 5"))
    place.change("DELETE FROM groups WHERE id = 5")
    place.change(
        "INSERT INTO lost (lane, epoch, first, last, wall, count, reason, sinks)"
        " VALUES ('exercise-samples', 1, ?, ?, ?, ?, 'no room', '[\"hall\"]')",
        first, last, NOON, last - first + 1,
    )  # fmt: skip
    assert place.do("verify")[0] == 0
    (shown,) = place.objects("status")[1]
    (told,) = shown["lost"]
    assert (told["count"], told["sinks"], told["reason"]) == (last - first + 1, ["hall"], "no room")


def test_the_rest_is_listed_around_damage(place):
    told = place.scenario("event")
    place.change("UPDATE groups SET data = x'01ff00' WHERE id = 5")
    with JournalLook.open(place.state) as look:
        (damaged,) = next(look.rows("SELECT count FROM groups WHERE id = 5"))
    assert len(place.objects("list")[1]) == len(told) - damaged


def test_a_bent_page_is_found(place):
    place.scenario("event")
    path = place.state / FILE
    data = bytearray(path.read_bytes())
    data[5 * 4096 : 6 * 4096] = os.urandom(4096)
    path.write_bytes(data)
    assert "set aside" in finding(place)


def test_what_needs_a_person(place):
    place.play(sample(0), lost(1))
    (place.state / f"{FILE}.damaged-1").write_bytes(b"x")
    code, (shown,) = place.objects("status")
    assert code == 1
    assert shown["damaged"] == [{"file": str(place.state / f"{FILE}.damaged-1"), "bytes": 1}]
    assert "ATTENTION" in place.do("status")[1]


class Follower:
    """Owes what it is told to owe."""

    def __init__(self):
        self.owed = {}
        self.again = []

    def offer(self, records):
        pass

    def cursors(self):
        return self.owed

    def owe(self, lane, spans):
        self.again += [(lane, span) for span in spans]


async def refused(journal, lane=Lane.ALARMS):
    follower = Follower()
    journal.follow("hall", follower)
    await stored(journal, sample(1), lost(2), lost(3))
    follower.owed = {each: Cursor(journal.epoch, 2) for each in Lane}
    for seq in (1, 2):
        record = Record(lane, journal.epoch, seq, "lost", b"{}")
        journal.refuse(Refusal("hall", record, "code 0x87: not authorised"))
    assert await journal.commit(())
    return follower


async def test_a_running_gateway_requeues_and_records_who_asked(place):
    async with place.running("hall") as (journal, settled):
        follower = await refused(journal)
        code, out, _ = await asyncio.to_thread(place.do, "status")
        assert (code, "requeue hall" in out) == (1, True)
        code, out, _ = await asyncio.to_thread(place.do, "requeue", "hall")
        assert (code, out) == (0, "hall: 2 messages are owed again\n")
        assert follower.again == [(Lane.ALARMS, Span(journal.epoch, 1, 2))]
        (answer,) = settled
        assert (answer.command.name, answer.command.user) == ("requeue", getpass.getuser())
        assert answer.accepted
        assert not await journal.quarantined()


async def test_who_may_not_requeue(place):
    users = [User(id="anna", roles=("assessor",)), User(id=getpass.getuser(), roles=("viewer",))]
    async with place.running("hall", users=users) as (journal, settled):
        await refused(journal)
        code, _, err = await asyncio.to_thread(place.do, "requeue", "hall")
        assert (code, "may not requeue" in err) == (1, True)
        assert (await journal.quarantined()) == {"hall": 2}
        assert [answer.accepted for answer in settled] == [False]
        code, _, err = await asyncio.to_thread(place.do, "list", "--with-assessments")
        assert (code, "may not see assessments" in err) == (1, True)


async def test_a_stopped_gateway_requeues_on_the_file_and_only_alone(place):
    async with place.running("hall") as (journal, _):
        await refused(journal)
        place.where = ("--directory", place.state)
        code, _, err = await asyncio.to_thread(place.do, "requeue", "hall")
        assert (code, "another program has it open" in err) == (1, True)
    code, out, _ = await asyncio.to_thread(place.do, "requeue", "hall")
    assert (code, out) == (0, "hall: 2 messages are owed again\n")
    (shown,) = (await asyncio.to_thread(place.objects, "status"))[1]
    owed = {each["lane"]: each["count"] for each in shown["sinks"][0]["owed"]}
    assert (owed["alarms"], shown["quarantine"]) == (2, [])
    code, _, err = await asyncio.to_thread(place.do, "requeue", "hill")
    assert (code, "no sink is called 'hill': hall" in err) == (1, True)


async def test_what_is_owed(place):
    async with place.running("hall") as (journal, _):
        await stored(journal, *(sample(second) for second in range(20)), lost(40))
        answer = await place.ask(what="status")
    (sink,) = answer["status"]["sinks"]
    samples = next(each for each in sink["owed"] if each["lane"] == "samples")
    assert samples["count"] == 20
    assert samples["oldest"] == {"epoch": 1, "seq": 1, "time": "2026-06-01T12:00:00.000Z"}
    assert samples["age_s"] == 100.0
    assert answer["status"]["gateway"] == "gw"


async def test_the_socket_says_what_the_file_says(place):
    entries = [sample(second / 10) for second in range(400)] + [lost(60), lost(61)]
    async with place.running("hall") as (journal, _):
        await stored(journal, *entries)
        live = await asyncio.to_thread(place.objects, "list")
        checked = await asyncio.to_thread(place.do, "verify")
        place.where = ("--directory", place.state)
        beside = await asyncio.to_thread(place.objects, "list")
    assert numbers(live[1]) == numbers(beside[1])
    assert len(live[1]) == 402
    assert {each["gateway"] for each in live[1]} == {"gw"}
    assert (checked[0], "402 messages looked at, no findings" in checked[2]) == (0, True)


async def test_answers_are_bounded_and_join_without_gap(place):
    entries = [sample(second, pad="x" * 2000) for second in range(300)]
    async with place.running() as (journal, _):
        await stored(journal, *entries)
        seen, at_place, sizes = [], None, []
        while True:
            answer = await place.ask(what="list", limit=1000, place=at_place)
            sizes.append(len(json.dumps(answer["messages"])))
            seen += numbers(answer["messages"])
            at_place = answer["place"]
            if at_place is None:
                break
    assert seen == [("samples", seq) for seq in range(1, 301)]
    assert max(sizes) < 1.2 * MOST_BYTES
    assert len(sizes) >= 6


async def test_a_question_never_looks_at_more_than_its_share(place):
    async with place.running() as (journal, _):
        await stored(journal, *(sample(second) for second in range(500)))
        answer = await place.ask(what="list", detector="nobody")
        assert (answer["messages"], answer["place"] is None) == ([], False)
        listed = await asyncio.to_thread(place.objects, "list", "--detector", "nobody")
        assert listed == (0, [])


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ({}, "what is null, not one of status"),
        ({"what": "erase"}, "not one of status, verify, list, requeue"),
        ({"what": ["list"]}, "not one of"),
        ({"what": "list", "limit": 0}, "whole number from 1 to 1000"),
        ({"what": "list", "limit": -1}, "whole number from 1 to 1000"),
        ({"what": "list", "limit": 1001}, "whole number from 1 to 1000"),
        ({"what": "list", "limit": True}, "whole number"),
        ({"what": "list", "limit": "5"}, "whole number"),
        ({"what": "list", "lane": "x"}, "lane 'x' is not"),
        ({"what": "list", "since": "yesterday"}, "is no time"),
        ({"what": "list", "since": "2026-06-01T12:00:00"}, "no offset"),
        ({"what": "list", "until": 5}, "until must be a text"),
        ({"what": "list", "detector": "x" * 500}, "at most 128"),
        ({"what": "list", "restricted": 1}, "true or false"),
        ({"what": "list", "late_s": "x"}, "must be a number"),
        ({"what": "list", "order": "newest"}, "list knows no 'order'"),
        ({"what": "list", "place": []}, "place is not one"),
        ({"what": "list", "place": {"x": [1, 1, 0]}}, "place is not one"),
        ({"what": "list", "place": {"alarms": [1, 1]}}, "place is not one"),
        ({"what": "list", "place": {"alarms": ["1", 1, 0]}}, "place is not one"),
        ({"what": "list", "place": {"alarms": [1, -1, 0]}}, "place must be"),
        ({"what": "verify", "place": {}}, "place is not one"),
        ({"what": "verify", "place": {"alarms": [1, 0]}}, "place must be"),
        ({"what": "status", "place": {}}, "status knows no 'place'"),
        ({"what": "requeue"}, "takes a sink and nothing else"),
        ({"what": "requeue", "sink": 5}, "takes a sink and nothing else"),
        ({"what": "requeue", "sink": "hall", "all": True}, "takes a sink and nothing else"),
        ({"what": "requeue", "sink": "hill"}, "no sink is called 'hill': hall"),
    ],
)
async def test_what_is_refused(place, question, reason):
    async with place.running("hall"):
        refusal = await place.ask(**question)
        assert refusal["ok"] is False
        assert reason in refusal["reason"]
        assert (await place.ask(what="status"))["ok"]


async def test_a_socket_that_nobody_listens_on(place, capsys, tmp_path):
    place.play(sample(0))
    path = tmp_path / "gateway.toml"
    path.write_text(
        f'[gateway]\nid = "gw"\nstate_dir = "{place.state}"\ncontrol_socket = "{place.socket}"\n'
    )
    place.where = ("-c", path)
    code, listed = place.objects("list")
    assert (code, [each["gateway"] for each in listed]) == (0, ["gw"])
    server = await asyncio.start_unix_server(lambda *_: None, place.socket)
    server.close()
    await server.wait_closed()
    if not place.socket.exists():
        place.socket.touch()
    code, _, err = await asyncio.to_thread(place.do, "list")
    assert (code, "nobody listens there" in err) == (0, True)


def test_a_socket_that_refuses_is_not_passed_over(place, tmp_path):
    place.play(sample(0))
    place.socket.mkdir()
    path = tmp_path / "gateway.toml"
    path.write_text(
        f'[gateway]\nid = "gw"\nstate_dir = "{place.state}"\n'
        f'control_socket = "{place.socket / ("x" * 200)}"\n'
    )
    place.where = ("-c", path)
    code, out, err = place.do("list")
    assert (code, out) == (1, "")
    assert "is the gateway running" in err


def test_a_desk_without_a_journal_refuses(tmp_path):
    desk = JournalDesk(tmp_path, Terms(), lambda: NOON, is_live=False)
    with pytest.raises(BadCommand):
        desk.answer({"what": "erase"})


def test_documents_that_are_being_removed_need_no_state(place):
    with journal_outputs(place.state) as store:
        document = Document("alarm/active/o1", b"", durable=True)
        store(Outputs((lost(0),), (document,), urgent=True))
    assert place.do("verify")[0] == 0
