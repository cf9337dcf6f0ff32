"""The journal: numbers, durability, damage, retention."""

import asyncio
import os
import random
import shutil
import sqlite3
import threading
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from gateway.journal.epoch import EPOCH_FILE
from gateway.journal.file import FILE
from gateway.journal.journal import Journal
from gateway.journal.pack import expand
from gateway.journal.record import JournalLimits, Record, Refusal, lines, pack, records_of
from gateway.journal.spans import Cursor, Cursors, Span, Spans, decode_cursor
from gateway.journal.store import Store
from gateway.values import Document, Entry, Instant, Lane

FAST = JournalLimits(group_s=0.002)


class Follower:
    """Keeps what it is offered and owes what it was told to owe."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.owed: Cursors = {}
        self.again: tuple[Lane, list[Span]] | None = None
        self._more = asyncio.Event()

    def offer(self, records: Sequence[Record]) -> None:
        self.records += records
        self._more.set()

    def cursors(self) -> Cursors:
        return self.owed

    def owe(self, lane: Lane, spans: Spans) -> None:
        self.again = (lane, list(spans))

    async def count(self, number: int) -> list[Record]:
        async with asyncio.timeout(10):
            while len(self.records) < number:
                self._more.clear()
                await self._more.wait()
        return self.records


def sample(number: int, lane: Lane = Lane.SAMPLES, pad: int = 0) -> Entry:
    noise = random.Random(number).randbytes(pad).hex().encode()[:pad]
    body = b'{"n":%d,"pad":"%b"}' % (number, noise)
    return Entry(lane, f"detector/d{number % 3}/sample", body)


def alarm(number: int, lane: Lane = Lane.ALARMS) -> Entry:
    return Entry(lane, "alarm/event", b'{"event":%d}' % number)


async def test_numbers_are_gap_free_per_lane(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path, ["hall"], limits=FAST)
    follower = Follower()
    journal.follow("hall", follower)
    lanes = (Lane.SAMPLES, Lane.EXERCISE_SAMPLES, Lane.ALARMS, Lane.EXERCISE_ALARMS)
    for number in range(40):
        make = alarm if lanes[number % 4].is_alarm else sample
        journal.append([make(number, lanes[number % 4])])
    await follower.count(40)
    for lane in lanes:
        mine = [record for record in follower.records if record.lane is lane]
        assert [record.seq for record in mine] == list(range(1, 11))
        assert journal.newest()[lane] == 10
    await journal.close()


@pytest.mark.parametrize("count", [100, 1000])
async def test_a_storm_of_alarms_is_stored_at_once(tmp_path: Path, count: int) -> None:
    """Hundreds of detectors raise together, in a file that has grown for none of them."""
    journal = await Journal.open(tmp_path, ["hall"], limits=FAST)
    pad = b"x" * 1400
    raised = range(count)
    assert await journal.commit(
        [Entry(Lane.ALARMS, "alarm/event", b"%d%b" % (number, pad)) for number in raised],
        [Document(f"alarm/active/{number}", pad, durable=True) for number in raised],
        [(f"{number}", pad) for number in raised],
    )
    assert journal.newest()[Lane.ALARMS] == count
    await journal.close()
    again = await Journal.open(tmp_path, ["hall"], limits=FAST)
    assert len(again.states()) == len(again.durable_documents()) == count
    await again.close()


async def test_a_copy_of_the_open_files_holds_all_that_was_committed(tmp_path: Path) -> None:
    """What ``kill -9`` leaves behind: the files as they are, nothing closed."""
    live, killed = tmp_path / "live", tmp_path / "killed"
    journal = await Journal.open(live, ["hall"], limits=FAST)
    follower = Follower()
    journal.follow("hall", follower)
    journal.append([sample(n) for n in range(500)])
    assert await journal.commit(
        [alarm(1)], [Document("alarm/active/a", b"{}", durable=True)], [("engine/d1", b"{1}")]
    )
    await follower.count(501)
    shutil.copytree(live, killed)
    await journal.close()

    again = await Journal.open(killed, ["hall"], limits=FAST)
    assert again.epoch == journal.epoch + 1
    assert again.previous == {
        Lane.SAMPLES: 500,
        Lane.ALARMS: 1,
        Lane.RESTRICTED: 0,
        Lane.EXERCISE_ALARMS: 0,
        Lane.EXERCISE_RESTRICTED: 0,
        Lane.EXERCISE_SAMPLES: 0,
    }
    assert again.states() == {"engine/d1": b"{1}"}
    assert again.durable_documents() == (Document("alarm/active/a", b"{}", durable=True),)
    assert again.notices == ()
    owed = again.follow("hall", Follower())
    assert owed[Lane.SAMPLES].backlog == (Span(1, 1, 500),)
    records = await again.read(Lane.SAMPLES, Span(1, 1, 500), 1000)
    assert [record.seq for record in records] == list(range(1, 501))
    assert records[7].body == sample(7).body
    assert records[7].topic == sample(7).topic
    events = await again.read(Lane.ALARMS, Span(1, 1, 1), 10)
    assert [(event.seq, event.body) for event in events] == [(1, alarm(1).body)]
    await again.close()


async def test_empty_values_remove_states_and_forgotten_documents(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path, [])
    kept, gone = (Document(f"alarm/active/{n}", b"{}", durable=True) for n in "ab")
    emptied = Document("alarm/active/b", b"", durable=True)
    await journal.commit([], [kept, gone], [("a", b"1"), ("b", b"2")])
    await journal.commit([], [emptied], [("b", b"")])
    await journal.close()
    journal = await Journal.open(tmp_path, [])
    assert journal.states() == {"a": b"1"}
    assert set(journal.durable_documents()) == {kept, emptied}
    journal.forget([emptied])
    await journal.close()
    journal = await Journal.open(tmp_path, [])
    assert journal.durable_documents() == (kept,)
    await journal.close()


async def test_cursors_survive_and_the_rest_is_owed(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path, ["hall"], limits=FAST)
    follower = Follower()
    journal.follow("hall", follower)
    journal.append([sample(n) for n in range(100)])
    await follower.count(100)
    follower.owed = {Lane.SAMPLES: Cursor(1, 60, (Span(1, 10, 12),))}
    await journal.close()
    journal = await Journal.open(tmp_path, ["hall", "new"], limits=FAST)
    owed = journal.follow("hall", Follower())[Lane.SAMPLES]
    assert owed == Cursor(2, 0, (Span(1, 10, 12), Span(1, 61, 100)))
    assert journal.follow("new", Follower())[Lane.SAMPLES] == Cursor(2, 0)
    with pytest.raises(ValueError):
        journal.follow("unknown", Follower())
    await journal.close()


async def test_the_epoch_never_goes_back(tmp_path: Path) -> None:
    for expected in (1, 2, 3):
        journal = await Journal.open(tmp_path, [])
        assert journal.epoch == expected
        await journal.close()
    (tmp_path / FILE).unlink()
    journal = await Journal.open(tmp_path, [])
    assert journal.epoch == 4
    assert journal.previous == {}
    await journal.close()
    (tmp_path / EPOCH_FILE).write_bytes(b"\0\0\0\0")
    journal = await Journal.open(tmp_path, [])
    assert journal.epoch == 5
    assert "epoch" in journal.notices[0]
    await journal.close()


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _garbage(path: Path) -> None:
    path.write_bytes(b"not a database at all" * 1000)


def _zeroed(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def _page_overwritten(path: Path) -> None:
    con = sqlite3.connect(path)
    (page,) = con.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'groups'").fetchone()
    con.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xa5" * 4096)


def _newer_format(path: Path) -> None:
    con = sqlite3.connect(path)
    con.execute("PRAGMA user_version = 99")
    con.close()


def _a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _first_page_lost(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"\xa5" * 4096)


def _schema_lost(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xa5" * 3996)


@pytest.mark.parametrize(
    ("damage", "saves_alarms"),
    [
        (_truncate, True),
        (_garbage, False),
        (_zeroed, False),
        (_page_overwritten, True),
        (_first_page_lost, True),
        (_schema_lost, True),
        (_newer_format, True),
        (_a_directory, False),
    ],
)
async def test_a_damaged_file_makes_way(
    tmp_path: Path, damage: Callable[[Path], None], saves_alarms: bool
) -> None:
    journal = await Journal.open(tmp_path, ["hall"], limits=FAST)
    await journal.commit([alarm(1)], states=[("a", b"1")])
    journal.append([sample(n, pad=100) for n in range(2000)])
    await journal.close()
    damage(tmp_path / FILE)

    journal = await Journal.open(tmp_path, ["hall"], limits=FAST)
    assert journal.epoch == 2
    assert len(journal.notices) == 1
    aside = tmp_path / f"{FILE}.{'newer' if damage is _newer_format else 'damaged'}-1"
    assert aside.exists()
    assert str(aside) in journal.notices[0]
    if saves_alarms:
        assert journal.states() == {"a": b"1"}
        assert journal.follow("hall", Follower())[Lane.ALARMS].backlog == (Span(1, 1, 1),)
    assert await journal.commit([alarm(2)])
    await journal.close()


class StuckStore:
    """Stands in the way of a store's transactions until let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open = threading.Event()
        self.open.set()
        self.fail = False
        self.corrupt: Path | None = None
        self.full: list[bool] = []
        original = Store._transaction

        def transaction(store: Store, batch: object, rows: object) -> None:
            self.open.wait(20)
            self.full.append(batch.full_sync)  # type: ignore[attr-defined]
            if self.corrupt:
                store.close()
                _garbage(self.corrupt)
                self.corrupt = None
                error = sqlite3.DatabaseError("database disk image is malformed")
                error.sqlite_errorname = "SQLITE_CORRUPT"
                raise error
            if self.fail and batch.groups:  # type: ignore[attr-defined]
                raise sqlite3.OperationalError("disk I/O error")
            original(store, batch, rows)  # type: ignore[arg-type]

        monkeypatch.setattr(Store, "_transaction", transaction)


async def test_damage_while_running_costs_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = StuckStore(monkeypatch)
    journal = await Journal.open(tmp_path, ["hall"], limits=FAST)
    follower = Follower()
    journal.follow("hall", follower)
    document = Document("alarm/active/a", b"{}", durable=True)
    assert await journal.commit([alarm(1)], [document], [("a", b"1"), ("b", b"1"), ("c", b"1")])
    stuck.corrupt = tmp_path / FILE
    assert await journal.commit([alarm(2)], states=[("b", b"2"), ("c", b"")])
    assert await journal.commit([alarm(3)])
    assert [record.seq for record in follower.records] == [1, 2, 3]
    assert "damaged" in journal.notices[0]
    await journal.close()
    journal = await Journal.open(tmp_path, ["hall"], limits=FAST)
    assert journal.epoch == 2
    assert [event.seq for event in await journal.read(Lane.ALARMS, Span(1, 1, 9), 10)] == [2, 3]
    assert journal.states() == {"a": b"1", "b": b"2"}
    assert journal.durable_documents() == (document,)
    await journal.close()


async def test_samples_are_synchronised_once_a_second_and_alarms_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = StuckStore(monkeypatch)
    mono = 1000.0
    journal = await Journal.open(tmp_path, ["hall"], now=lambda: Instant(mono, mono), limits=FAST)
    follower = Follower()
    journal.follow("hall", follower)
    for number in range(40):
        journal.append([sample(number)])
        await follower.count(number + 1)
        mono += 0.1
    synced = [number for number, full in enumerate(stuck.full) if full]
    assert len(stuck.full) == 40
    assert all(later - sooner <= 10 for sooner, later in pairwise([0, *synced, 40]))
    assert len(synced) <= 6
    await journal.commit([alarm(1)])
    assert stuck.full[-1]
    await journal.close()


async def test_a_stalled_disk_delays_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = StuckStore(monkeypatch)
    limits = JournalLimits(group_s=0.002, stall_s=0.5)
    journal = await Journal.open(tmp_path, ["hall"], limits=limits)
    follower = Follower()
    journal.follow("hall", follower)
    stuck.open.clear()
    assert not await journal.commit([alarm(1)])
    assert [(record.seq, record.durable) for record in follower.records] == [(1, False)]
    stuck.open.set()
    assert await journal.commit([alarm(2)])
    assert [(record.seq, record.durable) for record in follower.records[1:]] == [(2, True)]
    await journal.close()
    journal = await Journal.open(tmp_path, [])
    events = await journal.read(Lane.ALARMS, Span(1, 1, 9), 10)
    assert [event.seq for event in events] == [1, 2]
    await journal.close()


async def test_a_failed_group_keeps_its_numbers_and_does_not_hold_up_alarms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = StuckStore(monkeypatch)
    journal = await Journal.open(tmp_path, ["hall"], limits=FAST)
    follower = Follower()
    journal.follow("hall", follower)
    stuck.fail = True
    journal.append([sample(n) for n in range(5)])
    assert await journal.commit([alarm(1)])
    assert [record.lane for record in follower.records] == [Lane.ALARMS]
    assert journal.counters.failures
    stuck.fail = False
    journal.append([sample(n) for n in range(5, 8)])
    await follower.count(9)
    assert [record.body for record in follower.records[1:]] == [sample(n).body for n in range(8)]
    assert [record.seq for record in follower.records[1:]] == list(range(1, 9))
    await journal.close()


async def test_pending_samples_are_bounded_and_alarms_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = StuckStore(monkeypatch)
    limits = JournalLimits(group_s=0.002, stall_s=5, pending_bytes=10_000)
    journal = await Journal.open(tmp_path, ["hall"], limits=limits)
    follower = Follower()
    journal.follow("hall", follower)
    stuck.open.clear()
    journal.append([alarm(0)])
    for number in range(200):
        journal.append([sample(number, pad=100), alarm(number)])
    assert 90 < journal.counters.unstored[Lane.SAMPLES] < 150
    stuck.open.set()
    left = 200 - journal.counters.unstored[Lane.SAMPLES]
    await follower.count(201 + left)
    samples = [record for record in follower.records if record.lane is Lane.SAMPLES]
    assert [record.seq for record in samples] == list(range(1, left + 1))
    assert samples[-1].body == sample(199, pad=100).body
    await journal.close()


async def test_retention_takes_acknowledged_samples_first_and_no_alarm(tmp_path: Path) -> None:
    limits = JournalLimits(group_s=0.001, max_bytes=8 * 1024 * 1024)
    journal = await Journal.open(tmp_path, ["hall"], limits=limits)
    follower = Follower()
    journal.follow("hall", follower)
    follower.owed = {Lane.SAMPLES: Cursor(1, 10**9, (Span(1, 1, 1000),))}
    await journal.commit([alarm(1)])
    for done in range(1, 31):
        journal.append([sample(done * 1000 + n, pad=1000) for n in range(1000)])
        await follower.count(1 + done * 1000)
    assert journal.counters.shed == 0
    owed = await journal.read(Lane.SAMPLES, Span(1, 1, 1000), 2000)
    assert len(owed) == 1000
    follower.owed = {Lane.SAMPLES: Cursor(1, 0)}
    await journal.close()

    journal = await Journal.open(tmp_path, ["hall"], limits=limits)
    follower = Follower()
    journal.follow("hall", follower)
    for done in range(1, 31):
        journal.append([sample(done * 1000 + n, pad=1000) for n in range(1000)])
        await follower.count(done * 1000)
    assert journal.counters.shed > 0
    (_, oldest, *_) = await journal.read(Lane.SAMPLES, Span(2, 1, 30_000), 30_000)
    assert oldest.seq > 1
    assert len(await journal.read(Lane.ALARMS, Span(1, 1, 1), 10)) == 1
    assert (tmp_path / FILE).stat().st_size <= limits.max_bytes
    assert not journal.counters.failures
    await journal.close()


async def test_refused_records_are_kept_with_the_reason(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path, ["hall"])
    journal.refuse(Refusal("hall", Record(Lane.ALARMS, 1, 7, "alarm/event", b"{}"), "0x87"))
    await journal.close()
    con = sqlite3.connect(tmp_path / FILE)
    rows = con.execute("SELECT sink, lane, epoch, seq, reason, body FROM quarantine").fetchall()
    con.close()
    assert rows == [("hall", "alarms", 1, 7, "0x87", b"{}")]


def test_spans() -> None:
    spans = Spans([Span(1, 5, 9), Span(1, 1, 3), Span(2, 1, 2)])
    spans.add(Span(1, 4, 4))
    spans.add(Span(1, 9, 8))
    assert list(spans) == [Span(1, 1, 9), Span(2, 1, 2)]
    spans.discard(Span(1, 4, 6))
    assert list(spans) == [Span(1, 1, 3), Span(1, 7, 9), Span(2, 1, 2)]
    assert spans.total() == 8
    assert spans.from_position(0, 0) == Span(1, 1, 3)
    assert spans.from_position(1, 2) == Span(1, 2, 3)
    assert spans.from_position(1, 4) == Span(1, 7, 9)
    assert spans.from_position(1, 10) == Span(2, 1, 2)
    assert spans.from_position(2, 3) is None


def test_cursors_are_read_as_written_and_nonsense_is_none() -> None:
    cursor = Cursor(3, 17, (Span(1, 2, 3),))
    assert decode_cursor(cursor.encode()) == cursor
    assert decode_cursor("[3,17,[[1,2,3]]]") == cursor
    for text in ("", "[]", "7", '{"a":1}', "[1,2,[3]]"):
        assert decode_cursor(text) is None


def test_groups_hold_one_line_a_record_and_tell_turned_bits() -> None:
    records = [
        Record(Lane.SAMPLES, 1, 4, "detector/a/sample", b'{"a": "b c"}'),
        Record(Lane.SAMPLES, 1, 5, "detector/b/sample", b'{\n"a": 1}'),
    ]
    packed = pack(records)
    assert expand(packed) == b'detector/a/sample {"a": "b c"}\ndetector/b/sample { "a": 1}'
    assert expand(b'detector/a/sample {"a":1}') == b'detector/a/sample {"a":1}'  # as format 1
    for at in range(1, len(packed)):
        turned = bytearray(packed)
        turned[at] ^= 4
        with pytest.raises(ValueError):
            expand(bytes(turned))
    with pytest.raises(ValueError):
        expand(packed[:-1])
    back = records_of(Lane.SAMPLES, 1, 4, lines(packed))
    assert [(r.seq, r.topic, r.body) for r in back] == [
        (4, "detector/a/sample", b'{"a": "b c"}'),
        (5, "detector/b/sample", b'{ "a": 1}'),
    ]
