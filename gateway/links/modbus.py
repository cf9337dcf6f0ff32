"""One Modbus connection: TCP, RTU over TCP or an RTU bus, with the defences that pymodbus needs.

Measured on pymodbus 3.16 and guarded against here: on RTU an answer that comes late is taken for
the answer to the next request, with a valid CRC and no error, for ever; an answer is not checked
against its question; ``connect()`` returns False instead of raising; a call on a lost connection
connects again by itself; a refusal by the device does not raise.
One task owns a bus and asks one thing at a time, so no request waits behind another's.
"""

import asyncio
import logging
import termios
from collections.abc import Callable
from typing import Final

from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.exceptions import ConnectionException, ModbusException
from pymodbus.framer import FramerType
from pymodbus.pdu import ModbusPDU

from config.models import ModbusRtuLink, ModbusTcpLink
from drivers.api import ReadBlock
from drivers.errors import DecodeError, Refused, Reject, ReplyTimeout
from gateway.links.errors import LinkLost, PortRefused

OPEN_TIMEOUT_S: Final = 5.0
SILENT_READS: Final = 2
"""After so many reads in a row without an answer the connection is closed and opened again."""

QUIET_TIMEOUTS: Final = 1.5
"""On RTU a late answer is waited out for this many timeouts before the next question."""

READ_HOLDING: Final = 3
READ_INPUT: Final = 4

Client = AsyncModbusTcpClient | AsyncModbusSerialClient

logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)


class ModbusBus:
    """A connection that is opened, read and closed by one task."""

    def __init__(
        self, port: str, create: Callable[[], Client], *, timeout_s: float, is_rtu: bool
    ) -> None:
        self.port = port
        self._create = create
        self._quiet_s = QUIET_TIMEOUTS * timeout_s if is_rtu else 0.0
        self._client: Client | None = None
        self._unanswered = 0

    @classmethod
    def tcp(cls, link: ModbusTcpLink) -> "ModbusBus":
        """A connection to a Modbus TCP device, or to an RTU bus behind a device server."""

        def create() -> Client:
            return AsyncModbusTcpClient(
                link.host,
                port=link.port,
                framer=FramerType.RTU if link.rtu_frames else FramerType.SOCKET,
                timeout=link.timeout_s,
                retries=0,
                reconnect_delay=0,
            )

        name = f"{link.host}:{link.port}"
        return cls(name, create, timeout_s=link.timeout_s, is_rtu=link.rtu_frames)

    @classmethod
    def rtu(cls, link: ModbusRtuLink) -> "ModbusBus":
        """A serial bus."""

        def create() -> Client:
            return AsyncModbusSerialClient(
                link.port,
                baudrate=link.baud,
                bytesize=link.bits,
                parity=link.parity,
                stopbits=link.stop,
                handle_local_echo=link.echo,
                timeout=link.timeout_s,
                retries=0,
                reconnect_delay=0,
            )

        return cls(link.port, create, timeout_s=link.timeout_s, is_rtu=True)

    async def open(self) -> None:
        """Connects once; PortRefused if that fails."""
        await self.close()
        client = self._create()
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                is_open = await client.connect()
        except (OSError, ValueError, termios.error, ModbusException) as error:
            client.close()
            raise PortRefused(self.port, str(error) or "no answer") from error
        if not is_open:
            client.close()
            raise PortRefused(self.port, "no connection", "is the device on and reachable?")
        self._client = client
        self._unanswered = 0

    async def read(self, unit: int, block: ReadBlock) -> tuple[int, ...]:
        """The registers of a block.

        Raises ReplyTimeout, Refused or DecodeError for this unit, LinkLost for the whole bus.
        """
        client = self._client
        if client is None or not client.connected:
            raise LinkLost(self.port, "connection lost")
        try:
            answer = await self._ask(client, unit, block)
        except ConnectionException as error:
            raise LinkLost(self.port, str(error)) from error
        except (ModbusException, OSError) as error:
            await self._unanswered_read()
            raise ReplyTimeout(detail=f"no answer from unit {unit}") from error
        self._unanswered = 0
        return _checked(answer, unit, block)

    async def close(self) -> None:
        """Closes it."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    async def _ask(self, client: Client, unit: int, block: ReadBlock) -> ModbusPDU:
        if block.function == READ_HOLDING:
            read = client.read_holding_registers
        elif block.function == READ_INPUT:
            read = client.read_input_registers
        else:
            raise DecodeError(Reject.UNSUPPORTED, detail=f"function {block.function} does not read")
        return await read(block.address, count=block.count, device_id=unit)

    async def _unanswered_read(self) -> None:
        self._unanswered += 1
        if self._quiet_s:
            await asyncio.sleep(self._quiet_s)
        if self._unanswered >= SILENT_READS:
            await self.open()


def _checked(answer: ModbusPDU, unit: int, block: ReadBlock) -> tuple[int, ...]:
    """The registers, if this answers that question."""
    if answer.isError():
        raise Refused(answer.exception_code)
    if answer.dev_id != unit:
        raise DecodeError(Reject.UNEXPECTED, detail=f"unit {answer.dev_id} answered for {unit}")
    if answer.function_code != block.function:
        detail = f"function {answer.function_code} answers {block.function}"
        raise DecodeError(Reject.UNEXPECTED, detail=detail)
    if len(answer.registers) != block.count:
        detail = f"{len(answer.registers)} registers instead of {block.count}"
        raise DecodeError(Reject.TRUNCATED, detail=detail)
    return tuple(answer.registers)
