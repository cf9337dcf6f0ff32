"""What operators ask for: parsed strictly, from MQTT and from the control socket alike."""

import json
import math
import re
from dataclasses import dataclass
from typing import Final

from gateway.alarms.rights import PERMITTED
from gateway.values import Command

SIZE_LIMIT: Final = 16_384
DEPTH_LIMIT: Final = 8
"""Own choice: a command is two deep. The parser's own bound is that of Python's stack."""
LARGEST_WHOLE: Final = 2**53 - 1
"""The largest whole number that every JSON reader keeps exactly (RFC 8259, section 6)."""
NAMES: Final = tuple(PERMITTED)
Scalar = str | int | float | bool


class BadCommand(ValueError):
    """A command that is refused before anything looks at its meaning."""


def parse_object(payload: bytes) -> dict[str, object]:
    """A small, flat JSON object in UTF-8: no duplicate keys, no NaN, no infinity.

    Raises BadCommand.
    """
    if len(payload) > SIZE_LIMIT:
        raise BadCommand(f"over {SIZE_LIMIT} bytes")
    if _is_deep(payload):
        raise BadCommand(f"not a JSON object of at most {DEPTH_LIMIT} levels")
    try:
        found = json.loads(
            payload.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_whole,
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
        raise BadCommand(f"unknown command {name[:32]!r}; known: {', '.join(NAMES)}")
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


@dataclass(frozen=True, slots=True)
class Envelope:
    """A command as it comes over MQTT; ``epoch`` and ``heartbeat`` are what its issuer last saw."""

    command_id: str
    epoch: int
    heartbeat: int
    arguments: object


def parse_envelope(payload: bytes) -> Envelope:
    """Exactly the fields of the contract. Raises BadCommand."""
    found = parse_object(payload)
    if missing := [name for name in _FIELDS if name not in found]:
        raise BadCommand(f"{', '.join(missing)} missing; fields are {', '.join(_FIELDS)}")
    if unknown := [name for name in found if name not in _FIELDS]:
        raise BadCommand(f"unknown field {unknown[0][:64]!r}; fields are {', '.join(_FIELDS)}")
    return Envelope(
        _id(found["id"]),
        _count("epoch", found["epoch"]),
        _count("heartbeat", found["heartbeat"]),
        found["arguments"],
    )


def id_of(payload: bytes) -> str:
    """The id that a refused message seems to have, so that its issuer knows the answer."""
    match = _LIKELY_ID.search(payload[:SIZE_LIMIT])
    return match[1].decode("ascii") if match else ""


_FIELDS: Final = ("id", "epoch", "heartbeat", "arguments")
_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LIKELY_ID: Final = re.compile(rb'"id"[ \t\r\n]{0,8}:[ \t\r\n]{0,8}"([A-Za-z0-9._-]{1,64})"')


def _id(value: object) -> str:
    if not isinstance(value, str) or _ID.fullmatch(value) is None:
        raise BadCommand("id must be 1 to 64 of A-Z a-z 0-9 . _ -")
    return value


def _count(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise BadCommand(f"{name} must be a whole number")
    return value


def _is_deep(payload: bytes) -> bool:
    """Whether brackets outside of texts stand deeper than the limit; one pass, no recursion."""
    depth = 0
    in_text = is_escaped = False
    for byte in payload:
        if in_text:
            if is_escaped:
                is_escaped = False
            elif byte == 0x5C:
                is_escaped = True
            elif byte == 0x22:
                in_text = False
        elif byte == 0x22:
            in_text = True
        elif byte in b"[{":
            depth += 1
            if depth > DEPTH_LIMIT:
                return True
        elif byte in b"]}":
            depth -= 1
    return False


def _whole(text: str) -> int:
    number = int(text)
    if abs(number) > LARGEST_WHOLE:
        raise BadCommand(f"{text[:20]} is too large")
    return number


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
