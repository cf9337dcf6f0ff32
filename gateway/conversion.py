"""From the instrument's unit to the gateway's: exact where it can be, flagged where it assumes.

Published are µSv/h, µSv and 1/s. Prefixes, rem and cpm convert exactly. Exposure and kerma need
an energy and are converted by the declared convention with a flag. A unit nobody documented, or
none, stays as it came: the number is then no dose rate and no alarm level is judged by it.
"""

from dataclasses import dataclass
from typing import Final

from drivers.api import Channel, Flag, Quantity, Reading
from drivers.units import BASE, Dimension, UnknownUnit, parse_unit

# µSv of ambient dose equivalent per µR of exposure, H*(10)/Ka of ICRP 74 and 8.764 mGy per R.
EXPOSURE_USV_PER_UR: Final = {
    "Cs-137": 0.01052,
    "Ra-226": 0.01052,
    "Co-60": 0.01017,
    "Am-241": 0.01525,
}
# The shorthand of many makers, 100 R = 1 Sv, and dose equivalent that is labelled R.
SHORTHAND_USV_PER_UR: Final = 0.01
# H*(10)/Ka at 662 keV, ISO 4037-3.
KERMA_USV_PER_UGY: Final = 1.20

_EXPOSURE: Final = (Dimension.EXPOSURE, Dimension.EXPOSURE_RATE)
_KERMA: Final = (Dimension.KERMA, Dimension.KERMA_RATE)
_RATES: Final = (Dimension.EXPOSURE_RATE, Dimension.KERMA_RATE)


@dataclass(frozen=True, slots=True)
class Conversion:
    """One way from wire to gateway: multiply, rename, flag."""

    factor: float
    unit: str
    quantity: Quantity | None
    flags: tuple[Flag, ...] = ()

    def apply(self, reading: Reading) -> Reading:
        """The reading in the gateway's unit, its own number and unit kept in ``raw``."""
        return Reading(
            reading.channel,
            None if reading.value is None else reading.value * self.factor,
            self.unit,
            self.quantity,
            reading.flags + self.flags,
            None if reading.lower_bound is None else reading.lower_bound * self.factor,
            reading.window_s,
            _raw(reading),
            reading.part,
            reading.independent,
        )


def _raw(reading: Reading) -> str:
    text = reading.raw or ("" if reading.value is None else f"{reading.value}")
    return text if reading.unit in text else f"{text} {reading.unit}".strip()


class Converter:
    """Conversions of one detector, worked out once for each kind of reading."""

    def __init__(self, convention: str, nuclide: str = "Cs-137") -> None:
        self._convention = convention
        self._nuclide = nuclide
        self._known: dict[tuple[Channel, str, Quantity | None], Conversion | None] = {}

    def convert(self, reading: Reading) -> Reading:
        """The reading in the gateway's unit, or as it came where nothing is known."""
        key = (reading.channel, reading.unit, reading.quantity)
        try:
            conversion = self._known[key]
        except KeyError:
            conversion = self._known[key] = self._work_out(*key)
        return reading if conversion is None else conversion.apply(reading)

    def _work_out(
        self, channel: Channel, unit_text: str, quantity: Quantity | None
    ) -> Conversion | None:
        """None where nothing is to be done."""
        found = self._found(unit_text, quantity)
        if found is None or (found.factor == 1.0 and found.unit == unit_text and not found.flags):
            return None
        return found

    def _found(self, unit_text: str, quantity: Quantity | None) -> Conversion | None:
        try:
            unit = parse_unit(unit_text)
        except UnknownUnit:
            return None
        if unit.dimension in _EXPOSURE:
            factor, flags = self._exposure()
        elif unit.dimension in _KERMA:
            factor, flags = KERMA_USV_PER_UGY, (Flag.CONVERTED_KERMA, Flag.ASSUMED_ENERGY)
        else:
            return Conversion(unit.factor, BASE[unit.dimension], quantity)
        rate = unit.dimension in _RATES
        return Conversion(
            unit.factor * factor,
            BASE[Dimension.DOSE_EQUIVALENT_RATE if rate else Dimension.DOSE_EQUIVALENT],
            Quantity.AMBIENT_DOSE_EQUIVALENT_RATE if rate else Quantity.AMBIENT_DOSE_EQUIVALENT,
            flags,
        )

    def _exposure(self) -> tuple[float, tuple[Flag, ...]]:
        if self._convention == "dose_equivalent_labelled_R":
            return SHORTHAND_USV_PER_UR, (Flag.VENDOR_CONVENTION,)
        if self._convention == "vendor_100_to_1":
            return SHORTHAND_USV_PER_UR, (Flag.CONVERTED_EXPOSURE, Flag.VENDOR_CONVENTION)
        return EXPOSURE_USV_PER_UR[self._nuclide], (Flag.CONVERTED_EXPOSURE, Flag.ASSUMED_ENERGY)
