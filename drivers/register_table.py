"""What a register map says, as values: blocks, the numbers and bits in them, the passage rule."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from drivers.api import Channel, Flag, Quantity, Verified
from drivers.codec.words import Item, Number


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
        parts: tuple[Identifier | Field | BitsWord, ...]
        parts = (*self.identifiers, *self.fields, *self.bits)
        return {each.name: each.item for each in parts if each.block == block}
