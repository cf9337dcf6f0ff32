"""A fleet of simulated Aspect portal monitors on Modbus TCP, as cheap as Python allows.

Register map: osh-oakridge-modules, sensorhub-driver-aspect (DeviceDescriptionRegisters.java,
MonitorRegisters.java): description at 0, 8 registers; monitor block at 100, 21 registers, low word
first. One port a portal, all in this one process.

Each answer carries its number, modulo CYCLE, in the gamma count, so that whoever receives it can
tell when it was given. On SIGTERM the times of all answers (CLOCK_MONOTONIC, ns) go to --out:
``{"answers": {id: [ns, ...]}, "alarms": {id: [ns, ...]}}``; alarms are the first answers of
passages with the bit Alarm1.
"""

import argparse
import asyncio
import json
import signal
import struct
import time
from array import array
from pathlib import Path

BASE_COUNT = 100_000
"""Counts of an answer are BASE_COUNT + its number % CYCLE: far below one standard deviation."""
CYCLE = 97
BACKGROUND = 99_000.0
ALARM_S = 2.0
DESCRIPTION = struct.pack(">8H", 0, 121, 0, 100, 21, 0, 0, 0)
MONITOR_AT, MONITOR_COUNT = 100, 21
READY, ALARM1, OCCUPIED = 0x0080, 0x0001, 0x0001
READ_HOLDING = 3
ILLEGAL_FUNCTION, ILLEGAL_ADDRESS = 1, 2


def low_first(value: float) -> bytes:
    """A 32-bit float in two registers, the low half first."""
    raw = struct.pack(">f", value)
    return raw[2:] + raw[:2]


GAMMA_TAIL = low_first(BACKGROUND) + low_first(1.0)
NEUTRON = struct.pack(">3H", READY, 1, 0) + low_first(1.0) + low_first(1.0)
HEAD = struct.Struct(">6H")
TAIL = struct.Struct(">4H")
REQUEST = struct.Struct(">HHHBBHH")
REPLY = struct.Struct(">HHHBBB")
EXCEPTION = struct.Struct(">HHHBBB")


class Portal:
    """One portal monitor and its memory of what it answered when."""

    def __init__(self, name: str, *, is_occupied: bool = False) -> None:
        self.name = name
        self.is_occupied = is_occupied
        self.answers = array("q")
        self.alarms = array("q")
        self.passages = 0
        self.is_alarmed = False
        self._is_told = False

    def alarm(self, is_on: bool) -> None:
        """Somebody with a source enters, or has left."""
        self.passages += is_on
        self.is_alarmed, self._is_told = is_on, False

    def monitor(self) -> bytes:
        """The 21 registers of this moment."""
        now = time.monotonic_ns()
        count = BASE_COUNT + len(self.answers) % CYCLE
        self.answers.append(now)
        if self.is_alarmed and not self._is_told:
            self._is_told = True
            self.alarms.append(now)
        elapsed = now // 1_000_000_000
        status = READY | ALARM1 if self.is_alarmed else READY
        inputs = OCCUPIED if self.is_alarmed or self.is_occupied else 0
        head = HEAD.pack(
            elapsed & 0xFFFF, elapsed >> 16 & 0xFFFF, inputs, status, count & 0xFFFF, count >> 16
        )
        tail = TAIL.pack(self.passages & 0xFFFF, 0, 1500, 0)
        return head + GAMMA_TAIL + NEUTRON + tail

    def answer(self, request: bytes) -> bytes:
        """The whole answer to a whole request."""
        transaction, protocol, _, unit, function, address, count = REQUEST.unpack(request)
        if function != READ_HOLDING:
            code = ILLEGAL_FUNCTION
        elif address == MONITOR_AT and count == MONITOR_COUNT:
            registers = self.monitor()
            return REPLY.pack(transaction, protocol, 45, unit, function, 42) + registers
        elif not address and 0 < count <= len(DESCRIPTION) // 2:
            size = 2 * count
            head = REPLY.pack(transaction, protocol, 3 + size, unit, function, size)
            return head + DESCRIPTION[:size]
        else:
            code = ILLEGAL_ADDRESS
        return EXCEPTION.pack(transaction, protocol, 3, unit, function | 0x80, code)


class Line(asyncio.Protocol):
    """One connection to a portal."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        while len(data) >= REQUEST.size:
            self._transport.write(self._portal.answer(data[: REQUEST.size]))
            data = data[REQUEST.size :]
        self._rest = data


class Alarms:
    """Sends somebody with a source through one portal after another."""

    def __init__(self, portals: list[Portal], every_s: float) -> None:
        self._portals = portals
        self._every_s = every_s
        self._next = 0

    def start(self) -> None:
        """From now on, one passage each ``every_s``."""
        loop = asyncio.get_running_loop()
        portal = self._portals[self._next % len(self._portals)]
        self._next += 1
        if not portal.is_alarmed:
            portal.alarm(True)
            loop.call_later(ALARM_S, portal.alarm, False)
        loop.call_later(self._every_s, self.start)


async def serve(portals: list[Portal], alarm_every_s: float) -> None:
    """Print the ports, then answer until SIGTERM."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    ports = []
    for portal in portals:
        server = await loop.create_server(lambda p=portal: Line(p), "127.0.0.1", 0)
        ports.append(server.sockets[0].getsockname()[1])
    print(json.dumps({"ports": ports}), flush=True)
    if alarm_every_s:
        loop.add_signal_handler(signal.SIGUSR1, Alarms(portals, alarm_every_s).start)
    await stop.wait()


def main() -> None:
    """Serve, then write down when each answer was given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--detectors", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--alarm-every", type=float, default=0.0, help="s, 0 for never; from SIGUSR1 on"
    )
    parser.add_argument("--occupied", action="store_true", help="somebody stands in every lane")
    options = parser.parse_args()
    names = [f"d{number:04d}" for number in range(1, options.detectors + 1)]
    portals = [Portal(name, is_occupied=options.occupied) for name in names]
    asyncio.run(serve(portals, options.alarm_every))
    times = {
        "answers": {portal.name: list(portal.answers) for portal in portals},
        "alarms": {portal.name: list(portal.alarms) for portal in portals if portal.alarms},
    }
    options.out.write_text(json.dumps(times))


if __name__ == "__main__":
    main()
