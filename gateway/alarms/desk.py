"""The operators' desk: each command as one method, refused with a reason where it does not fit.

What a command may do, and to whom, is decided by rights first; here it meets the state of the
alarms. Nothing on this desk calls a field normal: supervised close says that nothing was verified,
an accepted background is met by valid readings or not, and with it the baseline goes.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from gateway.alarms import handling
from gateway.alarms.assessment import Assessment, Assessments
from gateway.alarms.detector import DetectorAlarms
from gateway.alarms.homes import Home, Homes
from gateway.alarms.lifecycle import Refusal, Severity, Step
from gateway.alarms.orders import (
    LONGEST_DUTY_S,
    LONGEST_MAINTENANCE_S,
    LONGEST_SHELF_S,
    LONGEST_SILENCE_S,
    LONGEST_TEST_SOURCE_S,
    Order,
    limited,
)
from gateway.alarms.profiles import discrete
from gateway.alarms.record import AlarmRecord, Change, Evidence, Rule
from gateway.alarms.rights import Rights
from gateway.alarms.service import is_service
from gateway.values import Command, Instant

Told = list[tuple[Home, Change]]
Done = tuple[str, Told]
REPORT_PRIORITY: Final = 3
LONGEST_SURVEY_S: Final = 3600.0
LONGEST_BASELINE_S: Final = 14 * 86_400.0
_REPORT_RULE: Final = Rule("information_alert", 1)
_PRIORITY_OF_LEVEL: Final = {
    **dict.fromkeys(("R5", "R6", "R7", "R8", "N1", "D3", "D4", "D5"), 1),
    **dict.fromkeys(("R4", "D1", "D2", "I1"), 2),
}
LEVELS: Final = frozenset(
    (
        *("R1", "R2", "R3", "R4", "R5", "R6", "R7", "R8"),
        *("N1", "D1", "D2", "D3", "D4", "D5", "I1", "I2"),
        *("H1", "H2", "device"),
    )
)


class Desk:
    """Carries out commands; every method raises Refusal."""

    def __init__(
        self,
        homes: Homes,
        assessments: Assessments,
        rights: Rights,
        posts: frozenset[str],
        *,
        exercise: bool,
    ) -> None:
        self._exercise = exercise
        self._posts = posts
        self._homes = homes
        self._assessments = assessments
        self._rights = rights
        self._commands: dict[str, Callable[[Command, Instant], Done]] = {
            "acknowledge": self._acknowledge,
            "reset": self._reset,
            "shelve": self._shelve,
            "unshelve": self._unshelve,
            "silence": self._silence,
            "close": self._close,
            "assess": self._assess,
            "report": self._report,
            "maintenance": self._maintenance,
            "test_source": self._test_source,
            "duty": self._duty,
            "baseline": self._baseline,
            "commission": self._commission,
            "replace": self._replace,
            "new_wearer": self._new_wearer,
            "stop_exercise": self._stop_exercise,
        }

    def carry_out(self, command: Command, now: Instant) -> Done:
        """One command: what is said of it, and what it changed."""
        known = self._commands.get(command.name)
        if known is None:
            raise Refusal("unknown command")
        return known(command, now)

    # Alarms.

    def _acknowledge(self, command: Command, now: Instant) -> Done:
        occurrence = command.get("occurrence")
        if self._homes.find(occurrence) is None and occurrence in self._homes.closed:
            record = self._homes.closed[occurrence]
            self._rights.check(command, record)
            return self._acknowledge_closed(record), []
        home, record = self._open(command)
        changes = home.acknowledge(record, command.user, _revision(command), now)
        return changes[0].note, _of(home, changes)

    def _acknowledge_closed(self, record: AlarmRecord) -> str:
        """The second of two who acknowledge at the same time, when the first one closed it."""
        detector = self._homes.detectors.get(record.detector)
        newer = None if detector is None else detector.book.records.get(record.alarm)
        if newer is not None:
            raise Refusal(f"stale: {record.occurrence} is over, {newer.occurrence} is open now")
        if not record.acknowledged:
            raise Refusal(f"stale: {record.occurrence} is closed")
        return f"already acknowledged by {record.acknowledged_by}, and closed"

    def _reset(self, command: Command, now: Instant) -> Done:
        home, record = self._open(command)
        note, changes = home.reset(record, command.user, now)
        return note, _of(home, changes)

    def _silence(self, command: Command, now: Instant) -> Done:
        home, record = self._open(command)
        if not record.active:
            raise Refusal(f"{record.occurrence} is not active: there is nothing to silence")
        order = _order(command, "silenced", LONGEST_SILENCE_S, now)
        home.book.orders.silenced[record.occurrence] = order
        return _lasts(order, now), _of(home, home.book.revise(now, order.reason, command.user))

    def _close(self, command: Command, now: Instant) -> Done:
        home, record = self._open(command)
        reason = _reason(command)
        _check_gone(home, record, now)
        is_unverified = record.active and record.alarm != "report"
        note = f"closed, not verified normal: {reason}" if is_unverified else reason
        step = handling.closed(record, now, unverified=is_unverified)
        return note, _closed(home, step, now, note, command.user)

    def _assess(self, command: Command, now: Instant) -> Done:
        occurrence = command.get("occurrence")
        record = self._homes.known(occurrence)
        self._rights.check(command, record)
        about = self._assessments.get(occurrence)  # also of what was closed before the last start
        if about is None and record is not None:
            about = Assessment(occurrence, record.detector, exercise=record.exercise)
        if about is None:
            raise Refusal(f"no alarm is called {occurrence!r}")
        return self._assessments.assess(about, command, now), []

    def _report(self, command: Command, now: Instant) -> Done:
        self._rights.check(command)
        text = command.get("text").strip()
        if not text:
            raise Refusal("a report needs a text")
        given = command.get("dose_rate")
        value = _number("dose_rate", given) if given else None
        if value is not None and value < 0:
            raise Refusal(f"dose_rate: {given!r} is below zero")
        unit = "" if value is None else "µSv/h"
        evidence = Evidence(now, _REPORT_RULE, value=value, unit=unit, indicative=True, note=text)
        post = command.get("post") or None
        if post and post not in self._posts:
            raise Refusal(f"no post is called {post!r}; leave it out and say the place in the text")
        home = self._homes.report(exercise=self._exercise, post=post)
        severity = Severity("info", REPORT_PRIORITY, False)
        opened = home.book.open("report", evidence, ("info",), severity)
        changes = [replace(change, actor=command.user) for change in opened]
        return changes[0].record.occurrence, _of(home, changes)

    # Detectors.

    def _shelve(self, command: Command, now: Instant) -> Done:
        home, key, priority = self._shelf(command)
        found = home.book.records.values()
        least = min([priority, *(one.priority for one in found if key in (one.level, one.alarm))])
        order = _order(command, f"{key} shelved", LONGEST_SHELF_S[least], now)
        home.book.orders.shelves[key] = replace(order, least=least)
        return _lasts(order, now), _of(home, home.book.revise(now, order.reason, command.user))

    def _unshelve(self, command: Command, now: Instant) -> Done:
        home, key, _ = self._shelf(command)
        if home.book.orders.shelves.pop(key, None) is None:
            raise Refusal(f"{key} of {command.get('detector')} is not shelved")
        return "", _of(home, home.book.revise(now, command.get("reason"), command.user))

    def _shelf(self, command: Command) -> tuple[Home, str, int]:
        """Where, what, and its priority: a level of a detector, one alarm of the gateway itself.

        What the gateway says of itself is all of one level, and much of it has nothing in common.
        """
        place = command.get("detector")
        if not is_service(place):
            detector, level = self._detector(command), _level(command)
            return detector, level, _PRIORITY_OF_LEVEL.get(level, 3)
        self._rights.check(command)
        group, alarm = self._homes.groups.get(place), command.get("level")
        known = () if group is None else (*group.book.records, *group.book.orders.shelves)
        if group is None or alarm not in known:
            there = ", ".join(sorted(set(known))) or "none"
            raise Refusal(f"{place} has no alarm {alarm!r} now; there are: {there}")
        return group, alarm, discrete(alarm).priority

    def _maintenance(self, command: Command, now: Instant) -> Done:
        detector = self._detector(command)
        orders = detector.book.orders
        if _is_on(command):
            orders.maintenance = _order(command, "maintenance", LONGEST_MAINTENANCE_S, now)
        elif orders.maintenance is None:
            raise Refusal(f"{command.get('detector')} is not in maintenance")
        elif not detector.is_measuring(now):
            raise Refusal(
                f"{command.get('detector')} gives no valid reading: maintenance ends with one"
            )
        else:
            orders.maintenance = None
        return "", _of(detector, detector.book.revise(now, command.get("reason"), command.user))

    def _test_source(self, command: Command, now: Instant) -> Done:
        detector = self._detector(command)
        orders = detector.book.orders
        if _is_on(command):
            orders.test_source = _order(command, "test source", LONGEST_TEST_SOURCE_S, now)
        elif orders.test_source is None:
            raise Refusal(f"no test source is announced at {command.get('detector')}")
        else:
            orders.test_source = None
        return "", []

    def _duty(self, command: Command, now: Instant) -> Done:
        detector = self._detector(command)
        state = command.get("state")
        if state == "on_duty":
            detector.book.orders.duty = None
            if not detector.book.is_active("silence"):
                detector.silence.expect_from(now)
        elif state in LONGEST_DUTY_S:
            order = _order(command, state, LONGEST_DUTY_S[state], now)
            detector.book.orders.duty = order
        else:
            known = ", ".join(("on_duty", *LONGEST_DUTY_S))
            raise Refusal(f"{state!r} is no state of duty; there are {known}")
        return "", _of(detector, detector.book.revise(now, command.get("reason"), command.user))

    def _baseline(self, command: Command, now: Instant) -> Done:
        detector = self._detector(command)
        mode = command.get("mode")
        if mode == "withdraw":
            return detector.rules.withdraw(now), []
        self._check_cause(command, detector)
        if mode == "accept":
            reason = _reason(command)
            changes = detector.accept(now)
            return f"present background accepted: {reason}", _of(detector, changes)
        if mode != "survey":
            raise Refusal(f"{mode!r} is no mode of baseline; there are survey, accept, withdraw")
        seconds = _number("survey_s", command.get("survey_s", "120"))
        limited("a survey", seconds, LONGEST_SURVEY_S)
        order = _order(command, "baseline", LONGEST_BASELINE_S, now)
        return detector.rules.survey(seconds, order, now), []

    def _check_cause(self, command: Command, detector: DetectorAlarms) -> None:
        """A baseline is accepted only for a place whose cause was assessed."""
        for record in detector.book.records.values():
            # Accumulated dose says nothing of what is here now.
            is_here = record.active and record.is_radiation and record.alarm != "dose"
            if is_here and not self._assessments.is_assessed(record.occurrence):
                raise Refusal(
                    f"{record.alarm} {record.occurrence} is active and its cause is not assessed: "
                    "assess it with a disposition first"
                )

    def _commission(self, command: Command, now: Instant) -> Done:
        detector = self._detector(command)
        detector.commission(f"{command.user}: {_reason(command)}")
        return "source check recorded", []

    def _replace(self, command: Command, now: Instant) -> Done:
        detector = self._detector(command)
        serial = command.get("serial_number").strip()
        if not serial:
            raise Refusal("replace needs serial_number")
        _reason(command)
        detector.replace(serial)
        changes = detector.book.mark_stale(now, f"replaced by {serial}")
        return f"{command.get('detector')} is {serial} from now on", _of(detector, changes)

    def _new_wearer(self, command: Command, now: Instant) -> Done:
        detector = self._detector(command)
        reason = _reason(command)
        changes = detector.rules.new_wearer(now)
        return f"dose from zero: {reason}", _of(detector, changes)

    def _stop_exercise(self, command: Command, now: Instant) -> Done:
        self._rights.check(command)
        told: Told = []
        closed: Told = []
        for home in tuple(self._homes.all()):
            if isinstance(home, DetectorAlarms) and home.book.profile.exercise:
                told += _of(home, home.rules.exercise_over(now))
            for record in tuple(home.book.records.values()):
                if not record.exercise:
                    continue
                step = handling.closed(record, now, unverified=record.active)
                closed += _closed(home, step, now, "exercise over", command.user)
        return f"{len(closed)} alarms of the exercise closed", told + closed

    def _open(self, command: Command) -> tuple[Home, AlarmRecord]:
        home, record = self._homes.open(command.get("occurrence"))
        self._rights.check(command, record)
        return home, record

    def _detector(self, command: Command) -> DetectorAlarms:
        self._rights.check(command)
        return self._homes.detector(command.get("detector"))


def _of(home: Home, changes: Iterable[Change]) -> Told:
    return [(home, change) for change in changes]


def _closed(home: Home, step: Step, now: Instant, note: str, user: str) -> Told:
    alarm = step[0].alarm
    if isinstance(home, DetectorAlarms):
        home.abandon(alarm)  # while the record still says which rule keeps it
    return _of(home, home.book.apply(alarm, step, now, note, user))


def _check_gone(home: Home, record: AlarmRecord, now: Instant) -> None:
    """Supervised close of an active alarm is for a detector that is gone. Raises Refusal."""
    if not record.active or record.stale or record.alarm == "report":
        return
    name = record.occurrence
    if is_service(record.detector):
        raise Refusal(f"{name} ends by itself when its cause is gone; acknowledge it")
    if record.alarm == "silence" or not isinstance(home, DetectorAlarms):
        raise Refusal(f"{name} ends by itself; sign off duty what is not expected to speak")
    if record.is_radiation or home.silence.is_heard(now.mono):
        raise Refusal(
            f"{name} has valid data behind it: readings return it, "
            "supervised close is for a detector that is gone"
        )


def _reason(command: Command) -> str:
    reason = command.get("reason").strip()
    if not reason:
        raise Refusal(f"{command.name} needs a reason")
    return reason


def _order(command: Command, what: str, longest_s: float, now: Instant) -> Order:
    reason = _reason(command)
    seconds = _number("duration_s", command.get("duration_s"))
    return Order(what, command.user, reason, now.mono + limited(what, seconds, longest_s))


def _lasts(order: Order, now: Instant) -> str:
    """No time of day: the clock may be stepped, and the order ends all the same."""
    return f"for {(order.until - now.mono) / 60.0:g} min"


def _number(name: str, text: str) -> float:
    if not text:
        raise Refusal(f"{name} is missing: a number")
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise Refusal(f"{name}: {text!r} is not a number")
    return number


def _level(command: Command) -> str:
    level = command.get("level")
    if level not in LEVELS:
        raise Refusal(f"{level!r} is no level; there are {', '.join(sorted(LEVELS))}")
    return level


def _is_on(command: Command) -> bool:
    text = command.get("on", "True")
    if text not in ("True", "False", "true", "false"):
        raise Refusal(f"on: {text!r} is not true or false")
    return text in ("True", "true")


def _revision(command: Command) -> int | None:
    text = command.get("revision")
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise Refusal(f"{text!r} is not a revision") from None
