"""What a faulty line makes of bytes on their way to the reader. Pure; time is an argument.

The same object serves pseudo-terminals, TCP, Modbus and virtual time. Bytes never overtake each
other.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from config.link_actions import (
    Corruption,
    Delay,
    Flood,
    LateReply,
    LinkFault,
    Loss,
    Split,
)

FLOOD_STEP_S: Final = 0.05
"""How often a flood adds to itself; own choice."""
_PRINTABLE: Final = bytes(range(0x21, 0x7F))


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes that arrive together; ``whole`` says that with them all of it has arrived unharmed."""

    due_s: float
    data: bytes
    whole: bool


class Wire:
    """One line and what is wrong with it; one fault of each kind at a time, the newest."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._faults: dict[str, LinkFault] = {}
        self._late = 0
        self._free_s = -math.inf
        self._split_s = -math.inf

    @property
    def faults(self) -> tuple[str, ...]:
        """The names of what is wrong."""
        return tuple(self._faults)

    @property
    def is_sound(self) -> bool:
        """Whether bytes pass as they are, at once."""
        return not self._faults

    @property
    def is_free(self) -> bool:
        """Whether it is sound and has been ever since it carried something."""
        return not self._faults and self._free_s == -math.inf

    @property
    def echoes(self) -> bool:
        """Whether what is sent to the instrument comes back."""
        return "echo" in self._faults

    @property
    def flood(self) -> Flood | None:
        """The flood, if there is one."""
        fault = self._faults.get("flood")
        return fault if isinstance(fault, Flood) else None

    def begin(self, fault: LinkFault) -> None:
        """From now on this goes wrong."""
        self._faults[fault.do] = fault
        if isinstance(fault, LateReply):
            self._late = fault.count

    def end(self, fault: LinkFault) -> bool:
        """It is over, unless another of its kind has begun since."""
        if self._faults.get(fault.do) is not fault:
            return False
        del self._faults[fault.do]
        return True

    def mend(self) -> None:
        """Nothing is wrong any more; what is late already stays late."""
        self._faults.clear()

    def noise(self, flood: Flood, seconds: float) -> bytes:
        """What a flood adds in so many seconds."""
        return bytes(self._rng.choices(_PRINTABLE, k=round(flood.rate * seconds)))

    def carry(self, at_s: float, data: bytes) -> Sequence[Piece]:
        """What arrives of ``data`` that is sent at ``at_s``, and when."""
        if not self._faults and at_s >= self._free_s:
            return (Piece(at_s, data, True),)
        arriving = self._corrupted(self._thinned(data))
        whole = arriving == data
        due_s = max(at_s + self._lateness(), self._free_s)
        self._free_s = due_s
        return self._pieces(due_s, arriving, whole)

    def _thinned(self, data: bytes) -> bytes:
        fault = self._faults.get("loss")
        if not isinstance(fault, Loss):
            return data
        return bytes(byte for byte in data if self._rng.random() >= fault.share)

    def _corrupted(self, data: bytes) -> bytes:
        fault = self._faults.get("corruption")
        if not isinstance(fault, Corruption):
            return data
        random = self._rng.random
        return bytes(
            byte ^ (1 << self._rng.randrange(8)) if random() < fault.share else byte
            for byte in data
        )

    def _lateness(self) -> float:
        late_s = 0.0
        delay = self._faults.get("delay")
        if isinstance(delay, Delay):
            late_s += delay.delay_s + self._rng.uniform(0.0, delay.jitter_s)
        slow = self._faults.get("late_reply")
        if isinstance(slow, LateReply):
            self._late -= 1
            late_s += slow.late_s
            if self._late <= 0:
                self.end(slow)
        return late_s

    def _pieces(self, due_s: float, data: bytes, whole: bool) -> Sequence[Piece]:
        fault = self._faults.get("split")
        if not isinstance(fault, Split):
            return (Piece(due_s, data, whole),)
        cut = [data[at : at + fault.size] for at in range(0, len(data), fault.size)]
        last = len(cut) - 1
        first_s = max(due_s, self._split_s)
        self._split_s = first_s + len(cut) * fault.gap_s
        self._free_s = first_s + max(last, 0) * fault.gap_s
        return [
            Piece(first_s + index * fault.gap_s, part, whole and index == last)
            for index, part in enumerate(cut)
        ]
