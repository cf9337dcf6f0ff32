"""Readings as JSON lines: dosegate's own open format, for bridges to other instruments.

Source: docs/guides/json-lines.md, which defines the format.
Verified: documented. The bytes are ours by definition.

One JSON object a line, UTF-8, LF (CR LF is read too), at most 64 KiB. A line holds ``readings``
and, where known, ``age_s``, ``time``, ``flags``, ``position``, ``occupied`` and ``identity``; or
it holds ``passage`` alone. Unknown keys, wrong types, NaN and keys that stand twice are errors
that name their place; a line is taken whole or not at all.
"""

import json
from collections.abc import Iterator
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Final, NoReturn

from drivers.api import (
    Calibration,
    DriverInfo,
    Identity,
    Options,
    Output,
    Passage,
    PassageFlag,
    Position,
    Reading,
    Sample,
    SerialLine,
    Verified,
)
from drivers.codec.calibration import is_usable
from drivers.codec.lines import Line, LineSplitter
from drivers.errors import DecodeError, FrameError, Reject
from drivers.json_forms import Forms
from drivers.json_readings import (
    CHANNELS,
    Json,
    Wrong,
    flags,
    number,
    reading,
    text,
    unknown_keys,
)

CLASSES: Final = (
    "Other",
    "Backpack",
    "Dosimeter",
    "Electronic Personal Emergency Radiation Detector",
    "Mobile System",
    "Network Area Monitor",
    "Neutron Handheld",
    "Personal Radiation Detector",
    "Radionuclide Identifier",
    "Portal Monitor",
    "Spectroscopic Portal Monitor",
    "Spectroscopic Personal Radiation Detector",
    "Gamma Handheld",
    "Transportable System",
)
"""Every instrument class of N42.42-2011."""
LINE_LIMIT: Final = 65_536
"""Bytes of a line; own choice."""
SILENCE_S: Final = 2.0
"""A healthy instrument sends a line at least this often: the format asks for it."""

_SAMPLE_KEYS: Final = frozenset(
    {"readings", "age_s", "time", "flags", "position", "occupied", "identity"}
)
_LINE_KEYS: Final = _SAMPLE_KEYS | {"passage"}
_POSITION_KEYS: Final = frozenset(
    {"latitude", "longitude", "altitude_m", "accuracy_m", "satellites", "hdop", "age_s"}
)
_IDENTITY_KEYS: Final = frozenset({"model", "serial", "firmware", "calibration"})
_CALIBRATION_KEYS: Final = frozenset({"points", "source", "nuclide"})
_PASSAGE_KEYS: Final = frozenset(each.name for each in fields(Passage))


def decode(line: bytes) -> Sample | Passage:
    """One line, without its end. Raises FrameError or DecodeError."""
    table = _object(line)
    try:
        return _line(table)
    except Wrong as wrong:
        detail = str(wrong).removesuffix(": ")
        raise DecodeError(Reject.CONTENT, line, detail) from wrong


def encode(output: Sample | Passage) -> bytes:
    """The line that says this, with its end; what is unknown is left out."""
    told = {"passage": _told(output)} if isinstance(output, Passage) else _sample_table(output)
    return json.dumps(told, ensure_ascii=False, allow_nan=False).encode() + b"\n"


class JsonLines:
    """The listener for any bridge that speaks the format."""

    def __init__(self) -> None:
        self._lines = LineSplitter(LINE_LIMIT)
        self._forms = Forms()

    def hello(self) -> bytes:
        """Nothing is ever sent."""
        return b""

    def interrupted(self) -> None:
        """Forgets half a line."""
        self._lines.clear()

    def feed(self, data: bytes) -> Iterator[Output]:
        """What the complete lines say; blank lines are skipped."""
        for line in self._lines.feed(data):
            if isinstance(line, FrameError):
                yield line
            elif line.text:
                yield self._forms.read(line.text) or self._read(line)

    def _read(self, line: Line) -> Output:
        try:
            said = decode(line.text)
        except (FrameError, DecodeError) as error:
            error.line, error.offset = line.number, line.offset
            return error
        if isinstance(said, Sample):
            self._forms.learn(line.text, said)
        return said


# A line as a table.


def _constant(word: str) -> NoReturn:
    raise Wrong("", f"{word} is no number of JSON")


def _once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Wrong("", f"the key {twice!r:.40} stands twice")
    return found


_PARSE: Final = json.JSONDecoder(parse_constant=_constant, object_pairs_hook=_once).decode


def _object(line: bytes) -> dict[str, Json]:
    try:
        table: Json = _PARSE(line.decode("utf-8"))
    except Wrong as wrong:
        raise DecodeError(Reject.CONTENT, line, str(wrong)) from wrong
    except (ValueError, RecursionError) as error:
        raise FrameError(Reject.SYNTAX, line, f"not JSON: {error}"[:200]) from error
    if type(table) is not dict:
        raise FrameError(Reject.SYNTAX, line, "not a JSON object")
    return table


# A table as values.


def _line(table: dict[str, Json]) -> Sample | Passage:
    unknown_keys(table, _LINE_KEYS, "")
    if "passage" in table:
        if len(table) > 1:
            raise Wrong("passage", "stands alone in its line")
        return _passage(_table(table["passage"], "passage", _PASSAGE_KEYS))
    members = table.get("readings")
    if type(members) is not list:
        raise Wrong("readings", "needs a list; an empty one where there is nothing to say")
    said = tuple(reading(member, index) for index, member in enumerate(members))
    if len(table) == 1:
        return Sample(said)
    occupied = table.get("occupied")
    if occupied is not None and type(occupied) is not bool:
        raise Wrong("occupied", "needs true or false")
    return Sample(
        said,
        number(table.get("age_s", 0.0), "age_s", low=0.0),
        _time(table.get("time")),
        flags(table.get("flags")),
        _position(table.get("position")),
        _identity(table.get("identity")),
        occupied,
    )


def _table(value: Json, where: str, known: frozenset[str]) -> dict[str, Json]:
    if type(value) is not dict:
        raise Wrong(where, "needs an object")
    unknown_keys(value, known, where)
    return value


def _time(value: Json) -> datetime | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(text(value, "time"))
    except ValueError:
        raise Wrong("time", "needs ISO 8601, such as 2026-06-13T17:00:00.250Z") from None
    if moment.utcoffset() != timedelta(0):
        raise Wrong("time", "needs UTC: end it with Z")
    return moment


def _position(value: Json) -> Position | None:
    if value is None:
        return None
    table = _table(value, "position", _POSITION_KEYS)
    satellites = table.get("satellites")
    if satellites is not None and (type(satellites) is not int or satellites < 0):
        raise Wrong("position.satellites", "needs a whole number")
    return Position(
        number(table.get("latitude"), "position.latitude", low=-90.0, high=90.0),
        number(table.get("longitude"), "position.longitude", low=-180.0, high=180.0),
        _number_or_none(table, "altitude_m", "position"),
        _number_or_none(table, "accuracy_m", "position", low=0.0),
        satellites,
        _number_or_none(table, "hdop", "position", low=0.0),
        number(table.get("age_s", 0.0), "position.age_s", low=0.0),
    )


def _identity(value: Json) -> Identity | None:
    if value is None:
        return None
    table = _table(value, "identity", _IDENTITY_KEYS)
    model, serial, firmware = (
        None if table.get(key) is None else text(table[key], f"identity.{key}")
        for key in ("model", "serial", "firmware")
    )
    return Identity(model, serial, firmware, _calibration(table.get("calibration")))


def _calibration(value: Json) -> Calibration | None:
    if value is None:
        return None
    where = "identity.calibration"
    table = _table(value, where, _CALIBRATION_KEYS)
    members = table.get("points")
    if type(members) is not list or not members:
        raise Wrong(f"{where}.points", "needs a list of [counts per second, µSv/h]")
    points = []
    for member in members:
        if type(member) is not list or len(member) != 2:
            raise Wrong(f"{where}.points", "needs a list of [counts per second, µSv/h]")
        points.append((number(member[0], f"{where}.points"), number(member[1], f"{where}.points")))
    if not is_usable(tuple(points)):
        raise Wrong(f"{where}.points", "both numbers rise from point to point, from above 0")
    nuclide = table.get("nuclide")
    return Calibration(
        tuple(points),
        text(table.get("source"), f"{where}.source"),
        None if nuclide is None else text(nuclide, f"{where}.nuclide"),
    )


def _passage(table: dict[str, Json]) -> Passage:
    for key in ("gamma_alarm", "neutron_alarm"):
        if type(table.get(key)) is not bool:
            raise Wrong(f"passage.{key}", "needs true or false")
    count = table.get("number")
    if count is not None and (type(count) is not int or count < 0):
        raise Wrong("passage.number", "needs a whole number or null")
    return Passage(
        count,
        _number_or_none(table, "start_age_s", "passage", low=0.0),
        _number_or_none(table, "end_age_s", "passage", low=0.0),
        table["gamma_alarm"] is True,
        table["neutron_alarm"] is True,
        _number_or_none(table, "gamma_max", "passage"),
        text(table.get("gamma_max_basis", ""), "passage.gamma_max_basis"),
        _number_or_none(table, "neutron_max", "passage"),
        text(table.get("neutron_max_basis", ""), "passage.neutron_max_basis"),
        _number_or_none(table, "gamma_background", "passage"),
        _number_or_none(table, "neutron_background", "passage"),
        _number_or_none(table, "speed_m_s", "passage", low=0.0),
        _passage_flags(table.get("flags")),
    )


def _passage_flags(value: Json) -> tuple[PassageFlag, ...]:
    if value is None:
        return ()
    if type(value) is not list or not all(
        type(word) is str and word in frozenset(PassageFlag) for word in value
    ):
        raise Wrong("passage.flags", f"needs a list of: {', '.join(PassageFlag)}")
    return tuple(PassageFlag(word) for word in value)


def _number_or_none(
    table: dict[str, Json], key: str, where: str, low: float = float("-inf")
) -> float | None:
    value = table.get(key)
    return None if value is None else number(value, f"{where}.{key}", low=low)


# Values as a table.


def _sample_table(sample: Sample) -> dict[str, Json]:
    table: dict[str, Json] = {"readings": [_told(each) for each in sample.readings]}
    if sample.age_s:
        table["age_s"] = sample.age_s
    if sample.device_time is not None:
        table["time"] = sample.device_time.isoformat().replace("+00:00", "Z")
    if sample.flags:
        table["flags"] = list(sample.flags)
    if sample.position is not None:
        table["position"] = _told(sample.position)
    if sample.occupied is not None:
        table["occupied"] = sample.occupied
    if sample.identity is not None:
        table["identity"] = _told(sample.identity)
    return table


def _told(value: Reading | Position | Identity | Calibration | Passage) -> dict[str, Json]:
    """What is known and differs from its default; a reading's value always."""
    table: dict[str, Json] = {}
    for each in fields(value):
        said = getattr(value, each.name)
        if each.name == "value" or (said is not None and said != each.default):
            table[each.name] = _told(said) if isinstance(said, Calibration) else said
    return {name: said for name, said in table.items() if name not in _UNSPEAKABLE}


_UNSPEAKABLE: Final = frozenset({"settings"})
"""What an identity may hold and the format has no key for."""


def _create(options: Options) -> JsonLines:
    return JsonLines()


DRIVER: Final = DriverInfo(
    name="json-lines",
    title="JSON lines, dosegate's open format for bridges",
    contract="listener",
    classes=CLASSES,
    links=("tcp", "serial", "recording"),
    channels=CHANNELS,
    source="docs/guides/json-lines.md",
    verified=Verified.DOCUMENTED,
    silence_s=SILENCE_S,
    create=_create,
    serial=SerialLine(115200),
)
