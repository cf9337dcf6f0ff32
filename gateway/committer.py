"""What the pipeline's outputs become: urgent ones committed and then told, the others appended.

States reach the journal in the order in which they were made, whichever way they go: of a key that
waits for the committer only the newest state is handed on.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Protocol

import structlog

from gateway.documents import DocumentStore
from gateway.values import Document, Entry, Outputs

log: Final = structlog.get_logger()

WAITING_LIMIT: Final = 1000
"""So many uncommitted outputs mean that the committer does not move."""


class Log(Protocol):
    """What is used of the journal."""

    def append(self, entries: Sequence[Entry], states: Sequence[tuple[str, bytes]] = ()) -> None:
        """For the next group."""

    async def commit(
        self,
        entries: Sequence[Entry],
        documents: Sequence[Document] = (),
        states: Sequence[tuple[str, bytes]] = (),
    ) -> bool:
        """At once; False if the disk does not manage in time."""


class Committer:
    """One a gateway: ``take`` outputs, ``run`` as a task."""

    def __init__(self, journal: Log, documents: DocumentStore) -> None:
        self._journal = journal
        self._documents = documents
        self._queue: asyncio.Queue[tuple[Outputs, asyncio.Future[None]]] = asyncio.Queue()
        self._states: dict[str, bytes] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self.busy_since: float | None = None
        self.unstored_since: float | None = None
        """When the commit under way began, and the first of those that the disk does not take."""

    @property
    def is_moving(self) -> bool:
        """Whether outputs do not pile up."""
        return self._idle.is_set() or self._queue.qsize() < WAITING_LIMIT

    async def settled(self, timeout_s: float) -> None:
        """Returns when nothing waits, or after the time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()

    def take(self, outputs: Outputs) -> asyncio.Future[None] | None:
        """Stores and tells it; of urgent outputs a future that is done when they are."""
        if not outputs.urgent:
            self._append(outputs.entries, outputs.states)
            self._documents.put(outputs.documents)
            return None
        # The samples do not wait for the committer: later ones would overtake them.
        self._append([entry for entry in outputs.entries if not entry.lane.is_alarm])
        self._states.update(outputs.states)
        stored = asyncio.get_running_loop().create_future()
        self._idle.clear()
        self._queue.put_nowait((outputs, stored))
        return stored

    async def run(self) -> None:
        """Alarm events and commands go to disk together, as many as have gathered."""
        while True:
            outputs, stored = await self._queue.get()
            waiting = [stored]
            while not self._queue.empty():
                more, stored = self._queue.get_nowait()
                outputs = outputs.merged(more)
                waiting.append(stored)
            await self._commit(outputs)
            for future in waiting:
                if not future.done():
                    future.set_result(None)
            if self._queue.empty():
                self._idle.set()

    def _append(self, entries: Sequence[Entry], states: Sequence[tuple[str, bytes]] = ()) -> None:
        free = []
        for key, value in states:
            if key in self._states:
                self._states[key] = value  # goes with what waits
            else:
                free.append((key, value))
        if entries or free:
            self._journal.append(entries, free)

    async def _commit(self, outputs: Outputs) -> None:
        alarms = [entry for entry in outputs.entries if entry.lane.is_alarm]
        durable = [document for document in outputs.documents if document.durable]
        states, self._states = tuple(self._states.items()), {}
        began = self.busy_since = asyncio.get_running_loop().time()
        is_stored = await self._journal.commit(alarms, durable, states)
        self.busy_since = None
        if is_stored:
            self.unstored_since = None
        else:
            self.unstored_since = self.unstored_since or began
            log.error("alarm_not_durable", entries=len(alarms))
        self._documents.put(outputs.documents)
