"""What plays a detector of a scenario: a simulated instrument, or a recording of a real one."""

from datetime import datetime
from pathlib import Path
from random import Random

from config.scenario_detectors import ScenarioDetector
from config.scenario_recordings import read
from drivers.registry import find as find_driver
from simulators.api import Instrument, RegisterInstrument
from simulators.recorded import Recorded
from simulators.registry import find


def instrument_of(
    detector: ScenarioDetector, random: Random, start: datetime
) -> Instrument | RegisterInstrument:
    """A new one; ``start`` is what its clock shows at the beginning of play."""
    if detector.recording is not None:
        begins_s = detector.on_s if detector.at_s is None else detector.at_s
        return Recorded(read(Path(detector.recording)).pieces, begins_s)
    return find(find_driver(detector.driver).name)(detector.settings, random, start)
