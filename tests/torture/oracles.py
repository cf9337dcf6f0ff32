"""What must be true whatever happened: nothing confirmed is lost, no number is used twice."""

import json
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Key = tuple[str, int, int]
"""Lane, epoch, number."""

BUSY_SHARE = 0.2
"""Of one core: more over a fault is a busy loop (fault matrix, common oracles)."""
GROUP_S = 0.02
"""One commit group of samples: what a SIGKILL may cost."""
WRITTEN_S = 0.1
"""For storing and the kill itself on a busy machine."""
SYNCHRONISED_S = 1.0
"""What a power cut may cost of samples."""


@dataclass(slots=True)
class Told:
    """What the driver's process said; see ``driver_process``."""

    confirmed: set[int] = field(default_factory=set)
    undurable: set[int] = field(default_factory=set)
    begun: set[int] = field(default_factory=set)
    epochs: list[int] = field(default_factory=list)
    previous: dict[int, Mapping[str, int]] = field(default_factory=dict)
    samples: list[tuple[int, int, float]] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    ends: int = 0
    last: str = ""

    def read(self, lines: Iterable[str]) -> "Told":
        """Takes in more lines."""
        for line in lines:
            word, _, rest = line.partition(" ")
            self._take(word, rest)
            self.last = word
        return self

    def _take(self, word: str, rest: str) -> None:
        if word == "A":
            self.confirmed.add(int(rest))
        elif word == "U":
            self.undurable.add(int(rest))
        elif word == "c":
            self.begun.add(int(rest))
        elif word == "open":
            epoch, _, numbers = rest.partition(" ")
            self.epochs.append(int(epoch))
            self.previous[int(epoch) - 1] = json.loads(numbers)
        elif word == "s":
            first, last, at = rest.split()
            self.samples.append((int(first), int(last), float(at)))
        elif word == "notice":
            self.notices.append(rest)
        elif word == "end":
            self.ends += 1

    @property
    def next_number(self) -> int:
        """One that no alarm or command had."""
        return max(self.begun | {last // 3 for _, last, _ in self.samples}, default=0) + 1

    def check_epochs(self) -> None:
        """An epoch never comes again."""
        assert self.epochs == sorted(set(self.epochs)), self.epochs


def told_in(path: Path, *, begin: int = 0) -> tuple[list[str], int]:
    """Whole lines of the file from a position on, and where they end."""
    data = path.read_bytes()[begin:] if path.exists() else b""
    end = data.rfind(b"\n") + 1
    return data[:end].decode().splitlines(), begin + end


@dataclass(slots=True)
class Delivered:
    """What came out at the other end, each key once; a key with two contents is an error."""

    bodies: dict[Key, Mapping[str, Any]] = field(default_factory=dict)
    times: dict[Key, float] = field(default_factory=dict)
    duplicates: int = 0
    exchanged: list[tuple[Key, object, object]] = field(default_factory=list)
    lost: list[Mapping[str, Any]] = field(default_factory=list)
    raw_undurable: list[Mapping[str, Any]] = field(default_factory=list)

    def take(self, payload: bytes) -> None:
        """One message."""
        if payload:
            self.take_body(json.loads(payload))

    def take_body(self, body: Mapping[str, Any]) -> None:
        """One message, parsed."""
        if "seq" not in body:
            return
        if body.get("kind") == "lost":
            self.lost.append(body)
        if body.get("durable") is False:
            self.raw_undurable.append(body)
        key = (body["lane"], body["epoch"], body["seq"])
        body = {name: it for name, it in body.items() if name not in ("replayed", "durable")}
        known = self.bodies.setdefault(key, body)
        if known is not body:
            self.duplicates += 1
            if known != body:
                self.exchanged.append((key, known, body))
        else:
            self.times[key] = time.monotonic()

    def numbers(self, *kinds: str) -> set[int]:
        """The driver's own numbers of these kinds."""
        return {b["n"] for b in tuple(self.bodies.values()) if b.get("kind") in kinds and "n" in b}

    def check_numbers(self, previous: Mapping[int, Mapping[str, int]], *lanes: str) -> int:
        """No key has two contents; no number is missing or it is told as lost; how many there are.

        ``previous``: the last number by epoch and lane, as the next epoch told it.
        """
        assert not self.exchanged, self.exchanged[:3]
        seen: dict[tuple[str, int], list[int]] = {}
        for lane, epoch, seq in self.bodies:
            if lane in lanes:
                seen.setdefault((lane, epoch), []).append(seq)
        for epoch, last in previous.items():
            for lane in lanes:
                if last.get(lane):
                    seen.setdefault((lane, epoch), [])
        for (lane, epoch), found in seen.items():
            end = max([*found, previous.get(epoch, {}).get(lane, 0)])
            missing = set(range(1, end + 1)) - set(found) - self._told_lost(lane, epoch)
            assert not missing, f"{lane} of epoch {epoch}: {len(missing)} missing of {end}"
            if lane.endswith("alarms"):
                assert found == sorted(found), f"{lane} of epoch {epoch} came out of order"
        return sum(map(len, seen.values()))

    def _told_lost(self, lane: str, epoch: int) -> set[int]:
        spans = [
            range(body["first"], body["last"] + 1)
            for body in self.lost
            if (body["of_lane"], body["of_epoch"]) == (lane, epoch) and body["first"] is not None
        ]
        return {number for span in spans for number in span}


class Usage:
    """CPU and memory of a process from now on."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._since = time.monotonic()
        self._cpu_s = self._used_s()

    def _used_s(self) -> float:
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def share(self) -> float:
        """Part of one core."""
        return (self._used_s() - self._cpu_s) / max(0.1, time.monotonic() - self._since)

    def rss_mb(self) -> float:
        """Resident memory now."""
        for line in Path(f"/proc/{self._pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise AssertionError("no VmRSS")


def percentile(values: Iterable[float], share: float) -> float:
    """Nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
