"""Orders and board of this laptop, with a real pipeline behind the control socket and no broker."""

import asyncio
import json
import re
from itertools import count

import pytest

from config.models import Configuration
from drivers.api import Channel, DriverInfo, Quantity, Reading, Sample
from drivers.api import Verified as V
from gateway import cli
from gateway.board import board
from gateway.commands import NAMES
from gateway.control import ControlServer
from gateway.execution import REPLAYS
from gateway.pipeline import Arrived, Commanded, Pipeline, Ticked
from gateway.values import Instant
from gateway.verbs.order_table import ORDERS

INFO = DriverInfo(
    "made-up", "made up", "listener", ("Gamma Handheld",), ("serial",), (Channel.DOSE_RATE,),
    "none", V.CONSTRUCTED, 1.0, lambda options: None,
)  # fmt: skip


def configuration():
    link = {"kind": "recording", "path": "-"}
    detectors = [{"id": name, "driver": "made-up", "link": link} for name in ("hh-1", "hh-2")]
    return Configuration.model_validate({"gateway": {"id": "gw"}, "detector": detectors})


class Laptop:
    """A gateway in virtual time behind a real socket; ``do`` types a command line."""

    def __init__(self, path, capsys):
        self.path, self.capsys = path, capsys
        self.at = 1000.0
        ids, commands = count(1), count(1)
        infos = {"hh-1": INFO, "hh-2": INFO}
        self.pipeline = Pipeline(configuration(), infos, lambda: f"o{next(ids)}", self.now)
        self.server = ControlServer(path, self.board, self.execute, lambda: f"c{next(commands)}")
        self.commands = []

    @property
    def now(self):
        return Instant(1.78e9 + self.at, self.at)

    def board(self):
        engine = self.pipeline.engine
        names = {record.detector for record in engine.active() if record.detector[0] != "@"}
        orders = {name: engine.detector(name).book.orders for name in names}
        return board(self.now, self.pipeline.health(), engine.active(), orders)

    async def execute(self, command):
        self.commands.append(command)
        (answer,) = self.pipeline.step(self.now, Commanded(command)).answers
        return answer

    def doses(self, *values, detector="hh-1"):
        for value in values:
            self.at += 1
            quantity = Quantity.AMBIENT_DOSE_EQUIVALENT_RATE
            sample = Sample((Reading(Channel.DOSE_RATE, value, "µSv/h", quantity),))
            self.pipeline.step(self.now, Arrived(detector, sample, self.now))
            self.pipeline.step(self.now, Ticked())

    def alarm(self, detector="hh-1", alarm="dose_rate"):
        records = self.pipeline.engine.active()
        found = [each for each in records if (each.detector, each.alarm) == (detector, alarm)]
        return found[0] if found else None

    async def do(self, *words):
        words = [words[0], "--socket", str(self.path), *words[1:]]
        code = await asyncio.to_thread(cli.main, words)
        told = self.capsys.readouterr()
        return code, told.out, told.err


@pytest.fixture
async def laptop(tmp_path, capsys):
    laptop = Laptop(tmp_path / "control.sock", capsys)
    task = asyncio.create_task(laptop.server.run())
    async with asyncio.timeout(5):
        while not laptop.path.exists():  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    yield laptop
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_every_command_of_the_desk_has_a_verb():
    assert {order.sent for order in ORDERS} == set(NAMES) - set(REPLAYS)


async def test_shelve_and_unshelve(laptop):
    laptop.doses(0.6)
    shelve = ("shelve", "hh-1", "R3", "--reason", "patient beside it")
    code, out, _ = await laptop.do(*shelve, "--for", "10min")
    assert code == 0
    assert re.fullmatch(r"hh-1: shelved for [\d.]+ min\n", out)
    assert laptop.alarm().shelved
    _, out, _ = await laptop.do("board", "--once")
    assert "no alarms" in out
    hidden = next(line for line in out.splitlines() if "o1" in line)
    for word in ("R3", "10 min", "patient beside it"):
        assert word in hidden
    code, out, _ = await laptop.do("unshelve", "hh-1", "R3")
    assert (code, out) == (0, "hh-1: back on the list\n")
    code, out, err = await laptop.do("unshelve", "hh-1", "R3")
    assert (code, out) == (1, "")
    assert "unshelve refused: R3 of hh-1 is not shelved" in err


async def test_the_limits_of_an_order_are_the_gateways(laptop):
    """DT-56: priority 1 is off the list for five minutes at most."""
    why = ("--reason", "test")
    code, _, err = await laptop.do("shelve", "hh-1", "R5", "--for", "10min", *why)
    assert code == 1
    assert "at most 5 min" in err
    assert err.endswith("name a shorter --for\n")
    assert (await laptop.do("shelve", "hh-1", "R5", "--for", "5min", *why))[0] == 0
    code, _, err = await laptop.do("shelve", "hh-9", "R3", "--for", "90s", *why)
    assert code == 1
    assert "no detector is called 'hh-9'" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("shelve", "hh-1", "R3", "--for", "ten", "--reason", "r"), "is no duration"),
        (("shelve", "hh-1", "R3", "--for", "10", "--reason", "r"), "such as 90s"),
        (("maintenance", "hh-1", "yes"), "'yes' is not on or off"),
        (("duty", "hh-1", "asleep"), "not one of on_duty"),
        (("baseline", "hh-1", "guess"), "not one of survey"),
        (("baseline", "hh-1", "survey", "--survey-s", "long"), "not a number"),
        (("report", "x", "--dose-rate", "0.8 µSv"), 'did you mean "0.8 µSv/h"?'),
        (("ack", "o1", "--revision", "new"), "not a whole number"),
    ],
)
async def test_a_word_that_makes_no_sense_is_bad_usage(laptop, words, said):
    code, out, err = await laptop.do(*words)
    assert (code, out) == (2, "")
    assert said in err
    assert not laptop.commands


@pytest.mark.parametrize(
    "words",
    [
        ("shelve", "hh-1", "R3", "--for", "10min"),
        ("shelve", "hh-1", "R3", "--reason", "r"),
        ("close", "o1"),
        ("replace", "hh-1", "--reason", "r"),
        ("reset",),
    ],
)
async def test_what_is_missing_is_bad_usage(laptop, words):
    with pytest.raises(SystemExit) as caught:
        await laptop.do(*words)
    assert caught.value.code == 2


async def test_silence_takes_the_sound_alone(laptop):
    laptop.doses(0.6)
    why = ("--reason", "being dealt with")
    code, out, _ = await laptop.do("silence", "o1", "--for", "2min", *why)
    assert code == 0
    assert out.startswith("o1: silenced for ")
    _, out, _ = await laptop.do("board", "--once")
    assert "silenced for 2 min more" in out
    assert "hidden" not in out
    laptop.doses(*[0.1] * 11)
    code, _, err = await laptop.do("silence", "o1", "--for", "2min", *why)
    assert code == 1
    assert "nothing to silence" in err


async def test_acknowledge_all_that_wait_and_are_on_the_list(laptop):
    laptop.doses(0.6)
    laptop.doses(30.0, detector="hh-2")
    await laptop.do("shelve", "hh-1", "R3", "--for", "10min", "--reason", "r")
    code, out, _ = await laptop.do("ack")
    assert (code, out) == (0, "o2: acknowledged\n")
    assert not laptop.alarm().acknowledged
    assert await laptop.do("ack") == (0, "nothing to acknowledge\n", "")
    code, _, err = await laptop.do("ack", "o9")
    assert code == 1
    assert "o9: ack refused: stale" in err


async def test_acknowledge_what_was_seen(laptop):
    laptop.doses(0.6, 30.0)
    assert (await laptop.do("ack", "o1", "--revision", "1"))[0] == 1
    assert (await laptop.do("ack", "o1", "--revision", "2"))[0] == 0


async def test_reset(laptop):
    laptop.doses(150.0)
    assert (await laptop.do("reset", "o1"))[0] == 1
    laptop.doses(*[0.1] * 11)
    assert await laptop.do("reset", "o1") == (0, "o1: reset\n", "")


async def test_close_is_for_a_detector_that_is_gone(laptop):
    laptop.doses(0.6)
    code, _, err = await laptop.do("close", "o1", "--reason", "lost")
    assert code == 1
    assert "has valid data behind it" in err
    laptop.at += 10
    laptop.pipeline.step(laptop.now, Ticked())
    code, out, _ = await laptop.do("close", "o1", "--reason", "lost")
    assert (code, out) == (0, "o1: closed: closed, not verified normal: lost\n")
    assert laptop.alarm() is None


async def test_assess(laptop):
    laptop.doses(0.6)
    words = ("assess", "o1", "--disposition", "innocent_medical", "--nuclides", "Tc-99m")
    code, out, _ = await laptop.do(*words, "--state", "closed", "--note", "patient card seen")
    assert code == 0
    assert out.startswith("o1: recorded: ")
    (command,) = laptop.commands
    assert command.get("nuclides") == "Tc-99m"
    assert laptop.pipeline.engine.assessment_state("o1")[1]
    code, _, err = await laptop.do("assess", "o1", "--state", "guessed")
    assert code == 1
    assert "there are new, verifying" in err
    assert (await laptop.do("assess", "o1"))[0] == 1


async def test_a_report_is_an_alarm_with_its_text(laptop):
    code, out, _ = await laptop.do("report", "drum at gate 3", "--dose-rate", "2 mSv/h")
    occurrence = out.removeprefix("entered: ").strip()
    assert code == 0
    record = laptop.alarm("@report", "report")
    assert (record.occurrence, record.value, record.unit) == (occurrence, 2000.0, "µSv/h")
    _, out, _ = await laptop.do("board", "--once")
    assert "drum at gate 3" in out
    assert (await laptop.do("close", occurrence, "--reason", "empty drum"))[0] == 0
    assert (await laptop.do("report", " "))[0] == 1


async def test_maintenance_hides_what_is_below_r4(laptop):
    laptop.doses(0.6)
    code, _, err = await laptop.do("maintenance", "hh-1", "on")
    assert code == 1
    assert "needs a reason" in err
    words = ("maintenance", "hh-1", "on", "--for", "2h", "--reason", "cable")
    assert await laptop.do(*words) == (0, "hh-1: recorded\n", "")
    _, out, _ = await laptop.do("board", "--once")
    assert "no alarms" in out
    assert "cable" in out
    assert "2.0 h" in out
    laptop.doses(30.0)
    assert "no alarms" not in (await laptop.do("board", "--once"))[1]
    assert (await laptop.do("maintenance", "hh-1", "off"))[0] == 0
    assert (await laptop.do("maintenance", "hh-1", "off"))[0] == 1


async def test_a_test_source_is_said_beside_the_alarm(laptop):
    words = ("test-source", "hh-1", "on", "--for", "5min", "--reason", "daily check")
    assert (await laptop.do(*words))[0] == 0
    laptop.doses(0.6)
    assert "test source announced" in (await laptop.do("board", "--once"))[1]
    assert (await laptop.do("test-source", "hh-1", "off"))[0] == 0
    assert (await laptop.do("test-source", "hh-1", "off"))[0] == 1


async def test_duty(laptop):
    words = ("duty", "hh-1", "off_duty", "--for", "12h", "--reason", "shift over")
    assert await laptop.do(*words) == (0, "hh-1: recorded\n", "")
    assert (await laptop.do("duty", "hh-1", "on_duty"))[0] == 0
    code, _, err = await laptop.do("duty", "hh-1", "battery_swap", "--for", "1h", "--reason", "r")
    assert code == 1
    assert "at most 15 min" in err


async def test_baseline_is_asked_of_the_rules(laptop):
    assert (await laptop.do("baseline", "hh-1", "withdraw"))[0] == 1
    words = ("baseline", "hh-1", "accept", "--reason", "granite")
    code, out, _ = await laptop.do(*words)
    assert (code, out) == (0, "hh-1: done: present background accepted: granite\n")
    words = ("baseline", "hh-1", "survey", "--survey-s", "60", "--for", "15d", "--reason", "r")
    code, _, err = await laptop.do(*words)
    assert code == 1
    assert "baseline" in err


async def test_commission_and_replace(laptop):
    code, out, _ = await laptop.do("commission", "hh-1", "--reason", "Cs-137, 0.6 µSv/h at 1 m")
    assert (code, out) == (0, "hh-1: recorded: source check recorded\n")
    code, out, _ = await laptop.do("replace", "hh-1", "4712", "--reason", "broken")
    assert (code, out) == (0, "hh-1: replaced: hh-1 is 4712 from now on\n")
    assert laptop.pipeline.engine.detector("hh-1").serial == "4712"
    assert (await laptop.do("replace", "hh-1", " ", "--reason", "broken"))[0] == 1


async def test_a_new_wearer(laptop):
    assert (await laptop.do("new-wearer", "hh-9", "--reason", "shift change"))[0] == 1
    await laptop.do("new-wearer", "hh-1", "--reason", "shift change")
    command = laptop.commands[-1]
    assert (command.name, command.get("detector")) == ("new_wearer", "hh-1")


async def test_stop_exercise(laptop):
    code, out, _ = await laptop.do("stop-exercise")
    assert (code, out) == (0, "exercise over: 0 alarms of the exercise closed\n")


async def test_the_board_advises_on_the_worst_that_waits(laptop):
    laptop.doses(0.6)
    laptop.doses(150.0, detector="hh-2")
    _, out, _ = await laptop.do("board", "--once", "--language", "en")
    assert "\nR5  " in out
    _, chinese, _ = await laptop.do("board", "--once", "--language", "zh")
    assert "\nR5  " in chinese
    assert chinese != out
    await laptop.do("ack", "o2")
    assert "\nR3  " in (await laptop.do("board", "--once", "--language", "en"))[1]
    code, _, err = await laptop.do("board", "--once", "--language", "tlh")
    assert code == 2
    assert "no texts in 'tlh'" in err


async def test_the_board_as_json_has_what_is_hidden_and_why(laptop):
    laptop.doses(0.6)
    await laptop.do("shelve", "hh-1", "R3", "--for", "10min", "--reason", "patient")
    laptop.at += 60
    _, out, _ = await laptop.do("board", "--json")
    (alarm,) = (each for each in json.loads(out)["alarms"] if each["alarm"] == "dose_rate")
    assert alarm["display"] == "G"
    assert alarm["hidden_for_s"] == 540
    assert "patient" in alarm["hidden"]


async def test_with_a_configuration_socket_and_texts_are_the_sites(laptop, tmp_path):
    site = tmp_path / "texts"
    site.mkdir()
    (site / "en.toml").write_text(
        '[R3]\ntitle = "Ours"\nadvice = "Call Charlie 1."\n', encoding="utf-8"
    )
    path = tmp_path / "gw.toml"
    path.write_text(
        f'[gateway]\nid = "gw"\ncontrol_socket = "{laptop.path}"\n'
        f'[guidance]\ndirectory = "{site}"\n'
    )
    laptop.doses(0.6)
    words = ["board", "-c", str(path), "--once", "--language", "en"]
    assert await asyncio.to_thread(cli.main, words) == 0
    assert "Call Charlie 1." in laptop.capsys.readouterr().out
    assert await asyncio.to_thread(cli.main, ["ack", "-c", str(path), "o1"]) == 0


def test_without_a_gateway_it_says_so(tmp_path, capsys):
    socket = str(tmp_path / "none.sock")
    for words in (["ack"], ["board"], ["shelve", "d", "R3", "--for", "1min", "--reason", "r"]):
        assert cli.main([*words, "--socket", socket]) == 1
        assert "is the gateway running" in capsys.readouterr().err
    assert cli.main(["ack", "-c", str(tmp_path / "none.toml")]) == 2
