"""What R1 judges against: a rolling background, its thresholds, and why it is not renewed.

Thresholds are integers, made when the background in force changes. A background that is three
times the usual one of its place is not believed; one that must not follow what is measured waits
for somebody to decide.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.alarms.background import Background, Frozen, RollingBackground
from gateway.alarms.book import Book
from gateway.alarms.counting import Counted
from gateway.alarms.record import Change, Evidence, Facts, Rule
from gateway.alarms.rise_windows import CountRun, Limits, Plan, limits_for, plan
from gateway.alarms.watcher import Learned, Sampled, facts
from gateway.values import Instant

IMPLAUSIBLE: Final = "background_implausible"
IMPLAUSIBLE_FACTOR: Final = 3.0
LEAST_GUARD_S: Final = 5.0
_UPDATES: Final = 32
"""Own choice: the background in force lags the learned one by a 32nd of its length at most."""
_GROWTH: Final = 0.125
"""Own choice: until it has its length, it is renewed whenever it has grown by an eighth."""
_ROUNDING_S: Final = 1e-6
_UNIT: Final = "1/s"
_ALARM_OR_DOUBT: Final = (Frozen.ALARM, Frozen.SUSPICION)
_IMPLAUSIBLE_NOTE: Final = (
    "rises are not watched: look for a source beside the detector, or let the assessor accept this "
    "background"
)


class RiseGround:
    """The background of one detector's counts, and the thresholds that it sets.

    ``limits`` is None until there is a background; ``share_per_hour`` is what may be spent in false
    alarms per hour.
    """

    def __init__(self, book: Book, share_per_hour: float, windows: Sequence[float]) -> None:
        self.limits: Limits | None = None
        self._book = book
        self._share = share_per_hour
        self._windows = tuple(windows)
        self._guard_s = max(2 * max(windows), LEAST_GUARD_S)
        self._background = RollingBackground(book.profile.ways.background_s, self._guard_s)
        self._plan: Plan | None = None
        self._in_force: Background | None = None
        self._begun = "learned"
        self._implausible: float | None = None
        self._capped_since: Instant | None = None
        self._due_s = self._accepting_s = 0.0

    @property
    def is_accepting(self) -> bool:
        """Whether the assessor has said that what comes is the background."""
        return self._accepting_s > 0.0

    @property
    def terms(self) -> Facts:
        """How it is learned, for a rule's record."""
        return facts(background_s=self._background.length_s, guard_s=self._guard_s)

    @property
    def held_since(self) -> Instant | None:
        """Since when it has not followed what is measured, for want of a decision."""
        background = self._background
        if background.frozen_reason in _ALARM_OR_DOUBT:
            return self._capped_since or background.frozen_since
        return self._capped_since

    @property
    def held_by(self) -> str:
        """Why it does not."""
        return self._background.frozen_reason or "drift"

    @property
    def told(self) -> Facts:
        """What is judged against, and how it was learned."""
        found = self._in_force
        held = facts(held_by=self.held_by if self.held_since is not None else None)
        if found is None or self.limits is None:
            return self.terms + held
        mean = facts(rate=found.rate, counts=found.counts, live_s=found.live_s, begun=self._begun)
        return mean + self.terms + held

    @property
    def missing(self) -> str:
        """How far it has been learned, where nothing can be judged yet."""
        background = self._background
        if self._plan is None:
            return "no counts yet"
        so_far = f"learning, {background.live_s:.0f} of {background.needed_s:.0f} s"
        if background.frozen_reason is not None:
            so_far += f", held by {background.frozen_reason}"
        if self._implausible is None:
            return so_far
        return f"{self._implausible:.0f}/s is no plausible background; {so_far}"

    def pace(self, gamma: Counted) -> float | None:
        """Another sample time, or counts that may repeat, are tested in another way: its pace.

        None while the way is as before.
        """
        how = self._plan
        copies = 1 if gamma.independent and (how is None or how.copies == 1) else 2
        if how is not None and how.copies == copies and how.fits(gamma.live_s):
            return None
        self._plan = plan(self._windows, gamma.live_s, self._share, copies)
        self._take()
        return self._plan.pace_s

    def learn(self, gamma: Counted, sampled: Sampled) -> list[Change]:
        """Counts measured while nothing was wrong."""
        self._background.learn(gamma.counts, gamma.live_s)
        self._due_s -= gamma.live_s
        return self._renew(sampled) if self._due_s <= 0.0 else []

    def freeze(self, reason: Frozen, at: Instant, live_s: float, newest_s: float) -> None:
        """``live_s`` that are not learned; when a reason begins, nor are ``newest_s`` before it."""
        self._background.freeze(reason, at, live_s, newest_s)

    def accept(self, run: CountRun, clean_s: float) -> None:
        """The last minute of the run is the background; for one more, whatever comes is learned."""
        self._begun, self._implausible = "accepted", None
        self._accepting_s = self._background.needed_s
        self.limits = self._capped_since = None
        self._replace(run, clean_s)

    def accept_more(self, run: CountRun, clean_s: float, live_s: float) -> None:
        """What came since is learned, too, and for as long as there is too little of it."""
        background = self._background
        self._accepting_s -= live_s
        if clean_s >= background.needed_s or not background.is_learned:
            self._replace(run, clean_s)
        if not background.is_learned:
            self._accepting_s = max(self._accepting_s, live_s)

    def accept_no_more(self) -> None:
        """A rise begins: what comes is no background."""
        self._accepting_s = 0.0

    def from_record(self, told: Mapping[str, Any]) -> None:
        """What an alarm was raised against says when it is over, if nothing else is known."""
        if not self._background.is_learned and self._background.restore(told, 0.0):
            self._begun = "the record's"
            self._take()

    def saved(self) -> Learned | None:
        """The background, as coarse as it may be."""
        return self._background.saved() if self._background.is_learned else None

    def restore(self, saved: Learned, age_s: float) -> None:
        """A background of half an hour ago at most."""
        if self._background.restore(saved, age_s):
            self._begun = "restored"
            self._take()

    def _renew(self, sampled: Sampled) -> list[Change]:
        """The learned background comes in force, unless it is the first and not to be believed."""
        if not self._background.is_learned:
            return []
        usual = self._book.profile.ways.background_rate
        rate = self._background.counts / self._background.live_s
        if self.limits is None and usual is not None and rate > IMPLAUSIBLE_FACTOR * usual:
            return self._disbelieve(sampled, rate, usual)
        self._implausible = None
        self._take(sampled)
        ended = IMPLAUSIBLE in self._book.records
        return self._book.end(IMPLAUSIBLE, sampled.at) if ended else []

    def _disbelieve(self, sampled: Sampled, rate: float, usual: float) -> list[Change]:
        """Another minute is learned instead."""
        self._implausible = rate
        self._background.forget()
        if self._book.is_active(IMPLAUSIBLE):
            return []
        rule = Rule(IMPLAUSIBLE, 1, facts(usual_rate=usual, factor=IMPLAUSIBLE_FACTOR))
        evidence = Evidence(sampled.at, rule, rate, _UNIT, note=_IMPLAUSIBLE_NOTE)
        return self._book.open_discrete(IMPLAUSIBLE, evidence)

    def _replace(self, run: CountRun, clean_s: float) -> None:
        """The last minute, or as much of it as there is without a doubt, is the background."""
        pace_s = 0.0 if self._plan is None else self._plan.pace_s
        seconds = min(self._background.needed_s + pace_s, clean_s)
        self._background.replace(*run.newest(seconds))
        self._take()

    def _take(self, sampled: Sampled | None = None) -> None:
        """Thresholds for what has been learned."""
        background, how = self._background, self._plan
        if how is None or not background.is_learned:
            return
        found = background.settle(area_wide=sampled is not None and sampled.area_wide)
        self._in_force, self.limits = found, limits_for(how, found)
        if not found.is_capped:
            self._capped_since = None
        elif sampled is not None:
            self._capped_since = self._capped_since or sampled.at
        is_full = background.live_s >= background.length_s - _ROUNDING_S
        self._due_s = background.length_s / _UPDATES if is_full else background.live_s * _GROWTH
