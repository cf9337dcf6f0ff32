"""The board: what a person at this laptop must see, as data and as text."""

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Final

from drivers.api import Channel, Reading
from gateway.alarms.record import AlarmRecord
from gateway.health import DetectorHealth
from gateway.values import Instant
from gateway.wire_alarms import encode_active

SHOWN_FIRST: Final = (
    Channel.DOSE_RATE,
    Channel.GAMMA_COUNT_RATE,
    Channel.GAMMA_COUNTS,
    Channel.BACKGROUND,
)
RED, YELLOW, DIM, BOLD, PLAIN = "\033[1;31m", "\033[33m", "\033[2m", "\033[1m", "\033[0m"
_STATE_COLOUR: Final = {"ok": "", "learning": DIM, "off_duty": DIM}


def board(
    now: Instant, health: Mapping[str, DetectorHealth], alarms: Sequence[AlarmRecord]
) -> dict[str, object]:
    """Detectors with ages and values, and every alarm that is not closed, worst first."""
    ordered = sorted(alarms, key=lambda record: (record.priority, record.raised_at.mono))
    return {
        "detectors": [_detector(now, one) for one in health.values()],
        "alarms": [
            {**encode_active(record), "age_s": round(now.mono - record.raised_at.mono, 1)}
            for record in ordered
        ],
    }


def _detector(now: Instant, health: DetectorHealth) -> dict[str, object]:
    told = health.told
    return {
        "detector": health.detector,
        "state": told.state if told else "learning",
        "reasons": list(told.reasons) if told else [],
        "link": health.link,
        "age_s": None if health.heard is None else round(now.mono - health.heard.mono, 1),
        "shows": main_value(health.latest),
        "rejects": sum(health.rejects.values()),
    }


def main_value(latest: Mapping[tuple[Channel, str], Reading]) -> str:
    """The number a person looks for first, rounded for display to 3 significant digits."""
    for channel in SHOWN_FIRST:
        found = [reading for (kind, _), reading in latest.items() if kind is channel]
        if found:
            return _show(found)
    return ""


def _show(readings: list[Reading]) -> str:
    first = readings[0]
    values = [reading.value for reading in readings if reading.value is not None]
    if not values:
        bound = first.lower_bound
        return "no number" if bound is None else f"over {bound:.3g} {first.unit}"
    if len(readings) > 1 and first.channel is not Channel.DOSE_RATE:
        return f"{sum(values):.3g} {first.unit} (sum of {len(values)})"
    return f"{values[-1]:.3g} {first.unit}"


def render(shown: Mapping[str, object], *, colour: bool) -> str:
    """The board as lines of text."""
    lines = _alarm_lines(_rows(shown, "alarms"), colour)
    lines += ["", *_detector_lines(_rows(shown, "detectors"), colour)]
    return "\n".join(lines)


def _rows(shown: Mapping[str, object], key: str) -> list[dict[str, object]]:
    rows = shown[key]
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _alarm_lines(alarms: list[dict[str, object]], colour: bool) -> list[str]:
    if not alarms:
        return ["no alarms"]
    rows: list[tuple[str, ...]] = [
        ("P", "level", "detector", "alarm", "value", "peak", "age", "state", "occurrence")
    ]
    rows += [_alarm_row(alarm) for alarm in alarms]
    lines = table(rows)
    if colour:
        return [lines[0]] + [
            _painted(line, RED if alarm["active"] else YELLOW)
            for line, alarm in zip(lines[1:], alarms, strict=True)
        ]
    return lines


def _alarm_row(alarm: Mapping[str, object]) -> tuple[str, ...]:
    return (
        str(alarm["priority"]),
        str(alarm["level"]),
        str(alarm["detector"]),
        str(alarm["alarm"]),
        _amount(alarm["value"], alarm["unit"]),
        _amount(alarm["peak"], alarm["unit"]),
        age(alarm["age_s"]),
        alarm_state(alarm),
        str(alarm["occurrence"]),
    )


def alarm_state(alarm: Mapping[str, object]) -> str:
    """The state of an alarm in words."""
    words = ["active" if alarm["active"] else "returned"]
    words += [word for word in ("latched", "stale") if alarm[word]]
    words.append("acknowledged" if alarm["acknowledged"] else "UNACKNOWLEDGED")
    return ", ".join(words)


def _detector_lines(detectors: list[dict[str, object]], colour: bool) -> list[str]:
    rows: list[tuple[str, ...]] = [("detector", "state", "shows", "age", "rejected", "why")]
    rows += [_detector_row(one) for one in detectors]
    lines = table(rows)
    if not colour:
        return lines
    return [lines[0]] + [
        _painted(line, _STATE_COLOUR.get(str(one["state"]), YELLOW))
        for line, one in zip(lines[1:], detectors, strict=True)
    ]


def _detector_row(one: Mapping[str, object]) -> tuple[str, ...]:
    reasons = one["reasons"]
    return (
        str(one["detector"]),
        str(one["state"]),
        str(one["shows"]),
        age(one["age_s"]),
        str(one["rejects"]),
        "; ".join(map(str, reasons)) if isinstance(reasons, list) else "",
    )


def _painted(line: str, colour: str) -> str:
    return f"{colour}{line}{PLAIN}" if colour else line


def _amount(value: object, unit: object) -> str:
    return f"{value:.3g} {unit}" if isinstance(value, int | float) else ""


def age(seconds: object) -> str:
    """Seconds as people say them."""
    if not isinstance(seconds, int | float):
        return "never"
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Aligned columns; text from devices is made harmless for a terminal."""
    clean = [tuple(harmless(cell) for cell in row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*clean, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in clean
    ]


def harmless(text: str) -> str:
    """Text without control or direction-changing characters."""
    return "".join("?" if unicodedata.category(c)[0] == "C" else c for c in text)
