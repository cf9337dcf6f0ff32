"""The benchmark's own arithmetic, and the fleet it measures with."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

MS = 1_000_000


def load(name: str) -> ModuleType:
    """A module of this folder, which is a folder of scripts and no package."""
    spec = importlib.util.spec_from_file_location(
        f"bench_{name}", Path(__file__).with_name(f"{name}.py")
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


figures = load("figures")
fleet = load("modbus_fleet")


def test_percentiles_by_nearest_rank() -> None:
    found = figures.spread(number * MS for number in range(1, 201))
    assert (found.count, found.p50, found.p99, found.worst) == (200, 100.0, 198.0, 200.0)
    assert figures.spread([7 * MS]) == figures.Spread(1, 7.0, 7.0, 7.0)
    assert figures.spread([]).count == 0


def test_messages_are_matched_with_their_answers() -> None:
    answers = {"a": [second * 1000 * MS for second in range(300)]}
    heard = [("a", 500 + number % 97, (1000 * number + 5) * MS) for number in range(300)]
    window = (100_000 * MS, 200_000 * MS)
    found = figures.join(answers, heard, window, 500, 97)
    assert (found.answers, found.lost, found.duplicates) == (100, 0, 0)
    assert (found.latency.p50, found.latency.worst) == (5.0, 5.0)


def test_late_lost_and_repeated_messages() -> None:
    answers = {"a": [second * 1000 * MS for second in range(10)]}
    heard = [("a", 500 + number, (1000 * number + 2500) * MS) for number in range(9)]
    heard.append(heard[3])
    heard += [("a", None, 1), ("b", 500, 1), ("a", 596, 10)]
    found = figures.join(answers, heard, (0, 10_000 * MS), 500, 97)
    assert (found.answers, found.lost, found.duplicates) == (10, 1, 1)
    assert (found.latency.count, found.latency.p50) == (9, 2500.0)


def test_alarm_is_timed_to_the_first_event_before_the_next() -> None:
    answers = {"a": [0, 100 * MS], "b": [0]}
    events = [("a", "raised", 3 * MS), ("a", "raised", 9 * MS), ("a", "returned", 101 * MS)]
    latency, unheard = figures.alarm_latency(answers, events)
    assert (latency.count, latency.worst, unheard) == (1, 3.0, 2)


def test_gaps_by_lane() -> None:
    assert figures.gaps({"samples 1": [1, 2, 4, 4, 7], "alarms 1": [5], "none": []}) == 3


def test_portal_answers_as_its_map_says() -> None:
    portal = fleet.Portal("d0001")
    # requests: the examples of the map, function 3, addresses 0 and 100
    described = portal.answer(bytes.fromhex("0001 0000 0006 0103 0000 0008"))
    assert described[:9] == bytes.fromhex("0001 0000 0013 01 03 10")
    assert described[9:] == bytes.fromhex("0000 0079 0000 0064 0015 0000 0000 0000")
    assert len(portal.answers) == 0
    for number in range(2):
        portal.alarm(number == 1)
        answer = portal.answer(bytes.fromhex("0002 0000 0006 0103 0064 0015"))
        assert answer[:9] == bytes.fromhex("0002 0000 002d 01 03 2a")
        registers = [int.from_bytes(answer[at : at + 2], "big") for at in range(9, 51, 2)]
        assert registers[2:4] == [number, 0x80 | number]
        assert registers[4] | registers[5] << 16 == 100_000 + number
        assert registers[6:8] == [0x5C00, 0x47C1]  # 99 000.0 is 0x47C15C00
        assert registers[10:13] == [0x80, 1, 0]
        assert registers[17:21] == [number, 0, 1500, 0]
    assert (len(portal.answers), len(portal.alarms)) == (2, 1)


@pytest.mark.parametrize(
    ("request_hex", "answer_hex"),
    [
        ("0003 0000 0006 0104 0064 0015", "0003 0000 0003 01 84 01"),
        ("0003 0000 0006 0103 0065 0015", "0003 0000 0003 01 83 02"),
    ],
)
def test_portal_refuses_the_rest(request_hex: str, answer_hex: str) -> None:
    answer = fleet.Portal("d0001").answer(bytes.fromhex(request_hex))
    assert answer == bytes.fromhex(answer_hex)
