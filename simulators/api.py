"""What a simulated instrument is: pure, time and field as arguments.

The player (``simulators.player``) owns time, links and faults. An instrument turns the world into
its own wire bytes with its own habits, and tells for each emission what a faithful reader must
have understood, so that a test can compare what arrived with what was sent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Protocol, runtime_checkable

from drivers.api import Position
from drivers.quick import quick
from simulators.counter import Counter


class Field(Protocol):
    """The radiation field at one detector, as the world gives it. Times in s since the start."""

    @property
    def counter(self) -> Counter:
        """How the detector counts, and its archetype."""

    @property
    def noise(self) -> float:
        """Relative standard deviation that the scenario asks of each dose rate; usually 0."""

    def dose_rate(self, at_s: float) -> float:
        """Ambient dose equivalent rate in µSv/h, background included, free of noise."""

    def mean_dose_rate(self, from_s: float, to_s: float) -> float:
        """The same as a mean over an interval."""

    def counted_dose_rate(self, from_s: float, to_s: float) -> float:
        """The dose rate in µSv/h that the expected registered counts stand for."""

    def saturates(self, from_s: float, to_s: float) -> bool:
        """Whether counting reaches its end within an interval."""

    def gamma_counts(self, from_s: float, to_s: float, part: int = 0) -> int:
        """Poisson counts registered in the interval by detector ``part`` of the instrument."""

    def neutron_counts(self, from_s: float, to_s: float, part: int = 0) -> int:
        """The same for neutrons."""

    def on_since(self, at_s: float) -> float | None:
        """When the instrument was switched on last; None while it is off."""

    def occupied(self, at_s: float) -> bool:
        """Whether somebody is in the portal's lane."""

    def speed_m_s(self, at_s: float) -> float | None:
        """Speed of what is in the lane."""

    def position(self, at_s: float) -> Position | None:
        """Where the detector is, None without a fix."""


@quick(frozen=True, slots=True)
class Emission:
    """Bytes that leave the instrument at ``at_s``, and what they say (channel to value)."""

    at_s: float
    data: bytes
    says: Mapping[str, float | int | str | None] = field(default_factory=dict)


class Instrument(Protocol):
    """A simulated instrument on a byte link."""

    def advance(self, to_s: float, field: Field) -> Sequence[Emission]:
        """Everything it sends by itself up to ``to_s``, in order."""

    def receive(self, at_s: float, data: bytes, field: Field) -> Sequence[Emission]:
        """Its answers to bytes that reach it at ``at_s``."""


@runtime_checkable
class HasSerial(Protocol):
    """An instrument that tells a serial number."""

    def set_serial(self, serial: str) -> None:
        """From now on another instrument answers."""


@runtime_checkable
class HasStates(Protocol):
    """An instrument whose states a scenario may set."""

    @property
    def states(self) -> frozenset[str]:
        """Which of ``config.actions.InstrumentState`` it has; config.scenario_event_checks lists
        the same."""

    def set_state(self, name: str, *, on: bool) -> None:
        """One of ``states``."""


@runtime_checkable
class Identifies(Protocol):
    """An instrument that names nuclides."""

    def identify(self, nuclide: str, category: str, confidence: float | None) -> None:
        """Names a nuclide in what it sends next."""


@runtime_checkable
class HasPace(Protocol):
    """An instrument that knows when it will have something to do; others are asked each tick."""

    def next_s(self) -> float:
        """Until this time it says nothing by itself, whatever happens to it."""


class RegisterInstrument(Protocol):
    """A simulated instrument behind Modbus."""

    def read(
        self, at_s: float, function: int, address: int, count: int, field: Field
    ) -> tuple[Sequence[int], Mapping[str, float | int | str | None]] | int:
        """Registers and what they say, or a Modbus exception code."""
