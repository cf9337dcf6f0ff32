"""ModbusBus against simulated instruments that answer late, wrongly or not at all."""

import asyncio
import os
import socket
from contextlib import asynccontextmanager, closing
from random import Random

import pytest

from config.models import ModbusRtuLink, ModbusTcpLink
from drivers.api import ReadBlock
from drivers.errors import DecodeError, DriverError, Refused, Reject, ReplyTimeout
from gateway.links.errors import LinkLost, PortMissing, PortRefused
from gateway.links.modbus import ModbusBus
from simulators.modbus_server import Fault, ModbusPty, ModbusServer, Unit, crc16

SOON_S = 10.0
TIMEOUT_S = 0.1
LATE_S = 0.14
"""Later than the timeout, earlier than the quiet behind it: 0.7 s and 0.5 s, five times faster."""

HOST = "127.0.0.1"
STATUS, DOSE = ReadBlock(3, 0, 1), ReadBlock(3, 10, 1)
TRUTH = {STATUS: (100,), DOSE: (777,)}


class Table:
    """Register 0 is 100, register 10 is 777, any other is its own address."""

    def read(self, at_s, function, address, count, field):
        cells = {0: 100, 10: 777}
        return [cells.get(address + n, address + n) for n in range(count)], {}


UNITS = {unit: Unit(Table(), None) for unit in (1, 2, 3)}


class Stage:
    """A simulated bus and the connection to it."""

    def __init__(self, server, bus):
        self.server = server
        self.bus = bus

    def spoil(self, fault, left=None, late_s=LATE_S):
        faults = self.server.faults
        faults.fault, faults.left, faults.late_s = fault, left, late_s

    async def read(self, block, unit=1):
        """The registers, or the error as a value."""
        async with asyncio.timeout(SOON_S):
            try:
                return await self.bus.read(unit, block)
            except DriverError as error:
                return error


def tcp_link(port, timeout_s=TIMEOUT_S, **more):
    return ModbusTcpLink(kind="modbus_tcp", host=HOST, port=port, timeout_s=timeout_s, **more)


def pty_link(path, timeout_s=TIMEOUT_S, **more):
    return ModbusRtuLink(kind="modbus_rtu", port=str(path), unit=1, timeout_s=timeout_s, **more)


@asynccontextmanager
async def stage(kind, tmp_path, **more):
    if kind == "pty":
        server = ModbusPty(UNITS, lambda: 0.0, tmp_path / "bus")
        await server.start()
        bus = ModbusBus.rtu(pty_link(server.path, **more))
    else:
        server = ModbusServer(UNITS, lambda: 0.0, rtu=kind == "rtu_tcp")
        await server.start()
        bus = ModbusBus.tcp(tcp_link(server.port, rtu_frames=kind == "rtu_tcp", **more))
    await bus.open()
    try:
        yield Stage(server, bus)
    finally:
        await bus.close()
        await server.stop()


KINDS = ["tcp", "rtu_tcp", "pty"]
RTU_KINDS = KINDS[1:]


@pytest.fixture(autouse=True)
def nothing_stays_open():
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.parametrize("kind", KINDS)
async def test_reads_both_kinds_of_registers(kind, tmp_path):
    async with stage(kind, tmp_path) as play:
        assert await play.read(ReadBlock(3, 20, 3)) == (20, 21, 22)
        assert await play.read(ReadBlock(4, 30, 2), unit=2) == (30, 31)
        assert play.bus.openings == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_a_late_answer_is_never_the_value_of_another_register(kind, tmp_path):
    async with stage(kind, tmp_path) as play:
        play.spoil(Fault.LATE, left=1)
        results = [await play.read(block) for block in (STATUS, DOSE) * 3]
    assert isinstance(results[0], ReplyTimeout)
    assert results[1:] == [(777,), (100,), (777,), (100,), (777,)]


@pytest.mark.parametrize("left", [1, None])
@pytest.mark.parametrize("late", [1.5, 3.0])
@pytest.mark.parametrize("kind", RTU_KINDS)
async def test_answers_up_to_four_timeouts_late_are_never_taken_for_others(
    kind, late, left, tmp_path
):
    async with stage(kind, tmp_path) as play:
        # Unit 2 keeps the connection from being opened again: the late answers do arrive.
        assert await play.read(STATUS, unit=2) == (100,)
        play.spoil(Fault.LATE, left=left, late_s=late * TIMEOUT_S)
        results = [await play.read(block) for block in (STATUS, DOSE) * 3]
    for block, result in zip((STATUS, DOSE) * 3, results, strict=True):
        assert isinstance(result, ReplyTimeout) or result == TRUTH[block]
    assert any(isinstance(result, tuple) for result in results) is (left is not None)


async def test_an_answer_that_comes_late_ends_the_quiet(tmp_path):
    async with stage("rtu_tcp", tmp_path) as play:
        loop = asyncio.get_running_loop()
        play.spoil(Fault.LATE, left=1)
        assert isinstance(await play.read(STATUS), ReplyTimeout)
        quiet_end = play.bus.ready_at(1)
        assert quiet_end > loop.time()
        async with asyncio.timeout(SOON_S):
            while not play.bus._traffic.stray:  # noqa: ASYNC110
                await asyncio.sleep(0)
        assert await play.read(DOSE) == (777,)
        assert loop.time() < quiet_end


async def test_a_late_answer_of_one_unit_says_nothing_about_another(tmp_path):
    async with stage("rtu_tcp", tmp_path) as play:
        play.spoil(Fault.LATE, left=1)
        assert isinstance(await play.read(STATUS, unit=1), ReplyTimeout)
        assert await play.read(DOSE, unit=2) == (777,)
        async with asyncio.timeout(SOON_S):
            while not play.bus._traffic.stray:  # noqa: ASYNC110
                await asyncio.sleep(0)
        assert await play.read(STATUS, unit=2) == (100,)
        assert [play.bus.ready_at(unit) for unit in (1, 2)] == [0.0, 0.0]


@pytest.mark.parametrize("is_glued", [True, False])
async def test_two_answers_to_one_question_are_out_of_step(is_glued):
    def answer(transport):
        late, true = rtu_frame(b"\x01\x03\x02\x00\x64"), rtu_frame(b"\x01\x03\x02\x03\x09")
        if is_glued:
            transport.write(late + true)
        else:
            transport.write(late)
            asyncio.get_running_loop().call_later(TIMEOUT_S / 10, transport.write, true)

    async with asyncio.timeout(SOON_S), scripted(answer, rtu_frames=True) as bus:
        if is_glued:
            with pytest.raises(DecodeError, match="two answers"):
                await bus.read(1, DOSE)
        else:
            await bus.read(1, DOSE)
            while not bus._traffic.stray:  # noqa: ASYNC110
                await asyncio.sleep(0)
            began = asyncio.get_running_loop().time()
            with pytest.raises(LinkLost):
                await bus.read(1, DOSE)
            assert asyncio.get_running_loop().time() - began > TIMEOUT_S


@pytest.mark.parametrize("kind", KINDS)
async def test_no_delay_makes_a_wrong_value(kind, tmp_path):
    random = Random(f"delays {kind}")
    async with stage(kind, tmp_path) as play:
        right = 0
        for _ in range(25):
            is_late = random.random() < 0.4
            late_s = random.uniform(0.5, 2.4) * TIMEOUT_S
            play.spoil(Fault.LATE if is_late else Fault.NONE, late_s=late_s)
            block = random.choice((STATUS, DOSE))
            result = await play.read(block)
            assert isinstance(result, ReplyTimeout) or result == TRUTH[block]
            right += result == TRUTH[block]
    assert right > 10


@pytest.mark.parametrize(
    ("fault", "reason"),
    [(Fault.SHORT, Reject.TRUNCATED), (Fault.WRONG_FUNCTION, Reject.UNEXPECTED)],
)
@pytest.mark.parametrize("kind", KINDS)
async def test_an_answer_to_another_question_is_rejected(kind, fault, reason, tmp_path):
    async with stage(kind, tmp_path) as play:
        play.spoil(fault, left=1)
        error = await play.read(ReadBlock(3, 20, 2))
        assert isinstance(error, DecodeError)
        assert error.reason is reason
        assert await play.read(DOSE) == (777,)
        assert play.bus.openings == 1


@pytest.mark.parametrize("fault", [Fault.WRONG_UNIT, Fault.CORRUPT, Fault.SILENT])
@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_no_answer_is_silence(kind, fault, tmp_path):
    async with stage(kind, tmp_path) as play:
        play.spoil(fault, left=1)
        assert isinstance(await play.read(STATUS), ReplyTimeout)
        assert await play.read(DOSE) == (777,)
        assert play.bus.openings == 1


@pytest.mark.parametrize("code", range(1, 12))
async def test_exception_codes_come_through(code, tmp_path):
    async with stage("tcp", tmp_path) as play:
        play.spoil(Fault.EXCEPTION)
        play.server.faults.code = code
        error = await play.read(DOSE)
        assert isinstance(error, Refused)
        assert error.code == code


async def test_a_function_that_does_not_read_is_not_sent(tmp_path):
    async with stage("tcp", tmp_path) as play:
        error = await play.read(ReadBlock(6, 0, 1))
    assert isinstance(error, DecodeError)
    assert error.reason is Reject.UNSUPPORTED


async def test_an_adapter_that_repeats_what_is_sent(tmp_path):
    async with stage("pty", tmp_path, echo=True) as play:
        play.spoil(Fault.ECHO)
        assert [await play.read(block) for block in (STATUS, DOSE)] == [(100,), (777,)]
        # Without its echo a request is lost, and only that one.
        play.spoil(Fault.SILENT, left=1)
        assert isinstance(await play.read(STATUS), ReplyTimeout)
        play.spoil(Fault.ECHO)
        results = [await play.read(DOSE) for _ in range(3)]
    assert all(isinstance(result, ReplyTimeout) or result == (777,) for result in results)
    assert results[-1] == (777,)


@pytest.mark.parametrize("kind", KINDS)
async def test_an_echo_that_nobody_told_of_is_no_value(kind, tmp_path):
    async with stage(kind, tmp_path) as play:
        play.spoil(Fault.ECHO, left=1)
        result = await play.read(STATUS)
        assert isinstance(result, DriverError) or result == (100,)
        assert await play.read(DOSE) == (777,)


@pytest.mark.parametrize("kind", KINDS)
async def test_two_silences_in_a_row_open_it_again(kind, tmp_path):
    async with stage(kind, tmp_path) as play:
        assert await play.read(STATUS) == (100,)
        play.spoil(Fault.SILENT, left=2)
        assert isinstance(await play.read(STATUS), ReplyTimeout)
        assert play.bus.openings == 1
        assert isinstance(await play.read(STATUS), ReplyTimeout)
        assert play.bus.openings == 2
        assert await play.read(DOSE) == (777,)


@pytest.mark.parametrize("kind", KINDS)
async def test_dead_units_do_not_close_the_bus_of_one_that_answers(kind, tmp_path):
    async with stage(kind, tmp_path) as play:
        assert await play.read(STATUS) == (100,)
        for dead in range(10, 17):
            assert isinstance(await play.read(STATUS, unit=dead), ReplyTimeout)
        assert await play.read(DOSE) == (777,)
        assert play.bus.openings == 1


async def test_a_dead_unit_costs_its_timeout_and_no_quiet(tmp_path):
    async with stage("rtu_tcp", tmp_path) as play:
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert isinstance(await play.read(STATUS, unit=9), ReplyTimeout)
        assert await play.read(DOSE) == (777,)
        assert loop.time() - began < 2 * TIMEOUT_S


@pytest.mark.parametrize("kind", KINDS)
async def test_a_cancelled_read_closes_and_does_not_poison(kind, tmp_path):
    async with stage(kind, tmp_path) as play:
        play.spoil(Fault.LATE, left=1, late_s=TIMEOUT_S / 2)
        reading = asyncio.create_task(play.bus.read(1, STATUS))
        for _ in range(5):
            await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        with pytest.raises(LinkLost):
            await play.bus.read(1, DOSE)
        await play.bus.open()
        results = [await play.read(block) for block in (DOSE, STATUS, DOSE)]
        assert results == [(777,), (100,), (777,)]


async def test_a_cancellation_that_meets_its_answer_is_not_forgotten(tmp_path):
    async with stage("tcp", tmp_path) as play:
        reading = asyncio.create_task(play.bus.read(1, STATUS))
        told = play.bus._traffic
        async with asyncio.timeout(SOON_S):
            while not told.awaited:  # noqa: ASYNC110
                await asyncio.sleep(0)
        assert not reading.done()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading


@pytest.mark.parametrize("kind", KINDS)
async def test_a_connection_lost_during_a_request_is_noticed_at_once(kind, tmp_path):
    async with stage(kind, tmp_path, timeout_s=60.0) as play:
        play.spoil(Fault.SILENT)
        reading = asyncio.create_task(play.bus.read(1, STATUS))
        for _ in range(5):
            await asyncio.sleep(0)
        await play.server.stop()
        async with asyncio.timeout(SOON_S):
            with pytest.raises(LinkLost):
                await reading
            with pytest.raises(LinkLost):
                await play.bus.read(1, STATUS)


async def test_connection_refused():
    with closing(socket.socket()) as taken:
        taken.bind((HOST, 0))
        bus = ModbusBus.tcp(tcp_link(taken.getsockname()[1]))
        with pytest.raises(PortRefused):
            await bus.open()
        with pytest.raises(LinkLost):
            await bus.read(1, STATUS)
    assert bus.openings == 0


async def test_a_host_that_never_accepts():
    with closing(socket.socket()) as deaf, closing(socket.socket()) as first:
        deaf.bind((HOST, 0))
        deaf.listen(0)
        first.connect(deaf.getsockname())
        # The queue of connections is full: further ones get no answer.
        bus = ModbusBus.tcp(tcp_link(deaf.getsockname()[1]))
        async with asyncio.timeout(SOON_S):
            with pytest.raises(PortRefused):
                await bus.open()


async def test_a_host_that_accepts_and_never_answers():
    with closing(socket.socket()) as deaf:
        deaf.bind((HOST, 0))
        deaf.listen(5)
        bus = ModbusBus.tcp(tcp_link(deaf.getsockname()[1]))
        async with asyncio.timeout(SOON_S):
            await bus.open()
            for _ in range(2):
                with pytest.raises(ReplyTimeout):
                    await bus.read(1, STATUS)
        assert bus.openings == 2
        await bus.close()


async def test_a_cancelled_opening_leaves_nothing():
    with closing(socket.socket()) as deaf, closing(socket.socket()) as first:
        deaf.bind((HOST, 0))
        deaf.listen(0)
        first.connect(deaf.getsockname())
        bus = ModbusBus.tcp(tcp_link(deaf.getsockname()[1]))
        opening = asyncio.create_task(bus.open())
        for _ in range(5):
            await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening


async def test_a_serial_port_that_does_not_open_says_why(tmp_path):
    bus = ModbusBus.rtu(pty_link(tmp_path / "none"))
    with pytest.raises(PortMissing):
        await bus.open()
    async with stage("pty", tmp_path) as play:
        second = ModbusBus.rtu(pty_link(play.server.path))
        with pytest.raises(PortRefused, match="another program"):
            await second.open()
        assert await play.read(DOSE) == (777,)


class Script(asyncio.Protocol):
    """Answers each request with the next step; hangs up after the last."""

    def __init__(self, steps):
        self._steps = iter(steps)

    def connection_made(self, transport):
        self._transport = transport

    def data_received(self, data):
        next(self._steps, asyncio.Transport.abort)(self._transport)


@asynccontextmanager
async def scripted(*steps, **more):
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Script(steps), HOST, 0)
    bus = ModbusBus.tcp(tcp_link(server.sockets[0].getsockname()[1], **more))
    async with server:
        await bus.open()
        yield bus
        await bus.close()


def sends(data):
    return lambda transport: transport.write(data)


def rtu_frame(body):
    return body + crc16(body).to_bytes(2, "little")


MUTATED = [
    rtu_frame(b"\x01\x03\x02\x03\x09")[:at]
    + bytes((rtu_frame(b"\x01\x03\x02\x03\x09")[at] ^ bit,))
    + rtu_frame(b"\x01\x03\x02\x03\x09")[at + 1 :]
    for at in range(7)
    for bit in (0x01, 0x80)
]


@pytest.mark.parametrize("spoilt", [*MUTATED, *(MUTATED[0][:n] for n in range(7))])
async def test_an_answer_with_a_flipped_bit_or_a_missing_end_is_no_value(spoilt):
    good = rtu_frame(b"\x01\x03\x02\x03\x09")
    async with asyncio.timeout(SOON_S):
        async with scripted(sends(spoilt), sends(good), rtu_frames=True) as bus:
            with pytest.raises(DriverError):
                await bus.read(1, DOSE)
            assert await bus.read(1, DOSE) == (777,)


def tcp_frames():
    """Each answer to the first question (transaction 1) that differs in one header or PDU byte."""
    good = bytes.fromhex("000100000005010302 0309")
    for at in range(9):
        yield good[:at] + bytes((good[at] ^ 0x40,)) + good[at + 1 :]
    yield from (good[:n] for n in range(len(good)))


@pytest.mark.parametrize("spoilt", list(tcp_frames()))
async def test_a_header_with_a_flipped_bit_is_no_value(spoilt):
    async with asyncio.timeout(SOON_S), scripted(sends(spoilt)) as bus:
        with pytest.raises((DriverError, LinkLost)):
            await bus.read(1, DOSE)
