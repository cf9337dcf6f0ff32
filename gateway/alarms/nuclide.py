"""Nuclides that an instrument has identified: I1 (verify, escalate) and I2 (interview, record).

Categories and confidence are the instrument's own; nothing is upgraded here. A medical category
lowers no other alarm: a fresh therapy patient exceeds the cordon level. What nuclide a person
carries is that person's medical data: the record holds the category, never the name. A hint is no
verdict, it says what an assessor should think of.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from drivers.api import Channel, Reading
from gateway.alarms import conditions, lifecycle
from gateway.alarms.book import Book
from gateway.alarms.conditions import SET, Condition, Delay, Said
from gateway.alarms.durable import Internal
from gateway.alarms.lifecycle import Severity, Step
from gateway.alarms.record import AlarmEvent, AlarmRecord, Change, Evidence, Rule
from gateway.alarms.usability import Usability, usability
from gateway.alarms.watcher import Quiet, Sampled, facts
from gateway.values import Instant

ALARM: Final = "nuclide"
THREAT: Final = "I1"
INNOCENT: Final = "I2"
HIGH_CONFIDENCE: Final = 0.8
"""Own choice: no document gives a number."""
OFF_DELAY_S: Final = 60.0
"""Own choice: identifications take from 10 to 60 s each."""
CAUTION: Final = "R4"
MOST_NAMES: Final = 32
"""Own choice: more than any instrument names at once."""
MEDICAL: Final = "medical"
_CATEGORIES: Final = frozenset({"norm", MEDICAL, "industrial", "snm"})
_INNOCENT: Final = frozenset({"norm", MEDICAL})
_RULE: Final = Rule(
    ALARM, 1, facts(high_confidence=HIGH_CONFIDENCE, off_delay_s=OFF_DELAY_S, caution=CAUTION)
)
_ISOTOPE: Final = re.compile(r"([A-Z][a-z]?)[- ]?([0-9]{1,3}m?)|([0-9]{1,3}m?)[- ]?([A-Z][a-z]?)")


@dataclass(frozen=True, slots=True)
class Named:
    """One identified nuclide; ``isotope`` is its name in one spelling, such as ``I-131``."""

    name: str
    isotope: str
    category: str
    confidence: float | None

    @property
    def level(self) -> str:
        """The level it is reason for; empty where the instrument itself is not sure enough."""
        if self.category in _INNOCENT:
            return INNOCENT
        if self.category == "snm" or (self.confidence or 0.0) >= HIGH_CONFIDENCE:
            return THREAT
        return ""

    @property
    def told(self) -> str:
        """What a record may say of it."""
        return MEDICAL if self.category == MEDICAL else f"{self.category}:{self.name}"


def named(reading: Reading) -> Named:
    """The nuclide of a reading; a category that is not known is ``unknown``."""
    category = reading.raw.strip().lower()
    if category not in _CATEGORIES:
        category = "unknown"
    return Named(reading.part, isotope(reading.part), category, reading.value)


def isotope(name: str) -> str:
    """``I-131`` for I-131, I131, 131I and 131-I alike; other names as they are."""
    found = _ISOTOPE.fullmatch(name.strip())
    if found is None:
        return name
    element, mass = found.group(1) or found.group(4), found.group(2) or found.group(3)
    return f"{element}-{mass}"


def hint(nuclides: Sequence[Named], *, neutrons: bool, caution: bool) -> str:
    """What the combination may mean, without the name of a medical nuclide."""
    medical = {each.isotope for each in nuclides if each.category == MEDICAL}
    heavy = [each for each in nuclides if each.isotope.startswith(("U-", "Pu-"))]
    several = len({each.isotope for each in nuclides}) > 1
    hints = []
    if "I-131" in medical and caution:
        hints.append("fresh therapy patient?")
    if medical and neutrons:
        hints.append("neutrons beside a medical nuclide")
    if "Tc-99m" in medical and (several or neutrons):
        hints.append("a medical line may mask others")
    if heavy and several:
        hints.append("uranium or plutonium beside other nuclides")
    return f"hint: {'; '.join(hints)}" if hints else ""


class NuclideAlarm(Quiet):
    """The alarm ``nuclide`` of one detector; its book tells it of neutrons and dose rates."""

    alarms: tuple[str, ...] = (ALARM,)

    def __init__(self, book: Book) -> None:
        self._book = book
        self._gap_s = book.profile.silence_limit_s
        self._delay = Delay(OFF_DELAY_S, self._gap_s)
        self._holds: dict[str, Condition] = {}
        self._nuclides: tuple[Named, ...] = ()
        self._threats: frozenset[str] = frozenset()

    def measured(self, sampled: Sampled) -> list[Change]:
        """One sample."""
        found = [r for r in sampled.measured.readings if r.channel is Channel.NUCLIDE]
        if not found and not self._holds:
            return []
        uses = [usability((*sampled.measured.flags, *reading.flags)) for reading in found]
        usable = zip(found, uses, strict=True)
        nuclides = [named(reading) for reading, use in usable if use is not Usability.NOT]
        reached = tuple(dict.fromkeys(each.level for each in nuclides if each.level))
        proves = self._proves(sampled) and all(use is Usability.FULL for use in uses)
        self._advance(reached, Said.CLEAR if proves else Said.NEITHER, sampled.arrived.mono)
        changes = self._take(nuclides, reached, sampled)
        if proves or reached:
            changes += self._book.freshen(ALARM, sampled.arrived)
        return changes

    def tick(self, now: Instant) -> list[Change]:
        """Off-delays end between samples too."""
        if not self._holds:
            return []
        period_s = self._book.profile.silence_s
        self._holds = {
            level: state
            for level, state in self._holds.items()
            if conditions.tick(state, now.mono, OFF_DELAY_S, period_s).on
        }
        return self._left(now)

    def restore(self, record: AlarmRecord, internal: Internal, now: Instant) -> None:
        """Its levels hold until other readings have come for their time."""
        self._holds = dict.fromkeys(record.held or (record.level,), SET)

    def abandon(self, alarm: str) -> None:
        """What is named next raises it anew."""
        self._holds = {}

    def _proves(self, sampled: Sampled) -> bool:
        """Whether it means something that a sample does not name a nuclide."""
        late = sampled.arrived.mono - sampled.at.mono > self._gap_s
        valid = usability(sampled.measured.flags) is Usability.FULL
        return valid and not sampled.blind and not late

    def _advance(self, reached: Sequence[str], said: Said, at: float) -> None:
        after = {
            level: conditions.step(state, said, at, self._delay)
            for level, state in self._holds.items()
        }
        after |= dict.fromkeys(reached, SET)
        self._holds = {level: state for level, state in after.items() if state.on}

    def _take(
        self, nuclides: Sequence[Named], reached: Sequence[str], sampled: Sampled
    ) -> list[Change]:
        record = self._book.records.get(ALARM)
        if record is None or not record.active:
            if not reached:
                return []
            self._nuclides = tuple(nuclides)
            self._threats = _threats(nuclides)
            evidence = self._evidence(sampled, nuclides, ())
            return self._book.open(ALARM, evidence, reached, self._severity(reached))
        is_worse = THREAT in reached and THREAT not in record.held
        is_other = not _threats(nuclides) <= self._threats
        self._nuclides = _united(self._nuclides, nuclides)
        self._threats |= _threats(nuclides)
        changes = self._left(sampled.at)
        if not self._holds:
            return changes
        record = self._book.records[ALARM]
        evidence = self._evidence(sampled, nuclides, record.device_alarms)
        if is_worse or self._severity(reached).priority < record.priority:
            step = self._escalated(_noted(record, evidence), evidence, reached)
        elif is_other:
            joined = lifecycle.joined(_noted(record, evidence), sampled.at, reached)
            step = lifecycle.annunciated_again(joined, evidence)
        else:
            step = _updated(lifecycle.joined(record, sampled.at, reached), evidence)
        return changes + self._book.apply(ALARM, step, sampled.at, evidence.note)

    def _escalated(self, record: AlarmRecord, evidence: Evidence, reached: Sequence[str]) -> Step:
        levels = (*(entry.level for entry in record.levels), *reached)
        severity = self._severity(levels)
        severity = replace(severity, priority=min(severity.priority, record.priority))
        return lifecycle.escalated(record, evidence, reached, severity)

    def _left(self, at: Instant) -> list[Change]:
        """Levels that hold no more; the alarm ends with the last."""
        record = self._book.records.get(ALARM)
        if record is None or not record.active:
            return []
        if not self._holds:
            return self._book.end(ALARM, at)
        left = [level for level in record.held if level not in self._holds]
        if not left:
            return []
        return self._book.apply(ALARM, (lifecycle.parted(record, left, at), ()), at)

    def _severity(self, reached: Iterable[str]) -> Severity:
        """The worst of these levels, with the priority of those that hold."""
        worst = min(reached, default=INNOCENT)
        if THREAT in self._holds:
            priority = 1 if self._has_neutrons else 2
        else:
            priority = 3 if self._is_cautioned else 4
        return Severity(worst, priority, worst == THREAT)

    @property
    def _has_neutrons(self) -> bool:
        return any(self._book.is_active(alarm) for alarm in ("neutron_rise", "portal_neutron"))

    @property
    def _is_cautioned(self) -> bool:
        record = self._book.records.get("dose_rate")
        if record is None or not record.active:
            return False
        return any(level >= CAUTION for level in record.held)

    def _evidence(
        self, sampled: Sampled, nuclides: Sequence[Named], known: tuple[str, ...]
    ) -> Evidence:
        told = dict.fromkeys((*known, *(each.told for each in nuclides)))
        note = hint(self._nuclides, neutrons=self._has_neutrons, caution=self._is_cautioned)
        confidences = tuple(
            (each.told, each.confidence) for each in nuclides if each.confidence is not None
        )
        return Evidence(
            sampled.at,
            _RULE,
            statistic=confidences,
            position=sampled.measured.position,
            flags=sampled.measured.flags,
            device_alarms=tuple(told)[:MOST_NAMES],
            note=note,
        )


def _united(known: tuple[Named, ...], nuclides: Sequence[Named]) -> tuple[Named, ...]:
    """Each name once, as told last."""
    by_name = {each.told + each.isotope: each for each in (*known, *nuclides)}
    return tuple(by_name.values())[:MOST_NAMES]


def _threats(nuclides: Iterable[Named]) -> frozenset[str]:
    return frozenset(each.told for each in nuclides if each.level == THREAT)


def _noted(record: AlarmRecord, evidence: Evidence) -> AlarmRecord:
    return replace(record, note=evidence.note or record.note)


def _updated(record: AlarmRecord, evidence: Evidence) -> Step:
    """More names or another hint: told, but nobody needs to acknowledge it anew."""
    noted = _noted(record, evidence)
    if evidence.device_alarms == record.device_alarms and noted.note == record.note:
        return record, ()
    after = replace(
        noted,
        device_alarms=evidence.device_alarms,
        statistic=evidence.statistic or record.statistic,
        revision=record.revision + 1,
    )
    return after, ((AlarmEvent.UPDATED, after),)
