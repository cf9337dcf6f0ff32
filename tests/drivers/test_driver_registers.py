"""The register driver with the Aspect map: vectors, base address, occupancies, bad answers."""

import struct
import tomllib
from collections.abc import Generator, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from drivers import registers
from drivers.api import Flag, Identity, Output, Passage, PassageFlag, ReadBlock, Reading, Sample
from drivers.codec.occupancy import CounterLane, Look, Peak
from drivers.codec.words import Item, WordOrder, Words, WordType
from drivers.errors import DecodeError, DriverError, Refused, Reject, ReplyTimeout
from drivers.registers import RegisterDriver, encode, load
from simulators.contract import check_registers

VECTORS = tomllib.loads(
    (Path(__file__).parents[1] / "data" / "vectors" / "aspect-rpm-modbus-tcp.toml").read_text()
)
ASPECT = "aspect-rpm-modbus-tcp"
READY = {"gamma_status": 0x80, "neutron_status": 0x80, "elapsed": 1}
Talk = Generator[ReadBlock, tuple[int, ...], Any]


def words(text: str) -> tuple[int, ...]:
    return tuple(int(word, 16) for word in text.split())


def ask(talk: Talk, answer: tuple[int, ...] | DriverError) -> tuple[ReadBlock, Any]:
    """The only block it asks for, and what it makes of the answer."""
    block = next(talk)
    with pytest.raises(StopIteration) as stop:
        talk.throw(answer) if isinstance(answer, DriverError) else talk.send(answer)
    return block, stop.value.value


def driver() -> RegisterDriver:
    return RegisterDriver(load(ASPECT))


def monitor(**numbers: float) -> tuple[int, ...]:
    return encode(load(ASPECT), "monitor", READY | numbers)


def poll(unit: RegisterDriver, answer: tuple[int, ...]) -> list[Output]:
    return list(ask(unit.poll(), answer)[1])


def told(readings: Iterable[Reading]) -> dict[str, float | None]:
    return {f"{each.channel}.{each.part}".rstrip("."): each.value for each in readings}


@pytest.mark.parametrize("vector", VECTORS["word"], ids=lambda v: v["provenance"])
def test_words(vector: dict[str, Any]) -> None:
    packed = Words([Item(0, WordType(vector["type"]), WordOrder(vector["words"]))])
    given = words(vector["registers"])
    assert packed.decode(given) == (vector["value"],)
    assert packed.encode([vector["value"]], len(given)) == given


@pytest.mark.parametrize("vector", VECTORS["request"], ids=lambda v: v["block"])
def test_requests(vector: dict[str, Any]) -> None:
    unit = driver()
    talk: Talk = unit.identify() if vector["block"] == "description" else unit.poll()
    block = next(talk)
    asked = struct.pack(">BHH", block.function, block.address, block.count)
    assert asked == bytes.fromhex(vector["bytes"])


@pytest.mark.parametrize("vector", VECTORS["monitor"], ids=lambda v: v["name"])
def test_monitor_block(vector: dict[str, Any]) -> None:
    given = words(vector["registers"])
    assert encode(load(ASPECT), "monitor", vector["numbers"]) == given
    (sample,) = poll(driver(), given)
    assert isinstance(sample, Sample)
    assert sample.occupied is vector["occupied"]
    assert list(sample.flags) == vector["flags"]
    none = vector.get("none", {})
    assert told(sample.readings) == vector["readings"] | dict.fromkeys(none)
    flagged = {
        f"{each.channel}.{each.part}".rstrip("."): each.flags[0]
        for each in sample.readings
        if each.flags
    }
    assert flagged == none
    assert not any(each.independent or each.window_s is not None for each in sample.readings)


def test_info() -> None:
    info = registers.aspect_rpm_modbus_tcp
    assert (info.name, info.contract, info.verified) == (ASPECT, "registers", "documented")
    assert (info.links, info.tcp_port, info.silence_s) == (("modbus_tcp",), 502, 1.0)
    check_registers(info)


def test_a_name_without_a_map_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="no_such_portal"):
        _ = registers.no_such_portal


def test_not_a_number_is_a_fault() -> None:
    (sample,) = poll(driver(), monitor(gamma_background=float("nan")))
    assert isinstance(sample, Sample)
    (background,) = (each for each in sample.readings if each.part == "gamma" and each.unit != "1")
    assert background.value is None
    assert background.flags == (Flag.INSTRUMENT_FAULT,)


def test_zeros_say_nothing() -> None:
    (sample,) = poll(driver(), (0,) * 21)
    assert isinstance(sample, Sample)
    assert set(told(sample.readings).values()) == {None}
    assert all(each.flags == (Flag.INSTRUMENT_FAULT,) for each in sample.readings)
    assert sample.occupied is None


@pytest.mark.parametrize("count", [0, 20, 22])
def test_another_length_is_a_decode_error(count: int) -> None:
    (error,) = poll(driver(), (1,) * count)
    assert isinstance(error, DecodeError)
    assert error.reason is (Reject.TRUNCATED if count < 21 else Reject.CONTENT)


def test_what_is_no_register_is_a_decode_error() -> None:
    (error,) = poll(driver(), (0x10000,) * 21)
    assert isinstance(error, DecodeError)


@pytest.mark.parametrize(
    ("description", "base"),
    [
        ((0xABCD, 8, 1, 200, 21, 0, 0, 0), 200),
        ((0xABCD, 8, 1, 200, 40, 0, 0, 0), 200),
        ((0xABCD, 8, 1, 200, 20, 0, 0, 0), 100),
        ((0xABCD, 8, 1, 7, 21, 0, 0, 0), 100),
        ((0xABCD, 8, 1, 0xFFF0, 21, 0, 0, 0), 100),
        ((0,) * 8, 100),
        (Refused(2), 100),
    ],
)
def test_base_address(description: tuple[int, ...] | DriverError, base: int) -> None:
    unit = driver()
    block, identity = ask(unit.identify(), description)
    assert block == ReadBlock(3, 0, 8)
    assert isinstance(identity, Identity)
    if isinstance(description, tuple) and any(description):
        assert ("signature", "0xABCD") in identity.settings
    assert ask(unit.poll(), monitor())[0] == ReadBlock(3, base, 21)


def test_a_refused_base_gives_way_to_the_documented_one() -> None:
    unit = driver()
    ask(unit.identify(), (1, 8, 1, 200, 21, 0, 0, 0))
    talk = unit.poll()
    next(talk)
    with pytest.raises(Refused):
        talk.throw(Refused(2))
    assert next(unit.poll()) == ReadBlock(3, 100, 21)


def test_a_short_description_is_tried_again() -> None:
    talk = driver().identify()
    next(talk)
    with pytest.raises(DecodeError):
        talk.send((1, 2))


def test_a_timeout_escapes_and_keeps_the_occupancy() -> None:
    unit = driver()
    poll(unit, monitor(object_counter=1))
    poll(unit, monitor(object_counter=2, inputs=1))
    talk = unit.poll()
    next(talk)
    with pytest.raises(ReplyTimeout):
        talk.throw(ReplyTimeout())
    assert poll(unit, (0,) * 21)[1:] == []
    (passage,) = poll(unit, monitor(object_counter=2))[1:]
    assert isinstance(passage, Passage)
    assert passage.number == 2


@pytest.mark.parametrize(
    "numbers",
    [{"inputs": 8}, {"gamma_status": 0x82}, {"neutron_status": 0x81}, {"gamma_status": 0xC0}],
)
def test_polls_faster_while_occupied_or_alarmed(numbers: dict[str, int]) -> None:
    unit = driver()
    assert unit.poll_s == 1.0
    poll(unit, monitor(**numbers))
    assert unit.poll_s == 0.2
    poll(unit, monitor())
    assert unit.poll_s == 1.0


def test_a_passage() -> None:
    unit = driver()
    assert len(poll(unit, monitor(object_counter=4, inputs=1, gamma_counts=9000))) == 1
    poll(unit, monitor(object_counter=4))
    for counts, status in ((300, 0x80), (500, 0x81), (200, 0x80)):
        numbers = {"object_counter": 5, "inputs": 0x41, "gamma_counts": counts}
        more = poll(unit, monitor(**numbers, gamma_status=status, neutron_counts=2, speed=1234))
        assert len(more) == 1
    sample, passage = poll(unit, monitor(object_counter=5, gamma_counts=800))
    assert isinstance(sample, Sample)
    assert sample.occupied is False
    assert passage == Passage(
        5, None, 0.0, True, False, 500, "interval", 2, "interval", speed_m_s=1.234
    )


def test_both_directions_are_none() -> None:
    unit = driver()
    poll(unit, monitor(object_counter=4))
    poll(unit, monitor(object_counter=5, inputs=0xC1))
    (passage,) = poll(unit, monitor(object_counter=5))[1:]
    assert isinstance(passage, Passage)
    assert passage.flags == (PassageFlag.DIRECTION_UNKNOWN,)


def test_an_overload_is_an_alarm_without_a_maximum() -> None:
    unit = driver()
    poll(unit, monitor(object_counter=4))
    poll(unit, monitor(object_counter=5, inputs=1, gamma_counts=5))
    poll(unit, monitor(object_counter=5, inputs=1, gamma_counts=9, gamma_status=0xC0))
    (passage,) = poll(unit, monitor(object_counter=5))[1:]
    assert isinstance(passage, Passage)
    assert passage.gamma_alarm
    assert passage.gamma_max is None


# The lane by itself.

LOOK = Look(10, False, gamma=Peak(1), neutron=Peak(0), uptime=1000)


def steps(*looks: Look) -> list[Passage | DecodeError]:
    lane = CounterLane("interval", "interval")
    return [output for look in looks for output in lane.step(look)]


def at(counter: int, occupied: bool = False, uptime: int = 1000) -> Look:
    return replace(LOOK, counter=counter, occupied=occupied, uptime=uptime)


def numbers_and_flags(outputs: list[Passage | DecodeError]) -> list[tuple[int | None, list[str]]]:
    assert all(isinstance(each, Passage) for each in outputs)
    return [(p.number, [*p.flags]) for p in outputs if isinstance(p, Passage)]


@pytest.mark.parametrize("first", [at(10), at(10, True), at(0, True)])
def test_the_first_poll_only_notes_the_counter(first: Look) -> None:
    assert steps(first, replace(first, occupied=False)) == []


def test_the_counter_wraps() -> None:
    outputs = steps(at(65535), at(0, True), at(0))
    assert numbers_and_flags(outputs) == [(0, [])]


@pytest.mark.parametrize(
    ("before", "after"), [(at(500), at(0)), (at(500, True), at(3, True)), (at(20), at(19))]
)
def test_a_reset_is_no_occupancy_and_the_next_passage_says_so(before: Look, after: Look) -> None:
    number = after.counter + 1
    outputs = steps(before, after, at(after.counter), at(number, True), at(number))
    assert numbers_and_flags(outputs) == [(number, ["counter_restarted"])]


def test_a_reset_close_to_the_top_shows_in_the_running_time() -> None:
    assert steps(at(65535, uptime=90_000), at(0, uptime=5)) == []
    top = 0xFFFFFFFF
    assert len(steps(at(65535, uptime=top), at(0, True, uptime=5), at(0, uptime=6))) == 1


def test_between_two_polls() -> None:
    outputs = steps(at(10), at(11))
    assert numbers_and_flags(outputs) == [(11, ["start_missed", "neutron_missing"])]
    (passage,) = outputs
    assert isinstance(passage, Passage)
    assert passage.gamma_max is None


def test_the_next_one_follows_at_once() -> None:
    outputs = steps(at(10), at(11, True), at(12, True), at(12))
    assert numbers_and_flags(outputs) == [(11, ["end_missed"]), (12, [])]
    assert [each.end_age_s for each in outputs if isinstance(each, Passage)] == [None, 0.0]


def test_missed_occupancies_are_an_error_not_passages() -> None:
    error, passage = steps(at(10), at(14, True), at(14))
    assert isinstance(error, DecodeError)
    assert "3 occupancies" in error.detail
    assert isinstance(passage, Passage)
    assert passage.number == 14


def test_a_new_connection_ends_what_was_open_and_begins_anew() -> None:
    lane = CounterLane("interval", "interval")
    list(lane.step(at(10)))
    list(lane.step(at(11, True)))
    lane.interrupted()
    assert numbers_and_flags(list(lane.step(at(15, True)))) == [(11, ["end_missed"])]
    assert list(lane.step(at(15))) == []


def test_the_ending_poll_gives_its_alarms_not_its_counts() -> None:
    end = replace(at(11), gamma_alarm=True, gamma=Peak(99))
    (passage,) = steps(at(10), at(11, True), end)
    assert isinstance(passage, Passage)
    assert (passage.gamma_alarm, passage.gamma_max) == (True, 1)
