"""Opens the ports of a live stage: which instrument, which kind of port, which link leads there."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Final, cast

from config.models import Link, ModbusRtuLink, ModbusTcpLink, SerialLink, TcpLink, TcpListenLink
from config.scenario import Scenario
from config.scenario_detectors import ScenarioDetector
from drivers.registry import find as find_driver
from simulators.api import Emission, Instrument, RegisterInstrument
from simulators.link_faults import Wire
from simulators.live_bytes import ByteOutlet, far_end
from simulators.live_registers import RegisterOutlet
from simulators.modbus_server import ModbusPty, ModbusServer, Unit
from simulators.outlet import Outlet, Witness
from simulators.ports import CallingPort, PtyPort, TcpPort, free_port
from simulators.stand_in import instrument_of
from simulators.world import World

HOST: Final = "127.0.0.1"
FIRST_UNIT: Final = 1


class Opener:
    """Opens one detector after another."""

    def __init__(
        self,
        scenario: Scenario,
        world: World,
        directory: Path,
        wall_start: datetime,
        now_s: Callable[[], float],
        witness: Witness,
        changed: Callable[[Outlet], None],
    ) -> None:
        self._seed = scenario.scenario.seed
        self._world = world
        self._directory = directory
        self._wall_start = wall_start
        self._now_s = now_s
        self._witness = witness
        self._changed = changed
        self._buses: dict[str, _Bus] = {}

    async def open(self, detector: ScenarioDetector) -> tuple[Outlet, Link]:
        """Its outlet, open, and the link that a gateway needs to reach it."""
        info = find_driver(detector.driver)
        made = instrument_of(detector, Random(f"{self._seed} {detector.id}"), self._wall_start)
        kind = detector.link or info.links[0]
        if info.contract == "registers":
            return await self._open_unit(detector, cast(RegisterInstrument, made), kind)
        return await self._open_bytes(detector, cast(Instrument, made), kind)

    async def _open_bytes(
        self, detector: ScenarioDetector, instrument: Instrument, kind: str
    ) -> tuple[Outlet, Link]:
        end = far_end(instrument, self._world.field(detector.id))
        outlet = ByteOutlet(
            detector.id, end, self._wire(detector.id), self._now_s, self._witness, self._changed
        )
        link: Link
        if kind == "serial":
            path = self._directory / f"tty-{detector.id}"
            outlet.connect(PtyPort(path, outlet.received))
            await outlet.plug()
            link = SerialLink(kind="serial", port=str(path))
        elif kind == "tcp_listen":
            calling = CallingPort(outlet.received, free_port())
            outlet.connect(calling)
            await outlet.plug()
            link = TcpListenLink(kind="tcp_listen", host=HOST, port=calling.number)
        else:
            port = TcpPort(outlet.received, HOST)
            outlet.connect(port)
            await outlet.plug()
            link = TcpLink(kind="tcp", host=HOST, port=port.number)
        return outlet, link

    async def _open_unit(
        self, detector: ScenarioDetector, instrument: RegisterInstrument, kind: str
    ) -> tuple[Outlet, Link]:
        def witness(emission: Emission) -> None:
            self._witness(detector.id, emission)

        unit = Unit(instrument, self._world.field(detector.id), witness=witness)
        outlet = RegisterOutlet(detector.id, unit, is_alone=detector.bus is None)
        name = detector.bus or detector.id
        bus = self._buses.get(name)
        if bus is None:
            path = self._directory / f"tty-{name}"
            bus = self._buses[name] = _Bus(kind, path, self._wire(name), self._now_s)
            if detector.bus is not None:
                await bus.server.start()
        outlet.connect(bus.server, bus.wire)
        number = bus.add(unit)
        await outlet.plug()
        return outlet, bus.link(number)

    def _wire(self, name: str) -> Wire:
        return Wire(Random(f"{self._seed} {name} wire"))


class _Bus:
    """One Modbus port and the units behind it."""

    def __init__(self, kind: str, path: Path, wire: Wire, now_s: Callable[[], float]) -> None:
        self.wire = wire
        self._units: dict[int, Unit] = {}
        self._path = path
        self._rtu = kind == "modbus_rtu_tcp"
        self.server: ModbusServer | ModbusPty
        if kind == "modbus_rtu":
            self.server = ModbusPty(self._units, now_s, path, wire=wire)
        else:
            self.server = ModbusServer(self._units, now_s, host=HOST, rtu=self._rtu, wire=wire)

    def add(self, unit: Unit) -> int:
        """One more unit; its address."""
        number = FIRST_UNIT + len(self._units)
        self._units[number] = unit
        return number

    def link(self, unit: int) -> Link:
        """What reaches a unit, once the port is open."""
        if isinstance(self.server, ModbusPty):
            return ModbusRtuLink(kind="modbus_rtu", port=str(self._path), unit=unit)
        port = self.server.port
        return ModbusTcpLink(
            kind="modbus_tcp", host=HOST, port=port, unit=unit, rtu_frames=self._rtu
        )
