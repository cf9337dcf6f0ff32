"""Register words to numbers and back.

A register is 16 bits, high byte first on the wire (Modbus Application Protocol V1.1b3, 4.2). Which
half of a longer number comes first is not standardised: ``WordOrder`` says it for each item.
"""

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from operator import itemgetter
from typing import Final

Number = int | float


class WordType(StrEnum):
    """How an item is stored; ``bits`` is a word of which each bit means something."""

    U16 = "u16"
    I16 = "i16"
    U32 = "u32"
    I32 = "i32"
    U64 = "u64"
    F32 = "f32"
    F64 = "f64"
    BITS = "bits"

    @property
    def words(self) -> int:
        """Registers it takes."""
        return struct.calcsize(">" + _CODES[self]) // 2

    @property
    def is_float(self) -> bool:
        """Whether it can hold what is no number."""
        return self in (WordType.F32, WordType.F64)


class WordOrder(StrEnum):
    """Which register of an item comes first."""

    HIGH_FIRST = "high_first"
    LOW_FIRST = "low_first"


_CODES: Final = {
    WordType.U16: "H",
    WordType.I16: "h",
    WordType.U32: "I",
    WordType.I32: "i",
    WordType.U64: "Q",
    WordType.F32: "f",
    WordType.F64: "d",
    WordType.BITS: "H",
}


@dataclass(frozen=True, slots=True)
class Item:
    """One number in a block: ``offset`` in registers from its beginning."""

    offset: int
    type: WordType
    order: WordOrder = WordOrder.HIGH_FIRST

    @property
    def places(self) -> tuple[int, ...]:
        """Offsets of its registers, the most significant first."""
        places = tuple(range(self.offset, self.offset + self.type.words))
        return places if self.order is WordOrder.HIGH_FIRST else places[::-1]


class Words:
    """The items of a block, compiled into one packing and one unpacking."""

    def __init__(self, items: Sequence[Item]) -> None:
        self._places = tuple(place for item in items for place in item.places)
        self._registers = struct.Struct(f">{len(self._places)}H")
        self._numbers = struct.Struct(">" + "".join(_CODES[item.type] for item in items))
        self._pick = _picker(self._places)

    def decode(self, registers: Sequence[int]) -> tuple[Number, ...]:
        """The numbers of the items, in their order; floats may be NaN or infinite."""
        return self._numbers.unpack(self._registers.pack(*self._pick(registers)))

    def encode(self, numbers: Sequence[Number], registers: int) -> tuple[int, ...]:
        """A block of that many registers with these numbers in it, zero elsewhere."""
        block = [0] * registers
        words = self._registers.unpack(self._numbers.pack(*numbers))
        for place, word in zip(self._places, words, strict=True):
            block[place] = word
        return tuple(block)


def finite(number: Number, invalid: frozenset[Number]) -> Number | None:
    """The number, or None if it is NaN, infinite or one of the ``invalid`` marks."""
    return None if not math.isfinite(number) or number in invalid else number


def encode_items(
    items: Mapping[str, Item], numbers: Mapping[str, Number], registers: int
) -> tuple[int, ...]:
    """A block from numbers by name; what is not named is zero."""
    named = [name for name in items if name in numbers]
    return Words([items[name] for name in named]).encode(
        [numbers[name] for name in named], registers
    )


def _picker(places: tuple[int, ...]) -> Callable[[Sequence[int]], tuple[int, ...]]:
    # itemgetter gives a bare value for one place and refuses none.
    if len(places) < 2:
        return lambda registers: tuple(registers[place] for place in places)
    return itemgetter(*places)
