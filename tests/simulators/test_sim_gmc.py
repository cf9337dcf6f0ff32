"""The simulated GMC with the real driver in virtual time."""

import random

import pytest

from drivers.api import Identity, Output, Sample
from drivers.codec.calibration import dose_rate, slope
from drivers.errors import DriverError, Reject
from drivers.gmc import DRIVER
from simulators.api import Emission
from simulators.dialogue import VirtualSession
from simulators.gmc import create

Value = bool | int | float | str
Events = list[tuple[float, Output | Identity]]


class Counting:
    """As many counts in a second as its number says, modulo 17."""

    def __init__(self, first: int = 0) -> None:
        self.first = first

    def gamma_counts(self, from_s: float, to_s: float, part: int = 0) -> int:
        return self.first + int(from_s) % 17

    def dose_rate(self, at_s: float) -> float:
        return 0.1

    neutron_counts = gamma_counts

    def occupied(self, at_s: float) -> bool:
        return False

    def speed_m_s(self, at_s: float) -> None:
        return None

    position = speed_m_s


def play(
    settings: dict[str, Value],
    to_s: float = 30.0,
    options: dict[str, Value] | None = None,
    first: int = 0,
) -> tuple[Events, list[Emission]]:
    heard: list[Emission] = []
    session = VirtualSession(
        DRIVER,
        DRIVER.create(options or {}),
        create(settings, random.Random(7)),
        Counting(first),
        witness=heard.append,
    )
    return list(session.run(to_s)), heard


def values(events: Events) -> list[tuple[str, float | int | None]]:
    return [
        (f"{reading.channel}.{reading.part}".rstrip("."), reading.value)
        for _, event in events
        if isinstance(event, Sample)
        for reading in event.readings
    ]


def errors(events: Events) -> list[DriverError]:
    return [event for _, event in events if isinstance(event, DriverError)]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"model": "GMC-320", "firmware": "4.26"},
        {"model": "GMC-500+", "firmware": "2.22"},
        {"model": "GMC-600+", "firmware": "2.52", "width": 2},
        {"model": "GMC-600+", "firmware": "2.2"},
        {"model": "GMC-800", "firmware": "1.08", "silent_versions": 1},
        {"model": "GMC-SE", "firmware": "1.05", "silent_versions": 2},
    ],
)
def test_what_is_read_is_what_was_sent(settings: dict[str, Value]) -> None:
    events, heard = play(settings, 90.0)
    said = [pair for emission in heard for pair in emission.says.items()]
    read = values(events)
    assert read == said[-len(read) :]
    assert len(read) > 160
    assert not errors(events)


def test_the_second_has_two_bytes_of_which_14_bits_count() -> None:
    events, _ = play({}, first=20_000)
    assert all(value is None for name, value in values(events) if name == "gamma_counts")
    wide, _ = play({"model": "GMC-500+", "firmware": "2.22"}, first=20_000)
    assert all(value is not None for _, value in values(wide))


def test_heartbeat_left_on_gives_an_error_each_time_and_no_number() -> None:
    events, _ = play({"heartbeat": True})
    assert not values(events)
    assert {error.reason for error in errors(events)} == {Reject.UNEXPECTED}
    assert "heartbeat_off" in errors(events)[0].detail
    assert len(errors(events)) >= 8


def test_heartbeat_is_stopped_with_permission() -> None:
    events, _ = play({"heartbeat": True}, options={"permission.heartbeat_off": True})
    assert len(values(events)) > 50
    assert not errors(events)


def test_heartbeat_that_cannot_be_stopped_gives_no_number() -> None:
    settings: dict[str, Value] = {"heartbeat": True, "obeys_heartbeat_off": False}
    events, _ = play(settings, options={"permission.heartbeat_off": True})
    assert not values(events)


@pytest.mark.parametrize("permitted", [False, True])
def test_heartbeat_switched_on_while_reading(permitted: bool) -> None:
    instrument = create({"model": "GMC-500+", "firmware": "2.22"}, random.Random(7))
    field = Counting()
    driver = DRIVER.create({"permission.heartbeat_off": permitted})
    session = VirtualSession(DRIVER, driver, instrument, field)
    assert not errors(list(session.run(10.0)))
    instrument.receive(10.0, b"<HEARTBEAT1>>", field)
    disturbed = list(session.run(40.0))
    assert {error.reason for error in errors(disturbed)} == {Reject.UNEXPECTED}
    settled = list(session.run(60.0))
    assert bool(values(settled)) == permitted
    assert bool(errors(settled)) != permitted


@pytest.mark.parametrize("habit", ["short_every", "stray_every"])
def test_spoiled_answers_are_errors_never_numbers(habit: str) -> None:
    events, heard = play({habit: 7}, 120.0)
    assert len(errors(events)) > 10
    said = {pair for emission in heard for pair in emission.says.items()}
    assert set(values(events)) <= said


def test_a_wrong_first_value_is_dropped() -> None:
    settings: dict[str, Value] = {"first_value": 16000}
    options: dict[str, Value] = {"cpm_width": 2}
    assert 16000 not in {value for _, value in values(play(settings, options=options)[0])}
    kept = play(settings, options={**options, "drop_first": False})[0]
    assert 16000 in {value for _, value in values(kept)}


def test_fast_estimate_shortens_the_window() -> None:
    events, _ = play({"estimate_s": 10}, 60.0)
    windows = {
        reading.window_s
        for _, event in events
        if isinstance(event, Sample)
        for reading in event.readings
        if reading.part == "cpm"
    }
    assert windows == {10.0}


def test_calibration_of_a_simulated_unit() -> None:
    identity = play({"usv_h_per_cpm": 0.0065})[0][0][1]
    assert isinstance(identity, Identity)
    assert identity.calibration is not None
    for counts_per_s in (0.0, 0.5, 3.0, 500.0):
        assert dose_rate(identity.calibration, counts_per_s) == pytest.approx(
            counts_per_s * 60 * 0.0065, rel=1e-6
        )
        assert slope(identity.calibration, counts_per_s) == pytest.approx(0.39, rel=1e-6)
