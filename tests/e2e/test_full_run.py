"""Everything together: simulators on ptys, TCP and Modbus, the daemon, mosquitto, a subscriber."""

import getpass
import json
import time
from typing import Any

import pytest

pytestmark = pytest.mark.mosquitto

HIGH = "5 µSv/h"
"""Above level R3."""
PULLED = ("hh-1", "portal-b")
"""One on a pty, one on Modbus TCP."""
HEARD = ("ok", "learning")
"""States of a detector whose readings arrive; a portal learns its background for a while."""


async def test_every_value_that_was_sent_and_read_arrives(played: Any, until: Any) -> None:
    async with played("five.toml") as it:
        heard = it.collector
        await it.daemon.start()
        await until(lambda: heard.events("raised", detector="hh-1"), "an alarm of the handheld")
        await until(lambda: len(heard.bodies("passage", detector="portal-a")) > 1, "passages")
        await until(lambda: len(heard.bodies("sample", detector="van-1")) > 2, "the van's samples")
        began = time.monotonic()
        assert await it.daemon.stop() == 0
        assert time.monotonic() - began < 10
        await until(lambda: heard.newest("/status").get("state") == "stopping", "the last words")

        compared = it.compare()
        assert set(compared.equal) == set(it.detectors)
        assert min(compared.equal.values()) > 5, compared.equal
        assert not it.daemon.board()


async def test_the_broker_comes_later(staged: Any, until: Any) -> None:
    async with staged("five.toml", with_broker=False) as it:
        await it.daemon.start()
        await it.happen("reading", detector="hh-1", dose_rate=HIGH)
        await until(lambda: it.daemon.alarms(detector="hh-1", active=True), "an alarm on the board")
        await until(lambda: it.said("hh-2", "gamma_count_rate.cpm") > 4, "samples with no broker")
        it.broker.start()
        await it.collector.start()
        await until(lambda: it.collector.events("raised", detector="hh-1"), "the alarm arrives")
        await until(lambda: it.collector.bodies("watch", seq=1), "the first message arrives")
        await it.drained()
        assert await it.daemon.stop() == 0
        await until(lambda: it.collector.newest("/status").get("state") == "stopping", "the end")
        assert min(it.compare().equal.values()) > 1


async def test_unplugged_and_plugged_in_again(staged: Any, until: Any) -> None:
    async with staged("five.toml") as it:
        heard = it.collector
        await it.daemon.start()
        await it.happen("reading", detector="hh-1", dose_rate=HIGH)
        await until(lambda: heard.events("raised", detector="hh-1"), "an alarm")
        occurrence = heard.events("raised", detector="hh-1")[0]["occurrence"]

        def state(detector: str) -> dict[str, Any]:
            return dict(heard.newest(f"detector/{detector}/state"))

        for detector in PULLED:
            await until(lambda one=detector: state(one).get("state") in HEARD, f"{detector} talks")
        for detector in PULLED:
            await it.happen("unplug", detector=detector)
        for detector in PULLED:
            await until(lambda one=detector: state(one)["state"] == "stale", f"{detector} is stale")
            assert state(detector)["reasons"]
            assert it.daemon.state(detector)["state"] == "stale"
        await it.happen("release", detector="hh-1")
        await until(lambda: it.daemon.alarms(occurrence=occurrence, stale=True), "stale, not gone")
        assert heard.newest(f"alarm/active/{occurrence}")["active"]
        for event in ("returned", "closed"):
            assert not heard.events(event, occurrence=occurrence)

        for detector in PULLED:
            await it.happen("replug", detector=detector)
        for detector in PULLED:
            await until(lambda one=detector: state(one)["state"] in HEARD, f"{detector} is back")
        await until(
            lambda: heard.events("returned", occurrence=occurrence), "it returns by reading"
        )
        assert await it.daemon.stop() == 0
        it.compare()


async def test_an_operator_at_the_laptop(staged: Any, until: Any) -> None:
    async with staged("five.toml") as it:
        await it.daemon.start()
        await it.happen("reading", detector="hh-1", dose_rate=HIGH)
        await until(lambda: it.daemon.alarms(detector="hh-1", active=True), "an alarm on the board")

        code, shown = await it.daemon.verb("board", "--json")
        (alarm,) = [one for one in json.loads(shown)["alarms"] if one["detector"] == "hh-1"]
        assert (code, alarm["level"], alarm["acknowledged"]) == (0, "R3", False)
        code, shown = await it.daemon.verb("board", "--once")
        assert code == 0
        assert alarm["occurrence"] in shown
        assert all(detector in shown for detector in it.detectors)

        code, shown = await it.daemon.verb("ack", "0123456789abcdef")
        assert code == 1
        code, shown = await it.daemon.verb("ack", alarm["occurrence"])
        assert (code, shown) == (0, f"{alarm['occurrence']}: acknowledged\n")
        (event,) = await until(
            lambda: it.collector.events("acknowledged", occurrence=alarm["occurrence"]),
            "the acknowledgement arrives",
        )
        assert event["acknowledged_by"] == getpass.getuser()
        active = it.collector.newest(f"alarm/active/{alarm['occurrence']}")
        assert active["acknowledged"]
