"""``watch``: what somebody who follows gateways over MQTT sees, and what rings."""

import argparse
import asyncio
import hashlib
import json
import socket
import sys
from pathlib import Path

import aiomqtt
import pytest

from gateway.cli import main
from gateway.consumer.consumer import Consumer
from gateway.verbs import watch as verb
from gateway.watching import Source, Unseen, announce, picture, render
from simulators.broker import Broker

ALARM = {
    "kind": "alarm", "detector": "hh-1", "alarm": "dose_rate", "level": "R3", "priority": 2,
    "active": True, "acknowledged": False, "latched": False, "stale": False, "value": 1.5,
    "peak": 2.0, "unit": "µSv/h", "raised": "2026-06-13T17:00:00.000Z", "shelved": False,
    "out_of_service": False, "suppressed_by": None,
}  # fmt: skip
BEAT = {"kind": "heartbeat", "newest": {}, "time": "2026-06-13T17:01:00.000Z"}
DOSEGATE = Path(sys.executable).with_name("dosegate")
ROOT, EXERCISE = "dosegate/v1", "dosegate-exercise/v1"


def packed(gateway, **body):
    return json.dumps({"schema": "dosegate/1", "gateway": gateway, **body}).encode()


class Scene:
    """Gateways as one broker tells of them."""

    def __init__(self):
        self.now = 100.0
        self.source = Source("mqtt://site:1883", Consumer(), error="")
        self.unseen = Unseen()

    def send(self, gateway, topic, root=ROOT, **body):
        self.source.consumer.feed(
            f"{root}/{gateway}/{topic}", packed(gateway, **body), False, self.now
        )

    def up(self, gateway, number=1):
        self.send(gateway, "heartbeat", number=number, epoch=1, digest="", **BEAT)

    def alarm(self, gateway, occurrence, root=ROOT, **body):
        body = ALARM | {"occurrence": occurrence, "revision": 1} | body
        self.send(gateway, f"alarm/active/{occurrence}", root, **body)

    def shown(self):
        return picture([self.source], self.unseen, self.now)

    def text(self, **how):
        return render(self.shown(), colour=False, **how)


def test_alarms_of_all_gateways_the_worst_first_and_their_age_by_the_gateways_own_clock():
    scene = Scene()
    for name in ("north", "south"):
        scene.up(name)
    scene.alarm("north", "a")
    scene.alarm("south", "b", priority=1, level="R5")
    scene.now += 5
    lines = scene.text().splitlines()
    rows = [line.split() for line in lines if "dose_rate" in line]
    assert [row[:3] for row in rows] == [["1", "R5", "south/hh-1"], ["2", "R3", "north/hh-1"]]
    assert all("active, UNACKNOWLEDGED" in line for line in lines if "dose_rate" in line)
    assert [each["age_s"] for each in scene.shown()["alarms"]] == [65.0, 65.0]


def test_nothing_is_said_to_be_so_of_a_gateway_that_is_not_heard():
    scene = Scene()
    scene.up("north")
    scene.alarm("north", "a")
    state = {"detector": "hh-2", "state": "ok", "reasons": [], "revision": 1}
    scene.send("north", "detector/hh-2/state", **state)
    assert "hh-2" not in scene.text(), "it is well"
    scene.now += 31
    text = scene.text()
    assert "FEED SILENT for over 30 s" in text
    assert "UNKNOWN (was active, UNACKNOWLEDGED)" in text
    assert "UNKNOWN (was ok)" in text
    assert "no alarms\n" not in text
    status = {"state": "lost", "epoch": 1, "previous": {}, "revision": 3}
    scene.send("north", "status", **status)
    assert "GATEWAY LOST" in scene.text()


def test_that_there_are_no_alarms_is_said_only_of_who_is_heard():
    scene = Scene()
    assert "FEED SILENT: no gateway is heard" in scene.text()
    assert "no alarms" not in scene.text()
    scene.up("north")
    assert "no alarms" in scene.text().splitlines()
    scene.now += 31
    assert "no alarms known; nothing is known of north" in scene.text()


def test_exercise_stands_apart_and_loud():
    scene = Scene()
    scene.up("north")
    scene.alarm("north", "a", EXERCISE)
    text = scene.text()
    assert text.index("no alarms") < text.index("=== EXERCISE ===") < text.index("dose_rate")
    assert "EXERCISE" in announce(scene.shown()["alarms"])


def test_a_flood_is_cut_to_the_screen():
    scene = Scene()
    scene.up("north")
    for number in range(500):
        scene.alarm("north", f"o{number:03}")
    text = scene.text(rows=10)
    assert len([line for line in text.splitlines() if "dose_rate" in line]) == 10
    assert "and 490 more" in text
    told = announce(scene.shown()["alarms"])
    assert told.count("dose_rate") == 3
    assert told.endswith("497 more")


def test_gaps_are_shown():
    scene = Scene()
    scene.up("north")
    for seq in (1, 5):
        scene.send("north", "x", lane="alarms", epoch=1, seq=seq)
    assert "missing of north: alarms/1 2-4" in scene.text()
    assert scene.shown()["gateways"][0]["missing"] == 3


def event(occurrence, name, seq, **more):
    head = {"gateway": "north", "epoch": 1, "seq": seq, "event": name}
    return ALARM | head | {"occurrence": occurrence} | more


def test_what_came_and_went_unseen_is_listed_once_until_it_is_acknowledged():
    scene = Scene()
    scene.up("north")
    scene.alarm("north", "seen")
    for number, (name, what) in enumerate(
        (("seen", "raised"), ("a", "raised"), ("b", "raised"), ("a", "closed"), ("b", "closed")), 1
    ):
        scene.unseen.note(event(name, what, number))
    scene.unseen.note(event("c", "closed", 9))
    scene.unseen.note(event("d", "raised", 10, acknowledged=True))
    missed = [each["occurrence"] for each in scene.shown()["missed"]]
    assert missed == ["a", "b"]
    text = scene.text()
    assert text.count("acknowledge: ") == 2
    assert "now closed" in text
    scene.unseen.acknowledge("a")
    assert [each["occurrence"] for each in scene.shown()["missed"]] == ["b"]
    scene.unseen.acknowledge("all")
    assert scene.shown()["missed"] == []


def test_a_gateway_at_two_brokers_is_shown_as_the_better_one_hears_it():
    one, other = Scene(), Scene()
    one.up("north")
    other.send("north", "status", state="lost", epoch=1, previous={}, revision=9)
    for sources in ([one.source, other.source], [other.source, one.source]):
        (shown,) = picture(sources, Unseen(), 100.0)["gateways"]
        assert shown["state"] == "online"


def test_what_comes_from_outside_is_harmless_on_a_terminal():
    scene = Scene()
    scene.up("north")
    scene.alarm("north", "a", detector="\x1b[2J", alarm=["?"], value="x", raised=None, priority="1")
    scene.send("north", "detector/x/state", detector=None, state={}, reasons=3, revision=1)
    assert "\x1b" not in scene.text()


def following():
    return verb._Watch(argparse.Namespace(resend=False), [], [])


def test_it_rings_for_new_alarms_and_for_unseen_ones_once():
    scene, watch = Scene(), following()
    scene.up("north")
    scene.alarm("north", "a")
    assert verb._bell(watch, scene.shown()) == verb.BELL
    assert verb._bell(watch, scene.shown()) == ""
    assert watch.lines[-1] == "NEW: R3 north/hh-1 dose_rate"
    scene.now += 31
    assert verb._bell(watch, scene.shown()) == "", "an alarm that is unknown is no new one"
    scene.up("north", 2)
    assert verb._bell(watch, scene.shown()) == ""
    scene.unseen.note(event("z", "raised", 1))
    assert verb._bell(watch, scene.shown()) == verb.BELL
    assert verb._bell(watch, scene.shown()) == ""


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["watch"], 2),
        (["watch", "http://x"], 2),
        (["watch", "mqtt://127.0.0.1:1883", "--resend"], 2),
        (["watch", "-c", "nowhere.toml"], 2),
    ],
)
def test_bad_usage(words, code, capsys):
    assert main(words) == code
    assert capsys.readouterr().err


async def test_over_mqtt_once_as_json():
    broker = Broker()
    port = await broker.start()
    digest = hashlib.sha256(b"a:1").hexdigest()
    try:
        async with aiomqtt.Client("127.0.0.1", port) as client:
            status = packed("north", state="online", epoch=1, previous={}, revision=1)
            await client.publish(f"{ROOT}/north/status", status, qos=1, retain=True)
            alarm = packed("north", **ALARM, occurrence="a", revision=1)
            await client.publish(f"{ROOT}/north/alarm/active/a", alarm, qos=1, retain=True)
            words = (f"mqtt://127.0.0.1:{port}", "--json", "--gateway", "north")
            process = await asyncio.create_subprocess_exec(
                DOSEGATE, "watch", *words, stdout=asyncio.subprocess.PIPE
            )
            asked = asyncio.create_task(process.communicate())
            for number in range(1, 200):
                beat = packed("north", number=number, epoch=1, digest=digest, **BEAT)
                await client.publish(f"{ROOT}/north/heartbeat", beat, qos=1)
                await asyncio.wait((asked,), timeout=0.1)
                if asked.done():
                    break
            told, _ = await asked
    finally:
        await broker.stop()
    shown = json.loads(told)
    assert process.returncode == 0
    assert [each["state"] for each in shown["gateways"]] == ["online"]
    assert [(each["occurrence"], each["mark"]) for each in shown["alarms"]] == [("a", "current")]


async def test_an_unreachable_broker_is_told_in_the_gateways_words():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    parser = argparse.ArgumentParser()
    verb.add_arguments(parser)
    watch = verb._watch(parser.parse_args([f"mqtt://127.0.0.1:{port}"]))
    (feed,) = watch.feeds
    with pytest.raises(aiomqtt.MqttError) as caught:
        await verb._client(feed, clean=True).__aenter__()
    feed.source.error = verb._words(caught.value, feed)
    assert feed.source.error == f"127.0.0.1:{port} refuses connections: is the broker running?"
