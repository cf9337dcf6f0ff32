"""The score sheet as text."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from gateway.board import table

Told = Mapping[str, Any]


def render(sheet: Told) -> str:
    """The sheet of ``drill_score.told`` as lines."""
    return "\n\n".join("\n".join(part) for part in _parts(sheet))


def _parts(sheet: Told) -> Iterator[Sequence[str]]:
    yield list(_head(sheet))
    yield _injects(sheet["injects"])
    found = [(one["name"], alarm) for one in sheet["injects"] for alarm in one["alarms"]]
    if found:
        yield ["alarms of the injects", *_alarms(found)]
    for key, title in (
        ("without_inject", "alarms without an inject"),
        ("beside_real", "alarms of something real, raised beside the real alarm"),
        ("technical", "alarms about instruments and links"),
        ("real", "REAL alarms meanwhile, which are no part of the exercise"),
    ):
        if sheet[key]:
            yield [title, *_alarms([("", alarm) for alarm in sheet[key]])]


def _head(sheet: Told) -> Iterator[str]:
    started = datetime.fromtimestamp(sheet["started"], UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    title = f" ({sheet['title']})" if sheet["title"] else ""
    yield f"drill {sheet['drill']}{title}, begun {started} by {sheet['leader']}"
    if sheet["ended_s"] is None:
        yield "still on"
    else:
        by = f" by {sheet['ended_by']}" if sheet["ended_by"] else ""
        yield f"over after {sheet['ended_s']:g} s{by}: {sheet['ended_how']}"
    results = [one["result"] for one in sheet["injects"]]
    counts = {name: results.count(name) for name in dict.fromkeys(results)}
    counted = [f"{count} {name}" for name, count in counts.items()]
    false = len(sheet["without_inject"])
    yield ", ".join([f"{len(results)} injects", *counted, f"{false} alarms without an inject"])
    if sheet["portals"]:
        yield f"portals decide by themselves and see no ghosts: {', '.join(sheet['portals'])}"
    if sheet["apart"]:
        yield f"without a place, so only ghosts put at them: {', '.join(sheet['apart'])}"
    if sheet["unplayed"]:
        yield f"in the file, not played in a drill: {', '.join(sheet['unplayed'])}"


def _injects(injects: Sequence[Told]) -> list[str]:
    if not injects:
        return ["nothing was injected"]
    rows: list[tuple[str, ...]] = [
        ("inject", "what", "where", "from", "to", "in truth", "result", "first alarm", "after")
    ]
    for one in injects:
        first = one["alarms"][0] if one["alarms"] else None
        rows.append(
            (
                one["name"],
                one["what"],
                one["where"],
                _seconds(one["from_s"]),
                _seconds(one["to_s"]),
                _truth(one["truth"]),
                one["result"],
                "" if first is None else f"{first['detector']} {first['alarm']} {first['level']}",
                _after(one),
            )
        )
    return table(rows)


def _truth(truth: Told) -> str:
    """The detectors at which it reached a level; else where it was strongest."""
    over = [
        f"{name} {one['level']} at {one['level_s']:g} s"
        for name, one in truth.items()
        if one["level"]
    ]
    if over:
        return ", ".join(over)
    if not truth:
        return "nowhere"
    name, best = max(truth.items(), key=lambda item: float(item[1]["peak_usv_h"]))
    return f"at most {best['peak_usv_h']:g} µSv/h at {name}"


def _after(one: Told) -> str:
    if one["first_after_s"] is None:
        return ""
    since = one["first_after_level_s"]
    level = "" if since is None else f", {since:g} s after the level"
    return f"{one['first_after_s']:g} s{level}"


def _alarms(rows: Sequence[tuple[str, Told]]) -> list[str]:
    lines: list[tuple[str, ...]] = [
        ("inject", "detector", "alarm", "level", "at", "acknowledged", "assessed", "occurrence")
    ]
    for name, one in rows:
        lines.append(
            (
                name,
                one["detector"],
                one["alarm"],
                one["level"],
                _seconds(one["at_s"]),
                _by(one["acknowledged_by"], one["acknowledged_after_s"], "never"),
                _by(one["assessed_by"], one["assessed_after_s"], "", one["disposition"]),
                one["occurrence"],
            )
        )
    if not any(name for name, _ in rows):
        lines = [line[1:] for line in lines]
    return table(lines)


def _by(who: str, after_s: float | None, otherwise: str, what: str = "") -> str:
    if after_s is None:
        return otherwise
    said = f"{what} " if what else ""
    return f"{said}by {who or 'nobody named'} after {after_s:g} s"


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:g} s"
