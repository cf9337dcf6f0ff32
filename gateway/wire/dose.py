"""The public contract of doses: what one wearer has received, and when the next level is due."""

from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from gateway.alarms.dose import DoseStatus
from gateway.wire.table import Key, Kind, Table, iso


@dataclass(frozen=True, slots=True)
class DoseTold:
    """The dose on one detector."""

    detector: str
    status: DoseStatus


def _of(name: str) -> "attrgetter[object]":
    return attrgetter(f"status.{name}")


DOSE: Final = Table[DoseTold](
    "dose",
    "Accumulated dose of a worn instrument: each minute while it changes, every ten seconds while "
    "the next level is due within the hour.",
    (
        Key("detector", Kind.TEXT, "Id from the configuration", attrgetter("detector")),
        Key("time", Kind.TIME, "When", lambda d: iso(d.status.at.wall)),
        Key("dose", Kind.NUMBER, "Best estimate", _of("dose_usv"), unit="µSv"),
        Key(
            "basis",
            Kind.TEXT,
            "Where it comes from",
            _of("basis"),
            choices=("register", "integral"),
        ),
        Key("lower", Kind.NUMBER, "Measured at least", _of("lower_usv"), unit="µSv"),
        Key(
            "upper",
            Kind.NUMBER,
            "At most, over gaps; null after over-range",
            _of("upper_usv"),
            unit="µSv",
            nullable=True,
        ),
        Key(
            "register",
            Kind.NUMBER,
            "By the instrument's own register",
            _of("register_usv"),
            unit="µSv",
            nullable=True,
        ),
        Key("integral", Kind.NUMBER, "By the gateway's integral", _of("integral_usv"), unit="µSv"),
        Key("rate", Kind.NUMBER, "At present", _of("rate_usv_h"), unit="µSv/h", nullable=True),
        Key("next_level", Kind.TEXT, "The next level", _of("next_level"), nullable=True),
        Key(
            "seconds_to_next",
            Kind.NUMBER,
            "Until then at the present rate",
            _of("seconds_to_next"),
            unit="s",
            nullable=True,
        ),
        Key("gaps", Kind.NUMBER, "Time without valid readings", _of("gaps_s"), unit="s"),
        Key("indicative", Kind.BOOLEAN, "Estimated from counts", _of("indicative")),
    ),
    kind="dose",
)
