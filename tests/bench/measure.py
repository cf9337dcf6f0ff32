"""Measures the gateway: CPU per sample, latency, peak memory, with N Modbus detectors at 1 Hz.

Starts a broker (mosquitto if there is one), a process that plays the detectors, one that
subscribes, and ``dosegate run``, all on this machine. Only the gateway's own CPU and memory count.
The budgets are those of the design; as machines differ, CPU is also given in turns of a fixed loop
that is timed in the same run.

    .venv/bin/python tests/bench/measure.py --detectors 100 1000 --seconds 60 --json bench.json

With ``--occupied`` somebody stands in every lane, so that each portal is asked five times a second:
what a gateway sustains is the greatest number a second that it keeps up with.
"""

import argparse
import asyncio
import contextlib
import json
import os
import resource
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from figures import Result, alarm_latency, gaps, join
from modbus_fleet import BASE_COUNT, CYCLE

HERE = Path(__file__).resolve().parent
DOSEGATE = Path(sys.executable).parent / "dosegate"
LOOP_TURNS = 10_000
FILES_PER_DETECTOR, FILES = 2, 512
START_S, SETTLE_S, DRAIN_S, STOP_S = 90.0, 3.0, 2.0, 15.0
TABLE = (
    ("detectors", "budget"),
    ("samples", ""),
    ("a second", ""),
    ("CPU %", ""),
    ("ms/sample", "0.15"),
    ("turns/sample", ""),
    ("p50 ms", "25"),
    ("p99 ms", "60"),
    ("worst ms", ""),
    ("alarm p50", ""),
    ("alarm p99", "50"),
    ("peak MB", "90"),
    ("lost", "0"),
    ("gaps", "0"),
)
"""Columns, and the budget of each for 1000 detectors."""


class Trouble(Exception):
    """A part of the benchmark did not do what it must."""


async def main() -> int:
    """Run each size, print the table, write JSON if asked to; 1 if anything was lost."""
    options = arguments()
    results = []
    for detectors in options.detectors:
        print(f"{detectors} detectors, {options.seconds:g} s ...", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="dosegate-bench-", dir=options.dir) as name:
            results.append(await Run(Path(name), detectors, options).measured())
    show(results)
    if options.json:
        options.json.write_text(json.dumps([r.as_json() for r in results], indent=2) + "\n")
    return int(any(r.lost or r.gaps or r.exit_code for r in results))


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--detectors", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--alarm-every", type=float, default=2.0, help="s, 0 for no alarms")
    parser.add_argument("--occupied", action="store_true", help="poll at 5 Hz instead of 1 Hz")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--dir", type=Path, help="where the journal goes: the disk to be measured")
    parser.add_argument("--own-broker", action="store_true", help="even if mosquitto is there")
    parser.add_argument("--gateway", type=Path, default=DOSEGATE, help="program in its place")
    return parser.parse_args()


class Run:
    """One size of fleet, from the first process to the last."""

    def __init__(self, folder: Path, detectors: int, options: argparse.Namespace) -> None:
        self._folder = folder
        self._detectors = detectors
        self._options = options
        self._port = free_port()
        self._broker = ""

    async def measured(self) -> Result:
        """Start everything, wait, look, stop everything."""
        allow_files(FILES + FILES_PER_DETECTOR * self._detectors)
        loop_ms = fixed_loop_ms()
        async with contextlib.AsyncExitStack() as stack:
            await self._start_broker(stack)
            fleet, subscriber, gateway = await self._start_parts(stack)
            if self._options.alarm_every:
                fleet.send_signal(signal.SIGUSR1)
            start, cpu_start = time.monotonic_ns(), cpu_s(gateway.pid)
            await asyncio.sleep(self._options.seconds)
            end, cpu_end = time.monotonic_ns(), cpu_s(gateway.pid)
            await asyncio.sleep(DRAIN_S)
            peak_mb = peak_rss_mb(gateway.pid)
            exit_code = await stopped(gateway)
            await stopped(subscriber)
            await stopped(fleet)
        return self._result((start, end), cpu_end - cpu_start, loop_ms, peak_mb, exit_code)

    async def _start_broker(self, stack: contextlib.AsyncExitStack) -> None:
        program = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin")
        if program is None or self._options.own_broker:
            self._broker = "simulators.broker"
            own = (sys.executable, str(HERE / "broker_process.py"), str(self._port))
            await said(await stack.enter_async_context(self._process("broker", *own)), "listening")
            return
        self._broker = "mosquitto"
        settings = self._folder / "mosquitto.conf"
        settings.write_text(
            f"listener {self._port} 127.0.0.1\nallow_anonymous true\npersistence false\n"
        )
        await stack.enter_async_context(self._process("broker", program, "-c", str(settings)))
        await reachable(self._port)

    async def _start_parts(
        self, stack: contextlib.AsyncExitStack
    ) -> tuple[asyncio.subprocess.Process, ...]:
        size = ("--detectors", str(self._detectors))
        alarms = ("--alarm-every", str(self._options.alarm_every))
        busy = ("--occupied",) if self._options.occupied else ()
        fleet = await self._part(stack, "fleet", "modbus_fleet.py", *size, *alarms, *busy)
        ports = json.loads(await line_of(fleet))["ports"]
        port = ("--port", str(self._port))
        subscriber = await self._part(stack, "subscriber", "subscriber.py", *size, *port)
        await said(subscriber, "subscribed")
        settings = self._folder / "gateway.toml"
        settings.write_text(configuration(self._folder, self._port, ports))
        gateway = await stack.enter_async_context(
            self._process("gateway", str(self._options.gateway), "run", "-c", str(settings))
        )
        try:
            await said(subscriber, "all")
        except TimeoutError:
            log = (self._folder / "gateway.log").read_text()[-3000:]
            raise Trouble(f"not every detector was heard within {START_S} s:\n{log}") from None
        await asyncio.sleep(SETTLE_S)
        return fleet, subscriber, gateway

    async def _part(
        self, stack: contextlib.AsyncExitStack, name: str, script: str, *more: str
    ) -> asyncio.subprocess.Process:
        out = ("--out", str(self._folder / f"{name}.json"))
        command = (sys.executable, str(HERE / script), *more, *out)
        return await stack.enter_async_context(self._process(name, *command))

    @contextlib.asynccontextmanager
    async def _process(self, name: str, *command: str) -> AsyncIterator[asyncio.subprocess.Process]:
        with (self._folder / f"{name}.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *command, stdout=asyncio.subprocess.PIPE, stderr=log, limit=1 << 20
            )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    def _result(
        self,
        window: tuple[int, int],
        cpu: float,
        loop_ms: float,
        peak_mb: float,
        exit_code: int,
    ) -> Result:
        told = json.loads((self._folder / "fleet.json").read_text())
        heard = json.loads((self._folder / "subscriber.json").read_text())
        arrived = join(told["answers"], heard["samples"], window, BASE_COUNT, CYCLE)
        alarms, unheard = alarm_latency(told["alarms"], heard["alarms"])
        per_sample_ms = 1000 * cpu / max(1, arrived.answers)
        return Result(
            detectors=self._detectors,
            seconds=(window[1] - window[0]) / 1e9,
            broker=self._broker,
            samples=arrived.answers,
            cpu_s=cpu,
            cpu_ms_per_sample=per_sample_ms,
            loop_ms=loop_ms,
            ratio=per_sample_ms / loop_ms,
            peak_rss_mb=peak_mb,
            latency=arrived.latency,
            alarm_latency=alarms,
            alarms_unheard=unheard,
            lost=arrived.lost,
            duplicates=arrived.duplicates,
            gaps=gaps(heard["lanes"]),
            exit_code=exit_code,
        )


def configuration(folder: Path, broker_port: int, ports: Sequence[int]) -> str:
    """The gateway's file: one sink, one Aspect portal a port."""
    parts = [
        f'[gateway]\nid = "bench"\nstate_dir = "{folder / "state"}"\n'
        f'control_socket = "{folder / "control.sock"}"\nlog_level = "warning"\n',
        f'[[sink]]\nid = "site"\nbrokers = ["mqtt://127.0.0.1:{broker_port}"]\n',
    ]
    for number, port in enumerate(ports, 1):
        parts.append(
            f'[[detector]]\nid = "d{number:04d}"\ndriver = "aspect-rpm-modbus-tcp"\n'
            f'link = {{ kind = "modbus_tcp", host = "127.0.0.1", port = {port}, unit = 1 }}\n'
        )
    return "\n".join(parts)


async def line_of(process: asyncio.subprocess.Process) -> str:
    """The next line a process prints."""
    if process.stdout is None:
        raise Trouble("the process has no output")
    line = await asyncio.wait_for(process.stdout.readline(), START_S)
    if not line:
        raise Trouble(f"a process ended with {await process.wait()}")
    return line.decode().strip()


async def said(process: asyncio.subprocess.Process, word: str) -> None:
    """Wait until a process prints this."""
    line = await line_of(process)
    if line != word:
        raise Trouble(f"{line!r} instead of {word!r}")


async def reachable(port: int) -> None:
    """Wait until something listens."""
    async with asyncio.timeout(START_S):
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.05)


async def stopped(process: asyncio.subprocess.Process) -> int:
    """End a process politely; its exit code."""
    if process.returncode is None:
        process.terminate()
    return await asyncio.wait_for(process.wait(), STOP_S)


def free_port() -> int:
    """A TCP port that nobody uses now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def allow_files(wanted: int) -> None:
    """Let this process and its children open that many files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise Trouble(f"{wanted} open files are needed, the hard limit is {hard}")
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def cpu_s(pid: int) -> float:
    """User and system time of a process so far, all its threads (proc(5), stat 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_rss_mb(pid: int) -> float:
    """Peak resident memory of a process (proc(5), VmHWM, kB)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise Trouble("no VmHWM")


def fixed_loop_ms() -> float:
    """CPU time of LOOP_TURNS turns of a plain loop, the best of 20 times."""
    best = float("inf")
    for _ in range(20):
        start = time.process_time()
        total = 0
        for turn in range(10 * LOOP_TURNS):
            total += turn & 7
        best = min(best, time.process_time() - start)
    return 1000 * best / 10


def show(results: Sequence[Result]) -> None:
    """The table, with the budgets below it."""
    titles, budgets = zip(*TABLE, strict=True)
    rows = [titles, *(row_of(result) for result in results), budgets]
    widths = [max(len(row[column]) for row in rows) for column in range(len(TABLE))]
    for row in rows:
        print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))
    for result in results:
        print(
            f"{result.detectors}: broker {result.broker}, {LOOP_TURNS} turns of the loop "
            f"{result.loop_ms:.3f} ms, {result.alarm_latency.count} alarms heard, "
            f"{result.alarms_unheard} not, {result.duplicates} duplicates, "
            f"exit code {result.exit_code}"
        )


def row_of(result: Result) -> tuple[str, ...]:
    """One line of the table."""
    return (
        str(result.detectors),
        str(result.samples),
        f"{result.samples / result.seconds:.0f}",
        f"{100 * result.cpu_s / result.seconds:.1f}",
        f"{result.cpu_ms_per_sample:.3f}",
        f"{result.ratio * LOOP_TURNS:.0f}",
        f"{result.latency.p50:.1f}",
        f"{result.latency.p99:.1f}",
        f"{result.latency.worst:.1f}",
        f"{result.alarm_latency.p50:.1f}",
        f"{result.alarm_latency.p99:.1f}",
        f"{result.peak_rss_mb:.1f}",
        str(result.lost),
        str(result.gaps),
    )


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except Trouble as trouble:
        sys.exit(f"measure: {trouble}")
