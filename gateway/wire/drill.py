"""The public contract of drills: that one is on, below the exercise root alone."""

from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from gateway.values import Instant
from gateway.wire.table import Key, Kind, Table, iso


@dataclass(frozen=True, slots=True)
class DrillTold:
    """A drill that is on."""

    name: str
    title: str
    leader: str
    since: Instant
    detectors: tuple[str, ...]


DRILL: Final = Table[DrillTold](
    "drill",
    "An exercise that is laid over live instruments, while it is on; emptied when it is over.",
    (
        Key("drill", Kind.TEXT, "Its name", attrgetter("name")),
        Key("title", Kind.TEXT, "In words, or empty", attrgetter("title")),
        Key("leader", Kind.TEXT, "Who began it", attrgetter("leader")),
        Key("since", Kind.TIME, "When", lambda d: iso(d.since.wall)),
        Key("detectors", Kind.LIST, "Live ones that take part", lambda d: list(d.detectors)),
    ),
    kind="drill",
)
TOPIC: Final = "drill"
