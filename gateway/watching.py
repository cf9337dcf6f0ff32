"""What somebody who watches gateways over MQTT must see, as data and as text."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from gateway import board
from gateway.alarms.record import is_radiation
from gateway.consumer.consumer import Consumer
from gateway.consumer.values import SILENT_S, Finding, Gateway, Held, Kind

FIRST: Final = 3
"""So many new alarms are named, then "N more"."""
MISSED: Final = 1000
"""Own choice: so many alarms that came and went unseen are kept."""
RANGES_SHOWN: Final = 5
_BEST_FIRST: Final = ("online", "stopping", "lost", "unknown")
_SILENT: Final = ("lost", "unknown")
_ALARM: Final[Mapping[str, object]] = MappingProxyType(
    {
        "priority": 0,
        "active": True,
        "acknowledged": False,
        "latched": False,
        "stale": False,
        "value": None,
        "peak": None,
        "raised": "",
        **dict.fromkeys(("level", "detector", "alarm", "unit", "occurrence"), "?"),
    }
)
"""Where a gateway leaves something out, the worse is assumed."""

Shown = dict[str, Any]


@dataclass(slots=True)
class Source:
    """One broker as it is followed."""

    broker: str
    consumer: Consumer
    error: str = "not connected yet"


@dataclass(slots=True)
class Unseen:
    """Alarms of which events came, and which were over before anybody could see them here."""

    told: dict[tuple[str, str], Shown] = field(default_factory=dict)
    seen: set[tuple[str, str]] = field(default_factory=set)

    def note(self, event: Shown) -> None:
        """An event of an alarm that came, late or not, once each."""
        key = (str(event.get("gateway")), str(event.get("occurrence")))
        if key in self.told or event.get("event") in ("raised", "escalated"):
            before = self.told.get(key, {"epoch": -1, "seq": -1})
            if (event["epoch"], event["seq"]) > (before["epoch"], before["seq"]):
                self.told[key] = event
        while len(self.told) > MISSED:
            del self.told[next(iter(self.told))]

    def show(self, alarms: Iterable[Shown]) -> list[Shown]:
        """What came and went; ``alarms`` are on the board now."""
        shown = {(str(each["gateway"]), str(each["occurrence"])) for each in alarms}
        self.seen = (self.seen | shown) & (self.told.keys() | shown)
        return [
            event
            for key, event in self.told.items()
            if key not in self.seen and not event.get("acknowledged")
        ]

    def acknowledge(self, word: str) -> None:
        """The reader has seen one of them, or all."""
        for key in list(self.told):
            if word in ("all", key[1]) and key not in self.seen:
                del self.told[key]


def picture(sources: Sequence[Source], unseen: Unseen, now: float) -> Shown:
    """Everything, with each gateway as the broker knows it that hears it best."""
    best: dict[str, tuple[Source, Gateway]] = {}
    for source in sources:
        for gateway in source.consumer.gateways.values():
            known = best.get(gateway.id)
            if known is None or _rank(gateway, now) < _rank(known[1], now):
                best[gateway.id] = (source, gateway)
    found = [best[name] for name in sorted(best)]
    alarms = [row for _, gateway in found for row in _alarms(gateway, now)]
    alarms.sort(key=_worst_first)
    return {
        "brokers": [{"broker": each.broker, "error": each.error} for each in sources],
        "gateways": [_gateway(source, gateway, now) for source, gateway in found],
        "alarms": alarms,
        "detectors": [row for _, gateway in found for row in _detectors(gateway, now)],
        "missed": unseen.show(alarms),
    }


def _rank(gateway: Gateway, now: float) -> tuple[int, float]:
    return _BEST_FIRST.index(gateway.state(now)), -(gateway.beat_at or 0.0)


def _worst_first(row: Shown) -> tuple[object, ...]:
    priority = row["priority"]
    is_number = isinstance(priority, int)
    rank = board.urgency(row["active"], row["acknowledged"])
    is_technical = not is_radiation(str(row["alarm"]))
    known = priority if is_number else 0
    return row["exercise"], known, rank, is_technical, str(row["raised"])


def _gateway(source: Source, gateway: Gateway, now: float) -> Shown:
    gaps = list(gateway.gaps())
    return {
        "gateway": gateway.id,
        "broker": source.broker,
        "state": gateway.state(now),
        "silent_s": None if gateway.beat_at is None else round(now - gateway.beat_at, 1),
        "epoch": gateway.epoch,
        "missing": sum(last - first + 1 for _, _, (first, last) in gaps),
        "gaps": [
            {"lane": lane, "epoch": epoch, "first": first, "last": last}
            for lane, epoch, (first, last) in gaps
        ],
    }


def _alarms(gateway: Gateway, now: float) -> Iterator[Shown]:
    for exercise in (False, True):
        for held in gateway.alarms(exercise=exercise):
            yield {
                **_ALARM,
                **held.body,
                "gateway": gateway.id,
                "exercise": exercise,
                "mark": gateway.mark(held, now),
                "age_s": _age_s(gateway, held, now),
            }


def _age_s(gateway: Gateway, held: Held, now: float) -> float | None:
    """By the gateway's own clock alone: from its own time to its last heartbeat, then on ours."""
    if gateway.beat_at is None:
        return None
    try:
        raised = datetime.fromisoformat(str(held.body["raised"]))
        beat = datetime.fromisoformat(gateway.beat_time)
        return round(max(0.0, (beat - raised).total_seconds() + now - gateway.beat_at), 1)
    except (ValueError, KeyError, TypeError):
        return None


def _detectors(gateway: Gateway, now: float) -> Iterator[Shown]:
    """Those that are not well, or of which nothing is known."""
    for exercise in (False, True):
        for held in gateway.detectors(exercise=exercise):
            mark = gateway.mark(held, now)
            if mark == "unknown" or held.body.get("state") != "ok":
                reasons = held.body.get("reasons")
                yield {
                    "gateway": gateway.id,
                    "exercise": exercise,
                    "detector": str(held.body.get("detector", "?")),
                    "state": str(held.body.get("state", "?")),
                    "reasons": reasons if isinstance(reasons, list) else [],
                    "mark": mark,
                }


def announce(new: Sequence[Shown]) -> str:
    """New alarms in one line: the first few, then how many more."""
    names = [
        f"{'EXERCISE ' if each['exercise'] else ''}{each['level']} {each['gateway']}/"
        f"{each['detector']} {each['alarm']}"
        for each in new[:FIRST]
    ]
    more = [f"{len(new) - FIRST} more"] if len(new) > FIRST else []
    return board.harmless(f"NEW: {', '.join(names + more)}") if names else ""


def render(shown: Shown, *, colour: bool, rows: int | None = None) -> str:
    """The picture as lines of text; of alarms at most ``rows``, the worst ones."""
    parts = [_gateway_lines(shown, colour)]
    parts += [_missed_lines(shown["missed"], colour)]
    for exercise in (False, True):
        alarms = [each for each in shown["alarms"] if each["exercise"] is exercise]
        detectors = [each for each in shown["detectors"] if each["exercise"] is exercise]
        if exercise and (alarms or detectors):
            banner = "=== EXERCISE === EXERCISE === what follows is simulated === EXERCISE ==="
            parts.append([_painted(banner, "\033[1;7;35m", colour)])
        if alarms or not exercise:
            parts.append(_alarm_lines(alarms, colour, rows) or [_none(shown["gateways"])])
        parts.append(_detector_lines(detectors, colour))
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


def _gateway_lines(shown: Shown, colour: bool) -> list[str]:
    lines = [
        _painted(board.harmless(f"{each['broker']}: {each['error']}"), board.RED, colour)
        for each in shown["brokers"]
        if each["error"]
    ]
    if not shown["gateways"]:
        return [*lines, _painted("FEED SILENT: no gateway is heard", board.RED, colour)]
    rows = [("gateway", "state", "heard", "epoch", "missing", "by", "")]
    rows += [
        (
            each["gateway"],
            each["state"],
            board.age(each["silent_s"]),
            str(each["epoch"]),
            str(each["missing"]),
            each["broker"],
            _trouble(each),
        )
        for each in shown["gateways"]
    ]
    head, *table = board.table(rows)
    states = [each["state"] for each in shown["gateways"]]
    painted = [
        _painted(line, board.RED if state in _SILENT else "", colour)
        for line, state in zip(table, states, strict=True)
    ]
    return [*lines, head, *painted, *_gap_lines(shown["gateways"], colour)]


def _trouble(gateway: Shown) -> str:
    if gateway["state"] == "lost":
        return "GATEWAY LOST: nothing below is known to be so"
    if gateway["state"] == "stopping":
        return "stopped in order: nothing below is known to be so"
    if gateway["state"] == "online":
        return ""
    waits = gateway["silent_s"] is None
    return "no heartbeat yet" if waits else f"FEED SILENT for over {SILENT_S:g} s"


def _gap_lines(gateways: Iterable[Shown], colour: bool) -> list[str]:
    lines = []
    for each in gateways:
        told = [
            f"{gap['lane']}/{gap['epoch']} {gap['first']}-{gap['last']}"
            for gap in each["gaps"][:RANGES_SHOWN]
        ]
        if len(each["gaps"]) > RANGES_SHOWN:
            told.append(f"{len(each['gaps']) - RANGES_SHOWN} more ranges")
        if told:
            text = f"missing of {each['gateway']}: {', '.join(told)}"
            lines.append(_painted(board.harmless(text), board.YELLOW, colour))
    return lines


def _missed_lines(missed: Sequence[Shown], colour: bool) -> list[str]:
    if not missed:
        return []
    rows = [
        (
            f"  {each.get('level')}",
            f"{each.get('gateway')}/{each.get('detector')}",
            str(each.get("alarm")),
            f"raised {each.get('raised')}",
            f"now {each.get('event')}",
            f"acknowledge: {each.get('occurrence')}",
        )
        for each in missed
    ]
    head = "came and went unseen here (type its id, or all, and Enter to acknowledge):"
    return [_painted(line, board.RED, colour) for line in (head, *board.table(rows))]


def _alarm_lines(alarms: list[Shown], colour: bool, rows: int | None) -> list[str]:
    if not alarms:
        return []
    listed = [each for each in alarms if not board.is_hidden(each)]
    hidden = len(alarms) - len(listed)
    kept = listed if rows is None else listed[: max(FIRST, rows)]
    lines = _alarm_table(kept, colour) if kept else ["no alarms on the list"]
    if len(listed) > len(kept):
        lines.append(_painted(f"and {len(listed) - len(kept)} more", board.RED, colour))
    if hidden:
        lines.append(_painted(f"hidden (shelved, out of service): {hidden}", board.DIM, colour))
    return lines


def _none(gateways: Sequence[Shown]) -> str:
    """No alarm is known; that there is none can be said only of gateways that are heard."""
    silent = [each["gateway"] for each in gateways if each["state"] != "online"]
    if silent:
        return board.harmless(f"no alarms known; nothing is known of {', '.join(silent)}")
    return "no alarms" if gateways else "nothing is known of alarms"


def _alarm_table(alarms: list[Shown], colour: bool) -> list[str]:
    table = [("P", "level", "gateway/detector", "alarm", "value", "age", "state", "occurrence")]
    table += [
        (
            str(each["priority"]),
            str(each["level"]),
            f"{each['gateway']}/{each['detector']}",
            str(each["alarm"]),
            _amount(each["value"], each["unit"]),
            "" if each["age_s"] is None else board.age(each["age_s"]),
            _alarm_state(each),
            str(each["occurrence"]),
        )
        for each in alarms
    ]
    head, *lines = board.table(table)
    colours = [
        board.YELLOW if each["mark"] == "unknown" or not each["active"] else board.RED
        for each in alarms
    ]
    pairs = zip(lines, colours, strict=True)
    return [head, *(_painted(line, paint, colour) for line, paint in pairs)]


def _alarm_state(alarm: Shown) -> str:
    told = board.alarm_state(alarm)
    if alarm["mark"] == "unknown":
        return f"UNKNOWN (was {told})"
    return f"{told}, stale" if alarm["mark"] == "stale" and not alarm["stale"] else told


def _detector_lines(detectors: Sequence[Shown], colour: bool) -> list[str]:
    if not detectors:
        return []
    rows = [("gateway/detector", "state", "why")]
    rows += [
        (
            f"{each['gateway']}/{each['detector']}",
            f"UNKNOWN (was {each['state']})" if each["mark"] == "unknown" else each["state"],
            "; ".join(map(str, each["reasons"])),
        )
        for each in detectors
    ]
    head, *lines = board.table(rows)
    return [head, *(_painted(line, board.YELLOW, colour) for line in lines)]


def _amount(value: object, unit: object) -> str:
    return f"{value:.3g} {unit}" if isinstance(value, int | float) else ""


def _painted(line: str, paint: str, colour: bool) -> str:
    return f"{paint}{line}{board.PLAIN}" if colour and paint else line


def tell(finding: Finding) -> str:
    """A finding as one line, empty where the board itself shows it."""
    where = f"{finding.lane}/{finding.epoch} {finding.first}-{finding.last}"
    match finding.kind:
        case Kind.MALFORMED:
            return board.harmless(f"{finding.gateway}: malformed message: {finding.detail}")
        case Kind.LOST:
            return board.harmless(f"{finding.gateway}: {where} lost: {finding.detail}")
        case Kind.GIVEN_UP:
            return board.harmless(f"{finding.gateway}: {where} will not come, given up")
        case Kind.END_UNKNOWN:
            text = f"{finding.lane}/{finding.epoch}: it may have had more than came here"
            return board.harmless(f"{finding.gateway}: {text}")
        case Kind.RESUBSCRIBE:
            return board.harmless(f"{finding.gateway}: {finding.detail}; asked for it anew")
    return ""
