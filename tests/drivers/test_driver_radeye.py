"""Thermo RadEye: frames against vectors, the dialogue against scripted answers."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from drivers.api import Channel, Done, Flag, Identity, More, Output, Quantity, Reading, Sample
from drivers.errors import DecodeError, DriverError, FrameError, Reject
from drivers.radeye import DRIVER, next_item
from drivers.radeye_frames import (
    Conventions,
    StreamFrame,
    code_of_display,
    decode,
    encode,
    readings,
)
from simulators.api import Emission, Field
from simulators.dialogue import VirtualSession

ROOT = Path(__file__).resolve().parents[2]
VECTORS = tomllib.loads((ROOT / "tests/data/vectors/thermo-radeye.toml").read_text("utf-8"))
FRAMES = VECTORS["frame"]
GOOD = bytes.fromhex(FRAMES[0]["bytes"])


class Scripted:
    """Wakes for ``@``, answers commands from a table, sends what is scheduled after X1."""

    def __init__(self, stream: list[tuple[float, bytes]], **answers: bytes) -> None:
        self.answers = {
            b"Vx": b"#RadEye G V3.05 AB48\r\n",
            b"#R": b"#4711\r\n",
            b"uR": b"#05\r\n",
            b"Ux": b"#29\r\n",
            b"x": b"#\r\n100\r\n",
            b"X0": b"#\r\n",
            b"X1": b"#\r\n",
            **{name.replace("_", "#").encode(): answer for name, answer in answers.items()},
        }
        self.stream = stream
        self.asked: list[bytes] = []

    def advance(self, to_s: float, field: Field) -> list[Emission]:
        due = [(at_s, data) for at_s, data in self.stream if at_s <= to_s]
        self.stream = self.stream[len(due) :]
        return [Emission(at_s, data) for at_s, data in due]

    def receive(self, at_s: float, data: bytes, field: Field) -> list[Emission]:
        if data == b"@":
            return [Emission(at_s + 0.01, b">")]
        self.asked.append(data.rstrip(b"\n"))
        answer = self.answers.get(self.asked[-1], b"?\r\n")
        return [Emission(at_s + 0.01, answer)] if answer else []


def talk(
    stream: list[tuple[float, bytes]],
    to_s: float = 10.0,
    options: dict[str, bool | int | float | str] | None = None,
    **answers: bytes,
) -> tuple[list[Output | Identity], Scripted]:
    instrument = Scripted(stream, **answers)
    driver = DRIVER.create(options or {})
    session = VirtualSession(DRIVER, driver, instrument, None)  # type: ignore[arg-type]
    return [event for _, event in session.run(to_s)], instrument


def told(events: list[Output | Identity]) -> list[Output | Identity]:
    """All but the identity and the battery, which come first."""
    assert isinstance(events[0], Identity)
    first = events[1]
    assert isinstance(first, Sample)
    assert first.readings[0].channel is Channel.BATTERY
    return events[2:]


def rate(event: Output | Identity) -> Reading:
    assert isinstance(event, Sample)
    return event.readings[0]


def conventions(vector: dict[str, Any]) -> Conventions:
    return Conventions(display=vector.get("display"), generation=vector.get("generation"))


@pytest.mark.parametrize("vector", FRAMES, ids=lambda vector: vector["provenance"][:60])
def test_decode(vector: dict[str, Any]) -> None:
    frame = decode(bytes.fromhex(vector["bytes"]))
    assert frame == StreamFrame(
        tuple(vector["numbers"]),
        vector["status"],
        vector["kind"],
        vector.get("dose"),
        vector["bcc_right"],
    )


@pytest.mark.parametrize(
    "vector", [vector for vector in FRAMES if vector["bcc_right"]], ids=lambda v: v["kind"]
)
def test_encode(vector: dict[str, Any]) -> None:
    frame = StreamFrame(
        tuple(vector["numbers"]), vector["status"], vector["kind"], vector.get("dose")
    )
    assert encode(frame, blank=vector.get("blank", True)) == bytes.fromhex(vector["bytes"])


@pytest.mark.parametrize(
    "vector", [vector for vector in FRAMES if "readings" in vector], ids=lambda v: v["kind"]
)
def test_readings(vector: dict[str, Any]) -> None:
    got = [
        [
            reading.channel.value,
            reading.part,
            "none" if reading.value is None else reading.value,
            reading.unit,
            "none" if reading.quantity is None else reading.quantity.value,
            reading.raw,
        ]
        for reading in readings(decode(bytes.fromhex(vector["bytes"])), conventions(vector))
    ]
    assert got == vector["readings"]


@pytest.mark.parametrize(
    ("code", "value", "unit", "quantity"),
    [
        (0, 7.21, "µSv/h", Quantity.AMBIENT_DOSE_EQUIVALENT_RATE),
        (2, 721, "µR/h", Quantity.EXPOSURE_RATE),
        (3, 7.21, "1/min", Quantity.GAMMA_COUNT_RATE),
        (5, 7.21, "1/s", Quantity.GAMMA_COUNT_RATE),
        (10, 721, "µrem/h", Quantity.AMBIENT_DOSE_EQUIVALENT_RATE),
        *((code, None, "", None) for code in (1, 6, 7, 8, 9)),
    ],
)
def test_unit_codes_of_v3(
    code: int, value: float | None, unit: str, quantity: Quantity | None
) -> None:
    frame = StreamFrame((721, code, 0, 0), 0, "FH41B2", 0)
    reading = readings(frame, Conventions(generation=3))[0]
    assert (reading.value, reading.unit, reading.quantity) == (value, unit, quantity)
    assert reading.raw == f"721 {code}"


def test_display_code_table_differs_from_the_frames() -> None:
    assert [code_of_display(nibble) for nibble in range(11)] == [
        5, 3, 6, 9, 7, 0, 2, 10, 8, 1, None,
    ]  # fmt: skip
    assert code_of_display(0x15) is None  # scaler mode


def test_old_and_new_g_share_a_type_string() -> None:
    frame = StreamFrame((721, 2, 0, 0), 0, "FH41B2", 0)
    old = readings(frame, Conventions(generation=1, display=0))[0]
    new = readings(frame, Conventions(generation=3, display=0))[0]
    unsaid = readings(frame, Conventions())[0]
    assert (old.value, old.unit) == (7.21, "µSv/h")
    assert (new.value, new.unit) == (721, "µR/h")
    assert (unsaid.value, unsaid.unit) == (None, "")


@pytest.mark.parametrize(
    ("code", "top", "bound"), [(0, 1e5, 1e5), (10, 1e5, 1e7), (2, 1e5, None), (0, 0.0, None)]
)
def test_overload_wins_over_the_number(code: int, top: float, bound: float | None) -> None:
    frame = StreamFrame((12, code, 0, 0), 0x02, "G20", 12)
    reading = readings(frame, Conventions(generation=3, range_top_usv_h=top))[0]
    assert reading.value is None
    assert Flag.OVER_RANGE in reading.flags
    assert reading.lower_bound == (None if bound is None else pytest.approx(bound))
    assert "12" not in reading.raw


@pytest.mark.parametrize("kind", ["FH41PR", "GN", "B20ER", "REGDW", "G20"])
def test_overload_leaves_no_number_anywhere(kind: str) -> None:
    constants = (560, 1, 544) if kind == "GN" else (2, 9, 5) if kind == "FH41PR" else (2, 0, 0)
    frame = StreamFrame((12, *constants), 0x02, kind, None if kind == "GN" else 12)
    known = Conventions(display=5 if kind == "GN" else 2, dose_step_usv=0.01, gn_count_step=0.01)
    values = [reading for reading in readings(frame, known) if reading.unit != "1"]
    assert [reading.value for reading in values] == [None] * len(values)
    assert all(Flag.OVER_RANGE in reading.flags for reading in values)


@pytest.mark.parametrize(
    ("kind", "status", "alarms"),
    [
        ("FH41PR", 0x14, {"rate", "nbr"}),
        ("GN", 0x14, {"gamma", "dose"}),
        ("REGDW", 0x0C, {"rate", "dose"}),
        ("GN+", 0xE8, {"neutron", "fast_neutron", "nbr", "safety"}),
    ],
)
def test_status_bits_by_family(kind: str, status: int, alarms: set[str]) -> None:
    is_gn = kind.startswith("GN")
    frame = StreamFrame(
        (1, 560, 1, 544) if is_gn else (1, 2, 0, 0), status, kind, None if is_gn else 0
    )
    states = [r for r in readings(frame, Conventions()) if r.channel is Channel.DEVICE_ALARM]
    assert {reading.part for reading in states if reading.value} == alarms
    assert all(reading.value in (0, 1) for reading in states)


def test_gn_counts_need_their_step() -> None:
    frame = StreamFrame((900, 560, 25, 544), 0, "GN+", None)
    gamma, neutron = readings(frame, Conventions(display=5, gn_count_step=0.01))[:2]
    assert (gamma.value, gamma.unit) == (9.0, "1/s")
    assert (neutron.channel, neutron.value) == (Channel.NEUTRON_COUNT_RATE, 0.25)
    assert readings(frame, Conventions(display=0, gn_count_step=0.01))[0].value is None


def test_ab100_gives_states_only() -> None:
    frame = StreamFrame((9, 0, 3, 0), 0x24, "REAB10", 5)
    channels = {reading.channel for reading in readings(frame, Conventions())}
    assert channels == {Channel.DEVICE_ALARM, Channel.DEVICE_FAULT}


def test_dose_with_a_known_step() -> None:
    frame = StreamFrame((721, 0, 0, 0), 0, "FH41B2", 1234)
    known = Conventions(generation=3, dose_step_usv=0.01)
    dose = readings(frame, known)[1]
    assert (dose.value, dose.unit) == (12.34, "µSv")


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"", Reject.SYNTAX),
        (b"\x02\x03", Reject.FIELD_COUNT),
        (GOOD[:-3], Reject.SYNTAX),
        (GOOD[1:], Reject.SYNTAX),
        (GOOD.replace(b"721", b"7\x001"), Reject.SYNTAX),
        (GOOD.replace(b"721", b"-21"), Reject.SYNTAX),
        (GOOD.replace(b"721", b"7.2"), Reject.SYNTAX),
        (GOOD.replace(b"721", b"72112345678"), Reject.SYNTAX),
        (GOOD.replace(b" 00 ", b" 0 "), Reject.SYNTAX),
        (GOOD.replace(b"FH41B2", b"FH41XX"), Reject.UNKNOWN_TAG),
        (GOOD.replace(b"1234 ", b""), Reject.FIELD_COUNT),
        (GOOD.replace(b"721 0 0 0", b"0 0 0 0 0 0"), Reject.UNKNOWN_TAG),
    ],
)
def test_bad_frames(bad: bytes, reason: Reject) -> None:
    with pytest.raises(DriverError) as caught:
        decode(bad)
    assert caught.value.reason is reason


@pytest.mark.parametrize("numbers", [(7, 4, 0, 0), (7, 11, 0, 0), (7, 0, 1, 0)])
def test_undocumented_constants(numbers: tuple[int, int, int, int]) -> None:
    with pytest.raises(DecodeError):
        readings(StreamFrame(numbers, 0, "G20", 0), Conventions(generation=3))


@pytest.mark.parametrize(
    ("buffer", "verdict"),
    [
        (b"", More()),
        (b"\r\n", More()),
        (b"\r\n>", Done(3)),
        (b"\x02 7 ", More()),
        (b"\x02 7 \x03\r\n", Done(5)),
        (b"\r\n\x02 7 \x03", Done(7)),
        (b"\x02 7 \x02 8", Done(4)),
        (b"noise\x02", Done(5)),
        (b"CIAO\r", Done(4)),
        (b"x" * 257, Done(257)),
    ],
)
def test_items(buffer: bytes, verdict: Done | More) -> None:
    assert next_item(buffer) == verdict


def test_identity_and_stream() -> None:
    events, instrument = talk([(second + 0.5, GOOD) for second in range(3, 9)])
    identity = events[0]
    assert isinstance(identity, Identity)
    assert (identity.model, identity.serial, identity.firmware) == ("RadEye G", "4711", "3.05")
    assert ("dead_time_ns", "100") in identity.settings
    assert [rate(event).value for event in told(events)] == [7.21] * 6
    assert instrument.asked == [b"X0", b"Vx", b"#R", b"uR", b"Ux", b"x", b"X1"]


def test_an_unknown_unit_is_said_once() -> None:
    frame = encode(StreamFrame((7, 2, 9, 5), 0, "FH41PR", 123))
    events, _ = talk(
        [(4.0, frame), (5.0, frame)], 6.0, Vx=b"#RadEye PRD V1.52 AB48\r\n", uR=b"?\r\n"
    )
    first, complaint, second = told(events)
    assert (rate(first).value, rate(first).unit, rate(first).raw) == (None, "", "7 2")
    assert isinstance(complaint, DecodeError)
    assert rate(second).value is None


def test_a_configured_unit_wins_over_the_instrument() -> None:
    frame = encode(StreamFrame((7, 2, 9, 5), 0, "FH41PR", 123))
    options: dict[str, bool | int | float | str] = {
        "unit": "µrem/h",
        "quantity": "personal_dose_equivalent_rate",
    }
    events, _ = talk([(4.0, frame)], 5.0, options)
    reading = rate(told(events)[0])
    assert (reading.value, reading.unit) == (7, "µrem/h")
    assert reading.quantity is Quantity.PERSONAL_DOSE_EQUIVALENT_RATE


def test_a_configured_unit_must_be_one_of_a_radeye() -> None:
    DRIVER.create({"unit": "uSv/h"})
    for unit in ("nSv/h", "cps", "furlong"):
        with pytest.raises(ValueError, match=unit):
            DRIVER.create({"unit": unit})


def test_wrong_sums_are_counted_or_rejected() -> None:
    wrong = GOOD.replace(b" BD", b" BE")
    stream = [(3.0 + n / 10, GOOD) for n in range(10)] + [(5.0, wrong)]
    for bcc, kept in (("report", 11), ("reject", 10), ("confirmed", 10)):
        events, _ = talk(list(stream), 6.0, {"bcc": bcc})
        later = told(events)
        assert [e.reason for e in later if isinstance(e, DriverError)] == [Reject.CHECKSUM]
        assert sum(isinstance(event, Sample) for event in later) == kept
    events, _ = talk([(3.0, wrong)], 4.0, {"bcc": "confirmed"})
    assert sum(isinstance(event, Sample) for event in told(events)) == 1


def test_noise_costs_only_itself() -> None:
    stream = [
        (3.0, b"\x7f~~"),
        (3.1, GOOD),
        (4.0, GOOD[:9]),
        (5.0, GOOD),
        (5.5, b"BATM1\r\nBATM0\r\nBT2\r\n"),
        (6.0, GOOD.replace(b"721", b"7\x001")),
        (7.0, GOOD),
    ]
    later = told(talk(stream, 7.5)[0])
    assert [rate(event).value for event in later if isinstance(event, Sample)] == [7.21] * 3
    rejects = [event for event in later if isinstance(event, DriverError)]
    assert [type(error) for error in rejects] == [FrameError] * 3


def test_ciao_is_switched_off_until_the_next_frame() -> None:
    later = told(talk([(3.0, GOOD), (4.0, b"@CIAO\r"), (6.0, GOOD), (6.5, GOOD)], 6.8)[0])
    off = [
        [r.value for r in event.readings if r.part == "switched_off"]
        for event in later
        if isinstance(event, Sample)
    ]
    assert off == [[], [1], [0], []]


def test_silence_asks_for_frames_again_then_reopens() -> None:
    events, instrument = talk([(3.0, GOOD)], 20.0)
    assert instrument.asked[:7] == instrument.asked[9:16]  # a whole second handshake
    assert instrument.asked[7:9] == [b"X1", b"X1"]
    assert [e.reason for e in events if isinstance(e, DriverError)][:3] == [Reject.TIMEOUT] * 3


def test_garbage_without_frames_asks_for_frames_again() -> None:
    noise = [(3.0 + n / 10, b"garbage\r\n") for n in range(12)]
    events, instrument = talk(noise, 4.6)
    assert instrument.asked.count(b"X1") == 2
    assert not any(event.readings[0].value for event in events[2:] if isinstance(event, Sample))


def test_frames_may_come_before_an_answer() -> None:
    events, _ = talk([(3.0, GOOD)], 5.0, X1=GOOD + b"#\r\n")
    assert isinstance(events[0], Identity)
    rates = [event.readings[0].value for event in events if isinstance(event, Sample)]
    assert rates.count(7.21) == 2


@pytest.mark.parametrize("answer", [b"#70000\r\n", b"#12a\r\n", b"#\x00\x01\r\n"])
def test_an_impossible_serial_number_is_no_identity(answer: bytes) -> None:
    events, _ = talk([], 4.0, _R=answer)
    assert isinstance(events[0], DecodeError)
    assert not any(isinstance(event, Identity) for event in events)


def test_a_unit_without_serial_number_has_none() -> None:
    events, _ = talk([], 4.0, _R=b"?\r\n")
    assert isinstance(events[0], Identity)
    assert events[0].serial is None


def test_every_split_and_flip_gives_the_number_or_a_reject() -> None:
    for at in range(len(GOOD)):
        for bit in range(7):
            flipped = GOOD[:at] + bytes((GOOD[at] ^ 1 << bit,)) + GOOD[at + 1 :]
            try:
                frame = decode(flipped)
            except DriverError:
                continue
            assert not frame.bcc_right or frame == decode(GOOD)
