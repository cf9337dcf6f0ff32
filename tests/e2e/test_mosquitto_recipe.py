"""The broker of ``config/mosquitto``: everything that it forbids is tried, with its own files."""

import socket
import ssl
import subprocess
import sys
from contextlib import suppress
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from gateway.commands import NAMES

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
NOT_AUTHORISED = 0x87
ALLOWED = (0, 0x10)
"""Success, and success with nobody subscribed."""
MARK = f"{ROOT}/north/status"
"""A topic that all may read: what was published before it has been decided when it arrives."""


def test_the_acl_is_made_by_the_script() -> None:
    lines = (recipe.RECIPE / "acl").read_text(encoding="utf-8").partition("\n\n")[2]
    made = ""
    for block in recipe.BLOCKS:
        command = [recipe.RECIPE / "grant", *block]
        made += subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "\n" + lines == made


def test_an_operator_may_give_every_command_by_its_name() -> None:
    lines = (recipe.RECIPE / "acl").read_text(encoding="utf-8").splitlines()
    prefix = f"topic write {ROOT}/+/command/ben/"
    allowed = {line.removeprefix(prefix) for line in lines if line.startswith(prefix)}
    assert allowed == set(NAMES) | {"resend", "history"}
    assert len([line for line in lines if "write" in line and "/ben/" in line]) == len(allowed)


@pytest.mark.parametrize("root", ROOTS)
def test_a_gateway_writes_its_own_topics_alone(broker: Any, root: str) -> None:
    broker.start()
    with broker.party("north") as north:
        for topic in ("status", "alarm/event", "alarm/active/a1", "detector/d/sample", "batch"):
            assert north.publish(f"{root}/north/{topic}") in ALLOWED
            assert north.publish(f"{root}/south/{topic}") == NOT_AUTHORISED
        for topic in (f"{root}/alarm/event", f"{root}/north-2/status", "north/status", "x"):
            assert north.publish(topic) == NOT_AUTHORISED
        assert north.publish(f"{root}/south/command/north/acknowledge") == NOT_AUTHORISED


def test_a_will_on_a_foreign_topic_is_not_delivered(broker: Any) -> None:
    broker.start()
    foreign = f"{ROOT}/south/status"
    with broker.party("anna") as anna:
        anna.subscribe(f"{ROOT}/+/status")
        with broker.party("north", will=(foreign, b"lost")) as north:
            north.vanish()
            with broker.party("south", will=(MARK.replace("north", "south"), b"mark")) as south:
                south.publish(f"{ROOT}/south/status", b"mark")
                anna.await_message(foreign)
        with broker.party("north", will=(MARK, b"own")) as north:
            north.vanish()
            assert anna.await_message(MARK).payload == b"own"
        told = [one.payload for one in anna.got]
        assert b"mark" in told
        assert b"lost" not in told


def test_an_operator_gives_her_own_commands(broker: Any) -> None:
    broker.start()
    with broker.party("ben") as ben, broker.party("north") as north:
        north.subscribe(f"{ROOT}/north/command/+/+")
        assert ben.publish(f"{ROOT}/north/command/ben/acknowledge") == 0
        north.await_message(f"{ROOT}/north/command/ben/acknowledge")


@pytest.mark.parametrize("root", ROOTS)
def test_an_operator_writes_nothing_else(broker: Any, root: str) -> None:
    broker.start()
    with broker.party("ben") as ben:
        for topic in (
            "north/alarm/event",
            "north/alarm/active/a1",
            "north/status",
            "north/command/anna/acknowledge",
            "north/command/ben/result",
            "ben/alarm/event",
            "ben/status",
        ):
            assert ben.publish(f"{root}/{topic}") == NOT_AUTHORISED, topic


def test_a_viewer_sends_no_command(broker: Any) -> None:
    broker.start()
    with broker.party("wall") as wall:
        for root in ROOTS:
            for user in ("wall", "anna"):
                assert wall.publish(f"{root}/north/command/{user}/acknowledge") == NOT_AUTHORISED
            assert wall.publish(f"{root}/wall/alarm/event") == NOT_AUTHORISED


def test_a_gateway_hears_its_own_commands_and_alarms_alone(broker: Any) -> None:
    broker.start()
    with (
        broker.party("north") as north,
        broker.party("south") as south,
        broker.party("anna") as anna,
    ):
        north.subscribe("#")
        own = f"{ROOT}/north/command/anna/reset"
        orphan = f"{ROOT}/north/alarm/active/a1"
        topics = {
            f"{ROOT}/south/command/anna/reset": anna,
            f"{ROOT}/south/alarm/active/a2": south,
            f"{ROOT}/south/detector/d/sample": south,
            f"{ROOT}/south/assessment/a2": south,
            own: anna,
            f"{ROOT}/north/detector/d/sample": north,
            orphan: north,
        }
        for topic, who in topics.items():
            assert who.publish(topic) in ALLOWED, topic
        north.await_message(orphan)
        assert north.topics() == [own, orphan]


@pytest.mark.parametrize(("name", "may_read"), [("anna", True), ("ben", False), ("wall", False)])
def test_assessments_are_for_those_who_may_read_them(
    broker: Any, name: str, may_read: bool
) -> None:
    broker.start()
    assessment, order = f"{ROOT}/north/assessment/a1", f"{ROOT}/north/command/anna/assess"
    with broker.party("north") as north, broker.party(name) as reader:
        reader.subscribe("#", f"{ROOT}/#", f"{ROOT}/north/assessment/a1")
        assert north.publish(assessment) in ALLOWED
        assert north.publish(order) in ALLOWED
        north.publish(MARK)
        reader.await_message(MARK)
        assert (assessment in reader.topics()) is may_read
        assert order not in reader.topics(), "it holds what the assessment holds"


def test_consumers_share_a_subscription_within_their_rights(broker: Any) -> None:
    broker.start()
    wanted = [f"{ROOT}/north/detector/d{n}/sample" for n in range(20)]
    with (
        broker.party("north") as north,
        broker.party("ben") as ben,
        broker.party("wall") as wall,
    ):
        for party in (ben, wall):
            party.subscribe(f"$share/pool/{ROOT}/+/detector/+/+")
            party.subscribe(f"$share/medical/{ROOT}/+/assessment/+", MARK)
        for topic in wanted:
            assert north.publish(topic) == 0
        north.publish(f"{ROOT}/north/assessment/a1")
        north.publish(MARK)
        for party in (ben, wall):
            party.await_message(MARK)
        shares = [[one for one in party.topics() if one != MARK] for party in (ben, wall)]
        assert sorted(shares[0] + shares[1]) == sorted(wanted)
        assert all(shares), "each has a part, and none has the order of all"


def test_nobody_takes_over_a_session_that_is_not_his(broker: Any) -> None:
    broker.start()
    with broker.party("north", client_id="mine") as north:
        with broker.party("ben", client_id="north") as ben:
            assert ben.publish(f"{ROOT}/north/command/ben/reset") in ALLOWED
            with broker.party("south", client_id="mine") as south:
                assert south.publish(f"{ROOT}/south/status") in ALLOWED
        assert north.publish(f"{ROOT}/north/status") in ALLOWED
        assert north.connects == 1
        assert not north.trouble


def handshake(port: int, certificates: Path, name: str) -> str:
    """What the broker answers to a TLS client that then waits; empty if it lets it in."""
    context = ssl.create_default_context(cafile=str(certificates / "ca.crt"))
    if name:
        context.load_cert_chain(certificates / f"{name}.crt", certificates / f"{name}.key")
    raw = socket.create_connection(("localhost", port), timeout=5)
    try:
        with context.wrap_socket(raw, server_hostname="localhost") as tls:
            tls.settimeout(0.5)
            try:
                return "closed" if tls.recv(1) == b"" else "answered"
            except TimeoutError:
                return ""
    except ssl.SSLError as error:
        return str(error.reason)


@pytest.mark.parametrize(
    ("name", "alert"),
    [
        ("north", ""),
        ("", "CERTIFICATE_REQUIRED"),
        ("foreign", "UNKNOWN_CA"),
        ("old", "CERTIFICATE_EXPIRED"),
        ("early", "BAD_CERTIFICATE"),
        (recipe.BROKER, "UNSUPPORTED_CERTIFICATE"),
    ],
)
def test_without_a_good_certificate_nobody_comes_in(
    broker: Any, certificates: Path, name: str, alert: str
) -> None:
    broker.start()
    told = handshake(broker.port, certificates, name)
    assert alert in told if alert else told == ""


def test_nothing_is_spoken_in_the_clear(broker: Any) -> None:
    broker.start()
    with socket.create_connection(("localhost", broker.port), timeout=5) as plain:
        plain.sendall(bytes.fromhex("10 11 0004 4d515454 04 02 0000 0005") + b"bench")
        with suppress(ConnectionResetError):
            assert plain.recv(4)[:1] != b"\x20", "no CONNACK"
    config = (recipe.RECIPE / "mosquitto.conf").read_text(encoding="utf-8")
    assert [line for line in config.splitlines() if line.startswith("listener")] == [
        "listener 8883"
    ]


def test_a_revoked_certificate_is_refused(broker: Any, tmp_path: Path) -> None:
    folder = tmp_path / "certificates"
    recipe.make(folder, "ca", "site")
    recipe.make(folder, "server", recipe.BROKER, "localhost")
    recipe.make(folder, "client", "north")
    recipe.make(folder, "client", "south")
    recipe.make(folder, "revoke", "south")
    broker.certificates = folder
    broker.start(f"crlfile {folder}/crl.pem")
    assert handshake(broker.port, folder, "north") == ""
    assert "REVOKED" in handshake(broker.port, folder, "south")


def test_retained_alarms_and_what_is_owed_outlive_a_kill(broker: Any) -> None:
    broker.start()
    active, event = f"{ROOT}/north/alarm/active/a1", f"{ROOT}/north/alarm/event"
    with broker.party("north") as north:
        with broker.party("wall", session_s=3600) as wall:
            wall.subscribe(f"{ROOT}/+/alarm/#")
        assert north.publish(active, b"1", retain=True) in ALLOWED
        assert north.publish(event, b"2") in ALLOWED
        broker.await_saved(recipe.SAVED_S)
    broker.kill()
    broker.start()
    with broker.party("ben") as ben:
        ben.subscribe(f"{ROOT}/+/alarm/#")
        got = ben.await_message(active)
        assert (got.payload, got.retained) == (b"1", True)
    with broker.party("wall", session_s=3600) as wall:
        assert wall.await_message(event).payload == b"2", "its session has come back, too"


@pytest.mark.parametrize("arguments", [(), ("ca",), ("gateway", "no/slash"), ("boss", "anna")])
def test_scripts_refuse_what_they_do_not_know(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    for script in (["grant"], ["make-certificates", str(tmp_path)]):
        command = [recipe.RECIPE / script[0], *script[1:], *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr
