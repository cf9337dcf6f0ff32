"""GQ GMC models as data: widths of answers and where a configuration keeps what.

Source: device table of GeigerLog 1.5.0 (gdev_gmc.py), cross-checked with pygmc 0.14.1; offsets
checked there on captured GETCFG blocks of a 300S, 320+, 500+ and 800. Where the two disagree on
the width of counts (500, 600+ before 2.4), this is that of GQ-RFC1801; the driver measures.
"""

import math
import struct
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Literal

from drivers.api import Calibration
from drivers.codec.calibration import is_usable


class Volts(StrEnum):
    """How GETVOLT answers: one byte of 0.1 V, text such as ``4.0v``, or not at all."""

    BYTE = "byte"
    TEXT = "text"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Points:
    """Where calibration points stand: counts per minute by ``count_format``, µSv/h as floats."""

    count_format: str
    float_format: str
    counts_at: tuple[int, ...]
    doses_at: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Model:
    """What a driver must know of one model; ``points`` None: no usable calibration inside."""

    width: Literal[2, 4] | None = None
    volts: Volts = Volts.NONE
    config_bytes: int = 0
    points: Points | None = None
    estimate_at: int | None = None
    """Offset of the Fast Estimate Time in GETCFG, None where there is none or none is known."""


_LITTLE: Final = Points(">H", "<f", (8, 14, 20), (10, 16, 22))
_BIG: Final = Points(">H", ">f", (8, 14, 20), (10, 16, 22))
_BIG_FIRST_TUBE: Final = Points(">H", ">f", (8, 14), (10, 16))
"""The third point of a model with two tubes belongs to the second one."""
_SIX_AT_73: Final = Points(">I", ">f", tuple(range(73, 97, 4)), tuple(range(97, 121, 4)))
_SIX_AT_379: Final = Points(">I", ">f", tuple(range(379, 403, 4)), tuple(range(403, 427, 4)))

_SMALL: Final = Model(2, Volts.BYTE, 256, _LITTLE)
_TWO_TUBES: Final = Model(4, Volts.TEXT, 512, _BIG_FIRST_TUBE)
_LARGE: Final = Model(4, Volts.TEXT, 512, _BIG, estimate_at=328)

# Name, first firmware, properties. The longest name that fits wins, then the newest firmware.
_MODELS: Final = (
    ("GMC-300", 0.0, _SMALL),
    ("GMC-300S", 0.0, replace(_SMALL, estimate_at=69)),
    ("GMC-320", 0.0, _SMALL),
    ("GMC-320S", 0.0, replace(_SMALL, estimate_at=69)),
    ("GMC-500", 0.0, _TWO_TUBES),
    ("GMC-500+", 0.0, _TWO_TUBES),
    ("GMC-500+", 2.0, replace(_TWO_TUBES, estimate_at=328)),
    # From 2.44 there are six points, and no document says which tube each belongs to.
    ("GMC-500+", 2.44, replace(_TWO_TUBES, points=None, estimate_at=328)),
    ("GMC-510", 0.0, Model(4, Volts.BYTE, 512, _BIG)),
    ("GMC-600+", 0.0, _LARGE),
    ("GMC-600+", 2.44, replace(_LARGE, points=_SIX_AT_379)),
    ("GMC-800", 0.0, Model(4, Volts.NONE, 512, _SIX_AT_73, estimate_at=69)),
    ("GMC-SE", 0.0, Model(2, Volts.BYTE, 256)),
)
UNKNOWN: Final = Model()


def model_of(name: str, firmware: float) -> Model:
    """The properties of a model as GETVER names it; UNKNOWN for one in no table."""
    fitting = [
        (len(known), since, position)
        for position, (known, since, _) in enumerate(_MODELS)
        if name.startswith(known) and firmware >= since
    ]
    return _MODELS[max(fitting)[2]][2] if fitting else UNKNOWN


def decode_calibration(configuration: bytes, model: Model) -> Calibration | None:
    """The points a configuration holds, in (1/s, µSv/h); None if they do not make a curve."""
    where = model.points
    if where is None or len(configuration) != model.config_bytes:
        return None
    points = tuple(
        (
            struct.unpack_from(where.count_format, configuration, count_at)[0] / 60,
            struct.unpack_from(where.float_format, configuration, dose_at)[0],
        )
        for count_at, dose_at in zip(where.counts_at, where.doses_at, strict=True)
    )
    if not all(math.isfinite(dose) for _, dose in points) or not is_usable(points):
        return None
    return Calibration(points, "instrument, GETCFG")


def cpm_window_s(configuration: bytes, model: Model) -> float | None:
    """60 s, or the Fast Estimate Time; None while that is "dynamic" (3) or not known."""
    if model is UNKNOWN or (model.estimate_at is not None and not configuration):
        return None
    if model.estimate_at is None:
        return 60.0
    seconds = configuration[model.estimate_at]
    return float(seconds) if seconds in (5, 10, 15, 20, 30, 60) else None


def encode_configuration(
    model: Model, points: tuple[tuple[int, float], ...], *, estimate: int = 60
) -> bytes:
    """A configuration with these points of (1/min, µSv/h); erased flash everywhere else."""
    block = bytearray(b"\xff" * model.config_bytes)
    block[0] = 0
    if where := model.points:
        for (count, dose), count_at, dose_at in zip(
            points, where.counts_at, where.doses_at, strict=True
        ):
            struct.pack_into(where.count_format, block, count_at, count)
            struct.pack_into(where.float_format, block, dose_at, dose)
    if model.estimate_at is not None:
        block[model.estimate_at] = estimate
    return bytes(block)
