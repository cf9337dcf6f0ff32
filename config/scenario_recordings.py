"""Recordings that stand as instruments in a scenario. Run on raw data."""

from pathlib import Path
from typing import Final

from config.locate import Path as Key
from config.problem import Findings, shown
from config.scenario_link_checks import driver_of
from config.tables import Table, tables, text
from drivers.codec.recording import BadRecording, Header, Recording, is_header, read_recording

_WORLDLY: Final = ("settings", "script", "dead_time", "drift")
"""Keys that say how a simulated instrument makes its bytes: a recording has them."""


def read(path: Path) -> Recording:
    """The recording in a file. Raises OSError and BadRecording."""
    with path.open(encoding="utf-8", errors="replace") as lines:
        return read_recording(lines)


def with_recordings(findings: Findings) -> Findings:
    """The same document, paths of recordings beside the file itself, and their drivers."""
    detectors = findings.data.get("detector")
    if not isinstance(detectors, list):
        return findings
    folder = Path(findings.file).parent
    resolved = [_resolved(each, folder) for each in detectors]
    return Findings(findings.file, findings.data | {"detector": resolved}, findings.locations)


def _resolved(detector: object, folder: Path) -> object:
    if not isinstance(detector, dict) or not isinstance(detector.get("recording"), str):
        return detector
    path = folder / detector["recording"]
    header = _header(path)
    usual = {"driver": header.driver} if header is not None else {}
    return usual | detector | {"recording": str(path)}


def _header(path: Path) -> Header | None:
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            first = lines.readline(1 << 16)
        return read_recording([first]).header if is_header(first) else None
    except (OSError, BadRecording):
        return None


def check_recordings(findings: Findings) -> None:
    """They are there, are of the driver that reads them, and nobody says how they should sound."""
    for path, detector in tables(findings.data, "detector"):
        name = text(detector, "recording")
        if name is None:
            if "at_s" in detector:
                findings.error((*path, "at_s"), "recording is missing beside it")
            continue
        _check_file(findings, (*path, "recording"), detector, Path(name))
        for key in _WORLDLY:
            if key in detector:
                findings.error((*path, key), "a recording says what it said", "leave it out")


def _check_file(findings: Findings, key: Key, detector: Table, path: Path) -> None:
    try:
        recording = read(path)
    except OSError as error:
        findings.error(key, f"{path.name!r} cannot be read: {error.strerror}", _where(path))
        return
    except BadRecording as error:
        findings.error(key, f"{path.name!r} is no recording: {error}")
        return
    header, (driver, _) = recording.header, driver_of(detector)
    if header is not None and header.driver != driver:
        findings.error(
            (*key[:-1], "driver"),
            f"the recording is of {shown(header.driver)}, not of {shown(driver)}",
            "leave driver out",
        )


def _where(path: Path) -> str:
    return f"the path is from the scenario's folder, {path.parent}"
