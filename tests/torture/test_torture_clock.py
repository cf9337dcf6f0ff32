"""The wall clock steps: nothing expires, reorders or stops."""

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.journal.journal import Journal
from gateway.journal.spans import Span
from gateway.values import Lane

FOLDER = str(Path(__file__).resolve().parent / "wall_clock")
ASKED = ("hh-1", "hh-2")
"""Of the scenario; both are asked over serial lines."""
YEAR_S = 365 * 86400
RATE = 10.0
LATE_S = 3.0
"""From the instrument to the consumer; some 20 ms on an idle machine."""

pytestmark = pytest.mark.mosquitto


class WallClock:
    """What the daemon's wall clock shows beside the true time; its monotonic one is untouched."""

    def __init__(self, place: Path) -> None:
        self._file = place / "clock"
        self.environment = {
            "PYTHONPATH": os.pathsep.join(filter(None, (FOLDER, os.environ.get("PYTHONPATH")))),
            "TORTURE_CLOCK": str(self._file),
        }
        self.step_to(0.0)

    def step_to(self, offset_s: float) -> None:
        """So much ahead of the true time from now on."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{offset_s:+.0f}\n")
        new.replace(self._file)


@pytest.fixture
def wall_clock(tmp_path: Path) -> WallClock:
    """A clock that can be stepped."""
    return WallClock(tmp_path)


def lags(it: Any, collector: Any) -> list[float]:
    """How long each value needed from its instrument to the collector, s."""
    to_mono = time.monotonic() - time.time()
    arrived = {
        (each.body["detector"], each.body["readings"][0]["value"]): each.at + to_mono
        for each in tuple(collector.heard)
        if each.body.get("kind") == "sample" and each.body["readings"]
    }
    return [
        arrived[one.name, value] - at
        for one in it.instruments
        for at, value in one.said
        if (one.name, value) in arrived
    ]


@pytest.mark.parametrize(
    "stay_s", [pytest.param(0.6, id="short"), pytest.param(20.0, marks=pytest.mark.torture)]
)
async def test_the_wall_clock_steps(
    plants: Any,
    plant: Any,
    mosquitto: Any,
    wall_clock: WallClock,
    oracles: Any,
    until: Any,
    figure: Any,
    stay_s: float,
) -> None:
    mosquitto.start("set_tcp_nodelay true")
    collector = plant.Collector(mosquitto.port)
    await collector.start()
    since_1970 = -time.time() + 86400.0
    steps = {"1970": since_1970, "true": 0.0, "+1h": 3600.0, "-2h": -7200.0, "+10y": 10 * YEAR_S}
    wall_clock.step_to(since_1970)
    try:
        async with plants(
            mosquitto.url, instruments=6, rate=RATE, environment=wall_clock.environment
        ) as it:
            usage = oracles.Usage(it.pid())
            first = await it.raise_alarm("d6")
            for name, (step, offset_s) in zip(
                ("d1", "d2", "d3", "d4", "d5"), steps.items(), strict=True
            ):
                wall_clock.step_to(offset_s)
                await asyncio.sleep(stay_s)
                occurrence = await it.raise_alarm(name)
                await until(
                    lambda o=occurrence: collector.events("raised", occurrence=o), f"raised, {step}"
                )
                answer = await it.order("acknowledge", occurrence=occurrence)
                assert answer["ok"], f"{step}: {answer}"
                (body,) = collector.events("raised", occurrence=occurrence)
                shows = plant.E2E.COMPARISON.unix(body["time"])
                assert abs(shows - time.time() - offset_s) < 30, f"{step}: dated {body['time']}"
            share = usage.share()
            alarms = {one["occurrence"]: one for one in it.daemon.alarms()}
            assert alarms[first]["active"], "a step cleared an alarm"
            assert not alarms[first]["acknowledged"]
            assert not [one for one in alarms.values() if one.get("stale")]
            for one in it.daemon.board()["detectors"]:
                assert one["state"] in ("ok", "learning", "degraded"), one
            await it.quiet()
            await until(lambda: it.owed() < 3, "everything is delivered")
            late = lags(it, collector)
            assert await it.daemon.stop() == 0
            await until(lambda: collector.newest("/status").get("state") == "stopping", "the end")
            values = plant.check_values(it, collector)
            delivered = oracles.Delivered()
            for each in collector.heard:
                delivered.take_body(each.body)
            records = delivered.check_numbers({}, "alarms", "samples")
            assert not delivered.lost
            # Nothing was deleted: a next start still has it all.
            kept = await kept_numbers(it, oracles)
            figure(
                values=values,
                records=records,
                kept=kept,
                p50_ms=round(1000 * oracles.percentile(late, 0.5)),
                worst_ms=round(1000 * max(late)),
                share=round(share, 3),
            )
            assert kept >= records
            assert max(late) < LATE_S
            assert share < oracles.BUSY_SHARE
    finally:
        collector.stop()


async def kept_numbers(it: Any, oracles: Any) -> int:
    """How many records the journal's file holds."""
    journal = await Journal.open(it.state, ["site"])
    try:
        total = 0
        for lane in (Lane.ALARMS, Lane.SAMPLES):
            last = journal.previous[lane]
            total += len(await journal.read(lane, Span(journal.epoch - 1, 1, last), 1_000_000))
        return total
    finally:
        await journal.close()


@pytest.mark.torture
async def test_polls_keep_their_pace(
    staged: Any,
    wall_clock: WallClock,
    monkeypatch: pytest.MonkeyPatch,
    until: Any,
    figure: Any,
) -> None:
    """Instruments that are asked are asked as often as before."""
    for name, value in wall_clock.environment.items():
        monkeypatch.setenv(name, value)
    async with staged("five.toml") as it:
        await it.daemon.start()
        paces = []
        for offset_s in (0.0, 3600.0, -7200.0, 10 * YEAR_S):
            wall_clock.step_to(offset_s)
            begin = {name: len(it.collector.values(name)) for name in ASKED}
            await asyncio.sleep(20)
            paces.append({n: len(it.collector.values(n)) - begin[n] for n in ASKED})
        monkeypatch.undo()
        figure(paces=paces)
        for pace in paces[1:]:
            for name in ASKED:
                assert abs(pace[name] - paces[0][name]) <= 0.15 * paces[0][name] + 2
