"""A long outage is over: alarms go first while the backlog drains."""

import asyncio
import re
import time
from collections import defaultdict
from pathlib import Path
from random import Random
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

LOOSE_S = 2.0
"""Far above the budget of 50 ms, which is measured and printed: test machines are busy."""
LEVELS = (0.7, 2.0, 30.0, 200.0, 2_000.0, 20_000.0)
"""µSv/h: each of them escalates."""
SAMPLE = re.compile(rb'"epoch":(\d+),"seq":(\d+)')
DETECTOR = re.compile(rb'"detector":"(\w+)"')

pytestmark = pytest.mark.mosquitto


class Listener:
    """Keeps what is needed and no more: a million samples pass."""

    def __init__(self, port: int) -> None:
        self.alarms: dict[str, list[float]] = defaultdict(list)
        self.alarm_seq: list[tuple[int, int]] = []
        self.backlog: dict[int, set[int]] = defaultdict(set)
        self.disorder = 0
        self.samples = 0
        self._newest: dict[tuple[str, bool], tuple[int, int]] = {}
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="listener")
        self._client.on_message = self._take
        self._client.connect("127.0.0.1", port)
        self._client.subscribe("#", qos=0)
        self._client.loop_start()

    def stop(self) -> None:
        """Ends its thread."""
        self._client.disconnect()
        self._client.loop_stop()

    def _take(self, client: paho.Client, userdata: object, message: paho.MQTTMessage) -> None:
        at, payload = time.monotonic(), message.payload
        numbers = SAMPLE.search(payload)
        if message.topic.endswith("/alarm/event"):
            detector = DETECTOR.search(payload)
            if detector is not None and numbers is not None:
                self.alarms[detector[1].decode()].append(at)
                self.alarm_seq.append((int(numbers[1]), int(numbers[2])))
        elif message.topic.endswith("/sample") and numbers is not None:
            epoch, seq = int(numbers[1]), int(numbers[2])
            is_replayed = b'"replayed":true' in payload[:200]
            key = (message.topic, is_replayed)
            if self._newest.get(key, (0, 0)) > (epoch, seq):
                self.disorder += 1
            self._newest[key] = (epoch, seq)
            self.backlog[epoch].add(seq)
            self.samples += 1


@pytest.mark.parametrize(
    ("backlog", "alarms", "apart_s"),
    [
        pytest.param(10_000, 12, 0.15, id="short"),
        pytest.param(1_000_000, 300, 0.25, marks=pytest.mark.torture),
    ],
)
async def test_alarms_while_a_backlog_drains(
    plants: Any,
    plant: Any,
    mosquitto: Any,
    lives: Any,
    driver: Any,
    oracles: Any,
    until: Any,
    figure: Any,
    tmp_path: Path,
    backlog: int,
    alarms: int,
    apart_s: float,
) -> None:
    samples = 1000
    life = driver.Life(
        *(str(tmp_path / "state"), str(tmp_path / "told")),
        steps=backlog // samples,
        samples=samples,
        every_s=0.0,
        pad=150,
    )
    began = time.monotonic()
    await lives.begin(life)
    assert await lives.ended(300) == 0
    filled_s = time.monotonic() - began
    mosquitto.start("max_queued_messages 0", "set_tcp_nodelay true")
    listener = Listener(mosquitto.port)
    instruments = max(4, alarms // len(LEVELS) + 1)
    random = Random(1)
    try:
        async with plants(mosquitto.url, instruments=instruments, rate=2.0) as it:
            rss_mb = oracles.Usage(it.pid()).rss_mb()
            await until(lambda: listener.samples > 500, "the backlog drains", 60)
            late, drained_at, drained = [], time.monotonic(), listener.samples
            for k in range(alarms):
                one = it.instruments[k % instruments]
                known, at = len(listener.alarms[one.name]), time.monotonic()
                one.say(LEVELS[k // instruments])
                await until(lambda n=one.name, k=known: len(listener.alarms[n]) > k, "an alarm", 30)
                late.append(listener.alarms[one.name][known] - at)
                await asyncio.sleep(apart_s * random.uniform(0.5, 1.5))
            per_s = (listener.samples - drained) / (time.monotonic() - drained_at)
            owed = it.owed()
            grown_mb = oracles.Usage(it.pid()).rss_mb() - rss_mb
            if backlog <= 10_000:
                await until(
                    lambda: len(listener.backlog[1]) >= backlog, "all of it is delivered", 60
                )
                assert listener.backlog[1] == set(range(1, backlog + 1))
            else:
                assert owed > 10_000, "the backlog was over before the alarms were"
    finally:
        listener.stop()
    figure(
        backlog=backlog,
        filled_s=round(filled_s),
        alarms=len(late),
        p50_ms=round(1000 * oracles.percentile(late, 0.5), 1),
        p99_ms=round(1000 * oracles.percentile(late, 0.99), 1),
        worst_ms=round(1000 * max(late), 1),
        per_s=round(per_s),
        still_owed=owed,
        rss_mb=round(rss_mb),
        grown_mb=round(grown_mb),
        disorder=listener.disorder,
    )
    assert not listener.disorder
    assert listener.alarm_seq == sorted(listener.alarm_seq)
    assert oracles.percentile(late, 0.99) < LOOSE_S
