"""Settings of a simulated instrument: a dataclass of defaults, filled from a scenario's table."""

import math
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Setting = bool | int | float | str
Settings = Mapping[str, Setting]
_Setup = TypeVar("_Setup", bound="DataclassInstance")


def filled(defaults: _Setup, given: Settings, name: str) -> _Setup:
    """The defaults with what is given. Raises ValueError for what ``name`` has no setting for."""
    known = {each.name: getattr(defaults, each.name) for each in fields(defaults)}
    if unknown := sorted(given.keys() - known.keys()):
        listed = ", ".join(sorted(known))
        raise ValueError(f"{name} has no setting {', '.join(unknown)}; there are: {listed}")
    return replace(defaults, **{key: _fitting(key, given[key], known[key]) for key in given})


def _fitting(key: str, value: Setting, default: Setting) -> Setting:
    """The value in the type of the default."""
    match default:
        case bool():
            if isinstance(value, bool):
                return value
            raise ValueError(f"{key} needs true or false, not {value!r}")
        case str():
            return str(value)
        case _ if isinstance(value, bool | str) or not math.isfinite(value):
            raise ValueError(f"{key} needs a number, not {value!r}")
        case int():
            if value != int(value):
                raise ValueError(f"{key} needs a whole number, not {value!r}")
            return int(value)
        case _:
            return float(value)
