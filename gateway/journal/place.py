"""Where the journal is: in its directory, or in memory until that can be used."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from functools import partial
from typing import Final

from gateway.journal import quarantine
from gateway.journal.cursors import CursorBook
from gateway.journal.incidents import JournalIncidents
from gateway.journal.read import StoreReader
from gateway.journal.spans import Spans
from gateway.journal.store import Store
from gateway.values import Lane

PLACE_RETRY_S: Final = 30.0
"""While the journal is in memory its directory is tried so often: own choice."""


class JournalPlace:
    """Watches over it on the event loop; ``returned`` is called when it is on the disk again."""

    def __init__(
        self,
        store: Store,
        reader: StoreReader,
        writer: Executor,
        cursors: CursorBook,
        incidents: JournalIncidents,
        returned: Callable[[], None],
    ) -> None:
        self.durable = True
        self._loop = asyncio.get_running_loop()
        self._store = store
        self._reader = reader
        self._writer = writer
        self._cursors = cursors
        self._incidents = incidents
        self._returned = returned
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def found(self) -> None:
        """The store has been opened, or tried again; in memory it is tried now and then."""
        self.durable = not self._store.memory
        self._reader.memory = self._store.memory
        if not self.durable and not self._closed:
            self._incidents.in_memory(self._store.unusable)
            self._timer = self._loop.call_later(PLACE_RETRY_S, self.try_directory)

    def try_directory(self) -> None:
        """Moves into the directory if it can be used."""
        self.close(for_good=False)
        self._cursors.hold()
        future = self._loop.run_in_executor(self._writer, self._store.return_to_file)
        future.add_done_callback(self._tried)

    def _tried(self, done: "asyncio.Future[dict[tuple[str, Lane], Spans] | None]") -> None:
        owed = None if done.exception() else done.result()
        self._cursors.release(forget=owed is not None)
        self.found()
        if owed is None:
            return
        for (sink, lane), spans in owed.items():
            self._cursors.owe(sink, lane, spans)
        self._incidents.on_disk_again()
        self._returned()

    async def quarantined(self) -> Mapping[str, int]:
        """How many refused records are kept aside, by sink."""
        work = partial(self._store.work, quarantine.quarantined)
        return await self._loop.run_in_executor(self._writer, work)

    async def requeue(self, sink: str) -> quarantine.Owing:
        """What a sink refused is owed to it again, in the file and by its follower."""
        self._cursors.hold()
        try:
            work = partial(self._store.work, partial(quarantine.requeue, sink=sink))
            owing = await self._loop.run_in_executor(self._writer, work)
            for lane, spans in owing.items():
                self._cursors.owe(sink, lane, spans)
        finally:
            self._cursors.release()
        return owing

    def close(self, *, for_good: bool = True) -> None:
        """Tries no more."""
        self._closed = for_good
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
