"""DT-53: alarms that came and went while the broker was away, and one that is still there."""

import time
from datetime import datetime
from typing import Any

import pytest

GONE = tuple(f"prd-{number}" for number in range(1, 13))
THERE = "prd-13"
LONG = pytest.param(60.0, marks=pytest.mark.torture)

pytestmark = pytest.mark.mosquitto


async def come_and_go(it: Any, until: Any) -> None:
    """Thirteen alarms are raised, and twelve of them return, with nobody to tell it to."""
    for detector in (*GONE, THERE):
        await it.happen("reading", detector=detector, dose_rate="5 µSv/h")
    await until(lambda: len(it.daemon.alarms(active=True, alarm="dose_rate")) == 13, "13 raised")
    for detector in GONE:
        await it.happen("release", detector=detector)
    await until(lambda: len(it.daemon.alarms(active=True, alarm="dose_rate")) == 1, "12 returned")


@pytest.mark.parametrize("outage_s", [6.0, LONG])
async def test_alarms_of_an_outage_arrive_once_in_order_and_as_what_they_are(
    staged: Any, until: Any, outage_s: float
) -> None:
    async with staged("thirteen.toml") as it:
        run = await it.daemon.start()
        await until(lambda: len(it.collector.bodies("sample")) > 50, "samples flow")
        it.broker.stop()
        began = time.time()
        await come_and_go(it, until)
        over = time.monotonic() + outage_s - (time.time() - began)
        await until(lambda: time.monotonic() >= over, "the outage's end", outage_s + 5)
        back = time.time()
        it.broker.start()
        await until(
            lambda: len(it.collector.events("returned", alarm="dose_rate")) == 12, "12 told"
        )
        await it.drained(60)

        for detector in (*GONE, THERE):
            told = it.collector.bodies("alarm_event", detector=detector, alarm="dose_rate")
            names = ["raised", "returned"] if detector in GONE else ["raised"]
            assert [body["event"] for body in told if body["event"] != "incident"] == names
            for body in told:
                assert body["replayed"] is True
                assert began - 1 < datetime.fromisoformat(body["time"]).timestamp() < back
            newest = it.collector.newest(f"/alarm/active/{told[0]['occurrence']}")
            assert newest["active"] is (detector == THERE)
            assert not newest["acknowledged"]
        lane = [
            heard.body["seq"]
            for heard in tuple(it.collector.heard)
            if heard.body.get("lane") == "exercise-alarms" and heard.body["epoch"] == run.epoch
        ]
        assert lane == list(range(1, len(lane) + 1))  # each once, and in order
        assert await it.daemon.stop() == 0
