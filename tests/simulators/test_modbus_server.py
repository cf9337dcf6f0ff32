"""The simulated Modbus bus, asked with raw bytes, by pymodbus and by mbpoll."""

import asyncio
import os
import shutil
import struct
from contextlib import asynccontextmanager

import pytest
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.exceptions import ModbusIOException
from pymodbus.framer import FramerType

from simulators.loopback import NotLoopback
from simulators.modbus_server import Fault, ModbusPty, ModbusServer, Unit, crc16

SOON_S = 5.0
SILENCE_S = 0.05
ILLEGAL_ADDRESS = 2
GONE = (asyncio.IncompleteReadError, ConnectionError)


class Table:
    """Register n of unit u is 1000 u + n, up to 99."""

    def __init__(self, unit):
        self.base = 1000 * unit

    def read(self, at_s, function, address, count, field):
        if address + count > 100:
            return ILLEGAL_ADDRESS
        return [self.base + address + n for n in range(count)], {"at": address}


UNITS = {1: Unit(Table(1), None), 2: Unit(Table(2), None)}


@asynccontextmanager
async def serving(rtu=False, **more):
    server = ModbusServer(UNITS, lambda: 0.0, rtu=rtu, **more)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def talking(server):
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


@asynccontextmanager
async def asking(server, rtu):
    client = AsyncModbusTcpClient(
        "127.0.0.1",
        port=server.port,
        framer=FramerType.RTU if rtu else FramerType.SOCKET,
        timeout=SILENCE_S,
        retries=0,
        reconnect_delay=0,
    )
    assert await client.connect()
    try:
        yield client
    finally:
        client.close()


def mbap(transaction, unit, pdu, protocol=0):
    return struct.pack(">HHHB", transaction, protocol, len(pdu) + 1, unit) + pdu


def rtu(unit, pdu):
    body = bytes((unit,)) + pdu
    return body + crc16(body).to_bytes(2, "little")


def question(address, count=1, function=3):
    return struct.pack(">BHH", function, address, count)


def says(*registers, function=3):
    return bytes((function, 2 * len(registers))) + struct.pack(f">{len(registers)}H", *registers)


async def hear(reader, count):
    async with asyncio.timeout(SOON_S):
        return await reader.readexactly(count)


def test_crc_of_the_specification():
    # Modbus over Serial Line V1.02, 6.2.2: address 2, function 7 gives 41 12 on the wire.
    assert crc16(b"\x02\x07").to_bytes(2, "little") == b"\x41\x12"


@pytest.mark.parametrize("is_rtu", [False, True])
async def test_pymodbus_reads_each_unit(is_rtu):
    async with serving(is_rtu) as server, asking(server, is_rtu) as client:
        first = await client.read_holding_registers(10, count=3, device_id=1)
        second = await client.read_input_registers(0, count=2, device_id=2)
        refused = await client.read_holding_registers(99, count=2, device_id=1)
    assert first.registers == [1010, 1011, 1012]
    assert (second.registers, second.function_code) == ([2000, 2001], 4)
    assert refused.exception_code == ILLEGAL_ADDRESS


@pytest.mark.parametrize("is_rtu", [False, True])
async def test_an_unknown_unit_is_silent_and_uses_up_no_fault(is_rtu):
    async with serving(is_rtu) as server, asking(server, is_rtu) as client:
        server.faults.fault, server.faults.left = Fault.EXCEPTION, 1
        with pytest.raises(ModbusIOException):
            await client.read_holding_registers(0, count=1, device_id=3)
        assert server.faults.left == 1
        assert (await client.read_holding_registers(0, count=1, device_id=1)).isError()
        assert (await client.read_holding_registers(0, count=1, device_id=1)).registers == [1000]


async def test_every_request_of_one_segment_is_answered():
    async with serving() as server, talking(server) as (reader, writer):
        writer.write(b"".join(mbap(n, 1 + n % 2, question(n)) for n in range(5)))
        expected = b"".join(mbap(n, 1 + n % 2, says(1000 * (1 + n % 2) + n)) for n in range(5))
        assert await hear(reader, len(expected)) == expected


@pytest.mark.parametrize("is_rtu", [False, True])
async def test_a_request_may_be_split_at_any_byte(is_rtu):
    async with serving(is_rtu) as server, talking(server) as (reader, writer):
        ask = rtu(1, question(7)) if is_rtu else mbap(9, 1, question(7))
        answer = rtu(1, says(1007)) if is_rtu else mbap(9, 1, says(1007))
        for cut in range(1, len(ask)):
            writer.write(ask[:cut])
            # An unrelated answer proves that the first piece has been taken in.
            async with talking(server) as (other, second):
                second.write(ask)
                assert await hear(other, len(answer)) == answer
            writer.write(ask[cut:])
            assert await hear(reader, len(answer)) == answer


@pytest.mark.parametrize(
    "noise",
    [
        rtu(1, b"\x10\x00\x01\x00\x02\x04\x00\x01\x00\x02"),  # write multiple registers
        rtu(1, b"\x11"),  # report server id
        rtu(1, b"\x2b\x0e\x01\x00"),  # read device identification
        rtu(1, question(7))[:-1] + b"\x00",  # wrong CRC
        rtu(1, question(7))[:5],  # torn off
        b"\x00",
        bytes(range(1, 20)) * 9,
    ],
)
async def test_rtu_meets_the_rest_with_silence_and_finds_the_next_request(noise):
    async with serving(rtu=True) as server, talking(server) as (reader, writer):
        writer.write(noise + rtu(2, question(7)))
        answer = rtu(2, says(2007))
        assert await hear(reader, len(answer)) == answer


async def test_a_function_that_is_not_known_is_refused():
    async with serving() as server, talking(server) as (reader, writer):
        writer.write(mbap(1, 1, b"\x11"))
        assert await hear(reader, 9) == mbap(1, 1, b"\x91\x01")
    async with serving(rtu=True) as server, talking(server) as (reader, writer):
        writer.write(rtu(1, question(7, function=6)))
        assert await hear(reader, 5) == rtu(1, b"\x86\x01")


async def test_another_protocol_is_passed_over_and_an_impossible_length_ends_it():
    async with serving() as server, talking(server) as (reader, writer):
        writer.write(mbap(1, 1, question(1), protocol=7) + mbap(2, 1, question(2)))
        assert await hear(reader, 11) == mbap(2, 1, says(1002))
        writer.write(b"\x00\x01\x00\x00\x00\x00\x01")
        async with asyncio.timeout(SOON_S):
            with pytest.raises(GONE):
                await reader.readexactly(1)


FRAMES = {
    Fault.SHORT: says(1010),
    Fault.EXCEPTION: b"\x83\x04",
    Fault.WRONG_FUNCTION: says(1010, 1011, function=4),
}


@pytest.mark.parametrize("fault", FRAMES)
@pytest.mark.parametrize("is_rtu", [False, True])
async def test_faults_of_the_pdu(fault, is_rtu):
    async with serving(is_rtu) as server, talking(server) as (reader, writer):
        server.faults.fault = fault
        writer.write(rtu(1, question(10, 2)) if is_rtu else mbap(5, 1, question(10, 2)))
        answer = rtu(1, FRAMES[fault]) if is_rtu else mbap(5, 1, FRAMES[fault])
        assert await hear(reader, len(answer)) == answer


async def test_faults_of_the_frame():
    whole = rtu(1, says(1010))
    async with serving(rtu=True) as server, talking(server) as (reader, writer):
        for fault, answer in (
            (Fault.WRONG_UNIT, rtu(2, says(1010))),
            (Fault.CORRUPT, whole[:-1] + bytes((whole[-1] ^ 1,))),
            (Fault.ECHO, rtu(1, question(10)) + whole),
            (Fault.NONE, whole),
        ):
            server.faults.fault = fault
            writer.write(rtu(1, question(10)))
            assert await hear(reader, len(answer)) == answer
    async with serving() as server, talking(server) as (reader, writer):
        server.faults.fault = Fault.CORRUPT
        writer.write(mbap(5, 1, question(10)))
        assert await hear(reader, 11) == mbap(5 ^ 0x8000, 1, says(1010))


@pytest.mark.parametrize("fault", [Fault.SILENT, Fault.LATE])
async def test_silent_and_late_answers_do_not_hold_up_the_next(fault):
    async with serving() as server, talking(server) as (reader, writer):
        server.faults.fault, server.faults.left, server.faults.late_s = fault, 1, SILENCE_S
        writer.write(mbap(1, 1, question(1)) + mbap(2, 1, question(2)))
        assert await hear(reader, 11) == mbap(2, 1, says(1002))
        if fault is Fault.LATE:
            assert await hear(reader, 11) == mbap(1, 1, says(1001))


async def test_the_witness_hears_only_of_answers_that_arrive_whole():
    for fault in Fault:
        seen = []
        async with serving(witness=seen.append) as server, talking(server) as (reader, writer):
            server.faults.fault, server.faults.left, server.faults.late_s = fault, 1, 0.0
            writer.write(mbap(1, 1, question(1, 2)))
            if fault is Fault.ECHO:
                await hear(reader, 12)  # the question
            if fault not in (Fault.SILENT, Fault.PIPELINED):
                await hear(reader, 9)
            writer.write(mbap(2, 1, question(2)))
            await hear(reader, 9)
        told = [emission.says["at"] for emission in seen]
        faithful = fault in (Fault.NONE, Fault.LATE, Fault.ECHO, Fault.PIPELINED)
        assert told == ([1, 2] if faithful else [2]), fault


async def test_stopped_it_is_gone_and_comes_back_on_the_same_port():
    async with serving() as server:
        port = server.port
        for _ in range(2):
            async with talking(server) as (reader, writer):
                server.faults.fault, server.faults.left, server.faults.late_s = Fault.LATE, 1, 60.0
                writer.write(mbap(1, 1, question(1)) + mbap(2, 1, question(2)))
                assert await hear(reader, 11) == mbap(2, 1, says(1002))
                await server.stop()
                async with asyncio.timeout(SOON_S):
                    with pytest.raises(GONE):
                        await reader.readexactly(1)
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)
            await server.start()
            assert server.port == port
        await server.stop()
        await server.stop()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert not [t for t in asyncio.get_running_loop()._scheduled if not t.cancelled()]


def test_it_listens_on_this_machine_only():
    with pytest.raises(NotLoopback):
        ModbusServer(UNITS, lambda: 0.0, host="0.0.0.0")


async def test_a_pty_is_an_rtu_bus_that_can_be_pulled_out(tmp_path):
    before = os.listdir("/proc/self/fd")
    bus = ModbusPty(UNITS, lambda: 0.0, tmp_path / "bus")
    for _ in range(2):
        await bus.start()
        client = AsyncModbusSerialClient(str(bus.path), timeout=SOON_S, retries=0)
        assert await client.connect()
        answer = await client.read_holding_registers(5, count=2, device_id=2)
        assert answer.registers == [2005, 2006]
        client.close()
        await bus.stop()
        assert not bus.path.is_symlink()
    await bus.stop()
    assert len(os.listdir("/proc/self/fd")) == len(before)


@pytest.mark.skipif(shutil.which("mbpoll") is None, reason="the Debian package mbpoll is missing")
async def test_mbpoll_reads_it():
    async with serving() as server:
        command = ["-m", "tcp", "-0", "-1", "-q", "-a", "2", "-r", "5", "-c", "2", "-t", "4"]
        process = await asyncio.create_subprocess_exec(
            "mbpoll",
            *command,
            "-p",
            str(server.port),
            "127.0.0.1",
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(SOON_S):
            output, _ = await process.communicate()
    assert process.returncode == 0
    assert b"2005" in output
    assert b"2006" in output
