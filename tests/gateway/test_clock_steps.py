"""Steps of the wall clock change labels and nothing else, whenever they come."""

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.models import Configuration
from drivers.api import Channel, DriverInfo, Quantity, Reading, Sample, Verified
from gateway.alarms.service import OFF_DELAY_S
from gateway.documents import DocumentStore
from gateway.pipeline import Arrived, Commanded, Noticed, Pipeline, Ticked
from gateway.values import Command, Instant, Notice

INFO = DriverInfo(
    "made-up",
    "made up",
    "listener",
    ("Network Area Monitor",),
    ("serial",),
    (Channel.DOSE_RATE,),
    "none",
    Verified.CONSTRUCTED,
    1.0,
    lambda options: None,
)
YEAR_S = 365.25 * 86_400.0
WALL = 1.78e9
STEPS = {"+1 h": 3600.0, "-2 h": -7200.0, "+10 years": 10 * YEAR_S, "1970": -WALL}
LASTS_S = 900


class Play:
    """One course of alarms and orders; the wall clock steps when it is told to."""

    def __init__(self, steps):
        self.steps, self.at, self.offset = dict(steps), 0.0, WALL
        numbers = itertools.count(1)
        link = {"kind": "recording", "path": "-"}
        configuration = Configuration.model_validate(
            {
                "gateway": {"id": "gw"},
                "detector": [
                    {
                        "id": "d",
                        "driver": "made-up",
                        "link": link,
                        "commissioned": "2026-05-01 Cs-137",
                    }
                ],
            }
        )
        self.pipeline = Pipeline(
            configuration, {"d": INFO}, lambda: f"o{next(numbers)}", self.now, boot="b"
        )
        self.documents = DocumentStore("gw", 1, ["hall"])
        self.events, self.answers, self.revisions = [], [], {}
        self.run()

    @property
    def now(self):
        return Instant(self.offset + self.at, self.at)

    def run(self):
        for second in range(1, LASTS_S):
            self.at = float(second)
            self.offset += self.steps.get(second, 0.0)
            self.take(Ticked())
            self.take(Arrived("d", Sample((reading(field(second)),)), self.now))
            for name, arguments in self.orders(second):
                self.take(Commanded(Command(name, "anna", "c", tuple(arguments.items()))))
            if second in (200, 420):
                self.take(Noticed(Notice("feed_down", second == 200, "gone", "hall")))

    def orders(self, second):
        """A shelf, a mute and an acknowledgement, of whatever is open then."""
        if second == 30:
            yield "shelve", {"detector": "d", "level": "R3", "duration_s": 500, "reason": "r"}
        occurrences = [
            one.occurrence for one in self.pipeline.engine.active() if one.alarm == "dose_rate"
        ]
        if second == 200:
            yield from (
                ("silence", {"occurrence": one, "duration_s": 60, "reason": "r"})
                for one in occurrences
            )
        if second == 400:
            yield from (("acknowledge", {"occurrence": one, "revision": 1}) for one in occurrences)

    def take(self, item):
        outputs = self.pipeline.step(self.now, item)
        for entry in outputs.entries:
            body = json.loads(entry.body)
            if entry.topic == "alarm/event":
                told = ("event", "occurrence", "revision", "level", "shelved", "silenced", "active")
                self.events.append((self.at, *(body[key] for key in told)))
        self.answers += [(one.accepted, one.reason) for one in outputs.answers]
        self.documents.put(outputs.documents)
        for held in self.documents.all():
            before = self.revisions.get(held.key, 0)
            assert held.revision >= before
            self.revisions[held.key] = held.revision

    @property
    def told(self):
        held = [(each.key, each.revision) for each in self.documents.all() if each.payload]
        alarms = [one for one in held if one[0][1].startswith("alarm/active/")]
        return self.events, self.answers, alarms


def field(second):
    """R3, which is shelved, then R4, which is not."""
    return 5.0 if 60 < second < 180 else 30.0 if 180 <= second < 300 else 0.1


def reading(value):
    return Reading(Channel.DOSE_RATE, value, "µSv/h", Quantity.AMBIENT_DOSE_EQUIVALENT_RATE)


UNDISTURBED = Play({}).told


def test_the_undisturbed_course_has_what_a_step_could_disturb():
    events, answers, _ = UNDISTURBED
    names = {event[1] for event in events}
    assert {"raised", "silenced", "unsilenced", "re_alarmed", "returned"} <= names
    assert any(event[5] for event in events)
    (silenced,) = [event[0] for event in events if event[1] == "silenced"]
    (unsilenced,) = [event[0] for event in events if event[1] == "unsilenced"]
    assert unsilenced - silenced == 60.0
    ended = [event for event in events if event[1] == "returned"][-1]
    assert ended[0] == pytest.approx(420 + OFF_DELAY_S, abs=1.0)
    assert [accepted for accepted, _ in answers] == [True, True, False]
    assert answers[-1][1].startswith("stale: revision 1")


@pytest.mark.parametrize("second", [10, 40, 150, 310, 425, 520])
@pytest.mark.parametrize("step", STEPS)
def test_a_step_changes_nothing_but_labels(step, second):
    assert Play({second: STEPS[step]}).told == UNDISTURBED


@given(
    st.dictionaries(
        st.integers(1, LASTS_S), st.sampled_from(sorted(STEPS.values())), min_size=2, max_size=6
    )
)
@settings(max_examples=10, deadline=None)
def test_several_steps_change_nothing_either(steps):
    total, kept = WALL, {}
    for second in sorted(steps):  # the system does not go below 1970
        kept[second] = max(steps[second], -total)
        total += kept[second]
    assert Play(kept).told == UNDISTURBED
