"""Simulated Modbus instruments read by clients that are not ours: pymodbus as it is, and mbpoll."""

import asyncio
import re
import shutil
from contextlib import asynccontextmanager
from random import Random

import pytest
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.framer import FramerType

from config.link_actions import Corruption, Echo, Loss, Split
from simulators.aspect import create
from simulators.link_faults import Wire
from simulators.modbus_server import Fault, ModbusPty, ModbusServer, Unit

SOON_S = 5.0
PATIENCE_S = 0.2
MONITOR, COUNT = 100, 21
COUNTS_AT = 4
"""Of the gamma counts, low word first, within the monitor block."""
MBPOLL = pytest.mark.skipif(
    shutil.which("mbpoll") is None,
    reason="mbpoll is missing: install the Debian package mbpoll",
)
FRAMINGS = pytest.mark.parametrize("is_rtu", [False, True], ids=["mbap", "rtu"])


class Lane:
    """A portal's surroundings in which its counts are its own number: 1000 times itself."""

    def __init__(self, number):
        self.number = number

    def gamma_counts(self, from_s, to_s, part=0):
        return 1000 * self.number

    def neutron_counts(self, from_s, to_s, part=0):
        return self.number

    def on_since(self, at_s):
        return 0.0

    def occupied(self, at_s):
        return False

    def speed_m_s(self, at_s):
        return None


def portals():
    """Three Aspect portals behind units 1 to 3, ready."""
    made = {n: create({"warm": True, "signature": n}, Random(n)) for n in (1, 2, 3)}
    return {n: Unit(each, Lane(n)) for n, each in made.items()}


def registers_of(units, number):
    """What the instrument itself says now."""
    unit = units[number]
    registers, _ = unit.instrument.read(2.0, 3, MONITOR, COUNT, unit.field)
    return list(registers)


def counts(registers):
    return registers[COUNTS_AT] + 0x10000 * registers[COUNTS_AT + 1]


@asynccontextmanager
async def serving(is_rtu, wire=None):
    units = portals()
    server = ModbusServer(units, lambda: 2.0, rtu=is_rtu, wire=wire)
    await server.start()
    try:
        yield server, units
    finally:
        await server.stop()


@asynccontextmanager
async def client_of(server, is_rtu, retries=0):
    client = AsyncModbusTcpClient(
        "127.0.0.1",
        port=server.port,
        framer=FramerType.RTU if is_rtu else FramerType.SOCKET,
        timeout=PATIENCE_S,
        retries=retries,
        reconnect_delay=0,
    )
    assert await client.connect()
    try:
        yield client
    finally:
        client.close()


async def read(client, unit=2):
    """Registers, an exception code, or None for nothing that it would believe."""
    try:
        answer = await client.read_holding_registers(MONITOR, count=COUNT, device_id=unit)
    except ModbusException:
        return None
    return answer.exception_code if answer.isError() else answer.registers


@FRAMINGS
async def test_pymodbus_reads_what_the_instrument_says(is_rtu):
    async with serving(is_rtu) as (server, units), client_of(server, is_rtu) as client:
        for number in units:
            found = await read(client, number)
            assert found == registers_of(units, number)
            assert counts(found) == 1000 * number


async def test_pymodbus_reads_a_bus_on_a_pseudo_terminal(tmp_path):
    units = portals()
    bus = ModbusPty(units, lambda: 2.0, tmp_path / "bus")
    await bus.start()
    client = AsyncModbusSerialClient(str(bus.path), timeout=SOON_S, retries=0)
    try:
        assert await client.connect()
        for number in units:
            assert await read(client, number) == registers_of(units, number)
    finally:
        client.close()
        await bus.stop()


SEEN = {
    Fault.SILENT: "nothing",
    Fault.CORRUPT: "nothing",
    Fault.EXCEPTION: "code",
    Fault.SHORT: "other",
    Fault.WRONG_FUNCTION: "other",
    Fault.WRONG_UNIT: "nothing",
    Fault.LATE: "nothing",
    Fault.PIPELINED: "nothing",
}


@FRAMINGS
@pytest.mark.parametrize("fault", SEEN)
async def test_pymodbus_meets_each_fault_of_one_unit(is_rtu, fault):
    async with serving(is_rtu) as (server, units):
        units[2].faults.fault, units[2].faults.code = fault, 6
        units[2].faults.late_s = 2 * PATIENCE_S
        async with client_of(server, is_rtu) as client:
            found = await read(client)
        async with client_of(server, is_rtu) as client:
            assert await read(client, 3) == registers_of(units, 3)  # the others answer
        truth = registers_of(units, 2)
        match SEEN[fault]:
            case "nothing":
                # pymodbus lets some of these pass; what counts is that it has no other numbers.
                assert found in (None, truth)
            case "code":
                assert found == 6
            case "other":
                assert found is None or found != truth or fault is Fault.WRONG_FUNCTION
        units[2].faults.fault = Fault.NONE
        async with client_of(server, is_rtu) as client:
            assert await read(client) == truth


async def test_the_slip_of_rtu_is_played_as_it_was_measured():
    """One late answer, and a client without defences is one answer behind for ever."""
    async with serving(True) as (server, units), client_of(server, True) as client:
        faults = units[1].faults
        faults.fault, faults.left, faults.late_s = Fault.LATE, 1, 1.4 * PATIENCE_S
        units[2].instrument, units[2].field = units[1].instrument, units[1].field
        seen = []
        for address in (MONITOR + COUNTS_AT, 0, MONITOR + COUNTS_AT, 0, MONITOR + COUNTS_AT):
            try:
                answer = await client.read_holding_registers(address, count=1, device_id=1)
                seen.append(answer.registers[0])
            except ModbusException:
                seen.append(None)
        assert seen[0] is None
        # The counts are 1000 and the signature is 1: each is told in the other's place.
        assert seen[1:] == [1000, 1, 1000, 1]


@FRAMINGS
@pytest.mark.parametrize(
    "fault",
    [
        Split(at_s=0, do="split", detector="p", size=1, gap_s=0.001),
        Echo(at_s=0, do="echo", detector="p"),
        Loss(at_s=0, do="loss", detector="p", share=0.2),
        Corruption(at_s=0, do="corruption", detector="p", share=0.2),
    ],
    ids=lambda fault: fault.do,
)
async def test_a_faulty_line_is_the_bus_s_and_can_be_mended(is_rtu, fault):
    wire = Wire(Random(5))
    async with serving(is_rtu, wire) as (server, units):
        wire.begin(fault)
        async with client_of(server, is_rtu) as client:
            found = await read(client)
        if fault.do == "split":
            assert found == registers_of(units, 2)
        if is_rtu and fault.do in ("loss", "corruption"):
            assert found is None
        wire.mend()
        async with client_of(server, is_rtu) as client:
            assert await read(client) == registers_of(units, 2)


async def mbpoll(*arguments):
    """The exit code and the values by address that mbpoll prints."""
    process = await asyncio.create_subprocess_exec(
        "mbpoll", "-0", "-1", "-q", "-t", "4", *arguments, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(SOON_S):
        output, _ = await process.communicate()
    found = {int(at): int(value) for at, value in re.findall(rb"\[(\d+)\]:\s+(\d+)", output)}
    return process.returncode, found


MONITOR_BLOCK = ("-a", "2", "-r", str(MONITOR), "-c", str(COUNT))


@MBPOLL
async def test_mbpoll_reads_the_same_values_over_tcp():
    async with serving(False) as (server, units):
        code, found = await mbpoll("-m", "tcp", "-p", str(server.port), *MONITOR_BLOCK, "127.0.0.1")
        truth = registers_of(units, 2)
    assert code == 0
    assert [found[MONITOR + n] for n in range(COUNT)] == truth


@MBPOLL
async def test_mbpoll_reads_the_same_values_on_a_pseudo_terminal(tmp_path):
    units = portals()
    bus = ModbusPty(units, lambda: 2.0, tmp_path / "bus")
    await bus.start()
    try:
        line = ("-m", "rtu", "-b", "9600", "-P", "none")
        code, found = await mbpoll(*line, *MONITOR_BLOCK, str(bus.path))
    finally:
        await bus.stop()
    assert code == 0
    assert [found[MONITOR + n] for n in range(COUNT)] == registers_of(units, 2)


@MBPOLL
@pytest.mark.parametrize("fault", [Fault.SILENT, Fault.EXCEPTION, Fault.CORRUPT, Fault.SHORT])
async def test_mbpoll_sees_that_an_answer_is_none(fault):
    async with serving(False) as (server, units):
        units[2].faults.fault = fault
        line = ("-m", "tcp", "-o", "0.2", "-p", str(server.port))
        code, found = await mbpoll(*line, *MONITOR_BLOCK, "127.0.0.1")
    assert (code == 0, found) == (False, {})
