"""A simulated GQ GMC: counts by the second, answers ``<NAME>>``, may talk by heartbeat.

After GQ-RFC1201 v1.40 and GQ-RFC1801 v1.00; its bad habits (short answers, a stray byte, silence
on the first GETVER, a wrong first value) are those reported for real units in pygmc's issues and
by GeigerLog. Answers are made by ``drivers.gmc_answers`` and ``drivers.gmc_models``.
"""

import random
import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from drivers.gmc_answers import (
    encode_cpm,
    encode_cps,
    encode_version,
    encode_volts,
    full_cpm,
    full_cps,
)
from drivers.gmc_models import Model, encode_configuration, model_of
from simulators.api import Emission, Field

_ANSWER_S: Final = 0.02
_MINUTE: Final = 60
_LONGEST_COMMAND: Final = 64
_COMMAND: Final = re.compile(rb"<([A-Za-z0-9]+)>>")

Settings = Mapping[str, bool | int | float | str]
_Says = dict[str, float | int | str | None]


@dataclass(frozen=True, slots=True)
class Setup:
    """Everything that can be set, with its default.

    ``width`` 0: that of the model. ``usv_h_per_cpm`` is the factor of the calibration it stores
    (the M4011 tube's 0.0065). ``estimate_s`` extrapolates CPM from that many seconds.
    ``short_every``, ``stray_every``: each n-th answer loses its last byte, or follows a stray one.
    ``silent_versions``: so many GETVER stay unanswered. ``first_value``: the first count, if >= 0.
    """

    model: str = "GMC-300S"
    firmware: str = "1.14"
    serial: str = "F7F4C578139D08"
    width: int = 0
    usv_h_per_cpm: float = 0.0065
    volts: float = 4.2
    estimate_s: int = 60
    heartbeat: bool = False
    obeys_heartbeat_off: bool = True
    short_every: int = 0
    stray_every: int = 0
    silent_versions: int = 0
    first_value: int = -1


class Gmc:
    """One counter on its cable."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._model: Model = model_of(setup.model, float(setup.firmware))
        self._width = setup.width or self._model.width or 2
        self._seconds: deque[int] = deque(maxlen=_MINUTE)
        self._second = 0
        self._beats = setup.heartbeat
        self._first_value = setup.first_value
        self._silent_versions = setup.silent_versions
        self._answers = 0
        self._typed = bytearray()

    def set_serial(self, serial: str) -> None:
        """Another unit answers."""
        self._setup = replace(self._setup, serial=serial)

    def advance(self, to_s: float, field: Field) -> Sequence[Emission]:
        """Counts the seconds that end up to ``to_s``; with the heartbeat on it sends each."""
        emissions: list[Emission] = []
        while self._second + 1 <= to_s:
            begin, end = float(self._second), float(self._second + 1)
            self._second += 1
            self._seconds.append(field.gamma_counts(begin, end))
            if self._beats:
                emissions.append(Emission(end, encode_cps(self._seconds[-1], self._width)))
        return emissions

    def receive(self, at_s: float, data: bytes, field: Field) -> Sequence[Emission]:
        """An answer for each complete command it knows; silence for anything else."""
        emissions = list(self.advance(at_s, field))
        self._typed += data
        while match := _COMMAND.search(self._typed):
            name = match[1].decode("ascii")
            del self._typed[: match.end()]
            answer = self._answer(name)
            if answer is not None:
                emissions.append(self._spoiled(at_s + _ANSWER_S, *answer))
        del self._typed[:-_LONGEST_COMMAND]
        return emissions

    def _answer(self, name: str) -> tuple[bytes, _Says] | None:
        setup = self._setup
        match name:
            case "GETVER":
                return self._version()
            case "GETSERIAL":
                return bytes.fromhex(setup.serial), {}
            case "GETCPS":
                count = self._first(self._seconds[-1] if self._seconds else 0)
                shown = count if count < full_cps(self._width) else None
                return encode_cps(count, self._width), {"gamma_counts": shown}
            case "GETCPM":
                count = self._first(self._minute())
                shown = count if count < full_cpm(self._width) else None
                return encode_cpm(count, self._width), {"gamma_count_rate.cpm": shown}
            case "GETVOLT" if data := encode_volts(setup.volts, self._model.volts):
                return data, {"battery": round(setup.volts, 1)}
            case "GETCFG" if self._model.config_bytes:
                return encode_configuration(
                    self._model, self._points(), estimate=setup.estimate_s
                ), {}
            case "HEARTBEAT0" | "HEARTBEAT1":
                self._beats = name.endswith("1") or not setup.obeys_heartbeat_off
        return None

    def _version(self) -> tuple[bytes, _Says] | None:
        if self._silent_versions > 0:
            self._silent_versions -= 1
            return None
        setup = self._setup
        return encode_version(setup.model, setup.firmware, blank=setup.model != "GMC-800"), {}

    def _first(self, count: int) -> int:
        """The wrong value after power-on, once."""
        if self._first_value >= 0:
            count, self._first_value = self._first_value, -1
        return count

    def _minute(self) -> int:
        recent = list(self._seconds)[-self._setup.estimate_s :]
        return sum(recent) * _MINUTE // self._setup.estimate_s

    def _points(self) -> tuple[tuple[int, float], ...]:
        """As many points as the model stores, all on one straight line."""
        if self._model.points is None:
            return ()
        counts = [100 * 2**step for step in range(len(self._model.points.counts_at))]
        return tuple((count, count * self._setup.usv_h_per_cpm) for count in counts)

    def _spoiled(self, at_s: float, data: bytes, says: _Says) -> Emission:
        self._answers += 1
        setup = self._setup
        if setup.short_every and self._answers % setup.short_every == 0:
            return Emission(at_s, data[:-1])
        if setup.stray_every and self._answers % setup.stray_every == 0:
            return Emission(at_s, b"\x00" + data)
        return Emission(at_s, data, says)


def create(settings: Settings, rng: random.Random, start: datetime | None = None) -> Gmc:
    """A GMC with the settings of ``Setup``, whose defaults hold for what is not named."""
    defaults = Setup()
    values = {name: type(getattr(defaults, name))(value) for name, value in settings.items()}
    return Gmc(Setup(**values))
