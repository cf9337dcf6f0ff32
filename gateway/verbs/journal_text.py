"""The journal in words: one line a message, and how it stands."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from gateway.explanation import Lines, amount

Message = Mapping[str, Any]
_READINGS: Final = 3
"""So many readings fit on a line."""
_DAY_S, _HOUR_S, _MINUTE_S = 86_400.0, 3600.0, 60.0


def line(message: Message) -> str:
    """When, which number, about what, and what it says."""
    number = f"{message['lane']} {message['epoch']}/{message['seq']}"
    say = _SAYING.get(str(message.get("kind")), _plain)
    time = message.get("time") or "no time"
    return f"{time:24}  {number:26}  {' '.join(filter(None, say(message)))}"


def _sample(message: Message) -> Iterator[str]:
    yield message["detector"]
    shown = message["readings"][:_READINGS]
    yield ", ".join(_reading(each) for each in shown)
    if more := len(message["readings"]) - len(shown):
        yield f"and {more} more"
    yield _flags(message["flags"])


def _reading(reading: Message) -> str:
    name = reading["channel"] + (f"/{reading['part']}" if reading["part"] else "")
    if reading["value"] is not None:
        return f"{name} {amount(reading['value'], reading['unit'])}"
    bound = reading["lower_bound"]
    least = "no number" if bound is None else f"at least {amount(bound, reading['unit'])}"
    return f"{name} {least}"


def _flags(flags: list[str]) -> str:
    return f"[{', '.join(flags)}]" if flags else ""


def _alarm_event(message: Message) -> Iterator[str]:
    yield message["detector"]
    yield f"{message['event']} {message['alarm']} {message['level']}, {message['occurrence']}"
    if message["value"] is not None:
        yield f"at {amount(message['value'], message['unit'])}"
    if message["actor"]:
        yield f"by {message['actor']}"
    yield message["note"]


def _passage(message: Message) -> Iterator[str]:
    yield message["detector"]
    yield f"passage {message['number']}"
    alarms = [kind for kind in ("gamma", "neutron") if message[f"{kind}_alarm"]]
    yield f"ALARM {' '.join(alarms)}" if alarms else "no alarm"
    yield _flags(message["flags"])


def _answer(message: Message) -> Iterator[str]:
    given = ", ".join(f"{key} {value}" for key, value in message["arguments"].items())
    yield f"{message['user']}: {message['name']} {given}".rstrip()
    yield "done" if message["accepted"] else "refused"
    yield message["reason"]


def _watch(message: Message) -> Iterator[str]:
    yield message["detector"]
    armed = [rule["rule"] for rule in message["rules"] if rule["armed"]]
    yield f"{len(armed)} of {len(message['rules'])} rules armed"


def _lost(message: Message) -> Iterator[str]:
    yield f"LOST {message.get('count')} of {message.get('of_lane')}: {message.get('reason')}"


def _plain(message: Message) -> Iterator[str]:
    yield str(message.get("detector", ""))
    yield str(message.get("kind", "no kind"))
    yield str(message.get("occurrence", message.get("topic", "")))


_SAYING: Final[Mapping[str, Callable[[Message], Iterator[str]]]] = {
    "sample": _sample,
    "alarm_event": _alarm_event,
    "passage": _passage,
    "answer": _answer,
    "watch": _watch,
    "lost": _lost,
}


def status_lines(shown: Message) -> Lines:
    """How a journal stands."""
    lines: Lines = [("file", f"{shown['file']}, {_size(shown['bytes'])}{_bound(shown)}")]
    if shown["log_bytes"]:
        lines.append(("", f"and {_size(shown['log_bytes'])} in its log"))
    lines.append(("disk", f"{_size(shown['free'])} free{_ballast(shown['ballast'])}"))
    lines.append(("epoch", f"{shown['epoch']}, newest entry {shown['stored'] or 'none'}"))
    for name, at in shown["newest"].items():
        lines.append(("newest", f"{name} {at['epoch']}/{at['seq']}"))
    for sink in shown["sinks"]:
        lines += _sink(sink)
    for one in shown["quarantine"]:
        since = f"{one['first']} to {one['last']}"
        lines.append(
            (
                "refused",
                f"{one['count']} by {one['sink']}, {one['reason']}, {since}, {one['topic']}",
            )
        )
    for one in shown["lost"]:
        sinks = ", ".join(one["sinks"]) or "sinks not kept"
        lines.append(("lost", f"{one['count']} of {one['lane']}, owed to {sinks}: {one['reason']}"))
    lines += [("set aside", f"{one['file']}, {_size(one['bytes'])}") for one in shown["damaged"]]
    lines += [("ATTENTION", text) for text in shown["attention"]]
    return lines


def _bound(shown: Message) -> str:
    return "" if shown["bound"] is None else f" of at most {_size(shown['bound'])}"


def _ballast(ballast: Message) -> str:
    if ballast["bytes"] is None:
        return ", no ballast"
    return f", and {_size(ballast['bytes'])} of ballast"


def _sink(sink: Message) -> Lines:
    name = sink["sink"] + (" (not configured)" if sink["configured"] is False else "")
    if not sink["owed"]:
        return [("sink", f"{name}: owed nothing")]
    return [
        ("sink", f"{name}: owed {each['count']} of {each['lane']}{_oldest(each)}")
        for each in sink["owed"]
    ]


def _oldest(owed: Message) -> str:
    at = owed["oldest"]
    if at["time"] is None:
        return ""
    age = "" if owed["age_s"] is None else f", {_age(owed['age_s'])} old"
    return f", oldest {at['epoch']}/{at['seq']} of {at['time']}{age}"


def _age(seconds: float) -> str:
    for unit_s, name in ((_DAY_S, "d"), (_HOUR_S, "h"), (_MINUTE_S, "min")):
        if seconds >= unit_s:
            return f"{seconds / unit_s:.1f} {name}"
    return f"{seconds:.1f} s"


def _size(count: int) -> str:
    """In units of 1000, as the configuration has them."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} bytes"
