"""Worked examples of every message: a short scenario, played through the real pipeline."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from itertools import count
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter

from config.actions import Event
from config.scenario import Scenario, load_scenario
from gateway.clock_state import ClockState, ClockTold
from gateway.delivery.message import prepend
from gateway.documents import ACTIVE, DocumentStore
from gateway.journal.record import Record
from gateway.sink_policy import Batcher, Reducer
from gateway.values import Document, Entry, Lane, Outputs
from gateway.verbs.virtual import VirtualPlay
from gateway.wire import gateways, places
from gateway.wire.alarms import brief
from gateway.wire.delivery import LOST, Lost
from gateway.wire.drill import DRILL, TOPIC, DrillTold
from gateway.wire.table import dump

SECONDS: Final = 75.0
EPOCH: Final = 12
SUMMARY_S: Final = 10.0
BATCHED: Final = 3
_ORDERS: Final[tuple[dict[str, object], ...]] = (
    {"at_s": 40, "do": "acknowledge", "detector": "hh-1", "user": "anna"},
    {
        "at_s": 20,
        "do": "assess",
        "detector": "hh-1",
        "user": "anna",
        "state": "identifying",
        "disposition": "innocent_medical",
        "nuclides": "Tc-99m",
    },
)
_EVENTS: Final = TypeAdapter(tuple[Event, ...])
_NEWEST: Final = ("state", "dose", "alarm", "alarm_event", "answer", "assessment", "sample")
"""Of these the last one says most; of the others the first."""


@dataclass(slots=True)
class _Story:
    """What a gateway would have sent."""

    gateway: str
    documents: DocumentStore
    numbers: dict[Lane, "count[int]"] = field(
        default_factory=lambda: {lane: count(1) for lane in Lane}
    )
    records: list[Record] = field(default_factory=list)
    alarms: dict[str, int] = field(default_factory=dict)
    told: dict[str, Any] = field(default_factory=dict)

    def add(self, outputs: Outputs) -> None:
        """One step of the pipeline: its records, then its documents."""
        for entry in outputs.entries:
            self.record(entry)
        self.documents.put(outputs.documents)
        for held in self.documents.all():
            if held.document in outputs.documents and held.payload:
                self.keep(held.payload)
        for document in outputs.documents:
            self._note_alarm(document)

    def record(self, entry: Entry) -> None:
        """A record with the next number of its lane."""
        seq = next(self.numbers[entry.lane])
        record = Record(entry.lane, EPOCH, seq, entry.topic, entry.body)
        self.records.append(record)
        self.keep(prepend(self.gateway, record))

    def keep(self, payload: bytes) -> None:
        """A message as it goes out, if it is the one to show."""
        body = brief(json.loads(payload))
        if body["kind"] in _NEWEST or body["kind"] not in self.told:
            self.told[body["kind"]] = body

    def note(self, body: bytes) -> None:
        """A message that is told once."""
        self.keep(self.documents.payload(body))

    def _note_alarm(self, document: Document) -> None:
        if not document.topic.startswith(ACTIVE):
            return
        occurrence = document.topic.removeprefix(ACTIVE)
        self.alarms.pop(occurrence, None)
        if document.body:
            self.alarms[occurrence] = json.loads(document.body)["revision"]


def examples() -> dict[str, Any]:
    """One message of each kind, as it is on the wire; the same each time."""
    scenario = _scenario()
    play = VirtualPlay(scenario)
    story = _Story("north", DocumentStore("north", EPOCH, ()))
    story.add(Outputs(documents=tuple(_retained(scenario, play))))
    for outputs in play.outputs():
        story.add(outputs)
    for body in _of_the_gateway(story, play):
        story.note(body)
    status = dump(gateways.STATUS.encode(_status(play)))
    story.keep(story.documents.payload(status, story.documents.next_revision()))
    lost = Lost(
        Lane.SAMPLES, EPOCH - 1, 40_001, 52_000, 12_000, "no room in the journal", ("site",)
    )
    story.record(Entry(Lane.ALARMS, "lost", dump(LOST.encode(lost))))
    _gather(story)
    story.told["command"] = {
        "id": "7f3a",
        "epoch": EPOCH,
        "heartbeat": 7,
        "arguments": {"lane": "samples", "epoch": EPOCH, "first": 17, "last": 40},
    }
    return story.told


def _scenario() -> Scenario:
    path = Path(str(files("config") / "examples" / "scenarios" / "event.toml"))
    scenario = load_scenario(path)
    settings = scenario.scenario.model_copy(update={"duration_s": SECONDS})
    orders = _EVENTS.validate_python(_ORDERS)
    return scenario.model_copy(update={"scenario": settings, "event": (*scenario.event, *orders)})


def _retained(scenario: Scenario, play: VirtualPlay) -> Iterator[Document]:
    for post in scenario.post:
        yield Document(f"post/{post.id}", dump(places.POST.encode(post)))
    yield from play.about()
    name, title = scenario.scenario.name, scenario.scenario.title
    names = tuple(each.id for each in scenario.detector)
    drill = DrillTold(name, title, "meyer", play.instant(0.0), names)
    yield Document(TOPIC, dump(DRILL.encode(drill)), exercise=True)


def _status(play: VirtualPlay) -> gateways.Status:
    previous = ((Lane.ALARMS.value, 17), (Lane.SAMPLES.value, 52_000))
    return gateways.Status(
        "online", "0.1.0", EPOCH, play.instant(0.0), previous, "0f3c5a1b2d4e6f78"
    )


def _of_the_gateway(story: _Story, play: VirtualPlay) -> Iterator[bytes]:
    active = sorted(f"{name}:{revision}" for name, revision in story.alarms.items())
    newest: dict[str, int] = {}
    for record in story.records:
        newest[record.lane.value] = record.seq
    clock = ClockTold(ClockState.SYNCHRONISED, 0.002)
    beat = gateways.Heartbeat(
        7,
        EPOCH,
        play.instant(70.0),
        tuple(newest.items()),
        len(active),
        hashlib.sha256("\n".join(active).encode()).hexdigest(),
        (("site", 0),),
        clock,
    )
    yield dump(gateways.HEARTBEAT.encode(beat))
    figures = play.figures()
    health: dict[str, gateways.Figures] = {
        key.name: {} for key in gateways.HEALTH.keys if not key.optional
    }
    health["alarms"] = {"per_operator_10_min": figures.per_operator, "stale": figures.stale}
    health["alarm_sources"] = dict(figures.top)
    health["process"] = {"uptime_s": 70.0, "loop_lag_ms": 1.5, "memory_mb": 61.0, "restarts": 0}
    health["clock"] = {"state": "synchronised", "offset_s": 0.002}
    health["journal"] = {"stored": len(story.records), "disk_free_mb": 81_000.0}
    health["sinks"] = {"site.state": "online", "site.owed": 0}
    yield dump(gateways.HEALTH.encode(health))


def _gather(story: _Story) -> None:
    """The same samples as a poor link gets them."""
    samples = [record for record in story.records if record.topic == "detector/hh-1/sample"]
    reducer, batcher = Reducer(SUMMARY_S), Batcher()
    for record in samples[: int(SUMMARY_S)]:
        reducer.add(record)
    for record in samples[:BATCHED]:
        batcher.add(record)
    for bundle in (*reducer.finish(), *batcher.finish()):
        story.keep(prepend(story.gateway, bundle))
