"""What ghosts add at one instrument; times are seconds since the drill began."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from config.scenario_world import Source
from simulators.counter import NoCounts
from simulators.detector_field import DetectorField
from simulators.poisson import poisson
from simulators.world import World


@dataclass(frozen=True, slots=True)
class Ghost:
    """One ghost as people call it; ``to_s`` is None while it is to stay."""

    name: str
    what: str
    where: str
    from_s: float
    to_s: float | None = None
    nuclide: str | None = None


@dataclass(frozen=True, slots=True)
class Share:
    """What one ghost adds at an instrument: mean dose rate in µSv/h, neutron counts expected."""

    ghost: str
    usv_h: float
    neutrons: float


@dataclass(slots=True)
class Playing:
    """A ghost: its source, and a world of its own at each instrument that asked.

    ``make`` makes the world of a source and one instrument.
    """

    ghost: Ghost
    source: Source
    make: Callable[[Source, str], World]
    _worlds: dict[str, World] = field(default_factory=dict)

    def is_there(self, from_s: float, to_s: float) -> bool:
        """Whether it is there for some of that time."""
        gone_s = self.ghost.to_s
        return self.ghost.from_s <= to_s and (gone_s is None or from_s < gone_s)

    def at(self, detector: str) -> DetectorField:
        """What it does at one instrument."""
        world = self._worlds.get(detector)
        if world is None:
            world = self._worlds[detector] = self.make(self.source, detector)
        return world.field(detector)

    def moved(self, detector: str) -> None:
        """The instrument is somewhere else now."""
        self._worlds.pop(detector, None)

    def leave(self, at_s: float) -> None:
        """It is gone from then on."""
        for world in self._worlds.values():
            world.remove_source(self.source.id, at_s)
        self.source = self.source.model_copy(update={"leaves_s": at_s})
        self.ghost = replace(self.ghost, to_s=max(at_s, self.ghost.from_s))


@dataclass(slots=True)
class GhostField:
    """What all ghosts add at one instrument."""

    detector: str
    playing: Sequence[Playing]
    random: Random
    _dose_usv: float = 0.0
    _dosed_to_s: float = 0.0

    def dose_rate(self, from_s: float, to_s: float) -> float:
        """Mean over an interval in µSv/h; of a moment where both times are the same."""
        return sum(
            _rate(each.at(self.detector), from_s, to_s)
            for each in self.playing
            if each.is_there(from_s, to_s)
        )

    def shares(self, from_s: float, to_s: float) -> list[Share]:
        """What each ghost that is there adds."""
        return [
            Share(
                each.ghost.name,
                _rate(each.at(self.detector), from_s, to_s),
                each.at(self.detector).expected_neutrons(from_s, to_s),
            )
            for each in self.playing
            if each.is_there(from_s, to_s)
        ]

    def dose(self, to_s: float) -> float:
        """What all of them have given since the drill began, in µSv."""
        if to_s > self._dosed_to_s:
            rate = self.dose_rate(self._dosed_to_s, to_s)
            self._dose_usv += rate * (to_s - self._dosed_to_s) / 3600.0
            self._dosed_to_s = to_s
        return self._dose_usv

    def gamma_counts(self, from_s: float, to_s: float, share: float = 1.0) -> int | None:
        """Counts drawn for that part of the instrument; None where its counting is not known."""
        try:
            expected = sum(
                each.at(self.detector).expected_gamma(from_s, to_s)
                for each in self.playing
                if each.is_there(from_s, to_s)
            )
        except NoCounts:
            return None
        return poisson(self.random, expected * share)

    def neutron_counts(self, from_s: float, to_s: float, share: float = 1.0) -> int:
        """The same for neutrons; none where it is not known how it counts them."""
        expected = sum(
            each.at(self.detector).expected_neutrons(from_s, to_s)
            for each in self.playing
            if each.is_there(from_s, to_s)
        )
        return poisson(self.random, expected * share)

    def nuclides(self, at_s: float) -> list[tuple[str, float]]:
        """The nuclides that are there, each with its dose rate in µSv/h."""
        return [
            (each.ghost.nuclide, each.at(self.detector).dose_rate(at_s))
            for each in self.playing
            if each.ghost.nuclide is not None and each.is_there(at_s, at_s)
        ]


def _rate(seen: DetectorField, from_s: float, to_s: float) -> float:
    return seen.dose_rate(to_s) if from_s >= to_s else seen.mean_dose_rate(from_s, to_s)
