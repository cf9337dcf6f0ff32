"""What SQLite does not see: lost files, lost logs, and synchronisations that failed."""

import asyncio
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest

from gateway.journal import file as journal_file
from gateway.journal import rows as journal_rows
from gateway.journal import store as journal_store
from gateway.journal.file import FILE
from gateway.journal.journal import Journal
from gateway.journal.record import JournalLimits, Record
from gateway.journal.spans import Cursors, Span, Spans
from gateway.values import Entry, Lane, Notice

FAST = JournalLimits(group_s=0.002)


class Follower:
    """Keeps nothing."""

    def offer(self, records: Sequence[Record]) -> None:
        """Nothing is wanted."""

    def cursors(self) -> Cursors:
        return {}

    def owe(self, lane: Lane, spans: Spans) -> None:
        raise AssertionError(lane, spans)


def alarm(number: int) -> Entry:
    return Entry(Lane.ALARMS, "alarm/event", b'{"event":%d}' % number)


async def filled(place: Path) -> Journal:
    journal = await Journal.open(place, ["hall"], limits=FAST)
    for number in range(1, 21):
        await journal.commit([alarm(number)], states=[("engine/a", b"%d" % number)])
    return journal


def _checkpoint(con: sqlite3.Connection) -> None:
    con.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()


def _empty_log(log: Path) -> None:
    log.write_bytes(b"")


def _cut_log(log: Path) -> None:
    os.truncate(log, log.stat().st_size // 2)


def _turn_bits(log: Path) -> None:
    data = bytearray(log.read_bytes())
    for at in range(100, len(data), 997):
        data[at] ^= 4
    log.write_bytes(data)


@pytest.mark.parametrize(
    "damage",
    [Path.unlink, _cut_log, _turn_bits, _empty_log],
)
@pytest.mark.parametrize("lives", [1, 2])
async def test_what_was_lost_with_the_log_is_told(
    tmp_path: Path, damage: Callable[[Path], object], lives: int
) -> None:
    """Also where the file itself knows the epoch."""
    live, left = tmp_path / "live", tmp_path / "left"
    for _ in range(lives):
        journal = await Journal.open(live, ["hall"], limits=FAST)
        await journal.commit([alarm(1)])
        await asyncio.get_running_loop().run_in_executor(
            journal._writer, journal._store.work, _checkpoint
        )
        for number in range(2, 6):
            await journal.commit([alarm(number)], states=[("engine/a", b"%d" % number)])
        shutil.copytree(live, left, dirs_exist_ok=True)
        await journal.close()
    damage(left / f"{FILE}-wal")
    notices: list[Notice] = []
    again = await Journal.open(left, ["hall"], limits=FAST, notify=notices.append)
    assert again.epoch == lives + 1
    (told, over) = notices
    assert (told.kind, told.present, over.present) == ("journal_damaged", True, False)
    assert "4 of alarms" in told.detail or damage is _cut_log
    await again.close()
    notices.clear()
    last = await Journal.open(left, ["hall"], limits=FAST, notify=notices.append)
    assert not notices
    await last.close()


@pytest.mark.parametrize("content", [None, b"", b"x"])
async def test_a_journal_that_is_gone_is_told(tmp_path: Path, content: bytes | None) -> None:
    journal = await filled(tmp_path)
    await journal.close()
    if content is None:
        (tmp_path / FILE).unlink()
    else:
        (tmp_path / FILE).write_bytes(content)
    again = await Journal.open(tmp_path, ["hall"], limits=FAST)
    assert again.epoch == 2
    assert len(again.notices) == 1
    assert await again.commit([alarm(1)])
    await again.close()
    last = await Journal.open(tmp_path, ["hall"], limits=FAST)
    assert (last.epoch, last.notices) == (3, ())
    await last.close()


async def test_a_log_that_is_gone_after_a_clean_end_held_nothing(tmp_path: Path) -> None:
    journal = await filled(tmp_path)
    await journal.close()
    log = tmp_path / f"{FILE}-wal"
    assert log.stat().st_size  # its room is kept
    log.unlink()
    again = await Journal.open(tmp_path, ["hall"], limits=FAST)
    assert again.notices == ()
    assert again.states() == {"engine/a": b"20"}
    await again.close()


async def test_the_log_stays_as_it_is_while_another_process_reads(tmp_path: Path) -> None:
    journal = await filled(tmp_path)
    reading = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]);"
        " c.execute('SELECT 1 FROM meta').fetchall(); print(1, flush=True); sys.stdin.read()"
    )
    other = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", reading, str(tmp_path / FILE)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert other.stdin is not None
    assert other.stdout is not None
    await other.stdout.readline()
    await journal.close()
    log = tmp_path / f"{FILE}-wal"
    assert log.read_bytes()[:32] != bytes(32)
    other.stdin.close()
    await other.wait()
    again = await Journal.open(tmp_path, ["hall"], limits=FAST)
    assert again.notices == ()
    await again.close()
    assert log.read_bytes()[:32] == bytes(32)


async def test_a_file_that_forbids_writing_makes_way(tmp_path: Path) -> None:
    journal = await filled(tmp_path)
    await journal.close()
    data = bytearray((tmp_path / FILE).read_bytes())
    data[18] = 3
    (tmp_path / FILE).write_bytes(data)
    again = await Journal.open(tmp_path, ["hall"], limits=FAST)
    assert "damaged" in again.notices[0]
    assert again.states() == {"engine/a": b"20"}
    assert len(await again.read(Lane.ALARMS, Span(1, 1, 99), 99)) == 20
    assert await again.commit([alarm(1)])
    await again.close()


async def test_the_epoch_of_a_journal_in_memory_does_not_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_file(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("unable to open database file")

    with monkeypatch.context() as patch:
        patch.setattr("gateway.journal.store.open_file", no_file)
        memory = await Journal.open(tmp_path, ["hall"], limits=FAST)
        assert not memory.durable
        await memory.close()
    again = await Journal.open(tmp_path, ["hall"], limits=FAST)
    assert again.epoch == memory.epoch + 1
    assert again.notices == ()
    await again.close()


class FailingBegin:
    """The first so many attempts to begin an epoch fail as a synchronisation does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, failures: int) -> None:
        self.used: list[sqlite3.Connection] = []
        self._failures = failures
        monkeypatch.setattr(journal_store, "begin", self.begin)

    def begin(
        self, con: sqlite3.Connection, epoch: int, cursors: Iterable[tuple[str, Lane, str]]
    ) -> None:
        self.used.append(con)
        journal_rows.begin(con, epoch, cursors)
        if len(self.used) <= self._failures:
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
            raise error


@pytest.mark.parametrize("failures", [1, 2])
async def test_an_epoch_that_could_not_be_stored_is_tried_on_another_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    with monkeypatch.context() as patch:
        failing = FailingBegin(patch, failures)
        journal = await Journal.open(tmp_path, ["hall"], limits=FAST)
        assert len(journal.notices) == failures - 1
        assert await journal.commit([alarm(1)])
        await journal.close()
    assert len(failing.used) == failures + 1
    assert len(set(map(id, failing.used))) == failures + 1
    again = await Journal.open(tmp_path, ["hall"], limits=FAST)
    assert (again.epoch, again.notices) == (2, ())
    assert again.follow("hall", Follower())[Lane.ALARMS].backlog == (Span(1, 1, 1),)
    await again.close()


async def test_after_a_failed_synchronisation_nothing_is_left_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while somebody reads: what comes behind a frame that is not on the disk is lost."""
    journal = await filled(tmp_path)
    await journal.read(Lane.ALARMS, Span(1, 1, 1), 1)  # its connection stays
    emptied: list[bool] = []

    def empty_log(con: sqlite3.Connection) -> None:
        emptied.append(True)
        original(con)
        _, in_log, moved = con.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        assert in_log == moved

    def fails(*_: object) -> None:
        patch.undo()
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
        raise error

    original = journal_file.empty_log
    monkeypatch.setattr(journal_store, "empty_log", empty_log)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal_store, "insert", fails)
        assert await journal.commit([alarm(21)])
    assert emptied == [True]
    await journal.close()
