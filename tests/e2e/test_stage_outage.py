"""The broker that a stage brings goes away, is back, stalls and is cut; the daemon lives with it.

The stage plays in the test, the daemon is a process, the subscriber a client with a session.
"""

import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from config.scenario import load_scenario
from config.write import to_toml
from gateway.verbs.stage import PLAYED, on_stage
from simulators.stage_broker import StageBroker
from simulators.truth import TruthFile

_SPEC = spec_from_file_location("outage_bench", Path(__file__).with_name("conftest.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
bench: Any = module_from_spec(_SPEC)
sys.modules[_SPEC.name] = bench
_SPEC.loader.exec_module(bench)

HIGH = "5 µSv/h"
"""Above level R3."""
DETECTORS = ("one", "two", "three", "four")
TEXT = """
[scenario]
name = "outage"
duration_s = 600
""" + "".join(
    f"""
[[detector]]
id = "{name}"
archetype = "PRD"
at = {{ x = {1000 * number}, y = 0 }}
link = "tcp"
settings = {{ period_s = 1 }}
"""
    for number, name in enumerate(DETECTORS)
)


@pytest.fixture
def opened(tmp_path: Path) -> Callable[[], Any]:
    @asynccontextmanager
    async def enter() -> AsyncIterator[Any]:
        path, config, said = (tmp_path / name for name in ("o.toml", "gateway.toml", "sent.jsonl"))
        path.write_text(TEXT, encoding="utf-8")
        daemon = bench.Daemon(config)
        async with StageBroker() as broker:
            collector = bench.Collector(broker.port)
            with TruthFile(said) as truth:
                stage_of = on_stage(load_scenario(path), tmp_path, (), truth.note, broker=broker)
                async with stage_of as stage:
                    config.write_text(to_toml(stage.configuration), encoding="utf-8")
                    try:
                        await collector.start()
                        await daemon.start()
                        yield bench.Bench(broker, collector, daemon, said, DETECTORS, stage.live)
                    finally:
                        daemon.kill()
                        collector.stop()

    return enter


class Outage:
    """What the test asks of daemon and subscriber."""

    def __init__(self, it: Any, until: Any) -> None:
        self._it, self._until = it, until

    def raised(self) -> list[str]:
        """Whose dose-rate alarms have arrived, in the order in which they did."""
        found = self._it.collector.events("raised", alarm="dose_rate")
        return [event["detector"] for event in found]

    async def raise_unheard(self, detector: str) -> None:
        """An alarm at the laptop, while the subscriber hears nothing of it, nor later."""
        before = self.raised()
        await self._it.happen("reading", detector=detector, dose_rate=HIGH)
        await self._until(
            lambda: self._it.daemon.alarms(detector=detector, alarm="dose_rate", active=True),
            f"{detector} on the board",
        )
        said = self._it.said(detector, "dose_rate")
        await self._until(lambda: self._it.said(detector, "dose_rate") > said + 1, "two more lines")
        assert self.raised() == before

    async def arrives(self, *detectors: str) -> None:
        """These have arrived, one after the other, and the daemon owes nothing."""
        await self._until(lambda: len(self.raised()) >= len(detectors), f"{detectors[-1]} arrives")
        assert self.raised() == list(detectors)
        await self._it.drained()


async def test_an_alarm_of_the_outage_arrives_when_the_broker_is_back(
    opened: Any, until: Any, tmp_path: Path
) -> None:
    async with opened() as it:
        heard, see = it.collector, Outage(it, until)
        await until(lambda: heard.bodies("sample", detector="four"), "samples arrive")

        await it.happen("broker_stop")
        await see.raise_unheard("one")
        await see.raise_unheard("two")
        await it.happen("broker_start")
        await see.arrives("one", "two")

        await it.happen("broker_stall")
        await see.raise_unheard("three")
        await it.happen("broker_start")
        await see.arrives("one", "two", "three")

        await it.happen("broker_cut")
        await it.happen("reading", detector="four", dose_rate=HIGH)
        await see.arrives(*DETECTORS)

        assert await it.daemon.stop() == 0
        await until(lambda: heard.newest("/status").get("state") == "stopping", "the last words")
        check_numbers(heard)
        assert set(it.compare().equal) == set(DETECTORS)
    played = [json.loads(line) for line in (tmp_path / PLAYED).read_text("utf-8").splitlines()]
    assert [each["do"] for each in played if each["do"].startswith("broker")] == [
        *("broker_stop", "broker_start", "broker_stall", "broker_start", "broker_cut")
    ]


def check_numbers(heard: Any) -> None:
    """No number is missing in any lane, and alarms came in order."""
    by_lane: dict[str, list[int]] = {}
    for kind in ("sample", "watch", "alarm_event"):
        for body in heard.bodies(kind):
            by_lane.setdefault(body["lane"], []).append(body["seq"])
    assert by_lane
    for lane, numbers in by_lane.items():
        assert sorted(numbers) == [*range(1, max(numbers) + 1)], lane
    alarms = [body["seq"] for body in heard.bodies("alarm_event")]
    assert alarms == sorted(alarms)
