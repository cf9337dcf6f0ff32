"""The process is killed at any instant: what was confirmed is there, numbers go on."""

import asyncio
import os
import signal
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

FULL = pytest.param(200, marks=pytest.mark.torture)
STARTING_SHARE, START_S = 0.2, 0.06
"""So many are killed within so long after the fork; a start takes some 30 ms."""
LONGEST_S = 0.2
"""The others live no longer with an open journal."""
START = "start"
PHASES = {
    "start": START,
    "open": START,
    "s": "append",
    "c": "commit",
    "A": "commit",
    "p": "publish",
    "k": "acknowledge",
}
"""What the process was at when it was killed, by the last word it said."""


async def killed_life(lives: Any, life: Any, random: Random, until: Any) -> float:
    """When it was killed, on the monotonic clock."""
    told = Path(life.told)
    begin = len(await asyncio.to_thread(told.read_bytes))
    pid = await lives.begin(life)
    if random.random() < STARTING_SHARE:
        await asyncio.sleep(random.uniform(0.0, START_S))
    else:
        await until(lambda: b"\nopen " in told.read_bytes()[begin:], "the journal is open")
        await asyncio.sleep(random.uniform(0.0, LONGEST_S))
    at = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    assert await lives.ended() == -signal.SIGKILL
    return at


@pytest.mark.parametrize("kills", [10, FULL])
async def test_killed_at_any_instant(
    lives: Any,
    hub: Any,
    tmp_path: Path,
    driver: Any,
    oracles: Any,
    until: Any,
    figure: Any,
    kills: int,
) -> None:
    broker, delivered = hub
    random, phases, told = Random(kills), Counter[str](), oracles.Told()
    path, begin, must = tmp_path / "told", 0, dict[int, float]()
    path.touch()
    settings = {"state": str(tmp_path / "state"), "told": str(path)}
    settings["broker"] = f"mqtt://127.0.0.1:{broker.port}"
    for _ in range(kills):
        life = driver.Life(**settings, first=told.next_number, every_s=0.003)
        if random.random() < 0.25:
            broker.drop_acks()
        at = await killed_life(lives, life, random, until)
        broker.resume()
        lines, begin = oracles.told_in(path, begin=begin)
        told.read(lines)
        mine = oracles.Told().read(lines).samples
        phases[PHASES[lines[-1].split()[0]] if lines else START] += 1
        early = at - oracles.GROUP_S - oracles.WRITTEN_S
        must |= {n: at - when for *ends, when in mine if when < early for n in ends}
    await lives.begin(driver.Life(**settings, first=told.next_number, steps=3, drain=True))
    assert await lives.ended() == 0
    told.read(oracles.told_in(path, begin=begin)[0])

    told.check_epochs()
    assert len(told.epochs) > kills * 0.7
    assert not told.notices, told.notices
    assert not told.undurable
    missing = told.confirmed - delivered.numbers("alarm_event", "answer")
    assert not missing, f"confirmed and never delivered: {sorted(missing)[:9]}"
    late = {n: at for n, at in must.items() if n not in delivered.numbers("sample")}
    assert not late, f"samples lost, s before the kill: {late}"
    records = delivered.check_numbers(told.previous, "alarms", "samples")
    check_contents(driver, delivered)
    figure(
        kills=kills,
        confirmed=len(told.confirmed),
        records=records,
        duplicates=delivered.duplicates,
        **phases,
    )
    if kills > 100:
        assert set(phases) == set(PHASES.values()), phases


def check_contents(driver: Any, delivered: Any) -> None:
    """What arrived is what was handed over."""
    for body in delivered.bodies.values():
        wanted = driver.body(body["kind"], body["n"], len(body["pad"]))
        assert f'"pad":"{body["pad"]}"'.encode() in wanted


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.torture)])
async def test_the_whole_daemon_is_killed(
    plants: Any, hub: Any, oracles: Any, until: Any, figure: Any, kills: int
) -> None:
    """Alarms, who acknowledged them and when, are the same after each start."""
    broker, delivered = hub
    random, confirmed = Random(kills), dict[str, bool]()
    url = f"mqtt://127.0.0.1:{broker.port}"
    async with plants(url, instruments=kills + 1, rate=20.0) as it:
        for k in range(kills):
            occurrence = await it.raise_alarm(f"d{k + 1}")
            if k % 2 == 0:
                answer = await it.order("acknowledge", occurrence=occurrence)
                assert answer["ok"], answer
            # Told to consumers: on disk before that.
            await until(lambda o=occurrence: is_told(delivered, o, "raised"), "the alarm is told")
            confirmed[occurrence] = k % 2 == 0
            await asyncio.sleep(random.uniform(0.0, 0.5))
            it.daemon.kill()
            await it.daemon.start()
            board = {one["occurrence"]: one for one in it.daemon.alarms()}
            for known, is_acknowledged in confirmed.items():
                assert board[known]["acknowledged"] == is_acknowledged
                assert board[known]["active"]
        await it.quiet()
        await until(lambda: not it.owed(), "everything is delivered")
        epochs = [run.epoch for run in it.daemon.runs]
        assert epochs == sorted(set(epochs))
        assert await it.daemon.stop() == 0
    for known, is_acknowledged in confirmed.items():
        raised = [b for b in events(delivered, known) if b["event"] == "raised"]
        assert len(raised) == 1, "the same alarm was raised twice"
        assert is_told(delivered, known, "acknowledged") == is_acknowledged
    records = delivered.check_numbers({}, "alarms", "samples")
    figure(kills=kills, alarms=len(confirmed), records=records, duplicates=delivered.duplicates)


def events(delivered: Any, occurrence: str) -> list[Any]:
    """The events of an alarm."""
    return [
        body
        for body in tuple(delivered.bodies.values())
        if body.get("kind") == "alarm_event" and body["occurrence"] == occurrence
    ]


def is_told(delivered: Any, occurrence: str, name: str) -> bool:
    """Whether such an event of the alarm arrived."""
    return any(body["event"] == name for body in events(delivered, occurrence))
