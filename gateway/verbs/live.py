"""``simulate --live``: instruments on real ports, and a configuration to read them with."""

import asyncio
import resource
import signal
import tempfile
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path

from config.actions import BrokerAction
from config.scenario import Scenario
from config.write import to_toml
from gateway.verbs.stage import CONFIGURATION, PLAYED, on_stage
from gateway.verbs.terminal import Exit, complain, say
from simulators.api import Emission
from simulators.stage_broker import StageBroker
from simulators.stage_clock import StageClock
from simulators.stage_control import SOCKET, is_answered
from simulators.truth import TruthFile


def play_live(
    scenario: Scenario,
    directory: Path | None,
    seconds: float | None,
    brokers: tuple[str, ...],
    speed: float = 1.0,
    *,
    port: int = 0,
    paused: bool = False,
) -> Exit:
    """Plays until the scenario's end, ``seconds`` of play or an interrupt.

    With no ``brokers`` of somebody else the stage brings one of its own, on ``port``. Raises
    BadSpeed, CannotListen, NoPlace.
    """
    clock = StageClock(speed, paused=paused)
    place = _place(directory)
    _allow_many_ports()
    end_s = scenario.scenario.duration_s if seconds is None else seconds
    try:
        asyncio.run(_play(scenario, place, end_s, brokers, port, clock))
    except OSError as error:
        if error.filename is None:
            raise
        raise NoPlace(f"{error.filename}: {error.strerror}") from error
    return Exit.WELL


class NoPlace(Exception):
    """A folder in which no stage can be played; the text says why."""


def _place(directory: Path | None) -> Path:
    """The folder for ports and files, with no other stage in it. Raises NoPlace."""
    if directory is None:
        return Path(tempfile.mkdtemp(prefix="dosegate-live-"))
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NoPlace(f"{directory}: is no folder") from None
    except OSError as error:
        raise NoPlace(f"{directory}: {error.strerror}") from error
    if is_answered(directory / SOCKET):
        raise NoPlace(f"a stage is played in {directory} ({SOCKET} answers)")
    return directory.absolute()


def _allow_many_ports() -> None:
    """As many open files as this user may have: each instrument needs two or three."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _play(
    scenario: Scenario,
    directory: Path,
    end_s: float,
    brokers: tuple[str, ...],
    port: int,
    clock: StageClock,
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with TruthFile(directory / "sent.jsonl") as truth:

        def witness(detector: str, emission: Emission) -> None:
            truth.note(detector, emission)

        async with (
            _own_broker(brokers, port) as broker,
            on_stage(scenario, directory, brokers, witness, clock, broker) as stage,
        ):
            path = directory / CONFIGURATION
            path.write_text(to_toml(stage.configuration), encoding="utf-8")
            say(str(path))
            complain(f"read them with: dosegate run -c {path}")
            complain(_about_broker(scenario, broker))
            complain(f"what they send is listed in {directory / 'sent.jsonl'}")
            complain(f"what happens is listed in {directory / PLAYED}; say what happens next with:")
            complain(f"  dosegate inject --directory {directory} ...")
            if clock.is_paused:
                complain("paused; begin with: inject resume")
            if await _is_over(clock, end_s, stop):
                complain("played to the end")


def _own_broker(
    brokers: tuple[str, ...], port: int
) -> AbstractAsyncContextManager[StageBroker | None]:
    """One of the stage, unless somebody else's are named."""
    return nullcontext() if brokers else StageBroker(port)


def _about_broker(scenario: Scenario, broker: StageBroker | None) -> str:
    """Where the stage's own listens, or what is not played on one of somebody else."""
    if broker is not None:
        return f"its own broker is there for them; watch it with: dosegate watch {broker.url}"
    found = [
        f"{each.do} at {each.at_s:g} s" for each in scenario.event if isinstance(each, BrokerAction)
    ]
    if not found:
        return "its broker is yours"
    return (
        f"advice: not played, as the broker is yours: {', '.join(found)}\n"
        "    stop and start it yourself, or leave --broker out: the stage then brings its own"
    )


async def _is_over(clock: StageClock, end_s: float, stop: asyncio.Event) -> bool:
    """Returns when the clock shows the end, or with False when somebody wants to stop."""
    ending = asyncio.create_task(clock.until(end_s), name="end")
    stopping = asyncio.create_task(stop.wait(), name="interrupt")
    done, _ = await asyncio.wait((ending, stopping), return_when=asyncio.FIRST_COMPLETED)
    for task in (ending, stopping):
        task.cancel()
    await asyncio.wait((ending, stopping))
    return ending in done
