"""The open line format: what its page says, what it refuses, and the short way for known forms."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.api import (
    Calibration,
    Channel,
    Flag,
    Identity,
    Passage,
    PassageFlag,
    Position,
    Quantity,
    Reading,
    Sample,
)
from drivers.errors import DriverError, FrameError, Reject
from drivers.json_lines import DRIVER, LINE_LIMIT, JsonLines, decode, encode

ROOT = Path(__file__).resolve().parents[2]
VECTORS = tomllib.loads((ROOT / "tests/data/vectors/json-lines.toml").read_text("utf-8"))
GUIDE = ROOT / "docs" / "guides" / "json-lines.md"


def expected(vector: dict[str, Any]) -> Sample | Passage:
    if "passage" in vector:
        told = vector["passage"]
        flags = tuple(PassageFlag(word) for word in told["flags"])
        return Passage(**(told | {"flags": flags}))
    identity = vector.get("identity")
    return Sample(
        tuple(reading(each) for each in vector["readings"]),
        vector.get("age_s", 0.0),
        vector.get("time"),
        tuple(map(Flag, vector.get("flags", ()))),
        Position(**vector["position"]) if "position" in vector else None,
        None if identity is None else who(identity),
        vector.get("occupied"),
    )


def reading(told: dict[str, Any]) -> Reading:
    typed = told | {"channel": Channel(told["channel"]), "value": told.get("value")}
    if "quantity" in told:
        typed["quantity"] = Quantity(told["quantity"])
    typed["flags"] = tuple(map(Flag, told.get("flags", ())))
    return Reading(**typed)


def who(told: dict[str, Any]) -> Identity:
    points = tuple((x, y) for x, y in told["points"])
    calibration = Calibration(points, told["source"], told["nuclide"])
    return Identity(told["model"], told["serial"], told["firmware"], calibration)


@pytest.mark.parametrize("vector", VECTORS["line"], ids=lambda each: each["provenance"][-20:])
def test_a_line_says_what_its_vector_says(vector: dict[str, Any]) -> None:
    assert decode(vector["text"].encode()) == expected(vector)


@pytest.mark.parametrize("vector", VECTORS["line"], ids=lambda each: each["provenance"][-20:])
def test_what_is_written_is_the_line_of_the_vector(vector: dict[str, Any]) -> None:
    written = encode(expected(vector))
    assert written.endswith(b"\n")
    plain = json.loads(vector["text"].replace(".250Z", ".250000Z"))
    assert json.loads(written) == plain


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=lambda each: each["detail"][:40])
def test_what_the_format_does_not_have_is_refused_by_name(vector: dict[str, Any]) -> None:
    (error,) = JsonLines().feed(vector["text"].encode() + b"\n")
    assert isinstance(error, DriverError)
    assert error.reason == vector["reason"]
    assert vector["detail"] in error.detail
    assert (error.line, error.offset) == (1, 0)


def test_a_bad_line_costs_only_itself() -> None:
    good = VECTORS["line"][0]["text"].encode() + b"\n"
    outputs = list(JsonLines().feed(good + b"{}\n\r\n" + good.replace(b"\n", b"\r\n") + good))
    assert [isinstance(each, Sample) for each in outputs] == [True, False, True, True]
    assert outputs[0] == outputs[2] == outputs[3]


def test_a_line_without_an_end_is_one_error() -> None:
    driver = JsonLines()
    errors = list(driver.feed(b"x" * (LINE_LIMIT + 1))) + list(driver.feed(b"y" * LINE_LIMIT))
    assert [each.reason for each in errors if isinstance(each, FrameError)] == [Reject.OVERFLOW]
    assert list(driver.feed(b'z\n{"readings":[]}\n')) == [Sample(())]


def test_nesting_without_an_end_is_an_error_and_not_a_crash() -> None:
    (error,) = JsonLines().feed(b"[" * 60_000 + b"\n")
    assert isinstance(error, FrameError)


@pytest.mark.parametrize(
    ("counts", "rate", "tamper"),
    [
        ("20.5", "0.1", "0"),
        ("2e-1", "0.1", "0"),
        ("-3", "0.1", "0"),
        ("20", "0.1", "2"),
        ("20", "0.1", "10"),
        ("20", "1e999", "0"),
        ("20", "01", "0"),
    ],
)
def test_a_known_form_makes_no_wrong_value_right(counts: str, rate: str, tamper: str) -> None:
    form = (
        '{"readings":[{"channel":"gamma_counts","value":%s,"unit":"count"},'
        '{"channel":"dose_rate","value":%s,"unit":"uSv/h"},'
        '{"channel":"tamper","value":%s,"unit":"1"}]}\n'
    )
    driver = JsonLines()
    good = list(driver.feed((form % ("20", "0.1", "0")).encode() * 2))
    assert [isinstance(each, Sample) for each in good] == [True, True]
    (bad,) = driver.feed((form % (counts, rate, tamper)).encode())
    assert isinstance(bad, DriverError)


NUMBERS = st.one_of(
    st.integers(-(10**18), 10**18).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(("1e999", "-0", "0.0", "00", "1.", "null", "true", "1E3", "1e-400", '"1"')),
)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            NUMBERS,
            NUMBERS,
            st.sampled_from(("0", "1", "2", "1.0", "-0", "null")),
            st.sampled_from((" ", "")),
        ),
        min_size=2,
        max_size=6,
    )
)
def test_the_short_way_says_what_the_long_way_says(lines: list[tuple[str, ...]]) -> None:
    driver = JsonLines()
    for counts, rate, state, gap in lines:
        text = (
            f'{{"readings":[{{"channel":"gamma_counts","value":{gap}{counts},"unit":"count"}},'
            f'{{"channel":"dose_rate","value":{gap}{rate},"unit":"uSv/h","window_s":1}},'
            f'{{"channel":"tamper","value":{gap}{state},"unit":"1"}}],'
            '"occupied":true,"flags":["self_test"]}'
        ).encode()
        (told,) = driver.feed(text + b"\n")
        assert said(told) == said(the_long_way(text))  # 1 is not 1.0


def the_long_way(text: bytes) -> object:
    try:
        return decode(text)
    except DriverError as error:
        return error


def said(output: object) -> object:
    if isinstance(output, DriverError):
        return output.reason, output.detail
    return repr(output)


def test_the_lines_of_the_guide_are_those_of_the_vectors() -> None:
    page = GUIDE.read_text("utf-8")
    for vector in VECTORS["line"]:
        assert vector["text"] in page
    for channel in DRIVER.channels:
        assert f"`{channel}`" in page
