"""The MQTT client of one sink: sends what its reader and the documents hold, and never loses it.

On each connection goes out, in this order: the status, the set of active alarms, alarm events, the
other documents (removals among them, so that the event that ended an alarm precedes them), live
samples, the backlog. The journal is the only memory: a connection's loss rewinds the reader.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from random import Random
from typing import Final

import aiomqtt
import structlog

from config.models import Sink
from gateway.backoff import BackOff, BackOffLimits
from gateway.delivery.reader import SinkReader
from gateway.documents import DocumentStore, Held
from gateway.mqtt import TAKEN_OVER, Connection, parse_broker
from gateway.publisher.brokers import BrokerList, probe
from gateway.publisher.connect import Connector, NotConnected
from gateway.publisher.names import Address, Names
from gateway.publisher.notices import SinkNotices
from gateway.publisher.orphans import Ended, Orphan, Orphans, never_ended
from gateway.publisher.session import Session, Topics, wait
from gateway.publisher.trouble import Conflict
from gateway.publisher.values import (
    Item,
    LinkFigures,
    Note,
    PublisherCounters,
    PublisherFigures,
    PublisherState,
    Remote,
    Roots,
    Sent,
)
from gateway.publisher.window import Stall, Suspicion
from gateway.values import Notice

LIMITS: Final = BackOffLimits(first_s=0.5, cap_s=5.0, jitter=0.3)
REFUSED_CAP_S: Final = 1.0
"""A host that refuses at once is asked more often: its broker is about to come back."""
CONFLICT: Final = BackOffLimits(first_s=60.0, cap_s=600.0, jitter=0.3)
"""Two with the same client id would end each other's connection for ever: own choice."""
STABLE_S: Final = 5.0
"""A connection that lasted so long was a success; the list of brokers starts again."""
SETTLED_S: Final = 60.0
"""One that lasted so long has no namesake."""
SHORT_LIVES: Final = 3
"""After so many short connections in a row the waits grow."""
ANSWER_S: Final = 600.0
"""For subscriptions; a link that stands still is given up much earlier."""
WATCH_S: Final = 1.0
NOTES: Final = 100

log = structlog.get_logger(__name__)


class Publisher:
    """Runs one sink until ``stop``; ``notify`` is told what operators must know of it."""

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
        notify: Callable[[Notice], None] = lambda _: None,
        names: Names | None = None,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
        ended: Ended = never_ended,
    ) -> None:
        self.counters = PublisherCounters()
        self.notices = SinkNotices(sink, f"dosegate-{gateway}-{sink.id}", notify)
        self._sink = sink
        self._reader = reader
        self._documents = documents
        self._feed = documents.feed(sink.id)
        self._feed.wake = reader.ready.set
        self._gateway = gateway
        prefixes = (f"{roots.operational}/{gateway}/", f"{roots.exercise}/{gateway}/")
        self._topics = Topics(prefixes)
        self._orphans = Orphans(prefixes, documents.standing, ended)
        self._status = status
        self._remote = remote
        self._names = names or Names()
        self._wall = wall
        self._connector = Connector(
            sink,
            self.notices.client_id,
            self._names,
            self._status_note,
            wall,
            lost=reader.ready.set,
            message=self._message,
        )
        self._list = BrokerList([parse_broker(url) for url in sink.brokers], random)
        self._back_off = BackOff(LIMITS, random)
        self._conflict = Conflict()
        self._conflict_wait = BackOff(CONFLICT, random)
        self._suspicion = Suspicion()
        self._stall = Stall()
        self._notes: deque[Note] = deque(maxlen=NOTES)
        self._session: Session | None = None
        self._address: Address | None = None
        self._leaving: int | None = None
        self._since = 0.0
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Ends ``run`` within seconds: alarms and documents first, then a goodbye."""
        self._stop.set()
        self._reader.ready.set()

    def tell(self, topic: str, body: bytes, *, exercise: bool = False) -> None:
        """Sends a message once, neither journalled nor retained; dropped without a connection."""
        if self._session is None:
            return
        full = self._topics.full(topic, exercise)[0].decode()
        payload = self._documents.payload(body)
        self._notes.append(Note(full, payload, spare=topic == "health"))
        self._reader.ready.set()

    def owed(self) -> int:
        """Records and documents that the sink has not acknowledged."""
        return self._reader.owed() + self._feed.owed()

    @property
    def orphans(self) -> tuple[Orphan, ...]:
        """Alarms of this gateway's prefix at the broker that this gateway does not know."""
        return self._orphans.found

    def remove_orphan(self, occurrence: str) -> bool:
        """An operator closed it: removed at the broker; False if it is none, or no connection."""
        orphans = self._orphans.of(occurrence)
        if self._session is None or not orphans:
            return False
        self._remove_retained(orphans)
        return True

    def quarantine_emptied(self) -> None:
        """Nothing of this sink is kept aside any more."""
        self.notices.nothing_refused()

    def figures(self) -> PublisherFigures:
        """How the sink stands, for health and board."""
        since_s = asyncio.get_running_loop().time() - self._since if self._since else 0.0
        return PublisherFigures(
            **asdict(self.counters),
            since_s=round(since_s, 1),
            owed=self.owed(),
            orphans=len(self.orphans),
            sees_refusals=self._sink.protocol == "5",
            address=str(self._address or ""),
            **asdict(self._session.link() if self._session else LinkFigures()),
        )

    async def run(self) -> None:
        """Connects, sends and connects again."""
        self._enter(PublisherState.CONNECTING)
        self.notices.down(self._since)
        try:
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(self._watch(), name=f"watch {self._sink.id}")
                while not self._stop.is_set():
                    await self._attempt()
                watch.cancel()
        finally:
            self._enter(PublisherState.STOPPED)

    # -- connecting

    async def _attempt(self) -> None:
        broker = self._list.current
        self._enter(PublisherState.CONNECTING)
        self.counters.broker = f"{broker.host}:{broker.port}"
        session = self._new_session()
        try:
            connected = await self._connector.connect(broker, session.settled)
        except NotConnected as error:
            await self._failed(error)
            return
        self._address = connected.address
        self._notes.clear()
        self._notes.append(connected.online)
        self._session = session
        await self._serve(session, connected.connection)

    def _new_session(self) -> Session:
        return Session(
            self._gateway,
            self._topics,
            self._reader,
            self._feed,
            self._notes,
            self._suspicion,
            self._stall,
            self.counters,
            heard=self._heard,
            refused=self._refused,
        )

    def _status_note(self, state: str) -> Note:
        body = self._documents.payload(self._status(state), self._documents.next_revision())
        return Note(self._topics.prefixes[0] + "status", body, retain=True, urgent=True)

    async def _failed(self, error: NotConnected) -> None:
        """Waits, unless another broker of the list has not been tried."""
        broker, text = self.counters.broker, str(error)
        if text != self.counters.last_error:
            log.warning("broker_unreachable", sink=self._sink.id, broker=broker, error=text)
        self.counters.last_error = text
        self.notices.unreachable(broker, text, is_certificate=error.is_certificate)
        self._conflict.unreachable()
        if not self._list.failed():
            return
        self._enter(PublisherState.WAITING)
        wait_s = self._back_off.wait_s()
        await wait(self._stop, min(wait_s, REFUSED_CAP_S) if error.is_refused else wait_s)

    # -- connected

    async def _serve(self, session: Session, connection: Connection[Sent]) -> None:
        session.begin(connection)
        self._online(session)
        try:
            async with asyncio.TaskGroup() as group:
                greeting = group.create_task(self._greet(session), name=f"greet {self._sink.id}")
                await asyncio.sleep(0)  # the subscriptions go first
                await self._send_all(session)
                if (self._stop.is_set() or self._leaving is not None) and not connection.is_lost:
                    await self._goodbye(session)
                greeting.cancel()
        except* aiomqtt.MqttError as errors:
            session.giving_up = session.giving_up or str(errors.exceptions[0])
        finally:
            self._session = None
            lasted_s = asyncio.get_running_loop().time() - session.started
            is_poison = not self._stop.is_set() and session.suspect()
            connection.abort()
            self._notes.clear()
            self._reader.rewind()
            self.notices.down(asyncio.get_running_loop().time())
        if self._leaving is not None:
            self._list.go_to(self._leaving)
            self._leaving = None
        elif not self._stop.is_set():
            await self._lost(session, lasted_s, is_poison=is_poison)

    def _online(self, session: Session) -> None:
        self._enter(PublisherState.ONLINE)
        self.counters.last_error = ""
        self.counters.reconnects += bool(self.counters.connects)
        self.counters.connects += 1
        self._list.connected(session.started)
        self.notices.connected()
        log.info("broker_connected", sink=self._sink.id, broker=self.counters.broker)

    async def _greet(self, session: Session) -> None:
        """Subscribes to commands, and looks at the alarms that the broker holds of this gateway."""
        connection, orphans = session.connection, self._orphans
        loop = asyncio.get_running_loop()
        try:
            if self._remote is not None and self._remote.filters:
                refused = await connection.listen(self._remote.filters, ANSWER_S)
                if refused:
                    log.error("subscription_refused", sink=self._sink.id, filters=refused)
            orphans.begin(loop.time())
            await connection.look(orphans.filters, ANSWER_S)
            while (left_s := orphans.left_s(loop.time())) > 0 and not self._stop.is_set():
                await wait(self._stop, left_s)
            self._remove_retained(await orphans.judge())
            self.notices.orphans([orphan.occurrence for orphan in orphans.found])
            await connection.unsubscribe(list(orphans.filters), timeout=ANSWER_S)
        except aiomqtt.MqttError as error:
            session.giving_up = f"no answer to a subscription: {error}"
            self._reader.ready.set()

    def _message(self, topic: str, payload: bytes, retained: bool) -> None:
        now = asyncio.get_running_loop().time()
        if not self._orphans.heard(topic, payload, retained, now) and self._remote is not None:
            self._remote.on_message(topic, payload, retained)

    def _remove_retained(self, orphans: tuple[Orphan, ...]) -> None:
        for orphan in orphans:
            self._notes.append(Note(orphan.topic, b"", retain=True))
        self._reader.ready.set()

    async def _send_all(self, session: Session) -> None:
        connection = session.connection
        while not (connection.is_lost or session.giving_up or self._stop.is_set()):
            if self._leaving is not None:
                return
            self._reader.ready.clear()
            session.pump()
            await wait(self._reader.ready, session.pause_s())
            session.check_progress()

    def _heard(self, item: Item, is_heard: bool) -> None:
        if isinstance(item, Note):
            if item.retain and not item.payload:
                self._orphans.removed(item.topic)
                self.notices.orphans([orphan.occurrence for orphan in self._orphans.found])
            return
        topic = getattr(item, "topic", "")
        lane = getattr(item, "lane", None)
        if topic == "alarm/event" and lane is not None and self._sink.protocol == "5":
            self.counters.unheard += not is_heard
            if not lane.is_exercise:
                self.notices.event(is_heard=is_heard)

    def _refused(self, item: Item, reason: str) -> None:
        topic = item.document.topic if isinstance(item, Held) else item.topic
        if self.notices.refused(topic, reason):
            log.error("message_refused", sink=self._sink.id, topic=topic, reason=reason)

    async def _goodbye(self, session: Session) -> None:
        """On the way to another broker only the status is told: what is owed goes there."""
        self._enter(PublisherState.STOPPING)
        if self._leaving is None:
            self._reader.finish()
        last = self._status_note("stopping")
        await session.goodbye(last, self.owed if self._leaving is None else None)

    # -- the end of a connection

    async def _lost(self, session: Session, lasted_s: float, *, is_poison: bool) -> None:
        connection = session.connection
        trouble = str(connection.trouble) if connection.trouble else ""
        error = session.giving_up or trouble or connection.reason or "connection lost"
        self.counters.losses += 1
        self.counters.last_error = error
        self.notices.unreachable(self.counters.broker, error)
        log.warning("broker_lost", sink=self._sink.id, broker=self.counters.broker, error=error)
        self._enter(PublisherState.WAITING)
        now = asyncio.get_running_loop().time()
        is_closed = connection.closed_by_peer and not (is_poison or session.giving_up)
        if self._conflict.lost(
            now, lasted_s=lasted_s, code=connection.code, closed_by_peer=is_closed
        ):
            self.notices.conflict()
            await wait(self._stop, self._conflict_wait.wait_s())
            return
        is_stable = lasted_s >= STABLE_S and connection.code != TAKEN_OVER
        self._list.lost(was_stable=is_stable)
        if is_stable:
            self._back_off.succeeded()
        is_new = self._back_off.tries < SHORT_LIVES
        wait_s = self._back_off.wait_s()
        await wait(self._stop, min(wait_s, REFUSED_CAP_S) if is_new else wait_s)

    # -- beside all that

    async def _watch(self) -> None:
        """Looks now and then: how long it has been so, certificates, brokers that are preferred."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(WATCH_S)
            now = loop.time()
            self.notices.expires(self._connector.expires)
            self.notices.tick(now, self._wall())
            session = self._session
            if session is None:
                continue
            lasted_s = now - session.started
            if lasted_s >= STABLE_S:
                self._list.lasted()
            if lasted_s >= SETTLED_S and self.notices.in_conflict:
                self._conflict.over()
                self._conflict_wait.succeeded()
                self.notices.no_conflict()
            if lasted_s >= STABLE_S and self._list.is_due(now):
                await self._look_for_preferred()

    async def _look_for_preferred(self) -> None:
        for place, broker in self._list.preferred:
            is_there = await probe(broker, self._sink, self._names)
            now = asyncio.get_running_loop().time()
            if not is_there:
                self._list.was_silent(place, now)
            elif self._list.answered(place, now):
                log.info("broker_returns", sink=self._sink.id, broker=broker.host)
                self._leaving = place
                self._reader.ready.set()
                return

    def _enter(self, state: PublisherState) -> None:
        if self.counters.state is not state or not self._since:
            self.counters.state = state
            self._since = asyncio.get_running_loop().time()
