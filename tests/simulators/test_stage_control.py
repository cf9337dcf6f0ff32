"""What an operator of a live stage may ask for, and what is answered."""

import asyncio
import json
import os
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from config.scenario import load_scenario
from simulators.live import LiveStage
from simulators.stage_broker import StageBroker
from simulators.stage_control import StageControl
from simulators.world import World

TEXT = """
[scenario]
name = "operated"
duration_s = 60
[[source]]
id = "there"
nuclide = "Cs-137"
activity = "1 MBq"
at = { x = 9, y = 9 }
[[detector]]
id = "prd"
archetype = "PRD"
at = { x = 0, y = 0 }
link = "tcp"
[[event]]
at_s = 50
do = "freeze"
detector = "prd"
"""


class Desk:
    def __init__(self, stage, control, path):
        self.stage, self.control, self.path = stage, control, path
        self.noted = []

    async def ask(self, what, **more):
        return await self.control.answer(json.dumps({"ask": what, **more}).encode())

    async def play(self, do, **keys):
        return await self.ask("event", event={"do": do, **keys})


@pytest.fixture
def desk(tmp_path):
    @asynccontextmanager
    async def opened(broker=None):
        path = tmp_path / "scenario.toml"
        path.write_text(TEXT, encoding="utf-8")
        scenario = load_scenario(path)
        noted = []
        stage = LiveStage(
            scenario, World(scenario), tmp_path, datetime(2026, 1, 1, tzinfo=UTC),
            note=noted.append, broker=broker,
        )  # fmt: skip
        control = StageControl(tmp_path / "stage.sock", stage, scenario)
        await stage.open()
        await control.start()
        playing = asyncio.create_task(stage.play())
        made = Desk(stage, control, tmp_path / "stage.sock")
        made.noted = noted
        try:
            yield made
        finally:
            await control.stop()
            playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)
            await stage.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert not is_there(path.with_name("stage.sock"))

    return opened


def is_there(path):
    return os.path.lexists(path)


def mode(path):
    return path.stat().st_mode & 0o777


def test_status_says_what_is_the_case(desk, virtually):
    async def play():
        async with desk() as at:
            await at.stage.clock.until(5)
            await at.play("unplug", detector="prd")
            await at.play("loss", detector="prd")
            await at.ask("pause")
            return await at.ask("speed", speed=2.5), await at.ask("status")

    answer, status = virtually(play())
    assert answer == status
    assert status["now_s"] == pytest.approx(5, abs=0.01)
    assert {key: value for key, value in status.items() if key != "now_s"} == {
        "ok": True,
        "scenario": "operated",
        "ends_s": 60,
        "speed": 2.5,
        "paused": True,
        "events_to_come": 1,
        "sources": ["there"],
        "broker": None,
        "troubles": {"prd": ["unplugged", "loss"]},
    }


def test_sources_without_a_name_get_one_and_can_be_taken_away(desk, virtually):
    async def play():
        async with desk() as at:
            await at.stage.clock.until(5)
            keys = {"nuclide": "Cs-137", "activity": "100 MBq"}
            first = await at.play("place_source", **keys, x=1, y=2)
            second = await at.play("send_source", **keys, past="prd", nearest_in_s=30)
            names = [answer["played"]["id"] for answer in (first, second)]
            there = await at.ask("status")
            gone = await at.play("remove_source", id=names[0])
            return first, names, there["sources"], gone, at.stage.sources(), at.noted

    first, names, there, gone, left, noted = virtually(play())
    assert first["played"] == {
        "at_s": pytest.approx(5, abs=0.01),
        "do": "place_source",
        "id": "injected-1",
        "nuclide": "Cs-137",
        "activity": "100000000.0 Bq",
        "x": 1.0,
        "y": 2.0,
    }
    assert names == ["injected-1", "injected-2"]
    assert there == ["there", *names]
    assert gone["ok"]
    assert left == ("there", "injected-2")
    assert [each.do for each in noted] == ["place_source", "send_source", "remove_source"]


def test_a_name_that_is_taken_is_not_given_again(desk, virtually):
    async def play():
        async with desk() as at:
            keys = {"nuclide": "Cs-137", "activity": "100 MBq", "x": 1, "y": 2}
            await at.play("place_source", id="injected-1", **keys)
            return await at.play("place_source", **keys)

    assert virtually(play())["played"]["id"] == "injected-2"


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"ask": "event", "event": {"do": "unplug", "detector": "prt"}}, "did you mean 'prd'?"),
        ({"ask": "event", "event": {"do": "acknowledge"}}, "orders go to the gateway"),
        ({"ask": "event", "event": {"do": "kill"}}, "nothing for a stage"),
        ({"ask": "event", "event": {"do": "broker_stop"}}, "has no broker of its own"),
        ({"ask": "event", "event": "unplug"}, "no object"),
        ({"ask": "event"}, "no object"),
        ({"ask": "speed", "speed": 0}, "a speed of 0"),
        ({"ask": "speed", "speed": True}, "needs a number"),
        ({"ask": "stop"}, "'stop' is not event"),
        ([], "no JSON object"),
    ],
)
def test_what_is_refused_says_why_and_nothing_happens(desk, virtually, request_, expected):
    async def play():
        async with desk() as at:
            answer = await at.control.answer(json.dumps(request_).encode())
            return answer, at.noted, await at.ask("status")

    answer, noted, status = virtually(play())
    assert not answer["ok"]
    assert expected in answer["reason"]
    assert noted == []
    assert (status["speed"], status["paused"], status["troubles"]) == (1.0, False, {})


def test_its_broker_is_stopped_and_started(desk, virtually):
    async def play():
        async with StageBroker() as broker, desk(broker) as at:
            stopped = await at.play("broker_stop", forgets=True)
            status = await at.ask("status")
            wrong = await at.play("broker_stop", for_s=3)
            await at.play("broker_start")
            return stopped, status, wrong, await at.ask("status"), broker.url, at.noted

    stopped, status, wrong, later, url, noted = virtually(play())
    assert stopped["played"]["forgets"] is True
    assert status["broker"] == {"url": url, "state": "stopped"}
    assert "for_s: unknown key" in wrong["reason"]
    assert later["broker"] == {"url": url, "state": "listening"}
    assert [each.do for each in noted] == ["broker_stop", "broker_start"]


def test_what_its_broker_cannot_do_now_is_refused_and_not_noted(desk, virtually):
    async def play():
        async with StageBroker() as broker, desk(broker) as at:
            reasons = []
            for do in ("start", "stop!", "stop", "cut", "stall", "start!", "stall!", "start!"):
                answer = await at.play(f"broker_{do.rstrip('!')}")
                assert answer["ok"] is do.endswith("!"), do
                reasons.append(answer.get("reason"))
            return reasons, [each.do for each in at.noted]

    reasons, noted = virtually(play())
    assert [reason for reason in reasons if reason] == [
        "the broker runs and is not stalled: there is nothing to start",
        "the broker is stopped already",
        "the broker is stopped: broker-start first",
        "the broker is stopped: broker-start first",
    ]
    assert noted == ["broker_stop", "broker_start", "broker_stall", "broker_start"]


def test_no_text_is_too_bad_for_an_answer(desk, virtually):
    async def play():
        async with desk() as at:
            lines = (b"{", b"\xff", b"[" * 20_000, b'{"ask": "speed", "speed": NaN}', b"")
            return [await at.control.answer(line) for line in lines]

    assert not any(answer["ok"] for answer in virtually(play()))


def test_the_socket_speaks_lines_and_is_not_for_everybody(desk, virtually):
    async def play():
        async with desk() as at:
            assert mode(at.path) == 0o660
            reader, writer = await asyncio.open_unix_connection(at.path)
            writer.write(b'{"ask": "status"}\n{"ask": "pause"}\n{\n')
            answers = [json.loads(await reader.readline()) for _ in range(3)]
            writer.write(b"x" * 70_000 + b"\n")
            answers.append(json.loads(await reader.readline()))
            assert await reader.read() == b""
            writer.close()
            return answers

    answers = virtually(play())
    assert [answer["ok"] for answer in answers] == [True, True, False, False]
    assert [answer.get("paused") for answer in answers[:2]] == [False, True]
    assert "over 65536 bytes" in answers[3]["reason"]
