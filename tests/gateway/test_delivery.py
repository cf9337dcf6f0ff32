"""The reading side of a sink: order, backlog, acknowledgement, rewind."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.delivery.reader import Pace, SinkReader, prepend
from gateway.documents import REVISIONS_AN_EPOCH, DocumentStore
from gateway.journal.journal import Journal
from gateway.journal.record import JournalLimits, Record
from gateway.journal.spans import Span
from gateway.publisher.window import CONVICT_AFTER, SUSPECT_AFTER, Suspicion
from gateway.values import Document, Entry, Instant, Lane

FAST = JournalLimits(group_s=0.001)
UNHURRIED = Pace(backlog_per_s=1e9)


class Clock:
    """Time that the test moves."""

    def __init__(self) -> None:
        self.mono = 1000.0

    def __call__(self) -> float:
        return self.mono

    def now(self) -> Instant:
        return Instant(1.8e9 + self.mono, self.mono)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def journal(tmp_path: Path, clock: Clock) -> AsyncIterator[Journal]:
    journal = await Journal.open(tmp_path, ["hall"], now=clock.now, limits=FAST)
    yield journal
    await journal.close()


def sample(number: int, lane: Lane = Lane.SAMPLES) -> Entry:
    return Entry(lane, f"detector/d{number % 3}/sample", b'{"n":%d}' % number)


def alarm(number: int) -> Entry:
    return Entry(Lane.ALARMS, "alarm/event", b'{"event":%d}' % number)


async def stored(journal: Journal, lane: Lane, number: int, reader: SinkReader) -> None:
    async with asyncio.timeout(10):
        while journal.newest()[lane] < number:
            await reader.wait()


async def drain(reader: SinkReader, number: int, limit: int = 18) -> list[Record]:
    """Takes and acknowledges until that many have come."""
    records: list[Record] = []
    async with asyncio.timeout(20):
        while len(records) < number:
            taken = reader.take(limit)
            for record in taken:
                reader.acknowledge(record)
            records += taken
            if not taken:
                await reader.wait()
    return records


async def test_alarms_overtake_samples(journal: Journal, clock: Clock) -> None:
    reader = SinkReader(journal, "hall", clock=clock)
    journal.append([sample(n) for n in range(100)])
    await stored(journal, Lane.SAMPLES, 100, reader)
    assert [record.seq for record in reader.take(10)] == list(range(1, 11))
    assert await journal.commit([alarm(1), alarm(2)])
    taken = reader.take(5)
    assert [(record.lane, record.seq) for record in taken] == [
        (Lane.ALARMS, 1),
        (Lane.ALARMS, 2),
        (Lane.SAMPLES, 11),
        (Lane.SAMPLES, 12),
        (Lane.SAMPLES, 13),
    ]
    assert reader.take(5, alarms_only=True) == []


async def test_late_samples_become_backlog_and_live_goes_first(
    journal: Journal, clock: Clock
) -> None:
    reader = SinkReader(journal, "hall", pace=UNHURRIED, clock=clock)
    journal.append([sample(n) for n in range(1, 3001)])
    await stored(journal, Lane.SAMPLES, 3000, reader)
    assert [record.seq for record in reader.take(3)] == [1, 2, 3]
    clock.mono += 2.5
    assert reader.take(1) == []
    journal.append([sample(n) for n in range(3001, 3011)])
    await stored(journal, Lane.SAMPLES, 3010, reader)
    taken = reader.take(10)
    assert [(record.seq, record.replayed) for record in taken] == [
        (seq, False) for seq in range(3001, 3011)
    ]
    reader.rewind()
    records = await drain(reader, 3010)
    assert sorted(record.seq for record in records) == list(range(1, 3011))
    replayed = [record.seq for record in records if record.replayed]
    assert replayed == list(range(1, 3001))
    assert [record.seq for record in records if not record.replayed] == list(range(3001, 3011))
    assert all(record.body == sample(record.seq).body for record in records)
    assert reader.owed() == 0


async def test_rewind_offers_again_in_order(journal: Journal, clock: Clock) -> None:
    reader = SinkReader(journal, "hall", clock=clock)
    journal.append([sample(n) for n in range(1, 31)])
    await stored(journal, Lane.SAMPLES, 30, reader)
    await journal.commit([alarm(n) for n in range(1, 6)])
    first = reader.take(20)
    for record in (first[1], first[7]):
        reader.acknowledge(record)
    reader.rewind()
    again = reader.take(100)
    assert [record.seq for record in again if record.lane is Lane.ALARMS] == [1, 3, 4, 5]
    assert [record.seq for record in again if record.lane is Lane.SAMPLES] == [
        seq for seq in range(1, 31) if seq != first[7].seq
    ]


async def test_rewind_while_a_backlog_drains_loses_nothing(journal: Journal, clock: Clock) -> None:
    reader = SinkReader(journal, "hall", pace=UNHURRIED, clock=clock)
    journal.append([sample(n) for n in range(1, 2001)])
    await stored(journal, Lane.SAMPLES, 2000, reader)
    clock.mono += 3
    seen: set[int] = set()
    rounds = outstanding = 0
    async with asyncio.timeout(20):
        while reader.owed():
            taken = reader.take(18)
            rounds += 1
            for number, record in enumerate(taken):
                if (number + rounds) % 3:
                    seen.add(record.seq)
                    reader.acknowledge(record)
                else:
                    outstanding += 1
            if outstanding and (rounds % 7 == 0 or not taken):
                reader.rewind()
                outstanding = 0
            elif not taken:
                await reader.wait()
    assert seen == set(range(1, 2001))


async def test_the_backlog_keeps_its_pace(journal: Journal, clock: Clock) -> None:
    reader = SinkReader(journal, "hall", pace=Pace(backlog_per_s=100.0), clock=clock)
    journal.append([sample(n) for n in range(1000)])
    await stored(journal, Lane.SAMPLES, 1000, reader)
    clock.mono += 3
    reader.take(18)
    await reader.wait()
    passed = 0
    for _ in range(200):
        clock.mono += 0.01
        for record in reader.take(18):
            reader.acknowledge(record)
            passed += 1
    assert 190 <= passed <= 210
    for record in reader.take(18):
        reader.acknowledge(record)
    delay_s = reader.delay_s()
    assert delay_s is not None
    assert 0 < delay_s < 0.05


async def test_a_restart_owes_what_was_not_acknowledged(tmp_path: Path, clock: Clock) -> None:
    journal = await Journal.open(tmp_path, ["hall"], now=clock.now, limits=FAST)
    reader = SinkReader(journal, "hall", clock=clock)
    journal.append([sample(n) for n in range(1, 101)])
    await stored(journal, Lane.SAMPLES, 100, reader)
    await journal.commit([alarm(n) for n in range(1, 11)])
    taken = reader.take(20)
    for record in taken[:15]:
        reader.acknowledge(record)
    await journal.close()

    journal = await Journal.open(tmp_path, ["hall"], now=clock.now, limits=FAST)
    reader = SinkReader(journal, "hall", pace=UNHURRIED, clock=clock)
    await journal.commit([alarm(99)])
    journal.append([sample(n) for n in range(101, 106)])
    await stored(journal, Lane.SAMPLES, 5, reader)
    assert reader.owed() == 95 + 1 + 5
    assert reader.owes_alarms
    records = await drain(reader, 101)
    alarms = [record for record in records if record.lane is Lane.ALARMS]
    assert [(record.epoch, record.seq) for record in alarms] == [(2, 1)]
    live = [record.seq for record in records if record.epoch == 2 and not record.lane.is_alarm]
    assert live == [1, 2, 3, 4, 5]
    old = [record for record in records if record.epoch == 1]
    assert [record.seq for record in old] == list(range(6, 101))
    assert all(record.replayed for record in old)
    await journal.close()


async def test_alarms_stay_in_order_when_they_exceed_memory(journal: Journal, clock: Clock) -> None:
    pace = Pace(alarm_records=10)
    reader = SinkReader(journal, "hall", pace=pace, clock=clock)
    for number in range(5):
        await journal.commit([alarm(number * 20 + each) for each in range(20)])
        if number == 1:
            reader.take(7)
            reader.rewind()
    assert reader.owed() == 100
    records = await drain(reader, 100)
    assert [record.seq for record in records] == list(range(1, 101))
    assert not reader.owes_alarms


async def test_refused_records_are_no_longer_owed(journal: Journal, clock: Clock) -> None:
    reader = SinkReader(journal, "hall", clock=clock)
    await journal.commit([alarm(1), alarm(2)])
    one, two = reader.take(5)
    reader.refuse(one, "no")
    reader.refuse(one, "no")
    reader.acknowledge(two)
    assert reader.refused == 1
    assert reader.owed() == 0
    reader.rewind()
    assert reader.take(5) == []


async def test_numbers_that_retention_took_are_given_up_and_counted(
    tmp_path: Path, clock: Clock
) -> None:
    limits = JournalLimits(group_s=0.001, max_bytes=2 * 1024 * 1024)
    journal = await Journal.open(tmp_path, ["hall"], now=clock.now, limits=limits)
    reader = SinkReader(journal, "hall", pace=UNHURRIED, clock=clock)
    noise = random.Random(1)  # the journal packs what repeats itself
    for done in range(1, 41):
        bodies = [b'{"pad":"%b"}' % noise.randbytes(1000).hex().encode() for _ in range(100)]
        journal.append([Entry(Lane.SAMPLES, "detector/a/sample", body) for body in bodies])
        await stored(journal, Lane.SAMPLES, done * 100, reader)
        clock.mono += 3
    assert journal.counters.shed > 0
    left = 4000 - journal.counters.shed
    records = await drain(reader, left + 1)
    assert reader.missing == journal.counters.shed
    assert records[0].topic == "lost"
    assert len({record.seq for record in records if record.lane is Lane.SAMPLES}) == left
    await journal.close()


async def test_what_is_owed_once_more_goes_in_its_place(journal: Journal, clock: Clock) -> None:
    reader = SinkReader(journal, "hall", pace=UNHURRIED, clock=clock)
    journal.append([sample(n) for n in range(1, 11)])
    await stored(journal, Lane.SAMPLES, 10, reader)
    for record in reader.take(7):
        reader.acknowledge(record)
    clock.mono += 3
    assert reader.take(5) == []  # from here on 8 to 10 are being read
    reader.owe(Lane.SAMPLES, [Span(1, 3, 4)])
    assert reader.owed() == 5
    records = await drain(reader, 5)
    assert [record.seq for record in records] == [3, 4, 8, 9, 10]
    assert reader.owed() == 0


def test_delivery_fields_come_first() -> None:
    record = Record(Lane.SAMPLES, 3, 12, "detector/a/sample", b'{"kind":"sample"}')
    assert prepend("north", record) == (
        b'{"schema":"dosegate/1","gateway":"north","lane":"samples","epoch":3,"seq":12,'
        b'"kind":"sample"}'
    )
    late = Record(Lane.ALARMS, 3, 1, "alarm/event", b"{}", replayed=True, durable=False)
    assert prepend("north", late) == (
        b'{"schema":"dosegate/1","gateway":"north","lane":"alarms","epoch":3,"seq":1,'
        b'"replayed":true,"durable":false}'
    )


def test_documents_carry_a_rising_revision_and_keep_their_own() -> None:
    store = DocumentStore("north", 2, ["hall"])
    store.put([Document("post/a", b'{"post":"a"}'), Document("post/b", b"{}")])
    first, second = store.feed("hall").take_others(5)
    assert first.payload == (
        b'{"schema":"dosegate/1","gateway":"north","revision":2000000001,"post":"a"}'
    )
    assert second.payload == b'{"schema":"dosegate/1","gateway":"north","revision":2000000002}'
    assert second.revision > first.revision > 2 * REVISIONS_AN_EPOCH
    store.put([Document("alarm/active/o", b'{"revision":7,"level":"R4"}')])
    (active,) = store.feed("hall").take_changed(5)
    assert active.payload == (
        b'{"schema":"dosegate/1","gateway":"north","revision":7,"level":"R4"}'
    )


def test_active_documents_and_removals_wait_in_their_own_places() -> None:
    removed: list[Document] = []
    store = DocumentStore("north", 1, ["hall", "centre"], removed=removed.extend)
    hall, centre = store.feed("hall"), store.feed("centre")
    store.put([Document("detector/a/state", b'{"state":"ok"}')])
    store.put([Document("alarm/active/o", b"{}", durable=True)])
    assert [held.document.topic for held in hall.take_changed(5)] == ["alarm/active/o"]
    ended = Document("alarm/active/o", b"", durable=True)
    store.put([ended])
    assert hall.take_active(5) == hall.take_changed(5) == []
    state, removal = hall.take_others(5)
    assert (removal.payload, removal.document) == (b"", ended)
    hall.settle(state)
    hall.settle(removal)
    assert removed == []
    hall.restart()
    assert [held.document.topic for held in hall.take_others(5)] == ["detector/a/state"]
    (_, late) = centre.take_others(5)
    centre.settle(late)
    assert removed == [ended]
    assert not [held for held in store.all() if held.document.topic == "alarm/active/o"]


def test_only_the_message_that_is_always_first_is_convicted() -> None:
    suspicion = Suspicion()
    for number in range(20):
        assert not suspicion.lost(number)
        assert not suspicion.lost(None)
    verdicts = [suspicion.lost("poison") for _ in range(SUSPECT_AFTER + CONVICT_AFTER)]
    assert verdicts == [False] * (SUSPECT_AFTER + CONVICT_AFTER - 1) + [True]
    assert not suspicion.isolating
    for _ in range(SUSPECT_AFTER):
        suspicion.lost("slow")
    assert suspicion.isolating
    suspicion.cleared("slow")
    assert not suspicion.isolating
