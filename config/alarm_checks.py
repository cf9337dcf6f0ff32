"""Settings that would disable an alarm, or make it late: refused, each with the reason.

Run on raw data, like all checks. Levels are compared as they come into force: shipped, then those
of the whole gateway, then a detector's own.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from config.amounts import DOSE, DOSE_RATE, Kind
from config.classes import MOVING_SUBJECTS, PORTALS, RATIO, RATIO_CLEAR, SURVEYING
from config.drivers import UnloadableDriver, default_class, find_driver
from config.locate import Path
from config.models import CLEAR_FACTOR, DEFAULT_DOSES, DEFAULT_LEVELS
from config.problem import Findings, shown
from config.tables import Table, amount, part, tables, text
from drivers.registry import UnknownDriver

LONGEST_DELAY_S: Final = 1.0
SLOWEST_S: Final = 1.0
PASS_S: Final = 1.82
"""1 GBq of Cs-137 (92.4 µSv/h at 1 m) in a car at 50 km/h, 5 m away, is above 0.5 µSv/h so long.

Read every second without averaging that is one reading (18 %) or two (82 %): an on-delay, which
needs two, is at most 1 s and never for who moves past.
"""
_PASS: Final = "1 GBq of Cs-137 in a car at 50 km/h, 5 m away, is above 0.5 µSv/h for 1.8 s"
RISES_PER_OPERATOR: Final = 0.6
"""Per hour: a tenth of one alarm in ten minutes, which an operator can bear (EEMUA 191)."""
_OFF: Final = frozenset({"D5"})
"""Levels that are shipped switched off."""


@dataclass(frozen=True, slots=True)
class _Scale:
    """A series of levels with their shipped values."""

    shipped: Mapping[str, float]
    kind: Kind
    unit: str

    def in_force(self, base: Mapping[str, float], levels: Table) -> dict[str, float]:
        """The raise values after ``levels`` have overridden ``base``; disabled ones gone."""
        found = dict(base)
        for name in self.shipped:
            level = part(levels, name)
            value = amount(level, "raise", self.kind)
            if level.get("enabled") is False:
                found.pop(name, None)
            elif value is not None:
                found[name] = value
        return found


_RATES: Final = _Scale(DEFAULT_LEVELS, DOSE_RATE, "µSv/h")
_DOSES: Final = _Scale(DEFAULT_DOSES, DOSE, "µSv")


@dataclass(frozen=True, slots=True)
class _Subject:
    """A detector, or a class of them; ``profiles`` hold how it is judged, the decisive first."""

    path: Path
    settings: Table
    class_name: str
    profiles: tuple[tuple[Path, Table], ...]

    def find(self, key: str) -> tuple[Path, object] | None:
        """What its profiles say of that, and where."""
        for path, table in self.profiles:
            if key in table:
                return (*path, key), table[key]
        return None

    def number(self, key: str, default: float) -> float:
        """The same as a number."""
        found = self.find(key)
        value = _number(found[1]) if found is not None else None
        return default if value is None else value

    @property
    def is_moving(self) -> bool:
        """Whether it must catch who passes."""
        found = self.find("moving_subject")
        if found is not None and isinstance(found[1], bool):
            return found[1]
        return self.class_name in MOVING_SUBJECTS


def check_levels(findings: Findings) -> None:
    """Levels ascend, clear below where they raise, and lie within the instrument's range."""
    levels = part(part(findings.data, "alarms"), "levels")
    shared = _RATES.in_force(DEFAULT_LEVELS, levels)
    _check_clears(findings, ("alarms", "levels"), levels)
    _check_ascending(findings, ("alarms", "levels"), shared, levels, _RATES)
    for path, detector in tables(findings.data, "detector"):
        levels = part(detector, "levels")
        in_force = _RATES.in_force(shared, levels)
        _check_clears(findings, (*path, "levels"), levels)
        _check_ascending(findings, (*path, "levels"), in_force, levels, _RATES)
        _check_range(findings, path, detector, _RATES.in_force({}, levels))


def check_alarms(findings: Findings) -> None:
    """Everything else that decides whether and when an alarm is raised."""
    subjects = list(_detectors(findings))
    _check_delays(findings, subjects)
    _check_doses(findings)
    _check_budget(findings)
    for subject in (*_classes(findings), *subjects):
        _check_ratio(findings, subject)
        if subject.is_moving:
            _check_sampling(findings, subject)
    for subject in subjects:
        _check_reach(findings, subject)


def _classes(findings: Findings) -> Iterator[_Subject]:
    for path, table in tables(findings.data, "profile"):
        yield _Subject(path, {}, text(table, "class") or "", ((path, table),))


def _detectors(findings: Findings) -> Iterator[_Subject]:
    for path, detector in tables(findings.data, "detector"):
        driver = text(detector, "driver")
        name = text(detector, "class") or (default_class(driver) if driver else None) or ""
        own = ((*path, "profile"), part(detector, "profile"))
        common = [
            (where, table)
            for where, table in tables(findings.data, "profile")
            if text(table, "class") == name
        ]
        yield _Subject(path, detector, name, (own, *common))


def _check_clears(findings: Findings, base: Path, levels: Table) -> None:
    for name in DEFAULT_LEVELS:
        raised, cleared = amount(part(levels, name), "raise"), amount(part(levels, name), "clear")
        if raised is not None and cleared is not None and cleared >= raised:
            findings.error(
                (*base, name, "clear"),
                f"clears at {cleared:g} µSv/h, which is not below its raise of {raised:g} µSv/h",
                f'such as clear = "{raised * CLEAR_FACTOR:g} µSv/h"',
            )


def _check_ascending(
    findings: Findings, base: Path, in_force: Mapping[str, float], own: Table, scale: _Scale
) -> None:
    first, *_, last = scale.shipped
    names = [name for name in scale.shipped if name in in_force]
    for lower, upper in pairwise(names):
        if in_force[lower] < in_force[upper] or not (lower in own or upper in own):
            continue
        culprit, other = (upper, lower) if upper in own else (lower, upper)
        source = "" if other in own else " (not set here)"
        side = "above" if culprit == upper else "below"
        findings.error(
            (*base, culprit, "raise"),
            f"{in_force[culprit]:g} {scale.unit} must be {side} {other}, "
            f"{in_force[other]:g} {scale.unit}{source}",
            f"levels ascend from {first} to {last}",
        )


def _check_range(findings: Findings, path: Path, detector: Table, own: dict[str, float]) -> None:
    top = amount(detector, "range_top")
    for name, raised in own.items():
        if top is not None and raised > top:
            findings.error(
                (*path, "levels", name, "raise"),
                f"{raised:g} µSv/h is above the instrument's range_top of {top:g} µSv/h: "
                "it could never be reached",
                "lower the level, correct range_top, or set enabled = false",
            )


def _check_reach(findings: Findings, subject: _Subject) -> None:
    """Levels that hold for all: which of them this instrument cannot measure."""
    top = amount(subject.settings, "range_top")
    shared = part(part(findings.data, "alarms"), "levels")
    beyond = []
    for name, shipped in DEFAULT_LEVELS.items():
        level = part(shared, name)
        raised = shipped if name not in shared else amount(level, "raise")
        if name in part(subject.settings, "levels") or not _is_judged(subject, name, level):
            continue
        if top is None or raised is None or raised <= top:
            continue
        if raised <= shipped:
            beyond.append(f"{name} ({raised:g} µSv/h)")
            continue
        findings.error(
            ("alarms", "levels", name, "raise"),
            f"{raised:g} µSv/h is above the range_top of {shown(subject.settings.get('id'))}, "
            f"{top:g} µSv/h: it could never be reached there",
            f"name a lower {name} for that detector, or correct its range_top",
        )
    if beyond:
        findings.advice(
            (*subject.path, "range_top"),
            f"{', '.join(beyond)} cannot be reached: the range ends at {top:g} µSv/h; "
            "R8, over range, covers it",
        )


def _is_judged(subject: _Subject, name: str, level: Table) -> bool:
    """Whether a level that holds for all is on for that class."""
    enabled = level.get("enabled")
    if isinstance(enabled, bool):
        return enabled
    return name != "R6" or subject.class_name in SURVEYING


def _check_delays(findings: Findings, subjects: list[_Subject]) -> None:
    passed: dict[str, str] = {}
    for subject in subjects:
        own = part(subject.settings, "levels")
        movers = dict.fromkeys(DEFAULT_LEVELS, subject.class_name) if subject.is_moving else {}
        _check_delay(findings, (*subject.path, "levels"), own, movers)
        passed |= {name: of for name, of in movers.items() if name not in own | passed}
    shared = part(part(findings.data, "alarms"), "levels")
    _check_delay(findings, ("alarms", "levels"), shared, passed)


def _check_delay(findings: Findings, base: Path, levels: Table, movers: Mapping[str, str]) -> None:
    """``movers``: which levels are those of a class that must catch who passes."""
    for name in DEFAULT_LEVELS:
        delay_s = _number(part(levels, name).get("on_delay_s")) or 0.0
        path = (*base, name, "on_delay_s")
        if delay_s <= 0:
            continue
        if name != next(iter(DEFAULT_LEVELS)):
            findings.error(
                path,
                f"{name} is about safety: it is raised with the first reading that reaches it",
                "leave on_delay_s out",
            )
        elif name in movers:
            findings.error(
                path,
                f"an on-delay misses who passes a {movers[name]}: {_PASS}; of such passes "
                "a delay of 1 s misses 18 %, one of 2 s practically all",
                "leave on_delay_s out",
            )
        elif delay_s > LONGEST_DELAY_S:
            findings.error(
                path,
                f"{delay_s:g} s is too long: an alarm may wait for one more reading, 1 s at most",
                "the off-delay keeps a value that wavers about the level from raising it again "
                "and again",
            )


def _check_sampling(findings: Findings, subject: _Subject) -> None:
    """Whoever must catch who passes is read every second."""
    found = subject.find("sampling_s")
    if found is not None:
        path, value = found
        seconds = _number(value)
        if seconds is not None and seconds > SLOWEST_S:
            findings.error(
                path,
                f"a reading every {seconds:g} s is too slow for a {subject.class_name}: "
                f"{_caught(seconds)}",
                "read it every second, or set moving_subject = false beside it if it need not "
                "catch who passes",
            )
        return
    pace_s = _pace_s(subject)
    if pace_s > SLOWEST_S and subject.class_name not in PORTALS:
        findings.advice(
            (*subject.path, "driver"),
            f"its readings may be {pace_s:g} s apart: {_caught(pace_s)}",
            "set profile.sampling_s if this instrument is faster; counts over the whole time "
            "dilute a short pass, and do not miss it",
        )


def _pace_s(subject: _Subject) -> float:
    """The driver's own; 0 if there is none to be had."""
    name = text(subject.settings, "driver")
    if name is None:
        return 0.0
    try:
        info = find_driver(name)
    except (UnknownDriver, UnloadableDriver):
        return 0.0
    return info.poll_s or info.silence_s


def _caught(every_s: float) -> str:
    chance = min(1.0, PASS_S / every_s)
    return f"{_PASS}, and instantaneous readings catch it in {100 * chance:.0f} % of all passes"


def _check_doses(findings: Findings) -> None:
    levels = part(part(findings.data, "alarms"), "dose_levels")
    shipped = {name: value for name, value in DEFAULT_DOSES.items() if name not in _OFF}
    shared = _DOSES.in_force(shipped, levels)
    _check_ascending(findings, ("alarms", "dose_levels"), shared, levels, _DOSES)
    for path, detector in tables(findings.data, "detector"):
        levels = part(detector, "dose_levels")
        in_force = _DOSES.in_force(shared, levels)
        _check_ascending(findings, (*path, "dose_levels"), in_force, levels, _DOSES)


def _check_ratio(findings: Findings, subject: _Subject) -> None:
    raised, cleared = subject.number("ratio", RATIO), subject.number("ratio_clear", RATIO_CLEAR)
    found = subject.find("ratio_clear") or subject.find("ratio")
    if found is not None and cleared >= raised:
        findings.error(
            found[0],
            f"R2 is cleared below {cleared:g} times the baseline, which is not below its "
            f"raise of {raised:g} times",
            "ratio_clear must be below ratio",
        )


def _check_budget(findings: Findings) -> None:
    budget = part(part(findings.data, "alarms"), "budget")
    path: Path = ("alarms", "budget")
    rises = _number(budget.get("rises_per_hour"))
    operators = _number(budget.get("operators", 1)) or 1
    if rises is not None and rises > RISES_PER_OPERATOR * operators:
        findings.advice(
            (*path, "rises_per_hour"),
            f"{rises:g} false alarms an hour are more than a tenth of what "
            f"{operators:g} operator{'s' * (operators != 1)} can bear, one in ten minutes each",
            f"at most {RISES_PER_OPERATOR * operators:g}",
        )
    neutrons = _number(budget.get("neutrons_per_event"))
    if neutrons is not None and neutrons > 1:
        findings.advice(
            (*path, "neutrons_per_event"),
            f"{neutrons:g} false neutron alarms in an event: each is treated as possible nuclear "
            "material",
            "at most 1",
        )


def _number(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and isinstance(value, int | float) else None
