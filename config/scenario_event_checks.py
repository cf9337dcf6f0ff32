"""Events, instrument settings and expectations of a scenario: what one table cannot tell."""

from collections.abc import Mapping
from typing import Final, get_args

from pydantic import ValidationError

from config.actions import InstrumentState
from config.archetypes import ARCHETYPES
from config.checks import check_reference
from config.locate import Path
from config.nuclides import NUCLIDES
from config.problem import Findings, did_you_mean, shown
from config.scenario_detectors import (
    DEFAULT_DRIVER,
    MOST_COPIES,
    JsonLinesSettings,
    copy_ids,
    speaks_json_lines,
)
from config.scenario_link_checks import (
    BYTE_FAULTS,
    check_connection,
    check_swap,
    driver_of,
    link_of,
    unable,
)
from config.tables import Table, part, tables, text

_STATES: Final = frozenset(get_args(InstrumentState.model_fields["do"].annotation))
_PLAYS: Final[Mapping[str, frozenset[str]]] = {
    DEFAULT_DRIVER: _STATES | {"identify"},
    "thermo-radeye": frozenset({"over_range", "battery_low", "dead_channel", "frozen_value"}),
    "gq-gmc": frozenset({"dead_channel", "frozen_value"}),
    "bgeigie-nmea": frozenset({"dead_channel"}),
    "rapiscan-tsa-rpm": frozenset({"tamper", "dead_channel"}),
    "aspect-rpm-modbus-tcp": frozenset(
        {"tamper", "battery_low", "fault", "over_range", "dead_channel"}
    ),
}
"""States for which the protocol of a driver's simulated instrument has bytes."""
_OF_THE_INSTRUMENT: Final = _PLAYS[DEFAULT_DRIVER] | {
    *("reading", "release", "wrong_serial", "block", "unblock"),
}
"""What a recording in its place cannot do."""
_SAY_THEIR_SERIAL: Final = {
    DEFAULT_DRIVER: "any text",
    "gq-gmc": "14 hexadecimal digits",
    "thermo-radeye": "a number up to 65535",
    "bgeigie-nmea": "up to four digits",
}
"""Drivers whose simulated instrument tells a serial number, and its form."""


def detector_ids(detector: Table) -> tuple[str, ...]:
    """The ids of one table: its own, or those of its copies."""
    name, copies = text(detector, "id"), detector.get("copies", 1)
    if name is None:
        return ()
    if not isinstance(copies, int) or not 1 <= copies <= MOST_COPIES:
        copies = 1
    return copy_ids(name, copies)


def all_detectors(findings: Findings) -> set[str]:
    """The ids of all detectors, copies too."""
    return {name for _, each in tables(findings.data, "detector") for name in detector_ids(each)}


def ids(findings: Findings, key: str) -> set[str]:
    """The ids of an array of tables."""
    return {name for _, each in tables(findings.data, key) if (name := text(each, "id"))}


def check_nuclide(findings: Findings, path: Path, name: str | None) -> None:
    if name is not None and name not in NUCLIDES:
        plain = name.replace(" ", "-")
        findings.error(path, f"unknown nuclide {shown(name)}", did_you_mean(plain, NUCLIDES))


def check_settings(findings: Findings, path: Path, detector: Table) -> None:
    """Settings of the default instrument; those of others are known only to their simulators."""
    given = part(detector, "settings")
    if not speaks_json_lines(text(detector, "driver")):
        return
    try:
        JsonLinesSettings.model_validate(given)
    except ValidationError as error:
        for each in error.errors(include_url=False):
            name = str(each["loc"][0]) if each["loc"] else ""
            where = (*path, "settings", name) if name else (*path, "settings")
            if each["type"] == "extra_forbidden":
                hint = did_you_mean(name, JsonLinesSettings.model_fields)
                findings.error(where, f"{DEFAULT_DRIVER} has no such setting", hint)
            else:
                message = each["msg"].removeprefix("Value error, ")
                findings.error(where, f"{message[:1].lower()}{message[1:]}")


def check_counting(findings: Findings, path: Path, detector: Table) -> None:
    """Counts are asked only of what counts."""
    archetype = ARCHETYPES.get(text(detector, "archetype") or "")
    if archetype is None or not speaks_json_lines(text(detector, "driver")):
        return
    given = part(detector, "settings")
    usual = {"background_rate": archetype.background_cps, "sensitivity": archetype.sensitivity_cps}
    needed = {
        "counts": ("background_rate",),
        "rate_only": ("background_rate",),
        "calibration": ("background_rate", "sensitivity"),
    }
    for setting, keys in needed.items():
        missing = [key for key in keys if key not in detector and usual[key] is None]
        if given.get(setting) is True and missing:
            findings.error(
                (*path, "settings", setting),
                f"{archetype.name} has no {' and no '.join(missing)} of its own",
                f"give the detector {' and '.join(missing)}",
            )


def _by_id(findings: Findings) -> dict[str, Table]:
    """Every detector's table; of two with one id, a copy's too, an error."""
    found: dict[str, Table] = {}
    for path, detector in tables(findings.data, "detector"):
        for name in detector_ids(detector):
            if name in found and found[name] is not detector and name != text(detector, "id"):
                findings.error((*path, "copies"), f"{shown(name)} is already the id of a detector")
            found[name] = detector
    return found


def check_events(findings: Findings) -> None:
    """What events and expectations name exists, and can do what it is asked for."""
    detectors = _by_id(findings)
    known, posts = set(detectors), ids(findings, "post")
    sources = ids(findings, "source")
    for path, event in tables(findings.data, "event"):
        name, action = text(event, "detector"), text(event, "do")
        if not (name or "").startswith("@"):
            check_reference(findings, (*path, "detector"), name, known, "detector")
        check_reference(findings, (*path, "post"), event.get("post"), posts, "post")
        match action:
            case "place_source":
                check_nuclide(findings, (*path, "nuclide"), text(event, "nuclide"))
                sources.add(text(event, "id") or "")
            case "send_source":
                check_nuclide(findings, (*path, "nuclide"), text(event, "nuclide"))
                check_reference(findings, (*path, "past"), event.get("past"), known, "detector")
                sources.add(text(event, "id") or "")
            case "remove_source":
                check_reference(findings, (*path, "id"), event.get("id"), sources, "source")
            case "swap":
                check_swap(findings, path, event, detectors)
        if name in detectors and action is not None:
            _check_ability(findings, path, event, detectors[name])
    _check_expectations(findings, known)


def _check_ability(findings: Findings, path: Path, event: Table, detector: Table) -> None:
    """Whether the detector's simulated instrument can do what the event asks for."""
    action = text(event, "do")
    driver, contract = driver_of(detector)
    where = (*path, "do")
    is_portal = text(detector, "archetype") == "RPM"
    if "recording" in detector and action in _OF_THE_INSTRUMENT:
        unable(findings, where, "a recording", action, "it says what it said")
    elif action in _PLAYS[DEFAULT_DRIVER] and action not in _PLAYS.get(driver, ()):
        able = ", ".join(name for name, states in _PLAYS.items() if action in states)
        unable(findings, where, driver, action, f"these play it: {able}")
    elif action == "over_range" and driver == DEFAULT_DRIVER and not _has_range(detector):
        unable(findings, where, "the instrument", action, "set range_top in its settings")
    elif action in ("block", "unblock") and not is_portal:
        unable(findings, where, "what is no portal", action, "only the archetype RPM has a lane")
    elif action in ("garbage", "flood") and contract == "registers":
        unable(findings, where, driver, action, "registers have no bytes to add")
    elif action == "wrong_serial":
        _check_serial(findings, path, driver, text(event, "serial_number"))
    elif action == "reply_fault" and contract != "registers":
        unable(findings, where, driver, action, "only register instruments play it")
    elif action in BYTE_FAULTS and contract == "registers":
        findings.advice(where, f"{shown(action)} of registers is played with --live only")
    elif action in ("half_open", "replug"):
        check_connection(findings, path, event, link_of(detector))


def _check_serial(findings: Findings, path: Path, driver: str, serial: str | None) -> None:
    if driver not in _SAY_THEIR_SERIAL:
        known = ", ".join(_SAY_THEIR_SERIAL)
        unable(findings, (*path, "do"), driver, "wrong_serial", f"these tell a serial: {known}")
        return
    form = _SAY_THEIR_SERIAL[driver]
    if serial is not None and not _is_serial(driver, serial):
        where = (*path, "serial_number")
        findings.error(where, f"{shown(serial)} is no serial number of {driver}", f"it has {form}")


def _is_serial(driver: str, serial: str) -> bool:
    match driver:
        case "gq-gmc":
            return len(serial) == 14 and all(each in "0123456789ABCDEFabcdef" for each in serial)
        case "thermo-radeye":
            return serial.isdecimal() and serial.isascii() and int(serial) <= 65_535
        case "bgeigie-nmea":
            return serial.isdecimal() and serial.isascii() and len(serial) <= 4
    return serial.isprintable() and len(serial) <= 200


def _has_range(detector: Table) -> bool:
    archetype = ARCHETYPES.get(text(detector, "archetype") or "")
    if archetype is None or "range_top" in part(detector, "settings"):
        return True
    return archetype.indication_top is not None or archetype.saturates_at is not None


def _check_expectations(findings: Findings, detectors: set[str]) -> None:
    for path, each in tables(findings.data, "expect"):
        name = text(each, "detector")
        if not (name or "").startswith(("@", "link-")):
            check_reference(findings, (*path, "detector"), name, detectors, "detector")
        if "count" in each and ("at_least" in each or "at_most" in each):
            findings.error((*path, "count"), "count is exact: it stands alone")
        least, most = each.get("at_least"), each.get("at_most")
        if isinstance(least, int) and isinstance(most, int) and most < least:
            findings.error((*path, "at_most"), f"{most} is below at_least, {least}")
        _check_between(findings, (*path, "between"), each.get("between"))


def _check_between(findings: Findings, path: Path, times: object) -> None:
    match times:
        case [int() | float() as start, int() | float() as end]:
            if end < start:
                findings.error(path, f"{end} s does not come after {start} s")
        case list():
            findings.error(path, "needs two times", "such as between = [10, 20]")
