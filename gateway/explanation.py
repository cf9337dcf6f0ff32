"""Why an alarm was raised, in plain words, from the journal's own records."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final

from gateway.journal.look import Message
from gateway.wire.table import iso

Lines = list[tuple[str, str]]
"""What each line is about (empty: the same as the one before), and the line."""
_UNITS: Final = (
    ("_usv_h", "µSv/h"),
    ("_per_hour", "per hour"),
    ("_per_s", "1/s"),
    ("_usv", "µSv"),
    ("_m", "m"),
    ("_s", "s"),
)
_DECIDED: Final = ("raised", "escalated")
_MEASURED: Final = (*_DECIDED, "peak", "returned", "fresh")
_TOLD_ELSEWHERE: Final = frozenset(
    {
        *("counts", "window_s", "expected", "expected_counts", "threshold", "p_value", "alpha"),
        *("level", "authority", "raise_usv_h", "clear_usv_h", "false_alarms_per_hour"),
    }
)


def explain_occurrence(events: Sequence[Message]) -> Lines:
    """The whole story of one occurrence; ``events`` oldest first, at least one."""
    last = events[-1]
    lines: Lines = [("alarm", _subject(last)), ("state", _state(last))]
    decided = [event for event in events if event["event"] in _DECIDED] or [events[0]]
    for event in decided:
        lines += _decision(event)
    lines += _levels(last, decided)
    if last["peak"] is not None:
        lines.append(("peak", f"{amount(last['peak'], last['unit'])} at {last['peaked']}"))
    for flag in ("indicative", "test_source"):
        if last[flag]:
            lines.append(("note", _NOTES[flag]))
    if last["incident"]:
        lines.append(("incident", f"{last['incident']}: perhaps one event with others"))
    lines.append(("configuration", last["configuration"] or "unknown"))
    history = list(_history(events))
    return lines + [("history" * (not number), line) for number, line in enumerate(history)]


_NOTES: Final = {
    "indicative": "no true dose rate is behind it: an estimate, or the instrument's own bit",
    "test_source": "a test source was announced at the detector when it was raised",
}


def amount(value: object, unit: object = "") -> str:
    """A number and its unit, rounded to what matters."""
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if not unit or unit == "1" else f"{text} {unit}"


def worded(facts: Mapping[str, object], leave_out: frozenset[str] = frozenset()) -> str:
    """Named facts as words with their units."""
    return ", ".join(_fact(key, value) for key, value in facts.items() if key not in leave_out)


def _fact(key: str, value: object) -> str:
    if key.endswith("_at") and isinstance(value, int | float):
        return f"{_plain(key)} {iso(value)}"
    for ending, unit in _UNITS:
        if key.endswith(ending):
            return f"{_plain(key.removesuffix(ending))} {amount(value, unit)}"
    return f"{_plain(key)} {amount(value)}"


def _plain(key: str) -> str:
    return key.replace("_", " ")


def _subject(event: Message) -> str:
    known = (event["class"], event["serial"] and f"serial {event['serial']}")
    post = event["post"] and f"post {event['post']}"
    about = ", ".join(str(part) for part in (*known, post) if part)
    exercise = ", EXERCISE" if event["exercise"] else ""
    members = f", of {', '.join(event['members'])}" if event["members"] else ""
    return (
        f"{event['alarm']} {event['level']}, priority {event['priority']}, of {event['detector']}"
        f"{f' ({about})' if about else ''}{members}{exercise}"
    )


def _state(event: Message) -> str:
    words = ["active" if event["active"] else "returned"]
    if event["closed_at"]:
        verified = ", not verified normal" if event["closed_unverified"] else ""
        words = [f"closed {event['closed_at']}{verified}"]
    words += [word for word in ("latched", "stale", "silenced") if event[word]]
    by = event["acknowledged_by"]
    words.append(f"acknowledged by {by}" if event["acknowledged"] else "UNACKNOWLEDGED")
    return ", ".join([*words, *hiding(event)])


def hiding(event: Message) -> Iterator[str]:
    """Why it is off the list."""
    if event["shelved"]:
        yield "shelved"
    if event["out_of_service"]:
        yield "out of service"
    if event["suppressed_by"]:
        yield f"suppressed, as {event['suppressed_by']} says it already"


def _decision(event: Message) -> Lines:
    """What was measured when it was raised or escalated, against what, and by which rule."""
    rule = event["rule"]
    parameters: Message = rule["parameters"]
    lines: Lines = [
        (event["event"], f"{event['time']}  {_measured(event)}".rstrip()),
        ("rule", f"{_plain(rule['id'])}, version {rule['version']}{_threshold(parameters)}"),
    ]
    if event["statistic"]:
        lines.append(("test", _test({**parameters, **event["statistic"]}, event["statistic"])))
    share = parameters.get("false_alarms_per_hour")
    if isinstance(share, int | float) and share > 0:
        every = f"one in {1 / share:.3g} h"
        lines.append(("budget", f"{share:.3g} false alarms per hour of this channel, {every}"))
    if event["background"]:
        lines.append(("background", worded(event["background"])))
    other = worded(parameters, _TOLD_ELSEWHERE)
    if other:
        lines.append(("in force", other))
    return lines + [line for line in _about_instrument(event) if line[1]]


def _measured(event: Message) -> str:
    said = amount(event["value"], event["unit"]) if event["value"] is not None else ""
    if event["lower_bound"] is not None:
        said = f"over range, at least {amount(event['lower_bound'], event['unit'])}"
    quantity = f" {_plain(event['quantity'])}" if event["quantity"] else ""
    raw = f", the instrument said {event['raw']!r}" if event["raw"] else ""
    return f"{said}{quantity}{raw}"


def _threshold(parameters: Mapping[str, object]) -> str:
    if "raise_usv_h" not in parameters:
        level = parameters.get("level")
        return f": {level} ({parameters.get('authority')})" if level else ""
    return (
        f": {parameters['level']} at {amount(parameters['raise_usv_h'], 'µSv/h')} or above, "
        f"cleared below {amount(parameters['clear_usv_h'], 'µSv/h')} ({parameters['authority']})"
    )


def _test(known: Mapping[str, object], statistic: Message) -> str:
    """Counts against what was expected, and how improbable that is without a source."""
    parts = []
    if "counts" in statistic:
        window = f" in {amount(known['window_s'], 's')}" if "window_s" in known else ""
        parts.append(f"{amount(statistic['counts'])} counts{window}")
    expected = _expected(statistic)
    if expected is not None:
        parts.append(f"{amount(expected)} expected")
    if "threshold" in statistic:
        parts.append(f"threshold {amount(statistic['threshold'])}")
    if "p_value" in statistic:
        allowed = f" (at most {known['alpha']:.3g} a test)" if "alpha" in known else ""
        parts.append(f"p-value {statistic['p_value']:.3g}{allowed}")
    rest = worded(statistic, _TOLD_ELSEWHERE)
    return ", ".join([*parts, rest] if rest else parts)


def _expected(statistic: Message) -> float | None:
    """The counts expected in the window, as told or from the background counts beside it."""
    told = statistic.get("expected_counts", statistic.get("expected"))
    if told is not None:
        return float(told)
    names = ("background_counts", "background_live_s", "window_s")
    counts, live_s, window_s = (float(statistic.get(name, 0.0)) for name in names)
    return counts / live_s * window_s if live_s > 0 else None


def _about_instrument(event: Message) -> Lines:
    position = event["position"]
    place = ""
    if position is not None:
        place = f"{position['latitude']:.5f} {position['longitude']:.5f}, {position['source']}"
    return [
        ("said", event["text"]),
        ("flags", ", ".join(event["flags"])),
        ("its own alarms", ", ".join(event["device_alarms"])),
        ("position", place),
        ("off the list", ", ".join(hiding(event))),
    ]


def _levels(last: Message, decided: Sequence[Message]) -> Lines:
    """Each level that was reached, and on whose authority it is one."""
    authority = {
        parameters["level"]: parameters["authority"]
        for parameters in (event["rule"]["parameters"] for event in decided)
        if "level" in parameters
    }
    lines: Lines = []
    for each in last["levels"]:
        until = f" to {each['left']}" if each["left"] else ""
        by = f" ({authority[each['level']]})" if each["level"] in authority else ""
        lines.append(("levels" * (not lines), f"{each['level']} from {each['at']}{until}{by}"))
    return lines


def _history(events: Sequence[Message]) -> Iterator[str]:
    """One line an event; announcements that only repeat are told once, with their number."""
    for kind, group in groupby(events, key=itemgetter("event")):
        same = list(group)
        if kind == "re_alarmed" and len(same) > 1:
            yield f"{same[0]['time']}  announced again, {len(same)} times to {same[-1]['time']}"
        else:
            yield from map(_happened, same)


def _happened(event: Message) -> str:
    is_measured = event["value"] is not None and event["event"] in _MEASURED
    value = f" {amount(event['value'], event['unit'])}" if is_measured else ""
    actor = f" by {event['actor']}" if event["actor"] else ""
    note = f": {event['note']}" if event["note"] else ""
    return f"{event['time']}  {_plain(event['event'])}{value}{actor}{note}"
