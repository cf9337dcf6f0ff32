"""What events of a scenario do to the world, in virtual and in real time alike."""

from config.actions import Block, Event, Place, Remove, SetReading
from config.scenario import Point, Source
from simulators.world import World


def act(world: World, event: Event, now_s: float) -> bool:
    """Does it; False if the event is not about the world."""
    match event:
        case Place():
            world.add_source(_placed(event, now_s))
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
        case _:
            return False
    return True


def _placed(event: Place, now_s: float) -> Source:
    """The source that an event puts down; amounts are held in base units already."""
    return Source.model_construct(
        id=event.id,
        nuclide=event.nuclide,
        activity=event.activity,
        at=Point(x=event.x, y=event.y, z=event.z),
        appears_s=now_s,
    )
