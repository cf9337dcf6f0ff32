"""Records that a consumer asked for again; and what a sink carries, seen behind a real broker."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from config.models import Sink
from drivers.api import Channel, Reading
from gateway.delivery.reader import Pace, Policy, SinkReader
from gateway.delivery.resend import RESEND_RECORDS, RESEND_SPANS
from gateway.documents import DocumentStore
from gateway.journal.journal import Journal
from gateway.journal.record import JournalLimits, Record
from gateway.journal.spans import Span
from gateway.publisher.publisher import Publisher
from gateway.publisher.values import Roots
from gateway.values import Entry, Instant, Lane, Measured
from gateway.wire.samples import SAMPLE, Told
from simulators.broker import Broker, Message

LIMITS = JournalLimits(group_s=0.001)
UNHURRIED = Pace(backlog_per_s=1e9)
HOME = "dosegate/v1/north/"


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    journal = await Journal.open(tmp_path, ["hall", "centre"], limits=LIMITS)
    yield journal
    await journal.close()


def sample(number: int) -> Entry:
    at = Instant(1.8e9 + number, float(number))
    reading = Reading(Channel.DOSE_RATE, float(number), "uSv/h")
    body = SAMPLE.text(Told(Measured(f"d{number % 3}", at, at, (reading,)))).encode()
    return Entry(Lane.SAMPLES, f"detector/d{number % 3}/sample", body)


def alarm(number: int) -> Entry:
    return Entry(Lane.ALARMS, "alarm/event", b'{"event":%d}' % number)


async def taken(reader: SinkReader, number: int, limit: int = 18) -> list[Record]:
    """Takes and acknowledges until that many have come."""
    records: list[Record] = []
    async with asyncio.timeout(20):
        while len(records) < number:
            few = reader.take(limit)
            for record in few:
                reader.acknowledge(record)
            records += few
            if not few:
                await reader.wait()
    return records


def numbers(records: list[Record]) -> list[int]:
    return [record.seq for record in records]


async def test_a_span_is_sent_again_without_touching_what_is_owed(journal: Journal) -> None:
    reader = SinkReader(journal, "hall", pace=UNHURRIED)
    await journal.commit([alarm(number) for number in range(1, 11)])
    await taken(reader, 10)
    cursors = reader.cursors()
    assert reader.resend(Lane.ALARMS, Span(1, 3, 5))
    await journal.commit([alarm(11)])
    records = await taken(reader, 4)
    assert numbers(records) == [11, 3, 4, 5]
    assert [record.replayed for record in records] == [False, True, True, True]
    assert reader.cursors()[Lane.SAMPLES] == cursors[Lane.SAMPLES]
    assert reader.cursors()[Lane.ALARMS].acknowledged == 11
    assert reader.take(10) == []


async def test_what_is_owed_stays_owed_when_it_is_sent_again_as_well(journal: Journal) -> None:
    reader = SinkReader(journal, "hall", pace=UNHURRIED)
    await journal.commit([alarm(1), alarm(2)])
    owed = reader.take(10)
    assert reader.resend(Lane.ALARMS, Span(1, 1, 2))
    again = await taken(reader, 2)
    assert numbers(again) == numbers(owed) == [1, 2]
    assert reader.owed() == 2
    for record in owed:
        reader.acknowledge(record)
    assert reader.owed() == 0


async def test_which_of_two_was_acknowledged_is_known(journal: Journal) -> None:
    reader = SinkReader(journal, "hall", pace=Pace(live_age_s=-1.0, backlog_per_s=1e9))
    journal.append([sample(1)])
    while not (owed := reader.take(5)):
        await reader.wait()
    assert reader.resend(Lane.SAMPLES, Span(1, 1, 1))
    while not (again := reader.take(5)):
        await reader.wait()
    assert numbers(owed) == numbers(again) == [1]
    reader.acknowledge(again[0])
    assert reader.owed() == 1
    assert reader.resend(Lane.SAMPLES, Span(1, 1, 1))
    while not (again := reader.take(5)):
        await reader.wait()
    reader.acknowledge(owed[0])
    assert reader.owed() == 0
    reader.rewind()
    assert numbers(await taken(reader, 1)) == [1]


async def test_a_loss_sends_what_was_asked_for_again(journal: Journal) -> None:
    reader = SinkReader(journal, "hall", pace=UNHURRIED)
    await journal.commit([alarm(number) for number in range(1, 6)])
    await taken(reader, 5)
    assert reader.resend(Lane.ALARMS, Span(1, 1, 5))
    while not (out := reader.take(3)):
        await reader.wait()
    reader.acknowledge(out[0])
    reader.rewind()
    assert numbers(await taken(reader, 4)) == [2, 3, 4, 5]


async def test_what_was_asked_for_has_half_the_room_beside_a_backlog(journal: Journal) -> None:
    reader = SinkReader(journal, "hall", pace=Pace(live_age_s=-1.0, backlog_per_s=1e9))
    await journal.commit([alarm(number) for number in range(1, 51)])
    await taken(reader, 50)
    journal.append([sample(number) for number in range(1, 51)])
    async with asyncio.timeout(10):
        while reader.owed() < 50:
            await reader.wait()
    assert reader.resend(Lane.ALARMS, Span(1, 1, 50))
    assert reader.take(18) == []
    await journal.read(Lane.ALARMS, Span(1, 1, 1), 1)  # by then what it reads for both is there
    records = await taken(reader, 100)
    first = [record.lane for record in records[:60]]
    assert min(first.count(Lane.ALARMS), first.count(Lane.SAMPLES)) >= 15


async def test_what_is_kept_is_counted(journal: Journal) -> None:
    reader = SinkReader(journal, "hall")
    await journal.commit([alarm(number) for number in range(1, 6)])
    journal.append([sample(number) for number in range(1, 1201)])
    while journal.newest()[Lane.SAMPLES] < 1200:
        await reader.wait()
    assert await reader.count_kept(Lane.ALARMS, Span(1, 3, 20)) == 3
    assert await reader.count_kept(Lane.SAMPLES, Span(1, 101, 1200)) == 1100
    assert await reader.count_kept(Lane.SAMPLES, Span(7, 1, 10)) == 0


async def test_numbers_that_are_gone_are_passed_over(journal: Journal) -> None:
    reader = SinkReader(journal, "hall", pace=UNHURRIED)
    await journal.commit([alarm(1)])
    await taken(reader, 1)
    assert reader.resend(Lane.ALARMS, Span(1, 5, 9))
    assert reader.resend(Lane.ALARMS, Span(1, 1, 1))
    assert numbers(await taken(reader, 1)) == [1]


async def test_too_much_at_once_is_declined(journal: Journal) -> None:
    reader = SinkReader(journal, "hall")
    for number in range(RESEND_SPANS):
        assert reader.resend(Lane.ALARMS, Span(1, 2 * number + 1, 2 * number + 1))
    assert not reader.resend(Lane.ALARMS, Span(1, 1, 9_999_999))
    record = Record(Lane.ALARMS, 1, 1, "alarm/event", b"{}")
    assert reader.resend_records([record] * RESEND_RECORDS)
    assert not reader.resend_records([record])


async def test_records_that_were_looked_up_go_in_their_order(journal: Journal) -> None:
    reader = SinkReader(journal, "hall", pace=UNHURRIED)
    found = [Record(Lane.ALARMS, 1, seq, "alarm/event", b"{}") for seq in (9, 4, 7)]
    assert reader.resend_records(found)
    records = await taken(reader, 3)
    assert numbers(records) == [9, 4, 7]
    assert all(record.replayed for record in records)


async def test_a_refusal_of_what_was_asked_for_leaves_no_trace(journal: Journal) -> None:
    reader = SinkReader(journal, "hall", pace=UNHURRIED)
    assert reader.resend_records([Record(Lane.ALARMS, 1, 1, "alarm/event", b"{}")])
    (record,) = reader.take(5)
    reader.refuse(record, "no")
    assert (reader.refused, reader.owed(), reader.take(5)) == (0, 0, [])


async def test_a_sink_that_is_away_costs_the_others_nothing(journal: Journal) -> None:
    away = SinkReader(journal, "hall", pace=Pace(live_records=20))
    there = SinkReader(journal, "centre")
    for number in range(1, 101):
        journal.append([sample(number)])
        await journal.commit([alarm(number)])
        for record in there.take(50):
            there.acknowledge(record)
    await taken(there, there.owed())
    assert there.owed() == 0
    assert away.owed() == 200
    assert away.cursors()[Lane.SAMPLES].acknowledged >= 80


async def test_two_sinks_share_what_they_carry(journal: Journal) -> None:
    one, other = SinkReader(journal, "hall"), SinkReader(journal, "centre")
    await journal.commit([alarm(1)])
    assert one.take(1)[0] is other.take(1)[0]


@asynccontextmanager
async def feed(directory: Path, port: int, policy: Policy) -> AsyncIterator[Journal]:
    """A sink to a broker; the end of the block is an orderly stop."""
    sink = Sink(id="hall", brokers=(f"mqtt://127.0.0.1:{port}",))
    journal = await Journal.open(directory, ["hall"], limits=LIMITS)
    reader = SinkReader(journal, "hall", pace=UNHURRIED, policy=policy)
    documents = DocumentStore("north", journal.epoch, ["hall"])
    publisher = Publisher(
        sink,
        reader,
        documents,
        "north",
        Roots("dosegate/v1", "dosegate-exercise/v1"),
        lambda state: b'{"kind":"status","state":"%b"}' % state.encode(),
        random=Random(1),
    )
    task = asyncio.create_task(publisher.run(), name="publisher")
    try:
        yield journal
    finally:
        await journal.commit(())
        publisher.stop()
        async with asyncio.timeout(10):
            await task
        assert publisher.owed() == 0
        reader.close()
        await journal.close()


def covered(message: dict[str, Any]) -> list[int]:
    if message["kind"] == "batch":
        return [each["message"]["seq"] for each in message["messages"]]
    if message["kind"] == "summary":
        seqs = [message["first"]]
        for step in message["steps"]:
            seqs.append(seqs[-1] + step)
        return seqs
    return [message["seq"]]


@pytest.mark.parametrize(
    ("samples", "ending", "fewest"), [("reduced", "/summary", 3), ("batch", "/batch", 2)]
)
async def test_a_poor_link_gets_every_number_in_few_messages(
    tmp_path: Path, samples: str, ending: str, fewest: int
) -> None:
    heard: list[Message] = []
    async with Broker() as broker:
        broker.subscribe(heard.append, HOME + "#")
        async with feed(tmp_path, broker.port, Policy(samples, 600.0)) as journal:
            for number in range(1, 91):
                journal.append([sample(number)])
                if number % 30 == 0:
                    await journal.commit([alarm(number)])
            await broker.until(lambda: sum("/event" in each.topic for each in heard) == 3)
            broker.cut()
            await broker.until(lambda: broker.statistics.connections > 1 and bool(broker.clients))
    found = [json.loads(each.payload) for each in heard if each.topic.endswith(ending)]
    assert sorted({seq for message in found for seq in covered(message)}) == list(range(1, 91))
    assert fewest <= len(found) <= 20
    assert not any(each.topic.endswith("/sample") for each in heard)


async def test_a_batch_that_the_broker_refuses_comes_message_by_message(tmp_path: Path) -> None:
    heard: list[Message] = []
    async with Broker() as broker:
        broker.refuse(HOME + "batch")
        broker.subscribe(heard.append, HOME + "detector/+/sample")
        async with feed(tmp_path, broker.port, Policy("batch", 600.0)) as journal:
            journal.append([sample(number) for number in range(1, 31)])
    assert sorted(json.loads(each.payload)["seq"] for each in heard) == list(range(1, 31))
