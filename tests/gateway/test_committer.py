"""States reach the journal in the order in which they were made, and nothing is told too early."""

import asyncio
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.committer import Committer
from gateway.documents import DocumentStore
from gateway.values import Document, Entry, Lane, Outputs


class SlowJournal:
    """A journal whose commits last until they are let through; ``states`` is what a start finds."""

    def __init__(self):
        self.states, self.appended, self.committed = {}, [], []
        self.pending = {}
        self.gate = asyncio.Event()
        self.is_stored = True
        self.waiting = 0

    def append(self, entries, states=()):
        self.appended += entries
        self.pending.update(states)

    async def commit(self, entries, documents=(), states=()):
        for key, _ in states:
            self.pending.pop(key, None)  # what is urgent is newer
        self.waiting += 1
        await self.gate.wait()
        self.waiting -= 1
        self.committed.append(list(entries))
        self.states.update(states)
        return self.is_stored

    def flush(self):
        if self.waiting:
            return  # a group never goes to disk before what is urgent and came first
        self.states.update(self.pending)
        self.pending.clear()


class Bench:
    def __init__(self):
        self.journal, self.documents = SlowJournal(), DocumentStore("north", 1, ["hall"])
        self.committer = Committer(self.journal, self.documents)

    def urgent(self, **states):
        return self.committer.take(Outputs((ALARM,), states=encoded(states), urgent=True))

    def plain(self, **states):
        return self.committer.take(Outputs((SAMPLE,), states=encoded(states)))


ALARM = Entry(Lane.ALARMS, "alarm/event", b"{}")
SAMPLE = Entry(Lane.SAMPLES, "detector/d/sample", b"{}")


def encoded(states):
    return tuple((key, str(value).encode()) for key, value in states.items())


async def turn():
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
async def bench():
    bench = Bench()
    task = asyncio.create_task(bench.committer.run())
    yield bench
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_an_older_urgent_state_does_not_overwrite_a_newer_one(bench):
    bench.urgent(other=1)
    await turn()  # the committer is busy with it
    bench.urgent(learned=1)
    bench.plain(learned=2)
    bench.journal.gate.set()
    await bench.committer.settled(5)
    bench.journal.flush()
    assert bench.journal.states["learned"] == b"2"


async def test_an_older_state_of_a_tick_does_not_overwrite_a_newer_urgent_one(bench):
    bench.plain(learned=1)
    bench.urgent(learned=2)
    bench.journal.gate.set()
    await bench.committer.settled(5)
    bench.journal.flush()
    assert bench.journal.states["learned"] == b"2"


KINDS = st.sampled_from(["urgent", "plain", "turn", "open", "shut", "flush"])


@given(st.lists(st.tuples(KINDS, st.sampled_from("ab")), max_size=30))
@settings(max_examples=200, deadline=None)
def test_the_newest_state_is_the_one_that_is_found(steps):
    async def play():
        bench = Bench()
        task = asyncio.create_task(bench.committer.run())
        newest, numbers = {}, itertools.count(1)
        for kind, key in steps:
            if kind in ("urgent", "plain"):
                newest[key] = next(numbers)
                getattr(bench, kind)(**{key: newest[key]})
            elif kind == "turn":
                await turn()
            elif kind == "flush":
                bench.journal.flush()
            elif kind == "open":
                bench.journal.gate.set()
            else:
                bench.journal.gate.clear()
        bench.journal.gate.set()
        await bench.committer.settled(5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        bench.journal.flush()
        assert bench.journal.states == dict(encoded(newest))

    asyncio.run(play())


async def test_documents_follow_their_commit_and_samples_do_not_wait(bench):
    document = Document("alarm/active/o", b"{}", durable=True)
    outputs = Outputs((SAMPLE, ALARM), (document,), urgent=True)
    stored = bench.committer.take(outputs)
    await turn()
    assert bench.journal.appended == [SAMPLE]
    assert not list(bench.documents.all())
    assert not stored.done()
    bench.journal.gate.set()
    await stored
    assert [held.document for held in bench.documents.all()] == [document]
    assert bench.journal.committed == [[ALARM]]


async def test_what_the_disk_does_not_take_is_told_all_the_same(bench):
    bench.journal.is_stored = False
    stored = bench.urgent()
    bench.journal.gate.set()
    await stored
    assert bench.committer.is_moving
