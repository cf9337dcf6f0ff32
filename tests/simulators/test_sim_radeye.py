"""The simulated RadEye with the real driver in virtual time."""

import random
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from drivers.api import Channel, Flag, Identity, Output, Sample
from drivers.errors import DriverError, Reject
from drivers.radeye import DRIVER
from drivers.radeye_frames import decode
from simulators.api import Emission, Field
from simulators.dialogue import VirtualSession
from simulators.radeye import RadEye, create

ROOT = Path(__file__).resolve().parents[2]
VECTORS = tomllib.loads((ROOT / "tests/data/vectors/thermo-radeye.toml").read_text("utf-8"))
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

    def on_since(self, at_s: float) -> float | None:
        return 0.0

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
    for settings in ({"colour": "red"}, {"unit": "Sv"}, {"kind": "GN++"}, {"noise": "much"}):
        with pytest.raises(ValueError, match=r"colour|unit|GN\+\+|noise"):
            create(settings, random.Random(1))


@pytest.mark.parametrize(
    ("kind", "unit", "channel"),
    [
        ("FH41B2", "µR/h", "dose_rate"),
        ("G20", "µrem/h", "dose_rate"),
        ("B20", "cps", "gamma_count_rate"),
        ("GF", "cpm", "gamma_count_rate"),
        ("PRDERS", "µR/h", "dose_rate"),
        ("PRDS", "cps", "dose_rate"),
    ],
)
def test_units_of_the_display(kind: str, unit: str, channel: str) -> None:
    settings: dict[str, Value] = {"kind": kind, "unit": unit, "noise": 0.0, "averaging_s": 0.0}
    events, heard = play(settings, 60.0, Steady(later=7.21))
    assert faithful(events, heard) > 50
    last = events[-1][1]
    assert isinstance(last, Sample)
    (reading,) = (each for each in last.readings if each.channel == channel)
    in_unit = {"µR/h": 721, "µrem/h": 721, "cps": 10 if kind == "B20" else None, "cpm": 600}
    assert reading.value == in_unit[unit]


STATUS = [
    ("FH41PR", "3.05", {}, 0x0C),
    ("FH41PR", "3.05", {"status_bits": 0x10}, 0x1C),
    ("FH41B2", "3.05", {"battery_low": True}, 0x24),
    ("FH41B2", "2.05", {}, 0x0C),
    ("REGDW", "1.52", {}, 0x0C),
    ("REAB10", "3.05", {}, 0x04),
    ("GN+", "3.05", {"status_bits": 0xE0}, 0xFC),
    ("GN", "3.05", {"neutron_alarm_cps": 3.0, "battery_low": True}, 0x14),
]
"""DT-029 5.x: G from V3 and AB100 have no dose alarm, GN has no low battery in this byte."""


@pytest.mark.parametrize(("kind", "firmware", "more", "status"), STATUS)
def test_bits_of_the_status_byte(
    kind: str, firmware: str, more: dict[str, Value], status: int
) -> None:
    settings: dict[str, Value] = {
        "kind": kind,
        "firmware": firmware,
        "alarm_usv_h": 0.1,
        "dose_alarm_usv": 0.0,
        "neutron_alarm_cps": 2.0,
        "noise": 0.0,
        "streams_at_start": True,
    }
    (frame,) = create({**settings, **more}, random.Random(1)).advance(1.0, Steady())
    assert decode(frame.data).status == status


def ask(instrument: RadEye, command: bytes, at_s: float = 10.0) -> bytes:
    heard = [*instrument.receive(at_s, b"@" + command + b"\n", Steady())]
    return b"".join(each.data for each in heard)


def test_commands_for_monitoring() -> None:
    start = datetime(2026, 6, 1, 12, tzinfo=UTC)
    clock: dict[str, Value] = {"clock_offset_s": 90.0, "clock_ppm": 1e5}
    instrument = create({**clock, "unit": "µSv/h", "noise": 0.0}, random.Random(1), start)
    assert ask(instrument, b"ZR") == b">#260601120141\r\n"  # 90 s ahead, 1 s in 10 too fast
    assert ask(instrument, b"WR") == b">#250115\r\n"
    assert ask(instrument, b"R") == b">#12\r\n"
    assert ask(instrument, b"z") == b">#1000\r\n"
    assert ask(instrument, b"D") == b">#0\r\n"
    assert ask(instrument, b"uR") == b">#05\r\n"
    assert ask(instrument, b"clr") == ask(instrument, b"F") == b">?\r\n"
    assert ask(create({"firmware": "2.05"}, random.Random(1)), b"uR") == b">?\r\n"
    assert ask(create({"kind": "PRDER"}, random.Random(1)), b"z") == b">#10\r\n"
    assert ask(create({"kind": "GN"}, random.Random(1)), b"R") == b">?\r\n"


def test_a_command_times_out_after_two_seconds() -> None:
    instrument = create({}, random.Random(1))
    assert [each.data for each in instrument.receive(10.0, b"@Vx", Steady())] == [b">"]
    assert instrument.receive(12.5, b"\n", Steady()) == []
    assert ask(instrument, b"#R", 13.0) == b">#4711\r\n"


@pytest.mark.parametrize("state", ["over_range", "battery_low", "dead_channel", "frozen_value"])
def test_states_are_in_the_frame(state: str) -> None:
    instrument = create({"streams_at_start": True, "averaging_s": 0.0}, random.Random(1))
    before = instrument.advance(5.0, Steady())[-1]
    instrument.set_state(state, on=True)
    (during,) = instrument.advance(6.0, Steady())
    instrument.set_state(state, on=False)
    after = instrument.advance(9.0, Steady())[-1]
    match state:
        case "over_range":
            assert during.says["dose_rate"] is None
            assert decode(during.data).status == 0x06
        case "battery_low":
            assert decode(during.data).status == 0x20
        case "dead_channel":
            assert decode(during.data).numbers[0] == 0
        case _:
            assert during.data == before.data
    assert decode(after.data).status == 0
    assert decode(after.data).numbers[0] > 0


def test_a_battery_test_is_announced_and_is_no_error() -> None:
    events, heard = play({"battery_test_every_s": 10}, 45.0)
    texts = [each.data for each in heard if each.data.startswith(b"BATM")]
    assert texts == [b"BATM1\r\n", b"BATM0\r\n"] * 4
    assert faithful(events, heard) > 40
    assert not any(isinstance(event, DriverError) for _, event in events)


class Switched(Steady):
    """Off from 10 s to 20 s."""

    def on_since(self, at_s: float) -> float | None:
        if 10 <= at_s < 20:
            return None
        return 0.0 if at_s < 10 else 20.0


def test_switched_on_again_it_is_silent_until_asked() -> None:
    field = Switched()
    instrument = create({}, random.Random(1))
    assert ask_in(field, instrument, b"X1", 5.0) == b">#\r\n"
    frames = [*instrument.advance(30.0, field)]
    assert [each.at_s for each in frames] == [6.0, 7.0, 8.0, 9.0]
    assert ask_in(field, instrument, b"X1", 30.0) == b">#\r\n"
    assert len(instrument.advance(33.0, field)) == 3


def ask_in(field: Steady, instrument: RadEye, command: bytes, at_s: float) -> bytes:
    heard = [*instrument.receive(at_s, b"@" + command + b"\n", field)]
    return b"".join(each.data for each in heard)


@pytest.mark.parametrize("vector", VECTORS["frame"], ids=lambda vector: vector["provenance"][:40])
def test_bytes_are_those_of_the_documented_frames(vector: dict[str, Any]) -> None:
    """An instrument in the state that DT-029 prints sends these very bytes."""
    if not vector["bcc_right"]:
        pytest.skip("the document prints AB where the BCC stands")
    numbers, kind = vector["numbers"], vector["kind"]
    is_gn = kind == "GN"
    settings: dict[str, Value] = {
        "kind": kind,
        "noise": 0.0,
        "averaging_s": 0.0,
        "status_bits": vector["status"],
        "alarm_usv_h": 1e6,
        "neutron_alarm_cps": 1e6,
        "dose_alarm_usv": 1e6,
        "blank_after_stx": vector.get("blank", True),
        "streams_at_start": True,
    }
    field = Printed(
        rate_usv_h=0.0 if is_gn else numbers[0] / 100,
        gamma=numbers[0] if is_gn else numbers[2],
        neutrons=numbers[2],
        dose_usv=vector.get("dose", 0) / 100,
    )
    _, frame = create(settings, random.Random(1)).advance(2.0, field)
    assert frame.data == bytes.fromhex(vector["bytes"])


class Printed(Steady):
    """A first second that gives the whole dose, then the rate and counts of a printed frame."""

    def __init__(self, rate_usv_h: float, gamma: int, neutrons: int, dose_usv: float) -> None:
        super().__init__()
        self._rate, self._gamma, self._neutrons = rate_usv_h, gamma, neutrons
        self._first = dose_usv * 3600 - rate_usv_h

    def dose_rate(self, at_s: float) -> float:
        return self._first if at_s == 1 else self._rate

    def gamma_counts(self, from_s: float, to_s: float, part: int = 0) -> int:
        return self._gamma

    def neutron_counts(self, from_s: float, to_s: float, part: int = 0) -> int:
        return self._neutrons
