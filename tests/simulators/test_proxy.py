"""The chaos proxy between a client and an echo server."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest

from simulators.loopback import NotLoopback
from simulators.proxy import Direction, Impairment, Proxy

SOON_S = 5.0
UP, DOWN = (Direction.UP,), (Direction.DOWN,)


class Echo(asyncio.Protocol):
    """Answers every byte with itself and tells what it got."""

    def __init__(self, got: bytearray, ended: asyncio.Event) -> None:
        self._got, self._ended = got, ended

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._got += data
        self._transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended.set()


class Bench:
    """An echo server, the proxy before it, and one client."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.got = bytearray()
        self.ended = asyncio.Event()
        self.writers: list[asyncio.StreamWriter] = []

    async def connect(self) -> None:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.proxy.port)
        self.writers.append(self.writer)

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def hear(self, count: int) -> bytes:
        async with asyncio.timeout(SOON_S):
            return await self.reader.readexactly(count)

    async def turns(self) -> None:
        """Enough turns of the loop for anything that is not held back to pass."""
        for _ in range(50):
            await asyncio.sleep(0)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    loop = asyncio.get_running_loop()
    made: list[Bench] = []
    server = await loop.create_server(lambda: Echo(made[0].got, made[0].ended), "127.0.0.1", 0)
    async with server, Proxy(server.sockets[0].getsockname()[1]) as proxy:
        made.append(Bench(proxy))
        await made[0].connect()
        yield made[0]
        for writer in made[0].writers:
            writer.transport.abort()


async def test_untouched(bench: Bench) -> None:
    data = bytes(range(256)) * 1000
    sending = asyncio.create_task(bench.say(data))
    assert await bench.hear(len(data)) == data
    await sending
    assert bench.proxy.passed(Direction.UP) == bench.proxy.passed(Direction.DOWN) == len(data)


async def test_end_passes_through(bench: Bench) -> None:
    await bench.say(b"last")
    bench.writer.write_eof()
    async with asyncio.timeout(SOON_S):
        assert await bench.reader.read() == b"last"
        await bench.ended.wait()


async def test_delay_keeps_order_and_adds_both_ways(bench: Bench) -> None:
    bench.proxy.delay(0.05)
    start = time.monotonic()
    await bench.say(b"one")
    await bench.turns()
    await bench.say(b"two")
    assert await bench.hear(6) == b"onetwo"
    assert time.monotonic() - start >= 0.1


async def test_lifted_delay_frees_what_waits(bench: Bench) -> None:
    bench.proxy.delay(3600)
    await bench.say(b"one")
    await bench.turns()
    assert bench.got == b""
    bench.proxy.heal()
    assert await bench.hear(3) == b"one"


async def test_rate(bench: Bench) -> None:
    bench.proxy.limit(10_000, UP)
    start = time.monotonic()
    await bench.say(bytes(1500))
    await bench.hear(1500)
    assert time.monotonic() - start >= 0.1


async def test_lifted_rate_frees_what_waits(bench: Bench) -> None:
    bench.proxy.limit(0.001, DOWN)
    await bench.say(b"one")
    assert await bench.hear(1) == b"o"
    bench.proxy.limit(None)
    assert await bench.hear(2) == b"ne"


async def test_limited_link_pushes_back(bench: Bench) -> None:
    bench.proxy.limit(1, UP)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.2):
            await bench.say(bytes(50_000_000))
    assert bench.proxy.passed(Direction.UP) < 10


@pytest.mark.parametrize("direction", [Direction.UP, Direction.DOWN])
async def test_blackhole_holds_one_direction(bench: Bench, direction: Direction) -> None:
    bench.proxy.blackhole((direction,))
    await bench.say(b"one")
    await bench.turns()
    assert bytes(bench.got) == (b"" if direction is Direction.UP else b"one")
    assert bench.proxy.passed(Direction.DOWN) == 0
    bench.proxy.blackhole((direction,), is_on=False)
    assert await bench.hear(3) == b"one"


async def test_blackhole_hides_the_end_of_the_connection(bench: Bench) -> None:
    bench.proxy.blackhole()
    bench.writer.close()
    await bench.turns()
    assert not bench.ended.is_set()
    bench.proxy.heal()
    async with asyncio.timeout(SOON_S):
        await bench.ended.wait()


async def test_corrupt_hits_each_so_manieth_byte(bench: Bench) -> None:
    bench.proxy.corrupt(3, DOWN)
    for piece in (b"a", b"aaaa", b"aa"):
        await bench.say(piece)
        await bench.turns()
    assert await bench.hear(7) == b"aa`aa`a"
    assert bench.got == b"a" * 7


async def test_truncate_cuts_in_the_middle(bench: Bench) -> None:
    bench.proxy.truncate(4, Direction.DOWN)
    await bench.say(b"abcdef")
    assert await bench.hear(4) == b"abcd"
    with pytest.raises(ConnectionResetError):
        await bench.hear(1)
    await bench.connect()
    await bench.say(b"again")
    assert await bench.hear(5) == b"again"
    assert (bench.proxy.connections, bench.proxy.broken) == (2, 1)


async def test_cut_resets_both_sides(bench: Bench) -> None:
    await bench.say(b"a")
    await bench.hear(1)
    assert bench.proxy.cut() == 1
    with pytest.raises(ConnectionResetError):
        await bench.hear(1)
    async with asyncio.timeout(SOON_S):
        await bench.ended.wait()


async def test_refuse_and_admit_on_the_same_port(bench: Bench) -> None:
    port = bench.proxy.port
    await bench.proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    await bench.say(b"stays")
    assert await bench.hear(5) == b"stays"
    await bench.proxy.admit()
    assert bench.proxy.port == port
    await bench.connect()
    await bench.say(b"new")
    assert await bench.hear(3) == b"new"


async def test_missing_server_looks_like_a_reset(bench: Bench) -> None:
    async with Proxy(1) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        async with asyncio.timeout(SOON_S):
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
        writer.transport.abort()
        assert proxy.broken == 1


@pytest.mark.parametrize(
    "bad", [{"delay_s": -1.0}, {"rate": 0.0}, {"rate": -1.0}, {"corrupt_every": -1}]
)
def test_impossible_impairments(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="impossible"):
        Impairment(**bad)  # type: ignore[arg-type]


def test_only_loopback() -> None:
    with pytest.raises(NotLoopback):
        Proxy(1883, target_host="192.0.2.1")
    with pytest.raises(NotLoopback):
        Proxy(1883, host="0.0.0.0")
