"""The simulated portal: its lines against its driver, its alarms against the rule itself."""

import itertools
import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from drivers.api import Flag, Output, Passage, Position, Sample
from drivers.rapiscan import Rapiscan
from simulators.api import Emission
from simulators.instrument_settings import Setting
from simulators.rapiscan import create
from simulators.rapiscan_rule import GammaAlarm

SAMPLES = Path(__file__).resolve().parents[2].parent / "shared" / "samples" / "rpm"


@dataclass
class Lane:
    """Rates (1/s) per detector as functions of time, Poisson or exactly their mean."""

    gamma: Callable[[float], float] = lambda at_s: 400.0
    neutron: Callable[[float], float] = lambda at_s: 0.6
    visits: tuple[tuple[float, float], ...] = ()
    speed: float | None = 1.5
    rng: random.Random | None = None

    def _draw(self, mean: float) -> int:
        if self.rng is None:
            return round(mean)
        count, product, limit = 0, self.rng.random(), math.exp(-mean)
        while product > limit:
            count, product = count + 1, product * self.rng.random()
        return count

    def dose_rate(self, at_s: float) -> float:
        return 0.1

    def gamma_counts(self, from_s: float, to_s: float, part: int = 0) -> int:
        assert part in (1, 2, 3, 4)
        return self._draw(self.gamma(to_s) * (to_s - from_s))

    def neutron_counts(self, from_s: float, to_s: float, part: int = 0) -> int:
        assert part in (1, 2, 3, 4)
        return self._draw(self.neutron(to_s) * (to_s - from_s))

    def occupied(self, at_s: float) -> bool:
        return any(begin <= at_s < end for begin, end in self.visits)

    def speed_m_s(self, at_s: float) -> float | None:
        return self.speed

    def position(self, at_s: float) -> Position | None:
        return None

    def on_since(self, at_s: float) -> float | None:
        return 0.0


def play(lane: Lane, to_s: float, **settings: Setting) -> list[Emission]:
    portal = create(settings, random.Random(1))
    return [each for k in range(1, int(to_s * 10) + 1) for each in portal.advance(k / 10, lane)]


def tags(emissions: Iterable[Emission]) -> list[str]:
    return [each.data.split(b",")[0].decode() for each in emissions]


def numbers(emission: Emission) -> tuple[int, ...]:
    return tuple(int(each) for each in emission.data.split(b",")[1:])


def of(emissions: Iterable[Emission], *wanted: str) -> list[Emission]:
    return [each for each in emissions if each.data[:2].decode() in wanted]


def understood(outputs: Iterable[Output]) -> dict[str, object]:
    """What a reader made of it, under the names of ``Emission.says``."""
    said: dict[str, object] = {}
    for output in outputs:
        if isinstance(output, Passage):
            names = [name for name in Passage.__slots__ if not name.endswith(("age_s", "basis"))]
            said |= {f"passage.{name}": getattr(output, name) for name in names}
        elif isinstance(output, Sample):
            for reading in output.readings:
                name = f"{reading.channel}.{reading.part}" if reading.part else str(reading.channel)
                said[name] = reading.value
    return said


def noisy(seed: int, visits: tuple[tuple[float, float], ...], source: float = 0.0) -> Lane:
    def gamma(at_s: float) -> float:
        near = any(begin + 2 <= at_s < begin + 6 for begin, end in visits)
        return 400 + (source if near else 0)

    return Lane(gamma=gamma, visits=visits, rng=random.Random(seed))


def test_the_driver_understands_what_the_portal_says() -> None:
    lane = noisy(3, ((21.0, 29.0), (33.0, 38.0), (50.0, 60.0)), source=60)
    driver = Rapiscan()
    emissions = play(lane, 90, setup_at_s=40, tamper_from_s=70, tamper_to_s=75)
    assert set(tags(emissions)) >= {"SP", "NS", "GS", "GA", "GX", "NB", "GB", "TT", "TC", "SN2"}
    for emission in emissions:
        outputs = list(driver.feed(emission.data))
        assert not any(isinstance(output, Exception) for output in outputs)
        said = understood(outputs)
        assert {name: said.get(name) for name in emission.says} == pytest.approx(
            dict(emission.says)
        )


PASSING = noisy(5, tuple((12.0 + 9 * k, 16.0 + 9 * k + k % 5) for k in range(40)), source=45)
STRONG = Lane(gamma=lambda at_s: 4000.0 if 19 <= at_s < 24 else 400.0, visits=((21.0, 26.0),))


@pytest.mark.parametrize(("lane", "at_least", "at_most"), [(PASSING, 50, 1500), (STRONG, 10, 30)])
def test_every_alarm_line_follows_the_rule(lane: Lane, at_least: int, at_most: int) -> None:
    alarms = 0
    background: tuple[int, ...] = ()
    since: list[tuple[int, ...]] = []
    for emission in play(lane, 380):
        tag = emission.data[:2].decode()
        if tag == "GB":
            background, since = numbers(emission), []
        if tag in ("GS", "GA"):
            since.append(numbers(emission))
            sums = [sum(column) for column in zip(*since[-5:], strict=True)]
            pairs = [(sum(sums[a:b]), sum(background[a:b])) for a, b in ((0, 4), (0, 2), (2, 4))]
            z = max((s - b) / math.sqrt(b) for s, b in pairs)
            assert (tag == "GA") == (len(since) >= 5 and z >= 5.0)
            alarms += tag == "GA"
    assert at_least < alarms < at_most


@pytest.mark.parametrize(
    ("name", "n_sigma", "alarms"),
    [("rapiscan_day_extract.txt", 5.0, 22), ("rapiscan_labs_S2-C0-NONE_first2occ.csv", 4.0, 0)],
)
def test_the_decision_is_that_of_captured_portals(name: str, n_sigma: float, alarms: int) -> None:
    path = SAMPLES / name
    if not path.exists():
        pytest.skip(f"the capture {name} is not on this machine")
    rule, told = GammaAlarm(n_sigma), []
    for line in path.read_text("ascii").splitlines():
        tag, *fields = line.split(",")
        counts = [int(each) for each in fields[:4]] if tag in ("GB", "GS", "GA") else []
        if tag == "GB":
            rule.learn(counts)
        elif counts:
            told.append(tag == "GA")
            assert rule.decide(counts) == told[-1], line
    assert sum(told) == alarms


def test_vacant_cadence() -> None:
    emissions = play(Lane(), 61)
    assert tags(emissions) == ["NB", "GB"] * 12
    starts = [each.at_s for each in of(emissions, "NB")]
    assert all(abs(b - a - 5) < 0.02 for a, b in itertools.pairwise(starts))
    assert emissions[1].at_s - emissions[0].at_s == pytest.approx(0.079)


def test_order_and_burst_of_an_occupancy() -> None:
    emissions = play(Lane(visits=((21.0, 29.0),)), 40)
    told = tags(emissions)
    at = told.index("SP")
    assert told[at : at + 13] == ["SP", "NS", *["GS"] * 10, "NS"]
    gammas = of(emissions, "GS", "GA")
    assert gammas[5].at_s - gammas[0].at_s < 0.06
    gaps = [b.at_s - a.at_s for a, b in itertools.pairwise(gammas[5:])]
    assert all(0.16 < gap < 0.24 for gap in gaps)
    (end,) = of(emissions, "GX")
    assert 0.18 < end.at_s - gammas[-1].at_s < 0.22
    following = of(emissions[emissions.index(end) :], "NB")[0]
    assert 4.75 < following.at_s - end.at_s < 4.85


def test_hold_in_after_the_beam_clears() -> None:
    emissions = play(Lane(visits=((21.0, 29.0),)), 40, hold_in_intervals=10)
    live = len(of(emissions, "GS")) - 5
    # 21.0 to 28.8 s occupied: 40 intervals, 10 more held
    assert live == 50


def test_emissions_are_in_order_and_never_early() -> None:
    lane = Lane(visits=((20.0, 29.0),), speed=50.0)
    portal = create({"setup_at_s": 18.0, "tamper_from_s": 20.0}, random.Random(2))
    last_s = 0.0
    for k in range(1, 400):
        for emission in portal.advance(k * 0.1, lane):
            assert last_s <= emission.at_s <= k * 0.1
            last_s = emission.at_s


def test_steps_do_not_matter() -> None:
    visits = ((21.0, 29.0), (30.0, 33.0))
    one = create({}, random.Random(9)).advance(60.0, noisy(8, visits))
    portal, lane = create({}, random.Random(9)), noisy(8, visits)
    many = [each for k in range(1, 6001) for each in portal.advance(k / 100, lane)]
    assert list(one) == many


def test_buffered_lines_of_a_close_follower_repeat_the_last_ones() -> None:
    visits = ((21.0, 29.0), (31.4, 36.0))
    emissions = play(noisy(4, visits), 50)
    gammas = of(emissions, "GS", "GA", "GX")
    first_end = tags(gammas).index("GX")
    before = [numbers(each) for each in gammas[first_end - 5 : first_end]]
    after = [numbers(each) for each in gammas[first_end + 1 : first_end + 6]]
    shared = sum(each in before for each in after)
    assert 1 <= shared <= 4
    assert after[:shared] == before[-shared:]
    assert len(of(emissions, "GX")) == 2


class Counting(Lane):
    """Keeps the neutrons it gave away: end of the interval, detector, counts."""

    def neutron_counts(self, from_s: float, to_s: float, part: int = 0) -> int:
        count = super().neutron_counts(from_s, to_s, part)
        self.given = [*getattr(self, "given", []), (to_s, part, count)]
        return count


def test_neutron_background_is_rounded_down_and_exact_at_the_end() -> None:
    lane = Counting(neutron=lambda at_s: 2.6, visits=((141, 145),), rng=random.Random(7))
    emissions = play(lane, 150)
    (end,) = of(emissions, "GX")
    told = of(emissions, "NB")[-1]
    rates = [
        sum(n for at_s, part, n in lane.given if part == k and 20.05 < at_s < 140.05) / 120
        for k in (1, 2, 3, 4)
    ]
    assert round(told.at_s) == 140
    assert numbers(told) == tuple(math.floor(rate) for rate in rates)
    assert numbers(end)[1] == pytest.approx(1000 * sum(rates), abs=1)
    assert end.says["passage.neutron_background"] == numbers(end)[1] / 1000


def test_cargo_that_shields_the_background() -> None:
    """DT-28: 2000/s, 10 % suppressed for 12 s, 600/s of cargo for 8 s within."""

    def gamma(at_s: float) -> float:
        shielded = 450.0 if 31 <= at_s < 43 else 500.0
        return shielded + (150.0 if 33 <= at_s < 41 else 0.0)

    lane = Lane(gamma=gamma, visits=((31.0, 43.0),), rng=random.Random(28))
    emissions = play(lane, 55)
    (end,) = of(emissions, "GX")
    assert end.says["passage.gamma_alarm"] is True
    assert end.says["passage.neutron_alarm"] is False
    assert 30 < len(of(emissions, "GA")) < 46


def test_background_moves_over_its_time_only() -> None:
    emissions = play(Lane(gamma=lambda at_s: 400.0 if at_s < 60.1 else 500.0), 90)
    firsts = [numbers(each)[0] for each in of(emissions, "GB")]
    assert firsts[11:16] == [400, 425, 450, 475, 500]


@pytest.mark.parametrize(
    ("rate", "tag", "part"), [(2100.0, "GH", "high"), (50.0, "GL", "low"), (400.0, "GB", None)]
)
def test_background_faults(rate: float, tag: str, part: str | None) -> None:
    emissions = play(Lane(gamma=lambda at_s: rate), 11)
    assert tags(emissions) == ["NB", tag] * 2
    if part:
        assert emissions[1].says[f"device_fault.background_{part}"] == 1
        (sample,) = Rapiscan().feed(emissions[1].data)
        assert isinstance(sample, Sample)
        assert sample.readings[0].flags == (Flag.INSTRUMENT_FAULT,)


def test_neutron_fault_and_alarm() -> None:
    lane = Lane(neutron=lambda at_s: 60.0, visits=((12.0, 15.0),))
    emissions = play(lane, 16, neutron_alarm_counts=240)
    assert "NH" in tags(emissions)
    assert "NA" in tags(emissions)
    assert "NS" not in tags(emissions)
    assert "NA" not in tags(play(lane, 16, neutron_alarm_counts=241))


def test_daily_setup_comes_between_the_pair_and_restarts_the_numbers() -> None:
    visits = ((21.0, 24.0), (41.0, 44.0))
    emissions = play(Lane(visits=visits), 60, first_number=677, setup_at_s=33)
    told = tags(emissions)
    at = told.index("SG1")
    assert told[at - 1 : at + 6] == ["NB", "SG1", "SG2", "SG3", "SN1", "SN2", "GB"]
    assert emissions[at + 4].at_s - emissions[at].at_s <= 0.031
    assert emissions[at].data == b"SG1,002000,000068,05,10,05.0,P\r\n"
    assert [each.says["passage.number"] for each in of(emissions, "GX")] == [677, 1]
    assert told.count("SG1") == 1


def test_setup_comes_each_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulators.rapiscan.DAY_S", 30.0)
    emissions = play(Lane(), 80, setup_at_s=10)
    assert [round(each.at_s) for each in emissions if each.data.startswith(b"SG1")] == [10, 40, 70]


def test_a_start_that_meets_the_background_lines() -> None:
    emissions = play(Lane(visits=((25.0, 30.0),)), 45)
    told = tags(emissions)
    at = told.index("SP")
    assert told[at : at + 5] == ["SP", "NB", "GB", "NS", "GS"]
    driver = Rapiscan()
    outputs = [out for each in emissions for out in driver.feed(each.data)]
    (passage,) = [out for out in outputs if isinstance(out, Passage)]
    assert passage.flags == ()


def test_speed_and_its_clamp() -> None:
    (slow,) = of(play(Lane(visits=((21.0, 24.0),), speed=1.5), 30), "SP")
    assert slow.data == b"SP,0.2032,03.355,005.40,000000\r\n"
    (fast,) = of(play(Lane(visits=((21.0, 24.0),), speed=50.0), 30), "SP")
    assert fast.data == b"SP,0.0061,99.999,160.93,000000\r\n"
    assert fast.says == {"speed": None}
    assert not of(play(Lane(visits=((21.0, 24.0),), speed=None), 30), "SP")
    assert not of(play(Lane(visits=((21.0, 24.0),), speed=0.01), 30), "SP")


def test_tamper() -> None:
    emissions = of(play(Lane(), 30, tamper_from_s=11, tamper_to_s=13), "TT", "TC")
    assert [(round(each.at_s), each.says) for each in emissions] == [
        (11, {"tamper": 1}),
        (13, {"tamper": 0}),
    ]


def test_a_blocked_portal_stays_occupied() -> None:
    """DT-33: five minutes in the beam, no background, no end."""
    emissions = play(Lane(visits=((21.0, 330.0),)), 320)
    assert not of([each for each in emissions if each.at_s > 21], "GX", "NB", "GB")


def test_false_alarms_without_a_source() -> None:
    """DT-27 in short: 150 empty occupancies at N = 5."""
    visits = tuple((25.0 + 15 * k, 28.0 + 15 * k) for k in range(150))
    emissions = play(noisy(6, visits), 2300)
    assert len(of(emissions, "GX")) == 150
    assert not of(emissions, "GA")


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="no setting sigma"):
        create({"sigma": 4.0}, random.Random(1))


def test_the_portal_does_not_listen() -> None:
    assert create({}, random.Random(1)).receive(1.0, b"GETHV\r", Lane()) == ()
