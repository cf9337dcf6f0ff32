"""Answers of a GQ GMC that no driver of ours reads, and forms that only some firmware has.

Source: GQ-RFC1201 v1.40, GQ-RFC1801 v1.00; captured answers of pygmc 0.14.1 (tests/data).
"""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

from drivers import gmc_answers
from drivers.gmc_models import Volts

END: Final = b"\xaa"
"""Behind answers with a fixed structure."""
VERSION_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {"GMC-320+V5": "GMC-320+V5\0R", "GMC-SE": "GMC-SE "}
)
"""How GETVER writes a model where it is not as it is named: 19 bytes with a NUL, and a blank."""
_GYRO: Final = {
    "GMC-300": bytes.fromhex("C0C0FEC00680"),
    "GMC-320": bytes.fromhex("FF040010004C"),
    "GMC-500": bytes.fromhex("FFF9FF0E0025"),
}
"""Captured from a 300S (nonsense, it has none), a 320+ and a 500+ at rest."""
_KEY_OFF: Final = 1
"""Byte 0 of GETCFG: 0 on, 1 or 255 off."""
_TUBES: Final = ("GMC-500", "GMC-600")
_ALIKE: Final = ("GMC-300", "GMC-320")
FACTORY_POINTS: Final[Mapping[str, tuple[tuple[int, float], ...]]] = MappingProxyType(
    {
        "GMC-300S": ((1615, 10.0), (16150, 100.0), (32300, 200.0)),
        "GMC-320": ((60, 0.39), (240, 1.56), (1000, 6.5)),
        "GMC-500+": ((100, 0.65), (30000, 195.0)),
        "GMC-800": (
            (1538, 10.0),
            (15380, 100.0),
            (30760, 200.0),
            (76900, 500.0),
            (153800, 1000.0),
            (307600, 2000.0),
        ),
    }
)
"""Calibration points (1/min, µSv/h) in captured configurations, of the 500+ its first tube's."""


def has_tubes(model: str) -> bool:
    """Whether it tells its tubes apart and its largest CPS (GQ-RFC1801)."""
    return model.startswith(_TUBES)


def is_alike(model: str) -> bool:
    """Whether it answers for either tube as for all of it (GeigerLog)."""
    return model.startswith(_ALIKE)


def encode_volts(volts: float, form: Volts, *, two_places: bool = False) -> bytes:
    """GETVOLT; of the text there is a form with two places and no NUL behind it."""
    if form is Volts.TEXT and two_places:
        return f"{volts:.2f}v".encode("ascii")
    return gmc_answers.encode_volts(volts, form)


def shown_volts(answer: bytes) -> float:
    """What that answer says."""
    return answer[0] / 10 if len(answer) == 1 else float(answer.rstrip(b"v\0"))


def encode_time(moment: datetime) -> bytes:
    """GETDATETIME: plain binary, the year since 2000."""
    parts = (moment.year - 2000, moment.month, moment.day)
    return bytes((*parts, moment.hour, moment.minute, moment.second)) + END


def encode_temperature(celsius: float) -> bytes:
    """GETTEMP of whole degrees: what the second byte counts is disputed, so it is 0."""
    return bytes((round(abs(celsius)), 0, celsius < 0)) + END


def gyro_of(model: str) -> bytes | None:
    """GETGYRO at rest; None for models of which no answer is known."""
    for name, axes in _GYRO.items():
        if model.startswith(name):
            return axes + END
    return None


def off_by_key(configuration: bytes) -> bytes:
    """The configuration of a unit that was switched off by key."""
    return bytes((_KEY_OFF,)) + configuration[1:]
