"""``simulate --live``: instruments on real ports, and a configuration to read them with."""

import asyncio
import signal
import tempfile
from pathlib import Path

from config.scenario import Scenario
from config.write import to_toml
from gateway.verbs.stage import CONFIGURATION, on_stage
from gateway.verbs.terminal import Exit, complain, say
from simulators.api import Emission
from simulators.truth import TruthFile


def play_live(
    scenario: Scenario, directory: Path | None, seconds: float | None, brokers: tuple[str, ...]
) -> Exit:
    """Plays until the scenario's end, ``seconds`` or an interrupt."""
    place = directory or Path(tempfile.mkdtemp(prefix="dosegate-live-"))
    place.mkdir(parents=True, exist_ok=True)
    asyncio.run(_play(scenario, place, seconds or scenario.scenario.duration_s, brokers))
    return Exit.WELL


async def _play(
    scenario: Scenario, directory: Path, seconds: float, brokers: tuple[str, ...]
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with TruthFile(directory / "sent.jsonl") as truth:

        def witness(detector: str, emission: Emission) -> None:
            truth.note(detector, emission)

        async with on_stage(scenario, directory, brokers, witness) as stage:
            path = directory / CONFIGURATION
            path.write_text(to_toml(stage.configuration), encoding="utf-8")
            say(str(path))
            complain(f"read them with: dosegate run -c {path}")
            complain(f"what they send is listed in {directory / 'sent.jsonl'}")
            try:
                async with asyncio.timeout(seconds):
                    await stop.wait()
            except TimeoutError:
                complain("played to the end")
