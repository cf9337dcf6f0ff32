"""A scenario in virtual time: real drivers, real pipeline, simulated instruments, no clock."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from random import Random
from typing import Final

from config.actions import (
    AlarmCommand,
    ClockStep,
    Event,
    GatewayAction,
    LinkAction,
)
from config.models import Configuration, Link, RecordingLink
from config.scenario import Scenario
from drivers.api import DriverInfo, Identity, Output, Sample
from drivers.registry import find as find_driver
from gateway.alarms.record import AlarmRecord
from gateway.assembly import driver_options
from gateway.pipeline import Arrived, Commanded, Input, LinkChanged, Pipeline, Ticked
from gateway.values import Answer, Command, Instant, LinkState, Outputs
from simulators.acting import act
from simulators.dialogue import VirtualSession
from simulators.registry import find as find_instrument
from simulators.world import World

TICK_S: Final = 1.0
DEFAULT_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
NO_LINK: Final = RecordingLink(kind="recording", path="-")


@dataclass(slots=True)
class _Cable:
    """Whether a link stands, as the events have left it."""

    plugged: bool = True
    frozen: bool = False

    def is_up(self, at_s: float) -> bool:
        """Whether bytes pass now."""
        return self.plugged and not self.frozen


class VirtualPlay:
    """One run of a scenario; ``outputs`` yields what the gateway would store, in order."""

    def __init__(self, scenario: Scenario, seed: int | None = None) -> None:
        self._scenario = scenario
        self._seed = scenario.scenario.seed if seed is None else seed
        self._world = World(scenario, self._seed)
        self._start = (scenario.scenario.start or DEFAULT_START).timestamp()
        self._wall_offset = 0.0
        self._numbers = count(1)
        self._cables = {each.id: _Cable() for each in scenario.detector}
        links: dict[str, Link] = {each.id: NO_LINK for each in scenario.detector}
        self._configuration: Configuration = scenario.configuration(links)
        self._drivers: dict[str, DriverInfo] = {
            each.id: find_driver(each.driver) for each in scenario.detector
        }
        self._sessions = {each.id: self._session(each.id) for each in scenario.detector}
        self._states: dict[str, bytes] = {}
        self._pipeline = self._new_pipeline(0.0)
        self._down_until = 0.0
        self._identities: dict[str, Identity] = {}
        self._must_meet = True
        self._order = count()
        self._events: list[tuple[float, int, Event]] = []
        self._after: list[GatewayAction] = []
        for event in scenario.event:
            if isinstance(event, GatewayAction) and event.after is not None:
                self._after.append(event)
            else:
                self._schedule(event.at_s, event)
        self.answers: list[tuple[AlarmCommand, Answer]] = []

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

    def _session(self, detector: str) -> VirtualSession:
        (settings,) = (each for each in self._scenario.detector if each.id == detector)
        (configured,) = (each for each in self._configuration.detector if each.id == detector)
        info = self._drivers[detector]
        instrument = find_instrument(info.name)(
            settings.settings,
            Random(f"{self._seed} {detector}"),
            datetime.fromtimestamp(self._start, UTC),
        )
        driver = info.create(driver_options(configured, info))
        cable = self._cables[detector]
        field = self._world.field(detector)
        return VirtualSession(info, driver, instrument, field, link_up=cable.is_up)

    def _new_pipeline(self, now_s: float) -> Pipeline:
        return Pipeline(self._configuration, self._drivers, self._new_id, self._instant(now_s))

    def _new_id(self) -> str:
        return f"{next(self._numbers):08x}"

    def _instant(self, at_s: float) -> Instant:
        return Instant(self._start + self._wall_offset + at_s, at_s)

    def _play_until(self, to_s: float) -> Iterator[Outputs]:
        heard = [
            (at_s, detector, Sample((), identity=said) if isinstance(said, Identity) else said)
            for detector, session in self._sessions.items()
            for at_s, said in session.run(to_s)
        ]
        heard.sort(key=lambda each: each[0])
        missed = [each for each in heard if each[0] < self._down_until]
        self._note_identities(missed)
        if to_s >= self._down_until:
            yield from self._tell(heard[len(missed) :], to_s)

    def _note_identities(self, heard: list[tuple[float, str, Output]]) -> None:
        for _, detector, output in heard:
            if isinstance(output, Sample) and output.identity is not None:
                self._identities[detector] = output.identity

    def _meet(self, at_s: float) -> Iterator[Outputs]:
        """A gateway that starts opens its links and asks everybody who he is."""
        self._must_meet = False
        for detector, cable in self._cables.items():
            if cable.plugged:
                yield from self._step(at_s, LinkChanged(detector, LinkState.READING))
            else:
                yield from self._step(at_s, LinkChanged(detector, LinkState.WAITING, "unplugged"))
            if cable.is_up(at_s) and detector in self._identities:
                who = Sample((), identity=self._identities[detector])
                yield from self._step(at_s, Arrived(detector, who, self._instant(at_s)))

    def _tell(self, heard: list[tuple[float, str, Output]], to_s: float) -> Iterator[Outputs]:
        if self._must_meet:
            yield from self._meet(self._down_until)
        for at_s, detector, output in heard:
            yield from self._step(at_s, Arrived(detector, output, self._instant(at_s)))
        self._note_identities(heard)
        yield from self._step(to_s, Ticked())

    def _step(self, at_s: float, item: Input) -> Iterator[Outputs]:
        outputs = self._pipeline.step(self._instant(at_s), item)
        if outputs.urgent and self._after:
            self._follow_up(at_s)
        if outputs:
            yield self._kept(outputs)

    def _schedule(self, at_s: float, event: Event) -> None:
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

    def _happen(self, event: Event, now_s: float) -> Iterator[Outputs]:
        match event:
            case LinkAction(do="unplug", detector=detector):
                self._cables[detector].plugged = False
                yield from self._step(now_s, LinkChanged(detector, LinkState.WAITING, "unplugged"))
            case LinkAction(do="replug", detector=detector):
                self._cables[detector].plugged = True
                yield from self._step(now_s, LinkChanged(detector, LinkState.READING))
            case LinkAction(do="freeze" | "thaw" as what, detector=detector):
                self._cables[detector].frozen = what == "freeze"
            case AlarmCommand(do="acknowledge" | "reset"):
                yield from self._command(event, now_s)
            case GatewayAction(down_s=down_s):
                self._down_until, self._must_meet = now_s + down_s, True
                self._pipeline = self._new_pipeline(now_s)
                yield self._kept(self._pipeline.restore(self._states, self._instant(now_s)))
            case ClockStep(step_s=step_s):
                self._wall_offset += step_s
            case _:
                act(self._world, event, now_s)

    def _command(self, event: AlarmCommand, now_s: float) -> Iterator[Outputs]:
        wanted = self._occurrence(event)
        command = Command(
            event.do, event.user, f"c{next(self._numbers)}", (("occurrence", wanted),)
        )
        outputs = self._pipeline.step(self._instant(now_s), Commanded(command))
        self.answers += [(event, answer) for answer in outputs.answers]
        yield self._kept(outputs)

    def _occurrence(self, event: AlarmCommand) -> str:
        records = sorted(
            (
                record
                for record in self.active()
                if event.detector in (None, record.detector) and event.alarm in (None, record.alarm)
            ),
            key=lambda record: record.raised_at.mono,
        )
        if not records:
            return "none"
        index = -1 if event.occurrence is None else event.occurrence - 1
        return records[index].occurrence if index < len(records) else "none"
