"""Sinks that carry summaries, batches or no samples: nothing is lost, nothing is invented."""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from drivers.api import Channel, Flag, Quantity, Reading
from gateway.delivery.reader import Pace, Policy, SinkReader, prepend
from gateway.journal.record import Record, Refusal
from gateway.journal.spans import Cursor, Cursors, Span, decode_cursor
from gateway.sink_policy import BATCH_BYTES, SUMMARY_SAMPLES
from gateway.values import Instant, Lane, Measured
from gateway.wire.delivery import BATCH, LOST, SUMMARY, Lost
from gateway.wire.samples import SAMPLE, Told
from gateway.wire.table import dump

REDUCED: Final = Policy("reduced", 10.0)
BATCHES: Final = Policy("batch", 10.0)
UNHURRIED: Final = Pace(backlog_per_s=1e9)
WALL: Final = 1.8e9
Key = tuple[int, int]


def dose_rate(value: float | None, bound: float | None = None, *flags: Flag) -> Reading:
    return Reading(
        Channel.DOSE_RATE,
        value,
        "uSv/h",
        Quantity.AMBIENT_DOSE_EQUIVALENT_RATE,
        flags,
        lower_bound=bound,
    )


def sample(detector: str, at: float, *readings: Reading, occupied: bool | None = None) -> bytes:
    instant = Instant(WALL + at, at)
    measured = Measured(detector, instant, instant, readings, occupied=occupied)
    return SAMPLE.text(Told(measured)).encode()


@dataclass(slots=True)
class Shelf:
    """A journal in memory: what was appended, and the cursors as they were stored."""

    epoch: int = 1
    records: dict[tuple[Lane, int, int], Record] = field(default_factory=dict)
    numbers: dict[Lane, int] = field(default_factory=lambda: dict.fromkeys(Lane, 0))
    last: dict[Lane, dict[int, int]] = field(default_factory=lambda: {lane: {} for lane in Lane})
    cursors: dict[Lane, str] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    reads: int = 0
    broken: bool = False
    reader: Any = None

    def follow(self, sink: str, reader: SinkReader) -> Cursors:
        self.reader = reader
        found = {}
        for lane in Lane:
            cursor = decode_cursor(self.cursors.get(lane, "")) or Cursor(0, 0)
            owed = cursor.owed({**self.last[lane], self.epoch: self.numbers[lane]})
            found[lane] = Cursor(self.epoch, self.numbers[lane], tuple(owed))
        return found

    def append(self, lane: Lane, topic: str, body: bytes, at: float) -> Record:
        return self.append_all(lane, [(topic, body)], at)[0]

    def append_all(
        self, lane: Lane, messages: Sequence[tuple[str, bytes]], at: float
    ) -> list[Record]:
        records = []
        for topic, body in messages:
            self.numbers[lane] += 1
            record = Record(lane, self.epoch, self.numbers[lane], topic, body, at=at)
            self.records[lane, self.epoch, record.seq] = record
            records.append(record)
        if records:
            self.reader.offer(records)
        return records

    def read(self, lane: Lane, span: Span, limit: int) -> "asyncio.Future[list[Record]]":
        self.reads += 1
        future: asyncio.Future[list[Record]] = asyncio.get_running_loop().create_future()
        if self.broken:
            future.set_exception(OSError("broken"))
            return future
        keys = ((lane, span.epoch, seq) for seq in range(span.first, span.last + 1))
        found = [self.records[key] for key in keys if key in self.records][:limit]
        future.set_result([replace(record, replayed=True, at=0.0) for record in found])
        return future

    def refuse(self, refusal: Refusal) -> None:
        self.refusals.append(refusal)

    def note_progress(self) -> None:
        self.cursors = {lane: each.encode() for lane, each in self.reader.cursors().items()}

    def restart(self) -> None:
        for lane in Lane:
            self.last[lane][self.epoch] = self.numbers[lane]
            self.numbers[lane] = 0
        self.epoch += 1


class Clock:
    """Time that the test moves."""

    def __init__(self) -> None:
        self.mono = 1000.0

    def __call__(self) -> float:
        return self.mono


def reader_of(shelf: Shelf, policy: Policy, clock: Clock, pace: Pace = UNHURRIED) -> SinkReader:
    return SinkReader(shelf, "hall", pace=pace, policy=policy, clock=clock)  # type: ignore[arg-type]


async def turn() -> None:
    """Lets what was read arrive."""
    for _ in range(3):
        await asyncio.sleep(0)


async def drained(reader: SinkReader, limit: int = 50) -> list[Record]:
    """Takes and acknowledges until nothing comes."""
    messages: list[Record] = []
    idle = 0
    while idle < 5:
        taken = reader.take(limit)
        for message in taken:
            reader.acknowledge(message)
        messages += taken
        idle = 0 if taken else idle + 1
        await turn()
    return messages


def covered(message: Record) -> list[Key]:
    """The numbers that a consumer has by this message, from what is in it."""
    body = json.loads(prepend("north", message))
    if body.get("kind") == "summary":
        seqs = [body["first"]]
        for step in body["steps"]:
            seqs.append(seqs[-1] + step)
        assert (seqs[-1], len(seqs)) == (body["last"], body["count"])
        return [(body["epoch"], seq) for seq in seqs]
    if body.get("kind") == "batch":
        return [(each["message"]["epoch"], each["message"]["seq"]) for each in body["messages"]]
    return [(body["epoch"], body["seq"])]


def told(message: Record) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(prepend("north", message))
    return found


async def test_a_summary_is_the_figures_of_its_window_and_names_its_samples() -> None:
    shelf, clock = Shelf(), Clock()
    reader = reader_of(shelf, REDUCED, clock)
    for second, value in enumerate((0.1, 0.3, None, 0.2)):
        clock.mono = 1000.0 + second
        flags = (Flag.INSTRUMENT_FAULT,) if value is None else ()
        for name in ("a", "b"):
            body = sample(name, clock.mono, dose_rate(value, None, *flags), occupied=second == 1)
            shelf.append(Lane.SAMPLES, f"detector/{name}/sample", body, clock.mono)
        assert reader.take(10) == []
    assert reader.delay_s() == pytest.approx(7.0)
    clock.mono = 1010.0
    first, second_one = reader.take(10)
    assert (first.topic, second_one.topic) == ("detector/a/summary", "detector/b/summary")
    assert told(first) == {
        "schema": "dosegate/1",
        "gateway": "north",
        "lane": "samples",
        "epoch": 1,
        "kind": "summary",
        "detector": "a",
        "from": "2027-01-15T08:16:40.000Z",
        "to": "2027-01-15T08:16:43.000Z",
        "first": 1,
        "last": 7,
        "count": 4,
        "steps": [2, 2, 2],
        "readings": [
            {
                "channel": "dose_rate",
                "part": "",
                "unit": "uSv/h",
                "quantity": "ambient_dose_equivalent_rate",
                "count": 3,
                "missing": 1,
                "minimum": 0.1,
                "mean": 0.2,
                "maximum": 0.3,
                "lower_bound": None,
                "last": 0.2,
                "flags": ["instrument_fault"],
            }
        ],
        "flags": [],
        "position": None,
        "occupied": 1,
    }
    Draft202012Validator(SUMMARY.schema()).validate(told(first))
    assert reader.owed() == 8
    reader.acknowledge(first)
    assert reader.cursors()[Lane.SAMPLES].backlog == (Span(1, 1, 8),)
    reader.acknowledge(second_one)
    assert reader.owed() == 0
    assert reader.cursors()[Lane.SAMPLES] == Cursor(1, 8)


@pytest.mark.parametrize(
    ("readings", "maximum", "bound", "mean"),
    [
        ([dose_rate(5.0), dose_rate(None, 100.0, Flag.OVER_RANGE)], None, 100.0, None),
        ([dose_rate(None, 100.0), dose_rate(120.0)], None, 120.0, None),
        ([dose_rate(None), dose_rate(None)], None, None, None),
        ([dose_rate(1e-9), dose_rate(1e-9)], 1e-9, None, 1e-9),
        ([dose_rate(0.123456789)], 0.123456789, None, 0.123456789),
    ],
)
async def test_an_over_range_is_never_averaged_away(
    readings: list[Reading], maximum: float | None, bound: float | None, mean: float | None
) -> None:
    shelf, clock = Shelf(), Clock()
    reader = reader_of(shelf, REDUCED, clock)
    for reading in readings:
        body = sample("a", clock.mono, reading)
        shelf.append(Lane.SAMPLES, "detector/a/sample", body, clock.mono)
    reader.finish()
    (message,) = reader.take(10)
    (found,) = told(message)["readings"]
    assert (found["maximum"], found["lower_bound"], found["mean"]) == (maximum, bound, mean)
    assert found["count"] + found["missing"] == len(readings)


@pytest.mark.parametrize("policy", [REDUCED, BATCHES])
async def test_alarms_go_at_once_and_whole(policy: Policy) -> None:
    shelf, clock = Shelf(), Clock()
    reader = reader_of(shelf, policy, clock)
    shelf.append(Lane.SAMPLES, "detector/a/sample", sample("a", 1.0, dose_rate(1.0)), clock.mono)
    event = shelf.append(Lane.ALARMS, "alarm/event", b'{"event":1}', clock.mono)
    assert reader.take(10) == [event]


async def test_what_is_no_sample_goes_whole_where_samples_are_reduced() -> None:
    shelf, clock = Shelf(), Clock()
    reader = reader_of(shelf, REDUCED, clock)
    others = [
        shelf.append(Lane.SAMPLES, topic, body, clock.mono)
        for topic, body in (
            ("detector/a/passage", b'{"kind":"passage"}'),
            ("detector/a/watch", b"{}"),
            ("detector/a/sample", b'{"kind":"sample","readings":3}'),
            ("detector/a/sample", b'{"time":null,"readings":[{"channel":"dose_rate"}]}'),
        )
    ]
    assert reader.take(10) == others
    for message in others:
        reader.acknowledge(message)
    clock.mono += 10
    assert (reader.take(10), reader.owed()) == ([], 0)


async def test_a_batch_holds_whole_messages_and_stays_below_the_brokers_bound() -> None:
    shelf, clock = Shelf(), Clock()
    reader = reader_of(shelf, BATCHES, clock)
    bodies = [sample("a", second, dose_rate(1.0)) for second in range(300)]
    records = [shelf.append(Lane.SAMPLES, "detector/a/sample", body, clock.mono) for body in bodies]
    messages = await drained(reader)
    clock.mono += 10
    messages += await drained(reader)
    assert [key for message in messages for key in covered(message)] == [
        (1, record.seq) for record in records
    ]
    assert len(messages) < 50
    for message in messages:
        Draft202012Validator(BATCH.schema()).validate(told(message))
        assert 1_000 < len(prepend("north" * 6, message)) < BATCH_BYTES
    member = told(messages[0])["messages"][0]
    assert member == {"topic": "detector/a/sample", "message": told(records[0])}
    reader.limit_bytes(2_000)
    for body in bodies[:20]:
        shelf.append(Lane.SAMPLES, "detector/a/sample", body, clock.mono)
    messages = await drained(reader)
    clock.mono += 10
    messages += await drained(reader)
    assert len(messages) > 5
    assert all(500 < len(prepend("north" * 6, each)) < 2_000 for each in messages)


async def test_a_lone_message_is_no_batch() -> None:
    shelf, clock = Shelf(), Clock()
    reader = reader_of(shelf, BATCHES, clock)
    record = shelf.append(Lane.SAMPLES, "detector/a/sample", b"{}", clock.mono)
    assert reader.take(10) == []
    clock.mono += 10
    assert reader.take(10) == [record]


async def test_a_sink_without_samples_owes_none() -> None:
    shelf, clock = Shelf(), Clock()
    reader = reader_of(shelf, Policy("all"), clock)
    shelf.append_all(Lane.SAMPLES, [("detector/a/sample", b"{}")] * 5, clock.mono)
    shelf.note_progress()
    shelf.restart()
    reader = reader_of(shelf, Policy("none"), clock)
    shelf.append_all(Lane.SAMPLES, [("detector/a/passage", b"{}")] * 5, clock.mono)
    event = shelf.append(Lane.ALARMS, "alarm/event", b"{}", clock.mono)
    assert reader.take(10) == [event]
    assert reader.owed() == 1
    assert reader.cursors()[Lane.SAMPLES] == Cursor(2, 5)


@dataclass(slots=True)
class Play:
    """A sink with everything that may happen to it, and what it was told."""

    policy: Policy
    shelf: Shelf = field(default_factory=Shelf)
    clock: Clock = field(default_factory=Clock)
    out: list[Record] = field(default_factory=list)
    values: dict[Key, tuple[str, float | None]] = field(default_factory=dict)
    delivered: list[Record] = field(default_factory=list)
    taken: list[Record] = field(default_factory=list)
    losses: int = 0
    reader: SinkReader = field(init=False)

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        pace = Pace(live_records=40, backlog_per_s=1e9)
        self.reader = reader_of(self.shelf, self.policy, self.clock, pace)

    def say(self, detector: str, value: float | None) -> None:
        reading = dose_rate(value, 100.0 if value is None else None)
        body = sample(detector, self.clock.mono, reading)
        record = self.shelf.append(
            Lane.SAMPLES, f"detector/{detector}/sample", body, self.clock.mono
        )
        self.values[record.epoch, record.seq] = (detector, value)

    def pump(self, limit: int) -> None:
        taken = self.reader.take(limit)
        self.out += taken
        self.taken += taken

    def acknowledge(self, number: int) -> None:
        for message in self.out[:number]:
            self.reader.acknowledge(message)
            self.delivered.append(message)
        del self.out[:number]

    def lose(self) -> None:
        self.losses += 1
        self.out.clear()
        self.reader.rewind()

    def restart(self, *, orderly: bool) -> None:
        """A crash leaves the cursors as they were stored last."""
        self.losses += 1
        self.out.clear()
        if orderly:
            self.shelf.note_progress()
        self.shelf.restart()
        self.begin()

    async def end(self) -> None:
        self.reader.finish()
        self.acknowledge(len(self.out))
        for _ in range(3):
            messages = await drained(self.reader)
            self.delivered += messages
            self.taken += messages


STEPS: Final = st.one_of(
    st.tuples(
        st.just("say"),
        st.lists(
            st.tuples(
                st.sampled_from("abc"),
                st.one_of(st.none(), st.floats(0, 90, allow_subnormal=False)),
            ),
            max_size=30,
        ),
    ),
    st.tuples(st.just("pass"), st.sampled_from([0.02, 1.0, 3.0, 11.0])),
    st.tuples(st.just("pump"), st.integers(0, 6)),
    st.tuples(st.just("acknowledge"), st.integers(0, 6)),
    st.tuples(st.just("lose"), st.none()),
    st.tuples(st.just("restart"), st.booleans()),
    st.tuples(st.just("store"), st.none()),
)


async def played(policy: Policy, steps: Sequence[tuple[str, Any]]) -> Play:
    play = Play(policy)
    for name, argument in steps:
        match name:
            case "say":
                for detector, value in argument:
                    play.say(detector, value)
            case "pass":
                play.clock.mono += argument
            case "pump":
                play.pump(argument)
            case "acknowledge":
                play.acknowledge(argument)
            case "lose":
                play.lose()
            case "restart":
                play.restart(orderly=argument)
            case "store":
                play.shelf.note_progress()
        await turn()
    await play.end()
    return play


def check_summary(message: dict[str, Any], values: Sequence[float | None]) -> None:
    numbers = [value for value in values if value is not None]
    (found,) = message["readings"]
    assert (found["count"], found["missing"]) == (len(numbers), len(values) - len(numbers))
    assert found["minimum"] == min(numbers, default=None)
    assert found["last"] == values[-1]
    if len(numbers) < len(values):
        assert (found["maximum"], found["mean"], found["lower_bound"]) == (None, None, 100.0)
    else:
        assert (found["maximum"], found["lower_bound"]) == (max(numbers), None)
        assert found["mean"] == pytest.approx(sum(numbers) / len(numbers), rel=1e-5, abs=1e-12)


@pytest.mark.parametrize("policy", [REDUCED, BATCHES, Policy("all")], ids=lambda p: p.samples)
@settings(max_examples=150, deadline=None)
@given(steps=st.lists(STEPS, max_size=40))
def test_whatever_happens_all_of_it_arrives_in_order(
    policy: Policy, steps: list[tuple[str, Any]]
) -> None:
    play = asyncio.run(played(policy, steps))
    keys = [key for message in play.delivered for key in covered(message)]
    assert set(keys) == set(play.values)
    assert play.reader.owed() == 0
    assert max(Counter(keys).values(), default=0) <= 1 + play.losses
    if not play.losses:
        assert len(keys) == len(play.values)
        assert len(play.taken) == len(play.delivered)
    newest: dict[tuple[str, bool], Key] = {}
    seen: set[Key] = set()
    for message in play.taken:
        for key in covered(message):
            detector, _ = play.values[key]
            side = (detector, message.replayed)
            if key not in seen and not play.losses:
                assert newest.get(side, (0, 0)) < key
                newest[side] = key
            seen.add(key)
        if message.topic.endswith("summary"):
            check_summary(told(message), [play.values[key][1] for key in covered(message)])


async def test_a_loss_sends_the_same_bundles_again() -> None:
    shelf, clock = Shelf(), Clock()
    reader = reader_of(shelf, REDUCED, clock)
    for name in "abc":
        body = sample(name, 1.0, dose_rate(1.0))
        shelf.append(Lane.SAMPLES, f"detector/{name}/sample", body, clock.mono)
    assert reader.take(10) == []
    clock.mono += 10
    first, *others = reader.take(10)
    reader.acknowledge(first)
    reader.rewind()
    reader.rewind()
    assert [told(each) for each in reader.take(10)] == [told(each) for each in others]


async def test_what_is_told_late_says_so() -> None:
    for policy in (REDUCED, BATCHES):
        shelf, clock = Shelf(), Clock()
        reader = reader_of(shelf, policy, clock)
        body = sample("a", 1.0, dose_rate(1.0))
        shelf.append_all(Lane.SAMPLES, [("detector/a/sample", body)] * 2, clock.mono)
        assert reader.take(10) == []
        clock.mono += 30
        message = told(reader.take(10)[0])
        assert all(
            each["replayed"] for each in ([each["message"] for each in message.get("messages", ())])
        )
        assert message.get("replayed", policy is BATCHES)


async def test_a_link_that_carries_nothing_leaves_samples_on_the_disk() -> None:
    shelf, clock = Shelf(), Clock()
    reader = reader_of(shelf, REDUCED, clock)
    for second in range(100):
        clock.mono = 1000.0 + second
        body = sample("a", clock.mono, dose_rate(1.0))
        shelf.append(Lane.SAMPLES, "detector/a/sample", body, clock.mono)
        assert reader.take(0) == []
    reader.finish()
    messages = await drained(reader)
    assert sorted(key for each in messages for key in covered(each)) == [
        (1, number) for number in range(1, 101)
    ]
    assert shelf.reads


async def test_a_slow_link_leaves_samples_on_the_disk_and_reduces_them_later() -> None:
    shelf, clock = Shelf(), Clock()
    reader = reader_of(shelf, REDUCED, clock)
    for second in range(100):
        clock.mono = 1000.0 + second
        body = sample("a", clock.mono, dose_rate(1.0))
        shelf.append(Lane.SAMPLES, "detector/a/sample", body, clock.mono)
    messages = await drained(reader)
    clock.mono += 10
    messages += await drained(reader)
    assert sorted(key for each in messages for key in covered(each)) == [
        (1, number) for number in range(1, 101)
    ]
    assert len(messages) <= 12
    assert [each.replayed for each in messages].count(True) >= 9


async def test_a_summary_that_is_refused_leaves_its_samples_in_quarantine() -> None:
    shelf, clock = Shelf(), Clock()
    reader = reader_of(shelf, REDUCED, clock)
    for number in range(20):
        name = "ab"[number % 2]
        body = sample(name, 1.0, dose_rate(1.0))
        shelf.append(Lane.SAMPLES, f"detector/{name}/sample", body, clock.mono)
    assert reader.take(10) == []
    clock.mono += 10
    refused, other = reader.take(10)
    reader.refuse(refused, "no")
    reader.acknowledge(other)
    assert reader.owed() == 20
    await turn()
    assert [each.record.seq for each in shelf.refusals] == list(range(1, 20, 2))
    assert {each.record.topic for each in shelf.refusals} == {"detector/a/sample"}
    assert (reader.owed(), reader.refused) == (0, 10)


async def test_a_summary_whose_samples_cannot_be_read_is_kept_itself() -> None:
    shelf, clock = Shelf(), Clock()
    reader = reader_of(shelf, REDUCED, clock)
    shelf.append(Lane.SAMPLES, "detector/a/sample", sample("a", 1.0, dose_rate(1.0)), clock.mono)
    assert reader.take(10) == []
    clock.mono += 10
    (refused,) = reader.take(10)
    shelf.broken = True
    reader.refuse(refused, "no")
    await turn()
    assert [each.record.topic for each in shelf.refusals] == ["detector/a/summary"]
    assert reader.owed() == 0


async def test_a_batch_that_is_refused_goes_message_by_message() -> None:
    shelf, clock = Shelf(), Clock()
    reader = reader_of(shelf, BATCHES, clock)
    records = shelf.append_all(Lane.SAMPLES, [("detector/a/sample", b"{}")] * 4, clock.mono)
    assert reader.take(10) == []
    clock.mono += 10
    (batch,) = reader.take(10)
    reader.refuse(batch, "too large")
    assert shelf.refusals == []
    assert reader.take(10) == records
    reader.refuse(records[1], "no")
    for record in (records[0], *records[2:]):
        reader.acknowledge(record)
    assert [each.record for each in shelf.refusals] == [records[1]]
    assert reader.owed() == 0


async def test_a_summary_stands_for_a_bounded_number_of_samples() -> None:
    shelf, clock = Shelf(), Clock()
    reader = reader_of(shelf, REDUCED, clock)
    body = sample("a", 1.0, dose_rate(1.0))
    shelf.append_all(
        Lane.SAMPLES, [("detector/a/sample", body)] * (SUMMARY_SAMPLES + 1), clock.mono
    )
    (message,) = reader.take(10)
    assert told(message)["count"] == SUMMARY_SAMPLES


def test_what_was_lost_is_named() -> None:
    lost = LOST.encode(Lost(Lane.SAMPLES, 3, 5, 9, 5, "the journal was full", ("hall",)))
    assert lost["of_lane"] == "samples"
    for each in (lost, LOST.encode(Lost(Lane.SAMPLES, 3, None, None, 7, "slow disk"))):
        Draft202012Validator(LOST.schema()).validate(json.loads(dump(each)))
