"""From what an instrument said to what the gateway works with: pure, one object per detector."""

from collections.abc import Container
from dataclasses import dataclass
from itertools import count
from typing import Final

from config.models import Detector
from drivers.api import (
    Calibration,
    Channel,
    Flag,
    Identity,
    Passage,
    Quantity,
    Reading,
    Sample,
)
from drivers.codec.calibration import dose_rate
from gateway.conversion import Converter
from gateway.values import CountBasis, Instant, Measured, PassageRecord

DAY_S: Final = 86_400.0
"""A device time further off than this is not believed (bGeigie sheet section 10)."""

COUNT_WINDOW_S: Final = 10.0
"""Longer counting times are moving sums or too slow to judge a level by."""

LINK_ID_LIMIT: Final = 32


def link_id(detector: str, taken: Container[str] = ()) -> str:
    """The id under which an unexpected instrument on a detector's link is evaluated."""
    name = f"link-{detector}"[:LINK_ID_LIMIT]
    for number in count(2):
        if name not in taken:
            break
        end = f"-{number}"
        name = f"link-{detector}"[: LINK_ID_LIMIT - len(end)] + end
    return name


_COUNT_CHANNELS: Final = (Channel.GAMMA_COUNTS, Channel.GAMMA_COUNT_RATE)
_ESTIMATE_FLAGS: Final = (Flag.ESTIMATED_FROM_COUNTS, Flag.ASSUMED_ENERGY, Flag.INDICATIVE)


class Normaliser:
    """Units, quantity, calibration, time, identity and flags of one detector."""

    def __init__(self, detector: Detector, link_id: str) -> None:
        self._detector = detector.id
        self._link_id = link_id
        self._expected_serial = detector.serial_number
        self._converter = Converter(detector.convention or "true_exposure", detector.nuclide)
        self._configured = _configured_calibration(detector)
        self._calibration = self._configured
        self._standing: tuple[Flag, ...] = (Flag.SIMULATED,) if detector.simulated else ()
        self.identity = Identity()
        self.is_mismatched = False

    def sample(self, sample: Sample, arrived: Instant) -> Measured:
        """The sample in the gateway's units and times; estimates from counts are added, flagged."""
        if sample.identity is not None:
            self._learn(sample.identity)
        convert = self._converter.convert
        readings = tuple([convert(reading) for reading in sample.readings])
        basis = None
        if self._calibration is not None and not _has_dose_rate(readings):
            basis = _count_basis(readings, self._calibration)
            readings += tuple(_estimates(readings, self._calibration))
        at, estimated, time_flags = _measured_at(sample, arrived)
        return Measured(
            self._link_id if self.is_mismatched else self._detector,
            at,
            arrived,
            readings,
            estimated,
            sample.flags + self._standing + self._identity_flags() + time_flags,
            sample.position,
            sample.occupied,
            sample.identity,
            basis,
        )

    def expect(self, serial: str) -> None:
        """From now on the instrument with that serial number is the detector's."""
        self._expected_serial = serial
        known = self.identity.serial
        self.is_mismatched = known is not None and known != serial

    def passage(self, passage: Passage, arrived: Instant) -> PassageRecord:
        """The passage with its times."""
        return PassageRecord(
            self._link_id if self.is_mismatched else self._detector,
            passage,
            _ago(arrived, passage.start_age_s),
            _ago(arrived, passage.end_age_s),
            arrived,
            passage.flags,
        )

    def _learn(self, identity: Identity) -> None:
        known = self.identity
        if identity.serial is not None and identity.serial != known.serial:
            known = Identity()  # what was known may be another instrument's
        self.identity = Identity(
            identity.model or known.model,
            identity.serial or known.serial,
            identity.firmware or known.firmware,
            identity.calibration or known.calibration,
            identity.settings or known.settings,
        )
        if identity.serial is not None and self._expected_serial is not None:
            self.is_mismatched = identity.serial != self._expected_serial
        own = self.identity.calibration
        # A certificate is one instrument's: another one's own calibration comes before it.
        first, second = (own, self._configured) if self.is_mismatched else (self._configured, own)
        self._calibration = first or second

    def _identity_flags(self) -> tuple[Flag, ...]:
        return (Flag.IDENTITY_MISMATCH,) if self.is_mismatched else ()


def _configured_calibration(detector: Detector) -> Calibration | None:
    table = detector.calibration
    if table is None:
        return None
    points = tuple((point.counts, point.dose_rate) for point in table.points)
    return Calibration(points, table.source, table.nuclide)


def _measured_at(sample: Sample, arrived: Instant) -> tuple[Instant, bool, tuple[Flag, ...]]:
    by_arrival = arrived.earlier(sample.age_s)
    if sample.device_time is None:
        return by_arrival, True, ()
    wall = sample.device_time.timestamp()
    if abs(wall - by_arrival.wall) > DAY_S:
        return by_arrival, True, (Flag.TIME_UNSYNCHRONISED,)
    return Instant(wall, by_arrival.mono), False, ()


def _ago(arrived: Instant, age_s: float | None) -> Instant | None:
    return None if age_s is None else arrived.earlier(age_s)


def _has_dose_rate(readings: tuple[Reading, ...]) -> bool:
    return any(reading.channel is Channel.DOSE_RATE for reading in readings)


def _estimates(readings: tuple[Reading, ...], calibration: Calibration) -> list[Reading]:
    return [
        _estimate(reading, rate, calibration)
        for reading in readings
        if (rate := _count_rate(reading)) is not None
    ]


@dataclass(frozen=True, slots=True)
class _Rate:
    value: float | None
    lower_bound: float | None


def _count_rate(reading: Reading) -> _Rate | None:
    """Gamma counts per second of a reading, None where it is about something else."""
    if reading.channel not in _COUNT_CHANNELS:
        return None
    if reading.channel is Channel.GAMMA_COUNT_RATE:
        return _Rate(reading.value, reading.lower_bound)
    if not reading.window_s:
        return None
    return _Rate(
        None if reading.value is None else reading.value / reading.window_s,
        None if reading.lower_bound is None else reading.lower_bound / reading.window_s,
    )


def _estimate(reading: Reading, rate: _Rate, calibration: Calibration) -> Reading:
    return Reading(
        Channel.DOSE_RATE,
        None if rate.value is None else dose_rate(calibration, rate.value),
        "µSv/h",
        Quantity.AMBIENT_DOSE_EQUIVALENT_RATE,
        reading.flags + _ESTIMATE_FLAGS,
        None if rate.lower_bound is None else dose_rate(calibration, rate.lower_bound),
        reading.window_s,
        reading.raw,
        reading.part,
        reading.independent,
    )


def _count_basis(readings: tuple[Reading, ...], calibration: Calibration) -> CountBasis | None:
    for reading in readings:
        if reading.channel is not Channel.GAMMA_COUNTS and not reading.independent:
            continue  # a rate that the instrument has smoothed: no counts can be made of it
        rate = _count_rate(reading)
        if rate is None or rate.value is None or not reading.window_s:
            continue
        if reading.window_s <= COUNT_WINDOW_S:
            per_cps = dose_rate(calibration, rate.value or 1.0) / (rate.value or 1.0)
            counts = round(rate.value * reading.window_s)
            return CountBasis(counts, reading.window_s, per_cps, reading.independent)
    return None
