"""Quantities as people write them, ``"20 µSv/h"``, with errors that name the likely fix.

A number alone is refused, so is a unit of another dimension. What the models hold is always
µSv/h, µSv, 1/s, Bq and m/s.
"""

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from drivers.units import Dimension, UnknownUnit, parse_unit

_AMOUNT: Final = re.compile(
    r"(?P<number>[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)(?P<gap>\s*)(?P<unit>(?:[^\s,.].*)?)"
)
_PER_MINUTE: Final = re.compile(r"/\s*(min|minute|m)$")
_PER_SECOND: Final = re.compile(r"/\s*(s|sec|second)$")
_PER_HOUR: Final = re.compile(r"(\s*/\s*|\s*per\s+|\s*\*?\s*)(hours?|hrs?|h)(\^?-1|⁻¹)?$")
_CURIE_BQ: Final = 3.7e10  # exactly, by definition


class AmountError(ValueError):
    """A text that is not an amount of the kind asked for; ``hint`` is the likely fix."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class _WrongUnit(ValueError):
    """The unit does not fit; ``is_known`` when it is a right unit of something else."""

    def __init__(self, message: str, *, is_known: bool = False) -> None:
        super().__init__(message)
        self.is_known = is_known


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of amount; ``units`` are the ones to offer, ``factor`` converts any accepted one."""

    name: str
    example: str
    units: tuple[str, ...]
    factor: Callable[[str], float]

    def read(self, value: object) -> float:
        """The amount in the kind's base unit. Raises AmountError."""
        if not isinstance(value, str):
            raise AmountError(
                f"{self.name} is written as text with its unit, not as {_noun(value)}",
                f'such as "{self.example}"',
            )
        text = value.strip()
        match = _AMOUNT.fullmatch(text)
        if match is None:
            raise AmountError(
                f"{_short(value)} does not begin with a number and a blank", self._rewrite(text)
            )
        number, unit = match["number"], match["unit"]
        if not unit:
            raise AmountError(f"{_short(value)} has no unit", f'such as "{number} {self.units[0]}"')
        try:
            factor = self.factor(unit)
        except _WrongUnit as error:
            hint = self._suggest(number, unit, similar=not error.is_known)
            raise AmountError(str(error), hint) from None
        if not match["gap"]:
            raise AmountError(
                f"{_short(value)} has no blank before its unit", f'write "{number} {unit}"'
            )
        return float(number) * factor

    def _rewrite(self, text: str) -> str:
        plain = text.replace(",", ".")
        if plain != text and _AMOUNT.fullmatch(plain):
            return f'write "{plain}"'
        return f'such as "{self.example}"'

    def _suggest(self, number: str, unit: str, *, similar: bool) -> str:
        allowed = "units: " + ", ".join(self.units)
        for ending, times in ((_PER_MINUTE, 60), (_PER_SECOND, 3600)):
            hourly = ending.sub("/h", unit)
            if hourly != unit and (likely := self._likely(hourly, similar)):
                return f'{number} {unit} is "{float(number) * times:g} {likely}"; {allowed}'
        likely = self._likely(unit, similar)
        return f'did you mean "{number} {likely}"? {allowed}' if likely else allowed

    def _likely(self, unit: str, similar: bool) -> str | None:
        """The unit meant: missing or odd "per hour", micro, case; ``similar`` also misspelt."""
        plain = _PER_HOUR.sub("/h", unit.strip()).replace("\u03bc", "µ").replace("micro", "µ")
        if plain[:1] in "uU":
            plain = "µ" + plain[1:]
        for candidate in (plain, plain + "/h", plain.removesuffix("/h")):
            if candidate in self.units:
                return candidate
        if not similar:
            return None
        folded = {known.casefold(): known for known in reversed(self.units)}
        for candidate in (plain.casefold(), plain.casefold() + "/h"):
            if candidate in folded:
                return folded[candidate]
        close = difflib.get_close_matches(plain.casefold(), folded, n=1, cutoff=0.8)
        return folded[close[0]] if close else None


def _short(value: str) -> str:
    return repr(value if len(value) <= 40 else value[:37] + "...")


def _noun(value: object) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a bare number"
    return "a list" if isinstance(value, list) else "a table" if isinstance(value, dict) else "that"


def _dimensional(dimension: Dimension, what: str) -> Callable[[str], float]:
    def factor(unit: str) -> float:
        try:
            known = parse_unit(unit)
        except UnknownUnit:
            raise _WrongUnit(f"{_short(unit)} is not a unit of {what}") from None
        if known.dimension is not dimension:
            raise _WrongUnit(
                f"{_short(unit)} is a unit of {known.dimension}, not of {what}", is_known=True
            )
        return known.factor

    return factor


def _tabled(table: dict[str, float], what: str) -> Callable[[str], float]:
    def factor(unit: str) -> float:
        plain = unit.replace("\u03bc", "µ")
        plain = "µ" + plain[1:] if plain.startswith("u") else plain
        if plain not in table:
            raise _WrongUnit(f"{_short(unit)} is not a unit of {what}")
        return table[plain]

    return factor


_BECQUEREL: Final = {"Bq": 1.0, "kBq": 1e3, "MBq": 1e6, "GBq": 1e9, "TBq": 1e12}
_CURIE: Final = {"µCi": 1e-6 * _CURIE_BQ, "mCi": 1e-3 * _CURIE_BQ, "Ci": _CURIE_BQ}
_SPEED: Final = {"m/s": 1.0, "km/h": 1 / 3.6}

DOSE_RATE: Final = Kind(
    "a dose rate",
    "20 µSv/h",
    ("µSv/h", "nSv/h", "mSv/h", "Sv/h", "µrem/h", "mrem/h", "rem/h"),
    _dimensional(Dimension.DOSE_EQUIVALENT_RATE, "dose equivalent rate"),
)
DOSE: Final = Kind(
    "a dose",
    "1 mSv",
    ("µSv", "nSv", "mSv", "Sv", "µrem", "mrem", "rem"),
    _dimensional(Dimension.DOSE_EQUIVALENT, "dose equivalent"),
)
COUNT_RATE: Final = Kind(
    "a count rate",
    "100 cpm",
    ("cps", "cpm", "1/s", "1/min"),
    _dimensional(Dimension.RATE, "count rate"),
)
ACTIVITY: Final = Kind(
    "an activity",
    "100 MBq",
    (*reversed(_BECQUEREL), *_CURIE),
    _tabled(_BECQUEREL | _CURIE, "activity"),
)
SPEED: Final = Kind("a speed", "1.2 m/s", tuple(_SPEED), _tabled(_SPEED, "speed"))


def _reader(kind: Kind) -> BeforeValidator:
    def read(value: object) -> float:
        try:
            return kind.read(value)
        except AmountError as error:
            raise PydanticCustomError(
                "amount", "{problem}", {"problem": str(error), "hint": error.hint}
            ) from None

    return BeforeValidator(read)


def _text(kind: Kind) -> WithJsonSchema:
    return WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^\s*[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?\s+\S+\s*$",
            "description": f"{kind.name} with its unit: {', '.join(kind.units)}",
            "examples": [kind.example],
        }
    )


DoseRate = Annotated[float, _reader(DOSE_RATE), Field(gt=0, allow_inf_nan=False), _text(DOSE_RATE)]
"""Above zero, in µSv/h."""
FieldRate = Annotated[float, _reader(DOSE_RATE), Field(ge=0, allow_inf_nan=False), _text(DOSE_RATE)]
"""Zero or above, in µSv/h."""
Dose = Annotated[float, _reader(DOSE), Field(gt=0, allow_inf_nan=False), _text(DOSE)]
"""Above zero, in µSv."""
CountRate = Annotated[
    float, _reader(COUNT_RATE), Field(ge=0, allow_inf_nan=False), _text(COUNT_RATE)
]
"""In 1/s."""
Activity = Annotated[float, _reader(ACTIVITY), Field(gt=0, allow_inf_nan=False), _text(ACTIVITY)]
"""In Bq."""
Speed = Annotated[float, _reader(SPEED), Field(gt=0, allow_inf_nan=False), _text(SPEED)]
"""In m/s."""
