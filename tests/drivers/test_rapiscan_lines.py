"""Lines of the Rapiscan / TSA stream against vectors, both ways, and log files of it."""

import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from drivers.rapiscan_lines import (
    SETUP_FIELDS,
    Counts,
    End,
    Rates,
    Record,
    Setup,
    Speed,
    Tag,
    Tamper,
    decode,
    encode,
    read_log,
)

ROOT = Path(__file__).resolve().parents[2]
VECTORS = tomllib.loads((ROOT / "tests/data/vectors/rapiscan-tsa-rpm.toml").read_text("utf-8"))


def record_of(vector: dict[str, object]) -> Record:
    numbers = vector.get("numbers", [])
    assert isinstance(numbers, list)
    tag = Tag(str(vector["tag"]))
    match vector["kind"]:
        case "counts":
            return Counts(tag, tuple(numbers))
        case "rates":
            return Rates(tuple(numbers))
        case "end":
            return End(*numbers)
        case "speed":
            return Speed(*numbers)
        case "tamper":
            return Tamper(bool(numbers[0]))
        case _:
            return Setup(tag, tuple(str(vector["text"]).split(",")[1:]))


# vectors


@pytest.mark.parametrize("vector", VECTORS["line"], ids=lambda vector: vector["tag"])
def test_decode_agrees_with_the_vector(vector: dict[str, object]) -> None:
    assert decode(str(vector["text"]).encode()) == record_of(vector)


@pytest.mark.parametrize("vector", VECTORS["line"], ids=lambda vector: vector["tag"])
def test_encode_agrees_with_the_vector(vector: dict[str, object]) -> None:
    assert encode(record_of(vector)) == f"{vector['text']}\r\n".encode()


@pytest.mark.parametrize(
    "vector", [v for v in VECTORS["line"] if v["kind"] == "setup"], ids=lambda v: v["tag"]
)
def test_setup_fields_have_their_names(vector: dict[str, object]) -> None:
    record = decode(str(vector["text"]).encode())
    assert isinstance(record, Setup)
    told = dict(zip(SETUP_FIELDS[record.tag], record.fields, strict=True))
    told.pop("", None)
    assert told == vector["settings"]


def test_every_documented_tag_has_a_vector() -> None:
    assert {vector["tag"] for vector in VECTORS["line"]} == set(Tag)


# logs


@pytest.mark.parametrize(
    "stamp", [",00-30-21.397", ",2016-06-01 15:03:44.163 -07", ",2016-06-01 15:03:44.163 +05"]
)
def test_a_host_timestamp_is_dropped_from_the_stream_too(stamp: str) -> None:
    for vector in VECTORS["line"]:
        assert decode(f"{vector['text']}{stamp}".encode()) == record_of(vector)


def test_log_lines() -> None:
    lines = [
        b"GB,1,2,3,4,00-30-21.397\r\n",
        b"GB,1,2,3,4,2016-06-01 15:03:44.163 -07\n",
        b"GB,1,2,3,4,2016-13-01 15:03:44.163 -07\r\n",
        b"GB,1,2,3,4,0001-01-01 00:00:00.000 +07\r\n",
        b"\r\n",
        b"NB,1,2,3,4\r\n",
    ]
    told = list(read_log(lines))
    assert [each.data for each in told] == [b"GB,1,2,3,4\r\n"] * 4 + [b"\r\n", b"NB,1,2,3,4\r\n"]
    moment = datetime(2016, 6, 1, 22, 3, 44, 163000, UTC)
    assert [each.at for each in told] == [None, moment, None, None, None, None]
    assert [each.line for each in told] == [1, 2, 3, 4, 5, 6]


def test_log_lines_already_without_ends() -> None:
    assert [each.data for each in read_log([b"NB,1,2,3,4", b"GB,1,2,3,4"])] == [
        b"NB,1,2,3,4\r\n",
        b"GB,1,2,3,4\r\n",
    ]


def test_the_cut_last_line_of_a_log_never_decodes() -> None:
    told = list(read_log([b"GB,000400,000400,000400,000400,00-30-21.397\r\n", b"GS,81,70,69,7"]))
    assert [each.data for each in told] == [b"GB,000400,000400,000400,000400\r\n", b"GS,81,70,69,7"]
    whole = list(read_log([b"NB,0,0,0,0,00-30-21.397\r\n", b"GS,81,70,69,77,00-30-22.397"]))
    assert whole[-1].data == b"GS,81,70,69,77\r\n"
