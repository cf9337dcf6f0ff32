"""bGeigie sentences: golden lines both ways, public logs, and the damage found in them."""

import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from drivers.api import Flag, Sample
from drivers.bgeigie import DRIVER, BGeigie, Fix, Sentence, Status, decode, encode
from drivers.codec.checksum import xor_sum
from drivers.errors import DriverError, Reject

ROOT = Path(__file__).resolve().parents[2]
VECTORS = tomllib.loads((ROOT / "tests/data/vectors/bgeigie-nmea.toml").read_text("utf-8"))
GOLDEN = b"$BNRDD,2108,2013-12-06T13:03:58Z,22,2,115,A,3145.7607,N,03510.1975,E,734.90,V,3,908*64"
MINI = b"$BMRDD,028,2011-12-08T18:16:20Z,41,2,46,A,4141.7977,N,07355.2556,W,438.8,A,1.5,1*4C"


def line(text: str) -> bytes:
    """A constructed sentence with its checksum."""
    body = text.encode("latin-1")
    return b"$%s*%02X\r\n" % (body, xor_sum(body))


def feed(data: bytes, driver: BGeigie | None = None) -> list[Any]:
    return list((driver or BGeigie()).feed(data))


def only(data: bytes) -> Sample:
    (sample,) = feed(data)
    assert isinstance(sample, Sample)
    return sample


def nano(cpm: object = 30, cp5s: object = 2, total: object = 115, flag: str = "A") -> bytes:
    place = "3145.7607,N,03510.1975,E,734.90,A,3,908"
    return line(f"BNRDD,2108,2013-12-06T13:03:58Z,{cpm},{cp5s},{total},{flag},{place}")


def placed(latitude: str, north: str, longitude: str, east: str, flag: str = "A") -> bytes:
    counts = "2013-12-06T13:03:58Z,22,2,115,A"
    return line(f"BNRDD,2108,{counts},{latitude},{north},{longitude},{east},0.00,{flag},3,908")


@pytest.mark.parametrize("frame", VECTORS["frame"], ids=lambda f: f["provenance"][:40])
def test_golden_line_is_decoded(frame: dict[str, Any]) -> None:
    sentence = decode(bytes.fromhex(frame["bytes"]).rstrip())
    assert isinstance(sentence, Sentence)
    for name in ("header", "device", "cpm", "cp5s", "total", "valid"):
        assert getattr(sentence, name) == frame[name]
    if "latitude" not in frame:
        assert sentence.fix is None
        return
    fix = sentence.fix
    assert fix is not None
    assert sentence.time == frame["time"]
    assert fix.latitude == pytest.approx(frame["latitude"], abs=1e-8)
    assert fix.longitude == pytest.approx(frame["longitude"], abs=1e-8)
    assert fix.altitude_m == frame["altitude_m"]
    assert fix.valid == frame["fixed"]
    assert list(fix.quality) == frame["quality"]


@pytest.mark.parametrize("frame", VECTORS["frame"], ids=lambda f: f["provenance"][:40])
def test_golden_line_is_encoded_byte_for_byte(frame: dict[str, Any]) -> None:
    fix = None
    if "latitude" in frame:
        place = (frame["latitude"], frame["longitude"], frame["altitude_m"])
        fix = Fix(*place, frame["fixed"], tuple(frame["quality"]))
    counts = (frame["cpm"], frame["cp5s"], frame["total"], frame["valid"])
    sentence = Sentence(frame["header"], frame["device"], *counts, frame.get("time", ""), fix)
    text = encode(sentence, padded=frame.get("padded", True), lower=frame.get("lower", False))
    assert text == bytes.fromhex(frame["bytes"]).rstrip()


@pytest.mark.parametrize("frame", VECTORS["frame"], ids=lambda f: f["provenance"][:40])
def test_golden_line_becomes_a_sample(frame: dict[str, Any]) -> None:
    comment = f"# format={frame['firmware']}\r\n".encode() if "firmware" in frame else b""
    sample = only(comment + bytes.fromhex(frame["bytes"]))
    counts, rate = sample.readings
    assert (counts.channel, counts.value, counts.unit) == ("gamma_counts", frame["cp5s"], "count")
    assert (counts.window_s, counts.independent, counts.quantity) == (5.0, True, "gamma_counts")
    assert (rate.channel, rate.part, rate.value) == ("gamma_count_rate", "cpm", frame["cpm"])
    assert (rate.unit, rate.window_s, rate.independent) == ("1/min", 60.0, False)
    identity = sample.identity
    assert identity is not None
    assert identity.serial == frame["device"]
    assert identity.calibration is not None
    assert identity.calibration.nuclide == "Cs-137"
    ((cps, usv_h),) = identity.calibration.points
    assert round(frame["cpm"] / 60 / cps * usv_h, 4) == frame["usv_h"]
    assert (sample.device_time is None) == (sample.position is None) == (not frame.get("fixed"))
    if sample.position is not None:
        assert sample.position.hdop == pytest.approx(frame["hdop"])
        assert sample.position.satellites == frame.get("satellites")
        assert sample.device_time is not None
        assert f"{sample.device_time:%Y-%m-%dT%H:%M:%SZ}" == frame["time"]
        assert sample.device_time.tzinfo is UTC


@pytest.mark.parametrize("status", VECTORS["status"], ids=lambda s: s["device"])
def test_status_sentence(status: dict[str, Any]) -> None:
    data = bytes.fromhex(status["bytes"])
    assert decode(data.rstrip()) == Status(
        status["device"], status["firmware"], status["temperature_c"], status["battery_mv"]
    )
    sample = only(data)
    told = {(r.channel.value, r.value, r.unit) for r in sample.readings}
    assert told == {
        ("battery", status["battery_mv"], "mV"),
        ("temperature", status["temperature_c"], "°C"),
    }
    assert sample.identity is not None
    assert sample.identity.firmware == status["firmware"]
    assert sample.position is sample.device_time is None


@pytest.mark.parametrize("reject", VECTORS["reject"], ids=lambda r: r["provenance"][13:45])
def test_rejects(reject: dict[str, Any]) -> None:
    (error,) = feed(bytes.fromhex(reject["bytes"]))
    assert isinstance(error, DriverError)
    assert (error.reason, error.line, error.offset) == (reject["reason"], 1, 0)


@pytest.mark.parametrize("form", [b"%s\r\n", b"%s\n", b"%s", b" No GPS: %s\r\n", b"\r*%s-\n"])
def test_line_ends_and_prefixes(form: bytes) -> None:
    assert only(form % GOLDEN).readings[0].value == 2


def test_bluetooth_chunks_without_line_ends() -> None:
    stream = (b"# NEW LOG# format=1.3.5nano# deadtime=on" + MINI * 40 + GOLDEN) * 3
    driver = BGeigie()
    outputs = [
        output for at in range(0, len(stream), 20) for output in driver.feed(stream[at : at + 20])
    ]
    assert len(outputs) == 123
    assert all(isinstance(output, Sample) for output in outputs)
    assert outputs[0].identity.firmware == "1.3.5nano"


def test_a_cut_sentence_does_not_cost_the_next() -> None:
    error, sample = feed(GOLDEN[:70] + MINI + b"\r\n")
    assert (error.reason, error.raw) == (Reject.TRUNCATED, GOLDEN[:70])
    assert sample.readings[1].value == 41
    first, error, second = feed(GOLDEN + b"\r" + GOLDEN[:50] + b"\r\n" + MINI)
    assert error.reason is Reject.TRUNCATED
    assert (first.readings[1].value, second.readings[1].value) == (22, 41)


def test_overlong_line_is_one_reject_and_the_next_sentence_is_found() -> None:
    outputs = feed(b"$BNRDD," + b"7" * 5000 + GOLDEN + b"\r\n" + b"$" * 5000 + MINI)
    assert [getattr(o, "reason", "sample") for o in outputs] == [
        "overflow",
        "sample",
        "overflow",
        "truncated",
        "sample",
    ]


def test_a_sentence_that_somebody_commented_out_stays_out() -> None:
    assert feed(b"# " + GOLDEN + b"\r\n#" + MINI + b"\n") == []
    assert only(b"# deadtime=on" + GOLDEN).readings[1].value == 22


@pytest.mark.parametrize(
    ("firmware", "hdop", "satellites"),
    [
        ("1.0.0nano", 0.03, 908),
        ("1.2.6nano", 0.03, 908),
        ("1.2.7nano", 9.08, 3),
        ("1.3.5nano", 9.08, 3),
        ("1.4.0nano", None, None),
        ("1.3.5zen", None, None),
        ("rubbish", None, None),
    ],
)
def test_the_format_comment_decides_the_quality_pair(
    firmware: str, hdop: float | None, satellites: int | None
) -> None:
    position = only(b" # format=%s\r\n" % firmware.encode() + nano()).position
    assert position is not None
    assert (position.hdop, position.satellites) == (pytest.approx(hdop), satellites)


def test_without_a_format_comment_the_pair_is_not_published() -> None:
    for comments in (b"", b"# NEW LOG\n# deadtime=on\n", b"# format=1.3.5nano\n# NEW LOG\n"):
        position = only(comments + nano()).position
        assert position is not None
        assert (position.hdop, position.satellites) == (None, None)


def test_another_instrument_does_not_inherit_the_firmware() -> None:
    driver = BGeigie()
    first, second = feed(
        b"# format=1.3.5nano\n" + nano() + nano().replace(b"2108", b"1208"), driver
    )
    assert first.identity.firmware == "1.3.5nano"
    assert (second.identity.serial, second.identity.firmware) == ("1208", None)
    assert second.position.hdop is None


def test_identity_is_told_once_and_when_it_changes() -> None:
    driver = BGeigie()
    first, again, mini = feed(b"# deadtime=on\n" + GOLDEN + GOLDEN + MINI, driver)
    assert first.identity.settings == (("deadtime", "on"),)
    assert again.identity is None
    assert (mini.identity.model, mini.identity.serial) == ("bGeigie Mini", "028")
    driver.interrupted()
    (same,) = feed(MINI, driver)
    assert same.identity is None


@pytest.mark.parametrize("device", ["", "0000", "0", "XXX"])
def test_unset_device_ids_are_no_identity(device: str) -> None:
    text = f"BNRDD,{device},2013-12-06T13:03:58Z,22,2,115,A,,,,,,V,,"
    sample = only(line(text))
    assert sample.identity is not None
    assert sample.identity.serial is None
    assert sample.readings[0].value == 2


def test_void_radiation_is_no_number() -> None:
    for reading in only(nano(24, 2, 24, "V")).readings:
        assert (reading.value, reading.flags) == (None, (Flag.WARMING_UP,))
        assert reading.raw in ("24", "2")
    for reading in only(nano(0, 0, 24, "V")).readings:
        assert reading.value is None
        assert Flag.LOSS_OF_COUNTS in reading.flags
    assert only(nano(0, 0, 0, "V")).readings[0].flags == (Flag.WARMING_UP,)


def test_over_range_is_a_bound() -> None:
    counts, rate = only(nano(350_001, 20_000, 900_000)).readings
    assert (rate.value, rate.flags, rate.lower_bound) == (None, (Flag.OVER_RANGE,), 350_000)
    assert (counts.value, counts.flags, counts.lower_bound) == (None, (Flag.OVER_RANGE,), 20_000)
    assert (rate.raw, counts.raw) == ("350001", "20000")
    assert only(nano(350_000, 20_000, 900_000)).readings[1].value == 350_000
    assert only(nano(300_000, 29_167, 900_000)).readings[0].value is None


def test_a_repeated_sentence_is_accepted() -> None:
    samples = feed(GOLDEN + b"\r\n" + GOLDEN + b"\r\n")
    assert [sample.readings[0].value for sample in samples] == [2, 2]


def test_a_restarted_total_is_accepted() -> None:
    samples = feed(nano(30, 2, 9000) + nano(30, 2, 2))
    assert [sample.readings[0].value for sample in samples] == [2, 2]


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (("3145.7607", "N", "03510.1975", "E"), (31.76267833, 35.16995833)),
        (("3145.7607", "S", "-03510.1975", "W"), (-31.76267833, -35.16995833)),
        (("-3145.7607", "N", "3510.1975", "E"), (31.76267833, 35.16995833)),
        (("0005.5000", "N", "7.2500", "W"), (0.09166667, -0.12083333)),
        (("0000.0000", "N", "00010.0000", "E"), (0.0, 0.16666667)),
        (("0000.0000", "N", "00000.0000", "E"), None),
        (("9000.0000", "N", "18000.0000", "E"), (90.0, 180.0)),
        (("9000.0001", "N", "03510.1975", "E"), None),
        (("3145.7607", "N", "18000.0001", "E"), None),
        (("3160.0000", "N", "03510.1975", "E"), None),
        (("3145.7607", "N", "13716.42949612813.30", "E"), None),
        (("3145.7607", "", "03510.1975", "E"), None),
        (("", "", "", ""), None),
    ],
)
def test_position(place: tuple[str, ...], expected: tuple[float, float] | None) -> None:
    sample = only(placed(*place))
    assert sample.readings[0].value == 2
    if expected is None:
        assert sample.position is None
    else:
        assert sample.position is not None
        assert (sample.position.latitude, sample.position.longitude) == pytest.approx(expected)
        assert sample.position.altitude_m is None  # 0.00 means unknown
    assert only(placed(*place, flag="V")).position is None


@pytest.mark.parametrize("time", ["2012-00-00T00:00:00Z", "2013-12-06T110:53:93Z", ""])
@pytest.mark.parametrize("flag", ["A", "V"])
def test_an_impossible_time_keeps_the_counts(time: str, flag: str) -> None:
    sample = only(
        line(f"CZRA1,0159,{time},42,7,32804,A,5001.1094,N,01420.7866,E,384.69,{flag},5,1")
    )
    assert sample.device_time is None
    assert sample.readings[1].value == 42
    assert (sample.position is None) == (flag == "V")


def test_device_time() -> None:
    assert only(MINI).device_time == datetime(2011, 12, 8, 18, 16, 20, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "usv_h"), [(0.0, 60 / 334), (350.0, 60 / 350)], ids=["by header", "configured"]
)
def test_factor(given: float, usv_h: float) -> None:
    driver = DRIVER.create({"cpm_per_usv_h": given})
    assert isinstance(driver, BGeigie)
    (sample,) = feed(GOLDEN, driver)
    assert sample.identity.calibration.points == ((1.0, usv_h),)
    assert sample.identity.calibration.source


@pytest.mark.parametrize("factor", [-1.0, float("nan"), float("inf")])
def test_a_factor_that_is_none_is_refused(factor: float) -> None:
    with pytest.raises(ValueError, match="cpm_per_usv_h"):
        BGeigie(factor)
