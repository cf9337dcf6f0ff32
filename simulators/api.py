"""What a simulated instrument is: pure, time and field as arguments.

The player (``simulators.player``) owns time, links and faults. An instrument turns the world into
its own wire bytes with its own habits, and tells for each emission what a faithful reader must
have understood, so that a test can compare what arrived with what was sent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from drivers.api import Position


class Field(Protocol):
    """The radiation field at one detector, as the world gives it. Times in s since the start."""

    def dose_rate(self, at_s: float) -> float:
        """Ambient dose equivalent rate in µSv/h, background included, free of noise."""

    def gamma_counts(self, from_s: float, to_s: float, part: int = 0) -> int:
        """Poisson counts registered in the interval by detector ``part`` of the instrument."""

    def neutron_counts(self, from_s: float, to_s: float, part: int = 0) -> int:
        """The same for neutrons."""

    def occupied(self, at_s: float) -> bool:
        """Whether somebody is in the portal's lane."""

    def speed_m_s(self, at_s: float) -> float | None:
        """Speed of what is in the lane."""

    def position(self, at_s: float) -> Position | None:
        """Where the detector is, None without a fix."""


@dataclass(frozen=True, slots=True)
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


class RegisterInstrument(Protocol):
    """A simulated instrument behind Modbus."""

    def read(
        self, at_s: float, function: int, address: int, count: int, field: Field
    ) -> tuple[Sequence[int], Mapping[str, float | int | str | None]] | int:
        """Registers and what they say, or a Modbus exception code."""
