"""What a start needs, as it is now: states and durable documents, and which are to be stored."""

from collections.abc import Iterable

from gateway.journal.record import Kept, Urgent
from gateway.values import Document

States = Iterable[tuple[str, bytes]]


class Truth:
    """The newest state of each key and body of each durable document.

    They are put into the file anew when that had to be replaced.
    """

    def __init__(self) -> None:
        self._states: dict[str, bytes] = {}
        self._documents: dict[tuple[bool, str], Document] = {}
        self._pending: dict[str, bytes] = {}

    def load(self, kept: Kept) -> None:
        """As the file had them."""
        self._states = dict(kept.states)
        self.commit((), kept.documents)

    def later(self, states: States) -> None:
        """Newer states, to be stored with the next group."""
        for key, value in states:
            self._states[key] = self._pending[key] = value

    def commit(self, states: States, documents: Iterable[Document]) -> None:
        """Newer ones that are being stored at once: newer than all that waits."""
        for key, value in states:
            self._states[key] = value
            self._pending.pop(key, None)
        for document in documents:
            if document.durable:
                self._documents[document.exercise, document.topic] = document

    def pending(self) -> tuple[tuple[str, bytes], ...]:
        """What waits for the next group."""
        return tuple(self._pending.items())

    def stored(self, states: States) -> None:
        """These no longer wait, those given since do."""
        for key, value in states:
            if self._pending.get(key) is value:
                del self._pending[key]

    def forget(self, documents: Iterable[Document]) -> None:
        """These emptied documents are no longer needed."""
        for document in documents:
            held = self._documents.get((document.exercise, document.topic))
            if held is not None and not held.body:
                del self._documents[document.exercise, document.topic]

    def all(self) -> Urgent:
        """All of it, to be stored at once."""
        self._pending.clear()
        return Urgent((), tuple(self._documents.values()), tuple(self._states.items()))
