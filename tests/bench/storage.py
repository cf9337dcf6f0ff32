"""What storing a sample costs, by the way it is stored: bytes kept, bytes written, CPU.

Run by hand or by ``make bench``. Bodies come from the real encoder. Groups are those of 20 ms, a
synchronisation every 0.8 s, as the journal makes them; time itself is not waited for. The folder
must lie on a real file system: ``write_bytes`` of /proc/self/io counts pages of the page cache when
they become dirty, so on a tmpfs it stays 0, and what the SSD adds inside itself is not in it.
"""

import argparse
import lzma
import os
import random
import sqlite3
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from drivers.api import Channel, Quantity, Reading
from gateway.journal.pack import DICTIONARY
from gateway.journal.record import Batch, Record
from gateway.journal.record import Group as Row
from gateway.journal.store import Store
from gateway.values import Instant, Lane, Measured
from gateway.wire.samples import SAMPLE, Told

GROUP_S: Final = 0.02
SYNC_GROUPS: Final = 40
SEASON_DAYS: Final = 180
"""Half a year of events: own choice."""
ENDURANCE_TB: Final = 150.0
"""A consumer SSD of 250 GB is often rated for so much: own assumption."""
DAY_S: Final = 86_400.0

Group = Sequence[tuple[str, bytes]]
Pack = Callable[[Group], bytes]


class Storage(Protocol):
    """One way to store."""

    def store(self, group: Group, *, sync: bool) -> None:
        """One group, committed."""

    def close(self) -> None:
        """All of it in its files."""


def plain(group: Group) -> bytes:
    """One line a record."""
    return b"\n".join(b"%b %b" % (topic.encode(), body) for topic, body in group)


def packed(level: int, dictionary: bytes = b"") -> Pack:
    """One compressed line a record."""

    def pack(group: Group) -> bytes:
        settings = {"zdict": dictionary} if dictionary else {}
        deflate = zlib.compressobj(level, **settings)
        return deflate.compress(plain(group)) + deflate.flush()

    return pack


class _Database:
    """The SQLite file as the journal opens it."""

    def __init__(self, folder: Path, tables: str) -> None:
        self.con = sqlite3.connect(folder / "store.sqlite", isolation_level=None)
        self.con.execute("PRAGMA journal_mode = WAL")
        self.con.executescript(tables)
        self.seq = 0

    def begin(self, *, sync: bool) -> None:
        self.con.execute(f"PRAGMA synchronous = {'FULL' if sync else 'NORMAL'}")
        self.con.execute("BEGIN IMMEDIATE")

    def close(self) -> None:
        self.con.close()


class RowASample(_Database):
    """(a) one row a sample, one transaction a group."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            folder,
            "CREATE TABLE samples (id INTEGER PRIMARY KEY, lane TEXT, epoch INTEGER, seq INTEGER,"
            " wall REAL, topic TEXT, body BLOB, UNIQUE (lane, epoch, seq)) STRICT;",
        )

    def store(self, group: Group, *, sync: bool) -> None:
        self.begin(sync=sync)
        for topic, body in group:
            self.seq += 1
            self.con.execute(
                "INSERT INTO samples (lane, epoch, seq, wall, topic, body) VALUES (?,?,?,?,?,?)",
                ("samples", 1, self.seq, 0.5, topic, body),
            )
        self.con.execute("COMMIT")


class RowAGroup(_Database):
    """(b), (c) one row a group."""

    def __init__(self, folder: Path, pack: Pack) -> None:
        super().__init__(
            folder,
            "CREATE TABLE numbers (lane TEXT, epoch INTEGER, last INTEGER, PRIMARY KEY (lane,"
            " epoch)) STRICT; CREATE TABLE groups (id INTEGER PRIMARY KEY, lane TEXT, epoch"
            " INTEGER, first INTEGER, count INTEGER, wall REAL, data BLOB, UNIQUE (lane, epoch,"
            " first)) STRICT;",
        )
        self._pack = pack

    def store(self, group: Group, *, sync: bool) -> None:
        self.begin(sync=sync)
        data = self._pack(group)
        self.con.execute(
            "INSERT INTO groups (lane, epoch, first, count, wall, data) VALUES (?,?,?,?,?,?)",
            ("samples", 1, self.seq + 1, len(group), 0.5, data),
        )
        self.seq += len(group)
        self.con.execute("INSERT OR REPLACE INTO numbers VALUES ('samples', 1, ?)", (self.seq,))
        self.con.execute("COMMIT")


class Segments:
    """(d) samples appended to a file, with length and checksum; alarms would lie in SQLite."""

    def __init__(self, folder: Path, pack: Pack) -> None:
        self._file = (folder / "segment").open("wb", buffering=0)
        self._pack = pack

    def store(self, group: Group, *, sync: bool) -> None:
        data = self._pack(group)
        head = len(data).to_bytes(4, "big") + zlib.crc32(data).to_bytes(4, "big")
        self._file.write(head + data)
        if sync:
            os.fdatasync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


class AsItIs:
    """The journal's own store, with all its tables."""

    def __init__(self, folder: Path) -> None:
        self._store = Store(folder, 10**11, ())
        self._store.open()
        self._seq = 0

    def store(self, group: Group, *, sync: bool) -> None:
        lane = Lane.SAMPLES
        records = [
            Record(lane, 1, seq, topic, body)
            for seq, (topic, body) in enumerate(group, self._seq + 1)
        ]
        self._seq += len(group)
        self._store.write(Batch(1.0, groups=[Row(lane, records)], full_sync=sync, ran=1000))

    def close(self) -> None:
        self._store.close()


def compressed(group: Group) -> bytes:
    """By lzma, with its smallest header."""
    return lzma.compress(plain(group), lzma.FORMAT_ALONE, preset=0)


WAYS: Final[dict[str, Callable[[Path], Storage]]] = {
    "a  row a sample": RowASample,
    "b  row a group": lambda folder: RowAGroup(folder, plain),
    "c1 group, zlib 1": lambda folder: RowAGroup(folder, packed(1)),
    "c6 group, zlib 6": lambda folder: RowAGroup(folder, packed(6)),
    "c1 and dictionary": lambda folder: RowAGroup(folder, packed(1, DICTIONARY)),
    "c6 and dictionary": lambda folder: RowAGroup(folder, packed(6, DICTIONARY)),
    "c  group, lzma 0": lambda folder: RowAGroup(folder, compressed),
    "the journal as it is": AsItIs,
    "d  segments, plain": lambda folder: Segments(folder, plain),
    "d1 segments, zlib 1": lambda folder: Segments(folder, packed(1, DICTIONARY)),
}


def bodies(detectors: int, readings: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Samples of a fleet that counts a background, one detector after the other, one a second."""
    rng = random.Random(seed)
    number = 0
    while True:
        detector = f"unit-{number % detectors + 1:03d}"
        at = Instant(1_780_000_000.0 + number / detectors + rng.random() * 0.01, 0.0)
        said = tuple(_reading(part, rng) for part in range(readings))
        value = Measured(detector, at, at.earlier(-0.004), said)
        yield f"detector/{detector}/sample", SAMPLE.text(Told(value)).encode()
        number += 1


def _reading(part: int, rng: random.Random) -> Reading:
    if part % 4 == 0:
        rate = round(rng.gauss(0.11, 0.012), 4)
        quantity = Quantity.AMBIENT_DOSE_EQUIVALENT_RATE
        return Reading(
            Channel.DOSE_RATE, rate, "µSv/h", quantity, raw=f"{rate} µSv/h", part=_part(part)
        )
    count = sum(rng.random() < 0.5 for _ in range(240))
    quantity = Quantity.GAMMA_COUNTS
    return Reading(
        Channel.GAMMA_COUNTS, count, "count", quantity, window_s=1.0, raw=str(count),
        part=_part(part), independent=True,
    )  # fmt: skip


def _part(part: int) -> str:
    return str(part) if part else ""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one sample."""

    kept: float
    written: float
    cpu_us: float
    commits_per_s: float


def cost(way: Callable[[Path], Storage], groups: Sequence[Group], folder: Path) -> Cost:
    """What a way costs for these groups."""
    samples = sum(map(len, groups))
    with closing(way(folder)) as store:
        written, cpu, clock = _written(), time.process_time(), time.monotonic()
        for number, group in enumerate(groups):
            store.store(group, sync=number % SYNC_GROUPS == 0)
        cpu, clock = time.process_time() - cpu, time.monotonic() - clock
    kept = sum(path.stat().st_size for path in folder.iterdir())
    return Cost(
        kept / samples,
        (_written() - written) / samples,
        cpu * 1e6 / samples,
        len(groups) / clock,
    )


def _written() -> int:
    lines = Path("/proc/self/io").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))


def grouped(rate: int, readings: int, seconds: float) -> list[Group]:
    """The groups of 20 ms of so many samples a second."""
    source = bodies(rate, readings, seed=1)
    groups: list[Group] = []
    for number in range(round(seconds / GROUP_S)):
        due = round((number + 1) * GROUP_S * rate) - round(number * GROUP_S * rate)
        if due:
            groups.append([next(source) for _ in range(due)])
    return groups


def main() -> None:
    """Prints the table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--folder", type=Path, default=Path("/var/tmp"))
    arguments.add_argument("--seconds", type=float, default=60.0)
    asked = arguments.parse_args()
    for rate, readings in ((1000, 16), (1000, 1), (60, 16), (60, 1)):
        seconds = asked.seconds if rate <= 60 else min(asked.seconds, 20.0)
        groups = grouped(rate, readings, seconds)
        size = sum(len(body) for group in groups for _, body in group) / sum(map(len, groups))
        print(f"\n{rate} samples/s of {readings} readings, {size:.0f} B each")
        print(f"{'':20} {'kept B':>8} {'written B':>9} {'CPU µs':>7} {'commits/s':>9}"
              f" {'kept GB/d':>9} {'GB/day':>8} {'season TB':>9} {'of TBW':>7}")  # fmt: skip
        for name, way in WAYS.items():
            with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
                found = cost(way, groups, Path(folder))
            kept = found.kept * rate * DAY_S / 1e9
            day = found.written * rate * DAY_S / 1e9
            season = day * SEASON_DAYS / 1000
            print(
                f"{name:20} {found.kept:8.0f} {found.written:9.0f} {found.cpu_us:7.0f}"
                f" {found.commits_per_s:9.0f} {kept:9.1f} {day:8.0f} {season:9.1f}"
                f" {season / ENDURANCE_TB:7.0%}"
            )


if __name__ == "__main__":
    main()
