"""Plays scenario files as ``dosegate simulate`` does, and keeps what was told of alarms."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from config.scenario import Scenario, load_scenario
from gateway.alarms.record import AlarmRecord
from gateway.values import Lane, Outputs
from gateway.verbs.heard import Told, unanswered, unmet
from gateway.verbs.virtual import VirtualPlay

HERE = Path(__file__).resolve().parent
ACTIVE = "alarm/active/"
Body = dict[str, Any]


@dataclass(slots=True)
class Played:
    """One finished run: alarm events as told and as written, and the other kinds asked for."""

    scenario: Scenario
    play: VirtualPlay
    events: list[Body] = field(default_factory=list)
    lanes: list[Lane] = field(default_factory=list)
    kept: dict[str, list[Body]] = field(default_factory=dict)
    retained: dict[str, Body] = field(default_factory=dict)

    @property
    def told(self) -> list[Told]:
        """Every alarm event with the moment in which it was told; ``events`` has their bodies."""
        return self.play.heard.alarms

    @property
    def failed(self) -> list[str]:
        """What the file expects and the run did not do."""
        return [
            *unanswered(self.play.answers),
            *unmet(self.scenario.expect, self.play.heard.alarms),
        ]

    def find(self, event: str = "raised", **having: object) -> list[tuple[float, Body]]:
        """Events of one name with their moments."""
        return [
            (told.at_s, body)
            for told, body in zip(self.told, self.events, strict=True)
            if body["event"] == event and all(body[key] == it for key, it in having.items())
        ]

    def moments(self, event: str = "raised", **having: object) -> list[float]:
        """When events of one name were told, in seconds of play."""
        return [at_s for at_s, _ in self.find(event, **having)]

    def raised(self) -> Counter[str]:
        """How often each alarm object was raised."""
        return Counter(body["alarm"] for _, body in self.find())

    def records(self) -> list[AlarmRecord]:
        """Alarms that are not closed at the end."""
        return self.play.active()

    def check_fold(self) -> None:
        """The history of events adds up to the alarms that are open at the end."""
        newest: dict[str, Body] = {}
        for body in self.events:
            before = newest.get(body["occurrence"])
            if before is None:
                assert (body["event"], body["revision"]) == ("raised", 1), body
            else:
                assert body["event"] != "raised", body
                assert before["event"] != "closed", body
                assert body["revision"] >= before["revision"], body
            newest[body["occurrence"]] = body
        folded = {name: body for name, body in newest.items() if body["event"] != "closed"}
        open_now = {record.occurrence: record for record in self.records()}
        assert folded.keys() == open_now.keys()
        assert folded.keys() == {name.removeprefix(ACTIVE) for name in self.retained}
        for name, record in open_now.items():
            for said in (folded[name], self.retained[ACTIVE + name]):
                assert said["revision"] == record.revision
                for key in ("active", "acknowledged", "latched", "stale", "level", "priority"):
                    assert said[key] == getattr(record, key), (name, key)


def _take(played: Played, outputs: Outputs, kinds: Sequence[str]) -> None:
    for entry in outputs.entries:
        last = entry.topic.rpartition("/")[2]
        if entry.topic == "alarm/event":
            played.events.append(json.loads(entry.body))
            played.lanes.append(entry.lane)
        elif last in kinds:
            played.kept.setdefault(last, []).append(json.loads(entry.body))
    for document in outputs.documents:
        last = document.topic.rpartition("/")[2]
        if document.topic.startswith(ACTIVE):
            if document.body:
                played.retained[document.topic] = json.loads(document.body)
            else:
                played.retained.pop(document.topic, None)
        elif last in kinds and document.body:
            played.kept.setdefault(last, []).append(json.loads(document.body))


@lru_cache(maxsize=16)
def _load(name: str) -> Scenario:
    return load_scenario(HERE / name)


def play_scenario(scenario: Scenario, seed: int | None, kinds: Sequence[str] = ()) -> Played:
    """Plays to the end; the history of its alarms always adds up."""
    played = Played(scenario, VirtualPlay(scenario, seed))
    for outputs in played.play.outputs():
        _take(played, outputs, kinds)
    played.check_fold()
    return played


@pytest.fixture(scope="session")
def scenario() -> Callable[[str], Scenario]:
    """A scenario file of this folder, by its name."""
    return _load


@pytest.fixture(scope="session")
def play() -> Callable[..., Played]:
    """Plays a file of this folder, or a scenario made of one; ``kinds`` are kept beside alarms."""

    def play(which: str | Scenario, seed: int | None = None, kinds: Sequence[str] = ()) -> Played:
        found = _load(which) if isinstance(which, str) else which
        return play_scenario(found, seed, kinds)

    return play


@pytest.fixture(scope="session")
def play_seeds(play: Callable[..., Played]) -> Callable[..., Iterator[Played]]:
    """Plays a file with twenty seeds, one after the other."""

    def play_seeds(which: str, count: int = 20, kinds: Sequence[str] = ()) -> Iterator[Played]:
        return (play(which, seed, kinds) for seed in range(1, count + 1))

    return play_seeds
