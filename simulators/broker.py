"""A small MQTT broker (3.1.1 and 5) for the demo and for tests, with faults on request.

QoS 0 and 1, retained messages, wills, sessions, wildcards; no QoS 2, no shared subscriptions, no
TLS, no users. Loopback only, nothing is stored on disk: it is never offered for real use.

Source: OASIS Standards "MQTT Version 5.0" (7 March 2019) and "MQTT Version 3.1.1" (29 October
2014). Section numbers are those of 5.0.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from simulators.broker_rules import ALL, Limits, Rules, Statistics
from simulators.loopback import loopback
from simulators.mqtt_connection import Connection
from simulators.mqtt_packets import (
    NEVER_EXPIRES,
    Connect,
    Message,
    PacketError,
    Publish,
    Reason,
    Subscribe,
    Subscription,
    Will,
)
from simulators.mqtt_session import Held, Session, check_topic, is_filter, matches

__all__ = ["ALL", "Broker", "Limits", "Message", "Reason", "Rules", "Statistics"]

STOP_S = 5.0
"""How long the connections may take to end."""


class Broker:
    """One broker on one loopback port. Sessions and retained messages outlive stop and start."""

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        receive_maximum: int | None = None,
        limits: Limits | None = None,
        rules: Rules | None = None,
    ) -> None:
        self.limits = limits or Limits()
        if receive_maximum is not None:
            self.limits = replace(self.limits, receive_maximum=receive_maximum)
        self.rules = rules or Rules()
        self.statistics = Statistics()
        self.port = port
        self._host = loopback(host)
        self._server: asyncio.Server | None = None
        self._open: dict[Connection, None] = {}  # in the order in which they came
        self._changed = asyncio.Event()
        self._is_stopping = False
        self._clients: dict[str, Connection] = {}
        self._sessions: dict[str, Session] = {}
        self._retained: dict[str, Held] = {}
        self._wills: dict[str, tuple[asyncio.TimerHandle, Will]] = {}
        self._taps: list[tuple[Callable[[Message], None], str]] = []

    # -- for the demo and for tests

    async def start(self) -> int:
        """Listen; the port, which stays the same through later stops and starts."""
        loop = asyncio.get_running_loop()
        self._is_stopping = False
        self._server = await loop.create_server(lambda: Connection(self), self._host, self.port)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self.port

    async def stop(self) -> None:
        """End as a killed broker does: no farewell, no wills; what it holds in memory stays."""
        if self._server is None:
            return
        self._is_stopping = True
        self._server.close()
        for timer, _ in self._wills.values():
            timer.cancel()
        self._wills.clear()
        self.cut()
        await self.until(lambda: not self._open, STOP_S)
        await self._server.wait_closed()
        self._server = None

    async def __aenter__(self) -> "Broker":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def forget(self) -> None:
        """Lose all sessions and retained messages, as a broker without persistence does."""
        self._sessions = {name: self._sessions[name] for name in self._clients}
        self._retained.clear()

    async def publish(
        self, topic: str, payload: bytes, retain: bool = False, *, qos: int = 1
    ) -> Reason:
        """Publish from inside; NO_MATCHING_SUBSCRIBERS if no client wants it."""
        check_topic(topic)
        return self._route(Message(topic, payload, qos, retain), sender="")

    def subscribe(
        self, callback: Callable[[Message], None], topic_filter: str = "#"
    ) -> Callable[[], None]:
        """Show ``callback`` each accepted message; the result ends that."""
        if not is_filter(topic_filter):
            raise PacketError(Reason.TOPIC_FILTER_INVALID, repr(topic_filter))
        tap = (callback, topic_filter)
        self._taps.append(tap)

        def leave() -> None:
            if tap in self._taps:
                self._taps.remove(tap)

        return leave

    async def until(self, condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
        """Wait for a condition, judged anew whenever a client or a message came or went."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    @property
    def clients(self) -> tuple[str, ...]:
        """Identifiers of the clients that are connected."""
        return tuple(self._clients)

    @property
    def retained(self) -> dict[str, Message]:
        """Retained messages by topic."""
        return {topic: held.message for topic, held in self._retained.items()}

    def refuse(self, topic_filter: str, reason: Reason = Reason.NOT_AUTHORIZED) -> None:
        """Refuse what is published to matching topics."""
        if not is_filter(topic_filter):
            raise PacketError(Reason.TOPIC_FILTER_INVALID, repr(topic_filter))
        self.rules.refused[topic_filter] = reason

    def allow(self, topic_filter: str) -> None:
        """Take back a refusal."""
        self.rules.refused.pop(topic_filter, None)

    def refuse_connections(self, reason: Reason | None) -> None:
        """Answer each CONNECT with the reason; None lets clients in again."""
        self.rules.connect = reason

    def stall(self, client_id: str = ALL) -> None:
        """Freeze: neither read nor answer, while the connection stays."""
        self.rules.stalled.add(client_id)
        self._obey()

    def silence(self, client_id: str = ALL) -> None:
        """Half-open: what the client sends vanishes, and nothing comes back."""
        self.rules.silent.add(client_id)

    def drop_acks(self, client_id: str = ALL) -> None:
        """Take messages and pass them on, but never acknowledge them."""
        self.rules.unacknowledged.add(client_id)

    def resume(self, client_id: str = ALL) -> None:
        """End stall, silence and drop_acks of this client, or of everybody.

        Stalled clients are served as if nothing had been. Connections that lost bytes to silence
        are cut, as bytes in the middle of a stream cannot be made up for.
        """
        deaf = [c for c in self._open if self.rules.is_silent(c.client_id)]
        self.rules.lift(client_id)
        for connection in deaf:
            if not self.rules.is_silent(connection.client_id):
                connection.abort()
        self._obey()

    def cut(self, client_id: str = ALL) -> int:
        """Reset the connection of a client or of everybody; how many there were."""
        chosen = [c for c in self._open if client_id in (ALL, c.client_id)]
        for connection in chosen:
            connection.abort()
        return len(chosen)

    def cut_at(self, publishes: int) -> None:
        """Cut the connection that sends the so-manieth publish from now, before its answer."""
        self.rules.cut_in = publishes

    # -- for connections

    def opened(self, connection: Connection) -> None:
        """A client connected, and has said nothing yet."""
        self.statistics.connections += 1
        self._open[connection] = None
        self._changed.set()

    def attach(self, connection: Connection, connect: Connect) -> tuple[Session, bool]:
        """The session of a client that said who it is, and whether it was there before."""
        client_id = connection.client_id
        old = self._clients.get(client_id)
        if old is not None:
            self.statistics.takeovers += 1
            old.end(Reason.SESSION_TAKEN_OVER)
            self._detach(old)
        self._sweep()
        session = self._sessions.get(client_id)
        if session is not None and connect.clean_start:
            self._end(session)
            session = None
        self._revoke_will(client_id)
        was_there = session is not None
        if session is None:
            if len(self._sessions) >= self.limits.sessions:
                raise PacketError(Reason.SERVER_BUSY, "too many sessions")
            session = self._sessions[client_id] = Session(client_id, self.limits.queue)
        session.expiry_s, session.ends_at = connect.expiry_s, None
        self._clients[client_id] = connection
        self._changed.set()
        return session, was_there

    def closed(self, connection: Connection) -> None:
        """The connection is gone."""
        self._open.pop(connection, None)
        self._detach(connection)
        self._changed.set()

    def accept(self, connection: Connection, publish: Publish) -> Reason | None:
        """Take a message; None: taken, but the client must not hear of it."""
        self.statistics.received += 1
        self._changed.set()
        self.statistics.duplicates += publish.dup
        reason = self.rules.refusal(publish.message.topic)
        if reason is None:
            reason = self._route(publish.message, connection.client_id)
        else:
            self.statistics.refused += 1
        if self.rules.is_cut_now():
            connection.abort()
            return None
        if self.rules.is_unacknowledged(connection.client_id):
            self.statistics.unacknowledged += 1
            return None
        return reason

    def subscribe_client(self, session: Session, packet: Subscribe) -> Sequence[int]:
        """Granted QoS or reason for each filter."""
        return [self._grant(session, wanted) for wanted in packet.subscriptions]

    def send_retained(self, connection: Connection, packet: Subscribe, new: set[str]) -> None:
        """Deliver what is retained for the filters; ``new`` did not exist before."""
        session = connection.session
        now = asyncio.get_running_loop().time()
        for wanted in packet.subscriptions:
            name = wanted.topic_filter
            is_due = wanted.retain_handling == 0 or (wanted.retain_handling == 1 and name in new)
            if session is None or name not in session.subscriptions or not is_due:
                continue
            for topic, held in self._retained.items():
                if matches(name, topic) and not held.is_expired(now):
                    qos = min(held.message.qos, wanted.qos)
                    session.replay(replace(held, message=replace(held.message, qos=qos)))

    # -- private

    def _obey(self) -> None:
        for connection in tuple(self._open):
            connection.obey_rules()

    def _grant(self, session: Session, wanted: Subscription) -> int:
        if not is_filter(wanted.topic_filter):
            return Reason.TOPIC_FILTER_INVALID
        if wanted.topic_filter.startswith("$share/"):
            return Reason.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED
        granted = min(wanted.qos, 1)
        session.subscriptions[wanted.topic_filter] = replace(wanted, qos=granted)
        return granted

    def _route(self, message: Message, sender: str) -> Reason:
        held = Held.since(message, asyncio.get_running_loop().time())
        if message.retain and not self._retain(held):
            return Reason.QUOTA_EXCEEDED
        self._sweep()
        is_wanted = False
        for session in self._sessions.values():
            wanted = session.wants(message.topic)
            if wanted is not None and not (wanted.no_local and session.client_id == sender):
                is_wanted = True
                self._hand_over(session, held, wanted)
        for callback, topic_filter in tuple(self._taps):
            if matches(topic_filter, message.topic):
                callback(message)
        return Reason.SUCCESS if is_wanted else Reason.NO_MATCHING_SUBSCRIBERS

    def _retain(self, held: Held) -> bool:
        topic = held.message.topic
        if not held.message.payload:
            self._retained.pop(topic, None)
        elif topic not in self._retained and len(self._retained) >= self.limits.retained:
            return False
        else:
            self._retained[topic] = held
        return True

    def _hand_over(self, session: Session, held: Held, wanted: Subscription) -> None:
        message = held.message
        connection = self._clients.get(session.client_id)
        qos = min(message.qos, wanted.qos)
        if connection is None and not qos:
            return
        retain = message.retain and wanted.retain_as_published
        if not session.offer(replace(held, message=replace(message, qos=qos, retain=retain))):
            self.statistics.dropped += 1
        elif connection is not None:
            connection.flush()

    def _detach(self, connection: Connection) -> None:
        client_id, session = connection.client_id, connection.session
        if self._clients.get(client_id) is not connection or session is None:
            return
        del self._clients[client_id]
        now = asyncio.get_running_loop().time()
        session.ends_at = None if session.expiry_s == NEVER_EXPIRES else now + session.expiry_s
        if connection.will is not None and not self._is_stopping:
            self._schedule_will(session, connection.will)
        self._sweep()

    def _sweep(self) -> None:
        now = asyncio.get_running_loop().time()
        over = [s for s in self._sessions.values() if s.ends_at is not None and now >= s.ends_at]
        for session in over:
            self._end(session)

    def _end(self, session: Session) -> None:
        if self._sessions.pop(session.client_id, None) is None:
            return
        pending = self._wills.pop(session.client_id, None)
        if pending is not None:
            pending[0].cancel()
            self._publish_will(session.client_id, pending[1])

    def _schedule_will(self, session: Session, will: Will) -> None:
        # 3.1.2.5: after the delay or at the end of the session, whichever comes first.
        delay_s = min(will.delay_s, session.expiry_s)
        loop = asyncio.get_running_loop()
        if not delay_s:
            self._publish_will(session.client_id, will)
        else:
            timer = loop.call_later(delay_s, self._will_is_due, session.client_id)
            self._wills[session.client_id] = (timer, will)

    def _will_is_due(self, client_id: str) -> None:
        _, will = self._wills.pop(client_id)
        self._publish_will(client_id, will)

    def _revoke_will(self, client_id: str) -> None:
        pending = self._wills.pop(client_id, None)
        if pending is not None:
            pending[0].cancel()

    def _publish_will(self, client_id: str, will: Will) -> None:
        self.statistics.wills += 1
        if self.rules.refusal(will.message.topic) is None:
            self._route(will.message, client_id)
