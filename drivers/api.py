"""The values a driver yields and the three contracts it may satisfy.

A driver turns bytes or registers into values. It opens nothing, knows no clock and never sleeps:
where it must say when something was, it gives an age in seconds relative to the arrival of the
bytes that it was handed. Nothing is converted here that assumes anything: units and quantities
are those of the wire, ``gateway.normalise`` converts.
"""

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from drivers.errors import DriverError
from drivers.quick import quick


class Channel(StrEnum):
    """What a reading is about."""

    DOSE_RATE = "dose_rate"
    DOSE = "dose"
    GAMMA_COUNT_RATE = "gamma_count_rate"
    GAMMA_COUNTS = "gamma_counts"
    NEUTRON_COUNT_RATE = "neutron_count_rate"
    NEUTRON_COUNTS = "neutron_counts"
    BACKGROUND = "background"
    NUCLIDE = "nuclide"
    SPECTRUM = "spectrum"
    POSITION = "position"
    SPEED = "speed"
    BATTERY = "battery"
    TEMPERATURE = "temperature"
    DEVICE_ALARM = "device_alarm"
    DEVICE_FAULT = "device_fault"
    TAMPER = "tamper"


class Quantity(StrEnum):
    """The physical quantity of a number; a number without one is not a dose reading."""

    AMBIENT_DOSE_EQUIVALENT_RATE = "ambient_dose_equivalent_rate"
    PERSONAL_DOSE_EQUIVALENT_RATE = "personal_dose_equivalent_rate"
    SKIN_DOSE_EQUIVALENT_RATE = "skin_dose_equivalent_rate"
    AIR_KERMA_RATE = "air_kerma_rate"
    EXPOSURE_RATE = "exposure_rate"
    NEUTRON_DOSE_EQUIVALENT_RATE = "neutron_dose_equivalent_rate"
    AMBIENT_DOSE_EQUIVALENT = "ambient_dose_equivalent"
    PERSONAL_DOSE_EQUIVALENT = "personal_dose_equivalent"
    EXPOSURE = "exposure"
    GAMMA_COUNT_RATE = "gamma_count_rate"
    GAMMA_COUNTS = "gamma_counts"
    NEUTRON_COUNT_RATE = "neutron_count_rate"
    NEUTRON_COUNTS = "neutron_counts"


class Flag(StrEnum):
    """Quality of a reading: closed list, extended only with a decision record."""

    CONVERTED_EXPOSURE = "converted:exposure"
    CONVERTED_KERMA = "converted:kerma"
    ASSUMED_ENERGY = "assumed_energy"
    ESTIMATED_FROM_COUNTS = "estimated:from_counts"
    OVER_RANGE = "over_range"
    SUSPECT_FOLD_OVER = "suspect_fold_over"
    BELOW_RANGE = "below_range"
    SATURATED_COUNTS = "saturated_counts"
    HIGH_RANGE_DETECTOR = "high_range_detector"
    STALE = "stale"
    SUBSTITUTED = "substituted"
    INSTRUMENT_FAULT = "instrument_fault"
    LOSS_OF_COUNTS = "loss_of_counts"
    WARMING_UP = "warming_up"
    CALIBRATING_BACKGROUND = "calibrating_background"
    SELF_TEST = "self_test"
    MAINTENANCE = "maintenance"
    SIMULATED = "simulated"
    EXERCISE = "exercise"
    TIME_UNSYNCHRONISED = "time_unsynchronised"
    DUPLICATE_SUPPRESSED = "duplicate_suppressed"
    COMM_LOST = "comm_lost"
    QUANTITY_MISMATCH = "quantity_mismatch"
    SAMPLING_INSUFFICIENT = "sampling_insufficient"
    VENDOR_CONVENTION = "vendor_convention"
    INDICATIVE = "indicative"
    IDENTITY_MISMATCH = "identity_mismatch"


class PassageFlag(StrEnum):
    """What is unusual about a passage."""

    START_MISSED = "start_missed"
    END_MISSED = "end_missed"
    NEUTRON_MISSING = "neutron_missing"
    COUNTER_RESTARTED = "counter_restarted"
    SPEED_CLAMPED = "speed_clamped"
    DIRECTION_UNKNOWN = "direction_unknown"


class Verified(StrEnum):
    """How well the bytes of a family are known."""

    CAPTURED = "captured"
    DOCUMENTED = "documented"
    CONSTRUCTED = "constructed"


@quick(frozen=True, slots=True)
class Reading:
    """One number of one instrument, as it said it.

    ``value`` is None exactly when there is no number; over range then has a ``lower_bound``.
    ``unit`` is the unit of ``value``, ``raw`` the instrument's own digits (and unit, if any).
    ``window_s`` is the time over which the instrument has already counted or averaged; None when
    it is not known, 0 for an instantaneous state. ``independent`` is true only for counts that
    share no instant with the reading before them and leave none out. ``part`` names a detector
    or sub-channel inside the instrument (a pillar's detector ``"1"``, a tube, the kind of alarm).
    States (alarm, fault, tamper) are 1 while set and 0 while clear, unit ``"1"``.

    An identified nuclide has its name as ``part`` (``"I-131"``), its confidence from 0 to 1 as
    ``value`` (unit ``"1"``; None where the instrument gives none) and the instrument's category as
    ``raw``: ``norm``, ``medical``, ``industrial``, ``snm`` or ``unknown``.
    """

    channel: Channel
    value: float | int | None
    unit: str
    quantity: Quantity | None = None
    flags: tuple[Flag, ...] = ()
    lower_bound: float | None = None
    window_s: float | None = None
    raw: str = ""
    part: str = ""
    independent: bool = False

    def __post_init__(self) -> None:
        if (
            (self.value is None or math.isfinite(self.value))
            and (self.lower_bound is None or math.isfinite(self.lower_bound))
            and (self.window_s is None or math.isfinite(self.window_s))
        ):
            return
        numbers = f"{self.value}, {self.lower_bound}, {self.window_s}"
        raise ValueError(f"{self.channel}: not a number a reading can hold among {numbers}")


@dataclass(frozen=True, slots=True)
class Position:
    """Where an instrument says it is: WGS84 degrees, metres; never invented, never interpolated."""

    latitude: float
    longitude: float
    altitude_m: float | None = None
    accuracy_m: float | None = None
    satellites: int | None = None
    hdop: float | None = None
    age_s: float = 0.0
    source: str = "instrument"


@dataclass(frozen=True, slots=True)
class Calibration:
    """Counts to dose rate as one instrument stores it: points of (counts per second, µSv/h).

    Linear between points and from the origin to the first one. ``source`` says where the points
    were read; ``nuclide`` what they assume, where that is known.
    """

    points: tuple[tuple[float, float], ...]
    source: str
    nuclide: str | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """Who an instrument says it is; None where it does not say."""

    model: str | None = None
    serial: str | None = None
    firmware: str | None = None
    calibration: Calibration | None = None
    settings: tuple[tuple[str, str], ...] = ()


@quick(frozen=True, slots=True)
class Sample:
    """What one instrument said at one instant, ``age_s`` before its bytes arrived.

    ``device_time`` is the instrument's own clock (UTC) where it vouches for it. ``occupied`` is
    a portal's own view of its lane. ``identity`` is set when this very frame carried it.
    """

    readings: tuple[Reading, ...]
    age_s: float = 0.0
    device_time: datetime | None = None
    flags: tuple[Flag, ...] = ()
    position: Position | None = None
    identity: Identity | None = None
    occupied: bool | None = None


@dataclass(frozen=True, slots=True)
class Passage:
    """One occupancy of a portal, told when it is over.

    ``number`` is the portal's own, None if it was missed. Ages are seconds before the arrival of
    the bytes that ended it, None where they cannot be known. ``gamma_max`` is the largest value
    on ``gamma_max_basis`` (such as ``"5x200ms"``: counts in five 200 ms intervals, all detectors),
    ``neutron_max`` counts in ``neutron_max_basis``, backgrounds in 1/s, speed in m/s.
    """

    number: int | None
    start_age_s: float | None
    end_age_s: float | None
    gamma_alarm: bool
    neutron_alarm: bool
    gamma_max: float | int | None = None
    gamma_max_basis: str = ""
    neutron_max: float | int | None = None
    neutron_max_basis: str = ""
    gamma_background: float | None = None
    neutron_background: float | None = None
    speed_m_s: float | None = None
    flags: tuple[PassageFlag, ...] = ()


Output = Sample | Passage | DriverError


class Listener(Protocol):
    """An instrument that talks by itself."""

    def hello(self) -> bytes:
        """Bytes to send once after each opening of the link; usually none."""

    def feed(self, data: bytes) -> Iterator[Output]:
        """Values of all frames that are complete with ``data``; errors are yielded, not raised."""

    def interrupted(self) -> None:
        """Bytes were lost here (link closed): forget half frames, keep what is known."""


@dataclass(frozen=True, slots=True)
class Done:
    """The answer is complete: its first ``length`` bytes."""

    length: int


@dataclass(frozen=True, slots=True)
class More:
    """The answer is not complete."""


@dataclass(frozen=True, slots=True)
class Quiet:
    """The answer is complete if nothing more comes for ``seconds``."""

    seconds: float


Until = Callable[[bytes], Done | More | Quiet]


@dataclass(frozen=True, slots=True)
class Ask:
    """Send ``request`` (may be empty: only wait) and collect an answer.

    The result is the answer. Bytes behind it stay in the session's buffer and are looked at first
    by the next operation. Without an answer within ``timeout_s`` a ReplyTimeout is thrown in.
    A ``secret`` answer never reaches logs, recordings or bundles.
    """

    request: bytes
    until: Until
    timeout_s: float
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Drain:
    """Read and drop for ``seconds`` (0: only what is there); the result is what was dropped."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Reopen:
    """Close the link and open it again; the result is empty."""


Operation = Ask | Drain | Reopen


class Asker(Protocol):
    """An instrument that answers questions, or streams after a handshake."""

    def identify(self) -> Generator[Operation, bytes, Identity]:
        """Once after each opening; an escaping DriverError means try again later."""

    def poll(self) -> Generator[Operation, bytes, Iterable[Output]]:
        """One cycle, started every ``DriverInfo.poll_s`` (0: the instrument sets the pace)."""


@dataclass(frozen=True, slots=True)
class ReadBlock:
    """Read ``count`` registers from ``address`` (0-based) by Modbus function 3 or 4."""

    function: int
    address: int
    count: int


class Registers(Protocol):
    """An instrument that is a table of registers."""

    @property
    def poll_s(self) -> float:
        """Seconds from the start of one cycle to the next, as of now (idle or active)."""

    def identify(self) -> Generator[ReadBlock, tuple[int, ...], Identity]:
        """Once after each opening."""

    def poll(self) -> Generator[ReadBlock, tuple[int, ...], Iterable[Output]]:
        """One cycle. An exchange that fails is thrown in as ExchangeError."""


@dataclass(frozen=True, slots=True)
class SerialLine:
    """Line settings an instrument needs; None for a modem line leaves it alone."""

    baud: int
    bits: int = 8
    parity: str = "N"
    stop: int = 1
    rts: bool | None = None
    dtr: bool | None = None


@dataclass(frozen=True, slots=True)
class Option:
    """One setting of a driver; ``choices`` empty means any value of the default's type."""

    name: str
    default: bool | int | float | str
    doc: str
    choices: tuple[str, ...] = ()


Options = Mapping[str, bool | int | float | str]


@dataclass(frozen=True, slots=True)
class Logged:
    """A piece of a log file: bytes as on the wire, when the logger saw them (None: undated)."""

    data: bytes
    at: datetime | None = None
    line: int | None = None


@dataclass(frozen=True, slots=True)
class DriverInfo:
    """One instrument family: what the instrument table shows and how its driver is made.

    ``contract`` is ``listener``, ``asker`` or ``registers``. ``silence_s`` is the longest time
    between outputs of a healthy instrument; three of them without any is silence.
    ``permissions`` are the named things a configuration may allow beyond reading.
    ``read_log`` turns a log file of this family into wire bytes, where such files exist.
    """

    name: str
    title: str
    contract: str
    classes: tuple[str, ...]
    links: tuple[str, ...]
    channels: tuple[Channel, ...]
    source: str
    verified: Verified
    silence_s: float
    create: Callable[[Options], "Listener | Asker | Registers"]
    poll_s: float = 0.0
    serial: SerialLine | None = None
    tcp_port: int | None = None
    options: tuple[Option, ...] = ()
    permissions: tuple[str, ...] = ()
    read_log: Callable[[Iterable[bytes]], Iterator[Logged]] | None = None
