"""GQ GMC: answers against captured bytes, sessions against captured and spoiled answers."""

import json
import tomllib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from drivers.api import Ask, Calibration, Flag, Identity, Output, Sample
from drivers.codec.calibration import dose_rate, slope
from drivers.errors import DriverError, ExchangeError, FrameError, Reject, ReplyTimeout
from drivers.gmc import DRIVER, Gmc
from drivers.gmc_answers import (
    decode_cpm,
    decode_cps,
    decode_version,
    decode_volts,
    encode_cpm,
    encode_cps,
    encode_version,
    encode_volts,
)
from drivers.gmc_models import (
    Volts,
    cpm_window_s,
    decode_calibration,
    encode_configuration,
    model_of,
)
from simulators.api import Emission, Field
from simulators.dialogue import VirtualSession

ROOT = Path(__file__).resolve().parents[2]
VECTORS = tomllib.loads((ROOT / "tests/data/vectors/gq-gmc.toml").read_text("utf-8"))
REPLIES = ROOT.parent / "shared/samples/handheld/gq_gmc_replies.json"


class Nothing:
    """A field that is never asked."""

    def gamma_counts(self, from_s: float, to_s: float, part: int = 0) -> int:
        raise AssertionError("a scripted instrument measures nothing")

    dose_rate = neutron_counts = occupied = speed_m_s = position = gamma_counts


class Scripted:
    """Answers each command with fixed bytes, or by a function of its number of questions."""

    def __init__(self, replies: Mapping[bytes, bytes | Callable[[int], bytes]]) -> None:
        self.replies = replies
        self.asked: list[bytes] = []

    def advance(self, to_s: float, field: Field) -> list[Emission]:
        return []

    def receive(self, at_s: float, data: bytes, field: Field) -> list[Emission]:
        self.asked.append(data)
        reply = self.replies.get(data, b"")
        if callable(reply):
            reply = reply(self.asked.count(data))
        return [Emission(at_s + 0.01, reply)] if reply else []


def talk(
    replies: Mapping[bytes, bytes | Callable[[int], bytes]],
    to_s: float = 6.0,
    **options: bool | int,
) -> tuple[list[Output | Identity], Scripted]:
    instrument = Scripted(replies)
    driver = DRIVER.create({"drop_first": False, **options})
    session = VirtualSession(DRIVER, driver, instrument, Nothing())  # type: ignore[arg-type]
    return [event for _, event in session.run(to_s)], instrument


def captured() -> dict[str, dict[bytes, bytes]]:
    if not REPLIES.exists():
        pytest.skip("captured replies of pygmc are not on this machine")
    return {
        model["model"]: {
            bytes.fromhex(reply["command_hex"]): bytes.fromhex(reply["reply_hex"])
            for reply in model["replies"]
        }
        for model in json.loads(REPLIES.read_text("utf-8"))["models"]
    }


def small(**changes: bytes | Callable[[int], bytes]) -> dict[bytes, bytes | Callable[[int], bytes]]:
    """A healthy 300S."""
    replies: dict[str, bytes | Callable[[int], bytes]] = {
        "GETVER": b"GMC-300SRe 1.14",
        "GETSERIAL": bytes.fromhex("F7F4C578139D08"),
        "GETCPM": b"\x00\x17",
        "GETCPS": b"\x00\x0a",
        "GETVOLT": b"\x2a",
        "GETCFG": encode_configuration(
            model_of("GMC-300S", 1.14), ((1615, 10.0), (16150, 100.0), (32300, 200.0))
        ),
        **changes,
    }
    return {b"<" + name.encode() + b">>": reply for name, reply in replies.items()}


def errors(events: list[Output | Identity]) -> list[DriverError]:
    return [event for event in events if isinstance(event, DriverError)]


def samples(events: list[Output | Identity]) -> list[Sample]:
    return [event for event in events if isinstance(event, Sample)]


@pytest.mark.parametrize("vector", VECTORS["version"], ids=lambda vector: vector["firmware"])
def test_versions(vector: dict[str, str]) -> None:
    data = bytes.fromhex(vector["bytes"])
    assert decode_version(data) == (vector["model"], vector["firmware"])
    name = "GMC-320+V5\0R" if b"\0" in data else vector["model"]
    assert encode_version(name, vector["firmware"], blank=bool(vector.get("blank", True))) == data


@pytest.mark.parametrize("vector", VECTORS["count"], ids=lambda vector: vector["bytes"])
def test_counts(vector: dict[str, str | int]) -> None:
    data = bytes.fromhex(str(vector["bytes"]))
    decode, encode, name = (
        (decode_cpm, encode_cpm, "cpm") if "cpm" in vector else (decode_cps, encode_cps, "cps")
    )
    assert decode(data) == vector[name]
    assert encode(int(vector[name]), len(data)) == data


@pytest.mark.parametrize("vector", VECTORS["volts"], ids=lambda vector: vector["bytes"])
def test_volts(vector: dict[str, str | float]) -> None:
    data = bytes.fromhex(str(vector["bytes"]))
    assert decode_volts(data) == vector["volts"]
    if vector["form"] in list(Volts):
        assert encode_volts(float(vector["volts"]), Volts(vector["form"])) == data


@pytest.mark.parametrize("vector", VECTORS["calibration"], ids=lambda vector: vector["model"])
def test_calibrations(vector: dict[str, object]) -> None:
    model = model_of(str(vector["model"]), float(str(vector["firmware"])))
    head = bytes.fromhex(str(vector["bytes"]))
    points = vector["points_cpm"]
    assert isinstance(points, list)
    calibration = decode_calibration(head.ljust(model.config_bytes, b"\xff"), model)
    assert calibration is not None
    expected = [(cpm / 60, pytest.approx(dose, rel=1e-6)) for cpm, dose in points]
    assert list(calibration.points) == expected
    end = 8 + 6 * len(points)
    encoded = encode_configuration(model, tuple((cpm, dose) for cpm, dose in points))
    assert encoded[8:end] == head[8:end]


@pytest.mark.parametrize(
    ("model", "serial", "cpm", "dose"),
    [
        ("GMC-300S fw 1.14", "F7F4C578139D08", 23, 0.142414861),
        ("GMC-320+ fw 4.26", "F48800671C42C2", 438, 2.847),
        ("GMC-500+ fw 2.22", "303021572157F6", 1210, 7.865),
        ("GMC-800 fw 1.08", "03004836373106", 2495, 16.22237),
    ],
)
def test_captured_units(model: str, serial: str, cpm: int, dose: float) -> None:
    replies = captured()[model]
    replies.setdefault(b"<GETCPS>>", b"\x00\x05")  # the 300S and 320+ captures have none
    events, instrument = talk(replies, cpm_width=len(replies[b"<GETCPM>>"]))
    identity = events[0]
    assert isinstance(identity, Identity)
    assert identity.serial == serial
    assert identity.model == model.partition(" fw")[0].replace("320+", "320")
    assert identity.calibration is not None
    by_minute = samples(events)[0].readings[1]
    assert (by_minute.value, by_minute.unit, by_minute.part) == (cpm, "1/min", "cpm")
    assert dose_rate(identity.calibration, cpm / 60) == pytest.approx(dose, rel=1e-5)
    assert not errors(events)
    reading = {
        b"<GET" + name + b">>" for name in (b"VER", b"SERIAL", b"CPM", b"CPS", b"VOLT", b"CFG")
    }
    assert set(instrument.asked) <= reading


def test_captured_fast_estimate_has_no_window() -> None:
    replies = captured()
    for name, fitting in (("GMC-300S", "GMC-300S fw 1.14"), ("GMC-500+", "GMC-500+ fw 2.22")):
        model = model_of(name, 2.22)
        assert cpm_window_s(replies[fitting][b"<GETCFG>>"], model) is None
    plain = replies["GMC-320+ fw 4.26"][b"<GETCFG>>"]
    assert cpm_window_s(plain, model_of("GMC-320", 4.26)) == 60


def test_captured_heartbeat_gives_no_number() -> None:
    replies = captured()["GMC-500+ with heartbeat on, buffer read 1 s after command"]
    with pytest.raises(FrameError):
        decode_version(replies[b"<GETVER>>"])
    # The counter answers its version cleanly, everything else with a heartbeat word behind it.
    events, _ = talk({**replies, b"<GETVER>>": b"GMC-500+Re 2.22"}, cpm_width=4, to_s=20.0)
    assert not samples(events)
    assert {error.reason for error in errors(events)} == {Reject.UNEXPECTED}


def test_primary_reading_is_the_second() -> None:
    events, _ = talk(small())
    first, second = samples(events)[0].readings[:2]
    assert (first.value, first.unit, first.part, first.window_s) == (10, "count", "", 1.0)
    assert not first.independent
    assert (second.value, second.part, second.window_s) == (23, "cpm", 60.0)


def test_battery_comes_with_the_first_cycle_and_each_60th() -> None:
    events, instrument = talk(small(), to_s=63.5)
    with_battery = [
        number for number, sample in enumerate(samples(events)) if len(sample.readings) == 3
    ]
    assert with_battery == [0, 60]
    assert instrument.asked.count(b"<GETVOLT>>") == 2


def test_width_is_measured_and_differs_from_the_table() -> None:
    replies = small(GETCPM=b"\x00\x00\x00\x17", GETCPS=b"\x00\x00\x00\x0a")
    events, _ = talk(replies)
    assert isinstance(events[0], Identity)
    assert ("count_width", "4") in events[0].settings
    assert ("count_width_in_table", "2") in events[0].settings
    assert samples(events)[0].readings[1].value == 23


def test_a_width_that_changes_is_no_width() -> None:
    wide = b"\x00\x00\x00\x17"
    replies = small(GETCPM=lambda asked: wide if asked % 2 else wide[:2])
    events, _ = talk(replies, to_s=4.0)
    assert [error.reason for error in errors(events)] == [Reject.UNEXPECTED]
    assert not samples(events)


@pytest.mark.parametrize("silent", [1, 2])
def test_a_first_version_may_be_silent(silent: int) -> None:
    replies = small(GETVER=lambda asked: b"" if asked <= silent else b"GMC-300SRe 1.14")
    events, instrument = talk(replies)
    assert isinstance(events[0], Identity)
    assert (b"<GETCPM>>" in instrument.asked[:3]) == (silent == 2)


def test_rad_pro_is_refused() -> None:
    events, _ = talk(small(GETVER=b"GMC-800Re RADP"), to_s=3.0)
    assert [error.reason for error in errors(events)] == [Reject.UNSUPPORTED]


@pytest.mark.parametrize("spoiled", [b"", b"\x00", b"\x00\x00\x0a", b"\x00\x0a\x00\x00"])
def test_a_spoiled_answer_is_a_reject(spoiled: bytes) -> None:
    replies = small(GETCPS=lambda asked: spoiled if asked == 2 else b"\x00\x0a")
    events, _ = talk(replies, to_s=8.0)
    assert len(errors(events)) == 1
    assert {sample.readings[0].value for sample in samples(events)} == {10}


def test_payload_may_hold_any_byte() -> None:
    events, _ = talk(small(GETCPS=b"\x0a\x0d", GETCPM=b"\x00\x00"))
    assert [reading.value for reading in samples(events)[1].readings] == [0x0A0D, 0]


@pytest.mark.parametrize(("answer", "bound"), [(b"\x3f\xff", 0x3FFF), (b"\xff\xff", 0x3FFF)])
def test_a_full_counter_is_over_range(answer: bytes, bound: int) -> None:
    events, _ = talk(small(GETCPS=answer))
    reading = samples(events)[0].readings[0]
    assert reading.value is None
    assert reading.lower_bound == bound
    assert Flag.OVER_RANGE in reading.flags


def test_only_14_bits_of_a_short_second_count() -> None:
    assert decode_cps(b"\x80\x1c") == 28
    assert decode_cps(b"\x00\x00\x80\x1c") == 0x801C


def test_three_silent_cycles_reopen_and_identify_again() -> None:
    replies = small(GETCPS=lambda asked: b"" if 2 <= asked <= 4 else b"\x00\x0a")
    events, _ = talk(replies, to_s=12.0)
    assert sum(isinstance(event, Identity) for event in events) == 2
    assert len(errors(events)) == 3
    assert samples(events)[-1].readings[0].value == 10


def test_the_first_sample_is_dropped_by_default() -> None:
    instrument = Scripted(small(GETCPS=lambda asked: b"\x20\x00" if asked == 1 else b"\x00\x0a"))
    session = VirtualSession(DRIVER, Gmc({}), instrument, Nothing())  # type: ignore[arg-type]
    events = [event for _, event in session.run(6.0)]
    assert {sample.readings[0].value for sample in samples(events)} == {10}


def test_secrets_of_the_configuration_stay_inside() -> None:
    secret = b"wifi-password-in-clear"
    block = bytearray(encode_configuration(model_of("GMC-300S", 1.14), ((1, 1.0),) * 3))
    block[120 : 120 + len(secret)] = secret
    for reply in (bytes(block), bytes(block[:200]), bytes(block) + secret):
        events, _ = talk(small(GETCFG=reply), to_s=16.0)
        assert isinstance(events[0], Identity)
        assert events[0].calibration is None
        assert b"wifi" not in repr(events).encode()
        assert not any(b"wifi" in error.raw for error in errors(events))


def test_bad_calibrations_are_none() -> None:
    model = model_of("GMC-300S", 1.14)
    nan, inf = float("nan"), float("inf")
    for points in (
        ((0, 0.0), (0, 0.0), (0, 0.0)),
        ((10, 1.0), (20, nan), (30, 3.0)),
        ((10, 1.0), (20, 2.0), (30, inf)),
        ((10, 1.0), (20, 0.5), (30, 3.0)),
    ):
        assert decode_calibration(encode_configuration(model, points), model) is None
    assert decode_calibration(b"\xff" * 256, model) is None
    assert decode_calibration(bytes(256), model) is None


def test_two_tubes_with_six_points_have_no_calibration() -> None:
    assert model_of("GMC-500+", 2.44).points is None
    six = model_of("GMC-600+", 2.52).points
    assert six is not None
    assert len(six.counts_at) == 6
    assert model_of("GMC-700", 1.0).width is None


def test_errors_of_the_exchange_tell_what_was_asked() -> None:
    events, _ = talk(small(GETCPS=b"\x00"), to_s=3.0)
    error = errors(events)[0]
    assert isinstance(error, ExchangeError)
    assert (error.reason, error.detail) == (Reject.TRUNCATED, "GETCPS: 1 of 2 bytes")


@pytest.mark.parametrize("answer", [b"wifi", b"wifi" * 100])
def test_an_answer_that_is_secret_never_travels_in_an_error(answer: bytes) -> None:
    asking = Gmc({})._exact("GETCFG", 256, is_secret=True)
    question = next(asking)
    assert isinstance(question, Ask)
    assert question.secret
    go_on = asking.send if len(answer) > 256 else lambda raw: asking.throw(ReplyTimeout(raw))
    with pytest.raises(ExchangeError) as caught:
        go_on(answer)
    assert caught.value.raw == b""


def test_only_the_configuration_is_asked_as_secret() -> None:
    asked: list[Ask] = []
    steps = Gmc({}).identify()
    replies = small()
    operation = next(steps)
    with suppress(StopIteration):
        while True:
            reply = b""
            if isinstance(operation, Ask):
                asked.append(operation)
                fixed = replies[operation.request]
                assert isinstance(fixed, bytes)
                reply = fixed
            operation = steps.send(reply)
    assert [ask.request for ask in asked if ask.secret] == [b"<GETCFG>>"]


@pytest.mark.parametrize(
    ("counts_per_s", "usv_h", "more"),
    [(0.0, 0.0, 10.0), (0.5, 5.0, 10.0), (1.0, 10.0, 10.0), (1.5, 20.0, 20.0), (4.0, 70.0, 20.0)],
)
def test_calibration_curve(counts_per_s: float, usv_h: float, more: float) -> None:
    curve = Calibration(((1.0, 10.0), (2.0, 30.0)), "test")
    assert dose_rate(curve, counts_per_s) == pytest.approx(usv_h)
    assert slope(curve, counts_per_s) == pytest.approx(more)


@pytest.mark.parametrize("points", [(), ((0.0, 1.0),), ((2.0, 1.0), (1.0, 2.0))])
def test_a_curve_that_does_not_rise_is_refused(points: tuple[tuple[float, float], ...]) -> None:
    with pytest.raises(ValueError, match="do not rise"):
        dose_rate(Calibration(points, "test"), 1.0)
