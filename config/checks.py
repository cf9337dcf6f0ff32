"""What one table alone cannot tell: ids, references, units, users. Run on raw data.

Each check looks only at values of the right type and leaves the others to the models, so that all
of them run whatever else is wrong.
"""

from itertools import pairwise
from pathlib import Path as FilePath
from typing import Final

from config.alarm_checks import check_alarms
from config.alarm_checks import check_levels as check_levels
from config.amounts import COUNT_RATE
from config.connections import check_links, check_sinks
from config.drivers import check_driver
from config.locate import Path
from config.problem import Findings, did_you_mean, shown
from config.recordings import check_recording
from config.tables import Table, amount, part, tables, text
from drivers.units import Dimension, UnknownUnit, parse_unit

_RATES: Final = (
    Dimension.DOSE_EQUIVALENT_RATE,
    Dimension.KERMA_RATE,
    Dimension.EXPOSURE_RATE,
)


def check_configuration(findings: Findings) -> None:
    """All cross checks of a gateway's configuration."""
    check_ids(findings, "detector", "post", "sink", "user")
    posts = tuple(text(post, "id") for _, post in tables(findings.data, "post"))
    for path, detector in tables(findings.data, "detector"):
        check_driver(findings, path, detector)
        check_detector(findings, path, detector, posts)
    check_posts(findings)
    check_levels(findings)
    check_alarms(findings)
    _check_profiles(findings)
    _check_users(findings)
    _check_guidance(findings)
    check_links(findings)
    check_sinks(findings)
    check_recording(findings)
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


def _check_users(findings: Findings) -> None:
    """Officers have detectors of this file, and somebody may do what assessors alone may."""
    known = {text(detector, "id") or "" for _, detector in tables(findings.data, "detector")}
    roles: set[object] = set()
    for path, user in tables(findings.data, "user"):
        own, given = user.get("detectors"), user.get("roles")
        of_user = given if isinstance(given, list) else []
        roles |= {role for role in of_user if isinstance(role, str)}
        for index, name in enumerate(own if isinstance(own, list) else ()):
            check_reference(findings, (*path, "detectors", index), name, known, "detector")
        if "officer" in of_user and not own:
            findings.advice(
                (*path, "roles"),
                "an officer without detectors may acknowledge and silence nothing",
                "name the officer's own: detectors = [...]",
            )
    if roles and "assessor" not in roles:
        findings.advice(
            ("user", 0, "roles"),
            "nobody here is assessor, who alone resets R5 and above and accepts a baseline",
            'roles = ["assessor"] for somebody',
        )


def _check_profiles(findings: Findings) -> None:
    """One profile for a class."""
    first: dict[str, Path] = {}
    for path, profile in tables(findings.data, "profile"):
        name = text(profile, "class")
        if name is None:
            continue
        if name in first:
            findings.error(
                (*path, "class"),
                f"{shown(name)} has a profile already, in {findings.line(first[name])}",
                "make one of both",
            )
        else:
            first[name] = (*path, "class")


def _check_guidance(findings: Findings) -> None:
    directory = text(part(findings.data, "guidance"), "directory")
    if directory is not None and not FilePath(directory).is_dir():
        findings.advice(
            ("guidance", "directory"),
            f"there is no folder {shown(directory)}, or it is not readable",
            "the shipped texts are shown",
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
