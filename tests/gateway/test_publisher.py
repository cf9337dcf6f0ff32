"""The MQTT client of a sink against a real mosquitto."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest

from config.models import Sink, Tls
from gateway.backoff import BackOffLimits
from gateway.delivery.reader import Pace, SinkReader
from gateway.documents import DocumentStore
from gateway.journal.journal import Journal
from gateway.journal.record import JournalLimits
from gateway.mqtt import Broker, parse_broker, topic_error
from gateway.publisher.publisher import Publisher
from gateway.publisher.trouble import SILENT_TAKEOVERS
from gateway.publisher.values import PublisherState, Remote, Roots
from gateway.values import Document, Entry, Lane

ROOTS = Roots("dosegate/v1", "dosegate-exercise/v1")
HOME = "dosegate/v1/north/"
QUICK = BackOffLimits(first_s=0.02, cap_s=0.05)
NO_DELAY = "set_tcp_nodelay true"
"""Behind a proxy, mosquitto's acknowledgements otherwise wait 40 ms for the proxy's kernel."""
real_broker = pytest.mark.mosquitto


@dataclass(frozen=True, slots=True)
class Bench:
    """One sink, all the way."""

    journal: Journal
    reader: SinkReader
    documents: DocumentStore
    publisher: Publisher

    async def drained(self, samples: int = 0) -> None:
        """Returns when so many samples are stored and the sink is owed nothing."""
        await until(lambda: self.journal.newest()[Lane.SAMPLES] >= samples)
        await until(lambda: not self.publisher.owed())


async def until(check: Callable[[], object], timeout_s: float = 30.0) -> None:
    """Returns as soon as ``check`` holds; fails at the deadline."""
    async with asyncio.timeout(timeout_s):
        while not check():
            turned = asyncio.Event()
            asyncio.get_running_loop().call_later(0.002, turned.set)
            await turned.wait()


def status(state: str) -> bytes:
    return b'{"kind":"status","state":"%b"}' % state.encode()


@asynccontextmanager
async def bench(
    directory: Path, *brokers: str, remote: Remote | None = None, **settings: Any
) -> AsyncIterator[Bench]:
    """A publisher that runs until the block ends."""
    sink = Sink(id="hall", brokers=brokers, **settings)
    journal = await Journal.open(directory, ["hall"], limits=JournalLimits(group_s=0.005))
    reader = SinkReader(journal, "hall", pace=Pace(backlog_per_s=20_000.0))
    documents = DocumentStore("north", journal.epoch, ["hall"], removed=journal.forget)
    publisher = Publisher(
        sink, reader, documents, "north", ROOTS, status, random=Random(1), remote=remote
    )
    task = asyncio.create_task(publisher.run(), name="publisher")
    try:
        yield Bench(journal, reader, documents, publisher)
    finally:
        publisher.stop()
        async with asyncio.timeout(10):
            await task
        reader.close()
        await journal.close()


def samples(first: int, last: int) -> list[Entry]:
    return [
        Entry(Lane.SAMPLES, f"detector/d{n % 5}/sample", b'{"n":%d}' % n)
        for n in range(first, last + 1)
    ]


def alarm(number: int) -> Entry:
    return Entry(Lane.ALARMS, "alarm/event", b'{"event":%d}' % number)


def bodies(heard: Iterable[Any], ending: str) -> list[dict[str, Any]]:
    return [json.loads(each.payload) for each in heard if each.topic.endswith(ending)]


def is_ordered(messages: list[dict[str, Any]]) -> bool:
    """Per detector, first arrivals in order, within live and within the backlog."""
    newest: dict[tuple[int, bool], int] = {}
    seen: set[int] = set()
    for message in messages:
        if message["seq"] in seen:
            continue
        seen.add(message["seq"])
        key = (message["n"] % 5, message.get("replayed", False))
        if newest.get(key, 0) > message["seq"]:
            return False
        newest[key] = message["seq"]
    return True


@real_broker
async def test_what_is_journalled_arrives_with_its_number(tmp_path: Path, mosquitto: Any) -> None:
    mosquitto.start()
    async with mosquitto.subscriber() as heard, bench(tmp_path, mosquitto.url) as it:
        it.journal.append(samples(1, 300))
        assert await it.journal.commit(
            [alarm(1), Entry(Lane.EXERCISE_ALARMS, "alarm/event", b"{}")]
        )
        await it.drained(300)
        await heard.until(303)
        found = bodies(heard.heard, "/sample")
        assert [message["seq"] for message in found] == list(range(1, 301))
        assert found[0] == {
            "schema": "dosegate/1",
            "gateway": "north",
            "lane": "samples",
            "epoch": 1,
            "seq": 1,
            "n": 1,
        }
        topics = {each.topic for each in heard.heard}
        assert topics == {
            HOME + "status",
            HOME + "alarm/event",
            "dosegate-exercise/v1/north/alarm/event",
            *(HOME + f"detector/d{n}/sample" for n in range(5)),
        }
        assert heard.heard[0].topic == HOME + "status"
        counters = it.publisher.counters
        assert (counters.state, counters.refused, counters.reconnects) == (
            PublisherState.ONLINE,
            0,
            0,
        )
    assert it.publisher.counters.state is PublisherState.STOPPED


@real_broker
async def test_a_broker_that_is_absent_at_the_start(tmp_path: Path, mosquitto: Any) -> None:
    async with bench(tmp_path, mosquitto.url) as it:
        it.journal.append(samples(1, 50))
        await it.journal.commit([alarm(1)])
        await until(lambda: it.publisher.counters.last_error)
        mosquitto.start()
        began = asyncio.get_running_loop().time()
        async with mosquitto.subscriber():
            await it.drained(50)
        assert asyncio.get_running_loop().time() - began < 2.0
        assert it.publisher.counters.acknowledged >= 52


@real_broker
async def test_every_number_arrives_though_the_link_is_cut_under_load(
    tmp_path: Path, mosquitto: Any, proxy: Any
) -> None:
    mosquitto.start(NO_DELAY)
    await proxy.start()
    async with mosquitto.subscriber(HOME + "#") as heard, bench(tmp_path, proxy.url) as it:
        for cut in range(4):
            for start in range(cut * 1000 + 1, cut * 1000 + 1001, 50):
                it.journal.append(samples(start, start + 49))
            await it.journal.commit([alarm(cut)])
            seen = len(heard.heard)
            await heard.until(seen + 100)
            await proxy.cut()
            await until(lambda: it.publisher.counters.state is not PublisherState.ONLINE)
            await proxy.start()
        await it.drained(4000)
        await until(lambda: len({m["n"] for m in bodies(heard.heard, "/sample")}) == 4000)
        found = bodies(heard.heard, "/sample")
        assert {message["seq"] for message in found} == set(range(1, 4001))
        assert is_ordered(found)
        events = [message["seq"] for message in bodies(heard.heard, "alarm/event")]
        assert list(dict.fromkeys(events)) == [1, 2, 3, 4]
        assert it.publisher.counters.reconnects == 4


@real_broker
async def test_every_number_arrives_though_the_broker_dies_under_load(
    tmp_path: Path, mosquitto: Any, proxy: Any
) -> None:
    arrived: list[Any] = []
    async with bench(tmp_path, proxy.url) as it:
        for outage in range(4):
            mosquitto.start(NO_DELAY)
            async with mosquitto.subscriber(HOME + "#") as heard:
                await proxy.start()
                first = outage * 1000 + 1
                for start in range(first, first + 1000, 50):
                    it.journal.append(samples(start, start + 49))
                await until(lambda heard=heard: len(heard.heard) > 300)
                if outage == 3:
                    await it.drained(4000)
                mosquitto.kill()
                await proxy.cut()
                await until(lambda: it.publisher.counters.state is not PublisherState.ONLINE)
                await until(lambda heard=heard: heard._disconnected.done())
            arrived += heard.heard
    found = bodies(arrived, "/sample")
    assert {message["seq"] for message in found} == set(range(1, 4001))
    assert is_ordered(found)


@real_broker
async def test_a_refused_topic_is_set_aside_and_others_flow(tmp_path: Path, mosquitto: Any) -> None:
    mosquitto.start(acl="topic readwrite dosegate/#\ntopic deny dosegate/v1/north/detector/d3/#\n")
    async with mosquitto.subscriber("dosegate/#") as heard, bench(tmp_path, mosquitto.url) as it:
        it.journal.append(samples(1, 100))
        await it.drained(100)
        await until(lambda: len(bodies(heard.heard, "/sample")) == 80)
        assert it.publisher.counters.refused == it.reader.refused == 20
        assert {m["n"] % 5 for m in bodies(heard.heard, "/sample")} == {0, 1, 2, 4}


@real_broker
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_what_is_too_large_for_the_broker_is_set_aside(
    tmp_path: Path, mosquitto: Any, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MQTT 5 brokers say how much they take, 3.1.1 ones only close the connection."""
    monkeypatch.setattr("gateway.publisher.publisher.LIMITS", QUICK)
    mosquitto.start("max_packet_size 2000")
    large = Entry(Lane.SAMPLES, "detector/d0/sample", b'{"n":0,"pad":"%b"}' % (b"x" * 5000))
    async with (
        mosquitto.subscriber(HOME + "#") as heard,
        bench(tmp_path, mosquitto.url, protocol=protocol) as it,
    ):
        it.journal.append([*samples(1, 30), large, *samples(31, 60)])
        await it.drained(61)
        assert it.publisher.counters.refused == 1
        await until(lambda: {m["n"] for m in bodies(heard.heard, "/sample")} == set(range(1, 61)))
        assert (it.publisher.counters.losses > 0) == (protocol == "3.1.1")


@real_broker
async def test_documents_are_retained_and_restored_and_removed(
    tmp_path: Path, mosquitto: Any
) -> None:
    mosquitto.start()
    active = Document("alarm/active/o1", b'{"occurrence":"o1"}', durable=True)
    async with bench(tmp_path, mosquitto.url) as it:
        it.documents.put([Document("post/gate", b'{"post":"gate"}'), active])
        await until(lambda: it.publisher.counters.acknowledged >= 3)
        mosquitto.kill()
        await until(lambda: it.publisher.counters.state is not PublisherState.ONLINE)
        it.documents.put([Document("detector/a/state", b'{"state":"ok"}')])
        mosquitto.start()
        await it.drained()
        await until(lambda: it.publisher.counters.acknowledged >= 7)
        async with mosquitto.subscriber(HOME + "#") as heard:
            retained = await heard.until(4)
            assert all(each.retained for each in retained)
            assert {each.topic for each in retained} == {
                HOME + topic
                for topic in ("status", "post/gate", "alarm/active/o1", "detector/a/state")
            }
            assert await it.journal.commit([alarm(1)], [Document(active.topic, b"", durable=True)])
            it.documents.put([Document(active.topic, b"", durable=True)])
            await heard.until(6)
            assert [(each.topic, bool(each.payload)) for each in heard.heard[4:]] == [
                (HOME + "alarm/event", True),
                (HOME + "alarm/active/o1", False),
            ]
            await it.drained()
    journal = await Journal.open(tmp_path, ["hall"])
    assert journal.durable_documents() == ()
    await journal.close()


@real_broker
async def test_the_end_of_an_alarm_precedes_its_removal_after_a_restart(
    tmp_path: Path, mosquitto: Any
) -> None:
    async with bench(tmp_path, mosquitto.url) as it:
        it.journal.append(samples(1, 20))
        await it.journal.commit([alarm(n) for n in range(50)])
    async with bench(tmp_path, mosquitto.url) as it:
        it.documents.put([Document("alarm/active/o2", b'{"occurrence":"o2"}')])
        it.documents.put([Document("alarm/active/o1", b"")])
        it.documents.put([Document("post/gate", b"{}")])
        await until(lambda: it.publisher.counters.last_error)
        mosquitto.start()
        async with mosquitto.subscriber("none"):
            await it.drained()
    # Order on the wire, as the broker wrote it down.
    order = [
        line.rsplit("'", 2)[-2].removeprefix(HOME)
        for line in mosquitto.log().splitlines()
        if "Received PUBLISH" in line
    ]
    assert order[0] == "status"
    assert order[1] == "alarm/active/o2"
    assert order[2:52] == ["alarm/event"] * 50
    assert sorted(order[52:54]) == ["alarm/active/o1", "post/gate"]
    assert all(topic.endswith("/sample") for topic in order[54:-1])
    assert order[-1] == "status"


@real_broker
async def test_the_will_says_lost_and_a_stop_says_stopping(tmp_path: Path, mosquitto: Any) -> None:
    mosquitto.start()
    async with mosquitto.subscriber(HOME + "status") as heard:
        async with bench(tmp_path, mosquitto.url):
            await heard.until(1)
        stopped = await heard.until(2)
        assert [m["state"] for m in bodies(stopped, "status")] == ["online", "stopping"]
        async with bench(tmp_path, mosquitto.url) as it:
            await heard.until(3)
            session = it.publisher._session
            assert session is not None
            session.giving_up = "test"
            it.reader.ready.set()
            await heard.until(5)
        states = bodies(heard.heard, "status")
        assert [m["state"] for m in states[2:5]] == ["online", "lost", "online"]
        revisions = [m["revision"] for m in states]
        assert revisions == sorted(revisions)


@real_broker
async def test_a_silent_broker_is_given_up(
    tmp_path: Path, mosquitto: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped process keeps its connections open and answers nothing."""
    monkeypatch.setattr("gateway.publisher.window.Window.patience_s", lambda *_: 0.3)
    mosquitto.start()
    async with bench(tmp_path, mosquitto.url) as it:
        await until(lambda: it.publisher.counters.acknowledged == 1)
        mosquitto.freeze()
        it.journal.append(samples(1, 10))
        await until(lambda: it.publisher.counters.losses == 1)
        assert "acknowledgement" in it.publisher.counters.last_error
        mosquitto.thaw()
        await it.drained(10)


@real_broker
async def test_the_next_broker_of_the_list_takes_over(tmp_path: Path, mosquitto: Any) -> None:
    mosquitto.start()
    async with bench(tmp_path, "mqtt://127.0.0.1:1", mosquitto.url) as it:
        it.journal.append(samples(1, 10))
        await it.drained(10)
        assert it.publisher.counters.broker == mosquitto.url.removeprefix("mqtt://")


@real_broker
async def test_alarms_without_a_listener_are_counted(tmp_path: Path, mosquitto: Any) -> None:
    mosquitto.start()
    async with bench(tmp_path, mosquitto.url) as it:
        await it.journal.commit([alarm(1), alarm(2)])
        await it.drained()
        assert it.publisher.counters.unheard == 2
        assert it.publisher.counters.refused == 0


@real_broker
async def test_commands_come_in_and_notes_go_out(tmp_path: Path, mosquitto: Any) -> None:
    mosquitto.start()
    got: list[tuple[str, bytes, bool]] = []
    remote = Remote((HOME + "command/#",), lambda *message: got.append(message))
    async with (
        mosquitto.subscriber(HOME + "heartbeat") as heard,
        bench(tmp_path, mosquitto.url, remote=remote) as it,
    ):
        it.publisher.tell("heartbeat", b'{"number":0}')
        await until(lambda: it.publisher.counters.acknowledged == 1)
        it.publisher.tell("heartbeat", b'{"number":1}')
        assert bodies(await heard.until(1), "heartbeat") == [
            {"schema": "dosegate/1", "gateway": "north", "number": 1}
        ]
        await mosquitto.publish(HOME + "command/anna/ack", b"{}")
        await until(lambda: got)
        assert got == [(HOME + "command/anna/ack", b"{}", False)]


@real_broker
async def test_a_password_file_that_is_missing_is_named(tmp_path: Path, mosquitto: Any) -> None:
    mosquitto.start()
    missing = str(tmp_path / "secret")
    settings = {"username": "u", "password_file": missing}
    async with bench(tmp_path / "journal", mosquitto.url, **settings) as it:
        await until(lambda: missing in it.publisher.counters.last_error)
        (tmp_path / "secret").write_text("p\n")
        await until(lambda: it.publisher.counters.state is PublisherState.ONLINE)


@real_broker
async def test_tls_is_verified_and_the_reason_for_a_refusal_told(
    tmp_path: Path, mosquitto: Any
) -> None:
    certificate, key = self_signed(tmp_path)
    mosquitto.start(f"certfile {certificate}", f"keyfile {key}")
    url = mosquitto.url.replace("mqtt://", "mqtts://")
    async with bench(tmp_path / "stranger", url) as it:
        await until(lambda: "unknown CA" in it.publisher.counters.last_error)
        assert it.publisher.counters.connects == 0
    async with bench(tmp_path / "friend", url, tls=Tls(ca_file=str(certificate))) as it:
        it.journal.append(samples(1, 100))
        await it.drained(100)


@real_broker
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_two_with_one_client_id_do_not_fight_for_ever(
    tmp_path: Path, mosquitto: Any, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mosquitto 2.0 does not say in MQTT 3.1.1 why it closes a connection."""
    monkeypatch.setattr("gateway.publisher.publisher.LIMITS", QUICK)
    mosquitto.start()
    settings = {"client_id": "twin", "protocol": protocol}
    async with (
        bench(tmp_path / "a", mosquitto.url, **settings) as one,
        bench(tmp_path / "b", mosquitto.url, **settings) as other,
    ):
        await until(
            lambda: one.publisher.notices.in_conflict or other.publisher.notices.in_conflict
        )
        loser = one if one.publisher.notices.in_conflict else other
        assert loser.publisher.counters.state is PublisherState.WAITING
        assert loser.publisher.counters.connects <= SILENT_TAKEOVERS + 1


def self_signed(directory: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 and its key."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl is not installed: install the Debian package openssl")
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    subprocess.run(
        [
            *(program, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


async def test_a_stop_without_any_broker_is_quick(tmp_path: Path) -> None:
    began = asyncio.get_running_loop().time()
    async with bench(tmp_path, "mqtt://127.0.0.1:1") as it:
        await until(lambda: it.publisher.counters.state is PublisherState.WAITING)
    assert asyncio.get_running_loop().time() - began < 3


def test_brokers_are_urls() -> None:
    assert parse_broker("mqtt://hall") == Broker("hall", 1883, tls=False)
    assert parse_broker("mqtts://[::1]:9000") == Broker("::1", 9000, tls=True)
    for url in ("hall", "http://hall", "mqtt://", "mqtt://hall/x", "mqtt://hall:99999"):
        with pytest.raises(ValueError):
            parse_broker(url)


@pytest.mark.parametrize("topic", ["", "a/+", "a/#", "a\0", "a\x85", "a\ufffe", "a" * 70_000])
def test_topics_that_brokers_choke_on_are_found(topic: str) -> None:
    assert topic_error(topic)
    assert not topic_error("dosegate/v1/north/detector/ä/sample")
