"""The orders of the command line: one table of names, arguments and what they become.

Each row is one command of the operators' desk. What a row does not say is refused by the gateway,
with its reason: limits, rights and the state of the alarms are known there alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from config.amounts import DOSE_RATE, AmountError
from gateway.alarms.assessment import GROUPS, STATES
from gateway.alarms.orders import LONGEST_DUTY_S
from gateway.verbs.duration import seconds

Scalar = str | float | bool
Read = Callable[[str], Scalar]
DUTIES: Final = ("on_duty", *LONGEST_DUTY_S)
MODES: Final = ("survey", "accept", "withdraw")


class BadValue(ValueError):
    """A word that is not what an argument takes; the text says what it takes."""


def _text(word: str) -> Scalar:
    return word


def _duration(word: str) -> Scalar:
    try:
        return seconds(word)
    except ValueError as error:
        raise BadValue(str(error)) from None


def _number(word: str) -> Scalar:
    try:
        return float(word)
    except ValueError:
        raise BadValue(f"{word!r} is not a number") from None


def _whole(word: str) -> Scalar:
    try:
        return int(word)
    except ValueError:
        raise BadValue(f"{word!r} is not a whole number") from None


def _dose_rate(word: str) -> Scalar:
    try:
        return DOSE_RATE.read(word)
    except AmountError as error:
        raise BadValue(f"{error}; {error.hint}") from None


def _on(word: str) -> Scalar:
    if word not in ("on", "off"):
        raise BadValue(f"{word!r} is not on or off")
    return word == "on"


def _one_of(choices: tuple[str, ...]) -> Read:
    def read(word: str) -> Scalar:
        if word not in choices:
            raise BadValue(f"{word!r} is not one of {', '.join(choices)}")
        return word

    return read


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument: ``flag`` as typed (a word without dashes is positional), ``key`` as sent."""

    flag: str
    key: str
    help: str
    required: bool = False
    read: Read = _text

    @property
    def is_positional(self) -> bool:
        """Whether it has no name on the command line."""
        return not self.flag.startswith("-")


@dataclass(frozen=True, slots=True)
class OrderVerb:
    """One order. ``done`` is said of it when the gateway has nothing to add."""

    name: str
    help: str
    arguments: tuple[Argument, ...]
    done: str
    command: str = ""
    all_waiting: bool = False
    """Without an occurrence it is given for every alarm that waits."""

    @property
    def sent(self) -> str:
        """The command's name in the contract."""
        return self.command or self.name.replace("-", "_")


_OCCURRENCE: Final = Argument("OCCURRENCE", "occurrence", "id of the alarm, as on the board", True)
_DETECTOR: Final = Argument("DETECTOR", "detector", "its id", True)
_LEVEL: Final = Argument("LEVEL", "level", "such as R3 or H1", True)
_WHY: Final = Argument("--reason", "reason", "why; kept with the order", True)
_WHY_ANY: Final = Argument("--reason", "reason", "why; kept with the order")
_FOR: Final = Argument("--for", "duration_s", "how long, such as 10min", True, _duration)
_FOR_ANY: Final = Argument("--for", "duration_s", "how long, such as 2h", False, _duration)
_SWITCH: Final = Argument("on|off", "on", "whether it begins or ends", True, _on)

ORDERS: Final = (
    OrderVerb(
        "ack",
        "acknowledge alarms on this laptop",
        (
            Argument("OCCURRENCE", "occurrence", "id of the alarm; without it, all that wait"),
            Argument("--revision", "revision", "the revision that was seen", False, _whole),
        ),
        "acknowledged",
        "acknowledge",
        all_waiting=True,
    ),
    OrderVerb("reset", "take the latch off an alarm that is over", (_OCCURRENCE,), "reset"),
    OrderVerb(
        "shelve",
        "keep a detector's alarms of one level off the list for a while",
        (_DETECTOR, _LEVEL, _FOR, _WHY),
        "shelved",
    ),
    OrderVerb(
        "unshelve",
        "put them back on the list",
        (_DETECTOR, _LEVEL, _WHY_ANY),
        "back on the list",
    ),
    OrderVerb(
        "silence",
        "take the sound off an active alarm for a while",
        (_OCCURRENCE, _FOR, _WHY),
        "silenced",
    ),
    OrderVerb(
        "close",
        "close an alarm whose detector is gone: not verified normal",
        (_OCCURRENCE, _WHY),
        "closed",
    ),
    OrderVerb(
        "assess",
        "record what an alarm turned out to be",
        (
            _OCCURRENCE,
            Argument("--state", "state", ", ".join(STATES)),
            Argument("--disposition", "disposition", f"assessors only: {', '.join(GROUPS)}"),
            Argument("--nuclides", "nuclides", "nuclides found, such as Tc-99m"),
            Argument("--note", "note", "in words"),
        ),
        "recorded",
    ),
    OrderVerb(
        "report",
        "enter what somebody reports as an alarm of its own",
        (
            Argument("TEXT", "text", "what is reported", True),
            Argument("--post", "post", "id of the post it is about"),
            Argument("--dose-rate", "dose_rate", 'such as "0.8 µSv/h"', False, _dose_rate),
        ),
        "entered",
    ),
    OrderVerb(
        "maintenance",
        "take a detector's alarms below R4 out of service",
        (_DETECTOR, _SWITCH, _FOR_ANY, _WHY_ANY),
        "recorded",
    ),
    OrderVerb(
        "test-source",
        "announce a test source at a detector",
        (_DETECTOR, _SWITCH, _FOR_ANY, _WHY_ANY),
        "recorded",
    ),
    OrderVerb(
        "duty",
        "sign a detector on or off duty",
        (
            _DETECTOR,
            Argument("STATE", "state", ", ".join(DUTIES), True, _one_of(DUTIES)),
            _FOR_ANY,
            _WHY_ANY,
        ),
        "recorded",
    ),
    OrderVerb(
        "baseline",
        "survey a place, accept its present background, or withdraw it",
        (
            _DETECTOR,
            Argument("MODE", "mode", ", ".join(MODES), True, _one_of(MODES)),
            Argument("--survey-s", "survey_s", "how long to measure, in s", False, _number),
            Argument(
                "--for", "duration_s", "how long the baseline holds, such as 7d", False, _duration
            ),
            _WHY_ANY,
        ),
        "done",
    ),
    OrderVerb(
        "commission",
        "record a source check of a detector at the site",
        (_DETECTOR, Argument("--reason", "reason", "with what, and what it showed", True)),
        "recorded",
    ),
    OrderVerb(
        "replace",
        "put another instrument in a detector's place",
        (_DETECTOR, Argument("SERIAL", "serial_number", "its serial number", True), _WHY),
        "replaced",
    ),
    OrderVerb(
        "new-wearer",
        "a worn detector has changed hands: its dose begins at zero",
        (_DETECTOR, _WHY),
        "recorded",
    ),
    OrderVerb("stop-exercise", "close all alarms of an exercise", (), "exercise over"),
)
BY_NAME: Final = {order.name: order for order in ORDERS}
