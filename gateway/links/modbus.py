"""One Modbus connection: TCP, RTU over TCP or an RTU bus, with the defences that pymodbus needs.

Measured on pymodbus 3.16 and guarded against here: on RTU an answer that comes late is taken for
the answer to the next request, with a valid CRC and no error, for ever; an answer is not checked
against its question; ``connect()`` returns False instead of raising; a call on a lost connection
connects again by itself; a connection lost during a request is noticed by its timeout only; a
refusal by the device does not raise.
One task owns a bus and asks one thing at a time, so no request waits behind another's.

The serial client opens its port on the loop. That is accepted: pyserial opens without waiting for
a carrier, nothing is left to drain when eight bytes are sent at a time, and opening it once more
in a thread beforehand would move DTR and RTS twice.
"""

import asyncio
import logging
import os
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
from gateway.links.errors import LinkError, LinkLost, PortForbidden, PortMissing, PortRefused

OPEN_TIMEOUT_S: Final = 5.0
SILENT_READS: Final = 2
"""After so many reads in a row without an answer, and with no unit left that answers, the
connection is closed and opened again."""

QUIET_TIMEOUTS: Final = 3.0
"""A unit on RTU that owes an answer is not asked for so many timeouts, unless the answer comes
before: one that takes up to four timeouts is never taken for another. Reopening does not replace
this, a late answer comes over the new connection too."""

NEVER_DISCONNECT: Final = 1 << 31
"""Silences after which pymodbus would drop a connection; here one dead unit must not."""

READ_HOLDING: Final = 3
READ_INPUT: Final = 4
EXCEPTION_BIT: Final = 0x80
RTU_SHAPE: Final = (5, 0)
"""Bytes of an answer without its registers (address, function, byte count or exception code, CRC),
and where its unit stands."""

MBAP_SHAPE: Final = (9, 6)
"""The same with seven bytes of header, the unit last, and no CRC."""

Client = AsyncModbusTcpClient | AsyncModbusSerialClient

logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)


class Traffic:
    """Bytes that came while an answer was awaited and since, as the client's hooks tell it."""

    def __init__(self) -> None:
        self.is_awaited = False
        self.awaited = 0
        self.stray = b""

    def packet(self, is_sent: bool, data: bytes) -> bytes:
        """Bytes that are sent, or all that have come and were not used yet."""
        if is_sent:
            self.is_awaited, self.stray = True, b""
        elif self.is_awaited:
            self.awaited = len(data)
        else:
            self.stray = data
        return data

    def pdu(self, is_sent: bool, pdu: ModbusPDU) -> ModbusPDU:
        """A question, or a complete answer."""
        if not is_sent:
            self.is_awaited = False
        return pdu


class ModbusBus:
    """A connection that is opened, read and closed by one task."""

    def __init__(
        self,
        port: str,
        create: Callable[[Traffic, Callable[[bool], None]], Client],
        *,
        timeout_s: float,
        is_numbered: bool,
        explain: Callable[[], LinkError],
    ) -> None:
        self.port = port
        self.openings = 0
        self._create = create
        self._explain = explain
        self._quiet_s = QUIET_TIMEOUTS * timeout_s
        self._is_numbered = is_numbered
        self._overhead, self._unit_at = MBAP_SHAPE if is_numbered else RTU_SHAPE
        self._client: Client | None = None
        self._waiting: asyncio.Timeout | None = None
        self._unanswered = 0
        self._alive: set[int] = set()
        self._owed_until: dict[int, float] = {}
        self._asked = 0
        self._traffic = Traffic()

    @classmethod
    def tcp(cls, link: ModbusTcpLink) -> "ModbusBus":
        """A connection to a Modbus TCP device, or to an RTU bus behind a device server."""
        name = f"{link.host}:{link.port}"

        def create(traffic: Traffic, changed: Callable[[bool], None]) -> Client:
            return AsyncModbusTcpClient(
                link.host,
                port=link.port,
                framer=FramerType.RTU if link.rtu_frames else FramerType.SOCKET,
                timeout=link.timeout_s,
                retries=0,
                reconnect_delay=0,
                trace_packet=traffic.packet,
                trace_pdu=traffic.pdu,
                trace_connect=changed,
            )

        def explain() -> LinkError:
            return PortRefused(name, "no connection", "is the device on and reachable?")

        return cls(
            name,
            create,
            timeout_s=link.timeout_s,
            is_numbered=not link.rtu_frames,
            explain=explain,
        )

    @classmethod
    def rtu(cls, link: ModbusRtuLink) -> "ModbusBus":
        """A serial bus."""

        def create(traffic: Traffic, changed: Callable[[bool], None]) -> Client:
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
                trace_packet=traffic.packet,
                trace_pdu=traffic.pdu,
                trace_connect=changed,
            )

        def explain() -> LinkError:
            return _explain_serial(link.port)

        return cls(link.port, create, timeout_s=link.timeout_s, is_numbered=False, explain=explain)

    async def open(self) -> None:
        """Connects once and counts it in ``openings``; a LinkError if that fails."""
        await self.close()
        client = self._create(self._traffic, self._changed)
        client.set_max_no_responses(NEVER_DISCONNECT)
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                is_open = await client.connect()
            _stop_if_cancelled()
            if not is_open:
                raise self._explain()
            self._client = client
        except (OSError, ValueError, termios.error, ModbusException) as error:
            raise PortRefused(self.port, str(error) or "no answer") from error
        finally:
            if self._client is None:
                client.close()
        self.openings += 1
        self._unanswered = 0
        self._alive.clear()

    async def read(self, unit: int, block: ReadBlock) -> tuple[int, ...]:
        """The registers of a block.

        Raises ReplyTimeout, Refused or DecodeError for this unit, LinkLost for the whole bus.
        Nothing is read any more after it was cancelled, until the bus is opened again.
        """
        client = self._client
        if client is None or not client.connected:
            raise LinkLost(self.port, "connection lost")
        if not self._is_numbered:
            await self._wait_for_quiet(unit)
        self._asked = unit
        try:
            answer = await self._exchange(client, unit, block)
            return self._checked(answer, unit, block)
        except Refused:
            raise
        except BaseException:
            # Cancellation too: the answer is still on its way.
            self._owed_until[unit] = self._quiet_end()
            raise

    def ready_at(self, unit: int) -> float:
        """Loop time from which ``read`` asks the unit without waiting first."""
        return 0.0 if self._is_numbered else self._owed_until.get(unit, 0.0)

    async def close(self) -> None:
        """Closes it."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    async def _exchange(self, client: Client, unit: int, block: ReadBlock) -> ModbusPDU:
        try:
            async with asyncio.timeout(None) as self._waiting:
                answer = await _ask(client, unit, block)
            _stop_if_cancelled()
        except asyncio.CancelledError:
            await self.close()
            raise
        except (TimeoutError, ConnectionException) as error:
            raise LinkLost(self.port, "connection lost") from error
        except (ModbusException, OSError) as error:
            await self._unanswered_read(unit)
            raise ReplyTimeout(detail=f"no answer from unit {unit}") from error
        finally:
            self._waiting = None
            self._traffic.is_awaited = False
        self._unanswered = 0
        self._alive.add(unit)
        if not answer.transaction_id:
            self._is_numbered = False
        return answer

    async def _unanswered_read(self, unit: int) -> None:
        self._unanswered += 1
        self._alive.discard(unit)
        if self._unanswered >= SILENT_READS and not self._alive:
            await self.open()

    async def _wait_for_quiet(self, unit: int) -> None:
        """Returns when no answer to an earlier question can come any more."""
        stray, self._traffic.stray = self._traffic.stray, b""
        if len(stray) >= self._overhead:
            sender = stray[self._unit_at]
            # What was owed has come; or the answer before it was the one that was owed.
            if self._owed_until.pop(sender, None) is None and sender == self._asked:
                self._owed_until[sender] = self._quiet_end()
        if unit in self._owed_until:
            await asyncio.sleep(self._owed_until[unit] - asyncio.get_running_loop().time())
            del self._owed_until[unit]

    def _checked(self, answer: ModbusPDU, unit: int, block: ReadBlock) -> tuple[int, ...]:
        """The registers, if this answers that question."""
        if answer.dev_id != unit:
            raise DecodeError(Reject.UNEXPECTED, detail=f"unit {answer.dev_id} answered for {unit}")
        function = answer.function_code & ~EXCEPTION_BIT
        if function != block.function:
            detail = f"function {function} answers {block.function}"
            raise DecodeError(Reject.UNEXPECTED, detail=detail)
        if answer.isError():
            raise Refused(answer.exception_code)
        if len(answer.registers) != block.count:
            detail = f"{len(answer.registers)} registers instead of {block.count}"
            raise DecodeError(Reject.TRUNCATED, _pdu(answer), detail)
        longest = 2 * self._overhead + 2 * block.count
        if self._traffic.awaited >= longest and not self._is_numbered:
            raise DecodeError(Reject.UNEXPECTED, detail="two answers at once")
        return tuple(answer.registers)

    def _quiet_end(self) -> float:
        return asyncio.get_running_loop().time() + self._quiet_s

    def _changed(self, is_connected: bool) -> None:
        """The connection is lost: whoever waits for an answer stops waiting."""
        if not is_connected and self._waiting is not None:
            self._waiting.reschedule(asyncio.get_running_loop().time())


async def _ask(client: Client, unit: int, block: ReadBlock) -> ModbusPDU:
    if block.function == READ_HOLDING:
        return await client.read_holding_registers(block.address, count=block.count, device_id=unit)
    if block.function == READ_INPUT:
        return await client.read_input_registers(block.address, count=block.count, device_id=unit)
    raise DecodeError(Reject.UNSUPPORTED, detail=f"function {block.function} does not read")


def _pdu(answer: ModbusPDU) -> bytes:
    """An answer with registers, as it came."""
    data = b"".join(word.to_bytes(2) for word in answer.registers)
    return bytes((answer.function_code, len(data) & 0xFF)) + data


def _stop_if_cancelled() -> None:
    """``asyncio.wait_for``, which pymodbus uses, forgets a cancellation that meets its result."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _explain_serial(port: str) -> LinkError:
    """Why a port does not open; pymodbus keeps that to itself."""
    if not os.path.exists(port):
        return PortMissing(port, "no such device", "is it plugged in?")
    if not os.access(port, os.R_OK | os.W_OK):
        return PortForbidden(port, "permission denied", "add the service's user to group dialout")
    return PortRefused(port, "cannot be opened", "does another program use it?")
