"""A bus session with several units on a simulated bus."""

import asyncio
from contextlib import asynccontextmanager
from random import Random

import pytest

from config.models import ModbusTcpLink
from drivers.api import Channel, Identity, ReadBlock, Reading, Sample
from drivers.errors import DecodeError, Refused, Reject, ReplyTimeout
from gateway.backoff import BackOff, BackOffLimits
from gateway.bus_session import BusSession, BusUnit
from gateway.clock import Ticker, system_now
from gateway.links.modbus import ModbusBus
from gateway.values import LinkState
from simulators.modbus_server import Fault, ModbusServer, Unit

SOON_S = 10.0
TIMEOUT_S = 0.1
POLL_S = 0.02
IDENTITY, VALUE = ReadBlock(3, 0, 1), ReadBlock(3, 10, 1)
QUICK = BackOffLimits(first_s=0.02, cap_s=0.05)
SLOW = BackOffLimits(first_s=0.3, cap_s=30.0, jitter=0.0)


class Table:
    """Register 0 is the serial number, 10 the dose rate; a dead one is asked in vain."""

    def __init__(self, serial):
        self.serial = serial
        self.is_dead = False

    def read(self, at_s, function, address, count, field):
        return [self.serial if address == 0 else 7], {}


class Driver:
    """Reads the serial number once and the dose rate each time."""

    poll_s = POLL_S

    def __init__(self):
        self.defect = None

    def identify(self):
        (serial,) = yield IDENTITY
        return Identity(serial=str(serial))

    def poll(self):
        if self.defect is not None:
            raise self.defect
        (value,) = yield VALUE
        return (Sample((Reading(Channel.DOSE_RATE, value, "nSv/h"),)),)


class Hub:
    """Keeps all it is told, in order, and wakes who waits for something."""

    def __init__(self):
        self.told = []
        self._more = asyncio.Event()

    def deliver(self, detector, output, arrived):
        self.told.append((detector, output))
        self._more.set()

    def report(self, detector, state, reason):
        self.told.append((detector, state))
        self._more.set()

    def of(self, detector):
        return [what for who, what in self.told if who == detector]

    def samples(self, detector):
        return [what for what in self.of(detector) if isinstance(what, Sample) and what.readings]

    def identities(self, detector):
        return [
            what.identity.serial
            for what in self.of(detector)
            if isinstance(what, Sample) and what.identity
        ]

    async def until(self, is_so):
        async with asyncio.timeout(SOON_S):
            while not is_so():
                self._more.clear()
                await self._more.wait()


class Play:
    """Units a, b, c on one bus, polled by a session."""

    def __init__(self, names, answering, backoff):
        self.tables = {name: Table(100 + n) for n, name in enumerate(names, 1)}
        served = {
            n: Unit(self.tables[name], None) for n, name in enumerate(names, 1) if name in answering
        }
        self.units_served = served
        self.server = ModbusServer(served, lambda: 0.0, rtu=True)
        self.drivers = {name: Driver() for name in names}
        self.hub = Hub()
        self._names = names
        self._backoff = backoff

    async def start(self):
        await self.server.start()
        link = ModbusTcpLink(
            kind="modbus_tcp",
            host="127.0.0.1",
            port=self.server.port,
            timeout_s=TIMEOUT_S,
            rtu_frames=True,
        )
        self.bus = ModbusBus.tcp(link)
        random = Random(1)
        units = [
            BusUnit(name, self.drivers[name], n, BackOff(self._backoff, random))
            for n, name in enumerate(self._names, 1)
        ]
        self.session = BusSession(
            self.bus, units, self.hub, system_now, BackOff(QUICK, random), Ticker(0.001), 0.001
        )
        self.task = asyncio.create_task(self.session.run(), name=self.session.name)

    async def stop(self):
        self.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self.task
        await self.server.stop()


@asynccontextmanager
async def playing(names="ab", answering=None, backoff=QUICK):
    play = Play(names, names if answering is None else answering, backoff)
    await play.start()
    try:
        yield play
    finally:
        await play.stop()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_each_unit_is_identified_and_then_read():
    async with playing("abc") as play:
        await play.hub.until(lambda: all(len(play.hub.samples(name)) > 3 for name in "abc"))
        for n, name in enumerate("abc", 1):
            first = play.hub.of(name)
            assert first[0] is LinkState.OPENING
            assert first[1].identity == Identity(serial=str(100 + n))
            assert first[2] is LinkState.READING
            assert first.count(LinkState.READING) == 1
            assert play.hub.samples(name)[0].readings[0].value == 7
    assert play.session.name == play.bus.port


async def test_alone_it_bears_its_detectors_name():
    async with playing("a") as play:
        assert play.session.name == "a"
        await play.hub.until(lambda: play.hub.samples("a"))


async def test_a_dead_unit_waits_while_the_others_are_read():
    async with playing("abcd", answering="acd", backoff=SLOW) as play:
        hub = play.hub
        await hub.until(lambda: hub.of("b").count(LinkState.WAITING) == 3)
        assert LinkState.READING not in hub.of("b")
        assert sum(isinstance(what, ReplyTimeout) for what in hub.of("b")) == 3
        for name in "acd":
            assert hub.of(name).count(LinkState.READING) == 1
            assert LinkState.WAITING not in hub.of(name)
            # Three tries of b took 0.3 s of the bus, its waits between them 0.9 s and more.
            assert len(hub.samples(name)) > 10
        assert play.bus.openings == 1


async def test_what_a_dead_unit_owes_does_not_hold_up_the_others():
    async with playing("ab", answering="a", backoff=QUICK) as play:
        loop = asyncio.get_running_loop()
        longest, last = 0.0, loop.time()
        await play.hub.until(lambda: play.hub.samples("a"))
        last = loop.time()
        for wanted in range(2, 40):
            await play.hub.until(lambda wanted=wanted: len(play.hub.samples("a")) >= wanted)
            longest, last = max(longest, loop.time() - last), loop.time()
        assert LinkState.WAITING in play.hub.of("b")
    assert longest < 3 * TIMEOUT_S


async def test_a_unit_that_comes_back_is_identified_again_by_itself():
    async with playing("ab", answering="a") as play:
        hub = play.hub
        await hub.until(lambda: LinkState.WAITING in hub.of("b") and hub.samples("a"))
        play.units_served[2] = Unit(play.tables["b"], None)
        await hub.until(lambda: hub.samples("b"))
        assert hub.of("b")[-1] is not LinkState.WAITING
        del play.units_served[2]
        silences = hub.of("b").count(LinkState.WAITING)
        await hub.until(lambda: hub.of("b").count(LinkState.WAITING) > silences)
        play.units_served[2] = Unit(Table(999), None)
        read = len(hub.samples("b"))
        await hub.until(lambda: len(hub.samples("b")) > read)
        assert hub.identities("b") == ["102", "999"]
        assert hub.identities("a") == ["101"]


async def test_after_reopening_everybody_is_identified_again():
    async with playing("ab") as play:
        hub = play.hub
        await hub.until(lambda: hub.samples("a") and hub.samples("b"))
        await play.server.stop()
        await hub.until(lambda: hub.of("a")[-1] is LinkState.WAITING)
        assert hub.of("b")[-1] is LinkState.WAITING
        play.tables["b"].serial = 555
        await play.server.start()
        await hub.until(lambda: hub.identities("b") == ["102", "555"])
        await hub.until(lambda: hub.identities("a") == ["101", "101"])
        await hub.until(lambda: hub.of("a").count(LinkState.READING) == 2)


async def test_a_bus_that_falls_silent_is_opened_again_and_identified():
    async with playing("ab") as play:
        hub = play.hub
        await hub.until(lambda: hub.samples("a") and hub.samples("b"))
        play.server.faults.fault = Fault.SILENT
        await hub.until(lambda: play.bus.openings > 1 and hub.of("a")[-1] is LinkState.WAITING)
        play.server.faults.fault = Fault.NONE
        await hub.until(lambda: hub.identities("a") == ["101"] * 2)
        await hub.until(lambda: hub.identities("b") == ["102"] * 2)


async def test_a_refusal_backs_off_and_is_told():
    async with playing("ab", backoff=SLOW) as play:
        hub = play.hub
        await hub.until(lambda: hub.samples("a") and hub.samples("b"))
        play.server.faults.left, play.server.faults.code = 1, 6
        play.server.faults.fault = Fault.EXCEPTION
        await hub.until(lambda: any(isinstance(what, Refused) for _, what in hub.told))
        (name,) = {who for who, what in hub.told if isinstance(what, Refused)}
        told = len(hub.of(name))
        await hub.until(lambda: hub.of(name)[-1] is LinkState.READING or len(hub.of(name)) > told)
        assert LinkState.WAITING in hub.of(name)
        await hub.until(lambda: hub.of(name).count(LinkState.READING) == 2)
        assert len(hub.identities(name)) == 1


async def test_an_answer_that_makes_no_sense_is_counted_and_reading_goes_on():
    async with playing("a") as play:
        hub = play.hub
        await hub.until(lambda: hub.samples("a"))
        play.drivers["a"].defect = DecodeError(Reject.CONTENT)
        await hub.until(lambda: any(isinstance(what, DecodeError) for what in hub.of("a")))
        play.drivers["a"].defect = None
        seen = len(hub.samples("a"))
        await hub.until(lambda: len(hub.samples("a")) > seen)
        assert LinkState.WAITING not in hub.of("a")


async def test_a_driver_with_a_defect_restarts_the_session_and_starves_nobody():
    async with playing("ab", backoff=SLOW) as play:
        hub = play.hub
        await hub.until(lambda: hub.samples("a") and hub.samples("b"))
        seen = len(hub.samples("b"))
        play.drivers["a"].defect = ZeroDivisionError("one over nothing")
        await hub.until(lambda: hub.of("a").count(LinkState.OPENING) == 4)
        # The defective unit waited 0.3 s and 0.6 s; the other has a period of 0.02 s.
        assert len(hub.samples("b")) - seen > 12
        assert not play.task.done()
        play.drivers["a"].defect = None
        seen = len(hub.samples("a"))
        await hub.until(lambda: len(hub.samples("a")) > seen)


async def test_a_session_that_is_cancelled_closes_its_bus():
    play = Play("a", "a", QUICK)
    await play.start()
    await play.hub.until(lambda: play.hub.samples("a"))
    play.server.faults.fault = Fault.SILENT
    await play.stop()
    assert play.bus._client is None
    assert asyncio.all_tasks() == {asyncio.current_task()}
