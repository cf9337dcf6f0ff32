"""What the gateway says of itself: status, heartbeat, health, and the board of this laptop."""

import asyncio
import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Final, Protocol

from config.models import Configuration
from gateway.alarms.record import AlarmRecord
from gateway.board import board
from gateway.clock import Now
from gateway.clock_state import Clock, ClockTold
from gateway.heartbeat import Heartbeats
from gateway.journal.journal import Journal
from gateway.pipeline import Pipeline
from gateway.publisher.values import PublisherFigures
from gateway.wire import gateways
from gateway.wire.gateways import Figures
from gateway.wire.table import dump

DISK_S: Final = 2.0
"""Own choice: a disk that does not answer in this time is told as unknown."""
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


class DrillsTold(Protocol):
    """What is used of drills."""

    @property
    def is_on(self) -> bool:
        """Whether one is on."""

    def since_s(self) -> float:
        """How long it has been on."""

    def named(self) -> str:
        """Its name; empty while none is on."""

    def active(self) -> list[AlarmRecord]:
        """Its alarms that are not closed."""

    @property
    def failed(self) -> str:
        """Why the last one ended by itself, until the next begins; empty if it did not."""


class SinkTold(Protocol):
    """What is used of a publisher."""

    def owed(self) -> int:
        """Messages that the sink has not acknowledged."""

    def figures(self) -> PublisherFigures:
        """How the sink stands."""


@dataclass(slots=True)
class Tallies:
    """What other parts count; ``lag_s`` is the longest wait of the loop since it was told."""

    commands: Counter[str] = field(default_factory=Counter)
    restarts: Counter[str] = field(default_factory=Counter)
    lag_s: float = 0.0

    def take_lag_s(self) -> float:
        """The longest wait since the last call."""
        lag_s, self.lag_s = self.lag_s, 0.0
        return lag_s


class Reporter:
    """Knows where everything is counted; ``sinks`` are filled in by whoever makes publishers."""

    def __init__(
        self,
        configuration: Configuration,
        pipeline: Pipeline,
        journal: Journal,
        clock: Clock,
        heartbeats: Heartbeats,
        *,
        now: Now,
        revision: str,
    ) -> None:
        self.sinks: dict[str, SinkTold] = {}
        self.tallies = Tallies()
        self.drills: DrillsTold | None = None
        self._configuration = configuration
        self._pipeline = pipeline
        self._journal = journal
        self._clock = clock
        self._heartbeats = heartbeats
        self._now = now
        self._started = now()
        self._revision = revision
        self._clock_told = clock.look(self._started)
        self._disk: asyncio.Future[float] | None = None

    def status(self, state: str) -> bytes:
        """The retained status."""
        previous = self._journal.previous
        status = gateways.Status(
            state,
            version("dosegate"),
            self._journal.epoch,
            self._started,
            tuple((lane.value, seq) for lane, seq in previous.items()),
            self._revision,
        )
        return dump(gateways.STATUS.encode(status))

    def heartbeat(self) -> bytes:
        """The next sign of life; with it the clock is looked at."""
        now = self._now()
        self._clock_told = self._clock.look(now)
        records = self._pipeline.engine.active()
        if self.drills is not None:
            records = [*records, *self.drills.active()]
        active = sorted(f"{record.occurrence}:{record.revision}" for record in records)
        told = gateways.Heartbeat(
            self._heartbeats.give(now.mono),
            self._journal.epoch,
            now,
            tuple((lane.value, seq) for lane, seq in self._journal.newest().items()),
            len(active),
            hashlib.sha256("\n".join(active).encode()).hexdigest(),
            tuple((name, sink.owed()) for name, sink in self.sinks.items()),
            self._clock_told,
            self.drills.named() if self.drills is not None else "",
        )
        return dump(gateways.HEARTBEAT.encode(told))

    async def health(self) -> bytes:
        """All counters and figures."""
        now = self._now()
        figures = self._pipeline.engine.figures(now)
        told: dict[str, Figures] = {
            "alarms": {
                "per_operator_10_min": figures.per_operator,
                "flood": float(figures.flood),
                "flood_share": figures.flood_share,
                "floods": figures.floods,
                "chattering": len(figures.chattering),
                "stale": figures.stale,
            },
            "alarm_sources": dict(figures.top),
            "process": self._process(now.mono - self._started.mono),
            "clock": _clock(self._clock_told),
            "journal": {**self._journal_figures(), "disk_free_mb": await self._free_mb()},
            "sinks": self._sinks(),
            "commands": dict(self.tallies.commands),
            "rejects": {
                key: health.rejects.total()
                for key, health in self._pipeline.health().items()
                if health.rejects
            },
        }
        if drill := self._drill():
            told["drill"] = drill
        return dump(gateways.HEALTH.encode(told))

    def board(self) -> dict[str, object]:
        """Everything that a person at this laptop must see."""
        engine = self._pipeline.engine
        now = self._now()
        active = engine.active()
        orders = engine.orders({record.detector for record in active})
        if self.drills is not None:
            active = [*active, *self.drills.active()]
        shown = board(now, self._pipeline.health(), active, orders)
        shown["drill"] = self._drill() or None
        if self.drills is not None and self.drills.failed:
            shown["drill_failed"] = self.drills.failed
        shown["figures"] = asdict(engine.figures(now))
        shown["sinks"] = {name: asdict(sink.figures()) for name, sink in self.sinks.items()}
        shown["clock"] = _clock(self._clock_told)
        return shown

    def _drill(self) -> Figures:
        """The drill that is on, if one is."""
        drills = self.drills
        if drills is None or not drills.is_on:
            return {}
        since_s, active = round(drills.since_s(), 1), len(drills.active())
        return {"name": drills.named(), "since_s": since_s, "alarms": active}

    def _process(self, uptime_s: float) -> Figures:
        return {
            "uptime_s": round(uptime_s, 1),
            "loop_lag_ms": round(self.tallies.take_lag_s() * 1000.0, 1),
            "memory_mb": memory_mb(),
            "restarts": self.tallies.restarts.total(),
        }

    def _journal_figures(self) -> Figures:
        """Counters are summed over lanes; what is no number is left to the log."""
        told: Figures = {}
        for name, value in asdict(self._journal.counters).items():
            if isinstance(value, Mapping):
                told[name] = sum(value.values())
            elif isinstance(value, int | float | str):
                told[name] = value
        return told

    def _sinks(self) -> Figures:
        return {
            f"{name}.{figure}": value
            for name, sink in self.sinks.items()
            for figure, value in asdict(sink.figures()).items()
        }

    async def _free_mb(self) -> float | None:
        """Room on the journal's disk; asked aside, since a disk may hang."""
        if self._disk is None:
            loop = asyncio.get_running_loop()
            folder = self._configuration.gateway.state_dir
            self._disk = loop.run_in_executor(None, free_mb, folder)
        await asyncio.wait((self._disk,), timeout=DISK_S)
        if not self._disk.done():
            return None
        done, self._disk = self._disk, None
        return None if done.exception() is not None else done.result()


def free_mb(folder: str) -> float:
    """Room for this user, in MB of 10⁶ bytes. Blocks; OSError if there is no such folder."""
    return round(shutil.disk_usage(folder).free / 1e6, 1)


def memory_mb(statm: Path = Path("/proc/self/statm")) -> float | None:
    """Resident memory of this process (proc(5)) in MB; None where the system does not say."""
    try:
        pages = int(statm.read_text("ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return round(pages * _PAGE_BYTES / 1e6, 1)


def _clock(told: ClockTold) -> Figures:
    return {"state": told.state.value, "offset_s": told.offset_s}
