"""``probe``: opens the links of a configuration, reads, and shows what each detector says."""

import argparse
import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from config.models import Configuration, Detector
from drivers.api import DriverInfo, Output, Passage, Sample
from drivers.registry import find
from gateway import logs
from gateway.assembly import Assembler
from gateway.board import main_value, table
from gateway.clock import Ticker, system_now
from gateway.health import DetectorHealth
from gateway.normalise import Normaliser
from gateway.values import Instant, LinkState
from gateway.verbs.terminal import Exit, complain, load_or_complain, say

SECONDS: Final = 10.0
SILENCE_S: Final = 3.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument("-c", "--config", type=Path, required=True, help="configuration file")
    parser.add_argument("detector", nargs="?", help="only this one")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long (default 10)")


def run(arguments: argparse.Namespace) -> Exit:
    """Reads for a while; 1 if a detector said nothing usable."""
    configuration = load_or_complain(arguments.config)
    if configuration is None:
        return Exit.USAGE
    wanted = _wanted(configuration, arguments.detector)
    if not wanted:
        known = ", ".join(detector.id for detector in configuration.detector)
        complain(f"no detector {arguments.detector!r}; there are: {known}")
        return Exit.USAGE
    logs.set_up("error", as_json=False)
    findings = asyncio.run(_probe(wanted, arguments.seconds))
    say("\n".join(table([_HEADINGS, *(finding.row() for finding in findings.values())])))
    return (
        Exit.WELL
        if all(each.samples or each.passages for each in findings.values())
        else Exit.FAULT
    )


def _wanted(configuration: Configuration, name: str | None) -> list[Detector]:
    return [each for each in configuration.detector if name in (None, each.id)]


_HEADINGS: Final = ("detector", "link", "says", "samples", "passages", "rejected", "who", "shows")


@dataclass(slots=True)
class _Finding:
    """What one detector said."""

    detector: str
    normaliser: Normaliser
    health: DetectorHealth
    link: str = "opening"
    samples: int = 0
    passages: int = 0
    rejects: Counter[str] = field(default_factory=Counter)

    def row(self) -> tuple[str, ...]:
        """One row of the table."""
        identity = self.normaliser.identity
        known = (identity.model, identity.serial, identity.firmware)
        rejected = ", ".join(f"{count} {reason}" for reason, count in self.rejects.items())
        return (
            self.detector,
            self.link,
            "something" if self.samples or self.passages else "nothing usable",
            str(self.samples),
            str(self.passages),
            rejected or "0",
            " ".join(part for part in known if part) or "does not say",
            main_value(self.health.latest),
        )


class _Notebook:
    """A hub that only takes notes."""

    def __init__(self, findings: Mapping[str, _Finding]) -> None:
        self._findings = findings

    def deliver(self, detector: str, output: Output, arrived: Instant) -> None:
        """Counts and shows."""
        finding = self._findings[detector]
        if isinstance(output, Sample):
            measured = finding.normaliser.sample(output, arrived)
            finding.health.note_sample(measured, arrived)
            finding.samples += bool(output.readings)
        elif isinstance(output, Passage):
            finding.passages += 1
        else:
            finding.rejects[output.reason] += 1

    def report(self, detector: str, state: LinkState, reason: str) -> None:
        """Keeps the newest state of the link."""
        self._findings[detector].link = f"{state}: {reason}" if reason else str(state)


async def _probe(detectors: list[Detector], seconds: float) -> Mapping[str, _Finding]:
    started = system_now()
    findings = {
        each.id: _Finding(
            each.id, Normaliser(each, each.id), DetectorHealth(each.id, SILENCE_S, started)
        )
        for each in detectors
    }
    drivers: dict[str, DriverInfo] = {each.id: find(each.driver) for each in detectors}
    assembler = Assembler(drivers, _Notebook(findings), system_now, Ticker(), Random())
    tasks = [
        asyncio.create_task(session.run(), name=session.name)
        for session in assembler.sessions(detectors)
    ]
    await asyncio.wait(tasks, timeout=seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return findings
