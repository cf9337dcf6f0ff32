"""What may be asked of a drill on the control socket, by whom, and what the verb makes of it."""

import json

import pytest

from config.models import User
from gateway.cli import main
from gateway.commands import BadCommand
from gateway.control import ControlUnavailable
from gateway.drill.score import Sheet
from gateway.drill.service import DrillService
from gateway.drill.values import BadDrill
from gateway.verbs import drill as verb

USERS = (User(id="lena", roles=("exercise_leader",)), User(id="otto", roles=("operator",)))


class Ghost:
    name, what, where, from_s, to_s = "parcel", "Cs-137 1 GBq", "at 1, 2 m", 12.34, None


class Drills:
    """A drill as a service sees it."""

    def __init__(self):
        self.sheet, self.is_on, self.asked, self.failed = None, False, [], ""

    async def start(self, text, user):
        if text == "bad":
            raise BadDrill("drill.toml:1: no\n    hint")
        self.sheet = Sheet("spring", "", user, 1.78e9, ("a",))
        self.is_on = True

    async def inject(self, wanted, user):
        self.asked.append((wanted, user))
        return Ghost

    async def remove(self, name, user):
        self.asked.append((name, user))

    def since_s(self):
        return 5.0

    def present(self):
        return [Ghost]

    def active(self):
        return []


class Asked:
    def __init__(self, users=USERS):
        self.drills, self.answers = Drills(), []
        self.service = DrillService(self.drills, self.settle, lambda: "id-1", users)

    async def settle(self, answer):
        self.answers.append((answer.command.name, answer.command.arguments, answer.accepted))

    async def __call__(self, what, user="lena", **more):
        return await self.service.answer({"ask": "drill", "what": what, **more}, user)


async def test_a_leader_starts_injects_removes_and_looks():
    ask = Asked()
    assert (await ask("start", scenario="text"))["drill"] == "spring"
    told = await ask("inject", nuclide="Cs-137", activity="1 GBq", x=1, y=2)
    assert told["ghost"]["name"] == "parcel"
    assert ask.drills.asked == [
        ({"nuclide": "Cs-137", "activity": "1 GBq", "x": 1, "y": 2}, "lena")
    ]
    await ask("remove", name="parcel")
    assert (await ask("status"))["ghosts"][0]["what"] == "Cs-137 1 GBq"
    assert (await ask("score"))["score"]["drill"] == "spring"
    assert ask.answers == [("drill_start", (), True)], "what is injected is told to nobody"


@pytest.mark.parametrize("what", ["start", "inject", "remove", "score"])
async def test_others_may_not_and_a_refusal_is_journalled(what):
    ask = Asked()
    await ask("start", scenario="text")
    with pytest.raises(BadCommand, match="it takes exercise_leader or assessor"):
        await ask(what, "otto", scenario="text")
    assert ask.answers[1:] == ([] if what == "score" else [(f"drill_{what}", (), False)])


async def test_others_see_that_a_drill_is_on_and_no_more():
    ask = Asked()
    await ask("start", scenario="text")
    assert await ask("status", "otto") == {"ok": True, "drill": "spring", "since_s": 5.0}


async def test_without_users_everybody_leads():
    ask = Asked(())
    assert (await ask("start", "somebody", scenario="text"))["ok"]


@pytest.mark.parametrize(
    ("what", "more", "why"),
    [
        ("fly", {}, "of a drill one asks start, inject"),
        ("start", {}, "the text of a scenario"),
        ("start", {"scenario": "bad"}, "drill.toml:1: no"),
        ("inject", {"colour": "red"}, "'colour' is nothing that a ghost has"),
        ("score", {}, "there was no drill yet"),
    ],
)
async def test_what_is_refused_says_why(what, more, why):
    ask = Asked()
    with pytest.raises(BadCommand, match=why):
        await ask(what, **more)


class Client:
    def __init__(self, answer):
        self.answer, self.asked = answer, []

    def ask(self, request):
        self.asked.append(request)
        if self.answer is None:
            raise ControlUnavailable("nobody there")
        return self.answer


@pytest.fixture
def client(monkeypatch):
    def give(answer):
        client = Client(answer)
        monkeypatch.setattr(verb, "client_of", lambda arguments, timeout_s: client)
        return client

    return give


GHOST = {"name": "g", "what": "Cs-137 1 GBq", "where": "at a, 1 m", "from_s": 3.0, "to_s": 63.0}


def test_the_verb_asks_for_a_ghost_and_says_what_there_is(client, capsys):
    found = client({"ok": True, "ghost": GHOST})
    words = ["drill", "inject", "--source", "Cs-137", "--activity", "1 GBq", "--detector", "a"]
    assert main([*words, "--for", "1min", "--as", "g"]) == 0
    assert found.asked == [
        {
            "ask": "drill",
            "what": "inject",
            "nuclide": "Cs-137",
            "activity": "1 GBq",
            "detector": "a",
            "for_s": 60.0,
            "name": "g",
        }
    ]
    assert capsys.readouterr().out == "g: Cs-137 1 GBq at a, 1 m, from 3 s to 63 s\n"


def test_a_place_may_have_negative_coordinates(client):
    found = client({"ok": True, "ghost": GHOST})
    assert main(["drill", "inject", "--source", "Cs-137", "--at", "-5,2.5"]) == 0
    assert (found.asked[0]["x"], found.asked[0]["y"]) == (-5.0, 2.5)


def test_stop_is_the_command_that_stops_exercises(client, capsys):
    found = client({"ok": True, "reason": "drill spring over"})
    assert main(["drill", "stop"]) == 0
    assert found.asked == [{"ask": "command", "name": "stop_exercise", "arguments": {}}]
    assert capsys.readouterr().out == "drill spring over\n"


def test_a_scenario_with_a_fault_is_not_sent(client, tmp_path, capsys):
    found = client({"ok": True})
    path = tmp_path / "drill.toml"
    path.write_text('[scenario]\nname = "A"\nduration_s = 1\n')
    assert main(["drill", "start", str(path)]) == 2
    assert "drill.toml:2" in capsys.readouterr().err
    path.write_text('[scenario]\nname = "a"\nduration_s = 1\n' + "# long\n" * 3000)
    assert main(["drill", "start", str(path)]) == 2
    assert "at most 16384 bytes" in capsys.readouterr().err
    assert not found.asked


def test_a_refusal_and_a_missing_daemon_are_faults(client, capsys):
    client({"ok": False, "reason": "no drill is on\x1b[2J"})
    assert main(["drill", "remove", "g"]) == 1
    assert capsys.readouterr().err == "remove refused: no drill is on?[2J\n"
    client(None)
    assert main(["drill", "status"]) == 1
    assert capsys.readouterr().err == "nobody there\n"


@pytest.mark.parametrize(
    "words",
    [["inject", "--source", "Cs-137"], ["inject", "--at", "5"], ["inject", "--at", "1,2,3"]],
)
def test_bad_words_are_bad_usage(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["drill", *words])
    assert ended.value.code == 2
    assert capsys.readouterr().err


def test_json(client, capsys):
    client({"ok": True, "score": {"drill": "spring"}})
    assert main(["drill", "score", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"drill": "spring"}
    client({"ok": True, "drill": None, "since_s": None})
    assert main(["drill", "status"]) == 0
    assert capsys.readouterr().out == "no drill is on\n"


async def test_everybody_sees_that_a_drill_failed():
    ask = Asked()
    none = {"ok": True, "drill": None, "since_s": None}
    assert await ask("status", "otto") == none
    ask.drills.failed = "spring failed at 14:03:10 UTC: KeyError: 'Cs-137'"
    assert (
        await ask("status", "otto") == await ask("status") == none | {"failed": ask.drills.failed}
    )


def test_the_verb_says_that_a_drill_failed(client, capsys):
    client({"ok": True, "drill": None, "since_s": None, "failed": "spring failed at noon"})
    assert main(["drill", "status"]) == 0
    assert capsys.readouterr().out == "no drill is on; spring failed at noon\n"
