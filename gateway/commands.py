"""What operators ask for: parsed strictly, from MQTT and from the control socket alike."""

import json
import math
from typing import Final

from gateway.alarms.rights import PERMITTED
from gateway.values import Command

SIZE_LIMIT: Final = 16_384
NAMES: Final = tuple(PERMITTED)
Scalar = str | int | float | bool


class BadCommand(ValueError):
    """A command that is refused before anything looks at its meaning."""


def parse_object(payload: bytes) -> dict[str, object]:
    """A small JSON object in UTF-8: no duplicate keys, no NaN, no infinity. Raises BadCommand."""
    if len(payload) > SIZE_LIMIT:
        raise BadCommand(f"over {SIZE_LIMIT} bytes")
    try:
        found = json.loads(
            payload.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_float=_finite,
        )
    except BadCommand:
        raise
    except (ValueError, RecursionError) as error:
        raise BadCommand(f"not a JSON object: {error}") from error
    if not isinstance(found, dict):
        raise BadCommand("not a JSON object")
    return found


def parse_command(name: str, user: str, arguments: object, command_id: str) -> Command:
    """One command with flat arguments. Raises BadCommand."""
    if name not in NAMES:
        raise BadCommand(f"unknown command {name!r}; known: {', '.join(NAMES)}")
    if not isinstance(arguments, dict):
        raise BadCommand("arguments must be an object")
    pairs: list[tuple[str, Scalar]] = []
    for key, value in arguments.items():
        if not isinstance(value, str | int | float | bool):
            raise BadCommand(f"argument {key!r} must be text, a number or true or false")
        if not _is_text(key) or not _is_text(value):
            raise BadCommand(f"argument {key!r} holds half a character")
        pairs.append((str(key), value))
    return Command(name, user, command_id, tuple(pairs))


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadCommand("the same key twice")
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise BadCommand(f"{text} is too large")
    return number


def _is_text(value: object) -> bool:
    """JSON can name a lone surrogate, which no answer and no journal could hold."""
    return not any("\ud800" <= c <= "\udfff" for c in str(value))


def _no_constant(text: str) -> object:
    raise BadCommand(f"{text} is not JSON")
