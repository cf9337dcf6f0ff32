"""The simulated bGeigie: its habits, and that the driver understands what it says."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from drivers.api import Flag, Position, Sample
from drivers.bgeigie import BGeigie as Driver
from drivers.bgeigie import Sentence, decode
from simulators.api import Emission
from simulators.bgeigie import create


@dataclass
class Steady:
    """A constant count rate in 1/s at a place that may have no sky."""

    rate: float = 6.0
    place: Position | None = field(default_factory=lambda: Position(-33.5, -70.25, 520.0))
    rng: random.Random = field(default_factory=lambda: random.Random(7))

    def dose_rate(self, at_s: float) -> float:
        return self.rate * 60 / 334

    def gamma_counts(self, from_s: float, to_s: float, part: int = 0) -> int:
        mean = self.rate * (to_s - from_s)
        return max(0, round(self.rng.gauss(mean, mean**0.5)))

    def neutron_counts(self, from_s: float, to_s: float, part: int = 0) -> int:
        return 0

    def occupied(self, at_s: float) -> bool:
        return False

    def speed_m_s(self, at_s: float) -> float | None:
        return None

    def position(self, at_s: float) -> Position | None:
        return self.place


def play(
    world: Steady, to_s: float, settings: Mapping[str, bool | int | float | str] | None = None
) -> list[Emission]:
    return list(create(settings or {}, random.Random(1)).advance(to_s, world))


def understood(emission: Emission, driver: Driver) -> dict[str, float | int | None]:
    values: dict[str, float | int | None] = {}
    for output in driver.feed(emission.data):
        assert isinstance(output, Sample)
        for reading in output.readings:
            name = f"{reading.channel}.{reading.part}".removesuffix(".")
            values[name] = reading.value
    return values


@pytest.mark.parametrize("rate", [0.0, 0.5, 6.0, 3000.0, 9000.0])
def test_the_driver_understands_what_is_said(rate: float) -> None:
    driver = Driver()
    emissions = play(Steady(rate), 300.0, {"late_chance": 0.3})
    assert len(emissions) > 55
    for emission in emissions:
        assert understood(emission, driver) == emission.says


def test_first_minute_is_void_and_then_counts_come() -> None:
    driver = Driver()
    sentences = [decode(e.data.rstrip()) for e in play(Steady(), 100.0)[1:]]
    assert all(isinstance(sentence, Sentence) for sentence in sentences)
    assert [s.valid for s in sentences if isinstance(s, Sentence)] == [False] * 12 + [True] * 8
    outputs = [o for e in play(Steady(), 100.0) for o in driver.feed(e.data)]
    flags = [o.readings[0].flags for o in outputs if isinstance(o, Sample)]
    assert flags == [(Flag.WARMING_UP,)] * 12 + [()] * 8


def test_gps_is_void_until_the_fix() -> None:
    driver = Driver()
    emissions = play(Steady(), 30.0, {"void_fixes": 2})
    assert b"2012-00-00T00:00:00Z" in emissions[1].data
    assert emissions[1].data.startswith(b"$BNRDD,1234,")
    assert emissions[1].data.endswith(b"\r\n")
    samples = [o for e in emissions for o in driver.feed(e.data) if isinstance(o, Sample)]
    assert [sample.position is None for sample in samples] == [True] * 2 + [False] * 4
    place = samples[-1].position
    assert place is not None
    assert (place.latitude, place.longitude) == pytest.approx((-33.5, -70.25), abs=2e-6)
    assert (place.altitude_m, place.hdop, place.satellites) == (520.0, pytest.approx(1.1), 8)
    assert samples[2].device_time == datetime(2026, 6, 1, 12, 0, 15, tzinfo=UTC)
    assert samples[0].identity is not None
    assert samples[0].identity.settings == (("deadtime", "on"),)


def test_no_sky_no_position() -> None:
    driver = Driver()
    for emission in play(Steady(place=None), 60.0):
        for output in driver.feed(emission.data):
            assert isinstance(output, Sample)
            assert output.position is output.device_time is None


def test_dead_time_formula() -> None:
    """200 counts a second are 12 000 cpm; 12000 / (1 - 12000 * 1.8833e-6) = 12277."""

    class Exact(Steady):
        def gamma_counts(self, from_s: float, to_s: float, part: int = 0) -> int:
            return round(self.rate * (to_s - from_s))

    for dead_time, cpm in ((True, 12_277), (False, 12_000)):
        last = play(Exact(200.0), 65.0, {"dead_time": dead_time})[-1]
        assert last.says == {"gamma_counts": 1000, "gamma_count_rate.cpm": cpm}
    saturated = play(Exact(20_000.0), 65.0)[-1]
    assert saturated.says["gamma_counts"] is None


def test_advance_in_small_steps_says_the_same() -> None:
    small, world = create({"late_chance": 0.5}, random.Random(1)), Steady()
    stepped = [e for second in range(201) for e in small.advance(float(second), world)]
    assert stepped == play(Steady(), 200.0, {"late_chance": 0.5})
    gaps = {b.at_s - a.at_s for a, b in pairwise(stepped[1:])}
    assert gaps == {4.0, 5.0, 6.0}
    assert small.receive(1.0, b"hello", world) == ()


@pytest.mark.parametrize(
    ("header", "model"),
    [("BMRDD", "bGeigie Mini"), ("CZRA1", "CzechRad"), ("BGRDD", "bGeigie Classic")],
)
def test_relatives(header: str, model: str) -> None:
    driver = Driver()
    emissions = play(Steady(), 30.0, {"header": header, "comments": False, "device_id": 28})
    samples = [o for e in emissions for o in driver.feed(e.data) if isinstance(o, Sample)]
    assert samples[0].identity is not None
    assert (samples[0].identity.model, samples[0].identity.serial) == (model, "0028")
    assert samples[-1].position is not None
    assert samples[-1].position.hdop == pytest.approx(1.1)
