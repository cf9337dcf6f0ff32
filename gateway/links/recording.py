"""A recording in place of an instrument: what it received is received again, at its own pace.

Questions are answered as they were answered then, see ``drivers.codec.conversation``. When the
link was lost in the recording it is lost here. At the end it stays away, unless it loops.
"""

import asyncio
from collections import deque
from pathlib import Path
from typing import Final

from drivers.api import ReadBlock
from drivers.codec.conversation import Conversation, Difference
from drivers.codec.recording import Kind, Piece, Recording, read_recording
from drivers.errors import DecodeError, Refused, Reject, ReplyTimeout
from gateway.links.errors import LinkLost, PortMissing

ENDED: Final = "the recording has ended"
LOST: Final = "closed, as recorded"
PATIENCE_S: Final = 60.0
"""Own choice: a recording whose questions nobody asks is over so long after its end."""
SLACK_S: Final = 0.05
"""Own choice: a real clock is late by so much at most; what comes then has come already."""
SILENCE_S: Final = 1.0
"""How long a question on Modbus waits for an answer that was never recorded."""
EXCEPTION_BIT: Final = 0x80
Due = tuple[float, bytes]


class Playback:
    """The recording on the loop's clock, ``speed`` times as fast (0: at once)."""

    def __init__(
        self, path: Path, speed: float, *, loops: bool = False, recording: Recording | None = None
    ) -> None:
        self.port = str(path)
        self.has_ended = False
        self._path = path
        self._speed = speed
        self._loops = loops
        self._recording = recording
        self.talk = Conversation(())
        self._has_begun = False
        self._from_s = 0.0
        self._at = 0.0

    async def open(self) -> None:
        """From the beginning, or behind the place where it was closed. Raises PortMissing."""
        if self.has_ended and not self._loops:
            raise PortMissing(self.port, ENDED)
        if self._recording is None:
            self._recording = await self._read()
        if not self._has_begun or self.has_ended:
            self._has_begun, self.has_ended = True, False
            self.talk = Conversation(self._recording.pieces)
            first = self.talk.next
            self.anchor(min(0.0, first.at_s) if first else 0.0)
        while (piece := self.talk.next) is not None and piece.kind in _BETWEEN:
            if piece.kind is Kind.OPENED:
                await self.reach(piece)
                self.anchor(piece.at_s)
                self.talk.take()
                return
            self.talk.take()

    def anchor(self, at_s: float) -> None:
        """This time of the recording is now."""
        self._from_s, self._at = at_s, asyncio.get_running_loop().time()

    def due(self, at_s: float) -> float:
        """When that time of the recording comes, on the loop's clock."""
        if self._speed <= 0:
            return self._at
        return self._at + (at_s - self._from_s) / self._speed

    def has_come(self, piece: Piece) -> bool:
        """Whether it has arrived."""
        return self.due(piece.at_s) <= asyncio.get_running_loop().time() + SLACK_S

    async def reach(self, piece: Piece) -> None:
        """Returns when it is its time; at speed 0 the others still get their turn."""
        await asyncio.sleep(max(0.0, self.due(piece.at_s) - asyncio.get_running_loop().time()))

    def ended(self) -> LinkLost:
        """Why nothing more comes."""
        self.has_ended = True
        return LinkLost(self.port, ENDED)

    async def outlast(self) -> None:
        """Returns when a recording whose questions are not asked is given up."""
        await asyncio.sleep(max(0.0, self._given_up_at() - asyncio.get_running_loop().time()))

    def is_given_up(self) -> bool:
        """Whether its questions are not asked any more."""
        return asyncio.get_running_loop().time() >= self._given_up_at()

    def _given_up_at(self) -> float:
        last = self.talk.last
        return self.due(last.at_s if last else 0.0) + PATIENCE_S

    async def _read(self) -> Recording:
        loop = asyncio.get_running_loop()
        try:
            text = await loop.run_in_executor(None, self._path.read_text, "utf-8")
            return await loop.run_in_executor(None, _parse, text)
        except (OSError, ValueError) as error:
            raise PortMissing(self.port, f"no readable recording: {error}") from error


_BETWEEN: Final = (Kind.CLOSED, Kind.OPENED, Kind.IDENTIFYING, Kind.IDENTIFIED, Kind.LOST)


def _parse(text: str) -> Recording:
    return read_recording(text.splitlines())


class RecordingLink:
    """A byte link; ``answers`` where what is written counts, as it does for those that are asked.

    ``differences`` says where questions were not those of the recording.
    """

    def __init__(
        self,
        path: Path,
        speed: float,
        *,
        answers: bool = False,
        loops: bool = False,
        recording: Recording | None = None,
    ) -> None:
        self.play = Playback(path, speed, loops=loops, recording=recording)
        self._answers = answers
        self._ready: deque[Due] = deque()

    @property
    def port(self) -> str:
        """The file."""
        return self.play.port

    @property
    def differences(self) -> list[Difference]:
        """Where questions were not those of the recording."""
        return self.play.talk.differences

    async def open(self) -> None:
        """Reads the file; PortMissing if it is not there, no recording, or has ended."""
        self._ready.clear()
        await self.play.open()

    async def read(self) -> bytes:
        """The next piece when its time has come; LinkLost at the end."""
        while True:
            if self._ready:
                return await self._given()
            piece = self.play.talk.next
            if piece is None:
                raise self.play.ended()
            if piece.kind is Kind.SENT and self._answers:
                await self.play.outlast()
                raise self.play.ended()
            await self.play.reach(piece)
            self.play.talk.take()
            if piece.kind is Kind.CLOSED:
                raise LinkLost(self.port, LOST)
            if piece.kind is Kind.RECEIVED and piece.data:
                return piece.data

    def take(self) -> bytes:
        """What has come so far; nothing for a listener, whose pieces come at their time."""
        taken = bytearray()
        while self._answers and self._ready:
            taken += self._ready.popleft()[1]
        while (piece := self.play.talk.next) is not None and self._answers:
            if piece.kind is not Kind.RECEIVED or not self.play.has_come(piece):
                break
            self.play.talk.take()
            taken += piece.data
        return bytes(taken)

    async def write(self, data: bytes) -> None:
        """A question: its answer comes as it came then."""
        if not self._answers:
            return
        found = self.play.talk.ask(data)
        if found is None:
            return
        now = asyncio.get_running_loop().time()
        if found.again is not None:
            self._ready += [
                (now + each.at_s - found.asked.at_s, each.data) for each in found.again if each.data
            ]
            return
        self._ready += [(now, each.data) for each in found.before if each.data]
        self.play.anchor(found.asked.at_s)

    async def close(self) -> None:
        """Nothing to let go of."""

    async def _given(self) -> bytes:
        due, data = self._ready[0]
        await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
        self._ready.popleft()
        return data


class RecordingBus:
    """Registers as they were read then, of one unit."""

    def __init__(
        self, path: Path, speed: float, *, loops: bool = False, recording: Recording | None = None
    ) -> None:
        self.play = Playback(path, speed, loops=loops, recording=recording)
        self.port = self.play.port
        self.openings = 0

    @property
    def differences(self) -> list[Difference]:
        """Where questions were not those of the recording."""
        return self.play.talk.differences

    async def open(self) -> None:
        """Reads the file; PortMissing if it is not there, no recording, or has ended."""
        await self.play.open()
        self.openings += 1

    async def read(self, unit: int, block: ReadBlock) -> tuple[int, ...]:
        """The registers of a block. Raises as a real bus does."""
        waiting = self._passed()
        if waiting is not None and waiting.kind is Kind.CLOSED:
            await self._lose(waiting)
        if waiting is not None and waiting.kind is Kind.END:
            await self._await_end(waiting)
        found = self.play.talk.ask(request_pdu(block))
        if found is None:
            if self.play.talk.next is None or self.play.is_given_up():
                raise self.play.ended()
            await asyncio.sleep(SILENCE_S)
            raise ReplyTimeout(detail="no answer is recorded")
        if found.again is not None:
            return answered(b"".join(each.data for each in found.again), block)
        self.play.anchor(found.asked.at_s)
        return answered(await self._answer(), block)

    def ready_at(self, unit: int) -> float:
        """At once."""
        return 0.0

    async def close(self) -> None:
        """Nothing to let go of."""

    async def _answer(self) -> bytes:
        """The answer to the question that was just found; nothing if there was none."""
        piece = self._passed()
        if piece is None:
            raise self.play.ended()
        if piece.kind is Kind.END:
            await self._await_end(piece)
            return b""
        if piece.kind is Kind.SENT:
            late = min(self.play.due(piece.at_s), asyncio.get_running_loop().time() + SILENCE_S)
            await asyncio.sleep(max(0.0, late - asyncio.get_running_loop().time()))
            return b""
        if piece.kind is Kind.CLOSED:
            await self._lose(piece)
        await self.play.reach(piece)
        self.play.talk.take()
        return piece.data

    async def _lose(self, closed: Piece) -> None:
        await self.play.reach(closed)
        self.play.talk.take()
        raise LinkLost(self.port, LOST)

    async def _await_end(self, piece: Piece) -> None:
        """Silence until the recording ends, a question at a time."""
        loop = asyncio.get_running_loop()
        if self.play.due(piece.at_s) <= loop.time() + SLACK_S:
            raise self.play.ended()
        await asyncio.sleep(min(SILENCE_S, self.play.due(piece.at_s) - loop.time()))

    def _passed(self) -> Piece | None:
        """What comes now, behind what means nothing here."""
        while (piece := self.play.talk.next) is not None and piece.kind in _NOTHING:
            self.play.talk.take()
        return piece


_NOTHING: Final = (Kind.OPENED, Kind.IDENTIFYING, Kind.IDENTIFIED, Kind.LOST)


def request_pdu(block: ReadBlock) -> bytes:
    """The question for a block as it is recorded."""
    return bytes((block.function,)) + block.address.to_bytes(2) + block.count.to_bytes(2)


def answer_pdu(block: ReadBlock, words: tuple[int, ...]) -> bytes:
    """The answer to it."""
    data = b"".join(word.to_bytes(2) for word in words)
    return bytes((block.function, len(data))) + data


def refusal_pdu(block: ReadBlock, code: int) -> bytes:
    """The answer that says no."""
    return bytes((block.function | EXCEPTION_BIT, code & 0xFF))


def answered(pdu: bytes, block: ReadBlock) -> tuple[int, ...]:
    """The registers of a recorded answer. Raises ReplyTimeout, Refused or DecodeError."""
    if len(pdu) < 2:
        raise ReplyTimeout(detail="no answer, as recorded")
    if pdu[0] & EXCEPTION_BIT:
        raise Refused(pdu[1])
    if pdu[0] != block.function:
        detail = f"function {pdu[0]} answers {block.function}"
        raise DecodeError(Reject.UNEXPECTED, detail=detail)
    words = tuple(int.from_bytes(pdu[at : at + 2]) for at in range(2, len(pdu) - 1, 2))
    if len(words) != block.count:
        detail = f"{len(words)} registers instead of {block.count}"
        raise DecodeError(Reject.TRUNCATED, detail=detail)
    return words
