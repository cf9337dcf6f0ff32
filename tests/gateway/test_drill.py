"""A drill beside the operational pipeline: ghosts over real readings, told as an exercise only."""

import json
from itertools import count
from random import Random

import pytest

from config.models import Configuration
from drivers.api import Channel, DriverInfo, Flag, Identity, Quantity, Reading, Sample
from drivers.api import Verified as V
from gateway import board
from gateway.drill.desk import Drills
from gateway.drill.score import told
from gateway.drill.values import BadDrill
from gateway.pipeline import Arrived, Commanded, LinkChanged, Pipeline, Ticked
from gateway.values import Command, Instant, LinkState, Outputs
from gateway.verbs.ghosts import summon
from simulators.poisson import poisson

INFO = DriverInfo(
    "made-up", "made up", "listener", ("Gamma Handheld",), ("serial",), (Channel.DOSE_RATE,),
    "none", V.CONSTRUCTED, 1.0, lambda options: None,
)  # fmt: skip
LINK = {"kind": "recording", "path": "-"}
CONFIGURATION = {
    "gateway": {"id": "gw"},
    "post": [
        {"id": "north", "plan_x_m": 0.0, "plan_y_m": 0.0},
        {"id": "south", "plan_x_m": 100.0, "plan_y_m": 0.0},
    ],
    "user": [
        {"id": "lena", "roles": ["exercise_leader"]},
        {"id": "otto", "roles": ["operator"]},
        {"id": "anna", "roles": ["assessor"]},
    ],
    "detector": [
        {"id": "a", "class": "Personal Radiation Detector", "post": "north"},
        {"id": "b", "class": "Personal Radiation Detector", "post": "south"},
        {"id": "c", "class": "Gamma Handheld"},
        {"id": "sim", "class": "Gamma Handheld", "simulated": True},
    ],
}
DRILL = """
[scenario]
name = "spring"
duration_s = 600
seed = 3
"""
WITH_SOURCE = (
    DRILL
    + """
[[source]]
id = "carried"
nuclide = "Cs-137"
activity = "100 MBq"
at = { x = 2.0, y = 0.0 }
appears_s = 20
leaves_s = 40

[[event]]
at_s = 60
do = "place_source"
id = "left"
nuclide = "Co-60"
activity = "10 MBq"
x = 101.0
y = 0.0

[[event]]
at_s = 80
do = "remove_source"
id = "left"
"""
)


class Rig:
    """An operational pipeline with drills beside it, as the daemon has them, in virtual time."""

    def __init__(self, configuration=CONFIGURATION, folder="/nowhere"):
        table = {
            **configuration,
            "gateway": {"id": "gw", "state_dir": str(folder)},
            "detector": [
                {"driver": "made-up", "link": LINK, "commissioned": "yes", **each}
                for each in configuration["detector"]
            ],
        }
        self.configuration = Configuration.model_validate(table)
        self.drivers = {each.id: INFO for each in self.configuration.detector}
        self.at, self.random = 1000.0, Random(7)
        self.told, self.real, self.states = [], [], {}
        self.start()

    def start(self):
        numbers = count(1)
        self.pipeline = Pipeline(
            self.configuration, self.drivers, lambda: f"r{next(numbers)}", self.now
        )
        exercises = count(1)
        self.drills = Drills(
            self.configuration,
            self.drivers,
            self.pipeline,
            summon,
            self.store,
            new_id=lambda: f"x{next(exercises)}",
            now=lambda: self.now,
        )
        self.store(self.drills.restore(self.states, self.now))
        self.pipeline.restore(self.states, self.now)

    @property
    def now(self):
        return Instant(1.78e9 + self.at, self.at)

    def store(self, outputs):
        if outputs:
            self.told.append(outputs)
            self.states |= dict(outputs.states)

    def step(self, item):
        """As ``Gateway._step``; the operational outputs are kept apart as well."""
        answered = self.drills.answered(self.now, item)
        outputs = self.pipeline.step(self.now, item) if answered is None else answered
        if answered is None:
            self.real.append(outputs)
        self.store(outputs)
        self.store(self.drills.beside(self.now, item, outputs))
        return outputs

    def command(self, name, user, **arguments):
        outputs = self.step(Commanded(Command(name, user, "c1", tuple(arguments.items()))))
        return outputs.answers[0]

    def link(self):
        for name in self.drivers:
            self.step(LinkChanged(name, LinkState.READING))

    def second(self, **dose_rates):
        """All instruments say something, 0.1 µSv/h and 20 counts a second unless told otherwise."""
        self.at += 1.0
        for name in self.drivers:
            rate = dose_rates.get(name, 0.1)
            counts = poisson(self.random, 20.0 * rate / 0.1)
            sample = Sample((dose_rate(rate), gamma(counts)))
            self.step(Arrived(name, sample, self.now))
        self.step(Ticked())

    def seconds(self, number, **dose_rates):
        for _ in range(number):
            self.second(**dose_rates)

    def events(self, *names, exercise=True, outputs=None):
        found = []
        for each in self.told if outputs is None else outputs:
            for entry in each.entries:
                if entry.topic == "alarm/event" and entry.lane.is_exercise is exercise:
                    body = json.loads(entry.body)
                    if not names or body["event"] in names:
                        found.append(body)
        return found

    def retained(self):
        """What a broker holds below the exercise root."""
        held = {}
        for outputs in self.told:
            for document in outputs.documents:
                if document.exercise:
                    held[document.topic] = document.body
        return {topic for topic, body in held.items() if body}

    def score(self):
        return told(self.drills.sheet)


def dose_rate(value, **more):
    quantity = Quantity.AMBIENT_DOSE_EQUIVALENT_RATE
    return Reading(Channel.DOSE_RATE, value, "µSv/h", quantity, **more)


def gamma(value):
    return Reading(
        Channel.GAMMA_COUNTS, value, "count", Quantity.GAMMA_COUNTS, window_s=1.0, independent=True
    )


@pytest.fixture
def rig():
    rig = Rig()
    rig.link()
    rig.seconds(5)
    return rig


async def test_the_real_pipeline_tells_the_same_with_and_without_a_drill():
    told = []
    for with_drill in (False, True):
        rig = Rig()
        rig.link()
        rig.seconds(100)
        if with_drill:
            await rig.drills.start(WITH_SOURCE, "lena")
        rig.seconds(50)
        if with_drill:
            await rig.drills.inject(
                {"nuclide": "Cs-137", "activity": "1 GBq", "x": 0, "y": 3}, "lena"
            )
        rig.seconds(30, b=1.0)
        rig.command("maintenance", "anna", detector="c", duration_s=60, reason="battery")
        rig.seconds(100, b=25.0)
        told.append(rig.real)
        assert bool(rig.events("raised")) is with_drill
        assert rig.events("raised", exercise=False), "and b has truly alarmed"
    assert told[0] == told[1]


async def test_everything_of_a_drill_is_of_the_exercise_and_simulated(rig):
    before = len(rig.told)
    await rig.drills.start(WITH_SOURCE, "lena")
    rig.seconds(60)
    rig.command("stop_exercise", "lena")
    mine = [each for each in rig.told[before:] if each not in rig.real]
    entries = [entry for each in mine for entry in each.entries]
    assert {entry.lane.is_exercise for entry in entries if "command/" not in entry.topic} == {True}
    assert all(document.exercise for each in mine for document in each.documents)
    samples = [json.loads(entry.body) for entry in entries if entry.topic.endswith("/sample")]
    assert {sample["detector"] for sample in samples} == {"a", "b", "c"}, "sim is simulated anyway"
    assert all(Flag.SIMULATED in sample["flags"] for sample in samples)
    assert all(event["exercise"] for event in rig.events(outputs=mine))
    assert not [event for event in rig.events(exercise=False) if event["exercise"]]


async def test_a_ghost_raises_an_alarm_where_it_is_and_the_real_reading_stays(rig):
    await rig.drills.start(WITH_SOURCE, "lena")
    rig.seconds(50)
    raised = rig.events("raised")
    assert ("a", "dose_rate", "R3") in {(e["detector"], e["alarm"], e["level"]) for e in raised}
    assert {event["detector"] for event in raised} == {"a"}, "100 m away it is nothing"
    (alarm,) = [event for event in raised if event["alarm"] == "dose_rate"]
    assert alarm["value"] == pytest.approx(0.1 + 92.4 * 0.1 / 4, rel=1e-4)
    assert not rig.events("raised", exercise=False)


async def test_a_real_source_is_told_as_real_at_its_time_whatever_exercise_is_on(rig):
    await rig.drills.start(WITH_SOURCE, "lena")
    rig.seconds(20)
    rig.second(b=3.0)
    (real,) = [e for e in rig.events("raised", exercise=False) if e["alarm"] == "dose_rate"]
    assert (real["detector"], real["level"], real["exercise"]) == ("b", "R3", False)
    assert real["raised"].endswith(f":{int(rig.now.wall) % 60:02d}.000Z")
    (beside,) = [
        e for e in rig.events("raised") if (e["detector"], e["alarm"]) == ("b", "dose_rate")
    ]
    assert beside["exercise"]
    score = rig.score()
    assert [one["occurrence"] for one in score["real"]] == [real["occurrence"]]
    assert [one["real"] for one in score["beside_real"]] == [real["occurrence"]]
    assert score["without_inject"] == []


async def test_an_alarm_that_is_up_in_truth_is_no_merit_of_a_ghost_and_hides_it(rig):
    await rig.drills.start(WITH_SOURCE, "lena")
    rig.seconds(55)
    rig.seconds(40, a=3.0, b=3.0)
    rig.command("stop_exercise", "lena")
    score = rig.score()
    carried, left = score["injects"]
    assert {one["at_s"] for one in carried["alarms"] if one["alarm"] == "dose_rate"} == {20.0}
    beside = [(one["detector"], one["at_s"]) for one in score["beside_real"]]
    assert {("a", 56.0), ("b", 56.0)} <= set(beside)
    assert left["name"] == "left"
    assert left["result"] == "hidden by a real alarm", "3.5 µSv/h beside 3 that are real"


async def test_while_it_is_on_the_sheet_does_not_judge_what_is_not_over(rig):
    await rig.drills.start(WITH_SOURCE, "lena")
    await rig.drills.inject(
        {"nuclide": "Cs-137", "activity": "1 MBq", "x": 50, "y": 0, "for_s": 8, "name": "weak"},
        "lena",
    )
    results = []
    for _ in range(3):
        rig.seconds(7)
        results.append({one["name"]: one["result"] for one in rig.score()["injects"]})
    assert results == [
        {"carried": "still to come", "weak": "not found yet"},
        {"carried": "still to come", "weak": "below every level"},
        {"carried": "found", "weak": "below every level"},
    ]


async def test_stop_closes_and_empties_everything_at_once_and_nothing_comes_after(rig):
    await rig.drills.start(WITH_SOURCE, "lena")
    rig.seconds(25)
    assert {"drill", "post/north", "detector/a/state"} <= rig.retained()
    assert any(topic.startswith("alarm/active/") for topic in rig.retained())
    before = rig.retained() - {"detector/sim/state"}
    answer = rig.command("stop_exercise", "lena")
    assert answer.accepted
    assert "drill spring over" in answer.reason
    assert rig.retained() == {"detector/sim/state"}, before
    opened = {event["occurrence"] for event in rig.events("raised")}
    assert opened == {event["occurrence"] for event in rig.events("closed")}
    assert rig.events()[-1]["event"] == "closed"
    assert {state for key, state in rig.states.items() if key.startswith("drill/alarm/")} == {b""}
    told = len(rig.events())
    rig.seconds(120)
    assert len(rig.events()) == told
    assert rig.drills.active() == []


async def test_the_sheet_says_what_was_found_when_and_by_whom(rig):
    await rig.drills.start(WITH_SOURCE, "lena")
    ghost = await rig.drills.inject(
        {
            "nuclide": "Cs-137",
            "activity": "1 MBq",
            "detector": "c",
            "distance_m": 5,
            "name": "weak",
        },
        "lena",
    )
    rig.seconds(22)
    (alarm,) = [e for e in rig.events("raised") if e["alarm"] == "dose_rate"]
    rig.seconds(3)
    assert rig.command("acknowledge", "otto", occurrence=alarm["occurrence"]).accepted
    rig.seconds(10)
    assert rig.command(
        "assess", "anna", occurrence=alarm["occurrence"], disposition="exercise", state="closed"
    ).accepted
    rig.seconds(60)
    rig.command("stop_exercise", "lena")
    score = rig.score()
    carried, weak, left = (
        next(one for one in score["injects"] if one["name"] == name)
        for name in ("carried", "weak", "left")
    )
    assert (ghost.what, ghost.where) == ("Cs-137 1 MBq", "at c, 5 m")
    assert (carried["from_s"], carried["to_s"], carried["result"]) == (20.0, 40.0, "found")
    assert list(carried["truth"]) == ["a"]
    assert carried["truth"]["a"]["peak_usv_h"] == pytest.approx(2.31)
    assert (carried["truth"]["a"]["level"], carried["truth"]["a"]["level_s"]) == ("R3", 20.0)
    first = next(one for one in carried["alarms"] if one["alarm"] == "dose_rate")
    assert (first["detector"], first["level"], first["at_s"]) == ("a", "R3", 20.0)
    assert carried["first_after_s"] == 0.0
    assert (first["acknowledged_by"], first["acknowledged_after_s"]) == ("otto", 5.0)
    assert (first["disposition"], first["assessed_by"]) == ("exercise", "anna")
    assert first["assessed_after_s"] == 15.0
    assert weak["result"] == "below every level"
    assert weak["by"] == "lena"
    assert left["result"] == "found"
    assert left["truth"]["b"]["peak_usv_h"] == pytest.approx(3.54)
    assert score["without_inject"] == []
    assert score["ended_how"] == "stopped"


async def test_a_ghost_that_nobody_finds_is_missed(rig):
    await rig.drills.start(DRILL, "lena")
    await rig.drills.inject(
        {"nuclide": "Cs-137", "activity": "1 GBq", "x": 100, "y": 1, "name": "quick"}, "lena"
    )
    rig.at += 3.0  # no sample meanwhile
    rig.step(Ticked())
    await rig.drills.remove("quick", "lena")
    rig.seconds(5)
    rig.command("stop_exercise", "anna")
    (quick,) = rig.score()["injects"]
    assert quick["result"] == "missed"
    assert quick["truth"]["b"]["level"] == "R4", "92.4 µSv/h"


async def test_orders_of_the_drill_reach_the_drill_and_those_of_the_world_both(rig):
    await rig.drills.start(WITH_SOURCE, "lena")
    rig.seconds(22)
    (alarm,) = [e for e in rig.events("raised") if e["alarm"] == "dose_rate"]
    answer = rig.command("acknowledge", "lena", occurrence=alarm["occurrence"])
    assert "lena may not acknowledge" in answer.reason
    rig.command(
        "shelve", "otto", detector="a", level="R3", duration_s=600, reason="a known patient"
    )
    shelved = rig.events("shelved")
    assert [event["occurrence"] for event in shelved] == [alarm["occurrence"]]


async def test_who_may_not_stop_does_not_stop_it(rig):
    await rig.drills.start(WITH_SOURCE, "lena")
    rig.seconds(25)
    answer = rig.command("stop_exercise", "otto")
    assert not answer.accepted
    assert "exercise_leader or assessor" in answer.reason
    assert rig.drills.is_on
    assert not rig.events("closed")


async def test_a_restart_ends_a_drill_and_clears_what_it_has_told(rig):
    await rig.drills.start(WITH_SOURCE, "lena")
    rig.seconds(25)
    opened = {event["occurrence"] for event in rig.events("raised")}
    assert opened
    rig.at += 10.0
    rig.start()
    assert opened == {event["occurrence"] for event in rig.events("closed")}
    assert rig.retained() <= {"detector/sim/state"}
    assert not rig.drills.is_on
    assert rig.drills.sheet.ended_how == "the gateway ended in the middle of the drill"
    told = len(rig.told)
    rig.start()
    assert len(rig.told) == told, "and once is enough"


async def test_a_drill_that_fails_costs_the_drill_alone(rig, monkeypatch):
    await rig.drills.start(WITH_SOURCE, "lena")
    rig.seconds(25)
    opened = {event["occurrence"] for event in rig.events("raised")}

    def fails(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(rig.drills._drill, "step", fails)
    rig.second(b=3.0)
    assert not rig.drills.is_on
    assert opened == {event["occurrence"] for event in rig.events("closed")}
    assert rig.retained() <= {"detector/sim/state"}
    assert [e for e in rig.events("raised", exercise=False) if e["detector"] == "b"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("nonsense", "not TOML"),
        (DRILL + '[[detector]]\nid = "aa"\narchetype = "PRD"\n', "'aa' is no live detector"),
        (DRILL + '[[detector]]\nid = "sim"\narchetype = "PRD"\n', "'sim' is no live detector"),
    ],
)
async def test_a_scenario_that_does_not_fit_is_refused_and_says_why(rig, text, why):
    with pytest.raises(BadDrill, match=why):
        await rig.drills.start(text, "lena")
    assert not rig.drills.is_on


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ({"nuclide": "Cs-173", "activity": "1 MBq", "x": 1, "y": 1}, "did you mean 'Cs-137'"),
        ({"nuclide": "Cs-137", "activity": "1", "x": 1, "y": 1}, "has no unit"),
        ({"nuclide": "Cs-137", "x": 1, "y": 1}, "go together"),
        ({"x": 1, "y": 1}, "emits nothing"),
        ({"nuclide": "Cs-137", "activity": "1 MBq"}, "say where"),
        ({"nuclide": "Cs-137", "activity": "1 MBq", "detector": "z"}, "'z' is no live detector"),
        ({"nuclide": "Cs-137", "activity": "1 MBq", "x": 1, "y": 1, "for_s": -1}, "below 0"),
        ({"nuclide": "Cs-137", "activity": "1 MBq", "x": 1, "y": 1, "name": "carried"}, "used"),
    ],
)
async def test_a_ghost_that_cannot_be_is_refused_and_says_why(rig, wanted, why):
    await rig.drills.start(WITH_SOURCE, "lena")
    with pytest.raises(BadDrill, match=why):
        await rig.drills.inject(wanted, "lena")


async def test_one_drill_at_a_time(rig):
    await rig.drills.start(DRILL, "lena")
    with pytest.raises(BadDrill, match="on already"):
        await rig.drills.start(DRILL, "lena")


async def test_a_gateway_of_simulated_detectors_has_no_drill():
    one = {**CONFIGURATION, "detector": [CONFIGURATION["detector"][3]]}
    with pytest.raises(BadDrill, match="no detector of this gateway is live"):
        await Rig(one).drills.start(DRILL, "lena")


async def test_a_ghost_goes_past(rig):
    await rig.drills.start(DRILL, "lena")
    await rig.drills.inject(
        {"nuclide": "Cs-137", "activity": "100 MBq", "past": "b", "in_s": 20, "name": "walker"},
        "lena",
    )
    rig.seconds(40)
    (walker,) = rig.score()["injects"]
    assert walker["where"] == "past b at 2 m, 1.2 m/s, nearest in 20 s"
    assert walker["truth"]["b"]["peak_s"] == 20.0
    assert walker["truth"]["b"]["peak_usv_h"] == pytest.approx(2.31)
    assert 15.0 < walker["truth"]["b"]["level_s"] < 20.0
    assert walker["result"] == "found"


async def test_the_sheets_are_written(rig, tmp_path):
    rig = Rig(folder=tmp_path)
    rig.link()
    await rig.drills.start(WITH_SOURCE, "lena")
    rig.seconds(30)
    assert rig.drills.stop("the gateway stopped") != Outputs()
    await rig.drills.settled()
    text, whole = (next((tmp_path / "drills").glob(f"*{end}")) for end in (".txt", ".json"))
    assert json.loads(whole.read_text()) == rig.score()
    said = text.read_text()
    assert "drill spring, begun" in said
    assert "over after 30 s by lena: the gateway stopped" in said
    assert "carried" in said
    assert "Cs-137 100 MBq" in said


async def test_what_was_learned_and_who_answers_is_known_at_once(rig):
    rig.step(Arrived("a", Sample((), identity=Identity(serial="4711")), rig.now))
    rig.seconds(120)
    await rig.drills.start(DRILL, "lena")
    rig.second()
    (about,) = [
        json.loads(document.body)
        for outputs in rig.told
        for document in outputs.documents
        if document.exercise and document.topic == "detector/a/about" and b"4711" in document.body
    ][-1:]
    assert about["serial"] == "4711"
    background = rig.drills._drill._pipeline.engine.background("a")
    assert background == pytest.approx(rig.pipeline.engine.background("a"), rel=0.05)


async def test_the_board_says_it_loudly_and_marks_what_is_not_real(rig):
    await rig.drills.start(WITH_SOURCE, "lena")
    rig.seconds(25, b=3.0)
    alarms = [*rig.pipeline.engine.active(), *rig.drills.active()]
    shown = board.board(rig.now, rig.pipeline.health(), alarms)
    shown["drill"] = {"name": "spring", "since_s": rig.drills.since_s(), "alarms": 1}
    lines = board.render(shown, colour=False).splitlines()
    assert lines[0] == (
        "*** DRILL spring is on since 25 s: alarms marked EXERCISE are not real, all others are ***"
    )
    mine = {event["occurrence"] for event in rig.events("raised")}
    real = {event["occurrence"] for event in rig.events("raised", exercise=False)}
    marked = [line for line in lines if "EXERCISE" in line and "***" not in line]
    assert any(name in line for line in marked for name in mine)
    assert not any(name in line for line in marked for name in real)
    assert "DRILL" not in board.render({**shown, "drill": None}, colour=False)


@pytest.mark.parametrize("nuclide", ["Cs-137", ""])
async def test_a_patient_without_known_shielding_is_refused_and_the_drill_goes_on(rig, nuclide):
    await rig.drills.start(WITH_SOURCE, "lena")
    wanted = {"kind": " patient", "activity": "100 MBq", "x": 0, "y": 0}
    with pytest.raises(BadDrill, match="--patient is for I-131, Tc-99m, F-18; not for"):
        await rig.drills.inject(wanted | {"nuclide": nuclide}, "lena")
    await rig.drills.inject(wanted | {"nuclide": "I-131"}, "lena")
    rig.seconds(3)
    assert rig.drills.is_on
    assert not rig.drills.failed


async def test_a_drill_that_fails_says_so_until_the_next_one(rig, monkeypatch):
    await rig.drills.start(DRILL, "lena")
    monkeypatch.setattr(rig.drills._drill, "step", lambda now, item: {}["Cs-137"])
    rig.second()
    assert not rig.drills.is_on
    assert rig.drills.failed.startswith("spring failed at ")
    assert rig.drills.failed.endswith(" UTC: KeyError: 'Cs-137'")
    assert rig.drills.sheet.ended_how == "the drill failed: KeyError: 'Cs-137'"
    shown = {**board.board(rig.now, rig.pipeline.health(), []), "drill_failed": rig.drills.failed}
    assert board.render(shown, colour=False).startswith("no drill is on; spring failed at ")
    await rig.drills.start(DRILL, "lena")
    assert not rig.drills.failed
