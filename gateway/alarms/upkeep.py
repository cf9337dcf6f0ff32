"""What an instrument needs to stay of use: battery, calibration, clock, position, sampling.

Battery: low below 10 %, well again above 15 %, own choice. Volts are not judged, as no source
gives limits for them. Sampling is a state and sounds nothing: see ``Sampling``.
"""

import math
from datetime import UTC, date, datetime
from statistics import median
from typing import Final

from drivers.api import Channel, Flag, Position
from gateway.alarms.book import Book
from gateway.alarms.durable import Internal
from gateway.alarms.profiles import DetectorProfile
from gateway.alarms.record import AlarmRecord, Change, Evidence, Rule
from gateway.alarms.usability import Usability, usability
from gateway.alarms.watcher import Learned, Quiet, Sampled, Standing, facts
from gateway.values import Instant, Measured

BATTERY_LOW_PERCENT: Final = 10.0
BATTERY_WELL_PERCENT: Final = 15.0
CALIBRATION_EVERY_S: Final = 3600.0
CLOCK_OFFSET_S: Final = 2.0
"""Own choice: a car at 50 km/h is then placed 28 m beside where it was."""
CLOCK_WELL_S: Final = 1.0
CLOCK_SAMPLES: Final = 3
CLOCK_STABLE_S: Final = 1.0
"""Own choices: what is late on its way is not late by the same second three times running."""
CLOCK_SPAN_S: Final = 2.0
"""A backlog is read in one go and then has one arrival for many times; own choice."""
POSITION_LOST_S: Final = 60.0
"""Own choice: longer than an underpass."""
POSITION_KEPT_S: Final = 86_400.0
"""What carried a receiver yesterday may be another vehicle today; own choice."""
INSTANT_LIMIT_S: Final = 1.0
COMPLETE_LIMIT_S: Final = 2.0
JITTER_S: Final = 0.5
"""What is observed may be so much longer than what is declared: links are not even, own choice."""
COMPLETE_SHARE: Final = 0.9
_SPACINGS: Final = 10

_BATTERY: Final = Rule(
    "battery_level",
    1,
    facts(low_percent=BATTERY_LOW_PERCENT, well_percent=BATTERY_WELL_PERCENT),
)
_CLOCK: Final = Rule(
    "clock_offset",
    1,
    facts(
        limit_s=CLOCK_OFFSET_S,
        well_s=CLOCK_WELL_S,
        samples=CLOCK_SAMPLES,
        stable_s=CLOCK_STABLE_S,
        span_s=CLOCK_SPAN_S,
    ),
)
_POSITION: Final = Rule("position_lost", 1, facts(limit_s=POSITION_LOST_S))


class Upkeep(Quiet):
    """Small troubles of one detector: each an alarm of priority 4, or a reason of its state.

    ``commissioned``: a source check at the site has dispelled the profile's doubt. The object
    ``battery`` is shared with the instrument's own low-battery bit: whoever speaks first has it.
    """

    def __init__(self, book: Book) -> None:
        profile = book.profile
        self._book = book
        self._doubt = profile.doubt
        self._battery: float | None = None
        self._calibration = _Calibration(book)
        self._clock = _Clock(book)
        self._position = None if profile.ways.platform == "static" else _Place(book)
        self._sampling = Sampling(profile) if profile.ways.moving_subject else None
        self.commissioned = False

    @property
    def alarms(self) -> tuple[str, ...]:
        """The four alarm objects."""
        return ("battery", "calibration_overdue", "clock_offset", "position_lost")

    def measured(self, sampled: Sampled) -> list[Change]:
        """One sample."""
        measured = sampled.measured
        changes: list[Change] = []
        for reading in measured.readings:
            if reading.channel is Channel.BATTERY:
                changes += self._charge(measured)
                break
        if not measured.time_estimated or measured.flags:
            changes += self._clock.measured(measured)
        if self._position is not None:
            changes += self._position.measured(measured)
        if self._sampling is not None:
            self._sampling.measured(sampled)
        return changes

    def tick(self, now: Instant) -> list[Change]:
        """Calibrations end."""
        return self._calibration.tick(now)

    def restore(self, record: AlarmRecord, internal: Internal, now: Instant) -> None:
        """It is on the book, which is nearly all that is asked."""
        if record.alarm == "position_lost" and self._position is not None:
            self._position.was_seen = True

    def abandon(self, alarm: str) -> None:
        """The next sample, or the next hour, judges it anew."""
        if alarm == "clock_offset":
            self._clock = _Clock(self._book)
        elif alarm == "position_lost" and self._position is not None:
            self._position = _Place(self._book)
            self._position.was_seen = True

    def learned(self) -> Learned | None:
        """That it had a position, whose absence is news."""
        place = self._position
        return {"positioned": True} if place is not None and place.was_seen else None

    def relearn(self, learned: Learned, age_s: float, now: Instant) -> None:
        """A day old at most."""
        if self._position is not None and age_s <= POSITION_KEPT_S:
            self._position.was_seen = bool(learned.get("positioned"))

    def reasons(self) -> tuple[str, ...]:
        """Why its readings are not to be trusted in full, for the detector's state."""
        sampling = "" if self._sampling is None else self._sampling.reason()
        doubt = "" if self.commissioned else self._doubt
        return tuple(reason for reason in (sampling, doubt) if reason)

    def standing(self) -> tuple[Standing, ...]:
        """What the last sample said of them."""
        due = self._book.profile.calibration_due
        said = facts(
            battery_percent=self._battery,
            clock_offset_s=self._clock.offset_s,
            calibration_due=None if due is None else due.isoformat(),
            spacing_s=None if self._sampling is None else self._sampling.observed_s,
        )
        return (Standing("upkeep", True, facts=said),)

    def _charge(self, measured: Measured) -> list[Change]:
        told = [
            reading
            for reading in measured.readings
            if reading.channel is Channel.BATTERY
            and reading.unit == "%"
            and usability(reading.flags) is not Usability.NOT
        ]
        values = [reading.value for reading in told if reading.value is not None]
        if not values:
            return []
        percent = self._battery = min(values)
        record = self._book.records.get("battery")
        if record is not None and record.active:
            is_ours = record.rule.id == _BATTERY.id
            if not is_ours or percent <= BATTERY_WELL_PERCENT:
                return []
            return self._book.end("battery", measured.at, percent)
        if percent >= BATTERY_LOW_PERCENT:
            return []
        evidence = Evidence(
            measured.at, _BATTERY, percent, "%", position=measured.position, flags=measured.flags
        )
        return self._book.open_discrete("battery", evidence)


class _Calibration:
    """``calibration_overdue``: its last day is over, by the wall clock's date in UTC."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._next: float | None = None

    def tick(self, now: Instant) -> list[Change]:
        """Judged at once, and then every hour."""
        if self._next is not None and now.mono < self._next:
            return []
        self._next = now.mono + CALIBRATION_EVERY_S
        due = self._book.profile.calibration_due
        over = 0 if due is None else (_day(now) - due).days
        if over <= 0:
            return self._book.end("calibration_overdue", now)
        if due is None or self._book.is_active("calibration_overdue"):
            return []
        rule = Rule("calibration_overdue", 1, (("due", due.isoformat()),))
        evidence = Evidence(now, rule, over, "d", note=f"was due on {due.isoformat()}")
        return self._book.open_discrete("calibration_overdue", evidence)


class _Clock:
    """``clock_offset``: the instrument's own time is wrong, by as much in sample after sample.

    What is late on its way looks slow as well, but not evenly so. A time so wrong that the
    normaliser does not believe it counts too. ``offset_s``: how much it was fast in the last
    sample.
    """

    def __init__(self, book: Book) -> None:
        self._book = book
        self._samples = 0
        self._since = 0.0
        self._least = 0.0
        self._most = 0.0
        self.offset_s: float | None = None

    def measured(self, measured: Measured) -> list[Change]:
        """One sample; one without a time of its own proves nothing."""
        at, arrived = measured.at, measured.arrived
        if not measured.time_estimated:
            known_age_s = arrived.mono - at.mono
            offset = self.offset_s = at.wall + known_age_s - arrived.wall
            if -CLOCK_OFFSET_S <= offset <= CLOCK_OFFSET_S:
                self._samples = 0
                if -CLOCK_WELL_S < offset < CLOCK_WELL_S:
                    return self._book.end("clock_offset", arrived, offset)
                return []
        elif Flag.TIME_UNSYNCHRONISED in measured.flags:
            self.offset_s, offset = None, math.inf
        else:
            return []
        self._continue(offset, arrived.mono)
        is_proven = self._samples >= CLOCK_SAMPLES and arrived.mono - self._since >= CLOCK_SPAN_S
        if not is_proven or self._book.is_active("clock_offset"):
            return []
        return self._raise(measured)

    def _continue(self, offset: float, at: float) -> None:
        """A run of samples that agree; infinite offsets agree with each other alone."""
        least, most = min(self._least, offset), max(self._most, offset)
        agrees = least == most or most - least <= CLOCK_STABLE_S
        if not self._samples or not agrees:
            self._samples, self._since = 1, at
            self._least = self._most = offset
            return
        self._samples += 1
        self._least, self._most = least, most

    def _raise(self, measured: Measured) -> list[Change]:
        offset = self.offset_s
        told = "its time is more than a day off"
        if offset is not None:
            told = f"its clock is {abs(offset):.1f} s {'fast' if offset > 0 else 'slow'}"
        evidence = Evidence(measured.arrived, _CLOCK, offset, "s", flags=measured.flags, note=told)
        return self._book.open_discrete("clock_offset", evidence)


class _Place:
    """``position_lost``: what carries a receiver and had a position has none for a minute.

    Only the time that samples cover counts: silence is an alarm of its own.
    """

    def __init__(self, book: Book) -> None:
        self._book = book
        self._gap_s = book.profile.silence_limit_s
        self._without_s = 0.0
        self._last: float | None = None
        self._seen: Position | None = None
        self.was_seen = False

    def measured(self, measured: Measured) -> list[Change]:
        """One sample, with or without its position."""
        before, at = self._last, measured.at.mono
        self._last = at
        position = measured.position
        if position is not None and position.age_s <= POSITION_LOST_S:
            self._without_s, self.was_seen, self._seen = 0.0, True, position
            return self._book.end("position_lost", measured.at)
        if not self.was_seen or before is None or not 0.0 < at - before <= self._gap_s:
            return []
        self._without_s += at - before
        if self._without_s < POSITION_LOST_S or self._book.is_active("position_lost"):
            return []
        note = f"no position for {self._without_s:.0f} s"
        evidence = Evidence(
            measured.at, _POSITION, self._without_s, "s", position=self._seen, note=note
        )
        return self._book.open_discrete("position_lost", evidence)


class Sampling:
    """Whether what passes a detector of moving subjects is seen: ``sampling_insufficient``.

    1 GBq of Cs-137 at 5 m and 50 km/h is above 0.5 µSv/h for 1.82 s. Instantaneous readings every
    1 s always find that, every 2 s nine times in ten, every 5 s once in three. So readings that
    stand for an instant must come every second.

    Counts over the whole time between two samples miss nothing, and so does what an instrument
    keeps until it is told, such as a portal's passage with its largest sum. There 2 s are enough,
    in which a personal detector must alarm by ANSI N42.32: the limit is then the delay. An
    instrument's own alarm bit is not taken for a latched maximum, as it does not say that it is
    latched. Portals are judged by their declared sampling alone: between occupancies they tell
    their background, and that slowly.
    """

    def __init__(self, profile: DetectorProfile) -> None:
        self._declared_s = profile.sampling_s
        self._is_portal = profile.is_portal
        self._is_complete = profile.is_portal
        self._shortest_s = math.inf
        self._spacings: list[float] = []
        self._last: float | None = None
        self.observed_s: float | None = None

    def measured(self, sampled: Sampled) -> None:
        """One sample with a dose rate or counts in it."""
        if self._is_portal or not (
            sampled.true or sampled.gamma or sampled.estimate or sampled.neutrons
        ):
            return
        before, at = self._last, sampled.measured.at.mono
        self._last = at
        if before is None or at <= before:
            return
        counted = sampled.gamma or sampled.neutrons
        live_s = 0.0 if counted is None else counted.live_s
        self._shortest_s = min(self._shortest_s, live_s)
        self._spacings.append(at - before)
        if len(self._spacings) == _SPACINGS:
            self._observed()

    def reason(self) -> str:
        """Why it is insufficient; empty where it is not."""
        limit_s = COMPLETE_LIMIT_S if self._is_complete else INSTANT_LIMIT_S
        if self._declared_s is not None and self._declared_s > limit_s:
            return _insufficient(self._declared_s, limit_s)
        if self.observed_s is not None and self.observed_s > limit_s + JITTER_S:
            return _insufficient(self.observed_s, limit_s)
        return ""

    def _observed(self) -> None:
        self.observed_s = median(self._spacings)
        self._is_complete = self._shortest_s >= COMPLETE_SHARE * self.observed_s
        self._shortest_s = math.inf
        self._spacings.clear()


def _insufficient(spacing_s: float, limit_s: float) -> str:
    return f"sampling_insufficient: every {spacing_s:.3g} s, this class needs {limit_s:g} s"


def _day(now: Instant) -> date:
    return datetime.fromtimestamp(now.wall, UTC).date()
