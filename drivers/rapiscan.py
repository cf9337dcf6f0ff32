"""Rapiscan / TSA radiation portal monitor: occupancies, counts and the portal's own alarms.

Source: osh-oakridge-modules, sensorhub-driver-rapiscan (MessageHandler.java, RapiscanSensor.java);
captures in rapiscan-simulator, rpm_data1.txt, and RPM-Simulator, SampleData/*.csv.
Verified: captured.

The portal is the TCP server, talks by itself and is never written to. The lines are those of
``drivers.rapiscan_lines``. There is no dose rate in this protocol and none is made of it.

- GS GA are counts of 200 ms, NS NA of 1 s; the A marks an alarm in this very interval and does
  not latch. The end of the occupancy (GX) ends it at the latest.
- An occupancy begins with five gamma intervals from before it, in one burst: they are dated back.
- GB is an average over the time of SG3. NB is rounded down for each detector, so that 2.4/s shows
  as zeros: it is a lower bound, never a number. NB1 (spectral firmware) and GX have the number.
- GH GL NH NL come instead of GB and NB while the portal takes its background for a fault.
- SP saturates at 99.999 mile/h: two axles or two people, no speed.
"""

from collections.abc import Iterator
from typing import Final

from drivers.api import (
    Channel,
    DriverInfo,
    Flag,
    Identity,
    Options,
    Output,
    Quantity,
    Reading,
    Sample,
    Verified,
)
from drivers.codec.lines import Line, LineSplitter
from drivers.codec.passage import PassageTracker, Rhythm
from drivers.errors import DriverError, FrameError, Reject
from drivers.rapiscan_lines import (
    SETUP_FIELDS,
    Counts,
    End,
    Rates,
    Record,
    Setup,
    Speed,
    Tag,
    Tamper,
    decode,
    read_log,
)

GAMMA_INTERVAL_S: Final = 0.2
NEUTRON_INTERVAL_S: Final = 1.0
VACANT_PERIOD_S: Final = 5.0
"""NB and GB come every 5.000 s (rpm_data1.txt: 5 % 4.999 s, 95 % 5.016 s)."""

RHYTHM: Final = Rhythm(
    interval_s=GAMMA_INTERVAL_S, window=5, buffered=5, gamma_basis="5x200ms", neutron_basis="1s"
)
_LINE_LIMIT: Final = 512
_GAMMA_TAGS: Final = (b"GS,", b"GA,")
_FAULTS: Final = {
    Tag.GAMMA_BACKGROUND: {"background_high": 0, "background_low": 0},
    Tag.GAMMA_BACKGROUND_HIGH: {"background_high": 1},
    Tag.GAMMA_BACKGROUND_LOW: {"background_low": 1},
    Tag.NEUTRON_BACKGROUND: {"neutron_background_high": 0, "neutron_background_low": 0},
    Tag.NEUTRON_BACKGROUND_HIGH: {"neutron_background_high": 1},
    Tag.NEUTRON_BACKGROUND_LOW: {"neutron_background_low": 1},
}
"""What a background line says of faults. High does not deny low: four detectors share a tag."""


class Rapiscan:
    """One lane. Keeps the occupancy that is going on and the settings the portal has told."""

    def __init__(self) -> None:
        self._lines = LineSplitter(_LINE_LIMIT)
        self._lane = PassageTracker(RHYTHM)
        self._settings: dict[str, str] = {}

    def hello(self) -> bytes:
        """Nothing: the portal only talks."""
        return b""

    def interrupted(self) -> None:
        """Drops a half line; an open passage is told, without its end, with the next bytes."""
        self._lines.clear()
        self._lane.interrupted()

    def feed(self, data: bytes) -> Iterator[Output]:
        """Samples and passages of all lines that are complete with ``data``."""
        if (passage := self._lane.resumed()) is not None:
            yield passage
        for line in self._lines.feed(data):
            if isinstance(line, FrameError):
                self._lane.lost(interval=False)
                yield line
            elif line.text:
                yield from self._read(line)

    def _read(self, line: Line) -> Iterator[Output]:
        try:
            record = decode(line.text)
        except DriverError as error:
            error.line, error.offset = line.number, line.offset
            if error.reason is not Reject.UNSUPPORTED:
                self._lane.lost(interval=line.text.startswith(_GAMMA_TAGS))
            yield error
        else:
            yield from self._outputs(record)

    def _outputs(self, record: Record) -> Iterator[Output]:
        match record:
            case Counts(Tag.GAMMA | Tag.GAMMA_ALARM):
                yield self._gamma(record)
            case Counts(Tag.NEUTRON | Tag.NEUTRON_ALARM):
                yield self._neutron(record)
            case Counts(tag):
                yield from self._vacant(tag, _background(record, self._averaged_s(tag)))
                if tag.startswith("G"):
                    self._lane.background(sum(record.counts))
            case Rates():
                tag = Tag.NEUTRON_BACKGROUND_EXACT
                yield from self._vacant(tag, _exact_background(record, self._averaged_s(tag)))
            case End(number, milli):
                yield self._lane.end(number, milli / 1000)
                yield _over(Tag.END)
            case Speed():
                yield self._speed(record)
            case Tamper(active):
                raw = Tag.TAMPER if active else Tag.TAMPER_CLEARED
                yield Sample((Reading(Channel.TAMPER, int(active), "1", raw=str(raw)),))
            case Setup():
                yield self._setup(record)

    def _gamma(self, record: Counts) -> Sample:
        alarm = record.tag is Tag.GAMMA_ALARM
        interval = self._lane.gamma(sum(record.counts), alarm)
        counts = _counts(record, Channel.GAMMA_COUNTS, GAMMA_INTERVAL_S, interval.independent)
        state = _alarm("gamma", alarm, record.tag)
        return Sample((*counts, state), age_s=interval.age_s, occupied=True)

    def _neutron(self, record: Counts) -> Sample:
        alarm = record.tag is Tag.NEUTRON_ALARM
        independent = self._lane.neutron(sum(record.counts), alarm)
        counts = _counts(record, Channel.NEUTRON_COUNTS, NEUTRON_INTERVAL_S, independent)
        return Sample((*counts, _alarm("neutron", alarm, record.tag)), occupied=True)

    def _vacant(self, tag: Tag, readings: tuple[Reading, ...]) -> Iterator[Output]:
        passage = self._lane.vacant(tag)
        if passage is not None:
            yield passage
            yield _over(tag)
        # A line that was on its way when somebody entered tells the background, not the lane.
        yield Sample(readings, occupied=None if self._lane.occupied else False)

    def _averaged_s(self, tag: Tag) -> float | None:
        gamma = tag.startswith("G")
        told = self._settings.get("background_time_s" if gamma else "neutron_background_time_s")
        return None if told is None else float(told)

    def _speed(self, record: Speed) -> Sample:
        speed_m_s = None if record.is_clamped else record.kph / 3.6
        self._lane.speed(speed_m_s)
        return Sample((Reading(Channel.SPEED, speed_m_s, "m/s", raw=f"{record.digits} km/h"),))

    def _setup(self, record: Setup) -> Sample:
        names = SETUP_FIELDS[record.tag]
        told = dict(zip(names, record.fields, strict=True))
        told.pop("", None)
        self._settings |= told
        firmware = self._settings.get("firmware")
        return Sample((), identity=Identity(firmware=firmware, settings=(*self._settings.items(),)))


def _parts(record: Counts | Rates) -> Iterator[tuple[str, str]]:
    """Number and digits of each detector."""
    return ((str(part), digits) for part, digits in enumerate(record.digits, start=1))


def _counts(
    record: Counts, channel: Channel, window_s: float, independent: bool
) -> tuple[Reading, ...]:
    return tuple(
        Reading(
            channel,
            int(digits),
            "count",
            Quantity(channel),
            window_s=window_s,
            raw=digits,
            part=part,
            independent=independent,
        )
        for part, digits in _parts(record)
    )


def _alarm(part: str, active: bool, raw: Tag) -> Reading:
    return Reading(Channel.DEVICE_ALARM, int(active), "1", raw=str(raw), part=part)


def _over(tag: Tag) -> Sample:
    """The portal's alarms live only inside an occupancy, and ``tag`` says that it is over."""
    alarms = (_alarm("gamma", False, tag), _alarm("neutron", False, tag))
    return Sample(alarms, occupied=False)


def _background(record: Counts, averaged_s: float | None) -> tuple[Reading, ...]:
    gamma = record.tag.startswith("G")
    states = _FAULTS[record.tag]
    flags = (Flag.INSTRUMENT_FAULT,) if any(states.values()) else ()
    rates = (
        Reading(
            Channel.BACKGROUND,
            int(digits) if gamma else None,
            "1/s",
            Quantity.GAMMA_COUNT_RATE if gamma else Quantity.NEUTRON_COUNT_RATE,
            flags,
            lower_bound=None if gamma else int(digits),
            window_s=averaged_s,
            raw=digits,
            part=part,
        )
        for part, digits in _parts(record)
    )
    faults = (
        Reading(Channel.DEVICE_FAULT, state, "1", flags=flags, raw=str(record.tag), part=part)
        for part, state in states.items()
    )
    return (*rates, *faults)


def _exact_background(record: Rates, averaged_s: float | None) -> tuple[Reading, ...]:
    return tuple(
        Reading(
            Channel.BACKGROUND,
            float(digits),
            "1/s",
            Quantity.NEUTRON_COUNT_RATE,
            window_s=averaged_s,
            raw=digits,
            part=part,
        )
        for part, digits in _parts(record)
    )


def _create(_options: Options) -> Rapiscan:
    return Rapiscan()


DRIVER: Final = DriverInfo(
    name="rapiscan-tsa-rpm",
    title="Rapiscan / TSA radiation portal monitor, ASCII stream",
    contract="listener",
    classes=("Portal Monitor",),
    links=("tcp", "serial", "recording"),
    channels=(
        Channel.GAMMA_COUNTS,
        Channel.NEUTRON_COUNTS,
        Channel.BACKGROUND,
        Channel.SPEED,
        Channel.DEVICE_ALARM,
        Channel.DEVICE_FAULT,
        Channel.TAMPER,
    ),
    source="osh-oakridge-modules MessageHandler.java; captures: rapiscan-simulator, RPM-Simulator",
    verified=Verified.CAPTURED,
    silence_s=VACANT_PERIOD_S,
    create=_create,
    tcp_port=1600,
    read_log=read_log,
)
