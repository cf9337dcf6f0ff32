"""The gateway's own statistic of each passage of a portal, and lanes that never become vacant.

The portal's decision is passed on; this statistic stands beside it in the record and raises no
alarm. It is the usual rule of a gross-count portal (N42.35, IEC 62244): sums of one second, slid by
200 ms, against the background of the vacant lane, frozen when the occupancy begins; the exact
conditional binomial test instead of k·sigma.

A vehicle shields part of the background: the smallest sum tells how much, and the width of the
profile is taken above it. A point source passes in a second or two, cargo takes longer.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from drivers.api import Channel, Quantity
from gateway.alarms.book import Book
from gateway.alarms.counting import Counted
from gateway.alarms.durable import Internal
from gateway.alarms.record import AlarmRecord, Change, Evidence, Facts, Rule
from gateway.alarms.statistics import binomial_tail, k_equivalent
from gateway.alarms.usability import Usability, usability
from gateway.alarms.vacant import GUARD_S, ROUNDING_S, Basis, Vacant
from gateway.alarms.watcher import Quiet, Sampled, Standing, facts
from gateway.values import Instant, PassageRecord

STUCK: Final = "occupancy_stuck"
STUCK_S: Final = 300.0
"""Own choice: the longest of 699 recorded occupancies of a Rapiscan lane took 21 s."""
SUM_S: Final = 1.0
NEUTRON_SUMS_S: Final = (1.0, 2.0)
GAMMA_BACKGROUND_S: Final = 20.0
NEUTRON_BACKGROUND_S: Final = 120.0
"""The averaging times of the recorded Rapiscan portals, where the portal does not tell its own."""
SIGNIFICANT: Final = 2.8665157187919333e-07
"""The upper tail of five standard deviations, which vendors set most often."""
DISTRIBUTED_S: Final = 6.0
"""Own choice for cargo at the test speed of vehicles, 2.2 m/s (N42.35): 13 m."""
POINT_S: Final = 3.0
"""Own choice: at 2.2 m/s and 3 m a point source is above half its maximum for 2d/v = 2.7 s."""
_LONGEST_PROFILE: Final = 4096  # own choice: 13 minutes at 200 ms
_RULE: Final = Rule(
    "portal_statistics",
    1,
    facts(
        sum_s=SUM_S,
        guard_s=GUARD_S,
        significant=SIGNIFICANT,
        distributed_s=DISTRIBUTED_S,
        point_s=POINT_S,
    ),
)
_STUCK_RULE: Final = Rule(STUCK, 1, facts(stuck_s=STUCK_S))


@dataclass(frozen=True, slots=True)
class Largest:
    """The largest sum of an occupancy and what the background makes of it, if there is one."""

    counts: int
    live_s: float
    at: Instant
    expected: float | None = None
    p_value: float | None = None
    k_equivalent: float | None = None


@dataclass(frozen=True, slots=True)
class PortalStatistic:
    """What the counts of one passage say, whatever the portal has decided.

    ``lowest`` is the smallest sum of a second as a part of the background. ``width_s`` (at half
    maximum above that sum) and ``net`` (counts per second above the background, over that width)
    are told of a significant profile only. ``neutrons`` are sums of 1 and 2 s.
    """

    detector: str
    passage: int | None
    start: Instant
    end: Instant
    gamma: Largest | None
    neutrons: tuple[Largest, ...]
    lowest: float | None = None
    width_s: float | None = None
    net: float | None = None
    hint: str = ""
    background: Facts = ()
    rule: Rule = _RULE

    @property
    def facts(self) -> Facts:
        """For the record."""
        told: Facts = ()
        if self.gamma is not None:
            told += _facts("gamma", self.gamma)
        told += facts(lowest_to_background=self.lowest, width_s=self.width_s, net_per_s=self.net)
        for largest in self.neutrons:
            told += _facts(f"neutron_{round(largest.live_s)}s", largest)
        return told + self.background + facts(hint=self.hint or None)


class PortalStatistics(Quiet):
    """One portal: learns while its lane is vacant, sums up while it is occupied."""

    alarms: tuple[str, ...] = (STUCK,)

    def __init__(self, book: Book) -> None:
        self._book = book
        self._gap_s = book.profile.silence_limit_s
        self._gamma = Vacant(GAMMA_BACKGROUND_S, Quantity.GAMMA_COUNT_RATE)
        self._neutrons = Vacant(NEUTRON_BACKGROUND_S, Quantity.NEUTRON_COUNT_RATE)
        self._now: _Occupancy | None = None
        self._over: _Occupancy | None = None
        self._seen_vacant: Instant | None = None

    def measured(self, sampled: Sampled) -> list[Change]:
        """One sample; one that does not speak of the lane may still tell a background."""
        occupied = sampled.measured.occupied
        if not occupied:
            self._hear_background(sampled)
        if occupied is None:
            return []
        return self._occupied(sampled) if occupied else self._vacant(sampled)

    def finish(self, passage: PassageRecord) -> PortalStatistic | None:
        """The passage is over: what its samples say; None where none came."""
        done = self._now or self._over
        self._now = self._over = None
        background = passage.passage.neutron_background
        if background is not None:
            self._neutrons.take(background, None, passage.arrived)
            if done is not None and done.neutron_basis is None:
                done.neutron_basis = self._neutrons.basis
        if done is None or passage.arrived.mono - done.heard.mono > self._gap_s:
            return None
        return done.statistic(passage)

    def restore(self, record: AlarmRecord, internal: Internal, now: Instant) -> None:
        """It stays until the lane is seen vacant."""

    def abandon(self, alarm: str) -> None:
        """An occupancy that goes on is told again after its time."""
        self._now = None

    def standing(self) -> tuple[Standing, ...]:
        """Whether the next passage can be judged."""
        known: Facts = ()
        for name, vacant in (("gamma", self._gamma), ("neutron", self._neutrons)):
            if (basis := vacant.basis) is not None:
                known += facts(**{f"{name}_background_per_s": basis.rate})
        if self._book.is_active(STUCK):
            reason = f"lane occupied for more than {STUCK_S:.0f} s"
        else:
            reason = "" if self._gamma.basis is not None else "learning the vacant lane"
        return (Standing(_RULE.id, not reason, reason, known),)

    def _hear_background(self, sampled: Sampled) -> None:
        measured = sampled.measured
        told = [r for r in measured.readings if r.channel is Channel.BACKGROUND]
        if told and usability(measured.flags) is Usability.FULL:
            self._gamma.hear(told, measured.at)
            self._neutrons.hear(told, measured.at)

    def _vacant(self, sampled: Sampled) -> list[Change]:
        if self._now is not None:
            self._over, self._now = self._now, None
            self._gamma.leave()
            self._neutrons.leave()
        self._seen_vacant = sampled.arrived
        if not sampled.alarming and not sampled.blind:
            self._gamma.learn(sampled.gamma, sampled.at)
            self._neutrons.learn(sampled.neutrons, sampled.at)
        return self._book.end(STUCK, sampled.at)

    def _occupied(self, sampled: Sampled) -> list[Change]:
        arrived, now = sampled.arrived, self._now
        if now is None or arrived.mono - now.heard.mono > self._gap_s:
            bases = self._gamma.basis, self._neutrons.basis
            began = self._seen_vacant  # it came after that, and before it was seen itself
            if began is None or arrived.mono - began.mono > self._gap_s:
                began = arrived
            now = _Occupancy(sampled.at, began, arrived, *bases)
            self._now, self._over = now, None
        now.add(sampled)
        lasts_s = arrived.mono - now.began.mono + ROUNDING_S
        if lasts_s < STUCK_S or self._book.is_active(STUCK):
            return []
        evidence = Evidence(arrived, _STUCK_RULE, note="blocked sensor, or somebody stays")
        return self._book.open_discrete(STUCK, evidence)


@dataclass(frozen=True, slots=True)
class _Sum:
    """Counts over ``live_s``; ``step_s`` was added since the sum before."""

    at: Instant
    counts: int
    live_s: float
    step_s: float


class _Sums:
    """Sums of one length, slid by an interval."""

    def __init__(self, seconds: float) -> None:
        self.told: list[_Sum] = []
        self._seconds = seconds
        self._intervals: deque[Counted] = deque()

    def add(self, counted: Counted, at: Instant) -> None:
        """The next interval; one that does not join those before it begins anew."""
        intervals = self._intervals
        if not counted.independent or counted.use is Usability.NOT:
            intervals.clear()
        if counted.use is Usability.NOT:
            return
        intervals.append(counted)
        live_s = sum(each.live_s for each in intervals)
        if live_s > self._seconds - ROUNDING_S:
            if len(self.told) < _LONGEST_PROFILE:
                counts = sum(each.counts for each in intervals)
                self.told.append(_Sum(at, counts, live_s, counted.live_s))
            intervals.popleft()

    def largest(self, basis: Basis | None) -> Largest | None:
        """The largest and its statistic."""
        if not self.told:
            return None
        most = max(self.told, key=lambda each: each.counts)
        if basis is None:
            return Largest(most.counts, most.live_s, most.at)
        q = most.live_s / (most.live_s + basis.live_s)
        p = binomial_tail(most.counts, basis.counts, q)
        told = basis.rate * most.live_s, p, k_equivalent(p)
        return Largest(most.counts, most.live_s, most.at, *told)


@dataclass(slots=True)
class _Occupancy:
    """What is known of the occupancy so far; the backgrounds are those of its beginning."""

    since: Instant
    began: Instant
    heard: Instant
    gamma_basis: Basis | None
    neutron_basis: Basis | None
    gamma: _Sums = field(default_factory=lambda: _Sums(SUM_S))
    neutrons: tuple[_Sums, ...] = field(
        default_factory=lambda: tuple(_Sums(seconds) for seconds in NEUTRON_SUMS_S)
    )

    def add(self, sampled: Sampled) -> None:
        """A sample while it lasts."""
        self.heard = sampled.arrived
        if sampled.gamma is not None:
            self.gamma.add(sampled.gamma, sampled.at)
        if sampled.neutrons is not None:
            for sums in self.neutrons:
                sums.add(sampled.neutrons, sampled.at)

    def statistic(self, passage: PassageRecord) -> PortalStatistic:
        """All there is to say when it is over."""
        gamma = self.gamma.largest(self.gamma_basis)
        neutrons = [sums.largest(self.neutron_basis) for sums in self.neutrons]
        lowest = width_s = net = None
        if gamma is not None and gamma.expected:
            lowest = min(each.counts for each in self.gamma.told) / gamma.expected
            if gamma.p_value is not None and gamma.p_value <= SIGNIFICANT:
                width_s, mean = _profile(self.gamma.told)
                net = (mean - gamma.expected) / gamma.live_s
        return PortalStatistic(
            passage.detector,
            passage.passage.number,
            passage.start or self.since,
            passage.end or self.heard,
            gamma,
            tuple(largest for largest in neutrons if largest is not None),
            lowest,
            width_s,
            net,
            _hint(width_s),
            _backgrounds(self),
        )


def _profile(told: Sequence[_Sum]) -> tuple[float, float]:
    """Width in s at half maximum above the smallest sum, and the mean sum over that width."""
    counts = [each.counts for each in told]
    peak = counts.index(max(counts))
    half = (counts[peak] + min(counts)) / 2
    first = last = peak
    while first > 0 and counts[first - 1] >= half:
        first -= 1
    while last + 1 < len(counts) and counts[last + 1] >= half:
        last += 1
    inside = counts[first : last + 1]
    # Live times and not arrivals, which a network bunches.
    width_s = math.fsum(each.step_s for each in told[first + 1 : last + 1])
    return width_s, sum(inside) / len(inside)


def _hint(width_s: float | None) -> str:
    if width_s is None or POINT_S < width_s < DISTRIBUTED_S:
        return ""
    return "point source" if width_s <= POINT_S else "distributed source/NORM"


def _backgrounds(occupancy: _Occupancy) -> Facts:
    told: Facts = ()
    for name, basis in (("gamma", occupancy.gamma_basis), ("neutron", occupancy.neutron_basis)):
        if basis is not None:
            told += (
                (f"{name}_background_counts", basis.counts),
                (f"{name}_background_live_s", basis.live_s),
                (f"{name}_background_age_s", max(0.0, occupancy.since.mono - basis.at.mono)),
                (f"{name}_background_source", basis.source),
            )
    return told


def _facts(name: str, largest: Largest) -> Facts:
    known = facts(
        counts=largest.counts,
        window_s=largest.live_s,
        expected=largest.expected,
        p_value=largest.p_value,
        k_equivalent=largest.k_equivalent,
    )
    return tuple((f"{name}_{key}", value) for key, value in known)
