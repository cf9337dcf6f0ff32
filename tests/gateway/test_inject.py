"""The verb ``inject``: what its words become, and a live exercise operated by it and played again.

The process of the last tests is real; they wait for its answers and never for time.
"""

import argparse
import asyncio
import json
import socket
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway import cli
from gateway.verbs import inject

DOSEGATE = Path(sys.executable).with_name("dosegate")
SOON_S = 30.0
TEXT = """
[scenario]
name = "exercise"
duration_s = 300
[[detector]]
id = "prd"
archetype = "PRD"
at = { x = 0, y = 0 }
link = "tcp"
settings = { period_s = 1 }
[[detector]]
id = "tty"
archetype = "PRD"
at = { x = 500, y = 0 }
link = "serial"
settings = { period_s = 1 }
"""


def request(*words: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    inject.add_arguments(parser)
    return inject._request(parser.parse_args(["--directory", "d", *words]))


SOURCE = ("source", "--nuclide", "Cs-137", "--activity", "100 MBq")
WHAT = {"nuclide": "Cs-137", "activity": "100 MBq"}


@pytest.mark.parametrize(
    ("words", "event"),
    [
        ((*SOURCE, "--at", "5,-3.5"), {"do": "place_source", **WHAT, "x": 5.0, "y": -3.5}),
        (
            (*SOURCE, "--past", "hh-1", "--closest", "2m", "--speed", "1.2 m/s", "--for", "60s",
             "--id", "a", "--nearest-in", "1min"),
            {"do": "send_source", **WHAT, "past": "hh-1", "closest_m": 2.0, "speed": "1.2 m/s",
             "for_s": 60.0, "id": "a", "nearest_in_s": 60.0},
        ),
        (("remove", "a"), {"do": "remove_source", "id": "a"}),
        (("rain",), {"do": "rain"}),
        (
            ("rain", "--rise", "0.2 µSv/h", "--rise-time", "10min", "--half-life", "1h"),
            {"do": "rain", "rise": "0.2 µSv/h", "rise_s": 600.0, "half_life_s": 3600.0},
        ),
        (("unplug", "hh-1"), {"do": "unplug", "detector": "hh-1"}),
        (("replug", "a", "renumbered=true"), {"do": "replug", "detector": "a", "renumbered": True}),
        (
            ("wrong-serial", "a", "serial_number=99999"),
            {"do": "wrong_serial", "detector": "a", "serial_number": "99999"},
        ),
        (("garbage", "a", "bytes=50"), {"do": "garbage", "detector": "a", "bytes": 50}),
        (("garbage", "a", "text=-OL-"), {"do": "garbage", "detector": "a", "text": "-OL-"}),
        (
            ("loss", "a", "share=0.5", "for_s=10"),
            {"do": "loss", "detector": "a", "share": 0.5, "for_s": 10},
        ),
        (
            ("reading", "a", "dose_rate=2 mSv/h"),
            {"do": "reading", "detector": "a", "dose_rate": "2 mSv/h"},
        ),
        (
            ("event", '{ do = "swap", detector = "a", other = "b" }'),
            {"do": "swap", "detector": "a", "other": "b"},
        ),
        (("event", 'do = "thaw"\ndetector = "a"'), {"do": "thaw", "detector": "a"}),
        (
            ("event", '[[event]]\ndo = "thaw"\ndetector = "a"'),
            {"do": "thaw", "detector": "a"},
        ),
        (("broker-stop", "forgets=true"), {"do": "broker_stop", "forgets": True}),
        (("broker_stop",), {"do": "broker_stop"}),
        (("broker-start",), {"do": "broker_start"}),
        (("broker-cut",), {"do": "broker_cut"}),
        (("broker-stall", "for_s=30"), {"do": "broker_stall", "for_s": 30}),
        (("event", '{"do": "thaw", "detector": "a"}'), {"do": "thaw", "detector": "a"}),
    ],
)  # fmt: skip
def test_words_become_an_event_of_the_grammar(words: tuple[str, ...], event: object) -> None:
    assert request(*words) == {"ask": "event", "event": event}


def test_the_clock_is_asked_for_by_name() -> None:
    assert request("pause") == {"ask": "pause"}
    assert request("speed", "4") == {"ask": "speed", "speed": 4.0}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((*SOURCE, "--at", "5"), "two numbers such as 5,3"),
        ((*SOURCE, "--at", "nan,1"), "two numbers such as 5,3"),
        ((*SOURCE, "--past", "a", "--closest", "2km"), "such as 2m"),
        ((*SOURCE, "--past", "a", "--for", "60"), "such as 90s"),
        ((*SOURCE, "--at", "1,2", "--speed", "1 m/s"), "--speed goes with --past"),
        (("loss", "a", "0.5"), "keys: for_s, share"),
        (("loss", "a", "shar=0.5"), "'shar' is an unknown key; keys: for_s, share"),
        (("unplug", "a", "at_s=5"), "'at_s' is an unknown key; keys: none"),
        (("broker-cut", "now"), "'now' is not KEY=VALUE; keys: none"),
        (("event", "do: thaw"), "neither TOML nor JSON"),
        (("event", "1"), "neither TOML nor JSON"),
    ],
)
def test_words_that_mean_nothing_are_bad_usage(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], expected: str
) -> None:
    assert cli.main(["inject", "--directory", "nowhere", *words]) == 2
    assert expected in capsys.readouterr().err


def test_a_missing_detector_is_all_that_is_missed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["inject", "--directory", "nowhere", "unplug"])
    assert capsys.readouterr().err.endswith("the following arguments are required: detector\n")


def test_status_may_be_asked_for_as_json() -> None:
    assert request("status", "--json") == {"ask": "status"}


def test_a_reason_of_two_lines_stays_two(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(*_: object) -> dict[str, object]:
        return {"ok": False, "reason": "one\n    two\x1b"}

    monkeypatch.setattr(inject.ControlClient, "ask", answer)
    assert cli.main(["inject", "--directory", "d", "status"]) == 1
    assert capsys.readouterr().err == "one\n    two?\n"


def test_without_a_stage_it_says_where_to_look(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert cli.main(["inject", "--directory", str(tmp_path), "status"]) == 1
    assert "simulate --live names its directory" in capsys.readouterr().err


def test_speed_needs_live_and_sense(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "exercise.toml"
    path.write_text(TEXT, encoding="utf-8")
    assert cli.main(["simulate", str(path), "--speed", "4"]) == 2
    assert "need --live" in capsys.readouterr().err
    words = ["simulate", str(path), "--live", "--speed", "0", "--directory", str(tmp_path)]
    assert cli.main(words) == 2
    assert "a speed of 0" in capsys.readouterr().err


class Exercise:
    """A stage that is another process."""

    def __init__(self, home: Path, process: asyncio.subprocess.Process) -> None:
        self.home = home
        self.process = process

    async def inject(self, *words: str) -> tuple[int, Any]:
        """Exit code, and the answer or what was complained of."""
        process = await asyncio.create_subprocess_exec(
            DOSEGATE, "inject", "--directory", self.home, *words,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(SOON_S):
            out, err = await process.communicate()
        return process.returncode or 0, json.loads(out) if out else err.decode()

    def port(self) -> int:
        """Of the detector on TCP, as the configuration has it."""
        text = (self.home / "gateway.toml").read_text(encoding="utf-8")
        return int(text.partition('kind = "tcp"')[2].partition("port = ")[2].split()[0])

    async def reaches_broker(self) -> bool:
        """Whether somebody listens where the configuration's sink says."""
        text = (self.home / "gateway.toml").read_text(encoding="utf-8")
        port = int(text.partition("mqtt://127.0.0.1:")[2].partition('"')[0])
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            return False
        writer.close()
        return True

    def played(self) -> list[dict[str, Any]]:
        """What happened so far."""
        lines = (self.home / "played.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]


@asynccontextmanager
async def exercise(home: Path, *options: str) -> AsyncIterator[Exercise]:
    scenario = home / "exercise.toml"
    scenario.write_text(TEXT, encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        DOSEGATE, "simulate", "--live", "--directory", home, *options, scenario,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        async with asyncio.timeout(SOON_S):
            await process.stdout.readline()
        yield Exercise(home, process)
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(SOON_S):
            assert await process.wait() == 0


async def rate(reader: asyncio.StreamReader) -> float:
    """The dose rate of the next line."""
    async with asyncio.timeout(SOON_S):
        line = json.loads(await reader.readline())
    return next(one["value"] for one in line["readings"] if one["channel"] == "dose_rate")


async def test_a_live_exercise_is_operated_noted_and_played_again(tmp_path: Path) -> None:
    async with exercise(tmp_path, "--speed", "20", "--paused") as on:
        code, status = await on.inject("status")
        assert (code, status["now_s"], status["paused"], status["speed"]) == (0, 0, True, 20)
        reader, writer = await asyncio.open_connection("127.0.0.1", on.port())
        code, placed = await on.inject(*SOURCE, "--at", "2,0")
        assert (code, placed["id"], placed["at_s"]) == (0, "injected-1", 0)
        assert (await on.inject("freeze", "tty"))[0] == 0
        assert (await on.inject("resume"))[1]["paused"] is False
        assert await rate(reader) == pytest.approx(0.1 + 9.27 / 4, rel=0.05)
        assert (await on.inject("remove", "injected-1"))[0] == 0
        while await rate(reader) > 0.11:
            pass
        code, reason = await on.inject("unplug", "prt")
        assert code == 1
        assert "did you mean 'prd'?" in reason
        assert (await on.inject("unplug", "prd"))[0] == 0
        async with asyncio.timeout(SOON_S):
            await reader.read()
        writer.close()
        assert (await on.inject("status"))[1]["troubles"] == {
            "prd": ["unplugged"],
            "tty": ["frozen"],
        }
        played = on.played()
    assert [each["do"] for each in played] == ["place_source", "freeze", "remove_source", "unplug"]
    assert not (tmp_path / "stage.sock").exists()

    again = await asyncio.create_subprocess_exec(
        DOSEGATE, "simulate", tmp_path / "exercise.toml", "--events", tmp_path / "played.jsonl",
        "--only", "sample", stdout=subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(SOON_S):
        out, _ = await again.communicate()
    assert again.returncode == 0
    samples = [json.loads(line) for line in out.splitlines()]
    assert {each["detector"] for each in samples} == {"prd"}
    gone_s, unplugged_s = played[2]["at_s"], played[3]["at_s"]
    assert len(samples) == int(unplugged_s)
    rates = [
        next(one["value"] for one in each["readings"] if one["channel"] == "dose_rate")
        for each in samples
    ]
    assert sum(value > 1 for value in rates[: int(gone_s)]) == int(gone_s)
    assert all(value < 0.11 for value in rates[int(gone_s) + 1 :])


async def test_a_folder_holds_one_stage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with exercise(tmp_path, "--paused") as on:
        await on.inject("freeze", "tty")
        words = ["simulate", "--live", "--directory", str(tmp_path)]
        assert await asyncio.to_thread(cli.main, [*words, str(tmp_path / "exercise.toml")]) == 2
        told = capsys.readouterr().err
        assert f"a stage is played in {tmp_path} (stage.sock answers)" in told
        assert [each["do"] for each in on.played()] == ["freeze"]
        assert (await on.inject("status"))[0] == 0


async def test_a_socket_left_by_a_killed_stage_does_not_hinder(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "stage.sock"))
    async with exercise(tmp_path, "--paused") as on:
        assert (await on.inject("status"))[0] == 0


async def test_paths_in_the_configuration_hold_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path.parent)
    async with exercise(Path(tmp_path.name), "--paused"):
        told = tomllib.loads((tmp_path / "gateway.toml").read_text(encoding="utf-8"))
    assert told["gateway"]["state_dir"] == str(tmp_path / "state")
    assert told["gateway"]["control_socket"] == str(tmp_path / "control.sock")
    ports = [each["link"]["port"] for each in told["detector"] if each["id"] == "tty"]
    assert all(Path(port).is_absolute() for port in ports)


async def test_it_ends_by_its_own_clock(tmp_path: Path) -> None:
    async with exercise(tmp_path, "--speed", "100", "--seconds", "100") as on:
        async with asyncio.timeout(SOON_S):
            assert await on.process.wait() == 0


async def test_the_broker_that_the_stage_brings_is_stopped_and_started(tmp_path: Path) -> None:
    async with exercise(tmp_path, "--speed", "10") as on:
        assert await on.reaches_broker()
        code, stopped = await on.inject("broker-stop")
        assert (code, stopped["do"]) == (0, "broker_stop")
        assert not await on.reaches_broker()
        assert (await on.inject("status"))[1]["broker"]["state"] == "stopped"
        assert (await on.inject("broker_start"))[0] == 0
        assert await on.reaches_broker()
        assert [each["do"] for each in on.played()] == ["broker_stop", "broker_start"]


async def test_a_broker_of_somebody_else_is_left_alone_and_that_is_said(tmp_path: Path) -> None:
    scenario = tmp_path / "outage.toml"
    outage = (
        '[[event]]\nat_s = 100\ndo = "broker_stop"\n[[event]]\nat_s = 160\ndo = "broker_start"\n'
    )
    scenario.write_text(TEXT + outage, encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        DOSEGATE, "simulate", "--live", "--directory", tmp_path, "--seconds", "170",
        "--speed", "1000", "--broker", "mqtt://127.0.0.1:1883", scenario,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(SOON_S):
        _, told = await process.communicate()
    assert process.returncode == 0
    said = told.decode()
    assert "not played, as the broker is yours: broker_stop at 100 s, broker_start at 160 s" in said
    assert "with --live only" not in said
    assert (tmp_path / "played.jsonl").read_text(encoding="utf-8") == ""
    assert 'brokers = ["mqtt://127.0.0.1:1883"]' in (tmp_path / "gateway.toml").read_text()


@pytest.mark.parametrize("more", [(), ("--live", "--broker", "mqtt://127.0.0.1:1883")])
def test_a_port_is_that_of_the_broker_which_the_stage_brings(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, more: tuple[str, ...]
) -> None:
    path = tmp_path / "exercise.toml"
    path.write_text(TEXT, encoding="utf-8")
    assert cli.main(["simulate", str(path), "--port", "1883", *more]) == 2
    assert "--port is that of the broker" in capsys.readouterr().err


def test_a_port_that_is_taken_is_said_and_bad_usage(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "exercise.toml"
    path.write_text(TEXT, encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        words = ["simulate", str(path), "--live", "--directory", str(tmp_path), "--port", port]
        assert cli.main(words) == 2
    assert f"port {port} is in use" in capsys.readouterr().err
