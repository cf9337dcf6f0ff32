"""Records what goes over links: on request for a while, and always where the configuration says so.

Sessions put pieces into queues and never wait; one thread writes them twice a second. A disk that
does not keep up costs pieces, which are counted in the file.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final, TypeVar

import structlog

from config.models import Configuration, Detector
from drivers.api import DriverInfo
from drivers.codec.recording import Header, Piece
from gateway.clock import Now
from gateway.recorder import files as recorder_files
from gateway.recorder.files import FOLDER, Stored
from gateway.recorder.track import SIZE, Limits, RecordingTrack
from gateway.tap import Tap

log: Final = structlog.get_logger()

FLUSH_S: Final = 0.5
AGAIN_S: Final = 60.0
"""A recording that is always taken and failed is begun again after this. Own choice."""
MOST_ASKED: Final = 4
"""So many are taken on request at once. Own choice."""
MOST_BYTES: Final = 200 * 10**6
KEPT_BYTES: Final = 1000 * 10**6
"""All that were asked for, together; the oldest go. Own choice."""
LAST_WORDS_S: Final = 2.0
STOPPED: Final = "the gateway stopped"
MB: Final = 10**6


_R = TypeVar("_R")


class CannotRecord(RuntimeError):
    """It was not begun; the text says why."""


class Recorder:
    """All recordings of one gateway; sessions talk to ``taps``."""

    def __init__(
        self, configuration: Configuration, drivers: Mapping[str, DriverInfo], now: Now
    ) -> None:
        def clock() -> float:
            return now().mono

        self.directory = Path(configuration.gateway.state_dir) / FOLDER
        self.taps = {detector.id: Tap(clock) for detector in configuration.detector}
        self._headers = {
            detector.id: header_of(detector, drivers[detector.id])
            for detector in configuration.detector
        }
        self._settings = configuration.recording
        self._now = now
        self._tracks: list[RecordingTrack] = []
        self._due = dict.fromkeys(configuration.recording.detectors, 0.0)
        """Those that are always recorded and are not now, and when it is tried."""
        self._wake = asyncio.Event()
        self._turn = asyncio.Lock()
        self._writer = ThreadPoolExecutor(1, "recordings")

    async def run(self) -> None:
        """Until cancelled; then what has come is written."""
        try:
            while True:
                if not self._tracks and not self._due:
                    self._wake.clear()
                    await self._wake.wait()
                await asyncio.sleep(FLUSH_S)
                await self.flush()
        finally:
            for track in self._tracks:
                track.wanted_end = STOPPED
            self._due.clear()
            try:
                async with asyncio.timeout(LAST_WORDS_S):
                    await self.flush()
            except TimeoutError:
                log.warning("recordings_not_ended", count=len(self._tracks))

    async def flush(self) -> None:
        """Writes what has come, ends what is over, begins what is always taken."""
        async with self._turn:
            for detector, due in tuple(self._due.items()):
                if due <= self._now().mono:
                    await self._begin_always(detector, [])
            for track in tuple(self._tracks):
                await self._flush(track)

    async def start(self, detector: str, limits: Limits) -> RecordingTrack:
        """Begins one on request. Raises CannotRecord."""
        if detector not in self.taps:
            known = ", ".join(self.taps) or "none"
            raise CannotRecord(f"no detector {detector[:32]!r}; there are: {known}")
        async with self._turn:
            asked = [track for track in self._tracks if track.limits.asked]
            if len(asked) >= MOST_ASKED:
                raise CannotRecord(f"{MOST_ASKED} recordings are being taken already")
            try:
                return await self._begin(detector, limits)
            except OSError as error:
                raise CannotRecord(f"{self.directory}: {error.strerror or error}") from error

    async def stop(self, name: str) -> None:
        """Ends one that somebody asked for."""
        for track in self._tracks:
            if track.name == name and track.limits.asked:
                track.wanted_end = "stopped"
        await self.flush()

    def is_open(self, name: str) -> bool:
        """Whether it is still being taken."""
        return any(track.name == name for track in self._tracks)

    async def read(self, name: str, at: int, length: int) -> tuple[bytes, int]:
        """A part of a file, and its size. Raises NoSuchRecording and OSError."""
        return await self._in_thread(recorder_files.read_part, self.directory, name, at, length)

    async def stored(self) -> list[Stored]:
        """All files, the oldest first. Raises OSError."""
        return await self._in_thread(recorder_files.stored, self.directory)

    async def forget(self, name: str) -> None:
        """Deletes one that was asked for and is over. Raises NoSuchRecording and OSError."""
        if self.is_open(name) or not name.endswith(".asked.jsonl"):
            raise recorder_files.NoSuchRecording(f"{name[:64]!r} is not one to be deleted")
        await self._in_thread(recorder_files.remove, self.directory, name)

    def close(self) -> None:
        """Ends the thread."""
        self._writer.shutdown(wait=False)

    async def _flush(self, track: RecordingTrack) -> None:
        now = self._now().mono
        end, pieces = track.end_wanted(now), track.take(now)
        if not end and not pieces:
            return
        rest: list[Piece] = []
        try:
            rest = await self._in_thread(track.write, self.directory, pieces, now, end)
        except OSError as error:
            track.reason = error.strerror or str(error)
            track.close()
        if track.reason:
            await self._ended(track, rest)

    async def _ended(self, track: RecordingTrack, rest: list[Piece]) -> None:
        """Lets go of it; one that is always taken goes on in the next file, or is tried again."""
        track.tap.leave(track)
        self._tracks.remove(track)
        log.info(
            "recording_ended",
            detector=track.detector,
            file=track.name,
            reason=track.reason,
            bytes=track.bytes,
            lost=track.lost,
        )
        if track.limits.asked or track.reason == STOPPED:
            return
        if track.reason == SIZE:
            await self._begin_always(track.detector, [*rest, *track.take(self._now().mono)])
        else:
            self._due[track.detector] = self._now().mono + AGAIN_S

    async def _begin_always(self, detector: str, first: list[Piece]) -> None:
        self._due.pop(detector, None)
        try:
            await self._begin(detector, Limits(self._settings.file_mb * MB, asked=False), first)
        except OSError as error:
            log.warning("recording_failed", detector=detector, error=error.strerror or str(error))
            self._due[detector] = self._now().mono + AGAIN_S

    async def _begin(
        self, detector: str, limits: Limits, first: Sequence[Piece] = ()
    ) -> RecordingTrack:
        """It hears everything from this moment on, and what came ``first``. Raises OSError."""
        tap, now = self.taps[detector], self._now()
        began = now.earlier(now.mono - first[0].at_s) if first else now
        track = RecordingTrack(tap, self._headers[detector], limits, began)
        for piece in first:
            track.add(piece)
        tap.join(track)
        try:
            await self._in_thread(self._make_room, limits, [each.name for each in self._tracks])
            await self._in_thread(track.open, self.directory)
        except BaseException:
            tap.leave(track)
            raise
        self._tracks.append(track)
        self._wake.set()
        log.info("recording_started", detector=detector, file=track.name)
        return track

    def _make_room(self, limits: Limits, open_names: list[str]) -> None:
        """In the thread: the oldest of its kind go. Raises OSError."""
        if limits.asked:
            keep = KEPT_BYTES - MOST_ASKED * MOST_BYTES
        else:
            settings = self._settings
            keep = (settings.keep_mb - settings.file_mb * len(set(settings.detectors))) * MB
        recorder_files.make_room(self.directory, keep, asked=limits.asked, open_names=open_names)

    async def _in_thread(self, work: Callable[..., _R], *arguments: object) -> _R:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._writer, partial(work, *arguments))


def header_of(detector: Detector, info: DriverInfo) -> Header:
    """What a reader must know; no names of hosts or ports, and no text that may be a secret."""
    open_values = {
        option.name
        for option in info.options
        if option.choices or not isinstance(option.default, str)
    }
    return Header(
        driver=info.name,
        detector=detector.id,
        detector_class=detector.detector_class or info.classes[0],
        link=detector.link.kind,
        gateway=version("dosegate"),
        serial=detector.serial_number or "",
        unit=detector.unit or "",
        options={name: value for name, value in detector.options.items() if name in open_values},
        simulated=detector.simulated,
    )
