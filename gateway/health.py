"""How each detector is doing: a state with all its reasons, worked out from what was heard."""

from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from drivers.api import Channel, Flag, Reading
from drivers.errors import DriverError
from gateway.alarms.usability import REMEMBERED
from gateway.values import Instant, LinkState, Measured
from gateway.wire.places import DetectorState

_FAULT_FLAGS: Final = frozenset({Flag.INSTRUMENT_FAULT, Flag.LOSS_OF_COUNTS})
_LEARNING_FLAGS: Final = frozenset({Flag.WARMING_UP, Flag.CALIBRATING_BACKGROUND})
_WORST_FIRST: Final = (
    "off_duty",
    "out_of_service",
    "missing",
    "stale",
    "fault",
    "degraded",
    "learning",
)
Conditions = tuple[tuple[str, tuple[str, ...]], ...]
"""States with their reasons, as the alarm engine gives them."""


@dataclass(slots=True)
class DetectorHealth:
    """What is known about one detector's own condition."""

    detector: str
    silence_limit_s: float
    started: Instant
    heard: Instant | None = None
    link: LinkState = LinkState.OPENING
    link_reason: str = ""
    faults: set[str] = field(default_factory=set)
    learning: bool = False
    switched_off: bool = False
    mismatched: bool = False
    conditions: Conditions = ()
    rejects: Counter[str] = field(default_factory=Counter)
    last_reject: str = ""
    _frames: dict[tuple[Channel, str], tuple[Reading, ...]] = field(default_factory=dict)
    _told: DetectorState | None = None
    _seen: tuple[object, ...] = ()

    def note_sample(self, measured: Measured, now: Instant) -> None:
        """A valid frame came."""
        self.heard = now
        self.mismatched, learning, faulty = _told_by(measured.flags)
        if self.mismatched:
            self._forget_instrument()
        if self.mismatched or not measured.readings:
            return
        first = measured.readings[0]
        self._frames[first.channel, first.part] = measured.readings
        self.learning = learning
        self.switched_off = False
        if not self.faults and not faulty and _are_plain(measured.readings):
            return
        for flag in _FAULT_FLAGS:
            self._set_fault(str(flag), flag in measured.flags)
        for reading in measured.readings:
            if reading.channel is Channel.DEVICE_FAULT:
                self._note_fault(reading.part, bool(reading.value))
            elif reading.flags and reading.channel is not Channel.BACKGROUND:
                self.learning |= not _LEARNING_FLAGS.isdisjoint(reading.flags)
                fault = not _FAULT_FLAGS.isdisjoint(reading.flags)
                self._set_fault(str(reading.channel), fault)
            elif self.faults:
                self._set_fault(str(reading.channel), False)

    def note_passage(self, now: Instant) -> None:
        """A passage is a valid frame, too."""
        self.heard = now

    def note_reject(self, error: DriverError) -> None:
        """Something was rejected: counted by reason, the newest kept."""
        self.rejects[error.reason] += 1
        self.last_reject = str(error)

    def has_aged(self, now: Instant) -> bool:
        """Whether it may be another state than told last although nothing but time has passed."""
        is_silent = now.mono - (self.heard or self.started).mono > self.silence_limit_s
        return not self._seen or is_silent is not self._seen[0]

    def changed(self, now: Instant) -> DetectorState | None:
        """The state if it is another one than told last."""
        seen = (
            now.mono - (self.heard or self.started).mono > self.silence_limit_s,
            self.heard is None,
            self.link_reason,
            tuple(self.faults) if self.faults else (),
            self.learning,
            self.switched_off,
            self.mismatched,
            self.conditions,
        )
        if seen == self._seen:
            return None  # the common case: nothing to work out
        self._seen = seen
        state, reasons = self._state(now)
        told = self._told
        if told is not None and told.state == state and told.reasons == reasons:
            return None
        since = told.since if told is not None and told.state == state else now
        self._told = DetectorState(self.detector, state, reasons, since)
        return self._told

    @property
    def latest(self) -> dict[tuple[Channel, str], Reading]:
        """The newest reading of each channel and part, of frames that begin differently too."""
        return {
            (reading.channel, reading.part): reading
            for frame in self._frames.values()
            for reading in frame
        }

    @property
    def told(self) -> DetectorState | None:
        """The state as last told."""
        return self._told

    @property
    def _is_off_duty(self) -> bool:
        return any(state == "off_duty" for state, _ in self.conditions)

    def _note_fault(self, part: str, present: bool) -> None:
        if part == "switched_off":
            self.switched_off = present
        else:
            self._set_fault(part or Channel.DEVICE_FAULT, present)

    def _forget_instrument(self) -> None:
        """Another one answers: nothing it says is this detector's."""
        self._frames.clear()
        self.faults.clear()
        self.learning = self.switched_off = False

    def _set_fault(self, name: str, present: bool) -> None:
        if present:
            self.faults.add(name)
        else:
            self.faults.discard(name)

    def _state(self, now: Instant) -> tuple[str, tuple[str, ...]]:
        found: dict[str, list[str]] = {}
        for kind, reasons in (*self._findings(now), *self.conditions):
            found.setdefault(kind, []).extend(reasons)
        for state in _WORST_FIRST:
            if state in found:
                return state, tuple(reason for reasons in found.values() for reason in reasons)
        return "ok", tuple(found.get("ok", ()))

    def _findings(self, now: Instant) -> list[tuple[str, list[str]]]:
        found: list[tuple[str, list[str]]] = []
        silent_s = now.mono - (self.heard or self.started).mono
        if self.switched_off:
            found.append(("off_duty", ["switched off by its user"]))
        elif silent_s > self.silence_limit_s and not self._is_off_duty:
            reason = self.link_reason or f"no valid frame for over {self.silence_limit_s:g} s"
            found.append(("missing" if self.heard is None else "stale", [reason]))
        elif self.heard is None and not self._is_off_duty:
            found.append(("learning", ["no frame yet"]))
        if self.faults:
            found.append(("fault", sorted(self.faults)))
        if self.mismatched:
            found.append(("degraded", ["another serial number than configured"]))
        if self.learning:
            found.append(("learning", ["warming up"]))
        return found


@lru_cache(maxsize=REMEMBERED)
def _told_by(flags: tuple[Flag, ...]) -> tuple[bool, bool, bool]:
    """Whether these flags speak of another instrument, of one that learns, of a fault."""
    return (
        Flag.IDENTITY_MISMATCH in flags,
        not _LEARNING_FLAGS.isdisjoint(flags),
        not _FAULT_FLAGS.isdisjoint(flags),
    )


def _are_plain(readings: tuple[Reading, ...]) -> bool:
    """The common case: no flag and no fault in them."""
    for reading in readings:
        if reading.flags or (reading.channel is Channel.DEVICE_FAULT and reading.value):
            return False
    return True
