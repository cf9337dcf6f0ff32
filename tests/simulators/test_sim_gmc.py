"""The simulated GMC with the real driver in virtual time."""

import random
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from drivers.api import Identity, Output, Sample
from drivers.codec.calibration import dose_rate, slope
from drivers.errors import DriverError, Reject
from drivers.gmc import DRIVER
from simulators.api import Emission
from simulators.dialogue import VirtualSession
from simulators.gmc import Gmc, create

ROOT = Path(__file__).resolve().parents[2]
VECTORS = tomllib.loads((ROOT / "tests/data/vectors/gq-gmc.toml").read_text("utf-8"))
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

    def on_since(self, at_s: float) -> float | None:
        return 0.0

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


class Burst(Counting):
    """So many counts in the second that ends at ``at_s``, none in any other."""

    def __init__(self, counts: int, at_s: float) -> None:
        super().__init__()
        self.counts, self.at_s = counts, at_s

    def gamma_counts(self, from_s: float, to_s: float, part: int = 0) -> int:
        return self.counts if to_s == self.at_s else 0


def ask(instrument: Gmc, name: str, at_s: float = 5.5, field: Counting | None = None) -> bytes:
    heard = instrument.receive(at_s, b"<" + name.encode() + b">>", field or Counting())
    return b"".join(each.data for each in heard)


MODELS = {
    "300S": ("GMC-300S", "1.14"),
    "320+": ("GMC-320", "4.26"),
    "320+V5": ("GMC-320+V5", "5.73"),
    "500+": ("GMC-500+", "2.22"),
    "800": ("GMC-800", "1.08"),
}


def of_vector(vector: dict[str, Any], **more: Value) -> Gmc:
    """The model that a vector's provenance names."""
    short = next(word for word in reversed(MODELS) if word in vector["provenance"])
    model, firmware = MODELS[short]
    return create({"model": model, "firmware": firmware, **more}, random.Random(1))


@pytest.mark.parametrize("vector", VECTORS["version"], ids=lambda vector: vector["firmware"])
def test_versions_are_the_captured_bytes(vector: dict[str, Any]) -> None:
    assert ask(of_vector(vector), "GETVER") == bytes.fromhex(vector["bytes"])


@pytest.mark.parametrize("vector", VECTORS["count"], ids=lambda vector: vector["provenance"])
def test_counts_are_the_captured_bytes(vector: dict[str, Any]) -> None:
    name, at_s = ("GETCPM", 2.0) if "cpm" in vector else ("GETCPS", 5.0)
    burst = Burst(vector.get("cpm", vector.get("cps")), at_s)
    assert ask(of_vector(vector), name, field=burst) == bytes.fromhex(vector["bytes"])


@pytest.mark.parametrize("vector", VECTORS["volts"], ids=lambda vector: vector["form"])
def test_volts_are_the_captured_bytes(vector: dict[str, Any]) -> None:
    model, firmware = ("GMC-300S", "1.14") if vector["form"] == "byte" else ("GMC-500+", "2.22")
    settings: dict[str, Value] = {
        "model": model,
        "firmware": firmware,
        "volts": vector["volts"],
        "volts_two_places": "without" in vector["form"],
    }
    assert ask(create(settings, random.Random(1)), "GETVOLT") == bytes.fromhex(vector["bytes"])


@pytest.mark.parametrize("vector", VECTORS["calibration"], ids=lambda vector: vector["model"])
def test_factory_points_are_the_captured_bytes(vector: dict[str, Any]) -> None:
    configuration = ask(of_vector(vector, factory_points=True), "GETCFG")
    captured = bytes.fromhex(vector["bytes"])
    end = 8 + 6 * len(vector["points_cpm"])
    assert configuration[8:end] == captured[8:end]
    assert len(configuration) == (512 if vector["model"] == "GMC-500+" else 256)


def test_two_tubes_are_told_apart_and_counted_together() -> None:
    settings: dict[str, Value] = {"model": "GMC-500+", "firmware": "2.22", "high_tube_share": 0.25}
    unit, burst = create(settings, random.Random(1)), Burst(1200, 5.0)
    low, high, both = (
        int.from_bytes(ask(unit, name, field=burst)) for name in ("GETCPML", "GETCPMH", "GETCPM")
    )
    assert low + high == both == 1200
    assert 240 < high < 360
    low, high = (int.from_bytes(ask(unit, name, field=burst)) for name in ("GETCPSL", "GETCPSH"))
    assert low + high == 1200
    assert ask(unit, "GETMAXCPS", field=burst) == (1200).to_bytes(4)
    small = create({}, random.Random(1))
    assert {ask(small, name, field=burst) for name in ("GETCPML", "GETCPMH")} == {b"\x04\xb0"}
    assert ask(small, "GETMAXCPS", field=burst) == b""
    assert ask(create({"model": "GMC-800", "firmware": "1.08"}, random.Random(1)), "GETCPML") == b""


def test_its_clock_runs_fast() -> None:
    start = datetime(2023, 11, 10, 12, 15, 5, tzinfo=UTC)
    right = create({"clock_ppm": 0.0}, random.Random(1), start)
    assert ask(right, "GETDATETIME", 0.0) == bytes.fromhex("170B0A0C0F05AA")  # captured: 300S
    fast = create({"clock_offset_s": -10.0}, random.Random(1), start)
    day_s = 86_400.0
    assert ask(fast, "GETDATETIME", day_s) == bytes((23, 11, 11, 12, 15, 15, 0xAA))


def test_answers_few_ask_for() -> None:
    celsius: dict[str, Value] = {"model": "GMC-320", "firmware": "4.26", "temperature_c": -4.0}
    unit = create(celsius, random.Random(1))
    assert ask(unit, "GETTEMP") == bytes((4, 0, 1, 0xAA))
    assert ask(unit, "GETGYRO") == bytes.fromhex("FF040010004CAA")  # captured: 320+
    for model, firmware, name in (
        ("GMC-300S", "1.14", "GETTEMP"),
        ("GMC-800", "1.08", "GETGYRO"),
        ("GMC-800", "1.08", "GETVOLT"),
        ("GMC-300S", "1.14", "WCFG"),
    ):
        assert ask(create({"model": model, "firmware": firmware}, random.Random(1)), name) == b""


def test_switched_off_by_key_only_the_configuration_tells() -> None:
    identity = play({"key_off": True})[0][0][1]
    assert isinstance(identity, Identity)
    assert ("switched_on", "no") in identity.settings


def test_a_version_that_is_told_only_after_a_count_of_a_minute() -> None:
    events, _ = play({"wants_cpm_first": True})
    assert isinstance(events[0][1], Identity)
    assert len(values(events)) > 40


def test_answers_that_are_left_out_are_errors() -> None:
    events, heard = play({"silent_every": 9}, 120.0)
    assert {error.reason for error in errors(events)} == {Reject.TIMEOUT}
    said = {pair for emission in heard for pair in emission.says.items()}
    assert set(values(events)) <= said


class Switched(Counting):
    """Off from 100 s to 130 s; 5 counts in each second."""

    def gamma_counts(self, from_s: float, to_s: float, part: int = 0) -> int:
        return 5

    def on_since(self, at_s: float) -> float | None:
        if 100 <= at_s < 130:
            return None
        return 0.0 if at_s < 100 else 130.0


def test_a_minute_fills_anew_after_switching_on() -> None:
    unit, field = create({"first_value": 16_000}, random.Random(1)), Switched()
    told = [int.from_bytes(ask(unit, "GETCPM", at, field)) for at in (30.5, 30.6, 99.5)]
    assert told == [16_000, 150, 300]
    assert ask(unit, "GETCPM", 110.0, field) == b""
    told = [int.from_bytes(ask(unit, "GETCPM", at, field)) for at in (140.5, 140.6, 200.5)]
    assert told == [16_000, 50, 300]


def test_a_dead_tube_and_counts_that_stand_still() -> None:
    unit = create({}, random.Random(1))
    unit.advance(5.0, Counting())
    unit.set_state("frozen_value", on=True)
    assert {ask(unit, "GETCPS", at) for at in (6.5, 9.5, 12.5)} == {b"\x00\x04"}
    unit.set_state("frozen_value", on=False)
    unit.set_state("dead_channel", on=True)
    assert ask(unit, "GETCPS", 13.5) == b"\x00\x00"
    assert ask(unit, "GETCPM", 90.0) == b"\x00\x00"


@pytest.mark.parametrize(
    "settings",
    [
        {"modle": 1},
        {"estimate_s": 0},
        {"width": 3},
        {"high_tube_share": 2.0},
        {"model": "GMC-SE", "firmware": "1.05", "factory_points": True},
        {"heartbeat": 1},
        {"silent_every": 1.5},
    ],
)
def test_settings_that_are_refused(settings: dict[str, Value]) -> None:
    with pytest.raises(ValueError, match=next(reversed(settings))):
        create(settings, random.Random(1))


@pytest.mark.parametrize(("estimate_s", "minute"), [(60, 300), (30, 600), (5, 3600), (3, 6000)])
def test_fast_estimate_extrapolates(estimate_s: int, minute: int) -> None:
    """300 counts within the last second of 60; a model without the setting takes all 60 s."""
    burst = Burst(300, 60.0)
    unit = create({"estimate_s": estimate_s}, random.Random(1))
    assert int.from_bytes(ask(unit, "GETCPM", 60.5, burst)) == minute
    old: dict[str, Value] = {"model": "GMC-320", "firmware": "4.26", "estimate_s": estimate_s}
    assert int.from_bytes(ask(create(old, random.Random(1)), "GETCPM", 60.5, burst)) == 300


def test_the_version_of_an_se_has_a_blank_before_its_mark() -> None:
    unit = create({"model": "GMC-SE", "firmware": "1.05"}, random.Random(1))
    assert ask(unit, "GETVER") == b"GMC-SE Re 1.05"
