"""What a detector is and how it does, and where it stands: retained documents, as field tables."""

from dataclasses import dataclass
from datetime import date
from operator import attrgetter
from typing import Final

from config.models import Post
from drivers.api import Channel, Identity
from gateway.values import Instant
from gateway.wire.table import Key, Kind, Table, iso


@dataclass(frozen=True, slots=True)
class DetectorState:
    """The state of one detector, with all its reasons."""

    detector: str
    state: str
    reasons: tuple[str, ...]
    since: Instant


DETECTOR_STATES: Final = (
    "ok",
    "learning",
    "degraded",
    "stale",
    "missing",
    "fault",
    "out_of_service",
    "off_duty",
)

STATE: Final = Table[DetectorState](
    "state",
    "State of one detector.",
    (
        Key("detector", Kind.TEXT, "Id from the configuration", attrgetter("detector")),
        Key("state", Kind.TEXT, "State", attrgetter("state"), choices=DETECTOR_STATES),
        Key("reasons", Kind.LIST, "All reasons for it", lambda s: list(s.reasons)),
        Key("since", Kind.TIME, "Since when", lambda s: iso(s.since.wall)),
    ),
    kind="state",
)


@dataclass(frozen=True, slots=True)
class About:
    """What is known of a detector."""

    detector: str
    identity: Identity
    detector_class: str
    post: str | None
    driver: str
    channels: tuple[str, ...]
    verified: str
    thresholds: tuple[tuple[str, float], ...]
    platform: str
    commissioned: str | None
    calibration_due: date | None


ABOUT: Final = Table[About](
    "about",
    "What a detector is.",
    (
        Key("detector", Kind.TEXT, "Id from the configuration", attrgetter("detector")),
        Key("model", Kind.TEXT, "Model", attrgetter("identity.model"), nullable=True),
        Key("serial", Kind.TEXT, "Serial number", attrgetter("identity.serial"), nullable=True),
        Key("firmware", Kind.TEXT, "Firmware", attrgetter("identity.firmware"), nullable=True),
        Key("class", Kind.TEXT, "N42.42 instrument class", attrgetter("detector_class")),
        Key("post", Kind.TEXT, "Post it belongs to", attrgetter("post"), nullable=True),
        Key("driver", Kind.TEXT, "Driver", attrgetter("driver")),
        Key("channels", Kind.LIST, "Channels", lambda a: list(a.channels), choices=tuple(Channel)),
        Key("verified", Kind.TEXT, "How well its bytes are known", attrgetter("verified")),
        Key("settings", Kind.MAP, "Its own settings", lambda a: dict(a.identity.settings)),
        Key("thresholds", Kind.MAP, "Levels in force", lambda a: dict(a.thresholds), unit="µSv/h"),
        Key("platform", Kind.TEXT, "What carries it", attrgetter("platform")),
        Key(
            "commissioned",
            Kind.TEXT,
            "Source check at the site",
            attrgetter("commissioned"),
            nullable=True,
        ),
        Key(
            "calibration_due",
            Kind.TEXT,
            "Day on which its calibration ends",
            lambda a: None if a.calibration_due is None else a.calibration_due.isoformat(),
            nullable=True,
        ),
    ),
    kind="about",
)

POST: Final = Table[Post](
    "post",
    "A place.",
    (
        Key("post", Kind.TEXT, "Id", attrgetter("id")),
        Key("names", Kind.MAP, "Display names by language", lambda p: dict(p.names)),
        Key("callsign", Kind.TEXT, "Radio callsign", attrgetter("callsign"), nullable=True),
        Key("zone", Kind.TEXT, "Zone", attrgetter("zone"), nullable=True),
        Key("latitude", Kind.NUMBER, "", attrgetter("latitude"), unit="°", nullable=True),
        Key("longitude", Kind.NUMBER, "", attrgetter("longitude"), unit="°", nullable=True),
        Key("plan_x", Kind.NUMBER, "Site plan", attrgetter("plan_x_m"), unit="m", nullable=True),
        Key("plan_y", Kind.NUMBER, "Site plan", attrgetter("plan_y_m"), unit="m", nullable=True),
    ),
    kind="post",
)
