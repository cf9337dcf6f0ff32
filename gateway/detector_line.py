"""What the pipeline keeps for one detector, and the documents that tell of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from config.models import Detector
from drivers.api import DriverInfo
from gateway.alarms.detector import DetectorAlarms
from gateway.alarms.profiles import DetectorProfile
from gateway.alarms.watcher import Standing
from gateway.health import DetectorHealth
from gateway.normalise import Normaliser
from gateway.values import Document, Entry, Instant, Lane
from gateway.wire import places
from gateway.wire.alarms import WATCH, Watch
from gateway.wire.dose import DOSE, DoseTold
from gateway.wire.table import dump

WATCH_EVERY_S: Final = 60.0
DOSE_EVERY_S: Final = 10.0
DOSE_RARELY_S: Final = 60.0
DOSE_SOON_S: Final = 3600.0
"""A dose is told every ten seconds while the next level is due within the hour, else rarely."""


class DetectorLine:
    """One detector on its way through the pipeline."""

    def __init__(
        self,
        detector: Detector,
        info: DriverInfo,
        profile: DetectorProfile,
        link_id: str,
        started: Instant,
    ) -> None:
        self.detector = detector
        self.info = info
        self.profile = profile
        self.link_id = link_id
        self.is_foreign = False
        self.normaliser = Normaliser(detector, link_id)
        self.health = DetectorHealth(detector.id, profile.silence_limit_s, started)
        self.sample_lane = Lane.EXERCISE_SAMPLES if detector.simulated else Lane.SAMPLES
        self.looks = 0
        """How often its alarms had looked at their rules when its state was told last."""
        self._armed: tuple[bool, ...] | None = None
        self._watch_due = 0.0
        self._dose: tuple[float, str | None, float | None] | None = None
        self._dose_due = 0.0

    def about(self, alarms: DetectorAlarms) -> Document:
        """What it is, as a retained document."""
        about = places.About(
            self.detector.id,
            self.normaliser.identity,
            self.profile.detector_class,
            self.detector.post,
            self.info.name,
            self.info.channels,
            self.info.verified,
            _thresholds(self.profile),
            self.profile.ways.platform,
            alarms.commissioned or self.detector.commissioned,
            self.detector.calibration_due,
        )
        body = dump(places.ABOUT.encode(about))
        return Document(f"detector/{self.detector.id}/about", body, self.detector.simulated)

    def state(self, now: Instant) -> tuple[Document, ...]:
        """Its state, if it is another one than told last."""
        state = self.health.changed(now)
        if state is None:
            return ()
        body = dump(places.STATE.encode(state))
        return (Document(f"detector/{state.detector}/state", body, self.detector.simulated),)

    def dose(self, alarms: DetectorAlarms, now: Instant) -> tuple[Document, ...]:
        """The dose of its wearer, while it changes."""
        if now.mono < self._dose_due:
            return ()
        status = alarms.rules.dose()
        if status is None:
            return ()
        soon = status.seconds_to_next is not None and status.seconds_to_next < DOSE_SOON_S
        self._dose_due = now.mono + (DOSE_EVERY_S if soon else DOSE_RARELY_S)
        told = (round(status.dose_usv, 3), status.next_level, status.rate_usv_h)
        if told == self._dose:
            return ()
        self._dose = told
        body = dump(DOSE.encode(DoseTold(self.detector.id, status)))
        return (Document(f"detector/{self.detector.id}/dose", body, self.detector.simulated),)

    def watch(self, standings: Sequence[Standing], now: Instant) -> tuple[Entry, ...]:
        """How its rules stand, once a minute and when one is armed or disarmed."""
        if not standings:
            return ()
        armed = tuple(standing.armed for standing in standings)
        if armed == self._armed and now.mono < self._watch_due:
            return ()
        self._armed = armed
        self._watch_due = now.mono + WATCH_EVERY_S
        body = dump(WATCH.encode(Watch(self.detector.id, now, standings)))
        return (Entry(self.sample_lane, f"detector/{self.detector.id}/watch", body),)


def _thresholds(profile: DetectorProfile) -> tuple[tuple[str, float], ...]:
    return tuple(
        (level.id, level.raise_at)
        for level in profile.enabled_levels
        if math.isfinite(level.raise_at)
    )


@dataclass(frozen=True, slots=True)
class StandIn(DetectorProfile):
    """An instrument that nobody expects: its silence is none."""

    @property
    def silence_limit_s(self) -> float:
        """No silence is ever long enough."""
        return math.inf


def stand_in(profile: DetectorProfile, name: str) -> DetectorProfile:
    """The same levels for whatever else answers on a detector's link."""
    return StandIn(
        name,
        profile.detector_class,
        profile.silence_s,
        profile.levels,
        profile.post,
        None,
        profile.range_top_usv_h,
        profile.max_count_rate,
        profile.exercise,
        profile.ways,
        profile.dose_levels,
        configuration=profile.configuration,
    )
