"""Clears up behind a drill that nobody ended: the gateway was killed, or the drill failed."""

from collections.abc import Mapping, Sequence
from typing import Final

from config.models import Configuration
from gateway.alarms import durable, handling
from gateway.alarms.record import Change
from gateway.drill.values import ALARM_KEY
from gateway.posts import posts
from gateway.values import Document, Entry, Instant, Lane, Outputs
from gateway.wire.alarms import encode_event
from gateway.wire.drill import TOPIC
from gateway.wire.table import dump

_OF_DETECTOR: Final = ("about", "state", "dose")


def closed(states: Mapping[str, bytes], now: Instant, why: str) -> Outputs:
    """Closes every alarm among the states that a drill has left open."""
    entries, documents, gone = [], [], []
    for key, state in states.items():
        if not key.startswith(ALARM_KEY) or not state:
            continue
        occurrence = key.removeprefix(ALARM_KEY)
        gone.append((key, b""))
        documents.append(Document(f"alarm/active/{occurrence}", b"", exercise=True, durable=True))
        try:
            record, _ = durable.decode(state, now)
        except durable.DamagedState:
            continue  # there is nothing to tell of it but that it is gone
        after, ((event, _),) = handling.closed(record, now, unverified=record.active)
        change = Change(event, after, after.value, after.unit, "", why, now)
        entries.append(Entry(Lane.EXERCISE_ALARMS, "alarm/event", dump(encode_event(change))))
    return Outputs(tuple(entries), tuple(documents), tuple(gone), urgent=bool(gone))


def emptied(detectors: Sequence[str], configuration: Configuration) -> tuple[Document, ...]:
    """Everything retained that a drill of these detectors may have left, its alarms apart."""
    topics = [TOPIC, *(f"detector/{name}/{end}" for name in detectors for end in _OF_DETECTOR)]
    topics += [f"post/{post.id}" for post in configuration.post]
    told = {one.topic for one in posts(configuration) if one.exercise}
    return tuple(Document(each, b"", exercise=True) for each in topics if each not in told)
