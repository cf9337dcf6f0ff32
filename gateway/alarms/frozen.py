"""Frozen values: an instrument that says the same number for ever measures nothing any more.

Counts: n identical independent counts of v have at most the probability p(v; v)ⁿ, whatever the
true mean, as no mean makes v likelier than v itself. They are declared frozen at 10⁻⁹, as lost
counts are, and never before ten. Counts that may be seen twice count half. Runs of zero are the
affair of the loss of counts.

Other numbers repeat where the field is steady and the last digit coarse; many instruments show
0.10 for hours. They are frozen when all of them repeat for ``frozen_value_s`` and 60 samples, each
over its own averaging time. With one or two digits it takes six times as long, and the instrument
must have shown another value since it was switched on. Nothing, one step of the last digit and
what is below the range are never frozen. All own choices, made to spare healthy instruments.
"""

import math
import re
from typing import Final

from drivers.api import Channel, Flag, Reading
from gateway.alarms.book import Book
from gateway.alarms.counting import Counted
from gateway.alarms.durable import Internal
from gateway.alarms.record import AlarmRecord, Change, Evidence, Facts, Number, Rule
from gateway.alarms.technical import LOSS_PROBABILITY
from gateway.alarms.usability import Usability, usability
from gateway.alarms.watcher import Quiet, Sampled, Standing, facts
from gateway.values import Instant, Measured

ALARM: Final = "frozen_value"
LEAST_COUNTS: Final = 10
LEAST_SAMPLES: Final = 60
MANY_DIGITS: Final = 3
FEW_DIGITS_FACTOR: Final = 6.0

_SHOWN: Final = frozenset(
    {
        Channel.DOSE,
        Channel.DOSE_RATE,
        Channel.GAMMA_COUNT_RATE,
        Channel.GAMMA_COUNTS,
        Channel.NEUTRON_COUNT_RATE,
        Channel.NEUTRON_COUNTS,
    }
)
_DIGITS: Final = re.compile(r"\s*(\d+(?:[.,]\d+)?)")
_POINTS: Final = str.maketrans("", "", ".,")


def repeats_needed(counts: int) -> float:
    """How many identical counts cannot be chance; infinite for zero."""
    if counts < 1:
        return math.inf
    return max(LEAST_COUNTS, math.log(LOSS_PROBABILITY) / _log_mode(counts))


def significant_digits(reading: Reading) -> int:
    """The digits it shows, trailing zeros too; 0 for nothing and for one step of the last digit."""
    if not reading.value or Flag.BELOW_RANGE in reading.flags:
        return 0
    shown = _DIGITS.match(reading.raw)
    # Without the instrument's own digits: six, as many as single precision carries.
    text = shown[1] if shown else f"{abs(reading.value):.6g}".partition("e")[0]
    digits = text.translate(_POINTS).lstrip("0")
    return 0 if digits in ("", "1") else len(digits)


class FrozenValue(Quiet):
    """The alarm ``frozen_value``; it ends with the first different value.

    Times on the monotonic clock. A gap longer than the detector's limit begins a new run, as the
    instrument may have been switched off; what was frozen stays so until it shows something else.
    Only valid readings count: what an instrument repeats while it declares a fault is no news.
    """

    def __init__(self, book: Book) -> None:
        self._book = book
        gap_s, limit_s = book.profile.silence_limit_s, book.profile.ways.frozen_value_s
        self._counts = _CountRun(gap_s)
        self._values = _ValueRun(gap_s, limit_s)
        self._rule = Rule(ALARM, 1, _parameters(limit_s))
        self._restored: Number | None = None
        self._has_gamma = False
        self.is_frozen = False

    @property
    def alarms(self) -> tuple[str, ...]:
        """The one alarm object."""
        return (ALARM,)

    def measured(self, sampled: Sampled) -> list[Change]:
        """One sample: it continues a run or breaks it."""
        if sampled.blind and not self.is_frozen:
            return []
        counted = sampled.gamma
        if counted is not None:
            self._has_gamma = True
        elif sampled.neutrons is not None:
            if self._has_gamma:  # neutrons repeat where gammas tell more
                return []
            counted = sampled.neutrons
        if counted is None or counted.use is not Usability.FULL:
            return self._judged(self._values, self._values.add(sampled.measured), sampled)
        changed = self._counts.add(counted, sampled.measured.at.mono)
        if changed:
            self._values.broken()
        return self._judged(self._counts, changed, sampled)

    def restore(self, record: AlarmRecord, internal: Internal, now: Instant) -> None:
        """Still frozen, until another value than that of the record comes."""
        self.is_frozen = True
        self._restored = record.value

    def abandon(self, alarm: str) -> None:
        """Closed under supervision: a run that goes on raises it anew."""
        self.is_frozen = False
        self._restored = None

    def standing(self) -> tuple[Standing, ...]:
        """How long the present value has lasted."""
        run = self._values
        said = facts(
            identical_counts=self._counts.repeats or None,
            identical_samples=run.samples or None,
            held_s=round(run.held_s, 3) if run.samples else None,
        )
        return (Standing(ALARM, True, facts=said),)

    def _judged(
        self, run: "_CountRun | _ValueRun", changed: bool, sampled: Sampled
    ) -> list[Change]:
        if self.is_frozen:
            if not changed and not self._is_other(run.leading()):
                return []
            self.abandon(ALARM)
            return self._book.end(ALARM, sampled.at)
        return self._raised(run, sampled) if not changed and run.is_over else []

    def _is_other(self, leading: Reading | None) -> bool:
        """Whether the first value after a restart is not the frozen one."""
        if self._restored is None or leading is None:
            return False
        before, self._restored = self._restored, None
        return leading.value != before

    def _raised(self, run: "_CountRun | _ValueRun", sampled: Sampled) -> list[Change]:
        leading, measured = run.leading(), sampled.measured
        if leading is None:
            return []
        self.is_frozen = True
        evidence = Evidence(
            measured.at,
            self._rule,
            leading.value,
            leading.unit,
            leading.quantity,
            leading.raw,
            statistic=run.statistic(),
            position=measured.position,
            flags=measured.flags,
            device_alarms=sampled.device_alarms,
            note=f"{leading.value:g} {leading.unit} {run.lasted}",
        )
        return self._book.open_discrete(ALARM, evidence)


class _CountRun:
    """Identical counts one after another."""

    def __init__(self, gap_s: float) -> None:
        self._gap_s = gap_s
        self._counts = -1
        self._live_s = 0.0
        self._last = -math.inf
        self.repeats = 0.0

    @property
    def is_over(self) -> bool:
        """Whether so many are no chance any more."""
        return self.repeats >= LEAST_COUNTS and self.repeats >= repeats_needed(self._counts)

    @property
    def lasted(self) -> str:
        """How long it is, in words."""
        return f"{self.repeats:g} times in a row"

    def add(self, counted: Counted, at: float) -> bool:
        """Whether this one differs from the one before."""
        counts, live_s, before = counted.counts, counted.live_s, self._counts
        elapsed = at - self._last
        self._last = at
        if counts == before and live_s == self._live_s and elapsed <= self._gap_s:
            # A count that may be seen twice proves half, and no more than its new part.
            new = 1.0 if counted.independent else 0.5 * min(max(elapsed, 0.0) / live_s, 1.0)
            self.repeats += new
            return False
        self._counts, self._live_s = counts, live_s
        self.repeats = 1.0 if counted.independent else 0.5
        return before >= 0 and counts != before

    def leading(self) -> Reading:
        """The count as a reading."""
        return Reading(Channel.GAMMA_COUNTS, self._counts, "count", window_s=self._live_s)

    def statistic(self) -> Facts:
        """What the record shows of the test."""
        return facts(
            counts=self._counts,
            window_s=self._live_s,
            identical=self.repeats,
            needed=math.ceil(repeats_needed(self._counts)),
            expected=self._counts,
            p_value=math.exp(self.repeats * _log_mode(self._counts)),
            threshold=LOSS_PROBABILITY,
        )


class _ValueRun:
    """Numbers of which none changes; ``held_s`` is how long they have been seen to stand."""

    def __init__(self, gap_s: float, limit_s: float) -> None:
        self._gap_s = gap_s
        self._limit_s = limit_s
        self._shown: dict[tuple[Channel, str], Reading] = {}
        self._has_varied = False
        self._last = -math.inf
        self._needed_s: float | None = None
        self.held_s = 0.0
        self.samples = 0

    @property
    def is_over(self) -> bool:
        """Whether they have stood for too long."""
        if self.samples < LEAST_SAMPLES or self.held_s < self._limit_s:
            return False
        if self._needed_s is None:
            self._needed_s = self._worked_out()
        return self.held_s >= self._needed_s

    @property
    def lasted(self) -> str:
        """How long it is, in words."""
        return f"for {self.held_s:.0f} s"

    def add(self, measured: Measured) -> bool:
        """Whether any number differs from the one before."""
        if measured.flags and usability(measured.flags) is not Usability.FULL:
            return False
        changed, tells, shown = False, False, self._shown
        for reading in measured.readings:
            channel = reading.channel
            if channel not in _SHOWN or not _is_usable(reading):
                continue
            key = (channel, reading.part)
            before = shown.get(key)
            shown[key] = reading
            tells = tells or channel is not Channel.DOSE
            if before is not None and (before.value != reading.value or before.raw != reading.raw):
                changed = True
        if changed:
            self.broken()
            self._has_varied = True
        if tells:
            self._count(measured.at.mono)
        return changed

    def broken(self) -> None:
        """The run is over."""
        self.held_s, self.samples, self._needed_s = 0.0, 0, None

    def leading(self) -> Reading | None:
        """The rate with the most digits; None before any was seen."""
        rates = [reading for reading in self._rates() if reading.value is not None]
        return max(rates, key=significant_digits, default=None)

    def statistic(self) -> Facts:
        """What the record shows of it."""
        leading = self.leading()
        return facts(
            held_s=round(self.held_s, 3),
            needed_s=self._needed_s,
            samples=self.samples,
            digits=None if leading is None else significant_digits(leading),
        )

    def _rates(self) -> list[Reading]:
        return [r for r in self._shown.values() if r.channel is not Channel.DOSE]

    def _count(self, at: float) -> None:
        elapsed = at - self._last
        self._last = at
        if elapsed > self._gap_s:
            self.broken()
            self._has_varied = False
        elif self.samples:
            self.held_s += max(elapsed, 0.0)
        self.samples += 1

    def _worked_out(self) -> float:
        leading = self.leading()
        digits = 0 if leading is None else significant_digits(leading)
        if not digits or (digits < MANY_DIGITS and not self._has_varied):
            return math.inf
        limit_s = self._limit_s * (1.0 if digits >= MANY_DIGITS else FEW_DIGITS_FACTOR)
        windows = [reading.window_s or 0.0 for reading in self._rates()]
        return max(limit_s, LEAST_SAMPLES * max(windows, default=0.0))


def _is_usable(reading: Reading) -> bool:
    """A valid number, or the word that there is none because it is too large."""
    flags = reading.flags
    if not flags:
        return reading.value is not None
    return usability(flags) is Usability.FULL and Flag.ESTIMATED_FROM_COUNTS not in flags


def _log_mode(counts: int) -> float:
    """The logarithm of the largest Poisson probability at a mean of ``counts``, 1 or more."""
    return counts * math.log(counts) - counts - math.lgamma(counts + 1)


def _parameters(limit_s: float) -> Facts:
    return facts(
        probability=LOSS_PROBABILITY,
        least_counts=LEAST_COUNTS,
        limit_s=limit_s,
        least_samples=LEAST_SAMPLES,
        many_digits=MANY_DIGITS,
        few_digits_factor=FEW_DIGITS_FACTOR,
    )
