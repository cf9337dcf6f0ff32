"""Each kind of damage: the journal starts, says what happened, and has saved what there was."""

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.journal.file import FILE, open_file
from gateway.journal.journal import Journal
from gateway.journal.pack import PACKED
from gateway.journal.quarantine import quarantined, requeue
from gateway.journal.record import Batch, JournalLimits, Record, Refusal, Urgent
from gateway.journal.salvage import COPIES, copies
from gateway.journal.spans import Cursor, Cursors, Span, Spans
from gateway.journal.store import Store
from gateway.journal.tables import FORMAT
from gateway.values import Document, Entry, Lane, Notice

FAST = JournalLimits(group_s=0.002)

FORMAT_1 = """
PRAGMA page_size = 4096;
PRAGMA journal_mode = WAL;
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
CREATE TABLE numbers (lane TEXT NOT NULL, epoch INTEGER NOT NULL, last INTEGER NOT NULL,
    PRIMARY KEY (lane, epoch)) STRICT;
CREATE TABLE states (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
CREATE TABLE documents (exercise INTEGER NOT NULL, topic TEXT NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (exercise, topic)) STRICT;
CREATE TABLE cursors (sink TEXT NOT NULL, lane TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (sink, lane)) STRICT;
CREATE TABLE events (id INTEGER PRIMARY KEY, lane TEXT NOT NULL, epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL, wall REAL NOT NULL, topic TEXT NOT NULL, body BLOB NOT NULL,
    UNIQUE (lane, epoch, seq)) STRICT;
CREATE TABLE quarantine (sink TEXT NOT NULL, lane TEXT NOT NULL, epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL, wall REAL NOT NULL, reason TEXT NOT NULL, topic TEXT NOT NULL,
    body BLOB NOT NULL, PRIMARY KEY (sink, lane, epoch, seq)) STRICT;
CREATE TABLE lost (lane TEXT NOT NULL, epoch INTEGER NOT NULL, first INTEGER NOT NULL,
    last INTEGER NOT NULL, wall REAL NOT NULL, PRIMARY KEY (lane, epoch, first)) STRICT;
CREATE TABLE groups (id INTEGER PRIMARY KEY, lane TEXT NOT NULL, epoch INTEGER NOT NULL,
    first INTEGER NOT NULL, count INTEGER NOT NULL, wall REAL NOT NULL, data BLOB NOT NULL,
    UNIQUE (lane, epoch, first)) STRICT;
PRAGMA user_version = 1;
INSERT INTO meta VALUES ('epoch', 7), ('synchronised', 1780000000);
INSERT INTO numbers VALUES ('samples', 7, 3), ('alarms', 7, 1);
INSERT INTO states VALUES ('engine/a', x'7b7d');
INSERT INTO documents VALUES (0, 'alarm/active/a', x'7b7d');
INSERT INTO cursors VALUES ('hall', 'samples', '[7,1,[]]'), ('hall', 'alarms', '[7,0,[]]');
INSERT INTO events VALUES (1, 'alarms', 7, 1, 1780000000.0, 'alarm/event', x'7b7d');
INSERT INTO lost VALUES ('samples', 6, 11, 20, 1780000000.0);
INSERT INTO groups VALUES (1, 'samples', 7, 1, 3, 1780000000.0,
    CAST('detector/a/sample {"n":1}' || char(10) || 'detector/a/sample {"n":2}' || char(10)
         || 'detector/a/sample {"n":3}' AS BLOB));
"""
"""As the first version wrote it."""


class Follower:
    """Keeps what it is offered; owes nothing but what it is told."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.owing: Cursors = {}
        self.again: dict[Lane, list[Span]] = {}
        self._more = asyncio.Event()

    def offer(self, records: Sequence[Record]) -> None:
        self.records += records
        self._more.set()

    async def count(self, number: int) -> None:
        async with asyncio.timeout(10):
            while len(self.records) < number:
                self._more.clear()
                await self._more.wait()

    def cursors(self) -> Cursors:
        return self.owing

    def owe(self, lane: Lane, spans: Spans) -> None:
        self.again[lane] = list(spans)


def alarm(number: int) -> Entry:
    return Entry(Lane.ALARMS, "alarm/event", b'{"event":%d}' % number)


def samples(count: int) -> list[Entry]:
    noise = random.Random(count)
    return [
        Entry(Lane.SAMPLES, "detector/a/sample", b'"%b"' % noise.randbytes(50).hex().encode())
        for _ in range(count)
    ]


async def filled(place: Path) -> Journal:
    journal = await Journal.open(place, ["hall"], limits=FAST)
    for number in range(1, 21):
        journal.append(samples(40))
        await journal.commit(
            [alarm(number)],
            [Document("alarm/active/a", b"{}", durable=True)],
            [("engine/a", b"%d" % number)],
        )
    return journal


def on_disk(place: Path, query: str) -> list[tuple[object, ...]]:
    con = sqlite3.connect(place / FILE)
    rows = con.execute(query).fetchall()
    con.close()
    return rows


async def test_a_file_of_format_1_is_brought_forward(tmp_path: Path) -> None:
    con = sqlite3.connect(tmp_path / FILE)
    con.executescript(FORMAT_1)
    con.close()
    journal = await Journal.open(tmp_path, ["hall"], limits=FAST)
    assert journal.notices == ()
    assert journal.epoch == 8
    assert journal.previous[Lane.SAMPLES] == 3
    assert journal.states() == {"engine/a": b"{}"}
    assert journal.durable_documents() == (Document("alarm/active/a", b"{}", durable=True),)
    follower = Follower()
    owed = journal.follow("hall", follower)
    assert owed[Lane.SAMPLES].backlog == (Span(7, 2, 3),)
    assert owed[Lane.ALARMS].backlog == (Span(7, 1, 1),)
    assert owed[Lane.RESTRICTED].backlog == ()  # it did not know this lane
    found = await journal.read(Lane.SAMPLES, Span(7, 1, 3), 9)
    assert [record.body for record in found] == [b'{"n":1}', b'{"n":2}', b'{"n":3}']
    journal.append(samples(5))
    assert await journal.commit([alarm(1)])
    await journal.close()
    assert not [record for record in follower.records if record.topic == "lost"]
    assert on_disk(tmp_path, "PRAGMA user_version") == [(FORMAT,)]
    assert on_disk(tmp_path, "SELECT first, last, count, told FROM lost") == [(11, 20, 10, 1)]
    ran = on_disk(tmp_path, "SELECT ran > 0 FROM groups ORDER BY id")
    assert ran == [(0,), (1,)]


def test_a_migration_is_whole_or_nothing(tmp_path: Path) -> None:
    con = sqlite3.connect(tmp_path / FILE)
    con.executescript(FORMAT_1)
    con.execute("CREATE INDEX alarms_by_wall ON events (wall)")  # in the way of the last step
    con.close()
    opened = open_file(tmp_path, 10**9, starting=True)
    opened.con.close()
    assert opened.replaced
    (aside,) = copies(tmp_path / FILE)
    con = sqlite3.connect(aside)
    assert con.execute("PRAGMA user_version").fetchone() == (1,)
    names = [name for _, name, *_ in con.execute("PRAGMA table_info(groups)")]
    con.close()
    assert "ran" not in names
    assert on_disk(tmp_path, "SELECT count(*) FROM groups") == [(1,)]


async def test_a_newer_format_is_set_aside_untouched_and_kept(tmp_path: Path) -> None:
    journal = await filled(tmp_path)
    await journal.close()
    con = sqlite3.connect(tmp_path / FILE)
    con.execute("ALTER TABLE events ADD COLUMN later TEXT NOT NULL DEFAULT 'x'")
    con.execute("CREATE TABLE more (a INTEGER)")
    con.execute(f"PRAGMA user_version = {FORMAT + 1}")
    con.commit()
    con.close()
    before = (tmp_path / FILE).read_bytes()
    notices: list[Notice] = []
    journal = await Journal.open(tmp_path, ["hall"], limits=FAST, notify=notices.append)
    assert [notice.present for notice in notices] == [True, False]
    assert "newer version" in notices[0].detail
    assert journal.states() == {"engine/a": b"20"}
    assert len(await journal.read(Lane.ALARMS, Span(1, 1, 99), 99)) == 20
    assert len(await journal.read(Lane.SAMPLES, Span(1, 1, 999), 999)) == 800
    await journal.close()
    for _ in range(COPIES + 2):
        (tmp_path / FILE).write_bytes(b"garbage" * 1000)
        journal = await Journal.open(tmp_path, ["hall"], limits=FAST)
        await journal.close()
    assert (tmp_path / f"{FILE}.newer-1").read_bytes() == before
    assert [each.name for each in copies(tmp_path / FILE)] == [
        f"{FILE}.damaged-{number}" for number in range(3, 6)
    ]


async def test_damaged_copies_are_bounded_in_size_too(tmp_path: Path) -> None:
    limits = JournalLimits(group_s=0.002, max_bytes=2_000_000)
    for _ in range(3):
        journal = await Journal.open(tmp_path, [], limits=limits)
        await journal.close()
        (tmp_path / FILE).write_bytes(b"garbage" * 50_000)
    journal = await Journal.open(tmp_path, [], limits=limits)
    await journal.close()
    assert [each.name for each in copies(tmp_path / FILE)] == [f"{FILE}.damaged-3"]


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_bits_turn_it_starts_and_delivers_nothing_invented(
    tmp_path: Path, seed: int
) -> None:
    journal = await filled(tmp_path)
    await journal.close()
    noise = random.Random(seed)
    content = bytearray((tmp_path / FILE).read_bytes())
    for _ in range(noise.choice((1, 10, 200))):
        content[noise.randrange(len(content))] ^= 1 << noise.randrange(8)
    (tmp_path / FILE).write_bytes(content)
    journal = await Journal.open(tmp_path, ["hall"], limits=FAST)
    assert journal.epoch == 2
    real = {entry.body for entry in samples(40)}
    for record in await journal.read(Lane.SAMPLES, Span(1, 1, 800), 800):
        assert record.body in real
    assert await journal.commit([alarm(1)])
    await journal.close()


async def test_a_damaged_row_is_missing_and_the_rest_is_read(tmp_path: Path) -> None:
    journal = await filled(tmp_path)
    await journal.close()
    con = sqlite3.connect(tmp_path / FILE)
    con.execute("UPDATE groups SET data = ? WHERE id = 2", (PACKED + b"damage",))
    con.commit()
    con.close()
    journal = await Journal.open(tmp_path, ["hall"], limits=FAST)
    found = await journal.read(Lane.SAMPLES, Span(1, 1, 800), 800)
    assert [record.seq for record in found] == [*range(1, 41), *range(81, 801)]
    await journal.close()


KILLED = """
import asyncio, sys
from pathlib import Path
from gateway.journal.journal import Journal
from gateway.journal.record import JournalLimits
from gateway.values import Entry, Lane

class Teller:
    def offer(self, records):
        for record in records:
            print(record.lane, record.epoch, record.seq, record.body.decode(), flush=True)
    def cursors(self):
        return {}

async def main():
    journal = await Journal.open(Path(sys.argv[1]), ["hall"], limits=JournalLimits(group_s=0.001))
    journal.follow("hall", Teller())
    number = 0
    while True:
        number += 1
        body = b"%d" % number
        journal.append([Entry(Lane.SAMPLES, "detector/a/sample", body)] * 3)
        await journal.commit([Entry(Lane.ALARMS, "alarm/event", body)])

asyncio.run(main())
"""


async def test_killed_at_any_instant_what_was_told_is_stored_and_no_key_comes_again(
    tmp_path: Path,
) -> None:
    """A number that was given and not stored was not told; the next run has another epoch."""
    told: dict[tuple[str, int, int], str] = {}
    for life in range(1, 4):
        for line in await asyncio.to_thread(_lived, str(tmp_path), 60 * life):
            lane, epoch, seq, body = line.split()
            key = (lane, int(epoch), int(seq))
            assert key not in told
            assert key[1] == life
            told[key] = body
    journal = await Journal.open(tmp_path, ["hall"])
    for lane in (Lane.ALARMS, Lane.SAMPLES):
        for epoch in (1, 2, 3):
            found = await journal.read(lane, Span(epoch, 1, 10_000), 10_000)
            assert [record.seq for record in found] == list(range(1, len(found) + 1))
            stored = {(lane.value, epoch, r.seq): r.body.decode() for r in found}
            mine = {key: body for key, body in told.items() if key[:2] == (lane, epoch)}
            assert mine
            assert mine.items() <= stored.items()
    await journal.close()


def _lived(place: str, lines: int) -> list[str]:
    """What a journal's process told until it was killed."""
    command = [sys.executable, "-c", KILLED, place]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        heard = [next(process.stdout) for _ in range(lines)]
        os.kill(process.pid, signal.SIGKILL)
        heard += [line for line in process.stdout if line.endswith("\n")]
    return heard


async def test_an_alarm_told_undurable_keeps_its_key_to_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = JournalLimits(group_s=0.002, stall_s=0.02)
    journal = await Journal.open(tmp_path, ["hall"], limits=limits)
    follower = Follower()
    journal.follow("hall", follower)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "_transaction", _no_disk)
        assert not await journal.commit([alarm(1)])
        (told,) = follower.records
        assert not told.durable
        await journal.close(timeout_s=0.01)  # a crash: it was never stored
    again = await Journal.open(tmp_path, ["hall"], limits=limits)
    follower = Follower()
    again.follow("hall", follower)
    assert await again.commit([alarm(2)])
    (record,) = follower.records
    assert (record.epoch, record.seq) == (told.epoch + 1, told.seq)
    await again.close()


def test_after_a_failed_synchronisation_the_connection_is_not_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path, 10**9, [])
    store.open()
    used: list[int] = []
    original = Store._transaction

    def transaction(self: Store, batch: Batch, rows: Sequence[bytes]) -> None:
        used.append(id(self._connection()))
        connections.append(self._connection())  # so that no id comes again
        if len(used) == 1:
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
            raise error
        original(self, batch, rows)

    connections: list[sqlite3.Connection] = []
    monkeypatch.setattr(Store, "_transaction", transaction)
    record = Record(Lane.ALARMS, 1, 1, "alarm/event", b"{}")
    outcome = store.write(Batch(1.0, urgent=[Urgent([record])]))
    assert outcome.urgent_stored
    assert len(set(used)) == 2
    store.close()
    assert on_disk(tmp_path, "SELECT seq FROM events") == [(1,)]


def _no_disk(store: object, batch: object, rows: object) -> None:
    raise sqlite3.OperationalError("disk I/O error")


async def test_quarantined_records_go_back_to_be_sent_with_their_numbers(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path, ["hall", "mobile"], limits=FAST)
    follower = Follower()
    journal.follow("hall", follower)
    journal.append(samples(3))
    await journal.commit([alarm(1), alarm(2)])
    await follower.count(5)
    for record in follower.records:
        if record.seq == 2:
            journal.refuse(Refusal("hall", record, "0x87"))
    gone = Record(Lane.SAMPLES, 1, 77, "detector/a/sample", b'{"n":77}')
    journal.refuse(Refusal("hall", gone, "0x87"))
    journal.refuse(Refusal("mobile", gone, "0x87"))
    follower.owing = {Lane.ALARMS: Cursor(1, 2), Lane.SAMPLES: Cursor(1, 3)}
    await journal.commit([])  # the refusals go with it
    assert await journal.quarantined() == {"hall": 3, "mobile": 1}
    assert await journal.requeue("hall") == 3
    assert await journal.quarantined() == {"mobile": 1}
    assert follower.again == {
        Lane.SAMPLES: [Span(1, 2, 2), Span(1, 77, 77)],
        Lane.ALARMS: [Span(1, 2, 2)],
    }
    (read,) = await journal.read(Lane.SAMPLES, Span(1, 77, 77), 9)
    assert (read.body, read.replayed) == (gone.body, True)
    await journal.close()


def test_a_closed_file_is_requeued_too(tmp_path: Path) -> None:
    async def earlier() -> None:
        journal = await Journal.open(tmp_path, ["hall"], limits=FAST)
        follower = Follower()
        journal.follow("hall", follower)
        await journal.commit([alarm(1), alarm(2)])
        journal.refuse(Refusal("hall", follower.records[0], "0x87"))
        follower.owing = {Lane.ALARMS: Cursor(1, 2)}
        await journal.close()

    asyncio.run(earlier())
    opened = open_file(tmp_path, 10**9, starting=False)
    assert quarantined(opened.con) == {"hall": 1}
    requeue(opened.con, "hall")
    assert quarantined(opened.con) == {}
    opened.con.close()

    async def later() -> Cursors:
        journal = await Journal.open(tmp_path, ["hall"], limits=FAST)
        owed = journal.follow("hall", Follower())
        await journal.close()
        return owed

    assert asyncio.run(later())[Lane.ALARMS].backlog == (Span(1, 1, 1),)
