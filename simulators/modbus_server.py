"""A small Modbus server for simulated instruments, with faults on command. Loopback only.

Framing: Modbus Messaging on TCP/IP V1.0b (MBAP header), Modbus over Serial Line V1.02 (RTU, CRC-16
with the low byte first). Unknown units stay silent, as on a bus.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from simulators.api import Emission, Field, RegisterInstrument
from simulators.loopback import loopback

MBAP: Final = 7
MAX_PDU: Final = 253
READ_FUNCTIONS: Final = (3, 4)
ILLEGAL_FUNCTION: Final = 1
EXCEPTION_BIT: Final = 0x80
RTU_REQUEST: Final = 8


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
        witness: Callable[[Emission], None] = lambda _: None,
    ) -> None:
        self.port = port
        self.faults = Faults()
        self._units = units
        self._now_s = now_s
        self._host = loopback(host)
        self._rtu = rtu
        self._witness = witness
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()

    async def start(self) -> None:
        """Listens; on the same port again after ``stop``."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self, self._connections, self._rtu), self._host, self.port
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Ends it and its connections."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for connection in tuple(self._connections):
            connection.cut()
        await server.wait_closed()

    def answer(self, unit: int, request: bytes, fault: Fault) -> tuple[int, bytes] | None:
        """Unit and PDU of the answer; None is silence."""
        found = self._units.get(unit)
        if found is None or fault is Fault.SILENT:
            return None
        function = request[0]
        if fault is Fault.EXCEPTION:
            return unit, bytes((function | EXCEPTION_BIT, self.faults.code))
        pdu = self._read(found, function, request)
        if fault is Fault.SHORT and len(pdu) > 3:
            pdu = bytes((pdu[0], pdu[1] - 2)) + pdu[2:-2]
        if fault is Fault.WRONG_FUNCTION:
            pdu = bytes((4 if function == 3 else 3,)) + pdu[1:]
        return (unit + 1) & 0xFF if fault is Fault.WRONG_UNIT else unit, pdu

    def _read(self, unit: Unit, function: int, request: bytes) -> bytes:
        if function not in READ_FUNCTIONS or len(request) != 5:
            return bytes((function | EXCEPTION_BIT, ILLEGAL_FUNCTION))
        address, count = int.from_bytes(request[1:3]), int.from_bytes(request[3:5])
        now_s = self._now_s()
        result = unit.instrument.read(now_s, function, address, count, unit.field)
        if isinstance(result, int):
            return bytes((function | EXCEPTION_BIT, result))
        registers, says = result
        data = b"".join(register.to_bytes(2) for register in registers)
        pdu = bytes((function, len(data))) + data
        self._witness(Emission(now_s, pdu, says))
        return pdu


class _Connection(asyncio.Protocol):
    """One client; several requests in one segment are answered one by one."""

    def __init__(self, server: ModbusServer, everybody: "set[_Connection]", rtu: bool) -> None:
        self._server = server
        self._everybody = everybody
        self._rtu = rtu
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._transport = transport
            self._everybody.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._everybody.discard(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (frame := self._next()) is not None:
            self._serve(*frame)

    def cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _next(self) -> tuple[bytes, int, bytes] | None:
        """Header, unit and PDU of the next complete request."""
        if self._rtu:
            if len(self._buffer) < RTU_REQUEST:
                return None
            frame = self._take(RTU_REQUEST)
            return b"", frame[0], frame[1:-2]
        if len(self._buffer) < MBAP:
            return None
        length = int.from_bytes(self._buffer[4:6])
        if length < 2 or length > MAX_PDU + 1:
            self.cut()
            self._buffer.clear()
            return None
        if len(self._buffer) < 6 + length:
            return None
        frame = self._take(6 + length)
        return frame[:4], frame[6], frame[7:]

    def _take(self, length: int) -> bytes:
        frame = bytes(self._buffer[:length])
        del self._buffer[:length]
        return frame

    def _serve(self, header: bytes, unit: int, request: bytes) -> None:
        fault = self._server.faults.next()
        answer = self._server.answer(unit, request, fault)
        if answer is None:
            return
        frame = self._frame(header, *answer)
        if fault is Fault.CORRUPT:
            frame = frame[:-1] + bytes((frame[-1] ^ 0x01,))
        if fault is Fault.ECHO:
            frame = self._frame(header, unit, request) + frame
        if fault is Fault.LATE:
            loop = asyncio.get_running_loop()
            loop.call_later(self._server.faults.late_s, self._write, frame)
        else:
            self._write(frame)

    def _frame(self, header: bytes, unit: int, pdu: bytes) -> bytes:
        if self._rtu:
            body = bytes((unit,)) + pdu
            return body + crc16(body).to_bytes(2, "little")
        return header + (len(pdu) + 1).to_bytes(2) + bytes((unit,)) + pdu

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
