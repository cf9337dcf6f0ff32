"""Faults of links in virtual time: what the pipeline is given while they last."""

import json
from pathlib import Path
from typing import Any

import pytest

from config.scenario import load_scenario
from drivers.api import Identity, Sample
from drivers.errors import DriverError, Reject
from gateway.pipeline import Arrived
from gateway.verbs.virtual import VirtualPlay

HEAD = '[scenario]\nname = "links"\nduration_s = 120\n'
PAGER = """
[[detector]]
id = "{id}"
archetype = "PRD"
at = {{ x = {x}, y = 0 }}
settings = {{ period_s = 1, serial = "{id}-7" }}
"""
GEIGER = (
    '[[detector]]\nid = "geiger"\ndriver = "gq-gmc"\narchetype = "PRD"\nat = { x = 0, y = 0 }\n'
)


class Watched(VirtualPlay):
    """A play that notes what its pipeline is given."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.arrived: list[tuple[float, str, Any]] = []

    def _step(self, at_s: float, item: Any) -> Any:
        if isinstance(item, Arrived):
            self.arrived.append((at_s, item.detector, item.output))
        return super()._step(at_s, item)

    def counts(self, detector: str, from_s: float = 0, to_s: float = 120) -> list[Any]:
        return [
            reading.value
            for at_s, who, output in self.arrived
            if who == detector and from_s <= at_s < to_s and isinstance(output, Sample)
            for reading in output.readings
            if reading.channel in ("gamma_counts", "gamma_count_rate")
        ]

    def moments(self, detector: str) -> list[float]:
        return [
            at_s
            for at_s, who, output in self.arrived
            if who == detector and isinstance(output, Sample) and output.readings
        ]

    def errors(self, detector: str, from_s: float = 0, to_s: float = 120) -> list[DriverError]:
        return [
            output
            for at_s, who, output in self.arrived
            if who == detector and from_s <= at_s < to_s and isinstance(output, DriverError)
        ]

    def serials(self, detector: str) -> list[str | None]:
        identities: list[Identity] = [
            output.identity
            for _, who, output in self.arrived
            if who == detector and isinstance(output, Sample) and output.identity
        ]
        return [each.serial for each in identities]


@pytest.fixture
def play(tmp_path: Path):
    def play(*events: dict[str, object], text: str = "", seed: int | None = None) -> Watched:
        path = tmp_path / "scenario.toml"
        told = "".join(
            "\n[[event]]\n" + "".join(f"{key} = {json.dumps(it)}\n" for key, it in event.items())
            for event in events
        )
        own = text or PAGER.format(id="prd", x=0)
        path.write_text(HEAD + own + told, encoding="utf-8")
        played = Watched(load_scenario(path), seed)
        for _ in played.outputs():
            pass
        return played

    return play


def fault(do: str, **keys: object) -> dict[str, object]:
    return {"at_s": 20.5, "do": do, "detector": "prd", **keys}


def test_pieces_arrive_later_and_are_whole_lines(play) -> None:
    sound, split = play(), play(fault("split", size=10, gap_s=0.02, for_s=20))
    assert split.counts("prd") == sound.counts("prd")
    assert not split.errors("prd")
    late = [at for at in split.moments("prd") if 21 <= at < 41]
    assert all(0.1 < at % 1 < 0.9 for at in late)
    assert [at for at in split.moments("prd") if at >= 42] == [*range(42, 121)]


@pytest.mark.parametrize("do", ["loss", "corruption"])
def test_damage_is_counted_lasts_as_long_as_it_is_told_and_is_the_seed_s(play, do) -> None:
    played = [play(fault(do, share=0.02, for_s=30), seed=seed) for seed in (3, 3, 4)]
    assert played[0].errors("prd", 20.5, 51)
    assert not played[0].errors("prd", 51)
    assert len(played[0].counts("prd", 51)) == 69
    assert played[0].moments("prd") == played[1].moments("prd")
    assert played[0].moments("prd") != played[2].moments("prd")


def test_mended_it_is_sound_before_its_time(play) -> None:
    mend = {"at_s": 30.5, "do": "mend", "detector": "prd"}
    played = play(fault("loss", share=1.0, for_s=60), mend)
    assert [at for at in played.moments("prd") if at > 20] == [*range(31, 121)]


def test_late_bytes_arrive_at_their_own_time_in_order(play) -> None:
    sound, late = play(), play(fault("delay", delay_s=5.25, for_s=20))
    assert late.counts("prd") == sound.counts("prd")
    assert late.moments("prd")[20:40] == [n + 5.25 for n in range(21, 41)]


def test_a_flood_is_refused_and_ends(play) -> None:
    played = play(fault("flood", rate=100_000, for_s=10))
    assert any(error.reason is Reject.OVERFLOW for error in played.errors("prd", 20, 31))
    assert len(played.counts("prd", 33)) >= 86
    assert not played.errors("prd", 33)


def test_a_late_answer_is_never_that_to_another_question(play) -> None:
    event = {"at_s": 20.5, "do": "late_reply", "detector": "geiger", "late_s": 3.0, "count": 2}
    sound, late = play(text=GEIGER), play(event, text=GEIGER)
    assert any(error.reason is Reject.TIMEOUT for error in late.errors("geiger", 20))
    assert set(late.counts("geiger")) <= set(sound.counts("geiger"))
    assert len(late.counts("geiger", 60)) > 20


def test_an_echo_gives_no_false_number(play) -> None:
    event = {"at_s": 20.5, "do": "echo", "detector": "geiger", "for_s": 40}
    sound, echoed = play(text=GEIGER), play(event, text=GEIGER)
    assert set(echoed.counts("geiger")) <= set(sound.counts("geiger"))
    assert echoed.errors("geiger", 20, 62)
    assert not sound.errors("geiger")
    assert len(echoed.counts("geiger", 100)) > 5


def test_crossed_cables_read_each_other_s_instrument_in_its_place(play) -> None:
    text = PAGER.format(id="prd", x=0) + PAGER.format(id="far", x=300)
    text += (
        '[[source]]\nid = "s"\nnuclide = "Cs-137"\nactivity = "100 MBq"\nat = { x = 2, y = 0 }\n'
    )
    played = play(fault("swap", other="far"), text=text)
    assert set(played.serials("prd")) == {"prd-7", "far-7"}
    assert played.serials("far")[-1] == "prd-7"
    near, far = played.counts("prd", 0, 20), played.counts("prd", 22)
    assert min(near) > 150 > max(far)
    assert min(played.counts("far", 22)) > 150


def test_sources_and_rain_come_by_events(play) -> None:
    source = {"nuclide": "Cs-137", "activity": "100 MBq", "id": "s"}
    walk = {"at_s": 10, "do": "send_source", **source, "past": "prd", "nearest_in_s": 30}
    sent = play(walk | {"for_s": 60})
    peak = max(range(len(sent.counts("prd"))), key=sent.counts("prd").__getitem__)
    assert 38 <= peak <= 42
    put = play({"at_s": 10, "do": "place_source", **source, "x": 2, "y": 0, "for_s": 5})
    assert [at for at, n in enumerate(put.counts("prd"), 1) if n > 100] == [11, 12, 13, 14, 15]
    wet = play({"at_s": 10, "do": "rain", "rise": "0.9 µSv/h", "rise_s": 30})
    assert sum(wet.counts("prd", 60)) > 4 * sum(play().counts("prd", 60))
