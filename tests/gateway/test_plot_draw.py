"""Pictures: their size, their words, and what stands where."""

import re
import struct
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from xml.etree import ElementTree

import pytest

from gateway.plot.draw import DPI, draw
from gateway.plot.summary import Page
from gateway.plot.values import (
    Alarm,
    DetectorStory,
    Happened,
    Mark,
    Passed,
    Place,
    Point,
    Series,
    Shown,
    Stage,
    StateSpan,
    Story,
    Threshold,
    Way,
    Zone,
)

NOON = datetime(2026, 5, 2, 12, tzinfo=UTC).timestamp()
PAGE = Page("A source is carried past", (297 / 25.4, 210 / 25.4), "EXERCISE: simulated data")
LIFE = (
    ("raised", 20, "R3"),
    ("escalated", 25, "R4"),
    ("acknowledged", 30, "R4"),
    ("returned", 60, "R4"),
    ("closed", 70, "R4"),
)


def alarm(detector: str, **more: object) -> Alarm:
    history = tuple(
        Happened(NOON + second, event, level, 25.0, "µSv/h") for event, second, level in LIFE
    )
    usual = Alarm("a1", detector, "dose_rate", "R4", 2, NOON + 20, NOON + 60, NOON + 70, history)
    return replace(usual, **more)  # type: ignore[arg-type]


def rates(*values: float | None, bound: float | None = None) -> Series:
    points = (
        Point(NOON + second, value, bound if value is None else None)
        for second, value in enumerate(values)
    )
    return Series(Shown.DOSE_RATE, "dose_rate", "", "µSv/h", tuple(points))


def detector(name: str, series: Series, **more: object) -> DetectorStory:
    levels = (Threshold("R3", 0.5), Threshold("R4", 20.0), Threshold("R7", 100_000.0))
    usual = DetectorStory(name, "Gamma Handheld", "gate-a", series=(series,), thresholds=levels)
    return replace(usual, **more)  # type: ignore[arg-type]


@pytest.fixture
def story() -> Story:
    loud = detector(
        "hh-1",
        rates(*[0.1] * 20, *[25.0] * 40, *[0.1] * 40),
        alarms=(alarm("hh-1"),),
        states=(StateSpan("stale", ("unplugged",), NOON + 80, NOON + 90),),
        silences=((NOON + 80, NOON + 90),),
    )
    counts = Series(
        Shown.GAMMA,
        "gamma_counts",
        "",
        "1/s",
        tuple(Point(NOON + second, 2000.0 + second) for second in range(100)),
    )
    portal = detector("portal-b", counts, passages=(Passed(NOON + 5, NOON + 9, True),))
    return Story(NOON, NOON + 100, (loud, portal))


def text(data: bytes) -> list[str]:
    """What is written in an SVG, as text and not as outlines."""
    return [each.text or "" for each in ElementTree.fromstring(data).iter() if each.text]


def words(told: Story, stage: Stage | None = None, page: Page = PAGE) -> str:
    return "\n".join(text(draw(told, stage or Stage(), page, "svg").data))


@pytest.mark.parametrize("size_mm", [(297, 210), (420, 297), (210, 148)])
def test_a_png_has_the_size_that_was_asked_for(story: Story, size_mm: tuple[int, int]):
    width, height = (side / 25.4 for side in size_mm)
    data = draw(story, Stage(), replace(PAGE, size_in=(width, height)), "png").data
    assert data.startswith(b"\x89PNG")
    assert struct.unpack(">II", data[16:24]) == (
        pytest.approx(width * DPI, abs=1),
        pytest.approx(height * DPI, abs=1),
    )


def test_an_svg_says_in_words_what_is_drawn(story: Story):
    told = words(story)
    for name in ("hh-1", "portal-b", "gate-a", "Gamma Handheld"):
        assert name in told
    for level in ("R3  0.5", "R4  20", "R7 100 000"):
        assert level in told
    for event, _, _ in LIFE:
        assert f"alarm {event}" in told
    for said in ("dose rate", "µSv/h", "1/s", "time, UTC", "passage with an alarm"):
        assert said in told
    for said in ("no samples came", "state stale", "EXERCISE", "2026-05-02 12:00:00"):
        assert said in told
    assert "A source is carried past" in told


def test_only_what_is_in_the_picture_is_in_its_key(story: Story):
    quiet = replace(story, detectors=(detector("hh-1", rates(0.1, 0.1, 0.1)),))
    told = words(quiet, page=replace(PAGE, exercise=""))
    for said in ("alarm raised", "over range", "without a number", "post", "EXERCISE", "passage"):
        assert said not in told.replace("post gate-a", "")


def test_all_is_drawn_in_black_white_and_grey(story: Story):
    data = draw(story, Stage(), PAGE, "svg").data.decode()
    colours = set(re.findall(r"#[0-9a-f]{6}", data))
    assert colours
    assert all(colour[1:3] == colour[3:5] == colour[5:7] for colour in colours)


def test_the_same_story_gives_the_same_file(story: Story):
    for suffix in ("svg", "png"):
        once, again = (draw(story, Stage(), PAGE, suffix).data for _ in range(2))
        assert once == again


def lines(data: bytes) -> Iterator[list[tuple[float, float]]]:
    """The solid black lines of readings, as corners in points."""
    for path in ElementTree.fromstring(data).iter("{http://www.w3.org/2000/svg}path"):
        if "stroke-width: 1.3" in path.get("style", "") and "clip-path" in path.attrib:
            corners = re.findall(r"[ML] (-?[\d.]+) (-?[\d.]+)", path.get("d", ""))
            yield [(float(x), float(y)) for x, y in corners]


def test_a_missing_number_leaves_a_gap_in_the_line(story: Story):
    holed = detector("hh-1", rates(1.0, 1.0, 1.0, None, None, 1.0, 1.0, 1.0))
    data = draw(replace(story, end=NOON + 7, detectors=(holed,)), Stage(), PAGE, "svg").data
    first, second = lines(data)
    assert (len(first), len(second)) == (3, 3)
    step = first[1][0] - first[0][0]
    assert second[0][0] - first[-1][0] == pytest.approx(3 * step, rel=1e-3)
    assert "a reading without a number" in "\n".join(text(data))


def test_over_range_is_a_bound_beside_the_line(story: Story):
    beyond = detector("hh-1", rates(1.0, 1.0, None, None, 1.0, 1.0, bound=10_000.0))
    data = draw(replace(story, end=NOON + 5, detectors=(beyond,)), Stage(), PAGE, "svg").data
    assert [len(line) for line in lines(data)] == [2, 2]
    told = "\n".join(text(data))
    assert "over range: at least this" in told
    assert "a reading without a number" not in told


def test_a_wide_range_has_plain_numbers_on_a_logarithmic_axis(story: Story):
    wide = detector("hh-1", rates(0.1, 1.0, 50_000.0))
    told = text(draw(replace(story, detectors=(wide,)), Stage(), PAGE, "svg").data)
    assert {"0.1", "10", "1 000"} & set(told)
    assert not [each for each in told if "10^" in each or "mathdefault" in each]


def test_an_alarm_that_began_earlier_has_its_level(story: Story):
    quiet = detector("hh-1", rates(0.1, 0.1, 0.1), thresholds=(), alarms=(alarm("hh-1"),))
    late = Story(NOON + 26, NOON + 50, (quiet,))
    told = text(draw(late, Stage(), PAGE, "svg").data)
    assert "R4" in told
    assert "R3" not in told


def test_a_map_shows_ways_posts_sources_and_where_alarms_were_raised(story: Story):
    walk = Way("carried", (NOON, NOON + 60), (Place(-10, 2), Place(60, 2)), "(Cs-137)")
    stage = Stage(
        posts=(Way("gate-a", (NOON,), (Place(40.0, 10.0),)),),
        detectors=(Way("hh-1", (NOON,), (Place(0.0, 0.0),)),),
        sources=(walk,),
        zones=(Zone(0, 20, 0, 20, "background × 0.6"),),
    )
    told = words(story, stage)
    for said in ("east, m", "north, m", "hh-1 R4", "carried (Cs-137)", "gate-a"):
        assert said in told
    for said in ("alarm raised here", "way of a source", "post", "background × 0.6"):
        assert said in told


def test_detectors_without_readings_are_named(story: Story):
    silent = replace(story.detectors[0], series=())
    drawn = draw(replace(story, detectors=(silent,)), Stage(), PAGE, "svg")
    assert "No dose rate or counts in this time: hh-1." in drawn.remarks


def test_one_place_alone_is_no_map(story: Story):
    stage = Stage(detectors=(Way("hh-1", (NOON,), (Place(0.0, 0.0),)),))
    assert "east, m" not in words(story, stage)


def test_what_a_scenario_did_is_named(story: Story):
    stage = Stage(
        played_from=NOON,
        marks=(Mark(NOON + 80, "unplug", "hh-1"), Mark(NOON + 95, "kill, 5 s down")),
        notes=("The wall clock is stepped.",),
    )
    told = words(story, stage)
    for said in ("unplug", "kill, 5 s down", "all detectors", "seconds of play", "75 s"):
        assert said in told
    assert "fault or outage of the scenario" in told
    assert "The wall clock is stepped." in told


def test_what_does_not_fit_is_said_in_the_picture_and_to_the_caller(story: Story):
    many = tuple(detector(f"prd-{n}", rates(0.1, 0.1, 0.1)) for n in range(1, 31))
    drawn = draw(replace(story, detectors=many), Stage(), PAGE, "svg")
    (remark,) = drawn.remarks
    count = re.match(r"(\d+) of 30 detectors are drawn", remark)
    assert count
    told = text(drawn.data)
    assert sum(bool(re.match(r"prd-\d+  ·", each)) for each in told) == int(count[1])
    assert any(each.startswith(count[0]) for each in told)


def test_no_word_of_a_file_is_taken_for_a_formula_or_markup(story: Story):
    page = replace(PAGE, title=r"cost $\frac$ <b> & 100 % _x_")
    assert page.title in text(draw(story, Stage(), page, "svg").data)


def test_a_title_that_is_too_long_is_cut(story: Story):
    page = replace(PAGE, title="a very long title " * 20)
    (said,) = [each for each in text(draw(story, Stage(), page, "svg").data) if "very long" in each]
    assert said.endswith("…")


def test_characters_that_the_font_lacks_are_told(story: Story):
    drawn = draw(story, Stage(), replace(PAGE, title="放射源"), "png")
    assert any("font lacks" in remark for remark in drawn.remarks)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_hardly_any_readings_are_drawn_too(story: Story, count: int):
    few = detector("hh-1", rates(*[0.1] * count), alarms=(alarm("hh-1"),))
    assert draw(replace(story, detectors=(few,)), Stage(), PAGE, "png").data
    assert draw(Story(NOON, NOON, (few,)), Stage(), PAGE, "svg").data
