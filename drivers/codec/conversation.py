"""Where the playing of a recording stands, and what a question is answered with.

Whoever plays it brings the clock. A question is answered as it was answered then. One that was not
asked then is a difference: it is noted with the line where it should have stood, and gets no
answer. While an instrument was asked who it is, the same question may come again.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from drivers.codec.recording import Kind, Piece

NEAR: Final = 5
HORIZON: Final = 50
PATIENCE: Final = 3
"""Own choices: of the next so many recorded questions the first may be left out; after so many in a
row that are found nowhere, one much further on will do."""
MOST_DIFFERENCES: Final = 20
_SHOWN: Final = 24


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a question was not the one of the recording; ``at_s`` and ``line`` are of that."""

    line: int
    at_s: float
    text: str

    def __str__(self) -> str:
        return f"line {self.line} ({self.at_s:g} s): {self.text}"


@dataclass(frozen=True, slots=True)
class Found:
    """The question as recorded, what had arrived before it and was not taken yet.

    ``again`` has the answers where the conversation does not move on: a repeated identification.
    """

    asked: Piece
    before: tuple[Piece, ...] = ()
    again: tuple[Piece, ...] | None = None


class Conversation:
    """Pieces of a recording, one after the other."""

    def __init__(self, pieces: Iterable[Piece]) -> None:
        self._pieces = tuple(pieces)
        self._at = 0
        self._sent = [index for index, piece in enumerate(self._pieces) if piece.kind is Kind.SENT]
        self._who = _identifications(self._pieces)
        self._misses = 0
        self.differences: list[Difference] = []
        self.differing = 0
        """All of them; only the first are kept in ``differences``."""

    @property
    def next(self) -> Piece | None:
        """What comes now; None when it is over."""
        return self._pieces[self._at] if self._at < len(self._pieces) else None

    @property
    def last(self) -> Piece | None:
        """The last of all."""
        return self._pieces[-1] if self._pieces else None

    def take(self) -> Piece | None:
        """What comes now, and goes on behind it."""
        piece = self.next
        if piece is not None:
            self._at += 1
        return piece

    def ask(self, data: bytes) -> Found | None:
        """The recorded question that this is; None if there is none here."""
        asked = self._questions()
        if not asked:
            return None
        at = self._place(data, asked[:NEAR])
        if at is None:
            if (again := self._asked_again(data)) is not None:
                return again
            self._misses += 1
            at = self._place(data, asked) if self._misses > PATIENCE else None
        if at is None:
            expected = self._pieces[asked[0]]
            self._differ(expected, f"asked {_shown(data)}, recorded {_shown(expected.data)}")
            return None
        self._misses = 0
        if at:
            self._differ(self._pieces[asked[0]], f"{at} recorded questions were not asked")
        before = self._pieces[self._at : asked[0]]
        self._at = asked[at] + 1
        return Found(self._pieces[asked[at]], before)

    def _place(self, data: bytes, asked: list[int]) -> int | None:
        for passed, index in enumerate(asked):
            if self._pieces[index].data == data:
                return passed
        return None

    def _questions(self) -> list[int]:
        """Where the next ones stand."""
        first = bisect_left(self._sent, self._at)
        return self._sent[first : first + HORIZON]

    def _asked_again(self, data: bytes) -> Found | None:
        for index in reversed(self._who[: bisect_left(self._who, self._at)]):
            if self._pieces[index].data == data:
                return Found(self._pieces[index], again=tuple(self._answers(index)))
        return None

    def _answers(self, asked: int) -> Iterator[Piece]:
        for index in range(asked + 1, len(self._pieces)):
            if self._pieces[index].kind is not Kind.RECEIVED:
                return
            yield self._pieces[index]

    def _differ(self, piece: Piece, text: str) -> None:
        self.differing += 1
        if len(self.differences) < MOST_DIFFERENCES:
            self.differences.append(Difference(piece.line, piece.at_s, text))


def _identifications(pieces: tuple[Piece, ...]) -> list[int]:
    """Where the questions stand by which the instrument was asked who it is."""
    found: list[int] = []
    inside = False
    for index, piece in enumerate(pieces):
        if piece.kind is Kind.IDENTIFYING:
            inside = True
        elif piece.kind in (Kind.IDENTIFIED, Kind.CLOSED):
            inside = False
        elif inside and piece.kind is Kind.SENT:
            found.append(index)
    return found


def _shown(data: bytes) -> str:
    text = "".join(chr(b) if 32 <= b < 127 else f"\\x{b:02x}" for b in data[:_SHOWN])
    return f"{text!r}{' ...' if len(data) > _SHOWN else ''}"
