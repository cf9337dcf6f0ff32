"""One client's connection to the test broker: packets in, packets out, no task of its own.

Source: OASIS Standards "MQTT Version 5.0" (7 March 2019) and "MQTT Version 3.1.1" (29 October
2014). Section numbers are those of 5.0 unless 3.1.1 stands before them.
"""

import asyncio
import secrets
from collections.abc import Sequence
from typing import Protocol

from simulators import mqtt_encode as encode
from simulators.broker_rules import Limits, Rules, Statistics
from simulators.loopback import reset
from simulators.mqtt_decode import Splitter, decode
from simulators.mqtt_packets import (
    LEVEL_3_1_1,
    LEVEL_5,
    Acknowledgement,
    Connect,
    Disconnect,
    Kind,
    Packet,
    PacketError,
    Ping,
    Properties,
    Property,
    PropertyValue,
    Publish,
    Reason,
    Subscribe,
    Unsubscribe,
    Will,
)
from simulators.mqtt_session import Session, check_topic

LINGER_S = 1.0
"""How long a connection that is being closed may take to send its last packet."""


class Hub(Protocol):
    """What a connection needs of its broker."""

    limits: Limits
    rules: Rules
    statistics: Statistics

    def opened(self, connection: "Connection") -> None:
        """A client connected, and has said nothing yet."""

    def attach(self, connection: "Connection", connect: Connect) -> tuple[Session, bool]:
        """The session of a client that said who it is, and whether it was there before."""

    def closed(self, connection: "Connection") -> None:
        """The connection is gone."""

    def accept(self, connection: "Connection", publish: Publish) -> Reason | None:
        """Take a message; None: taken, but the client must not hear of it."""

    def subscribe_client(self, session: Session, packet: Subscribe) -> Sequence[int]:
        """Granted QoS or reason for each filter."""

    def send_retained(self, connection: "Connection", packet: Subscribe, new: set[str]) -> None:
        """Deliver what is retained for the filters; ``new`` did not exist before."""


class Connection(asyncio.Protocol):
    """From the TCP connection to its end."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._splitter = Splitter(hub.limits.packet_maximum)
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._heard_at = self._loop.time()
        self._connect: Connect | None = None
        self._waiting: Connect | None = None
        self._session: Session | None = None
        self._is_writable = True
        self._owed: set[int] = set()
        self.client_id = ""
        self.will: Will | None = None

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: the client is there."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("a broker needs a stream")
        self._transport = transport
        self._timer = self._loop.call_later(self._hub.limits.connect_s, self._never_said_hello)
        self._hub.opened(self)
        self.obey_rules()

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes of the client."""
        if self._hub.rules.is_silent(self.client_id):
            return
        self._heard_at = self._loop.time()
        self._splitter.feed(data)
        self._work()

    def pause_writing(self) -> None:
        """asyncio: the client does not read fast enough."""
        self._is_writable = False
        self.obey_rules()

    def resume_writing(self) -> None:
        """asyncio: it does again."""
        self._is_writable = True
        self.obey_rules()

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: it is over."""
        self._transport = None
        self._stop_timer()
        self._hub.closed(self)

    # -- what the broker asks for

    @property
    def session(self) -> Session | None:
        """The client's session, None until it has said who it is."""
        return self._session

    def obey_rules(self) -> None:
        """Stop or go on reading, as the broker's rules now say."""
        if self._transport is None or self._transport.is_closing():
            return
        # Who does not read its answers is not read either: nothing here grows without a bound.
        if self._hub.rules.is_stalled(self.client_id) or not self._is_writable:
            self._transport.pause_reading()
            return
        self._transport.resume_reading()
        self._heard_at = self._loop.time()
        self._work()
        self.flush()

    def flush(self) -> None:
        """Send what the session holds, as far as the client can take it."""
        if self._session is None or self._connect is None or self._is_mute() or not self._is_open():
            return
        window = min(self._connect.receive_maximum, self._hub.limits.window)
        while self._is_writable:
            packet = self._session.take(window, self._loop.time())
            if packet is None:
                return
            self._deliver(packet)

    def abort(self) -> None:
        """Reset it at once and say nothing."""
        if self._transport is not None:
            reset(self._transport)

    def end(self, reason: Reason) -> None:
        """Tell the client why, as far as its level has words for it, and close."""
        if self._connect is None:
            self._refuse_hello(reason)
        elif self._session is None:
            self._send(encode.connack(self._connect.level, reason))
        elif self._connect.level == LEVEL_5:
            self._send(encode.disconnect(reason))
        self._close()

    # -- private

    def _refuse_hello(self, reason: Reason) -> None:
        # 3.1.1 3.1.2.2: a client of another level is answered in the form of level 4.
        if reason is Reason.UNSUPPORTED_PROTOCOL:
            self._send(encode.connack(LEVEL_3_1_1, reason))
        elif reason is Reason.BAD_AUTHENTICATION_METHOD:
            self._send(encode.connack(LEVEL_5, reason))

    def _close(self) -> None:
        self._stop_timer()
        if self._transport is not None:
            self._transport.close()
            self._timer = self._loop.call_later(LINGER_S, self.abort)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _never_said_hello(self) -> None:
        if not self._is_mute():
            self._hub.statistics.failed(Reason.KEEP_ALIVE_TIMEOUT)
            self.abort()

    def _is_mute(self) -> bool:
        return self._hub.rules.is_mute(self.client_id)

    def _send(self, data: bytes) -> None:
        if self._transport is not None and not self._hub.rules.is_silent(self.client_id):
            self._transport.write(data)

    def _is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def _work(self) -> None:
        try:
            if self._waiting is not None and not self._is_mute():
                self._welcome(self._waiting)
            while self._is_open() and self._is_writable and not self._is_mute():
                frame = self._splitter.next()
                if frame is None:
                    return
                level = self._connect.level if self._connect else LEVEL_5
                self._handle(decode(*frame, level))
        except PacketError as error:
            self._hub.statistics.failed(error.reason)
            self.end(error.reason)

    def _handle(self, packet: Packet) -> None:
        if (self._connect is None) is not isinstance(packet, Connect):
            raise PacketError(Reason.PROTOCOL_ERROR, "CONNECT comes first, and once")
        match packet:
            case Connect():
                self._connected(packet)
            case Publish():
                self._publish(packet)
            case Acknowledgement():
                self._acknowledged(packet)
            case Subscribe():
                self._subscribe(packet)
            case Unsubscribe():
                self._unsubscribe(packet)
            case Ping():
                self._send(encode.pingresp())
            case Disconnect():
                self._disconnected(packet)

    def _connected(self, connect: Connect) -> None:
        self._connect = connect
        if connect.will is not None:
            check_topic(connect.will.message.topic)
            if connect.will.message.qos > 1:
                raise PacketError(Reason.QOS_NOT_SUPPORTED, "will with QoS 2")
        if not connect.client_id and connect.level < LEVEL_5 and not connect.clean_start:
            raise PacketError(Reason.CLIENT_ID_NOT_VALID, "empty, and the session to be kept")
        reason = self._hub.rules.connect
        if reason is not None:
            self.end(reason)
            return
        self.client_id = connect.client_id or f"auto-{secrets.token_hex(8)}"
        if self._is_mute():
            self._waiting = connect
            self.obey_rules()
        else:
            self._welcome(connect)

    def _welcome(self, connect: Connect) -> None:
        self._waiting = None
        self.will = connect.will
        self._session, was_there = self._hub.attach(self, connect)
        self._send(
            encode.connack(
                connect.level,
                Reason.SUCCESS,
                session_present=was_there,
                properties=self._announced(connect),
            )
        )
        self._watch(connect.keepalive_s * self._hub.limits.keepalive_factor)
        for packet in self._session.again(self._loop.time()):
            self._deliver(packet)
        self.flush()

    def _announced(self, connect: Connect) -> Properties:
        found: list[tuple[Property, PropertyValue]] = [
            (Property.RECEIVE_MAXIMUM, self._hub.limits.receive_maximum),
            (Property.MAXIMUM_QOS, 1),
            (Property.MAXIMUM_PACKET_SIZE, self._hub.limits.packet_maximum),
            (Property.SUBSCRIPTION_IDENTIFIERS_AVAILABLE, 0),
            (Property.SHARED_SUBSCRIPTION_AVAILABLE, 0),
        ]
        if not connect.client_id:
            found.append((Property.ASSIGNED_CLIENT_IDENTIFIER, self.client_id))
        return tuple(found)

    def _watch(self, limit_s: float) -> None:
        self._stop_timer()
        if not limit_s or not self._is_open():
            return
        due = self._heard_at + limit_s
        self._timer = self._loop.call_at(due, self._check_alive, limit_s)

    def _check_alive(self, limit_s: float) -> None:
        if self._is_mute() or not self._is_writable:
            self._heard_at = self._loop.time()
        if self._loop.time() - self._heard_at >= limit_s:
            self._hub.statistics.failed(Reason.KEEP_ALIVE_TIMEOUT)
            self.end(Reason.KEEP_ALIVE_TIMEOUT)
        else:
            self._watch(limit_s)

    def _publish(self, packet: Publish) -> None:
        message, level = packet.message, self._connect.level if self._connect else LEVEL_5
        if message.qos > 1:
            raise PacketError(Reason.QOS_NOT_SUPPORTED, "QoS 2")
        if any(key is Property.TOPIC_ALIAS for key, _ in message.properties):
            raise PacketError(Reason.TOPIC_ALIAS_INVALID, "topic alias")
        check_topic(message.topic)
        if message.qos:
            self._owed.add(packet.packet_id)
        if level == LEVEL_5 and len(self._owed) > self._hub.limits.receive_maximum:
            raise PacketError(Reason.RECEIVE_MAXIMUM_EXCEEDED, f"{len(self._owed)} in flight")
        reason = self._hub.accept(self, packet)
        if message.qos and reason is not None:
            self._owed.discard(packet.packet_id)
            self._send(encode.puback(level, packet.packet_id, reason))

    def _deliver(self, packet: Publish) -> None:
        if self._connect is None or self._session is None:
            return
        data = encode.publish(packet, self._connect.level)
        if len(data) <= self._connect.packet_maximum:
            self._send(data)
            return
        self._hub.statistics.dropped += 1
        self._session.acknowledged(packet.packet_id)

    def _acknowledged(self, packet: Acknowledgement) -> None:
        if packet.kind is not Kind.PUBACK:
            raise PacketError(Reason.PROTOCOL_ERROR, f"{packet.kind.name} without QoS 2")
        if self._session is not None and self._session.acknowledged(packet.packet_id):
            self.flush()

    def _subscribe(self, packet: Subscribe) -> None:
        if self._session is None or self._connect is None:
            return
        before = set(self._session.subscriptions)
        codes = self._hub.subscribe_client(self._session, packet)
        self._send(encode.suback(self._connect.level, packet.packet_id, codes))
        new = {item.topic_filter for item in packet.subscriptions} - before
        self._hub.send_retained(self, packet, new)
        self.flush()

    def _unsubscribe(self, packet: Unsubscribe) -> None:
        if self._session is None or self._connect is None:
            return
        reasons = [
            Reason.SUCCESS
            if self._session.subscriptions.pop(text, None)
            else Reason.NO_SUBSCRIPTION_EXISTED
            for text in packet.topic_filters
        ]
        self._send(encode.unsuback(self._connect.level, packet.packet_id, reasons))

    def _disconnected(self, packet: Disconnect) -> None:
        if self._session is not None and packet.expiry_s is not None:
            if packet.expiry_s and not self._session.expiry_s:
                raise PacketError(Reason.PROTOCOL_ERROR, "session expiry raised from 0")
            self._session.expiry_s = packet.expiry_s
        if packet.reason != Reason.DISCONNECT_WITH_WILL:
            self.will = None
        self._close()
