"""The broker goes away under load, and in the worst case the daemon with it."""

import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

LONG = pytest.param(20.0, marks=pytest.mark.torture)
GROUP_S = 0.02
"""One commit group of samples: what a SIGKILL may cost."""
WRITTEN_S = 0.1
"""For reading, storing and the kill itself on a busy machine."""

PORTALS = tuple(f"rpm-{k}" for k in range(1, 11))

pytestmark = pytest.mark.mosquitto


def descents(numbers: Sequence[int]) -> int:
    """The length of the longest falling subsequence: so many rising ones are interleaved."""
    ends: list[int] = []
    for number in numbers:
        k = bisect_left(ends, -number)
        ends[k : k + 1] = [-number]
    return len(ends)


def check_numbers(it: Any, epoch: int, last: Mapping[str, int] | None = None) -> None:
    """No number of an epoch is missing, alarms came in order, each detector's samples nearly so.

    What was owed since before an outage comes beside what happens now, each in order.
    """
    by_lane: dict[str, list[int]] = {}
    by_detector: dict[str, list[int]] = {}
    for kind in ("sample", "passage", "watch", "alarm_event", "assessment", "answer"):
        for body in it.collector.bodies(kind, epoch=epoch):
            by_lane.setdefault(body["lane"], []).append(body["seq"])
    for detector in it.detectors:
        samples = it.collector.bodies("sample", epoch=epoch, detector=detector)
        by_detector[detector] = [body["seq"] for body in samples]
    for lane, numbers in by_lane.items():
        assert set(numbers) == set(range(1, max(numbers) + 1)), lane
        assert last is None or max(numbers) == last[lane]
    alarms = by_lane.get("exercise-alarms", [])
    assert alarms == sorted(alarms)
    for detector, numbers in by_detector.items():
        assert descents(numbers) <= 2, detector


async def stay_away(it: Any, until: Any, outage_s: float) -> None:
    """The broker is down for so long, and the portals go on talking."""
    began, said = time.monotonic(), it.said("rpm-1", "gamma_counts.1")
    await until(lambda: time.monotonic() - began >= outage_s, "the outage's end", outage_s + 5)
    assert it.said("rpm-1", "gamma_counts.1") > said


@pytest.mark.parametrize("outage_s", [4.0, LONG])
async def test_broker_away_under_load(staged: Any, until: Any, outage_s: float) -> None:
    async with staged("fleet.toml") as it:
        run = await it.daemon.start()
        await until(lambda: len(it.collector.bodies("sample")) > 150, "samples flow")
        it.broker.stop()
        await it.happen("reading", detector="hh-1", dose_rate="5 µSv/h")
        await until(lambda: it.daemon.alarms(detector="hh-1", active=True), "an alarm on the board")
        await stay_away(it, until, outage_s)
        assert not it.collector.events("raised", detector="hh-1")
        it.broker.start()
        await until(lambda: it.collector.events("raised", detector="hh-1"), "the alarm arrives")
        await it.drained()
        assert await it.daemon.stop() == 0
        await until(lambda: it.collector.newest("/status").get("state") == "stopping", "the end")
        check_numbers(it, run.epoch)
        compared = it.compare()
        assert min(compared.equal.values()) > 8, compared.equal


@pytest.mark.parametrize("outage_s", [4.0, LONG])
async def test_killed_while_the_broker_is_away(staged: Any, until: Any, outage_s: float) -> None:
    async with staged("fleet.toml") as it:
        await it.daemon.start()
        await it.happen("reading", detector="hh-1", dose_rate="5 µSv/h")
        await until(lambda: it.collector.events("raised", detector="hh-1"), "the first alarm")
        it.broker.stop()
        await it.happen("reading", detector="hh-2", dose_rate="30 µSv/h")
        await it.happen("reading", detector="hh-3", dose_rate="0.8 µSv/h")
        await until(lambda: len(it.daemon.alarms(active=True)) >= 3, "three alarms on the board")
        code, _ = await it.daemon.verb("ack", it.daemon.alarms(detector="hh-2")[0]["occurrence"])
        assert code == 0
        await stay_away(it, until, outage_s)
        before, said = it.daemon.alarms(), it.said("rpm-1", "gamma_counts.1")
        await until(lambda: it.said("rpm-1", "gamma_counts.1") > said, "samples are under way")
        it.daemon.kill()

        first, second = it.daemon.runs[0], await it.daemon.start()
        assert second.epoch == first.epoch + 1
        kept = {alarm["occurrence"]: alarm for alarm in it.daemon.alarms()}
        for alarm in before:
            again = kept[alarm["occurrence"]]
            assert again["revision"] >= alarm["revision"]
            assert again["acknowledged"] == alarm["acknowledged"]
            assert again["level"] == alarm["level"]
        it.broker.start()
        await it.drained()
        for alarm in before:
            wanted = set(range(1, alarm["revision"] + 1))
            await until(
                lambda alarm=alarm, wanted=wanted: (
                    wanted
                    <= {
                        event["revision"]
                        for event in it.collector.bodies(
                            "alarm_event", occurrence=alarm["occurrence"]
                        )
                    }
                ),
                "every event of the alarm arrives",
            )
        await it.happen("release", detector="hh-3")
        await until(
            lambda: it.collector.events("returned", detector="hh-3", epoch=second.epoch),
            "the alarm returns after the restart, under its own id",
        )
        (returned,) = it.collector.events("returned", detector="hh-3", epoch=second.epoch)
        (raised,) = it.collector.events("raised", detector="hh-3")
        assert returned["occurrence"] == raised["occurrence"]
        assert it.collector.events("acknowledged", detector="hh-2")
        assert await it.daemon.stop() == 0
        await until(lambda: it.collector.newest("/status").get("state") == "stopping", "the end")
        compared = it.compare()
        assert compared.tail_s(first.epoch, *PORTALS) < GROUP_S + WRITTEN_S
        last = it.collector.bodies("status", epoch=second.epoch)[0]["previous"]
        check_numbers(it, first.epoch, last)
        check_numbers(it, second.epoch)
