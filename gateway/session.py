"""One task per link: open, feed or ask, back off, say what happens.

A session delivers what its driver yields with the arrival time, and reports the state of the
link. It judges nothing: silence and alarms are the pipeline's, on its own clock.
"""

import asyncio
import contextlib
from abc import abstractmethod
from typing import Final, Protocol

import structlog

from drivers.api import Asker, DriverInfo, Listener, Output, Sample
from drivers.errors import DriverError
from gateway.backoff import BackOff
from gateway.clock import Now, Ticker
from gateway.exchange import Exchange
from gateway.links.bytes import ByteLink
from gateway.links.errors import LinkError, LinkLost
from gateway.tap import Tap, untapped
from gateway.values import Instant, LinkState

log: Final = structlog.get_logger()

MIN_PATIENCE_S: Final = 10.0
ASKER_PATIENCE_S: Final = 30.0
"""Askers try again by themselves and ask to reopen; this is for one that does not."""
SILENT_PERIODS: Final = 6
"""A link that stays open and silent this many periods is closed and opened again."""


class Hub(Protocol):
    """Where sessions deliver to: the daemon's pipeline."""

    def deliver(self, detector: str, output: Output, arrived: Instant) -> None:
        """A value or an error of a driver."""

    def report(self, detector: str, state: LinkState, reason: str) -> None:
        """A change of the link."""


class Session(Protocol):
    """A supervised conversation with one instrument or bus."""

    @property
    def name(self) -> str:
        """For the task and the logs."""

    async def run(self) -> None:
        """Until cancelled."""


class LinkSession:
    """The life of one byte link; what is said over it is the subclass's."""

    def __init__(
        self,
        detector: str,
        info: DriverInfo,
        link: ByteLink,
        hub: Hub,
        now: Now,
        backoff: BackOff,
        tap: Tap | None = None,
    ) -> None:
        self._tap = tap or untapped()
        self._detector = detector
        self._info = info
        self._link = link
        self._hub = hub
        self._now = now
        self._backoff = backoff
        self._patience_s = max(MIN_PATIENCE_S, SILENT_PERIODS * info.silence_s)

    @property
    def name(self) -> str:
        """The detector's id."""
        return self._detector

    async def run(self) -> None:
        """Opens, talks, backs off, for ever."""
        while True:
            self._hub.report(self._detector, LinkState.OPENING, "")
            reason = await self._live_once()
            self._hub.report(self._detector, LinkState.WAITING, reason)
            await asyncio.sleep(self._backoff.wait_s())

    async def _live_once(self) -> str:
        try:
            await self._link.open()
            self._tap.opened()
            await self._talk()
        except LinkError as error:
            return str(error)
        except DriverError as error:
            self._deliver(error)
            return str(error)
        except Exception as error:
            # The task's boundary: a defect in one driver costs its own link a restart, no more.
            log.exception("session_failed", detector=self._detector)
            return f"internal error: {error!r}"
        finally:
            self._tap.closed()
            with contextlib.suppress(LinkError):
                await self._link.close()
        return "closed"

    @abstractmethod
    async def _talk(self) -> None:
        """Until the link is lost."""

    def _deliver(self, output: Output, arrived: Instant | None = None) -> None:
        if isinstance(output, Sample) and self._backoff.tries:
            self._backoff.succeeded()
        self._hub.deliver(self._detector, output, arrived or self._now())

    def _report(self, state: LinkState) -> None:
        self._hub.report(self._detector, state, "")


class ListenerSession(LinkSession):
    """An instrument that talks by itself."""

    def __init__(
        self,
        detector: str,
        info: DriverInfo,
        driver: Listener,
        link: ByteLink,
        hub: Hub,
        now: Now,
        backoff: BackOff,
        tap: Tap | None = None,
    ) -> None:
        super().__init__(detector, info, link, hub, now, backoff, tap)
        self._driver = driver

    async def _talk(self) -> None:
        self._driver.interrupted()
        if hello := self._driver.hello():
            self._tap.sent(hello)
            await self._link.write(hello)
        self._report(LinkState.READING)
        while True:
            try:
                async with asyncio.timeout(self._patience_s):
                    data = await self._link.read()
            except TimeoutError:
                raise LinkLost(self._link.port, f"silent for {self._patience_s:g} s") from None
            arrived = self._now()
            self._tap.received(data)
            for output in self._driver.feed(data):
                self._deliver(output, arrived)


class AskerSession(LinkSession):
    """An instrument that answers questions."""

    def __init__(
        self,
        detector: str,
        info: DriverInfo,
        driver: Asker,
        link: ByteLink,
        hub: Hub,
        now: Now,
        backoff: BackOff,
        ticker: Ticker,
        tap: Tap | None = None,
    ) -> None:
        super().__init__(detector, info, link, hub, now, backoff, tap)
        self._patience_s = max(ASKER_PATIENCE_S, self._patience_s)
        self._driver = driver
        self._ticker = ticker

    async def _talk(self) -> None:
        while True:
            self._report(LinkState.IDENTIFYING)
            exchange = Exchange(self._link, self._tap)
            self._tap.identifying()
            identity = await exchange.run(self._driver.identify())
            self._tap.identified(identity.serial)
            exchange.reopened = False
            self._deliver(Sample((), identity=identity))
            self._report(LinkState.READING)
            await self._poll_until_reopened(exchange)

    async def _poll_until_reopened(self, exchange: Exchange) -> None:
        loop = asyncio.get_running_loop()
        due = heard = loop.time()
        while not exchange.reopened:
            if await self._poll(exchange):
                heard = loop.time()
            elif not exchange.reopened and loop.time() - heard > self._patience_s:
                raise LinkLost(self._link.port, f"no sample for {self._patience_s:g} s")
            due = max(due + self._info.poll_s, loop.time())
            await self._ticker.until(due)

    async def _poll(self, exchange: Exchange) -> bool:
        heard, is_clean = False, True
        try:
            outputs = await exchange.run(self._driver.poll())
        except DriverError as error:
            outputs = (error,)
        arrived = self._now()
        for output in outputs:
            self._deliver(output, arrived)
            heard = heard or isinstance(output, Sample)
            is_clean = is_clean and not isinstance(output, DriverError)
        self._tap.settled(clean=is_clean)
        return heard
