"""What instruments say: samples, passages, and what was rejected, as field tables.

Names are the same on MQTT, in JSON lines, in exports and in schemas.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from drivers.api import Channel, Flag, PassageFlag, Position, Quantity, Reading
from drivers.errors import DriverError, Reject
from drivers.quick import quick
from gateway.values import Instant, Measured, PassageRecord
from gateway.wire.table import Key, Kind, Table, Varying, iso, quoted

_ALL_BUT_VALUE: Final = attrgetter(
    "channel", "unit", "quantity", "flags", "lower_bound", "window_s", "part", "independent"
)
"""What an instrument says again and again with another number and other digits of its own."""


def _value_and_raw(reading: Reading) -> tuple[str, str]:
    value, raw = reading.value, reading.raw
    return "null" if value is None else repr(value), quoted(raw) if raw else '""'


def _is_state(reading: Reading) -> bool:
    """What an instrument sets and clears: there are few, and they come again and again."""
    return reading.unit == "1" and not reading.raw


READING: Final = Table[Reading](
    "reading",
    "One number of one instrument.",
    (
        Key(
            "channel", Kind.TEXT, "What it is about", attrgetter("channel"), choices=tuple(Channel)
        ),
        Key(
            "value",
            Kind.NUMBER,
            "The number in `unit`; null exactly when there is none",
            attrgetter("value"),
            nullable=True,
        ),
        Key("unit", Kind.TEXT, "µSv/h, µSv, 1/s, count, ... or 1 for states", attrgetter("unit")),
        Key(
            "quantity",
            Kind.TEXT,
            "Physical quantity",
            attrgetter("quantity"),
            nullable=True,
            choices=tuple(Quantity),
        ),
        Key("flags", Kind.LIST, "Quality", lambda r: list(r.flags), choices=tuple(Flag)),
        Key(
            "lower_bound",
            Kind.NUMBER,
            "The true value is at least this, in `unit`",
            attrgetter("lower_bound"),
            nullable=True,
        ),
        Key(
            "window_s",
            Kind.NUMBER,
            "Time the instrument has counted or averaged over; null: unknown",
            attrgetter("window_s"),
            unit="s",
            nullable=True,
        ),
        Key("raw", Kind.TEXT, "The instrument's own digits and unit", attrgetter("raw")),
        Key("part", Kind.TEXT, "Detector or sub-channel inside it", attrgetter("part")),
        Key(
            "independent",
            Kind.BOOLEAN,
            "Counts that share no instant with the reading before",
            attrgetter("independent"),
        ),
    ),
    varying=Varying(("value", "raw"), _value_and_raw, _ALL_BUT_VALUE, _is_state),
)

POSITION: Final = Table[Position](
    "position",
    "Where the instrument said it was (WGS84).",
    (
        Key("latitude", Kind.NUMBER, "Latitude, north positive", attrgetter("latitude"), unit="°"),
        Key(
            "longitude", Kind.NUMBER, "Longitude, east positive", attrgetter("longitude"), unit="°"
        ),
        Key("altitude", Kind.NUMBER, "Altitude", attrgetter("altitude_m"), unit="m", nullable=True),
        Key("accuracy", Kind.NUMBER, "Accuracy", attrgetter("accuracy_m"), unit="m", nullable=True),
        Key("satellites", Kind.INTEGER, "Satellites", attrgetter("satellites"), nullable=True),
        Key("hdop", Kind.NUMBER, "Dilution of precision", attrgetter("hdop"), nullable=True),
        Key("age", Kind.NUMBER, "Age when measured", attrgetter("age_s"), unit="s"),
        Key("source", Kind.TEXT, "Who gave it", attrgetter("source")),
    ),
)


def encode_position(position: Position | None) -> dict[str, object] | None:
    """A position, or null."""
    return None if position is None else POSITION.encode(position)


def wall_or_null(instant: Instant | None) -> str | None:
    """The wall time of an instant, or null."""
    return None if instant is None else iso(instant.wall)


@quick(frozen=True, slots=True)
class Told:
    """A normalised value on its way out; its times are null where there was no clock."""

    value: Measured
    dated: bool = True


def _all_but_times(told: Told) -> Hashable:
    """What a detector's samples share while it stays where it is."""
    value = told.value
    if not told.dated or value.position is not None:
        return None
    return value.detector, value.time_estimated, value.flags, value.occupied


def _times_and_readings(told: Told) -> tuple[str, str, str]:
    value = told.value
    measured = f'"{iso(value.at.wall)}"'
    same = value.arrived.wall == value.at.wall
    arrived = measured if same else f'"{iso(value.arrived.wall)}"'
    return measured, arrived, ",".join([READING.text(reading) for reading in value.readings])


SAMPLE: Final = Table[Told](
    "sample",
    "What one instrument said at one instant.",
    (
        Key("detector", Kind.TEXT, "Id from the configuration", lambda t: t.value.detector),
        Key(
            "time",
            Kind.TIME,
            "When it was measured",
            lambda t: iso(t.value.at.wall) if t.dated or not t.value.time_estimated else None,
            nullable=True,
        ),
        Key(
            "time_estimated",
            Kind.BOOLEAN,
            "True: by the gateway's clock; false: by the instrument's",
            lambda t: t.value.time_estimated,
        ),
        Key(
            "arrived",
            Kind.TIME,
            "When its bytes arrived",
            lambda t: iso(t.value.arrived.wall) if t.dated else None,
            nullable=True,
        ),
        Key(
            "readings",
            Kind.LIST,
            "All numbers of the frame",
            lambda t: [READING.encode(reading) for reading in t.value.readings],
            of=READING,
            members=attrgetter("value.readings"),
        ),
        Key("flags", Kind.LIST, "Quality", lambda t: list(t.value.flags), choices=tuple(Flag)),
        Key(
            "position",
            Kind.OBJECT,
            "Where it was measured, if the instrument knows",
            lambda t: encode_position(t.value.position),
            nullable=True,
            of=POSITION,
        ),
        Key(
            "occupied",
            Kind.BOOLEAN,
            "Portals: whether the lane is occupied",
            lambda t: t.value.occupied,
            nullable=True,
        ),
    ),
    kind="sample",
    varying=Varying(("time", "arrived"), _times_and_readings, _all_but_times),
)


@dataclass(frozen=True, slots=True)
class PassageTold:
    """A passage on its way out; its times are null where there was no clock."""

    value: PassageRecord
    dated: bool = True
    statistic: tuple[tuple[str, float | int | str], ...] = ()

    def time(self, instant: Instant | None) -> str | None:
        """One of its times."""
        return wall_or_null(instant) if self.dated else None


def _of_passage(name: str) -> "attrgetter[object]":
    return attrgetter(f"value.passage.{name}")


PASSAGE: Final = Table[PassageTold](
    "passage",
    "One occupancy of a portal.",
    (
        Key("detector", Kind.TEXT, "Id from the configuration", attrgetter("value.detector")),
        Key(
            "time",
            Kind.TIME,
            "When it was told",
            lambda p: p.time(p.value.arrived),
            nullable=True,
        ),
        Key(
            "number",
            Kind.INTEGER,
            "The portal's own number, null if missed",
            _of_passage("number"),
            nullable=True,
        ),
        Key("start", Kind.TIME, "Start", lambda p: p.time(p.value.start), nullable=True),
        Key("end", Kind.TIME, "End", lambda p: p.time(p.value.end), nullable=True),
        Key("gamma_alarm", Kind.BOOLEAN, "The portal's decision", _of_passage("gamma_alarm")),
        Key("neutron_alarm", Kind.BOOLEAN, "The portal's decision", _of_passage("neutron_alarm")),
        Key(
            "gamma_max",
            Kind.NUMBER,
            "Largest gamma value, on the basis named beside it",
            _of_passage("gamma_max"),
            nullable=True,
        ),
        Key(
            "gamma_max_basis",
            Kind.TEXT,
            "5x200ms: counts of all detectors in five 200 ms intervals",
            _of_passage("gamma_max_basis"),
        ),
        Key(
            "neutron_max",
            Kind.NUMBER,
            "Largest neutron value",
            _of_passage("neutron_max"),
            nullable=True,
        ),
        Key("neutron_max_basis", Kind.TEXT, "Its basis", _of_passage("neutron_max_basis")),
        Key(
            "gamma_background",
            Kind.NUMBER,
            "Background, all detectors",
            _of_passage("gamma_background"),
            unit="1/s",
            nullable=True,
        ),
        Key(
            "neutron_background",
            Kind.NUMBER,
            "Background, all detectors",
            _of_passage("neutron_background"),
            unit="1/s",
            nullable=True,
        ),
        Key("speed", Kind.NUMBER, "Speed", _of_passage("speed_m_s"), unit="m/s", nullable=True),
        Key(
            "statistic",
            Kind.MAP,
            "The gateway's own statistics, recorded beside the portal's decision",
            lambda p: dict(p.statistic),
        ),
        Key(
            "flags",
            Kind.LIST,
            "What is unusual",
            lambda p: list(p.value.flags),
            choices=tuple(PassageFlag),
        ),
    ),
    kind="passage",
)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A rejected piece of input and where it came from."""

    detector: str
    error: DriverError


REJECT: Final = Table[Rejected](
    "reject",
    "Input that did not become a value.",
    (
        Key("detector", Kind.TEXT, "Id from the configuration", attrgetter("detector")),
        Key("reason", Kind.TEXT, "Why", attrgetter("error.reason"), choices=tuple(Reject)),
        Key("detail", Kind.TEXT, "What exactly", attrgetter("error.detail")),
        Key("line", Kind.INTEGER, "Line in the file", attrgetter("error.line"), nullable=True),
        Key("offset", Kind.INTEGER, "Byte offset", attrgetter("error.offset"), nullable=True),
        Key("raw", Kind.TEXT, "The bytes, as text with escapes", lambda r: printable(r.error.raw)),
    ),
    kind="reject",
)


def printable(raw: bytes) -> str:
    """Bytes as harmless text: printable ASCII as it is, the rest as \\xNN."""
    return "".join(chr(b) if 32 <= b < 127 and b != 92 else f"\\x{b:02x}" for b in raw)
