"""The addresses of a broker's name, asked for without ever holding up the event loop.

The system's resolver cannot be interrupted and may take half a minute: each question runs in a
thread of its own, at most one a name, and is waited for only so long.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Thread
from typing import Any, Final

RESOLVE_S: Final = 3.0
"""Own choice: as long as a connection may take."""

LookUp = Callable[[str, int], Sequence[Any]]


class NoAddress(OSError):
    """The name has no address that anybody knows of."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to connect, as the system's socket functions want it."""

    family: int
    where: tuple[Any, ...]

    def __str__(self) -> str:
        return str(self.where[0])


@dataclass(frozen=True, slots=True)
class Found:
    """Addresses in the order in which to try them; ``problem`` says what the name server did."""

    addresses: tuple[Address, ...]
    problem: str = ""


class Names:
    """Finds addresses, and remembers the last one of each name that worked."""

    def __init__(self, look_up: LookUp | None = None) -> None:
        self._look_up = look_up or _look_up
        self._good: dict[tuple[str, int], Address] = {}
        self._asked: dict[tuple[str, int], asyncio.Future[tuple[Address, ...]]] = {}

    def worked(self, host: str, port: int, address: Address) -> None:
        """Somebody answered there."""
        self._good[host, port] = address

    async def find(self, host: str, port: int) -> Found:
        """All addresses of a name, the last good one among them; NoAddress if there is none."""
        addresses: tuple[Address, ...] = ()
        problem = ""
        try:
            addresses = await self._ask(host, port)
        except TimeoutError:
            problem = f"no DNS answer for {host} within {RESOLVE_S:g} s"
        except (OSError, UnicodeError) as error:
            problem = f"no DNS answer for {host}: {getattr(error, 'strerror', None) or error}"
        good = self._good.get((host, port))
        if good is not None and good not in addresses:
            addresses = (*addresses, good)
        if not addresses:
            raise NoAddress(problem or f"no DNS answer for {host}: no address")
        return Found(addresses, problem)

    async def _ask(self, host: str, port: int) -> tuple[Address, ...]:
        numeric = _numeric(host, port)
        if numeric is not None:
            return (numeric,)
        question = self._asked.get((host, port))
        if question is None:
            question = self._asked[host, port] = self._question(host, port)
        async with asyncio.timeout(RESOLVE_S):
            return await asyncio.shield(question)

    def _question(self, host: str, port: int) -> "asyncio.Future[tuple[Address, ...]]":
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[tuple[Address, ...]] = loop.create_future()

        def settle(found: tuple[Address, ...], error: BaseException | None) -> None:
            self._asked.pop((host, port), None)
            if answer.cancelled():
                return
            if error is None:
                answer.set_result(found)
            else:
                answer.set_exception(error)
                answer.exception()  # nobody may be waiting any more

        def ask() -> None:
            found: tuple[Address, ...] = ()
            problem: BaseException | None = None
            try:
                found = tuple(Address(row[0], row[4]) for row in self._look_up(host, port))
            except (OSError, UnicodeError) as error:
                problem = error
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, found, problem)

        Thread(target=ask, name=f"resolve {host}", daemon=True).start()
        return answer


def _look_up(host: str, port: int) -> Sequence[Any]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


def _numeric(host: str, port: int) -> Address | None:
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return None
    if version == 6:
        return Address(socket.AF_INET6, (host, port, 0, 0))
    return Address(socket.AF_INET, (host, port))
