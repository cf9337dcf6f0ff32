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
        varies: str = "",
        rest: Callable[[T], Hashable] = lambda _: None,
    ) -> None:
        self._varies = varies
        self._rest = rest
        self._forms: dict[Hashable, tuple[str, str]] = {}
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

        Where only the number of the key ``varies`` differs from one made before, as ``rest``
        tells, it is put into the text of that one. Only for tables without optional keys.
        """
        key = self._rest(value)
        if key is None:
            return self._text(value)
        form = self._forms.get(key)
        if form is None:
            if len(self._forms) >= RECURRING:
                self._forms.clear()
            form = self._forms[key] = self._form(value)
        number = getattr(value, self._varies)
        return f"{form[0]}{'null' if number is None else repr(number)}{form[1]}"

    def _form(self, value: T) -> tuple[str, str]:
        """What stands before and behind the number."""
        record: dict[str, object] = {"kind": self.kind} if self.kind else {}
        for name, get in self._plain:
            record[name] = None if name == self._varies else get(value)
        head, _, tail = _ENCODER.encode(record).partition(f'"{self._varies}":null')
        return f'{head}"{self._varies}":', tail

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


_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
