"""Lines of the open format as a simulated instrument writes them: what recurs is made once."""

import json
from collections.abc import Mapping, Sequence
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


class Line:
    """One line in the making, with what it says."""

    def __init__(self) -> None:
        self.says: Says = {}
        self.flags: tuple[Flag, ...] = ()
        self._readings: list[str] = []
        self._more: list[str] = []

    def counts(
        self,
        channel: Channel,
        value: int,
        window_s: float,
        *,
        part: str = "",
        flags: tuple[Flag, ...] = (),
    ) -> None:
        """Counts of a whole interval, gap-free."""
        frame = _frame(
            channel, "count", _QUANTITIES[channel], window_s, part, True, flags, None, ""
        )
        self._readings.append(f"{frame[0]}{value}{frame[1]}")
        self.says[f"{channel}.{part}" if part else channel] = value

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
        """Any other reading."""
        head, tail = _frame(channel, unit, quantity, window_s, part, False, flags, lower_bound, raw)
        self._readings.append(f"{head}{'null' if value is None else repr(value)}{tail}")
        self.says[f"{channel}.{part}" if part else channel] = value

    def state(self, channel: Channel, on: bool, part: str = "") -> None:
        """A state, 1 while set."""
        self.value(channel, int(on), "1", part=part, window_s=0.0)

    def add(self, key: str, value: object) -> None:
        """Another key of the line."""
        self._more.append(f',"{key}":{_json(value)}')

    def data(self) -> bytes:
        """The line with its end."""
        if self.flags:
            self.add("flags", self.flags)
        more = "".join(self._more) if self._more else ""
        return f'{{"readings":[{",".join(self._readings)}]{more}}}\n'.encode()


def passage_line(passage: Mapping[str, object]) -> bytes:
    """A line that tells a passage."""
    return f'{{"passage":{_json(passage)}}}\n'.encode()


_json: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


@lru_cache(maxsize=4096)
def _frame(
    channel: Channel,
    unit: str,
    quantity: Quantity | None,
    window_s: float | None,
    part: str,
    independent: bool,
    flags: Sequence[Flag],
    lower_bound: float | None,
    raw: str,
) -> tuple[str, str]:
    """A reading as text, in two pieces: before its value and after it."""
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
    return f'{{"channel":"{channel}","value":', f",{_json(told)[1:]}"
