"""What a consumer makes of the feed, against a few lines that work it out another way."""

import ast
import hashlib
import json
import sys
from itertools import pairwise, permutations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.consumer import consumer as module
from gateway.consumer.consumer import Consumer
from gateway.consumer.numbers import RANGES, Ranges
from gateway.consumer.values import Kind

ROOT, EXERCISE = "dosegate/v1", "dosegate-exercise/v1"
TAKEN_NOT = {Kind.DUPLICATE, Kind.MALFORMED}


def packed(**body):
    return json.dumps({"schema": "dosegate/1", "gateway": "north", **body}).encode()


def digest(**alarms):
    lines = sorted(f"{occurrence}:{revision}" for occurrence, revision in alarms.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


class Feed:
    """One gateway as its consumer hears it."""

    def __init__(self, consumer=None):
        self.consumer = consumer or Consumer()
        self.now = 1000.0
        self.findings = []
        self.beats = 0
        self.revision = 0

    def send(self, topic, payload, *, retained=False, root=ROOT):
        found = self.consumer.feed(f"{root}/north/{topic}", payload, retained, self.now)
        self.findings += found
        return found

    def record(self, lane, epoch, seq, *, kind="x", **more):
        root = EXERCISE if lane.startswith("exercise") else ROOT
        payload = packed(lane=lane, epoch=epoch, seq=seq, kind=kind, **more)
        found = self.send("some/topic", payload, root=root)
        return not TAKEN_NOT & {each.kind for each in found}

    def beat(self, epoch, newest, alarms=()):
        self.beats += 1
        return self.send(
            "heartbeat",
            packed(number=self.beats, epoch=epoch, newest=newest, digest=digest(**dict(alarms))),
        )

    def status(self, epoch, state="online", previous=(), revision=None):
        self.revision += 1
        return self.send(
            "status",
            packed(
                state=state,
                epoch=epoch,
                previous=dict(previous),
                revision=self.revision if revision is None else revision,
            ),
            retained=True,
        )

    def alarm(self, occurrence, revision, *, root=ROOT, **body):
        body = packed(kind="alarm", occurrence=occurrence, revision=revision, **body)
        return self.send(f"alarm/active/{occurrence}", body, retained=True, root=root)

    def over(self, occurrence, root=ROOT):
        return self.send(f"alarm/active/{occurrence}", b"", root=root)

    def wait(self, seconds):
        found = []
        for _ in range(int(seconds)):
            self.now += 1
            found += self.consumer.tick(self.now)
        self.findings += found
        return found

    @property
    def gateway(self):
        return self.consumer.gateways["north"]

    def missing(self):
        return {
            (lane, epoch, seq)
            for lane, epoch, (first, last) in self.gateway.gaps()
            for seq in range(first, last + 1)
        }

    def told(self, kind):
        return [each for each in self.findings if each.kind is kind]


def numbers(ranges):
    return {number for first, last in ranges for number in range(first, last + 1)}


@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(1, 60), st.integers(0, 12)),
        max_size=40,
    )
)
def test_ranges_are_sets(steps):
    ranges, plain = Ranges(), set()
    for is_added, first, length in steps:
        these = set(range(first, first + length))
        if is_added:
            ranges.add(first, first + length - 1)
            plain |= these
        else:
            assert numbers(ranges.remove(first, first + length - 1)) == plain & these
            plain -= these
    assert numbers(ranges) == plain
    assert ranges.total() == len(plain)
    assert all(one[1] + 1 < after[0] for one, after in pairwise(ranges))


LANES = ("alarms", "exercise-samples")


@st.composite
def stories(draw):
    """Counts of each lane by epoch, and what of it arrives in which order, with duplicates."""
    counts = draw(st.lists(st.tuples(*[st.integers(0, 12)] * 2), min_size=1, max_size=4))
    everything = [
        (lane, epoch, seq)
        for epoch, each in enumerate(counts, 1)
        for lane, count in zip(LANES, each, strict=True)
        for seq in range(1, count + 1)
    ]
    dropped = draw(st.sets(st.sampled_from(everything))) if everything else set()
    twice = draw(st.lists(st.sampled_from(everything), max_size=10)) if everything else []
    came = [each for each in (*everything, *twice) if each not in dropped]
    marks = [("status", epoch, 0) for epoch in range(1, len(counts) + 1)]
    order = draw(st.permutations([*came, *marks]))
    statuses = iter(marks)
    return counts, everything, [next(statuses) if e[0] == "status" else e for e in order]


def play(feed, counts, order):
    taken = []
    for lane, epoch, seq in order:
        if lane == "status":
            before = counts[epoch - 2] if epoch > 1 else ()
            feed.status(epoch, previous=dict(zip(LANES, before, strict=False)))
        elif feed.record(lane, epoch, seq):
            taken.append((lane, epoch, seq))
    feed.beat(len(counts), dict(zip(LANES, counts[-1], strict=True)))
    return taken


@settings(max_examples=300, deadline=None)
@given(stories())
def test_gaps_are_what_is_missing_and_heal(story):
    counts, everything, order = story
    feed = Feed()
    feed.beat(1, dict.fromkeys(LANES, 0))
    taken = play(feed, counts, order)
    feed.wait(11)
    assert sorted(taken) == sorted({each for each in order if each[0] != "status"})
    assert feed.missing() == set(everything) - set(taken)
    for _ in range(40):
        feed.beat(len(counts), {})
        for ask in feed.consumer.requests(feed.now):
            for seq in range(ask.first, ask.last + 1):
                if feed.record(ask.lane, ask.epoch, seq, replayed=True):
                    taken.append((ask.lane, ask.epoch, seq))
        feed.wait(16)
    assert feed.missing() == set()
    assert sorted(taken) == sorted(everything)
    assert not feed.told(Kind.GIVEN_UP)
    assert not feed.told(Kind.MALFORMED)
    old = [each for each in feed.gateway.streams if each[1] < len(counts)]
    assert not old, "complete epochs are forgotten"
    assert all(not feed.record(*each) for each in everything), "and still known as complete"


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 20), st.permutations(range(1, 31)), st.integers(0, 30))
def test_who_joins_late_misses_only_what_came_since(base, order, kept):
    """Numbers from before are taken once when they come, and never missed."""
    feed = Feed()
    feed.beat(7, {"samples": base})
    came = order[:kept]
    assert all(feed.record("samples", 7, seq) for seq in came)
    assert not any(feed.record("samples", 7, seq) for seq in came)
    newest = max([base, *came])
    assert feed.missing() == {("samples", 7, s) for s in range(base + 1, newest)} - {
        ("samples", 7, s) for s in came
    }


def test_a_backlog_that_is_draining_is_no_gap():
    feed = Feed()
    assert feed.record("samples", 3, 500, replayed=True)
    assert feed.record("samples", 3, 90_000)
    assert feed.record("samples", 3, 501, replayed=True)
    assert feed.record("samples", 2, 17, replayed=True)
    assert not feed.record("samples", 2, 17, replayed=True)
    assert feed.missing() == set()
    late = [(each.epoch, each.first) for each in feed.told(Kind.LATE)]
    assert late == [(3, 500), (3, 501), (2, 17)]


def joined(**newest):
    feed = Feed()
    feed.status(1)
    feed.beat(1, newest or {"alarms": 0, "samples": 0})
    feed.consumer.tick(feed.now)
    return feed


def test_gaps_are_told_once_and_so_is_their_end():
    feed = joined()
    for seq in (1, 2, 6, 9):
        feed.record("alarms", 1, seq)
    assert feed.wait(1) == []
    told = [(each.kind, each.first, each.last) for each in feed.wait(5)]
    assert told == [(Kind.GAP, 3, 5), (Kind.GAP, 7, 8)]
    assert feed.wait(5) == []
    for seq in (4, 3, 5, 7):
        feed.record("alarms", 1, seq, replayed=True)
    assert not feed.told(Kind.FILLED)
    assert feed.wait(5) == []
    feed.record("alarms", 1, 8)
    assert len(feed.told(Kind.FILLED)) == 1


def test_what_the_heartbeat_counts_is_missed():
    feed = joined()
    feed.record("alarms", 1, 1)
    feed.beat(1, {"alarms": 4, "samples": 0})
    assert feed.missing() == set(), "it may be on its way"
    feed.wait(11)
    assert feed.missing() == {("alarms", 1, 2), ("alarms", 1, 3), ("alarms", 1, 4)}


def test_requests_are_joined_limited_and_given_up():
    feed = joined()
    for seq in (5, 7, 200, 400):
        feed.record("alarms", 1, seq)
    assert feed.consumer.requests(feed.now) == []
    feed.wait(3)
    asked = [(each.first, each.last) for each in feed.consumer.requests(feed.now)]
    assert asked == [(1, 399)], "over small holes"
    assert feed.consumer.requests(feed.now) == []
    times = []
    for _ in range(240):
        feed.beat(1, {})
        feed.wait(1)
        times += [feed.now - 1003.0] * bool(feed.consumer.requests(feed.now))
    assert times == [15.0, 45.0, 105.0]
    assert sum(e.last - e.first + 1 for e in feed.told(Kind.GIVEN_UP)) == 396
    assert feed.missing() == set()
    assert feed.record("alarms", 1, 3), "it is taken if it comes all the same"


def answer(feed, first, last, reason, *, accepted=True):
    asked = {"lane": "alarms", "epoch": 1, "first": first, "last": last}
    more = {"name": "resend", "arguments": asked, "accepted": accepted, "reason": reason}
    feed.record("exercise-alarms", 1, 1, kind="answer", **more)


def test_what_is_no_longer_kept_is_given_up():
    feed = joined()
    feed.record("alarms", 1, 10)
    feed.wait(3)
    assert feed.consumer.requests(feed.now)
    answer(feed, 1, 5, "0 sent again, 5 no longer kept")
    assert [(each.first, each.last) for each in feed.told(Kind.GIVEN_UP)] == [(1, 5)]
    assert feed.missing() == {("alarms", 1, seq) for seq in range(6, 10)}


def test_what_is_kept_in_part_is_waited_for_first():
    feed = joined()
    feed.record("alarms", 1, 10)
    feed.wait(3)
    assert feed.consumer.requests(feed.now)
    answer(feed, 1, 9, "3 sent again, 6 no longer kept")
    for seq in (7, 8, 9):
        assert feed.record("alarms", 1, seq, replayed=True)
    feed.wait(10)
    assert feed.missing() == {("alarms", 1, seq) for seq in range(1, 7)}
    feed.wait(10)
    assert feed.missing() == set()
    assert [(each.first, each.last) for each in feed.told(Kind.GIVEN_UP)] == [(1, 6)]


def test_a_refusal_gives_nothing_up():
    feed = joined()
    feed.record("alarms", 1, 10)
    answer(feed, 1, 9, "too much is being sent again already", accepted=False)
    assert len(feed.missing()) == 9
    feed.record("samples", 1, 25_001)
    feed.wait(11)
    feed.beat(1, {})
    asked = [(e.first, e.last) for e in feed.consumer.requests(feed.now) if e.lane == "samples"]
    assert asked == [(1, 10_000), (10_001, 20_000), (20_001, 25_000)], "as much as it sends"


def test_nothing_is_asked_of_a_gateway_that_is_not_there():
    feed = joined()
    feed.record("alarms", 1, 9)
    feed.wait(31)
    assert feed.consumer.requests(feed.now) == []


def test_lost_records_are_explained():
    feed = joined()
    feed.record("samples", 1, 1)
    feed.record("samples", 1, 10)
    lost = {"of_lane": "samples", "of_epoch": 1, "reason": "no room", "sinks": ["a"]}
    feed.record("alarms", 1, 1, kind="lost", **lost, first=4, last=12, count=9)
    assert feed.missing() == {("samples", 1, 2), ("samples", 1, 3)}
    (told,) = feed.told(Kind.LOST)
    assert told.detail == "9 deleted: no room; 8 of them had not come"
    assert feed.record("samples", 1, 13)
    assert feed.missing() == {("samples", 1, 2), ("samples", 1, 3)}
    assert feed.record("samples", 1, 12), "another sink was owed it, this one was not"
    feed.record("alarms", 1, 2, kind="lost", **lost, first=None, last=None, count=3)
    assert feed.told(Kind.LOST)[1].detail == "3 deleted: no room"


def summary(feed, numbers, **more):
    steps = [after - before for before, after in pairwise(numbers)]
    body = {"first": numbers[0], "last": numbers[-1], "count": len(numbers), "steps": steps}
    head = {"kind": "summary", "lane": "samples", "epoch": 1, "detector": "a"}
    found = feed.send("detector/a/summary", packed(**head, **body, **more))
    return not TAKEN_NOT & {each.kind for each in found}


def test_summaries_stand_for_samples():
    feed = joined()
    assert summary(feed, [1, 4, 7])
    assert summary(feed, [2, 5, 8])
    assert feed.missing() == {("samples", 1, 3), ("samples", 1, 6)}
    assert not summary(feed, [2, 5, 8])
    assert feed.record("samples", 1, 4, replayed=True), "the whole one says more"
    assert not feed.record("samples", 1, 4, replayed=True)
    assert feed.record("samples", 1, 9), "a passage"
    feed.wait(300)
    assert not feed.told(Kind.GAP), "the rest may come with another window"
    assert summary(feed, [3, 6])
    assert feed.missing() == set()


def test_batches_carry_messages():
    feed = joined()
    messages = [
        {
            "topic": "detector/a/sample",
            "message": json.loads(packed(lane="samples", epoch=1, seq=s)),
        }
        for s in (1, 2, 4)
    ]
    feed.send("batch", packed(kind="batch", messages=messages))
    assert feed.missing() == {("samples", 1, 3)}
    found = feed.send("batch", packed(kind="batch", messages=messages))
    assert [each.kind for each in found] == [Kind.DUPLICATE] * 3
    feed.wait(300)
    assert not feed.told(Kind.GAP), "the rest may come with another batch"


def test_lanes_that_a_sink_does_not_send_are_not_missed():
    feed = Feed(Consumer(followed=("alarms",)))
    feed.beat(1, {"alarms": 0, "samples": 0})
    feed.beat(1, {"alarms": 1, "samples": 100})
    feed.record("alarms", 1, 1)
    feed.wait(60)
    assert feed.missing() == set()


def test_an_end_that_nobody_told_is_said_to_be_unknown():
    feed = joined()
    feed.record("alarms", 1, 5)
    feed.status(4, previous={"alarms": 7, "samples": 2})
    unknown = {(each.lane, each.epoch, each.first) for each in feed.told(Kind.END_UNKNOWN)}
    ends = {("alarms", 1, 6), ("samples", 1, 1)}
    assert unknown == ends | {(lane, 2, 1) for lane in ("alarms", "samples")}
    assert {each for each in feed.missing() if each[1] == 3} == {
        *(("alarms", 3, seq) for seq in range(1, 8)),
        ("samples", 3, 1),
        ("samples", 3, 2),
    }


# ------------------------------------------------------------------ the active set


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 9), st.booleans()), max_size=6))
def test_every_order_gives_the_same_active_set(documents):
    """The highest revision of each; what was emptied once is closed."""
    found = set()
    for order in list(permutations(documents))[:120]:
        feed = Feed()
        for occurrence, revision, is_closed in order:
            feed.over(occurrence) if is_closed else feed.alarm(occurrence, revision)
        gateway = feed.consumer.gateways.get("north")
        alarms = gateway.alarms() if gateway else []
        found.add(frozenset((a.body["occurrence"], a.revision) for a in alarms))
    closed = {name for name, _, is_closed in documents if is_closed}
    kept = sorted((name, number) for name, number, _ in documents if name not in closed)
    assert found == {frozenset(dict(kept).items())}


def test_exercise_and_operational_are_kept_apart():
    feed = joined()
    feed.alarm("a", 1)
    feed.alarm("b", 2, root=EXERCISE)
    assert [each.body["occurrence"] for each in feed.gateway.alarms()] == ["a"]
    assert [each.body["occurrence"] for each in feed.gateway.alarms(exercise=True)] == ["b"]
    feed.beat(1, {}, {"a": 1, "b": 2})
    assert feed.gateway.differs_since is None
    assert feed.consumer.feed(f"{EXERCISE}/north/x", packed(lane="alarms", epoch=1, seq=1), 0, 0)


def test_another_set_than_the_gateways_is_told_after_a_while():
    feed = joined()
    feed.alarm("a", 1)
    feed.beat(1, {}, {"a": 2})
    assert not feed.wait(9)
    feed.alarm("a", 2)
    assert not feed.wait(100) or not feed.told(Kind.RESUBSCRIBE)
    feed.beat(1, {}, {"a": 2, "b": 1})
    feed.wait(31)
    assert len(feed.told(Kind.RESUBSCRIBE)) == 1


def test_what_was_removed_while_nobody_listened_is_taken_out_by_the_digest():
    feed = joined()
    feed.alarm("a", 1)
    feed.alarm("b", 1)
    feed.consumer.connected()
    feed.alarm("b", 1)
    assert [feed.gateway.mark(each, feed.now) for each in feed.gateway.alarms()] == [
        "stale",
        "current",
    ]
    feed.beat(1, {}, {"b": 1})
    assert [each.body["occurrence"] for each in feed.gateway.alarms()] == ["b"]
    assert [each.detail for each in feed.told(Kind.ALARM_OVER)] == ["a"]


def test_a_removal_comes_before_an_old_copy():
    feed = joined()
    feed.alarm("a", 3)
    feed.over("a")
    feed.alarm("a", 2)
    assert feed.gateway.alarms() == []


# ------------------------------------------------------------------ gateways


def test_a_dead_gateways_alarm_is_unknown():
    feed = joined()
    feed.alarm("a", 1, stale=False)
    feed.alarm("b", 1, stale=True)
    marks = [feed.gateway.mark(each, feed.now) for each in feed.gateway.alarms()]
    assert marks == ["current", "stale"]
    assert not feed.wait(30)
    (silent,) = feed.wait(1)
    assert (silent.kind, silent.detail) == (Kind.GATEWAY, "unknown")
    marks = [feed.gateway.mark(each, feed.now) for each in feed.gateway.alarms()]
    assert marks == ["unknown", "unknown"]
    feed.beat(1, {})
    assert [each.detail for each in feed.wait(1)] == ["online"]


@pytest.mark.parametrize("state", ["lost", "stopping"])
def test_the_status_says_so_at_once_and_the_next_start_takes_it_back(state):
    feed = joined()
    feed.status(1, state)
    assert feed.gateway.state(feed.now) == state
    feed.status(1, "online", revision=0)
    assert feed.gateway.state(feed.now) == state, "an older document"
    feed.beat(2, {})
    assert feed.gateway.state(feed.now) == "online"


def test_a_gateway_said_to_be_lost_that_speaks_is_asked_anew():
    feed = joined()
    feed.status(1, "lost")
    for _ in range(4):
        feed.beat(1, {})
        feed.wait(10)
    assert feed.told(Kind.RESUBSCRIBE)


def test_a_retained_status_is_no_sign_of_life():
    feed = Feed()
    feed.status(1)
    assert feed.gateway.state(feed.now) == "unknown"
    feed.send("heartbeat", packed(number=1, epoch=1, newest={}, digest=""), retained=True)
    assert feed.gateway.state(feed.now) == "unknown"


def test_an_old_heartbeat_is_no_sign_of_life():
    feed = joined()
    feed.beat(2, {})
    feed.wait(31)
    feed.beat(1, {})
    feed.beats = 0
    feed.beat(2, {})
    assert feed.gateway.state(feed.now) == "unknown"


# ------------------------------------------------------------------ anything at all

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
KEYS = (
    "lane", "epoch", "seq", "revision", "kind", "newest", "number", "digest", "state", "previous",
    "first", "last", "steps", "messages", "of_lane", "of_epoch", "count", "name", "arguments",
    "accepted", "replayed", "topic", "message", "sent", "gone",
)  # fmt: skip
KINDS = ("lost", "summary", "batch", "answer", "alarm", "sample")
GOOD = {
    "lane": "alarms", "epoch": 1, "seq": 2, "revision": 3, "newest": {"alarms": 3}, "number": 4,
    "digest": "", "state": "online", "previous": {}, "first": 1, "last": 2, "steps": [1],
    "of_lane": "samples", "of_epoch": 1, "count": 2, "reason": "x", "name": "resend",
    "arguments": {"lane": "alarms", "epoch": 1}, "accepted": True, "messages": [],
}  # fmt: skip
TOPICS = st.sampled_from(["status", "heartbeat", "alarm/active/a", "batch", "lost", "x", "", "/"])


@settings(max_examples=500, deadline=None)
@given(TOPICS, st.dictionaries(st.sampled_from(KEYS), JSON), st.sampled_from(KINDS), st.booleans())
def test_malformed_messages_never_raise(topic, wrong, kind, retained):
    feed = joined()
    feed.send(topic, packed(**(GOOD | {"kind": kind} | wrong)), retained=retained)
    inner = json.loads(packed(**(GOOD | {"kind": kind} | wrong)))
    feed.send("batch", packed(kind="batch", messages=[{"topic": topic, "message": inner}, wrong]))
    feed.wait(3)
    feed.consumer.requests(feed.now)


@given(st.binary(max_size=40) | st.sampled_from([b"[" * 100_000, b"9" * 5000, b"null", b"{}"]))
def test_bytes_never_raise(payload):
    feed = joined()
    found = feed.send("x", payload)
    assert not payload or [each.kind for each in found] == [Kind.MALFORMED]


def test_another_version_or_another_gateways_message_is_not_taken():
    feed = Feed()
    assert feed.send("x", b'{"schema":"dosegate/2","gateway":"north"}')[0].kind is Kind.MALFORMED
    assert feed.send("x", b'{"schema":"dosegate/1","gateway":"south"}')[0].kind is Kind.MALFORMED
    assert feed.consumer.feed("other/north/x", b"{", False, 0) == []
    assert feed.send("command/anna/acknowledge", b"{}") == []


def test_memory_is_bounded():
    feed = joined()
    for seq in range(2, 3 * RANGES, 2):
        feed.record("samples", 1, seq)
    feed.wait(1)
    stream = feed.gateway.streams["samples", 1]
    assert len(stream.missing) <= RANGES
    assert feed.told(Kind.GIVEN_UP)
    for epoch in range(2, 200):
        feed.record("alarms", epoch, 3)
    assert len(feed.gateway.streams) <= module.lanes.STREAMS


def test_it_depends_on_the_standard_library_alone():
    for name in ("consumer", "lanes", "numbers", "values"):
        source = Path(module.__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
        assert len(source.splitlines()) <= 250
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                found = [each.name for each in node.names]
            elif isinstance(node, ast.ImportFrom):
                found = [node.module or ""]
                if found == ["gateway"]:
                    found = [f"gateway.{each.name}" for each in node.names]
            else:
                continue
            for each in found:
                is_ours = each.startswith("gateway.consumer")
                assert is_ours or each.split(".")[0] in sys.stdlib_module_names, each
