"""The field at one detector, as instruments ask for it: ``simulators.api.Field``.

Expected counts are integrated in closed form for straight, even movement. Only where a counter
loses counts noticeably (1e-4 by dead time, or saturation within reach) the registered rate is
integrated by Simpson's rule in steps of at most 5 ms: relative error below 1e-4 while the closest
distance over the speed is 40 ms or more; what begins or ends inside a step smears by that step.
Counts are drawn from an exact Poisson sampler; that dead time also makes them a little less
scattered than Poisson is not modelled.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

from config.archetypes import REFERENCE_USV_H
from config.scenario import ScenarioDetector, Script
from drivers.api import Position
from simulators.background import Course, Natural
from simulators.counter import Counter, NoCounts
from simulators.lane import Lane, Stay, Train
from simulators.motion import Track, globe
from simulators.poisson import poisson
from simulators.sources import Emitter

_STEP_S: Final = 0.005
_MOST_STEPS: Final = 20_000


@dataclass(slots=True)
class DetectorField:
    """What one detector is in; times in s after the start of play."""

    detector: ScenarioDetector
    counter: Counter
    track: Track | None
    natural: Natural
    emitters: Sequence[Emitter]
    origin: tuple[float, float] | None
    standing: Position | None
    seed: int
    lane: Lane = field(default_factory=Lane)
    _courses: dict[str, Course] = field(default_factory=dict)
    _generators: dict[str, Random] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.release()

    def dose_rate(self, at_s: float) -> float:
        """Ambient dose equivalent rate in µSv/h, background included, free of noise."""
        if scripted := self._courses.get("dose_rate"):
            return scripted.at(at_s)
        return self.natural.at(at_s) + self._source_rate(at_s)

    def noisy_dose_rate(self, at_s: float) -> float:
        """The same with the relative noise of the script, if there is any."""
        noise = self.detector.script.noise if self.detector.script else 0.0
        scatter = self._generator("dose", 0).gauss(0.0, noise) if noise else 0.0
        return max(self.dose_rate(at_s) * (1.0 + scatter), 0.0)

    def gamma_counts(self, from_s: float, to_s: float, part: int = 0) -> int:
        """Counts registered in the interval by one of the detectors inside the instrument."""
        mean = self.expected_gamma(from_s, to_s)
        return poisson(self._generator("gamma", part), mean)

    def neutron_counts(self, from_s: float, to_s: float, part: int = 0) -> int:
        """The same for neutrons."""
        mean = self.expected_neutrons(from_s, to_s)
        return poisson(self._generator("neutron", part), mean)

    def occupied(self, at_s: float) -> bool:
        """Whether somebody is in the portal's lane; false for what is no portal."""
        return self.lane.at(at_s) is not None or self._carrier(at_s) is not None

    def speed_m_s(self, at_s: float) -> float | None:
        """Speed of what is in the lane, None if nothing is or its speed is not known."""
        if stay := self.lane.at(at_s):
            return stay.speed_m_s
        carrier = self._carrier(at_s)
        return carrier.track.speed(at_s) if carrier else None

    def position(self, at_s: float) -> Position | None:
        """Where the detector is on the globe, None if the scenario does not say."""
        if self.track is None or self.origin is None:
            return self.standing
        return globe(self.origin, self.track.at(at_s))

    def is_on(self, at_s: float) -> bool:
        """Whether the instrument is switched on."""
        end = self.detector.off_s
        return self.detector.on_s <= at_s and (end is None or at_s < end)

    def expected_gamma(self, from_s: float, to_s: float) -> float:
        """Mean registered gamma counts of one part in an interval, while switched on."""
        start, end = self._while_on(from_s, to_s)
        if end <= start:
            return 0.0
        parts = self.counter.parts
        if self.counter.is_faithful(self._highest_rate(start, end) / parts):
            return self._true_counts(start, end) / parts
        return self._registered_counts(start, end)

    def expected_neutrons(self, from_s: float, to_s: float) -> float:
        """Mean neutron counts of one part in an interval, while switched on."""
        start, end = self._while_on(from_s, to_s)
        if end <= start:
            return 0.0
        if scripted := self._courses.get("neutron_rate"):
            return scripted.integral(start, end) / self.counter.parts
        counts = self.counter.neutron_background_cps * (end - start)
        counts += self.lane.cargo(start, end)[1]
        if self.track is not None and self.counter.neutron_cps:
            for emitter in self.emitters:
                rate = emitter.n_per_s * self.counter.neutron_cps
                counts += rate * emitter.exposure(start, end, self.track) if rate else 0.0
        return counts / self.counter.parts

    def hold(
        self,
        dose_rate: float | None = None,
        gamma_rate: float | None = None,
        neutron_rate: float | None = None,
    ) -> None:
        """From now on these, in µSv/h and 1/s, in place of the world's until ``release``."""
        given = {"dose_rate": dose_rate, "gamma_rate": gamma_rate, "neutron_rate": neutron_rate}
        self._courses |= {
            name: Course(((0.0, value),)) for name, value in given.items() if value is not None
        }

    def release(self) -> None:
        """Back to the script, if there is one, and the world."""
        self._courses = _courses(self.detector.script)

    def block(self, at_s: float) -> None:
        """Something stops in the lane and stays."""
        self.lane.trains.append(Train(Stay(at_s, math.inf)))

    def unblock(self, at_s: float) -> None:
        """What stopped in the lane goes."""
        for index, train in enumerate(self.lane.trains):
            if math.isinf(train.first.to_s):
                self.lane.trains[index] = Train(Stay(train.first.from_s, at_s))

    def _while_on(self, from_s: float, to_s: float) -> tuple[float, float]:
        end = self.detector.off_s
        return max(from_s, self.detector.on_s), to_s if end is None else min(to_s, end)

    def _generator(self, kind: str, part: int) -> Random:
        if not 0 <= part <= self.counter.parts:
            raise ValueError(f"{self.detector.id} has {self.counter.parts} parts, no part {part}")
        name = f"{self.seed}/{self.detector.id}/{kind}/{part}"
        if name not in self._generators:
            self._generators[name] = Random(name)
        return self._generators[name]

    def _carrier(self, at_s: float) -> Emitter | None:
        if self.counter.archetype.name != "RPM" or self.track is None:
            return None
        for emitter in self.emitters:
            near = emitter.is_there(at_s) and emitter.enters_lanes
            if near and emitter.distance(at_s, self.track) < self.detector.lane_m:
                return emitter
        return None

    def _background_cps(self) -> float:
        """At the reference dose rate."""
        if self.counter.background_cps is None:
            name = self.counter.archetype.name
            raise NoCounts(f"{name} has no background count rate; set it in the scenario")
        return self.counter.background_cps

    def _source_rate(self, at_s: float) -> float:
        track = self.track
        if track is None:
            return 0.0
        return sum(each.strength * each.proximity(at_s, track) for each in self.emitters)

    def _true_counts(self, from_s: float, to_s: float) -> float:
        """Mean gamma counts of the whole instrument if it lost none."""
        if scripted := self._courses.get("gamma_rate"):
            return scripted.integral(from_s, to_s)
        per_usv_h = self._background_cps() / REFERENCE_USV_H
        counts = self.lane.cargo(from_s, to_s)[0]
        for start, end, seen in self.lane.visible(from_s, to_s):
            counts += per_usv_h * seen * self.natural.integral(start, end)
        if scripted := self._courses.get("dose_rate"):
            excess = scripted.integral(from_s, to_s) - self.natural.integral(from_s, to_s)
            return counts + max(excess, 0.0) * self.counter.per_usv_h(None)
        for emitter in self.emitters if self.track else ():
            if emitter.strength and self.track:
                rate = emitter.strength * self.counter.per_usv_h(emitter.nuclide)
                counts += rate * emitter.exposure(from_s, to_s, self.track)
        return counts

    def _true_rate(self, at_s: float) -> float:
        """Gamma rate of the whole instrument if it lost none, in 1/s."""
        if scripted := self._courses.get("gamma_rate"):
            return scripted.at(at_s)
        seen = 1.0 - self.lane.suppression(at_s)
        rate = self._background_cps() / REFERENCE_USV_H * seen * self.natural.at(at_s)
        rate += sum(
            stay.gamma_cps
            for stay in self.lane.stays(at_s, at_s)
            if stay.cargo_from_s <= at_s < stay.cargo_to_s
        )
        if scripted := self._courses.get("dose_rate"):
            excess = scripted.at(at_s) - self.natural.at(at_s)
            return rate + max(excess, 0.0) * self.counter.per_usv_h(None)
        for emitter in self.emitters if self.track else ():
            if emitter.strength and self.track:
                per_usv_h = self.counter.per_usv_h(emitter.nuclide)
                rate += emitter.strength * per_usv_h * emitter.proximity(at_s, self.track)
        return rate

    def _highest_rate(self, from_s: float, to_s: float) -> float:
        """An upper bound of the true rate within an interval."""
        if scripted := self._courses.get("gamma_rate"):
            return scripted.peak(from_s, to_s)
        if not self.counter.can_lose:
            return 0.0
        rate = self._background_cps() / REFERENCE_USV_H * self.natural.peak(from_s, to_s)
        rate += sum(stay.gamma_cps for stay in self.lane.stays(from_s, to_s))
        if scripted := self._courses.get("dose_rate"):
            return rate + scripted.peak(from_s, to_s) * self.counter.per_usv_h(None)
        for emitter in self.emitters if self.track else ():
            if emitter.strength and self.track:
                nearest = emitter.peak_proximity(from_s, to_s, self.track)
                rate += emitter.strength * self.counter.per_usv_h(emitter.nuclide) * nearest
        return rate

    def _registered_counts(self, from_s: float, to_s: float) -> float:
        """Simpson's rule over the registered rate of one part."""
        pairs = math.ceil((to_s - from_s) / _STEP_S / 2)
        steps = 2 * min(max(pairs, 1), _MOST_STEPS // 2)
        width = (to_s - from_s) / steps
        total = 0.0
        for index in range(steps + 1):
            weight = 1 if index in (0, steps) else 4 if index % 2 else 2
            rate = self._true_rate(from_s + index * width) / self.counter.parts
            total += weight * self.counter.registered(rate)
        return total * width / 3


def _courses(script: Script | None) -> dict[str, Course]:
    if script is None:
        return {}
    found = {}
    for name in ("dose_rate", "gamma_rate", "neutron_rate"):
        corners = [(point.t, getattr(point, name)) for point in script.points]
        if all(value is not None for _, value in corners):
            found[name] = Course(tuple(corners))
    return found
