"""What a broker remembers for one client: subscriptions, the queue, what is in flight. No I/O.

Source: OASIS Standard "MQTT Version 5.0" (7 March 2019), sections 4.1 to 4.9.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

from simulators.mqtt_packets import (
    Message,
    PacketError,
    Property,
    Publish,
    Reason,
    Subscription,
)

LAST_PACKET_ID = 65535


def check_topic(topic: str) -> None:
    """A topic name has at least one character (3.3.2.1) and no wildcard (4.7.1)."""
    if not topic:
        raise PacketError(Reason.PROTOCOL_ERROR, "empty topic")
    if "+" in topic or "#" in topic:
        raise PacketError(Reason.TOPIC_NAME_INVALID, repr(topic))


def is_filter(text: str) -> bool:
    """Whether ``text`` is a topic filter: wildcards fill a level, ``#`` only the last, 4.7.1."""
    levels = text.split("/")
    return (
        bool(text)
        and all(level in ("+", "#") or not ("+" in level or "#" in level) for level in levels)
        and "#" not in levels[:-1]
    )


def matches(topic_filter: str, topic: str) -> bool:
    """Whether the filter covers the topic; a leading wildcard never covers ``$...``, 4.7.2."""
    if topic.startswith("$") and topic_filter[:1] in ("+", "#"):
        return False
    wanted, levels = topic_filter.split("/"), topic.split("/")
    for position, level in enumerate(wanted):
        if level == "#":
            return True
        if position >= len(levels) or level not in ("+", levels[position]):
            return False
    return len(wanted) == len(levels)


@dataclass(frozen=True, slots=True)
class Held:
    """A message that waits; ``expires_at`` in s of the loop's clock, None for never."""

    message: Message
    expires_at: float | None

    @classmethod
    def since(cls, message: Message, now: float) -> "Held":
        """The message as it came in at ``now``, with its Message Expiry Interval, 3.3.2.3.3."""
        for key, value in message.properties:
            if key is Property.MESSAGE_EXPIRY and isinstance(value, int):
                return cls(message, now + value)
        return cls(message, None)

    def is_expired(self, now: float) -> bool:
        """Whether it must not be delivered any more."""
        return self.expires_at is not None and now >= self.expires_at

    def due(self, now: float) -> Message:
        """The message with what is left of its expiry interval."""
        if self.expires_at is None:
            return self.message
        left_s = int(self.expires_at - now)
        return replace(
            self.message,
            properties=tuple(
                (key, left_s if key is Property.MESSAGE_EXPIRY else value)
                for key, value in self.message.properties
            ),
        )


class Session:
    """One client's state, which may outlive its connection."""

    def __init__(self, client_id: str, queue_limit: int) -> None:
        self.client_id = client_id
        self.subscriptions: dict[str, Subscription] = {}
        self.expiry_s = 0
        self.ends_at: float | None = None
        self._queue_limit = queue_limit
        self._replay: deque[Held] = deque()
        self._queue: deque[Held] = deque()
        self._in_flight: dict[int, Held] = {}
        self._last_id = 0

    @property
    def queued(self) -> int:
        """Messages that wait for their first delivery."""
        return len(self._replay) + len(self._queue)

    @property
    def in_flight(self) -> int:
        """Messages delivered with QoS 1 and not acknowledged."""
        return len(self._in_flight)

    def wants(self, topic: str) -> Subscription | None:
        """The subscription that covers the topic, that with the highest QoS if several do."""
        found = [s for s in self.subscriptions.values() if matches(s.topic_filter, topic)]
        return max(found, key=lambda subscription: subscription.qos, default=None)

    def offer(self, held: Held) -> bool:
        """Queue a message; False if there is no room: the newest is the one that is lost."""
        if len(self._queue) >= self._queue_limit:
            return False
        self._queue.append(held)
        return True

    def replay(self, held: Held) -> None:
        """Queue a retained message: before the live ones, and not counted in their limit."""
        self._replay.append(held)

    def take(self, window: int, now: float) -> Publish | None:
        """The next to send with at most ``window`` unacknowledged, None when there is none."""
        while queue := self._replay or self._queue:
            held = queue[0]
            if held.is_expired(now):
                queue.popleft()
            elif not held.message.qos:
                queue.popleft()
                return Publish(held.due(now))
            elif len(self._in_flight) < min(window, LAST_PACKET_ID):
                queue.popleft()
                packet_id = self._free_id()
                self._in_flight[packet_id] = held
                return Publish(held.due(now), packet_id)
            else:
                return None
        return None

    def again(self, now: float) -> Iterator[Publish]:
        """What a resumed session sends first: the unacknowledged, with DUP, 4.4."""
        for packet_id, held in self._in_flight.items():
            yield Publish(held.due(now), packet_id, dup=True)

    def acknowledged(self, packet_id: int) -> bool:
        """The client has it; False if nothing was in flight under that identifier."""
        return self._in_flight.pop(packet_id, None) is not None

    def _free_id(self) -> int:
        while True:
            self._last_id = self._last_id % LAST_PACKET_ID + 1
            if self._last_id not in self._in_flight:
                return self._last_id
