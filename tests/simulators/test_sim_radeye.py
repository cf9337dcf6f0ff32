"""The simulated RadEye with the real driver in virtual time."""

import random

import pytest

from drivers.api import Channel, Flag, Identity, Output, Sample
from drivers.errors import DriverError, Reject
from drivers.radeye import DRIVER
from simulators.api import Emission, Field
from simulators.dialogue import VirtualSession
from simulators.radeye import create

Value = bool | int | float | str


class Steady:
    """A rate that jumps at 20 s; counts are 10 and 2 in each second."""

    def __init__(self, later: float = 0.12) -> None:
        self.later = later

    def dose_rate(self, at_s: float) -> float:
        return 0.12 if at_s < 20 else self.later

    def gamma_counts(self, from_s: float, to_s: float, part: int = 0) -> int:
        return 10

    def neutron_counts(self, from_s: float, to_s: float, part: int = 0) -> int:
        return 2

    def occupied(self, at_s: float) -> bool:
        return False

    def speed_m_s(self, at_s: float) -> None:
        return None

    position = speed_m_s


def play(
    settings: dict[str, Value],
    to_s: float = 30.0,
    field: Field | None = None,
    options: dict[str, Value] | None = None,
) -> tuple[list[tuple[float, Output | Identity]], list[Emission]]:
    heard: list[Emission] = []
    instrument = create(settings, random.Random(7))
    session = VirtualSession(
        DRIVER, DRIVER.create(options or {}), instrument, field or Steady(), witness=heard.append
    )
    return list(session.run(to_s)), heard


def faithful(events: list[tuple[float, Output | Identity]], heard: list[Emission]) -> int:
    """Compares each frame sent with the sample read; the number of samples."""
    read = [
        {f"{r.channel}.{r.part}".rstrip("."): r.value for r in event.readings}
        for _, event in events
        if isinstance(event, Sample) and event.readings[0].channel is not Channel.BATTERY
    ]
    sent = [dict(emission.says) for emission in heard if emission.says]
    assert len(read) == len(sent)
    for got, said in zip(read, sent, strict=True):
        assert {name: got[name] for name in said} == said
    return len(read)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"blank_after_stx": False, "answers_on_own_line": True},
        {"kind": "FH41PR", "model": "RadEye PRD"},
        {"kind": "G20ER", "battery_low": True, "noise": 0.2},
        {"kind": "GN+", "model": "RadEye GN+"},
        {"kind": "REAB10", "model": "RadEye AB100"},
        {"streams_at_start": True},
        {"range_top_usv_h": 250.0, "kind": "PRDER"},
    ],
)
def test_what_is_read_is_what_was_sent(settings: dict[str, Value]) -> None:
    events, heard = play(settings, 60.0, Steady(later=300.0))
    assert faithful(events, heard) >= 57
    assert isinstance(events[0][1], Identity)
    assert not any(isinstance(event, DriverError) for _, event in events[3:])


def test_an_old_instrument_needs_a_configured_unit() -> None:
    settings: dict[str, Value] = {"kind": "REGDW", "firmware": "1.52"}
    events, _ = play(settings)
    unsure = [event for _, event in events if isinstance(event, DriverError)]
    assert [error.reason for error in unsure] == [Reject.UNSUPPORTED]
    events, heard = play(settings, options={"unit": "µSv/h"})
    assert faithful(events, heard) > 20


def test_averaging_is_first_order() -> None:
    events, _ = play({"noise": 0.0, "averaging_s": 5.0}, 30.0, Steady(later=100.12))
    rates = [e.readings[0].value for _, e in events if isinstance(e, Sample)]
    # Five seconds after the step: 1 - 1/e of it, 63.21 of 100 µSv/h. Frames 20 to 24 s.
    assert rates[-7] == pytest.approx(0.12 + 63.21, abs=0.01)


def test_above_range_there_is_no_number() -> None:
    events, _ = play({"range_top_usv_h": 1000.0}, 40.0, Steady(later=5000.0))
    last = events[-1][1]
    assert isinstance(last, Sample)
    assert last.readings[0].value is None
    assert Flag.OVER_RANGE in last.readings[0].flags


def test_switched_off_and_on_again() -> None:
    events, heard = play({"off_at_s": 10.5, "on_at_s": 25.0}, 60.0)
    assert sum(isinstance(event, Identity) for _, event in events) == 2
    off = [
        (round(at_s), reading.value)
        for at_s, event in events
        if isinstance(event, Sample)
        for reading in event.readings
        if reading.part == "switched_off"
    ]
    assert [value for _, value in off] == [1, 0]
    assert off[0][0] == 11
    assert faithful(events, heard) > 30


def test_same_seed_same_bytes() -> None:
    assert play({"noise": 0.3})[1] == play({"noise": 0.3})[1]


def test_unknown_settings_are_errors() -> None:
    with pytest.raises(AttributeError):
        create({"colour": "red"}, random.Random(1))
