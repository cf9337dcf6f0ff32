"""The public contract of alarms: events (append-only history) and active records (retained).

An alarm must be over a link of 1 kB/s within 2 s, so what says nothing of it is not published.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any, Final

from drivers.api import Flag, Position, Quantity
from gateway.alarms.assessment import GROUPS, STATES, Assessment
from gateway.alarms.record import AlarmEvent, AlarmRecord, Change, LevelReached, Rule
from gateway.alarms.watcher import Standing
from gateway.guidance.codes import code_of
from gateway.values import Answer, Command, Instant
from gateway.wire.samples import POSITION, encode_position, wall_or_null
from gateway.wire.table import Key, Kind, Table, iso

RULE: Final = Table[Rule](
    "rule",
    "What decided.",
    (
        Key("id", Kind.TEXT, "Stable name", attrgetter("id")),
        Key("version", Kind.INTEGER, "Version of the rule", attrgetter("version")),
        Key("parameters", Kind.MAP, "All parameters in force", lambda r: dict(r.parameters)),
    ),
)

LEVEL: Final = Table[LevelReached](
    "level",
    "A level that was reached.",
    (
        Key("level", Kind.TEXT, "Level", attrgetter("level")),
        Key("at", Kind.TIME, "First sample that satisfied it", lambda x: iso(x.at.wall)),
        Key(
            "left",
            Kind.TIME,
            "No longer held",
            lambda x: wall_or_null(x.left_at),
            nullable=True,
            terse=True,
        ),
    ),
)

_PLACE: Final = Table[Position](
    POSITION.name,
    POSITION.doc,
    tuple(replace(key, terse=key.nullable) for key in POSITION.keys),
)

_ALL: Final[tuple[Key[AlarmRecord], ...]] = (
    Key("occurrence", Kind.TEXT, "Id of this occurrence", attrgetter("occurrence")),
    Key("revision", Kind.INTEGER, "Rises with each change", attrgetter("revision")),
    Key("detector", Kind.TEXT, "Detector, or a group beginning with @", attrgetter("detector")),
    Key("post", Kind.TEXT, "Post it belongs to", attrgetter("post"), nullable=True),
    Key("class", Kind.TEXT, "N42.42 instrument class", attrgetter("detector_class")),
    Key("serial", Kind.TEXT, "Serial number", attrgetter("serial"), nullable=True),
    Key("alarm", Kind.TEXT, "The alarm object, such as dose_rate", attrgetter("alarm")),
    Key("rule", Kind.OBJECT, "What decided", lambda r: RULE.encode(r.rule), of=RULE),
    Key("level", Kind.TEXT, "Worst level reached", attrgetter("level")),
    Key(
        "levels",
        Kind.LIST,
        "All levels reached",
        lambda r: [LEVEL.encode(level) for level in r.levels],
        of=LEVEL,
    ),
    Key("priority", Kind.INTEGER, "1 highest to 4", attrgetter("priority")),
    Key("active", Kind.BOOLEAN, "The condition holds", attrgetter("active")),
    Key("acknowledged", Kind.BOOLEAN, "Somebody has seen it", attrgetter("acknowledged")),
    Key("acknowledged_by", Kind.TEXT, "Who, or empty", attrgetter("acknowledged_by")),
    Key("latched", Kind.BOOLEAN, "Stays until it is reset", attrgetter("latched")),
    Key("stale", Kind.BOOLEAN, "No valid data at present", attrgetter("stale")),
    Key("indicative", Kind.BOOLEAN, "No true dose rate behind it", attrgetter("indicative")),
    Key(
        "display",
        Kind.TEXT,
        "State letter of ISA-18.2; G shelved, H suppressed, I out of service",
        attrgetter("display"),
        choices=tuple("ABCDEFGHI"),
    ),
    Key("shelved", Kind.BOOLEAN, "Off the list for a while", attrgetter("shelved")),
    Key("silenced", Kind.BOOLEAN, "Its sound is off", attrgetter("silenced")),
    Key("out_of_service", Kind.BOOLEAN, "Its detector is", attrgetter("out_of_service")),
    Key(
        "suppressed_by",
        Kind.TEXT,
        "The occurrence that says it already",
        lambda r: r.suppressed_by or None,
        nullable=True,
    ),
    Key("test_source", Kind.BOOLEAN, "A test source was announced", attrgetter("test_source")),
    Key(
        "closed_unverified",
        Kind.BOOLEAN,
        "Closed by somebody, not verified normal",
        attrgetter("closed_unverified"),
    ),
    Key("exercise", Kind.BOOLEAN, "Caused by simulated input", attrgetter("exercise")),
    Key("raised", Kind.TIME, "First sample that satisfied it", lambda r: iso(r.raised_at.wall)),
    Key(
        "lasted",
        Kind.NUMBER,
        "From the first to the last sample that satisfied it, without the off-delay",
        lambda r: round(r.lasted_s, 3),
        unit="s",
    ),
    Key("peaked", Kind.TIME, "Peak", lambda r: wall_or_null(r.peak_at), nullable=True),
    Key("returned", Kind.TIME, "Return", lambda r: wall_or_null(r.returned_at), nullable=True),
    Key(
        "acknowledged_at",
        Kind.TIME,
        "Acknowledgement",
        lambda r: wall_or_null(r.acknowledged_at),
        nullable=True,
    ),
    Key("reset_at", Kind.TIME, "Reset", lambda r: wall_or_null(r.reset_at), nullable=True),
    Key("closed_at", Kind.TIME, "Close", lambda r: wall_or_null(r.closed_at), nullable=True),
    Key("peak", Kind.NUMBER, "Largest value", attrgetter("peak"), nullable=True),
    Key(
        "quantity",
        Kind.TEXT,
        "Physical quantity",
        attrgetter("quantity"),
        nullable=True,
        choices=tuple(Quantity),
    ),
    Key("raw", Kind.TEXT, "The instrument's own digits and unit", attrgetter("raw")),
    Key(
        "lower_bound",
        Kind.NUMBER,
        "The true value is at least this",
        attrgetter("lower_bound"),
        nullable=True,
    ),
    Key("statistic", Kind.MAP, "Counts, window, p-value ...", lambda r: dict(r.statistic)),
    Key(
        "background",
        Kind.MAP,
        "What it was judged against, and how that was learned",
        lambda r: dict(r.background),
    ),
    Key("members", Kind.LIST, "Detectors of a group alarm", lambda r: list(r.members)),
    Key(
        "incident",
        Kind.TEXT,
        "Alarms that may come from one event share it: a suggestion",
        attrgetter("incident"),
        nullable=True,
    ),
    Key(
        "guidance",
        Kind.TEXT,
        "Code in the guidance catalogue",
        lambda r: code_of(r.alarm, r.level),
    ),
    Key("text", Kind.TEXT, "What was said when it was raised", attrgetter("note")),
    Key("configuration", Kind.TEXT, "Configuration in force", attrgetter("configuration")),
    Key(
        "position",
        Kind.OBJECT,
        "Where the peak was, if the instrument knows",
        lambda r: encode_position(r.position),
        nullable=True,
        of=_PLACE,
    ),
    Key("flags", Kind.LIST, "Quality", lambda r: list(r.flags), choices=tuple(Flag)),
    Key("device_alarms", Kind.LIST, "The instrument's own alarms", lambda r: list(r.device_alarms)),
    Key(
        "previous",
        Kind.TEXT,
        "The occurrence it superseded",
        attrgetter("previous"),
        nullable=True,
    ),
)

_TERSE: Final = frozenset(
    {
        "serial",
        "acknowledged_by",
        "indicative",
        "silenced",
        "out_of_service",
        "test_source",
        "closed_unverified",
        "peaked",
        "returned",
        "acknowledged_at",
        "reset_at",
        "closed_at",
        "quantity",
        "raw",
        "lower_bound",
        "statistic",
        "background",
        "members",
        "incident",
        "text",
        "configuration",
        "device_alarms",
        "previous",
    }
)
"""What a record may leave out: evidence that there is none of, what has not happened, and orders
that few alarms are under. The others say what stands where, how bad it is, and what hides it."""
_RECORD: Final = tuple(replace(key, terse=key.name in _TERSE) for key in _ALL)

ACTIVE: Final = Table[AlarmRecord](
    "alarm",
    "One occurrence of an alarm as it is now; the topic is emptied when it is closed.",
    (
        *_RECORD,
        Key("value", Kind.NUMBER, "Value at the newest change", attrgetter("value"), nullable=True),
        Key("unit", Kind.TEXT, "Unit of value, peak and lower_bound", attrgetter("unit")),
    ),
    kind="alarm",
)


ASSESSED: Final = Table[Assessment](
    "assessment",
    "What an alarm turned out to be; restricted, because it may be medical data.",
    (
        Key("occurrence", Kind.TEXT, "The alarm", attrgetter("occurrence")),
        Key("detector", Kind.TEXT, "Its detector", attrgetter("detector")),
        Key("time", Kind.TIME, "When", lambda a: iso(a.at.wall)),
        Key("state", Kind.TEXT, "State", attrgetter("state"), choices=STATES),
        Key(
            "disposition",
            Kind.TEXT,
            "What it was",
            attrgetter("disposition"),
            choices=tuple(GROUPS),
        ),
        Key("group", Kind.TEXT, "Adjudication group of OSCAR, or empty", attrgetter("group")),
        Key("nuclides", Kind.TEXT, "Nuclides named by the assessor", attrgetter("nuclides")),
        Key("note", Kind.TEXT, "In words", attrgetter("note")),
        Key("actor", Kind.TEXT, "Who", attrgetter("actor")),
        Key("number", Kind.INTEGER, "Counts the changes", attrgetter("revision")),
    ),
    kind="assessment",
)


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer and when it was given."""

    answer: Answer
    at: Instant


ANSWER: Final = Table[Answered](
    "answer",
    "The answer to a command.",
    (
        Key("command", Kind.TEXT, "Id of the command", attrgetter("answer.command.command_id")),
        Key("name", Kind.TEXT, "Its name", attrgetter("answer.command.name")),
        Key("user", Kind.TEXT, "Who gave it", attrgetter("answer.command.user")),
        Key("arguments", Kind.MAP, "As given", lambda a: _scalars(a.answer.command)),
        Key("accepted", Kind.BOOLEAN, "Whether it was carried out", attrgetter("answer.accepted")),
        Key("reason", Kind.TEXT, "Why not, or what was done", attrgetter("answer.reason")),
        Key("time", Kind.TIME, "When", lambda a: iso(a.at.wall)),
    ),
    kind="answer",
)


_ASSESS_OPEN: Final = ("occurrence", "state")
"""What an answer repeats of an assessment; the rest may be medical data."""


def _scalars(command: Command) -> dict[str, str | int | float]:
    """Its arguments, those of an assessment only where they tell nothing of a person."""
    kept: dict[str, str | int | float] = {}
    for name, value in command.arguments:
        if command.name == "assess" and name not in _ASSESS_OPEN:
            kept[name] = "(restricted)"
        else:
            kept[name] = str(value) if isinstance(value, bool) else value
    return kept


RULE_STANDING: Final = Table[Standing](
    "standing",
    "How one rule stands.",
    (
        Key("rule", Kind.TEXT, "Rule", attrgetter("rule")),
        Key("armed", Kind.BOOLEAN, "It can raise its alarm", attrgetter("armed")),
        Key("reason", Kind.TEXT, "Why it cannot", attrgetter("reason")),
        Key("facts", Kind.MAP, "Background, thresholds, smallest rise", lambda s: dict(s.facts)),
    ),
)


@dataclass(frozen=True, slots=True)
class Watch:
    """How the rules of a detector stand at a moment."""

    detector: str
    at: Instant
    standings: Sequence[Standing]


WATCH: Final = Table[Watch](
    "watch",
    "How the rules of a detector stand: every minute, and when one is armed or disarmed.",
    (
        Key("detector", Kind.TEXT, "Id from the configuration", attrgetter("detector")),
        Key("time", Kind.TIME, "When", lambda w: iso(w.at.wall)),
        Key(
            "rules",
            Kind.LIST,
            "Each rule",
            lambda w: [RULE_STANDING.encode(each) for each in w.standings],
            of=RULE_STANDING,
        ),
    ),
    kind="watch",
)


def _of_record(key: Key[AlarmRecord]) -> Key[Change]:
    def get(change: Change) -> object:
        return key.get(change.record)

    return Key(
        key.name,
        key.kind,
        key.doc,
        get,
        key.unit,
        key.nullable,
        key.optional,
        key.choices,
        key.of,
        terse=key.terse,
    )


EVENT: Final = Table[Change](
    "alarm_event",
    "Something that happened to an alarm, with the record after it.",
    (
        Key("event", Kind.TEXT, "What happened", attrgetter("event"), choices=tuple(AlarmEvent)),
        Key("time", Kind.TIME, "When", lambda c: iso(c.at.wall)),
        Key("value", Kind.NUMBER, "Value that caused it", attrgetter("value"), nullable=True),
        Key("unit", Kind.TEXT, "Its unit", attrgetter("unit")),
        Key("actor", Kind.TEXT, "Who did it; empty: the gateway", attrgetter("actor"), terse=True),
        Key("note", Kind.TEXT, "In words", attrgetter("note"), terse=True),
        *(_of_record(key) for key in _RECORD),
    ),
    kind="alarm_event",
)


def encode_event(change: Change) -> dict[str, object]:
    """One line of the history."""
    return EVENT.encode(change)


def encode_active(record: AlarmRecord) -> dict[str, object]:
    """The full current record."""
    return ACTIVE.encode(record)


_PUBLISHED: Final[Mapping[object, Table[Any]]] = {table.kind: table for table in (EVENT, ACTIVE)}


def brief(body: Mapping[str, Any]) -> dict[str, Any]:
    """A message as it is published: of an alarm what says nothing is left out."""
    table = _PUBLISHED.get(body.get("kind"))
    return dict(body) if table is None else table.brief(body)
