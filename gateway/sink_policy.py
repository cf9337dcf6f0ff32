"""How a sink with a poor link carries samples: as summaries, in batches, or not at all.

A gatherer takes records and gives messages: a record whole, or a bundle that stands for several.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from gateway.delivery.message import Bundle
from gateway.journal.record import Record
from gateway.wire.delivery import SUMMARY, Reduced, Summary
from gateway.wire.table import dump

BATCH_BYTES: Final = 8_000
"""So long may an alarm wait behind one: 1 s on a link of 64 kbit/s; own choice."""
HEAD_BYTES: Final = 160
"""At least what a message in a batch has beside its topic and body: ids are up to 32 long."""
SUMMARY_SAMPLES: Final = 500
"""A summary stands for at most so many samples: own choice, as its `steps` grow with them."""

Label = tuple[int, int]
"""Which window a record belongs to: its epoch and the number of the window."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How samples go out (``all``, ``reduced``, ``batch``, ``none``), and over what time."""

    samples: str = "all"
    every_s: float = 10.0


class Gatherer(Protocol):
    """Makes messages of records; ``ready_limit`` messages may wait before it is fed no more."""

    ready_limit: int

    def limit_bytes(self, limit: int) -> None:
        """No message that it makes may be larger."""

    def label(self, record: Record) -> Label:
        """The window of a record that was read back."""

    def add(self, record: Record) -> Iterable[Record]:
        """Takes a record; the messages that are complete by it."""

    def finish(self) -> Iterable[Record]:
        """The window is over; the messages that were not complete."""


class Batcher:
    """Gathers whole messages up to a size."""

    ready_limit = 4

    def __init__(self) -> None:
        self._limit_bytes = BATCH_BYTES
        self._records: list[Record] = []
        self._bytes = 0

    def limit_bytes(self, limit: int) -> None:
        """No batch that it makes may be larger, nor larger than its own bound."""
        self._limit_bytes = min(BATCH_BYTES, limit)

    def label(self, record: Record) -> Label:
        """Only the size bounds a batch of the backlog."""
        return 0, 0

    def add(self, record: Record) -> Iterable[Record]:
        """A batch is complete when the next message does not fit."""
        size = HEAD_BYTES + len(record.topic) + len(record.body)
        complete: Iterable[Record] = ()
        if self._bytes + size > self._limit_bytes:
            complete = self.finish()
        self._records.append(record)
        self._bytes += size
        return complete

    def finish(self) -> Iterable[Record]:
        """What has been gathered; a message alone goes as it is."""
        records, self._records, self._bytes = self._records, [], 0
        if len(records) < 2:
            return records
        first, last = records[0], records[-1]
        bundle = Bundle(
            first.lane,
            first.epoch,
            first.seq,
            "batch",
            b"",
            first.replayed,
            at=last.at,
            records=tuple(records),
        )
        return (bundle,)


class Reducer:
    """Gathers samples into one summary a detector; everything else goes whole."""

    ready_limit = 10_000

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._open: dict[str, tuple[Record, Summary]] = {}
        self._read: tuple[Record | None, Any] = (None, None)

    def limit_bytes(self, limit: int) -> None:
        """A summary is bounded by what it stands for."""

    def label(self, record: Record) -> Label:
        """By the wall time at which its bytes arrived: the only time that the disk still has."""
        sample = self._sample(record)
        try:
            wall = datetime.fromisoformat(sample["arrived"]).timestamp()
        except (TypeError, KeyError, ValueError):
            return record.epoch, -1
        return record.epoch, int(wall // self._every_s)

    def add(self, record: Record) -> Iterable[Record]:
        """A summary is complete when it stands for as many samples as it may."""
        sample = self._sample(record)
        self._read = (None, None)
        readings = None if sample is None else _readings(sample)
        if readings is None:
            return (record,)
        known = self._open.get(record.topic)
        if known is None:
            known = self._open[record.topic] = (record, Summary(record.topic.split("/")[1]))
        summary = known[1]
        _add(summary, sample, readings)
        summary.numbers.append(record.seq)
        if len(summary.numbers) < SUMMARY_SAMPLES:
            return ()
        del self._open[record.topic]
        return (_bundle(known[0], summary),)

    def finish(self) -> Iterable[Record]:
        """A summary of each detector that said anything."""
        bundles = [_bundle(first, summary) for first, summary in self._open.values()]
        self._open.clear()
        return bundles

    def _sample(self, record: Record) -> Any:
        if self._read[0] is not record:
            self._read = (record, _sample(record))
        return self._read[1]


def _sample(record: Record) -> Any:
    if not record.topic.startswith("detector/") or not record.topic.endswith("/sample"):
        return None
    try:
        return json.loads(record.body)
    except ValueError:
        return None


_KEYS: Final = ("channel", "part", "unit", "quantity", "value", "lower_bound", "flags", "raw")


def _readings(sample: Any) -> list[list[Any]] | None:
    """Its readings as lists of ``_KEYS``; None if it is not a sample as we write them."""
    try:
        if not (sample["time"] is None or isinstance(sample["time"], str)):
            return None
        return [[reading[key] for key in _KEYS] for reading in sample["readings"]]
    except (TypeError, KeyError):
        return None


def _add(summary: Summary, sample: Any, readings: Iterable[Sequence[Any]]) -> None:
    if summary.begin is None:
        summary.begin = sample["time"]
    summary.end = sample["time"] or summary.end
    summary.flags.update(dict.fromkeys(sample.get("flags", ())))
    summary.position = sample.get("position") or summary.position
    if sample.get("occupied") is not None:
        summary.occupied = (summary.occupied or 0) + bool(sample["occupied"])
    for channel, part, unit, quantity, value, bound, flags, raw in readings:
        key = (channel, part, unit, quantity)
        reduced = summary.readings.get(key)
        if reduced is None:
            reduced = summary.readings[key] = Reduced(*key)
        _add_reading(reduced, value, bound, flags, raw)


def _add_reading(
    reduced: Reduced, value: float | None, bound: float | None, flags: list[str], raw: str
) -> None:
    reduced.last = value
    if value is None:
        reduced.missing += 1
    else:
        reduced.count += 1
        reduced.total += value
        if reduced.minimum is None or value < reduced.minimum:
            reduced.minimum = value
        if reduced.maximum is None or value > reduced.maximum:
            reduced.maximum = value
    if bound is not None and (reduced.lower_bound is None or bound > reduced.lower_bound):
        reduced.lower_bound = bound
    if flags:
        reduced.flags.update(dict.fromkeys(flags))
    if reduced.channel == "nuclide":
        reduced.raw = raw


def _bundle(first: Record, summary: Summary) -> Bundle:
    return Bundle(
        first.lane,
        first.epoch,
        first.seq,
        f"detector/{summary.detector}/summary",
        dump(SUMMARY.encode(summary)),
        first.replayed,
        at=first.at,
        numbers=tuple(summary.numbers),
    )


def gatherer(policy: Policy) -> Gatherer:
    """A new one for one side of a lane."""
    return Batcher() if policy.samples == "batch" else Reducer(policy.every_s)
