"""The MQTT client of a sink through slow, dead and flapping links, and brokers that misbehave."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import aiomqtt
import pytest

from config.models import Sink
from gateway.backoff import BackOffLimits
from gateway.delivery.reader import Pace, SinkReader
from gateway.documents import DocumentStore
from gateway.journal.journal import Journal
from gateway.journal.record import JournalLimits
from gateway.publisher import publisher
from gateway.publisher.names import Names
from gateway.publisher.publisher import Publisher
from gateway.publisher.values import PublisherState, Roots
from gateway.replay import ended
from gateway.values import Document, Entry, Lane, Notice
from simulators.broker import Broker, Reason
from simulators.proxy import Proxy

ROOTS = Roots("dosegate/v1", "dosegate-exercise/v1")
HOME = "dosegate/v1/north/"
NAME = "dosegate-north-hall"
PAD = b"x" * 180


@dataclass(slots=True)
class Bench:
    """One sink, all the way."""

    journal: Journal
    reader: SinkReader
    documents: DocumentStore
    publisher: Publisher
    notices: list[Notice] = field(default_factory=list)

    async def online(self) -> None:
        """Returns when it is connected."""
        await until(lambda: self.publisher.counters.state is PublisherState.ONLINE)

    async def drained(self, samples: int = 0) -> None:
        """Returns when so many samples are stored and the sink is owed nothing."""
        await until(lambda: self.journal.newest()[Lane.SAMPLES] >= samples)
        await until(lambda: self.publisher.counters.acknowledged and not self.publisher.owed())

    def told(self, kind: str) -> list[bool]:
        """The beginnings and ends of a condition."""
        return [notice.present for notice in self.notices if notice.kind == kind]

    def detail(self, kind: str) -> str:
        """The newest detail of a condition."""
        return next(n.detail for n in reversed(self.notices) if n.kind == kind)


async def until(check: Callable[[], object], timeout_s: float = 30.0) -> None:
    """Returns as soon as ``check`` holds; fails at the deadline."""
    async with asyncio.timeout(timeout_s):
        while not check():
            turned = asyncio.Event()
            asyncio.get_running_loop().call_later(0.002, turned.set)
            await turned.wait()


def now() -> float:
    return asyncio.get_running_loop().time()


def status(state: str) -> bytes:
    return b'{"kind":"status","state":"%b"}' % state.encode()


@asynccontextmanager
async def bench(
    directory: Path, *brokers: str, names: Names | None = None, **settings: Any
) -> AsyncIterator[Bench]:
    """A publisher that runs until the block ends."""
    sink = Sink(id="hall", brokers=brokers, **settings)
    journal = await Journal.open(directory, ["hall"], limits=JournalLimits(group_s=0.005))
    reader = SinkReader(journal, "hall", pace=Pace(backlog_per_s=20_000.0))
    documents = DocumentStore("north", journal.epoch, ["hall"], removed=journal.forget)
    notices: list[Notice] = []
    publisher = Publisher(
        sink,
        reader,
        documents,
        "north",
        ROOTS,
        status,
        random=Random(1),
        notify=notices.append,
        names=names,
        ended=lambda occurrences: ended(occurrences, journal),
    )
    task = asyncio.create_task(publisher.run(), name="publisher")
    try:
        yield Bench(journal, reader, documents, publisher, notices)
    finally:
        publisher.stop()
        async with asyncio.timeout(15):
            await task
        reader.close()
        await journal.close()


def samples(count: int) -> list[Entry]:
    return [
        Entry(Lane.SAMPLES, f"detector/d{n % 5}/sample", b'{"n":%d,"pad":"%b"}' % (n, PAD))
        for n in range(count)
    ]


def alarm(number: int, pad: bytes = b"") -> Entry:
    return Entry(Lane.ALARMS, "alarm/event", b'{"event":%d,"pad":"%b"}' % (number, pad))


def url(port: int) -> str:
    return f"mqtt://127.0.0.1:{port}"


def listen(broker: Broker, topic: str = "alarm/event") -> list[tuple[float, dict[str, Any]]]:
    """What arrives at the broker on this topic, with the loop's time."""
    arrived: list[tuple[float, dict[str, Any]]] = []
    broker.subscribe(
        lambda m: arrived.append((now(), json.loads(m.payload) if m.payload else {})), HOME + topic
    )
    return arrived


async def test_alarms_arrive_within_2_s_over_1_kilobyte_a_second(tmp_path: Path) -> None:
    """Samples, documents and the state of older alarms wait; each alarm brings its own state."""
    async with Broker() as broker, Proxy(broker.port) as proxy:
        proxy.limit(1000)
        arrived = listen(broker)
        async with bench(tmp_path, url(proxy.port)) as it:
            it.journal.append(samples(10_000))
            about = b'{"pad":"%b"}' % PAD
            it.documents.put([Document(f"detector/d{n}/about", about) for n in range(50)])
            await it.online()
            late: list[float] = []
            for number in range(5):
                seen = broker.statistics.received
                await until(lambda seen=seen: broker.statistics.received > seen + 4)
                at = now()
                await it.journal.commit([alarm(number, PAD * 4)])
                body = b'{"pad":"%b"}' % (PAD * 7)
                it.documents.put([Document(f"alarm/active/o{number}", body)])
                await until(lambda number=number: len(arrived) > number)
                late.append(arrived[-1][0] - at)
            assert max(late) < 2.0, late
            assert it.publisher.counters.losses == 0
            figures = it.publisher.figures()
            assert 500 < (figures.rate_bytes_s or 0) < 2500
            proxy.heal()
            await until(lambda: (it.publisher.figures().rate_bytes_s or 0) > 100_000)


async def test_counters_give_way_on_a_slow_link_and_the_heartbeat_does_not(tmp_path: Path) -> None:
    async with (
        Broker() as broker,
        Proxy(broker.port) as proxy,
        bench(tmp_path, url(proxy.port)) as it,
    ):
        beats, counters = listen(broker, "heartbeat"), listen(broker, "health")

        async def tell(times: int) -> None:
            for _ in range(times):
                count = len(beats)
                it.publisher.tell("health", b'{"pad":"%b"}' % (PAD * 2))
                it.publisher.tell("heartbeat", b"{}")
                await until(lambda count=count: len(beats) > count)

        await it.drained()
        await tell(3)
        assert len(counters) == 3
        proxy.limit(1000)
        it.journal.append(samples(1000))
        seen = broker.statistics.received
        await until(lambda: broker.statistics.received > seen + 15)
        await tell(3)
        assert len(counters) == 4


async def test_alarm_events_keep_behind_the_active_set_where_that_has_no_room(
    tmp_path: Path,
) -> None:
    """Two documents fill what alarms may have on their way on a link that nothing is known of."""
    async with Broker() as broker:
        await broker.stop()
        order: list[str] = []
        broker.subscribe(lambda m: order.append(m.topic.removeprefix(HOME)), HOME + "#")
        async with bench(tmp_path, url(broker.port)) as it:
            it.journal.append(samples(20))
            await it.journal.commit([alarm(number) for number in range(50)])
            large = b'{"pad":"%b"}' % (PAD * 8)
            it.documents.put([Document(f"alarm/active/o{n}", large) for n in range(3)])
            await until(lambda: it.publisher.counters.last_error)
            await broker.start()
            await it.drained(20)
        kinds = [topic for topic in order if topic != "status"]
        assert [topic.rpartition("/")[0] for topic in kinds[:3]] == ["alarm/active"] * 3
        assert kinds[3:53] == ["alarm/event"] * 50
        assert all(topic.endswith("/sample") for topic in kinds[53:])


async def test_many_alarm_events_do_not_keep_back_how_alarms_stand(tmp_path: Path) -> None:
    async with (
        Broker() as broker,
        Proxy(broker.port) as proxy,
        bench(tmp_path, url(proxy.port)) as it,
    ):
        await it.drained()
        proxy.limit(10_000)
        await it.journal.commit([alarm(n, PAD) for n in range(500)])
        events, states = listen(broker), listen(broker, "alarm/active/now")
        await until(lambda: events)
        it.documents.put([Document("alarm/active/now", b"{}")])
        await until(lambda: states)
        assert len(events) < 250


@pytest.mark.parametrize("is_known", [True, False])
async def test_a_message_that_takes_longer_than_any_deadline_arrives(
    tmp_path: Path, is_known: bool
) -> None:
    """What is between swallows it whole, so that nothing is seen to move for 10 s."""
    large = Entry(Lane.SAMPLES, "detector/a/sample", b'{"pad":"%b"}' % (b"x" * 40_000))
    async with (
        Broker() as broker,
        Proxy(broker.port) as proxy,
        bench(tmp_path, url(proxy.port), keepalive_s=5) as it,
    ):
        if is_known:
            proxy.limit(4000)
        it.journal.append(samples(100))
        await it.drained(100)
        proxy.limit(4000)
        began = now()
        it.journal.append([large])
        await it.drained(101)
        assert now() - began > 8
        assert it.publisher.counters.losses <= (0 if is_known else 2)


async def test_patience_with_one_message_grows_until_it_is_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was measured before may be wrong for a large one."""
    monkeypatch.setattr("gateway.publisher.window.Window.patience_s", lambda *_: 0.5)
    large = Entry(Lane.SAMPLES, "detector/a/sample", b'{"pad":"%b"}' % (b"x" * 12_000))
    async with (
        Broker() as broker,
        Proxy(broker.port) as proxy,
        bench(tmp_path, url(proxy.port)) as it,
    ):
        await it.drained()
        proxy.limit(3000)
        it.journal.append([large])
        await it.drained(1)
        assert 1 <= it.publisher.counters.losses <= 4


@pytest.mark.parametrize("busy", [True, False])
async def test_a_half_open_link_is_noticed(tmp_path: Path, busy: bool) -> None:
    async with (
        Broker() as broker,
        Proxy(broker.port) as proxy,
        bench(tmp_path, url(proxy.port), keepalive_s=5) as it,
    ):
        await it.drained()
        started = now()
        await until(lambda: now() - started > 3)  # all subscriptions are answered
        proxy.blackhole()
        began = now()
        if busy:
            it.journal.append(samples(10))
        await until(lambda: it.publisher.counters.losses)
        took_s = now() - began
        assert took_s < 1.5 * 5 + 1.5
        proxy.heal()
        await it.drained()


async def test_an_idle_link_stays_open(tmp_path: Path) -> None:
    """Pings are answered, and the broker hears from the client often enough."""
    async with Broker() as broker, bench(tmp_path, url(broker.port), keepalive_s=5) as it:
        await it.drained()
        began = now()
        await until(lambda: now() - began > 8.5)
        assert it.publisher.counters.losses == 0


async def test_100_documents_are_there_again_5_s_after_a_broker_lost_all(tmp_path: Path) -> None:
    async with Broker() as broker, bench(tmp_path, url(broker.port)) as it:
        it.documents.put([Document(f"detector/d{n}/about", b"{}") for n in range(100)])
        await until(lambda: len(broker.retained) == 101)
        await broker.stop()
        broker.forget()
        began = now()
        await broker.start()
        await until(lambda: len(broker.retained) == 101)
        assert now() - began < 5.0


async def test_a_link_that_flaps_is_not_stormed(tmp_path: Path) -> None:
    async with (
        Broker() as broker,
        Proxy(broker.port) as proxy,
        bench(tmp_path, url(proxy.port)) as it,
    ):
        for _ in range(4):
            await it.online()
            proxy.cut()
            await proxy.refuse()
            began = now()
            await until(lambda began=began: now() - began > 1.0)
            await proxy.admit()
        began = now()
        await it.online()
        assert now() - began < 5.5
        assert proxy.connections <= 10
        assert not it.told("client_id_in_use")


async def test_it_is_back_within_two_seconds(tmp_path: Path) -> None:
    async with (
        Broker() as broker,
        Proxy(broker.port) as proxy,
        bench(tmp_path, url(proxy.port)) as it,
    ):
        await it.online()
        proxy.cut()
        began = now()
        await until(lambda: it.publisher.counters.reconnects == 1)
        assert now() - began < 2.0


async def test_a_namesake_is_told_of_and_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "gateway.publisher.publisher.LIMITS", BackOffLimits(first_s=0.02, cap_s=0.05)
    )
    monkeypatch.setattr(publisher, "SETTLED_S", 1.0)
    async with Broker() as broker, bench(tmp_path / "a", url(broker.port)) as one:
        await one.online()
        async with bench(tmp_path / "b", url(broker.port)) as other:
            await until(lambda: one.told("client_id_in_use") or other.told("client_id_in_use"))
            loser = one if one.told("client_id_in_use") else other
            assert NAME in loser.detail("client_id_in_use")
            takeovers = broker.statistics.takeovers
            assert takeovers <= 8
            began = now()
            await until(lambda: now() - began > 1.0)
            assert broker.statistics.takeovers <= takeovers + 1


async def test_a_broker_refuses_a_topic_and_the_rest_flows(tmp_path: Path) -> None:
    async with Broker() as broker, bench(tmp_path, url(broker.port)) as it:
        broker.refuse(HOME + "detector/d3/#")
        it.journal.append(samples(50))
        await until(lambda: it.reader.refused == 10)
        await it.drained()
        received = broker.statistics.received
        assert it.told("publish_refused") == [True]
        assert "0x87" in it.detail("publish_refused")
        assert "detector/d3/sample" in it.detail("publish_refused")
        it.publisher.quarantine_emptied()
        assert it.told("publish_refused") == [True, False]
        assert broker.statistics.received == received  # nothing goes round and round


async def test_a_full_broker_is_asked_again_without_losing_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "gateway.publisher.publisher.LIMITS", BackOffLimits(first_s=0.02, cap_s=0.05)
    )
    async with Broker() as broker, bench(tmp_path, url(broker.port)) as it:
        broker.refuse(HOME + "detector/#", Reason.QUOTA_EXCEEDED)
        it.journal.append(samples(20))
        await until(lambda: "quota" in it.publisher.counters.last_error)
        broker.allow(HOME + "detector/#")
        await it.drained()
        assert it.reader.refused == 0


async def test_alarm_events_that_nobody_hears_are_told(tmp_path: Path) -> None:
    async with Broker() as broker, bench(tmp_path, url(broker.port)) as it:
        await it.journal.commit([alarm(1)])
        await until(lambda: it.told("no_subscriber") == [True])
        assert it.publisher.counters.unheard == 1
        sink = Sink(id="ear", brokers=(url(broker.port),))
        async with subscriber(broker, sink):
            await it.journal.commit([alarm(2)])
            await until(lambda: it.told("no_subscriber") == [True, False])
        assert it.publisher.counters.unheard == 1


async def test_with_mqtt_3_refusals_cannot_be_seen_and_that_is_said(tmp_path: Path) -> None:
    async with Broker() as broker, bench(tmp_path, url(broker.port), protocol="3.1.1") as it:
        await it.journal.commit([alarm(1)])
        await it.drained()
        assert not it.publisher.figures().sees_refusals
        assert not it.told("no_subscriber")


@asynccontextmanager
async def subscriber(broker: Broker, sink: Sink) -> AsyncIterator[None]:
    async with aiomqtt.Client("127.0.0.1", broker.port, timeout=5) as client:
        await client.subscribe(HOME + "#")
        yield


async def test_it_returns_to_a_preferred_broker_in_an_orderly_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.publisher.brokers.PROBE_S", 0.05)
    monkeypatch.setattr("gateway.publisher.publisher.STABLE_S", 0.1)
    monkeypatch.setattr("gateway.publisher.publisher.WATCH_S", 0.02)
    async with Broker() as first, Broker() as second:
        await first.stop()
        states = listen(second, "status")
        async with bench(tmp_path, url(first.port), url(second.port)) as it:
            it.journal.append(samples(20))
            await it.drained(20)
            assert it.publisher.figures().broker.endswith(str(second.port))
            await first.start()
            await until(lambda: it.publisher.counters.broker.endswith(str(first.port)))
            await it.online()
            it.journal.append(samples(20))
            await it.drained(40)
        assert [body["state"] for _, body in states] == ["online", "stopping"]
        assert second.statistics.wills == 0
        assert first.statistics.received >= 20


async def test_a_broker_that_only_listens_is_returned_to_less_and_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.publisher.brokers.PROBE_S", 0.05)
    monkeypatch.setattr("gateway.publisher.publisher.STABLE_S", 0.1)
    monkeypatch.setattr("gateway.publisher.publisher.WATCH_S", 0.02)
    async with Broker() as first, Broker() as second:
        first.refuse_connections(Reason.SERVER_BUSY)
        async with bench(tmp_path, url(first.port), url(second.port)) as it:
            await until(lambda: it.publisher.counters.connects == 4)
            assert it.publisher._list._wait_s >= 0.05 * 2**3


async def test_orphans_are_told_and_removed_only_by_an_operator(tmp_path: Path) -> None:
    async with Broker() as broker:
        await broker.publish(HOME + "alarm/active/old", b'{"occurrence":"old"}', retain=True)
        async with bench(tmp_path, url(broker.port)) as it:
            it.documents.put([Document("alarm/active/new", b'{"occurrence":"new"}')])
            await until(lambda: it.told("orphans") == [True])
            assert it.detail("orphans") == "old"
            assert [orphan.occurrence for orphan in it.publisher.orphans] == ["old"]
            assert HOME + "alarm/active/old" in broker.retained
            assert not it.publisher.remove_orphan("new")
            assert it.publisher.remove_orphan("old")
            await until(lambda: it.told("orphans") == [True, False])
            assert HOME + "alarm/active/old" not in broker.retained
            assert HOME + "alarm/active/new" in broker.retained


async def test_what_ended_while_a_broker_was_away_is_removed_there(tmp_path: Path) -> None:
    topic = "alarm/active/o1"
    async with Broker() as first, Broker() as second:
        await second.publish(HOME + topic, b'{"occurrence":"o1"}', retain=True)
        async with bench(tmp_path, url(first.port), url(second.port)) as it:
            it.documents.put([Document(topic, b'{"occurrence":"o1"}')])
            await until(lambda: HOME + topic in first.retained)
            it.documents.put([Document(topic, b"")])
            await until(lambda: HOME + topic not in first.retained)
            await it.drained()
            await first.stop()
            await until(lambda: HOME + topic not in second.retained)
            assert not it.told("orphans")


async def test_what_ended_before_a_restart_is_removed_where_it_is_still_held(
    tmp_path: Path,
) -> None:
    """Its broker was away then. What the journal does not know to be over stays, and is told."""

    def event(name: str, occurrence: str) -> Entry:
        body = b'{"event":"%b","occurrence":"%b"}' % (name.encode(), occurrence.encode())
        return Entry(Lane.ALARMS, "alarm/event", body)

    def topic(occurrence: str) -> str:
        return f"{HOME}alarm/active/{occurrence}"

    async with Broker() as first, Broker() as second:
        for name in ("over", "open", "strange"):
            body = b'{"occurrence":"%b"}' % name.encode()
            await second.publish(topic(name), body, retain=True)
        async with bench(tmp_path, url(first.port)) as it:
            await it.journal.commit([event("raised", "over"), event("raised", "open")])
            await it.journal.commit([event("closed", "over"), event("returned", "open")])
            await it.drained()
        async with bench(tmp_path, url(first.port), url(second.port)) as it:
            await it.drained()
            await first.stop()
            await until(lambda: topic("over") not in second.retained)
            await until(lambda: it.told("orphans") == [True])
            assert it.detail("orphans") == "open, strange"
            assert {topic("open"), topic("strange")} <= second.retained.keys()


async def test_a_feed_that_is_down_is_told_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.publisher.notices.FEED_DOWN_S", 0.2)
    monkeypatch.setattr("gateway.publisher.publisher.WATCH_S", 0.02)
    broker = Broker()
    await broker.start()
    await broker.stop()
    async with bench(tmp_path, url(broker.port)) as it:
        await until(lambda: it.told("feed_down"))
        assert "refuses connections" in it.detail("feed_down")
        await broker.start()
        await until(lambda: it.told("feed_down") == [True, False])
    await broker.stop()


async def test_what_does_not_speak_mqtt_is_called_so(tmp_path: Path) -> None:
    async def portal(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: http://login/\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(portal, "127.0.0.1")
    async with server, bench(tmp_path, url(server.sockets[0].getsockname()[1])) as it:
        await until(lambda: it.publisher.counters.last_error)
        assert "does not speak MQTT" in it.publisher.counters.last_error


async def test_all_addresses_of_a_name_are_tried_and_a_dead_name_server_is_named(
    tmp_path: Path,
) -> None:
    answers: list[Any] = []

    def look_up(host: str, port: int) -> list[Any]:
        if not answers:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [(socket.AF_INET, 0, 0, "", (each, port)) for each in answers]

    async with Broker() as broker:
        place = f"mqtt://broker.example:{broker.port}"
        async with bench(tmp_path, place, names=Names(look_up)) as it:
            await until(lambda: it.publisher.counters.last_error)
            assert "no DNS answer for broker.example" in it.publisher.counters.last_error
            answers += ["127.0.0.2", "127.0.0.1"]
            await it.online()
            assert it.publisher.figures().address == "127.0.0.1"
            answers.clear()
            broker.cut()
            await until(lambda: it.publisher.counters.reconnects == 1)
