"""Commands on their way through the pipeline: answers, states to keep, documents, restarts."""

import json
from itertools import count, groupby, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.models import Configuration
from drivers.api import Channel, DriverInfo, Identity, Quantity, Reading, Sample
from drivers.api import Verified as V
from gateway.health import DetectorHealth
from gateway.pipeline import Arrived, Commanded, LinkChanged, Pipeline, Ticked
from gateway.values import Command, Instant, Lane, LinkState

INFO = DriverInfo(
    "made-up", "made up", "listener", ("Network Area Monitor",), ("serial",),
    (Channel.DOSE_RATE,), "none", V.CONSTRUCTED, 1.0, lambda options: None,
)  # fmt: skip
WHY = {"reason": "known"}


class Desk:
    """A pipeline in virtual time with everything that a journal and a broker would hold."""

    def __init__(self, *detectors, users=()):
        self.detectors = detectors or ({"id": "d"},)
        self.users = users
        self.ids, self.at, self.boot = count(1), 1000.0, "boot-1"
        self.told, self.states, self.documents = [], {}, {}
        self.start()

    def start(self):
        link = {"kind": "recording", "path": "-"}
        own = {"driver": "made-up", "link": link, "commissioned": "2026-05-01 Cs-137"}
        configuration = Configuration.model_validate(
            {
                "gateway": {"id": "gw"},
                "detector": [{**own, **each} for each in self.detectors],
                "user": list(self.users),
            }
        )
        drivers = {each.id: INFO for each in configuration.detector}
        self.pipeline = Pipeline(
            configuration, drivers, lambda: f"o{next(self.ids)}", self.now, boot=self.boot
        )
        states = {key: state for key, state in self.states.items() if state}
        self.keep(self.pipeline.restore(states, self.now))

    @property
    def now(self):
        return Instant(1.78e9 + self.at, self.at)

    def keep(self, outputs):
        self.told.append(outputs)
        self.states.update(outputs.states)
        for document in outputs.documents:
            self.documents[document.exercise, document.topic] = document.body
        return outputs

    def step(self, item):
        return self.keep(self.pipeline.step(self.now, item))

    def wait(self, seconds=1):
        for _ in range(seconds):
            self.at += 1
            self.step(Ticked())

    def dose(self, value, detector="d", serial=None):
        reading = Reading(Channel.DOSE_RATE, value, "µSv/h", Quantity.AMBIENT_DOSE_EQUIVALENT_RATE)
        identity = None if serial is None else Identity("m", serial)
        sample = Sample((reading,), identity=identity)
        return self.step(Arrived(detector, sample, self.now))

    def doses(self, *values, **more):
        for value in values:
            self.wait()
            self.dose(value, **more)

    def command(self, name, user="anna", **arguments):
        command = Command(name, user, "c1", tuple(arguments.items()))
        return self.step(Commanded(command))

    def restart(self, boot="boot-2", at=None):
        self.boot = boot
        self.at = self.at if at is None else at
        self.start()

    def bodies(self, ending):
        return [
            json.loads(entry.body)
            for outputs in self.told
            for entry in outputs.entries
            if entry.topic.endswith(ending)
        ]

    def document(self, topic):
        return json.loads(self.documents[False, topic])

    def alarms(self):
        return {(one.detector, one.alarm): one for one in self.pipeline.engine.active()}


@pytest.fixture
def desk():
    desk = Desk()
    desk.doses(0.1, 0.1)
    return desk


def answer_of(outputs):
    (entry,) = [entry for entry in outputs.entries if entry.topic.startswith("command/")]
    return entry, json.loads(entry.body)


def test_every_command_is_answered_and_journalled_at_once(desk):
    outputs = desk.command("shelve", detector="d", level="R3", duration_s=60, **WHY)
    entry, body = answer_of(outputs)
    assert outputs.urgent
    assert (entry.lane, entry.topic) == (Lane.RESTRICTED, "command/anna/result")
    assert (body["command"], body["name"], body["user"]) == ("c1", "shelve", "anna")
    assert (body["accepted"], body["arguments"]["level"]) == (True, "R3")
    refused = desk.command("shelve", detector="x", level="R3", duration_s=60, **WHY)
    assert refused.urgent
    _, body = answer_of(refused)
    assert body["accepted"] is False
    assert "'x'" in body["reason"]


def test_no_user_names_a_topic_of_his_own(desk):
    for user, topic in (("a/b#+", "command/a_b__/result"), ("", "command/_/result")):
        entry, body = answer_of(desk.command("dance", user))
        assert (entry.topic, body["user"]) == (topic, user)


def test_a_pure_exercise_answers_in_its_own_lane():
    desk = Desk({"id": "d", "simulated": True})
    entry, _ = answer_of(desk.command("report", text="x"))
    assert entry.lane is Lane.EXERCISE_RESTRICTED
    assert {entry.lane for outputs in desk.told for entry in outputs.entries} == {
        Lane.EXERCISE_ALARMS,
        Lane.EXERCISE_RESTRICTED,
    }


def test_what_is_restricted_has_numbers_of_its_own():
    desk = Desk({"id": "d"})
    desk.doses(30.0)
    (record,) = desk.alarms().values()
    told = desk.command("assess", occurrence=record.occurrence, note="x").entries
    assert {entry.lane for entry in told} == {Lane.RESTRICTED}
    assert {entry.topic.partition("/")[0] for entry in told} == {"assessment", "command"}


def test_a_report_beside_live_detectors_is_live():
    desk = Desk({"id": "d", "simulated": True}, {"id": "e"})
    outputs = desk.command("report", text="x")
    assert {entry.lane for entry in outputs.entries} == {Lane.ALARMS, Lane.RESTRICTED}


# What is medical.


def test_an_assessment_has_a_topic_of_its_own_and_is_nowhere_else(desk):
    desk.doses(30.0)
    (record,) = desk.alarms().values()
    desk.told.clear()
    outputs = desk.command(
        "assess", occurrence=record.occurrence, state="closed",
        disposition="innocent_medical", nuclides="I-131", note="thyroid",
    )  # fmt: skip
    (entry,) = [entry for entry in outputs.entries if entry.topic.startswith("assessment/")]
    assert (entry.lane, entry.topic) == (Lane.RESTRICTED, f"assessment/{record.occurrence}")
    body = json.loads(entry.body)
    assert (body["disposition"], body["nuclides"]) == ("innocent_medical", "I-131")
    assert (body["note"], body["actor"], body["number"]) == ("thyroid", "anna", 1)
    assert f"assessment/{record.occurrence}" in dict(outputs.states)
    _, answer = answer_of(outputs)
    assert answer["arguments"] == {
        "occurrence": record.occurrence,
        "state": "closed",
        "disposition": "(restricted)",
        "nuclides": "(restricted)",
        "note": "(restricted)",
    }
    desk.doses(150.0, *[0.1] * 12)
    desk.command("acknowledge", occurrence=record.occurrence)
    everything_else = [
        (entry.topic, entry.body)
        for each in desk.told
        for entry in each.entries
        if not entry.topic.startswith("assessment/")
    ] + list(desk.documents.items())
    for topic, body in everything_else:
        for word in (b"medical", b"I-131", b"thyroid"):
            assert word not in body, topic


def test_an_assessment_of_an_exercise_stays_in_it():
    desk = Desk({"id": "d", "simulated": True}, {"id": "e"})
    desk.doses(30.0)
    (record,) = [one for one in desk.alarms().values() if one.detector == "d"]
    outputs = desk.command("assess", occurrence=record.occurrence, disposition="exercise")
    (entry,) = [entry for entry in outputs.entries if entry.topic.startswith("assessment/")]
    assert entry.lane is Lane.EXERCISE_RESTRICTED


# What is kept for a restart.


def test_what_was_learned_is_kept_every_ten_seconds():
    desk = Desk({"id": "d"}, {"id": "e"})
    times = {"d": [], "e": []}
    for number in range(60):
        desk.doses(0.1 + number / 1000)
        for key, _ in desk.told[-2].states:
            if key.startswith("learned/"):
                times[key.removeprefix("learned/")].append(desk.at)
    for at in times.values():
        assert len(at) in (5, 6)
        assert {b - a for a, b in pairwise(at)} == {10.0}
    assert {outputs.urgent for outputs in desk.told if "learned/d" in dict(outputs.states)} == {
        False
    }


def test_a_thousand_are_not_kept_in_one_step():
    desk = Desk(*({"id": f"d{number}"} for number in range(40)))
    sizes = []
    for _ in range(20):
        desk.wait()
        sizes.append(sum(key.startswith("learned/") for key, _ in desk.told[-1].states))
    assert max(sizes) <= 8
    assert 76 <= sum(sizes) <= 80


def test_an_order_is_kept_with_its_answer(desk):
    desk.doses(0.6)
    (record,) = desk.alarms().values()
    for name, arguments in (
        ("shelve", {"detector": "d", "level": "R4", "duration_s": 60}),
        ("maintenance", {"detector": "d", "duration_s": 60}),
        ("test_source", {"detector": "d", "duration_s": 60}),
        ("duty", {"detector": "d", "state": "off_duty", "duration_s": 60}),
        ("silence", {"occurrence": record.occurrence, "duration_s": 60}),
        ("silence", {"occurrence": record.occurrence, "duration_s": 90}),
        ("replace", {"detector": "d", "serial_number": "B2"}),
        ("commission", {"detector": "d"}),
    ):
        outputs = desk.command(name, **arguments, **WHY)
        assert outputs.answers[0].accepted, outputs.answers[0].reason
        assert "learned/d" in dict(outputs.states), name
    saved = json.loads(desk.states["learned/d"])
    assert saved["boot"] == "boot-1"
    assert saved["orders"]["silenced"][record.occurrence][3] == 90.0
    assert not desk.command("duty", detector="d", state="no").states


def test_a_command_keeps_only_what_it_is_about():
    desk = Desk(*({"id": f"d{number}"} for number in range(40)))
    desk.wait(20)
    outputs = desk.command("shelve", detector="d7", level="R3", duration_s=60, **WHY)
    keys = [key for key, _ in outputs.states]
    assert "learned/d7" in keys
    assert len(keys) <= 4


# Documents.


def state(desk, detector="d"):
    return desk.document(f"detector/{detector}/state")


def test_orders_show_in_the_state_while_they_last(desk):
    desk.command("shelve", detector="d", level="R3", duration_s=30, **WHY)
    assert "R3 shelved by anna: known" in state(desk)["reasons"]
    desk.command("maintenance", detector="d", duration_s=20, **WHY)
    assert state(desk)["state"] == "out_of_service"
    desk.command("duty", detector="d", state="battery_swap", duration_s=10, **WHY)
    assert state(desk)["state"] == "off_duty"
    desk.doses(*[0.1] * 10)
    assert state(desk)["state"] == "out_of_service"
    desk.doses(*[0.1] * 10)
    assert "R3 shelved by anna: known" in state(desk)["reasons"]
    desk.doses(*[0.1] * 11)
    assert not any("anna" in reason for reason in state(desk)["reasons"])


def test_an_order_that_is_over_leaves_no_trace_in_a_state_that_is_well(desk):
    health = DetectorHealth("d", 3.0, desk.now, heard=desk.now)
    assert health.changed(desk.now).reasons == ()
    health.conditions = (("ok", ("R3 shelved by anna: known",)),)
    assert health.changed(desk.now).reasons == ("R3 shelved by anna: known",)
    health.conditions = ()
    assert health.changed(desk.now).reasons == ()
    assert health.changed(desk.now) is None


def test_off_duty_it_is_neither_missing_nor_stale(desk):
    desk.command("duty", detector="d", state="off_duty", duration_s=60, **WHY)
    desk.wait(59)
    assert state(desk)["state"] == "off_duty"
    desk.wait(2)
    assert state(desk)["state"] == "stale"


def test_readings_in_maintenance_say_so_and_clear_nothing(desk):
    desk.doses(30.0)
    desk.command("maintenance", detector="d", duration_s=600, **WHY)
    desk.doses(*[0.1] * 30)
    assert desk.bodies("d/sample")[-1]["flags"] == ["maintenance"]
    assert desk.alarms()["d", "dose_rate"].active
    assert desk.command("maintenance", detector="d", on=False).answers[0].accepted
    desk.doses(*[0.1] * 12)
    assert desk.bodies("d/sample")[-1]["flags"] == []
    assert not desk.alarms()["d", "dose_rate"].active


def test_a_source_check_shows_in_the_document(desk):
    desk.command("commission", detector="d", reason="Cs-137 at 1 m")
    assert desk.document("detector/d/about")["commissioned"] == "anna: Cs-137 at 1 m"


def test_watch_entries_come_once_a_minute_and_when_a_rule_is_armed(desk):
    desk.told.clear()
    desk.doses(*[0.1] * 300)
    bodies = desk.bodies("d/watch")
    assert all(body["kind"] == "watch" for body in bodies)
    armed = [tuple(rule["armed"] for rule in body["rules"]) for body in bodies]
    changes = len(list(groupby(armed)))
    assert 5 <= len(bodies) <= 5 + changes
    lanes = {e.lane for o in desk.told for e in o.entries if e.topic.endswith("/watch")}
    assert lanes == {Lane.SAMPLES}
    assert not any(outputs.urgent for outputs in desk.told)


# Another instrument.


def test_a_replacement_ends_the_mismatch():
    desk = Desk({"id": "d", "serial_number": "A1"})
    desk.doses(0.1, 0.1, serial="A1")
    desk.doses(0.1, 0.1, serial="B2")
    assert desk.alarms()["d", "identity"].active
    desk.command("replace", detector="d", serial_number="B2", **WHY)
    desk.doses(0.1, serial="B2")
    assert desk.bodies("sample")[-1]["detector"] == "d"
    desk.doses(*[0.1] * 11, serial="B2")
    assert not desk.alarms()["d", "identity"].active
    desk.doses(3.0)
    assert desk.alarms()["d", "dose_rate"].serial == "B2"
    desk.doses(0.1, serial="A1")
    assert desk.alarms()["d", "identity"].active


def test_a_replacement_holds_over_a_restart():
    desk = Desk({"id": "d", "serial_number": "A1"})
    desk.doses(0.1, serial="A1")
    desk.command("replace", detector="d", serial_number="B2", **WHY)
    desk.doses(0.1, serial="B2")
    desk.restart()
    desk.doses(0.1, serial="B2")
    assert desk.bodies("sample")[-1]["detector"] == "d"
    assert ("d", "identity") not in desk.alarms()


def test_a_serial_number_may_be_named_where_none_was_configured():
    desk = Desk()
    desk.doses(0.1, serial="A1")
    desk.command("replace", detector="d", serial_number="B2", **WHY)
    desk.step(LinkChanged("d", LinkState.READING))
    desk.doses(3.0, 3.0, serial="A1")
    assert desk.alarms()["link-d", "dose_rate"].active
    assert desk.alarms()["d", "identity"].active
    desk.restart()
    desk.doses(0.1, serial="A1")
    desk.wait(10)
    assert ("link-d", "silence") not in desk.alarms()
    desk.step(LinkChanged("d", LinkState.WAITING, "pulled"))
    assert desk.alarms()["link-d", "dose_rate"].stale


def test_the_rights_of_the_configuration_hold():
    users = ({"id": "otto", "roles": ["officer"], "detectors": ["d"]},)
    desk = Desk({"id": "d"}, {"id": "e"}, users=users)
    desk.doses(3.0)
    desk.doses(3.0, detector="e")
    own, other = desk.alarms()["d", "dose_rate"], desk.alarms()["e", "dose_rate"]
    assert desk.command("acknowledge", "otto", occurrence=own.occurrence).answers[0].accepted
    for user, occurrence in (("otto", other.occurrence), ("anna", own.occurrence)):
        refused = desk.command("acknowledge", user, occurrence=occurrence)
        assert not refused.answers[0].accepted


# Whatever happens, the retained documents are the alarms.

ITEM = st.one_of(
    st.tuples(st.just("dose"), st.sampled_from("ab"), st.sampled_from([0.1, 0.6, 150.0])),
    st.tuples(st.just("clears"), st.sampled_from("ab"), st.just(12)),
    st.tuples(st.just("wait"), st.sampled_from([1, 5]), st.none()),
    st.tuples(st.just("restart"), st.booleans(), st.none()),
    st.tuples(
        st.just("command"),
        st.sampled_from(["acknowledge", "reset", "silence", "close", "shelve", "stop_exercise",
                         "report", "duty", "assess"]),
        st.integers(0, 3),
    ),
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.lists(ITEM, min_size=20, max_size=40))
def test_documents_and_states_are_the_open_alarms(items):
    desk = Desk({"id": "a"}, {"id": "b", "simulated": True})
    for kind, what, more in items:
        if kind == "dose":
            desk.doses(more, detector=what)
        elif kind == "clears":
            desk.doses(*[0.1] * more, detector=what)
        elif kind == "wait":
            desk.wait(what)
        elif kind == "restart":
            desk.restart("boot-1" if what else "boot-x", None if what else 5.0)
        else:
            found = desk.pipeline.engine.active()
            occurrence = found[more % len(found)].occurrence if found else "none"
            desk.command(
                what, occurrence=occurrence, detector="ab"[more % 2], level="R3", duration_s=30,
                text="x", disposition="false", state="off_duty" if what == "duty" else "closed",
                **WHY,
            )  # fmt: skip
        retained = {
            (exercise, topic.removeprefix("alarm/active/")): json.loads(body)
            for (exercise, topic), body in desk.documents.items()
            if topic.startswith("alarm/active/") and body
        }
        active = {(one.exercise, one.occurrence): one for one in desk.pipeline.engine.active()}
        assert retained.keys() == active.keys()
        for key, body in retained.items():
            record = active[key]
            assert (body["revision"], body["display"]) == (record.revision, record.display)
        kept = {key for key, state in desk.states.items() if state and "/" not in key}
        assert kept == {occurrence for _, occurrence in active}
        for outputs in desk.told[-1:]:
            assert all(e.lane.is_exercise for e in outputs.entries if b'"exercise":true' in e.body)
