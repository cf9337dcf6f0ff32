"""The status byte of a RadEye's frame: which bits each layout has (DT-029 ch. 5, by family)."""

from dataclasses import dataclass
from typing import Final

from drivers.radeye_frames import Layout

Says = dict[str, float | int | str | None]

OVERLOAD: Final = 0x02
BATTERY_LOW: Final = 0x20
_ALARMS: Final = {
    Layout.PRD: {0x04: "rate", 0x08: "dose", 0x10: "nbr"},
    Layout.DW: {0x04: "rate", 0x08: "dose"},
    Layout.GAMMA_OLD: {0x04: "rate", 0x08: "dose"},
    Layout.GAMMA_V3: {0x04: "rate"},
    Layout.AB100: {0x04: "rate"},
    Layout.GN: {
        0x04: "gamma",
        0x08: "neutron",
        0x10: "dose",
        0x20: "fast_neutron",
        0x40: "nbr",
        0x80: "safety",
    },
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What the instrument has found in this second."""

    overload: bool
    rate_alarm: bool
    dose_alarm: bool
    neutron_alarm: bool
    battery_low: bool


def status_of(layout: Layout, facts: Facts, more_bits: int) -> tuple[int, Says]:
    """The byte, and the alarms and faults that a reader must find in it."""
    raised = {
        "rate": facts.rate_alarm,
        "gamma": facts.rate_alarm,
        "dose": facts.dose_alarm,
        "neutron": facts.neutron_alarm,
    }
    alarms = _ALARMS[layout]
    status = more_bits | (OVERLOAD if facts.overload else 0)
    for bit, name in alarms.items():
        status |= bit if raised.get(name) else 0
    if layout is not Layout.GN:
        status |= BATTERY_LOW if facts.battery_low else 0
    says: Says = {f"device_alarm.{name}": int(bool(status & bit)) for bit, name in alarms.items()}
    if layout is not Layout.GN:
        says["device_fault.battery_low"] = int(bool(status & BATTERY_LOW))
    return status, says
