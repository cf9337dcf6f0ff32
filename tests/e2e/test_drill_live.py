"""A drill on a running daemon: its verbs, its roots, a real alarm meanwhile, its end, its score."""

import asyncio
import getpass
import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.mosquitto

DOSEGATE = Path(sys.executable).with_name("dosegate")
DRILL = """
[scenario]
name = "spring"
title = "two officers"
duration_s = 600

[[detector]]
id = "hh-1"
archetype = "PRD"
at = { x = 0, y = 0 }

[[detector]]
id = "hh-2"
archetype = "PRD"
at = { x = 300, y = 0 }
"""
REAL, EXERCISE = "dosegate/v1/", "dosegate-exercise/v1/"


async def drill(folder: Path, what: str, *arguments: str) -> tuple[int, str, str]:
    socket = ("--socket", folder / "control.sock")
    process = await asyncio.create_subprocess_exec(
        *(DOSEGATE, "drill", what, *socket, *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    told, complained = await asyncio.wait_for(process.communicate(), 20)
    return process.returncode or 0, told.decode(), complained.decode()


def retained(heard: Any, root: str) -> set[str]:
    """Documents that a broker holds below a root now."""
    held: dict[str, bool] = {}
    for each in tuple(heard.heard):
        if each.topic.startswith(root) and "seq" not in each.body:
            held[each.topic] = bool(each.body)
    return {topic for topic, is_there in held.items() if is_there}


async def test_a_drill_from_its_start_to_its_score(tmp_path: Path, staged: Any, until: Any) -> None:
    async with staged("drill.toml") as it:
        config, heard, who = tmp_path / "gateway.toml", it.collector, getpass.getuser()
        config.write_text(config.read_text().replace("simulated = true", "simulated = false"))
        file = tmp_path / "spring.toml"
        file.write_text(DRILL)
        await it.daemon.start()
        for name in ("hh-1", "hh-2"):
            await until(lambda name=name: heard.bodies("sample", detector=name), f"{name} speaks")
        assert not retained(heard, EXERCISE)

        code, said, _ = await drill(tmp_path, "start", str(file))
        assert (code, said.splitlines()[0]) == (0, "drill spring is on")
        await until(lambda: heard.newest("/drill"), "consumers know of it")
        assert it.daemon.board()["drill"]["name"] == "spring"
        code, said, _ = await drill(
            *(tmp_path, "inject", "--source", "Cs-137", "--activity", "1 GBq"),
            *("--detector", "hh-1", "--distance", "2", "--as", "parcel"),
        )
        assert said.startswith("parcel: Cs-137 1 GBq at hh-1, 2 m, from ")
        (alarm,) = await until(
            lambda: heard.events("raised", detector="hh-1", alarm="dose_rate"), "it is found"
        )
        assert alarm["exercise"]
        assert alarm["level"] == "R4"

        before = time.time()
        await it.happen("reading", detector="hh-2", dose_rate="5 µSv/h")
        (real,) = await until(
            lambda: heard.events("raised", detector="hh-2", alarm="dose_rate", exercise=False),
            "the real alarm",
        )
        assert abs(time.time() - before) < 10
        assert (await it.daemon.verb("ack", alarm["occurrence"]))[0] == 0
        await until(
            lambda: heard.events("acknowledged", occurrence=alarm["occurrence"]), "acknowledged"
        )
        await until(lambda: heard.bodies("heartbeat", drill="spring"), "a heartbeat")
        await until(
            lambda: heard.bodies("heartbeat")[-1]["active"] == len(it.daemon.alarms()),
            "heartbeats count its alarms",
        )
        await until(lambda: heard.bodies("health"), "health")
        assert heard.bodies("health")[-1]["drill"]["name"] == "spring"

        code, said, _ = await drill(tmp_path, "stop")
        assert (code, "drill spring over" in said) == (0, True)
        await until(lambda: not retained(heard, EXERCISE), "everything of it is emptied")
        last = len(heard.heard)
        opened = {each["occurrence"] for each in heard.events("raised", exercise=True)}
        assert opened == {each["occurrence"] for each in heard.events("closed", exercise=True)}
        samples = len(heard.bodies("sample", detector="hh-1"))
        await until(
            lambda: len(heard.bodies("sample", detector="hh-1")) > samples + 3, "it goes on"
        )
        later = [each.topic for each in heard.heard[last:] if each.topic.startswith(EXERCISE)]
        assert [topic for topic in later if not topic.endswith(("/sample", "/result"))] == []

        for each in heard.heard:
            root = EXERCISE if each.topic.startswith(EXERCISE) else REAL
            assert each.body.get("exercise", root == EXERCISE) is (root == EXERCISE), each.topic
            flags = each.body.get("flags")
            if each.body.get("kind") == "sample":
                assert ("simulated" in flags) is (root == EXERCISE), each.topic
        assert f"{REAL}drill/alarm/active/{real['occurrence']}" in retained(heard, REAL)

        code, said, _ = await drill(tmp_path, "score", "--json")
        score = json.loads(said)
        (parcel,) = score["injects"]
        assert (parcel["name"], parcel["what"]) == ("parcel", "Cs-137 1 GBq")
        assert (parcel["by"], parcel["result"]) == (who, "found")
        assert parcel["truth"]["hh-1"]["level"] == "R4"
        found = next(one for one in parcel["alarms"] if one["alarm"] == "dose_rate")
        assert found["occurrence"] == alarm["occurrence"]
        assert found["acknowledged_by"] == who
        assert real["occurrence"] in [one["occurrence"] for one in score["real"]]
        assert score["without_inject"] == []
        code, said, _ = await drill(tmp_path, "score")
        assert "REAL alarms meanwhile" in said
        sheets = tmp_path / "state" / "drills"
        await until(lambda: len(list(sheets.glob("*-spring.*"))) == 2, "the sheet is a file")
        assert await it.daemon.stop() == 0


async def test_a_daemon_that_is_stopped_or_killed_leaves_no_exercise_behind(
    tmp_path: Path, staged: Any, until: Any
) -> None:
    async with staged("drill.toml") as it:
        config, heard = tmp_path / "gateway.toml", it.collector
        config.write_text(config.read_text().replace("simulated = true", "simulated = false"))
        file = tmp_path / "spring.toml"
        file.write_text(DRILL)
        ghost = ("--source", "Cs-137", "--activity", "1 GBq", "--detector", "hh-1")

        async def exercise(number: int) -> None:
            await it.daemon.start()
            await until(lambda: it.daemon.state("hh-1").get("age_s") is not None, "hh-1 speaks")
            assert (await drill(tmp_path, "start", str(file)))[0] == 0
            assert (await drill(tmp_path, "inject", *ghost))[0] == 0
            await until(
                lambda: len(heard.events("raised", detector="hh-1", alarm="dose_rate")) == number,
                "it is found",
            )

        await exercise(1)
        assert await it.daemon.stop() == 0
        await until(lambda: not retained(heard, EXERCISE), "an orderly stop empties it")
        await exercise(2)
        it.daemon.kill()
        await it.daemon.start()
        await until(lambda: not retained(heard, EXERCISE), "the next start empties it")
        opened = {each["occurrence"] for each in heard.events("raised", exercise=True)}
        assert opened == {each["occurrence"] for each in heard.events("closed", exercise=True)}
        code, said, _ = await drill(tmp_path, "status")
        assert (code, said) == (0, "no drill is on\n")
        code, said, _ = await drill(tmp_path, "score")
        assert "the gateway ended in the middle of the drill" in said
        code, _, complained = await drill(tmp_path, "inject", *ghost)
        assert (code, complained) == (1, "inject refused: no drill is on\n")
