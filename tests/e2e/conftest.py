"""Whole runs: simulated instruments, the daemon as a process, a real broker and a subscriber."""

import asyncio
import json
import math
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from pydantic import TypeAdapter

from config.actions import Event
from config.scenario import load_scenario
from config.write import to_toml
from gateway.control import ControlClient, ControlUnavailable
from gateway.verbs.stage import on_stage
from simulators.api import Emission
from simulators.live import LiveStage
from simulators.truth import TruthFile

HERE = Path(__file__).resolve().parent
DOSEGATE = Path(sys.executable).with_name("dosegate")
EVENT: TypeAdapter[Event] = TypeAdapter(Event)
POLL_S = 0.02

T = TypeVar("T")


def _module(name: str, path: Path) -> ModuleType:
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


BROKER = _module("e2e_broker", HERE.parent / "gateway" / "conftest.py")
COMPARISON = _module("e2e_comparison", HERE / "comparison.py")


async def until(condition: Callable[[], T], what: str, timeout_s: float = 20.0) -> T:
    """The first true value of ``condition``."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        await asyncio.sleep(POLL_S)
    return value


class Broker(BROKER.Mosquitto):  # type: ignore[name-defined,misc]
    """A mosquitto that keeps the subscriber's session over a restart."""

    def start(self, *settings: str, acl: str | None = None) -> None:
        """Starts it, with its queues unbounded and on disk."""
        kept = ("persistence true", f"persistence_location {self._directory}/")
        super().start(*kept, "max_queued_messages 0", *settings, acl=acl)

    def stop(self) -> None:
        """An orderly stop: mosquitto writes down what the subscriber is owed."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.wait(10)


@dataclass(frozen=True, slots=True)
class Heard:
    """One message as the subscriber got it, at Unix time ``at``."""

    at: float
    topic: str
    body: Mapping[str, Any]


class Collector:
    """A subscriber with a persistent session, which comes back by itself."""

    def __init__(self, port: int) -> None:
        self.heard: list[Heard] = []
        self._port = port
        self._subscribed = False
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id="collector", clean_session=False
        )
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = self._connected
        self._client.on_subscribe = self._granted
        self._client.on_message = self._take

    async def start(self) -> None:
        """Returns once the broker knows what it wants."""
        self._client.connect_async("127.0.0.1", self._port)
        self._client.loop_start()
        await until(lambda: self._subscribed, "the collector is subscribed")

    def stop(self) -> None:
        """Ends its thread."""
        self._client.disconnect()
        self._client.loop_stop()

    def bodies(self, kind: str, **having: object) -> list[Mapping[str, Any]]:
        """Messages of a kind, each once, in the order in which they arrived first."""
        seen: set[tuple[object, ...]] = set()
        found = []
        for heard in tuple(self.heard):
            body = heard.body
            if body.get("kind") != kind:
                continue
            key = tuple(body.get(name) for name in ("lane", "epoch", "seq", "revision"))
            if key not in seen and all(body.get(name) == it for name, it in having.items()):
                seen.add(key)
                found.append(body)
        return found

    def events(self, name: str, **having: object) -> list[Mapping[str, Any]]:
        """Alarm events of one name."""
        return self.bodies("alarm_event", event=name, **having)

    def newest(self, topic_end: str) -> Mapping[str, Any]:
        """The newest document of a topic; empty where there is none or it was removed."""
        found = [heard.body for heard in tuple(self.heard) if heard.topic.endswith(topic_end)]
        return found[-1] if found else {}

    def values(self, detector: str) -> list[Mapping[str, Any]]:
        """Samples and passages of a detector in the journal's order."""
        found = [
            *self.bodies("sample", detector=detector),
            *self.bodies("passage", detector=detector),
        ]
        return sorted(found, key=lambda body: (body["epoch"], body["seq"]))

    def _connected(self, client: paho.Client, *_: object) -> None:
        client.subscribe("#", qos=1)

    def _granted(self, *_: object) -> None:
        self._subscribed = True

    def _take(self, client: paho.Client, userdata: object, message: paho.MQTTMessage) -> None:
        body = json.loads(message.payload) if message.payload else {}
        self.heard.append(Heard(time.time(), message.topic, body))


@dataclass(slots=True)
class Run:
    """One life of the daemon; times in Unix s."""

    log_file: Path
    process: subprocess.Popen[bytes]
    began: float
    ended: float = math.inf

    def log(self) -> list[Mapping[str, Any]]:
        """What it has logged."""
        lines = self.log_file.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    @property
    def epoch(self) -> int:
        """Its epoch, 0 before it has one."""
        return next((int(line["epoch"]) for line in self.log() if line["event"] == "started"), 0)

    def periods(self, detector: str) -> list[Any]:
        """From when to when it was reading the detector's link."""
        found: list[Any] = []
        for line in self.log():
            at = COMPARISON.unix(line["timestamp"])
            if line.get("detector") != detector or at > self.ended:
                continue
            if line["event"] == "link_up":
                found.append(COMPARISON.Period(self.epoch, at, self.ended))
            elif line["event"] == "link_down" and found:
                found[-1] = COMPARISON.Period(self.epoch, found[-1].up, at)
        return found

    def rss_mb(self) -> float:
        """Resident memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        (line,) = [each for each in status.splitlines() if each.startswith("VmRSS")]
        return int(line.split()[1]) / 1024


class Daemon:
    """``dosegate run`` on one configuration, as often as it is started."""

    def __init__(self, config: Path) -> None:
        self.runs: list[Run] = []
        self._config = config
        self._socket = config.with_name("control.sock")

    @property
    def run(self) -> Run:
        """The newest."""
        return self.runs[-1]

    async def start(self) -> Run:
        """Returns when it serves its board."""
        log = self._config.with_name(f"gateway-{len(self.runs) + 1}.log")
        run = Run(log, self._begin(log), time.time())
        self.runs.append(run)
        await until(lambda: run.epoch and self.board(), f"the daemon serves its board, see {log}")
        return run

    def _begin(self, log: Path) -> subprocess.Popen[bytes]:
        with log.open("wb") as output:
            command = [DOSEGATE, "run", "-c", self._config]
            return subprocess.Popen(command, stdout=output, stderr=output)

    async def stop(self, timeout_s: float = 10.0) -> int:
        """Asks for an orderly end; its exit code."""
        self.run.ended = time.time()
        self.run.process.terminate()
        return await asyncio.to_thread(self.run.process.wait, timeout_s)

    def kill(self) -> None:
        """Ends it as a crash would, if it still runs."""
        if self.runs and self.run.process.poll() is None:
            self.run.ended = time.time()
            self.run.process.kill()
            self.run.process.wait()

    def board(self) -> dict[str, Any]:
        """What an operator at the laptop sees; empty while nobody answers."""
        try:
            shown = ControlClient(self._socket, timeout_s=2.0).ask({"ask": "board"}).get("board")
        except ControlUnavailable:
            return {}
        return shown if isinstance(shown, dict) else {}

    def alarms(self, **having: object) -> list[dict[str, Any]]:
        """Alarms on the board."""
        found = self.board().get("alarms", [])
        return [one for one in found if all(one[name] == it for name, it in having.items())]

    def state(self, detector: str) -> dict[str, Any]:
        """A detector on the board."""
        found = self.board().get("detectors", [])
        return next((one for one in found if one["detector"] == detector), {})

    async def verb(self, name: str, *arguments: str) -> tuple[int, str]:
        """Another verb on its control socket: exit code and standard output."""
        process = await asyncio.create_subprocess_exec(
            DOSEGATE, name, "--socket", self._socket, *arguments, stdout=asyncio.subprocess.PIPE
        )
        told, _ = await asyncio.wait_for(process.communicate(), 10)
        return process.returncode or 0, told.decode()


@dataclass(slots=True)
class Bench:
    """Broker, subscriber, daemon and the list of what was said; the stage where it plays here."""

    broker: Broker
    collector: Collector
    daemon: Daemon
    said_file: Path
    detectors: Sequence[str]
    stage: LiveStage | None = None

    async def happen(self, do: str, **what: object) -> None:
        """Plays one event of the scenario's grammar now."""
        assert self.stage is not None
        await self.stage.happen(EVENT.validate_python({"at_s": 0, "do": do, **what}))

    def compare(self) -> Any:
        """What has arrived against what was said; see ``comparison.py``."""
        periods = {
            detector: [each for run in self.daemon.runs for each in run.periods(detector)]
            for detector in self.detectors
        }
        bodies = {detector: self.collector.values(detector) for detector in self.detectors}
        return COMPARISON.compare(COMPARISON.read_said(self.said_file), bodies, periods)

    def said(self, detector: str, name: str) -> int:
        """How often a detector has said something."""
        return len(COMPARISON.read_said(self.said_file)[detector][name])

    async def drained(self, timeout_s: float = 30.0) -> None:
        """Returns when the daemon owes its broker nothing but what comes just now."""
        await until(lambda: self._owed() < 20, "the backlog is sent", timeout_s)

    def _owed(self) -> int:
        sinks = self.daemon.board().get("sinks")
        return int(sinks["site"]["owed"]) if sinks else sys.maxsize


@pytest.fixture
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker that is not started yet."""
    if BROKER.PROGRAM is None:
        pytest.skip("mosquitto is not installed: install the Debian package mosquitto")
    broker = Broker(tmp_path_factory.mktemp("mosquitto"))
    yield broker
    broker.kill()


Opened = Callable[..., AbstractAsyncContextManager[Bench]]


@pytest.fixture
def staged(tmp_path: Path, broker: Broker) -> Opened:
    """A bench whose simulators play in the test, so that it can say what happens next."""

    @asynccontextmanager
    async def opened(name: str, *, with_broker: bool = True) -> AsyncIterator[Bench]:
        scenario = load_scenario(HERE / "scenarios" / name)
        collector, config = Collector(broker.port), tmp_path / "gateway.toml"
        daemon, said_file = Daemon(config), tmp_path / "sent.jsonl"
        ids = [each.id for each in scenario.detector]

        with TruthFile(said_file) as truth:

            def witness(detector: str, emission: Emission) -> None:
                truth.note(detector, emission)

            try:
                if with_broker:
                    broker.start()
                    await collector.start()
                async with on_stage(scenario, tmp_path, (broker.url,), witness) as stage:
                    config.write_text(to_toml(stage.configuration), encoding="utf-8")
                    try:
                        yield Bench(broker, collector, daemon, said_file, ids, stage.live)
                    finally:
                        daemon.kill()
            finally:
                collector.stop()

    return opened


@pytest.fixture
def played(tmp_path: Path, broker: Broker) -> Opened:
    """A bench whose simulators are the process ``dosegate simulate --live``."""

    @asynccontextmanager
    async def opened(name: str) -> AsyncIterator[Bench]:
        file = HERE / "scenarios" / name
        ids = [each.id for each in load_scenario(file).detector]
        collector, daemon = Collector(broker.port), Daemon(tmp_path / "gateway.toml")
        broker.start()
        await collector.start()
        simulators = await asyncio.create_subprocess_exec(
            *(DOSEGATE, "simulate", "--live", "--directory", tmp_path, "--broker", broker.url),
            file,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            assert simulators.stdout is not None
            await asyncio.wait_for(simulators.stdout.readline(), 20)
            yield Bench(broker, collector, daemon, tmp_path / "sent.jsonl", ids)
        finally:
            daemon.kill()
            collector.stop()
            simulators.terminate()
            assert await asyncio.wait_for(simulators.wait(), 10) == 0

    return opened


@pytest.fixture(name="until")
def until_fixture() -> Callable[..., Any]:
    """Waits for a condition, with a deadline."""
    return until
