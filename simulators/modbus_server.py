"""Simulated instruments behind Modbus, on TCP or a pseudo-terminal, with faults on command.

Unknown units stay silent, as on a bus. Loopback only.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from dataclasses import field as default
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import Final

from simulators.api import Emission, Field, RegisterInstrument
from simulators.flight import Flight
from simulators.link_faults import Wire
from simulators.loopback import loopback
from simulators.modbus_framing import BrokenStream, Framing, MbapFraming, Request, RtuFraming
from simulators.modbus_framing import crc16 as crc16
from simulators.ports import PtyPort

READ_FUNCTIONS: Final = (3, 4)
ILLEGAL_FUNCTION: Final = 1
EXCEPTION_BIT: Final = 0x80


class Fault(StrEnum):
    """What the server does wrong.

    Pipelined: an answer is held back and sent together with the next one.
    """

    NONE = "none"
    SILENT = "silent"
    LATE = "late"
    SHORT = "short"
    CORRUPT = "corrupt"
    WRONG_UNIT = "wrong_unit"
    WRONG_FUNCTION = "wrong_function"
    EXCEPTION = "exception"
    ECHO = "echo"
    PIPELINED = "pipelined"


FAITHFUL: Final = (Fault.NONE, Fault.LATE, Fault.ECHO, Fault.PIPELINED)
"""With these the answer itself arrives whole."""
"""With these the answer itself arrives whole."""


@dataclass(slots=True)
class Faults:
    """The fault in force; ``left`` counts down the answers it spoils, None for all."""

    fault: Fault = Fault.NONE
    left: int | None = None
    late_s: float = 0.7
    code: int = 4

    @property
    def in_force(self) -> Fault:
        """What would happen to the next answer."""
        return Fault.NONE if self.left == 0 else self.fault

    def next(self) -> Fault:
        """What happens to the next answer."""
        fault = self.in_force
        if fault is not Fault.NONE and self.left is not None:
            self.left -= 1
        return fault


_NEXT_S: Final = 0.01
"""From a late answer to the next: 9 bytes of 11 bits at 9600 baud."""

Witness = Callable[[Emission], None]


def never(at_s: float) -> bool:
    """A unit that always answers."""
    return False


def nobody(emission: Emission) -> None:
    """Nobody is told what was sent."""


@dataclass(slots=True)
class Unit:
    """One instrument behind a unit address, and what it alone does wrong."""

    instrument: RegisterInstrument
    field: Field
    is_silent: Callable[[float], bool] = never
    witness: Witness = nobody
    faults: Faults = default(default_factory=Faults)


@dataclass(frozen=True, slots=True)
class Answer:
    """Unit and PDU as they are sent, and what was read if it is told faithfully."""

    unit: int
    pdu: bytes
    emission: Emission | None = None
    late_s: float = 0.0
    witness: Witness = nobody


class Units:
    """The instruments behind one port and what they answer."""

    def __init__(
        self,
        units: Mapping[int, Unit],
        now_s: Callable[[], float],
        witness: Witness,
        wire: Wire | None = None,
    ) -> None:
        self.faults = Faults()
        self.witness = witness
        self.wire = wire or Wire(Random(0))
        self._units = units
        self._now_s = now_s

    def answer(self, unit: int, request: bytes) -> tuple[Fault, Answer] | None:
        """What is sent and what goes wrong with it; None is silence."""
        found = self._units.get(unit)
        if found is None or found.is_silent(self._now_s()):
            return None
        faults, function = found.faults, request[0]
        fault = faults.next()
        if fault is Fault.NONE:
            faults = self.faults
            fault = faults.next()
        if fault is Fault.SILENT:
            return None
        if fault is Fault.EXCEPTION:
            return fault, Answer(unit, _exception(function, faults.code))
        pdu, emission = self._read(found, function, request)
        if fault is Fault.SHORT and len(pdu) > 3:
            pdu = bytes((pdu[0], pdu[1] - 2)) + pdu[2:-2]
        if fault is Fault.WRONG_FUNCTION and function in READ_FUNCTIONS:
            pdu = bytes((pdu[0] ^ READ_FUNCTIONS[0] ^ READ_FUNCTIONS[1],)) + pdu[1:]
        sender = (unit + 1) & 0xFF if fault is Fault.WRONG_UNIT else unit
        told = emission if fault in FAITHFUL else None
        return fault, Answer(sender, pdu, told, faults.late_s, found.witness)

    def _read(self, unit: Unit, function: int, request: bytes) -> tuple[bytes, Emission | None]:
        if function not in READ_FUNCTIONS or len(request) != 5:
            return _exception(function, ILLEGAL_FUNCTION), None
        address, count = int.from_bytes(request[1:3]), int.from_bytes(request[3:5])
        now_s = self._now_s()
        result = unit.instrument.read(now_s, function, address, count, unit.field)
        if isinstance(result, int):
            return _exception(function, result), None
        registers, says = result
        data = b"".join(register.to_bytes(2) for register in registers)
        pdu = bytes((function, len(data))) + data
        return pdu, Emission(now_s, pdu, says)


class ModbusServer:
    """Serves units on one TCP port, with MBAP framing or RTU frames."""

    def __init__(
        self,
        units: Mapping[int, Unit],
        now_s: Callable[[], float],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        rtu: bool = False,
        witness: Witness = nobody,
        wire: Wire | None = None,
    ) -> None:
        self.port = port
        self._units = Units(units, now_s, witness, wire)
        self._host = loopback(host)
        self._framing = RtuFraming if rtu else MbapFraming
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._dead: list[_Connection] = []

    @property
    def faults(self) -> Faults:
        """What it does wrong, to be set."""
        return self._units.faults

    async def start(self) -> None:
        """Listens; on the same port again after ``stop``."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self._units, self._framing(), self._connections),
            self._host,
            self.port,
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Ends it and its connections; answers that are late are not given any more."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for connection in tuple(self._connections):
            connection.cut()
        await server.wait_closed()

    def abandon(self) -> None:
        """Connections there are stay open and dead, as after a power cut; new ones are served."""
        for connection in tuple(self._connections):
            connection.die()
            self._dead.append(connection)

    def bury(self) -> None:
        """Ends those that are dead."""
        while self._dead:
            self._dead.pop().cut()


class ModbusPty:
    """Serves units as an RTU bus on a pseudo-terminal behind the name ``path``."""

    def __init__(
        self,
        units: Mapping[int, Unit],
        now_s: Callable[[], float],
        path: Path,
        *,
        witness: Witness = nobody,
        wire: Wire | None = None,
    ) -> None:
        self.path = path
        self._units = Units(units, now_s, witness, wire)
        self._port = PtyPort(path, self._received)
        self._line: _Line | None = None

    @property
    def faults(self) -> Faults:
        """What it does wrong, to be set."""
        return self._units.faults

    async def start(self, *, renumbered: bool = False) -> None:
        """Plugs it in; a new terminal behind the same name after ``stop``."""
        await self._port.plug(renumbered=renumbered)
        self._line = _Line(self._units, RtuFraming(), self._port.send)

    async def stop(self) -> None:
        """Pulls it out."""
        line, self._line = self._line, None
        if line is not None:
            line.end()
            await self._port.unplug()

    def _received(self, data: bytes) -> None:
        if self._line is not None:
            self._line.feed(data)


class _Line:
    """One stream of requests; several that come at once are answered one by one."""

    def __init__(self, units: Units, framing: Framing, send: Callable[[bytes], bool]) -> None:
        self._units = units
        self._framing = framing
        self._flight = Flight(units.wire, send)
        self._buffer = bytearray()
        self._held: tuple[bytes, Answer] | None = None
        self._late: set[asyncio.TimerHandle] = set()
        self._busy: dict[int, float] = {}

    def feed(self, data: bytes) -> None:
        """BrokenStream if no request can be found any more."""
        if self._units.wire.echoes:
            self._flight.launch(data)
        self._buffer += data
        while (request := self._framing.next(self._buffer)) is not None:
            self._serve(request)

    def end(self) -> None:
        """Nothing is sent from now on."""
        for timer in self._late:
            timer.cancel()
        self._late.clear()
        self._flight.drop()

    def _serve(self, request: Request) -> None:
        answered = self._units.answer(request.unit, request.pdu)
        if answered is None:
            return
        fault, answer = answered
        frame = self._framing.frame(request.header, answer.unit, answer.pdu)
        if fault is Fault.CORRUPT:
            frame = self._framing.corrupt(frame)
        if fault is Fault.ECHO:
            frame = self._framing.frame(request.header, request.unit, request.pdu) + frame
        held, self._held = self._held, None
        if held is not None:
            self._give(held[0] + frame, held[1], answer)
        elif fault is Fault.PIPELINED:
            self._held = (frame, answer)
        elif fault is Fault.LATE or self._late:
            self._give_later(request.unit, frame, answer, fault is Fault.LATE)
        else:
            self._give(frame, answer)

    def _give_later(self, unit: int, frame: bytes, answer: Answer, is_late: bool) -> None:
        """When it is due; where answers are in order, not before the unit's last one."""

        def give() -> None:
            self._late.discard(timer)
            self._give(frame, answer)

        loop = asyncio.get_running_loop()
        due = now = loop.time()
        if is_late:
            due += answer.late_s
        if self._framing.in_order:
            due = max(due, self._busy.get(unit, due))
            self._busy[unit] = due + _NEXT_S
        if due <= now:
            self._give(frame, answer)
            return
        timer = loop.call_at(due, give)
        self._late.add(timer)

    def _give(self, frame: bytes, *answers: Answer) -> None:
        def arrived() -> None:
            for answer in answers:
                if answer.emission is not None:
                    answer.witness(answer.emission)
                    self._units.witness(answer.emission)

        self._flight.launch(frame, arrived)


class _Connection(asyncio.Protocol):
    """One TCP client."""

    def __init__(self, units: Units, framing: Framing, everybody: "set[_Connection]") -> None:
        self._everybody = everybody
        self._line = _Line(units, framing, self._write)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._transport = transport
            self._everybody.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._everybody.discard(self)
        self._line.end()

    def data_received(self, data: bytes) -> None:
        try:
            self._line.feed(data)
        except BrokenStream:
            self.cut()

    def die(self) -> None:
        """It neither reads nor writes from now on."""
        self._everybody.discard(self)
        self._line.end()
        if self._transport is not None:
            self._transport.pause_reading()

    def cut(self) -> None:
        """Ends it rudely."""
        self._line.end()
        if self._transport is not None:
            self._transport.abort()

    def _write(self, frame: bytes) -> bool:
        if self._transport is None:
            return False
        self._transport.write(frame)
        return True


def _exception(function: int, code: int) -> bytes:
    return bytes((function | EXCEPTION_BIT, code))
