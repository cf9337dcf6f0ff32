"""Ghost sources: what sources that are not there would add at real instruments, and nothing else.

Each ghost has worlds of its own, so that what it alone adds is known. Times are seconds since the
drill began.
"""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from pydantic import ValidationError

from config.actions import Place, Remove
from config.models import Detector, Post
from config.nuclides import NUCLIDES
from config.problem import did_you_mean
from config.scenario import Scenario
from config.scenario_detectors import ScenarioDetector
from config.scenario_world import Point, Source
from drivers.api import Position
from simulators.ghost_field import Ghost, GhostField, Playing
from simulators.ghost_stage import (
    Yard,
    apart,
    placed,
    places_of,
    resolved,
    stage,
    stand_in,
    unplayed,
)
from simulators.motion import Vector, through
from simulators.world import World


class GhostRefused(ValueError):
    """A ghost that cannot be; the text says why."""


class GhostWorld:
    """All ghosts of one drill over the instruments of a gateway.

    ``sensitivities`` are in 1/s per µSv/h, of instruments whose calibration is known. An instrument
    is where the file says, else where it says itself if the file has a site, else at its post.
    """

    def __init__(
        self,
        scenario: Scenario,
        detectors: Sequence[Detector],
        posts: Sequence[Post],
        sensitivities: Mapping[str, float],
    ) -> None:
        self.name, self.title = scenario.scenario.name, scenario.scenario.title
        self.unplayed = tuple(unplayed(scenario))
        self._seed = scenario.scenario.seed
        self._known = [each.id for each in detectors]
        given = {each.id: each for each in scenario.detector}
        for name in given:
            self._check_known(name)
        places = places_of((*posts, *scenario.post))
        self._roaming: set[str] = set()
        placeless: list[str] = []
        instruments: dict[str, ScenarioDetector] = {}
        for number, detector in enumerate(detectors, start=1):
            said, counts = given.get(detector.id), sensitivities.get(detector.id)
            mine = stand_in(detector, said, places, counts)
            if said is None or (said.at is None and said.path is None):
                self._roaming.add(detector.id)
            if mine.at is None and mine.path is None:
                placeless.append(detector.id)
                mine = mine.model_copy(update={"at": apart(number)})
            instruments[detector.id] = mine
        self.apart = tuple(placeless)
        """Instruments without a place: only ghosts that are put at them reach them."""
        site = scenario.site
        self._yard = None if site is None else Yard(site.latitude, site.longitude)
        self._scenario = scenario
        self._instruments = instruments
        self._playing: list[Playing] = []
        self._fields: dict[str, GhostField] = {}
        self._events = sorted(
            (event for event in scenario.event if isinstance(event, Place | Remove)),
            key=lambda event: event.at_s,
        )
        for source in scenario.source:
            self._appear(source, _where(source))

    @property
    def ghosts(self) -> tuple[Ghost, ...]:
        """Every one that was ever there or is still to come, in order."""
        return tuple(each.ghost for each in self._playing)

    def field(self, detector: str) -> GhostField:
        """What all of them add at one instrument."""
        found = self._fields.get(detector)
        if found is None:
            draws = Random(f"{self._seed}/ghosts/{detector}")
            found = self._fields[detector] = GhostField(detector, self._playing, draws)
        return found

    def advance(self, to_s: float) -> None:
        """What the file lets happen until then."""
        while self._events and self._events[0].at_s <= to_s:
            event = self._events.pop(0)
            self.remove(event.id, event.at_s)
            if isinstance(event, Place):
                source = placed(event)
                self._appear(source, _where(source))

    def inject(self, wanted: Mapping[str, object], now_s: float) -> Ghost:
        """One more, as the leader of the exercise asks for it. Raises GhostRefused."""
        asked = _Asked(wanted)
        name = asked.text("name")
        if name and any(name in (each.ghost.name, each.source.id) for each in self._playing):
            raise GhostRefused(f"the name {name} was used already: the sheet would not tell them")
        nuclide, for_s = asked.text("nuclide"), asked.number("for_s", None)
        if nuclide and nuclide not in NUCLIDES:
            known = did_you_mean(nuclide, NUCLIDES)
            raise GhostRefused(f"no dose-rate constant of {nuclide!r} is known; {known}")
        place, where = self._place(asked, now_s)
        table: dict[str, object] = {
            "id": name or self._free_name("ghost-1"),
            "kind": asked.text("kind") or "bare",
            "n_per_s": asked.number("n_per_s", 0.0),
            "nuclide": nuclide or None,
            "appears_s": now_s,
            "leaves_s": None if for_s is None else now_s + for_s,
        }
        if asked.text("activity"):
            table["activity"] = asked.text("activity")
        return self._appear(_source(table | place), where)

    def remove(self, name: str, now_s: float) -> bool:
        """It is gone from then on; False if there is none of that name."""
        found = [
            each
            for each in self._playing
            if name in (each.ghost.name, each.source.id)
            and (each.ghost.to_s is None or each.ghost.to_s > now_s)
        ]
        for each in found:
            each.leave(now_s)
        return bool(found)

    def moved(self, detector: str, position: Position) -> None:
        """An instrument says where it is; of use where the file has a site."""
        if self._yard is not None and detector in self._roaming:
            point, mine = self._yard.place(position), self._instruments[detector]
            if point != mine.at:
                self._instruments[detector] = mine.model_copy(update={"at": point})
                for each in self._playing:
                    each.moved(detector)

    def _check_known(self, name: str) -> None:
        if name not in self._known:
            hint = did_you_mean(name, self._known)
            raise GhostRefused(f"{name!r} is no live detector of this gateway; {hint}")

    def _appear(self, source: Source, where: str) -> Ghost:
        what = _what(source.nuclide, source.activity, source.n_per_s, source.kind)
        begins_s, ends_s = source.appears_s, source.leaves_s
        if source.passing is None and source.at is None and source.path is None:
            raise GhostRefused(f"{source.id} rides: a drill plays sources that stand or move")
        name = self._free_name(source.id)
        ghost = Ghost(name, what, where, begins_s, ends_s, source.nuclide)
        way = resolved(source, self._place_of, self._seed)
        self._playing.append(Playing(ghost, way, self._world))
        return ghost

    def _world(self, source: Source, detector: str) -> World:
        return World(stage(self._scenario, source, self._instruments[detector]), self._seed)

    def _place_of(self, detector: str, at_s: float) -> Vector:
        """Where an instrument is."""
        self._check_known(detector)
        mine = self._instruments[detector]
        if mine.path is not None:
            return through(mine.path).at(at_s)
        point = mine.at or Point(x=0.0, y=0.0)
        return point.x, point.y, point.z

    def _free_name(self, wanted: str) -> str:
        taken = {each.ghost.name for each in self._playing}
        stem, number = wanted.removesuffix("-1"), 2
        while wanted in taken:
            wanted, number = f"{stem}-{number}", number + 1
        return wanted

    def _place(self, asked: "_Asked", now_s: float) -> tuple[dict[str, object], str]:
        """Where it is to be: a part of a source's table, and in words."""
        past, near = asked.text("past"), asked.text("detector")
        if past:
            self._check_known(past)
            return _pass(past, asked, now_s)
        if near:
            distance = asked.number("distance_m", 1.0) or 0.0
            x, y, z = self._place_of(near, now_s)
            return {"at": {"x": x + distance, "y": y, "z": z}}, f"at {near}, {distance:g} m"
        x_m, y_m = asked.number("x", None), asked.number("y", None)
        if x_m is None or y_m is None:
            raise GhostRefused("say where: x and y, at a detector, or past one")
        return {"at": {"x": x_m, "y": y_m}}, f"at {x_m:g}, {y_m:g} m"


def _pass(past: str, asked: "_Asked", now_s: float) -> tuple[dict[str, object], str]:
    closest = asked.number("distance_m", 2.0) or 0.0
    speed, after = asked.text("speed") or "1.2 m/s", asked.number("in_s", 30.0) or 0.0
    course = {"past": past, "closest_m": closest, "speed": speed, "at_s": now_s + after}
    return {"pass": course}, f"past {past} at {closest:g} m, {speed}, nearest in {after:g} s"


class _Asked:
    """What was asked for, read one by one; raises GhostRefused."""

    def __init__(self, wanted: Mapping[str, object]) -> None:
        self._wanted = wanted

    def text(self, key: str) -> str:
        """One text; empty where it was left out."""
        value = self._wanted.get(key, "")
        if not isinstance(value, str):
            raise GhostRefused(f"{key} is text")
        return value.strip()

    def number(self, key: str, default: float | None) -> float | None:
        """One number, below zero only as a coordinate."""
        value = self._wanted.get(key, default)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise GhostRefused(f"{key} is a number")
        if value < 0 and key not in ("x", "y"):
            raise GhostRefused(f"{key} is not below 0")
        return float(value)


def _source(table: dict[str, object]) -> Source:
    try:
        source = Source.model_validate(table)
    except ValidationError as error:
        first: Any = error.errors(include_url=False)[0]
        hint = first.get("ctx", {}).get("hint", "")
        said = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise GhostRefused(f"{said}; {hint}" if hint else said) from error
    if (source.nuclide is None) is not (source.activity is None):
        raise GhostRefused("a nuclide and its activity go together")
    if source.nuclide is None and not source.n_per_s:
        raise GhostRefused("it emits nothing: give it a nuclide and an activity, or neutrons")
    return source


def _what(nuclide: str | None, activity: float | None, n_per_s: float, kind: str) -> str:
    told = []
    if nuclide is not None and activity is not None:
        told.append(f"{nuclide} {_activity(activity)}")
    if n_per_s:
        told.append(f"{n_per_s:g} n/s")
    said = " and ".join(told)
    return said if kind == "bare" else f"{said} ({kind})"


def _activity(becquerel: float) -> str:
    for name, factor in (("TBq", 1e12), ("GBq", 1e9), ("MBq", 1e6), ("kBq", 1e3)):
        if becquerel >= factor:
            return f"{becquerel / factor:g} {name}"
    return f"{becquerel:g} Bq"


def _where(source: Source) -> str:
    if source.at is not None:
        return f"at {source.at.x:g}, {source.at.y:g} m"
    if source.passing is not None:
        course = source.passing
        return f"past {course.past} at {course.closest_m:g} m, {course.speed:g} m/s"
    return "on its path"
