"""Normalise, judge, encode: one pure object that runs live, in simulation and in replay.

``step(now, input) -> outputs``. It reads no clock and does no I/O; whoever runs it stores the
outputs and brings the time.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from config.models import Configuration
from drivers.api import DriverInfo, Flag, Identity, Output, Passage, Sample
from drivers.errors import DriverError
from drivers.quick import quick
from gateway.alarms.engine import AlarmEngine
from gateway.alarms.profiles import DetectorProfile, resolve_profile, resolve_settings
from gateway.alarms.record import Change
from gateway.alarms.reservations import reserved
from gateway.alarms.rights import Rights
from gateway.detector_line import DetectorLine, stand_in
from gateway.health import DetectorHealth
from gateway.labels import Labels
from gateway.normalise import link_id
from gateway.values import (
    Answer,
    Command,
    Document,
    Entry,
    Instant,
    Lane,
    LinkState,
    Measured,
    Notice,
    Outputs,
)
from gateway.wire import samples
from gateway.wire.alarms import ANSWER, ASSESSED, Answered, encode_active, encode_event
from gateway.wire.table import dump

NOTHING: Final = Outputs()
States = tuple[tuple[str, bytes], ...]
Remember = Callable[[Answer], States]
_NOT_IN_TOPICS: Final = re.compile(r"[^A-Za-z0-9._-]")


def forget(_: Answer) -> States:
    """Nothing is remembered of an answer."""
    return ()


@quick(frozen=True, slots=True)
class Arrived:
    """A driver's output, when its bytes arrived."""

    detector: str
    output: Output
    at: Instant


@dataclass(frozen=True, slots=True)
class LinkChanged:
    """What happened to a link."""

    detector: str
    state: LinkState
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time passed; at least once a second."""


@dataclass(frozen=True, slots=True)
class Commanded:
    """An operator's command; what ``remember`` makes of its answer is stored with it.

    ``also`` is what was done beside the alarms, if it is accepted.
    """

    command: Command
    remember: Remember = forget
    also: str = ""


@dataclass(frozen=True, slots=True)
class Settled:
    """A command that was refused, or carried out, beside the alarms; its answer is told.

    ``exercise``: below the exercise root, where nobody waits for it below the other.
    """

    answer: Answer
    remember: Remember = forget
    exercise: bool = False


@dataclass(frozen=True, slots=True)
class Noticed:
    """A condition of the gateway itself."""

    notice: Notice


Input = Arrived | LinkChanged | Ticked | Commanded | Settled | Noticed


class Pipeline:
    """All detectors of one gateway."""

    def __init__(
        self,
        configuration: Configuration,
        drivers: Mapping[str, DriverInfo],
        new_id: Callable[[], str],
        started: Instant,
        *,
        boot: str = "",
        revision: str = "",
    ) -> None:
        self._labels = Labels(started)
        self._is_doubtful = False
        self._lines: dict[str, DetectorLine] = {}
        profiles: dict[str, DetectorProfile] = {}
        taken = {detector.id for detector in configuration.detector}
        for detector in configuration.detector:
            info = drivers[detector.id]
            profile = resolve_profile(detector, configuration, info)
            profile = replace(profile, configuration=revision)
            profiles[detector.id] = profile
            name = link_id(detector.id, taken)
            taken.add(name)
            line = DetectorLine(detector, info, profile, name, started)
            self._lines[detector.id] = line
        self._stand_ins = {
            line.link_id: stand_in(line.profile, line.link_id) for line in self._lines.values()
        }
        self._is_exercise = bool(configuration.detector) and all(
            detector.simulated for detector in configuration.detector
        )
        self.engine = AlarmEngine(
            profiles,
            resolve_settings(configuration.alarms, revision),
            new_id,
            rights=Rights(configuration.user),
            stand_ins=self._stand_ins,
            posts=frozenset(post.id for post in configuration.post),
            boot=boot,
            exercise=self._is_exercise,
        )

    def restore(self, states: Mapping[str, bytes], now: Instant) -> Outputs:
        """Continues the alarms of the run before; first of all steps."""
        told = self._told(self.engine.restore(states, now))
        for line in self._lines.values():
            self._expect(line)
            line.health.conditions = self.engine.detector(line.detector.id).conditions(now)
        return told

    def step(self, now: Instant, item: Input) -> Outputs:
        """What one input leads to."""
        self._is_doubtful = self._labels.look(now)
        if isinstance(item, Arrived):  # nearly always
            return self._arrived(self._lines[item.detector], item.output, item.at, now)
        match item:
            case LinkChanged(detector, state, reason):
                return self._link_changed(self._lines[detector], state, reason, now)
            case Commanded():
                return self._commanded(item, now)
            case Settled(answer, remember, exercise):
                entries = (self._answer_entry(answer, now, exercise=exercise),)
                return Outputs(entries, (), remember(answer), urgent=True, answers=(answer,))
            case Noticed(notice):
                return self._told(self.engine.notice(notice, now))
        return self._ticked(now)

    def health(self) -> Mapping[str, DetectorHealth]:
        """How each detector is doing."""
        return {key: line.health for key, line in self._lines.items()}

    def identities(self) -> Mapping[str, Identity]:
        """Who answers on each detector's link."""
        return {key: line.normaliser.identity for key, line in self._lines.items()}

    def about(self) -> tuple[Document, ...]:
        """What each detector is, as retained documents."""
        return tuple(self._about(line) for line in self._lines.values())

    def _arrived(self, line: DetectorLine, output: Output, at: Instant, now: Instant) -> Outputs:
        if isinstance(output, Sample):
            return self._sample(line, output, at, now)
        if isinstance(output, Passage):
            return self._passage(line, output, at, now)
        return self._reject(line, output)

    def _sample(self, line: DetectorLine, sample: Sample, at: Instant, now: Instant) -> Outputs:
        measured = line.normaliser.sample(sample, at)
        judge = self.engine.detector(line.detector.id)
        if judge.book.orders.maintenance is not None:
            measured = replace(measured, flags=(*measured.flags, Flag.MAINTENANCE))
        changes = self._judged(line, measured, now)
        if line.is_foreign:
            judge = self.engine.detector(measured.detector)
        lost, folded = judge.loss.is_lost, judge.dose_rate.fold.suspect
        if lost or folded:
            measured = reserved(measured, lost=lost, folded=folded)
        line.health.note_sample(measured, now)
        documents = line.state(now)
        if sample.identity is not None:
            documents += (self._about(line),)
        entries = () if not measured.readings else (self._sample_entry(line, measured),)
        if not changes:
            return Outputs(entries, documents)
        return Outputs(entries, documents).merged(self._told(changes))

    def _judged(self, line: DetectorLine, measured: Measured, now: Instant) -> list[Change]:
        """Alarms of a sample; another instrument's are judged under the link's own id."""
        if not line.is_foreign and not line.normaliser.is_mismatched:
            return self.engine.measured(measured, now)
        changes = self._identified(line, now)
        if not line.is_foreign:
            return changes + self.engine.measured(measured, now)
        said = replace(measured, detector=line.detector.id, readings=(), counts=None, position=None)
        changes += self.engine.measured(said, now)
        flags = tuple(flag for flag in measured.flags if flag is not Flag.IDENTITY_MISMATCH)
        return changes + self.engine.measured(replace(measured, flags=flags), now)

    def _identified(self, line: DetectorLine, now: Instant) -> list[Change]:
        """Nothing stands behind the alarms of the instrument that was there before."""
        if line.is_foreign is line.normaliser.is_mismatched:
            return []
        line.is_foreign = line.normaliser.is_mismatched
        if line.is_foreign:
            return self.engine.link(line.detector.id, False, "another instrument answers", now)
        changes = self.engine.link(line.link_id, False, "the configured instrument is back", now)
        return changes + self.engine.link(line.detector.id, True, "", now)

    def _sample_entry(self, line: DetectorLine, measured: Measured) -> Entry:
        if self._is_doubtful and measured.time_estimated:
            measured = replace(measured, flags=_doubtful(measured.flags))
        body = samples.SAMPLE.text(samples.Told(measured)).encode()
        return Entry(line.sample_lane, f"detector/{measured.detector}/sample", body)

    def _passage(self, line: DetectorLine, passage: Passage, at: Instant, now: Instant) -> Outputs:
        record = line.normaliser.passage(passage, at)
        line.health.note_passage(now)
        told = samples.PassageTold(record, statistic=self.engine.statistic(record))
        body = dump(samples.PASSAGE.encode(told))
        entry = Entry(line.sample_lane, f"detector/{record.detector}/passage", body)
        outputs = Outputs((entry,), line.state(now))
        return outputs.merged(self._told(self.engine.passage(record, now)))

    def _reject(self, line: DetectorLine, error: DriverError) -> Outputs:
        line.health.note_reject(error)
        return NOTHING

    def _link_changed(
        self, line: DetectorLine, state: LinkState, reason: str, now: Instant
    ) -> Outputs:
        line.health.link, line.health.link_reason = state, reason
        is_up = state is LinkState.READING
        changes = []
        if line.is_foreign:
            changes += self.engine.link(line.link_id, is_up, reason, now)
        changes += self.engine.link(line.detector.id, is_up and not line.is_foreign, reason, now)
        return Outputs(documents=line.state(now)).merged(self._told(changes))

    def _ticked(self, now: Instant) -> Outputs:
        outputs = self._told(self.engine.tick(now))
        documents: list[Document] = []
        entries: list[Entry] = []
        for name, line in self._lines.items():
            alarms = self.engine.detector(name)
            if line.looks != alarms.looks:
                line.looks = alarms.looks
                line.health.conditions = alarms.conditions(now)
                entries += line.watch(alarms.standings(), now)
                documents += line.state(now)
            elif line.health.has_aged(now):
                documents += line.state(now)
            documents += line.dose(alarms, now)
        states = self.engine.saved(now)
        if not (documents or entries or states):
            return outputs
        return outputs.merged(Outputs(tuple(entries), tuple(documents), tuple(states)))

    def _about(self, line: DetectorLine) -> Document:
        return line.about(self.engine.detector(line.detector.id))

    def _commanded(self, item: Commanded, now: Instant) -> Outputs:
        """Carried out or refused; both are journalled, and what was assessed beside them."""
        command = item.command
        answer, changes = self.engine.command(command, now)
        if item.also and answer.accepted:
            answer = replace(answer, reason=f"{answer.reason}; {item.also}")
        entries = [self._answer_entry(answer, now)]
        states = list(item.remember(answer))
        for assessment in self.engine.take_assessments():
            lane = Lane.EXERCISE_RESTRICTED if assessment.exercise else Lane.RESTRICTED
            body = dump(ASSESSED.encode(assessment))
            entries.append(Entry(lane, f"assessment/{assessment.occurrence}", body))
            states.append(self.engine.assessment_state(assessment.occurrence))
        documents: tuple[Document, ...] = ()
        line = self._lines.get(command.get("detector"))
        if answer.accepted and line is not None:
            self._expect(line)
            documents = (self._about(line), *self._noted_state(line, now))
        if answer.accepted:
            states += self.engine.saved(now)
        told = self._told(changes)
        return told.merged(
            Outputs(tuple(entries), documents, tuple(states), urgent=True, answers=(answer,))
        )

    def _answer_entry(self, answer: Answer, now: Instant, *, exercise: bool = False) -> Entry:
        user = _NOT_IN_TOPICS.sub("_", answer.command.user) or "_"
        lane = Lane.EXERCISE_RESTRICTED if exercise or self._is_exercise else Lane.RESTRICTED
        return Entry(lane, f"command/{user}/result", dump(ANSWER.encode(Answered(answer, now))))

    def _expect(self, line: DetectorLine) -> None:
        """The serial number that is expected since the last replacement."""
        serial = self.engine.detector(line.detector.id).serial
        if serial is not None:
            line.normaliser.expect(serial)

    def _noted_state(self, line: DetectorLine, now: Instant) -> tuple[Document, ...]:
        line.health.conditions = self.engine.detector(line.detector.id).conditions(now)
        return line.state(now)

    def _told(self, changes: list[Change]) -> Outputs:
        if not changes:
            return NOTHING
        entries, documents, states = [], {}, {}
        for change in map(self._flagged, changes):
            record = change.record
            lane = Lane.EXERCISE_ALARMS if record.exercise else Lane.ALARMS
            entries.append(Entry(lane, "alarm/event", dump(encode_event(change))))
            topic = f"alarm/active/{record.occurrence}"
            body = b"" if record.closed_at is not None else dump(encode_active(record))
            documents[topic] = Document(topic, body, record.exercise, durable=True)
            states[record.occurrence] = self.engine.state_bytes(record.occurrence)
        return Outputs(tuple(entries), tuple(documents.values()), tuple(states.items()), True)

    def _flagged(self, change: Change) -> Change:
        """What another instrument than the configured one raised says so, and a stepped clock."""
        record = change.record
        flags = _doubtful(record.flags) if self._is_doubtful else record.flags
        if record.detector in self._stand_ins and Flag.IDENTITY_MISMATCH not in flags:
            flags = (*flags, Flag.IDENTITY_MISMATCH)
        if flags is record.flags:
            return change
        return replace(change, record=replace(record, flags=flags))


def _doubtful(flags: tuple[Flag, ...]) -> tuple[Flag, ...]:
    is_told = Flag.TIME_UNSYNCHRONISED in flags
    return flags if is_told else (*flags, Flag.TIME_UNSYNCHRONISED)
