"""A consumer whose queue overflowed at the broker: it knows exactly what it lacks, and gets it."""

import asyncio
import json
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from gateway.consumer.consumer import Consumer
from gateway.consumer.values import Kind

DOSEGATE = Path(sys.executable).with_name("dosegate")
QUEUED = 5
MISSED = 40
RATE = {"channel": "dose_rate", "unit": "µSv/h", "quantity": "ambient_dose_equivalent_rate"}
CONFIG = """
[gateway]
id = "north"
state_dir = "{place}/state"
control_socket = "{place}/control.sock"

[[sink]]
id = "site"
brokers = ["{url}"]
commands = true

[[user]]
id = "anna"
roles = ["operator"]

[[detector]]
id = "hh-1"
driver = "json-lines"
class = "Gamma Handheld"
link = {{ kind = "tcp", host = "127.0.0.1", port = {port} }}
"""

pytestmark = pytest.mark.mosquitto


class Bridge:
    """An instrument that says ``value`` ten times a second."""

    def __init__(self) -> None:
        self.value = 0.1
        self.said = 0
        self.port = 0
        self._ends: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> "Bridge":
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for end in self._ends:
            end.transport.abort()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._ends.append(writer)
        while not writer.is_closing():
            line = json.dumps({"readings": [{**RATE, "value": self.value, "window_s": 0.1}]})
            writer.write(line.encode() + b"\n")
            self.said += 1
            await asyncio.sleep(0.1)


class Listener:
    """A client with a persistent session; what it hears goes to a consumer, and nothing else."""

    def __init__(self, port: int) -> None:
        self.consumer = Consumer()
        self.came: set[tuple[str, int, int]] = set()
        self.twice = 0
        self._heard: deque[tuple[str, bytes, bool]] = deque()
        self._port = port
        self._client: paho.Client | None = None

    def connect(self) -> None:
        """Begins to listen, or goes on."""
        client = self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id="offline", clean_session=False
        )
        client.on_connect = lambda client, *_: client.subscribe("dosegate/#", qos=1)
        client.on_message = self._take
        client.connect("127.0.0.1", self._port)
        client.loop_start()

    def disconnect(self) -> None:
        """Goes away; the broker keeps the session, and a little of what comes."""
        if self._client is not None:
            self._client.disconnect()
            self._client.loop_stop()
            self._client = None

    def look(self, *, ask: bool = False) -> list[Any]:
        """Feeds what has come; asks for what is missing."""
        findings = []
        while self._heard:
            topic, payload, retained = self._heard.popleft()
            found = self.consumer.feed(topic, payload, retained, time.monotonic())
            findings += found
            body = json.loads(payload) if payload else {}
            if "seq" in body:
                self.came.add((body["lane"], body["epoch"], body["seq"]))
                self.twice += any(each.kind is Kind.DUPLICATE for each in found)
        findings += self.consumer.tick(time.monotonic())
        if ask:
            self._ask()
        return findings

    def _ask(self) -> None:
        assert self._client is not None
        for wanted in self.consumer.requests(time.monotonic()):
            gateway = self.consumer.gateways[wanted.gateway]
            numbers = {"first": wanted.first, "last": wanted.last}
            order = {
                "id": f"{wanted.lane}-{wanted.first}-{gateway.beat}",
                "epoch": gateway.epoch,
                "heartbeat": gateway.beat,
                "arguments": {"lane": wanted.lane, "epoch": wanted.epoch, **numbers},
            }
            topic = f"dosegate/v1/{wanted.gateway}/command/anna/resend"
            self._client.publish(topic, json.dumps(order), qos=1)

    def missing(self) -> set[tuple[str, int, int]]:
        """What the consumer says it lacks."""
        gateway = self.consumer.gateways["north"]
        return {
            (lane, epoch, seq)
            for lane, epoch, (first, last) in gateway.gaps()
            for seq in range(first, last + 1)
        }

    def _take(self, client: paho.Client, userdata: object, message: paho.MQTTMessage) -> None:
        self._heard.append((message.topic, bytes(message.payload), message.retain))


@contextmanager
def gateway(place: Path, url: str, port: int) -> Iterator[None]:
    """``dosegate run`` on one instrument."""
    config = place / "gateway.toml"
    config.write_text(CONFIG.format(place=place, url=url, port=port), encoding="utf-8")
    with (place / "gateway.log").open("wb") as log:
        command = [DOSEGATE, "run", "-c", config]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


async def test_an_overflown_queue_is_a_gap_that_heals(
    tmp_path: Path, broker: Any, until: Any
) -> None:
    broker.start(f"max_queued_messages {QUEUED}")
    listener = Listener(broker.port)
    listener.connect()

    def state() -> str:
        listener.look()
        known = listener.consumer.gateways.get("north")
        return known.state(time.monotonic()) if known else ""

    try:
        async with Bridge() as bridge:
            with gateway(tmp_path, broker.url, bridge.port):
                await until(lambda: state() == "online", "a heartbeat")
                assert listener.missing() == set()
                listener.disconnect()
                said = bridge.said
                bridge.value = 5.0
                await until(lambda: bridge.said > said + MISSED, "samples that nobody takes")
                listener.connect()
                joined = min(seq for lane, _, seq in listener.came if lane == "samples")
                before = len(listener.came)

                def is_known() -> bool:
                    listener.look()
                    return len(listener.came) > before + 2 * QUEUED and bool(listener.missing())

                await until(is_known, "the gap is seen")
                lane, epoch, newest = max(each for each in listener.came if each[0] == "samples")
                exact = {(lane, epoch, seq) for seq in range(joined, newest)} - listener.came
                assert {each for each in listener.missing() if each[0] == lane} == exact
                assert len(exact) > MISSED // 2, "the broker dropped the newest"

                def is_healed() -> bool:
                    listener.look(ask=True)
                    return not listener.missing()

                await until(is_healed, "the gap is closed", 60)
                assert {seq for name, _, seq in listener.came if name == lane} >= set(
                    range(joined, newest)
                )
                alarms = sorted(seq for name, _, seq in listener.came if name == "alarms")
                assert alarms == list(range(1, len(alarms) + 1))
                assert listener.twice < len(exact), "few came twice"
    finally:
        listener.disconnect()
