"""The stage of a drill: real instruments in their places, and nothing else.

There is no background here and nothing wanders: those are real.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from random import Random
from typing import Final

from config.actions import Place, Remove
from config.models import Detector, DetectorClass, Post
from config.scenario import Scenario
from config.scenario_detectors import ScenarioDetector
from config.scenario_world import Background, Point, Source, Waypoint
from drivers.api import Position
from simulators.motion import Vector, globe, passing

APART_M: Final = 1e7
"""How far from all others an instrument without a place is: only ghosts that are put at it reach
it. 1 PBq of Co-60 adds 4 pSv/h at the next one. Own choice."""
_KINDS: Final[Mapping[DetectorClass, str]] = {
    "Backpack": "BP",
    "Dosimeter": "EPD",
    "Electronic Personal Emergency Radiation Detector": "EPD",
    "Mobile System": "VEH",
    "Network Area Monitor": "AREA",
    "Neutron Handheld": "HH",
    "Personal Radiation Detector": "PRD",
    "Radionuclide Identifier": "HH",
    "Portal Monitor": "RPM",
    "Spectroscopic Portal Monitor": "RPM",
    "Spectroscopic Personal Radiation Detector": "PRD",
    "Gamma Handheld": "HH",
    "Transportable System": "AREA",
    "Other": "AREA",
}
"""How an instrument counts of which nothing better is known."""
_PLAYED: Final = frozenset({"scenario", "site", "world", "post", "source", "detector", "event"})
_REAL: Final = frozenset(
    {"gateway", "alarms", "guidance", "user", "profile", "background", "expect"}
)
"""What is the running gateway's own, and what virtual time alone looks at."""
_YARD_M: Final = 1000.0
SPAN_S: Final = 3600.0
"""So long before and after it is nearest one goes past."""


def stand_in(
    detector: Detector,
    given: ScenarioDetector | None,
    places: Mapping[str, Point],
    sensitivity: float | None,
) -> ScenarioDetector:
    """How an instrument counts and where it is: as the file says, else what is known of it.

    ``places`` are those of posts.
    """
    base = given or ScenarioDetector.model_construct(
        id=detector.id, driver=detector.driver, archetype="AREA"
    )
    counts = base.sensitivity if given else None
    counts = counts or sensitivity
    kind = given.archetype if given else _KINDS[detector.detector_class or "Other"]
    changes: dict[str, object] = {
        "archetype": kind,
        "post": None,
        "detector_class": detector.detector_class,
        "sensitivity": counts,
        "neutron_background_rate": 0.0,
        "parts": 1,
        "script": None,
        "drift": None,
        "on_s": 0.0,
        "off_s": None,
    }
    if counts:
        changes["background_rate"] = 1.0  # of a natural field that is not there
    if base.at is None and base.path is None:
        post = (given.post if given else None) or detector.post
        changes["at"] = places.get(post or "")
    return base.model_copy(update=changes)


def places_of(posts: Iterable[Post]) -> dict[str, Point]:
    """Where posts are; of two of one name the last one."""
    return {
        post.id: Point(x=post.plan_x_m, y=post.plan_y_m)
        for post in posts
        if post.plan_x_m is not None and post.plan_y_m is not None
    }


def apart(number: int) -> Point:
    """A place that nothing else is near."""
    return Point(x=number * APART_M, y=APART_M)


def resolved(source: Source, place_of: Callable[[str, float], Vector], seed: int) -> Source:
    """The source on a way of its own: a pass is one past where the instrument is then."""
    course = source.passing
    if course is None:
        return source
    late_s = Random(f"{seed}/{source.id}/late").uniform(0.0, course.jitter_s)
    track = passing(place_of(course.past, course.at_s), course, SPAN_S, late_s)
    corners = zip(track.times, track.points, strict=True)
    path = tuple(Waypoint.model_construct(t=t, x=x, y=y, z=z) for t, (x, y, z) in corners)
    return source.model_copy(update={"passing": None, "path": path})


def placed(event: Place) -> Source:
    """The source that an event puts down."""
    return Source.model_construct(
        id=event.id,
        nuclide=event.nuclide,
        activity=event.activity,
        at=Point(x=event.x, y=event.y, z=event.z),
        appears_s=event.at_s,
    )


def stage(scenario: Scenario, source: Source, detector: ScenarioDetector) -> Scenario:
    """One source and one instrument."""
    return Scenario.model_construct(
        scenario=scenario.scenario,
        site=scenario.site,
        world=scenario.world,
        background=Background.model_construct(dose_rate=0.0),
        source=(source,),
        detector=(detector,),
    )


def unplayed(scenario: Scenario) -> Iterator[str]:
    """What stands in the file and a drill has no use for."""
    for name in Scenario.model_fields:
        value = getattr(scenario, name)
        if name not in _PLAYED | _REAL and value:
            yield f"[[{name}]]"
    others = {event.do for event in scenario.event if not isinstance(event, Place | Remove)}
    if others:
        yield f"events {', '.join(sorted(others))}"


class Yard:
    """Local metres of positions on the globe, near the site's origin."""

    def __init__(self, latitude: float, longitude: float) -> None:
        corner = globe((latitude, longitude), (_YARD_M, _YARD_M, 0.0))
        self._origin = latitude, longitude
        self._north_m = _YARD_M / (corner.latitude - latitude)
        self._east_m = _YARD_M / (corner.longitude - longitude)

    def place(self, position: Position) -> Point:
        """Where that is."""
        latitude, longitude = self._origin
        x = (position.longitude - longitude) * self._east_m
        return Point(x=x, y=(position.latitude - latitude) * self._north_m)
