"""Simulated instruments on links in virtual time, recorded by the daemon's own parts."""

import asyncio
import heapq
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest

from config.models import Configuration, Detector
from config.scenario import load_scenario
from drivers.api import DriverInfo, Sample
from drivers.codec.recording import Recording, read_recording
from drivers.errors import DriverError, Refused, ReplyTimeout
from drivers.registry import find
from gateway.assembly import UNIT_BACKOFF, driver_options
from gateway.backoff import BackOff
from gateway.bus_session import BusSession, BusUnit
from gateway.clock import Ticker
from gateway.links.errors import LinkLost, PortMissing
from gateway.recorder.recorder import header_of
from gateway.recorder.track import Limits, RecordingTrack
from gateway.session import AskerSession, ListenerSession
from gateway.tap import Tap
from gateway.values import Instant
from gateway.verbs import replay
from gateway.verbs.paced import PacedLoop
from gateway.verbs.recording_folder import About
from simulators.registry import find as find_instrument
from simulators.world import World

START = datetime(2026, 5, 2, 14, 3, 10, tzinfo=UTC).timestamp()
STEP_S = 0.02
SCENARIO = """
[scenario]
name = "studio"
duration_s = 3600

[[detector]]
id = "d"
driver = "{driver}"
archetype = "{archetype}"
at = {{ x = 0, y = 0 }}
parts = {parts}
"""
ARCHETYPES = {
    "thermo-radeye": "PRD",
    "gq-gmc": "HH",
    "json-lines": "PRD",
    "bgeigie-nmea": "VEH",
    "rapiscan-tsa-rpm": "RPM",
    "aspect-rpm-modbus-tcp": "RPM",
}

Spoil = Callable[[float, bytes], bytes]


def faithful(at_s: float, data: bytes) -> bytes:
    return data


class SimLink:
    """A byte link to a simulated instrument; ``spoil`` changes what arrives."""

    port = "studio"

    def __init__(self, instrument: Any, world: Any, spoil: Spoil, plugged: Callable[[float], bool]):
        self._instrument, self._field = instrument, world
        self._spoil, self._plugged = spoil, plugged
        self._pending: list[tuple[float, int, bytes]] = []
        self._order = count()

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def open(self) -> None:
        if not self._plugged(self.now):
            raise PortMissing(self.port, "unplugged")

    async def read(self) -> bytes:
        while True:
            if data := self.take():
                return data
            if not self._plugged(self.now):
                raise LinkLost(self.port, "unplugged")
            await asyncio.sleep(STEP_S)

    def take(self) -> bytes:
        self._push(self._instrument.advance(self.now, self._field))
        taken = b""
        while self._pending and self._pending[0][0] <= self.now:
            at_s, _, data = heapq.heappop(self._pending)
            taken += self._spoil(at_s, data)
        return taken

    async def write(self, data: bytes) -> None:
        self._push(self._instrument.receive(self.now, data, self._field))

    async def close(self) -> None:
        pass

    def _push(self, emissions: Any) -> None:
        for each in emissions:
            heapq.heappush(self._pending, (each.at_s, next(self._order), each.data))


class SimBus:
    """Registers of a simulated instrument; ``answers`` False: silence, a number: a refusal."""

    port = "studio"

    def __init__(self, instrument: Any, world: Any, answers: Callable[[float], bool | int]):
        self._instrument, self._field, self._answers = instrument, world, answers
        self.openings = 0

    async def open(self) -> None:
        self.openings += 1

    async def read(self, unit: int, block: Any) -> tuple[int, ...]:
        now = asyncio.get_running_loop().time()
        answers = self._answers(now)
        if answers is False:
            await asyncio.sleep(1.0)
            raise ReplyTimeout
        if answers is not True:
            raise Refused(answers)
        await asyncio.sleep(0.01)
        answer = self._instrument.read(now, block.function, block.address, block.count, self._field)
        if isinstance(answer, int):
            raise Refused(answer)
        return tuple(answer[0])

    def ready_at(self, unit: int) -> float:
        return 0.0

    async def close(self) -> None:
        pass


@dataclass
class Hub:
    """Everything that a session delivers: what the gateway would have been told."""

    outputs: list[tuple[float, Any]] = field(default_factory=list)

    def deliver(self, detector: str, output: Any, arrived: Instant) -> None:
        self.outputs.append((arrived.mono, output))

    def report(self, detector: str, state: Any, reason: str) -> None:
        pass


@dataclass
class Take:
    """A recording, its file, and what the recorded session delivered."""

    file: Path
    outputs: list[tuple[float, Any]]
    info: DriverInfo
    tap: Tap

    @property
    def text(self) -> str:
        return self.file.read_text()

    @property
    def recording(self) -> Recording:
        return read_recording(self.text.splitlines())

    def said(self, since_s: float = 0.0) -> list[Any]:
        """Readings and rejects, without their times."""
        return told([output for at_s, output in self.outputs if at_s >= since_s])


def told(outputs: list[Any]) -> list[Any]:
    found: list[Any] = []
    for output in outputs:
        if isinstance(output, DriverError):
            found.append(str(output.reason))
        elif isinstance(output, Sample) and output.readings:
            said = [
                (str(each.channel), each.part, each.raw.partition(" ")[0])
                for each in output.readings
            ]
            found.append(said)
    return found


def played(lines: list[str]) -> list[Any]:
    """The same of what a replay says."""
    found: list[Any] = []
    for record in map(json.loads, lines):
        if record["kind"] == "reject":
            found.append(record["reason"])
        elif record["kind"] == "sample":
            said = [
                (r["channel"], r["part"], r["raw"].partition(" ")[0])
                for r in record["readings"]
                if "estimated:from_counts" not in r["flags"]
            ]
            found.append(said)
    return found


class Studio:
    """Records simulated instruments and plays recordings."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._numbers = count(1)

    def record(
        self,
        driver: str,
        seconds: float,
        *,
        since_s: float = 0.0,
        spoil: Spoil = faithful,
        plugged: Callable[[float], bool] = lambda at_s: True,
        answers: Callable[[float], bool | int] = lambda at_s: True,
        instrument: Any = None,
        max_bytes: int = 10**7,
        permissions: tuple[str, ...] = (),
        options: dict[str, Any] | None = None,
    ) -> Take:
        """What came from ``since_s`` on, for so many seconds."""
        info = find(driver)
        scenario = self._place / f"studio-{next(self._numbers)}.toml"
        parts = 4 if driver == "rapiscan-tsa-rpm" else 1
        scenario.write_text(
            SCENARIO.format(driver=driver, archetype=ARCHETYPES[driver], parts=parts)
        )
        world = World(load_scenario(scenario)).field("d")
        create = find_instrument(driver)
        instrument = instrument or create({}, Random(3), datetime.fromtimestamp(START, UTC))
        detector = detector_of(info, permissions, options or {})
        hub = Hub()
        directory = self._place / f"take-{next(self._numbers)}"

        async def run() -> Take:
            loop = asyncio.get_running_loop()

            def now() -> Instant:
                return Instant(START + loop.time(), loop.time())

            tap = Tap(loop.time)
            made = driver_options(detector, info)
            backoff = BackOff(UNIT_BACKOFF, Random(1))
            common = (hub, now, backoff)
            if info.contract == "registers":
                unit = BusUnit("d", info.create(made), 1, BackOff(UNIT_BACKOFF, Random(2)), tap=tap)
                bus = SimBus(instrument, world, answers)
                session: Any = BusSession(bus, [unit], *common, Ticker())
            elif info.contract == "listener":
                link = SimLink(instrument, world, spoil, plugged)
                session = ListenerSession("d", info, info.create(made), link, *common, tap)
            else:
                link = SimLink(instrument, world, spoil, plugged)
                session = AskerSession("d", info, info.create(made), link, *common, Ticker(), tap)
            running = asyncio.create_task(session.run())
            await asyncio.sleep(since_s)
            limits = Limits(max_bytes, seconds)
            track = RecordingTrack(tap, header_of(detector, info), limits, now())
            track.open(directory)
            tap.join(track)
            await asyncio.sleep(seconds)
            tap.leave(track)
            track.write(directory, track.take(loop.time()), loop.time(), "time")
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            return Take(directory / track.name, hub.outputs, info, tap)

        with asyncio.Runner(loop_factory=lambda: PacedLoop(0)) as runner:
            return runner.run(run())

    def replay(self, take: Take, **options: Any) -> tuple[list[str], Any]:
        """What a replay prints, and the playback."""
        only = frozenset(options.pop("only", ("sample", "passage", "reject", "alarm_event")))
        configuration, info = replay.configured(take.recording, About(shows="-"), **options)
        found = replay.play(take.recording, configuration, info, 0.0, only, prints=False)
        assert found is not None
        return found[0], found[1]


def detector_of(
    info: DriverInfo, permissions: tuple[str, ...] = (), options: dict[str, Any] | None = None
) -> Detector:
    return Configuration.model_validate(
        {
            "gateway": {"id": "gw"},
            "detector": [
                {
                    "id": "d",
                    "driver": info.name,
                    "class": info.classes[0],
                    "permissions": list(permissions),
                    "options": options or {},
                    "link": {"kind": "tcp", "host": "secret-host.example", "port": 4001},
                }
            ],
        }
    ).detector[0]


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path)


@pytest.fixture(name="told_by_replay")
def told_by_replay_() -> Callable[[list[str]], list[Any]]:
    return played
