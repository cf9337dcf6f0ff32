"""Readings of the open line format: what each channel may say, and the checks of one reading.

The format is described in docs/guides/json-lines.md; it is dosegate's own, so nothing here rests
on an instrument. A fault is told as :class:`Wrong` with the place in the line and what is wrong.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from drivers.api import Channel, Flag, Quantity, Reading
from drivers.units import Dimension, UnknownUnit, parse_unit

Json = object
Table = Mapping[str, Json]

CATEGORIES: Final = ("norm", "medical", "industrial", "snm", "unknown")
"""The category words of an identified nuclide, as N42 and the SPRD standards sort them."""

TELLABLE: Final = frozenset(Flag) - {
    Flag.STALE,
    Flag.SIMULATED,
    Flag.EXERCISE,
    Flag.DUPLICATE_SUPPRESSED,
    Flag.COMM_LOST,
    Flag.QUANTITY_MISMATCH,
    Flag.SAMPLING_INSUFFICIENT,
    Flag.IDENTITY_MISMATCH,
}
"""Flags that an instrument may set; the others are the gateway's own."""

_KEYS: Final = frozenset(
    {
        "channel",
        "value",
        "unit",
        "quantity",
        "flags",
        "lower_bound",
        "window_s",
        "raw",
        "part",
        "independent",
    }
)
_TEXT_LIMIT: Final = 200
"""Characters of ``raw`` and ``part``; own choice."""

_DOSE_RATES: Final = (
    Dimension.DOSE_EQUIVALENT_RATE,
    Dimension.KERMA_RATE,
    Dimension.EXPOSURE_RATE,
)
_DOSES: Final = (Dimension.DOSE_EQUIVALENT, Dimension.KERMA, Dimension.EXPOSURE)
STATES: Final = frozenset({Channel.DEVICE_ALARM, Channel.DEVICE_FAULT, Channel.TAMPER})
"""Channels whose value is 1 while set and 0 while clear."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """What a channel allows: units by dimension or by name, and quantities."""

    dimensions: tuple[Dimension, ...] = ()
    units: tuple[str, ...] = ()
    quantities: tuple[Quantity, ...] = ()


_RULES: Final[Mapping[Channel, _Rule]] = {
    Channel.DOSE_RATE: _Rule(
        _DOSE_RATES,
        quantities=(
            Quantity.AMBIENT_DOSE_EQUIVALENT_RATE,
            Quantity.PERSONAL_DOSE_EQUIVALENT_RATE,
            Quantity.SKIN_DOSE_EQUIVALENT_RATE,
            Quantity.AIR_KERMA_RATE,
            Quantity.EXPOSURE_RATE,
            Quantity.NEUTRON_DOSE_EQUIVALENT_RATE,
        ),
    ),
    Channel.DOSE: _Rule(
        _DOSES,
        quantities=(
            Quantity.AMBIENT_DOSE_EQUIVALENT,
            Quantity.PERSONAL_DOSE_EQUIVALENT,
            Quantity.EXPOSURE,
        ),
    ),
    Channel.GAMMA_COUNT_RATE: _Rule((Dimension.RATE,), quantities=(Quantity.GAMMA_COUNT_RATE,)),
    Channel.NEUTRON_COUNT_RATE: _Rule((Dimension.RATE,), quantities=(Quantity.NEUTRON_COUNT_RATE,)),
    Channel.GAMMA_COUNTS: _Rule(units=("count",), quantities=(Quantity.GAMMA_COUNTS,)),
    Channel.NEUTRON_COUNTS: _Rule(units=("count",), quantities=(Quantity.NEUTRON_COUNTS,)),
    Channel.BACKGROUND: _Rule(
        (Dimension.RATE, *_DOSE_RATES),
        quantities=(Quantity.GAMMA_COUNT_RATE, Quantity.NEUTRON_COUNT_RATE),
    ),
    Channel.NUCLIDE: _Rule(units=("1",)),
    Channel.SPEED: _Rule(units=("m/s",)),
    Channel.BATTERY: _Rule(units=("%", "V")),
    Channel.TEMPERATURE: _Rule(units=("°C",)),
    Channel.DEVICE_ALARM: _Rule(units=("1",)),
    Channel.DEVICE_FAULT: _Rule(units=("1",)),
    Channel.TAMPER: _Rule(units=("1",)),
}
COUNTS: Final = frozenset({Channel.GAMMA_COUNTS, Channel.NEUTRON_COUNTS})
"""Channels whose value is whole and not negative."""
PLAIN: Final = frozenset(_RULES) - STATES - COUNTS - {Channel.NUCLIDE}
"""Channels whose value may be any finite number."""
CHANNELS: Final = tuple(_RULES)
"""Every channel that a reading of this format may name."""


_ABOUT: Final = ("channel", "unit", "quantity", "window_s", "part")


class Wrong(ValueError):
    """Something that the format does not allow: where, and what."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(f"{where}: {problem}" if where else problem)


_Fixed = tuple[Channel, str, Quantity | None, float | None, str]


def reading(table: Json, index: int) -> Reading:
    """One member of ``readings``. Raises Wrong."""
    if type(table) is not dict:
        raise Wrong(f"readings[{index}]", "needs an object")
    unknown_keys(table, _KEYS, f"readings[{index}]")
    try:
        return _reading(table, _fixed(table))
    except Wrong as wrong:
        raise Wrong(f"readings[{index}].{wrong}", "") from None


def number(value: Json, where: str, *, low: float = -math.inf, high: float = math.inf) -> float:
    """A finite number within limits. Raises Wrong."""
    if type(value) is not float and type(value) is not int:
        raise Wrong(where, "needs a number")
    try:
        is_fine = math.isfinite(value) and low <= value <= high
    except OverflowError:
        is_fine = False
    if not is_fine:
        limits = "" if math.isinf(low) and math.isinf(high) else f" from {low:g} to {high:g}"
        raise Wrong(where, f"needs a finite number{limits}")
    return value


def text(value: Json, where: str, limit: int = _TEXT_LIMIT) -> str:
    """Printable text. Raises Wrong."""
    if type(value) is not str or len(value) > limit or not value.isprintable():
        raise Wrong(where, f"needs printable text of at most {limit} characters")
    return value


def flags(value: Json, where: str = "flags") -> tuple[Flag, ...]:
    """Flags by their words. Raises Wrong."""
    if value is None:
        return ()
    if type(value) is not list:
        raise Wrong(where, "needs a list of words")
    found = []
    for word in value:
        if type(word) is not str or word not in TELLABLE:
            raise Wrong(where, f"{word!r:.40} is no flag of an instrument")
        found.append(Flag(word))
    return tuple(found)


def unknown_keys(table: Table, known: frozenset[str], where: str) -> None:
    """Raises Wrong if there is a key that the format does not have."""
    if not table.keys() <= known:
        raise Wrong(where, f"unknown key {min(table.keys() - known)!r:.40}")


def _fixed(table: dict[str, Json]) -> _Fixed:
    """What the reading is about, checked. Raises Wrong."""
    channel, unit, quantity, window, part = map(table.get, _ABOUT)
    if type(channel) is not str or channel not in _RULES:
        raise Wrong("channel", f"{channel!r:.40} is no channel of a reading")
    known = Channel(channel)
    rule = _RULES[known]
    if type(unit) is not str or not _is_unit(unit, rule):
        raise Wrong("unit", f"{unit!r:.40} is no unit of {channel}")
    said = None
    if quantity is not None:
        if type(quantity) is not str or quantity not in rule.quantities:
            raise Wrong("quantity", f"{quantity!r:.40} is no quantity of {channel}")
        said = Quantity(quantity)
    window_s = None if window is None else number(window, "window_s", low=0.0)
    name = "" if part is None else text(part, "part")
    if known is Channel.NUCLIDE and not name:
        raise Wrong("part", "needs the name of the nuclide, such as I-131")
    return known, unit, said, window_s, name


def _is_unit(unit: str, rule: _Rule) -> bool:
    if unit in rule.units:
        return True
    try:
        return bool(rule.dimensions) and parse_unit(unit).dimension in rule.dimensions
    except UnknownUnit:
        return False


def _reading(table: dict[str, Json], fixed: _Fixed) -> Reading:
    channel, unit, quantity, window_s, part = fixed
    get = table.get
    if "value" not in table:
        raise Wrong("value", "is missing; null where there is no number")
    told, bounded, raw, words = table["value"], get("lower_bound"), get("raw"), get("flags")
    value = None if told is None else number(told, "value")
    bound = None if bounded is None else number(bounded, "lower_bound")
    if bound is not None and value is not None:
        raise Wrong("lower_bound", "stands only beside the value null")
    independent = get("independent", False)
    if independent is not False and independent is not True:
        raise Wrong("independent", "needs true or false")
    digits = "" if raw is None else text(raw, "raw")
    if channel not in PLAIN:
        _check_value(channel, value, digits)
    said = () if words is None else flags(words)
    return Reading(channel, value, unit, quantity, said, bound, window_s, digits, part, independent)


def _check_value(channel: Channel, value: Json, raw: str) -> None:
    if channel in COUNTS:
        if value is not None and (type(value) is not int or value < 0):
            raise Wrong("value", "counts are whole and not negative")
    elif channel in STATES:
        if value is not None and value not in (0, 1):
            raise Wrong("value", "a state is 1 while set and 0 while clear")
    else:
        if value is not None:
            number(value, "value", low=0.0, high=1.0)
        if raw not in CATEGORIES:
            raise Wrong("raw", f"needs the category: {', '.join(CATEGORIES)}")
