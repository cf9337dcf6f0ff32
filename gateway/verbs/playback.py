"""A recording through the daemon's own session, driver and pipeline, on a clock of its own."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from random import Random
from typing import Final

from config.models import Configuration, Detector, RecordingLink
from drivers.api import DriverInfo, Output
from drivers.codec.conversation import Difference
from drivers.codec.recording import Recording
from drivers.errors import DriverError
from gateway.assembly import Assembler
from gateway.clock import Ticker
from gateway.links import recording as links
from gateway.pipeline import Arrived, Input, LinkChanged, Pipeline, Ticked
from gateway.values import Instant, LinkState
from gateway.verbs.paced import PacedLoop
from gateway.verbs.simulate import bodies
from gateway.wire import samples
from gateway.wire.table import dump

TICK_S: Final = 0.5
GIVEN_UP: Final = 3.0
"""So many times its length a recording is played at most, and ten minutes more. Own choice."""
DEFAULT_START: Final = datetime(2026, 1, 1, tzinfo=UTC).timestamp()

Tell = Callable[[str, bytes], None]


class Playback:
    """One run; ``tell`` gets the kind and the JSON of everything the gateway would store."""

    def __init__(
        self, recording: Recording, configuration: Configuration, info: DriverInfo, tell: Tell
    ) -> None:
        (detector,) = configuration.detector
        self._recording = recording
        self._configuration = configuration
        self._detector = detector
        self._drivers = {detector.id: info}
        self._tell = tell
        self._start = start_of(recording)
        self._numbers = count(1)
        self._over = asyncio.Event()
        self._link = _link(detector, info, recording)
        self._pipeline = Pipeline(
            configuration, self._drivers, self._new_id, self._instant(0.0), boot="replay"
        )

    @property
    def differences(self) -> list[Difference]:
        """Where the driver asked for something else than was asked then."""
        return self._link.differences

    @property
    def differing(self) -> int:
        """How many they are; of very many only the first are named."""
        return self._link.play.talk.differing

    def run(self, speed: float) -> None:
        """To the end of the recording."""
        with asyncio.Runner(loop_factory=lambda: PacedLoop(speed)) as runner:
            runner.run(self._play())

    def deliver(self, detector: str, output: Output, arrived: Instant) -> None:
        """A value or an error of the driver."""
        if isinstance(output, DriverError):
            self._tell("reject", dump(samples.REJECT.encode(samples.Rejected(detector, output))))
        self._step(Arrived(detector, output, arrived))

    def report(self, detector: str, state: LinkState, reason: str) -> None:
        """A change of the link."""
        self._step(LinkChanged(detector, state, reason))
        if self._link.play.has_ended:
            self._over.set()

    async def _play(self) -> None:
        assembler = Assembler(
            self._drivers,
            self,
            self._now,
            Ticker(),
            Random(0),
            recorded={self._detector.id: self._link},
        )
        limit_s = GIVEN_UP * self._recording.duration_s + 600.0
        (session,) = assembler.sessions([self._detector])
        tasks = [
            asyncio.create_task(session.run(), name="session"),
            asyncio.create_task(self._tick(), name="tick"),
            asyncio.create_task(self._over.wait(), name="over"),
        ]
        await asyncio.wait(tasks, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        due = 0.0
        while True:
            self._step(Ticked())
            due += TICK_S
            await asyncio.sleep(max(0.0, due - loop.time()))

    def _step(self, item: Input) -> None:
        for kind, body in bodies(self._pipeline.step(self._now(), item)):
            self._tell(kind, body)

    def _now(self) -> Instant:
        return self._instant(asyncio.get_running_loop().time())

    def _instant(self, at_s: float) -> Instant:
        return Instant(self._start + at_s, at_s)

    def _new_id(self) -> str:
        return f"{next(self._numbers):08x}"


def start_of(recording: Recording) -> float:
    """The wall time of its beginning; of one that does not say, the usual start of play."""
    if recording.header is None or not recording.header.started:
        return DEFAULT_START
    try:
        return datetime.fromisoformat(recording.header.started).timestamp()
    except (ValueError, OverflowError):
        return DEFAULT_START


def _link(
    detector: Detector, info: DriverInfo, recording: Recording
) -> links.RecordingLink | links.RecordingBus:
    path = Path(detector.link.path if isinstance(detector.link, RecordingLink) else "-")
    if info.contract == "registers":
        return links.RecordingBus(path, 1.0, recording=recording)
    answers = info.contract != "listener"
    return links.RecordingLink(path, 1.0, answers=answers, recording=recording)
