"""``demo``: simulated instruments, gateway and broker on this machine, and what they tell."""

import argparse
import asyncio
import json
import signal
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Final

import aiomqtt

from config.scenario import Scenario, load_scenario
from gateway import logs
from gateway.app import Gateway
from gateway.board import alarm_state
from gateway.verbs.stage import Stage, on_stage
from gateway.verbs.terminal import Exit, complain, say
from simulators.stage_broker import CannotListen, StageBroker

STATUS_S: Final = 5.0
SUBSCRIBE_S: Final = 5.0
LAST_MESSAGES_S: Final = 3.0
SHOWN_EVENTS: Final = ("raised", "escalated", "returned", "latched", "acknowledged", "closed")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument("--seconds", type=float, help="end after so many seconds with a summary")
    parser.add_argument("--no-source", action="store_true", help="the same event, no source")
    parser.add_argument("--port", type=int, default=0, help="port of the broker; 0: any free one")


def run(arguments: argparse.Namespace) -> Exit:
    """Plays the example event until interrupted."""
    logs.set_up("warning", as_json=False)
    scenario = _event(with_source=not arguments.no_source)
    with tempfile.TemporaryDirectory(prefix="dosegate-demo-") as directory:
        try:
            return asyncio.run(_demo(scenario, directory, arguments))
        except CannotListen as error:
            complain(str(error))
            return Exit.USAGE


def _event(*, with_source: bool) -> Scenario:
    path = Path(str(files("config") / "examples" / "scenarios" / "event.toml"))
    scenario = load_scenario(path)
    return scenario if with_source else scenario.model_copy(update={"source": ()})


async def _demo(scenario: Scenario, directory: str, arguments: argparse.Namespace) -> Exit:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with (
        StageBroker(arguments.port) as broker,
        on_stage(scenario, Path(directory), (), broker=broker) as stage,
    ):
        _welcome(scenario, stage, broker.port)
        return await _watch(stage, broker.port, stop, arguments.seconds)


def _welcome(scenario: Scenario, stage: Stage, port: int) -> None:
    gateway = stage.configuration.gateway
    say(f"dosegate demo: {scenario.scenario.title or scenario.scenario.name}")
    for detector in stage.configuration.detector:
        link = detector.link.model_dump(exclude_none=True, exclude_defaults=True)
        where = " ".join(str(value) for value in link.values())
        say(f"  {detector.id:10} {detector.driver:24} {where}")
    say("everything here is simulated, so it is published below the exercise root. To follow it:")
    say(f"  mosquitto_sub -h 127.0.0.1 -p {port} -v -t '{gateway.exercise_root}/#'")
    say("the board of this laptop, with no broker:")
    say(f"  dosegate board --socket {gateway.control_socket}")
    say("")


@dataclass(slots=True)
class _Feed:
    """What came over MQTT."""

    samples: Counter[str] = field(default_factory=Counter)
    passages: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    newest: dict[str, str] = field(default_factory=dict)
    numbers: dict[tuple[str, int], int] = field(default_factory=dict)
    missing: int = 0
    active: set[str] = field(default_factory=set)

    def take(self, topic: str, payload: bytes) -> str | None:
        """One message; a line to show, if it is worth one."""
        if "/alarm/active/" in topic:
            (self.active.add if payload else self.active.discard)(topic.rpartition("/")[2])
        if not payload:
            return None
        message = json.loads(payload)
        self._count_gaps(message)
        match message["kind"]:
            case "sample":
                self.samples[message["detector"]] += 1
                self.newest[message["detector"]] = _newest(message)
            case "passage":
                self.passages[message["detector"]] += 1
                return _passage_line(message)
            case "alarm_event":
                self.events[message["event"]] += 1
                return _event_line(message) if message["event"] in SHOWN_EVENTS else None
        return None

    def _count_gaps(self, message: dict[str, object]) -> None:
        if "seq" not in message:
            return
        key, seq = (str(message["lane"]), int(str(message["epoch"]))), int(str(message["seq"]))
        self.missing += max(0, seq - self.numbers.get(key, 0) - 1)
        self.numbers[key] = max(seq, self.numbers.get(key, 0))


async def _watch(stage: Stage, port: int, stop: asyncio.Event, seconds: float | None) -> Exit:
    feed = _Feed()
    gateway = Gateway(stage.configuration)
    roots = (stage.configuration.gateway.root, stage.configuration.gateway.exercise_root)
    async with aiomqtt.Client("127.0.0.1", port, identifier="dosegate-demo-viewer") as client:
        for root in roots:
            await client.subscribe(f"{root}/#", qos=1, timeout=SUBSCRIBE_S)
        running = asyncio.create_task(gateway.run(), name="gateway")
        viewing = asyncio.create_task(_view(client, feed), name="viewer")
        telling = asyncio.create_task(_tell(feed), name="status")
        ending = asyncio.create_task(stop.wait(), name="interrupt")
        await asyncio.wait(
            (running, viewing, ending), timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )
        telling.cancel()
        gateway.stop()
        await asyncio.wait((running,), timeout=LAST_MESSAGES_S * 2)
        for task in (running, viewing, ending, telling):
            task.cancel()
        results = await asyncio.gather(running, viewing, ending, telling, return_exceptions=True)
    return _sum_up(stage, feed, results[0])


async def _view(client: aiomqtt.Client, feed: _Feed) -> None:
    async for message in client.messages:
        payload = message.payload
        line = feed.take(message.topic.value, payload if isinstance(payload, bytes) else b"")
        if line is not None:
            say(line)


async def _tell(feed: _Feed) -> None:
    while True:
        await asyncio.sleep(STATUS_S)
        shown = "   ".join(f"{detector} {text}" for detector, text in sorted(feed.newest.items()))
        say(f"         {shown or 'no readings yet'}")


def _sum_up(stage: Stage, feed: _Feed, result: object) -> Exit:
    say("")
    say("arrived over MQTT:")
    for detector in stage.configuration.detector:
        passages = feed.passages[detector.id]
        more = f", {passages} passages" if passages else ""
        say(f"  {detector.id:10} {feed.samples[detector.id]:5} samples{more}")
    told = ", ".join(f"{count} {event}" for event, count in feed.events.items()) or "none"
    say(f"  alarm events: {told}; alarms still open: {len(feed.active)}")
    say(f"  numbers missing: {feed.missing}")
    if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
        complain(f"the gateway ended with {result!r}")
        return Exit.FAULT
    return Exit.FAULT if feed.missing else Exit.WELL


def _newest(sample: dict[str, object]) -> str:
    readings = sample["readings"]
    rates = (
        [each for each in readings if each["channel"] == "dose_rate"]
        if isinstance(readings, list)
        else []
    )
    if rates:
        value = rates[-1]["value"]  # the longest counting time comes last
        return "no number" if value is None else f"{value:.2f} {rates[-1]['unit']}"
    return (
        "occupied" if sample["occupied"] else "vacant" if sample["occupied"] is False else "heard"
    )


def _passage_line(passage: dict[str, object]) -> str:
    alarms = [name for name in ("gamma", "neutron") if passage[f"{name}_alarm"]]
    verdict = " and ".join(alarms) + " ALARM" if alarms else "no alarm"
    return (
        f"{_clock(passage['end'])} {passage['detector']}: passage {passage['number']}, "
        f"{verdict}, gamma max {passage['gamma_max']} ({passage['gamma_max_basis']})"
    )


def _event_line(event: dict[str, object]) -> str:
    value = event["value"]
    shown = f" {value:.3g} {event['unit']}" if isinstance(value, int | float) else ""
    what = str(event["event"]).upper()
    return (
        f"{_clock(event['time'])} {event['detector']}: {event['alarm']} {what}"
        f" {event['level']} priority {event['priority']}{shown} ({alarm_state(event)})"
    )


def _clock(time: object) -> str:
    return str(time)[11:19] if isinstance(time, str) else "        "
