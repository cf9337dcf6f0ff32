"""What the Rapiscan / TSA driver makes of lines and occupancies."""

import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest

from drivers.api import Channel, Flag, Output, Passage, PassageFlag, Quantity, Reading, Sample
from drivers.errors import DecodeError, DriverError, Reject
from drivers.rapiscan import DRIVER, Rapiscan
from drivers.rapiscan_lines import read_log

ROOT = Path(__file__).resolve().parents[2]
VECTORS = tomllib.loads((ROOT / "tests/data/vectors/rapiscan-tsa-rpm.toml").read_text("utf-8"))


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


def states(sample: Sample) -> dict[str, float | int | None]:
    return {
        f"{each.channel}.{each.part}": each.value for each in sample.readings if each.unit == "1"
    }


# what the lines mean


@pytest.mark.parametrize(
    ("reason", "text"),
    [(group["reason"], text) for group in VECTORS["reject"] for text in group["texts"]],
)
def test_rejects(reason: str, text: str) -> None:
    outputs = run(wire(*VACANT, text, *VACANT))
    (error,) = errors(outputs)
    assert isinstance(error, DecodeError)
    assert error.reason == Reject(reason)
    assert error.raw == text.encode()
    assert (error.line, error.offset) == (3, len(wire(*VACANT)))
    assert len(samples(outputs)) == 4


@pytest.mark.parametrize("text", ["GS,1,22,333,7777777", "GS,00000000001,22,333,7777777"])
def test_any_width_of_digits(text: str) -> None:
    assert [each.value for each in only(text).readings[:4]] == [1, 22, 333, 7777777]


def test_gamma_interval() -> None:
    sample = only("GS,000081,000070,000069,000077")
    assert sample.occupied is True
    assert sample.readings[0] == Reading(
        Channel.GAMMA_COUNTS,
        81,
        "count",
        Quantity.GAMMA_COUNTS,
        window_s=0.2,
        raw="000081",
        part="1",
    )
    assert [each.part for each in sample.readings] == ["1", "2", "3", "4", "gamma"]
    assert states(sample) == {"device_alarm.gamma": 0}


def test_neutron_second() -> None:
    sample = only("NA,000012,000010,000011,000012")
    assert sample.occupied is True
    assert [(each.value, each.window_s, each.quantity) for each in sample.readings[:4]] == [
        (number, 1.0, Quantity.NEUTRON_COUNTS) for number in (12, 10, 11, 12)
    ]
    assert states(sample) == {"device_alarm.neutron": 1}


def test_the_alarm_shows_at_its_first_interval() -> None:
    driver = Rapiscan()
    list(driver.feed(wire(*VACANT, *QUIET)))
    (sample,) = samples(driver.feed(wire(counts("GA"))))
    assert states(sample) == {"device_alarm.gamma": 1}


def test_intervals_join_except_the_first() -> None:
    joined = [each.readings[0].independent for each in samples(run(wire(*VACANT, *QUIET)))[3:]]
    assert joined == [False] + [True] * 9


def test_the_burst_is_dated_back() -> None:
    ages = [each.age_s for each in samples(run(wire(*VACANT, *QUIET)))]
    assert ages == pytest.approx([0, 0, 0, 1.0, 0.8, 0.6, 0.4, 0.2, 0, 0, 0, 0, 0])


def test_gamma_background() -> None:
    sample = only("GB,000410,000390,000420,000405")
    assert sample.occupied is False
    assert sample.readings[0] == Reading(
        Channel.BACKGROUND, 410, "1/s", Quantity.GAMMA_COUNT_RATE, raw="000410", part="1"
    )
    assert states(sample) == {"device_fault.background_high": 0, "device_fault.background_low": 0}


@pytest.mark.parametrize(
    ("tag", "part"),
    [
        ("GH", "background_high"),
        ("GL", "background_low"),
        ("NH", "neutron_background_high"),
        ("NL", "neutron_background_low"),
    ],
)
def test_background_faults(tag: str, part: str) -> None:
    sample = only(counts(tag))
    assert states(sample) == {f"device_fault.{part}": 1}
    assert {each.flags for each in sample.readings} == {(Flag.INSTRUMENT_FAULT,)}


@pytest.mark.parametrize("tag", ["NB", "NH", "NL"])
def test_rounded_down_neutrons_are_a_bound_and_no_number(tag: str) -> None:
    rates = only(counts(tag, 3, 0, 2, 0)).readings[:4]
    assert [each.value for each in rates] == [None] * 4
    assert [each.lower_bound for each in rates] == [3, 0, 2, 0]
    assert [each.raw for each in rates] == ["000003", "000000", "000002", "000000"]


def test_exact_neutron_background() -> None:
    rates = only("NB1,3.87500000,0.00000000,2.91000000,0.12345678").readings
    assert [each.value for each in rates] == [3.875, 0, 2.91, 0.12345678]
    assert {each.quantity for each in rates} == {Quantity.NEUTRON_COUNT_RATE}
    assert rates[0].raw == "3.87500000"


def test_setup_tells_over_what_time_the_background_is_averaged() -> None:
    driver = Rapiscan()
    setup = "SG3,0.069,0.455,020,000,1.10.1"
    *_, neutron, gamma = samples(driver.feed(wire(*VACANT, setup, *VACANT)))
    assert gamma.readings[0].window_s == 20
    assert neutron.readings[0].window_s is None


def test_speed() -> None:
    (reading,) = only("SP,0.2000,03.409,005.49,000000").readings
    assert reading.value == pytest.approx(1.525)
    assert (reading.unit, reading.raw) == ("m/s", "005.49 km/h")


def test_a_clamped_speed_is_no_number() -> None:
    (reading,) = only("SP,0.0000,99.999,160.93,000000").readings
    assert (reading.value, reading.raw) == (None, "160.93 km/h")


def test_tamper() -> None:
    told = samples(run(wire(counts("TT", 0, 0, 0, 0), "TC,111111,111111,111111,111111")))
    assert [states(each) for each in told] == [{"tamper.": 1}, {"tamper.": 0}]


def test_setup_accumulates_in_the_identity() -> None:
    texts = [v["text"] for v in VECTORS["line"] if v["kind"] == "setup"]
    told = samples(run(wire(*texts)))
    assert told[0].identity is not None
    assert told[0].identity.firmware is None
    last = told[-1].identity
    assert last is not None
    assert last.firmware == "1.10.1"
    settings = dict(last.settings)
    assert len(settings) == 26
    assert settings["n_sigma"] == "05.0"
    assert settings["gamma_high_fault"] == "002000"
    assert settings["neutron_high_fault"] == "000050"


# passages


def test_the_end_clears_the_alarms_of_the_portal() -> None:
    outputs = run(wire(*VACANT, *QUIET, counts("GA"), "GX,000700,002515,000000,000000"))
    passage, after = outputs[-2:]
    assert isinstance(passage, Passage)
    assert (passage.number, passage.neutron_background) == (700, 2.515)
    assert passage.gamma_alarm
    assert passage.gamma_background == 1640
    assert isinstance(after, Sample)
    assert after.occupied is False
    assert states(after) == {"device_alarm.gamma": 0, "device_alarm.neutron": 0}


def test_a_missing_end_is_told_by_the_next_vacant_line() -> None:
    outputs = run(wire(*VACANT, *QUIET, counts("GA"), *VACANT))
    passage, over, neutron, gamma = outputs[-4:]
    assert isinstance(passage, Passage)
    assert passage.flags == (PassageFlag.END_MISSED,)
    assert (passage.number, passage.end_age_s, passage.gamma_alarm) == (None, None, True)
    assert isinstance(over, Sample)
    assert states(over) == {"device_alarm.gamma": 0, "device_alarm.neutron": 0}
    assert [each.occupied for each in samples([neutron, gamma])] == [False, False]


def test_a_background_line_on_its_way_does_not_vacate_the_lane() -> None:
    outputs = run(wire(*VACANT, QUIET[0], *VACANT, *QUIET, "GX,000700,002515,000000,000000"))
    (passage,) = passages(outputs)
    assert passage.flags == ()
    assert [each.occupied for each in samples(outputs)[:6]] == [
        False,
        False,
        True,
        None,
        None,
        True,
    ]


def test_speed_then_background_then_start() -> None:
    speed = "SP,0.0500,13.636,021.94,000000"
    outputs = run(wire(speed, *VACANT, *QUIET, "GX,000700,002515,000000,000000"))
    (passage,) = passages(outputs)
    assert passage.flags == ()
    assert passage.start_age_s == pytest.approx(1.0)


def test_reconnecting_in_an_occupancy_closes_it() -> None:
    driver = Rapiscan()
    list(driver.feed(wire(*VACANT, *QUIET, counts("NA")) + b"GS,0000"))
    driver.interrupted()
    outputs = list(driver.feed(b"70,000070\r\n" + wire(counts("GS"), "GX,000700,002515,000000,0")))
    first, cut, sample, last, _ = outputs
    assert isinstance(first, Passage)
    assert first.flags == (PassageFlag.END_MISSED,)
    assert first.neutron_alarm
    assert isinstance(cut, DecodeError)
    assert isinstance(sample, Sample)
    assert sample.age_s == 0
    assert isinstance(last, Passage)
    assert last.flags == (PassageFlag.START_MISSED, PassageFlag.NEUTRON_MISSING)


def test_halves_from_before_and_after_a_reconnection_make_no_line() -> None:
    driver = Rapiscan()
    list(driver.feed(wire(*VACANT) + b"GS,000070,000070,"))
    driver.interrupted()
    (error,) = driver.feed(b"000070,000070\r\n")
    assert isinstance(error, DecodeError)
    assert error.reason is Reject.UNKNOWN_TAG


def test_the_background_of_a_passage_is_the_last_gamma_background() -> None:
    outputs = run(wire(*VACANT, VACANT[0], *QUIET, "GX,000700,002515,000000,000000"))
    assert [each.gamma_background for each in passages(outputs)] == [1640]


def test_interruptions_while_vacant_are_silent() -> None:
    driver = Rapiscan()
    driver.interrupted()
    list(driver.feed(wire(*VACANT)))
    driver.interrupted()
    assert not passages(driver.feed(wire(*VACANT)))


def test_the_driver_describes_itself() -> None:
    assert DRIVER.name == "rapiscan-tsa-rpm"
    assert (DRIVER.tcp_port, DRIVER.silence_s, DRIVER.read_log) == (1600, 5.0, read_log)
    driver = DRIVER.create({})
    assert isinstance(driver, Rapiscan)
    assert driver.hello() == b""
