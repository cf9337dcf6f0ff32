"""The simulated world: sources, background, movement and rain, and a field for each detector.

Equal seeds and equal sequences of calls give equal numbers.
"""

from random import Random
from typing import Final

from config.scenario import Scenario
from config.scenario_detectors import ScenarioDetector
from config.scenario_world import Pass, Point, Rain, Source, Vehicle
from drivers.api import Position
from simulators.background import Natural, course_of, pressed
from simulators.counter import counter_of
from simulators.crowd import carriers, trains_of
from simulators.detector_field import DetectorField
from simulators.lane import Train, stay_of, train_of
from simulators.motion import Track, passing, still, through
from simulators.power import power_of
from simulators.sources import Emitter, emitters_of, machine_of
from simulators.wander import Wander
from simulators.zones import gamma_steps, neutron_steps

_SHORTEST_SPAN_S: Final = 3600.0


class UnknownDetector(LookupError):
    """No detector of this scenario has that id."""


class World:
    """Everything outside the instruments."""

    def __init__(self, scenario: Scenario, seed: int | None = None) -> None:
        self._scenario = scenario
        self._seed = scenario.scenario.seed if seed is None else seed
        self._rains: list[Rain] = list(scenario.rain)
        self._emitters: list[Emitter] = []
        self._cargo = {each.cargo for each in scenario.vehicle}
        self._fields = {each.id: self._field(each) for each in scenario.detector}
        for vehicle in scenario.vehicle:
            self.field(vehicle.portal).lane.add(Train(stay_of(vehicle)))
        for occupancy in scenario.occupancy:
            self.field(occupancy.portal).lane.add(train_of(occupancy))
        for source in scenario.source:
            self.add_source(source)
        self._emitters += [machine_of(each) for each in scenario.xray]
        self._let_in_crowds()

    def field(self, detector_id: str) -> DetectorField:
        """What one detector is in. Raises UnknownDetector."""
        if detector_id not in self._fields:
            raise UnknownDetector(detector_id)
        return self._fields[detector_id]

    def add_source(self, source: Source) -> None:
        """Puts a source on stage; one of the same name is replaced."""
        course = source.passing or self._ride(source)
        track = self._track_of(source, course)
        self._emitters[:] = [each for each in self._emitters if each.name != source.id]
        for emitter in emitters_of(source, track, course, in_air=self._scenario.world.air):
            emitter.enters_lanes &= source.id not in self._cargo  # its vehicle occupies the lane
            self._emitters.append(emitter)
        self._sources_changed()

    def remove_source(self, source_id: str, at_s: float) -> bool:
        """Takes a source away from ``at_s`` on; False if there is none of that name."""
        found = [each for each in self._emitters if each.name == source_id]
        for emitter in found:
            emitter.leaves_s = min(emitter.leaves_s, at_s)
        self._sources_changed()
        return bool(found)

    def add_rain(self, rain: Rain) -> None:
        """Lets it rain on everybody."""
        self._rains.append(rain)

    def sources(self, at_s: float) -> tuple[str, ...]:
        """The names of the sources on stage."""
        there = (each.name for each in self._emitters if each.is_there(at_s))
        return tuple(dict.fromkeys(there))

    def _sources_changed(self) -> None:
        for field in self._fields.values():
            field.sources_changed()

    def _let_in_crowds(self) -> None:
        for number, crowd in enumerate(self._scenario.crowd):
            for portal, train in trains_of(crowd):
                self.field(portal).lane.add(train)
            for source in carriers(crowd, number, Random(f"{self._seed}/crowd/{number}")):
                self.add_source(source)

    def _field(self, detector: ScenarioDetector) -> DetectorField:
        changes = [
            change
            for change in self._scenario.background_change
            if not change.detectors or detector.id in change.detectors
        ]
        level, site = self._scenario.background.dose_rate, self._scenario.site
        track, zones = self._place(detector), self._scenario.zone
        drift = detector.drift
        wander = Wander(drift, Random(f"{self._seed}/{detector.id}/drift")) if drift else None
        natural = Natural(course_of(level, changes), self._rains, gamma_steps(track, zones), wander)
        return DetectorField(
            detector=detector,
            counter=counter_of(detector),
            track=track,
            natural=natural,
            emitters=self._emitters,
            origin=None if site is None else (site.latitude, site.longitude),
            standing=self._standing(detector),
            seed=self._seed,
            power=power_of(detector.on_s, detector.off_s),
            pressure=pressed(self._scenario.pressure, self._scenario.world),
            neutron_zones=neutron_steps(track, zones),
        )

    def _place(self, detector: ScenarioDetector) -> Track | None:
        if detector.path is not None:
            return through(detector.path)
        if detector.at is not None:
            return still(detector.at)
        for post in self._scenario.post:
            if post.id == detector.post and None not in (post.plan_x_m, post.plan_y_m):
                return still(Point(x=post.plan_x_m or 0.0, y=post.plan_y_m or 0.0))
        return None

    def _standing(self, detector: ScenarioDetector) -> Position | None:
        """Where a detector without plan coordinates stands on the globe."""
        for post in self._scenario.post:
            if post.id == detector.post and post.latitude is not None:
                return Position(post.latitude, post.longitude or 0.0)
        return None

    def _track_of(self, source: Source, course: Pass | None) -> Track:
        if source.at is not None:
            return still(source.at)
        if source.path is not None:
            return through(source.path)
        if course is None:
            raise ValueError(f"the source {source.id} has no place")
        late_s = Random(f"{self._seed}/{source.id}/late").uniform(0.0, course.jitter_s)
        track = self.field(course.past).track
        if track is None:
            raise ValueError(f"{course.past} has no place that one could pass")
        span = max(self._scenario.scenario.duration_s, _SHORTEST_SPAN_S)
        return passing(track.at(course.at_s), course, span, late_s)

    def _ride(self, source: Source) -> Pass | None:
        """The pass of the vehicle whose cargo it is."""
        vehicles = self._scenario.vehicle
        return next((_course(each) for each in vehicles if each.cargo == source.id), None)


def _course(vehicle: Vehicle) -> Pass:
    return Pass.model_construct(
        past=vehicle.portal,
        closest_m=vehicle.closest_m,
        speed=vehicle.speed,
        at_s=vehicle.at_s,
        heading_deg=90.0,
        stay_s=0.0,
        jitter_s=0.0,
    )
