"""One block of registers: what its numbers and bits say, worked out once for all instruments.

The grammar is that of ``drivers.register_map``; ``drivers.registers`` reads the blocks.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import compress
from math import isfinite
from typing import Final

from drivers.api import Channel, Flag, Reading
from drivers.codec.occupancy import Look, Peak
from drivers.codec.words import Number, Words
from drivers.errors import DecodeError, Reject
from drivers.quick import quick
from drivers.register_map import MAX_COUNT
from drivers.register_table import (
    Activity,
    Block,
    Field,
    Kind,
    Mask,
    Meaning,
    PassageRule,
    Published,
    RegisterMap,
)

WORD_MAX: Final = 0xFFFF
STATE_CHANNELS: Final = {
    Kind.ALARM: Channel.DEVICE_ALARM,
    Kind.FAULT: Channel.DEVICE_FAULT,
    Kind.TAMPER: Channel.TAMPER,
}
_Bits = tuple[int, int]
"""Offset of a word, and bits in it."""
_States = Mapping[tuple[Kind, str], bool]
_FAULT: Final = (Flag.INSTRUMENT_FAULT,)
KNOWN_MARKS: Final = 256
"""So many combinations of status words are kept for each block: an instrument has few."""


@quick(frozen=True, slots=True)
class Told:
    """What one block says; ``look`` is for the lane, if the block has its counter."""

    readings: tuple[Reading, ...]
    flags: tuple[Flag, ...] = ()
    occupied: bool | None = None
    active: bool = False
    look: Look | None = None


@dataclass(frozen=True, slots=True)
class _Marks:
    """What the bits of one block say."""

    states: _States
    readings: tuple[Reading, ...]
    flags: tuple[Flag, ...]
    occupied: bool | None
    active: bool

    def is_set(self, parts: Iterable[str]) -> bool:
        """Whether one of these alarms is."""
        for part in parts:
            if self.states[Kind.ALARM, part]:
                return True
        return False


class _Gauge:
    """One published number: where it stands among the block's numbers, and what it means."""

    def __init__(self, field: Field, how: Published, index: int, at: Mapping[str, int]) -> None:
        self.index = index
        self.how = how
        self._invalid = field.invalid
        self._valid = _bits(how.valid_while, at)
        self._over_range = _bits(how.over_range_while, at)
        self._unit = f" {how.wire_unit}".rstrip()

    def reading(self, number: Number, words: Sequence[int]) -> Reading:
        """The number as a reading; without a value where the block says it is none."""
        flags: tuple[Flag, ...] = ()
        if not isfinite(number) or not _holds(self._valid, words, missing=True):
            flags = _FAULT
        if _holds(self._over_range, words, missing=False):
            flags += (Flag.OVER_RANGE,)
        value: Number | None = None
        if not flags and number not in self._invalid:
            scale = self.how.scale
            value = number if scale is None else _scaled(number, scale)
        return _reading(self.how, value, flags, f"{number}{self._unit}")


class _Passing:
    """What the numbers and bits of a block say of the lane."""

    def __init__(
        self,
        rule: PassageRule,
        names: Sequence[str],
        gauges: Sequence[_Gauge],
        at: Mapping[str, int],
    ) -> None:
        self._rule = rule
        self._counter = names.index(rule.counter)
        self._uptime = None if rule.restart is None else names.index(rule.restart)
        places = {names[gauge.index]: place for place, gauge in enumerate(gauges)}
        self._gamma, self._neutron = places[rule.gamma_max], places[rule.neutron_max]
        self._speed = None if rule.speed is None else places[rule.speed]
        self._unknown = _bits(rule.direction_unknown, at)

    def look(
        self,
        marks: _Marks,
        words: Sequence[int],
        numbers: Sequence[Number],
        readings: Sequence[Reading],
    ) -> Look:
        """The lane at this moment."""
        rule = self._rule
        return Look(
            counter=int(numbers[self._counter]),
            occupied=bool(marks.occupied),
            gamma_alarm=marks.is_set(rule.gamma_alarm),
            neutron_alarm=marks.is_set(rule.neutron_alarm),
            gamma=_peak(readings[self._gamma]),
            neutron=_peak(readings[self._neutron]),
            speed_m_s=None if self._speed is None else readings[self._speed].value,
            direction_unknown=_holds(self._unknown, words, missing=False),
            uptime=None if self._uptime is None else int(numbers[self._uptime]),
        )


class BlockDecoder:
    """The part of a map that stands in one block."""

    def __init__(self, plan: RegisterMap, block: Block) -> None:
        self.block = block
        fields = [field for field in plan.fields if field.block == block.name]
        names = [field.name for field in fields]
        words = [word for word in plan.bits if word.block == block.name]
        at = {word.name: word.item.offset for word in words}
        self._words = Words([field.item for field in fields])
        self._gauges = [
            _Gauge(field, field.published, index, at)
            for index, field in enumerate(fields)
            if field.published is not None
        ]
        self._when_vacant = [not gauge.how.only_occupied for gauge in self._gauges]
        self._says_valid = any(gauge.how.valid_while for gauge in self._gauges)
        self._states: dict[tuple[Kind, str], list[_Bits]] = {}
        self._flags: dict[Flag, list[_Bits]] = {}
        self._occupied: list[_Bits] = []
        for word in words:
            for number, meaning in word.meanings:
                self._learn((word.item.offset, 1 << number), meaning)
        self._active_while = plan.pace.active_while
        self._offsets = tuple(sorted(set(at.values())))
        self._known: dict[tuple[int, ...], _Marks] = {}
        rule = plan.passage
        has_counter = rule is not None and rule.counter in names
        self._passing = _Passing(rule, names, self._gauges, at) if rule and has_counter else None

    def decode(self, words: Sequence[int]) -> Told:
        """The block's values. Raises DecodeError if it is not whole."""
        check_whole(self.block, words)
        if self._says_valid and not any(words):
            return Told(tuple(self._lost()))
        numbers = self._words.decode(words)
        marks = self._marks(words)
        readings = [gauge.reading(numbers[gauge.index], words) for gauge in self._gauges]
        passing = self._passing
        look = None if passing is None else passing.look(marks, words, numbers, readings)
        now = readings if marks.occupied else compress(readings, self._when_vacant)
        return Told((*now, *marks.readings), marks.flags, marks.occupied, marks.active, look)

    def _lost(self) -> Iterator[Reading]:
        """Its readings where it says nothing."""
        for gauge in self._gauges:
            if not gauge.how.only_occupied:
                yield _reading(gauge.how, None, _FAULT)

    def _marks(self, words: Sequence[int]) -> _Marks:
        """What the bits say; the same words say the same again and again."""
        seen = tuple([words[offset] for offset in self._offsets])
        marks = self._known.get(seen)
        if marks is None:
            if len(self._known) >= KNOWN_MARKS:
                self._known.clear()
            marks = self._known[seen] = self._read(words)
        return marks

    def _read(self, words: Sequence[int]) -> _Marks:
        states = {key: _is_any(words, masks) for key, masks in self._states.items()}
        occupied = _is_any(words, self._occupied) if self._occupied else None
        return _Marks(
            states,
            tuple(_state_reading(*key, is_set) for key, is_set in states.items()),
            tuple(flag for flag, masks in self._flags.items() if _is_any(words, masks)),
            occupied,
            self._is_active(bool(occupied), states),
        )

    def _learn(self, mask: _Bits, meaning: Meaning) -> None:
        if meaning.kind is Kind.OCCUPIED:
            self._occupied.append(mask)
        elif meaning.flag is not None:
            self._flags.setdefault(meaning.flag, []).append(mask)
        else:
            self._states.setdefault((meaning.kind, meaning.part), []).append(mask)

    def _is_active(self, occupied: bool, states: _States) -> bool:
        alarmed = any(is_set for (kind, _), is_set in states.items() if kind is Kind.ALARM)
        return (occupied and Activity.OCCUPIED in self._active_while) or (
            alarmed and Activity.ALARM in self._active_while
        )


def check_whole(block: Block, words: Sequence[int]) -> None:
    """Raises DecodeError unless these are the registers of the block."""
    if len(words) != block.count:
        reason = Reject.TRUNCATED if len(words) < block.count else Reject.CONTENT
        detail = f"{len(words)} registers of block {block.name}, {block.count} expected"
    elif min(words) < 0 or max(words) > WORD_MAX:
        reason, detail = Reject.CONTENT, f"block {block.name} holds what is no register"
    else:
        return
    raw = b"".join((word & WORD_MAX).to_bytes(2) for word in words[:MAX_COUNT])
    raise DecodeError(reason, raw, detail)


def _bits(mask: Mask | None, at: Mapping[str, int]) -> _Bits | None:
    return None if mask is None else (at[mask.word], mask.bits)


def _holds(bits: _Bits | None, words: Sequence[int], *, missing: bool) -> bool:
    """Whether all these bits are set; ``missing`` where the map names none."""
    return missing if bits is None else words[bits[0]] & bits[1] == bits[1]


def _is_any(words: Sequence[int], masks: Iterable[_Bits]) -> bool:
    return any(words[offset] & bits for offset, bits in masks)


def _reading(
    how: Published, value: Number | None, flags: tuple[Flag, ...], raw: str = ""
) -> Reading:
    return Reading(
        how.channel, value, how.unit, how.quantity, flags, None, how.window_s, raw, how.part
    )


def _scaled(number: Number, scale: Fraction) -> float:
    """The product, rounded once where the number is whole."""
    if isinstance(number, int):
        return number * scale.numerator / scale.denominator
    return float(number * scale)


@cache
def _state_reading(kind: Kind, part: str, is_set: bool) -> Reading:
    return Reading(STATE_CHANNELS[kind], int(is_set), "1", part=part)


def _peak(reading: Reading) -> Peak:
    return Peak(reading.value, Flag.OVER_RANGE in reading.flags)
