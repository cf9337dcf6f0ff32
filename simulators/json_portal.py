"""What a portal of the open line format does: counts by interval, its own alarms, passages.

The sum of five intervals is held against the mean of the vacant ones, and alarms ``n_sigma``
standard deviations above it, while somebody is in the lane. A passage ends when the lane has been
clear for ``hold_in_intervals``. Neutrons are counted by the second.
"""

import math
from collections import deque
from statistics import NormalDist
from typing import Final

from config.scenario_detectors import JsonLinesSettings
from drivers.api import Channel, Flag
from simulators.api import Field
from simulators.counter import Counter
from simulators.json_text import Line, Says, counts, passage_line

WINDOW: Final = 5
"""Intervals that are judged together, as Rapiscan and TSA portals do."""
LEAST_BACKGROUND_S: Final = 5.0
"""No decision before so many vacant seconds; own choice."""
USUAL_PASSAGE: Final = 10
"""Sums that are judged in a usual passage of two seconds; own choice."""
NEUTRON_S: Final = 1.0


class _Passage:
    """One occupancy under way."""

    def __init__(self, began_s: float, speed_m_s: float | None) -> None:
        self.began_s = began_s
        self.seen_s = began_s
        self.speed_m_s = speed_m_s
        self.clear = 0
        self.gamma_alarm = False
        self.neutron_alarm = False
        self.gamma_max = 0
        self.neutron_max = 0


class Portal:
    """The measuring part of a portal."""

    def __init__(self, settings: JsonLinesSettings, counter: Counter, period_s: float) -> None:
        self._settings = settings
        self._period_s = period_s
        self._parts = range(1, counter.parts + 1)
        names = [str(part) if counter.parts > 1 else "" for part in self._parts]
        self._gammas = [counts(Channel.GAMMA_COUNTS, period_s, name) for name in names]
        self._neutrons = bool(counter.neutron_background_cps or counter.neutron_cps)
        self._per_second = max(round(NEUTRON_S / period_s), 1)
        second_s = self._per_second * period_s
        self._neutron = [counts(Channel.NEUTRON_COUNTS, second_s, name) for name in names]
        self._n_sigma = settings.n_sigma
        if settings.false_alarm_per_passage is not None:
            one = settings.false_alarm_per_passage / USUAL_PASSAGE
            self._n_sigma = NormalDist().inv_cdf(1.0 - one)
        self._number = 0
        self.restart()

    def restart(self) -> None:
        """Switched on anew: the background is learned again."""
        kept = max(round(self._settings.background_time_s / self._period_s), WINDOW)
        self._vacant: deque[int] = deque(maxlen=kept)
        self._vacant_sum = 0
        self._recent: deque[int] = deque(maxlen=WINDOW)
        self._seconds: deque[int] = deque(maxlen=self._settings.background_time_s)
        self._neutron_counts = [0] * len(self._parts)
        self._interval = 0
        self._occupied = False
        self._passage: _Passage | None = None
        self._was_alarming = (False, False)

    @property
    def bound_usv_h(self) -> float | None:
        """A portal has no dose rate."""
        return None

    def measure(self, line: Line, begin_s: float, end_s: float, field: Field, on: set[str]) -> None:
        """The readings of one interval."""
        dead = "dead_channel" in on
        gammas = [0 if dead else field.gamma_counts(begin_s, end_s, part) for part in self._parts]
        occupied = self._occupied = field.occupied(end_s)
        self._recent.append(sum(gammas))
        self._begin(line, begin_s, end_s, field, occupied)
        if "fault" not in on:
            for told, count in zip(self._gammas, gammas, strict=True):
                line.put(told, count)
            self._count_neutrons(line, begin_s, end_s, field)
        if self._passage is None:
            self._learn(sum(gammas))
        else:
            self._judge(self._passage)
        self._tell_alarms(line)
        if len(self._vacant) < (self._vacant.maxlen or 0):
            line.flags += (Flag.CALIBRATING_BACKGROUND,)
        line.tell("occupied", occupied)

    def after(self, end_s: float) -> tuple[bytes, Says] | None:
        """The passage that has just ended."""
        passage = self._passage
        if passage is None:
            return None
        if self._occupied:
            passage.clear, passage.seen_s = 0, end_s
            return None
        passage.clear += 1
        if passage.clear < self._settings.hold_in_intervals:
            return None
        self._passage = None
        self._number += 1
        return self._told(passage, end_s)

    def _begin(
        self, line: Line, begin_s: float, end_s: float, field: Field, occupied: bool
    ) -> None:
        if occupied and self._passage is None:
            speed_m_s = field.speed_m_s(end_s)
            self._passage = _Passage(begin_s, speed_m_s)
            if speed_m_s is not None:
                line.value(Channel.SPEED, speed_m_s, "m/s", window_s=0.0)

    def _learn(self, total: int) -> None:
        if len(self._vacant) == self._vacant.maxlen:
            self._vacant_sum -= self._vacant[0]
        self._vacant.append(total)
        self._vacant_sum += total

    def _count_neutrons(self, line: Line, begin_s: float, end_s: float, field: Field) -> None:
        if not self._neutrons:
            return
        for index, part in enumerate(self._parts):
            self._neutron_counts[index] += field.neutron_counts(begin_s, end_s, part)
        self._interval += 1
        if self._interval % self._per_second:
            return
        for told, count in zip(self._neutron, self._neutron_counts, strict=True):
            line.put(told, count)
        total = sum(self._neutron_counts)
        self._neutron_counts = [0] * len(self._parts)
        if self._passage is None:
            self._seconds.append(total)
        else:
            self._passage.neutron_max = max(self._passage.neutron_max, total)
            if total >= self._settings.neutron_alarm_counts:
                self._passage.neutron_alarm = True

    def _judge(self, passage: _Passage) -> None:
        total = sum(self._recent)
        if len(self._recent) == WINDOW:
            passage.gamma_max = max(passage.gamma_max, total)
        if len(self._vacant) * self._period_s < LEAST_BACKGROUND_S or len(self._recent) < WINDOW:
            return
        usual = self._vacant_sum / len(self._vacant) * WINDOW
        if total - usual > self._n_sigma * math.sqrt(usual):
            passage.gamma_alarm = True

    def _tell_alarms(self, line: Line) -> None:
        passage = self._passage
        now = (False, False) if passage is None else (passage.gamma_alarm, passage.neutron_alarm)
        if passage is not None or self._was_alarming != now:
            line.state(Channel.DEVICE_ALARM, now[0], "gamma")
            if self._neutrons:
                line.state(Channel.DEVICE_ALARM, now[1], "neutron")
        self._was_alarming = now

    def _told(self, passage: _Passage, end_s: float) -> tuple[bytes, Says]:
        table: dict[str, object] = {
            "number": self._number,
            "start_age_s": round(end_s - passage.began_s, 6),
            "end_age_s": round(end_s - passage.seen_s, 6),
            "gamma_alarm": passage.gamma_alarm,
            "neutron_alarm": passage.neutron_alarm,
            "gamma_max": passage.gamma_max,
            "gamma_max_basis": f"{WINDOW}x{round(1000 * self._period_s)}ms",
        }
        if self._neutrons:
            table |= {"neutron_max": passage.neutron_max, "neutron_max_basis": "1s"}
        if self._vacant:
            table["gamma_background"] = self._vacant_sum / len(self._vacant) / self._period_s
        if self._seconds:
            table["neutron_background"] = sum(self._seconds) / len(self._seconds)
        if passage.speed_m_s is not None:
            table["speed_m_s"] = passage.speed_m_s
        says: Says = {
            "passage.number": self._number,
            "passage.gamma_alarm": passage.gamma_alarm,
            "passage.neutron_alarm": passage.neutron_alarm,
            "passage.gamma_max": passage.gamma_max,
        }
        return passage_line(table), says
