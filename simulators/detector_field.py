"""The field at one detector, as instruments ask for it: ``simulators.api.Field``.

Expected counts are integrated in closed form for straight, even movement. Only where a counter
loses counts noticeably (1e-4 by dead time, or saturation within reach) and the field changes, the
registered rate is integrated by Simpson's rule in steps of at most 5 ms: relative error below 1e-4
while the closest distance over the speed is 40 ms or more; what begins or ends inside a step
smears by that step. Counts are drawn from an exact Poisson sampler; that dead time also makes
them a little less scattered than Poisson is not modelled.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

from config.archetypes import REFERENCE_USV_H
from config.scenario_detectors import ScenarioDetector, Script
from drivers.api import Position
from simulators.background import Course, Exponential, Natural, Steps
from simulators.counter import Counter, NoCounts
from simulators.lane import Lane, cargo, suppression, visible
from simulators.motion import Track, globe
from simulators.poisson import poisson
from simulators.power import Power
from simulators.reach import Reach
from simulators.sources import Emitter

_STEP_S: Final = 0.005
_MOST_STEPS: Final = 20_000
_FULL: Final = 1 - 1e-9
"""A counter that registers so much of what it can is full, and stuck there."""
_ONE: Final = Course(((0.0, 1.0),))


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
    power: Power = field(default_factory=Power)
    pressure: Course | Exponential = _ONE
    neutron_zones: Steps = field(default_factory=Steps)
    lane: Lane = field(default_factory=Lane)
    _courses: dict[str, Course] = field(default_factory=dict)
    _generators: dict[tuple[str, int], Random] = field(default_factory=dict)
    reach: Reach = field(init=False)
    _can_lose: bool = field(init=False)
    _per_natural: float | None = None

    def __post_init__(self) -> None:
        background = self.counter.background_cps
        self._per_natural = None if background is None else background / REFERENCE_USV_H
        self._can_lose = self.counter.can_lose
        self.reach = Reach(self.emitters, self.detector.lane_m, self.counter.per_usv_h)
        self.release()

    def sources_changed(self) -> None:
        """A source came or went: what was worked out holds no longer."""
        self.reach.changed()

    @property
    def noise(self) -> float:
        """Relative standard deviation of each reading, as the script asks for it."""
        return self.detector.script.noise if self.detector.script else 0.0

    def dose_rate(self, at_s: float) -> float:
        """Ambient dose equivalent rate in µSv/h, background included, free of noise."""
        if scripted := self._courses.get("dose_rate"):
            return scripted.at(at_s)
        if (scripted := self._courses.get("gamma_rate")) and self.counter.can_be_read:
            return self._read_off(scripted.at(at_s), self.natural.at(at_s))
        return self.natural.at(at_s) + self.reach.dose_rate(self.track, at_s)

    def mean_dose_rate(self, from_s: float, to_s: float) -> float:
        """The same as a mean over an interval."""
        seconds, courses = to_s - from_s, self._courses
        if courses and (scripted := courses.get("dose_rate")):
            return scripted.integral(from_s, to_s) / seconds
        natural = self.natural.integral(from_s, to_s)
        if courses and (scripted := courses.get("gamma_rate")) and self.counter.can_be_read:
            return self._read_off(scripted.integral(from_s, to_s), natural) / seconds
        if self.emitters:
            for emitter, exposure in self.reach.exposures(self.track, from_s, to_s):
                natural += emitter.strength * exposure
        return natural / seconds

    def counted_dose_rate(self, from_s: float, to_s: float) -> float:
        """What the expected registered counts of an interval stand for, in µSv/h.

        The background is read as the natural dose rate; losses make it read low.
        """
        counts = self.expected_gamma(from_s, to_s) * self.counter.parts
        excess = self._background() - self.counter.per_usv_h(None)
        natural = self.natural.integral(from_s, to_s)
        dose = (counts - excess * natural) / self.counter.per_usv_h(None)
        return max(dose, 0.0) / (to_s - from_s)

    def noisy_dose_rate(self, at_s: float) -> float:
        """The dose rate with the relative noise of the script, if there is any."""
        scatter = self._generator("dose", 0).gauss(0.0, self.noise) if self.noise else 0.0
        return max(self.dose_rate(at_s) * (1.0 + scatter), 0.0)

    def gamma_counts(self, from_s: float, to_s: float, part: int = 0) -> int:
        """Counts registered in the interval by one of the detectors inside the instrument."""
        expected = self.expected_gamma(from_s, to_s)
        most = self.counter.saturation_cps
        if most == math.inf:
            return poisson(self._generator("gamma", part), expected)
        full = most * (to_s - from_s)
        if expected > full * _FULL:
            return round(full)
        drawn = poisson(self._generator("gamma", part), expected)
        return drawn if drawn < full else math.floor(full)

    def neutron_counts(self, from_s: float, to_s: float, part: int = 0) -> int:
        """The same for neutrons."""
        return poisson(self._generator("neutron", part), self.expected_neutrons(from_s, to_s))

    def occupied(self, at_s: float) -> bool:
        """Whether somebody is in the portal's lane; false for what is no portal."""
        if self.lane.trains and self.lane.at(at_s) is not None:
            return True
        return self._carrier(at_s) is not None

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
        return self.power.since(at_s) is not None

    def on_since(self, at_s: float) -> float | None:
        """When it was switched on last; None while it is off."""
        return self.power.since(at_s)

    def saturates(self, from_s: float, to_s: float) -> bool:
        """Whether counting reaches its end within an interval."""
        if math.isinf(self.counter.saturation_cps):
            return False
        rate = self._highest_rate(from_s, to_s) / self.counter.parts
        return rate >= self.counter.saturation_cps

    def expected_gamma(self, from_s: float, to_s: float) -> float:
        """Mean registered gamma counts of one part in an interval, while switched on."""
        if self.power.is_always_on and from_s >= 0:
            return self._expected_gamma(from_s, to_s) if from_s < to_s else 0.0
        return sum(self._expected_gamma(*span) for span in self.power.spans(from_s, to_s))

    def expected_neutrons(self, from_s: float, to_s: float) -> float:
        """Mean neutron counts of one part in an interval, while switched on."""
        if self.power.is_always_on and 0 <= from_s < to_s:
            return self._true_neutrons(from_s, to_s) / self.counter.parts
        spans = self.power.spans(from_s, to_s)
        return sum(self._true_neutrons(*span) for span in spans) / self.counter.parts

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
        self.lane.block(at_s)

    def unblock(self, at_s: float) -> None:
        """What stopped in the lane goes."""
        self.lane.unblock(at_s)

    def _generator(self, kind: str, part: int) -> Random:
        found = self._generators.get((kind, part))
        if found is None:
            if not 0 <= part <= self.counter.parts:
                raise ValueError(
                    f"{self.detector.id} has {self.counter.parts} parts, no part {part}"
                )
            found = Random(f"{self.seed}/{self.detector.id}/{kind}/{part}")
            self._generators[kind, part] = found
        return found

    def _carrier(self, at_s: float) -> Emitter | None:
        if self.counter.archetype.name != "RPM" or self.track is None:
            return None
        for emitter in self.reach.around(self.track, at_s, at_s):
            near = emitter.enters_lanes and emitter.is_there(at_s)
            if near and emitter.distance(at_s, self.track) < self.detector.lane_m:
                return emitter
        return None

    def _background(self) -> float:
        """Counts per second for each µSv/h of the natural field."""
        if self._per_natural is None:
            name = self.counter.archetype.name
            raise NoCounts(f"{name} has no background count rate; set it in the scenario")
        return self._per_natural

    def _read_off(self, counts: float, natural: float) -> float:
        """Prescribed counts as dose: what lies above the background by the sensitivity."""
        background = self._background() * natural
        if counts <= background:
            return natural * counts / background if background else 0.0
        return natural + (counts - background) / self.counter.per_usv_h(None)

    def _expected_gamma(self, from_s: float, to_s: float) -> float:
        counter = self.counter
        if self._can_lose:
            highest = self._highest_rate(from_s, to_s) / counter.parts
            if not counter.is_faithful(highest):
                return self._registered_counts(from_s, to_s)
        return self._true_counts(from_s, to_s) / counter.parts

    def _true_neutrons(self, from_s: float, to_s: float) -> float:
        if scripted := self._courses.get("neutron_rate"):
            return scripted.integral(from_s, to_s)
        counter = self.counter
        counts = 0.0
        if counter.neutron_background_cps:
            counts = counter.neutron_background_cps * self._pressed(from_s, to_s)
        if self.lane.trains:
            counts += cargo(self.lane.stays(from_s, to_s), from_s, to_s)[1]
        if counter.neutron_cps and self.emitters:
            for emitter, exposure in self.reach.exposures(self.track, from_s, to_s):
                counts += emitter.n_per_s * counter.neutron_cps * exposure
        return counts

    def _pressed(self, from_s: float, to_s: float) -> float:
        """The factor of the neutron background times seconds."""
        if self.neutron_zones.is_one:
            return self.pressure.integral(from_s, to_s)
        return sum(
            factor * self.pressure.integral(start, end)
            for start, end, factor in self.neutron_zones.pieces(from_s, to_s)
        )

    def _true_counts(self, from_s: float, to_s: float) -> float:
        """Mean gamma counts of the whole instrument if it lost none."""
        courses = self._courses
        if courses and (scripted := courses.get("gamma_rate")):
            return scripted.integral(from_s, to_s)
        natural = seen = self.natural.integral(from_s, to_s)
        stays = self.lane.stays(from_s, to_s) if self.lane.trains else ()
        if stays and any(stay.suppression for stay in stays):
            seen = sum(
                share * self.natural.integral(start, end)
                for start, end, share in visible(stays, from_s, to_s)
            )
        counts = self._background() * seen
        if stays:
            counts += cargo(stays, from_s, to_s)[0]
        if courses and (scripted := courses.get("dose_rate")):
            excess = scripted.integral(from_s, to_s) - natural
            return counts + max(excess, 0.0) * self.counter.per_usv_h(None)
        if self.emitters:
            for emitter, exposure in self.reach.exposures(self.track, from_s, to_s):
                if emitter.strength:
                    rate = emitter.strength * self.counter.per_usv_h(emitter.nuclide)
                    counts += rate * exposure
        return counts

    def _true_rate(self, at_s: float) -> float:
        """Gamma rate of the whole instrument if it lost none, in 1/s."""
        if scripted := self._courses.get("gamma_rate"):
            return scripted.at(at_s)
        stays = self.lane.stays(at_s, at_s)
        seen = 1.0 - suppression(stays, at_s)
        rate = self._background() * seen * self.natural.at(at_s)
        rate += sum(stay.gamma_cps for stay in stays if stay.cargo_from_s <= at_s < stay.cargo_to_s)
        if scripted := self._courses.get("dose_rate"):
            excess = scripted.at(at_s) - self.natural.at(at_s)
            return rate + max(excess, 0.0) * self.counter.per_usv_h(None)
        return rate + self.reach.count_rate(self.track, at_s)

    def _highest_rate(self, from_s: float, to_s: float) -> float:
        """An upper bound of the true rate within an interval."""
        if scripted := self._courses.get("gamma_rate"):
            return scripted.peak(from_s, to_s)
        rate = self._background() * self.natural.peak(from_s, to_s)
        rate += sum(stay.gamma_cps for stay in self.lane.stays(from_s, to_s))
        if scripted := self._courses.get("dose_rate"):
            return rate + scripted.peak(from_s, to_s) * self.counter.per_usv_h(None)
        return rate + self.reach.highest_count_rate(self.track, from_s, to_s)

    def _registered_counts(self, from_s: float, to_s: float) -> float:
        """Simpson's rule over the registered rate of one part; at once where it is steady."""
        parts, registered = self.counter.parts, self.counter.registered
        if self._is_steady(from_s, to_s):
            return registered(self._true_rate((from_s + to_s) / 2) / parts) * (to_s - from_s)
        pairs = math.ceil((to_s - from_s) / _STEP_S / 2)
        steps = 2 * min(max(pairs, 1), _MOST_STEPS // 2)
        width = (to_s - from_s) / steps
        total = 0.0
        for index in range(steps + 1):
            weight = 1 if index in (0, steps) else 4 if index % 2 else 2
            total += weight * registered(self._true_rate(from_s + index * width) / parts)
        return total * width / 3

    def _is_steady(self, from_s: float, to_s: float) -> bool:
        """Whether the true rate is the same all through an interval."""
        if scripted := self._courses.get("gamma_rate"):
            return scripted.is_flat(from_s, to_s)
        if self.lane.stays(from_s, to_s) or not self.natural.is_constant:
            return False
        if scripted := self._courses.get("dose_rate"):
            return scripted.is_flat(from_s, to_s)
        return self.reach.is_steady(self.track, from_s, to_s)


def _courses(script: Script | None) -> dict[str, Course]:
    if script is None:
        return {}
    found = {}
    for name in ("dose_rate", "gamma_rate", "neutron_rate"):
        corners = [(point.t, getattr(point, name)) for point in script.points]
        if all(value is not None for _, value in corners):
            found[name] = Course(tuple(corners))
    return found
