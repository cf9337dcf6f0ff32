"""A running gateway takes commands from a broker, and none of its tasks dies unseen."""

import asyncio
import json
from contextlib import asynccontextmanager
from random import Random

import aiomqtt
import pytest

from config.models import Configuration
from gateway import app, supervision
from gateway.app import Gateway
from gateway.control import ControlClient
from gateway.notify import Notifier
from gateway.supervision import TaskEnded
from gateway.values import Notice
from simulators.broker import Broker

HOME = "dosegate/v1/north/"
USERS = [
    {"id": "olga", "roles": ["operator"]},
    {"id": "otto", "roles": ["operator"]},
    {"id": "anna", "roles": ["assessor"]},
    {"id": "vera", "roles": ["viewer"]},
]


class Alive(Notifier):
    """A service manager that wants a sign of life."""

    def __init__(self):
        super().__init__({})
        self.watchdog_s, self.lives = 0.1, 0

    def alive(self):
        self.lives += 1


class Console:
    """What an operator's console sees and sends."""

    def __init__(self, publish):
        self._publish = publish
        self.heard, self._more = [], asyncio.Event()

    def take(self, topic, payload, retained=False):
        if payload:
            self.heard.append((topic, json.loads(payload)))
        self._more.set()

    async def until(self, check, what=""):
        async with asyncio.timeout(8):
            while not (found := check()):
                self._more.clear()
                await self._more.wait()
        return found

    def of(self, ending):
        return [body for topic, body in self.heard if topic.endswith(ending)]

    async def beat(self):
        """The next heartbeat."""
        before = len(self.of("/heartbeat"))
        await self.until(lambda: len(self.of("/heartbeat")) > before)
        return self.of("/heartbeat")[-1]

    async def message(self, command_id="c1", **arguments):
        beat = await self.beat()
        told = {"id": command_id, "epoch": beat["epoch"], "heartbeat": beat["number"]}
        return json.dumps({**told, "arguments": arguments}).encode()

    async def send(self, name, payload, user="olga", retain=False):
        await self._publish(f"{HOME}command/{user}/{name}", payload, retain)

    async def ask(self, name, user="olga", command_id="c1", **arguments):
        payload = await self.message(command_id, **arguments)
        await self.send(name, payload, user)
        return await self.answer(user, command_id)

    async def answer(self, user="olga", command_id="c1", number=1):
        def found():
            answers = self.of(f"command/{user}/result")
            mine = [one for one in answers if one["command"] == command_id]
            return mine[number - 1] if len(mine) >= number else None

        return await self.until(found)

    async def event(self, event, alarm="clock_unsynchronised"):
        def found():
            events = self.of("/alarm/event")
            return [one for one in events if (one["event"], one["alarm"]) == (event, alarm)]

        return (await self.until(found))[-1]


def configured(folder, port, **sink):
    told = {"id": "hall", "brokers": [f"mqtt://127.0.0.1:{port}"], "commands": True, **sink}
    return Configuration.model_validate(
        {
            "gateway": {
                "id": "north",
                "state_dir": str(folder / "state"),
                "control_socket": str(folder / "control.sock"),
            },
            "user": USERS,
            "sink": [told],
        }
    )


@asynccontextmanager
async def running(folder, port, notifier=None, **sink):
    gateway = Gateway(configured(folder, port, **sink), random=Random(1), notifier=notifier)
    task = asyncio.create_task(gateway.run(), name="gateway")
    try:
        yield gateway
    finally:
        gateway.stop()
        async with asyncio.timeout(20):
            await asyncio.gather(task, return_exceptions=True)
        gateway.end = task


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(app, "HEARTBEAT_S", 0.05)
    monkeypatch.setattr(supervision, "AGAIN_S", 0.01)


@pytest.fixture
async def broker():
    async with Broker() as running:
        yield running


@pytest.fixture
def console(broker):
    async def publish(topic, payload, retain):
        await broker.publish(topic, payload, retain)

    console = Console(publish)
    broker.subscribe(lambda message: console.take(message.topic, message.payload))
    return console


async def an_alarm(gateway, console, kind="clock_unsynchronised"):
    gateway.notify(Notice(kind, True, "for a test"))
    return (await console.event("raised", kind))["occurrence"]


def tasks(name):
    return [one for one in asyncio.all_tasks() if one.get_name() == name]


async def test_a_console_acknowledges_over_the_broker(tmp_path, broker, console):
    async with running(tmp_path, broker.port) as gateway:
        occurrence = await an_alarm(gateway, console)
        answer = await console.ask("acknowledge", occurrence=occurrence)
        assert answer["accepted"]
        assert answer["lane"] == "restricted"
        assert (await console.event("acknowledged"))["actor"] == "olga"


async def test_a_replayed_command_is_executed_once(tmp_path, broker, console):
    async with running(tmp_path, broker.port) as gateway:
        occurrence = await an_alarm(gateway, console)
        payload = await console.message(occurrence=occurrence)
        for _ in range(10):
            await console.send("acknowledge", payload)
        await console.answer(number=10)
        events = [one for one in console.of("/alarm/event") if one["event"] == "acknowledged"]
        assert len(events) == 1
        health = await console.until(lambda: console.of("/health"))
        assert health
        await console.until(lambda: console.of("/health")[-1]["commands"].get("repeated") == 9)


async def test_a_command_crossing_a_restart_is_not_executed_again(tmp_path, broker, console):
    async with running(tmp_path, broker.port) as gateway:
        occurrence = await an_alarm(gateway, console)
        payload = await console.message(occurrence=occurrence)
        await console.send("acknowledge", payload)
        first = await console.answer()
    async with running(tmp_path, broker.port):
        assert (await console.beat())["epoch"] == 2
        await console.send("acknowledge", payload)
        second = await console.answer(number=2)
    assert second["epoch"] == 2
    assert (first["accepted"], first["reason"]) == (second["accepted"], second["reason"])
    events = [one for one in console.of("/alarm/event") if one["event"] == "acknowledged"]
    assert len(events) == 1


async def test_a_retained_command_is_ignored(tmp_path, broker, console):
    async with running(tmp_path, broker.port) as gateway:
        occurrence = await an_alarm(gateway, console)
        payload = await console.message(occurrence=occurrence)
    await broker.publish(f"{HOME}command/olga/acknowledge", payload, retain=True)
    async with running(tmp_path, broker.port):
        await console.until(lambda: (console.of("/health") or [{}])[-1].get("commands"))
        assert console.of("/health")[-1]["commands"] == {"retained": 1}
        assert not console.of("command/olga/result")


async def test_a_sink_that_takes_no_commands_does_not_listen(tmp_path, broker, console):
    async with running(tmp_path, broker.port, commands=False) as gateway:
        occurrence = await an_alarm(gateway, console)
        await console.send("acknowledge", await console.message(occurrence=occurrence))
        await console.beat()
        await console.beat()
        assert not console.of("command/olga/result")
        assert console.of("/health")[-1]["commands"] == {}


async def test_two_operators_on_one_alarm(tmp_path, broker, console):
    async with running(tmp_path, broker.port) as gateway:
        occurrence = await an_alarm(gateway, console)
        payload = await console.message(occurrence=occurrence, revision=1)
        await console.send("acknowledge", payload, "olga")
        await console.send("acknowledge", payload, "otto")
        first, second = await console.answer("olga"), await console.answer("otto")
        assert first["accepted"]
        assert second["reason"] == "already acknowledged by olga"


async def test_a_viewer_is_sent_again_what_was_told(tmp_path, broker, console):
    async with running(tmp_path, broker.port) as gateway:
        occurrence = await an_alarm(gateway, console)
        arguments = {"lane": "alarms", "epoch": 1, "first": 1, "last": 1}
        answer = await console.ask("resend", "vera", **arguments)
        assert answer["reason"] == "1 sent again, 0 no longer kept"
        again = await console.until(
            lambda: [one for one in console.of("/alarm/event") if one.get("replayed")]
        )
        assert (again[0]["occurrence"], again[0]["seq"]) == (occurrence, 1)
        refused = await console.ask("acknowledge", "vera", "c2", occurrence=occurrence)
        assert "vera may not acknowledge" in refused["reason"]


async def test_history_finds_the_events_of_epochs_before(tmp_path, broker, console):
    async with running(tmp_path, broker.port) as gateway:
        occurrence = await an_alarm(gateway, console)
        await console.ask("acknowledge", occurrence=occurrence)
    async with running(tmp_path, broker.port):
        await console.until(lambda: [one for one in console.of("/heartbeat") if one["epoch"] == 2])
        answer = await console.ask("history", "vera", "h", occurrence=occurrence)
        count = int(answer["reason"].split()[0])
        assert count >= 2

        def replayed():
            events = [one for one in console.of("/alarm/event") if one.get("replayed")]
            return events if len(events) >= count else None

        told = [(one["epoch"], one["event"]) for one in await console.until(replayed)]
    assert (1, "raised") in told
    assert (1, "acknowledged") in told


async def test_commands_are_carried_out_while_the_journal_stalls(tmp_path, broker, console):
    async with running(tmp_path, broker.port) as gateway:
        occurrence = await an_alarm(gateway, console)
        payload = await console.message(occurrence=occurrence)
        writing, gate = gateway._parts.journal._store.write, asyncio.Event()
        loop = asyncio.get_running_loop()

        def stalled(batch):
            asyncio.run_coroutine_threadsafe(gate.wait(), loop).result()
            return writing(batch)

        gateway._parts.journal._store.write = stalled
        for _ in range(3):
            await console.send("acknowledge", payload)
        answer = await console.answer()
        assert answer["accepted"]
        assert answer["durable"] is False
        gate.set()
        await console.answer(number=3)
        events = [one for one in console.of("/alarm/event") if one["event"] == "acknowledged"]
        assert len({one["seq"] for one in events}) == 1


async def test_a_cancelled_publisher_is_begun_again(tmp_path, broker, console):
    notifier = Alive()
    async with running(tmp_path, broker.port, notifier) as gateway:
        await console.beat()
        (publisher,) = tasks("publisher hall")
        publisher.cancel()
        await asyncio.wait([publisher])
        await an_alarm(gateway, console)
        await console.until(lambda: console.of("/health")[-1]["process"]["restarts"] == 1)
        lives = notifier.lives
        await console.until(lambda: console.of("/heartbeat") and notifier.lives > lives)


@pytest.mark.parametrize("name", ["committer", "tick", "heartbeat", "commands", "patrol"])
async def test_a_gateway_without_a_part_it_needs_ends_for_the_service_manager(
    tmp_path, broker, console, name
):
    async with running(tmp_path, broker.port) as gateway:
        await console.beat()
        (task,) = tasks(name)
        task.cancel()
        (run,) = tasks("gateway")
        async with asyncio.timeout(20):
            await asyncio.wait([run])
        with pytest.raises(TaskEnded, match=name):
            run.result()
        assert gateway.now


async def test_notices_reach_board_and_broker_with_the_journals_from_before_the_start(
    tmp_path, broker, console
):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "journal.sqlite").write_bytes(b"not a database" * 1000)
    async with running(tmp_path, broker.port):
        raised = await console.event("raised", "journal_damaged")
        assert (raised["detector"], raised["level"], raised["priority"]) == ("@gateway", "H1", 2)
        client = ControlClient(tmp_path / "control.sock")
        board = (await asyncio.to_thread(client.ask, {"ask": "board"}))["board"]
        assert "journal_damaged" in {one["alarm"] for one in board["alarms"]}
        assert board["sinks"]["hall"]["state"] == "online"
        assert board["clock"]["offset_s"] == pytest.approx(0.0, abs=1.0)


async def test_health_tells_disk_memory_loop_sinks_and_clock(tmp_path, broker, console):
    async with running(tmp_path, broker.port):
        (health, *_) = await console.until(lambda: console.of("/health"))
    assert health["journal"]["disk_free_mb"] > 0
    assert health["process"]["memory_mb"] > 1
    assert health["process"]["loop_lag_ms"] >= 0
    assert health["sinks"]["hall.state"] == "online"
    assert health["clock"]["state"] in ("synchronised", "unsynchronised", "unknown")


@pytest.mark.mosquitto
async def test_mosquitto_carries_commands_and_binds_them_to_their_users(tmp_path, mosquitto):
    acl = (
        f"user gateway\ntopic readwrite {HOME}#\n"
        f"user olga\ntopic read {HOME}#\ntopic write {HOME}command/olga/+\n"
        f"user console\ntopic read {HOME}#\n"
    )
    mosquitto.start("use_username_as_clientid false", acl=acl)

    async def publish(topic, payload, retain):
        client = aiomqtt.Client("127.0.0.1", mosquitto.port, username="olga", timeout=5)
        async with client:
            await client.publish(topic, payload, qos=1, retain=retain)

    console = Console(publish)

    class Reader(aiomqtt.Client):
        def _on_message(self, client, userdata, message):
            console.take(message.topic, bytes(message.payload), message.retain)

    reader = Reader("127.0.0.1", mosquitto.port, username="console", timeout=5)
    async with reader:
        await reader.subscribe([(f"{HOME}#", 0)])
        async with running(tmp_path, mosquitto.port, username="gateway") as gateway:
            occurrence = await an_alarm(gateway, console)
            payload = await console.message(occurrence=occurrence)
            for _ in range(10):
                await console.send("acknowledge", payload)
            await console.send("acknowledge", payload, user="anna")  # the broker forbids it
            await console.answer(number=10)
            counts = dict(gateway._parts.remote.counters)
            assert counts == {"executed": 1, "repeated": 9}
            assert not console.of("command/anna/result")
            events = [one for one in console.of("/alarm/event") if one["event"] == "acknowledged"]
            assert len(events) == 1
