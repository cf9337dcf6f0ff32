"""Simulated instruments on ports of this machine, with a configuration that reaches them."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog

from config.actions import Event
from config.injection import table_of
from config.models import Configuration, Gateway, Sink
from config.scenario import Scenario
from simulators.live import LiveStage, Note
from simulators.outlet import Witness, nobody
from simulators.stage_broker import StageBroker
from simulators.stage_clock import StageClock
from simulators.stage_control import SOCKET, StageControl
from simulators.world import World

log: Final = structlog.get_logger()

CONFIGURATION: Final = "gateway.toml"
PLAYED: Final = "played.jsonl"
"""Everything that happened on the stage, each line an event of a scenario."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A running stage, the gateway's configuration for it, and where it is operated."""

    live: LiveStage
    configuration: Configuration
    socket: Path


@asynccontextmanager
async def on_stage(
    scenario: Scenario,
    directory: Path,
    brokers: tuple[str, ...],
    witness: Witness = nobody,
    clock: StageClock | None = None,
    broker: StageBroker | None = None,
) -> AsyncIterator[Stage]:
    """Opens the ports, plays in the background, closes everything at the end.

    ``directory`` is absolute, as the gateway may be started from anywhere. ``brokers`` are
    somebody else's, ``broker``, which listens already, is the stage's own.
    """
    urls = brokers if broker is None else (broker.url, *brokers)
    with _played(directory / PLAYED) as note:
        live = LiveStage(
            scenario, World(scenario), directory, datetime.now(UTC), witness, clock, note, broker
        )
        control = StageControl(directory / SOCKET, live, scenario)
        playing: asyncio.Task[None] | None = None
        try:
            links = await live.open()
            configuration = scenario.configuration(links).model_copy(
                update={"gateway": _gateway(scenario, directory), "sink": _sinks(urls)}
            )
            await control.start()
            playing = asyncio.create_task(_play(live), name="stage")
            yield Stage(live, configuration, directory / SOCKET)
        finally:
            await control.stop()
            if playing is not None:
                playing.cancel()
                await asyncio.wait((playing,))
            await live.close()
        if not playing.cancelled():
            playing.result()


@contextmanager
def _played(path: Path) -> Iterator[Note]:
    """Writes a line for each event that was played."""
    with path.open("w", encoding="utf-8", buffering=1) as file:

        def note(event: Event) -> None:
            file.write(json.dumps(table_of(event), ensure_ascii=False) + "\n")

        yield note


async def _play(live: LiveStage) -> None:
    try:
        await live.play()
    except Exception:
        # The task's boundary: whoever looks at silent instruments must find out why.
        log.exception("stage_failed")
        raise


def _gateway(scenario: Scenario, directory: Path) -> Gateway:
    given = scenario.gateway or Gateway(id=scenario.scenario.name)
    return given.model_copy(
        update={
            "state_dir": str(directory / "state"),
            "control_socket": str(directory / "control.sock"),
        }
    )


def _sinks(brokers: tuple[str, ...]) -> tuple[Sink, ...]:
    return (Sink(id="site", brokers=brokers),) if brokers else ()
