"""The board as data and text: what is on the list, what is hidden and why, and when it rings."""

from dataclasses import replace

import pytest

from gateway.alarms.orders import Order, Orders
from gateway.alarms.record import AlarmRecord, Rule
from gateway.board import board, render, waiting
from gateway.board_fit import fit
from gateway.guidance.catalogue import load
from gateway.screen import Size, cut, width, wrapped
from gateway.values import Instant
from gateway.verbs.board import advice_lines, is_new

NOW = Instant(1.78e9, 1000.0)
FIGURES = {"per_operator": 0.5, "flood": False}


def record(occurrence="o1", **changes):
    plain = AlarmRecord(
        occurrence, "hh-1", "dose_rate", Rule("absolute_level", 1), "R3", 3,
        NOW.earlier(90), NOW.earlier(90), value=0.6, unit="µSv/h", peak=0.7,
    )  # fmt: skip
    return replace(plain, **changes)


def shown(*records, orders=None, **more):
    return {**board(NOW, {}, records, orders or {}), **more}


def text(*records, colour=False, advice=(), **more):
    return render(shown(*records, **more), colour=colour, advice=advice)


def shelved_by_anna(left_s=240.0):
    orders = Orders()
    orders.shelves["R3"] = Order("R3 shelved", "anna", "patient", NOW.mono + left_s)
    return {"hh-1": orders}


def test_what_is_shelved_stands_below_the_list_with_why_and_how_long():
    told = text(record(shelved=True), record("o2", level="R4"), orders=shelved_by_anna())
    on_list, hidden, _ = told.split("\n\n")
    assert "o2" in on_list
    assert "o1" not in on_list
    head, line = hidden.splitlines()
    assert head.startswith("hidden")
    assert line.split()[:2] == ["3", "R3"]
    assert line.endswith("R3 shelved by anna: patient")
    assert " 4 min " in line


def test_what_is_out_of_service():
    orders = Orders(duty=Order("off_duty", "bob", "shift over", NOW.mono + 7200))
    told = text(record(out_of_service=True), orders={"hh-1": orders})
    assert told.startswith("no alarms")
    assert "off_duty by bob: shift over" in told
    assert "2.0 h" in told


def test_what_another_alarm_says_already():
    rise = record("o2", alarm="gamma_rise", level="R1", suppressed_by="o1")
    told = text(record(), rise)
    assert "dose_rate o1 says it already" in told.split("\n\n")[1]


def test_hidden_lines_are_dim_and_a_flood_is_red():
    told = text(record(shelved=True), colour=True, figures={"per_operator": 12.0, "flood": True})
    assert "\033[1;31malarms in the last 10 min: 12 per operator  FLOOD" in told
    assert "\033[2mhidden" in told
    assert "FLOOD" not in text(record(), figures=FIGURES)
    assert text(figures=FIGURES).startswith("alarms in the last 10 min: 0.5 per operator\n\nno al")


def test_what_else_is_known_of_an_alarm_stands_beside_it():
    orders = Orders(silenced={"o1": Order("silenced", "anna", "heard", NOW.mono + 90)})
    told = text(
        record(silenced=True, test_source=True, incident="inc-7"),
        record("o2", detector="@area", members=("hh-1", "hh-2"), note="slow rise"),
        orders={"hh-1": orders},
    )
    for note in ("silenced for 2 min more", "test source announced", "perhaps one event: inc-7"):
        assert note in told
    assert "members hh-1, hh-2; slow rise" in told


def test_text_from_devices_is_harmless():
    assert "\033" not in text(record(note="a\033[2J", members=("b\033",)))


def test_advice_stands_between_the_list_and_what_is_hidden():
    told = text(record(), record("o2", shelved=True), advice=["R3  Locate", "    Look."])
    assert told.index("o1") < told.index("R3  Locate") < told.index("hidden")


def test_what_waits_is_on_the_list_and_not_acknowledged():
    records = (
        record("o1", acknowledged=True),
        record("o2", shelved=True),
        record("o3", suppressed_by="o1"),
        record("o4", silenced=True),
        record("o5", priority=1, level="R5"),
    )
    assert [each["occurrence"] for each in waiting(shown(*records))] == ["o5", "o4"]


def test_the_bell_rings_once_for_each_announcement():
    sounded = set()
    assert is_new(shown(record()), sounded)
    assert not is_new(shown(record()), sounded)
    again = record(annunciated_at=NOW, revision=2)
    assert is_new(shown(again), sounded)
    assert not is_new(shown(again), sounded)
    assert is_new(shown(replace(again, level="R4")), sounded)
    assert is_new(shown(again, record("o2")), sounded)


@pytest.mark.parametrize(
    "hiding",
    [
        {"shelved": True},
        {"out_of_service": True},
        {"suppressed_by": "o9"},
        {"silenced": True},
        {"acknowledged": True},
    ],
)
def test_the_bell_does_not_ring_for_what_is_hidden_silenced_or_seen(hiding):
    sounded = set()
    assert not is_new(shown(record(**hiding)), sounded)
    assert is_new(shown(record()), sounded)


def test_the_bell_rings_when_a_mute_is_over():
    sounded = set()
    assert is_new(shown(record()), sounded)
    assert not is_new(shown(record(silenced=True)), sounded)
    assert is_new(shown(record()), sounded)


def test_what_holds_stands_above_what_is_over_and_radiation_above_the_rest():
    records = (
        record("over", active=False, raised_at=NOW.earlier(900)),
        record("seen", acknowledged=True, raised_at=NOW.earlier(800)),
        record("link", alarm="feed_down", raised_at=NOW.earlier(700)),
        record("new"),
        record("worse", priority=2, active=False),
    )
    told = [each["occurrence"] for each in shown(*records)["alarms"]]
    assert told == ["worse", "new", "link", "seen", "over"]


def test_advice_is_of_what_holds_else_it_says_that_it_is_over():
    over = record("over", priority=1, level="R5", active=False)
    texts = load()
    lines = advice_lines(shown(over, record()), texts, "en")
    assert lines[0].startswith("R3  ")
    assert advice_lines(shown(over), texts, "en")[0].startswith("it is over: R5  ")
    assert advice_lines(shown(record(acknowledged=True)), texts, "en") == []


def crowd(alarms, hidden, detectors):
    records = [record(f"a{i}", note="very long " * 20, exercise=i == 1) for i in range(alarms)]
    records += [record(f"h{i}", shelved=True) for i in range(hidden)]
    row = {"reasons": ["门" * 80], "age_s": 1, "shows": "0.1 µSv/h", "rejects": 0}
    states = [{"detector": f"d{i}", "state": "stale" if i == 5 else "ok"} for i in range(detectors)]
    return {**shown(*records), "figures": FIGURES, "detectors": [row | each for each in states]}


@pytest.mark.parametrize("size", [Size(80, 24), Size(60, 30), Size(20, 5)])
@pytest.mark.parametrize("many", [(0, 0, 3), (2, 1, 9), (2, 9, 9), (60, 9, 40)])
def test_it_fits_the_screen_with_the_alarms_first(size, many):
    told = fit(crowd(*many), colour=True, advice=["R3  Locate", "    " + "看 " * 99], size=size)
    lines = told.split("\n")
    assert len(lines) < size.lines
    assert max(map(width, lines)) <= size.columns
    if many[0] and size.lines > 5:
        assert "hh-1" in lines[3]


def test_what_has_no_room_is_counted_and_an_exercise_is_never_cut_off():
    lines = fit(crowd(30, 9, 8), colour=False, advice=(), size=Size(60, 24)).split("\n")
    assert lines[-1].startswith("… and 12 more alarms, 9 more hidden, 1 detectors")
    assert any("EXERCISE R3" in line for line in lines)
    lines = fit(crowd(2, 9, 9), colour=False, advice=(), size=Size(200, 20)).split("\n")
    assert any(line.startswith("d5 ") for line in lines), "what is not well comes first"
    assert lines[-1].endswith("8 detectors ok")


def test_wide_characters_count_double_and_paint_does_not_count():
    assert width("\033[1m门a\033[0m") == 3
    assert cut("门门门", 5) == "门门…"
    assert cut("门门门", 4) == "门…"
    assert cut("\033[1mabcd\033[0m", 3) == "\033[1mab…\033[0m"
    assert cut("\033[1mabc\033[0m", 3) == "\033[1mabc\033[0m"
    assert wrapped("  one two three", 9, 3) == ["  one two", "  three"]
    assert wrapped("  门门门门门", 6, 2) == ["  门门", "  门…"]
