"""One connection to one MQTT broker, with what the client library does not tell by itself.

Facts of aiomqtt 2.5 on paho-mqtt 2.2 that this file exists for: ``publish()`` returns normally when
the broker refused; it does not fail when the connection drops; what it could not send stays queued
in the client and goes out on the next use of the same object; the broker's Receive Maximum and
Maximum Packet Size are ignored; a connection closed before its CONNACK is waited for until the
timeout; a connect that is given up leaves its socket behind; a lost PINGRESP is noticed after twice
the keepalive interval, and a link that needs longer for one message is given up. So publishes,
their acknowledgements and the keepalive are handled here, everything else by the library. It leans
on ``Client._client``.
Packets, codes and properties: MQTT 5.0, sections 2, 3.3, 3.4 and 2.2.2.2.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar
from urllib.parse import urlsplit

import aiomqtt
import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from config.models import Sink
from gateway.publisher.certificate import Credentials
from gateway.publisher.names import Address
from gateway.publisher.packets import encode_publish
from gateway.publisher.stream import LARGEST_PACKET, Stream

ANSWER_S: Final = 5.0
"""For CONNACK and the end of a DISCONNECT."""
NO_SUBSCRIBER: Final = 0x10
QUOTA_EXCEEDED: Final = 0x97
TAKEN_OVER: Final = 0x8E
FAILURE: Final = 0x80
"""Reason codes from here on are failures."""
RECEIVE_MAXIMUM_311: Final = 20
"""MQTT 3.1.1 brokers do not tell; mosquitto's own default."""
RECEIVE_MAXIMUM_5: Final = 65_535
MAX_TOPIC_BYTES: Final = 65_535
_DEFAULT_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
_NOT_IN_TOPICS: Final = frozenset("+#\ufffe\uffff") | {
    chr(n) for n in (*range(32), *range(127, 160))
}


T = TypeVar("T")
OnMessage = Callable[[str, bytes, bool], None]


@dataclass(frozen=True, slots=True)
class Broker:
    """One address of the list."""

    host: str
    port: int
    tls: bool


def parse_broker(url: str) -> Broker:
    """``mqtt://host:port`` or ``mqtts://host:port``; ValueError for anything else."""
    parts = urlsplit(url)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or parts.path.strip("/"):
        raise ValueError(f"{url!r}: write a broker as mqtt://host:port or mqtts://host:port")
    port = parts.port if parts.port is not None else _DEFAULT_PORTS[parts.scheme]
    return Broker(parts.hostname, port, parts.scheme == "mqtts")


def topic_error(topic: str) -> str:
    """Why a broker would drop the connection over this topic; empty if it is sound."""
    if not topic or not _NOT_IN_TOPICS.isdisjoint(topic):
        return "the topic holds characters that MQTT forbids"
    if len(topic.encode()) > MAX_TOPIC_BYTES:
        return "the topic is too long for MQTT"
    return ""


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes, retained, when the connection ends without a goodbye."""

    topic: str
    payload: bytes


class Connection(Stream, Generic[T]):
    """Used once. ``settled`` is told the reason code of each message's PUBACK, by its token."""

    def __init__(
        self,
        broker: Broker,
        address: Address,
        sink: Sink,
        identifier: str,
        credentials: Credentials,
        will: Will,
        *,
        settled: Callable[[T, int], None],
        lost: Callable[[], None],
        message: OnMessage | None = None,
    ) -> None:
        is_5 = sink.protocol == "5"
        protocol = aiomqtt.ProtocolVersion.V5 if is_5 else aiomqtt.ProtocolVersion.V311
        super().__init__(
            broker.host,
            broker.port,
            username=sink.username,
            password=credentials.password,
            identifier=identifier,
            protocol=protocol,
            will=aiomqtt.Will(will.topic, will.payload, qos=1, retain=True),
            clean_session=None if is_5 else True,
            clean_start=True if is_5 else paho.MQTT_CLEAN_START_FIRST_ONLY,
            timeout=ANSWER_S,
            keepalive=sink.keepalive_s,
            properties=_connect_properties() if is_5 else None,
            tls_context=credentials.context,
        )
        self._client.disable_logger()
        self._start(address, credentials.context)
        self.unacknowledged: dict[int, T] = {}
        self.receive_maximum = RECEIVE_MAXIMUM_5 if is_5 else RECEIVE_MAXIMUM_311
        self.maximum_packet: int | None = None
        self.keepalive_s = sink.keepalive_s
        self.reason = ""
        self.code = 0
        self.is_5 = is_5
        self._settled = settled
        self._told_lost = lost
        self._message = message

    @property
    def is_lost(self) -> bool:
        """Whether it has ended, for whatever reason."""
        return self._disconnected.done()

    @property
    def awaits_answer(self) -> bool:
        """Whether a message, a subscription or a ping is not answered yet."""
        asked = self.unacknowledged or self._pending_subscribes or self._pending_unsubscribes
        return bool(asked) or self._client._ping_t > 0

    async def open(self) -> None:
        """Connects; ``trouble`` or the MqttError say why not."""
        try:
            await self.__aenter__()
        except BaseException:
            self.abort()
            raise
        # The library's own keepalive ends here; 0 would be a broker that wants none.
        self.keepalive_s = int(self._client._keepalive) or self.keepalive_s
        self._client._keepalive = 0
        self.spoke_at = self._loop.time()
        self._disconnected.add_done_callback(lambda _: self._told_lost())

    async def close(self) -> None:
        """Says goodbye: the broker drops the will."""
        self._forget()
        try:
            await self.__aexit__(None, None, None)
        except aiomqtt.MqttError:
            pass
        finally:
            self.abort()

    def abort(self) -> None:
        """Ends it at once, without a goodbye: the broker publishes the will."""
        self._abandoned = True
        self.unacknowledged.clear()
        if not self._disconnected.done():
            self._disconnected.set_result(None)
        for future in (self._connected, self._disconnected):
            if future.done() and not future.cancelled():
                future.exception()
        self._client._sock_close()

    def send(
        self, topic: bytes, payload: bytes, token: T, *, retain: bool = False, urgent: bool = False
    ) -> None:
        """Publishes with QoS 1; MqttError if the connection is already gone.

        Urgent messages go before others that the kernel has not taken yet.
        """
        if self._disconnected.done():
            raise aiomqtt.MqttError("the connection is gone")
        identifier = self._client._mid_generate()
        while identifier in self.unacknowledged:
            identifier = self._client._mid_generate()
        self.unacknowledged[identifier] = token
        packet = encode_publish(topic, payload, identifier, retain=retain, is_5=self.is_5)
        self._enqueue(packet, urgent=urgent)

    def ping(self) -> None:
        """Asks whether the broker is there."""
        self.spoke_at = self._loop.time()
        self._client._send_pingreq()

    def too_large(self, topic: bytes, payload: bytes) -> bool:
        """Whether the broker has said that it takes no packet of this size."""
        return self.maximum_packet is not None and (
            packet_size(topic, payload) > self.maximum_packet
        )

    async def listen(self, filters: tuple[str, ...], timeout_s: float) -> list[str]:
        """Subscribes with QoS 1; the filters that the broker refused."""
        codes = await self.subscribe([(each, 1) for each in filters], timeout=timeout_s)
        values = [code.value if isinstance(code, ReasonCode) else int(code) for code in codes]
        return [each for each, value in zip(filters, values, strict=True) if value >= FAILURE]

    async def look(self, filters: tuple[str, ...], timeout_s: float) -> None:
        """Subscribes to what the broker holds, and to as little else as the protocol allows."""
        if self.is_5:
            options = SubscribeOptions(qos=0, noLocal=True, retainHandling=0)
            await self.subscribe([(each, options) for each in filters], timeout=timeout_s)
        else:
            await self.subscribe([(each, 0) for each in filters], timeout=timeout_s)

    # -- private

    def _on_connect(
        self,
        client: paho.Client,
        userdata: Any,
        flags: paho.ConnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        maximum = getattr(properties, "ReceiveMaximum", None)
        if isinstance(maximum, int):
            self.receive_maximum = maximum
        packet = getattr(properties, "MaximumPacketSize", None)
        if isinstance(packet, int):
            self.maximum_packet = packet
        super()._on_connect(client, userdata, flags, reason_code, properties)

    def _on_disconnect(
        self,
        client: paho.Client,
        userdata: Any,
        flags: paho.DisconnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        self.reason = str(reason_code)
        self.code = reason_code.value
        self.closed_by_peer = self.closed_by_peer or flags.is_disconnect_packet_from_server
        if not self._connected.done():
            self._connected.set_exception(aiomqtt.MqttError(f"closed at once: {reason_code}"))
            return
        super()._on_disconnect(client, userdata, flags, reason_code, properties)

    @property
    def _awaits_more(self) -> bool:
        return bool(self.unacknowledged)

    def _puback(self, identifier: int, code: int) -> None:
        token = self.unacknowledged.pop(identifier, None)
        if token is not None:
            self._settled(token, code)

    def _on_message(self, client: paho.Client, userdata: Any, message: paho.MQTTMessage) -> None:
        if self._message is not None and not self._abandoned:
            self._message(message.topic, bytes(message.payload), message.retain)


def packet_size(topic: bytes, payload: bytes) -> int:
    """Bytes of a message on the wire, at most."""
    # Fixed header up to 5, topic length 2, packet identifier 2, property length 1.
    return 10 + len(topic) + len(payload)


def _connect_properties() -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.MaximumPacketSize = LARGEST_PACKET
    return properties
