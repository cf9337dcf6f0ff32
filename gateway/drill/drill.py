"""A drill: ghost sources over the real instruments of a running gateway.

A second pipeline judges what the instruments would have said. It begins as the gateway would after
a restart, with the backgrounds, orders and serial numbers of the operational one and no alarms, and
all its detectors are simulated ones: everything it tells is of the exercise. The operational
pipeline is only read, and only at the beginning.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from config.models import Detector
from config.nuclides import SELF_SHIELDING
from drivers.api import Channel, Identity, Sample
from gateway.alarms.record import AlarmRecord, is_radiation
from gateway.drill.overlay import Overlay, Share
from gateway.drill.score import LOOK_BACK_S, Found, Inject, Sheet, culprit, saved
from gateway.drill.values import ALARM_KEY, SHEET_KEY, BadDrill, Ghost, Ghosts, Ground
from gateway.pipeline import Arrived, Commanded, Input, LinkChanged, Pipeline, Ticked
from gateway.posts import posts
from gateway.values import Answer, Command, Document, Entry, Instant, LinkState, Outputs
from gateway.wire.drill import DRILL, TOPIC, DrillTold
from gateway.wire.table import dump

LOOK_EVERY_S: Final = 1.0


class Drill:
    """One drill, from ``begin`` to ``end``; every method gives what is to be stored and told."""

    def __init__(
        self,
        ghosts: Ghosts,
        ground: Ground,
        leader: str,
        new_id: Callable[[], str],
        now: Instant,
        *,
        revision: str = "",
    ) -> None:
        live = ground.live
        if not live:
            raise BadDrill("no detector of this gateway is live: play the scenario with simulate")
        mine = tuple(each.model_copy(update={"simulated": True}) for each in live)
        self._configuration = ground.configuration.model_copy(update={"detector": mine})
        self._real = ground.configuration
        self._ground = ground
        self._ghosts = ghosts
        self._new_id = new_id
        self.started = now
        self._pipeline = Pipeline(
            self._configuration, ground.drivers, new_id, now, revision=revision
        )
        self._pipeline.restore(ground.learned, now)
        self._overlays = {each.id: self._overlay(each) for each in live}
        profiles = {name: self._pipeline.engine.detector(name).book.profile for name in self.names}
        self._levels = {
            name: sorted(
                ((level.id, level.raise_at) for level in profile.enabled_levels),
                key=lambda level: level[1],
            )
            for name, profile in profiles.items()
        }
        self._look_due = 0.0
        self._spoke: dict[str, float] = {}
        self._topics: dict[str, Document] = {}
        self.open_states: dict[str, bytes] = {}
        """The drill's open alarms, as the journal has them."""
        self.sheet = Sheet(
            ghosts.name,
            ghosts.title,
            leader,
            now.wall,
            self.names,
            tuple(name for name, profile in profiles.items() if profile.is_portal),
            tuple(ghosts.apart),
            tuple(ghosts.unplayed),
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The detectors that take part."""
        return tuple(each.id for each in self._configuration.detector)

    def begin(self, now: Instant, real: Iterable[AlarmRecord]) -> Outputs:
        """From now on; ``real`` alarms are as they stand. Then ``meet`` each detector."""
        self.started, self.sheet.started = now, now.wall
        told = DrillTold(
            self._ghosts.name, self._ghosts.title, self.sheet.leader, self.started, self.names
        )
        first = [Document(TOPIC, dump(DRILL.encode(told)), exercise=True)]
        first += [one for one in posts(self._configuration) if one.exercise]
        first += self._pipeline.about()
        for record in real:
            at_s = record.raised_at.mono - self.started.mono
            known = Found(record.occurrence, record.detector, record.alarm, record.level, at_s)
            if record.acknowledged:
                known.acknowledged_by, known.acknowledged_s = record.acknowledged_by, at_s
            self.sheet.real.append(known)
        self._note_ghosts(0.0)
        return self._own(Outputs(documents=tuple(first), urgent=True), now)

    def meet(self, detector: str, state: LinkState, reason: str, now: Instant) -> Outputs:
        """How the detector's link stands, and who answers there."""
        outputs = self._pipeline.step(now, LinkChanged(detector, state, reason))
        identity = self._ground.identities[detector]
        if identity != Identity():
            who = Arrived(detector, Sample((), identity=identity), now)
            outputs = outputs.merged(self._pipeline.step(now, who))
        return self._own(outputs, now)

    def step(self, now: Instant, item: Input) -> Outputs:
        """What the same input leads to with the ghosts over it."""
        match item:
            case Arrived(detector, output, at) if detector in self._overlays:
                if isinstance(output, Sample):
                    item = Arrived(detector, self._ghosted(detector, output, at), at)
            case LinkChanged(detector) if detector in self._overlays:
                pass
            case Ticked():
                self._look(now)
            case _:
                return Outputs()
        return self._own(self._pipeline.step(now, item), now)

    def inject(
        self, wanted: Mapping[str, object], user: str, now: Instant
    ) -> tuple[Ghost, Outputs]:
        """One more ghost. Raises BadDrill."""
        _check_patient(wanted)
        try:
            ghost = self._ghosts.inject(wanted, self._since(now))
        except ValueError as error:
            raise BadDrill(str(error)) from error
        self._note_ghosts(self._since(now), user)
        return ghost, self._kept()

    def remove(self, name: str, now: Instant) -> Outputs:
        """That ghost goes. Raises BadDrill."""
        if not self._ghosts.remove(name, self._since(now)):
            there = [one.name for one in self.present(now)]
            known = f"there are {', '.join(there)}" if there else "there is none"
            raise BadDrill(f"no ghost called {name!r} is there: {known}")
        self._note_ghosts(self._since(now))
        return self._kept()

    def present(self, now: Instant) -> list[Ghost]:
        """The ghosts that are there, or still to come."""
        at_s = self._since(now)
        return [one for one in self._ghosts.ghosts if one.to_s is None or one.to_s > at_s]

    def knows(self, occurrence: str) -> bool:
        """Whether that alarm is, or was, the drill's."""
        return self._pipeline.engine.knows(occurrence)

    def command(self, command: Command, now: Instant) -> tuple[Answer, Outputs]:
        """What somebody asks for about an alarm of the drill; its answer is told elsewhere."""
        outputs = self._pipeline.step(now, Commanded(command))
        return outputs.answers[0], self._own(outputs, now)

    def order(self, command: Command, now: Instant) -> Outputs:
        """An order about a detector, which was accepted as to the real one: it holds here too."""
        return self._own(self._pipeline.step(now, Commanded(command)), now)

    def observe(self, entries: Iterable[Entry], now: Instant) -> None:
        """Real alarms of meanwhile are listed apart."""
        for entry in entries:
            if entry.topic == "alarm/event" and not entry.lane.is_exercise:
                self.sheet.note_event(json.loads(entry.body), self._since(now), real=True)

    def active(self) -> list[AlarmRecord]:
        """Its alarms that are not closed."""
        return self._pipeline.engine.active()

    def end(self, command: Command, now: Instant, how: str) -> tuple[Answer, Outputs]:
        """It is over: every alarm closed, every document of it emptied, nothing comes after.

        ``command`` is the one that stops exercises; if it is refused nothing happens.
        """
        outputs = self._pipeline.step(now, Commanded(command))
        answer = outputs.answers[0]
        if not answer.accepted:
            return answer, Outputs()
        self._ghosts.advance(self._since(now))
        self._note_ghosts(self._since(now))
        mine = self._own(outputs, now)
        self.sheet.end(self._since(now), command.user, how)
        over = Outputs((), self.emptied(), ((SHEET_KEY, saved(self.sheet)),), urgent=True)
        return answer, mine.merged(over)

    def emptied(self) -> tuple[Document, ...]:
        """Empties what it has told and nobody else tells."""
        kept = {one.topic for one in posts(self._real) if one.exercise}
        return tuple(
            replace(one, body=b"") for topic, one in self._topics.items() if topic not in kept
        )

    def _since(self, now: Instant) -> float:
        return now.mono - self.started.mono

    def _overlay(self, detector: Detector) -> Overlay:
        channels = self._ground.drivers[detector.id].channels
        names = Channel.NUCLIDE in channels
        return Overlay(detector, self._ghosts.field(detector.id), names_nuclides=names)

    def _ghosted(self, detector: str, sample: Sample, at: Instant) -> Sample:
        at_s = max(0.0, self._since(at.earlier(sample.age_s)))
        self._advance(at_s)
        if sample.position is not None:
            self._ghosts.moved(detector, sample.position)
        self._note_truth(detector, at_s)
        self._spoke[detector] = at_s
        return self._overlays[detector].sample(sample, at_s)

    def _look(self, now: Instant) -> None:
        """What is true is noted where no sample comes, too."""
        if now.mono < self._look_due:
            return
        self._look_due = now.mono + LOOK_EVERY_S
        at_s = self.sheet.now_s = self._since(now)
        self._advance(at_s)
        for detector in self.names:
            if at_s - self._spoke.get(detector, 0.0) > LOOK_EVERY_S:
                self._note_truth(detector, at_s)

    def _advance(self, at_s: float) -> None:
        before = len(self._ghosts.ghosts)
        self._ghosts.advance(at_s)
        if len(self._ghosts.ghosts) != before:
            self._note_ghosts(at_s)

    def _note_ghosts(self, at_s: float, user: str = "") -> None:
        """Writes ghosts that are new, and ends, on the sheet."""
        for ghost in self._ghosts.ghosts:
            known = self.sheet.inject(ghost.name)
            if known is None:
                by = user or "the file"
                known = Inject(ghost.name, ghost.what, ghost.where, by, ghost.from_s)
                self.sheet.injects.append(known)
            known.to_s = ghost.to_s

    def _note_truth(self, detector: str, at_s: float) -> None:
        shares = self._ghosts.field(detector).shares(at_s, at_s)
        if shares:
            self.sheet.note_truth(detector, shares, self._levels[detector], at_s)

    def _own(self, outputs: Outputs, now: Instant) -> Outputs:
        """The drill's part of what its pipeline tells: of the exercise, and nothing else.

        Answers to commands are told where the command came from; what was learned is forgotten.
        """
        entries = tuple(one for one in outputs.entries if not one.topic.startswith("command/"))
        if not all(one.lane.is_exercise for one in entries) or not all(
            one.exercise for one in outputs.documents
        ):
            raise BadDrill("something of the drill would have been told as real")
        for document in outputs.documents:
            self._note_topic(document)
        states = tuple(
            (f"{ALARM_KEY}{key}", state) for key, state in outputs.states if "/" not in key
        )
        for key, state in states:
            if state:
                self.open_states[key] = state
            else:
                self.open_states.pop(key, None)
        for entry in entries:
            self._note_entry(entry, now)
        if outputs.urgent:
            states += ((SHEET_KEY, saved(self.sheet)),)
        return Outputs(entries, outputs.documents, states, outputs.urgent)

    def _kept(self) -> Outputs:
        return Outputs((), (), ((SHEET_KEY, saved(self.sheet)),), urgent=True)

    def _note_topic(self, document: Document) -> None:
        if document.body:
            self._topics[document.topic] = document
        else:
            self._topics.pop(document.topic, None)

    def _note_entry(self, entry: Entry, now: Instant) -> None:
        if entry.topic.startswith("assessment/"):
            self.sheet.note_assessment(json.loads(entry.body), self._since(now))
        if entry.topic != "alarm/event":
            return
        body = json.loads(entry.body)
        new = self.sheet.note_event(body, self._since(now), real=False)
        if new is None or not is_radiation(new.alarm):
            return
        members = [str(name) for name in body["members"]] or [new.detector]
        new.real = self.sheet.is_real(new)
        if not new.real:
            shares = self._recent(members, self._since(now))
            new.ghost = culprit(shares, neutrons=new.alarm == "neutron_rise")

    def _recent(self, detectors: Sequence[str], at_s: float) -> Iterable[Share]:
        """What the ghosts added in the time before: at each second, and as its mean."""
        for detector in detectors:
            if detector not in self._overlays:
                continue
            field = self._ghosts.field(detector)
            for ago in range(LOOK_BACK_S):
                if (end_s := at_s - ago) > 0.0:
                    yield from field.shares(end_s, end_s)
                    yield from field.shares(max(0.0, end_s - 1.0), end_s)


def _check_patient(wanted: Mapping[str, object]) -> None:
    """How much a person shields is known of a few nuclides. Raises BadDrill."""
    kind, nuclide = str(wanted.get("kind", "")).strip(), str(wanted.get("nuclide", "")).strip()
    if kind == "patient" and nuclide not in SELF_SHIELDING:
        known = ", ".join(SELF_SHIELDING)
        raise BadDrill(f"--patient is for {known}; not for {nuclide or 'neutrons alone'}")
