"""Commands over MQTT: what is executed, once; what is refused, and how much of that is told."""

import itertools
import json
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.models import Configuration
from gateway.alarms.rights import Rights
from gateway.command_memory import KEPT_PER_USER, CommandMemory
from gateway.commands import SIZE_LIMIT
from gateway.execution import Execution, SinkSide
from gateway.heartbeat import HEARTBEAT_S, Heartbeats
from gateway.pipeline import Noticed, Pipeline, Ticked
from gateway.remote import ANSWERS, ARRIVALS, Message, RemoteCommands
from gateway.values import Command, Instant, Lane, Notice

HOME = "dosegate/v1/north/"
LIMIT_S = 30.0
USERS = [
    {"id": "olga", "roles": ["operator"]},
    {"id": "otto", "roles": ["operator"]},
    {"id": "anna", "roles": ["assessor"]},
    {"id": "vera", "roles": ["viewer"]},
    {"id": "xaver", "roles": ["exercise_leader"]},
    {"id": "felix", "roles": ["officer"]},
]


class Side:
    """A sink's two ends."""

    def __init__(self):
        self.resent, self.orphans, self.kept = [], set(), 5

    def resend(self, lane, span):
        self.resent.append((lane, span))
        return True

    def resend_records(self, records):
        self.resent += records
        return True

    async def count_kept(self, lane, span):
        return min(self.kept, len(span))

    def remove_orphan(self, occurrence):
        if occurrence not in self.orphans:
            return False
        self.orphans.discard(occurrence)
        return True


class Shelf:
    """A journal of which only numbers are asked."""

    epoch = 12

    def newest(self):
        return dict.fromkeys(Lane, 100)


class Bench:
    """Remote commands over a real pipeline, on virtual time."""

    def __init__(self, states=None, epoch=12, at=1000.0, users=USERS):
        numbers = itertools.count(1)
        self.at, self.offset = at, 1.7e9
        self.users = {user["id"] for user in users}
        self.states, self.answers, self.events = dict(states or {}), [], []
        configuration = Configuration.model_validate({"gateway": {"id": "north"}, "user": users})
        self.pipeline = Pipeline(configuration, {}, lambda: f"o{epoch}-{next(numbers)}", self.now)
        self.keep(self.pipeline.restore(self.states, self.now))
        self.beats, self.memory, self.side = Heartbeats(), CommandMemory(LIMIT_S), Side()
        self.memory.restore(self.states, at)
        execution = Execution(
            self.step,
            self.pipeline.engine.knows,
            Rights(configuration.user),
            Shelf(),
            {"hall": SinkSide(self.side, self.side)},
        )
        self.execution = execution
        self.remote = RemoteCommands(
            HOME,
            [user.id for user in configuration.user],
            self.beats,
            self.memory,
            execution,
            epoch=epoch,
            limit_s=LIMIT_S,
            now=lambda: self.now,
        )
        self.epoch = epoch
        self.beat()

    @property
    def now(self):
        return Instant(self.offset + self.at, self.at)

    def step(self, item):
        outputs = self.pipeline.step(self.now, item)
        self.keep(outputs)
        return outputs, None

    def keep(self, outputs):
        self.states.update(outputs.states)
        for entry in outputs.entries:
            body = json.loads(entry.body)
            if entry.topic == "alarm/event":
                self.events.append(body)
            elif entry.topic.startswith("command/"):
                assert entry.topic.count("/") == 2
                if body["user"] in self.users:
                    assert entry.topic == f"command/{body['user']}/result"
                self.answers.append(body)

    def beat(self):
        return self.beats.give(self.at)

    def wait(self, seconds):
        end = self.at + seconds
        while self.at < end:
            self.at = min(end, self.at + 0.5)
            self.step(Ticked())
            if self.at % HEARTBEAT_S == 0:
                self.beat()

    def alarm(self, sink="hall"):
        self.step(Noticed(Notice("feed_down", True, "gone", sink)))
        return next(
            one.occurrence
            for one in self.pipeline.engine.active()
            if one.detector == f"@sink/{sink}"
        )

    def send(self, name="acknowledge", user="olga", command_id="c1", retained=False, **fields):
        self.send_raw(self.payload(command_id, **fields), name, user, retained=retained)
        return self.answers[-1] if self.answers else None

    def payload(self, command_id="c1", **fields):
        told = {
            "id": command_id,
            "epoch": self.epoch,
            "heartbeat": self.beats.number,
            "arguments": {},
        }
        return json.dumps({**told, **fields}).encode()

    def send_raw(self, payload, name="acknowledge", user="olga", retained=False):
        topic = f"{HOME}command/{user}/{name}"
        self.remote.take(Message("hall", topic, payload, retained))

    def acknowledgements(self):
        return [event for event in self.events if event["event"] == "acknowledged"]

    def counts(self):
        return dict(self.remote.counters)


def of(occurrence, **more):
    return {"occurrence": occurrence, **more}


def test_a_command_is_executed_and_answered_with_its_id():
    bench = Bench()
    answer = bench.send(arguments=of(bench.alarm()))
    assert (answer["command"], answer["name"], answer["user"]) == ("c1", "acknowledge", "olga")
    assert answer["accepted"]
    assert [event["actor"] for event in bench.acknowledgements()] == ["olga"]
    assert bench.counts() == {"executed": 1}


def test_a_command_delivered_ten_times_is_executed_once_and_answered_alike():
    bench = Bench()
    occurrence = bench.alarm()
    payload = bench.payload(arguments=of(occurrence))
    for _ in range(10):
        bench.send_raw(payload)
    assert len(bench.acknowledgements()) == 1
    assert bench.counts() == {"executed": 1, "repeated": 9}
    assert len({(one["command"], one["accepted"], one["reason"]) for one in bench.answers}) == 1
    assert len(bench.answers) == 10


def test_who_asks_again_with_a_newer_heartbeat_gets_the_old_answer():
    bench = Bench()
    occurrence = bench.alarm()
    bench.send(arguments=of(occurrence))
    bench.wait(100)
    bench.send(arguments=of(occurrence))
    assert bench.counts() == {"executed": 1, "repeated": 1}


def test_the_same_id_for_something_else_is_refused():
    bench = Bench()
    first, second = bench.alarm("hall"), bench.alarm("centre")
    bench.send(arguments=of(first))
    answer = bench.send(arguments=of(second))
    assert not answer["accepted"]
    assert "this id was used for another command" in answer["reason"]
    assert len(bench.acknowledgements()) == 1
    # Of another user it is another command.
    assert bench.send(user="otto", arguments=of(second))["accepted"]


def test_a_command_crossing_a_restart_is_answered_and_not_executed_again():
    bench = Bench()
    payload = bench.payload(arguments=of(bench.alarm()))
    bench.send_raw(payload)
    later = Bench(bench.states, epoch=13, at=2000.0)
    later.send_raw(payload)
    assert not later.acknowledgements()
    assert later.counts() == {"repeated": 1}
    assert [one["accepted"] for one in later.answers] == [True]


def test_a_command_that_was_never_carried_out_is_stale_after_the_restart():
    bench = Bench()
    payload = bench.payload(arguments=of(bench.alarm()))
    later = Bench(bench.states, epoch=13, at=2000.0)
    later.send_raw(payload)
    assert not later.answers[-1]["accepted"]
    assert "epoch 12 is not the present one, 13" in later.answers[-1]["reason"]
    assert not later.acknowledgements()


def test_a_retained_command_is_ignored_and_counted():
    bench = Bench()
    assert bench.send(arguments=of(bench.alarm()), retained=True) is None
    assert bench.counts() == {"retained": 1}
    assert not bench.acknowledgements()


def test_our_own_answers_are_no_commands():
    bench = Bench()
    bench.send_raw(b'{"kind":"answer"}', name="result")
    assert not bench.answers
    assert bench.counts() == {}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"epoch": 11}, "epoch 11 is not the present one, 12"),
        ({"epoch": 13}, "epoch 13 is not the present one, 12"),
        ({"heartbeat": 2}, "heartbeat 2 was not given yet"),
        ({"heartbeat": 10**12}, "was not given yet"),
        ({"heartbeat": 0}, "was not given yet"),
    ],
)
def test_what_its_issuer_cannot_have_seen_is_refused(fields, reason):
    bench = Bench()
    answer = bench.send(arguments=of(bench.alarm()), **fields)
    assert not answer["accepted"]
    assert reason in answer["reason"]
    assert not bench.acknowledgements()


def test_the_age_of_the_heartbeat_counts_on_the_monotonic_clock_alone():
    bench = Bench()
    occurrence = bench.alarm()
    for step_s in (3600.0, -7200.0, 315_576_000.0, -2.1e9):
        bench.offset += step_s
        payload = bench.payload(f"fresh{step_s:.0f}", arguments=of(occurrence))
        bench.at += LIMIT_S - 1
        bench.send_raw(payload)
        assert bench.answers[-1]["accepted"], bench.answers[-1]
        payload = bench.payload(f"late{step_s:.0f}", arguments=of(occurrence))
        bench.at += 2
        bench.send_raw(payload)
        assert "was given 31 s ago, over 30 s" in bench.answers[-1]["reason"]
        bench.beat()


def test_a_heartbeat_that_nobody_remembers_is_old():
    bench = Bench()
    occurrence = bench.alarm()
    for _ in range(2000):
        bench.beat()
    answer = bench.send(arguments=of(occurrence), heartbeat=1)
    assert "long ago" in answer["reason"]


def test_an_unknown_user_is_refused_and_cannot_flood():
    bench = Bench()
    occurrence = bench.alarm()
    for number in range(500):
        bench.send(user=f"eve{number}", arguments=of(occurrence))
    assert not bench.acknowledgements()
    assert not any(one["accepted"] for one in bench.answers)
    assert "no user of this name" in bench.answers[0]["reason"]
    assert len(bench.answers) <= ANSWERS[0]
    assert bench.counts()["unknown_user"] + bench.counts()["flood"] == 500


@pytest.mark.parametrize(
    ("user", "may"),
    [("olga", True), ("anna", True), ("vera", False), ("xaver", False), ("felix", False)],
)
def test_roles_decide(user, may):
    bench = Bench()
    answer = bench.send(user=user, arguments=of(bench.alarm()))
    assert answer["accepted"] is may
    assert len(bench.acknowledgements()) is int(may)


def test_two_operators_on_one_alarm_and_a_revision_that_is_over():
    bench = Bench()
    occurrence = bench.alarm()
    first = bench.send(arguments=of(occurrence, revision=1))
    second = bench.send(user="otto", arguments=of(occurrence, revision=1))
    assert first["accepted"]
    assert second["accepted"]
    assert second["reason"] == "already acknowledged by olga"
    late = bench.send(user="otto", command_id="c2", arguments=of(occurrence, revision=99))
    assert not late["accepted"]
    assert late["reason"].startswith("stale: revision 99")


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "not a JSON object"),
        (b"acknowledge", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (b"{}", "id, epoch, heartbeat, arguments missing"),
        (b"[" * 16_000, "levels"),
        (b'{"arguments":' * 1200, "levels"),
        (b'"' + b"\\" * 16_000, "not a JSON object"),
        (b'{"id":"c","id":"d"}', "same key twice"),
        (b'{"id":NaN}', "NaN is not JSON"),
        (b'{"epoch":1e999}', "too large"),
        (b'{"epoch":' + b"9" * 5000 + b"}", ""),
        (b'{"epoch":99999999999999999999}', "too large"),
        (b"x" * (SIZE_LIMIT + 1), f"over {SIZE_LIMIT} bytes"),
        ("{}".encode("utf-16"), "not a JSON object"),
        (b"\xff\xfe\x00", "not a JSON object"),
    ],
)
def test_garbage_is_refused_with_a_reason(payload, reason):
    bench = Bench()
    bench.send_raw(payload)
    assert not bench.answers[-1]["accepted"]
    assert reason in bench.answers[-1]["reason"]
    assert bench.counts() == {"malformed": 1}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"id": ""}, "id must be"),
        ({"id": 5}, "id must be"),
        ({"id": "a/b"}, "id must be"),
        ({"id": "a\n"}, "id must be"),
        ({"id": "x" * 65}, "id must be"),
        ({"epoch": "12"}, "epoch must be a whole number"),
        ({"epoch": True}, "epoch must be a whole number"),
        ({"epoch": 12.0}, "epoch must be a whole number"),
        ({"heartbeat": -1}, "heartbeat must be a whole number"),
        ({"heartbeat": None}, "heartbeat must be a whole number"),
        ({"arguments": []}, "arguments must be an object"),
        ({"arguments": {"a": {}}}, "must be text, a number or true or false"),
        ({"arguments": {"a": None}}, "must be text, a number or true or false"),
        ({"arguments": {"a": "\ud800"}}, "half a character"),
        ({"user": "anna"}, "unknown field 'user'"),
        ({"time": "2026"}, "unknown field 'time'"),
    ],
)
def test_each_field_is_what_the_contract_says(fields, reason):
    bench = Bench()
    bench.send_raw(bench.payload(**{"command_id": "c1", **fields}))
    (answer,) = bench.answers
    assert not answer["accepted"]
    assert reason in answer["reason"]
    assert bench.counts() == {"malformed": 1}


def test_unknown_commands_are_refused_and_named_shortly():
    bench = Bench()
    answer = bench.send(name="x" * 5000)
    assert not answer["accepted"]
    assert len(json.dumps(answer)) < 1000


@given(st.binary(max_size=200), st.text(max_size=20), st.text(max_size=20), st.booleans())
@settings(max_examples=200, suppress_health_check=list(HealthCheck), deadline=None)
def test_no_bytes_on_any_topic_raise_or_change_anything(payload, user, name, retained):
    bench = Bench()
    bench.alarm()
    before = len(bench.events)
    bench.remote.take(Message("hall", f"{HOME}command/{user}/{name}", payload, retained))
    bench.remote.take(Message("hall", user, payload, retained))
    bench.send_raw(payload)
    assert len(bench.events) == before
    assert not any(answer["accepted"] for answer in bench.answers)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["id", "epoch", "heartbeat", "arguments", "x"]), JSON))
@settings(max_examples=200, suppress_health_check=list(HealthCheck), deadline=None)
def test_no_json_raises_or_is_executed_by_chance(fields):
    bench = Bench()
    bench.alarm()
    bench.send_raw(json.dumps(fields).encode())
    assert not any(answer["accepted"] for answer in bench.answers)


def test_garbage_of_one_user_is_answered_seldom_and_hinders_no_other():
    bench = Bench()
    occurrence = bench.alarm()
    for _ in range(3000):
        bench.send_raw(b"{", user="otto")
    assert len(bench.answers) <= ANSWERS[0]
    counts = Counter(bench.remote.counters)
    assert counts["malformed"] + counts["flood"] == 3000
    assert counts["malformed"] <= ARRIVALS[0]
    assert bench.send(arguments=of(occurrence))["accepted"]


def test_more_commands_than_can_be_remembered_have_to_wait():
    bench = Bench()
    occurrence = bench.alarm()
    refused = 0
    for number in range(2 * KEPT_PER_USER):
        bench.at += 1 / ARRIVALS[1]
        bench.beat()
        bench.send(command_id=f"c{number}", arguments=of(occurrence))
    refused = bench.counts().get("too_many", 0)
    assert refused == 0  # at the rate that is taken at all there is always room
    assert sum(key.startswith("command/olga") and bool(v) for key, v in bench.states.items()) <= (
        KEPT_PER_USER + 1
    )


def test_nothing_that_could_be_executed_again_is_forgotten():
    memory = CommandMemory(LIMIT_S)
    bench = Bench()
    bench.send(arguments=of(bench.alarm()))
    answers = [
        json.loads(body)
        for key, body in bench.states.items()
        if key.startswith("command/olga/") and body
    ]
    assert len(answers) == 1
    memory.restore({f"command/olga/c{n}": b'["d",true,""]' for n in range(KEPT_PER_USER)}, 0.0)
    assert memory.has_room("olga", 0.0)


async def test_resend_and_history_go_to_the_sink_that_asked():
    bench = Bench()
    arguments = {"lane": "alarms", "epoch": 12, "first": 3, "last": 10}
    assert bench.send("resend", user="vera", arguments=arguments) is None
    assert bench.send("resend", user="vera", arguments=arguments) is None  # while it is under way
    command, sink = bench.remote._replays.get_nowait()
    answer = await bench.execution.replay(command, sink)
    assert (answer.accepted, answer.reason) == (True, "5 sent again, 3 no longer kept")
    ((lane, span),) = bench.side.resent
    assert (lane, span.epoch, span.first, span.last) == (Lane.ALARMS, 12, 3, 10)
    assert bench.answers[-1]["reason"] == "5 sent again, 3 no longer kept"
    assert bench.remote._replays.empty()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({}, "'' is no lane"),
        ({"lane": "alarms"}, "epoch: '' is not a whole number"),
        ({"lane": "alarms", "epoch": 12, "first": 5, "last": 4}, "last is below first"),
        ({"lane": "alarms", "epoch": 12, "first": 1, "last": 101}, "was not given yet"),
        ({"lane": "alarms", "epoch": 13, "first": 1, "last": 2}, "was not given yet"),
        ({"lane": "alarms", "epoch": 1, "first": 1, "last": 10**9}, "at most 10000 numbers"),
        ({"lane": "alarms", "epoch": 1, "first": True, "last": 3}, "is not a whole number"),
        ({"lane": "alarms", "epoch": 1, "first": 1.5, "last": 3}, "is not a whole number"),
    ],
)
async def test_what_cannot_be_sent_again_is_refused(arguments, reason):
    bench = Bench()
    bench.send("resend", arguments=arguments)
    answer = await bench.execution.replay(*bench.remote._replays.get_nowait())
    assert not answer.accepted
    assert reason in answer.reason
    assert not bench.side.resent


async def test_on_this_laptop_the_verbs_are_named_instead():
    bench = Bench()
    for name, verb in (("resend", "journal export"), ("history", "journal list")):
        answer, _ = bench.execution.settle(Command(name, "olga", "c"))
        assert not answer.accepted
        assert verb in answer.reason


@pytest.mark.parametrize(("user", "may"), [("anna", True), ("olga", False), ("vera", False)])
def test_an_alarm_of_which_only_the_broker_knows_is_closed_by_the_assessor(user, may):
    bench = Bench()
    bench.side.orphans.add("old")
    answer = bench.send("close", user=user, arguments=of("old", reason="source was found"))
    assert answer["accepted"] is may
    assert bench.side.orphans == (set() if may else {"old"})
    if may:
        assert answer["reason"] == "removed at hall, not verified normal: source was found"


def test_an_orphan_needs_a_reason_and_what_nobody_knows_is_refused():
    bench = Bench()
    bench.side.orphans.add("old")
    assert "needs a reason" in bench.send("close", user="anna", arguments=of("old"))["reason"]
    again = bench.send("close", user="anna", command_id="c2", arguments=of("new", reason="r"))
    assert "no open alarm is called 'new'" in again["reason"]
    assert bench.side.orphans == {"old"}
