"""What a publisher is made with, shows, and keeps about one connection."""

from dataclasses import dataclass
from enum import StrEnum

from gateway.documents import Held
from gateway.journal.record import Record
from gateway.mqtt import OnMessage
from gateway.publisher.window import Stamp


class PublisherState(StrEnum):
    """Where a publisher stands."""

    CONNECTING = "connecting"
    ONLINE = "online"
    WAITING = "waiting"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(slots=True)
class PublisherCounters:
    """What happened since the start; ``unheard`` are alarm events without a subscriber."""

    state: PublisherState = PublisherState.WAITING
    broker: str = ""
    last_error: str = ""
    sent: int = 0
    acknowledged: int = 0
    refused: int = 0
    unheard: int = 0
    connects: int = 0
    reconnects: int = 0
    losses: int = 0


@dataclass(frozen=True, slots=True)
class LinkFigures:
    """What is measured on a connection, and what may be and is on its way; None: not known yet."""

    round_trip_s: float | None = None
    rate_bytes_s: float | None = None
    window_bytes: int = 0
    window_messages: int = 0
    out_bytes: int = 0
    out_messages: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PublisherFigures(LinkFigures):
    """How a sink stands, for health and board; ``since_s`` is how long it is in its state.

    ``sees_refusals`` is False with MQTT 3.1.1: a broker cannot say there that it refused a message
    or that nobody heard it.
    """

    state: PublisherState
    broker: str
    address: str
    since_s: float
    last_error: str
    owed: int
    sent: int
    acknowledged: int
    refused: int
    unheard: int
    connects: int
    reconnects: int
    losses: int
    orphans: int
    sees_refusals: bool


@dataclass(frozen=True, slots=True)
class Roots:
    """The first levels of all topics."""

    operational: str
    exercise: str


@dataclass(frozen=True, slots=True)
class Remote:
    """What is listened to: full topic filters, and who is told (topic, payload, retained).

    ``on_message`` runs inside the client and must not raise.
    """

    filters: tuple[str, ...]
    on_message: OnMessage


@dataclass(frozen=True, slots=True)
class Note:
    """A message that is not journalled, such as the heartbeat or the status.

    ``spare`` ones may be left out where the link has no time for them.
    """

    topic: str
    payload: bytes
    retain: bool = False
    urgent: bool = False
    spare: bool = False


Item = Record | Held | Note


@dataclass(frozen=True, slots=True)
class Sent:
    """Something on its way; ``urgent`` ones use what is kept free for alarms."""

    item: Item
    stamp: Stamp
    urgent: bool


def key_of(item: Item) -> tuple[object, ...]:
    """What tells it from all others, also on the next connection."""
    if isinstance(item, Record):
        return item.lane, item.epoch, item.seq
    if isinstance(item, Held):
        return item.document.topic, item.revision
    return (item.topic,)
