"""The public contract as a whole: every message, its topic, and what is on the wire around it."""

from enum import StrEnum
from typing import Any, Final, NamedTuple

from gateway.commands import NAMES, Envelope
from gateway.values import Lane
from gateway.wire import alarms as wire_alarms
from gateway.wire import delivery as wire_delivery
from gateway.wire import dose as wire_dose
from gateway.wire import drill as wire_drill
from gateway.wire import envelope, gateways, places, samples
from gateway.wire.table import Json, Key, Kind, Table


class Form(StrEnum):
    """Which delivery fields a message begins with."""

    JOURNALLED = "journalled"
    RETAINED = "retained"
    TOLD = "told once"
    SUMMED_UP = "in place of others"
    CARRIER = "carries others"
    COMMAND = "command"


class Message(NamedTuple):
    """One kind of message and its topic below ROOT/GATEWAY/."""

    table: Table[Any]
    topic: str
    form: Form


COMMAND: Final = Table[Envelope](
    "command",
    "An order of USER, who is whom the broker's access list binds to the topic; never retained.",
    (
        Key("id", Kind.TEXT, "1 to 64 of A-Z a-z 0-9 . _ -, never used before", lambda c: c),
        Key("epoch", Kind.INTEGER, "Epoch of the last heartbeat that was seen", lambda c: c),
        Key("heartbeat", Kind.INTEGER, "Its number; an old one is refused", lambda c: c),
        Key("arguments", Kind.MAP, "As the command takes them: flat", lambda c: c),
    ),
)
"""What comes in; it is read by ``gateway.commands``."""

MESSAGES: Final[tuple[Message, ...]] = (
    Message(gateways.STATUS, "status", Form.RETAINED),
    Message(gateways.HEARTBEAT, "heartbeat", Form.TOLD),
    Message(gateways.HEALTH, "health", Form.TOLD),
    Message(places.POST, "post/ID", Form.RETAINED),
    Message(places.ABOUT, "detector/ID/about", Form.RETAINED),
    Message(places.STATE, "detector/ID/state", Form.RETAINED),
    Message(samples.SAMPLE, "detector/ID/sample", Form.JOURNALLED),
    Message(wire_delivery.SUMMARY, "detector/ID/summary", Form.SUMMED_UP),
    Message(samples.PASSAGE, "detector/ID/passage", Form.JOURNALLED),
    Message(wire_dose.DOSE, "detector/ID/dose", Form.RETAINED),
    Message(wire_alarms.WATCH, "detector/ID/watch", Form.JOURNALLED),
    Message(wire_alarms.EVENT, "alarm/event", Form.JOURNALLED),
    Message(wire_alarms.ACTIVE, "alarm/active/OCCURRENCE", Form.RETAINED),
    Message(wire_alarms.ASSESSED, "assessment/OCCURRENCE", Form.JOURNALLED),
    Message(wire_drill.DRILL, wire_drill.TOPIC, Form.RETAINED),
    Message(COMMAND, "command/USER/NAME", Form.COMMAND),
    Message(wire_alarms.ANSWER, "command/USER/result", Form.JOURNALLED),
    Message(wire_delivery.LOST, "lost", Form.JOURNALLED),
    Message(wire_delivery.BATCH, "batch", Form.CARRIER),
)

OPEN: Final = frozenset(
    {"channel", "channels", "quantity", "flags", "event", "disposition", "group", "reason"}
)
"""Keys that may have further choices within version 1."""

_ALWAYS: Final = ("schema", "gateway")
_FIELDS: Final = {
    Form.JOURNALLED: ((*_ALWAYS, "lane", "epoch", "seq"), ("replayed", "durable")),
    Form.RETAINED: ((*_ALWAYS, "revision"), ()),
    Form.TOLD: (_ALWAYS, ()),
    Form.SUMMED_UP: ((*_ALWAYS, "lane", "epoch"), ("replayed",)),
    Form.CARRIER: (_ALWAYS, ()),
    Form.COMMAND: ((), ()),
}
"""Delivery fields that are always there, and those that are there where they say something."""

_TYPES: Final[dict[str, dict[str, Json]]] = {
    "schema": {"const": envelope.SCHEMA},
    "gateway": {"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,31}$"},
    "lane": {"enum": [str(lane) for lane in Lane]},
    "epoch": {"type": "integer", "minimum": 1},
    "seq": {"type": "integer", "minimum": 1},
    "replayed": {"const": True},
    "durable": {"const": False},
    "revision": {"type": "integer", "minimum": 0},
}
_ARGUMENTS: Final[dict[str, Json]] = {"type": ["string", "number", "boolean"]}


def fields(form: Form) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Its delivery fields: those that are always there, and the others."""
    return _FIELDS[form]


def wire_schema(message: Message) -> dict[str, Json]:
    """What is on the wire, delivery fields and all, without the dialect."""
    always, sometimes = fields(message.form)
    body = message.table.schema()
    own, needed = body["properties"], body["required"]
    if not isinstance(own, dict) or not isinstance(needed, list):
        raise TypeError(f"{message.table.name} has no properties")
    delivery: dict[str, Json] = {
        name: {**_TYPES[name], "description": envelope.DELIVERY_KEYS[name]}
        for name in (*always, *sometimes)
        if name not in own
    }
    if message.form is Form.COMMAND:
        own = {**own, "arguments": {"type": "object", "additionalProperties": _ARGUMENTS}}
        own["id"] = {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"}
    required = [*(name for name in always if name not in needed), *needed]
    schema = {**body, "properties": {**delivery, **own}, "required": required}
    if message.form is Form.COMMAND:
        schema["additionalProperties"] = False
    return schema


def described() -> dict[str, Json]:
    """The contract in the form in which a release of it is frozen."""
    return {message.table.name: _described(message) for message in MESSAGES} | {
        "commands": {"names": list(NAMES)}
    }


def _described(message: Message) -> Json:
    always, sometimes = fields(message.form)
    keys: dict[str, Json] = {
        name: {"type": json_text(_TYPES[name]), "optional": name in sometimes}
        for name in (*always, *sometimes)
    }
    keys.update(_keys(message.table, ""))
    return {
        "topic": message.topic,
        "form": str(message.form),
        "kind": message.table.kind,
        "keys": keys,
    }


def _keys(table: Table[Any], prefix: str) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for key in table.keys:
        name = f"{prefix}{key.name}"
        told: dict[str, Json] = {
            "type": str(key.kind),
            "nullable": key.nullable,
            "optional": key.may_be_absent,
            "unit": key.unit,
        }
        if key.choices:
            told["choices"] = [str(each) for each in key.choices]
            told["open"] = key.name in OPEN
        found[name] = told
        if key.of is not None:
            inner = f"{name}[]." if key.kind is Kind.LIST else f"{name}."
            found.update(_keys(key.of, inner))
    return found


def json_text(schema: dict[str, Json]) -> str:
    """A type of a delivery field in one word."""
    return str(schema.get("type", "enum" if "enum" in schema else schema.get("const")))
