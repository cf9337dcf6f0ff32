"""What a scenario tells beside its messages: places, ways, what is done when; for a picture."""

from collections.abc import Iterator

from config.actions import ClockStep, Event, GatewayAction
from config.command_actions import AskAgain, Command
from config.scenario import Scenario
from gateway.plot.numbers import plain
from gateway.plot.values import Globe, Mark, Place, Stage, Story, Way, Zone
from simulators.acting import act
from simulators.motion import Track
from simulators.sources import Emitter
from simulators.world import World

MOST_SOURCES = 30
"""Own choice: a crowd has more, and a map with more is black."""
_SOURCES = ("place_source", "send_source", "remove_source")
_OF_THE_WORLD = (*_SOURCES, "reading", "release", "identify", "block", "unblock", "rain")
_ENDS = ("replug", "thaw", "power_on", "broker_start", "mend")


def stage_of(scenario: Scenario, seed: int, start: float, story: Story) -> Stage:
    """The stage of a scenario that begins at a wall time; its marks need the story's alarms."""
    world = World(scenario, seed)
    for event in scenario.event:
        if event.do in _SOURCES:
            act(world, event, event.at_s)
    steps = [event for event in scenario.event if isinstance(event, ClockStep)]
    end_s = scenario.scenario.duration_s
    sources = [way for each in _emitters(world, scenario) if (way := _source(each, start, end_s))]
    site = scenario.site
    notes = []
    if steps:
        notes.append("The wall clock is stepped: what comes after stands at its own time.")
    if len(sources) > MOST_SOURCES:
        notes.append(f"Sources not on the map: {len(sources) - MOST_SOURCES}.")
    return Stage(
        title=scenario.scenario.title or scenario.scenario.name,
        is_simulated=True,
        played_from=None if steps else start,
        origin=None if site is None else Globe(site.latitude, site.longitude),
        posts=tuple(_posts(scenario, start)),
        detectors=tuple(_detectors(world, scenario, start, end_s)),
        sources=tuple(sources[:MOST_SOURCES]),
        zones=tuple(_zones(scenario)),
        marks=tuple(_marks(scenario, start, story)),
        notes=tuple(notes),
    )


def _emitters(world: World, scenario: Scenario) -> Iterator[Emitter]:
    for detector in scenario.detector[:1]:
        yield from world.field(detector.id).emitters


def _posts(scenario: Scenario, start: float) -> Iterator[Way]:
    for post in scenario.post:
        if post.plan_x_m is not None and post.plan_y_m is not None:
            yield Way(post.id, (start,), (Place(post.plan_x_m, post.plan_y_m),))


def _detectors(world: World, scenario: Scenario, start: float, end_s: float) -> Iterator[Way]:
    for detector in scenario.detector:
        track = world.field(detector.id).track
        if track is not None:
            yield _way(detector.id, track, start, 0.0, end_s)


def _source(emitter: Emitter, start: float, end_s: float) -> Way | None:
    begin_s, last_s = max(0.0, emitter.appears_s), min(end_s, emitter.leaves_s)
    if begin_s >= last_s and emitter.times == 1:
        return None
    note = f"({emitter.nuclide})" if emitter.nuclide else ""
    return _way(emitter.name, emitter.track, start, begin_s, max(begin_s, last_s), note)


def _way(
    name: str, track: Track, start: float, begin_s: float, end_s: float, note: str = ""
) -> Way:
    """The piece of a track between two times."""
    corners = [time for time in track.times if begin_s < time < end_s]
    times = [begin_s] if track.is_still else [begin_s, *corners, end_s]
    places = tuple(Place(*track.at(time)[:2]) for time in times)
    if len(set(places)) == 1:
        times, places = times[:1], places[:1]
    return Way(name, tuple(start + time for time in times), places, note)


def _zones(scenario: Scenario) -> Iterator[Zone]:
    for zone in scenario.zone:
        yield Zone(zone.x_min, zone.x_max, zone.y_min, zone.y_max, f"background × {zone.factor:g}")


def _marks(scenario: Scenario, start: float, story: Story) -> Iterator[Mark]:
    for rain in scenario.rain:
        yield Mark(start + _shown(scenario, rain.at_s), "rain", None, is_fault=False)
    for change in scenario.background_change:
        at = start + _shown(scenario, change.at_s)
        text = f"background to {plain(change.dose_rate)} µSv/h"
        for detector in change.detectors or (None,):
            yield Mark(at, text, detector, is_fault=False)
    for event in scenario.event:
        if isinstance(event, AskAgain | Command):
            continue
        time = _time_of(event, scenario, start, story)
        if time is not None:
            for detector in _about(event):
                yield Mark(time, _text(event), detector, _is_fault(event))


def _time_of(event: Event, scenario: Scenario, start: float, story: Story) -> float | None:
    """The wall time; for what waits for an alarm, that of the first that was raised."""
    if not isinstance(event, GatewayAction) or event.after is None:
        return start + _shown(scenario, event.at_s)
    raised = [a.raised for a in story.alarms if event.detector in (None, a.detector)]
    return min(raised) + event.at_s if raised else None


def _shown(scenario: Scenario, at_s: float) -> float:
    """What the stepped wall clock shows, in s after its start."""
    steps = (event for event in scenario.event if isinstance(event, ClockStep))
    return at_s + sum(step.step_s for step in steps if step.at_s < at_s)


def _is_fault(event: Event) -> bool:
    """Whether it makes something worse, other than the field."""
    is_over = event.do in _ENDS or getattr(event, "on", True) is False
    return not is_over and event.do not in _OF_THE_WORLD


def _about(event: Event) -> tuple[str | None, ...]:
    """The detectors that it happens to; None: all."""
    if isinstance(event, GatewayAction):
        return (None,)  # its detector is whose alarm it waits for
    names = [getattr(event, name, None) for name in ("detector", "other", "past")]
    return tuple(name for name in names if isinstance(name, str)) or (None,)


def _text(event: Event) -> str:
    """Its name, the figure that matters, and whether virtual time left it out."""
    word = event.do.replace("_", " ")
    if getattr(event, "on", True) is False:
        word += " off"
    if event.do in _SOURCES:
        word += f" {getattr(event, 'id', '')}"
    rate = getattr(event, "dose_rate", None)
    if isinstance(rate, int | float):
        word += f" {plain(rate)} µSv/h"
    if isinstance(event, ClockStep):
        word += f" {event.step_s:+g} s"
    if isinstance(event, GatewayAction) and event.down_s:
        word += f", {event.down_s:g} s down"
    lasts_s = getattr(event, "for_s", None)
    if isinstance(lasts_s, int | float):
        word += f" for {lasts_s:g} s"
    is_played = event.played and not getattr(event, "live_only", False)
    return word if is_played else f"{word} (not played)"
