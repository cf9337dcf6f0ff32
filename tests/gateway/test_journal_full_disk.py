"""Another program fills the disk: alarms go on being stored, and all recovers by itself."""

import asyncio
import random
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path

import pytest

from gateway.journal.file import FILE, free_bytes, open_file
from gateway.journal.journal import Journal
from gateway.journal.record import Batch, Group, JournalLimits, Record, Urgent
from gateway.journal.room import Room, pages_free
from gateway.journal.spans import Cursors, Span, Spans
from gateway.journal.store import Store
from gateway.values import Entry, Instant, Lane, Notice

LIMITS = JournalLimits(group_s=0.001, stall_s=30.0, ballast_bytes=1_000_000)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount", path="/usr/bin:/bin")
    umount = shutil.which("umount", path="/usr/bin:/bin")
    if mount is None or umount is None:
        pytest.skip("mount is missing: install the Debian package mount")
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=4m", "dosegate-test", str(place)], capture_output=True
    )
    if done.returncode:
        pytest.skip("a file system can only be mounted by root")
    yield place
    subprocess.run([umount, "-l", str(place)], check=True)


class Hog:
    """Takes all the room there is."""

    def __init__(self, place: Path) -> None:
        self._path = place / "hog"

    def eat(self) -> None:
        with self._path.open("ab", buffering=0) as file, suppress(OSError):
            while left := free_bytes(self._path.parent):
                file.write(bytes(left))

    def go(self) -> None:
        self._path.unlink()


class Follower:
    def __init__(self) -> None:
        self.records: list[Record] = []

    def offer(self, records: Sequence[Record]) -> None:
        self.records += records

    def cursors(self) -> Cursors:
        return {}

    def owe(self, lane: Lane, spans: Spans) -> None:
        raise AssertionError(lane, spans)


def samples(noise: random.Random, count: int = 5) -> list[Entry]:
    return [
        Entry(Lane.SAMPLES, "detector/a/sample", b'"%b"' % noise.randbytes(500).hex().encode())
        for _ in range(count)
    ]


def alarm(number: int) -> Entry:
    return Entry(Lane.ALARMS, "alarm/event", b'{"event":%d,"pad":"%b"}' % (number, b"x" * 1000))


@pytest.mark.parametrize("greedy", [False, True])
async def test_alarms_are_stored_on_a_full_disk_and_it_recovers(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch, greedy: bool
) -> None:
    """``greedy``: the other program takes whatever becomes free."""
    tries = _count_transactions(monkeypatch)
    mono = 0.0
    notices: list[Notice] = []
    journal = await Journal.open(
        small_disk, ["hall"], limits=LIMITS, notify=notices.append,
        now=lambda: Instant(1e9 + mono, mono),
    )  # fmt: skip
    follower = Follower()
    journal.follow("hall", follower)
    noise, hog = random.Random(1), Hog(small_disk)
    for number in range(1, 101):
        mono += 1.0
        journal.append(samples(noise))
        assert await journal.commit([alarm(number)])
    assert _reserve(small_disk) >= LIMITS.ballast_bytes
    assert not notices
    hog.eat()
    for number in range(101, 701):
        mono += 1.0
        journal.append(samples(noise))
        if greedy:
            hog.eat()
        assert await journal.commit([alarm(number)]), number
    assert Notice("disk_nearly_full", True) in [_bare(each) for each in notices]
    assert _reserve(small_disk) < LIMITS.ballast_bytes
    assert len(tries) < 3000
    hog.go()
    for number in range(701, 801):
        mono += 1.0
        journal.append(samples(noise))
        assert await journal.commit([alarm(number)])
    assert _reserve(small_disk) >= LIMITS.ballast_bytes
    assert _bare([each for each in notices if each.kind == "disk_nearly_full"][-1]) == Notice(
        "disk_nearly_full", False
    )
    await journal.close()
    assert not [each for each in notices if each.kind == "journal_damaged"]
    stalled = [each.present for each in notices if each.kind == "journal_stalled"]
    assert not stalled or not stalled[-1]  # at last there was no room for samples

    again = await Journal.open(small_disk, ["hall"], limits=LIMITS)
    assert again.notices == ()
    events = await again.read(Lane.ALARMS, Span(1, 1, 9999), 9999)
    kept = [event.body for event in events if event.topic == "alarm/event"]
    assert kept == [alarm(number).body for number in range(1, 801)]
    await again.close()


async def test_a_start_on_a_full_disk(small_disk: Path) -> None:
    journal = await Journal.open(small_disk, ["hall"], limits=LIMITS)
    await journal.commit([alarm(1)], states=[("a", b"1")])
    await journal.close()
    hog = Hog(small_disk)
    hog.eat()
    again = await Journal.open(small_disk, ["hall"], limits=LIMITS)
    assert again.epoch == 2
    assert again.durable
    assert again.states() == {"a": b"1"}
    assert await again.commit([alarm(2)])
    await again.close()


async def test_with_no_room_at_all_nothing_spins_and_alarms_are_told(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = _count_transactions(monkeypatch)
    notices: list[Notice] = []
    over = asyncio.Event()

    def notify(notice: Notice) -> None:
        notices.append(notice)
        if not notice.present:
            over.set()

    limits = JournalLimits(group_s=0.001, stall_s=0.2)
    journal = await Journal.open(small_disk, ["hall"], limits=limits, notify=notify)
    follower = Follower()
    journal.follow("hall", follower)
    hog = Hog(small_disk)
    hog.eat()
    number = 0
    while not notices or notices[-1].kind != "journal_stalled":
        number += 1
        hog.eat()
        await journal.commit([alarm(number)])
        assert number < 2000
    stored = number - 1
    assert follower.records[-1].durable is False
    before = len(tries)
    await asyncio.sleep(1.0)
    assert len(tries) - before < 40
    over.clear()
    hog.go()
    await asyncio.wait_for(over.wait(), 10)
    await journal.close()
    again = await Journal.open(small_disk, ["hall"], limits=limits)
    events = await again.read(Lane.ALARMS, Span(1, 1, 9999), 9999)
    assert [event.seq for event in events] == list(range(1, stored + 2))
    await again.close()


def test_samples_take_nothing_of_what_is_given_back_for_alarms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    con = open_file(tmp_path, 10**9, starting=True).con
    room = Room(tmp_path, 10**9, 1_000_000)
    room.settle(con)
    while room.is_due(con):
        assert room.grow(con)
    held = room.held
    assert held >= room.wanted
    assert pages_free(con) >= 32
    size = (tmp_path / FILE).stat().st_size
    monkeypatch.setattr("gateway.journal.room.free_bytes", lambda _: 0)
    room.look(1)
    assert "left on the disk" in room.short
    assert not room.grow(con)
    room.check_samples(con)
    before = room.for_samples(con)
    assert room.release(con)
    assert room.held < held
    assert room.for_samples(con) <= before + 2  # of the table itself
    assert pages_free(con) >= before + 60
    con.execute("CREATE TABLE more (a BLOB)")
    con.execute("INSERT INTO more VALUES (zeroblob(?))", ((before + 4) * 4096,))
    with pytest.raises(sqlite3.OperationalError):
        room.check_samples(con)
    con.close()
    assert (tmp_path / FILE).stat().st_size == size


def test_a_storm_has_the_whole_reserve_in_a_file_that_cannot_grow(tmp_path: Path) -> None:
    """It is thought to need more than there is: what was given back for it stays so."""
    store = Store(tmp_path, 4_000_000, ["hall"], LIMITS)
    store.begin()
    body = b"x" * 1400
    for number in range(4):
        first = 400 * number + 1
        storm = [Record(Lane.ALARMS, 1, first + n, "alarm/event", body) for n in range(400)]
        outcome = store.write(Batch(1.78e9, urgent=(Urgent(storm),)))
        assert outcome.urgent_stored, (number, outcome.error)
    store.close()


def test_a_storm_while_somebody_reads_finds_room_and_costs_no_samples(tmp_path: Path) -> None:
    """Then the log cannot be emptied; but the disk has room to spare."""
    store = Store(tmp_path, 10**9, ["hall"], LIMITS)
    store.begin()
    noise = random.Random(1)
    told = [Record(Lane.SAMPLES, 1, n + 1, s.topic, s.body) for n, s in enumerate(samples(noise))]
    assert store.write(Batch(1.78e9, groups=(Group(Lane.SAMPLES, told),))).groups_stored
    uri = f"{(tmp_path / FILE).as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as reader:
        reading = reader.execute("SELECT lane FROM groups UNION ALL SELECT key FROM meta")
        assert reading.fetchone()
        storm = [Record(Lane.ALARMS, 1, n + 1, "alarm/event", b"x" * 1400) for n in range(1000)]
        outcome = store.write(Batch(1.78e9, urgent=(Urgent(storm),)))
        assert (outcome.urgent_stored, outcome.groups_stored, outcome.lost) == (True, True, ())
        reading.close()
    store.close()


def _reserve(place: Path) -> int:
    with closing(sqlite3.connect(place / FILE)) as con:
        (size,) = con.execute("SELECT coalesce(sum(length(room)), 0) FROM reserve").fetchone()
    return int(size)


def _count_transactions(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    tries: list[int] = []
    original = Store._transaction

    def transaction(store: Store, batch: Batch, rows: Sequence[bytes]) -> None:
        tries.append(1)
        original(store, batch, rows)

    monkeypatch.setattr(Store, "_transaction", transaction)
    return tries


def _bare(notice: Notice) -> Notice:
    return Notice(notice.kind, notice.present)
