"""Instruments that are only a table of registers: one driver, read from a map.

``drivers/maps/<name>.toml`` says what stands where and where that was read; the grammar is that of
``drivers.register_map``. The name of a map with underscores is its DriverInfo in this module, such
as ``aspect_rpm_modbus_tcp``. Each map states its own source and how well it is verified.

- A short or long answer is a DecodeError. One block that fails costs the others nothing.
- A block of zeros that has a bit for "valid" is no statement: its numbers have no value and are
  flagged, its states are not told, and the lane stays as it was.
- Polled counts may repeat or skip: they are never independent.
- Base address from a register: used where it lies behind the block that names it and is long
  enough, until the instrument refuses it; else the documented one.
"""

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from importlib.resources import files
from math import isfinite
from typing import Final

from drivers.api import (
    Channel,
    DriverInfo,
    Flag,
    Identity,
    Options,
    Output,
    ReadBlock,
    Reading,
    Sample,
)
from drivers.codec.occupancy import CounterLane, Look, Peak
from drivers.codec.words import Number, Words, encode_items
from drivers.errors import DecodeError, Refused, Reject
from drivers.register_map import ADDRESSES, MAX_COUNT, parse_map
from drivers.register_table import (
    Activity,
    Block,
    Field,
    Form,
    Identifier,
    Kind,
    Mask,
    Meaning,
    PassageRule,
    Published,
    RegisterMap,
)
from drivers.register_table import Reading as When

WORD_MAX: Final = 0xFFFF
_CHANNEL: Final = {
    Kind.ALARM: Channel.DEVICE_ALARM,
    Kind.FAULT: Channel.DEVICE_FAULT,
    Kind.TAMPER: Channel.TAMPER,
}
_Masks = tuple[tuple[int, int], ...]
_States = Mapping[tuple[Kind, str], bool]
KNOWN_MARKS: Final = 256
"""So many combinations of status words are kept for each block: an instrument has few."""


@dataclass(frozen=True, slots=True)
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


class BlockDecoder:
    """The part of a map that stands in one block; masks are (offset, bits)."""

    def __init__(self, plan: RegisterMap, block: Block) -> None:
        self.block = block
        fields = [field for field in plan.fields if field.block == block.name]
        self._words = Words([field.item for field in fields])
        self._names = [field.name for field in fields]
        self._told = [(each, each.published) for each in fields if each.published is not None]
        words = [word for word in plan.bits if word.block == block.name]
        self._at = {word.name: word.item.offset for word in words}
        self._states: dict[tuple[Kind, str], _Masks] = {}
        self._flags: dict[Flag, _Masks] = {}
        self._occupied: _Masks = ()
        for word in words:
            for number, meaning in word.meanings:
                self._learn((word.item.offset, 1 << number), meaning)
        self._says_valid = any(how.valid_while for _, how in self._told)
        self._active_while = plan.pace.active_while
        self._offsets = tuple(sorted({word.item.offset for word in words}))
        self._known: dict[tuple[int, ...], _Marks] = {}
        rule = plan.passage
        self._passage = rule if rule is not None and rule.counter in self._names else None

    def decode(self, words: Sequence[int]) -> Told:
        """The block's values. Raises DecodeError if it is not whole."""
        check_whole(self.block, words)
        if self._says_valid and not any(words):
            lost = (how for _, how in self._told if not how.only_occupied)
            return Told(tuple(_reading(how, None, (Flag.INSTRUMENT_FAULT,)) for how in lost))
        numbers = dict(zip(self._names, self._words.decode(words), strict=True))
        marks = self._marks(words)
        readings = {
            field.name: self._number(field, how, numbers[field.name], words)
            for field, how in self._told
        }
        now = [
            readings[field.name]
            for field, how in self._told
            if marks.occupied or not how.only_occupied
        ]
        return Told(
            (*now, *marks.readings),
            marks.flags,
            marks.occupied,
            marks.active,
            None
            if self._passage is None
            else self._look(self._passage, marks, words, numbers, readings),
        )

    def _marks(self, words: Sequence[int]) -> "_Marks":
        """What the bits say; the same words say the same again and again."""
        seen = tuple([words[offset] for offset in self._offsets])
        marks = self._known.get(seen)
        if marks is None:
            if len(self._known) >= KNOWN_MARKS:
                self._known.clear()
            marks = self._known[seen] = self._read(words)
        return marks

    def _read(self, words: Sequence[int]) -> "_Marks":
        states = {key: _is_any(words, masks) for key, masks in self._states.items()}
        occupied = _is_any(words, self._occupied) if self._occupied else None
        return _Marks(
            states,
            tuple(_state_reading(*key, is_set) for key, is_set in states.items()),
            tuple(flag for flag, masks in self._flags.items() if _is_any(words, masks)),
            occupied,
            self._is_active(bool(occupied), states),
        )

    def _learn(self, mask: tuple[int, int], meaning: Meaning) -> None:
        if meaning.kind is Kind.OCCUPIED:
            self._occupied += (mask,)
        elif meaning.flag is not None:
            self._flags[meaning.flag] = (*self._flags.get(meaning.flag, ()), mask)
        else:
            key = (meaning.kind, meaning.part)
            self._states[key] = (*self._states.get(key, ()), mask)

    def _number(
        self, field: Field, how: Published, number: Number, words: Sequence[int]
    ) -> Reading:
        flags: tuple[Flag, ...] = ()
        if not isfinite(number) or not self._holds(how.valid_while, words, missing=True):
            flags = (Flag.INSTRUMENT_FAULT,)
        if self._holds(how.over_range_while, words, missing=False):
            flags += (Flag.OVER_RANGE,)
        value: Number | None = None
        if not flags and number not in field.invalid:
            value = number if how.scale is None else _scaled(number, how.scale)
        return _reading(how, value, flags, f"{number} {how.wire_unit}".rstrip())

    def _holds(self, mask: Mask | None, words: Sequence[int], *, missing: bool) -> bool:
        """Whether all bits of the mask are set; ``missing`` without a mask."""
        if mask is None:
            return missing
        return words[self._at[mask.word]] & mask.bits == mask.bits

    def _is_active(self, occupied: bool, states: _States) -> bool:
        alarmed = any(is_set for (kind, _), is_set in states.items() if kind is Kind.ALARM)
        return (occupied and Activity.OCCUPIED in self._active_while) or (
            alarmed and Activity.ALARM in self._active_while
        )

    def _look(
        self,
        rule: PassageRule,
        marks: "_Marks",
        words: Sequence[int],
        numbers: Mapping[str, Number],
        readings: Mapping[str, Reading],
    ) -> Look:
        return Look(
            counter=int(numbers[rule.counter]),
            occupied=bool(marks.occupied),
            gamma_alarm=marks.is_set(rule.gamma_alarm),
            neutron_alarm=marks.is_set(rule.neutron_alarm),
            gamma=_peak(readings[rule.gamma_max]),
            neutron=_peak(readings[rule.neutron_max]),
            speed_m_s=None if rule.speed is None else readings[rule.speed].value,
            direction_unknown=self._holds(rule.direction_unknown, words, missing=False),
            uptime=None if rule.restart is None else int(numbers[rule.restart]),
        )


class RegisterDriver:
    """One instrument: knows its base addresses and the occupancy that is going on."""

    def __init__(self, plan: RegisterMap) -> None:
        self._plan = plan
        self._decoders = _decoders(plan)
        self._bases: dict[str, int] = {}
        self._active = False
        self._lane = None if plan.passage is None else _lane(plan.passage)

    @property
    def poll_s(self) -> float:
        """The active period while alarmed or occupied, as the map says, or inside a passage."""
        busy = self._active or (self._lane is not None and self._lane.is_open)
        return self._plan.pace.active_s if busy else self._plan.pace.idle_s

    def identify(self) -> Generator[ReadBlock, tuple[int, ...], Identity]:
        """Base addresses and settings; a refused description leaves the documented addresses."""
        self._bases.clear()
        if self._lane is not None:
            self._lane.interrupted()
        told: dict[str, str] = {}
        for block in self._plan.blocks:
            if block.read is not When.ONCE:
                continue
            try:
                words = yield ReadBlock(block.function, block.address, block.count)
            except Refused:
                continue
            check_whole(block, words)
            if any(words):
                told.update(self._identifiers(block, words))
                self._find_bases(block, words)
        model, serial, firmware = (told.pop(name, None) for name in ("model", "serial", "firmware"))
        return Identity(model, serial, firmware, settings=tuple(told.items()))

    def poll(self) -> Generator[ReadBlock, tuple[int, ...], Iterable[Output]]:
        """One sample of all blocks, then the passages that are over."""
        told: list[Told] = []
        errors: list[Output] = []
        for decoder in self._decoders:
            block = decoder.block
            base = self._bases.get(block.name, block.address)
            try:
                words = yield ReadBlock(block.function, base, block.count)
            except Refused:
                self._bases.pop(block.name, None)
                raise
            try:
                told.append(decoder.decode(words))
            except DecodeError as error:
                errors.append(error)
        return errors + self._outputs(told)

    def _outputs(self, told: Sequence[Told]) -> list[Output]:
        if not told:
            return []
        whole = told[0] if len(told) == 1 else _joined(told)
        self._active = whole.active
        outputs: list[Output] = [Sample(whole.readings, flags=whole.flags, occupied=whole.occupied)]
        for each in told:
            if each.look is not None and self._lane is not None:
                outputs += self._lane.step(each.look)
        return outputs

    def _identifiers(self, block: Block, words: Sequence[int]) -> dict[str, str]:
        found = [each for each in self._plan.identifiers if each.block == block.name]
        numbers = Words([each.item for each in found]).decode(words)
        return {each.name: _text(each, n) for each, n in zip(found, numbers, strict=True)}

    def _find_bases(self, said_by: Block, words: Sequence[int]) -> None:
        for block in self._plan.blocks:
            rule = block.base_from
            if rule is None or rule.block != said_by.name:
                continue
            base, length = words[rule.base], words[rule.length]
            is_behind = said_by.address + said_by.count <= base <= ADDRESSES - block.count
            if length >= rule.min_length and is_behind:
                self._bases[block.name] = base


@cache
def _decoders(plan: RegisterMap) -> tuple[BlockDecoder, ...]:
    """One of each block read in a cycle, for all instruments of a map."""
    return tuple(BlockDecoder(plan, block) for block in plan.blocks if block.read is When.CYCLE)


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


def encode(plan: RegisterMap, block: str, numbers: Mapping[str, Number]) -> tuple[int, ...]:
    """A block's registers from numbers by name, words of bits among them; the rest is zero."""
    return encode_items(plan.items(block), numbers, plan.block(block).count)


def _joined(told: Sequence[Told]) -> Told:
    """What several blocks of one cycle say."""
    states = [each.occupied for each in told if each.occupied is not None]
    return Told(
        tuple(reading for each in told for reading in each.readings),
        tuple(flag for each in told for flag in each.flags),
        any(states) if states else None,
        any(each.active for each in told),
    )


def _lane(rule: PassageRule) -> CounterLane:
    return CounterLane(rule.gamma_basis, rule.neutron_basis)


def _is_any(words: Sequence[int], masks: _Masks) -> bool:
    for offset, bits in masks:
        if words[offset] & bits:
            return True
    return False


def _text(identifier: Identifier, number: Number) -> str:
    if identifier.form is Form.HEX:
        return f"0x{int(number):0{4 * identifier.item.type.words}X}"
    return str(number)


def _reading(
    how: Published, value: Number | None, flags: tuple[Flag, ...], raw: str = ""
) -> Reading:
    return Reading(
        how.channel,
        value,
        how.unit,
        how.quantity,
        flags,
        window_s=how.window_s,
        raw=raw,
        part=how.part,
    )


def _scaled(number: Number, scale: Fraction) -> float:
    """The product, rounded once where the number is whole."""
    if isinstance(number, int):
        return number * scale.numerator / scale.denominator
    return float(number * scale)


@cache
def _state_reading(kind: Kind, part: str, is_set: bool) -> Reading:
    return Reading(_CHANNEL[kind], int(is_set), "1", part=part)


def _peak(reading: Reading) -> Peak:
    return Peak(reading.value, Flag.OVER_RANGE in reading.flags)


@cache
def load(name: str) -> RegisterMap:
    """The map of that name. Raises FileNotFoundError or MapError."""
    file = f"{name}.toml"
    return parse_map(file, (files("drivers") / "maps" / file).read_text("utf-8"))


def driver_info(plan: RegisterMap) -> DriverInfo:
    """The instrument table's line for a map."""

    def create(_options: Options) -> RegisterDriver:
        return RegisterDriver(plan)

    told = [field.published.channel for field in plan.fields if field.published is not None]
    kinds = [meaning.kind for word in plan.bits for _, meaning in word.meanings]
    told += [channel for kind, channel in _CHANNEL.items() if kind in kinds]
    return DriverInfo(
        name=plan.name,
        title=plan.title,
        contract="registers",
        classes=plan.classes,
        links=plan.links,
        channels=tuple(dict.fromkeys(told)),
        source=plan.source,
        verified=plan.verified,
        silence_s=plan.silence_s,
        create=create,
        poll_s=plan.pace.idle_s,
        tcp_port=plan.tcp_port,
    )


def __getattr__(name: str) -> DriverInfo:
    if not name.startswith("_"):
        try:
            return driver_info(load(name.replace("_", "-")))
        except FileNotFoundError:
            pass
    raise AttributeError(f"module {__name__!r} has no attribute or map {name!r}")
