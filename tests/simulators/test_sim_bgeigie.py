"""The simulated bGeigie: its habits, and that the driver understands what it says."""

import random
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from drivers.api import Flag, Position, Sample
from drivers.bgeigie import BGeigie as Driver
from drivers.bgeigie import Sentence, decode
from drivers.errors import DriverError
from simulators.api import Emission
from simulators.bgeigie import create
from simulators.bgeigie_more import damaged

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT.parent / "shared" / "samples" / "bgeigie"
VECTORS = tomllib.loads((ROOT / "tests/data/vectors/bgeigie-nmea.toml").read_text("utf-8"))
Value = bool | int | float | str


@dataclass
class Steady:
    """A constant count rate in 1/s at a place that may have no sky."""

    rate: float = 6.0
    place: Position | None = field(default_factory=lambda: Position(-33.5, -70.25, 520.0))
    rng: random.Random = field(default_factory=lambda: random.Random(7))

    def dose_rate(self, at_s: float) -> float:
        return self.rate * 60 / 334

    def gamma_counts(self, from_s: float, to_s: float, part: int = 0) -> int:
        mean = self.rate * (to_s - from_s)
        return max(0, round(self.rng.gauss(mean, mean**0.5)))

    def neutron_counts(self, from_s: float, to_s: float, part: int = 0) -> int:
        return 0

    def occupied(self, at_s: float) -> bool:
        return False

    def speed_m_s(self, at_s: float) -> float | None:
        return None

    def position(self, at_s: float) -> Position | None:
        return self.place

    def on_since(self, at_s: float) -> float | None:
        return 0.0


def play(
    world: Steady, to_s: float, settings: Mapping[str, bool | int | float | str] | None = None
) -> list[Emission]:
    return list(create(settings or {}, random.Random(1)).advance(to_s, world))


def understood(emission: Emission, driver: Driver) -> dict[str, float | int | None]:
    values: dict[str, float | int | None] = {}
    for output in driver.feed(emission.data):
        assert isinstance(output, Sample)
        for reading in output.readings:
            name = f"{reading.channel}.{reading.part}".removesuffix(".")
            values[name] = reading.value
    return values


@pytest.mark.parametrize("rate", [0.0, 0.5, 6.0, 3000.0, 9000.0])
def test_the_driver_understands_what_is_said(rate: float) -> None:
    driver = Driver()
    emissions = play(Steady(rate), 300.0, {"late_chance": 0.3})
    assert len(emissions) > 55
    for emission in emissions:
        assert understood(emission, driver) == emission.says


def test_first_minute_is_void_and_then_counts_come() -> None:
    driver = Driver()
    sentences = [decode(e.data.rstrip()) for e in play(Steady(), 100.0)[1:]]
    assert all(isinstance(sentence, Sentence) for sentence in sentences)
    assert [s.valid for s in sentences if isinstance(s, Sentence)] == [False] * 12 + [True] * 8
    outputs = [o for e in play(Steady(), 100.0) for o in driver.feed(e.data)]
    flags = [o.readings[0].flags for o in outputs if isinstance(o, Sample)]
    assert flags == [(Flag.WARMING_UP,)] * 12 + [()] * 8


def test_gps_is_void_until_the_fix() -> None:
    driver = Driver()
    emissions = play(Steady(), 30.0, {"void_fixes": 2})
    assert b"2012-00-00T00:00:00Z" in emissions[1].data
    assert emissions[1].data.startswith(b"$BNRDD,1234,")
    assert emissions[1].data.endswith(b"\r\n")
    samples = [o for e in emissions for o in driver.feed(e.data) if isinstance(o, Sample)]
    assert [sample.position is None for sample in samples] == [True] * 2 + [False] * 4
    place = samples[-1].position
    assert place is not None
    assert (place.latitude, place.longitude) == pytest.approx((-33.5, -70.25), abs=2e-6)
    assert (place.altitude_m, place.hdop, place.satellites) == (520.0, pytest.approx(1.1), 8)
    assert samples[2].device_time == datetime(2026, 6, 1, 12, 0, 15, tzinfo=UTC)
    assert samples[0].identity is not None
    assert samples[0].identity.settings == (("deadtime", "on"),)


def test_no_sky_no_position() -> None:
    driver = Driver()
    for emission in play(Steady(place=None), 60.0):
        for output in driver.feed(emission.data):
            assert isinstance(output, Sample)
            assert output.position is output.device_time is None


def test_dead_time_formula() -> None:
    """200 counts a second are 12 000 cpm; 12000 / (1 - 12000 * 1.8833e-6) = 12277."""

    class Exact(Steady):
        def gamma_counts(self, from_s: float, to_s: float, part: int = 0) -> int:
            return round(self.rate * (to_s - from_s))

    for dead_time, cpm in ((True, 12_277), (False, 12_000)):
        last = play(Exact(200.0), 65.0, {"dead_time": dead_time})[-1]
        assert last.says == {"gamma_counts": 1000, "gamma_count_rate.cpm": cpm}
    saturated = play(Exact(20_000.0), 65.0)[-1]
    assert saturated.says["gamma_counts"] is None


def test_advance_in_small_steps_says_the_same() -> None:
    small, world = create({"late_chance": 0.5}, random.Random(1)), Steady()
    stepped = [e for second in range(201) for e in small.advance(float(second), world)]
    assert stepped == play(Steady(), 200.0, {"late_chance": 0.5})
    gaps = {b.at_s - a.at_s for a, b in pairwise(stepped[1:])}
    assert gaps == {4.0, 5.0, 6.0}
    assert small.receive(1.0, b"hello", world) == ()


@pytest.mark.parametrize(
    ("header", "given", "told", "model"),
    [
        ("BMRDD", "028", "028", "bGeigie Mini"),
        ("CZRA1", 28, "0028", "CzechRad"),
        ("BGRDD", "002", "002", "bGeigie Classic"),
        ("BNXRDD", "3F2", "3F2", "bGeigie NX"),
    ],
)
def test_relatives(header: str, given: int | str, told: str, model: str) -> None:
    driver = Driver()
    settings = {"header": header, "comments": False, "device_id": given, "short_form": False}
    emissions = play(Steady(), 30.0, settings)
    samples = [o for e in emissions for o in driver.feed(e.data) if isinstance(o, Sample)]
    assert samples[0].identity is not None
    assert (samples[0].identity.model, samples[0].identity.serial) == (model, told)
    assert samples[-1].position is not None
    assert samples[-1].position.hdop == pytest.approx(1.1)


class Bins(Steady):
    """Counts of each bin as they are listed, then none."""

    def __init__(self, place: Position, *bins: int) -> None:
        super().__init__(place=place)
        self.bins = list(bins)

    def gamma_counts(self, from_s: float, to_s: float, part: int = 0) -> int:
        return self.bins.pop(0) if self.bins else 0


def settings_of(frame: dict[str, Any]) -> dict[str, Value]:
    """What the instrument of a golden line is set to."""
    quality = frame.get("quality", ["8", "110"])
    wide = frame["header"] in ("BNRDD", "CZRA1")
    settings: dict[str, Value] = {
        "header": frame["header"],
        "device_id": frame["device"],
        "firmware": frame.get("firmware", ""),
        "padded": frame.get("padded", True),
        "dead_time": False,
        "void_fixes": 0,
        "first_total": frame["total"] - frame["cpm"],
        "short_form": "time" not in frame,
        "keeps_place": True,
        "gps_lost_from_s": -1.0 if frame.get("fixed", True) else 65.0,
        "nx_satellites": len(quality) == 3,
    }
    if frame.get("firmware") == "1.0.0nano":
        quality = quality[::-1]
    if wide:
        return {**settings, "satellites": int(quality[0]), "hdop": int(quality[1]) / 100}
    if len(quality) == 3:
        return {**settings, "satellites": int(quality[0]), "hdop": float(quality[1])}
    return {**settings, "hdop": float(quality[0])}


@pytest.mark.parametrize("frame", VECTORS["frame"], ids=lambda f: f["provenance"][:40])
def test_bytes_are_those_of_the_golden_lines(frame: dict[str, Any]) -> None:
    """The instrument in the state of a captured line, 65 s after it was switched on."""
    place = Position(
        frame.get("latitude", 0.0), frame.get("longitude", 0.0), frame.get("altitude_m", 0.0)
    )
    world = Bins(place, 0, frame["cpm"] - frame["cp5s"], *[0] * 10, frame["cp5s"])
    time = frame.get("time", "2026-06-01T12:00:00Z")
    start = datetime.fromisoformat(time) - timedelta(seconds=65)
    *_, last = create(settings_of(frame), random.Random(1), start).advance(65.0, world)
    assert last.data == bytes.fromhex(frame["bytes"])


def test_the_status_of_an_nx() -> None:
    frame = VECTORS["frame"][5]
    place = Position(frame["latitude"], frame["longitude"], frame["altitude_m"])
    start = datetime.fromisoformat(frame["time"]) - timedelta(seconds=10)
    settings: dict[str, Value] = {"header": "BNXRDD", "device_id": "300", "nx_status_every": 2}
    logger = create({**settings, "void_fixes": 0}, random.Random(1), start)
    first, second, status = logger.advance(10.0, Steady(place=place))
    assert status.data == bytes.fromhex(VECTORS["status"][0]["bytes"])
    assert status.at_s == second.at_s == first.at_s + 5
    assert understood(status, Driver()) == status.says == {"battery": 3987, "temperature": 22}


@pytest.mark.parametrize(
    ("firmware", "pair", "void"),
    [("1.2.6nano", b"110,8", b"9999,0"), ("1.2.7nano", b"8,110", b"0,0")],
)
def test_order_of_the_quality_fields(firmware: str, pair: bytes, void: bytes) -> None:
    lines = [e.data for e in play(Steady(), 20.0, {"firmware": firmware, "void_fixes": 2})[1:]]
    assert [line.rpartition(b"*")[0].split(b",", 13)[13] for line in lines] == [void] * 2 + [
        pair
    ] * 2


def test_comments_are_those_of_the_logs() -> None:
    def greeting(**settings: Value) -> bytes:
        return play(Steady(), 0.0, settings)[0].data if play(Steady(), 0.0, settings) else b""

    assert greeting() == b"# NEW LOG\r\n# format=1.3.5nano\r\n# deadtime=on\r\n"
    assert greeting(header="CZRA1") == b"# NEW LOG\r\n# format=2.0.0CzechRad\r\n# deadtime=on\r\n"
    assert greeting(header="BMRDD") == b"# NEW LOG\r\n# format=1.0.0\r\n"
    assert greeting(header="BGRDD") == greeting(comments=False) == b""


def test_a_fix_that_is_lost_and_found() -> None:
    driver = Driver()
    lost: dict[str, Value] = {"void_fixes": 0, "gps_lost_from_s": 15.0, "gps_lost_to_s": 30.0}
    emissions = play(Steady(), 40.0, lost)
    samples = [o for e in emissions for o in driver.feed(e.data) if isinstance(o, Sample)]
    assert [each.position is None for each in samples] == [False] * 2 + [True] * 3 + [False] * 3
    assert b",0000.0000,N,00000.0000,E,0.00,V,0,0*" in emissions[3].data
    kept = play(Steady(), 40.0, {**lost, "keeps_place": True})
    assert b",3330.0000,S,07015.0000,W,520.00,V,8,110*" in kept[3].data


def test_its_time_may_be_wrong_and_drift() -> None:
    settings: dict[str, Value] = {"void_fixes": 0, "clock_offset_s": -3600.0, "clock_ppm": 1e5}
    driver = Driver()
    samples = [o for e in play(Steady(), 50.0, settings) for o in driver.feed(e.data)]
    times = [each.device_time for each in samples if isinstance(each, Sample)]
    assert times[0] == datetime(2026, 6, 1, 11, 0, 5, tzinfo=UTC)
    assert times[-1] == datetime(2026, 6, 1, 11, 0, 55, tzinfo=UTC)


class Switched(Steady):
    """Off from 100 s to 131 s."""

    def on_since(self, at_s: float) -> float | None:
        if 100 <= at_s < 131:
            return None
        return 0.0 if at_s < 100 else 131.0


def test_switched_on_again_it_begins_anew() -> None:
    emissions = play(Switched(), 220.0)
    assert [e.data[:1] for e in emissions].count(b"#") == 2
    again = next(k for k, e in enumerate(emissions) if k and e.data[:1] == b"#")
    assert emissions[again - 1].at_s == 95.0
    assert 131.0 <= emissions[again].at_s < 136.0
    sentences = [decode(e.data.rstrip()) for e in emissions[again + 1 :]]
    assert emissions[again + 1].at_s == 136.0
    assert [s.valid for s in sentences if isinstance(s, Sentence)] == [False] * 12 + [True] * 5
    first = sentences[0]
    assert isinstance(first, Sentence)
    assert first.total == first.cp5s
    assert first.time == "2012-00-00T00:00:00Z"


def test_the_total_begins_anew_after_32_bits() -> None:
    driver = Driver()
    emissions = play(Steady(100.0), 200.0, {"first_total": 2**32 - 4_000})
    totals = [s.total for e in emissions[1:] if isinstance(s := decoded(e), Sentence)]
    assert sum(b < a for a, b in pairwise(totals)) <= 1
    for emission in emissions:
        assert list(understood_or_none(emission, driver)) == list(emission.says)


def decoded(emission: Emission) -> object:
    try:
        return decode(emission.data.rstrip())
    except DriverError as error:
        return error


def understood_or_none(emission: Emission, driver: Driver) -> dict[str, float | int | None]:
    """What a reader makes of it, nothing if it rejects the line."""
    outputs = list(driver.feed(emission.data))
    return {
        f"{reading.channel}.{reading.part}".removesuffix("."): reading.value
        for output in outputs
        if isinstance(output, Sample)
        for reading in output.readings
    }


@pytest.mark.parametrize("header", ["BNRDD", "BMRDD", "CZRA1", "BGRDD"])
@pytest.mark.parametrize("line_end", ["crlf", "lf"])
def test_lines_damaged_as_in_public_logs(header: str, line_end: str) -> None:
    driver = Driver()
    settings = {"header": header, "damaged_every": 3, "void_fixes": 0, "line_end": line_end}
    emissions = play(Steady(), 300.0, settings)
    sound = [e for e in emissions if e.says]
    lost = [e for e in emissions if not e.says and not e.data.startswith(b"#")]
    for emission in emissions:
        assert understood_or_none(emission, driver) == emission.says
    assert len(sound) + len(lost) == 60
    kinds = 4 if header != "BGRDD" else 6
    assert len(lost) == pytest.approx(20 * kinds / 6, abs=2)


def test_the_kinds_of_damage() -> None:
    frame = VECTORS["frame"][2]
    text = bytes.fromhex(frame["bytes"]).rstrip()
    spoiled = [damaged(text, number) for number in range(6)]
    assert [is_kept for _, is_kept in spoiled] == [False, True, False, False, False, True]
    reasons = []
    for data, _ in spoiled:
        try:
            decode(data)
            reasons.append("")
        except DriverError as error:
            reasons.append(str(error.reason))
    assert reasons == ["syntax", "", "content", "checksum", "content", ""]
    assert b"2011-12-08T110:53:93Z" in spoiled[1][0]
    assert b"07355>2556,G" in spoiled[2][0]
    assert b"-07355.2556,W" in spoiled[5][0]


def test_without_line_ends() -> None:
    driver = Driver()
    emissions = play(Steady(), 100.0, {"line_end": "none"})
    assert all(e.data[-3:-2] == b"*" for e in emissions[1:])
    for emission in emissions:
        assert understood(emission, driver) == emission.says


def test_a_dead_tube_is_void_after_a_minute() -> None:
    logger, world = create({}, random.Random(1)), Steady()
    logger.advance(100.0, world)
    logger.set_state("dead_channel", on=True)
    sentences = [decode(e.data.rstrip()) for e in logger.advance(200.0, world)]
    assert [s.valid for s in sentences if isinstance(s, Sentence)] == [True] * 11 + [False] * 9
    (sample,) = Driver().feed(create({}, random.Random(1)).advance(5.0, world)[1].data)
    assert isinstance(sample, Sample)


@pytest.mark.parametrize(
    "settings",
    [{"headre": "BNRDD"}, {"header": "BNRD"}, {"line_end": "cr"}, {"nx_status_every": 1}],
)
def test_settings_that_are_refused(settings: dict[str, Value]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        create(settings, random.Random(1))


def test_shape_of_a_captured_log() -> None:
    """Gaps between lines and the step of the total, in a flight and in the simulation of one."""
    path = SAMPLES / "nanokit_204-0920.LOG"
    if not path.exists():
        pytest.skip("the captured log is not on this machine")
    captured = shape(line for line in path.read_bytes().splitlines())
    settings: dict[str, Value] = {"firmware": "1.0.0nano", "padded": False, "late_chance": 0.1}
    made = play(Steady(9.0), 20_000.0, {**settings, "dead_time": False, "void_fixes": 0})
    simulated = shape(line for e in made for line in e.data.splitlines())
    for name in ("median_gap_s", "comments", "fields", "sums_to_cpm"):
        assert simulated[name] == captured[name], name
    assert captured["usual_gaps"] > 0.99
    assert simulated["usual_gaps"] > 0.99
    assert simulated["void_first"] == 12
    assert captured["void_first"] <= 12


def shape(lines: Iterable[bytes]) -> dict[str, Any]:
    comments, sentences = [], []
    for line in lines:
        if line.startswith(b"#"):
            comments.append(line)
        elif b"*" in line and isinstance(said := decode(line), Sentence):
            sentences.append(said)
    times = [datetime.fromisoformat(s.time) for s in sentences if s.fix and s.fix.valid]
    gaps = [(b - a).total_seconds() for a, b in pairwise(times)]
    bins = [s.cp5s for s in sentences]
    steps = [(b.total - a.total) == b.cp5s for a, b in pairwise(sentences)]
    assert sum(steps) > 0.99 * len(steps)
    sums = [sum(bins[k - 11 : k + 1]) == s.cpm for k, s in enumerate(sentences) if k > 11]
    return {
        "comments": comments,
        "median_gap_s": sorted(gaps)[len(gaps) // 2],
        "usual_gaps": sum(4 <= gap <= 6 for gap in gaps) / len(gaps),
        "fields": {len(s.fix.quality) for s in sentences if s.fix},
        "sums_to_cpm": sum(sums) > 0.99 * len(sums),
        "void_first": [s.valid for s in sentences].index(True),
    }
