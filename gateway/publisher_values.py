"""What a publisher is made with, shows, and keeps about one connection."""

from dataclasses import dataclass
from enum import StrEnum

from gateway.documents import Held
from gateway.journal_record import Record
from gateway.mqtt import Connection, OnMessage
from gateway.publisher_window import Window


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
    """A message that is neither journalled nor retained, such as the heartbeat or the status."""

    topic: str
    payload: bytes
    retain: bool = False


Item = Record | Held | Note


@dataclass(frozen=True, slots=True)
class Sent:
    """Something on its way since ``at`` (loop time in s)."""

    item: Item
    at: float


@dataclass(slots=True)
class Session:
    """One connection and what belongs to it."""

    connection: Connection[Sent]
    window: Window
    started: float
    progress: float
    samples_out: int = 0
    wake_below: int = 0
    giving_up: str = ""


def key_of(item: Item) -> tuple[object, ...]:
    """What tells it from all others, also on the next connection."""
    if isinstance(item, Record):
        return item.lane, item.epoch, item.seq
    if isinstance(item, Held):
        return item.document.topic, item.revision
    return (item.topic,)
