"""The public contract of alarms: events (append-only history) and active records (retained)."""

from operator import attrgetter
from typing import Final

from drivers.api import Flag, Quantity
from gateway.alarms.record import AlarmEvent, AlarmRecord, Change, LevelReached, Rule
from gateway.wire import POSITION, encode_position, wall_or_null
from gateway.wire_table import Key, Kind, Table, iso

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
        Key("left", Kind.TIME, "No longer held", lambda x: wall_or_null(x.left_at), nullable=True),
    ),
)

_RECORD: Final[tuple[Key[AlarmRecord], ...]] = (
    Key("occurrence", Kind.TEXT, "Id of this occurrence", attrgetter("occurrence")),
    Key("revision", Kind.INTEGER, "Rises with each change", attrgetter("revision")),
    Key("detector", Kind.TEXT, "Detector", attrgetter("detector")),
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
        "State letter of ISA-18.2",
        attrgetter("display"),
        choices=tuple("ABCDEF"),
    ),
    Key("exercise", Kind.BOOLEAN, "Caused by simulated input", attrgetter("exercise")),
    Key("raised", Kind.TIME, "First sample that satisfied it", lambda r: iso(r.raised_at.wall)),
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
        "position",
        Kind.OBJECT,
        "Where, if the instrument knows",
        lambda r: encode_position(r.position),
        nullable=True,
        of=POSITION,
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
    )


EVENT: Final = Table[Change](
    "alarm_event",
    "Something that happened to an alarm, with the record after it.",
    (
        Key("event", Kind.TEXT, "What happened", attrgetter("event"), choices=tuple(AlarmEvent)),
        Key("time", Kind.TIME, "When", lambda c: iso(c.at.wall)),
        Key("value", Kind.NUMBER, "Value that caused it", attrgetter("value"), nullable=True),
        Key("unit", Kind.TEXT, "Its unit", attrgetter("unit")),
        Key("actor", Kind.TEXT, "Who did it; empty: the gateway", attrgetter("actor")),
        Key("note", Kind.TEXT, "In words", attrgetter("note")),
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
