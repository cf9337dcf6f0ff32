"""The alarm engine: samples, passages, links, time and commands in, changes of alarms out.

Deterministic: no clock, no I/O, no randomness. The same object runs live, in virtual time and in
replay. All durations are taken on the monotonic clock; wall times are labels.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final

from gateway.alarms import durable
from gateway.alarms.detector import DetectorAlarms
from gateway.alarms.lifecycle import Refusal
from gateway.alarms.profiles import AlarmSettings, DetectorProfile
from gateway.alarms.record import AlarmEvent, AlarmRecord, Change
from gateway.values import Answer, Command, Instant, Measured, PassageRecord

_REMEMBERED: Final = 256


class AlarmEngine:
    """All alarms of all detectors.

    ``new_id`` gives an occurrence its id. The budget of false alarms is shared evenly among the
    detectors that are not portals, whose own decisions are passed on.
    """

    def __init__(
        self,
        profiles: Mapping[str, DetectorProfile],
        settings: AlarmSettings,
        new_id: Callable[[], str],
    ) -> None:
        self._settings = settings
        self._new_id = new_id
        channels = sum(not profile.is_portal for profile in profiles.values())
        self._share = settings.false_alarms_per_hour / max(channels, 1)
        self._detectors = {name: self._watch(profile) for name, profile in profiles.items()}
        self._places: dict[str, tuple[str, str]] = {}
        self._closed: OrderedDict[str, AlarmRecord] = OrderedDict()
        self.unreadable: tuple[tuple[str, str], ...] = ()
        """Keys of states that restore could not read, each with the reason."""

    def restore(self, states: Mapping[str, bytes], now: Instant) -> list[Change]:
        """Continue the alarms of before the restart; active ones are stale until data comes."""
        changes: list[Change] = []
        unreadable = []
        for detector in self._detectors.values():
            detector.silence.begin(now.mono)
        for key, data in states.items():
            if not data:
                continue
            try:
                record, internal = durable.decode(data, now)
            except durable.DamagedState as error:
                unreadable.append((key, str(error)))
                continue
            self._places[record.occurrence] = (record.detector, record.alarm)
            changes += self._home(record).restore(record, internal, now)
        self.unreadable = tuple(unreadable)
        return changes

    def measured(self, m: Measured, now: Instant) -> list[Change]:
        """One sample of a configured detector."""
        return self._noted(self._detectors[m.detector].measured(m, now))

    def passage(self, p: PassageRecord, now: Instant) -> list[Change]:
        """One passage of a configured portal."""
        return self._noted(self._detectors[p.detector].passage(p, now))

    def heard(self, detector: str, now: Instant) -> None:
        """Any valid frame; a silence ends with the next tick."""
        self._detectors[detector].heard(now)

    def link(self, detector: str, up: bool, reason: str, now: Instant) -> list[Change]:
        """The link to a detector came or went."""
        return self._noted(self._detectors[detector].link(up, reason, now))

    def tick(self, now: Instant) -> list[Change]:
        """Time passes: silence, off-delays, re-alarms. Called every second or finer."""
        changes: list[Change] = []
        for detector in self._detectors.values():
            changes += detector.tick(now)
        return self._noted(changes)

    def command(self, command: Command, now: Instant) -> tuple[Answer, list[Change]]:
        """What an operator asks for; whether he may is the caller's affair."""
        try:
            if command.name == "acknowledge":
                reason, changes = self._acknowledge(command, now)
            elif command.name == "reset":
                reason, changes = self._reset(command, now)
            else:
                raise Refusal("unknown command")
        except Refusal as refusal:
            return Answer(command, False, str(refusal)), []
        return Answer(command, True, reason), self._noted(changes)

    def active(self) -> list[AlarmRecord]:
        """Every alarm that is not closed, with what it stands at now."""
        return [
            record
            for detector in self._detectors.values()
            for record in detector.book.records.values()
        ]

    def state_bytes(self, occurrence: str) -> bytes:
        """What restore needs of an alarm; empty once it is closed."""
        place = self._places.get(occurrence)
        if place is None:
            return b""
        detector = self._detectors[place[0]]
        return durable.encode(detector.book.records[place[1]], detector.internal(place[1]))

    def background(self, detector: str) -> float | None:
        """The slow mean of a detector's gamma count rate in 1/s; None until it is learned."""
        return self._detectors[detector].loss.watch.background

    def _acknowledge(self, command: Command, now: Instant) -> tuple[str, list[Change]]:
        occurrence = command.get("occurrence")
        if occurrence in self._closed and occurrence not in self._places:
            return self._acknowledge_closed(self._closed[occurrence]), []
        detector, record = self._open(occurrence)
        changes = detector.acknowledge(record, command.user, _revision(command), now)
        return changes[0].note, changes

    def _acknowledge_closed(self, record: AlarmRecord) -> str:
        """The second of two who acknowledge at the same time, when the first one closed it."""
        newer = self._detectors[record.detector].book.records.get(record.alarm)
        if newer is not None:
            raise Refusal(f"stale: {record.occurrence} is over, {newer.occurrence} is open now")
        if not record.acknowledged:
            raise Refusal(f"stale: {record.occurrence} is closed")
        return f"already acknowledged by {record.acknowledged_by}, and closed"

    def _reset(self, command: Command, now: Instant) -> tuple[str, list[Change]]:
        detector, record = self._open(command.get("occurrence"))
        return detector.reset(record, command.user, now)

    def _open(self, occurrence: str) -> tuple[DetectorAlarms, AlarmRecord]:
        place = self._places.get(occurrence)
        if place is None:
            raise Refusal(f"stale: no open alarm is called {occurrence!r}")
        detector = self._detectors[place[0]]
        return detector, detector.book.records[place[1]]

    def _noted(self, changes: list[Change]) -> list[Change]:
        for change in changes:
            record = change.record
            if change.event is AlarmEvent.RAISED:
                self._places[record.occurrence] = (record.detector, record.alarm)
            elif change.event is AlarmEvent.CLOSED:
                self._places.pop(record.occurrence, None)
                self._closed[record.occurrence] = record
                if len(self._closed) > _REMEMBERED:
                    self._closed.popitem(last=False)
        return changes

    def _watch(self, profile: DetectorProfile) -> DetectorAlarms:
        return DetectorAlarms(profile, self._settings, self._share, self._new_id)

    def _home(self, record: AlarmRecord) -> DetectorAlarms:
        """Its detector; one that left the configuration keeps its alarms and falls silent."""
        found = self._detectors.get(record.detector)
        if found is None:
            found = self._watch(
                DetectorProfile(
                    record.detector,
                    record.detector_class,
                    post=record.post,
                    serial=record.serial,
                    exercise=record.exercise,
                )
            )
            found.silence.switched_off = True
            self._detectors[record.detector] = found
        return found


def _revision(command: Command) -> int | None:
    text = command.get("revision")
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise Refusal(f"{text!r} is not a revision") from None
