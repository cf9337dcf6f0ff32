"""A simulated Aspect portal monitor behind Modbus TCP.

Blocks, types and bits as in osh-oakridge-modules, sensorhub-driver-aspect
(DeviceDescriptionRegisters.java, MonitorRegisters.java, ChannelStatus.java, Inputs.java,
Outputs.java); its registers are made by ``drivers.registers.encode``.

Assumed, because nothing documents it:

- counts belong to intervals of ``interval_s`` and stand until the next one ends; so do alarms
- Ready is set with the first complete interval; the adaptation bit for ``learning_s``
- backgrounds are the mean of the vacant intervals of the last ``background_s``, in counts per
  interval; the variances are the same figure, as for Poisson counts
- Alarm1 where, while occupied, (count - background) / sqrt(background, at least 1) is ``n_sigma``
  or more; it stays until the occupancy is over
- the counter rises when the beam is cut; Occup0 stays until a whole interval has been vacant
- elapsed time in ms since it was switched on, 32 bits; speed and direction are told from the start
  of an occupancy on; a new start keeps neither counter nor background
- a state "fault" is the input bit error, "over_range" the overload bit of the gamma channel

What nobody explains is sent as set, and 0: signature, identifier, object mark, Alarm2 and N0 to N7
(``gamma_bits``, ``neutron_bits``), more input and output bits.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Final

from drivers.codec.words import Number
from drivers.registers import encode, load
from simulators.api import Field
from simulators.aspect_channel import Counting, Limits
from simulators.instrument_settings import Settings as Given
from simulators.instrument_settings import filled
from simulators.power_watch import Powered, PowerWatch

Says = dict[str, float | int | str | None]

NAME: Final = "aspect-rpm-modbus-tcp"
FUNCTION: Final = 3
ILLEGAL_FUNCTION: Final = 1
ILLEGAL_ADDRESS: Final = 2
ILLEGAL_VALUE: Final = 3
"""Exception codes: Modbus Application Protocol V1.1b3, section 7."""
MOST_REGISTERS: Final = 125
_TICK_S: Final = 0.05
_U16: Final = 0x10000
_U32: Final = 0x100000000

# Bits of Inputs.java and Outputs.java.
OCCUP0: Final = 0x0001
DIRECTIONS: Final = {"none": 0x0000, "01": 0x0040, "10": 0x0080, "unknown": 0x00C0}
POWER_FAIL: Final = 0x0100
LOW_BATTERY: Final = 0x0200
OPEN: Final = 0x0400
ERROR: Final = 0x0800
ALARM_OUT: Final = 0x0001
ADAPTATION: Final = 0x0040


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be set. Times in s, limits in counts per interval; a negative one is never.

    ``base`` and ``length`` are what the description says of the monitor block, which stands at
    ``base``. ``inputs``, ``outputs``, ``gamma_bits`` and ``neutron_bits`` are bits that are set all
    the time (input power fail 0x0100 ...). ``beams`` are the Occup bits of a cut beam. ``uptime_s``
    has passed before play begins, and its time runs ``clock_ppm`` millionths too fast. One that is
    ``warm`` has counted before play begins, so it is ready at once.
    """

    signature: int = 0
    identifier: int = 0
    base: int = 100
    length: int = 21
    interval_s: float = 1.0
    learning_s: float = 10.0
    background_s: float = 20.0
    n_sigma: float = 5.0
    gamma_low: float = -1.0
    gamma_high: float = -1.0
    gamma_overload: int = -1
    neutron_high: float = -1.0
    neutron_overload: int = -1
    direction: str = "01"
    first_counter: int = 0
    inputs: int = 0
    outputs: int = 0
    gamma_bits: int = 0
    neutron_bits: int = 0
    beams: int = OCCUP0
    mark: int = 0
    uptime_s: float = 0.0
    clock_ppm: float = 0.0
    tamper_from_s: float = -1.0
    tamper_to_s: float = -1.0
    warm: bool = False


@dataclass(slots=True)
class _Passage:
    """An occupancy as a reader who polled it must tell it."""

    number: int
    gamma_alarm: bool = False
    neutron_alarm: bool = False
    gamma_max: float | None = None
    neutron_max: float | None = None

    def served(self, gamma: Counting, neutron: Counting) -> None:
        """The registers were read while it lasted."""
        self.gamma_alarm |= gamma.is_alarming or gamma.is_overloaded
        self.neutron_alarm |= neutron.is_alarming or neutron.is_overloaded
        self.gamma_max = _larger(self.gamma_max, gamma)
        self.neutron_max = _larger(self.neutron_max, neutron)

    def says(self) -> Says:
        """What it says when it is over."""
        return {
            "passage.number": self.number,
            "passage.gamma_alarm": self.gamma_alarm,
            "passage.neutron_alarm": self.neutron_alarm,
            "passage.gamma_max": _finite(self.gamma_max),
            "passage.neutron_max": _finite(self.neutron_max),
        }


class AspectPortal:
    """One portal. Time passes for it when it is read; its counts are part 0 of the field."""

    states: ClassVar[frozenset[str]] = frozenset(
        {"tamper", "battery_low", "fault", "over_range", "dead_channel"}
    )

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._plan = load(NAME)
        self._tick = 0
        self._on: set[str] = set()
        self._power = PowerWatch()
        self._begins_s = 0.0
        self._uptime_s = settings.uptime_s
        self._begin(settings.first_counter)

    def _begin(self, counter: int) -> None:
        """It is switched on."""
        settings = self._settings
        self._intervals = 0
        self._gamma = Counting(
            Limits(settings.gamma_low, settings.gamma_high, settings.gamma_overload),
            self._kept(),
            settings.n_sigma,
            settings.gamma_bits,
        )
        self._neutron = Counting(
            Limits(-1, settings.neutron_high, settings.neutron_overload),
            self._kept(),
            settings.n_sigma,
            settings.neutron_bits,
        )
        self._counter = counter
        self._occupied = False
        self._touched = False
        self._speed_mm_s = 0
        self._read_counter: int | None = None
        self._passage: _Passage | None = None

    def _kept(self) -> int:
        """Vacant intervals that a background is made of."""
        return max(1, round(self._settings.background_s / self._settings.interval_s))

    def set_state(self, name: str, *, on: bool) -> None:
        """One of ``states``."""
        (self._on.add if on else self._on.discard)(name)

    def read(
        self, at_s: float, function: int, address: int, count: int, field: Field
    ) -> tuple[Sequence[int], Says] | int:
        """Registers of one of the two blocks, and what they say if it is all of the monitor's."""
        if function != FUNCTION:
            return ILLEGAL_FUNCTION
        if not 1 <= count <= MOST_REGISTERS:
            return ILLEGAL_VALUE
        self._advance(at_s, field)
        description, base = self._description(), self._settings.base
        if address + count <= len(description):
            # Who connects anew reads this block, and then waits for the next change of the counter.
            self._read_counter = None
            return description[address : address + count], {}
        monitor = self._monitor(at_s)
        if address < base or address + count > base + len(monitor):
            return ILLEGAL_ADDRESS
        says = self._says(at_s) if count == len(monitor) else {}
        return monitor[address - base : address - base + count], says

    def _advance(self, to_s: float, field: Field) -> None:
        if self._settings.warm and self._gamma.count is None and self._begins_s == 0:
            self._count_before(field)
        self._gamma.forced_overload = "over_range" in self._on
        while (self._tick + 1) * _TICK_S <= to_s:
            self._tick += 1
            now_s = self._tick * _TICK_S
            powered = self._power.look(now_s, field)
            if powered is Powered.FRESH:
                self._begins_s, self._uptime_s = self._power.since_s, 0.0
                self._begin(0)
            if powered is Powered.OFF or now_s <= self._begins_s:
                continue
            cut = field.occupied(now_s)
            self._touched |= cut
            if cut and not self._occupied:
                self._occupied = True
                self._counter = (self._counter + 1) % _U16
                speed_m_s = field.speed_m_s(now_s)
                self._speed_mm_s = min(_U16 - 1, round(1000 * (speed_m_s or 0.0)))
            if now_s >= self._begins_s + (self._intervals + 1) * self._settings.interval_s:
                self._end_interval(field)

    def _count_before(self, field: Field) -> None:
        """The last interval before play begins."""
        start_s = -self._settings.interval_s
        self._gamma.interval(field.gamma_counts(start_s, 0.0), occupied=False, judged=False)
        self._neutron.interval(field.neutron_counts(start_s, 0.0), occupied=False, judged=False)

    def _end_interval(self, field: Field) -> None:
        start_s = self._begins_s + self._intervals * self._settings.interval_s
        self._intervals += 1
        end_s = self._begins_s + self._intervals * self._settings.interval_s
        judged = end_s - self._begins_s > self._settings.learning_s
        is_dead = "dead_channel" in self._on
        for counting, counts in (
            (self._gamma, 0 if is_dead else field.gamma_counts(start_s, end_s)),
            (self._neutron, field.neutron_counts(start_s, end_s)),
        ):
            counting.interval(counts, occupied=self._touched, judged=judged)
        if self._occupied and not self._touched:
            self._occupied = self._gamma.alarm = self._neutron.alarm = False
        self._touched = False

    def _description(self) -> tuple[int, ...]:
        settings = self._settings
        count = self._plan.block("description").count
        numbers = (settings.signature, count, settings.identifier)
        words = (*numbers, settings.base, settings.length)
        return (*words, *(0,) * (count - len(words)))

    def _inputs(self, at_s: float) -> int:
        inputs = self._settings.inputs | (OPEN if self._is_open(at_s) else 0)
        inputs |= LOW_BATTERY if "battery_low" in self._on else 0
        inputs |= ERROR if "fault" in self._on else 0
        if self._occupied:
            inputs |= self._settings.beams | DIRECTIONS[self._settings.direction]
        return inputs

    def _is_open(self, at_s: float) -> bool:
        opened_s, closed_s = self._settings.tamper_from_s, self._settings.tamper_to_s
        if "tamper" in self._on:
            return True
        return 0 <= opened_s <= at_s and not opened_s < closed_s <= at_s

    def _monitor(self, at_s: float) -> tuple[int, ...]:
        gamma, neutron = self._gamma, self._neutron
        alarm = gamma.alarm or neutron.alarm
        learning = at_s - self._begins_s < self._settings.learning_s
        since_s = (at_s - self._begins_s) * (1 + self._settings.clock_ppm * 1e-6)
        numbers: dict[str, Number] = {
            "elapsed": round(1000 * (self._uptime_s + since_s)) % _U32,
            "inputs": self._inputs(at_s),
            "gamma_status": gamma.status(),
            "gamma_counts": gamma.count or 0,
            "gamma_background": gamma.background,
            "gamma_variance": gamma.background,
            "neutron_status": neutron.status(),
            "neutron_counts": neutron.count or 0,
            "neutron_background": neutron.background,
            "neutron_variance": neutron.background,
            "object_counter": self._counter,
            "object_mark": self._settings.mark,
            "speed": self._speed_mm_s,
            "outputs": self._settings.outputs
            | (ALARM_OUT if alarm else 0)
            | (ADAPTATION if learning else 0),
        }
        return encode(self._plan, "monitor", numbers)

    def _says(self, at_s: float) -> Says:
        gamma, neutron = self._gamma, self._neutron
        says: Says = {
            "gamma_counts": gamma.told(),
            "neutron_counts": neutron.told(),
            "device_alarm.gamma": int(gamma.is_alarming),
            "device_alarm.gamma_overload": int(gamma.is_overloaded),
            "device_alarm.neutron": int(neutron.is_alarming),
            "tamper.open": int(bool(self._inputs(at_s) & OPEN)),
            "device_fault.battery_low": int(bool(self._inputs(at_s) & LOW_BATTERY)),
            "device_fault.error": int(bool(self._inputs(at_s) & ERROR)),
        }
        if self._occupied:
            says["speed"] = self._speed_mm_s / 1000 if self._speed_mm_s else None
        return says | self._passage_says()

    def _passage_says(self) -> Says:
        """Follows what this reader has seen of the counter; the first look only notes it."""
        before, self._read_counter = self._read_counter, self._counter
        if before is None:
            self._passage = None
        elif before != self._counter:
            self._passage = _Passage(self._counter)
        if self._passage is None:
            return {}
        if self._occupied:
            self._passage.served(self._gamma, self._neutron)
            return {}
        over, self._passage = self._passage, None
        return over.says()


def create(settings: Given, rng: random.Random, start: datetime | None = None) -> AspectPortal:
    """A portal; keys are the fields of Settings. Raises ValueError for others."""
    made = filled(Settings(), settings, "an Aspect portal")
    if made.direction not in DIRECTIONS:
        raise ValueError(f"direction {made.direction!r} is not one of {', '.join(DIRECTIONS)}")
    if made.interval_s < _TICK_S:
        raise ValueError(f"an interval of {made.interval_s} s is below {_TICK_S} s")
    return AspectPortal(made)


def _larger(before: float | None, counting: Counting) -> float | None:
    """The largest count; an overload is larger than any."""
    now = math.inf if counting.is_overloaded else counting.count
    return before if now is None else max(now, before or 0)


def _finite(count: float | None) -> float | None:
    return None if count == math.inf else count
