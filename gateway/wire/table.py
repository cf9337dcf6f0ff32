"""Field tables: one description of a message yields its encoder, its schema and its reference."""

import json
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")
RECURRING: Final = 10_000
"""So many forms of texts are kept."""
SAME: Final = 1000
"""And so many texts of values that may come again as the same object, such as states."""
Json = dict[str, Any] | list[Any] | str | int | float | bool | None

SCHEMA_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


class Kind(StrEnum):
    """JSON types of the contract."""

    TEXT = "string"
    NUMBER = "number"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    TIME = "time"
    OBJECT = "object"
    LIST = "list"
    MAP = "map"
    INTEGERS = "integers"


@dataclass(frozen=True, slots=True)
class Key(Generic[T]):
    """One key of a message: always present, null where ``nullable`` and unknown.

    ``members`` gives the members of a list as values of ``of``, for writing text at once.

    ``optional`` keys are left out instead. ``terse`` ones are left out of what is published where
    they say nothing: null, false or empty; encoders write them all the same. ``of`` is the table
    of an object or of a list's members; a list without one holds text.
    """

    name: str
    kind: Kind
    doc: str
    get: Callable[[T], object]
    unit: str = ""
    nullable: bool = False
    optional: bool = False
    choices: tuple[str, ...] = ()
    of: "Table[Any] | None" = None
    members: Callable[[T], Iterable[Any]] | None = None
    terse: bool = False

    @property
    def may_be_absent(self) -> bool:
        """Whether a consumer may not find it."""
        return self.optional or self.terse


@dataclass(frozen=True, slots=True)
class Varying(Generic[T]):
    """Which keys of a message change again and again: ``shows`` gives them as JSON, in order.

    ``rest`` tells all that its other keys depend on; None where nothing recurs in it. Lists, which
    come last, are shown without their brackets. Where a value ``recurs``, the same object comes
    again.
    """

    names: tuple[str, ...]
    shows: Callable[[T], tuple[str, ...]]
    rest: Callable[[T], Hashable]
    recurs: Callable[[T], bool] | None = None


class Table(Generic[T]):
    """The keys of one kind of message, in the order in which they are written."""

    def __init__(
        self,
        name: str,
        doc: str,
        keys: tuple[Key[T], ...],
        kind: str = "",
        varying: Varying[T] | None = None,
    ) -> None:
        self._varying = varying
        self._forms: dict[Hashable, str] = {}
        self._same: dict[int, tuple[T, str]] = {}
        self._plain = [(key.name, key.get) for key in keys if key.members is None]
        self._lists = [
            (key.name, key.members, key.of)
            for key in keys
            if key.members is not None and key.of is not None
        ]
        self.name = name
        self.doc = doc
        self.keys = keys
        self.kind = kind
        self._always = tuple((key.name, key.get) for key in keys if not key.optional)
        self._sometimes = tuple((key.name, key.get) for key in keys if key.optional)

    def encode(self, value: T) -> dict[str, object]:
        """The message as a JSON object."""
        record: dict[str, object] = {"kind": self.kind} if self.kind else {}
        for name, get in self._always:
            record[name] = get(value)
        for name, get in self._sometimes:
            if (found := get(value)) is not None:
                record[name] = found
        return record

    def brief(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """A message of this kind as it is published: without ``terse`` keys that say nothing."""
        kept = dict(body)
        for key in self.keys:
            value = kept.get(key.name)
            if key.terse and _says_nothing(value):
                kept.pop(key.name, None)
            elif key.of is not None and isinstance(value, dict):
                kept[key.name] = key.of.brief(value)
            elif key.of is not None and isinstance(value, list):
                kept[key.name] = [key.of.brief(each) for each in value]
        return kept

    def text(self, value: T) -> str:
        """The message as JSON text, lists last.

        The same object has the same text as before. Where only what is ``varying`` differs from
        one made before, it is put into the text of that one. Only for tables without optional
        keys.
        """
        varying = self._varying
        if varying is None:
            return self._text(value)
        recurs = varying.recurs is not None and varying.recurs(value)
        if recurs:
            same = self._same.get(id(value))
            if same is not None and same[0] is value:
                return same[1]
        key = varying.rest(value)
        if key is None:
            return self._text(value)
        form = self._forms.get(key) or self._learn(key, value, varying.names)
        text = form % varying.shows(value)
        if recurs:
            if len(self._same) >= SAME:
                self._same.clear()
            self._same[id(value)] = value, text
        return text

    def _learn(self, key: Hashable, value: T, names: tuple[str, ...]) -> str:
        """The form of a text, with ``%s`` where something varies."""
        record: dict[str, object] = {"kind": self.kind} if self.kind else {}
        for name, get in self._plain:
            record[name] = None if name in names else get(value)
        form = _ENCODER.encode(record).replace("%", "%%")
        for name in names:
            form = form.replace(f'"{name}":null', f'"{name}":%s', 1)
        lists = "".join(f',"{name}":[%s]' for name, _, _ in self._lists)
        form = f"{form[:-1]}{lists}}}"
        if len(self._forms) >= RECURRING:
            self._forms.clear()
        self._forms[key] = form
        return form

    def _text(self, value: T) -> str:
        record: dict[str, object] = {"kind": self.kind} if self.kind else {}
        for name, get in self._plain:
            record[name] = get(value)
        text = _ENCODER.encode(record)
        for name, members, table in self._lists:
            inner = ",".join([table.text(member) for member in members(value)])
            text = f'{text[:-1]},"{name}":[{inner}]}}'
        return text

    def schema(self) -> dict[str, Json]:
        """Its JSON Schema, without the dialect."""
        properties: dict[str, Json] = {"kind": {"const": self.kind}} if self.kind else {}
        required: list[Json] = ["kind"] if self.kind else []
        for key in self.keys:
            properties[key.name] = _key_schema(key)
            if not key.may_be_absent:
                required.append(key.name)
        return {
            "type": "object",
            "description": self.doc,
            "properties": properties,
            "required": required,
        }


def _says_nothing(value: object) -> bool:
    """A zero says something."""
    return value is None or value is False or value in ("", [], {})


def _key_schema(key: Key[Any]) -> Json:
    schema = _type_schema(key)
    schema["description"] = f"{key.doc} [{key.unit}]" if key.unit else key.doc
    return schema


def _type_schema(key: Key[Any]) -> dict[str, Json]:
    if key.kind is Kind.OBJECT and key.of is not None:
        inner: Json = key.of.schema()
        return {"oneOf": [inner, {"type": "null"}]} if key.nullable else dict(key.of.schema())
    if key.kind is Kind.LIST:
        members: Json = key.of.schema() if key.of is not None else _text(key.choices)
        return {"type": "array", "items": members}
    if key.kind is Kind.INTEGERS:
        return {"type": "array", "items": {"type": "integer"}}
    if key.kind is Kind.MAP:
        return {"type": "object", "additionalProperties": {"type": ["string", "number", "null"]}}
    if key.kind is Kind.TIME:
        return {**_nullable("string", key.nullable), "format": "date-time", "pattern": TIME_PATTERN}
    if key.choices:
        return {"enum": [*key.choices, *([None] if key.nullable else [])]}
    return _nullable(key.kind.value, key.nullable)


def _nullable(name: str, nullable: bool) -> dict[str, Json]:
    return {"type": [name, "null"] if nullable else name}


def _text(choices: tuple[str, ...]) -> dict[str, Json]:
    return {"enum": list(choices)} if choices else {"type": "string"}


TIME_PATTERN: Final = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"


def iso(wall: float) -> str:
    """A wall time (Unix, s) in UTC with milliseconds."""
    whole, milliseconds = divmod(round(wall * 1000), 1000)
    return f"{_second(whole)}.{milliseconds:03d}Z"


@lru_cache(maxsize=256)
def _second(whole: int) -> str:
    return datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def dump(record: object) -> bytes:
    """Compact JSON; a number that JSON does not have raises ValueError."""
    return _ENCODER.encode(record).encode()


quoted: Final = json.encoder.encode_basestring
"""A text as JSON; the same as the encoder below writes."""

_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
