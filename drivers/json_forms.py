"""Lines that differ from one before in nothing but their values: read without parsing them again.

What stands between the values of a line is its form. A form is learned from a line that was read
in full and found right, so a line of the same form is right too, whatever plain numbers it holds;
everything else takes the long way.
"""

import re
from dataclasses import dataclass
from typing import Final

from drivers.api import Reading, Sample
from drivers.json_readings import COUNTS, PLAIN, STATES

_NUMBER: Final = re.compile(
    rb'"value": ?(-?(?:0|[1-9][0-9]{0,15})(?:\.[0-9]{1,20})?(?:e-[0-9]{1,2})?)(?=[,}])'
)
"""Numbers as JSON has them, of a length that is finite whatever the digits."""
_WHOLE: Final = frozenset(b"0123456789")
_STATE_DIGITS: Final = frozenset({b"0", b"1"})
_LEARNED: Final = PLAIN | COUNTS | STATES
_REMEMBERED: Final = 256
"""So many forms are kept; own choice."""
_Key = tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class _Form:
    """A sample whose readings are filled in; those that are constant stand here as they are."""

    sample: Sample
    is_plain: bool


class Forms:
    """The forms of one instrument's lines."""

    def __init__(self) -> None:
        self._known: dict[_Key, _Form] = {}

    def read(self, line: bytes) -> Sample | None:
        """What a line of a known form says; None for others."""
        pieces = _NUMBER.split(line)
        form = self._known.get(tuple(pieces[::2]))
        if form is None:
            return None
        numbers = iter(pieces[1::2])
        readings = []
        for known in form.sample.readings:
            if known.value is None:
                readings.append(known)
                continue
            digits = next(numbers)
            if known.channel in STATES and digits not in _STATE_DIGITS:
                return None
            if _WHOLE.issuperset(digits):
                value: float | int = int(digits)
            elif known.channel in COUNTS:
                return None
            else:
                value = float(digits) if b"." in digits or b"e" in digits else int(digits)
            readings.append(
                Reading(
                    known.channel,
                    value,
                    known.unit,
                    known.quantity,
                    known.flags,
                    None,
                    known.window_s,
                    known.raw,
                    known.part,
                    known.independent,
                )
            )
        if form.is_plain:
            return Sample(tuple(readings))
        return Sample(tuple(readings), flags=form.sample.flags, occupied=form.sample.occupied)

    def learn(self, line: bytes, sample: Sample) -> None:
        """Remembers the form of a line that says this, where its values are plain numbers."""
        if len(self._known) >= _REMEMBERED or not _is_plain_enough(sample):
            return
        pieces = _NUMBER.split(line)
        if len(pieces) // 2 == sum(reading.value is not None for reading in sample.readings):
            plain = not sample.flags and sample.occupied is None
            self._known[tuple(pieces[::2])] = _Form(sample, plain)


def _is_plain_enough(sample: Sample) -> bool:
    """Whether nothing changes in its lines but plain values."""
    if sample.age_s or sample.device_time or sample.position or sample.identity:
        return False
    return all(reading.value is None or reading.channel in _LEARNED for reading in sample.readings)
