"""From polls of a portal that counts its occupancies to passages.

Rule of the only driver known that reads such a portal (osh-oakridge-modules, AspectSensor.java): an
occupancy begins when the counter changes and ends with the first poll that shows nobody; alarms
are OR-ed and counts have their maxima over the polls between; the first poll after connecting only
tells where the counter stands. What that leaves open is decided here:

- The alarm bits of the ending poll still belong to the passage, its counts do not.
- When it began is not known, only that it was since the last poll; its end is the ending poll.
- The counter changes while the lane was never seen empty: the passage before it ended unseen.
- The counter changes and nobody is there: begun and ended between two polls, no maxima.
- The counter steps by more than one: the passages between are one DecodeError, not passages.
- The counter falls: it went over 65535 if that makes at most ``WRAP_STEPS`` and the instrument's
  running time did not fall too; else it was reset. A reset is no occupancy; the next passage says
  that it happened. What was going on ended unseen.
- A count over range has no maximum, because a smaller one would be told as the largest.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from drivers.api import Passage, PassageFlag
from drivers.errors import DecodeError, Reject
from drivers.quick import quick

COUNTER_STATES: Final = 0x10000
UPTIME_STATES: Final = 1 << 32
WRAP_STEPS: Final = 16
"""Own choice: more passages between two polls than a lane can have, few enough to miss no reset."""


@quick(frozen=True, slots=True)
class Peak:
    """A count, None without one; ``over_range`` if it is too high to be told."""

    value: float | None = None
    over_range: bool = False


@quick(frozen=True, slots=True)
class Look:
    """What one poll says about the lane; ``uptime`` in any unit, as 32 bits that count up."""

    counter: int
    occupied: bool
    gamma_alarm: bool = False
    neutron_alarm: bool = False
    gamma: Peak = Peak()
    neutron: Peak = Peak()
    speed_m_s: float | None = None
    direction_unknown: bool = False
    uptime: int | None = None


@dataclass(slots=True)
class _Maximum:
    value: float | None = None
    over_range: bool = False

    def note(self, peak: Peak) -> None:
        self.over_range |= peak.over_range
        if peak.value is not None:
            self.value = peak.value if self.value is None else max(self.value, peak.value)

    def told(self) -> float | None:
        return None if self.over_range else self.value


class _Occupancy:
    """What is known of the occupancy so far."""

    def __init__(self, look: Look, bases: tuple[str, str], *, restarted: bool) -> None:
        self._number = look.counter
        self._gamma_basis, self._neutron_basis = bases
        self._start_seen = look.occupied
        self._restarted = restarted
        self._gamma_alarm = self._neutron_alarm = self._direction_unknown = False
        self._gamma = _Maximum()
        self._neutron = _Maximum()
        self._speed_m_s: float | None = None

    def note(self, look: Look) -> None:
        """A poll while it lasts."""
        self._gamma.note(look.gamma)
        self._neutron.note(look.neutron)
        self._note_states(look)

    def end(self, look: Look) -> Passage:
        """The poll that shows nobody."""
        self._note_states(look)
        return self._passage(0.0, ())

    def end_unseen(self) -> Passage:
        """It is over, but nobody saw the empty lane."""
        return self._passage(None, (PassageFlag.END_MISSED,))

    def _note_states(self, look: Look) -> None:
        self._gamma_alarm |= look.gamma_alarm
        self._neutron_alarm |= look.neutron_alarm
        self._direction_unknown |= look.direction_unknown
        self._speed_m_s = look.speed_m_s or self._speed_m_s

    def _passage(self, end_age_s: float | None, flags: tuple[PassageFlag, ...]) -> Passage:
        neutron_missing = self._neutron.value is None and not self._neutron.over_range
        more = {
            PassageFlag.START_MISSED: not self._start_seen,
            PassageFlag.NEUTRON_MISSING: neutron_missing,
            PassageFlag.COUNTER_RESTARTED: self._restarted,
            PassageFlag.DIRECTION_UNKNOWN: self._direction_unknown,
        }
        return Passage(
            self._number,
            None,
            end_age_s,
            self._gamma_alarm,
            self._neutron_alarm,
            self._gamma.told(),
            self._gamma_basis,
            self._neutron.told(),
            self._neutron_basis,
            speed_m_s=self._speed_m_s,
            flags=flags + tuple(flag for flag, holds in more.items() if holds),
        )


class CounterLane:
    """Follows one lane from poll to poll; the bases say what the maxima are counted in."""

    def __init__(self, gamma_basis: str, neutron_basis: str) -> None:
        self._bases = (gamma_basis, neutron_basis)
        self._last: Look | None = None
        self._occupancy: _Occupancy | None = None
        self._restarted = False

    @property
    def is_open(self) -> bool:
        """Whether an occupancy goes on."""
        return self._occupancy is not None

    def interrupted(self) -> None:
        """The connection was made anew: the counter may stand anywhere."""
        self._last = None

    def step(self, look: Look) -> Iterator[Passage | DecodeError]:
        """One poll: what is over with it, and what was missed."""
        before, self._last = self._last, look
        if before is None or look.counter != before.counter:
            if self._occupancy is not None:
                yield self._occupancy.end_unseen()
                self._occupancy = None
            if before is not None:
                yield from self._changed(before, look)
        if self._occupancy is None:
            return
        if look.occupied:
            self._occupancy.note(look)
        else:
            yield self._occupancy.end(look)
            self._occupancy = None

    def _changed(self, before: Look, look: Look) -> Iterator[DecodeError]:
        steps = (look.counter - before.counter) % COUNTER_STATES
        if look.counter < before.counter and (steps > WRAP_STEPS or _is_younger(look, before)):
            self._restarted = True
            return
        if steps > 1:
            yield _missed(before.counter, look.counter, steps - 1)
        self._occupancy = _Occupancy(look, self._bases, restarted=self._restarted)
        self._restarted = False


def _is_younger(look: Look, before: Look) -> bool:
    """Whether the running time fell, other than over its top."""
    if look.uptime is None or before.uptime is None:
        return False
    return (look.uptime - before.uptime) % UPTIME_STATES >= UPTIME_STATES // 2


def _missed(before: int, counter: int, missed: int) -> DecodeError:
    raw = before.to_bytes(2) + counter.to_bytes(2)
    detail = f"counter went from {before} to {counter}: {missed} occupancies between two polls"
    return DecodeError(Reject.UNEXPECTED, raw, detail)
