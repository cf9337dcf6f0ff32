"""Whether an instrument has been switched off and on again since it last looked."""

from enum import StrEnum

from simulators.api import Field


class Powered(StrEnum):
    """What an instrument finds about itself."""

    ON = "on"
    FRESH = "switched on since the last look"
    OFF = "off"


class PowerWatch:
    """Follows one instrument; it is taken for on since 0 s until it looks."""

    def __init__(self) -> None:
        self._since: float | None = 0.0

    def look(self, at_s: float, field: Field) -> Powered:
        """How it stands at ``at_s``."""
        before, self._since = self._since, field.on_since(at_s)
        if self._since is None:
            return Powered.OFF
        return Powered.ON if self._since == before else Powered.FRESH

    @property
    def since_s(self) -> float:
        """When it was switched on last, at the last look."""
        return self._since or 0.0
