"""A live stage read by the gateway's own sessions: what a reader sees of each fault of a link."""

import asyncio
import json
import math
import os
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from random import Random

import pytest
from pydantic import TypeAdapter

from config.actions import Event
from config.injection import table_of
from config.scenario import load_scenario
from drivers.api import Channel, Sample
from drivers.errors import DecodeError, DriverError, Refused, Reject, ReplyTimeout
from drivers.registry import find as find_driver
from gateway.assembly import Assembler
from gateway.clock import Ticker, system_now
from gateway.values import LinkState
from simulators.live import LiveStage
from simulators.ports import TcpPort
from simulators.stage_clock import StageClock
from simulators.world import World

EVENT = TypeAdapter(Event)
HEAD = '[scenario]\nname = "live"\nduration_s = 3600\n'
PAGER = """
[[detector]]
id = "prd"
archetype = "PRD"
at = {{ x = 0, y = 0 }}
link = "{link}"
settings = {{ period_s = 1, serial = "prd-7" }}
"""
GEIGER = """
[[detector]]
id = "geiger"
driver = "gq-gmc"
archetype = "PRD"
at = { x = 0, y = 0 }
"""
LOGGER = """
[[detector]]
id = "logger"
driver = "bgeigie-nmea"
archetype = "PRD"
at = { x = 0, y = 0 }
"""
PORTAL = """
[[detector]]
id = "{id}"
driver = "aspect-rpm-modbus-tcp"
archetype = "RPM"
sensitivity = 1000
at = {{ x = 0, y = 0 }}
settings = {{ warm = true, signature = {signature} }}
{more}
"""


class Reader:
    """What the gateway's sessions delivered, with the time of play."""

    def __init__(self, stage):
        self._stage = stage
        self.outputs, self.states, self.said = [], [], []

    def deliver(self, detector, output, arrived):
        self.outputs.append((self._stage.now_s(), detector, output))

    def report(self, detector, state, reason):
        self.states.append((self._stage.now_s(), detector, state, reason))

    def witness(self, detector, emission):
        self.said.append((self._stage.now_s(), detector, emission))

    def samples(self, detector, since=0.0):
        return [
            (at, one) for at, who, one in self.outputs
            if who == detector and at >= since and isinstance(one, Sample) and one.readings
        ]  # fmt: skip

    def errors(self, detector, since=0.0):
        return [
            one for at, who, one in self.outputs
            if who == detector and at >= since and isinstance(one, DriverError)
        ]  # fmt: skip

    def serials(self, detector):
        return [
            one.identity.serial for _, who, one in self.outputs
            if who == detector and isinstance(one, Sample) and one.identity
        ]  # fmt: skip

    def counts(self, detector, since=0.0):
        """Values of the gamma counts that arrived."""
        return [
            reading.value for _, one in self.samples(detector, since)
            for reading in one.readings if reading.channel is Channel.GAMMA_COUNTS
        ]  # fmt: skip

    def told(self, detector):
        """The same as the instrument says that it sent them."""
        return [
            each.says["gamma_counts"] for _, who, each in self.said
            if who == detector and "gamma_counts" in each.says
        ]  # fmt: skip


class Bench:
    """A stage that plays and a reader of its links."""

    def __init__(self, stage, reader):
        self.stage, self.reader = stage, reader
        self.links = {}

    async def happen(self, do, **keys):
        event = EVENT.validate_python({"at_s": self.stage.now_s(), "do": do, **keys})
        assert await self.stage.happen(event)

    async def until(self, at_s):
        await self.stage.clock.until(at_s)


@pytest.fixture
def bench(tmp_path):
    @asynccontextmanager
    async def open_bench(text, *, speed=1.0, reading=True):
        path = tmp_path / "scenario.toml"
        path.write_text(HEAD + text, encoding="utf-8")
        scenario = load_scenario(path)
        noted = []
        clock = StageClock(speed)
        reader = Reader(None)
        stage = LiveStage(
            scenario, World(scenario), tmp_path, datetime(2026, 1, 1, tzinfo=UTC),
            lambda *told: reader.witness(*told), clock, noted.append,
        )  # fmt: skip
        reader._stage = stage
        made = Bench(stage, reader)
        made.noted = noted
        tasks = []
        try:
            made.links = await stage.open()
            detectors = scenario.configuration(made.links).detector
            drivers = {each.id: find_driver(each.driver) for each in scenario.detector}
            ticker, random = Ticker(), Random(1)
            sessions = Assembler(drivers, reader, system_now, ticker, random).sessions(detectors)
            runs = [stage.play(), *(each.run() for each in sessions if reading)]
            tasks += [asyncio.create_task(run) for run in runs]
            yield made
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await stage.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    return open_bench


def is_within(some, all_of_them):
    """Whether they are in it, in that order."""
    rest = iter(all_of_them)
    return all(any(one == other for other in rest) for one in some)


def is_there(port):
    return os.path.lexists(port)


def descriptors():
    return len(os.listdir("/proc/self/fd"))


# Without faults.


@pytest.mark.parametrize("link", ["serial", "tcp"])
def test_what_is_sent_arrives_and_nothing_stays_open(bench, virtually, link):
    async def play():
        async with bench(PAGER.format(link=link)) as on:
            await on.until(20.5)
            return on.reader

    before = descriptors()
    reader = virtually(play())
    assert reader.counts("prd") == reader.told("prd")
    assert len(reader.told("prd")) >= 18
    assert not reader.errors("prd")
    assert descriptors() == before


def test_events_of_the_scenario_happen_at_their_time_and_are_noted(bench, virtually):
    events = '[[event]]\nat_s = 5.5\ndo = "freeze"\ndetector = "prd"\n'
    events += '[[event]]\nat_s = 9.5\ndo = "thaw"\ndetector = "prd"\n'
    events += '[[event]]\nat_s = 12\ndo = "acknowledge"\n'

    async def play():
        async with bench(PAGER.format(link="tcp") + events) as on:
            await on.until(13)
            return on

    on = virtually(play())
    seconds = {round(at) for at, _ in on.reader.samples("prd")}
    assert seconds >= {4, 5, 10, 11, 12}
    assert seconds.isdisjoint({6, 7, 8, 9})
    assert [(each.at_s, each.do) for each in on.noted] == [(5.5, "freeze"), (9.5, "thaw")]


def test_at_four_times_the_speed_a_second_of_play_is_a_quarter_of_one(bench, virtually):
    async def play():
        async with bench(PAGER.format(link="tcp"), speed=4.0) as on:
            loop = asyncio.get_running_loop()
            began = loop.time()
            await on.until(20.5)
            on.took = loop.time() - began
            return on

    on = virtually(play())
    assert on.took == pytest.approx(20.5 / 4, abs=0.01)
    assert len(on.reader.told("prd")) >= 18
    assert on.reader.counts("prd") == on.reader.told("prd")


def test_paused_it_says_nothing_and_goes_on_where_it_stood(bench, virtually):
    async def play():
        async with bench(PAGER.format(link="tcp")) as on:
            await on.until(5.5)
            on.stage.clock.pause()
            before = len(on.reader.said)
            await asyncio.sleep(8)
            assert (len(on.reader.said), on.stage.now_s()) == (before, pytest.approx(5.5, abs=0.01))
            on.stage.clock.resume()
            await on.until(8.5)
            return on.reader

    reader = virtually(play())
    assert [round(emission.at_s) for _, _, emission in reader.said][-3:] == [6, 7, 8]


def test_an_event_comes_between_the_lines_before_and_after_it(bench, virtually):
    events = '[[event]]\nat_s = 5.999\ndo = "freeze"\ndetector = "prd"\n'
    events += '[[event]]\nat_s = 8.001\ndo = "thaw"\ndetector = "prd"\n'
    events += '[[event]]\nat_s = 10.001\ndo = "unplug"\ndetector = "prd"\n'

    async def play():
        async with bench(PAGER.format(link="tcp") + events) as on:
            await on.until(12)
            return on.reader

    reader = virtually(play())
    assert [round(emission.at_s) for _, _, emission in reader.said][-4:] == [4, 5, 9, 10]


def test_a_line_before_an_event_knows_nothing_of_it(bench, virtually):
    source = (
        '[[source]]\nid = "a"\nnuclide = "Cs-137"\nactivity = "100 MBq"\nat = { x = 1, y = 0 }\n'
    )
    event = '[[event]]\nat_s = 10.135\ndo = "place_source"\nid = "a"\nnuclide = "Cs-137"\n'
    event += 'activity = "1 kBq"\nx = 900\ny = 0\n'

    async def play():
        # A line is due at 10.13, and both fall into the tick that ends at 10.14.
        pager = PAGER.format(link="tcp").replace("period_s = 1,", "period_s = 1.013,")
        async with bench(pager + source + event) as on:
            await on.until(12)
            return on.reader

    rates = [
        (round(emission.at_s), emission.says["dose_rate"] > 1)
        for _, _, emission in virtually(play()).said
    ]
    assert rates[-3:] == [(9, True), (10, True), (11, False)]


# Cables.


@pytest.mark.parametrize("renumbered", [False, True])
def test_a_replugged_port_is_found_again_behind_its_name(bench, virtually, renumbered):
    async def play():
        async with bench(PAGER.format(link="serial")) as on:
            await on.until(5.5)
            port = on.links["prd"].port
            before = os.readlink(port)
            await on.happen("unplug", detector="prd")
            assert not is_there(port)
            await on.until(10.5)
            await on.happen("replug", detector="prd", renumbered=renumbered)
            if renumbered:
                assert os.readlink(port) != before
            await on.until(40)
            return on.reader

    before = descriptors()
    reader = virtually(play())
    assert [at for at, _ in reader.samples("prd") if 6 < at < 10.5] == []
    assert reader.samples("prd", 30)
    assert (LinkState.WAITING, "prd") in {(state, who) for _, who, state, _ in reader.states}
    assert descriptors() == before


def test_half_open_connections_are_given_up_and_new_ones_work(bench, virtually):
    async def play():
        async with bench(PAGER.format(link="tcp")) as on:
            await on.until(5.5)
            await on.happen("half_open", detector="prd")
            await on.until(60)
            return on.reader

    before = descriptors()
    reader = virtually(play())
    silent = [at for at, _ in reader.samples("prd") if 6 < at < 15]
    assert silent == []
    assert any("silent" in reason for _, _, _, reason in reader.states)
    assert len(reader.samples("prd", 45)) >= 14
    assert descriptors() == before


def test_a_dead_connection_neither_hears_nor_speaks(virtually):
    async def play():
        heard = asyncio.Queue()
        port = TcpPort(heard.put_nowait)
        await port.plug()
        old_reader, old = await asyncio.open_connection("127.0.0.1", port.number)
        old.write(b"before")
        assert await heard.get() == b"before"
        port.abandon()
        old.write(b"in vain")
        new_reader, new = await asyncio.open_connection("127.0.0.1", port.number)
        new.write(b"after")
        assert await heard.get() == b"after"
        assert port.send(b"line")
        assert await new_reader.read(99) == b"line"
        new.close()
        await port.unplug()
        assert not old_reader.at_eof()
        port.bury()
        with pytest.raises(ConnectionResetError):
            await old_reader.read(99)
        old.close()
        assert heard.empty()

    virtually(play())


def test_half_open_modbus_connections_are_opened_anew(bench, virtually):
    async def play():
        async with bench(portal()) as on:
            await on.until(10)
            await on.happen("half_open", detector="portal")
            await on.until(60)
            return on.reader

    reader = virtually(play())
    assert any(isinstance(error, ReplyTimeout) for error in reader.errors("portal", 10))
    assert reader.samples("portal", 30)
    assert not reader.errors("portal", 30)
    assert set(reader.counts("portal")) <= set(reader.told("portal"))


def test_swapped_cables_show_each_other_s_serial_number(bench, virtually):
    one = PAGER.format(link="tcp")
    other = one.replace('"prd"', '"other"').replace("prd-7", "other-8")

    async def play():
        async with bench(one + other) as on:
            await on.until(5.5)
            await on.happen("swap", detector="prd", other="other")
            await on.until(25)
            return on.reader

    reader = virtually(play())
    assert set(reader.serials("prd")) == {"prd-7", "other-8"}
    assert reader.serials("prd")[-1] == "other-8"
    assert reader.serials("other")[-1] == "prd-7"


# Bytes.


@pytest.mark.parametrize("link", ["serial", "tcp"])
def test_lines_in_pieces_are_whole_lines(bench, virtually, link):
    async def play():
        async with bench(PAGER.format(link=link)) as on:
            await on.until(2.5)
            await on.happen("split", detector="prd", size=7, gap_s=0.01)
            await on.until(20.9)
            return on.reader

    reader = virtually(play())
    assert reader.counts("prd") == reader.told("prd")
    assert len(reader.counts("prd")) >= 15
    assert not reader.errors("prd")


@pytest.mark.parametrize(("do", "share"), [("loss", 0.004), ("corruption", 0.004)])
def test_damaged_sentences_with_a_checksum_are_refused_never_believed(bench, virtually, do, share):
    async def play(is_damaged=True):
        async with bench(LOGGER) as on:
            await on.until(100)
            if is_damaged:
                await on.happen(do, detector="logger", share=share)
            await on.until(600.5)
            await on.happen("mend", detector="logger")
            await on.until(700.5)
            return on.reader

    sent = virtually(play(is_damaged=False)).told("logger")
    reader = virtually(play())
    assert is_within(reader.counts("logger"), sent)
    assert is_within(reader.told("logger"), reader.counts("logger"))  # a line may lose its CR
    assert len(reader.errors("logger", 100)) > 5
    assert len(reader.counts("logger", 100)) > 20
    assert not reader.errors("logger", 606)


def test_late_bytes_are_late_and_in_order(bench, virtually):
    async def play():
        async with bench(PAGER.format(link="tcp")) as on:
            await on.until(5.5)
            await on.happen("delay", detector="prd", delay_s=3, jitter_s=2, for_s=20)
            await on.until(40.5)
            return on.reader

    reader = virtually(play())
    assert reader.counts("prd") == reader.told("prd")
    late = [at - emission.at_s for at, _, emission in reader.said if 6 < emission.at_s < 25]
    assert all(2.9 < each < 6.1 for each in late)
    assert max(late) - min(late) > 0.5
    assert [at - each.at_s for at, _, each in reader.said if each.at_s > 31] == pytest.approx(
        [0.0] * len([1 for _, _, each in reader.said if each.at_s > 31]), abs=0.03
    )


def test_a_flood_is_dropped_and_counted_and_what_comes_after_is_read(bench, virtually):
    async def play():
        async with bench(PAGER.format(link="tcp")) as on:
            await on.until(5.5)
            await on.happen("flood", detector="prd", rate=200_000, for_s=10)
            await on.until(30.5)
            return on.reader

    reader = virtually(play())
    assert any(error.reason is Reject.OVERFLOW for error in reader.errors("prd", 5))
    assert len(reader.samples("prd", 17)) >= 13
    assert not reader.errors("prd", 18)


def test_a_late_answer_is_no_answer_to_the_next_question(bench, virtually):
    async def play():
        async with bench(GEIGER) as on:
            await on.until(10)
            await on.happen("late_reply", detector="geiger", late_s=3.0, count=1)
            await on.until(80)
            return on.reader

    reader = virtually(play())
    assert any(isinstance(error, ReplyTimeout) for error in reader.errors("geiger", 10))
    counts = reader.counts("geiger")
    assert set(counts) <= set(reader.told("geiger"))
    assert len(reader.counts("geiger", 60)) > 5


def test_an_echoing_line_gives_no_false_numbers_and_no_silence_about_it(bench, virtually):
    async def play():
        async with bench(GEIGER) as on:
            await on.until(10)
            await on.happen("echo", detector="geiger", for_s=60)
            await on.until(150)
            return on.reader

    reader = virtually(play())
    assert set(reader.counts("geiger")) <= set(reader.told("geiger"))
    assert reader.errors("geiger", 10) or any(
        state is LinkState.WAITING and at > 10 for at, _, state, _ in reader.states
    )
    assert len(reader.counts("geiger", 120)) > 5


# Registers.


def portal(name="portal", signature=1, more=""):
    return PORTAL.format(id=name, signature=signature, more=more)


OVER = {
    "Modbus TCP": 'link = "modbus_tcp"',
    "RTU over TCP": 'link = "modbus_rtu_tcp"',
}
SEEN = {
    "silent": ReplyTimeout,
    "short": DecodeError,
    "wrong_function": DecodeError,
    "exception": Refused,
}


@pytest.mark.parametrize("over", OVER)
@pytest.mark.parametrize(
    "fault", ["silent", "short", "corrupt", "wrong_unit", "wrong_function", "exception"]
)
def test_a_faulty_answer_is_refused_and_the_next_sound_one_is_read(bench, virtually, over, fault):
    async def play():
        async with bench(portal(more=OVER[over])) as on:
            await on.until(10)
            await on.happen("reply_fault", detector="portal", fault=fault, code=6, for_s=20)
            await on.until(100)
            return on.reader

    reader = virtually(play())
    errors = reader.errors("portal", 10)
    assert errors
    assert all(isinstance(error, SEEN.get(fault, DriverError)) for error in errors)
    during = [at for at, _ in reader.samples("portal") if 11 < at < 29]
    assert during == []
    assert len(reader.samples("portal", 90)) >= 8
    assert set(reader.counts("portal")) <= set(reader.told("portal"))


@pytest.mark.parametrize("over", OVER)
@pytest.mark.parametrize(
    "event",
    [
        {"do": "late_reply", "late_s": 1.4, "count": 1},
        {"do": "reply_fault", "fault": "pipelined", "count": 4},
        {"do": "split", "size": 2, "gap_s": 0.01, "for_s": 20},
        {"do": "echo", "for_s": 20},
        {"do": "corruption", "share": 0.01, "for_s": 20},
        {"do": "loss", "share": 0.01, "for_s": 20},
    ],
    ids=lambda event: event["do"],
)
def test_no_register_is_taken_for_another(bench, virtually, over, event):
    async def play():
        async with bench(portal(more=OVER[over])) as on:
            await on.until(10)
            await on.happen(detector="portal", **event)
            await on.until(120)
            return on.reader

    reader = virtually(play())
    assert len(reader.samples("portal", 100)) >= 15
    if over == "RTU over TCP" or event["do"] not in ("corruption", "loss"):
        # Modbus TCP has no checksum of its own: TCP guards it, and damage is believed.
        assert set(reader.counts("portal")) <= set(reader.told("portal"))
    if event["do"] not in ("split", "echo"):
        assert reader.errors("portal", 10)


def test_a_dead_unit_of_a_bus_costs_the_others_little(bench, virtually):
    several = "".join(
        portal(f"unit-{n}", n, 'link = "modbus_rtu_tcp"\nbus = "gate"') for n in range(1, 4)
    )

    async def play():
        async with bench(several) as on:
            assert len({link.port for link in on.links.values()}) == 1
            assert [link.unit for link in on.links.values()] == [1, 2, 3]
            await on.until(20)
            await on.happen("unplug", detector="unit-2")
            await on.until(120)
            await on.happen("replug", detector="unit-2")
            await on.until(200)
            return on.reader

    reader = virtually(play())
    assert [at for at, _ in reader.samples("unit-2") if 22 < at < 120] == []
    assert reader.samples("unit-2", 170)
    for name in ("unit-1", "unit-3"):
        assert len([at for at, _ in reader.samples(name) if 20 < at < 120]) > 80
        assert set(reader.counts(name)) <= set(reader.told(name))


def test_a_portal_that_is_switched_off_is_silent(bench, virtually):
    async def play():
        async with bench(portal(more="on_s = 15")) as on:
            await on.until(60)
            await on.happen("power_off", detector="portal")
            await on.until(80)
            return on.reader

    reader = virtually(play())
    times = [at for at, _ in reader.samples("portal")]
    assert times
    assert min(times) >= 15
    assert max(times) <= 60.5


# Sources and rain.


def test_sources_and_rain_of_events_are_seen(bench, virtually):
    async def play():
        async with bench(PAGER.format(link="tcp"), reading=True) as on:
            await on.until(10)
            await on.happen(
                "place_source", id="a", nuclide="Cs-137", activity="100 MBq", x=1, y=0, for_s=10
            )
            await on.until(30)
            await on.happen(
                "send_source", id="b", nuclide="Cs-137", activity="100 MBq", past="prd",
                closest_m=1, speed="1 m/s", nearest_in_s=20,
            )  # fmt: skip
            await on.until(80)
            await on.happen("rain", rise="0.2 µSv/h", rise_s=60)
            await on.until(145)
            return on

    on = virtually(play())
    rates = {
        round(at): reading.value for at, sample in on.reader.samples("prd")
        for reading in sample.readings if reading.channel is Channel.DOSE_RATE
    }  # fmt: skip
    expected = 0.1 + 0.0927 * 100  # µSv·m²/(h·GBq) of Cs-137 at 1 m, own sum
    assert rates[15] == pytest.approx(expected, rel=0.05)
    assert rates[25] == pytest.approx(0.1, rel=0.01)
    # The last second before it is nearest, 1 m away at 1 m/s: the mean of 1/r² is atan(1).
    assert rates[50] == pytest.approx(0.1 + 9.27 * math.atan(1.0), rel=0.05)
    assert rates[144] == pytest.approx(0.3, rel=0.02)
    assert [each.do for each in on.noted] == ["place_source", "send_source", "rain"]


def test_what_was_noted_is_an_event_of_a_scenario_again(bench, virtually):
    async def play():
        async with bench(PAGER.format(link="tcp"), reading=False) as on:
            await on.happen("place_source", id="a", nuclide="Cs-137", activity="1 mCi", x=1, y=0)
            await on.happen("reading", detector="prd", dose_rate="2 mSv/h", gamma_rate="60 cpm")
            await on.happen("loss", detector="prd", share=0.5, for_s=3)
            return on.noted

    noted = virtually(play())
    lines = [json.loads(json.dumps(table_of(each))) for each in noted]
    assert [EVENT.validate_python(line) for line in lines] == noted
    assert lines[0]["activity"] == "37000000.0 Bq"
