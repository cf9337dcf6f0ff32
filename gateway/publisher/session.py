"""One connection's sending: the window is filled in the order of importance."""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import structlog

from gateway.delivery.reader import SinkReader, prepend
from gateway.documents import DocumentFeed, Held
from gateway.journal.record import Record
from gateway.mqtt import (
    FAILURE,
    NO_SUBSCRIBER,
    QUOTA_EXCEEDED,
    Connection,
    packet_size,
    topic_error,
)
from gateway.publisher.values import Item, LinkFigures, Note, PublisherCounters, Sent, key_of
from gateway.publisher.window import Share, Stall, Suspicion, Window
from gateway.wire.alarms import brief
from gateway.wire.table import dump

EVENT: Final = "alarm/event"
WAKE_SLOTS: Final = 4
"""So many slots are filled together: wake-ups are the cost, not work."""
TICK_S: Final = 1.0
GOODBYE_S: Final = 2.0
STATUS_S: Final = 0.5
"""Kept of it for the status, which comes last."""
YIELDS_S: Final = 5.0
"""Own choice: so long at most all others give way to alarms on a slow link."""
SPARED_S: Final = 60.0
"""Own choice: what may be left out, and needs a time of its own, goes so often: alarms wait for it.

Every 10 s, 5 % of all alarms would wait longer than they may at 1 kB/s; so it is less than 1 %.
"""
SAMPLE_SIZE: Final = 300.0
ALARM_SIZE: Final = 1000.0
"""Until the first ones have been sent."""

log = structlog.get_logger(__name__)


class Topics:
    """Full topics of one gateway as they go on the wire, and what is wrong with them."""

    def __init__(self, prefixes: tuple[str, str]) -> None:
        self.prefixes = prefixes
        self._known: dict[tuple[bool, str], tuple[bytes, str]] = {}

    def full(self, topic: str, exercise: bool = False) -> tuple[bytes, str]:
        """The topic and the problem with it, worked out once."""
        known = self._known.get((exercise, topic))
        if known is None:
            text = self.prefixes[exercise] + topic
            problem = topic_error(text)
            known = self._known[exercise, topic] = text.encode(errors="replace"), problem
        return known


class Session:
    """One connection from the first message to the last.

    ``heard`` is told of each message that the broker took and whether anybody hears it, ``refused``
    of each that it did not take, with the reason.
    """

    def __init__(
        self,
        gateway: str,
        topics: Topics,
        reader: SinkReader,
        feed: DocumentFeed,
        notes: deque[Note],
        suspicion: Suspicion,
        stall: Stall,
        counters: PublisherCounters,
        *,
        heard: Callable[[Item, bool], None],
        refused: Callable[[Item, str], None],
    ) -> None:
        self.giving_up = ""
        self._gateway = gateway
        self._topics = topics
        self._reader = reader
        self._feed = feed
        self._notes = notes
        self._suspicion = suspicion
        self._stall = stall
        self._counters = counters
        self._heard = heard
        self._refused = refused
        self._loop = asyncio.get_running_loop()
        self._alarms = Share(ALARM_SIZE)
        self._common = self._starved = Share(SAMPLE_SIZE)
        self._wake_below = 0
        self._wake_bytes = 0
        self._common_at = 0.0
        self._spare_at = float("-inf")
        self._ending = False

    def begin(self, connection: Connection[Sent]) -> None:
        """It is connected."""
        self.connection = connection
        self.window = Window(connection.receive_maximum)
        self.started = self._progress = self._loop.time()
        self._reader.backlog_window = max(1, self.window.messages // 2)
        self._reader.limit_bytes(connection.maximum_packet)
        self._feed.restart()

    def pump(self) -> None:
        """Fills the window: alarms first, then what is told at once, documents, samples."""
        reader, feed = self._reader, self._feed
        for note in _taken(self._notes, urgent=True):
            self.send(note, urgent=True)
        self._send_all(feed.take_active, self._alarm_room, urgent=True)
        self._send_alarms()
        while self._notes and self._common_room():
            self._send_note(self._notes.popleft())
        if not (feed.has_active or reader.owes_alarms):
            self._send_all(feed.take_others, self._common_room)
            self._send_all(reader.take, self._common_room)
        self._note_starved()

    def _send_note(self, note: Note) -> None:
        now = self._loop.time()
        if note.spare and self.window.is_slow(len(note.payload)):
            if now - self._spare_at < SPARED_S:
                return
            self._spare_at = now
        self.send(note)

    def _send_alarms(self) -> None:
        """Events first; but many of them do not keep back how the alarms stand now."""
        while room := self._alarm_room():
            records = self._reader.take(
                max(1, room // 2) if self._feed.has_changed else room, alarms_only=True
            )
            for record in records:
                self.send(record, urgent=True)
            changed = self._feed.take_changed(self._alarm_room())
            for held in changed:
                self.send(held, urgent=True)
            if len(records) + len(changed) < room:
                return

    def _send_all(
        self,
        take: Callable[[int], Sequence[Item]],
        room_for: Callable[[], int],
        *,
        urgent: bool = False,
    ) -> None:
        while room := room_for():
            items = take(room)
            for item in items:
                self.send(item, urgent=urgent)
            if len(items) < room:
                return

    def pause_s(self) -> float:
        """How long there is nothing to do, unless somebody wakes it."""
        waits_s = self._reader.delay_s() if self._common_room() else self._held_back_s() or None
        return min(TICK_S, TICK_S if waits_s is None else max(0.005, waits_s))

    def check_progress(self) -> None:
        """Gives up a link that stands still, and asks one that has been silent.

        Progress is what comes, and what is confirmed to have arrived: a slow link is not given up.
        """
        connection, now = self.connection, self._loop.time()
        keepalive_s = connection.keepalive_s
        moved_at = connection.moved_at()
        if not connection.awaits_answer:
            self._progress = now
            if now - min(moved_at, connection.spoke_at) >= keepalive_s / 2:
                connection.ping()
            return
        self._progress = max(self._progress, moved_at)
        patience_s = self.window.patience_s(keepalive_s) * self._stall.factor
        if now - self._progress > patience_s:
            self.giving_up = f"no acknowledgement for {patience_s:.0f} s"
            first = next(iter(connection.unacknowledged.values()), None)
            if first is not None:
                self._stall.given_up(key_of(first.item), first.stamp.size)

    async def goodbye(self, last: Note, owed: Callable[[], int] | None) -> None:
        """What is owed and still fits into ``GOODBYE_S``, alarms first, then ``last``.

        None: what is owed goes elsewhere.
        """
        deadline = self._loop.time() + GOODBYE_S
        told = False
        self._ending = True
        while self._loop.time() < deadline and not self.connection.is_lost:
            self._reader.ready.clear()
            if owed is not None:
                self.pump()
            is_time = owed is None or not owed() or self._loop.time() > deadline - STATUS_S
            if not told and is_time and self._room():
                self.send(last, urgent=True)
                told = True
            if told and not self.connection.unacknowledged:
                break
            await wait(self._reader.ready, min(0.1, deadline - self._loop.time()))
        await self.connection.close()

    def link(self) -> LinkFigures:
        """How the connection does."""
        window = self.window
        return LinkFigures(
            round(window.round_trip_s, 4) if window.rate else None,
            round(window.rate) if window.rate else None,
            window.bytes,
            window.messages,
            window.out,
            len(self.connection.unacknowledged),
        )

    def send(self, item: Item, *, urgent: bool = False) -> None:
        """Sends it, or refuses it where the broker would choke on it."""
        topic, payload, problem = self._message(item)
        if problem:
            self._refuse(item, problem)
            return
        if self.connection.too_large(topic, payload):
            limit = self.connection.maximum_packet
            self._refuse(item, f"{len(payload)} bytes are more than the broker takes, {limit}")
            return
        retain = not isinstance(item, Record) and (isinstance(item, Held) or item.retain)
        now = self._loop.time()
        if not self.connection.unacknowledged:
            self._progress = now
        size = packet_size(topic, payload)
        sent = Sent(item, self.window.sent(size, now), urgent)
        self.connection.send(topic, payload, sent, retain=retain, urgent=urgent)
        self._counters.sent += 1
        (self._alarms if urgent else self._common).sent(size)
        if not urgent:
            self._common_at = now

    def settled(self, sent: Sent, code: int) -> None:
        """The broker answered a message."""
        now = self._loop.time()
        item, window = sent.item, self.window
        key = key_of(item)
        self._suspicion.cleared(key)
        self._stall.cleared(key)
        window.acknowledged(sent.stamp, now)
        (self._alarms if sent.urgent else self._common).settled(sent.stamp.size)
        out = len(self.connection.unacknowledged)
        if self._ending or (out < self._wake_below and self._starved.bytes <= self._wake_bytes):
            self._reader.ready.set()
        if code == QUOTA_EXCEEDED:
            self.giving_up = "the broker says: quota exceeded"
            self._reader.ready.set()
        elif code >= FAILURE:
            self._refuse(item, f"the broker refused it with reason code 0x{code:02x}")
        else:
            self._accepted(item, is_heard=code != NO_SUBSCRIBER)

    def _accepted(self, item: Item, *, is_heard: bool) -> None:
        self._counters.acknowledged += 1
        if isinstance(item, Record):
            self._reader.acknowledge(item)
        elif isinstance(item, Held):
            self._feed.settle(item)
        self._heard(item, is_heard)

    def _refuse(self, item: Item, reason: str) -> None:
        self._counters.refused += 1
        self._reader.ready.set()
        if isinstance(item, Record):
            self._reader.refuse(item, reason)
        elif isinstance(item, Held):
            self._feed.settle(item)
        self._refused(item, reason)

    def suspect(self) -> bool:
        """A broker that closes the connection may be choking on what was sent first.

        True if it is always the same message, which then is refused in the end.
        """
        first = next(iter(self.connection.unacknowledged.values()), None)
        if self.giving_up or not self.connection.is_lost:
            return False
        if first is None or isinstance(first.item, Note):
            return False
        key = key_of(first.item)
        is_known = self._suspicion.is_about(key)
        if self._suspicion.lost(key):
            self._refuse(first.item, "the broker closed the connection each time it was sent")
        return is_known

    def _note_starved(self) -> None:
        """Acknowledgements wake the sender only when the window, not the supply, held it up.

        Some slots must be free then, or half of a share's bytes, or a few messages' worth.
        """
        alarms_wait = self._feed.has_active or self._feed.has_changed or self._reader.owes_alarms
        share = self._alarms if alarms_wait and not self._alarm_room() else self._common
        self._starved = share
        self._wake_below = 0
        if share is self._common and self._common_room():
            return
        out, limit = len(self.connection.unacknowledged), self.window.bytes
        if share is self._common and self._held_back_s():
            self._wake_below, self._wake_bytes = out, share.bytes
            return
        if share.bytes < limit:
            self._wake_below = max(1, out - WAKE_SLOTS + 1)
            self._wake_bytes = limit
        else:
            self._wake_below = out
            self._wake_bytes = max(1, limit // 2, limit - int(WAKE_SLOTS * share.size)) - 1

    def _room(self) -> int:
        """Slots that are free."""
        total = 1 if self._suspicion.isolating else self.window.total
        return max(0, total - len(self.connection.unacknowledged))

    def _alarm_room(self) -> int:
        """Messages about alarms that may go: beside the others, as many bytes again."""
        return self._alarms.room(self._room(), self.window.bytes)

    def _common_room(self) -> int:
        """Other messages that may go."""
        slots = min(self._room(), self.window.messages - self._common.messages)
        room = self._common.room(slots, self.window.bytes)
        if not room or self._held_back_s():
            return 0
        return 1 if self.window.is_slow(self._common.size) else room

    def _held_back_s(self) -> float:
        """So long other messages are kept back, unless something is acknowledged meanwhile."""
        now = self._loop.time()
        first = next(iter(self.connection.unacknowledged.values()), None)
        oldest_at = None if first is None else first.stamp.at
        pause_s = self.window.pause_s(self._common.size, oldest_at, now)
        return max(0.0, min(pause_s, self._common_at + YIELDS_S - now))

    def _message(self, item: Item) -> tuple[bytes, bytes, str]:
        if isinstance(item, Record):
            topic, problem = self._topics.full(item.topic, item.lane.is_exercise)
            payload = prepend(self._gateway, item)
            return topic, _brief(payload) if item.topic == EVENT else payload, problem
        if isinstance(item, Held):
            topic, problem = self._topics.full(item.document.topic, item.document.exercise)
            return topic, _brief(item.payload) if item.is_active_alarm else item.payload, problem
        return item.topic.encode(), item.payload, ""


def _brief(payload: bytes) -> bytes:
    """An alarm without what says nothing; as it is, if it cannot be read."""
    try:
        return dump(brief(json.loads(payload)))
    except ValueError:
        return payload


def _taken(notes: deque[Note], *, urgent: bool) -> list[Note]:
    """Takes the urgent ones out."""
    if not notes:
        return []
    taken = [note for note in notes if note.urgent is urgent]
    for note in taken:
        notes.remove(note)
    return taken


async def wait(event: asyncio.Event, seconds: float) -> None:
    """Returns when the event is set or the time is over; makes no task."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
