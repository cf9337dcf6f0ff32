"""What one table alone cannot tell: ids, references, units, levels. Run on raw data.

Each check looks only at values of the right type and leaves the others to the models, so that all
of them run whatever else is wrong.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Final

from config.amounts import COUNT_RATE
from config.connections import check_links, check_sinks
from config.drivers import check_driver
from config.locate import Path
from config.models import CLEAR_FACTOR, DEFAULT_LEVELS
from config.problem import Findings, did_you_mean, shown
from config.tables import Table, amount, part, tables, text
from drivers.units import Dimension, UnknownUnit, parse_unit

_RATES: Final = (
    Dimension.DOSE_EQUIVALENT_RATE,
    Dimension.KERMA_RATE,
    Dimension.EXPOSURE_RATE,
)


def check_configuration(findings: Findings) -> None:
    """All cross checks of a gateway's configuration."""
    check_ids(findings, "detector", "post", "sink")
    posts = tuple(text(post, "id") for _, post in tables(findings.data, "post"))
    for path, detector in tables(findings.data, "detector"):
        check_driver(findings, path, detector)
        check_detector(findings, path, detector, posts)
    check_posts(findings)
    check_levels(findings)
    check_links(findings)
    check_sinks(findings)
    _check_roots(findings)


def check_ids(findings: Findings, *keys: str) -> None:
    """No two tables of one array have the same id."""
    for key in keys:
        first: dict[str, Path] = {}
        for path, table in tables(findings.data, key):
            name = text(table, "id")
            if name is None:
                continue
            if name in first:
                findings.error(
                    (*path, "id"),
                    f"{shown(name)} is already the id of the {key} in "
                    f"{findings.line((*first[name], 'id'))}",
                    "give one of them another id",
                )
            else:
                first[name] = (*path, "id")


def check_reference(
    findings: Findings, path: Path, name: object, known: set[str], noun: str
) -> None:
    """``name`` must be the id of something in this file."""
    if isinstance(name, str) and name not in known:
        hint = did_you_mean(name, known) or f"add [[{noun}]] with this id"
        findings.error(path, f"no {noun} has the id {shown(name)}", hint)


def check_detector(
    findings: Findings, path: Path, detector: Table, posts: tuple[str | None, ...]
) -> None:
    """What a detector says about its place, units and calibration."""
    known = {post for post in posts if post is not None}
    check_reference(findings, (*path, "post"), detector.get("post"), known, "post")
    _check_unit(findings, path, detector)
    counts = [
        amount(point, "counts", COUNT_RATE)
        for _, point in tables(part(detector, "calibration"), "points")
    ]
    plain = [count for count in counts if count is not None]
    if any(later <= earlier for earlier, later in pairwise(plain)):
        findings.error(
            (*path, "calibration", "points"), "count rates must rise from point to point"
        )


def _check_unit(findings: Findings, path: Path, detector: Table) -> None:
    name = text(detector, "unit")
    if name is None:
        return
    allowed = "units: µSv/h, µrem/h, µGy/h, µrad/h, µR/h, each also with n, m or no prefix"
    try:
        unit = parse_unit(name)
    except UnknownUnit:
        likely = name.strip().removesuffix("r").removesuffix("our")
        findings.error(
            (*path, "unit"),
            f"{shown(name)} is not a unit of dose rate",
            _unit_hint(likely, allowed),
        )
        return
    if unit.dimension not in _RATES:
        findings.error(
            (*path, "unit"),
            f"{shown(name)} is a unit of {unit.dimension}, not of a dose rate",
            _unit_hint(name.strip() + "/h", allowed),
        )
    elif detector.get("convention") is not None and unit.dimension is not Dimension.EXPOSURE_RATE:
        findings.error(
            (*path, "convention"),
            f"a convention says how roentgen are meant, but the unit is {shown(name)}",
            "leave the convention out, or set the unit that the instrument shows, such as µR/h",
        )


def _unit_hint(likely: str, allowed: str) -> str:
    try:
        unit = parse_unit(likely)
    except UnknownUnit:
        return allowed
    return f'did you mean "{unit.name}"? {allowed}' if unit.dimension in _RATES else allowed


def check_posts(findings: Findings) -> None:
    """Coordinates come in pairs."""
    for path, post in tables(findings.data, "post"):
        for one, other in (("latitude", "longitude"), ("plan_x_m", "plan_y_m")):
            for given, absent in ((one, other), (other, one)):
                if given in post and absent not in post:
                    findings.error((*path, given), f"{absent} is missing beside it")


def check_levels(findings: Findings) -> None:
    """Levels ascend, clear below where they raise, and lie within the instrument's range."""
    levels = part(part(findings.data, "alarms"), "levels")
    shared = _in_force(DEFAULT_LEVELS, levels)
    _check_clears(findings, ("alarms", "levels"), levels)
    _check_ascending(findings, ("alarms", "levels"), shared, levels)
    for path, detector in tables(findings.data, "detector"):
        levels = part(detector, "levels")
        _check_clears(findings, (*path, "levels"), levels)
        _check_ascending(findings, (*path, "levels"), _in_force(shared, levels), levels)
        _check_range(findings, path, detector, _in_force({}, levels))


def _in_force(base: Mapping[str, float], levels: Table) -> dict[str, float]:
    """The raise values in µSv/h after ``levels`` have overridden ``base``; disabled ones gone."""
    found = dict(base)
    for name in DEFAULT_LEVELS:
        level = part(levels, name)
        value = amount(level, "raise")
        if level.get("enabled") is False:
            found.pop(name, None)
        elif value is not None:
            found[name] = value
    return found


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
    findings: Findings, base: Path, in_force: dict[str, float], own: Table
) -> None:
    names = [name for name in DEFAULT_LEVELS if name in in_force]
    for lower, upper in pairwise(names):
        if in_force[lower] < in_force[upper] or not (lower in own or upper in own):
            continue
        culprit, other = (upper, lower) if upper in own else (lower, upper)
        source = "" if other in own else " (not set here)"
        side = "above" if culprit == upper else "below"
        findings.error(
            (*base, culprit, "raise"),
            f"{in_force[culprit]:g} µSv/h must be {side} {other}, "
            f"{in_force[other]:g} µSv/h{source}",
            "levels ascend from R3 to R7",
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


def _check_roots(findings: Findings) -> None:
    gateway = part(findings.data, "gateway")
    live = text(gateway, "root") or "dosegate/v1"
    exercise = text(gateway, "exercise_root") or "dosegate-exercise/v1"
    for key, root in (("root", live), ("exercise_root", exercise)):
        if root.strip("/") != root or not root or any(letter in root for letter in "+#\0"):
            findings.error(
                ("gateway", key),
                f"{shown(root)} is not a topic root",
                "no + or #, no / at its beginning or end",
            )
    if f"{live}/".startswith(f"{exercise}/") or f"{exercise}/".startswith(f"{live}/"):
        key = "exercise_root" if "exercise_root" in gateway else "root"
        findings.error(
            ("gateway", key),
            f"exercise data ({shown(exercise)}) would mix with live data ({shown(live)})",
            "neither root may lie below the other",
        )
