"""The simulated portal against what others have of it: captures, and the rule of its alarms.

The rule is written down here once more, from the measurement on captures and not from the
simulator: z = (sum of five intervals - background) / sqrt(background) over both pillars, or one.
"""

import math
import random
import re
import statistics
import tomllib
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from config.scenario import Scenario
from drivers.api import Passage, Sample
from drivers.rapiscan import Rapiscan
from simulators.api import Emission
from simulators.instrument_settings import Setting
from simulators.rapiscan import RapiscanPortal, create
from simulators.world import World

ROOT = Path(__file__).resolve().parents[2]
CAPTURE = ROOT.parent / "shared/samples/rpm/rapiscan_day_extract.txt"
VECTORS = tomllib.loads((ROOT / "tests/data/vectors/rapiscan-tsa-rpm.toml").read_text("utf-8"))
TO_S = 400.0
PASSES = 14


def portal(seed: int, source: str | None, **settings: Setting) -> tuple[RapiscanPortal, World]:
    """A lane of 2000/s in four detectors; a car each 25 s, with ``source`` in it or nothing."""
    cars: list[dict[str, Any]] = [
        {
            "id": f"car-{k}",
            "portal": "d",
            "at_s": 40 + 25 * k,
            "length_m": 5,
            "speed": "2.2 m/s",
            "suppression": 0.05,
            **({"cargo": f"s-{k}"} if source else {}),
        }
        for k in range(PASSES)
    ]
    detector = {
        "id": "d",
        "driver": "rapiscan-tsa-rpm",
        "archetype": "RPM",
        "at": {"x": 0, "y": 0},
        "parts": 4,
        "sensitivity": 8000,
        "neutron_background_rate": "2.5 cps",
    }
    sources = [
        {"id": f"s-{k}", "nuclide": "Cs-137", "activity": source}
        for k in range(PASSES if source else 0)
    ]
    tables = {
        "scenario": {"name": "t", "duration_s": TO_S},
        "detector": [detector],
        "vehicle": cars,
        "source": sources,
    }
    world = World(Scenario.model_validate(tables), seed)
    return create(settings, random.Random(seed)), world


def fields(line: bytes) -> list[int]:
    return [int(each) for each in line.split(b",")[1:]]


def by_the_rule(lines: Iterable[bytes], n_sigma: float) -> Iterator[tuple[bytes, bool]]:
    """Each gamma line with whether it must be an alarm, each GX with whether one was before it."""
    background: list[int] = []
    since: list[list[int]] = []
    latched = False
    for line in lines:
        if line.startswith((b"GB", b"GH", b"GL")):
            background, since = fields(line), []
        elif line.startswith((b"GS", b"GA")):
            since.append(fields(line))
            s, b = [sum(column) for column in zip(*since[-5:], strict=True)], background
            both = (sum(s) - sum(b)) / math.sqrt(sum(b))
            one = (s[0] + s[1] - b[0] - b[1]) / math.sqrt(b[0] + b[1])
            other = (s[2] + s[3] - b[2] - b[3]) / math.sqrt(b[2] + b[3])
            alarm = len(since) >= 5 and max(both, one, other) >= n_sigma
            latched |= alarm
            yield line, alarm
        elif line.startswith(b"GX"):
            yield line, latched
            latched = False


@pytest.mark.parametrize("n_sigma", [4.0, 5.0])
@pytest.mark.parametrize(
    ("source", "at_least", "at_most"), [(None, 0, 3), ("1.5 MBq", 0, 14), ("5 MBq", 14, 14)]
)
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_alarm_flags_follow_the_rule(
    seed: int, source: str | None, at_least: int, at_most: int, n_sigma: float
) -> None:
    instrument, world = portal(seed, source, n_sigma=n_sigma)
    emissions = instrument.advance(TO_S, world.field("d"))
    lines = [emission.data.rstrip() for emission in emissions]
    told = list(by_the_rule(lines, n_sigma))
    gammas = [(line, alarm) for line, alarm in told if not line.startswith(b"GX")]
    assert len(gammas) > 14 * 20
    assert all(line.startswith(b"GA") is alarm for line, alarm in gammas)
    wanted = [alarm for line, alarm in told if line.startswith(b"GX")]
    assert len(wanted) == PASSES
    assert at_least <= sum(wanted) <= at_most
    assert wanted == [
        bool(each.says["passage.gamma_alarm"]) for each in emissions if each.data[:2] == b"GX"
    ]
    driver = Rapiscan()
    outputs = [output for each in emissions for output in driver.feed(each.data)]
    assert wanted == [each.gamma_alarm for each in outputs if isinstance(each, Passage)]


def test_false_alarms_are_few_and_weak_sources_sometimes_missed() -> None:
    """Over many passes: 5 sigma are next to never reached without a source."""
    alarms: dict[str | None, int] = {}
    for source in (None, "1.5 MBq"):
        alarms[source] = 0
        for seed in range(10, 16):
            instrument, world = portal(seed, source)
            lines = [each.data.rstrip() for each in instrument.advance(TO_S, world.field("d"))]
            passes = [alarm for line, alarm in by_the_rule(lines, 5.0) if line[:2] == b"GX"]
            alarms[source] += sum(passes)
    assert alarms[None] == 0
    assert 0 < alarms["1.5 MBq"] < 6 * PASSES


class Exact:
    """Counts that add up to a rate of each detector without chance, changed while occupied."""

    def __init__(
        self,
        gamma: list[float] | None = None,
        neutron: list[float] | None = None,
        occupied: tuple[list[float], list[float]] | None = None,
        off: tuple[float, float] = (1e9, 1e9),
    ) -> None:
        self.rates = (gamma or [400.0] * 4, neutron or [0.0] * 4)
        self.inside = occupied or self.rates
        self.off = off

    def _counts(self, kind: int, from_s: float, to_s: float, part: int) -> int:
        rates = self.inside if self.occupied(from_s) else self.rates
        rate = rates[kind][part - 1]
        return round(rate * to_s + 1e-6) - round(rate * from_s + 1e-6)

    def gamma_counts(self, from_s: float, to_s: float, part: int = 0) -> int:
        return self._counts(0, from_s, to_s, part)

    def neutron_counts(self, from_s: float, to_s: float, part: int = 0) -> int:
        return self._counts(1, from_s, to_s, part)

    def occupied(self, at_s: float) -> bool:
        return 30 <= at_s < 33.9

    def speed_m_s(self, at_s: float) -> float | None:
        return 1.524

    def on_since(self, at_s: float) -> float | None:
        if self.off[0] <= at_s < self.off[1]:
            return None
        return 0.0 if at_s < self.off[0] else self.off[1]


def said(lane: Exact, to_s: float = 40.0, **settings: Setting) -> list[Emission]:
    return list(create(settings, random.Random(1)).advance(to_s, lane))  # type: ignore[arg-type]


BACKGROUNDS = [each for each in VECTORS["line"] if each["tag"] in ("GB", "GH", "GL", "NB", "NH")]
OCCUPIED = [each for each in VECTORS["line"] if each["tag"] in ("GS", "GA", "NS", "NA")]


@pytest.mark.parametrize("vector", BACKGROUNDS, ids=lambda vector: vector["tag"])
def test_background_lines_are_the_vectors(vector: dict[str, Any]) -> None:
    rates = [float(each) for each in vector["numbers"]]
    lane = Exact(gamma=rates) if vector["tag"][0] == "G" else Exact(neutron=rates)
    assert f"{vector['text']}\r\n".encode() in [each.data for each in said(lane, 29.0)]


@pytest.mark.parametrize("vector", OCCUPIED, ids=lambda vector: vector["tag"])
def test_lines_of_an_occupancy_are_the_vectors(vector: dict[str, Any]) -> None:
    usual = ([400.0, 390.0, 380.0, 385.0], [0.0] * 4)
    if vector["tag"][0] == "G":
        usual = ([400.0] * 4, [0.0] * 4) if vector["tag"] == "GS" else usual
        lane = Exact(occupied=([5.0 * each for each in vector["numbers"]], [0.0] * 4))
    else:
        lane = Exact(occupied=([400.0] * 4, [float(each) for each in vector["numbers"]]))
    assert f"{vector['text']}\r\n".encode() in [each.data for each in said(lane)]


def test_other_lines_are_the_vectors() -> None:
    wanted = {
        f"{each['text']}\r\n".encode()
        for each in VECTORS["line"]
        if each["kind"] in ("setup", "tamper") or each["text"].startswith("SP,0.2000")
    }
    lane = Exact()
    told = {each.data for each in said(lane, setup_at_s=11, tamper_from_s=20, tamper_to_s=25)}
    assert wanted <= told
    (end,) = (each for each in told if each.startswith(b"GX"))
    assert re.fullmatch(rb"GX,000001,000000,000000,000000\r\n", end)


def test_every_line_has_the_form_of_the_captures() -> None:
    number, tags = rb",\d{6}", rb"(G[BSAHL]|N[BSAH]|GX|TT|TC)"
    form = re.compile(tags + number * 4 + rb"|SP,\d\.\d{4},\d\d\.\d{3},\d{3}\.\d\d,000000")
    instrument, world = portal(1, "1 MBq", speed_lines="mixed", tamper_from_s=30)
    for emission in instrument.advance(TO_S, world.field("d")):
        assert form.fullmatch(emission.data.removesuffix(b"\r\n")), emission.data


def tags(emissions: Iterable[Emission]) -> list[str]:
    return [each.data.split(b",")[0].decode() for each in emissions]


@pytest.mark.parametrize(
    ("order", "begin"),
    [
        ("first", ["SP", "NS"] + ["GS"] * 6),
        ("twice", ["SP", "SP", "NS"] + ["GS"] * 6),
        ("late", ["NS"] + ["GS"] * 8 + ["SP", "GS"]),
        ("none", ["NS"] + ["GS"] * 10),
    ],
)
def test_where_the_speed_stands(order: str, begin: list[str]) -> None:
    emissions = said(Exact(), speed_lines=order)
    lane = [each for each in tags(emissions) if each not in ("NB", "GB")]
    assert lane[: len(begin)] == begin
    outputs = [out for each in emissions for out in Rapiscan().feed(each.data)]
    assert not any(isinstance(each, Exception) for each in outputs)
    (end,) = (each for each in emissions if each.data[:2] == b"GX")
    assert end.says["passage.speed_m_s"] == (None if order == "none" else pytest.approx(1.525))


def test_orders_are_mixed_as_often_as_captured() -> None:
    orders = {"SPNS": 0, "NSGS": 0, "SPSP": 0}
    for seed in range(12):
        instrument, world = portal(seed, None, speed_lines="mixed")
        told = tags(instrument.advance(TO_S, world.field("d")))
        lane = [each for each in told if each not in ("NB", "GB")]
        starts = [0] + [k + 1 for k, each in enumerate(lane[:-2]) if each == "GX"]
        for k in starts:
            orders[lane[k] + lane[k + 1]] += 1
    total = sum(orders.values())
    assert total == 12 * PASSES
    assert orders["SPNS"] / total == pytest.approx(493 / 700, abs=0.1)
    assert orders["NSGS"] / total == pytest.approx(200 / 700, abs=0.1)
    assert orders["SPSP"] < 8


def test_the_exact_neutron_background_of_spectral_firmware() -> None:
    emissions = said(Exact(neutron=[2.6, 0.4, 1.2, 0.0]), 29.0, exact_neutron_background=True)
    assert tags(emissions)[:3] == ["NB", "NB1", "GB"]
    *_, rounded, exact, _ = emissions
    assert rounded.data == b"NB,000002,000000,000001,000000\r\n"
    assert exact.data == b"NB1,2.60000000,0.40000000,1.20000000,0.00000000\r\n"
    assert exact.at_s - rounded.at_s == pytest.approx(0.003)
    (sample,) = Rapiscan().feed(exact.data)
    assert isinstance(sample, Sample)
    assert {f"background.{each.part}": each.value for each in sample.readings} == exact.says


def test_a_power_cycle_restarts_the_numbers_and_the_averages() -> None:
    lane = Exact(off=(50.0, 60.0))
    lane.occupied = lambda at_s: 30 <= at_s < 33.9 or 80 <= at_s < 84  # type: ignore[method-assign]
    emissions = said(lane, 100.0, first_number=677)
    assert not [each for each in emissions if 50.2 < each.at_s < 60.0]
    assert next(each.at_s for each in emissions if each.at_s > 55) == pytest.approx(65, abs=0.02)
    numbers = [each.says["passage.number"] for each in emissions if each.data[:2] == b"GX"]
    assert numbers == [677, 1]


def test_states_of_an_exercise() -> None:
    lane, instrument = Exact(), create({"background_time_s": 5}, random.Random(1))
    instrument.advance(10.5, lane)  # type: ignore[arg-type]
    instrument.set_state("tamper", on=True)
    opened = instrument.advance(12.0, lane)  # type: ignore[arg-type]
    instrument.set_state("tamper", on=False)
    instrument.set_state("dead_channel", on=True)
    closed, *vacant = instrument.advance(26.0, lane)  # type: ignore[arg-type]
    assert (tags(opened), opened[0].says) == (["TT"], {"tamper": 1})
    assert closed.says == {"tamper": 0}
    assert tags(vacant) == ["NB", "GB", "NB", "GL", "NB", "GL"]
    assert fields(vacant[-1].data)[0] < 68 < fields(vacant[-1].data)[1]


def cadence(rows: list[tuple[str, float]]) -> dict[str, float]:
    """Medians of the gaps that make up the rhythm of a portal, s."""

    def gaps(wanted: str, first: str, second: str, below: float) -> float:
        chosen = [row for row in rows if row[0] in wanted.split()]
        found = [
            b[1] - a[1] for a, b in pairwise(chosen) if (a[0] in first, b[0] in second) == (1, 1)
        ]
        return statistics.median(gap for gap in found if gap < below)

    return {
        "background": gaps("NB", "NB", "NB", 5.5),
        "background_pair": gaps("NB GB", "NB", "GB", 1.0),
        "end": gaps("GS GA GX", "GS GA", "GX", 1.0),
        "gamma": gaps("GS GA", "GS GA", "GS GA", 1.0),
        "neutron": gaps("NS NA", "NS NA", "NS NA", 2.0),
        "background_again": gaps("GX NB", "GX", "NB", 8.0),
    }


def test_cadence_is_that_of_the_capture() -> None:
    if not CAPTURE.exists():
        pytest.skip("the capture is not on this machine")
    rows = []
    for line in CAPTURE.read_text("ascii").splitlines():
        *said, stamp = line.split(",")
        hours, minutes, seconds = map(float, stamp.split("-"))
        rows.append((said[0], 3600 * hours + 60 * minutes + seconds))
    captured = cadence(rows)
    instrument, world = portal(1, "1 MBq")
    simulated = cadence(
        [
            (each.data.split(b",")[0].decode(), each.at_s)
            for each in instrument.advance(TO_S, world.field("d"))
        ]
    )
    for name, gap_s in captured.items():
        assert simulated[name] == pytest.approx(gap_s, abs=0.06), name
