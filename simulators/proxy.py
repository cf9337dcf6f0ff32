"""A TCP proxy that damages what passes through it, on command, while it runs.

For MQTT, Modbus TCP and RTU over TCP alike: it knows nothing of what it carries. Loopback only.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from simulators.loopback import loopback, reset

CHUNK = 4096
WAITING_CHUNKS = 32
"""How many chunks may wait in one direction for their delay; more is left to TCP."""
TICK_S = 0.05
"""A limited rate is kept over intervals of this length."""


class Direction(StrEnum):
    """Which way bytes go."""

    UP = "up"  # from the client to the server
    DOWN = "down"  # from the server to the client


BOTH = (Direction.UP, Direction.DOWN)


@dataclass(frozen=True, slots=True)
class Impairment:
    """What happens to bytes in one direction.

    ``delay_s`` each byte is late; ``rate`` bytes/s at most, None for no limit; ``blackhole``
    nothing arrives, not even the end of the connection, until it is lifted (then TCP goes on
    where it was); ``corrupt_every`` flips the lowest bit of each so-manieth byte, 0 for none.
    """

    delay_s: float = 0.0
    rate: float | None = None
    blackhole: bool = False
    corrupt_every: int = 0

    def __post_init__(self) -> None:
        if self.delay_s < 0 or self.corrupt_every < 0 or (self.rate is not None and self.rate <= 0):
            raise ValueError(f"impossible: {self}")


class _Way:
    """One direction of the whole proxy: the impairment in force, and who waits for a change."""

    def __init__(self) -> None:
        self.impairment = Impairment()
        self.cut_after: int | None = None
        self.passed = 0
        self._changed = asyncio.Event()

    def set(self, impairment: Impairment) -> None:
        """Another impairment from now on."""
        self.impairment = impairment
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait(self, seconds: float | None) -> None:
        """Until the time is over (None: for ever) or the impairment changes."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return

    def allowance(self, wanted: int) -> int:
        """How many bytes may go at once."""
        rate = self.impairment.rate
        return wanted if rate is None else max(1, min(wanted, int(rate * TICK_S)))

    def damaged(self, data: bytes) -> bytes:
        """What arrives of ``data``; counts it."""
        every, start = self.impairment.corrupt_every, self.passed
        self.passed += len(data)
        if not every:
            return data
        damaged = bytearray(data)
        for position in range((every - 1 - start) % every, len(damaged), every):
            damaged[position] ^= 1
        return bytes(damaged)


class _Pump:
    """Carries one direction of one connection: reads ahead, hands on when it is due."""

    def __init__(
        self, way: _Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._way = way
        self._reader = reader
        self._writer = writer
        self._queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(WAITING_CHUNKS)

    async def read(self) -> None:
        """Take in, as far as there is room; an empty chunk stands for the end."""
        data = b"-"
        while data:
            await self._wait_for_light()
            data = await self._reader.read(CHUNK)
            await self._queue.put((asyncio.get_running_loop().time(), data))

    async def write(self) -> None:
        """Hand on until the end, in order."""
        while True:
            arrived, data = await self._queue.get()
            await self._wait_until_due(arrived)
            if not data:
                if self._writer.can_write_eof():
                    self._writer.write_eof()
                return
            for piece in self._pieces(data):
                await self._wait_for_light()
                self._writer.write(self._way.damaged(piece))
                await self._writer.drain()
                if self._way.impairment.rate is not None:
                    await self._way.wait(len(piece) / self._way.impairment.rate)

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        while data:
            size = self._way.allowance(len(data))
            if self._way.cut_after is not None:
                size = min(size, self._way.cut_after)
                self._way.cut_after -= size
                if not size:
                    self._way.cut_after = None
                    raise ConnectionAbortedError("truncated on command")
            yield data[:size]
            data = data[size:]

    async def _wait_for_light(self) -> None:
        while self._way.impairment.blackhole:
            await self._way.wait(None)

    async def _wait_until_due(self, arrived: float) -> None:
        while True:
            await self._wait_for_light()
            now = asyncio.get_running_loop().time()
            left_s = arrived + self._way.impairment.delay_s - now
            if left_s <= 0:
                return
            await self._way.wait(left_s)


class Proxy:
    """Listens on a loopback port and forwards to ``target``; commands hold for all connections."""

    def __init__(
        self, target_port: int, *, target_host: str = "127.0.0.1", host: str = "127.0.0.1"
    ) -> None:
        self.port = 0
        self.connections = 0
        self.broken = 0
        self._host = loopback(host)
        self._target = (loopback(target_host), target_port)
        self._ways = {direction: _Way() for direction in BOTH}
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> int:
        """Listen; the port, which stays the same."""
        await self.admit()
        return self.port

    async def stop(self) -> None:
        """Cut everything and stop listening."""
        await self.refuse()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def __aenter__(self) -> "Proxy":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def refuse(self) -> None:
        """Refuse new connections, as a closed port does; those there are stay."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def admit(self) -> None:
        """Take new connections again."""
        if self._server is None:
            self._server = await asyncio.start_server(
                self._accept, self._host, self.port, limit=CHUNK
            )
            self.port = int(self._server.sockets[0].getsockname()[1])

    def impair(self, impairment: Impairment, directions: tuple[Direction, ...] = BOTH) -> None:
        """Put another impairment in the place of the present one; it holds at once."""
        for direction in directions:
            self._ways[direction].set(impairment)

    def heal(self) -> None:
        """Pass everything on as it is again."""
        for way in self._ways.values():
            way.cut_after = None
        self.impair(Impairment())

    def delay(self, seconds: float, directions: tuple[Direction, ...] = BOTH) -> None:
        """Let each byte be late."""
        for direction in directions:
            way = self._ways[direction]
            way.set(replace(way.impairment, delay_s=seconds))

    def limit(self, rate: float | None, directions: tuple[Direction, ...] = BOTH) -> None:
        """Pass at most ``rate`` bytes/s of each connection."""
        for direction in directions:
            way = self._ways[direction]
            way.set(replace(way.impairment, rate=rate))

    def blackhole(self, directions: tuple[Direction, ...] = BOTH, *, is_on: bool = True) -> None:
        """Let nothing arrive, or let it arrive again."""
        for direction in directions:
            way = self._ways[direction]
            way.set(replace(way.impairment, blackhole=is_on))

    def corrupt(self, every: int, directions: tuple[Direction, ...] = BOTH) -> None:
        """Flip a bit in each so-manieth byte; 0 ends it."""
        for direction in directions:
            way = self._ways[direction]
            way.set(replace(way.impairment, corrupt_every=every))

    def truncate(self, count: int, direction: Direction) -> None:
        """Pass ``count`` more bytes in this direction, then cut that connection."""
        self._ways[direction].cut_after = count

    def cut(self) -> int:
        """Reset all connections; how many there were."""
        for task in self._tasks:
            task.cancel()
        return len(self._tasks)

    def passed(self, direction: Direction) -> int:
        """Bytes handed on so far."""
        return self._ways[direction].passed

    # -- private

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        carrying = self._carry(reader, writer)
        task = asyncio.get_running_loop().create_task(carrying, name=f"proxy-{self.connections}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # A task that is cut before its first step never comes to its own end.
        task.add_done_callback(lambda _: writer.close())

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = [writer]
        is_clean = False
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target, limit=CHUNK)
            ends.append(far_writer)
            up = _Pump(self._ways[Direction.UP], reader, far_writer)
            down = _Pump(self._ways[Direction.DOWN], far_reader, writer)
            async with asyncio.TaskGroup() as group:
                for part in (up.read, up.write, down.read, down.write):
                    group.create_task(part())
            is_clean = True
        except* OSError:
            self.broken += 1
        finally:
            for end in ends:
                if is_clean:
                    end.close()
                else:
                    reset(end.transport)
