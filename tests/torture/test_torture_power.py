"""The power fails: what was confirmed before is there, whole, and numbers go on."""

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

FULL = pytest.param(150, marks=pytest.mark.torture)
LOSSES = ("confirmed before the cut", "are gone from the journal", "is not the one that was here")
"""Ways in which it is seen, by the test or by the journal itself."""
LIVES = 5
"""Recordings of the full form: each goes on where the one before was killed or closed."""


async def cuts(
    scene: Any, recording: list[Any], before: Path, life: Any, count: int, seed: int
) -> list[str]:
    """Cuts the power so often during one recording; what was wrong."""
    disk, judge, oracles, place, earlier = scene
    random, told, wrong = Random(seed), Path(life.told), []
    points = disk.cut_points(disk.Disk(before, told, at=Path(life.state)), recording, count, random)
    played = disk.Disk(before, told, at=Path(life.state))
    for at, call in enumerate(recording):
        played.play(call)
        if at not in points:
            continue
        rebuilt = place / f"cut-{seed}-{at}"
        played.after_cut(random, rebuilt)
        said = oracles.Told(confirmed=set(earlier)).read(played.told.splitlines())
        end = max((when for *_, when in said.samples), default=0.0)
        try:
            await judge.check_journal(rebuilt, said, samples_before=end - judge.CUT_S)
        except AssertionError as error:
            wrong.append(f"{rebuilt.name}: {error}".splitlines()[0])
        else:
            shutil.rmtree(rebuilt)
    return wrong


async def recorded(scene: Any, strace: str, life: Any, count: int, seed: int) -> list[str]:
    """Runs one life, then cuts its power."""
    disk, _, _, place, _ = scene
    state, before = Path(life.state), place / f"before-{seed}"
    await asyncio.to_thread(shutil.copytree, state, before)
    file = place / f"recording-{seed}"
    calls = await asyncio.to_thread(disk.record, strace, life, file, kill_ok=not life.close)
    file.unlink()
    return await cuts(scene, calls, before, life, count, seed)


def life_of(driver: Any, tmp_path: Path, **more: Any) -> Any:
    """A life without a broker."""
    settings = {"state": str(tmp_path / "state"), "told": str(tmp_path / "told-1")}
    return driver.Life(**{**settings, "every_s": 0.004, **more})


@pytest.mark.parametrize("count", [15, FULL])
async def test_the_power_fails(
    tmp_path: Path,
    strace: str,
    disk: Any,
    driver: Any,
    judge: Any,
    oracles: Any,
    figure: Any,
    count: int,
) -> None:
    earlier: set[int] = set()
    scene = (disk, judge, oracles, tmp_path, earlier)
    (tmp_path / "state").mkdir()
    lives = LIVES if count > 100 else 1
    life = life_of(driver, tmp_path, steps=60 if count > 100 else 20, pad=3000)
    wrong: list[str] = []
    for k in range(lives):
        told = tmp_path / f"told-{k}"
        life = replace(life, told=str(told), first=1 + 1000 * k, close=k % 2 == 1)
        wrong += await recorded(scene, strace, life, count // lives, k)
        earlier |= oracles.Told().read(oracles.told_in(told)[0]).confirmed
    figure(cuts=count, recordings=lives, confirmed=len(earlier), wrong=len(wrong))
    assert not wrong, wrong[:5]


async def test_without_full_synchronisation_the_test_fails(
    tmp_path: Path,
    strace: str,
    disk: Any,
    driver: Any,
    judge: Any,
    oracles: Any,
    figure: Any,
) -> None:
    """Keeps the test honest: what it cannot see in such a journal it would not see in ours."""
    scene = (disk, judge, oracles, tmp_path, set())
    (tmp_path / "state").mkdir()
    life = life_of(driver, tmp_path, steps=12, synchronous="NORMAL", close=False)
    wrong = await recorded(scene, strace, life, 12, 99)
    figure(cuts=12, wrong=len(wrong))
    assert len([each for each in wrong if any(loss in each for loss in LOSSES)]) >= 3, wrong
