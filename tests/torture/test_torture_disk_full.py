"""Somebody fills the disk: alarms are stored all the same, and it goes on by itself."""

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest

DISK_BYTES = 48 * 1024 * 1024
JOURNAL = {"max_mb": 16, "ballast_mb": 4}
CHUNK = 64 * 1024


def fill(path: Path) -> int:
    """Takes every byte that is left; how many."""
    taken = 0
    with path.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        size = CHUNK
        while size:
            try:
                taken += file.write(bytes(size))
            except OSError:
                size //= 2
    return taken


async def nothing() -> None:
    """The other program has what it wants."""


async def keep_full(path: Path) -> None:
    """Takes what becomes free, until cancelled."""
    while True:
        await asyncio.to_thread(fill, path)
        await asyncio.sleep(0.2)


@pytest.mark.parametrize(
    ("long", "greedy"),
    [
        pytest.param(False, False, id="short"),
        pytest.param(True, False, id="long", marks=pytest.mark.torture),
        pytest.param(True, True, id="greedy", marks=pytest.mark.torture),
    ],
)
async def test_another_program_fills_the_disk(
    plants: Any,
    plant: Any,
    hub: Any,
    small_disk: Any,
    oracles: Any,
    until: Any,
    figure: Any,
    long: bool,
    greedy: bool,
) -> None:
    """``greedy``: the other program also takes what the gateway sets free for its alarms."""
    place = small_disk(DISK_BYTES)
    broker, delivered = hub
    url = f"mqtt://127.0.0.1:{broker.port}"
    rate = 100.0 if long else 60.0
    async with plants(url, rate=rate, state=place / "state", journal=JOURNAL) as it:
        await until(lambda: len(delivered.bodies) > 50, "samples flow")
        usage = oracles.Usage(it.pid())
        eater = place / "eaten"
        fill(eater)
        eating = asyncio.create_task(keep_full(eater) if greedy else nothing(), name="eating")
        await broker.stop()
        occurrences = [await it.raise_alarm("d1")]
        answer = await it.order("acknowledge", occurrence=occurrences[0])
        assert answer["ok"], answer
        await asyncio.sleep(30 if long else 2.5)
        occurrences.append(await it.raise_alarm("d2"))
        answer = await it.order("acknowledge", occurrence=occurrences[1])
        assert answer["ok"], answer
        await asyncio.sleep(1)
        share = usage.share()
        eating.cancel()
        await asyncio.wait((eating,))
        at_kill = it.daemon.alarms()
        if long:  # also a daemon that must start on a full disk keeps what it promised
            it.daemon.kill()
            fill(eater)
            await it.daemon.start()
            kept = {alarm["occurrence"]: alarm for alarm in it.daemon.alarms()}
            for alarm in at_kill:
                assert kept[alarm["occurrence"]]["acknowledged"] == alarm["acknowledged"]
        eater.unlink()
        await until(lambda: all(one.is_heard for one in it.instruments), "all instruments are read")
        occurrences.append(await it.raise_alarm("d3"))
        await broker.start()
        await it.quiet()
        await until(lambda: not it.owed(), "everything is delivered", 90)
        assert await it.daemon.stop() == 0
        told = {
            (body["occurrence"], body["event"])
            for body in delivered.bodies.values()
            if body.get("kind") == "alarm_event"
        }
        for occurrence in occurrences:
            assert (occurrence, "raised") in told
        for occurrence in occurrences[:2]:
            assert (occurrence, "acknowledged") in told
        undurable = [b for b in delivered.raw_undurable if b.get("kind") == "alarm_event"]
        delivered.check_numbers({}, "alarms", "samples")
        said = {(one.name, value) for one in it.instruments for _, value in one.said}
        arrived = {
            (body["detector"], body["readings"][0]["value"])
            for body in delivered.bodies.values()
            if body.get("kind") == "sample" and body["readings"]
        }
        reported = sum(body["count"] for body in delivered.lost)
        gone = len(said - arrived)
        figure(
            said=len(said),
            gone=gone,
            reported=reported,
            lost_messages=len(delivered.lost),
            undurable=len(undurable),
            share=round(share, 3),
        )
        assert not arrived - said
        if not long:  # a kill costs one group beside
            assert gone <= reported, f"{gone} samples are gone, {reported} were told as lost"
        assert not undurable, "alarms were told without being stored"
        assert share < oracles.BUSY_SHARE
