"""The driver of every instrument that is only a table of registers (``drivers/maps/*.toml``).

Named behaviours, chosen by the map: a block's base address from a register of another, where that
is plausible, else the documented one; a faster poll while occupied or alarming; passages by
counter change (``drivers.codec.occupancy``).
"""

from collections.abc import Generator, Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
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
from drivers.codec.words import Number, Words, finite
from drivers.errors import DecodeError, Refused, Reject
from drivers.register_map import (
    ADDRESSES,
    Activity,
    BitsWord,
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
    parse_map,
)
from drivers.register_map import Reading as When

WHO: Final = ("model", "serial", "firmware")
_STATES: Final = {
    Kind.ALARM: Channel.DEVICE_ALARM,
    Kind.FAULT: Channel.DEVICE_FAULT,
    Kind.TAMPER: Channel.TAMPER,
}

Numbers = Mapping[str, Number]


class _BlockReader:
    """The items of one block, compiled once."""

    def __init__(self, plan: RegisterMap, block: Block) -> None:
        items = plan.items(block.name)
        self.block = block
        self._names = tuple(items)
        self._words = Words(tuple(items.values()))

    def request(self, base: int) -> ReadBlock:
        """The question for the whole block."""
        return ReadBlock(self.block.function, base, self.block.count)

    def read(self, registers: Sequence[int]) -> dict[str, Number]:
        """The numbers by name. Raises DecodeError if the block is not whole."""
        if len(registers) != self.block.count or not all(0 <= r < 0x10000 for r in registers):
            detail = f"{len(registers)} registers of {self.block.count} in block {self.block.name}"
            raise DecodeError(Reject.TRUNCATED, _raw(registers), detail)
        return dict(zip(self._names, self._words.decode(registers), strict=True))


class RegisterDriver:
    """One instrument: knows its base addresses and the occupancy that is going on."""

    def __init__(self, plan: RegisterMap) -> None:
        self._plan = plan
        readers = [_BlockReader(plan, block) for block in plan.blocks]
        self._once = [each for each in readers if each.block.read is When.ONCE]
        self._cycle = [each for each in readers if each.block.read is When.CYCLE]
        self._bases = {block.name: block.address for block in plan.blocks}
        self._lane = None if plan.passage is None else CounterLane(plan.passage.gamma_basis)
        self._elapsed: Number | None = None
        self._busy = False

    @property
    def poll_s(self) -> float:
        """The active period while what the map names goes on, else the idle one."""
        open_lane = self._lane is not None and self._lane.is_open
        return self._plan.pace.active_s if self._busy or open_lane else self._plan.pace.idle_s

    def identify(self) -> Generator[ReadBlock, tuple[int, ...], Identity]:
        """Base addresses and settings; a refused description leaves the documented addresses."""
        self._bases = {block.name: block.address for block in self._plan.blocks}
        if self._lane is not None:
            self._lane.interrupted()
        said: dict[str, str] = {}
        for reader in self._once:
            try:
                registers = yield reader.request(reader.block.address)
            except Refused:
                continue
            numbers = reader.read(registers)
            self._find_bases(reader.block, registers)
            said |= _texts(self._plan.identifiers, reader.block, numbers)
        model, serial, firmware = (said.pop(name, None) for name in WHO)
        return Identity(model, serial, firmware, settings=tuple(said.items()))

    def poll(self) -> Generator[ReadBlock, tuple[int, ...], Iterable[Output]]:
        """One sample of all blocks, then the passages that are over."""
        numbers: dict[str, Number] = {}
        zeros = True
        for reader in self._cycle:
            registers = yield reader.request(self._bases[reader.block.name])
            numbers |= reader.read(registers)
            zeros = zeros and not any(registers)
        sample = self._sample(numbers)
        if zeros or self._lane is None or self._plan.passage is None:
            return (sample,)
        if self._has_restarted(self._plan.passage, numbers):
            self._lane.interrupted()
        return (sample, *self._lane.step(_look(self._plan.passage, numbers, sample)))

    def _sample(self, numbers: Numbers) -> Sample:
        states = [state for word in self._plan.bits for state in _states(word, numbers)]
        flags = tuple(
            meaning.flag
            for meaning in _set_bits(self._plan.bits, numbers)
            if meaning.flag is not None
        )
        occupied = any(
            meaning.kind is Kind.OCCUPIED for meaning in _set_bits(self._plan.bits, numbers)
        )
        alarming = any(each.channel is Channel.DEVICE_ALARM and each.value for each in states)
        active = self._plan.pace.active_while
        self._busy = (occupied and Activity.OCCUPIED in active) or (
            alarming and Activity.ALARM in active
        )
        readings = [
            _reading(field, field.published, numbers)
            for field in self._plan.fields
            if field.published is not None and (occupied or not field.published.only_occupied)
        ]
        tells_occupancy = self._plan.passage is not None
        return Sample(
            (*readings, *states), flags=flags, occupied=occupied if tells_occupancy else None
        )

    def _find_bases(self, said_by: Block, registers: Sequence[int]) -> None:
        """A base is plausible behind the block that tells it and within the address space."""
        for block in self._plan.blocks:
            rule = block.base_from
            if rule is None or rule.block != said_by.name:
                continue
            base, length = registers[rule.base], registers[rule.length]
            behind = said_by.address + said_by.count
            if length >= rule.min_length and behind <= base <= ADDRESSES - block.count:
                self._bases[block.name] = base

    def _has_restarted(self, rule: PassageRule, numbers: Numbers) -> bool:
        """Whether the instrument's own elapsed time went back: its counters may have too."""
        if rule.restart is None:
            return False
        before, self._elapsed = self._elapsed, numbers[rule.restart]
        return before is not None and self._elapsed < before


def _raw(registers: Sequence[int]) -> bytes:
    return b"".join((register & 0xFFFF).to_bytes(2) for register in registers[:125])


def _texts(identifiers: Iterable[Identifier], block: Block, numbers: Numbers) -> Mapping[str, str]:
    return {
        each.name: f"{numbers[each.name]:#x}" if each.form is Form.HEX else str(numbers[each.name])
        for each in identifiers
        if each.block == block.name
    }


def _is_set(mask: Mask | None, numbers: Numbers) -> bool:
    return mask is not None and int(numbers[mask.word]) & mask.bits != 0


def _set_bits(words: Iterable[BitsWord], numbers: Numbers) -> Iterable[Meaning]:
    return (
        meaning
        for word in words
        for bit, meaning in word.meanings
        if int(numbers[word.name]) >> bit & 1
    )


def _states(word: BitsWord, numbers: Numbers) -> Iterable[Reading]:
    """One state a part, set if any of its bits is."""
    found: dict[tuple[Channel, str], int] = {}
    for bit, meaning in word.meanings:
        channel = _STATES.get(meaning.kind)
        if channel is not None:
            key = (channel, meaning.part)
            found[key] = found.get(key, 0) | int(numbers[word.name]) >> bit & 1
    return [
        Reading(channel, value, "1", window_s=0.0, part=part)
        for (channel, part), value in found.items()
    ]


def _reading(field: Field, how: Published, numbers: Numbers) -> Reading:
    """The number, or none with the reason: too high to count, not measuring, no number."""
    number = finite(numbers[field.name], field.invalid)
    flags: tuple[Flag, ...] = ()
    if _is_set(how.over_range_while, numbers):
        number, flags = None, (Flag.OVER_RANGE,)
    elif how.valid_while is not None and not _is_set(how.valid_while, numbers):
        number, flags = None, (Flag.INSTRUMENT_FAULT,)
    value = number if number is None or how.scale is None else float(number * how.scale)
    raw = f"{numbers[field.name]} {how.wire_unit}".rstrip()
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


def _look(rule: PassageRule, numbers: Numbers, sample: Sample) -> Look:
    alarms = {
        each.part for each in sample.readings if each.channel is Channel.DEVICE_ALARM and each.value
    }
    direction = rule.direction_unknown
    return Look(
        counter=int(numbers[rule.counter]),
        occupied=bool(sample.occupied),
        gamma_alarm=not alarms.isdisjoint(rule.gamma_alarm),
        neutron_alarm=not alarms.isdisjoint(rule.neutron_alarm),
        gamma=_peak(sample, Channel.GAMMA_COUNTS),
        neutron=_peak(sample, Channel.NEUTRON_COUNTS),
        speed_m_s=next(
            (each.value for each in sample.readings if each.channel is Channel.SPEED), None
        ),
        direction_unknown=direction is not None
        and int(numbers[direction.word]) & direction.bits == direction.bits,
    )


def _peak(sample: Sample, channel: Channel) -> Peak:
    for reading in sample.readings:
        if reading.channel is channel:
            return Peak(reading.value, Flag.OVER_RANGE in reading.flags)
    return Peak()


@cache
def load(name: str) -> RegisterMap:
    """The map of that name. Raises FileNotFoundError or MapError."""
    file = f"{name}.toml"
    return parse_map(file, (files("drivers") / "maps" / file).read_text("utf-8"))


def driver_info(plan: RegisterMap) -> DriverInfo:
    """The instrument table's line for a map."""

    def create(_options: Options) -> RegisterDriver:
        return RegisterDriver(plan)

    told = {each.published.channel for each in plan.fields if each.published is not None}
    told |= {
        _STATES[meaning.kind]
        for word in plan.bits
        for _, meaning in word.meanings
        if meaning.kind in _STATES
    }
    return DriverInfo(
        name=plan.name,
        title=plan.title,
        contract="registers",
        classes=plan.classes,
        links=plan.links,
        channels=tuple(channel for channel in Channel if channel in told),
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
