"""Messages to a story: series, alarms, states, passages, places. Pure.

Messages are those of ``simulate``, ``decode`` and ``journal export``; a body of the MQTT contract
is one as well. Nothing is smoothed, joined or filled in: a reading without a number stays one.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise
from statistics import median
from typing import Any, Final

from drivers.api import Channel, Flag
from gateway.alarms.record import AlarmEvent
from gateway.plot.values import (
    Alarm,
    DetectorStory,
    Fix,
    Globe,
    Happened,
    Passed,
    Point,
    Series,
    Shown,
    StateSpan,
    Story,
    Threshold,
)

Message = Mapping[str, Any]
SILENT_PERIODS: Final = 10
SILENT_S: Final = 10.0
"""Own choice: longer without a sample than ten usual periods and ten seconds is shown as silence;
portals send seldom while their lane is empty."""
_SHOWN: Final = {
    Channel.DOSE_RATE: Shown.DOSE_RATE,
    Channel.GAMMA_COUNTS: Shown.GAMMA,
    Channel.GAMMA_COUNT_RATE: Shown.GAMMA,
    Channel.NEUTRON_COUNTS: Shown.NEUTRON,
    Channel.NEUTRON_COUNT_RATE: Shown.NEUTRON,
}
_COUNTS: Final = (Channel.GAMMA_COUNTS, Channel.NEUTRON_COUNTS)
PER_SECOND: Final = "1/s"
_GROUP: Final = "@"


class BadMessage(ValueError):
    """A message of a known kind that is not as the contract says; the text says what is wrong."""


_Key = tuple[Shown, str, str, str]


@dataclass(slots=True)
class _Detector:
    """One detector in the making."""

    detector_class: str = ""
    post: str | None = None
    is_simulated: bool = False
    points: dict[_Key, list[Point]] = field(default_factory=dict)
    indicative: set[_Key] = field(default_factory=set)
    thresholds: dict[str, float] = field(default_factory=dict)
    states: list[StateSpan] = field(default_factory=list)
    passages: list[Passed] = field(default_factory=list)
    fixes: list[Fix] = field(default_factory=list)
    heard: list[float] = field(default_factory=list)


class Teller:
    """Takes messages in the order of their storing and tells the story of them.

    ``only``: these detectors and what groups they belong to; none: all. ``known``: all that were
    named.
    """

    def __init__(self, only: frozenset[str] = frozenset()) -> None:
        self._only = only
        self.known: set[str] = set()
        self._detectors: dict[str, _Detector] = {}
        self._events: dict[str, list[Message]] = {}
        self._takers: dict[str, Callable[[Message], None]] = {
            "sample": self._sample,
            "alarm_event": self._alarm_event,
            "state": self._state,
            "passage": self._passage,
            "about": self._about,
        }
        self._live: set[str] = set()
        self.passed_over = 0
        self.points = 0
        self.newest: float | None = None
        self.oldest: float | None = None

    def take(self, message: Message) -> None:
        """One more message. Raises BadMessage."""
        kind = message.get("kind")
        taker = self._takers.get(kind) if isinstance(kind, str) else None
        if taker is None:
            self.passed_over += 1
            return
        try:
            if self._is_wanted(message):
                taker(self._apart(message))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            missing = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise BadMessage(f"a message of kind {kind}: {missing}") from error

    def story(self, begin: float | None = None, end: float | None = None) -> Story:
        """All of it, or what lies between two times; what began before is kept."""
        first = self.oldest if begin is None else begin
        last = self.newest if end is None else end
        if first is None or last is None:
            return Story(begin or 0.0, end or 0.0, passed_over=self.passed_over)
        alarms = [
            alarm
            for alarm in map(_alarm, self._events.values())
            if alarm.raised <= last and _gone(alarm) >= first
        ]
        detectors = [
            _finished(name, made, first, last, [each for each in alarms if each.detector == name])
            for name, made in self._detectors.items()
        ]
        groups = [alarm for alarm in alarms if alarm.detector.startswith(_GROUP)]
        return Story(first, last, tuple(detectors), tuple(groups), self.passed_over)

    def _is_wanted(self, message: Message) -> bool:
        name = str(message["detector"])
        if name.startswith(_GROUP):
            return not self._only or bool(self._only & set(message["members"]))
        self.known.add(name)
        return not self._only or name in self._only

    def _apart(self, message: Message) -> Message:
        """What a drill lays over a live detector is drawn beside it, not among its readings."""
        name = str(message["detector"])
        if not str(message.get("lane", "")).startswith("exercise-"):
            self._live.add(name)
        elif name in self._live and not name.startswith(_GROUP):
            return {**message, "detector": f"{name} EXERCISE"}
        return message

    def _detector(self, message: Message) -> _Detector:
        return self._detectors.setdefault(str(message["detector"]), _Detector())

    def _note(self, time: float) -> None:
        self.oldest = time if self.oldest is None else min(self.oldest, time)
        self.newest = time if self.newest is None else max(self.newest, time)

    def _sample(self, message: Message) -> None:
        if message["time"] is None:
            self.passed_over += 1  # it was decoded from input without dates
            return
        time = _time(message["time"])
        made = self._detector(message)
        made.is_simulated |= Flag.SIMULATED in message["flags"]
        made.heard.append(time)
        self._note(time)
        at = _globe(message.get("position"))
        if at is not None:
            made.fixes.append(Fix(time, at))
        for reading in message["readings"]:
            if reading["channel"] in _SHOWN:
                key, point = _point(time, reading)
                made.points.setdefault(key, []).append(point)
                self.points += 1
                if Flag.INDICATIVE in reading["flags"]:
                    made.indicative.add(key)

    def _alarm_event(self, message: Message) -> None:
        self._note(_time(message["time"]))
        _check(message)
        self._events.setdefault(str(message["occurrence"]), []).append(message)
        if str(message["detector"]).startswith(_GROUP):
            return
        made = self._detector(message)
        made.is_simulated |= bool(message.get("exercise"))
        made.detector_class = message.get("class") or made.detector_class
        made.post = message.get("post") or made.post
        said = message["rule"]["parameters"]
        if "raise_usv_h" in said and "level" in said:
            made.thresholds[str(said["level"])] = float(said["raise_usv_h"])

    def _state(self, message: Message) -> None:
        made = self._detector(message)
        span = StateSpan(
            str(message["state"]), tuple(message["reasons"]), _time(message["since"]), None
        )
        if made.states and made.states[-1].begin == span.begin:
            made.states.pop()
        if made.states:
            made.states[-1] = replace(made.states[-1], end=span.begin)
        made.states.append(span)

    def _passage(self, message: Message) -> None:
        if message["start"] is None:
            return
        end = message["end"]
        passed = Passed(
            _time(message["start"]),
            None if end is None else _time(end),
            bool(message["gamma_alarm"]) or bool(message["neutron_alarm"]),
        )
        self._detector(message).passages.append(passed)
        self._note(passed.begin)

    def _about(self, message: Message) -> None:
        made = self._detector(message)
        made.detector_class = message["class"] or made.detector_class
        made.post = message["post"] or made.post
        made.thresholds |= {str(k): float(v) for k, v in message["thresholds"].items()}


def story_of(
    messages: Iterable[Message], begin: float | None = None, end: float | None = None
) -> Story:
    """The story of these messages, in their order. Raises BadMessage."""
    teller = Teller()
    for message in messages:
        teller.take(message)
    return teller.story(begin, end)


def _check(message: Message) -> None:
    """All keys that an alarm is made of later."""
    for name in ("event", "alarm", "level", "priority", "members"):
        _ = message[name]
    for name in ("raised", "returned", "closed_at"):
        if message[name] is not None:
            _time(message[name])


def _point(time: float, reading: Message) -> tuple[_Key, Point]:
    """Counts of a known time become a rate; others stay what was sent."""
    channel, unit = str(reading["channel"]), str(reading["unit"])
    value, window_s = reading["value"], reading["window_s"]
    bound = reading["lower_bound"]
    if channel in _COUNTS and window_s:
        unit = PER_SECOND
        value = None if value is None else value / window_s
        bound = None if bound is None else bound / window_s
    key = (_SHOWN[Channel(channel)], channel, str(reading["part"]), unit)
    return key, Point(time, None if value is None else float(value), bound)


def _alarm(events: list[Message]) -> Alarm:
    newest, first = events[-1], events[0]
    history = tuple(
        Happened(
            _time(each["time"]), each["event"], each["level"], each["value"], each["unit"] or ""
        )
        for each in events
    )
    returned, closed = newest["returned"], newest["closed_at"]
    positions = (_globe(each.get("position")) for each in events)
    return Alarm(
        occurrence=str(newest["occurrence"]),
        detector=str(newest["detector"]),
        alarm=str(newest["alarm"]),
        level=str(newest["level"]),
        priority=int(newest["priority"]),
        raised=_time(first["raised"]),
        returned=None if returned is None else _time(returned),
        closed=None if closed is None else _time(closed),
        history=history,
        stale=_stale(history),
        is_hidden=any(map(newest.get, ("suppressed_by", "shelved", "out_of_service"))),
        members=tuple(newest["members"]),
        at=next((at for at in positions if at is not None), None),
    )


def _stale(history: tuple[Happened, ...]) -> tuple[tuple[float, float | None], ...]:
    """The times in which nobody knew whether its condition still held."""
    spans: list[tuple[float, float | None]] = []
    begin = None
    for each in history:
        if each.event == AlarmEvent.STALE and begin is None:
            begin = each.time
        elif begin is not None and each.event in (AlarmEvent.FRESH, AlarmEvent.CLOSED):
            spans.append((begin, each.time))
            begin = None
    return (*spans, *(() if begin is None else ((begin, None),)))


def _gone(alarm: Alarm) -> float:
    """When it is no longer drawn."""
    return float("inf") if alarm.closed is None else alarm.closed


def _finished(
    name: str, made: _Detector, begin: float, end: float, alarms: list[Alarm]
) -> DetectorStory:
    series = [
        Series(*key, tuple(kept), key in made.indicative)
        for key, points in made.points.items()
        if (kept := [point for point in points if begin <= point.time <= end])
    ]
    thresholds = sorted(made.thresholds.items(), key=lambda each: each[1])
    return DetectorStory(
        id=name,
        detector_class=made.detector_class,
        post=made.post,
        is_simulated=made.is_simulated,
        series=tuple(series),
        thresholds=tuple(Threshold(level, value) for level, value in thresholds),
        alarms=tuple(alarms),
        states=tuple(s for s in made.states if s.begin <= end and (s.end is None or s.end > begin)),
        passages=tuple(p for p in made.passages if begin <= p.begin <= end),
        fixes=tuple(fix for fix in made.fixes if begin <= fix.time <= end),
        silences=_silences(made.heard, begin, end),
    )


def _silences(heard: list[float], begin: float, end: float) -> tuple[tuple[float, float], ...]:
    """The times without a sample, those before the first and after the last included."""
    if not heard:
        return ((begin, end),)
    times = sorted(heard)
    apart = [later - earlier for earlier, later in pairwise(times)]
    limit = max(SILENT_PERIODS * median(apart), SILENT_S) if apart else SILENT_S
    around = (min(begin, times[0]), *times, max(end, times[-1]))
    spans = [(a, b) for a, b in pairwise(around) if b - a > limit]
    return tuple((max(a, begin), min(b, end)) for a, b in spans if a < end and b > begin)


def _globe(position: Mapping[str, Any] | None) -> Globe | None:
    return None if position is None else Globe(position["latitude"], position["longitude"])


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
