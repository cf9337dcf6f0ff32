"""The journal's files are damaged in every way: it opens, says so, and takes alarms."""

import asyncio
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pytest

from gateway.journal.epoch import EPOCH_FILE
from gateway.journal.file import FILE
from gateway.journal.journal import Journal
from gateway.journal.spans import Span
from gateway.values import Entry, Lane, Notice

FULL = pytest.param(200, marks=pytest.mark.torture)
WAL, SHM = FILE + "-wal", FILE + "-shm"
Damage = Callable[[Path, Random], None]


def truncated(path: Path, random: Random) -> None:
    """Cut anywhere."""
    os.truncate(path, random.randrange(path.stat().st_size))


def flipped(path: Path, random: Random, bits: int = 1) -> None:
    """Some bits are others."""
    data = bytearray(path.read_bytes())
    for _ in range(bits):
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    path.write_bytes(data)


def flipped_often(path: Path, random: Random) -> None:
    """A hundred bits are others."""
    flipped(path, random, 100)


def header_flipped(path: Path, random: Random) -> None:
    """A bit of the first 100 bytes is another."""
    data = bytearray(path.read_bytes())
    data[random.randrange(100)] ^= 1 << random.randrange(8)
    path.write_bytes(data)


def zeroed(path: Path, random: Random) -> None:
    """Pages of zeros, as after a power cut on a careless disk."""
    data = bytearray(path.read_bytes())
    begin = random.randrange(len(data)) & ~4095
    size = min(len(data) - begin, 4096 * random.choice((1, 4, 16)))
    data[begin : begin + size] = bytes(size)
    path.write_bytes(data)


def garbage(path: Path, random: Random) -> None:
    """Something else altogether."""
    path.write_bytes(random.randbytes(random.choice((1, 100, 5000, 100_000))))


def emptied(path: Path, random: Random) -> None:
    """Nothing in it."""
    path.write_bytes(b"")


def text(path: Path, random: Random) -> None:
    """Not a database."""
    path.write_text("This is not a journal.\n" * 100)


def other_version(path: Path, random: Random) -> None:
    """Of a program of another time."""
    with closing(sqlite3.connect(path)) as con:
        con.execute(f"PRAGMA user_version = {random.choice((2, 7, 99, 1_000_000))}")
        con.commit()


def other_tables(path: Path, random: Random) -> None:
    """A database of somebody else."""
    path.unlink()
    with closing(sqlite3.connect(path)) as con:
        con.execute("CREATE TABLE events (this TEXT)")
        con.commit()


def read_only(path: Path, random: Random) -> None:
    """A write version that SQLite only reads (file format, 1.3, offset 18)."""
    data = bytearray(path.read_bytes())
    data[18] = 3
    path.write_bytes(data)


def missing(path: Path, random: Random) -> None:
    """Gone."""
    path.unlink(missing_ok=True)


def directory(path: Path, random: Random) -> None:
    """A directory stands in its place."""
    path.unlink(missing_ok=True)
    path.mkdir()


def dangling(path: Path, random: Random) -> None:
    """A link to nowhere."""
    path.unlink(missing_ok=True)
    path.symlink_to(path.with_name("nowhere") / "nothing")


def foreign_wal(path: Path, random: Random) -> None:
    """The log of another journal."""
    shutil.copy(path.parent.with_name("other") / WAL, path)


def numbered(path: Path, random: Random) -> None:
    """Numbers that no epoch has."""
    texts = (b"-5\n", b"9" * 30, b"9223372036854775807\n", b"0x10\n", b"\xff\xfe", b"1e9\n", b"NaN")
    path.write_bytes(random.choice(texts))


DAMAGES: dict[str, tuple[Damage, ...]] = {
    FILE: (
        *(truncated, flipped, flipped_often, header_flipped, zeroed, garbage, emptied, text),
        *(other_version, other_tables, read_only, missing, directory, dangling),
    ),
    WAL: (truncated, flipped, flipped_often, zeroed, garbage, emptied, missing, foreign_wal),
    SHM: (garbage, missing),
    EPOCH_FILE: (truncated, garbage, emptied, missing, directory, dangling, numbered),
}
VARIANTS = [(name, damage) for name, all_of in DAMAGES.items() for damage in all_of]


async def prepared(lives: Any, driver: Any, oracles: Any, place: Path) -> Any:
    """Three journals: ``closed``, ``killed`` with a log beside it, and ``other``."""
    told = {}
    for name in ("closed", "killed", "other"):
        life = driver.Life(
            str(place / name), str(place / f"told-{name}"), steps=60, every_s=0.0, pad=1000
        )
        await lives.begin(life)
        assert await lives.ended() == 0
        life = driver.Life(
            life.state, life.told, first=61, steps=30, every_s=0.0, close=name == "closed"
        )
        await lives.begin(life)
        assert await lives.ended() in (0, -signal.SIGKILL)
        told[name] = oracles.Told().read(oracles.told_in(Path(life.told))[0])
    return told


def bodies(place: Path, *names: str) -> set[bytes]:
    """All that was ever stored in the lanes of alarms of these journals, which are left alone."""
    found = set()
    for name in names:
        copied = place / f"{name}-intact"
        shutil.copytree(place / name, copied)
        with closing(sqlite3.connect(copied / FILE)) as con:
            found |= {body for (body,) in con.execute("SELECT body FROM events")}
    return found


def explained(records: Iterable[Any]) -> int:
    """How many messages of the alarms are told as lost."""
    told = [json.loads(record.body) for record in records if record.topic == "lost"]
    return sum(body["count"] for body in told if body["of_lane"] == Lane.ALARMS)


async def judged(judge: Any, place: Path, told: Any, stored: set[bytes]) -> tuple[str, set[int]]:
    """How it said anything, and which of the confirmed are gone."""
    notices: list[Notice] = []
    async with asyncio.timeout(20):
        journal = await Journal.open(place, [judge.SINK], notify=notices.append)
    try:
        assert journal.epoch > max(told.epochs), "the epoch went back"
        assert journal.epoch < 2**63, "no epoch for a database"
        how = "file" if journal.notices else ""
        found = [r async for r in judge.numbers_of(journal, Lane.ALARMS, judge.SINK)]
        invented = [record for record in found if record.body not in stored]
        assert not invented, f"never stored: {invented[:2]}"
        urgent = {judge.number(record) for record in found}
        assert await journal.commit([Entry(Lane.ALARMS, "alarm/event", b'{"n":777}')]), "no alarm"
        epoch = journal.epoch
    finally:
        await journal.close()
    again = await Journal.open(place, [judge.SINK])
    try:
        assert again.epoch == epoch + 1, "the epoch was not kept"
        span = Span(epoch, 1, again.previous[Lane.ALARMS])
        ours = await again.read(Lane.ALARMS, span, 1_000)
        assert 777 in map(judge.number, ours), "the alarm was not kept"
    finally:
        await again.close()
    gone = told.confirmed - urgent
    if explained(ours):
        assert "journal_damaged" in {notice.kind for notice in notices}, "no notice of a loss"
        how = how or "rows"
    return ("" if how == "rows" and len(gone) > explained(ours) else how), gone


@pytest.mark.parametrize("count", [20, FULL])
async def test_a_damaged_journal_opens(
    tmp_path: Path, lives: Any, driver: Any, judge: Any, oracles: Any, figure: Any, count: int
) -> None:
    told = await prepared(lives, driver, oracles, tmp_path)
    stored = await asyncio.to_thread(bodies, tmp_path, *told)
    random, wrong, seen = Random(count), [], Counter[str]()
    variants = VARIANTS * (count // len(VARIANTS) + 1) if count > 100 else VARIANTS
    for k, (name, damage) in enumerate(random.sample(variants, count)):
        base = "killed" if name in (WAL, SHM) else random.choice(("closed", "killed"))
        place = tmp_path / f"variant-{k}"
        shutil.copytree(tmp_path / base, place)
        if (place / name).exists() or damage in (directory, dangling):
            damage(place / name, random)
        what = f"{base}/{name} {damage.__name__} ({place.name})"
        try:
            how, gone = await judged(judge, place, told[base], stored)
        except Exception as error:  # noqa: BLE001 - each way in which it fails is listed
            wrong.append(f"{what}: {type(error).__name__}: {error}".splitlines()[0])
            continue
        seen[f"told_by_{how}" if how else "untold"] += 1
        seen["alarms_gone"] += len(gone)
        if gone and not how:
            wrong.append(f"{what}: {len(gone)} alarms and commands are gone, and nothing was said")
        shutil.rmtree(place)
    figure(variants=count, wrong=len(wrong), confirmed=len(told["closed"].confirmed), **seen)
    assert not wrong, "\n".join(wrong)


def ready(place: Path, config: Path) -> bool:
    """Whether the real daemon says READY=1 within some seconds; it is ended then."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as notify:
        address = place.with_name(place.name + ".notify")
        notify.bind(str(address))
        notify.settimeout(15)
        with (place.with_name(place.name + ".log")).open("wb") as log:
            process = subprocess.Popen(
                [Path(sys.executable).with_name("dosegate"), "run", "-c", config],
                env={**os.environ, "NOTIFY_SOCKET": str(address)},
                stdout=log,
                stderr=log,
            )
        try:
            while b"READY=1" not in notify.recv(4096):
                pass
        except TimeoutError:
            return False
        finally:
            process.kill()
            process.wait()
    return True


@pytest.mark.parametrize("count", [3, pytest.param(15, marks=pytest.mark.torture)])
async def test_the_daemon_starts_with_a_damaged_journal(
    tmp_path: Path, lives: Any, driver: Any, oracles: Any, plant: Any, figure: Any, count: int
) -> None:
    await prepared(lives, driver, oracles, tmp_path)
    random, wrong = Random(count), []
    for k, (name, damage) in enumerate(random.sample(VARIANTS, count)):
        place, config = tmp_path / f"variant-{k}", tmp_path / f"variant-{k}.toml"
        shutil.copytree(tmp_path / "killed", place)
        if (place / name).exists() or damage in (directory, dangling):
            damage(place / name, random)
        socket_place = tmp_path / f"c{k}"
        socket_place.mkdir()
        text = plant.configuration(socket_place, place, (), (), sink={}, journal={})
        config.write_text(text)
        if not await asyncio.to_thread(ready, place, config):
            wrong.append(f"{name} {damage.__name__} ({place.name})")
    figure(variants=count, wrong=len(wrong))
    assert not wrong, wrong
