"""The grammar of ``drivers/maps/*.toml``: instruments that are only a table of registers.

    name, title, source, verified, classes, links, silence_s, tcp_port (optional)
    [poll]        idle_s, active_s and active_while (occupied, alarm)
    [[block]]     name, read (once or cycle), function, address, count, base_from
    [[identity]]  name (serial, model, firmware or a setting's), block, offset, type, form
    [[field]]     name, block, offset, type, words; with a channel it is published
    [[bits]]      name, block, offset; [bits.bit] number = { alarm, fault, tamper, flag, occupied }
    [passage]     counter, restart, alarms, maxima, speed, direction_unknown

No expressions. Everything unknown, overlapping or outside its block is a MapError.
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Final

from drivers.api import Channel, Flag, Quantity, Verified
from drivers.codec.words import Item, Number, WordOrder, WordType
from drivers.map_table import MapError, Table
from drivers.units import UnknownUnit, parse_unit

__all__ = ["MapError", "RegisterMap", "parse_map"]

MAX_COUNT: Final = 125
"""Registers in one reading (Modbus Application Protocol V1.1b3, 6.3)."""
ADDRESSES: Final = 0x10000
UNITS: Final = ("1", "%", "V", "count", "m/s", "°C")
"""Units beside those of dose, dose rate and count rate."""
LINKS: Final = ("modbus_tcp", "modbus_rtu")

_STATES: Final = (Channel.DEVICE_ALARM, Channel.DEVICE_FAULT, Channel.TAMPER)
_NOT_NUMBERS: Final = (*_STATES, Channel.NUCLIDE, Channel.SPECTRUM, Channel.POSITION)


class Reading(StrEnum):
    """When a block is read."""

    ONCE = "once"
    CYCLE = "cycle"


class Activity(StrEnum):
    """What makes the driver poll faster."""

    OCCUPIED = "occupied"
    ALARM = "alarm"


class Form(StrEnum):
    """How a number becomes text."""

    DECIMAL = "decimal"
    HEX = "hex"


class Kind(StrEnum):
    """What a bit says while it is set."""

    ALARM = "alarm"
    FAULT = "fault"
    TAMPER = "tamper"
    FLAG = "flag"
    OCCUPIED = "occupied"


@dataclass(frozen=True, slots=True)
class BaseFrom:
    """Where a block's address stands in another: offsets of address and length."""

    block: str
    base: int
    length: int
    min_length: int


@dataclass(frozen=True, slots=True)
class Block:
    """Registers that are read together."""

    name: str
    read: Reading
    function: int
    address: int
    count: int
    base_from: BaseFrom | None = None


@dataclass(frozen=True, slots=True)
class Mask:
    """Bits of a named word."""

    word: str
    bits: int


@dataclass(frozen=True, slots=True)
class Identifier:
    """A number that tells who the instrument is, or one of its settings."""

    name: str
    block: str
    item: Item
    form: Form


@dataclass(frozen=True, slots=True)
class Published:
    """How a field is published. ``scale`` turns the register's number into ``unit``."""

    channel: Channel
    unit: str
    part: str = ""
    quantity: Quantity | None = None
    scale: Fraction | None = None
    wire_unit: str = ""
    window_s: float | None = None
    valid_while: Mask | None = None
    over_range_while: Mask | None = None
    only_occupied: bool = False


@dataclass(frozen=True, slots=True)
class Field:
    """A number in a block; without ``published`` it is known but not told."""

    name: str
    block: str
    item: Item
    invalid: frozenset[Number] = frozenset()
    published: Published | None = None


@dataclass(frozen=True, slots=True)
class Meaning:
    """What one bit says: a state's ``part``, or a flag."""

    kind: Kind
    part: str = ""
    flag: Flag | None = None


@dataclass(frozen=True, slots=True)
class BitsWord:
    """A word of bits: number and meaning of each that has one."""

    name: str
    block: str
    item: Item
    meanings: tuple[tuple[int, Meaning], ...]


@dataclass(frozen=True, slots=True)
class PassageRule:
    """Occupancy by counter change; names are those of fields and of alarm parts."""

    counter: str
    restart: str | None
    gamma_alarm: tuple[str, ...]
    neutron_alarm: tuple[str, ...]
    gamma_max: str
    gamma_basis: str
    neutron_max: str
    neutron_basis: str
    speed: str | None
    direction_unknown: Mask | None


@dataclass(frozen=True, slots=True)
class Pace:
    """Poll periods in s, and what makes it the active one."""

    idle_s: float
    active_s: float
    active_while: tuple[Activity, ...]


@dataclass(frozen=True, slots=True)
class RegisterMap:
    """One instrument family as a table."""

    name: str
    title: str
    source: str
    verified: Verified
    classes: tuple[str, ...]
    links: tuple[str, ...]
    silence_s: float
    tcp_port: int | None
    pace: Pace
    blocks: tuple[Block, ...]
    identifiers: tuple[Identifier, ...]
    fields: tuple[Field, ...]
    bits: tuple[BitsWord, ...]
    passage: PassageRule | None

    def block(self, name: str) -> Block:
        """The block of that name."""
        return next(block for block in self.blocks if block.name == name)

    def items(self, block: str) -> Mapping[str, Item]:
        """All items of a block by name."""
        parts: tuple[Identifier | Field | BitsWord, ...] = (
            *self.identifiers,
            *self.fields,
            *self.bits,
        )
        return {each.name: each.item for each in parts if each.block == block}


def parse_map(file: str, text: str) -> RegisterMap:
    """The map in ``text``; ``file`` names it in errors. Raises MapError."""
    try:
        top = Table(file, "", tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise MapError(file, "", f"not TOML: {error}") from error
    blocks = _blocks(top.tables("block"))
    layout = _Layout(blocks)
    identifiers = tuple(_identifier(table, layout) for table in top.tables("identity"))
    words = top.tables("bits")
    names = {name: table for table in words if (name := str(table.text("name")))}
    fields = tuple(_field(table, layout, names) for table in top.tables("field"))
    bits = tuple(_bits(table, layout) for table in words)
    _check_channels(top, fields)
    parsed = RegisterMap(
        name=top.text("name"),
        title=top.text("title"),
        source=top.text("source"),
        verified=top.choice("verified", Verified),
        classes=top.texts("classes"),
        links=top.texts("links", LINKS),
        silence_s=top.positive("silence_s"),
        tcp_port=top.whole("tcp_port", 1, 65535) if "tcp_port" in top else None,
        pace=_pace(top.table("poll"), bits),
        blocks=blocks,
        identifiers=identifiers,
        fields=fields,
        bits=bits,
        passage=_passage(top.maybe("passage"), fields, bits),
    )
    top.finish()
    return parsed


class _Layout:
    """Which registers of each block are taken, and by what."""

    def __init__(self, blocks: Iterable[Block]) -> None:
        self._blocks = {block.name: block for block in blocks}
        self._taken: dict[tuple[str, int], str] = {}
        self._names: set[str] = set()

    def take(self, table: Table, read: Reading, kind: WordType | None = None) -> tuple[str, Item]:
        """Block and item of a table, which claims its registers."""
        name = table.text("name")
        if name in self._names:
            raise table.error("name", f"{name!r} is there twice")
        self._names.add(name)
        readable = [each.name for each in self._blocks.values() if each.read is read]
        block = self._blocks[table.one_of("block", readable)]
        type_ = kind or table.choice("type", WordType)
        if kind is None and type_ is WordType.BITS:
            raise table.error("type", "words of bits belong into [[bits]]")
        order = WordOrder.HIGH_FIRST
        if type_.words > 1:
            order = table.choice("words", WordOrder)
        item = Item(table.whole("offset", 0, block.count - type_.words), type_, order)
        for place in sorted(item.places):
            other = self._taken.setdefault((block.name, place), name)
            if other != name:
                raise table.error("offset", f"register {place} belongs to {other!r} already")
        return block.name, item


def _blocks(tables: Iterable[Table]) -> tuple[Block, ...]:
    blocks: list[Block] = []
    for table in tables:
        name = table.text("name")
        if any(block.name == name for block in blocks):
            raise table.error("name", f"{name!r} is there twice")
        address = table.whole("address", 0, ADDRESSES - 1)
        block = Block(
            name=name,
            read=table.choice("read", Reading),
            function=table.whole("function", 3, 4),
            address=address,
            count=table.whole("count", 1, min(MAX_COUNT, ADDRESSES - address)),
            base_from=_base_from(table.maybe("base_from"), blocks),
        )
        table.finish()
        blocks.append(block)
    return tuple(blocks)


def _base_from(table: Table | None, before: Iterable[Block]) -> BaseFrom | None:
    if table is None:
        return None
    once = {block.name: block for block in before if block.read is Reading.ONCE}
    name = table.one_of("block", once)
    last = once[name].count - 1
    base = BaseFrom(
        block=name,
        base=table.whole("base", 0, last),
        length=table.whole("length", 0, last),
        min_length=table.whole("min_length", 1, MAX_COUNT),
    )
    table.finish()
    return base


def _identifier(table: Table, layout: _Layout) -> Identifier:
    block, item = layout.take(table, Reading.ONCE)
    identifier = Identifier(
        table.text("name"), block, item, table.choice("form", Form, Form.DECIMAL)
    )
    if identifier.form is Form.HEX and item.type.is_float:
        raise table.error("form", "a float has no hex form")
    table.finish()
    return identifier


def _field(table: Table, layout: _Layout, words: Mapping[str, Table]) -> Field:
    block, item = layout.take(table, Reading.CYCLE)
    published = _published(table, words) if "channel" in table else None
    field = Field(table.text("name"), block, item, frozenset(table.numbers("invalid")), published)
    table.finish()
    return field


def _published(table: Table, words: Mapping[str, Table]) -> Published:
    channel = table.choice("channel", Channel)
    if channel in _NOT_NUMBERS:
        raise table.error("channel", f"{channel} is not a number in registers")
    only = table.choice("only_while", Activity) if "only_while" in table else None
    if only is Activity.ALARM:
        raise table.error("only_while", "'alarm' is not one of occupied")
    return Published(
        channel=channel,
        unit=_unit(table),
        part=table.text("part", ""),
        quantity=table.choice("quantity", Quantity) if "quantity" in table else None,
        scale=Fraction(repr(table.positive("scale"))) if "scale" in table else None,
        wire_unit=table.text("wire_unit", ""),
        window_s=table.positive("window_s") if "window_s" in table else None,
        valid_while=_one_bit(table.maybe("valid_while"), words),
        over_range_while=_one_bit(table.maybe("over_range_while"), words),
        only_occupied=only is not None,
    )


def _unit(table: Table) -> str:
    unit = table.text("unit")
    if unit in UNITS:
        return unit
    try:
        parse_unit(unit)
    except UnknownUnit as error:
        raise table.error("unit", f"{error}, nor one of {', '.join(UNITS)}") from error
    return unit


def _one_bit(table: Table | None, words: Iterable[str]) -> Mask | None:
    if table is None:
        return None
    mask = Mask(table.one_of("word", words), 1 << table.whole("bit", 0, 15))
    table.finish()
    return mask


def _bits(table: Table, layout: _Layout) -> BitsWord:
    block, item = layout.take(table, Reading.CYCLE, WordType.BITS)
    meanings = _meanings(table.maybe("bit"))
    word = BitsWord(table.text("name"), block, item, meanings)
    table.finish()
    return word


def _meanings(table: Table | None) -> tuple[tuple[int, Meaning], ...]:
    if table is None:
        return ()
    found = []
    for key in table.keys():
        if not key.isdecimal() or not 0 <= int(key) <= 15:
            raise table.error(key, "is not the number of a bit, 0 to 15")
        found.append((int(key), _meaning(table.table(key))))
    if len({number for number, _ in found}) < len(found):
        raise table.error("", "a bit is there twice")
    return tuple(sorted(found, key=lambda each: each[0]))


def _meaning(table: Table) -> Meaning:
    kinds = [kind for kind in Kind if kind in table]
    if len(kinds) != 1:
        table.finish() if not kinds else None
        raise table.error("", f"needs exactly one of {', '.join(Kind)}")
    (kind,) = kinds
    match kind:
        case Kind.FLAG:
            meaning = Meaning(kind, flag=table.choice(kind, Flag))
        case Kind.OCCUPIED:
            table.true(kind)
            meaning = Meaning(kind)
        case _:
            meaning = Meaning(kind, table.text(kind))
    table.finish()
    return meaning


def _check_channels(top: Table, fields: Iterable[Field]) -> None:
    seen: set[tuple[Channel, str]] = set()
    for number, field in enumerate(fields, start=1):
        if field.published is None:
            continue
        key = (field.published.channel, field.published.part)
        if key in seen:
            raise top.error(f"field[{number}].channel", f"{key[0]} is told twice; use part")
        seen.add(key)


def _pace(table: Table, bits: Iterable[BitsWord]) -> Pace:
    idle_s = table.positive("idle_s")
    pace = Pace(
        idle_s,
        table.positive("active_s", idle_s),
        table.choices("active_while", Activity) if "active_while" in table else (),
    )
    for activity in pace.active_while:
        kind = Kind(activity)
        if not any(meaning.kind is kind for word in bits for _, meaning in word.meanings):
            raise table.error("active_while", f"no bit says {activity}")
    table.finish()
    return pace


def _passage(
    table: Table | None, fields: Iterable[Field], bits: Iterable[BitsWord]
) -> PassageRule | None:
    if table is None:
        return None
    all_meanings = [meaning for word in bits for _, meaning in word.meanings]
    parts = sorted({each.part for each in all_meanings if each.kind is Kind.ALARM})
    if not any(each.kind is Kind.OCCUPIED for each in all_meanings):
        raise table.error("", "needs a bit that says occupied")
    whole = [each.name for each in fields if not each.item.type.is_float]
    told = [each.name for each in fields if each.published is not None]
    rule = PassageRule(
        counter=table.one_of("counter", whole),
        restart=table.one_of("restart", whole) if "restart" in table else None,
        gamma_alarm=table.texts("gamma_alarm", parts),
        neutron_alarm=table.texts("neutron_alarm", parts),
        gamma_max=table.one_of("gamma_max", told),
        gamma_basis=table.text("gamma_basis"),
        neutron_max=table.one_of("neutron_max", told),
        neutron_basis=table.text("neutron_basis"),
        speed=table.one_of("speed", told) if "speed" in table else None,
        direction_unknown=_all_bits(table.maybe("direction_unknown"), bits),
    )
    table.finish()
    return rule


def _all_bits(table: Table | None, bits: Iterable[BitsWord]) -> Mask | None:
    if table is None:
        return None
    word = table.one_of("word", [each.name for each in bits])
    numbers = set(table.wholes("bits", 0, 15))
    table.finish()
    return Mask(word, sum(1 << number for number in numbers))
