"""One connection to one MQTT broker, with what the client library does not tell by itself.

Facts of aiomqtt 2.5 on paho-mqtt 2.2 that this file exists for: ``publish()`` returns normally when
the broker refused; it does not fail when the connection drops; what it could not send stays queued
in the client and goes out on the next use of the same object; the broker's Receive Maximum and
Maximum Packet Size are ignored; a connection closed before its CONNACK is waited for until the
timeout; a connect that is given up leaves its socket behind. It leans on ``Client._client``.
Codes and properties: MQTT 5.0, sections 2.2.2.2 and 2.4.
"""

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar
from urllib.parse import urlsplit

import aiomqtt
import paho.mqtt.client as paho
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from config.models import Sink, Tls

CONNECT_S: Final = 3.0
ANSWER_S: Final = 5.0
"""For CONNACK, SUBACK and the end of a DISCONNECT."""
REST_S: Final = 0.0005
"""Acknowledgements of a burst are read together: wake-ups are the cost, not work."""
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
class Credentials:
    """What is read from files for one connection."""

    password: str | None
    context: ssl.SSLContext | None


def load_credentials(sink: Sink, *, tls: bool) -> Credentials:
    """Password and TLS files as they are now; OSError names the file. Blocks."""
    password = None
    if sink.password_file is not None:
        password = Path(sink.password_file).read_text().rstrip("\r\n")
    return Credentials(password, _context(sink.tls or Tls()) if tls else None)


def _context(tls: Tls) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.ca_file)
    if tls.cert_file is not None:
        context.load_cert_chain(tls.cert_file, tls.key_file)
    return context


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes, retained, when the connection ends without a goodbye."""

    topic: str
    payload: bytes


class Connection(aiomqtt.Client, Generic[T]):
    """Used once. ``settled`` is told the reason code of each message's PUBACK, by its token."""

    def __init__(
        self,
        broker: Broker,
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
            max_inflight_messages=0,
            tls_context=credentials.context,
            socket_options=((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),),
        )
        self._client.connect_timeout = CONNECT_S
        self._client.disable_logger()
        self._client._ssl_wrap_socket = self._wrap  # type: ignore[method-assign]
        self.unacknowledged: dict[int, T] = {}
        self.receive_maximum = RECEIVE_MAXIMUM_5 if is_5 else RECEIVE_MAXIMUM_311
        self.maximum_packet: int | None = None
        self.reason = ""
        self.code = 0
        self.refused_connect = False
        self._is_5 = is_5
        self._settled = settled
        self._told_lost = lost
        self._context = credentials.context
        self._message = message
        self._abandoned = False
        self._resting = False

    @property
    def is_lost(self) -> bool:
        """Whether it has ended, for whatever reason."""
        return self._disconnected.done()

    async def open(self) -> None:
        """Connects; MqttError says why not."""
        try:
            await self.__aenter__()
        except BaseException:
            self.abort()
            raise
        self._disconnected.add_done_callback(lambda _: self._told_lost())

    async def close(self) -> None:
        """Says goodbye: the broker drops the will."""
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

    def send(self, topic: str, payload: bytes, token: T, *, retain: bool = False) -> None:
        """Publishes with QoS 1; MqttError if the connection is already gone."""
        info = self._client.publish(topic, payload, 1, retain)
        if info.rc != paho.MQTT_ERR_SUCCESS:
            raise aiomqtt.MqttCodeError(info.rc, "could not publish")
        self.unacknowledged[info.mid] = token

    def too_large(self, topic: str, payload: bytes) -> bool:
        """Whether the broker has said that it takes no packet of this size."""
        if self.maximum_packet is None:
            return False
        # Fixed header up to 5, topic length 2, packet identifier 2, property length 1.
        return 10 + len(topic.encode()) + len(payload) > self.maximum_packet

    async def listen(self, filters: tuple[str, ...]) -> list[str]:
        """Subscribes with QoS 1; the filters that the broker refused."""
        codes = await self.subscribe([(each, 1) for each in filters])
        values = [code.value if isinstance(code, ReasonCode) else int(code) for code in codes]
        return [each for each, value in zip(filters, values, strict=True) if value >= FAILURE]

    def _client_connect(self) -> None:
        try:
            super()._client_connect()
        except ConnectionRefusedError:
            self.refused_connect = True
            raise
        if self._abandoned:
            # Its waiter was cancelled while this thread was connecting.
            self._client.on_socket_close = None
            self._client._sock_close()

    def _wrap(self, tcp_sock: socket.socket) -> ssl.SSLSocket:
        """The TLS handshake; the library's own leaves its socket open when it fails."""
        if self._context is None:
            raise aiomqtt.MqttError("TLS without a context")
        wrapped = self._context.wrap_socket(
            tcp_sock, server_hostname=self._hostname, do_handshake_on_connect=False
        )
        try:
            wrapped.settimeout(CONNECT_S)
            wrapped.do_handshake()
        except BaseException:
            wrapped.close()
            raise
        return wrapped

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
        if not self._connected.done():
            self._connected.set_exception(aiomqtt.MqttError(f"closed at once: {reason_code}"))
            return
        super()._on_disconnect(client, userdata, flags, reason_code, properties)

    def _on_publish(
        self,
        client: paho.Client,
        userdata: Any,
        mid: int,
        reason_code: ReasonCode,
        properties: Properties,
    ) -> None:
        token = self.unacknowledged.pop(mid, None)
        if token is not None:
            self._settled(token, reason_code.value)

    def _on_message(self, client: paho.Client, userdata: Any, message: paho.MQTTMessage) -> None:
        if self._message is not None and not self._abandoned:
            self._message(message.topic, bytes(message.payload), message.retain)

    def _on_socket_open(self, client: paho.Client, userdata: Any, sock: Any) -> None:
        self._loop.call_soon_threadsafe(self._opened, sock)

    def _opened(self, sock: Any) -> None:
        if not self._abandoned and sock.fileno() >= 0:
            self._loop.add_reader(sock.fileno(), self._readable, sock)
            self._misc_task = self._loop.create_task(self._misc_loop(), name="mqtt-keepalive")

    def _readable(self, sock: Any) -> None:
        """Reads what is there; while more is awaited the next look comes a moment later."""
        self._client.loop_read()
        while sock.fileno() >= 0 and isinstance(sock, ssl.SSLSocket) and sock.pending():
            self._client.loop_read()
        if self.unacknowledged and not self._resting and sock.fileno() >= 0:
            self._resting = True
            self._loop.remove_reader(sock.fileno())
            self._loop.call_later(REST_S, self._look_again, sock)

    def _look_again(self, sock: Any) -> None:
        """Lets TCP confirm what has come, if more is awaited (tcp(7), TCP_QUICKACK).

        A broker that does not set TCP_NODELAY sends one PUBACK and holds the others back until the
        first is confirmed, which the kernel else delays by 40 ms.
        """
        self._resting = False
        if self._abandoned or sock.fileno() < 0:
            return
        self._loop.add_reader(sock.fileno(), self._readable, sock)
        if self.unacknowledged:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def _on_socket_register_write(self, client: paho.Client, userdata: Any, sock: Any) -> None:
        self._loop.call_soon_threadsafe(self._write, sock)

    def _write(self, sock: Any) -> None:
        """Writes at once; by then the socket may be closed, and its number somebody else's."""
        if self._abandoned or sock.fileno() < 0:
            return
        self._join_packets()
        self._client.loop_write()
        if self._client.want_write() and sock.fileno() >= 0:
            self._loop.add_writer(sock.fileno(), self._client.loop_write)

    def _join_packets(self) -> None:
        """Publishes that wait together leave in one system call instead of one each."""
        waiting = self._client._out_packet
        if len(waiting) < 2 or not all(_is_joinable(packet) for packet in waiting):
            return
        joined = b"".join(packet["packet"] for packet in waiting)
        first = waiting[0]
        first["packet"] = joined
        first["to_process"] = len(joined)
        waiting.clear()
        waiting.append(first)


def _is_joinable(packet: Any) -> bool:
    """A publish of QoS 1 of which nothing is written: the client does nothing when it has left."""
    is_publish: bool = packet["command"] & 0xF0 == paho.PUBLISH
    return is_publish and packet["qos"] == 1 and packet["pos"] == 0
