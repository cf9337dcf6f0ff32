"""Simulated instruments behind Modbus, on TCP or a pseudo-terminal, with faults on command.

Framing: Modbus Messaging on TCP/IP V1.0b (MBAP header), Modbus over Serial Line V1.02 (RTU, CRC-16
with the low byte first). Unknown units stay silent, as on a bus. Loopback only.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol

from simulators.api import Emission, Field, RegisterInstrument
from simulators.loopback import loopback
from simulators.ports import PtyPort

MBAP: Final = 7
MAX_PDU: Final = 253
READ_FUNCTIONS: Final = (3, 4)
ILLEGAL_FUNCTION: Final = 1
EXCEPTION_BIT: Final = 0x80
RTU_REQUEST: Final = 8
"""Bytes of an RTU request of functions 1 to 6; others are met with silence."""

RTU_FUNCTIONS: Final = range(1, 7)


class Fault(StrEnum):
    """What the server does wrong."""

    NONE = "none"
    SILENT = "silent"
    LATE = "late"
    SHORT = "short"
    CORRUPT = "corrupt"
    WRONG_UNIT = "wrong_unit"
    WRONG_FUNCTION = "wrong_function"
    EXCEPTION = "exception"
    ECHO = "echo"


FAITHFUL: Final = (Fault.NONE, Fault.LATE, Fault.ECHO)
"""With these the answer itself arrives whole."""


@dataclass(slots=True)
class Faults:
    """The fault in force; ``left`` counts down the answers it spoils, None for all."""

    fault: Fault = Fault.NONE
    left: int | None = None
    late_s: float = 0.7
    code: int = 4

    def next(self) -> Fault:
        """What happens to the next answer."""
        if self.fault is Fault.NONE or self.left == 0:
            return Fault.NONE
        if self.left is not None:
            self.left -= 1
        return self.fault


@dataclass(frozen=True, slots=True)
class Unit:
    """One instrument behind a unit address."""

    instrument: RegisterInstrument
    field: Field


Witness = Callable[[Emission], None]


def nobody(emission: Emission) -> None:
    """Nobody is told what was sent."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Unit and PDU as they are sent, and what was read if it is told faithfully."""

    unit: int
    pdu: bytes
    emission: Emission | None = None


class Units:
    """The instruments behind one port and what they answer."""

    def __init__(
        self, units: Mapping[int, Unit], now_s: Callable[[], float], witness: Witness
    ) -> None:
        self.faults = Faults()
        self.witness = witness
        self._units = units
        self._now_s = now_s

    def answer(self, unit: int, request: bytes) -> tuple[Fault, Answer] | None:
        """What is sent and what goes wrong with it; None is silence."""
        found = self._units.get(unit)
        if found is None:
            return None
        fault, function = self.faults.next(), request[0]
        if fault is Fault.SILENT:
            return None
        if fault is Fault.EXCEPTION:
            return fault, Answer(unit, _exception(function, self.faults.code))
        pdu, emission = self._read(found, function, request)
        if fault is Fault.SHORT and len(pdu) > 3:
            pdu = bytes((pdu[0], pdu[1] - 2)) + pdu[2:-2]
        if fault is Fault.WRONG_FUNCTION and function in READ_FUNCTIONS:
            pdu = bytes((pdu[0] ^ READ_FUNCTIONS[0] ^ READ_FUNCTIONS[1],)) + pdu[1:]
        sender = (unit + 1) & 0xFF if fault is Fault.WRONG_UNIT else unit
        return fault, Answer(sender, pdu, emission if fault in FAITHFUL else None)

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
    ) -> None:
        self.port = port
        self._units = Units(units, now_s, witness)
        self._host = loopback(host)
        self._framing = RtuFraming if rtu else MbapFraming
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()

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


class ModbusPty:
    """Serves units as an RTU bus on a pseudo-terminal behind the name ``path``."""

    def __init__(
        self,
        units: Mapping[int, Unit],
        now_s: Callable[[], float],
        path: Path,
        *,
        witness: Witness = nobody,
    ) -> None:
        self.path = path
        self._units = Units(units, now_s, witness)
        self._port = PtyPort(path, self._received)
        self._line: _Line | None = None

    @property
    def faults(self) -> Faults:
        """What it does wrong, to be set."""
        return self._units.faults

    async def start(self) -> None:
        """Plugs it in; a new terminal behind the same name after ``stop``."""
        await self._port.plug()
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


@dataclass(frozen=True, slots=True)
class Request:
    """One request; ``header`` is what its answer repeats."""

    header: bytes
    unit: int
    pdu: bytes


class BrokenStream(Exception):
    """The next request cannot be found any more."""


class Framing(Protocol):
    """How requests and answers are cut from a stream."""

    def next(self, buffer: bytearray) -> Request | None:
        """Takes the next complete request out of ``buffer``."""

    def frame(self, header: bytes, unit: int, pdu: bytes) -> bytes:
        """An answer."""

    def corrupt(self, frame: bytes) -> bytes:
        """A frame that its receiver must not believe."""


class MbapFraming:
    """Modbus TCP."""

    def next(self, buffer: bytearray) -> Request | None:
        """Its length is in the header; one of another protocol is dropped."""
        while len(buffer) >= MBAP:
            length = int.from_bytes(buffer[4:6])
            if not 2 <= length <= MAX_PDU + 1:
                raise BrokenStream
            if len(buffer) < 6 + length:
                return None
            frame = bytes(buffer[: 6 + length])
            del buffer[: 6 + length]
            if not any(frame[2:4]):
                return Request(frame[:4], frame[6], frame[7:])
        return None

    def frame(self, header: bytes, unit: int, pdu: bytes) -> bytes:
        """Transaction and protocol of the request, length, unit, PDU."""
        return header + (len(pdu) + 1).to_bytes(2) + bytes((unit,)) + pdu

    def corrupt(self, frame: bytes) -> bytes:
        """Another transaction: TCP guards the rest."""
        return bytes((frame[0] ^ 0x80,)) + frame[1:]


class RtuFraming:
    """RTU frames; without a 3.5 character silence to go by, the CRC finds the next request."""

    def next(self, buffer: bytearray) -> Request | None:
        """Drops bytes until eight of them are a request."""
        while len(buffer) >= RTU_REQUEST:
            frame = bytes(buffer[:RTU_REQUEST])
            if frame[1] in RTU_FUNCTIONS and crc16(frame[:-2]) == int.from_bytes(
                frame[-2:], "little"
            ):
                del buffer[:RTU_REQUEST]
                return Request(b"", frame[0], frame[1:-2])
            del buffer[:1]
        return None

    def frame(self, header: bytes, unit: int, pdu: bytes) -> bytes:
        """Unit, PDU, CRC."""
        body = bytes((unit,)) + pdu
        return body + crc16(body).to_bytes(2, "little")

    def corrupt(self, frame: bytes) -> bytes:
        """A wrong CRC."""
        return frame[:-1] + bytes((frame[-1] ^ 0x01,))


class _Line:
    """One stream of requests; several that come at once are answered one by one."""

    def __init__(self, units: Units, framing: Framing, send: Callable[[bytes], object]) -> None:
        self._units = units
        self._framing = framing
        self._send = send
        self._buffer = bytearray()
        self._late: set[asyncio.TimerHandle] = set()

    def feed(self, data: bytes) -> None:
        """BrokenStream if no request can be found any more."""
        self._buffer += data
        while (request := self._framing.next(self._buffer)) is not None:
            self._serve(request)

    def end(self) -> None:
        """Nothing is sent from now on."""
        for timer in self._late:
            timer.cancel()
        self._late.clear()

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
        if fault is Fault.LATE:
            self._send_late(frame, answer)
        else:
            self._give(frame, answer)

    def _send_late(self, frame: bytes, answer: Answer) -> None:
        def give() -> None:
            self._late.discard(timer)
            self._give(frame, answer)

        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._units.faults.late_s, give)
        self._late.add(timer)

    def _give(self, frame: bytes, answer: Answer) -> None:
        self._send(frame)
        if answer.emission is not None:
            self._units.witness(answer.emission)


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

    def cut(self) -> None:
        """Ends it rudely."""
        self._line.end()
        if self._transport is not None:
            self._transport.abort()

    def _write(self, frame: bytes) -> None:
        if self._transport is not None:
            self._transport.write(frame)


def crc16(data: bytes) -> int:
    """Modbus CRC: polynomial 0xA001 (reflected), start 0xFFFF."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
    return crc


def _exception(function: int, code: int) -> bytes:
    return bytes((function | EXCEPTION_BIT, code))
