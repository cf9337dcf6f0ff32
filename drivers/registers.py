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
from functools import cache
from importlib.resources import files

from drivers.api import DriverInfo, Identity, Options, Output, ReadBlock, Sample
from drivers.codec.occupancy import CounterLane
from drivers.codec.words import Number, Words, encode_items
from drivers.errors import DecodeError, Refused
from drivers.register_block import STATE_CHANNELS, BlockDecoder, Told, check_whole
from drivers.register_map import ADDRESSES, parse_map
from drivers.register_table import (
    Block,
    Form,
    Identifier,
    PassageRule,
    RegisterMap,
)
from drivers.register_table import Reading as When


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


def _text(identifier: Identifier, number: Number) -> str:
    if identifier.form is Form.HEX:
        return f"0x{int(number):0{4 * identifier.item.type.words}X}"
    return str(number)


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
    told += [channel for kind, channel in STATE_CHANNELS.items() if kind in kinds]
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
