"""What a gateway says of itself: status, heartbeat and health, as field tables."""

from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from gateway.clock_state import ClockState, ClockTold
from gateway.values import Instant
from gateway.wire.table import Key, Kind, Table, iso


@dataclass(frozen=True, slots=True)
class Status:
    """The gateway's own state."""

    state: str
    version: str
    epoch: int
    started: Instant
    previous: tuple[tuple[str, int], ...]
    configuration: str


STATUS: Final = Table[Status](
    "status",
    "The gateway; also its last will, then with state lost.",
    (
        Key(
            "state", Kind.TEXT, "State", attrgetter("state"), choices=("online", "stopping", "lost")
        ),
        Key("version", Kind.TEXT, "Version of dosegate", attrgetter("version")),
        Key("epoch", Kind.INTEGER, "Rises at each start", attrgetter("epoch")),
        Key("started", Kind.TIME, "Start", lambda s: iso(s.started.wall)),
        Key("previous", Kind.MAP, "Last numbers of the epoch before", lambda s: dict(s.previous)),
        Key("configuration", Kind.TEXT, "Hash of the configuration", attrgetter("configuration")),
    ),
    kind="status",
)


CLOCK: Final = Table[ClockTold](
    "clock",
    "How far the gateway's wall clock can be believed.",
    (
        Key(
            "state",
            Kind.TEXT,
            "Whether the machine says that it is synchronised",
            attrgetter("state"),
            choices=tuple(ClockState),
        ),
        Key(
            "offset_s",
            Kind.NUMBER,
            "How far it has moved against the monotonic clock since the start; times told before "
            "a step are of before it",
            attrgetter("offset_s"),
            unit="s",
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The sign of life."""

    number: int
    epoch: int
    time: Instant
    newest: tuple[tuple[str, int], ...]
    active: int
    digest: str
    queues: tuple[tuple[str, int], ...]
    clock: ClockTold
    drill: str = ""


HEARTBEAT: Final = Table[Heartbeat](
    "heartbeat",
    "Every 10 s: what a consumer checks its own picture against.",
    (
        Key(
            "number",
            Kind.INTEGER,
            "Counts up from 1 in each epoch; a command names the newest one that was seen",
            attrgetter("number"),
        ),
        Key("epoch", Kind.INTEGER, "Epoch", attrgetter("epoch")),
        Key("time", Kind.TIME, "Wall clock of the gateway", lambda h: iso(h.time.wall)),
        Key("newest", Kind.MAP, "Newest seq by lane", lambda h: dict(h.newest)),
        Key("active", Kind.INTEGER, "Alarms that are not closed", attrgetter("active")),
        Key("digest", Kind.TEXT, "SHA-256 over occurrence:revision of them", attrgetter("digest")),
        Key("queues", Kind.MAP, "Owed messages by sink", lambda h: dict(h.queues)),
        Key(
            "clock",
            Kind.OBJECT,
            "The gateway's wall clock",
            lambda h: CLOCK.encode(h.clock),
            of=CLOCK,
        ),
        Key(
            "drill",
            Kind.TEXT,
            "Present while a drill is on: its name",
            lambda h: h.drill or None,
            optional=True,
        ),
    ),
    kind="heartbeat",
)

Figures = dict[str, float | str | None]

HEALTH: Final = Table[dict[str, Figures]](
    "health",
    "Counters.",
    (
        Key("alarms", Kind.MAP, "Figures of the alarm system", lambda h: h["alarms"]),
        Key(
            "alarm_sources",
            Kind.MAP,
            "What raised most alarms in a day",
            lambda h: h["alarm_sources"],
        ),
        Key(
            "process",
            Kind.MAP,
            "The process: uptime, the longest wait of its loop since the last time, memory, tasks "
            "begun again",
            lambda h: h["process"],
        ),
        Key("clock", Kind.MAP, "The wall clock, as in the heartbeat", lambda h: h["clock"]),
        Key("journal", Kind.MAP, "The journal and its disk", lambda h: h["journal"]),
        Key("sinks", Kind.MAP, "SINK.counter of each sink", lambda h: h["sinks"]),
        Key(
            "commands",
            Kind.MAP,
            "Commands over MQTT by what became of them: executed, refused, repeated, retained, "
            "stale, malformed, unknown_user, id_used, flood ...",
            lambda h: h["commands"],
        ),
        Key("rejects", Kind.MAP, "Rejected input by detector", lambda h: h["rejects"]),
        Key(
            "drill",
            Kind.MAP,
            "Present while a drill is on: name, seconds since, open alarms of it",
            lambda h: h.get("drill"),
            optional=True,
        ),
    ),
    kind="health",
)
