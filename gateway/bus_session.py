"""One task per Modbus bus: its units are polled in turn, a dead one does not slow the others."""

import asyncio
import math
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol, TypeVar

import structlog

from drivers.api import Output, ReadBlock, Registers, Sample
from drivers.errors import DriverError, ExchangeError, Refused, ReplyTimeout
from gateway.backoff import BackOff
from gateway.clock import Now, Ticker
from gateway.links.errors import LinkError
from gateway.links.recording import answer_pdu, refusal_pdu, request_pdu
from gateway.session import Hub
from gateway.tap import Tap, untapped
from gateway.values import LinkState

log: Final = structlog.get_logger()
Result = TypeVar("Result")

SLOTS_S: Final = (0.05, 0.1, 0.5)
POLLS_A_SLOT: Final = 40


def slot_s(units: int) -> float:
    """First polls are spread over slots of this length (s), for so many units polled at 1 Hz.

    All at once would wait for each other; each by itself would cost a wake-up.
    """
    return next((slot for slot in SLOTS_S if units * slot >= POLLS_A_SLOT), SLOTS_S[-1])


class Bus(Protocol):
    """A Modbus connection or a recording of one."""

    port: str
    openings: int

    async def open(self) -> None:
        """Opens once and counts it; a LinkError if that fails."""

    async def read(self, unit: int, block: ReadBlock) -> tuple[int, ...]:
        """The registers of a block, a DriverError for this unit, a LinkError for all."""

    def ready_at(self, unit: int) -> float:
        """Loop time from which ``read`` asks the unit without waiting first."""

    async def close(self) -> None:
        """Closes it."""


@dataclass(slots=True)
class BusUnit:
    """One instrument on a bus: its driver, its address, its own back-off while it is silent.

    ``identified`` is the opening of the bus in which it was identified, 0 if it must be again.
    """

    detector: str
    driver: Registers
    unit: int
    silence: BackOff
    identified: int = 0
    due: float = 0.0
    not_before: float = 0.0
    failing: bool = False
    tap: Tap = field(default_factory=untapped)


class BusSession:
    """The life of one Modbus connection and the units behind it."""

    def __init__(
        self,
        bus: Bus,
        units: list[BusUnit],
        hub: Hub,
        now: Now,
        backoff: BackOff,
        ticker: Ticker,
        slot_s: float = SLOTS_S[0],
    ) -> None:
        self._slot_s = slot_s
        self._bus = bus
        self._units = units
        self._hub = hub
        self._now = now
        self._backoff = backoff
        self._ticker = ticker
        self._served = units[0]

    @property
    def name(self) -> str:
        """The bus, or the detector if it is alone on it."""
        return self._units[0].detector if len(self._units) == 1 else self._bus.port

    async def run(self) -> None:
        """Opens, polls, backs off, for ever."""
        while True:
            self._report(LinkState.OPENING, "")
            reason = await self._live_once()
            self._report(LinkState.WAITING, reason)
            await asyncio.sleep(self._backoff.wait_s())

    async def _live_once(self) -> str:
        try:
            await self._bus.open()
            for unit in self._units:
                unit.tap.opened()
            await self._poll_for_ever()
        except LinkError as error:
            return str(error)
        except Exception as error:
            # The task's boundary: a defect in one driver costs its own bus a restart, no more,
            # and its own unit a wait, so that the others are polled meanwhile.
            log.exception("session_failed", bus=self._bus.port, detector=self._served.detector)
            self._served.not_before = self._ticker.now() + self._served.silence.wait_s()
            return f"internal error: {error!r}"
        finally:
            for unit in self._units:
                unit.tap.closed()
            await self._bus.close()
        return "closed"

    async def _poll_for_ever(self) -> None:
        for unit in self._units:
            spread_s = unit.silence.share() * unit.driver.poll_s
            earliest = max(self._ticker.now() + spread_s, unit.not_before)
            unit.due = math.ceil(earliest / self._slot_s) * self._slot_s
        while True:
            unit = self._served = min(self._units, key=lambda unit: unit.due)
            if unit.due > self._ticker.now():
                await self._ticker.until(unit.due)
            await self._serve(unit)

    async def _serve(self, unit: BusUnit) -> None:
        """One cycle of one unit, and when its next is due."""
        started = self._ticker.now()
        outputs: Iterable[Output]
        try:
            if unit.identified != self._bus.openings:
                await self._identify(unit)
            outputs = await self._run(unit, unit.driver.poll())
        except ExchangeError as error:
            self._fail(unit, error)
            return
        except DriverError as error:
            if unit.identified != self._bus.openings:
                self._fail(unit, error)
                return
            outputs = (error,)
        self._deliver(unit, outputs)
        unit.due = max(unit.due + unit.driver.poll_s, started)

    async def _identify(self, unit: BusUnit) -> None:
        unit.tap.identifying()
        identity = await self._run(unit, unit.driver.identify())
        unit.tap.identified(identity.serial)
        unit.identified = self._bus.openings
        self._hub.deliver(unit.detector, Sample((), identity=identity), self._now())

    def _deliver(self, unit: BusUnit, outputs: Iterable[Output]) -> None:
        arrived = self._now()
        if unit.failing or self._backoff.tries:
            self._recovered(unit)
        for output in outputs:
            self._hub.deliver(unit.detector, output, arrived)

    def _recovered(self, unit: BusUnit) -> None:
        self._backoff.succeeded()
        unit.silence.succeeded()
        unit.failing = False
        self._hub.report(unit.detector, LinkState.READING, "")

    def _fail(self, unit: BusUnit, error: DriverError) -> None:
        """It waits from now on; after a silence it may be another instrument that comes back."""
        if isinstance(error, ReplyTimeout):
            unit.identified = 0
        unit.failing = True
        unit.due = self._ticker.now() + max(unit.silence.wait_s(), unit.driver.poll_s)
        if len(self._units) > 1:
            unit.due = max(unit.due, self._bus.ready_at(unit.unit))
        self._hub.deliver(unit.detector, error, self._now())
        self._hub.report(unit.detector, LinkState.WAITING, str(error))

    def _report(self, state: LinkState, reason: str) -> None:
        for unit in self._units:
            unit.failing = True
            self._hub.report(unit.detector, state, reason)

    async def _run(
        self, unit: BusUnit, talk: Generator[ReadBlock, tuple[int, ...], Result]
    ) -> Result:
        step: Callable[[], ReadBlock] = partial(next, talk)
        while True:
            try:
                block = step()
            except StopIteration as end:
                result: Result = end.value
                return result
            if unit.tap.is_on:
                unit.tap.sent(request_pdu(block))
            try:
                words = await self._bus.read(unit.unit, block)
            except DriverError as error:
                if isinstance(error, Refused):
                    unit.tap.received(refusal_pdu(block, error.code))
                elif not isinstance(error, ExchangeError):
                    unit.tap.received(error.raw)
                step = partial(talk.throw, error)
            else:
                if unit.tap.is_on:
                    unit.tap.received(answer_pdu(block, words))
                step = partial(talk.send, words)
