"""Normalise, judge, encode: one pure object that runs live, in simulation and in replay.

``step(now, input) -> outputs``. It reads no clock and does no I/O; whoever runs it stores the
outputs and brings the time.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from config.models import Configuration, Detector
from drivers.api import DriverInfo, Flag, Output, Passage, Sample
from drivers.errors import DriverError
from gateway import wire
from gateway.alarms.engine import AlarmEngine
from gateway.alarms.profiles import DetectorProfile, resolve_profile, resolve_settings
from gateway.alarms.record import Change
from gateway.health import DetectorHealth
from gateway.normalise import Normaliser, link_id
from gateway.values import (
    Command,
    Document,
    Entry,
    Instant,
    Lane,
    LinkState,
    Measured,
    Outputs,
)
from gateway.wire_alarms import encode_active, encode_event
from gateway.wire_table import dump

NOTHING: Final = Outputs()


@dataclass(frozen=True, slots=True)
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
    """An operator's command, its rights already checked."""

    command: Command


Input = Arrived | LinkChanged | Ticked | Commanded


class Pipeline:
    """All detectors of one gateway."""

    def __init__(
        self,
        configuration: Configuration,
        drivers: Mapping[str, DriverInfo],
        new_id: Callable[[], str],
        started: Instant,
    ) -> None:
        self._lines: dict[str, _DetectorLine] = {}
        profiles: dict[str, DetectorProfile] = {}
        taken = {detector.id for detector in configuration.detector}
        for detector in configuration.detector:
            info = drivers[detector.id]
            profile = resolve_profile(detector, configuration.alarms, info)
            profiles[detector.id] = profile
            stand_in = link_id(detector.id, taken)
            taken.add(stand_in)
            line = _DetectorLine(detector, info, profile, stand_in, started)
            self._lines[detector.id] = line
        settings = resolve_settings(configuration.alarms)
        stand_ins = {
            line.link_id: _stand_in(line.profile, line.link_id)
            for line in self._lines.values()
            if line.profile.serial is not None
        }
        # They speak only in place of their detectors and take no share of the budget.
        share = _channels(profiles | stand_ins) / max(_channels(profiles), 1)
        settings = replace(
            settings, false_alarms_per_hour=settings.false_alarms_per_hour * max(share, 1.0)
        )
        self._stand_ins = frozenset(stand_ins)
        self.engine = AlarmEngine(profiles | stand_ins, settings, new_id)

    def restore(self, states: Mapping[str, bytes], now: Instant) -> Outputs:
        """Continues the alarms of the run before; first of all steps."""
        return self._told(self.engine.restore(states, now))

    def step(self, now: Instant, item: Input) -> Outputs:
        """What one input leads to."""
        match item:
            case Arrived(detector, output, at):
                return self._arrived(self._lines[detector], output, at, now)
            case LinkChanged(detector, state, reason):
                return self._link_changed(self._lines[detector], state, reason, now)
            case Commanded(command):
                answer, changes = self.engine.command(command, now)
                told = self._told(changes)
                return told.merged(Outputs(answers=(answer,), urgent=True))
        return self._ticked(now)

    def health(self) -> Mapping[str, DetectorHealth]:
        """How each detector is doing."""
        return {key: line.health for key, line in self._lines.items()}

    def about(self) -> tuple[Document, ...]:
        """What each detector is, as retained documents."""
        return tuple(self._about(line) for line in self._lines.values())

    def _arrived(self, line: "_DetectorLine", output: Output, at: Instant, now: Instant) -> Outputs:
        if isinstance(output, Sample):
            return self._sample(line, output, at, now)
        if isinstance(output, Passage):
            return self._passage(line, output, at, now)
        return self._reject(line, output)

    def _sample(self, line: "_DetectorLine", sample: Sample, at: Instant, now: Instant) -> Outputs:
        measured = line.normaliser.sample(sample, at)
        line.health.note_sample(measured, now)
        changes = self._judged(line, measured, now)
        documents = self._state_documents(line, now)
        if sample.identity is not None:
            documents += (self._about(line),)
        entries = () if not measured.readings else (self._sample_entry(line, measured),)
        if not changes:
            return Outputs(entries, documents)
        return Outputs(entries, documents).merged(self._told(changes))

    def _judged(self, line: "_DetectorLine", measured: Measured, now: Instant) -> list[Change]:
        """Alarms of a sample; another instrument's are judged under the link's own id."""
        changes = self._identified(line, now)
        if not line.is_foreign:
            return changes + self.engine.measured(measured, now)
        said = replace(measured, detector=line.detector.id, readings=(), counts=None, position=None)
        changes += self.engine.measured(said, now)
        flags = tuple(flag for flag in measured.flags if flag is not Flag.IDENTITY_MISMATCH)
        return changes + self.engine.measured(replace(measured, flags=flags), now)

    def _identified(self, line: "_DetectorLine", now: Instant) -> list[Change]:
        """Nothing stands behind the alarms of the instrument that was there before."""
        if line.is_foreign is line.normaliser.is_mismatched:
            return []
        line.is_foreign = line.normaliser.is_mismatched
        if line.is_foreign:
            return self.engine.link(line.detector.id, False, "another instrument answers", now)
        changes = self.engine.link(line.link_id, False, "the configured instrument is back", now)
        return changes + self.engine.link(line.detector.id, True, "", now)

    def _sample_entry(self, line: "_DetectorLine", measured: Measured) -> Entry:
        body = wire.SAMPLE.text(wire.Told(measured)).encode()
        return Entry(line.sample_lane, f"detector/{measured.detector}/sample", body)

    def _passage(
        self, line: "_DetectorLine", passage: Passage, at: Instant, now: Instant
    ) -> Outputs:
        record = line.normaliser.passage(passage, at)
        line.health.note_passage(now)
        body = dump(wire.PASSAGE.encode(wire.PassageTold(record)))
        entry = Entry(line.sample_lane, f"detector/{record.detector}/passage", body)
        outputs = Outputs((entry,), self._state_documents(line, now))
        return outputs.merged(self._told(self.engine.passage(record, now)))

    def _reject(self, line: "_DetectorLine", error: DriverError) -> Outputs:
        line.health.note_reject(error)
        return NOTHING

    def _link_changed(
        self, line: "_DetectorLine", state: LinkState, reason: str, now: Instant
    ) -> Outputs:
        line.health.link, line.health.link_reason = state, reason
        is_up = state is LinkState.READING
        changes = []
        if line.is_foreign:
            changes += self.engine.link(line.link_id, is_up, reason, now)
        changes += self.engine.link(line.detector.id, is_up and not line.is_foreign, reason, now)
        return Outputs(documents=self._state_documents(line, now)).merged(self._told(changes))

    def _ticked(self, now: Instant) -> Outputs:
        outputs = self._told(self.engine.tick(now))
        documents = tuple(
            document
            for line in self._lines.values()
            for document in self._state_documents(line, now)
        )
        return outputs.merged(Outputs(documents=documents)) if documents else outputs

    def _state_documents(self, line: "_DetectorLine", now: Instant) -> tuple[Document, ...]:
        state = line.health.changed(now)
        if state is None:
            return ()
        body = dump(wire.STATE.encode(state))
        return (Document(f"detector/{state.detector}/state", body, line.detector.simulated),)

    def _about(self, line: "_DetectorLine") -> Document:
        about = wire.About(
            line.detector.id,
            line.normaliser.identity,
            line.profile.detector_class,
            line.detector.post,
            line.info.name,
            line.info.channels,
            line.info.verified,
            _thresholds(line.profile),
        )
        body = dump(wire.ABOUT.encode(about))
        return Document(f"detector/{line.detector.id}/about", body, line.detector.simulated)

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
        """What another instrument than the configured one raised says so."""
        record = change.record
        if record.detector not in self._stand_ins or Flag.IDENTITY_MISMATCH in record.flags:
            return change
        flags = (*record.flags, Flag.IDENTITY_MISMATCH)
        return replace(change, record=replace(record, flags=flags))


def _thresholds(profile: DetectorProfile) -> tuple[tuple[str, float], ...]:
    return tuple(
        (level.id, level.raise_at)
        for level in profile.enabled_levels
        if math.isfinite(level.raise_at)
    )


def _channels(profiles: Mapping[str, DetectorProfile]) -> int:
    return sum(not profile.is_portal for profile in profiles.values())


def _stand_in(profile: DetectorProfile, name: str) -> DetectorProfile:
    """The same levels for whatever else answers on a detector's link."""
    return _StandIn(
        name,
        profile.detector_class,
        profile.silence_s,
        profile.levels,
        profile.post,
        None,
        profile.range_top_usv_h,
        profile.max_count_rate,
        profile.exercise,
    )


@dataclass(frozen=True, slots=True)
class _StandIn(DetectorProfile):
    """An instrument that nobody expects: its silence is none."""

    @property
    def silence_limit_s(self) -> float:
        """No silence is ever long enough."""
        return math.inf


class _DetectorLine:
    """What the pipeline keeps for one detector."""

    def __init__(
        self,
        detector: Detector,
        info: DriverInfo,
        profile: DetectorProfile,
        link_id: str,
        started: Instant,
    ) -> None:
        self.detector = detector
        self.info = info
        self.profile = profile
        self.link_id = link_id
        self.is_foreign = False
        self.normaliser = Normaliser(detector, link_id)
        self.health = DetectorHealth(detector.id, profile.silence_limit_s, started)
        self.sample_lane = Lane.EXERCISE_SAMPLES if detector.simulated else Lane.SAMPLES
