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
from fractions import Fraction
from typing import Final

from drivers.api import Channel, Flag, Quantity, Verified
from drivers.codec.words import Item, WordOrder, WordType
from drivers.map_table import MapError, Table
from drivers.register_table import (
    Activity,
    BaseFrom,
    BitsWord,
    Block,
    Field,
    Form,
    Identifier,
    Kind,
    Mask,
    Meaning,
    Pace,
    PassageRule,
    Published,
    Reading,
    RegisterMap,
)
from drivers.units import UnknownUnit, parse_unit

__all__ = ["MapError", "parse_map"]

MAX_COUNT: Final = 125
"""Registers in one reading (Modbus Application Protocol V1.1b3, 6.3)."""
ADDRESSES: Final = 0x10000
UNITS: Final = ("1", "%", "V", "count", "m/s", "°C")
"""Units beside those of dose, dose rate and count rate."""
LINKS: Final = ("modbus_tcp", "modbus_rtu")

_STATES: Final = (Channel.DEVICE_ALARM, Channel.DEVICE_FAULT, Channel.TAMPER)
_NOT_NUMBERS: Final = (*_STATES, Channel.NUCLIDE, Channel.SPECTRUM, Channel.POSITION)


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
    _check_blocks(top, fields, bits)
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
    for key in table.names():
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


def _check_blocks(top: Table, fields: Iterable[Field], bits: Iterable[BitsWord]) -> None:
    """A block must explain itself: its words arrive together, those of others may not."""
    block_of = {word.name: word.block for word in bits}
    for number, field in enumerate(fields, start=1):
        how = field.published
        masks = () if how is None else (how.valid_while, how.over_range_while)
        for key, mask in zip(("valid_while", "over_range_while"), masks, strict=False):
            if mask is not None and block_of[mask.word] != field.block:
                where = f"field[{number}].{key}.word"
                raise top.error(where, f"{mask.word!r} is not in block {field.block!r}")


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
    counters = {each.name: each for each in fields if each.item.type is WordType.U16}
    counter = table.one_of("counter", counters)
    block = counters[counter].block
    whole = [each.name for each in fields if each.block == block and not each.item.type.is_float]
    told = [each.name for each in fields if each.block == block and each.published is not None]
    bits = [each for each in bits if each.block == block]
    all_meanings = [meaning for word in bits for _, meaning in word.meanings]
    parts = sorted({each.part for each in all_meanings if each.kind is Kind.ALARM})
    if not any(each.kind is Kind.OCCUPIED for each in all_meanings):
        raise table.error("", f"needs a bit of block {block!r} that says occupied")
    rule = PassageRule(
        counter=counter,
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
