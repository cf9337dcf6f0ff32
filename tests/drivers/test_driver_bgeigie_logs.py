"""bGeigie logs that people published, and the fate of each damaged line in them."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from drivers.api import Sample
from drivers.bgeigie import DRIVER, BGeigie, calibration
from drivers.errors import DriverError

SAMPLES = Path(__file__).resolve().parents[2].parent / "shared" / "samples" / "bgeigie"


@dataclass
class Told:
    """What one log gave: samples and rejects by line number."""

    samples: list[tuple[int, Sample]]
    rejects: list[tuple[int, DriverError]]

    def at(self, number: int) -> list[Sample]:
        return [sample for line_number, sample in self.samples if line_number == number]

    def reasons(self, number: int) -> list[str]:
        return [error.reason.value for line_number, error in self.rejects if line_number == number]


def lines_of(name: str) -> list[bytes]:
    path = SAMPLES / name
    if not path.exists():
        pytest.skip(f"{path} is not on this machine")
    return path.read_bytes().removesuffix(b"\n").split(b"\n")


def read(name: str) -> Told:
    told, driver = Told([], []), BGeigie()
    assert DRIVER.read_log is not None
    for logged in DRIVER.read_log(lines_of(name)):
        assert logged.line is not None
        assert logged.at is None
        for output in driver.feed(logged.data):
            if isinstance(output, DriverError):
                assert output.line == logged.line
                told.rejects.append((logged.line, output))
            else:
                assert isinstance(output, Sample)
                told.samples.append((logged.line, output))
    return told


def found(name: str, needle: bytes) -> int:
    """Number of the one line that holds ``needle``."""
    (number,) = [n for n, text in enumerate(lines_of(name), 1) if needle in text]
    return number


LOGS = [
    # file, samples, rejects, void radiation, positions
    ("czechrad_CZRA1_sample.LOG", 194, {}, 0, 194),
    ("nano_prerelease_LOG00001.TXT", 0, {"unsupported": 66}, 0, 0),
    ("nanokit_204-0920.LOG", 8512, {"truncated": 1}, 8, 8510),
    ("nanokit_SAFECAST.TXT", 0, {"syntax": 16}, 0, 0),
    ("rtbreader_sample_1.log", 212, {"checksum": 1}, 0, 212),
    ("rtbreader_sample_invalid_time.log", 3, {}, 0, 2),
    ("safecastapi_bgeigie.log", 23, {}, 11, 0),
    ("safecastapi_bgeigie3.log", 23, {"syntax": 2}, 11, 0),
    ("safecastapi_bgeigie_nyc.log", 29, {}, 12, 21),
    ("safecastapi_bgeigie_with_corruption.log", 7, {"content": 1, "truncated": 1}, 0, 7),
    ("safecastapi_bgeigie_with_tinygps_bug.log", 0, {"checksum": 29}, 0, 0),
    ("safecastapi_malformed_bgeigie.log", 9, {"content": 1, "checksum": 1}, 0, 9),
]


@pytest.mark.parametrize(("name", "samples", "rejects", "void", "positions"), LOGS)
def test_public_log(
    name: str, samples: int, rejects: dict[str, int], void: int, positions: int
) -> None:
    told = read(name)
    assert len(told.samples) == samples
    assert Counter(error.reason.value for _, error in told.rejects) == rejects
    assert sum(s.readings[0].value is None for _, s in told.samples) == void
    assert sum(s.position is not None for _, s in told.samples) == positions
    assert sum(s.identity is not None for _, s in told.samples) == min(1, samples)


def test_every_log_is_listed() -> None:
    if not SAMPLES.exists():
        pytest.skip(f"{SAMPLES} is not on this machine")
    names = {path.name for path in SAMPLES.iterdir() if path.suffix != ".md"}
    assert names == {row[0] for row in LOGS}


CORRUPT = "safecastapi_bgeigie_with_corruption.log"
TIMES = "rtbreader_sample_invalid_time.log"
MALFORMED = "safecastapi_malformed_bgeigie.log"


def test_damage_1_letters_in_the_altitude_behind_a_right_checksum() -> None:
    number = found(CORRUPT, b"464$GPR")
    assert read(CORRUPT).reasons(number) == ["content"]
    assert read(CORRUPT).at(number) == []


def test_damage_2_impossible_time_keeps_the_radiation() -> None:
    name = TIMES
    number = found(name, b"T110:53:93Z")
    (sample,) = read(name).at(number)
    text = lines_of(name)[number - 1].split(b",")
    assert sample.readings[1].value == int(text[3])
    assert sample.readings[0].value == int(text[4])
    assert sample.device_time is sample.position is None


@pytest.mark.parametrize("name", [CORRUPT, "nanokit_204-0920.LOG"])
def test_damage_3_cut_last_line(name: str) -> None:
    last = len(lines_of(name))
    assert read(name).rejects[-1][0] == last
    assert read(name).reasons(last) == ["truncated"]


def test_damage_4_paired_bit_errors() -> None:
    number = found(MALFORMED, b">")
    assert read(MALFORMED).reasons(number) == ["content"]
    assert read(MALFORMED).at(number) == []


def test_damage_5_header_in_the_wrong_case() -> None:
    number = found(MALFORMED, b"$BNRdD")
    assert read(MALFORMED).reasons(number) == ["checksum"]


def test_damage_6_rubbish_behind_the_checksum() -> None:
    told = read(MALFORMED)
    number = next(n for n, text in enumerate(lines_of(MALFORMED), 1) if text.endswith(b"-"))
    assert len(told.at(number)) == 1
    assert told.reasons(number) == []
    number = found(MALFORMED, b"\r*$")
    both = told.at(number)
    assert told.reasons(number) == []
    totals = [int(part.split(b",")[5]) for part in lines_of(MALFORMED)[number - 1].split(b"$")[1:]]
    bins = [int(part.split(b",")[4]) for part in lines_of(MALFORMED)[number - 1].split(b"$")[1:]]
    assert [sample.readings[0].value for sample in both] == bins
    assert totals[1] - totals[0] == bins[1]


def test_damage_7_sign_and_hemisphere() -> None:
    number = next(n for n, text in enumerate(lines_of(CORRUPT), 1) if b",-83" in text)
    (sample,) = read(CORRUPT).at(number)
    assert sample.position is not None
    assert -84 < sample.position.longitude < -83
    assert 42 < sample.position.latitude < 43


@pytest.mark.parametrize(("name", "number"), [(CORRUPT, 14), (TIMES, 6)])
def test_damage_9_total_that_fell(name: str, number: int) -> None:
    totals = {n: text.split(b",")[5] for n, text in enumerate(lines_of(name), 1) if b"$" in text}
    before = max(n for n in totals if n < number)
    assert int(totals[number]) < int(totals[before])
    assert read(name).at(number)[0].readings[0].value is not None
    assert read(name).reasons(number) == []


def test_damage_10_device_id_of_an_unconfigured_kit() -> None:
    keys = dict(text.strip().split(b"=") for text in lines_of("nanokit_SAFECAST.TXT"))
    assert keys[b"did"] == b""
    assert float(keys[b"cpmf"]) == 60 / calibration("BNRDD").points[0][1]


def test_damage_11_stray_lines() -> None:
    told = read("safecastapi_bgeigie3.log")
    assert [(number, error.raw) for number, error in told.rejects] == [(43, b"2"), (44, b"3")]


def test_damage_12_impossible_year_and_wrong_checksum() -> None:
    name = "rtbreader_sample_1.log"
    assert read(name).reasons(found(name, b"2000-00-00")) == ["checksum"]


def test_firmware_that_ran_two_fields_together_costs_the_position_only() -> None:
    name = "nanokit_204-0920.LOG"
    told = read(name)
    without = [n for n, s in told.samples if s.position is None and s.device_time is not None]
    (number,) = without
    assert lines_of(name)[number - 1].split(b",")[9].count(b".") == 2
    assert told.at(number)[0].readings[0].value is not None


def test_flight_log_is_understood_throughout() -> None:
    """In the log of firmware 1.0.0 every valid cpm is the plain sum of the last twelve bins."""
    bins: list[int] = []
    agreed = 0
    name = "nanokit_204-0920.LOG"
    for _, sample in read(name).samples:
        bins.append(int(sample.readings[0].raw))
        if sample.readings[1].value is not None and len(bins) >= 12:
            agreed += sample.readings[1].value == sum(bins[-12:])
    assert agreed >= 8500
    assert bins == [int(text.split(b",")[4]) for text in lines_of(name)[2:-1]]
