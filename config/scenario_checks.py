"""What one table of a scenario alone cannot tell: places, references, times. Run on raw data."""

from itertools import pairwise
from typing import Final, TypeGuard

from config.archetypes import ARCHETYPES
from config.checks import check_detector, check_ids, check_levels, check_posts, check_reference
from config.drivers import check_driver
from config.locate import Path
from config.nuclides import NUCLIDES, SELF_SHIELDING
from config.problem import Findings, shown
from config.scenario_event_checks import (
    all_detectors,
    check_counting,
    check_events,
    check_nuclide,
    check_settings,
    detector_ids,
    ids,
)
from config.scenario_link_checks import check_buses, check_live_link
from config.tables import Table, part, tables, text

_PLACES: Final = ("at", "path", "pass")
_PUT_DOWN: Final = ("place_source", "send_source")


def check_scenario(findings: Findings) -> None:
    """All cross checks of a scenario."""
    check_ids(findings, "detector", "post", "source", "vehicle", "xray", "user")
    check_posts(findings)
    check_levels(findings)
    posts = tuple(text(post, "id") for _, post in tables(findings.data, "post"))
    for path, detector in tables(findings.data, "detector"):
        check_driver(findings, path, detector)
        check_detector(findings, path, detector, posts)
        _check_simulated(findings, path, detector)
    for path, source in tables(findings.data, "source"):
        _check_source(findings, path, source)
    _check_passages(findings)
    _check_references(findings)
    check_buses(findings)
    check_events(findings)
    check_sent(findings)
    _check_times(findings)


def _placed_posts(findings: Findings) -> set[str]:
    return {
        name
        for _, post in tables(findings.data, "post")
        if "plan_x_m" in post and "plan_y_m" in post and (name := text(post, "id"))
    }


def _has_place(findings: Findings, detector: Table) -> bool:
    return (
        "at" in detector or "path" in detector or text(detector, "post") in _placed_posts(findings)
    )


def _emits_gamma(findings: Findings) -> bool:
    placed = any(event.get("do") in _PUT_DOWN for _, event in tables(findings.data, "event"))
    emitting = any("nuclide" in source for _, source in tables(findings.data, "source"))
    others = any(True for key in ("xray", "crowd") for _ in tables(findings.data, key))
    return placed or emitting or others


def _check_simulated(findings: Findings, path: Path, detector: Table) -> None:
    if "at" in detector and "path" in detector:
        findings.error((*path, "path"), "a detector has one of at and path", "leave one out")
    check_settings(findings, path, detector)
    check_counting(findings, path, detector)
    check_live_link(findings, path, detector)
    for name in part(detector, "sensitivities"):
        check_nuclide(findings, (*path, "sensitivities", name), name)
    if "script" in detector:
        _check_script(findings, (*path, "script"), part(detector, "script"))
        return
    has_sources = any(True for _ in tables(findings.data, "source")) or _emits_gamma(findings)
    if has_sources and not _has_place(findings, detector):
        findings.error(
            path,
            "the detector has no place, so no source can reach it",
            "give it at or path, or a post with plan_x_m and plan_y_m",
        )
    archetype = ARCHETYPES.get(text(detector, "archetype") or "")
    if (
        archetype is not None
        and archetype.background_cps is not None
        and archetype.sensitivity_cps is None
        and "sensitivity" not in detector
        and _emits_gamma(findings)
    ):
        findings.error(
            (*path, "sensitivity"),
            f"the key is missing: {archetype.name} has no default sensitivity",
            "such as sensitivity = 10000, in 1/s per µSv/h",
        )


def _check_script(findings: Findings, path: Path, script: Table) -> None:
    columns: set[str] | None = None
    for where, point in tables(script, "points"):
        mine = point.keys() - {"t"}
        if not mine:
            findings.error(
                (*path, *where), "a point of a script needs a value", "such as dose_rate"
            )
        elif columns is not None and mine != columns:
            findings.error(
                (*path, *where),
                "all points of a script name the same values",
                f"the first has {', '.join(sorted(columns))}",
            )
        columns = columns or set(mine)


def _check_source(findings: Findings, path: Path, source: Table) -> None:
    _check_emission(findings, path, source)
    placed = [key for key in _PLACES if key in source]
    name = text(source, "id")
    riding = [v for _, v in tables(findings.data, "vehicle") if v.get("cargo") == name]
    if len(placed) + min(len(riding), 1) > 1:
        also = " and rides in a vehicle" if riding else ""
        findings.error(
            (*path, placed[-1]),
            f"a source has one place, this one has {' and '.join(placed)}{also}",
        )
    elif not placed and not riding:
        findings.error(
            path, "the source has no place", "give it at, path or pass, or name it as a cargo"
        )
    _check_spread(findings, path, source, riding)
    if len(riding) > 1:
        findings.error(path, "the source is the cargo of more than one vehicle")
    appears, leaves = source.get("appears_s", 0), source.get("leaves_s")
    if _is_number(appears) and _is_number(leaves) and leaves <= appears:
        findings.error((*path, "leaves_s"), "the source leaves before it appears")


def _check_spread(findings: Findings, path: Path, source: Table, riding: list[Table]) -> None:
    if "spread_deg" in source and not source.get("spread_m"):
        findings.error((*path, "spread_deg"), "spread_m is missing beside it")
    elif "spread_deg" in source and ("pass" in source or riding):
        way = "pass" if "pass" in source else "vehicle"
        findings.error(
            (*path, "spread_deg"), f"the line lies along its {way} already", "leave it out"
        )
    metres = source.get("spread_m")
    for vehicle in riding:
        length = vehicle.get("length_m")
        if _is_number(metres) and _is_number(length) and metres > length:
            findings.error(
                (*path, "spread_m"),
                f"the cargo, {metres} m, is longer than its vehicle, {length} m",
            )


def _check_emission(findings: Findings, path: Path, source: Table) -> None:
    nuclide = text(source, "nuclide")
    if "nuclide" not in source and not source.get("n_per_s"):
        findings.error(path, "the source emits nothing", "give it nuclide and activity, or n_per_s")
    for one, other in (("nuclide", "activity"), ("activity", "nuclide"), ("constant", "nuclide")):
        if one in source and other not in source:
            findings.error((*path, one), f"{other} is missing beside it")
    check_nuclide(findings, (*path, "nuclide"), nuclide)
    if (
        source.get("kind") == "patient"
        and "shielding" not in source
        and nuclide in NUCLIDES
        and nuclide not in SELF_SHIELDING
    ):
        _no_shielding(findings, (*path, "shielding"), nuclide)


def _no_shielding(findings: Findings, path: Path, nuclide: str | None) -> None:
    findings.error(
        path,
        f"the key is missing: no measured self-shielding of a patient with {nuclide}",
        f"known: {', '.join(SELF_SHIELDING)}",
    )


def _check_passages(findings: Findings) -> None:
    detectors = {
        name: each for _, each in tables(findings.data, "detector") for name in detector_ids(each)
    }
    sources = ids(findings, "source")
    for key in ("occupancy", "vehicle"):
        for path, passage in tables(findings.data, key):
            _check_portal(findings, (*path, "portal"), text(passage, "portal"), detectors)
            check_reference(findings, (*path, "cargo"), passage.get("cargo"), sources, "source")
    for path, source in tables(findings.data, "source"):
        past = text(part(source, "pass"), "past")
        where = (*path, "pass", "past")
        check_reference(findings, where, past, all_detectors(findings), "detector")
        if past in detectors and not _has_place(findings, detectors[past]):
            findings.error(where, f"{shown(past)} has no place that one could pass")
    _check_crowds(findings, detectors)
    _check_zones(findings)
    _check_pressure(findings)


def _check_crowds(findings: Findings, detectors: dict[str, Table]) -> None:
    for path, crowd in tables(findings.data, "crowd"):
        portals = crowd.get("portals")
        for index, name in enumerate(portals if isinstance(portals, list) else ()):
            where = (*path, "portals", index)
            if isinstance(name, str):
                _check_portal(findings, where, name, detectors)
            if name in detectors and not _has_place(findings, detectors[name]):
                findings.error(where, f"{shown(name)} has no place that one could pass")
        nuclide = text(crowd, "nuclide")
        check_nuclide(findings, (*path, "nuclide"), nuclide)
        if nuclide in NUCLIDES and nuclide not in SELF_SHIELDING and "shielding" not in crowd:
            _no_shielding(findings, (*path, "shielding"), nuclide)
        begin, end = crowd.get("from_s"), crowd.get("to_s")
        if _is_number(begin) and _is_number(end) and end <= begin:
            findings.error((*path, "to_s"), f"{end} s does not come after {begin} s")


def _check_zones(findings: Findings) -> None:
    for path, zone in tables(findings.data, "zone"):
        for low, high in (("x_min", "x_max"), ("y_min", "y_max")):
            first, second = zone.get(low), zone.get(high)
            if _is_number(first) and _is_number(second) and second <= first:
                findings.error((*path, high), f"{second} is not above {low}, {first}")


def _check_pressure(findings: Findings) -> None:
    has_coefficient = "neutrons_per_hpa" in part(findings.data, "world")
    usual: str | None = None
    for path, corner in tables(findings.data, "pressure"):
        keys = [key for key in ("factor", "hpa") if key in corner]
        if len(keys) != 1:
            findings.error(path, "a corner of the pressure has one of factor and hpa")
            continue
        (key,) = keys
        usual = usual or key
        if key != usual:
            findings.error((*path, key), f"the corners before have {usual}, not {key}")
        elif key == "hpa" and not has_coefficient:
            findings.error(
                (*path, key),
                "neutrons_per_hpa is missing in [world]",
                "how much the neutron background falls for 1 hPa more",
            )


def _check_portal(
    findings: Findings, path: Path, name: str | None, detectors: dict[str, Table]
) -> None:
    portals = {key for key, each in detectors.items() if key and each.get("archetype") == "RPM"}
    if name is not None and name in detectors and name not in portals:
        findings.error(
            path, f"{shown(name)} is no portal", f"portals: {', '.join(sorted(portals))}"
        )
    else:
        check_reference(findings, path, name, portals, "detector")


def check_sent(findings: Findings) -> None:
    """Whoever is sent with a source passes a detector that has a place."""
    detectors = {
        name: each for _, each in tables(findings.data, "detector") for name in detector_ids(each)
    }
    for path, event in tables(findings.data, "event"):
        past = text(event, "past")
        if past in detectors and not _has_place(findings, detectors[past]):
            findings.error((*path, "past"), f"{shown(past)} has no place that one could pass")


def _check_references(findings: Findings) -> None:
    detectors = all_detectors(findings)
    for path, change in tables(findings.data, "background_change"):
        named = change.get("detectors")
        for index, name in enumerate(named if isinstance(named, list) else ()):
            check_reference(findings, (*path, "detectors", index), name, detectors, "detector")


def _check_times(findings: Findings) -> None:
    for key in ("source", "detector"):
        for path, moving in tables(findings.data, key):
            _check_ascending(findings, (*path, "path"), [p for _, p in tables(moving, "path")])
            points = [p for _, p in tables(part(moving, "script"), "points")]
            _check_ascending(findings, (*path, "script", "points"), points)
    _check_ascending(
        findings, ("pressure",), [each for _, each in tables(findings.data, "pressure")]
    )
    end = part(findings.data, "scenario").get("duration_s")
    for key in ("event", "occupancy", "vehicle", "rain", "background_change", "xray"):
        for path, each in tables(findings.data, key):
            at = each.get("at_s")
            if _is_number(at) and _is_number(end) and at > end:
                findings.advice((*path, "at_s"), f"{at} s is after the end, {end} s")


def _check_ascending(findings: Findings, path: Path, points: list[Table]) -> None:
    for index, (earlier, later) in enumerate(pairwise(points), start=1):
        first, second = earlier.get("t"), later.get("t")
        if _is_number(first) and _is_number(second) and second <= first:
            findings.error((*path, index, "t"), f"{second} s does not come after {first} s")


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
