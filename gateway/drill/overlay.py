"""Ghosts laid over what an instrument said: the same instant with what they would add.

A number that is not there is not made: a reading without one stays without. An instrument's own
alarms and decisions are its own, whatever ghosts are near it. Counts and rates are those that the
ghosts' expectation gives by chance; losses at high rates are those of the ghosts alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from config.models import Detector
from drivers.api import Channel, Flag, Quantity, Reading, Sample
from drivers.units import BASE, Dimension, UnknownUnit, parse_unit
from gateway.conversion import Converter

NEGLIGIBLE_USV_H: Final = 1e-4
"""Own choice: below the last digit of any instrument; a reading then stays as it is."""
NEGLIGIBLE_USV: Final = 1e-6
DIGITS: Final = 5
"""Own choice: significant digits of what is added up."""
INSTANT_S: Final = 1.0
"""Own choice: a count rate of unknown window is that of a second."""
NAMED_USV_H: Final = 0.5
"""Own choice: an identifying instrument names the nuclide of a ghost from here on."""
IDENTIFYING: Final = frozenset(
    {
        "Radionuclide Identifier",
        "Spectroscopic Personal Radiation Detector",
        "Spectroscopic Portal Monitor",
    }
)
"""Classes that name nuclides."""
_MEDICAL: Final = frozenset(
    {"F-18", "Ga-67", "I-123", "I-131", "In-111", "Lu-177", "Tc-99m", "Tl-201"}
)
"""Given to patients; the other nuclides that ghosts may be are used in industry."""
_GAMMA: Final = (Channel.GAMMA_COUNTS, Channel.GAMMA_COUNT_RATE)
_NEUTRON: Final = (Channel.NEUTRON_COUNTS, Channel.NEUTRON_COUNT_RATE)
_RATES: Final = (Channel.GAMMA_COUNT_RATE, Channel.NEUTRON_COUNT_RATE)
_FIELD: Final = frozenset(
    {Quantity.AMBIENT_DOSE_EQUIVALENT_RATE, Quantity.PERSONAL_DOSE_EQUIVALENT_RATE}
)
_RECEIVED: Final = frozenset({Quantity.AMBIENT_DOSE_EQUIVALENT, Quantity.PERSONAL_DOSE_EQUIVALENT})
_USV_H: Final = BASE[Dimension.DOSE_EQUIVALENT_RATE]
_USV: Final = BASE[Dimension.DOSE_EQUIVALENT]


class Share(Protocol):
    """What one ghost adds: a mean dose rate in µSv/h, and neutrons that would be counted."""

    @property
    def ghost(self) -> str:
        """Its name."""

    @property
    def usv_h(self) -> float:
        """Dose rate."""

    @property
    def neutrons(self) -> float:
        """Counts expected."""


class GhostField(Protocol):
    """What all ghosts add at one instrument; times in s since the drill began."""

    def dose_rate(self, from_s: float, to_s: float) -> float:
        """Mean in µSv/h; of a moment where both times are the same."""

    def shares(self, from_s: float, to_s: float) -> Sequence["Share"]:
        """What each ghost that is there adds."""

    def dose(self, to_s: float) -> float:
        """What all of them have given since the beginning, in µSv; times only rise."""

    def gamma_counts(self, from_s: float, to_s: float, share: float) -> int | None:
        """Counts drawn for that part of the instrument; None where its counting is not known."""

    def neutron_counts(self, from_s: float, to_s: float, share: float) -> int:
        """The same for neutrons."""

    def nuclides(self, at_s: float) -> Sequence[tuple[str, float]]:
        """Nuclides that are there, each with its dose rate in µSv/h."""


@dataclass(frozen=True, slots=True)
class _Span:
    """The time that a reading is about."""

    from_s: float
    to_s: float


class Overlay:
    """Lays the ghosts over the samples of one instrument."""

    def __init__(self, detector: Detector, field: GhostField, *, names_nuclides: bool) -> None:
        self._field = field
        self._converter = Converter(detector.convention or "true_exposure", detector.nuclide)
        self._range_top = detector.range_top
        self._names = names_nuclides and detector.detector_class in IDENTIFYING

    def sample(self, sample: Sample, at_s: float) -> Sample:
        """The sample as it would have been, measured at ``at_s``."""
        shares = _shares(sample.readings)
        readings = tuple([self._reading(each, at_s, shares) for each in sample.readings])
        if self._names and readings:
            readings += tuple(self._named(at_s))
        return replace(sample, readings=readings)

    def _reading(self, reading: Reading, at_s: float, shares: Mapping[str, float]) -> Reading:
        if reading.value is None:
            return reading
        channel = reading.channel
        if channel is Channel.DOSE_RATE:
            return self._with_dose_rate(reading, _span(reading, at_s, 0.0))
        if channel is Channel.DOSE:
            return self._with_dose(reading, at_s)
        if channel in _GAMMA or channel in _NEUTRON:
            return self._with_counts(reading, _span(reading, at_s, INSTANT_S), shares[channel])
        return reading

    def _with_dose_rate(self, reading: Reading, span: _Span) -> Reading:
        factor = self._factor(reading, _USV_H, _FIELD)
        ghost = self._field.dose_rate(span.from_s, span.to_s) if factor else 0.0
        if reading.value is None or not factor or ghost < NEGLIGIBLE_USV_H:
            return reading
        total = reading.value + ghost / factor
        if self._range_top is not None and total * factor > self._range_top:
            return replace(
                reading,
                value=None,
                lower_bound=self._range_top / factor,
                flags=(*reading.flags, Flag.OVER_RANGE),
                raw="",
            )
        return _told(reading, _rounded(total))

    def _with_dose(self, reading: Reading, at_s: float) -> Reading:
        factor = self._factor(reading, _USV, _RECEIVED)
        ghost = self._field.dose(at_s) if factor else 0.0
        if reading.value is None or not factor or ghost < NEGLIGIBLE_USV:
            return reading
        return _told(reading, reading.value + ghost / factor)

    def _with_counts(self, reading: Reading, span: _Span, share: float) -> Reading:
        is_rate = reading.channel in _RATES
        if reading.value is None or span.from_s >= span.to_s:
            return reading
        if not is_rate and not reading.window_s:
            return reading  # counted over nobody knows how long
        draw = (
            self._field.neutron_counts if reading.channel in _NEUTRON else self._field.gamma_counts
        )
        counts = draw(span.from_s, span.to_s, share)
        if not counts:
            return reading
        if not is_rate:
            return _told(reading, reading.value + counts)
        try:
            per_s = parse_unit(reading.unit).factor
        except UnknownUnit:
            return reading
        rate = counts / (span.to_s - span.from_s) / per_s
        return _told(reading, _rounded(reading.value + rate))

    def _factor(self, reading: Reading, unit: str, quantities: frozenset[Quantity]) -> float:
        """How much of that unit one of the reading's own is; 0 where it is something else."""
        one = self._converter.convert(replace(reading, value=1.0, lower_bound=None))
        fits = one.unit == unit and one.quantity in quantities
        return float(one.value) if fits and one.value is not None else 0.0

    def _named(self, at_s: float) -> list[Reading]:
        """Of several ghosts of one nuclide it names one."""
        found = {name for name, rate in self._field.nuclides(at_s) if rate >= NAMED_USV_H}
        return [
            Reading(
                Channel.NUCLIDE,
                None,
                "1",
                part=name,
                raw="medical" if name in _MEDICAL else "industrial",
            )
            for name in sorted(found)
        ]


def _span(reading: Reading, at_s: float, default_s: float) -> _Span:
    window_s = default_s if reading.window_s is None else reading.window_s
    return _Span(at_s - window_s, at_s)


def _shares(readings: Sequence[Reading]) -> Mapping[str, float]:
    """The part of an instrument that each reading of a channel counts for."""
    parts: dict[str, set[str]] = {}
    for reading in readings:
        parts.setdefault(reading.channel, set()).add(reading.part)
    return {channel: 1.0 / len(names) for channel, names in parts.items()}


def _told(reading: Reading, value: float) -> Reading:
    """The instrument has not said that, so it has no digits of its own."""
    return replace(reading, value=value, raw="")


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
