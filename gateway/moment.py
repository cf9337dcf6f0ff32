"""Why no alarm was raised at a moment: what was measured, what watched, what would have been found.

All of it comes from the journal: samples, the standings of the rules (told every minute and when
one is armed or disarmed), alarms that were open, and commands that were carried out.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from drivers.api import Channel, Flag
from gateway.alarms.profiles import LevelSetting
from gateway.alarms.record import is_radiation
from gateway.explanation import Lines, amount, hiding, worded
from gateway.journal.look import JournalLook, Message, measured_at
from gateway.wire.table import iso

AROUND_S: Final = 5.0
LOOK_BACK_S: Final = 600.0
"""So far back a reading or a standing is looked for; standings are told every minute."""
_BEGIN: Final = {
    "shelve": "shelved",
    "maintenance": "maintenance",
    "test_source": "test source",
    "duty": "duty",
}


@dataclass(frozen=True, slots=True)
class OrderThen:
    """An order that was in force: what, by whom, why, and until when on the wall clock."""

    what: str
    user: str
    reason: str
    until: float


@dataclass(frozen=True, slots=True)
class Moment:
    """What the journal knows of a detector at a time; lists are in order of time.

    ``alarms`` are the newest events of those that were open. ``levels`` are the absolute ones, as
    the configuration has them now; empty where none was given.
    """

    detector: str
    at: float
    samples: Sequence[Message]
    before: Message | None
    watch: Message | None
    alarms: Sequence[Message]
    orders: Sequence[OrderThen]
    levels: Sequence[LevelSetting] = field(default=())

    @property
    def is_known(self) -> bool:
        """Whether the journal has anything of it."""
        return bool(self.samples or self.before or self.watch or self.alarms)


def look_at(
    look: JournalLook, detector: str, at: float, levels: Sequence[LevelSetting] = ()
) -> Moment:
    """The moment as the journal has it."""
    return Moment(
        detector,
        at,
        list(look.around(detector, "sample", at - AROUND_S, at + AROUND_S)),
        look.last(detector, "sample", at, LOOK_BACK_S),
        look.last(detector, "watch", at, LOOK_BACK_S),
        _open_then(look.history(detector), at),
        _orders_then(look.answers(), detector, at),
        levels,
    )


def _open_then(history: Iterable[Message], at: float) -> list[Message]:
    """The newest event, not later than that, of every alarm that was not closed."""
    seen: dict[str, Message] = {}
    for event in history:
        if measured_at(event) <= at:
            seen.setdefault(event["occurrence"], event)
    return [event for event in reversed(seen.values()) if not event["closed_at"]]


def _orders_then(answers: Iterable[Message], detector: str, at: float) -> list[OrderThen]:
    """Orders that had been given and were not over: the newest of each kind decides."""
    decided: set[str] = set()
    found = []
    for answer in answers:
        given: Message = answer["arguments"]
        if given.get("detector") != detector or not answer["accepted"]:
            continue
        if measured_at(answer) > at:
            continue
        name = answer["name"].removeprefix("un")
        key = f"{name} {given.get('level', '')}"
        if name in _BEGIN and key not in decided:
            decided.add(key)
            order = _begun(answer, given)
            if order is not None and order.until > at:
                found.append(order)
    return found


def _begun(answer: Message, given: Message) -> OrderThen | None:
    """The order that an answer says has begun; None where it says that one ended."""
    name, duty = answer["name"], given.get("state")
    ended = str(given.get("on", "True")).lower() == "false" or duty == "on_duty"
    if name not in _BEGIN or ended:
        return None
    what = {"shelve": f"{given.get('level')} shelved", "duty": str(duty)}.get(name, _BEGIN[name])
    until = measured_at(answer) + float(given.get("duration_s", 0.0))
    return OrderThen(what, answer["user"], str(given.get("reason", "")), until)


def explain_moment(moment: Moment) -> Lines:
    """The whole story, in plain words."""
    lines: Lines = [("detector", f"{moment.detector} at {iso(moment.at)}")]
    lines += _labelled("alarms", _alarm_lines(moment.alarms))
    lines += _labelled("state", _state_lines(moment))
    lines += _labelled("orders", map(_order_line, moment.orders))
    lines += _labelled("values", map(_value_line, moment.samples))
    lines += _labelled("rules", _rule_lines(moment))
    lines += _labelled("levels", _level_lines(moment))
    return lines


def _labelled(label: str, texts: Iterable[str]) -> Lines:
    return [(label * (not number), text) for number, text in enumerate(texts)]


def _alarm_lines(alarms: Sequence[Message]) -> Iterator[str]:
    if not any(is_radiation(event["alarm"]) for event in alarms):
        yield "no radiation alarm was open"
    for event in alarms:
        stands = "active" if event["active"] else "returned, not closed"
        words = [stands, *(["stale"] if event["stale"] else []), *hiding(event)]
        yield (
            f"{event['alarm']} {event['level']} was {', '.join(words)}: "
            f"dosegate why {event['occurrence']}"
        )


def _state_lines(moment: Moment) -> Iterator[str]:
    before = moment.before
    if before is None:
        yield f"nothing was heard of it in the {LOOK_BACK_S / 60:g} minutes before"
        return
    yield f"last reading {moment.at - measured_at(before):.1f} s before"
    flags = {*before["flags"], *(flag for each in before["readings"] for flag in each["flags"])}
    if flags:
        yield f"flagged {', '.join(sorted(flags))}"


def _order_line(order: OrderThen) -> str:
    return f"{order.what} by {order.user} until {iso(order.until)}: {order.reason}"


def _value_line(sample: Message) -> str:
    shown = [
        f"{each['channel']}{each['part'] and ' ' + each['part']} {_reading(each)}"
        for each in sample["readings"]
        if (each["value"] is not None or each["lower_bound"] is not None)
        and (each["value"] or not each["channel"].startswith("device_"))
    ]
    return f"{sample['time']}  {', '.join(shown) or 'no number'}"


def _reading(reading: Message) -> str:
    if reading["value"] is None:
        return f"over {amount(reading['lower_bound'], reading['unit'])}"
    return amount(reading["value"], reading["unit"])


def _rule_lines(moment: Moment) -> Iterator[str]:
    watch = moment.watch
    if watch is None:
        yield "no standing of its rules was told: none counts, or the gateway was not running"
        return
    for rule in watch["rules"]:
        facts: Message = dict(rule["facts"])
        if not rule["armed"]:
            yield f"{rule['rule']} was not armed: {rule['reason']}"
            continue
        rise, unit = facts.pop("smallest_rise", None), facts.pop("smallest_unit", "")
        least = "" if rise is None else f": from {amount(rise, unit)} above the background on"
        yield f"{rule['rule']} was armed{least}"
        if facts:
            yield f"    {worded(facts)}"
    yield f"so it stood {moment.at - measured_at(watch):.0f} s before"
    if smallest_rises(watch):
        yield "a rise of that size is found in one case of two"


def _level_lines(moment: Moment) -> Iterator[str]:
    """The lowest level and how far the largest dose rate around was from it."""
    if not moment.levels:
        yield "name the configuration with -c to see the levels"
        return
    lowest = moment.levels[0]
    yield f"the lowest is {lowest.id}, {lowest.raise_at:g} µSv/h ({lowest.authority})"
    rates = [
        each
        for sample in moment.samples
        for each in sample["readings"]
        if each["channel"] == Channel.DOSE_RATE and each["value"] is not None
    ]
    if not rates:
        yield "there was no dose rate"
        return
    largest = max(each["value"] for each in rates)
    missing = lowest.raise_at - largest
    more = f", {missing:.3g} µSv/h below it" if missing > 0 else ""
    yield f"the largest dose rate around was {largest:.3g} µSv/h{more}"
    if any(Flag.ESTIMATED_FROM_COUNTS in each["flags"] for each in rates):
        yield "where it is an estimate, so many counts must be improbable below the level as well"


def smallest_rises(watch: Message | None) -> list[Message]:
    """The smallest rise that each armed rule would have found."""
    return [
        {
            "rule": rule["rule"],
            "rise": rule["facts"]["smallest_rise"],
            "unit": rule["facts"].get("smallest_unit", ""),
        }
        for rule in (watch["rules"] if watch is not None else ())
        if rule["armed"] and "smallest_rise" in rule["facts"]
    ]
