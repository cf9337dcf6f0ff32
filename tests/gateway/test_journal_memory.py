"""Where the state directory cannot be used alarms go on, and come to the disk later."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from gateway.journal.epoch import EPOCH_FILE, UNKNOWN_EPOCH, NextEpoch, next_epoch, store_epoch
from gateway.journal.file import FILE
from gateway.journal.journal import Journal
from gateway.journal.record import JournalLimits, Record
from gateway.journal.spans import Cursor, Cursors, Span, Spans
from gateway.values import Document, Entry, Lane, Notice

FAST = JournalLimits(group_s=0.002)


class Follower:
    """Owes what it was told to owe, and all that it was offered."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.owing: Cursors = {}
        self.again: dict[Lane, list[Span]] = {}

    def offer(self, records: Sequence[Record]) -> None:
        self.records += records

    def cursors(self) -> Cursors:
        return self.owing

    def owe(self, lane: Lane, spans: Spans) -> None:
        self.again[lane] = list(spans)


def alarm(number: int) -> Entry:
    return Entry(Lane.ALARMS, "alarm/event", b'{"event":%d}' % number)


def sample(number: int) -> Entry:
    return Entry(Lane.SAMPLES, "detector/a/sample", b'{"n":%d}' % number)


async def test_without_a_directory_the_journal_is_in_memory_and_says_so(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_bytes(b"")
    notices: list[Notice] = []
    journal = await Journal.open(place, ["hall"], limits=FAST, notify=notices.append)
    assert not journal.durable
    assert journal.epoch >= UNKNOWN_EPOCH
    (notice,) = notices
    assert (notice.kind, notice.present) == ("journal_stalled", True)
    assert "memory" in notice.detail
    assert f"{place}: the journal cannot be written here" in notice.detail
    assert "state_dir" in notice.detail
    follower = Follower()
    journal.follow("hall", follower)
    journal.append([sample(1), sample(2)])
    assert not await journal.commit([alarm(1)], [Document("alarm/active/a", b"{}", durable=True)])
    assert [(each.topic, each.durable) for each in follower.records if each.lane.is_alarm] == [
        ("alarm/event", False)
    ]
    assert [
        each.seq for each in await journal.read(Lane.SAMPLES, Span(journal.epoch, 1, 9), 9)
    ] == [
        1,
        2,
    ]
    assert [each.seq for each in await journal.read(Lane.ALARMS, Span(journal.epoch, 1, 9), 9)] == [
        1
    ]
    assert len(notices) == 1
    await journal.close()


async def test_what_is_stored_in_memory_is_told_once(tmp_path: Path) -> None:
    """Not again when the time is over that a disk has for it."""
    place = tmp_path / "file"
    place.write_bytes(b"")
    limits = JournalLimits(group_s=0.002, stall_s=0.02)
    journal = await Journal.open(place, ["hall"], limits=limits)
    follower = Follower()
    journal.follow("hall", follower)
    waits = asyncio.get_running_loop().create_future()
    await journal.commit([alarm(number) for number in range(3)])
    asyncio.get_running_loop().call_later(2 * limits.stall_s, waits.set_result, None)
    await waits
    assert [each.seq for each in follower.records] == [1, 2, 3]
    assert journal.newest()[Lane.ALARMS] == journal.counters.stored[Lane.ALARMS] == 3
    assert not journal.counters.told_undurable
    await journal.close()


async def test_it_goes_to_the_disk_when_the_directory_can_be_used_again(tmp_path: Path) -> None:
    place = tmp_path / "state"
    first = await Journal.open(place, ["hall"], limits=FAST)
    first.follow("hall", Follower())
    first.append([sample(1)])
    await first.commit(
        [alarm(1)],
        [Document(f"alarm/active/{name}", b"{}", durable=True) for name in "ab"],
        [("a", b"1"), ("b", b"1")],
    )
    await first.close()
    place.rename(tmp_path / "elsewhere")
    place.write_bytes(b"")

    notices: list[Notice] = []
    journal = await Journal.open(place, ["hall"], limits=FAST, notify=notices.append)
    follower = Follower()
    journal.follow("hall", follower)
    await journal.commit(
        [alarm(2)], [Document("alarm/active/a", b"{2}", durable=True)], [("a", b"2")]
    )
    await _try_place(journal)
    assert not journal.durable
    place.unlink()
    (tmp_path / "elsewhere").rename(place)
    await _try_place(journal)
    assert journal.durable
    assert (place / EPOCH_FILE).read_bytes() == b"%d\n" % journal.epoch
    assert not notices[-1].present
    assert follower.again == {Lane.SAMPLES: [Span(1, 1, 1)], Lane.ALARMS: [Span(1, 1, 1)]}
    assert await journal.commit([alarm(3)])
    follower.owing = {Lane.ALARMS: Cursor(journal.epoch, 1, (Span(1, 1, 1),))}
    assert follower.records[-1].durable
    old = await journal.read(Lane.ALARMS, Span(1, 1, 1), 9)
    assert [each.body for each in old] == [alarm(1).body]
    await journal.close()

    last = await Journal.open(place, ["hall"], limits=FAST)
    assert last.epoch == journal.epoch + 1
    assert last.states() == {"a": b"2"}
    assert set(last.durable_documents()) == {
        Document("alarm/active/a", b"{2}", durable=True),
        Document("alarm/active/b", b"", durable=True),
    }
    found = await last.read(Lane.ALARMS, Span(journal.epoch, 1, 9), 9)
    assert [each.body for each in found] == [alarm(2).body, alarm(3).body]
    owed = last.follow("hall", Follower())[Lane.ALARMS]
    assert owed.backlog == (Span(1, 1, 1), Span(journal.epoch, 2, 2))
    await last.close()


def _run(program: str, *arguments: str) -> bytes:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, check=True
    )
    return done.stdout


READ_ONLY = """
import asyncio, json, subprocess, sys
from pathlib import Path
from gateway.journal.journal import Journal

async def main(place):
    told = []
    journal = await Journal.open(place, ["hall"], notify=told.append)
    result = {
        "durable": journal.durable,
        "epoch": journal.epoch,
        "states": {key: value.decode() for key, value in journal.states().items()},
        "told": told[0].detail,
    }
    await journal.close()
    print(json.dumps(result))

place = Path(sys.argv[1])
subprocess.run(["mount", "-o", "remount,ro,bind", str(place)], check=True)
asyncio.run(main(place))
"""


@pytest.fixture
def bound(tmp_path: Path) -> Iterator[Path]:
    """A directory that can be mounted read-only."""
    place = tmp_path / "state"
    place.mkdir()
    if os.geteuid() or subprocess.run(["mount", "--bind", place, place]).returncode:
        pytest.skip("a file system can only be mounted by root")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


async def test_a_read_only_file_system_still_gives_the_states_of_the_alarms(bound: Path) -> None:
    journal = await Journal.open(bound, ["hall"], limits=FAST)
    await journal.commit([alarm(1)], states=[("engine/a", b"latched")])
    await journal.close()
    done = await asyncio.to_thread(_run, READ_ONLY, str(bound))
    result = json.loads(done.splitlines()[-1])
    assert result["durable"] is False
    assert result["epoch"] >= UNKNOWN_EPOCH
    assert result["states"] == {"engine/a": "latched"}
    assert "Read-only file system" in result["told"]


def test_epochs_never_go_back_whatever_is_damaged(tmp_path: Path) -> None:
    assert next_epoch(tmp_path, 0) == NextEpoch(1)
    (tmp_path / EPOCH_FILE).write_bytes(b"\xff\xfe")
    epoch = next_epoch(tmp_path, 41)
    assert epoch.epoch == 42
    assert "could not be read" in epoch.notices[0]
    (tmp_path / EPOCH_FILE).write_bytes(b"9" * 30)
    epoch = next_epoch(tmp_path, 0, damaged=True)
    assert epoch.epoch >= UNKNOWN_EPOCH
    assert "damaged" in epoch.notices[0]
    (tmp_path / EPOCH_FILE).unlink()
    assert next_epoch(tmp_path, 0, damaged=True).epoch >= UNKNOWN_EPOCH


def test_a_journal_that_knows_less_than_the_file_of_the_epoch_is_told(tmp_path: Path) -> None:
    store_epoch(tmp_path, 7)
    assert next_epoch(tmp_path, 7) == NextEpoch(8)
    assert next_epoch(tmp_path, 8) == NextEpoch(9)
    for stored in (0, 6):
        epoch = next_epoch(tmp_path, stored)
        assert (epoch.epoch, epoch.is_lost) == (8, True)
        assert "not the one" in epoch.notices[0]
        assert next_epoch(tmp_path, stored, damaged=True) == NextEpoch(8)
    store_epoch(tmp_path, 8, alone=True)
    assert next_epoch(tmp_path, 7) == NextEpoch(9)


async def test_file_and_epoch_damaged_at_once(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path, [])
    await journal.close()
    (tmp_path / FILE).write_bytes(b"garbage" * 1000)
    (tmp_path / EPOCH_FILE).write_bytes(b"")
    journal = await Journal.open(tmp_path, [])
    assert journal.epoch >= UNKNOWN_EPOCH
    assert journal.durable
    assert len(journal.notices) == 2
    await journal.close()


async def _try_place(journal: Journal) -> None:
    """What the timer does."""
    journal._place.try_directory()
    await journal.quarantined()  # behind it in the writer's thread
