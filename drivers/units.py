"""Units as instruments and configurations write them, and their exact factors.

Factors: domain definitions (1 rem = 0.01 Sv, 1 rad = 0.01 Gy, cpm = 1/60 per second). A unit says
nothing about the quantity: instruments label dose equivalent in roentgen. The driver or the
configuration decides the quantity; nothing here converts between quantities.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Dimension(StrEnum):
    """Between units of one dimension a conversion is exact."""

    DOSE_EQUIVALENT_RATE = "dose equivalent rate"
    DOSE_EQUIVALENT = "dose equivalent"
    KERMA_RATE = "kerma rate"
    KERMA = "kerma"
    EXPOSURE_RATE = "exposure rate"
    EXPOSURE = "exposure"
    RATE = "rate"


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit: ``factor`` turns a number in it into the dimension's base unit (see BASE)."""

    name: str
    dimension: Dimension
    factor: float


class UnknownUnit(ValueError):
    """A unit text nobody documented."""


BASE: Final = {
    Dimension.DOSE_EQUIVALENT_RATE: "µSv/h",
    Dimension.DOSE_EQUIVALENT: "µSv",
    Dimension.KERMA_RATE: "µGy/h",
    Dimension.KERMA: "µGy",
    Dimension.EXPOSURE_RATE: "µR/h",
    Dimension.EXPOSURE: "µR",
    Dimension.RATE: "1/s",
}
_PREFIX: Final = {"n": 1e-3, "µ": 1.0, "m": 1e3, "": 1e6, "k": 1e9}
_STEM: Final = {
    "Sv": (Dimension.DOSE_EQUIVALENT, 1.0),
    "rem": (Dimension.DOSE_EQUIVALENT, 0.01),
    "Gy": (Dimension.KERMA, 1.0),
    "rad": (Dimension.KERMA, 0.01),
    "R": (Dimension.EXPOSURE, 1.0),
}
_RATE_OF: Final = {
    Dimension.DOSE_EQUIVALENT: Dimension.DOSE_EQUIVALENT_RATE,
    Dimension.KERMA: Dimension.KERMA_RATE,
    Dimension.EXPOSURE: Dimension.EXPOSURE_RATE,
}
_COUNTS: Final = {"1/s": 1.0, "s⁻¹": 1.0, "cps": 1.0, "1/min": 1 / 60, "cpm": 1 / 60}
_FORM: Final = re.compile(r"(?P<prefix>[nµmk]?)(?P<stem>Sv|rem|Gy|rad|R)(?P<rate>/h)?")


def parse_unit(text: str) -> Unit:
    """The unit a text names; u, U+00B5 and U+03BC all mean micro. Raises UnknownUnit."""
    plain = text.strip().replace("\u03bc", "µ")
    if plain in _COUNTS:
        return Unit(plain, Dimension.RATE, _COUNTS[plain])
    if plain.startswith("u"):
        plain = "µ" + plain[1:]
    match = _FORM.fullmatch(plain)
    if match is None:
        raise UnknownUnit(f"{text!r} is not a unit of dose, dose rate or count rate")
    dimension, factor = _STEM[match["stem"]]
    if match["rate"]:
        dimension = _RATE_OF[dimension]
    return Unit(plain, dimension, _PREFIX[match["prefix"]] * factor)
