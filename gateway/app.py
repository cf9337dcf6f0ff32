"""The daemon's composition root: the only module that knows everybody."""

import asyncio
import hashlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

import structlog

from config.models import Configuration, Sink
from drivers.api import DriverInfo, Output
from drivers.registry import find
from gateway.alarms.rights import Rights
from gateway.assembly import Assembler
from gateway.clock import Now, Ticker, system_now
from gateway.clock_state import Clock
from gateway.command_memory import CommandMemory
from gateway.committer import Committer
from gateway.control import ControlServer
from gateway.delivery.reader import Policy, SinkReader
from gateway.desks import Desks
from gateway.documents import DocumentStore
from gateway.drill.desk import Drills, Summon
from gateway.execution import Execution, SinkSide
from gateway.heartbeat import HEARTBEAT_S, Heartbeats
from gateway.journal.journal import Journal
from gateway.journal.record import JournalLimits
from gateway.link_log import LinkLog
from gateway.notify import WATCHDOG_SHARE, Notifier
from gateway.pipeline import Arrived, Input, LinkChanged, Noticed, Pipeline, Ticked
from gateway.posts import posts
from gateway.publisher.publisher import Publisher
from gateway.publisher.values import Roots
from gateway.recorder.recorder import Recorder
from gateway.remote import RemoteCommands
from gateway.replay import ended
from gateway.reporting import Reporter
from gateway.supervision import Supervisor
from gateway.values import Answer, Command, Instant, LinkState, Notice, Outputs
from gateway.vitality import Vitality

log: Final = structlog.get_logger()

TICK_S: Final = 0.5
PATROL_S: Final = 5.0
"""How often it is looked whether everything moves, if no watchdog asks for it oftener."""

LAST_WORDS_S: Final = 3.0
"""How long an orderly stop waits for the brokers."""

ID_BYTES: Final = 8
SESSION: Final = "session "
PUBLISHER: Final = "publisher "
DRILL: Final = "drill"


def new_id() -> str:
    """An id that no two alarms share."""
    return secrets.token_hex(ID_BYTES)


class Gateway:
    """One running gateway: deliver to it, stop it, look at it."""

    def __init__(
        self,
        configuration: Configuration,
        *,
        now: Now = system_now,
        random: Random | None = None,
        notifier: Notifier | None = None,
        watch: Callable[[Outputs], None] | None = None,
        boot: str = "",
        summon: Summon | None = None,
    ) -> None:
        self._configuration = configuration
        self._now = now
        self._random = random or Random()
        self._notifier = notifier or Notifier({})
        self._watch = watch
        self._ticker = Ticker()
        started = now()
        drivers: Mapping[str, DriverInfo] = {
            detector.id: find(detector.driver) for detector in configuration.detector
        }
        self._revision = hashlib.sha256(configuration.model_dump_json().encode()).hexdigest()[:16]
        self._pipeline = Pipeline(
            configuration, drivers, new_id, started, boot=boot, revision=self._revision
        )
        self._drills = Drills(
            configuration,
            drivers,
            self._pipeline,
            summon,
            self._take,
            new_id=new_id,
            now=now,
            revision=self._revision,
        )
        self._recorder = Recorder(configuration, drivers, now)
        self._assembler = Assembler(
            drivers, self, now, self._ticker, self._random, self._recorder.taps
        )
        self._link_log = LinkLog()
        self._stopping = asyncio.Event()
        self._reloads = False
        self._parts: _Parts | None = None
        self._notices: list[Notice] | None = []
        """Those that came before the alarms of the run before were restored."""
        self._loop: asyncio.AbstractEventLoop | None = None

    def stop(self, *, for_reload: bool = False) -> None:
        """Begins an orderly end; ``run`` returns when it is over.

        ``for_reload``: another gateway of this process goes on, so the service is not stopping.
        """
        self._reloads = for_reload
        self._stopping.set()

    @property
    def now(self) -> Instant:
        """What its clocks show."""
        return self._now()

    def deliver(self, detector: str, output: Output, arrived: Instant) -> None:
        """A value or an error of a driver."""
        self._step(Arrived(detector, output, arrived))

    def report(self, detector: str, state: LinkState, reason: str) -> None:
        """A change of a link."""
        if self._link_log.is_due(detector, state, reason, self._now().mono):
            if state is LinkState.WAITING:
                log.warning("link_down", detector=detector, reason=reason)
            else:
                log.info("link_up", detector=detector)
        self._step(LinkChanged(detector, state, reason))

    def notify(self, notice: Notice) -> None:
        """A condition of the gateway itself; from any thread, and never in the middle of a step."""
        if self._loop is None:
            self._note(notice)
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._note, notice)

    async def execute(self, command: Command) -> Answer:
        """Carries out a command; it is on disk before it is answered."""
        if self._parts is None:
            return Answer(command, False, "the gateway is not running")
        return await self._parts.execution.execute(command)

    async def run(self) -> None:
        """The gateway's life, from opening the journal to closing it."""
        self._loop = asyncio.get_running_loop()
        settings = self._configuration.gateway
        sinks = [sink.id for sink in self._configuration.sink]
        journal = await Journal.open(
            Path(settings.state_dir),
            sinks,
            now=self._now,
            limits=JournalLimits.of(self._configuration.journal),
            notify=self.notify,
        )
        try:
            parts = self._make_parts(journal)
            self._parts = parts
            await self._begin(parts)
            log.info("started", gateway=settings.id, epoch=journal.epoch, notices=journal.notices)
            async with asyncio.TaskGroup() as group:
                supervisor = Supervisor(group)
                try:
                    self._start_tasks(parts, supervisor)
                    self._notifier.ready(f"{len(self._configuration.detector)} detectors")
                    await supervisor.until(self._stopping)
                finally:
                    supervisor.ending()
                if not self._reloads:
                    self._notifier.stopping()
                await self._end(parts, supervisor)
            supervisor.check()
        finally:
            self._parts = None
            self._recorder.close()
            await journal.close()
            log.info("stopped", gateway=settings.id)

    def _make_parts(self, journal: Journal) -> "_Parts":
        settings = self._configuration.gateway
        sinks = [sink.id for sink in self._configuration.sink]
        documents = DocumentStore(settings.id, journal.epoch, sinks, removed=journal.forget)
        documents.put(journal.durable_documents())
        heartbeats = Heartbeats()
        clock = Clock(self._now(), notify=self.notify)
        reporter = Reporter(
            self._configuration,
            self._pipeline,
            journal,
            clock,
            heartbeats,
            now=self._now,
            revision=self._revision,
        )
        sides: dict[str, SinkSide] = {}
        rights = Rights(self._configuration.user)
        execution = Execution(self._step, self._knows, rights, journal, sides)
        memory = CommandMemory(settings.command_limit_s)
        memory.restore(journal.states(), self._now().mono)
        remote = RemoteCommands(
            f"{settings.root}/{settings.id}/",
            [user.id for user in self._configuration.user],
            heartbeats,
            memory,
            execution,
            epoch=journal.epoch,
            limit_s=settings.command_limit_s,
            now=self._now,
        )
        reporter.tallies.commands = remote.counters
        reporter.drills = self._drills
        committer = Committer(journal, documents)
        publishers: dict[str, Publisher] = {}
        vitality = Vitality(committer, publishers, asyncio.get_running_loop().time())
        parts = _Parts(
            journal, committer, documents, reporter, execution, vitality, remote, publishers
        )
        for sink in self._configuration.sink:
            publisher, reader = self._publisher(sink, parts)
            parts.publishers[sink.id] = reporter.sinks[sink.id] = publisher
            sides[sink.id] = SinkSide(reader, publisher)
        return parts

    def _publisher(self, sink: Sink, parts: "_Parts") -> tuple[Publisher, SinkReader]:
        settings = self._configuration.gateway
        reader = SinkReader(parts.journal, sink.id, policy=Policy(sink.samples, sink.every_s))
        publisher = Publisher(
            sink,
            reader,
            parts.documents,
            settings.id,
            Roots(settings.root, settings.exercise_root),
            parts.reporter.status,
            random=self._random,
            remote=parts.remote.remote(sink.id) if sink.commands else None,
            notify=self.notify,
            ended=lambda occurrences: ended(occurrences, parts.journal),
        )
        return publisher, reader

    async def _begin(self, parts: "_Parts") -> None:
        """The alarms of the run before go on, then what has been noticed meanwhile is told."""
        outputs = self._drills.restore(parts.journal.states(), self._now())
        outputs = outputs.merged(self._pipeline.restore(parts.journal.states(), self._now()))
        durable = [document for document in outputs.documents if document.durable]
        await parts.journal.commit(outputs.entries, durable, outputs.states)
        parts.documents.put(outputs.documents)
        parts.documents.put(self._pipeline.about())
        parts.documents.put(posts(self._configuration))
        noticed, self._notices = self._notices or [], None
        for notice in noticed:
            self._step(Noticed(notice))

    def _start_tasks(self, parts: "_Parts", supervisor: Supervisor) -> None:
        parts.reporter.tallies.restarts = supervisor.restarts
        for session in self._assembler.sessions(self._configuration.detector):
            supervisor.kept(SESSION + session.name, session.run)
        supervisor.needed("committer", parts.committer.run())
        supervisor.needed("tick", self._tick(parts))
        supervisor.needed("heartbeat", self._beat(parts))
        supervisor.needed("control", self._control(parts))
        supervisor.kept(DRILL, self._drills.run)
        supervisor.kept("recorder", self._recorder.run)
        supervisor.needed("commands", parts.remote.run())
        supervisor.needed("replays", parts.remote.run_replays())
        for name, publisher in parts.publishers.items():
            supervisor.kept(PUBLISHER + name, publisher.run)
        supervisor.needed("patrol", self._patrol(parts, supervisor))

    async def _end(self, parts: "_Parts", supervisor: Supervisor) -> None:
        """Readers first, then what they brought is stored and told, then the rest."""
        await supervisor.cancel(supervisor.names(SESSION))
        self._take(self._drills.stop("the gateway stopped"))
        await supervisor.cancel((DRILL,))
        await self._drills.settled()
        await parts.committer.settled(LAST_WORDS_S)
        await parts.journal.commit(())
        for publisher in parts.publishers.values():
            publisher.stop()
        await supervisor.wait(supervisor.names(PUBLISHER), LAST_WORDS_S)
        await supervisor.cancel(supervisor.names())

    def _step(self, item: Input) -> tuple[Outputs, asyncio.Future[None] | None]:
        now = self._now()
        outputs = self._drills.answered(now, item)
        if outputs is None:
            outputs = self._pipeline.step(now, item)
        stored = self._take(outputs)
        self._take(self._drills.beside(now, item, outputs))
        return outputs, stored

    def _take(self, outputs: Outputs) -> asyncio.Future[None] | None:
        """Stores and tells it; a future that is done when what is urgent of it is stored."""
        if not outputs or self._parts is None:
            return None
        if self._watch is not None:
            self._watch(outputs)
        return self._parts.committer.take(outputs)

    def _knows(self, occurrence: str) -> bool:
        return self._pipeline.engine.knows(occurrence) or self._drills.knows(occurrence)

    def _note(self, notice: Notice) -> None:
        if self._notices is not None:
            self._notices.append(notice)
        else:
            self._step(Noticed(notice))

    async def _tick(self, parts: "_Parts") -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            self._step(Ticked())
            parts.vitality.mark(loop.time())
            due += TICK_S
            await self._ticker.until(due)
            tallies = parts.reporter.tallies
            tallies.lag_s = max(tallies.lag_s, loop.time() - due)

    async def _beat(self, parts: "_Parts") -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            heartbeat, health = parts.reporter.heartbeat(), await parts.reporter.health()
            for publisher in parts.publishers.values():
                publisher.tell("heartbeat", heartbeat)
                publisher.tell("health", health)

    async def _control(self, parts: "_Parts") -> None:
        desks = Desks(
            self._configuration,
            parts.journal,
            parts.publishers,
            self._drills,
            self._recorder,
            parts.execution,
            new_id=new_id,
            now=self._now,
        )
        settings = self._configuration.gateway
        server = ControlServer(
            Path(settings.control_socket),
            parts.reporter.board,
            self.execute,
            new_id,
            desks.journal.answer,
            desks.drill.answer,
            desks.record.answer,
        )
        try:
            await server.run()
        finally:
            desks.close()

    async def _patrol(self, parts: "_Parts", supervisor: Supervisor) -> None:
        """A sign of life only while everything that must move has moved."""
        loop = asyncio.get_running_loop()
        watchdog_s = self._notifier.watchdog_s
        wait_s = PATROL_S if watchdog_s is None else min(PATROL_S, WATCHDOG_SHARE * watchdog_s)
        while True:
            await asyncio.sleep(wait_s)
            for name in parts.vitality.silent_publishers(loop.time()):
                log.error("publisher_stuck", sink=name)
                supervisor.restart(PUBLISHER + name)
            # In memory nothing is ever stored, and a restart would lose it.
            failures = parts.journal.counters.failures if parts.journal.durable else None
            if stuck := parts.vitality.standing(failures, loop.time()):
                log.error("stuck", parts=stuck)
            else:
                self._notifier.alive()


@dataclass(slots=True)
class _Parts:
    """What exists only while the gateway runs."""

    journal: Journal
    committer: Committer
    documents: DocumentStore
    reporter: Reporter
    execution: Execution
    vitality: Vitality
    remote: RemoteCommands
    publishers: dict[str, Publisher] = field(default_factory=dict)
