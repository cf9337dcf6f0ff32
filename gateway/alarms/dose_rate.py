"""The dose-rate alarm of one detector: one object with the levels R3 to R8."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from drivers.api import Channel, Flag
from gateway.alarms import foldover, levels, lifecycle
from gateway.alarms.book import Book
from gateway.alarms.evidence import Judgement, Limits, judge
from gateway.alarms.foldover import FoldLimits, FoldOver
from gateway.alarms.levels import Hold, Holds, Timing, Verdict, Verdicts
from gateway.alarms.lifecycle import Severity
from gateway.alarms.profiles import OVER_RANGE, DetectorProfile
from gateway.alarms.record import Change, Evidence
from gateway.alarms.usability import Seen, Usability
from gateway.alarms.watcher import Sampled
from gateway.alarms.windows import CountWindows
from gateway.values import Instant, Measured

ALARM: Final = "dose_rate"
STEADY_S: Final = 3.0
"""Valid readings must go on so long after an invalid one before the alarm is fresh again."""


class DoseRateAlarm:
    """Judges every sample's dose rate, true or estimated; times on the monotonic clock.

    ``share_per_hour`` is what this channel may spend in false alarms per hour on count noise.
    """

    def __init__(self, book: Book, off_delay_s: float, share_per_hour: float) -> None:
        profile = book.profile
        self._book = book
        self._limits = Limits(
            profile.enabled_levels, profile.range_top_usv_h, off_delay_s, share_per_hour
        )
        self._settings = {level.id: level for level in profile.enabled_levels}
        self._lowest = profile.enabled_levels[0].raise_at
        self._gap_s = profile.silence_limit_s
        self._windows = CountWindows(self._gap_s)
        self._fold_limits = _fold_limits(profile)
        self._unusable_at: float | None = None
        self._delayed = {
            level.id: level.on_delay_s for level in profile.enabled_levels if level.on_delay_s
        }
        self._first: dict[str, Instant] = {}
        self.holds: Holds = {}
        self.fold = FoldOver()

    def measured(self, sampled: Sampled, *, alive: bool, background: float | None) -> list[Change]:
        """What a sample's dose rate does to the alarm.

        ``alive``: the sample does not continue a run of zero counts.
        """
        measured, true, estimate = sampled.measured, sampled.true, sampled.estimate
        blind = sampled.blind
        seen = true if true is not None else estimate
        if seen is None:
            return []
        if self._fold_limits is not None:
            self._watch_fold(self._fold_limits, sampled, seen, background)
        if estimate is None and not self.holds and self._is_plain(seen):
            return []
        judgement = judge(measured, true, estimate, self._windows, self._limits)
        if judgement is None:
            return []
        verdicts = self._guarded(judgement.verdicts, measured, blind)
        if self._delayed:
            verdicts, judgement = self._after_delay(verdicts, judgement)
        if not self.holds and Verdict.REACHED not in verdicts.values():
            return []
        told = any(part is not None and _tells(part) for part in (true, estimate))
        changes = self._take(verdicts, judgement, measured, alive)
        return changes + self._staleness(measured, told and not blind, judgement.evidence)

    def confirm_fold(self) -> bool:
        """The assessor's word that low readings are real; whether anything was suspected."""
        was = self.fold.suspect
        self.fold = foldover.confirmed(self.fold)
        return was

    def abandon(self) -> None:
        """It was closed under supervision; the next sample that reaches a level raises it anew."""
        self.holds = {}
        self.fold = FoldOver()

    def restore(self, holding: Sequence[tuple[str, bool]], suspect: bool) -> None:
        """These levels held before the restart; where none is judged any more, the lowest does."""
        known = {name: Hold(by_true) for name, by_true in holding if name in self._settings}
        self.holds = known or {self._limits.levels[0].id: Hold(True)}
        self.fold = FoldOver(suspect=suspect)

    def _is_plain(self, seen: Seen) -> bool:
        return (
            seen.value is not None
            and seen.value < self._lowest
            and not seen.beyond
            and not self.fold.suspect
        )

    def _watch_fold(
        self, limits: FoldLimits, sampled: Sampled, seen: Seen, background: float | None
    ) -> None:
        by_counts = self._book.profile.max_count_rate is not None
        value = _count_rate(sampled) if by_counts else seen.value
        if seen.beyond:
            value = limits.top
        if value is not None:
            at = sampled.measured.arrived.mono
            self.fold = foldover.step(
                self.fold, value, at, limits, background if by_counts else None
            )

    def _guarded(self, verdicts: Verdicts, measured: Measured, blind: bool) -> Verdicts:
        """Suspicion keeps R8; what is suspect, of a faulty instrument or old clears nothing."""
        late = measured.arrived.mono - measured.at.mono > self._gap_s
        suspect = self.fold.suspect
        if not (suspect or blind or late):
            return verdicts
        kept = Verdict.NOT_BELOW if suspect or blind else Verdict.NOTHING
        guarded = {name: kept if v is Verdict.BELOW else v for name, v in verdicts.items()}
        if suspect:
            guarded[OVER_RANGE] = Verdict.REACHED
        return guarded

    def _after_delay(self, verdicts: Verdicts, judgement: Judgement) -> tuple[Verdicts, Judgement]:
        """Levels with an on-delay are reached when they have been for so long without a break."""
        at = judgement.evidence.at
        waiting = dict(verdicts)
        for name, delay_s in self._delayed.items():
            if verdicts[name] is not Verdict.REACHED or name in self.holds:
                self._first.pop(name, None)
                continue
            first = self._first.setdefault(name, at)
            if at.mono - first.mono < delay_s:
                waiting[name] = Verdict.NOT_BELOW
            else:
                judgement = replace(judgement, evidence=replace(judgement.evidence, at=first))
        return waiting, judgement

    def _take(
        self, verdicts: Verdicts, judgement: Judgement, measured: Measured, alive: bool
    ) -> list[Change]:
        timing = Timing(measured.arrived.mono, self._limits.off_delay_s, self._gap_s, alive)
        before, evidence, at = self.holds, judgement.evidence, measured.at
        self.holds, reached, left = levels.step(before, verdicts, judgement.true, timing)
        if self.fold.suspect:
            flags = (*evidence.flags, Flag.SUSPECT_FOLD_OVER)
            evidence = replace(evidence, note="suspect fold-over", flags=flags)
            if OVER_RANGE in reached and self._fold_limits is not None:
                evidence = replace(evidence, rule=self._fold_limits.rule)
        record = self._book.records.get(ALARM)
        if record is None or not record.active:
            if not reached:
                return []
            return self._book.open(ALARM, evidence, reached, self._severity(reached))
        if not self.holds:
            return self._book.end(ALARM, at, evidence.value)
        if left:
            record = lifecycle.parted(record, left, at)
        if Verdict.REACHED in verdicts.values():
            record = lifecycle.sustained(record, at)
        if _is_worse(reached, tuple(before)):
            worst = self._severity((*(entry.level for entry in record.levels), *reached))
            step = lifecycle.escalated(record, evidence, reached, worst)
            return self._book.apply(ALARM, step, at, evidence.note)
        if reached:
            record = lifecycle.joined(record, at, reached)
        return self._book.apply(ALARM, lifecycle.grown(record, evidence), at)

    def _severity(self, names: Sequence[str]) -> Severity:
        known = [self._settings[name] for name in names if name in self._settings]
        return Severity(
            max(names),
            min((level.priority for level in known), default=1),
            any(level.latched for level in known),
        )

    def _staleness(self, measured: Measured, valid: bool, evidence: Evidence) -> list[Change]:
        if not self._book.is_active(ALARM):
            return []
        arrived = measured.arrived
        if not valid:
            self._unusable_at = arrived.mono
            return self._book.mark_stale(arrived, "no valid dose rate", (ALARM,))
        if self._unusable_at is not None and arrived.mono - self._unusable_at < STEADY_S:
            return []
        return self._book.freshen(ALARM, arrived, evidence)


def _tells(seen: Seen) -> bool:
    return seen.beyond or seen.value is not None


def _is_worse(reached: Sequence[str], held: Sequence[str]) -> bool:
    """Whether a level above all that hold was reached; R8 has no number to compare."""
    numbered = [name for name in held if name != OVER_RANGE]
    return any(name == OVER_RANGE or name > max(numbered, default="") for name in reached)


def _fold_limits(profile: DetectorProfile) -> FoldLimits | None:
    top = profile.max_count_rate or profile.range_top_usv_h
    return None if top is None else FoldLimits(top, profile.silence_s)


def _count_rate(sampled: Sampled) -> float | None:
    """Gamma counts per second of all parts, smoothed if there are no others; None without."""
    counted = sampled.gamma
    if counted is not None:
        return None if counted.use is Usability.NOT else counted.counts / counted.live_s
    readings = sampled.measured.readings
    values = [r.value for r in readings if r.channel is Channel.GAMMA_COUNT_RATE]
    numbers = [value for value in values if value is not None]
    return sum(numbers) if numbers else None
