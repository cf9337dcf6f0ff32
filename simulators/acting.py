"""What events of a scenario do to the world and the instruments, in virtual and real time alike."""

from config.actions import (
    Block,
    Event,
    Identify,
    InstrumentState,
    Place,
    Power,
    Remove,
    Send,
    SetReading,
    StartRain,
    WrongSerial,
)
from config.scenario_world import Pass, Point, Rain, Source
from simulators.api import HasSerial, HasStates, Identifies
from simulators.world import World


class CannotAct(TypeError):
    """An instrument was asked for something that it cannot play; the checks let none through."""


def act(world: World, event: Event, now_s: float, instrument: object = None) -> bool:
    """Does it; ``instrument`` is the event's detector. False if the event is about neither."""
    match event:
        case Place():
            world.add_source(_placed(event, now_s))
        case Send():
            world.add_source(_sent(event, now_s))
        case StartRain():
            world.add_rain(_rain(event, now_s))
        case Remove():
            world.remove_source(event.id, now_s)
        case SetReading(do="reading"):
            world.field(event.detector).hold(event.dose_rate, event.gamma_rate, event.neutron_rate)
        case SetReading():
            world.field(event.detector).release()
        case Block(do="block"):
            world.field(event.detector).block(now_s)
        case Block():
            world.field(event.detector).unblock(now_s)
        case Power():
            world.field(event.detector).power.switch(now_s, event.do == "power_on")
        case WrongSerial() | InstrumentState() | Identify():
            _tell(event, instrument)
        case _:
            return False
    return True


def _tell(event: WrongSerial | InstrumentState | Identify, instrument: object) -> None:
    match event:
        case WrongSerial() if isinstance(instrument, HasSerial):
            instrument.set_serial(event.serial_number)
        case InstrumentState() if isinstance(instrument, HasStates) and (
            event.do in instrument.states
        ):
            instrument.set_state(event.do, on=event.on)
        case Identify() if isinstance(instrument, Identifies):
            instrument.identify(event.nuclide, event.category, event.confidence)
        case _:
            raise CannotAct(f"{event.detector} cannot play {event.do}")


def _placed(event: Place, now_s: float) -> Source:
    """The source that an event puts down; amounts are held in base units already."""
    return Source.model_construct(
        id=event.id,
        nuclide=event.nuclide,
        activity=event.activity,
        at=Point(x=event.x, y=event.y, z=event.z),
        appears_s=now_s,
        leaves_s=_leaves(event.for_s, now_s),
    )


def _sent(event: Send, now_s: float) -> Source:
    """The same for one that somebody carries past a detector."""
    course = Pass.model_construct(
        past=event.past,
        closest_m=event.closest_m,
        speed=event.speed,
        at_s=now_s + event.nearest_in_s,
        heading_deg=event.heading_deg,
    )
    return Source.model_construct(
        id=event.id,
        nuclide=event.nuclide,
        activity=event.activity,
        passing=course,
        appears_s=now_s,
        leaves_s=_leaves(event.for_s, now_s),
    )


def _leaves(for_s: float | None, now_s: float) -> float | None:
    return None if for_s is None else now_s + for_s


def _rain(event: StartRain, now_s: float) -> Rain:
    return Rain.model_construct(
        at_s=now_s, rise=event.rise, rise_s=event.rise_s, half_life_s=event.half_life_s
    )
