"""``why``: why an alarm was raised, or none was, as the journal of this laptop tells it.

The journal is only read, and may be in use. Times without an offset are UTC, as in all messages.
"""

import argparse
import re
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Final

from config.models import Configuration
from config.problem import did_you_mean
from drivers.registry import find
from gateway.alarms.profiles import LevelSetting, ProfileError, resolve_profile
from gateway.board import harmless
from gateway.explanation import Lines, explain_occurrence
from gateway.journal.file import JournalUnusable
from gateway.journal.look import JournalLook
from gateway.journal.status import counted
from gateway.moment import Moment, explain_moment, look_at, smallest_rises
from gateway.verbs.duration import seconds
from gateway.verbs.terminal import Exit, complain, load_or_complain, say
from gateway.wire.table import dump, iso

STATE_DIR: Final = Path("/var/lib/dosegate")
_CLOCK: Final = re.compile(r"\d{2}:\d{2}(:\d{2}(\.\d+)?)?")
_LABEL_WIDTH: Final = 15


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument("subject", metavar="OCCURRENCE|DETECTOR", help="an alarm or a detector")
    parser.add_argument(
        "time",
        nargs="?",
        help="for a detector: 2026-05-02T14:03:10Z, 14:03:10 of the newest day, or -90s",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("-c", "--config", type=Path, help="configuration file of the gateway")
    where.add_argument("--state-dir", type=Path, help="folder of the journal")
    parser.add_argument("--json", action="store_true", help="as one JSON object")


def run(arguments: argparse.Namespace) -> Exit:
    """Explains one alarm, or one moment of a detector."""
    configuration = None
    if arguments.config is not None:
        configuration = load_or_complain(arguments.config)
        if configuration is None:
            return Exit.USAGE
    directory = arguments.state_dir or STATE_DIR
    if configuration is not None:
        directory = Path(configuration.gateway.state_dir)
    try:
        with JournalLook.open(directory) as look:
            if arguments.time is None:
                done = _occurrence(look, arguments)
            else:
                done = _moment(look, arguments, configuration)
            if look.passed:
                rows = counted(look.passed, "row")
                complain(f"{rows} cannot be read: dosegate journal verify tells which")
            return done
    except (JournalUnusable, sqlite3.Error) as error:
        complain(str(error))
        return Exit.FAULT


def _occurrence(look: JournalLook, arguments: argparse.Namespace) -> Exit:
    name: str = arguments.subject
    events = list(look.history(name))[::-1]
    of_alarm = [event for event in events if event["occurrence"] == name]
    if not of_alarm:
        hint = "; it is a detector: name a time as well" if events else ""
        complain(f"the journal has no alarm {name!r}{hint}")
        return Exit.FAULT
    if arguments.json:
        say(dump({"kind": "why", "occurrence": name, "events": of_alarm}).decode())
    else:
        _print(explain_occurrence(of_alarm))
    return Exit.WELL


def _moment(
    look: JournalLook, arguments: argparse.Namespace, configuration: Configuration | None
) -> Exit:
    newest = look.newest()
    if newest is None:
        complain("the journal is empty")
        return Exit.FAULT
    try:
        at = moment_of(arguments.time, newest)
        levels = _levels(arguments.subject, configuration)
    except ValueError as error:
        complain(str(error))
        return Exit.USAGE
    moment = look_at(look, arguments.subject, at, levels)
    if not moment.is_known:
        complain(
            f"the journal has nothing of {arguments.subject!r} at {iso(at)}; "
            f"its newest entry is of {iso(newest)}"
        )
        return Exit.FAULT
    if arguments.json:
        say(dump(_described(moment)).decode())
    else:
        _print(explain_moment(moment))
    return Exit.WELL


def moment_of(text: str, newest: float) -> float:
    """The wall time that is meant, where ``newest`` is that of the newest entry. ValueError."""
    plain = text.strip()
    if plain.startswith("-"):
        return newest - seconds(plain[1:])
    try:
        if _CLOCK.fullmatch(plain):
            day = datetime.fromtimestamp(newest, UTC).date()
            return datetime.combine(day, time.fromisoformat(plain), UTC).timestamp()
        found = datetime.fromisoformat(plain)
    except ValueError:
        raise ValueError(
            f"{text!r} is no time: such as 2026-05-02T14:03:10Z, 14:03:10 or -90s"
        ) from None
    return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()


def _levels(name: str, configuration: Configuration | None) -> Sequence[LevelSetting]:
    """The absolute levels of a detector, without over-range. Raises ValueError."""
    if configuration is None:
        return ()
    detector = next((each for each in configuration.detector if each.id == name), None)
    if detector is None:
        known = [each.id for each in configuration.detector]
        raise ValueError(f"no detector is called {name!r}: {did_you_mean(name, known)}")
    try:
        profile = resolve_profile(detector, configuration, find(detector.driver))
    except ProfileError as error:
        raise ValueError(str(error)) from error
    return profile.enabled_levels[:-1]


def _described(moment: Moment) -> dict[str, object]:
    return {
        "kind": "why",
        "detector": moment.detector,
        "time": iso(moment.at),
        "alarms": moment.alarms,
        "orders": [{**asdict(each), "until": iso(each.until)} for each in moment.orders],
        "samples": moment.samples,
        "last": moment.before,
        "watch": moment.watch,
        "smallest_rises": smallest_rises(moment.watch),
        "levels": {level.id: level.raise_at for level in moment.levels},
    }


def _print(lines: Lines) -> None:
    for label, text in lines:
        say(harmless(f"{label:{_LABEL_WIDTH}}{text}".rstrip()))
