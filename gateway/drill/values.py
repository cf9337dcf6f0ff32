"""What a drill is made of: ghosts, whoever plays them, and the gateway as it stands."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from config.models import Configuration, Detector
from drivers.api import DriverInfo, Identity, Position
from gateway.alarms.engine import LEARNED
from gateway.drill.overlay import GhostField
from gateway.pipeline import Pipeline
from gateway.values import Instant

ALARM_KEY: Final = "drill/alarm/"
SHEET_KEY: Final = "drill/sheet"
"""Keys of states: the drill's open alarms, and the sheet of the newest drill."""


class BadDrill(ValueError):
    """A drill, or a ghost, that cannot be; the text says why."""


class Ghost(Protocol):
    """One ghost as people call it; times in s since the drill began."""

    @property
    def name(self) -> str:
        """Its name, no other's."""

    @property
    def what(self) -> str:
        """Nuclide and activity."""

    @property
    def where(self) -> str:
        """Its place or way."""

    @property
    def from_s(self) -> float:
        """When it comes."""

    @property
    def to_s(self) -> float | None:
        """When it goes; None: it stays."""


class Ghosts(Protocol):
    """The ghosts of one drill. What is refused raises ValueError, with the reason."""

    @property
    def name(self) -> str:
        """The drill's name."""

    @property
    def title(self) -> str:
        """In words."""

    @property
    def apart(self) -> Sequence[str]:
        """Detectors without a place."""

    @property
    def unplayed(self) -> Sequence[str]:
        """What stands in the file and is not played."""

    @property
    def ghosts(self) -> Sequence[Ghost]:
        """Every one that was there or is to come."""

    def field(self, detector: str) -> GhostField:
        """What they add at a detector."""

    def advance(self, to_s: float) -> None:
        """What the file lets happen until then."""

    def inject(self, wanted: Mapping[str, object], now_s: float) -> Ghost:
        """One more."""

    def remove(self, name: str, now_s: float) -> bool:
        """It is gone; False if there is none of that name."""

    def moved(self, detector: str, position: Position) -> None:
        """An instrument says where it is."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What a drill is laid over, as it stood when it was asked for.

    ``learned`` are states as a restart would find them.
    """

    configuration: Configuration
    drivers: Mapping[str, DriverInfo]
    learned: Mapping[str, bytes]
    identities: Mapping[str, Identity]

    @property
    def live(self) -> tuple[Detector, ...]:
        """The detectors that are not simulated anyway."""
        return tuple(each for each in self.configuration.detector if not each.simulated)


def learned(pipeline: Pipeline, detector: str, now: Instant) -> tuple[str, bytes]:
    """What a restart would find of a detector; nothing is changed in the pipeline."""
    clocks = {"boot": "", "mono": now.mono, "wall": now.wall}
    saved = pipeline.engine.detector(detector).saved(now)
    return f"{LEARNED}{detector}", json.dumps(clocks | saved).encode()
