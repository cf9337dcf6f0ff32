"""The pipeline: inputs in, stored messages out, the same ones each time."""

import json
from itertools import count, groupby

import pytest

from config.models import Configuration
from drivers.api import Channel, DriverInfo, Flag, Identity, Passage, Quantity, Reading, Sample
from drivers.api import Verified as V
from drivers.errors import DecodeError, Reject
from gateway.pipeline import Arrived, Commanded, LinkChanged, Pipeline, Ticked
from gateway.values import Command, Instant, Lane, LinkState, Outputs

INFO = DriverInfo(
    "made-up", "made up", "listener", ("Gamma Handheld",), ("serial",), (Channel.DOSE_RATE,),
    "none", V.CONSTRUCTED, 1.0, lambda options: None,
)  # fmt: skip


def configuration(*detectors):
    link = {"kind": "recording", "path": "-"}
    return Configuration.model_validate(
        {
            "gateway": {"id": "gw"},
            "detector": [
                {"driver": "made-up", "link": link, "commissioned": "2026-05-01 Cs-137", **each}
                for each in detectors
            ],
        }
    )


class Play:
    """A pipeline in virtual time and everything that it told."""

    def __init__(self, *detectors):
        self.configuration = configuration(*(detectors or ({"id": "d"},)))
        self.ids = count(1)
        self.at = 1000.0
        self.told = []
        self.states = {}
        self.start()

    def start(self):
        drivers = {each.id: INFO for each in self.configuration.detector}
        self.pipeline = Pipeline(
            self.configuration, drivers, lambda: f"o{next(self.ids)}", self.now
        )
        self.restore({})

    def restore(self, states):
        return self.keep(self.pipeline.restore(states, self.now))

    @property
    def now(self):
        return Instant(1.78e9 + self.at, self.at)

    def keep(self, outputs):
        self.told.append(outputs)
        for key, state in outputs.states:
            self.states[key] = state
        return outputs

    def step(self, item):
        return self.keep(self.pipeline.step(self.now, item))

    def wait(self, seconds=1.0):
        self.at += seconds
        return self.step(Ticked())

    def say(self, output, detector="d"):
        return self.step(Arrived(detector, output, self.now))

    def dose(self, value, detector="d", **more):
        return self.say(Sample((rate(value),), **more), detector)

    def doses(self, *values, detector="d"):
        for value in values:
            self.wait()
            self.dose(value, detector)

    def alarms(self):
        return {(record.detector, record.alarm): record for record in self.pipeline.engine.active()}

    def events(self):
        return [
            (body["event"], body["detector"], body["alarm"])
            for body in self.bodies("alarm/event")
        ]  # fmt: skip

    def bodies(self, ending):
        return [
            json.loads(entry.body)
            for outputs in self.told
            for entry in outputs.entries
            if entry.topic.endswith(ending)
        ]

    def state_documents(self):
        """The states in order; learning, which the statistics do at first, counts as ok."""
        told = [
            json.loads(document.body)["state"].replace("learning", "ok")
            for outputs in self.told
            for document in outputs.documents
            if document.topic.endswith("/state")
        ]
        return [state for state, _ in groupby(told)]


def rate(value):
    return Reading(
        Channel.DOSE_RATE, value, "µSv/h", Quantity.AMBIENT_DOSE_EQUIVALENT_RATE, raw=str(value)
    )


def test_a_sample_becomes_one_journalled_message():
    outputs = Play().dose(0.1)
    (entry,) = outputs.entries
    assert (entry.lane, entry.topic) == (Lane.SAMPLES, "detector/d/sample")
    body = json.loads(entry.body)
    assert (body["kind"], body["detector"]) == ("sample", "d")
    assert body["readings"][0]["value"] == 0.1
    assert not outputs.urgent


def test_an_identity_alone_is_no_sample_but_a_document():
    outputs = Play().say(Sample((), identity=Identity("model", "77")))
    assert not outputs.entries
    about = json.loads(outputs.documents[-1].body)
    assert (about["model"], about["serial"]) == ("model", "77")
    assert about["thresholds"]["R3"] == 0.5


def test_a_passage_becomes_a_message_and_is_a_sign_of_life():
    play = Play({"id": "d", "class": "Portal Monitor"})
    (outputs,) = [play.say(Passage(7, 12.0, 1.0, False, False, 800, "5x200ms"))]
    body = json.loads(outputs.entries[0].body)
    assert (outputs.entries[0].lane, outputs.entries[0].topic) == (
        Lane.SAMPLES,
        "detector/d/passage",
    )
    assert (body["number"], body["gamma_max"]) == (7, 800)
    assert body["time"] > body["end"] > body["start"]
    assert play.state_documents() == ["ok"]


def test_an_alarm_is_urgent_stored_and_retained():
    play = Play()
    play.doses(0.1, 0.1, 3.0, 3.0, 3.0)
    (raised,) = [outputs for outputs in play.told if outputs.urgent]
    events = [entry for entry in raised.entries if entry.lane is Lane.ALARMS]
    assert {json.loads(event.body)["event"] for event in events} == {"raised"}
    (document,) = [d for d in raised.documents if d.topic.startswith("alarm/active/")]
    assert document.durable
    assert not document.exercise
    assert [key for key, _ in raised.states] == [document.topic.removeprefix("alarm/active/")]
    assert raised.entries[0].topic == "detector/d/sample"


def test_the_document_of_a_closed_alarm_is_emptied():
    play = Play()
    play.doses(0.1, 3.0, 3.0)
    (record,) = play.alarms().values()
    command = Command("acknowledge", "anna", "c1", (("occurrence", record.occurrence),))
    outputs = play.step(Commanded(command))
    assert outputs.urgent
    assert [answer.accepted for answer in outputs.answers] == [True]
    play.doses(*[0.1] * 15)
    assert not play.alarms()
    emptied = [d for outputs in play.told for d in outputs.documents if d.body == b""]
    assert [d.topic for d in emptied] == [f"alarm/active/{record.occurrence}"]
    assert play.states[record.occurrence] == b""


def test_a_refused_command_is_answered_and_changes_nothing():
    play = Play()
    outputs = play.step(Commanded(Command("acknowledge", "anna", "c", (("occurrence", "x"),))))
    assert [answer.accepted for answer in outputs.answers] == [False]
    assert [entry.topic for entry in outputs.entries] == ["command/anna/result"]
    assert not outputs.documents
    assert not outputs.states


def test_exercise_data_goes_to_exercise_lanes_only():
    play = Play({"id": "d", "simulated": True}, {"id": "real"})
    for _ in range(4):
        play.wait()
        play.dose(3.0)
        play.dose(0.1, "real")
    lanes = {
        (json.loads(entry.body)["detector"], entry.lane)
        for outputs in play.told
        for entry in outputs.entries
    }
    assert lanes == {
        ("d", Lane.EXERCISE_SAMPLES),
        ("d", Lane.EXERCISE_ALARMS),
        ("real", Lane.SAMPLES),
    }
    documents = {
        (document.topic.startswith("detector/real/"), document.exercise)
        for outputs in play.told
        for document in outputs.documents
    }
    assert documents == {(True, False), (False, True)}
    assert all(b["flags"] == ["simulated"] for b in play.bodies("d/sample"))


def test_a_reject_is_counted_and_gives_no_reading():
    play = Play()
    outputs = play.say(DecodeError(Reject.CONTENT, b"x", "odd"))
    assert outputs == Outputs()
    health = play.pipeline.health()["d"]
    assert health.rejects == {"content": 1}
    assert health.last_reject == "content: odd"


def test_ok_stale_ok():
    play = Play()
    play.dose(0.1)
    for _ in range(5):
        play.wait()
    play.dose(0.1)
    assert play.state_documents() == ["ok", "stale", "ok"]


def test_never_heard_is_missing_and_says_why():
    play = Play()
    play.step(LinkChanged("d", LinkState.WAITING, "/dev/x: no such device"))
    for _ in range(5):
        play.wait()
    assert play.state_documents() == ["ok", "missing"]
    told = play.pipeline.health()["d"].told
    assert told.reasons[0] == "/dev/x: no such device"


def test_a_fault_of_the_whole_sample_is_a_fault_of_the_detector():
    play = Play()
    play.dose(0.1, flags=(Flag.INSTRUMENT_FAULT,))
    play.wait()
    play.dose(0.1)
    assert play.state_documents() == ["fault", "ok"]


def test_an_alarm_survives_a_restart_as_the_same_occurrence():
    play = Play()
    play.doses(0.1, 3.0, 3.0)
    (before,) = play.alarms().values()
    play.start()
    outputs = play.restore(play.states)
    (after,) = play.alarms().values()
    assert (after.occurrence, after.stale, before.stale) == (before.occurrence, True, False)
    assert any(d.topic == f"alarm/active/{after.occurrence}" for d in outputs.documents)
    play.doses(*[0.1] * 15)
    assert ("returned", "d", "dose_rate") in play.events()


def story(play):
    play.step(LinkChanged("d", LinkState.READING))
    play.doses(0.1, 0.2, 3.0, 25.0, 0.1, *[0.1] * 12)
    play.say(DecodeError(Reject.CHECKSUM))
    for _ in range(5):
        play.wait()
    play.dose(200.0)
    return play.told


def test_the_same_inputs_give_the_same_outputs():
    assert story(Play()) == story(Play())


# Another instrument than the configured one.


@pytest.fixture
def swapped():
    play = Play({"id": "d", "serial_number": "A1", "post": None})
    play.say(Sample((), identity=Identity("m", "A1")))
    play.doses(0.1, 0.1)
    play.say(Sample((), identity=Identity("m", "B2")))
    return play


def test_another_instrument_is_never_the_configured_one(swapped):
    swapped.told.clear()
    swapped.doses(0.1, 0.1)
    assert not swapped.bodies("detector/d/sample")
    samples = swapped.bodies("detector/link-d/sample")
    assert [body["detector"] for body in samples] == ["link-d"] * 2
    assert all("identity_mismatch" in body["flags"] for body in samples)
    assert ("d", "identity") in swapped.alarms()
    assert ("link-d", "identity") not in swapped.alarms()
    assert swapped.pipeline.health()["d"].latest == {}
    assert swapped.pipeline.health()["d"].told.state == "degraded"


def test_its_levels_are_judged_under_the_link_and_flagged(swapped):
    swapped.doses(3.0, 3.0)
    alarms = swapped.alarms()
    assert set(alarms) == {("d", "identity"), ("link-d", "dose_rate")}
    event = next(b for b in swapped.bodies("alarm/event") if b["detector"] == "link-d")
    assert (event["event"], event["level"], event["serial"]) == ("raised", "R3", None)
    assert "identity_mismatch" in event["flags"]
    swapped.doses(*[0.1] * 15)  # its own low readings clear its own alarm
    assert ("returned", "link-d", "dose_rate") in swapped.events()


def test_nobody_expects_it_to_speak(swapped):
    swapped.doses(0.1)
    swapped.say(Sample((), identity=Identity("m", "A1")))
    for _ in range(60):
        swapped.wait()
        swapped.dose(0.1)
    assert not [e for e in swapped.events() if e[1] == "link-d"]
    assert not [e for e in swapped.events() if e[2] == "silence"]
    assert ("returned", "d", "identity") in swapped.events()
    assert swapped.pipeline.health()["d"].told.state in ("ok", "learning")


def test_an_alarm_of_the_configured_one_is_stale_not_cleared():
    play = Play({"id": "d", "serial_number": "A1"})
    play.say(Sample((), identity=Identity("m", "A1")))
    play.doses(3.0, 3.0)
    play.say(Sample((), identity=Identity("m", "B2")))
    play.doses(*[0.1] * 30)
    record = play.alarms()["d", "dose_rate"]
    assert (record.active, record.stale) == (True, True)
    play.say(Sample((), identity=Identity("m", "A1")))
    play.doses(*[0.1] * 15)
    assert ("returned", "d", "dose_rate") in play.events()


def test_a_foreign_alarm_survives_a_restart_flagged(swapped):
    swapped.doses(3.0, 3.0)
    swapped.start()
    outputs = swapped.restore(swapped.states)
    bodies = [json.loads(d.body) for d in outputs.documents if b"link-d" in d.body]
    assert bodies
    assert all("identity_mismatch" in body["flags"] for body in bodies)


def test_stand_ins_take_no_share_of_the_budget():
    plain = Play({"id": "a"}, {"id": "b"}).pipeline.engine
    named = Play({"id": "a", "serial_number": "1"}, {"id": "b"}).pipeline.engine
    assert named._shares == plain._shares
    portal = {"id": "a", "serial_number": "1", "class": "Portal Monitor"}
    assert Play(portal).pipeline.engine._shares == Play().pipeline.engine._shares


def test_link_ids_of_long_names_differ():
    long = [{"id": "x" * 30 + end, "serial_number": "1"} for end in "ab"]
    play = Play(*long)
    for each in long:
        play.say(Sample((rate(0.1),), identity=Identity("m", "2")), each["id"])
    topics = {entry.topic for outputs in play.told for entry in outputs.entries}
    assert len([topic for topic in topics if topic.endswith("/sample")]) == 2
