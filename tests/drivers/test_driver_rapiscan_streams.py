"""The Rapiscan / TSA driver on captures, and on streams that break."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from random import Random

import pytest

from drivers.api import Channel, Output, Passage, PassageFlag, Sample
from drivers.errors import DriverError, FrameError, Reject
from drivers.rapiscan import Rapiscan
from drivers.rapiscan_lines import read_log

SAMPLES = Path(__file__).resolve().parents[2].parent / "shared" / "samples" / "rpm"

DAY = "rapiscan_day_extract.txt"
NORM = "rapiscan_labs_S2-C3-NORM2_first3occ.csv"
NONE = "rapiscan_labs_S2-C0-NONE_first2occ.csv"

# number: background, gamma lines, neutron lines, GA lines, AA lines, largest 5-sum, largest second
REFERENCE = {
    DAY: [
        (603, 2.466, 59, 11, 0, 0, 1437, 5),
        (604, 2.466, 18, 3, 0, 0, 1635, 5),
        (618, 2.799, 32, 6, 0, 0, 1448, 4),
        (621, 2.416, 17, 3, 0, 0, 1627, 4),
        (630, 2.566, 101, 20, 7, 0, 1652, 6),
        (637, 2.641, 69, 13, 7, 0, 2361, 9),
        (677, 2.466, 51, 10, 0, 0, 1620, 4),
        (1, 2.566, 50, 10, 0, 0, 1554, 8),
        (194, 2.716, 77, 15, 8, 0, 2321, 6),
        (438, 2.666, 73, 14, 0, 0, 1544, 7),
    ],
    NORM: [
        (109, 6.383, 59, 11, 29, 72, 8009, 11),
        (110, 6.666, 59, 11, 28, 75, 8174, 12),
        (111, 6.508, 59, 11, 27, 70, 8164, 14),
    ],
    NONE: [
        (17, 6.683, 59, 11, 0, 0, 1531, 9),
        (18, 6.491, 60, 12, 0, 0, 1564, 11),
    ],
}
LINES = {DAY: 845, NORM: 1592, NONE: 1040}


def sample_bytes(name: str) -> bytes:
    path = SAMPLES / name
    if not path.exists():
        pytest.skip(f"the capture {name} is not on this machine")
    return path.read_bytes()


def wire(*texts: str) -> bytes:
    return b"".join(text.encode() + b"\r\n" for text in texts)


def counts(tag: str, *numbers: int) -> str:
    return ",".join([tag, *(f"{number:06d}" for number in numbers or (70, 70, 70, 70))])


VACANT = (counts("NB", 0, 0, 0, 0), counts("GB", 400, 390, 430, 420))
QUIET = (counts("NS", 1, 0, 2, 0), *[counts("GS")] * 10)


def run(data: bytes) -> list[Output]:
    return list(Rapiscan().feed(data))


def samples(outputs: Iterable[Output]) -> list[Sample]:
    return [output for output in outputs if isinstance(output, Sample)]


def passages(outputs: Iterable[Output]) -> list[Passage]:
    return [output for output in outputs if isinstance(output, Passage)]


def errors(outputs: Iterable[Output]) -> list[DriverError]:
    return [output for output in outputs if isinstance(output, DriverError)]


def only(text: str) -> Sample:
    (sample,) = run(wire(text))
    assert isinstance(sample, Sample)
    return sample


def comparable(output: Output) -> object:
    if isinstance(output, DriverError):
        place = (output.line, output.offset)
        return type(output), output.reason, output.raw, output.detail, *place
    return output


# captures


def interesting(outputs: Iterable[Output]) -> list[tuple[object, ...]]:
    """One row of REFERENCE for each passage."""
    rows: list[tuple[object, ...]] = []
    lines: Counter[str] = Counter()
    for output in outputs:
        if isinstance(output, Passage):
            assert output.number is not None
            assert output.gamma_alarm == (lines["gamma alarm"] > 0)
            tally = [lines[key] for key in ("gamma", "neutron", "gamma alarm", "AA")]
            maxima = (output.gamma_max, output.neutron_max)
            rows.append((output.number, output.neutron_background, *tally, *maxima))
            lines.clear()
        elif isinstance(output, DriverError):
            lines["AA"] += output.raw.startswith(b"AA,")
        elif output.occupied and output.readings[-1].channel is Channel.DEVICE_ALARM:
            kind = output.readings[-1].part
            lines[kind] += 1
            lines[f"{kind} alarm"] += output.readings[-1].value == 1
    return rows


@pytest.mark.parametrize("name", REFERENCE)
def test_captured_occupancies(name: str) -> None:
    assert interesting(run(sample_bytes(name))) == REFERENCE[name]


@pytest.mark.parametrize("name", REFERENCE)
def test_captured_occupancies_through_the_log_reader(name: str) -> None:
    logged = list(read_log(sample_bytes(name).splitlines(keepends=True)))
    assert len(logged) == LINES[name]
    assert interesting(run(b"".join(each.data for each in logged))) == REFERENCE[name]


def test_flags_of_captured_passages() -> None:
    flags = {each.number: each.flags for each in passages(run(sample_bytes(DAY)))}
    assert {number: told for number, told in flags.items() if told} == {
        618: (PassageFlag.SPEED_CLAMPED,),
        1: (PassageFlag.COUNTER_RESTARTED,),
    }


def test_captured_speeds() -> None:
    speeds = {each.number: each.speed_m_s for each in passages(run(sample_bytes(DAY)))}
    assert speeds[621] is None
    assert speeds[618] == pytest.approx(9.22 / 3.6)


def host_time_s(line: bytes) -> float:
    """Seconds since midnight in the last column of a log line, of either style."""
    found = re.search(rb"(\d\d)[-:](\d\d)[-:](\d\d\.\d{3})(?: -07)?\r\n", line)
    assert found
    return int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3])


@pytest.mark.parametrize("name", REFERENCE)
def test_starts_agree_with_the_host_times_of_the_log(name: str) -> None:
    """Counted intervals against the host's clock, from the first neutron line to GX."""
    began_s: float | None = None
    differences = []
    driver = Rapiscan()
    for line in sample_bytes(name).splitlines(keepends=True):
        if line.startswith(b"NS") and began_s is None:
            began_s = host_time_s(line)
        for passage in passages(driver.feed(line)):
            assert began_s is not None
            assert passage.start_age_s is not None
            differences.append(host_time_s(line) - began_s - passage.start_age_s)
            began_s = None
    assert len(differences) == len(REFERENCE[name])
    assert max(map(abs, differences)) < 0.1


@pytest.mark.parametrize("name", REFERENCE)
def test_every_line_of_a_capture_is_told_or_rejected(name: str) -> None:
    outputs = run(sample_bytes(name))
    ends = len(REFERENCE[name])
    assert len(passages(outputs)) == ends
    assert len(samples(outputs)) + len(errors(outputs)) == LINES[name]
    assert {each.reason for each in errors(outputs)} <= {Reject.UNSUPPORTED}
    assert not any(each.line is None for each in errors(outputs))


def test_a_close_follower_repeats_intervals_and_says_so() -> None:
    """604 begins 0.25 s after 603: its buffered lines repeat the last ones of 603."""
    outputs = run(sample_bytes(DAY))
    first, second = (k for k, each in enumerate(outputs) if each in passages(outputs)[:2])
    readings = [each.readings[0] for each in samples(outputs[first + 2 : second])]
    of_604 = [each.independent for each in readings if each.channel is Channel.GAMMA_COUNTS]
    assert of_604 == [False] * 5 + [True] * 13


# streams


@pytest.mark.parametrize("name", [DAY, NORM])
def test_byte_by_byte_is_the_same(name: str) -> None:
    data = sample_bytes(name)[:40000]
    driver = Rapiscan()
    pieces = [out for k in range(len(data)) for out in driver.feed(data[k : k + 1])]
    assert list(map(comparable, pieces)) == list(map(comparable, run(data)))


def test_any_split_is_the_same() -> None:
    flood = b"\x00" * 700 + b"\r\n"
    data = wire(*VACANT, "rubbish", *QUIET) + flood + wire("", counts("GA"), "GX,1,2,0,0", *VACANT)
    whole = list(map(comparable, run(data)))
    for cut in range(len(data)):
        driver = Rapiscan()
        halves = [*driver.feed(data[:cut]), *driver.feed(data[cut:])]
        assert list(map(comparable, halves)) == whole


def test_nothing_ends_decoding() -> None:
    random = Random(17)
    data = bytearray(wire(*VACANT, *QUIET, "GX,000700,002515,000000,000000") * 20)
    for _ in range(400):
        data[random.randrange(len(data))] = random.randrange(256)
    outputs = run(bytes(data) + b"\r\n" + wire(*VACANT, *QUIET, "GX,000701,002515,000000,000000"))
    assert errors(outputs)
    last = passages(outputs)[-1]
    assert (last.number, last.gamma_max) == (701, 1400)


def test_a_flood_without_an_end_is_one_error() -> None:
    driver = Rapiscan()
    outputs = [out for _ in range(100) for out in driver.feed(b"\x00" * 100)]
    outputs += driver.feed(b"\r\n" + wire(*VACANT))
    (error,) = errors(outputs)
    assert isinstance(error, FrameError)
    assert error.reason is Reject.OVERFLOW
    assert len(samples(outputs)) == 2


def test_all_zeros_are_a_reading_but_no_alarm() -> None:
    sample = only(counts("GS", 0, 0, 0, 0))
    assert [each.value for each in sample.readings] == [0, 0, 0, 0, 0]


def test_a_lost_gamma_line_leaves_the_next_unjoined() -> None:
    outputs = run(wire(*VACANT, *QUIET, "GS,000070,000070", counts("GS"), counts("GS")))
    assert [each.readings[0].independent for each in samples(outputs)[-2:]] == [False, True]


def test_unsupported_lines_break_nothing() -> None:
    outputs = run(wire(*VACANT, *QUIET, "AS,000080,000120,000060,000050", counts("GS")))
    assert samples(outputs)[-1].readings[0].independent
