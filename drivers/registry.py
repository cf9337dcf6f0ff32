"""Drivers by name, found through the entry points ``dosegate.drivers``."""

from functools import cache
from importlib.metadata import entry_points

from drivers.api import DriverInfo


class UnknownDriver(LookupError):
    """No driver, or more than one, answers to ``name``; ``known`` lists all."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        super().__init__(f"no driver is called {name!r}; known: {', '.join(known)}")
        self.name = name
        self.known = known


def names() -> tuple[str, ...]:
    """All driver names, sorted."""
    return tuple(sorted(entry_points(group="dosegate.drivers").names))


@cache
def find(name: str) -> DriverInfo:
    """The driver of that name, or the only one that has it as one of its hyphenated words."""
    known = names()
    matches = [name] if name in known else [full for full in known if name in full.split("-")]
    if len(matches) != 1:
        raise UnknownDriver(name, known)
    (entry,) = entry_points(group="dosegate.drivers", name=matches[0])
    driver: DriverInfo = entry.load()
    return driver
