"""A cluster's node is killed under load: the gateway goes to the next, and what is lost is said.

Install the Debian packages ``nats-server`` and ``rabbitmq-server``: ``make clusters`` does.
"""

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import paho.mqtt.client as paho
import pytest

HERE = Path(__file__).resolve().parent
BENCH_FOLDER = HERE.parent / "bench"
DETECTORS = 200
"""At one sample a second each."""
LOAD_S = 10.0
ELECTED_S = 45.0
"""Until a cluster has elected anew; NATS 2.9 takes 0 to 11 s, and lets nobody in meanwhile."""
DRAINED_S = 180.0
CONNECTIONS = 12
"""An election that takes longer than the gateway waits for an acknowledgement costs some."""

pytestmark = [pytest.mark.torture, pytest.mark.timeout(400), pytest.mark.xdist_group("clusters")]


def _module(name: str, path: Path) -> ModuleType:
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    made = module_from_spec(spec)
    sys.modules[name] = made
    spec.loader.exec_module(made)
    return made


NODES: Any = _module("cluster_nodes", HERE / "cluster_nodes.py")
BENCH: Any = _module("cluster_bench", HERE.parent / "e2e" / "conftest.py")
until = BENCH.until


class Subscriber(BENCH.Collector):  # type: ignore[name-defined,misc]
    """Hears a gateway's topics alone, with a session of its own."""

    def _connected(self, client: paho.Client, *_: object) -> None:
        client.subscribe("dosegate/#", qos=1)

    def samples_since(self, at: float) -> list[float]:
        """When samples were heard that had arrived at the gateway after that; Unix s."""
        return [
            heard.at
            for heard in tuple(self.heard)
            if heard.body.get("kind") == "sample"
            and BENCH.COMPARISON.unix(heard.body["arrived"]) > at
        ]

    def alarm_delays(self) -> list[float]:
        """From the time of each alarm event to the subscriber, s."""
        events = [one for one in tuple(self.heard) if one.body.get("kind") == "alarm_event"]
        return [one.at - BENCH.COMPARISON.unix(one.body["time"]) for one in events]

    def numbers(self) -> dict[tuple[str, int], list[int]]:
        """What was heard of each lane and epoch, in order of arrival, with repeats."""
        found: dict[tuple[str, int], list[int]] = {}
        for heard in tuple(self.heard):
            if "seq" in heard.body:
                key = heard.body["lane"], heard.body["epoch"]
                found.setdefault(key, []).append(heard.body["seq"])
        return found


@pytest.fixture(params=["Nats", "RabbitMq"])
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Three nodes that are up."""
    program = {"Nats": NODES.NATS, "RabbitMq": NODES.RABBIT and NODES.EPMD}[request.param]
    if program is None:
        pytest.skip("install the Debian packages nats-server and rabbitmq-server: make clusters")
    folder = tmp_path / "cluster"
    folder.mkdir()
    made = getattr(NODES, request.param)(folder)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@asynccontextmanager
async def portals(tmp_path: Path) -> AsyncIterator[tuple[Any, list[int]]]:
    """A process that plays portals on Modbus TCP, and its ports."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, BENCH_FOLDER / "modbus_fleet.py", "--detectors", str(DETECTORS)),
        *("--alarm-every", "2", "--out", tmp_path / "fleet.json"),
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 20,
    )
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 30)
        yield process, json.loads(line)["ports"]
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), 15)


def configuration(folder: Path, urls: list[str], ports: list[int]) -> str:
    """One sink with the cluster's nodes, one portal a port."""
    parts = [
        f'[gateway]\nid = "edge"\nstate_dir = "{folder / "state"}"\n'
        f'control_socket = "{folder / "control.sock"}"\n',
        f'[[sink]]\nid = "site"\nprotocol = "3.1.1"\nbrokers = {json.dumps(urls)}\n',
    ]
    parts += [
        f'[[detector]]\nid = "d{number:04d}"\ndriver = "aspect-rpm-modbus-tcp"\n'
        f'link = {{ kind = "modbus_tcp", host = "127.0.0.1", port = {port}, unit = 1 }}\n'
        for number, port in enumerate(ports, 1)
    ]
    return "\n".join(parts)


def connections(daemon: Any) -> list[tuple[float, str]]:
    """When the gateway reached which broker."""
    return [
        (BENCH.COMPARISON.unix(line["timestamp"]), line["broker"])
        for line in daemon.run.log()
        if line["event"] == "broker_connected"
    ]


async def test_a_node_is_killed_under_load(
    cluster: Any, tmp_path: Path, record_property: Any
) -> None:
    subscriber = Subscriber(cluster.ports[2])
    daemon = BENCH.Daemon(tmp_path / "gateway.toml")
    async with portals(tmp_path) as (fleet, ports):
        text = configuration(tmp_path, cluster.urls, ports)
        (tmp_path / "gateway.toml").write_text(text, encoding="utf-8")
        await subscriber.start()
        try:
            await daemon.start()
            await until(lambda: len(subscriber.samples_since(0)) > 5 * DETECTORS, "the load", 60)
            fleet.send_signal(signal.SIGUSR1)
            assert len(connections(daemon)) == 1
            await wait(LOAD_S)

            killed = time.time()
            await asyncio.to_thread(cluster.kill, 0)
            await until(lambda: len(connections(daemon)) > 1, "the next node", ELECTED_S)
            at, where = connections(daemon)[1]
            assert where in [f"127.0.0.1:{port}" for port in cluster.ports[1:]]
            (first, *_) = await until(
                lambda: subscriber.samples_since(killed), "the first sample afterwards", ELECTED_S
            )
            await wait(LOAD_S)
            left = owed(daemon)
            await asyncio.to_thread(cluster.revive, 0)
            await until(lambda: owed(daemon) < DETECTORS // 2, "nothing is owed", DRAINED_S)
            assert len(connections(daemon)) < CONNECTIONS
            assert await daemon.stop() == 0
            await until(lambda: subscriber.newest("/status").get("state") == "stopping", "the end")
        finally:
            daemon.kill()
            subscriber.stop()

    figures: dict[str, Any] = {
        "next node s": round(at - killed, 2),
        "first sample s": round(first - killed, 2),
        "owed with two nodes": left,
        "slowest alarm s": round(max(subscriber.alarm_delays()), 2),
    }
    for (lane, _), numbers in subscriber.numbers().items():
        missing = set(range(1, max(numbers) + 1)) - set(numbers)
        figures[lane] = {
            "heard": len(set(numbers)),
            "twice": len(numbers) - len(set(numbers)),
            "missing": len(missing),
        }
    print(type(cluster).__name__, figures)
    record_property("figures", json.dumps(figures))
    assert figures["alarms"]["heard"] > LOAD_S / 2
    assert figures["alarms"]["missing"] == 0
    assert figures["samples"]["missing"] == 0


async def wait(seconds: float) -> None:
    """The load goes on for so long."""
    end = time.monotonic() + seconds
    await until(lambda: time.monotonic() > end, "the end of the wait", seconds + 5)


def owed(daemon: Any) -> int:
    """What the broker has not acknowledged."""
    sinks = daemon.board().get("sinks")
    return int(sinks["site"]["owed"]) if sinks else sys.maxsize
