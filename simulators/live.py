"""A scenario played in real time on real ports: pseudo-terminals, TCP and Modbus TCP.

One loop moves every instrument every tick, asks what it says by itself, and sends what is due.
"""

import asyncio
import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from dataclasses import field as default
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Final, cast

from config.actions import Event, Garbage, LinkAction, Power
from config.models import Link, ModbusTcpLink, SerialLink, TcpLink
from config.scenario import Scenario
from config.scenario_detectors import ScenarioDetector
from drivers.registry import find as find_driver
from simulators.acting import act
from simulators.api import Emission, Field, Instrument, RegisterInstrument
from simulators.modbus_server import Fault, ModbusServer, Unit
from simulators.ports import Port, PtyPort, TcpPort
from simulators.registry import find as find_instrument
from simulators.world import World

TICK_S: Final = 0.02
HOST: Final = "127.0.0.1"
UNIT: Final = 1

Witness = Callable[[str, Emission], None]


def nobody(detector: str, emission: Emission) -> None:
    """Nobody is told what was sent."""


@dataclass(slots=True)
class _Actor:
    """One instrument, its port, and what it has still to send."""

    detector: str
    instrument: Instrument
    port: Port
    field: Field
    order: int = 0
    frozen: bool = False
    pending: list[tuple[float, int, Emission]] = default(default_factory=list)

    def push(self, emissions: "list[Emission]") -> None:
        """More to send, each at its time."""
        for emission in emissions:
            self.order += 1
            heapq.heappush(self.pending, (emission.at_s, self.order, emission))


class LiveStage:
    """All instruments of a scenario on ports of this machine."""

    def __init__(
        self,
        scenario: Scenario,
        world: World,
        directory: Path,
        wall_start: datetime,
        witness: Witness = nobody,
    ) -> None:
        self._scenario = scenario
        self._world = world
        self._directory = directory
        self._wall_start = wall_start
        self._witness = witness
        self._actors: dict[str, _Actor] = {}
        self._servers: dict[str, ModbusServer] = {}
        self._began = 0.0

    async def open(self) -> Mapping[str, Link]:
        """Opens every port; the links that a gateway needs to reach them."""
        self._began = asyncio.get_running_loop().time()
        return {each.id: await self._open_one(each) for each in self._scenario.detector}

    def now_s(self) -> float:
        """Seconds of play."""
        return asyncio.get_running_loop().time() - self._began

    async def play(self) -> None:
        """Moves everybody, until cancelled."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        events = sorted(self._scenario.event, key=lambda event: event.at_s)
        while True:
            now_s = self.now_s()
            while events and events[0].at_s <= now_s:
                await self.happen(events.pop(0))
            self._advance(now_s)
            due = max(due + TICK_S, loop.time())
            await asyncio.sleep(due - loop.time())

    async def happen(self, event: Event) -> None:
        """Plays one event now; commands, gateway and broker are not on the stage."""
        match event:
            case LinkAction(do="unplug"):
                await self.unplug(event.detector)
            case LinkAction(do="replug"):
                await self.replug(event.detector)
            case LinkAction():
                self.freeze(event.detector, on=event.do == "freeze")
            case Garbage():
                noise = Random(f"{self._scenario.scenario.seed} {event.at_s}")
                data = event.text.encode() if event.text else noise.randbytes(event.bytes)
                self.garbage(event.detector, data)
            case Power() if event.detector in self._servers:
                act(self._world, event, self.now_s())
                self.freeze(event.detector, on=event.do == "power_off")
            case _:
                detector = getattr(event, "detector", None)
                actor = self._actors.get(detector or "")
                act(self._world, event, self.now_s(), actor.instrument if actor else None)

    async def unplug(self, detector: str) -> None:
        """Pulls the cable."""
        if detector in self._servers:
            await self._servers[detector].stop()
        else:
            await self._actors[detector].port.unplug()

    async def replug(self, detector: str) -> None:
        """Puts it back."""
        if detector in self._servers:
            await self._servers[detector].start()
        else:
            await self._actors[detector].port.plug()

    def freeze(self, detector: str, *, on: bool) -> None:
        """The instrument says nothing while its link stays open."""
        if detector in self._servers:
            fault = Fault.SILENT if on else Fault.NONE
            self._servers[detector].faults.fault = fault
        else:
            self._actors[detector].frozen = on

    def garbage(self, detector: str, data: bytes) -> None:
        """Bytes that mean nothing appear on its link; a Modbus server has none to add."""
        if detector in self._actors:
            self._actors[detector].port.send(data)

    async def close(self) -> None:
        """Closes every port."""
        for actor in self._actors.values():
            await actor.port.unplug()
        for server in self._servers.values():
            await server.stop()

    def _advance(self, now_s: float) -> None:
        for actor in self._actors.values():
            actor.push(list(actor.instrument.advance(now_s, actor.field)))
            self._send_due(actor, now_s)

    def _send_due(self, actor: _Actor, now_s: float) -> None:
        while actor.pending and actor.pending[0][0] <= now_s:
            _, _, emission = heapq.heappop(actor.pending)
            is_silent = actor.frozen or actor.field.on_since(now_s) is None
            if not is_silent and actor.port.send(emission.data):
                self._witness(actor.detector, emission)

    def _received(self, detector: str, data: bytes) -> None:
        actor, now_s = self._actors[detector], self.now_s()
        actor.push(list(actor.instrument.receive(now_s, data, actor.field)))
        self._send_due(actor, now_s)

    async def _open_one(self, detector: ScenarioDetector) -> Link:
        info = find_driver(detector.driver)
        seed = f"{self._scenario.scenario.seed} {detector.id}"
        create = find_instrument(info.name)
        instrument = create(detector.settings, Random(seed), self._wall_start)
        kind = detector.link or info.links[0]
        if info.contract == "registers":
            return await self._open_modbus(detector, cast(RegisterInstrument, instrument))

        def received(data: bytes) -> None:
            self._received(detector.id, data)

        field = self._world.field(detector.id)
        if kind == "serial":
            path = self._directory / f"tty-{detector.id}"
            port: Port = PtyPort(path, received)
            await port.plug()
            link: Link = SerialLink(kind="serial", port=str(path))
        else:
            server = TcpPort(received, HOST)
            port = server
            await server.plug()
            link = TcpLink(kind="tcp", host=HOST, port=server.number)
        self._actors[detector.id] = _Actor(detector.id, cast(Instrument, instrument), port, field)
        return link

    async def _open_modbus(
        self, detector: ScenarioDetector, instrument: RegisterInstrument
    ) -> Link:
        def witness(emission: Emission) -> None:
            self._witness(detector.id, emission)

        unit = Unit(instrument, self._world.field(detector.id))
        server = ModbusServer({UNIT: unit}, self.now_s, host=HOST, witness=witness)
        await server.start()
        self._servers[detector.id] = server
        return ModbusTcpLink(kind="modbus_tcp", host=HOST, port=server.port, unit=UNIT)
