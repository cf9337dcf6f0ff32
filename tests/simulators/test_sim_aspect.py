"""The simulated Aspect portal with the real driver in virtual time."""

import random
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from drivers.api import Channel, Flag, Identity, Output, Passage, Sample
from drivers.errors import DriverError
from drivers.registers import aspect_rpm_modbus_tcp
from simulators.api import Emission
from simulators.aspect import create
from simulators.dialogue import VirtualSession, always

Value = bool | int | float | str
Events = list[tuple[float, Output | Identity]]
SOURCE_S = (42.0, 45.0)


class Lane:
    """100 gamma counts each second, 400 while the source is there; given times are occupied."""

    def __init__(self, *stays: tuple[float, float]) -> None:
        self.stays = stays

    def gamma_counts(self, from_s: float, to_s: float, part: int = 0) -> int:
        near = min(to_s, SOURCE_S[1]) - max(from_s, SOURCE_S[0])
        return round(100 * (to_s - from_s) + 300 * max(near, 0.0))

    def neutron_counts(self, from_s: float, to_s: float, part: int = 0) -> int:
        return int(from_s) % 3

    def dose_rate(self, at_s: float) -> float:
        return 0.1

    def occupied(self, at_s: float) -> bool:
        return any(start <= at_s < end for start, end in self.stays)

    def speed_m_s(self, at_s: float) -> float:
        return 1.2345

    def position(self, at_s: float) -> None:
        return None

    def on_since(self, at_s: float) -> float | None:
        return 0.0


def play(
    settings: dict[str, Value],
    *stays: tuple[float, float],
    to_s: float = 90.0,
    link_up: Callable[[float], bool] = always,
) -> tuple[Events, list[Emission]]:
    heard: list[Emission] = []
    session = VirtualSession(
        aspect_rpm_modbus_tcp,
        aspect_rpm_modbus_tcp.create({}),
        create(settings, random.Random(1)),
        Lane(*stays),
        link_up=link_up,
        witness=heard.append,
    )
    return list(session.run(to_s)), heard


def samples(events: Events) -> list[tuple[float, Sample]]:
    return [(at_s, event) for at_s, event in events if isinstance(event, Sample)]


def passages(events: Events) -> list[Passage]:
    return [event for _, event in events if isinstance(event, Passage)]


def readings(sample: Sample) -> dict[str, float | None]:
    return {f"{each.channel}.{each.part}".rstrip("."): each.value for each in sample.readings}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"base": 300, "length": 30, "interval_s": 0.5},
        {"length": 0, "gamma_overload": 300, "direction": "unknown"},
        {"first_counter": 65534, "tamper_from_s": 20.0, "tamper_to_s": 30.0, "learning_s": 0.0},
    ],
)
def test_what_is_read_is_what_was_said(settings: dict[str, Value]) -> None:
    stays = ((20.3, 24.0), (40.0, 47.0), (60.0, 61.2))
    events, heard = play(settings, *stays)
    told = iter(passages(events))
    said = [emission.says for emission in heard if emission.says]
    read = [readings(sample) for _, sample in samples(events)]
    assert len(read) == len(said) > 100
    for values, says in zip(read, said, strict=True):
        assert values | {k: v for k, v in says.items() if not k.startswith("passage.")} == values
        of_passage = {k[8:]: v for k, v in says.items() if k.startswith("passage.")}
        if of_passage:
            passage = next(told)
            assert {name: getattr(passage, name) for name in of_passage} == of_passage
    assert len(passages(events)) == 3
    assert not any(isinstance(event, DriverError) for _, event in events)


def test_the_source_makes_an_alarm_and_the_passages_before_and_after_none() -> None:
    events, _ = play({}, (20.3, 24.0), (40.0, 47.0), (60.0, 61.2))
    assert [each.gamma_alarm for each in passages(events)] == [False, True, False]
    assert [each.number for each in passages(events)] == [1, 2, 3]
    (_, largest, _) = (each.gamma_max for each in passages(events))
    assert largest == 400
    assert {each.speed_m_s for each in passages(events)} == {1.234}
    first = min(
        at_s for at_s, sample in samples(events) if readings(sample)["device_alarm.gamma"] == 1
    )
    assert SOURCE_S[0] < first < SOURCE_S[0] + 1.3


def test_no_number_before_the_first_interval_and_a_flag_while_learning() -> None:
    events, _ = play({}, to_s=20.0)
    (_, first), *_, (_, last) = samples(events)
    counts = [each for each in first.readings if each.channel is Channel.GAMMA_COUNTS]
    assert [(each.value, each.flags) for each in counts] == [(None, (Flag.INSTRUMENT_FAULT,))]
    assert first.flags == (Flag.CALIBRATING_BACKGROUND,)
    assert last.flags == ()
    assert readings(last)["background.gamma"] == 100.0


def test_polls_are_five_a_second_while_occupied() -> None:
    events, _ = play({}, (20.0, 30.0), to_s=40.0)
    times = [at_s for at_s, _ in samples(events)]
    assert sum(22 <= at_s < 27 for at_s in times) == 25
    assert sum(10 <= at_s < 15 for at_s in times) == 5


def test_a_new_connection_only_notes_the_counter() -> None:
    down = (21.0, 35.0)
    events, _ = play(
        {}, (20.0, 24.0), (28.0, 30.0), (40.0, 42.0), link_up=lambda at: not down[0] <= at < down[1]
    )
    told = [(each.number, [*each.flags]) for each in passages(events)]
    assert told == [(1, ["end_missed"]), (3, [])]


@pytest.mark.parametrize(
    ("function", "address", "count", "code"),
    [(4, 100, 21, 1), (6, 100, 1, 1), (3, 99, 2, 2), (3, 100, 22, 2), (3, 8, 1, 2), (3, 0, 0, 3)],
)
def test_what_it_refuses(function: int, address: int, count: int, code: int) -> None:
    portal = create({}, random.Random(1))
    assert portal.read(1.0, function, address, count, Lane()) == code


def test_a_part_of_a_block() -> None:
    portal = create({"signature": 0xABCD, "first_counter": 9}, random.Random(1))
    assert portal.read(2.0, 3, 117, 1, Lane()) == ((9,), {})
    assert portal.read(2.0, 3, 0, 8, Lane()) == ((0xABCD, 8, 0, 100, 21, 0, 0, 0), {})


@pytest.mark.parametrize("settings", [{"colour": 1}, {"direction": "up"}, {"interval_s": 0.0}])
def test_bad_settings(settings: dict[str, Value]) -> None:
    with pytest.raises(ValueError, match=r"colour|direction|interval"):
        create(settings, random.Random(1))


ROOT = Path(__file__).resolve().parents[2]
VECTORS = tomllib.loads((ROOT / "tests/data/vectors/aspect-rpm-modbus-tcp.toml").read_text("utf-8"))


class Printed(Lane):
    """100 gamma counts and a neutron each second interval, then 400 and 9 while occupied."""

    def gamma_counts(self, from_s: float, to_s: float, part: int = 0) -> int:
        return 400 if self.occupied(from_s) else 100

    def neutron_counts(self, from_s: float, to_s: float, part: int = 0) -> int:
        return 9 if self.occupied(from_s) else int(from_s) % 2

    def speed_m_s(self, at_s: float) -> float:
        return 2.5


def words(text: str) -> tuple[int, ...]:
    return tuple(int(each, 16) for each in text.split())


def test_registers_are_those_of_the_vector() -> None:
    """An occupied portal with gamma Alarm1, neutron Alarm2, 2.5 m/s in an unknown direction."""
    (vector,) = (each for each in VECTORS["monitor"] if each["name"].startswith("occupied"))
    settings: dict[str, Value] = {
        "n_sigma": 9.0,
        "neutron_bits": 0x02,
        "direction": "unknown",
        "first_counter": 65534,
        "uptime_s": 65.536 - 32.0,
    }
    portal = create(settings, random.Random(1))
    told = portal.read(32.0, 3, 100, 21, Printed((30.0, 40.0)))
    assert not isinstance(told, int)
    assert tuple(told[0]) == words(vector["registers"])


@pytest.mark.parametrize("vector", VECTORS["request"], ids=lambda vector: vector["block"])
def test_documented_requests_are_answered(vector: dict[str, str]) -> None:
    request = bytes.fromhex(vector["bytes"])
    function, address, count = (request[0], *(int.from_bytes(request[k : k + 2]) for k in (1, 3)))
    told = create({}, random.Random(1)).read(1.0, function, address, count, Lane())
    assert not isinstance(told, int)
    assert len(told[0]) == count


def test_time_of_its_own_wraps_and_drifts() -> None:
    def elapsed(at_s: float, **settings: Value) -> int:
        portal = create(settings, random.Random(1))
        told = portal.read(at_s, 3, 100, 2, Lane())
        assert not isinstance(told, int)
        low, high = told[0]
        return low | high << 16

    assert elapsed(12.5) == 12_500
    assert elapsed(100.0, clock_ppm=1000.0) == 100_100
    assert elapsed(2.0, uptime_s=4_294_967.295) == 1_999
    events, _ = play({"uptime_s": 4_294_967.295 - 30}, (20.3, 24.0), (40.0, 47.0))
    assert [each.number for each in passages(events)] == [1, 2]


@pytest.mark.parametrize(
    ("setting", "address", "value"),
    [("mark", 118, 4), ("outputs", 120, 0x0100), ("gamma_bits", 103, 0xA500)],
)
def test_what_nobody_explains_is_sent_as_set(setting: str, address: int, value: int) -> None:
    portal = create({setting: value, "learning_s": 0.0}, random.Random(1))
    told = portal.read(5.0, 3, address, 1, Lane())
    ready = 0x0080 if setting == "gamma_bits" else 0
    assert told == ((value | ready,), {})
    assert create({"identifier": 7}, random.Random(1)).read(5.0, 3, 2, 1, Lane()) == ((7,), {})


def test_more_beams_than_one() -> None:
    portal = create({"beams": 0x0F}, random.Random(1))
    told = portal.read(25.0, 3, 102, 1, Lane((20.0, 30.0)))
    assert told == ((0x004F,), {})


STATES = {
    "tamper": ("tamper.open", 1),
    "battery_low": ("device_fault.battery_low", 1),
    "fault": ("device_fault.error", 1),
    "over_range": ("gamma_counts", None),
    "dead_channel": ("device_fault.background_low", 1),
}


@pytest.mark.parametrize("state", STATES)
def test_states_are_in_the_registers(state: str) -> None:
    portal = create({"gamma_low": 20.0, "background_s": 2.0}, random.Random(1))
    session = VirtualSession(
        aspect_rpm_modbus_tcp, aspect_rpm_modbus_tcp.create({}), portal, Lane()
    )
    name, value = STATES[state]
    before = [each for _, each in session.run(20.0) if isinstance(each, Sample)][-1]
    portal.set_state(state, on=True)
    during = [each for _, each in session.run(30.0) if isinstance(each, Sample)][-1]
    portal.set_state(state, on=False)
    after = [each for _, each in session.run(40.0) if isinstance(each, Sample)][-1]
    assert readings(during)[name] == value
    assert readings(before)[name] == readings(after)[name] != value
    assert (readings(during)["device_alarm.gamma_overload"] == 1) is (state == "over_range")


class Switched(Lane):
    """Off from 30 s to 35 s."""

    def on_since(self, at_s: float) -> float | None:
        if 30 <= at_s < 35:
            return None
        return 0.0 if at_s < 30 else 35.0


def test_a_power_cycle_starts_its_time_and_its_counter_anew() -> None:
    portal, lane = create({"first_counter": 40, "uptime_s": 1e5}, random.Random(1)), Switched()
    before = portal.read(29.0, 3, 100, 18, lane)
    assert not isinstance(before, int)
    assert (before[0][0] | before[0][1] << 16, before[0][17]) == (100_029_000, 40)
    after = portal.read(35.5, 3, 100, 21, lane)
    assert not isinstance(after, int)
    assert (after[0][0], after[0][3], after[0][17], after[0][20]) == (500, 0, 0, 0x0040)
    later = portal.read(36.1, 3, 100, 21, lane)
    assert not isinstance(later, int)
    assert later[0][3] == 0x0080


def test_alarm_2_makes_a_passage_alarmed() -> None:
    events, _ = play({"gamma_bits": 0x02}, (20.3, 24.0))
    assert [each.gamma_alarm for each in passages(events)] == [True]
    _, heard = play({"gamma_bits": 0x02}, (20.3, 24.0))
    assert {each.says.get("device_alarm.gamma") for each in heard[2:]} == {1}
