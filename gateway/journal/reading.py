"""Reading the journal back from the event loop; what is missed in it is given up and told."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from gateway.clock import Now
from gateway.journal.damage import bury_missing
from gateway.journal.incidents import JournalIncidents
from gateway.journal.read import StoreReader
from gateway.journal.record import Record
from gateway.journal.spans import Span
from gateway.journal.store import Store
from gateway.values import Lane
from gateway.wire.delivery import Lost

log = structlog.get_logger(__name__)
RETRY_S: Final = 1.0
"""Until tombstones that could not be stored are tried again: as the journal's other retries."""


class JournalReading:
    """One thread that looks into the file; the writer's stores what has to be given up."""

    def __init__(
        self,
        directory: Path,
        store: Store,
        writer: Executor,
        sinks: Sequence[str],
        incidents: JournalIncidents,
        now: Now,
    ) -> None:
        self.store_reader = StoreReader(directory, self._missed)
        self._loop = asyncio.get_running_loop()
        self._reader = ThreadPoolExecutor(1, "journal-reader")
        self._store = store
        self._writer = writer
        self._sinks = frozenset(sinks)
        self._incidents = incidents
        self._now = now
        self._closed = False

    def read(self, lane: Lane, span: Span, limit: int) -> "asyncio.Future[list[Record]]":
        """The first records of a span that the file still has."""
        return self._loop.run_in_executor(self._reader, self.store_reader.read, lane, span, limit)

    def give_up(self, lane: Lane, spans: Sequence[Span]) -> None:
        """These cannot be had: they get tombstones, and are told once they have them."""
        if self._closed:
            return
        bury = partial(bury_missing, lane=lane, missing=spans, sinks=self._sinks)
        work: Callable[[], tuple[Lost, ...]] = partial(
            self._store.work, partial(bury, wall=self._now().wall)
        )
        future = self._loop.run_in_executor(self._writer, work)
        future.add_done_callback(partial(self._buried, lane, spans))

    def _missed(self, lane: Lane, spans: Sequence[Span]) -> None:
        """In the reader's thread, before what was read is handed over."""
        self._loop.call_soon_threadsafe(self.give_up, lane, spans)

    def _buried(
        self, lane: Lane, spans: Sequence[Span], done: "asyncio.Future[tuple[Lost, ...]]"
    ) -> None:
        if done.cancelled():
            return
        if (error := done.exception()) is None:
            self._incidents.lose(done.result())
        else:
            log.error("journal_tombstones_failed", error=str(error))
            if not self._closed:
                self._loop.call_later(RETRY_S, self.give_up, lane, spans)

    async def close(self) -> None:
        """Lets go of the file."""
        self._closed = True
        await self._loop.run_in_executor(self._reader, self.store_reader.close)

    def shutdown(self) -> None:
        """Ends its thread."""
        self._closed = True
        self._reader.shutdown(wait=False)
