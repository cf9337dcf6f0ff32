"""Field tables: one description of a message yields its encoder, its schema and its reference."""

import json
from collections.abc import Callable, Hashable, Iterable
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

    ``optional`` keys are left out instead. ``of`` is the table of an object or of a list's
    members; a list without one holds text.
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


class Table(Generic[T]):
    """The keys of one kind of message, in the order in which they are written."""

    def __init__(
        self,
        name: str,
        doc: str,
        keys: tuple[Key[T], ...],
        kind: str = "",
        varies: tuple[str, str] | None = None,
        rest: Callable[[T], Hashable] | None = None,
    ) -> None:
        self._varies = varies
        self._rest = rest
        self._forms: dict[Hashable, tuple[str, str, str]] = {}
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

    def text(self, value: T) -> str:
        """The message as JSON text, lists last.

        The same object has the same text as before. Where only the two keys that ``varies`` names
        differ from one made before, as ``rest`` tells, a number and behind it a text, they are put
        into the text of that one. Only for tables without optional keys.
        """
        if self._varies is None or self._rest is None:
            return self._text(value)
        same = self._same.get(id(value))
        if same is not None and same[0] is value:
            return same[1]
        key = self._rest(value)
        form = self._forms.get(key)
        if form is None:
            if len(self._forms) >= RECURRING:
                self._forms.clear()
            form = self._forms[key] = self._form(value, *self._varies)
        number, words = getattr(value, self._varies[0]), getattr(value, self._varies[1])
        shown = "null" if number is None else repr(number)
        if words:
            return f"{form[0]}{shown}{form[1]}{_quoted(words)}{form[2]}"
        text = f'{form[0]}{shown}{form[1]}""{form[2]}'
        if len(self._same) >= SAME:
            self._same.clear()
        self._same[id(value)] = value, text
        return text

    def _form(self, value: T, number: str, words: str) -> tuple[str, str, str]:
        """What stands before, between and behind the two."""
        record: dict[str, object] = {"kind": self.kind} if self.kind else {}
        for name, get in self._plain:
            record[name] = None if name in (number, words) else get(value)
        text = _ENCODER.encode(record)
        head, _, rest = text.partition(f'"{number}":null')
        middle, _, tail = rest.partition(f'"{words}":null')
        return f'{head}"{number}":', f'{middle}"{words}":', tail

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
            if not key.optional:
                required.append(key.name)
        return {
            "type": "object",
            "description": self.doc,
            "properties": properties,
            "required": required,
        }


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


_quoted: Final = json.encoder.encode_basestring
"""A text as JSON; the same as the encoder below writes."""

_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
