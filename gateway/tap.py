"""Where a session says what goes over its link, for whoever records it.

Nothing is kept while nobody records, except how the instrument was asked who it is: a recording
that begins later begins with that, for without it nobody could read it again.

What follows a secret question may be a late rest of the secret: it is held back until a cycle is
over, and written only if the whole cycle made sense. Where the secret came late or in parts,
nothing is written for a minute, and for a minute nothing that nobody asked for, even on a link that
was opened again. What is not written counts as secret.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Protocol

from drivers.codec.recording import Kind, Piece

KEPT_BYTES: Final = 1 << 16
"""Own choice: an identification that is longer, or what is held back, is not kept."""
PIECE_BYTES: Final = 64
"""About what a piece costs beside its bytes; own choice."""
WARY_S: Final = 60.0
"""Own choice: no instrument is asked who it is so long after it stopped in the middle of a word."""


class Track(Protocol):
    """A recording that is being taken."""

    def add(self, piece: Piece) -> None:
        """One more piece, at a time of the monotonic clock."""


class Tap:
    """One detector's; ``clock`` is monotonic, in s."""

    __slots__ = (
        "_clock",
        "_held",
        "_held_bytes",
        "_identification",
        "_is_open",
        "_learning",
        "_learning_bytes",
        "_not_before",
        "_on",
        "_tracks",
        "_wary_until",
        "serial",
    )

    def __init__(self, clock: Callable[[], float]) -> None:
        self._identification: tuple[Piece, ...] = ()
        self.serial = ""
        self._clock = clock
        self._tracks: tuple[Track, ...] = ()
        self._learning: list[Piece] | None = None
        self._learning_bytes = 0
        self._held: list[Piece] | None = None
        self._held_bytes = 0
        self._not_before = 0.0
        self._wary_until = -WARY_S
        self._on = False
        self._is_open = False

    @property
    def beginning(self) -> tuple[Piece, ...]:
        """How the instrument was asked who it is since the link is open, perhaps not to its end."""
        return self._identification if self._learning is None else tuple(self._learning)

    @property
    def is_identifying(self) -> bool:
        """Whether it is being asked now."""
        return self._learning is not None

    @property
    def is_on(self) -> bool:
        """Whether anybody wants to hear anything."""
        return self._on

    def join(self, track: Track) -> None:
        """It hears everything from now on."""
        self._tracks = (*self._tracks, track)
        self._on = True

    def leave(self, track: Track) -> None:
        """It hears nothing any more."""
        self._tracks = tuple(each for each in self._tracks if each is not track)
        self._settle_on()

    def sent(self, data: bytes) -> None:
        """Bytes to the instrument."""
        if self._on and data:
            self._note(Piece(self._clock(), Kind.SENT, data))

    def received(self, data: bytes, *, secret: bool = False, unasked: bool = False) -> None:
        """Bytes from it; of a secret only how many. ``unasked``: they were dropped."""
        if self._on and data:
            piece = Piece(self._clock(), Kind.RECEIVED, data)
            is_stray = unasked and piece.at_s < self._wary_until
            self._note(_blackened(piece) if secret or is_stray else piece)

    def opened(self) -> None:
        """The link is open."""
        self._is_open = True
        if self._on:
            self._note(Piece(self._clock(), Kind.OPENED))

    def closed(self) -> None:
        """It is not, or not any more."""
        self._give_up()
        self._learning, self._identification = None, ()
        if self._on and self._is_open:
            self._note(Piece(self._clock(), Kind.CLOSED))
        self._is_open = False
        self._settle_on()

    def identifying(self) -> None:
        """The instrument is about to be asked who it is."""
        self._give_up()
        self._learning, self._learning_bytes, self._on = [], 0, True
        self._note(Piece(self._clock(), Kind.IDENTIFYING))

    def identified(self, serial: str | None) -> None:
        """It has said so; what came with it and was held back stays secret."""
        self.serial = serial or ""
        if self._held is not None:
            self._forget()
        if self._on:
            self._note(Piece(self._clock(), Kind.IDENTIFIED))
        self._settle_on()

    def doubt(self) -> None:
        """A secret is asked for: what comes may belong to it, until ``settled``."""
        self._wary_until = self._clock() + WARY_S
        if self._held is None:
            self._held, self._held_bytes, self._on = [], 0, True
        else:
            self.suspect()

    def suspect(self) -> None:
        """The secret has not come, or not at once: the rest of it may come any time."""
        self._wary_until = self._not_before = self._clock() + WARY_S

    def settled(self, *, clean: bool) -> None:
        """A cycle is over; ``clean``: every answer in it made sense."""
        if self._held is None:
            return
        has_answers = any(piece.kind is Kind.RECEIVED and not piece.secret for piece in self._held)
        if not clean:
            self.suspect()
        if self._clock() < self._not_before:
            self._forget()
        elif has_answers:
            self._release()

    def _note(self, piece: Piece) -> None:
        if self._held is None:
            self._pass(piece)
            return
        self._held.append(piece)
        self._held_bytes += len(piece.data) + PIECE_BYTES
        if self._held_bytes > KEPT_BYTES:
            self._forget()

    def _forget(self) -> None:
        """What was held back is secret; what comes is still held back."""
        held, self._held, self._held_bytes = self._held or [], [], 0
        for piece in held:
            self._pass(_blackened(piece) if piece.kind is Kind.RECEIVED else piece)

    def _give_up(self) -> None:
        """What is held back is secret; on a new connection too, while a rest may come."""
        if self._held is not None:
            self._forget()
            if self._clock() >= self._not_before:
                self._held = None

    def _release(self) -> None:
        """Nothing is held back any more."""
        held, self._held = self._held or [], None
        for piece in held:
            self._pass(piece)
        self._settle_on()

    def _pass(self, piece: Piece) -> None:
        if self._learning is not None:
            self._learn(self._learning, piece)
        for track in self._tracks:
            track.add(piece)

    def _learn(self, learning: list[Piece], piece: Piece) -> None:
        learning.append(piece)
        self._learning_bytes += len(piece.data) + PIECE_BYTES
        if piece.kind is Kind.IDENTIFIED:
            self._identification, self._learning = tuple(learning), None
        elif self._learning_bytes > KEPT_BYTES:
            self._identification, self._learning = (), None

    def _settle_on(self) -> None:
        """Whether there is still anything to hear."""
        self._on = bool(self._tracks or self._learning is not None or self._held is not None)


def untapped() -> Tap:
    """One that nobody records."""
    return Tap(time.monotonic)


def _blackened(piece: Piece) -> Piece:
    if piece.secret:
        return piece
    return replace(piece, data=b"", secret=True, count=len(piece.data))
