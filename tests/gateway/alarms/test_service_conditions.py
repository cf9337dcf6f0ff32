"""The gateway's own conditions as alarms: raised, returned, continued, bounded."""

import itertools
import json

import pytest

from config.models import Configuration
from gateway.alarms.record import AlarmEvent
from gateway.alarms.service import CONFIRM_S, OFF_DELAY_S, UPDATE_S
from gateway.board import board, render
from gateway.explanation import explain_occurrence
from gateway.guidance.catalogue import load
from gateway.guidance.codes import code_of
from gateway.pipeline import Commanded, Noticed, Pipeline, Ticked
from gateway.values import Command, Instant, Lane, Notice

KINDS = (
    "journal_damaged",
    "journal_stalled",
    "journal_shedding",
    "disk_nearly_full",
    "feed_down",
    "publish_refused",
    "no_subscriber",
    "client_id_in_use",
    "certificate",
    "orphans",
    "clock_unsynchronised",
)


class Bench:
    """A pipeline without detectors, on virtual time."""

    def __init__(self, states=None, at=1000.0):
        numbers = itertools.count(1)
        self.at = at
        self.states = dict(states or {})
        configuration = Configuration.model_validate({"gateway": {"id": "north"}})
        self.pipeline = Pipeline(configuration, {}, lambda: f"o{at:g}-{next(numbers)}", self.now)
        self.events = []
        self.lanes = set()
        self._keep(self.pipeline.restore(self.states, self.now))

    @property
    def now(self):
        return Instant(1.7e9 + self.at, self.at)

    def step(self, item):
        outputs = self.pipeline.step(self.now, item)
        self._keep(outputs)
        return outputs

    def _keep(self, outputs):
        self.states.update(outputs.states)
        for entry in outputs.entries:
            self.lanes.add(entry.lane)
            if entry.topic == "alarm/event":
                self.events.append(json.loads(entry.body))

    def notice(self, kind, present=True, detail="", sink=""):
        return self.step(Noticed(Notice(kind, present, detail, sink)))

    def wait(self, seconds, every=0.5):
        end = self.at + seconds
        while self.at < end:
            self.at = min(end, self.at + every)
            self.step(Ticked())

    def only(self):
        (record,) = self.pipeline.engine.active()
        return record

    def told(self):
        return [event["event"] for event in self.events]

    def restarted(self, after_s=5.0):
        return Bench(self.states, self.at + after_s)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_becomes_an_operational_technical_alarm_with_texts(kind):
    bench = Bench()
    outputs = bench.notice(kind, detail="because")
    assert outputs.urgent
    record = bench.only()
    assert (record.detector, record.alarm, record.level) == ("@gateway", kind, "H1")
    assert record.priority == (
        2 if kind in ("journal_damaged", "journal_stalled", "feed_down") else 3
    )
    assert not record.exercise
    assert record.note == "because"
    assert bench.lanes == {Lane.ALARMS}
    texts = load()
    for language in ("en", "zh"):
        assert texts.text(code_of(kind, "H1"), None, language).language == language


def test_a_sink_has_its_own_and_one_of_each_kind():
    bench = Bench()
    bench.notice("feed_down", sink="hall")
    bench.notice("feed_down", sink="centre")
    bench.notice("feed_down", sink="hall")
    bench.notice("certificate", sink="hall")
    places = sorted((one.detector, one.alarm) for one in bench.pipeline.engine.active())
    assert places == [
        ("@sink/centre", "feed_down"),
        ("@sink/hall", "certificate"),
        ("@sink/hall", "feed_down"),
    ]


def test_it_returns_when_it_is_over_and_stays_until_acknowledged():
    bench = Bench()
    bench.notice("journal_damaged", detail="set aside")
    bench.notice("journal_damaged", present=False)
    bench.wait(OFF_DELAY_S - 1)
    assert bench.only().active
    bench.wait(2)
    record = bench.only()
    assert record.display == "D"
    bench.step(Commanded(Command("acknowledge", "me", "c", (("occurrence", record.occurrence),))))
    assert not bench.pipeline.engine.active()
    assert bench.told() == ["raised", "returned", "acknowledged", "closed"]


def test_what_says_again_and_again_that_it_is_over_ends_all_the_same():
    bench = Bench()
    bench.notice("feed_down")
    for _ in range(15):
        bench.notice("feed_down", present=False)
        bench.wait(1)
    assert not bench.only().active


def test_a_flapping_condition_stays_one_occurrence():
    bench = Bench()
    for _ in range(100):
        bench.notice("journal_stalled")
        bench.wait(1)
        bench.notice("journal_stalled", present=False)
        bench.wait(1)
    assert bench.told() == ["raised"]


def test_changing_words_are_told_at_a_bounded_rate_and_the_last_ones_in_the_end():
    bench = Bench()
    bench.notice("orphans", detail="0")
    for number in range(1, 31):
        bench.notice("orphans", detail=str(number))
        bench.wait(1)
    bench.wait(UPDATE_S)
    assert bench.told().count(AlarmEvent.UPDATED) <= 30 / UPDATE_S + 1
    assert bench.only().note == "30"


def test_a_restart_continues_the_occurrence_and_its_acknowledgement():
    bench = Bench()
    bench.notice("feed_down", sink="hall", detail="refused")
    occurrence = bench.only().occurrence
    bench.step(Commanded(Command("acknowledge", "me", "c", (("occurrence", occurrence),))))
    later = bench.restarted()
    later.wait(CONFIRM_S / 2)
    later.notice("feed_down", sink="hall", detail="refused")
    later.wait(CONFIRM_S * 2)
    record = later.only()
    assert (record.occurrence, record.active, record.acknowledged_by) == (occurrence, True, "me")


def test_what_nobody_reports_again_after_a_restart_ends():
    bench = Bench()
    bench.notice("feed_down", sink="hall")
    later = bench.restarted()
    later.wait(CONFIRM_S - 2)
    assert later.only().active
    later.wait(4)
    assert not later.only().active


def test_bytes_that_are_no_characters_and_endless_words_are_kept_short_and_clean():
    bench = Bench()
    bench.notice("certificate", detail="x\udcff" + "y" * 10_000, sink="hall")
    assert len(bench.only().note) <= 400
    assert "\udcff" not in bench.only().note


def test_board_and_explanation_show_it():
    bench = Bench()
    bench.notice("feed_down", sink="hall", detail="10.0.0.1:8883 refuses connections")
    shown = board(bench.now, {}, bench.pipeline.engine.active())
    text = render(shown, colour=False)
    assert "@sink/hall" in text
    assert "10.0.0.1:8883 refuses connections" in text
    explained = "\n".join(map(str, explain_occurrence(bench.events)))
    assert "feed_down" in explained
    assert "10.0.0.1:8883 refuses connections" in explained


def order(bench, name, level="no_subscriber", *, place="@sink/hall", **arguments):
    given = {"detector": place, "level": level, "reason": "rehearsal", **arguments}
    outputs = bench.step(Commanded(Command(name, "me", "c", tuple(given.items()))))
    return outputs.answers[0]


def by_alarm(bench):
    return {one.alarm: one.display for one in bench.pipeline.engine.active()}


def test_one_condition_is_shelved_for_a_while_and_not_the_others_of_its_level():
    bench = Bench()
    bench.notice("no_subscriber", sink="hall")
    bench.notice("certificate", sink="hall")
    assert order(bench, "shelve", duration_s=600).accepted
    assert by_alarm(bench) == {"no_subscriber": "G", "certificate": "B"}
    bench.notice("no_subscriber", sink="hall", present=False)
    bench.wait(OFF_DELAY_S + 1)
    bench.notice("no_subscriber", sink="hall")
    assert by_alarm(bench)["no_subscriber"] == "G", "the next occurrence too"
    orders = bench.pipeline.engine.orders(["@sink/hall"])
    shown = board(bench.now, {}, bench.pipeline.engine.active(), orders)
    text = render(shown, colour=False)
    assert "no_subscriber shelved by me: rehearsal" in text
    bench.wait(600)
    assert by_alarm(bench)["no_subscriber"] == "B"


def test_a_condition_stays_shelved_over_a_restart_and_no_longer_than_was_said():
    bench = Bench()
    bench.notice("no_subscriber", sink="hall")
    order(bench, "shelve", duration_s=600)
    bench.wait(1)
    later = bench.restarted()
    later.notice("no_subscriber", sink="hall")
    later.wait(500)
    assert by_alarm(later) == {"no_subscriber": "G"}
    later.wait(100)
    assert by_alarm(later) == {"no_subscriber": "B"}
    order(later, "shelve", duration_s=600)
    assert order(later, "unshelve").accepted
    assert by_alarm(later) == {"no_subscriber": "B"}


def test_what_is_not_there_or_for_too_long_is_not_shelved():
    bench = Bench()
    bench.notice("no_subscriber", sink="hall")
    bench.notice("feed_down", sink="hall")
    refused = order(bench, "shelve", "H1", duration_s=60)
    assert not refused.accepted
    assert "there are: feed_down, no_subscriber" in refused.reason
    assert not order(bench, "shelve", place="@gateway", duration_s=60).accepted
    assert not order(bench, "shelve", duration_s=4 * 3600 + 1).accepted
    assert not order(bench, "shelve", "feed_down", duration_s=1801).accepted, "priority 2"
    assert not order(bench, "shelve", duration_s=60, reason="").accepted
    assert not order(bench, "unshelve").accepted


def test_nobody_closes_a_condition_that_goes_on():
    bench = Bench()
    bench.notice("feed_down", sink="hall")
    arguments = (("occurrence", bench.only().occurrence), ("reason", "tired of it"))
    outputs = bench.step(Commanded(Command("close", "me", "c", arguments)))
    assert not outputs.answers[0].accepted
    assert "ends by itself when its cause is gone" in outputs.answers[0].reason
