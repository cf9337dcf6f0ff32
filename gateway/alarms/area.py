"""A slow rise on many detectors at once, gamma only: one advisory in place of an alarm each.

Rain washes radon daughters out: 14 mm in 15 min raised the dose rate at PTB Braunschweig from 106
to 196 nSv/h. A plume looks the same at first, so the advisory covers R1 and R2 only up to twice
the baseline and +0.15 µSv/h, lists its members, wants its own acknowledgement, and expires. While
many backgrounds rise together they may follow; one that rises alone may not. Rain raises all about
equally; a strong source among them falls off with the square of the distance, so its rise is none
that they share, however many see it.
"""

import math
from collections.abc import Sequence
from statistics import median
from typing import Final

from gateway.alarms import handling
from gateway.alarms.detector import DetectorAlarms
from gateway.alarms.homes import AREA, Group, Homes
from gateway.alarms.lifecycle import Severity
from gateway.alarms.record import Change, Evidence, Rule
from gateway.alarms.watcher import NOTHING_COMMON, Common, Trend
from gateway.values import Instant

ALARM: Final = "area_wide"
LEAST: Final = 3
LEAST_PART: Final = 0.5
RATIO: Final = 1.3
RATIO_CLEAR: Final = 1.15
RATIO_LIMIT: Final = 2.0
ALIKE: Final = 1.5
FOLLOW_RATIO: Final = 1.03
FOLLOW_SIGMA: Final = 3.0
MEDIAN_ERROR: Final = math.sqrt(math.pi / 2)
"""The error of a median of normal values, in errors of their mean."""
EXPIRES_S: Final = 6 * 3600.0
"""Three detectors and half of those that can tell; what is not of the sources above is our own
choice. A common rise begins when the median of all trends is above FOLLOW_RATIO by FOLLOW_SIGMA of
its error. From then on backgrounds may follow, and the thresholds of a statistical rise are
multiplied by the common one: the trailing background lags behind rain, so that chance alone would
raise one detector after the other before the advisory is due. The advisory covers RATIO_LIMIT. Of
the rises that reach RATIO half must be ALIKE: within that factor of their median, three errors
aside. Of detectors spread over a plane about a point source two in five would be, along a line one
in five."""
_RULE: Final = Rule(
    "area_wide_rise",
    1,
    (
        ("least_detectors", LEAST),
        ("least_part", LEAST_PART),
        ("ratio", RATIO),
        ("alike", ALIKE),
        ("ratio_limit", RATIO_LIMIT),
        ("rise_limit_usv_h", 0.15),
        ("expires_s", EXPIRES_S),
    ),
)


class AreaWide:
    """Watches the trends of all detectors of one kind, live or exercise."""

    def __init__(self, *, exercise: bool) -> None:
        self._exercise = exercise
        self._factor = 1.0
        self.follows = False
        """Whether backgrounds may follow a common rise."""

    def is_on(self, homes: Homes) -> bool:
        """Whether the advisory is in force."""
        group = self._group(homes)
        return group is not None and group.book.is_active(ALARM)

    def common(self, homes: Homes) -> Common:
        """The rise that its detectors share now."""
        if self.is_on(homes):
            return Common(max(self._factor, 1.0), RATIO_LIMIT, is_on=True)
        return Common(self._factor, 1.0, is_on=True) if self.follows else NOTHING_COMMON

    def tick(self, homes: Homes, now: Instant) -> list[tuple[Group, Change]]:
        """The advisory begins, changes, ends or expires."""
        trends = self._trends(homes)
        hot = [name for name in trends if _is_hot(homes.detectors[name], trends[name])]
        quiet = len(hot) <= LEAST_PART * len(trends) and not self._sees_neutrons(homes)
        alike = _are_alike([trend for trend in trends.values() if trend.ratio >= RATIO])
        for name in hot:  # they are judged by themselves, and no part of what is slow
            del trends[name]
        self._factor = median(trend.ratio for trend in trends.values()) if trends else 1.0
        self.follows = quiet and _is_rising(self._factor, list(trends.values()))
        members = _above(trends, RATIO)
        group = self._group(homes)
        if group is None or not group.book.is_active(ALARM):
            if quiet and alike and _is_common(members, trends):
                return self._begin(members, trends, homes, now)
            return []
        if len(trends) < LEAST and quiet and not _is_expired(group, now):
            return []  # nobody can tell that it is over
        return self._go_on(group, _above(trends, RATIO_CLEAR), quiet, now)

    def _trends(self, homes: Homes) -> dict[str, Trend]:
        """Of the detectors that can tell a rise of that size from noise."""
        return {
            name: trend
            for name, detector in homes.detectors.items()
            if detector.book.profile.exercise is self._exercise
            and (trend := detector.rules.trend()) is not None
            and trend.error < (RATIO - 1) / 3
        }

    def _sees_neutrons(self, homes: Homes) -> bool:
        return any(
            detector.book.is_active("neutron_rise") or detector.book.is_active("portal_neutron")
            for detector in homes.detectors.values()
            if detector.book.profile.exercise is self._exercise
        )

    def _group(self, homes: Homes) -> Group | None:
        return homes.groups.get(f"{AREA}!" if self._exercise else AREA)

    def _begin(
        self, members: Sequence[str], trends: dict[str, Trend], homes: Homes, now: Instant
    ) -> list[tuple[Group, Change]]:
        group = homes.group(AREA, exercise=self._exercise)
        largest = max(trends[name].ratio for name in members)
        evidence = Evidence(
            now,
            _RULE,
            value=round(largest, 3),
            unit="1",
            statistic=(("detectors", len(members)), ("able_to_tell", len(trends))),
            note=f"slow rise on {len(members)} of {len(trends)} detectors, gamma only",
            members=tuple(members),
        )
        changes = group.book.open(ALARM, evidence, ("area",), Severity("area", 3, False))
        return [(group, change) for change in changes]

    def _go_on(
        self, group: Group, members: Sequence[str], quiet: bool, now: Instant
    ) -> list[tuple[Group, Change]]:
        record = group.book.records[ALARM]
        if len(members) < LEAST or not quiet or _is_expired(group, now):
            return [(group, change) for change in group.book.end(ALARM, now)]
        if tuple(members) == record.members:
            return []
        step = handling.regrouped(record, tuple(members), record.note)
        return [(group, change) for change in group.book.apply(ALARM, step, now)]


def _is_expired(group: Group, now: Instant) -> bool:
    return now.mono - group.book.records[ALARM].raised_at.mono >= EXPIRES_S


def _above(trends: dict[str, Trend], ratio: float) -> list[str]:
    return sorted(name for name, trend in trends.items() if trend.ratio >= ratio)


def _is_common(rising: Sequence[str], trends: dict[str, Trend]) -> bool:
    return len(rising) >= LEAST and len(rising) >= LEAST_PART * len(trends)


def _are_alike(risen: Sequence[Trend]) -> bool:
    """Whether half of these rises are about equal."""
    if not risen:
        return False
    middle = median(trend.ratio - 1 for trend in risen)
    alike = [
        trend
        for trend in risen
        if middle / ALIKE - 3 * trend.error <= trend.ratio - 1 <= middle * ALIKE + 3 * trend.error
    ]
    return len(alike) >= LEAST_PART * len(risen)


def _is_rising(ratio: float, trends: Sequence[Trend]) -> bool:
    """Whether the median has risen by more than chance: one or two sources do not move it."""
    if len(trends) < LEAST:
        return False
    error = MEDIAN_ERROR * median(trend.error for trend in trends) / math.sqrt(len(trends))
    return ratio >= max(FOLLOW_RATIO, 1 + FOLLOW_SIGMA * error)


def _is_hot(detector: DetectorAlarms, trend: Trend) -> bool:
    """Whether it sees more than rain brings."""
    return detector.book.is_active("dose_rate") or trend.ratio - 3 * trend.error > RATIO_LIMIT
