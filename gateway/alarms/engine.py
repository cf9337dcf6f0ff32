"""The alarm engine: samples, passages, links, time and commands in, changes of alarms out.

Deterministic: no clock, no I/O, no randomness. The same object runs live, in virtual time and in
replay. All durations are taken on the monotonic clock; wall times are labels.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from gateway.alarms import durable
from gateway.alarms.area import AreaWide
from gateway.alarms.assessment import Assessment, Assessments
from gateway.alarms.budget import shares
from gateway.alarms.desk import Desk
from gateway.alarms.detector import DetectorAlarms
from gateway.alarms.durable import Internal
from gateway.alarms.figures import AlarmFigures, FiguresTold
from gateway.alarms.homes import REPORT, Home, Homes
from gateway.alarms.incidents import Incidents
from gateway.alarms.lifecycle import Refusal
from gateway.alarms.orders import Orders
from gateway.alarms.outages import Outages
from gateway.alarms.profiles import AlarmSettings, DetectorProfile
from gateway.alarms.record import AlarmRecord, Change, Facts
from gateway.alarms.rights import Rights
from gateway.alarms.service import ServiceAlarms, is_service
from gateway.values import Answer, Command, Instant, Measured, Notice, PassageRecord

LEARNED: Final = "learned/"
ASSESSMENT: Final = "assessment/"
"""Keys of states that are not an occurrence's: what a detector learned, what was assessed."""
_BEFORE: Final = "#before"
"""No id ends like that: what a detector has left from when it was of the other kind."""
_JSON: Final = json.JSONEncoder(allow_nan=False)
SAVE_EVERY_S: Final = 10.0
SAVE_SLOTS: Final = 20
AREA_EVERY_S: Final = 5.0


class AlarmEngine:
    """All alarms of all detectors.

    ``new_id`` gives an occurrence its id. The budgets of false alarms are shared evenly among the
    detectors that are not portals, whose own decisions are passed on. ``stand_ins`` speak only in
    place of their detectors and take no share. ``boot`` names the run of the monotonic clock, if
    that is known. ``exercise``: nothing here is live, so reports entered by hand are not either.
    """

    def __init__(
        self,
        profiles: Mapping[str, DetectorProfile],
        settings: AlarmSettings,
        new_id: Callable[[], str],
        *,
        rights: Rights | None = None,
        stand_ins: Mapping[str, DetectorProfile] = MappingProxyType({}),
        posts: frozenset[str] = frozenset(),
        boot: str = "",
        exercise: bool = False,
    ) -> None:
        self._settings = settings
        self._new_id = new_id
        self._boot = boot
        self._stand_ins = stand_ins
        channels = sum(not profile.is_portal for profile in profiles.values())
        self._shares = shares(settings.budget, channels, channels)
        self._homes = Homes(
            {name: self._watch(profile) for name, profile in profiles.items()}, new_id
        )
        self._assessments = Assessments()
        self._desk = Desk(
            self._homes, self._assessments, rights or Rights(()), posts, exercise=exercise
        )
        self._incidents = Incidents()
        self._outages = Outages()
        self._service = ServiceAlarms()
        self._areas = (AreaWide(exercise=False), AreaWide(exercise=True))
        self._area_due = 0.0
        self._figures = AlarmFigures(settings.budget.operators)
        self._save_due: dict[str, float] = {}
        self._to_save: set[str] = set()
        self.unreadable: tuple[tuple[str, str], ...] = ()
        """Keys of states that restore could not read, each with the reason."""

    def restore(self, states: Mapping[str, bytes], now: Instant) -> list[Change]:
        """Continue the alarms of before the restart; active ones are stale until data comes."""
        for detector in self._homes.detectors.values():
            detector.silence.begin(now.mono)
        kept = {key: data for key, data in states.items() if data}
        problems = {key: self._recall(key, data, now) for key, data in kept.items()}
        records, damaged = _decoded(kept, now)
        for each in self._homes.all():
            each.book.believe(record for record, _ in records)
        changes: list[Change] = []
        for record, internal in records:
            home = self._home(record)
            self._homes.place(home, record)
            restored = home.restore(record, internal, now)
            if isinstance(home, DetectorAlarms) and home.silence.switched_off:
                restored += home.book.end("silence", now)  # nobody expects it any more
            self._homes.note(home, restored)
            changes += restored
        self._outages.restored(self.active())
        self._service.restored(self._homes, now)
        unread = tuple((key, problem) for key, problem in problems.items() if problem)
        self.unreadable = (*unread, *damaged)
        return changes

    def measured(self, m: Measured, now: Instant) -> list[Change]:
        """One sample of a configured detector."""
        detector = self._homes.detectors.get(m.detector) or self._stand_in(m.detector)
        changes = detector.measured(m, now)
        return self._noted(detector, changes, now) if changes else changes

    def passage(self, p: PassageRecord, now: Instant) -> list[Change]:
        """One passage of a configured portal."""
        detector = self._homes.detectors.get(p.detector) or self._stand_in(p.detector)
        return self._noted(detector, detector.passage(p, now), now)

    def statistic(self, p: PassageRecord) -> Facts:
        """The gateway's own statistics of a portal's passage, recorded beside its decision."""
        portal = self._homes.detectors[p.detector].rules.portal
        found = None if portal is None else portal.finish(p)
        return () if found is None else found.facts

    def heard(self, detector: str, now: Instant) -> None:
        """Any valid frame; a silence ends with the next tick."""
        self._homes.detectors[detector].heard(now)

    def link(self, detector: str, up: bool, reason: str, now: Instant) -> list[Change]:
        """The link to a detector came or went."""
        home = self._homes.detectors.get(detector) or self._stand_in(detector)
        return self._noted(home, home.link(up, reason, now), now)

    def notice(self, notice: Notice, now: Instant) -> list[Change]:
        """A condition of the gateway itself has begun, changed or ended."""
        return self._told(self._service.note(notice, self._homes, now), now)

    def tick(self, now: Instant) -> list[Change]:
        """Time passes: silence, off-delays, re-alarms. Called every second or finer."""
        changes: list[Change] = []
        live, exercise = (area.common(self._homes) for area in self._areas)
        for detector in self._homes.detectors.values():
            common = exercise if detector.book.profile.exercise else live
            found = detector.tick(now, common=common)
            if found:
                changes += self._noted(detector, found, now)
        for group in self._homes.groups.values():
            changes += self._noted(group, group.tick(now), now)
        changes += self._told(self._outages.tick(self._homes, now), now)
        changes += self._told(self._service.tick(self._homes, now), now)
        if now.mono >= self._area_due:
            self._area_due = now.mono + AREA_EVERY_S
            for area in self._areas:
                changes += self._told(area.tick(self._homes, now), now)
        self._figures.tick(now)
        return changes

    def command(self, command: Command, now: Instant) -> tuple[Answer, list[Change]]:
        """What an operator asks for."""
        try:
            reason, told = self._desk.carry_out(command, now)
        except Refusal as refusal:
            return Answer(command, False, str(refusal)), []
        changes = self._told(told, now)
        asked = self._homes.known(command.get("occurrence"))
        self._to_save |= {change.record.detector for change in changes}
        self._to_save |= {command.get("detector"), "" if asked is None else asked.detector}
        self._homes.drop_reports()
        return Answer(command, True, reason), changes

    def knows(self, occurrence: str) -> bool:
        """Whether that alarm is open, or was closed not long ago."""
        return self._homes.known(occurrence) is not None

    def active(self) -> list[AlarmRecord]:
        """Every alarm that is not closed, with what it stands at now."""
        return self._homes.active()

    def state_bytes(self, occurrence: str) -> bytes:
        """What restore needs of an alarm; empty once it is closed."""
        found = self._homes.find(occurrence)
        if found is None:
            return b""
        home, record = found
        return durable.encode(record, home.internal(record.alarm))

    def background(self, detector: str) -> float | None:
        """The slow mean of a detector's gamma count rate in 1/s; None until it is learned."""
        return self._homes.detectors[detector].loss.watch.background

    def orders(self, places: Iterable[str]) -> dict[str, Orders]:
        """The orders in force for these detectors, or for the gateway itself."""
        homes: Mapping[str, Home] = {**self._homes.groups, **self._homes.detectors}
        return {name: homes[name].book.orders for name in places if name in homes}

    def detector(self, name: str) -> DetectorAlarms:
        """All alarms of one detector."""
        return self._homes.detectors[name]

    def figures(self, now: Instant) -> FiguresTold:
        """How well the alarm system serves its operators."""
        return self._figures.told(now, self.active())

    def take_assessments(self) -> list[Assessment]:
        """Assessments that have changed since the last call."""
        return self._assessments.take_news()

    def assessment_state(self, occurrence: str) -> tuple[str, bytes]:
        """Key and bytes of an assessment for the journal."""
        return f"{ASSESSMENT}{occurrence}", self._assessments.saved(occurrence)

    def saved(self, now: Instant) -> list[tuple[str, bytes]]:
        """What detectors have learned, each every ten seconds and after a command to it."""
        states = []
        due, at = self._save_due, now.mono
        for index, (name, detector) in enumerate(self._homes.detectors.items()):
            if name not in due:
                # Spread evenly, so that a thousand detectors are not saved in one step.
                due[name] = at + index % SAVE_SLOTS / SAVE_SLOTS * SAVE_EVERY_S
            if at >= due[name]:
                due[name] = at + SAVE_EVERY_S
            elif name not in self._to_save:
                continue
            states.append(self._kept(name, detector.saved(now), now))
        for name in filter(is_service, self._to_save & self._homes.groups.keys()):
            orders = self._homes.groups[name].book.orders
            states.append(self._kept(name, {"orders": orders.saved(now)}, now))
        self._to_save.clear()
        return states + [(f"{ASSESSMENT}{name}", b"") for name in self._assessments.forgotten()]

    def _kept(self, name: str, what: dict[str, Any], now: Instant) -> tuple[str, bytes]:
        told = {"boot": self._boot, "mono": now.mono, "wall": now.wall, **what}
        return f"{LEARNED}{name}", _JSON.encode(told).encode()

    def _recall(self, key: str, data: bytes, now: Instant) -> str:
        """What is no alarm's; what is wrong with it, if anything is."""
        if key.startswith(LEARNED):
            return self._resume(key.removeprefix(LEARNED), data, now)
        return self._assessments.restore(data) if key.startswith(ASSESSMENT) else ""

    def _resume(self, name: str, data: bytes, now: Instant) -> str:
        detector = self._homes.detectors.get(name)
        if detector is None and not is_service(name):
            return ""
        try:
            saved = json.loads(data)
            same_run = self._boot and saved["boot"] == self._boot and saved["mono"] <= now.mono
            age_s = now.mono - saved["mono"] if same_run else now.wall - saved["wall"]
            age_s = max(0.0, float(age_s))
            if detector is not None:
                detector.resume(saved, age_s, now)
            else:
                self._homes.group(name).book.orders.restore(saved["orders"], age_s, now)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return f"{type(error).__name__}: {error}"
        return ""

    def _told(self, told: Iterable[tuple[Home, Change]], now: Instant) -> list[Change]:
        changes: list[Change] = []
        for home, change in told:
            changes += self._noted(home, [change], now)
        return changes

    def _noted(self, home: Home, changes: list[Change], now: Instant) -> list[Change]:
        if not changes:
            return changes
        self._homes.note(home, changes)
        self._figures.note(changes, now)
        linked: list[Change] = []
        for change in changes:
            linked += [more for _, more in self._incidents.note(change, home, self._homes)]
        return changes + linked

    def _watch(self, profile: DetectorProfile) -> DetectorAlarms:
        return DetectorAlarms(profile, self._settings, self._shares, self._new_id)

    def _home(self, record: AlarmRecord) -> Home:
        """Its detector or group; a detector that left the configuration keeps its alarms."""
        name = record.detector
        if name == REPORT:
            return self._homes.report(exercise=record.exercise, post=record.post)
        if name.startswith("@"):
            return self._homes.group(name, exercise=record.exercise, post=record.post)
        found = self._homes.detectors.get(name)
        if found is not None and found.book.profile.exercise is not record.exercise:
            # It was simulated and is live now, or the other way: neither speaks for the other.
            name += _BEFORE
            found = self._homes.detectors.get(name)
        if found is None and name in self._stand_ins:
            found = self._stand_in(name)
        if found is None:
            found = self._homes.detectors[name] = self._gone(record)
        return found

    def _stand_in(self, name: str) -> DetectorAlarms:
        """Made when another instrument than the configured one is first heard."""
        found = self._homes.detectors[name] = self._watch(self._stand_ins[name])
        return found

    def _gone(self, record: AlarmRecord) -> DetectorAlarms:
        """A detector of which nobody expects anything."""
        profile = DetectorProfile(
            record.detector,
            record.detector_class,
            post=record.post,
            serial=record.serial,
            exercise=record.exercise,
        )
        gone = self._watch(profile)
        gone.silence.switched_off = True
        return gone


def _decoded(
    states: Mapping[str, bytes], now: Instant
) -> tuple[list[tuple[AlarmRecord, Internal]], list[tuple[str, str]]]:
    """The alarms among the states, and the keys that hold none, each with the reason."""
    found, damaged = [], []
    for key, data in states.items():
        if "/" in key:
            continue
        try:
            found.append(durable.decode(data, now))
        except durable.DamagedState as error:
            damaged.append((key, str(error)))
    return found, damaged
