"""A scenario played in real time on real ports: pseudo-terminals, TCP and Modbus.

One loop gives each instrument its turn when something is due; what falls due within a tick goes
together. Events come from the scenario and, while it runs, from whoever operates the stage.
"""

import heapq
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from itertools import count
from pathlib import Path
from random import Random

from config.actions import BrokerAction, BrokerStall, Event, Garbage, Power
from config.link_actions import (
    HalfOpen,
    LinkAction,
    LinkFault,
    Mend,
    Replug,
    Swap,
)
from config.models import Link
from config.scenario import Scenario
from simulators.acting import act
from simulators.live_bytes import TICK_S, ByteOutlet
from simulators.live_opening import Opener
from simulators.live_registers import RegisterOutlet
from simulators.outlet import Agenda, Outlet, Witness, nobody
from simulators.stage_broker import StageBroker
from simulators.stage_clock import StageClock
from simulators.world import World

Note = Callable[[Event], None]


def unnoted(event: Event) -> None:
    """Nobody keeps a list of what happened."""


class LiveStage:
    """All instruments of a scenario on ports of this machine; its broker too, where it has one."""

    def __init__(
        self,
        scenario: Scenario,
        world: World,
        directory: Path,
        wall_start: datetime,
        witness: Witness = nobody,
        clock: StageClock | None = None,
        note: Note = unnoted,
        broker: StageBroker | None = None,
    ) -> None:
        self.clock = StageClock() if clock is None else clock
        self._scenario = scenario
        self._world = world
        self._note = note
        self._broker = broker
        self._agenda = Agenda()
        self._opener = Opener(
            scenario, world, directory, wall_start, self.now_s, witness, self._changed
        )
        self._outlets: dict[str, Outlet] = {}
        self._order = count()
        self._events: list[tuple[float, int, Event | _End]] = []
        for event in scenario.event:
            self._plan(event.at_s, event)

    async def open(self) -> Mapping[str, Link]:
        """Opens every port; the links that a gateway needs to reach them. Play begins at 0 s."""
        links = {}
        for detector in self._scenario.detector:
            outlet, links[detector.id] = await self._opener.open(detector)
            self._outlets[detector.id] = outlet
        self.clock.start()
        for outlet in self._outlets.values():
            outlet.advance(0.0)
            self._agenda.note(outlet)
        return links

    def now_s(self) -> float:
        """Seconds of play."""
        return self.clock.now_s()

    @property
    def broker(self) -> StageBroker | None:
        """Its own; whoever made it ends it."""
        return self._broker

    @property
    def waiting(self) -> int:
        """How many events of the scenario are still to come."""
        return sum(not isinstance(what, _End) for _, _, what in self._events)

    def troubles(self) -> dict[str, tuple[str, ...]]:
        """What is wrong with each link; detectors without any are left out."""
        found = {name: outlet.troubles for name, outlet in self._outlets.items()}
        return {name: troubles for name, troubles in found.items() if troubles}

    def sources(self) -> tuple[str, ...]:
        """The names of the sources on stage."""
        return self._world.sources(self.now_s())

    async def play(self) -> None:
        """Moves everybody, until cancelled."""
        while True:
            await self.play_to(self.now_s())
            await self.clock.sleep(self._next_s, TICK_S)

    async def play_to(self, now_s: float) -> None:
        """Everything that is due up to now, in order."""
        while self._events and self._events[0][0] <= now_s:
            at_s, _, what = heapq.heappop(self._events)
            self._move(at_s)
            if isinstance(what, _End):
                what.happen()
            else:
                await self._happen(what, at_s)
        self._move(now_s)

    async def happen(self, event: Event) -> bool:
        """Plays one event now; False for what is not on it: commands, gateway, others' broker."""
        return await self._happen(event, self.now_s())

    async def _happen(self, event: Event, now_s: float) -> bool:
        outlet = self._outlets.get(getattr(event, "detector", None) or "")
        if outlet is not None:
            outlet.advance(now_s)
        is_played = (
            await self._broke(event, now_s)
            or await self._link(event, outlet, now_s)
            or self._act(event, outlet, now_s)
        )
        if is_played:
            self._note(event)
        return is_played

    async def close(self) -> None:
        """Closes every port."""
        for outlet in self._outlets.values():
            await outlet.close()

    async def _link(self, event: Event, outlet: Outlet | None, now_s: float) -> bool:
        """Plays it if it is about a link."""
        match event:
            case _ if outlet is None:
                return False
            case LinkAction(do="unplug"):
                await outlet.unplug()
            case Replug():
                await outlet.plug(renumbered=event.renumbered)
            case LinkAction():
                outlet.freeze(on=event.do == "freeze")
            case Garbage():
                outlet.add(self._garbage(event))
            case LinkFault():
                outlet.begin(event)
                if event.for_s is not None:
                    self._plan(now_s + event.for_s, _End(partial(outlet.end, event)))
            case HalfOpen():
                outlet.abandon()
            case Mend():
                outlet.mend()
            case Swap():
                self._swap(outlet, self._outlets[event.other], now_s)
            case _:
                return False
        return True

    def _act(self, event: Event, outlet: Outlet | None, now_s: float) -> bool:
        """Plays it if it is about the world or an instrument."""
        if not act(self._world, event, now_s, None if outlet is None else outlet.instrument):
            return False
        if outlet is not None and isinstance(event, Power):
            self._agenda.note(outlet)
        return True

    async def _broke(self, event: Event, now_s: float) -> bool:
        """Plays it if it is about the broker, and the stage has one."""
        if not isinstance(event, BrokerAction) or self._broker is None:
            return False
        await self._broker.play(event)
        if isinstance(event, BrokerStall) and event.for_s is not None:
            self._plan(now_s + event.for_s, _End(partial(self._broker.end, event)))
        return True

    def _swap(self, one: Outlet, other: Outlet, now_s: float) -> None:
        other.advance(now_s)
        match one, other:
            case (ByteOutlet(), ByteOutlet()):
                one.swap(other)
            case (RegisterOutlet(), RegisterOutlet()):
                one.swap(other)

    def _garbage(self, event: Garbage) -> bytes:
        if event.text:
            return event.text.encode()
        return Random(f"{self._scenario.scenario.seed} {event.at_s}").randbytes(event.bytes)

    def _plan(self, at_s: float, what: "Event | _End") -> None:
        heapq.heappush(self._events, (at_s, next(self._order), what))
        self.clock.wake()

    @property
    def _next_s(self) -> float:
        return min(self._agenda.next_s, self._events[0][0]) if self._events else self._agenda.next_s

    def _move(self, now_s: float) -> None:
        for outlet in self._agenda.take(now_s):
            outlet.advance(now_s)

    def _changed(self, outlet: Outlet) -> None:
        """Its turn may come sooner than was thought."""
        before_s = self._agenda.next_s
        self._agenda.note(outlet)
        if self._agenda.next_s < before_s:
            self.clock.wake()


class _End:
    """Of a fault that ends by itself."""

    def __init__(self, happen: Callable[[], None]) -> None:
        self.happen = happen
