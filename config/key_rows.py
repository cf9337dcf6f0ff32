"""Keys of a strict model as rows of a table: type, unit, default, meaning."""

from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, WithJsonSchema
from pydantic.fields import FieldInfo

from config.amounts import ACTIVITY, COUNT_RATE, DOSE, DOSE_RATE, SPEED

HEADING: Final = ("| key | type | unit | default | meaning |", "|---|---|---|---|---|")
_BASE: Final[Mapping[str, tuple[str, str]]] = {
    kind.example: (kind.name, unit)
    for kind, unit in (
        (DOSE_RATE, "µSv/h"),
        (DOSE, "µSv"),
        (COUNT_RATE, "cps"),
        (ACTIVITY, "Bq"),
        (SPEED, "m/s"),
    )
}
"""Amounts by the example in their schema: what they are, and the unit of their defaults."""
_UNITS: Final[Mapping[str, str]] = {
    "t": "s",
    "x": "m",
    "y": "m",
    "z": "m",
    "x_min": "m",
    "x_max": "m",
    "y_min": "m",
    "y_max": "m",
    "closest_m": "m",
    "latitude": "°",
    "longitude": "°",
    "constant": "µSv·m²/(h·GBq)",
    "n_per_s": "1/s",
    "sensitivity": "1/s per µSv/h",
    "sensitivities": "1/s per µSv/h",
    "neutron_sensitivity": "1/s",
    "hpa": "hPa",
    "neutrons_per_hpa": "1/hPa",
    "reference_hpa": "hPa",
    "battery_percent": "%",
    "battery_percent_per_h": "%/h",
    "rises_per_hour": "1/h",
    "rate": "bytes/s",
    "size": "bytes",
    "bytes": "bytes",
    "times_s": "s",
}
_ENDINGS: Final = (("_deg", "°"), ("_us", "µs"), ("_s", "s"), ("_m", "m"), ("_h", "h"))
_AMOUNT_UNIT: Final = "with its unit"
_PREFIXES: Final = ((1e12, "TBq"), (1e9, "GBq"), (1e6, "MBq"), (1e3, "kBq"))


def rows(model: type[BaseModel], without: frozenset[str] = frozenset()) -> list[str]:
    """A table with a row for each key."""
    found = [
        _row(field.alias or name, field)
        for name, field in model.model_fields.items()
        if name not in without
    ]
    return [*HEADING, *found]


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Every model that a value of this type may hold, each once."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        return
    seen = []
    for part in get_args(annotation):
        for each in models_in(part):
            if each not in seen:
                seen.append(each)
                yield each


def is_many(annotation: Any) -> bool:
    """Whether it is a list."""
    return any(get_origin(each) is tuple for each in _parts(annotation))


def _row(key: str, field: FieldInfo) -> str:
    amount = _amount(field)
    cells = (
        f"`{key}`",
        _type(field) if amount is None else amount[0],
        _unit(key, field) if amount is None else _AMOUNT_UNIT,
        _default(field, amount),
        (field.description or "").replace("``", "`").replace("|", "\\|"),
    )
    return f"| {' | '.join(cells)} |"


def _parts(annotation: Any) -> Iterator[Any]:
    """The alternatives of a type without None, and without what is only noted beside it."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _parts(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for each in get_args(annotation):
            yield from _parts(each)
    elif annotation is not type(None):
        yield annotation


def _notes(field: FieldInfo) -> Iterator[Any]:
    """Everything noted beside the type, at any depth of alternatives."""
    yield from field.metadata
    stack = [field.annotation]
    while stack:
        each = stack.pop()
        if get_origin(each) is Annotated:
            yield from _flat(get_args(each)[1:])
            stack.append(get_args(each)[0])
        elif get_origin(each) in (Union, UnionType):
            stack += get_args(each)


def _flat(notes: tuple[Any, ...]) -> Iterator[Any]:
    for note in notes:
        yield from note.metadata if isinstance(note, FieldInfo) else (note,)


def _amount(field: FieldInfo) -> tuple[str, str] | None:
    """What amount it is and its base unit; None for what is none."""
    for note in _notes(field):
        if isinstance(note, WithJsonSchema) and note.json_schema is not None:
            (example,) = note.json_schema["examples"]
            return _BASE[example]
    return None


def _type(field: FieldInfo) -> str:
    limits = _limits(field)
    told = []
    for each in _parts(field.annotation):
        name = _name(each)
        told.append(f"{name} {limits}" if limits and name.endswith("number") else name)
    return " or ".join(dict.fromkeys(told))


def _name(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{each}`" for each in arguments)
    if origin is tuple:
        (inner,) = dict.fromkeys(_name(each) for each in _elements(arguments))
        return f"list of {len(arguments)}: {inner}" if ... not in arguments else f"list: {inner}"
    if origin is dict:
        return "table"
    if issubclass(annotation, BaseModel):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    return _PLAIN.get(annotation.__name__, "text")


_PLAIN: Final = {
    "float": "number",
    "int": "whole number",
    "bool": "true, false",
    "date": "date",
    "datetime": "time",
    "AwareDatetime": "time",
}


def _elements(arguments: tuple[Any, ...]) -> Iterator[Any]:
    for each in arguments:
        if each is not ...:
            yield from _parts(each)


def _limits(field: FieldInfo) -> str:
    signs = {Gt: ">", Ge: "≥", Lt: "<", Le: "≤"}
    found: dict[str, str] = {}
    for note in _notes(field):
        for kind, sign in signs.items():
            if isinstance(note, kind):
                found.setdefault(sign, f"{sign} {getattr(note, kind.__name__.lower())}")
    return ", ".join(found.values())


def _unit(key: str, field: FieldInfo) -> str:
    if key in _UNITS:
        return _UNITS[key]
    if not any(_name(each).endswith("number") for each in _parts(field.annotation)):
        return ""
    return next((unit for ending, unit in _ENDINGS if key.endswith(ending)), "")


def _default(field: FieldInfo, amount: tuple[str, str] | None) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if amount is not None and isinstance(value, float):
        return f"`{_written(value, amount[1])!s}`"
    match value:
        case None | "" | () | {} | BaseModel():
            return ""
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:.6g}"
        case tuple():
            return f"{list(value)}"
        case str():
            return f"`{value}`"
    return str(value)


def _written(value: float, unit: str) -> str:
    """An amount as one would write it."""
    if unit == "Bq":
        for size, name in _PREFIXES:
            if value >= size:
                return f"{value / size:g} {name}"
    return f"{value:g} {unit}"
