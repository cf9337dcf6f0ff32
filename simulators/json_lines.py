"""An instrument that is simply its archetype and speaks the open line format.

It counts over each period without gaps and sends a line at the end of it. What each archetype
measures is in ``json_meter`` and ``json_portal``; here are time, power, states and identity.
"""

import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import ClassVar, Final, get_args

from config.actions import InstrumentState
from config.scenario_detectors import JsonLinesSettings
from drivers.api import Channel, Flag
from simulators.api import Emission, Field
from simulators.counter import Counter
from simulators.device_clock import DeviceClock
from simulators.json_meter import Meter
from simulators.json_portal import Portal
from simulators.json_text import Line, Says

DEFAULT_START: Final = datetime(2026, 6, 1, 12, tzinfo=UTC)
IDENTITY_S: Final = 10.0
"""So often it says who it is; own choice."""
LOW_BATTERY_PERCENT: Final = 5.0
"""What a battery shows that a scenario makes low; own choice."""
_POSITIONED: Final = frozenset({"BP", "VEH"})


class ArchetypeInstrument:
    """One simulated instrument."""

    states: ClassVar[frozenset[str]] = frozenset(
        get_args(InstrumentState.model_fields["do"].annotation)
    )

    def __init__(
        self, settings: JsonLinesSettings, rng: random.Random, start: datetime | None = None
    ) -> None:
        self._settings = settings
        self._clock = DeviceClock(
            start or DEFAULT_START, settings.clock_offset_s, settings.clock_ppm
        )
        self._rng = rng
        self._serial = settings.serial
        self._on: set[str] = set()
        self._told: set[str] = set()
        self._identified: list[tuple[str, str, float | None]] = []
        self._measuring: Meter | Portal | None = None
        self._period_s = settings.period_s or 0.0
        self._origin = 0.0
        self._periods = 0
        self._since: float | None = None
        self._identity_due = 0.0
        self._last: tuple[bytes, Says] | None = None

    def set_serial(self, serial: str) -> None:
        """Another instrument answers; it says so with its next line."""
        self._serial = serial
        self._identity_due = 0.0

    def set_state(self, name: str, *, on: bool) -> None:
        """A state of the instrument."""
        (self._on.add if on else self._on.discard)(name)
        self._told.add(name)

    def identify(self, nuclide: str, category: str, confidence: float | None) -> None:
        """Names a nuclide in the next line."""
        self._identified.append((nuclide, category, confidence))

    def receive(self, at_s: float, data: bytes, field: Field) -> Sequence[Emission]:
        """Nothing: it does not listen."""
        return ()

    def next_s(self) -> float:
        """The end of this period."""
        return self._origin + (self._periods + 1) * self._period_s

    def advance(self, to_s: float, field: Field) -> Sequence[Emission]:
        """The lines of the periods that end up to ``to_s``, while it is switched on."""
        if self._measuring is None:
            self._measuring = self._begin(field.counter)
        emissions: list[Emission] = []
        period_s = self._period_s
        while (end_s := self._origin + (self._periods + 1) * period_s) <= to_s:
            begin_s = self._origin + self._periods * period_s
            self._periods += 1
            since = field.on_since(end_s)
            if since != self._since and not self._switched(since, begin_s):
                continue
            if since is not None:
                self._tell(emissions, self._measuring, begin_s, end_s, field)
        return emissions

    def _begin(self, counter: Counter) -> Meter | Portal:
        self._period_s = self._settings.period_s or counter.archetype.step_s
        if counter.archetype.name == "RPM":
            return Portal(self._settings, counter, self._period_s)
        return Meter(self._settings, counter, self._period_s, self._rng)

    def _switched(self, since: float | None, begin_s: float) -> bool:
        """It was switched on or off; whether the period that ends now is a whole one."""
        was_on, self._since = self._since is not None, since
        if since is None:
            return False
        if self._measuring is not None and (was_on or since > 0):
            self._measuring.restart()
        self._identity_due = 0.0
        if since <= begin_s:
            return True
        self._origin, self._periods = since, 0
        return False

    def _tell(
        self,
        emissions: list[Emission],
        measuring: Meter | Portal,
        begin_s: float,
        end_s: float,
        field: Field,
    ) -> None:
        line = Line()
        measuring.measure(line, begin_s, end_s, field, self._on)
        if self._told or self._identified:
            self._tell_states(line)
        self._tell_more(line, end_s, field)
        if "frozen_value" in self._on and self._last is not None:
            emissions.append(Emission(end_s, *self._last))
            return
        self._last = line.data(), line.says
        emissions.append(Emission(end_s, *self._last))
        if isinstance(measuring, Portal) and (passed := measuring.after(end_s)):
            emissions.append(Emission(end_s, *passed))

    def _tell_states(self, line: Line) -> None:
        """States that were ever set are told ever after, so that a lost line does no harm."""
        on = self._on
        if "tamper" in self._told:
            line.state(Channel.TAMPER, "tamper" in on)
        if "fault" in self._told:
            line.state(Channel.DEVICE_FAULT, "fault" in on)
        if "battery_low" in self._told:
            line.state(Channel.DEVICE_FAULT, "battery_low" in on, "battery_low")
        if "self_test" in on:
            line.flags += (Flag.SELF_TEST,)
        for nuclide, category, confidence in self._identified:
            line.value(Channel.NUCLIDE, confidence, "1", part=nuclide, raw=category)
        self._identified.clear()

    def _tell_more(self, line: Line, end_s: float, field: Field) -> None:
        settings = self._settings
        since = self._since or 0.0
        if "battery_low" in self._on:
            line.value(Channel.BATTERY, LOW_BATTERY_PERCENT, "%", window_s=0.0)
        elif settings.battery_percent is not None:
            used = settings.battery_percent_per_h * (end_s - since) / 3600
            line.value(Channel.BATTERY, max(settings.battery_percent - used, 0.0), "%")
        if settings.clock:
            shown = self._clock.at(end_s).astimezone(UTC)
            line.add("time", shown.isoformat(timespec="milliseconds").replace("+00:00", "Z"))
        if settings.warm_up_s and end_s - since < settings.warm_up_s:
            line.flags += (Flag.WARMING_UP,)
        if (self._serial or settings.calibration) and end_s >= self._identity_due:
            self._identity_due = end_s + IDENTITY_S
            line.add("identity", self._identity(field.counter))
        is_positioned = settings.position
        if is_positioned is None:
            is_positioned = field.counter.archetype.name in _POSITIONED
        if is_positioned and (place := field.position(end_s)) is not None:
            where = {"latitude": place.latitude, "longitude": place.longitude}
            line.add("position", where)

    def _identity(self, counter: Counter) -> dict[str, object]:
        name = counter.archetype.name
        told: dict[str, object] = {"model": name}
        if self._serial:
            told["serial"] = self._serial
        if self._settings.calibration:
            told["calibration"] = {
                "points": [[counter.per_usv_h(None), 1.0]],
                "source": f"sensitivity of the simulated {name}",
                "nuclide": "Cs-137",
            }
        return told


def create(
    settings: Mapping[str, bool | int | float | str],
    rng: random.Random,
    start: datetime | None = None,
) -> ArchetypeInstrument:
    """An instrument with these settings. Raises pydantic.ValidationError for others."""
    return ArchetypeInstrument(JsonLinesSettings.model_validate(dict(settings)), rng, start)
