"""Processes that are killed, disks that are full, brokers that misbehave: what the tests share."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from simulators.broker import Broker, Limits, Message

HERE = Path(__file__).resolve().parent
STRACE = shutil.which("strace")


def _module(name: str, path: Path) -> ModuleType:
    known = sys.modules.get(name)
    if known is not None:
        return known
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


ORACLES = _module("torture_oracles", HERE / "oracles.py")
DRIVER = _module("torture_driver", HERE / "driver_process.py")
DISK = _module("torture_disk", HERE / "disk.py")
JUDGE = _module("torture_judge", HERE / "judge.py")
PLANT = _module("torture_plant", HERE / "plant.py")


@pytest.fixture(scope="session")
def oracles() -> ModuleType:
    """The common oracles."""
    return ORACLES


@pytest.fixture(scope="session")
def driver() -> ModuleType:
    """What the driver's process is made of."""
    return DRIVER


@pytest.fixture(scope="session")
def disk() -> ModuleType:
    """Recorded system calls, and what a power cut leaves of them."""
    return DISK


@pytest.fixture(scope="session")
def judge() -> ModuleType:
    """Opens a journal's directory and judges it."""
    return JUDGE


@pytest.fixture(scope="session")
def plant() -> ModuleType:
    """The whole daemon with instruments of the test's own."""
    return PLANT


@pytest.fixture
def figure(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., None]:
    """Prints figures of the test and keeps them in ``figures.jsonl`` of the run's directory."""
    file = tmp_path_factory.getbasetemp() / "figures.jsonl"

    def note(**values: object) -> None:
        name = request.node.name
        told = " ".join(f"{key}={value}" for key, value in values.items())
        print(f"\nfigures {name}: {told}")
        with file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"test": name, **values}) + "\n")

    return note


@pytest.fixture(scope="session")
def strace() -> str:
    """The program, which may trace here."""
    if STRACE is None:
        pytest.skip("strace is not installed: install the Debian package strace")
    tried = subprocess.run([STRACE, "-f", "-o", os.devnull, "true"], capture_output=True)
    if tried.returncode:
        pytest.skip(f"strace may not trace here: {tried.stderr.decode().strip()}")
    return STRACE


class Lives:
    """The driver's process, which lives as often as it is told."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def begin(self, life: Any) -> int:
        """A new life; its process id."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(life)).encode() + b"\n")
        return int(await self._line())

    async def ended(self, timeout_s: float = 90.0) -> int:
        """How it ended: minus the signal, or its exit code."""
        return int(await asyncio.wait_for(self._line(), timeout_s))

    async def _line(self) -> bytes:
        assert self._process.stdout is not None
        return await self._process.stdout.readline()


@pytest.fixture
async def lives(tmp_path: Path) -> AsyncIterator[Lives]:
    """A process that forks one life at a time: no life pays for the imports."""
    with (tmp_path / "driver.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, HERE / "driver_process.py", "--serve"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
    yield Lives(process)
    assert process.stdin is not None
    process.stdin.close()
    assert await asyncio.wait_for(process.wait(), 20) == 0


@pytest.fixture
async def hub() -> AsyncIterator[tuple[Broker, Any]]:
    """The small broker, and everything that it accepted."""
    delivered = ORACLES.Delivered()

    def take(message: Message) -> None:
        delivered.take(message.payload)

    async with Broker(limits=Limits(receive_maximum=100)) as broker:
        leave = broker.subscribe(take)
        yield broker, delivered
        leave()


async def until(condition: Callable[[], Any], what: str, timeout_s: float = 20.0) -> Any:
    """The first true value of ``condition``."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        await asyncio.sleep(0.01)
    return value


@pytest.fixture(name="until")
def until_fixture() -> Callable[..., Any]:
    """Waits for a condition, with a deadline."""
    return until


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """A disk of so many bytes in memory, empty."""
    mounted: list[Path] = []

    def mount(size: int) -> Path:
        place = tmp_path / f"disk-{len(mounted)}"
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(place)]
        tried = subprocess.run(command, capture_output=True)
        if tried.returncode:
            pytest.skip(f"a small disk cannot be mounted here: {tried.stderr.decode().strip()}")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def plants(tmp_path: Path) -> Callable[..., Any]:
    """Opens a whole plant; see ``plant``."""

    @asynccontextmanager
    async def opened(*brokers: str, **settings: Any) -> AsyncIterator[Any]:
        async with PLANT.opened(tmp_path, brokers, **settings) as it:
            yield it

    return opened


staged = PLANT.E2E.staged
broker = PLANT.E2E.broker


@pytest.fixture
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A broker that is not started yet."""
    if PLANT.PROGRAM is None:
        pytest.skip("mosquitto is not installed: install the Debian package mosquitto")
    broker = PLANT.Broker(tmp_path_factory.mktemp("mosquitto"))
    yield broker
    broker.kill()
