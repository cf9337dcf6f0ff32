"""A scenario in virtual time: real drivers, real pipeline, simulated instruments, no clock.

There is no broker and no journal here: what the gateway would store is what comes out.
"""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import count
from operator import itemgetter
from random import Random
from typing import Final

from config.actions import ClockStep, Event, Garbage, GatewayAction
from config.command_actions import AskAgain, OnAlarm
from config.command_actions import Command as Asked
from config.link_actions import Flood, LinkAction, LinkFault, Mend, Replug, ReplyFault, Swap
from config.models import Configuration, Link, RecordingLink
from config.scenario import Scenario
from drivers.api import DriverInfo, Identity, Output, Sample
from drivers.registry import find as find_driver
from gateway.alarms.figures import FiguresTold
from gateway.alarms.record import AlarmRecord
from gateway.assembly import driver_options
from gateway.pipeline import Arrived, Commanded, Input, LinkChanged, Pipeline, Ticked
from gateway.values import Answer, Command, Document, Instant, LinkState, Outputs
from gateway.verbs.heard import Heard
from simulators.acting import act
from simulators.api import Instrument, RegisterInstrument
from simulators.dialogue import VirtualSession
from simulators.link_faults import FLOOD_STEP_S, Wire
from simulators.stand_in import instrument_of
from simulators.world import World

TICK_S: Final = 1.0
DEFAULT_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_MOMENT: Final = itemgetter(0)
NO_LINK: Final = RecordingLink(kind="recording", path="-")
Later = Callable[[float], object]
"""Something of the play's own that happens at its time, and is told when it is."""


@dataclass(slots=True)
class _Cable:
    """Whether a link stands, as the events have left it."""

    plugged: bool = True
    frozen: bool = False

    @property
    def is_up(self) -> bool:
        """Whether bytes pass now."""
        return self.plugged and not self.frozen


class VirtualPlay:
    """One run of a scenario; ``outputs`` yields what the gateway would store, in order."""

    def __init__(self, scenario: Scenario, seed: int | None = None) -> None:
        self._scenario = scenario
        self.seed = scenario.scenario.seed if seed is None else seed
        self._world = World(scenario, self.seed)
        self._start = (scenario.scenario.start or DEFAULT_START).timestamp()
        self._wall_offset = 0.0
        self._numbers = count(1)
        self._cables = {each.id: _Cable() for each in scenario.detector}
        self._wires = {
            each.id: Wire(Random(f"{self.seed} {each.id} wire")) for each in scenario.detector
        }
        self._instruments: dict[str, Instrument | RegisterInstrument] = {}
        links: dict[str, Link] = {each.id: NO_LINK for each in scenario.detector}
        self._configuration: Configuration = scenario.configuration(links, virtual=True)
        self._drivers: dict[str, DriverInfo] = {
            each.id: find_driver(each.driver) for each in scenario.detector
        }
        self._sessions = {each.id: self._session(each.id) for each in scenario.detector}
        self._states: dict[str, bytes] = {}
        self._pipeline = self._new_pipeline(0.0)
        self._down_until = 0.0
        self._identities: dict[str, Identity] = {}
        self._must_meet = True
        self._must_start = False
        self._order = count()
        self._events: list[tuple[float, int, Event | Later]] = []
        self._after: list[GatewayAction] = []
        for event in scenario.event:
            if isinstance(event, GatewayAction) and event.after is not None:
                self._after.append(event)
            else:
                self._schedule(event.at_s, event)
        self.answers: list[tuple[Asked, Answer]] = []
        self.heard = Heard()

    def outputs(self) -> Iterator[Outputs]:
        """Plays to the end."""
        events = self._events
        now_s, end_s = 0.0, self._scenario.scenario.duration_s
        while now_s < end_s:
            next_s = min(now_s + TICK_S, end_s)
            if events and events[0][0] < next_s:
                next_s = max(now_s, events[0][0])
            yield from self._play_until(next_s)
            now_s = next_s
            while events and events[0][0] <= now_s:
                _, _, event = heapq.heappop(events)
                yield from self._happen(event, now_s)

    def active(self) -> list[AlarmRecord]:
        """Alarms that are not closed."""
        return self._pipeline.engine.active()

    def about(self) -> tuple[Document, ...]:
        """What each detector is, as retained documents."""
        return self._pipeline.about()

    def instant(self, at_s: float) -> Instant:
        """A moment of the play on both clocks."""
        return self._instant(at_s)

    def figures(self) -> FiguresTold:
        """How well the alarm system served its operators, when the play is over."""
        end = self._instant(self._scenario.scenario.duration_s)
        return self._pipeline.engine.figures(end)

    def _session(self, detector: str) -> VirtualSession:
        (settings,) = (each for each in self._scenario.detector if each.id == detector)
        (configured,) = (each for each in self._configuration.detector if each.id == detector)
        info = self._drivers[detector]
        instrument = instrument_of(
            settings,
            Random(f"{self.seed} {detector}"),
            datetime.fromtimestamp(self._start, UTC),
        )
        self._instruments[detector] = instrument
        driver = info.create(driver_options(configured, info))
        cable, field = self._cables[detector], self._world.field(detector)
        power = field.power

        def link_up(at_s: float) -> bool:
            return cable.plugged and not cable.frozen and power.since(at_s) is not None

        wire = self._wires[detector]
        return VirtualSession(
            info, driver, instrument, field, link_up=link_up, steady=True, wire=wire
        )

    def _new_pipeline(self, now_s: float) -> Pipeline:
        return Pipeline(
            self._configuration, self._drivers, self._new_id, self._instant(now_s), boot="virtual"
        )

    def _new_id(self) -> str:
        return f"{next(self._numbers):08x}"

    def _instant(self, at_s: float) -> Instant:
        return Instant(self._start + self._wall_offset + at_s, at_s)

    def _play_until(self, to_s: float) -> Iterator[Outputs]:
        heard = [
            (at_s, detector, Sample((), identity=said) if isinstance(said, Identity) else said)
            for detector, session in self._sessions.items()
            for at_s, said in session.heard(to_s)
        ]
        heard.sort(key=_MOMENT)
        yield from self._tell(heard, to_s)

    def _meet(self, at_s: float) -> Iterator[Outputs]:
        """A gateway that starts opens its links and asks everybody who he is."""
        self._must_meet = False
        if self._must_start:
            yield from self._restart(at_s)
        for detector, cable in self._cables.items():
            if cable.plugged:
                yield from self._step(at_s, LinkChanged(detector, LinkState.READING))
            else:
                yield from self._step(at_s, LinkChanged(detector, LinkState.WAITING, "unplugged"))
            if cable.is_up and detector in self._identities:
                who = Sample((), identity=self._identities[detector])
                yield from self._step(at_s, Arrived(detector, who, self._instant(at_s)))

    def _restart(self, at_s: float) -> Iterator[Outputs]:
        self._must_start = False
        self._pipeline = self._new_pipeline(at_s)
        restored = self._pipeline.restore(self._states, self._instant(at_s))
        self.heard.note(restored.entries, at_s)
        yield self._kept(restored)

    def _tell(self, heard: list[tuple[float, str, Output]], to_s: float) -> Iterator[Outputs]:
        for at_s, detector, output in heard:
            while self._events and self._events[0][0] < at_s:  # one that waited for an alarm
                due_s, _, event = heapq.heappop(self._events)
                yield from self._happen(event, due_s)
            if isinstance(output, Sample) and output.identity is not None:
                self._identities[detector] = output.identity
            if at_s >= self._down_until:
                if self._must_meet:
                    yield from self._meet(self._down_until)
                yield from self._step(at_s, Arrived(detector, output, self._instant(at_s)))
        if to_s >= self._down_until:
            if self._must_meet:
                yield from self._meet(self._down_until)
            yield from self._step(to_s, Ticked())

    def _step(self, at_s: float, item: Input) -> tuple[Outputs, ...]:
        """What one input leads to, if to anything; those who wait for it are told."""
        now = item.at if isinstance(item, Arrived) else self._instant(at_s)
        outputs = self._pipeline.step(now, item)
        if outputs.urgent:
            self.heard.note(outputs.entries, at_s)
            if self._after:
                self._follow_up(at_s)
        if outputs.states:
            return (self._kept(outputs),)
        return (outputs,) if outputs else ()

    def _schedule(self, at_s: float, event: Event | Later) -> None:
        heapq.heappush(self._events, (at_s, next(self._order), event))

    def _follow_up(self, at_s: float) -> None:
        """Events that wait for an alarm: ``at_s`` seconds after it."""
        raised = {record.detector for record in self.active() if record.active}
        for event in [each for each in self._after if each.detector in (None, *raised)]:
            if raised:
                self._after.remove(event)
                self._schedule(at_s + event.at_s, event)

    def _kept(self, outputs: Outputs) -> Outputs:
        for key, state in outputs.states:
            if state:
                self._states[key] = state
            else:
                self._states.pop(key, None)
        return outputs

    def _happen(self, event: Event | Later, now_s: float) -> Iterator[Outputs]:
        match event:
            case LinkAction() | Replug():
                yield from self._link(event, now_s)
            case LinkFault() | Mend() | Swap():
                self._fault(event, now_s)
            case AskAgain():
                pass
            case Asked():
                yield from self._command(event, now_s)
            case Garbage():
                noise = Random(f"{self.seed} {event.detector} {event.at_s}")
                text = event.text
                data = noise.randbytes(event.bytes) if text is None else text.encode()
                self._sessions[event.detector].inject(data)
            case GatewayAction(down_s=down_s):
                self._down_until = now_s + down_s
                self._must_meet = self._must_start = True
            case ClockStep(step_s=step_s):
                self._wall_offset += step_s
            case _ if callable(event):
                event(now_s)
            case _:
                detector = getattr(event, "detector", None)
                act(self._world, event, now_s, self._instruments.get(detector or ""))

    def _fault(self, event: LinkFault | Mend | Swap, now_s: float) -> None:
        """What goes wrong with bytes and cables; a register has no bytes here."""
        wire = self._wires[event.detector]
        match event:
            case ReplyFault():
                return
            case Mend():
                wire.mend()
            case Swap(detector=one, other=other):
                self._sessions[one].swap(self._sessions[other])
                mine, theirs = self._instruments[one], self._instruments[other]
                self._instruments[one], self._instruments[other] = theirs, mine
            case LinkFault():
                wire.begin(event)
                if event.for_s is not None:
                    self._schedule(now_s + event.for_s, lambda _: wire.end(event))
                if wire.flood is event:
                    self._schedule(now_s + FLOOD_STEP_S, partial(self._flood, event))

    def _flood(self, flood: Flood, now_s: float) -> None:
        """Another piece of it, as long as it lasts."""
        wire = self._wires[flood.detector]
        if wire.flood is flood:
            self._sessions[flood.detector].inject(wire.noise(flood, FLOOD_STEP_S))
            self._schedule(now_s + FLOOD_STEP_S, partial(self._flood, flood))

    def _link(self, event: LinkAction | Replug, now_s: float) -> Iterator[Outputs]:
        cable = self._cables[event.detector]
        match event.do:
            case "unplug":
                cable.plugged = False
                change = LinkChanged(event.detector, LinkState.WAITING, "unplugged")
            case "replug":
                cable.plugged = True
                change = LinkChanged(event.detector, LinkState.READING)
            case _:
                cable.frozen = event.do == "freeze"
                return
        if now_s >= self._down_until and not self._must_meet:
            yield from self._step(now_s, change)

    def _command(self, event: Asked, now_s: float) -> Iterator[Outputs]:
        arguments = event.arguments()
        if isinstance(event, OnAlarm):
            arguments = (("occurrence", self.heard.occurrence(event)), *arguments)
        command = Command(event.do, event.user, f"c{next(self._numbers)}", arguments)
        if now_s < self._down_until:
            self.answers.append((event, Answer(command, False, "the gateway is down")))
            return
        for outputs in self._step(now_s, Commanded(command)):
            self.answers += [(event, answer) for answer in outputs.answers]
            yield outputs
