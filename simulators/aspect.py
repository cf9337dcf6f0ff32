"""A simulated Aspect portal monitor behind Modbus TCP.

Addresses, types and bits are those of the register map, so encoder and decoder share one table.
Assumed here, because no source tells: the measuring interval (``interval_s``), the unit of the
elapsed time (ms), that an alarm is decided on one interval against the mean background by
``n_sigma`` standard deviations of it, that the neutron alarm needs ``neutron_alarm_counts``, and
that the background is a moving mean over ``background_s`` learned while the lane is empty.
"""

import random
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Final

from drivers.codec.words import Number, encode_items
from drivers.registers import load
from simulators.api import Field

MAP: Final = "aspect-rpm-modbus-tcp"
READ_HOLDING: Final = 3
ILLEGAL_FUNCTION: Final = 1
ILLEGAL_ADDRESS: Final = 2
# Bits as in the register map.
OCCUPIED: Final = 1 << 0
DIRECTION_01: Final = 1 << 6
ALARM_1: Final = 1 << 0
READY: Final = 1 << 7
ADAPTATION: Final = 1 << 6
ALARM_OUTPUT: Final = 1 << 0

Setting = bool | int | float | str
Says = Mapping[str, float | int | str | None]


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be set on the simulated portal."""

    signature: int = 0
    interval_s: float = 1.0
    background_s: float = 20.0
    n_sigma: float = 5.0
    neutron_alarm_counts: int = 15
    base: int = 100


class AspectPortal:
    """Counts interval by interval, whoever asks."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        plan = load(MAP)
        self._description = plan.block("description")
        self._monitor = plan.block("monitor")
        self._items = {name: plan.items(name) for name in ("description", "monitor")}
        keep = max(1, round(settings.background_s / settings.interval_s))
        self._gamma_background: deque[int] = deque(maxlen=keep)
        self._neutron_background: deque[int] = deque(maxlen=keep)
        self._counted_to_s = -settings.interval_s  # it has been on before play begins
        self._gamma = 0
        self._neutron = 0
        self._ready = False
        self._occupied = False
        self._passages = 0
        self._speed_m_s = 0.0

    def read(
        self, at_s: float, function: int, address: int, count: int, field: Field
    ) -> tuple[Sequence[int], Says] | int:
        """Registers of either block, whole or in part, or a Modbus exception code."""
        if function != READ_HOLDING:
            return ILLEGAL_FUNCTION
        if address + count <= self._description.count:
            return self._describe()[address : address + count], {}
        offset = address - self._settings.base
        if offset < 0 or offset + count > self._monitor.count:
            return ILLEGAL_ADDRESS
        self._measure(at_s, field)
        numbers = self._numbers(at_s)
        registers = encode_items(self._items["monitor"], numbers, self._monitor.count)
        return registers[offset : offset + count], self._says(numbers)

    def _describe(self) -> tuple[int, ...]:
        block = list(
            encode_items(
                self._items["description"],
                {"signature": self._settings.signature, "registers": self._monitor.count},
                self._description.count,
            )
        )
        where = self._monitor.base_from
        if where is not None:
            block[where.base], block[where.length] = self._settings.base, self._monitor.count
        return tuple(block)

    def _measure(self, at_s: float, field: Field) -> None:
        """Finishes the intervals that have ended, and looks at the lane."""
        interval_s = self._settings.interval_s
        while self._counted_to_s + interval_s <= at_s:
            start_s, end_s = self._counted_to_s, self._counted_to_s + interval_s
            self._gamma = field.gamma_counts(start_s, end_s)
            self._neutron = field.neutron_counts(start_s, end_s)
            self._counted_to_s = end_s
            self._ready = True
            if not field.occupied(start_s) and not field.occupied(end_s):
                self._gamma_background.append(self._gamma)
                self._neutron_background.append(self._neutron)
        occupied = field.occupied(at_s)
        if occupied and not self._occupied:
            self._passages = (self._passages + 1) & 0xFFFF
        self._occupied = occupied
        self._speed_m_s = (field.speed_m_s(at_s) or 0.0) if occupied else self._speed_m_s

    def _numbers(self, at_s: float) -> dict[str, Number]:
        gamma_mean = _mean(self._gamma_background)
        neutron_mean = _mean(self._neutron_background)
        gamma_alarm = self._occupied and self._exceeds(self._gamma, gamma_mean)
        neutron_alarm = self._occupied and self._neutron >= self._settings.neutron_alarm_counts
        ready = READY * self._ready
        learning = len(self._gamma_background) < (self._gamma_background.maxlen or 1)
        return {
            "elapsed": int(at_s * 1000) & 0xFFFFFFFF,
            "inputs": (OCCUPIED | DIRECTION_01) * self._occupied,
            "gamma_status": ready | ALARM_1 * gamma_alarm,
            "gamma_counts": self._gamma,
            "gamma_background": gamma_mean,
            "neutron_status": ready | ALARM_1 * neutron_alarm,
            "neutron_counts": self._neutron,
            "neutron_background": neutron_mean,
            "object_counter": self._passages,
            "speed": round(self._speed_m_s * 1000) & 0xFFFF,
            "outputs": ALARM_OUTPUT * (gamma_alarm or neutron_alarm) | ADAPTATION * learning,
        }

    def _exceeds(self, counts: int, mean: float) -> bool:
        return mean > 0 and counts > mean + self._settings.n_sigma * mean**0.5

    def _says(self, numbers: Mapping[str, Number]) -> Says:
        return {
            "gamma_counts": numbers["gamma_counts"] if self._ready else None,
            "neutron_counts": numbers["neutron_counts"] if self._ready else None,
            "device_alarm.gamma": int(numbers["gamma_status"]) & ALARM_1,
            "device_alarm.neutron": int(numbers["neutron_status"]) & ALARM_1,
        }


def _mean(counts: Sequence[int]) -> float:
    return sum(counts) / len(counts) if counts else 0.0


def create(
    settings: Mapping[str, Setting], rng: random.Random, start: datetime | None = None
) -> AspectPortal:
    """A portal; keys are the fields of Settings. Raises ValueError for others."""
    defaults = {each.name: each.default for each in fields(Settings)}
    if unknown := sorted(settings.keys() - defaults.keys()):
        raise ValueError(f"an Aspect portal has no setting {', '.join(unknown)}")
    return AspectPortal(Settings(**settings))  # type: ignore[arg-type]
