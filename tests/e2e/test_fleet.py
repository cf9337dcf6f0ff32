"""Several gateways at one broker, and one gateway with two: nobody costs anybody anything."""

import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from importlib.util import module_from_spec, spec_from_file_location
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from config.models import Sink
from config.scenario import load_scenario
from config.write import to_toml
from gateway.verbs.stage import on_stage
from simulators.truth import TruthFile

_SPEC = spec_from_file_location("fleet_bench", Path(__file__).with_name("conftest.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
bench: Any = module_from_spec(_SPEC)
sys.modules["fleet_bench"] = bench
_SPEC.loader.exec_module(bench)
until = bench.until
bench.COMPARISON.SKEW_S = 0.5
"""Several stages share one loop here, so what was sent is noted later."""

pytestmark = pytest.mark.mosquitto

LONG = pytest.param(300.0, marks=pytest.mark.torture)
LIVE_S = 5.0
"""From an instrument to a subscriber, on a busy machine with simulators beside it."""


@dataclass(frozen=True, slots=True)
class Member:
    """One gateway of the fleet, its instruments, and what one broker's subscriber heard of it."""

    name: str
    bench: Any
    collector: Any

    def bodies(self, kind: str, **having: object) -> list[Mapping[str, Any]]:
        """Messages of a kind from this gateway, each once."""
        found: list[Mapping[str, Any]] = self.collector.bodies(kind, gateway=self.name, **having)
        return found

    def values(self, detector: str) -> list[Mapping[str, Any]]:
        """Its samples and passages of a detector in the journal's order."""
        found = [
            *self.bodies("sample", detector=detector),
            *self.bodies("passage", detector=detector),
        ]
        return sorted(found, key=lambda body: (body["epoch"], body["seq"]))

    def state(self) -> str:
        """The newest that was told of the gateway itself."""
        return str(self.collector.newest(f"/{self.name}/status").get("state", ""))

    def newest(self) -> int:
        """The newest number of its samples."""
        return max((body["seq"] for body in self.bodies("sample")), default=0)


def folder(parent: Path, name: str) -> Path:
    """A folder of its own."""
    made = parent / name
    made.mkdir()
    return made


@asynccontextmanager
async def gateway(
    home: Path, name: str, collectors: Iterable[Any], sinks: tuple[Sink, ...], seed: int = 7
) -> AsyncIterator[list[Member]]:
    """A started gateway with instruments of its own: one member for each broker's subscriber."""
    scenario = load_scenario(bench.HERE / "scenarios" / "five.toml")
    own = scenario.scenario.model_copy(update={"seed": seed})
    scenario = scenario.model_copy(update={"scenario": own})
    said, daemon = home / "sent.jsonl", bench.Daemon(home / "gateway.toml")
    ids = [each.id for each in scenario.detector]
    with TruthFile(said) as truth:
        async with on_stage(scenario, home, (), truth.note) as stage:
            made = stage.configuration
            changed = {"gateway": made.gateway.model_copy(update={"id": name}), "sink": sinks}
            text = to_toml(made.model_copy(update=changed))
            (home / "gateway.toml").write_text(text, encoding="utf-8")
            try:
                await daemon.start()
                yield [
                    Member(name, bench.Bench(None, each, daemon, said, ids, stage.live), each)
                    for each in collectors
                ]
            finally:
                daemon.kill()


def compare(member: Member) -> Any:
    """What arrived from a gateway against what its instruments said."""
    it = member.bench
    periods = {
        detector: [each for run in it.daemon.runs for each in run.periods(detector)]
        for detector in it.detectors
    }
    bodies = {detector: member.values(detector) for detector in it.detectors}
    module = bench.COMPARISON
    return module.compare(module.read_said(it.said_file), bodies, periods)


def check_numbers(member: Member, *, to_the_end: bool = True) -> None:
    """No number of any of its lanes is missing; a summary has those that it stands for."""
    lanes: dict[str, set[int]] = {}
    for heard in tuple(member.collector.heard):
        if heard.body.get("gateway") == member.name and "lane" in heard.body:
            assert f"/{member.name}/" in heard.topic
            lanes.setdefault(heard.body["lane"], set()).update(numbers_of(heard.body))
    assert lanes
    for lane, numbers in lanes.items():
        missing = set(range(1, max(numbers) + 1)) - numbers
        assert not missing if to_the_end else len(missing) < 5, f"{member.name} {lane}"


def numbers_of(body: Mapping[str, Any]) -> list[int]:
    """The numbers of the records that a message tells."""
    if body["kind"] == "summary":
        return list(accumulate([body["first"], *body["steps"]]))
    return [body["seq"]]


class Unpacking(bench.Collector):  # type: ignore[name-defined,misc]
    """A subscriber that takes the messages out of their batches."""

    def _take(self, client: Any, userdata: object, message: Any) -> None:
        super()._take(client, userdata, message)
        batch = self.heard[-1]
        if batch.body.get("kind") == "batch":
            self.heard.pop()
            head = batch.topic.removesuffix("batch")
            for each in batch.body["messages"]:
                heard = replace(batch, topic=head + each["topic"], body=each["message"])
                self.heard.append(heard)


@pytest.fixture
def centre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A second broker, not started yet."""
    made = bench.Broker(tmp_path_factory.mktemp("centre"))
    yield made
    made.kill()


async def test_three_gateways_at_one_broker(tmp_path: Path, broker: Any) -> None:
    broker.start()
    collector = bench.Collector(broker.port)
    await collector.start()
    sinks = (Sink(id="site", brokers=(broker.url,)),)
    async with AsyncExitStack() as stack:
        stack.callback(collector.stop)
        fleet = []
        for seed, name in enumerate(("north", "south", "west")):
            own = gateway(folder(tmp_path, name), name, [collector], sinks, seed)
            fleet += await stack.enter_async_context(own)
        for member in fleet:
            await until(lambda one=member: one.newest() > 10, f"{member.name} tells", 30)
        north, south, west = fleet

        await north.bench.happen("reading", detector="hh-1", dose_rate="5 µSv/h")
        high = {"event": "raised", "detector": "hh-1", "level": "R3"}
        await until(lambda: north.bodies("alarm_event", **high), "the alarm of north")

        south.bench.daemon.kill()
        await until(lambda: south.state() == "lost", "the broker tells what south cannot")
        for member in (north, west):
            before = member.newest()
            await until(
                lambda one=member, than=before: one.newest() > than + 10, f"{member.name} goes on"
            )
            assert member.state() == "online"
            assert await member.bench.daemon.stop() == 0
            await until(lambda one=member: one.state() == "stopping", f"{member.name} ends")

        for member in (north, west):
            told = {body["state"] for body in member.bodies("status")}
            assert told == {"online", "stopping"}
            check_numbers(member)
            assert min(compare(member).equal.values()) > 1
        check_numbers(south, to_the_end=False)
        assert not south.bodies("alarm_event", **high)
        assert not west.bodies("alarm_event", **high)


def owed(member: Member, sink: str) -> int:
    """What one of its sinks has not acknowledged."""
    sinks = member.bench.daemon.board().get("sinks")
    return int(sinks[sink]["owed"]) if sinks else sys.maxsize


def delays(member: Member, since: float) -> list[float]:
    """How long samples took from their arrival at the gateway to the subscriber, s."""
    return [
        heard.at - bench.COMPARISON.unix(heard.body["arrived"])
        for heard in tuple(member.collector.heard)
        if heard.body.get("kind") == "sample" and heard.at > since
    ]


@asynccontextmanager
async def two_sinks(
    tmp_path: Path, brokers: tuple[Any, Any], **poor: Any
) -> AsyncIterator[tuple[Member, Member]]:
    """A gateway that feeds the site and the centre, as their subscribers hear it."""
    for each in brokers:
        each.start()
    collectors = [bench.Collector(brokers[0].port), Unpacking(brokers[1].port)]
    sinks = (
        Sink(id="site", brokers=(brokers[0].url,)),
        Sink(id="centre", brokers=(brokers[1].url,), **poor),
    )
    async with AsyncExitStack() as stack:
        for collector in collectors:
            stack.callback(collector.stop)
            await collector.start()
        own = gateway(folder(tmp_path, "north"), "north", collectors, sinks)
        near, far = await stack.enter_async_context(own)
        yield near, far


RAISED = {"event": "raised", "detector": "hh-1"}


async def away(near: Member, far: Member, centre: Any, outage_s: float) -> float:
    """The centre is away for so long, in which the site is told all; when it was back, Unix s."""
    began = time.time()
    centre.stop()
    await near.bench.happen("reading", detector="hh-1", dose_rate="5 µSv/h")
    await until(lambda: near.bodies("alarm_event", **RAISED), "the site has the alarm at once")
    assert not far.bodies("alarm_event", **RAISED)
    before = near.newest()
    await until(lambda: time.time() - began > outage_s, "the outage's end", outage_s + 5)
    assert near.newest() > before + 10, "the site is told all the while"
    assert max(delays(near, began)) < LIVE_S
    assert not [body for body in near.bodies("sample") if body.get("replayed")]
    centre.start()
    return time.time()


async def ended(near: Member, far: Member) -> None:
    """Nothing is owed any more, and the gateway ends in order."""
    await until(lambda: far.bodies("alarm_event", **RAISED), "the centre has the alarm afterwards")
    await until(lambda: owed(far, "centre") < 20, "the centre is owed nothing", 60)
    assert await near.bench.daemon.stop() == 0
    for member in (near, far):
        await until(lambda one=member: one.state() == "stopping", "the last words")
        check_numbers(member)


@pytest.mark.parametrize("outage_s", [5.0, LONG])
@pytest.mark.timeout(600)
async def test_the_centre_is_away(
    tmp_path: Path, broker: Any, centre: Any, outage_s: float
) -> None:
    async with two_sinks(tmp_path, (broker, centre)) as (near, far):
        for member in (near, far):
            await until(lambda one=member: one.newest() > 20, "samples flow")
        back = await away(near, far, centre, outage_s)
        await ended(near, far)
        for member in (near, far):
            compared = compare(member)
            assert min(compared.equal.values()) > 3, compared.equal
        assert far_order(far, back) == "alarms first"


async def test_the_centre_is_told_in_batches(tmp_path: Path, broker: Any, centre: Any) -> None:
    poor = {"samples": "batch", "every_s": 1.0}
    async with two_sinks(tmp_path, (broker, centre), **poor) as (near, far):
        await until(lambda: far.newest() > 20, "samples flow")
        back = await away(near, far, centre, 5.0)
        await ended(near, far)
        for member in (near, far):
            assert min(compare(member).equal.values()) > 3
        assert far_order(far, back) == "alarms first"


async def test_the_centre_is_told_summaries(tmp_path: Path, broker: Any, centre: Any) -> None:
    poor = {"samples": "reduced", "every_s": 2.0}
    async with two_sinks(tmp_path, (broker, centre), **poor) as (near, far):
        await until(lambda: far.collector.bodies("summary"), "summaries flow")
        await away(near, far, centre, 5.0)
        await ended(near, far)
        assert not far.bodies("sample")
        told = [one.body for one in far.collector.heard if one.body.get("kind") == "summary"]
        whole = {body["seq"]: body for body in near.bodies("sample")}
        assert len(told) < len(whole) / 2
        for summary in told:
            samples = [whole[number] for number in numbers_of(summary)]
            assert {each["detector"] for each in samples} == {summary["detector"]}
            check_extremes(summary, samples)


def check_extremes(summary: Mapping[str, Any], samples: Iterable[Mapping[str, Any]]) -> None:
    """The smallest and largest numbers are those of the samples."""
    values: dict[tuple[object, ...], list[float]] = {}
    for sample in samples:
        for reading in sample["readings"]:
            found = values.setdefault(key_of(reading), [])
            found += [] if reading["value"] is None else [reading["value"]]
    assert len(summary["readings"]) == len(values)
    for reduced in summary["readings"]:
        numbers = values[key_of(reduced)]
        assert reduced["count"] == len(numbers)
        assert reduced["minimum"] == min(numbers, default=None)
        if reduced["lower_bound"] is None:
            assert reduced["maximum"] == max(numbers, default=None)


def key_of(reading: Mapping[str, Any]) -> tuple[object, ...]:
    """What is reduced together."""
    return tuple(reading[name] for name in ("channel", "part", "unit", "quantity"))


def far_order(member: Member, since: float) -> str:
    """Which came first after the outage: alarm events, or samples that were owed."""
    for heard in tuple(member.collector.heard):
        if heard.at > since and heard.body.get("kind") == "alarm_event":
            return "alarms first"
        if heard.at > since and heard.body.get("replayed"):
            return f"{heard.topic} first"
    return "nothing came"
