"""Lines of the open format as a simulated instrument writes them: what recurs is made once."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from drivers.api import Channel, Flag, Quantity

Says = dict[str, float | int | str | None]
Number = float | int | None

_QUANTITIES: Final = {
    Channel.GAMMA_COUNTS: Quantity.GAMMA_COUNTS,
    Channel.NEUTRON_COUNTS: Quantity.NEUTRON_COUNTS,
    Channel.GAMMA_COUNT_RATE: Quantity.GAMMA_COUNT_RATE,
}


@dataclass(frozen=True, slots=True)
class Kind:
    """A reading of which only the value changes: its text before and after that, and its name."""

    head: str
    tail: str
    name: str


class Line:
    """One line in the making, with what it says."""

    def __init__(self) -> None:
        self.says: Says = {}
        self.flags: tuple[Flag, ...] = ()
        self._readings: list[str] = []
        self._more: list[str] = []

    def put(self, kind: Kind, value: Number) -> None:
        """A reading."""
        self._readings.append(f"{kind.head}{'null' if value is None else repr(value)}{kind.tail}")
        self.says[kind.name] = value

    def value(
        self,
        channel: Channel,
        value: Number,
        unit: str,
        *,
        quantity: Quantity | None = None,
        window_s: float | None = None,
        flags: tuple[Flag, ...] = (),
        lower_bound: float | None = None,
        part: str = "",
        raw: str = "",
    ) -> None:
        """Any reading that is no count."""
        self.put(
            kind(channel, unit, quantity, window_s, part, False, flags, lower_bound, raw), value
        )

    def state(self, channel: Channel, on: bool, part: str = "") -> None:
        """A state, 1 while set."""
        self.put(kind(channel, "1", None, 0.0, part), int(on))

    def add(self, key: str, value: object) -> None:
        """Another key of the line."""
        self._more.append(f',"{key}":{_json(value)}')

    def tell(self, key: str, is_so: bool) -> None:
        """Another key that is true or false."""
        self._more.append(f',"{key}":{"true" if is_so else "false"}')

    def data(self) -> bytes:
        """The line with its end."""
        if self.flags:
            self._more.append(_flags(self.flags))
        more = "".join(self._more) if self._more else ""
        return f'{{"readings":[{",".join(self._readings)}]{more}}}\n'.encode()


def passage_line(passage: Mapping[str, object]) -> bytes:
    """A line that tells a passage."""
    return f'{{"passage":{_json(passage)}}}\n'.encode()


_json: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


@lru_cache(maxsize=256)
def _flags(flags: tuple[Flag, ...]) -> str:
    return f',"flags":{_json(flags)}'


def counts(channel: Channel, window_s: float, part: str = "", flags: tuple[Flag, ...] = ()) -> Kind:
    """Counts of a whole interval, gap-free."""
    return kind(channel, "count", _QUANTITIES[channel], window_s, part, True, flags)


@lru_cache(maxsize=4096)
def kind(
    channel: Channel,
    unit: str,
    quantity: Quantity | None = None,
    window_s: float | None = None,
    part: str = "",
    independent: bool = False,
    flags: Sequence[Flag] = (),
    lower_bound: float | None = None,
    raw: str = "",
) -> Kind:
    """Any kind of reading."""
    told: dict[str, object] = {"unit": unit}
    optional: dict[str, object] = {
        "quantity": quantity,
        "flags": list(flags),
        "lower_bound": lower_bound,
        "raw": raw,
        "part": part,
        "independent": independent,
    }
    told |= {name: value for name, value in optional.items() if value or value == 0.0}
    told = {name: value for name, value in told.items() if value is not False}
    if window_s is not None:
        told["window_s"] = window_s
    name = f"{channel}.{part}" if part else str(channel)
    return Kind(f'{{"channel":"{channel}","value":', f",{_json(told)[1:]}", name)
