"""Everything that a broker and the way to it may do, one row each, against a real mosquitto."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from simulators.proxy import Impairment, Proxy

pytestmark = pytest.mark.mosquitto

RSS_MB = 150.0
"""Far more than a handful of detectors needs; what matters is that it does not grow."""
GROWTH_MB = 40.0
SLOW_BYTES_S = 1000.0
SLOW_LEVELS = (0.7, 2.0, 30.0, 200.0, 2_000.0)
"""µSv/h: an alarm, and then it escalates."""
ALARM_S = 2.0
"""From the reading to the consumer, its own time on the link among it (fault matrix, N3)."""
NAMED_S = 15.0
"""The board names the fault within 10 s; the rest is for a busy machine."""
KEEPALIVE_S = 5


@dataclass(slots=True)
class Scene:
    """What a row plays with."""

    plant: Any
    module: Any
    broker: Any
    proxy: Proxy
    collector: Any
    long: bool
    until: Callable[..., Awaitable[Any]]
    refused: list[float] = field(default_factory=list)
    figures: dict[str, object] = field(default_factory=dict)
    settings: tuple[str, ...] = ()

    async def stay(self, short_s: float, long_s: float) -> None:
        """The fault lasts so long."""
        await asyncio.sleep(long_s if self.long else short_s)

    async def named(self, check: Callable[[dict[str, Any]], object], what: str) -> None:
        """The board says so."""
        await self.until(lambda: check(self.plant.sink()), f"the board names it: {what}", NAMED_S)

    async def heard_again(self) -> None:
        """The collector is subscribed after a restart of its broker."""
        before = self.collector.connects
        await self.until(lambda: self.collector.connects > before, "the collector is back")


def is_away(sink: dict[str, Any]) -> bool:
    """The sink has no connection, and says why."""
    return sink.get("state") != "online" and bool(sink.get("last_error"))


async def stopped(it: Scene) -> None:
    it.proxy.cut()
    await it.proxy.refuse()
    it.broker.kill()
    await it.named(is_away, "no connection")
    began = time.monotonic()
    await alarm_meanwhile(it)
    await it.stay(2, 30)
    it.broker.start(*it.settings)
    await it.heard_again()
    await it.proxy.admit()
    it.figures["away_s"] = round(time.monotonic() - began, 1)


async def frozen(it: Scene) -> None:
    it.broker.freeze()
    try:
        await alarm_meanwhile(it)
        await it.stay(3, 25)
        if it.long:
            await it.named(is_away, "no answer")
    finally:
        it.broker.thaw()


async def restarted_empty(it: Scene) -> None:
    for _ in range(5 if it.long else 1):
        it.proxy.cut()
        await it.proxy.refuse()
        it.broker.kill()
        await alarm_meanwhile(it)
        it.broker.start(*it.settings)
        await it.heard_again()
        known = len(it.collector.heard)
        await it.proxy.admit()
        await it.until(
            lambda known=known: any(
                "/alarm/active/" in each.topic for each in it.collector.heard[known:]
            ),
            "the retained alarms are there again",
            8,
        )


async def topic_refused(it: Scene) -> None:
    await it.named(lambda sink: sink["refused"] > 3, "refused messages")
    await alarm_meanwhile(it)
    await it.stay(1, 10)
    # What was refused is kept aside; here it counts as not taken.
    it.refused += [value for _, value in it.plant.instrument("d2").said]
    (it.broker._directory / "acl").write_text("topic readwrite #\n")
    it.broker._process.send_signal(signal.SIGHUP)
    count = len(it.plant.instrument("d2").said)
    await it.until(
        lambda: len(it.collector.values("d2")) > 3, "samples flow again without a restart", 10
    )
    it.figures["refused_of"] = f"{it.plant.sink()['refused']}/{count}"


async def packet_limited(it: Scene) -> None:
    value = it.plant.instrument("d2").say(more=120)
    it.refused.append(value)
    await it.named(lambda sink: sink["refused"] >= 1, "a message that is too large")
    await alarm_meanwhile(it)
    await it.stay(0.5, 10)


async def queue_limited(it: Scene) -> None:
    """The consumer is away: the broker says that it took everything, and keeps five."""
    it.collector.stop()
    await alarm_meanwhile(it, heard=False)
    await it.stay(2, 10)
    await it.until(lambda: it.plant.owed() < 20, "the gateway is told that all was taken")
    back = it.module.Collector(it.broker.port, qos=1)
    back.heard = it.collector.heard
    await back.start()
    it.collector = back
    have = {(b["lane"], b["seq"]) for b in back.bodies("sample")}
    await it.until(lambda: len(back.bodies("sample")) > len(have) + 8, "samples come again")
    numbers = [body["seq"] for body in back.bodies("sample")]
    gap = set(range(min(numbers), max(numbers) + 1)) - set(numbers)
    assert gap, "the broker dropped nothing: the row proves nothing"
    it.figures["gap_seen"] = len(gap)


async def slow(it: Scene) -> None:
    """1 kB/s, and a backlog that would need hours."""
    wanted = 10_000 if it.long else 1_500
    it.proxy.cut()
    await it.proxy.refuse()
    await it.until(lambda: it.plant.owed() > wanted, "a backlog", 60)
    it.proxy.impair(Impairment(rate=SLOW_BYTES_S))
    known = len(it.collector.bodies("sample"))
    await it.proxy.admit()
    # First goes what each connection begins with.
    await it.until(lambda: len(it.collector.bodies("sample")) > known, "samples flow again", 60)
    await it.stay(1, 20)
    told = []
    for k in range(5 if it.long else 1):
        name = it.plant.instruments[0].name
        it.plant.instrument(name).level = SLOW_LEVELS[k]
        known, began = len(it.collector.heard), time.monotonic()
        await it.until(lambda k=known, n=name: is_told(it, k, n), "an alarm", 30)
        told.append(round(time.monotonic() - began, 2))
        await asyncio.sleep(10 if it.long else 0)
    it.figures.update(owed=it.plant.owed(), told_s=told)
    it.proxy.heal()
    assert max(told) < ALARM_S, f"alarms took {told} s at {SLOW_BYTES_S:g} B/s"


def is_told(it: Scene, known: int, detector: str) -> bool:
    """Whether a consumer was told of an alarm of the detector since then."""
    return any(
        "/alarm/" in each.topic and each.body.get("detector") == detector
        for each in it.collector.heard[known:]
    )


async def half_open(it: Scene) -> None:
    """Nothing passes, and nobody says so."""
    began = time.monotonic()
    it.proxy.blackhole()
    await alarm_meanwhile(it)
    if it.long:
        await it.named(is_away, "no answer")
        it.figures["noticed_s"] = round(time.monotonic() - began, 1)
        assert time.monotonic() - began < 1.5 * KEEPALIVE_S + 10 + 2
    else:
        await asyncio.sleep(2)
    it.proxy.cut()
    it.proxy.heal()


async def same_client_id(it: Scene) -> None:
    """Somebody else under the sink's name takes the connection over, again and again."""
    name = f"dosegate-{it.module.GATEWAY}-{it.module.SINK}"
    taken = 0
    deadline = time.monotonic() + (30 if it.long else 3)
    while time.monotonic() < deadline:
        twin = paho.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=paho.MQTTv5)
        twin.connect("127.0.0.1", it.broker.port)
        twin.loop_start()
        taken += 1
        await asyncio.sleep(0.7)
        twin.disconnect()
        twin.loop_stop()
    await it.named(lambda sink: sink["losses"] > 0, "the connection was taken over")
    it.figures.update(taken=taken, losses=it.plant.sink()["losses"])
    await alarm_meanwhile(it)


async def flapping(it: Scene) -> None:
    """The way is there and away."""
    times = 30 if it.long else 3
    before = it.plant.sink()["connects"]
    for _ in range(times):
        it.proxy.cut()
        await it.proxy.refuse()
        await asyncio.sleep(1.0 if it.long else 0.4)
        await it.proxy.admit()
        await asyncio.sleep(1.0 if it.long else 0.4)
    await alarm_meanwhile(it)
    it.figures["connects"] = it.plant.sink()["connects"] - before
    assert it.figures["connects"] <= times + 3


async def alarm_meanwhile(it: Scene, *, heard: bool = True) -> None:
    """An alarm is raised at the laptop whatever the broker does."""
    for each in it.plant.instruments:
        if each.level != it.module.HIGH:
            it.plant.wishes[await it.plant.raise_alarm(each.name)] = time.monotonic()
            return


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the matrix: broker settings, what happens, and how much is said meanwhile."""

    play: Callable[[Scene], Awaitable[None]]
    settings: tuple[str, ...] = ()
    acl: str | None = None
    rate: float = 10.0
    instruments: int = 4
    gapless: bool = True
    patience_s: float = 20.0
    busy: bool = False


ROWS = {
    "stopped": Row(stopped),
    "frozen": Row(frozen),
    "restarted empty": Row(restarted_empty),
    "topic refused": Row(
        topic_refused,
        acl="topic deny dosegate/v1/plant/detector/d2/sample\ntopic readwrite #\n",
        gapless=False,
    ),
    "packet limited": Row(packet_limited, ("max_packet_size 4000",), gapless=False),
    "queue limited": Row(
        queue_limited, ("max_queued_messages 5", "max_inflight_messages 20"), gapless=False
    ),
    "slow": Row(slow, rate=500.0, instruments=2, busy=True),
    "half-open": Row(half_open),
    "same client id": Row(same_client_id, patience_s=120.0),
    "flapping": Row(flapping),
}


@asynccontextmanager
async def scene(
    row: Row, plants: Any, module: Any, broker: Any, until: Any, *, long: bool
) -> AsyncIterator[Scene]:
    """Broker, proxy, collector and plant, all well."""
    broker.start("set_tcp_nodelay true", *row.settings, acl=row.acl)
    collector = module.Collector(broker.port, qos=1 if row.play is queue_limited else 0)
    async with Proxy(broker.port) as proxy:
        await collector.start()
        url = f"mqtt://127.0.0.1:{proxy.port}"
        sink = {"keepalive_s": KEEPALIVE_S}
        async with plants(url, rate=row.rate, instruments=row.instruments, sink=sink) as plant:
            settings = ("set_tcp_nodelay true", *row.settings)
            it = Scene(plant, module, broker, proxy, collector, long, until, settings=settings)
            try:
                yield it
            finally:
                it.collector.stop()


@pytest.mark.parametrize(
    "long", [pytest.param(False, id="short"), pytest.param(True, marks=pytest.mark.torture)]
)
@pytest.mark.parametrize("name", ROWS)
async def test_outage(
    name: str,
    long: bool,
    plants: Any,
    plant: Any,
    mosquitto: Any,
    oracles: Any,
    until: Any,
    figure: Any,
) -> None:
    row = ROWS[name]
    async with scene(row, plants, plant, mosquitto, until, long=long) as it:
        await until(lambda: len(it.collector.bodies("sample")) > 20, "samples flow")
        first = await it.plant.raise_alarm(it.plant.instruments[-1].name)
        await until(lambda: it.collector.events("raised", occurrence=first), "the first alarm")
        usage = oracles.Usage(it.plant.pid())
        rss_mb = usage.rss_mb()
        await row.play(it)
        share, grown_mb = usage.share(), usage.rss_mb() - rss_mb

        for occurrence in it.plant.wishes:
            if row.play is not queue_limited:
                await until(
                    lambda o=occurrence: it.collector.events("raised", occurrence=o),
                    "an alarm of the fault's time arrives, without a restart",
                    row.patience_s,
                )
        await it.plant.quiet()
        await until(lambda: not it.plant.owed(), "everything is delivered", 60)
        assert await it.plant.daemon.stop() == 0
        await until(lambda: it.collector.newest("/status").get("state") == "stopping", "the end")
        values, records = judged(it, row, plant, oracles)
        figure(
            share=round(share, 3),
            rss_mb=round(rss_mb),
            grown_mb=round(grown_mb),
            alarms=1 + len(it.plant.wishes),
            values=values,
            records=records,
            **it.figures,
        )
        assert row.busy or share < oracles.BUSY_SHARE, f"{share:.0%} of a core"
        assert rss_mb + grown_mb < RSS_MB
        assert grown_mb < GROWTH_MB


def judged(it: Scene, row: Row, module: Any, oracles: Any) -> tuple[int, int]:
    """What arrived against what was said; how many values and records."""
    if row.play is queue_limited:
        return 0, 0
    delivered = oracles.Delivered()
    for heard in it.collector.heard:
        delivered.take_body(heard.body)
    values = module.check_values(it.plant, it.collector, missing=it.refused)
    lanes = ("alarms", "samples") if row.gapless else ("alarms",)
    return values, delivered.check_numbers({}, *lanes)
