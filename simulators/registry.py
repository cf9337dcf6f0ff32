"""Simulated instruments by driver name, found through the entry points ``dosegate.simulators``."""

from collections.abc import Callable, Mapping
from datetime import datetime
from importlib.metadata import entry_points
from random import Random

from simulators.api import Instrument, RegisterInstrument

Settings = Mapping[str, bool | int | float | str]
Create = Callable[[Settings, Random, datetime | None], Instrument | RegisterInstrument]
"""From settings, a generator, and what the instrument's clock shows at the start of play."""


class NoSimulator(LookupError):
    """No simulated instrument for that driver."""


def find(driver: str) -> Create:
    """The factory of the instruments that a driver reads."""
    found = entry_points(group="dosegate.simulators", name=driver)
    if not found:
        known = ", ".join(sorted(entry_points(group="dosegate.simulators").names))
        raise NoSimulator(f"no simulated instrument for driver {driver!r}; there are: {known}")
    create: Create = next(iter(found)).load()
    return create
