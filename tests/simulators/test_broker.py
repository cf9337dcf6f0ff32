"""The test broker: with a real client library, with mosquitto's tools, and with raw bytes.

Raw packets are constructed by hand from the OASIS standards MQTT 5.0 and 3.1.1.
"""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Callable

import aiomqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from simulators.broker import Broker, Limits, Message, Reason, Rules
from simulators.loopback import NotLoopback

V5 = aiomqtt.ProtocolVersion.V5
V311 = aiomqtt.ProtocolVersion.V311
SOON_S = 5.0

CONNECT_5 = bytes.fromhex("10 11 0004 4d515454 05 02 0000 00 0004 74657374")
CONNECT_311 = bytes.fromhex("10 10 0004 4d515454 04 02 0000 0004 74657374")
CONNACK_311 = bytes.fromhex("20 02 00 00")
PUBLISH_5 = bytes.fromhex("32 08 0003 612f62 0001 00")
PUBLISH_311 = bytes.fromhex("32 07 0003 612f62 0001")


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    async with Broker(limits=Limits(keepalive_factor=0.05, connect_s=SOON_S)) as running:
        yield running


def client(broker: Broker, version: aiomqtt.ProtocolVersion = V5, **more: object) -> aiomqtt.Client:
    return aiomqtt.Client("127.0.0.1", broker.port, protocol=version, keepalive=60, **more)


class Received:
    """What a tap saw, and a way to wait for more."""

    def __init__(self, broker: Broker, topic_filter: str = "#") -> None:
        self.messages: list[Message] = []
        self._more = asyncio.Event()
        self.leave = broker.subscribe(self._take, topic_filter)

    def _take(self, message: Message) -> None:
        self.messages.append(message)
        self._more.set()

    async def wait(self, count: int) -> list[Message]:
        async with asyncio.timeout(SOON_S):
            while len(self.messages) < count:
                self._more.clear()
                await self._more.wait()
        return self.messages


async def next_message(subscriber: aiomqtt.Client) -> aiomqtt.Message:
    async with asyncio.timeout(SOON_S):
        return await anext(aiter(subscriber.messages))


class Raw:
    """A client of bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def say(self, data: bytes | str) -> None:
        self.writer.write(bytes.fromhex(data) if isinstance(data, str) else data)
        await self.writer.drain()

    async def hear(self) -> bytes:
        """One packet shorter than 128 bytes."""
        async with asyncio.timeout(SOON_S):
            head = await self.reader.readexactly(2)
            return head + await self.reader.readexactly(head[1])

    async def rest(self) -> bytes:
        """All that comes until the end."""
        async with asyncio.timeout(SOON_S):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""


@contextlib.asynccontextmanager
async def raw(broker: Broker, hello: bytes = b"") -> AsyncIterator[Raw]:
    reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
    peer = Raw(reader, writer)
    try:
        if hello:
            await peer.say(hello)
            await peer.hear()
        yield peer
    finally:
        writer.transport.abort()


# -- with a client library


@pytest.mark.parametrize("version", [V5, V311])
@pytest.mark.parametrize("qos", [0, 1])
async def test_message_reaches_a_subscriber(
    broker: Broker, version: aiomqtt.ProtocolVersion, qos: int
) -> None:
    async with client(broker, version) as one, client(broker, version) as two:
        await one.subscribe("site/+/dose/#", qos=1)
        await two.publish("site/gate/dose", b"\x00\xffpayload", qos=qos)
        message = await next_message(one)
    assert str(message.topic) == "site/gate/dose"
    assert (message.payload, message.qos, message.retain) == (b"\x00\xffpayload", qos, False)


@pytest.mark.parametrize("version", [V5, V311])
async def test_retained_message_waits_for_subscriber_and_is_emptied(
    broker: Broker, version: aiomqtt.ProtocolVersion
) -> None:
    async with client(broker, version) as one:
        await one.publish("state/a", b"old", qos=1, retain=True)
        await one.publish("state/a", b"new", qos=1, retain=True)
        await one.publish("state/b", b"gone", qos=1, retain=True)
        await one.publish("state/b", b"", qos=1, retain=True)
        await one.subscribe("state/#", qos=1)
        message = await next_message(one)
        assert (message.payload, message.retain) == (b"new", True)
    assert {topic: m.payload for topic, m in broker.retained.items()} == {"state/a": b"new"}


async def test_retained_messages_are_not_cut_by_the_queue_limit() -> None:
    async with Broker(limits=Limits(queue=5)) as broker:
        for number in range(50):
            await broker.publish(f"state/{number}", b"%d" % number, retain=True)
        async with client(broker) as one:
            await one.subscribe("state/#", qos=1)
            payloads = [(await next_message(one)).payload for _ in range(50)]
    assert payloads == [b"%d" % number for number in range(50)]


@pytest.mark.parametrize("version", [V5, V311])
async def test_will_is_sent_only_without_farewell(
    broker: Broker, version: aiomqtt.ProtocolVersion
) -> None:
    seen = Received(broker)
    will = aiomqtt.Will("status", b"lost", qos=1, retain=True)
    async with client(broker, version, will=will):
        pass
    assert broker.retained == {}
    with contextlib.suppress(aiomqtt.MqttError):
        async with client(broker, version, will=will, identifier="gate") as one:
            broker.cut("gate")
            await next_message(one)
    await seen.wait(1)
    assert [(m.topic, m.payload, m.retain) for m in seen.messages] == [("status", b"lost", True)]


@pytest.mark.parametrize("version", [V5, V311])
async def test_session_keeps_messages_up_to_its_bound(version: aiomqtt.ProtocolVersion) -> None:
    more: dict[str, object] = {"identifier": "desk"}
    if version is V5:
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 600
        more |= {"clean_start": False, "properties": properties}
    else:
        more |= {"clean_session": False}
    async with Broker(limits=Limits(queue=5)) as broker:
        async with client(broker, version, **more) as one:
            await one.subscribe("a", qos=1)
        await broker.until(lambda: not broker.clients)
        for number in range(8):
            assert await broker.publish("a", b"%d" % number) is Reason.SUCCESS
        await broker.publish("a", b"lost: QoS 0", qos=0)
        async with client(broker, version, **more) as one:
            payloads = [(await next_message(one)).payload for _ in range(5)]
            await broker.publish("a", b"live")
            payloads.append((await next_message(one)).payload)
        assert payloads == [b"0", b"1", b"2", b"3", b"4", b"live"]
        assert broker.statistics.dropped == 3


async def test_sessions_outlive_a_restart_unless_forgotten(broker: Broker) -> None:
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 600
    more = {"identifier": "desk", "clean_start": False, "properties": properties}
    async with client(broker, **more) as one:
        await one.subscribe("a", qos=1)
    port = broker.port
    await broker.stop()
    assert await broker.start() == port
    await broker.publish("a", b"kept", retain=True)
    async with client(broker, **more) as one:
        assert (await next_message(one)).payload == b"kept"
    await broker.until(lambda: not broker.clients)
    broker.forget()
    assert await broker.publish("a", b"nobody") is Reason.NO_MATCHING_SUBSCRIBERS
    assert broker.retained == {}


async def test_takeover_ends_the_older_connection(broker: Broker) -> None:
    async with raw(broker, CONNECT_5) as old, raw(broker, CONNECT_5) as new:
        assert await old.rest() == bytes.fromhex("e0 01 8e")
        await new.say("c0 00")
        assert await new.hear() == bytes.fromhex("d0 00")
    assert broker.statistics.takeovers == 1


async def test_properties_pass_through_and_expiry_shrinks(broker: Broker) -> None:
    properties = Properties(PacketTypes.PUBLISH)
    properties.ContentType = "application/json"
    properties.CorrelationData = b"\x01\x02"
    properties.UserProperty = [("a", "1"), ("a", "2")]
    properties.MessageExpiryInterval = 600
    async with client(broker) as one:
        await one.subscribe("a", qos=1)
        await one.publish("a", b"", qos=1, properties=properties)
        found = (await next_message(one)).properties
    assert found is not None
    assert found.ContentType == "application/json"
    assert found.CorrelationData == b"\x01\x02"
    assert found.UserProperty == [("a", "1"), ("a", "2")]
    assert found.MessageExpiryInterval in (599, 600)


async def test_many_messages_keep_their_order_within_the_windows(broker: Broker) -> None:
    async with client(broker, max_inflight_messages=20) as one, client(broker) as two:
        await two.subscribe("a", qos=1)
        for number in range(300):
            await one.publish("a", b"%d" % number, qos=1)
        payloads = [(await next_message(two)).payload for _ in range(300)]
    assert payloads == [b"%d" % number for number in range(300)]


# -- with mosquitto's tools


@pytest.mark.parametrize("version", ["mqttv5", "mqttv311"])
async def test_mosquitto_clients(broker: Broker, version: str) -> None:
    if not shutil.which("mosquitto_sub") or not shutil.which("mosquitto_pub"):
        pytest.skip("mosquitto_sub and mosquitto_pub are not installed: package mosquitto-clients")
    await broker.publish("site/a", b"retained", retain=True)
    common = ["-h", "127.0.0.1", "-p", str(broker.port), "-V", version, "-q", "1", "-t"]
    subscriber = await asyncio.create_subprocess_exec(
        "mosquitto_sub", *common, "site/+", "-C", "2", stdout=asyncio.subprocess.PIPE
    )
    try:
        assert subscriber.stdout is not None
        async with asyncio.timeout(SOON_S):
            assert await subscriber.stdout.readline() == b"retained\n"
            publisher = await asyncio.create_subprocess_exec(
                "mosquitto_pub", *common, "site/b", "-m", "live"
            )
            assert await publisher.wait() == 0
            assert await subscriber.stdout.readline() == b"live\n"
            assert await subscriber.wait() == 0
    finally:
        if subscriber.returncode is None:
            subscriber.kill()
            await subscriber.wait()


# -- raw bytes


async def test_connack_announces_the_limits() -> None:
    async with Broker(receive_maximum=7, limits=Limits(packet_maximum=2000)) as broker:
        async with raw(broker) as peer:
            await peer.say(CONNECT_5)
            assert await peer.hear() == bytes.fromhex(
                "20 11 00 00 0e 21 0007 24 01 27 000007d0 29 00 2a 00"
            )
        async with raw(broker) as peer:
            await peer.say(CONNECT_311)
            assert await peer.hear() == CONNACK_311


async def test_nobody_listens_is_said_in_level_5_only(broker: Broker) -> None:
    async with raw(broker, CONNECT_5) as peer:
        await peer.say(PUBLISH_5)
        assert await peer.hear() == bytes.fromhex("40 03 0001 10")
        await peer.say("82 09 0001 00 0003 612f2b 01")
        assert await peer.hear() == bytes.fromhex("90 04 0001 00 01")
        await peer.say(PUBLISH_5)
        both = {await peer.hear(), await peer.hear()}
        assert both == {bytes.fromhex("32 08 0003 612f62 0001 00"), bytes.fromhex("40 02 0001")}
    async with raw(broker, CONNECT_311) as peer:
        await peer.say(PUBLISH_311)
        assert await peer.hear() == bytes.fromhex("40 02 0001")


async def test_packets_arrive_in_any_pieces(broker: Broker) -> None:
    async with raw(broker, CONNECT_5) as peer:
        for byte in PUBLISH_5 + bytes.fromhex("c0 00"):
            await peer.say(bytes((byte,)))
        assert await peer.hear() == bytes.fromhex("40 03 0001 10")
        assert await peer.hear() == bytes.fromhex("d0 00")


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        pytest.param("34 08 0003 612f62 0001 00", 0x9B, id="QoS 2"),
        pytest.param("36 08 0003 612f62 0001 00", 0x81, id="QoS 3"),
        pytest.param("38 06 0003 612f62 00", 0x81, id="DUP with QoS 0"),
        pytest.param("32 08 0003 612f62 0000 00", 0x81, id="packet identifier 0"),
        pytest.param("30 06 0003 612f2b 00", 0x90, id="wildcard in a topic"),
        pytest.param("30 03 0000 00", 0x82, id="empty topic"),
        pytest.param("30 04 0001 00 00", 0x81, id="U+0000 in a topic"),
        pytest.param("30 04 0001 0a 00", 0x81, id="control character in a topic"),
        pytest.param("30 06 0003 efbfbe 00", 0x81, id="U+FFFE in a topic"),
        pytest.param("30 06 0003 eda080 00", 0x81, id="surrogate in a topic"),
        pytest.param("30 09 0003 612f62 03 23 0001", 0x94, id="topic alias"),
        pytest.param("30 0a 0003 612f62 04 01 00 01 00", 0x82, id="property twice"),
        pytest.param("30 08 0003 612f62 02 7f 00", 0x81, id="unknown property"),
        pytest.param("30 08 0003 612f62 02 0b 01", 0x82, id="property of another packet"),
        pytest.param("30 04 0009 61 00", 0x81, id="text past the end"),
        pytest.param("30 ff ff ff ff 01", 0x81, id="length of five bytes"),
        pytest.param("30 ff ff ff 7f", 0x95, id="too long"),
        pytest.param("82 03 0001 00", 0x82, id="SUBSCRIBE of nothing"),
        pytest.param("80 09 0001 00 0003 612f2b 01", 0x81, id="SUBSCRIBE with wrong flags"),
        pytest.param("82 09 0001 00 0003 612f2b 03", 0x81, id="SUBSCRIBE with QoS 3"),
        pytest.param("50 02 0001", 0x82, id="PUBREC"),
        pytest.param("f0 00", 0x82, id="AUTH"),
        pytest.param("20 02 00 00", 0x82, id="packet of a server"),
        pytest.param(CONNECT_5.hex(), 0x82, id="second CONNECT"),
    ],
)
async def test_bad_packet_ends_the_connection_with_its_reason(
    broker: Broker, packet: str, reason: int
) -> None:
    async with raw(broker, CONNECT_5) as peer:
        await peer.say(packet)
        assert await peer.rest() == bytes((0xE0, 1, reason))
    assert broker.statistics.failures == {Reason(reason): 1}


@pytest.mark.parametrize(
    ("packet", "answer"),
    [
        pytest.param("c0 00", "", id="not CONNECT"),
        pytest.param("16 03 01 00 c8 01 00", "", id="TLS"),
        pytest.param("10 0f 0006 4d5149736470 03 02 0000 0001 61", "20 02 00 01", id="level 3"),
        pytest.param("10 0d 0004 4d515454 06 02 0000 0001 61", "20 02 00 01", id="level 6"),
        pytest.param("10 0c 0004 4d515454 04 00 0000 0000", "20 02 00 02", id="no client id"),
        pytest.param("10 0d 0004 4d515454 04 03 0000 0001 61", "", id="reserved connect flag"),
        pytest.param(
            "10 14 0004 4d515454 05 16 0000 00 0001 61 00 0001 61 0000",
            "20 03 00 9b 00",
            id="will with QoS 2",
        ),
        pytest.param(
            "10 15 0004 4d515454 05 02 0000 07 15 0004 74657374 0001 61",
            "20 03 00 8c 00",
            id="AUTH",
        ),
    ],
)
async def test_bad_hello_is_refused(broker: Broker, packet: str, answer: str) -> None:
    async with raw(broker) as peer:
        await peer.say(packet)
        assert (await peer.rest()).hex() == answer.replace(" ", "")
    assert broker.clients == ()


async def test_filters_are_judged_one_by_one(broker: Broker) -> None:
    async with raw(broker, CONNECT_5) as peer:
        await peer.say(
            "82 1e 0001 00 0001 61 02 0004 612f232f 01 0002 612b 00 0008 2473686172652f78 00"
        )
        assert await peer.hear() == bytes.fromhex("90 07 0001 00 01 8f 8f 9e")


async def test_receive_maximum_is_enforced() -> None:
    async with Broker(receive_maximum=2, rules=Rules(unacknowledged={"test"})) as broker:
        async with raw(broker, CONNECT_5) as peer:
            for number in (1, 2, 3):
                await peer.say(f"32 08 0003 612f62 {number:04x} 00")
            assert await peer.rest() == bytes.fromhex("e0 01 93")
        assert broker.statistics.received == 2


async def test_delivery_stays_in_the_clients_window(broker: Broker) -> None:
    hello = bytes.fromhex("10 14 0004 4d515454 05 02 0000 03 21 0002 0004 74657374")
    async with raw(broker, hello) as peer:
        await peer.say("82 07 0001 00 0001 61 01")
        await peer.hear()
        for _ in range(3):
            await broker.publish("a", b"")
        await peer.say("c0 00")
        heard = [await peer.hear() for _ in range(3)]
        assert [packet[0] for packet in heard] == [0x32, 0x32, 0xD0]
        await peer.say("40 02 0001")
        assert await peer.hear() == bytes.fromhex("32 06 0001 61 0003 00")


async def test_unacknowledged_delivery_comes_again_with_dup(broker: Broker) -> None:
    hello = bytes.fromhex("10 16 0004 4d515454 05 00 0000 05 11 00000258 0004 74657374")
    async with raw(broker, hello) as peer:
        await peer.say("82 07 0001 00 0001 61 01")
        await peer.hear()
        await broker.publish("a", b"x")
        assert await peer.hear() == bytes.fromhex("32 07 0001 61 0001 00 78")
    async with raw(broker) as peer:
        await peer.say(hello)
        assert (await peer.hear())[2] == 1
        assert await peer.hear() == bytes.fromhex("3a 07 0001 61 0001 00 78")


async def test_client_without_a_sign_of_life_is_dropped(broker: Broker) -> None:
    seen = Received(broker)
    hello = "10 14 0004 4d515454 05 06 0001 00 0001 61 00 0001 77 0000"
    async with raw(broker) as peer:
        await peer.say(hello)
        await peer.hear()
        assert await peer.rest() == bytes.fromhex("e0 01 8d")
    assert [message.topic for message in await seen.wait(1)] == ["w"]


async def subscribed(peer: Raw, options: str = "01") -> None:
    await peer.say(f"82 07 0001 00 0001 61 {options}")
    assert await peer.hear() == bytes.fromhex("90 04 0001 00 01")


async def test_live_message_is_not_marked_retained_unless_asked(broker: Broker) -> None:
    async with raw(broker, CONNECT_5) as peer:
        await subscribed(peer, "01")
        await broker.publish("a", b"x", retain=True, qos=0)
        assert await peer.hear() == bytes.fromhex("30 05 0001 61 00 78")
        await subscribed(peer, "09")
        assert await peer.hear() == bytes.fromhex("31 05 0001 61 00 78")
        await broker.publish("a", b"x", retain=True, qos=0)
        assert await peer.hear() == bytes.fromhex("31 05 0001 61 00 78")


async def test_retain_handling(broker: Broker) -> None:
    await broker.publish("a", b"x", retain=True, qos=0)
    async with raw(broker, CONNECT_5) as peer:
        await subscribed(peer, "21")
        await subscribed(peer, "11")
        await peer.say("a2 06 0002 00 0001 61")
        assert await peer.hear() == bytes.fromhex("b0 04 0002 00 00")
        await subscribed(peer, "11")
        assert await peer.hear() == bytes.fromhex("31 05 0001 61 00 78")


async def test_own_message_is_kept_back_when_asked(broker: Broker) -> None:
    async with raw(broker, CONNECT_5) as peer:
        await subscribed(peer, "05")
        await peer.say("32 06 0001 61 0001 00")
        assert await peer.hear() == bytes.fromhex("40 03 0001 10")
        await broker.publish("a", b"", qos=0)
        assert await peer.hear() == bytes.fromhex("30 04 0001 61 00")


async def test_too_long_for_the_client_is_left_out(broker: Broker) -> None:
    hello = bytes.fromhex("10 16 0004 4d515454 05 02 0000 05 27 00000014 0004 74657374")
    async with raw(broker, hello) as peer:
        await subscribed(peer)
        await broker.publish("a", bytes(13))
        await broker.publish("a", bytes(12))
        assert await peer.hear() == bytes.fromhex("32 12 0001 61 0002 00") + bytes(12)
    assert broker.statistics.dropped == 1


async def test_expired_message_is_not_delivered(broker: Broker) -> None:
    async with raw(broker, CONNECT_5) as peer:
        await peer.say("31 0a 0001 61 05 02 00000000 78")
        await peer.say("31 0a 0001 62 05 02 00000258 78")
        await broker.until(lambda: broker.statistics.received == 2)
        await peer.say("82 07 0001 00 0001 23 01")
        await peer.hear()
        assert (await peer.hear())[2:5] == bytes.fromhex("0001 62")


async def test_clean_start_ends_the_session(broker: Broker) -> None:
    kept = bytes.fromhex("10 16 0004 4d515454 05 00 0000 05 11 00000258 0004 74657374")
    async with raw(broker, kept) as peer:
        await subscribed(peer)
    async with raw(broker) as peer:
        await peer.say(CONNECT_5)
        assert (await peer.hear())[2] == 0
        assert await broker.publish("a", b"") is Reason.NO_MATCHING_SUBSCRIBERS


@pytest.mark.parametrize("clean", [False, True])
async def test_delayed_will_waits_for_the_end_of_the_session(broker: Broker, clean: bool) -> None:
    seen = Received(broker)
    hello = bytes.fromhex(
        "10 21 0004 4d515454 05 04 0000 05 11 00000258 0004 74657374 05 18 00000258 0001 77 0000"
    )
    async with raw(broker, hello):
        pass
    await broker.until(lambda: not broker.clients)
    assert seen.messages == []
    async with raw(broker, CONNECT_5 if clean else CONNECT_5.replace(b"\x05\x02", b"\x05\x00")):
        assert [message.topic for message in seen.messages] == (["w"] if clean else [])


async def test_who_does_not_read_is_not_read(broker: Broker) -> None:
    async with raw(broker, CONNECT_5) as peer:
        await subscribed(peer)
        big = bytes.fromhex("30 848020 0001 61 00") + bytes(1 << 19)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(peer.say(big * 80), 0.5)
        assert broker.statistics.dropped == 0


# -- faults on request


@pytest.mark.parametrize(
    ("hello", "publish", "answer"),
    [
        (CONNECT_5, PUBLISH_5, "40 03 0001 87"),
        (CONNECT_311, PUBLISH_311, "40 02 0001"),
    ],
)
async def test_refused_topic(broker: Broker, hello: bytes, publish: bytes, answer: str) -> None:
    seen = Received(broker)
    broker.refuse("a/#")
    async with raw(broker, hello) as peer:
        await peer.say(publish)
        assert await peer.hear() == bytes.fromhex(answer)
        assert seen.messages == []
        broker.allow("a/#")
        await peer.say(publish)
        await peer.hear()
    assert [message.topic for message in seen.messages] == ["a/b"]


@pytest.mark.parametrize(
    ("hello", "answer"),
    [
        (CONNECT_5, "20 03 00 86 00"),
        (CONNECT_311, "20 02 00 04"),
    ],
)
async def test_refused_connection(broker: Broker, hello: bytes, answer: str) -> None:
    broker.refuse_connections(Reason.BAD_USER_NAME_OR_PASSWORD)
    async with raw(broker) as peer:
        await peer.say(hello)
        assert await peer.rest() == bytes.fromhex(answer)


async def test_stall_answers_nothing_until_resumed(broker: Broker) -> None:
    async with raw(broker, CONNECT_5) as peer:
        broker.stall("test")
        await peer.say(PUBLISH_5)
        async with client(broker) as other:
            await other.publish("other", b"", qos=1)
        assert broker.statistics.received == 1
        broker.resume("test")
        assert await peer.hear() == bytes.fromhex("40 03 0001 10")


async def test_stalled_broker_lets_nobody_in(broker: Broker) -> None:
    broker.stall()
    async with raw(broker) as peer:
        await peer.say(CONNECT_5)
        await broker.until(lambda: broker.statistics.connections == 1)
        for _ in range(20):
            await asyncio.sleep(0)
        assert broker.clients == ()
        broker.resume()
        assert (await peer.hear())[0] == 0x20
        assert broker.clients == ("test",)


async def test_silence_swallows_and_resume_cuts(broker: Broker) -> None:
    async with raw(broker, CONNECT_5) as peer:
        broker.silence("test")
        await peer.say(PUBLISH_5)
        async with client(broker) as other:
            await other.publish("other", b"", qos=1)
        await broker.until(lambda: broker.clients == ("test",))
        assert broker.statistics.received == 1
        broker.resume()
        assert await peer.rest() == b""


async def test_missing_acknowledgement_and_the_repeat(broker: Broker) -> None:
    seen = Received(broker)
    broker.drop_acks("test")
    async with raw(broker, CONNECT_5) as peer:
        await peer.say(PUBLISH_5 + bytes.fromhex("c0 00"))
        assert await peer.hear() == bytes.fromhex("d0 00")
        broker.resume("test")
        await peer.say(bytes((PUBLISH_5[0] | 8,)) + PUBLISH_5[1:])
        assert await peer.hear() == bytes.fromhex("40 03 0001 10")
    assert len(seen.messages) == 2
    assert (broker.statistics.duplicates, broker.statistics.unacknowledged) == (1, 1)


async def test_cut_at_the_second_publish(broker: Broker) -> None:
    seen = Received(broker)
    broker.cut_at(2)
    async with raw(broker, CONNECT_5) as peer:
        await peer.say(PUBLISH_5)
        assert await peer.hear() == bytes.fromhex("40 03 0001 10")
        await peer.say(PUBLISH_5)
        assert await peer.rest() == b""
    assert len(seen.messages) == 2


async def test_slow_subscriber_loses_the_newest_and_is_counted() -> None:
    limits = Limits(queue=10, window=20, packet_maximum=1 << 20)
    async with Broker(limits=limits) as broker, raw(broker, CONNECT_5) as peer:
        await peer.say("82 07 0001 00 0001 61 00")
        await peer.hear()
        for _ in range(100):
            await broker.publish("a", bytes(1 << 19), qos=0)
        assert broker.statistics.dropped > 50


async def test_stop_leaves_nobody_and_sends_no_will() -> None:
    async with Broker() as broker:
        seen = Received(broker)
        hello = "10 14 0004 4d515454 05 06 0000 00 0001 61 00 0001 77 0000"
        async with raw(broker) as peer, raw(broker):
            await peer.say(hello)
            await peer.hear()
            await broker.stop()
            assert (broker.clients, seen.messages) == ((), [])


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])
def test_only_loopback(host: str) -> None:
    with pytest.raises(NotLoopback):
        Broker(host)


async def test_left_tap_hears_nothing(broker: Broker) -> None:
    seen = Received(broker, "a/+")
    await broker.publish("b", b"")
    await broker.publish("a/b", b"")
    leave: Callable[[], None] = seen.leave
    leave()
    leave()
    await broker.publish("a/c", b"")
    assert [message.topic for message in seen.messages] == ["a/b"]
