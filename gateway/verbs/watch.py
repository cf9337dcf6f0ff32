"""``watch``: gateways, alarms and gaps as they come over MQTT, any number of gateways."""

import argparse
import asyncio
import json
import os
import secrets
import shutil
import signal
import sys
import time
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import aiomqtt
import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from config.models import Sink, Tls
from gateway import board
from gateway.consumer.consumer import Consumer
from gateway.consumer.values import Kind
from gateway.mqtt import parse_broker
from gateway.publisher.certificate import load_credentials
from gateway.publisher.trouble import words
from gateway.screen import Size, fitted
from gateway.verbs.board import BELL, CLEAR, REFRESH_S, is_new
from gateway.verbs.terminal import Exit, complain, load_or_complain, say
from gateway.watching import Shown, Source, Unseen, announce, picture, render, tell
from gateway.wire.table import dump

RECONNECT_S: Final = 2.0
SESSION_S: Final = 3600
"""So long a broker keeps what comes while this watch is cut off from it: own choice."""
FIRST_LOOK_S: Final = 12.0
"""A heartbeat comes every 10 s."""
ANSWER_S: Final = 5.0
LOG_LINES: Final = 5
SCREEN_REST: Final = 16
"""Own choice: lines of a screen that are kept for everything but alarms."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument("broker", nargs="*", help="mqtt://HOST:PORT or mqtts://HOST:PORT")
    parser.add_argument("-c", "--config", type=Path, help="the brokers of its sinks")
    parser.add_argument(
        "--gateway", action="append", metavar="ID", help="this one only; repeatable"
    )
    parser.add_argument("--root", help="first levels of the topics of live data")
    parser.add_argument("--exercise-root", metavar="ROOT", help="those of simulated data")
    parser.add_argument("--once", action="store_true", help="print it once")
    parser.add_argument("--json", action="store_true", help="print it once, as JSON")
    parser.add_argument("--user", help="user name at the brokers, also of what is asked for")
    parser.add_argument("--resend", action="store_true", help="ask gateways for what is missing")
    parser.add_argument("--password-file", metavar="FILE")
    parser.add_argument("--ca-file", metavar="FILE")
    parser.add_argument("--cert-file", metavar="FILE")
    parser.add_argument("--key-file", metavar="FILE")


@dataclass(slots=True)
class _Watch:
    """What is followed, and what happened last."""

    arguments: argparse.Namespace
    filters: list[tuple[str, int]]
    feeds: list["_Feed"]
    unseen: Unseen = field(default_factory=Unseen)
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=LOG_LINES))
    sounded: set[str] = field(default_factory=set)
    known: set[tuple[str, str]] = field(default_factory=set)

    def tell(self, lines: Iterable[str]) -> None:
        """Shown below the board, the same only once."""
        self.lines.extend(line for line in lines if line and line not in self.lines)

    def look(self) -> Shown:
        """Everything as it is now."""
        return picture([feed.source for feed in self.feeds], self.unseen, time.monotonic())


@dataclass(slots=True)
class _Feed:
    """One broker of one sink."""

    source: Source
    sink: Sink
    root: str
    identifier: str
    client: aiomqtt.Client | None = None


def run(arguments: argparse.Namespace) -> Exit:
    """Shows what comes until interrupted, or once."""
    if arguments.resend and not arguments.user:
        complain("--resend gives orders: say in whose name with --user")
        return Exit.USAGE
    try:
        watch = _watch(arguments)
    except ValueError as error:
        complain(str(error))
        return Exit.USAGE
    if watch is None:
        return Exit.USAGE
    with suppress(KeyboardInterrupt):
        return asyncio.run(_run(watch))
    return Exit.WELL


def _watch(arguments: argparse.Namespace) -> _Watch | None:
    root, exercise = arguments.root, arguments.exercise_root
    sinks: list[Sink] = []
    if arguments.config is not None:
        configuration = load_or_complain(arguments.config)
        if configuration is None:
            return None
        root = root or configuration.gateway.root
        exercise = exercise or configuration.gateway.exercise_root
        sinks += configuration.sink
    if arguments.broker:
        sinks.append(_sink(arguments))
    if not any(sink.brokers for sink in sinks):
        raise ValueError("name a broker, such as mqtt://127.0.0.1:1883, or a configuration with -c")
    roots = (root or "dosegate/v1", exercise or "dosegate-exercise/v1")
    filters = [
        (f"{each}/{gateway}/#", 1) for each in roots for gateway in arguments.gateway or ("+",)
    ]
    feeds = [
        _Feed(
            Source(url, Consumer(*roots)), sink, roots[0], f"dosegate-watch-{secrets.token_hex(6)}"
        )
        for sink in sinks
        for url in sink.brokers
        if parse_broker(url)
    ]
    return _Watch(arguments, filters, feeds)


def _sink(arguments: argparse.Namespace) -> Sink:
    tls = Tls(ca_file=arguments.ca_file, cert_file=arguments.cert_file, key_file=arguments.key_file)
    return Sink(
        id="watch",
        brokers=tuple(arguments.broker),
        username=arguments.user,
        password_file=arguments.password_file,
        tls=tls,
    )


async def _run(watch: _Watch) -> Exit:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    is_once = watch.arguments.once or watch.arguments.json or not sys.stdout.isatty()
    reads = not is_once and sys.stdin.isatty()
    if reads:
        loop.add_reader(sys.stdin, _acknowledge, watch)
    following = [
        loop.create_task(_follow(watch, feed), name=feed.source.broker) for feed in watch.feeds
    ]
    try:
        return await (_show_once(watch, stop) if is_once else _show(watch, stop))
    finally:
        if reads:
            loop.remove_reader(sys.stdin)
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)


def _acknowledge(watch: _Watch) -> None:
    watch.unseen.acknowledge(sys.stdin.readline().strip())


async def _follow(watch: _Watch, feed: _Feed) -> None:
    """Connects, listens and connects again; the broker keeps the session while it is cut off."""
    is_first = True
    while True:
        try:
            async with _client(feed, clean=is_first) as client:
                is_first = False
                feed.client = client
                await _subscribe(watch, feed)
                feed.source.error = ""
                async for message in client.messages:
                    _take(watch, feed, message)
        except (aiomqtt.MqttError, OSError) as error:
            feed.source.error = _words(error, feed)
        finally:
            feed.client = None
        await asyncio.sleep(RECONNECT_S)


def _words(error: aiomqtt.MqttError | OSError, feed: _Feed) -> str:
    """As the gateway says it; aiomqtt keeps the socket's own error behind its text."""
    inner = error.__context__
    trouble = inner if isinstance(inner, OSError) else error
    return words(trouble, parse_broker(feed.source.broker), datetime.now(UTC))


def _client(feed: _Feed, *, clean: bool) -> aiomqtt.Client:
    broker = parse_broker(feed.source.broker)
    credentials = load_credentials(feed.sink, tls=broker.tls)
    is_5 = feed.sink.protocol == "5"
    kept = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    kept.SessionExpiryInterval = SESSION_S
    return aiomqtt.Client(
        broker.host,
        broker.port,
        username=feed.sink.username,
        password=credentials.password,
        identifier=feed.identifier,
        protocol=aiomqtt.ProtocolVersion.V5 if is_5 else aiomqtt.ProtocolVersion.V311,
        clean_session=None if is_5 else clean,
        clean_start=clean if is_5 else paho.MQTT_CLEAN_START_FIRST_ONLY,
        properties=kept if is_5 else None,
        tls_context=credentials.context,
        timeout=ANSWER_S,
        keepalive=feed.sink.keepalive_s,
    )


async def _subscribe(watch: _Watch, feed: _Feed) -> None:
    """Retained documents come anew with each subscription."""
    if feed.client is not None:
        feed.source.consumer.connected()
        await feed.client.subscribe(watch.filters, timeout=ANSWER_S)


def _take(watch: _Watch, feed: _Feed, message: aiomqtt.Message) -> None:
    payload = message.payload if isinstance(message.payload, bytes) else b""
    consumer = feed.source.consumer
    topic = message.topic.value
    findings = consumer.feed(topic, payload, message.retain, time.monotonic())
    watch.tell(map(tell, findings))
    known = {Kind.DUPLICATE, Kind.MALFORMED}
    if topic.endswith("/alarm/event") and not known.intersection(each.kind for each in findings):
        watch.unseen.note(json.loads(payload))


async def _tick(watch: _Watch) -> None:
    now = time.monotonic()
    for feed in watch.feeds:
        findings = feed.source.consumer.tick(now)
        watch.tell(map(tell, findings))
        with suppress(aiomqtt.MqttError):
            if any(each.kind is Kind.RESUBSCRIBE for each in findings):
                await _subscribe(watch, feed)
            if watch.arguments.resend and feed.client is not None:
                await _ask(watch, feed, feed.client, now)


async def _ask(watch: _Watch, feed: _Feed, client: aiomqtt.Client, now: float) -> None:
    """The command names what was last heard of its gateway: an order to a past one is refused."""
    for wanted in feed.source.consumer.requests(now):
        gateway = feed.source.consumer.gateways[wanted.gateway]
        order = {
            "id": secrets.token_hex(8),
            "epoch": gateway.epoch,
            "heartbeat": gateway.beat,
            "arguments": {
                "lane": wanted.lane,
                "epoch": wanted.epoch,
                "first": wanted.first,
                "last": wanted.last,
            },
        }
        topic = f"{feed.root}/{wanted.gateway}/command/{watch.arguments.user}/resend"
        await client.publish(topic, dump(order), qos=1, timeout=ANSWER_S)
        where = f"{wanted.lane}/{wanted.epoch} {wanted.first}-{wanted.last}"
        watch.tell([f"{wanted.gateway}: {where} asked for"])


async def _show(watch: _Watch, stop: asyncio.Event) -> Exit:
    colour = "NO_COLOR" not in os.environ
    while not stop.is_set():
        await _tick(watch)
        shown = watch.look()
        size = Size(*shutil.get_terminal_size())
        rows = size.lines - SCREEN_REST
        bell = _bell(watch, shown)
        parts = [render(shown, colour=colour, rows=rows), "\n".join(watch.lines)]
        lines = "\n\n".join(filter(None, parts)).split("\n")
        say(CLEAR + bell + "\n".join(fitted(lines, Size(size.columns, size.lines - 1))))
        with suppress(TimeoutError):
            async with asyncio.timeout(REFRESH_S):
                await stop.wait()
    return Exit.WELL


def _bell(watch: _Watch, shown: Shown) -> str:
    """Rings by the rules of the board, and for alarms that came and went unseen."""
    waiting = board.waiting(shown)
    keys = {(str(each["gateway"]), str(each["occurrence"])) for each in waiting}
    new = [each for each in waiting if (each["gateway"], each["occurrence"]) not in watch.known]
    missed = {(str(each["gateway"]), str(each["occurrence"])) for each in shown["missed"]}
    rings = is_new(shown, watch.sounded) or not missed <= watch.known
    watch.known = keys | missed
    watch.tell([announce(new)])
    return BELL if rings else ""


async def _show_once(watch: _Watch, stop: asyncio.Event) -> Exit:
    """Waits until every gateway was heard, a little over the time between two heartbeats."""
    deadline = time.monotonic() + FIRST_LOOK_S
    while time.monotonic() < deadline and not stop.is_set():
        await _tick(watch)
        states = [each["state"] for each in watch.look()["gateways"]]
        if states and "unknown" not in states and not _unreached(watch.feeds):
            break
        await asyncio.sleep(0.1)
    shown = watch.look()
    say(dump(shown).decode() if watch.arguments.json else render(shown, colour=False))
    states = [each["state"] for each in shown["gateways"]]
    is_well = states and all(state == "online" for state in states)
    return Exit.WELL if is_well and not _unreached(watch.feeds) else Exit.FAULT


def _unreached(feeds: Sequence[_Feed]) -> bool:
    return any(feed.source.error for feed in feeds)
