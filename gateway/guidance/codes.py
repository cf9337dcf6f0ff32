"""What there are texts for, and which of them an alarm is."""

import re
from typing import Final

CODES: Final = (
    *("R1", "R2", "R3", "R4", "R5", "R6", "R7", "R8"),
    "N1",
    *("D1", "D2", "D3", "D4", "D5"),
    *("I1", "I2"),
    "area_wide",
    "portal_gamma",
    "portal_neutron",
    "device_neutron",
    "device",
    "silence",
    "loss_of_counts",
    "frozen_value",
    "instrument_fault",
    "background_fault",
    "occupancy_stuck",
    "tamper",
    "identity",
    "battery",
    "calibration_overdue",
    "clock_offset",
    "position_lost",
    "background_frozen",
    "background_implausible",
    "sampling_insufficient",
    "report",
    "journal_damaged",
    "journal_stalled",
    "journal_shedding",
    "disk_nearly_full",
    "feed_down",
    "publish_refused",
    "no_subscriber",
    "client_id_in_use",
    "certificate",
    "orphans",
    "clock_unsynchronised",
)
"""Levels first, then alarm objects; ``device`` is any alarm bit without a text of its own."""

_LEVEL: Final = re.compile(r"[RNDI]\d+")
_DEVICE: Final = "device"


def code_of(alarm: str, level: str) -> str:
    """The code of an alarm: its level where that says what to do, else the alarm object."""
    if _LEVEL.fullmatch(level):
        return level
    if alarm not in CODES and alarm.startswith(f"{_DEVICE}_"):
        return _DEVICE
    return alarm
