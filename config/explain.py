"""What pydantic refuses, in the words of the file: key, place, expectation, likely fix."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from config.locate import Path
from config.problem import Findings, did_you_mean, shown

Model = type[BaseModel]

_WANTED: Final = {
    "string_type": "text in quotes",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "model_type": "a table",
    "dict_type": "a table",
    "model_attributes_type": "a table",
    "tuple_type": "a list",
    "list_type": "a list",
    "datetime_type": "a date and time such as 2026-06-13T17:00:00Z",
    "date_type": "a date such as 2026-06-13",
}
_LIMITS: Final = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
}
_NUMBER: Final = re.compile(r"[+-]?\d+(\.\d+)?")
_NOT_IN_ID: Final = re.compile(r"[^a-z0-9_-]+")


def explain(findings: Findings, model: Model, errors: list[ErrorDetails]) -> None:
    """One problem for each place that pydantic refused."""
    for error in errors:
        trace = _trace(model, error["loc"])
        message, hint = _words(findings, trace, error)
        findings.error(trace.path, message, hint)


@dataclass(frozen=True, slots=True)
class _Trace:
    """A place: its path in the file, the model that owns its last key, that key's field."""

    path: Path
    owner: Model | None = None
    field: FieldInfo | None = None
    annotation: object = None


def _trace(model: Model, loc: tuple[int | str, ...]) -> _Trace:
    """Follows an error's location, which names members of unions as well as keys."""
    here = _Trace((), annotation=model)
    discriminator: object = None
    for part in loc:
        annotation, own = _peel(here.annotation)
        discriminator = own or discriminator
        if isinstance(discriminator, str) and (member := _member(annotation, discriminator, part)):
            here = _Trace(here.path, here.owner, here.field, member)
            discriminator = None
            continue
        path = (*here.path, part)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            field = _fields(annotation).get(str(part))
            here = _Trace(path, annotation, field, field.annotation if field else None)
            discriminator = field.discriminator if field else None
        elif get_origin(annotation) in (tuple, list, dict):
            here = _Trace(path, here.owner, here.field, _element(annotation))
            discriminator = None
        elif annotation is None:
            here = _Trace(path, here.owner, here.field, None)
        else:
            break  # a member of a union of plain values is no place of its own
    return here


def _peel(annotation: object) -> tuple[object, object]:
    """Without Annotated and without None; the discriminator if Annotated named one."""
    discriminator: object = None
    while True:
        if get_origin(annotation) is Annotated:
            annotation, *notes = get_args(annotation)
            for note in notes:
                if isinstance(note, FieldInfo) and note.discriminator:
                    discriminator = note.discriminator
        elif get_origin(annotation) in (Union, UnionType):
            kept = [member for member in get_args(annotation) if member is not type(None)]
            if len(kept) != 1:
                return annotation, discriminator
            annotation = kept[0]
        else:
            return annotation, discriminator


def _element(annotation: object) -> object:
    arguments = get_args(annotation)
    if not arguments:
        return None
    first: object = arguments[1] if get_origin(annotation) is dict else arguments[0]
    return first


def _members(annotation: object) -> Iterator[Model]:
    plain, _ = _peel(annotation)
    candidates = get_args(plain) if get_origin(plain) in (Union, UnionType) else (plain,)
    for candidate in candidates:
        member, _ = _peel(candidate)
        if isinstance(member, type) and issubclass(member, BaseModel):
            yield member
        elif get_origin(member) in (Union, UnionType):
            yield from _members(member)


def _member(annotation: object, discriminator: str, tag: object) -> Model | None:
    for member in _members(annotation):
        if tag in _literals(member.model_fields[discriminator].annotation):
            return member
    return None


def _literals(annotation: object) -> tuple[Any, ...]:
    plain, _ = _peel(annotation)
    return get_args(plain) if get_origin(plain) is Literal else ()


def _fields(model: Model) -> dict[str, FieldInfo]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _words(findings: Findings, trace: _Trace, error: ErrorDetails) -> tuple[str, str]:
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    match kind:
        case "extra_forbidden":
            known = (
                [key for key in _fields(trace.owner) if not findings.has((*trace.path[:-1], key))]
                if trace.owner
                else []
            )
            return "unknown key", did_you_mean(str(trace.path[-1]), known)
        case "missing":
            return "the key is missing", _example(trace)
        case "amount":
            return str(context["problem"]), str(context["hint"])
        case "literal_error" | "enum":
            choices = [str(choice) for choice in _literals(trace.annotation)]
            return (
                f"{shown(value, trace.path)} is not one of {', '.join(choices)}",
                _choice(value, choices),
            )
        case "union_tag_invalid":
            tag, name = str(context["tag"]), str(context["discriminator"]).strip("'")
            return f"unknown {name} {shown(tag)}", _tag_hint(trace, name, tag)
        case "union_tag_not_found":
            name = str(context["discriminator"]).strip("'")
            return f"the key {name!r} is missing", _tag_hint(trace, name, "")
        case "string_pattern_mismatch":
            return _pattern(value, trace, str(context["pattern"]))
        case "too_short":
            return "needs at least one element", _example(trace)
        case "string_too_short":
            return "is empty", _example(trace)
        case "finite_number":
            return "is not a finite number", ""
        case "timezone_aware":
            return "the time has no zone", "end it with Z for UTC, or with +02:00 and the like"
    if kind in _LIMITS:
        word, key = _LIMITS[kind]
        return f"{shown(value, trace.path)} must be {word} {context[key]:g}", _bounds(trace)
    return _mistyped(trace, error)


def _mistyped(trace: _Trace, error: ErrorDetails) -> tuple[str, str]:
    kind, value = error["type"], error["input"]
    plain, _ = _peel(trace.annotation)
    if get_origin(plain) in (Union, UnionType):
        return f"is {shown(value, trace.path)}; needs text, a number, or true or false", ""
    wanted = _WANTED.get(kind)
    if wanted is None:
        return error["msg"][:1].lower() + error["msg"][1:], ""
    message = f"needs {wanted}, not {shown(value, trace.path)}"
    if wanted == "a list" and isinstance(value, dict):
        return message, f"write [[{trace.path[-1]}]] with two brackets, once for each"
    if kind in ("int_type", "float_type") and isinstance(value, str) and _NUMBER.fullmatch(value):
        return message, f"write {value} without quotes"
    if kind == "bool_type" and isinstance(value, str) and value in ("true", "false"):
        return message, f"write {value} without quotes"
    if kind == "string_type" and isinstance(value, int | float) and not isinstance(value, bool):
        return message, f'write "{shown(value, trace.path)}"'
    return message, _example(trace)


def _example(trace: _Trace) -> str:
    """``such as port = 502`` where the field documents an example."""
    key = trace.path[-1] if trace.path else ""
    if trace.field is None or isinstance(key, int):
        return ""
    literals = _literals(trace.field.annotation)
    if literals:
        return f"one of {', '.join(str(choice) for choice in literals)}"
    if not trace.field.examples:
        table = any(True for _ in _members(trace.field.annotation))
        return f"add a table [{'.'.join(map(str, trace.path))}]" if table else ""
    return f"such as {key} = {_toml(trace.field.examples[0])}"


def _toml(value: object) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return shown(value)


def _choice(value: object, choices: list[str]) -> str:
    """A likely choice only: the list stands in the message."""
    if isinstance(value, int | float) and str(value) in choices:
        return f'write "{value}"'
    hint = did_you_mean(value, choices) if isinstance(value, str) else ""
    return "" if hint.startswith("known") else hint


def _tag_hint(trace: _Trace, name: str, tag: str) -> str:
    tags = [
        str(each)
        for member in _members(trace.annotation)
        for each in _literals(member.model_fields[name].annotation)
    ]
    hint = did_you_mean(tag, tags)
    known = f"known: {', '.join(sorted(tags))}"
    return hint if hint == known else f"{hint} {known}"


def _pattern(value: object, trace: _Trace, pattern: str) -> tuple[str, str]:
    if not pattern.startswith("^[a-z0-9]["):
        return f"{shown(value, trace.path)} does not have the form {pattern}", _example(trace)
    message = (
        f"{shown(value, trace.path)} is not an id: 1 to 32 of a-z, 0-9, _ and -, "
        "beginning with a letter or a figure"
    )
    likely = _NOT_IN_ID.sub("-", str(value).lower()).strip("-_")[:32].strip("-_")
    return message, f"did you mean {likely!r}?" if likely else ""


def _bounds(trace: _Trace) -> str:
    limits = {}
    for note in trace.field.metadata if trace.field else ():
        for key in ("gt", "ge", "lt", "le"):
            if (limit := getattr(note, key, None)) is not None:
                limits[key] = limit
    low, high = limits.get("ge", limits.get("gt")), limits.get("le", limits.get("lt"))
    return f"from {low:g} to {high:g}" if low is not None and high is not None else ""
