"""The broker of ``config/mosquitto`` for tests: its own files, with paths and port exchanged."""

import asyncio
import getpass
import shutil
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

HERE = Path(__file__).resolve().parent
RECIPE = HERE.parents[1] / "config" / "mosquitto"
BROKER = "broker"
"""Common name of the broker's certificate."""
EXPIRED = ("20200101000000Z", "20210101000000Z")
NOT_YET = ("20700101000000Z", "20710101000000Z")
DEADLINE_S = 10.0
BLOCKS = (
    ("gateway", "north"),
    ("gateway", "south"),
    ("operator", "anna", "assessments"),
    ("operator", "ben"),
    ("viewer", "wall"),
)
"""Who is named in the file ``acl``."""
SAVED_S = 6.0
"""The recipe has what is retained on disk within two seconds."""

T = TypeVar("T")


def module(name: str, path: Path) -> ModuleType:
    """A file of the tests as a module."""
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    made = module_from_spec(spec)
    sys.modules[name] = made
    spec.loader.exec_module(made)
    return made


BENCH = module("recipe_bench", HERE / "conftest.py")


def make(folder: Path, *arguments: str, dates: tuple[str, str] | None = None) -> None:
    """Calls the recipe's script."""
    options = ("--from", dates[0], "--until", dates[1]) if dates else ()
    command = [RECIPE / "make-certificates", *options, folder, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr


class Recipe(BENCH.BROKER.Mosquitto):  # type: ignore[name-defined,misc]
    """A mosquitto started with the recipe's files alone."""

    def __init__(self, directory: Path, certificates: Path, acl: str = "") -> None:
        super().__init__(directory)
        self.url = f"mqtts://localhost:{self.port}"
        self.certificates = certificates
        self._acl = acl or (RECIPE / "acl").read_text(encoding="utf-8")

    def start(self, *settings: str, acl: str | None = None, server: str = BROKER) -> None:
        """Starts it and waits until it listens; ``server`` names its certificate."""
        rights = self._directory / "acl"
        rights.write_text(acl or self._acl, encoding="utf-8")
        rights.chmod(0o600)
        text = (RECIPE / "mosquitto.conf").read_text(encoding="utf-8")
        for shipped, here in (
            ("listener 8883", f"listener {self.port} 127.0.0.1"),
            (f"certs/{BROKER}.", f"certs/{server}."),
            ("/etc/mosquitto/certs", str(self.certificates)),
            ("/etc/mosquitto/acl", str(rights)),
            ("/var/lib/mosquitto/", f"{self._directory}/"),
        ):
            assert shipped in text, shipped
            text = text.replace(shipped, here)
        config = self._directory / "mosquitto.conf"
        lines = [text, f"user {getpass.getuser()}", *settings, ""]
        config.write_text("\n".join(lines), encoding="utf-8")
        with self._log.open("ab") as log:
            command = [BENCH.BROKER.PROGRAM, "-c", str(config)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        self._await_listening(self._process)

    def await_saved(self, timeout_s: float) -> None:
        """Returns when its file holds everything of up to now."""
        file, now = self._directory / "mosquitto.db", time.time_ns()
        deadline = time.monotonic() + timeout_s
        while not (file.exists() and file.stat().st_mtime_ns > now):
            assert time.monotonic() < deadline, f"not saved within {timeout_s:g} s"
            time.sleep(BENCH.POLL_S)

    def party(self, name: str, **how: Any) -> "Party":
        """Another client with its certificate."""
        return Party(self.port, self.certificates, name, **how)


@dataclass(frozen=True, slots=True)
class Got:
    """One message as a party got it, at Unix time ``at``."""

    topic: str
    payload: bytes
    retained: bool
    at: float


@dataclass(slots=True)
class Party:
    """Somebody else at the broker: paho in a thread, MQTT 5."""

    port: int
    certificates: Path
    name: str
    client_id: str = ""
    will: tuple[str, bytes] | None = None
    session_s: int = 0
    got: list[Got] = field(default_factory=list)
    trouble: str = ""
    connects: int = 0
    _answers: dict[int, int] = field(default_factory=dict)
    _granted: set[int] = field(default_factory=set)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _client: paho.Client = field(init=False)

    def __post_init__(self) -> None:
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, self.client_id or self.name, protocol=paho.MQTTv5
        )
        context = ssl.create_default_context(cafile=str(self.certificates / "ca.crt"))
        file = self.certificates / self.name
        context.load_cert_chain(f"{file}.crt", f"{file}.key")
        self._client.tls_set_context(context)
        if self.will is not None:
            self._client.will_set(self.will[0], self.will[1], qos=1, retain=True)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = self._connected
        self._client.on_publish = self._published
        self._client.on_subscribe = self._subscribed
        self._client.on_message = self._message
        self._client.on_disconnect = self._disconnected

    def __enter__(self) -> "Party":
        properties = Properties(paho.PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = self.session_s
        self._client.connect("localhost", self.port, clean_start=False, properties=properties)
        self._client.loop_start()
        self._await(lambda: self.connects or self.trouble, "it is connected")
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def vanish(self) -> None:
        """The connection breaks without a goodbye."""
        sock = self._client.socket()
        assert sock is not None
        self._client.reconnect_delay_set(60, 60)
        sock.close()

    def publish(self, topic: str, payload: bytes = b"{}", *, retain: bool = False) -> int:
        """Publishes with QoS 1: the reason code of the broker's PUBACK."""
        mid = self._client.publish(topic, payload, 1, retain).mid
        self._await(lambda: mid in self._answers, f"{topic} is answered")
        return self._answers[mid]

    def subscribe(self, *filters: str) -> None:
        """Returns when the broker knows."""
        _, mid = self._client.subscribe([(each, 1) for each in filters])
        assert mid is not None
        self._await(lambda: mid in self._granted, "it is subscribed")

    def await_message(self, topic: str) -> Got:
        """The first message of a topic."""
        self._await(lambda: topic in self.topics(), f"{topic} arrives")
        return next(one for one in self.got if one.topic == topic)

    def topics(self) -> list[str]:
        """Topics of what arrived, in order."""
        return [one.topic for one in tuple(self.got)]

    def _await(self, condition: Callable[[], T], what: str) -> T:
        with self._changed:
            assert self._changed.wait_for(condition, DEADLINE_S), f"{what}: {self.trouble}"
        return condition()

    def _note(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _connected(self, client: paho.Client, data: Any, flags: Any, code: Any, _: Any) -> None:
        if code.is_failure:
            self.trouble = str(code)
        else:
            self.connects += 1
        self._note()

    def _disconnected(self, client: paho.Client, data: Any, flags: Any, code: Any, _: Any) -> None:
        self.trouble = str(code)
        self._note()

    def _published(
        self, client: paho.Client, data: Any, mid: int, code: ReasonCode, _: Any
    ) -> None:
        self._answers[mid] = code.value
        self._note()

    def _subscribed(self, client: paho.Client, data: Any, mid: int, *_: Any) -> None:
        self._granted.add(mid)
        self._note()

    def _message(self, client: paho.Client, data: Any, message: paho.MQTTMessage) -> None:
        got = Got(message.topic, bytes(message.payload), message.retain, time.time())
        self.got.append(got)
        self._note()


async def until(condition: Callable[[], T], what: str, timeout_s: float = 20.0) -> T:
    """The first true value of ``condition``."""
    found: T = await BENCH.until(condition, what, timeout_s)
    return found


async def in_thread(call: Callable[..., T], *arguments: Any) -> T:
    """A blocking call beside the loop."""
    return await asyncio.to_thread(call, *arguments)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates of one site, made by the recipe's script, and some that are wrong."""
    if BENCH.BROKER.PROGRAM is None or shutil.which("openssl") is None:
        pytest.skip("install the Debian packages mosquitto and openssl")
    folder = tmp_path_factory.mktemp("certificates")
    make(folder, "ca", "site")
    make(folder, "server", BROKER, "localhost", "127.0.0.1")
    for _, name, *_ in BLOCKS:
        make(folder, "client", name)
    make(folder, "client", "old", dates=EXPIRED)
    make(folder, "client", "early", dates=NOT_YET)
    make(folder, "server", "server-old", "localhost", dates=EXPIRED)
    make(folder, "server", "server-early", "localhost", dates=NOT_YET)
    make(folder, "server", "elsewhere", "broker.example.org")
    other = folder / "other"
    make(other, "ca", "other")
    make(other, "server", "stranger", "localhost")
    make(other, "client", "north")
    for end in ("crt", "key"):
        shutil.copy(other / f"stranger.{end}", folder)
        shutil.copy(other / f"north.{end}", folder / f"foreign.{end}")
    return folder


@pytest.fixture
def broker(tmp_path_factory: pytest.TempPathFactory, certificates: Path) -> Iterator[Recipe]:
    """A broker with the recipe's files, not started yet."""
    made = Recipe(tmp_path_factory.mktemp("recipe"), certificates)
    yield made
    made.kill()
