"""A session in virtual time: a real driver and a simulated instrument, no ports and no clock.

It follows ``drivers.api`` to the letter, so a driver that works here finds the same order of
events on a real link: an answer is the first n bytes, what is behind them stays, a timeout is
thrown in, identify() follows each opening. Everything is deterministic.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from random import Random
from typing import Final, TypeVar, cast

from drivers.api import (
    Ask,
    Asker,
    Done,
    Drain,
    DriverInfo,
    Identity,
    Listener,
    More,
    Operation,
    Output,
    Quiet,
    ReadBlock,
    Registers,
    Reopen,
)
from drivers.errors import DriverError, Refused, ReplyTimeout
from simulators.api import Emission, Field, Instrument, RegisterInstrument
from simulators.link_faults import Wire

STEP_S: Final = 0.02
"""How finely time moves while somebody waits: the tick of the gateway."""
LISTEN_STEP_S: Final = 0.1
BACK_OFF_S: Final = 1.0
BLOCK_S: Final = 0.01
"""How long reading one register block takes."""
BLOCK_TIMEOUT_S: Final = 1.0

Event = tuple[float, Output | Identity]
_Time = Generator[None, None, None]
_R = TypeVar("_R")


def always(at_s: float) -> bool:
    """A link that never fails."""
    return True


def unwatched(emission: Emission) -> None:
    """Nobody is told what reached the reader."""


class VirtualSession:
    """One driver on one instrument; ``run`` may be called again with a later time.

    ``link_up`` says whether the link stands at a moment: while it does not, nothing arrives in
    either direction. Where that changes only between two calls of ``run`` the session is
    ``steady``, and a listener's time jumps to the limit at once. ``witness`` is told each emission
    that reached the reader.
    """

    def __init__(
        self,
        info: DriverInfo,
        driver: Listener | Asker | Registers,
        instrument: Instrument | RegisterInstrument,
        field: Field,
        *,
        link_up: Callable[[float], bool] = always,
        steady: bool = False,
        witness: Callable[[Emission], None] = unwatched,
        wire: Wire | None = None,
    ) -> None:
        self._steady = steady
        self._wire = wire or Wire(Random(0))
        self._info = info
        self._contract = info.contract
        self._field = field
        self._link_up = link_up
        self._witness = witness
        self._now = 0.0
        self._limit = 0.0
        self._in_flight: deque[Emission] = deque()
        self._buffer = bytearray()
        self._arrived_s = 0.0
        self._lost_link = False
        self._reopened = False
        self._script: Iterator[Event | None]
        if info.contract == "registers":
            self._registers_of = cast(RegisterInstrument, instrument)
            self._script = self._ask_registers(cast(Registers, driver))
        else:
            self._instrument = cast(Instrument, instrument)
            self._script = (
                self._listen(cast(Listener, driver))
                if info.contract == "listener"
                else self._converse(cast(Asker, driver))
            )

    def run(self, to_s: float) -> Iterator[Event]:
        """What the reader gets up to ``to_s``, each with its time of arrival, in order."""
        self._limit = max(self._limit, to_s)
        while (event := next(self._script)) is not None:
            yield event

    def heard(self, to_s: float) -> list[Event]:
        """The same at once, for many sessions that take turns."""
        self._limit = max(self._limit, to_s)
        event, script = next(self._script), self._script
        if event is None:
            return []
        found = [event]
        while (event := next(script)) is not None:
            found.append(event)
        return found

    def swap(self, other: "VirtualSession") -> None:
        """The cables are crossed: each reads the other's instrument in its place."""
        self._field, other._field = other._field, self._field
        if self._contract == "registers":
            mine, theirs = self._registers_of, other._registers_of
            self._registers_of, other._registers_of = theirs, mine
        else:
            self._instrument, other._instrument = other._instrument, self._instrument

    def inject(self, data: bytes) -> None:
        """Bytes that the instrument never sent appear on the link now."""
        self._post((Emission(self._now, data),))

    # Each of the three scripts runs for ever; it yields None when it has reached the limit.

    def _listen(self, driver: Listener) -> Iterator[Event | None]:
        is_open = False
        while True:
            is_up = self._link_up(self._now)
            if is_up and not is_open:
                self._say(driver.hello())
            elif is_open and not is_up:
                driver.interrupted()
            is_open = is_up
            while self._now >= self._limit:
                yield None
            self._move(self._limit if self._steady else min(self._now + LISTEN_STEP_S, self._limit))
            while self._in_flight and self._in_flight[0].at_s <= self._now:
                emission = self._in_flight.popleft()
                if not self._link_up(emission.at_s):
                    if is_open:
                        driver.interrupted()
                    is_open = False
                    continue
                self._witness(emission)
                for output in driver.feed(emission.data):
                    yield emission.at_s, output

    def _converse(self, driver: Asker) -> Iterator[Event | None]:
        while True:
            yield from self._opened()
            try:
                identity = yield from self._perform(driver.identify())
            except DriverError as error:
                yield self._now, error
                yield from self._wait_until(self._now + BACK_OFF_S)
                continue
            yield self._now, identity
            self._reopened = False
            while not self._reopened and not self._lost_link:
                started = self._now
                yield from self._one_cycle(self._perform(driver.poll()))
                due = max(started + self._info.poll_s, self._now)
                yield from self._wait_until(due if due > started else started + STEP_S)

    def _ask_registers(self, driver: Registers) -> Iterator[Event | None]:
        while True:
            yield from self._opened()
            try:
                identity = yield from self._read_blocks(driver.identify())
            except DriverError as error:
                yield self._now, error
                yield from self._wait_until(self._now + BACK_OFF_S)
                continue
            yield self._now, identity
            while not self._lost_link:
                started = self._now
                yield from self._one_cycle(self._read_blocks(driver.poll()))
                due = max(started + driver.poll_s, self._now)
                yield from self._wait_until(due if due > started else started + STEP_S)

    def _one_cycle(
        self, cycle: Generator[None, None, Iterable[Output]]
    ) -> Generator[Event | None, None, None]:
        try:
            outputs = yield from cycle
        except DriverError as error:
            outputs = (error,)
        for output in outputs:
            yield self._now, output

    def _opened(self) -> _Time:
        while not self._link_up(self._now):
            yield from self._wait_until(self._now + BACK_OFF_S)
        self._forget_input()
        self._lost_link = False

    # Operations of an asker.

    def _perform(self, steps: Generator[Operation, bytes, _R]) -> Generator[None, None, _R]:
        try:
            operation = next(steps)
            while True:
                try:
                    result = yield from self._operate(operation)
                except ReplyTimeout as error:
                    operation = steps.throw(error)
                else:
                    operation = steps.send(result)
        except StopIteration as end:
            return cast(_R, end.value)

    def _operate(self, operation: Operation) -> Generator[None, None, bytes]:
        match operation:
            case Ask():
                return (yield from self._ask(operation))
            case Drain(seconds):
                yield from self._collect_until(self._now + seconds)
                return self._take(len(self._buffer))
            case Reopen():
                self._reopened = True
                yield from self._opened()
                return b""

    def _ask(self, ask: Ask) -> Generator[None, None, bytes]:
        self._collect()
        deadline = self._now + ask.timeout_s
        asked_s = self._now
        if ask.request and self._is_up():
            self._say(ask.request)
        while True:
            match ask.until(bytes(self._buffer)):
                case Done(length):
                    return self._take(length)
                case Quiet(seconds):
                    complete_s = max(self._arrived_s, asked_s) + seconds
                    if complete_s <= self._now:
                        return self._take(len(self._buffer))
                    next_s = min(deadline, complete_s)
                case More():
                    next_s = deadline
            if self._now >= deadline:
                raise ReplyTimeout(self._take(len(self._buffer)))
            yield from self._step_towards(next_s)

    def _collect_until(self, to_s: float) -> _Time:
        yield from self._wait_until(to_s)
        self._collect()

    def _step_towards(self, to_s: float) -> _Time:
        """Wait a step, less if something arrives or ``to_s`` comes first."""
        target = min(to_s, self._now + STEP_S)
        if self._in_flight:
            target = min(target, max(self._in_flight[0].at_s, self._now))
        yield from self._step_to(target)
        self._collect()

    def _collect(self) -> None:
        while self._in_flight and self._in_flight[0].at_s <= self._now:
            emission = self._in_flight.popleft()
            if self._link_up(emission.at_s):
                self._buffer += emission.data
                self._arrived_s = self._now
                self._witness(emission)

    def _take(self, length: int) -> bytes:
        taken = bytes(self._buffer[:length])
        del self._buffer[:length]
        return taken

    def _forget_input(self) -> None:
        self._collect()
        self._buffer.clear()

    # Blocks of a register reader.

    def _read_blocks(
        self, steps: Generator[ReadBlock, tuple[int, ...], _R]
    ) -> Generator[None, None, _R]:
        try:
            block = next(steps)
            while True:
                try:
                    registers = yield from self._read(block)
                except (ReplyTimeout, Refused) as error:
                    block = steps.throw(error)
                else:
                    block = steps.send(registers)
        except StopIteration as end:
            return cast(_R, end.value)

    def _read(self, block: ReadBlock) -> Generator[None, None, tuple[int, ...]]:
        yield from self._wait_until(self._now + BLOCK_S)
        if not self._is_up():
            yield from self._wait_until(self._now + BLOCK_TIMEOUT_S)
            raise ReplyTimeout
        answer = self._registers_of.read(
            self._now, block.function, block.address, block.count, self._field
        )
        if isinstance(answer, int):
            raise Refused(answer)
        registers, says = answer
        self._witness(Emission(self._now, b"", says))
        return tuple(registers)

    # Time.

    def _is_up(self) -> bool:
        is_up = self._link_up(self._now)
        self._lost_link = self._lost_link or not is_up
        return is_up

    def _wait_until(self, to_s: float) -> _Time:
        while self._limit < to_s:
            self._move(self._limit)
            yield
        self._move(to_s)

    def _step_to(self, to_s: float) -> _Time:
        """Wait until ``to_s`` or the limit, whichever is first; pause if there is no time left."""
        while self._now >= self._limit:
            yield
        self._move(min(to_s, self._limit))

    def _move(self, to_s: float) -> None:
        if to_s > self._now:
            self._now = to_s
        if self._contract != "registers":
            emissions = self._instrument.advance(self._now, self._field)
            if emissions:
                self._post(emissions)
        if self._contract != "listener":
            self._is_up()

    def _say(self, data: bytes) -> None:
        """Bytes to the instrument, and its answers."""
        if self._wire.echoes and data:
            self._post((Emission(self._now, data),))
        self._post(self._instrument.receive(self._now, data, self._field))

    def _carried(self, emissions: Sequence[Emission]) -> list[Emission]:
        """What the line makes of them; what does not arrive unharmed says nothing."""
        return [
            Emission(piece.due_s, piece.data, emission.says if piece.whole else {})
            for emission in emissions
            for piece in self._wire.carry(emission.at_s, emission.data)
        ]

    def _post(self, emissions: Sequence[Emission]) -> None:
        waiting = self._in_flight
        if not self._wire.is_free:
            emissions = self._carried(emissions)
        if len(emissions) == 1 and not waiting:
            waiting.append(emissions[0])
        elif emissions:
            self._in_flight = deque(
                sorted((*self._in_flight, *emissions), key=lambda emission: emission.at_s)
            )
