"""The MQTT client of one sink: sends what its reader and the documents hold, and never loses it.

On each connection goes out, in this order: the status, the set of active alarms, alarm events, the
other documents (removals among them, so that the event that ended an alarm precedes them), live
samples, the backlog. The journal is the only memory: a connection's loss rewinds the reader.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Final

import aiomqtt
import structlog

from config.models import Sink
from gateway.backoff import BackOff, BackOffLimits
from gateway.delivery import SinkReader, prepend
from gateway.documents import DocumentStore, Held
from gateway.journal_record import Record
from gateway.mqtt import (
    FAILURE,
    NO_SUBSCRIBER,
    QUOTA_EXCEEDED,
    TAKEN_OVER,
    Broker,
    Connection,
    Will,
    load_credentials,
    parse_broker,
    topic_error,
)
from gateway.publisher_values import (
    Item,
    Note,
    PublisherCounters,
    PublisherState,
    Remote,
    Roots,
    Sent,
    Session,
    key_of,
)
from gateway.publisher_window import RESERVED, Suspicion, Window

LIMITS: Final = BackOffLimits(first_s=0.5, cap_s=5.0, jitter=0.3)
REFUSED_CAP_S: Final = 1.0
"""A host that refuses at once is asked more often: its broker is about to come back."""
PUBACK_S: Final = 10.0
"""Without any acknowledgement for so long the connection is given up."""
GOODBYE_S: Final = 2.0
STATUS_S: Final = 0.5
"""Kept of it for the status, which comes last."""
STABLE_S: Final = 5.0
"""A connection that lasted so long was a success; the list of brokers starts again."""
SHORT_LIVES: Final = 3
"""After so many short connections in a row the waits grow."""
WAKE_SLOTS: Final = 4
"""So many slots are filled together: wake-ups are the cost, not work."""
NOTES: Final = 100

log = structlog.get_logger(__name__)


class Publisher:
    """Runs one sink until ``stop``."""

    def __init__(
        self,
        sink: Sink,
        reader: SinkReader,
        documents: DocumentStore,
        gateway: str,
        roots: Roots,
        status: Callable[[str], bytes],
        *,
        random: Random,
        remote: Remote | None = None,
    ) -> None:
        self.counters = PublisherCounters()
        self._sink = sink
        self._reader = reader
        self._documents = documents
        self._feed = documents.feed(sink.id)
        self._feed.wake = reader.ready.set
        self._gateway = gateway
        self._prefix = (f"{roots.operational}/{gateway}/", f"{roots.exercise}/{gateway}/")
        self._status = status
        self._remote = remote
        self._brokers = [parse_broker(url) for url in sink.brokers]
        self._next_broker = 0
        self._back_off = BackOff(LIMITS, random)
        self._suspicion = Suspicion()
        self._notes: deque[Note] = deque(maxlen=NOTES)
        self._topics: dict[tuple[bool, str], tuple[str, str]] = {}
        self._session: Session | None = None
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Ends ``run`` within seconds: alarms and documents first, then a goodbye."""
        self._stop.set()
        self._reader.ready.set()

    def tell(self, topic: str, body: bytes, *, exercise: bool = False) -> None:
        """Sends a message once, neither journalled nor retained; dropped without a connection."""
        if self._session is None:
            return
        full, _ = self._topic(topic, exercise)
        self._notes.append(Note(full, self._documents.payload(body)))
        self._reader.ready.set()

    def owed(self) -> int:
        """Records and documents that the sink has not acknowledged."""
        return self._reader.owed() + self._feed.owed()

    async def run(self) -> None:
        """Connects, sends and connects again."""
        try:
            while not self._stop.is_set():
                await self._attempt()
        finally:
            self.counters.state = PublisherState.STOPPED

    async def _attempt(self) -> None:
        broker = self._brokers[self._next_broker]
        self.counters.state = PublisherState.CONNECTING
        self.counters.broker = f"{broker.host}:{broker.port}"
        try:
            connection = await self._connect(broker)
        except (aiomqtt.MqttError, OSError) as error:
            await self._failed(str(error), quick=False)
            return
        except _RefusedAtOnce as error:
            await self._failed(str(error), quick=True)
            return
        await self._serve(connection)

    async def _connect(self, broker: Broker) -> Connection[Sent]:
        loop = asyncio.get_running_loop()
        credentials = await loop.run_in_executor(
            None, lambda: load_credentials(self._sink, tls=broker.tls)
        )
        # The will comes after the status of this connection, so its revision is the higher one.
        online = self._documents.payload(self._status("online"), self._documents.next_revision())
        lost = self._documents.payload(self._status("lost"), self._documents.next_revision())
        connection: Connection[Sent] = Connection(
            broker,
            self._sink,
            self._sink.client_id or f"dosegate-{self._gateway}-{self._sink.id}",
            credentials,
            Will(self._prefix[0] + "status", lost),
            settled=self._settled,
            lost=self._reader.ready.set,
            message=self._remote.on_message if self._remote else None,
        )
        try:
            await connection.open()
        except aiomqtt.MqttError as error:
            if connection.refused_connect:
                raise _RefusedAtOnce(str(error)) from error
            raise
        self._notes.appendleft(Note(self._prefix[0] + "status", online, retain=True))
        return connection

    async def _failed(self, error: str, *, quick: bool) -> None:
        """Waits, unless another broker of the list has not been tried."""
        if error != self.counters.last_error:
            log.warning(
                "broker_unreachable",
                sink=self._sink.id,
                broker=self.counters.broker,
                error=error,
            )
        self.counters.last_error = error
        self._next_broker = (self._next_broker + 1) % len(self._brokers)
        if self._next_broker:
            return
        self.counters.state = PublisherState.WAITING
        wait_s = self._back_off.wait_s()
        await _wait(self._stop, min(wait_s, REFUSED_CAP_S) if quick else wait_s)

    async def _serve(self, connection: Connection[Sent]) -> None:
        now = asyncio.get_running_loop().time()
        session = Session(connection, Window(connection.receive_maximum), now, now)
        self._session = session
        self._online(session)
        try:
            await self._listen(connection)
            await self._send_all(session)
            if self._stop.is_set() and not connection.is_lost:
                await self._goodbye(session)
        except aiomqtt.MqttError as error:
            session.giving_up = str(error)
        finally:
            self._session = None
            lasted_s = asyncio.get_running_loop().time() - session.started
            self._judge(session)
            connection.abort()
            self._notes.clear()
            self._reader.rewind()
        if not self._stop.is_set():
            await self._lost(session, lasted_s)

    def _online(self, session: Session) -> None:
        self.counters.state = PublisherState.ONLINE
        self.counters.last_error = ""
        self.counters.reconnects += bool(self.counters.connects)
        self.counters.connects += 1
        self._reader.backlog_window = max(1, (session.window.total - RESERVED) // 2)
        self._feed.restart()
        log.info("broker_connected", sink=self._sink.id, broker=self.counters.broker)

    async def _listen(self, connection: Connection[Sent]) -> None:
        if self._remote is not None and self._remote.filters:
            refused = await connection.listen(self._remote.filters)
            if refused:
                log.error("subscription_refused", sink=self._sink.id, filters=refused)

    async def _send_all(self, session: Session) -> None:
        while not (session.connection.is_lost or session.giving_up or self._stop.is_set()):
            self._reader.ready.clear()
            self._pump(session)
            await _wait(self._reader.ready, self._pause_s(session))
            self._check_progress(session)

    def _pause_s(self, session: Session) -> float:
        backlog_s = None
        if session.samples_out < self._sample_slots(session):
            backlog_s = self._reader.delay_s()
        return min(1.0, 1.0 if backlog_s is None else max(0.005, backlog_s))

    def _check_progress(self, session: Session) -> None:
        now = asyncio.get_running_loop().time()
        if not session.connection.unacknowledged:
            session.progress = now
        elif now - session.progress > PUBACK_S:
            session.giving_up = f"no acknowledgement for {PUBACK_S:g} s"

    def _pump(self, session: Session) -> None:
        """Fills the window."""
        while self._notes and self._room(session):
            self._send(session, self._notes.popleft())
        for held in self._feed.take_active(self._room(session)):
            self._send(session, held)
        for record in self._reader.take(self._room(session), alarms_only=True):
            self._send(session, record)
        if not self._reader.owes_alarms:
            for held in self._feed.take_others(self._room(session)):
                self._send(session, held)
        free = min(self._room(session), self._sample_slots(session) - session.samples_out)
        if free > 0:
            for record in self._reader.take(free):
                self._send(session, record)
        self._note_starved(session)

    def _note_starved(self, session: Session) -> None:
        """Acknowledgements wake the sender only when the window, not the supply, held it up."""
        out = len(session.connection.unacknowledged)
        held_up = not self._room(session) or session.samples_out >= self._sample_slots(session)
        session.wake_below = max(1, out - WAKE_SLOTS + 1) if held_up else 0

    def _room(self, session: Session) -> int:
        total = 1 if self._suspicion.isolating else session.window.total
        return max(0, total - len(session.connection.unacknowledged))

    def _sample_slots(self, session: Session) -> int:
        return 1 if self._suspicion.isolating else session.window.samples

    def _send(self, session: Session, item: Item) -> None:
        topic, payload, problem = self._message(item)
        if problem:
            self._refuse(item, problem)
            return
        if session.connection.too_large(topic, payload):
            limit = session.connection.maximum_packet
            self._refuse(item, f"{len(payload)} bytes are more than the broker takes, {limit}")
            return
        retain = not isinstance(item, Record) and (isinstance(item, Held) or item.retain)
        at = asyncio.get_running_loop().time()
        session.connection.send(topic, payload, Sent(item, at), retain=retain)
        self.counters.sent += 1
        if isinstance(item, Record) and not item.lane.is_alarm:
            session.samples_out += 1

    def _message(self, item: Item) -> tuple[str, bytes, str]:
        if isinstance(item, Record):
            topic, problem = self._topic(item.topic, item.lane.is_exercise)
            return topic, prepend(self._gateway, item), problem
        if isinstance(item, Held):
            topic, problem = self._topic(item.document.topic, item.document.exercise)
            return topic, item.payload, problem
        return item.topic, item.payload, ""

    def _topic(self, topic: str, exercise: bool) -> tuple[str, str]:
        """The full topic and what is wrong with it, worked out once."""
        known = self._topics.get((exercise, topic))
        if known is None:
            full = self._prefix[exercise] + topic
            known = self._topics[exercise, topic] = full, topic_error(full)
        return known

    def _settled(self, sent: Sent, code: int) -> None:
        session = self._session
        if session is None:
            return
        now = asyncio.get_running_loop().time()
        session.progress = now
        item = sent.item
        self._suspicion.cleared(key_of(item))
        if isinstance(item, Record) and not item.lane.is_alarm:
            session.samples_out -= 1
            session.window.acknowledged(now - sent.at)
        if self._stop.is_set() or len(session.connection.unacknowledged) < session.wake_below:
            self._reader.ready.set()
        if code == QUOTA_EXCEEDED:
            session.giving_up = "the broker says: quota exceeded"
            self._reader.ready.set()
        elif code >= FAILURE:
            self._refuse(item, f"the broker refused it with reason code 0x{code:02x}")
        else:
            self._accepted(item, code)

    def _accepted(self, item: Item, code: int) -> None:
        self.counters.acknowledged += 1
        if isinstance(item, Record):
            self.counters.unheard += item.lane.is_alarm and code == NO_SUBSCRIBER
            self._reader.acknowledge(item)
        elif isinstance(item, Held):
            self._feed.settle(item)

    def _refuse(self, item: Item, reason: str) -> None:
        self.counters.refused += 1
        self._reader.ready.set()
        if isinstance(item, Record):
            self._reader.refuse(item, reason)
            return
        if isinstance(item, Held):
            self._feed.settle(item)
        topic = item.document.topic if isinstance(item, Held) else item.topic
        log.error("message_refused", sink=self._sink.id, topic=topic, reason=reason)

    async def _goodbye(self, session: Session) -> None:
        """What is owed and still fits into ``GOODBYE_S``, alarms first, then the status."""
        self.counters.state = PublisherState.STOPPING
        loop = asyncio.get_running_loop()
        deadline = loop.time() + GOODBYE_S
        body = self._documents.payload(self._status("stopping"), self._documents.next_revision())
        last = Note(self._prefix[0] + "status", body, retain=True)
        told = False
        while loop.time() < deadline and not session.connection.is_lost:
            self._reader.ready.clear()
            self._pump(session)
            is_time = not self.owed() or loop.time() > deadline - STATUS_S
            if not told and is_time and self._room(session):
                self._send(session, last)
                told = True
            if told and not session.connection.unacknowledged:
                break
            await _wait(self._reader.ready, min(0.1, deadline - loop.time()))
        await session.connection.close()

    def _judge(self, session: Session) -> None:
        """A broker that closes the connection may be choking on what was sent first."""
        if session.giving_up or not session.connection.is_lost or self._stop.is_set():
            return
        first = next(iter(session.connection.unacknowledged.values()), None)
        if first is None or isinstance(first.item, Note):
            return
        if self._suspicion.lost(key_of(first.item)):
            self._refuse(first.item, "the broker closed the connection each time it was sent")

    async def _lost(self, session: Session, lasted_s: float) -> None:
        connection = session.connection
        error = session.giving_up or connection.reason or "connection lost"
        self.counters.losses += 1
        self.counters.last_error = error
        log.warning("broker_lost", sink=self._sink.id, broker=self.counters.broker, error=error)
        taken_over = connection.code == TAKEN_OVER
        if lasted_s >= STABLE_S and not taken_over:
            self._back_off.succeeded()
            self._next_broker = 0
        else:
            self._next_broker = (self._next_broker + 1) % len(self._brokers)
        self.counters.state = PublisherState.WAITING
        is_new = self._back_off.tries < SHORT_LIVES
        wait_s = self._back_off.wait_s()
        if taken_over:
            wait_s = LIMITS.cap_s
        elif is_new:
            wait_s = min(wait_s, REFUSED_CAP_S)
        await _wait(self._stop, wait_s)


class _RefusedAtOnce(Exception):
    """Nobody listens on the port, but the host answers."""


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Returns when the event is set or the time is over; makes no task."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
