"""The board on a screen: alarms first, then as much of the rest as there is room for."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from gateway.board import (
    STATE_COLOUR,
    alarm_lines,
    detector_lines,
    drill_lines,
    figure_lines,
    hidden_lines,
    is_hidden,
    rows_of,
)
from gateway.screen import Size, fitted, wrapped

_HEAD_LINES: Final = 3
_ADVICE_LINES: Final = 3
_ALARMS_FIRST: Final = 3
"""Own choice, as the two above: so many alarms stay even if there is no room for advice then."""
_HEADED: Final = 2
"""A blank line and the head of a table; or a blank line and the foot."""


def fit(shown: Mapping[str, object], *, colour: bool, advice: Sequence[str], size: Size) -> str:
    """The board as lines that neither wrap nor scroll; what was left out is counted at the end."""
    alarms, detectors = rows_of(shown, "alarms"), rows_of(shown, "detectors")
    listed = [alarm for alarm in alarms if not is_hidden(alarm)]
    hidden = [alarm for alarm in alarms if is_hidden(alarm)]
    ill = [one for one in detectors if one["state"] not in STATE_COLOUR]
    well = [one for one in detectors if one["state"] in STATE_COLOUR]
    head = [*drill_lines(shown, colour), *figure_lines(shown.get("figures"), colour)]
    head = _wrapped(head, size.columns, _HEAD_LINES)
    room = size.lines - 1 - len(head) - 1 - _HEADED  # the cursor's line, a blank one, the foot
    told = _wrapped(advice, size.columns, _ADVICE_LINES)
    told = told[: max(0, room - _HEADED - min(len(listed), _ALARMS_FIRST))]
    room -= len(told) + 1 if told else 0
    kept = listed[: max(1, room - 1)]
    table = alarm_lines(kept, colour, size.columns)
    room -= len(table)
    ills = _fitting(len(ill), room - _HEADED)
    room -= ills + _HEADED if ills else 0
    off = _fitting(len(hidden), room - _HEADED)
    room -= off + _HEADED if off else 0
    wells = _fitting(len(well), room if ills else room - _HEADED)
    some = ill[:ills] + well[:wells]
    parts = [
        head,
        table,
        told,
        hidden_lines(hidden[:off], colour),
        detector_lines(some, colour) if some else [],
        _foot(len(listed) - len(kept), len(hidden) - off, ill[ills:] + well[wells:]),
    ]
    lines = "\n\n".join("\n".join(part) for part in parts if part).split("\n")
    return "\n".join(fitted(lines, Size(size.columns, size.lines - 1)))


def _fitting(wanted: int, room: int) -> int:
    return max(0, min(wanted, room))


def _wrapped(lines: Sequence[str], columns: int, most: int) -> list[str]:
    return [part for line in lines for part in wrapped(line, columns, most)]


def _foot(alarms: int, hidden: int, detectors: Sequence[Mapping[str, object]]) -> list[str]:
    states = Counter(str(one["state"]) for one in detectors)
    told = [f"{alarms} more alarms"] if alarms else []
    told += [f"{hidden} more hidden"] if hidden else []
    told += [f"{count} detectors {state}" for state, count in states.items()]
    return [f"… and {', '.join(told)}"] if told else []
