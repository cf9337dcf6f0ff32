"""The same Modbus portals read by dosegate, modpoll and thingsboard-gateway, one after the other.

Each reads the same 21 registers of N portals once a second and publishes them with QoS 1 to
mosquitto; CPU and memory are the reader's own. dosegate alone raises alarms and keeps what it reads
on disk before it is sent; thingsboard-gateway keeps it in SQLite too (``storage.type``), modpoll
nowhere. modpoll takes one Modbus TCP connection: it reads N units behind one port.

The peers stand in virtual environments of their own, see ``make bench``:

    .venv/bin/python tests/bench/peers.py --modpoll .bench/modpoll/bin/modpoll \\
        --thingsboard .bench/thingsboard/bin/python --detectors 200 --seconds 30
"""

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from measure import (
    DOSEGATE,
    FILES,
    LOOP_TURNS,
    Trouble,
    allow_files,
    configuration,
    cpu_s,
    fixed_loop_ms,
    free_port,
    line_of,
    peak_rss_mb,
    reachable,
    stopped,
)

HERE = Path(__file__).resolve().parent
WARM_UP_S, STOP_S = 12.0, 20.0
Reader = Callable[[Path, int, Sequence[int]], tuple[list[str], dict[str, str]]]
"""Writes the settings into a folder; the command and what its environment needs."""

REGISTERS = (
    ("elapsed", 100, 2, "uint32"),
    ("inputs", 102, 1, "uint16"),
    ("gamma_status", 103, 1, "uint16"),
    ("gamma_counts", 104, 2, "uint32"),
    ("gamma_background", 106, 2, "float32"),
    ("gamma_variance", 108, 2, "float32"),
    ("neutron_status", 110, 1, "uint16"),
    ("neutron_counts", 111, 2, "uint32"),
    ("neutron_background", 113, 2, "float32"),
    ("neutron_variance", 115, 2, "float32"),
    ("object_counter", 117, 1, "uint16"),
    ("speed", 119, 1, "uint16"),
)
"""Name, address, registers, type: the map of ``modbus_fleet``."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What one reader did."""

    name: str
    answers: int
    messages: int
    megabytes: float
    cpu_s: float
    peak_mb: float
    seconds: float

    @property
    def ms_a_sample(self) -> float:
        """CPU for each answer of a portal."""
        return 1000 * self.cpu_s / max(1, self.answers)


async def main() -> int:
    """Run each reader, print the table, write JSON if asked to."""
    options = arguments()
    allow_files(FILES + 4 * options.detectors)
    loop_ms = fixed_loop_ms()
    figures = []
    for name, start in readers(options):
        print(f"{name}, {options.detectors} detectors, {options.seconds:g} s ...", file=sys.stderr)
        with tempfile.TemporaryDirectory(prefix="dosegate-peers-") as folder:
            figures.append(await measured(name, start, Path(folder), options))
    show(figures, options.detectors, loop_ms)
    if options.json:
        told = [
            {"name": f.name, "ms_a_sample": f.ms_a_sample, "peak_mb": f.peak_mb} for f in figures
        ]
        options.json.write_text(json.dumps(told, indent=2) + "\n")
    return 0


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--detectors", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--gateway", type=Path, default=DOSEGATE, help="program in its place")
    parser.add_argument("--modpoll", type=Path)
    parser.add_argument("--thingsboard", type=Path, help="the Python of its environment")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    return parser.parse_args()


def readers(options: argparse.Namespace) -> list[tuple[str, Reader]]:
    """Those that are there."""
    found: list[tuple[str, Reader]] = [("dosegate", lambda *it: dosegate(options.gateway, *it))]
    if options.modpoll:
        found.append(("modpoll", lambda *it: modpoll(options.modpoll, *it)))
    if options.thingsboard:
        found.append(("thingsboard-gateway", lambda *it: thingsboard(options.thingsboard, *it)))
    return found


def dosegate(
    program: Path, folder: Path, broker: int, ports: Sequence[int]
) -> tuple[list[str], dict[str, str]]:
    """One portal a port."""
    settings = folder / "gateway.toml"
    settings.write_text(configuration(folder, broker, ports))
    return [str(program), "run", "-c", str(settings)], {}


def modpoll(
    program: Path, folder: Path, broker: int, ports: Sequence[int]
) -> tuple[list[str], dict[str, str]]:
    """One connection with many units behind it."""
    lines = []
    for number, _ in enumerate(ports, 1):
        lines += [f"device,d{number:04d},{1 + number % 247}", "poll,holding_register,100,21,BE_LE"]
        lines += [f"ref,{name},{at},{kind},r" for name, at, _, kind in REGISTERS]
    settings = folder / "modpoll.csv"
    settings.write_text("\n".join(lines) + "\n")
    command = [str(program), "-d", "-f", str(settings), "-r", "1", "--interval", "0"]
    command += ["--delay", "0", "--loglevel", "ERROR", "--tcp", "127.0.0.1"]
    command += ["--tcp-port", str(ports[0]), "--mqtt-host", "127.0.0.1"]
    command += ["--mqtt-port", str(broker), "--mqtt-qos", "1", "--mqtt-clientid", "modpoll"]
    command += ["--mqtt-version", "5.0"]  # 1.6.0 cannot connect with 3.1.1
    return command, {}


def thingsboard(
    python: Path, folder: Path, broker: int, ports: Sequence[int]
) -> tuple[list[str], dict[str, str]]:
    """One slave a port, stored in SQLite before it is sent."""
    config = folder / "config"
    config.mkdir()
    (folder / "logs").mkdir()
    (folder / "data").mkdir()
    # One request a block, as the others do: each tag of its own would be a request.
    values = [
        {"tag": "block", "type": "bytes", "functionCode": 3, "objectsCount": 21, "address": 100}
    ]
    slaves = [
        {
            "host": "127.0.0.1",
            "port": port,
            "type": "tcp",
            "method": "socket",
            "unitId": 1,
            "deviceName": f"d{number:04d}",
            "deviceType": "default",
            "timeout": 3,
            "byteOrder": "BIG",
            "wordOrder": "LITTLE",
            "retries": 0,
            "pollPeriod": 1000,
            "connectAttemptTimeMs": 5000,
            "connectAttemptCount": 5,
            "waitAfterFailedAttemptsMs": 3000,
            "attributes": [],
            "timeseries": values,
        }
        for number, port in enumerate(ports, 1)
    ]
    (config / "modbus.json").write_text(json.dumps({"master": {"slaves": slaves}}))
    (config / "tb_gateway.json").write_text(
        json.dumps(
            {
                "thingsboard": {
                    "host": "127.0.0.1",
                    "port": broker,
                    "remoteShell": False,
                    "remoteConfiguration": False,
                    "statistics": {"enable": False},
                    "deviceFiltering": {"enable": False},
                    "maxPayloadSizeBytes": 8196,
                    "minPackSendDelayMS": 50,
                    "minPackSizeToSend": 500,
                    "security": {"type": "accessToken", "accessToken": "bench"},
                    "qos": 1,
                    "reportStrategy": {"type": "ON_RECEIVED"},
                },
                "storage": {"type": "sqlite", "data_file_path": f"{folder}/data/data.db"},
                "connectors": [
                    {"name": "modbus", "type": "modbus", "configuration": "modbus.json"}
                ],
            }
        )
    )
    (config / "logs.json").write_text(
        json.dumps({"version": 1, "disable_existing_loggers": False, "root": {"level": "ERROR"}})
    )
    program = "from thingsboard_gateway.tb_gateway import main; main()"
    return [str(python), "-c", program], {"TB_GW_CONFIG_DIR": str(config)}


async def measured(name: str, reader: Reader, folder: Path, options: argparse.Namespace) -> Figures:
    """Start fleet, broker, counter and reader; look; stop everything."""
    async with contextlib.AsyncExitStack() as stack:
        fleet = await stack.enter_async_context(
            running(
                folder,
                "fleet",
                [
                    *(sys.executable, str(HERE / "modbus_fleet.py")),
                    *("--detectors", str(options.detectors)),
                    *("--out", str(folder / "fleet.json")),
                ],
            )
        )
        ports = json.loads(await line_of(fleet))["ports"]
        broker = await broker_on(stack, folder)
        counter = Counter()
        await stack.enter_async_context(counting(counter, broker))
        await stack.enter_async_context(answering(folder, broker))
        command, environment = reader(folder, broker, ports)
        process = await stack.enter_async_context(running(folder, name, command, environment))
        await asyncio.sleep(WARM_UP_S)
        if process.returncode is not None or not counter.messages:
            log = (folder / f"{name}.log").read_text()[-2000:]
            raise Trouble(f"{name} publishes nothing within {WARM_UP_S} s:\n{log}")
        before = counter.messages, counter.bytes
        start, cpu = time.monotonic_ns(), cpu_s(process.pid)
        await asyncio.sleep(options.seconds)
        end, used = time.monotonic_ns(), cpu_s(process.pid) - cpu
        messages, size = counter.messages - before[0], counter.bytes - before[1]
        peak_mb = peak_rss_mb(process.pid)
        process.kill()
        await process.wait()
        await stopped(fleet)
    told = json.loads((folder / "fleet.json").read_text())["answers"]
    answers = sum(start <= at < end for times in told.values() for at in times)
    return Figures(name, answers, messages, size / 1e6, used, peak_mb, (end - start) / 1e9)


@contextlib.asynccontextmanager
async def running(
    folder: Path, name: str, command: Sequence[str], environment: dict[str, str] | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that is killed at the end."""
    with (folder / f"{name}.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdout=asyncio.subprocess.PIPE if name == "fleet" else log,
            stderr=log,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            limit=1 << 20,
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def broker_on(stack: contextlib.AsyncExitStack, folder: Path) -> int:
    """mosquitto on a free port."""
    program = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if program is None:
        raise Trouble("mosquitto is missing: make packages")
    port = free_port()
    settings = folder / "mosquitto.conf"
    settings.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n")
    await stack.enter_async_context(running(folder, "broker", [program, "-c", str(settings)]))
    await reachable(port)
    return port


@dataclass(slots=True)
class Counter:
    """What arrived."""

    messages: int = 0
    bytes: int = 0


@contextlib.asynccontextmanager
async def counting(counter: Counter, port: int) -> AsyncIterator[None]:
    """Counts messages and their bytes."""
    process = await asyncio.create_subprocess_exec(
        *("stdbuf", "-oL", "mosquitto_sub", "-t", "#", "-F", "%l"),
        *("-h", "127.0.0.1", "-p", str(port)),
        stdout=asyncio.subprocess.PIPE,
    )

    async def read() -> None:
        while process.stdout is not None and (line := await process.stdout.readline()):
            counter.messages += 1
            counter.bytes += int(line)

    task = asyncio.create_task(read())
    try:
        yield
    finally:
        process.kill()
        await process.wait()
        await task


SESSION = {
    "maxPayloadSize": 65_536,
    "maxInflightMessages": 100,
    "rateLimits": {},
    "gatewayRateLimits": {},
}
"""thingsboard-gateway sends nothing before its platform has told it the session's limits."""


def answering(
    folder: Path, port: int
) -> contextlib.AbstractAsyncContextManager[asyncio.subprocess.Process]:
    """The platform's part of thingsboard-gateway's handshake; nobody else asks."""
    where = f"-h 127.0.0.1 -p {port}"
    ask, answer = "v1/devices/me/rpc/request/1", "v1/devices/me/rpc/response/1"
    script = f"mosquitto_sub {where} -C 1 -t {ask} && sleep 0.5 && "
    script += f"mosquitto_pub {where} -q 1 -t {answer} -m '{json.dumps(SESSION)}'"
    return running(folder, "platform", ["sh", "-c", script])


def show(figures: Sequence[Figures], detectors: int, loop_ms: float) -> None:
    """A table, each against dosegate."""
    base = figures[0].ms_a_sample
    print(f"{detectors} detectors at 1 Hz, 21 registers each; {LOOP_TURNS} turns: {loop_ms:.3f} ms")
    print(f"{'':20}  samples/s  messages/s  MB/min  ms/sample   ratio  turns/sample  peak MB")
    for each in figures:
        print(
            f"{each.name:20}  {each.answers / each.seconds:9.0f}"
            f"  {each.messages / each.seconds:10.0f}  {60 * each.megabytes / each.seconds:6.1f}"
            f"  {each.ms_a_sample:9.3f}  {each.ms_a_sample / base:6.2f}"
            f"  {each.ms_a_sample / loop_ms * LOOP_TURNS:12.0f}  {each.peak_mb:7.1f}"
        )


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except Trouble as trouble:
        sys.exit(f"peers: {trouble}")
