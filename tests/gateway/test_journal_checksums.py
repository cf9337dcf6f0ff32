"""A bit that turned on the disk: never delivered, always explained, and everything else goes on."""

import asyncio
import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from gateway.delivery.reader import Pace, SinkReader
from gateway.journal.checksum import SUMMED, checksum, holds
from gateway.journal.damage import UNREADABLE
from gateway.journal.desk import JournalDesk
from gateway.journal.file import FILE, open_file
from gateway.journal.journal import Journal
from gateway.journal.look import JournalLook
from gateway.journal.quarantine import requeue
from gateway.journal.record import JournalLimits, Record, Refusal
from gateway.journal.salvage import copies
from gateway.journal.spans import Cursor, Span, Spans
from gateway.journal.status import Terms
from gateway.journal.tables import FORMAT, TABLES
from gateway.values import Document, Entry, Lane, Notice

FAST = JournalLimits(group_s=0.002)
UNHURRIED = Pace(backlog_per_s=1e9)
EVENTS, SAMPLES = 700, 60
"""More alarm events than are read at once."""


def alarm(number: int) -> Entry:
    body = b'{"kind":"alarm_event","occurrence":"o%d","detector":"d","members":[]}' % number
    return Entry(Lane.ALARMS, "alarm/event", body)


def samples(first: int, count: int) -> list[Entry]:
    bodies = [b'{"kind":"sample","n":%d}' % number for number in range(first, first + count)]
    return [Entry(Lane.SAMPLES, "detector/d/sample", body) for body in bodies]


async def left(place: Path) -> None:
    """A journal of epoch 1 with three groups of samples, of which a sink has nothing."""
    journal = await Journal.open(place, ["hall"], limits=FAST)
    journal.follow("hall", Nobody())
    for first in range(1, EVENTS + 1, 50):
        await journal.commit([alarm(number) for number in range(first, first + 50)])
    for group in range(3):
        journal.append(samples(group * 20 + 1, 20))
        await journal.commit(
            [],
            [Document("alarm/active/o1", b'{"revision":3}', durable=True)],
            [("o1", b'{"state":1}'), ("learned/d", b'{"level":0.1}')],
        )
    await journal.close()


class Nobody:
    """Follows, and has acknowledged nothing."""

    def offer(self, records: Sequence[Record]) -> None:
        """Nothing is wanted."""

    def cursors(self) -> dict[Lane, Cursor]:
        return {lane: Cursor(1, 0) for lane in Lane}

    def owe(self, lane: Lane, spans: Spans) -> None:
        """It is owed all of it already."""


def turn(place: Path, table: str, column: str, where: str) -> None:
    """One bit of a column is another."""
    with closing(sqlite3.connect(place / FILE, isolation_level=None)) as con:
        (rowid, held) = con.execute(f"SELECT rowid, {column} FROM {table} WHERE {where}").fetchone()
        turned: object
        if isinstance(held, int):
            turned = held ^ 4
        else:
            data = bytearray(held if isinstance(held, bytes) else held.encode())
            data[len(data) // 2] ^= 1
            turned = bytes(data) if isinstance(held, bytes) else data.decode()
        con.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (turned, rowid))


async def taken(reader: SinkReader, wanted: int) -> list[Record]:
    """Takes and acknowledges until that many have come."""
    records: list[Record] = []
    async with asyncio.timeout(20):
        while len(records) < wanted:
            few = reader.take(100)
            for record in few:
                reader.acknowledge(record)
            records += few
            if not few:
                await reader.wait()
    return records


@pytest.mark.parametrize("column", ["body", "topic"])
async def test_a_turned_alarm_event_is_an_explained_gap(tmp_path: Path, column: str) -> None:
    await left(tmp_path)
    turn(tmp_path, "events", column, "seq = 3")
    notices: list[Notice] = []
    journal = await Journal.open(tmp_path, ["hall"], limits=FAST, notify=notices.append)
    reader = SinkReader(journal, "hall", pace=UNHURRIED)
    records = await taken(reader, EVENTS + SAMPLES)  # one is missing, one tells of it
    old = [record for record in records if record.epoch == 1 and record.lane is Lane.ALARMS]
    assert [record.seq for record in old] == [1, 2, *range(4, EVENTS + 1)]
    assert [record.body for record in old[:2]] == [alarm(1).body, alarm(2).body]
    (told,) = [record for record in records if record.epoch == 2]
    body = json.loads(told.body)
    assert told.topic == "lost"
    assert (body["of_lane"], body["of_epoch"], body["first"], body["last"]) == ("alarms", 1, 3, 3)
    assert (body["count"], body["sinks"]) == (1, ["hall"])
    assert body["reason"] == "damaged on the disk"
    assert [(notice.kind, notice.present) for notice in notices] == [("journal_damaged", True)]
    assert "alarms 1/3" in notices[0].detail
    await journal.close()
    again = await Journal.open(tmp_path, ["hall"], limits=FAST, notify=notices.append)
    await again.read(Lane.ALARMS, Span(1, 1, EVENTS), EVENTS)
    await again.commit([])
    assert again.newest()[Lane.ALARMS] == 0  # it is told once
    assert len(notices) == 1
    await again.close()


async def test_a_turned_group_of_samples_is_an_explained_gap(tmp_path: Path) -> None:
    await left(tmp_path)
    turn(tmp_path, "groups", "count", "id = 2")  # which zlib does not see
    journal = await Journal.open(tmp_path, ["hall"], limits=FAST)
    reader = SinkReader(journal, "hall", pace=UNHURRIED)
    records = await taken(reader, EVENTS + SAMPLES - 20 + 1)
    numbers = [record.seq for record in records if record.lane is Lane.SAMPLES]
    assert numbers == [*range(1, 21), *range(41, 61)]
    (told,) = [json.loads(record.body) for record in records if record.topic == "lost"]
    assert (told["of_lane"], told["first"], told["last"], told["count"]) == ("samples", 21, 40, 20)
    await journal.close()


async def test_who_asks_again_is_told_too(tmp_path: Path) -> None:
    """Nobody is owed it: a consumer asked for what it misses."""
    await left(tmp_path)
    journal = await Journal.open(tmp_path, ["hall"], limits=FAST)
    reader = SinkReader(journal, "hall", pace=UNHURRIED)
    await taken(reader, EVENTS + SAMPLES)
    turn(tmp_path, "events", "body", "seq = 3")
    assert await reader.count_kept(Lane.ALARMS, Span(1, 2, 4)) == 2
    assert reader.resend(Lane.ALARMS, Span(1, 2, 4))
    again = await taken(reader, 3)
    assert {record.seq for record in again if record.epoch == 1} == {2, 4}
    (told,) = [json.loads(record.body) for record in again if record.topic == "lost"]
    assert (told["of_epoch"], told["first"], told["last"]) == (1, 3, 3)
    await journal.close()


async def test_a_row_that_is_gone_without_a_tombstone_is_told_as_well(tmp_path: Path) -> None:
    await left(tmp_path)
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as con:
        con.execute("DELETE FROM events WHERE seq IN (5, 6)")
    journal = await Journal.open(tmp_path, ["hall"], limits=FAST)
    reader = SinkReader(journal, "hall", pace=UNHURRIED)
    records = await taken(reader, EVENTS + SAMPLES - 1)
    (told,) = [json.loads(record.body) for record in records if record.topic == "lost"]
    assert (told["first"], told["last"]) == (5, 6)
    await journal.close()


async def test_a_turned_state_is_not_believed(tmp_path: Path) -> None:
    await left(tmp_path)
    turn(tmp_path, "states", "value", "key = 'o1'")
    turn(tmp_path, "documents", "body", "topic = 'alarm/active/o1'")
    notices: list[Notice] = []
    journal = await Journal.open(tmp_path, ["hall"], limits=FAST, notify=notices.append)
    assert journal.states() == {"o1": UNREADABLE, "learned/d": b'{"level":0.1}'}
    assert journal.durable_documents() == ()
    assert [notice.kind for notice in notices] == ["journal_damaged"] * 2
    assert "states o1, documents 0 alarm/active/o1" in notices[0].detail
    await journal.close()
    with JournalLook.open(tmp_path) as look:
        kept = dict(look.rows("SELECT key, value FROM states"))
    assert set(kept) == {"learned/d", "damaged/o1", "damaged/alarm/active/o1"}
    again = await Journal.open(tmp_path, ["hall"], limits=FAST, notify=notices.append)
    assert again.states() == {"learned/d": b'{"level":0.1}'}
    assert len(notices) == 2
    await again.close()


async def test_a_turned_cursor_owes_everything(tmp_path: Path) -> None:
    """A number too many would be an alarm that nobody gets."""
    await left(tmp_path)
    turn(tmp_path, "cursors", "value", "lane = 'alarms'")
    journal = await Journal.open(tmp_path, ["hall"], limits=FAST)
    assert journal.notices
    assert journal.follow("hall", Nobody())[Lane.ALARMS].backlog == (Span(1, 1, EVENTS),)
    await journal.close()


async def test_a_turned_number_is_counted_anew(tmp_path: Path) -> None:
    await left(tmp_path)
    turn(tmp_path, "numbers", "last", "lane = 'alarms'")
    journal = await Journal.open(tmp_path, ["hall"], limits=FAST)
    assert journal.notices
    assert journal.previous[Lane.ALARMS] == EVENTS
    await journal.close()
    with JournalLook.open(tmp_path) as look:
        assert look.numbers()[Lane.ALARMS, 1] == EVENTS


async def test_what_was_kept_aside_is_not_sent_when_it_turned(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path, ["hall"], limits=FAST)
    refused = Record(Lane.ALARMS, 1, 2, "alarm/event", alarm(2).body)
    journal.refuse(Refusal("hall", refused, "0x87"))
    await journal.commit([alarm(1)])
    await journal.close()
    turn(tmp_path, "quarantine", "body", "seq = 2")
    opened = open_file(tmp_path, 10**9, starting=False)
    owing = requeue(opened.con, "hall")
    assert list(owing[Lane.ALARMS]) == [Span(1, 2, 2)]
    assert opened.con.execute("SELECT seq FROM events").fetchall() == [(1,)]
    opened.con.close()


async def test_the_verbs_name_what_turned_and_show_the_rest(tmp_path: Path) -> None:
    await left(tmp_path)
    turn(tmp_path, "events", "body", "seq = 3")
    turn(tmp_path, "groups", "data", "id = 2")
    desk = JournalDesk(tmp_path, Terms(), lambda: 0.0, is_live=False)
    listed = desk.answer({"what": "list", "limit": 1000})
    assert (len(listed["messages"]), listed["damaged"]) == (EVENTS + SAMPLES - 21, 21)
    assert ("alarms", 3) not in {(each["lane"], each["seq"]) for each in listed["messages"]}
    found = desk.answer({"what": "verify"})["findings"]
    found = [each for each in found if each["where"].startswith("lane")]
    assert [each["where"] for each in found] == [
        "lane alarms, epoch 1, number 3",
        "lane samples, epoch 1, number 21 to 40",
    ]
    assert "row 3 of events is not as it was stored" in found[0]["what"]
    assert "keep a copy" in found[0]["advice"]
    with JournalLook.open(tmp_path) as look:
        assert [each["occurrence"] for each in look.history("o3")] == []
        assert [each["occurrence"] for each in look.history("o4")] == ["o4"]
        assert look.passed == 1


async def test_a_turned_row_is_not_saved_from_a_damaged_file(tmp_path: Path) -> None:
    await left(tmp_path)
    turn(tmp_path, "events", "body", "seq = 3")
    turn(tmp_path, "states", "value", "key = 'o1'")
    with closing(sqlite3.connect(tmp_path / FILE)) as con:
        con.execute("DROP TABLE quarantine")
    journal = await Journal.open(tmp_path, ["hall"], limits=FAST)
    assert copies(tmp_path / FILE)
    assert "o1" not in journal.states()
    reader = SinkReader(journal, "hall", pace=UNHURRIED)
    records = await taken(reader, EVENTS + SAMPLES)
    (told,) = [json.loads(record.body) for record in records if record.topic == "lost"]
    assert (told["first"], told["last"]) == (3, 3)
    await journal.close()


async def test_a_file_of_format_2_is_brought_forward_and_taken_as_it_is(tmp_path: Path) -> None:
    await left(tmp_path)
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as con:
        for table in SUMMED:
            con.execute(f"ALTER TABLE {table} DROP COLUMN crc")
        con.execute("PRAGMA user_version = 2")
    with JournalLook.open(tmp_path) as look:  # not brought forward: it is only looked at
        assert len(look.read(Lane.ALARMS, Span(1, 1, 9), 9)) == 9
        assert len(look.read(Lane.SAMPLES, Span(1, 1, 60), 60)) == 60
    journal = await Journal.open(tmp_path, ["hall"], limits=FAST)
    assert journal.notices == ()
    assert journal.states()["o1"] == b'{"state":1}'
    assert len(await journal.read(Lane.ALARMS, Span(1, 1, 9), 9)) == 9
    assert await journal.commit([alarm(1)])
    await journal.close()
    with JournalLook.open(tmp_path) as look:
        assert list(look.rows("PRAGMA user_version")) == [(FORMAT,)]
        sums = list(look.rows("SELECT DISTINCT crc IS NULL, epoch FROM events ORDER BY 2"))
    assert sums == [(1, 1), (0, 2)]


def test_the_checksum_is_that_of_the_standard() -> None:
    """Over the parts joined by line ends, the content behind them."""
    assert checksum("12345", b"6789") == 0xCBF43926  # check value of CRC-32/ISO-HDLC
    assert checksum("alarms", 1, 2, b"x") == checksum("alarms", 1, "2", "x")
    assert checksum(Lane.ALARMS, 1, 22, b"x") != checksum(Lane.ALARMS, 12, 2, b"x")


def test_every_single_turned_bit_is_found() -> None:
    body = alarm(1).body
    crc = checksum("alarms", 1, 2, "alarm/event", body)
    assert holds(crc, "alarms", 1, 2, "alarm/event", body)
    for bit in range(8 * len(body)):
        turned = bytearray(body)
        turned[bit // 8] ^= 1 << bit % 8
        assert not holds(crc, "alarms", 1, 2, "alarm/event", bytes(turned))


def test_the_checksum_is_the_last_column_of_each_table() -> None:
    """So a file that was brought forward has the same columns as a new one."""
    with closing(sqlite3.connect(":memory:")) as con:
        for table in SUMMED:
            con.execute(f"CREATE TABLE {table} ({TABLES[table]}) STRICT")
            names = [name for _, name, *_ in con.execute(f"PRAGMA table_info({table})")]
            assert names[-1] == "crc"


async def test_a_file_that_opens_and_cannot_be_written_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite's quick check does not look at what its indexes hold."""
    await left(tmp_path)
    journal = await Journal.open(tmp_path, ["hall"], limits=FAST)

    def damaged(*_: object) -> None:
        if len(failed) >= 2:
            patch.undo()
        failed.append(True)
        error = sqlite3.DatabaseError("database disk image is malformed")
        error.sqlite_errorname = "SQLITE_CORRUPT"
        raise error

    failed: list[bool] = []
    with monkeypatch.context() as patch:
        patch.setattr("gateway.journal.store.insert", damaged)
        assert await journal.commit([alarm(1)])
    assert "it opens and cannot be written" in journal.notices[0]
    assert len(await journal.read(Lane.ALARMS, Span(1, 1, EVENTS), EVENTS)) == EVENTS
    await journal.close()


async def test_a_schema_that_is_no_text_does_not_stop_a_start(tmp_path: Path) -> None:
    await left(tmp_path)
    data = (tmp_path / FILE).read_bytes()
    assert data.count(b"CREATE TABLE quarantine") == 1
    broken = data.replace(b"CREATE TABLE quarantine", b"CREATE TABLE quaran\xef(ne")
    (tmp_path / FILE).write_bytes(broken)
    journal = await Journal.open(tmp_path, ["hall"], limits=FAST)
    assert journal.notices
    assert journal.states()["o1"] == b'{"state":1}'
    await journal.close()
