"""What a consumer finds and holds: findings, ranges to ask for, and one gateway as it is known.

Part of ``consumer.py``; depends on the standard library alone, so that others may take it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from gateway.consumer.numbers import Range, Stream

BEAT_S: Final = 10.0
SILENT_S: Final = 3 * BEAT_S
GREATEST: Final = 2**53
"""Whole numbers up to here are exact in JSON."""


class Kind(StrEnum):
    """What there is to say."""

    MALFORMED = "malformed"
    DUPLICATE = "duplicate"
    LATE = "late"
    GAP = "gap"
    FILLED = "filled"
    LOST = "lost"
    GIVEN_UP = "given_up"
    END_UNKNOWN = "end_unknown"
    GATEWAY = "gateway"
    ALARM = "alarm"
    ALARM_OVER = "alarm_over"
    RESUBSCRIBE = "resubscribe"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found; ``first`` to ``last`` are the numbers of a lane and epoch it is about."""

    kind: Kind
    gateway: str
    detail: str = ""
    lane: str = ""
    epoch: int = 0
    first: int = 0
    last: int = 0


@dataclass(frozen=True, slots=True)
class Resend:
    """A range to ask its gateway for, by the command ``resend``."""

    gateway: str
    lane: str
    epoch: int
    first: int
    last: int


@dataclass(slots=True)
class Held:
    """The newest of a retained document; not ``confirmed``: from before the last connection."""

    revision: int
    body: Mapping[str, Any]
    confirmed: bool = True


Key = tuple[bool, str]
"""Whether it is an exercise, and the topic below the gateway."""


@dataclass(slots=True)
class Gateway:
    """What is known of one gateway."""

    id: str
    status: Held | None = None
    epoch: int = 0
    beat: int = 0
    beat_at: float | None = None
    beat_time: str = ""
    told: str = "unknown"
    digest: str = ""
    differs_since: float | None = None
    documents: dict[Key, Held] = field(default_factory=dict)
    closed: dict[Key, None] = field(default_factory=dict)
    streams: dict[tuple[str, int], Stream] = field(default_factory=dict)
    joined: dict[str, int] = field(default_factory=dict)
    gathered: set[str] = field(default_factory=set)

    def state(self, now: float) -> str:
        """online, stopping, lost, or unknown where no heartbeat comes."""
        if self.status is not None and self.status.body["epoch"] >= self.epoch:
            state = str(self.status.body["state"])
            if state != "online":
                return state
        is_heard = self.beat_at is not None and now - self.beat_at <= SILENT_S
        return "online" if is_heard else "unknown"

    def alarms(self, *, exercise: bool = False) -> list[Held]:
        """The alarms that are not closed."""
        return self._below("alarm/active/", "", exercise)

    def detectors(self, *, exercise: bool = False) -> list[Held]:
        """The states of its detectors."""
        return self._below("detector/", "/state", exercise)

    def mark(self, held: Held, now: float) -> str:
        """current, stale or unknown: nothing that a dead gateway said is so, or is not so."""
        if self.state(now) != "online":
            return "unknown"
        is_stale = held.body.get("stale") or held.body.get("state") in ("stale", "missing")
        return "stale" if is_stale or not held.confirmed else "current"

    def gaps(self) -> Iterator[tuple[str, int, Range]]:
        """Lane, epoch and range of all that is missing now."""
        for (lane, epoch), stream in sorted(self.streams.items()):
            for each in stream.missing:
                yield lane, epoch, each

    def _below(self, prefix: str, suffix: str, exercise: bool) -> list[Held]:
        return [
            held
            for (is_exercise, topic), held in self.documents.items()
            if is_exercise is exercise and topic.startswith(prefix) and topic.endswith(suffix)
        ]


def whole(value: object) -> int:
    """A whole number from 0; ValueError for anything else."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= GREATEST:
        raise ValueError(f"{str(value)[:40]!r} is not a whole number")
    return value
