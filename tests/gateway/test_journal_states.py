"""States that go with the next group: the newest wins, none is lost, commits come first."""

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest

from gateway.journal.file import FILE
from gateway.journal.journal import Journal
from gateway.journal.record import Batch, JournalLimits, Outcome
from gateway.journal.store import Store
from gateway.values import Entry, Lane

FAST = JournalLimits(group_s=0.002)
SLOW = JournalLimits(group_s=30.0)
SAMPLE = Entry(Lane.SAMPLES, "detector/d/sample", b'{"n":1}')
ALARM = Entry(Lane.ALARMS, "alarm/event", b'{"event":1}')


def on_disk(directory: Path) -> dict[str, bytes]:
    connection = sqlite3.connect(directory / FILE)
    try:
        return dict(connection.execute("SELECT key, value FROM states"))
    finally:
        connection.close()


async def stored(directory: Path, wanted: dict[str, bytes]) -> None:
    """Returns once the file holds exactly those states."""
    async with asyncio.timeout(10):
        while on_disk(directory) != wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def test_states_alone_are_stored_with_the_next_group(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path, [], limits=FAST)
    journal.append([], [("learned/a", b"1"), ("learned/b", b"2")])
    await stored(tmp_path, {"learned/a": b"1", "learned/b": b"2"})
    await journal.close()


async def test_the_newest_wins_and_an_empty_one_removes(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path, [], limits=SLOW)
    journal.append([SAMPLE], [("a", b"1"), ("b", b"1"), ("c", b"1")])
    journal.append([], [("a", b"2")])
    journal.append([], [("b", b"")])
    await journal.close()
    journal = await Journal.open(tmp_path, [])
    assert journal.states() == {"a": b"2", "c": b"1"}
    journal.append([], [("c", b"")])
    await journal.close()
    assert on_disk(tmp_path) == {"a": b"2"}


async def test_a_commit_is_newer_than_what_waits(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path, [], limits=SLOW)
    journal.append([], [("a", b"old"), ("b", b"old")])
    assert await journal.commit([ALARM], states=[("a", b"new")])
    assert on_disk(tmp_path) == {"a": b"new", "b": b"old"}
    await journal.close()
    assert on_disk(tmp_path) == {"a": b"new", "b": b"old"}


async def test_what_is_given_after_a_commit_is_newer(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path, [], limits=SLOW)
    journal.append([SAMPLE], [("x", b"1")])
    first = asyncio.ensure_future(journal.commit([ALARM], states=[("a", b"1")]))
    await asyncio.sleep(0)  # the writer is at work with it
    second = asyncio.ensure_future(journal.commit([ALARM], states=[("a", b"2")]))
    await asyncio.sleep(0)
    journal.append([], [("a", b"3")])
    assert await first
    assert await second
    await journal.close()
    assert on_disk(tmp_path)["a"] == b"3"


async def test_states_given_while_the_writer_works_wait_for_nothing_else(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path, [], limits=FAST)
    commit = asyncio.ensure_future(journal.commit([ALARM]))
    await asyncio.sleep(0)
    journal.append([], [("a", b"1")])
    assert await commit
    await stored(tmp_path, {"a": b"1"})
    await journal.close()


async def test_what_is_given_while_its_elder_is_written_is_stored_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_work, go_on, write = threading.Event(), threading.Event(), Store.write

    def slow(store: Store, batch: Batch) -> Outcome:
        at_work.set()
        go_on.wait(10)
        return write(store, batch)

    journal = await Journal.open(tmp_path, [], limits=FAST)
    monkeypatch.setattr(Store, "write", slow)
    journal.append([], [("a", b"1")])
    await asyncio.to_thread(at_work.wait, 10)
    journal.append([], [("a", b"2")])
    go_on.set()
    await stored(tmp_path, {"a": b"2"})
    await journal.close()


class Failing:
    """A store that fails as often as it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, whole: bool) -> None:
        self.left = 0
        self._write = Store.write
        self._whole = whole
        monkeypatch.setattr(Store, "write", lambda store, batch: self.write(store, batch))

    def write(self, store: Store, batch: Batch) -> Outcome:
        if not self.left:
            return self._write(store, batch)
        self.left -= 1
        if self._whole:
            return Outcome(False, False, "no disk")
        urgent = Batch(wall=batch.wall, urgent=batch.urgent)
        return Outcome(self._write(store, urgent).urgent_stored, False, "no room")


@pytest.mark.parametrize("whole", [True, False])
async def test_after_a_failure_they_are_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    failing = Failing(monkeypatch, whole=whole)
    journal = await Journal.open(tmp_path, [], limits=FAST)
    failing.left = 2
    journal.append([SAMPLE], [("a", b"1"), ("b", b"1")])
    assert await journal.commit([ALARM], states=[("b", b"2")])
    journal.append([], [("a", b"3")])
    await stored(tmp_path, {"a": b"3", "b": b"2"})
    assert failing.left == 0
    await journal.close()


async def test_the_last_states_are_stored_though_the_disk_fails_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = Failing(monkeypatch, whole=True)
    journal = await Journal.open(tmp_path, [], limits=SLOW)
    journal.append([], [("a", b"1")])
    failing.left = 1
    await journal.close()
    assert on_disk(tmp_path) == {"a": b"1"}
