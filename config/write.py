"""A configuration as TOML text, for files that the program makes itself."""

import json
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Final

from config.models import Configuration, Levels

_UNITS: Final = {
    "raise": "µSv/h",
    "clear": "µSv/h",
    "range_top": "µSv/h",
    "neutron_gamma_limit": "µSv/h",
    "dose_rate": "µSv/h",
    "counts": "1/s",
    "max_count_rate": "1/s",
    "background_rate": "1/s",
}
"""Amounts are held in these units and written with them."""

_DOSE_UNITS: Final = _UNITS | {"raise": "µSv"}
_PLAIN: Final[Mapping[str, str]] = {}
_UNITS_WITHIN: Final = {"dose_levels": _DOSE_UNITS, "options": _PLAIN}
"""Tables with units of their own: a driver's options are plain numbers whatever their names."""


def to_toml(configuration: Configuration) -> str:
    """Text that loads to an equal configuration; defaults are left out."""
    data = configuration.model_dump(
        mode="python", by_alias=True, exclude_none=True, exclude_defaults=True
    )
    _keep_decisions(configuration.alarms.levels, data.get("alarms", {}).get("levels", {}))
    for detector, written in zip(configuration.detector, data.get("detector", ()), strict=True):
        _keep_decisions(detector.levels, written.get("levels", {}))
    return "\n".join(_document(data)) + "\n"


def _keep_decisions(levels: Levels, written: dict[str, dict[str, object]]) -> None:
    """``enabled = true`` is the default and yet decides where somebody wrote it."""
    for name, level in written.items():
        if "enabled" in getattr(levels, name).model_fields_set:
            level["enabled"] = getattr(levels, name).enabled


def _document(data: Mapping[str, object]) -> Iterator[str]:
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from ("", f"[{key}]", *_pairs(value))
        elif isinstance(value, list | tuple):
            for each in value:
                yield from ("", f"[[{key}]]", *_pairs(each))


def _pairs(table: Mapping[str, object]) -> Iterator[str]:
    return (f"{key} = {_value(key, value, _UNITS)}" for key, value in table.items())


def _value(key: str, value: object, units: Mapping[str, str]) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if key in units and isinstance(value, int | float):
        return json.dumps(f"{value!r} {units[key]}", ensure_ascii=False)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        within = _UNITS_WITHIN.get(key, units)
        pairs = (f"{_key(name)} = {_value(name, each, within)}" for name, each in value.items())
        return "{ " + ", ".join(pairs) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(key, each, units) for each in value) + "]"
    return _text(str(value))


def _text(text: str) -> str:
    """A basic string; TOML wants one character escaped that JSON does not."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    plain = name.replace("-", "").replace("_", "")
    return name if plain.isascii() and plain.isalnum() else _text(name)
