"""A recording as an instrument: it answers what it was asked then as it answered then."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from drivers.codec.conversation import Conversation
from drivers.codec.recording import Kind, Piece
from simulators.api import Emission, Field
from simulators.counter import Counter, NoCounts

EXCEPTION_BIT: Final = 0x80
NO_ANSWER: Final = 4
"""Modbus exception: the device could not answer."""


class Recorded:
    """Plays a recording back from ``begins_s`` on; ``is_over`` once nothing is left to say."""

    def __init__(self, pieces: Iterable[Piece], begins_s: float = 0.0) -> None:
        everything = tuple(pieces)
        self._conversation = Conversation(everything)
        self._begins_s = begins_s
        self.duration_s = max((piece.at_s for piece in everything), default=0.0)
        """When the last piece was recorded, in s since the start."""

    @property
    def is_over(self) -> bool:
        """Whether every piece has been used."""
        return self._conversation.next is None

    def advance(self, to_s: float, field: Field) -> Sequence[Emission]:
        """What it said before it was asked anything."""
        piece = self._conversation.next
        if piece is None or piece.kind is Kind.SENT or to_s < self._begins_s:
            return ()
        return self._answers(0.0, self._begins_s)

    def receive(self, at_s: float, data: bytes, field: Field) -> Sequence[Emission]:
        """What it said after the next time it was asked this; nothing if it never was."""
        if not data or at_s < self._begins_s:
            return ()
        found = self._conversation.ask(data)
        if found is None:
            return ()
        if found.again is not None:
            return [
                Emission(at_s + each.at_s - found.asked.at_s, each.data)
                for each in found.again
                if not each.secret
            ]
        return self._answers(found.asked.at_s, at_s)

    def read(
        self, at_s: float, function: int, address: int, count: int, field: Field
    ) -> tuple[Sequence[int], Mapping[str, float | int | str | None]] | int:
        """The registers it answered, or its exception code."""
        request = bytes((function,)) + address.to_bytes(2) + count.to_bytes(2)
        answer = b"".join(emission.data for emission in self.receive(at_s, request, field))
        if len(answer) >= 2 and answer[0] & EXCEPTION_BIT:
            return answer[1]
        words = answer[2:]
        if len(words) < 2:
            return NO_ANSWER
        return [int.from_bytes(words[i : i + 2]) for i in range(0, len(words) - 1, 2)], {}

    def _answers(self, from_s: float, at_s: float) -> list[Emission]:
        """Everything up to the next question."""
        answers = []
        while (piece := self._conversation.next) is not None and piece.kind is not Kind.SENT:
            self._conversation.take()
            if piece.kind is Kind.RECEIVED and not piece.secret:
                answers.append(Emission(at_s + piece.at_s - from_s, piece.data))
        return answers


class NoField:
    """A recording needs no field: nothing is asked of this one."""

    @property
    def counter(self) -> Counter:
        """None."""
        raise NoCounts("a recording counts nothing")

    @property
    def noise(self) -> float:
        """None."""
        return 0.0

    def dose_rate(self, at_s: float) -> float:
        """None."""
        return 0.0

    def mean_dose_rate(self, from_s: float, to_s: float) -> float:
        """None."""
        return 0.0

    def counted_dose_rate(self, from_s: float, to_s: float) -> float:
        """None."""
        return 0.0

    def saturates(self, from_s: float, to_s: float) -> bool:
        """Never."""
        return False

    def on_since(self, at_s: float) -> float | None:
        """Always."""
        return 0.0

    def gamma_counts(self, from_s: float, to_s: float, part: int = 0) -> int:
        """None."""
        return 0

    def neutron_counts(self, from_s: float, to_s: float, part: int = 0) -> int:
        """None."""
        return 0

    def occupied(self, at_s: float) -> bool:
        """Never."""
        return False

    def speed_m_s(self, at_s: float) -> float | None:
        """Unknown."""
        return None

    def position(self, at_s: float) -> None:
        """Unknown."""
        return
