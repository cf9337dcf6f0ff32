"""Which broker of a sink's list is next, and when one that is preferred is looked for again."""

import asyncio
import ssl
from collections.abc import Sequence
from contextlib import suppress
from random import Random
from typing import Final

from config.models import Sink
from gateway.mqtt import Broker
from gateway.publisher.certificate import Validity, dates_context, tls_context, validity
from gateway.publisher.names import Address, Names
from gateway.publisher.stream import CONNECT_S, NotMqtt

PROBE_S: Final = 20.0
"""Own choice: preferred brokers are looked for so often, shortened by up to a third by chance."""
PROBE_JITTER: Final = 1 / 3
ANSWERS: Final = 3
"""After so many answers in a row it is returned to."""
PROBE_CAP_S: Final = 1800.0
"""A return that did not last doubles the waits, up to this."""


class BrokerList:
    """The list in order of preference, and where in it the sink stands; times are the loop's."""

    def __init__(self, brokers: Sequence[Broker], random: Random) -> None:
        self._brokers = tuple(brokers)
        self._random = random
        self._at = 0
        self._due = float("inf")
        self._answers: dict[int, int] = {}
        self._wait_s = PROBE_S
        self._is_returning = False

    @property
    def current(self) -> Broker:
        """The one to use or to try."""
        return self._brokers[self._at]

    @property
    def preferred(self) -> tuple[tuple[int, Broker], ...]:
        """Those before the current one, with their places."""
        return tuple(enumerate(self._brokers[: self._at]))

    def failed(self) -> bool:
        """It was not reached: the next one is tried; True when all have been."""
        self._give_up_return()
        self._at = (self._at + 1) % len(self._brokers)
        return not self._at

    def connected(self, now: float) -> None:
        """It was reached."""
        self._answers.clear()
        self._schedule(now)

    def lasted(self) -> None:
        """The connection has lasted: a return to it was right."""
        if self._is_returning or not self._at:
            self._is_returning = False
            self._wait_s = PROBE_S

    def lost(self, *, was_stable: bool) -> None:
        """The connection ended: the list starts again, or goes on after a short one."""
        if was_stable:
            self._at = 0
        else:
            self.failed()

    def is_due(self, now: float) -> bool:
        """Whether it is time to look for those before the current one."""
        return bool(self._at) and now >= self._due

    def answered(self, place: int, now: float) -> bool:
        """A preferred one answered; True: go there."""
        self._answers[place] = self._answers.get(place, 0) + 1
        self._schedule(now)
        return self._answers[place] >= ANSWERS

    def was_silent(self, place: int, now: float) -> None:
        """A preferred one did not answer."""
        self._answers.pop(place, None)
        self._schedule(now)

    def go_to(self, place: int) -> None:
        """The next connection is to this one."""
        self._at = place
        self._is_returning = True

    def _give_up_return(self) -> None:
        if self._is_returning:
            self._is_returning = False
            self._wait_s = min(PROBE_CAP_S, 2 * self._wait_s)

    def _schedule(self, now: float) -> None:
        self._due = now + self._wait_s * (1 - PROBE_JITTER * self._random.random())


async def probe(broker: Broker, sink: Sink, names: Names) -> bool:
    """Whether something takes TCP connections there, and TLS ones where they are asked for.

    Nothing is said: the client id stays with the connection that is open.
    """
    try:
        found = await names.find(broker.host, broker.port)
    except OSError:
        return False
    for address in found.addresses:
        try:
            async with asyncio.timeout(CONNECT_S):
                context = await asyncio.to_thread(_context, broker, sink)
                await _shake_hands(broker, address, context)
        except (OSError, NotMqtt, ValueError):
            continue
        return True
    return False


async def read_dates(broker: Broker, sink: Sink, address: Address) -> Validity | None:
    """The dates of a certificate that was refused for them: its chain and name are verified."""
    if sink.tls is None:
        return None
    try:
        async with asyncio.timeout(CONNECT_S):
            context = await asyncio.to_thread(dates_context, sink.tls)
            der = await _shake_hands(broker, address, context)
        return validity(der)
    except (OSError, ValueError):
        return None


def _context(broker: Broker, sink: Sink) -> ssl.SSLContext | None:
    if not broker.tls or sink.tls is None:
        return ssl.create_default_context() if broker.tls else None
    return tls_context(sink.tls)


async def _shake_hands(broker: Broker, address: Address, context: ssl.SSLContext | None) -> bytes:
    """Connects and closes; the other side's certificate, if there is one."""
    _, writer = await asyncio.open_connection(
        address.where[0],
        address.where[1],
        ssl=context,
        server_hostname=broker.host if context else None,
    )
    try:
        session = writer.get_extra_info("ssl_object")
        return session.getpeercert(binary_form=True) or b"" if session else b""
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
