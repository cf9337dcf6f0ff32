"""From configuration to sessions: which link, which driver, which conversation."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final, cast

from config.models import (
    Detector,
    ModbusRtuLink,
    ModbusTcpLink,
    RecordingLink,
    SerialLink,
    TcpLink,
    TcpListenLink,
)
from drivers.api import Asker, DriverInfo, Listener, Options, Registers, SerialLine
from gateway.backoff import BackOff, BackOffLimits
from gateway.bus_session import Bus, BusSession, BusUnit, slot_s
from gateway.clock import Now, Ticker
from gateway.links import listen, recording, serial, tcp
from gateway.links.bytes import ByteLink
from gateway.links.modbus import ModbusBus
from gateway.session import AskerSession, Hub, ListenerSession, Session
from gateway.tap import Tap, untapped

LINK_BACKOFF: Final = BackOffLimits(first_s=0.5, cap_s=15.0)
UNIT_BACKOFF: Final = BackOffLimits(first_s=1.0, cap_s=30.0)
FALLBACK_LINE: Final = SerialLine(baud=9600)


def driver_options(detector: Detector, info: DriverInfo) -> Options:
    """All options of a driver: defaults, the configuration's, and its permissions."""
    options: dict[str, bool | int | float | str] = {
        option.name: option.default for option in info.options
    }
    options.update(detector.options)
    if detector.unit is not None and "unit" in options:
        options["unit"] = detector.unit
    for permission in info.permissions:
        options[f"permission.{permission}"] = permission in detector.permissions
    return options


@dataclass(frozen=True, slots=True)
class Assembler:
    """Builds the sessions of one gateway; ``taps`` hear what goes over their links."""

    drivers: Mapping[str, DriverInfo]
    hub: Hub
    now: Now
    ticker: Ticker
    random: Random
    taps: Mapping[str, Tap] = field(default_factory=dict)
    recorded: Mapping[str, recording.RecordingLink | recording.RecordingBus] = field(
        default_factory=dict
    )
    """Links that are there already, of detectors that are recordings."""

    def sessions(self, detectors: Iterable[Detector]) -> list[Session]:
        """One session a byte link, one a Modbus bus."""
        sessions: list[Session] = []
        buses: dict[str, list[tuple[Detector, ModbusRtuLink]]] = {}
        for detector in detectors:
            if isinstance(detector.link, ModbusRtuLink):
                buses.setdefault(detector.link.port, []).append((detector, detector.link))
            elif isinstance(detector.link, ModbusTcpLink):
                sessions.append(self._tcp_bus(detector, detector.link))
            elif self.drivers[detector.id].contract == "registers":
                sessions.append(self._recorded_bus(detector))
            else:
                sessions.append(self._byte_session(detector))
        sessions.extend(self._rtu_bus(members) for members in buses.values())
        return sessions

    def _byte_session(self, detector: Detector) -> Session:
        info = self.drivers[detector.id]
        ready = self.recorded.get(detector.id)
        link = ready if isinstance(ready, recording.RecordingLink) else byte_link(detector, info)
        driver = info.create(driver_options(detector, info))
        backoff = BackOff(LINK_BACKOFF, self.random)
        tap = self._tap(detector)
        if info.contract == "listener":
            listener = cast(Listener, driver)
            return ListenerSession(
                detector.id, info, listener, link, self.hub, self.now, backoff, tap
            )
        asker = cast(Asker, driver)
        return AskerSession(
            detector.id, info, asker, link, self.hub, self.now, backoff, self.ticker, tap
        )

    def _tcp_bus(self, detector: Detector, link: ModbusTcpLink) -> Session:
        bus = ModbusBus.tcp(link)
        return self._bus(bus, [self._unit(detector, link.unit)])

    def _recorded_bus(self, detector: Detector) -> Session:
        ready = self.recorded.get(detector.id)
        bus = ready if isinstance(ready, recording.RecordingBus) else recorded_bus(detector)
        return self._bus(bus, [self._unit(detector, 0)])

    def _rtu_bus(self, members: list[tuple[Detector, ModbusRtuLink]]) -> Session:
        _, first = members[0]
        units = [self._unit(detector, link.unit) for detector, link in members]
        return self._bus(ModbusBus.rtu(first), units)

    def _unit(self, detector: Detector, unit: int) -> BusUnit:
        info = self.drivers[detector.id]
        driver = cast(Registers, info.create(driver_options(detector, info)))
        backoff = BackOff(UNIT_BACKOFF, self.random)
        return BusUnit(detector.id, driver, unit, backoff, tap=self._tap(detector))

    def _tap(self, detector: Detector) -> Tap:
        return self.taps.get(detector.id) or untapped()

    def _bus(self, bus: Bus, units: list[BusUnit]) -> Session:
        backoff = BackOff(LINK_BACKOFF, self.random)
        slot = slot_s(len(self.drivers))
        return BusSession(bus, units, self.hub, self.now, backoff, self.ticker, slot)


def byte_link(detector: Detector, info: DriverInfo) -> ByteLink:
    """The link of a detector that is not on Modbus."""
    link = detector.link
    if isinstance(link, SerialLink):
        return serial.SerialLink(link.port, serial_line(link, info))
    if isinstance(link, TcpLink):
        return tcp.TcpLink(link.host, link.port)
    if isinstance(link, TcpListenLink):
        return listen.ListenLink(link.host, link.port)
    if isinstance(link, RecordingLink):
        answers = info.contract != "listener"
        return recording.RecordingLink(
            Path(link.path), link.speed, answers=answers, loops=link.loop
        )
    raise TypeError(f"{detector.id}: {link.kind} is no byte link")


def recorded_bus(detector: Detector) -> recording.RecordingBus:
    """The recording in place of a Modbus connection."""
    link = detector.link
    if isinstance(link, RecordingLink):
        return recording.RecordingBus(Path(link.path), link.speed, loops=link.loop)
    raise TypeError(f"{detector.id}: {link.kind} is no link to registers")


def serial_line(link: SerialLink, info: DriverInfo) -> SerialLine:
    """The line settings: the configuration's where it has them, else the instrument's."""
    own = info.serial or FALLBACK_LINE
    return SerialLine(
        link.baud or own.baud,
        link.bits or own.bits,
        link.parity or own.parity,
        link.stop or own.stop,
        own.rts,
        own.dtr,
    )
