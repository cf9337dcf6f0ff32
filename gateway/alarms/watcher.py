"""What a rule of one detector is, and what it is given with each sample."""

from dataclasses import dataclass
from typing import Any, Final, Protocol

from drivers.api import Channel
from drivers.quick import quick
from gateway.alarms.counting import Counted
from gateway.alarms.durable import Internal
from gateway.alarms.record import AlarmRecord, Change, Facts
from gateway.alarms.usability import Seen
from gateway.values import Instant, Measured

Learned = dict[str, Any]
"""What a rule has learned, as JSON: numbers, texts, lists and objects of them."""


@quick(frozen=True, slots=True)
class Sampled:
    """One sample with what all rules ask of it; times on the monotonic clock.

    ``true`` and ``estimate`` are its dose rates. ``blind``: the instrument declares a fault or has
    lost its counts, so it clears nothing and teaches nothing. ``alarming``: a radiation alarm of
    this detector is active, so no background is learned. ``area_wide``: a rise over the whole area
    is under way, by the factor ``common``, and backgrounds may follow it; up to ``cover`` times
    the background its advisory stands for a statistical rise.
    """

    measured: Measured
    gamma: Counted | None
    neutrons: Counted | None
    true: Seen | None
    estimate: Seen | None
    blind: bool
    alarming: bool
    area_wide: bool
    common: float = 1.0
    cover: float = 1.0

    @property
    def at(self) -> Instant:
        """When it was measured."""
        return self.measured.at

    @property
    def arrived(self) -> Instant:
        """When its bytes came in."""
        return self.measured.arrived

    @property
    def device_alarms(self) -> tuple[str, ...]:
        """The instrument's own alarms in this sample."""
        return tuple(
            reading.part or "alarm"
            for reading in self.measured.readings
            if reading.channel is Channel.DEVICE_ALARM and reading.value
        )


@dataclass(frozen=True, slots=True)
class Standing:
    """How a rule stands now: what ``why`` and the detector's state tell.

    ``armed``: it can raise its alarm. If it is not, ``reason`` says why. ``facts`` hold the
    background, thresholds and ``smallest_rise`` (in ``smallest_unit``: the least rise above the
    background that the next windows would find with a probability of one half).
    """

    rule: str
    armed: bool
    reason: str = ""
    facts: Facts = ()


@dataclass(frozen=True, slots=True)
class Common:
    """A rise that many detectors share: ``factor`` is its size, 1 for none; see Sampled."""

    factor: float = 1.0
    cover: float = 1.0
    is_on: bool = False


NOTHING_COMMON: Final = Common()


@dataclass(frozen=True, slots=True)
class Trend:
    """How a detector's present mean compares with its long-term one, and the error of that."""

    ratio: float
    error: float


class Watcher(Protocol):
    """One rule (or a family that shares its background) of one detector."""

    @property
    def alarms(self) -> tuple[str, ...]:
        """The alarm objects it keeps, on the detector's book."""

    def measured(self, sampled: Sampled) -> list[Change]:
        """One sample."""

    def tick(self, now: Instant) -> list[Change]:
        """Time passes."""

    def restore(self, record: AlarmRecord, internal: Internal, now: Instant) -> None:
        """One of its alarms was active before the restart."""

    def internal(self, alarm: str) -> Internal:
        """What a restart needs beside the record of that alarm."""

    def learned(self) -> Learned | None:
        """What a restart would have to learn anew; None: nothing worth keeping."""

    def relearn(self, learned: Learned, age_s: float, now: Instant) -> None:
        """What was learned ``age_s`` ago, before a restart; what is too old is not taken."""

    def standing(self) -> tuple[Standing, ...]:
        """Whether it is armed, and against what."""

    def accept(self, now: Instant) -> list[Change]:
        """The assessor takes what is measured now for the new background."""

    def abandon(self, alarm: str) -> None:
        """That alarm was closed under supervision: its condition is judged anew."""


class Quiet:
    """What most rules need not do: a base of defaults for the optional parts of a Watcher."""

    def tick(self, now: Instant) -> list[Change]:
        """Nothing depends on time alone."""
        return []

    def internal(self, alarm: str) -> Internal:
        """The record says it all."""
        return Internal()

    def learned(self) -> Learned | None:
        """Nothing is learned."""
        return None

    def relearn(self, learned: Learned, age_s: float, now: Instant) -> None:
        """Nothing is learned."""

    def standing(self) -> tuple[Standing, ...]:
        """Nothing to tell."""
        return ()

    def accept(self, now: Instant) -> list[Change]:
        """No background to accept."""
        return []


def facts(**named: float | int | str | None) -> Facts:
    """Named facts of a record, those that are None left out."""
    return tuple((name, value) for name, value in named.items() if value is not None)
