"""What alarms turned out to be: recorded by whom, never changing the alarm, kept apart."""

import pytest

from gateway.alarms.assessment import GROUPS, STATES
from gateway.alarms.profiles import DetectorProfile


@pytest.fixture
def bench(fleet):
    """An R4 alarm."""
    bench = fleet(DetectorProfile("d", "Network Area Monitor"))
    bench.wait(3)
    bench.hold(30.0, 1)
    return bench


def assess(bench, occurrence=None, **arguments):
    name = occurrence or bench.find().occurrence
    assert bench.does("assess", occurrence=name, **arguments) == []
    return bench.assessed[-1]


def test_the_states_and_dispositions_of_the_workflow():
    assert STATES == ("new", "verifying", "localising", "identifying", "reachback", "closed")
    assert set(GROUPS) == {
        "unassessed", "false", "innocent_medical", "innocent_norm", "innocent_legal",
        "test_source", "instrument_fault", "exercise", "confirmed_non_innocent",
    }  # fmt: skip


def test_each_change_has_its_actor_its_time_and_its_note(bench):
    first = assess(bench, user="anna", state="localising", note="lady with a blue bag")
    assert (first.actor, first.at, first.note) == ("anna", bench.now, "lady with a blue bag")
    assert (first.state, first.disposition, first.revision) == ("localising", "unassessed", 1)
    assert (first.occurrence, first.detector) == (bench.find().occurrence, "d")
    bench.wait(10)
    second = assess(bench, user="berta", disposition="innocent_medical", nuclides="F-18")
    assert (second.actor, second.note, second.revision) == ("berta", "", 2)
    assert (second.state, second.nuclides) == ("localising", "F-18")
    third = assess(bench, state="closed")
    assert (third.disposition, third.nuclides) == ("innocent_medical", "F-18")


def test_the_first_word_begins_the_verification(bench):
    assert assess(bench, note="on my way").state == "verifying"


@pytest.mark.parametrize(
    ("disposition", "group"),
    [
        ("innocent_medical", "medical"),
        ("innocent_norm", "NORM"),
        ("innocent_legal", "declared"),
        ("false", "background only"),
        ("test_source", "test or maintenance"),
        ("exercise", "test or maintenance"),
        ("instrument_fault", "tamper or fault"),
        ("confirmed_non_innocent", "real"),
    ],
)
def test_groups_of_oscar(bench, disposition, group):
    assert group in assess(bench, disposition=disposition).group


def test_it_is_closed_with_a_disposition_alone(bench):
    occurrence = bench.find().occurrence
    reason = bench.refuses("assess", occurrence=occurrence, state="closed")
    assert "disposition" in reason
    bench.refuses("assess", occurrence=occurrence, state="closed", disposition="unassessed")
    assert bench.assessed == []
    assert assess(bench, state="closed", disposition="false").state == "closed"
    bench.refuses("assess", occurrence=occurrence, disposition="unassessed")


@pytest.mark.parametrize(
    "arguments", [{}, {"state": "done"}, {"disposition": "harmless"}, {"state": "F-18 patient"}]
)
def test_refusals_repeat_nothing_that_may_be_medical(bench, arguments):
    reason = bench.refuses("assess", occurrence=bench.find().occurrence, **arguments)
    assert not any(word in reason for word in arguments.values())
    assert bench.assessed == []


def test_what_is_said_of_it_tells_nothing_medical(bench):
    answer = bench.command(
        "assess", occurrence=bench.find().occurrence, state="closed",
        disposition="innocent_medical", nuclides="I-131", note="thyroid",
    )  # fmt: skip
    assert answer.accepted
    assert not any(word in answer.reason for word in ("medical", "I-131", "thyroid"))


def test_no_assessment_changes_an_alarm(bench):
    before = bench.find()
    for disposition in GROUPS:
        assess(bench, disposition=disposition, note="x")
    assess(bench, state="closed", disposition="innocent_medical")
    assert bench.find() == before
    bench.hold(30.0, 60)
    assert bench.find().active
    bench.hold(150.0, 1)
    assert bench.find().level == "R5"


def test_a_closed_alarm_is_assessed_as_well(bench):
    occurrence = bench.find().occurrence
    bench.does("acknowledge", occurrence=occurrence)
    bench.hold(0.1, 12)
    assert bench.find() is None
    found = assess(bench, occurrence, state="closed", disposition="innocent_norm")
    assert (found.detector, found.exercise) == ("d", False)


def test_it_survives_restarts_after_the_end_of_its_alarm(bench):
    occurrence = bench.find().occurrence
    assess(bench, state="reachback", disposition="innocent_legal", nuclides="Ir-192")
    bench.does("acknowledge", occurrence=occurrence)
    bench.hold(0.1, 12)
    bench.restart()
    found = assess(bench, occurrence, note="papers seen")
    assert (found.revision, found.state, found.disposition) == (2, "reachback", "innocent_legal")
    assert (found.nuclides, found.detector) == ("Ir-192", "d")
    bench.restart()
    assert assess(bench, occurrence, state="closed").revision == 3


def test_an_assessment_of_a_later_version_is_told_and_left_alone(bench):
    occurrence = bench.find().occurrence
    assess(bench, disposition="false")
    key = f"assessment/{occurrence}"
    bench.states[key] = bench.states[key].replace(b'"false"', b'"harmless"')
    bench.restart()
    assert bench.engine.unreadable[0][0] == key
    assert assess(bench, note="again").revision == 1


def test_an_exercise_is_assessed_as_one(fleet):
    bench = fleet(DetectorProfile("d", exercise=True))
    bench.hold(30.0, 1)
    assert assess(bench, disposition="exercise").exercise


def test_so_many_are_kept_and_the_oldest_given_up(bench, monkeypatch):
    monkeypatch.setattr("gateway.alarms.assessment.KEPT", 3)
    names = []
    for number in range(5):
        name = bench.command("report", text=str(number)).reason
        names.append(name)
        assess(bench, name, note="x")
        bench.wait()
    given_up = [name for name in names if not bench.states[f"assessment/{name}"]]
    assert given_up == names[:2]
    bench.restart()  # the order in which they are read back does not matter
    assess(bench, names[2], note="newest now")
    name = bench.command("report", text="another").reason
    bench.wait()
    assess(bench, name, note="x")
    bench.wait()
    assert not bench.states[f"assessment/{names[3]}"]
    assert bench.states[f"assessment/{names[2]}"]
