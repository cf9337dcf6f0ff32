"""A whole plant for one test: instruments that say what they are told, and the real daemon."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import paho.mqtt.client as paho

HERE = Path(__file__).resolve().parent
QUIET, HIGH = 0.1, 5.0
"""µSv/h: background, and above level R3."""
STEP = 1e-7
"""By so much each value differs from the one before: none comes twice."""
GATEWAY = "plant"
SINK = "site"


def _module(name: str, path: Path) -> ModuleType:
    known = sys.modules.get(name)
    if known is not None:
        return known
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


E2E = _module("torture_e2e", HERE.parent / "e2e" / "conftest.py")
Broker = E2E.BROKER.Mosquitto
PROGRAM = E2E.BROKER.PROGRAM
until = E2E.until


class Instrument:
    """Says its dose rate as JSON lines over TCP; each value is another one."""

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.said: list[tuple[float, float]] = []
        self.level = QUIET
        self.port = 0
        self._number = number
        self._ends: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listens."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Hangs up."""
        if self._server is not None:
            self._server.close()
        for end in tuple(self._ends):
            end.transport.abort()

    @property
    def is_heard(self) -> bool:
        """Whether the daemon is connected."""
        return bool(self._ends)

    def say(self, level: float | None = None, *, more: int = 0) -> float:
        """One line, with so many other readings beside it; its value."""
        if level is not None:
            self.level = level
        value = round(self.level + (len(self.said) + 1) * STEP, 7)
        readings: list[dict[str, object]] = [
            {
                "channel": "dose_rate",
                "value": value,
                "unit": "uSv/h",
                "quantity": "ambient_dose_equivalent_rate",
                "window_s": 1,
            }
        ]
        readings += [
            {"channel": "gamma_count_rate", "value": part, "unit": "1/s", "part": f"p{part}"}
            for part in range(more)
        ]
        if self._ends:
            self.said.append((time.monotonic(), value))
            for end in self._ends:
                end.write(json.dumps({"readings": readings}).encode() + b"\n")
        return value

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._ends.add(writer)
        with contextlib.suppress(OSError):
            while await reader.read(1024):
                pass
        self._ends.discard(writer)
        writer.close()


class Daemon(E2E.Daemon):  # type: ignore[name-defined,misc]
    """``dosegate run`` with an environment and a program in front of it."""

    def __init__(self, config: Path, environment: Mapping[str, str]) -> None:
        super().__init__(config)
        self._environment = {**os.environ, **environment}

    def _begin(self, log: Path) -> subprocess.Popen[bytes]:
        with log.open("wb") as output:
            command = [E2E.DOSEGATE, "run", "-c", self._config]
            return subprocess.Popen(command, stdout=output, stderr=output, env=self._environment)


class Collector(E2E.Collector):  # type: ignore[name-defined,misc]
    """A subscriber; with QoS 0 it has each message before the broker acknowledges it."""

    def __init__(self, port: int, *, qos: int = 0) -> None:
        super().__init__(port)
        self._qos = qos
        self.connects = 0

    def _connected(self, client: paho.Client, *_: object) -> None:
        self.connects += 1
        client.subscribe("#", qos=self._qos)


@dataclass(slots=True)
class Plant:
    """Instruments and the daemon that reads them."""

    instruments: Sequence[Instrument]
    daemon: Daemon
    state: Path
    speaks: bool = True
    wishes: dict[str, float] = field(default_factory=dict)

    def instrument(self, name: str) -> Instrument:
        """By name."""
        return next(each for each in self.instruments if each.name == name)

    async def speak(self, rate: float) -> None:
        """All instruments in turn, so many lines a second from each, until cancelled."""
        due = time.monotonic()
        while True:
            if self.speaks:
                for each in self.instruments:
                    each.say()
            due += 1 / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    def sink(self) -> dict[str, Any]:
        """The sink on the board."""
        return dict(self.daemon.board().get("sinks", {}).get(SINK, {}))

    def owed(self) -> int:
        """What the sink lacks."""
        return int(self.sink().get("owed", sys.maxsize))

    def pid(self) -> int:
        """Of the daemon."""
        return int(self.daemon.run.process.pid)

    async def raise_alarm(self, name: str) -> str:
        """The instrument shows a high dose rate until the board shows the alarm; its occurrence."""
        self.instrument(name).level = HIGH
        found = await until(
            lambda: self.daemon.alarms(detector=name, active=True), f"an alarm of {name}"
        )
        return str(found[0]["occurrence"])

    async def order(self, name: str, **arguments: object) -> dict[str, Any]:
        """A command through the control socket; the answer."""
        request = {"ask": "command", "name": name, "arguments": arguments}
        client = E2E.ControlClient(self.daemon._socket, timeout_s=10.0)
        return dict(await asyncio.to_thread(client.ask, request))

    async def quiet(self) -> None:
        """Nobody says anything more, and what was said has been stored."""
        self.speaks = False
        await asyncio.sleep(0.3)


def toml(values: Mapping[str, object]) -> str:
    """Plain settings."""
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())


def configuration(
    place: Path,
    state: Path,
    brokers: Sequence[str],
    instruments: Sequence[Instrument],
    *,
    sink: Mapping[str, object],
    journal: Mapping[str, object],
) -> str:
    """The daemon's file."""
    gateway = {
        "id": GATEWAY,
        "state_dir": str(state),
        "control_socket": str(place / "control.sock"),
    }
    parts = ["[gateway]\n" + toml(gateway)]
    if journal:
        parts.append("[journal]\n" + toml(journal))
    if brokers:
        parts.append("[[sink]]\n" + toml({"id": SINK, "brokers": list(brokers), **sink}))
    parts += [
        "[[detector]]\n"
        + toml({"id": each.name, "driver": "json-lines", "class": "Gamma Handheld"})
        + f'link = {{ kind = "tcp", host = "127.0.0.1", port = {each.port} }}\n'
        for each in instruments
    ]
    return "\n".join(parts)


@asynccontextmanager
async def opened(
    place: Path,
    brokers: Sequence[str],
    *,
    instruments: int = 4,
    rate: float = 10.0,
    state: Path | None = None,
    sink: Mapping[str, object] | None = None,
    journal: Mapping[str, object] | None = None,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[Plant]:
    """A plant whose daemon runs and reads all instruments."""
    devices = [Instrument(f"d{n}", n) for n in range(1, instruments + 1)]
    state = state or place / "state"
    config = place / "gateway.toml"
    daemon = Daemon(config, environment or {})
    plant = Plant(devices, daemon, state)
    speaking: asyncio.Task[None] | None = None
    try:
        for each in devices:
            await each.start()
        text = configuration(place, state, brokers, devices, sink=sink or {}, journal=journal or {})
        config.write_text(text, encoding="utf-8")
        await daemon.start()
        await until(lambda: all(each.is_heard for each in devices), "all instruments are read")
        speaking = asyncio.create_task(plant.speak(rate), name="speaking")
        yield plant
    finally:
        daemon.kill()
        if speaking is not None:
            speaking.cancel()
            await asyncio.wait((speaking,))
        for each in devices:
            await each.stop()


def check_values(plant: Plant, collector: Any, *, missing: Sequence[float] = ()) -> int:
    """Each value said arrived once, in order, and no other; how many.

    ``missing`` are values that a broker would not take.
    """
    count = 0
    for each in plant.instruments:
        said = [value for _, value in each.said if value not in missing]
        arrived = [
            body["readings"][0]["value"] for body in collector.values(each.name) if body["readings"]
        ]
        arrived = [value for value in arrived if value not in missing]
        assert len(set(arrived)) == len(arrived), f"{each.name}: a value came under two numbers"
        lacking = sorted(set(said) - set(arrived))
        assert not lacking, f"{each.name}: {len(lacking)} of {len(said)} missing: {lacking[:5]}"
        assert arrived == said, f"{each.name}: others came than were said, or in another order"
        count += len(arrived)
    return count
