"""The process dies at a chosen system call, or the call fails."""

import asyncio
import shutil
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

ALL = pytest.param(10_000, marks=pytest.mark.torture)
MANY = pytest.param(200, marks=pytest.mark.torture)
"""Of the writes that may fail: each fails in several ways. Synchronisations fail all of them."""
SHORT = 6
AT_ONCE = 2
"""Processes side by side: one a core."""
FATAL = ("pwrite64", "fdatasync", "fsync", "rename", "ftruncate", "unlink")
PHASES = {
    "journal.sqlite": "checkpoint",
    "journal.sqlite-wal": "commit",
    "journal.sqlite-journal": "creation",
    "journal.sqlite-shm": "commit",
    "epoch.new": "start",
    "epoch": "start",
}
FAILING = {
    "fdatasync:error=EIO": (1, 3),
    "fdatasync:error=ENOSPC": (1,),
    "pwrite64:error=EIO": (1, 2),
    "pwrite64:error=ENOSPC": (1, 6),
    "fsync:error=EIO": (1,),
}
"""Which call fails how, and how often in a row."""
STEPS = 6


def life_of(driver: Any, place: Path, *, reads: bool) -> Any:
    """A life without a broker, which fills some pages."""
    return driver.Life(
        *(str(place / "state"), str(place / "told")),
        steps=STEPS,
        every_s=0.002,
        samples=2,
        pad=1500,
        group_s=0.005,
        reads=reads,
    )


def recorded(scene: Any, place: Path, rule: str, *, reads: bool = False) -> tuple[list[Any], Any]:
    """One life in a new directory under one rule of injection: its calls, and what it told."""
    disk, driver, oracles, strace = scene
    (place / "state").mkdir(parents=True)
    life = life_of(driver, place, reads=reads)
    more = ("-e", f"inject={rule}") if rule else ()
    calls = disk.record(strace, life, place / "calls", *more, kill_ok=bool(rule))
    told = oracles.Told().read(oracles.told_in(place / "told")[0])
    return calls, told


def of_the_journal(calls: list[Any], place: Path) -> Counter[str]:
    """How often each call was made on the journal's directory, by the thread that writes it."""
    state = str(place / "state")
    names = Counter[str]()
    for call in calls:
        # What Python itself does before the journal opens is no part of the journal's life.
        if call.path.startswith(state) or any(
            state in text.decode("latin1") for text in call.texts
        ):
            names[call.name] += 1
    return names


async def side_by_side(jobs: list[Any]) -> list[Any]:
    """Runs the jobs, as many at once as there are cores."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(job: Any) -> Any:
        async with gate:
            return await job()

    return await asyncio.gather(*map(one, jobs))


def chosen(points: list[Any], count: int) -> list[Any]:
    """So many of them, spread by a seeded generator."""
    return Random(3).sample(points, min(count, len(points)))


@pytest.mark.parametrize("count", [SHORT, ALL])
async def test_killed_at_each_call(
    tmp_path: Path,
    strace: str,
    disk: Any,
    driver: Any,
    judge: Any,
    oracles: Any,
    figure: Any,
    count: int,
) -> None:
    scene = (disk, driver, oracles, strace)
    calls, _ = await asyncio.to_thread(recorded, scene, tmp_path / "whole", "")
    made = of_the_journal(calls, tmp_path / "whole")
    points = [(name, n) for name in FATAL for n in range(1, made[name] + 1)]
    phases = Counter[str]()

    async def one(name: str, n: int) -> str:
        place = tmp_path / f"{name}-{n}"
        rule = f"{name}:signal=KILL:when={n}"
        done, told = await asyncio.to_thread(recorded, scene, place, rule)
        if told.ends:
            return ""
        last = next((c for c in reversed(done) if "state/" in c.path), None)
        phases[PHASES.get(Path(last.path).name, "other") if last else "start"] += 1
        try:
            await judge.check_journal(place / "state", told)
        except AssertionError as error:
            return f"{place.name}: {error}".splitlines()[0]
        shutil.rmtree(place)
        return ""

    jobs = [lambda name=name, n=n: one(name, n) for name, n in chosen(points, count)]
    wrong = [each for each in await side_by_side(jobs) if each]
    figure(points=len(points), tried=len(jobs), wrong=len(wrong), **phases)
    assert not wrong, wrong[:5]
    assert phases.total() >= len(jobs) // 2


@pytest.mark.parametrize("count", [SHORT, MANY])
async def test_a_failed_call_is_never_taken_for_success(
    tmp_path: Path,
    strace: str,
    disk: Any,
    driver: Any,
    judge: Any,
    oracles: Any,
    figure: Any,
    count: int,
) -> None:
    """The power goes at the end: what was confirmed has reached the disk in spite of it all."""
    scene = (disk, driver, oracles, strace)
    calls, _ = await asyncio.to_thread(recorded, scene, tmp_path / "whole", "")
    made = of_the_journal(calls, tmp_path / "whole")
    points = [
        (rule, first, times, reads)
        for reads in (False, True)
        for rule, lengths in FAILING.items()
        for times in lengths
        for first in range(1, made[rule.split(":")[0]] + 1)
    ]
    undurable = failed = 0

    async def one(rule: str, first: int, times: int, reads: bool) -> str:
        nonlocal undurable, failed
        place = tmp_path / f"{rule.replace(':', '-')}-{first}-{times}-{'reads' * reads}"
        when = f"{rule}:when={first}..{first + times - 1}"
        done, told = await asyncio.to_thread(recorded, scene, place, when, reads=reads)
        undurable += len(told.undurable)
        played = disk.Disk(tmp_path / "none", place / "told", at=place / "state")
        for call in done:
            played.play(call)
        failed += played.failed
        try:
            assert told.ends == 1, "it ended early: " + told.last
            assert told.confirmed | told.undurable == told.begun, "an alarm was never told"
            await judge.check_journal(place / "state", told, is_told=True)
            for seed in range(3):
                rebuilt = place / f"cut-{seed}"
                played.after_cut(Random(seed), rebuilt)
                await judge.check_journal(rebuilt, told, is_told=True)
        except AssertionError as error:
            return f"{place.name}: {error}".splitlines()[0]
        shutil.rmtree(place)
        return ""

    writes = [point for point in points if point[0].startswith("pwrite64")]
    syncs = [point for point in points if point not in writes]
    picked = chosen(syncs, count // 2 if count == SHORT else len(syncs))
    picked += chosen(writes, count - count // 2)
    jobs = [lambda point=point: one(*point) for point in picked]
    wrong = [each for each in await side_by_side(jobs) if each]
    figure(
        points=len(points), tried=len(jobs), undurable=undurable, failed=failed, wrong=len(wrong)
    )
    assert not wrong, wrong[:8]
    assert failed >= len(jobs) // 2
