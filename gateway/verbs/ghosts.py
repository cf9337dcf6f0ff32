"""Ghosts for a running gateway, from the text of a scenario."""

import tempfile
from pathlib import Path

from config.models import Detector
from config.problem import format_problem
from config.scenario import Scenario, examine_scenario
from drivers.api import Calibration, Identity
from drivers.codec.calibration import dose_rate, is_usable
from gateway.drill.values import BadDrill, Ghosts, Ground
from simulators.ghost import GhostWorld

NAME = "drill.toml"


def summon(text: str, ground: Ground) -> Ghosts:
    """The ghosts of a scenario over the live detectors. Raises ValueError."""
    sensitivities = {}
    for detector in ground.live:
        found = sensitivity(detector, ground.identities[detector.id])
        if found is not None:
            sensitivities[detector.id] = found
    return GhostWorld(_scenario(text), ground.live, ground.configuration.post, sensitivities)


def sensitivity(detector: Detector, identity: Identity) -> float | None:
    """1/s per µSv/h by the certificate, or what the instrument says itself; None: unknown."""
    table = detector.calibration
    calibration = identity.calibration
    if table is not None:
        points = tuple((point.counts, point.dose_rate) for point in table.points)
        calibration = Calibration(points, table.source, table.nuclide)
    if calibration is None or not is_usable(calibration.points):
        return None
    counts, _ = calibration.points[0]
    return counts / dose_rate(calibration, counts)


def _scenario(text: str) -> Scenario:
    with tempfile.TemporaryDirectory(prefix="dosegate-drill-") as folder:
        path = Path(folder) / NAME
        path.write_text(text, encoding="utf-8")
        examination = examine_scenario(path)
    if examination.scenario is None:
        told = "\n".join(format_problem(problem) for problem in examination.problems)
        raise BadDrill(told.replace(f"{folder}/", ""))
    return examination.scenario
