"""From the times of answers and of messages to the figures of the benchmark. Pure."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

MS = 1e6
"""Nanoseconds in a millisecond."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How long something took, ms; ``count`` 0 means there was nothing to measure."""

    count: int
    p50: float
    p99: float
    worst: float


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What became of the answers given in the window."""

    answers: int
    lost: int
    duplicates: int
    latency: Spread


@dataclass(frozen=True, slots=True)
class Result:
    """One run. CPU is the gateway's alone; ``ratio`` is CPU per sample in turns of the loop."""

    detectors: int
    seconds: float
    broker: str
    samples: int
    cpu_s: float
    cpu_ms_per_sample: float
    loop_ms: float
    ratio: float
    peak_rss_mb: float
    latency: Spread
    alarm_latency: Spread
    alarms_unheard: int
    lost: int
    duplicates: int
    gaps: int
    exit_code: int

    def as_json(self) -> dict[str, object]:
        """Plain values."""
        return asdict(self)


def spread(values_ns: Iterable[int]) -> Spread:
    """Median, 99th percentile (nearest rank) and maximum of nanoseconds, in ms."""
    ordered = sorted(values_ns)
    if not ordered:
        return Spread(0, 0.0, 0.0, 0.0)

    def rank(percent: int) -> float:
        return ordered[max(0, -(-len(ordered) * percent // 100) - 1)] / MS

    return Spread(len(ordered), rank(50), rank(99), ordered[-1] / MS)


def join(
    answers: Mapping[str, Sequence[int]],
    samples: Iterable[tuple[str, int | None, int]],
    window: tuple[int, int],
    base: int,
    cycle: int,
) -> Arrivals:
    """Match each message with the answer it carries; figures of the answers in the window.

    Number n of a detector's answers carries ``base + n % cycle``; a message carries the newest
    answer with its count that was given before it came.
    """
    first_heard: dict[tuple[str, int], int] = {}
    duplicates = 0
    for detector, count, heard in samples:
        times = answers.get(detector, ())
        newest = bisect_right(times, heard) - 1
        if count is None or newest < 0:
            continue
        number = newest - (newest - (count - base)) % cycle
        if number < 0:
            continue
        if (detector, number) in first_heard:
            duplicates += 1
        else:
            first_heard[detector, number] = heard
    start, end = window
    given, latencies = 0, []
    for detector, times in answers.items():
        for number, at in enumerate(times):
            if start <= at < end:
                given += 1
                heard_at = first_heard.get((detector, number))
                if heard_at is not None:
                    latencies.append(heard_at - at)
    return Arrivals(given, given - len(latencies), duplicates, spread(latencies))


def alarm_latency(
    answers: Mapping[str, Sequence[int]], events: Iterable[tuple[str | None, str, int]]
) -> tuple[Spread, int]:
    """From the first answer with the alarm bit to the first event ``raised`` after it.

    The second figure is how many alarms nobody heard of before the next one of that detector.
    """
    raised: dict[str, list[int]] = {}
    for detector, event, heard in events:
        if detector is not None and event == "raised":
            raised.setdefault(detector, []).append(heard)
    latencies, unheard = [], 0
    for detector, times in answers.items():
        heard_times = sorted(raised.get(detector, ()))
        for at, following in zip(times, (*times[1:], None), strict=True):
            position = bisect_right(heard_times, at)
            heard_at = heard_times[position] if position < len(heard_times) else None
            if heard_at is None or (following is not None and heard_at >= following):
                unheard += 1
            else:
                latencies.append(heard_at - at)
    return spread(latencies), unheard


def gaps(lanes: Mapping[str, Sequence[int]]) -> int:
    """Sequence numbers missing between the first and the last of each lane and epoch."""
    return sum(max(seen) - min(seen) + 1 - len(set(seen)) for seen in lanes.values() if seen)
