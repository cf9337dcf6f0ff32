"""A real broker for the tests that need one."""

import asyncio
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass
from pathlib import Path

import aiomqtt
import pytest
from paho.mqtt.client import MQTTMessage

PROGRAM = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True, slots=True)
class Heard:
    """One message as a subscriber sees it."""

    topic: str
    payload: bytes
    retained: bool


class Subscriber(aiomqtt.Client):
    """Hears everything that reached its socket, also after the broker's end."""

    def __init__(self, port: int) -> None:
        super().__init__("127.0.0.1", port, timeout=5)
        self.heard: list[Heard] = []
        self._more = asyncio.Event()

    async def until(self, enough: int, timeout_s: float = 20.0) -> list[Heard]:
        """Returns when so many messages have come."""
        async with asyncio.timeout(timeout_s):
            while len(self.heard) < enough:
                self._more.clear()
                await self._more.wait()
        return self.heard

    def _on_message(self, client: object, userdata: object, message: MQTTMessage) -> None:
        self.heard.append(Heard(message.topic, bytes(message.payload), message.retain))
        self._more.set()


class Proxy:
    """A way to a broker that can be cut; nobody listens on it while it is."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self._target = target
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Opens the way."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def cut(self) -> None:
        """Resets what is open and refuses what comes."""
        if self._server is not None:
            self._server.close()
        for end in self._ends:
            end.transport.abort()
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _accept(self, near: asyncio.StreamReader, near_end: asyncio.StreamWriter) -> None:
        far, far_end = await asyncio.open_connection("127.0.0.1", self._target)
        self._ends |= {near_end, far_end}
        for task in (
            asyncio.create_task(self._carry(near, far_end), name="proxy-out"),
            asyncio.create_task(self._carry(far, near_end), name="proxy-in"),
        ):
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry(self, source: asyncio.StreamReader, end: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await source.read(65536):
                end.write(data)
                await end.drain()
        end.transport.abort()


class Mosquitto:
    """One mosquitto with its configuration; may be stopped and started again on the same port."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self._directory = directory
        self._log = directory / "mosquitto.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *settings: str, acl: str | None = None) -> None:
        """Starts it and waits until it answers."""
        lines = [
            f"listener {self.port} 127.0.0.1",
            "allow_anonymous true",
            "persistence false",
            "log_type all",
        ]
        if acl is not None:
            (self._directory / "acl").write_text(acl)
            (self._directory / "acl").chmod(0o644)
            lines.append(f"acl_file {self._directory / 'acl'}")
        config = self._directory / "mosquitto.conf"
        config.write_text("\n".join([*lines, "user root", *settings, ""]))
        assert PROGRAM is not None
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([PROGRAM, "-c", str(config)], stdout=log, stderr=log)
        self._await_listening(self._process)

    def kill(self) -> None:
        """Ends it as a crash would."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def freeze(self) -> None:
        """Stops it as it stands, connections open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def log(self) -> str:
        """What it has written."""
        return self._log.read_text()

    async def publish(self, topic: str, payload: bytes) -> None:
        """Publishes as somebody else."""
        async with aiomqtt.Client("127.0.0.1", self.port, timeout=5) as client:
            await client.publish(topic, payload, qos=1)

    @asynccontextmanager
    async def subscriber(self, *filters: str) -> AsyncIterator[Subscriber]:
        """A client of its own that hears what is published."""
        subscriber = Subscriber(self.port)
        async with subscriber:
            # QoS 0: the broker passes each message on before it acknowledges it.
            await subscriber.subscribe([(each, 0) for each in filters or ("#",)])
            yield subscriber
            ended = subscriber._disconnected
            if ended.done():
                ended.exception()

    def _await_listening(self, process: subprocess.Popen[bytes]) -> None:
        for _ in range(500):
            if process.poll() is not None:
                raise RuntimeError(f"mosquitto ended: {self._log.read_text()}")
            with closing(socket.socket()) as probe:
                probe.settimeout(0.01)
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            try:
                process.wait(0.01)
            except subprocess.TimeoutExpired:
                continue
        raise RuntimeError("mosquitto does not listen")


@pytest.fixture
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """A broker that is not started yet."""
    if PROGRAM is None:
        pytest.skip("mosquitto is not installed: install the Debian package mosquitto")
    broker = Mosquitto(tmp_path_factory.mktemp("mosquitto"))
    yield broker
    broker.kill()


@pytest.fixture
async def proxy(mosquitto: Mosquitto) -> AsyncIterator[Proxy]:
    """A way to the broker, not open yet."""
    proxy = Proxy(mosquitto.port)
    yield proxy
    await proxy.cut()
