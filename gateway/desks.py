"""What is asked on the control socket beside board and commands: journal, drills, recordings."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from config.models import Configuration
from gateway.clock import Now
from gateway.drill.desk import Drills
from gateway.drill.service import DrillService
from gateway.execution import Execution
from gateway.journal.desk import JournalDesk
from gateway.journal.journal import Journal
from gateway.journal.record import JournalLimits
from gateway.journal.service import JournalService
from gateway.journal.status import Terms
from gateway.publisher.publisher import Publisher
from gateway.recorder.desk import RecorderDesk
from gateway.recorder.recorder import Recorder
from gateway.values import Answer


class Desks:
    """One for each kind of question; ``close`` them with the gateway."""

    def __init__(
        self,
        configuration: Configuration,
        journal: Journal,
        publishers: Mapping[str, Publisher],
        drills: Drills,
        recorder: Recorder,
        execution: Execution,
        *,
        new_id: Callable[[], str],
        now: Now,
    ) -> None:
        users = configuration.user
        self._log = journal
        self._execution = execution
        self._publishers = publishers
        self.record = RecorderDesk(recorder, users)
        self.drill = DrillService(drills, partial(self._settle, exercise=True), new_id, users)
        self.journal = JournalService(
            _journal_desk(configuration, journal, now),
            self._requeue,
            partial(self._settle, exercise=False),
            new_id,
            sinks=[sink.id for sink in configuration.sink],
            users=users,
        )

    def close(self) -> None:
        """Ends what looks into the journal."""
        self.journal.close()

    async def _settle(self, answer: Answer, *, exercise: bool) -> None:
        """Tells the answer, and returns when it is on disk."""
        _, stored = self._execution.answer(answer, exercise=exercise)
        if stored is not None:
            await stored

    async def _requeue(self, sink: str) -> int:
        count = await self._log.requeue(sink)
        self._publishers[sink].quarantine_emptied()
        return count


def _journal_desk(configuration: Configuration, journal: Journal, now: Now) -> JournalDesk:
    settings = configuration.gateway
    limits = JournalLimits.of(configuration.journal)
    sinks = tuple(sink.id for sink in configuration.sink)
    return JournalDesk(
        Path(settings.state_dir),
        Terms(limits.max_bytes, limits.ballast_bytes, sinks, settings.id),
        lambda: now().wall,
        is_live=True,
        memory=lambda: journal.memory,
    )
