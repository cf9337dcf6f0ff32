"""The daemon's composition root: the only module that knows everybody."""

import asyncio
import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Final

import structlog

from config.models import Configuration, Sink
from drivers.api import DriverInfo, Output
from drivers.registry import find
from gateway import wire
from gateway.assembly import Assembler
from gateway.board import board
from gateway.clock import Now, Ticker, system_now
from gateway.control import ControlServer
from gateway.delivery import SinkReader
from gateway.documents import DocumentStore
from gateway.journal import Journal
from gateway.notify import WATCHDOG_SHARE, Notifier, Progress
from gateway.pipeline import Arrived, Commanded, Input, LinkChanged, Pipeline, Ticked
from gateway.publisher import Publisher
from gateway.publisher_values import Roots
from gateway.values import Answer, Command, Document, Entry, Instant, LinkState, Outputs
from gateway.wire_table import dump

log: Final = structlog.get_logger()

TICK_S: Final = 0.5
HEARTBEAT_S: Final = 10.0
STUCK_S: Final = 10.0
"""A part of the daemon that must move and has not for this long is stuck."""

LAST_WORDS_S: Final = 3.0
"""How long an orderly stop waits for the brokers."""

STUCK_ALARMS: Final = 1000
"""So many uncommitted alarm events mean that the committer does not move."""

ID_BYTES: Final = 8


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
    ) -> None:
        self._configuration = configuration
        self._now = now
        self._random = random or Random()
        self._notifier = notifier or Notifier({})
        self._watch = watch
        self._ticker = Ticker()
        self._started = now()
        drivers: Mapping[str, DriverInfo] = {
            detector.id: find(detector.driver) for detector in configuration.detector
        }
        self._revision = hashlib.sha256(configuration.model_dump_json().encode()).hexdigest()[:16]
        self._pipeline = Pipeline(
            configuration, drivers, new_id, self._started, boot=boot, revision=self._revision
        )
        self._assembler = Assembler(drivers, self, now, self._ticker, self._random)
        self._urgent: asyncio.Queue[tuple[Outputs, asyncio.Future[None]]] = asyncio.Queue()
        self._progress = Progress()
        self._stopping = asyncio.Event()
        self._reloads = False
        self._journal: Journal | None = None
        self._publishers: list[Publisher] = []
        self._idle = asyncio.Event()
        self._idle.set()
        self._documents = DocumentStore(configuration.gateway.id, 0, ())
        self._beats = 0

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
        if state is LinkState.WAITING:
            log.warning("link_down", detector=detector, reason=reason)
        elif state is LinkState.READING:
            log.info("link_up", detector=detector)
        self._step(LinkChanged(detector, state, reason))

    async def execute(self, command: Command) -> Answer:
        """Carries out a command; it is on disk before it is answered."""
        outputs, stored = self._step(Commanded(command))
        if stored is not None:
            await stored
        log.info("command", name=command.name, user=command.user, answer=outputs.answers[0].reason)
        return outputs.answers[0]

    async def run(self) -> None:
        """The gateway's life, from opening the journal to closing it."""
        settings = self._configuration.gateway
        sinks = [sink.id for sink in self._configuration.sink]
        journal = await Journal.open(Path(settings.state_dir), sinks, now=self._now)
        self._journal = journal
        self._documents = DocumentStore(settings.id, journal.epoch, sinks, removed=journal.forget)
        self._documents.put(journal.durable_documents())
        self._publishers = [self._publisher(sink, journal) for sink in self._configuration.sink]
        await self._begin(journal)
        log.info("started", gateway=settings.id, epoch=journal.epoch, notices=journal.notices)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = self._start_tasks(group)
                self._notifier.ready(f"{len(self._configuration.detector)} detectors")
                await self._stopping.wait()
                if not self._reloads:
                    self._notifier.stopping()
                await self._end(tasks, journal)
        finally:
            await journal.close()
            log.info("stopped", gateway=settings.id)

    async def _begin(self, journal: Journal) -> None:
        outputs = self._pipeline.restore(journal.states(), self._now())
        await journal.commit(outputs.entries, outputs.documents, outputs.states)
        self._documents.put(outputs.documents)
        self._documents.put(self._pipeline.about())
        self._documents.put(self._posts())

    def _posts(self) -> list[Document]:
        exercise = {
            detector.post for detector in self._configuration.detector if detector.simulated
        }
        operational = {
            detector.post for detector in self._configuration.detector if not detector.simulated
        }
        return [
            Document(f"post/{post.id}", dump(wire.POST.encode(post)), is_exercise)
            for post in self._configuration.post
            for is_exercise, members in ((False, operational), (True, exercise))
            if post.id in members
        ]

    def _publisher(self, sink: Sink, journal: Journal) -> Publisher:
        settings = self._configuration.gateway
        return Publisher(
            sink,
            SinkReader(journal, sink.id),
            self._documents,
            settings.id,
            Roots(settings.root, settings.exercise_root),
            self._status,
            random=self._random,
        )

    def _start_tasks(self, group: asyncio.TaskGroup) -> "_Tasks":
        create = group.create_task
        sessions = self._assembler.sessions(self._configuration.detector)
        tasks = _Tasks(
            [create(session.run(), name=f"session {session.name}") for session in sessions],
            [
                create(self._commit_urgent(), name="committer"),
                create(self._tick(), name="tick"),
                create(self._beat(), name="heartbeat"),
                create(self._control().run(), name="control"),
            ],
            [create(publisher.run(), name="publisher") for publisher in self._publishers],
        )
        if self._notifier.watchdog_s is not None:
            tasks.service.append(create(self._feed_watchdog(), name="watchdog"))
        return tasks

    async def _end(self, tasks: "_Tasks", journal: Journal) -> None:
        """Readers first, then what they brought is stored and told, then the rest."""
        await _cancel(tasks.sessions)
        await self._idle.wait()
        await journal.commit(())
        for publisher in self._publishers:
            publisher.stop()
        if tasks.publishers:
            await asyncio.wait(tasks.publishers, timeout=LAST_WORDS_S)
        await _cancel(tasks.publishers)
        await _cancel(tasks.service)

    def _step(self, item: Input) -> tuple[Outputs, asyncio.Future[None] | None]:
        outputs = self._pipeline.step(self._now(), item)
        if not outputs:
            return outputs, None
        if self._watch is not None:
            self._watch(outputs)
        if outputs.urgent:
            # The samples do not wait for the committer: later ones would overtake them.
            self._append([entry for entry in outputs.entries if not entry.lane.is_alarm])
            alarms = tuple(entry for entry in outputs.entries if entry.lane.is_alarm)
            stored = asyncio.get_running_loop().create_future()
            self._idle.clear()
            self._urgent.put_nowait((replace(outputs, entries=alarms), stored))
            return outputs, stored
        self._append(outputs.entries, outputs.states)
        self._documents.put(outputs.documents)
        return outputs, None

    def _append(self, entries: Sequence[Entry], states: Sequence[tuple[str, bytes]] = ()) -> None:
        if (entries or states) and self._journal is not None:
            self._journal.append(entries, states)

    async def _commit_urgent(self) -> None:
        """Alarm events and commands go to disk together, as many as have gathered."""
        while True:
            outputs, stored = await self._urgent.get()
            waiting = [stored]
            while not self._urgent.empty():
                more, stored = self._urgent.get_nowait()
                outputs = outputs.merged(more)
                waiting.append(stored)
            await self._commit(outputs)
            for future in waiting:
                if not future.done():
                    future.set_result(None)
            if self._urgent.empty():
                self._idle.set()

    async def _commit(self, outputs: Outputs) -> None:
        if self._journal is None:
            return
        durable = tuple(document for document in outputs.documents if document.durable)
        is_stored = await self._journal.commit(outputs.entries, durable, outputs.states)
        if not is_stored:
            log.error("alarm_not_durable", entries=len(outputs.entries))
        self._documents.put(outputs.documents)

    async def _tick(self) -> None:
        due = asyncio.get_running_loop().time()
        while True:
            self._step(Ticked())
            self._progress.mark("tick", self._now().mono)
            due += TICK_S
            await self._ticker.until(due)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            body = dump(wire.HEARTBEAT.encode(self._heartbeat()))
            health = dump(wire.HEALTH.encode(self._health()))
            for publisher in self._publishers:
                publisher.tell("heartbeat", body)
                publisher.tell("health", health)

    def _heartbeat(self) -> wire.Heartbeat:
        self._beats += 1
        active = sorted(
            f"{record.occurrence}:{record.revision}" for record in self._pipeline.engine.active()
        )
        newest = self._journal.newest() if self._journal else {}
        return wire.Heartbeat(
            self._beats,
            self._epoch,
            self._now(),
            tuple((lane.value, seq) for lane, seq in newest.items()),
            len(active),
            hashlib.sha256("\n".join(active).encode()).hexdigest(),
            tuple(
                (sink.id, publisher.owed())
                for sink, publisher in zip(self._configuration.sink, self._publishers, strict=True)
            ),
        )

    def _health(self) -> dict[str, dict[str, float]]:
        figures = self._pipeline.engine.figures(self._now())
        return {
            "alarms": {
                "per_operator_10_min": figures.per_operator,
                "flood": float(figures.flood),
                "flood_share": figures.flood_share,
                "floods": figures.floods,
                "chattering": len(figures.chattering),
                "stale": figures.stale,
            },
            "alarm_sources": dict(figures.top),
            "gateway": {"uptime_s": round(self._now().mono - self._started.mono, 1)},
            "journal": self._journal_health(),
            "rejects": {
                key: health.rejects.total()
                for key, health in self._pipeline.health().items()
                if health.rejects
            },
        }

    def _journal_health(self) -> dict[str, float]:
        if self._journal is None:
            return {}
        counters = self._journal.counters
        return {
            "stored": counters.stored.total(),
            "unstored": counters.unstored.total(),
            "shed": counters.shed,
            "failures": counters.failures,
            "told_undurable": counters.told_undurable,
        }

    @property
    def _epoch(self) -> int:
        return self._journal.epoch if self._journal else 0

    def _status(self, state: str) -> bytes:
        previous = self._journal.previous if self._journal else {}
        status = wire.Status(
            state,
            version("dosegate"),
            self._epoch,
            self._started,
            tuple((lane.value, seq) for lane, seq in previous.items()),
            self._revision,
        )
        return dump(wire.STATUS.encode(status))

    def _control(self) -> ControlServer:
        path = Path(self._configuration.gateway.control_socket)
        return ControlServer(path, self._board, self.execute, new_id)

    def _board(self) -> dict[str, object]:
        engine = self._pipeline.engine
        now = self._now()
        active = engine.active()
        names = {record.detector for record in active if not record.detector.startswith("@")}
        orders = {name: engine.detector(name).book.orders for name in names}
        shown = board(now, self._pipeline.health(), active, orders)
        shown["figures"] = asdict(engine.figures(now))
        shown["sinks"] = {
            sink.id: {**asdict(publisher.counters), "owed": publisher.owed()}
            for sink, publisher in zip(self._configuration.sink, self._publishers, strict=True)
        }
        return shown

    async def _feed_watchdog(self) -> None:
        """A sign of life only while everything that must move has moved."""
        wait_s = WATCHDOG_SHARE * (self._notifier.watchdog_s or STUCK_S)
        self._progress.expect("tick", STUCK_S, self._now().mono)
        while True:
            await asyncio.sleep(wait_s)
            stuck = self._progress.stuck(self._now().mono)
            if stuck or not self._is_committing():
                log.error("stuck", parts=stuck)
            else:
                self._notifier.alive()

    def _is_committing(self) -> bool:
        return self._idle.is_set() or self._urgent.qsize() < STUCK_ALARMS


@dataclass(slots=True)
class _Tasks:
    """The daemon's tasks in the order in which they end."""

    sessions: list[asyncio.Task[None]]
    service: list[asyncio.Task[None]]
    publishers: list[asyncio.Task[None]]


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
