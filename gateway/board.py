"""The board: what a person at this laptop must see, as data and as text."""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from drivers.api import Channel, Reading
from gateway.alarms.orders import Order, Orders
from gateway.alarms.record import AlarmRecord
from gateway.health import DetectorHealth
from gateway.screen import padded, width
from gateway.values import Instant
from gateway.wire.alarms import encode_active

SHOWN_FIRST: Final = (
    Channel.DOSE_RATE,
    Channel.GAMMA_COUNT_RATE,
    Channel.GAMMA_COUNTS,
    Channel.BACKGROUND,
)
RED, YELLOW, DIM, BOLD, PLAIN = "\033[1;31m", "\033[33m", "\033[2m", "\033[1m", "\033[0m"
_MISSED_BEST: Final = ("peak", "age")
LOUD: Final = "\033[1;7;33m"
NO_ORDERS: Final[Mapping[str, Orders]] = MappingProxyType({})
STATE_COLOUR: Final = {"ok": "", "learning": DIM, "off_duty": DIM}


def board(
    now: Instant,
    health: Mapping[str, DetectorHealth],
    alarms: Sequence[AlarmRecord],
    orders: Mapping[str, Orders] = NO_ORDERS,
) -> dict[str, object]:
    """Detectors with ages and values, and every alarm that is not closed, worst first.

    ``orders`` are those in force for each detector: they say who has hidden an alarm, and for how
    long. ``announced`` changes with each announcement of an alarm.
    """
    ordered = sorted(alarms, key=_most_urgent)
    names = {record.occurrence: record.alarm for record in alarms}
    return {
        "detectors": [_detector(now, one) for one in health.values()],
        "alarms": [
            {
                **encode_active(record),
                "age_s": round(now.mono - record.raised_at.mono, 1),
                "announced": round(record.annunciated_at.mono, 3),
                **_overlay(now, record, orders.get(record.detector), names),
            }
            for record in ordered
        ],
    }


def _most_urgent(record: AlarmRecord) -> tuple[int, int, bool, float]:
    rank = urgency(record.active, record.acknowledged)
    return record.priority, rank, not record.is_radiation, record.raised_at.mono


def urgency(active: object, acknowledged: object) -> int:
    """Of one priority: first what holds and nobody has seen, then what holds, then what is over."""
    if not active:
        return 2
    return 1 if acknowledged else 0


def _overlay(
    now: Instant, record: AlarmRecord, orders: Orders | None, names: Mapping[str, str]
) -> dict[str, object]:
    """Why an alarm is off the list (empty: it is on it), and for how long its sound is off."""
    hiding = muting = None
    why = ""
    if orders is not None:
        hiding = _hiding(record, orders)
        muting = orders.silenced.get(record.occurrence)
    if record.suppressed_by:
        why = f"{names.get(record.suppressed_by, 'alarm')} {record.suppressed_by} says it already"
    elif record.is_hidden:
        why = "shelved" if record.shelved else "out of service"
    return {
        "hidden": why if hiding is None else hiding.told(),
        "hidden_for_s": _left_s(hiding, now),
        "silenced_for_s": _left_s(muting, now),
    }


def _hiding(record: AlarmRecord, orders: Orders) -> Order | None:
    if record.shelved:
        return orders.shelf(record)
    if record.out_of_service and not record.suppressed_by:
        return orders.maintenance or orders.duty
    return None


def _left_s(order: Order | None, now: Instant) -> float | None:
    return None if order is None else round(max(0.0, order.until - now.mono), 1)


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


def render(shown: Mapping[str, object], *, colour: bool, advice: Sequence[str] = ()) -> str:
    """The board as lines of text; ``advice`` stands below the alarms."""
    alarms = rows_of(shown, "alarms")
    parts = [
        drill_lines(shown, colour),
        figure_lines(shown.get("figures"), colour),
        alarm_lines([alarm for alarm in alarms if not is_hidden(alarm)], colour),
        list(advice),
        hidden_lines([alarm for alarm in alarms if is_hidden(alarm)], colour),
        detector_lines(rows_of(shown, "detectors"), colour),
    ]
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


def is_hidden(alarm: Mapping[str, object]) -> bool:
    """Whether an alarm of the board is off the list: it sounds for nobody."""
    return bool(alarm.get("shelved") or alarm.get("out_of_service") or alarm.get("suppressed_by"))


def waiting(shown: Mapping[str, object]) -> list[dict[str, object]]:
    """The alarms on the list that nobody has acknowledged, worst first."""
    alarms = rows_of(shown, "alarms")
    return [alarm for alarm in alarms if not alarm["acknowledged"] and not is_hidden(alarm)]


def rows_of(shown: Mapping[str, object], key: str) -> list[dict[str, object]]:
    """The alarms or the detectors of a board."""
    rows = shown[key]
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def drill_lines(shown: Mapping[str, object], colour: bool) -> list[str]:
    """Nobody must take an exercise for real, nor what is real for an exercise."""
    drill, failed = shown.get("drill"), shown.get("drill_failed")
    if not isinstance(drill, dict):
        line = harmless(f"no drill is on; {failed}") if failed else ""
        return [_painted(line, YELLOW if colour else "")] if line else []
    line = (
        f"*** DRILL {harmless(str(drill['name']))} is on since {age(drill['since_s'])}: "
        "alarms marked EXERCISE are not real, all others are ***"
    )
    return [_painted(line, LOUD if colour else "")]


def figure_lines(figures: object, colour: bool) -> list[str]:
    """The load of alarms."""
    if not isinstance(figures, dict):
        return []
    line = f"alarms in the last 10 min: {figures['per_operator']:g} per operator"
    if not figures["flood"]:
        return [line]
    return [_painted(f"{line}  FLOOD", RED if colour else "")]


def alarm_lines(
    alarms: list[dict[str, object]], colour: bool, columns: int | None = None
) -> list[str]:
    """Alarms as a table; on few ``columns`` without what can be missed best."""
    if not alarms:
        return ["no alarms"]
    rows: list[tuple[str, ...]] = [
        ("P", "level", "detector", "alarm", "value", "peak", "age", "state", "occurrence", "")
    ]
    rows += [_alarm_row(alarm) for alarm in alarms]
    lines = table(rows) if columns is None else _narrowed(rows, columns)
    if colour:
        return [lines[0]] + [
            _painted(line, RED if alarm["active"] else YELLOW)
            for line, alarm in zip(lines[1:], alarms, strict=True)
        ]
    return lines


def _narrowed(rows: list[tuple[str, ...]], columns: int) -> list[str]:
    """The table, notes apart, within the columns if possible; "EXERCISE" stands before any cut."""
    rows = [
        (row[0], f"EXERCISE {row[1]}" if row[-1].startswith("EXERCISE") else row[1], *row[2:])
        for row in rows
    ]
    for name in _MISSED_BEST:
        if max(width(line) for line in table([row[:-1] for row in rows])) <= columns:
            break
        at = rows[0].index(name)
        rows = [row[:at] + row[at + 1 :] for row in rows]
    return table(rows)


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
        "; ".join(_notes(alarm)),
    )


def _notes(alarm: Mapping[str, object]) -> Iterator[str]:
    """What else must be known of an alarm on the list."""
    if alarm.get("exercise"):
        yield "EXERCISE"
    if alarm.get("silenced"):
        left_s = alarm.get("silenced_for_s")
        yield "silenced" if left_s is None else f"silenced for {age(left_s)} more"
    if alarm.get("test_source"):
        yield "test source announced"
    members = alarm.get("members")
    if isinstance(members, list) and members:
        yield f"members {', '.join(map(str, members))}"
    if alarm.get("incident"):
        yield f"perhaps one event: {alarm['incident']}"
    text, own = alarm.get("text"), alarm.get("device_alarms")
    if text and not (isinstance(own, list) and text in own):
        yield str(text)


def hidden_lines(alarms: list[dict[str, object]], colour: bool) -> list[str]:
    """What is off the list, with why."""
    if not alarms:
        return []
    rows: list[tuple[str, ...]] = [
        ("hidden", "level", "detector", "alarm", "state", "for", "occurrence", "why")
    ]
    rows += [
        (
            str(alarm["priority"]),
            str(alarm["level"]),
            str(alarm["detector"]),
            str(alarm["alarm"]),
            alarm_state(alarm),
            "" if alarm.get("hidden_for_s") is None else age(alarm["hidden_for_s"]),
            str(alarm["occurrence"]),
            str(alarm.get("hidden", "")),
        )
        for alarm in alarms
    ]
    return [_painted(line, DIM if colour else "") for line in table(rows)]


def alarm_state(alarm: Mapping[str, object]) -> str:
    """The state of an alarm in words."""
    words = ["active" if alarm["active"] else "returned"]
    words += [word for word in ("latched", "stale") if alarm[word]]
    words.append("acknowledged" if alarm["acknowledged"] else "UNACKNOWLEDGED")
    return ", ".join(words)


def detector_lines(detectors: list[dict[str, object]], colour: bool) -> list[str]:
    """Detectors as a table."""
    rows: list[tuple[str, ...]] = [("detector", "state", "shows", "age", "rejected", "why")]
    rows += [_detector_row(one) for one in detectors]
    lines = table(rows)
    if not colour:
        return lines
    return [lines[0]] + [
        _painted(line, STATE_COLOUR.get(str(one["state"]), YELLOW))
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
    widths = [max(map(width, column)) for column in zip(*clean, strict=True)]
    return [
        "  ".join(padded(cell, columns) for cell, columns in zip(row, widths, strict=True)).rstrip()
        for row in clean
    ]


def harmless(text: str) -> str:
    """Text without control or direction-changing characters."""
    return "".join("?" if unicodedata.category(c)[0] == "C" else c for c in text)
