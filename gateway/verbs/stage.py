"""Simulated instruments on ports of this machine, with a configuration that reaches them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog

from config.models import Configuration, Gateway, Sink
from config.scenario import Scenario
from simulators.live import LiveStage, Witness, nobody
from simulators.world import World

log: Final = structlog.get_logger()

CONFIGURATION: Final = "gateway.toml"


@dataclass(frozen=True, slots=True)
class Stage:
    """A running stage and the gateway's configuration for it."""

    live: LiveStage
    configuration: Configuration


@asynccontextmanager
async def on_stage(
    scenario: Scenario, directory: Path, brokers: tuple[str, ...], witness: Witness = nobody
) -> AsyncIterator[Stage]:
    """Opens the ports, plays in the background, closes everything at the end."""
    live = LiveStage(scenario, World(scenario), directory, datetime.now(UTC), witness)
    playing: asyncio.Task[None] | None = None
    try:
        links = await live.open()
        configuration = scenario.configuration(links).model_copy(
            update={"gateway": _gateway(scenario, directory), "sink": _sinks(brokers)}
        )
        playing = asyncio.create_task(_play(live), name="stage")
        yield Stage(live, configuration)
    finally:
        if playing is not None:
            playing.cancel()
            await asyncio.wait((playing,))
        await live.close()
    if not playing.cancelled():
        playing.result()


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
