"""A gateway at the broker of ``config/mosquitto``: what it tells, takes and refuses."""

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from config.loader import load
from config.models import Configuration, Gateway, Sink, Tls, User
from config.write import to_toml

_SPEC = spec_from_file_location("e2e_recipe", Path(__file__).with_name("recipe.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
recipe: Any = module_from_spec(_SPEC)
sys.modules["e2e_recipe"] = recipe
_SPEC.loader.exec_module(recipe)
certificates, broker = recipe.certificates, recipe.broker

pytestmark = pytest.mark.mosquitto

ROOTS = ("dosegate/v1", "dosegate-exercise/v1")
ROOT = ROOTS[0]
STATUS = f"{ROOT}/north/status"


def own_sink(broker: Any, name: str) -> Sink:
    """The sink of a gateway at this broker."""
    folder = broker.certificates
    files = Tls(
        ca_file=str(folder / "ca.crt"),
        cert_file=str(folder / f"{name}.crt"),
        key_file=str(folder / f"{name}.key"),
    )
    return Sink(id="site", brokers=(broker.url,), tls=files)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Makes a gateway without detectors."""
    made = []

    def create(sink: Sink, users: tuple[User, ...] = ()) -> Any:
        config = tmp_path / "gateway.toml"
        configuration = Configuration(
            gateway=Gateway(
                id="north",
                state_dir=str(tmp_path / "state"),
                control_socket=str(tmp_path / "control.sock"),
            ),
            sink=(sink,),
            user=users,
        )
        config.write_text(to_toml(configuration), encoding="utf-8")
        made.append(recipe.BENCH.Daemon(config))
        return made[-1]

    yield create
    for daemon in made:
        daemon.kill()


def connected(daemon: Any) -> list[Any]:
    """When the gateway says that it reached the broker."""
    return [line for line in daemon.run.log() if line["event"] == "broker_connected"]


def refusals(daemon: Any) -> list[str]:
    """Why it did not, as it logs it."""
    return [line["error"] for line in daemon.run.log() if line["event"] == "broker_unreachable"]


async def test_a_gateway_connects_publishes_and_is_lost(
    broker: Any, gateway: Callable[..., Any]
) -> None:
    broker.start()
    daemon = gateway(own_sink(broker, "north"))
    with broker.party("anna") as anna:
        await recipe.in_thread(anna.subscribe, f"{ROOT}/#")
        await daemon.start()
        status = await recipe.in_thread(anna.await_message, STATUS)
        assert json.loads(status.payload)["state"] == "online"
        await recipe.until(lambda: owed(daemon) == 0, "all is acknowledged")
        daemon.kill()
        await recipe.until(lambda: states(anna)[-1] == "lost", "the will arrives")


def owed(daemon: Any) -> int:
    """What the broker has not acknowledged, as the board says; -1 without a board."""
    sinks = daemon.board().get("sinks")
    return int(sinks["site"]["owed"]) if sinks else -1


def states(party: Any) -> list[str]:
    """The states of the gateway that were told."""
    return [json.loads(one.payload)["state"] for one in party.got if one.topic == STATUS]


async def test_alarms_arrive_over_tls_and_back_after_a_kill(
    broker: Any, staged: Any, tmp_path: Path
) -> None:
    async with staged("five.toml", with_broker=False) as it:
        config = tmp_path / "gateway.toml"
        loaded = load(config)
        own = loaded.gateway.model_copy(update={"id": "north"})
        changed = {"gateway": own, "sink": (own_sink(broker, "north"),)}
        config.write_text(to_toml(loaded.model_copy(update=changed)), encoding="utf-8")
        broker.start()
        with broker.party("anna", session_s=3600) as anna:
            await recipe.in_thread(anna.subscribe, *(f"{root}/+/alarm/#" for root in ROOTS))
            await it.daemon.start()
            await it.happen("reading", detector="hh-1", dose_rate="5 µSv/h")
            topic = await recipe.until(lambda: active(anna), "an active alarm arrives")
            await recipe.in_thread(broker.await_saved, recipe.SAVED_S)
            it.daemon.kill()
            broker.kill()
        broker.start()
        with broker.party("ben") as ben:
            await recipe.in_thread(ben.subscribe, topic)
            kept = await recipe.in_thread(ben.await_message, topic)
            assert kept.retained, "with the gateway gone the broker alone still has it"
            assert json.loads(kept.payload)["detector"] == "hh-1"


def active(party: Any) -> str:
    """The topic of an alarm of hh-1; empty before there is one."""
    for one in tuple(party.got):
        is_alarm = "/alarm/active/" in one.topic and one.payload
        if is_alarm and json.loads(one.payload)["detector"] == "hh-1":
            return str(one.topic)
    return ""


@pytest.mark.parametrize(
    ("server", "words"),
    [
        ("server-old", "expired"),
        ("server-early", "not valid before|not yet valid"),
        ("elsewhere", "not made out to|Hostname mismatch"),
        ("stranger", "signed by|unknown CA|self-signed|issuer"),
        ("north", "purpose|not a server's"),
    ],
)
async def test_a_gateway_refuses_a_broker_that_it_cannot_verify(
    broker: Any, gateway: Callable[..., Any], server: str, words: str
) -> None:
    broker.start(server=server)
    daemon = gateway(own_sink(broker, "north"))
    await daemon.start()
    (told, *_) = await recipe.until(lambda: refusals(daemon), "it says why")
    assert re.search(words, told), told
    assert sum(bool(re.search(each, told)) for each in OF_ONE_REASON) <= 1, told
    tried = broker.log().count("OpenSSL Error")
    await recipe.until(lambda: broker.log().count("OpenSSL Error") > tried, "it tries again")
    assert not connected(daemon)
    assert "New client connected" not in broker.log()


OF_ONE_REASON = ("expired", "before|not yet", "made out|Hostname", "signed|unknown|issuer")
"""No text is that of two reasons."""


@pytest.mark.parametrize(
    ("name", "words"), [("old", "expired"), ("foreign", "(?i)unknown.ca|does not know")]
)
async def test_a_gateway_says_that_its_own_certificate_is_refused(
    broker: Any, gateway: Callable[..., Any], name: str, words: str
) -> None:
    broker.start()
    daemon = gateway(own_sink(broker, name))
    await daemon.start()
    # The broker's alert follows the handshake, and a try may find the connection closed before it.
    await recipe.until(
        lambda: [told for told in refusals(daemon) if re.search(words, told)], "it says why", 40
    )
    assert not connected(daemon)


async def test_a_left_over_alarm_is_told(broker: Any, gateway: Callable[..., Any]) -> None:
    broker.start()
    left_over = f"{ROOT}/north/alarm/active/0123456789abcdef"
    with broker.party("north") as before:
        assert before.publish(left_over, b'{"occurrence":"0123456789abcdef"}', retain=True) == 0x10
    with broker.party("anna") as anna:
        await recipe.in_thread(anna.subscribe, f"{ROOT}/+/alarm/#")
        await gateway(own_sink(broker, "north")).start()
        await recipe.until(lambda: technical(anna, "orphans"), "an alarm says that it is left over")
        (got,) = [one for one in anna.got if one.topic == left_over]
        assert got.payload, "it stays"


def technical(party: Any, name: str) -> list[Any]:
    """Alarm events of the gateway's own conditions."""
    bodies = [json.loads(one.payload) for one in tuple(party.got) if one.topic.endswith("/event")]
    return [body for body in bodies if body["alarm"] == name]


async def test_an_operator_acknowledges_through_the_broker(
    broker: Any, gateway: Callable[..., Any]
) -> None:
    broker.start()
    users = (User(id="anna", roles=("operator",)), User(id="ben", roles=("viewer",)))
    daemon = gateway(own_sink(broker, "north").model_copy(update={"commands": True}), users)
    with broker.party("anna") as anna, broker.party("ben") as ben:
        for party in (anna, ben):
            topics = (f"{ROOT}/north/heartbeat", f"{ROOT}/north/command/+/result")
            await recipe.in_thread(party.subscribe, *topics)
        await daemon.start()
        beat = json.loads((await recipe.in_thread(anna.await_message, topics[0])).payload)
        for party in (anna, ben):
            await recipe.in_thread(party.publish, *report(party.name, beat))
            answer = await recipe.in_thread(
                party.await_message, f"{ROOT}/north/command/{party.name}/result"
            )
            accepted = json.loads(answer.payload)["accepted"]
            assert accepted is (party is anna), answer.payload


def report(user: str, beat: Mapping[str, Any]) -> tuple[str, bytes]:
    """A command, and where it is given."""
    body = {
        "id": f"{user}-1",
        "epoch": beat["epoch"],
        "heartbeat": beat["number"],
        "arguments": {"text": "gate A is blocked"},
    }
    return f"{ROOT}/north/command/{user}/report", json.dumps(body).encode()
